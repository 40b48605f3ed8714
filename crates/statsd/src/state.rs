//! What is remembered from flush to flush: the level of each gauge, and which series there are, so that an idle one is
//! still spoken of.
//!
//! The flusher owns one state. At a flush it absorbs each thread's lane into it, then closes the interval.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use foldhash::fast::RandomState;
use statline_series::{Event, SeriesKey, Step, Timestamp};

use crate::counter::Counter;
use crate::gauge::Gauge;
use crate::interval::TimedKey;
use crate::known::{Entry, Id, Identity, Known};
use crate::lane::Lane;
use crate::mapped::Mapper;
use crate::mapping::{Registry, Rules};
use crate::names::{self, Name, Names};
use crate::number::saturating_add;
use crate::prefixes::Prefixes;
use crate::set::Set;
use crate::table::Family;
use crate::timer::{Scratch, Timer};
use crate::{ConfigError, FlushConfig, Limits, Offender};

/// For how many flushes a value at an instant of its own is still added to.
pub(crate) const TIMED_FLUSHES: u32 = 360;

/// A gauge's level, and what happened to it since.
#[derive(Clone, Debug, Default)]
pub(crate) struct Level {
    pub(crate) open: Gauge,
    /// As of the last flush; 0 before the first.
    pub(crate) value: f64,
}

/// A timer's samples, and the histogram that they are counted in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timed {
    pub(crate) timer: Timer,
    /// By its place in the configuration.
    pub(crate) histogram: Option<u8>,
}

/// What was counted at an instant of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AtInstant {
    pub(crate) value: f64,
    /// The newest of the instants that clients named within the interval; of levels, that one's stays.
    pub(crate) newest: Timestamp,
    /// For how many flushes nothing was added; 0 means that there is something to emit.
    pub(crate) idle: u32,
}

/// Everything a server knows between packets.
#[derive(Debug)]
pub struct State {
    pub(crate) counters: Known<Counter>,
    pub(crate) gauges: Known<Level>,
    pub(crate) timers: Known<Timed>,
    pub(crate) sets: Known<Set>,
    pub(crate) timed: HashMap<TimedKey, AtInstant, RandomState>,
    pub(crate) events: Vec<Event>,
    pub(crate) prefixes: Prefixes,
    pub(crate) mapper: Mapper,
    pub(crate) own_keys: Vec<SeriesKey>,
    pub(crate) config: FlushConfig,
    pub(crate) names: Names,
    pub(crate) scratch: Scratch,
    pub(crate) limits: Limits,
    /// Series that were emitted with the last flush.
    pub(crate) emitted: usize,
    /// Flushes since idle series were last looked for.
    pub(crate) flushes_since_sweep: u32,
    /// Whether a series found no room since then.
    pub(crate) was_full: bool,
    /// How often series were removed. A lane that has seen fewer removals asks again which series its slots are.
    pub(crate) removals: u64,
    /// Values with timestamps that found no room since the start.
    pub(crate) timed_refused: u64,
    /// Events that found no room since the start.
    pub(crate) events_refused: u64,
    /// Samples of timers that the open interval keeps as they are.
    pub(crate) open_samples: usize,
    /// Bytes of the members of sets that the open interval keeps as they are.
    pub(crate) open_set_bytes: usize,
}

impl State {
    /// An empty state.
    ///
    /// # Errors
    /// When the configuration cannot be used.
    pub fn new(config: FlushConfig, limits: &Limits) -> Result<Self, ConfigError> {
        config.validate()?;
        let names = Names::new(&config);
        Ok(Self {
            counters: Known::default(),
            gauges: Known::default(),
            timers: Known::default(),
            sets: Known::default(),
            timed: HashMap::default(),
            events: Vec::new(),
            prefixes: Prefixes::new(limits),
            mapper: Mapper::new(limits.series),
            own_keys: own_keys(&names, &config),
            config,
            names,
            scratch: Scratch::default(),
            limits: limits.clone(),
            emitted: 0,
            flushes_since_sweep: 0,
            was_full: false,
            removals: 0,
            timed_refused: 0,
            events_refused: 0,
            open_samples: 0,
            open_set_bytes: 0,
        })
    }

