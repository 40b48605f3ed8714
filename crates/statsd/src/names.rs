//! What the points of a flush are called, and what kind each of them is.
//!
//! Legacy namespace: `stats.X`, `stats_counts.X`, `stats.timers.X.mean`, `stats.gauges.X`, `stats.sets.X.count`. Without
//! it: `stats.counters.X.rate`, `.count`, and prefixes of one's own. A suffix stands before the tags.
//!
//! A timer's sketch is called as the timer is, `stats.timers.X`, with nothing behind it.

use statline_series::{Kind, SeriesKey};

use crate::FlushConfig;
use crate::config::BinEnd;

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

    /// What every key begins with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether a key could have been made with this name.
    pub(crate) fn made(&self, key: &SeriesKey) -> bool {
        let name = key.name();
        name.len() >= self.prefix.len() + self.ending.len()
            && name.starts_with(&self.prefix)
            && name.ends_with(&self.ending)
    }

    /// The two pieces of a key made with this name that are the series' own: its name, and its tags.
    fn pieces<'a>(&self, key: &'a SeriesKey) -> (&'a str, &'a str) {
        let (name, tags) = key.as_str().split_at(key.name().len());
        let name = name.get(self.prefix.len()..name.len() - self.ending.len().min(name.len()));
        (name.unwrap_or_default(), tags)
    }

    /// Whether a key made with this name is of that series.
    pub(crate) fn is_of(&self, key: &SeriesKey, series: &str) -> bool {
        let (name, tags) = self.pieces(key);
        series.len() == name.len() + tags.len() && series.starts_with(name) && series.ends_with(tags)
    }

    /// The series that a key was made for with this name.
    pub(crate) fn strip(&self, key: &SeriesKey) -> String {
        let (name, tags) = self.pieces(key);
        [name, tags].concat()
    }
}

/// The keys of a series, one for each name, in their order; `None` when one cannot be made.
pub(crate) fn keys<'a>(names: impl Iterator<Item = &'a Name>, series: &str) -> Option<Vec<SeriesKey>> {
    names.map(|name| name.key(series)).collect()
}

/// The names of each type, in the order in which a flush has the values.
#[derive(Debug)]
pub(crate) struct Names {
    /// Rate, then count when it is asked for.
    pub(crate) counter: Vec<Name>,
    /// The sketch, five for each threshold, [`Names::TIMER_LEAVES`], then the histogram's bins: those that are emitted.
    pub(crate) timer: Vec<TimerName>,
    /// The bins of each histogram, in the order of the configuration.
    pub(crate) bins: Vec<Vec<Name>>,
    /// The level.
    pub(crate) gauge: Vec<Name>,
    /// The number of members.
    pub(crate) set: Vec<Name>,
    /// The server's own figures, in the order of [`Names::OWN_LEAVES`].
    pub(crate) own: Vec<Name>,
}

/// One of the series that a timer becomes, and which of its figures that is.
#[derive(Debug)]
pub(crate) struct TimerName {
    pub(crate) name: Name,
    pub(crate) figure: Figure,
}

