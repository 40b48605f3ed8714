//! What a state knows, as bytes: written when a server stops, read when it starts again.
//!
//! Levels and names come back in any case. What the open interval holds comes back when the new server starts within the
//! same interval, so that what came before the stop and what comes after it are flushed as one.

use serde::{Deserialize, Serialize};
use statline_series::{Event, SeriesKey, Sketch, Timestamp};
use thiserror::Error;

use crate::gauge::Gauge;
use crate::interval::TimedKey;
use crate::set::{Estimator, Set};
use crate::state::AtInstant;
use crate::table::Family;
use crate::timer::{Many, Timer};
use crate::{State, mapping};

/// The version of what is written; a file of another one is refused.
const VERSION: u32 = 1;

/// Why bytes are no snapshot.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SnapshotError {
    /// They are damaged.
    #[error("the snapshot of the statsd state is damaged: {0}")]
    Damaged(String),
    /// They are of another version.
    #[error("the snapshot of the statsd state has version {0}; this program reads version {VERSION}")]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
struct Snapshot {
    /// The instant at which the open interval ends, in milliseconds since the epoch.
    interval_end: i64,
    counters: Vec<Saved<f64>>,
    gauges: Vec<(Saved<Gauge>, f64)>,
    timers: Vec<Saved<SavedTimer>>,
    sets: Vec<Saved<SavedSet>>,
    timed: Vec<SavedAtInstant>,
    events: Vec<Event>,
    mapped: mapping::Saved,
}

/// A family and a series, the end of the interval, the newest instant in it, what was counted, and for how many flushes
/// nothing was added.
type SavedAtInstant = (u8, String, i64, i64, f64, u32);

/// A series, and what its open interval holds if anything.
#[derive(Serialize, Deserialize)]
struct Saved<T> {
    series: String,
    idle: u32,
    open: Option<T>,
}

#[derive(Serialize, Deserialize)]
struct SavedTimer {
    samples: Vec<f64>,
    weights: Vec<f64>,
    weight: f64,
    is_duration: bool,
    /// The sketch, its count, sum and sum of squares.
    many: Option<(Vec<u8>, f64, f64, f64)>,
}

#[derive(Serialize, Deserialize)]
enum SavedSet {
    Members(Vec<Vec<u8>>),
    Estimate(Estimator),
}

impl State {
    /// Everything that is to come back after a restart. `interval_end` is the instant that the open interval's flush carries.
    ///
    /// # Errors
    /// When there is more of it than memory allows.
    pub fn snapshot(&self, interval_end: Timestamp) -> Result<Vec<u8>, SnapshotError> {
        let names = &self.names;
        let snapshot = Snapshot {
            interval_end: interval_end.millis(),
            counters: saved(&self.counters, &names.counter[0], |counter| counter.touched.then_some(counter.sum))
                .collect(),
            gauges: saved(&self.gauges, &names.gauge[0], |level| (!level.open.is_untouched()).then_some(level.open))
                .zip(self.gauges.iter().map(|(_, entry)| entry.value.value))
                .collect(),
            timers: saved(&self.timers, &names.timer[0].name, |timed| {
                (!timed.timer.is_empty()).then(|| SavedTimer::of(&timed.timer))
            })
            .collect(),
            sets: saved(&self.sets, &names.set[0], |set| (!set.is_empty()).then(|| SavedSet::of(set))).collect(),
            timed: self
                .timed
                .iter()
                .map(|(key, AtInstant { value, newest, idle })| {
                    (key.family as u8, key.series.to_string(), key.timestamp.millis(), newest.millis(), *value, *idle)
                })
                .collect(),
            events: self.events.clone(),
            mapped: self.mapper.lock().save(),
        };
        let mut bytes = VERSION.to_le_bytes().to_vec();
        bytes.extend(postcard::to_stdvec(&snapshot).map_err(|error| SnapshotError::Damaged(error.to_string()))?);
        let checksum = crc32fast::hash(&bytes);
        bytes.extend(checksum.to_le_bytes());
        Ok(bytes)
    }

