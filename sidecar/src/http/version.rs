//! `/version`: the version of graphite-web whose API this is, for clients that ask what they may ask.

use axum::Json;

/// As a text of JSON, which is what Grafana reads it as.
pub async fn version() -> Json<&'static str> {
    Json("1.1.10")
}
