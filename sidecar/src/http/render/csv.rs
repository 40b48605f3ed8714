//! `format=csv`: a line for each point, with its time as the clocks of a zone show it.

use chrono::{DateTime, Datelike, Timelike};
use chrono_tz::Tz;
use statline_graphite::Series;

use super::listed::{Form, push_python};

/// `name,2026-11-28 07:15:00,value`, the value left out where there is none.
#[derive(Clone, Copy)]
pub struct Csv {
    /// Whose clocks.
    pub zone: Tz,
}

impl Form for Csv {
    fn write(self, out: &mut Vec<u8>, series: &Series) {
        let name = field(&series.name);
        for point in series.points() {
            out.extend_from_slice(name.as_bytes());
            out.push(b',');
            out.extend_from_slice(self.clock(point.timestamp.millis()).as_bytes());
            out.push(b',');
            if !point.value.is_nan() {
                push_python(out, point.value);
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl Csv {
    fn clock(&self, millis: i64) -> String {
        // An instant beyond the calendar of the crate has no date; none that a query may ask for is.
        let time = DateTime::from_timestamp_millis(millis).unwrap_or_default().with_timezone(&self.zone);
        format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            time.year(),
            time.month(),
            time.day(),
            time.hour(),
            time.minute(),
            time.second()
        )
    }
}

/// A text as a field, in quotes where it needs them.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::listed::{pieces, written};
    use super::super::tests::series;
    use super::*;

    #[test]
    fn times_are_those_of_the_zone_and_names_are_quoted() {
        let list = vec![series("a", 1_700_000_040, 60, &[1.0, f64::NAN]), series("f(a,\"b\")", 0, 60, &[1e16])];
        let text = String::from_utf8(written(pieces(Csv { zone: Tz::Europe__Berlin }, list))).unwrap();
        assert_eq!(
            text,
            "a,2023-11-14 23:14:00,1.0\r\na,2023-11-14 23:15:00,\r\n\"f(a,\"\"b\"\")\",1970-01-01 01:00:00,1e+16\r\n"
        );
    }
}
