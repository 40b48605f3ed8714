//! A counter: what was counted in the open interval.

use crate::number::saturating_add;

/// The sum of an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counter {
    /// The sum, each value weighed by its sample rate.
    pub sum: f64,
    /// Whether anything was counted since the interval began; a sum may be 0 with samples in it.
    pub touched: bool,
}

impl Counter {
    /// Counts.
    pub const fn add(&mut self, count: f64) {
        self.sum = saturating_add(self.sum, count);
        self.touched = true;
    }

    /// Takes what was counted, leaving nothing.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}
