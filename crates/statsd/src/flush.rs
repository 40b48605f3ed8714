//! Closing an interval: the state becomes a batch of points, by etsy's formulas.
//!
//! A counter becomes a rate and a count; a timer its thresholds, its summary, its histogram and a sketch, or a count of 0
//! when it is idle; a gauge its level; a set the number of its members. Values with timestamps become points at the ends of
//! the intervals that they belong to. The server's own figures come last. All other points of a flush carry the same
//! instant.

use std::sync::Mutex;

use statline_series::{Batch, SeriesKey, SketchRow, Step, Timestamp};

use crate::FlushConfig;
use crate::known::Id;
use crate::mapped;
use crate::mapping::Registry;
use crate::names::{self, Figure, Name, Names};
use crate::state::{State, TIMED_FLUSHES, Timed};
use crate::table::Family;
use crate::timer::{Described, Scratch};

/// How many flushes lie between two looks for idle series.
const SWEEP_EVERY: u32 = 32;
/// For how many flushes a series is remembered that is not emitted any more.
const UNSPOKEN_FLUSHES: u32 = 64;

/// What the server knows of itself and the state does not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SelfFigures {
    /// Packets of this interval.
    pub packets_received: u64,
    /// Lines of this interval.
    pub metrics_received: u64,
    /// Values of this interval that could not be read.
    pub bad_lines_seen: u64,
    /// By how many seconds the time since the last flush differs from the interval; `None` at the first flush.
    pub timestamp_lag: Option<f64>,
    /// How long the last flush took, in milliseconds.
    pub processing_time: f64,
    /// The same, under another of etsy's names.
    pub calculation_time: f64,
    /// When storing points last failed, in seconds since the epoch.
    pub last_exception: f64,
    /// When points were last stored, in seconds since the epoch.
    pub last_flush: f64,
    /// How long that took, in milliseconds.
    pub flush_time: f64,
    /// How large it was, in points.
    pub flush_length: f64,
}

impl State {
    /// Counts what etsy's server counts of itself, as part of the open interval.
    #[expect(clippy::cast_precision_loss, reason = "no interval has 2^52 packets")]
    pub fn note(&mut self, figures: &SelfFigures) {
        let prefix = self.config.prefix_stats.clone();
        for (leaf, count) in [
            ("bad_lines_seen", figures.bad_lines_seen),
            ("packets_received", figures.packets_received),
            ("metrics_received", figures.metrics_received),
        ] {
            self.add_count(&format!("{prefix}.{leaf}"), count as f64);
        }
        if let Some(lag) = figures.timestamp_lag {
            self.set_gauge(&format!("{prefix}.timestamp_lag"), lag);
        }
    }

    /// Closes the interval and begins the next. `interval` is how long it was, `at` the instant that its points carry.
    pub fn flush(&mut self, interval: Step, at: Timestamp, figures: &SelfFigures) -> Batch {
        let mut points = Points { batch: Batch::default(), at, seconds: interval.seconds() };
        points.batch.rows.reserve(
            (self.counters.len() * self.names.counter.len())
                + (self.timers.len() * self.names.timer.len())
                + self.gauges.len()
                + self.sets.len()
                + self.own_keys.len(),
        );
        let registry = self.mapper.registry();
        self.emitted = self.flush_counters(&mut points, &registry)
            + self.flush_timers(&mut points, &registry)
            + self.flush_gauges(&mut points, &registry)
            + self.flush_sets(&mut points);
        mapped::flush(&registry, at, &mut points.batch);
        self.flush_timed(&mut points);
        self.flush_own(&mut points, figures);
        points.batch.events = std::mem::take(&mut self.events);
        (self.open_samples, self.open_set_bytes) = (0, 0);
        self.flushes_since_sweep += 1;
        if self.flushes_since_sweep >= SWEEP_EVERY || self.was_full {
            self.sweep();
        }
        points.batch
    }

    fn flush_counters(&mut self, points: &mut Points, registry: &Mutex<Registry>) -> usize {
        let forgets_idle = self.config.delete_counters;
        let names = &self.names.counter;
        let mut emitted = 0;
        for (_, entry) in self.counters.iter_mut() {
            entry.idle = if entry.value.touched { 0 } else { entry.idle.saturating_add(1) };
            let counter = entry.value.take();
            if let Some(metric) = entry.identity.metric() {
                mapped::count(registry, metric, counter, points.at);
            }
            let Some(keys) = entry.identity.keys().filter(|_| entry.idle == 0 || !forgets_idle) else { continue };
            emitted += 1;
            // The keys are one or two: a count is emitted only when it is asked for.
            for ((key, name), value) in keys.iter().zip(names).zip([counter.sum / points.seconds, counter.sum]) {
                points.push(key, name, value);
            }
        }
        emitted
    }

