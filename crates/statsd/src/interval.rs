//! What happened in one interval, but for the cells, which a table keeps beside its names.
//!
//! A flush takes it from the table for an empty one; the memory of both goes back and forth between the two.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use statline_series::{Event, Timestamp};

use crate::Limits;
use crate::gauge::Gauge;
use crate::set::Set;
use crate::table::Family;
use crate::timer::Timer;

/// What happened since the last flush.
#[derive(Debug, Default)]
pub(crate) struct Interval {
    pub(crate) gauges: Vec<Gauge>,
    /// The first `timers_used` are of this interval; the others wait with their memory.
    pub(crate) timers: Vec<Timer>,
    pub(crate) timers_used: usize,
    pub(crate) sets: Vec<Set>,
    pub(crate) timed: HashMap<TimedKey, f64, RandomState>,
    pub(crate) events: Vec<Event>,
    timer_samples: usize,
    set_bytes: usize,
}

/// A series at an instant that its client named.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TimedKey {
    pub(crate) family: Family,
    pub(crate) series: Box<str>,
    pub(crate) timestamp: Timestamp,
}

/// What happened to a series, or where that is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    /// The sum of a counter.
    pub(crate) sum: f64,
    /// Where the gauge, timer or set is among those of the interval; any but [`UNTOUCHED`] for a counter.
    pub(crate) at: u32,
    /// How many lines began with it: etsy's key counting.
    pub(crate) lines: u32,
}

/// Nothing happened.
pub(crate) const UNTOUCHED: u32 = u32::MAX;

pub(crate) const EMPTY_CELL: Cell = Cell { sum: 0.0, at: UNTOUCHED, lines: 0 };

impl Interval {
    /// The gauge of a cell, which is a new one when nothing happened to it yet.
    pub(crate) fn gauge(&mut self, cell: &mut Cell) -> &mut Gauge {
        if cell.at == UNTOUCHED {
            cell.at = index(self.gauges.len());
            self.gauges.push(Gauge::default());
        }
        &mut self.gauges[cell.at as usize]
    }

    /// Adds a sample to the timer of a cell.
    pub(crate) fn add_timing(&mut self, cell: &mut Cell, value: f64, weight: f64, is_duration: bool, limits: &Limits) {
        if cell.at == UNTOUCHED {
            cell.at = index(self.timers_used);
            self.timers_used += 1;
            if self.timers.len() < self.timers_used {
                self.timers.push(Timer::default());
            }
        }
        let timer = &mut self.timers[cell.at as usize];
        let has_room = timer.samples.len() < limits.timer_samples && self.timer_samples < limits.timer_samples_total;
        timer.is_duration = is_duration;
        let kept_before = timer.samples.len();
        timer.add(value, weight, has_room);
        self.timer_samples = self.timer_samples + timer.samples.len() - kept_before;
    }

    /// Adds a member to the set of a cell.
    pub(crate) fn add_member(&mut self, cell: &mut Cell, member: &[u8], limits: &Limits) {
        if cell.at == UNTOUCHED {
            cell.at = index(self.sets.len());
            self.sets.push(Set::default());
        }
        let bytes_left = limits.set_bytes_total.saturating_sub(self.set_bytes);
        self.set_bytes += self.sets[cell.at as usize].add(member, limits.set_members, bytes_left);
    }

    /// Begins an interval anew. What was in it has been taken; its memory stays, but for what an unusual one took.
    pub(crate) fn reset(&mut self) {
        self.gauges.clear();
        self.sets.clear();
        self.timers.truncate(self.timers_used.saturating_mul(2));
        self.timers_used = 0;
        self.timed.clear();
        self.events.clear();
        self.timer_samples = 0;
        self.set_bytes = 0;
    }
}

/// The index of what is pushed next; there are never more than there are slots.
fn index(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(UNTOUCHED - 1)
}
