//! Every route but `/render`, asked in this process over a store of a few series. Shapes and orders are those that
//! graphite-web 1.1.10 answers over the same names.

mod parameters;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::Request;
use serde_json::{Value, json};
use statline_series::{Batch, Kind, SeriesKey, Step, Timestamp};
use statline_store::{EmbeddedConfig, EmbeddedStore, Store};
use tokio::sync::watch;
use tower::ServiceExt;

use super::*;
use crate::config;

/// The names of the series, each with one point.
const NAMES: [&str; 9] = [
    "site.a",
    "site.b",
    "site.a.deep",
    "web.one.cpu",
    "web.two.cpu",
    "web.two.mem",
    "odd.a+b%41",
    "site.a;room=attic;floor=2",
    "site.b;room=cellar",
];

/// When that point is, in seconds since the epoch.
const WHEN: i64 = 1_700_000_000;

/// The routes over a store, without sockets.
struct House {
    router: Router,
    runtime: tokio::runtime::Runtime,
    _directory: tempfile::TempDir,
}

/// What was answered.
struct Answer {
    status: u16,
    kind: String,
    body: Bytes,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl House {
    fn open(limits: config::Query) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let store = Arc::new(EmbeddedStore::open(EmbeddedConfig::at(directory.path())).unwrap());
        let mut batch = Batch::default();
        for name in NAMES {
            batch.push(SeriesKey::parse(name).unwrap(), Kind::Untyped, Timestamp::from_seconds(WHEN), 1.0);
        }
        runtime.block_on(store.append(batch)).unwrap();
        let (_, flushed) = watch::channel(None);
        let as_store: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
        let shared = Shared {
            engine: Engine::new(Arc::clone(&as_store), limits, Step::SECOND, flushed.clone()),
            status: Arc::new(Status::new(as_store, Step::SECOND, flushed)),
            received: Arc::default(),
            carbon: Arc::default(),
            metrics: metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle(),
            registry: Arc::new(Mutex::new(Registry::new(10))),
            backups: Backups::new(store, "".into()),
            access: Access::new(""),
        };
        Self { router: router(shared), runtime, _directory: directory }
    }

    fn ask(&self, method: &str, path: &str, form: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned()))
            .unwrap();
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.unwrap();
            let kind =
                response.headers().get(header::CONTENT_TYPE).map_or("", |kind| kind.to_str().unwrap()).to_owned();
            let status = response.status().as_u16();
            Answer { status, kind, body: to_bytes(response.into_body(), usize::MAX).await.unwrap() }
        })
    }

    /// The JSON of an answer that has to be good.
    fn json(&self, method: &str, path: &str, form: &str) -> Value {
        let answer = self.ask(method, path, form);
        assert_eq!((answer.status, answer.kind.as_str()), (200, "application/json"), "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn get(&self, path: &str) -> Value {
        self.json("GET", path, "")
    }
}

fn house() -> House {
    House::open(config::Query::default())
}

