//! What happened, on its way to an annotation.

use std::net::UdpSocket;
use std::time::Duration;

use grafana_plugin::{DataQuery, Frame, FrameType};
use serde_json::{Value, json};
use statline_harness::program::eventually;
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http, plugin};

use crate::{PATIENCE, failure, frames, graphite, numbers};

fn events(query: &Value) -> DataQuery {
    let mut json = json!({ "refId": "A", "queryType": "events" });
    json.as_object_mut().unwrap().extend(query.as_object().unwrap().clone());
    plugin::data_query("A", &json, plugin::last(Duration::from_mins(10)))
}

fn texts(frame: &Frame, field: &str) -> Vec<String> {
    let field = frame.field(field).unwrap();
    (0..field.len()).map(|row| field.text(row).unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_and_a_service_check_are_rows_of_a_frame() {
    let store = tempfile::tempdir().unwrap();
    let statlined = Statlined::start(&Options::new(store.path(), "1s")).unwrap();
    let host = plugin::start(&[]).await.unwrap();
    let context = plugin::request_context(Some(&statlined), None);
    let range = plugin::last(Duration::from_mins(10));
    let (first, second) = (range.to_ms / 1000 - 120, range.to_ms / 1000 - 60);
    let packet = format!(
        "_e{{8,9}}:deployed|version 3|d:{first}|h:web1|t:success|#bot,env:live\n_sc|redis.up|2|d:{second}|h:db1|m:gone"
    );
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(packet.as_bytes(), statlined.statsd()).unwrap();

    let frame = eventually("the events in a frame", PATIENCE, async || {
        let frame = frames(&host, &context, events(&json!({}))).await.pop()?;
        (frame.rows().unwrap() == 2).then_some(frame)
    })
    .await
    .unwrap();
    assert_eq!((frame.ref_id.as_str(), frame.meta.frame_type), ("A", Some(FrameType::Table)));
    let times: Vec<_> = (0..2).map(|row| frame.field("time").unwrap().time_ms_at(row).unwrap()).collect();
    assert_eq!(times, [first * 1000, second * 1000]);
    assert_eq!(texts(&frame, "title"), ["deployed", "redis.up"]);
    assert_eq!(texts(&frame, "text"), ["version 3", "gone"]);
    assert_eq!(
        texts(&frame, "tags"),
        ["bot,env:live,alert_type:success,host:web1", "service_check,status:critical,alert_type:critical,host:db1"]
    );
    let ids = texts(&frame, "id");
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.parse::<u64>().is_ok()), "{ids:?}");

    for (query, titles) in [
        (json!({ "tags": ["bot"] }), &["deployed"][..]),
        (json!({ "tags": ["bot", "host:web1"] }), &["deployed"]),
        (json!({ "tags": ["bot", "host:db1"] }), &[]),
        (json!({ "tags": ["bot", "host:db1"], "matchAny": true }), &["deployed", "redis.up"]),
    ] {
        let found = frames(&host, &context, events(&query)).await;
        assert_eq!(texts(&found[0], "title"), titles, "{query}");
    }
    let before = plugin::data_query("A", &json!({ "queryType": "events" }), {
        let mut range = range;
        range.to_ms = first * 1000 - 1;
        range
    });
    assert_eq!(frames(&host, &context, before).await[0].rows().unwrap(), 0);

    let gauge = frames(&host, &context, graphite("stats.gauges.redis.up")).await;
    let value = numbers(gauge[0].field("value").unwrap()).into_iter().flatten().next();
    assert_eq!(value, Some(2.0), "the service check is a gauge, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_cut_says_so() {
    let store = tempfile::tempdir().unwrap();
    let options = Options::new(store.path(), "1s").set("query", "max_events", 2);
    let statlined = Statlined::start(&options).unwrap();
    let host = plugin::start(&[]).await.unwrap();
    let context = plugin::request_context(Some(&statlined), None);
    for what in ["one", "two", "three"] {
        let body = json!({ "what": what, "tags": ["x"] }).to_string();
        assert_eq!(http::ask(statlined.http(), "POST", "/events/", &[], &body).unwrap().status, 200);
    }
    for query in [json!({}), json!({ "tags": ["x", "y"], "matchAny": true })] {
        let frame = frames(&host, &context, events(&query)).await.remove(0);
        assert_eq!(frame.rows().unwrap(), 2);
        assert!(frame.meta.notices[0].text.contains("the newest 2 events are shown"), "{:?}", frame.meta.notices);
    }
    let many: Vec<String> = (0..65).map(|tag| tag.to_string()).collect();
    let (status, said) = failure(&host, &context, events(&json!({ "tags": many }))).await;
    assert_eq!((status, said.as_str()), (400, "the question has 65 tags, more than 64"));
}
