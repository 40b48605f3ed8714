//! Calculate: windows that move over each series, and single figures drawn as lines.
//!
//! A window looks back from before the panel's range, so the argument is evaluated over a range that begins earlier. When
//! the window is told in points, how much earlier depends on the step that the argument turns out to have.

use statline_series::{Consolidation, Kind, Step};

use super::{SERIES_LIST, int};
use crate::aggregate;
use crate::arguments::{Arguments, Literal, Param, ParamType};
use crate::context::Context;
use crate::error::EvalError;
use crate::evaluate::{Call, Outcome};
use crate::numbers::general;
use crate::registry::{Function, Group};
use crate::series::Series;
use crate::{sliding, time};

const WINDOW: Param = Param::required("windowSize", ParamType::IntOrInterval).suggesting(&[
    int(5),
    int(7),
    int(10),
    Literal::Text("1min"),
    Literal::Text("5min"),
    Literal::Text("10min"),
    Literal::Text("30min"),
    Literal::Text("1hour"),
]);
const X_FILES_FACTOR: Param = Param::optional("xFilesFactor", ParamType::Float);
const MOVING: &[Param] = &[SERIES_LIST, WINDOW, X_FILES_FACTOR];

pub(crate) const FUNCTIONS: &[Function] = &[
    moving("movingAverage", "The mean of the values in a window that ends at each moment.", MOVING, moving_average),
    moving("movingMax", "The largest value in a window that ends at each moment.", MOVING, moving_max),
    moving("movingMedian", "The middle value in a window that ends at each moment.", MOVING, moving_median),
    moving("movingMin", "The smallest value in a window that ends at each moment.", MOVING, moving_min),
    moving("movingSum", "The sum of the values in a window that ends at each moment.", MOVING, moving_sum),
    moving(
        "movingWindow",
        "What func makes of the values in a window that ends at each moment.",
        &[
            SERIES_LIST,
            WINDOW,
            Param::optional("func", ParamType::AggFunc).or(Literal::Text("average")),
            X_FILES_FACTOR,
        ],
        moving_window,
    ),
    Function::new(
        "nPercentile",
        Group::Calculate,
        "The n-th percentile of each series' values, as a flat line.",
        &[SERIES_LIST, Param::required("n", ParamType::Float)],
        n_percentile,
    ),
];

const fn moving(
    name: &'static str,
    description: &'static str,
    params: &'static [Param],
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function::new(name, Group::Calculate, description, params, run).over(preview_window)
}

/// The most rounds of finding out how coarse the argument gets when it is looked at further back.
const MAX_ROUNDS: usize = 4;

/// How far a window reaches back, when series have this step.
fn preview_millis(arguments: &Arguments<'_>, step: Step) -> i64 {
    match (arguments.integer(1), arguments.text(1)) {
        (Some(points), _) => points.saturating_mul(step.millis()),
        (None, Some(text)) => time::parse_interval(text).unwrap_or(0).saturating_abs(),
        (None, None) => 0,
    }
}

fn preview_window(arguments: &Arguments<'_>, context: &Context) -> Result<Context, EvalError> {
    Ok(context.looking_back(preview_millis(arguments, context.step_hint)))
}

fn moving_average(call: &mut Call<'_>) -> Outcome {
    slide(call, Consolidation::Average, "average", 2)
}

fn moving_max(call: &mut Call<'_>) -> Outcome {
    slide(call, Consolidation::Max, "max", 2)
}

fn moving_median(call: &mut Call<'_>) -> Outcome {
    slide(call, Consolidation::Median, "median", 2)
}

fn moving_min(call: &mut Call<'_>) -> Outcome {
    slide(call, Consolidation::Min, "min", 2)
}

fn moving_sum(call: &mut Call<'_>) -> Outcome {
    slide(call, Consolidation::Sum, "sum", 2)
}

