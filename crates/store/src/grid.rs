//! The values of a series on the grid of an answer.
//!
//! A slot of the finest step holds the last point in it. What is wider is made of all the finest slots in it: they add up in a
//! [`Rollup`] a slot, whether they come as points or were rolled up before, and a consolidation makes a value of that. Only
//! the consolidations that have to see every value are given them all.

use statline_series::{Consolidation, Step, TimeRange, Timestamp, Values};

use crate::points::Points;
use crate::rollup::{Rollup, Rollups, align_down, for_each_slot};
use crate::rollup_chunk::Inside;
use crate::schema::Rule;

/// The grid of an answer of one series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots<'a> {
    /// That of the first slot.
    start: Timestamp,
    step: Step,
    len: usize,
    /// Finest slots a slot.
    width: i64,
    rule: &'a Rule,
    consolidation: Consolidation,
}

impl<'a> Slots<'a> {
    /// The slots of a step that begin in a range.
    pub(crate) fn new(range: TimeRange, step: Step, rule: &'a Rule, consolidation: Consolidation) -> Self {
        let width = step.millis() / rule.policy.finest().millis();
        Self { start: range.from.align_up(step), step, len: range.slots(step), width, rule, consolidation }
    }

    /// Whether rollups tell enough, so that not every value has to be kept.
    pub(crate) fn add_up(&self) -> bool {
        Rollup::of(0, 0.0).value(self.consolidation, self.width).is_some()
    }

    const fn needs_extremes(&self) -> bool {
        matches!(self.consolidation, Consolidation::Min | Consolidation::Max | Consolidation::Range)
    }

    /// How many values are enough for a slot to have one.
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 slots")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of the slots, rounded up")]
    fn enough(&self) -> u64 {
        if self.width <= 1 { 1 } else { ((self.rule.x_files_factor * self.width as f64).ceil() as u64).max(1) }
    }

    fn finish(&self, values: Vec<f64>) -> Values {
        Values::Regular { start: self.start, step: self.step, values }
    }

    /// The values of what has added up in buckets, and of points besides.
    pub(crate) fn of_buckets(&self, buckets: &mut Buckets, points: &Points) -> Values {
        if self.width <= 1 && buckets.added == 0 {
            let mut values = vec![f64::NAN; self.len];
            let mut places = Places::new(self);
            for (time, value) in points.timestamps.iter().zip(&points.values) {
                if let Some(slot) = values.get_mut(places.of(*time)) {
                    *slot = *value;
                }
            }
            return self.finish(values);
        }
        buckets.add_points(self, points);
        let (enough, width) = (self.enough(), self.width.max(1));
        let value_or_none = |count: u64, value: f64| if count >= enough { value } else { f64::NAN };
        #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 slots")]
        let values = match self.consolidation {
            // The common ones, without a rollup for each slot. A signed count is made a value of in one step.
            Consolidation::Average => {
                buckets.sums().map(|(count, sum)| value_or_none(count, sum / count.cast_signed() as f64)).collect()
            }
            Consolidation::Sum => buckets.sums().map(|(count, sum)| value_or_none(count, sum)).collect(),
            other => {
                let value_of = |bucket: &Rollup| bucket.value(other, width).unwrap_or(f64::NAN);
                buckets.rollups().map(|bucket| value_or_none(bucket.count, value_of(&bucket))).collect()
            }
        };
        self.finish(values)
    }

    /// The values where a consolidation has to see them all; those that are rolled up have their mean to stand for them.
    pub(crate) fn of_all(&self, points: &Points, rollups: &Rollups, of_slots: &mut Vec<(i64, f64)>) -> Values {
        if self.width <= 1 && rollups.is_empty() {
            return self.of_buckets(&mut Buckets::default(), points);
        }
        of_slots.clear();
        of_slots.extend(rollups.iter().map(|(start, rollup)| (start, rollup.mean())));
        for_each_slot(points, self.rule.policy.finest(), |slot, _, value| of_slots.push((slot, value)));
        of_slots.sort_by_key(|(slot, _)| *slot);
        let mut values = vec![f64::NAN; self.len];
        let mut bucket = Vec::new();
        let place_of = |time: i64| Places::new(self).of(time);
        for of_bucket in of_slots.chunk_by(|left, right| place_of(left.0) == place_of(right.0)) {
            bucket.clear();
            bucket.extend(of_bucket.iter().map(|(_, value)| *value));
            let is_enough = bucket.len() as u64 >= self.enough();
            if let Some(value) = values.get_mut(place_of(of_bucket[0].0)).filter(|_| is_enough) {
                *value = self.consolidation.apply(&bucket);
            }
        }
        self.finish(values)
    }
}

/// Finds the places of instants. Those that come in order cost no division.
struct Places {
    start: i64,
    step: i64,
    /// The slot found last, and its place.
    from: i64,
    until: i64,
    place: usize,
}

impl Places {
    fn new(slots: &Slots<'_>) -> Self {
        let (start, step) = (slots.start.millis(), slots.step.millis());
        Self { start, step, from: start, until: start.saturating_add(step), place: 0 }
    }

