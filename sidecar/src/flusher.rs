//! Closes an interval at each multiple of the flush interval on the wall clock: samples become points, durable and
//! readable before the flush is reported.
//!
//! A flush that comes late closes one longer interval, and neither doubles nor loses any. When the clock is set back a
//! little, nothing is flushed until it has passed the last flush again, so that no point is written over; samples are kept.
//! When it is set back by more than a minute, flushes go on at the time that it now tells, and what was flushed at the same
//! instants before is written over. Rates are over the time that has passed, which
//! the wall clock is not asked for when it jumps.
//!
//! At a stop the open interval is flushed, and what it holds is also written down: a start within the same interval goes on
//! with it, and its flush takes the place of the other one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use statline_series::{Batch, SeriesKey, Step, TimeRange, Timestamp};
use statline_statsd::{SelfFigures, State};
use statline_store::{Appended, Selection, Store, StoreError};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::console::{Ask, Flushes};
use crate::frequent::Frequent;
use crate::keeper::Keeper;
use crate::mapping::InForce;
use crate::receive::{ReceiveTotals, Receivers, Stopped};

/// The series that every flush writes by default, in the legacy namespace and in the other, by which a restart knows when
/// the last one was.
const DEFAULT_MARKS: [&str; 2] = ["statsd.numStats", "stats.statsd.numStats"];

/// By how many steps a clock may be behind the last flush, and by how many milliseconds, before flushes go on at the time
/// that it tells. Until then they wait for it.
const SET_BACK_STEPS: i64 = 2;
const SET_BACK_MILLIS: i64 = 60_000;

/// Why flushing ended before it was told to, or did not end well.
#[derive(Debug, Error)]
pub enum FlushError {
    /// The store did not take the last points.
    #[error("the open interval could not be stored: {0}")]
    Store(#[from] StoreError),
    /// A bug of ours; a restart receives again.
    #[error("a thread that receives statsd packets has died")]
    ReceiverDied,
}

/// Owns the receivers and what they gathered.
pub struct Flusher {
    receivers: Receivers,
    state: State,
    store: Arc<dyn Store>,
    keeper: Keeper,
    step: Step,
    /// The last flush before this process, which the next one must come after.
    before: Option<Timestamp>,
    /// Since when the open interval gathers: the last flush, or the boundary before the start.
    open_since: Timestamp,
    /// The same by a clock that nobody sets.
    opened: Instant,
    /// The most points that wait for a store that refuses them.
    max_waiting_points: usize,
    /// Batches that the store has not taken yet, oldest first.
    waiting: Vec<Batch>,
    last: Last,
    flushed: watch::Sender<Option<Timestamp>>,
    /// What the console asks.
    asks: mpsc::Receiver<Ask>,
    /// By which series are mapped.
    rules: watch::Receiver<InForce>,
    frequent: Frequent,
}

/// What ties a flusher to the rest of the daemon.
pub struct Links {
    /// Told of each flush.
    pub flushed: watch::Sender<Option<Timestamp>>,
    /// What the console asks.
    pub asks: mpsc::Receiver<Ask>,
    /// By which series are mapped.
    pub rules: watch::Receiver<InForce>,
    /// Tells which names are sent most.
    pub frequent: Frequent,
}

/// What the last flush left behind.
#[derive(Default)]
struct Last {
    at: Option<Timestamp>,
    totals: ReceiveTotals,
    took: Duration,
    failed_at: Option<Timestamp>,
    points: usize,
}

impl Flusher {
    /// A flusher that goes on where the last one stopped, or after the last flush that the store remembers. It tells
    /// of each flush, and answers what is asked of the open interval.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn new(
        receivers: Receivers,
        mut state: State,
        store: Arc<dyn Store>,
        keeper: Keeper,
        step: Step,
        max_waiting_points: usize,
        Links { flushed, asks, mut rules, frequent }: Links,
    ) -> Result<Self, StoreError> {
        state.set_rules(rules.borrow_and_update().clone());
        let mark = last_flush_in(store.as_ref(), state.mark()).await?;
        let open_since = clock::now().align_down(step);
        let next = open_since.offset(step.millis());
        let goes_on = keeper.restore(&mut state, store.as_ref(), next, mark).await?;
        // A mark from the future (the clock was wrong then) must not silence the flushes of today, and the mark of an
        // interval that goes on is to be written over.
        let before = mark.filter(|at| !goes_on && *at <= next);
        Ok(Self {
            receivers,
            state,
            store,
            keeper,
            step,
            before,
            open_since,
            opened: Instant::now(),
            max_waiting_points,
            waiting: Vec::new(),
            last: Last::default(),
            flushed,
            asks,
            rules,
            frequent,
        })
    }

