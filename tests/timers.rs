//! From statsd packets to percentiles and heatmaps of the values themselves, and events and templates in targets.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::net::UdpSocket;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use statline_harness::program::wait_until;
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http};

/// The longest that anything may take which happens with the next flush, or at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a target answers over the last two minutes.
fn render(statlined: &Statlined, query: &str) -> Vec<Value> {
    let answer = http::get(statlined.http(), &format!("/render?format=json&from=-2min&{query}")).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json().as_array().unwrap().clone()
}

/// The values of a series that are not null.
fn values(series: &Value) -> Vec<f64> {
    series["datapoints"].as_array().unwrap().iter().filter_map(|point| point[0].as_f64()).collect()
}

#[test]
fn a_timer_answers_percentiles_and_heatmaps_of_its_values() {
    let store = tempfile::tempdir().unwrap();
    let statlined = Statlined::start(&Options::new(store.path(), "1s")).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Ninety values of 20 ms, and ten at a tenth of the rate of 700 ms.
    for packet in ["api.a:20|ms"; 90].into_iter().chain(["api.b:700|ms|@0.1"; 10]) {
        socket.send_to(packet.as_bytes(), statlined.statsd()).unwrap();
    }
    let counts = || {
        let rows = render(&statlined, "target=timerHeatmap(stats.timers.api.*,3)");
        rows.iter().map(|row| (row["tags"]["le"].clone(), values(row).iter().sum::<f64>())).collect::<Vec<_>>()
    };
    let total = || (counts().iter().map(|(_, count)| count).sum::<f64>() >= 189.999).then_some(());
    wait_until("the values", PATIENCE, total).unwrap();
    let rows = counts();
    let bounds: Vec<&str> = rows.iter().map(|(bound, _)| bound.as_str().unwrap()).collect();
    assert_eq!(bounds, ["100", "1000"], "{rows:?}");
    assert!((rows[0].1 - 90.0).abs() < 1e-6 && (rows[1].1 - 100.0).abs() < 1e-6, "{rows:?}");

    let close = |value: f64, expected: f64| (value - expected).abs() <= expected * 0.011;
    let each = render(&statlined, "target=timerPercentile(stats.timers.api.*,99,true)");
    let names: Vec<&str> = each.iter().map(|series| series["target"].as_str().unwrap()).collect();
    assert_eq!(names, ["timerPercentile(stats.timers.api.a,99)", "timerPercentile(stats.timers.api.b,99)"]);
    assert!(values(&each[0]).iter().all(|value| close(*value, 20.0)), "{}", each[0]);
    assert!(values(&each[1]).iter().all(|value| close(*value, 700.0)), "{}", each[1]);

    let query = "target=template(timerPercentile(stats.timers.$timer,50),timer=%22none%22)&template[timer]=api.b";
    let one = render(&statlined, query);
    assert_eq!(one[0]["target"], "timerPercentile(stats.timers.api.b,50)");
    assert!(!values(&one[0]).is_empty());
    assert!(render(&statlined, "target=timerPercentile(stats.timers.none,50)").is_empty());
}

#[test]
fn events_are_a_series() {
    let store = tempfile::tempdir().unwrap();
    let statlined = Statlined::start(&Options::new(store.path(), "1s").set("query", "max_events", 2)).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let post = |when: u64, tags: &str| {
        let event = format!(r#"{{"what": "deployed", "tags": "{tags}", "when": {when}}}"#);
        assert_eq!(http::ask(statlined.http(), "POST", "/events/", &[], &event).unwrap().status, 200);
    };
    post(now - 30, "deploy bot");
    post(now - 30, "deploy site");
    let deploys = render(&statlined, "target=events(%22deploy%22)");
    assert_eq!((deploys[0]["target"].as_str(), values(&deploys[0])), (Some("events(\"deploy\")"), vec![2.0]));
    assert_eq!(values(&render(&statlined, "target=events(%22deploy%22,%22bot%22)")[0]), [1.0]);
    assert_eq!(values(&render(&statlined, "target=events(%22*%22)")[0]), [2.0]);
    post(now - 20, "other");
    let refused = http::get(statlined.http(), "/render?format=json&from=-2min&target=events(%22*%22)").unwrap();
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("more events happened than query.max_events, 2"), "{}", refused.body);
}
