//! What has happened in a store since it was opened, and the figures that are made of it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use statline_series::Timestamp;

use crate::embedded::Inner;
use crate::{Appended, Form, Refused, StoreStats, log};

/// Counters, each of which only grows but for those of the last cut and of the events' file.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    appended_points: AtomicU64,
    appended_sketches: AtomicU64,
    appended_events: AtomicU64,
    known_events: AtomicU64,
    refused: Refusals,
    refused_sketches: Refusals,
    refused_events: Refusals,
    pub(crate) evicted_events: AtomicU64,
    pub(crate) expired_events: AtomicU64,
    pub(crate) event_log_bytes: AtomicU64,
    pub(crate) failed_appends: AtomicU64,
    pub(crate) cuts: AtomicU64,
    pub(crate) failed_cuts: AtomicU64,
    /// In milliseconds; `i64::MIN` before the first.
    pub(crate) last_cut: AtomicI64,
    pub(crate) last_cut_micros: AtomicU64,
    pub(crate) expired_blocks: AtomicU64,
    pub(crate) rolled_blocks: AtomicU64,
    pub(crate) merged_blocks: AtomicU64,
    pub(crate) torn_tails: AtomicU64,
    pub(crate) corrupt_records: AtomicU64,
    pub(crate) orphan_points: AtomicU64,
    pub(crate) corrupt_chunks: AtomicU64,
}

/// What was not taken, by reason.
#[derive(Debug, Default)]
struct Refusals {
    too_old: AtomicU64,
    too_new: AtomicU64,
    series_limit: AtomicU64,
    too_deep: AtomicU64,
    not_a_number: AtomicU64,
    too_large: AtomicU64,
}

impl Refusals {
    fn add(&self, refused: Refused) {
        let Refused { too_old, too_new, series_limit, too_deep, not_a_number, too_large } = refused;
        for (counter, count) in [
            (&self.too_old, too_old),
            (&self.too_new, too_new),
            (&self.series_limit, series_limit),
            (&self.too_deep, too_deep),
            (&self.not_a_number, not_a_number),
            (&self.too_large, too_large),
        ] {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn load(&self) -> Refused {
        Refused {
            too_old: load(&self.too_old),
            too_new: load(&self.too_new),
            series_limit: load(&self.series_limit),
            too_deep: load(&self.too_deep),
            not_a_number: load(&self.not_a_number),
            too_large: load(&self.too_large),
        }
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counters {
    pub(crate) fn appended(&self, appended: &Appended) {
        for (counter, count) in [
            (&self.appended_points, appended.points),
            (&self.appended_sketches, appended.sketches),
            (&self.appended_events, appended.events),
            (&self.known_events, appended.known_events),
        ] {
            counter.fetch_add(count, Ordering::Relaxed);
        }
        self.refused.add(appended.refused);
        self.refused_sketches.add(appended.refused_sketches);
        self.refused_events.add(appended.refused_events);
    }
}

impl Inner {
    pub(crate) fn stats(&self) -> StoreStats {
        let counters = &self.counters;
        let (log_files, log_bytes) = log::sizes(&self.log_directory());
        let (events, event_bytes) = {
            let events = self.events.read();
            (events.len() as u64, events.bytes())
        };
        let (series, sketch_series) = {
            let index = self.index.read();
            (index.len(Form::Points) as u64, index.len(Form::Sketches) as u64)
        };
        let state = self.state.read();
        let metas = || state.blocks.iter().map(|block| &block.meta);
        let last_cut = counters.last_cut.load(Ordering::Relaxed);
        let cache = self.cache.stats();
        StoreStats {
            series,
            sketch_series,
            head_points: state.heads().map(|head| head.points).sum(),
            head_sketches: state.heads().map(|head| head.sketches).sum(),
            head_bytes: state.head_bytes(),
            head_windows: state.heads().count() as u64,
            log_files,
            log_bytes,
            blocks: state.blocks.len() as u64,
            block_points: metas().map(|meta| meta.points).sum(),
            block_bytes: metas().map(|meta| meta.bytes).sum(),
            block_sketches: metas().map(|meta| meta.sketches).sum(),
            block_sketch_bytes: metas().map(|meta| meta.sketch_bytes).sum(),
            events,
            event_bytes,
            event_log_bytes: load(&counters.event_log_bytes),
            appended_points: load(&counters.appended_points),
            refused: counters.refused.load(),
            appended_sketches: load(&counters.appended_sketches),
            refused_sketches: counters.refused_sketches.load(),
            appended_events: load(&counters.appended_events),
            known_events: load(&counters.known_events),
            refused_events: counters.refused_events.load(),
            evicted_events: load(&counters.evicted_events),
            expired_events: load(&counters.expired_events),
            failed_appends: load(&counters.failed_appends),
            cuts: load(&counters.cuts),
            failed_cuts: load(&counters.failed_cuts),
            last_cut: (last_cut != i64::MIN).then(|| Timestamp::from_millis(last_cut)),
            last_cut_micros: load(&counters.last_cut_micros),
            expired_blocks: load(&counters.expired_blocks),
            rolled_blocks: load(&counters.rolled_blocks),
            merged_blocks: load(&counters.merged_blocks),
            torn_tails: load(&counters.torn_tails),
            corrupt_records: load(&counters.corrupt_records),
            orphan_points: load(&counters.orphan_points),
            corrupt_chunks: load(&counters.corrupt_chunks),
            cache_bytes: cache.bytes,
            cache_hits: cache.hits,
            cache_misses: cache.misses,
        }
    }
}
