//! The log: one file for each window of the head, one record for each batch.
//!
//! What stands here after the disk was waited for is durable; the file goes when the window has become a block. A batch
//! that spans windows is a record in several files, each of which says how many there are, so that after a crash the last
//! batch is there whole or not at all. Layout in `docs/format/log.md`.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use statline_series::{TimeRange, Timestamp};

use crate::bytes::{Malformed, Reader, put_signed, put_varint};
use crate::flush::FlushColumns;
use crate::record::{Record, RecordEncoder, Records};
use crate::sealed::sync_directory;
use crate::value_column::{self, ValueEncoder};
use crate::{SeriesId, StoreError};

pub(crate) const DIRECTORY: &str = "log";
const MAGIC: [u8; 8] = *b"STATLOG\0";
/// Version 2 knows of records with sketches, version 3 of runs of series and of values as decimals.
const VERSION: u16 = 3;
const HEADER_BYTES: u64 = 8 + 2 + 2 + 8 + 4;
/// A record of points as versions 1 and 2 write them.
const OLD_POINTS: u8 = 0;
/// A record of points and of sketches as version 2 writes them.
const OLD_POINTS_AND_SKETCHES: u8 = 1;
/// A record of points.
const POINTS: u8 = 2;
/// A record of points, which may be none, and of sketches.
const POINTS_AND_SKETCHES: u8 = 3;

/// One sketch on its way into a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogSketch {
    pub(crate) id: SeriesId,
    pub(crate) timestamp: Timestamp,
    /// As `Sketch::encode` writes it.
    pub(crate) bytes: Vec<u8>,
}

/// What one batch brings to one window, each kind in the order of the series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) window: TimeRange,
    pub(crate) points: FlushColumns,
    pub(crate) sketches: Vec<LogSketch>,
}

impl Part {
    pub(crate) fn new(window: TimeRange) -> Self {
        Self { window, points: FlushColumns::default(), sketches: Vec::new() }
    }
}

/// Which batch a record is of, and in how many records the batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchMark {
    pub(crate) sequence: u64,
    pub(crate) parts: u32,
}

pub(crate) fn path_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:016}.log"))
}

/// The numbers of the log files in a directory, ascending.
pub(crate) fn list(directory: &Path) -> Result<Vec<u64>, StoreError> {
    let io = |source| StoreError::io("list", directory, source);
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|stem| stem.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// How many log files a directory holds, and their length together. What cannot be read counts as nothing.
pub(crate) fn sizes(directory: &Path) -> (u64, u64) {
    let Ok(numbers) = list(directory) else { return (0, 0) };
    let length = |number| fs::metadata(path_of(directory, number)).map_or(0, |metadata| metadata.len());
    (numbers.len() as u64, numbers.into_iter().map(length).sum())
}

/// Removes log files, and takes those that are durably gone off the list.
pub(crate) fn remove(directory: &Path, dead: &mut Vec<u64>) {
    let mut left = Vec::new();
    for number in dead.iter().copied() {
        match fs::remove_file(path_of(directory, number)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, number, "could not remove a log file whose points are in a block");
                left.push(number);
            }
            _ => {}
        }
    }
    if sync_directory(directory).is_ok() {
        *dead = left;
    }
}

/// A log file open for writing at its end.
#[derive(Debug)]
pub(crate) struct LogWriter {
    pub(crate) number: u64,
    path: PathBuf,
    /// `None` while the handle is closed for others to be open.
    file: Option<File>,
    length: u64,
}

