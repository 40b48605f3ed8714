//! A line's name and tags become the text that a series is known by: `name;tag=value;…`, tags in the order of their names.
//!
//! The characters are etsy's: each run of white space becomes `_`, `/` becomes `-`, and whatever is then not one of
//! `a-zA-Z0-9_-.;=` is dropped. Tags come after `|#` as DogStatsD has them, or within the name in one of four styles, each
//! of which can be switched off. A tag without a value, `urgent`, is `urgent=true`; a tag with an empty one, `env:`, is no
//! tag, as in Prometheus.
//!
//! What is read is ASCII, and reading it again gives the same text.

use std::ops::Range;

use crate::number::is_space;
use crate::{Limits, Reason};

/// The styles in which a line may carry tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagStyles {
    /// `name:1|c|#tag:value,…`
    pub dogstatsd: bool,
    /// `name;tag=value;…:1|c`. Without it a `;` is dropped from a name.
    pub graphite: bool,
    /// `name,tag=value,…:1|c`. Without it a `,` is dropped from a name, as etsy drops it.
    pub influxdb: bool,
    /// `name#tag=value,…:1|c`. Without it a `#` is dropped from a name.
    pub librato: bool,
    /// `name[tag=value,…]:1|c`. Without it brackets are dropped from a name.
    pub signalfx: bool,
}

impl Default for TagStyles {
    /// Those that etsy's server knows.
    fn default() -> Self {
        Self { dogstatsd: true, graphite: true, influxdb: false, librato: false, signalfx: false }
    }
}

/// Reads keys, reusing its buffers, so that none is allocated per line.
#[derive(Debug)]
pub struct KeyReader {
    sanitised: String,
    canonical: String,
    tags: Vec<Range<usize>>,
    max_bytes: usize,
    max_tags: usize,
    styles: TagStyles,
}

/// A name as it stands in a line, parted from the tags that it carries.
struct Parts<'a> {
    before: &'a [u8],
    /// What a style divides by commas.
    listed: Option<&'a [u8]>,
    after: &'a [u8],
}

impl KeyReader {
    /// A reader with the limits on a key's length and tags.
    #[must_use]
    pub fn new(limits: &Limits, styles: TagStyles) -> Self {
        Self {
            sanitised: String::new(),
            canonical: String::new(),
            tags: Vec::new(),
            max_bytes: limits.key_bytes.min(Limits::MAX_KEY_BYTES),
            max_tags: limits.tags,
            styles,
        }
    }

    /// The key of a name and what followed `|#`, if anything did.
    ///
    /// # Errors
    /// When a limit is passed, a tag has no name or stands twice, or two styles of tags are used.
    pub fn read<'a>(&'a mut self, name: &'a [u8], tags: Option<&[u8]>) -> Result<&'a str, Reason> {
        let tags = tags.filter(|tags| !tags.is_empty());
        if tags.is_none()
            && name.iter().all(|byte| PLAIN[usize::from(*byte)])
            && let Ok(plain) = std::str::from_utf8(name)
        {
            return if plain.len() > self.max_bytes { Err(Reason::KeyTooLong) } else { Ok(plain) };
        }
        if tags.is_some() && !self.styles.dogstatsd {
            return Err(Reason::TagStyleOff);
        }
        let parts = self.part(name)?;
        self.sanitised.clear();
        for piece in [parts.before, parts.after] {
            sanitise(&mut self.sanitised, piece, if self.styles.graphite { Part::Name } else { Part::Untagged });
        }
        let tagged_by_semicolon = self.sanitised.contains(';');
        let styles = [tagged_by_semicolon, parts.listed.is_some(), tags.is_some()];
        if styles.into_iter().filter(|used| *used).count() > 1 {
            return Err(Reason::MixedTagStyles);
        }
        for (listed, part) in [(parts.listed, Part::Pair), (tags, Part::Tag)] {
            for tag in listed.into_iter().flat_map(|listed| listed.split(|byte| *byte == b',')) {
                self.sanitised.push(';');
                sanitise(&mut self.sanitised, tag, part);
            }
        }
        let max_bytes = self.max_bytes;
        let key = if styles.contains(&true) { self.canonical()? } else { &self.sanitised };
        if key.len() > max_bytes { Err(Reason::KeyTooLong) } else { Ok(key) }
    }

