//! Mapping files by hand: the corners of what is taken and refused.

pub struct File {
    pub config: &'static str,
    pub names: &'static [&'static str],
}

pub const SOUND: &[File] = &[
    File {
        // Overlapping globs, in the order of the file.
        config: "mappings:
- {match: 'a.*.*', name: wide, labels: {one: $1, two: $2}}
- {match: 'a.b.*', name: middle, labels: {one: $1}}
- {match: 'a.b.c', name: narrow}
- {match: '*.b.c', name: other, labels: {first: $1}}
",
        names: &["a.b.c", "a.b.d", "x.b.c", "a.x.y", "a.b", "a.b.c.d", "", "a", ".b.c", "a..", "A.b.c"],
    },
    File {
        // The same without order, which needs no turn to be taken back.
        config: "defaults: {glob_disable_ordering: true}
mappings:
- {match: 'a.*.*', name: wide, labels: {one: $1, two: $2}}
- {match: 'a.b.*', name: middle, labels: {one: $1}}
- {match: 'a.b.c', name: narrow}
- {match: '*.b.c', name: other, labels: {first: $1}}
",
        names: &["a.b.c", "a.b.d", "x.b.c", "a.x.y", "a.b", "x.y.z"],
    },
    File {
        // Without order, with turns that must be taken back.
        config: "defaults: {glob_disable_ordering: true}
mappings:
- {match: 'backtrack.*.bbb', name: found, labels: {one: $1}}
- {match: 'backtrack.justatest.aaa', name: literal}
- {match: '*.justatest.*.*', name: long, labels: {one: $1, two: $2, three: $3}}
- {match: 'x.*.*.end', name: ends, labels: {two: $2}}
",
        names: &[
            "backtrack.justatest.bbb",
            "backtrack.justatest.aaa",
            "backtrack.justatest.ccc",
            "x.justatest.b.end",
            "x.justatest.b.c",
            "x.y.z.end",
        ],
    },
    File {
        // A rule that an earlier one hides, and one that repeats an earlier one.
        config: "mappings:
- {match: 'a.b.c', name: longer}
- {match: 'a.b', name: hidden}
- {match: 'r.*', name: first}
- {match: '*.s', name: second}
- {match: 'r.*', name: repeat}
",
        names: &["a.b", "a.b.c", "r.s", "r.t", "q.s"],
    },
    File {
        // Globs before expressions, whatever the order of the file; types; drops; $0.
        config: r#"mappings:
- {match: '(.*)\.(.*)--(.*)\.status\.(.*)\.count', match_type: regex, name: request_total,
   labels: {hostname: $1, exec: $2, protocol: $3, code: '$4'}}
- {match: 'bot\.(\w+)', match_type: regex, match_metric_type: counter, name: 'bot_${1}', labels: {whole: $0}}
- {match: 'bot\.(?P<rest>.*)', match_type: regex, name: bot, labels: {rest: $rest, dollar: $$rest, none: $5, odd: '${rest'}}
- {match: 'bot.*.x', name: globbed, labels: {whole: $0}}
- {match: 'noise.*', action: drop, name: dropped}
- {match: 'gauges.*', match_metric_type: gauge, name: 'level_${1}'}
- {match: 'gauges.*', match_metric_type: observer, name: 'seconds_${1}'}
- {match: '\.$', match_type: regex, action: drop, name: ends_in_dot}
- {match: '^1', match_type: regex, name: '$0', labels: {whole: $0}}
"#,
        names: &[
            "host.exec--http.status.200.count",
            "bot.a.x",
            "bot.messages",
            "bot.é",
            "bot.",
            "noise.a",
            "gauges.b",
            "other.",
            "1abc",
            "x1",
        ],
    },
    File {
        // What a reference takes after it.
        config: "mappings:
- {match: 'a.*.*', name: '${1}_$2', labels: {unbraced: $1_x, braced: '${1}_x', both: $1$2, zero: $0, nine: $9, named: $name,
   percent: 100%, lone: $, open: '${1', close: '$1}', leading: $01, dashes: $1-$2}}
- {match: 'b.*', name: '${0}_total'}
- {match: 'c.*', name: '$1'}
- {match: 'd.*', name: '$2'}
",
        names: &["a.b.c", "a.1.2", "b.c-d", "c.", "c.1", "c.--x---y", "d.x", "a..c"],
    },
    File {
        // Scalars of YAML 1.1, merge keys, aliases, other documents.
        config: "defaults: {observer_type: histogram, ttl: 1000000000, histogram_options: &options {buckets: [.5, 1, 010, 1e3, 0x7D0]}}
mappings:
- &base {match: a, name: aa, honor_labels: yes, labels: &labels {number: 1.10, truth: yes, date: 2001-01-01, null_value: ~}}
- {<<: *base, match: b, ttl: 1m20s, scale: 1_000}
- {match: c, <<: *base, name: cc}
- {match: d, name: dd, labels: {<<: *labels, more: more}, scale: .5e1}
- {<<: [{match: e, name: first}, {name: second, help: help}]}
- match: f
  name: ff
  histogram_options: *options
  action:
  help: |
    two
    lines
---
not: read
",
        names: &["a", "b", "c", "d", "e", "f", "aa", "cc"],
    },
    File { config: "", names: &["a"] },
    File { config: "---\n# nothing\n", names: &["a"] },
    File { config: "mappings:\n", names: &["a"] },
    File { config: "defaults:\nmappings: []\n", names: &["a"] },
    File {
        // Where nobody chose a type, options of one's own take none of the defaults but quantiles.
        config: "defaults: {summary_options: {max_age: 30s, age_buckets: 2, buf_cap: 7, quantiles: [{quantile: 0.9, error: 0.01}, {quantile: 0.1}]}}
mappings:
- {match: plain, name: plain}
- {match: own, name: own, summary_options: {max_age: 1m}}
- {match: chosen, name: chosen, observer_type: summary, summary_options: {max_age: 1m}}
- {match: blank, name: blank, observer_type: '', summary_options: {age_buckets: 9.7}}
- {match: other, name: other, histogram_options: {buckets: [1, 2]}}
- {match: histogram, name: histogram, observer_type: histogram, histogram_options: {native_histogram_bucket_factor: 1.1, native_histogram_max_buckets: 256}}
",
        names: &["plain", "own", "chosen", "blank", "other", "histogram"],
    },
];

