//! Mapping files from the outside: what is said of wrong ones, and what becomes of metrics under right ones.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use proptest::prelude::*;
use statline_series::{Batch, Kind, Timestamp};
use statline_statsd::mapping::{
    Format, GaugeChange, Mapped, Mapping, MetricType, Refusal, Registry, Rules, Saved, Unit, escape_metric_name,
};

const COMMUNITY: &str = r#"
mappings:
  - {match: bot.channels.*, name: bot_channel_messages, labels: {channel: $1}, help: "Messages \\ by\nchannel"}
  - {match: bot.slowmode.*, name: bot_slowmode, labels: {channel: $1}, ttl: 1m}
  - match: bot.help.in_use_time
    name: bot_help_in_use_time_seconds
    observer_type: histogram
    histogram_options: {buckets: [60, 600, .inf]}
  - {match: bot.snekbox.*, name: bot_snekbox_seconds, labels: {outcome: $1}, match_metric_type: observer}
  - {match: bot.scaled, name: bot_scaled_total, scale: 0.5}
"#;

const NO_TAGS: [(&str, &str); 0] = [];

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn mapped(rules: &Rules, metric: MetricType, name: &str) -> Mapped {
    match rules.map(metric, name, NO_TAGS) {
        Mapping::Mapped(mapped) => mapped,
        other => panic!("{name}: {other:?}"),
    }
}

fn community() -> Rules {
    Rules::parse(COMMUNITY.as_bytes()).unwrap()
}

fn text(registry: &Registry, format: Format, now: Timestamp) -> String {
    let mut out = String::new();
    format.write(registry, now, &mut out);
    format.finish(&mut out);
    out
}

#[test]
fn an_error_says_where_what_and_what_would_be_right() {
    for (file, error) in [
        (
            "mappings:\n- match: a.*\n  nmae: b\n",
            "line 3, mapping 1: unknown key \"nmae\" in a mapping; did you mean name?",
        ),
        (
            "mappings:\n- match: a\n  name: a\n- match: b\n  name: b-c\n",
            "line 5, mapping 2: \"b-c\" is no metric name; it is made of a-z, A-Z, 0-9, _ and references such as $1, and does not begin with a digit",
        ),
        (
            "mappings:\n- match: a\n",
            "line 2, mapping 1: name is missing; every mapping has one, also with action: drop",
        ),
        (
            "mappings:\n- name: a\n",
            "line 2, mapping 1: match is missing; write parts with dots between them, such as bot.commands.*",
        ),
        (
            "mappings:\n- match: (\n  name: a\n  match_type: regex\n",
            "line 2, mapping 1: \"(\" is no regular expression: unclosed group",
        ),
        (
            "mappings:\n- {match: a, name: a, labels: {x: y}}\n",
            "line 2, mapping 1: \"x\" is no label; a label is two or more of a-z, A-Z, 0-9 and _, the first no digit",
        ),
        ("defaults:\n  match_type: globs\n", "line 2: match_type is glob or regex, got \"globs\""),
        (
            "defaults:\n  ttl: 10 s\n",
            "line 2: a duration of 0 or more, such as 30s, 10m or 1h30m is wanted here, got \"10 s\"",
        ),
        ("defaults: {ttl: 1s, ttl: 2s}\n", "line 1: ttl is given twice in defaults; give it once"),
        ("maps: []\n", "line 1: unknown key \"maps\" in a mapping file; did you mean mappings?"),
        (
            "completely_other: []\n",
            "line 1: unknown key \"completely_other\" in a mapping file; there are defaults, mappings",
        ),
        (
            "mappings:\n- match: a\n  name: a\n  observer_type: histogram\n  summary_options: {}\n",
            "line 2, mapping 1: summary_options do not go with observer_type histogram; leave one of them out",
        ),
        ("mappings: [\n", "line 1: not YAML: unclosed bracket '['"),
    ] {
        assert_eq!(Rules::parse(file.as_bytes()).unwrap_err().to_string(), error, "{file}");
    }
    let error = Rules::parse(b"a: 1\nb: \xff\n").unwrap_err();
    assert_eq!((error.line(), error.mapping()), (Some(2), None));
}

