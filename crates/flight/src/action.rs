//! What `DoAction` takes and gives: questions about what there is, rather than about values.
//!
//! The action's type is its name, its body JSON; the answer is one result whose body is JSON.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use statline_series::{Event, TimeRange, Timestamp};
use thiserror::Error;

/// Why an action was not understood.
#[derive(Debug, Error)]
pub enum ActionError {
    /// There is no action of this name.
    #[error("unknown action {name:?}; expected one of {expected}")]
    Unknown {
        /// The name given.
        name: String,
        /// Every name there is.
        expected: String,
    },
    /// Its body is not what it takes.
    #[error("the body of action {name:?} is not valid: {reason}")]
    Invalid {
        /// The action.
        name: &'static str,
        /// What the JSON parser says.
        reason: String,
    },
}

/// A question about what there is.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// One level of the tree of paths: answers `[FindNode]`.
    Find(Find),
    /// The names of tags that begin with a prefix: answers `[string]`.
    Tags(Tags),
    /// The values of one tag that begin with a prefix: answers `[string]`.
    TagValues(TagValues),
    /// What happened in a span of time: answers [`EventList`].
    Events(Events),
    /// Every function of the Graphite language, in the shape of Graphite's `/functions`.
    Functions,
    /// How the sidecar is: answers [`Health`].
    Health,
}

/// The most names that an action answers with unless it asks for fewer.
pub const DEFAULT_LIMIT: u32 = 1000;

const fn default_limit() -> u32 {
    DEFAULT_LIMIT
}

/// A span of time as JSON has it; what is absent is unbounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first instant, milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The first instant after it, milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Span {
    /// The span as a range.
    #[must_use]
    pub fn range(self) -> TimeRange {
        TimeRange::new(self.from.unwrap_or(Timestamp::MIN), self.until.unwrap_or(Timestamp::MAX))
    }
}

/// See [`Action::Find`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Find {
    /// A path with globs; its last part is the level that is listed.
    pub query: String,
    /// Which series count: those with points in here.
    #[serde(flatten)]
    pub span: Span,
}

/// See [`Action::Tags`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tags {
    /// What the names begin with.
    #[serde(default)]
    pub prefix: String,
    /// Which series count.
    #[serde(flatten)]
    pub span: Span,
    /// The most names wanted.
    #[serde(default = "default_limit")]
    pub limit: u32,
}

/// See [`Action::TagValues`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TagValues {
    /// The tag; `name` for the names of tagged series.
    pub tag: String,
    /// What the values begin with.
    #[serde(default)]
    pub prefix: String,
    /// Which series count.
    #[serde(flatten)]
    pub span: Span,
    /// The most values wanted.
    #[serde(default = "default_limit")]
    pub limit: u32,
}

/// See [`Action::Events`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Events {
    /// When they happened.
    #[serde(flatten)]
    pub span: Span,
    /// What they are tagged with; all events when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Whether one of the tags is enough.
    #[serde(default)]
    pub any: bool,
    /// The most events wanted, the newest of all; absent: as many as the sidecar gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Events, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventList {
    /// The newest of those that were asked for.
    pub events: Vec<EventRow>,
    /// Whether there are older ones in the span that are not among them.
    pub more: bool,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRow {
    /// The same for equal events, below 2^53.
    pub id: u64,
    /// When it happened, milliseconds since the epoch.
    pub time: Timestamp,
    /// What it is called.
    pub title: String,
    /// What there is to say about it; may be empty.
    pub text: String,
    /// Its tags, and what else is known of it as tags `name:value`.
    pub tags: Vec<String>,
}

impl From<Event> for EventRow {
    fn from(event: Event) -> Self {
        let (id, tags) = (event.id(), event.all_tags());
        Self { id, time: event.timestamp, title: event.title, text: event.text, tags }
    }
}

/// A node of the tree of paths. It may be a series and have children at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindNode {
    /// The last part of the path.
    pub text: String,
    /// The whole path, without a dot at the end.
    pub id: String,
    /// Whether it is a series.
    pub leaf: bool,
    /// Whether there is something below it.
    pub expandable: bool,
}

/// How the sidecar is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The version of statlined.
    pub version: String,
    /// How many series it knows.
    pub series: u64,
    /// The end of the last flush, milliseconds since the epoch; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_flush: Option<Timestamp>,
}

