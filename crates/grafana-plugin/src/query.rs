//! One query of a panel, and its answer.
//!
//! A request holds many queries, each named by its refId and each answered alone: an error, a panic or a bad text in one
//! never reaches its neighbours.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::context::MissingSettings;
use crate::frame::{Frame, FrameError, Notice};
use crate::proto::pluginv2 as wire;

/// One query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataQuery {
    /// The query's name in its panel, `A` by custom.
    pub ref_id: String,
    /// The kind of query, as the plugin's editor set it; often empty.
    pub query_type: String,
    /// How many points a series may have, by the panel's width. Zero or less when the client did not say.
    pub max_data_points: i64,
    /// The spacing of points that suits the panel. Zero when the client did not say.
    pub interval: Duration,
    /// The span that is asked for.
    pub time_range: TimeRange,
    /// The query as the editor saved it, a JSON object.
    pub json: Bytes,
}

impl DataQuery {
    /// Reads [`json`](Self::json).
    ///
    /// # Errors
    /// A bad request, saying what is wrong where, when it is not JSON of the shape `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, QueryError> {
        serde_json::from_slice(&self.json)
            .map_err(|error| QueryError::bad_request(format!("the query is not readable: {error}")))
    }

    pub(crate) fn from_wire(wire: wire::DataQuery) -> Self {
        let range = wire.time_range.unwrap_or_default();
        Self {
            ref_id: wire.ref_id,
            query_type: wire.query_type,
            max_data_points: wire.max_data_points,
            interval: Duration::from_millis(u64::try_from(wire.interval_ms).unwrap_or(0)),
            time_range: TimeRange { from_ms: range.from_epoch_ms, to_ms: range.to_epoch_ms },
            json: wire.json,
        }
    }

    pub(crate) fn into_wire(self) -> wire::DataQuery {
        wire::DataQuery {
            ref_id: self.ref_id,
            max_data_points: self.max_data_points,
            interval_ms: i64::try_from(self.interval.as_millis()).unwrap_or(i64::MAX),
            time_range: Some(wire::TimeRange {
                from_epoch_ms: self.time_range.from_ms,
                to_epoch_ms: self.time_range.to_ms,
            }),
            json: self.json,
            query_type: self.query_type,
        }
    }
}

/// A span of time in milliseconds since the epoch, as the client sent it: it may be empty, backwards, or reach the ends
/// of `i64`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    /// Its beginning.
    pub from_ms: i64,
    /// Its end.
    pub to_ms: i64,
}

impl TimeRange {
    /// Its length; zero when it is backwards.
    #[must_use]
    pub fn duration(self) -> Duration {
        let millis = self.to_ms.saturating_sub(self.from_ms);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// Its ends in nanoseconds, kept inside what 64 bits hold: the years 1677 to 2262.
    #[must_use]
    pub fn to_nanos(self) -> (i64, i64) {
        (self.from_ms.saturating_mul(1_000_000), self.to_ms.saturating_mul(1_000_000))
    }
}

/// Whose fault an error is, which decides whom Grafana's operators page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorSource {
    /// The plugin's own.
    Plugin,
    /// The user's, the network's, or that of what the plugin asks.
    Downstream,
}

impl ErrorSource {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Downstream => "downstream",
        }
    }

    pub(crate) fn from_wire(text: &str) -> Option<Self> {
        match text {
            "plugin" => Some(Self::Plugin),
            "downstream" => Some(Self::Downstream),
            _ => None,
        }
    }
}

/// Why a query has no answer. The message is shown to the user.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    /// What is wrong, and what would be right.
    pub message: String,
    /// An HTTP status code.
    pub status: u16,
    /// Whose fault it is.
    pub error_source: ErrorSource,
    /// Notices to show with the error.
    pub notices: Vec<Notice>,
}

impl QueryError {
    /// An error with everything said.
    pub fn new(status: u16, error_source: ErrorSource, message: impl Into<String>) -> Self {
        Self { message: message.into(), status, error_source, notices: Vec::new() }
    }

    /// The query itself is wrong: status 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, ErrorSource::Downstream, message)
    }

    /// What the plugin asked has failed, with the HTTP status that fits: 502 when nothing does.
    pub fn downstream(status: u16, message: impl Into<String>) -> Self {
        Self::new(status, ErrorSource::Downstream, message)
    }

    /// No answer came in time: status 504.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(504, ErrorSource::Downstream, message)
    }

    /// A defect of the plugin: status 500.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(500, ErrorSource::Plugin, message)
    }

    /// Something the plugin cannot do: status 501.
    pub fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(501, ErrorSource::Plugin, message)
    }

    /// The same error with one more notice.
    #[must_use]
    pub fn with_notice(mut self, notice: Notice) -> Self {
        self.notices.push(notice);
        self
    }
}