    /// Flushes until it is told to stop, then once more for what had been received by then.
    ///
    /// # Errors
    /// When a receiver thread has died, or the points of the last flush could not be stored.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), FlushError> {
        loop {
            if !self.receivers.is_healthy() {
                self.finish().await?;
                return Err(FlushError::ReceiverDied);
            }
            self.notice_a_clock_set_back();
            let boundary = self.next_boundary();
            // Sleeping no longer than a step at once, a clock that is set forth is noticed in time.
            let sleep = clock::until(boundary).min(Duration::from_millis(self.step.millis().unsigned_abs()));
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(sleep) => {}
                Some(ask) = self.asks.recv() => self.answer(ask),
                Ok(()) = self.rules.changed() => {
                    let rules = self.rules.borrow_and_update().clone();
                    self.state.set_rules(rules);
                }
            }
            if clock::now() >= boundary {
                let at = clock::now().align_down(self.step);
                self.collect();
                self.flush(at).await;
                self.frequent.tell(&mut self.state);
            }
        }
        Ok(self.finish().await?)
    }

    /// Goes on at the time that the clock tells when it is far behind the last flush.
    fn notice_a_clock_set_back(&mut self) {
        let now = clock::now();
        let last = self.last.at.max(self.before);
        let Some(last) =
            last.filter(|last| now.offset((self.step.millis() * SET_BACK_STEPS).max(SET_BACK_MILLIS)) < *last)
        else {
            return;
        };
        tracing::warn!(%last, %now, "the clock was set back, flushes go on at the time that it tells");
        metrics::counter!("statline_clock_set_back_total").increment(1);
        self.before = None;
        self.last.at = None;
        self.open_since = now.align_down(self.step);
    }

    /// Takes in what the receivers have gathered, for a flush.
    fn collect(&mut self) {
        let mut refused = 0;
        self.receivers.collect(|lane| refused += self.state.absorb(lane));
        report_limited(refused);
    }

    /// Answers the console from what the open interval has gathered up to now.
    fn answer(&mut self, ask: Ask) {
        let mut refused = 0;
        self.receivers.collect(|lane| refused += self.state.peek(lane));
        report_limited(refused);
        let open = self.receivers.stats().totals().since(&self.last.totals);
        let flushes = Flushes {
            stored_at: *self.flushed.borrow(),
            failed_at: self.last.failed_at,
            millis: self.last.took.as_secs_f64() * 1000.0,
            points: self.last.points,
        };
        ask.answer(&mut self.state, &open, flushes);
    }

    /// The first multiple of the step that is in the future and after the last flush.
    fn next_boundary(&self) -> Timestamp {
        let next = clock::now().align_down(self.step).offset(self.step.millis());
        let last = self.last.at.max(self.before);
        last.map_or(next, |last| next.max(last.offset(self.step.millis())))
    }

    async fn finish(mut self) -> Result<(), StoreError> {
        self.notice_a_clock_set_back();
        let boundary = self.next_boundary();
        let receivers = self.receivers;
        let stats = receivers.stats();
        let stopped = tokio::task::spawn_blocking(move || receivers.stop()).await;
        let Stopped { lanes, unread } = stopped.map_err(|_| StoreError::Panicked("stop the receivers"))?;
        if unread {
            tracing::warn!("the kernel still held packets when receiving had to stop");
        }
        report_limited(lanes.into_iter().map(|mut lane| self.state.absorb(&mut lane)).sum());
        let totals = stats.totals();
        let figures = note(&mut self.state, &self.last, &totals, self.step, boundary);
        self.keeper.keep(&self.state, boundary);
        let length = length_of(self.open_since, boundary, self.opened.elapsed(), self.step);
        let batch = self.state.flush(length, boundary, &figures);
        tracing::info!(points = batch.len(), packets = totals.packets, "the open interval is flushed");
        self.waiting.push(batch);
        for batch in self.waiting {
            let appended = self.store.append(batch).await?;
            report_refused(&appended);
        }
        Ok(())
    }

    async fn flush(&mut self, at: Timestamp) {
        let began = Instant::now();
        let totals = self.receivers.stats().totals();
        let figures = note(&mut self.state, &self.last, &totals, self.step, at);
        let length = length_of(self.open_since, at, self.opened.elapsed(), self.step);
        let batch = self.state.flush(length, at, &figures);
        (self.open_since, self.opened) = (at, began);
        let points = batch.len();
        report_lost(&self.last.totals, &totals);
        while !self.waiting.is_empty() && self.waiting_points() + points > self.max_waiting_points {
            let lost = self.waiting.remove(0);
            metrics::counter!("statline_flush_lost_points_total").increment(lost.len() as u64);
            tracing::error!(points = lost.len(), "the store has refused flushes for too long, the oldest is given up");
        }
        self.waiting.push(batch);
        self.last.failed_at = self.store_waiting().await.err().map(|error| {
            tracing::error!(%error, waiting = self.waiting.len(), "a flush could not be stored and will be tried again");
            metrics::counter!("statline_flush_failures_total").increment(1);
            at
        });
        self.last = Last { at: Some(at), totals, took: began.elapsed(), failed_at: self.last.failed_at, points };
        metrics::gauge!("statline_flush_points").set(points as f64);
        metrics::gauge!("statline_flush_duration_seconds").set(self.last.took.as_secs_f64());
        metrics::gauge!("statline_statsd_series").set(self.state.series() as f64);
        metrics::counter!("statline_statsd_refused_timed_total").absolute(self.state.timed_refused());
        metrics::counter!("statline_statsd_refused_events_total").absolute(self.state.events_refused());
        metrics::counter!("statline_flushes_total").increment(1);
        if self.last.failed_at.is_none() {
            metrics::gauge!("statline_flush_last_timestamp_seconds").set(at.millis() as f64 / 1000.0);
            self.flushed.send_replace(Some(at));
            tracing::debug!(%at, points, took = ?self.last.took, "flushed");
        }
    }

    fn waiting_points(&self) -> usize {
        self.waiting.iter().map(Batch::len).sum()
    }

    async fn store_waiting(&mut self) -> Result<(), StoreError> {
        while let Some(batch) = self.waiting.first() {
            // The batch is cloned so that it is still here should the store fail: keys are shared, points are small.
            let appended = self.store.append(batch.clone()).await?;
            report_refused(&appended);
            self.waiting.remove(0);
        }
        Ok(())
    }
}

