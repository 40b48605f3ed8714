//! The points and sketches of one span of time that are in memory and in the log, not yet in a block.
//!
//! Each column is shared by reference with the reads that are under way; a push into a column that is being read copies
//! it first, so a read sees the column as it was and nobody waits.

use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;
use statline_series::{TimeRange, Timestamp};

use crate::SeriesId;
use crate::column::Column;
use crate::points::Points;
use crate::sketch_column::{SketchColumn, Sketches};

/// What a column costs beside its points: its place in the map and its own fields.
const COLUMN_BYTES: u64 = 96;

/// One window of the head.
#[derive(Debug)]
pub(crate) struct Head {
    range: TimeRange,
    columns: FxHashMap<SeriesId, Arc<Column>>,
    sketch_columns: FxHashMap<SeriesId, Arc<SketchColumn>>,
    /// Points put in, those that took another's place counted again.
    pub(crate) points: u64,
    /// Sketches put in, likewise.
    pub(crate) sketches: u64,
    pub(crate) bytes: u64,
    newest: Timestamp,
    /// The numbers of the log files that hold these points.
    pub(crate) logs: Vec<u64>,
    /// The newest batch whose fate was known when the window was closed.
    pub(crate) acknowledged: u64,
    pub(crate) opened: Instant,
    pub(crate) touched: Instant,
}

impl Head {
    pub(crate) fn new(range: TimeRange) -> Self {
        let now = Instant::now();
        Self {
            range,
            columns: FxHashMap::default(),
            sketch_columns: FxHashMap::default(),
            points: 0,
            sketches: 0,
            bytes: 0,
            newest: range.from,
            logs: Vec::new(),
            acknowledged: 0,
            opened: now,
            touched: now,
        }
    }

    pub(crate) const fn range(&self) -> TimeRange {
        self.range
    }

    /// The instant of the newest point or sketch.
    pub(crate) const fn newest(&self) -> Timestamp {
        self.newest
    }

    /// Ends the window earlier, after its newest point.
    pub(crate) fn end_at(&mut self, until: Timestamp) {
        debug_assert!(self.newest < until && until <= self.range.until);
        self.range.until = until;
    }

    pub(crate) fn add_log(&mut self, number: u64) {
        if !self.logs.contains(&number) {
            self.logs.push(number);
        }
    }

    /// Puts a point in, which is inside the window and not NaN.
    pub(crate) fn push(&mut self, id: SeriesId, timestamp: Timestamp, value: f64) {
        debug_assert!(self.range.contains(timestamp) && !value.is_nan());
        let offset = self.offset(timestamp);
        match self.columns.get_mut(&id) {
            Some(column) => {
                let column = Arc::make_mut(column);
                let before = column.heap_bytes();
                column.push(offset, value);
                self.bytes = (self.bytes + column.heap_bytes() as u64).saturating_sub(before as u64);
            }
            None => {
                let column = Column::new(offset, value);
                self.bytes += COLUMN_BYTES + column.heap_bytes() as u64;
                self.columns.insert(id, Arc::new(column));
            }
        }
        self.points += 1;
        self.newest = self.newest.max(timestamp);
    }

    /// Puts a sketch in, which is inside the window.
    pub(crate) fn push_sketch(&mut self, id: SeriesId, timestamp: Timestamp, sketch: &[u8]) {
        debug_assert!(self.range.contains(timestamp));
        let offset = self.offset(timestamp);
        let column = self.sketch_columns.entry(id).or_insert_with(|| {
            self.bytes += COLUMN_BYTES;
            Arc::default()
        });
        let column = Arc::make_mut(column);
        let before = column.heap_bytes();
        column.push(offset, sketch);
        self.bytes = (self.bytes + column.heap_bytes() as u64).saturating_sub(before as u64);
        self.sketches += 1;
        self.newest = self.newest.max(timestamp);
    }

    pub(crate) fn column(&self, id: SeriesId) -> Option<Arc<Column>> {
        self.columns.get(&id).map(Arc::clone)
    }

    pub(crate) fn sketch_column(&self, id: SeriesId) -> Option<Arc<SketchColumn>> {
        self.sketch_columns.get(&id).map(Arc::clone)
    }

    /// The series that have points or sketches here, in the order of their numbers.
    pub(crate) fn series(&self) -> Vec<SeriesId> {
        let mut series: Vec<SeriesId> = self.columns.keys().chain(self.sketch_columns.keys()).copied().collect();
        series.sort_unstable();
        series
    }

    /// Pushes the points of one of this window's columns that are in `range`.
    pub(crate) fn read(&self, column: &Column, range: TimeRange, out: &mut Points) {
        read_column(self.range.from, column, range, out);
    }

    fn offset(&self, timestamp: Timestamp) -> u32 {
        offset_from(self.range.from, timestamp)
    }
}

/// Pushes the points in `range` of a column whose window begins at `start`.
pub(crate) fn read_column(start: Timestamp, column: &Column, range: TimeRange, out: &mut Points) {
    column.read(start.millis(), offset_from(start, range.from), offset_from(start, range.until), out);
}

/// Puts in the sketches in `range` of a column whose window begins at `start`.
pub(crate) fn read_sketches(start: Timestamp, column: &SketchColumn, range: TimeRange, out: &mut Sketches) {
    column.read(start.millis(), offset_from(start, range.from), offset_from(start, range.until), out);
}

/// Milliseconds from the start of a window; the ends for what lies outside.
fn offset_from(start: Timestamp, timestamp: Timestamp) -> u32 {
    let distance = timestamp.millis().saturating_sub(start.millis());
    if distance < 0 { 0 } else { u32::try_from(distance).unwrap_or(u32::MAX) }
}
