//! A chunk: the points of one series in one block, compressed.
//!
//! Timestamps cost a few bytes when the series ticks evenly, values are pco's, bit for bit those that were given. The
//! checksum covers the series' number too, so that a chunk under the wrong key is as damaged as one with a flipped bit.
//! Layout in `docs/format/chunk.md`.

use std::ops::Range;

use pco::standalone::{simple_compress, simple_decompress_into};
use pco::{ChunkConfig, data_types::Number};
use statline_series::{Sketch, Step};

use crate::bytes::{Malformed, Reader, put_signed, put_varint};
use crate::points::Points;
use crate::rollup::Rollups;
use crate::sketch_column::Sketches;
use crate::{Form, SeriesId, pages, rollup_chunk, sketch_chunk};

/// A chunk of points, version 1.
const VERSION: u8 = 1;
const PCO_LEVEL: usize = 4;
/// Times as a start, a step, and runs of slots in turn filled and empty.
const TIMES_RUNS: u8 = 0;
/// Times as signed varints, each the distance from the one before.
const TIMES_DISTANCES: u8 = 1;
/// Times by pco.
const TIMES_PCO: u8 = 2;
/// Values by pco.
const VALUES_PCO: u8 = 0;
/// One value for all.
const VALUES_SAME: u8 = 1;
/// Values as they are.
const VALUES_PLAIN: u8 = 2;
/// Values by pco, in pages.
const VALUES_PAGES: u8 = 3;
/// Whole numbers by pco, in pages, to be divided by a power of ten.
const VALUES_DECIMALS: u8 = 4;
/// The highest of those powers.
const MOST_DIGITS: u8 = 6;
/// Whole numbers below this are the same as doubles.
const END_OF_WHOLE: f64 = (1_u64 << 53) as f64;
/// More points than any block holds: a window of 32 days with a point a millisecond.
const MOST_POINTS: usize = 32 * 24 * 3600 * 1000 + 1;

/// The chunk of a series. The points are not empty.
pub(crate) fn encode(id: SeriesId, points: &Points) -> Result<Vec<u8>, Malformed> {
    let mut out = vec![VERSION];
    put_varint(&mut out, points.len() as u64);
    encode_times(&mut out, &points.timestamps)?;
    encode_values(&mut out, &points.values)?;
    out.extend_from_slice(&checksum(id, &out).to_le_bytes());
    Ok(out)
}

pub(crate) fn checksum(id: SeriesId, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&id.to_be_bytes());
    hasher.update(body);
    hasher.finalize()
}

pub(crate) fn encode_times(out: &mut Vec<u8>, times: &[i64]) -> Result<(), Malformed> {
    let first = times.first().copied().ok_or(Malformed("a chunk needs a point"))?;
    let irregular = encode_irregular_times(times)?;
    if let Some(runs) = encode_runs(times, irregular.1.len()) {
        out.push(TIMES_RUNS);
        put_signed(out, first);
        out.extend_from_slice(&runs);
        return Ok(());
    }
    let (layout, bytes) = irregular;
    out.push(layout);
    put_signed(out, first);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(&bytes);
    Ok(())
}

/// Step, number of runs, runs; `None` when that takes more than `most` bytes.
fn encode_runs(times: &[i64], most: usize) -> Option<Vec<u8>> {
    let step = times.windows(2).fold(0_u64, |step, pair| gcd(step, pair[1].abs_diff(pair[0]))).max(1);
    let mut runs = vec![1_u64];
    for pair in times.windows(2) {
        let empty = pair[1].abs_diff(pair[0]) / step - 1;
        if empty > 0 {
            runs.push(empty);
            runs.push(0);
            if runs.len() > most + 2 {
                return None;
            }
        }
        *runs.last_mut()? += 1;
    }
    let mut bytes = Vec::with_capacity(runs.len() + 8);
    put_varint(&mut bytes, step);
    put_varint(&mut bytes, runs.len() as u64);
    for run in &runs {
        put_varint(&mut bytes, *run);
    }
    (runs.len() == 1 || bytes.len() <= most).then_some(bytes)
}

