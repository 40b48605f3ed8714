//! `/render`: targets over a span of time, as text, as what other servers read, or as a picture.

mod cluster;
mod csv;
mod dygraph;
mod listed;
mod raw;
mod request;
mod rickshaw;
mod targets;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use statline_graphite::Series;

use self::csv::Csv;
use self::raw::Raw;
use self::request::{Format, Request};
use self::rickshaw::Rickshaw;
use self::targets::Outcome;
use super::Shared;
use super::graph::{self, DrawError};
use super::json;
use super::params::Params;
use super::reply::uncached;
use super::stream;
use crate::clock;
use crate::engine::QueryError;

/// Handles GET and POST.
pub async fn render(State(shared): State<Shared>, headers: HeaderMap, params: Params) -> Response {
    match answer(&shared, &headers, &params).await {
        Ok(response) => uncached(response),
        Err(error) => error.into_response(),
    }
}

async fn answer(shared: &Shared, headers: &HeaderMap, params: &Params) -> Result<Response, QueryError> {
    let mut request = Request::read(params, headers, shared.engine.limits(), clock::now())?;
    let targets = std::mem::take(&mut request.targets);
    // A picture cannot tell that something is not on it.
    let outcome = targets::evaluate(shared, targets, &request.window, request.graph.is_some()).await?;
    let failures = outcome.header();
    let mut response = write(shared, request, outcome).await?;
    if let Some(failures) = failures {
        response.headers_mut().insert(targets::ERRORS, failures);
    }
    Ok(response)
}

async fn write(shared: &Shared, request: Request, outcome: Outcome) -> Result<Response, QueryError> {
    let series = outcome.series;
    let style = &request.style;
    let patience = shared.engine.limits().timeout.get();
    let (kind, body) = match request.format {
        Format::Json => (style.kind(), style.body(json::pieces(series, request.told), patience).await?),
        Format::Dygraph => (style.kind(), style.body(dygraph::pieces(series), patience).await?),
        Format::Rickshaw => (style.kind(), style.body(listed::pieces(Rickshaw, series), patience).await?),
        Format::Csv => {
            let pieces = listed::pieces(Csv { zone: request.window.zone }, series);
            ("text/csv", stream::body(pieces, None, patience).await?)
        }
        Format::Raw => ("text/plain", stream::body(listed::pieces(Raw, series), None, patience).await?),
        Format::Msgpack => {
            let pieces = cluster::msgpack(series, request.window.x_files_factor);
            ("application/x-msgpack", stream::body(pieces, None, patience).await?)
        }
        Format::Pickle => {
            let x_files_factor = request.window.x_files_factor;
            let pickled = shared.engine.work(move |_| {
                cluster::pickle(&series, x_files_factor).map_err(|error| QueryError::Internal(error.to_string()))
            });
            ("application/pickle", Body::from(pickled.await?))
        }
        Format::Png | Format::Svg => draw(shared, request, series).await?,
    };
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

async fn draw(shared: &Shared, request: Request, series: Vec<Series>) -> Result<(&'static str, Body), QueryError> {
    let Some(options) = request.graph else { return Err(QueryError::Internal("a picture of no form".to_owned())) };
    let is_svg = request.format == Format::Svg;
    let drawn = shared.engine.work(move |is_unwanted| {
        let drawn = if is_svg {
            graph::svg(&series, &options, is_unwanted).map(String::into_bytes)
        } else {
            graph::png(&series, &options, is_unwanted)
        };
        drawn.map_err(|error| match error {
            DrawError::Bad(reason) => QueryError::Bad(reason),
            DrawError::Unwanted => QueryError::Internal("nobody waits for the picture any more".to_owned()),
            DrawError::Failed(reason) => QueryError::Internal(reason),
        })
    });
    Ok((if is_svg { "image/svg+xml" } else { "image/png" }, Body::from(drawn.await?)))
}

#[cfg(test)]
pub mod tests {
    use statline_graphite::Series;
    use statline_series::{Step, Timestamp};

    /// A series that begins at a second, with a step in seconds.
    pub fn series(name: &str, start: i64, step: u32, values: &[f64]) -> Series {
        let step = Step::from_seconds(step.into()).unwrap();
        Series::new(name.to_owned(), Timestamp::from_seconds(start), step, values.to_vec())
    }
}
