//! What happened: all events in memory, and the file that they come back from.
//!
//! Events are few beside points, and asked for by time and tags alone. So they wait in one ordered set, bounded in number
//! and bytes, and in one journal, whose records are parts of batches as those of the log are. The file is written anew
//! when most of it is of events that are gone. Layout in `docs/format/events.md`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use statline_series::{Event, TimeRange, Timestamp};

use crate::bytes::{Malformed, Reader, put_signed, put_varint};
use crate::journal::{Damage, Format, Journal};
use crate::log::BatchMark;
use crate::record::Record;
use crate::{Refused, StoreError};

pub(crate) const FILE_NAME: &str = "events";
pub(crate) const FORMAT: Format = Format { magic: *b"STATEVNT", version: 1 };
/// Bytes that the file may have beyond what it needs before it is written anew.
const FREE_BYTES: u64 = 1 << 20;
/// Bytes of events in one record of a file that is written anew, roughly.
const RECORD_BYTES: usize = 1 << 18;

/// What the events of a store may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) most: usize,
    pub(crate) most_bytes: u64,
}

/// All events, in the order of their instants.
#[derive(Debug)]
pub(crate) struct Events {
    all: BTreeSet<Arc<Event>>,
    bytes: u64,
    bounds: Bounds,
}

/// What of the events of a batch can be taken.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    /// Those that are not there yet.
    pub(crate) new: Vec<Arc<Event>>,
    /// How many are there already.
    pub(crate) known: u64,
    pub(crate) refused: Refused,
}

impl Events {
    pub(crate) const fn new(bounds: Bounds) -> Self {
        Self { all: BTreeSet::new(), bytes: 0, bounds }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// What they take in memory.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Goes through the events of a batch. Those that are taken lie from `oldest` to `newest`, both included.
    pub(crate) fn admit(&self, events: &[Event], oldest: Timestamp, newest: Timestamp) -> Admitted {
        let mut admitted = Admitted::default();
        let mut new = BTreeSet::new();
        for event in events {
            if event.size() > Event::MOST_BYTES {
                admitted.refused.too_large += 1;
            } else if event.timestamp < oldest {
                admitted.refused.too_old += 1;
            } else if event.timestamp > newest {
                admitted.refused.too_new += 1;
            } else if self.all.contains(event) || !new.insert(event) {
                admitted.known += 1;
            }
        }
        admitted.new = new.into_iter().cloned().map(Arc::new).collect();
        admitted
    }

    /// Puts an event in, unless it is there.
    fn insert(&mut self, event: Arc<Event>) {
        let size = event.size() as u64;
        if self.all.insert(event) {
            self.bytes += size;
        }
    }

    /// Puts events in, and lets the oldest go when they are too many; how many went.
    pub(crate) fn extend(&mut self, events: impl IntoIterator<Item = Arc<Event>>) -> u64 {
        let mut gone = 0;
        for event in events {
            self.insert(event);
            while self.all.len() > self.bounds.most || self.bytes > self.bounds.most_bytes {
                gone += u64::from(self.drop_oldest());
            }
        }
        gone
    }

    /// Lets events from before an instant go; how many went.
    pub(crate) fn expire(&mut self, horizon: Timestamp) -> u64 {
        let mut gone = 0;
        while self.all.first().is_some_and(|oldest| oldest.timestamp < horizon) {
            gone += u64::from(self.drop_oldest());
        }
        gone
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.all.pop_first() else { return false };
        self.bytes -= oldest.size() as u64;
        true
    }

    /// The newest events of a range that have all of these tags, at most `limit`, the newest last.
    pub(crate) fn query(&self, range: TimeRange, tags: &[String], limit: usize) -> Vec<Event> {
        if range.is_empty() {
            return Vec::new();
        }
        // The first of all events of an instant: nothing sorts before empty texts.
        let edge = |timestamp| Event::new(timestamp, String::new(), String::new());
        let inside = self.all.range::<Event, _>(edge(range.from)..edge(range.until)).rev();
        let mut found: Vec<Event> =
            inside.filter(|event| event.has_tags(tags)).take(limit).map(|e| (**e).clone()).collect();
        found.reverse();
        found
    }

    /// All of them as payloads of records.
    fn payloads(&self) -> impl Iterator<Item = Vec<u8>> {
        let mut rest = self.all.iter().peekable();
        std::iter::from_fn(move || {
            rest.peek()?;
            let mut some = Vec::new();
            let mut bytes = 0;
            while let Some(event) = rest.next_if(|_| bytes < RECORD_BYTES) {
                bytes += event.size();
                some.push(event);
            }
            Some(encode(some.into_iter().map(Arc::as_ref)))
        })
    }
}

/// The last record of the file, which may be a part of a batch that is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastRecord {
    pub(crate) mark: BatchMark,
    pub(crate) offset: u64,
}

