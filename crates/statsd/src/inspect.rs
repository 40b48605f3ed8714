//! Looking into the open interval, and taking names out of it: what a management console asks of the state.
//!
//! Every answer is bounded, and says how much there is beyond it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::State;
use crate::table::Map;

/// What there is, sorted, up to some number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing<V> {
    /// The first of them.
    pub shown: Vec<V>,
    /// How many there are beyond those.
    pub more: usize,
}

/// The four kinds of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Counters.
    Counters,
    /// Timers.
    Timers,
    /// Gauges.
    Gauges,
    /// Sets.
    Sets,
}

/// Who takes up how much: the names that begin alike, up to their first dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offender {
    /// What the names begin with.
    pub prefix: String,
    /// How many series are remembered under it.
    pub series: u64,
    /// How many samples under it a limit has refused.
    pub refused: u64,
}

impl State {
    /// What each counter has counted in the open interval.
    #[must_use]
    pub fn counters(&self, most: usize) -> Listing<(String, f64)> {
        first(&self.counters, most, |counter| counter.open.sum)
    }

    /// The level of each gauge.
    #[must_use]
    pub fn gauges(&self, most: usize) -> Listing<(String, f64)> {
        first(&self.gauges, most, |gauge| gauge.open.open.level(gauge.open.value))
    }

    /// The samples of each timer in the open interval; of one timer `most_samples`.
    #[must_use]
    pub fn timers(&self, most: usize, most_samples: usize) -> Listing<(String, Listing<f64>)> {
        first(&self.timers, most, |timer| {
            let samples = &timer.open.samples;
            let shown = samples[..samples.len().min(most_samples)].to_vec();
            Listing { more: samples.len() - shown.len(), shown }
        })
    }

    /// The members of each set in the open interval; of one set `most_members`.
    #[must_use]
    pub fn sets(&self, most: usize, most_members: usize) -> Listing<(String, Listing<String>)> {
        first(&self.sets, most, |set| {
            let mut members: Vec<&[u8]> = set.open.members.iter().map(AsRef::as_ref).collect();
            let more = keep_first(&mut members, most_members, |member| *member);
            let shown = members.into_iter().map(|member| String::from_utf8_lossy(member).into_owned()).collect();
            Listing { shown, more }
        })
    }

    /// Forgets a name, or with a pattern such as `folder.*` all names that begin with `folder.`, and says which those were.
    pub fn remove(&mut self, family: Family, pattern: &str) -> Vec<String> {
        match family {
            Family::Counters => remove(&mut self.counters, pattern),
            Family::Timers => remove(&mut self.timers, pattern),
            Family::Gauges => remove(&mut self.gauges, pattern),
            Family::Sets => remove(&mut self.sets, pattern),
        }
    }

    /// The prefixes with the most series, most first.
    #[must_use]
    pub fn offenders(&self, most: usize) -> Vec<Offender> {
        let mut series: HashMap<&str, u64> = HashMap::new();
        let names = self.counters.keys().chain(self.gauges.keys()).chain(self.timers.keys()).chain(self.sets.keys());
        for name in names {
            *series.entry(prefix(name)).or_default() += 1;
        }
        let mut prefixes: Vec<(&str, u64)> = series.into_iter().collect();
        keep_first(&mut prefixes, most, |(prefix, series)| (std::cmp::Reverse(*series), *prefix));
        let offender = |(prefix, series): (&str, u64)| Offender { prefix: prefix.to_owned(), series, refused: 0 };
        prefixes.into_iter().map(offender).collect()
    }

    /// What the server's own series begin with.
    #[must_use]
    pub fn prefix_stats(&self) -> &str {
        &self.config.prefix_stats
    }
}

/// The part of a name that tells who sends it.
fn prefix(name: &str) -> &str {
    name.split(['.', ';']).next().unwrap_or(name)
}

fn first<V, T>(map: &Map<V>, most: usize, show: impl Fn(&V) -> T) -> Listing<(String, T)> {
    let mut entries: Vec<(&Arc<str>, &V)> = map.iter().collect();
    let more = keep_first(&mut entries, most, |(name, _)| *name);
    Listing { shown: entries.into_iter().map(|(name, value)| (name.to_string(), show(value))).collect(), more }
}

