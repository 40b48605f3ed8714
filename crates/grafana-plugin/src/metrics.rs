//! What the server counts about itself, in Prometheus text format.
//!
//! The plugin's own metrics follow it in the same answer, so all names here begin with `plugin_`.

use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// The server's counters.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) queries_ok: AtomicU64,
    pub(crate) queries_plugin_error: AtomicU64,
    pub(crate) queries_downstream_error: AtomicU64,
    pub(crate) queries_cancelled: AtomicU64,
    pub(crate) queries_refused: AtomicU64,
    pub(crate) requests_too_large: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) queries_running: AtomicI64,
    pub(crate) streams_running: AtomicI64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// One more of something for as long as this lives.
pub(crate) struct Running<'a>(&'a AtomicI64);

impl<'a> Running<'a> {
    pub(crate) fn begin(gauge: &'a AtomicI64) -> Self {
        gauge.fetch_add(1, Relaxed);
        Self(gauge)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Metrics {
    /// All of them as text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(&str, i128)]| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        let total = |counter: &AtomicU64| i128::from(counter.load(Relaxed));
        let level = |gauge: &AtomicI64| i128::from(gauge.load(Relaxed));
        family(
            "plugin_queries_total",
            "counter",
            "Queries by outcome.",
            &[
                ("{outcome=\"ok\"}", total(&self.queries_ok)),
                ("{outcome=\"plugin_error\"}", total(&self.queries_plugin_error)),
                ("{outcome=\"downstream_error\"}", total(&self.queries_downstream_error)),
                ("{outcome=\"cancelled\"}", total(&self.queries_cancelled)),
                ("{outcome=\"refused\"}", total(&self.queries_refused)),
            ],
        );
        family(
            "plugin_requests_too_large_total",
            "counter",
            "Requests above the size that is accepted.",
            &[("", total(&self.requests_too_large))],
        );
        family("plugin_panics_total", "counter", "Calls that panicked.", &[("", total(&self.panics))]);
        family("plugin_queries_running", "gauge", "Queries under way.", &[("", level(&self.queries_running))]);
        family("plugin_streams_running", "gauge", "Live channels that run.", &[("", level(&self.streams_running))]);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_in_the_text() {
        let metrics = Metrics::default();
        count(&metrics.queries_ok);
        count(&metrics.queries_ok);
        let running = Running::begin(&metrics.queries_running);
        let text = metrics.text();
        assert!(text.contains("plugin_queries_total{outcome=\"ok\"} 2\n"), "{text}");
        assert!(text.contains("# TYPE plugin_queries_running gauge\nplugin_queries_running 1\n"), "{text}");
        drop(running);
        assert!(metrics.text().contains("plugin_queries_running 0\n"));
    }
}