    /// Goes on under another configuration; levels and series are kept.
    ///
    /// # Errors
    /// When the configuration cannot be used; the old one is then kept.
    pub fn reconfigure(&mut self, config: FlushConfig) -> Result<(), ConfigError> {
        config.validate()?;
        let old = std::mem::replace(&mut self.names, Names::new(&config));
        self.own_keys = own_keys(&self.names, &config);
        self.config = config;
        let Self { counters, gauges, timers, sets, names, config, .. } = self;
        rename(counters, &old.counter[0], |series, _| Identity::path(names.counter.iter(), series));
        rename(gauges, &old.gauge[0], |series, _| Identity::path(names.gauge.iter(), series));
        rename(sets, &old.set[0], |series, _| Identity::path(names.set.iter(), series));
        rename(timers, &old.timer[0].name, |series, timed| {
            timed.histogram = histogram_of(config, names, series);
            Identity::path(timer_names(names, timed.histogram), series)
        });
        Ok(())
    }

    /// Takes over what a thread has counted, for a flush; the lane is empty after it, and knows the names it saw.
    ///
    /// Answers how many lines were of series that found no room under the limits. What was counted for them is dropped, so
    /// whoever asks reports the number; [`State::offenders`] tells whose they are.
    pub fn absorb(&mut self, lane: &mut Lane) -> u64 {
        lane.drain_into(self, true)
    }

    /// Takes over what a thread has counted up to now, in the middle of an interval. Answers as [`State::absorb`] does.
    pub fn peek(&mut self, lane: &mut Lane) -> u64 {
        lane.drain_into(self, false)
    }

    /// The number of a series, which is taken in when it is new. `None` when there is no room.
    pub(crate) fn bind(&mut self, family: Family, series: &str) -> Option<Id> {
        if let Some(id) = self.find(family, series) {
            return Some(id);
        }
        if self.series() >= self.limits.series || !self.prefixes.add(series) {
            self.was_full = true;
            return None;
        }
        self.take_in(family, series, self.mapper.identify(family, series))
    }

    fn find(&self, family: Family, series: &str) -> Option<Id> {
        match family {
            Family::Counter => self.counters.find(&self.names.counter[0], series),
            Family::Gauge => self.gauges.find(&self.names.gauge[0], series),
            Family::Timer => self.timers.find(&self.names.timer[0].name, series),
            Family::Set => self.sets.find(&self.names.set[0], series),
        }
    }

    /// Takes in a series, as what a mapping rule makes of it or as points under its own names.
    fn take_in(&mut self, family: Family, series: &str, mapped: Option<Identity>) -> Option<Id> {
        let Self { counters, gauges, timers, sets, names, config, .. } = self;
        let or_path = |path: Option<Identity>| mapped.or(path);
        Some(match family {
            Family::Counter => {
                let identity = or_path(Identity::path(names.counter.iter(), series))?;
                counters.insert(series, identity, Counter::default())
            }
            Family::Gauge => {
                let identity = or_path(Identity::path(names.gauge.iter(), series))?;
                gauges.insert(series, identity, Level::default())
            }
            Family::Timer => {
                let histogram = histogram_of(config, names, series);
                let identity = or_path(Identity::path(timer_names(names, histogram), series))?;
                timers.insert(series, identity, Timed { timer: Timer::default(), histogram })
            }
            Family::Set => sets.insert(series, or_path(Identity::path(names.set.iter(), series))?, Set::default()),
        })
    }

