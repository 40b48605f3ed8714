//! Whether the daemon is fit to work, and its figures for Prometheus.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::{counter, gauge};
use statline_series::{Step, Timestamp};
use statline_statsd::mapping::Registry;
use statline_store::{Refused, Store};
use tokio::sync::watch;

use crate::clock;
use crate::receive::ReceiveTotals;

/// How many flushes may be missing before the daemon says that it is not ready.
const MISSED_FLUSHES: i64 = 3;

/// What is asked by `/ready` and `/metrics`.
pub struct Status {
    store: Arc<dyn Store>,
    step: Step,
    started: Timestamp,
    flushed: watch::Receiver<Option<Timestamp>>,
    /// Whether an operator has taken it out of service, by the console.
    is_down: AtomicBool,
}

impl Status {
    /// The status of a daemon that starts now.
    pub fn new(store: Arc<dyn Store>, step: Step, flushed: watch::Receiver<Option<Timestamp>>) -> Self {
        Self { store, step, started: clock::now(), flushed, is_down: AtomicBool::new(false) }
    }

    /// Puts the daemon into service, or takes it out, as a load balancer sees it. It works on all the same.
    pub fn set_up(&self, is_up: bool) {
        if self.is_down.swap(!is_up, Ordering::Relaxed) == is_up {
            tracing::warn!(is_up, "the console has changed whether this daemon calls itself ready");
        }
    }

    /// Whether it is in service, as an operator has it.
    pub fn is_up(&self) -> bool {
        !self.is_down.load(Ordering::Relaxed)
    }

    /// Why the daemon is not ready, in one line; `None` when it is.
    pub fn trouble(&self) -> Option<String> {
        if !self.is_up() {
            return Some("taken out of service by health down; health up on the console puts it back".to_owned());
        }
        let last = self.flushed.borrow().unwrap_or(self.started);
        let silent = clock::now().millis().saturating_sub(last.millis());
        let allowed = self.step.millis().saturating_mul(MISSED_FLUSHES);
        (silent > allowed).then(|| {
            let silent = Duration::from_millis(silent.unsigned_abs()).as_secs();
            format!("no flush has been stored for {silent} s; the log says why")
        })
    }

    /// Publishes what came of mapping rules, for a scrape.
    #[expect(clippy::unused_self, reason = "published as the other figures are")]
    pub fn publish_mapping(&self, registry: &Registry) {
        gauge!("statline_mapping_series").set(registry.len() as f64);
        for (reason, count) in registry.refused() {
            counter!("statline_mapping_refused_total", "reason" => reason).absolute(count);
        }
        for (kind, name, count) in registry.conflicts() {
            let labels = [("type", kind.as_str().to_owned()), ("name", name.to_owned())];
            counter!("statline_mapping_conflicts_total", &labels).absolute(count);
        }
    }

    /// Publishes what others count, for a scrape.
    pub fn publish(&self, received: &ReceiveTotals) {
        counter!("statline_statsd_packets_total").absolute(received.packets);
        counter!("statline_statsd_bytes_total").absolute(received.bytes);
        counter!("statline_statsd_lines_total").absolute(received.lines);
        counter!("statline_statsd_samples_total").absolute(received.samples);
        counter!("statline_statsd_bad_lines_total").absolute(received.bad_lines);
        counter!("statline_statsd_limited_samples_total").absolute(received.limited);
        counter!("statline_statsd_kernel_drops_total").absolute(received.kernel_drops);
        counter!("statline_statsd_truncated_packets_total").absolute(received.truncated);
        counter!("statline_statsd_receive_errors_total").absolute(received.errors);
        counter!("statline_statsd_connections_total").absolute(received.accepted);
        counter!("statline_statsd_refused_connections_total").absolute(received.refused_connections);
        gauge!("statline_statsd_connections").set(received.connections as f64);
        for (reason, count) in &received.by_reason {
            counter!("statline_statsd_refused_total", "reason" => reason.as_str()).absolute(*count);
        }
        let store = self.store.stats();
        gauge!("statline_store_series").set(store.series as f64);
        gauge!("statline_store_sketch_series").set(store.sketch_series as f64);
        gauge!("statline_store_head_points").set(store.head_points as f64);
        gauge!("statline_store_head_sketches").set(store.head_sketches as f64);
        gauge!("statline_store_head_bytes").set(store.head_bytes as f64);
        gauge!("statline_store_cache_bytes").set(store.cache_bytes as f64);
        gauge!("statline_store_log_bytes").set(store.log_bytes as f64);
        gauge!("statline_store_blocks").set(store.blocks as f64);
        gauge!("statline_store_block_points").set(store.block_points as f64);
        gauge!("statline_store_block_bytes").set(store.block_bytes as f64);
        gauge!("statline_store_block_sketches").set(store.block_sketches as f64);
        gauge!("statline_store_block_sketch_bytes").set(store.block_sketch_bytes as f64);
        gauge!("statline_store_events").set(store.events as f64);
        gauge!("statline_store_event_bytes").set(store.event_bytes as f64);
        gauge!("statline_store_event_log_bytes").set(store.event_log_bytes as f64);
        counter!("statline_store_appended_points_total").absolute(store.appended_points);
        counter!("statline_store_appended_sketches_total").absolute(store.appended_sketches);
        counter!("statline_store_appended_events_total").absolute(store.appended_events);
        counter!("statline_store_known_events_total").absolute(store.known_events);
        counter!("statline_store_evicted_events_total").absolute(store.evicted_events);
        counter!("statline_store_expired_events_total").absolute(store.expired_events);
        counter!("statline_store_failed_appends_total").absolute(store.failed_appends);
        counter!("statline_store_cuts_total").absolute(store.cuts);
        counter!("statline_store_failed_cuts_total").absolute(store.failed_cuts);
        counter!("statline_store_expired_blocks_total").absolute(store.expired_blocks);
        counter!("statline_store_rolled_blocks_total").absolute(store.rolled_blocks);
        counter!("statline_store_merged_blocks_total").absolute(store.merged_blocks);
        counter!("statline_store_torn_tails_total").absolute(store.torn_tails);
        counter!("statline_store_corrupt_records_total").absolute(store.corrupt_records);
        counter!("statline_store_orphan_points_total").absolute(store.orphan_points);
        counter!("statline_store_corrupt_chunks_total").absolute(store.corrupt_chunks);
        counter!("statline_store_cache_hits_total").absolute(store.cache_hits);
        counter!("statline_store_cache_misses_total").absolute(store.cache_misses);
        for (reason, count) in by_reason(store.refused) {
            counter!("statline_store_refused_points_total", "reason" => reason).absolute(count);
        }
        for (reason, count) in by_reason(store.refused_sketches) {
            counter!("statline_store_refused_sketches_total", "reason" => reason).absolute(count);
        }
        for (reason, count) in by_reason(store.refused_events) {
            counter!("statline_store_refused_events_total", "reason" => reason).absolute(count);
        }
    }
}

const fn by_reason(refused: Refused) -> [(&'static str, u64); 6] {
    [
        ("too_old", refused.too_old),
        ("too_new", refused.too_new),
        ("series_limit", refused.series_limit),
        ("too_deep", refused.too_deep),
        ("not_a_number", refused.not_a_number),
        ("too_large", refused.too_large),
    ]
}
