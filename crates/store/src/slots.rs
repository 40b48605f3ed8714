//! What is known of each series beside its names, in dense arrays that are found by the number of a series.
//!
//! Numbers are never given twice, so an array by number would grow for ever. A *page* covers 64 numbers and says which of
//! them have a *slot* in the arrays, and where the first of these is; a number that is gone for good costs less than half a
//! byte. Slots are in the order of numbers, and are packed again when most of them are dead.

use statline_series::{Kind, TimeRange, Timestamp};

use crate::arena::Place;
use crate::{Form, SeriesId};

const PAGE: u32 = u64::BITS;
/// Fewer dead slots than this are not worth the packing.
const FEW_DEAD: usize = 4096;

#[derive(Clone, Copy, Debug, Default)]
struct Page {
    /// The numbers that have a slot.
    placed: u64,
    /// Those of them whose series is there.
    alive: u64,
    /// The slot of the first of them.
    first: u32,
}

/// When a series was seen. Kept apart from the rest, since every point that is appended comes by here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// After `last` while the series has no point.
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

impl Life {
    pub(crate) const NONE: Self = Self { first: Timestamp::MAX, last: Timestamp::MIN };

    /// Whether there was a first point before the range ended and a last one after it began.
    pub(crate) fn overlaps(self, range: TimeRange) -> bool {
        !range.is_empty() && self.first <= self.last && self.first < range.until && range.from <= self.last
    }
}

/// The rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) key: Place,
    pub(crate) rule: u16,
    pub(crate) kind: Kind,
    pub(crate) form: Form,
}

/// The arrays.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    pages: Vec<Page>,
    lives: Vec<Life>,
    rows: Vec<Row>,
    dead: usize,
}

impl Slots {
    fn slot(&self, id: SeriesId) -> Option<usize> {
        let page = self.pages.get((id / PAGE) as usize)?;
        let bit = 1 << (id % PAGE);
        (page.alive & bit != 0).then(|| page.first as usize + (page.placed & (bit - 1)).count_ones() as usize)
    }

    pub(crate) fn row(&self, id: SeriesId) -> Option<&Row> {
        Some(&self.rows[self.slot(id)?])
    }

    pub(crate) fn row_mut(&mut self, id: SeriesId) -> Option<&mut Row> {
        let slot = self.slot(id)?;
        Some(&mut self.rows[slot])
    }

    pub(crate) fn life(&self, id: SeriesId) -> Option<Life> {
        Some(self.lives[self.slot(id)?])
    }

    pub(crate) fn row_and_life(&self, id: SeriesId) -> Option<(&Row, Life)> {
        let slot = self.slot(id)?;
        Some((&self.rows[slot], self.lives[slot]))
    }

    /// Widens a life.
    pub(crate) fn saw(&mut self, id: SeriesId, first: Timestamp, last: Timestamp) {
        let Some(slot) = self.slot(id) else { return };
        let life = &mut self.lives[slot];
        life.first = life.first.min(first);
        life.last = life.last.max(last);
    }

    /// Gives a slot to a number that has none.
    pub(crate) fn insert(&mut self, id: SeriesId, row: Row) {
        debug_assert!(self.slot(id).is_none());
        let page_number = (id / PAGE) as usize;
        if self.pages.len() <= page_number {
            let page = Page { first: self.rows.len() as u32, ..Page::default() };
            self.pages.resize(page_number + 1, page);
        }
        let page = &mut self.pages[page_number];
        let bit = 1 << (id % PAGE);
        let slot = page.first as usize + (page.placed & (bit - 1)).count_ones() as usize;
        page.alive |= bit;
        if page.placed & bit != 0 {
            self.dead -= 1;
            (self.rows[slot], self.lives[slot]) = (row, Life::NONE);
            return;
        }
        page.placed |= bit;
        grow(&mut self.rows);
        grow(&mut self.lives);
        // Numbers are given in order, so that this is nearly always the last page and the end.
        self.pages[page_number + 1..].iter_mut().for_each(|page| page.first += 1);
        self.rows.insert(slot, row);
        self.lives.insert(slot, Life::NONE);
    }

