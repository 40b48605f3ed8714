//! The daemon's own doors: the HTTP API, carbon's protocol, and Arrow Flight as others than the plugin speak it.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, RecordBatch};
use arrow_flight::{FlightClient, Ticket};
use futures::TryStreamExt;
use serde_json::{Value, json};
use statline_harness::program::wait_until;
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http};
use tonic::transport::Channel;

/// The longest that anything may take which happens with the next flush, or at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// A daemon with an hour of history: `site.a` and `site.b`, a point a minute, counting up from 0 and from 100.
struct House {
    statlined: Statlined,
    /// The first point, in seconds since the epoch.
    start: u64,
    _store: tempfile::TempDir,
}

impl House {
    fn open(configure: impl FnOnce(Options) -> Options) -> Self {
        let store = tempfile::tempdir().unwrap();
        let statlined = Statlined::start(&configure(Options::new(store.path(), "1s"))).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let start = now / 60 * 60 - 3600;
        let mut lines = String::new();
        for minute in 0..60 {
            let at = start + minute * 60;
            lines += &format!("site.a {minute} {at}\nsite.b {} {at}\n", 100 + minute);
        }
        lines += &format!("site.empty.tagged;room=attic;floor=2 20.5 {start}\n");
        send_lines(statlined.carbon(), &lines);
        let house = Self { statlined, start, _store: store };
        wait_until("the points", PATIENCE, || (house.figure("statline_carbon_points_total") == 121.0).then_some(()))
            .unwrap();
        house
    }

    fn get(&self, path: &str) -> http::Answer {
        http::get(self.statlined.http(), path).unwrap()
    }

