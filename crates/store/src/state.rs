//! What the store holds: heads in memory, blocks on disk, and which of them cover what.
//!
//! A read takes references to all that it needs in one moment under one lock, and reads afterwards. A cut changes heads
//! and blocks in one moment too, so that a read sees each point in one place or the other and never in both or neither.

use std::collections::BTreeMap;
use std::sync::Arc;

use statline_series::{Step, TimeRange, Timestamp};

use crate::SeriesId;
use crate::block::StoredBlock;
use crate::head::{Head, HeadColumn};
use crate::sketch_column::SketchColumn;

/// Heads and blocks.
#[derive(Default)]
pub(crate) struct State {
    /// Windows that take points, by their start. None overlaps another.
    pub(crate) active: BTreeMap<Timestamp, Head>,
    /// Windows that are being written as blocks, in the order in which they were closed.
    pub(crate) frozen: Vec<Arc<Head>>,
    /// Blocks by start and number.
    pub(crate) blocks: Vec<Arc<StoredBlock>>,
}

/// The columns of one window, one for each series asked for.
pub(crate) struct HeadColumns<C> {
    pub(crate) start: Timestamp,
    pub(crate) columns: Vec<Option<C>>,
}

/// All that holds points, or sketches, of some series in some range.
pub(crate) struct Sources<C> {
    /// Blocks of points as they came. What comes later is newer where two hold the same instant.
    pub(crate) raw: Vec<Arc<StoredBlock>>,
    /// Blocks of rollups, which add up.
    pub(crate) rolled: Vec<Arc<StoredBlock>>,
    /// Newer than all blocks, and in the same order.
    pub(crate) heads: Vec<HeadColumns<C>>,
}

impl State {
    /// The window that takes points of an instant.
    pub(crate) fn active_at(&self, timestamp: Timestamp) -> Option<TimeRange> {
        let (_, head) = self.active.range(..=timestamp).next_back()?;
        Some(head.range()).filter(|range| range.contains(timestamp))
    }

    /// The window that an instant belongs to, which may still have to be made: a multiple of the block length, cut down
    /// where it would reach over the edge of another window.
    pub(crate) fn window_at(&self, timestamp: Timestamp, block_step: Step) -> TimeRange {
        if let Some(range) = self.active_at(timestamp) {
            return range;
        }
        let start = timestamp.align_down(block_step);
        let whole = TimeRange::new(start, start.offset(block_step.millis()));
        let frozen = self.frozen.iter().map(|head| head.range());
        let active = self.active.values().map(Head::range);
        frozen.chain(active).fold(whole, |window, other| cut_down(window, other, timestamp))
    }

    /// A window, made when there is none; its series mostly have a point every `usual_step`.
    pub(crate) fn head_mut(&mut self, window: TimeRange, usual_step: Step) -> &mut Head {
        self.active.entry(window.from).or_insert_with(|| Head::new(window, usual_step))
    }

    pub(crate) fn head_bytes(&self) -> u64 {
        self.heads().map(|head| head.bytes).sum()
    }

    pub(crate) fn heads(&self) -> impl Iterator<Item = &Head> {
        self.frozen.iter().map(Arc::as_ref).chain(self.active.values())
    }

    /// Everything that may hold points of these series in this range.
    pub(crate) fn sources(&self, series: &[SeriesId], range: TimeRange) -> Sources<HeadColumn> {
        self.sources_of(series, range, Head::column)
    }

    /// Everything that may hold sketches of these series in this range.
    pub(crate) fn sketch_sources(&self, series: &[SeriesId], range: TimeRange) -> Sources<Arc<SketchColumn>> {
        self.sources_of(series, range, Head::sketch_column)
    }

    fn sources_of<C>(
        &self,
        series: &[SeriesId],
        range: TimeRange,
        column: impl Fn(&Head, SeriesId) -> Option<C>,
    ) -> Sources<C> {
        let found = self.blocks.iter().filter(|block| block.range().overlaps(range)).cloned();
        let (mut raw, rolled): (Vec<_>, Vec<_>) = found.partition(|block| block.meta.step.is_none());
        // Of blocks that hold the same instant the newer counts. Where none does, they are read in the order of time, where
        // each adds to the end. A series is in the blocks of one policy.
        raw.sort_by_key(|block| (block.meta.policy, block.range().from));
        let is_mixed = raw.windows(2).any(|pair| {
            pair[0].meta.filed_by != pair[1].meta.filed_by
                || (pair[0].meta.policy == pair[1].meta.policy && pair[0].range().overlaps(pair[1].range()))
        });
        if is_mixed {
            raw.sort_by_key(|block| (block.meta.order, block.meta.id));
        }
        let heads = self.heads().filter(|head| head.range().overlaps(range));
        let heads = heads.map(|head| HeadColumns {
            start: head.range().from,
            columns: series.iter().map(|id| column(head, *id)).collect(),
        });
        Sources { raw, rolled, heads: heads.collect() }
    }

    /// Puts blocks in the place of others.
    pub(crate) fn replace_blocks(&mut self, gone: &[u64], new: Vec<Arc<StoredBlock>>) {
        self.blocks.retain(|block| !gone.contains(&block.meta.id));
        self.blocks.extend(new);
        self.sort_blocks();
    }

    pub(crate) fn sort_blocks(&mut self) {
        self.blocks.sort_by_key(|block| (block.range().from, block.meta.id));
    }
}

/// The part of `window` around `timestamp` that lies on one side of the edges of `other`.
pub(crate) fn cut_down(window: TimeRange, other: TimeRange, timestamp: Timestamp) -> TimeRange {
    if other.is_empty() {
        window
    } else if other.contains(timestamp) {
        TimeRange::new(window.from.max(other.from), window.until.min(other.until))
    } else if other.until <= timestamp {
        TimeRange::new(window.from.max(other.until), window.until)
    } else {
        TimeRange::new(window.from, window.until.min(other.from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: i64, until: i64) -> TimeRange {
        TimeRange::new(Timestamp::from_millis(from), Timestamp::from_millis(until))
    }

    #[test]
    fn a_new_window_stays_clear_of_others() {
        let mut state = State::default();
        let hundred = Step::from_millis(100).unwrap();
        let window_at = |state: &State, millis| state.window_at(Timestamp::from_millis(millis), hundred);
        assert_eq!(window_at(&state, 130), range(100, 200));
        assert_eq!(window_at(&state, -1), range(-100, 0));
        state.head_mut(range(150, 170), hundred);
        assert_eq!(window_at(&state, 160), range(150, 170));
        assert_eq!(window_at(&state, 130), range(100, 150));
        assert_eq!(window_at(&state, 170), range(170, 200));
        state.frozen.push(Arc::new(Head::new(range(100, 120), hundred)));
        assert_eq!(window_at(&state, 110), range(100, 120), "late for a window that is being written");
        assert_eq!(window_at(&state, 130), range(120, 150));
    }
}