#[test]
fn find_answers_in_every_form() {
    let house = house();
    let node = |text: &str, id: &str, leaf: u8| json!({ "text": text, "id": id, "allowChildren": 1 - leaf, "expandable": 1 - leaf, "leaf": leaf });
    let span = json!([{ "start": WHEN, "end": WHEN + 10 }]);
    for (query, expected) in [
        ("query=site.*", json!([node("a", "site.a", 0), node("b", "site.b", 1)])),
        ("query=site.*&wildcards=1", json!([node("*", "site.*", 0), node("a", "site.a", 0), node("b", "site.b", 1)])),
        (
            "query=site.*&wildcards=1&leavesOnly=1",
            json!([node("*", "site.*", 1), node("a", "site.a", 1), node("b", "site.b", 1)]),
        ),
        ("query=site.b&wildcards=1", json!([node("b", "site.b", 1)])),
        // Branches before leaves, each name once, and the id begins as the query does.
        (
            "query=*.*",
            json!([
                node("a", "*.a", 0),
                node("one", "*.one", 0),
                node("two", "*.two", 0),
                node("a bA", "*.a+b%41", 1),
                node("b", "*.b", 1),
            ]),
        ),
        ("query=web.{one,two}.mem", json!([node("mem", "web.{one,two}.mem", 1)])),
        ("query=site.b%3Broom%3Dcellar", json!([node("site.b;room=cellar", "site.b;room=cellar", 1)])),
        ("query=nothing.*", json!([])),
        ("query=site.*&from=1700000001", json!([])),
        ("query=site.b&from=1700000000&until=1700000000", json!([node("b", "site.b", 1)])),
        ("query=site.b&from=-1&until=-1", json!([node("b", "site.b", 1)])),
        ("query=site.b&now=1700000060&from=-2min", json!([node("b", "site.b", 1)])),
        ("query=site.b&now=1700000060&until=-2min", json!([])),
        (
            "query=site.*&format=json",
            json!([
                { "path": "site.a", "is_leaf": false },
                { "path": "site.a", "is_leaf": true, "intervals": span },
                { "path": "site.b", "is_leaf": true, "intervals": span },
            ]),
        ),
        (
            "query=site.*&format=completer&wildcards=1",
            json!({ "metrics": [
                { "path": "site.a.", "name": "a", "is_leaf": "0" }, { "path": "site.a", "name": "a", "is_leaf": "1" },
                { "path": "site.b", "name": "b", "is_leaf": "1" }, { "name": "*" },
            ] }),
        ),
        ("query=si&format=completer", json!({ "metrics": [{ "path": "site.", "name": "site", "is_leaf": "0" }] })),
        (
            "query=we..&format=completer",
            json!({ "metrics": [
                { "path": "web.one.", "name": "one", "is_leaf": "0" }, { "path": "web.two.", "name": "two", "is_leaf": "0" },
            ] }),
        ),
        (
            "query=site,web&format=completer&automatic_variants=1",
            json!({ "metrics": [
                { "path": "site.", "name": "site", "is_leaf": "0" }, { "path": "web.", "name": "web", "is_leaf": "0" },
            ] }),
        ),
        ("query=web.*.*&format=nodelist", json!({ "nodes": ["cpu", "mem"] })),
        ("query=web.*.*&format=nodelist&position=1", json!({ "nodes": ["one", "two"] })),
        ("query=web.*.*&format=nodelist&position=-3", json!({ "nodes": ["web"] })),
    ] {
        assert_eq!(house.get(&format!("/metrics/find?{query}")), expected, "{query}");
        assert_eq!(house.json("POST", "/metrics/find/", query), expected, "{query}");
    }
    let (url, form) = ("/metrics/find?from=1600000000&until=1800000000&query=no.such", "query=site.b");
    assert_eq!(house.json("POST", url, form), json!([node("b", "site.b", 1)]), "the form counts");
}

#[test]
fn find_answers_other_servers_in_binary() {
    let house = house();
    let end = WHEN + 10;
    let answer = house.ask("GET", "/metrics/find?query=site.*&format=msgpack", "");
    assert_eq!(answer.kind, "application/x-msgpack");
    let rows: Value = rmp_serde::from_slice(&answer.body).unwrap();
    let expected = json!([
        { "path": "site.a", "is_leaf": false },
        { "path": "site.a", "is_leaf": true, "intervals": [[WHEN, end]] },
        { "path": "site.b", "is_leaf": true, "intervals": [[WHEN, end]] },
    ]);
    assert_eq!(rows, expected);
    let answer = house.ask("GET", "/metrics/find?query=site.*&format=pickle", "");
    assert_eq!(answer.kind, "application/pickle");
    let rows: Value = serde_pickle::from_slice(&answer.body, serde_pickle::DeOptions::new()).unwrap();
    assert_eq!(rows, expected);
}

#[test]
fn expand_lists_paths_each_once() {
    let house = house();
    for (query, expected) in [
        ("query=site.*", json!(["site.a", "site.b"])),
        ("query=site.*&query=web.*&query=site.a", json!(["site.a", "site.b", "web.one", "web.two"])),
        ("query=site.*&query=web.*&leavesOnly=1", json!(["site.a", "site.b"])),
        ("query=site.*&from=1700000001", json!([])),
        (
            "query=site.*&groupByExpr=1&query=web.*",
            json!({ "site.*": ["site.a", "site.b"], "web.*": ["web.one", "web.two"] }),
        ),
        ("query=none.*&groupByExpr=1", json!({ "none.*": [] })),
        ("", json!([])),
        ("query=", json!([])),
        ("groupByExpr=1", json!({})),
    ] {
        let expected = json!({ "results": expected });
        assert_eq!(house.get(&format!("/metrics/expand?{query}")), expected, "{query}");
        assert_eq!(house.json("POST", "/metrics/expand/", query), expected, "{query}");
    }
}

