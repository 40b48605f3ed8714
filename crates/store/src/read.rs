//! A fetch: which series, what it will cost, where their points are, and the values on the grid that was asked for.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;
use statline_series::{Consolidation, Kind, SeriesKey, Step, TimeRange, Timestamp, Values};

use crate::block::{ChunkError, StoredBlock};
use crate::bytes::Malformed;
use crate::cache::Decoded;
use crate::chunk;
use crate::embedded::Inner;
use crate::gather::{Chunk, Gathered};
use crate::grid::{Buckets, Slots, irregular};
use crate::head::{HeadColumn, read_column};
use crate::index::Entry;
use crate::maintain::LENIENCE;
use crate::points::Points;
use crate::rollup::Rollups;
use crate::rollup_chunk::{Columns, RollupColumns};
use crate::schema::{Policy, Rule};
use crate::state::Sources;
use crate::{Fetch, Fetched, Form, Limits, Resolution, Selection, SeriesId, SeriesInfo, StoreError};

/// As many series are read by a core before it takes others.
const SERIES_A_TURN: usize = 8;

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
    buckets: Buckets,
    values: Vec<(i64, f64)>,
    /// Rollups that were read of the series.
    rolled: usize,
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

        let consolidation_of = |series: &Chosen<'_>| {
            let chosen = request.consolidation.or(series.rule.method);
            chosen.unwrap_or(series.kind.default_consolidation())
        };
        let wanted = |series: &Chosen<'_>| columns_for(series.grid, consolidation_of(series));
        let touched = AtomicUsize::new(0);
        let read = |gathered: &Gathered<'_>, place: usize, scratch: &mut Scratch| -> Result<Fetched, StoreError> {
            if cancelled.load(Ordering::Relaxed) {
                return Err(StoreError::Cancelled);
            }
            let series = &chosen[place];
            let consolidation = consolidation_of(series);
            let values = self.values_of(&sources, gathered, place, series, request.range, consolidation, scratch)?;
            let here = scratch.points.len() + scratch.rolled;
            let all = touched.fetch_add(here, Ordering::Relaxed).saturating_add(here);
            if all > request.limits.max_points {
                return Err(StoreError::TooManyPoints { wanted: all as u64, limit: request.limits.max_points });
            }
            Ok(Fetched { key: series.key.clone(), kind: series.kind, values, consolidation })
        };
        let mut answer = Vec::with_capacity(chosen.len());
        self.gather(&sources, &chosen, &wanted, &mut |gathered, places| {
            let fetched = in_turns(places, |place, scratch| read(gathered, place, scratch));
            answer.extend(fetched?);
            Ok(())
        })?;
        Ok(answer)
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

    /// The values of a series in a range, of all that holds some of them.
    #[expect(clippy::too_many_arguments, reason = "what is read, and what it is read into")]
    fn values_of(
        &self,
        sources: &Sources<HeadColumn>,
        gathered: &Gathered<'_>,
        place: usize,
        series: &Chosen<'_>,
        range: TimeRange,
        consolidation: Consolidation,
        scratch: &mut Scratch,
    ) -> Result<Values, StoreError> {
        let Scratch { points, rollups, buckets, values, rolled } = scratch;
        points.clear();
        rollups.clear();
        buckets.clear();
        *rolled = 0;
        let span = series.span;
        let failed = |error: Malformed, block: &StoredBlock| self.chunk_error(error.into(), &series.key, block.range());
        for (block, chunk) in gathered.raw(place) {
            points
                .overlay(|points| self.push_points(series, block, chunk, points))
                .map_err(|error| failed(error, block))?;
        }
        for head in &sources.heads {
            if let Some(column) = &head.columns[place] {
                points.overlay(|points| {
                    read_column(head.start, column, span, points);
                    Ok::<_, StoreError>(())
                })?;
            }
        }
        let slots = series.grid.map(|step| Slots::new(range, step, series.rule, consolidation));
        let wanted = columns_for(series.grid, consolidation);
        for (block, chunk) in gathered.rolled(place) {
            // As they came they are told by the instants of their last points, which are in their slots.
            let begin_in = match (series.grid, block.meta.step) {
                (None, Some(step)) => TimeRange::new(span.from.align_down(step), span.until),
                _ => span,
            };
            let decoded;
            let known = match chunk {
                Chunk::Known(known) => known,
                Chunk::Stored(bytes) => {
                    let columns =
                        RollupColumns::read(series.id, bytes, wanted).map_err(|error| failed(error, block))?;
                    decoded = self.keep(block, series.id, Decoded::Rollups(columns));
                    &*decoded
                }
            };
            // A block of rollups has no chunks of points.
            let Decoded::Rollups(columns) = known else { continue };
            let inside = columns.inside((begin_in.from.millis(), begin_in.until.millis()));
            *rolled += inside.len();
            match &slots {
                Some(slots) if slots.add_up() => buckets.add(slots, &inside),
                _ => {
                    let Ok(()) = rollups.join(|new| {
                        inside.iter().for_each(|(start, rollup)| new.push(start, &rollup));
                        Ok::<_, Infallible>(())
                    });
                }
            }
        }
        Ok(match slots {
            None => irregular(points, rollups, span),
            Some(slots) if slots.add_up() => slots.of_buckets(buckets, points),
            Some(slots) => slots.of_all(points, rollups, values),
        })
    }

    /// Pushes the points of a chunk that an answer is made of. One that is read for the most part is kept decoded.
    fn push_points(
        &self,
        series: &Chosen<'_>,
        block: &StoredBlock,
        chunk: Chunk<'_>,
        points: &mut Points,
    ) -> Result<(), Malformed> {
        let (from, until) = (series.span.from.millis(), series.span.until.millis());
        let bytes = match chunk {
            Chunk::Known(Decoded::Points(known)) => {
                known.push_to(points, from, until);
                return Ok(());
            }
            // A block of points has no chunks of rollups.
            Chunk::Known(Decoded::Rollups(_)) => return Ok(()),
            Chunk::Stored(bytes) => bytes,
        };
        let opened = chunk::Opened::new(series.id, bytes)?;
        let inside = opened.inside(from, until);
        if 2 * inside.len() < opened.len() || !self.cache.is_on() {
            return opened.push_to(points, inside);
        }
        let columns = opened.columns()?;
        columns.push_to(points, from, until);
        self.keep(block, series.id, Decoded::Points(columns));
        Ok(())
    }

    /// Keeps a chunk for reads to come.
    fn keep(&self, block: &StoredBlock, id: SeriesId, decoded: Decoded) -> Arc<Decoded> {
        let decoded = Arc::new(decoded);
        self.cache.insert(block.meta.id, id, Arc::clone(&decoded));
        decoded
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

/// Works on series, some of them at a time on each core, and puts what comes of them in their order.
fn in_turns<T: Send>(
    places: Range<usize>,
    work: impl Fn(usize, &mut Scratch) -> Result<T, StoreError> + Sync,
) -> Result<Vec<T>, StoreError> {
    let work_on = |places: Range<usize>| {
        let mut scratch = Scratch::default();
        places.map(|place| work(place, &mut scratch)).collect::<Result<Vec<T>, _>>()
    };
    if places.len() < 2 * SERIES_A_TURN || statline_cores::count() < 2 {
        return work_on(places);
    }
    let end = places.end;
    let turns: Vec<Range<usize>> =
        places.step_by(SERIES_A_TURN).map(|start| start..(start + SERIES_A_TURN).min(end)).collect();
    let answers =
        statline_cores::share(|| turns.into_par_iter().with_max_len(1).map(work_on).collect::<Result<Vec<_>, _>>())?;
    Ok(answers.into_iter().flatten().collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
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
    fn the_ends_of_time_are_no_trouble() {
        assert_eq!(span_of(TimeRange::ALL, Step::from_millis(7)).until, Timestamp::MAX);
    }
}
