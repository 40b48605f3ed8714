//! Series as Graphite's JSON: `[{"target": …, "tags": {…}, "datapoints": [[value, seconds], …]}, …]`.
//!
//! Written by hand, since an answer may hold millions of pairs, and in pieces of which several can be written at once. A
//! missing value is null, an infinity is `1e9999`, and all other values are as Python writes them.

use std::ops::Range;
use std::sync::Arc;

use statline_graphite::Series;

use super::stream::Job;

/// How much a piece holds, in pairs; some 40 bytes each.
const PIECE_PAIRS: usize = 4096;
/// What the name and the tags of a series count for, in pairs.
const HEAD_PAIRS: usize = 8;
/// What is reserved for a piece.
const PIECE_BYTES: usize = PIECE_PAIRS * 40;

/// What is told of series.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// Pairs without a value are left out, and series without any.
    pub no_nulls: bool,
    /// How points become fewer is told, too: `"consolidation": "sum"`.
    pub meta: bool,
}

/// The series as JSON, a job for each piece of it.
pub fn pieces(mut series: Vec<Series>, told: Told) -> impl Iterator<Item = Job> + Send {
    if told.no_nulls {
        series.retain(|one| one.values().iter().any(|value| !value.is_nan()));
    }
    let series: Arc<[Series]> = series.into();
    Pieces { series: Arc::clone(&series), next: Some(Place::default()) }.map(move |piece| {
        let series = Arc::clone(&series);
        Box::new(move || piece.write(&series, told)) as Job
    })
}

/// Where a pair is: of which series, and which of its pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    series: usize,
    pair: usize,
}

/// A part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    from: Place,
    until: Place,
    is_last: bool,
}

/// The parts of the text one after the other, each as large as the others; there is one at least.
struct Pieces {
    series: Arc<[Series]>,
    /// Where the next one begins, if there is one.
    next: Option<Place>,
}

impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let from = self.next?;
        let mut until = from;
        let mut room = PIECE_PAIRS;
        while let Some(series) = self.series.get(until.series).filter(|_| room > 0) {
            let pairs = series.len() - until.pair;
            if pairs > room {
                until.pair += room;
                break;
            }
            until = Place { series: until.series + 1, pair: 0 };
            room = room.saturating_sub(pairs + HEAD_PAIRS);
        }
        let is_last = until.series == self.series.len();
        self.next = (!is_last).then_some(until);
        Some(Piece { from, until, is_last })
    }
}

impl Piece {
    fn write(self, series: &[Series], told: Told) -> Vec<u8> {
        let mut json = Vec::with_capacity(PIECE_BYTES);
        if self.from == Place::default() {
            json.push(b'[');
        }
        let mut place = self.from;
        while place.series < self.until.series {
            let one = &series[place.series];
            push_series(&mut json, place.series > 0, one, place.pair..one.len(), told);
            place = Place { series: place.series + 1, pair: 0 };
        }
        if place.pair < self.until.pair {
            push_series(&mut json, place.series > 0, &series[place.series], place.pair..self.until.pair, told);
        }
        if self.is_last {
            json.push(b']');
        }
        json
    }
}

/// Some pairs of a series, with what stands before the first and after the last of all.
fn push_series(json: &mut Vec<u8>, has_others_before: bool, series: &Series, pairs: Range<usize>, told: Told) {
    if pairs.start == 0 {
        if has_others_before {
            json.extend_from_slice(b", ");
        }
        push_head(json, series, told);
    }
    let values = series.values();
    let is_told = |value: &f64| !(told.no_nulls && value.is_nan());
    let mut digits = itoa::Buffer::new();
    let step = series.step.millis();
    let mut timestamp = series.time_of(pairs.start).millis();
    let mut separator: &[u8] = if values[..pairs.start].iter().any(is_told) { b", [" } else { b"[" };
    for value in &values[pairs.clone()] {
        if is_told(value) {
            json.extend_from_slice(separator);
            push_number(json, *value);
            json.extend_from_slice(b", ");
            json.extend_from_slice(digits.format(timestamp.div_euclid(1000)).as_bytes());
            json.push(b']');
            separator = b", [";
        }
        timestamp = timestamp.saturating_add(step);
    }
    if pairs.end == series.len() {
        json.extend_from_slice(b"]}");
    }
}

fn push_head(json: &mut Vec<u8>, series: &Series, told: Told) {
    json.extend_from_slice(b"{\"target\": ");
    if series.is_nameless() {
        json.extend_from_slice(b"null");
    } else {
        push_text(json, &series.name);
    }
    json.extend_from_slice(b", \"tags\": {");
    for (index, (tag, value)) in series.tags.iter().enumerate() {
        if index > 0 {
            json.extend_from_slice(b", ");
        }
        push_text(json, tag);
        json.extend_from_slice(b": ");
        push_text(json, value);
    }
    json.extend_from_slice(b"}, ");
    if told.meta {
        json.extend_from_slice(b"\"consolidation\": ");
        push_text(json, series.effective_consolidation().as_str());
        json.extend_from_slice(b", ");
    }
    json.extend_from_slice(b"\"datapoints\": [");
}

/// A value, or null where there is none.
pub fn push_number(json: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        json.extend_from_slice(b"null");
    } else if value.is_infinite() {
        json.extend_from_slice(if value > 0.0 { b"1e9999" } else { b"-1e9999" });
    } else {
        push_repr(json, value);
    }
}

