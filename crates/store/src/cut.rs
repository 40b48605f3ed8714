//! The cut: a window's head becomes blocks, one for each policy of its series, and its log goes.
//!
//! The window is first closed, which takes a moment; new points for it go to a window and a log of their own. Then, while
//! everybody reads and appends, its chunks are written. The manifest names the new blocks and, in the same step, the logs
//! that no longer count. A crash before that leaves the log as it was, a crash after it the blocks.
//!
//! Blocks may overlap, when points come late or memory was short. What becomes of them later is in `maintain.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use statline_series::{Step, TimeRange, Timestamp};

use crate::block::{NewChunk, StoredBlock, Written};
use crate::bytes::Malformed;
use crate::config::millis;
use crate::embedded::Inner;
use crate::head::{Head, read_sketches};
use crate::manifest::{BlockMeta, Manifest};
use crate::points::Points;
use crate::sketch_column::Sketches;
use crate::{Form, SeriesId, StoreError, chunk, events, log, seen, sketch_chunk};

/// How often the thread looks whether a window is over.
const TICK: Duration = Duration::from_secs(1);
/// How often the thread looks for series that have nothing left.
const EXPIRY_INTERVAL: Duration = Duration::from_mins(5);
/// How long the thread waits after a failure, doubled with each one in a row.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_mins(1);
/// How long the thread works before it rests for as long, so that a cut does not take a processor for itself.
const WORK_SLICE: Duration = Duration::from_millis(5);

/// How a cut shares the processor.
pub(crate) struct Pace<'a> {
    inner: &'a Inner,
    /// Whether to rest at all.
    rests: bool,
    since: Instant,
}

impl<'a> Pace<'a> {
    pub(crate) fn new(inner: &'a Inner, rests: bool) -> Self {
        Self { inner, rests, since: Instant::now() }
    }

    /// Rests when it is time to. Fails when the store is being closed.
    pub(crate) fn step(&mut self) -> Result<(), StoreError> {
        self.inner.check_open()?;
        if self.rests && self.since.elapsed() >= WORK_SLICE {
            if !self.inner.is_short_of_memory() {
                let inner = self.inner;
                inner.signal.wait_for_work(WORK_SLICE, || inner.check_open().is_err());
            }
            self.since = Instant::now();
        }
        Ok(())
    }
}

/// Starts the thread that cuts and expires until the store is closed.
pub(crate) fn start(inner: Arc<Inner>) -> Result<JoinHandle<()>, StoreError> {
    let path = inner.config.path.clone();
    std::thread::Builder::new()
        .name("store-cut".to_owned())
        .spawn(move || run(&inner))
        .map_err(|source| StoreError::io("start the thread that writes the blocks of", &path, source))
}

fn run(inner: &Inner) {
    let mut back_off = FIRST_BACK_OFF;
    let mut expired_at = None;
    while inner.check_open().is_ok() {
        let mut outcome = inner.cut_one_due().and_then(|cut| if cut { Ok(true) } else { inner.maintain_one(true) });
        if expired_at.is_none_or(|last: Instant| last.elapsed() >= EXPIRY_INTERVAL) {
            expired_at = Some(Instant::now());
            outcome = outcome.and_then(|worked| inner.forget().map(|()| worked));
        }
        outcome = outcome.and_then(|worked| inner.tidy_events().map(|()| worked));
        let pause = match outcome {
            Ok(true) => continue,
            Ok(false) => {
                back_off = FIRST_BACK_OFF;
                TICK
            }
            Err(StoreError::Closed) => break,
            Err(error) => {
                inner.counters.failed_cuts.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, retry_in = ?back_off, "could not write blocks, or the events anew");
                let pause = back_off;
                back_off = (back_off * 2).min(LONGEST_BACK_OFF);
                // Memory may be short all the while, which must not turn the wait into a spin.
                inner.signal.wait_for_work(pause, || inner.check_open().is_err());
                continue;
            }
        };
        inner.signal.wait_for_work(pause, || inner.check_open().is_err() || inner.is_short_of_memory());
    }
}

impl Inner {
    /// Cuts the one window that most needs it, if any does.
    fn cut_one_due(&self) -> Result<bool, StoreError> {
        let _cutting = self.cutting.lock();
        self.check_open()?;
        let waiting = self.state.read().frozen.first().cloned();
        let head = match waiting {
            Some(head) => Some(head),
            None => match self.next_due() {
                Some(start) => self.freeze(start)?,
                None => None,
            },
        };
        let Some(head) = head else { return Ok(false) };
        self.cut(&head, &mut Pace::new(self, true))?;
        Ok(true)
    }

