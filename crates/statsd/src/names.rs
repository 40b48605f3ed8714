//! What the points of a flush are called, and what kind each of them is.
//!
//! Legacy namespace: `stats.X`, `stats_counts.X`, `stats.timers.X.mean`, `stats.gauges.X`, `stats.sets.X.count`. Without
//! it: `stats.counters.X.rate`, `.count`, and prefixes of one's own. A suffix stands before the tags.

use statline_series::{Kind, SeriesKey};

use crate::FlushConfig;

/// One of the series that a statsd series becomes.
#[derive(Debug)]
pub(crate) struct Name {
    /// What comes before the series' name, with its dot.
    prefix: String,
    /// What comes after it, with its dot, suffix included.
    ending: String,
    /// What its points mean.
    pub(crate) kind: Kind,
}

impl Name {
    fn new(prefix: &[&str], leaf: &str, suffix: &str, kind: Kind) -> Self {
        let mut name = Self { prefix: String::new(), ending: String::new(), kind };
        for part in prefix.iter().filter(|part| !part.is_empty()) {
            name.prefix.push_str(part);
            name.prefix.push('.');
        }
        for part in [leaf, suffix].iter().filter(|part| !part.is_empty()) {
            name.ending.push('.');
            name.ending.push_str(part);
        }
        name
    }

    /// The key for a series of ours, `name;tag=value;…`. `None` only for a text that no key could be made of.
    fn key(&self, series: &str) -> Option<SeriesKey> {
        let name_end = series.find(';').unwrap_or(series.len());
        let (name, tags) = series.split_at(name_end);
        let text = [&self.prefix, name, &self.ending, tags].concat();
        SeriesKey::parse(&text).ok()
    }
}

/// The keys of a series, one for each name, in their order; empty when one could not be made.
pub(crate) fn keys(names: &[Name], series: &str) -> Box<[SeriesKey]> {
    names.iter().map(|name| name.key(series)).collect::<Option<_>>().unwrap_or_default()
}

/// The names of each type, in the order in which a flush has the values.
#[derive(Debug)]
pub(crate) struct Names {
    /// Rate, then count when it is asked for.
    pub(crate) counter: Vec<Name>,
    /// Five for each threshold, then [`Names::TIMER_LEAVES`].
    pub(crate) timer: Vec<Name>,
    /// Where `count` and `count_ps` are among the timer's.
    pub(crate) timer_count: usize,
    /// The level.
    pub(crate) gauge: Vec<Name>,
    /// The number of members.
    pub(crate) set: Vec<Name>,
    /// The server's own figures, in the order of [`Names::OWN_LEAVES`].
    pub(crate) own: Vec<Name>,
}

