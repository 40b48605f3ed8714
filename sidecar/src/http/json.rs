//! Series as Graphite's JSON: `[{"target": …, "tags": {…}, "datapoints": [[value, seconds], …]}, …]`.
//!
//! Written by hand, since an answer may hold millions of pairs, and in pieces: as many at once as there are cores, no
//! sooner than whoever asked takes them, so that an answer's text is never in memory as a whole. A missing value is null,
//! an infinity is `1e9999`, and all other values are as Python writes them.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::thread;

use axum::body::Body;
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use statline_graphite::Series;
use tokio::task::{JoinError, spawn_blocking};

/// How much a piece holds, in pairs; some 40 bytes each.
const PIECE_PAIRS: usize = 4096;
/// What the name and the tags of a series count for, in pairs.
const HEAD_PAIRS: usize = 8;
/// What is reserved for a piece.
const PIECE_BYTES: usize = PIECE_PAIRS * 40;

/// The series as JSON. `skip_empty` leaves out those without any value, as `noNullPoints` asks.
///
/// # Errors
/// When writing an answer of one piece failed; later pieces end the body.
pub async fn body(mut series: Vec<Series>, skip_empty: bool) -> Result<Body, JoinError> {
    if skip_empty {
        series.retain(|one| one.values().iter().any(|value| !value.is_nan()));
    }
    let series: Arc<[Series]> = series.into();
    let mut pieces = Pieces { series: Arc::clone(&series), next: Some(Place::default()) };
    let write = move |piece: Piece| {
        let series = Arc::clone(&series);
        spawn_blocking(move || Bytes::from(piece.write(&series)))
    };
    let first = pieces.next().map(&write);
    if pieces.next.is_none() {
        // Of a whole text the length can be told.
        return match first {
            Some(only) => Ok(only.await?.into()),
            None => Ok(Body::empty()),
        };
    }
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    Ok(Body::from_stream(stream::iter(first.into_iter().chain(pieces.map(write))).buffered(cores)))
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
    fn write(self, series: &[Series]) -> Vec<u8> {
        let mut json = Vec::with_capacity(PIECE_BYTES);
        if self.from == Place::default() {
            json.push(b'[');
        }
        let mut place = self.from;
        while place.series < self.until.series {
            push_series(&mut json, place.series > 0, &series[place.series], place.pair..series[place.series].len());
            place = Place { series: place.series + 1, pair: 0 };
        }
        if place.pair < self.until.pair {
            push_series(&mut json, place.series > 0, &series[place.series], place.pair..self.until.pair);
        }
        if self.is_last {
            json.push(b']');
        }
        json
    }
}

/// Some pairs of a series, with what stands before the first and after the last of all.
fn push_series(json: &mut Vec<u8>, has_others_before: bool, series: &Series, pairs: Range<usize>) {
    if pairs.start == 0 {
        if has_others_before {
            json.extend_from_slice(b", ");
        }
        push_head(json, series);
    }
    let mut digits = itoa::Buffer::new();
    let step = series.step.millis();
    let mut timestamp = series.time_of(pairs.start).millis();
    let mut separator: &[u8] = if pairs.start == 0 { b"[" } else { b", [" };
    for value in &series.values()[pairs.clone()] {
        json.extend_from_slice(separator);
        push_number(json, *value);
        json.extend_from_slice(b", ");
        json.extend_from_slice(digits.format(timestamp.div_euclid(1000)).as_bytes());
        json.push(b']');
        separator = b", [";
        timestamp = timestamp.saturating_add(step);
    }
    if pairs.end == series.len() {
        json.extend_from_slice(b"]}");
    }
}

fn push_head(json: &mut Vec<u8>, series: &Series) {
    json.extend_from_slice(b"{\"target\": ");
    push_text(json, &series.name);
    json.extend_from_slice(b", \"tags\": {");
    for (index, (tag, value)) in series.tags.iter().enumerate() {
        if index > 0 {
            json.extend_from_slice(b", ");
        }
        push_text(json, tag);
        json.extend_from_slice(b": ");
        push_text(json, value);
    }
    json.extend_from_slice(b"}, \"datapoints\": [");
}

fn push_number(json: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        json.extend_from_slice(b"null");
    } else if value.is_infinite() {
        json.extend_from_slice(if value > 0.0 { b"1e9999" } else { b"-1e9999" });
    } else {
        push_repr(json, value);
    }
}

/// The shortest text that reads back as the same finite number, as Python's `repr` writes it: `90.0`, `1e-05`, `1e+16`.
fn push_repr(out: &mut Vec<u8>, value: f64) {
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

fn push_text(json: &mut Vec<u8>, text: &str) {
    // A text always serialises.
    let _ = serde_json::to_writer(json, text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use statline_series::{Step, Timestamp};

    fn series(name: &str, values: Vec<f64>) -> Series {
        Series::new(name.to_owned(), Timestamp::from_seconds(1000), Step::from_seconds(60).unwrap(), values)
    }

    async fn text(series: Vec<Series>, skip_empty: bool) -> String {
        let bytes = to_bytes(body(series, skip_empty).await.unwrap(), usize::MAX).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
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

    #[tokio::test]
    async fn a_text_is_graphites() {
        let mut one = series("a \"b\"", vec![1.5, f64::NAN]);
        one.tags.insert("host".to_owned(), "ü".to_owned());
        let both = text(vec![one, series("c", vec![])], false).await;
        assert_eq!(
            both,
            "[{\"target\": \"a \\\"b\\\"\", \"tags\": {\"host\": \"ü\", \"name\": \"a \\\"b\\\"\"}, \
             \"datapoints\": [[1.5, 1000], [null, 1060]]}, \
             {\"target\": \"c\", \"tags\": {\"name\": \"c\"}, \"datapoints\": []}]"
        );
        assert_eq!(text(vec![], false).await, "[]");
        assert_eq!(text(vec![series("a", vec![f64::NAN]), series("b", vec![])], true).await, "[]");
    }

    #[tokio::test]
    async fn pieces_make_a_whole() {
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
            let read: Value = serde_json::from_str(&text(all, false).await).unwrap();
            let expected = lengths.iter().map(|length| {
                let pair = |place: usize| json!([place as f64, 1000 + 60 * place]);
                json!({"target": "x", "tags": {"name": "x"}, "datapoints": (0..*length).map(pair).collect::<Vec<_>>()})
            });
            assert!(read == Value::Array(expected.collect()), "{} series", lengths.len());
        }
    }
}
