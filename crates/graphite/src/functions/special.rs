//! Special: series by tags, lines out of nothing, and what a query says about consolidation.

use statline_series::{Consolidation, Kind, Step, TimeRange};

use super::alias::part_of_name;
use super::{SERIES_LIST, each, int};
use crate::arguments::{Param, ParamType};
use crate::context::Context;
use crate::evaluate::{Call, Outcome};
use crate::numbers::repr;
use crate::registry::{Function, Group};
use crate::series::Series;

const CONSOLIDATIONS: &[&str] = &[
    "average", "avg", "avg_zero", "count", "current", "diff", "first", "last", "max", "median", "min", "multiply",
    "range", "rangeOf", "stddev", "sum", "total",
];

pub(crate) const FUNCTIONS: &[Function] = &[
    special("changed", "1 where a value differs from the one before it, else 0.", &[SERIES_LIST], changed),
    special(
        "consolidateBy",
        "How points become fewer when a panel is narrower than the series.",
        &[SERIES_LIST, Param::required("consolidationFunc", ParamType::String).one_of(CONSOLIDATIONS)],
        consolidate_by,
    ),
    special("constantLine", "A flat line at a value.", &[Param::required("value", ParamType::Float)], |call| {
        Ok(vec![constant(call)])
    }),
    special("cumulative", "The same as consolidateBy with sum.", &[SERIES_LIST], |call| consolidated(call, "sum")),
    special(
        "events",
        "How many events that have all of these tags happened in each second; \"*\" stands for all events.",
        &[Param::required("tags", ParamType::String).multiple()],
        events,
    ),
    special(
        "fallbackSeries",
        "The first series, or the others when there are none of the first.",
        &[SERIES_LIST, Param::required("fallback", ParamType::SeriesList)],
        fallback,
    ),
    special(
        "randomWalkFunction",
        "A line that goes up or down at random, by at most a half a step. The same name goes the same way at the same time.",
        &[
            Param::required("name", ParamType::String),
            Param::optional("step", ParamType::Integer).or(int(60)),
        ],
        random_walk,
    )
    .also(&["randomWalk"]),
    special(
        "seriesByTag",
        "Series whose tags pass every expression: tag=value, tag!=value, tag=~regex, tag!=~regex.",
        &[Param::required("tagExpressions", ParamType::String).multiple()],
        |call| call.select(0),
    ),
    special(
        "setXFilesFactor",
        "How much of a bucket, from 0 to 1, must be known for it to have a value when points become fewer.",
        &[SERIES_LIST, Param::required("xFilesFactor", ParamType::Float)],
        set_x_files_factor,
    )
    .also(&["xFilesFactor"]),
    special(
        "substr",
        "Series under some nodes of their paths, from start up to stop.",
        &[
            SERIES_LIST,
            Param::optional("start", ParamType::Node).or(int(0)),
            Param::optional("stop", ParamType::Node).or(int(0)),
        ],
        substr,
    ),
];

const fn special(
    name: &'static str,
    description: &'static str,
    params: &'static [Param],
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function::new(name, Group::Special, description, params, run)
}

/// A line of three points over the window: its beginning, middle and end.
pub(super) fn flat_line(name: String, value: f64, context: &Context) -> Series {
    let half = context.until.millis().saturating_sub(context.from.millis()) / 2;
    let step = Step::from_millis(half - half % 1000).unwrap_or(Step::SECOND);
    let mut line = Series::new(name, context.from, step, vec![value; 3]);
    line.constant = true;
    line.said_end = context.as_graphite_web().then_some(context.until);
    line
}

/// The line that the first argument stands for.
pub(super) fn constant(call: &Call<'_>) -> Series {
    let value = call.arguments.number(0).unwrap_or(f64::NAN);
    let mut line = flat_line(repr(value), value, call.context);
    line.path_expression = format!("constantLine({})", repr(value));
    line
}

fn changed(call: &mut Call<'_>) -> Outcome {
    each(call, |one| {
        one.rename(format!("changed({})", one.name));
        one.kind = Kind::Untyped;
        let mut previous = f64::NAN;
        for value in one.values_mut() {
            let differs = !previous.is_nan() && !value.is_nan() && *value != previous;
            if !value.is_nan() {
                previous = *value;
            }
            *value = f64::from(u8::from(differs));
        }
        one.set_whole(true);
    })
}

fn consolidate_by(call: &mut Call<'_>) -> Outcome {
    let function = call.arguments.text(1).unwrap_or_default().to_owned();
    consolidated(call, &function)
}

fn consolidated(call: &mut Call<'_>, function: &str) -> Outcome {
    let how: Option<Consolidation> = function.parse().ok();
    each(call, |one| {
        one.consolidation = how;
        one.note("consolidateBy", function);
        one.rename(format!("consolidateBy({},\"{function}\")", one.name));
    })
}

