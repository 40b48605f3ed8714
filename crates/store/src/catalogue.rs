//! The catalogue: which number belongs to which series, in a file that grows until it is written anew without the series
//! that are gone.
//!
//! A series is written here, and the disk waited for, before a point of it is logged, so that no log and no block ever
//! holds a number without a name. Numbers are never given twice: a series that was removed and comes back is a new one,
//! and what blocks still hold under its old number is never found again. The numbers of series that are gone stay in the file,
//! so that what is found under one of them is known to be old and not lost. Layout in `docs/format/catalogue.md`.

use std::path::Path;

use rustc_hash::FxHashMap;
use statline_series::{Kind, SeriesKey};

use crate::bytes::{Malformed, Reader, put_varint};
use crate::gone::Gone;
use crate::index::Index;
use crate::journal::{Damage, Format, Journal};
use crate::record;
use crate::resolve::Birth;
use crate::{Form, SeriesId, StoreError};

pub(crate) const FILE_NAME: &str = "catalogue";
/// Version 2 knows of series of sketches, version 3 of runs of series that are gone.
pub(crate) const FORMAT: Format = Format { magic: *b"STATSERI", version: 3 };

const BORN: u8 = 1;
const KIND: u8 = 2;
const GONE: u8 = 3;
const BORN_FOR_SKETCHES: u8 = 4;
const GONE_RUN: u8 = 5;
/// The shortest file that is written anew by itself, in bytes.
const WORTH_REWRITING: u64 = 1 << 20;
/// Bytes of events in one record of a file that is written anew, roughly.
const RECORD_BYTES: usize = 1 << 18;

/// One thing that happened to a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Born { id: SeriesId, form: Form, kind: Kind, key: SeriesKey },
    Kind { id: SeriesId, kind: Kind },
    Gone { id: SeriesId },
}

/// The file, open for writing at its end.
#[derive(Debug)]
pub(crate) struct Catalogue {
    journal: Journal,
    gone: Gone,
    /// The records before compression, in bytes.
    bytes: u64,
    /// Whether records of it were lost, so that what they held must stay to be missed.
    has_losses: bool,
}

impl Catalogue {
    /// Opens the file of a directory, makes it when there is none, and tells its events in order.
    pub(crate) fn open(directory: &Path, mut event: impl FnMut(Event)) -> Result<(Self, Damage), StoreError> {
        let path = directory.join(FILE_NAME);
        let mut gone = Gone::default();
        let mut bytes = 0;
        let (journal, damage) = Journal::open(path, FORMAT, |record| {
            bytes += record_bytes(&record.payload);
            for_each_event(&record.payload, |told| {
                if let Event::Gone { id } = told {
                    gone.insert(id);
                }
                event(told);
            })
        })?;
        if damage.bad_header {
            return Err(StoreError::damaged_file(journal.path(), "it does not begin with its magic bytes"));
        }
        let has_losses = damage.corrupt_records > 0;
        Ok((Self { journal, gone, bytes, has_losses }, damage))
    }

