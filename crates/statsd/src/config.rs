//! How a flush names what it emits, and what it forgets. The keys and defaults are etsy's.

use serde::{Deserialize, Serialize};
use statline_series::Step;
use thiserror::Error;

/// What an operator can choose about a flush.
#[derive(Clone, Debug, PartialEq)]
pub struct FlushConfig {
    /// Percentiles of timers: above 0 the smallest part of the samples, below 0 the largest.
    pub percent_thresholds: Vec<f64>,
    /// `stats.X` and `stats_counts.X` rather than `stats.counters.X.rate` and `.count`. The prefixes below, but for
    /// `prefix_stats`, mean something only without it.
    pub legacy_namespace: bool,
    /// Whether counters are also emitted as counts, beside rates.
    pub flush_counts: bool,
    /// What every name begins with.
    pub global_prefix: String,
    /// What follows it for counters.
    pub prefix_counter: String,
    /// What follows it for timers.
    pub prefix_timer: String,
    /// What follows it for gauges.
    pub prefix_gauge: String,
    /// What follows it for sets.
    pub prefix_set: String,
    /// What every name ends with, before its tags.
    pub global_suffix: String,
    /// What the server's own figures are called.
    pub prefix_stats: String,
    /// Whether a counter that nothing was counted in is left out, rather than 0.
    pub delete_counters: bool,
    /// Whether a timer without samples is left out, rather than a count of 0.
    pub delete_timers: bool,
    /// Whether a set without members is left out, rather than 0.
    pub delete_sets: bool,
    /// Whether a gauge is forgotten that was not sent for `gauges_max_ttl` flushes, rather than repeated.
    pub delete_gauges: bool,
    /// For how many flushes a gauge is emitted after it was sent.
    pub gauges_max_ttl: u32,
    /// The figures of timers that are emitted, such as `count` and `upper_90`; all when there are none.
    pub calculated_timer_metrics: Vec<String>,
    /// Histograms of timers. The first whose metric is part of a timer's name is its own.
    pub histogram: Vec<Histogram>,
    /// Whether sums, means and percentiles of timers are weighted by sample rates, as counts are.
    pub weighted_timers: bool,
    /// Whether each timer's distribution is emitted as a sketch beside its figures.
    pub sketches: bool,
    /// For how many flushes a series may be idle before it is forgotten; 0 for ever.
    pub idle_flushes: u32,
    /// How far flushes are apart, which values with timestamps are put into.
    pub step: Step,
}

/// The bins that some timers' samples are counted in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// What a timer's name must hold; every name holds the empty text.
    pub metric: String,
    /// The upper ends of the bins, ascending, each outside of its bin. Without any, the timers have no histogram.
    pub bins: Vec<BinEnd>,
}

/// The upper end of a bin: a number, or the text `inf`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Bound", into = "Bound")]
pub struct BinEnd(f64);

/// How a configuration writes the end of a bin.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Bound {
    Whole(i64),
    Number(f64),
    Text(String),
}

impl TryFrom<Bound> for BinEnd {
    type Error = String;

    #[expect(clippy::cast_precision_loss, reason = "the end of a bin")]
    fn try_from(bound: Bound) -> Result<Self, Self::Error> {
        match bound {
            Bound::Whole(end) => Ok(Self(end as f64)),
            Bound::Number(end) if !end.is_nan() => Ok(Self(end)),
            Bound::Text(text) if text == "inf" => Ok(Self(f64::INFINITY)),
            Bound::Number(end) => Err(format!("the end of a bin is a number or \"inf\", got {end}")),
            Bound::Text(text) => Err(format!("the end of a bin is a number or \"inf\", got {text:?}")),
        }
    }
}

impl From<BinEnd> for Bound {
    fn from(end: BinEnd) -> Self {
        if end.0 == f64::INFINITY { Self::Text("inf".to_owned()) } else { Self::Number(end.0) }
    }
}

impl BinEnd {
    /// The end of a bin.
    #[must_use]
    pub const fn new(end: f64) -> Self {
        Self(end)
    }

    /// The number; infinity for `inf`.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// What its bin is called: `bin_0_5`, `bin_inf`.
    pub(crate) fn label(self) -> String {
        if self.0 == f64::INFINITY { "bin_inf".to_owned() } else { format!("bin_{}", self.0).replacen('.', "_", 1) }
    }
}

