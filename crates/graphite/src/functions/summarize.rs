//! Transform, continued: coarser points, each standing for an interval.
//!
//! Intervals of whole days begin at midnight in the query's zone, shorter ones at its multiples of the interval, so that a
//! day is a day also where clocks differ from UTC or change.

use statline_series::{Consolidation, Kind, Step, TimeRange, Timestamp};

use super::SERIES_LIST;
use crate::align::{Bucketer, enough};
use crate::arguments::{Arguments, Literal, Param, ParamType};
use crate::context::Context;
use crate::error::EvalError;
use crate::evaluate::{Call, Outcome, Stop};
use crate::registry::{Function, Group};
use crate::series::Series;
use crate::{aggregate, time};

const MILLIS_A_DAY: i64 = 86_400_000;
const INTERVAL: Param = Param::required("intervalString", ParamType::Interval).suggesting(&[
    Literal::Text("10min"),
    Literal::Text("1h"),
    Literal::Text("1d"),
]);

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "hitcount",
        Group::Transform,
        "How many hits rates a second amount to in each interval. Intervals end with the series, or with alignToInterval \
         begin at whole minutes, hours or days.",
        &[SERIES_LIST, INTERVAL, Param::optional("alignToInterval", ParamType::Boolean).or(Literal::Bool(false))],
        hitcount,
    )
    .over(hitcount_window),
    Function::new(
        "summarize",
        Group::Transform,
        "One value for each interval, made by func of the values in it. Intervals are those of the clock and the calendar, \
         or with alignToFrom begin with the series.",
        &[
            SERIES_LIST,
            INTERVAL,
            Param::optional("func", ParamType::AggFunc).or(Literal::Text("sum")),
            Param::optional("alignToFrom", ParamType::Boolean).or(Literal::Bool(false)),
        ],
        summarize,
    ),
];

fn interval(arguments: &Arguments<'_>, function: &'static str) -> Result<Step, EvalError> {
    let text = arguments.text(1).unwrap_or_default();
    let millis = time::parse_interval(text).unwrap_or(0);
    Step::from_millis(millis).ok_or_else(|| EvalError::Unusable {
        function,
        reason: format!("intervalString is longer than nothing, such as \"1h\", got {text:?}"),
    })
}

fn summarize(call: &mut Call<'_>) -> Outcome {
    let interval = interval(&call.arguments, "summarize")?;
    let how = call.arguments.aggregation(2);
    let text = call.arguments.text(1).unwrap_or_default().to_owned();
    let function = call.arguments.text(2).unwrap_or_default().to_owned();
    let from_start = call.arguments.flag(3);
    let suffix = if from_start { ", true" } else { "" };
    let mut series = call.series(0);
    for one in &mut series {
        let boundaries = boundaries(call, one, interval, from_start)?;
        // graphite-web sees no value from the end on that it has for a series.
        let end = one.end();
        one.keep_first(one.steps_to_end());
        one.said_end = Some(end).filter(|_| call.context.as_graphite_web());
        one.set_values(bucket_values(one, &boundaries, interval, how, call.context));
        one.start = boundaries.first().copied().unwrap_or(one.start);
        one.step = interval;
        one.said_end = boundaries.last().copied().filter(|_| call.context.as_graphite_web());
        one.note("summarize", text.as_str());
        one.note("summarizeFunction", function.as_str());
        let name = format!("summarize({}, \"{text}\", \"{function}\"{suffix})", one.name);
        one.rename(name);
        one.kind = summary_kind(how, one.kind);
    }
    Ok(series)
}

/// What values mean once each stands for an interval: sums of counts are counts, maxima are maxima.
const fn summary_kind(how: Consolidation, kind: Kind) -> Kind {
    match how {
        Consolidation::Sum => Kind::Count,
        Consolidation::Max => Kind::Maximum,
        Consolidation::Min => Kind::Minimum,
        Consolidation::Last if matches!(kind, Kind::Cumulative | Kind::Gauge) => kind,
        _ => Kind::Untyped,
    }
}

#[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^52 ms")]
fn bucket_values(
    one: &Series,
    boundaries: &[Timestamp],
    interval: Step,
    how: Consolidation,
    context: &Context,
) -> Vec<f64> {
    let slots = interval.millis() as f64 / one.step.millis() as f64;
    let factor = one.x_files_factor.unwrap_or(context.x_files_factor);
    let bucketer = Bucketer::new(one, context);
    boundaries
        .windows(2)
        .map(|bounds| {
            let bucket = &one.values()[bucketer.indices(bounds[0], bounds[1])];
            let present = bucket.iter().filter(|value| !value.is_nan()).count();
            if enough(present, slots, factor) { aggregate::row(how, bucket) } else { f64::NAN }
        })
        .collect()
}

