//! `/metrics/index.json`: the names of all series.

use axum::extract::State;
use axum::response::{IntoResponse, Response};

use super::Shared;
use super::params::Params;
use super::reply::Style;
use crate::engine::QueryError;

/// Handles GET and POST.
pub async fn index(State(shared): State<Shared>, params: Params) -> Response {
    let answer = async { Ok::<_, QueryError>(Style::of(&params)?.json(&shared.engine.index().await?)) };
    answer.await.unwrap_or_else(IntoResponse::into_response)
}
