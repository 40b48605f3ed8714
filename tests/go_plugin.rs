//! The built plugin, driven by the real go-plugin and read by Grafana's own SDK: see tests/go-plugin.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::io::Write;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use statline_harness::postgres::{DATABASE, READER, READER_PASSWORD};
use statline_harness::program::{own_binary, repository, run, wait_until};
use statline_harness::statlined::Options;
use statline_harness::{Postgres, Statlined, http, plugin};

const PATIENCE: Duration = Duration::from_secs(10);
/// The points of the history, a second apart.
const POINTS: u64 = 500;

/// Builds the driver. `None` where Go is not installed.
fn driver() -> Option<PathBuf> {
    Command::new("go").arg("version").output().ok()?;
    let program = repository().join("target/go-plugin");
    run(Command::new("go")
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(repository().join("tests/go-plugin")))
    .unwrap();
    Some(program)
}

/// Sends a history by carbon's protocol; answers when it begins, in seconds since the epoch.
fn send_history(statlined: &Statlined) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let start = now - 2 * POINTS;
    let lines: String = (0..POINTS).map(|second| format!("site.history {second} {}\n", start + second)).collect();
    TcpStream::connect(statlined.carbon()).unwrap().write_all(lines.as_bytes()).unwrap();
    let stored = || {
        let metrics = http::get(statlined.http(), "/metrics").ok()?.body;
        metrics.contains(&format!("\nstatline_carbon_points_total {POINTS}\n")).then_some(())
    };
    wait_until("the history being stored", PATIENCE, stored).unwrap();
    start
}

fn spec(statlined: &Statlined, postgres: &Postgres, start: u64) -> Value {
    let (from_ms, to_ms) = (start * 1000 - 1, (start + POINTS) * 1000 - 1);
    let range = json!({ "fromMs": from_ms, "toMs": to_ms, "maxDataPoints": 1000, "intervalMs": 1000 });
    let query = |name: &str, model: Value, more: Value| {
        let mut query = range.clone();
        query["name"] = json!(name);
        query["model"] = model;
        for (key, value) in more.as_object().unwrap() {
            query[key] = value.clone();
        }
        query
    };
    let graphite = |ref_id: &str, target: &str| json!({ "refId": ref_id, "queryType": "graphite", "target": target });
    let sql = |ref_id: &str, text: &str, format: &str| json!({ "refId": ref_id, "queryType": "sql", "rawSql": text, "format": format });
    let rows =
        format!("SELECT to_timestamp({start} + i) AS time, i::float8 AS value FROM generate_series(1, {POINTS}) i");
    let types =
        "SELECT 9007199254740993::bigint AS big, 'naïve' AS text, '{\"a\":[1]}'::jsonb AS doc, NULL::int AS none";
    let field = |name: &str, kind: &str, frame: &str| json!({ "name": name, "type": kind, "typeInfo": { "frame": frame, "nullable": true } });
    let table = json!({
        "schema": {
            "refId": "types",
            "meta": { "type": "table", "typeVersion": [0, 1], "executedQueryString": types },
            "fields": [
                field("big", "number", "int64"), field("text", "string", "string"),
                field("doc", "other", "json.RawMessage"), field("none", "number", "int64"),
            ],
        },
        "data": { "values": [[9_007_199_254_740_993_i64], ["naïve"], [{ "a": [1] }], [null]] },
    });
    json!({
        "pluginId": plugin::PLUGIN_ID,
        "env": { "GF_PLUGIN_LOG_LEVEL": "debug" },
        "settings": {
            "uid": "statline",
            "name": "Statline",
            "jsonData": {
                "sidecar": { "address": statlined.flight_url() },
                "postgres": {
                    "host": format!("127.0.0.1:{}", postgres.port()),
                    "database": DATABASE, "user": READER, "sslmode": "disable",
                },
            },
            "secureJsonData": { "postgresPassword": READER_PASSWORD, "sidecarToken": "correct-horse-battery-staple" },
        },
        "queries": [
            query("graphite", graphite("graphite", "site.history"), json!({ "rows": POINTS, "bench": true })),
            query("sql", sql("sql", &rows, "time_series"), json!({ "rows": POINTS, "bench": true })),
            query("types", sql("types", types, "table"), json!({ "rows": 1, "frame": table })),
            query("nothing", graphite("nothing", "no.such.series"), json!({ "rows": 0 })),
            query("bad target", graphite("bad target", "sumSeries("), json!({ "error": "found the end" })),
            query("bad statement", sql("bad statement", "SELEC 1", "table"), json!({ "error": "syntax error" })),
            query("a write", sql("a write", "DELETE FROM api_user", "table"), json!({ "error": "PostgreSQL: " })),
        ],
        "resources": [
            { "url": "find?query=site.*", "status": 200, "contains": "\"id\":\"site.history\"" },
            { "url": "functions", "status": 200, "contains": "sumSeries" },
            { "url": "tables", "status": 200, "contains": "api_infraction" },
            { "url": "nowhere", "status": 404, "contains": "there is no resource" },
        ],
        "stream": { "path": "graphite/figures", "data": { "target": "statsd.numStats" }, "packets": 2 },
        "metrics": ["statline_plugin_queries_total{language=\"sql\",status=\"200\"}", "plugin_panics_total 0"],
        "logContains": ["the plugin listens"],
    })
}

#[test]
fn the_real_go_plugin_and_grafanas_sdk_understand_the_plugin() {
    let Some(driver) = driver() else {
        println!("skipped: go is not installed");
        return;
    };
    let postgres = Postgres::shared().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let statlined = Statlined::start(&Options::new(&directory.path().join("store"), "1s")).unwrap();
    let start = send_history(&statlined);
    let spec_path = directory.path().join("spec.json");
    std::fs::write(&spec_path, spec(&statlined, &postgres, start).to_string()).unwrap();
    let program = own_binary(plugin::BINARY).unwrap();
    // The bar is for what is shipped; a build for development is only kept from being absurd.
    let is_debug_build = program.ends_with("debug/gpx_statline_stats");
    let bar = if is_debug_build { "20ms" } else { "2ms" };
    let output =
        run(Command::new(driver).arg("-plugin").arg(&program).arg("-spec").arg(&spec_path).args(["-bar", bar]));
    let output = output.unwrap();
    if is_debug_build {
        println!("a debug build, which is held to {bar}; STATLINE_BIN_DIR names another one");
    }
    print!("{output}");
    for said in ["ok handshake", "ok query_data\n", "ok run_stream\n", "p50 query_data 500 rows", "kill: ", "ok log\n"]
    {
        assert!(output.contains(said), "no {said:?} in\n{output}");
    }
}