/// The file.
#[derive(Debug)]
pub(crate) struct EventLog {
    journal: Journal,
    /// Whether the header has to be written again.
    spoilt: bool,
}

/// What is found in the file when a store is opened.
pub(crate) struct Opened {
    pub(crate) log: EventLog,
    pub(crate) damage: Damage,
    /// All events but those of the last record.
    pub(crate) events: Events,
    /// The events of the last record.
    pub(crate) last: Option<(LastRecord, Vec<Event>)>,
}

impl EventLog {
    /// Reads the file of a directory, and makes it when there is none.
    pub(crate) fn open(directory: &Path, bounds: Bounds) -> Result<Opened, StoreError> {
        let mut events = Events::new(bounds);
        let mut last: Option<(LastRecord, Vec<Event>)> = None;
        let take = |Record { offset, sequence, parts, payload, .. }| {
            let of_record = decode(&payload)?;
            let record = LastRecord { mark: BatchMark { sequence, parts }, offset };
            if let Some((_, before)) = last.replace((record, of_record)) {
                events.extend(before.into_iter().map(Arc::new));
            }
            Ok(())
        };
        let (journal, damage) = Journal::open(directory.join(FILE_NAME), FORMAT, take)?;
        let log = Self { journal, spoilt: damage.bad_header };
        Ok(Opened { log, damage, events, last })
    }

    pub(crate) fn path(&self) -> &Path {
        self.journal.path()
    }

    pub(crate) const fn length(&self) -> u64 {
        self.journal.length()
    }

    /// Writes the events of a batch durably, or nothing of them.
    pub(crate) fn append(&mut self, mark: BatchMark, events: &[Arc<Event>]) -> Result<(), StoreError> {
        self.journal.append(mark.sequence, mark.parts, &encode(events.iter().map(Arc::as_ref)))
    }

    /// Cuts the file back to a length it had.
    pub(crate) fn roll_back(&mut self, length: u64) -> Result<(), StoreError> {
        self.journal.roll_back(length)
    }

    /// Cuts off what a failed batch left.
    pub(crate) fn clean(&mut self) -> Result<(), StoreError> {
        self.journal.clean()
    }

    /// Whether the header has to be written again.
    pub(crate) const fn is_spoilt(&self) -> bool {
        self.spoilt
    }

    /// Writes the file anew. Every batch up to `sequence` has to be known as acknowledged before.
    pub(crate) fn rewrite(&mut self, sequence: u64, events: &Events) -> Result<(), StoreError> {
        self.journal.replace(sequence, events.payloads())?;
        self.spoilt = false;
        Ok(())
    }
}

/// Whether a file of this length is much longer than these events need.
pub(crate) const fn wants_rewrite(length: u64, events: &Events) -> bool {
    // An event takes more in memory than in the file, even as the only one of its record, so that half of a file that is
    // twice as long is waste at least.
    length > events.bytes().saturating_mul(2).saturating_add(FREE_BYTES)
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn text(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let length = reader.length()?;
    let bytes = reader.take(length)?;
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed("a text in it is not one"))
}

/// The payload of a record.
fn encode<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<u8> {
    let mut out = Vec::new();
    for event in events {
        put_signed(&mut out, event.timestamp.millis());
        put_text(&mut out, &event.title);
        put_text(&mut out, &event.text);
        put_varint(&mut out, event.tags.len() as u64);
        event.tags.iter().for_each(|tag| put_text(&mut out, tag));
        put_varint(&mut out, event.attributes.len() as u64);
        for (name, value) in &event.attributes {
            put_text(&mut out, name);
            put_text(&mut out, value);
        }
    }
    out
}

