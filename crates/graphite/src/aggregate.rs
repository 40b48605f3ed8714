//! Many series into one: passes over whole columns, one value a row coming of it.
//!
//! Missing values are left out, but a product with a missing factor is missing. A row with fewer values than the
//! xFilesFactor asks for is missing.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use statline_series::{Consolidation, Kind};

use crate::align::{Grid, enough};
use crate::context::Context;
use crate::error::EvalError;
use crate::parallel;
use crate::series::Series;

/// The longest list of path expressions in a name, in bytes.
const MAX_LIST_BYTES: usize = 16 * 1024;

/// One value of a row, as aggregates make it; NaN when there is none.
pub(crate) fn row(how: Consolidation, values: &[f64]) -> f64 {
    match how {
        Consolidation::Multiply if values.is_empty() => f64::NAN,
        // Passes NaN on.
        Consolidation::Multiply => values.iter().product(),
        _ => how.apply(values),
    }
}

/// Aggregates series into one, named after their path expressions: `sumSeries(a.*,b)`. Nothing comes of nothing.
///
/// `function` is the name that the target used; `x_files_factor` overrides that of the series and the context.
pub(crate) fn combine(
    series: &[Series],
    how: Consolidation,
    function: &str,
    x_files_factor: Option<f64>,
    context: &Context,
) -> Result<Option<Series>, EvalError> {
    let Some(grid) = Grid::of(series.iter(), context)? else { return Ok(None) };
    let stem = function.strip_suffix("Series").unwrap_or(function);
    // In graphite-web the request has a factor, not the series.
    let own_factor = series.iter().find_map(|one| one.x_files_factor).filter(|_| !context.as_graphite_web());
    let factor = x_files_factor.or(own_factor);
    let columns: Vec<Cow<'_, [f64]>> = series.iter().map(|one| grid.column(one, context)).collect();
    let values = fold(how, &columns, grid.len, factor.unwrap_or(context.x_files_factor));
    let mut combined = grid.series(format!("{stem}Series({})", path_list(series)), values);
    combined.set_whole(how == Consolidation::Count);
    combined.x_files_factor = factor.or(combined.x_files_factor);
    combined.kind = if how == Consolidation::Count { Kind::Untyped } else { common_kind(series) };
    combined.tags = common_tags(series);
    combined.tags.entry("name".to_owned()).or_insert_with(|| combined.name.clone());
    combined.note("aggregatedBy", stem);
    combined.constant = series.iter().all(|one| one.constant);
    Ok(Some(combined))
}

/// The path expressions of series, each once, joined by commas.
pub(crate) fn path_list(series: &[Series]) -> String {
    let mut seen = HashSet::new();
    let mut list = String::new();
    for one in series {
        if seen.insert(one.path_expression.as_str()) {
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(&one.path_expression);
        }
        if list.len() > MAX_LIST_BYTES {
            break;
        }
    }
    list
}

/// The kind that all of them have, else untyped.
pub(crate) fn common_kind(series: &[Series]) -> Kind {
    let first = series.first().map(|one| one.kind).unwrap_or_default();
    if series.iter().all(|one| one.kind == first) { first } else { Kind::Untyped }
}

/// The tags that all of them have with the same value.
pub(crate) fn common_tags(series: &[Series]) -> BTreeMap<String, String> {
    let mut tags = series.first().map(|one| one.tags.clone()).unwrap_or_default();
    for one in series.iter().skip(1) {
        tags.retain(|tag, value| one.tags.get(tag) == Some(value));
    }
    tags
}