/// Where intervals begin and the last one ends, over the whole of a series.
fn boundaries(call: &Call<'_>, one: &Series, interval: Step, from_start: bool) -> Result<Vec<Timestamp>, Stop> {
    if one.is_empty() {
        return Ok(Vec::new());
    }
    let (start, end) = (one.start, one.end());
    if call.context.as_graphite_web() {
        return every_boundary(call, one, interval, from_start);
    }
    let zone = call.context.zone;
    let days = !from_start && interval.millis() % MILLIS_A_DAY == 0;
    let ahead = time::offset_millis(start, zone);
    let first = if from_start { start } else { start.offset(ahead).align_down(interval).offset(-ahead) };
    // One more than there are, so that the last one has an end; and one for a day that is longer than others.
    let count = TimeRange::new(first, end).millis() / interval.millis() + 2;
    call.check_points(usize::try_from(count).unwrap_or(usize::MAX))?;
    let first_local = start.offset(ahead).align_down(interval);
    let mut boundaries = Vec::new();
    let mut index = 0;
    loop {
        let ahead_of_first = interval.millis().saturating_mul(index);
        let boundary =
            if days { midnight(first_local.offset(ahead_of_first), zone) } else { first.offset(ahead_of_first) };
        boundaries.push(boundary);
        if boundary >= end || index > count {
            return Ok(boundaries);
        }
        index += 1;
    }
}

/// graphite-web's: by UTC's days, and with an interval more than there are when the last one ends with the series.
fn every_boundary(call: &Call<'_>, one: &Series, interval: Step, from_start: bool) -> Result<Vec<Timestamp>, Stop> {
    let (start, end) =
        if from_start { (one.start, one.end().offset(-1)) } else { (one.start.align_down(interval), one.end()) };
    let span = end.millis().saturating_sub(start.millis());
    let count = if span < 0 { 0 } else { span / interval.millis() + 1 };
    call.check_points(usize::try_from(count).unwrap_or(usize::MAX))?;
    Ok((0..=count).map(|index| start.offset(interval.millis().saturating_mul(index))).collect())
}

/// The instant at which a zone's wall clocks show what UTC's show at another.
fn midnight(wall: Timestamp, zone: chrono_tz::Tz) -> Timestamp {
    time::local(wall, chrono_tz::Tz::UTC).map_or(wall, |wall| time::at_local(wall, zone))
}

fn hitcount_window(arguments: &Arguments<'_>, context: &Context) -> Result<Context, EvalError> {
    let interval = interval(arguments, "hitcount")?;
    if !arguments.flag(2) {
        return Ok(*context);
    }
    let start = time::start_of(interval.millis(), context.from, context.zone);
    // The window excludes its start, where a value has to be; graphite-web has the one after it.
    Ok(Context { from: if context.as_graphite_web() { start } else { start.offset(-1) }, ..*context })
}

fn hitcount(call: &mut Call<'_>) -> Outcome {
    let interval = interval(&call.arguments, "hitcount")?;
    let aligned = call.arguments.flag(2);
    let text = call.arguments.text(1).unwrap_or_default().to_owned();
    let suffix = if aligned { ", true" } else { "" };
    let mut series = call.series(0);
    for one in &mut series {
        let mut length = TimeRange::new(one.start, one.end()).millis();
        if aligned && call.context.as_graphite_web() {
            length += interval.millis() - length % interval.millis();
        }
        let count = length / interval.millis() + i64::from(length % interval.millis() > 0);
        let buckets = usize::try_from(count).unwrap_or(usize::MAX);
        call.check_points(buckets)?;
        let start = if aligned {
            one.start
        } else {
            one.end().offset(interval.millis().saturating_mul(count).saturating_neg())
        };
        let end = one.end();
        one.set_values(hits(one, start, interval, buckets));
        one.start = start;
        one.step = interval;
        one.said_end = call.context.as_graphite_web().then(|| if aligned { start.offset(length) } else { end });
        one.note("hitcount", text.as_str());
        one.rename(format!("hitcount({}, \"{text}\"{suffix})", one.name));
        one.kind = Kind::Count;
    }
    Ok(series)
}

/// Spreads each value, a rate that holds for a step, over the intervals that its step touches.
#[expect(clippy::cast_precision_loss, reason = "lengths are far below 2^52 ms")]
fn hits(one: &Series, start: Timestamp, interval: Step, buckets: usize) -> Vec<f64> {
    let mut hits = vec![f64::NAN; buckets];
    for point in one.points().filter(|point| !point.value.is_nan()) {
        let mut from = point.timestamp.millis().saturating_sub(start.millis()).max(0);
        let until = from.saturating_add(one.step.millis());
        while from < until {
            let bucket = from / interval.millis();
            let bucket_end = interval.millis().saturating_mul(bucket + 1);
            let seconds = (until.min(bucket_end) - from) as f64 / 1000.0;
            let Some(slot) = usize::try_from(bucket).ok().and_then(|bucket| hits.get_mut(bucket)) else { break };
            *slot = if slot.is_nan() { 0.0 } else { *slot } + point.value * seconds;
            from = bucket_end;
        }
    }
    hits
}

