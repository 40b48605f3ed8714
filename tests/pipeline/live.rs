//! Panels that are live, and the plugin's own metrics.

use std::net::UdpSocket;

use futures::StreamExt;
use grafana_plugin::{StreamRequest, StreamStatus};
use serde_json::{Value, json};
use statline_harness::statlined::Options;
use statline_harness::{Statlined, plugin};

use crate::{PATIENCE, failure, frames, graphite};

fn channel(path: &str, data: &Value) -> StreamRequest {
    StreamRequest { path: path.to_owned(), data: data.to_string().into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_panel_gets_a_frame_with_each_flush() {
    let store = tempfile::tempdir().unwrap();
    let statlined = Statlined::start(&Options::new(store.path(), "1s")).unwrap();
    let host = plugin::start(&[]).await.unwrap();
    let context = plugin::request_context(Some(&statlined), None);
    let target = channel("graphite/level", &json!({ "target": "stats.gauges.bot.level" }));
    let reply = host.subscribe_stream(&context, target.clone()).await.unwrap();
    assert_eq!(reply.status, StreamStatus::Ok);
    let mut packets = host.run_stream(&context, target).await.unwrap();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"bot.level:42|g", statlined.statsd()).unwrap();

    let mut times = Vec::new();
    for _ in 0..2 {
        let packet = tokio::time::timeout(PATIENCE, packets.next()).await.unwrap().unwrap().unwrap();
        let frame: Value = serde_json::from_slice(&packet).unwrap();
        assert_eq!(frame["schema"]["fields"][1]["config"]["displayNameFromDS"], "stats.gauges.bot.level", "{frame}");
        assert_eq!(frame["data"]["values"][1], json!([42.0]), "{frame}");
        times.push(frame["data"]["values"][0][0].as_i64().unwrap());
    }
    assert!(times[1] > times[0] && (times[1] - times[0]) % 1000 == 0, "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_none_is_not_found() {
    let store = tempfile::tempdir().unwrap();
    let statlined = Statlined::start(&Options::new(store.path(), "1s")).unwrap();
    let host = plugin::start(&[]).await.unwrap();
    let context = plugin::request_context(Some(&statlined), None);
    for (path, data) in [("other/x", json!({ "target": "a" })), ("graphite/x", json!({})), ("graphite/x", json!(5))] {
        let reply = host.subscribe_stream(&context, channel(path, &data)).await.unwrap();
        assert_eq!(reply.status, StreamStatus::NotFound, "{path} {data}");
    }
    let bad = channel("graphite/x", &json!({ "target": "sumSeries(" }));
    let ended = match host.run_stream(&context, bad).await {
        Ok(mut packets) => tokio::time::timeout(PATIENCE, packets.next()).await.unwrap().unwrap().unwrap_err(),
        Err(error) => error,
    };
    assert!(ended.to_string().contains("at character 11: found the end"), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plugin_counts_its_queries() {
    let store = tempfile::tempdir().unwrap();
    let statlined = Statlined::start(&Options::new(store.path(), "1s")).unwrap();
    let host = plugin::start(&[]).await.unwrap();
    let context = plugin::request_context(Some(&statlined), None);
    frames(&host, &context, graphite("no.such.series")).await;
    failure(&host, &context, graphite("nonsense(")).await;
    let metrics = host.collect_metrics(plugin::PLUGIN_ID).await.unwrap();
    for line in [
        "statline_plugin_queries_total{language=\"graphite\",status=\"200\"} 1",
        "statline_plugin_queries_total{language=\"graphite\",status=\"400\"} 1",
        "plugin_queries_total{outcome=\"ok\"} 1",
        "plugin_queries_total{outcome=\"downstream_error\"} 1",
        "plugin_panics_total 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
    }
    assert!(metrics.contains("statline_plugin_query_duration_seconds"), "{metrics}");
}
