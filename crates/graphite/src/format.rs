//! Python's `%` for one number, as `aliasQuery` puts a value into a name: `Channel %d MHz`, `%.2f%%`.

use std::fmt::Write as _;

use crate::numbers;

/// The widest field and the most decimals.
const MOST_WIDTH: usize = 255;

/// A text with a place for one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    before: String,
    place: Place,
    after: String,
}

/// How the number is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    left: bool,
    zeros: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
    kind: char,
}

impl Format {
    /// Reads a format.
    ///
    /// # Errors
    /// With what is wrong: no place or more than one, or one that is for no number.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (mut before, mut after, mut place) = (String::new(), String::new(), None);
        let mut rest = text;
        while let Some(percent) = rest.find('%') {
            let side = if place.is_none() { &mut before } else { &mut after };
            side.push_str(&rest[..percent]);
            rest = &rest[percent + 1..];
            if let Some(literal) = rest.strip_prefix('%') {
                side.push('%');
                rest = literal;
                continue;
            }
            if place.is_some() {
                return Err(format!("{text:?} has more than one place for a value"));
            }
            let (found, behind) = Place::parse(rest).ok_or_else(|| {
                format!("{text:?} has a % that is followed by no format of a number, such as %d or %.2f")
            })?;
            place = Some(found);
            rest = behind;
        }
        let Some(place) = place else {
            return Err(format!("{text:?} has no place for a value, such as %d"));
        };
        after.push_str(rest);
        Ok(Self { before, place, after })
    }

    /// The text with a number in its place.
    pub(crate) fn fill(&self, value: f64) -> String {
        format!("{}{}{}", self.before, self.place.write(value), self.after)
    }
}

impl Place {
    /// What follows a `%`, and what follows that.
    fn parse(text: &str) -> Option<(Self, &str)> {
        let mut place = Self::default();
        let mut rest = text;
        loop {
            let flag = rest.chars().next()?;
            match flag {
                '-' => place.left = true,
                '0' => place.zeros = true,
                '+' => place.plus = true,
                ' ' => place.space = true,
                '#' => place.alternate = true,
                _ => break,
            }
            rest = &rest[1..];
        }
        (place.width, rest) = number(rest)?;
        if let Some(after_point) = rest.strip_prefix('.') {
            let (precision, behind) = number(after_point)?;
            place.precision = Some(precision);
            rest = behind;
        }
        rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
        place.kind = rest.chars().next().filter(|kind| "diufFeEgGsra".contains(*kind))?;
        Some((place, &rest[1..]))
    }

    fn write(&self, value: f64) -> String {
        let digits = match self.kind {
            's' | 'r' | 'a' => {
                let shown = numbers::repr(value);
                return self.pad(&match self.precision {
                    Some(most) => shown.chars().take(most).collect(),
                    None => shown,
                });
            }
            _ if !value.is_finite() => numbers::general(value.abs()),
            'd' | 'i' | 'u' => {
                let whole = format!("{:.0}", value.abs().trunc());
                format!("{whole:0>width$}", width = self.precision.unwrap_or(0))
            }
            'f' | 'F' => format!("{:.*}", self.precision.unwrap_or(6), value.abs()),
            'e' | 'E' => numbers::scientific(value.abs(), self.precision.unwrap_or(6)),
            _ => numbers::general_to(value.abs(), self.precision.unwrap_or(6), self.alternate),
        };
        let digits = if self.kind.is_uppercase() { digits.to_uppercase() } else { digits };
        let is_whole = "diu".contains(self.kind);
        let is_negative = if is_whole { value.trunc() < 0.0 } else { value.is_sign_negative() && !value.is_nan() };
        let sign = match (is_negative, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            (false, false, false) => "",
        };
        if self.zeros && !self.left {
            let room = self.width.saturating_sub(sign.len());
            return format!("{sign}{digits:0>room$}");
        }
        self.pad(&format!("{sign}{digits}"))
    }

    fn pad(&self, text: &str) -> String {
        let width = self.width;
        let mut padded = String::new();
        let _ = if self.left { write!(padded, "{text:<width$}") } else { write!(padded, "{text:>width$}") };
        padded
    }
}

/// A number at the start of a text, 0 when there is none, and what follows it.
fn number(text: &str) -> Option<(usize, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    let number = if number.is_empty() { 0 } else { number.parse().ok().filter(|number| *number <= MOST_WIDTH)? };
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_python_writes_it() {
        for (format, value, expected) in [
            ("Channel %d MHz", 2412.9, "Channel 2412 MHz"),
            ("%d", -0.5, "0"),
            ("%i%%", -7.5, "-7%"),
            ("%5d|", 42.0, "   42|"),
            ("%-5d|", 42.0, "42   |"),
            ("%05d", -42.0, "-0042"),
            ("%+d", 42.0, "+42"),
            ("% d", 42.0, " 42"),
            ("%.4d", 42.0, "0042"),
            ("%f", 0.1, "0.100000"),
            ("%.2f", 2.675, "2.67"),
            ("%8.1f|", 2.25, "     2.2|"),
            ("%e", 12345.678, "1.234568e+04"),
            ("%.0E", 0.00025, "3E-04"),
            ("%g", 1e6, "1e+06"),
            ("%g", 0.5, "0.5"),
            ("%.3g", 1234.0, "1.23e+03"),
            ("%#.3g", 1.0, "1.00"),
            ("%G", 1e-7, "1E-07"),
            ("%s", 3.0, "3.0"),
            ("%r", 1e16, "1e+16"),
            ("%.2s|", 3.0, "3.|"),
            ("%5s|", 3.0, "  3.0|"),
            ("%d", f64::INFINITY, "inf"),
            ("%F", f64::NEG_INFINITY, "-INF"),
            ("%ld", 5.0, "5"),
        ] {
            assert_eq!(Format::parse(format).unwrap().fill(value), expected, "{format} of {value}");
        }
    }

    #[test]
    fn what_is_no_format_is_told() {
        for (format, reason) in [
            ("plain", "\"plain\" has no place for a value, such as %d"),
            ("%d %d", "\"%d %d\" has more than one place for a value"),
            ("100%", "\"100%\" has a % that is followed by no format of a number, such as %d or %.2f"),
            ("%x", "\"%x\" has a % that is followed by no format of a number, such as %d or %.2f"),
            ("%999d", "\"%999d\" has a % that is followed by no format of a number, such as %d or %.2f"),
        ] {
            assert_eq!(Format::parse(format).unwrap_err(), reason);
        }
    }
}
