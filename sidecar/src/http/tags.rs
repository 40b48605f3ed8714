//! `/tags` and what is below it, as graphite-web 1.1.10 answers from its database of tags.
//!
//! There is no database apart from the store here: a series is known from its first point to its last one's end, so telling
//! of one changes nothing, and removing one removes its points. Errors are objects of JSON.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use statline_flight::action::Span;
use statline_graphite::tag_matchers;
use statline_series::{Anchor, MatchOp, Matcher, SeriesKey, TimeRange};

use super::Shared;
use super::find;
use super::params::Params;
use super::reply::{self, Style};
use crate::carbon;
use crate::engine::QueryError;

/// How many suggestions there are when nobody says.
const SUGGESTIONS: usize = 100;

/// `GET /tags`: the names of tags.
pub async fn list(State(shared): State<Shared>, params: Params) -> Response {
    reply(&params, names(&shared, &params).await)
}

/// `GET /tags/<tag>`: the values of a tag, and how many series have each.
pub async fn details(State(shared): State<Shared>, Path(tag): Path<String>, params: Params) -> Response {
    reply(&params, values(&shared, &params, &tag).await)
}

/// `/tags/findSeries`: the series that pass tag expressions.
pub async fn find_series(State(shared): State<Shared>, params: Params) -> Response {
    reply(&params, found(&shared, &params).await)
}

/// `/tags/autoComplete/tags`: the names of tags that begin with a prefix.
pub async fn complete_tags(State(shared): State<Shared>, params: Params) -> Response {
    reply(&params, tag_suggestions(&shared, &params).await)
}

/// `/tags/autoComplete/values`: the values of a tag that begin with a prefix.
pub async fn complete_values(State(shared): State<Shared>, params: Params) -> Response {
    reply(&params, value_suggestions(&shared, &params).await)
}

/// `POST /tags/tagSeries`: the name of a series as the store has it. It is known once it has a point.
pub async fn tag_series(params: Params) -> Response {
    let key = params.get("path").ok_or_else(no_path).and_then(canonical);
    reply(&params, key.map(|key| key.as_str().to_owned()))
}

/// `POST /tags/tagMultiSeries`: the same of several.
pub async fn tag_multi_series(State(shared): State<Shared>, params: Params) -> Response {
    let names = |keys: Vec<SeriesKey>| keys.iter().map(|key| key.as_str().to_owned()).collect::<Vec<_>>();
    reply(&params, keys(&shared, &params).map(names))
}

/// `POST /tags/delSeries`: removes series and all their points. Those that there are not are removed as well.
pub async fn delete_series(State(shared): State<Shared>, params: Params) -> Response {
    let deleted = async {
        let deleted = shared.engine.delete(keys(&shared, &params)?).await?;
        tracing::info!(deleted, "series were removed by /tags/delSeries");
        Ok(true)
    };
    let deleted = deleted.await;
    reply(&params, deleted)
}

fn reply(params: &Params, answer: Result<impl Serialize, QueryError>) -> Response {
    let answer = answer.and_then(|answer| Ok(Style::of(params)?.json(&answer)));
    answer.unwrap_or_else(|error| reply::query_error(&error)).into_response()
}

async fn names(shared: &Shared, params: &Params) -> Result<Vec<Value>, QueryError> {
    let everything = Span::default().range();
    let filter = filter(params)?;
    let limit = limit(params)?.unwrap_or(usize::MAX);
    // What a filter leaves out must not count.
    let asked = if filter.is_some() { usize::MAX } else { limit };
    let names = shared.engine.tag_names("", &[], everything, asked).await?;
    let passes = |name: &String| filter.as_ref().is_none_or(|filter| filter.matches(name));
    Ok(names.into_iter().filter(passes).take(limit).map(|tag| json!({ "tag": tag })).collect())
}

async fn values(shared: &Shared, params: &Params, tag: &str) -> Result<Value, QueryError> {
    let everything = Span::default().range();
    let filter = filter(params)?;
    let limit = limit(params)?.unwrap_or(usize::MAX);
    let asked = if filter.is_some() { usize::MAX } else { limit.max(1) };
    let mut values = shared.engine.values_of(tag, "", &[], everything, asked).await?;
    if values.is_empty() {
        return Ok(Value::Null);
    }
    values.retain(|value| filter.as_ref().is_none_or(|filter| filter.matches(value)));
    values.truncate(limit);
    let matcher = |value: &String| Matcher::new(tag, MatchOp::Equal, value, Anchor::Both).map_err(bad);
    let matchers = values.iter().map(matcher).collect::<Result<_, _>>()?;
    let counts = shared.engine.count_series(matchers).await?;
    let counted = values.into_iter().zip(counts).map(|(value, count)| json!({ "value": value, "count": count }));
    Ok(json!({ "tag": tag, "values": counted.collect::<Vec<_>>() }))
}

