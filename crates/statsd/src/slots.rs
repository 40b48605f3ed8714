//! Which names a table knows, the slot of each, and what was counted under it.
//!
//! An open-addressed hash table beside one run of memory with a record for each name: what was counted, who it is, and the
//! name itself. A record of a name of up to 40 bytes lies within one line of cache, so that finding a series and adding to
//! it touches two. Names are never removed; a table with too many that are idle is replaced.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use crate::interval::{Cell, EMPTY_CELL};
use crate::prefetch;
use crate::table::Family;

/// The number of a name within one table.
pub(crate) type Slot = u32;

/// Where the record of a name is, in units of [`UNIT`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u32);

/// No record's place.
const NOWHERE: Place = Place(u32::MAX);

/// What records are aligned to.
const UNIT: usize = 8;

/// A line of cache, which a record that fits into one stays within.
const CACHE_LINE: usize = 64;

/// The bytes of a record before its name: sum (8), at (4), lines (4), slot (4), length of the name (2), family (1), and
/// which of two alternating intervals the cell is of (1).
const HEADER: usize = 24;
const SLOT: usize = 16;
const LENGTH: usize = 20;
const FAMILY: usize = 22;
const PARITY: usize = 23;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    hash: u32,
    place: Place,
}

const EMPTY_BUCKET: Bucket = Bucket { hash: 0, place: NOWHERE };

/// A search that has begun: the hash of a name.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Begun(u64);

/// Names and their slots, which count up from 0.
#[derive(Debug)]
pub(crate) struct Slots {
    /// As many as a power of 2, three quarters of them taken at most.
    buckets: Vec<Bucket>,
    records: Vec<u8>,
    /// Where the record of each slot is.
    places: Vec<Place>,
    /// Seeded, since names come from strangers.
    hasher: RandomState,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            buckets: vec![EMPTY_BUCKET; 64],
            records: Vec::new(),
            places: Vec::new(),
            hasher: RandomState::default(),
        }
    }
}

