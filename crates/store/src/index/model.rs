//! The index beside a model that looks at every series for every question.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use statline_series::{Anchor, Kind, MatchOp, Matcher, PathPattern, SeriesKey, TimeRange, Timestamp};

use super::*;

#[derive(Clone, Debug)]
struct Series {
    form: Form,
    key: SeriesKey,
    kind: Kind,
    rule: u16,
    life: Option<(i64, i64)>,
}

impl Series {
    fn lived(&self, range: TimeRange) -> bool {
        self.life.is_some_and(|(first, last)| {
            !range.is_empty() && first < range.until.millis() && range.from.millis() <= last
        })
    }

    fn is_selected(&self, selection: &Selection) -> bool {
        match selection {
            Selection::Path(pattern) if pattern.as_str().contains(';') => {
                SeriesKey::parse(pattern.as_str()).is_ok_and(|key| key == self.key)
            }
            Selection::Path(pattern) => !self.key.is_tagged() && pattern.matches(self.key.name()),
            Selection::Matchers(matchers) => matchers.iter().all(|matcher| matcher.matches_key(&self.key)),
            Selection::Keys(keys) => keys.contains(&self.key),
        }
    }
}

#[derive(Default)]
struct Model(BTreeMap<SeriesId, Series>);

impl Model {
    fn lived(&self, form: Form, range: TimeRange) -> impl Iterator<Item = (SeriesId, &Series)> {
        let series = self.0.iter().map(|(id, series)| (*id, series));
        series.filter(move |(_, series)| series.form == form && series.lived(range))
    }

    fn select(&self, form: Form, selection: &Selection, range: TimeRange) -> Vec<SeriesId> {
        let mut found: Vec<_> = self.lived(form, range).filter(|(_, series)| series.is_selected(selection)).collect();
        found.sort_by_key(|(_, series)| series.key.clone());
        found.into_iter().map(|(id, _)| id).collect()
    }

    fn find(&self, pattern: &PathPattern, range: TimeRange) -> Vec<Node> {
        if pattern.as_str().contains(';') {
            let found = self.select(Form::Points, &Selection::Path(pattern.clone()), range);
            let path = |id| self.0[&id].key.to_string();
            let node = |path: String| Node { name: path.clone(), path, is_leaf: true, has_children: false };
            return found.into_iter().map(path).map(node).collect();
        }
        let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
        for (_, series) in self.lived(Form::Points, range).filter(|(_, series)| !series.key.is_tagged()) {
            let parts: Vec<&str> = series.key.name().split('.').collect();
            for depth in 1..=parts.len() {
                let path = parts[..depth].join(".");
                if pattern.matches(&path) {
                    let name = parts[depth - 1].to_owned();
                    let empty = Node { path: path.clone(), name, is_leaf: false, has_children: false };
                    let node = nodes.entry(path).or_insert(empty);
                    node.is_leaf |= depth == parts.len();
                    node.has_children |= depth < parts.len();
                }
            }
        }
        nodes.into_values().collect()
    }

    fn tags(&self, prefix: &str, filter: &[Matcher], range: TimeRange, limit: usize) -> Vec<String> {
        let series = self.lived(Form::Points, range);
        let passing = series.filter(|(_, series)| filter.iter().all(|matcher| matcher.matches_key(&series.key)));
        let tags: BTreeSet<String> = passing
            .flat_map(|(_, series)| series.key.tags().map(|(tag, _)| tag).chain([NAME]).map(str::to_owned))
            .filter(|tag| tag.starts_with(prefix))
            .collect();
        tags.into_iter().take(limit).collect()
    }

