//! Graph: how series are drawn. Values stay as they are, but for those that are stacked; whoever draws reads the options.

use statline_series::Step;

use super::{SERIES_LIST, each, int, special};
use crate::arguments::{Param, ParamType};
use crate::evaluate::{Call, Outcome};
use crate::numbers::{general, repr};
use crate::registry::{Function, Group};
use crate::series::{NAMELESS, Series};
use crate::time;

pub(crate) const FUNCTIONS: &[Function] = &[
    graph(
        "alpha",
        "Drawn with this opacity, from 0 to 1.",
        &[SERIES_LIST, Param::required("alpha", ParamType::Float)],
        |call| number_option(call, "alpha"),
    ),
    graph("areaBetween", "The area between two series, drawn with areaMode=stacked.", &[SERIES_LIST], area_between),
    graph(
        "color",
        "Drawn in this colour: a name, or hexadecimal digits.",
        &[SERIES_LIST, Param::required("theColor", ParamType::String)],
        color,
    ),
    graph(
        "dashed",
        "Drawn with dashes of so many pixels.",
        &[SERIES_LIST, Param::optional("dashLength", ParamType::Float).or(int(5))],
        dashed,
    ),
    graph("drawAsInfinite", "Drawn as a vertical line at each value that is not zero.", &[SERIES_LIST], |call| {
        flag(call, "drawAsInfinite")
    }),
    graph(
        "lineWidth",
        "Drawn with a line of so many pixels.",
        &[SERIES_LIST, Param::required("width", ParamType::Float)],
        |call| number_option(call, "lineWidth"),
    ),
    graph("secondYAxis", "Drawn against the axis on the right.", &[SERIES_LIST], |call| flag(call, "secondYAxis")),
    graph(
        "stacked",
        "Series on top of each other, and of those that the target has put on the same stack before.",
        &[SERIES_LIST, Param::optional("stack", ParamType::String)],
        stacked,
    ),
    graph(
        "threshold",
        "A flat line at a value, with a label and a colour.",
        &[
            Param::required("value", ParamType::Float),
            Param::optional("label", ParamType::String),
            Param::optional("color", ParamType::String),
        ],
        threshold,
    ),
    graph(
        "verticalLine",
        "A vertical line at a time, with a label and a colour.",
        &[
            Param::required("ts", ParamType::Date),
            Param::optional("label", ParamType::String),
            Param::optional("color", ParamType::String),
        ],
        vertical_line,
    ),
];

/// The stack of series that are not put on one by name.
const NAMELESS_STACK: &str = "__DEFAULT__";

const fn graph(
    name: &'static str,
    description: &'static str,
    params: &'static [Param],
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function::new(name, Group::Graph, description, params, run)
}

fn number_option(call: &mut Call<'_>, option: &'static str) -> Outcome {
    let value = call.arguments.number(1).unwrap_or(1.0);
    each(call, |one| {
        one.options.insert(option, repr(value));
    })
}

fn flag(call: &mut Call<'_>, option: &'static str) -> Outcome {
    each(call, |one| {
        one.options.insert(option, "true".to_owned());
        one.note(option, "1");
        one.name = format!("{option}({})", one.name);
    })
}

/// Makes an area of two series, for `areaMode=stacked`: the lower one is not seen, the other stands on it.
pub(super) fn stack_between(lower: &mut Series, upper: &mut Series) {
    lower.options.insert("invisible", "true".to_owned());
    lower.options.insert("stacked", "true".to_owned());
    upper.options.insert("stacked", "true".to_owned());
}

fn color(call: &mut Call<'_>) -> Outcome {
    let color = call.arguments.text(1).unwrap_or_default().to_owned();
    each(call, |one| {
        one.options.insert("color", color.clone());
    })
}

fn dashed(call: &mut Call<'_>) -> Outcome {
    let length = call.arguments.number(1).unwrap_or(5.0);
    each(call, |one| {
        one.options.insert("dashed", general(length));
        one.note("dashed", general(length));
        one.name = format!("dashed({}, {})", one.name, general(length));
    })
}

fn threshold(call: &mut Call<'_>) -> Outcome {
    let mut line = special::constant(call);
    if let Some(label) = call.arguments.text(1) {
        label.clone_into(&mut line.name);
    }
    if let Some(color) = call.arguments.text(2) {
        line.options.insert("color", color.to_owned());
    }
    Ok(vec![line])
}

fn area_between(call: &mut Call<'_>) -> Outcome {
    let series = call.series(0);
    if series.is_empty() {
        return Ok(series);
    }
    let count = series.len();
    let Ok([mut lower, mut upper]) = <[Series; 2]>::try_from(series) else {
        return Err(call.unusable(format!("seriesList is exactly two series, got {count}")));
    };
    stack_between(&mut lower, &mut upper);
    upper.note("areaBetween", "1");
    upper.name = format!("areaBetween({})", upper.path_expression);
    lower.tags.clone_from(&upper.tags);
    lower.name.clone_from(&upper.name);
    Ok(vec![lower, upper])
}

