//! Questions about what there is: paths, tags and their values, series; and the removal of series.
//!
//! Every answer is bounded by `query.max_names`, or `query.max_series` where it is made of whole series. Lists of tags and
//! values end there, as if they had been asked for so many; anything else that would be longer is refused.

use std::collections::HashMap;

use statline_flight::action::{Find, FindNode, TagValues, Tags};
use statline_series::{Matcher, PathPattern, SeriesKey, TimeRange, Timestamp};
use statline_store::{Node, Selection, SeriesInfo};

use super::{Engine, QueryError};

/// When a series has lived: from the instant of its oldest point to the end of the slot of its newest.
pub type Lifetime = (Timestamp, Timestamp);

impl Engine {
    /// One level of the tree of paths.
    ///
    /// # Errors
    /// When the pattern is not valid or the store fails.
    pub async fn find(&self, find: &Find) -> Result<Vec<FindNode>, QueryError> {
        let nodes = self.nodes(&find.query, find.span.range()).await?;
        Ok(nodes
            .into_iter()
            .map(|node| FindNode { text: node.name, id: node.path, leaf: node.is_leaf, expandable: node.has_children })
            .collect())
    }

    /// As [`Engine::find`], as the store has it.
    ///
    /// # Errors
    /// When the pattern is not valid, matches too much, or the store fails.
    pub async fn nodes(&self, query: &str, range: TimeRange) -> Result<Vec<Node>, QueryError> {
        let nodes = self
            .bounded(|_permit| async {
                let pattern = PathPattern::parse(query).map_err(|error| QueryError::Bad(error.to_string()))?;
                Ok(self.store.find(&pattern, range).await?)
            })
            .await?;
        let limit = self.limits.max_names;
        if nodes.len() > limit {
            return Err(QueryError::Limit(format!(
                "{} names match, more than query.max_names, {limit}; write more of the path",
                nodes.len()
            )));
        }
        Ok(nodes)
    }

    /// When series have lived, by their paths; one that is gone is not among them.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn lifetimes(&self, paths: &[&str]) -> Result<HashMap<String, Lifetime>, QueryError> {
        // What the store calls a path is one.
        let keys = paths.iter().filter_map(|path| SeriesKey::parse(path).ok()).collect();
        let everything = TimeRange::new(Timestamp::MIN, Timestamp::MAX);
        let selection = Selection::Keys(keys);
        let series = self.bounded(|_permit| async { Ok(self.store.select(&selection, everything).await?) }).await?;
        let lifetime = |info: SeriesInfo| {
            (info.key.as_str().to_owned(), (info.first_seen, info.last_seen.offset(info.step.millis())))
        };
        Ok(series.into_iter().map(lifetime).collect())
    }

    /// The canonical texts of all series of points, in alphabetical order.
    ///
    /// # Errors
    /// When there are more than `query.max_names`, or the store fails.
    pub async fn index(&self) -> Result<Vec<String>, QueryError> {
        let limit = self.limits.max_names;
        let known = self.health().await?.series;
        if known > limit as u64 {
            return Err(QueryError::Limit(format!(
                "there are {known} series, more than query.max_names, {limit}; ask for a part of them by /metrics/find"
            )));
        }
        let everything = TimeRange::new(Timestamp::MIN, Timestamp::MAX);
        self.canonical(Selection::Matchers(Vec::new()), everything).await
    }

    /// The canonical texts of the series that pass all matchers and have lived in the range, in alphabetical order.
    ///
    /// # Errors
    /// When there are more than `query.max_series`, or the store fails.
    pub async fn series_by_tags(&self, matchers: Vec<Matcher>, range: TimeRange) -> Result<Vec<String>, QueryError> {
        let names = self.canonical(Selection::Matchers(matchers), range).await?;
        let limit = self.limits.max_series;
        if names.len() > limit {
            return Err(QueryError::Limit(format!(
                "{} series match, more than query.max_series, {limit}; write more tag expressions",
                names.len()
            )));
        }
        Ok(names)
    }

    async fn canonical(&self, selection: Selection, range: TimeRange) -> Result<Vec<String>, QueryError> {
        let series = self.bounded(|_permit| async { Ok(self.store.select(&selection, range).await?) }).await?;
        let mut names: Vec<String> = series.into_iter().map(|info| info.key.as_str().to_owned()).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// How many series have each of these values of a tag.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count_series(&self, by_value: Vec<Matcher>) -> Result<Vec<usize>, QueryError> {
        let everything = TimeRange::new(Timestamp::MIN, Timestamp::MAX);
        self.bounded(|_permit| async {
            let mut counts = Vec::with_capacity(by_value.len());
            // One after another, so that no more is held at once than the series of one value.
            for matcher in by_value {
                counts.push(self.store.select(&Selection::Matchers(vec![matcher]), everything).await?.len());
            }
            Ok(counts)
        })
        .await
    }

    /// The names of tags.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tags(&self, tags: &Tags) -> Result<Vec<String>, QueryError> {
        self.tag_names(&tags.prefix, &[], tags.span.range(), tags.limit as usize).await
    }

    /// The names of tags that begin with a prefix, among the series that pass all matchers.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tag_names(
        &self,
        prefix: &str,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, QueryError> {
        let limit = self.limits.max_names.min(limit);
        self.bounded(|_permit| async { Ok(self.store.tags(prefix, matchers, range, limit).await?) }).await
    }

    /// The values of a tag.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tag_values(&self, values: &TagValues) -> Result<Vec<String>, QueryError> {
        self.values_of(&values.tag, &values.prefix, &[], values.span.range(), values.limit as usize).await
    }

    /// The values of a tag that begin with a prefix, among the series that pass all matchers.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn values_of(
        &self,
        tag: &str,
        prefix: &str,
        matchers: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, QueryError> {
        let limit = self.limits.max_names.min(limit);
        self.bounded(|_permit| async { Ok(self.store.tag_values(tag, prefix, matchers, range, limit).await?) }).await
    }

    /// Removes series with all that they hold. When this returns, they are gone, and how many there were is told.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self, keys: Vec<SeriesKey>) -> Result<u64, QueryError> {
        let selection = Selection::Keys(keys);
        self.bounded(|_permit| async { Ok(self.store.delete(&selection).await?) }).await
    }
}
