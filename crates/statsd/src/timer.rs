//! A timer: the samples of the open interval, and what is said about them at its end.
//!
//! The formulas are etsy's. Samples ascending, `n` of them; for each threshold `p`, `k` is `|p|/100·n` rounded half up,
//! and the threshold is left out when that is 0. Above 0 the `k` smallest are meant, below 0 the `k` largest. Only `count`
//! and `count_ps` are weighted by sample rates.

/// The samples of an interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timer {
    /// The values.
    pub samples: Vec<f64>,
    /// How many events they stand for.
    pub weight: f64,
}

impl Timer {
    /// Takes a sample.
    pub fn add(&mut self, value: f64, weight: f64) {
        self.samples.push(value);
        self.weight = crate::number::saturating_add(self.weight, weight);
    }

    /// Takes another timer's samples, leaving it empty.
    pub fn merge(&mut self, other: &mut Self) {
        if self.samples.is_empty() {
            std::mem::swap(&mut self.samples, &mut other.samples);
        } else {
            self.samples.append(&mut other.samples);
        }
        self.weight = crate::number::saturating_add(self.weight, std::mem::take(&mut other.weight));
    }

    /// Forgets the samples, and most of the memory that an unusual interval took.
    pub fn clear(&mut self) {
        let used = self.samples.len();
        self.samples.clear();
        if self.samples.capacity() > 64 && self.samples.capacity() / 4 > used {
            self.samples.shrink_to(used * 2);
        }
        self.weight = 0.0;
    }
}

/// Running sums over sorted samples, kept between timers so that a flush allocates once.
#[derive(Debug, Default)]
pub struct Scratch {
    sums: Vec<f64>,
    squares: Vec<f64>,
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

/// Samples in order, ready to be described.
#[derive(Debug)]
pub struct Sorted<'a> {
    samples: &'a [f64],
    sums: &'a [f64],
    squares: &'a [f64],
}

impl<'a> Sorted<'a> {
    /// Sorts the samples and sums them up; `None` when there are none.
    pub fn new(samples: &'a mut [f64], scratch: &'a mut Scratch) -> Option<Self> {
        if samples.is_empty() {
            return None;
        }
        samples.sort_unstable_by(f64::total_cmp);
        scratch.sums.clear();
        scratch.squares.clear();
        let (mut sum, mut square) = (0.0, 0.0);
        for sample in samples.iter() {
            sum += sample;
            square += sample * sample;
            scratch.sums.push(sum);
            scratch.squares.push(square);
        }
        Some(Self { samples, sums: &scratch.sums, squares: &scratch.squares })
    }

    /// What is said of a threshold in percent, -100 to 100.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are far below 2^52, and a rounded share of one is neither negative nor larger than it"
    )]
    pub fn threshold(&self, percent: f64) -> Threshold {
        let all = self.samples.len();
        let share = percent.abs() / 100.0 * all as f64;
        // A single sample is its own threshold, whatever the percentage.
        let covered = if all == 1 { 1 } else { ((share + 0.5).floor() as usize).min(all) };
        if covered == 0 {
            let none = f64::NAN;
            return Threshold { count: none, mean: none, boundary: none, sum: none, sum_squares: none };
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

    /// What is said of all samples.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn summary(&self) -> Summary {
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

#[cfg(test)]
mod tests {
    use super::*;

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
            let threshold = Sorted::new(&mut samples, &mut scratch).unwrap().threshold(percent);
            assert_eq!(threshold, Threshold { count, mean: sum / count, boundary, sum, sum_squares }, "{percent}");
        }
        let mut scratch = Scratch::default();
        let mut samples = tens;
        let nothing = Sorted::new(&mut samples, &mut scratch).unwrap().threshold(4.0);
        assert!(nothing.count.is_nan() && nothing.boundary.is_nan());
    }

    #[test]
    fn a_summary_is_etsys() {
        let mut scratch = Scratch::default();
        let mut samples = vec![40.0, 10.0, 30.0, 20.0];
        let summary = Sorted::new(&mut samples, &mut scratch).unwrap().summary();
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
        let mut odd = vec![3.0, 1.0, 2.0];
        assert_eq!(Sorted::new(&mut odd, &mut scratch).unwrap().summary().median, 2.0);
        assert!(Sorted::new(&mut [], &mut scratch).is_none());
    }
}