/// The shortest text that reads back as the same finite number, as Python's `repr` writes it: `90.0`, `1e-05`, `1e+16`.
pub fn push_repr(out: &mut Vec<u8>, value: f64) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    let magnitude = value.abs();
    if (1e-4..1e16).contains(&magnitude) || value == 0.0 {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |text| ("-", text));
    out.extend_from_slice(sign.as_bytes());
    if let Some(digits) = text.strip_prefix("0.0000") {
        let (first, others) = digits.split_at(1);
        out.extend_from_slice(first.as_bytes());
        if !others.is_empty() {
            out.push(b'.');
            out.extend_from_slice(others.as_bytes());
        }
        out.extend_from_slice(b"e-05");
        return;
    }
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    out.extend_from_slice(mantissa.strip_suffix(".0").unwrap_or(mantissa).as_bytes());
    let (sign, digits) = exponent.strip_prefix('-').map_or(("e+", exponent), |digits| ("e-", digits));
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    out.extend_from_slice(sign.as_bytes());
    if digits.len() < 2 {
        out.push(b'0');
    }
    out.extend_from_slice(digits.as_bytes());
}

/// A text in quotes.
pub fn push_text(json: &mut Vec<u8>, text: &str) {
    // A text always serialises.
    let _ = serde_json::to_writer(json, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use statline_series::{Consolidation, Step, Timestamp};

    const NO_NULLS: Told = Told { no_nulls: true, meta: false };

    fn series(name: &str, values: Vec<f64>) -> Series {
        Series::new(name.to_owned(), Timestamp::from_seconds(1000), Step::from_seconds(60).unwrap(), values)
    }

    fn text(series: Vec<Series>, told: Told) -> String {
        String::from_utf8(pieces(series, told).flat_map(|piece| piece()).collect()).unwrap()
    }

    #[test]
    fn numbers_are_pythons() {
        for (value, written) in [
            (1.0, "1.0"),
            (-0.1, "-0.1"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (0.000_1, "0.0001"),
            (0.000_012_5, "1.25e-05"),
            (-0.000_01, "-1e-05"),
            (0.000_001_5, "1.5e-06"),
            (1e-7, "1e-07"),
            (5e-324, "5e-324"),
            (123_456_789.125, "123456789.125"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (1.25e22, "1.25e+22"),
            (1e300, "1e+300"),
            (-1.797_693_134_862_315_7e308, "-1.7976931348623157e+308"),
            (f64::NAN, "null"),
            (f64::INFINITY, "1e9999"),
            (f64::NEG_INFINITY, "-1e9999"),
        ] {
            let mut json = Vec::new();
            push_number(&mut json, value);
            assert_eq!(String::from_utf8(json).unwrap(), written);
        }
    }

    proptest! {
        #[test]
        fn numbers_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let mut json = Vec::new();
            push_number(&mut json, value);
            prop_assert_eq!(serde_json::from_slice::<f64>(&json).unwrap().to_bits(), bits);
        }
    }

    #[test]
    fn a_text_is_graphites() {
        let mut one = series("a \"b\"", vec![1.5, f64::NAN]);
        one.tags.insert("host".to_owned(), "ü".to_owned());
        let both = text(vec![one, series("c", vec![])], Told::default());
        assert_eq!(
            both,
            "[{\"target\": \"a \\\"b\\\"\", \"tags\": {\"host\": \"ü\", \"name\": \"a \\\"b\\\"\"}, \
             \"datapoints\": [[1.5, 1000], [null, 1060]]}, \
             {\"target\": \"c\", \"tags\": {\"name\": \"c\"}, \"datapoints\": []}]"
        );
        assert_eq!(text(vec![], Told::default()), "[]");
        assert_eq!(text(vec![series("a", vec![f64::NAN]), series("b", vec![])], NO_NULLS), "[]");
    }

    #[test]
    fn what_is_told_is_what_was_wanted() {
        let mut values = vec![f64::NAN; 2 * PIECE_PAIRS];
        (values[1], values[2 * PIECE_PAIRS - 1]) = (7.0, 8.0);
        let list = vec![series("a", values), series("b", vec![f64::NAN]), series("c", vec![f64::INFINITY])];
        let expected = json!([[7.0, 1060], [8.0, 1000 + 60 * (2 * PIECE_PAIRS - 1)]]);
        let read = text(list, NO_NULLS).replace("1e9999", "9.0");
        let read: Value = serde_json::from_str(&read).unwrap();
        assert_eq!((&read[0]["datapoints"], &read[1]["datapoints"]), (&expected, &json!([[9.0, 1000]])));
        assert_eq!(read.as_array().unwrap().len(), 2);

        let mut sum = series("a", vec![]);
        sum.consolidation = Some(Consolidation::Sum);
        let told = Told { meta: true, ..Told::default() };
        let read: Value = serde_json::from_str(&text(vec![sum], told)).unwrap();
        assert_eq!(read[0]["consolidation"], "sum");
    }

    #[test]
    fn pieces_make_a_whole() {
        for lengths in [
            vec![PIECE_PAIRS],
            vec![PIECE_PAIRS + 1],
            vec![PIECE_PAIRS - HEAD_PAIRS, 1],
            vec![3 * PIECE_PAIRS, 0, 5],
            vec![0; 2 * PIECE_PAIRS / HEAD_PAIRS],
            vec![7; PIECE_PAIRS],
        ] {
            let made = |length: &usize| series("x", (0..*length).map(|place| place as f64).collect());
            let all: Vec<Series> = lengths.iter().map(made).collect();
            let read: Value = serde_json::from_str(&text(all, Told::default())).unwrap();
            let expected = lengths.iter().map(|length| {
                let pair = |place: usize| json!([place as f64, 1000 + 60 * place]);
                json!({"target": "x", "tags": {"name": "x"}, "datapoints": (0..*length).map(pair).collect::<Vec<_>>()})
            });
            assert!(read == Value::Array(expected.collect()), "{} series", lengths.len());
        }
    }
}
