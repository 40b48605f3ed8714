//! The HTTP API: Graphite's, Prometheus text of our own figures, health and readiness, backups.

mod events;
mod expand;
mod find;
mod functions;
mod graph;
mod indent;
mod index;
mod json;
mod operations;
mod params;
mod render;
mod reply;
mod stream;
mod tags;
#[cfg(test)]
mod tests;
mod version;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{And, NotForContentType, Predicate, SizeAbove};

use statline_statsd::mapping::Registry;

use crate::access::Access;
use crate::backups::Backups;
use crate::carbon::CarbonStats;
use crate::engine::{Engine, QueryError};
use crate::receive::ReceiveStats;
use crate::status::Status;

/// Shorter answers go as they are.
const MIN_COMPRESSED_BYTES: u64 = 1024;
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
    let guarded = graphite()
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
        .method_not_allowed_fallback(not_allowed)
        .layer(compression())
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(shared)
}

/// What graphite-web serves, with a slash at the end and without.
fn graphite() -> Router<Shared> {
    let routes = [
        ("/render", get(render::render).post(render::render)),
        ("/metrics/find", get(find::find).post(find::find)),
        ("/metrics/expand", get(expand::expand).post(expand::expand)),
        ("/metrics/index.json", get(index::index).post(index::index)),
        ("/events", get(events::list).post(events::add)),
        ("/events/get_data", get(events::list)),
        ("/functions", get(functions::list)),
        ("/functions/{name}", get(functions::details)),
        ("/tags", get(tags::list)),
        ("/tags/findSeries", get(tags::find_series).post(tags::find_series)),
        ("/tags/autoComplete/tags", get(tags::complete_tags).post(tags::complete_tags)),
        ("/tags/autoComplete/values", get(tags::complete_values).post(tags::complete_values)),
        ("/tags/tagSeries", post(tags::tag_series)),
        ("/tags/tagMultiSeries", post(tags::tag_multi_series)),
        ("/tags/delSeries", post(tags::delete_series)),
        ("/version", get(version::version)),
    ];
    let router = Router::new().route("/tags/{*tag}", get(tags::details));
    routes
        .into_iter()
        .fold(router, |router, (path, methods)| router.route(path, methods.clone()).route(&format!("{path}/"), methods))
}

/// Answers that are long enough to be worth it go as gzip where the client takes it; pictures of pixels are small as they are.
fn compression() -> CompressionLayer<And<SizeAbove, NotForContentType>> {
    let is_worth_it = SizeAbove::new(MIN_COMPRESSED_BYTES).and(NotForContentType::IMAGES);
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(is_worth_it)
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
            "there is nothing at {}; try /render, /metrics/find, /tags, /functions, /events/get_data, /metrics, /health or /ready",
            request.uri().path()
        ),
    )
}

async fn not_allowed(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    plain(StatusCode::METHOD_NOT_ALLOWED, &format!("{path} does not take {method}; see the header Allow"))
}

/// A line of text, which is how Graphite tells an error.
fn plain(status: StatusCode, message: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{message}\n")).into_response()
}

impl QueryError {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Limit(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Store(_) | Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Logs what is not the client's fault.
    fn note(&self) {
        if self.status().is_server_error() {
            tracing::warn!(error = %self, "a query failed");
        }
    }
}

impl IntoResponse for QueryError {
    fn into_response(self) -> Response {
        self.note();
        plain(self.status(), &self.to_string())
    }
}
