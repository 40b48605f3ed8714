//! Which series there are: by key, by dotted path, by tag; and when each was first and last seen.
//!
//! All of it is in memory, made again from the catalogue when a store is opened, and told of a series in the moment it
//! is born.

use std::collections::{BTreeSet, HashMap};

use statline_series::{Kind, MatchOp, Matcher, PathPattern, SeriesKey, TimeRange, Timestamp};

use crate::postings::Postings;
use crate::schema::RuleId;
use crate::trie::Trie;
use crate::{Form, Node, Selection, SeriesId};

/// The tag that stands for the name of a series.
const NAME: &str = "name";
/// The same, as Prometheus has it.
const PROMETHEUS_NAME: &str = "__name__";

/// What is known of one series.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: SeriesKey,
    pub(crate) form: Form,
    pub(crate) kind: Kind,
    /// What holds for it.
    pub(crate) rule: RuleId,
    /// After `last_seen` while the series has no point.
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
}

impl Entry {
    /// Whether the series had a first point before the range ended and a last one after it began.
    pub(crate) fn lived_in(&self, range: TimeRange) -> bool {
        !range.is_empty()
            && self.first_seen <= self.last_seen
            && self.first_seen < range.until
            && range.from <= self.last_seen
    }
}

/// The index.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// By number; `None` for a series that is gone.
    entries: Vec<Option<Entry>>,
    points: Names,
    sketches: Names,
}

/// How series of one form are found.
#[derive(Debug, Default)]
struct Names {
    by_key: HashMap<SeriesKey, SeriesId>,
    /// Untagged series.
    paths: Trie,
    /// Tagged series by their tags.
    tags: Postings,
    /// Tagged series by their name, as the one tag [`NAME`].
    names: Postings,
}

impl Names {
    fn insert(&mut self, id: SeriesId, key: &SeriesKey) {
        if key.is_tagged() {
            self.names.insert(NAME, key.name(), id);
            for (tag, value) in key.tags() {
                self.tags.insert(tag, &value, id);
            }
        } else {
            self.paths.insert(key.name(), id);
        }
        self.by_key.insert(key.clone(), id);
    }

    fn remove(&mut self, id: SeriesId, key: &SeriesKey) {
        self.by_key.remove(key);
        if key.is_tagged() {
            self.names.remove(NAME, key.name(), id);
            for (tag, value) in key.tags() {
                self.tags.remove(tag, &value, id);
            }
        } else {
            self.paths.remove(key.name());
        }
    }

    fn tagged_by_text(&self, text: &str) -> Option<SeriesId> {
        self.by_key.get(&SeriesKey::parse(text).ok()?).copied()
    }

    /// All series that could pass one matcher; `None` when those without the tag could too.
    fn list(&self, matcher: &Matcher) -> Option<Vec<SeriesId>> {
        if matcher.matches_absent() || matches!(matcher.op(), MatchOp::NotEqual | MatchOp::NotRegex) {
            return None;
        }
        if !matches!(matcher.tag(), NAME | PROMETHEUS_NAME) {
            return Some(self.tags.matching(matcher.tag(), matcher));
        }
        if matcher.op() != MatchOp::Equal {
            return None;
        }
        let mut series = self.names.matching(NAME, matcher);
        series.extend(self.tags.matching(NAME, matcher));
        series.extend(self.by_key.get(matcher.value()));
        Some(series)
    }
}

impl Index {
    fn names(&self, form: Form) -> &Names {
        match form {
            Form::Points => &self.points,
            Form::Sketches => &self.sketches,
        }
    }

    fn names_mut(&mut self, form: Form) -> &mut Names {
        match form {
            Form::Points => &mut self.points,
            Form::Sketches => &mut self.sketches,
        }
    }

    /// How many series of a form there are.
    pub(crate) fn len(&self, form: Form) -> usize {
        self.names(form).by_key.len()
    }

    pub(crate) fn id(&self, form: Form, key: &SeriesKey) -> Option<SeriesId> {
        self.names(form).by_key.get(key).copied()
    }

    pub(crate) fn get(&self, id: SeriesId) -> Option<&Entry> {
        self.entries.get(id as usize)?.as_ref()
    }

