//! Values as node prints them (`util.inspect`), since scripts read etsy's console by that form.
//!
//! An object or array is one line when it fits into 80 columns. An array of more than six entries becomes rows of columns of
//! aligned widths, at most twelve, in all about two and a half times as wide as high; of more than a hundred, the first hundred
//! are shown.

use std::fmt::Write;

/// The width that a line is to keep.
const WIDTH: usize = 80;

/// What node adds to the length of what stands in a line before it looks whether that fits.
const LINE_RESERVE: usize = 10;

/// How many entries of an array are shown.
pub const SHOWN_ENTRIES: usize = 100;

/// The most entries of an array that are not put into columns.
const ENTRIES_WITHOUT_COLUMNS: usize = 6;

/// The most columns of an array.
const MOST_COLUMNS: f64 = 12.0;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// An array, and how many entries there are beyond those given.
    Array(Vec<Value>, usize),
}

/// An object with these entries, and `more` beyond them.
pub fn object(entries: &[(String, Value)], more: usize) -> String {
    if entries.is_empty() && more == 0 {
        return "{}".to_owned();
    }
    let mut parts: Vec<String> =
        entries.iter().map(|(name, value)| format!("{}: {}", key(name), property(value))).collect();
    if more > 0 {
        parts.push(format!("... {more} more {}", if more == 1 { "name" } else { "names" }));
    }
    one_line_or_many(&parts, '{', '}', 0)
}

/// A value as it stands in an object.
fn property(value: &Value) -> String {
    match value {
        Value::Number(number) => self::number(*number),
        Value::Text(text) => quoted(text),
        Value::Array(values, more) => array(values, *more),
    }
}

fn array(values: &[Value], more: usize) -> String {
    const INDENT: usize = 2;
    let (shown, rest) = values.split_at(values.len().min(SHOWN_ENTRIES));
    let more = more + rest.len();
    let mut parts: Vec<String> = shown.iter().map(property).collect();
    if more > 0 {
        parts.push(format!("... {more} more {}", if more == 1 { "item" } else { "items" }));
    }
    if parts.is_empty() {
        return "[]".to_owned();
    }
    if parts.len() > ENTRIES_WITHOUT_COLUMNS {
        let are_numbers = shown.iter().all(|value| matches!(value, Value::Number(_)));
        if let Some(rows) = rows(&parts, more > 0, are_numbers, INDENT) {
            return many_lines(&rows, '[', ']', INDENT);
        }
    }
    one_line_or_many(&parts, '[', ']', INDENT)
}

/// Entries as rows of columns; `None` where node would not make columns. The last entry stands by itself when it tells of
/// more.
fn rows(parts: &[String], tells_of_more: bool, are_numbers: bool, indent: usize) -> Option<Vec<String>> {
    /// The space and the comma between two entries.
    const SEPARATOR: usize = 2;
    let entries = &parts[..parts.len() - usize::from(tells_of_more)];
    let lengths: Vec<usize> = entries.iter().map(|entry| length(entry)).collect();
    let longest = lengths.iter().copied().max()?;
    let total: usize = lengths.iter().map(|length| length + SEPARATOR).sum();
    let column = longest + SEPARATOR;
    let is_uneven = total as f64 / column as f64 <= 5.0 && longest > 6;
    if column * 3 + indent >= WIDTH || is_uneven {
        return None;
    }
    let bias = (column as f64 - total as f64 / parts.len() as f64).sqrt();
    let width = (column as f64 - 3.0 - bias).max(1.0);
    let square = ((2.5 * width * entries.len() as f64).sqrt() / width).round();
    let fitting = ((WIDTH - indent) as f64 / column as f64).floor();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 12")]
    let columns = square.min(fitting).min(MOST_COLUMNS) as usize;
    if columns <= 1 {
        return None;
    }
    let widths: Vec<usize> = (0..columns)
        .map(|column| lengths.iter().skip(column).step_by(columns).copied().max().unwrap_or(0) + SEPARATOR)
        .collect();
    let mut rows: Vec<String> = Vec::new();
    for row in entries.chunks(columns) {
        let mut line = String::new();
        for (at, entry) in row.iter().enumerate() {
            let is_last = at + 1 == row.len();
            let text = if is_last { entry.clone() } else { format!("{entry}, ") };
            let width = if is_last { widths[at] - SEPARATOR } else { widths[at] };
            let padding = " ".repeat(width.saturating_sub(length(&text)));
            match (are_numbers, is_last) {
                (true, _) => line.extend([padding, text]),
                (false, false) => line.extend([text, padding]),
                (false, true) => line.push_str(&text),
            }
        }
        rows.push(line);
    }
    rows.extend(parts[entries.len()..].iter().cloned());
    Some(rows)
}

