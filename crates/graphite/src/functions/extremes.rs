//! Filter series, continued: carbonapi's choices by minima, zeros and outliers.

use statline_series::Consolidation;

use super::filter_series::ranked;
use super::{SERIES_LIST, first, int};
use crate::align::enough;
use crate::arguments::{Param, ParamType};
use crate::evaluate::{Call, Outcome};
use crate::numbers::general;
use crate::registry::{Function, Group};
use crate::series::Series;
use crate::{sorted, time};

const WITH_COUNT: &[Param] = &[SERIES_LIST, Param::required("n", ParamType::Integer)];
const TUKEY: &[Param] = &[
    SERIES_LIST,
    Param::required("basis", ParamType::Float),
    Param::required("n", ParamType::Integer),
    Param::optional("interval", ParamType::PointsOrInterval).or(int(0)),
];

pub(crate) const FUNCTIONS: &[Function] = &[
    filter("highestMin", "The n series with the highest minima.", WITH_COUNT, |call| {
        ranked(call, Consolidation::Min, true)
    }),
    filter("lowestMin", "The n series with the lowest minima.", WITH_COUNT, |call| {
        ranked(call, Consolidation::Min, false)
    }),
    filter(
        "removeZeroSeries",
        "Series that have values other than 0, and with xFilesFactor at least that part of them.",
        &[SERIES_LIST, Param::optional("xFilesFactor", ParamType::Float)],
        remove_zero,
    ),
    filter(
        "tukeyAbove",
        "The n series with the most values that lie basis times the interquartile range or more above the third quartile of \
         all values. With interval only its last points count; with a negative one, all but these.",
        TUKEY,
        |call| tukey(call, true),
    ),
    filter(
        "tukeyBelow",
        "The n series with the most values that lie basis times the interquartile range or more below the first quartile of \
         all values. With interval only its last points count; with a negative one, all but these.",
        TUKEY,
        |call| tukey(call, false),
    ),
];

const fn filter(
    name: &'static str,
    description: &'static str,
    params: &'static [Param],
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function::new(name, Group::FilterSeries, description, params, run)
}

fn remove_zero(call: &mut Call<'_>) -> Outcome {
    let factor = call.arguments.number(1).unwrap_or(0.0);
    let mut series = call.series(0);
    series.retain(|one| {
        let present = one.values().iter().filter(|value| !value.is_nan() && **value != 0.0).count();
        enough(present, one.len() as f64, factor)
    });
    series.iter_mut().for_each(|one| one.note("removeZeroSeries", factor.to_string()));
    Ok(series)
}

/// The interval of an outlier's search: a number of points, or a time.
struct Interval {
    points: Option<i64>,
    millis: i64,
}

impl Interval {
    /// The values of a series that it leaves: the last ones when positive, all before them when negative, and all when it is
    /// 0 or longer than the series.
    fn of<'s>(&self, one: &'s Series) -> &'s [f64] {
        let points = self.points.unwrap_or(self.millis / one.step.millis());
        let size = usize::try_from(points.unsigned_abs()).unwrap_or(usize::MAX);
        let values = one.values();
        match values.len().checked_sub(size).filter(|rest| size > 0 && *rest > 0) {
            None => values,
            Some(rest) if points < 0 => &values[..rest],
            Some(rest) => &values[rest..],
        }
    }
}

