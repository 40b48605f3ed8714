//! The points that a batch brings, as columns: numbers of series, instants, values.
//!
//! A flush has one instant for all of its points, so that instants are kept apart only when they differ. This is the form
//! in which points are resolved, logged, replayed, and put into the head.

use statline_series::Timestamp;

use crate::SeriesId;

/// Points in the order in which they count: of two of one series and instant, the later stays.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FlushColumns {
    ids: Vec<SeriesId>,
    values: Vec<f64>,
    /// The instant of the first point.
    first: Timestamp,
    /// The instant of every point; empty while all have the first's.
    each: Vec<Timestamp>,
}

impl Default for FlushColumns {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl FlushColumns {
    pub(crate) fn with_capacity(points: usize) -> Self {
        let first = Timestamp::from_millis(0);
        Self { ids: Vec::with_capacity(points), values: Vec::with_capacity(points), first, each: Vec::new() }
    }

    /// Points of one instant, or with an instant each.
    pub(crate) fn from_columns(ids: Vec<SeriesId>, values: Vec<f64>, first: Timestamp, each: Vec<Timestamp>) -> Self {
        debug_assert!(ids.len() == values.len() && (each.is_empty() || each.len() == ids.len()));
        Self { ids, values, first, each }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(crate) fn ids(&self) -> &[SeriesId] {
        &self.ids
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }

    /// The instant of the first point.
    pub(crate) const fn first(&self) -> Timestamp {
        self.first
    }

    /// The instant of every point, unless all have the first's.
    pub(crate) fn instants(&self) -> Option<&[Timestamp]> {
        (!self.each.is_empty()).then_some(self.each.as_slice())
    }

    pub(crate) fn timestamp(&self, place: usize) -> Timestamp {
        self.each.get(place).copied().unwrap_or(self.first)
    }

    /// The instants of the oldest and the newest point; `None` without points.
    pub(crate) fn span(&self) -> Option<(Timestamp, Timestamp)> {
        if self.is_empty() {
            return None;
        }
        let oldest = self.each.iter().min().copied().unwrap_or(self.first);
        let newest = self.each.iter().max().copied().unwrap_or(self.first);
        Some((oldest, newest))
    }

    pub(crate) fn push(&mut self, id: SeriesId, timestamp: Timestamp, value: f64) {
        if self.ids.is_empty() {
            self.first = timestamp;
        } else if !self.each.is_empty() {
            self.each.push(timestamp);
        } else if timestamp != self.first {
            self.each = vec![self.first; self.ids.len()];
            self.each.push(timestamp);
        }
        self.ids.push(id);
        self.values.push(value);
    }

    /// Number, instant, and value of each point.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SeriesId, Timestamp, f64)> + '_ {
        self.ids.iter().zip(&self.values).enumerate().map(|(place, (id, value))| (*id, self.timestamp(place), *value))
    }

    /// Puts the points in the order of their series. Those of one series stay in their order.
    pub(crate) fn sort(&mut self) {
        if self.ids.is_sorted() {
            return;
        }
        let order = sorted_order(&self.ids);
        let place_of = |packed: &u64| (packed & u64::from(u32::MAX)) as usize;
        self.values = order.iter().map(|packed| self.values[place_of(packed)]).collect();
        if !self.each.is_empty() {
            self.each = order.iter().map(|packed| self.each[place_of(packed)]).collect();
            self.first = self.each[0];
        }
        self.ids = order.iter().map(|packed| (packed >> 32) as SeriesId).collect();
    }

    /// Keeps the points whose series pass.
    pub(crate) fn retain(&mut self, mut passes: impl FnMut(SeriesId) -> bool) {
        let mut kept = Self::with_capacity(self.len());
        self.iter().filter(|(id, _, _)| passes(*id)).for_each(|(id, at, value)| kept.push(id, at, value));
        *self = kept;
    }
}

/// Each number in the upper half with its place in the lower, by number and then by place.
///
/// A radix sort: numbers are dense, so that two or three passes are enough, and a pass costs the same in any order.
fn sorted_order(ids: &[SeriesId]) -> Vec<u64> {
    const DIGIT_BITS: u32 = 11;
    const DIGITS: usize = 1 << DIGIT_BITS;
    let mut order: Vec<u64> = ids.iter().enumerate().map(|(place, id)| u64::from(*id) << 32 | place as u64).collect();
    let mut sorted = vec![0; order.len()];
    let most_bits = SeriesId::BITS - ids.iter().max().map_or(SeriesId::BITS, |most| most.leading_zeros());
    for shift in (0..most_bits).step_by(DIGIT_BITS as usize) {
        let digit_of = |packed: u64| (packed >> (32 + shift)) as usize % DIGITS;
        let mut starts = [0_usize; DIGITS];
        order.iter().for_each(|packed| starts[digit_of(*packed)] += 1);
        let mut start = 0;
        for count in &mut starts {
            start += std::mem::replace(count, start);
        }
        for packed in &order {
            let place = &mut starts[digit_of(*packed)];
            sorted[*place] = *packed;
            *place += 1;
        }
        std::mem::swap(&mut order, &mut sorted);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn columns_sort_and_filter_as_rows_do(rows in prop::collection::vec((prop_oneof![3 => 0_u32..20, 1 => any::<u32>()], 0_i64..3, -9.0..9.0_f64), 0..60)) {
            let mut columns = FlushColumns::default();
            let mut rows: Vec<_> = rows.into_iter().map(|(id, at, value)| (id, Timestamp::from_millis(at), value)).collect();
            rows.iter().for_each(|(id, at, value)| columns.push(*id, *at, *value));
            columns.sort();
            rows.sort_by_key(|(id, _, _)| *id);
            prop_assert_eq!(columns.iter().collect::<Vec<_>>(), rows.clone());
            let oldest = rows.iter().map(|(_, at, _)| *at).min();
            prop_assert_eq!(columns.span().map(|(oldest, _)| oldest), oldest);
            columns.retain(|id| id % 3 != 0);
            rows.retain(|(id, _, _)| id % 3 != 0);
            prop_assert_eq!(columns.iter().collect::<Vec<_>>(), rows);
        }
    }
}
