//! A secret of the settings is in no output, whatever goes wrong.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use futures::StreamExt;
use grafana_plugin::host::Host;
use grafana_plugin::{DataQuery, RequestContext, ResourceRequest, Secrets, StreamRequest};
use serde_json::{Value, json};
use statline_harness::statlined::Options;
use statline_harness::{Postgres, Statlined, plugin};

/// What is planted, in each secret another ending, so that a leak says whose it is.
const MARK: &str = "Tr0ub4dor";

fn secrets(text: impl Fn(&str) -> String) -> Secrets {
    [
        "sidecarToken",
        "sidecarTlsCaCert",
        "sidecarTlsClientCert",
        "sidecarTlsClientKey",
        "postgresPassword",
        "postgresTlsCaCert",
        "postgresTlsClientCert",
        "postgresTlsClientKey",
    ]
    .into_iter()
    .map(|name| (name, text(name)))
    .collect()
}

/// PEM as it looks when it was pasted badly.
fn broken_pem(name: &str) -> String {
    let kind = if name.ends_with("Key") { "PRIVATE KEY" } else { "CERTIFICATE" };
    format!("-----BEGIN {kind}-----\n{MARK}-{name}\n-----END {kind}-----\n")
}

fn query(json: &Value) -> DataQuery {
    plugin::data_query(json["refId"].as_str().unwrap(), json, plugin::last(Duration::from_mins(10)))
}

/// A server that agrees to speak TLS as PostgreSQL does, so that a client reads its certificates, and then hangs up.
fn tls_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut ssl_request = [0; 8];
            let _ = stream.read_exact(&mut ssl_request).and_then(|()| stream.write_all(b"S"));
        }
    });
    address
}