#[test]
fn the_index_has_every_series() {
    let mut names = NAMES.map(|name| SeriesKey::parse(name).unwrap().as_str().to_owned());
    names.sort_unstable();
    assert_eq!(house().get("/metrics/index.json"), json!(names));
    let tight = House::open(config::Query { max_names: 8, ..config::Query::default() });
    let refused = tight.ask("GET", "/metrics/index.json", "");
    assert_eq!(refused.status, 422);
    assert_eq!(
        refused.text(),
        "there are 9 series, more than query.max_names, 8; ask for a part of them by /metrics/find\n"
    );
}

#[test]
fn version_and_functions_are_json() {
    let house = house();
    assert_eq!(house.get("/version"), "1.1.10");
    assert_eq!(house.get("/version/"), "1.1.10");
    let all = house.get("/functions");
    assert_eq!(all.as_object().unwrap().len(), statline_graphite::functions().len());
    assert_eq!(all["keepLastValue"]["params"][1], json!({ "name": "limit", "type": "intOrInf", "default": "inf" }));
    let one = house.get("/functions/sumSeries");
    assert_eq!(one, all["sumSeries"]);
    let fields: Vec<&str> = one.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["description", "function", "group", "module", "name", "params"]);
    let sorting = house.get("/functions/?group=Sorting");
    let names: Vec<&str> = sorting.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["sortBy", "sortByMaxima", "sortByMinima", "sortByName", "sortByTotal"]);
    assert_eq!(house.get("/functions?grouped=1&group=Sorting"), json!({ "Sorting": sorting }));
    assert_eq!(house.get("/functions?grouped=True")["Filter Data"].as_object().unwrap().len(), 4);
    assert_eq!(house.get("/functions?group=None"), json!({}));
    assert_eq!(house.get("/functions?type=pie"), json!({}));
    let pretty = house.ask("GET", "/functions/sumSeries?pretty=1", "").text();
    assert!(pretty.starts_with("{\n  \"name\": \"sumSeries\",\n"), "{pretty}");
    let unknown = house.ask("GET", "/functions/nosuch", "");
    assert_eq!((unknown.status, unknown.text().as_str()), (404, r#"{"error":"there is no function \"nosuch\""}"#));
}

#[test]
fn tags_are_listed_and_counted() {
    let house = house();
    for (path, expected) in [
        ("/tags", json!([{ "tag": "floor" }, { "tag": "name" }, { "tag": "room" }])),
        ("/tags/", json!([{ "tag": "floor" }, { "tag": "name" }, { "tag": "room" }])),
        ("/tags?filter=ro", json!([{ "tag": "room" }])),
        ("/tags?filter=ro%7Cn", json!([{ "tag": "name" }, { "tag": "room" }])),
        ("/tags?filter=oom", json!([])),
        ("/tags?limit=1", json!([{ "tag": "floor" }])),
        ("/tags?limit=1&filter=n", json!([{ "tag": "name" }])),
        ("/tags?limit=0", json!([])),
        (
            "/tags/room",
            json!({ "tag": "room", "values": [{ "value": "attic", "count": 1 }, { "value": "cellar", "count": 1 }] }),
        ),
        ("/tags/room?filter=c", json!({ "tag": "room", "values": [{ "value": "cellar", "count": 1 }] })),
        ("/tags/room?filter=x", json!({ "tag": "room", "values": [] })),
        ("/tags/room?limit=1", json!({ "tag": "room", "values": [{ "value": "attic", "count": 1 }] })),
        ("/tags/name?filter=site.a$", json!({ "tag": "name", "values": [{ "value": "site.a", "count": 2 }] })),
        ("/tags/no/such", json!(null)),
    ] {
        assert_eq!(house.get(path), expected, "{path}");
    }
}

#[test]
fn series_and_suggestions_are_found_by_tags() {
    let house = house();
    let (attic, cellar) = ("site.a;floor=2;room=attic", "site.b;room=cellar");
    for (path, expected) in [
        ("findSeries?expr=room=attic", json!([attic])),
        ("findSeries?expr=room!=&expr=name=~site", json!([attic, cellar])),
        ("findSeries?expr[]=room=~c", json!([cellar])),
        ("findSeries?expr=name=site.b", json!(["site.b", cellar])),
        ("findSeries?expr=room=nowhere", json!([])),
        ("autoComplete/tags", json!(["floor", "name", "room"])),
        ("autoComplete/tags?tagPrefix=ro", json!(["room"])),
        ("autoComplete/tags?expr=room=attic", json!(["floor", "name"])),
        ("autoComplete/tags?expr=room=attic&tagPrefix=f", json!(["floor"])),
        ("autoComplete/tags?expr=room!=&expr=floor!=&limit=1", json!(["name"])),
        ("autoComplete/tags?limit=2", json!(["floor", "name"])),
        ("autoComplete/tags?limit=0&from=undefined&until=undefined&tagPrefix=", json!(["floor", "name", "room"])),
        ("autoComplete/tags?from=1700000001", json!([])),
        ("autoComplete/values?tag=room", json!(["attic", "cellar"])),
        ("autoComplete/values?tag=room&limit=1", json!(["attic"])),
        ("autoComplete/values?tag=name&expr=room!=", json!(["site.a", "site.b"])),
        ("autoComplete/values?tag=room&expr=name!=x&valuePrefix=c", json!(["cellar"])),
        ("autoComplete/values?tag=room&until=1699999999", json!([])),
        ("autoComplete/values?tag=nosuch", json!([])),
    ] {
        assert_eq!(house.get(&format!("/tags/{path}")), expected, "{path}");
        let (route, form) = path.split_once('?').unwrap_or((path, ""));
        assert_eq!(house.json("POST", &format!("/tags/{route}"), form), expected, "{path}");
    }
}

#[test]
fn series_are_named_and_removed() {
    let house = house();
    for (route, form, expected) in [
        ("tagSeries", "path=disk;b=2;a=1", json!("disk;a=1;b=2")),
        ("tagMultiSeries", "path=disk;b=2;a=1&path=x;c=1", json!(["disk;a=1;b=2", "x;c=1"])),
        ("tagMultiSeries", "path[]=disk;b=2;a=1", json!(["disk;a=1;b=2"])),
        ("tagSeries", "path=disk%7Bb%3D%222%22%2Ca%3D%221%22%7D", json!("disk;a=1;b=2")),
        ("delSeries", "path=no.such;b=2", json!(true)),
    ] {
        assert_eq!(house.json("POST", &format!("/tags/{route}"), form), expected, "{route} {form}");
    }
    assert_eq!(house.get("/tags/findSeries?expr=name=disk"), json!([]), "a series is known once it has a point");
    let wrong = house.ask("POST", "/tags/delSeries", "path=site.b&path=site.b;room");
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    assert_eq!(house.get("/metrics/index.json").as_array().unwrap().len(), NAMES.len(), "nothing is half removed");
    assert_eq!(house.json("POST", "/tags/delSeries", "path=site.a;room=attic;floor=2&path=site.b"), true);
    assert_eq!(house.get("/tags/autoComplete/tags"), json!(["name", "room"]));
    assert_eq!(house.get("/metrics/index.json").as_array().unwrap().len(), NAMES.len() - 2);
    let points = house.get("/render?target=site.b&from=1699999990&until=1700000010");
    assert_eq!(points, json!([]));
}

#[test]
fn answers_may_be_calls_of_javascript() {
    let house = house();
    for (path, expected) in [
        ("/metrics/find?query=no.such&jsonp=cb", "cb([])"),
        ("/metrics/expand?jsonp=a.b", "a.b({\"results\":[]})"),
        ("/events/get_data?jsonp=cb", "cb([])"),
    ] {
        let answer = house.ask("GET", path, "");
        assert_eq!((answer.status, answer.kind.as_str(), answer.text().as_str()), (200, "text/javascript", expected));
    }
    let index = house.ask("GET", "/metrics/index.json?jsonp=cb", "").text();
    assert!(index.starts_with("cb([\"odd.a+b%41\",") && index.ends_with("])"), "{index}");
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let house = House::open(config::Query { max_targets: 2, max_names: 3, ..config::Query::default() });
    for (method, path, status, said) in [
        ("GET", "/metrics/find", 400, "the parameter query is missing"),
        ("GET", "/metrics/find?query=", 400, "the parameter query is missing"),
        (
            "GET",
            "/metrics/find?query=a&format=xml",
            400,
            "format is \"xml\"; expected treejson, completer, json, nodelist",
        ),
        ("GET", "/metrics/find?query=a&leavesOnly=x", 400, "leavesOnly is \"x\"; expected a whole number"),
        ("GET", "/metrics/find?query=a&from=zzz", 400, "from is \"zzz\": "),
        ("GET", "/metrics/find?query=a&jsonp=a(b)", 400, "jsonp is \"a(b)\"; expected the name of a function"),
        ("GET", "/metrics/find?query={a", 400, "the braces of path \"{a\" do not pair"),
        (
            "GET",
            "/metrics/find?query=*.*&format=nodelist&position=7",
            422,
            "5 names match, more than query.max_names, 3",
        ),
        (
            "GET",
            "/metrics/find?query=site.*&format=nodelist&position=7",
            400,
            "position is 7, and site.a has no such part",
        ),
        ("GET", "/metrics/expand?groupByExpr=x", 400, "groupByExpr is \"x\"; expected a whole number"),
        (
            "GET",
            "/metrics/expand?query=a&query=b&query=c",
            422,
            "the request has 3 queries, more than query.max_targets, 2",
        ),
        ("GET", "/metrics/expand?query=site.*&query=web.*", 422, "more names match than query.max_names, 3"),
        ("GET", "/tags?limit=x", 400, "limit is \"x\"; expected a whole number"),
        ("GET", "/tags?filter=(", 400, "the regex \"(\" for tag \"filter\" is not valid: unclosed group"),
        ("GET", "/tags/room?limit=-1", 400, "limit is \"-1\"; expected a whole number"),
        ("GET", "/tags/findSeries", 400, "the parameter expr is missing"),
        ("GET", "/tags/findSeries?expr=room", 400, "a tag expression is tag=value"),
        ("GET", "/tags/findSeries?expr=room!=x", 400, "at least one tag expression has to ask for something"),
        ("GET", "/tags/findSeries?expr=a=b&expr=c=d&expr=e=f", 422, "the request has 3 tag expressions"),
        ("GET", "/tags/autoComplete/tags?expr=room!=x", 400, "at least one tag expression has to ask for something"),
        ("GET", "/tags/autoComplete/tags?from=zzz", 400, "from is \"zzz\": "),
        ("GET", "/tags/autoComplete/values", 400, "the parameter tag is missing"),
        ("POST", "/tags/tagSeries", 400, "the parameter path is missing"),
        ("POST", "/tags/tagSeries?path=disk%3Bb", 400, "path \"disk;b\": "),
        ("POST", "/tags/tagMultiSeries", 400, "the parameter path is missing"),
        ("POST", "/tags/delSeries", 400, "the parameter path is missing"),
        (
            "POST",
            "/tags/delSeries?path=a&path=b&path=c&path=d",
            422,
            "the request has 4 series, more than query.max_names, 3",
        ),
        ("GET", "/tags/tagSeries?path=a", 405, ""),
        ("GET", "/tags/delSeries?path=a", 405, ""),
        ("POST", "/functions", 405, ""),
        ("POST", "/tags", 405, ""),
    ] {
        let answer = house.ask(method, path, "");
        let text = answer.text();
        let is_json = path.starts_with("/tags") && status != 405;
        let message = if is_json {
            let object: Value = serde_json::from_str(&text).unwrap();
            object["error"].as_str().unwrap().to_owned()
        } else {
            text
        };
        assert_eq!(answer.status, status, "{path}: {message}");
        assert!(message.starts_with(said) && message.trim_end().lines().count() <= 1, "{path}: {message:?}");
    }
}
