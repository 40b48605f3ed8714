//! A summary: totals since the beginning, and quantiles over a window that slides.
//!
//! The window is made of `age_buckets` parts of equal length, cut at multiples of that length. The quantiles are of the open
//! part and the whole ones before it, so the window's age is between `max_age` less one part and `max_age`, as it is in
//! Prometheus' client.

use std::collections::VecDeque;

use statline_series::{Sketch, Timestamp};

use super::rules::SummaryOptions;
use crate::number::saturating_add;

#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    pub count: f64,
    pub sum: f64,
    pub quantiles: Vec<f64>,
    part_ms: i64,
    parts_kept: i64,
    /// By the number of the part, ascending; parts without observations are left out.
    parts: VecDeque<(i64, Sketch)>,
}

impl Summary {
    pub fn new(options: &SummaryOptions) -> Self {
        let parts_kept = i64::from(options.age_buckets.max(1));
        let max_age_ms = i64::try_from(options.max_age.as_millis()).unwrap_or(i64::MAX);
        Self {
            quantiles: options.quantiles.iter().map(|quantile| quantile.quantile).collect(),
            part_ms: (max_age_ms / parts_kept).max(1),
            parts_kept,
            ..Self::default()
        }
    }

    /// Whether it was made with these options.
    pub fn is_of(&self, options: &SummaryOptions) -> bool {
        let other = Self::new(options);
        (self.part_ms, self.parts_kept, &self.quantiles) == (other.part_ms, other.parts_kept, &other.quantiles)
    }

    fn part_at(&self, now: Timestamp) -> i64 {
        now.millis().div_euclid(self.part_ms)
    }

    pub fn observe(&mut self, observations: impl Iterator<Item = (f64, f64)>, now: Timestamp) {
        let current = self.part_at(now);
        self.parts.retain(|(part, _)| current.saturating_sub(*part) < self.parts_kept);
        // A clock that went back adds to the newest part there is.
        if self.parts.back().is_none_or(|(newest, _)| *newest < current) {
            self.parts.push_back((current, Sketch::new()));
        }
        let Some((_, sketch)) = self.parts.back_mut() else { return };
        for (value, weight) in observations {
            sketch.add(value, weight);
            self.count = saturating_add(self.count, weight);
            self.sum = saturating_add(self.sum, value * weight);
        }
    }

    /// The quantiles with their values. NaN where the window is empty.
    pub fn quantile_values(&self, now: Timestamp) -> Vec<(f64, f64)> {
        let current = self.part_at(now);
        let mut window = Sketch::new();
        for (part, sketch) in &self.parts {
            if current.saturating_sub(*part) < self.parts_kept {
                window.merge(sketch);
            }
        }
        let value_of = |quantile: &f64| (*quantile, window.quantile(*quantile).unwrap_or(f64::NAN));
        self.quantiles.iter().map(value_of).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::config::Quantile;
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn summary() -> Summary {
        Summary::new(&SummaryOptions {
            quantiles: vec![Quantile { quantile: 0.5, error: 0.05 }],
            max_age: Duration::from_secs(60),
            age_buckets: 3,
            buf_cap: 500,
        })
    }

    fn median(summary: &Summary, now: Timestamp) -> f64 {
        summary.quantile_values(now)[0].1
    }

    #[test]
    fn the_window_slides_by_parts_and_the_totals_stay() {
        let mut summary = summary();
        summary.observe([(1.0, 1.0), (2.0, 1.0), (3.0, 1.0)].into_iter(), at(600));
        summary.observe([(10.0, 9.0)].into_iter(), at(630));
        assert!((median(&summary, at(659)) - 10.0).abs() < 0.11);
        // The part that began at 600 is 60 seconds old.
        assert!((median(&summary, at(660)) - 10.0).abs() < 0.11);
        assert!(median(&summary, at(681)).is_nan(), "an empty window has no quantile");
        assert_eq!((summary.count, summary.sum), (12.0, 96.0));
    }

    #[test]
    fn a_clock_that_goes_back_loses_nothing() {
        let mut summary = summary();
        summary.observe([(1.0, 1.0)].into_iter(), at(600));
        summary.observe([(1.0, 1.0)].into_iter(), at(300));
        assert_eq!(summary.count, 2.0);
        assert!((median(&summary, at(600)) - 1.0).abs() < 0.011);
    }
}
