//! A chunk of rollups: those of one series in one block, compressed.
//!
//! It begins as a chunk of points does, with the starts of the slots as its instants. Each column says how long it is, so
//! that a read takes only those it needs. Layout in `docs/format/chunk.md`.

use std::ops::Range;

use pco::data_types::Number;
use statline_series::{Step, Timestamp};

use crate::SeriesId;
use crate::bytes::{Malformed, Reader, put_varint};
use crate::chunk::{self, Times};
use crate::rollup::{Rollup, Rollups};

/// A chunk of rollups, version 1: 32 more than the version.
pub(crate) const VERSION: u8 = 33;
/// One number for all.
const SAME: u8 = 0;
/// By pco.
const PCO: u8 = 1;
/// As they are.
const PLAIN: u8 = 2;
/// The same as the sums.
const AS_SUMS: u8 = 3;

/// Which columns a read needs. Counts and instants are always read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Columns {
    pub(crate) sums: bool,
    pub(crate) extremes: bool,
    pub(crate) lasts: bool,
}

impl Columns {
    pub(crate) const ALL: Self = Self { sums: true, extremes: true, lasts: true };
}

/// The chunk of a series. The rollups are not none.
pub(crate) fn encode(id: SeriesId, rollups: &Rollups) -> Result<Vec<u8>, Malformed> {
    let mut out = vec![VERSION];
    put_varint(&mut out, rollups.len() as u64);
    chunk::encode_times(&mut out, &rollups.starts)?;
    let of = |column: fn(&Rollup) -> f64| rollups.rollups.iter().map(column).collect::<Vec<f64>>();
    let sums = of(|rollup| rollup.sum);
    put_column(&mut out, &rollups.rollups.iter().map(|rollup| rollup.count).collect::<Vec<u64>>(), None)?;
    put_column(&mut out, &sums, None)?;
    put_column(&mut out, &of(|rollup| rollup.min), Some(&sums))?;
    put_column(&mut out, &of(|rollup| rollup.max), Some(&sums))?;
    put_column(&mut out, &of(|rollup| rollup.last), Some(&sums))?;
    let offsets = rollups.iter().map(|(start, rollup)| rollup.last_at.abs_diff(start)).collect::<Vec<u64>>();
    put_column(&mut out, &offsets, None)?;
    out.extend_from_slice(&chunk::checksum(id, &out).to_le_bytes());
    Ok(out)
}

/// A number of eight bytes.
trait Bits: Number {
    fn bits(self) -> u64;
    fn from_bits(bits: u64) -> Self;
}

impl Bits for u64 {
    fn bits(self) -> u64 {
        self
    }

    fn from_bits(bits: u64) -> Self {
        bits
    }
}

impl Bits for f64 {
    fn bits(self) -> u64 {
        self.to_bits()
    }

    fn from_bits(bits: u64) -> Self {
        Self::from_bits(bits)
    }
}

fn put_column<T: Bits>(out: &mut Vec<u8>, column: &[T], sums: Option<&[T]>) -> Result<(), Malformed> {
    let are_same = |left: &[T], right: &[T]| left.iter().zip(right).all(|(left, right)| left.bits() == right.bits());
    let first = column.first().map_or(0, |first| first.bits());
    let (layout, bytes) = if column.iter().all(|number| number.bits() == first) {
        (SAME, first.to_le_bytes().to_vec())
    } else if sums.is_some_and(|sums| are_same(sums, column)) {
        (AS_SUMS, Vec::new())
    } else {
        let compressed = chunk::compress(column)?;
        if compressed.len() < column.len() * 8 {
            (PCO, compressed)
        } else {
            (PLAIN, column.iter().flat_map(|number| number.bits().to_le_bytes()).collect())
        }
    };
    out.push(layout);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(&bytes);
    Ok(())
}

/// The columns of a chunk as a read takes them. Those of which there are none were not asked for, or are the same as the
/// sums.
#[derive(Debug)]
pub(crate) struct RollupColumns {
    times: Times,
    counts: Vec<u64>,
    sums: Vec<f64>,
    mins: Vec<f64>,
    maxs: Vec<f64>,
    lasts: Vec<f64>,
    offsets: Vec<u64>,
    /// Which of them were asked for.
    has: Columns,
}

