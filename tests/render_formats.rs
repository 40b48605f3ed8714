//! `/render` in every form but JSON, read by Python, which is what most clients of graphite-web are written in.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use serde_json::{Value, json};
use statline_harness::program::wait_until;
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http};

/// The longest that anything may take which happens at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// A daemon with `site.a` and `site.b`, a value every ten seconds, and one of `site.b` missing.
struct House {
    statlined: Statlined,
    /// When the first value is, in seconds since the epoch: half an hour ago.
    start: u64,
    _store: tempfile::TempDir,
}

impl House {
    fn open(configure: impl FnOnce(Options) -> Options) -> Self {
        let store = tempfile::tempdir().unwrap();
        let statlined = Statlined::start(&configure(Options::new(store.path(), "10s"))).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let start = now / 60 * 60 - 1800;
        let mut lines = String::new();
        for index in 0..6 {
            let at = start + 10 * index;
            lines += &format!("site.a {index} {at}\n");
            if index != 1 {
                lines += &format!("site.b {}.5 {at}\n", 10 * index);
            }
        }
        TcpStream::connect(statlined.carbon()).unwrap().write_all(lines.as_bytes()).unwrap();
        let taken = || (http::figure(statlined.http(), "statline_carbon_points_total").unwrap() == 11.0).then_some(());
        wait_until("the points", PATIENCE, taken).unwrap();
        Self { statlined, start, _store: store }
    }

    /// Asks for three points of each series.
    fn get(&self, more: &str) -> http::Answer {
        let window = format!("from={}&until={}", self.start - 1, self.start + 20);
        http::get(self.statlined.http(), &format!("/render?{window}&{more}")).unwrap()
    }