fn one_line_or_many(parts: &[String], open: char, close: char, indent: usize) -> String {
    let start = parts.len() + indent + 1 + LINE_RESERVE;
    let total: usize = parts.len() + start + parts.iter().map(|part| length(part)).sum::<usize>();
    if total <= WIDTH && !parts.iter().any(|part| part.contains('\n')) {
        return format!("{open} {} {close}", parts.join(", "));
    }
    many_lines(parts, open, close, indent)
}

fn many_lines(parts: &[String], open: char, close: char, indent: usize) -> String {
    let indent = format!("\n{}", " ".repeat(indent));
    format!("{open}{indent}  {}{indent}{close}", parts.join(&format!(",{indent}  ")))
}

/// The length as JavaScript counts it.
fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// A name in an object: as it is where JavaScript could read that, or else in quotes.
fn key(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match name {
        "__proto__" => "['__proto__']".to_owned(),
        _ if is_plain => name.to_owned(),
        _ => quoted(name),
    }
}

/// A text in the quotes that it has none of, single ones if there are any such.
fn quoted(text: &str) -> String {
    let is_free = |quote: &char| !text.contains(*quote) && (*quote != '`' || !text.contains("${"));
    let quote = ['\'', '"', '`'].into_iter().find(is_free).unwrap_or('\'');
    let mut written = String::with_capacity(text.len() + 2);
    written.push(quote);
    for c in text.chars() {
        match c {
            '\u{8}' => written.push_str("\\b"),
            '\t' => written.push_str("\\t"),
            '\n' => written.push_str("\\n"),
            '\u{c}' => written.push_str("\\f"),
            '\r' => written.push_str("\\r"),
            '\\' => written.push_str("\\\\"),
            '\'' if quote == '\'' => written.push_str("\\'"),
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => {
                let _ = write!(written, "\\x{:02X}", u32::from(c));
            }
            _ => written.push(c),
        }
    }
    written.push(quote);
    written
}

