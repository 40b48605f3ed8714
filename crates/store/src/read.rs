//! A fetch: which series, what it will cost, where their points are, and the values on the grid that was asked for.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use statline_series::{Consolidation, Kind, SeriesKey, Step, TimeRange, Timestamp, Values};

use crate::block::{ChunkError, StoredBlock};
use crate::embedded::Inner;
use crate::head::{HeadColumn, read_column};
use crate::index::Entry;
use crate::maintain::LENIENCE;
use crate::points::Points;
use crate::rollup::{Rollup, Rollups, for_each_slot};
use crate::rollup_chunk::Columns;
use crate::schema::{Policy, Rule};
use crate::state::Sources;
use crate::{Fetch, Fetched, Form, Limits, Resolution, Selection, SeriesId, SeriesInfo, StoreError};

/// As many series as these are worth a thread of their own.
const SERIES_A_THREAD: usize = 8;

/// One series of an answer.
pub(crate) struct Chosen<'a> {
    pub(crate) id: SeriesId,
    pub(crate) key: SeriesKey,
    kind: Kind,
    pub(crate) rule: &'a Rule,
    /// The manifest's number of its policy.
    pub(crate) policy: u32,
    pub(crate) grid: Grid,
    /// The instants that its answer is made of.
    pub(crate) span: TimeRange,
    /// The part of them in which it lived.
    pub(crate) life: TimeRange,
}

impl Chosen<'_> {
    /// Whether a block may hold any of it.
    pub(crate) fn may_be_in(&self, block: &StoredBlock, schemas: u32) -> bool {
        // A slot may begin before the first point that is in it.
        let from = block.meta.step.map_or(self.life.from, |step| self.life.from.align_down(step));
        block.may_hold(self.policy, schemas) && block.range().overlaps(TimeRange::new(from, self.life.until))
    }
}

/// The grid of an answer; `None` for the points as they came.
pub(crate) type Grid = Option<Step>;

