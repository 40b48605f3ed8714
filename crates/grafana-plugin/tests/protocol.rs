//! The protocol from the outside: the example plugin, driven over real processes and sockets.

mod common;

use std::time::Duration;

use futures::StreamExt;
use grafana_plugin::frame::Severity;
use grafana_plugin::host::{Code, Host, HostError};
use grafana_plugin::{
    DataQuery, ErrorSource, HealthStatus, RequestContext, ResourceRequest, Role, StreamReply, StreamRequest,
    StreamStatus, TimeRange, User,
};
use serde_json::{Value, json};

use common::{SECRET, ask, context, custom, echo, query};

#[tokio::test]
async fn a_series_arrives_whole() {
    let host = echo().await;
    host.ping().await.unwrap();
    let query = DataQuery {
        time_range: TimeRange { from_ms: 1_700_000_000_000, to_ms: 1_700_000_600_000 },
        ..query("A", json!({"kind": "rows", "rows": 500}))
    };
    let answers = host.query_data(&context(), vec![query]).await.unwrap();
    let answer = &answers["A"];
    assert_eq!((answer.status, &answer.error), (200, &None));
    let frame = &answer.frames[0];
    assert_eq!((frame.name.as_str(), frame.ref_id.as_str(), frame.rows().unwrap()), ("rows", "A", 500));
    assert_eq!(frame.meta.executed_query_string, "rows(500)");
    let (time, value) = (frame.field("time").unwrap(), frame.field("value").unwrap());
    assert_eq!(time.time_ms_at(499), Some(1_700_000_000_000 + 499 * 60_000));
    assert_eq!((value.number(3), value.number(4)), (None, Some(4.0)));
    assert_eq!(value.labels.as_ref().unwrap()["host"], "a");
    let config = value.config.as_ref().unwrap();
    assert_eq!((config.unit.as_str(), config.display_name_from_ds.as_str()), ("ms", "echo of a"));
}

#[tokio::test]
async fn every_query_of_a_request_is_answered_for_itself() {
    let host = echo().await;
    let queries = vec![
        query("good", json!({"kind": "rows", "rows": 1})),
        query("", json!({"kind": "rows", "rows": 2})),
        query("unknown", json!({"kind": "dance"})),
        DataQuery { json: "{not json".into(), ..query("text", json!({})) },
        DataQuery { json: "".into(), ..query("empty", json!({})) },
        query("error", json!({"kind": "error"})),
        query("panic", json!({"kind": "panic"})),
        query("uneven", json!({"kind": "uneven"})),
        query("nothing", json!({"kind": "nothing"})),
        query("twice", json!({"kind": "rows", "rows": 1})),
        query("twice", json!({"kind": "rows", "rows": 2})),
    ];
    let answers = host.query_data(&context(), queries).await.unwrap();
    let (plugin, downstream) = (Some(ErrorSource::Plugin), Some(ErrorSource::Downstream));
    for (ref_id, status, source, frames, error) in [
        ("good", 200, None, 1, ""),
        ("", 200, None, 1, ""),
        ("unknown", 400, downstream, 0, "unknown variant `dance`"),
        ("text", 400, downstream, 0, "line 1 column 2"),
        ("empty", 400, downstream, 0, "EOF"),
        ("error", 503, downstream, 1, "the echo is tired"),
        ("panic", 500, plugin, 0, "a defect of the plugin"),
        ("uneven", 500, plugin, 0, "field \"short\" has 1 rows where the first field has 2"),
        ("nothing", 200, None, 0, ""),
        ("twice", 400, downstream, 0, "2 queries share the refId \"twice\""),
    ] {
        let answer = &answers[ref_id];
        assert_eq!((answer.status, answer.error_source, answer.frames.len()), (status, source, frames), "{ref_id:?}");
        assert_eq!(answer.error.is_some(), !error.is_empty(), "{ref_id:?}");
        assert!(answer.error.as_deref().unwrap_or("").contains(error), "{ref_id:?}: {:?}", answer.error);
    }
    assert_eq!(answers.len(), 10);
    let notice = &answers["error"].frames[0].meta.notices[0];
    assert_eq!((notice.severity, notice.text.as_str()), (Severity::Info, "ask again tomorrow"));
    assert_eq!(answers[""].frames[0].rows().unwrap(), 2);

    let metrics = host.collect_metrics("echo").await.unwrap();
    assert!(metrics.contains("plugin_panics_total 1\n"), "{metrics}");
    assert!(metrics.contains("plugin_queries_total{outcome=\"refused\"} 1\n"), "{metrics}");
    assert!(metrics.contains("echo_hanging_dropped_total 0\n"), "{metrics}");
}