    /// What a program in Python makes of an answer: it has its `body` and its `headers`.
    fn python(&self, more: &str, accepted: &str, program: &str) -> Value {
        let url =
            format!("http://{}/render?from={}&until={}&{more}", self.statlined.http(), self.start - 1, self.start + 20);
        let whole = format!(
            "import gzip, json, pickle, struct, sys, urllib.request\n\
             request = urllib.request.Request(sys.argv[1], headers={{'Accept-Encoding': sys.argv[2]}})\n\
             answer = urllib.request.urlopen(request, timeout=10)\n\
             body, headers = answer.read(), answer.headers\n\
             print(json.dumps({program}))"
        );
        let output = Command::new("python3").args(["-c", &whole, &url, accepted]).output().unwrap();
        assert!(output.status.success(), "{more}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn text_is_graphites() {
    let house = House::open(|options| options);
    let (start, end) = (house.start, house.start + 30);
    let clock = |after: i64| {
        let time = DateTime::from_timestamp(i64::try_from(start).unwrap() + after, 0).unwrap();
        time.with_timezone(&chrono_tz::Europe::Berlin).format("%Y-%m-%d %H:%M:%S").to_string()
    };
    let rickshaw = json!([
        { "target": "site.a", "datapoints": [{ "x": start, "y": 0.0 }, { "x": start + 10, "y": 1.0 }, { "x": start + 20, "y": 2.0 }] },
    ]);
    for (more, kind, body) in [
        (
            "target=site.*&format=raw",
            "text/plain",
            format!("site.a,{start},{end},10|0.0,1.0,2.0\nsite.b,{start},{end},10|0.5,None,20.5\n"),
        ),
        (
            "target=site.b&format=csv&tz=Europe/Berlin",
            "text/csv",
            format!("site.b,{},0.5\r\nsite.b,{},\r\nsite.b,{},20.5\r\n", clock(0), clock(10), clock(20)),
        ),
        ("target=alias(site.a,'a,b')&rawData=1", "text/plain", format!("a,b,{start},{end},10|0.0,1.0,2.0\n")),
        (
            "target=site.*&format=dygraph",
            "application/json",
            format!(
                "{{\"labels\" : [\"Time\", \"site.a\", \"site.b\"], \"data\" : [[{start}000, 0.0, 0.5], [{}000, 1.0, null], [{}000, 2.0, 20.5]]}}",
                start + 10,
                start + 20
            ),
        ),
        ("target=no.such&format=dygraph&jsonp=cb", "text/javascript", "cb({})".to_owned()),
        (
            "target=site.a&format=json&jsonp=a.b&noNullPoints=1",
            "text/javascript",
            format!(
                "a.b([{{\"target\": \"site.a\", \"tags\": {{\"name\": \"site.a\"}}, \"datapoints\": [[0.0, {start}], [1.0, {}], [2.0, {}]]}}])",
                start + 10,
                start + 20
            ),
        ),
    ] {
        let answer = house.get(more);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{more}: {}", answer.body);
        assert_eq!(answer.body, body, "{more}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{more}");
    }
    assert_eq!(house.get("target=site.a&format=rickshaw").json(), rickshaw);
    let pretty = house.get("target=site.a&format=rickshaw&pretty=1");
    assert_eq!((pretty.json(), pretty.body.lines().count() > 10), (rickshaw, true));
}

#[test]
fn json_tells_what_is_asked() {
    let house = House::open(|options| options);
    let start = house.start;
    let points = |more: &str| house.get(&format!("format=json&{more}")).json()[0]["datapoints"].clone();
    assert_eq!(points("target=site.b&noNullPoints"), json!([[0.5, start], [20.5, start + 20]]));
    assert_eq!(points("target=site.b"), json!([[0.5, start], [null, start + 10], [20.5, start + 20]]));
    let told = house.get("format=json&meta=1&target=consolidateBy(site.a,'sum')&target=site.a").json();
    assert_eq!((&told[0]["consolidation"], &told[1]["consolidation"]), (&json!("sum"), &json!("average")));
    assert_eq!(house.get("format=json&target=site.a").json()[0]["consolidation"], Value::Null);
    // Only JSON has fewer points where fewer are asked for.
    assert_eq!(points("target=site.a&maxDataPoints=1").as_array().unwrap().len(), 1);
    let raw = house.get("target=site.a&format=raw&maxDataPoints=1").body;
    assert!(raw.ends_with("|0.0,1.0,2.0\n"), "{raw}");
    let factor = |factor| points(&format!("target=summarize(site.b,'30s')&xFilesFactor={factor}"));
    assert_ne!(factor("0.1"), factor("1"), "with one of three values missing");
    let now = format!("/render?format=json&target=site.a&now={}&from=-21s", start + 20);
    assert_eq!(http::get(house.statlined.http(), &now).unwrap().json()[0]["datapoints"].as_array().unwrap().len(), 3);
}

#[test]
fn other_servers_are_told_pickles() {
    let house = House::open(|options| options);
    let start = house.start;
    let info = |name: &str, values: Value| {
        json!({
            "name": name, "start": start, "end": start + 30, "step": 10, "values": values, "pathExpression": "site.*",
            "valuesPerPoint": 1, "consolidationFunc": "average", "xFilesFactor": 0.0,
        })
    };
    let expected = json!([info("site.a", json!([0.0, 1.0, 2.0])), info("site.b", json!([0.5, null, 20.5]))]);
    assert_eq!(house.python("target=site.*&format=pickle", "identity", "pickle.loads(body)"), expected);
    assert_eq!(house.python("target=site.*&pickle=1", "identity", "headers['Content-Type']"), "application/pickle");
    let msgpack = house.python("target=site.*&format=msgpack", "identity", "[headers['Content-Type'], body[:6].hex()]");
    assert_eq!(msgpack, json!(["application/x-msgpack", "dd0000000289"]), "a list of two maps of nine");
}

#[test]
fn a_picture_is_what_is_drawn_unless_json_is_wanted() {
    let house = House::open(|options| options);
    let start = house.start;
    let size = "[headers['Content-Type'], body[:8] == b'\\x89PNG\\r\\n\\x1a\\n', *struct.unpack('>II', body[16:24])]";
    assert_eq!(house.python("target=site.*", "identity", size), json!(["image/png", true, 330, 250]));
    let query = "target=site.*&width=500&height=120&areaMode=stacked&title=Sites&format=png";
    assert_eq!(house.python(query, "gzip", size), json!(["image/png", true, 500, 120]));
    let svg = house.get("target=secondYAxis(site.a)&target=site.b&format=svg&title=Sites");
    assert_eq!(svg.header("content-type"), Some("image/svg+xml"));
    for text in ["width=\"330\" height=\"250\"", "Sites", "secondYAxis(site.a)", "site.b", "<polyline"] {
        assert!(svg.body.contains(text), "no {text} in {}", svg.body);
    }
    let path = format!("/render?target=site.a&from={}&until={}", start - 1, start + 20);
    let accepted = [("Accept", "application/json, text/plain, */*")];
    let json = http::ask(house.statlined.http(), "GET", &path, &accepted, "").unwrap();
    assert_eq!(
        (json.header("content-type"), json.json()[0]["target"].as_str()),
        (Some("application/json"), Some("site.a"))
    );
}

#[test]
fn a_target_fails_alone() {
    let house = House::open(|options| options.set("query", "max_series", 1));
    let answer = house.get("format=json&target=site.a&target=scale(site.a,2&target=site.*&target=site.b");
    let names: Vec<Value> = answer.json().as_array().unwrap().iter().map(|one| one["target"].clone()).collect();
    assert_eq!((answer.status, names), (200, vec![json!("site.a"), json!("site.b")]), "{}", answer.body);
    let told: Value = serde_json::from_str(answer.header("x-statline-errors").unwrap()).unwrap();
    assert_eq!(told[0]["target"], "scale(site.a,2");
    assert!(told[0]["error"].as_str().unwrap().contains("never closed"), "{told}");
    assert_eq!((told[1]["target"].as_str(), told.as_array().unwrap().len()), (Some("site.*"), 2));

    assert_eq!(house.get("format=json&target=site.a").header("x-statline-errors"), None);
    for (more, status) in [
        ("format=json&target=nope(a)", 400),
        ("format=json&target=site.*&target=nope(a)", 422),
        ("format=csv&target=nope(a)&target=site.*", 400),
        ("format=png&target=site.a&target=nope(a)", 400),
        ("format=json&compat=graphite-web&target=site.a&target=nope(a)", 400),
    ] {
        let answer = house.get(more);
        assert_eq!((answer.status, answer.body.lines().count()), (status, 1), "{more}: {}", answer.body);
    }
    assert_eq!(house.get("format=csv&target=site.a&target=nope(a)").status, 200);
    assert_eq!(house.get("format=json").json(), json!([]), "nothing was asked");
}

#[test]
fn what_is_wrong_is_a_line() {
    let house = House::open(|options| options);
    for (more, said) in [
        ("target=site.a&format=pdf", "format is \"pdf\"; expected one of json, csv, raw, pickle, msgpack"),
        ("target=site.a&graphType=pie", "graphType is \"pie\"; only line is drawn"),
        ("target=site.a&format=json&jsonp=a(", "jsonp is \"a(\"; expected the name of a function"),
        ("target=site.a&format=json&xFilesFactor=2", "xFilesFactor is \"2\"; expected a number from 0 to 1"),
        ("target=site.a&format=json&compat=carbonapi", "compat is \"carbonapi\" is neither statline nor graphite-web"),
        ("target=site.a&format=json&now=whenever", "now is \"whenever\""),
        ("target=site.a&width=100000", "width is \"100000\"; expected a whole number of pixels"),
        ("target=site.a&yMin=5&yMax=1", "yMin is 5 and yMax 1; yMin must be below yMax"),
        ("target=site.a&fgcolor=bluish", "fgcolor: \"bluish\" is no colour"),
    ] {
        let answer = house.get(more);
        assert_eq!((answer.status, answer.body.lines().count()), (400, 1), "{more}: {}", answer.body);
        assert!(answer.body.starts_with(said), "{more}: {}", answer.body);
    }
    let answer = http::ask(house.statlined.http(), "DELETE", "/render", &[], "").unwrap();
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD,POST")), "{}", answer.body);
    assert_eq!(answer.body, "/render does not take DELETE; see the header Allow\n");
}

#[test]
fn long_answers_are_streamed_and_compressed() {
    let house = House::open(|options| options.set("query", "max_points", 300_000));
    let encoding = "[headers.get('Content-Encoding'), headers.get('Content-Length') is None]";
    let long = "format=json&target=randomWalk('x')&from=-300d&until=now";
    assert_eq!(house.python("format=json&target=site.a", "gzip", encoding), json!([null, false]), "short ones are not");
    let window = "from=0&until=200000&format=json&target=time('x',1)";
    let count = "[headers.get('Content-Encoding'), len(json.loads(gzip.decompress(body))[0]['datapoints'])]";
    assert_eq!(house.python(window, "gzip", count), json!(["gzip", 200_000]));
    assert_eq!(house.python(window, "identity", encoding), json!([null, true]));
    let refused = http::get(house.statlined.http(), &format!("/render?{long}")).unwrap();
    assert_eq!(refused.status, 422, "{}", refused.body);
}
