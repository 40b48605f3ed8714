//! The forms of `/render` other than JSON: text, tables for plotting libraries, and what other Graphites read.

use std::io::Write;

use chrono::DateTime;
use chrono_tz::Tz;
use serde::Serialize;
use statline_graphite::Series;
use statline_series::Timestamp;

use super::json::push_repr;

/// What an answer is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `name,local time,value`, a line a point.
    Csv,
    /// `{"labels": […], "data": [[milliseconds, value, …], …]}`.
    Dygraph,
    /// `[{"target": …, "tags": …, "datapoints": [[value, seconds], …]}, …]`.
    Json,
    /// Maps in a list, in `MessagePack`.
    Msgpack,
    /// Dictionaries in a list, in Python's pickle.
    Pickle,
    /// `name,start,end,step|value,value,…`, a line a series.
    Raw,
    /// `[{"target": …, "datapoints": [{"x": seconds, "y": value}, …]}, …]`.
    Rickshaw,
}

impl Format {
    const ALL: [(&'static str, Self); 7] = [
        ("csv", Self::Csv),
        ("dygraph", Self::Dygraph),
        ("json", Self::Json),
        ("msgpack", Self::Msgpack),
        ("pickle", Self::Pickle),
        ("raw", Self::Raw),
        ("rickshaw", Self::Rickshaw),
    ];

    /// The format of a name; else a line that tells which there are.
    pub fn parse(name: &str) -> Result<Self, String> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, format)| *format).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|(known, _)| *known).collect();
            format!("format is {name:?}; expected {}", known.join(", "))
        })
    }

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv",
            Self::Dygraph | Self::Json | Self::Rickshaw => "application/json",
            Self::Msgpack => "application/x-msgpack",
            Self::Pickle => "application/pickle",
            Self::Raw => "text/plain; charset=utf-8",
        }
    }

    /// Whether points become fewer when there are more than `maxDataPoints`.
    pub const fn is_json(self) -> bool {
        matches!(self, Self::Json)
    }

    /// Whether it is a text that a script may load.
    pub const fn is_script(self) -> bool {
        matches!(self, Self::Dygraph | Self::Json | Self::Rickshaw)
    }
}

/// A series as other Graphites read it.
#[derive(Serialize)]
struct Described<'a> {
    name: &'a str,
    start: i64,
    end: i64,
    step: i64,
    values: Vec<Option<f64>>,
    #[serde(rename = "pathExpression")]
    path_expression: &'a str,
    #[serde(rename = "valuesPerPoint")]
    values_per_point: u8,
    #[serde(rename = "consolidationFunc")]
    consolidation: &'static str,
    #[serde(rename = "xFilesFactor")]
    x_files_factor: f64,
}

impl<'a> Described<'a> {
    fn new(series: &'a Series) -> Self {
        Self {
            name: &series.name,
            start: series.start.seconds(),
            end: series.end().seconds(),
            step: seconds_of_step(series),
            values: series.values().iter().map(|value| (!value.is_nan()).then_some(*value)).collect(),
            path_expression: &series.path_expression,
            values_per_point: 1,
            consolidation: series.effective_consolidation().as_str(),
            x_files_factor: series.x_files_factor.unwrap_or(0.0),
        }
    }
}

/// Writes series in any format but JSON.
///
/// # Errors
/// What the encoder of a binary format says.
pub fn write(series: &[Series], format: Format, zone: Tz) -> Result<Vec<u8>, String> {
    let described = || series.iter().map(Described::new).collect::<Vec<_>>();
    Ok(match format {
        Format::Csv => csv(series, zone),
        Format::Dygraph => dygraph(series),
        Format::Raw => raw(series),
        Format::Rickshaw | Format::Json => rickshaw(series),
        Format::Msgpack => rmp_serde::to_vec_named(&described()).map_err(|error| error.to_string())?,
        Format::Pickle => {
            serde_pickle::to_vec(&described(), serde_pickle::SerOptions::new()).map_err(|error| error.to_string())?
        }
    })
}

fn seconds_of_step(series: &Series) -> i64 {
    (series.step.millis() / 1000).max(1)
}

fn csv(series: &[Series], zone: Tz) -> Vec<u8> {
    let mut text = Vec::new();
    for one in series {
        let name = csv_field(&one.name);
        for point in one.points() {
            // Writing to memory never fails.
            let _ = write!(text, "{name},{},", local_text(point.timestamp, zone));
            if !point.value.is_nan() {
                push_python(&mut text, point.value);
            }
            text.extend_from_slice(b"\r\n");
        }
    }
    text
}

/// A field as spreadsheets read it: in quotes when it has what separates fields.
fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

fn raw(series: &[Series]) -> Vec<u8> {
    let mut text = Vec::new();
    for one in series {
        let (start, end) = (one.start.seconds(), one.end().seconds());
        let _ = write!(text, "{},{start},{end},{}|", one.name, seconds_of_step(one));
        for (index, value) in one.values().iter().enumerate() {
            if index > 0 {
                text.push(b',');
            }
            if value.is_nan() {
                text.extend_from_slice(b"None");
            } else {
                push_python(&mut text, *value);
            }
        }
        text.push(b'\n');
    }
    text
}

