//! Dotted paths with globs, as Graphite's users write them: `servers.*.cpu`, `bot.help.{claimed,sessions.*}`.
//!
//! A pattern is split at its dots (those outside braces), and each part is a literal or an automaton, so that an index can
//! walk level by level and never look at names that cannot match. `*` any characters, `?` one, `[a-z]` and `[!a-z]`
//! classes, `{a,b}` choices, which may nest. None of them matches a dot.

use std::fmt;

use regex::{Regex, RegexBuilder};
use thiserror::Error;

/// The longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 4096;
/// The deepest nesting of braces.
const MAX_BRACE_DEPTH: usize = 8;
/// The most that one compiled part may hold, in bytes.
const MAX_PART_BYTES: usize = 1 << 20;

/// Why a text is not a pattern.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PatternError {
    /// There is nothing in it.
    #[error("the path is empty")]
    Empty,
    /// It is too long.
    #[error("a path is at most {MAX_PATTERN_BYTES} bytes, got {0}")]
    TooLong(usize),
    /// A `{` without its `}`, or the other way round.
    #[error("the braces of path {0:?} do not pair")]
    UnpairedBrace(String),
    /// Braces within braces, too deep.
    #[error("the braces of path {0:?} nest deeper than {MAX_BRACE_DEPTH}")]
    TooDeep(String),
    /// A class such as `[z-a]` that has no meaning.
    #[error("part {part:?} of the path is not a valid glob: {reason}")]
    BadPart {
        /// The part between two dots.
        part: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A path of parts, each a literal or a glob.
#[derive(Clone, Debug)]
pub struct PathPattern {
    text: String,
    parts: Vec<Part>,
}

/// What stands between two dots.
#[derive(Clone, Debug)]
pub enum Part {
    /// Just this text.
    Literal(String),
    /// Whatever the automaton takes.
    Glob(Glob),
}

/// A part that takes more than one text.
#[derive(Clone, Debug)]
pub struct Glob {
    prefix: String,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    /// `*`.
    Any,
    /// Plain characters, `*` and `?`.
    Wild(String),
    /// Anything else.
    Regex(Regex),
}

impl Glob {
    /// The plain text that everything the glob takes begins with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether it takes every part.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        matches!(self.shape, Shape::Any)
    }

    /// Whether one part of a path, without dots, passes.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match &self.shape {
            Shape::Any => true,
            Shape::Wild(wild) => matches_wild(wild.as_bytes(), text.as_bytes()),
            Shape::Regex(regex) => regex.is_match(text),
        }
    }
}

/// Whether a text is made of the plain characters of `wild`, with any characters for a `*` and one for a `?`. Of several
/// `*`, only the last one reached is ever tried again, so that the time is at most the product of the lengths.
fn matches_wild(wild: &[u8], text: &[u8]) -> bool {
    let (mut wild_at, mut text_at) = (0, 0);
    // Where to go on when the `*` passed last has to take another character.
    let mut retry = None;
    while text_at < text.len() || wild_at < wild.len() {
        match wild.get(wild_at) {
            Some(b'*') => {
                wild_at += 1;
                retry = Some((wild_at, text_at));
                continue;
            }
            Some(b'?') if text_at < text.len() => {
                wild_at += 1;
                text_at = next_character(text, text_at);
                continue;
            }
            Some(plain) if text.get(text_at) == Some(plain) => {
                wild_at += 1;
                text_at += 1;
                continue;
            }
            _ => {}
        }
        match retry {
            Some((after_star, taken_until)) if taken_until < text.len() => {
                wild_at = after_star;
                text_at = next_character(text, taken_until);
                retry = Some((after_star, text_at));
            }
            _ => return false,
        }
    }
    true
}

/// Where the character after the one at `at` begins, in UTF-8.
fn next_character(text: &[u8], at: usize) -> usize {
    let is_within = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
    at + 1 + text[at + 1..].iter().take_while(is_within).count()
}

impl Part {
    /// Whether one part of a path, without dots, passes.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == text,
            Self::Glob(glob) => glob.matches(text),
        }
    }
}

impl PathPattern {
    /// Reads a pattern. A text with a `;` is the canonical key of a tagged series, taken literally and whole.
    ///
    /// # Errors
    /// When it breaks the rules of [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_PATTERN_BYTES {
            return Err(PatternError::TooLong(text.len()));
        }
        let parts = if text.contains(';') {
            vec![Part::Literal(text.to_owned())]
        } else {
            split_parts(text)?.into_iter().map(parse_part).collect::<Result<_, _>>()?
        };
        Ok(Self { text: text.to_owned(), parts })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parts in order; at least one.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether it names one path and no more.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Literal(_)))
    }

    /// Whether a whole path passes.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        if self.is_literal() {
            return path == self.text;
        }
        let mut nodes = path.split('.');
        self.parts.iter().all(|part| nodes.next().is_some_and(|node| part.matches(node))) && nodes.next().is_none()
    }
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PathPattern {}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Splits at dots outside braces, and proves that braces pair.
fn split_parts(text: &str) -> Result<Vec<&str>, PatternError> {
    let mut parts = Vec::new();
    let mut depth = 0_usize;
    let mut start = 0;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.checked_sub(1).ok_or_else(|| PatternError::UnpairedBrace(text.to_owned()))?,
            b'.' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
        if depth > MAX_BRACE_DEPTH {
            return Err(PatternError::TooDeep(text.to_owned()));
        }
    }
    if depth > 0 {
        return Err(PatternError::UnpairedBrace(text.to_owned()));
    }
    parts.push(&text[start..]);
    Ok(parts)
}

