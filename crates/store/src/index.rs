//! Which series there are: by key, by dotted path, by tag; and when each was first and last seen.
//!
//! All of it is in memory, made again from the catalogue when a store is opened, and told of a series in the moment it
//! is born.

use std::collections::BTreeSet;

use roaring::RoaringBitmap;
use statline_series::{KeyRef, Kind, Matcher, PathPattern, SeriesKey, TimeRange, Timestamp};

use crate::arena::Place;
use crate::ids::Ids;
use crate::names::{NAME, Names, PROMETHEUS_NAME};
use crate::order;
use crate::schema::RuleId;
use crate::slots::{Life, Row, Slots};
use crate::texts::Texts;
use crate::{Form, Node, Selection, SeriesId};

/// What is known of one series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    keys: &'a Texts,
    place: Place,
    pub(crate) form: Form,
    pub(crate) kind: Kind,
    /// What holds for it.
    pub(crate) rule: RuleId,
    /// After `last_seen` while the series has no point.
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
}

impl<'a> Entry<'a> {
    pub(crate) fn key_ref(&self) -> KeyRef<'a> {
        KeyRef::of_canonical(self.keys.text(self.place))
    }

    pub(crate) fn key(&self) -> SeriesKey {
        self.key_ref().to_key()
    }

    /// Whether the series had a first point before the range ended and a last one after it began.
    pub(crate) fn lived_in(&self, range: TimeRange) -> bool {
        Life { first: self.first_seen, last: self.last_seen }.overlaps(range)
    }
}

/// The index.
#[derive(Debug)]
pub(crate) struct Index {
    slots: Slots,
    points: Names,
    sketches: Names,
    /// Whether series can be found by more than their keys.
    is_named: bool,
}

impl Default for Index {
    /// Without series.
    fn default() -> Self {
        Self { slots: Slots::default(), points: Names::default(), sketches: Names::default(), is_named: true }
    }
}

impl Index {
    /// An index that is to be filled with many series at once, of which only keys can be found until [`Index::name_all`].
    pub(crate) fn unnamed() -> Self {
        Self { is_named: false, ..Self::default() }
    }

    /// Makes the tree of names and the lists of tags, which takes less than to make them series by series.
    pub(crate) fn name_all(&mut self) {
        if std::mem::replace(&mut self.is_named, true) {
            return;
        }
        let (mut points, mut sketches) = (Vec::new(), Vec::new());
        for (id, row) in self.slots.ids().filter_map(|id| Some((id, self.slots.row(id)?))) {
            match row.form {
                Form::Points => points.push((id, row.key)),
                Form::Sketches => sketches.push((id, row.key)),
            }
        }
        self.points.insert_all(&points);
        self.sketches.insert_all(&sketches);
    }

    fn names(&self, form: Form) -> &Names {
        match form {
            Form::Points => &self.points,
            Form::Sketches => &self.sketches,
        }
    }

    fn names_mut(&mut self, form: Form) -> (&mut Names, &mut Slots) {
        match form {
            Form::Points => (&mut self.points, &mut self.slots),
            Form::Sketches => (&mut self.sketches, &mut self.slots),
        }
    }

    /// How many series of a form there are.
    pub(crate) fn len(&self, form: Form) -> usize {
        self.names(form).keys.len()
    }

    pub(crate) fn id(&self, form: Form, key: &SeriesKey) -> Option<SeriesId> {
        self.names(form).keys.find(key.as_str())
    }