/// Counts what the server itself has to tell, as part of the open interval; what cannot be counted is in the answer.
fn note(state: &mut State, last: &Last, totals: &ReceiveTotals, step: Step, at: Timestamp) -> SelfFigures {
    let kernel_drops = totals.kernel_drops.saturating_sub(last.totals.kernel_drops);
    if kernel_drops > 0 {
        state.add_count(&format!("{}.kernel_drops", state.prefix_stats()), kernel_drops as f64);
    }
    let figures = SelfFigures {
        packets_received: totals.packets.saturating_sub(last.totals.packets),
        metrics_received: totals.lines.saturating_sub(last.totals.lines),
        bad_lines_seen: totals.bad_lines.saturating_sub(last.totals.bad_lines),
        timestamp_lag: last.at.map(|last| at.millis().saturating_sub(last.millis()) as f64 / 1000.0 - step.seconds()),
        processing_time: last.took.as_secs_f64() * 1000.0,
        calculation_time: last.took.as_secs_f64() * 1000.0,
        last_exception: last.failed_at.map_or(0.0, |failed| failed.seconds() as f64),
        last_flush: last.at.map_or(0.0, |at| at.seconds() as f64),
        flush_time: last.took.as_secs_f64() * 1000.0,
        flush_length: last.points as f64,
    };
    state.note(&figures);
    figures
}

