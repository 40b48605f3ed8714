//! Transform, continued: rates as the hits that they amount to.

use statline_series::{Kind, Step, TimeRange, Timestamp};

use super::SERIES_LIST;
use super::intervals::{self, Unit};
use crate::arguments::{Arguments, Literal, Param, ParamType};
use crate::context::Context;
use crate::error::EvalError;
use crate::evaluate::{Call, Outcome};
use crate::registry::{Function, Group};
use crate::series::Series;

pub(crate) const FUNCTIONS: &[Function] = &[Function::new(
    "hitcount",
    Group::Transform,
    "How many hits rates a second amount to in each interval. Intervals end with the series, or with alignToInterval begin \
     at whole minutes, hours or days.",
    &[
        SERIES_LIST,
        intervals::PARAM,
        Param::optional("alignToInterval", ParamType::Boolean).or(Literal::Bool(false)),
    ],
    hitcount,
)
.over(window)];

fn window(arguments: &Arguments<'_>, context: &Context) -> Result<Context, EvalError> {
    let interval = intervals::length(arguments, "hitcount")?;
    let begins_earlier = arguments.flag(2) && !context.as_graphite_web();
    Ok(if begins_earlier { aligned_window(interval, context) } else { *context })
}

fn aligned_window(interval: Step, context: &Context) -> Context {
    let unit = match interval.millis() {
        86_400_000.. => Unit::Days,
        3_600_000.. => Unit::Hours,
        60_000.. => Unit::Minutes,
        _ => Unit::Seconds,
    };
    intervals::window_from(unit.start(context.from, context), context)
}

fn hitcount(call: &mut Call<'_>) -> Outcome {
    let interval = intervals::length(&call.arguments, "hitcount")?;
    let aligned = call.arguments.flag(2);
    if aligned && call.context.as_graphite_web() {
        call.look_again(0, &aligned_window(interval, call.context))?;
    }
    let text = call.arguments.text(1).unwrap_or_default().to_owned();
    let suffix = if aligned { ", true" } else { "" };
    let mut series = call.series(0);
    for one in &mut series {
        let length = TimeRange::new(one.start, one.end()).millis();
        // graphite-web has an interval begin at the end of those that are aligned.
        let is_begun = length % interval.millis() > 0 || aligned && call.context.as_graphite_web();
        let count = length / interval.millis() + i64::from(is_begun);
        let buckets = usize::try_from(count).unwrap_or(usize::MAX);
        call.check_points(buckets)?;
        let start = if aligned {
            one.start
        } else {
            one.end().offset(interval.millis().saturating_mul(count).saturating_neg())
        };
        if aligned {
            one.said_end = None;
        }
        one.set_values(hits(one, start, interval, buckets));
        one.start = start;
        one.step = interval;
        one.note("hitcount", text.as_str());
        one.rename(format!("hitcount({}, \"{text}\"{suffix})", one.name));
        one.kind = Kind::Count;
    }
    Ok(series)
}

/// Spreads each value, a rate that holds for a step, over the intervals that its step touches.
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
    use crate::testing::{NO, assert_values, at, check, column, context, minutes, run_in};
    use crate::{Compat, Context};

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
    fn graphite_web_begins_after_the_start() {
        let day = 86_400;
        let hourly = [column("h", day, 3600, &[1.0; 72])];
        let window =
            Context { compat: Compat::GraphiteWeb, ..Context::new(at(2 * day + 7200), at(3 * day), at(3 * day)) };
        let aligned = run_in(&window, "hitcount(h,'1d',true)", &hourly).unwrap().remove(0);
        assert_eq!(aligned.start, at(2 * day + 3600));
        assert_values(aligned.values(), &[86_400.0, NO], "from the first value after midnight on");
    }
}
