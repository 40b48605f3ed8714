//! What hostile or unlucky requests cost: their own refId an error, and nobody anything else.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use grafana_plugin::host::Host;
use grafana_plugin::{
    DataQuery, DataResponse, ErrorSource, Headers, RequestContext, ResourceRequest, Role, StreamRequest, TimeRange,
    User,
};
use serde_json::json;
use statline_harness::postgres::READER_PASSWORD;
use statline_harness::program::eventually;
use statline_harness::statlined::Options;
use statline_harness::{Postgres, Statlined, plugin};

/// The longest that anything may take which happens with the next flush, or at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// A plugin whose datasource has both halves, and a point to find.
struct House {
    host: Host,
    context: RequestContext,
    _postgres: std::sync::Arc<Postgres>,
    _statlined: Statlined,
    _store: tempfile::TempDir,
}

impl House {
    async fn open(environment: &[(&str, &str)]) -> Self {
        let postgres = Postgres::shared().unwrap();
        let store = tempfile::tempdir().unwrap();
        let statlined = Statlined::start(&Options::new(store.path(), "1s")).unwrap();
        TcpStream::connect(statlined.carbon()).unwrap().write_all(b"site.up 1 -1\n").unwrap();
        // Everything is logged that ever would be, so that a leak would be seen.
        let environment: Vec<_> = environment.iter().copied().chain([("GF_PLUGIN_LOG_LEVEL", "trace")]).collect();
        let host = plugin::start(&environment).await.unwrap();
        let context = plugin::request_context(Some(&statlined), Some(&postgres));
        let house = Self { host, context, _postgres: postgres, _statlined: statlined, _store: store };
        let point = async || {
            let answer = plugin::ask(&house.host, &house.context, graphite("A", "site.up")).await.unwrap();
            (!answer.frames.is_empty()).then_some(())
        };
        eventually("the point", PATIENCE, point).await.unwrap();
        house
    }

    /// Proves that the plugin answers both kinds of query, for this context, and has kept its secrets.
    async fn answers(&self, context: &RequestContext) {
        let queries = vec![graphite("graphite", "site.up"), sql("sql", "SELECT 1 AS n")];
        let answers = self.host.query_data(context, queries).await.unwrap();
        for (ref_id, answer) in &answers {
            assert_eq!((answer.status, &answer.error, answer.frames.len()), (200, &None, 1), "{ref_id}");
        }
        assert_eq!(answers.len(), 2);
        self.host.ping().await.unwrap();
        assert!(self.host.output_after_handshake().is_empty(), "{:?}", self.host.output_after_handshake());
        let log = self.host.log_lines().join("\n");
        assert!(log.contains("the plugin listens") && !log.contains(READER_PASSWORD), "{log}");
    }
}

fn graphite(ref_id: &str, target: &str) -> DataQuery {
    let json = json!({ "refId": ref_id, "queryType": "graphite", "target": target });
    plugin::data_query(ref_id, &json, plugin::last(Duration::from_mins(10)))
}

fn sql(ref_id: &str, text: &str) -> DataQuery {
    let json = json!({ "refId": ref_id, "queryType": "sql", "rawSql": text, "format": "table" });
    plugin::data_query(ref_id, &json, plugin::last(Duration::from_mins(10)))
}

