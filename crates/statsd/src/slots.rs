//! Which names a table knows, and the slot of each.
//!
//! An open-addressed hash table beside one text that holds all names, so that a name costs its own bytes and a few more,
//! and finding one touches two lines of cache. Names are never removed; a table with too many that are idle is replaced.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use crate::prefetch;
use crate::table::Family;

/// The number of a name within one table.
pub(crate) type Slot = u32;

/// No name's slot.
const EMPTY: Slot = Slot::MAX;

/// The bytes before each name in the text: its family, and its length in two bytes.
const HEADER: usize = 3;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    hash: u32,
    slot: Slot,
    /// Where the name begins in the text.
    start: u32,
    length: u16,
    family: Family,
}

const EMPTY_BUCKET: Bucket = Bucket { hash: 0, slot: EMPTY, start: 0, length: 0, family: Family::Counter };

/// A search that has begun: the hash of a name.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Begun(u64);

/// Names and their slots, which count up from 0.
#[derive(Debug)]
pub(crate) struct Slots {
    /// As many as a power of 2, three quarters of them taken at most.
    buckets: Vec<Bucket>,
    text: Vec<u8>,
    /// Where the header of each slot's name is in the text.
    starts: Vec<u32>,
    /// Seeded, since names come from strangers.
    hasher: RandomState,
}

impl Default for Slots {
    fn default() -> Self {
        Self { buckets: vec![EMPTY_BUCKET; 64], text: Vec::new(), starts: Vec::new(), hasher: RandomState::default() }
    }
}

impl Slots {
    /// How many names there are.
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.buckets.capacity() * size_of::<Bucket>() + self.text.capacity() + self.starts.capacity() * size_of::<u32>()
    }

    #[inline]
    fn hash(&self, family: Family, name: &[u8]) -> u64 {
        self.hasher.hash_one(name) ^ (family as u64)
    }

    /// The slot of a name that is known.
    #[inline]
    pub(crate) fn find(&self, family: Family, name: &[u8]) -> Option<Slot> {
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

    /// Asks for the memory of what a search that has begun will most likely find; answers its slot.
    #[inline]
    pub(crate) fn expect(&self, begun: Begun) -> Slot {
        let bucket = &self.buckets[position(begun.0, self.buckets.len() - 1)];
        let start = bucket.start as usize;
        prefetch::element(&self.text, start);
        prefetch::element(&self.text, start + usize::from(bucket.length));
        bucket.slot
    }

    /// The slot of a name that [`Slots::begin`] began to find.
    #[inline]
    pub(crate) fn end(&self, begun: Begun, family: Family, name: &[u8]) -> Option<Slot> {
        self.find_hashed(begun.0, family, name)
    }

    #[inline]
    fn is_of(&self, bucket: &Bucket, hash: u64, family: Family, name: &[u8]) -> bool {
        bucket.hash == tag(hash)
            && bucket.family == family
            && usize::from(bucket.length) == name.len()
            && self.text[bucket.start as usize..][..name.len()] == *name
    }

    #[inline]
    fn find_hashed(&self, hash: u64, family: Family, name: &[u8]) -> Option<Slot> {
        let mask = self.buckets.len() - 1;
        let mut at = position(hash, mask);
        loop {
            let bucket = &self.buckets[at];
            if bucket.slot == EMPTY {
                return None;
            }
            if self.is_of(bucket, hash, family, name) {
                return Some(bucket.slot);
            }
            at = (at + 1) & mask;
        }
    }

    /// Gives a slot to a name that is not known. `None` when there is no room for its text, at 4 GiB.
    pub(crate) fn insert(&mut self, family: Family, name: &[u8]) -> Option<Slot> {
        debug_assert!(self.find(family, name).is_none(), "a name has one slot");
        let length = u16::try_from(name.len()).ok()?;
        let header = u32::try_from(self.text.len()).ok()?;
        let start = header.checked_add(HEADER as u32)?;
        start.checked_add(u32::from(length))?;
        let slot = Slot::try_from(self.starts.len()).ok().filter(|slot| *slot != EMPTY)?;
        if (self.starts.len() + 1) * 4 > self.buckets.len() * 3 {
            self.grow();
        }
        self.text.push(family as u8);
        self.text.extend_from_slice(&length.to_le_bytes());
        self.text.extend_from_slice(name);
        self.starts.push(header);
        let hash = self.hash(family, name);
        let bucket = Bucket { hash: tag(hash), slot, start, length, family };
        put(&mut self.buckets, position(hash, usize::MAX), bucket);
        Some(slot)
    }

    /// The name of a slot that was given.
    pub(crate) fn name(&self, slot: Slot) -> (Family, &str) {
        let header = self.starts[slot as usize] as usize;
        let family = Family::ALL[usize::from(self.text[header])];
        let length = u16::from_le_bytes([self.text[header + 1], self.text[header + 2]]);
        let name = &self.text[header + HEADER..][..usize::from(length)];
        // Only texts were put in; the check costs little, and this is not the way of a packet.
        (family, std::str::from_utf8(name).unwrap_or_default())
    }

    fn grow(&mut self) {
        let mut buckets = vec![EMPTY_BUCKET; self.buckets.len() * 2];
        for bucket in self.buckets.iter().filter(|bucket| bucket.slot != EMPTY) {
            let name = &self.text[bucket.start as usize..][..usize::from(bucket.length)];
            put(&mut buckets, position(self.hash(bucket.family, name), usize::MAX), *bucket);
        }
        self.buckets = buckets;
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
    while buckets[at].slot != EMPTY {
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
        fn every_name_keeps_its_slot(names in proptest::collection::vec(("[a-c]{0,4}", 0..4_usize), 0..400)) {
            let mut slots = Slots::default();
            let mut model = HashMap::new();
            for (name, family) in names {
                let family = Family::ALL[family];
                let known = slots.find(family, name.as_bytes());
                prop_assert_eq!(slots.end(slots.begin(family, name.as_bytes()), family, name.as_bytes()), known);
                prop_assert_eq!(known, model.get(&(family, name.clone())).copied());
                if known.is_none() {
                    let slot = slots.insert(family, name.as_bytes()).unwrap();
                    prop_assert_eq!(slot as usize, model.len());
                    model.insert((family, name), slot);
                }
            }
            prop_assert_eq!(slots.len(), model.len());
            for ((family, name), slot) in model {
                prop_assert_eq!(slots.name(slot), (family, name.as_str()));
                prop_assert_eq!(slots.find(family, name.as_bytes()), Some(slot));
            }
        }
    }
}
