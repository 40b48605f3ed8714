//! Calculate: what all values of a series come to, as lines, and how far they stray.

use chrono_tz::Tz;
use statline_series::{Consolidation, Kind, Step, Timestamp};

use super::{SERIES_LIST, special};
use crate::arguments::{Literal, Param, ParamType};
use crate::context::Context;
use crate::evaluate::{Call, Outcome};
use crate::expr::Number;
use crate::numbers::{general, repr};
use crate::registry::{Function, Group};
use crate::series::Series;
use crate::{aggregate, sliding, time};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "aggregateLine",
        Group::Calculate,
        "A flat line for each series at what func makes of its values; with keepStep on the series' own grid.",
        &[
            SERIES_LIST,
            Param::optional("func", ParamType::AggFunc).or(Literal::Text("average")),
            Param::optional("keepStep", ParamType::Boolean).or(Literal::Bool(false)),
        ],
        aggregate_line,
    ),
    Function::new(
        "identity",
        Group::Calculate,
        "The time itself: a value a minute, which is its own instant in seconds since the epoch.",
        &[Param::required("name", ParamType::String)],
        identity,
    ),
    Function::new(
        "linearRegression",
        Group::Calculate,
        "The straight line nearest to the values between two times, or to those that are shown.",
        &[
            SERIES_LIST,
            Param::optional("startSourceAt", ParamType::Date),
            Param::optional("endSourceAt", ParamType::Date),
        ],
        linear_regression,
    ),
    Function::new(
        "nPercentile",
        Group::Calculate,
        "The n-th percentile of each series' values, as a flat line.",
        &[SERIES_LIST, Param::required("n", ParamType::Float)],
        n_percentile,
    ),
    Function::new(
        "stdev",
        Group::Calculate,
        "The standard deviation of the last points up to each moment, when at least the part windowTolerance of them is known.",
        &[
            SERIES_LIST,
            Param::required("points", ParamType::Integer),
            Param::optional("windowTolerance", ParamType::Float).or(Literal::Number(Number::Float(0.1))),
        ],
        stdev,
    ),
];

fn aggregate_line(call: &mut Call<'_>) -> Outcome {
    let how = call.arguments.aggregation(1);
    let keep_step = call.arguments.flag(2);
    let lines = call.series(0).into_iter().map(|mut one| {
        let value = one.summary(how);
        let shown = if value.is_nan() { "None".to_owned() } else { general(value) };
        let name = format!("aggregateLine({}, {shown})", one.name);
        if keep_step {
            one.set_values(vec![value; one.len()]);
            one.rename(name);
            one.kind = Kind::Untyped;
            return one;
        }
        let exact = match value {
            value if value.is_nan() => shown,
            count if how == Consolidation::Count => general(count),
            value => repr(value),
        };
        let mut line = special::flat_line(exact, value, call.context);
        line.rename(name);
        line
    });
    Ok(lines.collect())
}

fn identity(call: &mut Call<'_>) -> Outcome {
    let name = call.arguments.text(0).unwrap_or_default().to_owned();
    let step = Step::from_seconds(60).unwrap_or(Step::SECOND);
    let mut line = Series::new(name, call.context.from, step, Vec::new());
    line.said_end = call.context.as_graphite_web().then_some(call.context.until);
    let span = call.context.until.millis().saturating_sub(line.start.millis());
    let count = usize::try_from(span.saturating_add(step.millis() - 1) / step.millis()).unwrap_or(0);
    call.check_points(count)?;
    line.set_values((0..count).map(|index| line.time_of(index).millis() as f64 / 1000.0).collect());
    line.path_expression = format!("identity(\"{}\")", line.name);
    Ok(vec![line])
}

fn n_percentile(call: &mut Call<'_>) -> Outcome {
    let percent = call.arguments.number(1).unwrap_or(0.0);
    if percent <= 0.0 {
        return Err(call.unusable(format!("n is a percent above 0, got {}", general(percent))));
    }
    let mut lines = Vec::new();
    for mut one in call.series(0) {
        let value = aggregate::percentile(&mut one.values().to_vec(), percent, false);
        if value.is_nan() {
            continue;
        }
        one.note("nPercentile", repr(percent));
        one.rename(format!("nPercentile({}, {})", one.name, general(percent)));
        one.kind = Kind::Untyped;
        let count = if call.context.as_graphite_web() {
            let span = one.end().millis().saturating_sub(one.start.millis());
            usize::try_from(span / one.step.millis()).unwrap_or(0)
        } else {
            one.len()
        };
        one.set_values(vec![value; count]);
        lines.push(one);
    }
    Ok(lines)
}

