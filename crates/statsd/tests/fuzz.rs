//! Anything that may arrive, through the crate's public ways: no panic, and no more memory than the limits allow.
//!
//! `make fuzz` runs these with many more cases, for as long as one likes.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use statline_series::{Batch, Step, Timestamp};
use statline_statsd::mapping::{Format, MetricType, Rules};
use statline_statsd::{
    Arrival, FlushConfig, Grammar, Lane, Limits, PacketCounts, Parser, SelfFigures, State, TagStyles,
};

const END: Timestamp = Timestamp::from_seconds(1_700_000_010);

/// So little that nearly every case reaches one of them.
fn limits() -> Limits {
    Limits {
        series: 12,
        series_per_prefix: 5,
        prefix_parts: 1,
        key_bytes: 48,
        tags: 3,
        timer_samples: 5,
        timer_samples_total: 12,
        set_members: 4,
        set_member_bytes: 16,
        set_bytes_total: 40,
        timed: 4,
        events: 3,
    }
}

/// The series of the server's own that a state has beside those of its clients.
const OWN_SERIES: usize = 8;

/// A piece of a packet: what lines are made of, what they must not hold, and what nobody thinks of.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let text = |text: &'static str| Just(text.as_bytes().to_vec());
    prop_oneof![
        6 => "[a-d]{1,2}(\\.[a-c])?".prop_map(String::into_bytes),
        6 => prop_oneof![
            text(":"), text("|"), text("|c"), text("|g"), text("|ms"), text("|s"), text("|h"), text("|d"), text("|m"),
            text(":1|c\n"), text(":-3|g\n"), text(":+2|g\n"), text(":7|ms\n"), text(":bob|s\n"), text(":1:2:3|ms"),
        ],
        3 => prop_oneof![
            text("@0.1"), text("|@"), text("|#"), text("|#a:b,c"), text("|T1700000003"), text("|T-1"), text("|c:ci-1"),
            text("|e:x"), text("|card:low"), text(";t=v"), text(",t=v"), text("#t=v"), text("[t=v]"), text(";"), text("="),
        ],
        4 => prop_oneof![Just(b"\n".to_vec()), Just(b"\n".to_vec()), text("\r\n"), text("\n\n"), text(" ")],
        3 => prop_oneof![
            any::<f64>().prop_map(|number| number.to_string().into_bytes()),
            any::<i64>().prop_map(|number| number.to_string().into_bytes()),
            text("1e308"), text("-1e308"), text("1e-320"), text("Infinity"), text("NaN"), text("0x1f"), text("+"),
            text("@0.000000000000000001"), text("99999999999999999999999999999999"),
        ],
        2 => prop_oneof![
            text("_e{1,1}:a|b"), text("_e{4,0}:"), text("_e{999999,999999}:"), text("_e{"), text("_sc|up|0"), text("_sc|"),
            text("__proto__"), text("statsd.packets_received"), text("\u{fc}\u{10ffff}"),
        ],
        1 => proptest::collection::vec(any::<u8>(), 0..12),
        1 => (any::<u8>(), 40..300_usize).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

fn packet() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(piece(), 0..60).prop_map(|pieces| pieces.concat())
}

/// Packets by interval.
fn intervals() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    proptest::collection::vec(proptest::collection::vec(packet(), 0..4), 1..4)
}

fn grammar() -> impl Strategy<Value = Grammar> {
    any::<[bool; 5]>().prop_map(|[graphite, influx, librato, signalfx, gauge_deltas]| Grammar {
        tags: TagStyles { graphite, influxdb: influx, librato, signalfx, ..TagStyles::default() },
        gauge_deltas,
    })
}

fn config() -> impl Strategy<Value = FlushConfig> {
    any::<[bool; 4]>().prop_map(|[legacy_namespace, forgets, weighted_timers, expires]| {
        let config = FlushConfig {
            legacy_namespace,
            weighted_timers,
            percent_thresholds: vec![90.0, -10.0],
            idle_flushes: u32::from(expires),
            step: Step::from_seconds(10).unwrap(),
            ..FlushConfig::default()
        };
        if forgets { config.with_delete_idle() } else { config }
    })
}

/// A server without sockets.
struct Server {
    state: State,
    lane: Lane,
    parser: Parser,
    arrived: u64,
    flushed_at: Timestamp,
}

impl Server {
    fn new(config: FlushConfig, grammar: Grammar) -> Self {
        let state = State::new(config, &limits()).unwrap();
        let parser = Parser::new(&limits(), grammar);
        Self { state, lane: Lane::new(limits()), parser, arrived: 0, flushed_at: END }
    }

