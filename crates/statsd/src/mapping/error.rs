//! What is wrong with a mapping file, in one line.

use std::fmt;

/// Where in a mapping file something is wrong, what, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingError {
    line: Option<usize>,
    mapping: Option<usize>,
    text: String,
}

impl MappingError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        // A piece of the file that is quoted in it must not break the line.
        let text = text.into().replace(char::is_control, " ");
        Self { line: None, mapping: None, text }
    }

    pub(super) fn at(line: usize, text: impl Into<String>) -> Self {
        Self { line: Some(line), ..Self::new(text) }
    }

    /// Says which of the mappings it is about, counted from 1.
    pub(super) fn in_mapping(mut self, number: usize) -> Self {
        self.mapping = Some(number);
        self
    }

    /// The line, from 1, where the file could be read so far.
    #[must_use]
    pub const fn line(&self) -> Option<usize> {
        self.line
    }

    /// The mapping, from 1, when it is about one.
    #[must_use]
    pub const fn mapping(&self) -> Option<usize> {
        self.mapping
    }
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.mapping) {
            (Some(line), Some(mapping)) => write!(f, "line {line}, mapping {mapping}: {}", self.text),
            (Some(line), None) => write!(f, "line {line}: {}", self.text),
            (None, Some(mapping)) => write!(f, "mapping {mapping}: {}", self.text),
            (None, None) => f.write_str(&self.text),
        }
    }
}

impl std::error::Error for MappingError {}