    /// The place of the slot that an instant is in; one that is before all slots has a place after all of them.
    #[inline]
    fn of(&mut self, time: i64) -> usize {
        if time >= self.until && time - self.until < self.step {
            (self.from, self.until) = (self.until, self.until.saturating_add(self.step));
            self.place = self.place.saturating_add(1);
        } else if time < self.from || time >= self.until {
            let distance = time.saturating_sub(self.start).div_euclid(self.step);
            let Ok(place) = usize::try_from(distance) else { return usize::MAX };
            self.place = place;
            self.from = self.start.saturating_add(distance.saturating_mul(self.step));
            self.until = self.from.saturating_add(self.step);
        }
        self.place
    }
}

/// What adds up in each slot, to be filled anew for each series.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    /// 0 where nothing was added.
    counts: Vec<u64>,
    sums: Vec<f64>,
    /// Only where the consolidation asks for them.
    extremes: Vec<(f64, f64)>,
    /// The last values and when they were, only where the consolidation asks for them.
    lasts: Vec<(i64, f64)>,
    /// How much was added, points left out.
    added: usize,
}

impl Buckets {
    /// Empties them.
    pub(crate) fn clear(&mut self) {
        self.counts.clear();
        self.sums.clear();
        self.extremes.clear();
        self.lasts.clear();
        self.added = 0;
    }

    /// Makes one for each slot, if that is not done.
    fn make(&mut self, slots: &Slots<'_>) {
        self.counts.resize(slots.len, 0);
        // What is added to it stays as it is, be it the other zero.
        self.sums.resize(slots.len, -0.0);
        if slots.needs_extremes() {
            self.extremes.resize(slots.len, (f64::NAN, f64::NAN));
        }
        if slots.consolidation == Consolidation::Last {
            self.lasts.resize(slots.len, (i64::MIN, f64::NAN));
        }
    }

    /// Adds rollups, each as a whole to the slot that its start is in.
    pub(crate) fn add(&mut self, slots: &Slots<'_>, rollups: &Inside<'_>) {
        self.make(slots);
        self.added += rollups.len();
        let mut places = Places::new(slots);
        if !self.extremes.is_empty() || !self.lasts.is_empty() {
            rollups.iter().for_each(|(start, rollup)| self.put(places.of(start), &rollup));
        } else if let Some(first) = rollups.first_on(slots.start, slots.step) {
            let (counts, sums) = rollups.counts_and_sums();
            let known = self.counts.iter_mut().zip(&mut self.sums).skip(first);
            for ((known_count, known_sum), (count, sum)) in known.zip(counts.iter().zip(sums)) {
                *known_count += count;
                *known_sum += sum;
            }
        } else {
            rollups.each_sum(|start, count, sum| self.put_sum(places.of(start), count, sum));
        }
    }

    /// Adds the last point of each finest slot.
    fn add_points(&mut self, slots: &Slots<'_>, points: &Points) {
        self.make(slots);
        let finest = slots.rule.policy.finest();
        let mut places = Places::new(slots);
        for (place, (time, value)) in points.timestamps.iter().zip(&points.values).enumerate() {
            let is_last = points.timestamps.get(place + 1).is_none_or(|next| {
                next.abs_diff(*time) >= finest.millis().unsigned_abs()
                    || align_down(*next, finest) != align_down(*time, finest)
            });
            if is_last {
                self.put(places.of(*time), &Rollup::of(*time, *value));
            }
        }
    }

    fn put_sum(&mut self, place: usize, count: u64, sum: f64) {
        if let (Some(known_count), Some(known_sum)) = (self.counts.get_mut(place), self.sums.get_mut(place)) {
            *known_count += count;
            *known_sum += sum;
        }
    }

    fn put(&mut self, place: usize, rollup: &Rollup) {
        let Some(count) = self.counts.get_mut(place) else { return };
        *count += rollup.count;
        self.sums[place] += rollup.sum;
        if let Some((min, max)) = self.extremes.get_mut(place) {
            (*min, *max) = (min.min(rollup.min), max.max(rollup.max));
        }
        if let Some((at, last)) = self.lasts.get_mut(place).filter(|(at, _)| rollup.last_at >= *at) {
            (*at, *last) = (rollup.last_at, rollup.last);
        }
    }

    /// The count and the sum of each slot.
    fn sums(&self) -> impl Iterator<Item = (u64, f64)> {
        self.counts.iter().copied().zip(self.sums.iter().copied())
    }

    /// What has added up in each slot. What the consolidation does not ask for is anything.
    fn rollups(&self) -> impl Iterator<Item = Rollup> {
        self.counts.iter().zip(&self.sums).enumerate().map(|(place, (count, sum))| {
            let (min, max) = self.extremes.get(place).copied().unwrap_or_default();
            let (last_at, last) = self.lasts.get(place).copied().unwrap_or_default();
            Rollup { count: *count, sum: *sum, min, max, last, last_at }
        })
    }
}