async fn found(shared: &Shared, params: &Params) -> Result<Vec<String>, QueryError> {
    let expressions = expressions(shared, params)?;
    if expressions.is_empty() {
        return Err(QueryError::Bad(
            "the parameter expr is missing; expected a tag expression such as tag=value".to_owned(),
        ));
    }
    let matchers = tag_matchers(&expressions).map_err(bad)?;
    shared.engine.series_by_tags(matchers, range(shared, params)?).await
}

async fn tag_suggestions(shared: &Shared, params: &Params) -> Result<Vec<String>, QueryError> {
    let expressions = expressions(shared, params)?;
    let matchers = if expressions.is_empty() { Vec::new() } else { tag_matchers(&expressions).map_err(bad)? };
    let limit = suggestions(params)?;
    let prefix = params.get("tagPrefix").unwrap_or_default();
    // A tag that is asked for already is no suggestion.
    let asked = limit.saturating_add(matchers.len());
    let mut tags = shared.engine.tag_names(prefix, &matchers, range(shared, params)?, asked).await?;
    tags.retain(|tag| matchers.iter().all(|matcher| matcher.tag() != tag));
    tags.truncate(limit);
    Ok(tags)
}

async fn value_suggestions(shared: &Shared, params: &Params) -> Result<Vec<String>, QueryError> {
    let tag = params
        .get("tag")
        .ok_or_else(|| QueryError::Bad("the parameter tag is missing; expected the name of a tag".to_owned()))?;
    let mut expressions = expressions(shared, params)?;
    // With the tag itself, something is always asked for.
    let has_tag = format!("{tag}!=");
    let matchers = if expressions.is_empty() {
        Vec::new()
    } else {
        expressions.push(&has_tag);
        tag_matchers(&expressions).map_err(bad)?
    };
    let prefix = params.get("valuePrefix").unwrap_or_default();
    let limit = suggestions(params)?;
    shared.engine.values_of(tag, prefix, &matchers, range(shared, params)?, limit).await
}

/// The tag expressions of a request.
fn expressions<'a>(shared: &Shared, params: &'a Params) -> Result<Vec<&'a str>, QueryError> {
    let expressions: Vec<&str> = params.all("expr").collect();
    let limit = shared.engine.limits().max_targets;
    if expressions.len() > limit {
        return Err(QueryError::Limit(format!(
            "the request has {} tag expressions, more than query.max_targets, {limit}",
            expressions.len()
        )));
    }
    Ok(expressions)
}

/// When series must have lived to count. Grafana's backend sends `undefined` where it has no range.
fn range(shared: &Shared, params: &Params) -> Result<TimeRange, QueryError> {
    let is_unsaid = |name| params.get(name) == Some("undefined");
    if is_unsaid("from") || is_unsaid("until") {
        return Ok(Span::default().range());
    }
    Ok(find::span(shared, params)?.range())
}

/// A regex that values have to match from their start.
fn filter(params: &Params) -> Result<Option<Matcher>, QueryError> {
    let Some(regex) = params.get("filter") else { return Ok(None) };
    Matcher::new("filter", MatchOp::Regex, regex, Anchor::Start).map(Some).map_err(bad)
}

/// The most that are wanted, where it is said.
fn limit(params: &Params) -> Result<Option<usize>, QueryError> {
    let Some(text) = params.get("limit") else { return Ok(None) };
    let limit = text.trim().parse();
    limit.map(Some).map_err(|_| QueryError::Bad(format!("limit is {text:?}; expected a whole number")))
}

/// The most suggestions that are wanted. Grafana's backend sends 0 where it does not say.
fn suggestions(params: &Params) -> Result<usize, QueryError> {
    Ok(limit(params)?.filter(|limit| *limit > 0).unwrap_or(SUGGESTIONS))
}

fn keys(shared: &Shared, params: &Params) -> Result<Vec<SeriesKey>, QueryError> {
    let paths: Vec<&str> = params.all("path").collect();
    let limit = shared.engine.limits().max_names;
    if paths.is_empty() {
        return Err(no_path());
    }
    if paths.len() > limit {
        return Err(QueryError::Limit(format!(
            "the request has {} series, more than query.max_names, {limit}",
            paths.len()
        )));
    }
    paths.into_iter().map(canonical).collect()
}

/// The key of a series as carbon would have it: tags in any order and in both styles.
fn canonical(path: &str) -> Result<SeriesKey, QueryError> {
    carbon::name::key(path).map_err(|error| QueryError::Bad(format!("path {path:?}: {error}")))
}

fn no_path() -> QueryError {
    QueryError::Bad("the parameter path is missing; expected the name of a series such as name;tag=value".to_owned())
}

fn bad(error: impl std::fmt::Display) -> QueryError {
    QueryError::Bad(error.to_string())
}
