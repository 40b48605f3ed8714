//! `/metrics/find`: one level of the tree of paths.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono_tz::Tz;
use serde_json::{Value, json};
use statline_flight::action::{Find, FindNode, Span};

use super::Shared;
use super::params::Params;
use crate::clock;
use crate::engine::QueryError;

/// Handles GET and POST.
pub async fn find(State(shared): State<Shared>, params: Params) -> Response {
    match answer(&shared, &params).await {
        Ok(nodes) => Json(nodes).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn answer(shared: &Shared, params: &Params) -> Result<Vec<Value>, QueryError> {
    let Some(query) = params.get("query") else {
        return Err(QueryError::Bad(
            "the parameter query is missing; expected a path such as stats.gauges.*".to_owned(),
        ));
    };
    let instant = |name: &str| match params.get(name) {
        None => Ok(None),
        Some(text) => statline_graphite::time::parse_at(text, clock::now(), Tz::UTC)
            .map(Some)
            .map_err(|error| QueryError::Bad(format!("{name} is {text:?}: {error}"))),
    };
    // Graphite's `until` is included, a span's is not.
    let span = Span { from: instant("from")?, until: instant("until")?.map(|until| until.offset(1)) };
    let to_json = match params.get("format").unwrap_or("treejson") {
        "treejson" => tree_json,
        "json" => plain_json,
        other => return Err(QueryError::Bad(format!("format is {other:?}; expected treejson or json"))),
    };
    let nodes = shared.engine.find(&Find { query: query.to_owned(), span }).await?;
    Ok(nodes.iter().map(to_json).collect())
}

fn tree_json(node: &FindNode) -> Value {
    let branch = u8::from(node.expandable);
    json!({
        "text": node.text, "id": node.id, "leaf": u8::from(node.leaf),
        "expandable": branch, "allowChildren": branch, "context": {},
    })
}

fn plain_json(node: &FindNode) -> Value {
    json!({ "path": node.id, "is_leaf": node.leaf })
}