/// A figure of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// How its samples are distributed.
    Sketch,
    /// One of the five of a threshold, by the threshold's index: count, mean, boundary, sum, sum of squares.
    Threshold(usize, usize),
    /// One of [`Names::TIMER_LEAVES`], by its index.
    Summary(usize),
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

    /// Where `count` is among those, and where `count_ps`, which an idle timer still has.
    pub(crate) const COUNT: Figure = Figure::Summary(3);
    pub(crate) const COUNT_PS: Figure = Figure::Summary(4);

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

        let timer_prefix = [global, timers];
        let sketch = TimerName { name: Name::new(&timer_prefix, "", suffix, Kind::Untyped), figure: Figure::Sketch };
        let mut timer = vec![sketch];
        let mut add = |leaf: &str, kind, figure| {
            if is_calculated(&config.calculated_timer_metrics, leaf) {
                timer.push(TimerName { name: Name::new(&timer_prefix, leaf, suffix, kind), figure });
            }
        };
        for (index, percent) in config.percent_thresholds.iter().enumerate() {
            let label = percent.to_string().replacen('.', "_", 1).replacen('-', "top", 1);
            let (boundary, kind) = if *percent > 0.0 { ("upper", Kind::Maximum) } else { ("lower", Kind::Minimum) };
            let leaves = [
                ("count", Kind::Count),
                ("mean", Kind::Untyped),
                (boundary, kind),
                ("sum", Kind::Count),
                ("sum_squares", Kind::Count),
            ];
            for (figure, (leaf, kind)) in leaves.into_iter().enumerate() {
                add(&format!("{leaf}_{label}"), kind, Figure::Threshold(index, figure));
            }
        }
        for (index, (leaf, kind)) in Self::TIMER_LEAVES.into_iter().enumerate() {
            add(leaf, kind, Figure::Summary(index));
        }
        let has_bins = is_calculated(&config.calculated_timer_metrics, "histogram");
        let bins = config.histogram.iter().filter(|_| has_bins).map(|histogram| {
            let bin =
                |end: &BinEnd| Name::new(&timer_prefix, &format!("histogram.{}", end.label()), suffix, Kind::Count);
            histogram.bins.iter().map(bin).collect()
        });
        let bins = bins.collect();

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
            bins,
            gauge: vec![Name::new(&[global, gauges], "", suffix, Kind::Gauge)],
            set: vec![Name::new(&[global, sets], "count", suffix, Kind::Gauge)],
            own,
        }
    }
}

/// Whether a figure of timers is among those that are asked for: by its name, or, with the number of its percentile left
/// out as etsy has it, as `upper_percent`.
fn is_calculated(asked: &[String], leaf: &str) -> bool {
    let stem = leaf.trim_end_matches(|character: char| character.is_ascii_digit());
    let stem = stem.strip_suffix("top").unwrap_or(stem).strip_suffix('_');
    let is_one = |one: &String| one == leaf || (stem.is_some() && one.strip_suffix("_percent") == stem);
    asked.is_empty() || asked.iter().any(is_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<'a>(names: impl IntoIterator<Item = &'a Name>, series: &str) -> Vec<String> {
        keys(names.into_iter(), series).unwrap().iter().map(|key| key.as_str().to_owned()).collect()
    }

    fn timer_texts(names: &Names, series: &str) -> Vec<String> {
        texts(names.timer.iter().map(|timer| &timer.name), series)
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
            timer_texts(&names, "a;t=v")[1..],
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
        assert_eq!(timer_texts(&names, "a;t=v")[0], "stats.timers.a;t=v", "the sketch");
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
    fn only_the_figures_that_are_asked_for_have_names() {
        let names = Names::new(&FlushConfig {
            calculated_timer_metrics: ["count", "upper_90", "lower_percent", "no_such"].map(str::to_owned).into(),
            percent_thresholds: vec![90.0, -10.0],
            histogram: vec![crate::config::Histogram { metric: String::new(), bins: vec![BinEnd::new(1.0)] }],
            ..FlushConfig::default()
        });
        assert_eq!(
            timer_texts(&names, "a"),
            ["", ".upper_90", ".lower_top10", ".count"].map(|leaf| format!("stats.timers.a{leaf}"))
        );
        assert!(names.bins.is_empty());
    }

    #[test]
    fn a_key_tells_its_series() {
        let names = Names::new(&FlushConfig { global_suffix: "host1".to_owned(), ..FlushConfig::default() });
        for series in ["a", "", "a.b;t=v", "a.host1", "host1;x=y"] {
            for name in names.counter.iter().chain(&names.set).chain(names.timer.iter().map(|timer| &timer.name)) {
                let key = name.key(series).unwrap();
                assert_eq!(name.strip(&key), series);
                assert!(name.is_of(&key, series) && !name.is_of(&key, "a.b") && !name.is_of(&key, "a.b;t=w"));
            }
        }
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
        let longest = "k".repeat(crate::Limits::MAX_KEY_BYTES);
        assert_eq!(timer_texts(&names, &longest).len(), names.timer.len());
    }
}
