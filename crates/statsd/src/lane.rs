//! One thread's way into the state: its table, and which series each of the table's slots is.
//!
//! A flush swaps the interval under the lock and works on what it took without it. The thread goes on with the names it
//! knows. When too many of those have been idle, the lane gives the thread a table with the others only.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::interval::{Cell, EMPTY_CELL, Interval, UNTOUCHED};
use crate::known::Id;
use crate::slots::Slot;
use crate::table::{Family, Table};
use crate::{Limits, State};

/// For how many flushes a name stays in a table that nothing has counted under it.
const IDLE_FLUSHES: u8 = 6;
/// How many names are read while a thread waits.
const NAMES_AT_ONCE: usize = 256;
/// With fewer names than these, a table is never replaced.
const FEW_NAMES: usize = 1024;

/// A table that a thread fills, and what the flush remembers about it.
#[derive(Debug)]
pub struct Lane {
    table: Arc<Mutex<Table>>,
    limits: Limits,
    /// The interval that the next swap leaves with the thread.
    spare: Interval,
    bound: Vec<Bound>,
    /// How often the state had removed series when the slots were last bound.
    removals: u64,
}

/// Which series a slot is.
#[derive(Clone, Copy, Debug)]
struct Bound {
    id: Id,
    family: Family,
    /// For how many flushes nothing has been counted.
    idle: u8,
}

/// The series of a slot is not known yet, not known any more, or there was no room for it.
const UNBOUND: Id = Id::MAX;

