//! `/render`: targets over a span of time, as JSON.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono_tz::Tz;
use futures::stream::{self, StreamExt, TryStreamExt};
use statline_graphite::Compat;
use statline_series::Timestamp;

use super::params::Params;
use super::{Shared, json};
use crate::clock;
use crate::engine::{QueryError, Window};

/// Handles GET and POST.
pub async fn render(State(shared): State<Shared>, params: Params) -> Response {
    match answer(&shared, &params).await {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn answer(shared: &Shared, params: &Params) -> Result<String, QueryError> {
    let format = params.get("format").unwrap_or("json");
    if format != "json" {
        return Err(QueryError::Bad(format!("format is {format:?}; only json is served")));
    }
    let targets: Vec<String> = params.all("target").map(ToOwned::to_owned).collect();
    let limits = shared.engine.limits();
    if targets.len() > limits.max_targets {
        return Err(QueryError::Limit(format!(
            "the request has {} targets, more than query.max_targets, {}",
            targets.len(),
            limits.max_targets
        )));
    }
    let window = window(params, clock::now(), limits.compat)?;
    // Targets of one request are evaluated side by side, and answered in their order; as graphite-web, one by one.
    let runs = match window.compat.unwrap_or(limits.compat) {
        Compat::Statline => targets.into_iter().map(|target| vec![target]).collect(),
        Compat::GraphiteWeb => vec![targets],
    };
    let answers = stream::iter(runs)
        .map(|targets| {
            let (engine, window) = (shared.engine.clone(), window.clone());
            async move { engine.graphite_in_order(&targets, &window).await }
        })
        .buffered(limits.max_concurrent);
    futures::pin_mut!(answers);
    let (mut series, mut points) = (Vec::new(), 0_usize);
    while let Some(answer) = answers.try_next().await? {
        points += answer.iter().map(|series| series.values().len()).sum::<usize>();
        if points > limits.max_points {
            return Err(QueryError::Limit(format!(
                "the answer has more points than query.max_points, {}; shorten the range or send maxDataPoints",
                limits.max_points
            )));
        }
        series.extend(answer);
    }
    let skip_empty = params.has("noNullPoints");
    tokio::task::spawn_blocking(move || json::render(&series, skip_empty))
        .await
        .map_err(|error| QueryError::Internal(error.to_string()))
}

fn window(params: &Params, now: Timestamp, configured: Compat) -> Result<Window, QueryError> {
    // As in Graphite, a zone that does not exist is none.
    let zone: Tz = params.get("tz").and_then(|name| name.parse().ok()).unwrap_or(Tz::UTC);
    let compat = params.get("compat").map(str::parse).transpose();
    let compat = compat.map_err(|error| QueryError::Bad(format!("compat is {error}")))?;
    let reader = compat.unwrap_or(configured);
    let instant = |name: &str, default: &str| {
        let text = params.get(name).unwrap_or(default);
        statline_graphite::time::parse_at_as(reader, text, now, zone)
            .map_err(|error| QueryError::Bad(format!("{name} is {text:?}: {error}")))
    };
    let (from, until) = (instant("from", "-1d")?, instant("until", "now")?);
    if from == until {
        return Err(QueryError::Bad("from and until are the same instant; the range is empty".to_owned()));
    }
    let max_data_points = match params.get("maxDataPoints") {
        None => None,
        Some(text) => Some(text.parse().ok().filter(|points| *points > 0).ok_or_else(|| {
            QueryError::Bad(format!("maxDataPoints is {text:?}; expected a whole number of at least 1"))
        })?),
    };
    let template = params.within("template").map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(Window { from: from.min(until), until: from.max(until), now, zone, max_data_points, compat, template })
}
