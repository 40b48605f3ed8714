//! Opening a directory: what was durable is found again, what was not whole is dropped, what is damaged is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashSet;
use statline_series::{Step, TimeRange, Timestamp};

use crate::append::Appender;
use crate::block::{Blocks, StoredBlock};
use crate::cache::Cache;
use crate::catalogue::{self, Catalogue, Event};
use crate::config::EmbeddedConfig;
use crate::counters::Counters;
use crate::embedded::{Inner, Signal};
use crate::events::{Bounds, EventLog, LastRecord, Opened};
use crate::flush::FlushColumns;
use crate::head::Head;
use crate::index::Index;
use crate::journal::Damage;
use crate::lock::DirectoryLock;
use crate::log::{self, LogReader, Part};
use crate::manifest::{self, Manifest};
use crate::schema::Schemas;
use crate::state::{State, cut_down};
use crate::{SeriesId, StoreError, chunk, seen};

/// Opens a store.
pub(crate) fn open(config: EmbeddedConfig) -> Result<Inner, StoreError> {
    let directory = config.path.clone();
    let log_directory = directory.join(log::DIRECTORY);
    make_directory(&directory, &directory)?;
    let lock = DirectoryLock::acquire(&directory)?;
    make_directory(&directory, &log_directory)?;

    let mut manifest = read_manifest(&directory, &log_directory)?;
    let counters = Counters::default();
    counters.last_cut.store(i64::MIN, Ordering::Relaxed);
    let mut known =
        KnownSeries { index: Index::unnamed(), schemas: config.schemas.clone(), gone: FxHashSet::default(), next: 0 };
    let (mut catalogue, damage) = Catalogue::open(&directory, |event| known.take(event))?;
    known.index.name_all();
    count_damage(&counters, &damage, "the catalogue of series is damaged; some series may be lost");
    if catalogue.wants_rewrite(&known.index) {
        let before = catalogue.length();
        match catalogue.rewrite(&known.index) {
            Ok(()) => {
                tracing::info!(before, bytes = catalogue.length(), "wrote the catalogue without series that are gone");
            }
            Err(error) => tracing::warn!(%error, "the catalogue stays as long as it is"),
        }
    }
    let bounds = Bounds { most: config.max_events, most_bytes: config.event_memory };
    let opened_events = EventLog::open(&directory, bounds)?;
    count_damage(&counters, &opened_events.damage, "the events are damaged; some may be lost");

    let (blocks, opened) = Blocks::open(&directory, &manifest.blocks)?;
    let mut state = State { blocks: opened, ..State::default() };
    state.sort_blocks();
    read_lives(&directory, &state.blocks, &mut known.index);

    log::remove(&log_directory, &mut manifest.dead_logs);
    let last_of_events = opened_events.last.as_ref().map(|(record, _)| *record);
    let mut replay = Replay::new(
        &log_directory,
        &manifest,
        &mut state,
        &mut known,
        config.schemas.usual_step(),
        &counters,
        last_of_events,
    );
    let mut unused = replay.run()?;
    let (next_log, sequence, lost_events) = (replay.next_log, replay.sequence, replay.lost_events);

    let Opened { log: mut event_log, mut events, last, .. } = opened_events;
    match (last, lost_events) {
        (Some((record, _)), true) => event_log.roll_back(record.offset)?,
        (Some((_, of_record)), false) => _ = events.extend(of_record.into_iter().map(Arc::new)),
        (None, _) => {}
    }
    // What was let go before the file was written anew is still in it.
    events.expire(config.clock.now().offset(-config.schemas.longest_retention()));
    if !unused.is_empty() || event_log.is_spoilt() {
        // A log that goes takes its parts of batches with it. The batches are whole all the same, and must be known to be
        // before that.
        manifest.acknowledged = sequence;
        manifest.write(&directory)?;
        log::remove(&log_directory, &mut unused);
    }
    if event_log.is_spoilt() {
        event_log.rewrite(sequence, &events)?;
    }
    counters.event_log_bytes.store(event_log.length(), Ordering::Relaxed);

    let mut appender = Appender::new(catalogue, event_log, log_directory);
    appender.next_log = next_log;
    appender.sequence = sequence;
    appender.next_series = known.next.max(manifest.next_series);
    let policy_numbers = config.schemas.rules().iter().map(|rule| manifest.number_of(&rule.policy)).collect();
    let inner = Inner {
        block_step: config.block_step(),
        common_step: config.schemas.common_step(config.block_step()),
        schemas_number: config.schemas.fingerprint(),
        policy_numbers,
        orphans: Mutex::default(),
        unreadable: Mutex::default(),
        unmergeable: Mutex::default(),
        next_series: AtomicU32::new(appender.next_series),
        head_bytes: AtomicU64::new(state.head_bytes()),
        cutting: Mutex::new(()),
        appender: Mutex::new(appender),
        manifest: Mutex::new(manifest),
        state: RwLock::new(state),
        index: RwLock::new(known.index),
        events: RwLock::new(events),
        blocks: RwLock::new(Some(Arc::new(blocks))),
        cache: Cache::new(config.cache_memory),
        signal: Signal::default(),
        counters,
        closed: AtomicBool::new(false),
        lock: Mutex::new(Some(lock)),
        cutter: Mutex::new(None),
        config,
    };
    Ok(inner)
}

