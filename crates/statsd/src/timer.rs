//! A timer: the samples of the open interval, and what is said about them at its end.
//!
//! The formulas are etsy's. Samples ascending, `n` of them; for each threshold `p`, `k` is `|p|/100·n` rounded half up,
//! and the threshold is left out when that is 0. Above 0 the `k` smallest are meant, below 0 the `k` largest. Only `count`
//! and `count_ps` are weighted by sample rates, unless everything is to be: then a sample that stands for `w` events counts
//! as `w` samples everywhere, and `n` is the sum of the weights.
//!
//! Samples are kept as they are up to a limit. A timer with more is kept as a [`Sketch`], whose percentiles are within 1 %.

use statline_series::Sketch;

use crate::number::saturating_add;

/// The samples of an interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timer {
    /// The values, while there are few.
    pub samples: Vec<f64>,
    /// How many events each of them stands for; empty while that is 1 for all.
    pub weights: Vec<f64>,
    /// How many events they stand for together.
    pub weight: f64,
    /// Whether the last sample was a duration in milliseconds.
    pub is_duration: bool,
    /// What took the place of the samples when there were too many.
    pub many: Option<Box<Many>>,
}

/// Samples that are too many to be kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Many {
    /// How they are distributed, by weight.
    pub sketch: Sketch,
    /// How many there were.
    pub count: f64,
    /// The sum of the samples, none weighted.
    pub sum: f64,
    /// The sum of their squares.
    pub sum_squares: f64,
}

impl Many {
    fn add(&mut self, value: f64, weight: f64) {
        self.sketch.add(value, weight);
        self.count += 1.0;
        self.sum = saturating_add(self.sum, value);
        self.sum_squares = saturating_add(self.sum_squares, value * value);
    }

    fn merge(&mut self, other: &Self) {
        self.sketch.merge(&other.sketch);
        self.count += other.count;
        self.sum = saturating_add(self.sum, other.sum);
        self.sum_squares = saturating_add(self.sum_squares, other.sum_squares);
    }
}

impl Timer {
    /// Whether there are no samples.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.many.is_none()
    }

    /// Takes a sample. With `has_room` it is kept as it is; without, all are summed up in a sketch.
    pub fn add(&mut self, value: f64, weight: f64, has_room: bool) {
        self.weight = saturating_add(self.weight, weight);
        if !has_room || self.many.is_some() {
            self.sum_up().add(value, weight);
            return;
        }
        // Exactly 1: a rate of 1, or none, was sent.
        #[expect(clippy::float_cmp, reason = "only a weight that is 1 to the last bit may be left out")]
        if weight != 1.0 && self.weights.is_empty() {
            self.weights.resize(self.samples.len(), 1.0);
            self.weights.push(weight);
        } else if !self.weights.is_empty() {
            self.weights.push(weight);
        }
        self.samples.push(value);
    }

    /// The weight of the sample at an index.
    fn weight_at(&self, index: usize) -> f64 {
        self.weights.get(index).copied().unwrap_or(1.0)
    }

    /// The samples with their weights, in the order in which they came.
    pub fn observations(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.samples.iter().enumerate().map(|(index, value)| (*value, self.weight_at(index)))
    }

    /// How the samples are distributed, by weight.
    #[must_use]
    pub fn sketch(&self) -> Sketch {
        let mut sketch = self.many.as_ref().map_or_else(Sketch::new, |many| many.sketch.clone());
        self.observations().for_each(|(value, weight)| sketch.add(value, weight));
        sketch
    }

    fn sum_up(&mut self) -> &mut Many {
        let Self { samples, weights, many, .. } = self;
        let many = many.get_or_insert_default();
        for (index, value) in samples.drain(..).enumerate() {
            many.add(value, weights.get(index).copied().unwrap_or(1.0));
        }
        weights.clear();
        samples.shrink_to(0);
        many
    }

    /// Takes another timer's samples, leaving it empty. More than `most` are summed up.
    pub fn merge(&mut self, other: &mut Self, most: usize) {
        if other.is_empty() {
            return;
        }
        self.is_duration = other.is_duration;
        if self.is_empty() {
            std::mem::swap(self, other);
            other.clear();
            if self.samples.len() > most {
                self.sum_up();
            }
            return;
        }
        let weight = saturating_add(self.weight, other.weight);
        let is_many = self.many.is_some() || other.many.is_some() || self.samples.len() + other.samples.len() > most;
        if is_many {
            let (mine, theirs) = (self.sum_up(), other.sum_up());
            mine.merge(theirs);
        } else {
            if !(self.weights.is_empty() && other.weights.is_empty()) {
                self.weights.resize(self.samples.len(), 1.0);
                other.weights.resize(other.samples.len(), 1.0);
                self.weights.append(&mut other.weights);
            }
            self.samples.append(&mut other.samples);
        }
        self.weight = weight;
        other.clear();
    }

    /// Forgets the samples, and most of the memory that an unusual interval took.
    pub fn clear(&mut self) {
        for samples in [&mut self.samples, &mut self.weights] {
            let used = samples.len();
            samples.clear();
            if samples.capacity() > 64 && samples.capacity() / 4 > used {
                samples.shrink_to(used * 2);
            }
        }
        self.weight = 0.0;
        self.many = None;
    }

    /// What is said of the samples, by etsy's formulas; `None` when there are none. They are put in order by it.
    pub fn describe<'a>(&'a mut self, weighted: bool, scratch: &'a mut Scratch) -> Option<Described<'a>> {
        if let Some(many) = &self.many {
            let scale = if weighted { 1.0 } else { many.count / many.sketch.count() };
            return Some(Described::Many { many, scale, weighted });
        }
        if self.samples.is_empty() {
            return None;
        }
        if weighted && !self.weights.is_empty() {
            scratch.pairs.clear();
            scratch.pairs.extend(self.samples.iter().copied().zip(self.weights.iter().copied()));
            scratch.pairs.sort_unstable_by(|left, right| left.0.total_cmp(&right.0));
            return Some(Described::Weighted(Weighted { pairs: &scratch.pairs }));
        }
        // Their order is lost to the weights, which are then of no use any more.
        self.weights.clear();
        self.samples.sort_unstable_by(f64::total_cmp);
        scratch.sums.clear();
        scratch.squares.clear();
        let (mut sum, mut square) = (0.0, 0.0);
        for sample in &self.samples {
            sum += sample;
            square += sample * sample;
            scratch.sums.push(sum);
            scratch.squares.push(square);
        }
        Some(Described::Exact(Sorted { samples: &self.samples, sums: &scratch.sums, squares: &scratch.squares }))
    }
}