    /// Every series with its number, in the order of numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SeriesId, &Entry)> {
        (0..).zip(&self.entries).filter_map(|(id, entry)| Some((id, entry.as_ref()?)))
    }

    /// Makes a series known, without a point or a sketch so far.
    pub(crate) fn insert(&mut self, id: SeriesId, form: Form, key: SeriesKey, kind: Kind, rule: RuleId) {
        self.names_mut(form).insert(id, &key);
        if self.entries.len() <= id as usize {
            self.entries.resize(id as usize + 1, None);
        }
        let (first_seen, last_seen) = (Timestamp::MAX, Timestamp::MIN);
        self.entries[id as usize] = Some(Entry { key, form, kind, rule, first_seen, last_seen });
    }

    pub(crate) fn remove(&mut self, id: SeriesId) {
        let Some(entry) = self.entries.get_mut(id as usize).and_then(Option::take) else { return };
        self.names_mut(entry.form).remove(id, &entry.key);
    }

    pub(crate) fn set_kind(&mut self, id: SeriesId, kind: Kind) {
        if let Some(Some(entry)) = self.entries.get_mut(id as usize) {
            entry.kind = kind;
        }
    }

    /// Widens the life of a series.
    pub(crate) fn saw(&mut self, id: SeriesId, first: Timestamp, last: Timestamp) {
        if let Some(Some(entry)) = self.entries.get_mut(id as usize) {
            entry.first_seen = entry.first_seen.min(first);
            entry.last_seen = entry.last_seen.max(last);
        }
    }

    /// The nodes of the tree of paths that a pattern matches and that lived in the range, in the order of their paths.
    pub(crate) fn find(&self, pattern: &PathPattern, range: TimeRange) -> Vec<Node> {
        let lived = |id| self.get(id).is_some_and(|entry| entry.lived_in(range));
        if pattern.as_str().contains(';') {
            let found =
                self.points.tagged_by_text(pattern.as_str()).filter(|id| lived(*id)).and_then(|id| self.get(id));
            let node = |entry: &Entry| Node {
                path: entry.key.as_str().to_owned(),
                name: entry.key.as_str().to_owned(),
                is_leaf: true,
                has_children: false,
            };
            return found.map(node).into_iter().collect();
        }
        let mut nodes = Vec::new();
        for found in self.points.paths.find(pattern.parts()) {
            let is_leaf = self.points.paths.series_at(&found).is_some_and(lived);
            let has_children = self.points.paths.any_below(&found, lived);
            if is_leaf || has_children {
                let name = found.path.rsplit('.').next().unwrap_or(&found.path).to_owned();
                nodes.push(Node { path: found.path, name, is_leaf, has_children });
            }
        }
        nodes.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        nodes
    }

    /// The selected series of a form that lived in the range, in the order of their keys.
    pub(crate) fn select(&self, form: Form, selection: &Selection, range: TimeRange) -> Vec<SeriesId> {
        let mut selected: Vec<(SeriesId, &Entry)> = self
            .candidates(form, selection)
            .into_iter()
            .filter_map(|id| Some((id, self.get(id)?)))
            .filter(|(_, entry)| entry.lived_in(range))
            .collect();
        selected.sort_unstable_by(|(_, left), (_, right)| left.key.cmp(&right.key));
        selected.dedup_by_key(|(id, _)| *id);
        selected.into_iter().map(|(id, _)| id).collect()
    }

    /// The selected series of a form, whenever they lived, in no order.
    pub(crate) fn candidates(&self, form: Form, selection: &Selection) -> Vec<SeriesId> {
        let names = self.names(form);
        match selection {
            Selection::Path(pattern) if pattern.as_str().contains(';') => {
                names.tagged_by_text(pattern.as_str()).into_iter().collect()
            }
            Selection::Path(pattern) => names.paths.series(pattern.parts()),
            Selection::Matchers(matchers) => self.matching(form, matchers),
            Selection::Keys(keys) => keys.iter().filter_map(|key| self.id(form, key)).collect(),
        }
    }

    /// The series of a form that pass every matcher. The shortest list that a matcher asks for is gone through; without
    /// one, all series are.
    fn matching(&self, form: Form, matchers: &[Matcher]) -> Vec<SeriesId> {
        let passes = |id: &SeriesId| {
            self.get(*id).is_some_and(|entry| matchers.iter().all(|matcher| matcher.matches_key(&entry.key)))
        };
        let names = self.names(form);
        let lists = matchers.iter().filter_map(|matcher| names.list(matcher));
        match lists.min_by_key(Vec::len) {
            Some(shortest) => shortest.into_iter().filter(passes).collect(),
            None => self.iter().filter(|(_, entry)| entry.form == form).map(|(id, _)| id).filter(passes).collect(),
        }
    }

    /// The names of tags of series of points, in alphabetical order.
    pub(crate) fn tags(&self, prefix: &str, filter: &[Matcher], range: TimeRange, limit: usize) -> Vec<String> {
        let name_is_wanted = NAME.starts_with(prefix);
        let mut found: BTreeSet<&str> = BTreeSet::new();
        if filter.is_empty() {
            let lived = |id| self.get(id).is_some_and(|entry| entry.lived_in(range));
            let tags = &self.points.tags;
            found.extend(tags.tags(prefix).filter(|tag| tags.series_of(tag).any(lived)).take(limit));
            if name_is_wanted && self.iter().any(|(_, entry)| entry.form == Form::Points && entry.lived_in(range)) {
                found.insert(NAME);
            }
        } else {
            for id in self.matching(Form::Points, filter) {
                let Some(entry) = self.get(id).filter(|entry| entry.lived_in(range)) else { continue };
                found.extend(entry.key.tags().map(|(tag, _)| tag).filter(|tag| tag.starts_with(prefix)));
                if name_is_wanted {
                    found.insert(NAME);
                }
            }
        }
        found.into_iter().take(limit).map(str::to_owned).collect()
    }

    /// The values of a tag of series of points, in alphabetical order.
    pub(crate) fn tag_values(
        &self,
        tag: &str,
        prefix: &str,
        filter: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Vec<String> {
        let lived = |id: &SeriesId| self.get(*id).is_some_and(|entry| entry.lived_in(range));
        if filter.is_empty() && !matches!(tag, NAME | PROMETHEUS_NAME) {
            let values = self.points.tags.values(tag, prefix).filter(|(_, series)| series.iter().any(lived));
            return values.take(limit).map(|(value, _)| value.to_owned()).collect();
        }
        let mut found = BTreeSet::new();
        for id in self.matching(Form::Points, filter) {
            let Some(entry) = self.get(id).filter(|entry| entry.lived_in(range)) else { continue };
            let value = match tag {
                PROMETHEUS_NAME => Some(entry.key.name().into()),
                _ => entry.key.tag(tag),
            };
            if let Some(value) = value.filter(|value| value.starts_with(prefix)) {
                if !found.contains(&*value) {
                    found.insert(value.into_owned());
                }
                if found.len() > limit {
                    found.pop_last();
                }
            }
        }
        found.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statline_series::Anchor;

    fn index(keys: &[&str]) -> Index {
        let mut index = Index::default();
        for (id, key) in (0..).zip(keys) {
            index.insert(id, Form::Points, key.parse().unwrap(), Kind::Gauge, 0);
            let seen = Timestamp::from_seconds(i64::from(id) * 100);
            index.saw(id, seen, seen);
        }
        index
    }

    fn select(index: &Index, selection: &Selection) -> Vec<String> {
        let keys = |id| index.get(id).unwrap().key.to_string();
        index.select(Form::Points, selection, TimeRange::ALL).into_iter().map(keys).collect()
    }

    fn matchers(of: &[(&str, MatchOp, &str)]) -> Selection {
        Selection::Matchers(
            of.iter().map(|(tag, op, value)| Matcher::new(tag, *op, value, Anchor::Both).unwrap()).collect(),
        )
    }

    fn path(pattern: &str) -> PathPattern {
        PathPattern::parse(pattern).unwrap()
    }

    #[test]
    fn paths_cover_untagged_series_and_a_whole_key_a_tagged_one() {
        let index = index(&["a.b", "a.c", "a.b;x=1", "a.d;y=2;x=1"]);
        assert_eq!(select(&index, &Selection::Path(path("a.*"))), ["a.b", "a.c"]);
        assert_eq!(select(&index, &Selection::Path(path("a.d;y=2;x=1"))), ["a.d;x=1;y=2"]);
        assert_eq!(select(&index, &Selection::Path(path("a.*;x=1"))), Vec::<String>::new());
        assert_eq!(index.find(&path("a.b;x=1"), TimeRange::ALL)[0].path, "a.b;x=1");
    }

    #[test]
    fn matchers_cover_all_series() {
        let index = index(&["up;job=a;host=1", "up;job=b", "up", "down;job=a", "odd;name=up"]);
        for (asked, expected) in [
            (&[("name", MatchOp::Equal, "up")][..], &["odd;name=up", "up", "up;host=1;job=a", "up;job=b"][..]),
            (&[("__name__", MatchOp::Equal, "up")], &["up", "up;host=1;job=a", "up;job=b"]),
            (&[("job", MatchOp::Equal, "a")], &["down;job=a", "up;host=1;job=a"]),
            (&[("job", MatchOp::Equal, "a"), ("name", MatchOp::Regex, "u.")], &["up;host=1;job=a"]),
            (&[("job", MatchOp::NotEqual, "a"), ("name", MatchOp::Equal, "up")], &["odd;name=up", "up", "up;job=b"]),
            (&[("job", MatchOp::Equal, ""), ("__name__", MatchOp::Regex, "up|odd")], &["odd;name=up", "up"]),
            (&[("job", MatchOp::Regex, "a|b")], &["down;job=a", "up;host=1;job=a", "up;job=b"]),
            (&[("job", MatchOp::Equal, "none")], &[]),
            (&[], &["down;job=a", "odd;name=up", "up", "up;host=1;job=a", "up;job=b"]),
        ] {
            assert_eq!(select(&index, &matchers(asked)), expected, "{asked:?}");
        }
    }

    #[test]
    fn tags_and_values_are_listed_in_order_and_within_limits() {
        let index = index(&["up;job=a;host=1", "up;job=b", "down.x", "down;job=ab", "odd;name=up"]);
        let all = TimeRange::ALL;
        assert_eq!(index.tags("", &[], all, 10), ["host", "job", "name"]);
        assert_eq!(index.tags("", &[], all, 1), ["host"]);
        assert_eq!(index.tags("j", &[], all, 10), ["job"]);
        assert_eq!(index.tag_values("job", "a", &[], all, 10), ["a", "ab"]);
        assert_eq!(index.tag_values("name", "", &[], all, 10), ["down", "down.x", "up"]);
        assert_eq!(index.tag_values("name", "", &[], all, 2), ["down", "down.x"]);
        let up = [Matcher::new("name", MatchOp::Equal, "up", Anchor::Both).unwrap()];
        assert_eq!(index.tag_values("job", "", &up, all, 10), ["a", "b"]);
        assert_eq!(index.tags("h", &up, all, 10), ["host"]);
    }

    #[test]
    fn what_did_not_live_in_the_range_is_not_found() {
        let mut index = index(&["a.x", "a.y.z", "b;t=1"]);
        index.insert(3, Form::Points, "a.unborn".parse().unwrap(), Kind::Gauge, 0);
        let first = TimeRange::new(Timestamp::from_seconds(0), Timestamp::from_seconds(100));
        let second = TimeRange::new(Timestamp::from_seconds(100), Timestamp::from_seconds(101));
        let find = |range| index.find(&path("a.*"), range).into_iter().map(|node| node.path).collect::<Vec<_>>();
        assert_eq!(find(first), ["a.x"]);
        assert_eq!(find(second), ["a.y"]);
        assert_eq!(find(TimeRange::ALL), ["a.x", "a.y"]);
        assert_eq!(index.tags("t", &[], first, 9), Vec::<String>::new());
        assert_eq!(index.tag_values("t", "", &[], TimeRange::ALL, 9), ["1"]);
    }

    #[test]
    fn a_removed_series_is_gone_from_everywhere() {
        let mut index = index(&["a.x", "b;t=1"]);
        index.remove(0);
        index.remove(1);
        assert_eq!(index.len(Form::Points), 0);
        assert_eq!(index.find(&path("*"), TimeRange::ALL), []);
        assert_eq!(select(&index, &matchers(&[])), Vec::<String>::new());
        assert_eq!(index.tags("", &[], TimeRange::ALL, 9), Vec::<String>::new());
    }

    #[test]
    fn series_of_sketches_have_names_of_their_own() {
        let mut index = index(&["a.x", "a;t=1"]);
        for (id, key) in [(2, "a.x"), (3, "a.y.z"), (4, "b;u=2")] {
            index.insert(id, Form::Sketches, key.parse().unwrap(), Kind::Untyped, 0);
            index.saw(id, Timestamp::from_seconds(1), Timestamp::from_seconds(2));
        }
        let all = TimeRange::ALL;
        assert_eq!(index.find(&path("a.*"), all).len(), 1);
        assert_eq!(index.find(&path("b;u=2"), all), []);
        assert_eq!(index.tags("", &[], all, 9), ["name", "t"]);
        assert_eq!(index.tag_values("name", "", &[], all, 9), ["a", "a.x"]);
        assert_eq!(index.select(Form::Points, &matchers(&[]), all), [0, 1]);
        assert_eq!(index.select(Form::Sketches, &matchers(&[]), all), [2, 3, 4]);
        assert_eq!(index.select(Form::Sketches, &Selection::Path(path("a.*")), all), [2]);
        index.remove(2);
        assert_eq!((index.len(Form::Points), index.len(Form::Sketches)), (2, 2));
        assert_eq!(index.select(Form::Points, &Selection::Path(path("a.x")), all), [0]);
    }
}
