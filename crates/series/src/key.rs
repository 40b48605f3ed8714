//! A series' identity: a name and sorted tags, kept as one canonical text.
//!
//! The text is Graphite 1.1's, `name;tag=value;tag=value`, tags in the order of their names. Holding the text itself and
//! nothing more makes a key one allocation, shared by reference, and equal keys equal strings. Graphite forbids `;` in a
//! tag's value, Prometheus does not, so a `;` or `\` inside a value is written with a backslash before it.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest canonical text of a key, in bytes.
pub const MAX_KEY_BYTES: usize = 4096;

/// Why a text or a set of tags is not a key.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// The name is empty.
    #[error("a series needs a name before its tags")]
    EmptyName,
    /// The name holds a character that would end it.
    #[error("a series' name may not contain ';': {0:?}")]
    SemicolonInName(String),
    /// A part after `;` has no `=`.
    #[error("a tag is written name=value, got {0:?}")]
    NotATag(String),
    /// The tag's name is empty or holds one of `;!^=`.
    #[error("a tag's name is not empty and has none of ;!^= in it, got {0:?}")]
    BadTagName(String),
    /// The tag's value is empty or begins with `~`.
    #[error("the value of tag {0:?} is empty or begins with '~'")]
    BadTagValue(String),
    /// A tag stands twice.
    #[error("tag {0:?} is given twice")]
    DuplicateTag(String),
    /// The canonical text is too long.
    #[error("a series' key is at most {MAX_KEY_BYTES} bytes, got {0}")]
    TooLong(usize),
}

/// The identity of a series. Cheap to clone; ordered and hashed by its canonical text.
#[derive(Clone)]
pub struct SeriesKey {
    text: Arc<str>,
    name_len: u32,
}

impl SeriesKey {
    /// A key of a name without tags.
    ///
    /// # Errors
    /// When the name is empty, too long, or contains `;`.
    pub fn from_name(name: &str) -> Result<Self, KeyError> {
        check_name(name)?;
        Self::from_canonical(name, name.len())
    }

    /// A key of a name and tags, which are sorted in place. Values are plain text, without backslashes added.
    ///
    /// # Errors
    /// When a part breaks the rules of [`KeyError`].
    pub fn from_parts(name: &str, tags: &mut [(&str, &str)]) -> Result<Self, KeyError> {
        check_name(name)?;
        tags.sort_unstable_by_key(|(tag, _)| *tag);
        let mut text =
            String::with_capacity(name.len() + tags.iter().map(|(t, v)| t.len() + v.len() + 2).sum::<usize>());
        text.push_str(name);
        let mut previous = None;
        for (tag, value) in tags.iter() {
            check_tag(tag, value)?;
            if previous == Some(*tag) {
                return Err(KeyError::DuplicateTag((*tag).to_owned()));
            }
            previous = Some(*tag);
            text.push(';');
            text.push_str(tag);
            text.push('=');
            escape_into(&mut text, value);
        }
        Self::from_canonical(&text, name.len())
    }

