//! A histogram: how much weight was observed at or below each of some bounds, since the beginning.

use std::sync::Arc;

use super::rules::HistogramOptions;
use crate::number::saturating_add;

#[derive(Clone, Debug)]
pub(super) struct Histogram {
    pub sum: f64,
    pub bounds: Arc<[f64]>,
    /// Of each bucket alone; the last one is that above all bounds.
    pub weights: Vec<f64>,
}

impl Histogram {
    pub fn new(options: &HistogramOptions) -> Self {
        let bounds = Arc::clone(&options.buckets);
        Self { sum: 0.0, weights: vec![0.0; bounds.len() + 1], bounds }
    }

    pub fn observe(&mut self, observations: impl Iterator<Item = (f64, f64)>) {
        for (value, weight) in observations {
            let bucket = self.bounds.partition_point(|bound| *bound < value);
            if let Some(in_bucket) = self.weights.get_mut(bucket) {
                *in_bucket = saturating_add(*in_bucket, weight);
            }
            self.sum = saturating_add(self.sum, value * weight);
        }
    }

    /// The bounds with the weight at or below each. The last one is infinite, and its weight that of all.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let mut below = 0.0;
        bounds.zip(&self.weights).map(move |(bound, weight)| {
            below += weight;
            (bound, below)
        })
    }

    pub fn count(&self) -> f64 {
        self.weights.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::new(&HistogramOptions { buckets: [0.1, 1.0].into() });
        histogram.observe([(0.1, 1.0), (0.2, 2.0), (-5.0, 1.0), (7.0, 0.5)].into_iter());
        let cumulative: Vec<_> = histogram.cumulative().collect();
        assert_eq!(cumulative, [(0.1, 2.0), (1.0, 4.0), (f64::INFINITY, 4.5)]);
        assert_eq!(histogram.count(), 4.5);
        assert!((histogram.sum - (0.1 + 0.4 - 5.0 + 3.5)).abs() < 1e-12);
    }
}