pub(crate) fn decode(payload: &[u8]) -> Result<Vec<Event>, Malformed> {
    let mut reader = Reader::new(payload);
    let mut events = Vec::new();
    while !reader.is_empty() {
        let timestamp = Timestamp::from_millis(reader.signed()?);
        let mut event = Event::new(timestamp, text(&mut reader)?, text(&mut reader)?);
        for _ in 0..reader.varint()? {
            event.tags.push(text(&mut reader)?);
        }
        for _ in 0..reader.varint()? {
            event.attributes.push((text(&mut reader)?, text(&mut reader)?));
        }
        events.push(event);
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { most: 100, most_bytes: 1 << 20 };

    fn event(seconds: i64, title: &str, tags: &[&str]) -> Event {
        let mut event = Event::new(Timestamp::from_seconds(seconds), title.to_owned(), String::new());
        event.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        event
    }

    fn titles(events: &[Event]) -> Vec<&str> {
        events.iter().map(|event| event.title.as_str()).collect()
    }

    fn events(of: &[Event], bounds: Bounds) -> (Events, u64) {
        let mut events = Events::new(bounds);
        let gone = events.extend(of.iter().cloned().map(Arc::new));
        (events, gone)
    }

    #[test]
    fn the_newest_of_a_range_with_all_tags_are_found_newest_last() {
        let (all, _) = events(
            &[event(3, "c", &["x"]), event(1, "a", &["x", "y"]), event(2, "b", &["y", "x"]), event(4, "d", &["y"])],
            BOUNDS,
        );
        let range = |from, until| TimeRange::new(Timestamp::from_seconds(from), Timestamp::from_seconds(until));
        let tags = |of: &[&str]| of.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        for (range, asked, limit, expected) in [
            (TimeRange::ALL, tags(&[]), 9, &["a", "b", "c", "d"][..]),
            (TimeRange::ALL, tags(&[]), 2, &["c", "d"]),
            (range(1, 3), tags(&[]), 9, &["a", "b"]),
            (TimeRange::ALL, tags(&["x"]), 2, &["b", "c"]),
            (TimeRange::ALL, tags(&["x", "y"]), 9, &["a", "b"]),
            (TimeRange::ALL, tags(&["z"]), 9, &[]),
            (range(3, 3), tags(&[]), 9, &[]),
            (range(9, 3), tags(&[]), 9, &[]),
        ] {
            assert_eq!(titles(&all.query(range, &asked, limit)), expected, "{range:?} {asked:?} {limit}");
        }
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_they_take_too_much() {
        let five: Vec<Event> = (0..5).map(|second| event(second, &second.to_string(), &[])).collect();
        let (few, gone) = events(&five, Bounds { most: 3, ..BOUNDS });
        assert_eq!((titles(&few.query(TimeRange::ALL, &[], 9)), gone), (vec!["2", "3", "4"], 2));
        let size = five[0].size() as u64;
        let (mut small, gone) = events(&five, Bounds { most_bytes: 2 * size + 1, ..BOUNDS });
        assert_eq!((small.len(), small.bytes(), gone), (2, 2 * size, 3));
        assert_eq!(small.expire(Timestamp::from_seconds(4)), 1);
        assert_eq!(titles(&small.query(TimeRange::ALL, &[], 9)), ["4"]);
    }

    #[test]
    fn what_cannot_be_taken_is_counted_by_reason() {
        let (known, _) = events(&[event(5, "known", &[])], BOUNDS);
        let mut large = event(5, "large", &[]);
        large.text = "x".repeat(Event::MOST_BYTES);
        let batch = [
            event(5, "known", &[]),
            event(5, "new", &[]),
            event(5, "new", &[]),
            event(1, "old", &[]),
            event(9, "far", &[]),
            large,
        ];
        let admitted = known.admit(&batch, Timestamp::from_seconds(2), Timestamp::from_seconds(8));
        assert_eq!((admitted.new.len(), admitted.known), (1, 2));
        assert_eq!(admitted.refused, Refused { too_old: 1, too_new: 1, too_large: 1, ..Refused::default() });
    }

    #[test]
    fn a_file_written_anew_holds_all_events_and_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = EventLog::open(directory.path(), BOUNDS).unwrap().log;
        let (mut all, _) = events(&[], BOUNDS);
        let mut sequence = 0;
        while !wants_rewrite(log.length(), &all) {
            sequence += 1;
            let mut event = event(sequence, "filler", &[]);
            // Such as no codec makes smaller.
            event.text = (0..2000)
                .map(|place| char::from(b'!' + (((place * place + sequence * 7919) * 31) % 89) as u8))
                .collect();
            let new = [Arc::new(event)];
            log.append(BatchMark { sequence: sequence as u64, parts: 1 }, &new).unwrap();
            all.extend(new);
            assert!(sequence < 100_000, "{} bytes", log.length());
        }
        let before = log.length();
        log.rewrite(sequence as u64, &all).unwrap();
        assert!(log.length() < before / 2, "{} of {before} bytes", log.length());
        let opened = EventLog::open(directory.path(), BOUNDS).unwrap();
        let mut read = opened.events;
        read.extend(opened.last.unwrap().1.into_iter().map(Arc::new));
        assert_eq!(read.query(TimeRange::ALL, &[], 1000), all.query(TimeRange::ALL, &[], 1000));
    }

    prop_compose! {
        fn any_event()(
            millis: i64,
            title: String,
            text: String,
            tags: Vec<String>,
            attributes in prop::collection::btree_map(any::<String>(), any::<String>(), 0..4),
        ) -> Event {
            let attributes = attributes.into_iter().collect();
            Event { timestamp: Timestamp::from_millis(millis), title, text, tags, attributes }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn events_read_back(events in prop::collection::vec(any_event(), 0..4)) {
            prop_assert_eq!(decode(&encode(events.iter())), Ok(events));
        }

        #[test]
        fn no_payload_panics(payload: Vec<u8>) {
            let _ = decode(&payload);
        }
    }
}
