//! Special: what the distributions of timers say, which statsd's figures cannot.
//!
//! For each timer and flush the store keeps a sketch of the values beside the figures, under the name of the timer itself,
//! `stats.timers.X`. Sketches of several timers and flushes become one without a loss, so a percentile over hours and
//! servers is one of all values and not a mean of percentiles. They are merged to the panel's width when they are fetched.

use std::collections::{BTreeMap, BTreeSet};

use statline_series::sketch::RELATIVE_ACCURACY;
use statline_series::{Kind, SeriesKey, Sketch, Step, TimeRange, Timestamp};

use super::int;
use crate::arguments::{Literal, Param, ParamType};
use crate::buckets;
use crate::context::Context;
use crate::evaluate::{Call, Outcome, Stop};
use crate::fetch::FetchedSketches;
use crate::numbers::general;
use crate::registry::{Function, Group};
use crate::series::Series;

/// The most buckets of a heatmap.
const MOST_BUCKETS: i64 = 200;

const TIMERS: Param = Param::required("timers", ParamType::SeriesList);

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "timerHeatmap",
        Group::Special,
        "How many values of timers fell into each of at most so many buckets; a series is named by the upper bound of its bucket, which its tag le tells too.",
        &[TIMERS, Param::optional("buckets", ParamType::Integer).or(int(20))],
        timer_heatmap,
    )
    .unevaluated(),
    Function::new(
        "timerPercentile",
        Group::Special,
        "The n-th percentile of all values of all timers together, or with perTimer of each timer, within 1 %.",
        &[
            TIMERS,
            Param::required("n", ParamType::Float),
            Param::optional("perTimer", ParamType::Boolean).or(Literal::Bool(false)),
        ],
        timer_percentile,
    )
    .unevaluated(),
];

/// Distributions on a regular grid.
struct Distributions {
    start: Timestamp,
    step: Step,
    slots: Vec<Sketch>,
}

impl Distributions {
    /// Those of some timers, merged by time.
    fn merged<'t>(timers: impl Iterator<Item = &'t FetchedSketches> + Clone, call: &Call<'_>) -> Result<Self, Stop> {
        let step = timers.clone().map(|timer| timer.step).max().unwrap_or(wanted_step(call.context));
        let range = call.context.range();
        // A slot that the window cuts off would jump as the window moves; but it is all there is of a short one.
        let start = if range.slots(step) > 0 { range.from.align_up(step) } else { range.from.align_down(step) };
        let count = TimeRange::new(start, range.until).slots(step);
        call.check_points(count)?;
        let mut slots = vec![Sketch::new(); count];
        for (instant, sketch) in timers.flat_map(|timer| &timer.slots) {
            let place = instant.millis().saturating_sub(start.millis()).div_euclid(step.millis());
            if let Some(slot) = usize::try_from(place).ok().and_then(|place| slots.get_mut(place)) {
                slot.merge(sketch);
            }
        }
        Ok(Self { start, step, slots })
    }

    fn series(&self, name: String, value: impl Fn(&Sketch) -> f64) -> Series {
        Series::new(name, self.start, self.step, self.slots.iter().map(value).collect())
    }
}

/// How finely sketches are fetched: as flushed, unless the panel is narrower.
fn wanted_step(context: &Context) -> Step {
    let own = context.step_hint.millis();
    let Some(most) = context.max_data_points.and_then(|most| i64::try_from(most).ok()).filter(|most| *most > 0) else {
        return context.step_hint;
    };
    let width = context.range().millis() / most + i64::from(context.range().millis() % most > 0);
    let steps = width / own + i64::from(width % own > 0);
    Step::from_millis(own.saturating_mul(steps.max(1))).unwrap_or(context.step_hint)
}

/// The sketches of all timers given, each timer once.
struct Timers {
    lists: Vec<std::sync::Arc<Vec<FetchedSketches>>>,
    /// The timers as written.
    written: String,
}

impl Timers {
    fn of(call: &Call<'_>) -> Result<Self, Stop> {
        let lists = call.sketches(0, wanted_step(call.context))?;
        let bins = lists.iter().flat_map(|list| list.iter()).flat_map(|timer| &timer.slots);
        call.check_points(bins.fold(0_usize, |bins, (_, sketch)| bins.saturating_add(sketch.bin_count())))?;
        let timers = call.arguments.expressions(0).iter();
        let written = timers.map(|timers| timers.path().unwrap_or(timers.source())).collect();
        Ok(Self { lists, written })
    }

    fn each(&self) -> impl Iterator<Item = &FetchedSketches> + Clone {
        let mut seen = BTreeSet::new();
        let once: Vec<&FetchedSketches> =
            self.lists.iter().flat_map(|list| list.iter()).filter(|timer| seen.insert(timer.key.as_str())).collect();
        once.into_iter()
    }