fn parse_part(part: &str) -> Result<Part, PatternError> {
    let Some(special) = part.find(['*', '?', '[', '{']) else {
        return Ok(Part::Literal(part.to_owned()));
    };
    let shape = if part.bytes().all(|byte| byte == b'*') {
        Shape::Any
    } else if part.contains(['[', '{']) {
        Shape::Regex(compile(part)?)
    } else {
        Shape::Wild(part.to_owned())
    };
    Ok(Part::Glob(Glob { prefix: part[..special].to_owned(), shape }))
}

fn compile(part: &str) -> Result<Regex, PatternError> {
    let bad = |reason: &str| PatternError::BadPart { part: part.to_owned(), reason: reason.to_owned() };
    RegexBuilder::new(&format!("^{}$", glob_to_regex(part))).size_limit(MAX_PART_BYTES).build().map_err(|error| {
        match error {
            regex::Error::CompiledTooBig(_) => bad("it is too large"),
            _ => bad("a character class in it has no meaning"),
        }
    })
}

/// A `[` without its `]` is a plain character, as in Python's fnmatch.
fn glob_to_regex(glob: &str) -> String {
    let mut regex = String::with_capacity(glob.len() * 2);
    let mut rest = glob;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        match character {
            '*' => regex.push_str("[^.]*"),
            '?' => regex.push_str("[^.]"),
            '{' => regex.push_str("(?:"),
            '}' => regex.push(')'),
            ',' => regex.push('|'),
            '[' => {
                let Some((class, after)) = split_class(rest) else {
                    regex.push_str("\\[");
                    continue;
                };
                push_class(&mut regex, class);
                rest = after;
            }
            plain => regex.push_str(&regex::escape(plain.encode_utf8(&mut [0; 4]))),
        }
    }
    // A comma outside braces is a plain character; inside them it parts the choices.
    if glob.contains('{') { regex } else { regex.replace('|', ",") }
}

/// The inside of a class whose `[` was just read, and what follows its `]`.
fn split_class(rest: &str) -> Option<(&str, &str)> {
    let negation = usize::from(rest.starts_with('!'));
    // A `]` that comes first is a member of the class.
    let first = negation + usize::from(rest[negation..].starts_with(']'));
    let end = first + rest[first..].find(']')?;
    Some((&rest[..end], &rest[end + 1..]))
}

fn push_class(regex: &mut String, class: &str) {
    regex.push('[');
    let members = match class.strip_prefix('!') {
        Some(members) => {
            regex.push_str("^.");
            members
        }
        None => class,
    };
    for member in members.chars() {
        if matches!(member, '[' | ']' | '^' | '\\' | '&' | '~') {
            regex.push('\\');
        }
        regex.push(member);
    }
    regex.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn globs_match_within_one_part() {
        for (pattern, path, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.bc", false),
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.*", "a", false),
            ("*.b*d.c", "a.bxd.c", true),
            ("a.?", "a.b", true),
            ("a.?", "a.bc", false),
            ("a.[b-d]x", "a.cx", true),
            ("a.[!b-d]x", "a.cx", false),
            ("a.[!b-d]x", "a.ex", true),
            ("a.[x", "a.[x", true),
            ("a.{b,c*}.d", "a.cat.d", true),
            ("a.{b,{c,d}e}", "a.de", true),
            ("a.{b,c}", "a.b,c", false),
            ("a.b,c*", "a.b,cd", true),
            ("a.{b.c,d}", "a.d", true),
            ("a.$x*", "a.$xy", true),
            ("a.*b*cd*e", "a.xbbcccdye", true),
            ("a.*b*cd*e", "a.xbbcccdy", false),
            ("a.\u{e4}*?", "a.\u{e4}\u{df}", true),
            ("a.\u{e4}*??", "a.\u{e4}\u{df}", false),
            ("a.*?x", "a.\u{df}x", true),
            ("a.**", "a.", true),
            ("n;tag=a*b", "n;tag=a*b", true),
            ("n;tag=a*b", "n;tag=axb", false),
        ] {
            assert_eq!(PathPattern::parse(pattern).unwrap().matches(path), expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_pattern_is_said() {
        for (pattern, error) in [
            ("", "the path is empty"),
            ("a.{b", "the braces of path \"a.{b\" do not pair"),
            ("a}.b", "the braces of path \"a}.b\" do not pair"),
            ("a.[z-a]", "part \"[z-a]\" of the path is not a valid glob: a character class in it has no meaning"),
        ] {
            assert_eq!(PathPattern::parse(pattern).unwrap_err().to_string(), error);
        }
        assert!(PathPattern::parse(&"{".repeat(100)).is_err());
        assert!(PathPattern::parse(&"x".repeat(5000)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}", path in "\\PC{0,40}") {
            if let Ok(pattern) = PathPattern::parse(&text) {
                let _ = pattern.matches(&path);
            }
        }

        #[test]
        fn globs_with_and_without_a_regex_agree(wild in "[ab\u{e4}*?]{1,8}", text in "[ab\u{e4}]{0,8}") {
            let regex = compile(&wild).unwrap();
            prop_assert_eq!(matches_wild(wild.as_bytes(), text.as_bytes()), regex.is_match(&text));
        }

        #[test]
        fn a_literal_matches_itself_alone(path in "[a-z0-9_]{1,8}(\\.[a-z0-9_]{1,8}){0,4}") {
            let pattern = PathPattern::parse(&path).unwrap();
            prop_assert!(pattern.is_literal());
            prop_assert!(pattern.matches(&path));
            let longer = format!("{path}.x");
            prop_assert!(!pattern.matches(&longer));
        }
    }
}
