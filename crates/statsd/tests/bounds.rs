//! Samples that no client should send: what they cost, and what becomes of them.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::fmt::Write;

use statline_series::{Batch, Step, Timestamp};
use statline_statsd::{Arrival, FlushConfig, Grammar, Lane, Limits, PacketCounts, Parser, Reason, SelfFigures, State};

const END: Timestamp = Timestamp::from_seconds(1_700_000_010);
const STEP: Step = Step::SECOND;

/// The most memory that all tests of this file together may have taken, in bytes. The members of one set
/// alone would be more, were they all kept.
const MOST_MEMORY: u64 = 40 << 20;

struct Server {
    state: State,
    lane: Lane,
    parser: Parser,
    arrived: u64,
    reasons: Vec<Reason>,
}

impl Server {
    fn new(config: FlushConfig, limits: &Limits) -> Self {
        let (state, parser) = (State::new(config, limits).unwrap(), Parser::new(limits, Grammar::default()));
        Self { state, lane: Lane::new(limits.clone()), parser, arrived: 0, reasons: Vec::new() }
    }

    fn receive(&mut self, packet: &str) -> PacketCounts {
        self.arrived += 1;
        let table = self.lane.table();
        let mut table = table.lock().unwrap();
        let reasons = &mut self.reasons;
        table.receive(&mut self.parser, packet.as_bytes(), Arrival::at(self.arrived), |refusal| {
            reasons.push(refusal.reason);
        })
    }

    fn flush(&mut self) -> Batch {
        self.state.absorb(&mut self.lane);
        self.state.flush(STEP, END, &SelfFigures::default())
    }
}

fn value(batch: &Batch, name: &str) -> f64 {
    batch.rows.iter().find(|row| row.key.as_str() == name).map_or_else(|| panic!("no {name}"), |row| row.point.value)
}

/// The most memory that this process has ever had.
fn assert_memory_is_bounded() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let bytes = line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10;
    assert!(bytes < MOST_MEMORY, "{bytes} bytes");
}

#[test]
fn a_sample_of_a_tiny_rate_costs_what_any_other_does() {
    for weighted_timers in [false, true] {
        let config = FlushConfig { weighted_timers, ..FlushConfig::default() };
        let mut server = Server::new(config, &Limits::default());
        server.receive("c:1|c|@0.000001\nt:5|ms|@0.000001\nt:7|ms|@0.000001");
        // The weight of the smallest rate that a double has is past the largest double.
        server.receive("tiny:1|c|@1e-308\ntiny:1e308|c|@1e-308\nu:1|ms|@1e-308\nu:1|ms|@1e-308\nzero:1|c|@1e-999");
        let batch = server.flush();
        assert!((value(&batch, "stats_counts.c") - 1e6).abs() < 1e-3);
        assert!((value(&batch, "stats.timers.t.count") - 2e6).abs() < 1e-3);
        assert_eq!(value(&batch, "stats.timers.t.median"), 6.0);
        assert_eq!(value(&batch, "stats_counts.tiny"), f64::MAX);
        assert!(value(&batch, "stats.timers.u.count").is_finite());
        assert!(batch.rows.iter().all(|row| row.point.value.is_finite()), "{:?}", batch.rows);
        let weights: Vec<f64> = batch.sketches.iter().map(|row| row.sketch.count()).collect();
        assert!(weights.iter().all(|weight| weight.is_finite()), "{weights:?}");
        assert_eq!(server.reasons.len(), 1, "{:?}", server.reasons);
    }
    assert_memory_is_bounded();
}

#[test]
fn values_at_the_end_of_the_range_stay_numbers() {
    for weighted_timers in [false, true] {
        for timer_samples in [10_000, 2] {
            let config =
                FlushConfig { weighted_timers, percent_thresholds: vec![90.0, -90.0, 50.0], ..FlushConfig::default() };
            let mut server = Server::new(config, &Limits { timer_samples, ..Limits::default() });
            for sign in ["", "-"] {
                for _ in 0..10 {
                    server.receive(&format!(
                        "t{sign}:1e308|ms|@0.1\nc{sign}:{sign}1e308|c|@0.1\ng{sign}:{sign}1e308|g\n\
                         g{sign}:{}1e308|g\nboth:1e308|ms\nboth:{sign}1e308|c\nat{sign}:{sign}1e308|c|T1700000000",
                        if sign.is_empty() { "+" } else { "-" },
                    ));
                }
            }
            let batch = server.flush();
            assert!(batch.rows.iter().all(|row| row.point.value.is_finite()), "{:?}", batch.rows);
            for (name, expected) in [
                ("stats_counts.c", f64::MAX),
                ("stats_counts.c-", f64::MIN),
                ("stats.gauges.g", f64::MAX),
                ("stats.gauges.g-", f64::MIN),
                ("stats.timers.t.upper", 1e308),
                ("stats.timers.t.sum", f64::MAX),
                ("stats.timers.t.count", 100.0),
                ("stats_counts.at", f64::MAX),
            ] {
                let got = value(&batch, name);
                assert!((got / expected - 1.0).abs() < 0.02, "{name}: {got} is not {expected}");
            }
        }
    }
    assert_memory_is_bounded();
}

#[test]
fn a_million_members_of_a_set_are_estimated() {
    let mut server = Server::new(FlushConfig::default(), &Limits::default());
    let mut packet = String::new();
    for thousand in 0..1000 {
        packet.clear();
        for member in 0..1000 {
            writeln!(packet, "users:user-{thousand}-{member}|s").unwrap();
        }
        assert_eq!(server.receive(&packet).samples, 1000);
    }
    let batch = server.flush();
    let members = value(&batch, "stats.sets.users.count");
    assert!((members / 1e6 - 1.0).abs() < 0.05, "{members}");
    assert_eq!(value(&server.flush(), "stats.sets.users.count"), 0.0);
    assert_memory_is_bounded();
}

