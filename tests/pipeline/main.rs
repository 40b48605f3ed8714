//! The whole system over real sockets: statsd packets and PostgreSQL's rows become frames in the built plugin.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

mod events;
mod health;
mod instances;
mod live;
mod macros;
mod packet;
mod resources;
mod sql;

use std::time::Duration;

use grafana_plugin::frame::JsonPart;
use grafana_plugin::host::Host;
use grafana_plugin::{DataQuery, DataResponse, Field, Frame, RequestContext, TimeRange};
use serde_json::{Value, json};
use statline_harness::plugin;

/// The longest that anything may take which happens with the next flush, or at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// A query for a Graphite target over the last ten minutes.
fn graphite(target: &str) -> DataQuery {
    let json = json!({ "refId": "A", "queryType": "graphite", "target": target });
    plugin::data_query("A", &json, plugin::last(Duration::from_mins(10)))
}

/// A query for PostgreSQL whose answer has a format.
fn sql(text: &str, format: &str) -> DataQuery {
    let json = json!({ "refId": "A", "queryType": "sql", "rawSql": text, "format": format });
    plugin::data_query("A", &json, TimeRange { from_ms: 0, to_ms: 1 })
}

/// The frames of a query that must succeed.
async fn frames(host: &Host, context: &RequestContext, query: DataQuery) -> Vec<Frame> {
    let DataResponse { frames, error, status, .. } = plugin::ask(host, context, query).await.unwrap();
    assert_eq!((status, error), (200, None));
    frames
}

/// Status and text of a query that must fail.
async fn failure(host: &Host, context: &RequestContext, query: DataQuery) -> (u16, String) {
    let answer = plugin::ask(host, context, query).await.unwrap();
    assert!(answer.frames.is_empty(), "an error with frames: {:?}", answer.frames);
    (answer.status, answer.error.unwrap())
}

/// A frame as Grafana's frontend gets it.
fn as_json(frame: &Frame) -> Value {
    serde_json::from_slice(&frame.to_json(JsonPart::All).unwrap()).unwrap()
}

/// The values of a column of numbers.
fn numbers(field: &Field) -> Vec<Option<f64>> {
    (0..field.len()).map(|row| field.number(row)).collect()
}

/// The settings of a context's datasource, changed; the changes are merged into `jsonData`.
fn with_settings(context: &RequestContext, changes: &Value) -> RequestContext {
    fn merge(into: &mut Value, changes: &Value) {
        match (into, changes) {
            (Value::Object(into), Value::Object(changes)) => {
                for (key, value) in changes {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
            (into, changes) => *into = changes.clone(),
        }
    }
    let mut context = context.clone();
    let settings = context.plugin.data_source.as_mut().unwrap();
    let mut json: Value = settings.parse().unwrap();
    merge(&mut json, changes);
    settings.json_data = json.to_string().into();
    // A datasource of its own, so that tests which share a plugin do not change each other's.
    settings.uid = json.to_string();
    context
}