/// A number as JavaScript writes it (ECMA-262, Number::toString), but for -0, which is shown as such.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value.is_infinite() {
        return format!("{sign}Infinity");
    }
    let shortest = format!("{:e}", value.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let digits = mantissa.replace('.', "");
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // Where the point stands, counted from the first digit.
    let point = exponent + 1;
    let written = match usize::try_from(point) {
        Ok(point) if (1..=21).contains(&point) && digits.len() <= point => {
            format!("{digits}{}", "0".repeat(point - digits.len()))
        }
        Ok(point) if (1..=21).contains(&point) => format!("{}.{}", &digits[..point], &digits[point..]),
        _ if (-5..=0).contains(&point) => format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize)),
        _ => {
            let (first, rest) = digits.split_at(1);
            let dot = if rest.is_empty() { "" } else { "." };
            format!("{first}{dot}{rest}e{exponent:+}")
        }
    };
    format!("{sign}{written}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_javascript_writes_it() {
        for (value, written) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-12.5, "-12.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (0.000_001, "0.000001"),
            (0.000_001_5, "0.0000015"),
            (0.000_000_1, "1e-7"),
            (1.25e-7, "1.25e-7"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "Infinity"),
        ] {
            assert_eq!(number(value), written);
        }
    }

    /// What node 20 prints for the same objects.
    #[test]
    fn an_object_is_laid_out_as_node_lays_it_out() {
        let numbers = |count: u32| Value::Array((1..=count).map(|n| Value::Number(f64::from(n))).collect(), 0);
        let texts =
            |texts: &[&str]| Value::Array(texts.iter().map(|text| Value::Text((*text).to_owned())).collect(), 0);
        for (entries, printed) in [
            (vec![], "{}"),
            (vec![("a", Value::Number(1.0)), ("b.c", Value::Number(0.5))], "{ a: 1, 'b.c': 0.5 }"),
            (vec![("t", numbers(0))], "{ t: [] }"),
            (vec![("t", numbers(6))], "{ t: [ 1, 2, 3, 4, 5, 6 ] }"),
            (vec![("t", numbers(7))], "{\n  t: [\n    1, 2, 3, 4,\n    5, 6, 7\n  ]\n}"),
            (vec![("s", texts(&["it's", "\"'", "a\\b", "\u{1}"]))], "{ s: [ \"it's\", `\"'`, 'a\\\\b', '\\x01' ] }"),
        ] {
            let entries: Vec<(String, Value)> =
                entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            assert_eq!(object(&entries, 0), printed);
        }
        let long = object(&[("x".repeat(70), Value::Number(1.0))], 2);
        assert_eq!(long, format!("{{\n  {}: 1,\n  ... 2 more names\n}}", "x".repeat(70)));
        assert!(
            object(&[("t".to_owned(), Value::Array(vec![Value::Number(1.0); 100], 5))], 0)
                .ends_with("... 5 more items\n  ]\n}")
        );
    }

    /// The same against the node of this machine, if there is one: objects of every shape.
    #[test]
    fn an_object_is_what_node_prints() {
        let mut random = 7_u64;
        let mut next = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        let mut objects: Vec<Vec<(String, Value)>> = Vec::new();
        for _ in 0..300 {
            let mut object = Vec::new();
            for name in 0..next(6) {
                let name = format!(
                    "{}{name}",
                    ["a", "b.c", "long.name.of.something.", "d-e;f=", "_", "q\"'"][next(6) as usize]
                );
                let magnitude = 10_f64.powi(next(12) as i32);
                let mut value = |is_text: bool| match (is_text, next(3)) {
                    (true, digits) => Value::Text(format!("user'{}", next(10_u64.pow(digits as u32 * 4 + 1)))),
                    (false, 0) => Value::Number(next(1000) as f64),
                    (false, _) => Value::Number(next(100_000) as f64 / 1000.0 * magnitude),
                };
                let (count, is_text) = ([0, 3, 6, 7, 20, 99, 100, 101, 150][(name.len() * 7) % 9], name.len() % 3 == 0);
                let value = if name.len() % 4 == 0 {
                    value(false)
                } else {
                    Value::Array((0..count).map(|_| value(is_text)).collect(), 0)
                };
                object.push((name, value));
            }
            objects.push(object);
        }
        fn json(value: &Value) -> serde_json::Value {
            match value {
                Value::Number(number) => serde_json::json!(number),
                Value::Text(text) => serde_json::json!(text),
                Value::Array(values, _) => values.iter().map(json).collect(),
            }
        }
        let input: serde_json::Value = objects
            .iter()
            .map(|object| {
                object.iter().map(|(name, value)| (name.clone(), json(value))).collect::<serde_json::Map<_, _>>()
            })
            .map(serde_json::Value::Object)
            .collect();
        let script = "const text = require('fs').readFileSync(process.argv[1], 'utf8');
            process.stdout.write(JSON.parse(text).map((o) => require('util').inspect(o)).join('\\n--\\n'))";
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("objects.json");
        std::fs::write(&file, input.to_string()).unwrap();
        let Ok(output) = std::process::Command::new("node").args(["-e", script]).arg(&file).output() else {
            println!("skipped: there is no node here");
            return;
        };
        let printed = String::from_utf8(output.stdout).unwrap();
        let printed: Vec<&str> = printed.split("\n--\n").collect();
        assert_eq!(printed.len(), objects.len());
        for (entries, printed) in objects.into_iter().zip(printed) {
            // serde_json sorts names, as the console does.
            let entries: std::collections::BTreeMap<String, Value> = entries.into_iter().collect();
            assert_eq!(object(&entries.into_iter().collect::<Vec<_>>(), 0), printed);
        }
    }
}
