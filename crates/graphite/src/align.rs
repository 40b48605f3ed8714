//! Bringing series of different steps and starts onto one grid, by time.
//!
//! The step of the grid is the least common multiple of the steps; a bucket holds the values of `[t, t + step)`, and a series
//! of a finer step is consolidated into it in its own way. graphite-web pairs values by their place in the list; pairing by
//! time is the same where series begin together, and right where they do not.

use std::borrow::Cow;

use statline_series::{Consolidation, Step, TimeRange, Timestamp};

use crate::context::Context;
use crate::error::EvalError;
use crate::series::Series;

/// A least common multiple beyond so many of the coarsest steps serves nobody; the coarsest step is taken instead.
const MOST_COARSEST_STEPS: i64 = 1000;

/// A regular grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Grid {
    pub start: Timestamp,
    pub step: Step,
    pub len: usize,
    /// As graphite-web has it: values are paired by their place in the list.
    paired_by_place: Option<Said>,
}

/// What graphite-web says of a series that it makes of others.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Said {
    end: Timestamp,
    x_files_factor: f64,
}

impl Grid {
    /// The grid that holds all of the series; `None` when there are none.
    ///
    /// A constant holds on every grid, so it has no say unless there is nothing but constants.
    pub(crate) fn of<'s>(
        series: impl Iterator<Item = &'s Series> + Clone,
        context: &Context,
    ) -> Result<Option<Self>, EvalError> {
        let grid = if context.as_graphite_web() {
            Self::by_place(series, context)
        } else {
            Self::covering(series.clone().filter(|one| !one.constant)).or_else(|| Self::covering(series))
        };
        match grid {
            Some(grid) if grid.len > context.limits.max_points => {
                Err(EvalError::TooManyPoints { got: grid.len, limit: context.limits.max_points })
            }
            grid => Ok(grid),
        }
    }

    fn covering<'s>(mut series: impl Iterator<Item = &'s Series> + Clone) -> Option<Self> {
        let all = series.clone();
        let first = series.next()?;
        let mut step = first.step;
        let mut coarsest = first.step;
        let mut start = first.start;
        let mut end = first.end();
        let mut phase = Some(first.start.millis().rem_euclid(first.step.millis()));
        for one in series {
            step = least_common_multiple(step, one.step);
            coarsest = coarsest.max(one.step);
            start = start.min(one.start);
            end = end.max(one.end());
            let own_phase = one.start.millis().rem_euclid(one.step.millis());
            phase = phase.filter(|common| *common == own_phase && one.step == first.step);
        }
        if step.millis() / coarsest.millis() > MOST_COARSEST_STEPS {
            step = coarsest;
        }
        // Series that all stand aside of the step's multiples in the same way keep their place.
        if let (true, Some(aside)) = (all.clone().all(|one| one.step == step), phase) {
            let start = start.offset(-aside).align_down(step).offset(aside);
            let len = TimeRange::new(start.offset(-aside), end.offset(-aside)).slots(step);
            return Some(Self { start, step, len, paired_by_place: None });
        }
        // A bucket that the window cuts off would hold the finer series alone.
        let start = if start.align_up(step) < end { start.align_up(step) } else { start.align_down(step) };
        let len = TimeRange::new(start, end).slots(step);
        Some(Self { start, step, len, paired_by_place: None })
    }

    /// The grid of graphite-web: from the first start to the last end, whatever is there when.
    fn by_place<'s>(series: impl Iterator<Item = &'s Series> + Clone, context: &Context) -> Option<Self> {
        let start = series.clone().map(|one| one.start).min()?;
        let end = series.clone().map(Series::end).max()?;
        let step = series.clone().map(|one| one.step).reduce(least_common_multiple)?;
        let len = series.map(|one| one.len().div_ceil(values_per_point(one, step))).max()?;
        let over = end.millis().saturating_sub(start.millis()).rem_euclid(step.millis());
        let said = Said { end: end.offset(-over), x_files_factor: context.x_files_factor };
        Some(Self { start, step, len, paired_by_place: Some(said) })
    }

    /// The grid of a series.
    pub(crate) fn like(series: &Series, context: &Context) -> Self {
        let paired_by_place =
            context.as_graphite_web().then(|| Said { end: series.end(), x_files_factor: context.x_files_factor });
        Self { start: series.start, step: series.step, len: series.len(), paired_by_place }
    }

    /// A series on this grid.
    pub(crate) fn series(&self, name: String, values: Vec<f64>) -> Series {
        let mut series = Series::new(name, self.start, self.step, values);
        if let Some(said) = self.paired_by_place {
            series.said_end = Some(said.end);
            series.x_files_factor = Some(said.x_files_factor);
        }
        series
    }

    /// The values of a series on this grid.
    pub(crate) fn column<'s>(&self, series: &'s Series, context: &Context) -> Cow<'s, [f64]> {
        let is_in_place = series.start == self.start || self.paired_by_place.is_some();
        if is_in_place && series.step == self.step && series.len() == self.len {
            return Cow::Borrowed(series.values());
        }
        if self.paired_by_place.is_some() {
            let mut column = Bucketer::new(series, context).by_place(self.values_per_point(series));
            column.resize(self.len, f64::NAN);
            return Cow::Owned(column);
        }
        if series.constant {
            return Cow::Owned(vec![series.values().first().copied().unwrap_or(f64::NAN); self.len]);
        }
        let bucketer = Bucketer::new(series, context);
        let mut column = Vec::with_capacity(self.len);
        let mut time = self.start;
        for _ in 0..self.len {
            let next = time.offset(self.step.millis());
            column.push(bucketer.value(time, next));
            time = next;
        }
        Cow::Owned(column)
    }

    /// How many values of a series go into one of this grid's.
    pub(crate) fn values_per_point(&self, series: &Series) -> usize {
        values_per_point(series, self.step)
    }
}

