//! The numbers of series that are gone, as runs: most of those that churn brought are next to each other.

use std::collections::BTreeMap;

use crate::SeriesId;

/// A set of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gone {
    /// The first and the last number of each run. None overlaps or touches another.
    runs: BTreeMap<SeriesId, SeriesId>,
}

impl Gone {
    pub(crate) fn insert(&mut self, id: SeriesId) {
        if self.contains(id) {
            return;
        }
        let before = id.checked_sub(1).and_then(|before| self.run_of(before));
        let after = id.checked_add(1).and_then(|after| self.runs.remove(&after));
        let first = before.map_or(id, |(first, _)| first);
        self.runs.insert(first, after.unwrap_or(id));
    }

    pub(crate) fn contains(&self, id: SeriesId) -> bool {
        self.run_of(id).is_some()
    }

    /// The runs, ascending: the first and the last number of each.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (SeriesId, SeriesId)> {
        self.runs.iter().map(|(first, last)| (*first, *last))
    }

    /// How many numbers there are.
    pub(crate) fn len(&self) -> u64 {
        self.runs().map(|(first, last)| u64::from(last - first) + 1).sum()
    }

    fn run_of(&self, id: SeriesId) -> Option<(SeriesId, SeriesId)> {
        let (first, last) = self.runs.range(..=id).next_back()?;
        (id <= *last).then_some((*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn numbers_in_any_order_become_as_few_runs_as_there_are(ids in prop::collection::vec(prop_oneof![0_u32..40, Just(u32::MAX), Just(u32::MAX - 1)], 0..60)) {
            let mut gone = Gone::default();
            ids.iter().for_each(|id| gone.insert(*id));
            let model: BTreeSet<u32> = ids.into_iter().collect();
            prop_assert_eq!(gone.len(), model.len() as u64);
            prop_assert_eq!(gone.runs().flat_map(|(first, last)| first..=last).collect::<BTreeSet<_>>(), model.clone());
            prop_assert!((0..50).all(|id| gone.contains(id) == model.contains(&id)));
            let ends: Vec<_> = gone.runs().collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }
    }
}