#[test]
fn the_file_in_the_documentation_does_what_is_said_of_it() {
    let documentation = include_str!("../../../docs/mapping.md");
    let file = documentation.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let rules = Rules::parse(file.as_bytes()).unwrap();
    assert_eq!(rules.notes(), [""; 0]);
    let counter = |name| mapped(&rules, MetricType::Counter, name).key().to_string();
    for (name, key) in [
        ("bot.channels.python_general", "bot_channel_messages;channel=python_general"),
        ("bot.errors.unexpected", "bot_errors;error_type=unexpected"),
        ("bot.errors.event.on_message", "bot_errors;error_type=event;event=on_message"),
        ("bot.help.dormant_calls.auto.deleted", "bot_help_dormant_calls;invoker=auto;reason=deleted"),
        ("bot.tags.usages.faq", "bot_tag_usages;tag=faq"),
        ("bot.tags.usages.help.faq", "bot_tag_usages;group=help;tag=faq"),
    ] {
        assert_eq!(counter(name), key);
    }
    assert_eq!(rules.map(MetricType::Gauge, "bot.debug.x", NO_TAGS), Mapping::Dropped);
    assert_eq!(rules.map(MetricType::Gauge, "bot.guild.total_members", NO_TAGS), Mapping::Unmapped);
}

#[test]
fn what_is_not_wrong_and_worth_saying_is_noted() {
    let file = "defaults:\n  timer_type: histogram\nmappings:\n- {match: a.b.c, name: x}\n- {match: a.b, name: y}\n- {match: a.b.c, name: z}\n---\nmore: 1\n";
    let rules = Rules::parse(file.as_bytes()).unwrap();
    assert_eq!(
        rules.notes(),
        [
            "only the first YAML document of the file is read",
            "line 2: timer_type is read no more by statsd_exporter 0.31; write observer_type",
            "line 5, mapping 2: never found, since an earlier match begins with this one; put it before that",
            "line 6, mapping 3: an earlier mapping has the same match and is used instead; leave one out",
        ]
    );
}

#[test]
fn metrics_become_series_with_labels_or_stay_what_they_are() {
    let rules = Rules::parse(
        b"mappings:\n- {match: a.*, name: 'n_$1', labels: {own: $1, honored: mine}}\n- {match: b.*, name: nn, honor_labels: true, labels: {honored: mine}}\n- {match: c, name: x, action: drop}\n- {match: d.*, name: $1}\n",
    )
    .unwrap();
    let map = |name: &str, tags: &[(&'static str, &'static str)]| rules.map(MetricType::Counter, name, tags.to_vec());
    let key = |name: &str, tags: &[(&'static str, &'static str)]| match map(name, tags) {
        Mapping::Mapped(mapped) => mapped.key().to_string(),
        other => format!("{other:?}"),
    };
    assert_eq!(key("a.x-y", &[("honored", "theirs"), ("odd tag", "v;w")]), "n_x_y;honored=mine;odd_tag=v\\;w;own=x-y");
    assert_eq!(key("b.x", &[("honored", "theirs")]), "nn;honored=theirs");
    assert_eq!(key("a.", &[]), "n_;honored=mine", "a label without a value is none");
    assert_eq!(map("c", &[]), Mapping::Dropped);
    assert_eq!(map("e", &[]), Mapping::Unmapped);
    assert_eq!(map("d.", &[]), Mapping::Refused(Refusal::EmptyName));
    assert_eq!(map("b.x", &[("__name__", "x")]), Mapping::Refused(Refusal::ReservedLabel("__name__".to_owned())));
    assert!(matches!(map("a.~x", &[]), Mapping::Refused(Refusal::Key(_))));
}

