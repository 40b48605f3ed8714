//! Regular expressions as Go reads them, run by Rust's engine.
//!
//! Both come from RE2 and find the same match in linear time, but their spelling differs where it hurts silently: in Go
//! `\w`, `\d`, `\s` and `\b` know ASCII only, `\<` is a `<`, `[a&&b]` holds an `&`, a `{` that opens no count is a brace, and
//! `\Q…\E` quotes. So an expression is read by Go's rules and written out in a spelling that only has one meaning.

use std::fmt::Write as _;
use std::str::Chars;

use regex::bytes::{Captures, Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// What one compiled expression may take, in bytes, and its caches again as much.
const SIZE_LIMIT: usize = 1 << 20;
/// What all of a file's together may take.
const SET_SIZE_LIMIT: usize = 32 << 20;
/// The largest count in `{…}`, as in Go.
const MAX_REPEAT: u32 = 1000;
/// What may stand between `[:` and `:]`.
const POSIX_SETS: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// A compiled expression with the names of its groups; the first group is the whole match.
#[derive(Clone, Debug)]
pub(super) struct GoRegex {
    regex: Regex,
    pub groups: Vec<Option<String>>,
}

impl GoRegex {
    /// Compiles an expression of Go's syntax.
    ///
    /// # Errors
    /// What Go would refuse, and what needs more memory than the limit.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let (translated, groups) = Translator::new(pattern).run()?;
        let regex = RegexBuilder::new(&translated).size_limit(SIZE_LIMIT).dfa_size_limit(SIZE_LIMIT).build().map_err(
            |error| match error {
                regex::Error::CompiledTooBig(_) => format!("it needs more than {SIZE_LIMIT} bytes when compiled"),
                error => error.to_string().lines().last().unwrap_or("").trim_start_matches("error: ").to_owned(),
            },
        )?;
        Ok(Self { regex, groups })
    }

    /// All of them as one, when that fits in memory.
    pub fn set<'r>(regexes: impl Iterator<Item = &'r Self>) -> Option<RegexSet> {
        let patterns: Vec<&str> = regexes.map(|regex| regex.regex.as_str()).collect();
        if patterns.len() < 2 {
            return None;
        }
        RegexSetBuilder::new(patterns).size_limit(SET_SIZE_LIMIT).dfa_size_limit(SET_SIZE_LIMIT).build().ok()
    }

    /// The first match anywhere in `text`.
    pub fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.regex.captures(text.as_bytes())
    }
}

struct Translator<'p> {
    rest: Chars<'p>,
    out: String,
    groups: Vec<Option<String>>,
    /// Flags that were just read. A repetition after them is of what stands before them.
    flags: String,
    /// Whether a `*`, `+`, `?` or count was just read.
    after_repetition: bool,
}

impl<'p> Translator<'p> {
    fn new(pattern: &'p str) -> Self {
        let (out, flags) = (String::new(), String::new());
        Self { rest: pattern.chars(), out, groups: vec![None], flags, after_repetition: false }
    }

    fn run(mut self) -> Result<(String, Vec<Option<String>>), String> {
        while let Some(c) = self.rest.next() {
            let count = if c == '{' { self.count()? } else { None };
            let repeats = count.is_some() || matches!(c, '*' | '+' | '?');
            if !repeats {
                self.out.push_str(&std::mem::take(&mut self.flags));
            }
            match (c, count) {
                (_, Some(count)) => self.repetition(&count)?,
                ('*' | '+' | '?', None) => self.repetition(&c.to_string())?,
                ('\\', None) => self.escape()?,
                ('[', None) => self.class()?,
                ('(', None) => self.group()?,
                (')' | '^' | '$' | '.' | '|', None) => self.out.push(c),
                (c, None) => self.literal(c),
            }
            self.after_repetition = repeats;
        }
        self.out.push_str(&self.flags);
        Ok((self.out, self.groups))
    }

    fn literal(&mut self, c: char) {
        if c.is_ascii_alphanumeric() {
            self.out.push(c);
        } else {
            let _ = write!(self.out, "\\x{{{:X}}}", u32::from(c));
        }
    }

