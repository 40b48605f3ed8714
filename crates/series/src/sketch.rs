//! How many values are distributed, within 1 %: a DDSketch (Masson, Rim, Lee, arXiv:1908.10693).
//!
//! A value falls into the bin whose number is the logarithm of its size to a base that makes a bin 2 % wide; every bin has
//! a weight. Two sketches are merged by adding their bins up, so a percentile over hours or over servers is one of the
//! whole distribution. What is kept are the bins that are not empty.

mod codec;

pub use codec::SketchError;

/// The relative error of a quantile.
pub const RELATIVE_ACCURACY: f64 = 0.01;

/// The most bins that hold something for values above 0, and as many below. Beyond it, those nearest to 0 become one.
pub const MOST_BINS: usize = 2048;

/// Values by how often they came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sketch {
    positive: Bins,
    negative: Bins,
    zero: f64,
    /// Of all weights.
    count: f64,
    sum: f64,
    min: f64,
    max: f64,
}

/// A range of values and how much of the weight lies in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// Where it begins.
    pub lower: f64,
    /// Where it ends.
    pub upper: f64,
    /// The weight of the values in it.
    pub weight: f64,
}

/// What is said of the smallest or largest values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// Their weight.
    pub count: f64,
    /// The sum of the values, each by its weight.
    pub sum: f64,
    /// The sum of the squares of the values, each by its weight.
    pub sum_squares: f64,
    /// The one of them that is nearest to the others.
    pub boundary: f64,
}

/// The natural logarithm of the base by which bins are numbered, (1 + accuracy) / (1 - accuracy). A constant, so that every
/// machine numbers bins alike.
const GAMMA_LN: f64 = 0.020000666706669435;

/// The number of the bin of a size above 0.
#[expect(clippy::cast_possible_truncation, reason = "the logarithm of a double, by 0.02, is within ±37,300")]
fn number_of(size: f64) -> i32 {
    const BINS_A_UNIT: f64 = 1.0 / GAMMA_LN;
    let place = size.ln() * BINS_A_UNIT;
    let toward_zero = place as i32;
    // Rounded up, without the call that `ceil` is on older processors.
    toward_zero + i32::from(f64::from(toward_zero) < place)
}

/// The end of a bin that is away from 0.
fn end_of(number: i32) -> f64 {
    (f64::from(number) * GAMMA_LN).exp().min(f64::MAX)
}

/// What stands for the values of a bin: the value from which both ends are as far, relatively.
fn middle_of(number: i32) -> f64 {
    (1.0 - RELATIVE_ACCURACY) * end_of(number)
}

/// Adds weights, which never become infinite.
fn add_weight(to: &mut f64, weight: f64) {
    *to = (*to + weight).min(f64::MAX);
}

/// Bins by their numbers, ascending, each with a weight above 0. Sixteen bytes a bin that holds something.
#[derive(Clone, Debug, Default, PartialEq)]
struct Bins(Vec<(i32, f64)>);

impl Bins {
    fn add(&mut self, number: i32, weight: f64) {
        match self.0.binary_search_by_key(&number, |(number, _)| *number) {
            Ok(place) => add_weight(&mut self.0[place].1, weight),
            Err(place) if self.0.len() < MOST_BINS => self.0.insert(place, (number, weight)),
            // It would be the lowest, which has no room.
            Err(0) => add_weight(&mut self.0[0].1, weight),
            Err(place) => {
                // The lowest bin goes into the next one, which may be the new one.
                let (_, folded) = self.0[0];
                self.0.copy_within(1..place, 0);
                self.0[place - 1] = (number, weight);
                add_weight(&mut self.0[0].1, folded);
            }
        }
    }

    /// From 0 outwards.
    fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, f64)> {
        self.0.iter().copied()
    }

    fn merge(&mut self, other: &Self) {
        // From the outside in, so that what is folded is folded once.
        other.iter().rev().for_each(|(number, weight)| self.add(number, weight));
    }
}

impl Sketch {
    /// A sketch of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value that came `weight` times. A value or weight that is not finite, or a weight that is not above 0, is
    /// left out.
    pub fn add(&mut self, value: f64, weight: f64) {
        if !(value.is_finite() && weight.is_finite() && weight > 0.0) {
            return;
        }
        (self.min, self.max) =
            if self.is_empty() { (value, value) } else { (self.min.min(value), self.max.max(value)) };
        add_weight(&mut self.count, weight);
        self.sum = (self.sum + value * weight).clamp(f64::MIN, f64::MAX);
        let size = value.abs();
        if size < f64::MIN_POSITIVE {
            add_weight(&mut self.zero, weight);
        } else if value > 0.0 {
            self.positive.add(number_of(size), weight);
        } else {
            self.negative.add(number_of(size), weight);
        }
    }

