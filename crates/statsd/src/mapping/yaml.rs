//! A YAML document as a tree of bounded size, whose scalars mean what they mean to statsd_exporter.
//!
//! statsd_exporter reads its file with go-yaml 2, which follows YAML 1.1 for scalars: `yes` and `on` are booleans, `010` is
//! eight, and any scalar fits where a text is wanted, as it was written (`1.10` stays `1.10`). Aliases share what they refer
//! to and are counted as if they were copies, so that a document of nested aliases is refused rather than expanded.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::error::MappingError;

/// The longest mapping file, in bytes.
pub const MAX_FILE_BYTES: usize = 4 << 20;
/// The most values, keys and collections of a mapping file, aliases counted as copies.
pub const MAX_NODES: usize = 500_000;
/// How deep collections may stand in each other.
pub const MAX_DEPTH: usize = 32;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    /// The line, from 1.
    pub line: usize,
    pub value: Value,
    /// How many nodes it is made of, itself included.
    size: usize,
}

/// A key and its value.
pub(super) type Pair = (Rc<Node>, Rc<Node>);

#[derive(Debug)]
pub(super) enum Value {
    Scalar { text: String, meaning: Meaning },
    Sequence(Vec<Rc<Node>>),
    Mapping(Vec<Pair>),
}

/// What a scalar is, where its text alone does not say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Meaning {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text,
    Merge,
}

/// The first document of `text`, and whether others follow it. `None` when there is none.
pub(super) fn parse(text: &str) -> Result<(Option<Rc<Node>>, bool), MappingError> {
    if text.len() > MAX_FILE_BYTES {
        return Err(MappingError::new(format!(
            "the file has {} bytes; a mapping file is at most {MAX_FILE_BYTES} bytes",
            text.len()
        )));
    }
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut tree = Tree::default();
    let mut ended = false;
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = match next {
            Ok(next) => next,
            // go-yaml does not look at what follows the first document either.
            Err(_) if ended => return Ok((tree.root, true)),
            Err(error) => {
                return Err(MappingError::at(error.marker().line(), format!("not YAML: {}", error.info())));
            }
        };
        match event {
            Event::DocumentStart(..) if ended => return Ok((tree.root, true)),
            Event::DocumentEnd => ended = true,
            event => tree.take(event, span.start.line())?,
        }
    }
    Ok((tree.root, false))
}

/// A collection that is not closed yet.
struct Open {
    line: usize,
    anchor: usize,
    is_mapping: bool,
    children: Vec<Rc<Node>>,
}

#[derive(Default)]
struct Tree {
    root: Option<Rc<Node>>,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    nodes: usize,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), MappingError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let meaning = meaning(&text, style == ScalarStyle::Plain, tag.as_deref())
                    .map_err(|wrong| MappingError::at(line, wrong))?;
                self.add(line, anchor, Value::Scalar { text: text.into_owned(), meaning }, 1)
            }
            Event::SequenceStart(_, anchor, _) => self.enter(line, anchor, false),
            Event::MappingStart(_, anchor, _) => self.enter(line, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                    MappingError::at(
                        line,
                        "an alias stands inside the value that it refers to; repeat the value instead",
                    )
                })?;
                self.count(line, node.size)?;
                self.place(node);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn enter(&mut self, line: usize, anchor: usize, is_mapping: bool) -> Result<(), MappingError> {
        if self.open.len() >= MAX_DEPTH {
            let wrong = format!("collections stand more than {MAX_DEPTH} deep in each other; a mapping needs five");
            return Err(MappingError::at(line, wrong));
        }
        self.open.push(Open { line, anchor, is_mapping, children: Vec::new() });
        Ok(())
    }

    fn leave(&mut self) -> Result<(), MappingError> {
        let Some(Open { line, anchor, is_mapping, children }) = self.open.pop() else { return Ok(()) };
        let size = 1 + children.iter().map(|child| child.size).sum::<usize>();
        let value = if is_mapping {
            let mut pairs = Vec::with_capacity(children.len() / 2);
            let mut children = children.into_iter();
            while let (Some(key), Some(value)) = (children.next(), children.next()) {
                pairs.push((key, value));
            }
            Value::Mapping(pairs)
        } else {
            Value::Sequence(children)
        };
        self.add(line, anchor, value, size)
    }

    fn add(&mut self, line: usize, anchor: usize, value: Value, size: usize) -> Result<(), MappingError> {
        self.count(line, 1)?;
        let node = Rc::new(Node { line, value, size });
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.place(node);
        Ok(())
    }

    fn count(&mut self, line: usize, nodes: usize) -> Result<(), MappingError> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            let wrong = format!("more than {MAX_NODES} values, aliases counted as copies; split the file or use fewer");
            return Err(MappingError::at(line, wrong));
        }
        Ok(())
    }

    fn place(&mut self, node: Rc<Node>) {
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.root = Some(node),
        }
    }
}

