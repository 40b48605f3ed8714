//! Distinct texts, each with a number: the keys of series, the parts of their names.
//!
//! The table holds places in the arena and no texts, so that a look-up reads one bucket and one text.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::arena::{Arena, Moved, Place};

/// The texts with their numbers.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    arena: Arena,
    table: HashTable<Place>,
    hasher: RandomState,
}

impl Texts {
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// The number of a text.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text.as_bytes());
        let place = self.table.find(hash, |place| self.arena.text(*place) == text.as_bytes())?;
        Some(self.arena.owner(*place))
    }

    /// Gives a number to a text that has none.
    pub(crate) fn insert(&mut self, number: u32, text: &str) -> Place {
        debug_assert_eq!(self.find(text), None);
        let place = self.arena.push(number, text.as_bytes());
        let hash = self.hasher.hash_one(text.as_bytes());
        self.table.insert_unique(hash, place, |place| self.hasher.hash_one(self.arena.text(*place)));
        place
    }

    /// Takes a text out. Others may move; of each, its number and its new place are told.
    pub(crate) fn remove(&mut self, place: Place, mut moved: impl FnMut(u32, Place)) {
        let hash = self.hasher.hash_one(self.arena.text(place));
        if let Ok(entry) = self.table.find_entry(hash, |other| *other == place) {
            entry.remove();
        }
        self.arena.remove(place, |Moved { owner, text, from, to }| {
            if let Some(known) = self.table.find_mut(self.hasher.hash_one(text), |other| *other == from) {
                *known = to;
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
        let text_of = |number: u32| format!("{:-^200}", number);
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