/// Keeps the first entries in order, and says how many there were beyond.
fn keep_first<'a, T, K: Ord + 'a>(entries: &mut Vec<T>, most: usize, key: impl Fn(&T) -> K) -> usize {
    let more = entries.len().saturating_sub(most);
    if more > 0 {
        entries.select_nth_unstable_by_key(most, &key);
        entries.truncate(most);
    }
    entries.sort_unstable_by_key(key);
    more
}

fn remove<V>(map: &mut Map<V>, pattern: &str) -> Vec<String> {
    let mut removed: Vec<String> = map.remove_entry(pattern).map(|(name, _)| name.to_string()).into_iter().collect();
    if let Some(folder) = pattern.strip_suffix('*').filter(|folder| folder.ends_with('.')) {
        map.retain(|name, _| {
            let stays = !name.starts_with(folder);
            if !stays {
                removed.push(name.to_string());
            }
            stays
        });
    }
    removed.sort_unstable();
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arrival, FlushConfig, Limits, Parser, SelfFigures, Table};
    use statline_series::{Step, Timestamp};

    fn state(packets: &[&str]) -> State {
        let mut state = State::new(FlushConfig::default(), &Limits::default()).unwrap();
        receive(&mut state, packets);
        state
    }

    fn receive(state: &mut State, packets: &[&str]) {
        let mut table = Table::new(Limits::default());
        for packet in packets {
            let refused = |refusal| panic!("{packet}: {refusal}");
            table.receive(&mut Parser::new(&Limits::default()), packet.as_bytes(), Arrival(1), refused);
        }
        state.absorb(&mut table);
    }

    fn listing<V>(shown: impl IntoIterator<Item = V>, more: usize) -> Listing<V> {
        Listing { shown: shown.into_iter().collect(), more }
    }

    #[test]
    fn the_open_interval_is_shown_by_name() {
        let mut state = state(&["b:1|c\na:2|c|@0.5", "t:3:1:2|ms", "g:5|g\ng:+1|g", "s:x|s:1|s", "s:y|s"]);
        assert_eq!(state.counters(9), listing([("a".to_owned(), 4.0), ("b".to_owned(), 1.0)], 0));
        assert_eq!(state.counters(1), listing([("a".to_owned(), 4.0)], 1));
        assert_eq!(state.gauges(9), listing([("g".to_owned(), 6.0)], 0));
        assert_eq!(state.timers(9, 2), listing([("t".to_owned(), listing([3.0, 1.0], 1))], 0));
        let shown = state.sets(9, 1);
        assert_eq!(
            (shown.shown[0].1.shown.len(), shown.shown[0].1.more),
            (1, state.sets(9, 9).shown[0].1.shown.len() - 1)
        );
        state.flush(Step::SECOND, Timestamp::from_seconds(1), &SelfFigures::default());
        receive(&mut state, &["g:+1|g"]);
        assert_eq!(state.gauges(9).shown[0], ("g".to_owned(), 7.0));
        assert_eq!(state.timers(9, 2).shown[0], ("t".to_owned(), Listing::default()));
    }

    #[test]
    fn a_name_or_a_folder_is_removed() {
        let mut state = state(&["a.b:1|c\na.b.c:1|c\na.bc:1|c\na.d:1|g\na.b.d:1|c"]);
        assert_eq!(state.remove(Family::Gauges, "a.b"), [""; 0]);
        assert_eq!(state.remove(Family::Counters, "a.b.*"), ["a.b.c", "a.b.d"]);
        assert_eq!(state.remove(Family::Counters, "a.b"), ["a.b"]);
        assert_eq!(state.remove(Family::Counters, "a*"), [""; 0]);
        assert_eq!(state.remove(Family::Gauges, "a.*"), ["a.d"]);
        assert_eq!(state.series(), 1);
    }

    #[test]
    fn offenders_are_the_prefixes_with_the_most_series() {
        let state = state(&["a.b:1|c\na.c:1|c\na.c:1|g\nb:1|ms\nc;t=v:1|c\nc.d:1|s"]);
        let offenders: Vec<_> =
            state.offenders(2).into_iter().map(|offender| (offender.prefix, offender.series)).collect();
        assert_eq!(offenders, [("a".to_owned(), 3), ("c".to_owned(), 2)]);
    }
}