impl Action {
    /// The names, as `ListActions` gives them, each with a line of description.
    pub const TYPES: [(&'static str, &'static str); 6] = [
        ("find", "one level of the tree of paths"),
        ("tags", "the names of tags"),
        ("tag_values", "the values of one tag"),
        ("events", "what happened in a span of time"),
        ("functions", "the functions of the Graphite language"),
        ("health", "version, number of series, last flush"),
    ];

    /// The action's type on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Find(_) => "find",
            Self::Tags(_) => "tags",
            Self::TagValues(_) => "tag_values",
            Self::Events(_) => "events",
            Self::Functions => "functions",
            Self::Health => "health",
        }
    }

    /// The body as JSON.
    #[must_use]
    pub fn body(&self) -> Bytes {
        // Strings, integers and options always serialise.
        match self {
            Self::Find(body) => serde_json::to_vec(body),
            Self::Tags(body) => serde_json::to_vec(body),
            Self::TagValues(body) => serde_json::to_vec(body),
            Self::Events(body) => serde_json::to_vec(body),
            Self::Functions | Self::Health => Ok(Vec::new()),
        }
        .unwrap_or_default()
        .into()
    }

    /// Reads an action.
    ///
    /// # Errors
    /// When there is no such action, or its body is not what it takes.
    pub fn decode(name: &str, body: &[u8]) -> Result<Self, ActionError> {
        fn read<'a, T: Deserialize<'a>>(name: &'static str, body: &'a [u8]) -> Result<T, ActionError> {
            serde_json::from_slice(body).map_err(|error| ActionError::Invalid { name, reason: error.to_string() })
        }
        Ok(match name {
            "find" => Self::Find(read("find", body)?),
            "tags" => Self::Tags(read("tags", body)?),
            "tag_values" => Self::TagValues(read("tag_values", body)?),
            "events" => Self::Events(read("events", body)?),
            "functions" => Self::Functions,
            "health" => Self::Health,
            _ => {
                return Err(ActionError::Unknown {
                    name: name.to_owned(),
                    expected: Self::TYPES.map(|(name, _)| name).join(", "),
                });
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_reads_back() {
        for action in [
            Action::Find(Find {
                query: "a.*".into(),
                span: Span { from: Some(Timestamp::from_millis(5)), until: None },
            }),
            Action::Tags(Tags { prefix: "c".into(), span: Span::default(), limit: 10 }),
            Action::TagValues(TagValues {
                tag: "channel".into(),
                prefix: String::new(),
                span: Span::default(),
                limit: 1,
            }),
            Action::Events(Events::default()),
            Action::Events(Events {
                span: Span { from: None, until: Some(Timestamp::from_millis(9)) },
                tags: vec!["deploy".into(), "host:a".into()],
                any: true,
                limit: Some(7),
            }),
            Action::Functions,
            Action::Health,
        ] {
            assert_eq!(Action::decode(action.name(), &action.body()).unwrap(), action);
            assert!(Action::TYPES.iter().any(|(name, _)| *name == action.name()));
        }
    }

    #[test]
    fn every_part_of_a_question_for_events_may_be_left_out() {
        assert_eq!(Action::decode("events", b"{}").unwrap(), Action::Events(Events::default()));
        assert_eq!(Action::Events(Events::default()).body(), r#"{"any":false}"#);
    }

    #[test]
    fn an_event_is_a_row_with_all_that_is_known_as_tags() {
        let mut event = Event::new(Timestamp::from_seconds(7), "deployed".to_owned(), "version 3".to_owned());
        event.tags = vec!["bot".to_owned()];
        event.set_attribute("host", "web1");
        let row = EventRow::from(event.clone());
        let json = serde_json::json!({
            "id": event.id(), "time": 7000, "title": "deployed", "text": "version 3", "tags": ["bot", "host:web1"],
        });
        assert_eq!(serde_json::to_value(&row).unwrap(), json);
    }

    #[test]
    fn what_is_wrong_with_an_action_is_said() {
        assert_eq!(
            Action::decode("fnid", b"").unwrap_err().to_string(),
            "unknown action \"fnid\"; expected one of find, tags, tag_values, events, functions, health"
        );
        assert!(Action::decode("find", b"{}").unwrap_err().to_string().contains("missing field `query`"));
    }
}
