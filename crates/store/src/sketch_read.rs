//! A fetch of sketches: as they came, or all that fall in one step merged into one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use statline_series::{Sketch, Step, TimeRange, Timestamp};

use crate::block::{ChunkError, StoredBlock};
use crate::embedded::Inner;
use crate::head::read_sketches;
use crate::read::{Chosen, step_of, widest};
use crate::sketch_column::{SketchColumn, Sketches};
use crate::state::Sources;
use crate::{FetchedSketches, Form, Limits, Selection, SeriesId, StoreError};

impl Inner {
    pub(crate) fn fetch_sketches(
        &self,
        selection: &Selection,
        range: TimeRange,
        step: Option<Step>,
        limits: Limits,
        cancelled: &AtomicBool,
    ) -> Result<Vec<FetchedSketches>, StoreError> {
        self.check_open()?;
        let chosen = self.choose(Form::Sketches, selection, range, limits, |policy, now| {
            step.map(|step| step_of(policy, range.from, now).round_up(step))
        })?;
        // An answer has no slot without a sketch, so that only what is read counts.
        self.check_cost(limits, &chosen, |_| 0)?;
        let ids: Vec<SeriesId> = chosen.iter().map(|series| series.id).collect();
        let span = chosen.iter().map(|series| series.span).reduce(widest).unwrap_or(range);
        let sources = self.state.read().sketch_sources(&ids, span);

        let mut answer = Vec::with_capacity(chosen.len());
        let mut touched = 0_usize;
        for (place, series) in chosen.into_iter().enumerate() {
            let encoded = self.read_sketch_series(&sources, place, &series)?;
            let mut slots: BTreeMap<Timestamp, Sketch> = BTreeMap::new();
            for (millis, bytes) in encoded {
                if cancelled.load(Ordering::Relaxed) {
                    return Err(StoreError::Cancelled);
                }
                let instant = Timestamp::from_millis(millis);
                let sketch = Sketch::decode(&bytes).map_err(|error| {
                    let window = TimeRange::new(instant, instant.offset(1));
                    self.chunk_error(ChunkError::Damaged(error.to_string()), &series.key, window)
                })?;
                touched = touched.saturating_add(sketch.bin_count());
                if touched > limits.max_points {
                    return Err(StoreError::TooManyPoints { wanted: touched as u64, limit: limits.max_points });
                }
                let slot = series.grid.map_or(instant, |step| instant.align_down(step));
                slots.entry(slot).or_default().merge(&sketch);
            }
            answer.push(FetchedSketches { key: series.key, step: series.grid, points: slots.into_iter().collect() });
        }
        Ok(answer)
    }

    /// The sketches of a series by their instants; where a slot was rolled up in parts, several of one instant.
    fn read_sketch_series(
        &self,
        sources: &Sources<Arc<SketchColumn>>,
        place: usize,
        series: &Chosen<'_>,
    ) -> Result<Vec<(i64, Vec<u8>)>, StoreError> {
        let is_wanted = |block: &&Arc<StoredBlock>| series.may_be_in(block, self.schemas_number);
        let read = |block: &StoredBlock, sketches: &mut Sketches| {
            let read = block.read_sketches(series.id, series.span, sketches);
            read.map_err(|error| self.chunk_error(error, &series.key, block.range()))
        };
        let mut raw = Sketches::new();
        for block in sources.raw.iter().filter(is_wanted) {
            read(block, &mut raw)?;
        }
        for head in &sources.heads {
            if let Some(column) = &head.columns[place] {
                read_sketches(head.start, column, series.span, &mut raw);
            }
        }
        let mut all = Vec::from_iter(raw);
        for block in sources.rolled.iter().filter(is_wanted) {
            let mut of_block = Sketches::new();
            read(block, &mut of_block)?;
            all.extend(of_block);
        }
        Ok(all)
    }
}
