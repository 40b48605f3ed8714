//! The way of a batch into the store: resolve the series, write the log, wait for the disk, fill the head.
//!
//! One batch at a time goes this way. Nothing is put into the head before its record is durable, and when a write fails,
//! what was written of the batch is cut off again before anything else is written.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustc_hash::FxHashMap;
use statline_series::point::Row;
use statline_series::{Batch, Event, Kind, SeriesKey, SketchRow, TimeRange, Timestamp};

use crate::catalogue::{self, Catalogue};
use crate::config::millis;
use crate::embedded::Inner;
use crate::events::EventLog;
use crate::index::Index;
use crate::log::{self, BatchMark, LogPoint, LogSketch, LogWriter, Part};
use crate::{Appended, Form, Refused, SeriesId, StoreError};

/// The most parts that the name of a new series may have; each is a node of the tree of names.
pub(crate) const MOST_PARTS: usize = 64;
/// Log files kept open between batches. Others are opened again when they are written to.
const MOST_OPEN_LOGS: usize = 64;

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

/// Series that a batch brings or changes.
#[derive(Default)]
struct Births {
    points: HashMap<SeriesKey, SeriesId>,
    sketches: HashMap<SeriesKey, SeriesId>,
    kinds: FxHashMap<SeriesId, Kind>,
    /// In the order of their numbers.
    series: Vec<(Form, SeriesKey)>,
}

impl Births {
    const fn ids(&self, form: Form) -> &HashMap<SeriesKey, SeriesId> {
        match form {
            Form::Points => &self.points,
            Form::Sketches => &self.sketches,
        }
    }

    fn add(&mut self, id: SeriesId, form: Form, key: &SeriesKey, kind: Kind) {
        match form {
            Form::Points => self.points.insert(key.clone(), id),
            Form::Sketches => self.sketches.insert(key.clone(), id),
        };
        self.series.push((form, key.clone()));
        self.kinds.insert(id, kind);
    }
}

/// Finds the numbers of series, and gives new ones.
struct Resolver<'a> {
    index: &'a Index,
    births: &'a mut Births,
    /// The first number that was never given.
    first_new: SeriesId,
    /// The instants that are taken, both included.
    oldest: Timestamp,
    newest: Timestamp,
    max_series: usize,
    max_sketch_series: usize,
}