    pub(crate) fn get(&self, id: SeriesId) -> Option<Entry<'_>> {
        let (row, life) = self.slots.row_and_life(id)?;
        let Row { key: place, rule, kind, form } = *row;
        let keys = &self.names(form).keys;
        Some(Entry { keys, place, form, kind, rule, first_seen: life.first, last_seen: life.last })
    }

    /// What is known of many. What lies apart in memory is fetched for all in one pass, so that no pass has to wait for each
    /// in turn.
    pub(crate) fn get_all(&self, ids: &[SeriesId]) -> Vec<(SeriesId, Entry<'_>)> {
        ids.iter().filter_map(|id| Some((*id, self.get(*id)?))).collect()
    }

    fn key_ref(&self, id: SeriesId) -> Option<KeyRef<'_>> {
        let row = self.slots.row(id)?;
        Some(KeyRef::of_canonical(self.names(row.form).keys.text(row.key)))
    }

    fn lived(&self, id: SeriesId, range: TimeRange) -> bool {
        self.slots.life(id).is_some_and(|life| life.overlaps(range))
    }

    /// Every series with its number, in the order of numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SeriesId, Entry<'_>)> {
        self.slots.ids().filter_map(|id| Some((id, self.get(id)?)))
    }

    /// Makes a series known, without a point or a sketch so far. What had its number or its key before is forgotten.
    pub(crate) fn insert(&mut self, id: SeriesId, form: Form, key: &SeriesKey, kind: Kind, rule: RuleId) {
        self.remove(id);
        if let Some(other) = self.id(form, key) {
            self.remove(other);
        }
        let is_named = self.is_named;
        let (names, slots) = self.names_mut(form);
        let place = names.keys.insert(id, key.as_str());
        slots.insert(id, Row { key: place, rule, kind, form });
        if is_named {
            names.insert(id, key.borrowed());
        }
    }

    pub(crate) fn remove(&mut self, id: SeriesId) {
        let Some(row) = self.slots.row(id).copied() else { return };
        if self.is_named {
            // The key is read from the texts while the rest of the names change.
            let key = self.names(row.form).keys.text(row.key).to_owned();
            self.names_mut(row.form).0.remove(id, KeyRef::of_canonical(&key));
        }
        let (names, slots) = self.names_mut(row.form);
        names.keys.remove(row.key, |moved, place| {
            if let Some(row) = slots.row_mut(moved) {
                row.key = place;
            }
        });
        self.slots.remove(id);
    }

    pub(crate) fn set_kind(&mut self, id: SeriesId, kind: Kind) {
        if let Some(row) = self.slots.row_mut(id) {
            row.kind = kind;
        }
    }

    /// Says which rule of retention holds for a series.
    #[cfg(test)]
    pub(crate) fn set_rule(&mut self, id: SeriesId, rule: u16) {
        if let Some(row) = self.slots.row_mut(id) {
            row.rule = rule;
        }
    }

    /// Widens the life of a series.
    pub(crate) fn saw(&mut self, id: SeriesId, first: Timestamp, last: Timestamp) {
        self.slots.saw(id, first, last);
    }

    /// Widens the lives of many series, quickest in the order of their numbers.
    pub(crate) fn saw_all(&mut self, seen: impl IntoIterator<Item = (SeriesId, Timestamp)>) {
        seen.into_iter().for_each(|(id, instant)| self.slots.saw(id, instant, instant));
    }

    /// The nodes of the tree of paths that a pattern matches and that lived in the range, in the order of their paths.
    pub(crate) fn find(&self, pattern: &PathPattern, range: TimeRange) -> Vec<Node> {
        let lived = |id| self.lived(id, range);
        if pattern.as_str().contains(';') {
            let found = self.points.tagged_by_text(pattern.as_str()).filter(|id| lived(*id));
            let node = |key: KeyRef| Node {
                path: key.as_str().to_owned(),
                name: key.as_str().to_owned(),
                is_leaf: true,
                has_children: false,
            };
            return found.and_then(|id| self.key_ref(id)).map(node).into_iter().collect();
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
        let mut selected = self.candidates(form, selection);
        selected.retain(|id| self.lived(*id, range));
        if !matches!(selection, Selection::Path(_)) {
            let keys = &self.names(form).keys;
            let with_key = |id| Some((id, keys.bytes(self.slots.row(id)?.key)));
            selected = order::sorted(selected.into_iter().filter_map(with_key)).collect();
            selected.dedup();
        }
        selected
    }

    /// The selected series of a form, whenever they lived. Those of a path are in the order of their keys.
    pub(crate) fn candidates(&self, form: Form, selection: &Selection) -> Vec<SeriesId> {
        match selection {
            Selection::Path(pattern) => self.names(form).by_path(pattern),
            Selection::Matchers(matchers) => self.matching(form, matchers).iter().collect(),
            Selection::Keys(keys) => keys.iter().filter_map(|key| self.id(form, key)).collect(),
        }
    }

    fn matching(&self, form: Form, matchers: &[Matcher]) -> RoaringBitmap {
        self.names(form).matching(matchers, |id| self.key_ref(id))
    }

    /// The names of tags of series of points, in alphabetical order.
    pub(crate) fn tags(&self, prefix: &str, filter: &[Matcher], range: TimeRange, limit: usize) -> Vec<String> {
        let tags = self.points.tags.starting_with(prefix);
        let (mut found, has_series): (BTreeSet<&str>, bool) = if filter.is_empty() {
            let lived = |id| self.lived(id, range);
            let tags = tags.filter(|(_, tag)| tag.all().iter().any(lived));
            (tags.map(|(name, _)| name).take(limit).collect(), self.points.all().iter().any(lived))
        } else {
            let series = self.filtered(filter, range);
            let tags = tags.filter(|(_, tag)| !tag.all().is_disjoint(&series));
            (tags.map(|(name, _)| name).take(limit).collect(), !series.is_empty())
        };
        if has_series && NAME.starts_with(prefix) {
            found.insert(NAME);
        }
        found.into_iter().take(limit).map(str::to_owned).collect()
    }

    /// The series of points that pass a filter and lived in the range.
    fn filtered(&self, filter: &[Matcher], range: TimeRange) -> RoaringBitmap {
        let mut series = self.matching(Form::Points, filter);
        series.retain(|id| self.lived(id, range));
        series
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
        let series = (!filter.is_empty()).then(|| self.filtered(filter, range));
        let is_wanted = |id| match &series {
            Some(series) => series.contains(id),
            None => self.lived(id, range),
        };
        let is_any_wanted = |ids: &Ids| match &series {
            Some(series) => ids.overlaps(series),
            None => ids.any(is_wanted),
        };
        let names = &self.points;
        let own = names.tags.tag(tag).filter(|_| tag != PROMETHEUS_NAME);
        let of_tag = own.into_iter().flat_map(|tag| tag.values().starting_with(prefix));
        let of_tag = of_tag.filter(|(_, ids)| is_any_wanted(ids)).map(|(value, _)| value).take(limit);
        if !matches!(tag, NAME | PROMETHEUS_NAME) {
            return of_tag.map(str::to_owned).collect();
        }
        // A tag of that name hides the name of its series.
        let is_named_so = |ids: &Ids| match own {
            Some(own) => ids.any(|id| !own.all().contains(id) && is_wanted(id)),
            None => is_any_wanted(ids),
        };
        let of_names = names.names.starting_with(prefix).filter(|(_, ids)| is_named_so(ids)).map(|(name, _)| name);
        let mut found: BTreeSet<&str> = of_tag.chain(of_names.take(limit)).collect();
        for id in names.untagged.iter().filter(|id| is_wanted(*id)) {
            let Some(name) = self.key_ref(id).map(KeyRef::name).filter(|name| name.starts_with(prefix)) else {
                continue;
            };
            if found.len() < limit || found.last().is_some_and(|last| name < *last) {
                found.insert(name);
            }
            if found.len() > limit {
                found.pop_last();
            }
        }
        found.into_iter().take(limit).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use statline_series::{Anchor, MatchOp};

    fn index(keys: &[&str]) -> Index {
        let mut index = Index::default();
        for (id, key) in (0..).zip(keys) {
            index.insert(id, Form::Points, &key.parse().unwrap(), Kind::Gauge, 0);
            let seen = Timestamp::from_seconds(i64::from(id) * 100);
            index.saw(id, seen, seen);
        }
        index
    }

    fn select(index: &Index, selection: &Selection) -> Vec<String> {
        let keys = |id| index.get(id).unwrap().key().to_string();
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
        index.insert(3, Form::Points, &"a.unborn".parse().unwrap(), Kind::Gauge, 0);
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
            index.insert(id, Form::Sketches, &key.parse().unwrap(), Kind::Untyped, 0);
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
