//! What is remembered from flush to flush: the level of each gauge, and which series there are, so that an idle one is
//! still spoken of.
//!
//! The flusher owns one state. At a flush it drains each thread's table into it, then closes the interval.

use std::sync::Arc;

use statline_series::SeriesKey;

use crate::counter::Counter;
use crate::gauge::Gauge;
use crate::names::{self, Name, Names};
use crate::set::Set;
use crate::table::{Map, drain};
use crate::timer::{Scratch, Timer};
use crate::{ConfigError, FlushConfig, Limits, Table};

/// A series and the keys of its points, which are made once.
#[derive(Debug, Default)]
pub(crate) struct Remembered<V> {
    pub(crate) open: V,
    keys: Box<[SeriesKey]>,
}

impl<V> Remembered<V> {
    /// The keys of the points, and what happened in the interval.
    pub(crate) fn named(&mut self, names: &[Name], series: &str) -> (&[SeriesKey], &mut V) {
        if self.keys.is_empty() {
            self.keys = names::keys(names, series);
            debug_assert!(!self.keys.is_empty(), "a sanitised and bounded name has a key: {series:?}");
        }
        (&self.keys, &mut self.open)
    }
}

/// A gauge's level, and what happened to it since.
#[derive(Debug, Default)]
pub(crate) struct Level {
    pub(crate) open: Gauge,
    /// As of the last flush; 0 before the first.
    pub(crate) value: f64,
    /// Flushes since it was last sent.
    pub(crate) idle: u32,
}

/// Everything a server knows between packets.
#[derive(Debug)]
pub struct State {
    pub(crate) counters: Map<Remembered<Counter>>,
    pub(crate) gauges: Map<Remembered<Level>>,
    pub(crate) timers: Map<Remembered<Timer>>,
    pub(crate) sets: Map<Remembered<Set>>,
    pub(crate) own_keys: Box<[SeriesKey]>,
    pub(crate) config: FlushConfig,
    pub(crate) names: Names,
    pub(crate) scratch: Scratch,
    series_limit: usize,
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
            counters: Map::default(),
            gauges: Map::default(),
            timers: Map::default(),
            sets: Map::default(),
            own_keys: names::keys(&names.own, &config.prefix_stats),
            config,
            names,
            scratch: Scratch::default(),
            series_limit: limits.series,
        })
    }

    /// Goes on under another configuration; levels and series are kept.
    ///
    /// # Errors
    /// When the configuration cannot be used; the old one is then kept.
    pub fn reconfigure(&mut self, config: FlushConfig) -> Result<(), ConfigError> {
        config.validate()?;
        self.names = Names::new(&config);
        self.own_keys = names::keys(&self.names.own, &config.prefix_stats);
        self.config = config;
        for counter in self.counters.values_mut() {
            counter.keys = Box::default();
        }
        for gauge in self.gauges.values_mut() {
            gauge.keys = Box::default();
        }
        for timer in self.timers.values_mut() {
            timer.keys = Box::default();
        }
        for set in self.sets.values_mut() {
            set.keys = Box::default();
        }
        Ok(())
    }

    /// Takes over what a thread has counted; the table is empty after it, and knows the names it saw.
    ///
    /// Answers how many series found no room under the limit. What was counted for them is dropped, so whoever asks
    /// reports the number.
    pub fn absorb(&mut self, table: &mut Table) -> u64 {
        let others = self.gauges.len() + self.timers.len() + self.sets.len();
        let mut refused =
            absorb_map(&mut table.counters, &mut self.counters, self.series_limit, others, |from, into| {
                let counter = from.take();
                if counter.touched {
                    into.add(counter.sum);
                }
                counter.touched
            });
        let others = self.counters.len() + self.timers.len() + self.sets.len();
        refused += absorb_map(&mut table.gauges, &mut self.gauges, self.series_limit, others, |from, into| {
            let gauge = from.take();
            let touched = !gauge.is_untouched();
            into.open.merge(gauge);
            touched
        });
        let others = self.counters.len() + self.gauges.len() + self.sets.len();
        refused += absorb_map(&mut table.timers, &mut self.timers, self.series_limit, others, |from, into| {
            let touched = !from.samples.is_empty();
            into.merge(from);
            from.clear();
            touched
        });
        let others = self.counters.len() + self.gauges.len() + self.timers.len();
        refused += absorb_map(&mut table.sets, &mut self.sets, self.series_limit, others, |from, into| {
            let set = from.take();
            let touched = !set.is_empty();
            into.merge(set);
            touched
        });
        table.reset_totals();
        refused
    }

    /// Counts something of the server's own, such as `statsd.kernel_drops`; no limit holds it back.
    pub fn add_count(&mut self, name: &str, count: f64) {
        if let Some(counter) = self.counters.get_mut(name) {
            counter.open.add(count);
        } else {
            let mut counter = Remembered::<Counter>::default();
            counter.open.add(count);
            self.counters.insert(name.into(), counter);
        }
    }

    /// How many series are remembered, all types together.
    #[must_use]
    pub fn series(&self) -> usize {
        self.counters.len() + self.gauges.len() + self.timers.len() + self.sets.len()
    }
}