impl From<FrameError> for QueryError {
    fn from(error: FrameError) -> Self {
        Self::internal(format!("the answer is not a frame that Grafana takes: {error}"))
    }
}

impl From<MissingSettings> for QueryError {
    fn from(error: MissingSettings) -> Self {
        Self::bad_request(error.to_string())
    }
}

/// The answer to one query, as a host reads it.
#[derive(Clone, Debug, Default)]
pub struct DataResponse {
    /// The frames. An error may come with frames too.
    pub frames: Vec<Frame>,
    /// The error's text, when there is one.
    pub error: Option<String>,
    /// An HTTP status code.
    pub status: u16,
    /// Whose fault the error is.
    pub error_source: Option<ErrorSource>,
    /// Further facts in JSON; Grafana does not use them.
    pub json_meta: Bytes,
}

/// The queries of a request, sorted by whether they can be run at all.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Queries with a refId of their own.
    pub(crate) admitted: Vec<DataQuery>,
    /// The answers to all others, one a refId.
    pub(crate) refused: Vec<(String, QueryError)>,
}

impl Admission {
    /// An answer is found by its refId alone, so queries that share one cannot both be answered: none of them is run.
    pub(crate) fn of(queries: Vec<wire::DataQuery>) -> Self {
        let mut uses: HashMap<String, usize> = HashMap::with_capacity(queries.len());
        for query in &queries {
            *uses.entry(query.ref_id.clone()).or_default() += 1;
        }
        let admitted =
            queries.into_iter().filter(|query| uses.get(&query.ref_id) == Some(&1)).map(DataQuery::from_wire).collect();
        let refused = uses
            .into_iter()
            .filter(|(_, count)| *count > 1)
            .map(|(ref_id, count)| {
                let message = format!("{count} queries share the refId {ref_id:?}; each needs one of its own");
                (ref_id, QueryError::bad_request(message))
            })
            .collect();
        Self { admitted, refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_numbers_are_kept_inside_their_types() {
        let wire = |interval_ms, range: Option<(i64, i64)>| wire::DataQuery {
            interval_ms,
            time_range: range.map(|(from_epoch_ms, to_epoch_ms)| wire::TimeRange { from_epoch_ms, to_epoch_ms }),
            ..wire::DataQuery::default()
        };
        for (interval_ms, interval) in [(-1, 0), (i64::MIN, 0), (0, 0), (15, 15), (i64::MAX, i64::MAX.unsigned_abs())] {
            assert_eq!(DataQuery::from_wire(wire(interval_ms, None)).interval, Duration::from_millis(interval));
        }
        assert_eq!(DataQuery::from_wire(wire(0, None)).time_range, TimeRange::default());
        for (from, to, millis, nanos) in [
            (0, 5, 5, (0, 5_000_000)),
            (5, 0, 0, (5_000_000, 0)),
            (i64::MIN, i64::MAX, i64::MAX.unsigned_abs(), (i64::MIN, i64::MAX)),
            (i64::MAX, i64::MIN, 0, (i64::MAX, i64::MIN)),
            (i64::MAX, i64::MAX, 0, (i64::MAX, i64::MAX)),
        ] {
            let range = DataQuery::from_wire(wire(0, Some((from, to)))).time_range;
            assert_eq!(range.duration(), Duration::from_millis(millis), "{from}..{to}");
            assert_eq!(range.to_nanos(), nanos, "{from}..{to}");
        }
    }

    #[test]
    fn queries_that_share_a_ref_id_are_refused_and_others_are_not() {
        let query = |ref_id: &str| wire::DataQuery { ref_id: ref_id.into(), ..wire::DataQuery::default() };
        let admission = Admission::of(vec![query("A"), query("B"), query(""), query("B"), query("B")]);
        let admitted: Vec<_> = admission.admitted.iter().map(|query| query.ref_id.as_str()).collect();
        assert_eq!(admitted, ["A", ""]);
        assert_eq!(admission.refused.len(), 1);
        let (ref_id, error) = &admission.refused[0];
        assert_eq!((ref_id.as_str(), error.status), ("B", 400));
        assert!(error.message.contains("3 queries share the refId \"B\""), "{error}");
    }

    #[test]
    fn a_text_that_is_not_json_is_a_bad_request_that_says_where() {
        let query = DataQuery { json: Bytes::from_static(b"{\"target\": }"), ..DataQuery::default() };
        let error = query.parse::<serde_json::Value>().unwrap_err();
        assert_eq!((error.status, error.error_source), (400, ErrorSource::Downstream));
        assert!(error.message.contains("line 1 column 12"), "{error}");
    }
}
