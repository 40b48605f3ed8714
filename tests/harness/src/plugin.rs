//! What Grafana would send to the plugin: the settings of a datasource, and queries.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use grafana_plugin::host::Host;
use grafana_plugin::{
    DataQuery, DataResponse, DataSourceSettings, PluginContext, RequestContext, Secrets, TimeRange, User,
};
use serde_json::json;

use crate::postgres::{DATABASE, READER, READER_PASSWORD};
use crate::program::{self, HarnessError};
use crate::{Postgres, Statlined};

/// The plugin's id.
pub const PLUGIN_ID: &str = "statline-stats-datasource";
/// The plugin's binary.
pub const BINARY: &str = "gpx_statline_stats";

/// A request by a viewer, to a datasource with both halves configured.
#[must_use]
pub fn request_context(statlined: Option<&Statlined>, postgres: Option<&Postgres>) -> RequestContext {
    let mut settings = json!({});
    if let Some(statlined) = statlined {
        settings["sidecar"] = json!({ "address": statlined.flight_url() });
    }
    if let Some(postgres) = postgres {
        settings["postgres"] = json!({
            "host": format!("127.0.0.1:{}", postgres.port()),
            "database": DATABASE, "user": READER, "sslmode": "disable",
        });
    }
    let data_source = DataSourceSettings {
        uid: "statline".to_owned(),
        name: "Statline".to_owned(),
        updated_ms: 1,
        json_data: settings.to_string().into(),
        secrets: Secrets::from_iter([("postgresPassword", READER_PASSWORD)]),
        ..DataSourceSettings::default()
    };
    RequestContext {
        plugin: PluginContext {
            org_id: 1,
            plugin_id: PLUGIN_ID.to_owned(),
            user: Some(User::default()),
            data_source: Some(data_source),
            ..PluginContext::default()
        },
        ..RequestContext::default()
    }
}

/// A query as a panel would send it: the JSON of its target, over a range.
#[must_use]
pub fn data_query(ref_id: &str, json: &serde_json::Value, range: TimeRange) -> DataQuery {
    let query_type = json.get("queryType").and_then(serde_json::Value::as_str).unwrap_or_default();
    DataQuery {
        ref_id: ref_id.to_owned(),
        query_type: query_type.to_owned(),
        max_data_points: 1000,
        interval: Duration::from_secs(10),
        time_range: range,
        json: json.to_string().into(),
    }
}

/// The span up to now that a panel shows.
#[must_use]
pub fn last(length: Duration) -> TimeRange {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let now = millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    TimeRange { from_ms: now.saturating_sub(millis(length)), to_ms: now }
}

/// Starts the plugin, as Grafana does, with variables added to the environment.
///
/// # Errors
/// When it is not built or does not start.
pub async fn start(environment: &[(&str, &str)]) -> Result<Host, HarnessError> {
    let program = program::own_binary(BINARY)?;
    Host::spawn(program, environment.iter().copied()).await.map_err(|error| HarnessError::failed(BINARY, error))
}

/// Asks one query, alone in its request.
///
/// # Errors
/// When the call as a whole fails. The query's own error is in its answer.
pub async fn ask(host: &Host, context: &RequestContext, query: DataQuery) -> Result<DataResponse, HarnessError> {
    let ref_id = query.ref_id.clone();
    let answers = host.query_data(context, vec![query]).await;
    let mut answers = answers.map_err(|error| HarnessError::failed("a query", error))?;
    answers.remove(&ref_id).ok_or_else(|| HarnessError::failed("a query", format!("no answer for {ref_id:?}")))
}