/// How many values of a series go into one of a coarser step.
fn values_per_point(series: &Series, step: Step) -> usize {
    usize::try_from(step.millis() / series.step.millis()).unwrap_or(usize::MAX).max(1)
}

/// Makes one value of a series' values in a span of time.
pub(crate) struct Bucketer<'s> {
    series: &'s Series,
    how: Consolidation,
    x_files_factor: f64,
}

impl<'s> Bucketer<'s> {
    pub(crate) fn new(series: &'s Series, context: &Context) -> Self {
        // graphite-web knows no kinds: what the target does not say is averaged.
        let how = match series.consolidation {
            None if context.as_graphite_web() => Consolidation::Average,
            _ => series.effective_consolidation(),
        };
        Self { series, how, x_files_factor: series.x_files_factor.unwrap_or(context.x_files_factor) }
    }

    /// The indices of the values in `[from, until)`.
    pub(crate) fn indices(&self, from: Timestamp, until: Timestamp) -> std::ops::Range<usize> {
        let index = |instant: Timestamp| {
            let past = i128::from(instant.millis()) - i128::from(self.series.start.millis());
            let step = i128::from(self.series.step.millis());
            let index = past.div_euclid(step) + i128::from(past.rem_euclid(step) > 0);
            usize::try_from(index.max(0)).unwrap_or(usize::MAX).min(self.series.len())
        };
        let start = index(from);
        start..index(until).max(start)
    }

    /// One value of each so many, the last ones being fewer.
    pub(crate) fn by_place(&self, values_per_point: usize) -> Vec<f64> {
        if values_per_point == 1 {
            return self.series.values().to_vec();
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let slots = values_per_point as f64;
        self.series.values().chunks(values_per_point).map(|bucket| self.consolidated(bucket, slots)).collect()
    }

    /// The values in `[from, until)`, consolidated in the way that the target or the series' kind says.
    #[expect(clippy::cast_precision_loss, reason = "counts and steps are far below 2^52")]
    pub(crate) fn value(&self, from: Timestamp, until: Timestamp) -> f64 {
        let bucket = &self.series.values()[self.indices(from, until)];
        if let ([single], true) = (bucket, self.x_files_factor <= 0.0) {
            return *single;
        }
        let slots = until.millis().saturating_sub(from.millis()) as f64 / self.series.step.millis() as f64;
        self.consolidated(bucket, slots.max(1.0))
    }

    fn consolidated(&self, bucket: &[f64], slots: f64) -> f64 {
        if enough(bucket.iter().filter(|value| !value.is_nan()).count(), slots, self.x_files_factor) {
            self.how.apply(bucket)
        } else {
            f64::NAN
        }
    }
}

/// Whether so many values present, of so many slots, are enough; none never is.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn enough(present: usize, slots: f64, x_files_factor: f64) -> bool {
    present > 0 && present as f64 / slots >= x_files_factor
}

