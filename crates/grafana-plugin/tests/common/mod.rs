//! What the tests share: the example plugin, a context that holds a secret, and short ways to ask.

#![allow(dead_code, reason = "each test program uses a part")]
#![allow(clippy::expect_used, reason = "a test ends at the first thing that is wrong")]

use std::path::PathBuf;
use std::time::Duration;

use grafana_plugin::host::{self, Host};
use grafana_plugin::{DataQuery, DataResponse, DataSourceSettings, PluginContext, RequestContext, Role, User};
use serde_json::Value;

/// The secret that must never be seen.
pub const SECRET: &str = "correct-horse-battery-staple";

/// The built example, which Cargo builds together with the tests.
pub fn program() -> PathBuf {
    let tests = std::env::current_exe().expect("a test knows where it is");
    tests.ancestors().nth(2).expect("tests are in <profile>/deps").join("examples/echo")
}

pub async fn echo() -> Host {
    echo_with(host::NO_ENVIRONMENT).await
}

pub async fn echo_with<const N: usize>(environment: [(&str, &str); N]) -> Host {
    Host::spawn(program(), environment).await.expect("the example starts")
}

pub fn context() -> RequestContext {
    RequestContext {
        plugin: PluginContext {
            org_id: 1,
            plugin_id: "echo".into(),
            user: Some(User { login: "admin".into(), role: Role::Admin, ..User::default() }),
            data_source: Some(DataSourceSettings {
                uid: "echo-uid".into(),
                updated_ms: 1,
                secrets: [("password", SECRET), ("postgresPassword", SECRET)].into_iter().collect(),
                ..DataSourceSettings::default()
            }),
            ..PluginContext::default()
        },
        ..RequestContext::default()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "reads well where it is called")]
pub fn query(ref_id: &str, json: Value) -> DataQuery {
    DataQuery { ref_id: ref_id.into(), json: json.to_string().into(), ..DataQuery::default() }
}

/// Asks one query.
pub async fn ask(host: &Host, context: &RequestContext, query: DataQuery) -> DataResponse {
    let ref_id = query.ref_id.clone();
    let mut answers = host.query_data(context, vec![query]).await.expect("the call succeeds");
    answers.remove(&ref_id).expect("every query is answered")
}

/// The facts in the only frame of a query's answer.
pub async fn custom(host: &Host, context: &RequestContext, query: DataQuery) -> Value {
    let answer = ask(host, context, query).await;
    assert_eq!(answer.error, None);
    answer.frames[0].meta.custom.clone().expect("the frame has facts")
}

/// Waits until the plugin's metrics contain a text; fails after ten seconds.
pub async fn metrics_say(host: &Host, wanted: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let metrics = host.collect_metrics("echo").await.expect("metrics are collected");
        if metrics.contains(wanted) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{wanted:?} never came in\n{metrics}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