const fn gcd(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

fn encode_irregular_times(times: &[i64]) -> Result<(u8, Vec<u8>), Malformed> {
    let mut distances = Vec::new();
    for pair in times.windows(2) {
        put_varint(&mut distances, pair[1].abs_diff(pair[0]));
    }
    // Below this, pco's own header outweighs what it saves.
    if distances.len() < 32 {
        return Ok((TIMES_DISTANCES, distances));
    }
    let compressed = compress(times)?;
    Ok(if compressed.len() < distances.len() { (TIMES_PCO, compressed) } else { (TIMES_DISTANCES, distances) })
}

pub(crate) fn encode_values(out: &mut Vec<u8>, values: &[f64]) -> Result<(), Malformed> {
    let first = values.first().copied().unwrap_or(f64::NAN);
    if values.iter().all(|value| value.to_bits() == first.to_bits()) {
        out.push(VALUES_SAME);
        out.extend_from_slice(&first.to_le_bytes());
        return Ok(());
    }
    if let Some((digits, decimals)) = decimals_of(values) {
        out.push(VALUES_DECIMALS);
        out.push(digits);
        out.extend_from_slice(&pages::encode(&decimals, PCO_LEVEL)?);
        return Ok(());
    }
    let in_pages = pages::are_worth_it(values.len());
    let compressed = if in_pages { pages::encode(values, PCO_LEVEL)? } else { compress(values)? };
    if compressed.len() < values.len() * 8 {
        out.push(if in_pages { VALUES_PAGES } else { VALUES_PCO });
        out.extend_from_slice(&compressed);
    } else {
        out.push(VALUES_PLAIN);
        values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    }
    Ok(())
}

/// The values as whole numbers over the same power of ten, where each of them is that to the bit. Most that is measured is
/// sent with a few digits, and takes less so than as doubles.
fn decimals_of(values: &[f64]) -> Option<(u8, Vec<i64>)> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "what comes of it is compared with the value"
    )]
    let decimal = |value: f64, scale: f64| {
        let scaled = (value * scale).round();
        let whole = scaled as i64;
        // A negative zero is no whole number.
        let is_exact = scaled.abs() < END_OF_WHOLE && (whole as f64 / scale).to_bits() == value.to_bits();
        is_exact.then_some(whole)
    };
    let mut digits = 0;
    for value in values {
        while decimal(*value, scale_of(digits)).is_none() {
            digits += 1;
            if digits > MOST_DIGITS {
                return None;
            }
        }
    }
    // What has few digits has many as well, but for very large numbers.
    let decimals = values.iter().map(|value| decimal(*value, scale_of(digits))).collect::<Option<Vec<_>>>()?;
    Some((digits, decimals))
}

fn scale_of(digits: u8) -> f64 {
    10_f64.powi(i32::from(digits))
}

pub(crate) fn compress<T: Number>(numbers: &[T]) -> Result<Vec<u8>, Malformed> {
    let config = ChunkConfig::default().with_compression_level(PCO_LEVEL);
    simple_compress(numbers, &config).map_err(|_| Malformed("its numbers cannot be compressed"))
}

pub(crate) fn decompress<T: Number>(bytes: &[u8], count: usize) -> Result<Vec<T>, Malformed> {
    let mut numbers = vec![T::default(); count];
    let progress =
        simple_decompress_into(bytes, &mut numbers).map_err(|_| Malformed("its numbers cannot be decompressed"))?;
    if progress.finished && progress.n_processed == count {
        Ok(numbers)
    } else {
        Err(Malformed("it holds another number of points than it names"))
    }
}

/// Pushes the points of a chunk from `from` up to but not including `until`, in time order. Nothing is pushed unless the
/// whole chunk passes its checks.
pub(crate) fn decode(id: SeriesId, chunk: &[u8], from: i64, until: i64, out: &mut Points) -> Result<(), Malformed> {
    let opened = Opened::new(id, chunk)?;
    let inside = opened.inside(from, until);
    opened.push_to(out, inside)
}

/// A chunk of points whose checksum is right and whose values are still to be decoded.
pub(crate) struct Opened<'a> {
    times: Times,
    count: usize,
    values: Reader<'a>,
}

