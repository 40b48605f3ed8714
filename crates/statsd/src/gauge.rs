//! A gauge: what was done to a level in the open interval.
//!
//! A thread does not know the level that an earlier interval or another thread left, so a delta is kept as one until a
//! flush puts it upon that level. When threads are merged, the newest set wins. The deltas of the thread that made it
//! follow it; those of another thread count when its newest delta is newer than the set. Deltas and sets of one gauge from
//! clients on different sockets have no order that a network would keep, so no more is remembered.

use serde::{Deserialize, Serialize};
use statline_series::Timestamp;

use crate::number::saturating_add;

/// When a packet arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// A number that grows, of any origin shared by the threads (nanoseconds since the start, say).
    pub order: u64,
    /// By the wall clock.
    pub timestamp: Timestamp,
}

impl Arrival {
    /// A packet that is the `order`th to arrive, at the epoch.
    #[must_use]
    pub const fn at(order: u64) -> Self {
        Self { order, timestamp: Timestamp::from_seconds(0) }
    }
}

/// Sets and deltas since the interval began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gauge {
    /// The order of its arrival, and the level.
    set: Option<(u64, f64)>,
    delta: f64,
    newest_delta: Option<u64>,
}

impl Gauge {
    /// Sets the level, whatever came before.
    pub const fn set(&mut self, value: f64, arrival: Arrival) {
        *self = Self { set: Some((arrival.order, value)), delta: 0.0, newest_delta: None };
    }

    /// Moves the level.
    pub const fn add(&mut self, delta: f64, arrival: Arrival) {
        self.delta = saturating_add(self.delta, delta);
        self.newest_delta = Some(arrival.order);
    }

    /// Whether nothing happened.
    #[must_use]
    pub const fn is_untouched(&self) -> bool {
        self.set.is_none() && self.newest_delta.is_none()
    }

    /// Takes what happened, leaving nothing.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Adds what happened on another thread in the same interval.
    pub fn merge(&mut self, other: Self) {
        let (newest, older) = if other.set_at() > self.set_at() { (other, *self) } else { (*self, other) };
        let counts = older.newest_delta.is_some() && older.newest_delta > newest.set_at();
        *self = Self {
            set: newest.set,
            delta: if counts { saturating_add(newest.delta, older.delta) } else { newest.delta },
            newest_delta: if counts { newest.newest_delta.max(older.newest_delta) } else { newest.newest_delta },
        };
    }

    /// The same, as if it had arrived before anything that is yet to come.
    #[must_use]
    pub const fn before_all(self) -> Self {
        let set = match self.set {
            Some((_, value)) => Some((0, value)),
            None => None,
        };
        let newest_delta = if self.newest_delta.is_some() { Some(0) } else { None };
        Self { set, delta: self.delta, newest_delta }
    }

    fn set_at(&self) -> Option<u64> {
        self.set.map(|(arrival, _)| arrival)
    }

    /// What it was set to, if it was, and by how much it was moved since.
    #[must_use]
    pub fn parts(&self) -> (Option<f64>, f64) {
        (self.set.map(|(_, value)| value), self.delta)
    }

    /// The level, upon the one that the interval began with.
    #[must_use]
    pub fn level(&self, before: f64) -> f64 {
        saturating_add(self.set.map_or(before, |(_, value)| value), self.delta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(steps: &[(u64, &str)]) -> Gauge {
        let mut gauge = Gauge::default();
        for (arrival, step) in steps {
            let value = step.parse().unwrap();
            if step.starts_with(['+', '-']) {
                gauge.add(value, Arrival::at(*arrival));
            } else {
                gauge.set(value, Arrival::at(*arrival));
            }
        }
        gauge
    }

    #[test]
    fn a_level_follows_sets_and_deltas() {
        for (steps, before, after) in [
            (&[][..], 3.0, 3.0),
            (&[(1, "+2")], 3.0, 5.0),
            (&[(1, "-5")], 0.0, -5.0),
            (&[(1, "7"), (2, "+1")], 3.0, 8.0),
            (&[(1, "+1"), (2, "7")], 3.0, 7.0),
        ] {
            assert_eq!(gauge(steps).level(before), after, "{steps:?}");
        }
        assert!(gauge(&[]).is_untouched());
        assert!(!gauge(&[(0, "+0")]).is_untouched());
    }

    #[test]
    fn the_newest_set_of_two_threads_wins_whichever_is_merged_first() {
        for (left, right, level) in [
            (&[(1, "5")][..], &[(2, "7")][..], 7.0),
            (&[(3, "5")], &[(2, "7")], 5.0),
            (&[(1, "5"), (3, "+1")], &[(2, "7"), (4, "+2")], 10.0),
            (&[(1, "5"), (2, "+1")], &[(3, "7")], 7.0),
            (&[(1, "+1")], &[(2, "+2")], 103.0),
            (&[(0, "5")], &[], 5.0),
            (&[(0, "+5")], &[], 105.0),
        ] {
            for (first, second) in [(left, right), (right, left)] {
                let mut merged = gauge(first);
                merged.merge(gauge(second));
                assert_eq!(merged.level(100.0), level, "{first:?} then {second:?}");
            }
        }
    }
}
