//! A fetch: which series, what it will cost, where their points are, and the values on the grid that was asked for.

use std::sync::atomic::{AtomicBool, Ordering};

use statline_series::{Consolidation, Kind, SeriesKey, Step, TimeRange, Timestamp, Values};

use crate::block::ChunkError;
use crate::column::Column;
use crate::embedded::Inner;
use crate::head::read_column;
use crate::index::Entry;
use crate::points::Points;
use crate::state::Sources;
use crate::{Fetch, Fetched, Form, Limits, Resolution, Selection, SeriesId, SeriesInfo, StoreError};

/// One series of an answer.
pub(crate) struct Chosen {
    pub(crate) id: SeriesId,
    pub(crate) key: SeriesKey,
    kind: Kind,
    /// The part of the range in which it lived.
    pub(crate) life: TimeRange,
}

/// The grid of an answer; `None` for the points as they came.
pub(crate) type Grid = Option<Step>;

impl Inner {
    pub(crate) fn select(
        &self,
        form: Form,
        selection: &Selection,
        range: TimeRange,
    ) -> Result<Vec<SeriesInfo>, StoreError> {
        self.check_open()?;
        let index = self.index.read();
        let info = |entry: Entry| SeriesInfo {
            key: entry.key(),
            kind: entry.kind,
            first_seen: entry.first_seen,
            last_seen: entry.last_seen,
            step: self.config.resolution,
        };
        Ok(index.get_all(&index.select(form, selection, range)).into_iter().map(|(_, entry)| info(entry)).collect())
    }

    pub(crate) fn fetch(&self, request: &Fetch, cancelled: &AtomicBool) -> Result<Vec<Fetched>, StoreError> {
        self.check_open()?;
        let resolution = self.config.resolution;
        let grid = match request.resolution {
            Resolution::Raw => None,
            Resolution::Native => Some(resolution),
            Resolution::Step(step) => Some(resolution.round_up(step)),
        };
        let span = span_of(request.range, grid);
        let chosen = self.choose(Form::Points, &request.selection, span, request.limits)?;
        self.check_cost(request.range, request.limits, &chosen, grid)?;
        let ids: Vec<SeriesId> = chosen.iter().map(|series| series.id).collect();
        let sources = self.state.read().sources(&ids, span);

        let mut points = Points::default();
        let mut answer = Vec::with_capacity(chosen.len());
        let mut touched = 0_usize;
        for (place, series) in chosen.into_iter().enumerate() {
            if cancelled.load(Ordering::Relaxed) {
                return Err(StoreError::Cancelled);
            }
            points.clear();
            self.read_series(&sources, place, &series, span, &mut points)?;
            touched += points.len();
            if touched > request.limits.max_points {
                return Err(StoreError::TooManyPoints { wanted: touched as u64, limit: request.limits.max_points });
            }
            let consolidation = request.consolidation.unwrap_or(series.kind.default_consolidation());
            let values = match grid {
                None => irregular(&points),
                Some(step) => regular(&points, request.range, step, resolution, consolidation),
            };
            answer.push(Fetched { key: series.key, kind: series.kind, values, consolidation });
        }
        Ok(answer)
    }

    /// The selected series that lived in the range.
    pub(crate) fn choose(
        &self,
        form: Form,
        selection: &Selection,
        span: TimeRange,
        limits: Limits,
    ) -> Result<Vec<Chosen>, StoreError> {
        let index = self.index.read();
        let ids = index.select(form, selection, span);
        let limit = limits.max_series;
        if ids.len() > limit {
            return Err(StoreError::TooManySeries { selected: ids.len(), limit });
        }
        let chosen = index.get_all(&ids).into_iter().map(|(id, entry)| {
            let life = TimeRange::new(span.from.max(entry.first_seen), span.until.min(entry.last_seen.offset(1)));
            Chosen { id, key: entry.key(), kind: entry.kind, life }
        });
        Ok(chosen.collect())
    }

    /// Refuses what would read or answer more than it may, from what is known without reading.
    pub(crate) fn check_cost(
        &self,
        range: TimeRange,
        limits: Limits,
        chosen: &[Chosen],
        grid: Grid,
    ) -> Result<(), StoreError> {
        let points_of = |series: &Chosen| {
            let read = series.life.slots(self.config.resolution) as u64;
            let answered = grid.map_or(0, |step| range.slots(step) as u64);
            read.max(answered)
        };
        let wanted = chosen.iter().map(points_of).fold(0, u64::saturating_add);
        let limit = limits.max_points;
        if wanted > limit as u64 { Err(StoreError::TooManyPoints { wanted, limit }) } else { Ok(()) }
    }

    fn read_series(
        &self,
        sources: &Sources<Column>,
        place: usize,
        series: &Chosen,
        span: TimeRange,
        points: &mut Points,
    ) -> Result<(), StoreError> {
        for block in sources.blocks.iter().filter(|block| block.range().overlaps(series.life)) {
            let read = points.overlay(|points| block.read(series.id, span, points));
            read.map_err(|error| self.chunk_error(error, &series.key, block.range()))?;
        }
        for head in &sources.heads {
            if let Some(column) = &head.columns[place] {
                points.overlay(|points| {
                    read_column(head.start, column, span, points);
                    Ok::<_, StoreError>(())
                })?;
            }
        }
        Ok(())
    }