    pub(crate) fn cut_all(&self) -> Result<(), StoreError> {
        let _cutting = self.cutting.lock();
        loop {
            self.check_open()?;
            let waiting = self.state.read().frozen.first().cloned();
            let next = self.state.read().active.keys().next().copied();
            let head = match (waiting, next) {
                (Some(head), _) => Some(head),
                (None, Some(start)) => self.freeze(start)?,
                (None, None) => return Ok(()),
            };
            if let Some(head) = head {
                self.cut(&head, &mut Pace::new(self, false))?;
            }
        }
    }

    /// The window to cut next: the oldest that is over and at rest, or when memory is short, the largest.
    fn next_due(&self) -> Option<Timestamp> {
        let now = self.config.clock.now();
        let grace = self.config.grace;
        let state = self.state.read();
        let is_due = |head: &&Head| {
            let is_over = head.range().until.offset(millis(grace)) <= now;
            let is_at_rest = head.touched.elapsed() >= grace || head.opened.elapsed() >= self.config.block_length;
            is_over && is_at_rest
        };
        if let Some(head) = state.active.values().find(is_due) {
            return Some(head.range().from);
        }
        if !self.is_short_of_memory() {
            return None;
        }
        state.active.values().max_by_key(|head| head.bytes).map(|head| head.range().from)
    }

    /// Closes a window. One that is not over ends after its newest point, and the next one begins there.
    pub(crate) fn freeze(&self, start: Timestamp) -> Result<Option<Arc<Head>>, StoreError> {
        let mut appender = self.appender.lock();
        // What is in the manifest as acknowledged must not be what a failed batch left behind.
        appender.clean()?;
        let mut state = self.state.write();
        let Some(mut head) = state.active.remove(&start) else { return Ok(None) };
        appender.logs.remove(&start);
        let range = head.range();
        if self.config.clock.now() < range.until {
            let after_newest = head.newest().offset(1).align_up(self.common_step);
            head.end_at(after_newest.min(range.until));
        }
        head.acknowledged = appender.sequence;
        let head = Arc::new(head);
        state.frozen.push(Arc::clone(&head));
        Ok(Some(head))
    }

    /// Makes blocks of a closed window.
    pub(crate) fn cut(&self, head: &Arc<Head>, pace: &mut Pace<'_>) -> Result<(), StoreError> {
        let started = Instant::now();
        // The lives of all series are on disk before the log, which could tell them again, goes.
        let lives = seen::snapshot(&self.index.read());
        seen::write(&self.config.path, &lives)?;

        let draft = Draft { range: head.range(), order: None, step: None };
        let new = self.write_by_policy(draft, &head.series(), pace, |id, form| match form {
            Form::Points => points_of(id, head),
            Form::Sketches => sketches_of(id, head),
        })?;
        self.commit(head, new)?;
        self.counters.cuts.fetch_add(1, Ordering::Relaxed);
        self.counters.last_cut.store(self.config.clock.now().millis(), Ordering::Relaxed);
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counters.last_cut_micros.store(micros, Ordering::Relaxed);
        Ok(())
    }

    /// Writes a block for each policy of these series, in the order of their numbers. A failed try leaves none.
    pub(crate) fn write_by_policy(
        &self,
        draft: Draft,
        series: &[SeriesId],
        pace: &mut Pace<'_>,
        mut chunk_of: impl FnMut(SeriesId, Form) -> Result<Option<(Vec<u8>, usize)>, StoreError>,
    ) -> Result<Vec<Arc<StoredBlock>>, StoreError> {
        let mut by_policy: BTreeMap<u32, Vec<SeriesId>> = BTreeMap::new();
        {
            let index = self.index.read();
            for id in series {
                if let Some(entry) = index.get(*id) {
                    by_policy.entry(self.policy_numbers[usize::from(entry.rule)]).or_default().push(*id);
                }
            }
        }
        // As many as there are of them must not grow with each try.
        self.drop_orphans()?;
        let mut written = Vec::new();
        for (policy, series) in by_policy {
            match self.write_block(draft, policy, &series, pace, &mut chunk_of) {
                Ok(block) => written.extend(block),
                Err(error) => {
                    self.drop_blocks(&written);
                    return Err(error);
                }
            }
        }
        Ok(written)
    }

