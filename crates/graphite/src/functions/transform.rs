//! Transform: each series by itself, value by value or against the value before.

use statline_series::Kind;

use super::{SERIES_LIST, each, finite, int};
use crate::arguments::{Literal, Param, ParamType};
use crate::evaluate::{Call, Outcome};
use crate::numbers::{general, repr, round};
use crate::registry::{Function, Group};
use crate::series::Series;
use crate::time;

const INTERVALS: &[Literal] = &[Literal::Text("10min"), Literal::Text("1h"), Literal::Text("1d")];
const MAX_AND_MIN: &[Param] =
    &[SERIES_LIST, Param::optional("maxValue", ParamType::Float), Param::optional("minValue", ParamType::Float)];

pub(crate) const FUNCTIONS: &[Function] = &[
    transform("absolute", "Values without their sign.", &[SERIES_LIST], absolute),
    transform(
        "delay",
        "Values moved later by so many steps, or earlier when negative.",
        &[SERIES_LIST, Param::required("steps", ParamType::Integer)],
        delay,
    ),
    transform("derivative", "How much each value differs from the one before.", &[SERIES_LIST], derivative),
    transform("integral", "The sum of all values up to each one.", &[SERIES_LIST], integral),
    transform("invert", "One divided by each value, missing for zero.", &[SERIES_LIST], invert),
    transform(
        "log",
        "The logarithm of each value, missing for what is not above zero.",
        &[SERIES_LIST, Param::optional("base", ParamType::Float).or(int(10))],
        log,
    ),
    transform(
        "integralByInterval",
        "The sum of all values up to each one, beginning again with each interval since the start of the range.",
        &[SERIES_LIST, Param::required("intervalUnit", ParamType::Interval).suggesting(INTERVALS)],
        integral_by_interval,
    ),
    transform(
        "nonNegativeDerivative",
        "How much a counter grew since the value before. Where it fell it was reset, or has wrapped at maxValue.",
        MAX_AND_MIN,
        non_negative_derivative,
    ),
    transform(
        "offset",
        "Each value with a constant added.",
        &[SERIES_LIST, Param::required("factor", ParamType::Float)],
        offset,
    ),
    transform(
        "perSecond",
        "How much a counter grew a second since the value before, resets and wraps as in nonNegativeDerivative.",
        MAX_AND_MIN,
        per_second,
    ),
    transform(
        "pow",
        "Each value to the power of a constant.",
        &[SERIES_LIST, Param::required("factor", ParamType::Float)],
        pow,
    ),
    transform(
        "round",
        "Values rounded to so many decimals, halves to the even neighbour.",
        &[SERIES_LIST, Param::optional("precision", ParamType::Integer)],
        round_values,
    ),
    transform(
        "scale",
        "Each value multiplied by a constant.",
        &[SERIES_LIST, Param::required("factor", ParamType::Float)],
        scale,
    ),
    transform(
        "scaleToSeconds",
        "Values that count something in one step, as they would be in so many seconds.",
        &[SERIES_LIST, Param::required("seconds", ParamType::Float)],
        scale_to_seconds,
    ),
];

const fn transform(
    name: &'static str,
    description: &'static str,
    params: &'static [Param],
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function::new(name, Group::Transform, description, params, run)
}

fn absolute(call: &mut Call<'_>) -> Outcome {
    each(call, |one| {
        one.note("absolute", "1");
        one.rename(format!("absolute({})", one.name));
        one.map(f64::abs);
    })
}

/// Applies a function of a value and the constant in the second parameter, under a name that shows it.
fn with_constant(call: &mut Call<'_>, name: &str, apply: impl Fn(f64, f64) -> f64 + Sync) -> Outcome {
    let constant = call.arguments.number(1).unwrap_or(0.0);
    each(call, |one| {
        one.note(name, repr(constant));
        one.rename(format!("{name}({},{})", one.name, general(constant)));
        one.map(|value| apply(value, constant));
    })
}

fn offset(call: &mut Call<'_>) -> Outcome {
    with_constant(call, "offset", |value, constant| value + constant)
}

