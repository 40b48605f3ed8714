//! The lines of an export: each a JSON object with points of one series, sketches of one series, or an event.
//!
//! A value is a number, or `"inf"`, `"-inf"` or `"nan"`. A sketch is the hexadecimal digits of its bytes, which
//! `docs/format/sketch.md` lays out. Every double reads back bit for bit.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};
use statline_series::{Batch, Event, Kind, SeriesKey, Sketch, Timestamp};

/// Writes points of one series as a line.
pub fn push_points(out: &mut String, key: &SeriesKey, kind: Kind, points: impl Iterator<Item = (Timestamp, f64)>) {
    push_key(out, key);
    out.push_str(",\"kind\":");
    push_json(out, &kind);
    out.push_str(",\"points\":[");
    for (place, (timestamp, value)) in points.enumerate() {
        out.push_str(if place > 0 { ",[" } else { "[" });
        // Writing to a string never fails.
        let _ = write!(out, "{},", timestamp.millis());
        push_value(out, value);
        out.push(']');
    }
    out.push_str("]}\n");
}

/// Writes sketches of one series as a line.
pub fn push_sketches(out: &mut String, key: &SeriesKey, sketches: &[(Timestamp, Sketch)]) {
    push_key(out, key);
    out.push_str(",\"sketches\":[");
    let mut bytes = Vec::new();
    for (place, (timestamp, sketch)) in sketches.iter().enumerate() {
        bytes.clear();
        sketch.encode(&mut bytes);
        out.push_str(if place > 0 { ",[" } else { "[" });
        let _ = write!(out, "{},\"", timestamp.millis());
        for byte in &bytes {
            let _ = write!(out, "{byte:02x}");
        }
        out.push_str("\"]");
    }
    out.push_str("]}\n");
}

/// Writes an event as a line.
pub fn push_event(out: &mut String, event: &Event) {
    let Event { timestamp, title, text, tags, attributes } = event;
    let _ = write!(out, "{{\"event\":{{\"time\":{},\"title\":", timestamp.millis());
    push_json(out, title);
    out.push_str(",\"text\":");
    push_json(out, text);
    out.push_str(",\"tags\":");
    push_json(out, tags);
    out.push_str(",\"attributes\":");
    push_json(out, attributes);
    out.push_str("}}\n");
}

fn push_key(out: &mut String, key: &SeriesKey) {
    out.push_str("{\"name\":");
    push_json(out, &key.name());
    out.push_str(",\"tags\":{");
    for (place, (tag, value)) in key.tags().enumerate() {
        if place > 0 {
            out.push(',');
        }
        push_json(out, &tag);
        out.push(':');
        push_json(out, &value);
    }
    out.push('}');
}

fn push_value(out: &mut String, value: f64) {
    if value.is_nan() {
        out.push_str("\"nan\"");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "\"inf\"" } else { "\"-inf\"" });
    } else {
        let _ = write!(out, "{value:?}");
    }
}

fn push_json(out: &mut String, value: &impl serde::Serialize) {
    // What is put in here always serialises.
    out.push_str(&serde_json::to_string(value).unwrap_or_default());
}

/// A line as it is read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    #[serde(default)]
    kind: Kind,
    points: Option<Vec<(i64, Value)>>,
    sketches: Option<Vec<(i64, String)>>,
    event: Option<EventLine>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine {
    time: i64,
    title: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    attributes: Vec<(String, String)>,
}

/// Reads a line, and puts what it holds into a batch: all of it, or nothing.
///
/// # Errors
/// When the line is wrong: what is, and what would be right.
pub fn read(text: &[u8], batch: &mut Batch) -> Result<(), String> {
    let line: Line = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let Line { name, tags, kind, points, sketches, event } = line;
    match (name, points, sketches, event) {
        (None, None, None, Some(event)) => {
            let EventLine { time, title, text, tags, mut attributes } = event;
            attributes.sort();
            let timestamp = Timestamp::from_millis(time);
            batch.events.push(Event { timestamp, title, text, tags, attributes });
            Ok(())
        }
        (Some(name), Some(points), None, None) => {
            let key = key_of(&name, &tags)?;
            for (millis, Value(value)) in points {
                batch.push(key.clone(), kind, Timestamp::from_millis(millis), value);
            }
            Ok(())
        }
        (Some(name), None, Some(sketches), None) => {
            let key = key_of(&name, &tags)?;
            let decoded = sketches.into_iter().map(|(millis, digits)| {
                let sketch = bytes_of(&digits).ok_or("a sketch is an even number of hexadecimal digits".to_owned())?;
                let sketch = Sketch::decode(&sketch).map_err(|error| error.to_string())?;
                Ok((Timestamp::from_millis(millis), sketch))
            });
            for (timestamp, sketch) in decoded.collect::<Result<Vec<_>, String>>()? {
                batch.push_sketch(key.clone(), timestamp, sketch);
            }
            Ok(())
        }
        _ => Err("a line has a name with points or sketches, or an event".to_owned()),
    }
}

fn key_of(name: &str, tags: &BTreeMap<String, String>) -> Result<SeriesKey, String> {
    let mut tags: Vec<(&str, &str)> = tags.iter().map(|(tag, value)| (tag.as_str(), value.as_str())).collect();
    SeriesKey::from_parts(name, &mut tags).map_err(|error| error.to_string())
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(u8::try_from(char::from(*high).to_digit(16)? * 16 + char::from(*low).to_digit(16)?).ok()?),
        _ => None,
    };
    pairs.map(byte).collect()
}