    fn figure(&self, name: &str) -> f64 {
        let text =
            http::ask(self.statlined.http(), "GET", "/metrics", &[("Authorization", "Bearer s3cret")], "").unwrap();
        let value = text.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    /// The series of a JSON answer: name, and values that are not null with their times.
    fn series(answer: &http::Answer) -> Vec<(String, Vec<(f64, u64)>)> {
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{}", answer.body);
        let json = answer.json();
        let points = |series: &Value| {
            let points = series["datapoints"].as_array().unwrap();
            points.iter().filter_map(|point| Some((point[0].as_f64()?, point[1].as_u64()?))).collect()
        };
        json.as_array()
            .unwrap()
            .iter()
            .map(|series| (series["target"].as_str().unwrap().to_owned(), points(series)))
            .collect()
    }
}

fn send_lines(carbon: SocketAddr, lines: &str) {
    TcpStream::connect(carbon).unwrap().write_all(lines.as_bytes()).unwrap();
}

#[test]
fn render_answers_as_graphite_does() {
    let house = House::open(|options| options);
    let (start, until) = (house.start - 1, house.start + 120);
    let expected = [
        ("site.a".to_owned(), vec![(0.0, house.start), (1.0, house.start + 60), (2.0, house.start + 120)]),
        ("site.b".to_owned(), vec![(100.0, house.start), (101.0, house.start + 60), (102.0, house.start + 120)]),
    ];
    let window = format!("from={start}&until={until}");
    let by_url = house.get(&format!("/render?format=json&target=site.a&target=site.b&{window}"));
    assert_eq!(House::series(&by_url), expected);
    let glob = house.get(&format!("/render/?format=json&target=site.%7Ba,b%7D&{window}"));
    assert_eq!(House::series(&glob), expected);
    let form = format!("target[]=site.a&target[]=site.b&format=json&{window}");
    let by_form = http::post_form(house.statlined.http(), "/render", &form).unwrap();
    assert_eq!(House::series(&by_form), expected);
    let both =
        http::post_form(house.statlined.http(), &format!("/render?{window}"), "target=site.*&format=json").unwrap();
    assert_eq!(House::series(&both), expected);

    let function = house.get(&format!("/render?format=json&target=alias(sumSeries(site.*),'both')&{window}"));
    let sums = vec![(100.0, house.start), (102.0, house.start + 60), (104.0, house.start + 120)];
    assert_eq!(House::series(&function), [("both".to_owned(), sums)]);
    let tagged = house.get(&format!("/render?format=json&target=seriesByTag('room=attic')&{window}"));
    assert_eq!(tagged.json()[0]["tags"], json!({ "name": "site.empty.tagged", "room": "attic", "floor": "2" }));
    assert_eq!(House::series(&tagged)[0].1, [(20.5, house.start)]);
    let nothing = house.get(&format!("/render?format=json&target=no.such.series&{window}"));
    assert_eq!(House::series(&nothing), []);
}

#[test]
fn render_consolidates_and_leaves_out_what_is_empty() {
    let house = House::open(|options| options);
    let window = format!("from={}&until={}", house.start - 1, house.start + 3599);
    let all = house.get(&format!("/render?format=json&target=site.a&{window}"));
    assert_eq!(all.json()[0]["datapoints"].as_array().unwrap().len(), 3600, "a point a second, most of them null");
    let few = house.get(&format!("/render?format=json&target=site.a&maxDataPoints=10&{window}"));
    let points = few.json()[0]["datapoints"].as_array().unwrap().len();
    assert!((6..=10).contains(&points), "{points}");
    let means = House::series(&few).remove(0).1;
    assert!(means.iter().all(|(mean, _)| (0.0..60.0).contains(mean)), "{means:?}");

    let late = format!("from={}&until={}", house.start + 3600, house.start + 3660);
    let empty = house.get(&format!("/render?format=json&target=site.a&{late}"));
    assert!(House::series(&empty).iter().all(|(_, points)| points.is_empty()));
    let without = house.get(&format!("/render?format=json&target=site.a&noNullPoints=1&{late}"));
    assert_eq!(House::series(&without), []);
}

#[test]
fn what_is_wrong_with_a_request_is_a_line_of_text() {
    let house = House::open(|options| options.set("query", "max_targets", 2));
    for (path, status, said) in [
        ("/render?format=json&target=sumSeries(site.a", 400, "the parenthesis opened at character 10 is never closed"),
        ("/render?format=json&target=noSuchFunction(site.a)", 400, "noSuchFunction"),
        ("/render?format=json&target=site.a&from=whenever", 400, "from is \"whenever\""),
        ("/render?format=json&target=site.a&from=5&until=5", 400, "the range is empty"),
        (
            "/render?target=site.a&format=pdf",
            400,
            "format is \"pdf\"; expected one of json, csv, raw, pickle, msgpack, dygraph, rickshaw, png, svg",
        ),
        ("/render?format=json&target=site.a&maxDataPoints=0", 400, "maxDataPoints is \"0\""),
        (
            "/render?format=json&target=a&target=b&target=c",
            422,
            "the request has 3 targets, more than query.max_targets, 2",
        ),
        ("/metrics/find", 400, "the parameter query is missing"),
        ("/metrics/find?query=*&format=xml", 400, "format is \"xml\""),
        ("/nowhere", 404, "there is nothing at /nowhere; try /render"),
    ] {
        let answer = house.get(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{path}");
        assert!(answer.body.contains(said), "{path}: {}", answer.body);
        assert_eq!(answer.body.lines().count(), 1, "{path}: {}", answer.body);
    }
    let json =
        http::ask(house.statlined.http(), "POST", "/render", &[("Content-Type", "application/json")], "{}").unwrap();
    assert_eq!(json.status, 415);
    let large = http::post_form(house.statlined.http(), "/render", &format!("target={}", "x".repeat(5 << 20)));
    // The server may close the connection while the body is still being sent.
    assert!(large.map_or(true, |answer| answer.status == 413));
    assert_eq!(house.get("/health").status, 200);
}

#[test]
fn the_tree_of_paths_is_shown_in_both_forms() {
    let house = House::open(|options| options);
    let tree = house.get("/metrics/find?query=site.*").json();
    let node = |text: &str, leaf: u8| {
        json!({
            "text": text, "id": format!("site.{text}"), "leaf": leaf,
            "expandable": 1 - leaf, "allowChildren": 1 - leaf,
        })
    };
    assert_eq!(tree, json!([node("a", 1), node("b", 1)]), "tagged series have no place in the tree");
    let plain = house.get("/metrics/find?query=s*&format=json").json();
    assert!(plain.as_array().unwrap().contains(&json!({ "path": "site", "is_leaf": false })), "{plain}");
    let form = http::post_form(house.statlined.http(), "/metrics/find", "query=site.a&format=treejson").unwrap();
    assert_eq!(form.json(), json!([node("a", 1)]));
    let span = format!("/metrics/find?query=site.*&from={}&until=now", house.start + 3600 * 2);
    assert_eq!(house.get(&span).json(), json!([]), "what has no points in a span is not in its tree");
}

#[test]
fn our_own_figures_are_prometheus_text() {
    let house = House::open(|options| options);
    house.get("/render?format=json&target=site.a");
    let answer = house.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut types = HashMap::new();
    let mut samples = 0;
    for line in answer.body.lines().filter(|line| !line.is_empty() && !line.starts_with("# HELP ")) {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap();
            assert!(["counter", "gauge", "summary", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name, kind).is_none(), "declared twice: {line}");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let is_histogram = base.is_some_and(|base| types.get(base) == Some(&"histogram"));
        assert!(name.starts_with("statline_") && (types.contains_key(name) || is_histogram), "without a type: {line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        samples += 1;
    }
    assert!(samples > 20, "{}", answer.body);
    assert_eq!(types["statline_carbon_points_total"], "counter");
    assert_eq!(types["statline_query_duration_seconds"], "histogram");
    assert!(answer.body.contains("statline_query_duration_seconds_count 1\n"), "{}", answer.body);
    assert_eq!(house.get("/health").json()["status"], "ok");
    assert_eq!(house.get("/ready").json(), json!({ "status": "ready" }));
}

#[test]
fn carbon_lines_are_points_and_bad_ones_are_counted() {
    let house = House::open(|options| options.set("carbon", "max_line_bytes", 100));
    let carbon = house.statlined.carbon();
    send_lines(
        carbon,
        "now.one 1 -1\r\n\nno value\nbad.value x -1\nbad.time 1 soon\n;tag=only 1 -1\nnow.two;a=b 2.5e0 -1\nnow.last 3 -1",
    );
    wait_until("the points", PATIENCE, || (house.figure("statline_carbon_points_total") == 124.0).then_some(()))
        .unwrap();
    assert_eq!(house.figure("statline_carbon_bad_lines_total"), 4.0);
    for (target, value) in [("now.one", 1.0), ("now.last", 3.0), ("seriesByTag('a=b')", 2.5)] {
        let series = House::series(&house.get(&format!("/render?format=json&target={target}&from=-1min")));
        let values: Vec<f64> = series[0].1.iter().map(|(value, _)| *value).collect();
        assert_eq!(values, [value], "{target}");
    }
    send_lines(carbon, &"x".repeat(1000));
    let refused = || (house.figure("statline_carbon_bad_lines_total") == 5.0).then_some(());
    wait_until("the endless line being refused", PATIENCE, refused).unwrap();
    let log = house.statlined.log_lines().join("\n");
    assert!(log.contains("bad.value") || log.contains("a line is written path value timestamp"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_of_plain_json_is_answered() {
    let house = House::open(|options| options);
    let channel = Channel::from_shared(house.statlined.flight_url()).unwrap().connect().await.unwrap();
    let mut client = FlightClient::new(channel);
    let ticket = |target: &str| Ticket {
        ticket: json!({
            "version": 1, "type": "graphite", "target": target, "template": { "of": "site" },
            "from": (house.start - 1) * 1000, "until": (house.start + 60) * 1000,
        })
        .to_string()
        .into(),
    };
    let answer = client.do_get(ticket("site.*")).await.unwrap();
    let batches: Vec<RecordBatch> = answer.try_collect().await.unwrap();
    assert_eq!(batches.len(), 1);
    let batch = &batches[0];
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["name", "labels", "path_expression", "start", "step", "values", "times"]);
    let series: Vec<_> = batch.column(0).as_string::<i32>().iter().flatten().collect();
    assert_eq!(series, ["site.a", "site.b"]);
    let values = batch.column(5).as_list::<i32>().value(1);
    let values = values.as_primitive::<Float64Type>();
    assert_eq!(
        (values.value(0), values.value(values.len() - 1), values.null_count()),
        (100.0, 101.0, values.len() - 2)
    );

    let of_template: Vec<RecordBatch> =
        client.do_get(ticket("template($of.b)")).await.unwrap().try_collect().await.unwrap();
    assert_eq!(of_template[0].column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["site.b"]);

    let none: Vec<RecordBatch> = client.do_get(ticket("no.such.series")).await.unwrap().try_collect().await.unwrap();
    assert_eq!(none.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    for (bytes, said) in [("", "the ticket is not valid"), ("{\"version\":9}", "update statlined"), ("{}", "version")] {
        let refused = client.do_get(Ticket { ticket: bytes.into() }).await;
        let error = match refused {
            Ok(stream) => stream.try_collect::<Vec<_>>().await.unwrap_err(),
            Err(error) => error,
        };
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_where_it_is_set() {
    let house = House::open(|options| options.set("http", "token", "s3cret").set("flight", "token", "s3cret"));
    for path in ["/render?format=json&target=site.a", "/metrics/find?query=*", "/metrics", "/statsd/refusals"] {
        let answer = house.get(path);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        assert!(!answer.body.contains("s3cret"));
        let with = |token: &str| {
            let authorization = format!("Bearer {token}");
            http::ask(house.statlined.http(), "GET", path, &[("Authorization", &authorization)], "").unwrap().status
        };
        assert_eq!((with("guess"), with("s3cret")), (401, 200), "{path}");
    }
    for path in ["/health", "/ready"] {
        assert_eq!(house.get(path).status, 200, "{path}");
    }

    let channel = Channel::from_shared(house.statlined.flight_url()).unwrap().connect().await.unwrap();
    for (token, allowed) in [(None, false), (Some("guess"), false), (Some("s3cret"), true)] {
        let mut client = FlightClient::new(channel.clone());
        if let Some(token) = token {
            client.add_header("authorization", &format!("Bearer {token}")).unwrap();
        }
        let action = arrow_flight::Action { r#type: "health".to_owned(), body: "".into() };
        let asked = client.do_action(action).await;
        match asked {
            Ok(results) => assert!(allowed && !results.try_collect::<Vec<_>>().await.unwrap().is_empty()),
            Err(error) => assert!(!allowed && error.to_string().contains("token"), "{error}"),
        }
    }
}