#[tokio::test]
async fn chunks_are_parts_of_frames_and_every_ref_id_has_one() {
    let host = echo().await;
    let queries = vec![
        query("large", json!({"kind": "rows", "rows": 20_000})),
        query("nothing", json!({"kind": "nothing"})),
        query("panic", json!({"kind": "panic"})),
        query("error", json!({"kind": "error"})),
    ];
    let chunks = host.query_chunked_data(&context(), queries).await.unwrap();
    let of = |ref_id: &str| chunks.iter().filter(|chunk| chunk.ref_id == ref_id).collect::<Vec<_>>();
    let large = of("large");
    assert!(large.iter().all(|chunk| chunk.frame_id == "0" && chunk.status == 200 && chunk.error.is_none()));
    let numbers = large.iter().flat_map(|chunk| {
        let values = chunk.frame.field("value").unwrap();
        (0..values.len()).map(|row| values.number(row)).collect::<Vec<_>>()
    });
    let numbers: Vec<_> = numbers.collect();
    assert_eq!(numbers.len(), 20_000);
    assert!(large.len() > 1 && numbers[19_999] == Some(19_999.0) && numbers[10].is_none());
    assert_eq!((of("nothing").len(), of("nothing")[0].frame.rows().unwrap()), (1, 0));
    for (ref_id, status) in [("panic", 500), ("error", 503)] {
        let chunk = of(ref_id)[0];
        assert_eq!((chunk.status, chunk.frame.ref_id.as_str(), chunk.frame.rows().unwrap()), (status, ref_id, 0));
        assert!(chunk.error.is_some());
    }
}

