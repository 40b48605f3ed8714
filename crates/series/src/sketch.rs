//! How many values are distributed, within 1 %: a DDSketch (Masson, Rim, Lee, arXiv:1908.10693).
//!
//! A value falls into the bin whose number is the logarithm of its size to a base that makes a bin 2 % wide; every bin has
//! a weight. Two sketches are merged by adding their bins up, so a percentile over hours or over servers is one of the
//! whole distribution. What is kept are the bins that are not empty.

use thiserror::Error;

/// The relative error of a quantile.
pub const RELATIVE_ACCURACY: f64 = 0.01;

/// The most bins that hold something for values above 0, and as many below. Beyond it, those nearest to 0 become one.
pub const MOST_BINS: usize = 2048;

/// Up to here, 2^53, a double counts without gaps.
const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;

/// What bytes begin with.
const VERSION: u8 = 1;

/// The number of no double's bin is further from 0.
const FARTHEST_BIN: u32 = 37_300;

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

/// Weights as varints.
const WHOLE: u8 = 0;
/// Weights as doubles.
const FRACTIONS: u8 = 1;

impl Sketch {
    /// Appends the sketch as bytes, which `docs/format/sketch.md` lays out. A sketch of a few samples takes some 40.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let is_whole = |weight: f64| weight.fract() == 0.0;
        let weights = || self.positive.iter().chain(self.negative.iter()).map(|(_, weight)| weight);
        let all_whole = self.count < LARGEST_WHOLE && is_whole(self.zero) && weights().all(is_whole);
        bytes.extend([VERSION, if all_whole { WHOLE } else { FRACTIONS }]);
        for number in [self.sum, self.min, self.max] {
            bytes.extend(number.to_le_bytes());
        }
        if !all_whole {
            bytes.extend(self.count.to_le_bytes());
        }
        write_weight(self.zero, all_whole, bytes);
        for bins in [&self.positive, &self.negative] {
            encode_bins(bins, all_whole, bytes);
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
        let all_whole = match reader.byte()? {
            WHOLE => true,
            FRACTIONS => false,
            _ => return Err(SketchError::Number("weights of an unknown kind")),
        };
        let (sum, min, max) = (reader.double()?, reader.double()?, reader.double()?);
        let told_count = if all_whole { None } else { Some(reader.double()?) };
        let zero = reader.weight(all_whole)?;
        let (positive, negative) = (decode_bins(&mut reader, all_whole)?, decode_bins(&mut reader, all_whole)?);
        if !reader.rest.is_empty() {
            return Err(SketchError::Length(bytes.len()));
        }
        let weights = positive.iter().chain(negative.iter()).map(|(_, weight)| weight);
        let added_up = weights.fold(zero, |sum, weight| (sum + weight).min(f64::MAX));
        let count = told_count.unwrap_or(added_up);
        let is_number = [count, sum, min, max].iter().all(|number| number.is_finite());
        if !is_number || count < 0.0 || min > max || (count == 0.0) != (added_up == 0.0) {
            return Err(SketchError::Number("a total that is none"));
        }
        Ok(Self { positive, negative, zero, count, sum, min, max })
    }
}

fn encode_bins(bins: &Bins, all_whole: bool, bytes: &mut Vec<u8>) {
    write_varint(bins.0.len() as u64, bytes);
    let mut before = None;
    for (number, weight) in bins.iter() {
        let written = match before {
            // The first may be below 0: its sign is in the lowest bit.
            None => ((number << 1) ^ (number >> 31)).cast_unsigned(),
            Some(before) => number.abs_diff(before),
        };
        write_varint(u64::from(written), bytes);
        write_weight(weight, all_whole, bytes);
        before = Some(number);
    }
}

