//! Values as a log record holds them: as short decimals where that is exact, else as they are.
//!
//! Most of what a statsd server flushes are whole numbers, and whole numbers over ten or a hundred: two bytes say what a
//! double says in eight, and less is left to compress. No value depends on another record. Layout in `docs/format/log.md`.

use crate::bytes::{Malformed, Reader};

/// What the decimals of a value are divided by, by their class.
const SCALES: [f64; 4] = [1.0, 10.0, 100.0, 1000.0];
/// Decimals are below this, scaled.
const END_OF_DECIMALS: f64 = (1_u32 << 30) as f64;

const ZERO: u8 = 0;
/// The class of a decimal of two bytes without fraction; those with more digits follow.
const SHORT: u8 = 1;
/// The same of four bytes.
const LONG: u8 = 5;
const DOUBLE: u8 = 9;

/// Room to sort values by class in, kept from record to record.
#[derive(Debug, Default)]
pub(crate) struct ValueEncoder {
    shorts: Vec<u16>,
    longs: Vec<u32>,
    doubles: Vec<u64>,
}

impl ValueEncoder {
    /// Appends the values to `out`.
    pub(crate) fn encode(&mut self, out: &mut Vec<u8>, values: &[f64]) {
        self.shorts.clear();
        self.longs.clear();
        self.doubles.clear();
        out.extend(values.iter().map(|value| self.classify(*value)));
        put_planes(out, &self.shorts, u16::to_le_bytes);
        put_planes(out, &self.longs, u32::to_le_bytes);
        put_planes(out, &self.doubles, u64::to_le_bytes);
    }

    /// Puts a value with those of its class.
    fn classify(&mut self, value: f64) -> u8 {
        if value.to_bits() == 0 {
            return ZERO;
        }
        let Some((digits, decimal)) = decimal(value) else {
            self.doubles.push(value.to_bits());
            return DOUBLE;
        };
        let zigzag = ((decimal << 1) ^ (decimal >> 31)).cast_unsigned();
        match u16::try_from(zigzag) {
            Ok(short) => {
                self.shorts.push(short);
                SHORT + digits
            }
            Err(_) => {
                self.longs.push(zigzag);
                LONG + digits
            }
        }
    }
}

/// How many digits the value has after the point, at most three, and the value without the point; `None` when it has more,
/// or would not be found again to the bit.
fn decimal(value: f64) -> Option<(u8, i32)> {
    for (digits, scale) in (0..).zip(SCALES) {
        let scaled = value * scale;
        if scaled.abs() >= END_OF_DECIMALS {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is below the end of decimals, and what is cut is checked"
        )]
        let decimal = (scaled + 0.5_f64.copysign(scaled)) as i32;
        if (f64::from(decimal) / scale).to_bits() == value.to_bits() {
            return Some((digits, decimal));
        }
    }
    None
}

/// The bytes of equal weight together, the lowest first.
fn put_planes<T: Copy, const N: usize>(out: &mut Vec<u8>, numbers: &[T], bytes: impl Fn(T) -> [u8; N]) {
    for weight in 0..N {
        out.extend(numbers.iter().map(|number| bytes(*number)[weight]));
    }
}

/// Planes of bytes being read one number at a time.
struct Planes<'a, const N: usize> {
    planes: [&'a [u8]; N],
    next: usize,
}

impl<'a, const N: usize> Planes<'a, N> {
    fn of(reader: &mut Reader<'a>, count: usize) -> Result<Self, Malformed> {
        let mut planes = [[].as_slice(); N];
        for plane in &mut planes {
            *plane = reader.take(count)?;
        }
        Ok(Self { planes, next: 0 })
    }

    /// The bytes of the next number. There are as many as were counted.
    fn next(&mut self) -> [u8; N] {
        let place = self.next;
        self.next += 1;
        self.planes.map(|plane| plane[place])
    }
}

/// Reads as many values.
pub(crate) fn decode(reader: &mut Reader<'_>, count: usize) -> Result<Vec<f64>, Malformed> {
    let classes = reader.take(count)?;
    let mut counts = [0_usize; DOUBLE as usize + 1];
    for class in classes {
        *counts.get_mut(usize::from(*class)).ok_or(Malformed("a value in it is of no known class"))? += 1;
    }
    let total = |first: u8, end: u8| counts[usize::from(first)..usize::from(end)].iter().sum();
    let mut shorts = Planes::<2>::of(reader, total(SHORT, LONG))?;
    let mut longs = Planes::<4>::of(reader, total(LONG, DOUBLE))?;
    let mut doubles = Planes::<8>::of(reader, total(DOUBLE, DOUBLE + 1))?;
    let value_of = |class: &u8| match *class {
        ZERO => 0.0,
        class @ SHORT..LONG => value(u16::from_le_bytes(shorts.next()).into(), class - SHORT),
        class @ LONG..DOUBLE => value(u32::from_le_bytes(longs.next()), class - LONG),
        _ => f64::from_le_bytes(doubles.next()),
    };
    Ok(classes.iter().map(value_of).collect())
}

fn value(zigzag: u32, digits: u8) -> f64 {
    let decimal = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
    f64::from(decimal) / SCALES[usize::from(digits)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes_of(values: &[f64]) -> Vec<u8> {
        let mut bytes = Vec::new();
        ValueEncoder::default().encode(&mut bytes, values);
        bytes
    }

    fn read_back(values: &[f64]) -> Vec<u64> {
        let bytes = bytes_of(values);
        let mut reader = Reader::new(&bytes);
        let read = decode(&mut reader, values.len()).unwrap();
        assert!(reader.is_empty());
        read.into_iter().map(f64::to_bits).collect()
    }

    #[test]
    fn a_value_takes_what_it_needs() {
        for (value, bytes) in [
            (0.0, 1),
            (-0.0, 9),
            (1.0, 3),
            (-32_768.0, 3),
            (32_768.0, 5),
            (0.1, 3),
            (-3.3, 3),
            (0.125, 3),
            (0.0625, 9),
            (1.0 / 3.0, 9),
            (1e6 + 0.001, 5),
            (2e9, 9),
            (1e300, 9),
            (f64::INFINITY, 9),
            (f64::MIN_POSITIVE, 9),
        ] {
            assert_eq!(bytes_of(&[value]).len(), bytes, "{value}");
            assert_eq!(read_back(&[value]), [value.to_bits()]);
        }
    }

    proptest! {
        #[test]
        fn values_read_back_to_the_bit(values in prop::collection::vec(prop_oneof![
            prop::num::f64::ANY,
            any::<i32>().prop_map(f64::from),
            (any::<i32>(), 0_usize..4).prop_map(|(whole, digits)| f64::from(whole) / SCALES[digits]),
            (-40_000_i32..40_000, 0_usize..4).prop_map(|(whole, digits)| f64::from(whole) / SCALES[digits]),
        ], 0..60)) {
            let bits: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
            prop_assert_eq!(read_back(&values), bits);
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, count in 0_usize..40) {
            let _ = decode(&mut Reader::new(&bytes), count);
        }
    }
}