impl Default for FlushConfig {
    fn default() -> Self {
        Self {
            percent_thresholds: vec![90.0],
            legacy_namespace: true,
            flush_counts: true,
            global_prefix: "stats".to_owned(),
            prefix_counter: "counters".to_owned(),
            prefix_timer: "timers".to_owned(),
            prefix_gauge: "gauges".to_owned(),
            prefix_set: "sets".to_owned(),
            global_suffix: String::new(),
            prefix_stats: "statsd".to_owned(),
            delete_counters: false,
            delete_timers: false,
            delete_sets: false,
            delete_gauges: false,
            gauges_max_ttl: 1,
            calculated_timer_metrics: Vec::new(),
            histogram: Vec::new(),
            weighted_timers: false,
            sketches: true,
            idle_flushes: 0,
            step: Step::SECOND,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Error, PartialEq)]
pub enum ConfigError {
    /// A threshold that is no part of the samples.
    #[error("a percent threshold is from -100 to 100, is not 0, and has at most 6 decimals; got {0}")]
    Threshold(f64),
    /// A threshold that stands twice, and would give two series one name.
    #[error("percent threshold {0} is given twice")]
    DuplicateThreshold(f64),
    /// A prefix or suffix that cannot be part of a series' name.
    #[error(
        "{key} has only a-z, A-Z, 0-9, '_', '-' and '.' in it and at most {MAX_AFFIX_BYTES} of them, got {value:?}"
    )]
    Affix {
        /// The key of the configuration.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// Bins that do not ascend, or of which there are too many.
    #[error("the bins of histogram {metric:?} must ascend, and be at most {MOST_BINS}")]
    Bins {
        /// The metric of the histogram.
        metric: String,
    },
    /// The server's own figures need a name.
    #[error("prefix_stats may not be empty")]
    EmptyPrefixStats,
}

/// The longest prefix or suffix, in bytes.
pub const MAX_AFFIX_BYTES: usize = 256;

/// The most bins of a histogram.
pub const MOST_BINS: usize = 256;

impl FlushConfig {
    /// Forgets whatever is idle: etsy's `deleteIdleStats`.
    #[must_use]
    pub fn with_delete_idle(self) -> Self {
        Self { delete_counters: true, delete_timers: true, delete_sets: true, delete_gauges: true, ..self }
    }

    /// Says what is wrong, if anything is.
    ///
    /// # Errors
    /// The first thing found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (index, percent) in self.percent_thresholds.iter().enumerate() {
            let decimals = percent.to_string().split_once('.').map_or(0, |(_, decimals)| decimals.len());
            if !(percent.abs() > 0.0 && percent.abs() <= 100.0 && decimals <= 6) {
                return Err(ConfigError::Threshold(*percent));
            }
            if self.percent_thresholds[..index].contains(percent) {
                return Err(ConfigError::DuplicateThreshold(*percent));
            }
        }
        for (key, value) in [
            ("global_prefix", &self.global_prefix),
            ("prefix_counter", &self.prefix_counter),
            ("prefix_timer", &self.prefix_timer),
            ("prefix_gauge", &self.prefix_gauge),
            ("prefix_set", &self.prefix_set),
            ("global_suffix", &self.global_suffix),
            ("prefix_stats", &self.prefix_stats),
        ] {
            let fits = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
            if !fits || value.len() > MAX_AFFIX_BYTES {
                return Err(ConfigError::Affix { key, value: value.clone() });
            }
        }
        for Histogram { metric, bins } in &self.histogram {
            let ascend = bins.windows(2).all(|pair| pair[0].get() < pair[1].get());
            if bins.len() > MOST_BINS || !ascend {
                return Err(ConfigError::Bins { metric: metric.clone() });
            }
        }
        if self.prefix_stats.is_empty() {
            return Err(ConfigError::EmptyPrefixStats);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_configuration_is_said() {
        let base = FlushConfig::default();
        assert_eq!(base.validate(), Ok(()));
        for percent in [0.0, 101.0, -100.5, f64::INFINITY, 1e-7] {
            let config = FlushConfig { percent_thresholds: vec![percent], ..base.clone() };
            assert_eq!(config.validate(), Err(ConfigError::Threshold(percent)));
        }
        assert!(FlushConfig { percent_thresholds: vec![f64::NAN], ..base.clone() }.validate().is_err());
        assert_eq!(
            FlushConfig { percent_thresholds: vec![90.0, 99.9, 90.0], ..base.clone() }.validate(),
            Err(ConfigError::DuplicateThreshold(90.0))
        );
        assert_eq!(
            FlushConfig { global_suffix: "a;b".to_owned(), ..base.clone() }.validate(),
            Err(ConfigError::Affix { key: "global_suffix", value: "a;b".to_owned() })
        );
        for bins in [&[1.0, 1.0][..], &[f64::INFINITY, 1.0], &[0.0; MOST_BINS + 1]] {
            let bins = bins.iter().copied().map(BinEnd::new).collect();
            let histogram = vec![Histogram { metric: "m".to_owned(), bins }];
            let config = FlushConfig { histogram, ..base.clone() };
            assert_eq!(config.validate(), Err(ConfigError::Bins { metric: "m".to_owned() }));
        }
        assert!(FlushConfig { global_prefix: "x".repeat(257), ..base.clone() }.validate().is_err());
        assert_eq!(FlushConfig { prefix_stats: String::new(), ..base }.validate(), Err(ConfigError::EmptyPrefixStats));
    }
}