    /// The tags that all of them have.
    fn common_tags(&self) -> BTreeMap<String, String> {
        let mut keys = self.each().map(|timer| tags_of(&timer.key));
        let mut common = keys.next().unwrap_or_default();
        for tags in keys {
            common.retain(|tag, value| tags.get(tag) == Some(value));
        }
        common
    }
}

fn tags_of(key: &SeriesKey) -> BTreeMap<String, String> {
    let mut tags: BTreeMap<String, String> =
        key.tags().map(|(tag, value)| (tag.to_owned(), value.into_owned())).collect();
    tags.entry("name".to_owned()).or_insert_with(|| key.name().to_owned());
    tags
}

fn timer_percentile(call: &mut Call<'_>) -> Outcome {
    let percent = call.arguments.number(1).unwrap_or(f64::NAN);
    if !(percent > 0.0 && percent <= 100.0) {
        return Err(call.unusable(format!("n is a percent above 0 and up to 100, got {}", general(percent))));
    }
    let timers = Timers::of(call)?;
    let line = |written: &str, distributions: &Distributions, tags: BTreeMap<String, String>| {
        let name = format!("timerPercentile({written},{})", general(percent));
        let mut line = distributions.series(name, |slot| percentile(slot, percent));
        line.tags.extend(tags);
        line.note("timerPercentile", general(percent));
        line
    };
    let mut lines = Vec::new();
    if call.arguments.flag(2) {
        for timer in timers.each() {
            let distributions = Distributions::merged(std::iter::once(timer), call)?;
            lines.push(line(timer.key.as_str(), &distributions, tags_of(&timer.key)));
        }
    } else if timers.each().next().is_some() {
        let distributions = Distributions::merged(timers.each(), call)?;
        lines.push(line(&timers.written, &distributions, timers.common_tags()));
    }
    Ok(lines)
}

/// The smallest value that so many percent of the values are at or below.
fn percentile(distribution: &Sketch, percent: f64) -> f64 {
    if distribution.is_empty() {
        return f64::NAN;
    }
    if percent >= 100.0 {
        return distribution.max();
    }
    // 70 % of 10 values are 7 of them, not a trace more.
    const TRACE: f64 = 1e-12;
    distribution.lowest(percent / 100.0 * (1.0 - TRACE)).boundary
}

