//! Series that a mapping rule takes: asked once for each, added up in a registry that a scrape reads beside the flush.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use statline_series::{Batch, Timestamp};

use crate::counter::Counter;
use crate::gauge::Gauge;
use crate::known::Identity;
use crate::mapping::{GaugeChange, Mapped, Mapping, MetricType, Registry, Rules, Unit};
use crate::table::Family;
use crate::timer::Timer;

/// The rules in force, and what they have made.
#[derive(Debug)]
pub(crate) struct Mapper {
    rules: Option<Arc<Rules>>,
    registry: Arc<Mutex<Registry>>,
}

impl Mapper {
    /// No rules, and room for so many series.
    pub(crate) fn new(most_series: usize) -> Self {
        Self { rules: None, registry: Arc::new(Mutex::new(Registry::new(most_series))) }
    }

    /// What has been made, to be read by a scrape.
    pub(crate) fn registry(&self) -> Arc<Mutex<Registry>> {
        Arc::clone(&self.registry)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Registry> {
        lock(&self.registry)
    }

    pub(crate) fn set_rules(&mut self, rules: Option<Arc<Rules>>) {
        self.rules = rules;
        self.lock().rules_changed();
    }

    /// What a rule makes of a series, if one takes it. Sets have no form in Prometheus.
    pub(crate) fn identify(&self, family: Family, series: &str) -> Option<Identity> {
        let rules = self.rules.as_ref()?;
        let metric_type = match family {
            Family::Counter => MetricType::Counter,
            Family::Gauge => MetricType::Gauge,
            Family::Timer => MetricType::Observer,
            Family::Set => return None,
        };
        let mut parts = series.split(';');
        let name = parts.next().unwrap_or_default();
        let metric = match rules.map(metric_type, name, parts.filter_map(|tag| tag.split_once('='))) {
            Mapping::Unmapped => return None,
            Mapping::Dropped => None,
            Mapping::Refused(refusal) => {
                self.lock().count_refusal(&refusal);
                None
            }
            Mapping::Mapped(mapped) => Some(Arc::new(mapped)),
        };
        Some(Identity::Mapped { series: series.into(), metric })
    }
}

impl Identity {
    /// The metric that a rule made of the series; `None` when it becomes points, or nothing.
    pub(crate) fn metric(&self) -> Option<&Arc<Mapped>> {
        match self {
            Self::Path(_) => None,
            Self::Mapped { metric, .. } => metric.as_ref(),
        }
    }
}

/// Held for one metric at a time, so that a scrape never waits for a flush of a million series.
fn lock(registry: &Mutex<Registry>) -> MutexGuard<'_, Registry> {
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds what was counted in an interval to the metric that it is mapped to. Refusals are counted by the registry.
pub(crate) fn count(registry: &Mutex<Registry>, mapped: &Mapped, counter: Counter, now: Timestamp) {
    if counter.touched {
        let _ = lock(registry).count(mapped, counter.sum, now);
    }
}

/// Sets and moves the metric that a gauge is mapped to.
pub(crate) fn move_gauge(registry: &Mutex<Registry>, mapped: &Mapped, gauge: Gauge, now: Timestamp) {
    if !gauge.is_untouched() {
        let (set, delta) = gauge.parts();
        let _ = lock(registry).gauge(mapped, GaugeChange { set, delta }, now);
    }
}

/// Adds an interval's samples to the metric that a timer is mapped to.
pub(crate) fn observe(registry: &Mutex<Registry>, mapped: &Mapped, timer: &Timer, now: Timestamp) {
    if timer.is_empty() {
        return;
    }
    let unit = if timer.is_duration { Unit::Milliseconds } else { Unit::Unknown };
    let many = timer.many.iter().flat_map(|many| many.sketch.bins());
    let many = many.map(|bin| (f64::midpoint(bin.lower, bin.upper), bin.weight));
    let _ = lock(registry).observe(mapped, unit, timer.observations().chain(many), now);
}

/// Takes the points of a flush out of the registry.
pub(crate) fn flush(registry: &Mutex<Registry>, now: Timestamp, batch: &mut Batch) {
    let mut registry = lock(registry);
    registry.expire(now);
    registry.points(now, batch);
}
