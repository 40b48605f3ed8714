//! What becomes of blocks: they are filed by the schemas in force, rolled up when they are old enough for a coarser tier,
//! merged into longer ones, and dropped when nothing is kept so long.
//!
//! An instant of a series is in one tier at a time: the rollups take the place of the points, in one step of the manifest
//! and of what readers see. Which blocks a read finds has no influence on its answer but for how fine the points are
//! that it is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use statline_series::{Sketch, Step, TimeRange, Timestamp};

use crate::block::{ChunkError, StoredBlock};
use crate::config::millis;
use crate::cut::{Draft, Pace, compression_failed};
use crate::embedded::Inner;
use crate::points::Points;
use crate::rollup::{Rollups, align_down};
use crate::rollup_chunk::{self, Columns};
use crate::schema::Policy;
use crate::sketch_column::Sketches;
use crate::{Form, SeriesId, StoreError, chunk, sketch_chunk};

/// By how much longer than they must points stay as fine as they are, in milliseconds. A query for the last six hours is
/// answered a little after it was asked.
pub(crate) const LENIENCE: i64 = 60_000;
/// How many points a merged chunk has at most.
const MERGED_POINTS: i64 = 8640;
/// A merged block spans no more than this part of what its tier keeps, so that little is kept for too long.
const PARTS_OF_RETENTION: i64 = 4;
/// Small blocks join a large one when there are as many, or when together they are this part of it.
const MANY_BLOCKS: usize = 12;
const LARGE_PART: u64 = 8;

/// Blocks, as many as are worked on together.
type Group = Vec<Arc<StoredBlock>>;

/// What is to be done next.
enum Job {
    /// These are older than anything that is kept.
    Drop(Group),
    /// It was filed by other schemas.
    File(Arc<StoredBlock>),
    /// Late points of a span that is to be rolled up.
    Cut(Timestamp),
    /// These make rollups of this step.
    RollUp(Group, Step),
    /// These make one.
    Merge(Group),
}

impl Inner {
    /// Does the one thing that is most due; whether there was any.
    pub(crate) fn maintain_one(&self, rests: bool) -> Result<bool, StoreError> {
        let _cutting = self.cutting.lock();
        self.check_open()?;
        let Some(job) = self.next_job() else { return Ok(false) };
        let mut pace = Pace::new(self, rests);
        match job {
            Job::Drop(blocks) => {
                self.counters.expired_blocks.fetch_add(blocks.len() as u64, Ordering::Relaxed);
                self.replace(&blocks, Vec::new())?;
            }
            Job::File(block) => self.file(&block, &mut pace)?,
            Job::Cut(start) => {
                if let Some(head) = self.freeze(start)? {
                    self.cut(&head, &mut pace)?;
                }
            }
            Job::RollUp(blocks, step) => self.roll_up(&blocks, step, &mut pace)?,
            Job::Merge(blocks) => self.merge(&blocks, &mut pace)?,
        }
        Ok(true)
    }

    /// Does all that is due.
    pub(crate) fn maintain(&self) -> Result<(), StoreError> {
        while self.maintain_one(false)? {}
        self.forget()
    }

