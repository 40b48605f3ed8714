//! How many series each prefix has, and how many were refused: who is to blame when there are too many.
//!
//! A prefix is the first dotted parts of a name. What is remembered is bounded: beyond [`MOST_PREFIXES`], prefixes without
//! a series of their own make room, and when there are none the rest is counted together.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::Limits;

/// The most prefixes that are told apart.
pub const MOST_PREFIXES: usize = 10_000;

/// What the prefixes that are not told apart are called.
const OTHERS: &str = "(others)";

/// A prefix, and what it costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offender {
    /// The first dotted parts of the names, or `(others)`.
    pub prefix: String,
    /// Series that there are.
    pub series: u64,
    /// Samples of series that there was no room for, since the start.
    pub refused: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    series: u64,
    refused: u64,
}

/// Counts by prefix.
#[derive(Debug)]
pub(crate) struct Prefixes {
    counts: HashMap<Box<str>, Count, RandomState>,
    others: Count,
    /// How often there was no room for a prefix since room was last looked for, which is not done each time.
    overflowed: usize,
    parts: usize,
    /// 0 for none.
    limit: u64,
}

impl Prefixes {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            counts: HashMap::default(),
            others: Count::default(),
            overflowed: MOST_PREFIXES,
            parts: limits.prefix_parts.max(1),
            limit: limits.series_per_prefix as u64,
        }
    }

    /// The prefix of a key.
    fn of<'a>(&self, key: &'a str) -> &'a str {
        let name = &key[..key.find(';').unwrap_or(key.len())];
        let end = memchr::memchr_iter(b'.', name.as_bytes()).nth(self.parts - 1);
        &name[..end.unwrap_or(name.len())]
    }

    /// Counts a new series, unless its prefix has as many as it may have.
    pub(crate) fn add(&mut self, key: &str) -> bool {
        let limit = if self.limit == 0 { u64::MAX } else { self.limit };
        let count = self.count(key);
        let has_room = count.series < limit;
        count.series += u64::from(has_room);
        has_room
    }

    /// Counts a series that is gone.
    pub(crate) fn remove(&mut self, key: &str) {
        let prefix = self.of(key);
        let count = self.counts.get_mut(prefix).unwrap_or(&mut self.others);
        count.series = count.series.saturating_sub(1);
    }

    /// Counts samples that were refused.
    pub(crate) fn refuse(&mut self, key: &str, samples: u64) {
        let count = self.count(key);
        count.refused = count.refused.saturating_add(samples);
    }

    /// Takes what another one has refused, leaving it without.
    pub(crate) fn take_refused(&mut self, other: &mut Self) {
        for (prefix, count) in other.counts.iter_mut().filter(|(_, count)| count.refused > 0) {
            self.refuse(prefix, std::mem::take(&mut count.refused));
        }
        self.others.refused = self.others.refused.saturating_add(std::mem::take(&mut other.others.refused));
    }

    /// The prefixes that cost most: by what was refused, then by their series.
    pub(crate) fn offenders(&self, most: usize) -> Vec<Offender> {
        let others = Some((OTHERS, &self.others)).filter(|(_, count)| count.series + count.refused > 0);
        let counted = self.counts.iter().map(|(prefix, count)| (&**prefix, count));
        let mut offenders: Vec<Offender> = counted
            .chain(others)
            .map(|(prefix, Count { series, refused })| Offender {
                prefix: prefix.to_owned(),
                series: *series,
                refused: *refused,
            })
            .collect();
        offenders.sort_unstable_by(|left, right| {
            (right.refused, right.series, &left.prefix).cmp(&(left.refused, left.series, &right.prefix))
        });
        offenders.truncate(most);
        offenders
    }

    fn count(&mut self, key: &str) -> &mut Count {
        let prefix = self.of(key);
        if !self.counts.contains_key(prefix) {
            if self.counts.len() >= MOST_PREFIXES && self.overflowed >= MOST_PREFIXES {
                self.overflowed = 0;
                self.forget_empty();
            }
            if self.counts.len() >= MOST_PREFIXES {
                self.overflowed += 1;
                return &mut self.others;
            }
            self.counts.insert(prefix.into(), Count::default());
        }
        // It is there: it was found or put in.
        self.counts.get_mut(prefix).unwrap_or(&mut self.others)
    }

    /// Forgets prefixes that have no series, counting what they were refused together.
    fn forget_empty(&mut self) {
        let others = &mut self.others;
        self.counts.retain(|_, count| {
            if count.series == 0 {
                others.refused = others.refused.saturating_add(count.refused);
            }
            count.series > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(limit: usize) -> Prefixes {
        Prefixes::new(&Limits { series_per_prefix: limit, ..Limits::default() })
    }

    #[test]
    fn the_prefix_that_costs_most_comes_first() {
        let mut prefixes = prefixes(2);
        for key in ["a.b.c", "a.b.d", "a.b;t=v.w.x", "a.x", "a"] {
            prefixes.add(key);
        }
        prefixes.refuse("a.b.e", 5);
        prefixes.refuse("z.y.x", 1);
        let told: Vec<_> = prefixes.offenders(10).into_iter().map(|o| (o.prefix, o.series, o.refused)).collect();
        let owned = |prefix: &str, series, refused| (prefix.to_owned(), series, refused);
        assert_eq!(told, [owned("a.b", 2, 5), owned("z.y", 0, 1), owned("a", 1, 0), owned("a.x", 1, 0)]);
        assert!(!prefixes.add("a.b.f"), "the prefix has as many as it may have");
        prefixes.remove("a.b.c");
        assert!(prefixes.add("a.b.f"));
    }

    #[test]
    fn prefixes_without_end_are_counted_together() {
        let mut prefixes = prefixes(0);
        for number in 0..MOST_PREFIXES + 5 {
            assert!(prefixes.add(&format!("p{number}.x.y")));
        }
        prefixes.refuse("q.x.y", 7);
        let others = prefixes.offenders(1).remove(0);
        assert_eq!(others, Offender { prefix: OTHERS.to_owned(), series: 5, refused: 7 });
    }
}
