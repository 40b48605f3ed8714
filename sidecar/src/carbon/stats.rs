//! What carbon's listeners have seen: totals since the start, and the last lines and pickles that were refused.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use statline_store::Refused;

use super::aggregator::NotAggregated;
use super::refusal::Refusal;
use crate::receive::sender::Sender;

/// How many refusals are remembered.
const REMEMBERED: usize = 64;

/// How many refusals of one read are remembered, so that a flood of bad lines costs little more than one of good ones.
pub const REMEMBERED_OF_A_READ: usize = 8;

/// Totals that all listeners share.
#[derive(Debug, Default)]
pub struct CarbonStats {
    pub(super) points: AtomicU64,
    received: AtomicU64,
    pub(super) refused_by_store: AtomicU64,
    pub(super) bad_lines: AtomicU64,
    pub(super) aggregated: AtomicU64,
    pub(super) aggregates: AtomicU64,
    pub(super) lost_aggregates: AtomicU64,
    pub(super) kernel_drops: AtomicU64,
    pub(super) connections: AtomicU64,
    pub(super) refused_connections: AtomicU64,
    pub(super) intervals: AtomicU64,
    pub(super) values: AtomicU64,
    pub(super) known_names: AtomicU64,
    pub(super) reloads: AtomicU64,
    pub(super) failed_reloads: AtomicU64,
    by_reason: [AtomicU64; Refusal::LABELS.len()],
    not_aggregated: [AtomicU64; NotAggregated::LABELS.len()],
    refusals: Mutex<VecDeque<RefusedPoint>>,
}

/// Something that was refused, told so that its sender can be found and put right.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedPoint {
    /// Who sent it.
    pub sender: Sender,
    /// What was wrong.
    pub refusal: Refusal,
    /// The line, or the name in a pickle; the beginning of it, unprintable bytes escaped.
    pub excerpt: String,
}

impl fmt::Display for RefusedPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sender, refusal, excerpt } = self;
        write!(f, "from {sender}: {refusal}: \"{excerpt}\"")
    }
}

/// What was counted of one read.
#[derive(Debug, Default)]
pub struct ReadCounts {
    /// By reason, as in [`Refusal::LABELS`].
    by_reason: [u64; Refusal::LABELS.len()],
    not_aggregated: [u64; NotAggregated::LABELS.len()],
    bad_lines: u64,
    /// Lines, and items of pickles.
    pub received: u64,
    /// Points that went into an aggregate.
    pub aggregated: u64,
    refused: Vec<RefusedPoint>,
}

impl ReadCounts {
    /// Counts something that is refused, and says whether it is to be told.
    pub fn refuse(&mut self, refusal: Refusal, sender: Sender, excerpt: impl FnOnce() -> String) {
        self.by_reason[refusal.place()] += 1;
        self.bad_lines += u64::from(refusal.is_mistake());
        if self.refused.len() < REMEMBERED_OF_A_READ {
            self.refused.push(RefusedPoint { sender, refusal, excerpt: excerpt() });
        }
    }

    /// Counts points that are not aggregated.
    pub const fn not_aggregated(&mut self, reason: NotAggregated, points: u64) {
        self.not_aggregated[reason as usize] += points;
    }

    /// The first thing of this read that a sender should put right.
    pub fn first_mistake(&self) -> Option<&RefusedPoint> {
        self.refused.iter().find(|point| point.refusal.is_mistake())
    }
}

impl CarbonStats {
    /// Adds what was counted of a read, which is nothing afterwards.
    pub fn add(&self, counts: &mut ReadCounts) {
        let ReadCounts { by_reason, not_aggregated, bad_lines, received, aggregated, refused } = std::mem::take(counts);
        add_all(&self.by_reason, &by_reason);
        add_all(&self.not_aggregated, &not_aggregated);
        count(&self.bad_lines, bad_lines);
        count(&self.received, received);
        count(&self.aggregated, aggregated);
        if refused.is_empty() {
            return;
        }
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.extend(refused);
        let beyond = refusals.len().saturating_sub(REMEMBERED);
        refusals.drain(..beyond);
    }

    /// The last refusals, the newest last. Of a read that held many, the first few.
    pub fn refusals(&self) -> Vec<RefusedPoint> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Counts points that the store did not take.
    pub(super) fn refused_by_store(&self, refused: Refused) {
        count(&self.refused_by_store, refused.total());
    }

    /// Sets the figures that are scraped.
    pub fn publish(&self) {
        let read = |total: &AtomicU64| total.load(Ordering::Relaxed);
        for (name, total) in [
            ("statline_carbon_received_total", &self.received),
            ("statline_carbon_points_total", &self.points),
            ("statline_carbon_refused_points_total", &self.refused_by_store),
            ("statline_carbon_bad_lines_total", &self.bad_lines),
            ("statline_carbon_aggregated_points_total", &self.aggregated),
            ("statline_carbon_aggregates_total", &self.aggregates),
            ("statline_carbon_lost_aggregates_total", &self.lost_aggregates),
            ("statline_carbon_kernel_drops_total", &self.kernel_drops),
            ("statline_carbon_refused_connections_total", &self.refused_connections),
            ("statline_carbon_reloads_total", &self.reloads),
            ("statline_carbon_failed_reloads_total", &self.failed_reloads),
        ] {
            metrics::counter!(name).absolute(read(total));
        }
        for (name, figure) in [
            ("statline_carbon_connections", &self.connections),
            ("statline_carbon_aggregation_intervals", &self.intervals),
            ("statline_carbon_aggregation_values", &self.values),
            ("statline_carbon_known_names", &self.known_names),
        ] {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            metrics::gauge!(name).set(read(figure) as f64);
        }
        for (label, total) in Refusal::LABELS.into_iter().zip(&self.by_reason) {
            metrics::counter!("statline_carbon_refused_total", "reason" => label).absolute(read(total));
        }
        for (label, total) in NotAggregated::LABELS.into_iter().zip(&self.not_aggregated) {
            metrics::counter!("statline_carbon_unaggregated_points_total", "reason" => label).absolute(read(total));
        }
    }
}

/// Adds to a total.
pub(super) fn count(total: &AtomicU64, more: u64) {
    if more > 0 {
        total.fetch_add(more, Ordering::Relaxed);
    }
}

fn add_all(totals: &[AtomicU64], more: &[u64]) {
    for (total, more) in totals.iter().zip(more) {
        count(total, *more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_reason_and_the_last_are_remembered() {
        let stats = CarbonStats::default();
        let mut counts = ReadCounts::default();
        for round in 0..10 {
            for number in 0..9 {
                counts.refuse(Refusal::Fields(number), Sender::Unknown, || format!("{round} {number}"));
            }
            counts.refuse(Refusal::NotANumber, Sender::Unknown, String::new);
            stats.add(&mut counts);
        }
        assert_eq!(stats.bad_lines.load(Ordering::Relaxed), 90);
        assert_eq!(stats.by_reason[Refusal::NotANumber.place()].load(Ordering::Relaxed), 10);
        let refusals = stats.refusals();
        assert_eq!(refusals.len(), REMEMBERED);
        assert_eq!(
            refusals[REMEMBERED - 1].to_string(),
            "from an unknown sender: a line is written path value timestamp, got 7 fields: \"9 7\""
        );
    }
}
