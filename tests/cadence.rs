//! The crate `cadence`, as a Rust service speaks it: what it meant arrives, over UDP and over a unix socket.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cadence::prelude::*;
use cadence::{BufferedUdpMetricSink, BufferedUnixMetricSink, MetricSink, StatsdClient, UdpMetricSink};
use statline_harness::program::wait_until;
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http};

/// The longest that what was sent may take to be readable.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far back the instants lie that a client gives, in seconds.
const PAST_SECONDS: u64 = 120;

/// A series of a flush, and how its points of several flushes are put together.
type Together = (&'static str, &'static str, fn(f64, f64) -> f64);

const TOGETHER: [Together; 5] = [
    ("stats_counts.", "", |before, more| before + more),
    ("stats.gauges.", "", |_, last| last),
    ("stats.sets.", ".count", f64::max),
    ("stats.timers.", ".count", |before, more| before + more),
    ("stats.timers.", ".sum", |before, more| before + more),
];

struct Server {
    statlined: Statlined,
    directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("dsd.socket");
        let options =
            Options::new(&directory.path().join("store"), "1s").set("statsd", "unix_datagram", socket.display());
        Self { statlined: Statlined::start(&options).unwrap(), directory }
    }

    /// What was sent under a prefix, once `series` of it have been flushed.
    fn arrived(&self, prefix: &str, series: usize) -> BTreeMap<String, f64> {
        let target = format!("seriesByTag('name=~.*[.]{prefix}[.].*')");
        wait_until("the flush of what was sent", PATIENCE, || {
            let until = now() + 1;
            let form =
                format!("target={target}&from={}&until={until}&format=json&noNullPoints=1", until - PAST_SECONDS);
            let answer = http::post_form(self.statlined.http(), "/render", &form).unwrap().json();
            let found: BTreeMap<String, f64> = answer.as_array().unwrap().iter().filter_map(together).collect();
            (found.len() >= series).then_some(found)
        })
        .unwrap()
    }

    fn refusals(&self) -> String {
        http::get(self.statlined.http(), "/statsd/refusals").unwrap().body
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn together(series: &serde_json::Value) -> Option<(String, f64)> {
    let name = series["target"].as_str()?;
    let path = name.split(';').next()?;
    let (_, _, combine) = TOGETHER.iter().find(|(start, end, _)| path.starts_with(start) && path.ends_with(end))?;
    let points = series["datapoints"].as_array()?.iter().filter_map(|point| point[0].as_f64());
    Some((name.to_owned(), points.reduce(combine)?))
}

fn send_everything(prefix: &str, sink: impl MetricSink + Send + Sync + std::panic::RefUnwindSafe + 'static) {
    let client = StatsdClient::builder(prefix, sink)
        .with_tag("site", "berlin")
        .with_container_id("ci-0123456789abcdef")
        .with_error_handler(|error| panic!("{error}"))
        .build();
    client.count_with_tags("hits", 3).with_tag("page", "home").send();
    client.count_with_tags("hits", 4).with_tag("page", "home").with_sampling_rate(0.5).send();
    client.decr("plain").unwrap();
    client.count_with_tags("earlier", 6).with_timestamp(now() - 30).send();
    client.gauge("level", 21.5).unwrap();
    client.time("query", Duration::from_millis(320)).unwrap();
    client.time("packed", vec![10_u64, 20, 30]).unwrap();
    client.histogram("size", vec![1.5, 2.5]).unwrap();
    client.distribution("latency", 7_u64).unwrap();
    client.meter("requests", 2).unwrap();
    client.set("users", 1).unwrap();
    client.set("users", -5).unwrap();
    client.flush().unwrap();
}

fn everything(prefix: &str) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::from([
        // A sampled call is not always sent; it weighs 8 when it is.
        (format!("stats_counts.{prefix}.hits;page=home;site=berlin"), 3.0),
        (format!("stats_counts.{prefix}.plain;site=berlin"), -1.0),
        (format!("stats_counts.{prefix}.earlier;site=berlin"), 6.0),
        (format!("stats_counts.{prefix}.requests;site=berlin"), 2.0),
        (format!("stats.gauges.{prefix}.level;site=berlin"), 21.5),
        (format!("stats.sets.{prefix}.users.count;site=berlin"), 2.0),
    ]);
    for (leaf, count, sum) in [("query", 1.0, 320.0), ("packed", 3.0, 60.0), ("size", 2.0, 4.0), ("latency", 1.0, 7.0)]
    {
        all.insert(format!("stats.timers.{prefix}.{leaf}.count;site=berlin"), count);
        all.insert(format!("stats.timers.{prefix}.{leaf}.sum;site=berlin"), sum);
    }
    all
}

#[test]
fn every_call_arrives_as_it_was_meant() {
    let server = Server::start();
    let statsd = server.statlined.statsd();
    let udp = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let unix =
        BufferedUnixMetricSink::from(server.directory.path().join("dsd.socket"), UnixDatagram::unbound().unwrap());
    send_everything("single", UdpMetricSink::from(statsd, udp()).unwrap());
    send_everything("buffered", BufferedUdpMetricSink::from(statsd, udp()).unwrap());
    send_everything("unix", unix);
    for prefix in ["single", "buffered", "unix"] {
        let expected = everything(prefix);
        let mut arrived = server.arrived(prefix, expected.len());
        let sampled = arrived.get_mut(&format!("stats_counts.{prefix}.hits;page=home;site=berlin")).unwrap();
        *sampled -= if *sampled > 3.0 { 8.0 } else { 0.0 };
        assert_eq!(arrived, expected);
    }
    assert_eq!(server.refusals(), "");
}