/// What is worked with while timers are described, kept between them so that a flush allocates once.
#[derive(Debug, Default)]
pub struct Scratch {
    sums: Vec<f64>,
    squares: Vec<f64>,
    pairs: Vec<(f64, f64)>,
}

/// What is said of one threshold. Every value is NaN when the threshold covers no sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// How many samples it covers.
    pub count: f64,
    /// Their mean.
    pub mean: f64,
    /// The largest of them for a threshold above 0, the smallest for one below.
    pub boundary: f64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub sum_squares: f64,
}

impl Threshold {
    const NONE: Self =
        Self { count: f64::NAN, mean: f64::NAN, boundary: f64::NAN, sum: f64::NAN, sum_squares: f64::NAN };
}

/// What is said of all the samples of a timer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The standard deviation of the population.
    pub std: f64,
    /// The largest.
    pub upper: f64,
    /// The smallest.
    pub lower: f64,
    /// The sum.
    pub sum: f64,
    /// The sum of the squares.
    pub sum_squares: f64,
    /// The mean.
    pub mean: f64,
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
}

/// Samples, ready to be described.
#[derive(Debug)]
pub enum Described<'a> {
    /// All of them, each counting as one.
    Exact(Sorted<'a>),
    /// All of them, each counting as its weight.
    Weighted(Weighted<'a>),
    /// Too many to have been kept.
    Many {
        /// What is known of them.
        many: &'a Many,
        /// Samples a unit of the sketch's weight.
        scale: f64,
        /// Whether sums are weighted, too.
        weighted: bool,
    },
}

impl Described<'_> {
    /// What is said of a threshold in percent, -100 to 100.
    #[must_use]
    pub fn threshold(&self, percent: f64) -> Threshold {
        match self {
            Self::Exact(sorted) => sorted.threshold(percent),
            Self::Weighted(weighted) => weighted.threshold(percent),
            Self::Many { many, scale, .. } => {
                let share = percent.abs() / 100.0;
                let share = if percent > 0.0 { many.sketch.lowest(share) } else { many.sketch.highest(share) };
                let count = (share.count * scale).round();
                if count == 0.0 {
                    return Threshold::NONE;
                }
                let (sum, sum_squares) = (share.sum * scale, share.sum_squares * scale);
                Threshold { count, mean: share.sum / share.count, boundary: share.boundary, sum, sum_squares }
            }
        }
    }

    /// What is said of all samples.
    #[must_use]
    pub fn summary(&self) -> Summary {
        match self {
            Self::Exact(sorted) => sorted.summary(),
            Self::Weighted(weighted) => weighted.summary(),
            Self::Many { many, weighted, .. } => {
                let sketch = &many.sketch;
                let all = sketch.lowest(1.0);
                let (count, sum, sum_squares) = if *weighted {
                    (sketch.count(), sketch.sum(), all.sum_squares)
                } else {
                    (many.count, many.sum, many.sum_squares)
                };
                let mean = sum / count;
                Summary {
                    std: (sum_squares / count - mean * mean).max(0.0).sqrt(),
                    upper: sketch.max(),
                    lower: sketch.min(),
                    sum,
                    sum_squares,
                    mean,
                    median: sketch.quantile(0.5).unwrap_or(f64::NAN),
                }
            }
        }
    }

    /// How many samples lie in each bin of a histogram; the bins' upper ends ascend, and are outside of their bins.
    #[must_use]
    pub fn histogram(&self, bins: &[f64]) -> Vec<f64> {
        let mut counts = vec![0.0; bins.len()];
        let mut add = |value: f64, count: f64| {
            let bin = bins.partition_point(|end| *end <= value);
            // The end of everything, infinity, is no value's.
            if let Some(bin) = counts.get_mut(bin) {
                *bin += count;
            }
        };
        match self {
            Self::Exact(sorted) => sorted.samples.iter().for_each(|value| add(*value, 1.0)),
            Self::Weighted(weighted) => weighted.pairs.iter().for_each(|(value, weight)| add(*value, *weight)),
            Self::Many { many, scale, .. } => {
                many.sketch.bins().for_each(|bin| add(f64::midpoint(bin.lower, bin.upper), bin.weight * scale));
                counts.iter_mut().for_each(|count| *count = count.round());
            }
        }
        counts
    }
}

