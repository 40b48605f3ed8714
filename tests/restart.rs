//! What a restart keeps: levels, totals, and an interval that it divides.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use statline_harness::program::wait_until;
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http};

/// The longest that anything may take which happens with the next flush.
const PATIENCE: Duration = Duration::from_secs(20);
const HOUR: i64 = 3600;

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn figure(statlined: &Statlined, name: &str) -> f64 {
    http::figure(statlined.http(), name).unwrap()
}

/// Sends packets, and waits until they have been counted.
fn send<T: AsRef<str>>(statlined: &Statlined, packets: impl IntoIterator<Item = T>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let before = figure(statlined, "statline_statsd_packets_total");
    let mut sent = 0.0;
    for packet in packets {
        socket.send_to(packet.as_ref().as_bytes(), statlined.statsd()).unwrap();
        sent += 1.0;
    }
    let received = || (figure(statlined, "statline_statsd_packets_total") == before + sent).then_some(());
    wait_until("the packets being received", PATIENCE, received).unwrap();
}

/// Waits for a flush of what has been received by now.
fn await_flush(statlined: &Statlined) {
    let sent = now();
    let flushed = || (figure(statlined, "statline_flush_last_timestamp_seconds") > sent).then_some(());
    wait_until("a flush", PATIENCE, flushed).unwrap();
}

/// The sum of a target's values around now.
fn total(statlined: &Statlined, target: &str) -> f64 {
    let points = http::points(statlined.http(), target, "from=-10min&until=%2B3h").unwrap();
    points.into_iter().map(|(_, _, value)| value).sum()
}

/// A series' newest value.
fn newest(statlined: &Statlined, target: &str) -> Option<f64> {
    let points = http::points(statlined.http(), target, "from=-10min&until=%2B10s").unwrap();
    points.into_iter().max_by_key(|(_, second, _)| *second).map(|(_, _, value)| value)
}

fn stop(statlined: Statlined) {
    assert!(statlined.terminate().unwrap().success());
}

