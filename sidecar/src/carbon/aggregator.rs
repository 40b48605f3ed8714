//! Points of several series that become one: buffers by aggregate and interval, and what is written of them.
//!
//! An interval is written when it is over, and again at each of its aggregate's turns when late points have come, until it is
//! too old to wait for; then it is forgotten. Turns are multiples of the frequency on the wall clock. Pure: time comes in.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use statline_series::{Batch, Kind, SeriesKey, Step, Timestamp};

use super::rules::aggregation::Method;

/// How far ahead of the clock a point may be; no buffer could end before that.
const MAX_AHEAD_MILLIS: i64 = 24 * 3_600_000;

/// How much may be gathered, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct AggregatorLimits {
    /// Intervals of all aggregates.
    pub intervals: usize,
    /// Values of all percentiles.
    pub values: usize,
    /// For how many intervals of an aggregate late points are waited for.
    pub late_intervals: u32,
    /// How often intervals are written that are not over.
    pub write_back: Option<Step>,
}

/// Where a point goes, as a rule has said.
#[derive(Clone, Debug)]
pub struct Target {
    /// The aggregate.
    pub key: SeriesKey,
    /// How its values become one.
    pub method: Method,
    /// How long its intervals are.
    pub frequency: Step,
}

/// Why a point is not aggregated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAggregated {
    /// There are as many intervals as may be.
    Intervals,
    /// The percentiles hold as many values as they may.
    Values,
    /// It is more than a day ahead of the clock.
    Ahead,
    /// The name that a rule makes is none.
    Nameless,
}

impl NotAggregated {
    /// The label of every reason.
    pub const LABELS: [&'static str; 4] = ["intervals", "values", "too_new", "name"];
}

/// Everything that is being gathered.
#[derive(Debug)]
pub struct Aggregator {
    buffers: HashMap<SeriesKey, Buffer, RandomState>,
    limits: AggregatorLimits,
    intervals: usize,
    values: usize,
}

/// One aggregate. It stays as the first rule that used it has made it, as long as it has intervals.
#[derive(Debug)]
struct Buffer {
    method: Method,
    frequency: Step,
    kind: Kind,
    /// When it has its next turn.
    turn: Timestamp,
    intervals: BTreeMap<Timestamp, Interval>,
}

#[derive(Debug)]
struct Interval {
    gathered: Gathered,
    /// Whether values have come since it was last written.
    is_new: bool,
}

/// As little of an interval's values as its method needs.
#[derive(Debug)]
enum Gathered {
    Number { value: f64, count: u64 },
    Values(Vec<f64>),
}

impl Aggregator {
    /// Nothing gathered.
    pub fn new(limits: AggregatorLimits) -> Self {
        Self { buffers: HashMap::default(), limits, intervals: 0, values: 0 }
    }

    /// Takes a point.
    ///
    /// # Errors
    /// Why it cannot be gathered.
    pub fn add(
        &mut self,
        target: &Target,
        timestamp: Timestamp,
        value: f64,
        now: Timestamp,
    ) -> Result<(), NotAggregated> {
        if timestamp > now.offset(MAX_AHEAD_MILLIS) {
            return Err(NotAggregated::Ahead);
        }
        let is_room = self.intervals < self.limits.intervals;
        if is_room && !self.buffers.contains_key(&target.key) {
            let turn = turn_after(now, target.frequency, &self.limits);
            self.buffers.insert(target.key.clone(), Buffer::of(target, turn));
        }
        let Some(buffer) = self.buffers.get_mut(&target.key) else { return Err(NotAggregated::Intervals) };
        let (method, values_left) = (buffer.method, self.limits.values.saturating_sub(self.values));
        let is_percentile = matches!(method, Method::Percentile(_));
        let interval = match buffer.intervals.entry(timestamp.align_down(buffer.frequency)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if !is_room => return Err(NotAggregated::Intervals),
            Entry::Vacant(entry) => {
                self.intervals += 1;
                entry.insert(Interval { gathered: Gathered::nothing(method), is_new: false })
            }
        };
        if is_percentile && values_left == 0 {
            return Err(NotAggregated::Values);
        }
        interval.gathered.add(method, value);
        interval.is_new = true;
        self.values += usize::from(is_percentile);
        Ok(())
    }

