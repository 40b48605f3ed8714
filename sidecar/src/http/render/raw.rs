//! `format=raw`: a line for each series, `name,start,end,step|value,value,…`, a value that is missing written `None`.

use std::io::Write;

use statline_graphite::Series;

use super::listed::{Form, push_python};

/// graphite-web's text for scripts.
#[derive(Clone, Copy)]
pub struct Raw;

impl Form for Raw {
    fn write(self, out: &mut Vec<u8>, series: &Series) {
        let (start, end, step) = (series.start.seconds(), series.end().seconds(), series.step.seconds());
        // Writing to a vector never fails.
        let _ = write!(out, "{},{start},{end},{step:.0}|", series.name);
        for (index, value) in series.values().iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            if value.is_nan() {
                out.extend_from_slice(b"None");
            } else {
                push_python(out, *value);
            }
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::super::listed::{pieces, written};
    use super::super::tests::series;
    use super::*;

    #[test]
    fn values_are_pythons() {
        let list = vec![series("a", 60, 60, &[1.0, f64::NAN, 1e-7, f64::INFINITY]), series("b", 60, 10, &[])];
        let text = String::from_utf8(written(pieces(Raw, list))).unwrap();
        assert_eq!(text, "a,60,300,60|1.0,None,1e-07,inf\nb,60,60,10|\n");
    }
}