    /// Writes events durably, all or none.
    pub(crate) fn append(&mut self, events: &[Event]) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        if events.iter().any(|event| matches!(event, Event::Born { form: Form::Sketches, .. })) {
            self.journal.raise_version()?;
        }
        let mut payload = Vec::with_capacity(events.len() * 64);
        events.iter().for_each(|event| encode(&mut payload, event));
        self.journal.append(0, 1, &payload)?;
        self.bytes += record_bytes(&payload);
        for event in events {
            if let Event::Gone { id } = event {
                self.gone.insert(*id);
            }
        }
        Ok(())
    }

    /// Writes new series, numbered from `first` on, and the kinds of others that changed; durably, all or none.
    pub(crate) fn append_births(
        &mut self,
        first: SeriesId,
        births: &[Birth],
        kinds: &FxHashMap<SeriesId, Kind>,
    ) -> Result<(), StoreError> {
        if births.iter().any(|birth| birth.form == Form::Sketches) {
            self.journal.raise_version()?;
        }
        let mut payload = Vec::with_capacity(births.len() * 64);
        for (id, birth) in (first..).zip(births) {
            encode_birth(&mut payload, id, birth.form, birth.kind, &birth.key);
        }
        kinds.iter().for_each(|(id, kind)| encode(&mut payload, &Event::Kind { id: *id, kind: *kind }));
        self.journal.append(0, 1, &payload)?;
        self.bytes += record_bytes(&payload);
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        self.journal.path()
    }

    pub(crate) const fn length(&self) -> u64 {
        self.journal.length()
    }

    /// Whether most of a long file is of series that are gone. `index` knows the others.
    pub(crate) fn wants_rewrite(&self, index: &Index) -> bool {
        !self.has_losses && self.length() > WORTH_REWRITING && {
            let needed: u64 = payloads(index, &self.gone).map(|payload| record_bytes(&payload)).sum();
            needed < self.bytes / 2
        }
    }

    /// Writes the file anew without the series that are gone, in the place of the old one, durably and at once.
    pub(crate) fn rewrite(&mut self, index: &Index) -> Result<(), StoreError> {
        if self.has_losses {
            return Err(StoreError::damaged_file(self.path(), "records of it fail their checks; it stays as it is"));
        }
        let mut bytes = 0;
        let payloads = payloads(index, &self.gone).inspect(|payload| bytes += record_bytes(payload));
        self.journal.replace(0, payloads)?;
        self.bytes = bytes;
        Ok(())
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

const fn record_bytes(payload: &[u8]) -> u64 {
    (record::HEADER_BYTES + payload.len()) as u64
}

/// The records of a file that knows each series of the index and no other, and which numbers are gone.
fn payloads<'a>(index: &'a Index, gone: &'a Gone) -> impl Iterator<Item = Vec<u8>> + 'a {
    let mut series = index.iter().peekable();
    let mut runs = gone.runs().peekable();
    std::iter::from_fn(move || {
        let mut payload = Vec::new();
        while let Some((id, entry)) = series.next_if(|_| payload.len() < RECORD_BYTES) {
            let (form, kind, key) = (entry.form, entry.kind, entry.key());
            encode(&mut payload, &Event::Born { id, form, kind, key });
        }
        while let Some((first, last)) = runs.next_if(|_| payload.len() < RECORD_BYTES) {
            payload.push(GONE_RUN);
            put_varint(&mut payload, u64::from(first));
            put_varint(&mut payload, u64::from(last - first));
        }
        Some(payload).filter(|payload| !payload.is_empty())
    })
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

/// Tells the events of a record. A run of series that are gone is told one by one.
pub(crate) fn for_each_event(payload: &[u8], mut event: impl FnMut(Event)) -> Result<(), Malformed> {
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
            GONE_RUN => {
                let (first, more) = (reader.varint_u32()?, reader.varint_u32()?);
                let last = first.checked_add(more).ok_or(Malformed("a run of numbers in it is impossible"))?;
                (first..=last).for_each(|id| event(Event::Gone { id }));
                continue;
            }
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
        assert_eq!(version(), 3);
        assert_eq!(read(directory.path()), (events(), Damage::default()));
    }

    #[test]
    fn a_file_written_anew_knows_the_series_that_live_and_the_numbers_that_do_not() {
        let directory = tempfile::tempdir().unwrap();
        let (mut catalogue, _) = Catalogue::open(directory.path(), |_| {}).unwrap();
        let mut index = Index::default();
        // Such as no codec makes small.
        let scattered = |id: u32, seed: u64| (u64::from(id) + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
        let mixed = |id, seed| scattered(id, seed).wrapping_mul(scattered(id, seed * 3) | 1);
        let key =
            |id: u32| format!("a.{:016x}{:016x}{:016x}{:016x}", mixed(id, 1), mixed(id, 2), mixed(id, 3), mixed(id, 4));
        for batch in (0..40_000).collect::<Vec<_>>().chunks(1000) {
            let born = |id: &u32| Event::Born {
                id: *id,
                form: Form::Points,
                kind: Kind::Count,
                key: key(*id).parse().unwrap(),
            };
            catalogue.append(&batch.iter().map(born).collect::<Vec<_>>()).unwrap();
        }
        for id in 0..40_000 {
            index.insert(id, Form::Points, &key(id).parse().unwrap(), Kind::Count, 0);
        }
        let before = catalogue.length();
        assert!(!catalogue.wants_rewrite(&index));
        let gone: Vec<u32> = (0..30_000).filter(|id| id % 100 != 0).collect();
        gone.iter().for_each(|id| index.remove(*id));
        catalogue.append(&gone.iter().map(|id| Event::Gone { id: *id }).collect::<Vec<_>>()).unwrap();
        assert!(catalogue.wants_rewrite(&index));
        catalogue.rewrite(&index).unwrap();
        assert!(!catalogue.wants_rewrite(&index));
        assert!(catalogue.length() < before / 2, "{} of {before} bytes", catalogue.length());
        catalogue.append(&[Event::Gone { id: 39_999 }]).unwrap();

        let (events, damage) = read(directory.path());
        assert_eq!(damage, Damage::default());
        let born = events.iter().filter(|event| matches!(event, Event::Born { .. }));
        assert_eq!(born.count(), 10_300);
        let mut told: Vec<u32> =
            events.iter().filter_map(|event| if let Event::Gone { id } = event { Some(*id) } else { None }).collect();
        assert_eq!(told.pop(), Some(39_999));
        assert_eq!(told, gone);
    }

    #[test]
    fn every_kind_has_a_code_of_its_own() {
        for code in 0..=6 {
            assert_eq!(kind_of_code(code).map(kind_code), Ok(code));
        }
        assert!(kind_of_code(7).is_err());
    }
}
