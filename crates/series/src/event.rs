//! Something that happened: a deployment, an alert, a service check. Grafana shows it as an annotation.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// An event. Events are ordered by their instants, and those of one instant by what they say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// What a text takes in memory beside its bytes.
const STRING_BYTES: usize = size_of::<String>();

impl Event {
    /// The most that an event may take in memory, in bytes, by [`Event::size`]. A store refuses a larger one.
    pub const MOST_BYTES: usize = 64 << 10;

    /// What it takes in memory, in bytes: its texts, and what there is to keep beside each of them.
    #[must_use]
    pub fn size(&self) -> usize {
        let tags = self.tags.iter().map(|tag| STRING_BYTES + tag.len());
        let attributes = self.attributes.iter().map(|(name, value)| 2 * STRING_BYTES + name.len() + value.len());
        size_of::<Self>() + self.title.len() + self.text.len() + tags.chain(attributes).sum::<usize>()
    }

    /// Whether it has all of these tags, those of [`Event::all_tags`] included.
    #[must_use]
    pub fn has_tags(&self, tags: &[String]) -> bool {
        tags.iter().all(|tag| self.tags.contains(tag) || self.is_attribute(tag))
    }

    fn is_attribute(&self, tag: &str) -> bool {
        self.attributes.iter().any(|(name, value)| {
            tag.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix(':')).is_some_and(|rest| rest == value)
        })
    }

    /// Its tags, and behind them what else is known of it as tags `name:value`, each once.
    #[must_use]
    pub fn all_tags(&self) -> Vec<String> {
        let mut tags = self.tags.clone();
        for (name, value) in &self.attributes {
            let tag = format!("{name}:{value}");
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        tags
    }

    /// A number for those who tell events apart by one: the same for equal events, wherever and whenever, and below 2^53,
    /// so that JavaScript keeps it. FNV-1a over all that an event says.
    #[must_use]
    pub fn id(&self) -> u64 {
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let texts = [&self.title, &self.text].into_iter().chain(&self.tags);
        let texts = texts.chain(self.attributes.iter().flat_map(|(name, value)| [name, value]));
        // No text holds the byte that ends each.
        let bytes = texts.flat_map(|text| text.bytes().chain([0xff]));
        let hash = self.timestamp.millis().to_le_bytes().into_iter().chain(bytes);
        let hash = hash.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
        (hash >> 53) ^ (hash & ((1 << 53) - 1))
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        let mut event = Event::new(Timestamp::from_seconds(7), "deployed".to_owned(), "version 3".to_owned());
        event.tags = vec!["env:live".to_owned(), "bot".to_owned()];
        event
    }

    #[test]
    fn attributes_are_kept_in_the_order_of_their_names_and_the_last_word_counts() {
        let mut event = event();
        for (name, value) in [("priority", "low"), ("host", "a"), ("priority", "normal")] {
            event.set_attribute(name, value);
        }
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(event.attributes, [pair("host", "a"), pair("priority", "normal")]);
        assert_eq!((event.attribute("host"), event.attribute("source")), (Some("a"), None));
    }

    #[test]
    fn tags_are_found_whatever_their_order() {
        let tags = |of: &[&str]| of.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        for (asked, expected) in [
            (tags(&[]), true),
            (tags(&["bot"]), true),
            (tags(&["bot", "env:live"]), true),
            (tags(&["bot", "env:test"]), false),
        ] {
            assert_eq!(event().has_tags(&asked), expected, "{asked:?}");
        }
    }

    #[test]
    fn what_is_known_of_an_event_is_a_tag_too_and_only_once() {
        let mut event = event();
        event.set_attribute("host", "web:1");
        event.set_attribute("env", "live");
        assert_eq!(event.all_tags(), ["env:live", "bot", "host:web:1"]);
        for (tag, expected) in [("host:web:1", true), ("host:web", false), ("host", false), ("hos", false)] {
            assert_eq!(event.has_tags(&[tag.to_owned()]), expected, "{tag}");
        }
    }

    #[test]
    fn a_number_tells_events_apart_for_ever() {
        let first = event();
        assert_eq!(first.id(), first.clone().id());
        assert_eq!(Event::new(Timestamp::from_millis(0), String::new(), String::new()).id(), 7_468_759_675_921_468);
        let mut shifted = event();
        shifted.title.push('v');
        shifted.text.remove(0);
        let mut later = event();
        later.timestamp = Timestamp::from_seconds(8);
        let mut tagged = event();
        tagged.tags.push(String::new());
        for other in [shifted, later, tagged] {
            assert_ne!(other.id(), first.id());
            assert!(other.id() < 1 << 53);
        }
    }

    #[test]
    fn many_small_texts_weigh_more_than_their_bytes() {
        let mut many = event();
        many.tags = vec![String::new(); 1000];
        assert!(many.size() > 20_000, "{}", many.size());
        let mut larger = event();
        larger.text.push_str(&"x".repeat(100));
        assert_eq!(larger.size(), event().size() + 100);
    }
}
