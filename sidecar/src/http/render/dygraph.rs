//! `format=dygraph`: JSON as the library Dygraphs takes it, a row for each instant with a column for each series.
//!
//! graphite-web takes the instants of the first series and pairs values by their place; here a row holds what each series has
//! at its instant, which is the same where all have one grid.

use std::io::Write;
use std::sync::Arc;

use statline_graphite::Series;
use statline_series::Timestamp;

use super::super::json;
use super::super::stream::Job;

/// How many values are written in one piece, unless a row has more.
const VALUES_AT_ONCE: usize = 8192;

/// `{"labels" : ["Time", …], "data" : [[milliseconds, value, …], …]}`, a job for each piece; `{}` when there is no series.
pub fn pieces(series: Vec<Series>) -> impl Iterator<Item = Job> + Send {
    let series: Arc<[Series]> = series.into();
    let mut places = Some(vec![0; series.len()]);
    std::iter::from_fn(move || {
        let from = places.take()?;
        let mut until = from.clone();
        let rows = VALUES_AT_ONCE / series.len().max(1) + 1;
        for _ in 0..rows {
            let Some(instant) = next(&series, &until) else { break };
            pass(&series, &mut until, instant);
        }
        let is_last = next(&series, &until).is_none();
        places = (!is_last).then_some(until);
        let series = Arc::clone(&series);
        Some(Box::new(move || write(&series, from, rows, is_last)) as Job)
    })
}

/// The next instant at which any series has a value, when those before these places are written.
fn next(series: &[Series], places: &[usize]) -> Option<Timestamp> {
    let waiting = series.iter().zip(places).filter(|(series, place)| **place < series.len());
    waiting.map(|(series, place)| series.time_of(*place)).min()
}

/// Goes on past an instant.
fn pass(series: &[Series], places: &mut [usize], instant: Timestamp) {
    for (series, place) in series.iter().zip(places) {
        *place += usize::from(is_at(series, *place, instant));
    }
}

fn is_at(series: &Series, place: usize, instant: Timestamp) -> bool {
    place < series.len() && series.time_of(place) == instant
}

fn write(series: &[Series], mut places: Vec<usize>, rows: usize, is_last: bool) -> Vec<u8> {
    if series.is_empty() {
        return b"{}".to_vec();
    }
    let mut out = Vec::new();
    let mut has_rows_before = places.iter().any(|place| *place > 0);
    if !has_rows_before {
        out.extend_from_slice(b"{\"labels\" : [\"Time\"");
        for one in series {
            out.extend_from_slice(b", ");
            json::push_text(&mut out, &one.name);
        }
        out.extend_from_slice(b"], \"data\" : [");
    }
    for _ in 0..rows {
        let Some(instant) = next(series, &places) else { break };
        // Writing to a vector never fails.
        let _ = write!(out, "{}[{}", if has_rows_before { ", " } else { "" }, instant.millis());
        for (one, place) in series.iter().zip(&places) {
            out.extend_from_slice(b", ");
            json::push_number(&mut out, if is_at(one, *place, instant) { one.values()[*place] } else { f64::NAN });
        }
        out.push(b']');
        has_rows_before = true;
        pass(series, &mut places, instant);
    }
    if is_last {
        out.extend_from_slice(b"]}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::listed::written;
    use super::super::tests::series;
    use super::*;

    #[test]
    fn a_row_holds_what_there_is_at_its_instant() {
        let list = vec![series("a", 60, 60, &[1.0, f64::NAN, f64::INFINITY]), series("b", 120, 120, &[2.0, 4.0])];
        let text = String::from_utf8(written(pieces(list))).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"labels" : ["Time", "a", "b"], "data" : [[60000, 1.0, null], [120000, null, 2.0], "#,
                "[180000, 1e9999, null], [240000, null, 4.0]]}"
            )
        );
        assert_eq!(written(pieces(Vec::new())), b"{}");
        let empty = String::from_utf8(written(pieces(vec![series("a", 60, 60, &[])]))).unwrap();
        assert_eq!(empty, r#"{"labels" : ["Time", "a"], "data" : []}"#);
    }

    #[test]
    fn pieces_make_a_whole() {
        let values: Vec<f64> = (0..20_000_u32).map(f64::from).collect();
        let list = || vec![series("a", 0, 60, &values), series("b", 0, 60, &values)];
        assert_eq!(pieces(list()).count(), 5);
        let read: serde_json::Value = serde_json::from_slice(&written(pieces(list()))).unwrap();
        let rows = read["data"].as_array().unwrap();
        assert_eq!(rows.len(), 20_000);
        assert!(rows.iter().enumerate().all(|(index, row)| row[0] == index * 60_000 && row[1] == row[2]));
    }
}
