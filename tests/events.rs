//! `/events`, as scripts that announce deployments and Grafana's Graphite datasource use graphite-web's.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::net::UdpSocket;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use statline_flight::action::Events;
use statline_flight::{Client, ClientSettings};
use statline_harness::program::wait_until;
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http};

/// The longest that anything may take which happens with the next flush, or at once.
const PATIENCE: Duration = Duration::from_secs(10);

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn post(statlined: &Statlined, path: &str, body: &Value) -> http::Answer {
    http::ask(statlined.http(), "POST", path, &[("Content-Type", "application/json")], &body.to_string()).unwrap()
}

fn list(statlined: &Statlined, query: &str) -> Vec<Value> {
    let answer = http::get(statlined.http(), &format!("/events/get_data{query}")).unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{}", answer.body);
    answer.json().as_array().unwrap().clone()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["what"].as_str().unwrap()).collect()
}

#[test]
fn what_is_posted_is_listed_by_time_and_tags_and_survives_a_kill() {
    let store = tempfile::tempdir().unwrap();
    let statlined = Statlined::start(&Options::new(store.path(), "1s")).unwrap();
    let now = now();
    for (path, body) in [
        ("/events/", json!({ "what": "b", "tags": "deploy bot", "data": "version 3", "when": now - 100 })),
        ("/events", json!({ "what": "a", "tags": ["deploy"], "when": now - 200 })),
        ("/events/", json!({ "what": "c" })),
        ("/events/", json!({ "what": "soon", "when": now + 3600 })),
    ] {
        let answer = post(&statlined, path, &body);
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{body}");
    }
    let all = list(&statlined, "");
    assert_eq!(names(&all), ["a", "b", "c"]);
    let expected = json!({
        "id": all[1]["id"], "what": "b", "when": now - 100, "data": "version 3", "tags": ["deploy", "bot"],
    });
    assert_eq!(all[1], expected);
    assert!(all[1]["id"].is_u64() && all[2]["when"].as_u64().unwrap() >= now);
    assert_eq!(http::get(statlined.http(), "/events").unwrap().json(), json!(all));

    for (query, expected) in [
        ("?until=%2B2h".to_owned(), &["a", "b", "c", "soon"][..]),
        ("?from=-2min".to_owned(), &["b", "c"]),
        (format!("?from={}&until={}", now - 200, now - 100), &["a", "b"]),
        (format!("?from={}&until={}", now - 199, now - 101), &[]),
        ("?tags=deploy".to_owned(), &["a", "b"]),
        ("?tags=deploy+bot".to_owned(), &["b"]),
        ("?tags=deploy%20bot&set=intersection".to_owned(), &["b"]),
        ("?tags=bot+nothing&set=union".to_owned(), &["b"]),
        ("?tags=deploy+bot&set=union".to_owned(), &["a", "b"]),
        ("?limit=1".to_owned(), &["c"]),
    ] {
        assert_eq!(names(&list(&statlined, &query)), expected, "{query}");
    }

    drop(statlined);
    let again = Statlined::start(&Options::new(store.path(), "1s")).unwrap();
    assert_eq!(list(&again, ""), all, "with the same ids, too");
}

#[test]
fn what_is_wrong_is_a_line_of_text() {
    let store = tempfile::tempdir().unwrap();
    let statlined = Statlined::start(&Options::new(store.path(), "1s")).unwrap();
    let long = "x".repeat(70_000);
    for (body, said) in [
        (json!({ "tags": "deploy" }), "what is missing"),
        (json!({ "what": "a", "tags": { "deploy": 1 } }), "tags is neither a list of texts nor a text"),
        (json!({ "what": "a", "data": long }), "bytes, more than 65536"),
        (json!({ "what": "a", "when": 86_400 }), "when is longer ago than anything is kept (store.retentions)"),
        (json!({ "what": "a", "when": now() + 10 * 86_400 }), "when is too far in the future"),
    ] {
        let answer = post(&statlined, "/events/", &body);
        assert_eq!(answer.status, 400, "{}", answer.body);
        assert_eq!((answer.body.contains(said), answer.body.lines().count()), (true, 1), "{}", answer.body);
    }
    for (query, said) in [
        ("?from=whenever", "from is \"whenever\""),
        ("?set=all", "set is \"all\"; expected union or intersection"),
        ("?limit=0", "limit is \"0\""),
    ] {
        let answer = http::get(statlined.http(), &format!("/events/get_data{query}")).unwrap();
        assert_eq!((answer.status, answer.body.contains(said)), (400, true), "{}", answer.body);
    }
    assert_eq!(list(&statlined, "?until=%2B2h"), Vec::<Value>::new());
    let figures = http::get(statlined.http(), "/metrics").unwrap().body;
    for (reason, count) in [("too_large", 1), ("too_old", 1), ("too_new", 1)] {
        let line = format!("statline_store_refused_events_total{{reason=\"{reason}\"}} {count}");
        assert!(figures.lines().any(|found| found == line), "no {line} in\n{figures}");
    }
}

#[test]
fn a_token_is_asked_for_where_it_is_set() {
    let store = tempfile::tempdir().unwrap();
    let statlined = Statlined::start(&Options::new(store.path(), "1s").set("http", "token", "s3cret")).unwrap();
    let body = json!({ "what": "a" }).to_string();
    for (method, path) in [("GET", "/events"), ("GET", "/events/get_data"), ("POST", "/events/"), ("POST", "/events")] {
        let ask = |headers: &[(&str, &str)]| http::ask(statlined.http(), method, path, headers, &body).unwrap().status;
        assert_eq!((ask(&[]), ask(&[("Authorization", "Bearer s3cret")])), (401, 200), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statsd_event_is_told_over_http_and_flight_alike() {
    let store = tempfile::tempdir().unwrap();
    let statlined = Statlined::start(&Options::new(store.path(), "1s")).unwrap();
    let packet = b"_e{6,3}:reboot|now|h:web1|t:warning|#bot";
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(packet, statlined.statsd()).unwrap();
    let told = wait_until("the event", PATIENCE, || list(&statlined, "?tags=bot+host:web1").pop()).unwrap();
    assert_eq!(told["tags"], json!(["bot", "alert_type:warning", "host:web1"]));

    let settings = ClientSettings { address: statlined.flight_url(), ..ClientSettings::default() };
    let client = Client::new(&settings).unwrap();
    let found = client.events(Events { limit: Some(1), ..Events::default() }).await.unwrap();
    let [event] = found.events.as_slice() else { panic!("{found:?}") };
    assert_eq!(json!(event.id), told["id"]);
    assert_eq!((event.title.as_str(), event.text.as_str(), found.more), ("reboot", "now", false));
    assert_eq!(json!(event.tags), told["tags"]);
}