fn meaning(text: &str, plain: bool, tag: Option<&Tag>) -> Result<Meaning, String> {
    let Some(tag) = tag else {
        return Ok(if plain { resolve(text) } else { Meaning::Text });
    };
    let resolved = resolve(text);
    match (tag.core_suffix(), resolved) {
        (Some("int"), Meaning::Integer(_))
        | (Some("float"), Meaning::Float(_))
        | (Some("bool"), Meaning::Bool(_))
        | (Some("null"), Meaning::Null) => Ok(resolved),
        #[expect(clippy::cast_precision_loss, reason = "a float was asked for")]
        (Some("float"), Meaning::Integer(integer)) => Ok(Meaning::Float(integer as f64)),
        (Some(suffix @ ("int" | "float" | "bool" | "null")), _) => {
            Err(format!("{text:?} is no !!{suffix}; leave the tag out or correct the value"))
        }
        _ => Ok(Meaning::Text),
    }
}

fn resolve(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Meaning::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Meaning::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Meaning::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Meaning::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Meaning::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Meaning::Float(f64::NEG_INFINITY),
        "<<" => return Meaning::Merge,
        _ => {}
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return Meaning::Text;
    }
    let plain = if text.starts_with('.') { text.to_owned() } else { text.replace('_', "") };
    integer(&plain).map(Meaning::Integer).or_else(|| float(&plain).map(Meaning::Float)).unwrap_or(Meaning::Text)
}

/// An integer of 64 bits as Go writes it: decimal, `0x`, `0o`, `0b`, or octal after a leading 0.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let prefix = digits.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match prefix.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some(prefix) if prefix.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let value = if negative { -magnitude } else { magnitude };
    (value >= i128::from(i64::MIN)).then_some(value)
}

/// Digits with a point and an exponent, nothing else; beyond a double's range it is a text.
fn float(text: &str) -> Option<f64> {
    let shape_is_right = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let value: f64 = if shape_is_right { text.parse().ok()? } else { return None };
    value.is_finite().then_some(value)
}

/// Go's time.ParseDuration: `1m20s`, `1.5h`, `0`. Answers nanoseconds.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    match rest {
        "" => return None,
        "0" => return Some(0),
        _ => {}
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let whole_len = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, after) = rest.split_at(whole_len);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(after.bytes().take_while(u8::is_ascii_digit).count()),
            None => ("", after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit_len = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let nanoseconds: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()?.into() };
        // More digits than these are less than a nanosecond of an hour.
        let fraction = &fraction[..fraction.len().min(18)];
        let part: i128 = if fraction.is_empty() { 0 } else { fraction.parse::<u64>().ok()?.into() };
        let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        total += whole * nanoseconds + part * nanoseconds / scale;
        if total > i128::from(i64::MAX) + i128::from(negative) {
            return None;
        }
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

impl Node {
    /// What it is, for a message.
    pub fn what(&self) -> String {
        match &self.value {
            Value::Sequence(_) => "a list".to_owned(),
            Value::Mapping(_) => "keys with values".to_owned(),
            Value::Scalar { text, .. } => shown(text),
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar { meaning: Meaning::Null, .. })
    }

    pub fn is_merge(&self) -> bool {
        matches!(self.value, Value::Scalar { meaning: Meaning::Merge, .. })
    }

    fn wrong(&self, wanted: &str) -> MappingError {
        MappingError::at(self.line, format!("{wanted} is wanted here, got {}", self.what()))
    }

    fn scalar(&self, wanted: &str) -> Result<(&str, Meaning), MappingError> {
        match &self.value {
            Value::Scalar { text, meaning } => Ok((text, *meaning)),
            _ => Err(self.wrong(wanted)),
        }
    }

    /// Any scalar as it was written; nothing when it is null.
    pub fn text(&self) -> Result<&str, MappingError> {
        match self.scalar("a text")? {
            (_, Meaning::Null) => Ok(""),
            (text, _) => Ok(text),
        }
    }

    pub fn boolean(&self) -> Result<bool, MappingError> {
        match self.scalar("true or false")?.1 {
            Meaning::Null => Ok(false),
            Meaning::Bool(value) => Ok(value),
            _ => Err(self.wrong("true or false")),
        }
    }

    pub fn number(&self) -> Result<f64, MappingError> {
        match self.scalar("a number")?.1 {
            Meaning::Null => Ok(0.0),
            #[expect(clippy::cast_precision_loss, reason = "a double is what a number is kept as")]
            Meaning::Integer(value) => Ok(value as f64),
            Meaning::Float(value) => Ok(value),
            _ => Err(self.wrong("a number")),
        }
    }

    pub fn natural(&self) -> Result<u32, MappingError> {
        const WANTED: &str = "a whole number from 0 to 4294967295";
        let value = match self.scalar(WANTED)?.1 {
            Meaning::Null => 0,
            Meaning::Integer(value) => value,
            // A fraction is cut off, as in Go.
            #[expect(clippy::cast_possible_truncation, reason = "what is too large stays too large")]
            Meaning::Float(value) if value >= 0.0 => value as i128,
            _ => return Err(self.wrong(WANTED)),
        };
        u32::try_from(value).map_err(|_| self.wrong(WANTED))
    }