fn stacked(call: &mut Call<'_>) -> Outcome {
    let stack = call.arguments.text(1).unwrap_or(NAMELESS_STACK).to_owned();
    if call.context.as_graphite_web() {
        return Ok(stacked_by_place(call, &stack));
    }
    let mut top = call.stack(&stack);
    let mut series = call.series(0);
    for one in &mut series {
        let mut totals = below(one, top.as_ref());
        for (total, value) in totals.iter_mut().zip(one.values_mut()) {
            if !value.is_nan() {
                *total += *value;
                *value = *total;
            }
        }
        let mut new_top = Series::new(String::new(), one.start, one.step, totals);
        if let Some(old) = top.filter(|old| new_top.grid() == old.grid() && old.len() > new_top.len()) {
            // Where this series ends, the stack is as high as it was.
            let rest = old.values()[new_top.len()..].iter().copied();
            new_top.set_values(new_top.values().iter().copied().chain(rest).collect());
        }
        top = Some(new_top);
        note_stacked(one, &stack);
    }
    if let Some(top) = top {
        call.set_stack(&stack, top);
    }
    Ok(series)
}

fn note_stacked(one: &mut Series, stack: &str) {
    one.options.insert("stacked", "true".to_owned());
    if stack == NAMELESS_STACK {
        one.note("stacked", NAMELESS_STACK);
        one.name = format!("stacked({})", one.name);
    }
    one.path_expression.clone_from(&one.name);
}

/// As graphite-web has it: the first value stands on the first of all that were stacked before, whenever that was.
fn stacked_by_place(call: &mut Call<'_>, stack: &str) -> Vec<Series> {
    let mut heights = call.request().stack(stack);
    let mut series = call.series(0);
    for one in &mut series {
        heights.resize(heights.len().max(one.len()), 0.0);
        for (height, value) in heights.iter_mut().zip(one.values_mut()) {
            if !value.is_nan() {
                *height += *value;
                *value = *height;
            }
        }
        note_stacked(one, stack);
    }
    call.request().set_stack(stack, heights);
    series
}

/// How high a stack is at the instants of a series; 0 where there is none.
fn below(one: &Series, top: Option<&Series>) -> Vec<f64> {
    let Some(top) = top else { return vec![0.0; one.len()] };
    let height = |index: usize| {
        let past = one.time_of(index).millis().saturating_sub(top.start.millis());
        let place = usize::try_from(past.div_euclid(top.step.millis())).ok();
        place.and_then(|place| top.values().get(place)).copied().unwrap_or(0.0)
    };
    (0..one.len()).map(height).collect()
}

