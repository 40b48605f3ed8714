//! Which series carry which tag: for each tag and value the numbers of the series, ascending.

use std::collections::BTreeMap;

use statline_series::Matcher;

use crate::SeriesId;

type Values = BTreeMap<Box<str>, Vec<SeriesId>>;

/// Lists of series by tag and value.
#[derive(Debug, Default)]
pub(crate) struct Postings {
    tags: BTreeMap<Box<str>, Values>,
}

impl Postings {
    pub(crate) fn insert(&mut self, tag: &str, value: &str, id: SeriesId) {
        let values = match self.tags.get_mut(tag) {
            Some(values) => values,
            None => self.tags.entry(tag.into()).or_default(),
        };
        let list = match values.get_mut(value) {
            Some(list) => list,
            None => values.entry(value.into()).or_default(),
        };
        // Numbers are given in order, so that this is nearly always the end.
        if let Err(place) = list.binary_search(&id) {
            list.insert(place, id);
        }
    }

    pub(crate) fn remove(&mut self, tag: &str, value: &str, id: SeriesId) {
        let Some(values) = self.tags.get_mut(tag) else { return };
        if let Some(list) = values.get_mut(value) {
            if let Ok(place) = list.binary_search(&id) {
                list.remove(place);
            }
            if list.is_empty() {
                values.remove(value);
            }
        }
        if values.is_empty() {
            self.tags.remove(tag);
        }
    }

    /// The series that carry a tag with a value that passes, ascending.
    pub(crate) fn matching(&self, tag: &str, matcher: &Matcher) -> Vec<SeriesId> {
        let Some(values) = self.tags.get(tag) else { return Vec::new() };
        if matcher.op() == statline_series::MatchOp::Equal {
            return values.get(matcher.value()).cloned().unwrap_or_default();
        }
        let mut series: Vec<SeriesId> =
            values.iter().filter(|(value, _)| matcher.matches(value)).flat_map(|(_, list)| list).copied().collect();
        series.sort_unstable();
        series.dedup();
        series
    }

    /// The tags that begin with `prefix`, in alphabetical order.
    pub(crate) fn tags(&self, prefix: &str) -> impl Iterator<Item = &str> {
        starting_with(&self.tags, prefix).map(|(tag, _)| tag)
    }

    /// The values of a tag that begin with `prefix`, in alphabetical order, and their series.
    pub(crate) fn values(&self, tag: &str, prefix: &str) -> impl Iterator<Item = (&str, &[SeriesId])> {
        self.tags
            .get(tag)
            .into_iter()
            .flat_map(move |values| starting_with(values, prefix).map(|(value, series)| (value, series.as_slice())))
    }

    /// All series that carry a tag, by value.
    pub(crate) fn series_of(&self, tag: &str) -> impl Iterator<Item = SeriesId> {
        self.tags.get(tag).into_iter().flat_map(|values| values.values().flatten().copied())
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
        let matcher = |op, value| Matcher::new("host", op, value, Anchor::Both).unwrap();
        assert_eq!(postings.matching("host", &matcher(MatchOp::Equal, "a")), [1, 4]);
        assert_eq!(postings.matching("host", &matcher(MatchOp::Regex, "a.*")), [1, 2, 4]);
        assert_eq!(postings.matching("none", &matcher(MatchOp::Equal, "a")), []);
        assert_eq!(postings.values("host", "a").map(|(value, _)| value).collect::<Vec<_>>(), ["a", "ab"]);
        postings.remove("dc", "x", 1);
        assert_eq!(postings.tags("").collect::<Vec<_>>(), ["host"]);
        postings.remove("host", "a", 1);
        assert_eq!(postings.matching("host", &matcher(MatchOp::Equal, "a")), [4]);
    }
}
