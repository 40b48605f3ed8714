//! Regexes and replacements as targets have them: written for Python, run in time linear in the name.

use std::fmt::Write as _;

use regex::{Captures, Regex, RegexBuilder};

use crate::context::Compat;
use crate::error::EvalError;
use crate::python_regex;

/// The most that one compiled regex may hold, in bytes.
const MAX_REGEX_BYTES: usize = 1 << 20;
/// The longest result of a replacement, in bytes.
const MAX_RESULT_BYTES: usize = 16 * 1024;

/// Compiles a regex that may match anywhere in a name.
pub(crate) fn compile(function: &'static str, pattern: &str) -> Result<Regex, EvalError> {
    RegexBuilder::new(&python_regex::translate(pattern)).size_limit(MAX_REGEX_BYTES).build().map_err(|error| {
        let drawing = error.to_string();
        let last = drawing.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it does not parse").trim();
        let reason = last.strip_prefix("error: ").unwrap_or(last);
        EvalError::Unusable { function, reason: format!("the regex {pattern:?} is not valid: {reason}") }
    })
}

/// A replacement text with references to groups: `\1`, `\g<1>`, `\g<name>`; `\0` is the whole match.
pub(crate) struct Replacement {
    pieces: Vec<Piece>,
    /// Whether Python's empty match right after another one is replaced too.
    twice: bool,
}

enum Piece {
    Text(String),
    Group(usize),
}

impl Replacement {
    /// Reads a replacement for the matches of a regex.
    pub(crate) fn parse(function: &'static str, text: &str, regex: &Regex, compat: Compat) -> Result<Self, EvalError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(backslash) = rest.find('\\') {
            plain.push_str(&rest[..backslash]);
            rest = &rest[backslash + 1..];
            let Some((name, after)) = reference(rest) else {
                // A backslash before anything else stands for what follows, and a last one for itself.
                let escaped = rest.chars().next().unwrap_or('\\');
                plain.push(match escaped {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    _ => escaped,
                });
                rest = rest.get(escaped.len_utf8()..).unwrap_or("");
                continue;
            };
            let group = name.parse().ok().filter(|index| *index < regex.captures_len());
            let Some(group) = group.or_else(|| regex.capture_names().position(|known| known == Some(name))) else {
                let reason =
                    format!("the regex {:?} has no group {name:?}, which its replacement uses", regex.as_str());
                return Err(EvalError::Unusable { function, reason });
            };
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(Piece::Group(group));
            rest = after;
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Ok(Self { pieces, twice: compat == Compat::GraphiteWeb })
    }

    /// Replaces every match in a name; `None` when the result would be too long.
    pub(crate) fn apply(&self, regex: &Regex, name: &str) -> Option<String> {
        let mut result = String::new();
        let mut copied = 0;
        for captures in regex.captures_iter(name) {
            let Some(whole) = captures.get(0) else { continue };
            self.replace(&captures, name, &mut copied, &mut result);
            // Where a match ends Python looks for an empty one; the crate goes on behind it.
            if self.twice
                && !whole.is_empty()
                && let Some(again) = regex.captures_at(name, whole.end())
                && again.get(0).is_some_and(|empty| empty.is_empty() && empty.start() == whole.end())
            {
                self.replace(&again, name, &mut copied, &mut result);
            }
            if result.len() > MAX_RESULT_BYTES {
                return None;
            }
        }
        result.push_str(&name[copied..]);
        (result.len() <= MAX_RESULT_BYTES).then_some(result)
    }

    /// What stands before a match, and what the match becomes.
    fn replace(&self, captures: &Captures<'_>, name: &str, copied: &mut usize, result: &mut String) {
        let Some(whole) = captures.get(0) else { return };
        result.push_str(&name[*copied..whole.start()]);
        *copied = whole.end();
        self.expand(captures, result);
    }

    fn expand(&self, captures: &Captures<'_>, result: &mut String) {
        for piece in &self.pieces {
            let text = match piece {
                Piece::Text(text) => text,
                Piece::Group(group) => captures.get(*group).map_or("", |matched| matched.as_str()),
            };
            if result.len() > MAX_RESULT_BYTES {
                return;
            }
            let _ = result.write_str(text);
        }
    }
}

/// The group that a backslash just read refers to, and what follows the reference.
fn reference(text: &str) -> Option<(&str, &str)> {
    if let Some(named) = text.strip_prefix("g<") {
        return named.split_once('>');
    }
    let digits = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    (digits > 0).then(|| text.split_at(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn substitute(pattern: &str, replacement: &str, name: &str) -> Result<Option<String>, EvalError> {
        let regex = compile("aliasSub", pattern)?;
        Ok(Replacement::parse("aliasSub", replacement, &regex, Compat::Statline)?.apply(&regex, name))
    }

    #[test]
    fn references_are_pythons() {
        for (pattern, replacement, name, expected) in [
            ("(^.*$)", "\\1 A", "a.b", "a.b A"),
            ("^.*TCP(\\d+)", "\\1", "ip.TCP80.x", "80.x"),
            ("(?P<first>\\w+)\\.(\\w+)", "\\g<2>-\\g<first>-\\g<1>", "a.b", "b-a-a"),
            ("b", "$1 ${x} $", "abc", "a$1 ${x} $c"),
            ("b", "\\\\x\\", "abc", "a\\x\\c"),
            (".", "\\0\\0", "ab", "aabb"),
            ("(x)|b", "[\\1]", "abc", "a[]c"),
            ("z", "y", "abc", "abc"),
        ] {
            assert_eq!(substitute(pattern, replacement, name).unwrap().unwrap(), expected, "{pattern} {replacement}");
        }
    }

    #[test]
    fn only_graphite_web_replaces_the_end_of_a_match_too() {
        for (pattern, name, ours, pythons) in [
            (".*", "ab", "-", "--"),
            ("^.*$", "ab", "-", "-"),
            ("x*", "abxd", "-a-b-d-", "-a-b--d-"),
            ("", "ab", "-a-b-", "-a-b-"),
            ("é*", "éa", "-a-", "--a-"),
        ] {
            let regex = compile("aliasSub", pattern).unwrap();
            for (compat, expected) in [(Compat::Statline, ours), (Compat::GraphiteWeb, pythons)] {
                let replacement = Replacement::parse("aliasSub", "-", &regex, compat).unwrap();
                assert_eq!(replacement.apply(&regex, name).unwrap(), expected, "{pattern} in {name}");
            }
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_told() {
        assert_eq!(
            substitute("a(", "", "").unwrap_err().to_string(),
            "aliasSub: the regex \"a(\" is not valid: unclosed group"
        );
        assert_eq!(
            substitute("a", "\\1", "").unwrap_err().to_string(),
            "aliasSub: the regex \"a\" has no group \"1\", which its replacement uses"
        );
        assert_eq!(substitute("a", &"x".repeat(5000), "aaaaaaaa").unwrap(), None);
        assert!(substitute("(a{1000}){1000}", "", "").is_err());
        for (pattern, reason) in [
            ("a(?=b)", "look-around, including look-ahead and look-behind, is not supported"),
            ("(a)\\1", "backreferences are not supported"),
        ] {
            assert_eq!(
                substitute(pattern, "", "").unwrap_err().to_string(),
                format!("aliasSub: the regex {pattern:?} is not valid: {reason}")
            );
        }
    }
}
