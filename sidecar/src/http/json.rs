//! Series as Graphite's JSON: `[{"target": …, "tags": {…}, "datapoints": [[value, seconds], …]}, …]`.
//!
//! Written by hand, since an answer may hold millions of pairs. A missing value is null, an infinity is `1e9999`.

use std::fmt::Write;

use statline_graphite::Series;

use super::stream::Pieces;

/// The most that is reserved ahead; a longer text grows.
const MAX_RESERVED_BYTES: usize = 64 << 20;
/// How many points are written at once, unless one series has more.
const POINTS_AT_ONCE: usize = 500_000;

/// What is told of series.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// Points without a value are left out, and series without any.
    pub no_nulls: bool,
    /// How points become fewer is told, too: `"consolidation": "sum"`.
    pub meta: bool,
}

/// The series as JSON.
pub fn render(series: &[Series], told: Told) -> String {
    let points: usize = series.iter().map(|series| series.values().len()).sum();
    let mut json = String::with_capacity((points * 24 + series.len() * 128 + 2).min(MAX_RESERVED_BYTES));
    json.push('[');
    let mut first = true;
    for series in series {
        if told.no_nulls && series.values().iter().all(|value| value.is_nan()) {
            continue;
        }
        if !first {
            json.push_str(", ");
        }
        first = false;
        push_series(&mut json, series, told);
    }
    json.push(']');
    json
}

fn push_series(json: &mut String, series: &Series, told: Told) {
    json.push_str("{\"target\": ");
    push_text(json, &series.name);
    json.push_str(", \"tags\": {");
    for (index, (tag, value)) in series.tags.iter().enumerate() {
        if index > 0 {
            json.push_str(", ");
        }
        push_text(json, tag);
        json.push_str(": ");
        push_text(json, value);
    }
    json.push_str("}, ");
    if told.meta {
        json.push_str("\"consolidation\": ");
        push_text(json, series.effective_consolidation().as_str());
        json.push_str(", ");
    }
    json.push_str("\"datapoints\": [");
    push_points(json, series, told.no_nulls);
    json.push_str("]}");
}

fn push_points(json: &mut String, series: &Series, no_nulls: bool) {
    let step = series.step.millis();
    let mut timestamp = series.start.millis();
    let mut is_first = true;
    for value in series.values() {
        if !(no_nulls && value.is_nan()) {
            json.push_str(if is_first { "[" } else { ", [" });
            is_first = false;
            push_number(json, *value);
            // Writing to a string never fails.
            let _ = write!(json, ", {}]", timestamp.div_euclid(1000));
        }
        timestamp = timestamp.saturating_add(step);
    }
}

fn push_number(json: &mut String, value: f64) {
    if value.is_nan() {
        json.push_str("null");
    } else if value.is_infinite() {
        json.push_str(if value > 0.0 { "1e9999" } else { "-1e9999" });
    } else {
        let _ = write!(json, "{value:?}");
    }
}

fn push_text(json: &mut String, text: &str) {
    // A text always serialises.
    json.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// A value as JSON.
pub fn number(value: f64) -> String {
    let mut json = String::new();
    push_number(&mut json, value);
    json
}

/// A text as JSON.
pub fn text(text: &str) -> String {
    let mut json = String::new();
    push_text(&mut json, text);
    json
}

/// Series as JSON, some at a time; those that are written are let go.
pub struct Json {
    series: std::vec::IntoIter<Series>,
    told: Told,
    has_begun: bool,
    has_written: bool,
}

impl Json {
    /// These series, none written yet.
    pub fn new(series: Vec<Series>, told: Told) -> Self {
        Self { series: series.into_iter(), told, has_begun: false, has_written: false }
    }

    /// Takes as many as are written at once.
    fn take(&mut self) -> Vec<Series> {
        let mut points = 0;
        let fits = |series: &&Series| {
            points += series.len();
            points <= POINTS_AT_ONCE
        };
        let count = self.series.as_slice().iter().take_while(fits).count().max(1);
        self.series.by_ref().take(count).collect()
    }
}

impl Pieces for Json {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        if !self.has_begun {
            out.push(b'[');
            self.has_begun = true;
        }
        let list = render(&self.take(), self.told);
        let items = &list[1..list.len() - 1];
        if !items.is_empty() {
            if self.has_written {
                out.extend_from_slice(b", ");
            }
            self.has_written = true;
            out.extend_from_slice(items.as_bytes());
        }
        let more = !self.series.as_slice().is_empty();
        if !more {
            out.push(b']');
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use statline_series::{Consolidation, Step, Timestamp};

    use super::*;

    fn series(name: &str, values: &[f64]) -> Series {
        Series::new(name.to_owned(), Timestamp::from_seconds(60), Step::from_seconds(60).unwrap(), values.to_vec())
    }

    fn written(list: Vec<Series>, told: Told) -> Value {
        let mut json = Json::new(list, told);
        let mut out = Vec::new();
        while json.next(&mut out) {}
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn numbers_are_json_and_read_back() {
        for (value, written) in [
            (1.0, "1.0"),
            (-0.1, "-0.1"),
            (1e300, "1e300"),
            (f64::NAN, "null"),
            (f64::INFINITY, "1e9999"),
            (f64::NEG_INFINITY, "-1e9999"),
        ] {
            let json = number(value);
            assert_eq!(json, written);
            if value.is_finite() {
                assert_eq!(serde_json::from_str::<f64>(&json).unwrap(), value);
            }
        }
    }

    #[test]
    fn what_is_told_is_what_was_wanted() {
        let list = || vec![series("a", &[f64::NAN, 2.0, f64::NAN]), series("b\"", &[f64::NAN]), series("c", &[])];
        let one = |name: &str, points: Value| json!({ "target": name, "tags": { "name": name }, "datapoints": points });
        assert_eq!(
            written(list(), Told::default()),
            json!([
                one("a", json!([[null, 60], [2.0, 120], [null, 180]])),
                one("b\"", json!([[null, 60]])),
                one("c", json!([]))
            ])
        );
        let told = Told { no_nulls: true, ..Told::default() };
        assert_eq!(written(list(), told), json!([one("a", json!([[2.0, 120]]))]));
        let mut sum = series("a", &[]);
        sum.consolidation = Some(Consolidation::Sum);
        let told = Told { meta: true, ..Told::default() };
        assert_eq!(written(vec![sum], told)[0]["consolidation"], "sum");
        assert_eq!(written(Vec::new(), told), json!([]));
    }

    #[test]
    fn many_series_are_one_list() {
        let empty = vec![f64::NAN; POINTS_AT_ONCE / 2];
        let mut one = empty.clone();
        one[7] = 1.0;
        let list = || {
            vec![series("a", &empty), series("b", &one), series("c", &one), series("d", &empty), series("e", &[1.0])]
        };
        let mut json = Json::new(list(), Told::default());
        let mut pieces = 1;
        while json.next(&mut Vec::new()) {
            pieces += 1;
        }
        assert_eq!(pieces, 3);
        let names = |told| {
            let json = written(list(), told);
            json.as_array().unwrap().iter().map(|one| one["target"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(Told::default()), ["a", "b", "c", "d", "e"]);
        assert_eq!(names(Told { no_nulls: true, ..Told::default() }), ["b", "c", "e"]);
    }
}
