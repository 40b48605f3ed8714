//! The points and sketches of one span of time that are in memory and in the log, not yet in a block.
//!
//! Series that tick evenly, which are nearly all, live in *groups*, tables of one row a tick, at eight bytes a point and
//! next to nothing beside. A series whose points fit no grid has a *column* of its own. A series is in one or the other;
//! where, a table by number says, so that no push has to search.
//!
//! What reads refer to is shared with them; a push into it copies it first, so a read sees it as it was and nobody waits.

use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;
use statline_series::{Step, TimeRange, Timestamp};

use crate::SeriesId;
use crate::column::Column;
use crate::flush::FlushColumns;
use crate::group::{Grid, Group, LANES};
use crate::points::Points;
use crate::sketch_column::{SketchColumn, Sketches};

/// What a column costs beside its points: its place in a table and its own fields.
const COLUMN_BYTES: u64 = 96;
/// The most grids of a window. Series of further ones have columns of their own.
const MOST_GRIDS: usize = 64;
/// The most points that are put into a group in one step.
const LONGEST_RUN: usize = 64;
/// Of a series that leaves its grid, the points may be this thin on the next one.
const SLOTS_A_POINT: u32 = 8;

/// Where a series is in a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Lane { group: usize, lane: usize },
    Own(usize),
}

impl Place {
    const OWN: u32 = 1 << 31;

    fn of_number(number: u32) -> Self {
        if number & Self::OWN == 0 {
            let number = number as usize;
            Self::Lane { group: number / LANES, lane: number % LANES }
        } else {
            Self::Own((number & !Self::OWN) as usize)
        }
    }

    /// There are fewer series than 2^31 in memory.
    const fn number(self) -> u32 {
        match self {
            Self::Lane { group, lane } => (group * LANES + lane) as u32,
            Self::Own(place) => place as u32 | Self::OWN,
        }
    }
}

/// The places of series by their numbers, in pages, since a head may hold few of many.
#[derive(Debug, Default)]
struct Places {
    pages: Vec<Option<Box<[u32; Self::PAGE]>>>,
}

impl Places {
    const PAGE: usize = 1024;
    const NONE: u32 = u32::MAX;

    fn get(&self, id: SeriesId) -> Option<Place> {
        let page = self.pages.get(id as usize / Self::PAGE)?.as_ref()?;
        Some(page[id as usize % Self::PAGE]).filter(|number| *number != Self::NONE).map(Place::of_number)
    }

    /// Puts a place in, and tells how many bytes that took.
    fn set(&mut self, id: SeriesId, place: Place) -> u64 {
        let page = id as usize / Self::PAGE;
        if self.pages.len() <= page {
            self.pages.resize(page + 1, None);
        }
        let mut taken = 0;
        let numbers = self.pages[page].get_or_insert_with(|| {
            taken = (Self::PAGE * size_of::<u32>()) as u64;
            Box::new([Self::NONE; Self::PAGE])
        });
        numbers[id as usize % Self::PAGE] = place.number();
        taken
    }

    /// The series that have a place, ascending.
    fn series(&self) -> impl Iterator<Item = SeriesId> + '_ {
        let pages = self.pages.iter().enumerate().filter_map(|(page, numbers)| Some((page, numbers.as_ref()?)));
        pages.flat_map(|(page, numbers)| {
            let taken = numbers.iter().enumerate().filter(|(_, number)| **number != Self::NONE);
            taken.map(move |(place, _)| (page * Self::PAGE + place) as SeriesId)
        })
    }
}

/// The lanes of one grid that wait for a series.
#[derive(Debug)]
struct FreeLanes {
    grid: Grid,
    lanes: Vec<Place>,
}

