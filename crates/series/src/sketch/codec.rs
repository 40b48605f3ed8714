//! A sketch as bytes, for logs and chunks. Layout in `docs/format/sketch.md`.

use thiserror::Error;

use super::{Bins, MOST_BINS, Sketch};

/// What bytes begin with.
const VERSION: u8 = 1;

/// Up to here, 2^53, a double counts without gaps.
const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;

/// The number of no double's bin is further from 0.
const FARTHEST_BIN: u32 = 37_300;

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

/// Weights as varints.
const WHOLE: u8 = 0;
/// Weights as doubles.
const FRACTIONS: u8 = 1;

impl Sketch {
    /// Appends the sketch as bytes, which `docs/format/sketch.md` lays out. A sketch of a few samples takes some 40.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let is_whole = |weight: f64| weight.fract() == 0.0;
        let weights = || self.positive.iter().chain(self.negative.iter()).map(|(_, weight)| weight);
        let all_whole =
            self.count < LARGEST_WHOLE && [self.count, self.zero].into_iter().all(is_whole) && weights().all(is_whole);
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
    use super::super::tests::{sketch, values};
    use super::*;
    use proptest::prelude::*;

    fn encoded(sketch: &Sketch) -> Vec<u8> {
        let mut bytes = Vec::new();
        sketch.encode(&mut bytes);
        bytes
    }

    proptest! {
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
}
