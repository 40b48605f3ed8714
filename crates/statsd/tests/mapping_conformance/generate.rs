//! Mapping files and names by chance, made so that they often meet.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::oracle::Event;

const PARTS: [&str; 7] = ["a", "b", "c", "dd", "x-y", "1x", "_z"];
const TYPES: [&str; 3] = ["counter", "gauge", "observer"];
const NAMES: [&str; 9] = ["n", "m_$1", "${1}_total", "$0", "x_${2}_$1", "$1$2", "$1_total", "${2}_${3}", "n_total"];
const VALUES: [&str; 8] = ["$1", "${2}", "$0", "fixed", "$1-${3}", "$2$1", "$$1", "a b"];
const EXPRESSIONS: [&str; 16] = [
    r"^a\\.(.*)$",
    r"(\\w+)\\.(\\w+)",
    r"b\\.([^.]*)\\.c",
    r"(?P<kind>[a-d]+)-?(.*)",
    r"\\d\\w",
    r"(?i)^A\\.B",
    r"\\.",
    r"x-y$",
    r"^[^.]+\\.[^.]+$",
    r"(a|b)\\.(c|dd)?",
    r"\\bdd\\b",
    r"é+",
    r"(_z|1x){1,2}",
    r"^(.*?)\\.(.*)$",
    r"[\\w-]{2}",
    r"\\Qx-y\\E(.)",
];

fn pick<'a>(random: &mut fastrand::Rng, from: &[&'a str]) -> &'a str {
    from[random.usize(..from.len())]
}

fn chance(random: &mut fastrand::Rng, percent: u32) -> bool {
    random.u32(..100) < percent
}

/// A mapping file. With `events`, one under which events can be added up: it drops what no rule matches, as unmapped
/// metrics have no place in our registry, and lets no name have two sets of buckets.
pub fn config(random: &mut fastrand::Rng, events: bool) -> String {
    let mut yaml = String::from("defaults:\n");
    let _ = writeln!(yaml, "  glob_disable_ordering: {}", chance(random, 40));
    if chance(random, 30) {
        let _ = writeln!(yaml, "  observer_type: {}", pick(random, &["summary", "histogram"]));
    }
    if chance(random, 30) {
        let _ = writeln!(yaml, "  ttl: {}", pick(random, &["10s", "1m30s", "0", "1.5h"]));
    }
    if chance(random, 30) && !events {
        yaml.push_str(
            "  summary_options:\n    max_age: 30s\n    age_buckets: 3\n    quantiles: [{quantile: 0.75, error: 0.1}]\n",
        );
    }
    if chance(random, 30) && !events {
        yaml.push_str("  histogram_options: {buckets: [1, 2, 3]}\n");
    }
    yaml.push_str("mappings:\n");
    for _ in 0..random.usize(1..14) {
        mapping(random, events, &mut yaml);
    }
    if events {
        yaml.push_str("- match: \".*\"\n  match_type: regex\n  action: drop\n  name: dropped\n");
    }
    yaml
}

fn mapping(random: &mut fastrand::Rng, events: bool, yaml: &mut String) {
    if chance(random, 15) {
        let _ = writeln!(yaml, "- match: \"{}\"\n  match_type: regex", pick(random, &EXPRESSIONS));
    } else {
        let parts: Vec<&str> = (0..random.usize(1..5))
            .map(|index| {
                loop {
                    let part = if chance(random, 40) { "*" } else { pick(random, &PARTS) };
                    if index > 0 || part != "1x" {
                        break part;
                    }
                }
            })
            .collect();
        let _ = writeln!(yaml, "- match: \"{}\"", parts.join("."));
    }
    let _ = writeln!(yaml, "  name: \"{}\"", pick(random, &NAMES));
    if chance(random, 20) {
        let _ = writeln!(yaml, "  match_metric_type: {}", pick(random, &TYPES));
    }
    if chance(random, 10) {
        yaml.push_str("  action: drop\n");
    }
    if chance(random, 60) {
        yaml.push_str("  labels:\n");
        for label in &["first", "second", "honored"][..random.usize(1..4)] {
            let _ = writeln!(yaml, "    {label}: \"{}\"", pick(random, &VALUES));
        }
    }
    if chance(random, 20) {
        yaml.push_str("  honor_labels: true\n");
    }
    if chance(random, 20) {
        let _ = writeln!(yaml, "  scale: {}", pick(random, &["2", "0.25", "1e3", "-1", "0"]));
    }
    if chance(random, 20) {
        let _ = writeln!(yaml, "  ttl: {}", pick(random, &["5s", "1m", "0"]));
    }
    if chance(random, 30) {
        let _ = writeln!(yaml, "  observer_type: {}", pick(random, &["summary", "histogram", "\"\""]));
    } else if chance(random, 20) && !events {
        let _ =
            writeln!(yaml, "  summary_options: {{{}}}", pick(random, &["max_age: 1m", "age_buckets: 2", "buf_cap: 9"]));
    }
    if chance(random, 10) && !events {
        yaml.push_str("  help: \"some \\\"help\\\"\"\n");
    }
}

/// A regular expression of Go's syntax, or nearly.
pub fn expression(random: &mut fastrand::Rng) -> String {
    const PIECES: [&str; 61] = [
        "a",
        "b",
        ".",
        "-",
        "_",
        "é",
        "*",
        "+",
        "?",
        "(",
        ")",
        "|",
        "[",
        "]",
        "^",
        "$",
        "{",
        "}",
        "{2}",
        "{1,2}",
        "{,3}",
        "{01}",
        "{3,1}",
        r"\d",
        r"\D",
        r"\w",
        r"\W",
        r"\s",
        r"\S",
        r"\b",
        r"\.",
        r"\-",
        r"\_",
        r"\<",
        r"\x41",
        r"\x{e9}",
        r"\101",
        r"\0",
        r"\1",
        r"\Q.\E",
        r"\Q",
        r"\pL",
        r"\PL",
        r"\p{Greek}",
        r"\p{^Lu}",
        "(?i)",
        "(?:",
        "(?P<n>",
        "(?s-i:",
        "(?i-)",
        "[a-c]",
        "[^a-c]",
        "[[:alpha:]]",
        "[[:^digit:]]",
        r"[\w-]",
        r"[^\W.]",
        "[a&&b]",
        "[]-]",
        r"\A",
        r"\z",
        "&",
    ];
    (0..random.usize(1..8)).map(|_| pick(random, &PIECES)).collect()
}

/// A name; with `full`, one whose parts are all there and known.
pub fn name(random: &mut fastrand::Rng, full: bool) -> String {
    let parts: Vec<&str> = (0..random.usize(1..6))
        .map(|_| {
            if full || chance(random, 90) { pick(random, &PARTS) } else { pick(random, &["", "é", "A", "e.f", "a b"]) }
        })
        .collect();
    parts.join(".")
}

pub fn query(random: &mut fastrand::Rng) -> (String, String) {
    (pick(random, &TYPES).to_owned(), name(random, false))
}

pub fn event(random: &mut fastrand::Rng) -> Event {
    let metric = TYPES[random.usize(..3)];
    // Eighths add up without rounding, in whichever order.
    let value = f64::from(random.i32(-20..200)) / 8.0;
    let mut labels = BTreeMap::new();
    if chance(random, 30) {
        labels.insert("honored".to_owned(), pick(random, &["by", "a\"b\\c"]).to_owned());
    }
    if chance(random, 10) {
        labels.insert("a--tag.é".to_owned(), "v".to_owned());
    }
    Event { metric, name: name(random, true), value, relative: metric == "gauge" && random.bool(), labels }
}
