//! What an operator asks: is it alive, is it ready, what are its figures, what did it refuse.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{Shared, plain};

/// `/health`: the process answers.
pub async fn health() -> Response {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })).into_response()
}

/// `/ready`: packets are received and points are stored.
pub async fn ready(State(shared): State<Shared>) -> Response {
    match shared.status.trouble() {
        None => Json(json!({ "status": "ready" })).into_response(),
        Some(trouble) => plain(StatusCode::SERVICE_UNAVAILABLE, &trouble),
    }
}

/// `/metrics`: our own figures, as Prometheus text.
pub async fn metrics(State(shared): State<Shared>) -> Response {
    // The store looks at its files.
    let rendered = tokio::task::spawn_blocking(move || {
        shared.status.publish(&shared.received.totals());
        shared.metrics.run_upkeep();
        shared.metrics.render()
    });
    let Ok(text) = rendered.await else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the figures could not be gathered");
    };
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// `/statsd/refusals`: the last lines that were refused, with reason, place and sender.
pub async fn refusals(State(shared): State<Shared>) -> Response {
    let mut text = String::new();
    for refusal in shared.received.refusals() {
        text.push_str(&refusal.to_string());
        text.push('\n');
    }
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}
