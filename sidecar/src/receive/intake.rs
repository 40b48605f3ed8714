//! The way of bytes into a table, whatever socket they came from.
//!
//! A batch holds the table's lock; at its end its figures are added to the totals that all threads share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use statline_series::Timestamp;
use statline_statsd::{Arrival, PacketCounts, Parser, Reason, Refusal, Table};

use crate::clock;

use super::sender::Sender;
use super::stats::{ByReason, REFUSALS_A_BATCH, ReceiveStats, ReceiveTotals, RefusedLine, excerpt};

/// A table, and what it takes to fill it.
pub struct Intake {
    table: Arc<Mutex<Table>>,
    parser: Parser,
    stats: Arc<ReceiveStats>,
    refused: Vec<RefusedLine>,
    /// What arrivals are counted from; the same for all threads.
    started: Instant,
    /// What the wall clock told, and when it was asked, in nanoseconds since `started`. Only events need it, so it is not
    /// asked for each batch.
    wall: Option<(Timestamp, u64)>,
}

/// How long it is until the wall clock is asked again, in nanoseconds.
const ASK_CLOCK_EVERY: u64 = 1_000_000_000;

impl Intake {
    /// A way into `table`.
    pub fn new(table: Arc<Mutex<Table>>, parser: Parser, stats: Arc<ReceiveStats>, started: Instant) -> Self {
        Self { table, parser, stats, refused: Vec::with_capacity(REFUSALS_A_BATCH), started, wall: None }
    }

    /// What the threads count.
    pub fn stats(&self) -> &Arc<ReceiveStats> {
        &self.stats
    }

    /// Begins a batch, which is at its end when it is dropped.
    pub fn batch(&mut self) -> Batch<'_> {
        let order = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let arrival = Arrival { order, timestamp: self.timestamp_of(order) };
        Batch {
            table: self.table.lock().unwrap_or_else(PoisonError::into_inner),
            parser: &mut self.parser,
            stats: &self.stats,
            refused: &mut self.refused,
            arrival,
            totals: ReceiveTotals::default(),
            by_reason: ByReason::default(),
        }
    }
}

impl Intake {
    /// The wall clock's instant of an arrival, within a second's setting of the clock.
    fn timestamp_of(&mut self, order: u64) -> Timestamp {
        let (told, asked) = match self.wall.filter(|(_, asked)| order.saturating_sub(*asked) < ASK_CLOCK_EVERY) {
            Some(wall) => wall,
            None => *self.wall.insert((clock::now(), order)),
        };
        told.offset(i64::try_from((order - asked.min(order)) / 1_000_000).unwrap_or(0))
    }
}

/// Bytes that are taken in together.
pub struct Batch<'a> {
    table: MutexGuard<'a, Table>,
    parser: &'a mut Parser,
    stats: &'a ReceiveStats,
    refused: &'a mut Vec<RefusedLine>,
    arrival: Arrival,
    /// What was counted, to which the caller adds what it alone knows.
    pub totals: ReceiveTotals,
    by_reason: ByReason,
}

impl Batch<'_> {
    /// Takes lines. `position` is where they begin in what the sender sent.
    pub fn lines(&mut self, lines: &[u8], position: usize, sender: impl Fn() -> Sender) {
        let Self { table, parser, refused, by_reason, .. } = self;
        let counts = table.receive(parser, lines, self.arrival, |refusal| {
            by_reason[refusal.reason as usize] += 1;
            note(refused, lines, position, refusal, &sender);
        });
        self.count(counts);
    }

    /// Takes in as many packets of whole lines as there are, which `packet` gives by their number, and `sender` who sent
    /// them.
    pub fn packets<'p>(
        &mut self,
        packets: usize,
        packet: impl Fn(usize) -> &'p [u8],
        sender: impl Fn(usize) -> Sender,
    ) {
        let Self { table, parser, refused, by_reason, .. } = self;
        let counts = table.receive_all(parser, packets, &packet, self.arrival, |number, refusal| {
            by_reason[refusal.reason as usize] += 1;
            note(refused, packet(number), 0, refusal, &|| sender(number));
        });
        self.count(counts);
    }

    fn count(&mut self, counts: PacketCounts) {
        self.totals.lines += counts.lines;
        self.totals.samples += counts.samples;
        self.totals.bad_lines += counts.bad;
        self.totals.limited += counts.limited;
    }

    /// Refuses a line of which only the beginning is known.
    pub fn cut_line(&mut self, begin: &[u8], position: usize, sender: impl Fn() -> Sender) {
        self.totals.truncated += 1;
        self.totals.limited += 1;
        self.by_reason[Reason::Truncated as usize] += 1;
        note(self.refused, begin, position, Refusal { reason: Reason::Truncated, offset: 0 }, &sender);
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if !self.refused.is_empty() {
            self.stats.add_refusals(&self.by_reason, self.refused);
        }
        self.stats.add(&self.totals);
        if self.totals.packets > 0 {
            self.stats.came(self.arrival);
        }
    }
}

fn note(refused: &mut Vec<RefusedLine>, bytes: &[u8], position: usize, refusal: Refusal, sender: &impl Fn() -> Sender) {
    if refused.len() < REFUSALS_A_BATCH {
        refused.push(RefusedLine {
            at: SystemTime::now(),
            sender: sender(),
            reason: refusal.reason,
            offset: position + refusal.offset,
            excerpt: excerpt(bytes, refusal.offset),
        });
    }
}