#[test]
fn a_flush_adds_up_and_both_formats_show_it() {
    let rules = community();
    let mut registry = Registry::new(100);
    let channel = mapped(&rules, MetricType::Counter, "bot.channels.python_general");
    registry.count(&channel, 3.0, at(10)).unwrap();
    registry.count(&channel, 1_000_000.0, at(20)).unwrap();
    registry.count(&mapped(&rules, MetricType::Counter, "bot.scaled"), 3.0, at(20)).unwrap();
    let slowmode = mapped(&rules, MetricType::Gauge, "bot.slowmode.ot0");
    registry.gauge(&slowmode, GaugeChange { set: Some(10.0), delta: -2.5 }, at(20)).unwrap();
    registry.gauge(&slowmode, GaugeChange { set: None, delta: 1.0 }, at(30)).unwrap();
    let in_use = mapped(&rules, MetricType::Observer, "bot.help.in_use_time");
    registry.observe(&in_use, Unit::Milliseconds, [(60_000.0, 1.0), (61_000.0, 10.0), (1e9, 1.0)], at(30)).unwrap();
    let snekbox = mapped(&rules, MetricType::Observer, "bot.snekbox.\"ok\"\\");
    registry.observe(&snekbox, Unit::Unknown, [(2.0, 1.0), (f64::NAN, 1.0), (1.0, 0.0)], at(30)).unwrap();

    assert_eq!(
        text(&registry, Format::Prometheus, at(31)),
        r#"# HELP bot_channel_messages Messages \\ by\nchannel
# TYPE bot_channel_messages counter
bot_channel_messages{channel="python_general"} 1.000003e+06
# HELP bot_help_in_use_time_seconds Metric autogenerated by statsd_exporter.
# TYPE bot_help_in_use_time_seconds histogram
bot_help_in_use_time_seconds_bucket{le="60"} 1
bot_help_in_use_time_seconds_bucket{le="600"} 11
bot_help_in_use_time_seconds_bucket{le="+Inf"} 12
bot_help_in_use_time_seconds_sum 1.00067e+06
bot_help_in_use_time_seconds_count 12
# HELP bot_scaled_total Metric autogenerated by statsd_exporter.
# TYPE bot_scaled_total counter
bot_scaled_total 1.5
# HELP bot_slowmode Metric autogenerated by statsd_exporter.
# TYPE bot_slowmode gauge
bot_slowmode{channel="ot0"} 8.5
# HELP bot_snekbox_seconds Metric autogenerated by statsd_exporter.
# TYPE bot_snekbox_seconds summary
bot_snekbox_seconds{outcome="\"ok\"\\",quantile="0.5"} 2
bot_snekbox_seconds{outcome="\"ok\"\\",quantile="0.9"} 2
bot_snekbox_seconds{outcome="\"ok\"\\",quantile="0.99"} 2
bot_snekbox_seconds_sum{outcome="\"ok\"\\"} 2
bot_snekbox_seconds_count{outcome="\"ok\"\\"} 1
"#
    );
    let open_metrics = text(&registry, Format::OpenMetrics, at(31));
    for line in [
        "# TYPE bot_channel_messages unknown",
        "# TYPE bot_scaled counter",
        "bot_scaled_total 1.5",
        "bot_help_in_use_time_seconds_bucket{le=\"60.0\"} 1",
        "bot_help_in_use_time_seconds_count 12",
    ] {
        assert!(open_metrics.lines().any(|other| other == line), "{line}\n{open_metrics}");
    }
    assert!(open_metrics.ends_with("\n# EOF\n"));

    let mut batch = Batch::default();
    registry.points(at(31), &mut batch);
    let mut points: Vec<_> = batch.rows.iter().map(|row| (row.key.to_string(), row.kind, row.point.value)).collect();
    points.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(points.len(), registry.len());
    for expected in [
        ("bot_channel_messages;channel=python_general", Kind::Cumulative, 1_000_003.0),
        ("bot_help_in_use_time_seconds_bucket;le=+Inf", Kind::Cumulative, 12.0),
        ("bot_help_in_use_time_seconds_bucket;le=600", Kind::Cumulative, 11.0),
        ("bot_slowmode;channel=ot0", Kind::Gauge, 8.5),
        ("bot_snekbox_seconds;outcome=\"ok\"\\\\;quantile=0.99", Kind::Gauge, 2.0),
    ] {
        assert!(
            points.iter().any(|(key, kind, value)| (key.as_str(), *kind, *value) == expected),
            "{expected:?} {points:?}"
        );
    }
}

#[test]
fn a_window_without_observations_has_no_point_and_nan_in_the_text() {
    let rules = community();
    let mut registry = Registry::new(100);
    let snekbox = mapped(&rules, MetricType::Observer, "bot.snekbox.ok");
    registry.observe(&snekbox, Unit::Milliseconds, [(2.0, 1.0)], at(0)).unwrap();
    let mut batch = Batch::default();
    registry.points(at(3600), &mut batch);
    assert_eq!(batch.len(), 2, "the sum and the count");
    assert!(text(&registry, Format::Prometheus, at(3600)).contains("quantile=\"0.5\"} NaN\n"));
}