impl<'a> Opened<'a> {
    pub(crate) fn new(id: SeriesId, chunk: &'a [u8]) -> Result<Self, Malformed> {
        let (mut values, count) = open(id, chunk, &[VERSION])?;
        let times = Times::decode(&mut values, count)?;
        Ok(Self { times, count, values })
    }

    /// How many points there are.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// The places of those from `from` up to but not including `until`.
    pub(crate) fn inside(&self, from: i64, until: i64) -> Range<usize> {
        self.times.inside(from, until)
    }

    /// Pushes the points of some places, or none when they do not pass their checks.
    pub(crate) fn push_to(&self, out: &mut Points, places: Range<usize>) -> Result<(), Malformed> {
        if places.is_empty() {
            return Ok(());
        }
        self.decode_values(places.clone(), &mut out.values)?;
        self.times.push_to(&mut out.timestamps, places);
        Ok(())
    }

    /// All of it, decoded.
    pub(crate) fn columns(self) -> Result<PointColumns, Malformed> {
        let mut values = Vec::with_capacity(self.count);
        self.decode_values(0..self.count, &mut values)?;
        Ok(PointColumns { times: self.times, values })
    }

    fn decode_values(&self, places: Range<usize>, out: &mut Vec<f64>) -> Result<(), Malformed> {
        let mut reader = self.values.clone();
        let layout = reader.u8()?;
        let body = reader.take(reader.remaining())?;
        match layout {
            VALUES_SAME => {
                let value = Reader::new(body).u64().map(f64::from_bits)?;
                out.resize(out.len() + places.len(), value);
            }
            VALUES_PCO => out.extend_from_slice(&decompress::<f64>(body, self.count)?[places]),
            VALUES_PAGES => pages::decode(body, self.count, places, out)?,
            VALUES_DECIMALS => {
                let (digits, body) = body.split_first().ok_or(Malformed("it is too short"))?;
                if *digits > MOST_DIGITS {
                    return Err(Malformed("its decimals have an impossible number of digits"));
                }
                let mut decimals: Vec<i64> = Vec::with_capacity(places.len());
                pages::decode(body, self.count, places, &mut decimals)?;
                let scale = scale_of(*digits);
                #[expect(clippy::cast_precision_loss, reason = "those that were written are below 2^53")]
                out.extend(decimals.iter().map(|decimal| *decimal as f64 / scale));
            }
            VALUES_PLAIN if body.len() == self.count * 8 => {
                let (values, _) = body.as_chunks::<8>();
                out.extend(values[places].iter().map(|bytes| f64::from_le_bytes(*bytes)));
            }
            _ => return Err(Malformed("the layout of its values is unknown")),
        }
        Ok(())
    }
}

/// All points of a chunk.
#[derive(Debug)]
pub(crate) struct PointColumns {
    times: Times,
    values: Vec<f64>,
}

impl PointColumns {
    /// Pushes the points from `from` up to but not including `until`.
    pub(crate) fn push_to(&self, out: &mut Points, from: i64, until: i64) {
        let inside = self.times.inside(from, until);
        out.values.extend_from_slice(&self.values[inside.clone()]);
        self.times.push_to(&mut out.timestamps, inside);
    }

    /// What it takes in memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.times.bytes() + 8 * self.values.capacity() as u64
    }
}

/// The instants of a chunk.
#[derive(Debug)]
pub(crate) enum Times {
    /// So many from the first on, each so much later than the one before.
    Even {
        first: i64,
        step: u64,
        count: usize,
    },
    Listed(Vec<i64>),
}

impl Times {
    pub(crate) fn decode(reader: &mut Reader<'_>, count: usize) -> Result<Self, Malformed> {
        let mut ahead = reader.clone();
        if ahead.u8()? == TIMES_RUNS {
            let first = ahead.signed()?;
            let step = ahead.varint()?;
            if ahead.length()? == 1 && ahead.length()? == count {
                *reader = ahead;
                return Ok(Self::Even { first, step, count });
            }
        }
        decode_times(reader, count).map(Self::Listed)
    }

