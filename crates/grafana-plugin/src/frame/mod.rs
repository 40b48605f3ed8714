//! A frame: a table of named, typed columns with facts about it. It is the answer to a query.
//!
//! A [`Frame`] holds Arrow arrays, and only of the types that Grafana reads, since one field of another type spoils the
//! whole response for the panel; [`Field::from_array`] is the gate. On the wire a frame is an Arrow IPC file
//! ([`Frame::encode`]), in live channels JSON ([`Frame::to_json`]).
//!
//! * [`field`]: one column with its labels and display settings
//! * [`meta`]: what a frame says about itself
//! * `arrow` and `json`: the two forms on the wire

mod arrow;
pub mod field;
mod json;
pub mod meta;

pub use field::{DataLink, Field, FieldConfig, Labels};
pub use json::JsonPart;
pub use meta::{DataTopic, FrameMeta, FrameType, Notice, QueryStat, Severity, VisType};

/// Why something is not a frame that Grafana takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A column is of a type Grafana does not read.
    #[error("field {field:?} has the type {data_type}, which Grafana does not read")]
    UnsupportedType {
        /// The field's name.
        field: String,
        /// Its Arrow type.
        data_type: String,
    },
    /// A column that says it has no nulls has some.
    #[error("field {field:?} is not nullable but holds {count} nulls")]
    UnexpectedNulls {
        /// The field's name.
        field: String,
        /// How many.
        count: usize,
    },
    /// A JSON column holds a value that is not JSON.
    #[error("field {field:?} holds a value in row {row} that is not JSON: {reason}")]
    InvalidJson {
        /// The field's name.
        field: String,
        /// The first such row.
        row: usize,
        /// What the reader says of it.
        reason: String,
    },
    /// Columns of different lengths.
    #[error("field {field:?} has {rows} rows where the first field has {expected}")]
    UnequalLengths {
        /// The first field that differs.
        field: String,
        /// Its rows.
        rows: usize,
        /// The rows of the first field.
        expected: usize,
    },
    /// Bytes that are not an Arrow IPC file of a frame.
    #[error("not a frame: {0}")]
    NotAFrame(String),
    /// The writer of a form has failed.
    #[error("the frame could not be written: {0}")]
    Write(String),
}

/// A table of columns of equal length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frame {
    /// Its name; for a series, often the series' name.
    pub name: String,
    /// The query it answers. Filled in by the server when empty.
    pub ref_id: String,
    /// What it says about itself.
    pub meta: FrameMeta,
    /// The columns.
    pub fields: Vec<Field>,
}

impl Frame {
    /// An empty frame of a type.
    pub fn new(name: impl Into<String>, frame_type: FrameType) -> Self {
        Self { name: name.into(), ref_id: String::new(), meta: FrameMeta::new(frame_type), fields: Vec::new() }
    }

    /// The same frame with one more column.
    #[must_use]
    pub fn with_field(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    /// The same frame with a notice.
    #[must_use]
    pub fn with_notice(mut self, notice: Notice) -> Self {
        self.meta.notices.push(notice);
        self
    }

    /// The same frame, saying which query was run in the end, macros and variables replaced.
    #[must_use]
    pub fn with_executed_query(mut self, text: impl Into<String>) -> Self {
        self.meta.executed_query_string = text.into();
        self
    }

    /// The number of rows; 0 without columns.
    ///
    /// # Errors
    /// When the columns' lengths differ.
    pub fn rows(&self) -> Result<usize, FrameError> {
        let expected = self.fields.first().map_or(0, Field::len);
        match self.fields.iter().find(|field| field.len() != expected) {
            Some(field) => Err(FrameError::UnequalLengths { field: field.name.clone(), rows: field.len(), expected }),
            None => Ok(expected),
        }
    }

    /// The column of a name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Some rows of the frame, sharing its memory. Rows that do not exist are left out.
    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        Self { fields: self.fields.iter().map(|field| field.slice(offset, length)).collect(), ..self.clone() }
    }
}
