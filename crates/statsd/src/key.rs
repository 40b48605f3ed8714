//! A line's name and tags become the text that a series is known by: `name;tag=value;…`, tags in the order of their names.
//!
//! The characters are etsy's: each run of white space becomes `_`, `/` becomes `-`, and whatever is then not one of
//! `a-zA-Z0-9_-.;=` is dropped. Tags come in two styles, DogStatsD's after `|#` and Graphite's within the name. A tag
//! without a value, `urgent`, is `urgent=true`; a tag with an empty one, `env:`, is no tag, as in Prometheus.
//!
//! A name that needs none of this is handed back as it stands in the packet, without a copy.

use std::ops::Range;

use crate::number::is_space;
use crate::{Limits, Reason};

/// Reads keys, reusing its buffers, so that none is allocated per line.
#[derive(Debug)]
pub struct KeyReader {
    sanitised: String,
    canonical: String,
    tags: Vec<Range<usize>>,
    max_bytes: usize,
    max_tags: usize,
}

impl KeyReader {
    /// A reader with the limits on a key's length and tags.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            sanitised: String::new(),
            canonical: String::new(),
            tags: Vec::new(),
            max_bytes: limits.key_bytes.min(Limits::MAX_KEY_BYTES),
            max_tags: limits.tags,
        }
    }

    /// The key of a name and what followed `|#`, if anything did.
    ///
    /// # Errors
    /// When a limit is passed, a tag has no name or stands twice, or both styles of tags are used.
    pub fn read<'a>(&'a mut self, name: &'a [u8], tags: Option<&[u8]>) -> Result<&'a str, Reason> {
        let tags = tags.filter(|tags| !tags.is_empty());
        if tags.is_none()
            && name.iter().all(|byte| PLAIN[usize::from(*byte)])
            && let Ok(plain) = std::str::from_utf8(name)
        {
            return if plain.len() > self.max_bytes { Err(Reason::KeyTooLong) } else { Ok(plain) };
        }
        self.sanitised.clear();
        sanitise(&mut self.sanitised, name, Part::Name);
        let tagged_in_name = self.sanitised.contains(';');
        if let Some(tags) = tags {
            if tagged_in_name {
                return Err(Reason::MixedTagStyles);
            }
            for tag in tags.split(|byte| *byte == b',') {
                self.sanitised.push(';');
                sanitise(&mut self.sanitised, tag, Part::Tag);
            }
        }
        let max_bytes = self.max_bytes;
        let key = if tags.is_some() || tagged_in_name { self.canonical()? } else { &self.sanitised };
        if key.len() > max_bytes { Err(Reason::KeyTooLong) } else { Ok(key) }
    }

    /// Puts the tags of the sanitised text in order.
    fn canonical(&mut self) -> Result<&str, Reason> {
        let text = self.sanitised.as_str();
        let name_end = text.find(';').unwrap_or(text.len());
        self.tags.clear();
        let mut start = name_end + 1;
        while start <= text.len() {
            let end = text[start..].find(';').map_or(text.len(), |length| start + length);
            let tag = &text[start..end];
            if tag.starts_with('=') {
                return Err(Reason::NamelessTag);
            }
            let has_empty_value = tag.find('=').is_some_and(|equals| equals + 1 == tag.len());
            if !tag.is_empty() && !has_empty_value {
                if self.tags.len() == self.max_tags {
                    return Err(Reason::TooManyTags);
                }
                self.tags.push(start..end);
            }
            start = end + 1;
        }
        self.tags.sort_unstable_by_key(|tag| tag_name(&text[tag.clone()]));
        let has_duplicate =
            self.tags.windows(2).any(|pair| tag_name(&text[pair[0].clone()]) == tag_name(&text[pair[1].clone()]));
        if has_duplicate {
            return Err(Reason::DuplicateTag);
        }
        self.canonical.clear();
        self.canonical.push_str(&text[..name_end]);
        for tag in &self.tags {
            let tag = &text[tag.clone()];
            self.canonical.push(';');
            self.canonical.push_str(tag);
            if !tag.contains('=') {
                self.canonical.push_str("=true");
            }
        }
        Ok(&self.canonical)
    }
}

fn tag_name(tag: &str) -> &str {
    tag.split('=').next().unwrap_or(tag)
}

/// The bytes that stay as they are and begin no tag.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'=');
        byte += 1;
    }
    plain
};

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Name,
    /// A tag of DogStatsD's: its first `:` divides name and value, its first `;` is a character like another.
    Tag,
}

