//! A week of history in the whole daemon: what panels show of it is the same whatever became of its points meanwhile.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use statline_harness::program::wait_until;
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http};

const PATIENCE: Duration = Duration::from_secs(60);
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const TARGETS: [&str; 6] = [
    "stats_counts.bot.*",
    "sumSeries(stats_counts.bot.*)",
    "stats.gauges.bot.level*",
    "summarize(stats_counts.bot.messages,'1h','sum')",
    "maxSeries(stats.timers.bot.request*.upper_90)",
    "movingAverage(stats.gauges.bot.level1,5)",
];

/// A point a minute of some counters, gauges and timers, for a week up to an hour before `now`.
fn history(now: u64) -> (String, u64) {
    let names: [(&str, u64); 7] = [
        ("stats_counts.bot.messages", 97),
        ("stats_counts.bot.errors", 3),
        ("stats_counts.bot.commands", 41),
        ("stats.gauges.bot.level1", 1000),
        ("stats.gauges.bot.level2", 7),
        ("stats.timers.bot.request1.upper_90", 350),
        ("stats.timers.bot.request2.upper_90", 500),
    ];
    let mut lines = String::new();
    let mut points = 0;
    for minute in 0..(7 * DAY - HOUR) / MINUTE {
        let at = now - 7 * DAY + minute * MINUTE;
        for (name, scale) in names {
            writeln!(lines, "{name} {} {at}", (minute * minute + scale) % scale + minute % 5).unwrap();
            points += 1;
        }
    }
    (lines, points)
}

/// All that panels over the week, a day, and six hours show.
fn panels(statlined: &Statlined, now: u64) -> Vec<String> {
    let mut answers = Vec::new();
    for (from, until) in
        [(now - 7 * DAY + HOUR, now - HOUR), (now - 3 * DAY, now - 2 * DAY), (now - 5 * HOUR, now - HOUR)]
    {
        for target in TARGETS {
            let path = format!("/render?target={target}&from={from}&until={until}&format=json");
            let answer = http::get(statlined.http(), &path).unwrap();
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert!(answer.body.len() > 100, "{target}: {}", answer.body);
            answers.push(answer.body);
        }
    }
    answers
}

#[test]
fn panels_are_the_same_before_and_after_rollups_and_restarts() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / MINUTE * MINUTE;
    let store = tempfile::tempdir().unwrap();
    // So little memory that most of the week becomes blocks at once, which are then old enough to be rolled up.
    let options = Options::new(store.path(), "10s").set("store", "head_memory", 1 << 20);
    let statlined = Statlined::start(&options).unwrap();
    let (lines, points) = history(now);
    TcpStream::connect(statlined.carbon()).unwrap().write_all(lines.as_bytes()).unwrap();
    let taken =
        || (http::figure(statlined.http(), "statline_carbon_points_total").ok()? >= points as f64).then_some(());
    wait_until("the week being stored", PATIENCE, taken).unwrap();
    let before = panels(&statlined, now);
    let rolled = || (http::figure(statlined.http(), "statline_store_rolled_blocks_total").ok()? > 10.0).then_some(());
    wait_until("blocks being rolled up", PATIENCE, rolled).unwrap();
    assert_eq!(panels(&statlined, now), before, "while blocks are rolled up");
    assert!(statlined.terminate().unwrap().success());

    let statlined = Statlined::start(&options).unwrap();
    assert_eq!(panels(&statlined, now), before, "after a stop");
    statlined.kill().unwrap();
    let statlined = Statlined::start(&options).unwrap();
    assert_eq!(panels(&statlined, now), before, "after a kill");
    assert!(statlined.terminate().unwrap().success());
}
