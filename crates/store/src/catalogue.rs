//! The catalogue: which number belongs to which series, in a file that only grows.
//!
//! A series is written here, and the disk waited for, before a point of it is logged, so that no log and no block ever
//! holds a number without a name. Numbers are never given twice: a series that was removed and comes back is a new one,
//! and what blocks still hold under its old number is never found again. Layout in `docs/format/catalogue.md`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use statline_series::{Kind, SeriesKey};

use crate::bytes::{Malformed, Reader, put_varint};
use crate::record::{self, Records};
use crate::sealed::sync_directory;
use crate::{SeriesId, StoreError};

pub(crate) const FILE_NAME: &str = "catalogue";
const MAGIC: [u8; 8] = *b"STATSERI";
const VERSION: u16 = 1;
const HEADER_BYTES: u64 = 8 + 2 + 2;

const BORN: u8 = 1;
const KIND: u8 = 2;
const GONE: u8 = 3;

/// One thing that happened to a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Born { id: SeriesId, kind: Kind, key: SeriesKey },
    Kind { id: SeriesId, kind: Kind },
    Gone { id: SeriesId },
}

/// The file, open for writing at its end.
#[derive(Debug)]
pub(crate) struct Catalogue {
    path: PathBuf,
    file: File,
    length: u64,
    /// Whether the file may hold, after `length`, some of a write that failed.
    unclean: bool,
}

/// What reading the file showed, beside its events.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) corrupt_records: u64,
    pub(crate) torn_tail: bool,
}

impl Catalogue {
    /// Opens the file of a directory, makes it when there is none, and tells its events in order.
    pub(crate) fn open(directory: &Path, mut event: impl FnMut(Event)) -> Result<(Self, Damage), StoreError> {
        let path = directory.join(FILE_NAME);
        let io = |doing, source| StoreError::io(doing, &path, source);
        let mut file =
            OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(|source| io("open", source))?;
        let found = file.metadata().map_err(|source| io("read", source))?.len();
        let mut damage = Damage::default();
        if found < HEADER_BYTES {
            // A crash while it was made: nothing can have been acknowledged.
            let mut header = MAGIC.to_vec();
            header.extend_from_slice(&VERSION.to_le_bytes());
            header.extend_from_slice(&[0; 2]);
            let made = file.set_len(0).and_then(|()| file.write_all(&header)).and_then(|()| file.sync_all());
            made.map_err(|source| io("write", source))?;
            sync_directory(directory)?;
            return Ok((Self { path, file, length: HEADER_BYTES, unclean: false }, damage));
        }
        check_header(&path, &file)?;
        let reading = file.try_clone().map_err(|source| io("read", source))?;
        let mut records = Records::of(&path, reading, HEADER_BYTES)?;
        while let Some(record) = records.next()? {
            if for_each_event(&record.payload, &mut event).is_err() {
                damage.corrupt_records += 1;
            }
        }
        damage.corrupt_records += records.corrupt;
        let mut length = found;
        if let Some(torn_at) = records.torn_at {
            damage.torn_tail = true;
            length = torn_at;
            file.set_len(length).and_then(|()| file.sync_all()).map_err(|source| io("truncate", source))?;
        }
        Ok((Self { path, file, length, unclean: false }, damage))
    }

    /// Writes events durably, all or none.
    pub(crate) fn append(&mut self, events: &[Event]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        self.clean()?;
        let mut payload = Vec::with_capacity(events.len() * 64);
        events.iter().for_each(|event| encode(&mut payload, event));
        let mut bytes = Vec::new();
        let written = record::encode(&mut bytes, 0, 1, &payload)
            .and_then(|()| self.file.write_all(&bytes))
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(source) => {
                self.unclean = true;
                // The next append tries again, and is refused until it works.
                let _ = self.clean();
                Err(StoreError::io("write", &self.path, source))
            }
        }
    }

    /// Cuts off what a failed write left.
    fn clean(&mut self) -> Result<(), StoreError> {
        if self.unclean {
            self.file
                .set_len(self.length)
                .and_then(|()| self.file.sync_data())
                .map_err(|source| StoreError::io("truncate", &self.path, source))?;
            self.unclean = false;
        }
        Ok(())
    }
}

