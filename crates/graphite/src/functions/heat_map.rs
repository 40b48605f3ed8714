//! Transform, continued: carbonapi's buckets of a histogram out of what is counted up to each of their bounds.

use std::borrow::Cow;

use super::SERIES_LIST;
use crate::align::Grid;
use crate::evaluate::{Call, Outcome};
use crate::registry::{Function, Group};
use crate::series::Series;

/// By so many moments, at which all series have values, they are put in order.
const WEIGHED_MOMENTS: usize = 5;

pub(crate) const FUNCTIONS: &[Function] = &[Function::new(
    "heatMap",
    Group::Transform,
    "Each series less the one below it, all ordered by the sum of their first five values: buckets of a histogram out of \
     counters that count up to a bound.",
    &[SERIES_LIST],
    heat_map,
)];

fn heat_map(call: &mut Call<'_>) -> Outcome {
    let series = call.series(0);
    let Some(grid) = Grid::of(series.iter(), call.context)? else { return Ok(Vec::new()) };
    call.check_points(grid.len.saturating_mul(series.len().saturating_sub(1)))?;
    let columns: Vec<Cow<'_, [f64]>> = series.iter().map(|one| grid.column(one, call.context)).collect();
    let is_whole = |row: &usize| columns.iter().all(|column| column.get(*row).is_some_and(|value| !value.is_nan()));
    let rows: Vec<usize> = (0..grid.len).filter(is_whole).take(WEIGHED_MOMENTS).collect();
    let weights: Vec<f64> = columns.iter().map(|column| rows.iter().map(|row| column[*row]).sum()).collect();
    let mut order: Vec<usize> = (0..series.len()).collect();
    order.sort_by(|left, right| weights[*left].total_cmp(&weights[*right]));
    let difference = |pair: &[usize]| {
        let (below, above) = (&series[pair[0]], &series[pair[1]]);
        let values = columns[pair[1]].iter().zip(columns[pair[0]].iter()).map(|(above, below)| above - below).collect();
        let name = format!("heatMap({},{})", above.name, below.name);
        let mut bucket = Series::new(name, grid.start, grid.step, values);
        bucket.tags.clone_from(&above.tags);
        bucket.kind = above.kind;
        bucket
    };
    Ok(order.windows(2).map(difference).collect())
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, check, minutes, run};

    #[test]
    fn each_bucket_is_what_is_not_below_it() {
        let store = [
            minutes("h.inf", &[6.0, 7.0, NO, 9.0, 20.0]),
            minutes("h.10", &[4.0, 4.0, 4.0, 4.0, 10.0]),
            minutes("h.5", &[1.0, 2.0, 3.0, NO, 1.0]),
        ];
        check(
            "heatMap(h.*)",
            &store,
            &[("heatMap(h.10,h.5)", &[3.0, 2.0, 1.0, NO, 9.0]), ("heatMap(h.inf,h.10)", &[2.0, 3.0, NO, 5.0, 10.0])],
        );
        assert_eq!(run("heatMap(h.*)", &store)[0].tags["name"], "h.10");
        check("heatMap(h.5)", &store, &[]);
        check("heatMap(x)", &store, &[]);
    }
}