    /// Takes a packet, whose counts must be those of what was told.
    fn receive(&mut self, packet: &[u8]) -> Result<PacketCounts, TestCaseError> {
        self.arrived += 1;
        let mut refusals = Vec::new();
        let table = self.lane.table();
        let mut table = table.lock().unwrap();
        let arrival = Arrival { timestamp: END, ..Arrival::at(self.arrived) };
        let counts = table.receive(&mut self.parser, packet, arrival, |refusal| refusals.push(refusal));
        let lines = packet.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
        prop_assert_eq!(counts.lines, lines as u64);
        prop_assert_eq!(counts.bad + counts.limited, refusals.len() as u64);
        prop_assert!(refusals.iter().all(|refusal| refusal.offset <= packet.len()), "{:?}", refusals);
        prop_assert!(refusals.iter().all(|refusal| !refusal.to_string().contains(['\n', '\r'])), "{:?}", refusals);
        prop_assert!(table.series() <= limits().series);
        // Names, places and cells, each in memory that is twice what it needs and more; none of it grows with packets.
        let most = 4096 + limits().series * 4 * (limits().key_bytes + 64);
        prop_assert!(table.bytes() <= most, "{} bytes", table.bytes());
        Ok(counts)
    }

    fn flush(&mut self) -> Result<Batch, TestCaseError> {
        self.state.absorb(&mut self.lane);
        self.flushed_at = self.flushed_at.offset(10_000);
        let figures =
            SelfFigures { packets_received: self.arrived, timestamp_lag: Some(0.0), ..SelfFigures::default() };
        self.state.note(&figures);
        let batch = self.state.flush(Step::from_seconds(10).unwrap(), self.flushed_at, &figures);
        prop_assert!(self.state.series() <= limits().series + OWN_SERIES, "{} series", self.state.series());
        prop_assert!(self.lane.bytes() <= 16_384 + limits().series * 8 * (limits().key_bytes + 64));
        prop_assert!(batch.rows.len() <= 32 * (limits().series + OWN_SERIES) + 2 * limits().timed);
        prop_assert!(batch.sketches.len() <= limits().series);
        prop_assert!(batch.events.len() <= limits().events);
        prop_assert!(batch.rows.iter().all(|row| row.point.value.is_finite()), "{:?}", batch.rows);
        let most_prefixes = self.state.offenders(usize::MAX).len();
        prop_assert!(most_prefixes <= statline_statsd::prefixes::MOST_PREFIXES + 1);
        Ok(batch)
    }
}

/// Points in an order that does not depend on hashes.
fn sorted(batch: &Batch) -> Vec<(String, i64, u64)> {
    let rows = batch.rows.iter();
    let mut points: Vec<_> = rows
        .map(|row| (row.key.as_str().to_owned(), row.point.timestamp.millis(), row.point.value.to_bits()))
        .collect();
    points.sort_unstable();
    points
}

/// A mapping file that may be one.
fn mapping_file() -> impl Strategy<Value = Vec<u8>> {
    let text = |text: &'static str| Just(text.as_bytes().to_vec());
    let piece = prop_oneof![
        6 => prop_oneof![
            text("mappings:\n"), text("- match: "), text("  name: "), text("  labels: "), text("  match_type: regex\n"),
            text("  action: drop\n"), text("  ttl: 10s\n"), text("  scale: 0.5\n"), text("  honor_labels: true\n"),
            text("  observer_type: summary\n"), text("  observer_type: histogram\n"), text("defaults:\n"),
            text("  histogram_options: {buckets: [1, 2, .inf]}\n"), text("  summary_options: {quantiles: []}\n"),
            text("  match_metric_type: timer\n"), text("  buckets: ["),
        ],
        6 => prop_oneof![
            text("a.*\n"), text("a_$1\n"), text("*.*.*"), text("$0"), text("${1}_b\n"), text("{x: $1}\n"), text("(.*)\\.(.*)\n"),
            text("((a+)+)+$\n"), text("(a{1000}){1000}\n"), text("\\p{L}{900}\n"), text("&a [*a, *a]\n"), text("<<: *a\n"),
            text("!!binary "), text("!tag "), text("1e999\n"), text("-1\n"), text("\"\\u0000\"\n"), text("---\n"),
        ],
        2 => prop_oneof![text("\n"), text("  "), text("- "), text("["), text("{"), text("}"), text("\t"), text("? ")],
        1 => proptest::collection::vec(any::<u8>(), 0..12),
        1 => (prop_oneof![Just(b'['), Just(b'{'), Just(b'-'), Just(b'*'), Just(b' ')], 100..2_000_usize)
            .prop_map(|(byte, length)| vec![byte; length]),
    ];
    let pieces = proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat());
    let rule = (
        "[a-d*.]{1,6}",
        "[a-d$1]{1,5}",
        prop_oneof![
            3 => Just(String::new()),
            1 => Just(", match_type: regex".to_owned()),
            1 => Just(", labels: {l: $1}".to_owned()),
            1 => Just(", ttl: 1s".to_owned()),
            1 => Just(", action: drop".to_owned()),
            1 => Just(", observer_type: histogram".to_owned()),
        ],
    );
    let rule = rule.prop_map(|(pattern, name, more)| format!("- {{match: '{pattern}', name: '{name}'{more}}}\n"));
    let rules =
        proptest::collection::vec(rule, 1..4).prop_map(|rules| format!("mappings:\n{}", rules.concat()).into_bytes());
    // Half of them are files, or nearly.
    prop_oneof![2 => pieces.clone(), 2 => rules.clone(), 1 => (rules, pieces).prop_map(|(rules, pieces)| [rules, pieces].concat())]
}