    /// Takes the tags of the styles that list them out of a name.
    fn part<'a>(&self, name: &'a [u8]) -> Result<Parts<'a>, Reason> {
        let find = |on: bool, delimiter: u8| on.then(|| memchr::memchr(delimiter, name)).flatten();
        let found =
            [find(self.styles.influxdb, b','), find(self.styles.librato, b'#'), find(self.styles.signalfx, b'[')];
        let Some(at) = found.into_iter().flatten().min() else {
            return Ok(Parts { before: name, listed: None, after: &[] });
        };
        let (before, rest) = (&name[..at], &name[at + 1..]);
        let (listed, after) = if name[at] == b'[' {
            let end = memchr::memchr(b']', rest).ok_or(Reason::UnclosedTags)?;
            (&rest[..end], &rest[end + 1..])
        } else {
            (rest, &[][..])
        };
        // Commas divide the tags of every style, so they are another one's only behind the brackets.
        let is_mixed = (self.styles.librato && rest.contains(&b'#'))
            || (self.styles.signalfx && rest.contains(&b'['))
            || (self.styles.influxdb && after.contains(&b','));
        if is_mixed {
            return Err(Reason::MixedTagStyles);
        }
        Ok(Parts { before, listed: Some(listed), after })
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
    /// Its `;` begin tags.
    Name,
    /// Its `;` mean nothing.
    Untagged,
    /// A tag of DogStatsD's: its first `:` divides name and value, its first `;` is a character like another.
    Tag,
    /// A tag whose `=` divides name and value; a `;` is a character like another.
    Pair,
}

/// Appends what is left of a text. Invalid UTF-8 is what JavaScript makes of it: a character that is dropped.
fn sanitise(out: &mut String, text: &[u8], part: Part) {
    let mut in_space = false;
    let mut divided = part != Part::Tag;
    let mut semicolons_replaced = match part {
        Part::Name | Part::Untagged => 0,
        Part::Tag => 1,
        Part::Pair => usize::MAX,
    };
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
                '/' => out.push('-'),
                ';' if semicolons_replaced > 0 => {
                    semicolons_replaced -= 1;
                    out.push('_');
                }
                ';' if part != Part::Untagged => out.push(';'),
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
        KeyReader::new(&Limits::default(), TagStyles::default())
            .read(name.as_bytes(), tags.map(str::as_bytes))
            .map(str::to_owned)
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
        let mut reader = KeyReader::new(&Limits::default(), TagStyles::default());
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

    const ALL: TagStyles = TagStyles { dogstatsd: true, graphite: true, influxdb: true, librato: true, signalfx: true };

    #[test]
    fn each_style_of_tags_is_read_when_it_is_on() {
        for (name, key) in [
            ("a,z=1,b=2", Ok("a;b=2;z=1")),
            ("a.b#z=1,b", Ok("a.b;b=true;z=1")),
            ("a[z=1,b=x/y].c", Ok("a.c;b=x-y;z=1")),
            ("a[]", Ok("a")),
            ("a,", Ok("a")),
            ("a,p;q=v;w", Ok("a;p_q=v_w")),
            ("a,=v", Err(Reason::NamelessTag)),
            ("a,t=1,t=2", Err(Reason::DuplicateTag)),
            ("a[t=1", Err(Reason::UnclosedTags)),
            ("a;t=1,u=2", Err(Reason::MixedTagStyles)),
            ("a#t=1;u=2", Ok("a;t=1_u=2")),
            ("a[t=1]#u=2", Err(Reason::MixedTagStyles)),
            ("a[t=1],u=2", Err(Reason::MixedTagStyles)),
            ("a,t=1#u=2", Err(Reason::MixedTagStyles)),
        ] {
            let mut reader = KeyReader::new(&Limits::default(), ALL);
            assert_eq!(reader.read(name.as_bytes(), None), key, "{name:?}");
        }
        let mut reader = KeyReader::new(&Limits::default(), ALL);
        assert_eq!(reader.read(b"a,t=1", Some(b"u:2")), Err(Reason::MixedTagStyles));
        let none = TagStyles { dogstatsd: false, graphite: false, influxdb: false, librato: false, signalfx: false };
        let mut reader = KeyReader::new(&Limits::default(), none);
        assert_eq!(reader.read(b"a;t=1,u=2#v=3[w=4]", None), Ok("at=1u=2v=3w=4"));
        assert_eq!(reader.read(b"a", Some(b"t:1")), Err(Reason::TagStyleOff));
    }

    proptest! {
        #[test]
        fn what_was_read_reads_as_itself(name in proptest::collection::vec(any::<u8>(), 0..40), all in any::<bool>()) {
            let styles = if all { ALL } else { TagStyles::default() };
            let mut reader = KeyReader::new(&Limits::default(), styles);
            if let Ok(key) = reader.read(&name, None).map(str::to_owned) {
                prop_assert_eq!(reader.read(key.as_bytes(), None), Ok(key.as_str()));
            }
        }

        #[test]
        fn whatever_is_read_is_a_series_key_in_canonical_form(
            name in proptest::collection::vec(any::<u8>(), 0..40),
            all in any::<bool>(),
            tags in proptest::option::of("[a-c:;=, /é|]{0,24}"),
        ) {
            let mut reader = KeyReader::new(&Limits::default(), if all { ALL } else { TagStyles::default() });
            if let Ok(key) = reader.read(&name, tags.as_deref().map(str::as_bytes)) {
                let flushed = format!("stats.{key}");
                let series = SeriesKey::parse(&flushed);
                prop_assert_eq!(series.as_ref().map(SeriesKey::as_str), Ok(flushed.as_str()));
            }
        }
    }
}
