//! Records in a file that only grows: the frame that the log, the catalogue and the events share.
//!
//! Each record carries a checksum of its header and one of its payload, so that a reader can tell a record that was cut
//! short by a crash (the rest of the file is dropped) from one that was damaged later (it is skipped, and what follows is
//! read). Layout in `docs/format/log.md`.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::StoreError;
use crate::bytes::Reader;

/// The bytes that begin every record: `SREC`.
const MARKER: [u8; 4] = *b"SREC";
/// The length of a record's header.
pub(crate) const HEADER_BYTES: usize = 32;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
/// Payloads shorter than this are not worth compressing.
const SHORTEST_COMPRESSED: usize = 64;
const LOG_COMPRESSION_LEVEL: i32 = 1;
/// How much of a file is looked at a time in search of the next good header.
const SEARCH_BYTES: usize = 1 << 16;

/// One record, unpacked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Where it begins in its file.
    pub(crate) offset: u64,
    /// Which batch it is of.
    pub(crate) sequence: u64,
    /// How many records, in as many files, make up the batch.
    pub(crate) parts: u32,
    /// What its payload is, of 16 kinds that the file's page tells; 0 where there is only one.
    pub(crate) kind: u8,
    /// What it carries.
    pub(crate) payload: Vec<u8>,
}

/// Writes records, with what is worth keeping from one to the next.
pub(crate) struct RecordEncoder {
    compressor: zstd::bulk::Compressor<'static>,
    compressed: Vec<u8>,
}

impl std::fmt::Debug for RecordEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordEncoder").finish_non_exhaustive()
    }
}

impl RecordEncoder {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { compressor: zstd::bulk::Compressor::new(LOG_COMPRESSION_LEVEL)?, compressed: Vec::new() })
    }

    /// Appends one record to `out`. The kind is below 16.
    pub(crate) fn encode(
        &mut self,
        out: &mut Vec<u8>,
        sequence: u64,
        parts: u32,
        kind: u8,
        payload: &[u8],
    ) -> std::io::Result<()> {
        debug_assert!(kind < 16);
        self.compressed.clear();
        if payload.len() >= SHORTEST_COMPRESSED {
            self.compressed.reserve(zstd::zstd_safe::compress_bound(payload.len()));
            self.compressor.compress_to_buffer(payload, &mut self.compressed)?;
        }
        let is_shorter = !self.compressed.is_empty() && self.compressed.len() < payload.len();
        let (codec, stored) = if is_shorter { (ZSTD, self.compressed.as_slice()) } else { (PLAIN, payload) };
        let too_long = |_| std::io::Error::new(std::io::ErrorKind::InvalidInput, "a record is at most 4 GiB");
        let start = out.len();
        out.extend_from_slice(&MARKER);
        out.extend_from_slice(&u32::try_from(stored.len()).map_err(too_long)?.to_le_bytes());
        out.extend_from_slice(&u32::try_from(payload.len()).map_err(too_long)?.to_le_bytes());
        out.extend_from_slice(&sequence.to_le_bytes());
        // The codec and the kind take the top byte of the number of parts, which stays far below 2^24.
        out.extend_from_slice(&(parts & 0x00ff_ffff | u32::from(kind << 4 | codec) << 24).to_le_bytes());
        out.extend_from_slice(&crc32fast::hash(stored).to_le_bytes());
        let header_checksum = crc32fast::hash(&out[start..]);
        out.extend_from_slice(&header_checksum.to_le_bytes());
        out.extend_from_slice(stored);
        Ok(())
    }
}

/// Appends one record to `out`. The kind is below 16.
pub(crate) fn encode(out: &mut Vec<u8>, sequence: u64, parts: u32, kind: u8, payload: &[u8]) -> std::io::Result<()> {
    RecordEncoder::new()?.encode(out, sequence, parts, kind, payload)
}

struct Header {
    stored_length: u32,
    raw_length: u32,
    sequence: u64,
    parts: u32,
    kind: u8,
    codec: u8,
    payload_checksum: u32,
}