    pub(crate) fn chunk_error(&self, error: ChunkError, series: &SeriesKey, range: TimeRange) -> StoreError {
        match error {
            ChunkError::Damaged(reason) => {
                self.counters.corrupt_chunks.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%series, from = %range.from, until = %range.until, reason, "damaged chunk");
                StoreError::DamagedChunk { series: series.clone(), range, reason }
            }
            ChunkError::Engine(error) => StoreError::blocks("read a block", error),
        }
    }
}

/// The instants that an answer is made of: the range itself, or the whole width of every slot that begins in it.
pub(crate) fn span_of(range: TimeRange, grid: Grid) -> TimeRange {
    match grid {
        None => range,
        Some(step) => TimeRange::new(range.from.align_up(step), range.until.align_up(step)),
    }
}

fn irregular(points: &Points) -> Values {
    Values::Irregular {
        timestamps: points.timestamps.iter().copied().map(Timestamp::from_millis).collect(),
        values: points.values.clone(),
    }
}

/// The value of each slot of the grid: the last point in each slot of the resolution, consolidated when the grid is
/// coarser than that.
fn regular(points: &Points, range: TimeRange, step: Step, resolution: Step, consolidation: Consolidation) -> Values {
    let start = range.from.align_up(step);
    let mut values = vec![f64::NAN; range.slots(step)];
    let mut rest = points.timestamps.iter().zip(&points.values).peekable();
    let slots_a_bucket = step.millis() / resolution.millis();
    let mut bucket = Vec::new();
    let place_of = |time: i64| time.abs_diff(start.millis()) / step.millis().unsigned_abs();
    while let Some((first, _)) = rest.peek() {
        let place = place_of(**first);
        let mut slot = i64::MIN;
        bucket.clear();
        while let Some((time, value)) = rest.next_if(|(time, _)| place_of(**time) == place) {
            let its_slot = time.div_euclid(resolution.millis());
            if its_slot == slot {
                bucket.pop();
            }
            slot = its_slot;
            bucket.push(*value);
        }
        if let Some(value) = usize::try_from(place).ok().and_then(|place| values.get_mut(place)) {
            *value = if slots_a_bucket == 1 { bucket[0] } else { consolidate(&bucket, slots_a_bucket, consolidation) };
        }
    }
    Values::Regular { start, step, values }
}

/// One value out of the slots of a bucket that hold one.
#[expect(clippy::cast_precision_loss, reason = "a bucket of more than 2^52 slots loses nothing that matters")]
fn consolidate(present: &[f64], slots: i64, consolidation: Consolidation) -> f64 {
    match consolidation {
        Consolidation::AvgZero => Consolidation::Sum.apply(present) / slots as f64,
        other => other.apply(present),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn values(points: &[(i64, f64)], range: (i64, i64), step: i64, consolidation: Consolidation) -> (i64, Vec<f64>) {
        let step = Step::from_millis(step).unwrap();
        let resolution = Step::from_millis(10).unwrap();
        let range = TimeRange::new(ms(range.0), ms(range.1));
        let span = span_of(range, Some(step));
        let mut inside = Points::default();
        points.iter().filter(|(time, _)| span.contains(ms(*time))).for_each(|(time, value)| inside.push(*time, *value));
        match regular(&inside, range, step, resolution, consolidation) {
            Values::Regular { start, values, .. } => {
                (start.millis(), values.into_iter().map(|value| if value.is_nan() { -1.0 } else { value }).collect())
            }
            Values::Irregular { .. } => unreachable!(),
        }
    }

    #[test]
    fn a_slot_holds_its_last_point_and_a_bucket_all_its_slots() {
        let points = [(0, 1.0), (12, 2.0), (19, 3.0), (30, 4.0), (45, 5.0), (59, 6.0)];
        for (range, step, consolidation, expected) in [
            ((0, 60), 10, Consolidation::Sum, (0, vec![1.0, 3.0, -1.0, 4.0, 5.0, 6.0])),
            ((1, 41), 10, Consolidation::Sum, (10, vec![3.0, -1.0, 4.0, 5.0])),
            ((0, 60), 20, Consolidation::Sum, (0, vec![4.0, 4.0, 11.0])),
            ((0, 41), 20, Consolidation::AvgZero, (0, vec![2.0, 2.0, 5.5])),
            ((0, 60), 30, Consolidation::AvgZero, (0, vec![4.0 / 3.0, 5.0])),
            ((0, 60), 30, Consolidation::Average, (0, vec![2.0, 5.0])),
            ((-20, 20), 20, Consolidation::Count, (-20, vec![-1.0, 2.0])),
            ((100, 120), 10, Consolidation::Last, (100, vec![-1.0, -1.0])),
        ] {
            assert_eq!(values(&points, range, step, consolidation), expected, "{range:?} {step} {consolidation}");
        }
    }

    #[test]
    fn an_empty_range_and_the_ends_of_time_are_no_trouble() {
        assert_eq!(values(&[(0, 1.0)], (5, 5), 10, Consolidation::Last), (10, vec![]));
        assert_eq!(span_of(TimeRange::ALL, Step::from_millis(7)).until, Timestamp::MAX);
    }
}