impl Names {
    /// What is said of all samples of a timer.
    const TIMER_LEAVES: [(&'static str, Kind); 9] = [
        ("std", Kind::Untyped),
        ("upper", Kind::Maximum),
        ("lower", Kind::Minimum),
        ("count", Kind::Count),
        ("count_ps", Kind::Rate),
        ("sum", Kind::Count),
        ("sum_squares", Kind::Count),
        ("mean", Kind::Untyped),
        ("median", Kind::Untyped),
    ];

    /// What the server says of itself, beside its counters.
    const OWN_LEAVES: [&'static str; 7] = [
        "numStats",
        "graphiteStats.calculationtime",
        "processing_time",
        "graphiteStats.last_exception",
        "graphiteStats.last_flush",
        "graphiteStats.flush_time",
        "graphiteStats.flush_length",
    ];

    pub(crate) fn new(config: &FlushConfig) -> Self {
        let suffix = config.global_suffix.as_str();
        let legacy = config.legacy_namespace;
        let global = if legacy { "stats" } else { &config.global_prefix };
        let (timers, gauges, sets) = if legacy {
            ("timers", "gauges", "sets")
        } else {
            (config.prefix_timer.as_str(), config.prefix_gauge.as_str(), config.prefix_set.as_str())
        };

        let (rate, count) = if legacy {
            (Name::new(&["stats"], "", suffix, Kind::Rate), Name::new(&["stats_counts"], "", suffix, Kind::Count))
        } else {
            let prefix = [global, &config.prefix_counter];
            (Name::new(&prefix, "rate", suffix, Kind::Rate), Name::new(&prefix, "count", suffix, Kind::Count))
        };
        let counter = if config.flush_counts { vec![rate, count] } else { vec![rate] };

        let mut leaves = Vec::new();
        for percent in &config.percent_thresholds {
            let label = percent.to_string().replacen('.', "_", 1).replacen('-', "top", 1);
            let (boundary, kind) = if *percent > 0.0 { ("upper", Kind::Maximum) } else { ("lower", Kind::Minimum) };
            leaves.push((format!("count_{label}"), Kind::Count));
            leaves.push((format!("mean_{label}"), Kind::Untyped));
            leaves.push((format!("{boundary}_{label}"), kind));
            leaves.push((format!("sum_{label}"), Kind::Count));
            leaves.push((format!("sum_squares_{label}"), Kind::Count));
        }
        let timer_count = leaves.len() + 3;
        leaves.extend(Self::TIMER_LEAVES.map(|(leaf, kind)| (leaf.to_owned(), kind)));
        let timer = leaves.iter().map(|(leaf, kind)| Name::new(&[global, timers], leaf, suffix, *kind)).collect();

        let own = Self::OWN_LEAVES
            .map(|leaf| {
                // Only this one has no "stats." before it in the legacy namespace.
                let prefix = if legacy && leaf == "numStats" { "" } else { global };
                Name::new(&[prefix], leaf, suffix, Kind::Gauge)
            })
            .into();
        Self {
            counter,
            timer,
            timer_count,
            gauge: vec![Name::new(&[global, gauges], "", suffix, Kind::Gauge)],
            set: vec![Name::new(&[global, sets], "count", suffix, Kind::Gauge)],
            own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[Name], series: &str) -> Vec<String> {
        keys(names, series).iter().map(|key| key.as_str().to_owned()).collect()
    }

    #[test]
    fn the_legacy_namespace_is_etsys() {
        let names = Names::new(&FlushConfig {
            percent_thresholds: vec![99.9, -10.0],
            global_prefix: "ignored".to_owned(),
            prefix_timer: "ignored".to_owned(),
            ..FlushConfig::default()
        });
        assert_eq!(texts(&names.counter, "a.b;t=v"), ["stats.a.b;t=v", "stats_counts.a.b;t=v"]);
        assert_eq!(texts(&names.gauge, "a"), ["stats.gauges.a"]);
        assert_eq!(texts(&names.set, "a;t=v"), ["stats.sets.a.count;t=v"]);
        assert_eq!(
            texts(&names.timer, "a;t=v"),
            [
                "count_99_9",
                "mean_99_9",
                "upper_99_9",
                "sum_99_9",
                "sum_squares_99_9",
                "count_top10",
                "mean_top10",
                "lower_top10",
                "sum_top10",
                "sum_squares_top10",
                "std",
                "upper",
                "lower",
                "count",
                "count_ps",
                "sum",
                "sum_squares",
                "mean",
                "median",
            ]
            .map(|leaf| format!("stats.timers.a.{leaf};t=v"))
        );
        assert_eq!(texts(&names.timer, "a")[names.timer_count], "stats.timers.a.count");
        assert_eq!(texts(&names.own, "statsd")[..2], ["statsd.numStats", "stats.statsd.graphiteStats.calculationtime"]);
        assert_eq!(texts(&names.counter, ""), ["stats.", "stats_counts."]);
    }

    #[test]
    fn prefixes_and_suffix_are_used_without_it() {
        let names = Names::new(&FlushConfig {
            legacy_namespace: false,
            global_prefix: "p".to_owned(),
            prefix_gauge: String::new(),
            global_suffix: "host1".to_owned(),
            ..FlushConfig::default()
        });
        assert_eq!(texts(&names.counter, "a;t=v"), ["p.counters.a.rate.host1;t=v", "p.counters.a.count.host1;t=v"]);
        assert_eq!(texts(&names.gauge, "a"), ["p.a.host1"]);
        assert_eq!(texts(&names.set, "a"), ["p.sets.a.count.host1"]);
        assert_eq!(texts(&names.own, "statsd")[0], "p.statsd.numStats.host1");
    }

    #[test]
    fn the_longest_key_still_has_a_name() {
        let affix = "x".repeat(crate::config::MAX_AFFIX_BYTES);
        let config = FlushConfig {
            legacy_namespace: false,
            global_prefix: affix.clone(),
            prefix_timer: affix.clone(),
            global_suffix: affix,
            percent_thresholds: vec![-99.999_999],
            ..FlushConfig::default()
        };
        assert_eq!(config.validate(), Ok(()));
        let names = Names::new(&config);
        assert_eq!(keys(&names.timer, &"k".repeat(crate::Limits::MAX_KEY_BYTES)).len(), names.timer.len());
    }
}
