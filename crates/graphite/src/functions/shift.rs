//! Transform, continued: series of another time drawn over the panel's range, and a part of the range alone.

use chrono_tz::Tz;
use statline_series::Timestamp;

use super::{SERIES_LIST, each, int};
use crate::arguments::{Arguments, Literal, Param, ParamType};
use crate::context::Context;
use crate::error::EvalError;
use crate::evaluate::{Call, Outcome, Stop};
use crate::registry::{Function, Group};
use crate::series::Series;
use crate::time;

/// The most ranges that one call looks at.
const MAX_SHIFTS: i64 = 1000;

const SHIFTS: &[Literal] = &[
    Literal::Text("1h"),
    Literal::Text("6h"),
    Literal::Text("12h"),
    Literal::Text("1d"),
    Literal::Text("2d"),
    Literal::Text("7d"),
    Literal::Text("14d"),
    Literal::Text("30d"),
];

/// The unit by which ranges are shifted, and from which multiple up to which.
pub(super) const STACK: [Param; 3] = [
    Param::optional("timeShiftUnit", ParamType::Interval).or(Literal::Text("1d")).suggesting(SHIFTS),
    Param::optional("timeShiftStart", ParamType::Integer).or(int(0)),
    Param::optional("timeShiftEnd", ParamType::Integer).or(int(7)),
];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "timeShift",
        Group::Transform,
        "Series as they were some time ago (or, with a plus sign, will be), drawn over the panel's range.",
        &[
            SERIES_LIST,
            Param::required("timeShift", ParamType::Interval).suggesting(SHIFTS),
            Param::optional("resetEnd", ParamType::Boolean).or(Literal::Bool(true)),
            Param::optional("alignDst", ParamType::Boolean).or(Literal::Bool(false)),
        ],
        time_shift,
    )
    .over(shifted_window),
    Function::new(
        "timeSlice",
        Group::Transform,
        "Series with values only from one time to another.",
        &[
            SERIES_LIST,
            Param::required("startSliceAt", ParamType::Date),
            Param::optional("endSliceAt", ParamType::Date).or(Literal::Text("now")),
        ],
        time_slice,
    ),
    Function::new(
        "timeStack",
        Group::Transform,
        "Series as they were several times ago, drawn over one another: shifted by each multiple of a unit from the first \
         up to, and without, the last.",
        &[SERIES_LIST, STACK[0], STACK[1], STACK[2]],
        time_stack,
    )
    .unevaluated(),
];

/// A shift as it is meant: into the past unless a sign says otherwise.
pub(super) fn shift_text(arguments: &Arguments<'_>) -> String {
    let text = arguments.text(1).unwrap_or("0s").trim();
    if text.starts_with(['+', '-']) { text.to_owned() } else { format!("-{text}") }
}

fn shift_millis(arguments: &Arguments<'_>, context: &Context) -> Result<i64, EvalError> {
    let unusable = |error: time::TimeError| EvalError::Unusable { function: "timeShift", reason: error.to_string() };
    let shift = time::parse_interval(&shift_text(arguments)).map_err(unusable)?;
    // graphite-web asks the clocks of its server.
    let zone = if context.as_graphite_web() { Tz::UTC } else { context.zone };
    if !arguments.flag(3) {
        return Ok(shift);
    }
    // Both ends on one side of a change of the clocks: keep the time of day.
    let shifted = context.shifted(shift);
    let offset = |instant| time::offset_millis(instant, zone);
    let (from, until) = (offset(context.from), offset(context.until));
    let (past_from, past_until) = (offset(shifted.from), offset(shifted.until));
    let same_day_time = if from == until && past_from == past_until { from - past_from } else { 0 };
    Ok(shift + same_day_time)
}

fn shifted_window(arguments: &Arguments<'_>, context: &Context) -> Result<Context, EvalError> {
    let shift = shift_millis(arguments, context)?;
    // graphite-web evaluates the argument over the call's own range first.
    Ok(if context.as_graphite_web() { *context } else { context.shifted(shift) })
}