    /// Takes in what another state wrote. What its open interval held is taken in, too, when the next flush of this one is
    /// at the same instant; answers whether it was.
    ///
    /// # Errors
    /// When the bytes are damaged or of another version; nothing has been taken in then.
    pub fn restore(&mut self, bytes: &[u8], next_flush: Timestamp) -> Result<bool, SnapshotError> {
        let damaged = |why: &str| SnapshotError::Damaged(why.to_owned());
        let (rest, checksum) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("it is too short"))?;
        let (version, body) = rest.split_first_chunk::<4>().ok_or_else(|| damaged("it is too short"))?;
        if crc32fast::hash(rest) != u32::from_le_bytes(*checksum) {
            return Err(damaged("its checksum is another one"));
        }
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(SnapshotError::Version(version));
        }
        let snapshot: Snapshot =
            postcard::from_bytes(body).map_err(|error| SnapshotError::Damaged(error.to_string()))?;
        let goes_on = snapshot.interval_end == next_flush.millis();
        for saved in snapshot.counters {
            let Some(id) = self.bind(Family::Counter, &saved.series) else { continue };
            if let Some(entry) = self.counters.get_mut(id) {
                entry.idle = saved.idle;
                // A total that only grows takes what came in, whenever it is flushed.
                if let Some(sum) = saved.open.filter(|_| goes_on || entry.identity.metric().is_some()) {
                    entry.value.add(sum);
                }
            }
        }
        for (saved, level) in snapshot.gauges {
            let Some(id) = self.bind(Family::Gauge, &saved.series) else { continue };
            if let Some(entry) = self.gauges.get_mut(id) {
                entry.idle = saved.idle;
                entry.value.value = level;
                match saved.open {
                    // It arrived before whatever arrives now.
                    Some(open) if goes_on || entry.identity.metric().is_some() => entry.value.open = open.before_all(),
                    Some(open) => {
                        entry.value.value = open.level(level);
                        entry.idle = 0;
                    }
                    None => {}
                }
            }
        }
        for saved in snapshot.timers {
            let Some(id) = self.bind(Family::Timer, &saved.series) else { continue };
            if let Some(entry) = self.timers.get_mut(id) {
                entry.idle = saved.idle;
                let is_taken = goes_on || entry.identity.metric().is_some();
                if let Some(open) = saved.open.filter(|_| is_taken).and_then(SavedTimer::timer) {
                    entry.value.timer = open;
                }
            }
        }
        for saved in snapshot.sets {
            let Some(id) = self.bind(Family::Set, &saved.series) else { continue };
            if let Some(entry) = self.sets.get_mut(id) {
                entry.idle = saved.idle;
                if let Some(open) = saved.open.filter(|_| goes_on) {
                    entry.value = open.set();
                }
            }
        }
        for (family, series, timestamp, newest, value, idle) in snapshot.timed {
            let Some(family) = Family::ALL.get(usize::from(family)).copied() else { continue };
            let key = TimedKey { family, series: series.into(), timestamp: Timestamp::from_millis(timestamp) };
            let newest = Timestamp::from_millis(newest);
            self.timed.insert(key, AtInstant { value, newest, idle: if goes_on { idle } else { idle.max(1) } });
        }
        if goes_on {
            self.events = snapshot.events;
        }
        self.mapper.lock().restore(snapshot.mapped);
        Ok(goes_on)
    }

    /// What the name of every gauge's series begins with.
    #[must_use]
    pub fn gauge_prefix(&self) -> &str {
        self.names.gauge[0].prefix()
    }

    /// The gauge that became a series; `None` when no gauge did.
    #[must_use]
    pub fn gauge_of(&self, key: &SeriesKey) -> Option<String> {
        let series = self.names.gauge[0].made(key).then(|| self.names.gauge[0].strip(key))?;
        // With prefixes of one's own, other series may begin as gauges do.
        let own = format!("{}.", self.config.prefix_stats);
        (!series.starts_with(&own)).then_some(series)
    }

    /// Takes in a gauge and its level, as a store remembers it.
    pub fn restore_gauge(&mut self, series: &str, level: f64) {
        if let Some(entry) = self.bind(Family::Gauge, series).and_then(|id| self.gauges.get_mut(id)) {
            entry.value.value = level;
        }
    }
}

fn saved<'a, V, T>(
    known: &'a crate::known::Known<V>,
    first: &'a crate::names::Name,
    open: impl Fn(&V) -> Option<T> + 'a,
) -> impl Iterator<Item = Saved<T>> + 'a {
    known.iter().map(move |(_, entry)| Saved {
        series: entry.identity.series(first),
        idle: entry.idle,
        open: open(&entry.value),
    })
}

impl SavedTimer {
    fn of(timer: &Timer) -> Self {
        let many = timer.many.as_ref().map(|many| {
            let mut sketch = Vec::new();
            many.sketch.encode(&mut sketch);
            (sketch, many.count, many.sum, many.sum_squares)
        });
        let Timer { samples, weights, weight, is_duration, .. } = timer.clone();
        Self { samples, weights, weight, is_duration, many }
    }

    /// `None` when the sketch cannot be read, though the checksum was right.
    fn timer(self) -> Option<Timer> {
        let Self { samples, weights, weight, is_duration, many } = self;
        let many = match many {
            None => None,
            Some((sketch, count, sum, sum_squares)) => {
                let sketch = Sketch::decode(&sketch).ok()?;
                Some(Box::new(Many { sketch, count, sum, sum_squares }))
            }
        };
        Some(Timer { samples, weights, weight, is_duration, many })
    }
}

impl SavedSet {
    fn of(set: &Set) -> Self {
        match set.estimator() {
            Some(estimate) => Self::Estimate(estimate.clone()),
            None => Self::Members(set.members().map(<[u8]>::to_vec).collect()),
        }
    }