    fn flush_timers(&mut self, points: &mut Points, registry: &Mutex<Registry>) -> usize {
        let forgets_idle = self.config.delete_timers;
        let Self { timers, names, config, scratch, .. } = self;
        let mut emitted = 0;
        for (_, entry) in timers.iter_mut() {
            let is_idle = entry.value.timer.is_empty();
            entry.idle = if is_idle { entry.idle.saturating_add(1) } else { 0 };
            if let Some(metric) = entry.identity.metric() {
                mapped::observe(registry, metric, &entry.value.timer, points.at);
            }
            if let Some(keys) = entry.identity.keys().filter(|_| !is_idle || !forgets_idle) {
                emitted += 1;
                push_timer(points, keys, names, config, &mut entry.value, scratch);
            }
            entry.value.timer.clear();
        }
        emitted
    }

    fn flush_gauges(&mut self, points: &mut Points, registry: &Mutex<Registry>) -> usize {
        let Self { gauges, names, config, .. } = self;
        let mut emitted = 0;
        for (_, entry) in gauges.iter_mut() {
            let level = &mut entry.value;
            let was_forgotten = config.delete_gauges && entry.idle.saturating_add(1) >= config.gauges_max_ttl;
            let gauge = level.open.take();
            let is_idle = gauge.is_untouched();
            entry.idle = if is_idle { entry.idle.saturating_add(1) } else { 0 };
            if let Some(metric) = entry.identity.metric() {
                mapped::move_gauge(registry, metric, gauge, points.at);
            }
            if is_idle && was_forgotten {
                continue;
            }
            level.value = gauge.level(if was_forgotten { 0.0 } else { level.value });
            if let Some([key]) = entry.identity.keys() {
                emitted += 1;
                points.push(key, &names.gauge[0], level.value);
            }
        }
        emitted
    }

    #[expect(clippy::cast_precision_loss, reason = "a set has far fewer than 2^52 members")]
    fn flush_sets(&mut self, points: &mut Points) -> usize {
        let forgets_idle = self.config.delete_sets;
        let name = &self.names.set[0];
        let mut emitted = 0;
        for (_, entry) in self.sets.iter_mut() {
            entry.idle = if entry.value.is_empty() { entry.idle.saturating_add(1) } else { 0 };
            let set = entry.value.take();
            if entry.idle > 0 && forgets_idle {
                continue;
            }
            if let Some([key]) = entry.identity.keys() {
                emitted += 1;
                points.push(key, name, set.len() as f64);
            }
        }
        emitted
    }

    /// Emits what was added to since the last flush at instants that clients named. An instant belongs to the interval
    /// that ends at it or after it.
    fn flush_timed(&mut self, points: &mut Points) {
        let seconds = self.config.step.seconds();
        let names = &self.names;
        self.timed.retain(|key, at_instant| {
            if at_instant.idle == 0 {
                let (names, values) = match key.family {
                    Family::Counter => (&names.counter, [at_instant.value / seconds, at_instant.value]),
                    _ => (&names.gauge, [at_instant.value; 2]),
                };
                for (series_key, (name, value)) in
                    names::keys(names.iter(), &key.series).unwrap_or_default().iter().zip(names.iter().zip(values))
                {
                    points.push_at(series_key, name, key.timestamp, value);
                }
            }
            at_instant.idle += 1;
            at_instant.idle <= TIMED_FLUSHES
        });
    }

    #[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^52 series")]
    fn flush_own(&self, points: &mut Points, figures: &SelfFigures) {
        // In the order of the names.
        let values = [
            self.emitted as f64,
            figures.calculation_time,
            figures.processing_time,
            figures.last_exception,
            figures.last_flush,
            figures.flush_time,
            figures.flush_length,
        ];
        for ((key, name), value) in self.own_keys.iter().zip(&self.names.own).zip(values) {
            points.push(key, name, value);
        }
    }

