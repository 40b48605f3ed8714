//! What the open interval holds, for the console; and forgetting series by name.

use crate::State;
use crate::known::{Id, Known};
use crate::names::Name;
use crate::table::Family;

impl State {
    /// The counters with what has been counted since the last flush, in the order of their names.
    #[must_use]
    pub fn counters(&self) -> Vec<(String, f64)> {
        let is_gone = |idle| self.config.delete_counters && idle > 0;
        listed(&self.counters, &self.names.counter[0], |counter, idle| {
            (counter.touched || !is_gone(idle)).then_some(counter.sum)
        })
    }

    /// The gauges with their levels, in the order of their names.
    #[must_use]
    pub fn gauges(&self) -> Vec<(String, f64)> {
        let is_gone = |idle: u32| self.config.delete_gauges && idle >= self.config.gauges_max_ttl;
        listed(&self.gauges, &self.names.gauge[0], |level, idle| {
            (!level.open.is_untouched() || !is_gone(idle)).then(|| level.open.level(level.value))
        })
    }

    /// The timers with the samples since the last flush, in the order of their names. Of one with more samples than are
    /// kept there are none.
    #[must_use]
    pub fn timers(&self) -> Vec<(String, Vec<f64>)> {
        let is_gone = |idle| self.config.delete_timers && idle > 0;
        listed(&self.timers, &self.names.timer[0].name, |timed, idle| {
            (!timed.timer.is_empty() || !is_gone(idle)).then(|| timed.timer.samples.clone())
        })
    }

    /// The sets with the members since the last flush, both in the order of their names. Of one with more members than are
    /// kept there are none.
    #[must_use]
    pub fn sets(&self) -> Vec<(String, Vec<String>)> {
        let is_gone = |idle| self.config.delete_sets && idle > 0;
        listed(&self.sets, &self.names.set[0], |set, idle| {
            let mut members: Vec<String> =
                set.members().map(|member| String::from_utf8_lossy(member).into_owned()).collect();
            members.sort_unstable();
            (!set.is_empty() || !is_gone(idle)).then_some(members)
        })
    }

    /// Forgets a series, or with `folder.*` all whose names begin with `folder.`; answers which, in their order. Nothing
    /// is emitted for them until they are sent again.
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
}

fn listed<V, T>(known: &Known<V>, first: &Name, show: impl Fn(&V, u32) -> Option<T>) -> Vec<(String, T)> {
    let shown = |(_, entry): (Id, &crate::known::Entry<V>)| {
        Some((entry.identity.series(first), show(&entry.value, entry.idle)?))
    };
    let mut listed: Vec<(String, T)> = known.iter().filter_map(shown).collect();
    listed.sort_unstable_by(|left, right| left.0.cmp(&right.0));
    listed
}

fn matching<V>(known: &Known<V>, first: &Name, pattern: &str) -> Vec<Id> {
    let folder = pattern.strip_suffix('*').filter(|folder| folder.ends_with('.'));
    if folder.is_none() {
        return known.find(first, pattern).into_iter().collect();
    }
    let is_in = |series: &str| folder.is_some_and(|folder| series.starts_with(folder));
    known.iter().filter(|(_, entry)| is_in(&entry.identity.series(first))).map(|(id, _)| id).collect()
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
        assert_eq!(state.counters(), [named("a", 2.0), named("b.x", 1.0), named("b.y", 1.0)]);
        assert_eq!(state.gauges(), [named("g", 6.0)]);
        assert_eq!(state.timers(), [("t".to_owned(), vec![3.0, 1.0])]);
        assert_eq!(state.sets(), [("s".to_owned(), vec!["x".to_owned(), "y".to_owned()])]);
        assert_eq!(state.remove(Family::Counter, "b.*"), ["b.x", "b.y"]);
        assert_eq!(state.remove(Family::Counter, "b"), Vec::<String>::new());
        assert_eq!(state.remove(Family::Gauge, "g"), ["g"]);
        assert_eq!(state.counters(), [named("a", 2.0)]);
        state.flush(Step::SECOND, Timestamp::from_seconds(1), &SelfFigures::default());
        assert_eq!(state.counters(), [named("a", 0.0)]);
    }
}
