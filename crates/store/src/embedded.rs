//! The store in a directory of its own: the trait on top, the parts it is made of below.
//!
//! The core is synchronous. The trait's methods run it on the runtime's blocking threads; one thread of the store's own
//! cuts blocks and drops old ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::{Condvar, Mutex, RwLock};
use rustc_hash::FxHashSet;
use statline_series::{Batch, Event, Matcher, PathPattern, Step, TimeRange, Timestamp};

use crate::append::Appender;
use crate::backup::Backup;
use crate::block::{Blocks, StoredBlock};
use crate::cache::Cache;
use crate::catalogue;
use crate::check::is_store;
use crate::config::EmbeddedConfig;
use crate::counters::Counters;
use crate::events::Events;
use crate::index::Index;
use crate::lock::DirectoryLock;
use crate::manifest::Manifest;
use crate::read::step_of;
use crate::schema::Schemas;
use crate::state::State;
use crate::{
    Appended, Fetch, Fetched, FetchedSketches, Form, Limits, Node, Selection, SeriesInfo, Store, StoreError,
    StoreStats, cut, log, recover,
};

/// How long an append waits for memory before it is refused.
const LONGEST_WAIT_FOR_ROOM: Duration = Duration::from_secs(30);

/// The time series store that needs no set-up: one directory, one process.
#[derive(Debug)]
pub struct EmbeddedStore {
    inner: Arc<Inner>,
}

/// What [`EmbeddedStore::compact`] has done to the catalogue of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Its length before, in bytes.
    pub catalogue_before: u64,
    /// Its length after, in bytes.
    pub catalogue_after: u64,
}

/// All parts of a store. Of the locks, those further up are taken before those further down.
pub(crate) struct Inner {
    pub(crate) config: EmbeddedConfig,
    pub(crate) block_step: Step,
    /// What all finest steps divide, where windows may end early.
    pub(crate) common_step: Step,
    /// The number of the schemas in force.
    pub(crate) schemas_number: u32,
    /// The manifest's numbers of the policies of rules.
    pub(crate) policy_numbers: Vec<u32>,
    /// Held by whoever writes a block.
    pub(crate) cutting: Mutex<()>,
    /// Held by whoever writes a batch.
    pub(crate) appender: Mutex<Appender>,
    pub(crate) manifest: Mutex<Manifest>,
    pub(crate) state: RwLock<State>,
    pub(crate) index: RwLock<Index>,
    pub(crate) events: RwLock<Events>,
    /// `None` once the store is closed.
    pub(crate) blocks: RwLock<Option<Arc<Blocks>>>,
    /// Blocks that a manifest was to name which could not be written.
    pub(crate) orphans: Mutex<Vec<Arc<StoredBlock>>>,
    /// Blocks that cannot tell which series they hold.
    pub(crate) unreadable: Mutex<FxHashSet<u64>>,
    /// Blocks with damaged chunks, which are not merged.
    pub(crate) unmergeable: Mutex<FxHashSet<u64>>,
    /// Chunks that were read of blocks.
    pub(crate) cache: Cache,
    pub(crate) signal: Signal,
    pub(crate) counters: Counters,
    /// What the heads take in memory.
    pub(crate) head_bytes: AtomicU64,
    pub(crate) next_series: AtomicU32,
    pub(crate) closed: AtomicBool,
    pub(crate) lock: Mutex<Option<DirectoryLock>>,
    /// The thread that cuts, until it is waited for.
    pub(crate) cutter: Mutex<Option<JoinHandle<()>>>,
}

/// What the threads of a store tell each other.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    mutex: Mutex<()>,
    /// There is work, or the store is being closed.
    work: Condvar,
    /// Memory became free.
    room: Condvar,
}

impl Signal {
    pub(crate) fn work(&self) {
        drop(self.mutex.lock());
        self.work.notify_all();
    }

    pub(crate) fn room(&self) {
        drop(self.mutex.lock());
        self.room.notify_all();
    }

    /// Waits for work unless `ready` says that there is some, `timeout` at most.
    pub(crate) fn wait_for_work(&self, timeout: Duration, ready: impl Fn() -> bool) {
        let mut guard = self.mutex.lock();
        if !ready() {
            self.work.wait_for(&mut guard, timeout);
        }
    }

    /// Waits until `ready`; whether it became so before the timeout.
    fn wait_for_room(&self, timeout: Duration, ready: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + timeout;
        let mut guard = self.mutex.lock();
        while !ready() {
            if self.room.wait_until(&mut guard, deadline).timed_out() {
                return ready();
            }
        }
        true
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("path", &self.config.path).finish_non_exhaustive()
    }
}

