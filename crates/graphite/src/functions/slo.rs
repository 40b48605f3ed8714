//! Transform, continued: carbonapi's service levels, the part of each interval in which values are as they should be.

use statline_series::{Kind, Step, TimeRange};

use super::{SERIES_LIST, intervals};
use crate::arguments::{Arguments, Literal, Param, ParamType};
use crate::context::Context;
use crate::error::EvalError;
use crate::evaluate::{Call, Outcome, Stop};
use crate::expr::Number;
use crate::registry::{Function, Group};
use crate::series::Series;

const METHODS: &[&str] = &["above", "aboveOrEqual", "below", "belowOrEqual"];
const INTERVAL: Param = Param { name: "interval", ..intervals::PARAM };
const METHOD: Param = Param::required("method", ParamType::String).one_of(METHODS);
const VALUE: Param = Param::required("value", ParamType::Float);
const OBJECTIVES: &[Literal] = &[Literal::Number(Number::Float(0.99)), Literal::Number(Number::Float(0.999))];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "slo",
        Group::Transform,
        "The part, from 0 to 1, of the values in each interval that are above or below a value.",
        &[SERIES_LIST, INTERVAL, METHOD, VALUE],
        |call| levels(call, None),
    )
    .over(window),
    Function::new(
        "sloErrorBudget",
        Group::Transform,
        "How many seconds of each interval the values could still have been other than above or below a value, so that at \
         least the part objective were; negative when they were for longer.",
        &[SERIES_LIST, INTERVAL, METHOD, VALUE, Param::required("objective", ParamType::Float).suggesting(OBJECTIVES)],
        |call| {
            let objective = call.arguments.number(4).unwrap_or(1.0);
            levels(call, Some(objective))
        },
    )
    .also(&["sloErrors"])
    .over(window),
];

/// An interval longer than the window reaches back from its end.
fn window(arguments: &Arguments<'_>, context: &Context) -> Result<Context, EvalError> {
    let interval = intervals::length(arguments, "slo")?.millis();
    let length = context.until.millis().saturating_sub(context.from.millis());
    Ok(context.looking_back(interval.saturating_sub(length).max(0)))
}

fn levels(call: &mut Call<'_>, objective: Option<f64>) -> Outcome {
    let interval = intervals::length(&call.arguments, call.function.name)?;
    let text = call.arguments.text(1).unwrap_or_default().to_owned();
    let method = call.arguments.text(2).unwrap_or_default().to_owned();
    let bound = call.arguments.number(3).unwrap_or(0.0);
    let passes: fn(f64, f64) -> bool = match method.as_str() {
        "above" => |value, bound| value > bound,
        "aboveOrEqual" => |value, bound| value >= bound,
        "below" => |value, bound| value < bound,
        _ => |value, bound| value <= bound,
    };
    let shown_objective = objective.map(|objective| format!(", {objective}")).unwrap_or_default();
    let name = call.function.name;
    let mut series = call.series(0);
    for one in &mut series {
        let values = level_of_each(call, one, interval, |value| passes(value, bound), objective)?;
        // What was only fetched to fill an interval is not shown.
        let early = call.context.from.offset(1).millis().saturating_sub(one.start.millis()).max(0);
        let steps = early / one.step.millis() + i64::from(early % one.step.millis() > 0);
        one.start = one.start.offset(steps.saturating_mul(one.step.millis()));
        one.step = interval;
        one.set_values(values);
        one.rename(format!("{name}({}, {text}, {method}, {bound}{shown_objective})", one.name));
        one.kind = Kind::Untyped;
    }
    Ok(series)
}