    /// Reads `name;tag=value;…`, tags in any order.
    ///
    /// # Errors
    /// When the text breaks the rules of [`KeyError`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let Some((name, tags)) = text.split_once(';') else {
            return Self::from_name(text);
        };
        if is_canonical(name, tags) {
            return Self::from_canonical(text, name.len());
        }
        let parsed = split_unescaped(tags)
            .map(|part| part.split_once('=').ok_or_else(|| KeyError::NotATag(part.to_owned())))
            .map(|part| part.map(|(tag, value)| (tag, unescape(value))))
            .collect::<Result<Vec<_>, _>>()?;
        let mut borrowed: Vec<(&str, &str)> = parsed.iter().map(|(tag, value)| (*tag, value.as_ref())).collect();
        Self::from_parts(name, &mut borrowed)
    }

    /// The same key, borrowed.
    #[must_use]
    pub fn borrowed(&self) -> KeyRef<'_> {
        KeyRef { text: &self.text, name_len: self.name_len as usize }
    }

    fn from_canonical(text: &str, name_len: usize) -> Result<Self, KeyError> {
        if text.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong(text.len()));
        }
        // The length was just checked to be far under u32::MAX.
        let name_len = u32::try_from(name_len).map_err(|_| KeyError::TooLong(name_len))?;
        Ok(Self { text: text.into(), name_len })
    }

    /// The canonical text, `name;tag=value;…`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name alone; for an untagged series, its dotted path.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.text[..self.name_len as usize]
    }

    /// Whether the series has tags.
    #[must_use]
    pub fn is_tagged(&self) -> bool {
        self.borrowed().is_tagged()
    }

    /// The tags in the order of their names, values as they were given.
    pub fn tags(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.borrowed().tags()
    }

    /// The value of one tag; `name` stands for the name, as in Graphite, unless it is a tag of its own.
    #[must_use]
    pub fn tag(&self, wanted: &str) -> Option<Cow<'_, str>> {
        self.borrowed().tag(wanted)
    }
}

/// A key whose canonical text is kept elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRef<'a> {
    text: &'a str,
    name_len: usize,
}

impl<'a> KeyRef<'a> {
    /// Of the text that [`SeriesKey::as_str`] gave; nothing of it is checked or sorted again.
    #[must_use]
    pub fn of_canonical(text: &'a str) -> Self {
        debug_assert!(SeriesKey::parse(text).is_ok_and(|key| key.as_str() == text), "{text:?} is not canonical");
        Self { text, name_len: text.find(';').unwrap_or(text.len()) }
    }

    /// The canonical text.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.text
    }

    /// As [`SeriesKey::name`].
    #[must_use]
    pub fn name(self) -> &'a str {
        &self.text[..self.name_len]
    }

    /// As [`SeriesKey::is_tagged`].
    #[must_use]
    pub const fn is_tagged(self) -> bool {
        self.text.len() > self.name_len
    }

    /// As [`SeriesKey::tags`].
    pub fn tags(self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        let tags = self.text.get(self.name_len + 1..).unwrap_or("");
        split_unescaped(tags).filter_map(|part| part.split_once('=')).map(|(tag, value)| (tag, unescape(value)))
    }

    /// As [`SeriesKey::tag`].
    #[must_use]
    pub fn tag(self, wanted: &str) -> Option<Cow<'a, str>> {
        self.tags()
            .find(|(tag, _)| *tag == wanted)
            .map(|(_, value)| value)
            .or_else(|| (wanted == "name").then(|| Cow::Borrowed(self.name())))
    }

    /// A key with a text of its own.
    #[must_use]
    pub fn to_key(self) -> SeriesKey {
        SeriesKey { text: self.text.into(), name_len: u32::try_from(self.name_len).unwrap_or(u32::MAX) }
    }
}

/// Whether tags are written as their canonical text is: sorted, sound, and without anything that needs a backslash.
fn is_canonical(name: &str, tags: &str) -> bool {
    let mut previous = "";
    for part in tags.split(';') {
        let Some((tag, value)) = part.split_once('=') else { return false };
        if tag <= previous || check_tag(tag, value).is_err() {
            return false;
        }
        previous = tag;
    }
    check_name(name).is_ok() && !tags.contains('\\')
}

fn check_name(name: &str) -> Result<(), KeyError> {
    if name.is_empty() {
        return Err(KeyError::EmptyName);
    }
    if name.contains(';') {
        return Err(KeyError::SemicolonInName(name.to_owned()));
    }
    Ok(())
}

fn check_tag(tag: &str, value: &str) -> Result<(), KeyError> {
    if tag.is_empty() || tag.contains([';', '!', '^', '=']) {
        return Err(KeyError::BadTagName(tag.to_owned()));
    }
    if value.is_empty() || value.starts_with('~') {
        return Err(KeyError::BadTagValue(tag.to_owned()));
    }
    Ok(())
}