    /// Maps series by other rules from now on, or by none. What is mapped already goes where the new rules say; a gauge
    /// takes its level with it.
    pub fn set_rules(&mut self, rules: Option<Arc<Rules>>) {
        self.mapper.set_rules(rules);
        let Self { counters, gauges, timers, names, mapper, .. } = self;
        for (_, entry) in counters.iter_mut() {
            let series = entry.identity.series(&names.counter[0]);
            let path = || Identity::path(names.counter.iter(), &series);
            change(&mut entry.identity, mapper.identify(Family::Counter, &series).or_else(path));
        }
        for (_, entry) in gauges.iter_mut() {
            let series = entry.identity.series(&names.gauge[0]);
            let path = || Identity::path(names.gauge.iter(), &series);
            change(&mut entry.identity, mapper.identify(Family::Gauge, &series).or_else(path));
            if entry.value.open.is_untouched() {
                entry.value.open.set(entry.value.value, crate::Arrival::at(0));
            }
        }
        for (_, entry) in timers.iter_mut() {
            let series = entry.identity.series(&names.timer[0].name);
            let path = || Identity::path(timer_names(names, entry.value.histogram), &series);
            change(&mut entry.identity, mapper.identify(Family::Timer, &series).or_else(path));
        }
    }

    /// The metrics that mapping rules have made, as of the last flush.
    #[must_use]
    pub fn registry(&self) -> Arc<Mutex<Registry>> {
        self.mapper.registry()
    }

    /// Adds to a counter; whether there is one of that number.
    pub(crate) fn count(&mut self, id: Id, sum: f64, lines: u32) -> bool {
        let Some(entry) = self.counters.get_mut(id) else { return false };
        entry.value.add(sum);
        entry.lines = entry.lines.saturating_add(lines);
        true
    }

    /// Sets or moves a gauge; whether there is one of that number.
    pub(crate) fn move_gauge(&mut self, id: Id, gauge: Gauge, lines: u32) -> bool {
        let Some(entry) = self.gauges.get_mut(id) else { return false };
        entry.value.open.merge(gauge);
        entry.lines = entry.lines.saturating_add(lines);
        true
    }

    /// Takes a timer's samples; whether there is one of that number.
    pub(crate) fn add_timer(&mut self, id: Id, timer: &mut Timer, lines: u32) -> bool {
        let Some(entry) = self.timers.get_mut(id) else {
            timer.clear();
            return false;
        };
        let kept_before = entry.value.timer.samples.len();
        let room = (self.limits.timer_samples_total + kept_before).saturating_sub(self.open_samples);
        entry.value.timer.merge(timer, self.limits.timer_samples.min(room));
        self.open_samples = (self.open_samples + entry.value.timer.samples.len()).saturating_sub(kept_before);
        entry.lines = entry.lines.saturating_add(lines);
        true
    }

    /// Takes a set's members; whether there is one of that number.
    pub(crate) fn add_set(&mut self, id: Id, set: Set, lines: u32) -> bool {
        let Some(entry) = self.sets.get_mut(id) else { return false };
        let kept_before = entry.value.bytes();
        entry.value.merge(set, self.limits.set_members);
        let room = (self.limits.set_bytes_total + kept_before).saturating_sub(self.open_set_bytes);
        if entry.value.bytes() > room {
            entry.value.estimate();
        }
        self.open_set_bytes = (self.open_set_bytes + entry.value.bytes()).saturating_sub(kept_before);
        entry.lines = entry.lines.saturating_add(lines);
        true
    }

