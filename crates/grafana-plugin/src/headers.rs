//! Headers of a request: Grafana's own, and those of HTTP that it forwards.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::proto::pluginv2 as wire;

/// Grafana prefixes the HTTP headers that it forwards.
const HTTP_PREFIX: &str = "http_";

/// Headers that carry a user's credentials; their values are never shown.
const CREDENTIALS: [&str; 4] = ["authorization", "cookie", "x-id-token", "x-grafana-id"];

/// Headers of a request: Grafana's own, such as `FromAlert`, and the HTTP ones it forwards, which it prefixes with
/// `http_`. Lookups ignore case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    entries: BTreeMap<String, Vec<String>>,
}

impl Headers {
    /// The first value of a header that Grafana itself set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values(name).first().map(String::as_str)
    }

    /// The first value of a forwarded HTTP header, named without its prefix.
    #[must_use]
    pub fn http(&self, name: &str) -> Option<&str> {
        self.get(&format!("{HTTP_PREFIX}{name}")).or_else(|| self.get(name))
    }

    /// Whether an alert rule asks.
    #[must_use]
    pub fn is_from_alert(&self) -> bool {
        self.get("FromAlert").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// All values of a header.
    #[must_use]
    pub fn values(&self, name: &str) -> &[String] {
        self.entries.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or(&[], |(_, values)| values)
    }

    /// Every header with its values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.entries.iter().map(|(name, values)| (name.as_str(), values.as_slice()))
    }

    /// Adds a value to a header.
    pub fn append(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.entries.entry(name.into()).or_default().push(value.into());
    }

    pub(crate) fn from_wire_lists(lists: HashMap<String, wire::StringList>) -> Self {
        Self { entries: lists.into_iter().map(|(name, list)| (name, list.values)).collect() }
    }

    pub(crate) fn to_wire_lists(&self) -> HashMap<String, wire::StringList> {
        self.entries.iter().map(|(name, values)| (name.clone(), wire::StringList { values: values.clone() })).collect()
    }

    pub(crate) fn to_wire_map(&self) -> HashMap<String, String> {
        self.entries
            .iter()
            .filter_map(|(name, values)| values.first().map(|value| (name.clone(), value.clone())))
            .collect()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, values) in &self.entries {
            let bare = name.strip_prefix(HTTP_PREFIX).unwrap_or(name);
            if CREDENTIALS.iter().any(|credential| credential.eq_ignore_ascii_case(bare)) {
                map.entry(name, &"…");
            } else {
                map.entry(name, values);
            }
        }
        map.finish()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut headers = Self::default();
        for (name, value) in pairs {
            headers.append(name, value);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_whatever_their_case_and_prefix() {
        let headers: Headers =
            [("FromAlert", "true"), ("http_X-Request-Id", "7"), ("Authorization", "Bearer t")].into_iter().collect();
        assert!(headers.is_from_alert());
        assert_eq!(headers.http("x-request-id"), Some("7"));
        assert_eq!(headers.http("authorization"), Some("Bearer t"));
        assert_eq!(headers.get("x-request-id"), None);
        assert!(!Headers::default().is_from_alert());
    }

    #[test]
    fn credentials_are_not_shown() {
        let headers: Headers = [
            ("http_Authorization", "Bearer hunter2"),
            ("Authorization", "Bearer hunter2"),
            ("http_Cookie", "s=hunter2"),
            ("X-ID-Token", "hunter2"),
            ("http_X-Grafana-Id", "hunter2"),
            ("FromAlert", "true"),
        ]
        .into_iter()
        .collect();
        let shown = format!("{headers:?}");
        assert!(!shown.contains("hunter2") && shown.contains("http_Cookie") && shown.contains("true"), "{shown}");
    }

    #[test]
    fn lists_survive_the_wire() {
        let mut headers: Headers = [("Accept", "a")].into_iter().collect();
        headers.append("Accept", "b");
        assert_eq!(Headers::from_wire_lists(headers.to_wire_lists()), headers);
        assert_eq!(headers.to_wire_map(), HashMap::from([("Accept".to_owned(), "a".to_owned())]));
    }
}