/// Appends what is left of a text. Invalid UTF-8 is what JavaScript makes of it: a character that is dropped.
fn sanitise(out: &mut String, text: &[u8], part: Part) {
    let mut in_space = false;
    let mut divided = part == Part::Name;
    let mut saw_semicolon = part == Part::Name;
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while !rest.is_empty() {
            let plain = rest.bytes().position(|byte| !PLAIN[usize::from(byte)]).unwrap_or(rest.len());
            out.push_str(&rest[..plain]);
            in_space &= plain == 0;
            let mut others = rest[plain..].chars();
            let Some(character) = others.next() else {
                break;
            };
            rest = others.as_str();
            if is_space(character) {
                if !in_space {
                    out.push('_');
                }
                in_space = true;
                continue;
            }
            in_space = false;
            match character {
                ':' if !divided => {
                    divided = true;
                    out.push('=');
                }
                ';' if !saw_semicolon => {
                    saw_semicolon = true;
                    out.push('_');
                }
                '/' => out.push('-'),
                ';' => out.push(';'),
                _ => {}
            }
        }
        in_space &= chunk.invalid().is_empty();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use statline_series::SeriesKey;

    fn read(name: &str, tags: Option<&str>) -> Result<String, Reason> {
        KeyReader::new(&Limits::default()).read(name.as_bytes(), tags.map(str::as_bytes)).map(str::to_owned)
    }

    #[test]
    fn names_are_sanitised_as_etsy_does() {
        for (name, key) in [
            ("bot.help.claimed", "bot.help.claimed"),
            ("a b/c$é", "a_b-c"),
            ("a \t\u{a0}\u{3000}b", "a_b"),
            ("a é b", "a__b"),
            ("", ""),
            ("constructor", "constructor"),
            ("__proto__", "__proto__"),
            ("a=b", "a=b"),
            ("a|b", "ab"),
            ("..a..", "..a.."),
        ] {
            assert_eq!(read(name, None).as_deref(), Ok(key), "{name:?}");
        }
        let mut reader = KeyReader::new(&Limits::default());
        assert_eq!(reader.read(b"a \xff b\xf0\x9f", None), Ok("a__b"), "an invalid byte ends a run of white space");
    }

    #[test]
    fn tags_of_either_style_are_put_in_order() {
        for (name, tags, key) in [
            ("a", Some("z:1,b:2"), "a;b=2;z=1"),
            ("a;z=1;b=2", None, "a;b=2;z=1"),
            ("a", Some(""), "a"),
            ("a", Some("urgent"), "a;urgent=true"),
            ("a", Some("env:,t:v,"), "a;t=v"),
            ("a;", None, "a"),
            ("a", Some("url:http://x/y"), "a;url=http--x-y"),
            ("a", Some("p;q:v"), "a;p_q=v"),
            ("a", Some("p;q;r:v"), "a;p_q=true;r=v"),
            ("a", Some("t1:x,t:y"), "a;t=y;t1=x"),
            ("a", Some("k:a=b"), "a;k=a=b"),
        ] {
            assert_eq!(read(name, tags).as_deref(), Ok(key), "{name:?} {tags:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_key_is_refused() {
        for (name, tags, reason) in [
            ("a", Some(":v"), Reason::NamelessTag),
            ("a;=v", None, Reason::NamelessTag),
            ("a", Some("é:v"), Reason::NamelessTag),
            ("a", Some("t:1,t:2"), Reason::DuplicateTag),
            ("a;t=1", Some("u:2"), Reason::MixedTagStyles),
        ] {
            assert_eq!(read(name, tags), Err(reason), "{name:?} {tags:?}");
        }
        assert_eq!(read(&"x".repeat(1025), None), Err(Reason::KeyTooLong));
        assert_eq!(read("a", Some(&format!("t:{}", "x".repeat(1025)))), Err(Reason::KeyTooLong));
        let many: Vec<String> = (0..33).map(|number| format!("t{number}:v")).collect();
        assert_eq!(read("a", Some(&many.join(","))), Err(Reason::TooManyTags));
        assert!(read("a", Some(&many[..32].join(","))).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_a_series_key_in_canonical_form(
            name in proptest::collection::vec(any::<u8>(), 0..40),
            tags in proptest::option::of("[a-c:;=, /é|]{0,24}"),
        ) {
            let mut reader = KeyReader::new(&Limits::default());
            if let Ok(key) = reader.read(&name, tags.as_deref().map(str::as_bytes)) {
                let flushed = format!("stats.{key}");
                let series = SeriesKey::parse(&flushed);
                prop_assert_eq!(series.as_ref().map(SeriesKey::as_str), Ok(flushed.as_str()));
            }
        }
    }
}