/// Moves a series to where it is drawn. A shift that is no multiple of the step goes to the nearest one, so that the series
/// can be combined with others.
pub(super) fn draw_shifted(one: &mut Series, shift: i64) {
    let shifted = one.start.offset(shift.saturating_neg());
    let on_grid = one.start.align_down(one.step) == one.start;
    one.start = if on_grid { shifted.offset(one.step.millis() / 2).align_down(one.step) } else { shifted };
}

/// Where graphite-web draws all shifted series: where the first one begins and ends that is not shifted.
fn graphite_web_ends(unshifted: &[Series]) -> Option<(Timestamp, Timestamp)> {
    unshifted.first().map(|first| (first.start, first.end()))
}

fn time_shift(call: &mut Call<'_>) -> Outcome {
    let shift = shift_millis(&call.arguments, call.context)?;
    let text = shift_text(&call.arguments);
    let resets_end = call.arguments.flag(2);
    let is_compat = call.context.as_graphite_web();
    let ends = if is_compat { graphite_web_ends(&call.series(0)) } else { None };
    if is_compat {
        if ends.is_none() {
            return Ok(Vec::new());
        }
        call.look_again(0, &call.context.shifted(shift))?;
    }
    each(call, |one| {
        one.note("timeShift", text.as_str());
        one.name = format!("timeShift({}, \"{text}\")", one.name);
        match ends {
            None => draw_shifted(one, shift),
            Some((start, end)) => {
                let moved = one.said_end.map(|end| end.offset(start.millis().saturating_sub(one.start.millis())));
                one.said_end = if resets_end { Some(end) } else { moved };
                one.start = start;
            }
        }
    })
}

/// The multiples of a unit that series are shifted by, from the argument at an index up to the one after it.
pub(super) fn multiples(call: &Call<'_>, index: usize) -> Result<std::ops::Range<i64>, Stop> {
    let (first, last) = (call.arguments.integer(index).unwrap_or(0), call.arguments.integer(index + 1).unwrap_or(0));
    if last.saturating_sub(first) > MAX_SHIFTS {
        let got = last.saturating_sub(first);
        return Err(call.unusable(format!("at most {MAX_SHIFTS} shifts are allowed, got {got}")));
    }
    Ok(first..last)
}

/// The first argument over each of several shifted ranges, in one round of fetching.
pub(super) fn over_shifts(call: &Call<'_>, shifts: impl Iterator<Item = i64>) -> Result<Vec<Vec<Series>>, Stop> {
    let mut lists = Vec::new();
    let mut points = 0_usize;
    let mut is_missing = false;
    for shift in shifts {
        match call.series_over(0, &call.context.shifted(shift)) {
            Ok(list) => {
                points = list.iter().fold(points, |sum, one| sum.saturating_add(one.weight()));
                call.check_points(points)?;
                lists.push(list);
            }
            Err(Stop::Missing) => is_missing = true,
            Err(failed) => return Err(failed),
        }
    }
    if is_missing { Err(Stop::Missing) } else { Ok(lists) }
}

fn time_stack(call: &mut Call<'_>) -> Outcome {
    let unit_text = shift_text(&call.arguments);
    let unit = time::parse_interval(&unit_text).map_err(|error| call.unusable(error.to_string()))?;
    let multiples = multiples(call, 2)?;
    let is_compat = call.context.as_graphite_web();
    let ends = if is_compat { graphite_web_ends(&call.evaluate(0)?) } else { None };
    if is_compat && ends.is_none() {
        return Ok(Vec::new());
    }
    let lists = over_shifts(call, multiples.clone().map(|multiple| unit.saturating_mul(multiple)))?;
    let mut stacked = Vec::new();
    for (multiple, list) in multiples.zip(lists) {
        for mut one in list {
            one.note("timeShiftUnit", unit_text.as_str());
            one.note("timeShift", multiple.to_string());
            one.rename(format!("timeShift({}, {unit_text}, {multiple})", one.name));
            match ends {
                None => draw_shifted(&mut one, unit.saturating_mul(multiple)),
                Some((start, end)) => {
                    one.start = start;
                    one.said_end = Some(end);
                }
            }
            stacked.push(one);
        }
    }
    Ok(stacked)
}

