//! What an operator asks: is it alive, is it ready, what are its figures, what did it refuse; and to make a backup.

use std::sync::PoisonError;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use statline_statsd::mapping::Format;
use statline_store::StoreError;

use super::params::Params;
use super::{Shared, plain};
use crate::backups::BackupError;
use crate::clock;

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

/// `/metrics`: what mapping rules have made of statsd names, then our own figures, as Prometheus text or OpenMetrics.
pub async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    // The store looks at its files.
    let rendered = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        {
            let registry = shared.registry.lock().unwrap_or_else(PoisonError::into_inner);
            shared.status.publish_mapping(&registry);
            format.write(&registry, clock::now(), &mut text);
        }
        shared.status.publish(&shared.received.totals());
        shared.carbon.publish();
        shared.metrics.run_upkeep();
        format.write_text(&shared.metrics.render(), &mut text);
        format.finish(&mut text);
        text
    });
    let Ok(text) = rendered.await else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "the figures could not be gathered");
    };
    ([(header::CONTENT_TYPE, format.content_type())], text).into_response()
}

/// `/statsd/refusals`: the last lines that were refused, with reason, place and sender.
pub async fn refusals(State(shared): State<Shared>) -> Response {
    lines(shared.received.refusals())
}

/// `/carbon/refusals`: the last carbon lines and pickles that were refused, with reason and sender.
pub async fn carbon_refusals(State(shared): State<Shared>) -> Response {
    lines(shared.carbon.refusals())
}

fn lines(items: Vec<impl ToString>) -> Response {
    let text: String = items.iter().map(|item| item.to_string() + "\n").collect();
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// `/api/v1/backup`: writes a backup of the store into the directory for them, under the `name` that was sent, or the time.
pub async fn backup(State(shared): State<Shared>, params: Params) -> Response {
    match shared.backups.make(params.get("name")).await {
        Ok(made) => Json(made).into_response(),
        Err(error) => {
            let status = match &error {
                BackupError::NotConfigured | BackupError::BadName(_) => StatusCode::BAD_REQUEST,
                BackupError::UnderWay | BackupError::Store(StoreError::Occupied { .. }) => StatusCode::CONFLICT,
                BackupError::Store(_) | BackupError::Directory { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            };
            if status.is_server_error() {
                tracing::error!(%error, "a backup failed");
            }
            plain(status, &error.to_string())
        }
    }
}