    /// The places of the instants from `from` up to but not including `until`.
    pub(crate) fn inside(&self, from: i64, until: i64) -> Range<usize> {
        let begin = self.first_from(from);
        begin..self.first_from(until).max(begin)
    }

    /// What they take in memory.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Even { .. } => 0,
            Self::Listed(times) => 8 * times.capacity() as u64,
        }
    }

    /// The place of the first instant from `time` on.
    fn first_from(&self, time: i64) -> usize {
        match self {
            Self::Even { first, step, count } if time > *first => {
                let places = time.abs_diff(*first).div_ceil((*step).max(1));
                usize::try_from(places).unwrap_or(usize::MAX).min(*count)
            }
            Self::Even { .. } => 0,
            Self::Listed(times) => times.partition_point(|known| *known < time),
        }
    }

    fn push_to(&self, out: &mut Vec<i64>, places: Range<usize>) {
        match self {
            Self::Even { .. } => out.extend(self.iter(places)),
            Self::Listed(times) => out.extend_from_slice(&times[places]),
        }
    }

    /// The instants, unless they are even.
    pub(crate) fn listed(&self) -> Option<&[i64]> {
        match self {
            Self::Even { .. } => None,
            Self::Listed(times) => Some(times),
        }
    }

    /// The instants of some places.
    pub(crate) fn iter(&self, places: Range<usize>) -> impl Iterator<Item = i64> {
        places.map(move |place| match self {
            Self::Even { first, step, .. } => first.saturating_add_unsigned(step.saturating_mul(place as u64)),
            Self::Listed(times) => times[place],
        })
    }

    /// The first instant of all, when each of the others is a step after the one before.
    pub(crate) fn evenly(&self, by: Step) -> Option<i64> {
        match self {
            Self::Even { first, step, count } if *count == 1 || *step == by.millis().unsigned_abs() => Some(*first),
            _ => None,
        }
    }
}

/// The instants of the first and the last point, or sketch, of a chunk, and how many there are.
pub(crate) fn span(id: SeriesId, chunk: &[u8]) -> Result<(i64, i64, usize), Malformed> {
    let (mut reader, count) = open(id, chunk, &[VERSION, rollup_chunk::VERSION, sketch_chunk::VERSION])?;
    let times = decode_times(&mut reader, count)?;
    match (times.first(), times.last()) {
        (Some(first), Some(last)) => Ok((*first, *last, count)),
        _ => Err(Malformed("it has no points")),
    }
}

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) form: Form,
    /// The instants of the first and the last point, or sketch.
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// How many there are.
    pub(crate) count: usize,
}

/// Reads all of a chunk, of whatever version, and tells what it holds.
pub(crate) fn verify(id: SeriesId, chunk: &[u8]) -> Result<Summary, Malformed> {
    const OUT_OF_ORDER: Malformed = Malformed("its instants are not in order");
    let (first, last, count) = span(id, chunk)?;
    if chunk.first() == Some(&sketch_chunk::VERSION) {
        let mut sketches = Sketches::new();
        sketch_chunk::decode(id, chunk, i64::MIN, i64::MAX, &mut sketches)?;
        if sketches.values().any(|sketch| Sketch::decode(sketch).is_err()) {
            return Err(Malformed("a sketch in it is none"));
        }
        let in_order = sketches.len() == count && first <= last;
        return if in_order { Ok(Summary { form: Form::Sketches, first, last, count }) } else { Err(OUT_OF_ORDER) };
    }
    if chunk.first() == Some(&rollup_chunk::VERSION) {
        let mut rollups = Rollups::default();
        rollup_chunk::decode(id, chunk, (i64::MIN, i64::MAX), rollup_chunk::Columns::ALL, &mut rollups)?;
        if rollups.len() != count || !rollups.starts.is_sorted_by(|left, right| left < right) {
            return Err(OUT_OF_ORDER);
        }
        if rollups.rollups.iter().any(|rollup| rollup.count == 0) {
            return Err(Malformed("a rollup in it is of no value"));
        }
        return Ok(Summary { form: Form::Points, first, last, count });
    }
    let mut points = Points::default();
    decode(id, chunk, i64::MIN, i64::MAX, &mut points)?;
    if points.len() != count || !points.timestamps.is_sorted_by(|left, right| left < right) {
        return Err(OUT_OF_ORDER);
    }
    if points.values.iter().any(|value| value.is_nan()) {
        return Err(Malformed("a value in it is not a number"));
    }
    Ok(Summary { form: Form::Points, first, last, count })
}

