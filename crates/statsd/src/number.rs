//! Numbers as JavaScript reads them, since that is what etsy's statsd takes for one.
//!
//! `1e3`, `.5`, `5.`, `0x10`, and white space around any of them (white space alone is 0). Not taken: `NaN`, `inf`, an
//! empty text. Infinite values are told apart, because etsy takes them and we do not.

use crate::Reason;

/// What a number of up to 15 digits is divided by to put its point in place. All exact in a double, so the quotient is
/// the double nearest to the decimal.
pub(crate) const POWERS_OF_TEN: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Reads a value. Never NaN, never infinite.
///
/// # Errors
/// [`Reason::NotANumber`] or [`Reason::Infinite`].
pub fn parse(text: &[u8]) -> Result<f64, Reason> {
    match parse_plain(text) {
        Some(value) => Ok(value),
        None => parse_any(text),
    }
}

/// A sign, up to 15 digits and a point: what nearly every client sends.
fn parse_plain(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let mut mantissa = 0_u64;
    let mut seen = 0_usize;
    let mut after_point = None;
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                seen += 1;
            }
            b'.' if after_point.is_none() => after_point = Some(seen),
            _ => return None,
        }
    }
    if seen == 0 || seen > 15 {
        return None;
    }
    let decimals = after_point.map_or(0, |before| seen - before);
    #[expect(clippy::cast_precision_loss, reason = "15 digits are under 2^53")]
    let value = mantissa as f64 / POWERS_OF_TEN[decimals];
    Some(if negative { -value } else { value })
}

fn parse_any(text: &[u8]) -> Result<f64, Reason> {
    let text = std::str::from_utf8(text).map_err(|_| Reason::NotANumber)?;
    if text.is_empty() {
        return Err(Reason::NotANumber);
    }
    let text = text.trim_matches(is_space);
    if text.is_empty() {
        return Ok(0.0);
    }
    if matches!(text, "Infinity" | "+Infinity" | "-Infinity") {
        return Err(Reason::Infinite);
    }
    if let Some((radix, digits)) = radix_prefix(text) {
        // A sign is not a digit; from_str_radix alone would take one.
        if !digits.chars().all(|digit| digit.is_digit(radix)) {
            return Err(Reason::NotANumber);
        }
        #[expect(clippy::cast_precision_loss, reason = "rounded to the nearest double, as JavaScript does")]
        return u128::from_str_radix(digits, radix).map(|value| value as f64).map_err(|_| Reason::NotANumber);
    }
    if !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
        return Err(Reason::NotANumber);
    }
    let value: f64 = text.parse().map_err(|_| Reason::NotANumber)?;
    if value.is_finite() { Ok(value) } else { Err(Reason::Infinite) }
}

fn radix_prefix(text: &str) -> Option<(u32, &str)> {
    let digits = text.get(2..)?;
    match &text.as_bytes()[..2] {
        b"0x" | b"0X" => Some((16, digits)),
        b"0o" | b"0O" => Some((8, digits)),
        b"0b" | b"0B" => Some((2, digits)),
        _ => None,
    }
}

/// Whether JavaScript's `\s` matches a character.
#[must_use]
pub const fn is_space(character: char) -> bool {
    matches!(
        character,
        '\t'..='\r'
            | ' '
            | '\u{a0}'
            | '\u{1680}'
            | '\u{2000}'..='\u{200a}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{202f}'
            | '\u{205f}'
            | '\u{3000}'
            | '\u{feff}'
    )
}

/// The sum, kept within the range of a double, so that no series of ours ever holds an infinite value.
#[must_use]
pub const fn saturating_add(left: f64, right: f64) -> f64 {
    (left + right).clamp(f64::MIN, f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_javascripts() {
        for (text, value) in [
            ("1", 1.0),
            ("-1", -1.0),
            ("+1", 1.0),
            ("0.1", 0.1),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E-2", 0.01),
            ("0x10", 16.0),
            ("0b101", 5.0),
            ("0o17", 15.0),
            (" ", 0.0),
            (" 7\t", 7.0),
            ("\u{a0}7\u{feff}", 7.0),
            ("7\r", 7.0),
            ("123456789012345678901234567890", 123_456_789_012_345_678_901_234_567_890.0),
            ("0.000000000000000000000000001", 1e-27),
            ("999999999999999", 999_999_999_999_999.0),
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(value), "{text:?}");
        }
        for text in [
            "", "NaN", "nan", "inf", "infinity", ".", "-", "1_000", "1,5", "0x", "0x-1", "-0x1", "0xg", "1e", "--1",
            "1 2", "é",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(Reason::NotANumber), "{text:?}");
        }
        for text in ["Infinity", "-Infinity", "1e400", " +Infinity "] {
            assert_eq!(parse(text.as_bytes()), Err(Reason::Infinite), "{text:?}");
        }
        assert_eq!(parse(b"1\xff"), Err(Reason::NotANumber));
    }

    proptest! {
        #[test]
        fn a_plain_decimal_is_read_to_the_last_bit(whole in 0_u64..1_000_000_000, fraction in "[0-9]{0,9}", sign in "[+-]?") {
            let text = format!("{sign}{whole}.{fraction}");
            let expected: f64 = text.parse().unwrap();
            prop_assert_eq!(parse(text.as_bytes()).unwrap().to_bits(), expected.to_bits());
        }

        #[test]
        fn any_bytes_are_a_finite_number_or_refused(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(value) = parse(&text) {
                prop_assert!(value.is_finite());
            }
        }
    }
}
