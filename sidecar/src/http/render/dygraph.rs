//! `format=dygraph`: JSON as the library Dygraphs takes it, a row for each instant with a column for each series.
//!
//! graphite-web takes the instants of the first series and pairs values by their place; here a row holds what each series has
//! at its instant, which is the same where all have one grid.

use std::io::Write;

use statline_graphite::Series;
use statline_series::Timestamp;

use super::super::json;
use super::super::stream::Pieces;

/// `{"labels" : ["Time", …], "data" : [[milliseconds, value, …], …]}`; `{}` when there is no series.
pub struct Dygraph {
    series: Vec<Series>,
    /// The index of the value that each series has still to show.
    places: Vec<usize>,
    has_begun: bool,
}

impl Dygraph {
    /// These series, no row written yet.
    pub fn new(series: Vec<Series>) -> Self {
        let places = vec![0; series.len()];
        Self { series, places, has_begun: false }
    }

    /// The next instant at which any series has a place.
    fn instant(&self) -> Option<Timestamp> {
        let waiting = self.series.iter().zip(&self.places).filter(|(series, place)| **place < series.len());
        waiting.map(|(series, place)| series.time_of(*place)).min()
    }

    fn begin(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"labels\" : [\"Time\"");
        for series in &self.series {
            let _ = write!(out, ", {}", json::text(&series.name));
        }
        out.extend_from_slice(b"], \"data\" : [");
    }

    fn row(&mut self, out: &mut Vec<u8>, instant: Timestamp) {
        let _ = write!(out, "[{}", instant.millis());
        for (series, place) in self.series.iter().zip(&mut self.places) {
            let is_here = *place < series.len() && series.time_of(*place) == instant;
            let value = if is_here { series.values()[*place] } else { f64::NAN };
            *place += usize::from(is_here);
            let _ = write!(out, ", {}", json::number(value));
        }
        out.push(b']');
    }
}

impl Pieces for Dygraph {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        if self.series.is_empty() {
            out.extend_from_slice(b"{}");
            return false;
        }
        if self.has_begun {
            out.extend_from_slice(b", ");
        } else {
            self.begin(out);
            self.has_begun = true;
        }
        if let Some(instant) = self.instant() {
            self.row(out, instant);
        }
        let more = self.instant().is_some();
        if !more {
            out.extend_from_slice(b"]}");
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use super::super::listed::written;
    use super::super::tests::series;
    use super::*;

    #[test]
    fn a_row_holds_what_there_is_at_its_instant() {
        let list = vec![series("a", 60, 60, &[1.0, f64::NAN, f64::INFINITY]), series("b", 120, 120, &[2.0, 4.0])];
        let text = String::from_utf8(written(Dygraph::new(list))).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"labels" : ["Time", "a", "b"], "data" : [[60000, 1.0, null], [120000, null, 2.0], "#,
                "[180000, 1e9999, null], [240000, null, 4.0]]}"
            )
        );
        assert_eq!(written(Dygraph::new(Vec::new())), b"{}");
        let empty = String::from_utf8(written(Dygraph::new(vec![series("a", 60, 60, &[])]))).unwrap();
        assert_eq!(empty, r#"{"labels" : ["Time", "a"], "data" : []}"#);
    }
}
