//! A series in the middle of an evaluation: a name, tags, and a column of values on a regular grid.
//!
//! Values are shared until somebody changes them, so that renaming, sorting and filtering cost nothing a point.

use std::collections::BTreeMap;
use std::sync::Arc;

use statline_series::{Consolidation, Kind, Point, SeriesKey, Step, Timestamp};

use crate::numbers;

/// What graphite-web takes the name of a series without one for.
pub(crate) const NAMELESS: &str = "None";

/// Which values are whole numbers to graphite-web.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whole {
    None,
    Zeros,
    All,
}

/// A column of values with all that a target says about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What a legend shows.
    pub name: String,
    /// The path, or the call, that it came of; aggregates are named after these.
    pub path_expression: String,
    /// Graphite's tags: `name`, the tags proper, and what functions note about themselves.
    pub tags: BTreeMap<String, String>,
    /// What the values mean.
    pub kind: Kind,
    /// How its points become fewer, when the target says so.
    pub consolidation: Option<Consolidation>,
    /// How much of a bucket must be present, when the target says so.
    pub x_files_factor: Option<f64>,
    /// The instant of the first value.
    pub start: Timestamp,
    /// The spacing.
    pub step: Step,
    /// How it is to be drawn: `color`, `alpha`, `lineWidth` and so on, as Graphite names them.
    pub options: BTreeMap<&'static str, String>,
    /// Where graphite-web says that it ends, when that is not where its last value does.
    pub(crate) said_end: Option<Timestamp>,
    /// Whether it is one value that holds everywhere, whatever its grid.
    pub(crate) constant: bool,
    /// Which of its values are whole numbers to graphite-web, which writes `0` in names and tags where others are `0.0`.
    whole: Whole,
    /// Whether it was made without a name, which graphite-web takes for `None` where it makes another name of it.
    pub(crate) nameless: bool,
    values: Arc<Vec<f64>>,
}

impl Series {
    /// A series whose path expression is its name.
    #[must_use]
    pub fn new(name: String, start: Timestamp, step: Step, values: Vec<f64>) -> Self {
        Self {
            path_expression: name.clone(),
            tags: tags_of(&name),
            name,
            kind: Kind::Untyped,
            consolidation: None,
            x_files_factor: None,
            start,
            step,
            options: BTreeMap::new(),
            said_end: None,
            constant: false,
            whole: Whole::None,
            nameless: false,
            values: Arc::new(values),
        }
    }

    /// Whether it has no name, though `name` says `None`: so it is with some of graphite-web's series.
    #[must_use]
    pub fn is_nameless(&self) -> bool {
        self.nameless && self.name == NAMELESS
    }

    /// The values in order; a missing one is NaN.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The values, taken out.
    #[must_use]
    pub fn into_values(self) -> Vec<f64> {
        Arc::unwrap_or_clone(self.values)
    }

    /// How many values there are, missing ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The instant of a value, or where it would be.
    #[must_use]
    pub fn time_of(&self, index: usize) -> Timestamp {
        self.start.offset(self.step.millis().saturating_mul(i64::try_from(index).unwrap_or(i64::MAX)))
    }

    /// The instant at which the next value would be, or that graphite-web takes for it.
    #[must_use]
    pub fn end(&self) -> Timestamp {
        self.said_end.unwrap_or_else(|| self.time_of(self.len()))
    }

    /// Where its grid begins, and its spacing.
    pub(crate) const fn grid(&self) -> (Timestamp, Step) {
        (self.start, self.step)
    }