/// A double, in JSON a number or one of the texts for those that JSON has no number for.
#[derive(Debug)]
struct Value(f64);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl Visitor<'_> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, \"inf\", \"-inf\" or \"nan\"")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "a value is a double")]
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "a value is a double")]
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value(value as f64))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        match text {
            "inf" => Ok(Value(f64::INFINITY)),
            "-inf" => Ok(Value(f64::NEG_INFINITY)),
            "nan" => Ok(Value(f64::NAN)),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_back(line: &str) -> Batch {
        let mut batch = Batch::default();
        read(line.trim_end().as_bytes(), &mut batch).unwrap();
        batch
    }

    #[test]
    fn lines_look_as_documented() {
        let ms = Timestamp::from_millis;
        let mut out = String::new();
        let key = SeriesKey::parse("http.time;host=web\\;1;dc=a").unwrap();
        let values = [(ms(1000), 5.0), (ms(2000), -0.25), (ms(3000), f64::INFINITY), (ms(4000), f64::NEG_INFINITY)];
        push_points(&mut out, &key, Kind::Gauge, values.into_iter());
        let mut sketch = Sketch::new();
        sketch.add(1.0, 1.0);
        push_sketches(&mut out, &SeriesKey::parse("t").unwrap(), &[(ms(5), sketch.clone())]);
        let mut event = Event::new(ms(7), "deployed".to_owned(), "3\n4".to_owned());
        event.tags.push("bot".to_owned());
        event.attributes.push(("host".to_owned(), "web1".to_owned()));
        push_event(&mut out, &event);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"name":"http.time","tags":{"dc":"a","host":"web;1"},"kind":"gauge","points":[[1000,5.0],[2000,-0.25],[3000,"inf"],[4000,"-inf"]]}"#
        );
        assert!(lines[1].starts_with(r#"{"name":"t","tags":{},"sketches":[[5,"0100000000000000f03f"#), "{}", lines[1]);
        assert_eq!(
            lines[2],
            r#"{"event":{"time":7,"title":"deployed","text":"3\n4","tags":["bot"],"attributes":[["host","web1"]]}}"#
        );
        assert_eq!(read_back(lines[0]).rows.len(), 4);
        assert_eq!(read_back(lines[0]).rows[3].key, key);
        assert_eq!(read_back(lines[1]).sketches[0].sketch, sketch);
        assert_eq!(read_back(lines[2]).events, [event]);
    }

    #[test]
    fn a_bad_line_says_what_is_wrong_and_leaves_nothing() {
        for (line, expected) in [
            ("", "EOF while parsing"),
            ("[]", "invalid length 0, expected struct Line"),
            ("{}", "a line has a name with points or sketches, or an event"),
            (r#"{"name":"a","points":[],"sketches":[]}"#, "a line has a name with points or sketches"),
            (r#"{"name":"a","value":1}"#, "unknown field `value`"),
            (r#"{"name":"","points":[[1,1]]}"#, "a series needs a name"),
            (r#"{"name":"a","tags":{"x":""},"points":[[1,1]]}"#, "the value of tag \"x\" is empty"),
            (r#"{"name":"a","points":[[1,null]]}"#, "expected a number, \"inf\", \"-inf\" or \"nan\""),
            (r#"{"name":"a","points":[[1,"x"]]}"#, "expected a number, \"inf\", \"-inf\" or \"nan\""),
            (r#"{"name":"a","points":[[1.5,1]]}"#, "expected i64"),
            (r#"{"name":"a","kind":"x","points":[[1,1]]}"#, "unknown variant `x`"),
            (r#"{"name":"a","sketches":[[1,"01"],[2,"0"]]}"#, "a sketch of 1 bytes ends in the middle"),
            (r#"{"name":"a","sketches":[[1,"0"]]}"#, "a sketch is an even number of hexadecimal digits"),
            (r#"{"event":{"title":"x"}}"#, "missing field `time`"),
        ] {
            let mut batch = Batch::default();
            let error = read(line.as_bytes(), &mut batch).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
            assert!(batch.is_empty(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn every_double_and_name_reads_back(value: f64, millis: i64, name in "[^;]{1,20}", tag in "[^;!^=]{1,8}", content in "[^~].{0,8}") {
            let Ok(key) = SeriesKey::from_parts(&name, &mut [(&tag, &content)]) else { return Ok(()) };
            let mut out = String::new();
            push_points(&mut out, &key, Kind::Count, [(Timestamp::from_millis(millis), value)].into_iter());
            prop_assert_eq!(out.lines().count(), 1);
            let batch = read_back(&out);
            let row = &batch.rows[0];
            prop_assert_eq!((&row.key, row.kind, row.point.timestamp.millis()), (&key, Kind::Count, millis));
            prop_assert!(row.point.value.to_bits() == value.to_bits() || (value.is_nan() && row.point.value.is_nan()));
        }

        #[test]
        fn no_line_panics(line in ".*") {
            let _ = read(line.as_bytes(), &mut Batch::default());
        }
    }
}