fn fallback(call: &mut Call<'_>) -> Outcome {
    let series = call.series(0);
    if series.is_empty() { Ok(call.series(1)) } else { Ok(series) }
}

fn set_x_files_factor(call: &mut Call<'_>) -> Outcome {
    let factor = call.arguments.number(1).unwrap_or(0.0);
    each(call, |one| {
        one.x_files_factor = Some(factor);
        one.note("xFilesFactor", repr(factor));
    })
}

fn substr(call: &mut Call<'_>) -> Outcome {
    let (start, stop) = (call.arguments.integer(1).unwrap_or(0), call.arguments.integer(2).unwrap_or(0));
    each(call, |one| one.name = part_of_name(&one.name, start, stop))
}

/// The most slots that events are counted in a second apart; of a longer window the slots are longer.
const MOST_SECONDS_OF_EVENTS: i64 = 1_000_000;

fn events(call: &mut Call<'_>) -> Outcome {
    let tags: Vec<String> = call.arguments.scalars(0).iter().map(ToString::to_string).collect();
    let name = format!("events(\"{}\")", tags.join("\", \""));
    let wanted = if tags == ["*"] { Vec::new() } else { tags };
    let (from, until) = (call.context.from, call.context.until.align_down(Step::SECOND));
    let seconds = until.millis().saturating_sub(from.millis()) / 1000;
    let width = if call.context.as_graphite_web() { 1 } else { 1 + seconds / MOST_SECONDS_OF_EVENTS };
    let step = Step::from_seconds(width).unwrap_or(Step::SECOND);
    let start = from.align_down(step);
    let range = TimeRange::new(start, until);
    let count = range.slots(step);
    call.check_points(count)?;
    let instants = call.events(&name, wanted, range)?;
    let mut counts = vec![f64::NAN; count];
    for instant in instants.iter() {
        let place = instant.millis().saturating_sub(start.millis()).div_euclid(step.millis());
        if let Some(count) = usize::try_from(place).ok().and_then(|place| counts.get_mut(place)) {
            *count = if count.is_nan() { 1.0 } else { *count + 1.0 };
        }
    }
    let mut line = Series::new(name, start, step, counts);
    line.consolidation = Some(Consolidation::Sum);
    Ok(vec![line])
}

fn random_walk(call: &mut Call<'_>) -> Outcome {
    let seconds = call.arguments.integer(1).unwrap_or(60);
    let Some(step) = Step::from_seconds(seconds).filter(|step| step.millis() >= 1000) else {
        return Err(call.unusable(format!("step is a number of seconds above 0, got {seconds}")));
    };
    let name = call.arguments.text(0).unwrap_or_default().to_owned();
    let mut walk = Series::new(name, call.context.from, step, Vec::new());
    walk.said_end = call.context.as_graphite_web().then_some(call.context.until);
    let span = call.context.until.millis().saturating_sub(walk.start.millis());
    let count = usize::try_from(span.saturating_add(step.millis() - 1) / step.millis()).unwrap_or(0);
    call.check_points(count)?;
    let seed = walk
        .name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut height = 0.0;
    let values = (0..count).map(|index| {
        let here = height;
        let slot = walk.time_of(index).millis().div_euclid(step.millis()).unsigned_abs();
        height += fraction(mixed(seed ^ mixed(slot))) - 0.5;
        here
    });
    let values = values.collect();
    walk.set_values(values);
    Ok(vec![walk])
}

