//! Transform, continued: coarser points, each made of the values in an interval.

use statline_series::{Consolidation, Kind, Timestamp};

use super::SERIES_LIST;
use super::intervals::{self, Begin, Unit};
use crate::aggregate;
use crate::align::{Bucketer, enough};
use crate::arguments::{Arguments, Literal, Param, ParamType, Scalar};
use crate::context::Context;
use crate::error::EvalError;
use crate::evaluate::{Call, Outcome};
use crate::registry::{Function, Group};
use crate::series::Series;

const FUNC: Param = Param::optional("func", ParamType::AggFunc).or(Literal::Text("sum"));

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "smartSummarize",
        Group::Transform,
        "One value for each interval, made by func of the values in it. Intervals begin with the range, or with alignTo at \
         the year, month, week, day, hour, minute or second that it begins in.",
        &[
            SERIES_LIST,
            intervals::PARAM,
            FUNC,
            Param::optional("alignTo", ParamType::Alignment).suggesting(&[
                Literal::Text("years"),
                Literal::Text("months"),
                Literal::Text("weeks"),
                Literal::Text("weeks7"),
                Literal::Text("days"),
                Literal::Text("hours"),
                Literal::Text("minutes"),
                Literal::Text("seconds"),
            ]),
        ],
        smart_summarize,
    )
    .over(aligned_window),
    Function::new(
        "summarize",
        Group::Transform,
        "One value for each interval, made by func of the values in it. Intervals are those of the clock and the calendar, \
         or with alignToFrom begin with the series.",
        &[
            SERIES_LIST,
            intervals::PARAM,
            FUNC,
            Param::optional("alignToFrom", ParamType::Boolean).or(Literal::Bool(false)),
        ],
        summarize,
    ),
];

fn summarize(call: &mut Call<'_>) -> Outcome {
    let interval = intervals::length(&call.arguments, "summarize")?;
    let from_start = call.arguments.flag(3);
    let begin_of = |call: &Call<'_>, one: &Series| {
        let zone = intervals::zone(call.context);
        if from_start { Begin::At(one.start) } else { Begin::of_calendar(one.start, interval, zone) }
    };
    let past_end = |one: &Series| if from_start { one.end() } else { one.end().align_down(interval).offset(1) };
    let suffix = if from_start { ", true" } else { "" };
    gather(call, "summarize", suffix, begin_of, past_end)
}

fn smart_summarize(call: &mut Call<'_>) -> Outcome {
    let aligned = alignment(&call.arguments)?.map(|unit| (unit, unit.start(call.context.from, call.context)));
    let interval = intervals::length(&call.arguments, "smartSummarize")?;
    if let (true, Some((_, start))) = (call.context.as_graphite_web(), aligned) {
        call.look_again(0, &intervals::window_from(start, call.context))?;
    }
    let begin_of = |call: &Call<'_>, one: &Series| match aligned {
        // What the window begins with may come later than what it is aligned to.
        Some((unit, start)) if !call.context.as_graphite_web() && one.start < start.offset(one.step.millis()) => {
            if unit.is_of_days() { Begin::at_day(start, interval, call.context.zone) } else { Begin::At(start) }
        }
        _ => Begin::At(one.start),
    };
    gather(call, "smartSummarize", "", begin_of, Series::end)
}

fn alignment(arguments: &Arguments<'_>) -> Result<Option<Unit>, EvalError> {
    match arguments.scalar(3) {
        Some(Scalar::Text(text)) => Unit::parse(text)
            .map(Some)
            .map_err(|reason| EvalError::Unusable { function: "smartSummarize", reason: format!("alignTo: {reason}") }),
        // Once a flag, which still stands in old dashboards and means nothing.
        _ => Ok(None),
    }
}

