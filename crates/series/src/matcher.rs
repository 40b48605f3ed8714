//! Comparisons of tags: `=`, `!=`, `=~`, `!~`.
//!
//! A series without a tag is compared as if the tag were empty, in Graphite and in Prometheus alike. Regexes are anchored
//! at the start in Graphite and at both ends in Prometheus, so a matcher is told which.

use std::fmt;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{KeyRef, SeriesKey};

/// The most that one compiled regex may hold, in bytes.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// The comparison that a matcher makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MatchOp {
    /// The value is this.
    #[serde(rename = "=")]
    Equal,
    /// The value is not this.
    #[serde(rename = "!=")]
    NotEqual,
    /// The value matches this regex.
    #[serde(rename = "=~")]
    Regex,
    /// The value does not match this regex.
    #[serde(rename = "!~")]
    NotRegex,
}

impl MatchOp {
    /// The operator as Prometheus writes it; Graphite's `!=~` is `!~` here.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// Where a regex has to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// From the start of the value, as in Graphite.
    Start,
    /// The whole value, as in Prometheus.
    Both,
}

/// Why a matcher could not be made.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MatcherError {
    /// The regex does not parse or is too large.
    #[error("the regex {pattern:?} for tag {tag:?} is not valid: {reason}")]
    BadRegex {
        /// The tag it was for.
        tag: String,
        /// The regex as given.
        pattern: String,
        /// What the parser says, on one line.
        reason: String,
    },
    /// The tag's name is empty.
    #[error("a matcher needs the name of a tag")]
    EmptyTag,
}

/// One comparison of one tag. `name` stands for the series' name, and so does `__name__`.
#[derive(Clone, Debug)]
pub struct Matcher {
    tag: String,
    op: MatchOp,
    value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// A matcher. `anchor` matters to regexes only.
    ///
    /// # Errors
    /// When the tag is empty or the regex is not valid.
    pub fn new(tag: &str, op: MatchOp, value: &str, anchor: Anchor) -> Result<Self, MatcherError> {
        if tag.is_empty() {
            return Err(MatcherError::EmptyTag);
        }
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(compile(tag, value, anchor)?),
        };
        Ok(Self { tag: tag.to_owned(), op, value: value.to_owned(), regex })
    }

    /// The tag compared.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The comparison.
    #[must_use]
    pub const fn op(&self) -> MatchOp {
        self.op
    }

    /// What it is compared with: a text or a regex.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a value passes; a tag that is absent is the empty text.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match (&self.regex, self.op) {
            (Some(regex), MatchOp::Regex) => regex.is_match(value),
            (Some(regex), _) => !regex.is_match(value),
            (None, MatchOp::Equal) => value == self.value,
            (None, _) => value != self.value,
        }
    }

    /// Whether a series without the tag passes.
    #[must_use]
    pub fn matches_absent(&self) -> bool {
        self.matches("")
    }

    /// Whether a series passes.
    #[must_use]
    pub fn matches_key(&self, key: &SeriesKey) -> bool {
        self.matches_series(key.borrowed())
    }

    /// Whether the series of a borrowed key passes.
    #[must_use]
    pub fn matches_series(&self, key: KeyRef<'_>) -> bool {
        if self.tag == "__name__" {
            return self.matches(key.name());
        }
        self.matches(key.tag(&self.tag).as_deref().unwrap_or(""))
    }
}

fn compile(tag: &str, pattern: &str, anchor: Anchor) -> Result<Regex, MatcherError> {
    let anchored = match anchor {
        Anchor::Start => format!("^(?:{pattern})"),
        Anchor::Both => format!("^(?:{pattern})$"),
    };
    RegexBuilder::new(&anchored)
        .size_limit(MAX_REGEX_BYTES)
        .dot_matches_new_line(anchor == Anchor::Both)
        .build()
        .map_err(|error| MatcherError::BadRegex {
            tag: tag.to_owned(),
            pattern: pattern.to_owned(),
            reason: one_line(&error.to_string()),
        })
}

/// The last line of the regex crate's drawing, which holds its reason.
fn one_line(message: &str) -> String {
    let last = message.lines().rfind(|line| !line.trim().is_empty()).unwrap_or(message).trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.tag == other.tag
            && self.op == other.op
            && self.value == other.value
            && self.regex.as_ref().map(Regex::as_str) == other.regex.as_ref().map(Regex::as_str)
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.tag, self.op.as_str(), self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_anchor_decides_what_a_regex_means() {
        let key = SeriesKey::parse("bot.messages;channel=python-general").unwrap();
        for (tag, op, value, anchor, expected) in [
            ("channel", MatchOp::Regex, "python", Anchor::Start, true),
            ("channel", MatchOp::Regex, "python", Anchor::Both, false),
            ("channel", MatchOp::Regex, "general", Anchor::Start, false),
            ("channel", MatchOp::NotRegex, "a|python", Anchor::Start, false),
            ("channel", MatchOp::Regex, "a|python.*", Anchor::Both, true),
            ("channel", MatchOp::Equal, "python", Anchor::Both, false),
            ("name", MatchOp::Equal, "bot.messages", Anchor::Start, true),
            ("__name__", MatchOp::Equal, "bot.messages", Anchor::Both, true),
            ("absent", MatchOp::Equal, "", Anchor::Both, true),
            ("absent", MatchOp::NotEqual, "x", Anchor::Both, true),
            ("absent", MatchOp::Regex, ".+", Anchor::Both, false),
        ] {
            let matcher = Matcher::new(tag, op, value, anchor).unwrap();
            assert_eq!(matcher.matches_key(&key), expected, "{matcher} {anchor:?}");
        }
    }

    #[test]
    fn a_bad_regex_is_told_in_one_line() {
        let error = Matcher::new("host", MatchOp::Regex, "a(", Anchor::Both).unwrap_err().to_string();
        assert_eq!(error, "the regex \"a(\" for tag \"host\" is not valid: unclosed group");
        assert!(Matcher::new("host", MatchOp::Regex, "(a{1000}){1000}", Anchor::Both).is_err());
        assert_eq!(Matcher::new("", MatchOp::Equal, "", Anchor::Both), Err(MatcherError::EmptyTag));
    }
}