impl Resolver<'_> {
    /// The number of the series of a point or a sketch; `None`, and counted, when it cannot be taken.
    fn resolve(
        &mut self,
        form: Form,
        key: &SeriesKey,
        kind: Kind,
        timestamp: Timestamp,
        refused: &mut Refused,
    ) -> Option<SeriesId> {
        if timestamp < self.oldest {
            refused.too_old += 1;
            return None;
        }
        if timestamp > self.newest {
            refused.too_new += 1;
            return None;
        }
        if let Some(id) = self.index.id(form, key).or_else(|| self.births.ids(form).get(key).copied()) {
            let known_kind = self.births.kinds.get(&id).copied().or_else(|| self.index.get(id).map(|entry| entry.kind));
            if kind != Kind::Untyped && known_kind != Some(kind) {
                self.births.kinds.insert(id, kind);
            }
            return Some(id);
        }
        if key.name().split('.').nth(MOST_PARTS).is_some() {
            refused.too_deep += 1;
            return None;
        }
        let most = match form {
            Form::Points => self.max_series,
            Form::Sketches => self.max_sketch_series,
        };
        let is_room = self.index.len(form) + self.births.ids(form).len() < most;
        let Some(id) = self.first_new.checked_add(self.births.series.len() as SeriesId).filter(|_| is_room) else {
            refused.series_limit += 1;
            return None;
        };
        self.births.add(id, form, key, kind);
        Some(id)
    }

    /// The points of a batch that can be taken.
    fn points(&mut self, rows: &[Row], refused: &mut Refused) -> Vec<LogPoint> {
        let mut points = Vec::with_capacity(rows.len());
        for Row { key, kind, point } in rows {
            if point.value.is_nan() {
                refused.not_a_number += 1;
            } else if let Some(id) = self.resolve(Form::Points, key, *kind, point.timestamp, refused) {
                points.push(LogPoint { id, timestamp: point.timestamp, value: point.value });
            }
        }
        points
    }

    /// The sketches of a batch that can be taken.
    fn sketches(&mut self, rows: &[SketchRow], refused: &mut Refused) -> Vec<LogSketch> {
        let mut sketches = Vec::with_capacity(rows.len());
        for SketchRow { key, timestamp, sketch } in rows {
            if sketch.is_empty() {
                refused.not_a_number += 1;
            } else if let Some(id) = self.resolve(Form::Sketches, key, Kind::Untyped, *timestamp, refused) {
                let mut bytes = Vec::new();
                sketch.encode(&mut bytes);
                sketches.push(LogSketch { id, timestamp: *timestamp, bytes });
            }
        }
        sketches
    }
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
        let mut bytes = Vec::new();
        log::encode_part(&mut bytes, mark, part)
            .map_err(|source| StoreError::io("compress a batch for", &self.log_directory, source))?;
        if !self.logs.contains_key(&start) {
            let number = self.next_log;
            self.next_log += 1;
            self.logs.insert(start, LogWriter::create(&self.log_directory, number)?);
        }
        if let Some(log) = self.logs.get_mut(&start) {
            lengths_before.push((start, log.length()));
            log.append(&bytes)?;
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
        let mut births = Births::default();
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
    fn take(&self, appender: &Appender, batch: &Batch, births: &mut Births, appended: &mut Appended) -> Taken {
        let now = self.config.clock.now();
        let oldest = now.offset(-millis(self.config.retention));
        let newest = now.offset(millis(self.config.max_ahead));
        let (points, sketches) = {
            let index = self.index.read();
            let mut resolver = Resolver {
                index: &index,
                births,
                first_new: appender.next_series,
                oldest,
                newest,
                max_series: self.config.max_series,
                max_sketch_series: self.config.max_sketch_series,
            };
            let points = resolver.points(&batch.rows, &mut appended.refused);
            (points, resolver.sketches(&batch.sketches, &mut appended.refused_sketches))
        };
        let admitted = self.events.read().admit(&batch.events, oldest, newest);
        appended.points = points.len() as u64;
        appended.sketches = sketches.len() as u64;
        appended.events = admitted.new.len() as u64;
        appended.known_events = admitted.known;
        appended.refused_events = admitted.refused;
        Taken { parts: self.part(points, sketches), events: admitted.new }
    }

    /// Makes new series and kinds known, first to the catalogue and then to the index.
    fn bear(&self, appender: &mut Appender, births: &Births) -> Result<(), StoreError> {
        if births.kinds.is_empty() {
            return Ok(());
        }
        let first = appender.next_series;
        let kind_of = |id| births.kinds.get(&id).copied().unwrap_or_default();
        let born = (first..).zip(&births.series).map(|(id, (form, key))| catalogue::Event::Born {
            id,
            form: *form,
            kind: kind_of(id),
            key: key.clone(),
        });
        let changed = births.kinds.iter().filter(|(id, _)| **id < first);
        let changed = changed.map(|(id, kind)| catalogue::Event::Kind { id: *id, kind: *kind });
        let events: Vec<_> = born.chain(changed).collect();
        appender.catalogue.append(&events)?;
        appender.next_series += births.series.len() as SeriesId;
        self.next_series.store(appender.next_series, Ordering::SeqCst);
        let mut index = self.index.write();
        for event in events {
            match event {
                catalogue::Event::Born { id, form, kind, key } => index.insert(id, form, &key, kind, 0),
                catalogue::Event::Kind { id, kind } => index.set_kind(id, kind),
                catalogue::Event::Gone { id } => index.remove(id),
            }
        }
        Ok(())
    }

    /// Points and sketches by the window they belong to, in the order of their series.
    fn part(&self, mut points: Vec<LogPoint>, mut sketches: Vec<LogSketch>) -> BTreeMap<Timestamp, Part> {
        // Stable: of two points of one series and instant, the later in the batch stays.
        points.sort_by_key(|point| point.id);
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
        for point in points {
            let window = window_of(point.timestamp);
            parts.entry(window.from).or_insert_with(|| Part::new(window)).points.push(point);
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
            let head = state.head_mut(part.window);
            if let Some(log) = appender.logs.get(start) {
                head.add_log(log.number);
            }
            head.touched = std::time::Instant::now();
            for point in &part.points {
                head.push(point.id, point.timestamp, point.value);
            }
            for sketch in &part.sketches {
                head.push_sketch(sketch.id, sketch.timestamp, &sketch.bytes);
            }
        }
        self.note_head_bytes(&state);
        drop(state);
        let mut index = self.index.write();
        for part in parts.values() {
            index.saw_all(part.points.iter().map(|point| (point.id, point.timestamp)));
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
