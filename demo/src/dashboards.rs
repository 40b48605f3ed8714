//! What the panels of the shipped dashboards ask, read from the same files that Grafana reads.

use std::time::Duration;

use grafana_plugin::{DataQuery, TimeRange};
use serde::Deserialize;
use serde_json::Value;
use statline_harness::plugin;
use statline_harness::program::repository;

use crate::{Error, history};

/// The most points that a panel of usual width draws.
const MAX_DATA_POINTS: i64 = 900;
/// The shortest interval that a panel asks for.
const MIN_INTERVAL_MS: i64 = 10_000;
/// Intervals that people like, in milliseconds.
const ROUND_INTERVALS: [i64; 14] = [
    10_000, 15_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, 3_600_000, 7_200_000,
    21_600_000, 86_400_000,
];

/// A dashboard.
#[derive(Debug)]
pub struct Dashboard {
    /// Its title.
    pub title: String,
    /// Its panels that ask something, in their order.
    pub panels: Vec<Panel>,
}

/// A panel.
#[derive(Debug)]
pub struct Panel {
    /// Its title.
    pub title: String,
    /// The span it shows, as Grafana writes it: `24h`.
    pub span: String,
    targets: Vec<Value>,
}

#[derive(Deserialize)]
struct DashboardJson {
    title: String,
    time: TimeJson,
    panels: Vec<PanelJson>,
}

#[derive(Deserialize)]
struct TimeJson {
    from: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PanelJson {
    #[serde(default)]
    title: String,
    #[serde(default)]
    time_from: Option<String>,
    #[serde(default)]
    targets: Vec<Value>,
    /// The panels of a collapsed row.
    #[serde(default)]
    panels: Vec<PanelJson>,
}

/// Every shipped dashboard, in the order of the files' names.
pub fn load() -> Result<Vec<Dashboard>, Error> {
    let mut paths: Vec<_> = std::fs::read_dir(repository().join("dashboards"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| read(&std::fs::read(path)?).map_err(|error| format!("{}: {error}", path.display()).into()))
        .collect()
}

fn read(json: &[u8]) -> Result<Dashboard, Error> {
    let dashboard: DashboardJson = serde_json::from_slice(json)?;
    let span = dashboard.time.from.strip_prefix("now-").unwrap_or("6h").to_owned();
    let mut panels = Vec::new();
    collect(dashboard.panels, &span, &mut panels);
    Ok(Dashboard { title: dashboard.title, panels })
}

fn collect(from: Vec<PanelJson>, span: &str, into: &mut Vec<Panel>) {
    for panel in from {
        if !panel.targets.is_empty() {
            let span = panel.time_from.unwrap_or_else(|| span.to_owned());
            into.push(Panel { title: panel.title, span, targets: panel.targets });
        }
        collect(panel.panels, span, into);
    }
}

impl Panel {
    /// The queries that Grafana would send for this panel now.
    pub fn queries(&self) -> Result<Vec<DataQuery>, Error> {
        let length = parse_span(&self.span).ok_or_else(|| format!("the span {:?} is not understood", self.span))?;
        let now = history::now_ms();
        let range = TimeRange { from_ms: now - length, to_ms: now };
        let interval = round_interval(length / MAX_DATA_POINTS);
        Ok(self
            .targets
            .iter()
            .filter(|target| target.get("hide") != Some(&Value::Bool(true)))
            .map(|target| {
                let ref_id = target.get("refId").and_then(Value::as_str).unwrap_or("A");
                let mut query = plugin::data_query(ref_id, &interpolate(target, interval), range);
                query.max_data_points = MAX_DATA_POINTS;
                query.interval = Duration::from_millis(interval.unsigned_abs());
                query
            })
            .collect())
    }
}

/// The frontend replaces `$__interval` in Graphite targets; in SQL the backend does.
fn interpolate(target: &Value, interval: i64) -> Value {
    let mut target = target.clone();
    if let Some(Value::String(expression)) = target.get_mut("target") {
        *expression = expression.replace("$__interval", &format!("{}s", interval / 1000));
    }
    target
}

/// `24h` in milliseconds.
fn parse_span(span: &str) -> Option<i64> {
    let unit_at = span.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = span.split_at(unit_at);
    let unit = match unit {
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 7 * 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

fn round_interval(millis: i64) -> i64 {
    let wanted = millis.max(MIN_INTERVAL_MS);
    ROUND_INTERVALS.into_iter().find(|interval| *interval >= wanted).unwrap_or(86_400_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_dashboard_asks_something() {
        let dashboards = load().unwrap();
        assert!(dashboards.len() >= 2);
        for dashboard in dashboards {
            assert!(dashboard.panels.len() > 10, "{}", dashboard.title);
            for panel in dashboard.panels {
                assert!(!panel.queries().unwrap().is_empty(), "{}", panel.title);
            }
        }
    }

    #[test]
    fn spans_and_intervals_are_grafanas() {
        assert_eq!(parse_span("24h"), Some(86_400_000));
        assert_eq!(parse_span("soon"), None);
        assert_eq!(round_interval(100), 10_000);
        assert_eq!(round_interval(86_400_000 / 900), 120_000);
    }
}
