//! Series as Graphite's JSON: `[{"target": …, "tags": {…}, "datapoints": [[value, seconds], …]}, …]`.
//!
//! Written by hand, since an answer may hold millions of pairs. A missing value is null, an infinity is `1e9999`.

use std::fmt::Write;

use statline_graphite::Series;

/// The most that is reserved ahead; a longer text grows.
const MAX_RESERVED_BYTES: usize = 64 << 20;

/// The series as JSON. `skip_empty` leaves out those without any value, as `noNullPoints` asks.
pub fn render(series: &[Series], skip_empty: bool) -> String {
    let points: usize = series.iter().map(|series| series.values().len()).sum();
    let mut json = String::with_capacity((points * 24 + series.len() * 128 + 2).min(MAX_RESERVED_BYTES));
    json.push('[');
    let mut first = true;
    for series in series {
        if skip_empty && series.values().iter().all(|value| value.is_nan()) {
            continue;
        }
        if !first {
            json.push_str(", ");
        }
        first = false;
        push_series(&mut json, series);
    }
    json.push(']');
    json
}

fn push_series(json: &mut String, series: &Series) {
    json.push_str("{\"target\": ");
    if series.is_unnamed() {
        json.push_str("null");
    } else {
        push_text(json, &series.name);
    }
    json.push_str(", \"tags\": {");
    for (index, (tag, value)) in series.tags.iter().enumerate() {
        if index > 0 {
            json.push_str(", ");
        }
        push_text(json, tag);
        json.push_str(": ");
        push_text(json, value);
    }
    json.push_str("}, \"datapoints\": [");
    let step = series.step.millis();
    let mut timestamp = series.start.millis();
    for (index, value) in series.values().iter().enumerate() {
        json.push_str(if index > 0 { ", [" } else { "[" });
        push_number(json, *value);
        // Writing to a string never fails.
        let _ = write!(json, ", {}]", timestamp.div_euclid(1000));
        timestamp = timestamp.saturating_add(step);
    }
    json.push_str("]}");
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

#[cfg(test)]
mod tests {
    use super::*;

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
            let mut json = String::new();
            push_number(&mut json, value);
            assert_eq!(json, written);
            if value.is_finite() {
                assert_eq!(serde_json::from_str::<f64>(&json).unwrap(), value);
            }
        }
    }
}