    /// The names that lines began with since this was last asked, and how many did, most first; `percent` of them.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of names"
    )]
    pub fn take_frequent(&mut self, percent: f64) -> Vec<(String, u64)> {
        let Self { counters, gauges, timers, sets, names, .. } = self;
        let mut counts: HashMap<String, u64, RandomState> = HashMap::default();
        take_lines(counters, &names.counter[0], &mut counts);
        take_lines(gauges, &names.gauge[0], &mut counts);
        take_lines(timers, &names.timer[0].name, &mut counts);
        take_lines(sets, &names.set[0], &mut counts);
        let mut frequent: Vec<(String, u64)> = counts.into_iter().collect();
        frequent.sort_unstable_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
        frequent.truncate((frequent.len() as f64 * (percent / 100.0)).ceil() as usize);
        frequent
    }

    /// Adds what happened at instants of their own.
    pub(crate) fn add_timed(&mut self, values: impl Iterator<Item = (TimedKey, f64)>) {
        for (mut key, value) in values {
            let instant = key.timestamp;
            key.timestamp = end_of_interval(instant, self.config.step);
            let has_room = self.timed.len() < self.limits.timed;
            match self.timed.get_mut(&key) {
                Some(known) => {
                    if key.family == Family::Counter {
                        known.value = saturating_add(known.value, value);
                    } else if instant >= known.newest {
                        known.value = value;
                    }
                    known.newest = known.newest.max(instant);
                    known.idle = 0;
                }
                None if has_room => _ = self.timed.insert(key, AtInstant { value, newest: instant, idle: 0 }),
                None => {
                    self.timed_refused += 1;
                    self.prefixes.refuse(&key.series, 1);
                }
            }
        }
    }

    /// Takes events in, as many as the open interval may have.
    pub(crate) fn add_events(&mut self, events: &mut Vec<Event>) {
        let taken = self.limits.events.saturating_sub(self.events.len()).min(events.len());
        self.events_refused += (events.len() - taken) as u64;
        self.events.extend(events.drain(..taken));
        events.clear();
    }

    /// Counts lines of a series that there is no room for.
    pub(crate) fn blame(&mut self, series: &str, lines: u32) {
        self.prefixes.refuse(series, u64::from(lines));
    }

    pub(crate) fn take_refused(&mut self, prefixes: &mut Prefixes) {
        self.prefixes.take_refused(prefixes);
    }

    /// Counts something of the server's own, such as `statsd.kernel_drops`; no limit holds it back.
    pub fn add_count(&mut self, name: &str, count: f64) {
        let known = self.find(Family::Counter, name).or_else(|| self.take_in(Family::Counter, name, None));
        if let Some(id) = known {
            self.count(id, count, 0);
        }
    }

    /// Sets a gauge of the server's own; no limit holds it back.
    pub(crate) fn set_gauge(&mut self, name: &str, level: f64) {
        let known = self.find(Family::Gauge, name).or_else(|| self.take_in(Family::Gauge, name, None));
        if let Some(entry) = known.and_then(|id| self.gauges.get_mut(id)) {
            entry.value.open.set(level, crate::Arrival::at(u64::MAX));
        }
    }

    /// The series that every flush writes, by which a store knows when the last one was.
    #[must_use]
    pub fn mark(&self) -> Option<&SeriesKey> {
        self.own_keys.first()
    }

    /// How many series are remembered, all types together.
    #[must_use]
    pub fn series(&self) -> usize {
        self.counters.len() + self.gauges.len() + self.timers.len() + self.sets.len()
    }

    /// Values with timestamps that found no room since the start.
    #[must_use]
    pub const fn timed_refused(&self) -> u64 {
        self.timed_refused
    }

    /// Events that found no room since the start.
    #[must_use]
    pub const fn events_refused(&self) -> u64 {
        self.events_refused
    }

    /// The prefixes that cost most: by the samples that were refused, then by their series.
    #[must_use]
    pub fn offenders(&self, most: usize) -> Vec<Offender> {
        self.prefixes.offenders(most)
    }

    /// Forgets series by number. Their numbers may be others' from then on.
    pub(crate) fn remove_ids(&mut self, family: Family, ids: &[Id]) -> Vec<String> {
        let Self { counters, gauges, timers, sets, names, prefixes, .. } = self;
        let removed: Vec<String> = match family {
            Family::Counter => remove(counters, &names.counter[0], ids),
            Family::Gauge => remove(gauges, &names.gauge[0], ids),
            Family::Timer => remove(timers, &names.timer[0].name, ids),
            Family::Set => remove(sets, &names.set[0], ids),
        };
        removed.iter().for_each(|series| prefixes.remove(series));
        self.removals += u64::from(!removed.is_empty());
        removed
    }
}

fn own_keys(names: &Names, config: &FlushConfig) -> Vec<SeriesKey> {
    names::keys(names.own.iter(), &config.prefix_stats).unwrap_or_default()
}

/// The end of the interval that an instant lies in.
fn end_of_interval(instant: Timestamp, step: Step) -> Timestamp {
    instant.offset(step.millis() - 1).align_down(step)
}

