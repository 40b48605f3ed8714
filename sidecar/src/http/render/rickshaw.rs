//! `format=rickshaw`: JSON as the library Rickshaw takes it, each point an object with `x` and `y`.

use std::io::Write;

use statline_graphite::Series;

use super::super::json;
use super::listed::Form;

/// `[{"target": …, "datapoints": [{"x": seconds, "y": value}, …]}, …]`
pub struct Rickshaw;

impl Form for Rickshaw {
    const BEFORE: &'static str = "[";
    const BETWEEN: &'static str = ", ";
    const AFTER: &'static str = "]";

    fn write(&self, out: &mut Vec<u8>, series: &Series) {
        let _ = write!(out, "{{\"target\": {}, \"datapoints\": [", json::text(&series.name));
        for (index, point) in series.points().enumerate() {
            let between = if index > 0 { ", " } else { "" };
            let _ =
                write!(out, "{between}{{\"x\": {}, \"y\": {}}}", point.timestamp.seconds(), json::number(point.value));
        }
        out.extend_from_slice(b"]}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::listed::{Listed, written};
    use super::super::tests::series;
    use super::*;

    #[test]
    fn points_are_objects() {
        let list = vec![series("a", 60, 60, &[1.0, f64::NAN]), series("\"", 60, 10, &[])];
        let text = String::from_utf8(written(Listed::new(Rickshaw, list))).unwrap();
        assert_eq!(
            text,
            r#"[{"target": "a", "datapoints": [{"x": 60, "y": 1.0}, {"x": 120, "y": null}]}, {"target": "\"", "datapoints": []}]"#
        );
        assert_eq!(written(Listed::new(Rickshaw, Vec::new())), b"[]");
    }
}
