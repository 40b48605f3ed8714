//! Something that happened: a deployment, an alert, a service check. Grafana shows it as an annotation.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened.
    pub timestamp: Timestamp,
    /// What it is called.
    pub title: String,
    /// What there is to say about it; may be empty.
    pub text: String,
    /// What it can be found by, in the order in which they were sent.
    pub tags: Vec<String>,
    /// What else is known of it, by name, in the order of the names: `host`, `priority`, `alert_type` and the like.
    pub attributes: Vec<(String, String)>,
}

impl Event {
    /// An event without tags and attributes.
    #[must_use]
    pub const fn new(timestamp: Timestamp, title: String, text: String) -> Self {
        Self { timestamp, title, text, tags: Vec::new(), attributes: Vec::new() }
    }

    /// What is known of it under a name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.binary_search_by(|(known, _)| known.as_str().cmp(name));
        found.ok().map(|index| self.attributes[index].1.as_str())
    }

    /// Says something under a name; it takes the place of what was said before.
    pub fn set_attribute(&mut self, name: &str, value: &str) {
        match self.attributes.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
            Ok(index) => value.clone_into(&mut self.attributes[index].1),
            Err(index) => self.attributes.insert(index, (name.to_owned(), value.to_owned())),
        }
    }
}
