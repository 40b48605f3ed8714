//! Calculate: windows that move over each series.
//!
//! A window looks back from before the panel's range, so the argument is evaluated over a range that begins earlier. When
//! the window is told in points, how much earlier depends on the step that the argument turns out to have.

use statline_series::{Consolidation, Kind, Step};

use super::preview::drop_preview;
use super::{SERIES_LIST, int};
use crate::arguments::{Arguments, Literal, Param, ParamType};
use crate::context::Context;
use crate::error::EvalError;
use crate::evaluate::{Call, Outcome, Stop};
use crate::numbers::round;
use crate::registry::{Function, Group};
use crate::series::Series;
use crate::{parallel, sliding, time};

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
    moving(
        "exponentialMovingAverage",
        "The mean of all values up to each moment, older ones counting less; half of the weight lies in a third of windowSize.",
        &[SERIES_LIST, WINDOW],
        exponential_moving_average,
    ),
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
    if context.as_graphite_web() {
        return Ok(*context);
    }
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

/// Series that reach back far enough for the window, whatever their steps turn out to be.
struct Preview {
    series: Vec<Series>,
    millis: i64,
    /// The window, when it is told in points.
    points: Option<i64>,
    /// The window as names show it.
    shown: String,
    /// The window as tags show it.
    told: String,
}

impl Preview {
    fn of(call: &mut Call<'_>) -> Result<Self, Stop> {
        let (series, millis) =
            if call.context.as_graphite_web() { Self::in_graphite_web(call)? } else { Self::in_time(call)? };
        let told = call.arguments.scalar(1).map(ToString::to_string).unwrap_or_default();
        let shown = if call.arguments.text(1).is_some() { format!("\"{told}\"") } else { told.clone() };
        Ok(Self { series, millis, points: call.arguments.integer(1), shown, told })
    }

    /// Series from as far back as windows reach, by the coarsest step that they have there.
    fn in_time(call: &mut Call<'_>) -> Result<(Vec<Series>, i64), Stop> {
        let hint = call.context.step_hint;
        let mut millis = preview_millis(&call.arguments, hint);
        let mut series = call.series(0);
        for _ in 0..MAX_ROUNDS {
            // A line that holds everywhere has no step to speak of.
            let steps = series.iter().filter(|one| !one.constant).map(|one| one.step);
            let needed = preview_millis(&call.arguments, steps.max().unwrap_or(hint));
            if needed < millis {
                // What is finer than expected begins as if that had been known.
                let begin = call.context.looking_back(needed).from;
                series.iter_mut().for_each(|one| one.drop_until(begin));
                millis = needed;
            }
            if needed == millis {
                break;
            }
            millis = needed;
            series = call.series_over(0, &call.context.looking_back(millis))?;
        }
        Ok((series, millis))
    }

    /// graphite-web goes by the coarsest step that they have in the window itself.
    fn in_graphite_web(call: &mut Call<'_>) -> Result<(Vec<Series>, i64), Stop> {
        let in_window = call.series(0);
        let Some(coarsest) = in_window.iter().map(|one| one.step).max() else { return Ok((Vec::new(), 0)) };
        let millis = preview_millis(&call.arguments, coarsest);
        Ok((call.series_over(0, &call.context.looking_back(millis))?, millis))
    }

    /// The window in points of a series; graphite-web knows windows of none.
    fn points(&self, one: &Series, context: &Context) -> usize {
        let points = self.points.unwrap_or(self.millis / one.step.millis());
        let least = usize::from(!context.as_graphite_web());
        usize::try_from(points).unwrap_or(usize::MAX).max(least)
    }
}

fn slide(call: &mut Call<'_>, how: Consolidation, function: &str, factor_index: usize) -> Outcome {
    let mut preview = Preview::of(call)?;
    let mut series = std::mem::take(&mut preview.series);
    let (factor, context) = (call.arguments.number(factor_index), call.context);
    let tag = format!("moving{}", capitalized(function));
    parallel::change(&mut series, |one| {
        let window = preview.points(one, context);
        let factor = factor.or(one.x_files_factor).unwrap_or(context.x_files_factor);
        if window == 0 {
            one.set_values(vec![f64::NAN; one.len()]);
        } else {
            let windows = if context.as_graphite_web() { sliding::windows_one_by_one } else { sliding::windows };
            one.set_values(windows(one.values(), window, how, factor));
            one.set_whole(how == Consolidation::Count);
        }
        drop_preview(one, window, preview.millis, context);
        one.note(&tag, preview.told.as_str());
        one.rename(format!("{tag}({},{})", one.name, preview.shown));
        if how == Consolidation::Sum || how == Consolidation::Count {
            one.kind = Kind::Untyped;
        }
    });
    Ok(series)
}

