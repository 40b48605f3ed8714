//! "Save & test": what is wrong is said so that a person can act on it.

use grafana_plugin::host::Host;
use grafana_plugin::{HealthStatus, RequestContext, Secrets};
use serde_json::{Value, json};
use statline_harness::statlined::Options;
use statline_harness::{Postgres, Statlined, plugin};

use crate::with_settings;

async fn check(host: &Host, context: &RequestContext, status: HealthStatus, said: &str) -> String {
    let health = host.check_health(context).await.unwrap();
    assert_eq!(health.status, status, "{}", health.message);
    assert!(health.message.contains(said), "no {said:?} in {:?}", health.message);
    assert_eq!(health.message.lines().count(), 1, "{}", health.message);
    health.message
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_are_told_apart() {
    let postgres = Postgres::shared().unwrap();
    let store = tempfile::tempdir().unwrap();
    let statlined = Statlined::start(&Options::new(store.path(), "1s")).unwrap();
    let host = plugin::start(&[]).await.unwrap();
    let both = plugin::request_context(Some(&statlined), Some(&postgres));

    let message = check(&host, &both, HealthStatus::Ok, "Sidecar: statlined ").await;
    let port = postgres.port();
    assert!(message.contains(&format!("at 127.0.0.1:{port}, database community, ")), "{message}");
    assert!(message.ends_with(" tables readable as grafana"), "{message}");

    let only_sidecar = plugin::request_context(Some(&statlined), None);
    check(&host, &with_settings(&only_sidecar, &json!({})), HealthStatus::Ok, "PostgreSQL: not configured").await;
    let only_postgres = plugin::request_context(None, Some(&postgres));
    check(&host, &with_settings(&only_postgres, &json!({})), HealthStatus::Ok, "Sidecar: not configured").await;
    let nothing = plugin::request_context(None, None);
    check(&host, &with_settings(&nothing, &json!({})), HealthStatus::Error, "nothing is configured; enter").await;

    let half = |section: &str, changes: Value| with_settings(&both, &json!({ section: changes }));
    for (context, said) in [
        (
            half("sidecar", json!({ "address": "http://127.0.0.1:1" })),
            "Sidecar: statlined does not answer at http://127.0.0.1:1: Connection refused",
        ),
        (
            half("sidecar", json!({ "address": "localhost" })),
            "the sidecar's address is \"localhost\"; expected http://",
        ),
        (
            half("postgres", json!({ "host": "127.0.0.1:1" })),
            "PostgreSQL does not answer at 127.0.0.1:1: Connection refused",
        ),
        (
            half("postgres", json!({ "host": "no-such-host.invalid" })),
            "PostgreSQL does not answer at no-such-host.invalid",
        ),
        (half("postgres", json!({ "database": "nowhere" })), "database \"nowhere\" does not exist"),
        (half("postgres", json!({ "user": "" })), "the user is empty; enter it"),
        (half("postgres", json!({ "sslmode": "verify-full" })), "check sslmode"),
        (half("postgres", json!({ "sslmode": "prefer" })), "sslmode is \"prefer\"; expected disable, require"),
    ] {
        check(&host, &context, HealthStatus::Error, said).await;
    }
    let mut wrong_password = half("postgres", json!({}));
    wrong_password.plugin.data_source.as_mut().unwrap().secrets = Secrets::from_iter([("postgresPassword", "guessed")]);
    let message =
        check(&host, &wrong_password, HealthStatus::Error, "password authentication failed for user \"grafana\"").await;
    assert!(message.contains("; the other half works (Sidecar: statlined "), "{message}");
    assert!(!message.contains("guessed"), "{message}");
}