/// Samples in order, with their running sums.
#[derive(Debug)]
pub struct Sorted<'a> {
    samples: &'a [f64],
    sums: &'a [f64],
    squares: &'a [f64],
}

impl Sorted<'_> {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are far below 2^52, and a rounded share of one is neither negative nor larger than it"
    )]
    fn threshold(&self, percent: f64) -> Threshold {
        let all = self.samples.len();
        let share = percent.abs() / 100.0 * all as f64;
        // A single sample is its own threshold, whatever the percentage.
        let covered = if all == 1 { 1 } else { ((share + 0.5).floor() as usize).min(all) };
        if covered == 0 {
            return Threshold::NONE;
        }
        let (boundary, sum, sum_squares) = if percent > 0.0 {
            (self.samples[covered - 1], self.sums[covered - 1], self.squares[covered - 1])
        } else {
            let left_out = all - covered;
            let before = |sums: &[f64]| if left_out == 0 { 0.0 } else { sums[left_out - 1] };
            (
                self.samples[left_out],
                self.sums[all - 1] - before(self.sums),
                self.squares[all - 1] - before(self.squares),
            )
        };
        Threshold { count: covered as f64, mean: sum / covered as f64, boundary, sum, sum_squares }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn summary(&self) -> Summary {
        let last = self.samples.len() - 1;
        let count = self.samples.len() as f64;
        let mean = self.sums[last] / count;
        let deviations: f64 = self.samples.iter().map(|sample| (sample - mean) * (sample - mean)).sum();
        let middle = self.samples.len() / 2;
        let median = if self.samples.len().is_multiple_of(2) {
            f64::midpoint(self.samples[middle - 1], self.samples[middle])
        } else {
            self.samples[middle]
        };
        Summary {
            std: (deviations / count).sqrt(),
            upper: self.samples[last],
            lower: self.samples[0],
            sum: self.sums[last],
            sum_squares: self.squares[last],
            mean,
            median,
        }
    }
}

/// Samples in order with their weights.
#[derive(Debug)]
pub struct Weighted<'a> {
    pairs: &'a [(f64, f64)],
}