fn moving_window(call: &mut Call<'_>) -> Outcome {
    let how = call.arguments.aggregation(2);
    let function = call.arguments.text(2).unwrap_or(how.as_str()).to_owned();
    slide(call, how, &function, 3)
}

fn slide(call: &mut Call<'_>, how: Consolidation, function: &str, factor_index: usize) -> Outcome {
    let mut preview = preview_millis(&call.arguments, call.context.step_hint);
    let mut series = call.series(0);
    for _ in 0..MAX_ROUNDS {
        let coarsest = series.iter().map(|one| one.step).max().unwrap_or(call.context.step_hint);
        let needed = preview_millis(&call.arguments, coarsest);
        if needed <= preview {
            break;
        }
        preview = needed;
        series = call.series_over(0, &call.context.looking_back(preview))?;
    }
    let factor = call.arguments.number(factor_index);
    let shown = match call.arguments.text(1) {
        Some(text) => format!("\"{text}\""),
        None => call.arguments.scalar(1).map(ToString::to_string).unwrap_or_default(),
    };
    let tag = format!("moving{}", capitalized(function));
    for one in &mut series {
        let window = match call.arguments.integer(1) {
            Some(points) => points,
            None => preview / one.step.millis(),
        };
        let window = usize::try_from(window).unwrap_or(usize::MAX).max(1);
        let factor = factor.or(one.x_files_factor).unwrap_or(call.context.x_files_factor);
        one.set_values(sliding::windows(one.values(), window, how, factor));
        drop_preview(one, preview, call.context);
        one.note(&tag, shown.trim_matches('"'));
        one.rename(format!("{tag}({},{shown})", one.name));
        if how == Consolidation::Sum || how == Consolidation::Count {
            one.kind = Kind::Untyped;
        }
    }
    Ok(series)
}

/// Leaves out the values that were only there to fill windows.
fn drop_preview(one: &mut Series, preview: i64, context: &Context) {
    let step = one.step.millis();
    let begins_with_window = one.start <= context.looking_back(preview).from.offset(step);
    let count = if begins_with_window {
        preview / step
    } else {
        context.from.millis().saturating_sub(one.start.millis()).div_euclid(step).saturating_add(1)
    };
    one.drop_first(usize::try_from(count).unwrap_or(0));
}

fn capitalized(word: &str) -> String {
    let mut characters = word.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(characters.flat_map(char::to_lowercase)).collect())
}