impl Slots {
    /// How many names there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>()
            + self.records.capacity()
            + self.places.capacity() * size_of::<Place>()
    }

    #[inline]
    fn hash(&self, family: Family, name: &[u8]) -> u64 {
        self.hasher.hash_one(name) ^ (family as u64)
    }

    /// The place of a name that is known.
    #[inline]
    pub(crate) fn find(&self, family: Family, name: &[u8]) -> Option<Place> {
        self.find_hashed(self.hash(family, name), family, name)
    }

    /// Begins to find a name: asks for the memory where the search for it begins. Several can be begun before the first is
    /// ended, so that their memory is waited for together.
    #[inline]
    pub(crate) fn begin(&self, family: Family, name: &[u8]) -> Begun {
        let hash = self.hash(family, name);
        prefetch::element(&self.buckets, position(hash, self.buckets.len() - 1));
        Begun(hash)
    }

    /// Asks for the memory of what a search that has begun, for a name of so many bytes, will most likely find; answers
    /// where that is, if anything is likely.
    #[inline]
    pub(crate) fn expect(&self, begun: Begun, length: usize) -> Option<Place> {
        let place = self.buckets[position(begun.0, self.buckets.len() - 1)].place;
        let start = place.0 as usize * UNIT;
        prefetch::element(&self.records, start);
        let last = start + HEADER + length - 1;
        if last / CACHE_LINE > start / CACHE_LINE {
            prefetch::element(&self.records, last);
        }
        (place != NOWHERE).then_some(place)
    }

    /// The place of the name that [`Slots::begin`] began to find.
    #[inline]
    pub(crate) fn end(&self, begun: Begun, family: Family, name: &[u8]) -> Option<Place> {
        self.find_hashed(begun.0, family, name)
    }

    #[inline]
    fn find_hashed(&self, hash: u64, family: Family, name: &[u8]) -> Option<Place> {
        let mask = self.buckets.len() - 1;
        let mut at = position(hash, mask);
        loop {
            let bucket = self.buckets[at];
            if bucket.place == NOWHERE {
                return None;
            }
            if bucket.hash == tag(hash) && self.is_of(bucket.place, family, name) {
                return Some(bucket.place);
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    fn is_of(&self, place: Place, family: Family, name: &[u8]) -> bool {
        let header = self.header(place);
        header[FAMILY] == family as u8 && length(header) == name.len() && is_same(self.text(place, name.len()), name)
    }

    #[inline]
    fn header(&self, place: Place) -> &[u8; HEADER] {
        // A place is given only for a record that was written.
        self.records[place.0 as usize * UNIT..].first_chunk().unwrap_or(&[0; HEADER])
    }

    #[inline]
    fn text(&self, place: Place, length: usize) -> &[u8] {
        &self.records[place.0 as usize * UNIT + HEADER..][..length]
    }

    /// Gives a slot to a name that is not known. `None` when there is no room for it, at 32 GiB.
    pub(crate) fn insert(&mut self, family: Family, name: &[u8]) -> Option<Place> {
        debug_assert!(self.find(family, name).is_none(), "a name has one slot");
        let length = u16::try_from(name.len()).ok()?;
        let slot = Slot::try_from(self.places.len()).ok()?;
        let size = (HEADER + name.len()).next_multiple_of(UNIT);
        let mut start = self.records.len();
        if size <= CACHE_LINE && start / CACHE_LINE < (start + size - 1) / CACHE_LINE {
            start = start.next_multiple_of(CACHE_LINE);
        }
        let place = u32::try_from(start / UNIT).ok().map(Place).filter(|place| *place != NOWHERE)?;
        if (self.places.len() + 1) * 4 > self.buckets.len() * 3 {
            self.grow();
        }
        self.records.resize(start + HEADER, 0);
        self.records[start + SLOT..][..4].copy_from_slice(&slot.to_le_bytes());
        self.records[start + LENGTH..][..2].copy_from_slice(&length.to_le_bytes());
        self.records[start + FAMILY] = family as u8;
        self.records.extend_from_slice(name);
        self.records.resize(start + size, 0);
        self.set_cell(place, EMPTY_CELL);
        self.places.push(place);
        let hash = self.hash(family, name);
        put(&mut self.buckets, position(hash, usize::MAX), Bucket { hash: tag(hash), place });
        Some(place)
    }

    /// The place of a slot that was given.
    pub(crate) fn place(&self, slot: Slot) -> Place {
        self.places[slot as usize]
    }

    /// The slot of the name that is there.
    pub(crate) fn slot(&self, place: Place) -> Slot {
        let header = self.header(place);
        Slot::from_le_bytes([header[SLOT], header[SLOT + 1], header[SLOT + 2], header[SLOT + 3]])
    }

    /// The name that is there.
    pub(crate) fn name(&self, place: Place) -> (Family, &str) {
        let header = self.header(place);
        let family = Family::ALL[usize::from(header[FAMILY])];
        // Only texts were put in; the check costs little, and this is not the way of a packet.
        (family, std::str::from_utf8(self.text(place, length(header))).unwrap_or_default())
    }

    /// What was counted, and the interval that it is of.
    #[inline]
    pub(crate) fn cell(&self, place: Place) -> (Cell, u8) {
        let [s0, s1, s2, s3, s4, s5, s6, s7, a0, a1, a2, a3, l0, l1, l2, l3, .., parity] = *self.header(place);
        let cell = Cell {
            sum: f64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            at: u32::from_le_bytes([a0, a1, a2, a3]),
            lines: u32::from_le_bytes([l0, l1, l2, l3]),
        };
        (cell, parity)
    }

    /// Keeps what was counted.
    #[inline]
    pub(crate) fn set_cell(&mut self, place: Place, cell: Cell) {
        let record = &mut self.records[place.0 as usize * UNIT..][..SLOT];
        record[..8].copy_from_slice(&cell.sum.to_le_bytes());
        record[8..12].copy_from_slice(&cell.at.to_le_bytes());
        record[12..].copy_from_slice(&cell.lines.to_le_bytes());
    }

    /// Says which interval the cell is of.
    #[inline]
    pub(crate) fn set_parity(&mut self, place: Place, parity: u8) {
        self.records[place.0 as usize * UNIT + PARITY] = parity;
    }

    fn grow(&mut self) {
        let mut buckets = vec![EMPTY_BUCKET; self.buckets.len() * 2];
        for place in &self.places {
            let header = self.header(*place);
            let family = Family::ALL[usize::from(header[FAMILY])];
            let hash = self.hash(family, self.text(*place, length(header)));
            put(&mut buckets, position(hash, usize::MAX), Bucket { hash: tag(hash), place: *place });
        }
        self.buckets = buckets;
    }
}

/// How many bytes the name of a record has.
#[inline]
fn length(header: &[u8; HEADER]) -> usize {
    usize::from(u16::from_le_bytes([header[LENGTH], header[LENGTH + 1]]))
}

/// Whether two names of the same length are the same: most are too short for a call of `memcmp` to be worth it.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let ((words, _), (other_words, _)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    match (one.last_chunk(), other.last_chunk()) {
        (Some(end), Some(other_end)) => {
            let differs = words.iter().zip(other_words).fold(0, |all, (a, b)| all | (word(a) ^ word(b)));
            differs | (word(end) ^ word(other_end)) == 0
        }
        _ => one == other,
    }
}