    /// The values with their instants.
    pub fn points(&self) -> impl Iterator<Item = Point> + '_ {
        self.values().iter().enumerate().map(|(index, value)| Point { timestamp: self.time_of(index), value: *value })
    }

    /// How its points become fewer: as the target says, else as its kind has it.
    #[must_use]
    pub fn effective_consolidation(&self) -> Consolidation {
        self.consolidation.unwrap_or_else(|| self.kind.default_consolidation())
    }

    /// Puts other values on the same grid or another.
    pub(crate) fn set_values(&mut self, values: Vec<f64>) {
        self.whole = Whole::None;
        self.values = Arc::new(values);
    }

    /// Shares a column that exists already.
    pub(crate) fn share_values(&mut self, values: Arc<Vec<f64>>) {
        self.values = values;
    }

    /// The values, to be changed in place.
    pub(crate) fn values_mut(&mut self) -> &mut [f64] {
        self.whole = Whole::None;
        Arc::make_mut(&mut self.values).as_mut_slice()
    }

    /// Says that all values, which have just been put here, are whole numbers.
    pub(crate) const fn set_whole(&mut self, are_whole: bool) {
        self.whole = if are_whole { Whole::All } else { Whole::None };
    }

    /// Says that the zeros, which have just been put here, are whole numbers.
    pub(crate) const fn set_zeros_whole(&mut self) {
        self.whole = Whole::Zeros;
    }

    /// One of its values as graphite-web writes it.
    pub(crate) fn written(&self, value: f64) -> String {
        let is_whole = self.whole == Whole::All || self.whole == Whole::Zeros && value == 0.0;
        match numbers::repr(value) {
            exact if is_whole => exact.strip_suffix(".0").unwrap_or(&exact).to_owned(),
            exact => exact,
        }
    }

    /// Applies a function to each value that is present.
    pub(crate) fn map(&mut self, apply: impl Fn(f64) -> f64) {
        for value in self.values_mut() {
            if !value.is_nan() {
                *value = apply(*value);
            }
        }
    }

    /// Leaves out the first values.
    pub(crate) fn drop_first(&mut self, count: usize) {
        let count = count.min(self.len());
        self.start = self.time_of(count);
        if count > 0 {
            self.values = Arc::new(self.values[count..].to_vec());
        }
    }

    /// Leaves out all values but the first so many.
    pub(crate) fn keep_first(&mut self, count: usize) {
        if count < self.len() {
            self.values = Arc::new(self.values[..count].to_vec());
        }
    }

    /// Leaves out the values behind its end, where graphite-web says another than the last value's.
    pub(crate) fn keep_before_end(&mut self) {
        let Some(end) = self.said_end.take() else { return };
        let length = end.millis().saturating_sub(self.start.millis()).max(0);
        let count = length / self.step.millis() + i64::from(length % self.step.millis() > 0);
        self.keep_first(usize::try_from(count).unwrap_or(usize::MAX));
    }

    /// Leaves out the values up to an instant, itself included.
    pub(crate) fn drop_until(&mut self, instant: Timestamp) {
        let past = instant.millis().saturating_sub(self.start.millis());
        let count = past.div_euclid(self.step.millis()).saturating_add(1);
        self.drop_first(usize::try_from(count).unwrap_or(0));
    }

    /// Gives it a name that is its path expression too.
    pub(crate) fn rename(&mut self, name: String) {
        self.path_expression.clone_from(&name);
        self.name = name;
    }

    /// Notes a tag, as functions do about themselves.
    pub(crate) fn note(&mut self, tag: &str, value: impl Into<String>) {
        self.tags.insert(tag.to_owned(), value.into());
    }

    /// One value out of all of them. What counts missing values has one where all are missing.
    pub(crate) fn summary(&self, how: Consolidation) -> f64 {
        match how {
            Consolidation::Count => self.present() as f64,
            Consolidation::AvgZero if self.present() == 0 && !self.is_empty() => 0.0,
            _ => crate::aggregate::row(how, self.values()),
        }
    }

    /// How many values are present.
    pub(crate) fn present(&self) -> usize {
        self.values().iter().filter(|value| !value.is_nan()).count()
    }

    /// What it takes to hold it, in units of one value.
    pub(crate) fn weight(&self) -> usize {
        let tags: usize = self.tags.iter().map(|(tag, value)| tag.len() + value.len()).sum();
        self.len() + (self.name.len() + self.path_expression.len() + tags) / 8
    }
}

/// The tags that a name tells, `name` among them.
fn tags_of(name: &str) -> BTreeMap<String, String> {
    let key = if name.contains(';') && !name.ends_with(')') { SeriesKey::parse(name).ok() } else { None };
    let Some(key) = key else { return BTreeMap::from([("name".to_owned(), name.to_owned())]) };
    let mut tags: BTreeMap<String, String> =
        key.tags().map(|(tag, value)| (tag.to_owned(), value.into_owned())).collect();
    tags.entry("name".to_owned()).or_insert_with(|| key.name().to_owned());
    tags
}
