//! Why a point is not taken: what was wrong, and what would be right.

use statline_series::KeyError;
use thiserror::Error;

/// How much of a wrong value is repeated, in characters.
const SHOWN: usize = 40;

/// Why a line, a pickle or a point of one is refused.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum Refusal {
    /// Not three fields.
    #[error("a line is written path value timestamp, got {0} fields")]
    Fields(usize),
    /// The value is not a number.
    #[error("the value {0:?} is not a number")]
    Value(String),
    /// The timestamp is not one.
    #[error("the timestamp {0:?} is not seconds since the epoch, or -1 for now")]
    Timestamp(String),
    /// Longer than `carbon.max_line_bytes`.
    #[error("the line has {0} bytes, more than carbon.max_line_bytes")]
    LineTooLong(usize),
    /// Longer than `carbon.max_pickle_bytes`.
    #[error("the pickle has {0} bytes, more than carbon.max_pickle_bytes")]
    PickleTooLong(usize),
    /// A connection ended within a pickle.
    #[error("the pickle was cut after {0} bytes")]
    PickleCut(usize),
    /// Not a pickle of plain data.
    #[error("byte {at} of the pickle: {reason}")]
    Pickle {
        /// Where, in bytes from the pickle's beginning.
        at: usize,
        /// What is wrong.
        reason: String,
    },
    /// Something in a pickle's list that is no point.
    #[error("item {0} of the pickle is not (name, (timestamp, value))")]
    NotAPoint(usize),
    /// Not UTF-8.
    #[error("the name is not utf-8")]
    NotText,
    /// The name is no series' identity.
    #[error("{0}")]
    Key(#[from] KeyError),
    /// A tag that is not closed, or has no name.
    #[error("a tag is written ;name=value, or {{name=\"value\",…}} in the style of OpenMetrics, got {0:?}")]
    Tag(String),
    /// The name, as it came or as rules have made it, is too long.
    #[error("the name has {0} bytes, more than {max}", max = statline_series::key::MAX_KEY_BYTES)]
    NameTooLong(usize),
    /// The name holds what no name may.
    #[error("a name may have no control characters, got {0:?}")]
    Control(String),
    /// The value is NaN, which carbon leaves out, too.
    #[error("the value is NaN, which is not stored")]
    NotANumber,
    /// `carbon.blacklist` has its name.
    #[error("the name is on carbon.blacklist")]
    Blacklisted,
    /// `carbon.whitelist` has not.
    #[error("the name is not on carbon.whitelist")]
    NotWhitelisted,
}

impl Refusal {
    /// Every label that there is.
    pub const LABELS: [&'static str; 11] = [
        "fields",
        "value",
        "timestamp",
        "too_long",
        "pickle",
        "not_a_point",
        "not_text",
        "name",
        "not_a_number",
        "blacklisted",
        "not_whitelisted",
    ];

    /// A value that is no number.
    pub fn value(text: &str) -> Self {
        Self::Value(shown(text))
    }

    /// A timestamp that is none.
    pub fn timestamp(text: &str) -> Self {
        Self::Timestamp(shown(text))
    }

    /// Where its label is among [`Refusal::LABELS`].
    pub const fn place(&self) -> usize {
        match self {
            Self::Fields(_) => 0,
            Self::Value(_) => 1,
            Self::Timestamp(_) => 2,
            Self::LineTooLong(_) | Self::PickleTooLong(_) => 3,
            Self::Pickle { .. } | Self::PickleCut(_) => 4,
            Self::NotAPoint(_) => 5,
            Self::NotText => 6,
            Self::Key(_) | Self::Tag(_) | Self::NameTooLong(_) | Self::Control(_) => 7,
            Self::NotANumber => 8,
            Self::Blacklisted => 9,
            Self::NotWhitelisted => 10,
        }
    }

    /// Whether the sender made a mistake. A NaN, and a name that a list keeps out, are none.
    pub const fn is_mistake(&self) -> bool {
        !matches!(self, Self::NotANumber | Self::Blacklisted | Self::NotWhitelisted)
    }
}

/// The beginning of a text, fit for one line.
pub fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}
