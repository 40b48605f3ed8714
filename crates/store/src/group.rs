//! Some series that tick together, in the head: a table of one row a tick and one lane a series.
//!
//! The rows are kept in tiles of a few ticks each. A flush writes the lanes of a row one after the other, a read goes down
//! one lane, and neither looks for anything. Groups and tiles are shared by reference with the reads that are under way;
//! a write into one that is being read copies it first, so a read sees it as it was.

use std::sync::Arc;

use crate::points::Points;

/// Series in a group.
pub(crate) const LANES: usize = 32;
/// Ticks in a tile.
const ROWS: usize = 8;
/// Slots that a lane may span before it has to be filled.
const FREE_SLOTS: u32 = 2 * ROWS as u32;
/// The most slots for each point of a lane, beyond which it is not worth its place.
const SLOTS_A_POINT: u32 = 8;

/// Values by row and lane; NaN where there is none.
type Tile = [[f64; LANES]; ROWS];

/// When a group ticks: offsets in milliseconds from the start of the head's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Below the step.
    phase: u32,
    /// Above 0.
    step: u32,
}

impl Grid {
    /// The grid of a step that has a tick at an offset.
    pub(crate) const fn at(offset: u32, step: u32) -> Self {
        Self { phase: offset % step, step }
    }

    pub(crate) const fn step(self) -> u32 {
        self.step
    }

    /// Whether every tick of this grid is one of another.
    pub(crate) const fn is_within(self, other: Self) -> bool {
        self.step.is_multiple_of(other.step) && self.phase % other.step == other.phase
    }

    /// Which tick an offset is.
    pub(crate) fn slot(self, offset: u32) -> Option<u32> {
        let distance = offset.checked_sub(self.phase)?;
        distance.is_multiple_of(self.step).then(|| distance / self.step)
    }

    /// The first tick at or after an offset.
    const fn slot_after(self, offset: u32) -> u32 {
        offset.saturating_sub(self.phase).div_ceil(self.step)
    }

    const fn offset(self, slot: u32) -> u32 {
        self.phase.saturating_add(slot.saturating_mul(self.step))
    }
}

/// What is known of a lane.
#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    /// How many values there are.
    present: u32,
    /// The slot of the value that came first.
    first: u32,
}

/// Series that tick together.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    grid: Grid,
    /// Which tile of the window the first of the tiles is.
    first_tile: u32,
    tiles: Vec<Option<Arc<Tile>>>,
    lanes: [Lane; LANES],
}

impl Group {
    /// What a tile takes, with the counts and the place of its reference.
    pub(crate) const TILE_BYTES: u64 = (size_of::<Tile>() + 4 * size_of::<usize>()) as u64;
    /// What a group takes without tiles, and its place in the head.
    pub(crate) const BYTES: u64 = (size_of::<Self>() + 4 * size_of::<usize>()) as u64;

    pub(crate) fn new(grid: Grid) -> Self {
        Self { grid, first_tile: 0, tiles: Vec::new(), lanes: [Lane::default(); LANES] }
    }

    pub(crate) const fn grid(&self) -> Grid {
        self.grid
    }

    fn tile(&self, slot: u32) -> Option<&Arc<Tile>> {
        let place = (slot / ROWS as u32).checked_sub(self.first_tile)?;
        self.tiles.get(place as usize)?.as_ref()
    }

    /// Whether there is room for a value without anything being made for it.
    pub(crate) fn has_room(&self, slot: u32) -> bool {
        self.tile(slot).is_some()
    }

    /// Writes values into one row that there is room for, and tells how many: it stops at the second value of a lane that
    /// seems to have a step of its own.
    pub(crate) fn put_row(&mut self, slot: u32, lanes: &[u8], values: &[f64]) -> usize {
        let place = (slot / ROWS as u32).wrapping_sub(self.first_tile) as usize;
        let Some(Some(tile)) = self.tiles.get_mut(place) else { return 0 };
        let row = &mut Arc::make_mut(tile)[slot as usize % ROWS];
        for (written, (lane, value)) in lanes.iter().zip(values).enumerate() {
            let lane = usize::from(*lane) % LANES;
            if row[lane].is_nan() {
                let known = &mut self.lanes[lane];
                if known.present == 1 && slot.abs_diff(known.first) != 1 {
                    return written;
                }
                known.present += 1;
            }
            row[lane] = *value;
        }
        lanes.len()
    }

    /// Whether a value does not fit a lane though it is on its grid: the second one when it is more than a step away, and
    /// any that would leave the lane mostly empty.
    pub(crate) fn is_out_of_step(&self, lane: usize, slot: u32) -> bool {
        let Lane { present, first } = self.lanes[lane];
        let distance = slot.abs_diff(first);
        if present == 1 && distance > 1 {
            return true;
        }
        let is_sparse = distance >= FREE_SLOTS && (present + 1).saturating_mul(SLOTS_A_POINT) < distance;
        is_sparse && !self.has_room(slot)
    }

