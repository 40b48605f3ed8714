//! What Grafana 12.4's own Graphite datasource asks, replayed: by its frontend, and by its backend, which alerts and the
//! feature `graphiteBackendMode` use.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use statline_harness::program::wait_until;
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http};

/// The longest that anything may take which happens at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// A daemon with ten minutes of `servers.web1.cpu` and `servers.web2.cpu`, and two tagged series.
struct House {
    statlined: Statlined,
    /// The first point, in seconds since the epoch.
    start: u64,
    _store: tempfile::TempDir,
}

impl House {
    fn open() -> Self {
        let store = tempfile::tempdir().unwrap();
        let statlined = Statlined::start(&Options::new(store.path(), "1s")).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let start = now / 60 * 60 - 600;
        let mut lines = String::new();
        for minute in 0..10 {
            let at = start + minute * 60;
            lines += &format!("servers.web1.cpu {minute} {at}\nservers.web2.cpu {} {at}\n", 10 + minute);
        }
        lines += &format!("disk.used;host=web1;mount=root 5 {start}\ndisk.used;host=web2;mount=data 7 {start}\n");
        TcpStream::connect(statlined.carbon()).unwrap().write_all(lines.as_bytes()).unwrap();
        let taken = || (http::figure(statlined.http(), "statline_carbon_points_total").ok()? >= 22.0).then_some(());
        wait_until("the points", PATIENCE, taken).unwrap();
        Self { statlined, start, _store: store }
    }

    fn get(&self, path: &str) -> Value {
        Self::good(&http::get(self.statlined.http(), path).unwrap())
    }

    fn post(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        Self::good(&http::post_form(self.statlined.http(), path, &form).unwrap())
    }

    fn good(answer: &http::Answer) -> Value {
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// `from` and `until` of the whole history, which Grafana widens by a second at both ends.
    fn range(&self) -> (String, String) {
        ((self.start - 1).to_string(), (self.start + 541).to_string())
    }
}

fn wrapped(target: &str, ref_id: &str) -> String {
    format!(r#"aliasSub({target}, "(^.*$)", "\1 {ref_id}")"#)
}

/// Names, and values that are not null.
fn series(answer: &Value) -> Vec<(String, Vec<f64>)> {
    let values = |one: &Value| {
        let points = one["datapoints"].as_array().unwrap();
        points.iter().filter_map(|point| point[0].as_f64()).collect()
    };
    let list = answer.as_array().unwrap();
    list.iter().map(|one| (one["target"].as_str().unwrap().to_owned(), values(one))).collect()
}

#[test]
fn a_panels_queries_are_told_apart_by_the_ends_of_names() {
    let house = House::open();
    let (from, until) = house.range();
    let (a, b, c) = (
        wrapped("sumSeries(servers.*.cpu)", "A"),
        wrapped(r"alias(servers.web1.cpu, 'cpu of web1')", "B"),
        wrapped("seriesByTag('name=disk.used')", "C"),
    );
    let answer = house.post(
        "/render",
        &[
            ("target", &a),
            ("target", &b),
            ("target", &c),
            ("from", &from),
            ("until", &until),
            ("format", "json"),
            ("maxDataPoints", "1500"),
            ("cacheTimeout", "60"),
        ],
    );
    let sums: Vec<f64> = (0..10).map(|minute| f64::from(10 + 2 * minute)).collect();
    let counted: Vec<f64> = (0..10).map(f64::from).collect();
    let expected = [
        ("sumSeries(servers.*.cpu) A".to_owned(), sums),
        ("cpu of web1 B".to_owned(), counted),
        ("disk.used;host=web1;mount=root C".to_owned(), vec![5.0]),
        ("disk.used;host=web2;mount=data C".to_owned(), vec![7.0]),
    ];
    assert_eq!(series(&answer), expected);
    assert_eq!(answer[2]["tags"], json!({ "name": "disk.used", "host": "web1", "mount": "root" }));
}

#[test]
fn the_health_check_is_a_constant_line() {
    let house = House::open();
    let by_backend = [("from", "-1h"), ("until", "now"), ("format", "json"), ("maxDataPoints", "100")];
    let by_frontend = [("from", "-1h"), ("until", "now"), ("format", "json"), ("maxDataPoints", "300")];
    for (target, name, rest) in [
        ("constantLine(100)".to_owned(), "100.0", by_backend),
        (wrapped("constantLine(100)", "A"), "100.0 A", by_frontend),
    ] {
        let form: Vec<(&str, &str)> = [("target", target.as_str())].into_iter().chain(rest).collect();
        let lines = series(&house.post("/render", &form));
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].0, name);
        assert!(!lines[0].1.is_empty() && lines[0].1.iter().all(|value| *value == 100.0), "{:?}", lines[0].1);
    }
}

