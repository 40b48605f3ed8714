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
use crate::record::{self, Record, Records};
use crate::sealed::sync_directory;
use crate::{SeriesId, StoreError};

pub(crate) const DIRECTORY: &str = "log";
const MAGIC: [u8; 8] = *b"STATLOG\0";
/// Version 2 knows of records with sketches.
const VERSION: u16 = 2;
const HEADER_BYTES: u64 = 8 + 2 + 2 + 8 + 4;
/// A record of points.
const POINTS: u8 = 0;
/// A record of points, which may be none, and of sketches.
const POINTS_AND_SKETCHES: u8 = 1;

/// One point on its way into a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LogPoint {
    pub(crate) id: SeriesId,
    pub(crate) timestamp: Timestamp,
    pub(crate) value: f64,
}

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
    pub(crate) points: Vec<LogPoint>,
    pub(crate) sketches: Vec<LogSketch>,
}

impl Part {
    pub(crate) const fn new(window: TimeRange) -> Self {
        Self { window, points: Vec::new(), sketches: Vec::new() }
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

/// Appends to `out` the record of what one batch brings to one window.
pub(crate) fn encode_part(out: &mut Vec<u8>, mark: BatchMark, part: &Part) -> std::io::Result<()> {
    let Part { window, points, sketches } = part;
    let mut payload = Vec::with_capacity(points.len() * 10 + sketches.len() * 64 + 32);
    put_signed(&mut payload, window.from.millis());
    put_varint(&mut payload, window.millis().unsigned_abs());
    put_points(&mut payload, *window, points);
    if sketches.is_empty() {
        return record::encode(out, mark.sequence, mark.parts, POINTS, &payload);
    }
    put_varint(&mut payload, sketches.len() as u64);
    put_ids(&mut payload, sketches.iter().map(|sketch| sketch.id));
    for sketch in sketches {
        put_signed(&mut payload, sketch.timestamp.millis().wrapping_sub(window.from.millis()));
    }
    sketches.iter().for_each(|sketch| put_varint(&mut payload, sketch.bytes.len() as u64));
    sketches.iter().for_each(|sketch| payload.extend_from_slice(&sketch.bytes));
    record::encode(out, mark.sequence, mark.parts, POINTS_AND_SKETCHES, &payload)
}

fn put_ids(payload: &mut Vec<u8>, ids: impl Iterator<Item = SeriesId>) {
    let mut previous = 0_i64;
    for id in ids {
        put_signed(payload, i64::from(id) - previous);
        previous = i64::from(id);
    }
}

fn put_points(payload: &mut Vec<u8>, window: TimeRange, points: &[LogPoint]) {
    put_varint(payload, points.len() as u64);
    put_ids(payload, points.iter().map(|point| point.id));
    let first = points.first().map_or(0, |point| point.timestamp.millis());
    put_signed(payload, first.saturating_sub(window.from.millis()));
    let same_instant = points.iter().all(|point| point.timestamp.millis() == first);
    payload.push(u8::from(!same_instant));
    if !same_instant {
        let mut previous = first;
        for point in points {
            put_signed(payload, point.timestamp.millis().wrapping_sub(previous));
            previous = point.timestamp.millis();
        }
    }
    // The bytes of equal weight together: those of the sign and the exponent hardly differ, which zstd sees this way.
    let columns = payload.len();
    payload.resize(columns + points.len() * 8, 0);
    for (place, point) in points.iter().enumerate() {
        for (weight, byte) in point.value.to_le_bytes().into_iter().enumerate() {
            payload[columns + weight * points.len() + place] = byte;
        }
    }
}

/// What a record holds.
pub(crate) fn decode_part(record: &Record) -> Result<Part, Malformed> {
    let mut reader = Reader::new(&record.payload);
    let start = reader.signed()?;
    let window = TimeRange::new(
        Timestamp::from_millis(start),
        Timestamp::from_millis(start.saturating_add_unsigned(reader.varint()?)),
    );
    let points = points(&mut reader, window)?;
    let sketches = match record.kind {
        POINTS => Vec::new(),
        POINTS_AND_SKETCHES => sketches(&mut reader, window)?,
        _ => return Err(Malformed("its kind is unknown")),
    };
    if reader.is_empty() { Ok(Part { window, points, sketches }) } else { Err(Malformed("it goes on after its end")) }
}

/// How many points or sketches follow. Each takes a byte at least.
fn count(reader: &mut Reader<'_>) -> Result<usize, Malformed> {
    let count = reader.length()?;
    if count > reader.remaining() { Err(Malformed("it names more than it holds")) } else { Ok(count) }
}

fn ids(reader: &mut Reader<'_>, count: usize) -> Result<Vec<SeriesId>, Malformed> {
    let mut id = 0_i64;
    let mut next = || {
        id = id.wrapping_add(reader.signed()?);
        SeriesId::try_from(id).map_err(|_| Malformed("a series' number in it is impossible"))
    };
    (0..count).map(|_| next()).collect()
}

fn inside(window: TimeRange, millis: i64) -> Result<Timestamp, Malformed> {
    let timestamp = Timestamp::from_millis(millis);
    if window.contains(timestamp) {
        Ok(timestamp)
    } else {
        Err(Malformed("an instant in it lies outside of its window"))
    }
}

fn points(reader: &mut Reader<'_>, window: TimeRange) -> Result<Vec<LogPoint>, Malformed> {
    let count = count(reader)?;
    let ids = ids(reader, count)?;
    let mut points = Vec::with_capacity(count);
    let mut time = window.from.millis().saturating_add(reader.signed()?);
    let times_differ = reader.u8()? != 0;
    for id in ids {
        if times_differ {
            time = time.wrapping_add(reader.signed()?);
        }
        points.push(LogPoint { id, timestamp: inside(window, time)?, value: 0.0 });
    }
    let columns = reader.take(count * 8)?;
    for (place, point) in points.iter_mut().enumerate() {
        let bytes = std::array::from_fn(|weight| columns[weight * count + place]);
        point.value = f64::from_le_bytes(bytes);
    }
    Ok(points)
}

fn sketches(reader: &mut Reader<'_>, window: TimeRange) -> Result<Vec<LogSketch>, Malformed> {
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

    fn encode(points: &[LogPoint]) -> Vec<u8> {
        encode_both(points, &[])
    }

    fn encode_both(points: &[LogPoint], sketches: &[LogSketch]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let part = Part { window: WINDOW, points: points.to_vec(), sketches: sketches.to_vec() };
        encode_part(&mut bytes, BatchMark { sequence: 5, parts: 2 }, &part).unwrap();
        bytes
    }

    #[test]
    fn a_flush_of_one_instant_is_compact() {
        let timestamp = Timestamp::from_seconds(100);
        let points: Vec<_> = (0..10_000).map(|id| LogPoint { id, timestamp, value: f64::from(id % 7) }).collect();
        assert!(encode(&points).len() < 10_000, "{} bytes for 10,000 points", encode(&points).len());
    }

    #[test]
    fn a_newer_version_is_named_and_a_spoilt_header_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::create(directory.path(), 3).unwrap();
        writer.append(&encode(&[LogPoint { id: 1, timestamp: Timestamp::from_millis(5), value: 1.0 }])).unwrap();
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
            let points: Vec<_> = points.into_iter()
                .map(|(id, millis, value)| LogPoint { id, timestamp: Timestamp::from_millis(millis), value })
                .collect();
            let sketches: Vec<_> = sketches.into_iter()
                .map(|(id, millis, bytes)| LogSketch { id, timestamp: Timestamp::from_millis(millis), bytes })
                .collect();
            let directory = tempfile::tempdir().unwrap();
            let mut writer = LogWriter::create(directory.path(), 1).unwrap();
            writer.append(&encode_both(&points, &sketches)).unwrap();
            let mut reader = LogReader::open(&path_of(directory.path(), 1), 1).unwrap();
            let record = reader.records.next().unwrap().unwrap();
            prop_assert_eq!((record.sequence, record.parts), (5, 2));
            let read = decode_part(&record).unwrap();
            prop_assert_eq!(read.window, WINDOW);
            prop_assert_eq!(read.sketches, sketches);
            let bits = |points: &[LogPoint]| points.iter().map(|p| (p.id, p.timestamp, p.value.to_bits())).collect::<Vec<_>>();
            prop_assert_eq!(bits(&read.points), bits(&points));
        }

        #[test]
        fn no_payload_panics(payload: Vec<u8>, kind in 0_u8..3) {
            let _ = decode_part(&Record { offset: 0, sequence: 1, parts: 1, kind, payload });
        }
    }
}