fn check_header(path: &Path, mut file: &File) -> Result<(), StoreError> {
    use std::io::{Read, Seek, SeekFrom};
    let mut header = [0; HEADER_BYTES as usize];
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.read_exact(&mut header))
        .map_err(|source| StoreError::io("read", path, source))?;
    let mut reader = Reader::new(&header);
    let (Ok(magic), Ok(version)) = (reader.take(8), reader.u16()) else {
        return Err(StoreError::damaged_file(path, "it is shorter than its header"));
    };
    if magic != MAGIC {
        return Err(StoreError::damaged_file(path, "it does not begin with its magic bytes"));
    }
    if version > VERSION {
        return Err(StoreError::TooNew { path: path.to_owned(), found: version, known: VERSION });
    }
    Ok(())
}

fn encode(out: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Born { id, kind, key } => {
            out.push(BORN);
            put_varint(out, u64::from(*id));
            out.push(kind_code(*kind));
            put_varint(out, key.as_str().len() as u64);
            out.extend_from_slice(key.as_str().as_bytes());
        }
        Event::Kind { id, kind } => {
            out.push(KIND);
            put_varint(out, u64::from(*id));
            out.push(kind_code(*kind));
        }
        Event::Gone { id } => {
            out.push(GONE);
            put_varint(out, u64::from(*id));
        }
    }
}

fn for_each_event(payload: &[u8], event: &mut impl FnMut(Event)) -> Result<(), Malformed> {
    let mut reader = Reader::new(payload);
    while !reader.is_empty() {
        event(match reader.u8()? {
            BORN => {
                let id = reader.varint_u32()?;
                let kind = kind_of_code(reader.u8()?)?;
                let length = reader.length()?;
                let text = std::str::from_utf8(reader.take(length)?).map_err(|_| Malformed("a key is not text"))?;
                let key = SeriesKey::parse(text).map_err(|_| Malformed("a key is not one"))?;
                Event::Born { id, kind, key }
            }
            KIND => Event::Kind { id: reader.varint_u32()?, kind: kind_of_code(reader.u8()?)? },
            GONE => Event::Gone { id: reader.varint_u32()? },
            _ => return Err(Malformed("an event is unknown")),
        });
    }
    Ok(())
}

const fn kind_code(kind: Kind) -> u8 {
    match kind {
        Kind::Untyped => 0,
        Kind::Gauge => 1,
        Kind::Count => 2,
        Kind::Rate => 3,
        Kind::Minimum => 4,
        Kind::Maximum => 5,
        Kind::Cumulative => 6,
    }
}

const fn kind_of_code(code: u8) -> Result<Kind, Malformed> {
    Ok(match code {
        0 => Kind::Untyped,
        1 => Kind::Gauge,
        2 => Kind::Count,
        3 => Kind::Rate,
        4 => Kind::Minimum,
        5 => Kind::Maximum,
        6 => Kind::Cumulative,
        _ => return Err(Malformed("a kind is unknown")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<Event> {
        vec![
            Event::Born { id: 0, kind: Kind::Gauge, key: "a.b".parse().unwrap() },
            Event::Born { id: 1, kind: Kind::Untyped, key: "c;t=\u{e4}\\;x".parse().unwrap() },
            Event::Kind { id: 1, kind: Kind::Cumulative },
            Event::Gone { id: 0 },
        ]
    }

    fn read(directory: &Path) -> (Vec<Event>, Damage) {
        let mut read = Vec::new();
        let (_, damage) = Catalogue::open(directory, |event| read.push(event)).unwrap();
        (read, damage)
    }

    #[test]
    fn events_read_back_and_a_torn_tail_is_dropped_once() {
        let directory = tempfile::tempdir().unwrap();
        let (mut catalogue, _) = Catalogue::open(directory.path(), |_| {}).unwrap();
        catalogue.append(&events()[..2]).unwrap();
        catalogue.append(&events()[2..]).unwrap();
        drop(catalogue);
        assert_eq!(read(directory.path()), (events(), Damage::default()));

        let path = directory.path().join(FILE_NAME);
        let length = std::fs::metadata(&path).unwrap().len();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
        assert_eq!(read(directory.path()), (events()[..2].to_vec(), Damage { corrupt_records: 0, torn_tail: true }));
        assert_eq!(read(directory.path()), (events()[..2].to_vec(), Damage::default()));
    }

    #[test]
    fn every_kind_has_a_code_of_its_own() {
        for code in 0..=6 {
            assert_eq!(kind_of_code(code).map(kind_code), Ok(code));
        }
        assert!(kind_of_code(7).is_err());
    }
}