fn least_common_multiple(left: Step, right: Step) -> Step {
    if left == right {
        return left;
    }
    let (mut larger, mut smaller) = (left.millis(), right.millis());
    while smaller != 0 {
        (larger, smaller) = (smaller, larger % smaller);
    }
    let multiple = (left.millis() / larger).saturating_mul(right.millis());
    Step::from_millis(multiple).unwrap_or(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, context, series};
    use statline_series::Kind;

    fn columns(series: &[Series]) -> (Grid, Vec<Vec<f64>>) {
        let grid = Grid::of(series.iter(), &context()).unwrap().unwrap();
        (grid, series.iter().map(|one| grid.column(one, &context()).into_owned()).collect())
    }

    #[test]
    fn finer_series_are_consolidated_by_time_and_kind() {
        let coarse = series("a", 60, 60, &[1.0, 2.0]);
        let mut fine = series("b", 90, 30, &[10.0, 20.0, 30.0]);
        let (grid, both) = columns(&[coarse.clone(), fine.clone()]);
        assert_eq!((grid.start, grid.step.millis(), grid.len), (at(60), 60_000, 2));
        assert_eq!(both, [vec![1.0, 2.0], vec![10.0, 25.0]]);
        fine.kind = Kind::Count;
        assert_eq!(columns(&[coarse, fine]).1[1], [10.0, 50.0]);
    }

    #[test]
    fn steps_meet_at_their_least_common_multiple() {
        let (grid, both) = columns(&[series("a", 0, 20, &[1.0; 6]), series("b", 0, 30, &[2.0; 4])]);
        assert_eq!((grid.step.millis(), grid.len), (60_000, 2));
        assert_eq!(both, [vec![1.0, 1.0], vec![2.0, 2.0]]);
        // 7,919 and 7,907 are prime.
        let (grid, _) = columns(&[series("a", 0, 7919, &[1.0; 3]), series("b", 0, 7907, &[2.0; 3])]);
        assert_eq!(grid.step.millis(), 7_919_000);
    }

    #[test]
    fn later_starts_leave_gaps_and_common_phases_stay() {
        let (grid, both) = columns(&[series("a", 60, 60, &[1.0, 2.0, 3.0]), series("b", 120, 60, &[5.0])]);
        assert_eq!(grid.len, 3);
        assert_eq!(format!("{:?}", both[1]), "[NaN, 5.0, NaN]");
        let (grid, _) = columns(&[series("a", 65, 60, &[1.0, 2.0]), series("b", 125, 60, &[5.0])]);
        assert_eq!((grid.start, grid.len), (at(65), 2));
    }

    #[test]
    fn graphite_web_pairs_by_place() {
        let compat = Context { compat: crate::Compat::GraphiteWeb, ..context() };
        let series = [series("a", 120, 60, &[1.0, 2.0]), series("b", 90, 30, &[10.0, f64::NAN, 30.0, 40.0, 50.0])];
        let grid = Grid::of(series.iter(), &compat).unwrap().unwrap();
        assert_eq!((grid.start, grid.step.millis(), grid.len), (at(90), 60_000, 3));
        let columns: Vec<_> = series.iter().map(|one| grid.column(one, &compat).into_owned()).collect();
        assert_eq!(format!("{columns:?}"), "[[1.0, 2.0, NaN], [10.0, 35.0, 50.0]]");
    }

    #[test]
    fn a_constant_takes_the_grid_of_the_others() {
        let mut constant = series("5", 7, 1000, &[5.0; 3]);
        constant.constant = true;
        let (grid, both) = columns(&[constant, series("a", 60, 60, &[1.0, 2.0])]);
        assert_eq!(grid.step.millis(), 60_000);
        assert_eq!(both[0], [5.0, 5.0]);
    }
}