    /// Writes what is to be written at this instant, and forgets what is too old.
    pub fn turn(&mut self, now: Timestamp) -> Batch {
        let limits = self.limits;
        let mut batch = Batch::default();
        self.buffers.retain(|key, buffer| {
            // A turn that is further away than any can be was reckoned before the clock was set back.
            if now < buffer.turn && buffer.turn <= now.offset(buffer.frequency.millis()) {
                return true;
            }
            buffer.turn = turn_after(now, buffer.frequency, &limits);
            buffer.write(key, |end| end <= now || limits.write_back.is_some(), &mut batch);
            let waits = buffer.frequency.millis().saturating_mul(i64::from(limits.late_intervals));
            let oldest = now.align_down(buffer.frequency).offset(waits.saturating_neg());
            while let Some(entry) = buffer.intervals.first_entry().filter(|entry| *entry.key() < oldest) {
                self.intervals -= 1;
                self.values -= entry.remove().gathered.held();
            }
            !buffer.intervals.is_empty()
        });
        batch
    }

    /// Writes everything that has not been written, and forgets it all: the rules are others now, or this is the end.
    pub fn finish(&mut self) -> Batch {
        let mut batch = Batch::default();
        for (key, buffer) in &mut self.buffers {
            buffer.write(key, |_| true, &mut batch);
        }
        self.buffers.clear();
        (self.intervals, self.values) = (0, 0);
        batch
    }

    /// How many intervals are being gathered.
    pub const fn intervals(&self) -> usize {
        self.intervals
    }

    /// How many values the percentiles hold.
    pub const fn values(&self) -> usize {
        self.values
    }
}

/// The first turn after an instant.
fn turn_after(now: Timestamp, frequency: Step, limits: &AggregatorLimits) -> Timestamp {
    let step = limits.write_back.map_or(frequency, |write_back| write_back.min(frequency));
    now.align_down(step).offset(step.millis())
}

impl Buffer {
    fn of(target: &Target, turn: Timestamp) -> Self {
        let kind = Kind::of_path(target.key.name());
        Self { method: target.method, frequency: target.frequency, kind, turn, intervals: BTreeMap::new() }
    }

    /// Writes each interval that has new values and whose end is right.
    fn write(&mut self, key: &SeriesKey, is_due: impl Fn(Timestamp) -> bool, batch: &mut Batch) {
        for (start, interval) in &mut self.intervals {
            if interval.is_new && is_due(start.offset(self.frequency.millis())) {
                interval.is_new = false;
                batch.push(key.clone(), self.kind, *start, interval.gathered.value(self.method));
            }
        }
    }
}

impl Gathered {
    const fn nothing(method: Method) -> Self {
        match method {
            Method::Percentile(_) => Self::Values(Vec::new()),
            _ => Self::Number { value: 0.0, count: 0 },
        }
    }

    fn add(&mut self, method: Method, more: f64) {
        match self {
            Self::Values(values) => values.push(more),
            Self::Number { value, count } => {
                *value = match method {
                    Method::Minimum if *count > 0 => value.min(more),
                    Method::Maximum if *count > 0 => value.max(more),
                    Method::Minimum | Method::Maximum => more,
                    _ => *value + more,
                };
                *count += 1;
            }
        }
    }