    fn next_job(&self) -> Option<Job> {
        let policies = self.manifest.lock().policies.clone();
        let now = self.config.clock.now();
        let state = self.state.read();
        let unreadable = self.unreadable.lock();
        let (unreadable, blocks): (Group, Group) =
            state.blocks.iter().cloned().partition(|block| unreadable.contains(&block.meta.id));
        if let Some(block) = blocks.iter().find(|block| block.meta.filed_by != self.schemas_number) {
            return Some(Job::File(Arc::clone(block)));
        }
        let age = |block: &StoredBlock| now.millis().saturating_sub(block.range().until.millis()) - LENIENCE;
        let policy = |block: &StoredBlock| policies.get(block.meta.policy as usize);
        let is_over = |block: &StoredBlock| policy(block).is_some_and(|policy| policy.step_at(age(block)).is_none());
        let longest = self.config.schemas.longest_retention();
        // Of what cannot be read nobody knows for how long it should be kept.
        let is_over_for_all = |block: &StoredBlock| age(block) > longest;
        let over = blocks.iter().filter(|block| is_over(block));
        let over: Group = over.chain(unreadable.iter().filter(|block| is_over_for_all(block))).cloned().collect();
        if !over.is_empty() {
            return Some(Job::Drop(over));
        }
        let mut coarser = BTreeMap::new();
        for block in &blocks {
            let Some(policy) = policy(block) else { continue };
            let step = policy.step_at(age(block)).filter(|step| *step > block.meta.step.unwrap_or(policy.finest()));
            coarser.extend(step.map(|step| (block.meta.id, step)));
        }
        for block in blocks.iter().filter(|block| coarser.contains_key(&block.meta.id)) {
            if let (Some(_), Some(step)) = (block.meta.step, coarser.get(&block.meta.id)) {
                return Some(Job::RollUp(vec![Arc::clone(block)], *step));
            }
            let group = with_overlapping(block, &blocks);
            // All of them have come of age, or the others hold newer values of the same points.
            let Some(step) = group.iter().map(|block| coarser.get(&block.meta.id).copied()).min().flatten() else {
                continue;
            };
            let range = range_of(&group);
            if let Some(head) = state.active.values().find(|head| head.range().overlaps(range)) {
                return Some(Job::Cut(head.range().from));
            }
            if state.frozen.iter().all(|head| !head.range().overlaps(range)) {
                return Some(Job::RollUp(group, step));
            }
        }
        let grace = millis(self.config.grace);
        let is_complete = |until: Timestamp| until.offset(grace) <= now;
        self.mergeable(&policies, &blocks, is_complete).map(Job::Merge)
    }

    /// Blocks that should become one.
    fn mergeable(
        &self,
        policies: &[Policy],
        blocks: &[Arc<StoredBlock>],
        is_complete: impl Fn(Timestamp) -> bool,
    ) -> Option<Group> {
        let damaged = self.unmergeable.lock();
        let mut windows: BTreeMap<(u32, Option<Step>, Timestamp), Group> = BTreeMap::new();
        for block in blocks.iter().filter(|block| !damaged.contains(&block.meta.id)) {
            let Some(policy) = policies.get(block.meta.policy as usize) else { continue };
            let span = self.merged_span(policy, block.meta.step);
            let window = block.range().from.align_down(span);
            // Rollups add up, so that it does not matter when they reach over the end of the window.
            if block.meta.step.is_some() || block.range().until <= window.offset(span.millis()) {
                windows.entry((block.meta.policy, block.meta.step, window)).or_default().push(Arc::clone(block));
            }
        }
        for ((policy, step, window), group) in windows {
            if group.len() < 2 {
                continue;
            }
            let span = self.merged_span(&policies[policy as usize], step);
            let sizes = group.iter().map(|block| block.meta.bytes);
            let (largest, all) = (sizes.clone().max().unwrap_or(0), sizes.sum::<u64>());
            let is_worth_it = group.len() >= MANY_BLOCKS
                || (is_complete(window.offset(span.millis())) && (all - largest) * LARGE_PART >= largest);
            if is_worth_it && (step.is_some() || with_overlapping_of(&group, blocks).len() == group.len()) {
                return Some(group);
            }
        }
        None
    }

    /// How much time a merged block spans, at multiples of itself.
    fn merged_span(&self, policy: &Policy, step: Option<Step>) -> Step {
        let step = step.unwrap_or(policy.finest());
        let kept =
            policy.tiers().iter().find(|tier| tier.step >= step).map_or(policy.retention(), |tier| tier.retention);
        let span = step.millis().saturating_mul(MERGED_POINTS).min(kept / PARTS_OF_RETENTION);
        let times = span / self.block_step.millis();
        Step::from_millis(times.saturating_mul(self.block_step.millis())).unwrap_or(self.block_step)
    }

