//! Points of one series in time order, gathered from the places that hold some of them.

/// Instants in milliseconds, ascending, none twice, and their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Points {
    pub(crate) timestamps: Vec<i64>,
    pub(crate) values: Vec<f64>,
}

impl Points {
    pub(crate) fn len(&self) -> usize {
        self.timestamps.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
    }

    pub(crate) fn push(&mut self, timestamp: i64, value: f64) {
        self.timestamps.push(timestamp);
        self.values.push(value);
    }

    /// Adds what `source` pushes, which is in time order and newer than what is here: where both have a point of the
    /// same instant, the pushed one stays.
    pub(crate) fn overlay<E>(&mut self, source: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E> {
        let boundary = self.len();
        let outcome = source(self);
        self.merge_from(boundary);
        outcome
    }

    /// Sorts the run that begins at `boundary` into the run before it.
    fn merge_from(&mut self, boundary: usize) {
        let Some(first_new) = self.timestamps.get(boundary).copied() else { return };
        debug_assert!(self.timestamps[boundary..].is_sorted_by(|left, right| left < right));
        if boundary == 0 || self.timestamps[boundary - 1] < first_new {
            return;
        }
        let untouched = self.timestamps[..boundary].partition_point(|old| *old < first_new);
        let new_timestamps = self.timestamps.split_off(boundary);
        let new_values = self.values.split_off(boundary);
        let old_timestamps = self.timestamps.split_off(untouched);
        let old_values = self.values.split_off(untouched);
        let mut old = old_timestamps.into_iter().zip(old_values).peekable();
        for (timestamp, value) in new_timestamps.into_iter().zip(new_values) {
            while let Some((older, kept)) = old.next_if(|(older, _)| *older <= timestamp) {
                if older < timestamp {
                    self.push(older, kept);
                }
            }
            self.push(timestamp, value);
        }
        for (older, kept) in old {
            self.push(older, kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    proptest! {
        #[test]
        fn the_newest_write_of_an_instant_stays(runs in prop::collection::vec(prop::collection::btree_map(0_i64..40, -9.0..9.0, 0..12), 0..6)) {
            let mut points = Points::default();
            let mut model = BTreeMap::new();
            for run in runs {
                points.overlay(|points| {
                    run.iter().for_each(|(timestamp, value)| points.push(*timestamp, *value));
                    Ok::<_, Infallible>(())
                }).unwrap();
                model.extend(run);
            }
            prop_assert_eq!(points.timestamps, model.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(points.values, model.values().copied().collect::<Vec<_>>());
        }
    }
}