/// Asks everything that can be asked, and collects every word of the answers.
async fn everything_said(host: &Host, context: &RequestContext) -> String {
    let mut said = String::new();
    let queries = vec![
        query(&json!({ "refId": "A", "queryType": "graphite", "target": "site.*" })),
        query(&json!({ "refId": "B", "queryType": "graphite", "target": "nonsense(" })),
        query(&json!({ "refId": "C", "queryType": "sql", "rawSql": "SELECT 1 AS n", "format": "table" })),
        query(&json!({ "refId": "D", "queryType": "sql", "rawSql": "SELEC 1", "format": "table" })),
        query(&json!({ "refId": "E", "queryType": "graphite", "target": "statline-test-panic" })),
        query(&json!({ "refId": "F", "queryType": "other" })),
    ];
    said += &format!("{:?}", host.query_data(context, queries.clone()).await);
    said += &format!("{:?}", host.query_chunked_data(context, queries).await);
    said += &format!("{:?}", host.check_health(context).await);
    for url in ["find?query=*", "functions", "tags", "tags/values?tag=a", "tables", "columns?table=api_user", "nowhere"]
    {
        let answer = host.call_resource(context, ResourceRequest::get(url)).await.unwrap();
        said += &format!("{:?} {}", answer.headers, String::from_utf8_lossy(&answer.body));
    }
    let channel =
        StreamRequest { path: "graphite/x".to_owned(), data: json!({ "target": "nonsense(" }).to_string().into() };
    said += &format!("{:?}", host.subscribe_stream(context, channel.clone()).await);
    match host.run_stream(context, channel).await {
        Ok(mut packets) => {
            said += &format!("{:?}", tokio::time::timeout(Duration::from_secs(10), packets.next()).await.unwrap());
        }
        Err(error) => said += &error.to_string(),
    }
    said += &host.collect_metrics(plugin::PLUGIN_ID).await.unwrap();
    said += &host.output_after_handshake().join("\n");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_holds_a_secret() {
    let postgres = Postgres::shared().unwrap();
    let store = tempfile::tempdir().unwrap();
    let token = format!("{MARK}-sidecarToken");
    let statlined = Statlined::start(&Options::new(store.path(), "1s").set("flight", "token", &token)).unwrap();
    // Everything that the plugin and its libraries would ever log.
    let host =
        plugin::start(&[("GF_PLUGIN_LOG_LEVEL", "trace"), ("STATLINE_TEST_PANIC", "1"), ("RUST_BACKTRACE", "full")])
            .await
            .unwrap();
    let plain = |name: &str| format!("{MARK}-{name}");
    let flight = statlined.flight();
    let database = json!({
        "host": format!("127.0.0.1:{}", postgres.port()), "database": "community", "user": "grafana", "sslmode": "disable",
    });
    let with = |changes: Value| {
        let mut settings = database.clone();
        for (key, value) in changes.as_object().unwrap() {
            settings[key] = value.clone();
        }
        settings
    };
    let agrees_to_tls = tls_server();
    let sidecar = |address: String| json!({ "address": address });
    let cases: Vec<(&str, String, Secrets)> = vec![
        (
            "the token is right and the password wrong",
            json!({ "sidecar": sidecar(format!("http://{flight}")), "postgres": database }).to_string(),
            [("sidecarToken", plain("sidecarToken")), ("postgresPassword", plain("postgresPassword"))].into_iter().collect(),
        ),
        (
            "the token is wrong",
            json!({ "sidecar": sidecar(format!("http://{flight}")), "postgres": with(json!({ "user": "nobody" })) }).to_string(),
            [("sidecarToken", plain("wrong")), ("postgresPassword", plain("postgresPassword"))].into_iter().collect(),
        ),
        (
            "both ends are away",
            json!({ "sidecar": sidecar("http://127.0.0.1:1".to_owned()), "postgres": with(json!({ "host": "127.0.0.1:1" })) })
                .to_string(),
            [("sidecarToken", plain("sidecarToken")), ("postgresPassword", plain("postgresPassword"))].into_iter().collect(),
        ),
        (
            "pem is pasted badly",
            json!({ "sidecar": sidecar(format!("https://{flight}")), "postgres": with(json!({ "sslmode": "verify-full" })) })
                .to_string(),
            secrets(|name| if name.contains("Tls") { broken_pem(name) } else { plain(name) }),
        ),
        (
            "pem of PostgreSQL is pasted badly",
            json!({ "postgres": with(json!({ "sslmode": "verify-ca", "host": agrees_to_tls })) }).to_string(),
            secrets(|name| if name.contains("Tls") { broken_pem(name) } else { plain(name) }),
        ),
        (
            "pem is no pem",
            json!({ "sidecar": sidecar(format!("https://{flight}")), "postgres": with(json!({ "sslmode": "require" })) })
                .to_string(),
            secrets(plain),
        ),
        (
            "pem of PostgreSQL is no pem",
            json!({ "postgres": with(json!({ "sslmode": "verify-full", "host": agrees_to_tls })) }).to_string(),
            secrets(plain),
        ),
        (
            "the token cannot be sent",
            json!({ "sidecar": sidecar(format!("http://{flight}")) }).to_string(),
            [("sidecarToken", format!("{MARK}\n{MARK}"))].into_iter().collect(),
        ),
        ("the settings are no json", "{\"sidecar\": {\"address\": ".to_owned(), secrets(plain)),
        ("the settings are of another shape", "{\"postgres\": {\"host\": 5}}".to_owned(), secrets(plain)),
        ("nothing is configured", String::new(), secrets(plain)),
    ];
    for (case, json_data, secrets) in cases {
        let mut context = plugin::request_context(None, None);
        let settings = context.plugin.data_source.as_mut().unwrap();
        settings.uid = case.to_owned();
        settings.json_data = json_data.into();
        settings.secrets = secrets;
        let said = everything_said(&host, &context).await;
        assert!(!said.contains(MARK), "{case}: a secret in {said}");
        // The secrets are where they belong: otherwise this test would prove nothing.
        assert!(
            case != "the token is right and the password wrong" || said.contains("password authentication failed"),
            "{said}"
        );
        assert!(case != "the token is wrong" || said.contains("refuses the token"), "{said}");
    }
    host.ping().await.unwrap();
    let log = host.log_lines();
    assert!(log.len() > 10, "nothing was logged, so nothing is proven: {log:?}");
    let leaks: Vec<_> = log.iter().filter(|line| line.contains(MARK)).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
    let leaks: Vec<_> = statlined.log_lines().into_iter().filter(|line| line.contains(MARK)).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}