impl Header {
    /// `None` unless the bytes are a header, whole and undamaged.
    fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (fields, checksum) = bytes.split_last_chunk::<4>()?;
        if !fields.starts_with(&MARKER) || crc32fast::hash(fields) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let mut reader = Reader::new(&fields[MARKER.len()..]);
        let stored_length = reader.u32().ok()?;
        let raw_length = reader.u32().ok()?;
        let sequence = reader.u64().ok()?;
        let parts_and_kinds = reader.u32().ok()?;
        let payload_checksum = reader.u32().ok()?;
        let parts = parts_and_kinds & 0x00ff_ffff;
        let [_, _, _, kinds] = parts_and_kinds.to_le_bytes();
        let (kind, codec) = (kinds >> 4, kinds & 0x0f);
        Some(Self { stored_length, raw_length, sequence, parts, kind, codec, payload_checksum })
    }

    /// The payload as it was before it was stored; `None` when it is damaged.
    fn unpack(&self, stored: Vec<u8>) -> Option<Vec<u8>> {
        if crc32fast::hash(&stored) != self.payload_checksum {
            return None;
        }
        match self.codec {
            PLAIN => Some(stored),
            ZSTD => zstd::bulk::decompress(&stored, self.raw_length as usize)
                .ok()
                .filter(|payload| payload.len() == self.raw_length as usize),
            _ => None,
        }
    }
}

/// What is found in a file, in order.
#[derive(Debug)]
pub(crate) enum Found {
    /// The file's header fails its checks.
    BadHeader,
    Record(Record),
    /// Records that fail their checks, and where the last of them begins.
    Damaged {
        count: u64,
        offset: u64,
    },
    /// The file goes on after its last good record. What follows is short, as of a record that was being written when the
    /// process ended, or is all there and fails its checks.
    Torn {
        offset: u64,
        is_short: bool,
    },
}

/// Reads the records of a file in order, and remembers what was wrong with it.
pub(crate) struct Records {
    path: PathBuf,
    file: BufReader<File>,
    offset: u64,
    length: u64,
    /// Damaged records that were skipped.
    pub(crate) corrupt: u64,
    /// Where the last of them begins.
    pub(crate) corrupt_at: u64,
    /// Where the good part ends, when the file goes on after it.
    pub(crate) torn_at: Option<u64>,
    /// Whether what follows there is less than a record.
    is_short: bool,
}

impl Records {
    /// Records of `file` from `offset` on.
    pub(crate) fn of(path: &Path, mut file: File, offset: u64) -> Result<Self, StoreError> {
        let seek = file.metadata().and_then(|metadata| {
            file.seek(SeekFrom::Start(offset))?;
            Ok(metadata.len())
        });
        let length = seek.map_err(|source| StoreError::io("read", path, source))?;
        let torn_at = (length < offset).then_some(0);
        let file = BufReader::with_capacity(1 << 18, file);
        Ok(Self {
            path: path.to_owned(),
            file,
            offset: offset.min(length),
            length,
            corrupt: 0,
            corrupt_at: 0,
            torn_at,
            is_short: true,
        })
    }