fn n_percentile(call: &mut Call<'_>) -> Outcome {
    let percent = call.arguments.number(1).unwrap_or(0.0);
    if percent <= 0.0 {
        return Err(call.unusable(format!("n is a percent above 0, got {}", general(percent))));
    }
    let mut lines = Vec::new();
    for mut one in call.series(0) {
        let value = aggregate::percentile(&mut one.values().to_vec(), percent, false);
        if value.is_nan() {
            continue;
        }
        one.note("nPercentile", crate::numbers::repr(percent));
        one.rename(format!("nPercentile({}, {})", one.name, general(percent)));
        one.kind = Kind::Untyped;
        one.set_values(vec![value; one.len()]);
        lines.push(one);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, assert_values, at, check, column, context, failure, minutes, run, run_in};
    use crate::{Context, Fetched, Progress, evaluate, parse, plan};
    use statline_series::Step;

    /// 1, 2, 3, … a minute apart; 10 is at 60 s, the first in the window.
    fn counting() -> Vec<crate::FetchedSeries> {
        vec![column("a", -480, 60, &(1..=14).map(f64::from).collect::<Vec<_>>())]
    }

    #[test]
    fn windows_look_back_beyond_the_range() {
        for (target, name, values) in [
            ("movingAverage(a,3)", "movingAverage(a,3)", [9.0, 10.0, 11.0, 12.0, 13.0]),
            ("movingAverage(a,'3min')", "movingAverage(a,\"3min\")", [9.0, 10.0, 11.0, 12.0, 13.0]),
            ("movingSum(a,2)", "movingSum(a,2)", [19.0, 21.0, 23.0, 25.0, 27.0]),
            ("movingMin(a,4)", "movingMin(a,4)", [7.0, 8.0, 9.0, 10.0, 11.0]),
            ("movingMax(scale(a,-1),4)", "movingMax(scale(a,-1),4)", [-7.0, -8.0, -9.0, -10.0, -11.0]),
            ("movingMedian(a,'2min')", "movingMedian(a,\"2min\")", [9.5, 10.5, 11.5, 12.5, 13.5]),
            ("movingWindow(a,2,'range')", "movingRange(a,2)", [1.0; 5]),
            ("movingAverage(a,'1min')", "movingAverage(a,\"1min\")", [10.0, 11.0, 12.0, 13.0, 14.0]),
            ("movingAverage(movingSum(a,2),2)", "movingAverage(movingSum(a,2),2)", [18.0, 20.0, 22.0, 24.0, 26.0]),
            // Less than half of a window of 20 is there.
            ("movingAverage(a,20,0.6)", "movingAverage(a,20)", [NO, NO, 6.5, 7.0, 7.5]),
        ] {
            check(target, &counting(), &[(name, &values)]);
            assert_eq!(run(target, &counting())[0].start, at(60), "{target}");
        }
        assert_eq!(run("movingAverage(a,3)", &counting())[0].tags["movingAverage"], "3");
        assert_eq!(
            failure("movingAverage(a,0)", &[]),
            "movingAverage: parameter 2 (windowSize) takes a positive number of points or a quoted interval such as \
             \"5min\", got the number 0 at character 17"
        );
    }

    #[test]
    fn a_window_finer_than_the_step_is_one_point() {
        let one = run("movingAverage(a,'10s')", &counting()).remove(0);
        assert_eq!((one.start, one.values()), (at(0), &[9.0, 10.0, 11.0, 12.0, 13.0, 14.0][..]));
    }

    #[test]
    fn missing_values_take_no_part() {
        let store = [column("a", -60, 60, &[NO, 1.0, NO, NO, NO, 5.0, 7.0])];
        check("movingAverage(a,2)", &store, &[("movingAverage(a,2)", &[1.0, NO, NO, 5.0, 6.0])]);
        check("movingMedian(a,3)", &store, &[("movingMedian(a,3)", &[1.0, 1.0, NO, 5.0, 6.0])]);
    }

    #[test]
    fn a_window_in_points_asks_again_when_the_step_is_coarser_than_expected() {
        let target = parse("movingAverage(a,3)").unwrap();
        let context = Context { step_hint: Step::from_seconds(10).unwrap(), ..context() };
        let first = plan(&target, &context).unwrap();
        assert_eq!(first[0].range.from, at(-30).offset(1));
        let mut fetched = Fetched::default();
        fetched.insert(&first[0], counting());
        let Progress::Fetch(second) = evaluate(&target, &context, &fetched).unwrap() else { panic!("done too early") };
        assert_eq!(second[0].range.from, at(-180).offset(1));
        let series = run_in(&context, "movingAverage(a,3)", &counting()).unwrap();
        assert_values(series[0].values(), &[9.0, 10.0, 11.0, 12.0, 13.0], "after the second round");
        let hourly = run_in(&context, "movingAverage(summarize(a,'2min'),2)", &counting()).unwrap();
        assert_eq!(hourly[0].step.millis(), 120_000);
    }

    #[test]
    fn a_percentile_is_a_line() {
        let store = [minutes("a", &[5.0, NO, 1.0, 3.0, 2.0]), minutes("b", &[NO; 5])];
        check("nPercentile(group(a,b),50)", &store, &[("nPercentile(a, 50)", &[3.0; 5])]);
        check("nPercentile(a,99.5)", &store, &[("nPercentile(a, 99.5)", &[5.0; 5])]);
        assert_eq!(failure("nPercentile(a,0)", &store), "nPercentile: n is a percent above 0, got 0");
    }
}