    fn held(&self) -> usize {
        match self {
            Self::Values(values) => values.len(),
            Self::Number { .. } => 0,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody sends 2^53 points in an interval")]
    fn value(&mut self, method: Method) -> f64 {
        match (self, method) {
            (Self::Values(values), Method::Percentile(fraction)) => percentile(values, fraction),
            (Self::Number { value, count }, Method::Average) => *value / *count as f64,
            (Self::Number { count, .. }, Method::Count) => *count as f64,
            (Self::Number { value, .. }, _) => *value,
            (Self::Values(_), _) => f64::NAN,
        }
    }
}

/// Between the two values next to a fraction of the way, in proportion, as carbon reckons it.
fn percentile(values: &mut [f64], fraction: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let rank = fraction * (values.len() as f64 - 1.0);
    let (left, right) = (rank.floor(), rank.ceil());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in the slice")]
    let at = |place: f64| values.get(place as usize).copied().unwrap_or(f64::NAN);
    if left >= right { at(left) } else { at(left) * (right - rank) + at(right) * (rank - left) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: AggregatorLimits =
        AggregatorLimits { intervals: 10, values: 10, late_intervals: 2, write_back: None };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn target(name: &str, method: Method) -> Target {
        Target { key: name.parse().unwrap(), method, frequency: Step::from_seconds(10).unwrap() }
    }

    fn written(batch: &Batch) -> Vec<(i64, f64)> {
        batch.rows.iter().map(|row| (row.point.timestamp.millis() / 1000, row.point.value)).collect()
    }

    #[test]
    fn values_of_an_interval_become_one() {
        let values = [3.0, 1.0, 4.0, 1.0, 5.0];
        for (method, expected) in [
            (Method::Sum, 14.0),
            (Method::Average, 2.8),
            (Method::Minimum, 1.0),
            (Method::Maximum, 5.0),
            (Method::Count, 5.0),
            (Method::Percentile(0.5), 3.0),
            (Method::Percentile(0.9), 4.6),
        ] {
            let mut aggregator = Aggregator::new(LIMITS);
            for value in values {
                aggregator.add(&target("a", method), at(105), value, at(105)).unwrap();
            }
            let batch = aggregator.turn(at(110));
            assert_eq!(batch.len(), 1);
            assert!((batch.rows[0].point.value - expected).abs() < 1e-12, "{method:?}: {batch:?}");
            assert_eq!(batch.rows[0].point.timestamp, at(100));
        }
    }

    #[test]
    fn an_interval_is_written_when_it_is_over_and_again_when_points_come_late() {
        let mut aggregator = Aggregator::new(LIMITS);
        let sum = target("a", Method::Sum);
        aggregator.add(&sum, at(101), 1.0, at(101)).unwrap();
        aggregator.add(&sum, at(111), 5.0, at(101)).unwrap();
        assert_eq!(written(&aggregator.turn(at(109))), []);
        assert_eq!(written(&aggregator.turn(at(110))), [(100, 1.0)]);
        aggregator.add(&sum, at(102), 2.0, at(112)).unwrap();
        assert_eq!(written(&aggregator.turn(at(119))), []);
        assert_eq!(written(&aggregator.turn(at(120))), [(100, 3.0), (110, 5.0)]);
        assert_eq!(aggregator.intervals(), 2);
        assert_eq!(written(&aggregator.turn(at(130))), []);
        assert_eq!(aggregator.intervals(), 1, "two intervals have passed since the first");
        // It is forgotten, so that what comes now is all that is known of it.
        aggregator.add(&sum, at(103), 7.0, at(131)).unwrap();
        assert_eq!(written(&aggregator.turn(at(140))), [(100, 7.0)]);
        assert_eq!(written(&aggregator.turn(at(150))), []);
        assert_eq!((aggregator.intervals(), aggregator.buffers.len()), (0, 0));
    }

    #[test]
    fn written_back_it_is_known_before_it_is_over() {
        let write_back = Step::from_seconds(2);
        let mut aggregator = Aggregator::new(AggregatorLimits { write_back, ..LIMITS });
        let average = target("a", Method::Average);
        aggregator.add(&average, at(101), 1.0, at(101)).unwrap();
        assert_eq!(written(&aggregator.turn(at(102))), [(100, 1.0)]);
        assert_eq!(written(&aggregator.turn(at(104))), []);
        aggregator.add(&average, at(101), 2.0, at(105)).unwrap();
        assert_eq!(written(&aggregator.turn(at(106))), [(100, 1.5)]);
    }

    #[test]
    fn no_more_is_gathered_than_may_be() {
        let mut aggregator = Aggregator::new(LIMITS);
        let (sum, median) = (target("a", Method::Sum), target("b", Method::Percentile(0.5)));
        for interval in 0..5 {
            aggregator.add(&sum, at(10 * interval), 1.0, at(100)).unwrap();
            aggregator.add(&median, at(10 * interval), 1.0, at(100)).unwrap();
        }
        assert_eq!(aggregator.add(&sum, at(50), 1.0, at(100)), Err(NotAggregated::Intervals));
        assert_eq!(aggregator.add(&target("c", Method::Sum), at(0), 1.0, at(100)), Err(NotAggregated::Intervals));
        aggregator.add(&sum, at(0), 1.0, at(100)).unwrap();
        (0..5).for_each(|_| aggregator.add(&median, at(0), 1.0, at(100)).unwrap());
        assert_eq!(aggregator.add(&median, at(0), 1.0, at(100)), Err(NotAggregated::Values));
        assert_eq!(aggregator.add(&sum, at(100_000), 1.0, at(100)), Err(NotAggregated::Ahead));
        assert_eq!((aggregator.intervals(), aggregator.values()), (10, 10));
        assert_eq!(aggregator.finish().len(), 10);
        assert_eq!((aggregator.intervals(), aggregator.values()), (0, 0));
        aggregator.add(&median, at(0), 1.0, at(100)).unwrap();
    }
}