    fn values(&self, tag: &str, prefix: &str, filter: &[Matcher], range: TimeRange, limit: usize) -> Vec<String> {
        let series = self.lived(Form::Points, range);
        let passing = series.filter(|(_, series)| filter.iter().all(|matcher| matcher.matches_key(&series.key)));
        let value = |key: &SeriesKey| match tag {
            PROMETHEUS_NAME => Some(key.name().to_owned()),
            _ => key.tag(tag).map(std::borrow::Cow::into_owned),
        };
        let values: BTreeSet<String> =
            passing.filter_map(|(_, series)| value(&series.key)).filter(|value| value.starts_with(prefix)).collect();
        values.into_iter().take(limit).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Born(Form, SeriesKey, u16),
    Gone(prop::sample::Index),
    Saw(prop::sample::Index, i64, i64),
    Change(prop::sample::Index, Kind, u16),
    Reopened,
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![4 => Just(Form::Points), 1 => Just(Form::Sketches)]
}

fn key() -> impl Strategy<Value = SeriesKey> {
    let tags = prop::collection::btree_map("x|y|xy|name|__name__", "[ab]{1,2}|a\\\\;b", 0..3);
    ("[ab-]{1,2}(\\.[ab-]{1,2}){0,3}", tags).prop_map(|(name, tags)| {
        let mut tags: Vec<(&str, &str)> = tags.iter().map(|(tag, value)| (tag.as_str(), value.as_str())).collect();
        SeriesKey::from_parts(&name, &mut tags).unwrap()
    })
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![Just(Kind::Gauge), Just(Kind::Count)];
    prop_oneof![
        8 => (form(), key(), any::<u16>()).prop_map(|(form, key, rule)| Step::Born(form, key, rule)),
        2 => any::<prop::sample::Index>().prop_map(Step::Gone),
        8 => (any::<prop::sample::Index>(), 0_i64..100, 0_i64..20)
            .prop_map(|(which, first, length)| Step::Saw(which, first, first + length)),
        1 => (any::<prop::sample::Index>(), kind, any::<u16>())
            .prop_map(|(which, kind, rule)| Step::Change(which, kind, rule)),
        1 => Just(Step::Reopened),
    ]
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let op = prop_oneof![Just(MatchOp::Equal), Just(MatchOp::NotEqual), Just(MatchOp::Regex), Just(MatchOp::NotRegex)];
    let value = prop_oneof!["[ab]{0,2}", Just("a.*".into()), Just(".*".into()), Just(".+".into()), Just("a|b|".into())];
    ("x|y|z|name|__name__", op, value)
        .prop_map(|(tag, op, value)| Matcher::new(&tag, op, &value, Anchor::Both).unwrap())
}

fn pattern() -> impl Strategy<Value = PathPattern> {
    let part = "[ab-]{1,2}|\\*|[ab]\\*|[ab*?-]{1,2}|\\{a,b-\\}|\\[a\\]b|\\[!a\\]\\*";
    let paths = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("."));
    prop_oneof![8 => paths, 1 => key().prop_map(|key| key.to_string())]
        .prop_map(|text| PathPattern::parse(&text).unwrap())
}

fn selection() -> impl Strategy<Value = Selection> {
    prop_oneof![
        pattern().prop_map(Selection::Path),
        prop::collection::vec(matcher(), 0..4).prop_map(Selection::Matchers),
        prop::collection::vec(key(), 0..4).prop_map(Selection::Keys),
    ]
}

fn range() -> impl Strategy<Value = TimeRange> {
    let ms = Timestamp::from_millis;
    prop_oneof![
        Just(TimeRange::ALL),
        (0_i64..100, -1_i64..60).prop_map(move |(from, length)| TimeRange::new(ms(from), ms(from + length))),
    ]
}

/// A new index with what there is in the model, filled as at the opening of a store.
fn reopened(model: &Model, gone: SeriesId) -> Index {
    let mut index = Index::unnamed();
    for (id, series) in &model.0 {
        index.insert(*id, series.form, &series.key, series.kind, series.rule);
    }
    index.insert(gone, Form::Points, &"gone.before".parse().unwrap(), Kind::Gauge, 0);
    index.remove(gone);
    index.name_all();
    for (id, series) in &model.0 {
        let Some((first, last)) = series.life else { continue };
        index.saw(*id, Timestamp::from_millis(first), Timestamp::from_millis(last));
    }
    index
}

fn after(steps: Vec<Step>) -> (Index, Model) {
    let (mut index, mut model) = (Index::default(), Model::default());
    let mut next = 0;
    for step in steps {
        let nth = |model: &Model, which: prop::sample::Index| {
            (!model.0.is_empty()).then(|| *model.0.keys().nth(which.index(model.0.len())).unwrap())
        };
        match step {
            Step::Born(form, key, rule) => {
                if index.id(form, &key).is_none() {
                    index.insert(next, form, &key, Kind::Gauge, rule);
                    model.0.insert(next, Series { form, key, kind: Kind::Gauge, rule, life: None });
                    next += 1;
                }
            }
            Step::Gone(which) => {
                let Some(id) = nth(&model, which) else { continue };
                index.remove(id);
                model.0.remove(&id);
            }
            Step::Saw(which, first, last) => {
                let Some(id) = nth(&model, which) else { continue };
                index.saw(id, Timestamp::from_millis(first), Timestamp::from_millis(last));
                let life = &mut model.0.get_mut(&id).unwrap().life;
                let (earliest, latest) = life.unwrap_or((first, last));
                *life = Some((earliest.min(first), latest.max(last)));
            }
            Step::Change(which, kind, rule) => {
                let Some(id) = nth(&model, which) else { continue };
                index.set_kind(id, kind);
                index.set_rule(id, rule);
                let series = model.0.get_mut(&id).unwrap();
                (series.kind, series.rule) = (kind, rule);
            }
            Step::Reopened => {
                index = reopened(&model, next);
                next += 1;
            }
        }
    }
    (index, model)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn every_question_is_answered_as_by_looking_at_every_series(
        steps in prop::collection::vec(step(), 0..80),
        selections in prop::collection::vec(selection(), 4),
        patterns in prop::collection::vec(pattern(), 2),
        filter in prop::collection::vec(matcher(), 0..3),
        range in range(),
        (tag, prefix, limit) in ("x|y|xy|name|__name__", "[ax]?", 0_usize..6),
    ) {
        let (index, model) = after(steps);
        for (id, series) in &model.0 {
            let entry = index.get(*id).unwrap();
            prop_assert_eq!(entry.key(), series.key.clone());
            prop_assert_eq!((entry.form, entry.kind, entry.rule), (series.form, series.kind, series.rule));
            let life = (entry.first_seen <= entry.last_seen)
                .then(|| (entry.first_seen.millis(), entry.last_seen.millis()));
            prop_assert_eq!(life, series.life);
            prop_assert_eq!(index.id(series.form, &series.key), Some(*id));
        }
        prop_assert!(index.iter().map(|(id, _)| id).eq(model.0.keys().copied()));
        for form in [Form::Points, Form::Sketches] {
            prop_assert_eq!(index.len(form), model.0.values().filter(|series| series.form == form).count());
            for selection in &selections {
                prop_assert_eq!(
                    index.select(form, selection, range), model.select(form, selection, range), "{:?}", selection
                );
            }
        }
        for pattern in &patterns {
            prop_assert_eq!(index.find(pattern, range), model.find(pattern, range), "{}", pattern);
        }
        for filter in [&[], &*filter] {
            prop_assert_eq!(index.tags(&prefix, filter, range, limit), model.tags(&prefix, filter, range, limit));
            prop_assert_eq!(
                index.tag_values(&tag, &prefix, filter, range, limit),
                model.values(&tag, &prefix, filter, range, limit)
            );
        }
    }
}