impl Lane {
    /// A lane with an empty table.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let table = Arc::new(Mutex::new(Table::new(limits.clone())));
        Self { table, limits, spare: Interval::default(), bound: Vec::new(), removals: 0 }
    }

    /// The table, for the thread that fills it.
    #[must_use]
    pub fn table(&self) -> Arc<Mutex<Table>> {
        Arc::clone(&self.table)
    }

    /// The memory that the table, the spare interval and the bindings take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let cells = self.spare.cells.capacity() * size_of_val(&EMPTY_CELL);
        lock(&self.table).bytes() + cells + self.bound.capacity() * size_of::<Bound>()
    }

    /// Moves what was counted since the last time into the state. Answers how many lines were of series that found no room
    /// there.
    pub(crate) fn drain_into(&mut self, state: &mut State, is_flush: bool) -> u64 {
        let (slots, was_full) = {
            let mut table = lock(&self.table);
            std::mem::swap(&mut table.open, &mut self.spare);
            state.take_refused(&mut table.prefixes);
            (table.slots.len(), std::mem::take(&mut table.was_full))
        };
        let mut drained = std::mem::take(&mut self.spare);
        if self.removals != state.removals {
            self.removals = state.removals;
            self.bound.iter_mut().for_each(|bound| bound.id = UNBOUND);
        }
        self.extend_to(slots);
        self.bind(state, &drained, None);
        let refused = self.merge(state, &mut drained, is_flush);
        drained.reset();
        self.spare = drained;
        if is_flush { refused + self.renew(state, was_full) } else { refused }
    }

    fn extend_to(&mut self, slots: usize) {
        self.bound.resize(slots, Bound { id: UNBOUND, family: Family::Counter, idle: 0 });
    }

    /// Finds out which series the touched slots are. The names are read from the table a few at a time, or from one that
    /// no thread has any more.
    fn bind(&mut self, state: &mut State, drained: &Interval, owned: Option<&Table>) {
        let is_unbound = |(slot, cell): (usize, &Cell)| {
            (cell.at != UNTOUCHED && self.bound[slot].id == UNBOUND).then(|| Slot::try_from(slot).ok()).flatten()
        };
        let unbound: Vec<Slot> = drained.cells.iter().enumerate().filter_map(is_unbound).collect();
        let mut names = Vec::with_capacity(NAMES_AT_ONCE);
        for slots in unbound.chunks(NAMES_AT_ONCE) {
            names.clear();
            {
                let guard = owned.is_none().then(|| lock(&self.table));
                let Some(table) = guard.as_deref().or(owned) else { return };
                names.extend(slots.iter().map(|slot| {
                    let (family, name) = table.slots.name(*slot);
                    (family, Box::<str>::from(name))
                }));
            }
            for (slot, (family, name)) in slots.iter().zip(&names) {
                let bound = &mut self.bound[*slot as usize];
                bound.family = *family;
                bound.id = state.bind(*family, name).unwrap_or(UNBOUND);
                if bound.id == UNBOUND {
                    state.blame(name, drained.cells[*slot as usize].lines);
                }
            }
        }
    }

    /// Adds up what was counted. Answers how many lines were of series that have no room.
    fn merge(&mut self, state: &mut State, drained: &mut Interval, is_flush: bool) -> u64 {
        let idle_more = u8::from(is_flush);
        let mut refused = 0;
        for (bound, cell) in self.bound.iter_mut().zip(&drained.cells) {
            if cell.at == UNTOUCHED {
                bound.idle = bound.idle.saturating_add(idle_more);
                continue;
            }
            bound.idle = 0;
            let at = cell.at as usize;
            let found = match bound.family {
                Family::Counter => state.count(bound.id, cell.sum, cell.lines),
                Family::Gauge => state.move_gauge(bound.id, drained.gauges[at], cell.lines),
                Family::Timer => state.add_timer(bound.id, &mut drained.timers[at], cell.lines),
                Family::Set => state.add_set(bound.id, drained.sets[at].take(), cell.lines),
            };
            if !found {
                bound.id = UNBOUND;
                refused += u64::from(cell.lines);
            }
        }
        // Slots past the last cell were not touched.
        for bound in self.bound.iter_mut().skip(drained.cells.len()) {
            bound.idle = bound.idle.saturating_add(idle_more);
        }
        state.add_timed(drained.timed.drain());
        state.add_events(&mut drained.events);
        refused
    }

    /// Gives the thread a table without the names that have been idle, when there are many of them.
    fn renew(&mut self, state: &mut State, was_full: bool) -> u64 {
        let most_idle = if was_full { 0 } else { IDLE_FLUSHES };
        let live = self.bound.iter().filter(|bound| bound.idle <= most_idle).count();
        let is_worth_it = self.bound.len() >= FEW_NAMES && live <= self.bound.len() / 2;
        let makes_room = was_full && live < self.bound.len() - self.bound.len() / 10;
        if !is_worth_it && !makes_room {
            return 0;
        }
        let mut renewed = Table::new(self.limits.clone());
        let mut bound = Vec::with_capacity(live);
        let is_live =
            |(slot, bound): (usize, &Bound)| (bound.idle <= most_idle).then(|| Slot::try_from(slot).ok()).flatten();
        let live: Vec<Slot> = self.bound.iter().enumerate().filter_map(is_live).collect();
        for slots in live.chunks(NAMES_AT_ONCE) {
            let table = lock(&self.table);
            for slot in slots {
                let (family, name) = table.slots.name(*slot);
                if renewed.adopt(family, name) {
                    bound.push(self.bound[*slot as usize]);
                }
            }
        }
        let mut old = {
            let mut table = lock(&self.table);
            std::mem::replace(&mut *table, renewed)
        };
        // What was counted since the swap is in the old one, perhaps under names that the new one does not know.
        self.extend_to(old.slots.len());
        let mut drained = std::mem::take(&mut old.open);
        state.take_refused(&mut old.prefixes);
        self.bind(state, &drained, Some(&old));
        let refused = self.merge(state, &mut drained, true);
        self.bound = bound;
        self.spare = Interval::default();
        refused
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arrival, FlushConfig, Grammar, Parser};

    fn receive(lane: &Lane, packet: &str) -> u64 {
        let mut parser = Parser::new(&Limits::default(), Grammar::default());
        let table = lane.table();
        lock(&table).receive(&mut parser, packet.as_bytes(), Arrival::at(1), |_| ()).limited
    }

    fn counters(state: &State) -> Vec<(String, f64)> {
        state.counters(usize::MAX).shown.into_iter().filter(|(_, sum)| *sum > 0.0).collect()
    }

    #[test]
    fn names_that_stay_away_leave_the_table_and_what_comes_under_them_again_is_counted() {
        let limits = Limits::default();
        let mut state = State::new(FlushConfig::default(), &limits).unwrap();
        let mut lane = Lane::new(limits);
        let all: String = (0..2 * FEW_NAMES).map(|number| format!("n{number}:1|c\n")).collect();
        receive(&lane, &all);
        state.absorb(&mut lane);
        for _ in 0..=IDLE_FLUSHES {
            assert_eq!(lock(&lane.table).series(), 2 * FEW_NAMES);
            receive(&lane, "n7:1|c");
            state.absorb(&mut lane);
        }
        assert_eq!(lock(&lane.table).series(), 1);
        receive(&lane, "n7:1|c\nn8:2|c");
        state.absorb(&mut lane);
        let counted = counters(&state);
        assert_eq!(counted.len(), 2 * FEW_NAMES);
        let sum_of = |name: &str| counted.iter().find(|(known, _)| known == name).unwrap().1;
        assert_eq!((sum_of("n7"), sum_of("n8"), sum_of("n9")), (f64::from(IDLE_FLUSHES) + 3.0, 3.0, 1.0));
    }

    #[test]
    fn a_full_table_makes_room_for_new_names_with_the_next_flush() {
        let limits = Limits { series: 10, ..Limits::default() };
        let mut state = State::new(FlushConfig { idle_flushes: 1, ..FlushConfig::default() }, &limits).unwrap();
        let mut lane = Lane::new(limits);
        let all: String = (0..12).map(|number| format!("a.b.n{number}:1|c\n")).collect();
        assert_eq!(receive(&lane, &all), 2);
        state.absorb(&mut lane);
        assert_eq!(state.offenders(1)[0].refused, 2);
        assert_eq!(receive(&lane, "new:1|c"), 1);
        state.absorb(&mut lane);
        assert_eq!(receive(&lane, "new:1|c"), 0, "the idle names are gone from the table");
    }
}