fn count_damage(counters: &Counters, damage: &Damage, what: &str) {
    let Damage { bad_header, corrupt_records, torn_tail } = *damage;
    if *damage != Damage::default() {
        tracing::error!(bad_header, corrupt_records, torn_tail, "{what}");
        counters.corrupt_records.fetch_add(corrupt_records + u64::from(bad_header), Ordering::Relaxed);
        counters.torn_tails.fetch_add(u64::from(torn_tail), Ordering::Relaxed);
    }
}

fn make_directory(store: &Path, directory: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(directory).map_err(|source| match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            StoreError::NotWritable { path: store.to_owned(), source }
        }
        _ => StoreError::io("make directory", directory, source),
    })
}

/// The manifest, made when the directory is new. Points without one, or without the catalogue, cannot be found.
fn read_manifest(directory: &Path, log_directory: &Path) -> Result<Manifest, StoreError> {
    let has_catalogue = directory.join(catalogue::FILE_NAME).exists();
    let has_logs = !log::list(log_directory)?.is_empty();
    let missing = |name: &str| StoreError::damaged_file(&directory.join(name), "it is missing");
    match Manifest::read(directory)? {
        Some(manifest) if !has_catalogue && (has_logs || !manifest.blocks.is_empty()) => {
            Err(missing(catalogue::FILE_NAME))
        }
        Some(manifest) => Ok(manifest),
        None if has_logs || has_catalogue => Err(missing(manifest::FILE_NAME)),
        None => {
            let manifest = Manifest::default();
            manifest.write(directory)?;
            Ok(manifest)
        }
    }
}

/// What the catalogue tells.
struct KnownSeries {
    index: Index,
    schemas: Schemas,
    gone: FxHashSet<SeriesId>,
    /// The first number that was never given.
    next: SeriesId,
}

impl KnownSeries {
    fn take(&mut self, event: Event) {
        match event {
            Event::Born { id, form, kind, key } => {
                self.saw_id(id);
                let rule = self.schemas.rule_of(&key);
                self.index.insert(id, form, &key, kind, rule);
            }
            Event::Kind { id, kind } => self.index.set_kind(id, kind),
            Event::Gone { id } => {
                self.saw_id(id);
                self.index.remove(id);
                self.gone.insert(id);
            }
        }
    }

    fn saw_id(&mut self, id: SeriesId) {
        self.next = self.next.max(id.saturating_add(1));
    }
}

/// When each series lived, from the file that says so, or else from the blocks themselves.
fn read_lives(directory: &Path, blocks: &[Arc<StoredBlock>], index: &mut Index) {
    let read = seen::read(directory, |id, first, last| index.saw(id, first, last));
    match read {
        Ok(true) => return,
        Ok(false) if blocks.is_empty() => return,
        Ok(false) => tracing::warn!("the lives of series are not on disk; reading all blocks to find them"),
        Err(error) => tracing::warn!(%error, "the lives of series cannot be read; reading all blocks to find them"),
    }
    for block in blocks {
        let Ok(series) = block.series() else {
            tracing::error!(block = block.meta.id, "a block is damaged; series that are only in it may not be found");
            continue;
        };
        for id in series {
            // A damaged chunk lives somewhere in its block, and says so when it is read.
            let life = block.chunk(id).ok().flatten().and_then(|bytes| chunk::span(id, &bytes).ok());
            let (first, last) = match life {
                Some((first, last, _)) => (Timestamp::from_millis(first), Timestamp::from_millis(last)),
                None => (block.range().from, block.range().until.offset(-1)),
            };
            index.saw(id, first, last);
        }
    }
}