/// Moves each value of a table's map into the state's. `merge` answers whether there was anything in it; a table forgets
/// a name that had nothing.
fn absorb_map<T, V: Default>(
    table: &mut Map<T>,
    state: &mut Map<Remembered<V>>,
    series_limit: usize,
    other_series: usize,
    mut merge: impl FnMut(&mut T, &mut V) -> bool,
) -> u64 {
    let mut refused = 0;
    drain(table, |key: &Arc<str>, value| {
        if let Some(known) = state.get_mut(key) {
            return merge(value, &mut known.open);
        }
        let mut new = Remembered::<V>::default();
        if !merge(value, &mut new.open) {
            return false;
        }
        if state.len() + other_series >= series_limit {
            refused += 1;
            return false;
        }
        state.insert(key.clone(), new);
        true
    });
    refused
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arrival, Parser, SelfFigures};
    use proptest::prelude::*;
    use statline_series::{Step, Timestamp};

    fn receive(table: &mut Table, packet: &str, arrival: u64) {
        table.receive(&mut Parser::new(&Limits::default()), packet.as_bytes(), Arrival(arrival), |refusal| {
            panic!("{packet:?}: {refusal}")
        });
    }

    fn state() -> State {
        State::new(FlushConfig::default(), &Limits::default()).unwrap()
    }

    /// What a flush emits, by name.
    fn flushed(state: &mut State) -> Vec<(String, f64)> {
        let batch = state.flush(Step::from_seconds(10).unwrap(), Timestamp::from_seconds(10), &SelfFigures::default());
        let mut points: Vec<_> =
            batch.rows.into_iter().map(|row| (row.key.as_str().to_owned(), row.point.value)).collect();
        points.sort_by(|left, right| left.0.cmp(&right.0));
        points
    }

    #[test]
    fn a_drained_table_knows_the_names_of_the_last_interval_only() {
        let mut table = Table::new(Limits::default());
        let mut state = state();
        receive(&mut table, "a:1|c\nb:1|g\nc:1|ms\nd:1|s", 1);
        assert_eq!(state.absorb(&mut table), 0);
        assert_eq!(table.series(), 4);
        receive(&mut table, "a:1|c", 2);
        state.absorb(&mut table);
        assert_eq!(table.series(), 1);
        assert_eq!(state.series(), 4);
    }

    #[test]
    fn a_new_series_beyond_the_limit_is_counted_and_forgotten() {
        let limits = Limits { series: 2, ..Limits::default() };
        let mut state = State::new(FlushConfig::default(), &limits).unwrap();
        let mut first = Table::new(limits.clone());
        let mut second = Table::new(limits);
        receive(&mut first, "a:1|c\nb:1|g", 1);
        receive(&mut second, "a:1|c\nc:1|ms", 1);
        assert_eq!(state.absorb(&mut first), 0);
        assert_eq!(state.absorb(&mut second), 1);
        assert_eq!((state.series(), second.series()), (2, 1));
        state.add_count("statsd.kernel_drops", 1.0);
        assert_eq!(state.series(), 3, "the server's own counters are not held back");
    }

    #[test]
    fn a_wrong_configuration_leaves_the_old_one() {
        let mut state = state();
        let mut table = Table::new(Limits::default());
        receive(&mut table, "a:1|g", 1);
        state.absorb(&mut table);
        flushed(&mut state);
        let wrong = FlushConfig { percent_thresholds: vec![0.0], ..FlushConfig::default() };
        assert_eq!(state.reconfigure(wrong), Err(ConfigError::Threshold(0.0)));
        assert!(flushed(&mut state).contains(&("stats.gauges.a".to_owned(), 1.0)));
        state.reconfigure(FlushConfig { global_suffix: "x".to_owned(), ..FlushConfig::default() }).unwrap();
        assert!(flushed(&mut state).contains(&("stats.gauges.a.x".to_owned(), 1.0)));
    }

    fn line() -> impl Strategy<Value = String> {
        let shared = prop_oneof![
            (0..3, -5..100_i32).prop_map(|(name, count)| format!("c{name}:{count}|c|@0.5")),
            (0..3, 0..100_u32).prop_map(|(name, value)| format!("t{name}:{value}|ms|@0.25")),
            (0..3, 0..9_u32).prop_map(|(name, member)| format!("s{name}:{member}|s")),
            (0..3, 0..100_u32).prop_map(|(name, value)| format!("set{name}:{value}|g")),
            (0..3, -9..9_i32).prop_map(|(name, delta)| format!("moved{name}:{delta:+}|g")),
        ];
        shared
    }

    proptest! {
        #[test]
        fn tables_of_several_threads_flush_as_one_table(
            intervals in proptest::collection::vec(proptest::collection::vec((line(), 0..3_usize), 0..40), 1..4),
        ) {
            let mut threads: Vec<Table> = (0..3).map(|_| Table::new(Limits::default())).collect();
            let mut one = Table::new(Limits::default());
            let (mut merged, mut alone) = (state(), state());
            let mut arrival = 0;
            for lines in intervals {
                for (line, thread) in lines {
                    arrival += 1;
                    receive(&mut threads[thread], &line, arrival);
                    receive(&mut one, &line, arrival);
                }
                for table in &mut threads {
                    merged.absorb(table);
                }
                alone.absorb(&mut one);
                prop_assert_eq!(flushed(&mut merged), flushed(&mut alone));
            }
        }
    }
}
