//! A set: how many different members were sent in the open interval.
//!
//! Members are kept up to a limit, and counted exactly; a larger set is estimated by HyperLogLog++, within about 2 %.

use std::collections::HashSet;

use cardinality_estimator::CardinalityEstimator;
use foldhash::fast::RandomState;

/// Members, as the bytes that were sent, or an estimate of their number.
#[derive(Clone, Debug, Default)]
pub struct Set {
    members: HashSet<Box<[u8]>, RandomState>,
    many: Option<Box<Estimator>>,
}

/// 2^12 registers. Its hashes are those of an unseeded function, so that estimates of two threads, or of before and after
/// a restart, can be merged.
pub(crate) type Estimator = CardinalityEstimator<[u8]>;

impl Set {
    /// How many distinct members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.many.as_ref().map_or(self.members.len(), |many| many.estimate())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.many.is_none()
    }

    /// The members, as long as they are kept.
    pub fn members(&self) -> impl Iterator<Item = &[u8]> {
        self.members.iter().map(|member| &**member)
    }

    /// The bytes of the members that are kept.
    pub(crate) fn bytes(&self) -> usize {
        self.members.iter().map(|member| member.len()).sum()
    }

    /// The estimate, when it took the members' place.
    pub(crate) fn estimator(&self) -> Option<&Estimator> {
        self.many.as_deref()
    }

    /// A set of which only an estimate is known.
    pub(crate) fn estimated(many: Estimator) -> Self {
        Self { members: HashSet::default(), many: Some(Box::new(many)) }
    }

    /// Adds a member. Beyond `most` members, or when this one has more than `bytes_left`, all are estimated. Answers how
    /// many more bytes are kept.
    pub fn add(&mut self, member: &[u8], most: usize, bytes_left: usize) -> usize {
        if let Some(many) = &mut self.many {
            many.insert(member);
            return 0;
        }
        if self.members.contains(member) {
            return 0;
        }
        if self.members.len() >= most || member.len() > bytes_left {
            self.estimate().insert(member);
            return 0;
        }
        self.members.insert(member.into());
        member.len()
    }

    /// Puts an estimate in the members' place.
    pub(crate) fn estimate(&mut self) -> &mut Estimator {
        let many = self.many.get_or_insert_with(|| Box::new(Estimator::new()));
        for member in std::mem::take(&mut self.members) {
            many.insert(&member);
        }
        many
    }

    /// Takes the members, leaving none.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Adds the members of another thread in the same interval. More than `most` are estimated.
    pub fn merge(&mut self, mut other: Self, most: usize) {
        if self.is_empty() {
            *self = other;
            return;
        }
        if self.many.is_some() || other.many.is_some() {
            self.estimate().merge(other.estimate());
            return;
        }
        if self.members.len() < other.members.len() {
            std::mem::swap(&mut self.members, &mut other.members);
        }
        self.members.extend(other.members);
        if self.members.len() > most {
            self.estimate();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(members: std::ops::Range<u32>, most: usize) -> Set {
        let mut set = Set::default();
        for member in members {
            set.add(format!("member {member}").as_bytes(), most, usize::MAX);
        }
        set
    }

    #[test]
    fn a_small_set_is_counted_and_a_large_one_estimated() {
        assert_eq!(set(0..100, 100).len(), 100);
        assert_eq!(set(0..100, 100).members().count(), 100);
        let large = set(0..50_000, 100);
        assert_eq!(large.members().count(), 0);
        let error = large.len() as f64 / 50_000.0 - 1.0;
        assert!(error.abs() < 0.05, "{error}");
    }

    #[test]
    fn a_set_beyond_its_bytes_is_estimated() {
        let mut set = Set::default();
        assert_eq!(set.add(b"abc", 10, 5), 3);
        assert_eq!(set.add(b"abc", 10, 2), 0);
        assert_eq!(set.add(b"def", 10, 2), 0);
        assert_eq!((set.len(), set.members().count()), (2, 0));
    }

    #[test]
    fn sets_of_two_threads_become_one() {
        for most in [1000, 150, 50] {
            for (left, right) in [(0..100, 50..150), (0..100, 0..0), (0..0, 0..100), (0..10, 0..120)] {
                let expected = f64::from(left.end.max(right.end));
                let mut merged = set(left, most);
                merged.merge(set(right, most), most);
                assert!((merged.len() as f64 / expected - 1.0).abs() < 0.05, "{} of {expected}", merged.len());
                assert_eq!(merged.members().count() == 0, expected > most as f64, "{} {most}", merged.len());
            }
        }
    }
}
