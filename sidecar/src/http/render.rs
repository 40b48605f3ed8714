//! `/render`: targets over a span of time.

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono_tz::Tz;
use futures::stream::{self, StreamExt};
use statline_graphite::{Compat, Series};
use statline_series::Timestamp;

use super::formats::{self, Format};
use super::params::Params;
use super::reply::Style;
use super::{Shared, json};
use crate::clock;
use crate::engine::{QueryError, Window};

/// The most bytes of JSON that are laid out for the eye.
const MAX_PRETTY_BYTES: usize = 8 << 20;

/// The most that is told of targets that failed.
const MAX_HEADER_BYTES: usize = 1024;

/// The header that tells which targets of an answer failed.
const ERRORS: HeaderName = HeaderName::from_static("x-statline-errors");

/// Handles GET and POST.
pub async fn render(State(shared): State<Shared>, params: Params) -> Response {
    answer(&shared, &params).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(shared: &Shared, params: &Params) -> Result<Response, QueryError> {
    let format = Format::parse(params.get("format").unwrap_or("json")).map_err(QueryError::Bad)?;
    let style = Style::of(params)?;
    let targets: Vec<String> = params.all("target").map(ToOwned::to_owned).collect();
    let limits = shared.engine.limits();
    if targets.len() > limits.max_targets {
        return Err(QueryError::Limit(format!(
            "the request has {} targets, more than query.max_targets, {}",
            targets.len(),
            limits.max_targets
        )));
    }
    let mut window = window(params, clock::now(), limits.compat)?;
    if !format.is_json() {
        window.max_data_points = None;
    }
    let is_as_graphite_web = window.compat.unwrap_or(limits.compat) == Compat::GraphiteWeb;
    let max_data_points = window.max_data_points.take_if(|_| is_as_graphite_web);
    let (mut series, failed) = evaluate(shared, targets, &window, is_as_graphite_web || !format.is_json()).await?;
    // There, buckets are counted from the first value of all targets.
    if is_as_graphite_web && format.is_json() {
        series = shared.engine.consolidate(series, &Window { max_data_points, ..window.clone() });
    }
    let body = match format {
        Format::Json => {
            let body = json::body(series, params.has("noNullPoints")).await;
            body.map_err(|error| QueryError::Internal(error.to_string()))?
        }
        _ => {
            let written = tokio::task::spawn_blocking(move || formats::write(&series, format, window.zone)).await;
            let written = written.map_err(|error| QueryError::Internal(error.to_string()))?;
            Body::from(written.map_err(QueryError::Internal)?)
        }
    };
    let (media_type, body) =
        if format.is_script() { styled(&style, body, format).await? } else { (format.media_type(), body) };
    let mut response = ([(header::CONTENT_TYPE, media_type)], body).into_response();
    if let Some(failed) = failed {
        response.headers_mut().insert(ERRORS, failed);
    }
    Ok(response)
}

/// The series of all targets, in the order of the targets; and what is told of those that failed, when others did not and
/// not all have to be answered.
async fn evaluate(
    shared: &Shared,
    targets: Vec<String>,
    window: &Window,
    all_or_none: bool,
) -> Result<(Vec<Series>, Option<HeaderValue>), QueryError> {
    let limits = shared.engine.limits();
    // Targets of one request are evaluated side by side.
    let answers = stream::iter(targets)
        .map(|target| {
            let (engine, window) = (shared.engine.clone(), window.clone());
            async move { engine.graphite(&target, &window).await }
        })
        .buffered(limits.max_concurrent);
    futures::pin_mut!(answers);
    let (mut series, mut points, mut answered) = (Vec::new(), 0_usize, 0_usize);
    let mut failures: Vec<(usize, QueryError)> = Vec::new();
    while let Some(answer) = answers.next().await {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if all_or_none => return Err(error),
            Err(error) => {
                failures.push((answered + failures.len() + 1, error));
                continue;
            }
        };
        answered += 1;
        points += answer.iter().map(Series::len).sum::<usize>();
        if points > limits.max_points {
            return Err(QueryError::Limit(format!(
                "the answer has more points than query.max_points, {}; shorten the range or send maxDataPoints",
                limits.max_points
            )));
        }
        series.extend(answer);
    }
    let told: Vec<String> = failures.iter().map(|(number, error)| format!("target {number}: {error}")).collect();
    match failures.into_iter().next() {
        Some((_, first)) if answered == 0 => Err(first),
        Some(_) => Ok((series, header_text(&told.join("; ")))),
        None => Ok((series, None)),
    }
}

/// A text as a header can carry it: other characters than ASCII's become question marks.
fn header_text(text: &str) -> Option<HeaderValue> {
    let text: String = text.chars().map(|one| if matches!(one, ' '..='~') { one } else { '?' }).collect();
    HeaderValue::from_str(&text[..text.len().min(MAX_HEADER_BYTES)]).ok()
}

/// Lays JSON out for the eye, or gives it to a function, when that is asked for.
async fn styled(style: &Style, body: Body, format: Format) -> Result<(&'static str, Body), QueryError> {
    if style.is_plain() {
        return Ok((format.media_type(), body));
    }
    let text = to_bytes(body, usize::MAX).await.map_err(|error| QueryError::Internal(error.to_string()))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(style.script(text, MAX_PRETTY_BYTES))
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