/// How long an interval was: what its instants say, unless the clock was set in it.
fn length_of(since: Timestamp, at: Timestamp, passed: Duration, step: Step) -> Step {
    let told = at.millis().saturating_sub(since.millis());
    let passed = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
    // The first interval began before the process, and the last is cut short.
    let is_plausible = (told - passed).abs() <= step.millis();
    Step::from_millis(if is_plausible { told } else { passed }).unwrap_or(step)
}

/// When the last flush was, by the series that every flush writes under the names of today, or else wrote under the
/// default ones.
async fn last_flush_in(store: &dyn Store, mark: Option<&SeriesKey>) -> Result<Option<Timestamp>, StoreError> {
    let defaults = DEFAULT_MARKS.iter().filter_map(|mark| SeriesKey::from_name(mark).ok());
    let marks = mark.cloned().into_iter().chain(defaults).collect();
    let found = store.select(&Selection::Keys(marks), TimeRange::ALL).await?;
    Ok(found.into_iter().map(|series| series.last_seen).max())
}

fn report_refused(appended: &Appended) {
    for (what, refused) in
        [("point", appended.refused), ("sketch", appended.refused_sketches), ("event", appended.refused_events)]
    {
        if refused.total() > 0 {
            tracing::warn!(?refused, "the store did not take every {what} of a flush");
        }
    }
}

/// Says that lines were refused since there are as many series as there may be.
fn report_limited(lines: u64) {
    if lines > 0 {
        metrics::counter!("statline_statsd_refused_lines_total").increment(lines);
        tracing::warn!(
            lines,
            "lines of new names were refused, there are as many names as there may be; the console's offenders says whose"
        );
    }
}

/// Says what was lost or refused in an interval, once, rather than for each packet.
fn report_lost(before: &ReceiveTotals, now: &ReceiveTotals) {
    let kernel_drops = now.kernel_drops.saturating_sub(before.kernel_drops);
    let bad_lines = now.bad_lines.saturating_sub(before.bad_lines);
    let limited = now.limited.saturating_sub(before.limited);
    if kernel_drops > 0 {
        tracing::warn!(
            packets = kernel_drops,
            "the kernel dropped packets since its buffer was full; raise statsd.receive_buffer or statsd.receivers"
        );
    }
    if bad_lines + limited > 0 {
        tracing::warn!(bad_lines, limited, "lines were refused; /statsd/refusals shows the last of them");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_as_long_as_its_instants_say_unless_the_clock_was_set() {
        let since = Timestamp::from_seconds(1000);
        let step = Step::from_seconds(10).unwrap_or(Step::SECOND);
        for (at, passed, length) in [
            (1010, 10_003, 10),
            (1010, 9_990, 10),
            (1010, 1, 10),
            (1020, 20_100, 20),
            (4610, 4_000, 4),
            (1010, 3_600_000, 3600),
            (1000, 0, 10),
        ] {
            let passed = Duration::from_millis(passed);
            let told = length_of(since, Timestamp::from_seconds(at), passed, step);
            assert_eq!(told.millis(), length * 1000, "{at} {passed:?}");
        }
    }
}