impl RollupColumns {
    /// Those of a chunk.
    pub(crate) fn read(id: SeriesId, bytes: &[u8], wanted: Columns) -> Result<Self, Malformed> {
        let (mut reader, count) = chunk::open(id, bytes, &[VERSION])?;
        let columns = Self {
            times: Times::decode(&mut reader, count)?,
            counts: take_column(&mut reader, count, true, false)?,
            sums: take_column(&mut reader, count, true, false)?,
            mins: take_column(&mut reader, count, wanted.extremes, true)?,
            maxs: take_column(&mut reader, count, wanted.extremes, true)?,
            lasts: take_column(&mut reader, count, wanted.lasts, true)?,
            offsets: take_column(&mut reader, count, wanted.lasts, false)?,
            has: wanted,
        };
        if reader.is_empty() { Ok(columns) } else { Err(Malformed("it goes on after its end")) }
    }

    /// Whether a read that needs these finds them.
    pub(crate) const fn has(&self, wanted: Columns) -> bool {
        (self.has.extremes || !wanted.extremes) && (self.has.lasts || !wanted.lasts)
    }

    /// What they take in memory.
    pub(crate) fn bytes(&self) -> u64 {
        let numbers = self.counts.capacity() + self.offsets.capacity();
        let values = [&self.sums, &self.mins, &self.maxs, &self.lasts].map(Vec::capacity);
        self.times.bytes() + 8 * (numbers + values.iter().sum::<usize>()) as u64
    }

    /// Those whose slots begin from `from` up to but not including `until`.
    pub(crate) fn inside(&self, (from, until): (i64, i64)) -> Inside<'_> {
        Inside { columns: self, places: self.times.inside(from, until) }
    }
}

/// Some rollups of a chunk.
pub(crate) struct Inside<'a> {
    columns: &'a RollupColumns,
    places: Range<usize>,
}

impl Inside<'_> {
    /// The place of the first one among slots of a step from `start` on, when each has the next slot to itself.
    pub(crate) fn first_on(&self, start: Timestamp, step: Step) -> Option<usize> {
        let before = step.millis().checked_mul(i64::try_from(self.places.start).ok()?)?;
        let first = self.columns.times.evenly(step)?.checked_add(before)?;
        let distance = first.checked_sub(start.millis())?;
        if distance % step.millis() == 0 { usize::try_from(distance / step.millis()).ok() } else { None }
    }

    pub(crate) fn counts_and_sums(&self) -> (&[u64], &[f64]) {
        (&self.columns.counts[self.places.clone()], &self.columns.sums[self.places.clone()])
    }

    /// Visits the start, the count and the sum of each, in order.
    pub(crate) fn each_sum(&self, mut visit: impl FnMut(i64, u64, f64)) {
        let (counts, sums) = self.counts_and_sums();
        let sums = counts.iter().zip(sums);
        match self.columns.times.listed() {
            Some(starts) => {
                let starts = &starts[self.places.clone()];
                starts.iter().zip(sums).for_each(|(start, (count, sum))| visit(*start, *count, *sum));
            }
            None => {
                let starts = self.columns.times.iter(self.places.clone());
                starts.zip(sums).for_each(|(start, (count, sum))| visit(start, *count, *sum));
            }
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The starts of slots and their rollups, in order. Columns that were not asked for hold anything.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, Rollup)> {
        let RollupColumns { times, counts, sums, mins, maxs, lasts, offsets, .. } = self.columns;
        let or_sum = |column: &[f64], place: usize| column.get(place).copied().unwrap_or(sums[place]);
        times.iter(self.places.clone()).zip(self.places.clone()).map(move |(start, place)| {
            let rollup = Rollup {
                count: counts[place],
                sum: sums[place],
                min: or_sum(mins, place),
                max: or_sum(maxs, place),
                last: or_sum(lasts, place),
                last_at: start.saturating_add_unsigned(offsets.get(place).copied().unwrap_or(0)),
            };
            (start, rollup)
        })
    }
}