#[test]
fn what_cannot_be_had_is_refused_and_counted() {
    let rules = Rules::parse(
        b"mappings:\n- {match: '*.level', name: $1}\n- {match: '*.*', name: '${1}_$2'}\n- {match: quantile, name: qq, labels: {quantile: x}}\n",
    )
    .unwrap();
    let mut registry = Registry::new(8);
    let map = |metric, name| mapped(&rules, metric, name);
    let (counter, gauge, observer) = (MetricType::Counter, MetricType::Gauge, MetricType::Observer);
    registry.observe(&map(observer, "a.level"), Unit::Unknown, [(1.0, 1.0)], at(0)).unwrap();
    let change = GaugeChange { set: Some(1.0), delta: 0.0 };
    let conflict = registry.count(&map(counter, "a.level"), 1.0, at(0)).unwrap_err();
    assert_eq!(conflict.to_string(), "counter a conflicts with summary a; give one of them another name");
    let conflict = registry.gauge(&map(gauge, "a.count"), change, at(0)).unwrap_err();
    assert_eq!(conflict.to_string(), "gauge a_count conflicts with summary a; give one of them another name");
    registry.gauge(&map(gauge, "b.sum"), change, at(0)).unwrap();
    let conflict = registry.observe(&map(observer, "b.level"), Unit::Unknown, [(1.0, 1.0)], at(0)).unwrap_err();
    assert_eq!(conflict.to_string(), "summary b conflicts with gauge b_sum; give one of them another name");
    let reserved = registry.observe(&map(observer, "quantile"), Unit::Unknown, [(1.0, 1.0)], at(0)).unwrap_err();
    assert_eq!(reserved, Refusal::ReservedLabel("quantile".to_owned()));
    registry.count(&map(counter, "c.level"), 1.0, at(0)).unwrap();
    assert_eq!(registry.count(&map(counter, "c.level"), -1.0, at(0)), Err(Refusal::NegativeCounter));
    registry.count(&map(counter, "d.level"), 1.0, at(0)).unwrap();
    assert_eq!(registry.len(), registry.limit(), "a summary of three quantiles is five");
    assert_eq!(registry.count(&map(counter, "e.level"), 1.0, at(0)), Err(Refusal::SeriesLimit));
    registry.count(&map(counter, "c.level"), 1.0, at(0)).unwrap();

    let refused: Vec<_> = registry.refused().filter(|(_, count)| *count > 0).collect();
    assert_eq!(refused, [("illegal_negative_counter", 1), ("conflict", 3), ("reserved_label", 1), ("series_limit", 1)]);
    assert_eq!(registry.conflicts().count(), 3);
}

#[test]
fn series_without_samples_for_their_ttl_are_forgotten_and_their_name_is_free() {
    let rules = community();
    let mut registry = Registry::new(100);
    let slowmode = mapped(&rules, MetricType::Gauge, "bot.slowmode.ot0");
    let channel = mapped(&rules, MetricType::Counter, "bot.channels.ot0");
    registry.gauge(&slowmode, GaugeChange::default(), at(0)).unwrap();
    registry.count(&channel, 1.0, at(0)).unwrap();
    assert_eq!(registry.expire(at(60)), 0);
    assert_eq!(registry.expire(at(61)), 1);
    assert_eq!(registry.len(), 1);
    registry.count(&mapped(&rules, MetricType::Counter, "bot.slowmode.ot0"), 1.0, at(61)).unwrap();
    assert_eq!(registry.expire(at(1_000_000)), 1, "what has no ttl stays");
}

#[test]
fn new_rules_replace_what_earlier_ones_made() {
    let old =
        Rules::parse(b"mappings: [{match: t, name: tt}, {match: h, name: hh, observer_type: histogram}]\n").unwrap();
    let new = Rules::parse(
        b"mappings: [{match: t, name: tt, observer_type: histogram}, {match: h, name: hh, observer_type: histogram, histogram_options: {buckets: [1]}}, {match: s, name: ss, summary_options: {max_age: 1m}}]\n",
    )
    .unwrap();
    let mut registry = Registry::new(100);
    let observe = |registry: &mut Registry, rules: &Rules, name: &str| {
        registry.observe(&mapped(rules, MetricType::Observer, name), Unit::Unknown, [(1.0, 1.0)], at(0))
    };
    observe(&mut registry, &old, "t").unwrap();
    observe(&mut registry, &old, "h").unwrap();
    assert!(observe(&mut registry, &new, "t").is_err(), "a conflict, while both are in force");
    registry.rules_changed();
    observe(&mut registry, &new, "t").unwrap();
    observe(&mut registry, &new, "h").unwrap();
    let text = text(&registry, Format::Prometheus, at(0));
    assert!(text.contains("# TYPE tt histogram\n") && text.contains("hh_count 1\n"), "{text}");
    assert!(!text.contains("le=\"0.005\"} 1\nhh") && !text.contains("hh_bucket{le=\"10\"}"), "{text}");
    assert_eq!(registry.len(), 14 + 4);
}

