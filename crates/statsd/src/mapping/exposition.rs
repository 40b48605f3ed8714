//! The registry as text, for Prometheus to scrape: its own format 0.0.4, and OpenMetrics 1.0.
//!
//! Both are written as Prometheus' Go library writes them, so that a Prometheus that scraped statsd_exporter finds the same
//! names, labels and spellings. Names are in alphabetical order, and series in the order of their labels.

use std::fmt::Write as _;

use statline_series::{SeriesKey, Timestamp};

use super::go_float::go_float;
use super::registry::{DEFAULT_HELP, Family, FamilyKind, Registry, Value};

/// A text format of metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// What an answer says that it is.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format that an `Accept` header prefers. OpenMetrics is only given to those who name it, in version 1.0.0 or none,
    /// and rank it no lower than text.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        let (mut text, mut open_metrics) = (0.0_f64, 0.0_f64);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or("").to_ascii_lowercase();
            let (mut quality, mut version) = (1.0, String::new());
            for parameter in parts {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                let value = value.trim().trim_matches('"');
                match name.trim().to_ascii_lowercase().as_str() {
                    // NaN is no weight.
                    "q" => quality = value.parse().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(0.0),
                    "version" => value.clone_into(&mut version),
                    _ => {}
                }
            }
            match media_type.as_str() {
                "application/openmetrics-text" if matches!(version.as_str(), "" | "1.0.0") => {
                    open_metrics = open_metrics.max(quality);
                }
                "text/plain" if matches!(version.as_str(), "" | "0.0.4") => text = text.max(quality),
                "*/*" | "text/*" => text = text.max(quality),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Appends all series of the registry as they are at `now`. The end of an OpenMetrics text is left to
    /// [`Format::finish`].
    pub fn write(self, registry: &Registry, now: Timestamp, out: &mut String) {
        for (name, family) in &registry.families {
            self.write_family(name, family, now, out);
        }
    }

    /// Appends metrics that stand in Prometheus' text already, such as those of the program itself.
    pub fn write_text(self, text: &str, out: &mut String) {
        match self {
            Self::Prometheus => out.push_str(text),
            Self::OpenMetrics => text.lines().for_each(|line| open_metrics_line(line, out)),
        }
    }

    /// Appends what the text ends with.
    pub fn finish(self, out: &mut String) {
        if self == Self::OpenMetrics {
            out.push_str("# EOF\n");
        }
    }

    fn write_family(self, name: &str, family: &Family, now: Timestamp, out: &mut String) {
        let help = family.help.as_deref().unwrap_or(DEFAULT_HELP);
        let (header, kind) = match (self, family.kind) {
            // OpenMetrics names a counter without its suffix, and knows no counter that has none.
            (Self::OpenMetrics, FamilyKind::Counter) => {
                match name.strip_suffix("_total").filter(|header| !header.is_empty()) {
                    Some(header) => (header, "counter"),
                    None => (name, "unknown"),
                }
            }
            (_, kind) => (name, kind.as_str()),
        };
        out.push_str("# HELP ");
        out.push_str(header);
        out.push(' ');
        escape(help, self == Self::OpenMetrics, out);
        let _ = writeln!(out, "\n# TYPE {header} {kind}");
        let mut series: Vec<_> = family.series.iter().collect();
        series.sort_unstable_by_key(|(key, _)| *key);
        for (key, series) in series {
            self.write_series(key, &series.value, now, out);
        }
    }

    fn write_series(self, key: &SeriesKey, value: &Value, now: Timestamp, out: &mut String) {
        let mut labels = String::new();
        for (label, value) in key.tags() {
            labels.push(if labels.is_empty() { '{' } else { ',' });
            labels.push_str(label);
            labels.push_str("=\"");
            escape(&value, true, &mut labels);
            labels.push('"');
        }
        let name = key.name();
        let mut sample = |suffix: &str, mark: Option<(&str, f64)>, value: &str| {
            out.push_str(name);
            out.push_str(suffix);
            out.push_str(&labels);
            match mark {
                Some((label, mark)) => {
                    let open = if labels.is_empty() { '{' } else { ',' };
                    let _ = write!(out, "{open}{label}=\"{}\"}}", self.number(mark));
                }
                None if labels.is_empty() => {}
                None => out.push('}'),
            }
            out.push(' ');
            out.push_str(value);
            out.push('\n');
        };
        match value {
            Value::Counter(value) | Value::Gauge(value) => sample("", None, &self.number(*value)),
            Value::Summary(summary) => {
                for (quantile, value) in summary.quantile_values(now) {
                    sample("", Some(("quantile", quantile)), &self.number(value));
                }
                sample("_sum", None, &self.number(summary.sum));
                sample("_count", None, &self.count(summary.count));
            }
            Value::Histogram(histogram) => {
                for (bound, below) in histogram.cumulative() {
                    sample("_bucket", Some(("le", bound)), &self.count(below));
                }
                sample("_sum", None, &self.number(histogram.sum));
                sample("_count", None, &self.count(histogram.count()));
            }
        }
    }

    /// A number. OpenMetrics shows that it is no integer.
    fn number(self, value: f64) -> String {
        let mut text = go_float(value);
        if self == Self::OpenMetrics && !text.contains(['.', 'e', 'N', 'I']) {
            text.push_str(".0");
        }
        text
    }

    /// A number of observations, which OpenMetrics writes as an integer where it is one.
    fn count(self, value: f64) -> String {
        // Up to 2^53 a double counts without gaps.
        let is_whole = value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0;
        if self == Self::OpenMetrics && is_whole { format!("{value:.0}") } else { self.number(value) }
    }
}

/// Escapes what would end a line or a quoted value.
fn escape(text: &str, quotes: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

/// A line of Prometheus' text in OpenMetrics. What may not stand there, blank lines and plain comments, is left out.
fn open_metrics_line(line: &str, out: &mut String) {
    let Some(comment) = line.strip_prefix('#') else {
        if !line.trim().is_empty() {
            out.push_str(line);
            out.push('\n');
        }
        return;
    };
    let mut words = comment.trim_start().splitn(3, ' ');
    let (Some(keyword @ ("HELP" | "TYPE")), Some(name), Some(rest)) = (words.next(), words.next(), words.next()) else {
        return;
    };
    // The help line comes before the type is known, and only counters end so.
    let header = name.strip_suffix("_total").unwrap_or(name);
    let _ = match (keyword, rest.trim()) {
        ("HELP", _) => writeln!(out, "# HELP {header} {}", rest.replace('"', "\\\"")),
        ("TYPE", "counter") if header.len() == name.len() => writeln!(out, "# TYPE {name} unknown"),
        ("TYPE", "untyped") => writeln!(out, "# TYPE {header} unknown"),
        (_, kind) => writeln!(out, "# TYPE {header} {kind}"),
    };
}