    fn take(&mut self, wanted: &str) -> bool {
        let rest = self.rest.as_str().strip_prefix(wanted);
        if let Some(rest) = rest {
            self.rest = rest.chars();
        }
        rest.is_some()
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn repetition(&mut self, operator: &str) -> Result<(), String> {
        if self.after_repetition {
            return Err(format!("{operator:?} repeats what is repeated already; put that into (?:…)"));
        }
        self.out.push_str(operator);
        if self.take("?") {
            self.out.push('?');
        }
        Ok(())
    }

    /// A count after `{`; nothing when that is a brace like any other.
    fn count(&mut self) -> Result<Option<String>, String> {
        let Some((inside, after)) = self.rest.as_str().split_once('}') else { return Ok(None) };
        let number = |text: &str| {
            let is_number = !text.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_digit())
                && (text == "0" || !text.starts_with('0'));
            is_number.then(|| text.parse().unwrap_or(u32::MAX))
        };
        let (least, most) = match inside.split_once(',') {
            None => (number(inside), number(inside)),
            Some((least, "")) => (number(least), Some(0)),
            Some((least, most)) => (number(least), number(most)),
        };
        let (Some(least), Some(most)) = (least, most) else { return Ok(None) };
        let open_ended = inside.ends_with(',');
        if least > MAX_REPEAT || most > MAX_REPEAT || (!open_ended && least > most) {
            return Err(format!("the count {{{inside}}} is not from 0 to {MAX_REPEAT} and ascending"));
        }
        let count = format!("{{{inside}}}");
        self.rest = after.chars();
        Ok(Some(count))
    }

    fn group(&mut self) -> Result<(), String> {
        if !self.take("?") {
            self.groups.push(None);
            self.out.push('(');
            return Ok(());
        }
        if self.take("P<") || self.take("<") {
            let name = match self.rest.as_str().split_once('>') {
                Some((name, after)) if is_group_name(name) => {
                    self.rest = after.chars();
                    name.to_owned()
                }
                _ => return Err("a group's name is letters, digits and _ between < and >".to_owned()),
            };
            if self.groups.iter().flatten().any(|group| *group == name) {
                return Err(format!("two groups are named {name:?}"));
            }
            self.groups.push(Some(name));
            self.out.push('(');
            return Ok(());
        }
        self.flags()
    }

    /// `(?i)`, `(?s-m:` and the like, after the question mark.
    fn flags(&mut self) -> Result<(), String> {
        const WANTED: &str = "after (? come :, P<name>, <name> or flags out of imsU with at most one -";
        let (mut on, mut off) = (String::new(), String::new());
        let (mut negative, mut flag_since_sign) = (false, true);
        let closing = loop {
            match self.rest.next() {
                Some(flag @ ('i' | 'm' | 's' | 'U')) => {
                    let (here, there) = if negative { (&mut off, &mut on) } else { (&mut on, &mut off) };
                    there.retain(|other| other != flag);
                    if !here.contains(flag) {
                        here.push(flag);
                    }
                    flag_since_sign = true;
                }
                Some('-') if !negative => (negative, flag_since_sign) = (true, false),
                Some(closing @ (':' | ')')) if flag_since_sign => break closing,
                _ => return Err(WANTED.to_owned()),
            }
        };
        if closing == ')' && on.is_empty() && off.is_empty() {
            return Ok(());
        }
        let dash = if off.is_empty() { "" } else { "-" };
        let written = format!("(?{on}{dash}{off}{closing}");
        if closing == ')' {
            self.flags.push_str(&written);
        } else {
            self.out.push_str(&written);
        }
        Ok(())
    }