/// Many series, so that lists are bitmaps and sums are worth counting out.
#[test]
fn matchers_select_from_many_series_as_from_few() {
    let (mut index, mut model) = (Index::unnamed(), Model::default());
    for id in 0..20_000_u32 {
        let (host, job, rack) = (format!("h{}", id % 97), format!("j{}", id % 3), format!("r{id}"));
        let mut tags = vec![("host", host.as_str()), ("rack", rack.as_str())];
        if id % 5 > 0 {
            tags.push(("job", &job));
        }
        let key = SeriesKey::from_parts(if id % 2 == 0 { "up" } else { "down" }, &mut tags).unwrap();
        index.insert(id, Form::Points, &key, Kind::Gauge, 0);
        model.0.insert(id, Series { form: Form::Points, key, kind: Kind::Gauge, rule: 0, life: Some((0, 0)) });
    }
    index.name_all();
    index.saw_all((0..20_000).map(|id| (id, Timestamp::from_millis(0))));
    let matcher = |tag, op, value| Matcher::new(tag, op, value, Anchor::Both).unwrap();
    let matchers = [
        matcher("name", MatchOp::Equal, "up"),
        matcher("__name__", MatchOp::Regex, "u.|x"),
        matcher("host", MatchOp::Regex, "h1.*"),
        matcher("host", MatchOp::NotRegex, "h1.*"),
        matcher("host", MatchOp::NotEqual, "h5"),
        matcher("host", MatchOp::Equal, "h7"),
        matcher("job", MatchOp::Equal, "j1"),
        matcher("job", MatchOp::Equal, ""),
        matcher("job", MatchOp::Regex, "|j0"),
        matcher("job", MatchOp::NotRegex, "j0|"),
        matcher("rack", MatchOp::Regex, "r1.*"),
        matcher("rack", MatchOp::NotRegex, "r1?"),
    ];
    for first in &matchers {
        for second in &matchers {
            let selection = Selection::Matchers(vec![first.clone(), second.clone()]);
            let selected = index.select(Form::Points, &selection, TimeRange::ALL);
            assert_eq!(selected, model.select(Form::Points, &selection, TimeRange::ALL), "{first} {second}");
        }
    }
}

#[test]
fn a_name_that_is_born_again_under_another_number_is_found_once() {
    let mut index = Index::default();
    for (id, key) in [(1, "a.b"), (2, "a;t=1"), (3, "a.b"), (4, "a;t=1")] {
        index.insert(id, Form::Points, &key.parse().unwrap(), Kind::Gauge, 0);
    }
    assert_eq!(index.iter().map(|(id, _)| id).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(index.candidates(Form::Points, &Selection::Matchers(Vec::new())), [3, 4]);
}

#[test]
fn series_that_come_and_go_take_no_more_memory_with_time() {
    let mut index = Index::default();
    let key = |id: u32| -> SeriesKey {
        let name = format!("pods.pod-{id:08}.requests.total");
        if id.is_multiple_of(2) {
            name.parse().unwrap()
        } else {
            format!("{name};pod=pod-{id};shard={}", id % 7).parse().unwrap()
        }
    };
    let mut allocated = Vec::new();
    for id in 0..60_000_u32 {
        index.insert(id, Form::Points, &key(id), Kind::Gauge, 0);
        if id >= 2000 {
            index.remove(id - 2000);
        }
        if id % 20_000 == 19_999 {
            allocated.push(index.points.keys.allocated() + index.slots.allocated());
        }
    }
    assert_eq!(index.len(Form::Points), 2000);
    assert!(allocated[2] <= allocated[0] * 3 / 2, "{allocated:?}");
    assert!((58_000..60_000).all(|id| index.id(Form::Points, &key(id)) == Some(id)));
}
