//! Series one after the other, which most forms of an answer are.

use statline_graphite::Series;

use super::super::stream::Pieces;

/// A form in which each series is written by itself.
pub trait Form: Send + 'static {
    /// What stands before the first series.
    const BEFORE: &'static str = "";
    /// What stands between two.
    const BETWEEN: &'static str = "";
    /// What stands after the last one.
    const AFTER: &'static str = "";

    /// Writes a series.
    fn write(&self, out: &mut Vec<u8>, series: &Series);
}

/// Series in a form; each is let go once it is written.
pub struct Listed<F> {
    form: F,
    series: std::vec::IntoIter<Series>,
    has_begun: bool,
}

impl<F: Form> Listed<F> {
    /// These series, none written yet.
    pub fn new(form: F, series: Vec<Series>) -> Self {
        Self { form, series: series.into_iter(), has_begun: false }
    }
}

impl<F: Form> Pieces for Listed<F> {
    fn next(&mut self, out: &mut Vec<u8>) -> bool {
        let before = if self.has_begun { F::BETWEEN } else { F::BEFORE };
        self.has_begun = true;
        out.extend_from_slice(before.as_bytes());
        if let Some(series) = self.series.next() {
            self.form.write(out, &series);
        }
        let more = !self.series.as_slice().is_empty();
        if !more {
            out.extend_from_slice(F::AFTER.as_bytes());
        }
        more
    }
}

/// All of an answer at once.
#[cfg(test)]
pub fn written(mut pieces: impl Pieces) -> Vec<u8> {
    let mut out = Vec::new();
    while pieces.next(&mut out) {}
    out
}
