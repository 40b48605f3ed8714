//! What one thread has counted in the open interval.
//!
//! A receiver thread owns a table and adds samples to it. A flush closes the interval: it takes what happened, the
//! [`Interval`], and leaves an empty one in its place; the names stay, so that a series which keeps coming costs no
//! allocation. The cells beside the names are gathered afterwards, a few at a time; one that the thread needs before its
//! turn has come is put aside. So a thread never waits for longer than a few cells take.

use std::mem;
use std::ops::Range;

use memchr::memchr;
use statline_series::Timestamp;

use crate::gauge::Arrival;
use crate::interval::{Cell, EMPTY_CELL, Interval, TimedKey, UNTOUCHED};
use crate::line::{Outcome, Sample, Value};
use crate::number::saturating_add;
use crate::prefetch;
use crate::prefixes::Prefixes;
use crate::quick::{self, QuickLine};
use crate::slots::{Begun, Place as Record, Slot, Slots};
use crate::{Limits, Parser, Reason, Refusal};

/// What a series is to statsd. A name is one series for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// Counts that are added up.
    Counter,
    /// Levels that stay.
    Gauge,
    /// Durations, and the values of histograms and distributions.
    Timer,
    /// Different members.
    Set,
}

impl Family {
    /// Every one of them, in the order of their declaration: `ALL[family as usize] == family`.
    pub const ALL: [Self; 4] = [Self::Counter, Self::Gauge, Self::Timer, Self::Set];
}

/// The samples of an interval, added up.
#[derive(Debug)]
pub struct Table {
    pub(crate) slots: Slots,
    pub(crate) open: Interval,
    /// Which of two alternating intervals is open.
    parity: u8,
    /// Cells of the closed interval that were needed for the open one before they were gathered.
    aside: Vec<(Slot, Cell)>,
    pub(crate) prefixes: Prefixes,
    /// Whether a new series found no room since the last flush.
    pub(crate) was_full: bool,
    limits: Limits,
}

/// What came of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketCounts {
    /// Lines that were not empty: etsy's `metrics_received`.
    pub lines: u64,
    /// Samples and events that were taken.
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

/// How many lines are read before the first of them is added up, so that the memory of their series is waited for together.
const LINES_AHEAD: usize = 16;

/// A place in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    packet: usize,
    byte: usize,
}

/// A line of the short form that was read ahead.
#[derive(Clone, Copy, Debug)]
struct Ahead<'a> {
    at: Place,
    line: QuickLine<'a>,
    name: Begun,
}