/// How many points, or sketches, a chunk says it has, unchecked; 0 when it does not say.
pub(crate) fn count(chunk: &[u8]) -> usize {
    let mut reader = Reader::new(chunk);
    reader.u8().and_then(|_| reader.length()).unwrap_or(0)
}

/// A reader past the head of a chunk of one of these versions whose checksum is right, and the number of points.
pub(crate) fn open<'a>(id: SeriesId, chunk: &'a [u8], versions: &[u8]) -> Result<(Reader<'a>, usize), Malformed> {
    let (body, stored) = chunk.split_last_chunk::<4>().ok_or(Malformed("it is too short"))?;
    if checksum(id, body) != u32::from_le_bytes(*stored) {
        return Err(Malformed("its checksum does not match"));
    }
    let mut reader = Reader::new(body);
    if !versions.contains(&reader.u8()?) {
        return Err(Malformed("its version is unknown"));
    }
    let count = reader.length()?;
    if count == 0 || count > MOST_POINTS {
        return Err(Malformed("it names an impossible number of points"));
    }
    Ok((reader, count))
}

pub(crate) fn decode_times(reader: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, Malformed> {
    const WRONG_COUNT: Malformed = Malformed("it holds another number of instants than it names");
    let layout = reader.u8()?;
    let first = reader.signed()?;
    if layout == TIMES_RUNS {
        return decode_runs(reader, first, count);
    }
    let length = reader.length()?;
    let bytes = reader.take(length)?;
    match layout {
        TIMES_DISTANCES => {
            let mut distances = Reader::new(bytes);
            let mut times = Vec::with_capacity(count);
            let mut time = first;
            times.push(time);
            while !distances.is_empty() {
                time = time.saturating_add_unsigned(distances.varint()?);
                times.push(time);
            }
            if times.len() == count { Ok(times) } else { Err(WRONG_COUNT) }
        }
        TIMES_PCO => decompress(bytes, count),
        _ => Err(Malformed("the layout of its times is unknown")),
    }
}

fn decode_runs(reader: &mut Reader<'_>, first: i64, count: usize) -> Result<Vec<i64>, Malformed> {
    let step = reader.varint()?;
    let runs = reader.length()?;
    let mut times = Vec::with_capacity(count);
    let mut time = first;
    for run in 0..runs {
        let length = reader.varint()?;
        if run % 2 == 1 {
            time = time.saturating_add_unsigned(step.saturating_mul(length));
            continue;
        }
        if length > (count - times.len()) as u64 {
            return Err(Malformed("it holds more instants than it names"));
        }
        for _ in 0..length {
            times.push(time);
            time = time.saturating_add_unsigned(step);
        }
    }
    if times.len() == count { Ok(times) } else { Err(Malformed("it holds fewer instants than it names")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn points(of: impl IntoIterator<Item = (i64, f64)>) -> Points {
        let mut points = Points::default();
        of.into_iter().for_each(|(timestamp, value)| points.push(timestamp, value));
        points
    }

    fn bits(points: &Points) -> Vec<(i64, u64)> {
        points.timestamps.iter().copied().zip(points.values.iter().map(|value| value.to_bits())).collect()
    }

    fn decode_all(id: SeriesId, chunk: &[u8]) -> Result<Points, Malformed> {
        let mut decoded = Points::default();
        decode(id, chunk, i64::MIN, i64::MAX, &mut decoded)?;
        Ok(decoded)
    }

    #[test]
    fn a_chunk_with_a_right_checksum_and_wrong_contents_is_told() {
        let not_a_number = encode(1, &points([(10, 1.0), (20, f64::NAN)])).unwrap();
        assert_eq!(verify(1, &not_a_number), Err(Malformed("a value in it is not a number")));
        let no_sketch = Sketches::from([(5, vec![1, 2, 3])]);
        let chunk = sketch_chunk::encode(1, &no_sketch).unwrap();
        assert_eq!(verify(1, &chunk), Err(Malformed("a sketch in it is none")));
    }

    #[test]
    fn an_even_tick_costs_next_to_nothing() {
        let even = points((0..720).map(|slot| (1_763_800_000_000 + slot * 10_000, 5.0)));
        assert!(encode(1, &even).unwrap().len() < 32);
        let gap = points((0..720).filter(|slot| *slot != 300).map(|slot| (1_763_800_000_000 + slot * 10_000, 5.0)));
        assert!(encode(1, &gap).unwrap().len() < 32);
    }

    #[test]
    fn decimals_come_back_to_the_bit_and_what_is_none_is_left_as_it_is() {
        for values in [
            vec![0.0, -0.0, 1.0],
            vec![0.1, 0.2, -0.3],
            vec![0.1, 1.0 / 3.0],
            vec![0.1, 1e300],
            vec![f64::INFINITY, 1.0],
            vec![9_007_199_254_740_993.0, 0.5],
            vec![1e-7, 1.0],
        ] {
            let all = points((0..).step_by(10_000).zip(values.iter().copied()));
            let decoded = decode_all(1, &encode(1, &all).unwrap()).unwrap();
            assert_eq!(bits(&decoded), bits(&all), "{values:?}");
        }
        let decimals = decimals_of(&[0.1, 2.25, -3.0]);
        assert_eq!(decimals, Some((2, vec![10, 225, -300])));
        assert_eq!(decimals_of(&[0.0, -0.0]), None);
    }

    #[test]
    fn every_flipped_bit_and_a_wrong_series_are_noticed() {
        let chunk = encode(9, &points((0..40_i32).map(|slot| (i64::from(slot) * 977, f64::from(slot).sin())))).unwrap();
        assert!(decode_all(9, &chunk).is_ok());
        assert_eq!(decode_all(10, &chunk), Err(Malformed("its checksum does not match")));
        assert_eq!(verify(9, &chunk), Ok(Summary { form: Form::Points, first: 0, last: 39 * 977, count: 40 }));
        for bit in 0..chunk.len() * 8 {
            let mut bad = chunk.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_all(9, &bad).is_err(), "bit {bit}");
            assert!(verify(9, &bad).is_err(), "bit {bit}");
        }
        for length in 0..chunk.len() {
            assert!(decode_all(9, &chunk[..length]).is_err(), "cut at {length}");
        }
    }

    proptest! {
        #[test]
        fn points_come_back_bit_for_bit(
            map in prop_oneof![
                prop::collection::btree_map(any::<i32>().prop_map(i64::from), prop::num::f64::ANY, 1..80),
                prop::collection::btree_map((0_i64..200).prop_map(|slot| slot * 10_000), prop_oneof![Just(0.0), -5.0..5.0], 1..200),
                prop::collection::btree_map(0_i64..100_000, (0_i32..20).prop_map(f64::from), 1..300),
                (0..9_i32).prop_flat_map(|digits| prop::collection::btree_map(0_i64..90_000, any::<i32>().prop_map(move |whole| f64::from(whole) / 10_f64.powi(digits)), 1..300)),
                prop::collection::vec((0_i32..20).prop_map(f64::from), 1..4000).prop_map(|values| (0..).step_by(25).zip(values).collect()),
            ],
            from in -10_i64..100_000,
            length in 0_i64..1_000_000,
        ) {
            let map: BTreeMap<i64, f64> = map;
            let all = points(map.clone());
            let chunk = encode(3, &all).unwrap();
            prop_assert_eq!(bits(&decode_all(3, &chunk).unwrap()), bits(&all));
            prop_assert_eq!(span(3, &chunk).unwrap(), (all.timestamps[0], all.timestamps[all.len() - 1], all.len()));
            let mut some = Points::default();
            decode(3, &chunk, from, from + length, &mut some).unwrap();
            prop_assert_eq!(bits(&some), bits(&points(map.range(from..from + length).map(|(timestamp, value)| (*timestamp, *value)))));
        }
    }
}