#[tokio::test]
async fn roles_and_users_arrive_as_they_are() {
    let host = echo().await;
    for role in ["None", "", "Grafana Admin", "Viewer", "\u{1F980}"] {
        let mut context = context();
        context.plugin.user =
            Some(User { login: "someone".into(), role: Role::from(role.to_owned()), ..User::default() });
        let facts = custom(&host, &context, query("A", json!({"kind": "context"}))).await;
        assert_eq!((&facts["role"], &facts["login"]), (&json!(role), &json!("someone")));
    }
    let mut context = context();
    context.plugin.user = None;
    context.headers.append("FromAlert", "true");
    context.trace_parent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    let facts = custom(&host, &context, query("A", json!({"kind": "context"}))).await;
    assert_eq!(facts["role"], Value::Null);
    assert_eq!(facts["from_alert"], true);
    assert_eq!(facts["trace_parent"], json!(context.trace_parent));

    let facts = custom(&host, &RequestContext::default(), query("A", json!({"kind": "context"}))).await;
    assert_eq!((&facts["role"], &facts["secret_names"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn the_ends_of_time_are_a_range_like_any_other() {
    let host = echo().await;
    for (from_ms, to_ms, duration_ms) in
        [(0, i64::MAX, i64::MAX), (i64::MAX, i64::MAX, 0), (i64::MIN, i64::MAX, i64::MAX), (i64::MAX, i64::MIN, 0)]
    {
        let time_range = TimeRange { from_ms, to_ms };
        let facts_query = DataQuery { time_range, max_data_points: i64::MIN, ..query("A", json!({"kind": "context"})) };
        let facts = custom(&host, &context(), facts_query).await;
        assert_eq!((&facts["duration_ms"], &facts["max_data_points"]), (&json!(duration_ms), &json!(i64::MIN)));
        let rows = DataQuery { time_range, ..query("A", json!({"kind": "rows", "rows": 3})) };
        assert_eq!(ask(&host, &context(), rows).await.frames[0].rows().unwrap(), 3);
    }
}

#[tokio::test]
async fn eight_mebibytes_are_read_and_seventeen_refused_and_the_plugin_lives() {
    let host = echo().await;
    let padded = |bytes: usize| json!({"kind": "rows", "rows": 1, "padding": "x".repeat(bytes)});
    let answer = ask(&host, &context(), query("A", padded(8 << 20))).await;
    assert_eq!((answer.status, answer.frames.len()), (200, 1));
    let request = ResourceRequest { body: vec![b'x'; 8 << 20].into(), ..ResourceRequest::get("echo?a=1") };
    let resource: Value = host.call_resource(&context(), request).await.unwrap().json().unwrap();
    assert_eq!(resource, json!({"method": "GET", "query": "a=1", "body_bytes": 8 << 20}));

    for _ in 0..3 {
        match host.query_data(&context(), vec![query("A", padded(17 << 20))]).await {
            Err(HostError::Call { code: Code::ResourceExhausted, message }) => {
                assert!(message.contains("larger than the 16777216 bytes"), "{message}");
            }
            other => panic!("a refusal was expected, got {other:?}"),
        }
    }
    assert_eq!(ask(&host, &context(), query("A", padded(1))).await.status, 200);
    let metrics = host.collect_metrics("echo").await.unwrap();
    assert!(metrics.contains("plugin_requests_too_large_total 3\n"), "{metrics}");
}

#[tokio::test]
async fn a_request_with_too_many_queries_is_refused_as_a_whole() {
    let host = echo().await;
    let queries = (0..1001).map(|number| query(&number.to_string(), json!({"kind": "nothing"}))).collect();
    match host.query_data(&context(), queries).await {
        Err(HostError::Call { code: Code::ResourceExhausted, message }) => {
            assert_eq!(message, "a request may hold 1000 queries, got 1001");
        }
        other => panic!("a refusal was expected, got {other:?}"),
    }
    let queries = (0..1000).map(|number| query(&number.to_string(), json!({"kind": "nothing"}))).collect();
    assert_eq!(host.query_data(&context(), queries).await.unwrap().len(), 1000);
}

#[tokio::test]
async fn a_cancelled_request_drops_its_queries() {
    let host = echo().await;
    let hanging = || vec![query("A", json!({"kind": "hang"})), query("B", json!({"kind": "hang"}))];
    let (two_run, none_runs) = ("plugin_queries_running 2\n", "plugin_queries_running 0\n");
    for round in 1..=2 {
        let context = context();
        tokio::select! {
            answer = host.query_data(&context, hanging()) => panic!("no answer was expected, got {answer:?}"),
            () = common::metrics_say(&host, two_run) => {}
        }
        common::metrics_say(&host, &format!("echo_hanging_dropped_total {}\n", 2 * round)).await;
        common::metrics_say(&host, none_runs).await;
        common::metrics_say(&host, &format!("plugin_queries_total{{outcome=\"cancelled\"}} {}\n", 2 * round)).await;
    }
}

#[tokio::test]
async fn a_password_in_the_settings_appears_in_no_output() {
    let host = echo_with_debug().await;
    let mut context = context();
    context.headers.append("http_Authorization", SECRET);
    let mut outputs = Vec::new();
    let kinds = ["rows", "context", "error", "panic", "uneven", "log-settings", "dance", "print"];
    let queries = || kinds.iter().map(|kind| query(kind, json!({"kind": kind, "rows": 1}))).collect::<Vec<_>>();
    outputs.push(format!("{:?}", host.query_data(&context, queries()).await));
    outputs.push(format!("{:?}", host.query_chunked_data(&context, queries()).await));
    let large = query("A", json!({"kind": "rows", "rows": 1, "padding": "x".repeat(17 << 20)}));
    outputs.push(format!("{:?}", host.query_data(&context, vec![large]).await));
    outputs.push(format!("{:?}", host.check_health(&context).await));
    for path in ["echo", "nowhere", "panic"] {
        outputs.push(format!("{:?}", host.call_resource(&context, ResourceRequest::get(path)).await));
    }
    for path in ["ticks", "nowhere"] {
        let request = StreamRequest { path: path.into(), ..StreamRequest::default() };
        outputs.push(format!("{:?}", host.subscribe_stream(&context, request.clone()).await));
        outputs.push(format!("{:?}", host.publish_stream(&context, request.clone()).await));
        let mut stream = host.run_stream(&context, request).await.unwrap();
        outputs.push(format!("{:?}", stream.next().await));
    }
    outputs.push(host.collect_metrics("echo").await.unwrap());
    outputs.push(format!("{context:?} {context:#?}"));
    host.shutdown().await.unwrap();
    let log = host.log_lines();
    assert!(log.iter().any(|line| line.contains("postgresPassword")), "the settings were logged: {log:?}");
    outputs.extend(log);
    outputs.extend(host.output_after_handshake());
    assert!(outputs.iter().all(|output| !output.contains(SECRET)), "{outputs:#?}");
}

async fn echo_with_debug() -> Host {
    common::echo_with([("GF_PLUGIN_LOG_LEVEL", "debug")]).await
}

#[tokio::test]
async fn log_lines_are_json_and_so_are_panics() {
    let host = echo_with_debug().await;
    let answer = ask(&host, &context(), query("A", json!({"kind": "panic"}))).await;
    assert_eq!(answer.status, 500);
    ask(&host, &context(), query("A", json!({"kind": "log-settings"}))).await;
    host.shutdown().await.unwrap();
    let lines: Vec<Value> = host.log_lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        let timestamp = line["@timestamp"].as_str().unwrap();
        chrono::NaiveDateTime::parse_from_str(timestamp, "%Y-%m-%dT%H:%M:%S%.6fZ").unwrap();
        assert!(["debug", "info", "warn", "error"].contains(&line["@level"].as_str().unwrap()), "{line}");
        assert!(line["@message"].is_string(), "{line}");
    }
    let panic = lines.iter().find(|line| line["@message"] == "panic: asked to panic by A").expect("a panic is logged");
    assert_eq!(panic["@level"], "error");
    assert!(panic["location"].as_str().unwrap().contains("echo.rs"), "{panic}");
    assert!(lines.iter().any(|line| line["@message"] == "a query panicked" && line["ref_id"] == "A"), "{lines:?}");
}

#[tokio::test]
async fn standard_output_is_silent_after_the_handshake() {
    let host = echo().await;
    let answer = ask(&host, &context(), query("A", json!({"kind": "print"}))).await;
    assert_eq!(answer.status, 200);
    host.shutdown().await.unwrap();
    assert_eq!(host.output_after_handshake(), Vec::<String>::new());
    assert!(host.log_lines().iter().any(|line| line == "this text belongs to nobody"), "{:?}", host.log_lines());
}

#[tokio::test]
async fn health_says_what_to_do() {
    let host = echo().await;
    let health = host.check_health(&context()).await.unwrap();
    assert_eq!((health.status, health.details), (HealthStatus::Ok, Some(json!({"uid": "echo-uid"}))));
    let health = host.check_health(&RequestContext::default()).await.unwrap();
    assert_eq!((health.status, health.message.as_str()), (HealthStatus::Error, "no data source is configured"));
}

#[tokio::test]
async fn resources_are_answered_whole_in_pieces_and_in_error() {
    let host = echo().await;
    let pieces = host.call_resource(&context(), ResourceRequest::get("pieces")).await.unwrap();
    assert_eq!((pieces.status, &pieces.body[..]), (200, &b"abc"[..]));
    for (path, status) in [("nowhere", 404), ("panic", 500)] {
        let answer = host.call_resource(&context(), ResourceRequest::get(path)).await.unwrap();
        assert_eq!((answer.status, answer.headers.get("content-type")), (status, Some("application/json")));
        assert!(answer.json::<Value>().unwrap()["error"].is_string());
    }
}

#[tokio::test]
async fn channels_are_granted_run_and_left() {
    let host = echo().await;
    let request = |path: &str| StreamRequest { path: path.into(), data: "{}".into() };
    let granted = host.subscribe_stream(&context(), request("ticks")).await.unwrap();
    assert_eq!(granted.status, StreamStatus::Ok);
    assert!(serde_json::from_slice::<Value>(&granted.data).unwrap()["schema"]["fields"].is_array());
    let denied = host.subscribe_stream(&RequestContext::default(), request("ticks")).await.unwrap();
    assert_eq!(denied, StreamReply::permission_denied());
    let unknown = host.subscribe_stream(&context(), request("nowhere")).await.unwrap();
    assert_eq!(unknown, StreamReply::not_found());
    let published = host.publish_stream(&context(), request("ticks")).await.unwrap();
    assert_eq!(published, StreamReply::ok("{}"));

    let three: Vec<_> = host.run_stream(&context(), request("three")).await.unwrap().collect().await;
    assert_eq!(three.len(), 3);
    let packet: Value = serde_json::from_slice(three[2].as_ref().unwrap()).unwrap();
    assert_eq!(packet["data"]["values"], json!([[120_000], [0.0]]));

    for (path, code) in [("nowhere", Code::NotFound), ("panic", Code::Internal)] {
        let packets: Vec<_> = host.run_stream(&context(), request(path)).await.unwrap().collect().await;
        assert!(matches!(packets[..], [Err(HostError::Call { code: got, .. })] if got == code), "{packets:?}");
    }

    let ticks = host.run_stream(&context(), request("ticks")).await.unwrap();
    let ticks = ticks.take(3).collect::<Vec<_>>().await;
    assert!(ticks.iter().all(Result::is_ok));
    common::metrics_say(&host, "echo_hanging_dropped_total 1\n").await;
    common::metrics_say(&host, "plugin_streams_running 0\n").await;
}

#[tokio::test]
async fn queries_of_a_request_run_at_the_same_time() {
    let host = echo().await;
    let queries: Vec<_> = (0..50).map(|number| query(&number.to_string(), json!({"kind": "hang"}))).collect();
    let context = context();
    tokio::select! {
        answer = host.query_data(&context, queries) => panic!("no answer was expected, got {answer:?}"),
        () = common::metrics_say(&host, "plugin_queries_running 50\n") => {}
        () = tokio::time::sleep(Duration::from_secs(10)) => panic!("the queries wait for each other"),
    }
}
