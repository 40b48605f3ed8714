//! Globs as a state machine over the parts of a name between its dots.
//!
//! It is statsd_exporter's, with its precedence and its corners. Rules are a tree: an edge is a part of a match, `*` or
//! literal, with a tree for each type of metric. With ordering, of all rules that match the one that stands first in the
//! file wins, and the whole tree is searched. Without, a literal part is preferred to `*` at each level, and a wrong turn is
//! taken back only when the set of rules asks for it. A node is visited at most once a name, and not when all rules behind it
//! stand after one that was found, so that no name costs more than the rules are long.
//!
//! Two corners are kept because files in use rest on them: a rule whose match is the beginning of an earlier rule's match is
//! never found, and a rule that repeats an earlier match gives its own place in the order to the earlier one.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::config::MetricType;

#[derive(Debug, Default)]
struct State {
    literal: HashMap<Box<str>, usize, RandomState>,
    star: Option<usize>,
    /// The fewest and the most parts that follow to the end of a match.
    fewest: usize,
    most: usize,
    /// The rule whose match ends here.
    rule: Option<usize>,
    /// The lower, the earlier in the file.
    priority: usize,
    /// The place of the first rule that passes here: none behind it is earlier.
    earliest: usize,
}

/// The state machine of all globs of a file.
#[derive(Debug)]
pub(super) struct Globs {
    states: Vec<State>,
    longest: usize,
    added: usize,
    ordered: bool,
    backtracks: bool,
}

/// What [`Globs::add`] found out about a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    Found,
    /// An earlier rule has the same match, and stays.
    Repeats,
    /// An earlier rule's match begins with this one, which is then never found.
    Hidden,
}

impl Globs {
    pub fn new(ordered: bool) -> Self {
        let states = MetricType::ALL.iter().map(|_| State::default()).collect();
        Self { states, longest: 0, added: 0, ordered, backtracks: true }
    }

    /// Adds the match of a rule, for one type of metric or all.
    pub fn add(&mut self, pattern: &str, metric: Option<MetricType>, rule: usize) -> Added {
        let parts: Vec<&str> = pattern.split('.').collect();
        self.longest = self.longest.max(parts.len());
        let mut added = Added::Found;
        for root in MetricType::ALL {
            if metric.is_some_and(|metric| metric != root) {
                continue;
            }
            let mut at = root as usize;
            for (index, part) in parts.iter().enumerate() {
                let left = parts.len() - index - 1;
                at = match self.edge(at, part) {
                    Some(next) => {
                        let state = &mut self.states[next];
                        state.fewest = state.fewest.min(left);
                        state.most = state.most.max(left);
                        if left == 0 {
                            added = if state.rule.is_some() { Added::Repeats } else { Added::Hidden };
                        }
                        next
                    }
                    None => {
                        let rule = (left == 0).then_some(rule);
                        let earliest = self.added;
                        self.states.push(State { fewest: left, most: left, rule, earliest, ..State::default() });
                        let next = self.states.len() - 1;
                        if *part == "*" {
                            self.states[at].star = Some(next);
                        } else {
                            self.states[at].literal.insert((*part).into(), next);
                        }
                        next
                    }
                };
            }
            self.states[at].priority = self.added;
        }
        self.added += 1;
        added
    }

    /// Looks, when all rules are in, if wrong turns must be taken back.
    pub fn finish(&mut self, patterns: &[&str]) {
        self.backtracks = self.ordered || needs_backtracking(patterns);
    }

    fn edge(&self, from: usize, part: &str) -> Option<usize> {
        if part == "*" { self.states[from].star } else { self.states[from].literal.get(part).copied() }
    }

    /// The rule for a name, and what stood where its match has stars.
    pub fn find<'n>(&self, name: &'n str, metric: MetricType) -> Option<(usize, Vec<&'n str>)> {
        // Few names have so many parts that the longest rule is left behind.
        let parts: Vec<&str> = name.splitn(self.longest + 1, '.').collect();
        if parts.len() > self.longest {
            return None;
        }
        let mut best: Option<(usize, usize, Vec<&str>)> = None;
        let mut captures: Vec<&str> = Vec::new();
        // Turns not taken: the state behind the star, the part that it takes, and the captures before it.
        let mut turns: Vec<(usize, usize, usize)> = Vec::new();
        let (mut at, mut index) = (metric as usize, 0);
        loop {
            let state = &self.states[at];
            let left = parts.len() - index - 1;
            let best_so_far = best.as_ref().map_or(usize::MAX, |(_, priority, _)| *priority);
            let can_lead_to_a_better_one = |next: &usize| {
                let State { fewest, most, earliest, .. } = self.states[*next];
                (fewest..=most).contains(&left) && earliest < best_so_far
            };
            let literal = state.literal.get(parts[index]).copied().filter(can_lead_to_a_better_one);
            let star = state.star.filter(can_lead_to_a_better_one);
            let mut next = match (literal, star) {
                (Some(literal), star) => {
                    if let Some(star) = star.filter(|_| self.backtracks) {
                        turns.push((star, index, captures.len()));
                    }
                    Some(literal)
                }
                (None, Some(star)) => {
                    captures.push(parts[index]);
                    Some(star)
                }
                (None, None) => None,
            };
            loop {
                if let Some(state) = next {
                    index += 1;
                    if index < parts.len() {
                        at = state;
                        break;
                    }
                    let State { rule, priority, .. } = self.states[state];
                    if let Some(rule) = rule {
                        if !self.ordered {
                            return Some((rule, captures));
                        }
                        if best.as_ref().is_none_or(|(_, best, _)| priority < *best) {
                            best = Some((rule, priority, captures.clone()));
                        }
                    }
                }
                let Some((state, part, captured)) = turns.pop() else {
                    return best.map(|(rule, _, captures)| (rule, captures));
                };
                captures.truncate(captured);
                captures.push(parts[part]);
                index = part;
                next = Some(state);
            }
        }
    }
}