/// The names of a timer's series, the bins of its histogram last.
pub(crate) fn timer_names(names: &Names, histogram: Option<u8>) -> impl Iterator<Item = &Name> {
    let bins = histogram.and_then(|index| names.bins.get(usize::from(index)));
    names.timer.iter().map(|timer| &timer.name).chain(bins.into_iter().flatten())
}

/// The histogram that a timer is counted in: the first whose metric is part of its name.
fn histogram_of(config: &FlushConfig, names: &Names, series: &str) -> Option<u8> {
    if names.bins.is_empty() {
        return None;
    }
    let found = config.histogram.iter().position(|histogram| series.contains(&histogram.metric));
    found.and_then(|index| u8::try_from(index).ok())
}

fn take_lines<V>(known: &mut Known<V>, first: &Name, counts: &mut HashMap<String, u64, RandomState>) {
    for (_, entry) in known.iter_mut().filter(|(_, entry)| entry.lines > 0) {
        *counts.entry(entry.identity.series(first)).or_default() += u64::from(std::mem::take(&mut entry.lines));
    }
}

/// Puts a new identity in an old one's place.
fn change(identity: &mut Identity, new: Option<Identity>) {
    if let Some(new) = new {
        *identity = new;
    }
}

/// Gives every series that becomes points new keys. One of which no keys can be made is forgotten.
fn rename<V>(known: &mut Known<V>, old: &Name, mut identify: impl FnMut(&str, &mut V) -> Option<Identity>) {
    for (_, entry) in known.iter_mut() {
        if matches!(entry.identity, Identity::Path(_)) {
            let series = entry.identity.series(old);
            if let Some(identity) = identify(&series, &mut entry.value) {
                entry.identity = identity;
            }
        }
    }
}