/// Whether a name that is known is read as itself: without Graphite's tags a `;` must be dropped, though names with other
/// tags have one.
#[inline]
fn is_name(line: &QuickLine<'_>, parser: &Parser) -> bool {
    parser.grammar().tags.graphite || memchr(b';', line.name).is_none()
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            slots: Slots::default(),
            open: Interval::default(),
            parity: 0,
            aside: Vec::new(),
            prefixes: Prefixes::new(&limits),
            was_full: false,
            limits,
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
        self.receive_all(parser, 1, |_| packet, arrival, |_, refusal| refused(refusal))
    }

    /// Reads as many packets as there are, which `packet` gives by their number, and adds up what is in them. `refused`
    /// hears of each value that was not taken, and which packet it was in.
    pub fn receive_all<'a>(
        &mut self,
        parser: &mut Parser,
        packets: usize,
        packet: impl Fn(usize) -> &'a [u8],
        arrival: Arrival,
        mut refused: impl FnMut(usize, Refusal),
    ) -> PacketCounts {
        let mut counts = PacketCounts::default();
        let (mut some, mut others) = ([const { None }; LINES_AHEAD], [const { None }; LINES_AHEAD]);
        let (mut lines, mut later) = (&mut some, &mut others);
        let mut place = Place::default();
        let mut found = self.look_ahead(packets, &packet, &mut place, lines);
        loop {
            // What is asked for comes while the lines behind these are read.
            self.expect(&lines[..found]);
            let is_full = found == LINES_AHEAD;
            let mut found_later = if is_full { self.look_ahead(packets, &packet, &mut place, later) } else { 0 };
            let astray = self.add_ahead(parser, &packet, &lines[..found], arrival, &mut counts, &mut refused);
            if let Some(next) = astray {
                place = next;
                found_later = self.look_ahead(packets, &packet, &mut place, later);
            } else if !is_full {
                if place.packet == packets {
                    return counts;
                }
                let mut refused = |refusal| refused(place.packet, refusal);
                place.byte =
                    self.receive_line(parser, packet(place.packet), place.byte, arrival, &mut counts, &mut refused);
                found_later = self.look_ahead(packets, &packet, &mut place, later);
            }
            found = found_later;
            mem::swap(&mut lines, &mut later);
        }
    }

    /// Adds up lines that were read ahead. When one of them turns out to be another line than it looked, the rest is left,
    /// and the answer is where to read on.
    #[inline]
    fn add_ahead<'a>(
        &mut self,
        parser: &mut Parser,
        packet: &impl Fn(usize) -> &'a [u8],
        lines: &[Option<Ahead<'a>>],
        arrival: Arrival,
        counts: &mut PacketCounts,
        refused: &mut impl FnMut(usize, Refusal),
    ) -> Option<Place> {
        for Ahead { at, line, name } in lines.iter().flatten() {
            let known = self.slots.end(*name, line.family, line.name);
            if let Some(record) = known.filter(|_| is_name(line, parser)) {
                self.add_quick(record, line, parser.grammar().gauge_deltas, arrival);
                counts.lines += 1;
                counts.samples += 1;
                continue;
            }
            let mut refused = |refusal| refused(at.packet, refusal);
            let next = self.receive_line(parser, packet(at.packet), at.byte, arrival, counts, &mut refused);
            if next != at.byte + line.length {
                // The name reached over the end of a line.
                return Some(Place { byte: next, ..*at });
            }
        }
        None
    }

    /// Takes in the line that begins at `start`, whatever it is; answers where the next one begins.
    fn receive_line(
        &mut self,
        parser: &mut Parser,
        packet: &[u8],
        start: usize,
        arrival: Arrival,
        counts: &mut PacketCounts,
        refused: &mut impl FnMut(Refusal),
    ) -> usize {
        let end = memchr(b'\n', &packet[start..]).map_or(packet.len(), |length| start + length);
        if end > start {
            counts.lines += 1;
            let mut is_first = true;
            parser.line(&packet[start..end], start, arrival.timestamp, &mut |outcome| match self
                .take(outcome, arrival, is_first)
            {
                Ok(()) => {
                    counts.samples += 1;
                    is_first = false;
                }
                Err(refusal) => {
                    counts.refuse(refusal.reason);
                    refused(refusal);
                }
            });
        }
        (end + 1).min(packet.len())
    }

    /// Reads the lines of the short form that come next, and begins to find their names. Answers how many; `place` is then
    /// behind them, at the next byte there is.
    #[inline]
    fn look_ahead<'a>(
        &self,
        packets: usize,
        packet: &impl Fn(usize) -> &'a [u8],
        place: &mut Place,
        ahead: &mut [Option<Ahead<'a>>; LINES_AHEAD],
    ) -> usize {
        let mut found = 0;
        while place.packet < packets {
            let text = packet(place.packet);
            while place.byte < text.len() {
                if found == LINES_AHEAD {
                    return found;
                }
                let Some(line) = quick::read(&text[place.byte..]) else { return found };
                ahead[found] = Some(Ahead { at: *place, line, name: self.slots.begin(line.family, line.name) });
                found += 1;
                place.byte += line.length;
            }
            *place = Place { packet: place.packet + 1, byte: 0 };
        }
        found
    }

    /// Asks for the memory of the series that lines are most likely of.
    #[inline]
    fn expect(&self, ahead: &[Option<Ahead<'_>>]) {
        let mut records = [None; LINES_AHEAD];
        let mut has_others = false;
        for (record, Ahead { line, name, .. }) in records.iter_mut().zip(ahead.iter().flatten()) {
            *record = self.slots.expect(*name, line.name.len());
            has_others |= line.family != Family::Counter;
        }
        if !has_others {
            return;
        }
        for (record, Ahead { line, .. }) in records.iter().zip(ahead.iter().flatten()) {
            let (Some(record), false) = (record, line.family == Family::Counter) else { continue };
            let at = self.slots.cell(*record).0.at as usize;
            match line.family {
                Family::Gauge => prefetch::element(&self.open.gauges, at),
                Family::Timer => prefetch::element(&self.open.timers, at),
                Family::Counter | Family::Set => {}
            }
        }
    }

    #[inline]
    fn add_quick(&mut self, record: Record, line: &QuickLine<'_>, gauge_deltas: bool, arrival: Arrival) {
        let mut cell = self.cell(record);
        cell.lines = cell.lines.wrapping_add(1);
        match line.family {
            Family::Counter => {
                cell.sum = saturating_add(cell.sum, (line.value * line.weight).clamp(f64::MIN, f64::MAX));
                cell.at = 0;
            }
            Family::Gauge => {
                let gauge = self.open.gauge(&mut cell);
                if line.is_signed && gauge_deltas {
                    gauge.add(line.value, arrival);
                } else {
                    gauge.set(line.value, arrival);
                }
            }
            Family::Timer => self.open.add_timing(&mut cell, line.value, line.weight, line.is_duration, &self.limits),
            Family::Set => debug_assert!(false, "sets do not go the short way"),
        }
        self.slots.set_cell(record, cell);
    }

    /// What happened to a series in the open interval.
    #[inline]
    fn cell(&mut self, record: Record) -> Cell {
        let (cell, parity) = self.slots.cell(record);
        if parity == self.parity { cell } else { self.open_cell(record, cell) }
    }

    /// Begins a cell anew, for the open interval; what it held of the closed one is put aside.
    fn open_cell(&mut self, record: Record, held: Cell) -> Cell {
        if held.at != UNTOUCHED {
            self.aside.push((self.slots.slot(record), held));
        }
        self.slots.set_parity(record, self.parity);
        EMPTY_CELL
    }

    /// Closes the interval, whose cells are then to be gathered, and opens another one. All cells of the interval before
    /// have been gathered.
    pub(crate) fn close(&mut self, next: Interval) -> Interval {
        self.parity ^= 1;
        mem::replace(&mut self.open, next)
    }

    /// Takes the cells of the closed interval, of some slots, that something happened to. `take` is given each with its slot
    /// and its place among the names.
    pub(crate) fn gather(&mut self, slots: Range<Slot>, mut take: impl FnMut(Slot, Cell, &Slots, Record)) {
        for slot in slots {
            let record = self.slots.place(slot);
            let (cell, parity) = self.slots.cell(record);
            if parity != self.parity && cell.at != UNTOUCHED {
                self.slots.set_cell(record, EMPTY_CELL);
                take(slot, cell, &self.slots, record);
            }
        }
    }

    /// Takes the cells of the closed interval that were put aside, when all others have been gathered.
    pub(crate) fn take_aside(&mut self) -> Vec<(Slot, Cell)> {
        mem::take(&mut self.aside)
    }

    fn take(&mut self, outcome: Outcome<'_>, arrival: Arrival, is_first: bool) -> Result<(), Refusal> {
        match outcome {
            Outcome::Sample(sample) => {
                self.add(&sample, arrival, is_first).map_err(|reason| Refusal { reason, offset: sample.offset })
            }
            Outcome::Event(event) if self.open.events.len() < self.limits.events => {
                self.open.events.push(*event);
                Ok(())
            }
            Outcome::Event(_) => Err(Refusal { reason: Reason::EventLimit, offset: 0 }),
            Outcome::Refused(refusal) => Err(refusal),
        }
    }

    /// Adds a sample, which may be the first of its line.
    ///
    /// # Errors
    /// When a limit is reached: [`Reason::SeriesLimit`], [`Reason::PrefixLimit`], [`Reason::MemberTooLong`] or
    /// [`Reason::TimedLimit`].
    pub fn add(&mut self, sample: &Sample<'_>, arrival: Arrival, is_first: bool) -> Result<(), Reason> {
        if let Some(timestamp) = sample.timestamp {
            return self.add_timed(sample, timestamp);
        }
        let family = match sample.value {
            Value::Count(_) => Family::Counter,
            Value::Gauge(_) | Value::GaugeDelta(_) => Family::Gauge,
            Value::Timing { .. } => Family::Timer,
            Value::Member(_) => Family::Set,
        };
        if let Value::Member(member) = sample.value
            && member.len() > self.limits.set_member_bytes
        {
            return Err(Reason::MemberTooLong);
        }
        let record = match self.slots.find(family, sample.key.as_bytes()) {
            Some(record) => record,
            None => self.bear(family, sample.key).inspect_err(|_| {
                self.was_full = true;
                self.prefixes.refuse(sample.key, 1);
            })?,
        };
        let mut cell = self.cell(record);
        cell.lines = cell.lines.wrapping_add(u32::from(is_first));
        match sample.value {
            Value::Count(count) => {
                cell.sum = saturating_add(cell.sum, count);
                cell.at = 0;
            }
            Value::Gauge(value) => self.open.gauge(&mut cell).set(value, arrival),
            Value::GaugeDelta(delta) => self.open.gauge(&mut cell).add(delta, arrival),
            Value::Timing { value, weight, is_duration } => {
                self.open.add_timing(&mut cell, value, weight, is_duration, &self.limits);
            }
            Value::Member(member) => self.open.add_member(&mut cell, member, &self.limits),
        }
        self.slots.set_cell(record, cell);
        Ok(())
    }

    fn bear(&mut self, family: Family, key: &str) -> Result<Record, Reason> {
        if self.slots.len() >= self.limits.series {
            return Err(Reason::SeriesLimit);
        }
        if !self.prefixes.add(key) {
            return Err(Reason::PrefixLimit);
        }
        self.slots.insert(family, key.as_bytes()).ok_or(Reason::SeriesLimit)
    }

    /// Takes over a name that another table knew; whether there was room.
    pub(crate) fn adopt(&mut self, family: Family, key: &str) -> bool {
        self.bear(family, key).is_ok()
    }

    /// Counts at one instant add up; of levels the last one stays.
    fn add_timed(&mut self, sample: &Sample<'_>, timestamp: Timestamp) -> Result<(), Reason> {
        let (family, value) = match sample.value {
            Value::Count(count) => (Family::Counter, count),
            Value::Gauge(level) => (Family::Gauge, level),
            _ => return Err(Reason::TimestampOfType),
        };
        let key = TimedKey { family, series: sample.key.into(), timestamp };
        let has_room = self.open.timed.len() < self.limits.timed;
        match self.open.timed.get_mut(&key) {
            Some(known) if family == Family::Counter => *known = saturating_add(*known, value),
            Some(known) => *known = value,
            None if has_room => _ = self.open.timed.insert(key, value),
            None => return Err(Reason::TimedLimit),
        }
        Ok(())
    }

    /// How many series it remembers, all types together.
    #[must_use]
    pub fn series(&self) -> usize {
        self.slots.len()
    }

    /// The memory that its names and their cells take, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.slots.bytes() + self.aside.capacity() * size_of::<(Slot, Cell)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Grammar;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn receive(table: &mut Table, packet: &str) -> (PacketCounts, Vec<Reason>) {
        let mut parser = Parser::new(&Limits::default(), Grammar::default());
        let mut reasons = Vec::new();
        let counts = table.receive(&mut parser, packet.as_bytes(), Arrival::at(1), |refusal: Refusal| {
            reasons.push(refusal.reason);
        });
        (counts, reasons)
    }

    fn cell(table: &Table, family: Family, name: &str) -> Cell {
        table.slots.cell(table.slots.find(family, name.as_bytes()).unwrap()).0
    }

    fn sum(table: &Table, name: &str) -> f64 {
        cell(table, Family::Counter, name).sum
    }

    #[test]
    fn what_came_of_a_packet_is_counted() {
        let mut table = Table::new(Limits::default());
        for round in 1..=2 {
            // The second time every name is known, and lines go the short way.
            let packet = "a:1|c:2|c\nb:3|g\nbad\nc:1:x|ms\n\na:4|c\r\n";
            let (counts, reasons) = receive(&mut table, packet);
            assert_eq!(counts, PacketCounts { lines: 5, samples: 5, bad: 2, limited: 0 });
            assert_eq!(reasons, [Reason::NoValue, Reason::NotANumber]);
            assert_eq!(table.series(), 3);
            // So many lines that they are read ahead.
            let (counts, _) = receive(&mut table, &packet.repeat(9));
            assert_eq!(counts, PacketCounts { lines: 45, samples: 45, bad: 18, limited: 0 });
            assert_eq!(sum(&table, "a"), 70.0 * f64::from(round));
        }
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
        assert_eq!(table.prefixes.offenders(1)[0].prefix, "d");
    }

    #[test]
    fn at_the_limit_of_a_prefix_others_are_still_taken() {
        let mut table = Table::new(Limits { series_per_prefix: 2, ..Limits::default() });
        let (_, reasons) = receive(&mut table, "a.b.c:1|c\na.b.d:1|c\na.b.e:1|c\na.c.d:1|c\na.b.c:1|c");
        assert_eq!(reasons, [Reason::PrefixLimit]);
        assert_eq!(sum(&table, "a.b.c"), 2.0);
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
        assert_eq!(reasons, []);
        let timer = |name: &str| &table.open.timers[cell(&table, Family::Timer, name).at as usize];
        assert_eq!(timer("t").many.as_ref().unwrap().count, 3.0);
        assert_eq!(timer("u").many.as_ref().map(|many| many.count), None, "what became a sketch made room");
        let (_, reasons) = receive(&mut table, "s:aa|s:aa|s:bb|s:c|s\nr:long|s:dd|s:d|s");
        assert_eq!(reasons, [Reason::MemberTooLong]);
        assert_eq!((table.open.sets[0].len(), table.open.sets[0].members().count()), (3, 0));
        assert_eq!(table.open.sets[1].len(), 2);
    }

    #[test]
    fn values_with_timestamps_are_kept_apart_and_bounded() {
        let mut table = Table::new(Limits { timed: 2, events: 1, ..Limits::default() });
        let (_, reasons) =
            receive(&mut table, "a:1|c|T10\na:2|c|T10\na:5|g|T10\na:6|g|T10\na:1|c|T20\n_e{1,1}:a|b\n_e{1,1}:a|b");
        assert_eq!(reasons, [Reason::TimedLimit, Reason::EventLimit]);
        let mut timed: Vec<_> = table.open.timed.iter().map(|(key, value)| (key.family, *value)).collect();
        timed.sort_unstable_by_key(|(family, _)| *family);
        assert_eq!(timed, [(Family::Counter, 3.0), (Family::Gauge, 6.0)]);
        assert_eq!((table.series(), table.open.events.len()), (0, 1));
    }

    proptest! {
        #[test]
        fn lines_that_are_read_ahead_say_what_they_say_alone(
            lines in proptest::collection::vec(
                prop_oneof![
                    6 => "[ab;t=]{0,3}:[0-9]{1,2}\\|(c|g|ms)(\\|@0.5)?\r?",
                    1 => "[ab:|1cgms@.#;=]{0,12}",
                ],
                0..60,
            ),
            packet_lines in 1..20_usize,
        ) {
            let tables = || Table::new(Limits::default());
            let (mut together, mut by_packet, mut alone) = (tables(), tables(), tables());
            let packets: Vec<String> = lines.chunks(packet_lines).map(|lines| lines.join("\n")).collect();
            for _ in 0..2 {
                let (counts, reasons) = receive(&mut together, &lines.join("\n"));
                let mut expected = (PacketCounts::default(), Vec::new());
                for line in &lines {
                    let (one, mut refused) = receive(&mut alone, line);
                    expected.0.lines += one.lines;
                    expected.0.samples += one.samples;
                    expected.0.bad += one.bad;
                    expected.1.append(&mut refused);
                }
                prop_assert_eq!((counts, &reasons), (expected.0, &expected.1));

                let mut parser = Parser::new(&Limits::default(), Grammar::default());
                let mut refused: Vec<(usize, Reason)> = Vec::new();
                let counts = by_packet.receive_all(
                    &mut parser,
                    packets.len(),
                    |number| packets[number].as_bytes(),
                    Arrival::at(1),
                    |packet, refusal| refused.push((packet, refusal.reason)),
                );
                prop_assert!(refused.is_sorted_by_key(|(packet, _)| *packet));
                prop_assert_eq!(counts, expected.0);
                prop_assert_eq!(refused.into_iter().map(|(_, reason)| reason).collect::<Vec<_>>(), expected.1);
            }
            prop_assert_eq!(by_packet.series(), alone.series());
            for slot in 0..alone.series() {
                let record = alone.slots.place(slot as Slot);
                let (family, name) = alone.slots.name(record);
                let (one, all) = (alone.slots.cell(record).0, cell(&together, family, name));
                let apart = cell(&by_packet, family, name);
                prop_assert_eq!((one.sum, one.at == UNTOUCHED), (apart.sum, apart.at == UNTOUCHED));
                prop_assert_eq!((one.sum, one.at == UNTOUCHED), (all.sum, all.at == UNTOUCHED));
            }
            prop_assert_eq!(alone.series(), together.series());
        }
    }

    proptest! {
        #[test]
        fn each_interval_has_its_own_sums_however_slowly_its_cells_are_gathered(
            intervals in proptest::collection::vec(proptest::collection::vec((0..9_u32, 0..4_usize), 0..30), 1..6),
        ) {
            let mut table = Table::new(Limits::default());
            let mut expected: Vec<HashMap<String, f64>> = Vec::new();
            let mut gathered: Vec<HashMap<String, f64>> = Vec::new();
            let mut waiting = 0..0;
            for counted in &intervals {
                let mut sums = HashMap::new();
                for &(series, slots) in counted {
                    // Some cells of the interval before are gathered, then a line comes.
                    let some = waiting.start..waiting.end.min(waiting.start + slots as Slot);
                    waiting.start = some.end;
                    table.gather(some, |_, cell, names, record| {
                        let name = names.name(record).1.to_owned();
                        assert!(gathered.last_mut().unwrap().insert(name, cell.sum).is_none());
                    });
                    receive(&mut table, &format!("n{series}:{}|c", series + 1));
                    *sums.entry(format!("n{series}")).or_default() += f64::from(series + 1);
                }
                expected.push(sums);
                table.gather(waiting, |_, cell, names, record| {
                    let name = names.name(record).1.to_owned();
                    assert!(gathered.last_mut().unwrap().insert(name, cell.sum).is_none());
                });
                for (slot, cell) in table.take_aside() {
                    let name = table.slots.name(table.slots.place(slot)).1.to_owned();
                    prop_assert!(gathered.last_mut().unwrap().insert(name, cell.sum).is_none());
                }
                table.close(Interval::default());
                gathered.push(HashMap::new());
                waiting = 0..Slot::try_from(table.series()).unwrap();
            }
            table.gather(waiting, |_, cell, names, record| {
                gathered.last_mut().unwrap().insert(names.name(record).1.to_owned(), cell.sum);
            });
            prop_assert_eq!(gathered, expected);
        }
    }

    #[test]
    fn without_graphites_tags_a_semicolon_is_dropped_though_a_name_has_one() {
        let mut table = Table::new(Limits::default());
        let grammar =
            Grammar { tags: crate::TagStyles { graphite: false, ..crate::TagStyles::default() }, gauge_deltas: true };
        let mut parser = Parser::new(&Limits::default(), grammar);
        table.receive(&mut parser, b"a:1|c|#t:v\na;t=v:1|c\na;t=v:1|c", Arrival::at(1), |refusal| panic!("{refusal}"));
        assert_eq!((sum(&table, "a;t=v"), sum(&table, "at=v")), (1.0, 2.0));
    }
}
