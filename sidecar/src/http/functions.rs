//! `/functions`: what a target may call, for editors.
//!
//! The same as graphite-web's, but for a default that is endless: it is the text `inf`, which is JSON.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use statline_graphite::FunctionInfo;

use super::params::Params;
use super::reply::{self, Style};

/// All functions, or those of one `group`; `grouped`, a group each.
pub async fn list(params: Params) -> Response {
    let style = match Style::of(&params) {
        Ok(style) => style,
        Err(error) => return reply::query_error(&error),
    };
    let mut functions = functions(&params);
    if let Some(group) = params.get("group") {
        functions.retain(|_, function| function.group() == group);
    }
    let grouped = params.get("grouped").is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true"));
    if !grouped {
        return style.json(&functions);
    }
    let mut groups: BTreeMap<&str, BTreeMap<&str, FunctionInfo>> = BTreeMap::new();
    for (name, function) in functions {
        groups.entry(function.group()).or_default().insert(name, function);
    }
    style.json(&groups)
}

/// One function.
pub async fn details(Path(name): Path<String>, params: Params) -> Response {
    match (Style::of(&params), functions(&params).get(name.as_str())) {
        (Err(error), _) => reply::query_error(&error),
        (Ok(_), None) => reply::error(StatusCode::NOT_FOUND, &format!("there is no function {name:?}")),
        (Ok(style), Some(function)) => style.json(function),
    }
}

/// No pies are drawn, so there is nothing that makes one of a series.
fn functions(params: &Params) -> BTreeMap<&'static str, FunctionInfo> {
    if params.get("type") == Some("pie") { BTreeMap::new() } else { statline_graphite::functions() }
}
