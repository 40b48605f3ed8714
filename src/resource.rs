//! What the editors ask while a query is written: paths, functions, tags, tables, columns.

use std::collections::HashMap;

use grafana_plugin::{QueryError, ResourceRequest, ResourceResponse};
use serde_json::{Value, json};
use statline_flight::action::{DEFAULT_LIMIT, Find, Span, TagValues, Tags};
use statline_series::Timestamp;

use crate::data::to_query_error;
use crate::instance::Instance;

/// What there is to ask for.
const PATHS: &str = "find, functions, tags, tags/values, tables or columns";

/// Answers a request.
pub async fn call(instance: &Instance, request: &ResourceRequest) -> ResourceResponse {
    if !request.method.is_empty() && !request.method.eq_ignore_ascii_case("GET") {
        return ResourceResponse::error(405, format!("method {} is not served here; use GET", request.method));
    }
    match answer(instance, request).await {
        Ok(value) => ResourceResponse::json(200, &value),
        Err(error) => ResourceResponse::error(error.status, error.message),
    }
}

async fn answer(instance: &Instance, request: &ResourceRequest) -> Result<Value, QueryError> {
    let params: HashMap<String, String> = form_urlencoded::parse(request.query().as_bytes()).into_owned().collect();
    let text = |name: &str| params.get(name).cloned().unwrap_or_default();
    let required = |name: &str| {
        params
            .get(name)
            .filter(|value| !value.is_empty())
            .cloned()
            .ok_or_else(|| QueryError::bad_request(format!("the parameter {name} is missing")))
    };
    let path = request.path.trim_matches('/');
    match path {
        "find" => {
            let find = Find { query: required("query")?, span: span(&params)? };
            Ok(json!(instance.sidecar()?.find(find).await.map_err(|error| to_query_error(&error))?))
        }
        "functions" => {
            let functions = instance.sidecar()?.functions().await.map_err(|error| to_query_error(&error))?;
            Ok(json!({ "functions": functions }))
        }
        "tags" => {
            let tags = Tags { prefix: text("prefix"), span: span(&params)?, limit: DEFAULT_LIMIT };
            Ok(json!(instance.sidecar()?.tags(tags).await.map_err(|error| to_query_error(&error))?))
        }
        "tags/values" => {
            let values =
                TagValues { tag: required("tag")?, prefix: text("prefix"), span: span(&params)?, limit: DEFAULT_LIMIT };
            Ok(json!(instance.sidecar()?.tag_values(values).await.map_err(|error| to_query_error(&error))?))
        }
        "tables" => Ok(json!(instance.postgres()?.tables().await?)),
        "columns" => {
            let schema = params.get("schema").filter(|schema| !schema.is_empty()).map_or("public", String::as_str);
            Ok(json!(instance.postgres()?.columns(schema, &required("table")?).await?))
        }
        _ => Err(QueryError::downstream(404, format!("there is no resource {path:?}; expected {PATHS}"))),
    }
}

fn span(params: &HashMap<String, String>) -> Result<Span, QueryError> {
    let instant = |name: &str| match params.get(name).filter(|value| !value.is_empty()) {
        None => Ok(None),
        Some(text) => text
            .parse()
            .map(|millis| Some(Timestamp::from_millis(millis)))
            .map_err(|_| QueryError::bad_request(format!("{name} is {text:?}; expected milliseconds since the epoch"))),
    };
    Ok(Span { from: instant("from")?, until: instant("until")? })
}