#[test]
fn totals_go_on_after_a_restart() {
    let rules = community();
    let mut registry = Registry::new(100);
    let all = |registry: &mut Registry| {
        registry.count(&mapped(&rules, MetricType::Counter, "bot.channels.ot0"), 2.0, at(0)).unwrap();
        let slowmode = mapped(&rules, MetricType::Gauge, "bot.slowmode.ot0");
        registry.gauge(&slowmode, GaugeChange { set: None, delta: 5.0 }, at(0)).unwrap();
        for name in ["bot.help.in_use_time", "bot.snekbox.ok"] {
            registry.observe(&mapped(&rules, MetricType::Observer, name), Unit::Unknown, [(7.0, 2.0)], at(0)).unwrap();
        }
    };
    all(&mut registry);
    let saved: Saved = serde_json::from_str(&serde_json::to_string(&registry.save()).unwrap()).unwrap();
    assert_eq!(saved, registry.save());
    let mut again = Registry::new(100);
    assert_eq!(again.restore(saved.clone()), 0);
    assert_eq!(again.save(), saved);
    all(&mut again);
    let text = text(&again, Format::Prometheus, at(0));
    for line in [
        "bot_channel_messages{channel=\"ot0\"} 4\n",
        "bot_slowmode{channel=\"ot0\"} 10\n",
        "bot_help_in_use_time_seconds_bucket{le=\"60\"} 4\n",
        "bot_snekbox_seconds_sum{outcome=\"ok\"} 28\n",
        "bot_snekbox_seconds{outcome=\"ok\",quantile=\"0.5\"} 7\n",
        "# HELP bot_channel_messages Messages",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert_eq!(again.expire(at(3600)), 1, "the ttl goes on, too");
    let mut small = Registry::new(2);
    assert_eq!(small.restore(saved), 2, "those beyond the limit are left out, and counted");
}

#[test]
fn the_format_is_the_one_that_the_scraper_prefers() {
    use Format::{OpenMetrics, Prometheus};
    for (accept, format) in [
        ("", Prometheus),
        ("*/*", Prometheus),
        ("text/html", Prometheus),
        ("application/openmetrics-text", OpenMetrics),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", OpenMetrics),
        ("application/openmetrics-text;version=0.0.1", Prometheus),
        ("application/openmetrics-text;version=2.0.0", Prometheus),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            OpenMetrics,
        ),
        ("text/plain;version=0.0.4;q=0.9, application/openmetrics-text;q=0.5", Prometheus),
        ("application/openmetrics-text;q=0", Prometheus),
        ("application/openmetrics-text;q=nan", Prometheus),
        (",;=;q=,\"", Prometheus),
    ] {
        assert_eq!(Format::accepted(accept), format, "{accept}");
    }
}

#[test]
fn metrics_of_the_program_itself_are_put_into_open_metrics() {
    let own = "# HELP lines_total Lines \"read\"\n# TYPE lines_total counter\nlines_total 3\n\n# TYPE odd counter\nodd 1\n# TYPE level gauge\nlevel{a=\"b\"} 1\n# a comment\n# TYPE any untyped\nany 2\n";
    let mut out = String::new();
    Format::OpenMetrics.write_text(own, &mut out);
    assert_eq!(
        out,
        "# HELP lines Lines \\\"read\\\"\n# TYPE lines counter\nlines_total 3\n# TYPE odd unknown\nodd 1\n# TYPE level gauge\nlevel{a=\"b\"} 1\n# TYPE any unknown\nany 2\n"
    );
    let mut out = String::new();
    Format::Prometheus.write_text(own, &mut out);
    assert_eq!(out, own);
}