/// Whether, without ordering, taking the literal part first could miss a rule that another turn would find.
fn needs_backtracking(patterns: &[&str]) -> bool {
    let mut by_length: HashMap<usize, Vec<&str>> = HashMap::new();
    for pattern in patterns {
        by_length.entry(pattern.split('.').count()).or_default().push(pattern);
    }
    by_length.values().any(|patterns| {
        patterns.iter().enumerate().any(|(index, pattern)| {
            let others =
                || patterns.iter().enumerate().filter(move |(other, _)| *other != index).map(|(_, other)| other);
            let mut stars = pattern.match_indices('*');
            stars.any(|(star, _)| others().any(|other| other.starts_with(&pattern[..star])))
                && !others().any(|other| covers(pattern, other) || covers(other, pattern))
        })
    })
}

/// Whether `wide` matches the text of `narrow`; both have as many parts.
fn covers(wide: &str, narrow: &str) -> bool {
    wide.split('.').zip(narrow.split('.')).all(|(wide, narrow)| wide == "*" || wide == narrow)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(ordered: bool, patterns: &[&str]) -> Globs {
        let mut globs = Globs::new(ordered);
        for (rule, pattern) in patterns.iter().enumerate() {
            globs.add(pattern, None, rule);
        }
        globs.finish(patterns);
        globs
    }

    #[test]
    fn the_earliest_rule_wins_when_rules_are_ordered() {
        let globs = globs(true, &["a.*.*", "a.b.*", "*.b.c", "a.b.c"]);
        for (name, found) in [
            ("a.b.c", Some((0, vec!["b", "c"]))),
            ("x.b.c", Some((2, vec!["x"]))),
            ("x.b.d", None),
            ("a.b", None),
            ("a.b.c.d", None),
            ("a..", Some((0, vec!["", ""]))),
            ("", None),
        ] {
            assert_eq!(globs.find(name, MetricType::Counter), found, "{name:?}");
        }
    }

    #[test]
    fn literal_parts_win_when_rules_are_not_ordered_and_turns_are_taken_back_when_needed() {
        let unordered = globs(false, &["a.*.*", "a.b.*", "*.b.c", "a.b.c"]);
        assert_eq!(unordered.find("a.b.c", MetricType::Gauge), Some((3, vec![])));
        assert_eq!(unordered.find("a.b.x", MetricType::Gauge), Some((1, vec!["x"])));

        assert!(needs_backtracking(&["a.*.c", "a.b.d"]));
        let backtracking = globs(false, &["a.*.c", "a.b.d"]);
        assert_eq!(backtracking.find("a.b.c", MetricType::Gauge), Some((0, vec!["b"])));
    }

    #[test]
    fn a_rule_for_one_type_is_not_found_for_another() {
        let mut globs = Globs::new(true);
        globs.add("a.*", Some(MetricType::Gauge), 0);
        globs.finish(&["a.*"]);
        assert_eq!(globs.find("a.b", MetricType::Counter), None);
        assert_eq!(globs.find("a.b", MetricType::Gauge), Some((0, vec!["b"])));
    }

    #[test]
    fn the_corners_of_statsd_exporter_are_kept() {
        let mut hidden = Globs::new(true);
        assert_eq!(hidden.add("a.b.c", None, 0), Added::Found);
        assert_eq!(hidden.add("a.b", None, 1), Added::Hidden);
        assert_eq!(hidden.find("a.b", MetricType::Counter), None);

        let mut repeated = Globs::new(true);
        repeated.add("a.*", None, 0);
        repeated.add("*.b", None, 1);
        assert_eq!(repeated.add("a.*", None, 2), Added::Repeats);
        // The repeat moved the first rule behind the second.
        assert_eq!(repeated.find("a.b", MetricType::Counter), Some((1, vec!["a"])));
        assert_eq!(repeated.find("a.c", MetricType::Counter), Some((0, vec!["c"])));
    }

    #[test]
    fn a_name_of_many_parts_costs_no_more_than_the_longest_rule() {
        let globs = globs(true, &["*.*", "*.*.*"]);
        assert_eq!(globs.find(&".".repeat(1_000_000), MetricType::Counter), None);
    }
}
