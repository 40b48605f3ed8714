//! The HTTP API: Graphite's `/render`, `/metrics/find` and `/events`, Prometheus text of our own figures, health and
//! readiness, backups.

mod events;
mod find;
mod json;
mod operations;
mod params;
mod render;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;

use statline_statsd::mapping::Registry;

use crate::access::Access;
use crate::backups::Backups;
use crate::carbon::CarbonStats;
use crate::engine::{Engine, QueryError};
use crate::receive::ReceiveStats;
use crate::status::Status;

/// The most bytes of a request's body.
const MAX_BODY_BYTES: usize = 4 << 20;

/// What the handlers share.
#[derive(Clone)]
pub struct Shared {
    /// Answers queries.
    pub engine: Engine,
    /// Whether the daemon is fit to work.
    pub status: Arc<Status>,
    /// What the statsd receivers counted.
    pub received: Arc<ReceiveStats>,
    /// What carbon's listeners counted.
    pub carbon: Arc<CarbonStats>,
    /// Our own figures.
    pub metrics: PrometheusHandle,
    /// The metrics that mapping rules have made.
    pub registry: Arc<Mutex<Registry>>,
    /// Makes backups of the store.
    pub backups: Backups,
    /// Who may ask.
    pub access: Access,
}

/// Every route.
pub fn router(shared: Shared) -> Router {
    let guarded = Router::new()
        .route("/render", get(render::render).post(render::render))
        .route("/render/", get(render::render).post(render::render))
        .route("/metrics/find", get(find::find).post(find::find))
        .route("/metrics/find/", get(find::find).post(find::find))
        .route("/events", get(events::list).post(events::add))
        .route("/events/", get(events::list).post(events::add))
        .route("/events/get_data", get(events::list))
        .route("/events/get_data/", get(events::list))
        .route("/metrics", get(operations::metrics))
        .route("/statsd/refusals", get(operations::refusals))
        .route("/carbon/refusals", get(operations::carbon_refusals))
        .route("/api/v1/backup", post(operations::backup))
        .route_layer(middleware::from_fn_with_state(shared.clone(), guard));
    Router::new()
        .route("/health", get(operations::health))
        .route("/ready", get(operations::ready))
        .merge(guarded)
        .fallback(not_found)
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(shared)
}

async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if shared.access.allows(authorization) {
        return next.run(request).await;
    }
    let mut response =
        plain(StatusCode::UNAUTHORIZED, "send the header Authorization: Bearer with the value of http.token");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    response
}

async fn not_found(request: Request) -> Response {
    plain(
        StatusCode::NOT_FOUND,
        &format!(
            "there is nothing at {}; try /render, /metrics/find, /events/get_data, /metrics, /health or /ready",
            request.uri().path()
        ),
    )
}

/// A line of text, which is how Graphite tells an error.
fn plain(status: StatusCode, message: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{message}\n")).into_response()
}

impl IntoResponse for QueryError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Limit(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Store(_) | Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::warn!(error = %self, "a query failed");
        }
        plain(status, &self.to_string())
    }
}
