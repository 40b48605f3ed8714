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
use crate::record::{self, Records};
use crate::sealed::sync_directory;
use crate::{SeriesId, StoreError};

pub(crate) const DIRECTORY: &str = "log";
const MAGIC: [u8; 8] = *b"STATLOG\0";
const VERSION: u16 = 1;
const HEADER_BYTES: u64 = 8 + 2 + 2 + 8 + 4;

/// One point on its way into a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LogPoint {
    pub(crate) id: SeriesId,
    pub(crate) timestamp: Timestamp,
    pub(crate) value: f64,
}

/// Which batch a record is of, and in how many files the batch is.
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

/// Appends to `out` the record of the points of one batch in one window. The points are in the order of their series.
pub(crate) fn encode_batch(
    out: &mut Vec<u8>,
    mark: BatchMark,
    window: TimeRange,
    points: &[LogPoint],
) -> std::io::Result<()> {
    let mut payload = Vec::with_capacity(points.len() * 10 + 32);
    put_signed(&mut payload, window.from.millis());
    put_varint(&mut payload, window.millis().unsigned_abs());
    put_varint(&mut payload, points.len() as u64);
    let mut previous = 0_i64;
    for point in points {
        put_signed(&mut payload, i64::from(point.id) - previous);
        previous = i64::from(point.id);
    }
    let first = points.first().map_or(0, |point| point.timestamp.millis());
    put_signed(&mut payload, first.saturating_sub(window.from.millis()));
    let same_instant = points.iter().all(|point| point.timestamp.millis() == first);
    payload.push(u8::from(!same_instant));
    if !same_instant {
        let mut previous = first;
        for point in points {
            put_signed(&mut payload, point.timestamp.millis().wrapping_sub(previous));
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
    record::encode(out, mark.sequence, mark.parts, &payload)
}

/// What a record holds: its window and its points.
pub(crate) fn decode_batch(payload: &[u8]) -> Result<(TimeRange, Vec<LogPoint>), Malformed> {
    let mut reader = Reader::new(payload);
    let start = reader.signed()?;
    let window = TimeRange::new(
        Timestamp::from_millis(start),
        Timestamp::from_millis(start.saturating_add_unsigned(reader.varint()?)),
    );
    let count = reader.length()?;
    if count > reader.remaining() {
        return Err(Malformed("it names more points than it holds"));
    }
    let mut points = Vec::with_capacity(count);
    let mut id = 0_i64;
    for _ in 0..count {
        id = id.wrapping_add(reader.signed()?);
        let id = SeriesId::try_from(id).map_err(|_| Malformed("a series' number in it is impossible"))?;
        points.push(LogPoint { id, timestamp: window.from, value: 0.0 });
    }
    let mut time = start.saturating_add(reader.signed()?);
    let times_differ = reader.u8()? != 0;
    for point in &mut points {
        if times_differ {
            time = time.wrapping_add(reader.signed()?);
        }
        point.timestamp = Timestamp::from_millis(time);
        if !window.contains(point.timestamp) {
            return Err(Malformed("a point in it lies outside of its window"));
        }
    }
    let columns = reader.take(count * 8)?;
    for (place, point) in points.iter_mut().enumerate() {
        let bytes = std::array::from_fn(|weight| columns[weight * count + place]);
        point.value = f64::from_le_bytes(bytes);
    }
    if reader.is_empty() { Ok((window, points)) } else { Err(Malformed("it goes on after its end")) }
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
        let mut bytes = Vec::new();
        encode_batch(&mut bytes, BatchMark { sequence: 5, parts: 2 }, WINDOW, points).unwrap();
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
        ) {
            let points: Vec<_> = points.into_iter()
                .map(|(id, millis, value)| LogPoint { id, timestamp: Timestamp::from_millis(millis), value })
                .collect();
            let directory = tempfile::tempdir().unwrap();
            let mut writer = LogWriter::create(directory.path(), 1).unwrap();
            writer.append(&encode(&points)).unwrap();
            let mut reader = LogReader::open(&path_of(directory.path(), 1), 1).unwrap();
            let record = reader.records.next().unwrap().unwrap();
            prop_assert_eq!((record.sequence, record.parts), (5, 2));
            let (window, read) = decode_batch(&record.payload).unwrap();
            prop_assert_eq!(window, WINDOW);
            let bits = |points: &[LogPoint]| points.iter().map(|p| (p.id, p.timestamp, p.value.to_bits())).collect::<Vec<_>>();
            prop_assert_eq!(bits(&read), bits(&points));
        }

        #[test]
        fn no_payload_panics(payload: Vec<u8>) {
            let _ = decode_batch(&payload);
        }
    }
}