/// One window of the head.
#[derive(Debug)]
pub(crate) struct Head {
    range: TimeRange,
    /// The step that a series is thought to have until its second point, in milliseconds.
    usual_step: u32,
    places: Places,
    groups: Vec<Arc<Group>>,
    grids: Vec<FreeLanes>,
    own: Vec<Arc<Column>>,
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

/// The points of one series in a head, as they were when it was asked for.
#[derive(Clone, Debug)]
pub(crate) enum HeadColumn {
    Lane { group: Arc<Group>, lane: usize },
    Own(Arc<Column>),
}

impl Head {
    /// An empty window whose series mostly have a point every `usual_step`.
    pub(crate) fn new(range: TimeRange, usual_step: Step) -> Self {
        let now = Instant::now();
        Self {
            range,
            usual_step: u32::try_from(usual_step.millis()).unwrap_or(u32::MAX),
            places: Places::default(),
            groups: Vec::new(),
            grids: Vec::new(),
            own: Vec::new(),
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

    /// Puts points in, which are inside the window and not NaN.
    pub(crate) fn push_all(&mut self, points: &FlushColumns) {
        let Some((oldest, newest)) = points.span() else { return };
        debug_assert!(self.range.contains(oldest) && self.range.contains(newest));
        let mut next = 0;
        while next < points.len() {
            next += self.push_run(points, next);
        }
        self.points += points.len() as u64;
        self.newest = self.newest.max(newest);
    }

    /// Puts the point at `from` in, and those after it that go into the same row of the same group. Tells how many.
    fn push_run(&mut self, points: &FlushColumns, from: usize) -> usize {
        let (ids, values) = (points.ids(), points.values());
        let timestamp = points.timestamp(from);
        let offset = self.offset(timestamp);
        let place = self.places.get(ids[from]);
        let row = place.and_then(|place| {
            let Place::Lane { group, .. } = place else { return None };
            let slot = self.groups[group].grid().slot(offset)?;
            self.groups[group].has_room(slot).then_some((group, slot))
        });
        if let Some((group, slot)) = row {
            let mut lanes = [0; LONGEST_RUN];
            let mut length = 0;
            while length < LONGEST_RUN && from + length < ids.len() && points.timestamp(from + length) == timestamp {
                match self.places.get(ids[from + length]) {
                    Some(Place::Lane { group: its_group, lane }) if its_group == group => lanes[length] = lane as u8,
                    _ => break,
                }
                length += 1;
            }
            let group = Arc::make_mut(&mut self.groups[group]);
            let written = group.put_row(slot, &lanes[..length], &values[from..from + length]);
            if written > 0 {
                return written;
            }
        }
        self.push(ids[from], place, offset, values[from]);
        1
    }

    /// Puts one point in, wherever there is or can be a place for it.
    fn push(&mut self, id: SeriesId, place: Option<Place>, offset: u32, value: f64) {
        match place {
            None => match self.free_lane(Grid::at(offset, self.usual_step)) {
                Some(free) => self.settle(id, free, [(offset, value)]),
                None => self.push_own(id, [(offset, value)]),
            },
            Some(Place::Own(own)) => {
                let column = Arc::make_mut(&mut self.own[own]);
                let before = column.heap_bytes();
                column.push(offset, value);
                self.bytes = (self.bytes + column.heap_bytes() as u64).saturating_sub(before as u64);
            }
            Some(Place::Lane { group: number, lane }) => {
                let group = &self.groups[number];
                match group.grid().slot(offset).filter(|slot| !group.is_out_of_step(lane, *slot)) {
                    Some(slot) => self.bytes += Arc::make_mut(&mut self.groups[number]).put(lane, slot, value),
                    None => self.push_elsewhere(id, number, lane, offset, value),
                }
            }
        }
    }

    /// Puts in a point that does not fit the series' lane, and takes the series with it to where both fit.
    fn push_elsewhere(&mut self, id: SeriesId, group: usize, lane: usize, offset: u32, value: f64) {
        let grid = self.groups[group].grid();
        let mut points = Arc::make_mut(&mut self.groups[group]).take(lane);
        self.free(grid, Place::Lane { group, lane });
        let usual = Grid::at(offset, self.usual_step);
        let target = match points.as_slice() {
            [(only, _)] => Some(Grid::at(offset, only.abs_diff(offset).max(1))),
            [(first, _), .., (last, _)] if grid != usual && grid.is_within(usual) => {
                let slots = last.abs_diff(*first).max(offset.abs_diff(*first)) / usual.step();
                Some(usual).filter(|_| slots <= points.len() as u32 * SLOTS_A_POINT)
            }
            _ => None,
        };
        points.push((offset, value));
        match target.and_then(|grid| self.free_lane(grid)) {
            Some(free) => self.settle(id, free, points),
            None => self.push_own(id, points),
        }
    }

    /// Gives a series a lane, and puts its points there.
    fn settle(&mut self, id: SeriesId, free: Place, points: impl IntoIterator<Item = (u32, f64)>) {
        self.bytes += self.places.set(id, free);
        let Place::Lane { group, lane } = free else { return };
        let group = Arc::make_mut(&mut self.groups[group]);
        for (offset, value) in points {
            if let Some(slot) = group.grid().slot(offset) {
                self.bytes += group.put(lane, slot, value);
            }
        }
    }

    /// Gives a series a column of its own, and puts its points there.
    fn push_own(&mut self, id: SeriesId, points: impl IntoIterator<Item = (u32, f64)>) {
        let mut points = points.into_iter();
        let Some((offset, value)) = points.next() else { return };
        let mut column = Column::new(offset, value);
        points.for_each(|(offset, value)| column.push(offset, value));
        self.bytes += COLUMN_BYTES + column.heap_bytes() as u64 + self.places.set(id, Place::Own(self.own.len()));
        self.own.push(Arc::new(column));
    }

    /// A lane that no series has; `None` when there are too many grids for one more.
    fn free_lane(&mut self, grid: Grid) -> Option<Place> {
        let number = match self.grids.iter().position(|free| free.grid == grid) {
            Some(number) => number,
            None if self.grids.len() == MOST_GRIDS => return None,
            None => {
                self.grids.push(FreeLanes { grid, lanes: Vec::new() });
                self.grids.len() - 1
            }
        };
        let free = &mut self.grids[number].lanes;
        if free.is_empty() {
            let group = self.groups.len();
            // The first lane is taken first.
            free.extend((0..LANES).rev().map(|lane| Place::Lane { group, lane }));
            self.groups.push(Arc::new(Group::new(grid)));
            self.bytes += Group::BYTES;
        }
        free.pop()
    }

    fn free(&mut self, grid: Grid, place: Place) {
        if let Some(free) = self.grids.iter_mut().find(|free| free.grid == grid) {
            free.lanes.push(place);
        }
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

    pub(crate) fn column(&self, id: SeriesId) -> Option<HeadColumn> {
        Some(match self.places.get(id)? {
            Place::Lane { group, lane } => HeadColumn::Lane { group: Arc::clone(&self.groups[group]), lane },
            Place::Own(own) => HeadColumn::Own(Arc::clone(&self.own[own])),
        })
    }

    pub(crate) fn sketch_column(&self, id: SeriesId) -> Option<Arc<SketchColumn>> {
        self.sketch_columns.get(&id).map(Arc::clone)
    }

    /// The series that have points or sketches here, in the order of their numbers.
    pub(crate) fn series(&self) -> Vec<SeriesId> {
        let mut series: Vec<SeriesId> = self.places.series().chain(self.sketch_columns.keys().copied()).collect();
        series.sort_unstable();
        series
    }

    /// Pushes the points of one of this window's columns that are in `range`.
    pub(crate) fn read(&self, column: &HeadColumn, range: TimeRange, out: &mut Points) {
        read_column(self.range.from, column, range, out);
    }

    fn offset(&self, timestamp: Timestamp) -> u32 {
        offset_from(self.range.from, timestamp)
    }
}

/// Pushes the points in `range` of a column whose window begins at `start`.
pub(crate) fn read_column(start: Timestamp, column: &HeadColumn, range: TimeRange, out: &mut Points) {
    let (from, until) = (offset_from(start, range.from), offset_from(start, range.until));
    match column {
        HeadColumn::Lane { group, lane } => group.read(*lane, start.millis(), from, until, out),
        HeadColumn::Own(column) => column.read(start.millis(), from, until, out),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const START: i64 = 1_000_000;

    fn head() -> Head {
        let range = TimeRange::new(Timestamp::from_millis(START), Timestamp::from_millis(START + 7_200_000));
        Head::new(range, Step::from_seconds(10).unwrap())
    }

    /// Puts in one flush of offsets in seconds.
    fn push(head: &mut Head, points: &[(SeriesId, i64, f64)]) {
        let mut columns = FlushColumns::default();
        points.iter().for_each(|(id, offset, value)| {
            columns.push(*id, Timestamp::from_millis(START + offset * 1000), *value);
        });
        head.push_all(&columns);
    }

    fn read(head: &Head, id: SeriesId, range: TimeRange) -> Vec<(i64, f64)> {
        let mut points = Points::default();
        if let Some(column) = head.column(id) {
            head.read(&column, range, &mut points);
        }
        points.timestamps.into_iter().map(|time| (time - START) / 1000).zip(points.values).collect()
    }

    fn is_own(head: &Head, id: SeriesId) -> bool {
        matches!(head.column(id), Some(HeadColumn::Own(_)))
    }

    #[test]
    fn a_series_of_an_even_tick_costs_little_more_than_its_values() {
        let mut head = head();
        for tick in 0..32 {
            let points: Vec<_> = (0..4096).map(|id| (id, tick * 10, tick as f64)).collect();
            push(&mut head, &points);
        }
        assert_eq!(read(&head, 77, TimeRange::ALL).len(), 32);
        let bytes = head.bytes as f64 / f64::from(4096 * 32);
        assert!(bytes < 9.0, "{bytes} bytes a point");
    }

    #[test]
    fn a_series_of_a_coarser_tick_gets_a_grid_of_its_own() {
        let mut head = head();
        for tick in 0..12 {
            push(&mut head, &[(1, tick * 10, 0.0), (2, tick / 6 * 60, tick as f64)]);
        }
        let HeadColumn::Lane { group, .. } = head.column(2).unwrap() else { panic!("not in a group") };
        assert_eq!(group.grid(), Grid::at(0, 60_000));
        assert_eq!(read(&head, 2, TimeRange::ALL), [(0, 5.0), (60, 11.0)]);
        // It only missed ticks, as the next point shows.
        push(&mut head, &[(2, 70, 1.0)]);
        let HeadColumn::Lane { group, .. } = head.column(2).unwrap() else { panic!("not in a group") };
        assert_eq!(group.grid(), Grid::at(0, 10_000));
        assert_eq!(read(&head, 2, TimeRange::ALL), [(0, 5.0), (60, 11.0), (70, 1.0)]);
        assert_eq!(head.series(), [1, 2]);
    }

    #[test]
    fn a_series_of_no_tick_or_of_few_points_has_a_column_of_its_own() {
        let mut head = head();
        for offset in [0, 10, 20, 33] {
            push(&mut head, &[(1, offset, 1.0)]);
        }
        assert!(is_own(&head, 1));
        push(&mut head, &[(2, 0, 1.0), (2, 10, 1.0), (2, 2000, 1.0)]);
        assert!(is_own(&head, 2));
        for id in 100..200 {
            push(&mut head, &[(id, i64::from(id) * 13 % 1000, 1.0)]);
            push(&mut head, &[(id, i64::from(id) * 7 % 100 + 1001, 1.0)]);
        }
        assert_eq!(head.grids.len(), MOST_GRIDS);
        assert!(is_own(&head, 199));
    }

    #[test]
    fn a_lane_that_is_left_is_given_to_another() {
        let mut head = head();
        push(&mut head, &[(1, 0, 1.0), (1, 10, 2.0), (1, 13, 3.0), (2, 0, 4.0)]);
        assert!(is_own(&head, 1));
        assert_eq!(head.groups.len(), 1);
        assert_eq!(read(&head, 2, TimeRange::ALL), [(0, 4.0)]);
    }

    proptest! {
        #[test]
        fn a_head_holds_what_a_map_would(
            flushes in prop::collection::vec(
                prop::collection::vec((0_u32..40, prop_oneof![
                    6 => (0_i64..24).prop_map(|slot| slot * 10),
                    2 => (0_i64..12).prop_map(|slot| slot * 60),
                    2 => (0_i64..200).prop_map(|slot| slot * 30 + 5),
                    1 => 0_i64..7200,
                ], -9.0..9.0_f64), 1..40), 1..12),
            same_instants: bool,
            from in 0_i64..300,
            length in 0_i64..7200,
        ) {
            let mut head = head();
            let mut model: BTreeMap<SeriesId, BTreeMap<i64, f64>> = BTreeMap::new();
            let mut taken = Vec::new();
            for mut flush in flushes {
                if same_instants {
                    let instant = flush[0].1;
                    flush.iter_mut().for_each(|(_, offset, _)| *offset = instant);
                }
                push(&mut head, &flush);
                for (id, offset, value) in flush {
                    model.entry(id).or_default().insert(offset, value);
                }
                // A reader that holds everything as it is.
                taken.push((model.clone(), (0..40).map(|id| head.column(id)).collect::<Vec<_>>()));
            }
            prop_assert_eq!(head.series(), model.keys().copied().collect::<Vec<_>>());
            let ms = |offset: i64| Timestamp::from_millis(START + offset * 1000);
            for (id, points) in &model {
                let expected: Vec<_> = points.range(from..from + length).map(|(offset, value)| (*offset, *value)).collect();
                prop_assert_eq!(read(&head, *id, TimeRange::new(ms(from), ms(from + length))), expected);
            }
            for (model, columns) in taken {
                for (id, column) in (0..).zip(columns) {
                    let mut points = Points::default();
                    if let Some(column) = column {
                        read_column(Timestamp::from_millis(START), &column, TimeRange::ALL, &mut points);
                    }
                    let expected: Vec<f64> = model.get(&id).into_iter().flat_map(|points| points.values().copied()).collect();
                    prop_assert_eq!(points.values, expected);
                }
            }
        }
    }
}
