//! Mapping files beside the real statsd_exporter: what it makes of each name, what it adds events up to, what it refuses.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what is wrong by panicking, and what it skipped"
)]

mod files;
mod generate;
mod oracle;

use std::collections::BTreeMap;

use files::{BROKEN, REFUSED_HERE_ONLY, SOUND, TAKEN_HERE_ONLY};
use oracle::{Answer, Case, Event, Mapping, Oracle};
use statline_series::Timestamp;
use statline_statsd::mapping::{
    self, Format, GaugeChange, Mapped, MetricType, Observer, Refusal, Registry, Rules, Unit,
};

const SEED: u64 = 20_260_729;
const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn metric_type(name: &str) -> MetricType {
    match name {
        "counter" => MetricType::Counter,
        "gauge" => MetricType::Gauge,
        _ => MetricType::Observer,
    }
}

/// Ours in the words of theirs. Labels without a value are the same as none.
fn as_theirs(mapped: &Mapped, honor: bool) -> Mapping {
    let mut theirs = Mapping {
        drop: false,
        empty: false,
        name: mapped.key().name().to_owned(),
        labels: mapped.key().tags().map(|(label, value)| (label.to_owned(), value.into_owned())).collect(),
        help: mapped.help.as_deref().unwrap_or("").to_owned(),
        honor,
        ttl: mapped.ttl.map_or(0, |ttl| u64::try_from(ttl.as_nanos()).unwrap()),
        scale: mapped.scale,
        histogram: false,
        buckets: None,
        quantiles: None,
        max_age: 0,
        age_buckets: 0,
        buf_cap: 0,
    };
    match &*mapped.observer {
        Observer::Histogram(options) => {
            theirs.histogram = true;
            theirs.buckets = Some(options.buckets.to_vec());
        }
        Observer::Summary(options) => {
            theirs.quantiles = Some(options.quantiles.iter().map(|quantile| quantile.quantile).collect());
            theirs.max_age = u64::try_from(options.max_age.as_nanos()).unwrap();
            theirs.age_buckets = options.age_buckets;
            theirs.buf_cap = options.buf_cap;
        }
    }
    theirs
}

/// Compares what both make of the queries of a case; answers how many were mapped.
fn compare_mappings(case: &Case, answer: Answer) -> usize {
    let rules = match Rules::parse(case.config.as_bytes()) {
        Ok(rules) => rules,
        Err(error) => {
            assert_ne!(answer.error, "", "{error}\n{}", case.config);
            return 0;
        }
    };
    assert_eq!(answer.error, "", "{}", case.config);
    let mut mapped = 0;
    for ((metric, name), theirs) in case.queries.iter().zip(answer.mappings.unwrap()) {
        let context = || format!("{metric} {name:?} under\n{}", case.config);
        let metric = metric_type(metric);
        let ours = rules.map(metric, name, [] as [(&str, &str); 0]);
        let Some(mut theirs) = theirs else {
            assert_eq!(ours, mapping::Mapping::Unmapped, "{}", context());
            continue;
        };
        mapped += 1;
        match ours {
            mapping::Mapping::Dropped => assert!(theirs.drop, "{}", context()),
            mapping::Mapping::Refused(Refusal::EmptyName) => assert!(theirs.empty, "{}", context()),
            mapping::Mapping::Mapped(ours) => {
                assert!(!theirs.drop && !theirs.empty, "{}", context());
                theirs.labels.retain(|_, value| !value.is_empty());
                if let Some(quantiles) = &mut theirs.quantiles {
                    quantiles.sort_by(f64::total_cmp);
                }
                assert_eq!(as_theirs(&ours, theirs.honor), theirs, "{}", context());
                // A tag shows which of the two wins.
                let label = theirs.labels.iter().next();
                if let Some((label, value)) = label {
                    let tagged = rules.map(metric, name, [(label.as_str(), "from the client")]);
                    let mapping::Mapping::Mapped(tagged) = tagged else { panic!("{}", context()) };
                    let expected = if theirs.honor { "from the client" } else { value };
                    assert_eq!(tagged.key().tag(label).unwrap(), expected, "{}", context());
                }
            }
            other => panic!("{other:?} for {}", context()),
        }
    }
    mapped
}

