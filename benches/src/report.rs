//! What is told at the end: tables, and a line a bar; and the file that keeps them.

use std::io::{self, Write};
use std::path::Path;

use crate::Error;

/// A table of texts, as wide as it needs to be.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one with a header.
    pub fn new(header: &[&str]) -> Self {
        Self { rows: vec![header.iter().map(|&name| name.to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let row: Vec<String> = cells.into_iter().collect();
        debug_assert_eq!(row.len(), self.rows[0].len(), "a cell for each column");
        self.rows.push(row);
    }

    /// As Markdown, which a terminal can show too.
    pub fn markdown(&self) -> String {
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            for (cell, width) in row.iter().zip(&widths) {
                text.push_str(&format!("| {cell:>width$} "));
            }
            text.push_str("|\n");
            if index == 0 {
                for width in &widths {
                    text.push_str(&format!("| {}: ", "-".repeat(width.saturating_sub(1))));
                }
                text.push_str("|\n");
            }
        }
        text
    }

    /// Prints it.
    pub fn print(&self) -> io::Result<()> {
        print(&self.markdown())
    }
}

/// A goal, and what was measured; smaller is better.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// `part.what`.
    pub name: String,
    /// What was measured; NaN when it could not be, which is short.
    pub value: f64,
    /// The most that it should be.
    pub goal: f64,
}

impl Bar {
    /// A bar.
    pub fn at_most(name: impl Into<String>, value: f64, goal: f64) -> Self {
        Self { name: name.into(), value, goal }
    }

    /// Whether the goal is reached.
    pub fn is_ok(&self) -> bool {
        self.value <= self.goal
    }

    /// The line that ends a run.
    pub fn line(&self) -> String {
        let verdict = if self.is_ok() { "ok" } else { "short" };
        format!("bar {} {} {} {verdict}", self.name, number(self.value), number(self.goal))
    }
}

/// A number with as many digits as it is worth.
pub fn number(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

/// The middle of numbers, or the mean of the two in the middle; NaN of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[length / 2],
        length => f64::midpoint(sorted[length / 2 - 1], sorted[length / 2]),
    }
}

/// Prints text.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Says what is going on, on standard error.
pub fn progress(text: &str) {
    // Nobody may be there to hear it.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Puts a section in the place of the one of the same name, or at the end.
///
/// # Errors
/// When the file cannot be read or written.
pub fn write_section(path: &Path, name: &str, body: &str) -> Result<(), Error> {
    let old = match std::fs::read_to_string(path) {
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("{}: {error}", path.display()).into()),
    };
    std::fs::write(path, with_section(&old, name, body)).map_err(|error| format!("{}: {error}", path.display()).into())
}

fn with_section(old: &str, name: &str, body: &str) -> String {
    let heading = format!("## {name}\n");
    let section = format!("{heading}\n{}\n", body.trim());
    let is_heading = |at: usize| at == 0 || old.as_bytes()[at - 1] == b'\n';
    let start = old.match_indices(&heading).map(|(at, _)| at).find(|&at| is_heading(at));
    let Some(start) = start else {
        let gap = if old.is_empty() || old.ends_with("\n\n") { "" } else { "\n" };
        return format!("{old}{gap}{section}");
    };
    let after = &old[start + heading.len()..];
    match after.find("\n## ") {
        Some(next) => format!("{}{section}{}", &old[..start], &after[next..]),
        None => format!("{}{section}", &old[..start]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_the_old_one_only() {
        let first = with_section("# Results\n", "statsd", "one\n");
        assert_eq!(first, "# Results\n\n## statsd\n\none\n");
        let both = with_section(&first, "store", "two");
        assert_eq!(both, "# Results\n\n## statsd\n\none\n\n## store\n\ntwo\n");
        let renewed = with_section(&both, "statsd", "### three\n\nx");
        assert_eq!(renewed, "# Results\n\n## statsd\n\n### three\n\nx\n\n## store\n\ntwo\n");
        assert_eq!(with_section(&renewed, "store", "two"), renewed);
    }

    #[test]
    fn a_bar_that_could_not_be_measured_is_short() {
        assert_eq!(Bar::at_most("statsd.loss", f64::NAN, 0.0).line(), "bar statsd.loss NaN 0 short");
        assert_eq!(Bar::at_most("statsd.loss", 0.0, 0.0).line(), "bar statsd.loss 0 0 ok");
        assert_eq!(Bar::at_most("statsd.ratio", 1.149_9, 1.15).line(), "bar statsd.ratio 1.150 1.150 ok");
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