fn stdev(call: &mut Call<'_>) -> Outcome {
    let points = call.arguments.integer(1).unwrap_or(0);
    let Some(window) = usize::try_from(points).ok().filter(|window| *window > 0) else {
        return Err(call.unusable(format!("points is a number of points above 0, got {points}")));
    };
    let tolerance = call.arguments.number(2).unwrap_or(0.1);
    let mut series = call.series(0);
    for one in &mut series {
        one.set_values(if call.context.as_graphite_web() {
            drifting_deviations(one.values(), window, tolerance)
        } else {
            sliding::windows(one.values(), window, Consolidation::Stddev, tolerance)
        });
        one.note("stdev", points.to_string());
        one.rename(format!("stdev({},{points})", one.name));
        one.kind = Kind::Untyped;
    }
    Ok(series)
}

/// A square by a power, as Python has it, whose last digit may be another one.
fn squared(value: f64) -> f64 {
    value.powf(std::hint::black_box(2.0))
}

/// Deviations by graphite-web's sums of values and of squares, from which it takes away what leaves the window: they drift
/// after large values.
fn drifting_deviations(values: &[f64], window: usize, tolerance: f64) -> Vec<f64> {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    let mut deviations = Vec::with_capacity(values.len());
    for (index, value) in values.iter().copied().enumerate() {
        let leaving = index.checked_sub(window).map_or(f64::NAN, |place| values[place]);
        if !leaving.is_nan() {
            count -= 1.0;
            sum -= leaving;
            squares -= squared(leaving);
        }
        if !value.is_nan() {
            count += 1.0;
            sum += value;
            squares += squared(value);
        }
        let is_enough = count > 0.0 && count / window as f64 >= tolerance;
        deviations.push(if is_enough { (count * squares - squared(sum)).sqrt() / count } else { f64::NAN });
    }
    deviations
}

fn linear_regression(call: &mut Call<'_>) -> Outcome {
    // graphite-web reads them in the zone of the server.
    let zone = if call.context.as_graphite_web() { Tz::UTC } else { call.context.zone };
    let (from, until) = (call.date(1, zone)?, call.date(2, zone)?);
    let mut source = *call.context;
    source.from = from.unwrap_or(source.from);
    source.until = until.unwrap_or(source.until);
    if source.from >= source.until {
        return Err(call.unusable("startSourceAt has to be before endSourceAt"));
    }
    let series = call.series(0);
    let is_the_same = source == *call.context && !call.context.as_graphite_web();
    let sources = if is_the_same { series.clone() } else { call.series_over(0, &source)? };
    // graphite-web takes the clocks of the query's zone for UTC's where it shows the window's ends.
    let shown = |given: Option<Timestamp>, end: Timestamp| {
        let wrong_zone = given.is_none() && call.context.as_graphite_web();
        let aside = if wrong_zone { time::clock_error_millis(end, call.context.zone) } else { 0 };
        end.offset(aside).seconds()
    };
    let (shown_from, shown_until) = (shown(from, source.from), shown(until, source.until));
    let mut lines = Vec::new();
    for (mut one, source) in series.into_iter().zip(sources) {
        let Some(fit) = Fit::of(&source, call.context) else { continue };
        one.set_values((0..one.len()).map(|index| fit.at(one.time_of(index))).collect());
        one.note("linearRegressions", format!("{shown_from}, {shown_until}"));
        one.rename(format!("linearRegression({}, {shown_from}, {shown_until})", one.name));
        one.kind = Kind::Untyped;
        one.consolidation = None;
        lines.push(one);
    }
    Ok(lines)
}

/// A straight line over time in seconds.
struct Fit {
    /// A moment, and how high the line is at it.
    center: f64,
    height: f64,
    /// By how much it rises in a second.
    slope: f64,
}

impl Fit {
    /// The line by least squares; `None` of fewer than two values.
    fn of(series: &Series, context: &Context) -> Option<Self> {
        let present = || series.values().iter().enumerate().filter(|(_, value)| !value.is_nan());
        let count = series.present();
        if count < 2 {
            return None;
        }
        let (start, step) = (series.start.millis() as f64 / 1000.0, series.step.millis() as f64 / 1000.0);
        let places = present().map(|(index, _)| index as i128).sum::<i128>();
        let values = present().map(|(_, value)| value).sum::<f64>();
        if context.as_graphite_web() {
            // Sums of whole numbers, and a height at the epoch: the last digits are lost, but they are in its names.
            let squares = present().map(|(index, _)| (index as i128).pow(2)).sum::<i128>();
            let products = present().map(|(index, value)| index as f64 * value).sum::<f64>();
            let determinant = (count as i128 * squares - places * places) as f64;
            let slope = (count as f64 * products - places as f64 * values) / determinant / step;
            let height = (squares as f64 * values - products * places as f64) / determinant - slope * start;
            return Some(Self { center: 0.0, height, slope });
        }
        let (place, height) = (places as f64 / count as f64, values / count as f64);
        let (mut squares, mut products) = (0.0, 0.0);
        for (index, value) in present() {
            let distance = index as f64 - place;
            squares += distance * distance;
            products += distance * (value - height);
        }
        Some(Self { center: start + place * step, height, slope: products / squares / step })
    }

