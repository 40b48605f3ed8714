//! What a registry keeps for the next process, so that counters go on where they were.
//!
//! The windows of summaries are not kept: their quantiles are of what came since the start, as they are after a pause.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use statline_series::{SeriesKey, Timestamp};

use super::histogram::Histogram;
use super::registry::{FamilyKind, Registry, Series, Value};
use super::summary::Summary;

/// What a registry holds, for another process to go on with. The windows of summaries are not in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// The series, in the order of their keys.
    pub series: Vec<SavedSeries>,
}

/// One series of a [`Saved`] registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedSeries {
    /// Its name and labels.
    pub key: SeriesKey,
    /// Its help text, when its rule had one.
    pub help: Option<String>,
    /// How long it stays without samples, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// When it got its last sample.
    pub last_seen: Timestamp,
    /// What it had come to.
    pub value: SavedValue,
}

/// What a series had come to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SavedValue {
    /// A counter's total.
    Counter(f64),
    /// A gauge's level.
    Gauge(f64),
    /// A summary's totals.
    Summary {
        /// The weight of all observations.
        count: f64,
        /// Their sum.
        sum: f64,
    },
    /// A histogram's totals.
    Histogram {
        /// The sum of all observations.
        sum: f64,
        /// The upper bounds, ascending, without the infinite one.
        bounds: Vec<f64>,
        /// The weight in each bucket alone: one more than there are bounds.
        weights: Vec<f64>,
    },
}

impl SavedValue {
    fn of(value: &Value) -> Self {
        match value {
            Value::Counter(total) => Self::Counter(*total),
            Value::Gauge(level) => Self::Gauge(*level),
            Value::Summary(summary) => Self::Summary { count: summary.count, sum: summary.sum },
            Value::Histogram(histogram) => Self::Histogram {
                sum: histogram.sum,
                bounds: histogram.bounds.to_vec(),
                weights: histogram.weights.clone(),
            },
        }
    }

    /// Nothing when it was damaged.
    fn restore(self) -> Option<(FamilyKind, Value)> {
        let is_total = |total: f64| total.is_finite() && total >= 0.0;
        match self {
            Self::Counter(total) if is_total(total) => Some((FamilyKind::Counter, Value::Counter(total))),
            Self::Gauge(level) if level.is_finite() => Some((FamilyKind::Gauge, Value::Gauge(level))),
            Self::Summary { count, sum } if is_total(count) && sum.is_finite() => {
                let mut summary = Summary::default();
                (summary.count, summary.sum) = (count, sum);
                Some((FamilyKind::Summary, Value::Summary(Box::new(summary))))
            }
            Self::Histogram { sum, bounds, weights }
                if sum.is_finite()
                    && weights.len() == bounds.len() + 1
                    && weights.iter().all(|weight| is_total(*weight))
                    && bounds.is_sorted_by(|a, b| a < b) =>
            {
                let histogram = Histogram { sum, weights, bounds: bounds.into() };
                Some((FamilyKind::Histogram, Value::Histogram(Box::new(histogram))))
            }
            _ => None,
        }
    }
}

impl Registry {
    /// What to keep for the next process.
    #[must_use]
    pub fn save(&self) -> Saved {
        let all = self.families.values().flat_map(|family| family.series.iter().map(move |entry| (family, entry)));
        let mut series: Vec<SavedSeries> = all
            .map(|(family, (key, series))| SavedSeries {
                key: key.clone(),
                help: family.help.as_deref().map(str::to_owned),
                ttl_ms: series.ttl.and_then(|ttl| u64::try_from(ttl.as_millis()).ok()),
                last_seen: series.last_seen,
                value: SavedValue::of(&series.value),
            })
            .collect();
        series.sort_by(|a, b| a.key.cmp(&b.key));
        Saved { series }
    }

    /// Goes on with what an earlier process kept, as something that earlier rules made: a rule that says otherwise replaces
    /// it. Answers how many series were damaged or beyond the limit and were left out.
    pub fn restore(&mut self, saved: Saved) -> usize {
        let mut left_out = 0;
        for SavedSeries { key, help, ttl_ms, last_seen, value } in saved.series {
            let Some((kind, value)) = value.restore() else {
                left_out += 1;
                continue;
            };
            let is_known = self
                .families
                .get(key.name())
                .is_some_and(|family| family.kind != kind || family.series.contains_key(&key));
            let Some(point_keys) = value.point_keys(&key).ok().filter(|_| !is_known) else {
                left_out += 1;
                continue;
            };
            let ttl = ttl_ms.map(Duration::from_millis);
            let generation = self.generation.wrapping_sub(1);
            let series = Series { value, point_keys, ttl, last_seen, generation };
            left_out += usize::from(self.insert(key, kind, help.map(Into::into), series).is_err());
        }
        left_out
    }
}