fn time_slice(call: &mut Call<'_>) -> Outcome {
    let is_compat = call.context.as_graphite_web();
    // graphite-web reads times in the zone of its server, and takes the first value to be at the start of the range as
    // the clocks of the query's zone show it.
    let zone = if is_compat { Tz::UTC } else { call.context.zone };
    let (Some(start), Some(end)) = (call.date(1, zone)?, call.date(2, zone)?) else { return Ok(Vec::new()) };
    let from = call.context.from;
    let compat_first = is_compat.then(|| from.offset(time::clock_error_millis(from, call.context.zone)));
    let (shown_start, shown_end) = (start.seconds(), end.seconds());
    each(call, |one| {
        one.note("timeSliceStart", shown_start.to_string());
        one.note("timeSliceEnd", shown_end.to_string());
        one.name = format!("timeSlice({}, {shown_start}, {shown_end})", one.name);
        let step = one.step.millis();
        let mut time = compat_first.unwrap_or(one.start);
        for value in one.values_mut() {
            if time < start || time > end {
                *value = f64::NAN;
            }
            time = time.offset(step);
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, assert_values, at, check, column, context, failure, minutes, run, run_in};
    use crate::{Compat, Context, FetchedSeries, Series};

    #[test]
    fn a_shift_reads_another_range_and_draws_it_here() {
        let store = [column("a", 60, 60, &(1..=70).map(f64::from).collect::<Vec<_>>())];
        let late = Context { from: at(3600), until: at(3900), ..context() };
        let shift = |target: &str| -> Series { run_in(&late, target, &store).unwrap().remove(0) };
        for (target, name, first) in [
            ("timeShift(a,'1h')", "timeShift(a, \"-1h\")", 1.0),
            ("timeShift(a,'-30min')", "timeShift(a, \"-30min\")", 31.0),
            ("timeShift(a,'+5min')", "timeShift(a, \"+5min\")", 66.0),
            ("timeShift(timeShift(a,'30min'),'20min')", "timeShift(timeShift(a, \"-30min\"), \"-20min\")", 11.0),
        ] {
            let shifted = shift(target);
            assert_eq!((shifted.name.as_str(), shifted.start), (name, at(3660)), "{target}");
            assert_eq!(shifted.values(), (0..5).map(|i| first + f64::from(i)).collect::<Vec<_>>(), "{target}");
        }
        let ratio = shift("divideSeries(a,timeShift(a,'1h'))");
        assert_eq!(ratio.values()[0], 61.0);
        assert!(failure("timeShift(a,'yesterday')", &store).contains("takes a quoted interval such as \"1h\""));
    }

    #[test]
    fn a_shift_can_keep_the_time_of_day() {
        // Berlin's clocks went back on 25 October 2026 at 1:00 UTC.
        let day = 86_400;
        let after = 1_792_886_400 + 2 * day;
        let context = Context {
            zone: chrono_tz::Tz::Europe__Berlin,
            ..Context::new(at(after), at(after + 600), at(after + 600))
        };
        let requests =
            |target: &str| crate::plan(&crate::parse(target).unwrap(), &context).unwrap().remove(0).range.from;
        assert_eq!(requests("timeShift(a,'7d')"), at(after - 7 * day).offset(1));
        assert_eq!(requests("timeShift(a,'7d',true,true)"), at(after - 7 * day - 3600).offset(1));
    }

    /// 1, 2, 3, … a minute apart, from 60 s on, and a series of ten seconds beside it.
    fn counting() -> Vec<FetchedSeries> {
        let numbers: Vec<f64> = (1..=500).map(f64::from).collect();
        vec![column("a", 60, 60, &numbers), column("b", 0, 10, &numbers)]
    }

    #[test]
    fn graphite_web_draws_everything_where_the_first_series_begins() {
        let late = Context { from: at(3600), until: at(3900), ..context() };
        let compat = Context { compat: Compat::GraphiteWeb, ..late };
        let ends = |context: &Context, target: &str| -> Vec<(i64, usize)> {
            let series = run_in(context, target, &counting()).unwrap();
            series.iter().map(|one| (one.start.seconds(), one.len())).collect()
        };
        assert_eq!(ends(&late, "timeShift(group(a,b),'30min')"), [(3660, 5), (3610, 30)]);
        assert_eq!(ends(&compat, "timeShift(group(a,b),'30min')"), [(3660, 5), (3660, 30)]);
        assert_eq!(ends(&compat, "timeShift(group(b,a),'30min',false)"), [(3610, 30), (3610, 5)]);
        assert_eq!(ends(&compat, "timeShift(x,'30min')"), []);
    }

    #[test]
    fn ranges_are_drawn_over_one_another() {
        let late = Context { from: at(3600), until: at(3900), ..context() };
        for compat in [Compat::Statline, Compat::GraphiteWeb] {
            let context = Context { compat, ..late };
            let stacked = run_in(&context, "timeStack(a,'10min',0,3)", &counting()).unwrap();
            let firsts: Vec<_> = stacked.iter().map(|one| (one.name.as_str(), one.start, one.values()[0])).collect();
            let expected = [
                ("timeShift(a, -10min, 0)", at(3660), 61.0),
                ("timeShift(a, -10min, 1)", at(3660), 51.0),
                ("timeShift(a, -10min, 2)", at(3660), 41.0),
            ];
            assert_eq!(firsts, expected, "{compat:?}");
            assert_eq!(stacked[2].path_expression, stacked[2].name);
            assert_eq!(
                (stacked[2].tags["timeShift"].as_str(), stacked[2].tags["timeShiftUnit"].as_str()),
                ("2", "-10min")
            );
        }
        assert_eq!(run_in(&late, "timeStack(a)", &counting()).unwrap().len(), 7);
        assert_eq!(run_in(&late, "timeStack(a,'1h',3,3)", &counting()).unwrap().len(), 0);
        assert_eq!(run_in(&late, "timeStack(x,'1h')", &counting()).unwrap().len(), 0);
        let ahead = run_in(&late, "timeStack(scale(a,1),'+10min',1,2)", &counting()).unwrap().remove(0);
        assert_eq!((ahead.name.as_str(), ahead.values()[0]), ("timeShift(scale(a,1), +10min, 1)", 71.0));
        assert_eq!(failure("timeStack(a,'1d',0,5000)", &[]), "timeStack: at most 1000 shifts are allowed, got 5000");
    }

    #[test]
    fn a_slice_is_cut_out_by_time() {
        let store = [minutes("a", &[1.0, 2.0, 3.0, NO, 5.0])];
        check("timeSlice(a,120,180)", &store, &[("timeSlice(a, 120, 180)", &[NO, 2.0, 3.0, NO, NO])]);
        check("timeSlice(a,'-2min')", &store, &[("timeSlice(a, 180, 300)", &[NO, NO, 3.0, NO, 5.0])]);
        check(
            "timeSlice(a,'00:03_19700101','now-1min')",
            &store,
            &[("timeSlice(a, 180, 240)", &[NO, NO, 3.0, NO, NO])],
        );
        let one = run("timeSlice(a,120,180)", &store).remove(0);
        assert_eq!((one.path_expression.as_str(), one.tags["timeSliceEnd"].as_str()), ("a", "180"));
        // graphite-web takes the first value to be at the start of the range, which is a step too early.
        let compat = Context { compat: Compat::GraphiteWeb, ..context() };
        let theirs = run_in(&compat, "timeSlice(a,120,180)", &store).unwrap().remove(0);
        assert_values(theirs.values(), &[NO, NO, 3.0, NO, NO], "graphite-web");
        assert!(
            failure("timeSlice(a,'whenever')", &store)
                .starts_with("timeSlice: startSliceAt: \"whenever\" is not a time")
        );
    }
}
