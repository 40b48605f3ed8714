//! The cut: a window's head becomes a block, and its log goes.
//!
//! The window is first closed, which takes a moment; new points for it go to a window and a log of their own. Then, while
//! everybody reads and appends, its chunks are written; where a block holds older points of the same span, both become
//! one new block. The manifest names the new block and, in the same step, the logs that no longer count. A crash before
//! that leaves the log as it was, a crash after it the block.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use statline_series::{TimeRange, Timestamp};

use crate::block::{ChunkError, NewChunk, StoredBlock, Written};
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
/// How often the thread looks for blocks that are too old.
const EXPIRY_INTERVAL: Duration = Duration::from_mins(5);
/// How long the thread waits after a failure, doubled with each one in a row.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_mins(1);
/// How long the thread works before it rests for as long, so that a cut does not take a processor for itself.
const WORK_SLICE: Duration = Duration::from_millis(5);

/// Why a block could not be made of a head and older blocks.
enum MergeError {
    /// An older block is damaged. It stays as it is, and the new one beside it.
    DamagedBlock(String),
    Failed(StoreError),
}

impl From<StoreError> for MergeError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl From<ChunkError> for MergeError {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Damaged(reason) => Self::DamagedBlock(reason),
            ChunkError::Engine(error) => Self::Failed(StoreError::blocks("read a block", error)),
        }
    }
}

/// How a cut shares the processor.
struct Pace<'a> {
    inner: &'a Inner,
    /// Whether to rest at all.
    rests: bool,
    since: Instant,
}

impl<'a> Pace<'a> {
    fn new(inner: &'a Inner, rests: bool) -> Self {
        Self { inner, rests, since: Instant::now() }
    }