    fn set(self) -> Set {
        match self {
            Self::Estimate(estimate) => Set::estimated(estimate),
            Self::Members(members) => {
                let mut set = Set::default();
                for member in members {
                    set.add(&member, usize::MAX, usize::MAX);
                }
                set
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arrival, FlushConfig, Grammar, Lane, Limits, Parser, SelfFigures};
    use proptest::prelude::*;
    use statline_series::Step;

    const END: Timestamp = Timestamp::from_seconds(1_700_000_010);

    fn limits() -> Limits {
        Limits { timer_samples: 4, set_members: 4, ..Limits::default() }
    }

    fn state() -> State {
        State::new(FlushConfig::default(), &limits()).unwrap()
    }

    fn take(state: &mut State, lane: &mut Lane, packet: &str, order: u64) {
        let mut parser = Parser::new(&limits(), Grammar::default());
        lane.table().lock().unwrap().receive(&mut parser, packet.as_bytes(), Arrival::at(order), |_| ());
        state.peek(lane);
    }

    fn flushed(state: &mut State, at: Timestamp) -> Vec<(String, i64, f64)> {
        let batch = state.flush(Step::from_seconds(10).unwrap(), at, &SelfFigures::default());
        let mut points: Vec<_> = batch
            .rows
            .iter()
            .map(|row| (row.key.as_str().to_owned(), row.point.timestamp.seconds(), row.point.value))
            .collect();
        points.sort_by(|left, right| (&left.0, left.1).cmp(&(&right.0, right.1)));
        points
    }

    proptest! {
        #[test]
        fn an_interval_that_a_restart_divides_is_flushed_as_if_there_had_been_none(
            lines in proptest::collection::vec(prop_oneof![
                (0..3, -5..9_i32).prop_map(|(name, count)| format!("c{name}:{count}|c|@0.5")),
                (0..2, 1..100_u32).prop_map(|(name, value)| format!("t{name}:{value}|ms|@0.25")),
                (0..2, 0..9_u32).prop_map(|(name, member)| format!("s{name}:{member}|s")),
                (0..3, 0..100_u32).prop_map(|(name, value)| format!("g{name}:{value}|g")),
                (0..3, -9..9_i32).prop_map(|(name, delta)| format!("g{name}:{delta:+}|g")),
                (0..3, 0..9_u32, 0..3_u32).prop_map(|(name, count, at)| format!("at{name}:{count}|c|T17000000{at}0")),
                (0..2, 10..30_u32).prop_map(|(name, at)| format!("level{name}:{at}|g|T17000000{at}")),
            ], 1..60),
            divided_at in 0..60_usize,
        ) {
            let divided_at = divided_at.min(lines.len());
            let (mut whole, mut lane) = (state(), Lane::new(limits()));
            let (mut before, mut lane_before) = (state(), Lane::new(limits()));
            for (order, line) in (1..).zip(&lines) {
                take(&mut whole, &mut lane, line, order);
            }
            for (order, line) in (1..).zip(&lines[..divided_at]) {
                take(&mut before, &mut lane_before, line, order);
            }
            let bytes = before.snapshot(END).unwrap();
            let (mut after, mut lane_after) = (state(), Lane::new(limits()));
            prop_assert_eq!(after.restore(&bytes, END), Ok(true));
            for (order, line) in (1..).zip(&lines[divided_at..]) {
                take(&mut after, &mut lane_after, line, order);
            }
            prop_assert_eq!(flushed(&mut after, END), flushed(&mut whole, END));
        }

        #[test]
        fn damaged_bytes_are_refused(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let (mut before, mut lane) = (state(), Lane::new(limits()));
            take(&mut before, &mut lane, "a:1|c\nt:1:2:3:4:5:6|ms\ns:x|s\ng:1|g\n_e{1,1}:a|b", 1);
            let mut bytes = before.snapshot(END).unwrap();
            let index = at.index(bytes.len());
            bytes[index] ^= 1 << bit;
            prop_assert!(state().restore(&bytes, END).is_err());
            prop_assert!(state().restore(&bytes[..index], END).is_err());
        }
    }

    #[test]
    fn after_the_interval_levels_and_names_come_back() {
        let (mut before, mut lane) = (state(), Lane::new(limits()));
        take(&mut before, &mut lane, "c:3|c\ng:5|g\ng:+2|g\nt:1|ms", 1);
        let bytes = before.snapshot(END).unwrap();
        let mut after = state();
        let next = END.offset(10_000);
        assert_eq!(after.restore(&bytes, next), Ok(false));
        let points = flushed(&mut after, next);
        for (name, value) in [("stats_counts.c", 0.0), ("stats.gauges.g", 7.0), ("stats.timers.t.count", 0.0)] {
            assert!(points.contains(&(name.to_owned(), next.seconds(), value)), "{name}: {points:?}");
        }
    }
}