    /// What follows a backslash outside brackets.
    fn escape(&mut self) -> Result<(), String> {
        if self.take("Q") {
            let rest = self.rest.as_str();
            let (quoted, after) = rest.split_once("\\E").unwrap_or((rest, ""));
            self.rest = after.chars();
            quoted.chars().for_each(|c| self.literal(c));
            return Ok(());
        }
        if let Some(set) = self.set()? {
            self.out.push('[');
            self.out.push_str(&set);
            self.out.push(']');
            return Ok(());
        }
        // `\\B` between the bytes of a character beyond ASCII is a place here and none in Go; names have no such characters.
        for (name, anchor) in [("A", "\\A"), ("z", "\\z"), ("b", "(?-u:\\b)"), ("B", "(?-u:\\B)")] {
            if self.take(name) {
                self.out.push_str(anchor);
                return Ok(());
            }
        }
        let c = self.escaped_character()?;
        self.literal(c);
        Ok(())
    }

    /// A set of characters after a backslash: `d`, `s`, `w`, `p` and their opposites.
    fn set(&mut self) -> Result<Option<String>, String> {
        let perl = |c| match c {
            'd' => Some("0-9"),
            's' => Some("\\t\\n\\x0C\\r "),
            'w' => Some("0-9A-Za-z_"),
            _ => None,
        };
        let Some(c) = self.peek() else { return Ok(None) };
        let set = if let Some(set) = perl(c) {
            set.to_owned()
        } else if let Some(set) = perl(c.to_ascii_lowercase()) {
            format!("[^{set}]")
        } else if matches!(c, 'p' | 'P') {
            self.rest.next();
            let name = if self.take("{") {
                let (name, after) = self.rest.as_str().split_once('}').ok_or("a } is missing after \\p{")?;
                self.rest = after.chars();
                name.to_owned()
            } else {
                self.rest.next().ok_or("a name is missing after \\p, such as \\pL or \\p{Greek}")?.to_string()
            };
            let plain = name.strip_prefix('^').unwrap_or(&name);
            if !plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b' ')) {
                return Err(format!("\\p{{{name}}} names no set of characters; write \\pL or \\p{{Greek}}"));
            }
            let negated = (c == 'P') != (plain.len() != name.len());
            return Ok(Some(format!("\\{}{{{plain}}}", if negated { 'P' } else { 'p' })));
        } else {
            return Ok(None);
        };
        self.rest.next();
        Ok(Some(set))
    }

    /// A single character after a backslash.
    fn escaped_character(&mut self) -> Result<char, String> {
        let c = self.rest.next().ok_or("it ends in a backslash; write \\\\ for one")?;
        let code = match c {
            'a' => 7,
            'f' => 12,
            't' => 9,
            'n' => 10,
            'r' => 13,
            'v' => 11,
            '1'..='7' if !self.peek().is_some_and(|next| next.is_digit(8)) => {
                return Err(format!("\\{c} refers back to a group, which is not supported"));
            }
            '0'..='7' => {
                let mut code = c.to_digit(8).unwrap_or_default();
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|next| next.to_digit(8)) else { break };
                    self.rest.next();
                    code = code * 8 + digit;
                }
                code
            }
            'x' => {
                const WANTED: &str = "after \\x come two hexadecimal digits, or some between { and }";
                let rest = self.rest.as_str();
                let (digits, after) = match rest.strip_prefix('{') {
                    Some(inside) => inside.split_once('}').ok_or(WANTED)?,
                    None => rest.split_at_checked(2).ok_or(WANTED)?,
                };
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(WANTED.to_owned());
                }
                self.rest = after.chars();
                u32::from_str_radix(digits, 16).map_err(|_| WANTED)?
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => return Ok(c),
            c => return Err(format!("\\{c} means nothing; write {c} alone")),
        };
        char::from_u32(code).ok_or_else(|| format!("{code:X} is no character's code"))
    }

    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.take("^") {
            self.out.push('^');
        }
        let mut first = true;
        while first || !self.take("]") {
            first = false;
            if let Some((name, after)) = self.rest.as_str().strip_prefix("[:").and_then(|rest| rest.split_once(":]")) {
                if !POSIX_SETS.contains(&name.strip_prefix('^').unwrap_or(name)) {
                    return Err(format!("[:{name}:] names no set of characters; write [:alpha:] or [:digit:]"));
                }
                let _ = write!(self.out, "[:{name}:]");
                self.rest = after.chars();
                continue;
            }
            if self.take("\\") {
                if let Some(set) = self.set()? {
                    self.out.push_str(&set);
                    continue;
                }
                let low = self.escaped_character()?;
                self.range_from(low)?;
            } else {
                let low = self.rest.next().ok_or("a ] is missing after [")?;
                self.range_from(low)?;
            }
        }
        self.out.push(']');
        Ok(())
    }

    /// A character inside brackets, or the range that it begins.
    fn range_from(&mut self, low: char) -> Result<(), String> {
        let rest = self.rest.as_str();
        let mut high = low;
        if rest.len() >= 2 && rest.starts_with('-') && !rest.starts_with("-]") {
            self.rest.next();
            high = if self.take("\\") { self.escaped_character()? } else { self.rest.next().unwrap_or(low) };
        }
        if high < low {
            return Err(format!("the range {low}-{high} runs backwards"));
        }
        let _ = write!(self.out, "\\x{{{:X}}}-\\x{{{:X}}}", u32::from(low), u32::from(high));
        Ok(())
    }
}