/// One record of the newest batch seen so far, kept back until it is known whether the batch is whole.
struct HeldPart {
    number: u64,
    offset: u64,
    part: Part,
}

/// Reads all logs into the head.
struct Replay<'a> {
    log_directory: &'a Path,
    acknowledged: u64,
    state: &'a mut State,
    known: &'a mut KnownSeries,
    lives: Lives,
    usual_step: Step,
    counters: &'a Counters,
    next_log: u64,
    /// The number of the newest batch seen.
    sequence: u64,
    /// The parts of that batch, and how many there should be.
    held: Vec<HeldPart>,
    held_parts: u32,
    /// The batch of the last record of events, unless a newer batch was seen.
    events_of_newest: Option<u64>,
    /// Whether that record is of a batch that is not whole.
    lost_events: bool,
    used_logs: BTreeSet<u64>,
}

impl<'a> Replay<'a> {
    fn new(
        log_directory: &'a Path,
        manifest: &Manifest,
        state: &'a mut State,
        known: &'a mut KnownSeries,
        usual_step: Step,
        counters: &'a Counters,
        last_of_events: Option<LastRecord>,
    ) -> Self {
        let mark = last_of_events.map(|record| record.mark).filter(|mark| mark.sequence > manifest.acknowledged);
        Self {
            log_directory,
            acknowledged: manifest.acknowledged,
            state,
            lives: Lives::of(&known.index),
            known,
            usual_step,
            counters,
            next_log: manifest.next_log,
            sequence: mark.map_or(manifest.acknowledged, |mark| mark.sequence),
            held: Vec::new(),
            held_parts: mark.map_or(0, |mark| mark.parts),
            events_of_newest: mark.map(|mark| mark.sequence),
            lost_events: false,
            used_logs: BTreeSet::new(),
        }
    }

    /// Reads all logs, and tells which of them hold nothing that is still wanted.
    fn run(&mut self) -> Result<Vec<u64>, StoreError> {
        let numbers = log::list(self.log_directory)?;
        if let Some(last) = numbers.last() {
            self.next_log = self.next_log.max(last + 1);
        }
        for number in &numbers {
            self.read_log(*number)?;
        }
        self.settle_newest_batch()?;
        self.lives.tell(&mut self.known.index);
        Ok(numbers.into_iter().filter(|number| !self.used_logs.contains(number)).collect())
    }

    fn read_log(&mut self, number: u64) -> Result<(), StoreError> {
        let path = log::path_of(self.log_directory, number);
        let mut reader = LogReader::open(&path, number)?;
        let mut corrupt = u64::from(reader.bad_header);
        while let Some(record) = reader.records.next()? {
            let Ok(part) = log::decode_part(&record) else {
                corrupt += 1;
                continue;
            };
            if record.sequence > self.sequence {
                self.apply_held();
                self.sequence = record.sequence;
                self.held_parts = record.parts;
            }
            let part = HeldPart { number, offset: record.offset, part };
            if record.sequence == self.sequence && record.sequence > self.acknowledged {
                self.held.push(part);
            } else {
                self.apply(part);
            }
        }
        corrupt += reader.records.corrupt;
        if corrupt > 0 {
            tracing::error!(path = %path.display(), corrupt, "skipped damaged records of a log");
            self.counters.corrupt_records.fetch_add(corrupt, Ordering::Relaxed);
        }
        if let Some(length) = reader.records.torn_at {
            tracing::warn!(path = %path.display(), length, "dropped the unfinished end of a log");
            self.counters.torn_tails.fetch_add(1, Ordering::Relaxed);
            log::truncate(&path, length)?;
        }
        Ok(())
    }