    /// Forgets the series that have been idle for too long.
    fn sweep(&mut self) {
        self.flushes_since_sweep = 0;
        self.was_full = false;
        let most = |is_unspoken| match self.config.idle_flushes {
            0 if is_unspoken => UNSPOKEN_FLUSHES,
            0 => u32::MAX,
            idle if is_unspoken => idle.min(UNSPOKEN_FLUSHES),
            idle => idle,
        };
        let config = &self.config;
        let (counters, timers, sets) =
            (most(config.delete_counters), most(config.delete_timers), most(config.delete_sets));
        // A gauge that is deleted is emitted for a while first.
        let gauges =
            most(config.delete_gauges).saturating_add(if config.delete_gauges { config.gauges_max_ttl } else { 0 });
        for (family, ids) in [
            (Family::Counter, idle(self.counters.iter().map(|(id, entry)| (id, entry.idle)), counters)),
            (Family::Gauge, idle(self.gauges.iter().map(|(id, entry)| (id, entry.idle)), gauges)),
            (Family::Timer, idle(self.timers.iter().map(|(id, entry)| (id, entry.idle)), timers)),
            (Family::Set, idle(self.sets.iter().map(|(id, entry)| (id, entry.idle)), sets)),
        ] {
            self.remove_ids(family, &ids);
        }
    }
}

fn idle(entries: impl Iterator<Item = (Id, u32)>, most: u32) -> Vec<Id> {
    entries.filter(|(_, idle)| *idle >= most).map(|(id, _)| id).collect()
}

fn push_timer(
    points: &mut Points,
    keys: &[SeriesKey],
    names: &Names,
    config: &FlushConfig,
    timed: &mut Timed,
    scratch: &mut Scratch,
) {
    let Timed { timer, histogram } = timed;
    let per_second = timer.weight / points.seconds;
    let weight = timer.weight;
    if config.sketches
        && !timer.is_empty()
        && let Some(key) = keys.first()
    {
        points.batch.sketches.push(SketchRow { key: key.clone(), timestamp: points.at, sketch: timer.sketch() });
    }
    let Some(described) = timer.describe(config.weighted_timers, scratch) else {
        for (key, timer) in keys.iter().zip(&names.timer) {
            if matches!(timer.figure, Names::COUNT | Names::COUNT_PS) {
                points.push(key, &timer.name, 0.0);
            }
        }
        return;
    };
    let thresholds: Vec<[f64; 5]> =
        config.percent_thresholds.iter().map(|percent| threshold(&described, *percent)).collect();
    let summary = described.summary();
    let summary = [
        summary.std,
        summary.upper,
        summary.lower,
        weight,
        per_second,
        summary.sum,
        summary.sum_squares,
        summary.mean,
        summary.median,
    ];
    for (key, timer) in keys.iter().zip(&names.timer) {
        match timer.figure {
            Figure::Sketch => {}
            Figure::Threshold(index, figure) => points.push(key, &timer.name, thresholds[index][figure]),
            Figure::Summary(figure) => points.push(key, &timer.name, summary[figure]),
        }
    }
    if let Some(index) = histogram
        && let (Some(bins), Some(configured)) =
            (names.bins.get(usize::from(*index)), config.histogram.get(usize::from(*index)))
    {
        let ends: Vec<f64> = configured.bins.iter().map(|end| end.get()).collect();
        let counts = described.histogram(&ends);
        for ((key, name), count) in keys[names.timer.len().min(keys.len())..].iter().zip(bins).zip(counts) {
            points.push(key, name, count);
        }
    }
}

fn threshold(described: &Described<'_>, percent: f64) -> [f64; 5] {
    let threshold = described.threshold(percent);
    [threshold.count, threshold.mean, threshold.boundary, threshold.sum, threshold.sum_squares]
}

/// The points of one flush.
struct Points {
    batch: Batch,
    at: Timestamp,
    seconds: f64,
}

impl Points {
    /// Adds a value at the flush's instant. A missing value, NaN, is no point; one past the range of a double is its end.
    fn push(&mut self, key: &SeriesKey, name: &Name, value: f64) {
        self.push_at(key, name, self.at, value);
    }

