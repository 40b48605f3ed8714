//! One thread's way into the state: its table, and which series each of the table's slots is.
//!
//! A flush closes the interval under the lock, gathers its cells a few at a time, and works on what it took without the
//! lock. The thread goes on with the names it knows. When too many of those have been idle, the lane gives the thread a table with the others only.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::interval::{Cell, Interval};
use crate::known::Id;
use crate::slots::Slot;
use crate::table::{Family, Table};
use crate::{Limits, State};

/// For how many flushes a name stays in a table that nothing has counted under it.
const IDLE_FLUSHES: u8 = 6;
/// How many cells or names are read while a thread waits.
const SLOTS_AT_ONCE: usize = 512;
/// With fewer names than these, a table is never replaced.
const FEW_NAMES: usize = 1024;

/// A table that a thread fills, and what the flush remembers about it.
#[derive(Debug)]
pub struct Lane {
    table: Arc<Mutex<Table>>,
    limits: Limits,
    /// The interval that the next flush leaves with the thread.
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

    /// The memory that the table and the bindings take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        lock(&self.table).bytes() + self.bound.capacity() * size_of::<Bound>()
    }

    /// Moves what was counted since the last time into the state. Answers how many lines were of series that found no room
    /// there.
    pub(crate) fn drain_into(&mut self, state: &mut State, is_flush: bool) -> u64 {
        if self.removals != state.removals {
            self.removals = state.removals;
            self.bound.iter_mut().for_each(|bound| bound.id = UNBOUND);
        }
        let table = Arc::clone(&self.table);
        let spare = std::mem::take(&mut self.spare);
        let (mut refused, drained, was_full) = self.drain(state, &mut Source::Shared(&table), spare, is_flush);
        self.spare = drained;
        if is_flush {
            refused += self.renew(state, was_full);
        }
        refused
    }

    /// Closes a table's interval and adds up what was counted in it. Answers how many lines were of series that have no
    /// room, the interval to be used again, and whether the table was full.
    fn drain(
        &mut self,
        state: &mut State,
        source: &mut Source<'_>,
        spare: Interval,
        is_flush: bool,
    ) -> (u64, Interval, bool) {
        let (mut closed, slots, was_full) = source.with(|table| {
            state.take_refused(&mut table.prefixes);
            (table.close(spare), table.slots.len(), std::mem::take(&mut table.was_full))
        });
        self.bound.resize(slots, Bound { id: UNBOUND, family: Family::Counter, idle: 0 });
        let mut refused = 0;
        let mut gathered = Vec::with_capacity(SLOTS_AT_ONCE);
        // There are no more slots than a slot can number.
        let slots = Slot::try_from(slots).unwrap_or(Slot::MAX);
        for first in (0..slots).step_by(SLOTS_AT_ONCE) {
            let some = first..slots.min(first + SLOTS_AT_ONCE as Slot);
            for bound in &mut self.bound[some.start as usize..some.end as usize] {
                bound.idle = bound.idle.saturating_add(u8::from(is_flush));
            }
            source.with(|table| {
                table.gather(some, |slot, cell, names, record| {
                    let is_bound = self.bound[slot as usize].id != UNBOUND;
                    gathered.push(Counted { slot, cell, name: (!is_bound).then(|| owned(names.name(record))) });
                });
            });
            refused += self.merge(state, &mut closed, gathered.drain(..));
        }
        let aside = source.with(Table::take_aside);
        for some in aside.chunks(SLOTS_AT_ONCE) {
            source.with(|table| {
                gathered.extend(some.iter().map(|&(slot, cell)| {
                    let is_bound = self.bound[slot as usize].id != UNBOUND;
                    let name = (!is_bound).then(|| owned(table.slots.name(table.slots.place(slot))));
                    Counted { slot, cell, name }
                }));
            });
            refused += self.merge(state, &mut closed, gathered.drain(..));
        }
        state.add_timed(closed.timed.drain());
        state.add_events(&mut closed.events);
        closed.reset();
        (refused, closed, was_full)
    }

    /// Adds up what was counted. Answers how many lines were of series that have no room.
    fn merge(&mut self, state: &mut State, closed: &mut Interval, counted: impl Iterator<Item = Counted>) -> u64 {
        let mut refused = 0;
        for Counted { slot, cell, name } in counted {
            let bound = &mut self.bound[slot as usize];
            bound.idle = 0;
            if let Some((family, name)) = name {
                bound.family = family;
                bound.id = state.bind(family, &name).unwrap_or(UNBOUND);
                if bound.id == UNBOUND {
                    state.blame(&name, cell.lines);
                }
            }
            let at = cell.at as usize;
            let found = match bound.family {
                Family::Counter => state.count(bound.id, cell.sum, cell.lines),
                Family::Gauge => state.move_gauge(bound.id, closed.gauges[at], cell.lines),
                Family::Timer => state.add_timer(bound.id, &mut closed.timers[at], cell.lines),
                Family::Set => state.add_set(bound.id, closed.sets[at].take(), cell.lines),
            };
            if !found {
                bound.id = UNBOUND;
                refused += u64::from(cell.lines);
            }
        }
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
        for slots in live.chunks(SLOTS_AT_ONCE) {
            let table = lock(&self.table);
            for slot in slots {
                let (family, name) = table.slots.name(table.slots.place(*slot));
                if renewed.adopt(family, name) {
                    bound.push(self.bound[*slot as usize]);
                }
            }
        }
        let mut old = std::mem::replace(&mut *lock(&self.table), renewed);
        // What was counted since the interval was closed is in the old one, perhaps under names that the new one does not
        // know.
        let (refused, ..) = self.drain(state, &mut Source::Owned(&mut old), Interval::default(), true);
        self.bound = bound;
        self.spare = Interval::default();
        refused
    }
}

/// What was counted under a slot, and its name when the lane does not know which series it is.
struct Counted {
    slot: Slot,
    cell: Cell,
    name: Option<(Family, Box<str>)>,
}

fn owned((family, name): (Family, &str)) -> (Family, Box<str>) {
    (family, name.into())
}

/// A table that is drained: one that a thread fills meanwhile, or one that no thread has any more.
enum Source<'a> {
    Shared(&'a Mutex<Table>),
    Owned(&'a mut Table),
}

impl Source<'_> {
    fn with<T>(&mut self, work: impl FnOnce(&mut Table) -> T) -> T {
        match self {
            Self::Shared(table) => work(&mut lock(table)),
            Self::Owned(table) => work(table),
        }
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
    fn what_comes_while_an_interval_is_gathered_is_counted_once() {
        const ROUNDS: u32 = 300;
        let limits = Limits::default();
        let mut state = State::new(FlushConfig::default(), &limits).unwrap();
        let mut lane = Lane::new(limits);
        let packet: String = (0..3 * SLOTS_AT_ONCE).map(|number| format!("n{number}:1|c\n")).collect();
        std::thread::scope(|scope| {
            let table = lane.table();
            let sender = scope.spawn(move || {
                let mut parser = Parser::new(&Limits::default(), Grammar::default());
                for _ in 0..ROUNDS {
                    lock(&table).receive(&mut parser, packet.as_bytes(), Arrival::at(1), |_| ());
                }
            });
            while !sender.is_finished() {
                state.absorb(&mut lane);
            }
        });
        state.absorb(&mut lane);
        let counted = counters(&state);
        assert_eq!(counted.len(), 3 * SLOTS_AT_ONCE);
        assert!(counted.iter().all(|(_, sum)| *sum == f64::from(ROUNDS)), "{counted:?}");
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