fn remove<V>(known: &mut Known<V>, first: &Name, ids: &[Id]) -> Vec<String> {
    let removed = ids.iter().filter_map(|id| known.remove(first, *id));
    removed.map(|Entry { identity, .. }| identity.series(first)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arrival, Grammar, Parser, SelfFigures};
    use proptest::prelude::*;

    fn receive(lane: &Lane, packet: &str, order: u64) {
        let mut parser = Parser::new(&Limits::default(), Grammar::default());
        let table = lane.table();
        table
            .lock()
            .unwrap()
            .receive(&mut parser, packet.as_bytes(), Arrival::at(order), |refusal| panic!("{packet:?}: {refusal}"));
    }

    fn state() -> State {
        State::new(FlushConfig::default(), &Limits::default()).unwrap()
    }

    /// What a flush emits, by name.
    fn flushed(state: &mut State) -> Vec<(String, i64, f64)> {
        let batch = state.flush(Step::from_seconds(10).unwrap(), Timestamp::from_seconds(10), &SelfFigures::default());
        let mut points: Vec<_> = batch
            .rows
            .into_iter()
            .map(|row| (row.key.as_str().to_owned(), row.point.timestamp.seconds(), row.point.value))
            .collect();
        points.sort_by(|left, right| (&left.0, left.1).cmp(&(&right.0, right.1)));
        points
    }

    #[test]
    fn a_new_series_beyond_the_limit_is_counted_and_forgotten() {
        let limits = Limits { series: 2, ..Limits::default() };
        let mut state = State::new(FlushConfig::default(), &limits).unwrap();
        let mut first = Lane::new(limits.clone());
        let mut second = Lane::new(limits);
        receive(&first, "a:1|c\nb:1|g", 1);
        receive(&second, "a:1|c\nc:1|ms", 1);
        assert_eq!(state.absorb(&mut first), 0);
        assert_eq!(state.absorb(&mut second), 1);
        assert_eq!(state.series(), 2);
        state.add_count("statsd.kernel_drops", 1.0);
        assert_eq!(state.series(), 3, "the server's own counters are not held back");
        assert_eq!(state.counters(usize::MAX).shown[0], ("a".to_owned(), 2.0));
    }

    #[test]
    fn a_wrong_configuration_leaves_the_old_one() {
        let mut state = state();
        let mut lane = Lane::new(Limits::default());
        receive(&lane, "a:1|g\nt:1|ms", 1);
        state.absorb(&mut lane);
        flushed(&mut state);
        let wrong = FlushConfig { percent_thresholds: vec![0.0], ..FlushConfig::default() };
        assert_eq!(state.reconfigure(wrong), Err(ConfigError::Threshold(0.0)));
        assert!(flushed(&mut state).contains(&("stats.gauges.a".to_owned(), 10, 1.0)));
        state.reconfigure(FlushConfig { global_suffix: "x".to_owned(), ..FlushConfig::default() }).unwrap();
        receive(&lane, "a:+1|g\nt:1|ms", 2);
        state.absorb(&mut lane);
        let emitted = flushed(&mut state);
        assert!(emitted.contains(&("stats.gauges.a.x".to_owned(), 10, 2.0)), "{emitted:?}");
        assert!(emitted.contains(&("stats.timers.t.mean.x".to_owned(), 10, 1.0)), "{emitted:?}");
    }

    #[test]
    fn what_was_removed_is_counted_anew_though_its_number_is_anothers() {
        let mut state = state();
        let mut lane = Lane::new(Limits::default());
        receive(&lane, "a:1|c\nb:1|c", 1);
        state.absorb(&mut lane);
        assert_eq!(state.remove(Family::Counter, "a"), ["a"]);
        receive(&lane, "c:1|c\na:5|c\nb:1|c", 2);
        state.absorb(&mut lane);
        let counted = state.counters(usize::MAX).shown;
        assert_eq!(counted, [("a".to_owned(), 5.0), ("b".to_owned(), 2.0), ("c".to_owned(), 1.0)]);
    }

    #[test]
    fn names_are_counted_by_the_lines_that_begin_with_them() {
        let mut state = state();
        let mut lane = Lane::new(Limits::default());
        for order in 1..=2 {
            receive(&lane, "a:1|c:2|c\na:1|ms\nb:1|g\nc:x|s", order);
        }
        state.absorb(&mut lane);
        flushed(&mut state);
        receive(&lane, "b:1|g", 3);
        state.peek(&mut lane);
        let named = |name: &str, lines| (name.to_owned(), lines);
        assert_eq!(state.take_frequent(60.0), [named("a", 4), named("b", 3)]);
        assert_eq!(state.take_frequent(100.0), []);
    }

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            (0..3, -5..100_i32).prop_map(|(name, count)| format!("c{name}:{count}|c|@0.5")),
            (0..3, 0..100_u32).prop_map(|(name, value)| format!("t{name}:{value}|ms|@0.25")),
            (0..3, 0..9_u32).prop_map(|(name, member)| format!("s{name}:{member}|s")),
            (0..3, 0..100_u32).prop_map(|(name, value)| format!("set{name}:{value}|g")),
            (0..3, -9..9_i32).prop_map(|(name, delta)| format!("moved{name}:{delta:+}|g")),
            (0..3, 0..9_u32, 0..3_u32).prop_map(|(name, count, at)| format!("at{name}:{count}|c|T{at}")),
            // A value tells its instant, so that two at one instant are the same.
            (0..3, 0..30_u32).prop_map(|(name, at)| format!("level{name}:{at}|g|T{at}")),
        ]
    }

    proptest! {
        #[test]
        fn lanes_of_several_threads_flush_as_one(
            intervals in proptest::collection::vec(proptest::collection::vec((line(), 0..3_usize), 0..40), 1..4),
            is_peeked in any::<bool>(),
        ) {
            let mut threads: Vec<Lane> = (0..3).map(|_| Lane::new(Limits::default())).collect();
            let mut one = Lane::new(Limits::default());
            let (mut merged, mut alone) = (state(), state());
            let mut order = 0;
            for lines in intervals {
                for (line, thread) in lines {
                    order += 1;
                    receive(&threads[thread], &line, order);
                    receive(&one, &line, order);
                    if is_peeked {
                        merged.peek(&mut threads[thread]);
                    }
                }
                for lane in &mut threads {
                    merged.absorb(lane);
                }
                alone.absorb(&mut one);
                prop_assert_eq!(flushed(&mut merged), flushed(&mut alone));
            }
        }
    }
}