fn scale(call: &mut Call<'_>) -> Outcome {
    with_constant(call, "scale", |value, constant| value * constant)
}

fn pow(call: &mut Call<'_>) -> Outcome {
    let mut series = with_constant(call, "pow", |value, constant| finite(value.powf(constant)))?;
    series.iter_mut().for_each(|one| one.kind = Kind::Untyped);
    Ok(series)
}

fn invert(call: &mut Call<'_>) -> Outcome {
    each(call, |one| {
        one.note("invert", "1");
        one.rename(format!("invert({})", one.name));
        one.kind = Kind::Untyped;
        one.map(|value| finite(value.recip()));
    })
}

fn log(call: &mut Call<'_>) -> Outcome {
    let base = call.arguments.number(1).unwrap_or(10.0);
    if base <= 0.0 || base == 1.0 {
        return Err(call.unusable(format!("base is above 0 and not 1, got {}", general(base))));
    }
    let exact = repr(base);
    let shown = exact.strip_suffix(".0").unwrap_or(&exact);
    // Names may tell all digits of a value, and Python's logarithms are quotients.
    let is_compat = call.context.as_graphite_web();
    each(call, |one| {
        one.note("log", shown);
        one.rename(format!("log({}, {shown})", one.name));
        one.kind = Kind::Untyped;
        one.map(|value| match value {
            value if value <= 0.0 => f64::NAN,
            value if base == 10.0 && !is_compat => value.log10(),
            value => value.ln() / base.ln(),
        });
    })
}

fn round_values(call: &mut Call<'_>) -> Outcome {
    let precision = call.arguments.integer(1);
    let places = i32::try_from(precision.unwrap_or(0)).unwrap_or(i32::MAX);
    #[expect(clippy::cast_precision_loss, reason = "it is only shown")]
    let shown = precision.map(|places| format!(",{}", general(places as f64))).unwrap_or_default();
    each(call, |one| {
        one.note("round", precision.unwrap_or(0).to_string());
        one.rename(format!("round({}{shown})", one.name));
        one.map(|value| round(value, places));
    })
}

#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and it is only shown")]
fn scale_to_seconds(call: &mut Call<'_>) -> Outcome {
    let seconds = call.arguments.number(1).unwrap_or(1.0);
    each(call, |one| {
        let factor = seconds / one.step.seconds();
        one.note("scaleToSeconds", repr(seconds));
        one.rename(format!("scaleToSeconds({},{})", one.name, seconds as i64));
        one.kind = Kind::Rate;
        one.map(|value| round(value * factor, 6));
    })
}

/// Replaces each value by what becomes of it and the one before it.
fn against_previous(one: &mut Series, mut delta: impl FnMut(f64, &mut f64) -> f64) {
    let mut previous = f64::NAN;
    for value in one.values_mut() {
        *value = delta(*value, &mut previous);
    }
    one.kind = if one.kind == Kind::Cumulative { Kind::Count } else { Kind::Untyped };
}

fn derivative(call: &mut Call<'_>) -> Outcome {
    each(call, |one| {
        one.note("derivative", "1");
        one.rename(format!("derivative({})", one.name));
        against_previous(one, |value, previous| value - std::mem::replace(previous, value));
    })
}

fn non_negative_derivative(call: &mut Call<'_>) -> Outcome {
    let (max, min) = (call.arguments.number(1), call.arguments.number(2));
    each(call, |one| {
        one.note("nonNegativeDerivative", "1");
        one.rename(format!("nonNegativeDerivative({})", one.name));
        against_previous(one, |value, previous| growth(value, previous, max, min));
    })
}

fn per_second(call: &mut Call<'_>) -> Outcome {
    let (max, min) = (call.arguments.number(1), call.arguments.number(2));
    each(call, |one| {
        one.note("perSecond", "1");
        one.rename(format!("perSecond({})", one.name));
        let seconds = one.step.seconds();
        against_previous(one, |value, previous| round(growth(value, previous, max, min) / seconds, 6));
        one.kind = Kind::Rate;
    })
}

