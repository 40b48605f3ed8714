//! What one thread has counted in the open interval.
//!
//! A receiver thread owns a table and adds samples to it; a flush takes the table and gives an empty one. A drained table
//! still knows the names it saw, so that a series which keeps coming costs no allocation. It forgets the names that did
//! not come for a whole interval, so that what it remembers is bounded by what is in use.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::counter::Counter;
use crate::gauge::{Arrival, Gauge};
use crate::set::Set;
use crate::timer::Timer;
use crate::{Limits, Parser, Reason, Refusal, Sample, Value};

/// Values by series. The hasher is seeded, since names come from strangers.
pub(crate) type Map<V> = HashMap<Arc<str>, V, RandomState>;

/// The samples of an interval, added up.
#[derive(Debug)]
pub struct Table {
    pub(crate) counters: Map<Counter>,
    pub(crate) gauges: Map<Gauge>,
    pub(crate) timers: Map<Timer>,
    pub(crate) sets: Map<Set>,
    limits: Limits,
    timer_samples: usize,
    set_bytes: usize,
}

/// What came of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketCounts {
    /// Lines that were not empty: etsy's `metrics_received`.
    pub lines: u64,
    /// Samples that were taken.
    pub samples: u64,
    /// Values that could not be read: etsy's `bad_lines_seen`.
    pub bad: u64,
    /// Values that a limit of ours kept out.
    pub limited: u64,
}

impl PacketCounts {
    /// Counts a refusal as bad or as limited.
    pub const fn refuse(&mut self, reason: Reason) {
        if reason.is_limit() {
            self.limited += 1;
        } else {
            self.bad += 1;
        }
    }
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            counters: Map::default(),
            gauges: Map::default(),
            timers: Map::default(),
            sets: Map::default(),
            limits,
            timer_samples: 0,
            set_bytes: 0,
        }
    }

    /// Reads a packet and adds up what is in it. `refused` hears of each value that was not taken.
    pub fn receive(
        &mut self,
        parser: &mut Parser,
        packet: &[u8],
        arrival: Arrival,
        mut refused: impl FnMut(Refusal),
    ) -> PacketCounts {
        let mut counts = PacketCounts::default();
        counts.lines = parser.packet(packet, |outcome| {
            let taken = outcome.and_then(|sample| {
                self.add(&sample, arrival).map_err(|reason| Refusal { reason, offset: sample.offset })
            });
            match taken {
                Ok(()) => counts.samples += 1,
                Err(refusal) => {
                    counts.refuse(refusal.reason);
                    refused(refusal);
                }
            }
        });
        counts
    }

    /// Adds a sample.
    ///
    /// # Errors
    /// When a limit is reached: [`Reason::SeriesLimit`], [`Reason::TimerFull`], [`Reason::SetFull`] or
    /// [`Reason::MemberTooLong`].
    pub fn add(&mut self, sample: &Sample<'_>, arrival: Arrival) -> Result<(), Reason> {
        let has_room = self.series() < self.limits.series;
        let key = sample.key;
        match sample.value {
            Value::Count(count) => update(&mut self.counters, key, has_room, |counter| {
                counter.add(count);
                Ok(())
            }),
            Value::Gauge(value) => update(&mut self.gauges, key, has_room, |gauge| {
                gauge.set(value, arrival);
                Ok(())
            }),
            Value::GaugeDelta(delta) => update(&mut self.gauges, key, has_room, |gauge| {
                gauge.add(delta, arrival);
                Ok(())
            }),
            Value::Timing { value, weight } => {
                if self.timer_samples >= self.limits.timer_samples_total {
                    return Err(Reason::TimerFull);
                }
                let most = self.limits.timer_samples;
                update(&mut self.timers, key, has_room, |timer| {
                    if timer.samples.len() >= most {
                        return Err(Reason::TimerFull);
                    }
                    timer.add(value, weight);
                    Ok(())
                })?;
                self.timer_samples += 1;
                Ok(())
            }
            Value::Member(member) => self.add_member(key, member, has_room),
        }
    }

    fn add_member(&mut self, key: &str, member: &[u8], has_room: bool) -> Result<(), Reason> {
        if member.len() > self.limits.set_member_bytes {
            return Err(Reason::MemberTooLong);
        }
        let most = self.limits.set_members;
        let bytes_left = self.limits.set_bytes_total.saturating_sub(self.set_bytes);
        let mut added = 0;
        update(&mut self.sets, key, has_room, |set| {
            if set.members.contains(member) {
                return Ok(());
            }
            if set.len() >= most || member.len() > bytes_left {
                return Err(Reason::SetFull);
            }
            set.members.insert(member.into());
            added = member.len();
            Ok(())
        })?;
        self.set_bytes += added;
        Ok(())
    }

    /// How many series it remembers, all types together.
    #[must_use]
    pub fn series(&self) -> usize {
        self.counters.len() + self.gauges.len() + self.timers.len() + self.sets.len()
    }

    /// Begins an interval. The maps have been drained.
    pub(crate) const fn reset_totals(&mut self) {
        self.timer_samples = 0;
        self.set_bytes = 0;
    }
}