/// What statsd_exporter refuses, and we do.
pub const BROKEN: &[&str] = &[
    "]",
    "- a\n",
    "text\n",
    "mappings: {}\n",
    "mappings: text\n",
    "mapping:\n- match: a\n  name: b\n",
    "defaults: []\n",
    "defaults: {match_type: globb}\n",
    "defaults: {observer_type: counter}\n",
    "defaults: {ttl: 10}\nttl: 1\n",
    "defaults: {ttl: ten}\n",
    "defaults: {ttl: 1d}\n",
    "defaults: {glob_disable_ordering: maybe}\n",
    "defaults: {glob_disable_ordering: 1}\n",
    "defaults: {histogram_options: {buckets: 1}}\n",
    "defaults: {histogram_options: {buckets: [a]}}\n",
    "defaults: {summary_options: {age_buckets: -1}}\n",
    "defaults: {summary_options: {quantiles: [0.5]}}\n",
    "defaults: {summary_options: {quantile: []}}\n",
    "mappings:\n- match: a\n",
    "mappings:\n- name: a\n",
    "mappings:\n-\n",
    "mappings:\n- match: a\n  action: drop\n",
    "mappings:\n- match: a\n  name: a\n  unknown: b\n",
    "mappings:\n- match: a\n  name: a\n  name: b\n",
    "mappings:\n- match: a\n  name: a\n  labels: {one: 1, one: 2}\n",
    "mappings:\n- match: a\n  name: a\n  labels: {a: too short}\n",
    "mappings:\n- match: a\n  name: a\n  labels: {1a: digit}\n",
    "mappings:\n- match: a\n  name: a\n  labels: {a-b: dash}\n",
    "mappings:\n- match: a\n  name: a\n  labels: {ab: [list]}\n",
    "mappings:\n- match: a\n  name: a\n  labels: {\"ab\\n\": newline}\n",
    "mappings:\n- match: a\n  name: a-b\n",
    "mappings:\n- match: a\n  name: a.b\n",
    "mappings:\n- match: a\n  name: 1a\n",
    "mappings:\n- match: a\n  name: $name\n",
    "mappings:\n- match: a\n  name: \"a b\"\n",
    "mappings:\n- match: a*\n  name: a\n",
    "mappings:\n- match: a.b*\n  name: a\n",
    "mappings:\n- match: a..b\n  name: a\n",
    "mappings:\n- match: .a\n  name: a\n",
    "mappings:\n- match: 1a\n  name: a\n",
    "mappings:\n- match: -a\n  name: a\n",
    "mappings:\n- match: a.-b\n  name: a\n",
    "mappings:\n- match: \"a b\"\n  name: a\n",
    "mappings:\n- match: \"\"\n  name: a\n",
    "mappings:\n- match: \"a\\n\"\n  name: a\n",
    "mappings:\n- match: a.**\n  name: a\n",
    "mappings:\n- match: (\n  match_type: regex\n  name: a\n",
    "mappings:\n- match: a**\n  match_type: regex\n  name: a\n",
    "mappings:\n- match: (?=a)\n  match_type: regex\n  name: a\n",
    "mappings:\n- match: '\\1'\n  match_type: regex\n  name: a\n",
    "mappings:\n- match: a\n  match_type: wild\n  name: a\n",
    "mappings:\n- match: a\n  name: a\n  action: keep\n",
    "mappings:\n- match: a\n  name: a\n  match_metric_type: set\n",
    "mappings:\n- match: a\n  name: a\n  match_metric_type: \"\"\n",
    "mappings:\n- match: a\n  name: a\n  scale: big\n",
    "mappings:\n- match: a\n  name: a\n  honor_labels: 1\n",
    "mappings:\n- match: a\n  name: a\n  ttl: 1 s\n",
    "mappings:\n- match: a\n  name: a\n  observer_type: histogram\n  summary_options: {}\n",
    "mappings:\n- match: a\n  name: a\n  observer_type: summary\n  histogram_options: {}\n",
    "defaults: {observer_type: histogram}\nmappings:\n- match: a\n  name: a\n  summary_options: {max_age: 1s}\n",
    "mappings:\n- &a {match: a, name: a, labels: {<<: *a}}\n",
    "mappings:\n- match: \"test\\.(\\w+)\"\n  match_type: regex\n  name: a\n",
    "mappings:\n- match: a\n  name: !!int b\n",
    "mappings:\n\t- match: a\n",
];