#[test]
fn thousands_of_names_are_mapped_as_statsd_exporter_maps_them() {
    let Some(oracle) = Oracle::build() else { return };
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut cases: Vec<Case> = SOUND
        .iter()
        .map(|file| Case {
            config: file.config.to_owned(),
            queries: ["counter", "gauge", "observer"]
                .iter()
                .flat_map(|metric| file.names.iter().map(|name| ((*metric).to_owned(), (*name).to_owned())))
                .collect(),
            events: Vec::new(),
        })
        .collect();
    cases.extend((0..500).map(|_| Case {
        config: generate::config(&mut random, false),
        queries: (0..60).map(|_| generate::query(&mut random)).collect(),
        events: Vec::new(),
    }));
    let answers = oracle.ask(&cases);
    let asked: usize = cases.iter().map(|case| case.queries.len()).sum();
    let mapped: usize = cases.iter().zip(answers).map(|(case, answer)| compare_mappings(case, answer)).sum();
    println!("{} mapping files, {asked} names, {mapped} of them mapped", cases.len());
    assert!(mapped * 4 > asked, "the names meet the rules often enough to say something");
}

#[test]
fn expressions_by_chance_are_refused_and_matched_as_in_go() {
    let Some(oracle) = Oracle::build() else { return };
    let mut random = fastrand::Rng::with_seed(SEED + 2);
    let cases: Vec<Case> = (0..5_000)
        .map(|_| {
            let expression = generate::expression(&mut random).replace('\'', "''");
            Case {
                config: format!(
                    "mappings:\n- match: '{expression}'\n  match_type: regex\n  name: matched\n  labels: {{whole: 'x$0', one: 'x$1', two: 'x$2', named: 'x$n'}}\n"
                ),
                queries: ["a", "b", "ab", "a.b", "aé-A_", "AB", "", "-", "{2}", "a&&b", "é", "a b", "<a>", "Σ.\u{212a}k", "0.\0"]
                    .map(|name| ("counter".to_owned(), name.to_owned()))
                    .to_vec(),
                events: Vec::new(),
            }
        })
        .collect();
    let answers = oracle.ask(&cases);
    let refused = answers.iter().filter(|answer| !answer.error.is_empty()).count();
    let mapped: usize = cases.iter().zip(answers).map(|(case, answer)| compare_mappings(case, answer)).sum();
    println!("{} expressions, {refused} refused, {mapped} matches", cases.len());
    assert!(refused > 500 && mapped > 5_000);
}