    /// Writes a block; `None` when there is nothing to put into it.
    fn write_block(
        &self,
        Draft { range, order, step }: Draft,
        policy: u32,
        series: &[SeriesId],
        pace: &mut Pace<'_>,
        chunk_of: &mut impl FnMut(SeriesId, Form) -> Result<Option<(Vec<u8>, usize)>, StoreError>,
    ) -> Result<Option<Arc<StoredBlock>>, StoreError> {
        let blocks = self.blocks()?;
        let id = {
            let mut manifest = self.manifest.lock();
            manifest.next_block += 1;
            manifest.next_block - 1
        };
        let mut series_left = series.iter();
        let (file, written) = blocks.write(id, || {
            for id in series_left.by_ref() {
                pace.step()?;
                let Some(form) = self.index.read().get(*id).map(|entry| entry.form) else { continue };
                if let Some((bytes, count)) = chunk_of(*id, form)? {
                    return Ok(Some(NewChunk { id: *id, form, bytes, count }));
                }
            }
            Ok(None)
        })?;
        let Written { series, points, bytes, sketches, sketch_bytes } = written;
        let order = order.unwrap_or(id);
        let filed_by = self.schemas_number;
        let meta =
            BlockMeta { id, order, step, policy, filed_by, range, series, points, bytes, sketches, sketch_bytes };
        let block = Arc::new(StoredBlock::new(meta, file));
        if series == 0 {
            blocks.drop_block(&block)?;
            return Ok(None);
        }
        Ok(Some(block))
    }

    /// Puts new blocks in the place of a head: in the manifest, then for readers, then on disk.
    fn commit(&self, head: &Arc<Head>, new: Vec<Arc<StoredBlock>>) -> Result<(), StoreError> {
        let still_needed: BTreeSet<u64> = {
            let state = self.state.read();
            let others = state.heads().filter(|other| !std::ptr::eq(*other, Arc::as_ptr(head)));
            others.flat_map(|other| other.logs.iter().copied()).collect()
        };
        let dead: Vec<u64> = head.logs.iter().copied().filter(|number| !still_needed.contains(number)).collect();
        let changed = self.change_manifest(|manifest| {
            manifest.blocks.extend(new.iter().map(|block| block.meta));
            manifest.dead_logs.extend(&dead);
            // A number on the list must never be given to a new file.
            manifest.next_log = manifest.next_log.max(head.logs.iter().max().map_or(0, |newest| newest + 1));
            manifest.acknowledged = manifest.acknowledged.max(head.acknowledged);
        });
        if let Err(error) = changed {
            self.orphans.lock().extend(new);
            return Err(error);
        }
        {
            let mut state = self.state.write();
            state.frozen.retain(|other| !Arc::ptr_eq(other, head));
            state.replace_blocks(&[], new);
            self.note_head_bytes(&state);
        }
        self.signal.room();
        let mut manifest = self.manifest.lock();
        log::remove(&self.log_directory(), &mut manifest.dead_logs);
        Ok(())
    }

    /// Puts new blocks in the place of others: in the manifest, then for readers, then on disk.
    pub(crate) fn replace(&self, replaced: &[Arc<StoredBlock>], new: Vec<Arc<StoredBlock>>) -> Result<(), StoreError> {
        let gone: Vec<u64> = replaced.iter().map(|block| block.meta.id).collect();
        let changed = self.change_manifest(|manifest| {
            manifest.blocks.retain(|block| !gone.contains(&block.id));
            manifest.blocks.extend(new.iter().map(|block| block.meta));
        });
        if let Err(error) = changed {
            self.orphans.lock().extend(new);
            return Err(error);
        }
        self.state.write().replace_blocks(&gone, new);
        self.drop_blocks(replaced);
        Ok(())
    }

    pub(crate) fn change_manifest(&self, change: impl FnOnce(&mut Manifest)) -> Result<(), StoreError> {
        let mut manifest = self.manifest.lock();
        let mut changed = manifest.clone();
        change(&mut changed);
        changed.next_series = changed.next_series.max(self.next_series.load(Ordering::SeqCst));
        changed.write(&self.config.path)?;
        *manifest = changed;
        Ok(())
    }