    /// A duration in Go's spelling; a bare number counts nanoseconds.
    pub fn duration(&self) -> Result<Duration, MappingError> {
        const WANTED: &str = "a duration of 0 or more, such as 30s, 10m or 1h30m";
        let (text, meaning) = self.scalar(WANTED)?;
        let nanoseconds = match meaning {
            Meaning::Null => Some(0),
            Meaning::Integer(value) => i64::try_from(value).ok(),
            #[expect(clippy::cast_possible_truncation, reason = "its range was looked at")]
            Meaning::Float(value) => (value.abs() < 9.2e18).then_some(value as i64),
            Meaning::Text => parse_duration(text),
            Meaning::Bool(_) | Meaning::Merge => None,
        };
        let nanoseconds = nanoseconds.and_then(|nanoseconds| u64::try_from(nanoseconds).ok());
        nanoseconds.map(Duration::from_nanos).ok_or_else(|| self.wrong(WANTED))
    }

    pub fn list(&self) -> Result<&[Rc<Self>], MappingError> {
        match &self.value {
            Value::Sequence(items) => Ok(items),
            Value::Scalar { meaning: Meaning::Null, .. } => Ok(&[]),
            _ => Err(self.wrong("a list")),
        }
    }

    pub fn pairs(&self) -> Result<&[Pair], MappingError> {
        match &self.value {
            Value::Mapping(pairs) => Ok(pairs),
            Value::Scalar { meaning: Meaning::Null, .. } => Ok(&[]),
            _ => Err(self.wrong("a set of keys with values")),
        }
    }
}

/// A text of a file or a client inside a message of one line, quoted and cut to a readable length.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(text: &str) -> Rc<Node> {
        parse(text).unwrap().0.unwrap()
    }

    #[test]
    fn scalars_mean_what_go_yaml_2_takes_them_for() {
        for (text, meaning) in [
            ("yes", Meaning::Bool(true)),
            ("Off", Meaning::Bool(false)),
            ("'yes'", Meaning::Text),
            ("010", Meaning::Integer(8)),
            ("08", Meaning::Float(8.0)),
            ("0x1F", Meaning::Integer(31)),
            ("-0b11", Meaning::Integer(-3)),
            ("1_000", Meaning::Integer(1000)),
            ("1e3", Meaning::Float(1000.0)),
            (".5", Meaning::Float(0.5)),
            ("1e400", Meaning::Text),
            ("-x", Meaning::Text),
            ("1s", Meaning::Text),
            ("~", Meaning::Null),
            ("!!str 12", Meaning::Text),
            ("!!float 12", Meaning::Float(12.0)),
        ] {
            let document = format!("k: {text}\n");
            let node = root(&document);
            let Value::Mapping(pairs) = &node.value else { panic!("{text}") };
            let Value::Scalar { meaning: got, .. } = pairs[0].1.value else { panic!("{text}") };
            assert_eq!(got, meaning, "{text}");
        }
    }

    #[test]
    fn durations_are_spelled_as_in_go() {
        for (text, nanoseconds) in [
            ("1m20s", Some(80_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            (".5s", Some(500_000_000)),
            ("5.s", Some(5_000_000_000)),
            ("10us", Some(10_000)),
            ("10µs", Some(10_000)),
            ("-3ns", Some(-3)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("+1h", Some(3_600_000_000_000)),
            ("", None),
            ("-", None),
            ("3", None),
            ("1d", None),
            (".s", None),
            ("1s2", None),
            ("300000h99999999h", None),
            ("2562047h47m16.854775807s", Some(i64::MAX)),
        ] {
            assert_eq!(parse_duration(text), nanoseconds, "{text:?}");
        }
    }

    #[test]
    fn aliases_are_shared_and_counted_as_copies() {
        let node = root("a: &a [1, 2]\nb: *a\n");
        let Value::Mapping(pairs) = &node.value else { panic!() };
        assert!(Rc::ptr_eq(&pairs[0].1, &pairs[1].1));

        let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let alias = format!("*a{},", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{alias}]\n"));
        }
        let error = parse(&bomb).unwrap_err().to_string();
        assert!(error.starts_with("line 6: more than 500000 values"), "{error}");

        assert!(parse("a: &a [*a]\n").unwrap_err().to_string().contains("inside the value that it refers to"));
    }

    #[test]
    fn depth_and_size_are_bounded() {
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&"- ".repeat(100_000)).is_err());
        assert!(parse(&" ".repeat(MAX_FILE_BYTES + 1)).is_err());
    }

    #[test]
    fn only_the_first_document_is_read() {
        let (node, more) = parse("a: 1\n---\n]broken").unwrap();
        assert!(node.is_some() && more);
        let (node, more) = parse("# nothing\n").unwrap();
        assert!(node.is_none() && !more);
    }
}
