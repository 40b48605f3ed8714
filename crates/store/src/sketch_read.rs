//! A fetch of sketches: as they came, or all that fall in one step merged into one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use statline_series::{Sketch, Step, TimeRange, Timestamp};

use crate::block::ChunkError;
use crate::embedded::Inner;
use crate::head::read_sketches;
use crate::read::{Chosen, span_of};
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
        let grid = step.map(|step| self.config.resolution.round_up(step));
        let span = span_of(range, grid);
        let chosen = self.choose(Form::Sketches, selection, span, limits)?;
        // An answer has no slot without a sketch, so that only what is read counts.
        self.check_cost(range, limits, &chosen, None)?;
        let ids: Vec<SeriesId> = chosen.iter().map(|series| series.id).collect();
        let sources = self.state.read().sketch_sources(&ids, span);

        let mut answer = Vec::with_capacity(chosen.len());
        let mut touched = 0_usize;
        for (place, series) in chosen.into_iter().enumerate() {
            let encoded = self.read_sketch_series(&sources, place, &series, span)?;
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
                let slot = grid.map_or(instant, |step| instant.align_down(step));
                slots.entry(slot).or_default().merge(&sketch);
            }
            answer.push(FetchedSketches { key: series.key, points: slots.into_iter().collect() });
        }
        Ok(answer)
    }

    fn read_sketch_series(
        &self,
        sources: &Sources<Arc<SketchColumn>>,
        place: usize,
        series: &Chosen,
        span: TimeRange,
    ) -> Result<Sketches, StoreError> {
        let mut sketches = Sketches::new();
        for block in sources.blocks.iter().filter(|block| block.range().overlaps(series.life)) {
            let read = block.read_sketches(series.id, span, &mut sketches);
            read.map_err(|error| self.chunk_error(error, &series.key, block.range()))?;
        }
        for head in &sources.heads {
            if let Some(column) = &head.columns[place] {
                read_sketches(head.start, column, span, &mut sketches);
            }
        }
        Ok(sketches)
    }
}