fn vertical_line(call: &mut Call<'_>) -> Outcome {
    let at = call.date(0, call.context.zone)?.unwrap_or(call.context.now).align_down(Step::SECOND);
    let (from, until) = (call.context.from.align_down(Step::SECOND), call.context.until);
    if at < from || at > until {
        let beyond = if at < from { "before the range begins" } else { "after the range ends" };
        return Err(call.unusable(format!("ts is {}, {beyond}", at.seconds())));
    }
    let unlabelled =
        if call.context.as_graphite_web() { NAMELESS.to_owned() } else { format!("verticalLine({})", at.seconds()) };
    let label = call.arguments.text(1).map_or(unlabelled, str::to_owned);
    let mut line = Series::new(label, at, Step::SECOND, vec![1.0]);
    if call.context.as_graphite_web() {
        line.nameless = call.arguments.text(1).is_none();
        // It takes the clocks of the zone for UTC's, and the line to end where it begins.
        line.start = at.offset(time::clock_error_millis(at, call.context.zone));
        line.said_end = Some(line.start);
        line.set_values(vec![1.0; 2]);
    }
    line.options.insert("drawAsInfinite", "true".to_owned());
    if let Some(color) = call.arguments.text(2) {
        line.options.insert("color", color.to_owned());
    }
    Ok(vec![line])
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, at, check, column, context, failure, minutes, run, run_in};
    use crate::{Compat, Context};

    #[test]
    fn drawing_is_an_option_and_sometimes_a_name() {
        let store = [minutes("a", &[1.0; 5])];
        for (target, name, option, value) in [
            ("alpha(a,0.5)", "a", "alpha", "0.5"),
            ("color(a,'red')", "a", "color", "red"),
            ("lineWidth(a,2)", "a", "lineWidth", "2.0"),
            ("dashed(a)", "dashed(a, 5)", "dashed", "5"),
            ("secondYAxis(a)", "secondYAxis(a)", "secondYAxis", "true"),
            ("drawAsInfinite(a)", "drawAsInfinite(a)", "drawAsInfinite", "true"),
            ("threshold(90,'limit','#f00')", "limit", "color", "#f00"),
        ] {
            let one = run(target, &store).remove(0);
            assert_eq!((one.name.as_str(), one.options[option].as_str()), (name, value), "{target}");
        }
        assert_eq!(run("threshold(90)", &store)[0].name, "90.0");
        assert_eq!(run("color(color(a,'red'),'blue')", &store)[0].path_expression, "a");
    }

    #[test]
    fn an_area_is_between_two_lines() {
        let store = [minutes("a.low", &[1.0; 5]), minutes("a.top", &[2.0; 5])];
        let area = run("areaBetween(a.*)", &store);
        for one in &area {
            assert_eq!((one.name.as_str(), one.tags["areaBetween"].as_str()), ("areaBetween(a.*)", "1"));
            assert_eq!(one.tags["name"], "a.top");
        }
        assert_eq!(area[0].options.keys().copied().collect::<Vec<_>>(), ["invisible", "stacked"]);
        assert_eq!(area[1].options.keys().copied().collect::<Vec<_>>(), ["stacked"]);
        assert_eq!(failure("areaBetween(a.low)", &store), "areaBetween: seriesList is exactly two series, got 1");
        assert!(run("areaBetween(nothing)", &store).is_empty());
    }

    #[test]
    fn series_stand_on_each_other() {
        let store = [
            minutes("a", &[1.0, NO, 3.0, 4.0, 5.0]),
            minutes("b", &[10.0, 20.0, NO, 40.0, 50.0]),
            column("slow", 120, 120, &[100.0, 200.0]),
        ];
        check(
            "stacked(group(a,b))",
            &store,
            &[("stacked(a)", &[1.0, NO, 3.0, 4.0, 5.0]), ("stacked(b)", &[11.0, 20.0, NO, 44.0, 55.0])],
        );
        check(
            "group(stacked(a,'in'),stacked(b,'out'),stacked(b,'in'))",
            &store,
            &[
                ("a", &[1.0, NO, 3.0, 4.0, 5.0]),
                ("b", &[10.0, 20.0, NO, 40.0, 50.0]),
                ("b", &[11.0, 20.0, NO, 44.0, 55.0]),
            ],
        );
        check(
            "group(stacked(a),stacked(slow))",
            &store,
            &[
                ("stacked(a)", &[1.0, NO, 3.0, 4.0, 5.0]),
                // At 120 s, where a is missing, nothing is below.
                ("stacked(slow)", &[100.0, 204.0]),
            ],
        );
        let one = run("stacked(a)", &store).remove(0);
        assert_eq!((one.tags["stacked"].as_str(), one.options["stacked"].as_str()), ("__DEFAULT__", "true"));
    }

    #[test]
    fn a_vertical_line_is_one_point() {
        let line = run("verticalLine('-1min','deploy','blue')", &[]).remove(0);
        assert_eq!((line.name.as_str(), line.start, line.values()), ("deploy", at(240), &[1.0][..]));
        assert_eq!((line.options["color"].as_str(), line.options["drawAsInfinite"].as_str()), ("blue", "true"));
        assert_eq!(run("verticalLine(60)", &[])[0].name, "verticalLine(60)");
        assert_eq!(failure("verticalLine('-6min')", &[]), "verticalLine: ts is -60, before the range begins");
        assert_eq!(failure("verticalLine(301)", &[]), "verticalLine: ts is 301, after the range ends");
        assert!(failure("verticalLine('soon')", &[]).starts_with("verticalLine: ts: \"soon\" is not a time: expected"));
    }

    #[test]
    fn graphite_web_draws_vertical_lines_by_the_clocks_of_the_zone() {
        let berlin = Context { zone: chrono_tz::Tz::Europe__Berlin, ..context() };
        let line = run_in(&berlin, "verticalLine('01:03_19700101','l')", &[]).unwrap().remove(0);
        assert_eq!((line.start, line.values()), (at(180), &[1.0][..]));
        let compat = Context { compat: Compat::GraphiteWeb, ..berlin };
        let line = run_in(&compat, "verticalLine('01:03_19700101','l')", &[]).unwrap().remove(0);
        assert_eq!((line.start, line.end(), line.values()), (at(3780), at(3780), &[1.0, 1.0][..]));
        let compat = Context { compat: Compat::GraphiteWeb, ..context() };
        assert!(run_in(&compat, "verticalLine(60)", &[]).unwrap()[0].is_nameless());
        assert!(!run_in(&compat, "alias(verticalLine(60),'a')", &[]).unwrap()[0].is_nameless());
        assert!(!run("verticalLine(60)", &[])[0].is_nameless());
    }
}