    /// The next good record.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, StoreError> {
        self.advance().map_err(|source| StoreError::io("read", &self.path, source))
    }

    /// Tells all there is.
    pub(crate) fn tell(mut self, mut found: impl FnMut(Found) -> Result<(), StoreError>) -> Result<(), StoreError> {
        loop {
            let before = self.corrupt;
            let record = self.next()?;
            if self.corrupt > before {
                found(Found::Damaged { count: self.corrupt - before, offset: self.corrupt_at })?;
            }
            match record {
                Some(record) => found(Found::Record(record))?,
                None => break,
            }
        }
        self.torn_at.map_or(Ok(()), |offset| found(Found::Torn { offset, is_short: self.is_short }))
    }

    fn advance(&mut self) -> std::io::Result<Option<Record>> {
        while self.torn_at.is_none() && self.offset < self.length {
            let Some(header) = self.read_header()? else {
                self.skip_to_next_header()?;
                continue;
            };
            let offset = self.offset;
            let end = offset + HEADER_BYTES as u64 + u64::from(header.stored_length);
            if end > self.length {
                self.torn_at = Some(offset);
                break;
            }
            let mut stored = vec![0; header.stored_length as usize];
            self.file.read_exact(&mut stored)?;
            self.offset = end;
            let Header { sequence, parts, kind, .. } = header;
            match header.unpack(stored) {
                Some(payload) => return Ok(Some(Record { offset, sequence, parts, kind, payload })),
                None if end == self.length => {
                    self.torn_at = Some(offset);
                    self.is_short = false;
                }
                None => self.skipped(offset),
            }
        }
        Ok(None)
    }

    const fn skipped(&mut self, offset: u64) {
        self.corrupt += 1;
        self.corrupt_at = offset;
    }

    fn read_header(&mut self) -> std::io::Result<Option<Header>> {
        if self.length - self.offset < HEADER_BYTES as u64 {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_BYTES];
        self.file.read_exact(&mut bytes)?;
        Ok(Header::parse(&bytes))
    }

    /// Looks for a good header after the bad one here. Without one, the file is torn here.
    fn skip_to_next_header(&mut self) -> std::io::Result<()> {
        let bad = self.offset;
        let mut position = bad + 1;
        let mut buffer = Vec::with_capacity(SEARCH_BYTES + HEADER_BYTES);
        while position + HEADER_BYTES as u64 <= self.length {
            self.file.seek(SeekFrom::Start(position))?;
            buffer.clear();
            self.file.by_ref().take((SEARCH_BYTES + HEADER_BYTES - 1) as u64).read_to_end(&mut buffer)?;
            let found = buffer.windows(HEADER_BYTES).position(|window| {
                window.starts_with(&MARKER) && window.first_chunk().is_some_and(|bytes| Header::parse(bytes).is_some())
            });
            if let Some(found) = found {
                self.offset = position + found as u64;
                self.skipped(bad);
                self.file.seek(SeekFrom::Start(self.offset))?;
                return Ok(());
            }
            position += SEARCH_BYTES as u64;
        }
        self.torn_at = Some(bad);
        self.is_short = self.length - bad < HEADER_BYTES as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("records");
        std::fs::write(&path, bytes).unwrap();
        (directory, path)
    }

    type Payloads = Vec<(u64, Vec<u8>)>;

    /// Sequences and payloads, how many records were skipped, and where the file is torn.
    fn read_all(bytes: &[u8]) -> (Payloads, u64, Option<u64>) {
        let (_directory, path) = file_of(bytes);
        let mut records = Records::of(&path, File::open(&path).unwrap(), 0).unwrap();
        let mut read = Vec::new();
        while let Some(record) = records.next().unwrap() {
            assert_eq!((record.parts, record.kind), (3, 9));
            read.push((record.sequence, record.payload));
        }
        (read, records.corrupt, records.torn_at)
    }

    fn three_records() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = Vec::new();
        let mut starts = Vec::new();
        for (sequence, payload) in [(7, vec![1; 10]), (8, vec![2; 1000]), (9, b"the last one".to_vec())] {
            starts.push(bytes.len());
            encode(&mut bytes, sequence, 3, 9, &payload).unwrap();
        }
        (bytes, starts)
    }

    #[test]
    fn records_read_back() {
        let (bytes, _) = three_records();
        let (read, corrupt, torn_at) = read_all(&bytes);
        assert_eq!(read, [(7, vec![1; 10]), (8, vec![2; 1000]), (9, b"the last one".to_vec())]);
        assert_eq!((corrupt, torn_at), (0, None));
    }

    #[test]
    fn a_file_cut_anywhere_keeps_the_records_before() {
        let (bytes, starts) = three_records();
        for cut in 0..bytes.len() {
            let whole = starts.iter().skip(1).chain([&bytes.len()]).filter(|end| **end <= cut).count();
            let (read, corrupt, torn_at) = read_all(&bytes[..cut]);
            assert_eq!(read.len(), whole, "cut at {cut}");
            assert_eq!(corrupt, 0);
            let clean = starts.contains(&cut);
            assert_eq!(torn_at.is_some(), !clean, "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_costs_its_own_record_and_no_other() {
        let (bytes, starts) = three_records();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let hit = starts.iter().rposition(|start| *start <= bit / 8).unwrap();
            let (read, corrupt, torn_at) = read_all(&bad);
            let expected: Vec<u64> = [7, 8, 9].into_iter().filter(|sequence| *sequence != 7 + hit as u64).collect();
            assert_eq!(read.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), expected, "bit {bit}");
            assert_eq!(corrupt + u64::from(torn_at.is_some()), 1, "bit {bit}");
        }
    }
}