    /// Keeps the newest batch when it is whole, and otherwise cuts what there is of it off its logs: it was never
    /// acknowledged.
    fn settle_newest_batch(&mut self) -> Result<(), StoreError> {
        let has_events = self.events_of_newest == Some(self.sequence);
        let found = self.held.len() + usize::from(has_events);
        if found < self.held_parts as usize {
            let parts = self.held_parts;
            tracing::warn!(found, parts, "dropped the newest batch, of which not all parts were written");
            for part in std::mem::take(&mut self.held) {
                log::truncate(&log::path_of(self.log_directory, part.number), part.offset)?;
            }
            self.lost_events = has_events;
        }
        self.apply_held();
        Ok(())
    }

    fn apply_held(&mut self) {
        for part in std::mem::take(&mut self.held) {
            self.apply(part);
        }
    }

    fn apply(&mut self, held: HeldPart) {
        let HeldPart { number, part, .. } = held;
        let Part { window, mut points, mut sketches } = part;
        if !points.ids().iter().all(|id| self.lives.is_known(*id)) {
            points.retain(|id| self.is_wanted(id, number));
        }
        sketches.retain(|sketch| self.is_wanted(sketch.id, number));
        points.iter().for_each(|(id, at, _)| self.lives.saw(id, at));
        for columns in self.by_window(window, points) {
            let Some((oldest, _)) = columns.span() else { continue };
            self.used_logs.insert(number);
            let head = self.head_for(window, oldest);
            head.add_log(number);
            head.push_all(&columns);
        }
        for sketch in sketches {
            self.used_logs.insert(number);
            self.lives.saw(sketch.id, sketch.timestamp);
            let head = self.head_for(window, sketch.timestamp);
            head.add_log(number);
            head.push_sketch(sketch.id, sketch.timestamp, &sketch.bytes);
        }
    }

    /// Whether the series of a point or a sketch is there.
    fn is_wanted(&mut self, id: SeriesId, log: u64) -> bool {
        self.known.saw_id(id);
        if self.known.gone.contains(&id) {
            return false;
        }
        let is_known = self.lives.is_known(id);
        if !is_known {
            // Points that have lost their series keep their log: someone may still find the name.
            self.used_logs.insert(log);
            self.counters.orphan_points.fetch_add(1, Ordering::Relaxed);
        }
        is_known
    }

    /// The points of a record by the window that they go to, which is nearly always one.
    fn by_window(&mut self, window: TimeRange, points: FlushColumns) -> Vec<FlushColumns> {
        let Some((oldest, newest)) = points.span() else { return Vec::new() };
        if self.head_for(window, oldest).range().contains(newest) {
            return vec![points];
        }
        let mut split: BTreeMap<Timestamp, FlushColumns> = BTreeMap::new();
        for (id, at, value) in points.iter() {
            let start = self.head_for(window, at).range().from;
            split.entry(start).or_default().push(id, at, value);
        }
        split.into_values().collect()
    }

    /// The window of a point: one that is there, or else the one that the record names, clear of others.
    fn head_for(&mut self, window: TimeRange, timestamp: Timestamp) -> &mut Head {
        let range = self.state.active_at(timestamp).unwrap_or_else(|| {
            let others = self.state.active.values().map(Head::range);
            others.fold(window, |window, other| cut_down(window, other, timestamp))
        });
        self.state.head_mut(range, self.usual_step)
    }
}

/// When the series of the index had points in the logs.
struct Lives {
    /// By number: whether the series is in the index, and its first and last instant.
    series: Vec<(bool, Timestamp, Timestamp)>,
}

impl Lives {
    fn of(index: &Index) -> Self {
        let mut series = Vec::new();
        for (id, _) in index.iter() {
            series.resize(id as usize, (false, Timestamp::MAX, Timestamp::MIN));
            series.push((true, Timestamp::MAX, Timestamp::MIN));
        }
        Self { series }
    }

    fn is_known(&self, id: SeriesId) -> bool {
        self.series.get(id as usize).is_some_and(|(is_known, _, _)| *is_known)
    }

    fn saw(&mut self, id: SeriesId, at: Timestamp) {
        if let Some((_, first, last)) = self.series.get_mut(id as usize) {
            (*first, *last) = ((*first).min(at), (*last).max(at));
        }
    }

    /// Tells the index.
    fn tell(&self, index: &mut Index) {
        for (id, (_, first, last)) in (0..).zip(&self.series) {
            if first <= last {
                index.saw(id, *first, *last);
            }
        }
    }
}
