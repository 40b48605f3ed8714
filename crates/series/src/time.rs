//! Timestamps, steps and ranges, all in milliseconds since the Unix epoch.
//!
//! Arithmetic saturates: a range from a hostile client may reach `i64::MAX`, and must never wrap or panic.

use std::fmt;
use std::num::NonZeroI64;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest instant that can be expressed.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest instant that can be expressed.
    pub const MAX: Self = Self(i64::MAX);

    /// From milliseconds since the epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From seconds since the epoch; saturates.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The last multiple of `step` at or before this instant.
    #[must_use]
    pub const fn align_down(self, step: Step) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(step.millis())))
    }

    /// The first multiple of `step` at or after this instant.
    #[must_use]
    pub const fn align_up(self, step: Step) -> Self {
        let past = self.0.rem_euclid(step.millis());
        if past == 0 { self } else { Self(self.0.saturating_add(step.millis() - past)) }
    }

    /// This instant moved by `millis`, which may be negative; saturates.
    #[must_use]
    pub const fn offset(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.seconds(), self.0.rem_euclid(1000))
    }
}

/// The spacing of a series' points: a positive number of milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Step(NonZeroI64);

impl Step {
    /// One second.
    pub const SECOND: Self = match Self::from_millis(1000) {
        Some(step) => step,
        None => unreachable!(),
    };

    /// The longest step.
    pub const MAX: Self = match Self::from_millis(i64::MAX) {
        Some(step) => step,
        None => unreachable!(),
    };

    /// From milliseconds; `None` unless positive.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Option<Self> {
        match NonZeroI64::new(millis) {
            Some(step) if millis > 0 => Some(Self(step)),
            _ => None,
        }
    }

    /// From seconds; `None` unless positive.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Option<Self> {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// From a duration; `None` when it is shorter than a millisecond.
    #[must_use]
    pub fn from_duration(duration: Duration) -> Option<Self> {
        Self::from_millis(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
    }

    /// Milliseconds, at least 1.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0.get()
    }

    /// Seconds, with a fraction when the step is not a whole number of them.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a step of 285,000 years loses nothing that matters")]
    pub const fn seconds(self) -> f64 {
        self.millis() as f64 / 1000.0
    }

    /// The smallest multiple of this step that is at least `other`.
    #[must_use]
    pub const fn round_up(self, other: Self) -> Self {
        let times = other.millis().saturating_sub(1).div_euclid(self.millis()).saturating_add(1);
        match Self::from_millis(self.millis().saturating_mul(times)) {
            Some(step) => step,
            None => self,
        }
    }
}

impl TryFrom<i64> for Step {
    type Error = &'static str;

    fn try_from(millis: i64) -> Result<Self, Self::Error> {
        Self::from_millis(millis).ok_or("a step is a positive number of milliseconds")
    }
}

impl From<Step> for i64 {
    fn from(step: Step) -> Self {
        step.millis()
    }
}

/// A span of time, `from` included and `until` excluded. Empty when `until` is not after `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TimeRange {
    /// The first instant in the range.
    pub from: Timestamp,
    /// The first instant after the range.
    pub until: Timestamp,
}

impl TimeRange {
    /// Everything that can be expressed.
    pub const ALL: Self = Self { from: Timestamp::MIN, until: Timestamp::MAX };

    /// The span `[from, until)`.
    #[must_use]
    pub const fn new(from: Timestamp, until: Timestamp) -> Self {
        Self { from, until }
    }

    /// Whether no instant is in the range.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.until <= self.from
    }

    /// Whether `instant` is in the range.
    #[must_use]
    pub fn contains(self, instant: Timestamp) -> bool {
        self.from <= instant && instant < self.until
    }

    /// Whether some instant is in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.from < other.until && other.from < self.until
    }

    /// Length in milliseconds, 0 when empty; saturates.
    #[must_use]
    pub const fn millis(self) -> i64 {
        let length = self.until.millis().saturating_sub(self.from.millis());
        if length > 0 { length } else { 0 }
    }

    /// How many multiples of `step` are in the range: the points of a regular series.
    #[must_use]
    pub const fn slots(self, step: Step) -> usize {
        let first = self.from.align_up(step).millis();
        let length = self.until.millis().saturating_sub(first);
        if length <= 0 {
            return 0;
        }
        #[expect(clippy::cast_sign_loss, reason = "the length is positive")]
        let slots = ((length - 1) / step.millis() + 1) as usize;
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn alignment_holds_on_both_sides_of_the_epoch() {
        let step = Step::from_millis(10).unwrap();
        for (instant, down, up) in [(0, 0, 0), (1, 0, 10), (10, 10, 10), (19, 10, 20), (-1, -10, 0), (-10, -10, -10)] {
            assert_eq!(ms(instant).align_down(step), ms(down), "down of {instant}");
            assert_eq!(ms(instant).align_up(step), ms(up), "up of {instant}");
        }
    }

    #[test]
    fn slots_are_the_multiples_of_the_step_inside() {
        let step = Step::from_millis(10).unwrap();
        for (from, until, slots) in [(0, 0, 0), (0, 1, 1), (0, 10, 1), (0, 11, 2), (1, 10, 0), (1, 11, 1), (9, 5, 0)] {
            assert_eq!(TimeRange::new(ms(from), ms(until)).slots(step), slots, "[{from}, {until})");
        }
    }

    #[test]
    fn the_ends_of_time_do_not_wrap() {
        let step = Step::SECOND;
        assert_eq!(Timestamp::MAX.offset(1), Timestamp::MAX);
        assert!(Timestamp::MIN.align_down(step) <= Timestamp::MIN.align_up(step));
        assert!(TimeRange::ALL.slots(step) > 0);
        assert_eq!(Step::from_millis(0), None);
        assert_eq!(Step::from_millis(-5), None);
    }

    #[test]
    fn a_step_rounds_up_to_a_multiple() {
        let ten = Step::from_millis(10).unwrap();
        for (asked, given) in [(1, 10), (10, 10), (11, 20), (25, 30)] {
            assert_eq!(ten.round_up(Step::from_millis(asked).unwrap()).millis(), given);
        }
    }
}