/// All bits of a number, stirred (Steele, Lea and Flood's SplitMix64).
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A number from 0 up to 1, by the upper bits.
fn fraction(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, at, check, context, failure, minutes, run, run_in, run_with};
    use crate::{Answer, Context, Wanted, consolidate};
    use statline_series::Consolidation;

    #[test]
    fn lines_come_out_of_nothing() {
        check("constantLine(5)", &[], &[("5.0", &[5.0; 3])]);
        check("constantLine(0.25)", &[], &[("0.25", &[0.25; 3])]);
        let line = run("constantLine(5)", &[]).remove(0);
        assert_eq!(
            (line.start, line.step.millis(), line.path_expression.as_str()),
            (at(0), 150_000, "constantLine(5.0)")
        );
        let store = [minutes("a", &[1.0, 2.0, NO, 4.0, 5.0])];
        check(
            "sumSeries(a,constantLine(5))",
            &store,
            &[("sumSeries(a,constantLine(5.0))", &[6.0, 7.0, 5.0, 9.0, 10.0])],
        );
        check("divideSeries(a,constantLine(10))", &store, &[("divideSeries(a,10.0)", &[0.1, 0.2, NO, 0.4, 0.5])]);
    }

    #[test]
    fn changes_and_fallbacks() {
        let store = [minutes("a", &[NO, 2.0, 2.0, NO, 3.0])];
        check("changed(a)", &store, &[("changed(a)", &[0.0, 0.0, 0.0, 0.0, 1.0])]);
        check("fallbackSeries(x,a)", &store, &[("a", &[NO, 2.0, 2.0, NO, 3.0])]);
        check("fallbackSeries(a,x)", &store, &[("a", &[NO, 2.0, 2.0, NO, 3.0])]);
    }

    #[test]
    fn consolidation_is_what_the_target_says() {
        let store = [minutes("a", &[1.0, 2.0, NO, 4.0, 6.0])];
        let narrow = Context { max_data_points: Some(3), ..context() };
        for (target, name, how) in [
            ("consolidateBy(a,'max')", "consolidateBy(a,\"max\")", Consolidation::Max),
            ("cumulative(a)", "consolidateBy(a,\"sum\")", Consolidation::Sum),
            ("a", "a", Consolidation::Average),
        ] {
            let one = run(target, &store).remove(0);
            assert_eq!((one.name.as_str(), one.effective_consolidation()), (name, how));
            let drawn = consolidate(vec![one], &narrow).remove(0);
            assert_eq!(drawn.values()[1], how.apply(&[4.0, 6.0]), "{target}");
        }
        assert!(failure("consolidateBy(a,'most')", &store).contains("takes one of average, avg,"));
    }

    #[test]
    fn events_are_counted_by_the_second() {
        let happened = |wanted: &Wanted| match wanted {
            Wanted::Events(tags) if tags.is_empty() => Answer::Events(vec![at(2), at(2), at(0), at(300), at(-1)]),
            Wanted::Events(tags) if *tags == ["deploy", "web"] => Answer::Events(vec![at(4)]),
            wanted => panic!("asked for {wanted:?}"),
        };
        let line = run_with(&context(), "events('*')", happened).unwrap().remove(0);
        assert_eq!((line.name.as_str(), line.start, line.len()), ("events(\"*\")", at(0), 300));
        assert_eq!(format!("{:?}", &line.values()[..4]), "[1.0, NaN, 2.0, NaN]");
        assert_eq!((line.present(), line.consolidation), (2, Some(Consolidation::Sum)));
        let line = run_with(&context(), "events('deploy','web')", happened).unwrap().remove(0);
        assert_eq!((line.name.as_str(), line.present()), ("events(\"deploy\", \"web\")", 1));
        let months = Context { from: at(-3_000_000), ..context() };
        let line = run_with(&months, "events('deploy','web')", happened).unwrap().remove(0);
        assert_eq!((line.step.millis(), line.len(), line.present()), (4000, 750_075, 1));
    }

    #[test]
    fn a_random_walk_goes_the_same_way_whenever_it_is_looked_at() {
        let walk = run("randomWalk('x',60)", &[]).remove(0);
        assert_eq!((walk.name.as_str(), walk.start, walk.len(), walk.values()[0]), ("x", at(0), 5, 0.0));
        let steps = |one: &crate::Series| one.values().windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<f64>>();
        assert!(steps(&walk).iter().all(|step| step.abs() <= 0.5 && *step != 0.0));
        let later = Context { from: at(60), until: at(360), ..context() };
        let moved = run_in(&later, "randomWalkFunction('x')", &[]).unwrap().remove(0);
        crate::testing::assert_values(&steps(&moved)[..3], &steps(&walk)[1..], "the same steps");
        assert_ne!(steps(&run("randomWalk('y')", &[])[0]), steps(&walk));
        assert_eq!(failure("randomWalk('x',0)", &[]), "randomWalkFunction: step is a number of seconds above 0, got 0");
        let endless = Context { until: statline_series::Timestamp::MAX, ..context() };
        assert!(run_in(&endless, "randomWalk('x',1)", &[]).is_err());
    }

    #[test]
    fn tags_select_series() {
        let store = [minutes("m;dc=x;host=b", &[1.0; 5]), minutes("m;dc=y;host=a", &[2.0; 5]), minutes("n", &[3.0; 5])];
        for (target, names) in [
            ("seriesByTag('name=m')", "m;dc=x;host=b m;dc=y;host=a"),
            ("seriesByTag('name=m','dc!=x')", "m;dc=y;host=a"),
            ("seriesByTag('host=~[ab]','dc=~x')", "m;dc=x;host=b"),
            ("seriesByTag('name=~.','host!=~a')", "m;dc=x;host=b n"),
            ("seriesByTag('name=~.','host=')", "n"),
        ] {
            let yielded: Vec<String> = run(target, &store).into_iter().map(|one| one.name).collect();
            assert_eq!(yielded.join(" "), names, "{target}");
        }
        assert_eq!(run("seriesByTag('name=n')", &store)[0].path_expression, "seriesByTag('name=n')");
        assert!(failure("seriesByTag('host!=a')", &store).contains("at least one tag expression has to ask"));
        assert!(failure("seriesByTag()", &store).contains("parameter 1 (tagExpressions) is missing"));
    }
}
