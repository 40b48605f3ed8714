//! How many values are distributed, within 1 %: a DDSketch (Masson, Rim, Lee, arXiv:1908.10693).
//!
//! A value falls into the bin whose number is the logarithm of its size to a base that makes a bin 2 % wide; every bin has
//! a weight. Two sketches are merged by adding their bins up, so a percentile over hours or over servers is one of the
//! whole distribution. What is kept are the bins that are not empty.

use thiserror::Error;

/// The relative error of a quantile.
pub const RELATIVE_ACCURACY: f64 = 0.01;

/// The most bins for values above 0, and as many below. Beyond it, those nearest to 0 become one.
pub const MOST_BINS: usize = 2048;

/// What bytes begin with.
const VERSION: u8 = 1;

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

/// Why bytes are no sketch.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SketchError {
    /// There is more to it, or it was cut.
    #[error("a sketch of {0} bytes ends in the middle of a number, or goes on behind its end")]
    Length(usize),
    /// A version of the future.
    #[error("a sketch of version {0}; this program reads version {VERSION}")]
    Version(u8),
    /// A number that no sketch has.
    #[error("a sketch with {0}")]
    Number(&'static str),
}

/// The base of the logarithm by which bins are numbered.
fn gamma_ln() -> f64 {
    ((1.0 + RELATIVE_ACCURACY) / (1.0 - RELATIVE_ACCURACY)).ln()
}

/// The number of the bin of a size above 0.
#[expect(clippy::cast_possible_truncation, reason = "the logarithm of a double, by 0.02, is within ±37,300")]
fn number_of(size: f64) -> i32 {
    (size.ln() / gamma_ln()).ceil() as i32
}

/// The end of a bin that is away from 0.
fn end_of(number: i32) -> f64 {
    (f64::from(number) * gamma_ln()).exp()
}

/// What stands for the values of a bin: the value from which both ends are as far, relatively.
fn middle_of(number: i32) -> f64 {
    2.0 * end_of(number) / (1.0 + gamma_ln().exp())
}

/// Weights by the number of the bin, without gaps from the first to the last.
#[derive(Clone, Debug, Default, PartialEq)]
struct Bins {
    first: i32,
    weights: std::collections::VecDeque<f64>,
}

impl Bins {
    fn add(&mut self, number: i32, weight: f64) {
        if self.weights.is_empty() {
            self.first = number;
        }
        let mut index = i64::from(number) - i64::from(self.first);
        let length = self.weights.len() as i64;
        if index >= length {
            let most = MOST_BINS as i64;
            // Those that are too far below the new last one become one.
            let dropped = (index + 1 - most).clamp(0, length);
            let folded: f64 = self.weights.drain(..dropped as usize).sum();
            if dropped > 0 {
                self.first = number - (MOST_BINS as i32 - 1);
                index = most - 1;
            }
            self.weights.resize(usize::try_from(index).unwrap_or(0) + 1, 0.0);
            if folded > 0.0 {
                self.weights[0] += folded;
            }
        } else if index < 0 {
            let room = (MOST_BINS - self.weights.len()) as i64;
            let added = (-index).min(room);
            for _ in 0..added {
                self.weights.push_front(0.0);
            }
            self.first -= added as i32;
            index = (index + added).max(0);
        }
        self.weights[usize::try_from(index).unwrap_or(0)] += weight;
    }

