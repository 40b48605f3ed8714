//! The short way of a line: the forms that nearly every client sends, read in one pass.
//!
//! `name:number|type`, perhaps with `|@rate`, and nothing else. The name is handed over as it stands; who finds it among
//! the names that are known need not look whether it must be sanitised, since every known name has been. Whatever does not
//! have this form, or is not known, or is wrong, goes the long way of [`crate::line`], so this reads nothing that is not
//! read the same there.

use memchr::memchr;

use crate::number::POWERS_OF_TEN;
use crate::table::Family;

/// A line that went the short way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct QuickLine<'a> {
    /// The name as it was sent, with Graphite's tags if it has any.
    pub(crate) name: &'a [u8],
    pub(crate) family: Family,
    /// The number as it was sent.
    pub(crate) value: f64,
    /// Whether the number had a sign.
    pub(crate) is_signed: bool,
    /// 1 / sample rate.
    pub(crate) weight: f64,
    /// Whether it is a timer's duration.
    pub(crate) is_duration: bool,
    /// How many bytes it takes, the end of the line included.
    pub(crate) length: usize,
}

/// The line that a text begins with, when it has the short form.
#[inline]
pub(crate) fn read(text: &[u8]) -> Option<QuickLine<'_>> {
    let colon = memchr(b':', text)?;
    let mut at = colon + 1;
    let (value, is_signed) = number(text, &mut at)?;
    if *text.get(at)? != b'|' {
        return None;
    }
    let (family, is_duration) = match (text.get(at + 1)?, text.get(at + 2)) {
        (b'c', _) => (Family::Counter, false),
        (b'g', _) => (Family::Gauge, false),
        (b'm', Some(b's')) => (Family::Timer, true),
        (b'h' | b'd', _) => (Family::Timer, false),
        _ => return None,
    };
    at += if is_duration { 3 } else { 2 };
    if is_duration && value < 0.0 {
        return None;
    }
    let mut weight = 1.0;
    if text.get(at) == Some(&b'|') {
        if text.get(at + 1) != Some(&b'@') {
            return None;
        }
        at += 2;
        let (rate, false) = number(text, &mut at)? else { return None };
        weight = 1.0 / rate;
        if !(rate > 0.0 && rate <= 1.0 && weight.is_finite()) {
            return None;
        }
    }
    let length = match (text.get(at), text.get(at + 1)) {
        (None, _) => at,
        (Some(b'\n'), _) => at + 1,
        (Some(b'\r'), Some(b'\n')) => at + 2,
        _ => return None,
    };
    Some(QuickLine { name: &text[..colon], family, value, is_signed, weight, is_duration, length })
}

/// A sign, up to 15 digits and a point, which is what is exact without rounding twice. Whether there was a sign.
#[inline]
fn number(text: &[u8], at: &mut usize) -> Option<(f64, bool)> {
    let sign = *text.get(*at)?;
    let is_signed = matches!(sign, b'-' | b'+');
    let mut position = *at + usize::from(is_signed);
    let first = position;
    let mut mantissa = 0_u64;
    let mut point = None;
    while let Some(byte) = text.get(position) {
        match byte {
            b'0'..=b'9' => mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')),
            b'.' if point.is_none() => point = Some(position),
            _ => break,
        }
        position += 1;
    }
    let digits = position - first - usize::from(point.is_some());
    if digits == 0 || digits > 15 {
        return None;
    }
    *at = position;
    #[expect(clippy::cast_precision_loss, reason = "15 digits are under 2^53")]
    let mut value = mantissa as f64;
    if let Some(point) = point {
        value /= POWERS_OF_TEN[position - point - 1];
    }
    Some((if sign == b'-' { -value } else { value }, is_signed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grammar, Limits, Outcome, Parser, Sample, Value};
    use proptest::prelude::*;
    use statline_series::Timestamp;

    #[test]
    fn the_common_forms_go_the_short_way() {
        for (line, family, value, weight) in [
            ("a.b:1|c", Family::Counter, 1.0, 1.0),
            ("a.b:-1|c|@0.1\n", Family::Counter, -1.0, 10.0),
            ("a;t=v:2.50|g\r\n", Family::Gauge, 2.5, 1.0),
            ("a:320.123456|ms|@1\nb:1|c", Family::Timer, 320.123_456, 1.0),
            ("a:-7|d", Family::Timer, -7.0, 1.0),
        ] {
            let quick = read(line.as_bytes()).unwrap();
            assert_eq!((quick.family, quick.value, quick.weight), (family, value, weight), "{line:?}");
            assert_eq!(quick.length, line.find('\n').map_or(line.len(), |end| end + 1), "{line:?}");
        }
        for line in [
            "",
            "a",
            "a:1",
            "a:1|",
            "a:|c",
            "a:1|s",
            "a:1|m",
            "a:1|c|#t:v",
            "a:1|c|@2",
            "a:1|c|@+1",
            "a:-1|ms",
            "a:1e3|c",
            "a:1|cc",
            "a:1:2|c",
            "a:1|c\r",
        ] {
            assert_eq!(read(line.as_bytes()), None, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn a_line_that_goes_the_short_way_says_the_same_the_long_way(
            name in "[a-z.;=]{0,6}", number in "[+-]?[0-9.]{0,17}", kind in "c|g|ms|h|d|m|s|x", rate in "(\\|@[0-9.]{0,4})?", end in "\r?\n?",
        ) {
            let line = format!("{name}:{number}|{kind}{rate}{end}");
            if let Some(quick) = read(line.as_bytes()) {
                prop_assert_eq!(quick.length, line.len());
                let mut parser = Parser::new(&Limits::default(), Grammar::default());
                let mut seen = 0;
                parser.packet(line.as_bytes(), Timestamp::from_seconds(0), |outcome| {
                    // A name that must be put in order is not known as it stands.
                    if let Outcome::Sample(Sample { key, value, timestamp, .. }) = outcome && key.as_bytes() == quick.name {
                        seen += 1;
                        assert_eq!(timestamp, None);
                        match (quick.family, value) {
                            (Family::Counter, Value::Count(count)) => assert_eq!(count, quick.value * quick.weight),
                            (Family::Gauge, Value::Gauge(value)) => assert_eq!((value, quick.is_signed), (quick.value, false)),
                            (Family::Gauge, Value::GaugeDelta(value)) => assert_eq!((value, quick.is_signed), (quick.value, true)),
                            (Family::Timer, Value::Timing { value, weight, .. }) => assert_eq!((value, weight), (quick.value, quick.weight)),
                            (family, value) => panic!("{line:?}: {family:?} {value:?}"),
                        }
                    }
                });
                prop_assert!(seen == 1 || name.contains(';') || line.contains('\n'), "{line:?}");
            }
        }
    }
}