    /// Rests when it is time to. Fails when the store is being closed.
    fn step(&mut self) -> Result<(), StoreError> {
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
        let mut outcome = inner.cut_one_due();
        if expired_at.is_none_or(|last: Instant| last.elapsed() >= EXPIRY_INTERVAL) {
            expired_at = Some(Instant::now());
            outcome = outcome.and_then(|cut| inner.expire().map(|()| cut));
        }
        outcome = outcome.and_then(|cut| inner.tidy_events().map(|()| cut));
        let pause = match outcome {
            Ok(true) => continue,
            Ok(false) => {
                back_off = FIRST_BACK_OFF;
                TICK
            }
            Err(StoreError::Closed) => break,
            Err(error) => {
                inner.counters.failed_cuts.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, retry_in = ?back_off, "could not write a block, or the events anew");
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
    fn freeze(&self, start: Timestamp) -> Result<Option<Arc<Head>>, StoreError> {
        let mut appender = self.appender.lock();
        // What is in the manifest as acknowledged must not be what a failed batch left behind.
        appender.clean()?;
        let mut state = self.state.write();
        let Some(mut head) = state.active.remove(&start) else { return Ok(None) };
        appender.logs.remove(&start);
        let range = head.range();
        if self.config.clock.now() < range.until {
            let after_newest = head.newest().offset(1).align_up(self.config.resolution);
            head.end_at(after_newest.min(range.until));
        }
        head.acknowledged = appender.sequence;
        let head = Arc::new(head);
        state.frozen.push(Arc::clone(&head));
        Ok(Some(head))
    }

    /// Makes a block of a closed window.
    fn cut(&self, head: &Arc<Head>, pace: &mut Pace<'_>) -> Result<(), StoreError> {
        let started = Instant::now();
        // The lives of all series are on disk before the log, which could tell them again, goes.
        let lives = seen::snapshot(&self.index.read());
        seen::write(&self.config.path, &lives)?;

        let older: Vec<_> = {
            let state = self.state.read();
            state.blocks.iter().filter(|block| block.range().overlaps(head.range())).cloned().collect()
        };
        let (replaced, new) = match self.write_block(head, &older, pace) {
            Ok(new) => (older, new),
            Err(MergeError::Failed(error)) => return Err(error),
            Err(MergeError::DamagedBlock(reason)) => {
                let range = head.range();
                tracing::error!(from = %range.from, until = %range.until, reason, "a block is damaged and stays as it is");
                self.counters.corrupt_chunks.fetch_add(1, Ordering::Relaxed);
                let beside = self.write_block(head, &[], pace).map_err(|error| match error {
                    MergeError::Failed(error) => error,
                    MergeError::DamagedBlock(reason) => StoreError::damaged_file(&self.config.path, reason),
                })?;
                (Vec::new(), beside)
            }
        };
        self.commit(head, &replaced, new)?;
        self.counters.cuts.fetch_add(1, Ordering::Relaxed);
        self.counters.last_cut.store(self.config.clock.now().millis(), Ordering::Relaxed);
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counters.last_cut_micros.store(micros, Ordering::Relaxed);
        Ok(())
    }

    /// Writes the chunks of a head, together with those of older blocks; `None` when no series of them is left.
    fn write_block(
        &self,
        head: &Head,
        older: &[Arc<StoredBlock>],
        pace: &mut Pace<'_>,
    ) -> Result<Option<Arc<StoredBlock>>, MergeError> {
        let mut series: BTreeSet<SeriesId> = head.series().into_iter().collect();
        for block in older {
            series.extend(block.series()?);
        }
        let mut range = head.range();
        for block in older {
            range = TimeRange::new(range.from.min(block.range().from), range.until.max(block.range().until));
        }
        let blocks = self.blocks()?;
        let id = {
            let mut manifest = self.manifest.lock();
            manifest.next_block += 1;
            manifest.next_block - 1
        };
        let mut by_age = older.to_vec();
        by_age.sort_by_key(|block| block.meta.id);
        let mut series_left = series.into_iter();
        let mut damage = None;
        let written = blocks.write(id, || {
            for id in series_left.by_ref() {
                pace.step()?;
                let Some(form) = self.index.read().get(id).map(|entry| entry.form) else { continue };
                match merge_series(id, form, head, &by_age) {
                    Ok(Some((bytes, count))) => return Ok(Some(NewChunk { id, form, bytes, count })),
                    Ok(None) => {}
                    Err(MergeError::Failed(error)) => return Err(error),
                    Err(MergeError::DamagedBlock(reason)) => {
                        damage = Some(reason);
                        return Err(StoreError::Cancelled);
                    }
                }
            }
            Ok(None)
        });
        if let Some(reason) = damage {
            return Err(MergeError::DamagedBlock(reason));
        }
        let (keyspace, written) = written?;
        let Written { series, points, bytes, sketches, sketch_bytes } = written;
        let meta = BlockMeta { id, tier: 0, range, series, points, bytes, sketches, sketch_bytes };
        let block = Arc::new(StoredBlock::new(meta, keyspace));
        if series == 0 {
            blocks.drop_block(&block)?;
            return Ok(None);
        }
        Ok(Some(block))
    }

    /// Puts a new block in the place of a head and older blocks: in the manifest, then for readers, then on disk.
    fn commit(
        &self,
        head: &Arc<Head>,
        replaced: &[Arc<StoredBlock>],
        new: Option<Arc<StoredBlock>>,
    ) -> Result<(), StoreError> {
        let gone: Vec<u64> = replaced.iter().map(|block| block.meta.id).collect();
        let still_needed: BTreeSet<u64> = {
            let state = self.state.read();
            let others = state.heads().filter(|other| !std::ptr::eq(*other, Arc::as_ptr(head)));
            others.flat_map(|other| other.logs.iter().copied()).collect()
        };
        let dead: Vec<u64> = head.logs.iter().copied().filter(|number| !still_needed.contains(number)).collect();
        self.change_manifest(|manifest| {
            manifest.blocks.retain(|block| !gone.contains(&block.id));
            manifest.blocks.extend(new.as_ref().map(|block| block.meta));
            manifest.dead_logs.extend(&dead);
            // A number on the list must never be given to a new file.
            manifest.next_log = manifest.next_log.max(head.logs.iter().max().map_or(0, |newest| newest + 1));
            manifest.acknowledged = manifest.acknowledged.max(head.acknowledged);
        })?;
        {
            let mut state = self.state.write();
            state.frozen.retain(|other| !Arc::ptr_eq(other, head));
            state.replace_blocks(&gone, new);
            self.note_head_bytes(&state);
        }
        self.signal.room();
        self.drop_blocks(replaced);
        let mut manifest = self.manifest.lock();
        log::remove(&self.log_directory(), &mut manifest.dead_logs);
        Ok(())
    }

    fn change_manifest(&self, change: impl FnOnce(&mut Manifest)) -> Result<(), StoreError> {
        let mut manifest = self.manifest.lock();
        let mut changed = manifest.clone();
        change(&mut changed);
        changed.next_series = changed.next_series.max(self.next_series.load(Ordering::SeqCst));
        changed.write(&self.config.path)?;
        *manifest = changed;
        Ok(())
    }

    fn drop_blocks(&self, blocks: &[Arc<StoredBlock>]) {
        let Ok(engine) = self.blocks() else { return };
        for block in blocks {
            // Nobody finds it any more, and opening the store tries again.
            if let Err(error) = engine.drop_block(block) {
                tracing::warn!(%error, block = block.meta.id, "could not drop a block");
            }
        }
    }

    /// Drops blocks and events older than the retention, and series that have nothing left.
    pub(crate) fn expire(&self) -> Result<(), StoreError> {
        let _cutting = self.cutting.lock();
        self.check_open()?;
        let horizon = self.config.clock.now().offset(-millis(self.config.retention));
        let old: Vec<_> = {
            let state = self.state.read();
            state.blocks.iter().filter(|block| block.range().until <= horizon).cloned().collect()
        };
        if !old.is_empty() {
            let gone: Vec<u64> = old.iter().map(|block| block.meta.id).collect();
            self.change_manifest(|manifest| manifest.blocks.retain(|block| !gone.contains(&block.id)))?;
            self.state.write().replace_blocks(&gone, None);
            self.drop_blocks(&old);
            self.counters.expired_blocks.fetch_add(old.len() as u64, Ordering::Relaxed);
        }
        let expired = self.events.write().expire(horizon);
        self.counters.expired_events.fetch_add(expired, Ordering::Relaxed);
        if self.forgotten(horizon).is_empty() {
            return Ok(());
        }
        // Looked for again where no append can bring one of them back in between.
        let mut appender = self.appender.lock();
        let forgotten = self.forgotten(horizon);
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

    /// Series whose newest point or sketch is older than `horizon`.
    fn forgotten(&self, horizon: Timestamp) -> Vec<SeriesId> {
        let index = self.index.read();
        let all = index.iter().filter(|(_, entry)| entry.first_seen <= entry.last_seen && entry.last_seen < horizon);
        all.map(|(id, _)| id).collect()
    }
}

/// The chunk of a series out of a head and older blocks, oldest first, and the number of its points or sketches.
fn merge_series(
    id: SeriesId,
    form: Form,
    head: &Head,
    older: &[Arc<StoredBlock>],
) -> Result<Option<(Vec<u8>, usize)>, MergeError> {
    let in_head = match form {
        Form::Points => head.column(id).is_some(),
        Form::Sketches => head.sketch_column(id).is_some(),
    };
    if let (false, [only]) = (in_head, older) {
        // Taken over as it is, damaged or not: what is wrong with it is told when it is read.
        let stored = only.chunk(id)?;
        return Ok(stored.map(|bytes| (bytes.to_vec(), chunk::count(&bytes))));
    }
    match form {
        Form::Points => merge_points(id, head, older),
        Form::Sketches => merge_sketches(id, head, older),
    }
}

fn compression_failed(error: Malformed) -> StoreError {
    StoreError::blocks("compress a chunk", error)
}

fn merge_points(id: SeriesId, head: &Head, older: &[Arc<StoredBlock>]) -> Result<Option<(Vec<u8>, usize)>, MergeError> {
    let mut points = Points::default();
    for block in older {
        points.overlay(|points| block.read(id, TimeRange::ALL, points))?;
    }
    if let Some(column) = head.column(id) {
        points.overlay(|points| {
            head.read(&column, head.range(), points);
            Ok::<_, MergeError>(())
        })?;
    }
    if points.is_empty() {
        return Ok(None);
    }
    let bytes = chunk::encode(id, &points).map_err(compression_failed)?;
    Ok(Some((bytes, points.len())))
}

fn merge_sketches(
    id: SeriesId,
    head: &Head,
    older: &[Arc<StoredBlock>],
) -> Result<Option<(Vec<u8>, usize)>, MergeError> {
    let mut sketches = Sketches::new();
    for block in older {
        block.read_sketches(id, TimeRange::ALL, &mut sketches)?;
    }
    if let Some(column) = head.sketch_column(id) {
        read_sketches(head.range().from, &column, head.range(), &mut sketches);
    }
    if sketches.is_empty() {
        return Ok(None);
    }
    let bytes = sketch_chunk::encode(id, &sketches).map_err(compression_failed)?;
    Ok(Some((bytes, sketches.len())))
}