/// Does something to the value of a series, which is made when there is room for it.
fn update<V: Default>(
    map: &mut Map<V>,
    key: &str,
    has_room: bool,
    apply: impl FnOnce(&mut V) -> Result<(), Reason>,
) -> Result<(), Reason> {
    if let Some(value) = map.get_mut(key) {
        return apply(value);
    }
    if !has_room {
        return Err(Reason::SeriesLimit);
    }
    let mut value = V::default();
    apply(&mut value)?;
    map.insert(key.into(), value);
    Ok(())
}

/// Visits every series and keeps those of which `visit` says so, giving memory back when few are left.
pub(crate) fn drain<V>(map: &mut Map<V>, mut visit: impl FnMut(&Arc<str>, &mut V) -> bool) {
    map.retain(|key, value| visit(key, value));
    if map.capacity() > 1024 && map.capacity() / 4 > map.len() {
        map.shrink_to(map.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(table: &mut Table, packet: &str) -> (PacketCounts, Vec<Reason>) {
        let mut parser = Parser::new(&Limits::default());
        let mut reasons = Vec::new();
        let counts =
            table.receive(&mut parser, packet.as_bytes(), Arrival(1), |refusal: Refusal| reasons.push(refusal.reason));
        (counts, reasons)
    }

    #[test]
    fn what_came_of_a_packet_is_counted() {
        let mut table = Table::new(Limits::default());
        let (counts, reasons) = receive(&mut table, "a:1|c:2|c\nb:3|g\nbad\nc:1:x|ms\n");
        assert_eq!(counts, PacketCounts { lines: 4, samples: 4, bad: 2, limited: 0 });
        assert_eq!(reasons, [Reason::NoValue, Reason::NotANumber]);
        assert_eq!(table.series(), 3);
        assert_eq!(table.counters["a"], Counter { sum: 3.0, touched: true });
    }

    #[test]
    fn a_name_is_one_series_for_each_type() {
        let mut table = Table::new(Limits::default());
        receive(&mut table, "a:1|c\na:1|g\na:1|ms\na:1|s");
        assert_eq!(table.series(), 4);
    }

    #[test]
    fn at_the_limit_known_series_are_still_taken() {
        let mut table = Table::new(Limits { series: 2, ..Limits::default() });
        let (counts, reasons) = receive(&mut table, "a:1|c\nb:1|g\nc:1|c\na:1|c\nb:2|g\nd:1|ms\nd:1|s");
        assert_eq!(counts, PacketCounts { lines: 7, samples: 4, bad: 0, limited: 3 });
        assert_eq!(reasons, [Reason::SeriesLimit; 3]);
    }

    #[test]
    fn timers_and_sets_are_bounded() {
        let mut table = Table::new(Limits {
            timer_samples: 2,
            timer_samples_total: 3,
            set_members: 2,
            set_member_bytes: 3,
            set_bytes_total: 5,
            ..Limits::default()
        });
        let (_, reasons) = receive(&mut table, "t:1:2:3|ms\nu:1:2|ms");
        assert_eq!(reasons, [Reason::TimerFull, Reason::TimerFull]);
        let (_, reasons) = receive(&mut table, "s:aa|s:aa|s:bb|s:c|s\nr:long|s:dd|s:d|s");
        assert_eq!(reasons, [Reason::SetFull, Reason::MemberTooLong, Reason::SetFull]);
        assert_eq!(table.sets["s"].len(), 2);
        assert_eq!(table.sets["r"].len(), 1);
    }
}
