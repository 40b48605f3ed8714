//! A packet's way to a panel.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;

use grafana_plugin::{Field, Frame, FrameType};
use statline_harness::program::{self, eventually, python, repository};
use statline_harness::statlined::Options;
use statline_harness::{Statlined, plugin};

use crate::{PATIENCE, frames, graphite, numbers};

/// What a bot writes.
const BOT: &str = r#"
import asyncio, sys
from statline_client import AsyncStatsClient

async def main():
    stats = await AsyncStatsClient.create("127.0.0.1", int(sys.argv[1]), "bot")
    for _ in range(3):
        stats.incr("my_counter")
    await stats.close()
    assert not stats.dropped, stats.dropped

asyncio.run(main())
"#;

/// A daemon that flushes every second, on an empty store.
fn statlined() -> (Statlined, tempfile::TempDir) {
    let store = tempfile::tempdir().unwrap();
    (Statlined::start(&Options::new(store.path(), "1s")).unwrap(), store)
}

fn send(to: SocketAddr, packet: &str) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(packet.as_bytes(), to).unwrap();
}

fn total(field: &Field) -> f64 {
    numbers(field).into_iter().flatten().sum()
}

/// The only value of a series; flushes before and after have none.
fn only_value(frame: &Frame) -> f64 {
    let values: Vec<f64> = numbers(frame.field("value").unwrap()).into_iter().flatten().collect();
    *values.first().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bot_counts_in_python_is_a_value_in_a_frame() {
    let (statlined, _store) = statlined();
    let host = plugin::start(&[]).await.unwrap();
    let context = plugin::request_context(Some(&statlined), None);
    program::run(
        Command::new(python().unwrap())
            .args(["-c", BOT, &statlined.statsd().port().to_string()])
            .env("PYTHONPATH", repository().join("clients/python/src")),
    )
    .unwrap();

    let frame = eventually("the count in a frame", PATIENCE, async || {
        let mut frames = frames(&host, &context, graphite("stats_counts.bot.my_counter")).await;
        let frame = frames.pop()?;
        (total(frame.field("value")?) >= 3.0).then_some(frame)
    })
    .await
    .unwrap();
    let value = frame.field("value").unwrap();
    assert_eq!(total(value), 3.0);
    assert_eq!(value.labels.as_ref().unwrap()["name"], "stats_counts.bot.my_counter");
    assert_eq!(value.config.as_ref().unwrap().display_name_from_ds, "stats_counts.bot.my_counter");
    assert_eq!((frame.ref_id.as_str(), frame.meta.frame_type), ("A", Some(FrameType::TimeSeriesMulti)));
    assert_eq!(frame.meta.executed_query_string, "stats_counts.bot.my_counter");
    let counted = numbers(value).iter().position(|value| value.is_some_and(|value| value > 0.0)).unwrap();
    let at = frame.field("time").unwrap().time_ms_at(counted).unwrap();
    assert_eq!(at % 1000, 0, "points lie on the flush interval");

    // The rate of the same flush is a second's, unless the flush came late and closed more than one.
    let rates = frames(&host, &context, graphite("stats.bot.my_counter")).await;
    let rate = total(rates[0].field("value").unwrap());
    assert!([3.0, 1.5, 1.0].contains(&rate), "{rate}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_statsd_has_its_series() {
    let (statlined, _store) = statlined();
    let host = plugin::start(&[]).await.unwrap();
    let context = plugin::request_context(Some(&statlined), None);
    // One packet, so that all of it falls into one flush.
    send(
        statlined.statsd(),
        "bot.level:20|g\nbot.level:-3|g\nbot.time:100|ms\nbot.time:300|ms\nbot.time:200|ms\nbot.users:a|s\nbot.users:b|s\n\
         bot.users:a|s\nbot.sampled:2|c|@0.5\nbot.words:1|c|#channel:python\nnonsense\n",
    );
    let ready = async || {
        let frames = frames(&host, &context, graphite("stats.gauges.bot.level")).await;
        frames.first().is_some_and(|frame| frame.rows().unwrap() > 0).then_some(())
    };
    eventually("a flush", PATIENCE, ready).await.unwrap();
    for (target, value) in [
        ("stats.gauges.bot.level", 17.0),
        ("stats.timers.bot.time.count", 3.0),
        ("stats.timers.bot.time.mean", 200.0),
        ("stats.timers.bot.time.upper", 300.0),
        ("stats.timers.bot.time.lower", 100.0),
        ("stats.timers.bot.time.median", 200.0),
        ("stats.timers.bot.time.sum", 600.0),
        ("stats.timers.bot.time.upper_90", 300.0),
        ("stats.sets.bot.users.count", 2.0),
        ("stats_counts.bot.sampled", 4.0),
        ("seriesByTag('name=stats_counts.bot.words','channel=python')", 1.0),
        ("stats_counts.statsd.bad_lines_seen", 1.0),
    ] {
        let found = frames(&host, &context, graphite(target)).await;
        assert_eq!(found.len(), 1, "{target}");
        assert_eq!(only_value(&found[0]), value, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn series_of_one_grid_share_a_frame_and_keep_labels_and_legend() {
    let (statlined, _store) = statlined();
    let host = plugin::start(&[]).await.unwrap();
    let context = plugin::request_context(Some(&statlined), None);
    send(statlined.statsd(), "bot.words:1|c|#channel:python\nbot.words:2|c|#channel:rust\n");
    let target = "aliasByTags(seriesByTag('name=stats_counts.bot.words'), 'channel')";
    let frame = eventually("a flush", PATIENCE, async || {
        let mut frames = frames(&host, &context, graphite(target)).await;
        frames.pop().filter(|frame| frame.rows().unwrap() > 0)
    })
    .await
    .unwrap();
    assert_eq!(frame.meta.frame_type, Some(FrameType::TimeSeriesWide));
    let mut seen: Vec<(&str, &str, f64)> = frame.fields[1..]
        .iter()
        .map(|field| {
            let labels = field.labels.as_ref().unwrap();
            assert_eq!(labels["name"], "stats_counts.bot.words");
            let name = field.config.as_ref().unwrap().display_name_from_ds.as_str();
            (labels["channel"].as_str(), name, total(field))
        })
        .collect();
    seen.sort_by_key(|(channel, ..)| *channel);
    assert_eq!(seen, [("python", "python", 1.0), ("rust", "rust", 2.0)]);

    let summed = frames(&host, &context, graphite("alias(sumSeries(stats_counts.bot.*), 'all of it')")).await;
    assert!(summed.is_empty(), "tagged series are not found by path: {summed:?}");
    let nothing = frames(&host, &context, graphite("no.such.series")).await;
    assert!(nothing.is_empty());
}