    /// Drops blocks that a manifest was to name which could not be written: until another one is, it may still be there
    /// after a crash.
    fn drop_orphans(&self) -> Result<(), StoreError> {
        if self.orphans.lock().is_empty() {
            return Ok(());
        }
        self.change_manifest(|_| ())?;
        let orphans = std::mem::take(&mut *self.orphans.lock());
        self.drop_blocks(&orphans);
        Ok(())
    }

    pub(crate) fn drop_blocks(&self, blocks: &[Arc<StoredBlock>]) {
        let Ok(directory) = self.blocks() else { return };
        for block in blocks {
            // Nobody finds it any more, and opening the store tries again.
            if let Err(error) = directory.drop_block(block) {
                tracing::warn!(%error, block = block.meta.id, "could not drop a block");
            }
        }
    }

    /// Drops events older than any retention, and series that have nothing left.
    pub(crate) fn forget(&self) -> Result<(), StoreError> {
        let _cutting = self.cutting.lock();
        self.check_open()?;
        let now = self.config.clock.now();
        let horizon = now.offset(-self.config.schemas.longest_retention());
        let expired = self.events.write().expire(horizon);
        self.counters.expired_events.fetch_add(expired, Ordering::Relaxed);
        if self.forgotten(now).is_empty() {
            return Ok(());
        }
        // Looked for again where no append can bring one of them back in between.
        let mut appender = self.appender.lock();
        let forgotten = self.forgotten(now);
        self.remove_series(&mut appender, &forgotten)
    }

    /// Writes the file of events anew when most of it is of events that are gone.
    fn tidy_events(&self) -> Result<(), StoreError> {
        let wants_rewrite = || {
            let length = self.counters.event_log_bytes.load(Ordering::Relaxed);
            events::wants_rewrite(length, &self.events.read())
        };
        if !wants_rewrite() {
            return Ok(());
        }
        let mut appender = self.appender.lock();
        self.check_open()?;
        appender.clean()?;
        // The file takes its parts of batches with it. The batches are whole all the same, and must be known to be before
        // that.
        self.change_manifest(|manifest| manifest.acknowledged = manifest.acknowledged.max(appender.sequence))?;
        let sequence = appender.sequence;
        appender.event_log.rewrite(sequence, &self.events.read())?;
        self.counters.event_log_bytes.store(appender.event_log.length(), Ordering::Relaxed);
        Ok(())
    }

    /// Series whose newest point or sketch is kept no longer.
    fn forgotten(&self, now: Timestamp) -> Vec<SeriesId> {
        let schemas = &self.config.schemas;
        let horizons: Vec<Timestamp> =
            schemas.rules().iter().map(|rule| now.offset(-rule.policy.retention())).collect();
        let index = self.index.read();
        let is_over = |entry: &crate::index::Entry| {
            entry.first_seen <= entry.last_seen && entry.last_seen < horizons[usize::from(entry.rule)]
        };
        index.iter().filter(|(_, entry)| is_over(entry)).map(|(id, _)| id).collect()
    }
}

/// What a block is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft {
    pub(crate) range: TimeRange,
    /// As that of the blocks that it is made of; `None` for one that is newer than all others.
    pub(crate) order: Option<u64>,
    pub(crate) step: Option<Step>,
}

pub(crate) fn compression_failed(error: Malformed) -> StoreError {
    StoreError::blocks("compress a chunk", error)
}

/// The chunk of a series' points in a head, and how many they are.
fn points_of(id: SeriesId, head: &Head) -> Result<Option<(Vec<u8>, usize)>, StoreError> {
    let Some(column) = head.column(id) else { return Ok(None) };
    let mut points = Points::default();
    head.read(&column, head.range(), &mut points);
    if points.is_empty() {
        return Ok(None);
    }
    let bytes = chunk::encode(id, &points).map_err(compression_failed)?;
    Ok(Some((bytes, points.len())))
}

/// The chunk of a series' sketches in a head, and how many they are.
fn sketches_of(id: SeriesId, head: &Head) -> Result<Option<(Vec<u8>, usize)>, StoreError> {
    let Some(column) = head.sketch_column(id) else { return Ok(None) };
    let mut sketches = Sketches::new();
    read_sketches(head.range().from, &column, head.range(), &mut sketches);
    if sketches.is_empty() {
        return Ok(None);
    }
    let bytes = sketch_chunk::encode(id, &sketches).map_err(compression_failed)?;
    Ok(Some((bytes, sketches.len())))
}
