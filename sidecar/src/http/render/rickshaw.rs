//! `format=rickshaw`: JSON as the library Rickshaw takes it, each point an object with `x` and `y`.

use std::io::Write;

use statline_graphite::Series;

use super::super::json;
use super::listed::Form;

/// `[{"target": …, "datapoints": [{"x": seconds, "y": value}, …]}, …]`
#[derive(Clone, Copy)]
pub struct Rickshaw;

impl Form for Rickshaw {
    const BEFORE: &'static str = "[";
    const BETWEEN: &'static str = ", ";
    const AFTER: &'static str = "]";

    fn write(self, out: &mut Vec<u8>, series: &Series) {
        out.extend_from_slice(b"{\"target\": ");
        json::push_text(out, &series.name);
        out.extend_from_slice(b", \"datapoints\": [");
        // Where graphite-web says that a series ends, it writes no more.
        let end = series.end();
        for (index, point) in series.points().take_while(|point| point.timestamp < end).enumerate() {
            let between = if index > 0 { ", " } else { "" };
            // Writing to a vector never fails.
            let _ = write!(out, "{between}{{\"x\": {}, \"y\": ", point.timestamp.seconds());
            json::push_number(out, point.value);
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::listed::{pieces, written};
    use super::super::tests::series;
    use super::*;

    #[test]
    fn points_are_objects() {
        let list = vec![series("a", 60, 60, &[1.0, f64::NAN]), series("\"", 60, 10, &[])];
        let text = String::from_utf8(written(pieces(Rickshaw, list))).unwrap();
        assert_eq!(
            text,
            r#"[{"target": "a", "datapoints": [{"x": 60, "y": 1.0}, {"x": 120, "y": null}]}, {"target": "\"", "datapoints": []}]"#
        );
        assert_eq!(written(pieces(Rickshaw, Vec::new())), b"[]");
    }
}
