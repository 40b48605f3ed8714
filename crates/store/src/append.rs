//! The way of a batch into the store: resolve the series, write the log, wait for the disk, fill the head.
//!
//! One batch at a time goes this way. Nothing is put into the head before its record is durable, and when a write fails,
//! what was written of the batch is cut off again before anything else is written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::RwLockWriteGuard;
use rustc_hash::FxHashMap;
use statline_series::{Batch, Event, TimeRange, Timestamp};

use crate::catalogue::Catalogue;
use crate::config::millis;
use crate::embedded::Inner;
use crate::events::EventLog;
use crate::flush::FlushColumns;
use crate::log::{BatchMark, LogSketch, LogWriter, Part, PartEncoder};
use crate::resolve::{Births, RecentSeries, Resolver};
use crate::{Appended, SeriesId, StoreError};

/// Log files kept open between batches. Others are opened again when they are written to.
const MOST_OPEN_LOGS: usize = 64;

/// How many series are put into the index before those who wait to read it are let through. A series that is there
/// already has no points yet, so that none of them finds it.
const INDEXED_AT_A_TIME: SeriesId = 1024;

/// What only the one that appends may touch.
#[derive(Debug)]
pub(crate) struct Appender {
    pub(crate) catalogue: Catalogue,
    pub(crate) event_log: EventLog,
    pub(crate) log_directory: PathBuf,
    /// The files of the active windows, by the start of the window.
    pub(crate) logs: FxHashMap<Timestamp, LogWriter>,
    pub(crate) next_log: u64,
    pub(crate) next_series: SeriesId,
    pub(crate) recent: RecentSeries,
    encoder: PartEncoder,
    /// The number of the newest batch.
    pub(crate) sequence: u64,
    /// Files that hold some of a batch that failed, and the length that they should have.
    unclean: Vec<(Timestamp, u64)>,
}

/// What can be taken of a batch, by window; the events apart.
struct Taken {
    parts: BTreeMap<Timestamp, Part>,
    events: Vec<Arc<Event>>,
}

impl Appender {
    pub(crate) fn new(catalogue: Catalogue, event_log: EventLog, log_directory: PathBuf) -> Self {
        Self {
            catalogue,
            event_log,
            log_directory,
            logs: FxHashMap::default(),
            next_log: 0,
            next_series: 0,
            recent: RecentSeries::default(),
            encoder: PartEncoder::default(),
            sequence: 0,
            unclean: Vec::new(),
        }
    }

    /// Cuts off what failed batches left. Until that works, nothing can be written.
    pub(crate) fn clean(&mut self) -> Result<(), StoreError> {
        while let Some((window, length)) = self.unclean.last().copied() {
            if let Some(log) = self.logs.get_mut(&window) {
                log.roll_back(length)?;
            }
            self.unclean.pop();
        }
        self.event_log.clean()
    }

    /// Makes the parts of a batch durable, all of them or none.
    fn write(&mut self, taken: &Taken) -> Result<(), StoreError> {
        let Taken { parts, events } = taken;
        self.sequence += 1;
        let count = u32::try_from(parts.len() + usize::from(!events.is_empty())).unwrap_or(u32::MAX);
        let mark = BatchMark { sequence: self.sequence, parts: count };
        let mut lengths_before = Vec::with_capacity(parts.len());
        let mut written =
            parts.iter().try_for_each(|(start, part)| self.write_part(*start, part, mark, &mut lengths_before));
        if !events.is_empty() {
            // The last part: when it fails, it has cut itself off already.
            written = written.and_then(|()| self.event_log.append(mark, events));
        }
        if let Err(error) = written {
            self.unclean.append(&mut lengths_before);
            // The next append tries again, and is refused until it works.
            let _ = self.clean();
            return Err(error);
        }
        if self.logs.len() > MOST_OPEN_LOGS {
            self.logs.iter_mut().filter(|(start, _)| !parts.contains_key(start)).for_each(|(_, log)| log.rest());
        }
        Ok(())
    }

    fn write_part(
        &mut self,
        start: Timestamp,
        part: &Part,
        mark: BatchMark,
        lengths_before: &mut Vec<(Timestamp, u64)>,
    ) -> Result<(), StoreError> {
        let bytes = self
            .encoder
            .encode(mark, part)
            .map_err(|source| StoreError::io("compress a batch for", &self.log_directory, source))?;
        if !self.logs.contains_key(&start) {
            let number = self.next_log;
            self.next_log += 1;
            self.logs.insert(start, LogWriter::create(&self.log_directory, number)?);
        }
        if let Some(log) = self.logs.get_mut(&start) {
            lengths_before.push((start, log.length()));
            log.append(bytes)?;
            if mark.parts as usize > MOST_OPEN_LOGS {
                log.rest();
            }
        }
        Ok(())
    }
}

impl Inner {
    /// Takes a batch.
    pub(crate) fn append(&self, batch: &Batch) -> Result<Appended, StoreError> {
        self.wait_for_room()?;
        let mut appender = self.appender.lock();
        self.check_open()?;
        let outcome = self.append_alone(&mut appender, batch);
        match &outcome {
            Ok(appended) => self.counters.appended(appended),
            Err(_) => _ = self.counters.failed_appends.fetch_add(1, Ordering::Relaxed),
        }
        outcome
    }