/// Where the search for a hash begins.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the mask keeps what there is of it")]
const fn position(hash: u64, mask: usize) -> usize {
    hash as usize & mask
}

/// The half of a hash that does not say where the search begins.
#[inline]
const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

fn put(buckets: &mut [Bucket], position: usize, bucket: Bucket) {
    let mask = buckets.len() - 1;
    let mut at = position & mask;
    while buckets[at].place != NOWHERE {
        at = (at + 1) & mask;
    }
    buckets[at] = bucket;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn every_name_keeps_its_slot_and_its_cell(
            names in proptest::collection::vec(("([a-c]{0,4}|[a-c]{30,70})", 0..4_usize), 0..400),
        ) {
            let mut slots = Slots::default();
            let mut model = HashMap::new();
            for (at, (name, family)) in (0..).zip(names) {
                let family = Family::ALL[family];
                let known = slots.find(family, name.as_bytes());
                prop_assert_eq!(slots.end(slots.begin(family, name.as_bytes()), family, name.as_bytes()), known);
                let slot = known.map(|place| slots.slot(place));
                prop_assert_eq!(slot, model.get(&(family, name.clone())).map(|(slot, _)| *slot));
                let place = known.unwrap_or_else(|| slots.insert(family, name.as_bytes()).unwrap());
                if known.is_none() {
                    prop_assert_eq!(slots.slot(place) as usize, model.len());
                    prop_assert_eq!((slots.cell(place).0.at, slots.cell(place).1), (EMPTY_CELL.at, 0));
                }
                let cell = Cell { sum: f64::from(at) + 0.5, at, lines: at + 1 };
                slots.set_cell(place, cell);
                slots.set_parity(place, (at % 2) as u8);
                model.insert((family, name), (slots.slot(place), cell));
            }
            prop_assert_eq!(slots.len(), model.len());
            for ((family, name), (slot, expected)) in model {
                let place = slots.place(slot);
                prop_assert_eq!(slots.name(place), (family, name.as_str()));
                prop_assert_eq!(slots.find(family, name.as_bytes()), Some(place));
                let (cell, parity) = slots.cell(place);
                prop_assert_eq!((cell.sum, cell.at, cell.lines), (expected.sum, expected.at, expected.lines));
                prop_assert_eq!(u32::from(parity), expected.at % 2);
            }
        }

        #[test]
        fn a_record_that_fits_into_a_line_of_cache_stays_within_one(lengths in proptest::collection::vec(0..60_usize, 1..60)) {
            let mut slots = Slots::default();
            for (number, length) in lengths.into_iter().enumerate() {
                let name = format!("{number:0length$}");
                let place = slots.insert(Family::Counter, name.as_bytes()).unwrap();
                let first = place.0 as usize * UNIT;
                let last = first + HEADER + name.len() - 1;
                prop_assert!(first / CACHE_LINE == last / CACHE_LINE || name.len() > CACHE_LINE - HEADER);
            }
        }
    }
}
