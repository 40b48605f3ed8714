//! Looking into the open interval, and taking series out of it by name: what a management console asks of the state.
//!
//! Every answer is bounded, and says how much there is beyond it.

use std::collections::BTreeMap;

use crate::State;
use crate::counter::Counter;
use crate::known::{Entry, Known};
use crate::names::Name;
use crate::set::Set;
use crate::state::{Level, Timed};
use crate::table::Family;

/// What there is, in order, up to some number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing<V> {
    /// The first of them.
    pub shown: Vec<V>,
    /// How many there are beyond those.
    pub more: usize,
}

impl State {
    /// What each counter has counted in the open interval.
    #[must_use]
    pub fn counters(&self, most: usize) -> Listing<(String, f64)> {
        let deletes = self.config.delete_counters;
        let is_there = |entry: &Entry<Counter>| entry.value.touched || entry.idle == 0 || !deletes;
        listed(&self.counters, &self.names.counter[0], most, is_there, |counter| counter.sum)
    }

    /// The level of each gauge.
    #[must_use]
    pub fn gauges(&self, most: usize) -> Listing<(String, f64)> {
        let ttl = if self.config.delete_gauges { self.config.gauges_max_ttl } else { u32::MAX };
        let is_there = |entry: &Entry<Level>| !entry.value.open.is_untouched() || entry.idle < ttl;
        listed(&self.gauges, &self.names.gauge[0], most, is_there, |level| level.open.level(level.value))
    }

    /// The samples of each timer in the open interval; of one timer `most_samples`. Of one that has more than are kept as
    /// they are there are none to show.
    #[must_use]
    pub fn timers(&self, most: usize, most_samples: usize) -> Listing<(String, Listing<f64>)> {
        let deletes = self.config.delete_timers;
        let is_there = |entry: &Entry<Timed>| !entry.value.timer.is_empty() || entry.idle == 0 || !deletes;
        listed(&self.timers, &self.names.timer[0].name, most, is_there, |timed| {
            let samples = &timed.timer.samples;
            let shown = samples[..samples.len().min(most_samples)].to_vec();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of samples")]
            let summed_up = timed.timer.many.as_ref().map_or(0, |many| many.count as usize);
            Listing { more: samples.len() - shown.len() + summed_up, shown }
        })
    }

    /// The members of each set in the open interval; of one set `most_members`. Of one that has more than are kept there
    /// are none to show.
    #[must_use]
    pub fn sets(&self, most: usize, most_members: usize) -> Listing<(String, Listing<String>)> {
        let deletes = self.config.delete_sets;
        let is_there = |entry: &Entry<Set>| !entry.value.is_empty() || entry.idle == 0 || !deletes;
        listed(&self.sets, &self.names.set[0], most, is_there, |set| {
            let mut members: Vec<&[u8]> = set.members().collect();
            members.sort_unstable();
            members.truncate(most_members);
            let shown: Vec<String> =
                members.into_iter().map(|member| String::from_utf8_lossy(member).into_owned()).collect();
            Listing { more: set.len() - shown.len(), shown }
        })
    }

    /// Forgets a series, or with a pattern such as `folder.*` all whose names begin with `folder.`, and says which those
    /// were, in order. Nothing is emitted for them until they are sent again.
    pub fn remove(&mut self, family: Family, pattern: &str) -> Vec<String> {
        let ids = match family {
            Family::Counter => matching(&self.counters, &self.names.counter[0], pattern),
            Family::Gauge => matching(&self.gauges, &self.names.gauge[0], pattern),
            Family::Timer => matching(&self.timers, &self.names.timer[0].name, pattern),
            Family::Set => matching(&self.sets, &self.names.set[0], pattern),
        };
        let mut removed = self.remove_ids(family, &ids);
        removed.sort_unstable();
        removed
    }

    /// What the server's own series begin with.
    #[must_use]
    pub fn prefix_stats(&self) -> &str {
        &self.config.prefix_stats
    }
}

fn listed<V, T>(
    known: &Known<V>,
    first: &Name,
    most: usize,
    is_there: impl Fn(&Entry<V>) -> bool,
    show: impl Fn(&V) -> T,
) -> Listing<(String, T)> {
    // No more names than are shown are held at a time.
    let mut first_named: BTreeMap<String, &V> = BTreeMap::new();
    let mut more = 0;
    for (_, entry) in known.iter().filter(|(_, entry)| is_there(entry)) {
        first_named.insert(entry.identity.series(first), &entry.value);
        if first_named.len() > most {
            first_named.pop_last();
            more += 1;
        }
    }
    Listing { shown: first_named.into_iter().map(|(series, value)| (series, show(value))).collect(), more }
}

fn matching<V>(known: &Known<V>, first: &Name, pattern: &str) -> Vec<crate::known::Id> {
    let Some(folder) = pattern.strip_suffix('*').filter(|folder| folder.ends_with('.')) else {
        return known.find(first, pattern).into_iter().collect();
    };
    let is_in = |entry: &Entry<V>| entry.identity.series(first).starts_with(folder);
    known.iter().filter(|(_, entry)| is_in(entry)).map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arrival, FlushConfig, Grammar, Lane, Limits, Parser, SelfFigures};
    use statline_series::{Step, Timestamp};

    #[test]
    fn the_open_interval_is_shown_and_series_are_forgotten_by_folder() {
        let mut state = State::new(FlushConfig::default(), &Limits::default()).unwrap();
        let mut lane = Lane::new(Limits::default());
        let mut parser = Parser::new(&Limits::default(), Grammar::default());
        let packet = b"b.x:1|c\na:2|c\nb.y:1|c\ng:5|g\ng:+1|g\nt:3|ms\nt:1|ms\ns:y|s\ns:x|s";
        lane.table().lock().unwrap().receive(&mut parser, packet, Arrival::at(1), |refusal| panic!("{refusal}"));
        state.peek(&mut lane);
        let named = |name: &str, value| (name.to_owned(), value);
        assert_eq!(state.counters(9).shown, [named("a", 2.0), named("b.x", 1.0), named("b.y", 1.0)]);
        assert_eq!(state.counters(1), Listing { shown: vec![named("a", 2.0)], more: 2 });
        assert_eq!(state.gauges(9).shown, [named("g", 6.0)]);
        assert_eq!(state.timers(9, 1).shown, [("t".to_owned(), Listing { shown: vec![3.0], more: 1 })]);
        assert_eq!(state.sets(9, 1).shown, [("s".to_owned(), Listing { shown: vec!["x".to_owned()], more: 1 })]);
        assert_eq!(state.remove(Family::Counter, "b.*"), ["b.x", "b.y"]);
        assert_eq!(state.remove(Family::Counter, "b"), Vec::<String>::new());
        assert_eq!(state.remove(Family::Gauge, "g"), ["g"]);
        assert_eq!(state.counters(9).shown, [named("a", 2.0)]);
        state.flush(Step::SECOND, Timestamp::from_seconds(1), &SelfFigures::default());
        assert_eq!(state.counters(9).shown, [named("a", 0.0)]);
    }
}
