//! What a request for series asks: which, over which span of time, in which form.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use statline_series::Timestamp;

use super::super::graph::Options;
use super::super::json::Told;
use super::super::params::Params;
use super::super::reply::Style;
use crate::config;
use crate::engine::{QueryError, Window};

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Csv,
    Raw,
    Pickle,
    Msgpack,
    Dygraph,
    Rickshaw,
    Png,
    Svg,
}

impl Format {
    const ALL: [(&'static str, Self); 9] = [
        ("json", Self::Json),
        ("csv", Self::Csv),
        ("raw", Self::Raw),
        ("pickle", Self::Pickle),
        ("msgpack", Self::Msgpack),
        ("dygraph", Self::Dygraph),
        ("rickshaw", Self::Rickshaw),
        ("png", Self::Png),
        ("svg", Self::Svg),
    ];

    /// As graphite-web chooses it; and JSON for a client that says that it accepts JSON, and names no format.
    fn read(params: &Params, headers: &HeaderMap) -> Result<Self, QueryError> {
        let Some(name) = params.get("format") else {
            let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
            return Ok(if params.has("rawData") {
                Self::Raw
            } else if params.has("pickle") {
                Self::Pickle
            } else if accepts.contains("application/json") {
                Self::Json
            } else {
                Self::Png
            });
        };
        let known = Self::ALL.into_iter().find(|(known, _)| *known == name);
        known.map(|(_, format)| format).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(name, _)| *name).collect();
            QueryError::Bad(format!("format is {name:?}; expected one of {}", names.join(", ")))
        })
    }

    /// Whether it is a picture.
    const fn is_picture(self) -> bool {
        matches!(self, Self::Png | Self::Svg)
    }
}

/// What is asked for.
#[derive(Debug)]
pub struct Request {
    pub targets: Vec<String>,
    pub window: Window,
    pub format: Format,
    pub style: Style,
    pub told: Told,
    /// How a picture is drawn, when it is one.
    pub graph: Option<Options>,
}

impl Request {
    /// Reads a request that came at `now`.
    ///
    /// # Errors
    /// When a parameter is not what it should be, or there are too many targets.
    pub fn read(
        params: &Params,
        headers: &HeaderMap,
        limits: &config::Query,
        now: Timestamp,
    ) -> Result<Self, QueryError> {
        if let Some(kind) = params.get("graphType").filter(|kind| *kind != "line") {
            return Err(QueryError::Bad(format!("graphType is {kind:?}; only line is drawn")));
        }
        let targets: Vec<String> = params.all("target").map(ToOwned::to_owned).collect();
        if targets.len() > limits.max_targets {
            return Err(QueryError::Limit(format!(
                "the request has {} targets, more than query.max_targets, {}",
                targets.len(),
                limits.max_targets
            )));
        }
        let format = Format::read(params, headers)?;
        let mut window = window(params, now, limits)?;
        let graph = if format.is_picture() { Some(Options::read(params)?) } else { None };
        match &graph {
            Some(graph) => window.max_data_points = Some(graph.max_points()),
            None if format == Format::Json => {}
            // The others have all points there are.
            None => window.max_data_points = None,
        }
        let style = Style::of(params)?;
        let told = Told { no_nulls: params.has("noNullPoints"), meta: params.switch("meta")? };
        Ok(Self { targets, window, format, style, told, graph })
    }
}

fn window(params: &Params, now: Timestamp, limits: &config::Query) -> Result<Window, QueryError> {
    let compat = params.get("compat").map(str::parse).transpose();
    let compat = compat.map_err(|error| QueryError::Bad(format!("compat is {error}")))?;
    let reader = compat.unwrap_or(limits.compat);
    let zone = params.zone();
    let now = params.instant("now", now, reader)?.unwrap_or(now);
    let until = params.instant("until", now, reader)?.unwrap_or(now);
    let from = match params.instant("from", now, reader)? {
        Some(from) => from,
        None => statline_graphite::time::parse_at_as(reader, "-1d", now, zone)
            .map_err(|error| QueryError::Internal(error.to_string()))?,
    };
    if from == until {
        return Err(QueryError::Bad("from and until are the same instant; the range is empty".to_owned()));
    }
    let max_data_points = match params.get("maxDataPoints") {
        None => None,
        Some(text) => Some(text.parse().ok().filter(|points| *points > 0).ok_or_else(|| {
            QueryError::Bad(format!("maxDataPoints is {text:?}; expected a whole number of at least 1"))
        })?),
    };
    let x_files_factor = match params.get("xFilesFactor") {
        None => 0.0,
        Some(text) => text
            .parse()
            .ok()
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or_else(|| QueryError::Bad(format!("xFilesFactor is {text:?}; expected a number from 0 to 1")))?,
    };
    let template: BTreeMap<String, String> =
        params.within("template").map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Ok(Window {
        from: from.min(until),
        until: from.max(until),
        now,
        zone,
        max_data_points,
        x_files_factor,
        compat,
        template,
    })
}