    fn at(&self, instant: Timestamp) -> f64 {
        self.height + self.slope * (instant.millis() as f64 / 1000.0 - self.center)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, assert_values, at, check, column, context, failure, minutes, run, run_in};
    use crate::{Compat, Context};

    #[test]
    fn a_percentile_is_a_line() {
        let store = [minutes("a", &[5.0, NO, 1.0, 3.0, 2.0]), minutes("b", &[NO; 5])];
        check("nPercentile(group(a,b),50)", &store, &[("nPercentile(a, 50)", &[3.0; 5])]);
        check("nPercentile(a,99.5)", &store, &[("nPercentile(a, 99.5)", &[5.0; 5])]);
        assert_eq!(failure("nPercentile(a,0)", &store), "nPercentile: n is a percent above 0, got 0");
    }

    #[test]
    fn a_whole_series_is_a_line() {
        let store = [minutes("a", &[5.0, NO, 1.0, 3.0, 2.0]), minutes("b", &[NO; 5])];
        check(
            "aggregateLine(group(a,b))",
            &store,
            &[("aggregateLine(a, 2.75)", &[2.75; 3]), ("aggregateLine(b, None)", &[NO; 3])],
        );
        check("aggregateLine(a,'count',true)", &store, &[("aggregateLine(a, 4)", &[4.0; 5])]);
        let line = run("aggregateLine(a,'max')", &store).remove(0);
        assert_eq!((line.start, line.step.millis(), line.tags["name"].as_str()), (at(0), 150_000, "5.0"));
        assert_eq!(line.path_expression, "aggregateLine(a, 5)");
        assert_eq!(run("aggregateLine(a,'count')", &store)[0].tags["name"], "4");
        check(
            "diffSeries(a,aggregateLine(a,'min'))",
            &store,
            &[("diffSeries(a,aggregateLine(a, 1))", &[4.0, 1.0, 0.0, 2.0, 1.0])],
        );
    }

    #[test]
    fn the_time_is_a_series() {
        let line = run("identity('now then')", &[]).remove(0);
        assert_eq!((line.name.as_str(), line.path_expression.as_str()), ("now then", "identity(\"now then\")"));
        assert_eq!((line.start, line.values()), (at(0), &[0.0, 60.0, 120.0, 180.0, 240.0][..]));
        let endless = Context { until: statline_series::Timestamp::MAX, ..context() };
        assert!(run_in(&endless, "identity('x')", &[]).is_err());
    }

    #[test]
    fn deviations_are_those_of_the_last_points() {
        let store = [minutes("a", &[1.0, 3.0, NO, 5.0, 9.0])];
        check("stdev(a,2)", &store, &[("stdev(a,2)", &[0.0, 1.0, 0.0, 0.0, 2.0])]);
        check("stdev(a,2,1)", &store, &[("stdev(a,2)", &[NO, 1.0, NO, NO, 2.0])]);
        assert_eq!(run("stdev(a,2)", &store)[0].tags["stdev"], "2");
        assert_eq!(failure("stdev(a,0)", &store), "stdev: points is a number of points above 0, got 0");
    }

    #[test]
    fn a_regression_is_a_straight_line() {
        // 2 a minute, and 10 at 60 s.
        let store = [
            column("a", -240, 60, &[0.0, 2.0, NO, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0]),
            minutes("b", &[NO, NO, 7.0, NO, NO]),
        ];
        let line = [10.0, 12.0, 14.0, 16.0, 18.0];
        check("linearRegression({a,b})", &store, &[("linearRegression(a, 0, 300)", &line)]);
        check("linearRegression(a,'-10min','-6min')", &store, &[("linearRegression(a, -300, -60)", &line)]);
        assert_eq!(run("linearRegression(a)", &store)[0].tags["linearRegressions"], "0, 300");
        assert!(
            failure("linearRegression(a,'soon')", &store)
                .starts_with("linearRegression: startSourceAt: \"soon\" is not a time")
        );
        assert!(
            failure("linearRegression(a,'now','-1h')", &store).ends_with("startSourceAt has to be before endSourceAt")
        );
        let berlin = Context { zone: chrono_tz::Tz::Europe__Berlin, compat: Compat::GraphiteWeb, ..context() };
        let one = run_in(&berlin, "linearRegression(a)", &store).unwrap().remove(0);
        assert_eq!(one.name, "linearRegression(a, 3600, 3900)");
        assert_values(one.values(), &line, "whatever the zone");
    }
}
