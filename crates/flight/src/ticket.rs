//! What `DoGet` takes: a question, as versioned JSON.
//!
//! ```json
//! {"version":1,"type":"graphite","target":"sumSeries(stats.bot.*)","from":1763800000000,"until":1763803600000,
//!  "max_data_points":800,"timezone":"Europe/Berlin"}
//! ```

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use statline_series::Timestamp;
use thiserror::Error;

/// The version that this crate writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// Why bytes are not a ticket.
#[derive(Debug, Error)]
pub enum TicketError {
    /// Not JSON, or a field is missing or of another type.
    #[error("the ticket is not valid: {0}; expected JSON such as {{\"version\":1,\"type\":\"graphite\",\"target\":…}}")]
    Invalid(#[from] serde_json::Error),
    /// Written by a newer Statline.
    #[error("the ticket has version {0}, this statlined reads up to {VERSION}: update statlined")]
    TooNew(u32),
}

/// A question with the version of its form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ticket {
    version: u32,
    #[serde(flatten)]
    query: Query,
}

/// A question about series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Query {
    /// Evaluate a Graphite target once, over the points after `from` and up to `until`.
    Graphite(GraphiteQuery),
    /// Evaluate a Graphite target again after each flush, and answer with what is new; never ends by itself.
    Subscribe(SubscribeQuery),
}

/// A Graphite target over a span of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphiteQuery {
    /// The expression.
    pub target: String,
    /// Excluded start, milliseconds since the epoch.
    pub from: Timestamp,
    /// Included end, milliseconds since the epoch.
    pub until: Timestamp,
    /// The most points that a series may have; absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_data_points: Option<u32>,
    /// An IANA time zone for functions that align to days; absent: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// What parameters of `template(…)` stand for, by name, over what the target says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub template: BTreeMap<String, String>,
}

/// A Graphite target to be followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubscribeQuery {
    /// The expression.
    pub target: String,
    /// An IANA time zone, as in [`GraphiteQuery`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
}

impl Ticket {
    /// A ticket of the current version.
    #[must_use]
    pub const fn new(query: Query) -> Self {
        Self { version: VERSION, query }
    }

    /// Reads a ticket.
    ///
    /// # Errors
    /// When it is not a ticket, or one of a newer version.
    pub fn decode(bytes: &[u8]) -> Result<Self, TicketError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(bytes)?;
        if version > VERSION {
            return Err(TicketError::TooNew(version));
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The ticket as JSON.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        // Strings, integers and options always serialise.
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// The question.
    #[must_use]
    pub fn into_query(self) -> Query {
        self.query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_reads_back() {
        let ticket = Ticket::new(Query::Graphite(GraphiteQuery {
            target: "a.*".into(),
            from: Timestamp::from_seconds(1),
            until: Timestamp::from_seconds(2),
            max_data_points: Some(3),
            timezone: None,
            template: BTreeMap::new(),
        }));
        assert_eq!(
            ticket.encode(),
            r#"{"version":1,"type":"graphite","target":"a.*","from":1000,"until":2000,"max_data_points":3}"#
        );
        assert_eq!(Ticket::decode(&ticket.encode()).unwrap(), ticket);

        let full = r#"{"version":1,"type":"graphite","target":"template($x)","from":1000,"until":2000,"timezone":"UTC","template":{"x":"a"}}"#;
        let ticket = Ticket::decode(full.as_bytes()).unwrap();
        assert_eq!(ticket.encode(), full);
        let Query::Graphite(query) = ticket.into_query() else { panic!("a graphite query") };
        assert_eq!(query.template["x"], "a");
    }

    #[test]
    fn what_is_wrong_with_a_ticket_is_said() {
        for (bytes, said) in [
            ("", "the ticket is not valid"),
            ("{}", "missing field `version`"),
            (r#"{"version":2,"type":"later"}"#, "update statlined"),
            (r#"{"version":1,"type":"later"}"#, "unknown variant `later`"),
            (r#"{"version":1,"type":"graphite"}"#, "missing field `target`"),
        ] {
            let error = Ticket::decode(bytes.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(said), "{bytes}: {error}");
        }
    }
}
