//! `format=pickle` and `format=msgpack`: what servers of a cluster tell each other, a map for each series.

use serde::{Serialize, Serializer};
use statline_graphite::Series;

use super::super::stream::Job;
use super::listed::{self, Form};

/// A series as graphite-web tells other servers of it. Times are in seconds; a value that is missing is nothing.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info<'a> {
    name: &'a str,
    start: i64,
    end: i64,
    step: i64,
    values: Values<'a>,
    path_expression: &'a str,
    values_per_point: u8,
    consolidation_func: &'static str,
    x_files_factor: f64,
}

impl<'a> Info<'a> {
    fn of(series: &'a Series, x_files_factor: f64) -> Self {
        Self {
            name: &series.name,
            start: series.start.seconds(),
            end: series.end().seconds(),
            step: series.step.millis() / 1000,
            values: Values(series.values()),
            path_expression: &series.path_expression,
            values_per_point: 1,
            consolidation_func: series.effective_consolidation().as_str(),
            x_files_factor: series.x_files_factor.unwrap_or(x_files_factor),
        }
    }
}

struct Values<'a>(&'a [f64]);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|value| (!value.is_nan()).then_some(*value)))
    }
}

/// A pickle of all of them, in the protocol that every Python reads.
///
/// # Errors
/// When they cannot be written, which is a bug.
pub fn pickle(series: &[Series], x_files_factor: f64) -> Result<Vec<u8>, serde_pickle::Error> {
    let infos: Vec<Info<'_>> = series.iter().map(|one| Info::of(one, x_files_factor)).collect();
    serde_pickle::to_vec(&infos, serde_pickle::SerOptions::new().proto_v2())
}

/// An array of maps in MessagePack, a job for each piece.
pub fn msgpack(series: Vec<Series>, x_files_factor: f64) -> impl Iterator<Item = Job> + Send {
    // Limits on queries are far below what a length may be.
    let length = u32::try_from(series.len()).unwrap_or(u32::MAX);
    let head = move || [&[ARRAY_32][..], &length.to_be_bytes()].concat();
    [Box::new(head) as Job].into_iter().chain(listed::pieces(Packed { x_files_factor }, series))
}

/// The byte before the length of an array, four bytes.
const ARRAY_32: u8 = 0xdd;

/// A map in MessagePack.
#[derive(Clone, Copy)]
struct Packed {
    x_files_factor: f64,
}

impl Form for Packed {
    fn write(self, out: &mut Vec<u8>, series: &Series) {
        // Writing texts and numbers to a vector never fails.
        let _ = rmp_serde::encode::write_named(out, &Info::of(series, self.x_files_factor));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::listed::written;
    use super::super::tests::series;
    use super::*;

    #[test]
    fn both_forms_tell_the_same() {
        let list = vec![series("a", 60, 60, &[1.0, f64::NAN]), series("b", 0, 10, &[])];
        let info = |name: &str, start: i64, end: i64, step: i64, values: Value| {
            json!({
                "name": name, "start": start, "end": end, "step": step, "values": values, "pathExpression": name,
                "valuesPerPoint": 1, "consolidationFunc": "average", "xFilesFactor": 0.5,
            })
        };
        let expected = json!([info("a", 60, 180, 60, json!([1.0, null])), info("b", 0, 0, 10, json!([]))]);
        let pickled: Value = serde_pickle::from_slice(&pickle(&list, 0.5).unwrap(), Default::default()).unwrap();
        assert_eq!(pickled, expected);
        let packed: Value = rmp_serde::from_slice(&written(msgpack(list, 0.5))).unwrap();
        assert_eq!(packed, expected);
        let none: Value = rmp_serde::from_slice(&written(msgpack(Vec::new(), 0.0))).unwrap();
        assert_eq!(none, json!([]));
    }
}
