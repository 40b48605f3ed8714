//! Python's regexes and the replacements for their matches, run in time linear in the name.
//!
//! What the linear engine has no match for (look-around, references back to a group) is an error; what it writes in another
//! way is translated.

use regex::{Captures, Regex, RegexBuilder};

/// The most that one compiled regex may hold, in bytes.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// Compiles a regex that may match anywhere in a name.
///
/// # Errors
/// What is wrong with it.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(&translate(pattern)).size_limit(MAX_REGEX_BYTES).build().map_err(|error| {
        let drawing = error.to_string();
        let last = drawing.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it does not parse").trim();
        let reason = last.strip_prefix("error: ").unwrap_or(last);
        format!("the regex {pattern:?} is not valid: {reason}")
    })
}

/// What Python reads as itself and the engine as a sign gets a backslash: a brace that does not count, and a bracket or a
/// doubled sign in a class.
fn translate(pattern: &str) -> String {
    let mut translated = String::with_capacity(pattern.len() + 8);
    let mut in_class = false;
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        match character {
            '\\' => match rest.next() {
                Some('Z') if !in_class => translated.push_str("\\z"),
                Some(sign @ ('<' | '>')) => translated.push(sign),
                Some(escaped) => translated.extend(['\\', escaped]),
                None => translated.push('\\'),
            },
            '[' if !in_class => {
                in_class = true;
                translated.push('[');
                // A closing bracket that comes first is one of the class.
                for first in ['^', ']'] {
                    if let Some(after) = rest.as_str().strip_prefix(first) {
                        rest = after.chars();
                        translated.push_str(if first == ']' { "\\]" } else { "^" });
                    }
                }
            }
            '[' | '&' | '~' if in_class => translated.extend(['\\', character]),
            ']' if in_class => {
                in_class = false;
                translated.push(']');
            }
            '{' if !in_class => match repetition(rest.as_str()) {
                Some(("", most)) => {
                    translated.push_str("{0,");
                    translated.push_str(most);
                    rest = rest.as_str()[1 + most.len()..].chars();
                }
                Some(_) => translated.push('{'),
                None => translated.push_str("\\{"),
            },
            other => translated.push(other),
        }
    }
    translated
}

/// The least and the most of `2}`, `2,3}`, `2,}` or `,3}`.
fn repetition(text: &str) -> Option<(&str, &str)> {
    let (inside, _) = text.split_once('}')?;
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let says_something = !least.is_empty() || !most.is_empty();
    (says_something && is_number(least) && is_number(most)).then_some((least, most))
}

/// A replacement with references to groups: `\1`, `\g<1>`, `\g<name>`.
#[derive(Clone, Debug)]
pub struct Replacement {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Group(usize),
}

impl Replacement {
    /// Reads a replacement for the matches of a regex.
    ///
    /// # Errors
    /// A group that the regex does not have, or an escape that Python refuses.
    pub fn parse(text: &str, regex: &Regex) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(backslash) = rest.find('\\') {
            plain.push_str(&rest[..backslash]);
            rest = &rest[backslash + 1..];
            let Some((name, after)) = reference(rest) else {
                let (escaped, after) = escape(rest)?;
                plain.push_str(&escaped);
                rest = after;
                continue;
            };
            let group = name.parse().ok().filter(|index| *index < regex.captures_len());
            let group = group.or_else(|| regex.capture_names().position(|known| known == Some(name)));
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Group(group.ok_or_else(|| format!("there is no group {name:?} for the replacement"))?));
            rest = after;
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Ok(Self { pieces })
    }

    /// Replaces every match in a name, as Python does: an empty match right after another one counts, unless that was empty,
    /// too. `None` when the result would be longer than `most` bytes.
    pub fn apply(&self, regex: &Regex, name: &str, most: usize) -> Option<String> {
        let mut result = String::new();
        let (mut copied, mut from) = (0, 0);
        while let Some(captures) = (from <= name.len()).then(|| regex.captures_at(name, from)).flatten() {
            let Some(whole) = captures.get(0) else { break };
            result.push_str(&name[copied..whole.start()]);
            copied = whole.end();
            self.expand(&captures, most, &mut result);
            if result.len() > most {
                return None;
            }
            from = whole.end();
            if whole.is_empty() {
                from += name[from..].chars().next().map_or(1, char::len_utf8);
            }
        }
        result.push_str(&name[copied..]);
        (result.len() <= most).then_some(result)
    }

    fn expand(&self, captures: &Captures<'_>, most: usize, result: &mut String) {
        for piece in &self.pieces {
            result.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Group(group) => captures.get(*group).map_or("", |matched| matched.as_str()),
            });
            if result.len() > most {
                return;
            }
        }
    }
}

