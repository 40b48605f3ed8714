//! How the series of one form are found: by key, by dotted path, by tag.

use std::borrow::Cow;
use std::collections::HashMap;

use foldhash::fast::RandomState;
use roaring::RoaringBitmap;
use statline_series::{KeyRef, MatchOp, Matcher, PathPattern, SeriesKey};

use crate::SeriesId;
use crate::arena::Place;
use crate::ids::Ids;
use crate::order;
use crate::postings::{Postings, Values};
use crate::texts::Texts;
use crate::trie::Trie;

/// The tag that stands for the name of a series that has no tag of this name.
pub(crate) const NAME: &str = "name";
/// The same, as Prometheus has it, whatever tags there are.
pub(crate) const PROMETHEUS_NAME: &str = "__name__";

/// The names of all series of a form.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) keys: Texts,
    /// Untagged series.
    pub(crate) paths: Trie,
    pub(crate) untagged: RoaringBitmap,
    /// Tagged series by their tags.
    pub(crate) tags: Postings,
    /// Tagged series by their names.
    pub(crate) names: Values,
    tagged: RoaringBitmap,
}

impl Names {
    /// Makes a series that has a key findable by more than that.
    pub(crate) fn insert(&mut self, id: SeriesId, key: KeyRef) {
        if !key.is_tagged() {
            self.untagged.insert(id);
            self.paths.insert(key.name(), id);
            return;
        }
        self.tagged.insert(id);
        self.names.insert(key.name(), id);
        for (tag, value) in key.tags() {
            self.tags.insert(tag, &value, id);
        }
    }

    /// The opposite of [`Names::insert`].
    pub(crate) fn remove(&mut self, id: SeriesId, key: KeyRef) {
        if !key.is_tagged() {
            self.untagged.remove(id);
            self.paths.remove(key.name());
            return;
        }
        self.tagged.remove(id);
        self.names.remove(key.name(), id);
        for (tag, value) in key.tags() {
            self.tags.remove(tag, &value, id);
        }
    }

    /// Does for many series, in the order of their numbers, what [`Names::insert`] does for one.
    pub(crate) fn insert_all(&mut self, series: &[(SeriesId, Place)]) {
        let Self { keys, paths, untagged, tags, names, tagged } = self;
        let mut plain = Vec::new();
        let mut by_name = Gathered::default();
        let mut by_tag: HashMap<&str, (RoaringBitmap, Gathered), RandomState> = HashMap::default();
        for (id, place) in series {
            let key = KeyRef::of_canonical(keys.text(*place));
            if !key.is_tagged() {
                untagged.insert(*id);
                plain.push((*id, *place));
                continue;
            }
            tagged.insert(*id);
            by_name.insert(Cow::Borrowed(key.name()), *id);
            for (tag, value) in key.tags() {
                let (all, values) = by_tag.entry(tag).or_default();
                all.insert(*id);
                values.insert(value, *id);
            }
        }
        let plain = plain.into_iter().map(|(id, place)| ((id, place), keys.bytes(place)));
        order::sorted(plain).for_each(|(id, place)| paths.insert(keys.text(place), id));
        *names = by_name.into_values();
        by_tag.into_iter().for_each(|(tag, (all, values))| tags.insert_all(tag, all, values.into_values()));
    }

    /// All series.
    pub(crate) fn all(&self) -> RoaringBitmap {
        &self.tagged | &self.untagged
    }

    pub(crate) fn tagged_by_text(&self, text: &str) -> Option<SeriesId> {
        self.keys.find(SeriesKey::parse(text).ok()?.as_str())
    }

    /// The series that a path names, in the order of their keys.
    pub(crate) fn by_path(&self, pattern: &PathPattern) -> Vec<SeriesId> {
        if pattern.as_str().contains(';') {
            self.tagged_by_text(pattern.as_str()).into_iter().collect()
        } else {
            self.paths.series(pattern.parts())
        }
    }