impl Inner {
    pub(crate) fn check_open(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::SeqCst) { Err(StoreError::Closed) } else { Ok(()) }
    }

    pub(crate) fn blocks(&self) -> Result<Arc<Blocks>, StoreError> {
        self.blocks.read().clone().ok_or(StoreError::Closed)
    }

    pub(crate) fn log_directory(&self) -> PathBuf {
        self.config.path.join(log::DIRECTORY)
    }

    /// Takes note of how much memory the heads take, and calls for a cut when that is too much.
    pub(crate) fn note_head_bytes(&self, state: &State) {
        let held = state.head_bytes();
        self.head_bytes.store(held, Ordering::SeqCst);
        if held > self.config.head_memory {
            self.signal.work();
        }
    }

    pub(crate) fn is_short_of_memory(&self) -> bool {
        self.head_bytes.load(Ordering::SeqCst) > self.config.head_memory
    }

    /// Waits while the heads hold twice what they should.
    pub(crate) fn wait_for_room(&self) -> Result<(), StoreError> {
        let limit = self.config.head_memory.saturating_mul(2);
        let held = || self.head_bytes.load(Ordering::SeqCst);
        let has_room = || held() <= limit || self.closed.load(Ordering::SeqCst);
        if has_room() || self.signal.wait_for_room(LONGEST_WAIT_FOR_ROOM, has_room) {
            return Ok(());
        }
        self.counters.failed_appends.fetch_add(1, Ordering::Relaxed);
        Err(StoreError::HeadFull { held: held(), limit })
    }

    fn find(&self, pattern: &PathPattern, range: TimeRange) -> Result<Vec<Node>, StoreError> {
        self.check_open()?;
        Ok(self.index.read().find(pattern, range))
    }

    fn events(&self, range: TimeRange, tags: &[String], limit: usize) -> Result<Vec<Event>, StoreError> {
        self.check_open()?;
        Ok(self.events.read().query(range, tags, limit))
    }

    fn delete(&self, selection: &Selection) -> Result<u64, StoreError> {
        let mut appender = self.appender.lock();
        self.check_open()?;
        let mut gone = {
            let index = self.index.read();
            [Form::Points, Form::Sketches].map(|form| index.candidates(form, selection)).concat()
        };
        gone.sort_unstable();
        gone.dedup();
        self.remove_series(&mut appender, &gone)?;
        Ok(gone.len() as u64)
    }

    /// Removes series, first from the catalogue and then from the index. Their points go when their blocks do.
    pub(crate) fn remove_series(&self, appender: &mut Appender, gone: &[crate::SeriesId]) -> Result<(), StoreError> {
        let events: Vec<_> = gone.iter().map(|id| catalogue::Event::Gone { id: *id }).collect();
        appender.catalogue.append(&events)?;
        gone.iter().for_each(|id| appender.recent.forget(*id));
        let mut index = self.index.write();
        gone.iter().for_each(|id| index.remove(*id));
        Ok(())
    }

    fn rewrite_catalogue(&self) -> Result<Compacted, StoreError> {
        let mut appender = self.appender.lock();
        self.check_open()?;
        let catalogue_before = appender.catalogue.length();
        appender.catalogue.rewrite(&self.index.read())?;
        Ok(Compacted { catalogue_before, catalogue_after: appender.catalogue.length() })
    }

    /// Ends the thread and lets go of the directory. A second time does nothing.
    fn shut(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.signal.work();
        self.signal.room();
        let cutter = self.cutter.lock().take();
        if let Some(cutter) = cutter {
            // A panic of the thread was told when it happened, and there is nothing left for it to spoil.
            let _ = cutter.join();
        }
        // Whoever writes now ends before the directory is let go of.
        let _cutting = self.cutting.lock();
        let _appender = self.appender.lock();
        *self.state.write() = State::default();
        *self.blocks.write() = None;
        *self.lock.lock() = None;
    }
}

impl EmbeddedStore {
    /// Opens a directory, makes it when it is absent, and reads the log of what was not yet in blocks.
    ///
    /// # Errors
    /// When the settings make no sense; when another process has the directory, it cannot be written to, it is of a newer
    /// version, or a file without which nothing can be found is damaged.
    pub fn open(config: EmbeddedConfig) -> Result<Self, StoreError> {
        config.check()?;
        let inner = Arc::new(recover::open(config)?);
        if inner.config.background {
            let cutter = cut::start(Arc::clone(&inner))?;
            *inner.cutter.lock() = Some(cutter);
        }
        Ok(Self { inner })
    }

    /// Writes all points in memory as blocks. A window that is not over ends after its newest point.
    ///
    /// # Errors
    /// When a block could not be written; its points stay in memory and in the log.
    pub fn cut_all(&self) -> Result<(), StoreError> {
        self.inner.cut_all()
    }

    /// Rolls up what is old enough, merges blocks, and drops what is kept no longer, all of which also happens by itself
    /// from time to time.
    ///
    /// # Errors
    /// When a block could not be written, or a removal could not be made durable.
    pub fn maintain(&self) -> Result<(), StoreError> {
        self.inner.maintain()
    }

