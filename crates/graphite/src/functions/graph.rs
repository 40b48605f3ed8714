//! Graph: how series are drawn. Values stay as they are; whoever draws reads the options.

use super::{SERIES_LIST, each, int, special};
use crate::arguments::{Param, ParamType};
use crate::evaluate::{Call, Outcome};
use crate::numbers::{general, repr};
use crate::registry::{Function, Group};

pub(crate) const FUNCTIONS: &[Function] = &[
    graph(
        "alpha",
        "Drawn with this opacity, from 0 to 1.",
        &[SERIES_LIST, Param::required("alpha", ParamType::Float)],
        |call| number_option(call, "alpha"),
    ),
    graph(
        "color",
        "Drawn in this colour: a name, or hexadecimal digits.",
        &[SERIES_LIST, Param::required("theColor", ParamType::String)],
        color,
    ),
    graph(
        "dashed",
        "Drawn with dashes of so many pixels.",
        &[SERIES_LIST, Param::optional("dashLength", ParamType::Integer).or(int(5))],
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
        "threshold",
        "A flat line at a value, with a label and a colour.",
        &[
            Param::required("value", ParamType::Float),
            Param::optional("label", ParamType::String),
            Param::optional("color", ParamType::String),
        ],
        threshold,
    ),
];

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

#[cfg(test)]
mod tests {
    use crate::testing::{minutes, run};

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
}