    pub(crate) fn remove(&mut self, id: SeriesId) {
        if self.slot(id).is_none() {
            return;
        }
        self.pages[(id / PAGE) as usize].alive &= !(1 << (id % PAGE));
        self.dead += 1;
        if self.dead > FEW_DEAD && self.dead * 2 > self.rows.len() {
            self.pack();
        }
    }

    fn pack(&mut self) {
        let mut kept = 0;
        for page in &mut self.pages {
            let mut slot = page.first as usize;
            page.first = kept as u32;
            let mut placed = page.placed;
            while placed != 0 {
                let bit = placed & placed.wrapping_neg();
                placed ^= bit;
                if page.alive & bit != 0 {
                    self.rows[kept] = self.rows[slot];
                    self.lives[kept] = self.lives[slot];
                    kept += 1;
                }
                slot += 1;
            }
            page.placed = page.alive;
        }
        self.rows.truncate(kept);
        self.lives.truncate(kept);
        self.rows.shrink_to_fit();
        self.lives.shrink_to_fit();
        self.dead = 0;
    }

    /// The numbers that have a slot, ascending.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SeriesId> {
        (0..).zip(&self.pages).flat_map(|(number, page)| {
            let mut left = page.alive;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(number * PAGE + bit)
            })
        })
    }

    #[cfg(test)]
    pub(crate) fn allocated(&self) -> usize {
        self.rows.capacity() * size_of::<Row>() + self.lives.capacity() * size_of::<Life>()
    }
}

/// Makes room for one more, and for an eighth more than there is, where a vector by itself would double.
fn grow<T>(vector: &mut Vec<T>) {
    if vector.len() == vector.capacity() {
        vector.reserve_exact(vector.len() / 8 + 16);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn row(rule: u16) -> Row {
        Row { key: Arena::default().push(0, b""), rule, kind: Kind::Gauge, form: Form::Points }
    }

    #[test]
    fn a_row_is_small() {
        assert_eq!(size_of::<Row>(), 8);
        assert_eq!(size_of::<Life>(), 16);
    }

    #[test]
    fn series_that_come_and_go_take_no_more_slots_with_time() {
        let mut slots = Slots::default();
        for id in 0..100_000 {
            slots.insert(id, row(0));
            if id >= 1000 {
                slots.remove(id - 1000);
            }
        }
        assert!(slots.allocated() < 16_000 * (size_of::<Row>() + size_of::<Life>()), "{}", slots.allocated());
        assert_eq!(slots.ids().collect::<Vec<_>>(), (99_000..100_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_number_is_given_late_before_pages_that_are_empty() {
        let mut slots = Slots::default();
        slots.insert(64, row(64));
        slots.remove(64);
        slots.pack();
        slots.insert(0, row(0));
        slots.insert(64, row(64));
        assert_eq!([0, 64].map(|id| slots.row(id).map(|row| row.rule)), [Some(0), Some(64)]);
    }

    proptest! {
        #[test]
        fn slots_hold_what_a_map_holds(
            steps in prop::collection::vec((0_u32..400, any::<u16>(), any::<bool>()), 0..200),
            pack in any::<bool>(),
        ) {
            let mut slots = Slots::default();
            let mut map = BTreeMap::new();
            for (id, rule, is_birth) in steps {
                let instant = Timestamp::from_millis(rule.into());
                if is_birth && !map.contains_key(&id) {
                    slots.insert(id, row(rule));
                    slots.saw(id, instant, instant);
                    map.insert(id, rule);
                } else if !is_birth {
                    slots.remove(id);
                    map.remove(&id);
                    if pack {
                        slots.pack();
                    }
                }
            }
            prop_assert_eq!(slots.ids().collect::<Vec<_>>(), map.keys().copied().collect::<Vec<_>>());
            for id in 0..400 {
                let expected = map.get(&id).copied();
                prop_assert_eq!(slots.row(id).map(|row| row.rule), expected);
                prop_assert_eq!(slots.life(id).map(|life| life.last.millis()), expected.map(i64::from));
            }
        }
    }
}