#[test]
fn broken_files_are_refused_by_both() {
    let Some(oracle) = Oracle::build() else { return };
    let case = |config: &&str| Case { config: (*config).to_owned(), ..Case::default() };
    for (config, answer) in BROKEN.iter().zip(oracle.ask(&BROKEN.iter().map(case).collect::<Vec<_>>())) {
        assert_ne!(answer.error, "", "statsd_exporter takes\n{config}");
        let error = Rules::parse(config.as_bytes()).err().unwrap_or_else(|| panic!("taken:\n{config}")).to_string();
        assert!(error.starts_with("line ") && !error.contains('\n'), "{error}");
    }
    // The table of deviations in docs/mapping.md.
    let answers = oracle.ask(&REFUSED_HERE_ONLY.iter().map(case).collect::<Vec<_>>());
    for (config, answer) in REFUSED_HERE_ONLY.iter().zip(answers) {
        assert_eq!(answer.error, "", "{config}");
        assert!(Rules::parse(config.as_bytes()).is_err(), "{config}");
    }
    let answers = oracle.ask(&TAKEN_HERE_ONLY.iter().map(case).collect::<Vec<_>>());
    for (config, answer) in TAKEN_HERE_ONLY.iter().zip(answers) {
        assert_ne!(answer.error, "", "{config}");
        let rules = Rules::parse(config.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{config}"));
        assert!(!rules.notes().is_empty(), "what only we take is noted: {config}");
    }
}

/// Adds the events up as the flusher does, one flush an event.
fn add_up(config: &str, events: &[Event]) -> Registry {
    let rules = Rules::parse(config.as_bytes()).unwrap();
    let mut registry = Registry::new(1_000_000);
    for event in events {
        let metric = metric_type(event.metric);
        let tags = event.labels.iter().map(|(tag, value)| (tag.as_str(), value.as_str()));
        let mapped = match rules.map(metric, &event.name, tags) {
            mapping::Mapping::Mapped(mapped) => mapped,
            mapping::Mapping::Refused(refusal) => {
                registry.count_refusal(&refusal);
                continue;
            }
            mapping::Mapping::Dropped => continue,
            mapping::Mapping::Unmapped => panic!("{} is unmapped under\n{config}", event.name),
        };
        // A refusal is counted, and the counts are compared.
        let _ = match metric {
            MetricType::Counter => registry.count(&mapped, event.value, NOW),
            MetricType::Gauge if event.relative => {
                registry.gauge(&mapped, GaugeChange { set: None, delta: event.value }, NOW)
            }
            MetricType::Gauge => registry.gauge(&mapped, GaugeChange { set: Some(event.value), delta: 0.0 }, NOW),
            MetricType::Observer => registry.observe(&mapped, Unit::Unknown, [(event.value, 1.0)], NOW),
        };
    }
    registry
}

/// The lines but for quantiles, which are estimates: their names and labels count.
fn comparable(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut series: Vec<String> = Vec::new();
    for line in text.lines() {
        let line = match line.rsplit_once(" ") {
            Some((name, _)) if name.contains("quantile=") => name.to_owned(),
            _ => line.to_owned(),
        };
        if line.starts_with('#') {
            // Series of one name are ordered by their values there, and by their labels here.
            series.sort();
            lines.append(&mut series);
            lines.push(line);
        } else {
            series.push(line);
        }
    }
    series.sort();
    lines.append(&mut series);
    lines
}

#[test]
fn events_add_up_to_the_same_text_in_both_formats() {
    let Some(oracle) = Oracle::build() else { return };
    let mut random = fastrand::Rng::with_seed(SEED + 1);
    let cases: Vec<Case> = (0..300)
        .map(|_| Case {
            config: generate::config(&mut random, true),
            queries: Vec::new(),
            events: (0..200).map(|_| generate::event(&mut random)).collect(),
        })
        .collect();
    let (mut compared, mut lines, mut conflicts, mut errors) = (0, 0, 0.0, 0.0);
    for (case, answer) in cases.iter().zip(oracle.ask(&cases)) {
        assert_eq!(answer.error, "", "{}", case.config);
        // A label without a value is written by statsd_exporter and left out here; a counter named `_total` has no name in
        // its OpenMetrics.
        if answer.text.contains("=\"\"") || answer.open_metrics.contains("# HELP \"\"") {
            continue;
        }
        let registry = add_up(&case.config, &case.events);
        for (format, theirs) in [(Format::Prometheus, &answer.text), (Format::OpenMetrics, &answer.open_metrics)] {
            let mut ours = String::new();
            format.write(&registry, NOW, &mut ours);
            format.finish(&mut ours);
            let (ours, theirs) = (comparable(&ours), comparable(theirs));
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert_eq!(ours, theirs, "{format:?}\n{}", case.config);
            }
            assert_eq!(ours.len(), theirs.len(), "{}", case.config);
            lines += ours.len();
        }
        let refused: BTreeMap<&str, u64> = registry.refused().collect();
        #[allow(clippy::cast_precision_loss, reason = "a few hundred")]
        let count = |reason: &str| refused[reason] as f64;
        assert_eq!(count("conflict"), answer.conflicts, "{}", case.config);
        assert_eq!(count("empty_metric_name") + count("illegal_negative_counter"), answer.errors, "{}", case.config);
        compared += 1;
        conflicts += answer.conflicts;
        errors += answer.errors;
    }
    println!("{compared} of {} files, {lines} lines, {conflicts} conflicts, {errors} errors", cases.len());
    assert!(compared > 100 && conflicts > 1000.0 && errors > 100.0);
}