fn aligned_window(arguments: &Arguments<'_>, context: &Context) -> Result<Context, EvalError> {
    let Some(unit) = alignment(arguments)?.filter(|_| !context.as_graphite_web()) else { return Ok(*context) };
    Ok(intervals::window_from(unit.start(context.from, context), context))
}

/// Makes one value of the values in each interval. Intervals begin where `begin_of` says. As many follow as a series needs;
/// for graphite-web as many as it takes to get past `past_end`.
fn gather(
    call: &mut Call<'_>,
    name: &str,
    suffix: &str,
    begin_of: impl Fn(&Call<'_>, &Series) -> Begin,
    past_end: impl Fn(&Series) -> Timestamp,
) -> Outcome {
    let interval = intervals::length(&call.arguments, call.function.name)?;
    let how = call.arguments.aggregation(2);
    let text = call.arguments.text(1).unwrap_or_default().to_owned();
    let function = call.arguments.text(2).unwrap_or_default().to_owned();
    let mut series = call.series(0);
    for one in &mut series {
        let end = if call.context.as_graphite_web() { past_end(one) } else { one.end() };
        one.keep_before_end();
        let boundaries = if one.is_empty() && !call.context.as_graphite_web() {
            Vec::new()
        } else {
            begin_of(call, one).boundaries(end, interval, call)?
        };
        one.set_values(bucket_values(one, &boundaries, how, interval.millis(), call.context));
        one.set_whole(how == Consolidation::Count);
        one.start = boundaries.first().copied().unwrap_or(one.start);
        one.step = interval;
        one.note(name, text.as_str());
        one.note(&format!("{name}Function"), function.as_str());
        one.rename(format!("{name}({}, \"{text}\", \"{function}\"{suffix})", one.name));
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

fn bucket_values(
    one: &Series,
    boundaries: &[Timestamp],
    how: Consolidation,
    interval_millis: i64,
    context: &Context,
) -> Vec<f64> {
    let slots = interval_millis as f64 / one.step.millis() as f64;
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

#[cfg(test)]
mod tests {
    use crate::testing::{NO, assert_values, at, check, column, context, failure, minutes, run, run_in};
    use crate::{Compat, Context};
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
    fn an_interval_far_finer_than_the_step_is_refused() {
        let store = [column("a", 0, 86_400, &[1.0; 400])];
        let year = Context::new(at(0), at(400 * 86_400), at(400 * 86_400));
        let error = run_in(&year, "summarize(a,'1s')", &store).unwrap_err().to_string();
        assert!(error.starts_with("the target needs 34560"), "{error}");
    }

    #[test]
    fn graphite_web_summarizes_one_interval_beyond_the_end() {
        let store = [minutes("a", &[1.0, 2.0, NO, 4.0, 5.0])];
        let compat = Context { compat: Compat::GraphiteWeb, ..context() };
        let one = run_in(&compat, "summarize(a,'2min')", &store).unwrap().remove(0);
        assert_values(one.values(), &[1.0, 2.0, 9.0, NO], "the series ends at 360");
        let one = run_in(&compat, "summarize(a,'2min','sum',true)", &store).unwrap().remove(0);
        assert_values(one.values(), &[3.0, 4.0, 5.0], "aligned to the start");
    }

    #[test]
    fn intervals_begin_where_they_are_told_to() {
        // Thursday, 29 October 2026, 14:25:30 UTC; clocks went back in Berlin on the 25th.
        let now = 1_793_283_930;
        let (midnight, hour) = (1_793_232_000, 3600);
        let store = [column("a", midnight - 40 * 86_400, 600, &[1.0; 40 * 144 + 100])];
        let window = Context { from: at(now - 60), until: at(now), now: at(now), ..context() };
        for (target, start, first) in [
            ("smartSummarize(a,'1h','sum','hours')", midnight + 14 * hour, 3.0),
            ("smartSummarize(a,'1d','sum','days')", midnight, 87.0),
            ("smartSummarize(a,'1w','sum','weeks')", midnight - 3 * 86_400, 3.0 * 144.0 + 87.0),
            ("smartSummarize(a,'1w','sum','weeks7')", midnight - 4 * 86_400, 4.0 * 144.0 + 87.0),
            ("smartSummarize(a,'1w','sum','w4')", midnight, 87.0),
            ("smartSummarize(a,'1w','sum','weeks5')", midnight - 6 * 86_400, 6.0 * 144.0 + 87.0),
            ("smartSummarize(a,'1mon','count','months')", midnight - 28 * 86_400, 28.0 * 144.0 + 87.0),
        ] {
            let one = run_in(&window, target, &store).unwrap().remove(0);
            assert_eq!(one.start, at(start), "{target}");
            assert_eq!(one.values()[0], first, "{target}");
        }
        let fine = [column("f", now - 200, 1, &[1.0; 201])];
        for (unit, start, first) in [("minutes", now - 90, 60.0), ("min", now - 90, 60.0), ("seconds", now - 60, 60.0)]
        {
            let target = format!("smartSummarize(f,'1min','sum','{unit}')");
            let one = run_in(&window, &target, &fine).unwrap().remove(0);
            assert_eq!((one.start, one.values()[0]), (at(start), first), "{target}");
        }
        let berlin = Context { zone: Tz::Europe__Berlin, ..window };
        let days = run_in(&berlin, "smartSummarize(a,'1d','sum','weeks7')", &store).unwrap().remove(0);
        assert_eq!(days.start, at(midnight - 4 * 86_400 - 2 * hour), "midnight of the 25th, in summer time");
        assert_values(days.values(), &[150.0, 144.0, 144.0, 144.0, 93.0], "a day of 25 hours");
        assert_eq!(days.name, "smartSummarize(a, \"1d\", \"sum\")");
        assert_eq!((days.tags["smartSummarize"].as_str(), days.tags["smartSummarizeFunction"].as_str()), ("1d", "sum"));
        let plain = [minutes("b", &[1.0, 2.0, NO, 4.0, 5.0])];
        for target in ["smartSummarize(b,'2min')", "smartSummarize(b,'2min','sum',true)"] {
            let name = "smartSummarize(b, \"2min\", \"sum\")";
            check(target, &plain, &[(name, &[3.0, 4.0, 5.0])]);
            assert_eq!(run(target, &plain)[0].start, at(60));
        }
        for (unit, reason) in [
            ("fortnights", "expected years, months, weeks, days, hours, minutes or seconds, got \"fortnights\""),
            ("weeks8", "the day of the week that weeks begin with is 1 (Monday) to 7 (Sunday), got \"weeks8\""),
        ] {
            let target = format!("smartSummarize(b,'1d','sum','{unit}')");
            assert_eq!(failure(&target, &plain), format!("smartSummarize: alignTo: {reason}"));
        }
    }

    #[test]
    fn graphite_web_asks_of_each_series_what_was_asked_when_it_was_made() {
        let store = [minutes("a", &[1.0, 2.0, NO, 4.0, 5.0]), minutes("b", &[1.0, 2.0, NO, 4.0, 5.0])];
        let compat = Context { compat: Compat::GraphiteWeb, ..context() };
        let summarized = |target: &str| run_in(&compat, target, &store).unwrap().pop().unwrap().into_values();
        let strict = "summarize(sumSeries(setXFilesFactor(a,1)),'2min','sum',true)";
        assert_values(&summarized(strict), &[3.0, NO, NO], "made after the factor was set");
        let before = "summarize(group(setXFilesFactor(b,1),a),'2min','sum',true)";
        assert_values(&summarized(before), &[3.0, NO, NO], "fetched after it was set");
        let after = "summarize(group(a,setXFilesFactor(b,1))|limit(1),'2min','sum',true)";
        assert_values(&summarized(after), &[3.0, 4.0, 5.0], "fetched before it was set");
    }
}