/// How much a counter grew. A value out of bounds is not believed; a fall is a wrap when its bounds are known.
fn growth(value: f64, previous: &mut f64, max: Option<f64>, min: Option<f64>) -> f64 {
    if max.is_some_and(|max| value > max) || min.is_some_and(|min| value < min) {
        *previous = f64::NAN;
        return f64::NAN;
    }
    let before = std::mem::replace(previous, value);
    match (max, min) {
        _ if before.is_nan() || value.is_nan() => f64::NAN,
        _ if value >= before => value - before,
        (Some(max), min) => max + 1.0 + value - before - min.unwrap_or(0.0),
        (None, Some(min)) => value - min,
        (None, None) => f64::NAN,
    }
}

fn integral(call: &mut Call<'_>) -> Outcome {
    each(call, |one| {
        one.note("integral", "1");
        one.rename(format!("integral({})", one.name));
        one.kind = Kind::Cumulative;
        let mut total = 0.0;
        for value in one.values_mut() {
            if !value.is_nan() {
                total += *value;
                *value = total;
            }
        }
    })
}

fn integral_by_interval(call: &mut Call<'_>) -> Outcome {
    let unit = call.arguments.text(1).unwrap_or_default().to_owned();
    let interval = time::parse_interval(&unit).unwrap_or(0).saturating_abs();
    if interval == 0 {
        return Err(call.unusable(format!("intervalUnit is longer than nothing, such as \"1d\", got {unit:?}")));
    }
    let from = call.context.from;
    // graphite-web takes what the clocks of the query's zone show for UTC.
    let is_compat = call.context.as_graphite_web();
    let begin = from.offset(if is_compat { time::clock_error_millis(from, call.context.zone) } else { 0 }).millis();
    each(call, |one| {
        one.note("integralByInterval", unit.as_str());
        one.rename(format!("integralByInterval({},'{unit}')", one.name));
        one.kind = Kind::Cumulative;
        let step = one.step.millis();
        let mut since_begin = one.start.millis().saturating_sub(begin);
        let mut current = since_begin.saturating_sub(step).div_euclid(interval);
        let mut total = 0.0;
        for value in one.values_mut() {
            let number = since_begin.div_euclid(interval);
            if number != current {
                (current, total) = (number, 0.0);
            }
            if !value.is_nan() {
                total += *value;
            }
            *value = total;
            since_begin = since_begin.saturating_add(step);
        }
    })
}

