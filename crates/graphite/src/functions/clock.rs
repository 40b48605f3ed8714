//! Transform, continued: lines that are made of the time itself.

use statline_series::{Step, Timestamp};

use super::int;
use crate::arguments::{Literal, Param, ParamType};
use crate::evaluate::{Call, Outcome, Stop};
use crate::expr::Number;
use crate::registry::{Function, Group};
use crate::series::Series;
use crate::time;

const NAME: Param = Param::required("name", ParamType::String);
const STEP: Param = Param::optional("step", ParamType::Integer).or(int(60));

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "sinFunction",
        Group::Transform,
        "The sine of the time in seconds since the epoch, times an amplitude; a value every so many seconds.",
        &[NAME, Param::optional("amplitude", ParamType::Float).or(Literal::Number(Number::Int(1))), STEP],
        sine,
    )
    .also(&["sin"]),
    Function::new(
        "timeFunction",
        Group::Transform,
        "The time in seconds since the epoch, every so many seconds.",
        &[NAME, STEP],
        seconds,
    )
    .also(&["time"]),
];

/// A value every so many seconds over the window, its start included and its end not, made of the time in seconds.
/// graphite-web reads the clocks of the query's zone as if they were UTC's.
fn line(call: &Call<'_>, step_index: usize, value: impl Fn(f64) -> f64) -> Result<Series, Stop> {
    let wanted = call.arguments.integer(step_index).unwrap_or(60);
    let Some(step) = Step::from_seconds(wanted).filter(|_| wanted > 0) else {
        return Err(call.unusable(format!("step is at least 1 second, got {wanted}")));
    };
    let context = call.context;
    let length = context.until.millis().saturating_sub(context.from.millis()).max(0);
    let count = usize::try_from(length / step.millis() + i64::from(length % step.millis() > 0)).unwrap_or(usize::MAX);
    call.check_points(count)?;
    let mut line = Series::new(call.arguments.text(0).unwrap_or_default().to_owned(), context.from, step, Vec::new());
    let aside = clock_error(call, context.from);
    let values = (0..count).map(|index| value(line.time_of(index).offset(aside).millis() as f64 / 1000.0)).collect();
    line.set_values(values);
    line.said_end = context.as_graphite_web().then_some(context.until);
    Ok(line)
}

fn clock_error(call: &Call<'_>, instant: Timestamp) -> i64 {
    if call.context.as_graphite_web() { time::clock_error_millis(instant, call.context.zone) } else { 0 }
}

fn seconds(call: &mut Call<'_>) -> Outcome {
    let mut line = line(call, 1, |seconds| seconds)?;
    let aside = clock_error(call, line.start);
    line.said_end = line.said_end.map(|end| end.offset(clock_error(call, end)));
    line.start = line.start.offset(aside);
    Ok(vec![line])
}

fn sine(call: &mut Call<'_>) -> Outcome {
    let amplitude = call.arguments.number(1).unwrap_or(1.0);
    Ok(vec![line(call, 2, |seconds| seconds.sin() * amplitude)?])
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_values, at, check, context, failure, run_in};
    use crate::{Compat, Context};

    #[test]
    fn lines_tell_the_time() {
        check("time('t')", &[], &[("t", &[0.0, 60.0, 120.0, 180.0, 240.0])]);
        check("timeFunction('the time',200)", &[], &[("the time", &[0.0, 200.0])]);
        check("sin('s',step=150)", &[], &[("s", &[0.0, 150_f64.sin()])]);
        check("sinFunction('s',-2.5,150)", &[], &[("s", &[0.0, 150_f64.sin() * -2.5])]);
        assert_eq!(failure("time('t',0)", &[]), "timeFunction: step is at least 1 second, got 0");
        assert_eq!(failure("sin('t',1,-5)", &[]), "sinFunction: step is at least 1 second, got -5");
    }

    #[test]
    fn graphite_web_tells_the_time_of_the_zone() {
        let berlin = Context { zone: chrono_tz::Tz::Europe__Berlin, ..context() };
        let line = run_in(&berlin, "time('t',200)", &[]).unwrap().remove(0);
        assert_eq!((line.start, line.values()), (at(0), &[0.0, 200.0][..]));
        let compat = Context { compat: Compat::GraphiteWeb, ..berlin };
        let line = run_in(&compat, "time('t',200)", &[]).unwrap().remove(0);
        assert_eq!((line.start, line.values()), (at(3600), &[3600.0, 3800.0][..]));
        let line = run_in(&compat, "sin('t',1,200)", &[]).unwrap().remove(0);
        assert_eq!(line.start, at(0));
        assert_values(line.values(), &[3600_f64.sin(), 3800_f64.sin()], "sine");
    }
}