fn is_group_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, text: &str) -> Option<String> {
        let captures = GoRegex::new(pattern).unwrap().captures(text)?;
        Some(String::from_utf8(captures[0].to_vec()).unwrap())
    }

    #[test]
    fn expressions_match_what_go_matches() {
        for (pattern, text, expected) in [
            (r"\w+", "é-ab", Some("ab")),
            (r"\d+", "٣4", Some("4")),
            (r"\<b\>", "a<b>c", Some("<b>")),
            (r"[a&&b]+", "x&&b", Some("&&b")),
            (r"[[a]+", "x[[a", Some("[[a")),
            (r"a{,2}", "a{,2}", Some("a{,2}")),
            (r"a{2}", "aaa", Some("aa")),
            (r"a{2,}?", "aaa", Some("aa")),
            (r"{x}", "{x}", Some("{x}")),
            (r"\Qa.b\E+", "a.bbb", Some("a.bbb")),
            (r"[\]\-a]+", "]-a", Some("]-a")),
            (r"[]a]+", "]a", Some("]a")),
            (r"[^\W_]+", "_ab_", Some("ab")),
            (r"(?i)BOT", "bot", Some("bot")),
            (r"(?ii-s:BOT).", "bot.", Some("bot.")),
            (r"\x41\x{42}\103\t", "ABC\t", Some("ABC\t")),
            (r"[[:alpha:]]+\pL", "ab", Some("ab")),
            (r"\bb", "é b", Some("b")),
            (r"b\Bc", "bc", Some("bc")),
            (r"\W(?i)+A", "--a", Some("--a")),
            (r"$^", "", Some("")),
            (r"a$", "a\n", None),
        ] {
            assert_eq!(found(pattern, text).as_deref(), expected, "{pattern}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused_with_a_reason() {
        for pattern in [
            "a**",
            "a*??",
            "*a",
            "(",
            ")",
            "[",
            "[b-a]",
            "a{1001}",
            "a{3,2}",
            r"\1",
            r"\q",
            r"\",
            "(?P<a>x)(?P<a>y)",
            "(?x)a",
            "(?=a)",
            "(?P<a-b>x)",
            r"\x{110000}",
            r"\xg",
            r"\p{Nonsense}",
            "[[:nonsense:]]",
            "(?i",
            "(?i--s)",
        ] {
            let error = GoRegex::new(pattern).unwrap_err();
            assert!(!error.is_empty() && !error.contains('\n'), "{pattern}: {error:?}");
        }
    }

    #[test]
    fn an_expression_that_needs_too_much_memory_is_refused() {
        assert!(GoRegex::new(r"(\pL{100}){100}").unwrap_err().contains("bytes when compiled"));
    }

    #[test]
    fn groups_keep_their_names_and_order() {
        let regex = GoRegex::new(r"(a)(?P<kind>b)(?:c)(?<1x>d)").unwrap();
        assert_eq!(regex.groups, [None, None, Some("kind".to_owned()), Some("1x".to_owned())]);
    }
}