/// The level of each interval from the start of a series on, or the seconds by which it is above the objective. Unknown
/// where nothing is known, and for intervals shorter than the series' step.
fn level_of_each(
    call: &Call<'_>,
    one: &Series,
    interval: Step,
    passes: impl Fn(f64) -> bool,
    objective: Option<f64>,
) -> Result<Vec<f64>, Stop> {
    let length = TimeRange::new(one.start, one.end()).millis();
    let count = length / interval.millis() + i64::from(length % interval.millis() > 0);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    call.check_points(count)?;
    let mut levels = vec![f64::NAN; count];
    if one.step > interval {
        return Ok(levels);
    }
    let step = one.step.millis();
    // The place of the first value that begins in or after an interval.
    let place = |index: i64| {
        let begin = interval.millis().saturating_mul(index);
        usize::try_from(begin / step + i64::from(begin % step > 0)).unwrap_or(usize::MAX).min(one.len())
    };
    for (index, level) in (0_i64..).zip(&mut levels) {
        let values = &one.values()[place(index)..place(index + 1)];
        let (mut present, mut good) = (0.0, 0.0);
        for value in values.iter().filter(|value| !value.is_nan()) {
            present += 1.0;
            good += f64::from(u8::from(passes(*value)));
        }
        if present > 0.0 {
            let is_whole = place(index + 1) < one.len() || length % interval.millis() == 0;
            let seconds = if is_whole { interval.seconds() } else { values.len() as f64 * one.step.seconds() };
            *level = objective.map_or(good / present, |objective| (good / present - objective) * seconds);
        }
    }
    Ok(levels)
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, assert_values, at, check, column, context, failure, run, run_in};
    use crate::{Context, FetchedSeries};

    /// Eleven values, five seconds apart, that end at 300 s.
    fn store() -> [FetchedSeries; 2] {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, NO, NO, 6.0, 7.0, 0.0, 8.0];
        [column("a", 250, 5, &values), column("minutes", 60, 60, &[1.0, 2.0, 3.0, 4.0, 5.0])]
    }

    #[test]
    fn levels_are_the_part_that_passes() {
        let recent = Context { from: at(245), ..context() };
        for (target, name, expected) in [
            ("slo(a,'10s','above',2)", "slo(a, 10s, above, 2)", &[0.0, 1.0, 1.0, 1.0, 0.5, 1.0][..]),
            ("slo(a,'10s','below',2.5)", "slo(a, 10s, below, 2.5)", &[1.0, 0.0, 0.0, 0.0, 0.5, 0.0]),
            ("slo(a,'30s','aboveOrEqual',3)", "slo(a, 30s, aboveOrEqual, 3)", &[0.6, 0.75]),
            ("slo(a,'30s','belowOrEqual',3)", "slo(a, 30s, belowOrEqual, 3)", &[0.6, 0.25]),
            // Values begin at 0, 5, 10, … of intervals that begin at 0, 12, 24, ….
            ("slo(a,'12s','above',2)", "slo(a, 12s, above, 2)", &[1.0 / 3.0, 1.0, 1.0, 0.5, 1.0]),
            ("slo(a,'4s','above',2)", "slo(a, 4s, above, 2)", &[NO; 14]),
            (
                "sloErrorBudget(a,'30s','aboveOrEqual',3,0.7)",
                "sloErrorBudget(a, 30s, aboveOrEqual, 3, 0.7)",
                &[-3.0, 0.05 * 25.0],
            ),
        ] {
            let one = run_in(&recent, target, &store()).unwrap().remove(0);
            assert_eq!((one.name.as_str(), one.start), (name, at(250)), "{target}");
            assert_values(one.values(), expected, target);
        }
        check(
            "sloErrors(minutes,'5min','above',1,0.5)",
            &store(),
            &[("sloErrorBudget(minutes, 5min, above, 1, 0.5)", &[0.3 * 300.0])],
        );
        check("slo(x,'5min','above',1)", &store(), &[]);
        assert_eq!(
            failure("slo(a,'5min','over',1)", &store()),
            "slo: parameter 3 (method) takes one of above, aboveOrEqual, below, belowOrEqual, got the text \"over\" at \
             character 14"
        );
    }

    #[test]
    fn an_interval_longer_than_the_window_reaches_back() {
        let recent = Context { from: at(180), ..context() };
        let one = run_in(&recent, "slo(minutes,'5min','above',2)", &store()).unwrap().remove(0);
        assert_eq!((one.start, one.step.millis()), (at(240), 300_000));
        assert_values(one.values(), &[0.6], "all five minutes");
        assert_eq!(run("slo(minutes,'1h','above',2)", &store())[0].len(), 1);
    }
}