    fn push_at(&mut self, key: &SeriesKey, name: &Name, at: Timestamp, value: f64) {
        if !value.is_nan() {
            self.batch.push(key.clone(), name.kind, at, value.clamp(f64::MIN, f64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use statline_series::Kind;

    use super::*;
    use crate::{Arrival, Grammar, Lane, Limits, Parser};

    /// A server of one thread, flushed every ten seconds.
    struct Server {
        lane: Lane,
        state: State,
        arrival: u64,
    }

    impl Server {
        fn new(config: FlushConfig) -> Self {
            let limits = Limits::default();
            Self { state: State::new(config, &limits).unwrap(), lane: Lane::new(limits), arrival: 0 }
        }

        fn receive(&mut self, packet: &str) {
            self.arrival += 1;
            let mut parser = Parser::new(&Limits::default(), Grammar::default());
            let table = self.lane.table();
            table.lock().unwrap().receive(&mut parser, packet.as_bytes(), Arrival::at(self.arrival), |refusal| {
                panic!("{packet:?}: {refusal}")
            });
        }

        /// What clients sent, as it is flushed; the server's own figures are left out.
        fn flush(&mut self) -> Vec<(String, f64)> {
            let mut points = self.flush_all(&SelfFigures::default());
            points.retain(|(name, _)| !name.contains("statsd"));
            points
        }

        fn flush_all(&mut self, figures: &SelfFigures) -> Vec<(String, f64)> {
            self.state.absorb(&mut self.lane);
            self.state.note(figures);
            let at = Timestamp::from_seconds(1_700_000_000);
            let batch = self.state.flush(Step::from_seconds(10).unwrap(), at, figures);
            assert!(batch.rows.iter().all(|row| row.point.timestamp == at));
            batch.rows.into_iter().map(|row| (row.key.as_str().to_owned(), row.point.value)).collect()
        }
    }

    fn sorted(mut points: Vec<(String, f64)>) -> Vec<(String, f64)> {
        points.sort_by(|left, right| left.0.cmp(&right.0));
        points
    }

    fn points(expected: &[(&str, f64)]) -> Vec<(String, f64)> {
        sorted(expected.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
    }

    #[test]
    fn counters_are_rates_and_counts_and_0_when_idle() {
        let mut server = Server::new(FlushConfig::default());
        server.receive("a:1|c:4|c\nb:1|c|@0.1|#t:v");
        assert_eq!(
            sorted(server.flush()),
            points(&[("stats.a", 0.5), ("stats_counts.a", 5.0), ("stats.b;t=v", 1.0), ("stats_counts.b;t=v", 10.0)])
        );
        server.receive("a:2|c");
        assert_eq!(
            sorted(server.flush()),
            points(&[("stats.a", 0.2), ("stats_counts.a", 2.0), ("stats.b;t=v", 0.0), ("stats_counts.b;t=v", 0.0)])
        );
    }

    #[test]
    fn a_timer_is_described_and_counted_0_when_idle() {
        let mut server = Server::new(FlushConfig::default());
        server.receive("t:10:20:30:40|ms|@0.5");
        assert_eq!(
            sorted(server.flush()),
            points(&[
                ("stats.timers.t.count_90", 4.0),
                ("stats.timers.t.mean_90", 25.0),
                ("stats.timers.t.upper_90", 40.0),
                ("stats.timers.t.sum_90", 100.0),
                ("stats.timers.t.sum_squares_90", 3000.0),
                ("stats.timers.t.std", 125.0_f64.sqrt()),
                ("stats.timers.t.upper", 40.0),
                ("stats.timers.t.lower", 10.0),
                ("stats.timers.t.count", 8.0),
                ("stats.timers.t.count_ps", 0.8),
                ("stats.timers.t.sum", 100.0),
                ("stats.timers.t.sum_squares", 3000.0),
                ("stats.timers.t.mean", 25.0),
                ("stats.timers.t.median", 25.0),
            ])
        );
        assert_eq!(sorted(server.flush()), points(&[("stats.timers.t.count", 0.0), ("stats.timers.t.count_ps", 0.0)]));
    }

    #[test]
    fn a_threshold_that_covers_no_sample_is_left_out() {
        let mut server = Server::new(FlushConfig { percent_thresholds: vec![10.0, -50.0], ..FlushConfig::default() });
        server.receive("t:1:2:3:4|ms");
        let names: Vec<String> = server.flush().into_iter().map(|(name, _)| name).collect();
        assert!(!names.iter().any(|name| name.ends_with("_10")), "{names:?}");
        assert!(names.contains(&"stats.timers.t.lower_top50".to_owned()), "{names:?}");
    }

    #[test]
    fn a_gauge_is_repeated_and_moved() {
        let mut server = Server::new(FlushConfig::default());
        for (packet, level) in [
            ("g:333|g", 333.0),
            ("g:-10|g", 323.0),
            ("g:+4|g", 327.0),
            ("h:1|c", 327.0),
            ("g:0|g\ng:-5|g", -5.0),
            ("g:-5|g", -10.0),
            ("g:1|g\ng:2|g", 2.0),
        ] {
            server.receive(packet);
            assert!(server.flush().contains(&("stats.gauges.g".to_owned(), level)), "{packet:?}");
        }
    }

    #[test]
    fn a_set_is_the_number_of_its_members_since_the_last_flush() {
        let mut server = Server::new(FlushConfig::default());
        server.receive("s:a|s:b|s:a|s:|s\ns:0|s");
        assert_eq!(server.flush(), points(&[("stats.sets.s.count", 3.0)]));
        assert_eq!(server.flush(), points(&[("stats.sets.s.count", 0.0)]));
    }

    #[test]
    fn what_is_idle_is_forgotten_when_asked() {
        let config = FlushConfig { gauges_max_ttl: 2, ..FlushConfig::default().with_delete_idle() };
        let mut server = Server::new(config);
        server.receive("c:1|c\ng:5|g\nt:1|ms\ns:x|s");
        assert_eq!(server.flush().len(), 2 + 1 + 14 + 1);
        assert_eq!(server.flush(), points(&[("stats.gauges.g", 5.0)]), "for one flush more than it was sent");
        assert_eq!(server.flush(), points(&[]));
        server.receive("g:+1|g");
        assert_eq!(server.flush(), points(&[("stats.gauges.g", 1.0)]), "a delta begins at 0 again");

        let mut server = Server::new(FlushConfig::default().with_delete_idle());
        server.receive("g:5|g");
        server.flush();
        server.receive("g:+1|g");
        assert_eq!(server.flush(), points(&[("stats.gauges.g", 1.0)]));
    }

    #[test]
    fn the_servers_own_figures_are_etsys() {
        let mut server = Server::new(FlushConfig::default());
        server.receive("a:1|c\nb:1|g");
        let figures = SelfFigures {
            packets_received: 20,
            metrics_received: 30,
            bad_lines_seen: 10,
            timestamp_lag: Some(0.0),
            processing_time: 1.0,
            calculation_time: 2.0,
            last_exception: 3.0,
            last_flush: 4.0,
            flush_time: 5.0,
            flush_length: 6.0,
        };
        let mut flushed = server.flush_all(&figures);
        flushed.retain(|(name, _)| name.contains("statsd"));
        assert_eq!(
            sorted(flushed),
            points(&[
                ("stats.statsd.bad_lines_seen", 1.0),
                ("stats_counts.statsd.bad_lines_seen", 10.0),
                ("stats.statsd.packets_received", 2.0),
                ("stats_counts.statsd.packets_received", 20.0),
                ("stats.statsd.metrics_received", 3.0),
                ("stats_counts.statsd.metrics_received", 30.0),
                ("stats.gauges.statsd.timestamp_lag", 0.0),
                ("statsd.numStats", 6.0),
                ("stats.statsd.processing_time", 1.0),
                ("stats.statsd.graphiteStats.calculationtime", 2.0),
                ("stats.statsd.graphiteStats.last_exception", 3.0),
                ("stats.statsd.graphiteStats.last_flush", 4.0),
                ("stats.statsd.graphiteStats.flush_time", 5.0),
                ("stats.statsd.graphiteStats.flush_length", 6.0),
            ])
        );
    }

    #[test]
    fn without_the_legacy_namespace_names_have_their_own_prefixes() {
        let mut server = Server::new(FlushConfig {
            legacy_namespace: false,
            flush_counts: false,
            prefix_counter: "n".to_owned(),
            ..FlushConfig::default()
        });
        server.receive("a:1|c|#t:v");
        assert_eq!(server.flush(), points(&[("stats.n.a.rate;t=v", 0.1)]));
    }

    #[test]
    fn every_point_has_the_kind_of_its_name() {
        let mut server = Server::new(FlushConfig::default());
        server.receive("c:1|c\ng:5|g\nt:1|ms\ns:x|s");
        server.state.absorb(&mut server.lane);
        let batch = server.state.flush(Step::SECOND, Timestamp::from_seconds(1), &SelfFigures::default());
        for row in &batch.rows {
            let by_path = Kind::of_path(row.key.name());
            let known_by_path_only_as_untyped =
                by_path == Kind::Untyped && matches!(row.kind, Kind::Rate | Kind::Gauge);
            assert!(row.kind == by_path || known_by_path_only_as_untyped, "{} is {:?}", row.key, row.kind);
        }
    }

    #[test]
    fn values_past_the_range_of_a_double_stay_at_its_end() {
        let mut server = Server::new(FlushConfig::default());
        server.receive("c:1.7e308|c:1.7e308|c\nt:1.7e308:1.7e308|ms\ng:1.7e308|g\ng:+1.7e308|g");
        for (name, value) in server.flush() {
            assert!(value.is_finite(), "{name} is {value}");
        }
    }
}