/// What statsd_exporter takes and fails at later, or which cannot be kept here.
pub const REFUSED_HERE_ONLY: &[&str] = &[
    "mappings:\n- match: a\n  name: a\n  labels: {__name__: b}\n",
    "mappings:\n- match: a\n  name: a\n  scale: .inf\n",
    "mappings:\n- match: a\n  name: a\n  ttl: -1s\n",
    "mappings:\n- match: a\n  name: a\n  summary_options: {max_age: -1s}\n",
    "mappings:\n- match: a\n  name: a\n  summary_options: {age_buckets: 61}\n",
    "mappings:\n- match: a\n  name: a\n  summary_options: {quantiles: [{quantile: 99}]}\n",
    "defaults: {histogram_options: {buckets: [2, 1]}}\n",
    "fsm: {}\n",
];

/// What statsd_exporter read until its release 0.30.
pub const TAKEN_HERE_ONLY: &[&str] = &[
    "defaults: {timer_type: histogram, buckets: [1, 2], quantiles: [{quantile: 0.5, error: 0.05}]}\n",
    "mappings:\n- match: a\n  name: a\n  timer_type: histogram\n  buckets: [1, 2]\n",
    "mappings:\n- match: a\n  name: a\n  observer_type: summary\n  quantiles: [{quantile: 0.5, error: 0.05}]\n",
    "mappings:\n- match: a\n  name: a\n  match_metric_type: timer\n",
];