impl LogWriter {
    /// Makes a new file, durably. A failed try leaves none.
    pub(crate) fn create(directory: &Path, number: u64) -> Result<Self, StoreError> {
        let path = path_of(directory, number);
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&[0; 2]);
        header.extend_from_slice(&number.to_le_bytes());
        header.extend_from_slice(&crc32fast::hash(&header).to_le_bytes());
        let made = OpenOptions::new().create_new(true).append(true).open(&path).and_then(|mut file| {
            file.write_all(&header)?;
            file.sync_all()?;
            Ok(file)
        });
        let made = made.map_err(|source| StoreError::io("write", &path, source));
        match made.and_then(|file| sync_directory(directory).map(|()| file)) {
            Ok(file) => Ok(Self { number, path, file: Some(file), length: HEADER_BYTES }),
            Err(error) => {
                // Without its header's end or a record, the file says nothing when it is read.
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// Writes the bytes of one record and waits for the disk. After an error, [`LogWriter::roll_back`] has to succeed
    /// before anything else is written.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path.clone();
        let file = self.file()?;
        file.write_all(bytes)
            .and_then(|()| file.sync_data())
            .map_err(|source| StoreError::io("write", &path, source))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Cuts the file back to a length it had, durably.
    pub(crate) fn roll_back(&mut self, length: u64) -> Result<(), StoreError> {
        let path = self.path.clone();
        let file = self.file()?;
        file.set_len(length)
            .and_then(|()| file.sync_data())
            .map_err(|source| StoreError::io("truncate", &path, source))?;
        self.length = length;
        Ok(())
    }

    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Closes the handle until the next write.
    pub(crate) fn rest(&mut self) {
        self.file = None;
    }

    fn file(&mut self) -> Result<&mut File, StoreError> {
        let file = match self.file.take() {
            Some(file) => file,
            None => OpenOptions::new()
                .append(true)
                .open(&self.path)
                .map_err(|source| StoreError::io("open", &self.path, source))?,
        };
        Ok(self.file.insert(file))
    }
}

/// Writes the records of batches. No record depends on another.
#[derive(Debug, Default)]
pub(crate) struct PartEncoder {
    payload: Vec<u8>,
    record: Vec<u8>,
    values: ValueEncoder,
    /// Made with the first record.
    encoder: Option<RecordEncoder>,
}

impl PartEncoder {
    /// The record of what one batch brings to one window.
    pub(crate) fn encode(&mut self, mark: BatchMark, part: &Part) -> std::io::Result<&[u8]> {
        let Part { window, points, sketches } = part;
        let Self { payload, record, values, encoder } = self;
        payload.clear();
        record.clear();
        put_signed(payload, window.from.millis());
        put_varint(payload, window.millis().unsigned_abs());
        put_points(payload, *window, points);
        values.encode(payload, points.values());
        if !sketches.is_empty() {
            put_sketches(payload, *window, sketches);
        }
        let kind = if sketches.is_empty() { POINTS } else { POINTS_AND_SKETCHES };
        let encoder = match encoder {
            Some(encoder) => encoder,
            None => encoder.insert(RecordEncoder::new()?),
        };
        encoder.encode(record, mark.sequence, mark.parts, kind, payload)?;
        Ok(record)
    }
}

/// Numbers as runs of one after the other.
fn put_id_runs(payload: &mut Vec<u8>, ids: impl Iterator<Item = SeriesId>) {
    let mut ids = ids.map(i64::from).peekable();
    let mut expected = 0;
    while let Some(first) = ids.next() {
        let mut last = first;
        while ids.next_if(|next| *next == last + 1).is_some() {
            last += 1;
        }
        put_signed(payload, first - expected);
        put_varint(payload, (last - first).unsigned_abs());
        expected = last + 1;
    }
}

/// Series and instants of points.
fn put_points(payload: &mut Vec<u8>, window: TimeRange, points: &FlushColumns) {
    put_varint(payload, points.len() as u64);
    if points.is_empty() {
        return;
    }
    put_id_runs(payload, points.ids().iter().copied());
    let first = points.first().millis();
    put_signed(payload, first.saturating_sub(window.from.millis()));
    payload.push(u8::from(points.instants().is_some()));
    let mut previous = first;
    for timestamp in points.instants().unwrap_or_default() {
        put_signed(payload, timestamp.millis().wrapping_sub(previous));
        previous = timestamp.millis();
    }
}

fn put_sketches(payload: &mut Vec<u8>, window: TimeRange, sketches: &[LogSketch]) {
    put_varint(payload, sketches.len() as u64);
    put_id_runs(payload, sketches.iter().map(|sketch| sketch.id));
    for sketch in sketches {
        put_signed(payload, sketch.timestamp.millis().wrapping_sub(window.from.millis()));
    }
    sketches.iter().for_each(|sketch| put_varint(payload, sketch.bytes.len() as u64));
    sketches.iter().for_each(|sketch| payload.extend_from_slice(&sketch.bytes));
}

/// What a record holds.
pub(crate) fn decode_part(record: &Record) -> Result<Part, Malformed> {
    let mut reader = Reader::new(&record.payload);
    let start = reader.signed()?;
    let window = TimeRange::new(
        Timestamp::from_millis(start),
        Timestamp::from_millis(start.saturating_add_unsigned(reader.varint()?)),
    );
    let (points, sketches) = match record.kind {
        OLD_POINTS => (old_points(&mut reader, window)?, Vec::new()),
        OLD_POINTS_AND_SKETCHES => (old_points(&mut reader, window)?, sketches(&mut reader, window, old_ids)?),
        POINTS => (points(&mut reader, window)?, Vec::new()),
        POINTS_AND_SKETCHES => (points(&mut reader, window)?, sketches(&mut reader, window, id_runs)?),
        _ => return Err(Malformed("its kind is unknown")),
    };
    if reader.is_empty() { Ok(Part { window, points, sketches }) } else { Err(Malformed("it goes on after its end")) }
}

/// How many points or sketches follow. Each takes a byte at least.
fn count(reader: &mut Reader<'_>) -> Result<usize, Malformed> {
    let count = reader.length()?;
    if count > reader.remaining() { Err(Malformed("it names more than it holds")) } else { Ok(count) }
}

fn id_runs(reader: &mut Reader<'_>, count: usize) -> Result<Vec<SeriesId>, Malformed> {
    const IMPOSSIBLE: Malformed = Malformed("a series' number in it is impossible");
    let mut ids = Vec::with_capacity(count);
    let mut expected = 0_i64;
    while ids.len() < count {
        let first = expected.checked_add(reader.signed()?).ok_or(IMPOSSIBLE)?;
        let others = reader.varint_u32()?;
        let first = SeriesId::try_from(first).map_err(|_| IMPOSSIBLE)?;
        let last = first.checked_add(others).ok_or(IMPOSSIBLE)?;
        if others as usize >= count - ids.len() {
            return Err(Malformed("it names more series than points"));
        }
        ids.extend(first..=last);
        expected = i64::from(last) + 1;
    }
    Ok(ids)
}

/// Numbers one by one, each less the one before.
fn old_ids(reader: &mut Reader<'_>, count: usize) -> Result<Vec<SeriesId>, Malformed> {
    let mut id = 0_i64;
    let mut next = || {
        id = id.wrapping_add(reader.signed()?);
        SeriesId::try_from(id).map_err(|_| Malformed("a series' number in it is impossible"))
    };
    (0..count).map(|_| next()).collect()
}

const OUTSIDE: Malformed = Malformed("an instant in it lies outside of its window");

fn inside(window: TimeRange, millis: i64) -> Result<Timestamp, Malformed> {
    let timestamp = Timestamp::from_millis(millis);
    if window.contains(timestamp) { Ok(timestamp) } else { Err(OUTSIDE) }
}

/// The instants of points: the first, and every one unless all are the same.
fn instants(
    reader: &mut Reader<'_>,
    window: TimeRange,
    count: usize,
) -> Result<(Timestamp, Vec<Timestamp>), Malformed> {
    let first = window.from.millis().saturating_add(reader.signed()?);
    let mut each = Vec::new();
    if reader.u8()? != 0 {
        each.reserve_exact(count);
        let mut time = first;
        for _ in 0..count {
            time = time.wrapping_add(reader.signed()?);
            each.push(inside(window, time)?);
        }
    }
    let first = Timestamp::from_millis(first);
    if each.is_empty() && count > 0 && !window.contains(first) {
        return Err(OUTSIDE);
    }
    Ok((each.first().copied().unwrap_or(first), each))
}

fn points(reader: &mut Reader<'_>, window: TimeRange) -> Result<FlushColumns, Malformed> {
    let count = count(reader)?;
    if count == 0 {
        return Ok(FlushColumns::default());
    }
    let ids = id_runs(reader, count)?;
    let (first, each) = instants(reader, window, count)?;
    let values = value_column::decode(reader, count)?;
    Ok(FlushColumns::from_columns(ids, values, first, each))
}

fn old_points(reader: &mut Reader<'_>, window: TimeRange) -> Result<FlushColumns, Malformed> {
    let count = count(reader)?;
    let ids = old_ids(reader, count)?;
    let (first, each) = instants(reader, window, count)?;
    let columns = reader.take(count.saturating_mul(8))?;
    let value = |place: usize| f64::from_le_bytes(std::array::from_fn(|weight| columns[weight * count + place]));
    Ok(FlushColumns::from_columns(ids, (0..count).map(value).collect(), first, each))
}

fn sketches(
    reader: &mut Reader<'_>,
    window: TimeRange,
    ids: impl Fn(&mut Reader<'_>, usize) -> Result<Vec<SeriesId>, Malformed>,
) -> Result<Vec<LogSketch>, Malformed> {
    let count = count(reader)?;
    let ids = ids(reader, count)?;
    let mut sketches = Vec::with_capacity(count);
    for id in ids {
        let timestamp = inside(window, window.from.millis().saturating_add(reader.signed()?))?;
        sketches.push(LogSketch { id, timestamp, bytes: Vec::new() });
    }
    let lengths = (0..count).map(|_| reader.length()).collect::<Result<Vec<_>, _>>()?;
    for (sketch, length) in sketches.iter_mut().zip(lengths) {
        sketch.bytes = reader.take(length)?.to_vec();
    }
    Ok(sketches)
}

/// A log file being read.
pub(crate) struct LogReader {
    pub(crate) records: Records,
    /// Whether the header fails its checks; the records say all that it does.
    pub(crate) bad_header: bool,
}

impl LogReader {
    pub(crate) fn open(path: &Path, number: u64) -> Result<Self, StoreError> {
        let io = |doing, source| StoreError::io(doing, path, source);
        let mut file = File::open(path).map_err(|source| io("open", source))?;
        let mut header = [0; HEADER_BYTES as usize];
        let bad_header = match file.read_exact(&mut header) {
            Ok(()) => !check_header(path, &header, number)?,
            // Cut short while it was made, which its records will tell.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => false,
            Err(source) => return Err(io("read", source)),
        };
        Ok(Self { records: Records::of(path, file, HEADER_BYTES)?, bad_header })
    }
}

fn check_header(path: &Path, header: &[u8], number: u64) -> Result<bool, StoreError> {
    let mut reader = Reader::new(header);
    let fields =
        (|| Ok::<_, Malformed>((reader.take(8)?, reader.u16()?, reader.u16()?, reader.u64()?, reader.u32()?)))();
    let Ok((magic, version, _, named, checksum)) = fields else { return Ok(false) };
    if magic != MAGIC || checksum != crc32fast::hash(&header[..header.len() - 4]) {
        return Ok(false);
    }
    if version > VERSION {
        return Err(StoreError::TooNew { path: path.to_owned(), found: version, known: VERSION });
    }
    Ok(named == number)
}

/// Cuts what is wrong off the end of a log file, durably.
pub(crate) fn truncate(path: &Path, length: u64) -> Result<(), StoreError> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|file| {
            file.set_len(length)?;
            file.sync_all()
        })
        .map_err(|source| StoreError::io("truncate", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: TimeRange = TimeRange::new(Timestamp::from_millis(-1000), Timestamp::from_millis(7_200_000));

    type Point = (SeriesId, i64, f64);

    fn columns(points: &[Point]) -> FlushColumns {
        let mut columns = FlushColumns::default();
        points.iter().for_each(|(id, millis, value)| columns.push(*id, Timestamp::from_millis(*millis), *value));
        columns
    }

    fn bits(points: &FlushColumns) -> Vec<(SeriesId, Timestamp, u64)> {
        points.iter().map(|(id, timestamp, value)| (id, timestamp, value.to_bits())).collect()
    }

    fn encode(points: &[Point], sketches: &[LogSketch]) -> Vec<u8> {
        let part = Part { window: WINDOW, points: columns(points), sketches: sketches.to_vec() };
        PartEncoder::default().encode(BatchMark { sequence: 5, parts: 2 }, &part).unwrap().to_vec()
    }

    #[test]
    fn a_flush_of_one_instant_is_compact() {
        let points: Vec<_> = (0..10_000).map(|id| (id, 100_000, f64::from(id % 7))).collect();
        let length = encode(&points, &[]).len();
        assert!(length < 5_000, "{length} bytes for 10,000 points");
    }

    #[test]
    fn a_damaged_record_takes_no_other_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = path_of(directory.path(), 1);
        let mut writer = LogWriter::create(directory.path(), 1).unwrap();
        let flush = |round: i64| (0..40).map(move |id| (id, round * 10_000, f64::from(id) + round as f64 / 10.0));
        let flushes: Vec<Vec<Point>> = (0..3).map(|round| flush(round).collect()).collect();
        let mut ends = vec![writer.length()];
        for flush in &flushes {
            writer.append(&encode(flush, &[])).unwrap();
            ends.push(writer.length());
        }
        let good = fs::read(&path).unwrap();
        for bit in ends[1] * 8..ends[2] * 8 {
            let mut bad = good.clone();
            bad[bit as usize / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bad).unwrap();
            let mut reader = LogReader::open(&path, 1).unwrap();
            for left in [&flushes[0], &flushes[2]] {
                let record = reader.records.next().unwrap().unwrap();
                assert_eq!(bits(&decode_part(&record).unwrap().points), bits(&columns(left)), "bit {bit}");
            }
            assert!(reader.records.next().unwrap().is_none());
            assert_eq!((reader.records.corrupt, reader.records.torn_at), (1, None), "bit {bit}");
        }
    }

    #[test]
    fn records_of_older_versions_are_read() {
        let mut payload = Vec::new();
        put_signed(&mut payload, WINDOW.from.millis());
        put_varint(&mut payload, WINDOW.millis().unsigned_abs());
        put_varint(&mut payload, 3);
        [4, 0, 2].into_iter().for_each(|step| put_signed(&mut payload, step));
        put_signed(&mut payload, 1005);
        payload.push(1);
        [0, 10, -3].into_iter().for_each(|step| put_signed(&mut payload, step));
        let values = [1.5, -0.0, 0.1_f64];
        (0..8).for_each(|weight| payload.extend(values.map(|value| value.to_le_bytes()[weight])));
        let record =
            |kind, payload: &[u8]| Record { offset: 0, sequence: 1, parts: 1, kind, payload: payload.to_vec() };
        let points = columns(&[(4, 5, 1.5), (4, 15, -0.0), (6, 12, 0.1)]);
        assert_eq!(bits(&decode_part(&record(OLD_POINTS, &payload)).unwrap().points), bits(&points));
        put_varint(&mut payload, 1);
        put_signed(&mut payload, 9);
        put_signed(&mut payload, 2000);
        put_varint(&mut payload, 2);
        payload.extend_from_slice(b"xy");
        let both = decode_part(&record(OLD_POINTS_AND_SKETCHES, &payload)).unwrap();
        assert_eq!(bits(&both.points), bits(&points));
        let sketch = LogSketch { id: 9, timestamp: Timestamp::from_millis(1000), bytes: b"xy".to_vec() };
        assert_eq!(both.sketches, [sketch]);
    }

    #[test]
    fn a_newer_version_is_named_and_a_spoilt_header_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::create(directory.path(), 3).unwrap();
        writer.append(&encode(&[(1, 5, 1.0)], &[])).unwrap();
        let path = path_of(directory.path(), 3);
        assert_eq!(list(directory.path()).unwrap(), [3]);
        let good = fs::read(&path).unwrap();
        for bit in 0..HEADER_BYTES as usize * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bad).unwrap();
            let mut reader = LogReader::open(&path, 3).unwrap();
            assert!(reader.bad_header, "bit {bit}");
            assert!(reader.records.next().unwrap().is_some(), "bit {bit}");
        }
        let mut newer = good;
        newer[8] = 9;
        let checksum = crc32fast::hash(&newer[..20]);
        newer[20..24].copy_from_slice(&checksum.to_le_bytes());
        fs::write(&path, &newer).unwrap();
        assert!(matches!(LogReader::open(&path, 3), Err(StoreError::TooNew { found: 9, .. })));
    }

    proptest! {
        #[test]
        fn a_batch_reads_back(
            points in prop::collection::vec((any::<u32>(), -1000_i64..7_200_000, prop::num::f64::ANY), 0..50),
            sketches in prop::collection::vec((any::<u32>(), -1000_i64..7_200_000, any::<Vec<u8>>()), 0..6),
        ) {
            let sketches: Vec<_> = sketches.into_iter()
                .map(|(id, millis, bytes)| LogSketch { id, timestamp: Timestamp::from_millis(millis), bytes })
                .collect();
            let directory = tempfile::tempdir().unwrap();
            let mut writer = LogWriter::create(directory.path(), 1).unwrap();
            writer.append(&encode(&points, &sketches)).unwrap();
            let mut reader = LogReader::open(&path_of(directory.path(), 1), 1).unwrap();
            let record = reader.records.next().unwrap().unwrap();
            prop_assert_eq!((record.sequence, record.parts), (5, 2));
            let read = decode_part(&record).unwrap();
            prop_assert_eq!(read.window, WINDOW);
            prop_assert_eq!(read.sketches, sketches);
            prop_assert_eq!(bits(&read.points), bits(&columns(&points)));
        }

        #[test]
        fn no_payload_panics(payload: Vec<u8>, kind in 0_u8..5) {
            let _ = decode_part(&Record { offset: 0, sequence: 1, parts: 1, kind, payload });
        }
    }
}