/// Pieces that mapping files are made of, so that chance gets somewhere.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("mappings:\n- match: "),
        Just("defaults:\n  "),
        Just("  name: "),
        Just("  labels: {"),
        Just("  match_type: regex\n"),
        Just("observer_type: histogram\n"),
        Just("  summary_options: {max_age: "),
        Just("quantiles: ["),
        Just("ttl: "),
        Just("&a "),
        Just("*a"),
        Just("<<: "),
        Just("a.*.b"),
        Just("${1}$"),
        Just("(.*"),
        Just("\\Q[a-"),
        Just("9999999999999h"),
        Just("-1e999"),
        Just("\n"),
        Just("}"),
        Just("]"),
        Just("|\n"),
        Just("'"),
        Just("\""),
    ];
    let bytes = proptest::collection::vec(any::<u8>(), 0..4);
    let mixed = prop_oneof![4 => piece.prop_map(|piece| piece.as_bytes().to_vec()), 1 => bytes];
    proptest::collection::vec(mixed, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_a_mapping_file_or_an_error_of_one_line(file in file(), name in ".{0,40}") {
        match Rules::parse(&file) {
            Ok(rules) => {
                rules.map(MetricType::Counter, &name, [("tag", &name)]);
            }
            Err(error) => {
                let error = error.to_string();
                prop_assert!(!error.contains(['\n', '\r']) && error.len() < 1000, "{}", error);
            }
        }
    }

    #[test]
    fn any_name_is_mapped_without_a_panic_to_a_valid_prometheus_name(
        parts in proptest::collection::vec(".{0,6}", 0..6),
        tag in ".{0,9}",
        regex in any::<bool>(),
    ) {
        let name = parts.join(".");
        let file = if regex {
            r"mappings: [{match: '(.*)\.(.+)\.', match_type: regex, name: '$2$1', labels: {all: $0}}, {match: '^\W', match_type: regex, name: $0}]"
        } else {
            "mappings: [{match: '*.*', name: '${1}$2', labels: {all: $0}}, {match: '*.*.*.*', name: '${4}', labels: {all: '$0%s'}}]"
        };
        let rules = Rules::parse(file.as_bytes()).unwrap();
        if let Mapping::Mapped(mapped) = rules.map(MetricType::Gauge, &name, [(tag.as_str(), &name)]) {
            let own = mapped.key().name();
            prop_assert!(own.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !own.starts_with(|c: char| c.is_ascii_digit()));
            let mut registry = Registry::new(10);
            let _ = registry.gauge(&mapped, GaugeChange { set: Some(1.0), delta: f64::MAX }, at(i64::MAX / 1000));
            let mut out = String::new();
            Format::OpenMetrics.write(&registry, at(0), &mut out);
            prop_assert_eq!(out.lines().count(), 3);
        }
    }

    #[test]
    fn no_value_makes_a_total_infinite(values in proptest::collection::vec((any::<f64>(), any::<f64>()), 1..20), seconds in any::<i32>()) {
        let rules = community();
        let mut registry = Registry::new(100);
        for name in ["bot.help.in_use_time", "bot.snekbox.ok"] {
            registry.observe(&mapped(&rules, MetricType::Observer, name), Unit::Unknown, values.clone(), at(seconds.into())).unwrap();
        }
        let mut batch = Batch::default();
        registry.points(at(seconds.into()), &mut batch);
        prop_assert!(batch.rows.iter().all(|row| row.point.value.is_finite()));
    }

    #[test]
    fn an_escaped_name_stays_as_it_is(name in ".{0,30}") {
        let escaped = escape_metric_name(&name).into_owned();
        prop_assert_eq!(escape_metric_name(&escaped), escaped.as_str());
    }
}

#[test]
fn a_file_of_many_rules_is_read_in_bounded_time() {
    let mut file = String::from("defaults: {glob_disable_ordering: true}\nmappings:\n");
    for rule in 0..10_000 {
        file.push_str(&format!("- {{match: 'a.*.r{rule}', name: n}}\n"));
    }
    let rules = Rules::parse(file.as_bytes()).unwrap();
    assert_eq!(rules.len(), 10_000);
    file.push_str("- {match: one.too.many, name: n}\n");
    assert!(Rules::parse(file.as_bytes()).unwrap_err().to_string().contains("at most 10000"));
}