#[cfg(test)]
mod tests {
    use crate::Context;
    use crate::testing::{NO, assert_values, at, check, column, context, failure, minutes, run, run_in};
    use chrono_tz::Tz;
    use statline_series::Kind;

    #[test]
    fn values_of_an_interval_become_one() {
        let store = [minutes("a", &[1.0, 2.0, NO, 4.0, 5.0])];
        for (target, name, start, values) in [
            ("summarize(a,'2min')", "summarize(a, \"2min\", \"sum\")", 0, &[1.0, 2.0, 9.0][..]),
            ("summarize(a,'2min','avg')", "summarize(a, \"2min\", \"avg\")", 0, &[1.0, 2.0, 4.5]),
            ("summarize(a,'2min','max',true)", "summarize(a, \"2min\", \"max\", true)", 60, &[2.0, 4.0, 5.0]),
            ("summarize(a,'3min','last')", "summarize(a, \"3min\", \"last\")", 0, &[2.0, 5.0]),
            ("summarize(a,'1min','count')", "summarize(a, \"1min\", \"count\")", 60, &[1.0, 1.0, NO, 1.0, 1.0]),
            ("summarize(a,'1h')", "summarize(a, \"1h\", \"sum\")", 0, &[12.0]),
            ("summarize(a,'30s')", "summarize(a, \"30s\", \"sum\")", 60, &[1.0, NO, 2.0, NO, NO, NO, 4.0, NO, 5.0, NO]),
            ("summarize(setXFilesFactor(a,1),'2min')", "summarize(a, \"2min\", \"sum\")", 0, &[NO, NO, 9.0]),
        ] {
            check(target, &store, &[(name, values)]);
            assert_eq!(run(target, &store)[0].start, at(start), "{target}");
        }
        check("summarize(x,'1h')", &store, &[]);
        assert_eq!(run("summarize(a,'2min')", &store)[0].kind, Kind::Count);
        assert_eq!(
            failure("summarize(a,'0s')", &store),
            "summarize: intervalString is longer than nothing, such as \"1h\", got \"0s\""
        );
    }

    #[test]
    fn days_are_those_of_the_zone() {
        // An hour's values over three days, of which the second is 25 hours long in Berlin: 25 October 2026.
        let hour = 3600;
        let midnight = 1_792_792_800;
        let store = [column("a", midnight, hour, &[1.0; 73])];
        let window = Context::new(at(midnight - 1), at(midnight + 72 * hour), at(midnight + 72 * hour));
        let berlin = Context { zone: Tz::Europe__Berlin, ..window };
        let days = run_in(&berlin, "summarize(a,'1d')", &store).unwrap().remove(0);
        assert_eq!(days.start, at(midnight));
        assert_values(days.values(), &[24.0, 25.0, 24.0], "Berlin");
        let days = run_in(&window, "summarize(a,'1d')", &store).unwrap().remove(0);
        assert_eq!(days.start, at(midnight - 22 * hour));
        assert_values(days.values(), &[2.0, 24.0, 24.0, 23.0], "UTC");
        let india = Context { zone: Tz::Asia__Kolkata, ..window };
        let hours = run_in(&india, "summarize(a,'1h')", &store).unwrap().remove(0);
        assert_eq!(hours.start, at(midnight - hour / 2));
    }

    #[test]
    fn rates_amount_to_hits() {
        let store = [minutes("a", &[1.0, 2.0, NO, 4.0, 5.0])];
        // The series ends at 360.
        check("hitcount(a,'2min')", &store, &[("hitcount(a, \"2min\")", &[60.0, 120.0, 540.0])]);
        check("hitcount(a,'90s')", &store, &[("hitcount(a, \"90s\")", &[30.0, 150.0, 120.0, 420.0])]);
        let day = 86_400;
        let hourly = [column("h", day, 3600, &[1.0; 72])];
        let window = Context::new(at(2 * day + 7200), at(3 * day), at(3 * day));
        let aligned = run_in(&window, "hitcount(h,'1d',true)", &hourly).unwrap().remove(0);
        assert_eq!((aligned.name.as_str(), aligned.start), ("hitcount(h, \"1d\", true)", at(2 * day)));
        assert_values(aligned.values(), &[86_400.0, 3600.0], "aligned");
        assert!(context().from < at(day));
    }

    #[test]
    fn an_interval_far_finer_than_the_step_is_refused() {
        let store = [column("a", 0, 86_400, &[1.0; 400])];
        let year = Context::new(at(0), at(400 * 86_400), at(400 * 86_400));
        let error = run_in(&year, "summarize(a,'1s')", &store).unwrap_err().to_string();
        assert!(error.starts_with("the target needs 34560"), "{error}");
    }
}
