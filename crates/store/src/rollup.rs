//! What is kept of the points of a slot when a finer tier becomes a coarser one.
//!
//! A rollup is of *slots*: in each slot of a series' finest step the last point counts, as it does in an answer of that
//! step. Two rollups of different points of one slot add up to the rollup of all of them, so that a slot may be kept in
//! parts, and points that come late join those that were there.

use statline_series::{Consolidation, Step};

use crate::points::Points;

/// The sum, count, extremes and last of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rollup {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    pub(crate) last: f64,
    /// When the last one was.
    pub(crate) last_at: i64,
}

impl Rollup {
    pub(crate) const fn of(at: i64, value: f64) -> Self {
        Self { count: 1, sum: value, min: value, max: value, last: value, last_at: at }
    }

    /// Adds another one, which was written no earlier.
    pub(crate) fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if other.last_at >= self.last_at {
            (self.last, self.last_at) = (other.last, other.last_at);
        }
    }

    /// Its value, of which it knows enough for most consolidations. `slots` is how many values there could be.
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 slots")]
    pub(crate) fn value(&self, consolidation: Consolidation, slots: i64) -> Option<f64> {
        Some(match consolidation {
            Consolidation::Average => self.mean(),
            Consolidation::AvgZero => self.sum / slots as f64,
            Consolidation::Count => self.count as f64,
            Consolidation::Last => self.last,
            Consolidation::Max => self.max,
            Consolidation::Min => self.min,
            Consolidation::Range => self.max - self.min,
            Consolidation::Sum => self.sum,
            Consolidation::Diff
            | Consolidation::First
            | Consolidation::Median
            | Consolidation::Multiply
            | Consolidation::Stddev => return None,
        })
    }

    /// What stands for its values where they would all be needed.
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 slots")]
    pub(crate) fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }
}

/// The rollups of one series, by the start of their slots in milliseconds: ascending, none twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rollups {
    pub(crate) starts: Vec<i64>,
    pub(crate) rollups: Vec<Rollup>,
}

impl Rollups {
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.starts.clear();
        self.rollups.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &Rollup)> {
        self.starts.iter().copied().zip(&self.rollups)
    }

    /// Adds a rollup whose slot does not begin before those that are here.
    pub(crate) fn push(&mut self, start: i64, rollup: &Rollup) {
        match (self.starts.last(), self.rollups.last_mut()) {
            (Some(last), Some(known)) if *last == start => known.add(rollup),
            _ => {
                self.starts.push(start);
                self.rollups.push(*rollup);
            }
        }
    }

    /// Adds up what `source` pushes with what is here. What it pushes is in order and was written later.
    pub(crate) fn join<E>(&mut self, source: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E> {
        let mut new = Self::default();
        source(&mut new)?;
        if self.starts.last().is_none_or(|last| new.starts.first().is_none_or(|first| last < first)) {
            self.starts.append(&mut new.starts);
            self.rollups.append(&mut new.rollups);
            return Ok(());
        }
        let old = std::mem::take(self);
        let mut old = old.iter().peekable();
        for (start, rollup) in new.iter() {
            while let Some((older, known)) = old.next_if(|(older, _)| *older <= start) {
                self.push(older, known);
            }
            self.push(start, rollup);
        }
        old.for_each(|(start, rollup)| self.push(start, rollup));
        Ok(())
    }

    /// Those of points, of which the last in each slot of `finest` counts.
    pub(crate) fn of_points(points: &Points, finest: Step, step: Step) -> Self {
        let mut rollups = Self::default();
        for_each_slot(points, finest, |slot, at, value| {
            rollups.push(align_down(slot, step), &Rollup::of(at, value));
        });
        rollups
    }

    /// The same in wider slots.
    pub(crate) fn widened(&self, step: Step) -> Self {
        let mut rollups = Self::default();
        self.iter().for_each(|(start, rollup)| rollups.push(align_down(start, step), rollup));
        rollups
    }
}

/// Tells the last point of each slot: the start of the slot, its instant, its value.
pub(crate) fn for_each_slot(points: &Points, step: Step, mut tell: impl FnMut(i64, i64, f64)) {
    let mut held: Option<(i64, i64, f64)> = None;
    for (at, value) in points.timestamps.iter().copied().zip(points.values.iter().copied()) {
        let slot = align_down(at, step);
        if let Some((other, last_at, last)) = held.filter(|(other, ..)| *other != slot) {
            tell(other, last_at, last);
        }
        held = Some((slot, at, value));
    }
    if let Some((slot, at, value)) = held {
        tell(slot, at, value);
    }
}

pub(crate) const fn align_down(millis: i64, step: Step) -> i64 {
    millis.saturating_sub(millis.rem_euclid(step.millis()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    fn step(millis: i64) -> Step {
        Step::from_millis(millis).unwrap()
    }

    #[test]
    fn the_last_point_of_a_slot_counts() {
        let mut points = Points::default();
        for (at, value) in [(-5, 1.0), (0, 2.0), (9, 3.0), (10, 4.0), (35, 5.0)] {
            points.push(at, value);
        }
        let rollups = Rollups::of_points(&points, step(10), step(20));
        assert_eq!(rollups.starts, [-20, 0, 20]);
        let expected = Rollup { count: 2, sum: 7.0, min: 3.0, max: 4.0, last: 4.0, last_at: 10 };
        assert_eq!(rollups.rollups[1], expected);
        assert_eq!((rollups.rollups[2].last, rollups.rollups[2].last_at), (5.0, 35));
    }

    proptest! {
        #[test]
        fn parts_add_up_to_the_whole(
            runs in prop::collection::vec(prop::collection::btree_map(0_i64..60, 0..9_i32, 0..12), 1..5),
        ) {
            // Each slot of the finest step is in one run only.
            let mut all = BTreeMap::new();
            let mut parts = Rollups::default();
            for run in &runs {
                let mut points = Points::default();
                for (slot, value) in run {
                    if let std::collections::btree_map::Entry::Vacant(entry) = all.entry(slot * 10) {
                        entry.insert(f64::from(*value));
                        points.push(slot * 10, f64::from(*value));
                    }
                }
                parts.join(|into| {
                    Rollups::of_points(&points, step(10), step(30)).iter().for_each(|(start, rollup)| into.push(start, rollup));
                    Ok::<_, Infallible>(())
                }).unwrap();
            }
            let mut points = Points::default();
            all.iter().for_each(|(at, value)| points.push(*at, *value));
            prop_assert_eq!(&parts, &Rollups::of_points(&points, step(10), step(30)));
            prop_assert_eq!(parts.widened(step(120)), Rollups::of_points(&points, step(10), step(120)));
        }
    }
}