fn escape_into(text: &mut String, value: &str) {
    for character in value.chars() {
        if matches!(character, ';' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
}

fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        plain.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    Cow::Owned(plain)
}

/// Splits at each `;` that no backslash precedes. Nothing comes of an empty text.
fn split_unescaped(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = (!text.is_empty()).then_some(text);
    std::iter::from_fn(move || {
        let current = rest?;
        let mut escaped = false;
        for (index, byte) in current.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b';' => {
                    rest = Some(&current[index + 1..]);
                    return Some(&current[..index]);
                }
                _ => {}
            }
        }
        rest = None;
        Some(current)
    })
}

impl PartialEq for SeriesKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SeriesKey {}

impl Hash for SeriesKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl PartialOrd for SeriesKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SeriesKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl std::borrow::Borrow<str> for SeriesKey {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.text)
    }
}

impl std::str::FromStr for SeriesKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for SeriesKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for SeriesKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_are_sorted_and_found() {
        let key = SeriesKey::parse("bot.channel;name2=b;channel=python;host=a=b").unwrap();
        assert_eq!(key.as_str(), "bot.channel;channel=python;host=a=b;name2=b");
        assert_eq!(key.name(), "bot.channel");
        assert_eq!(key.tag("host").as_deref(), Some("a=b"));
        assert_eq!(key.tag("name").as_deref(), Some("bot.channel"));
        assert_eq!(key.tag("absent"), None);
        assert!(key.is_tagged());
        assert!(!SeriesKey::from_name("a.b").unwrap().is_tagged());
    }

    #[test]
    fn what_is_wrong_with_a_key_is_said() {
        for (text, error) in [
            ("", KeyError::EmptyName),
            (";a=b", KeyError::EmptyName),
            ("a;b", KeyError::NotATag("b".into())),
            ("a;=v", KeyError::BadTagName(String::new())),
            ("a;t!=v", KeyError::BadTagName("t!".into())),
            ("a;t=", KeyError::BadTagValue("t".into())),
            ("a;t=~x", KeyError::BadTagValue("t".into())),
            ("a;t=1;t=2", KeyError::DuplicateTag("t".into())),
        ] {
            assert_eq!(SeriesKey::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(SeriesKey::parse("a;"), SeriesKey::from_name("a"), "a lone trailing semicolon opens no tag");
        assert_eq!(SeriesKey::from_name(&"x".repeat(5000)), Err(KeyError::TooLong(5000)));
    }

    proptest! {
        #[test]
        fn any_tag_value_survives_the_canonical_text(value in "[^~].{0,20}", other in "[a-z;\\\\]{1,8}") {
            let key = SeriesKey::from_parts("n", &mut [("b", &other), ("a", &value)]).unwrap();
            let again = SeriesKey::parse(key.as_str()).unwrap();
            prop_assert_eq!(&key, &again);
            prop_assert_eq!(&key, &KeyRef::of_canonical(key.as_str()).to_key());
            prop_assert_eq!(again.tag("a").unwrap(), value);
            prop_assert_eq!(again.tag("b").unwrap(), other);
        }

        #[test]
        fn tags_in_any_order_make_the_key_of_their_parts(text in "[a-c]{0,2}(;[a-c!=]{0,2}=[~a-c=\\\\]{0,3}){1,3}") {
            let (name, tags) = text.split_once(';').unwrap();
            let parts = split_unescaped(tags).map(|part| part.split_once('=').map(|(tag, value)| (tag, unescape(value))));
            // A backslash at the end of a value takes the next tag in.
            let Some(parts) = parts.collect::<Option<Vec<_>>>() else { return Ok(()) };
            let mut parts: Vec<(&str, &str)> = parts.iter().map(|(tag, value)| (*tag, value.as_ref())).collect();
            prop_assert_eq!(SeriesKey::parse(&text), SeriesKey::from_parts(name, &mut parts));
        }
    }
}