/// What a thread reads series into, one after the other.
#[derive(Default)]
struct Scratch {
    points: Points,
    rollups: Rollups,
    buckets: Vec<Option<Rollup>>,
    values: Vec<(i64, f64)>,
}

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
            step: self.config.schemas.rule(entry.rule).policy.finest(),
        };
        Ok(index.get_all(&index.select(form, selection, range)).into_iter().map(|(_, entry)| info(entry)).collect())
    }

    pub(crate) fn fetch(&self, request: &Fetch, cancelled: &AtomicBool) -> Result<Vec<Fetched>, StoreError> {
        self.check_open()?;
        let Fetch { selection, range, limits, .. } = request;
        let chosen = self.choose(Form::Points, selection, *range, *limits, |policy, now| {
            let step = || step_of(policy, request.range.from, now);
            match request.resolution {
                Resolution::Raw => None,
                Resolution::Native => Some(step()),
                Resolution::Step(wanted) => Some(step().round_up(wanted)),
            }
        })?;
        let answered = |grid: Grid| grid.map_or(0, |step| request.range.slots(step) as u64);
        self.check_cost(request.limits, &chosen, answered)?;
        let ids: Vec<SeriesId> = chosen.iter().map(|series| series.id).collect();
        let span = chosen.iter().map(|series| series.span).reduce(widest).unwrap_or(request.range);
        let sources = self.state.read().sources(&ids, span);

        let touched = AtomicUsize::new(0);
        let read = |places: std::ops::Range<usize>| -> Result<Vec<Fetched>, StoreError> {
            let mut scratch = Scratch::default();
            let mut answer = Vec::with_capacity(places.len());
            for place in places {
                if cancelled.load(Ordering::Relaxed) {
                    return Err(StoreError::Cancelled);
                }
                let series = &chosen[place];
                let consolidation = request.consolidation.or(series.rule.method);
                let consolidation = consolidation.unwrap_or(series.kind.default_consolidation());
                self.read_series(&sources, place, series, consolidation, &mut scratch)?;
                let here = scratch.points.len() + scratch.rollups.len();
                let all = touched.fetch_add(here, Ordering::Relaxed).saturating_add(here);
                if all > request.limits.max_points {
                    return Err(StoreError::TooManyPoints { wanted: all as u64, limit: request.limits.max_points });
                }
                let values = match series.grid {
                    None => irregular(&scratch.points, &scratch.rollups, series.span),
                    Some(step) => regular(&mut scratch, request.range, step, series.rule, consolidation),
                };
                answer.push(Fetched { key: series.key.clone(), kind: series.kind, values, consolidation });
            }
            Ok(answer)
        };
        in_parallel(chosen.len(), read)
    }

    /// The selected series that lived in a range, with the grid that `grid_of` gives their policy.
    pub(crate) fn choose(
        &self,
        form: Form,
        selection: &Selection,
        range: TimeRange,
        limits: Limits,
        grid_of: impl Fn(&Policy, Timestamp) -> Grid,
    ) -> Result<Vec<Chosen<'_>>, StoreError> {
        let now = self.config.clock.now();
        let schemas = &self.config.schemas;
        // What is kept no longer is not there, though it may be on disk a little longer.
        let spans: Vec<(Grid, TimeRange)> = schemas
            .rules()
            .iter()
            .map(|rule| {
                let grid = grid_of(&rule.policy, now);
                let span = span_of(range, grid);
                let horizon = now.offset(-rule.policy.retention());
                let horizon = grid.map_or(horizon, |_| horizon.align_up(rule.policy.coarsest()));
                (grid, TimeRange::new(span.from.max(horizon), span.until))
            })
            .collect();
        let widest = spans.iter().map(|(_, span)| *span).reduce(widest).unwrap_or(range);
        let index = self.index.read();
        let ids = index.select(form, selection, widest);
        let limit = limits.max_series;
        if ids.len() > limit {
            return Err(StoreError::TooManySeries { selected: ids.len(), limit });
        }
        let chosen = index.get_all(&ids).into_iter().filter_map(|(id, entry)| {
            let (grid, span) = spans[usize::from(entry.rule)];
            if !entry.lived_in(span) {
                return None;
            }
            let life = TimeRange::new(span.from.max(entry.first_seen), span.until.min(entry.last_seen.offset(1)));
            let policy = self.policy_numbers[usize::from(entry.rule)];
            let rule = schemas.rule(entry.rule);
            Some(Chosen { id, key: entry.key(), kind: entry.kind, rule, policy, grid, span, life })
        });
        Ok(chosen.collect())
    }

    /// Refuses what would read or answer more than it may, from what is known without reading.
    pub(crate) fn check_cost(
        &self,
        limits: Limits,
        chosen: &[Chosen<'_>],
        answered: impl Fn(Grid) -> u64,
    ) -> Result<(), StoreError> {
        let now = self.config.clock.now();
        let points_of =
            |series: &Chosen<'_>| slots_in(&series.rule.policy, series.life, now).max(answered(series.grid));
        let wanted = chosen.iter().map(points_of).fold(0, u64::saturating_add);
        let limit = limits.max_points;
        if wanted > limit as u64 { Err(StoreError::TooManyPoints { wanted, limit }) } else { Ok(()) }
    }

    fn read_series(
        &self,
        sources: &Sources<HeadColumn>,
        place: usize,
        series: &Chosen<'_>,
        consolidation: Consolidation,
        scratch: &mut Scratch,
    ) -> Result<(), StoreError> {
        let Scratch { points, rollups, .. } = scratch;
        points.clear();
        rollups.clear();
        let span = series.span;
        let is_wanted = |block: &&std::sync::Arc<StoredBlock>| series.may_be_in(block, self.schemas_number);
        for block in sources.raw.iter().filter(is_wanted) {
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
        let wanted = columns_for(series.grid, consolidation);
        for block in sources.rolled.iter().filter(is_wanted) {
            // As they came they are told by the instants of their last points, which are in their slots.
            let slots = match (series.grid, block.meta.step) {
                (None, Some(step)) => TimeRange::new(span.from.align_down(step), span.until),
                _ => span,
            };
            let read = rollups.join(|rollups| block.read_rollups(series.id, slots, wanted, rollups));
            read.map_err(|error| self.chunk_error(error, &series.key, block.range()))?;
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
            ChunkError::Io(error) => StoreError::io("read a block of", &self.config.path, error),
        }
    }
}

/// The step of answers that begin at an instant.
pub(crate) fn step_of(policy: &Policy, from: Timestamp, now: Timestamp) -> Step {
    let age = now.millis().saturating_sub(from.millis()).saturating_sub(LENIENCE);
    policy.step_at(age).unwrap_or(policy.coarsest())
}

/// How many slots of its tiers a policy has in a range.
fn slots_in(policy: &Policy, range: TimeRange, now: Timestamp) -> u64 {
    let mut until = Timestamp::MAX;
    let mut slots = 0_u64;
    for tier in policy.tiers() {
        let from = now.offset(-tier.retention - LENIENCE);
        let part = TimeRange::new(range.from.max(from), range.until.min(until));
        slots = slots.saturating_add(part.slots(tier.step) as u64);
        until = from;
    }
    slots
}

/// Works on so many things, a part of them in each thread, and puts the answers together in their order.
fn in_parallel<T: Send>(
    count: usize,
    work: impl Fn(std::ops::Range<usize>) -> Result<Vec<T>, StoreError> + Sync,
) -> Result<Vec<T>, StoreError> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(count / SERIES_A_THREAD);
    if threads < 2 {
        return work(0..count);
    }
    let part = count.div_ceil(threads);
    let work = &work;
    thread::scope(|scope| {
        let others = (1..threads)
            .map(|number| scope.spawn(move || work((number * part).min(count)..((number + 1) * part).min(count))));
        let others: Vec<_> = others.collect();
        let mut answer = work(0..part)?;
        for other in others {
            answer.extend(other.join().map_err(|_| StoreError::Panicked("read points"))??);
        }
        Ok(answer)
    })
}