/// The group that a backslash just read refers to, and what follows the reference.
fn reference(text: &str) -> Option<(&str, &str)> {
    if let Some(named) = text.strip_prefix("g<") {
        return named.split_once('>');
    }
    let is_octal = |at: usize| text.as_bytes().get(at).is_some_and(|byte| (b'0'..=b'7').contains(byte));
    if text.starts_with('0') || (is_octal(0) && is_octal(1) && is_octal(2)) {
        return None;
    }
    let digits = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    (digits > 0).then(|| text.split_at(digits))
}

/// What a backslash just read and what follows it stand for, and the rest.
fn escape(text: &str) -> Result<(String, &str), String> {
    let Some(first) = text.chars().next() else { return Ok(("\\".to_owned(), text)) };
    if first.is_ascii_digit() {
        let digits = text.bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
        let code = u32::from_str_radix(&text[..digits], 8).ok().filter(|code| *code <= 0o377).and_then(char::from_u32);
        let code = code.ok_or_else(|| format!("\\{} of the replacement is beyond \\377", &text[..digits]))?;
        return Ok((code.to_string(), &text[digits..]));
    }
    let after = &text[first.len_utf8()..];
    let known = match first {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' => '\\',
        letter if letter.is_ascii_alphabetic() => return Err(format!("\\{letter} of the replacement means nothing")),
        other => return Ok((format!("\\{other}"), after)),
    };
    Ok((known.to_string(), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_what_python_says() {
        for (pattern, name, expected) in [
            ("a{b}", "a{b}", true),
            ("^a{2}$", "aa", true),
            ("^a{,2}$", "", true),
            ("^a{1,}$", "aaa", true),
            ("^x{t=\"1\"}\\Z", "x{t=\"1\"}", true),
            ("^[]]$", "]", true),
            ("^[^]a]$", "b", true),
            ("^[[:a]+$", "[:a", true),
            ("^[a&&b~~]+$", "&~ab", true),
            ("\\<a\\>", "<a>", true),
            ("(?i)CPU", "host.cpu", true),
            ("^\\d+$", "12", true),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(name), expected, "{pattern}");
        }
        assert_eq!(compile("a(").unwrap_err(), "the regex \"a(\" is not valid: unclosed group");
        assert!(compile("(a{1000}){1000}").is_err());
        assert!(compile("(a)\\1").unwrap_err().contains("backreferences are not supported"));
    }

    #[test]
    fn a_replacement_means_what_python_says() {
        for (pattern, replacement, name, expected) in [
            ("^(\\w+)\\.(\\w+)", "\\2.\\1", "a.b.c", "b.a.c"),
            ("(?P<first>\\w+)\\.", "\\g<first>-\\g<1>-", "a.b", "a-a-b"),
            ("_sum$", "", "a_sum", "a"),
            ("\\.", "_", "a.b.c", "a_b_c"),
            ("b", "$1 ${x}", "abc", "a$1 ${x}c"),
            ("b", "\\.\\\\\\101", "abc", "a\\.\\Ac"),
            ("x*", "-", "abxd", "-a-b--d-"),
            ("(x)|b", "[\\1]", "abc", "a[]c"),
            ("", "\u{fc}", "\u{e4}", "\u{fc}\u{e4}\u{fc}"),
        ] {
            let regex = compile(pattern).unwrap();
            let replaced = Replacement::parse(replacement, &regex).unwrap().apply(&regex, name, 100);
            assert_eq!(replaced.as_deref(), Some(expected), "{pattern} {replacement}");
        }
        let regex = compile("(a)").unwrap();
        for (replacement, error) in [
            ("\\2", "there is no group \"2\" for the replacement"),
            ("\\g<x>", "there is no group \"x\" for the replacement"),
            ("\\q", "\\q of the replacement means nothing"),
            ("\\777", "\\777 of the replacement is beyond \\377"),
        ] {
            assert_eq!(Replacement::parse(replacement, &regex).unwrap_err(), error);
        }
        let long = Replacement::parse(&"\\1".repeat(50), &regex).unwrap();
        assert_eq!(long.apply(&regex, "aaa", 100), None);
    }
}