/// The points as they came, and of slots of which no more is known their last points.
pub(crate) fn irregular(points: &Points, rollups: &Rollups, span: TimeRange) -> Values {
    let mut all = points;
    let mut together = Points::default();
    if !rollups.is_empty() {
        let lasts = rollups.rollups.iter().filter(|rollup| span.contains(Timestamp::from_millis(rollup.last_at)));
        lasts.for_each(|rollup| together.push(rollup.last_at, rollup.last));
        let overlaid = together.overlay(|together| {
            together.timestamps.extend_from_slice(&points.timestamps);
            together.values.extend_from_slice(&points.values);
            Ok::<_, std::convert::Infallible>(())
        });
        let Ok(()) = overlaid;
        all = &together;
    }
    Values::Irregular {
        timestamps: all.timestamps.iter().copied().map(Timestamp::from_millis).collect(),
        values: all.values.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::span_of;
    use crate::rollup_chunk::{self, Columns, RollupColumns};
    use crate::schema::Policy;

    fn ms(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// The answer out of points, and the one out of their rollups to a step if there is one.
    fn values(
        all: &[(i64, f64)],
        range: (i64, i64),
        step: i64,
        consolidation: Consolidation,
        rolled_up_to: Option<i64>,
        x_files_factor: f64,
    ) -> (i64, Vec<f64>) {
        let steps = |millis: i64| Step::from_millis(millis).unwrap();
        let policy: Policy = "10ms:1d".parse().unwrap();
        let rule = Rule { policy, method: None, x_files_factor };
        let range = TimeRange::new(ms(range.0), ms(range.1));
        let span = span_of(range, Some(steps(step)));
        let (mut points, mut rollups, mut buckets) = (Points::default(), Rollups::default(), Buckets::default());
        let inside = all.iter().filter(|(time, _)| span.contains(ms(*time)));
        inside.for_each(|(time, value)| points.push(*time, *value));
        if let Some(to) = rolled_up_to {
            rollups = Rollups::of_points(&points, steps(10), steps(to));
            points.clear();
        }
        let slots = Slots::new(range, steps(step), &rule, consolidation);
        let values = if slots.add_up() {
            if !rollups.is_empty() {
                let bytes = rollup_chunk::encode(1, &rollups).unwrap();
                let columns = RollupColumns::read(1, &bytes, Columns::ALL).unwrap();
                buckets.add(&slots, &columns.inside((i64::MIN, i64::MAX)));
            }
            slots.of_buckets(&mut buckets, &points)
        } else {
            slots.of_all(&points, &rollups, &mut Vec::new())
        };
        match values {
            Values::Regular { start, values, .. } => {
                (start.millis(), values.into_iter().map(|value| if value.is_nan() { -1.0 } else { value }).collect())
            }
            Values::Irregular { .. } => unreachable!(),
        }
    }

    #[test]
    fn a_slot_holds_its_last_point_and_a_bucket_all_its_slots() {
        let points = [(0, 1.0), (12, 2.0), (19, 3.0), (30, 4.0), (45, 5.0), (59, 6.0)];
        for (range, step, consolidation, expected) in [
            ((0, 60), 10, Consolidation::Sum, (0, vec![1.0, 3.0, -1.0, 4.0, 5.0, 6.0])),
            ((1, 41), 10, Consolidation::Sum, (10, vec![3.0, -1.0, 4.0, 5.0])),
            ((0, 60), 20, Consolidation::Sum, (0, vec![4.0, 4.0, 11.0])),
            ((0, 41), 20, Consolidation::AvgZero, (0, vec![2.0, 2.0, 5.5])),
            ((0, 60), 30, Consolidation::AvgZero, (0, vec![4.0 / 3.0, 5.0])),
            ((0, 60), 30, Consolidation::Average, (0, vec![2.0, 5.0])),
            ((-20, 20), 20, Consolidation::Count, (-20, vec![-1.0, 2.0])),
            ((100, 120), 10, Consolidation::Last, (100, vec![-1.0, -1.0])),
        ] {
            for rolled_up_to in [None, Some(10), Some(step)] {
                let answer = values(&points, range, step, consolidation, rolled_up_to, 0.0);
                assert_eq!(answer, expected, "{range:?} {step} {consolidation} {rolled_up_to:?}");
            }
        }
    }

    #[test]
    fn a_bucket_needs_as_many_values_as_its_rule_says() {
        let points = [(0, 1.0), (10, 2.0), (20, 3.0), (40, 5.0)];
        for (factor, expected) in [(0.0, [6.0, 5.0]), (0.3, [6.0, 5.0]), (0.5, [6.0, -1.0]), (1.0, [6.0, -1.0])] {
            for rolled_up_to in [None, Some(30)] {
                let answer = values(&points, (0, 60), 30, Consolidation::Sum, rolled_up_to, factor);
                assert_eq!(answer.1, expected, "{factor} {rolled_up_to:?}");
            }
        }
        assert_eq!(values(&points, (0, 60), 30, Consolidation::Median, None, 0.5).1, [2.0, -1.0]);
    }

    #[test]
    fn an_empty_range_is_no_trouble() {
        assert_eq!(values(&[(0, 1.0)], (5, 5), 10, Consolidation::Last, None, 0.0), (10, vec![]));
    }
}