impl Weighted<'_> {
    fn total(&self) -> f64 {
        self.pairs.iter().map(|(_, weight)| weight).sum()
    }

    fn threshold(&self, percent: f64) -> Threshold {
        let all = self.total();
        let share = percent.abs() / 100.0 * all;
        let covered = if self.pairs.len() == 1 { all } else { (share + 0.5).floor().min(all) };
        if covered == 0.0 {
            return Threshold::NONE;
        }
        let (mut left, mut sum, mut sum_squares, mut boundary) = (covered, 0.0, 0.0, f64::NAN);
        let mut take = |(value, weight): (f64, f64)| {
            let taken = weight.min(left);
            if taken > 0.0 {
                sum += value * taken;
                sum_squares += value * value * taken;
                boundary = value;
                left -= taken;
            }
        };
        if percent > 0.0 {
            self.pairs.iter().copied().for_each(&mut take);
        } else {
            self.pairs.iter().rev().copied().for_each(&mut take);
        }
        Threshold { count: covered, mean: sum / covered, boundary, sum, sum_squares }
    }

    fn summary(&self) -> Summary {
        let count = self.total();
        let sum: f64 = self.pairs.iter().map(|(value, weight)| value * weight).sum();
        let sum_squares = self.pairs.iter().map(|(value, weight)| value * value * weight).sum();
        let mean = sum / count;
        let deviations: f64 = self.pairs.iter().map(|(value, weight)| (value - mean) * (value - mean) * weight).sum();
        Summary {
            std: (deviations / count).sqrt(),
            upper: self.pairs[self.pairs.len() - 1].0,
            lower: self.pairs[0].0,
            sum,
            sum_squares,
            mean,
            median: self.median(count),
        }
    }

    /// The middle event's value, or the mean of the two in the middle.
    fn median(&self, count: f64) -> f64 {
        let half = count / 2.0;
        let mut passed = 0.0;
        for (index, (value, weight)) in self.pairs.iter().enumerate() {
            passed += weight;
            if passed > half {
                return *value;
            }
            if passed == half {
                let next = self.pairs.get(index + 1).map_or(*value, |pair| pair.0);
                return f64::midpoint(*value, next);
            }
        }
        self.pairs[self.pairs.len() - 1].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn timer(samples: &[(f64, f64)]) -> Timer {
        let mut timer = Timer::default();
        for (value, weight) in samples {
            timer.add(*value, *weight, true);
        }
        timer
    }

    fn plain(samples: &[f64]) -> Timer {
        timer(&samples.iter().map(|value| (*value, 1.0)).collect::<Vec<_>>())
    }

    #[test]
    fn thresholds_are_etsys() {
        let tens: Vec<f64> = (1..=10).map(|number| f64::from(number) * 10.0).collect();
        for (samples, percent, count, boundary, sum, sum_squares) in [
            (&tens[..], 90.0, 9.0, 90.0, 450.0, 28_500.0),
            (&tens, 99.9, 10.0, 100.0, 550.0, 38_500.0),
            (&tens, 25.0, 3.0, 30.0, 60.0, 1_400.0),
            (&tens, -10.0, 1.0, 100.0, 100.0, 10_000.0),
            (&tens, -25.0, 3.0, 80.0, 270.0, 24_500.0),
            (&tens, -100.0, 10.0, 10.0, 550.0, 38_500.0),
            (&[7.0], 1.0, 1.0, 7.0, 7.0, 49.0),
            (&[7.0], -1.0, 1.0, 7.0, 7.0, 49.0),
        ] {
            let mut samples = samples.to_vec();
            samples.reverse();
            let mut scratch = Scratch::default();
            let threshold = plain(&samples).describe(false, &mut scratch).unwrap().threshold(percent);
            assert_eq!(threshold, Threshold { count, mean: sum / count, boundary, sum, sum_squares }, "{percent}");
        }
        let mut scratch = Scratch::default();
        let nothing = plain(&tens).describe(false, &mut scratch).unwrap().threshold(4.0);
        assert!(nothing.count.is_nan() && nothing.boundary.is_nan());
    }

    #[test]
    fn a_summary_is_etsys() {
        let mut scratch = Scratch::default();
        let summary = plain(&[40.0, 10.0, 30.0, 20.0]).describe(false, &mut scratch).unwrap().summary();
        assert_eq!(
            summary,
            Summary {
                std: 125.0_f64.sqrt(),
                upper: 40.0,
                lower: 10.0,
                sum: 100.0,
                sum_squares: 3000.0,
                mean: 25.0,
                median: 25.0
            }
        );
        assert_eq!(plain(&[3.0, 1.0, 2.0]).describe(false, &mut scratch).unwrap().summary().median, 2.0);
        assert!(Timer::default().describe(false, &mut scratch).is_none());
    }

    #[test]
    fn a_histogram_counts_what_is_below_the_end_of_a_bin() {
        let mut scratch = Scratch::default();
        let mut timer = plain(&[1.0, 10.0, 9.9, 100.0, 5000.0]);
        let described = timer.describe(false, &mut scratch).unwrap();
        assert_eq!(described.histogram(&[10.0, 100.0, f64::INFINITY]), [2.0, 1.0, 2.0]);
        assert_eq!(described.histogram(&[10.0]), [2.0]);
    }

    #[test]
    fn beyond_its_room_a_timer_is_a_sketch() {
        let mut timer = Timer::default();
        for value in 1..=1000 {
            timer.add(f64::from(value), 2.0, value <= 10);
            assert_eq!(timer.samples.is_empty(), value > 10);
        }
        assert!(timer.samples.is_empty());
        assert_eq!(timer.weight, 2000.0);
        let mut scratch = Scratch::default();
        let described = timer.describe(false, &mut scratch).unwrap();
        let summary = described.summary();
        assert_eq!((summary.sum, summary.mean, summary.upper, summary.lower), (500_500.0, 500.5, 1000.0, 1.0));
        assert!((summary.median / 500.0 - 1.0).abs() < 0.02, "{summary:?}");
        assert!((summary.std / 288.675 - 1.0).abs() < 1e-3, "{summary:?}");
        let threshold = described.threshold(90.0);
        assert!((threshold.boundary / 900.0 - 1.0).abs() < 0.02 && threshold.count == 900.0, "{threshold:?}");
        assert!((threshold.sum / 405_450.0 - 1.0).abs() < 0.02, "{threshold:?}");
        let top = described.threshold(-10.0);
        assert!((top.boundary / 900.0 - 1.0).abs() < 0.02 && top.count == 100.0, "{top:?}");
    }

    #[test]
    fn timers_of_two_threads_become_one() {
        for (left, right, most) in [(3, 4, 10), (3, 4, 5), (0, 4, 10), (4, 0, 10)] {
            let of = |count: usize, from: usize| {
                timer(&(from..from + count).map(|value| (value as f64, 1.0 + (value % 2) as f64)).collect::<Vec<_>>())
            };
            let (mut merged, mut other) = (of(left, 1), of(right, 10));
            let (weight, count) = (merged.weight + other.weight, (left + right) as f64);
            merged.merge(&mut other, most);
            assert!(other.is_empty() && other.weight == 0.0);
            assert_eq!(merged.weight, weight);
            assert_eq!(merged.sketch().count(), weight, "the sketch is weighted");
            assert_eq!(merged.many.is_some(), left + right > most);
            assert_eq!(merged.many.as_ref().map_or(merged.samples.len() as f64, |many| many.count), count);
        }
    }

    proptest! {
        #[test]
        fn a_weight_is_as_many_samples(samples in proptest::collection::vec((-50..50_i32, 1..4_u32), 2..20), percent in prop_oneof![-100..=-1_i32, 1..=100_i32]) {
            let weighted: Vec<(f64, f64)> = samples.iter().map(|(value, weight)| (f64::from(*value), f64::from(*weight))).collect();
            let repeated: Vec<f64> = samples.iter().flat_map(|(value, weight)| std::iter::repeat_n(f64::from(*value), *weight as usize)).collect();
            let (mut scratch, mut other) = (Scratch::default(), Scratch::default());
            let (mut left, mut right) = (timer(&weighted), plain(&repeated));
            let (left, right) = (left.describe(true, &mut scratch).unwrap(), right.describe(true, &mut other).unwrap());
            let (one, all) = (left.threshold(f64::from(percent)), right.threshold(f64::from(percent)));
            prop_assert!((one.count.is_nan() && all.count.is_nan()) || one.count == all.count && one.boundary == all.boundary && (one.sum - all.sum).abs() < 1e-9);
            let (one, all) = (left.summary(), right.summary());
            prop_assert!((one.std - all.std).abs() < 1e-9 && (one.mean - all.mean).abs() < 1e-9, "{:?} {:?}", one, all);
            prop_assert_eq!((one.upper, one.lower, one.sum, one.median), (all.upper, all.lower, all.sum, all.median));
        }
    }
}