fn columns_for(grid: Grid, consolidation: Consolidation) -> Columns {
    Columns {
        sums: true,
        extremes: matches!(consolidation, Consolidation::Min | Consolidation::Max | Consolidation::Range),
        lasts: grid.is_none() || consolidation == Consolidation::Last,
    }
}

pub(crate) fn widest(left: TimeRange, right: TimeRange) -> TimeRange {
    TimeRange::new(left.from.min(right.from), left.until.max(right.until))
}

/// The instants that an answer is made of: the range itself, or the whole width of every slot that begins in it.
pub(crate) fn span_of(range: TimeRange, grid: Grid) -> TimeRange {
    match grid {
        None => range,
        Some(step) => TimeRange::new(range.from.align_up(step), range.until.align_up(step)),
    }
}

/// The points as they came, and of slots of which no more is known their last points.
fn irregular(points: &Points, rollups: &Rollups, span: TimeRange) -> Values {
    let mut all = points;
    let mut together = Points::default();
    if !rollups.is_empty() {
        let lasts = rollups.rollups.iter().filter(|rollup| span.contains(Timestamp::from_millis(rollup.last_at)));
        lasts.for_each(|rollup| together.push(rollup.last_at, rollup.last));
        let overlaid = together.overlay(|together| {
            together.timestamps.extend_from_slice(&points.timestamps);
            together.values.extend_from_slice(&points.values);
            Ok::<_, std::convert::Infallible>(())
        });
        let Ok(()) = overlaid;
        all = &together;
    }
    Values::Irregular {
        timestamps: all.timestamps.iter().copied().map(Timestamp::from_millis).collect(),
        values: all.values.clone(),
    }
}

