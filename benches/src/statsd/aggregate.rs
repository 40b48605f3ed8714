//! The aggregator of crates/statsd as the daemon drives it: one receiver thread's table, the spare one, and the state.
//!
//! The one place that knows the crate's types, so that the measurements outlive a change of them.

use statline_series::{Batch, Step, Timestamp};
use std::sync::{Arc, Mutex, PoisonError};

use statline_statsd::{Arrival, FlushConfig, Grammar, Lane, Limits, Parser, SelfFigures, State, Table};

use crate::Error;

/// A lane and what it is flushed into. Nothing is received or stored.
pub struct Aggregator {
    parser: Parser,
    lane: Lane,
    table: Arc<Mutex<Table>>,
    state: State,
    flushes: i64,
}

impl Aggregator {
    /// An empty one with room for so many series, and the daemon's defaults otherwise.
    pub fn new(series: usize) -> Result<Self, Error> {
        let limits = Limits { series: series + 1000, ..Limits::default() };
        let lane = Lane::new(limits.clone());
        Ok(Self {
            parser: Parser::new(&limits, Grammar::default()),
            table: lane.table(),
            lane,
            state: State::new(FlushConfig::default(), &limits)?,
            flushes: 0,
        })
    }

    /// Adds up a packet; answers how many samples were taken from it.
    pub fn receive(&mut self, packet: &[u8]) -> u64 {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.receive(&mut self.parser, packet, Arrival::at(1), |_refused| {}).samples
    }

    /// Adds up packets as a receiver does that took them together; answers how many samples were taken from them.
    pub fn receive_all<'a>(&mut self, packets: usize, packet: impl Fn(usize) -> &'a [u8]) -> u64 {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.receive_all(&mut self.parser, packets, packet, Arrival::at(1), |_, _refused| {}).samples
    }

    /// Closes an interval; what a flush stores of it.
    pub fn flush(&mut self, step: Step, at: Timestamp) -> Batch {
        self.state.absorb(&mut self.lane);
        self.state.note(&SelfFigures::default());
        self.state.flush(step, at, &SelfFigures::default())
    }

    /// Closes an interval, as a flush does; answers how many points it gave. They are freed before it returns.
    pub fn close(&mut self) -> usize {
        self.flushes += 1;
        let at = Timestamp::from_seconds(1_700_000_000 + 10 * self.flushes);
        self.flush(Step::from_millis(10_000).unwrap_or(Step::SECOND), at).len()
    }
}