fn exponential_moving_average(call: &mut Call<'_>) -> Outcome {
    let mut preview = Preview::of(call)?;
    let mut series = std::mem::take(&mut preview.series);
    let context = call.context;
    parallel::change(&mut series, |one| {
        let window = preview.points(one, context);
        // A window told as a time weighs by its seconds, however far apart the points are.
        let length = preview.points.unwrap_or(preview.millis / 1000);
        let is_compat = context.as_graphite_web();
        let end = one.end();
        smooth(one, window, 2.0 / (length as f64 + 1.0), if is_compat { 0.0 } else { f64::NAN });
        if is_compat {
            // The mean that the first value starts from is shown too, so that each value is one step late.
            if window == 0 || one.is_empty() {
                let end = one.end();
                one.set_values(std::iter::once(0.0).chain(one.values().iter().copied()).collect());
                one.said_end = Some(end);
            }
            let before = window.min(one.len()).saturating_sub(1);
            drop_preview(one, before, preview.millis, context);
            one.said_end = Some(end);
            one.set_zeros_whole();
        } else {
            drop_preview(one, window, preview.millis, context);
        }
        one.note("exponentialMovingAverage", preview.told.as_str());
        one.rename(format!("exponentialMovingAverage({},{})", one.name, preview.shown));
    });
    Ok(series)
}

/// Puts the exponential mean in the place of each value. It starts from the mean of the first window, whose last place
/// holds that mean; when nothing is there, from `otherwise`, or from the first value when that is NaN.
fn smooth(one: &mut Series, window: usize, weight: f64, otherwise: f64) {
    let window = window.min(one.len());
    let (before, rest) = one.values_mut().split_at_mut(window);
    let start = Consolidation::Average.apply(before);
    let mut mean = if start.is_nan() { otherwise } else { start };
    if let Some(last) = before.last_mut() {
        *last = round(mean, 6);
    }
    for value in rest {
        if !value.is_nan() {
            mean = if mean.is_nan() { *value } else { weight * *value + (1.0 - weight) * mean };
            *value = round(mean, 6);
        }
    }
}

fn capitalized(word: &str) -> String {
    let mut characters = word.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(characters.flat_map(char::to_lowercase)).collect())
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, assert_values, at, check, column, context, failure, run, run_in};
    use crate::{Compat, Context, Fetched, Progress, evaluate, parse, plan};
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
    fn a_step_finer_than_expected_makes_no_difference() {
        let coarser = Context { step_hint: Step::from_seconds(120).unwrap(), ..context() };
        for target in ["movingAverage(a,3)", "movingMedian(a,2)", "exponentialMovingAverage(a,2)"] {
            let expected = run(target, &counting());
            assert_eq!(run_in(&coarser, target, &counting()).unwrap(), expected, "{target}");
        }
    }

    #[test]
    fn an_exponential_mean_starts_from_the_mean_before_the_window() {
        // (9 + 8) / 2 = 8.5, then two thirds of each new value; 7 to 9 are before the window.
        let after = [9.5, 10.5, 11.5, 12.5, 13.5];
        check("exponentialMovingAverage(a,2)", &counting(), &[("exponentialMovingAverage(a,2)", &after)]);
        let one = run("exponentialMovingAverage(a,'2min')", &counting()).remove(0);
        assert_eq!((one.name.as_str(), one.start), ("exponentialMovingAverage(a,\"2min\")", at(60)));
        assert_values(one.values(), &[8.524_793, 8.565_706, 8.622_471, 8.694_827, 8.782_516], "weighed by 120 seconds");
        let store = [column("a", -60, 60, &[NO, NO, 3.0, NO, 6.0, NO, NO])];
        check("exponentialMovingAverage(a,2)", &store, &[("exponentialMovingAverage(a,2)", &[3.0, NO, 5.0, NO, NO])]);
        assert_eq!(run("exponentialMovingAverage(a,2)", &counting())[0].tags["exponentialMovingAverage"], "2");
    }

    #[test]
    fn graphite_web_labels_by_the_preview_and_shows_the_first_mean() {
        let compat = Context { compat: Compat::GraphiteWeb, ..context() };
        let one = run_in(&compat, "exponentialMovingAverage(a,2)", &counting()).unwrap().remove(0);
        assert_eq!(one.start, at(60));
        assert_values(one.values(), &[8.5, 9.5, 10.5, 11.5, 12.5, 13.5], "one value more");
        let one = run_in(&compat, "movingAverage(a,'90s')", &counting()).unwrap().remove(0);
        assert_eq!(one.start, at(30), "fetched from 60 s before the epoch, and 90 s after that");
        let one = run_in(&compat, "movingAverage(a,'10s')", &counting()).unwrap().remove(0);
        assert!(one.values().iter().all(|value| value.is_nan()), "no window holds a point");
    }

    #[test]
    fn graphite_web_starts_an_exponential_mean_of_nothing_with_a_whole_zero() {
        let compat = Context { compat: Compat::GraphiteWeb, ..context() };
        let store = [column("a", 60, 60, &[1.0, 2.0, 3.0, 4.0, 5.0])];
        let target = "legendValue(exponentialMovingAverage(a,2),'min')";
        let one = run_in(&compat, target, &store).unwrap().remove(0);
        assert_eq!(one.name, "exponentialMovingAverage(a,2) (min: 0)");
    }

    #[test]
    fn graphite_web_sums_every_window_by_itself() {
        let compat = Context { compat: Compat::GraphiteWeb, ..context() };
        let store = [column("a", -480, 60, &[0.1; 14])];
        let one = run_in(&compat, "movingSum(a,3)", &store).unwrap().remove(0);
        assert_eq!(one.values(), [0.1 + 0.1 + 0.1; 5]);
    }
}