/// One value a row of columns that are all `len` long.
pub(crate) fn fold(how: Consolidation, columns: &[Cow<'_, [f64]>], len: usize, x_files_factor: f64) -> Vec<f64> {
    let mut present = vec![0_u32; len];
    for column in columns {
        for (count, value) in present.iter_mut().zip(column.iter()) {
            *count += u32::from(!value.is_nan());
        }
    }
    let mut values = match how {
        Consolidation::Sum => sums(columns, len),
        Consolidation::Average => quotients(sums(columns, len), present.iter().map(|count| f64::from(*count))),
        Consolidation::AvgZero => {
            let slots = columns.iter().fold(0.0, |slots, _| slots + 1.0);
            quotients(sums(columns, len), std::iter::repeat(slots))
        }
        Consolidation::Count => present.iter().map(|count| f64::from(*count)).collect(),
        Consolidation::Max => reduce(columns, len, f64::max),
        Consolidation::Min => reduce(columns, len, f64::min),
        Consolidation::Range => {
            let mut range = reduce(columns, len, f64::max);
            for (high, low) in range.iter_mut().zip(reduce(columns, len, f64::min)) {
                *high -= low;
            }
            range
        }
        Consolidation::Diff => reduce(columns, len, |left, right| skip_missing(left, right, left - right)),
        Consolidation::First => reduce(columns, len, |left, right| skip_missing(left, right, left)),
        Consolidation::Last => reduce(columns, len, |left, right| skip_missing(left, right, right)),
        Consolidation::Multiply => {
            let mut products = vec![1.0; len];
            for column in columns {
                for (product, factor) in products.iter_mut().zip(column.iter()) {
                    *product *= factor;
                }
            }
            products
        }
        Consolidation::Median | Consolidation::Stddev => rows(columns, len, |row| how.apply(row)),
    };
    let slots = columns.iter().fold(0.0, |slots, _| slots + 1.0);
    for (value, count) in values.iter_mut().zip(&present) {
        if !enough(*count as usize, slots, x_files_factor) {
            *value = f64::NAN;
        }
    }
    values
}

/// Rows that are put together at a time, so that each piece of a column is read once.
const ROWS_A_BLOCK: usize = 64;

/// One value a row, from a function of the whole row, which may be reordered.
pub(crate) fn rows(columns: &[Cow<'_, [f64]>], len: usize, apply: impl Fn(&mut [f64]) -> f64 + Sync) -> Vec<f64> {
    let width = columns.len();
    if width == 0 {
        return (0..len).map(|_| apply(&mut [])).collect();
    }
    let starts: Vec<usize> = (0..len).step_by(ROWS_A_BLOCK).collect();
    let blocks = parallel::map(&starts, len.saturating_mul(width), |start| {
        let mut block = vec![f64::NAN; ROWS_A_BLOCK.min(len - start) * width];
        for (place, column) in columns.iter().enumerate() {
            for (row, value) in block.chunks_exact_mut(width).zip(column.iter().skip(*start)) {
                row[place] = *value;
            }
        }
        block.chunks_exact_mut(width).map(&apply).collect::<Vec<f64>>()
    });
    blocks.concat()
}

/// The value at a percent of the values present, by the nearest rank of `n / 100 · (count + 1)` rounded up, or between the
/// two nearest. The row is reordered. NaN when nothing is present.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "ranks are not negative and not above the count, which is far below 2^52"
)]
pub(crate) fn percentile(row: &mut [f64], percent: f64, interpolate: bool) -> f64 {
    let mut present = 0;
    for place in 0..row.len() {
        if !row[place].is_nan() {
            row.swap(place, present);
            present += 1;
        }
    }
    let row = &mut row[..present];
    if row.is_empty() {
        return f64::NAN;
    }
    let rank = (percent / 100.0 * (present as f64 + 1.0)).clamp(0.0, present as f64);
    if interpolate {
        let below = (rank as usize).clamp(1, present);
        let (_, low, above) = row.select_nth_unstable_by(below - 1, f64::total_cmp);
        let (low, next) = (*low, above.iter().copied().min_by(f64::total_cmp));
        let fraction = if rank < 1.0 { 0.0 } else { rank.fract() };
        return low + fraction * (next.unwrap_or(low) - low);
    }
    *row.select_nth_unstable_by((rank.ceil() as usize).clamp(1, present) - 1, f64::total_cmp).1
}

fn sums(columns: &[Cow<'_, [f64]>], len: usize) -> Vec<f64> {
    let mut sums = vec![0.0; len];
    for column in columns {
        for (sum, value) in sums.iter_mut().zip(column.iter()) {
            *sum += if value.is_nan() { 0.0 } else { *value };
        }
    }
    sums
}

fn quotients(mut values: Vec<f64>, divisors: impl Iterator<Item = f64>) -> Vec<f64> {
    for (value, divisor) in values.iter_mut().zip(divisors) {
        *value /= divisor;
    }
    values
}

/// Folds columns from the left, starting with a missing value.
fn reduce(columns: &[Cow<'_, [f64]>], len: usize, merge: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let mut folded = vec![f64::NAN; len];
    for column in columns {
        for (left, right) in folded.iter_mut().zip(column.iter()) {
            *left = merge(*left, *right);
        }
    }
    folded
}

/// The one that is present, or what becomes of both.
fn skip_missing(left: f64, right: f64, both: f64) -> f64 {
    if right.is_nan() {
        left
    } else if left.is_nan() {
        right
    } else {
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fold_agrees_with_the_row_by_row_definition() {
        let nan = f64::NAN;
        let columns: Vec<Cow<'_, [f64]>> = vec![
            Cow::Owned(vec![nan, 2.0, 3.0, nan, -1.0]),
            Cow::Owned(vec![4.0, 5.0, nan, nan, 0.5]),
            Cow::Owned(vec![7.0, -8.0, 9.0, nan, 0.25]),
        ];
        for how in Consolidation::ALL {
            let expected = rows(&columns, 5, |values| row(how, values));
            let folded = fold(how, &columns, 5, 0.0);
            assert_eq!(format!("{folded:?}"), format!("{expected:?}"), "{how}");
        }
        let half = fold(Consolidation::Sum, &columns, 5, 0.7);
        assert_eq!(format!("{half:?}"), "[NaN, -1.0, NaN, NaN, -0.25]");
    }
}
