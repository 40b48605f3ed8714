//! The points of one series in the head.
//!
//! A series that ticks evenly, which is nearly every one, costs eight bytes a point: the values alone, NaN where a tick
//! was missed. One that does not costs twelve. Instants are kept as milliseconds from the start of the head's window.

use crate::points::Points;

/// A regular column may hold this many slots for each point in it before it is kept as an irregular one.
const SLOTS_A_POINT: usize = 4;
/// Slots that any regular column may hold, however few points are in them.
const FREE_SLOTS: usize = 8;
/// Longer regular columns do not grow at the front, where each value would have to move.
const LONGEST_PREPEND: usize = 1024;
/// An irregular column sorts its late points in when there are more than these and a quarter of the sorted ones.
const LATE_POINTS: usize = 64;

/// Points of one series, in any order of arrival.
#[derive(Clone, Debug)]
pub(crate) enum Column {
    /// One value a step from the first on; the step is 0 while there is one value.
    Regular { first: u32, step: u32, present: u32, values: Vec<f64> },
    /// Points of which the first `sorted` are in time order without repetition, and the rest as they came.
    Irregular { sorted: usize, offsets: Vec<u32>, values: Vec<f64> },
}

impl Column {
    pub(crate) fn new(offset: u32, value: f64) -> Self {
        Self::Regular { first: offset, step: 0, present: 1, values: vec![value] }
    }

    /// Memory beyond the column itself, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Regular { values, .. } => values.capacity() * 8,
            Self::Irregular { offsets, values, .. } => offsets.capacity() * 4 + values.capacity() * 8,
        }
    }

    /// Puts a point in, in the place of one of the same instant. The value is not NaN.
    pub(crate) fn push(&mut self, offset: u32, value: f64) {
        if !self.push_regular(offset, value) {
            self.make_irregular();
            self.push_irregular(offset, value);
        }
    }

    /// Whether the point fits the grid.
    fn push_regular(&mut self, offset: u32, value: f64) -> bool {
        let Self::Regular { first, step, present, values } = self else { return false };
        if *step == 0 {
            if offset == *first {
                values[0] = value;
            } else {
                *step = offset.abs_diff(*first);
                *present = 2;
                if offset > *first {
                    make_room(values);
                    values.push(value);
                } else {
                    values.insert(0, value);
                    *first = offset;
                }
            }
            return true;
        }
        let distance = offset.abs_diff(*first);
        if !distance.is_multiple_of(*step) {
            return false;
        }
        let slots_away = (distance / *step) as usize;
        let most_slots = (*present as usize + 1) * SLOTS_A_POINT + FREE_SLOTS;
        if offset >= *first {
            if let Some(slot) = values.get_mut(slots_away) {
                *present += u32::from(slot.is_nan());
                *slot = value;
                return true;
            }
            if slots_away >= most_slots {
                return false;
            }
            make_room(values);
            values.resize(slots_away, f64::NAN);
            values.push(value);
        } else {
            if slots_away + values.len() > most_slots.min(LONGEST_PREPEND) {
                return false;
            }
            values.splice(0..0, std::iter::once(value).chain(std::iter::repeat_n(f64::NAN, slots_away - 1)));
            *first = offset;
        }
        *present += 1;
        true
    }

    fn make_irregular(&mut self) {
        if let Self::Regular { first, step, values, .. } = self {
            let offset_of =
                |slot: usize| first.saturating_add(step.saturating_mul(u32::try_from(slot).unwrap_or(u32::MAX)));
            let (offsets, values): (Vec<u32>, Vec<f64>) = values
                .iter()
                .enumerate()
                .filter(|(_, value)| !value.is_nan())
                .map(|(slot, value)| (offset_of(slot), *value))
                .unzip();
            *self = Self::Irregular { sorted: offsets.len(), offsets, values };
        }
    }

    fn push_irregular(&mut self, offset: u32, value: f64) {
        let Self::Irregular { sorted, offsets, values } = self else { return };
        let in_order = *sorted == offsets.len() && offsets.last().is_none_or(|last| *last < offset);
        make_room(offsets);
        make_room(values);
        offsets.push(offset);
        values.push(value);
        if in_order {
            *sorted += 1;
        } else if offsets.len() - *sorted > LATE_POINTS + *sorted / 4 {
            self.settle();
        }
    }

    /// Sorts late points in.
    pub(crate) fn settle(&mut self) {
        let Self::Irregular { sorted, offsets, values } = self else { return };
        if *sorted == offsets.len() {
            return;
        }
        // The sort keeps the order of arrival of points of one instant, and the last of them stays.
        let mut points: Vec<(u32, f64)> = offsets.drain(..).zip(values.drain(..)).collect();
        points.sort_by_key(|(offset, _)| *offset);
        for (offset, value) in points {
            if offsets.last() == Some(&offset) {
                if let Some(last) = values.last_mut() {
                    *last = value;
                }
            } else {
                offsets.push(offset);
                values.push(value);
            }
        }
        *sorted = offsets.len();
    }

    /// Pushes the points from `from` up to but not including `until`, in time order, with `start` added to each instant.
    pub(crate) fn read(&self, start: i64, from: u32, until: u32, out: &mut Points) {
        match self {
            Self::Regular { first, step, values, .. } => {
                let slot_at = |offset: u32| offset.saturating_sub(*first).div_ceil((*step).max(1)) as usize;
                let end = slot_at(until).min(values.len());
                let begin = slot_at(from).min(end);
                let mut time = start + i64::from(*first) + i64::from(*step) * begin as i64;
                for value in &values[begin..end] {
                    if !value.is_nan() {
                        out.push(time, *value);
                    }
                    time += i64::from(*step);
                }
            }
            Self::Irregular { sorted, offsets, values } if *sorted == offsets.len() => {
                let begin = offsets.partition_point(|offset| *offset < from);
                let end = offsets.partition_point(|offset| *offset < until).max(begin);
                out.timestamps
                    .extend(offsets[begin..end].iter().map(|offset| start.saturating_add(i64::from(*offset))));
                out.values.extend_from_slice(&values[begin..end]);
            }
            Self::Irregular { .. } => {
                let mut settled = self.clone();
                settled.settle();
                settled.read(start, from, until, out);
            }
        }
    }
}