/// Pushes the rollups of a chunk whose slots begin from `from` up to but not including `until`. Columns that are not asked
/// for hold anything. Nothing is pushed unless the whole chunk passes its checks.
pub(crate) fn decode(
    id: SeriesId,
    bytes: &[u8],
    range: (i64, i64),
    wanted: Columns,
    out: &mut Rollups,
) -> Result<(), Malformed> {
    let columns = RollupColumns::read(id, bytes, wanted)?;
    columns.inside(range).iter().for_each(|(start, rollup)| out.push(start, &rollup));
    Ok(())
}

/// A column, or none when it is not wanted. One that may be the same as the sums is none then.
fn take_column<T: Bits>(
    reader: &mut Reader<'_>,
    count: usize,
    wanted: bool,
    may_be_sums: bool,
) -> Result<Vec<T>, Malformed> {
    let layout = reader.u8()?;
    let length = reader.length()?;
    let bytes = reader.take(length)?;
    if !wanted {
        return Ok(Vec::new());
    }
    match layout {
        SAME if bytes.len() == 8 => Ok(vec![T::from_bits(Reader::new(bytes).u64()?); count]),
        PCO => chunk::decompress(bytes, count),
        PLAIN if bytes.len() == count * 8 => {
            let (numbers, _) = bytes.as_chunks::<8>();
            Ok(numbers.iter().map(|number| T::from_bits(u64::from_le_bytes(*number))).collect())
        }
        AS_SUMS if may_be_sums && bytes.is_empty() => Ok(Vec::new()),
        _ => Err(Malformed("the layout of a column is unknown")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_all(id: SeriesId, bytes: &[u8]) -> Result<Rollups, Malformed> {
        let mut rollups = Rollups::default();
        decode(id, bytes, (i64::MIN, i64::MAX), Columns::ALL, &mut rollups)?;
        Ok(rollups)
    }

    fn rollup() -> impl Strategy<Value = Rollup> {
        let value = || prop_oneof![0..3_i32, -1000..1000_i32].prop_map(f64::from);
        prop_oneof![
            (1..9_u64, value(), value(), value(), value(), 0..60_000_i64)
                .prop_map(|(count, sum, min, max, last, last_at)| Rollup { count, sum, min, max, last, last_at }),
            value().prop_map(|value| Rollup::of(0, value)),
        ]
    }

    proptest! {
        #[test]
        fn rollups_read_back(
            gaps in prop::collection::vec((1..4_i64, rollup()), 1..200),
            first in -9..9_i64,
            range in (0..300_i64, 0..300_i64),
        ) {
            let mut rollups = Rollups::default();
            let mut start = first * 60_000;
            for (gap, rollup) in gaps {
                rollups.push(start, &Rollup { last_at: start + rollup.last_at, ..rollup });
                start += gap * 60_000;
            }
            let bytes = encode(7, &rollups).unwrap();
            prop_assert_eq!(&decode_all(7, &bytes).unwrap(), &rollups);
            prop_assert!(decode_all(8, &bytes).is_err());

            let (from, until) = (range.0 * 60_000, (range.0 + range.1) * 60_000);
            let mut some = Rollups::default();
            let sums = Columns { sums: true, extremes: false, lasts: false };
            decode(7, &bytes, (from, until), sums, &mut some).unwrap();
            let expected: Vec<_> = rollups.iter().filter(|(start, _)| (from..until).contains(start)).collect();
            prop_assert_eq!(some.len(), expected.len());
            for ((start, rollup), (expected_start, expected)) in some.iter().zip(expected) {
                prop_assert_eq!((start, rollup.count, rollup.sum), (expected_start, expected.count, expected.sum));
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let mut rollups = Rollups::default();
        for slot in 0..20 {
            rollups.push(slot * 60, &Rollup { sum: (slot * 7 % 5) as f64, ..Rollup::of(slot * 60 + 50, 1.0) });
        }
        let good = encode(1, &rollups).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_all(1, &bad).is_err(), "bit {bit}");
        }
    }
}