    /// The series that pass every matcher. What has to be equal is looked up first, the shortest list leading; then what
    /// is left is cut down by one matcher after the other.
    pub(crate) fn matching<'a>(
        &self,
        matchers: &[Matcher],
        key_of: impl Fn(SeriesId) -> Option<KeyRef<'a>>,
    ) -> RoaringBitmap {
        let is_look_up = |matcher: &&Matcher| matcher.op() == MatchOp::Equal && !matcher.matches_absent();
        let (look_ups, mut others): (Vec<&Matcher>, Vec<&Matcher>) = matchers.iter().partition(is_look_up);
        let (of_names, of_tags): (Vec<&Matcher>, Vec<&Matcher>) =
            look_ups.into_iter().partition(|matcher| is_name(matcher.tag()));
        let lists: Option<Vec<&Ids>> =
            of_tags.into_iter().map(|matcher| self.tags.tag(matcher.tag())?.values().get(matcher.value())).collect();
        let Some(mut lists) = lists else { return RoaringBitmap::new() };
        lists.sort_by_key(|ids| ids.len());

        let mut lists = lists.into_iter();
        let mut of_names = of_names.into_iter();
        let first = lists.next().map(Ids::to_bitmap).or_else(|| of_names.next().map(|matcher| self.named(matcher)));
        let mut found = first.unwrap_or_else(|| self.all());
        lists.for_each(|ids| ids.restrict(&mut found));
        of_names.for_each(|matcher| found &= self.named(matcher));
        others.sort_by_key(|matcher| self.values_of(matcher));
        for matcher in others {
            if found.is_empty() {
                break;
            }
            self.restrict(&mut found, matcher, &key_of);
        }
        found
    }

    /// How many different values a matcher would have to look at.
    fn values_of(&self, matcher: &Matcher) -> usize {
        if is_name(matcher.tag()) {
            self.names.len() + self.untagged.len() as usize
        } else {
            self.tags.tag(matcher.tag()).map_or(0, |tag| tag.values().len())
        }
    }

    /// The series of the one name that a matcher asks for.
    fn named(&self, matcher: &Matcher) -> RoaringBitmap {
        let name = matcher.value();
        let mut found = self.names.get(name).map(Ids::to_bitmap).unwrap_or_default();
        found.extend(self.keys.find(name).filter(|id| self.untagged.contains(*id)));
        if let Some(tag) = self.tags.tag(NAME).filter(|_| matcher.tag() == NAME) {
            found -= tag.all();
            found |= tag.values().get(name).map(Ids::to_bitmap).unwrap_or_default();
        }
        found
    }

    /// Leaves in `found` what passes a matcher.
    fn restrict<'a>(
        &self,
        found: &mut RoaringBitmap,
        matcher: &Matcher,
        key_of: impl Fn(SeriesId) -> Option<KeyRef<'a>>,
    ) {
        let passes = |id| key_of(id).is_some_and(|key| matcher.matches_series(key));
        if is_name(matcher.tag()) {
            let mut plain = &*found & &self.untagged;
            plain.retain(passes);
            *found &= &self.tagged;
            if is_cheaper_by_key(found.len(), self.names.len(), self.tagged.len()) {
                found.retain(passes);
            } else {
                let mut passing = self.names.passing(&self.tagged, |name| matcher.matches(name));
                if let Some(tag) = self.tags.tag(NAME).filter(|_| matcher.tag() == NAME) {
                    passing -= tag.all();
                    passing |= tag.matching(matcher);
                }
                *found &= passing;
            }
            *found |= plain;
            return;
        }
        let Some(tag) = self.tags.tag(matcher.tag()) else {
            if !matcher.matches_absent() {
                found.clear();
            }
            return;
        };
        if is_cheaper_by_key(found.len(), tag.values().len(), tag.all().len()) {
            found.retain(passes);
        } else if matcher.matches_absent() {
            *found -= tag.all() - tag.matching(matcher);
        } else {
            *found &= tag.matching(matcher);
        }
    }
}

/// Series by a text, while they come in the order of their numbers.
#[derive(Default)]
struct Gathered<'a>(HashMap<Cow<'a, str>, Ids, RandomState>);

impl<'a> Gathered<'a> {
    fn insert(&mut self, text: Cow<'a, str>, id: SeriesId) {
        self.0.entry(text).and_modify(|ids| ids.insert(id)).or_insert(Ids::One(id));
    }

    fn into_values(self) -> Values {
        let (texts, sets): (Vec<_>, Vec<_>) = self.0.into_iter().unzip();
        Values::in_order(order::sorted(texts.iter().zip(sets).map(|(text, ids)| ((text, ids), text.as_bytes()))))
    }
}

fn is_name(tag: &str) -> bool {
    matches!(tag, NAME | PROMETHEUS_NAME)
}

/// Whether it is cheaper to look at the keys of `found` series than at all values of a tag and at the lists of the `all`
/// series that carry it. A key costs some four times what a value does, and that as much as 32 numbers of a list.
const fn is_cheaper_by_key(found: u64, values: usize, all: u64) -> bool {
    found.saturating_mul(4) < values as u64 + all / 32
}