/// How often each is tried: `PROPTEST_CASES`, or proptest's own number.
fn cases() -> ProptestConfig {
    // The smallest case that fails is printed; it belongs into a test of its own.
    ProptestConfig { failure_persistence: Some(Box::new(FileFailurePersistence::Off)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn packets_of_any_bytes_keep_the_limits(
        intervals in intervals(),
        grammar in grammar(),
        config in config(),
        peeks in any::<bool>(),
    ) {
        let mut server = Server::new(config, grammar);
        for packets in &intervals {
            for packet in packets {
                server.receive(packet)?;
                if peeks {
                    server.state.peek(&mut server.lane);
                    prop_assert!(server.state.counters(usize::MAX).shown.len() <= limits().series + OWN_SERIES);
                }
            }
            server.flush()?;
        }
    }

    #[test]
    fn a_packet_is_what_its_lines_are(intervals in intervals(), grammar in grammar(), config in config()) {
        let (mut whole, mut by_line) = (Server::new(config.clone(), grammar), Server::new(config, grammar));
        for packets in &intervals {
            for packet in packets {
                let counts = whole.receive(packet)?;
                let mut lines = PacketCounts::default();
                for line in packet.split(|byte| *byte == b'\n') {
                    let PacketCounts { lines: read, samples, bad, limited } = by_line.receive(line)?;
                    lines.lines += read;
                    lines.samples += samples;
                    lines.bad += bad;
                    lines.limited += limited;
                }
                prop_assert_eq!(counts, lines);
                whole.arrived = by_line.arrived;
            }
            let (whole, by_line) = (whole.flush()?, by_line.flush()?);
            prop_assert_eq!(sorted(&whole), sorted(&by_line));
            prop_assert_eq!(whole.events, by_line.events);
        }
    }

    #[test]
    fn a_snapshot_of_any_bytes_is_taken_in_or_refused(
        intervals in intervals(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        is_sealed in any::<bool>(),
        packet in packet(),
    ) {
        let mut before = Server::new(FlushConfig::default(), Grammar::default());
        for packets in &intervals {
            before.flush()?;
            for packet in packets {
                before.receive(packet)?;
            }
        }
        before.state.peek(&mut before.lane);
        let mut bytes = before.state.snapshot(END).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] ^= byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        if is_sealed && bytes.len() >= 8 {
            // As a program would write it whose mistakes are its own.
            let body = bytes.len() - 4;
            bytes[..4].copy_from_slice(&1_u32.to_le_bytes());
            let checksum = crc32fast::hash(&bytes[..body]);
            bytes[body..].copy_from_slice(&checksum.to_le_bytes());
        }
        for next in [END, END.offset(10_000)] {
            let mut after = Server::new(FlushConfig::default(), Grammar::default());
            if let Err(error) = after.state.restore(&bytes, next) {
                prop_assert!(!error.to_string().contains('\n'));
            }
            prop_assert!(after.state.series() <= limits().series);
            after.receive(&packet)?;
            after.state.absorb(&mut after.lane);
            after.state.snapshot(END).unwrap();
            after.state.flush(Step::from_seconds(10).unwrap(), END, &SelfFigures::default());
        }
    }

    #[test]
    fn any_bytes_are_no_snapshot(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut server = Server::new(FlushConfig::default(), Grammar::default());
        prop_assert!(server.state.restore(&bytes, END).is_err());
    }

    #[test]
    fn a_mapping_file_of_any_bytes_is_refused_in_a_line_or_maps_any_packet(
        file in mapping_file(),
        packets in proptest::collection::vec(packet(), 1..4),
    ) {
        match Rules::parse(&file) {
            Err(error) => {
                let error = error.to_string();
                prop_assert!(!error.contains(['\n', '\r']) && error.len() < 1000, "{}", error);
            }
            Ok(rules) => {
                rules.map(MetricType::Counter, "a.b.c", [("t", "v")]);
                let mut server = Server::new(FlushConfig::default(), Grammar::default());
                server.state.set_rules(Some(std::sync::Arc::new(rules)));
                for packet in &packets {
                    server.receive(packet)?;
                }
                server.flush()?;
                let registry = server.state.registry();
                let mut text = String::new();
                Format::Prometheus.write(&registry.lock().unwrap(), END, &mut text);
                Format::OpenMetrics.write(&registry.lock().unwrap(), END, &mut text);
            }
        }
    }
}
