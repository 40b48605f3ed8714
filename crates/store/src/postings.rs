//! Which series carry which tag, and which value of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use statline_series::Matcher;

use crate::SeriesId;
use crate::ids::{Ids, union};

/// Series by a text, in the order of texts.
#[derive(Debug, Default)]
pub(crate) struct Values(BTreeMap<Box<str>, Ids>);

impl Values {
    pub(crate) fn insert(&mut self, value: &str, id: SeriesId) {
        match self.0.get_mut(value) {
            Some(ids) => ids.insert(id),
            None => _ = self.0.insert(value.into(), Ids::One(id)),
        }
    }

    /// Of different texts in their order.
    pub(crate) fn in_order<'a>(texts: impl Iterator<Item = (&'a Cow<'a, str>, Ids)>) -> Self {
        Self(texts.map(|(text, ids)| (Box::from(&**text), ids)).collect())
    }

    pub(crate) fn remove(&mut self, value: &str, id: SeriesId) {
        if self.0.get_mut(value).is_some_and(|ids| ids.remove(id)) {
            self.0.remove(value);
        }
    }

    pub(crate) fn get(&self, value: &str) -> Option<&Ids> {
        self.0.get(value)
    }

    /// How many texts there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The series whose text passes, out of `all` that have one. Each text is looked at once.
    pub(crate) fn passing(&self, all: &RoaringBitmap, passes: impl Fn(&str) -> bool) -> RoaringBitmap {
        let (mut passing, mut failing) = (Vec::new(), Vec::new());
        for (value, ids) in &self.0 {
            if passes(value) {
                passing.push(ids);
            } else {
                failing.push(ids);
            }
        }
        if passing.len() <= failing.len() { union(passing.into_iter()) } else { all - union(failing.into_iter()) }
    }

    /// The texts that begin with `prefix`, in alphabetical order, and their series.
    pub(crate) fn starting_with(&self, prefix: &str) -> impl Iterator<Item = (&str, &Ids)> {
        starting_with(&self.0, prefix)
    }
}

/// One tag.
#[derive(Debug, Default)]
pub(crate) struct Tag {
    all: RoaringBitmap,
    values: Values,
}

impl Tag {
    /// The series that carry it.
    pub(crate) const fn all(&self) -> &RoaringBitmap {
        &self.all
    }

    pub(crate) const fn values(&self) -> &Values {
        &self.values
    }

    /// The series that carry it with a value that passes.
    pub(crate) fn matching(&self, matcher: &Matcher) -> RoaringBitmap {
        self.values.passing(&self.all, |value| matcher.matches(value))
    }
}

/// Series by tag and value.
#[derive(Debug, Default)]
pub(crate) struct Postings(BTreeMap<Box<str>, Tag>);

impl Postings {
    pub(crate) fn insert(&mut self, tag: &str, value: &str, id: SeriesId) {
        let tag = match self.0.get_mut(tag) {
            Some(tag) => tag,
            None => self.0.entry(tag.into()).or_default(),
        };
        tag.all.insert(id);
        tag.values.insert(value, id);
    }

    /// Puts in a tag with all its series.
    pub(crate) fn insert_all(&mut self, tag: &str, all: RoaringBitmap, values: Values) {
        self.0.insert(tag.into(), Tag { all, values });
    }

    pub(crate) fn remove(&mut self, name: &str, value: &str, id: SeriesId) {
        let Some(tag) = self.0.get_mut(name) else { return };
        tag.all.remove(id);
        tag.values.remove(value, id);
        if tag.all.is_empty() {
            self.0.remove(name);
        }
    }

    pub(crate) fn tag(&self, name: &str) -> Option<&Tag> {
        self.0.get(name)
    }

    /// The tags that begin with `prefix`, in alphabetical order.
    pub(crate) fn starting_with(&self, prefix: &str) -> impl Iterator<Item = (&str, &Tag)> {
        starting_with(&self.0, prefix)
    }
}

fn starting_with<'a, T>(map: &'a BTreeMap<Box<str>, T>, prefix: &str) -> impl Iterator<Item = (&'a str, &'a T)> {
    let prefix = prefix.to_owned();
    map.range::<str, _>((std::ops::Bound::Included(prefix.as_str()), std::ops::Bound::Unbounded))
        .map(|(text, value)| (&**text, value))
        .take_while(move |(text, _)| text.starts_with(&prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use statline_series::{Anchor, MatchOp};

    #[test]
    fn lists_follow_insertion_and_removal() {
        let mut postings = Postings::default();
        for (tag, value, id) in
            [("host", "a", 1), ("host", "ab", 2), ("host", "b", 3), ("dc", "x", 1), ("host", "a", 4)]
        {
            postings.insert(tag, value, id);
        }
        let matching = |postings: &Postings, op, value| {
            let matcher = Matcher::new("host", op, value, Anchor::Both).unwrap();
            postings.tag("host").unwrap().matching(&matcher).iter().collect::<Vec<_>>()
        };
        assert_eq!(matching(&postings, MatchOp::Equal, "a"), [1, 4]);
        assert_eq!(matching(&postings, MatchOp::Regex, "a.*"), [1, 2, 4]);
        assert_eq!(matching(&postings, MatchOp::NotEqual, "a"), [2, 3]);
        let values: Vec<&str> =
            postings.tag("host").unwrap().values().starting_with("a").map(|(value, _)| value).collect();
        assert_eq!(values, ["a", "ab"]);
        postings.remove("dc", "x", 1);
        assert_eq!(postings.starting_with("").map(|(tag, _)| tag).collect::<Vec<_>>(), ["host"]);
        postings.remove("host", "a", 1);
        assert_eq!(matching(&postings, MatchOp::Equal, "a"), [4]);
    }
}