/// Makes a full vector longer by a quarter, where it would double by itself.
fn make_room<T>(points: &mut Vec<T>) {
    if points.len() == points.capacity() {
        points.reserve_exact(points.len() / 4 + 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn read_all(column: &Column) -> Points {
        let mut points = Points::default();
        column.read(1000, 0, u32::MAX, &mut points);
        points
    }

    fn is_regular(column: &Column) -> bool {
        matches!(column, Column::Regular { .. })
    }

    #[test]
    fn an_even_tick_stays_regular_through_gaps_and_late_points() {
        let mut column = Column::new(100, 1.0);
        for (offset, value) in [(110, 2.0), (120, 3.0), (150, 6.0), (130, 4.0), (90, 0.5), (120, 3.5)] {
            column.push(offset, value);
        }
        assert!(is_regular(&column));
        assert_eq!(read_all(&column).timestamps, [1090, 1100, 1110, 1120, 1130, 1150]);
        assert_eq!(read_all(&column).values, [0.5, 1.0, 2.0, 3.5, 4.0, 6.0]);
    }

    #[test]
    fn a_point_off_the_grid_or_far_away_makes_it_irregular() {
        for far in [115, 4_000_000_000, 3] {
            let mut column = Column::new(100, 1.0);
            column.push(110, 2.0);
            column.push(far, 3.0);
            assert!(!is_regular(&column), "{far}");
            assert_eq!(read_all(&column).len(), 3);
        }
    }

    proptest! {
        #[test]
        fn a_column_holds_what_a_map_would(
            pushes in prop::collection::vec((prop_oneof![(0_u32..60).prop_map(|slot| slot * 10), 0_u32..500], -9.0..9.0_f64), 1..400),
            from in 0_u32..300,
            length in 0_u32..300,
        ) {
            let mut column = Column::new(pushes[0].0, pushes[0].1);
            let mut model = BTreeMap::new();
            for (offset, value) in pushes {
                column.push(offset, value);
                model.insert(offset, value);
            }
            let mut points = Points::default();
            column.read(-7, from, from + length, &mut points);
            let expected: Vec<_> = model.range(from..from + length).map(|(offset, value)| (i64::from(*offset) - 7, *value)).collect();
            prop_assert_eq!(points.timestamps.into_iter().zip(points.values).collect::<Vec<_>>(), expected);
        }
    }
}
