//! The catalogue: which number belongs to which series, in a file that only grows.
//!
//! A series is written here, and the disk waited for, before a point of it is logged, so that no log and no block ever
//! holds a number without a name. Numbers are never given twice: a series that was removed and comes back is a new one,
//! and what blocks still hold under its old number is never found again. Layout in `docs/format/catalogue.md`.

use std::path::Path;

use rustc_hash::FxHashMap;
use statline_series::{Kind, SeriesKey};

use crate::bytes::{Malformed, Reader, put_varint};
use crate::journal::{Damage, Format, Journal};
use crate::resolve::Birth;
use crate::{Form, SeriesId, StoreError};

pub(crate) const FILE_NAME: &str = "catalogue";
/// Version 2 knows of series of sketches.
const FORMAT: Format = Format { magic: *b"STATSERI", version: 2 };

const BORN: u8 = 1;
const KIND: u8 = 2;
const GONE: u8 = 3;
const BORN_FOR_SKETCHES: u8 = 4;

/// One thing that happened to a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Born { id: SeriesId, form: Form, kind: Kind, key: SeriesKey },
    Kind { id: SeriesId, kind: Kind },
    Gone { id: SeriesId },
}

/// The file, open for writing at its end.
#[derive(Debug)]
pub(crate) struct Catalogue(Journal);

impl Catalogue {
    /// Opens the file of a directory, makes it when there is none, and tells its events in order.
    pub(crate) fn open(directory: &Path, mut event: impl FnMut(Event)) -> Result<(Self, Damage), StoreError> {
        let path = directory.join(FILE_NAME);
        let (journal, damage) = Journal::open(path, FORMAT, |record| for_each_event(&record.payload, &mut event))?;
        if damage.bad_header {
            return Err(StoreError::damaged_file(journal.path(), "it does not begin with its magic bytes"));
        }
        Ok((Self(journal), damage))
    }

    /// Writes events durably, all or none.
    pub(crate) fn append(&mut self, events: &[Event]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        if events.iter().any(|event| matches!(event, Event::Born { form: Form::Sketches, .. })) {
            self.0.raise_version()?;
        }
        let mut payload = Vec::with_capacity(events.len() * 64);
        events.iter().for_each(|event| encode(&mut payload, event));
        self.0.append(0, 1, &payload)
    }

    /// Writes new series, numbered from `first` on, and the kinds of others that changed; durably, all or none.
    pub(crate) fn append_births(
        &mut self,
        first: SeriesId,
        births: &[Birth],
        kinds: &FxHashMap<SeriesId, Kind>,
    ) -> Result<(), StoreError> {
        if births.iter().any(|birth| birth.form == Form::Sketches) {
            self.0.raise_version()?;
        }
        let mut payload = Vec::with_capacity(births.len() * 64);
        for (id, birth) in (first..).zip(births) {
            encode_birth(&mut payload, id, birth.form, birth.kind, &birth.key);
        }
        kinds.iter().for_each(|(id, kind)| encode(&mut payload, &Event::Kind { id: *id, kind: *kind }));
        self.0.append(0, 1, &payload)
    }
}

fn encode_birth(out: &mut Vec<u8>, id: SeriesId, form: Form, kind: Kind, key: &SeriesKey) {
    match form {
        Form::Points => out.push(BORN),
        Form::Sketches => out.push(BORN_FOR_SKETCHES),
    }
    put_varint(out, u64::from(id));
    out.push(kind_code(kind));
    put_varint(out, key.as_str().len() as u64);
    out.extend_from_slice(key.as_str().as_bytes());
}

fn encode(out: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Born { id, form, kind, key } => encode_birth(out, *id, *form, *kind, key),
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
            code @ (BORN | BORN_FOR_SKETCHES) => {
                let form = if code == BORN { Form::Points } else { Form::Sketches };
                let id = reader.varint_u32()?;
                let kind = kind_of_code(reader.u8()?)?;
                let length = reader.length()?;
                let text = std::str::from_utf8(reader.take(length)?).map_err(|_| Malformed("a key is not text"))?;
                let key = SeriesKey::parse(text).map_err(|_| Malformed("a key is not one"))?;
                Event::Born { id, form, kind, key }
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
            Event::Born { id: 0, form: Form::Points, kind: Kind::Gauge, key: "a.b".parse().unwrap() },
            Event::Born { id: 1, form: Form::Sketches, kind: Kind::Untyped, key: "c;t=\u{e4}\\;x".parse().unwrap() },
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
    fn events_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let (mut catalogue, _) = Catalogue::open(directory.path(), |_| {}).unwrap();
        catalogue.append(&events()[..2]).unwrap();
        catalogue.append(&events()[2..]).unwrap();
        drop(catalogue);
        assert_eq!(read(directory.path()), (events(), Damage::default()));
    }

    #[test]
    fn a_file_of_version_1_is_raised_by_the_first_series_of_sketches() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        drop(Catalogue::open(directory.path(), |_| {}).unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[8] = 1;
        std::fs::write(&path, bytes).unwrap();
        let version = || std::fs::read(&path).unwrap()[8];
        let (mut catalogue, _) = Catalogue::open(directory.path(), |_| {}).unwrap();
        catalogue.append(&events()[..1]).unwrap();
        assert_eq!(version(), 1);
        catalogue.append(&events()[1..]).unwrap();
        assert_eq!(version(), 2);
        assert_eq!(read(directory.path()), (events(), Damage::default()));
    }

    #[test]
    fn every_kind_has_a_code_of_its_own() {
        for code in 0..=6 {
            assert_eq!(kind_of_code(code).map(kind_code), Ok(code));
        }
        assert!(kind_of_code(7).is_err());
    }
}