    /// Puts the series of a block into blocks of the policies that they have now.
    fn file(&self, block: &Arc<StoredBlock>, pace: &mut Pace<'_>) -> Result<(), StoreError> {
        let Some(series) = self.series_of(std::slice::from_ref(block))? else { return Ok(()) };
        let policies: BTreeSet<u32> = {
            let index = self.index.read();
            let entries = series.iter().filter_map(|id| index.get(*id));
            entries.map(|entry| self.policy_numbers[usize::from(entry.rule)]).collect()
        };
        if let [policy] = *Vec::from_iter(policies) {
            let meta = crate::manifest::BlockMeta { policy, filed_by: self.schemas_number, ..block.meta };
            self.change_manifest(|manifest| {
                manifest.blocks.iter_mut().filter(|known| known.id == meta.id).for_each(|known| *known = meta);
            })?;
            self.state.write().replace_blocks(&[meta.id], vec![Arc::new(block.with_meta(meta))]);
            return Ok(());
        }
        let draft = Draft { range: block.range(), order: Some(block.meta.order), step: block.meta.step };
        let new = self.write_by_policy(draft, &series, pace, |id, _| self.copied(id, block))?;
        self.replace(std::slice::from_ref(block), new)
    }

    /// The chunk of a series as it is, damaged or not: what is wrong with it is told when it is read.
    fn copied(&self, id: SeriesId, block: &StoredBlock) -> Result<Option<(Vec<u8>, usize)>, StoreError> {
        match block.chunk(id) {
            Ok(stored) => Ok(stored.map(|bytes| {
                let count = chunk::count(&bytes);
                (bytes, count)
            })),
            Err(error) => self.lost(block, error).map(|()| None),
        }
    }

