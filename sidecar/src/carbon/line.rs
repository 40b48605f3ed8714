//! One line of the plaintext protocol: `name value timestamp`.
//!
//! Fields and numbers are read as Python reads them, since carbon does: any white space divides, `1_000` and `inf` are
//! numbers, and a timestamp that is -1 when its fraction is cut off means now.

use statline_series::Timestamp;

use super::refusal::Refusal;

/// What a line says. The name may still turn out to be none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line<'a> {
    /// The series, as the client wrote it.
    pub name: &'a str,
    /// The value; NaN is possible.
    pub value: f64,
    /// When.
    pub timestamp: Timestamp,
}

/// Reads a line without its newline; `None` when there is nothing on it.
///
/// # Errors
/// When it has not three fields, or a number that is none.
pub fn parse(line: &[u8], now: Timestamp) -> Result<Option<Line<'_>>, Refusal> {
    let text = std::str::from_utf8(line).map_err(|_| Refusal::NotText)?;
    let mut fields = text.split(is_space).filter(|field| !field.is_empty());
    let Some(name) = fields.next() else { return Ok(None) };
    let (Some(value), Some(timestamp), None) = (fields.next(), fields.next(), fields.next()) else {
        return Err(Refusal::Fields(text.split(is_space).filter(|field| !field.is_empty()).count()));
    };
    let value = number(value).ok_or_else(|| Refusal::value(value))?;
    let timestamp = instant_of(timestamp, now).ok_or_else(|| Refusal::timestamp(timestamp))?;
    Ok(Some(Line { name, value, timestamp }))
}

/// What Python's `str.split` divides at.
fn is_space(character: char) -> bool {
    matches!(character, '\u{1c}'..='\u{1f}') || character.is_whitespace()
}

/// A number as Python's `float` reads it.
pub fn number(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_space);
    text.parse().ok().or_else(|| {
        let bytes = text.as_bytes();
        let is_digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
        let mut bars = memchr::memchr_iter(b'_', bytes).peekable();
        bars.peek()?;
        let divides_digits = bars.all(|at| is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)));
        divides_digits.then(|| text.replace('_', "").parse().ok())?
    })
}

/// The instant that a field of seconds means.
fn instant_of(field: &str, now: Timestamp) -> Option<Timestamp> {
    // Whole seconds, as nearly every client sends them.
    let bytes = field.as_bytes();
    if bytes.len() <= 11 && bytes.iter().all(u8::is_ascii_digit) && !bytes.is_empty() {
        let seconds = bytes.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'));
        return Some(Timestamp::from_seconds(seconds));
    }
    instant(number(field)?, now)
}

/// The instant that a number of seconds since the epoch means; -1 and what lies between it and -2 mean now.
pub fn instant(seconds: f64, now: Timestamp) -> Option<Timestamp> {
    /// Later than the year 33000; milliseconds since the epoch are beyond it.
    const BEYOND: f64 = 1e12;
    if seconds.trunc() == -1.0 {
        return Some(now);
    }
    #[expect(clippy::cast_possible_truncation, reason = "bounded by the guard")]
    (0.0..BEYOND).contains(&seconds).then(|| Timestamp::from_millis((seconds * 1000.0).round() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_name_value_timestamp() {
        let now = Timestamp::from_seconds(100);
        let good = |name, value, millis| Ok(Some(Line { name, value, timestamp: Timestamp::from_millis(millis) }));
        for (line, parsed) in [
            ("a.b 1.5 42", good("a.b", 1.5, 42_000)),
            ("  a.b;t=v\t-2e3  42.25\r", good("a.b;t=v", -2000.0, 42_250)),
            ("a.b\u{a0}1_000.5\u{1f}1_700_000_000", good("a.b", 1000.5, 1_700_000_000_000)),
            ("a.b -inf 1700000000.123", good("a.b", f64::NEG_INFINITY, 1_700_000_000_123)),
            ("gr\u{fc}\u{df}e 1. 99999999999", good("gr\u{fc}\u{df}e", 1.0, 99_999_999_999_000)),
            ("a.b .5 -1", good("a.b", 0.5, 100_000)),
            ("a.b +5 -1.9", good("a.b", 5.0, 100_000)),
            ("", Ok(None)),
            (" \t\r", Ok(None)),
            ("a.b 1", Err(Refusal::Fields(2))),
            ("a.b 1 2 3", Err(Refusal::Fields(4))),
            ("a.b one 2", Err(Refusal::value("one"))),
            ("a.b 1__0 2", Err(Refusal::value("1__0"))),
            ("a.b _1 2", Err(Refusal::value("_1"))),
            ("a.b 1 yesterday", Err(Refusal::timestamp("yesterday"))),
            ("a.b 1 -7", Err(Refusal::timestamp("-7"))),
            ("a.b 1 nan", Err(Refusal::timestamp("nan"))),
            ("a.b 1 1700000000000", Err(Refusal::timestamp("1700000000000"))),
        ] {
            assert_eq!(parse(line.as_bytes(), now), parsed, "{line}");
        }
        assert_eq!(parse(b"a\xff 1 2", now), Err(Refusal::NotText));
        assert!(parse(b"a nan 2", now).unwrap().unwrap().value.is_nan());
    }
}