fn errors(statlined: &Statlined) -> Vec<String> {
    statlined.log_lines().into_iter().filter(|line| line.contains(r#""level":"ERROR""#)).collect()
}

#[test]
fn a_gauge_keeps_its_level_over_a_stop_and_over_kill_9_and_goes_on_from_it() {
    let store = tempfile::tempdir().unwrap();
    let options = Options::new(store.path(), "1s");
    let mut statlined = Statlined::start(&options).unwrap();
    send(&statlined, ["level:10|g\nstill:3|g\nbelow:0|g\nbelow:-7|g", "tagged:4|g|#a:b"]);
    await_flush(&statlined);
    for (round, is_killed) in [(1.0, false), (2.0, true), (3.0, true), (4.0, false)] {
        if is_killed {
            statlined.kill().unwrap();
        } else {
            stop(statlined);
        }
        statlined = Statlined::start(&options).unwrap();
        await_flush(&statlined);
        let level = 10.0 + 5.0 * (round - 1.0);
        for (name, value) in
            [("level", level), ("still", 3.0), ("below", -7.0 - round + 1.0), ("seriesByTag('a=b')", 4.0)]
        {
            let target = if name.contains('(') { name.to_owned() } else { format!("stats.gauges.{name}") };
            assert_eq!(newest(&statlined, &target), Some(value), "{name} in round {round}");
        }
        send(&statlined, ["level:+5|g\nbelow:-1|g"]);
        await_flush(&statlined);
        assert_eq!(newest(&statlined, "stats.gauges.level"), Some(level + 5.0), "round {round}");
        assert_eq!(errors(&statlined), [""; 0]);
    }
}

/// What is sent in the parts of one interval.
fn packets(part: u32, second: i64) -> Vec<String> {
    vec![
        format!("c:{}|c\nsampled:1|c|@0.25\nc{part}:{part}|c", part + 1),
        format!("t:{part}:{}:40|ms\nw:{part}|ms|@0.5\nt{part}:1|ms", part * 7 + 1),
        format!("s:one|s\ns:member {part}|s"),
        format!("g:{}|g\nmoved:+{part}|g\nmoved:-1|g", 10 * part),
        format!("at:{}|c|T{second}\nlevel.at:{part}|g|T{second}", part + 2),
        format!("_e{{5,1}}:part{part}|x\nthis is no line"),
    ]
}

/// Every series that packets like these make, at the end of the hour; not what the server measures of itself.
fn flushed_for_hour(store: &Path, end: i64) -> Vec<(String, f64)> {
    let statlined = Statlined::start(&Options::new(store, "1h")).unwrap();
    let mut series = Vec::new();
    for target in [
        "stats.*",
        "stats_counts.*",
        "stats_counts.statsd.*",
        "stats.timers.*.*",
        "stats.sets.*.*",
        "stats.gauges.*",
        "stats.gauges.*.*",
    ] {
        let points =
            http::points(statlined.http(), target, &format!("from={}&until={}", end - 2 * HOUR, end + 2 * HOUR));
        for (name, second, value) in points.unwrap() {
            assert_eq!(second, end, "{name}");
            if name != "stats.gauges.statsd.timestamp_lag" {
                series.push((name, value));
            }
        }
    }
    series.sort_by(|left, right| left.0.cmp(&right.0));
    series
}

fn end_of_hour() -> i64 {
    (now() as i64 / HOUR + 1) * HOUR
}

#[test]
fn an_interval_that_stops_divide_is_flushed_as_if_there_had_been_none() {
    for stops in [1, 3] {
        // An hour ends seldom; when it does while this runs, it runs again.
        let (divided, whole, end) = loop {
            let end = end_of_hour();
            let (divided, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let in_one = Statlined::start(&Options::new(whole.path(), "1h")).unwrap();
            for part in 0..=stops {
                let statlined = Statlined::start(&Options::new(divided.path(), "1h")).unwrap();
                let packets = packets(part, end - HOUR + 1);
                send(&statlined, &packets);
                send(&in_one, &packets);
                stop(statlined);
            }
            stop(in_one);
            if end_of_hour() == end {
                break (divided, whole, end);
            }
        };
        let (divided, whole) = (flushed_for_hour(divided.path(), end), flushed_for_hour(whole.path(), end));
        let value = |name: &str| whole.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        let parts = f64::from(stops + 1);
        assert_eq!(value("stats_counts.statsd.packets_received"), Some(6.0 * parts));
        assert_eq!(value("stats_counts.statsd.bad_lines_seen"), Some(parts));
        assert_eq!(value("stats_counts.c"), Some((0..=stops).map(|part| f64::from(part + 1)).sum()));
        assert_eq!(value("stats.sets.s.count"), Some(1.0 + parts));
        assert_eq!(divided, whole, "{stops} stops");
    }
}

#[test]
fn what_a_flush_after_a_restart_in_its_interval_writes_is_one_interval() {
    let store = tempfile::tempdir().unwrap();
    let options = Options::new(store.path(), "5s");
    // On a slow machine a restart may take longer than an interval; then it is tried again.
    for attempt in 0..6 {
        let counter = format!("attempt{attempt}");
        let statlined = Statlined::start(&options).unwrap();
        let early = || (now() % 5.0 < 1.5).then_some(());
        wait_until("the beginning of an interval", PATIENCE, early).unwrap();
        send(&statlined, [format!("{counter}:3|c\n{counter}:1:2|ms\n{counter}:a|s")]);
        stop(statlined);
        let statlined = Statlined::start(&options).unwrap();
        let is_back = || statlined.log_lines().into_iter().find(|line| line.contains("goes_on"));
        let goes_on = wait_until("the state being back", PATIENCE, is_back).unwrap().contains(r#""goes_on":true"#);
        send(&statlined, [format!("{counter}:4|c\n{counter}:3|ms\n{counter}:b|s")]);
        await_flush(&statlined);
        assert_eq!(total(&statlined, &format!("stats_counts.{counter}")), 7.0, "no count is lost in any case");
        let counts =
            http::points(statlined.http(), &format!("stats_counts.{counter}"), "from=-1min&until=%2B10s").unwrap();
        let is_divided = counts.iter().filter(|(_, _, value)| *value > 0.0).count() == 2;
        if !goes_on || is_divided && now() % 5.0 < 1.5 {
            stop(statlined);
            continue;
        }
        let end = counts.iter().find(|(_, _, value)| *value > 0.0).unwrap().1;
        let range = format!("from={}&until={end}", end - 1);
        for (series, value) in [
            (format!("stats_counts.{counter}"), 7.0),
            (format!("stats.{counter}"), 7.0 / 5.0),
            (format!("stats.timers.{counter}.count"), 3.0),
            (format!("stats.timers.{counter}.median"), 2.0),
            (format!("stats.sets.{counter}.count"), 2.0),
        ] {
            let points = http::points(statlined.http(), &series, &range).unwrap();
            assert_eq!(points.iter().map(|(_, _, value)| *value).collect::<Vec<_>>(), [value], "{series}");
        }
        return;
    }
    panic!("no restart was within an interval of 5 s");
}

#[test]
fn what_was_flushed_at_a_stop_survives_a_death_in_the_same_interval() {
    loop {
        let end = end_of_hour();
        let store = tempfile::tempdir().unwrap();
        let options = Options::new(store.path(), "1h");
        let statlined = Statlined::start(&options).unwrap();
        send(&statlined, ["c:1|c\nlevel:5|g"]);
        stop(statlined);
        let statlined = Statlined::start(&options).unwrap();
        send(&statlined, ["c:2|c"]);
        statlined.kill().unwrap();
        let statlined = Statlined::start(&options).unwrap();
        assert_eq!(total(&statlined, "stats_counts.c"), 1.0);
        send(&statlined, ["c:4|c\nlevel:+2|g"]);
        stop(statlined);
        let statlined = Statlined::start(&options).unwrap();
        if end_of_hour() != end {
            continue;
        }
        assert_eq!(total(&statlined, "stats_counts.c"), 5.0, "only the open interval of the death is lost");
        let levels = http::points(statlined.http(), "stats.gauges.level", "from=-1min&until=%2B3h").unwrap();
        assert_eq!(levels.last().map(|(_, _, value)| *value), Some(7.0));
        return;
    }
}

#[test]
fn a_mapped_counter_grows_on_over_restarts() {
    let store = tempfile::tempdir().unwrap();
    let rules = store.path().join("mapping.yml");
    fs::write(&rules, "mappings:\n- {match: bot.*.calls, name: bot_calls, labels: {command: $1}}\n").unwrap();
    let options = Options::new(&store.path().join("store"), "1s").set("mapping", "file", rules.display());
    let series = r#"bot_calls{command="help"}"#;
    let mut expected = 0.0;
    for round in 1..=3 {
        let statlined = Statlined::start(&options).unwrap();
        let shown = || (figure(&statlined, series) == expected).then_some(());
        wait_until(&format!("{series} {expected} in round {round}"), PATIENCE, shown).unwrap();
        expected += 3.0;
        send(&statlined, ["bot.help.calls:3|c"]);
        wait_until(&format!("{series} {expected}"), PATIENCE, || {
            (figure(&statlined, series) == expected).then_some(())
        })
        .unwrap();
        // What the stop flushes is part of the total, too, and once.
        expected += 4.0;
        send(&statlined, ["bot.help.calls:4|c"]);
        stop(statlined);
    }
    let statlined = Statlined::start(&options).unwrap();
    wait_until("the total", PATIENCE, || (figure(&statlined, series) == expected).then_some(())).unwrap();
    await_flush(&statlined);
    assert_eq!(figure(&statlined, series), expected, "a flush of nothing adds nothing");
    let stored = http::points(statlined.http(), "seriesByTag('name=bot_calls')", "from=-1min&until=%2B10s").unwrap();
    let values: Vec<f64> = stored.iter().map(|(_, _, value)| *value).collect();
    assert_eq!(values.last(), Some(&expected), "{values:?}");
    assert!(values.is_sorted(), "{values:?}");
}

#[test]
fn kill_9_under_traffic_loses_the_open_interval_at_most() {
    let store = tempfile::tempdir().unwrap();
    let options = Options::new(store.path(), "1s");
    let (mut least, mut sent) = (0.0, 0);
    for round in 1..=3 {
        let statlined = Statlined::start(&options).unwrap();
        let before = total(&statlined, "stats_counts.traffic");
        assert!(before >= least && before <= sent as f64, "round {round}: {before} of {least} to {sent}");
        assert_eq!(figure(&statlined, "statline_store_corrupt_records_total"), 0.0);
        assert_eq!(figure(&statlined, "statline_store_corrupt_chunks_total"), 0.0);
        assert_eq!(errors(&statlined), [""; 0], "round {round}");
        let (count, stopped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, stopper, statsd) = (Arc::clone(&count), Arc::clone(&stopped), statlined.statsd());
        let traffic = std::thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            while !stopper.load(Ordering::Acquire) {
                counter.fetch_add(u64::from(socket.send_to(b"traffic:1|c", statsd).is_ok()), Ordering::Release);
                std::thread::sleep(Duration::from_micros(500));
            }
        });
        wait_until("traffic", PATIENCE, || (figure(&statlined, "statline_statsd_samples_total") > 100.0).then_some(()))
            .unwrap();
        let received = figure(&statlined, "statline_statsd_samples_total");
        await_flush(&statlined);
        statlined.kill().unwrap();
        stopped.store(true, Ordering::Release);
        traffic.join().unwrap();
        least = before + received;
        sent += count.load(Ordering::Acquire);
    }
    let statlined = Statlined::start(&options).unwrap();
    let counted = total(&statlined, "stats_counts.traffic");
    println!("{counted} counted of {sent}, of which {least} were in flushes that had been reported");
    assert!(counted >= least && counted <= sent as f64);
}

/// The errors in the log, as soon as there are any.
fn told(statlined: &Statlined) -> Vec<String> {
    let told = || Some(errors(statlined)).filter(|errors| !errors.is_empty());
    wait_until("an error in the log", PATIENCE, told).unwrap()
}

#[test]
fn a_damaged_state_is_told_and_does_not_keep_the_daemon_from_starting() {
    let store = tempfile::tempdir().unwrap();
    let options = Options::new(store.path(), "1s");
    let file = store.path().join("statsd.state");
    let statlined = Statlined::start(&options).unwrap();
    send(&statlined, ["level:10|g"]);
    await_flush(&statlined);
    stop(statlined);
    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for damaged in [flipped, good[..good.len() - 1].to_vec(), Vec::new(), vec![0xff; 100_000]] {
        fs::write(&file, &damaged).unwrap();
        let statlined = Statlined::start(&options).unwrap();
        let told = told(&statlined);
        assert!(told.len() == 1 && told[0].contains("statsd.state") && told[0].contains("damaged"), "{told:?}");
        await_flush(&statlined);
        assert_eq!(newest(&statlined, "stats.gauges.level"), Some(10.0), "the store knows it");
        stop(statlined);
    }
    // A stop that could not write it down is told, too, and the points of the interval are stored.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let statlined = Statlined::start(&options).unwrap();
    assert!(told(&statlined)[0].contains("statsd.state"), "{:?}", errors(&statlined));
    send(&statlined, ["last:1|c"]);
    stop(statlined);
    fs::remove_dir(&file).unwrap();
    assert_eq!(total(&Statlined::start(&options).unwrap(), "stats_counts.last"), 1.0);
}
