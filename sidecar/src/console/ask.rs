//! What the console asks of the flusher, which alone knows the open interval.

use statline_series::Timestamp;
use statline_statsd::State;
use statline_statsd::inspect::Listing;
use statline_statsd::{Family, Offender};
use tokio::sync::oneshot;

use super::inspect::SHOWN_ENTRIES;
use crate::receive::ReceiveTotals;

/// How many questions may wait for the flusher.
pub const WAITING_ASKS: usize = 16;

/// A question, with where its answer goes.
#[derive(Debug)]
pub enum Ask {
    /// The counters, at most so many.
    Counters(usize, oneshot::Sender<Listing<(String, f64)>>),
    /// The gauges.
    Gauges(usize, oneshot::Sender<Listing<(String, f64)>>),
    /// The timers, each with as many samples as are shown.
    Timers(usize, oneshot::Sender<Listing<(String, Listing<f64>)>>),
    /// The sets, each with as many members as are shown.
    Sets(usize, oneshot::Sender<Listing<(String, Listing<String>)>>),
    /// Forget names.
    Remove(Family, Vec<String>, oneshot::Sender<Vec<Removed>>),
    /// The prefixes with the most series.
    Offenders(usize, oneshot::Sender<Vec<Offender>>),
    /// How flushing goes.
    Flushes(oneshot::Sender<Flushes>),
}

/// What became of one pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The pattern.
    pub pattern: String,
    /// The names that are forgotten.
    pub names: Vec<String>,
}

/// How flushing goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flushes {
    /// When the store last took a flush.
    pub stored_at: Option<Timestamp>,
    /// When it last did not.
    pub failed_at: Option<Timestamp>,
    /// How long the last flush took, in milliseconds.
    pub millis: f64,
    /// How many points it had.
    pub points: usize,
}

impl Ask {
    /// Answers from the state, into which all that was received has been taken. `open` is what was received since the last
    /// flush.
    pub fn answer(self, state: &mut State, open: &ReceiveTotals, flushes: Flushes) {
        // Whoever does not wait for the answer any more does not get it.
        match self {
            Self::Counters(most, reply) => drop(reply.send(with_own(state, most, open))),
            Self::Gauges(most, reply) => drop(reply.send(state.gauges(most))),
            Self::Timers(most, reply) => drop(reply.send(state.timers(most, SHOWN_ENTRIES))),
            Self::Sets(most, reply) => drop(reply.send(state.sets(most, SHOWN_ENTRIES))),
            Self::Remove(family, patterns, reply) => {
                let remove = |pattern: String| Removed { names: state.remove(family, &pattern), pattern };
                drop(reply.send(patterns.into_iter().map(remove).collect()));
            }
            Self::Offenders(most, reply) => drop(reply.send(state.offenders(most))),
            Self::Flushes(reply) => drop(reply.send(flushes)),
        }
    }
}

/// The counters, with those of the server itself as they stand in the open interval; no bound keeps these out.
#[expect(clippy::cast_precision_loss, reason = "no interval has 2^52 packets")]
fn with_own(state: &State, most: usize, open: &ReceiveTotals) -> Listing<(String, f64)> {
    let mut counters = state.counters(most);
    for (leaf, count) in
        [("bad_lines_seen", open.bad_lines), ("metrics_received", open.lines), ("packets_received", open.packets)]
    {
        let name = format!("{}.{leaf}", state.prefix_stats());
        match counters.shown.binary_search_by(|(shown, _)| shown.cmp(&name)) {
            Ok(at) => counters.shown[at].1 = count as f64,
            Err(at) => {
                counters.shown.insert(at, (name, count as f64));
                counters.more = counters.more.saturating_sub(1);
            }
        }
    }
    counters
}