#[test]
fn a_million_samples_of_a_timer_are_summed_up() {
    let mut server = Server::new(FlushConfig::default(), &Limits::default());
    let mut packet = String::new();
    for thousand in 0..1000 {
        packet.clear();
        for sample in 0..1000 {
            writeln!(packet, "t:{}|ms", thousand * 1000 + sample + 1).unwrap();
        }
        assert_eq!(server.receive(&packet).samples, 1000);
    }
    let batch = server.flush();
    for (name, expected, error) in [
        ("count", 1e6, 0.0),
        ("sum", 500_000_500_000.0, 1e-9),
        ("mean", 500_000.5, 1e-9),
        ("upper", 1e6, 0.02),
        ("lower", 1.0, 0.02),
        ("upper_90", 900_000.0, 0.02),
        ("median", 500_000.0, 0.02),
    ] {
        let got = value(&batch, &format!("stats.timers.t.{name}"));
        assert!((got / expected - 1.0).abs() <= error, "{name}: {got} is not {expected}");
    }
    assert_memory_is_bounded();
}

#[test]
fn what_many_timers_and_sets_hold_together_is_bounded_interval_after_interval() {
    let limits = Limits { timer_samples_total: 10_000, set_bytes_total: 1 << 17, ..Limits::default() };
    let mut server = Server::new(FlushConfig::default(), &limits);
    let mut packet = String::new();
    for interval in 0..3 {
        for round in 0..40 {
            packet.clear();
            for series in 0..500 {
                writeln!(packet, "t{interval}.{series}:{round}.5:{round}:7|ms|@0.5").unwrap();
                writeln!(packet, "s{interval}.{series}:a member of some length {round}|s").unwrap();
            }
            assert_eq!(server.receive(&packet).samples, 2000);
        }
        let batch = server.flush();
        assert_eq!(value(&batch, &format!("stats.timers.t{interval}.7.count")), 240.0);
        let members = value(&batch, &format!("stats.sets.s{interval}.7.count"));
        assert!((members - 40.0).abs() < 3.0, "{members}");
    }
    assert_memory_is_bounded();
}

#[test]
fn events_and_values_at_instants_are_bounded_however_often_the_open_interval_is_looked_at() {
    let limits = Limits { events: 100, timed: 100, ..Limits::default() };
    let mut server = Server::new(FlushConfig::default(), &limits);
    for look in 0..100 {
        for number in 0..200 {
            server.receive(&format!(
                "_e{{5,1000}}:title|{}\na:1|c|T{}",
                "x".repeat(1000),
                1_600_000_000 + look * 200 + number
            ));
        }
        server.state.peek(&mut server.lane);
    }
    let batch = server.flush();
    assert!(batch.events.len() <= 100, "{} events", batch.events.len());
    assert!(batch.rows.iter().filter(|row| row.key.as_str() == "stats_counts.a").count() <= 100);
    assert_memory_is_bounded();
}

#[test]
fn samples_are_bounded_however_often_the_open_interval_is_looked_at() {
    // Each look leaves the thread's table empty; what the state has gathered is what must stay within the limit.
    let limits = Limits { timer_samples_total: 10_000, set_bytes_total: 100_000, ..Limits::default() };
    let mut server = Server::new(FlushConfig::default(), &limits);
    let mut packet = String::new();
    for look in 0..40 {
        packet.clear();
        for series in 0..50 {
            writeln!(packet, "t{series}{}|ms", format_args!(":{look}").to_string().repeat(200)).unwrap();
            for member in 0..40 {
                writeln!(packet, "s{series}:{look}.{member}.{}|s", "x".repeat(40)).unwrap();
            }
        }
        server.receive(&packet);
        server.state.peek(&mut server.lane);
    }
    // A snapshot holds every sample and every member that is kept.
    let kept = server.state.snapshot(END).unwrap().len();
    println!("{kept} bytes are kept");
    assert!(
        kept < 2_000_000,
        "{kept} bytes are kept of an interval that may hold {} samples",
        limits.timer_samples_total
    );
}

#[test]
fn every_sample_of_a_series_that_there_is_no_room_for_is_counted_and_blamed() {
    let limits = Limits { series: 10, ..Limits::default() };
    let mut server = Server::new(FlushConfig::default(), &limits);
    let mut refused = 0;
    for interval in 0..4 {
        let packet: String = (0..20).map(|name| format!("attack.pod.i{interval}n{name}:1|c\n").repeat(3)).collect();
        refused += server.receive(&packet).limited;
        refused += server.state.absorb(&mut server.lane);
        server.state.flush(STEP, END, &SelfFigures::default());
    }
    // Of four times 60 samples, 30 have found room.
    assert_eq!(refused, 4 * 60 - 30);
    let blamed = server.state.offenders(1).remove(0);
    assert_eq!((blamed.prefix.as_str(), blamed.refused), ("attack.pod", 4 * 60 - 30));
}

#[test]
fn of_levels_at_instants_of_one_interval_the_newest_stays() {
    let config = FlushConfig { step: Step::from_seconds(10).unwrap(), ..FlushConfig::default() };
    let mut server = Server::new(config, &Limits::default());
    for series in 0..20 {
        server.receive(&format!("g{series}:1|g|T1700000001\ng{series}:2|g|T1700000002\ng{series}:3|g|T1700000003"));
    }
    let batch = server.flush();
    for series in 0..20 {
        assert_eq!(value(&batch, &format!("stats.gauges.g{series}")), 3.0, "g{series}");
    }
}