    /// Adds all that another one holds.
    pub fn merge(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        add_weight(&mut self.count, other.count);
        self.sum = (self.sum + other.sum).clamp(f64::MIN, f64::MAX);
        add_weight(&mut self.zero, other.zero);
        self.positive.merge(&other.positive);
        self.negative.merge(&other.negative);
    }

    /// Whether nothing was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0.0
    }

    /// The sum of the weights.
    #[must_use]
    pub const fn count(&self) -> f64 {
        self.count
    }

    /// The sum of the values, each by its weight; exact.
    #[must_use]
    pub const fn sum(&self) -> f64 {
        self.sum
    }

    /// The smallest value, exact; 0 of nothing.
    #[must_use]
    pub const fn min(&self) -> f64 {
        self.min
    }

    /// The largest value, exact; 0 of nothing.
    #[must_use]
    pub const fn max(&self) -> f64 {
        self.max
    }

    /// What stands for each bin and its weight, in ascending order.
    fn values(&self) -> impl DoubleEndedIterator<Item = (f64, f64)> {
        let negative = self.negative.iter().rev().map(|(number, weight)| (-middle_of(number), weight));
        let zero = (self.zero > 0.0).then_some((0.0, self.zero));
        let positive = self.positive.iter().map(|(number, weight)| (middle_of(number), weight));
        let clamped = |(value, weight): (f64, f64)| (value.clamp(self.min, self.max), weight);
        negative.chain(zero).chain(positive).map(clamped)
    }

    /// The value that the share `q` of the weight lies at or below, from 0 to 1; `None` of nothing.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.is_empty() || q.is_nan() {
            return None;
        }
        if q <= 0.0 {
            return Some(self.min);
        }
        if q >= 1.0 {
            return Some(self.max);
        }
        let rank = q * (self.count - 1.0).max(0.0);
        let mut passed = 0.0;
        for (value, weight) in self.values() {
            passed += weight;
            if passed > rank {
                return Some(value);
            }
        }
        Some(self.max)
    }

    /// The smallest values that make up a share of the weight, from 0 to 1.
    #[must_use]
    pub fn lowest(&self, share: f64) -> Share {
        self.share(share, self.values())
    }

    /// The largest values that make up a share of the weight, from 0 to 1.
    #[must_use]
    pub fn highest(&self, share: f64) -> Share {
        self.share(share, self.values().rev())
    }

    fn share(&self, share: f64, values: impl Iterator<Item = (f64, f64)>) -> Share {
        let mut left = self.count * share.clamp(0.0, 1.0);
        let mut taken = Share::default();
        for (value, weight) in values {
            if left <= 0.0 {
                break;
            }
            let weight = weight.min(left);
            left -= weight;
            taken.count += weight;
            taken.sum += value * weight;
            taken.sum_squares += value * value * weight;
            taken.boundary = value;
        }
        taken
    }

    /// How many bins are not empty, which is what it takes in memory and to merge it.
    #[must_use]
    pub fn bin_count(&self) -> usize {
        self.positive.0.len() + self.negative.0.len() + usize::from(self.zero > 0.0)
    }

    /// The bins that are not empty, in ascending order.
    pub fn bins(&self) -> impl Iterator<Item = Bin> + '_ {
        let inner = |number| end_of(number - 1);
        let negative = self.negative.iter().rev().map(move |(number, weight)| Bin {
            lower: -end_of(number),
            upper: -inner(number),
            weight,
        });
        let zero = (self.zero > 0.0).then_some(Bin { lower: 0.0, upper: 0.0, weight: self.zero });
        let positive = self.positive.iter().map(move |(number, weight)| Bin {
            lower: inner(number),
            upper: end_of(number),
            weight,
        });
        negative.chain(zero).chain(positive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(super) fn sketch(values: &[(f64, f64)]) -> Sketch {
        let mut sketch = Sketch::new();
        values.iter().for_each(|(value, weight)| sketch.add(*value, *weight));
        sketch
    }

    pub(super) fn values() -> impl Strategy<Value = Vec<(f64, f64)>> {
        let value = prop_oneof![
            (-1e4..1e4),
            Just(0.0),
            (0.0..1.0),
            any::<f64>().prop_filter("a finite number", |value| value.abs() < 1e300)
        ];
        proptest::collection::vec((value, prop_oneof![Just(1.0), Just(10.0), 0.5..3.0]), 1..60)
    }

    proptest! {
        #[test]
        fn a_quantile_is_within_1_percent(mut values in proptest::collection::vec(prop_oneof![-1e6..1e6, 1e-9..1e-3, Just(0.0)], 1..200), q in 0.0..=1.0_f64) {
            let sketch = sketch(&values.iter().map(|value| (*value, 1.0)).collect::<Vec<_>>());
            values.sort_by(f64::total_cmp);
            let rank = (q * (values.len() - 1) as f64).floor() as usize;
            let (exact, told) = (values[rank], sketch.quantile(q).unwrap());
            // A bin's ends are rounded, so its width may be off by as little.
            prop_assert!((told - exact).abs() <= exact.abs() * RELATIVE_ACCURACY * 1.000_001, "{} {}", exact, told);
        }

        #[test]
        fn merged_sketches_are_the_sketch_of_both(left in values(), right in values()) {
            let mut merged = sketch(&left);
            merged.merge(&sketch(&right));
            let both = sketch(&[left, right].concat());
            prop_assert_eq!((merged.min(), merged.max()), (both.min(), both.max()));
            prop_assert!((merged.count() - both.count()).abs() < 1e-9 * both.count());
            let numbered = |sketch: &Sketch| sketch.bins().map(|bin| (bin.lower, bin.upper)).collect::<Vec<_>>();
            prop_assert_eq!(numbered(&merged), numbered(&both));
            for (one, other) in merged.bins().zip(both.bins()) {
                prop_assert!((one.weight - other.weight).abs() <= 1e-9 * other.weight);
            }
        }

        #[test]
        fn the_lowest_and_the_highest_are_the_whole(values in proptest::collection::vec(-1e3..1e3, 1..60), share in 0.0..=1.0) {
            let sketch = sketch(&values.iter().map(|value| (*value, 1.0)).collect::<Vec<_>>());
            let (lowest, highest) = (sketch.lowest(share), sketch.highest(1.0 - share));
            prop_assert!((lowest.count + highest.count - sketch.count()).abs() < 1e-6);
            let size: f64 = values.iter().map(|value| value.abs()).sum();
            prop_assert!((lowest.sum + highest.sum - sketch.sum()).abs() <= size * 0.011);
        }
    }

    #[test]
    fn the_base_follows_from_the_accuracy() {
        assert_eq!(GAMMA_LN, ((1.0 + RELATIVE_ACCURACY) / (1.0 - RELATIVE_ACCURACY)).ln());
    }

    #[test]
    fn a_sketch_has_a_bounded_number_of_bins() {
        let mut sketch = Sketch::new();
        for exponent in -300..300 {
            for factor in 1..=20 {
                sketch.add(10_f64.powi(exponent) * f64::from(factor), 1.0);
            }
        }
        assert!(sketch.bins().count() <= MOST_BINS);
        assert_eq!(sketch.bin_count(), sketch.bins().count());
        assert_eq!(sketch.count(), 600.0 * 20.0);
        assert_eq!(sketch.bins().map(|bin| bin.weight).sum::<f64>(), sketch.count());
        let high = sketch.quantile(0.999).unwrap();
        assert!((high / 8e299 - 1.0).abs() < 0.02, "{high}");
    }

    #[test]
    fn weights_beyond_all_numbers_stay_numbers() {
        let huge = sketch(&[(0.0, f64::MAX), (0.0, f64::MAX), (5.0, f64::MAX), (5.0, f64::MAX), (f64::MAX, 1.0)]);
        let mut twice = huge.clone();
        twice.merge(&huge);
        assert_eq!((twice.count(), twice.sum()), (f64::MAX, f64::MAX));
        assert!(twice.bins().all(|bin| bin.upper.is_finite() && bin.weight.is_finite()));
        let mut bytes = Vec::new();
        twice.encode(&mut bytes);
        assert_eq!(Sketch::decode(&bytes), Ok(twice));
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let sketch = sketch(&[(f64::NAN, 1.0), (1.0, f64::NAN), (1.0, 0.0), (1.0, -1.0), (f64::INFINITY, 1.0)]);
        assert!(sketch.is_empty());
        assert_eq!(sketch.quantile(0.5), None);
    }
}