    /// Tells of a chunk that cannot be read, which is then left out. Fails when it is the system that failed.
    fn lost(&self, block: &StoredBlock, error: ChunkError) -> Result<(), StoreError> {
        match error {
            ChunkError::Damaged(reason) => {
                let range = block.range();
                tracing::error!(block = block.meta.id, from = %range.from, until = %range.until, reason, "left out a damaged chunk");
                self.counters.corrupt_chunks.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            ChunkError::Io(error) => Err(StoreError::io("read a block of", &self.config.path, error)),
        }
    }

    /// The numbers of all series of blocks, ascending. `None` when one of them cannot tell: it is then left as it is, since
    /// nothing may take the place of what nobody has read.
    fn series_of(&self, blocks: &[Arc<StoredBlock>]) -> Result<Option<Vec<SeriesId>>, StoreError> {
        let mut series = BTreeSet::new();
        for block in blocks {
            match block.series() {
                Ok(of_block) => series.extend(of_block),
                Err(ChunkError::Io(error)) => return Err(StoreError::io("read a block of", &self.config.path, error)),
                Err(ChunkError::Damaged(reason)) => {
                    let id = block.meta.id;
                    tracing::error!(block = id, reason, "a block is damaged and stays as it is, as fine as it is");
                    self.counters.corrupt_chunks.fetch_add(1, Ordering::Relaxed);
                    self.unreadable.lock().insert(id);
                    return Ok(None);
                }
            }
        }
        Ok(Some(series.into_iter().collect()))
    }

    fn roll_up(&self, blocks: &[Arc<StoredBlock>], step: Step, pace: &mut Pace<'_>) -> Result<(), StoreError> {
        let range = range_of(blocks);
        let range = TimeRange::new(range.from.align_down(step), range.until.align_up(step));
        let draft = Draft { range, order: blocks.iter().map(|block| block.meta.order).max(), step: Some(step) };
        let by_age = by_age(blocks);
        let Some(series) = self.series_of(blocks)? else { return Ok(()) };
        let new = self.write_by_policy(draft, &series, pace, |id, form| match form {
            Form::Points => self.rolled_points(id, &by_age, step),
            Form::Sketches => self.merged_sketches(id, &by_age, Some(step)),
        })?;
        self.replace(blocks, new)?;
        self.counters.rolled_blocks.fetch_add(blocks.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn rolled_points(
        &self,
        id: SeriesId,
        by_age: &[Arc<StoredBlock>],
        step: Step,
    ) -> Result<Option<(Vec<u8>, usize)>, StoreError> {
        let finest = self.index.read().get(id).map(|entry| self.config.schemas.rule(entry.rule).policy.finest());
        let Some(finest) = finest else { return Ok(None) };
        let (mut points, mut rollups) = (Points::default(), Rollups::default());
        for block in by_age {
            let read = match block.meta.step {
                None => points.overlay(|points| block.read(id, TimeRange::ALL, points)),
                Some(_) => rollups.join(|rollups| block.read_rollups(id, TimeRange::ALL, Columns::ALL, rollups)),
            };
            read.or_else(|error| self.lost(block, error))?;
        }
        let rollups = if points.is_empty() { rollups.widened(step) } else { Rollups::of_points(&points, finest, step) };
        self.encoded(id, &rollups)
    }

    fn encoded(&self, id: SeriesId, rollups: &Rollups) -> Result<Option<(Vec<u8>, usize)>, StoreError> {
        if rollups.is_empty() {
            return Ok(None);
        }
        Ok(Some((rollup_chunk::encode(id, rollups).map_err(compression_failed)?, rollups.len())))
    }

    fn merge(&self, blocks: &[Arc<StoredBlock>], pace: &mut Pace<'_>) -> Result<(), StoreError> {
        let by_age = by_age(blocks);
        let step = blocks.first().and_then(|block| block.meta.step);
        let order = blocks.iter().map(|block| block.meta.order).max();
        let draft = Draft { range: range_of(blocks), order, step };
        let Some(series) = self.series_of(blocks)? else { return Ok(()) };
        let mut damaged = None;
        let new = self.write_by_policy(draft, &series, pace, |id, form| {
            self.merged(id, form, &by_age, step).map_err(|error| match error {
                MergeError::Failed(error) => error,
                MergeError::Damaged(block) => {
                    damaged = Some(block);
                    StoreError::Cancelled
                }
            })
        });
        if let Some(block) = damaged {
            // It stays as it is until it is rolled up or dropped, and says what is wrong with it when it is read.
            self.unmergeable.lock().insert(block);
            return Ok(());
        }
        self.replace(blocks, new?)?;
        self.counters.merged_blocks.fetch_add(blocks.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The chunk of a series out of blocks, oldest first. One that is in one of them only is taken over as it is.
    fn merged(
        &self,
        id: SeriesId,
        form: Form,
        by_age: &[Arc<StoredBlock>],
        step: Option<Step>,
    ) -> Result<Option<(Vec<u8>, usize)>, MergeError> {
        let mut holders = Vec::new();
        for block in by_age {
            if block.chunk(id).map_err(|error| MergeError::of(block, error))?.is_some() {
                holders.push(Arc::clone(block));
            }
        }
        if let [only] = holders.as_slice() {
            return Ok(self.copied(id, only)?);
        }
        if form == Form::Sketches {
            for block in &holders {
                let read = block.read_sketches(id, TimeRange::ALL, &mut Sketches::new());
                read.map_err(|error| MergeError::of(block, error))?;
            }
            return Ok(self.merged_sketches(id, &holders, step)?);
        }
        let (mut points, mut rollups) = (Points::default(), Rollups::default());
        for block in &holders {
            let read = match step {
                None => points.overlay(|points| block.read(id, TimeRange::ALL, points)),
                Some(_) => rollups.join(|rollups| block.read_rollups(id, TimeRange::ALL, Columns::ALL, rollups)),
            };
            read.map_err(|error| MergeError::of(block, error))?;
        }
        if points.is_empty() {
            return Ok(self.encoded(id, &rollups)?);
        }
        let bytes = chunk::encode(id, &points).map_err(compression_failed)?;
        Ok(Some((bytes, points.len())))
    }

    /// The chunk of a series of sketches out of blocks, oldest first: those of each slot together when there is a step.
    fn merged_sketches(
        &self,
        id: SeriesId,
        by_age: &[Arc<StoredBlock>],
        step: Option<Step>,
    ) -> Result<Option<(Vec<u8>, usize)>, StoreError> {
        let mut raw = Sketches::new();
        let mut slots: BTreeMap<i64, Sketch> = BTreeMap::new();
        let mut join = |at: i64, bytes: &[u8], block: &StoredBlock| match (step, Sketch::decode(bytes)) {
            (Some(step), Ok(sketch)) => {
                slots.entry(align_down(at, step)).or_default().merge(&sketch);
                Ok(())
            }
            (None, Ok(_)) => Ok(()),
            (_, Err(error)) => self.lost(block, ChunkError::Damaged(error.to_string())),
        };
        for block in by_age {
            let mut of_block = Sketches::new();
            block.read_sketches(id, TimeRange::ALL, &mut of_block).or_else(|error| self.lost(block, error))?;
            if block.meta.step.is_none() {
                raw.extend(of_block);
            } else {
                of_block.iter().try_for_each(|(at, bytes)| join(*at, bytes, block))?;
            }
        }
        if step.is_some()
            && let Some(newest) = by_age.last()
        {
            raw.iter().try_for_each(|(at, bytes)| join(*at, bytes, newest))?;
            raw.clear();
        }
        for (at, sketch) in slots {
            let mut bytes = Vec::new();
            sketch.encode(&mut bytes);
            raw.insert(at, bytes);
        }
        if raw.is_empty() {
            return Ok(None);
        }
        let bytes = sketch_chunk::encode(id, &raw).map_err(compression_failed)?;
        Ok(Some((bytes, raw.len())))
    }
}

/// Why blocks could not be merged.
enum MergeError {
    /// This one is damaged.
    Damaged(u64),
    Failed(StoreError),
}

impl MergeError {
    fn of(block: &StoredBlock, error: ChunkError) -> Self {
        match error {
            ChunkError::Damaged(_) => Self::Damaged(block.meta.id),
            ChunkError::Io(error) => Self::Failed(StoreError::io(
                "read a block at",
                std::path::Path::new(&crate::block::name_of(block.meta.id)),
                error,
            )),
        }
    }
}

impl From<StoreError> for MergeError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

fn by_age(blocks: &[Arc<StoredBlock>]) -> Group {
    let mut blocks = blocks.to_vec();
    blocks.sort_by_key(|block| (block.meta.order, block.meta.id));
    blocks
}

fn range_of(blocks: &[Arc<StoredBlock>]) -> TimeRange {
    blocks.iter().map(|block| block.range()).fold(TimeRange::new(Timestamp::MAX, Timestamp::MIN), |all, range| {
        TimeRange::new(all.from.min(range.from), all.until.max(range.until))
    })
}

/// A block of points and all of its policy that share instants with it, or with one of those.
fn with_overlapping(block: &Arc<StoredBlock>, blocks: &[Arc<StoredBlock>]) -> Group {
    with_overlapping_of(std::slice::from_ref(block), blocks)
}

fn with_overlapping_of(group: &[Arc<StoredBlock>], blocks: &[Arc<StoredBlock>]) -> Group {
    let Some(first) = group.first() else { return Vec::new() };
    let mut group = group.to_vec();
    let mut rest: Group = blocks
        .iter()
        .filter(|block| block.meta.step.is_none() && block.meta.policy == first.meta.policy)
        .filter(|block| group.iter().all(|known| known.meta.id != block.meta.id))
        .cloned()
        .collect();
    loop {
        let overlaps = |block: &Arc<StoredBlock>| group.iter().any(|known| known.range().overlaps(block.range()));
        let (found, others): (Group, Group) = rest.into_iter().partition(overlaps);
        if found.is_empty() {
            return group;
        }
        group.extend(found);
        rest = others;
    }
}