fn timer_heatmap(call: &mut Call<'_>) -> Outcome {
    let wanted = call.arguments.integer(1).unwrap_or(20);
    let Some(most) = usize::try_from(wanted).ok().filter(|_| (1..=MOST_BUCKETS).contains(&wanted)) else {
        return Err(call.unusable(format!("buckets is a number from 1 to {MOST_BUCKETS}, got {wanted}")));
    };
    let timers = Timers::of(call)?;
    let Distributions { start, step, slots } = Distributions::merged(timers.each(), call)?;
    let known = || slots.iter().filter(|slot| !slot.is_empty());
    let least = known().map(Sketch::min).fold(f64::NAN, f64::min);
    let largest = known().map(Sketch::max).fold(f64::NAN, f64::max);
    if least.is_nan() {
        return Ok(Vec::new());
    }
    let bounds = buckets::bounds(least, largest, most);
    call.check_points(bounds.len().saturating_mul(slots.len()))?;
    let mut counts: Vec<Vec<f64>> = bounds.iter().map(|_| vec![f64::NAN; slots.len()]).collect();
    for (index, slot) in slots.iter().enumerate().filter(|(_, slot)| !slot.is_empty()) {
        counts.iter_mut().for_each(|column| column[index] = 0.0);
        for bin in slot.bins() {
            // Who stands for a bin may be off by 1 %, and values like to be round: a bound within that is not passed.
            let middle = f64::midpoint(bin.lower, bin.upper).clamp(slot.min(), slot.max());
            let is_passed = |bound: &f64| *bound * (1.0 + RELATIVE_ACCURACY) < middle;
            let bucket = bounds.partition_point(is_passed).min(bounds.len() - 1);
            counts[bucket][index] += bin.weight;
        }
    }
    let tags = timers.common_tags();
    let rows = bounds.iter().zip(counts).map(|(bound, column)| {
        let mut row = Series::new(bound.to_string(), start, step, column);
        row.tags.extend(tags.clone());
        row.note("le", bound.to_string());
        row.path_expression = format!("timerHeatmap({},{wanted})", timers.written);
        row.kind = Kind::Count;
        row
    });
    Ok(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_values, at, context, is_selected, run_with};
    use crate::{Answer, EvalError, Wanted};

    /// Two timers, flushed each minute from 60 s on; the second is silent at first.
    fn answer(wanted: &Wanted) -> Answer {
        let Wanted::Sketches(selection, step) = wanted else { panic!("asked for {wanted:?}") };
        let timer = |key: &str, flushes: &[(i64, &[f64])]| {
            let mut slots: BTreeMap<Timestamp, Sketch> = BTreeMap::new();
            for (seconds, values) in flushes {
                let slot = slots.entry(at(*seconds).align_down(*step)).or_default();
                values.iter().for_each(|value| slot.add(*value, 1.0));
            }
            FetchedSketches { key: SeriesKey::parse(key).unwrap(), step: *step, slots: slots.into_iter().collect() }
        };
        let all = vec![
            timer("t.a;dc=x;host=1", &[(60, &[10.0, 20.0, 30.0]), (120, &[40.0]), (180, &[50.0]), (300, &[3.0])]),
            timer("t.b;dc=x;host=2", &[(120, &[400.0]), (180, &[0.5, 60.0])]),
            timer("u", &[(60, &[-1.0, 0.0])]),
        ];
        Answer::Sketches(all.into_iter().filter(|timer| is_selected(selection, &timer.key)).collect())
    }

    fn run_in(context: &Context, target: &str) -> Result<Vec<Series>, EvalError> {
        run_with(context, target, answer)
    }

    /// Within the 1 % of a sketch.
    fn assert_close(series: &Series, expected: &[f64], what: &str) {
        assert_eq!(series.len(), expected.len(), "{what}");
        for (value, expected) in series.values().iter().zip(expected) {
            let close = (value - expected).abs() <= 0.0101 * expected.abs() || value.is_nan() && expected.is_nan();
            assert!(close, "{what}: got {:?}, expected {expected}", series.values());
        }
    }

    const NO: f64 = f64::NAN;
    const BOTH: &str = "seriesByTag('dc=x')";

    #[test]
    fn a_percentile_is_one_of_all_values() {
        let one = run_in(&context(), &format!("timerPercentile({BOTH},50)")).unwrap().remove(0);
        assert_close(&one, &[20.0, 40.0, 50.0, NO, 3.0], "the middle one, the lower of two");
        assert_eq!((one.name.as_str(), one.start), ("timerPercentile(seriesByTag('dc=x'),50)", at(60)));
        assert_eq!((one.tags["dc"].as_str(), one.tags["timerPercentile"].as_str()), ("x", "50"));
        assert!(!one.tags.contains_key("host"));
        let one = run_in(&context(), "timerPercentile(group(t.a;dc=x;host=1,t.b;dc=x;host=2),100)").unwrap().remove(0);
        assert_values(one.values(), &[30.0, 400.0, 60.0, NO, 3.0], "the largest is exact");
        let each = run_in(&context(), &format!("timerPercentile({BOTH},99.9,perTimer=true)")).unwrap();
        assert_eq!(each[1].name, "timerPercentile(t.b;dc=x;host=2,99.9)");
        assert_close(&each[1], &[NO, 400.0, 60.0, NO, NO], "of the second alone");
        assert_eq!(each[1].tags["host"], "2");
        assert!(run_in(&context(), "timerPercentile(nothing,50)").unwrap().is_empty());
    }

    #[test]
    fn a_narrow_panel_has_wider_distributions() {
        let narrow = Context { max_data_points: Some(2), ..context() };
        let one = run_in(&narrow, &format!("timerPercentile({BOTH},100)")).unwrap().remove(0);
        assert_eq!((one.start, one.step.millis()), (at(180), 180_000));
        assert_values(one.values(), &[60.0], "from 180 s up to 360 s");
        let one =
            run_in(&Context { max_data_points: Some(1), ..context() }, "timerPercentile(u,100)").unwrap().remove(0);
        assert_eq!((one.start, one.len()), (at(300), 1));
    }

    #[test]
    fn a_heatmap_counts_by_bucket() {
        let rows = run_in(&context(), &format!("timerHeatmap({BOTH},4)")).unwrap();
        let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["1", "10", "100", "1000"]);
        for (row, expected) in rows.iter().zip([
            [0.0, 0.0, 1.0, NO, 0.0],
            [1.0, 0.0, 0.0, NO, 1.0],
            [2.0, 1.0, 2.0, NO, 0.0],
            [0.0, 1.0, 0.0, NO, 0.0],
        ]) {
            assert_values(row.values(), &expected, &row.name);
            assert_eq!((row.tags["le"].as_str(), row.tags["dc"].as_str()), (row.name.as_str(), "x"));
            assert_eq!(row.path_expression, "timerHeatmap(seriesByTag('dc=x'),4)");
        }
        let rows = run_in(&context(), "timerHeatmap(u)").unwrap();
        assert_eq!((rows.len(), rows[0].name.as_str(), rows[0].values()[0]), (1, "0", 2.0));
        assert!(run_in(&context(), "timerHeatmap(nothing)").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_timer_is_told() {
        for (target, message) in [
            (
                "timerPercentile(scale(t.*,2),50)",
                "timerPercentile: parameter 1 (timers) takes timers: a path, seriesByTag(…) or a group of them, got the call scale(…) at character 17",
            ),
            ("timerPercentile(t.*,0)", "timerPercentile: n is a percent above 0 and up to 100, got 0"),
            ("timerHeatmap(t.*,999)", "timerHeatmap: buckets is a number from 1 to 200, got 999"),
        ] {
            assert_eq!(run_in(&context(), target).unwrap_err().to_string(), message);
        }
    }
}