#[tokio::test(flavor = "multi_thread")]
async fn anybody_and_nobody_is_answered() {
    let house = House::open(&[]).await;
    for role in ["None", "", "Grafana Admin", "Admin", "Viewer", "a role of tomorrow"] {
        let mut context = house.context.clone();
        context.plugin.user = Some(User { role: Role::from(role.to_owned()), ..User::default() });
        house.answers(&context).await;
        let health = house.host.check_health(&context).await.unwrap();
        assert!(health.message.starts_with("Sidecar: statlined"), "{}", health.message);
    }
    let mut context = house.context.clone();
    context.plugin.user = None;
    context.headers = Headers::from_iter([("FromAlert", "true")]);
    house.answers(&context).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_at_the_ends_of_time_is_answered_or_refused_and_costs_nothing() {
    let house = House::open(&[]).await;
    let ends = [i64::MIN, -1, 0, 1, i64::MAX - 1, i64::MAX];
    for from_ms in ends {
        for to_ms in ends {
            let time_range = TimeRange { from_ms, to_ms };
            let within = |query: DataQuery| DataQuery { time_range, ..query };
            let queries = vec![
                within(graphite("fetch", "site.*")),
                within(graphite("function", "movingAverage(summarize(site.up, '1min'), 5)")),
                DataQuery { max_data_points: i64::MAX, ..within(graphite("points", "site.up")) },
                DataQuery { max_data_points: i64::MIN, ..within(graphite("no points", "site.up")) },
                DataQuery {
                    interval: Duration::ZERO,
                    ..within(sql("filter", "SELECT $__timeFrom() AS t, '$__interval' AS i"))
                },
                DataQuery {
                    interval: Duration::MAX,
                    ..within(sql("group", "SELECT $__timeGroup(now(), $__interval, 0) AS time, 1 AS n"))
                },
            ];
            let count = queries.len();
            let asked = house.host.query_data(&house.context, queries);
            let answers = tokio::time::timeout(PATIENCE, asked).await.unwrap().unwrap();
            assert_eq!(answers.len(), count);
            for (ref_id, answer) in &answers {
                let DataResponse { status, error, error_source, .. } = answer;
                match error {
                    None => assert_eq!(*status, 200, "{ref_id} {time_range:?}"),
                    Some(error) => assert!(
                        [400, 422].contains(status) && *error_source == Some(ErrorSource::Downstream),
                        "{ref_id} {time_range:?}: {status} {error}"
                    ),
                }
            }
        }
    }
    house.answers(&house.context).await;
    let metrics = house.host.collect_metrics(plugin::PLUGIN_ID).await.unwrap();
    assert!(metrics.contains("plugin_panics_total 0\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_query_spoils_no_other() {
    let house = House::open(&[]).await;
    let json = |ref_id: &str, text: &'static str| DataQuery { json: text.into(), ..graphite(ref_id, "site.up") };
    let deep = format!("{}site.up{}", "absolute(".repeat(5000), ")".repeat(5000));
    let queries = vec![
        graphite("good", "site.up"),
        sql("also good", "SELECT 1 AS n"),
        graphite("parse", "sumSeries(site.up"),
        graphite("function", "noSuchFunction(site.up)"),
        graphite("deep", &deep),
        sql("syntax", "SELEC 1"),
        json("text", "{not json"),
        json("empty", ""),
        json("array", "[]"),
        json("types", r#"{"target": 5}"#),
        DataQuery { query_type: "promql".to_owned(), ..graphite("language", "up") },
    ];
    let answers = house.host.query_data(&house.context, queries).await.unwrap();
    assert_eq!(answers.len(), 11);
    for (ref_id, answer) in &answers {
        if ref_id.ends_with("good") {
            assert_eq!((answer.status, &answer.error, answer.frames.len()), (200, &None, 1), "{ref_id}");
        } else {
            let (status, source) = (answer.status, answer.error_source);
            assert_eq!((status, source), (400, Some(ErrorSource::Downstream)), "{ref_id}: {:?}", answer.error);
            assert!(answer.error.is_some() && answer.frames.is_empty(), "{ref_id}");
        }
    }
    house.answers(&house.context).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_settings_is_refused_for_each_ref_id() {
    let house = House::open(&[]).await;
    let mut without = house.context.clone();
    without.plugin.data_source = None;
    let mut malformed = house.context.clone();
    malformed.plugin.data_source.as_mut().unwrap().json_data = "{\"sidecar\":".into();
    malformed.plugin.data_source.as_mut().unwrap().uid = "malformed".to_owned();
    for context in [&without, &malformed, &RequestContext::default()] {
        let queries = vec![graphite("A", "site.up"), sql("B", "SELECT 1 AS n")];
        let answers = house.host.query_data(context, queries).await.unwrap();
        assert_eq!(answers.len(), 2);
        assert!(answers.values().all(|answer| answer.status >= 400 && answer.error.is_some()), "{answers:?}");
        house.host.check_health(context).await.unwrap();
        assert!(house.host.call_resource(context, ResourceRequest::get("tables")).await.unwrap().status >= 400);
    }
    house.answers(&house.context).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_panics_is_its_own_error_and_is_in_the_log() {
    let house = House::open(&[("STATLINE_TEST_PANIC", "1")]).await;
    for round in 1..=3 {
        let queries =
            vec![graphite("good", "site.up"), graphite("panic", "statline-test-panic"), sql("sql", "SELECT 1 AS n")];
        let answers = house.host.query_data(&house.context, queries).await.unwrap();
        assert_eq!((answers["good"].status, answers["sql"].status), (200, 200));
        let panicked = &answers["panic"];
        assert_eq!((panicked.status, panicked.error_source), (500, Some(ErrorSource::Plugin)));
        assert_eq!(panicked.error.as_deref(), Some("the query hit a defect of the plugin; its log says where"));
        house.answers(&house.context).await;
        let metrics = house.host.collect_metrics(plugin::PLUGIN_ID).await.unwrap();
        assert!(metrics.contains(&format!("plugin_panics_total {round}\n")), "{metrics}");
    }
    let log = house.host.log_lines();
    let panics: Vec<_> = log.iter().filter(|line| line.contains("a query asked for a panic")).collect();
    assert_eq!(panics.len(), 3, "{log:?}");
    for line in &log {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["@level"].is_string() && line["@message"].is_string(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_hook_its_word_is_a_word() {
    let house = House::open(&[]).await;
    let answer = plugin::ask(&house.host, &house.context, graphite("A", "statline-test-panic")).await.unwrap();
    assert_eq!((answer.status, answer.frames.len()), (200, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_mebibytes_of_request_are_read() {
    let house = House::open(&[]).await;
    let padding = "x".repeat(8 << 20);
    let padded = json!({ "refId": "A", "queryType": "graphite", "target": "site.up", "padding": padding });
    let padded = plugin::data_query("A", &padded, plugin::last(Duration::from_mins(10)));
    let answer = plugin::ask(&house.host, &house.context, padded).await.unwrap();
    assert_eq!((answer.status, answer.frames.len()), (200, 1));

    let refused = plugin::ask(&house.host, &house.context, graphite("A", &padding)).await.unwrap();
    assert!([200, 400, 422].contains(&refused.status), "{}", refused.status);
    assert!(refused.error.unwrap_or_default().len() < 10_000, "an error does not repeat what was sent");
    let long = plugin::ask(&house.host, &house.context, sql("A", &format!("SELECT '{padding}' AS t"))).await.unwrap();
    let error = long.error.unwrap();
    assert!(
        long.status == 400 && error.contains("the limit is 256 KiB") && error.len() < 200,
        "{}: {error}",
        long.status
    );
    let large = sql("A", &format!("SELECT repeat('x', {}) AS t", padding.len()));
    let answer = plugin::ask(&house.host, &house.context, large).await.unwrap();
    assert_eq!((answer.status, &answer.error), (200, &None));
    assert_eq!(answer.frames[0].fields[0].text(0), Some(padding.as_str()));

    let resource = ResourceRequest { body: padding.into(), ..ResourceRequest::get("find?query=*") };
    assert_eq!(house.host.call_resource(&house.context, resource).await.unwrap().status, 200);
    house.answers(&house.context).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_request_leaves_nothing_behind() {
    let house = House::open(&[]).await;
    let running = async |count: usize| {
        let metrics = house.host.collect_metrics(plugin::PLUGIN_ID).await.unwrap();
        metrics.contains(&format!("plugin_queries_running {count}\n")).then_some(())
    };
    for _ in 0..3 {
        let queries = (0..3).map(|number| sql(&number.to_string(), "SELECT 1 AS n FROM pg_sleep(300)")).collect();
        tokio::select! {
            answer = house.host.query_data(&house.context, queries) => panic!("no answer was expected, got {answer:?}"),
            three = eventually("three queries running", PATIENCE, async || running(3).await) => three.unwrap(),
        }
        eventually("no query running", PATIENCE, async || running(0).await).await.unwrap();
        house.answers(&house.context).await;
    }
    let channel =
        StreamRequest { path: "graphite/x".to_owned(), data: json!({ "target": "site.up" }).to_string().into() };
    drop(house.host.run_stream(&house.context, channel).await.unwrap());
    eventually("no stream running", PATIENCE, async || {
        let metrics = house.host.collect_metrics(plugin::PLUGIN_ID).await.unwrap();
        metrics.contains("plugin_streams_running 0\n").then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_is_quick_and_clean() {
    let house = House::open(&[]).await;
    let sleeping = sql("A", "SELECT 1 AS n FROM pg_sleep(300)");
    let (_, stopped) = tokio::join!(
        // Cut off by the stop, or answered with an error: both will do.
        house.host.query_data(&house.context, vec![sleeping]),
        async {
            let running = async || {
                let metrics = house.host.collect_metrics(plugin::PLUGIN_ID).await.unwrap();
                metrics.contains("plugin_queries_running 1\n").then_some(())
            };
            eventually("the query running", PATIENCE, running).await.unwrap();
            house.host.shutdown().await.unwrap()
        }
    );
    assert!(stopped.status.success() && !stopped.killed, "{stopped:?}");
    assert!(stopped.took < Duration::from_secs(1), "{stopped:?}");
}
