//! Distinct texts, each with a number: the keys of series, the parts of their names.
//!
//! The table holds places in an arena and no texts: a look-up reads one bucket and one text.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::arena::{Arena, Moved, Place};

/// Where a text is, and its hash, so that a table that grows reads no text.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    place: Place,
    hash: u32,
}

impl Bucket {
    /// As wide as the table wants it. It takes the place from the low bits and tells neighbours apart by the high ones.
    const fn wide(hash: u32) -> u64 {
        (hash as u64) << 32 | hash as u64
    }
}

/// The texts with their numbers.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    arena: Arena,
    table: HashTable<Bucket>,
    hasher: RandomState,
}

impl Texts {
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// The number of a text.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        let hash = self.hash(text.as_bytes());
        let is_it = |bucket: &Bucket| bucket.hash == hash && self.arena.text(bucket.place) == text.as_bytes();
        let bucket = self.table.find(Bucket::wide(hash), is_it)?;
        Some(self.arena.owner(bucket.place))
    }

    fn hash(&self, text: &[u8]) -> u32 {
        self.hasher.hash_one(text) as u32
    }

    /// Gives a number to a text that has none.
    pub(crate) fn insert(&mut self, number: u32, text: &str) -> Place {
        debug_assert_eq!(self.find(text), None);
        let place = self.arena.push(number, text.as_bytes());
        let hash = self.hash(text.as_bytes());
        self.table.insert_unique(Bucket::wide(hash), Bucket { place, hash }, |bucket| Bucket::wide(bucket.hash));
        place
    }

    /// Takes a text out. Others may move; of each, its number and its new place are told.
    pub(crate) fn remove(&mut self, place: Place, mut moved: impl FnMut(u32, Place)) {
        let hash = self.hash(self.arena.text(place));
        if let Ok(entry) = self.table.find_entry(Bucket::wide(hash), |bucket| bucket.place == place) {
            entry.remove();
        }
        let Self { arena, table, hasher } = self;
        arena.remove(place, |Moved { owner, text, from, to }| {
            let hash = Bucket::wide(hasher.hash_one(text) as u32);
            if let Some(bucket) = table.find_mut(hash, |bucket| bucket.place == from) {
                bucket.place = to;
            }
            moved(owner, to);
        });
    }

    pub(crate) fn bytes(&self, place: Place) -> &[u8] {
        self.arena.text(place)
    }

    pub(crate) fn text(&self, place: Place) -> &str {
        // Only whole texts were put in.
        std::str::from_utf8(self.arena.text(place)).unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn allocated(&self) -> usize {
        self.arena.allocated()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_until_it_is_removed_wherever_it_moves() {
        let mut texts = Texts::default();
        let text_of = |number: u32| format!("{number:-^200}");
        let mut places: Vec<Place> = (0..20_000).map(|number| texts.insert(number, &text_of(number))).collect();
        for number in (0..20_000).filter(|number| number % 7 != 0) {
            let mut moves = Vec::new();
            texts.remove(places[number as usize], |owner, place| moves.push((owner, place)));
            moves.into_iter().for_each(|(owner, place)| places[owner as usize] = place);
        }
        for number in 0..20_000 {
            let expected = (number % 7 == 0).then_some(number);
            assert_eq!(texts.find(&text_of(number)), expected);
            if expected.is_some() {
                assert_eq!(texts.text(places[number as usize]), text_of(number));
            }
        }
        assert_eq!(texts.len(), 2858);
    }
}