    /// Writes a value, and tells how many bytes that took.
    pub(crate) fn put(&mut self, lane: usize, slot: u32, value: f64) -> u64 {
        let known = &mut self.lanes[lane];
        if known.present == 0 {
            known.first = slot;
        }
        let wanted = slot / ROWS as u32;
        let mut taken = 0;
        if self.tiles.is_empty() {
            self.first_tile = wanted;
        }
        let missing = self.first_tile.saturating_sub(wanted) as usize;
        self.tiles.splice(0..0, std::iter::repeat_n(None, missing));
        self.first_tile = self.first_tile.min(wanted);
        let place = (wanted - self.first_tile) as usize;
        if self.tiles.len() <= place {
            self.tiles.resize(place + 1, None);
        }
        let tile = self.tiles[place].get_or_insert_with(|| {
            taken = Self::TILE_BYTES;
            Arc::new([[f64::NAN; LANES]; ROWS])
        });
        let cell = &mut Arc::make_mut(tile)[slot as usize % ROWS][lane];
        known.present += u32::from(cell.is_nan());
        *cell = value;
        taken
    }

    /// Empties a lane, and tells what it held: offsets and values in time order.
    pub(crate) fn take(&mut self, lane: usize) -> Vec<(u32, f64)> {
        let mut taken = Vec::new();
        self.for_each(lane, 0, u32::MAX, |offset, value| taken.push((offset, value)));
        for (offset, _) in &taken {
            let Some(slot) = self.grid.slot(*offset) else { continue };
            let place = (slot / ROWS as u32).wrapping_sub(self.first_tile) as usize;
            if let Some(Some(tile)) = self.tiles.get_mut(place) {
                Arc::make_mut(tile)[slot as usize % ROWS][lane] = f64::NAN;
            }
        }
        self.lanes[lane] = Lane::default();
        taken
    }

    /// Pushes the points of a lane from `from` up to but not including `until`, with `start` added to each instant.
    pub(crate) fn read(&self, lane: usize, start: i64, from: u32, until: u32, out: &mut Points) {
        self.for_each(lane, from, until, |offset, value| out.push(start.saturating_add(i64::from(offset)), value));
    }

    fn for_each(&self, lane: usize, from: u32, until: u32, mut visit: impl FnMut(u32, f64)) {
        let first_slot = self.first_tile * ROWS as u32;
        let end = self.grid.slot_after(until).min(first_slot + (self.tiles.len() * ROWS) as u32);
        let mut slot = self.grid.slot_after(from).max(first_slot);
        while slot < end {
            let end_of_tile = (slot / ROWS as u32 + 1) * ROWS as u32;
            if let Some(tile) = self.tile(slot) {
                for slot in slot..end_of_tile.min(end) {
                    let value = tile[slot as usize % ROWS][lane];
                    if !value.is_nan() {
                        visit(self.grid.offset(slot), value);
                    }
                }
            }
            slot = end_of_tile;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(group: &Group, lane: usize) -> Vec<(i64, f64)> {
        let mut points = Points::default();
        group.read(lane, 1000, 0, u32::MAX, &mut points);
        points.timestamps.into_iter().zip(points.values).collect()
    }

    #[test]
    fn a_grid_knows_its_ticks() {
        let grid = Grid::at(25, 10);
        assert_eq!([5, 15, 6, 4].map(|offset| grid.slot(offset)), [Some(0), Some(1), None, None]);
        assert!(Grid::at(45, 20).is_within(grid));
        assert!(!Grid::at(40, 20).is_within(grid));
        assert!(!grid.is_within(Grid::at(45, 20)));
    }

    #[test]
    fn rows_are_written_where_there_is_room_and_read_down_the_lanes() {
        let mut group = Group::new(Grid::at(0, 10));
        assert_eq!(group.put_row(9, &[0, 1], &[1.0, 2.0]), 0, "no room yet");
        assert_eq!(group.put(0, 9, 1.0), Group::TILE_BYTES);
        assert_eq!(group.put(1, 9, 2.0), 0);
        assert_eq!(group.put_row(10, &[0, 1], &[3.0, 4.0]), 2);
        assert_eq!(group.put_row(12, &[0, 1], &[5.0, 6.0]), 2);
        assert_eq!(group.put(0, 3, 0.5), Group::TILE_BYTES, "earlier than all tiles");
        assert_eq!(read_all(&group, 0), [(1030, 0.5), (1090, 1.0), (1100, 3.0), (1120, 5.0)]);
        assert_eq!(read_all(&group, 1), [(1090, 2.0), (1100, 4.0), (1120, 6.0)]);
        assert_eq!(group.take(1), [(90, 2.0), (100, 4.0), (120, 6.0)]);
        assert_eq!(read_all(&group, 1), []);
    }

    #[test]
    fn a_reader_keeps_what_it_took() {
        let mut group = Arc::new(Group::new(Grid::at(0, 10)));
        Arc::make_mut(&mut group).put(0, 0, 1.0);
        let before = Arc::clone(&group);
        Arc::make_mut(&mut group).put(0, 0, 2.0);
        assert_eq!(Arc::make_mut(&mut group).put_row(1, &[0], &[3.0]), 1);
        assert_eq!(read_all(&before, 0), [(1000, 1.0)]);
        assert_eq!(read_all(&group, 0), [(1000, 2.0), (1010, 3.0)]);
    }

    #[test]
    fn a_lane_out_of_step_is_told() {
        let mut group = Group::new(Grid::at(0, 10));
        group.put(0, 0, 1.0);
        group.put(1, 1, 1.0);
        assert_eq!(group.put_row(2, &[1, 0], &[2.0, 2.0]), 1, "the second lane skips a tick at once");
        assert!(group.is_out_of_step(0, 2));
        assert!(!group.is_out_of_step(0, 1));
        assert!(!group.is_out_of_step(1, 17));
        assert!(group.is_out_of_step(1, 40), "three points in forty slots");
    }
}