#[test]
fn an_editor_finds_paths() {
    let house = House::open();
    let (from, until) = house.range();
    let range = format!("from={from}&until={until}");
    let node = |text: &str, id: &str, leaf: u8| json!({ "text": text, "id": id, "allowChildren": 1 - leaf, "expandable": 1 - leaf, "leaf": leaf });
    let servers = json!([node("web1", "servers.web1", 0), node("web2", "servers.web2", 0)]);
    assert_eq!(house.post(&format!("/metrics/find?{range}"), &[("query", "servers.*")]), servers);
    let cpu = house.post(&format!("/metrics/find?{range}"), &[("query", "servers.web1.*")]);
    assert_eq!(cpu, json!([node("cpu", "servers.web1.cpu", 1)]));
    let before = house.post("/metrics/find?from=1000000000&until=1000003600", &[("query", "servers.*")]);
    assert_eq!(before, json!([]));
    assert_eq!(
        house.get(&format!("/metrics/expand?query=servers.*.cpu&{range}")),
        json!({ "results": ["servers.web1.cpu", "servers.web2.cpu"] })
    );
}

#[test]
fn an_editor_completes_tags() {
    let house = House::open();
    let (from, until) = house.range();
    let range = format!("from={from}&until={until}");
    for (path, expected) in [
        // The frontend, without anything chosen yet and with a tag chosen.
        (format!("tags?{range}"), json!(["host", "mount", "name"])),
        (format!("tags?tagPrefix=ho&limit=100&{range}"), json!(["host"])),
        (format!("tags?expr=host%3Dweb1&{range}"), json!(["mount", "name"])),
        (format!("values?tag=host&limit=10000&{range}"), json!(["web1", "web2"])),
        (format!("values?expr=mount%3Ddata&expr=name%3Ddisk.used&tag=host&valuePrefix=w&{range}"), json!(["web2"])),
        // The backend, which sends what it has not.
        ("tags?from=undefined&limit=0&tagPrefix=&until=undefined".to_owned(), json!(["host", "mount", "name"])),
        (
            "values?expr=mount%3Ddata&from=undefined&limit=0&tag=host&until=undefined&valuePrefix=".to_owned(),
            json!(["web2"]),
        ),
    ] {
        assert_eq!(house.get(&format!("/tags/autoComplete/{path}")), expected, "{path}");
    }
}

#[test]
fn functions_and_version_are_read_as_grafana_reads_them() {
    let house = House::open();
    // The backend decodes a text of JSON.
    assert_eq!(house.get("/version"), json!("1.1.10"));
    let raw = http::get(house.statlined.http(), "/functions").unwrap().body;
    assert!(!raw.starts_with('<') && !raw.contains("Infinity"));
    let functions = House::good(&http::get(house.statlined.http(), "/functions").unwrap());
    for (name, function) in functions.as_object().unwrap() {
        assert_eq!(function["name"], json!(name));
        assert!(function["description"].is_string() && function["group"].is_string(), "{name}");
        for param in function["params"].as_array().unwrap() {
            assert!(param["name"].is_string() && param["type"].is_string(), "{name}: {param}");
        }
    }
    assert!(functions.as_object().unwrap().len() >= 154);
}

#[test]
fn annotations_are_events_with_all_tags() {
    let house = House::open();
    for (what, tags, after) in [("deployed", "deploy web", 60), ("rolled back", "deploy", 120), ("paged", "alert", 180)]
    {
        let event = json!({ "what": what, "tags": tags, "data": "by hand", "when": house.start + after }).to_string();
        let kind = [("Content-Type", "application/json")];
        assert_eq!(http::ask(house.statlined.http(), "POST", "/events/", &kind, &event).unwrap().status, 200);
    }
    let (from, until) = house.range();
    let titles = |query: &str| {
        let events = house.get(&format!("/events/get_data?{query}"));
        let list = events.as_array().unwrap().iter();
        list.map(|event| event["what"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(titles(&format!("from={from}&until={until}")), ["deployed", "rolled back", "paged"]);
    assert_eq!(titles(&format!("from={from}&until={until}&tags=deploy%20web")), ["deployed"]);
    assert_eq!(titles("from=-1h&until=now&tags=deploy"), ["deployed", "rolled back"]);
    let event = &house.get(&format!("/events/get_data?from={from}&until={until}&tags=web"))[0];
    assert_eq!(event["when"], json!(house.start + 60));
    assert_eq!((&event["tags"], &event["data"]), (&json!(["deploy", "web"]), &json!("by hand")));
}
