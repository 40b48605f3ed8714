//! `/metrics/expand`: all paths that patterns match, leaves and branches alike.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Shared;
use super::find::span;
use super::params::Params;
use super::reply::{Style, uncached};
use crate::engine::QueryError;

/// Handles GET and POST.
pub async fn expand(State(shared): State<Shared>, params: Params) -> Response {
    match answer(&shared, &params).await {
        Ok(response) => uncached(response),
        Err(error) => error.into_response(),
    }
}

async fn answer(shared: &Shared, params: &Params) -> Result<Response, QueryError> {
    let by_query = params.switch("groupByExpr")?;
    let leaves_only = params.switch("leavesOnly")?;
    let style = Style::of(params)?;
    let range = span(shared, params)?.range();
    let limits = shared.engine.limits();
    let queries: BTreeSet<&str> = params.all("query").collect();
    if queries.len() > limits.max_targets {
        return Err(QueryError::Limit(format!(
            "the request has {} queries, more than query.max_targets, {}",
            queries.len(),
            limits.max_targets
        )));
    }
    let mut paths: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut found = 0;
    for query in queries {
        let expanded = paths.entry(query).or_default();
        // An empty one matches nothing.
        if query.is_empty() {
            continue;
        }
        let nodes = shared.engine.nodes(query, range).await?;
        expanded.extend(nodes.into_iter().filter(|node| node.is_leaf || !leaves_only).map(|node| node.path));
        found += expanded.len();
        if found > limits.max_names {
            return Err(QueryError::Limit(format!(
                "more names match than query.max_names, {}; write more of the paths",
                limits.max_names
            )));
        }
    }
    if by_query {
        return Ok(style.json(&json!({ "results": paths })));
    }
    let all: BTreeSet<String> = paths.into_values().flatten().collect();
    Ok(style.json(&json!({ "results": all })))
}
