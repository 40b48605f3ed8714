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

use self::csv::Csv;
use self::dygraph::Dygraph;
use self::listed::Listed;
use self::raw::Raw;
use self::request::{Format, Request};
use self::rickshaw::Rickshaw;
use self::targets::Outcome;
use super::Shared;
use super::json::Json;
use super::params::Params;
use super::reply::uncached;
use super::stream::{self, Pieces};
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
    let outcome = targets::evaluate(shared, targets, &request.window, request.format.is_picture()).await?;
    let failures = outcome.header();
    let mut response = write(shared, &request, outcome).await?;
    if let Some(failures) = failures {
        response.headers_mut().insert(targets::ERRORS, failures);
    }
    Ok(response)
}

async fn write(shared: &Shared, request: &Request, outcome: Outcome) -> Result<Response, QueryError> {
    let series = outcome.series;
    let x_files_factor = request.window.x_files_factor;
    let body = async |pieces: Box<dyn Pieces>| stream::body(pieces, shared.engine.limits().timeout.get()).await;
    let plain = async |kind: &'static str, pieces| Ok(answered(kind, body(pieces).await?));
    let json = async |pieces| Ok(answered(request.style.kind(), body(request.style.pieces(pieces)).await?));
    match request.format {
        Format::Json => json(Box::new(Json::new(series, request.told))).await,
        Format::Dygraph => json(Box::new(Dygraph::new(series))).await,
        Format::Rickshaw => json(Box::new(Listed::new(Rickshaw, series))).await,
        Format::Csv => plain("text/csv", Box::new(Listed::new(Csv { zone: request.window.zone }, series))).await,
        Format::Raw => plain("text/plain", Box::new(Listed::new(Raw, series))).await,
        Format::Msgpack => {
            plain("application/x-msgpack", Box::new(cluster::Msgpack::new(series, x_files_factor))).await
        }
        Format::Pickle => {
            let pickled = tokio::task::spawn_blocking(move || cluster::pickle(&series, x_files_factor)).await;
            let pickled = pickled.map_err(|error| QueryError::Internal(error.to_string()))?;
            let pickled = pickled.map_err(|error| QueryError::Internal(error.to_string()))?;
            Ok(answered("application/pickle", Body::from(pickled)))
        }
        Format::Png | Format::Svg => Err(QueryError::Bad("pictures are not drawn".to_owned())),
    }
}

fn answered(kind: &'static str, body: Body) -> Response {
    ([(header::CONTENT_TYPE, kind)], body).into_response()
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