fn tukey(call: &mut Call<'_>, above: bool) -> Outcome {
    let basis = call.arguments.number(1).unwrap_or(0.0);
    if basis <= 0.0 {
        return Err(call.unusable(format!("basis is above 0, got {}", general(basis))));
    }
    let count = call.arguments.integer(2).unwrap_or(1);
    if count < 1 {
        return Err(call.unusable(format!("n is at least 1, got {count}")));
    }
    let points = call.arguments.integer(3);
    let millis = call.arguments.text(3).map_or(0, |text| time::parse_interval(text).unwrap_or(0));
    let interval = Interval { points, millis };
    let series = call.series(0);
    let mut all: Vec<f64> =
        series.iter().flat_map(|one| interval.of(one).iter().copied()).filter(|value| !value.is_nan()).collect();
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let (low, high) = (quartile(&mut all, 1), quartile(&mut all, 3));
    let reach = basis * (high - low);
    let is_outlier = |value: &&f64| if above { **value >= high + reach } else { **value <= low - reach };
    let outliers = |one: &Series| interval.of(one).iter().filter(is_outlier).count() as f64;
    let mut with_outliers = series;
    with_outliers.retain(|one| outliers(one) > 0.0);
    Ok(first(sorted::by_value(with_outliers, outliers, true), count))
}

/// The value below which one or three quarters of the values are, which are reordered.
fn quartile(values: &mut [f64], quarters: usize) -> f64 {
    let place = values.len() * quarters / 4;
    *values.select_nth_unstable_by(place, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    use crate::FetchedSeries;
    use crate::testing::{NO, failure, minutes, run};

    fn names(target: &str, store: &[FetchedSeries]) -> String {
        run(target, store).into_iter().map(|one| one.name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn minima_and_zeros_decide() {
        let store = [
            minutes("s.a", &[1.0, 2.0, 3.0, 4.0, 5.0]),
            minutes("s.b", &[9.0, NO, 9.0, NO, 0.0]),
            minutes("s.c", &[NO; 5]),
            minutes("s.d", &[0.0, 0.0, 0.0, -0.0, NO]),
        ];
        for (target, expected) in [
            ("highestMin(s.*,1)", "s.a"),
            ("highestMin(s.*,2)", "s.a s.b"),
            ("lowestMin(s.*,3)", "s.c s.b s.d"),
            ("removeZeroSeries(s.*)", "s.a s.b"),
            ("removeZeroSeries(s.*,0.4)", "s.a s.b"),
            ("removeZeroSeries(s.*,0.5)", "s.a"),
        ] {
            assert_eq!(names(target, &store), expected, "{target}");
        }
        assert_eq!(run("removeZeroSeries(s.*,0.5)", &store)[0].tags["removeZeroSeries"], "0.5");
        assert_eq!(run("removeZeroSeries(s.*)", &store)[0].tags["removeZeroSeries"], "0");
    }

    #[test]
    fn outliers_stand_out() {
        // Of all values the first quartile is 2 and the third 4.
        let store = [
            minutes("s.a", &[1.0, 2.0, 3.0, 4.0, 2.0]),
            minutes("s.b", &[2.0, 3.0, NO, 3.0, 9.0]),
            minutes("s.c", &[9.0, 9.0, 3.0, 4.0, 2.0]),
            minutes("s.d", &[3.0, -9.0, 3.0, 4.0, 2.0]),
        ];
        for (target, expected) in [
            ("tukeyAbove(s.*,1.5,5)", "s.c s.b"),
            ("tukeyAbove(s.*,1.5,1)", "s.c"),
            ("tukeyAbove(s.*,1.5,5,2)", "s.b"),
            ("tukeyAbove(s.*,1.5,5,'2min')", "s.b"),
            ("tukeyAbove(s.*,1.5,5,-1)", "s.c"),
            ("tukeyAbove(s.*,1.5,5,99)", "s.c s.b"),
            ("tukeyBelow(s.*,1.5,5)", "s.d"),
            ("tukeyBelow(s.*,1.5,5,interval=0)", "s.d"),
            ("tukeyBelow(x,1.5,5)", ""),
        ] {
            assert_eq!(names(target, &store), expected, "{target}");
        }
        assert_eq!(failure("tukeyAbove(s.*,0,5)", &store), "tukeyAbove: basis is above 0, got 0");
        assert_eq!(failure("tukeyBelow(s.*,1,0)", &store), "tukeyBelow: n is at least 1, got 0");
    }
}
