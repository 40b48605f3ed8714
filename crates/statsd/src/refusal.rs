//! Why a line, or a part of one, was not taken.

use std::fmt;

/// What was wrong, as one line of text that also says what would be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// No `:` in the line.
    NoValue,
    /// A value that no `|type` follows.
    NoType,
    /// A type that no statsd client means.
    UnknownType,
    /// A value that JavaScript would not read as a number.
    NotANumber,
    /// A value beyond the range of a double.
    Infinite,
    /// A timer below 0.
    NegativeTimer,
    /// A part after the type that is neither a sample rate nor anything else that is known.
    NotARate,
    /// A sample rate outside (0, 1].
    RateOutOfRange,
    /// A timestamp that is none.
    BadTimestamp,
    /// A timestamp on a type that has none.
    TimestampOfType,
    /// A tag without a name.
    NamelessTag,
    /// A tag that stands twice.
    DuplicateTag,
    /// Tags in two styles in one line.
    MixedTagStyles,
    /// Tags in a style that is switched off.
    TagStyleOff,
    /// `[` without `]`.
    UnclosedTags,
    /// An event that cannot be read.
    BadEvent,
    /// A service check that cannot be read.
    BadServiceCheck,
    /// A name with its tags beyond the limit.
    KeyTooLong,
    /// More tags than the limit.
    TooManyTags,
    /// The packet was longer than the receive buffer, and this line was cut.
    Truncated,
    /// A new series beyond the limit.
    SeriesLimit,
    /// A new series beyond the limit of its prefix.
    PrefixLimit,
    /// A set's member beyond its limit in bytes.
    MemberTooLong,
    /// A value with a timestamp beyond the limit on those.
    TimedLimit,
    /// An event beyond the limit of an interval.
    EventLimit,
}

impl Reason {
    /// Every one of them, in the order of their declaration: `ALL[reason as usize] == reason`.
    pub const ALL: [Self; 25] = [
        Self::NoValue,
        Self::NoType,
        Self::UnknownType,
        Self::NotANumber,
        Self::Infinite,
        Self::NegativeTimer,
        Self::NotARate,
        Self::RateOutOfRange,
        Self::BadTimestamp,
        Self::TimestampOfType,
        Self::NamelessTag,
        Self::DuplicateTag,
        Self::MixedTagStyles,
        Self::TagStyleOff,
        Self::UnclosedTags,
        Self::BadEvent,
        Self::BadServiceCheck,
        Self::KeyTooLong,
        Self::TooManyTags,
        Self::Truncated,
        Self::SeriesLimit,
        Self::PrefixLimit,
        Self::MemberTooLong,
        Self::TimedLimit,
        Self::EventLimit,
    ];

    /// A short name, fit for a metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoValue => "no_value",
            Self::NoType => "no_type",
            Self::UnknownType => "unknown_type",
            Self::NotANumber => "not_a_number",
            Self::Infinite => "infinite",
            Self::NegativeTimer => "negative_timer",
            Self::NotARate => "not_a_rate",
            Self::RateOutOfRange => "rate_out_of_range",
            Self::BadTimestamp => "bad_timestamp",
            Self::TimestampOfType => "timestamp_of_type",
            Self::NamelessTag => "nameless_tag",
            Self::DuplicateTag => "duplicate_tag",
            Self::MixedTagStyles => "mixed_tag_styles",
            Self::TagStyleOff => "tag_style_off",
            Self::UnclosedTags => "unclosed_tags",
            Self::BadEvent => "bad_event",
            Self::BadServiceCheck => "bad_service_check",
            Self::KeyTooLong => "key_too_long",
            Self::TooManyTags => "too_many_tags",
            Self::Truncated => "truncated",
            Self::SeriesLimit => "series_limit",
            Self::PrefixLimit => "prefix_limit",
            Self::MemberTooLong => "member_too_long",
            Self::TimedLimit => "timed_limit",
            Self::EventLimit => "event_limit",
        }
    }

    /// What was wrong and what would be right.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoValue => "no value after the name; write name:value|type, such as logins:1|c",
            Self::NoType => "no type after the value; write value|type, such as 1|c",
            Self::UnknownType => "unknown type; it is one of c, g, ms, s, h, d and m",
            Self::NotANumber => "the value is not a number; write it as 12, -0.5 or 1e3",
            Self::Infinite => "the value is infinite; the largest number is about 1.8e308",
            Self::NegativeTimer => "a timer below 0; a duration is 0 or more milliseconds",
            Self::NotARate => "no sample rate where one is expected; write it as @0.1",
            Self::RateOutOfRange => "the sample rate is not above 0 and at most 1; write it as @0.1",
            Self::BadTimestamp => "the timestamp is not in seconds since the epoch; write it as T1700000000",
            Self::TimestampOfType => {
                "a timestamp on a type that takes none; only counters and gauges without a sign take one"
            }
            Self::NamelessTag => "a tag without a name; write name:value",
            Self::DuplicateTag => "a tag is given twice; give each tag once",
            Self::MixedTagStyles => "tags in two styles, such as in the name and after |#; use one style in a line",
            Self::TagStyleOff => "tags after |# are switched off; see statsd.tag_styles",
            Self::UnclosedTags => "tags that begin with [ do not end with ]; write name[tag=value]",
            Self::BadEvent => "not an event; write _e{title bytes,text bytes}:title|text",
            Self::BadServiceCheck => "not a service check; write _sc|name|status with a status from 0 to 3",
            Self::KeyTooLong => "the name with its tags is longer than the limit on a key's bytes",
            Self::TooManyTags => "more tags than the limit on a series' tags",
            Self::Truncated => "the packet was longer than the receive buffer; send smaller packets",
            Self::SeriesLimit => "a new series beyond the limit on series; known ones are still taken",
            Self::PrefixLimit => "a new series beyond the limit on series of one prefix; known ones are still taken",
            Self::MemberTooLong => "a set's member is longer than the limit on a member's bytes",
            Self::TimedLimit => "more values with timestamps than the limit on them; send them without, or fewer",
            Self::EventLimit => "more events and service checks than the limit on them in an interval",
        }
    }

    /// Whether a limit of ours was reached, rather than the line being wrong. Such a line is not a bad line.
    #[must_use]
    pub const fn is_limit(self) -> bool {
        matches!(
            self,
            Self::KeyTooLong
                | Self::TooManyTags
                | Self::Truncated
                | Self::SeriesLimit
                | Self::PrefixLimit
                | Self::MemberTooLong
                | Self::TimedLimit
                | Self::EventLimit
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// One thing that was not taken, and where it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was wrong.
    pub reason: Reason,
    /// Where in the packet, in bytes from its beginning.
    pub offset: usize,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.offset, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_where_its_number_says_and_has_a_name_and_a_text_of_its_own() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            for other in &Reason::ALL[..index] {
                assert_ne!(reason.as_str(), other.as_str());
                assert_ne!(reason.text(), other.text());
            }
        }
    }
}