/// Rows by the instants of the first series, as the library wants them; a series without a value there has null.
fn dygraph(series: &[Series]) -> Vec<u8> {
    let Some(first) = series.first() else { return b"{}".to_vec() };
    let mut text = b"{\"labels\" : [\"Time\"".to_vec();
    for one in series {
        text.extend_from_slice(b", ");
        push_json_text(&mut text, &one.name);
    }
    text.extend_from_slice(b"], \"data\" : [");
    for (row, point) in first.points().enumerate() {
        let _ = write!(text, "{}[{}", if row > 0 { ", " } else { "" }, point.timestamp.millis());
        for one in series {
            let past = point.timestamp.millis().saturating_sub(one.start.millis());
            let index = usize::try_from(past.div_euclid(one.step.millis())).ok();
            let value = index.and_then(|index| one.values().get(index)).copied().unwrap_or(f64::NAN);
            text.extend_from_slice(b", ");
            match value {
                value if value.is_nan() => text.extend_from_slice(b"null"),
                f64::INFINITY => text.extend_from_slice(b"Infinity"),
                f64::NEG_INFINITY => text.extend_from_slice(b"-Infinity"),
                value => push_python(&mut text, value),
            }
        }
        text.push(b']');
    }
    text.extend_from_slice(b"]}");
    text
}

fn rickshaw(series: &[Series]) -> Vec<u8> {
    let mut text = b"[".to_vec();
    for (index, one) in series.iter().enumerate() {
        text.extend_from_slice(if index > 0 { &b", {\"target\": "[..] } else { b"{\"target\": " });
        push_json_text(&mut text, &one.name);
        text.extend_from_slice(b", \"datapoints\": [");
        for (index, point) in one.points().enumerate() {
            let _ =
                write!(text, "{}{{\"x\": {}, \"y\": ", if index > 0 { ", " } else { "" }, point.timestamp.seconds());
            if point.value.is_finite() {
                push_python(&mut text, point.value);
            } else {
                text.extend_from_slice(if point.value.is_nan() { &b"null"[..] } else { b"1e9999" });
            }
            text.push(b'}');
        }
        text.extend_from_slice(b"]}");
    }
    text.push(b']');
    text
}

fn push_json_text(text: &mut Vec<u8>, value: &str) {
    // A text always serialises.
    let _ = serde_json::to_writer(text, value);
}

/// A number as Python writes it.
fn push_python(text: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        push_repr(text, value);
    } else {
        text.extend_from_slice(if value > 0.0 { &b"inf"[..] } else { b"-inf" });
    }
}

/// What the clocks of a zone show.
fn local_text(instant: Timestamp, zone: Tz) -> String {
    match DateTime::from_timestamp_millis(instant.millis()) {
        Some(instant) => instant.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S").to_string(),
        None => instant.seconds().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statline_series::{Step, Timestamp};

    fn two() -> Vec<Series> {
        let start = Timestamp::from_seconds(1_700_000_040);
        let step = Step::from_seconds(60).unwrap();
        vec![
            Series::new("a, \"b\"".to_owned(), start, step, vec![1.0, f64::NAN, 1e20]),
            Series::new("c".to_owned(), start.offset(60_000), step, vec![0.1, f64::INFINITY]),
        ]
    }

    fn text(format: Format) -> String {
        String::from_utf8(write(&two(), format, Tz::Europe__Berlin).unwrap()).unwrap()
    }

    #[test]
    fn texts_are_those_of_graphite() {
        assert_eq!(
            text(Format::Csv),
            "\"a, \"\"b\"\"\",2023-11-14 23:14:00,1.0\r\n\"a, \"\"b\"\"\",2023-11-14 23:15:00,\r\n\
             \"a, \"\"b\"\"\",2023-11-14 23:16:00,1e+20\r\nc,2023-11-14 23:15:00,0.1\r\nc,2023-11-14 23:16:00,inf\r\n"
        );
        assert_eq!(
            text(Format::Raw),
            "a, \"b\",1700000040,1700000220,60|1.0,None,1e+20\nc,1700000100,1700000220,60|0.1,inf\n"
        );
        assert_eq!(
            text(Format::Dygraph),
            "{\"labels\" : [\"Time\", \"a, \\\"b\\\"\", \"c\"], \"data\" : [[1700000040000, 1.0, null], \
             [1700000100000, null, 0.1], [1700000160000, 1e+20, Infinity]]}"
        );
        assert_eq!(write(&[], Format::Dygraph, Tz::UTC).unwrap(), b"{}");
        let rickshaw: serde_json::Value = serde_json::from_str(&text(Format::Rickshaw).replace("1e9999", "1")).unwrap();
        assert_eq!(rickshaw[0]["datapoints"][1], serde_json::json!({ "x": 1_700_000_100, "y": null }));
    }

    #[test]
    fn binary_forms_read_back() {
        let packed = write(&two(), Format::Msgpack, Tz::UTC).unwrap();
        let read: serde_json::Value = rmp_serde::from_slice(&packed).unwrap();
        assert_eq!(read[0]["values"], serde_json::json!([1.0, null, 1e20]));
        assert_eq!((&read[0]["step"], &read[1]["name"]), (&serde_json::json!(60), &serde_json::json!("c")));
        let pickled = write(&two(), Format::Pickle, Tz::UTC).unwrap();
        let read: serde_json::Value = serde_pickle::from_slice(&pickled, serde_pickle::DeOptions::new()).unwrap();
        assert_eq!(read[0]["consolidationFunc"], "average");
        assert_eq!(read[0]["end"], 1_700_000_220);
    }

    #[test]
    fn an_unknown_format_is_told_which_there_are() {
        assert_eq!(
            Format::parse("pdf"),
            Err("format is \"pdf\"; expected csv, dygraph, json, msgpack, pickle, raw, rickshaw".to_owned())
        );
    }
}