fn decode_bins(reader: &mut Reader<'_>, all_whole: bool) -> Result<Bins, SketchError> {
    let count = usize::try_from(reader.varint()?).ok().filter(|count| *count <= MOST_BINS);
    let count = count.ok_or(SketchError::Number("too many bins"))?;
    // A bin takes two bytes at least.
    let mut bins = Vec::with_capacity(count.min(reader.rest.len() / 2));
    let mut number = 0_i32;
    for index in 0..count {
        let written = i32::try_from(reader.varint()?).map_err(|_| SketchError::Number("a bin too far away"))?;
        let distance = if index == 0 { (written >> 1) ^ -(written & 1) } else { written };
        number = number.saturating_add(distance);
        if number.unsigned_abs() > FARTHEST_BIN || (index > 0 && distance == 0) {
            return Err(SketchError::Number("bins out of order or too far away"));
        }
        let weight = reader.weight(all_whole)?;
        if weight == 0.0 {
            return Err(SketchError::Number("an empty bin"));
        }
        bins.push((number, weight));
    }
    Ok(Bins(bins))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole weight is below 2^53")]
fn write_weight(weight: f64, is_whole: bool, bytes: &mut Vec<u8>) {
    if is_whole { write_varint(weight as u64, bytes) } else { bytes.extend(weight.to_le_bytes()) }
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest byte is what is wanted")]
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

    #[expect(clippy::cast_precision_loss, reason = "a weight above 2^53 is refused")]
    fn weight(&mut self, is_whole: bool) -> Result<f64, SketchError> {
        let weight = if is_whole { self.varint()? as f64 } else { self.double()? };
        let is_weight = weight.is_finite() && weight >= 0.0 && (!is_whole || weight < LARGEST_WHOLE);
        if is_weight { Ok(weight) } else { Err(SketchError::Number("a weight that is none")) }
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

    fn encoded(sketch: &Sketch) -> Vec<u8> {
        let mut bytes = Vec::new();
        sketch.encode(&mut bytes);
        bytes
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
        fn what_is_encoded_is_decoded(values in values()) {
            let sketch = sketch(&values);
            prop_assert_eq!(Sketch::decode(&encoded(&sketch)), Ok(sketch));
        }

        #[test]
        fn any_bytes_are_a_sketch_or_refused(
            mut bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0_u8..3], 0..200),
            is_of_this_version in any::<bool>(),
        ) {
            if is_of_this_version && let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            if let Ok(sketch) = Sketch::decode(&bytes) {
                prop_assert!(sketch.bins().count() <= 2 * MOST_BINS + 1);
                prop_assert_eq!(sketch.quantile(0.5).is_none(), sketch.is_empty());
                prop_assert_eq!(Sketch::decode(&encoded(&sketch)), Ok(sketch));
            }
        }

        #[test]
        fn a_damaged_sketch_is_another_one_or_refused(values in values(), at in any::<proptest::sample::Index>(), bit in 0..8) {
            let mut bytes = encoded(&sketch(&values));
            let at = at.index(bytes.len());
            bytes[at] ^= 1_u8 << bit;
            if let Ok(sketch) = Sketch::decode(&bytes) {
                prop_assert!(sketch.lowest(0.5).count <= sketch.count());
            }
            prop_assert!(Sketch::decode(&bytes[..at]).is_err());
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
        assert_eq!(Sketch::decode(&encoded(&twice)), Ok(twice));
    }

    #[test]
    fn a_few_samples_take_a_few_bytes() {
        let few = sketch(&[(320.0, 1.0), (333.0, 1.0), (341.0, 1.0), (2020.0, 1.0)]);
        assert!(encoded(&few).len() <= 40, "{}", encoded(&few).len());
        let sampled = sketch(&[(320.0, 1.0 / 0.3)]);
        assert_eq!(Sketch::decode(&encoded(&sampled)).unwrap().count(), 1.0 / 0.3);
    }

    #[test]
    fn what_is_no_sketch_is_refused_by_its_reason() {
        let good = encoded(&sketch(&[(320.0, 1.0), (-2.0, 3.0)]));
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Sketch::decode(&bytes).unwrap_err().to_string()
        };
        for (refusal, expected) in [
            (with(0, 9), "a sketch of version 9; this program reads version 1"),
            (with(1, 2), "a sketch with weights of an unknown kind"),
            (with(good.len() - 1, 0), "a sketch with an empty bin"),
            (with(27, 200), "a sketch with too many bins"),
        ] {
            assert_eq!(refusal, expected);
        }
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let sketch = sketch(&[(f64::NAN, 1.0), (1.0, f64::NAN), (1.0, 0.0), (1.0, -1.0), (f64::INFINITY, 1.0)]);
        assert!(sketch.is_empty());
        assert_eq!(sketch.quantile(0.5), None);
    }
}