    /// Opens a store that is there, for tools that only read: no block is written and nothing expires, however old it is.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`], and when the directory is no store.
    pub fn open_at_rest(directory: &Path) -> Result<Self, StoreError> {
        if !is_store(directory) {
            return Err(StoreError::NoStore { path: directory.to_owned() });
        }
        let config = EmbeddedConfig {
            schemas: Schemas::without_end(),
            background: false,
            max_events: usize::MAX,
            event_memory: u64::MAX,
            ..EmbeddedConfig::at(directory)
        };
        Ok(Self { inner: Arc::new(recover::open(config)?) })
    }

    /// Makes everything as small as it can be: writes all points in memory as blocks, drops what is older than the
    /// retention, and writes the catalogue without the series that are gone.
    ///
    /// # Errors
    /// When one of these could not be done; those before it are.
    pub fn compact(&self) -> Result<Compacted, StoreError> {
        self.cut_all()?;
        self.maintain()?;
        self.inner.rewrite_catalogue()
    }

    /// Writes a store directory that holds what this store holds at one moment, while it goes on. The directory is absent
    /// or empty before, and its parent is there. It appears when all of it is on disk.
    ///
    /// # Errors
    /// When something is in the way or could not be written; then nothing is left of it.
    pub async fn backup(&self, directory: &Path) -> Result<Backup, StoreError> {
        let directory = directory.to_owned();
        self.blocking("make a backup", move |inner| inner.backup(&directory)).await
    }

    /// Runs the synchronous core where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.inner);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(StoreError::Panicked(doing)),
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.inner.shut();
    }
}

/// Tells a read that nobody waits for it any more.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn append(&self, batch: Batch) -> Result<Appended, StoreError> {
        self.blocking("append a batch", move |inner| inner.append(&batch)).await
    }

    async fn find(&self, pattern: &PathPattern, range: TimeRange) -> Result<Vec<Node>, StoreError> {
        let pattern = pattern.clone();
        self.blocking("find names", move |inner| inner.find(&pattern, range)).await
    }

    async fn select(&self, selection: &Selection, range: TimeRange) -> Result<Vec<SeriesInfo>, StoreError> {
        let selection = selection.clone();
        self.blocking("select series", move |inner| inner.select(Form::Points, &selection, range)).await
    }

    async fn select_sketches(&self, selection: &Selection, range: TimeRange) -> Result<Vec<SeriesInfo>, StoreError> {
        let selection = selection.clone();
        self.blocking("select series of sketches", move |inner| inner.select(Form::Sketches, &selection, range)).await
    }

    async fn fetch_sketches(
        &self,
        selection: &Selection,
        range: TimeRange,
        step: Option<Step>,
        limits: Limits,
    ) -> Result<Vec<FetchedSketches>, StoreError> {
        let selection = selection.clone();
        let cancelled = Arc::new(AtomicBool::new(false));
        let _guard = CancelOnDrop(Arc::clone(&cancelled));
        self.blocking("fetch sketches", move |inner| inner.fetch_sketches(&selection, range, step, limits, &cancelled))
            .await
    }

    async fn events(&self, range: TimeRange, tags: &[String], limit: usize) -> Result<Vec<Event>, StoreError> {
        let tags = tags.to_vec();
        self.blocking("list events", move |inner| inner.events(range, &tags, limit)).await
    }

    fn usual_step(&self, from: Timestamp) -> Step {
        let config = &self.inner.config;
        step_of(config.schemas.fallback(), from, config.clock.now())
    }

    async fn fetch(&self, request: &Fetch) -> Result<Vec<Fetched>, StoreError> {
        let request = request.clone();
        let cancelled = Arc::new(AtomicBool::new(false));
        let _guard = CancelOnDrop(Arc::clone(&cancelled));
        self.blocking("fetch points", move |inner| inner.fetch(&request, &cancelled)).await
    }

    async fn tags(
        &self,
        prefix: &str,
        filter: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let (prefix, filter) = (prefix.to_owned(), filter.to_vec());
        self.blocking("list tags", move |inner| {
            inner.check_open()?;
            Ok(inner.index.read().tags(&prefix, &filter, range, limit))
        })
        .await
    }

    async fn tag_values(
        &self,
        tag: &str,
        prefix: &str,
        filter: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        let (tag, prefix, filter) = (tag.to_owned(), prefix.to_owned(), filter.to_vec());
        self.blocking("list the values of a tag", move |inner| {
            inner.check_open()?;
            Ok(inner.index.read().tag_values(&tag, &prefix, &filter, range, limit))
        })
        .await
    }

    async fn delete(&self, selection: &Selection) -> Result<u64, StoreError> {
        let selection = selection.clone();
        self.blocking("delete series", move |inner| inner.delete(&selection)).await
    }

    fn stats(&self) -> StoreStats {
        self.inner.stats()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.blocking("close", |inner| {
            inner.shut();
            Ok(())
        })
        .await
    }
}