/// The value of each slot of the grid: the last point in it when it is as wide as the finest step, else what the
/// consolidation makes of the finer slots in it, when enough of them have a value.
fn regular(scratch: &mut Scratch, range: TimeRange, step: Step, rule: &Rule, consolidation: Consolidation) -> Values {
    let Scratch { points, rollups, buckets, values: of_buckets } = scratch;
    let start = range.from.align_up(step);
    let mut values = vec![f64::NAN; range.slots(step)];
    let finest = rule.policy.finest();
    let slots = step.millis() / finest.millis();
    let place_of = |time: i64| {
        let distance = time.saturating_sub(start.millis()).div_euclid(step.millis());
        usize::try_from(distance).unwrap_or(usize::MAX)
    };
    if slots <= 1 && rollups.is_empty() {
        for (time, value) in points.timestamps.iter().zip(&points.values) {
            if let Some(slot) = values.get_mut(place_of(*time)) {
                *slot = *value;
            }
        }
        return Values::Regular { start, step, values };
    }
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 slots")]
    let is_enough = |count: u64| slots <= 1 || count as f64 >= rule.x_files_factor * slots as f64;
    if Rollup::of(0, 0.0).value(consolidation, slots).is_none() {
        // All values are needed; those that are rolled up have their mean to stand for them.
        of_buckets.clear();
        of_buckets.extend(rollups.iter().map(|(start, rollup)| (start, rollup.mean())));
        for_each_slot(points, finest, |slot, _, value| of_buckets.push((slot, value)));
        of_buckets.sort_by_key(|(slot, _)| *slot);
        let mut bucket = Vec::new();
        for of_bucket in of_buckets.chunk_by(|left, right| place_of(left.0) == place_of(right.0)) {
            bucket.clear();
            bucket.extend(of_bucket.iter().map(|(_, value)| *value));
            if let Some(value) = values.get_mut(place_of(of_bucket[0].0)).filter(|_| is_enough(bucket.len() as u64)) {
                *value = consolidation.apply(&bucket);
            }
        }
        return Values::Regular { start, step, values };
    }
    let finish = |rollup: &Rollup| {
        let value = rollup.value(consolidation, slots.max(1));
        value.filter(|_| is_enough(rollup.count)).unwrap_or(f64::NAN)
    };
    if points.is_empty() {
        // They come in order, so that a bucket is whole when the next one begins.
        let mut open: Option<(usize, Rollup)> = None;
        for (time, rollup) in rollups.iter() {
            let place = place_of(time);
            match &mut open {
                Some((known, bucket)) if *known == place => bucket.add(rollup),
                _ => {
                    if let Some((known, bucket)) = open.replace((place, *rollup))
                        && let Some(value) = values.get_mut(known)
                    {
                        *value = finish(&bucket);
                    }
                }
            }
        }
        if let Some((place, bucket)) = open
            && let Some(value) = values.get_mut(place)
        {
            *value = finish(&bucket);
        }
        return Values::Regular { start, step, values };
    }
    buckets.clear();
    buckets.resize(values.len(), None);
    let mut add = |time: i64, rollup: &Rollup| {
        if let Some(bucket) = buckets.get_mut(place_of(time)) {
            match bucket {
                Some(known) => known.add(rollup),
                None => *bucket = Some(*rollup),
            }
        }
    };
    rollups.iter().for_each(|(start, rollup)| add(start, rollup));
    for_each_slot(points, finest, |slot, at, value| add(slot, &Rollup::of(at, value)));
    for (value, bucket) in values.iter_mut().zip(buckets.iter()) {
        if let Some(rollup) = bucket {
            *value = finish(rollup);
        }
    }
    Values::Regular { start, step, values }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// The answer out of points, and the one out of their rollups to a step if there is one.
    fn values(
        points: &[(i64, f64)],
        range: (i64, i64),
        step: i64,
        consolidation: Consolidation,
        rolled_up_to: Option<i64>,
        x_files_factor: f64,
    ) -> (i64, Vec<f64>) {
        let steps = |millis: i64| Step::from_millis(millis).unwrap();
        let policy: Policy = "10ms:1d".parse().unwrap();
        let rule = Rule { policy, method: None, x_files_factor };
        let range = TimeRange::new(ms(range.0), ms(range.1));
        let span = span_of(range, Some(steps(step)));
        let mut scratch = Scratch::default();
        let inside = points.iter().filter(|(time, _)| span.contains(ms(*time)));
        inside.for_each(|(time, value)| scratch.points.push(*time, *value));
        if let Some(to) = rolled_up_to {
            scratch.rollups = Rollups::of_points(&scratch.points, steps(10), steps(to));
            scratch.points.clear();
        }
        match regular(&mut scratch, range, steps(step), &rule, consolidation) {
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
            for rolled_up_to in [None, Some(10), Some(step)] {
                let answer = values(&points, range, step, consolidation, rolled_up_to, 0.0);
                assert_eq!(answer, expected, "{range:?} {step} {consolidation} {rolled_up_to:?}");
            }
        }
    }

    #[test]
    fn a_bucket_needs_as_many_values_as_its_rule_says() {
        let points = [(0, 1.0), (10, 2.0), (20, 3.0), (40, 5.0)];
        for (factor, expected) in [(0.0, [6.0, 5.0]), (0.3, [6.0, 5.0]), (0.5, [6.0, -1.0]), (1.0, [6.0, -1.0])] {
            for rolled_up_to in [None, Some(30)] {
                let answer = values(&points, (0, 60), 30, Consolidation::Sum, rolled_up_to, factor);
                assert_eq!(answer.1, expected, "{factor} {rolled_up_to:?}");
            }
        }
        assert_eq!(values(&points, (0, 60), 30, Consolidation::Median, None, 0.5).1, [2.0, -1.0]);
    }

    #[test]
    fn the_step_is_that_of_the_oldest_instant() {
        let policy: Policy = "10s:6h,1m:6d".parse().unwrap();
        let now = ms(1_000_000_000_000);
        let hour = 3_600_000;
        for (ago, expected) in [(0, 10), (6 * hour, 10), (6 * hour + LENIENCE + 1, 60), (150 * hour, 60)] {
            assert_eq!(step_of(&policy, now.offset(-ago), now).seconds(), f64::from(expected));
        }
        assert_eq!(step_of(&policy, Timestamp::MIN, now).seconds(), 60.0);
        let all = TimeRange::new(now.offset(-12 * hour), now);
        // What is lenient is in the finer tier.
        assert_eq!(slots_in(&policy, all, now), 6 * 360 + 6 + 6 * 60 - 1);
    }

    #[test]
    fn an_empty_range_and_the_ends_of_time_are_no_trouble() {
        assert_eq!(values(&[(0, 1.0)], (5, 5), 10, Consolidation::Last, None, 0.0), (10, vec![]));
        assert_eq!(span_of(TimeRange::ALL, Step::from_millis(7)).until, Timestamp::MAX);
    }
}
