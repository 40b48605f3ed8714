//! What a frame says about itself: its type, the query that was run, notices, how it likes to be shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The facts that travel with a frame, as Grafana's `data.FrameMeta` names them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FrameMeta {
    /// The frame's structure. Alerting and expressions trust it, and guess where it is missing.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub frame_type: Option<FrameType>,
    /// The version of that structure's contract: `[0, 1]` once a type is set.
    pub type_version: [u32; 2],
    /// The query as it was run, shown in the query inspector.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub executed_query_string: String,
    /// Notices shown on the panel.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
    /// Figures about the query, shown in the query inspector.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stats: Vec<QueryStat>,
    /// The live channel that continues this frame: `ds/<uid>/<path>`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub channel: String,
    /// How Explore should show it.
    #[serde(rename = "preferredVisualisationType", skip_serializing_if = "Option::is_none")]
    pub preferred_visualisation: Option<VisType>,
    /// What the frame is for, when it is not data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_topic: Option<DataTopic>,
    /// Anything else the plugin wants its frontend to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<Value>,
}

impl FrameMeta {
    /// The facts of a frame of a type.
    #[must_use]
    pub fn new(frame_type: FrameType) -> Self {
        Self { frame_type: Some(frame_type), type_version: [0, 1], ..Self::default() }
    }
}

/// The structures of Grafana's data plane contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrameType {
    /// One time column; each other column a series, named by its labels.
    #[serde(rename = "timeseries-wide")]
    TimeSeriesWide,
    /// One time column; text columns tell series apart, row by row.
    #[serde(rename = "timeseries-long")]
    TimeSeriesLong,
    /// One series a frame, many frames.
    #[serde(rename = "timeseries-multi")]
    TimeSeriesMulti,
    /// One row; each column a number.
    NumericWide,
    /// One number a frame, many frames.
    NumericMulti,
    /// Text columns tell numbers apart, row by row.
    NumericLong,
    /// Lines of a log.
    LogLines,
    /// Any table.
    Table,
    /// A structure this crate does not know.
    #[serde(other)]
    Unknown,
}

/// A message about the data, shown on the panel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// How grave it is.
    pub severity: Severity,
    /// The message.
    pub text: String,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub link: String,
}

impl Notice {
    /// A message worth knowing.
    pub fn info(text: impl Into<String>) -> Self {
        Self { severity: Severity::Info, text: text.into(), link: String::new() }
    }

    /// A message about data that is not quite what was asked for.
    pub fn warning(text: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, text: text.into(), link: String::new() }
    }

    /// A message about data that is missing.
    pub fn error(text: impl Into<String>) -> Self {
        Self { severity: Severity::Error, text: text.into(), link: String::new() }
    }
}

/// How grave a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// The data is not quite what was asked for.
    Warning,
    /// Data is missing.
    Error,
}

/// A figure about a query, such as the rows it scanned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryStat {
    /// What it counts.
    pub display_name: String,
    /// Grafana's id of its unit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// The figure.
    pub value: f64,
}

/// How Explore shows a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VisType {
    /// Lines over time.
    Graph,
    /// A table.
    Table,
    /// Log lines.
    Logs,
    /// A trace.
    Trace,
    /// A graph of nodes.
    NodeGraph,
    /// A flame graph.
    #[serde(rename = "flamegraph")]
    FlameGraph,
    /// A way this crate does not know.
    #[serde(other)]
    Unknown,
}

/// What a frame is for, when it is not data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DataTopic {
    /// Marks on a time axis.
    Annotations,
    /// A use this crate does not know.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_written_under_grafanas_names() {
        let meta = FrameMeta {
            executed_query_string: "select 1".into(),
            notices: vec![Notice::warning("cut at 10 rows")],
            stats: vec![QueryStat { display_name: "rows".into(), unit: String::new(), value: 3.0 }],
            channel: "ds/u/p".into(),
            preferred_visualisation: Some(VisType::Graph),
            data_topic: Some(DataTopic::Annotations),
            custom: Some(serde_json::json!({"step": 10})),
            ..FrameMeta::new(FrameType::TimeSeriesMulti)
        };
        let json = serde_json::to_value(&meta).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "timeseries-multi",
                "typeVersion": [0, 1],
                "executedQueryString": "select 1",
                "notices": [{"severity": "warning", "text": "cut at 10 rows"}],
                "stats": [{"displayName": "rows", "value": 3.0}],
                "channel": "ds/u/p",
                "preferredVisualisationType": "graph",
                "dataTopic": "annotations",
                "custom": {"step": 10},
            })
        );
        assert_eq!(serde_json::from_value::<FrameMeta>(json).unwrap(), meta);
    }

    #[test]
    fn every_type_has_the_contracts_name() {
        for (frame_type, name) in [
            (FrameType::TimeSeriesWide, "timeseries-wide"),
            (FrameType::TimeSeriesLong, "timeseries-long"),
            (FrameType::TimeSeriesMulti, "timeseries-multi"),
            (FrameType::NumericWide, "numeric-wide"),
            (FrameType::NumericMulti, "numeric-multi"),
            (FrameType::NumericLong, "numeric-long"),
            (FrameType::LogLines, "log-lines"),
            (FrameType::Table, "table"),
        ] {
            assert_eq!(serde_json::to_value(frame_type).unwrap(), name);
            assert_eq!(serde_json::from_value::<FrameType>(name.into()).unwrap(), frame_type);
        }
        assert_eq!(serde_json::from_value::<FrameType>("heatmap".into()).unwrap(), FrameType::Unknown);
    }
}
