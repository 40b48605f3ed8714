//! Durations as people write them: `10s`, `5m`, `2h`, `365d`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A duration that is written and read as a text with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// From whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// As the standard library has it.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(86_400, "d"), (3600, "h"), (60, "m")];
        let seconds = self.0.as_secs();
        if self.0.subsec_nanos() == 0 {
            if let Some((length, unit)) =
                UNITS.iter().find(|(length, _)| seconds > 0 && seconds.is_multiple_of(*length))
            {
                return write!(f, "{}{unit}", seconds / length);
            }
            return write!(f, "{seconds}s");
        }
        write!(f, "{}ms", self.0.as_millis())
    }
}

impl Serialize for Span {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map(Self).map_err(|_| {
            serde::de::Error::custom(format!(
                "{text:?} is not a duration; write a number and a unit, such as 10s, 5m, 2h or 30d"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_with_its_largest_whole_unit() {
        for (text, written) in [
            ("10s", "10s"),
            ("90s", "90s"),
            ("120s", "2m"),
            ("2h", "2h"),
            ("365d", "365d"),
            ("1500ms", "1500ms"),
            ("0s", "0s"),
        ] {
            let span: Span = serde_json::from_value(text.into()).unwrap();
            assert_eq!(span.to_string(), written);
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused_with_an_example() {
        let error = serde_json::from_value::<Span>("10".into()).unwrap_err().to_string();
        assert_eq!(error, "\"10\" is not a duration; write a number and a unit, such as 10s, 5m, 2h or 30d");
    }
}