    /// The bins that are not empty, from 0 outwards.
    fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, f64)> {
        let numbered = self.weights.iter().enumerate();
        numbered.filter(|(_, weight)| **weight > 0.0).map(|(index, weight)| (self.first + index as i32, *weight))
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
        self.count = (self.count + weight).min(f64::MAX);
        self.sum = (self.sum + value * weight).clamp(f64::MIN, f64::MAX);
        let size = value.abs();
        if size < f64::MIN_POSITIVE {
            self.zero += weight;
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
        self.count = (self.count + other.count).min(f64::MAX);
        self.sum = (self.sum + other.sum).clamp(f64::MIN, f64::MAX);
        self.zero += other.zero;
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

/// What a byte string of weights is: whole numbers, which most are, or doubles.
const WHOLE: u8 = 0;
const FRACTIONS: u8 = 1;

impl Sketch {
    /// Appends the sketch as bytes: the version, count, sum, minimum, maximum and the weight of 0 as doubles, then the bins
    /// above 0 and below. Of the bins: how many there are, whether their weights are whole, the number of the first, and
    /// for each its distance from the one before and its weight.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.push(VERSION);
        for number in [self.count, self.sum, self.min, self.max, self.zero] {
            bytes.extend(number.to_le_bytes());
        }
        for bins in [&self.positive, &self.negative] {
            encode_bins(bins, bytes);
        }
    }

    /// Reads what [`Sketch::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are no sketch. Nothing that they say makes this use more memory than a sketch takes.
    pub fn decode(bytes: &[u8]) -> Result<Self, SketchError> {
        let mut reader = Reader { rest: bytes, length: bytes.len() };
        let version = reader.byte()?;
        if version != VERSION {
            return Err(SketchError::Version(version));
        }
        let [count, sum, min, max, zero] =
            [reader.double()?, reader.double()?, reader.double()?, reader.double()?, reader.double()?];
        if ![count, sum, min, max, zero].iter().all(|number| number.is_finite())
            || count < 0.0
            || zero < 0.0
            || min > max
        {
            return Err(SketchError::Number("a total that is none"));
        }
        let (positive, negative) = (decode_bins(&mut reader)?, decode_bins(&mut reader)?);
        if reader.rest.is_empty() {
            Ok(Self { positive, negative, zero, count, sum, min, max })
        } else {
            Err(SketchError::Length(bytes.len()))
        }
    }
}

fn encode_bins(bins: &Bins, bytes: &mut Vec<u8>) {
    // Up to 2^53 a double counts without gaps.
    let is_whole = |(_, weight): (i32, f64)| weight.fract() == 0.0 && weight < 9_007_199_254_740_992.0;
    let whole = bins.iter().all(is_whole);
    write_varint(bins.iter().count() as u64, bytes);
    bytes.push(if whole { WHOLE } else { FRACTIONS });
    let mut before = 0;
    for (index, (number, weight)) in bins.iter().enumerate() {
        let distance = number - before;
        // The first may be below 0: its sign is in the lowest bit.
        let written =
            if index == 0 { ((distance << 1) ^ (distance >> 31)).cast_unsigned() } else { distance.cast_unsigned() };
        write_varint(u64::from(written), bytes);
        before = number;
        if whole {
            write_varint(weight as u64, bytes);
        } else {
            bytes.extend(weight.to_le_bytes());
        }
    }
}

fn decode_bins(reader: &mut Reader<'_>) -> Result<Bins, SketchError> {
    let count = reader.varint()?;
    let is_whole = match reader.byte()? {
        WHOLE => true,
        FRACTIONS => false,
        _ => return Err(SketchError::Number("weights of an unknown kind")),
    };
    if count > MOST_BINS as u64 {
        return Err(SketchError::Number("too many bins"));
    }
    let mut bins = Bins::default();
    let mut number = 0_i64;
    for index in 0..count {
        let written = i64::try_from(reader.varint()?).map_err(|_| SketchError::Number("a bin too far away"))?;
        let distance = if index == 0 { (written >> 1) ^ -(written & 1) } else { written };
        number = number.saturating_add(distance);
        // No double's bin is further away.
        let far_away =
            number.unsigned_abs() > 1 << 16 || number - i64::from(bins.first) >= MOST_BINS as i64 && index > 0;
        if far_away || (index > 0 && distance == 0) {
            return Err(SketchError::Number("bins out of order or too far away"));
        }
        let weight = if is_whole { reader.varint()? as f64 } else { reader.double()? };
        if !(weight.is_finite() && weight > 0.0) {
            return Err(SketchError::Number("a weight that is none"));
        }
        bins.add(number as i32, weight);
    }
    Ok(bins)
}

fn write_varint(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, SketchError> {
        let (first, rest) = self.rest.split_first().ok_or(SketchError::Length(self.length))?;
        self.rest = rest;
        Ok(*first)
    }

    fn double(&mut self) -> Result<f64, SketchError> {
        let (first, rest) = self.rest.split_first_chunk::<8>().ok_or(SketchError::Length(self.length))?;
        self.rest = rest;
        Ok(f64::from_le_bytes(*first))
    }

    fn varint(&mut self) -> Result<u64, SketchError> {
        let mut number = 0_u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(SketchError::Number("a number that is too long"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sketch(values: &[(f64, f64)]) -> Sketch {
        let mut sketch = Sketch::new();
        values.iter().for_each(|(value, weight)| sketch.add(*value, *weight));
        sketch
    }

    fn values() -> impl Strategy<Value = Vec<(f64, f64)>> {
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
            // Rounding may move the rank to its neighbour.
            let near = [rank.saturating_sub(1), rank, (rank + 1).min(values.len() - 1)];
            prop_assert!(near.iter().any(|near| (told - values[*near]).abs() <= values[*near].abs() * RELATIVE_ACCURACY * 1.000_001), "{} {}", exact, told);
        }

        #[test]
        fn merged_sketches_are_the_sketch_of_both(left in values(), right in values()) {
            let mut merged = sketch(&left);
            merged.merge(&sketch(&right));
            let both = sketch(&[left, right].concat());
            prop_assert_eq!((merged.min(), merged.max()), (both.min(), both.max()));
            prop_assert!((merged.count() - both.count()).abs() < 1e-9 * both.count());
            for q in [0.0, 0.1, 0.5, 0.9, 1.0] {
                let (one, other) = (merged.quantile(q).unwrap(), both.quantile(q).unwrap());
                prop_assert!((one - other).abs() <= other.abs() * 0.03, "{} {} {}", q, one, other);
            }
        }

        #[test]
        fn what_is_encoded_is_decoded(values in values()) {
            let sketch = sketch(&values);
            let mut bytes = Vec::new();
            sketch.encode(&mut bytes);
            let decoded = Sketch::decode(&bytes).unwrap();
            prop_assert_eq!(decoded.bins().collect::<Vec<_>>(), sketch.bins().collect::<Vec<_>>());
            prop_assert_eq!((decoded.count(), decoded.sum(), decoded.min(), decoded.max()), (sketch.count(), sketch.sum(), sketch.min(), sketch.max()));
        }

        #[test]
        fn any_bytes_are_a_sketch_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), is_of_this_version in any::<bool>()) {
            if is_of_this_version && let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            if let Ok(sketch) = Sketch::decode(&bytes) {
                prop_assert!(sketch.bins().count() <= 2 * MOST_BINS + 1);
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
    fn a_sketch_has_a_bounded_number_of_bins() {
        let mut sketch = Sketch::new();
        for exponent in -300..300 {
            for factor in 1..=20 {
                sketch.add(10_f64.powi(exponent) * f64::from(factor), 1.0);
            }
        }
        assert!(sketch.bins().count() <= MOST_BINS);
        assert_eq!(sketch.count(), 600.0 * 20.0);
        assert_eq!(sketch.bins().map(|bin| bin.weight).sum::<f64>(), sketch.count());
        let high = sketch.quantile(0.999).unwrap();
        assert!((high / 8e299 - 1.0).abs() < 0.02, "{high}");
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let sketch = sketch(&[(f64::NAN, 1.0), (1.0, f64::NAN), (1.0, 0.0), (1.0, -1.0), (f64::INFINITY, 1.0)]);
        assert!(sketch.is_empty());
        assert_eq!(sketch.quantile(0.5), None);
    }
}
