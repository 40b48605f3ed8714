//! The way of a batch into the store: resolve the series, write the log, wait for the disk, fill the head.
//!
//! One batch at a time goes this way. Nothing is put into the head before its record is durable, and when a write fails,
//! what was written of the batch is cut off again before anything else is written.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use rustc_hash::FxHashMap;
use statline_series::point::Row;
use statline_series::{Batch, Kind, SeriesKey, TimeRange, Timestamp};

use crate::catalogue::{Catalogue, Event};
use crate::config::millis;
use crate::embedded::Inner;
use crate::log::{self, BatchMark, LogPoint, LogWriter};
use crate::{Appended, Refused, SeriesId, StoreError};

/// The most parts that the name of a new series may have; each is a node of the tree of names.
pub(crate) const MOST_PARTS: usize = 64;
/// Log files kept open between batches. Others are opened again when they are written to.
const MOST_OPEN_LOGS: usize = 64;

/// What only the one that appends may touch.
#[derive(Debug)]
pub(crate) struct Appender {
    pub(crate) catalogue: Catalogue,
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

/// The points of a batch in one window.
struct Part {
    window: TimeRange,
    points: Vec<LogPoint>,
}

/// Series that a batch brings or changes.
#[derive(Default)]
struct Births {
    ids: HashMap<SeriesKey, SeriesId>,
    kinds: FxHashMap<SeriesId, Kind>,
    /// In the order of their numbers.
    keys: Vec<SeriesKey>,
}

impl Appender {
    pub(crate) fn new(catalogue: Catalogue, log_directory: PathBuf) -> Self {
        Self {
            catalogue,
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
        Ok(())
    }

    /// Makes the parts of a batch durable, all of them or none.
    fn write(&mut self, parts: &BTreeMap<Timestamp, Part>) -> Result<(), StoreError> {
        self.sequence += 1;
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let mark = BatchMark { sequence: self.sequence, parts: count };
        let mut lengths_before = Vec::with_capacity(parts.len());
        for (start, part) in parts {
            if let Err(error) = self.write_part(*start, part, mark, &mut lengths_before) {
                self.unclean.append(&mut lengths_before);
                // The next append tries again, and is refused until it works.
                let _ = self.clean();
                return Err(error);
            }
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
        log::encode_batch(&mut bytes, mark, part.window, &part.points)
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
        let mut refused = Refused::default();
        let mut births = Births::default();
        let points = self.resolve(appender, batch, &mut births, &mut refused);
        self.bear(appender, &births)?;
        let taken = points.len() as u64;
        if taken > 0 {
            let parts = self.part(points);
            appender.write(&parts)?;
            self.fill_head(appender, &parts);
        }
        Ok(Appended { points: taken, new_series: births.keys.len() as u64, refused })
    }

    /// The points of a batch that can be taken, with the numbers of their series.
    fn resolve(&self, appender: &Appender, batch: &Batch, births: &mut Births, refused: &mut Refused) -> Vec<LogPoint> {
        let now = self.config.clock.now();
        let oldest = now.offset(-millis(self.config.retention));
        let newest = now.offset(millis(self.config.max_ahead));
        let index = self.index.read();
        let mut points = Vec::with_capacity(batch.rows.len());
        for Row { key, kind, point } in &batch.rows {
            if point.value.is_nan() {
                refused.not_a_number += 1;
            } else if point.timestamp < oldest {
                refused.too_old += 1;
            } else if point.timestamp > newest {
                refused.too_new += 1;
            } else {
                let known = index.id(key).or_else(|| births.ids.get(key).copied());
                let id = match known {
                    Some(id) => id,
                    None if key.name().split('.').nth(MOST_PARTS).is_some() => {
                        refused.too_deep += 1;
                        continue;
                    }
                    None if index.len() + births.keys.len() >= self.config.max_series => {
                        refused.series_limit += 1;
                        continue;
                    }
                    None => {
                        let Some(id) = appender.next_series.checked_add(births.keys.len() as SeriesId) else {
                            refused.series_limit += 1;
                            continue;
                        };
                        births.ids.insert(key.clone(), id);
                        births.keys.push(key.clone());
                        births.kinds.insert(id, *kind);
                        id
                    }
                };
                let known_kind = births.kinds.get(&id).copied().or_else(|| index.get(id).map(|entry| entry.kind));
                if *kind != Kind::Untyped && known_kind != Some(*kind) {
                    births.kinds.insert(id, *kind);
                }
                points.push(LogPoint { id, timestamp: point.timestamp, value: point.value });
            }
        }
        points
    }

    /// Makes new series and kinds known, first to the catalogue and then to the index.
    fn bear(&self, appender: &mut Appender, births: &Births) -> Result<(), StoreError> {
        if births.kinds.is_empty() {
            return Ok(());
        }
        let first = appender.next_series;
        let kind_of = |id| births.kinds.get(&id).copied().unwrap_or_default();
        let born = (first..).zip(&births.keys).map(|(id, key)| Event::Born { id, kind: kind_of(id), key: key.clone() });
        let changed = births.kinds.iter().filter(|(id, _)| **id < first);
        let changed = changed.map(|(id, kind)| Event::Kind { id: *id, kind: *kind });
        let events: Vec<Event> = born.chain(changed).collect();
        appender.catalogue.append(&events)?;
        appender.next_series += births.keys.len() as SeriesId;
        self.next_series.store(appender.next_series, Ordering::SeqCst);
        let mut index = self.index.write();
        for event in events {
            match event {
                Event::Born { id, kind, key } => index.insert(id, key, kind),
                Event::Kind { id, kind } => index.set_kind(id, kind),
                Event::Gone { id } => index.remove(id),
            }
        }
        Ok(())
    }

    /// Points by the window they belong to, in the order of their series.
    fn part(&self, mut points: Vec<LogPoint>) -> BTreeMap<Timestamp, Part> {
        // Stable: of two points of one series and instant, the later in the batch stays.
        points.sort_by_key(|point| point.id);
        let state = self.state.read();
        let mut parts: BTreeMap<Timestamp, Part> = BTreeMap::new();
        let mut window = TimeRange::new(Timestamp::MAX, Timestamp::MIN);
        for point in points {
            if !window.contains(point.timestamp) {
                window = state.window_at(point.timestamp, self.block_step);
            }
            parts.entry(window.from).or_insert_with(|| Part { window, points: Vec::new() }).points.push(point);
        }
        parts
    }

    /// Shows durable points to readers.
    fn fill_head(&self, appender: &Appender, parts: &BTreeMap<Timestamp, Part>) {
        let mut state = self.state.write();
        for (start, part) in parts {
            let head = state.head_mut(part.window);
            if let Some(log) = appender.logs.get(start) {
                head.add_log(log.number);
            }
            head.touched = std::time::Instant::now();
            for point in &part.points {
                head.push(point.id, point.timestamp, point.value);
            }
        }
        self.note_head_bytes(&state);
        drop(state);
        let mut index = self.index.write();
        for point in parts.values().flat_map(|part| &part.points) {
            index.saw(point.id, point.timestamp, point.timestamp);
        }
    }
}