    fn append_alone(&self, appender: &mut Appender, batch: &Batch) -> Result<Appended, StoreError> {
        appender.clean()?;
        let mut appended = Appended::default();
        let mut births = Births::from(appender.next_series);
        let taken = self.take(appender, batch, &mut births, &mut appended);
        self.bear(appender, &births)?;
        appended.new_series = births.series.len() as u64;
        if !taken.parts.is_empty() || !taken.events.is_empty() {
            appender.write(&taken)?;
            self.show(appender, taken);
        }
        Ok(appended)
    }

    /// What can be taken of a batch, with the numbers of the series.
    fn take(&self, appender: &mut Appender, batch: &Batch, births: &mut Births, appended: &mut Appended) -> Taken {
        let now = self.config.clock.now();
        let schemas = &self.config.schemas;
        let oldest = now.offset(-schemas.shortest_retention().min(millis(self.config.max_late)));
        let oldest_event = now.offset(-schemas.longest_retention());
        let newest = now.offset(millis(self.config.max_ahead));
        let (points, sketches) = {
            let index = self.index.read();
            let mut resolver = Resolver {
                index: &index,
                recent: &mut appender.recent,
                births,
                config: &self.config,
                now,
                oldest,
                newest,
                max_series: self.config.max_series,
                max_sketch_series: self.config.max_sketch_series,
            };
            let points = resolver.points(&batch.rows, &mut appended.refused);
            (points, resolver.sketches(&batch.sketches, &mut appended.refused_sketches))
        };
        let admitted = self.events.read().admit(&batch.events, oldest_event, newest);
        appended.points = points.len() as u64;
        appended.sketches = sketches.len() as u64;
        appended.events = admitted.new.len() as u64;
        appended.known_events = admitted.known;
        appended.refused_events = admitted.refused;
        Taken { parts: self.parts(points, sketches), events: admitted.new }
    }

    /// Makes new series and kinds known, first to the catalogue and then to the index.
    fn bear(&self, appender: &mut Appender, births: &Births) -> Result<(), StoreError> {
        if births.series.is_empty() && births.kinds.is_empty() {
            return Ok(());
        }
        let first = appender.next_series;
        appender.catalogue.append_births(first, &births.series, &births.kinds)?;
        appender.next_series += births.series.len() as SeriesId;
        self.next_series.store(appender.next_series, Ordering::SeqCst);
        let mut index = self.index.write();
        for (id, birth) in (first..).zip(&births.series) {
            let rule = self.config.schemas.rule_of(&birth.key);
            index.insert(id, birth.form, &birth.key, birth.kind, rule);
            if id % INDEXED_AT_A_TIME == 0 {
                RwLockWriteGuard::bump(&mut index);
            }
        }
        births.kinds.iter().for_each(|(id, kind)| index.set_kind(*id, *kind));
        drop(index);
        appender.recent.learn_births(first, &births.series);
        births.kinds.iter().for_each(|(id, kind)| appender.recent.set_kind(*id, *kind));
        Ok(())
    }

    /// Points and sketches by the window they belong to, in the order of their series.
    fn parts(&self, mut points: FlushColumns, mut sketches: Vec<LogSketch>) -> BTreeMap<Timestamp, Part> {
        // Stable: of two points of one series and instant, the later in the batch stays.
        points.sort();
        sketches.sort_by_key(|sketch| sketch.id);
        let state = self.state.read();
        let mut parts: BTreeMap<Timestamp, Part> = BTreeMap::new();
        let mut window = TimeRange::new(Timestamp::MAX, Timestamp::MIN);
        let mut window_of = |timestamp| {
            if !window.contains(timestamp) {
                window = state.window_at(timestamp, self.block_step);
            }
            window
        };
        let span = points.span().filter(|(oldest, newest)| window_of(*oldest).contains(*newest));
        if let Some((oldest, _)) = span {
            let window = window_of(oldest);
            parts.insert(window.from, Part { points, ..Part::new(window) });
        } else {
            for (id, timestamp, value) in points.iter() {
                let window = window_of(timestamp);
                parts.entry(window.from).or_insert_with(|| Part::new(window)).points.push(id, timestamp, value);
            }
        }
        for sketch in sketches {
            let window = window_of(sketch.timestamp);
            parts.entry(window.from).or_insert_with(|| Part::new(window)).sketches.push(sketch);
        }
        parts
    }

    /// Shows what is durable to readers.
    fn show(&self, appender: &Appender, taken: Taken) {
        let Taken { parts, events } = taken;
        let mut state = self.state.write();
        for (start, part) in &parts {
            let head = state.head_mut(part.window, self.config.schemas.usual_step());
            if let Some(log) = appender.logs.get(start) {
                head.add_log(log.number);
            }
            head.touched = std::time::Instant::now();
            head.push_all(&part.points);
            for sketch in &part.sketches {
                head.push_sketch(sketch.id, sketch.timestamp, &sketch.bytes);
            }
        }
        self.note_head_bytes(&state);
        drop(state);
        let mut index = self.index.write();
        for part in parts.values() {
            index.saw_all(part.points.iter().map(|(id, at, _)| (id, at)));
            index.saw_all(part.sketches.iter().map(|sketch| (sketch.id, sketch.timestamp)));
        }
        drop(index);
        if !events.is_empty() {
            let evicted = self.events.write().extend(events);
            self.counters.evicted_events.fetch_add(evicted, Ordering::Relaxed);
            self.counters.event_log_bytes.store(appender.event_log.length(), Ordering::Relaxed);
        }
    }
}