fn delay(call: &mut Call<'_>) -> Outcome {
    let steps = call.arguments.integer(1).unwrap_or(0);
    let size = usize::try_from(steps.unsigned_abs()).unwrap_or(usize::MAX);
    let drops_all = steps == 0 && call.context.as_graphite_web();
    each(call, |one| {
        one.note("delay", steps.to_string());
        one.rename(format!("delay({},{steps})", one.name));
        if drops_all {
            one.said_end = Some(one.end());
            one.set_values(Vec::new());
        }
        let values = one.values_mut();
        let size = size.min(values.len());
        if steps < 0 {
            values.rotate_left(size);
            let kept = values.len() - size;
            values[kept..].fill(f64::NAN);
        } else {
            values.rotate_right(size);
            values[..size].fill(f64::NAN);
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, check, failure, minutes, run};
    use statline_series::Kind;

    #[test]
    fn values_change_one_by_one() {
        let store = [minutes("a", &[-1.0, 2.5, NO, 0.0, 100.0])];
        for (target, name, values) in [
            ("absolute(a)", "absolute(a)", [1.0, 2.5, NO, 0.0, 100.0]),
            ("scale(a,10)", "scale(a,10)", [-10.0, 25.0, NO, 0.0, 1000.0]),
            ("scale(a,0.0166666666667)", "scale(a,0.0166667)", [-1.0 / 60.0, 2.5 / 60.0, NO, 0.0, 100.0 / 60.0]),
            ("offset(a,-1.5)", "offset(a,-1.5)", [-2.5, 1.0, NO, -1.5, 98.5]),
            ("pow(a,2)", "pow(a,2)", [1.0, 6.25, NO, 0.0, 10000.0]),
            ("pow(a,0.5)", "pow(a,0.5)", [NO, 2.5_f64.sqrt(), NO, 0.0, 10.0]),
            ("invert(a)", "invert(a)", [-1.0, 0.4, NO, NO, 0.01]),
            ("log(a)", "log(a, 10)", [NO, 2.5_f64.log10(), NO, NO, 2.0]),
            ("log(a,base=2)", "log(a, 2)", [NO, 2.5_f64.log2(), NO, NO, 100_f64.log2()]),
            ("round(a)", "round(a)", [-1.0, 2.0, NO, 0.0, 100.0]),
            ("round(scale(a,1.26),1)", "round(scale(a,1.26),1)", [-1.3, 3.1, NO, 0.0, 126.0]),
            ("round(a,-2)", "round(a,-2)", [0.0, 0.0, NO, 0.0, 100.0]),
            ("scaleToSeconds(a,1)", "scaleToSeconds(a,1)", [-0.016667, 0.041667, NO, 0.0, 1.666667]),
            ("integral(a)", "integral(a)", [-1.0, 1.5, NO, 1.5, 101.5]),
            ("integralByInterval(a,'2min')", "integralByInterval(a,'2min')", [-1.0, 2.5, 2.5, 0.0, 100.0]),
            ("integralByInterval(a,'-1d')", "integralByInterval(a,'-1d')", [-1.0, 1.5, 1.5, 1.5, 101.5]),
            ("delay(a,2)", "delay(a,2)", [NO, NO, -1.0, 2.5, NO]),
            ("delay(a,-1)", "delay(a,-1)", [2.5, NO, 0.0, 100.0, NO]),
            ("delay(a,9)", "delay(a,9)", [NO; 5]),
            ("derivative(a)", "derivative(a)", [NO, 3.5, NO, NO, 100.0]),
        ] {
            check(target, &store, &[(name, &values)]);
        }
        assert_eq!(
            failure("integralByInterval(a,'0s')", &store),
            "integralByInterval: intervalUnit is longer than nothing, such as \"1d\", got \"0s\""
        );
        assert_eq!(failure("log(a,1)", &store), "log: base is above 0 and not 1, got 1");
    }

    #[test]
    fn counters_grow_are_reset_and_wrap() {
        let store = [minutes("a", &[60.0, 120.0, NO, 180.0, 120.0]), minutes("b", &[5.0, 9.0, 2.0, 200.0, 4.0])];
        for (target, name, values) in [
            ("nonNegativeDerivative(a)", "nonNegativeDerivative(a)", [NO, 60.0, NO, NO, NO]),
            ("nonNegativeDerivative(b)", "nonNegativeDerivative(b)", [NO, 4.0, NO, 198.0, NO]),
            ("nonNegativeDerivative(b,9)", "nonNegativeDerivative(b)", [NO, 4.0, 3.0, NO, NO]),
            ("nonNegativeDerivative(b,9,1)", "nonNegativeDerivative(b)", [NO, 4.0, 2.0, NO, NO]),
            ("nonNegativeDerivative(b,minValue=1)", "nonNegativeDerivative(b)", [NO, 4.0, 1.0, 198.0, 3.0]),
            ("perSecond(a)", "perSecond(a)", [NO, 1.0, NO, NO, NO]),
            ("perSecond(b)", "perSecond(b)", [NO, 0.066667, NO, 3.3, NO]),
        ] {
            check(target, &store, &[(name, &values)]);
        }
    }

    #[test]
    fn kinds_follow_the_meaning() {
        let mut counter = minutes("c", &[1.0; 5]);
        counter.kind = Kind::Cumulative;
        let mut count = minutes("n", &[1.0; 5]);
        count.kind = Kind::Count;
        let store = [counter, count];
        for (target, kind) in [
            ("derivative(c)", Kind::Count),
            ("perSecond(c)", Kind::Rate),
            ("scale(n,2)", Kind::Count),
            ("scaleToSeconds(n,1)", Kind::Rate),
            ("integral(n)", Kind::Cumulative),
            ("pow(n,2)", Kind::Untyped),
        ] {
            assert_eq!(run(target, &store)[0].kind, kind, "{target}");
        }
    }
}
