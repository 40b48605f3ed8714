//! What can be wrong with a target: with its text, or with what it asks for.
//!
//! Each message is one line, fit for the person who wrote the target: what was found, where, and what would be right.

use statline_series::PatternError;
use thiserror::Error;

use crate::parse::{MAX_DEPTH, MAX_TARGET_BYTES};
use crate::tags::TagExpressionError;

/// Why a text is not a target.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    /// Something stands where something else should.
    #[error("at character {column}: found {found}, expected {expected}")]
    Unexpected {
        /// Byte offset in the target.
        position: usize,
        /// The same in characters, from 1.
        column: usize,
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// A quote, brace or parenthesis that is never closed.
    #[error("the {what} opened at character {column} is never closed")]
    Unclosed {
        /// Byte offset of the opening character.
        position: usize,
        /// The same in characters, from 1.
        column: usize,
        /// What was opened.
        what: &'static str,
    },
    /// Too many calls within calls.
    #[error("at character {column}: calls nest deeper than {MAX_DEPTH}")]
    TooDeep {
        /// Byte offset of the call that is too deep.
        position: usize,
        /// The same in characters, from 1.
        column: usize,
    },
    /// A template that is none.
    #[error("at character {column}: template: {reason}")]
    Template {
        /// Byte offset of what is wrong.
        position: usize,
        /// The same in characters, from 1.
        column: usize,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The text is too long.
    #[error("a target is at most {MAX_TARGET_BYTES} bytes, got {0}")]
    TooLong(usize),
}

/// Why a target cannot be answered.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EvalError {
    /// No function has this name.
    #[error("at character {column}: unknown function {name}{}", did_you_mean(*nearest))]
    UnknownFunction {
        /// The name as written.
        name: String,
        /// Where, in characters from 1.
        column: usize,
        /// A known name much like it.
        nearest: Option<&'static str>,
    },
    /// The target is a literal.
    #[error("a target is a path or a call of a function, got {0}")]
    NotSeries(String),
    /// An argument of the wrong kind.
    #[error("{function}: parameter {position} ({parameter}) takes {takes}, got {got} at character {column}")]
    WrongArgument {
        /// The function.
        function: &'static str,
        /// The parameter's name.
        parameter: &'static str,
        /// The parameter's place, from 1.
        position: usize,
        /// What it takes.
        takes: String,
        /// What was given.
        got: String,
        /// Where, in characters from 1.
        column: usize,
    },
    /// A required argument is absent.
    #[error("{function}: parameter {position} ({parameter}) is missing; it takes {takes}")]
    MissingArgument {
        /// The function.
        function: &'static str,
        /// The parameter's name.
        parameter: &'static str,
        /// The parameter's place, from 1.
        position: usize,
        /// What it takes.
        takes: String,
    },
    /// More arguments than parameters.
    #[error("{function} takes at most {most} arguments, got {got}")]
    TooManyArguments {
        /// The function.
        function: &'static str,
        /// How many it takes.
        most: usize,
        /// How many it was given.
        got: usize,
    },
    /// A keyword that names no parameter.
    #[error("{function} has no parameter {keyword}; it has {known}")]
    UnknownKeyword {
        /// The function.
        function: &'static str,
        /// The keyword as written.
        keyword: String,
        /// The parameters' names.
        known: String,
    },
    /// A parameter given twice.
    #[error("{function}: parameter {parameter} is given twice")]
    RepeatedArgument {
        /// The function.
        function: &'static str,
        /// The parameter's name.
        parameter: &'static str,
    },
    /// An argument that is of the right kind but of no use.
    #[error("{function}: {reason}")]
    Unusable {
        /// The function.
        function: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A path that is not a pattern.
    #[error("{0}")]
    Path(#[from] PatternError),
    /// Tag expressions that are none.
    #[error("seriesByTag: {0}")]
    Tags(#[from] TagExpressionError),
    /// The answer would have too many series.
    #[error("the target yields {got} series, and at most {limit} are allowed; ask for fewer")]
    TooManySeries {
        /// How many there are.
        got: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The answer would have too many points.
    #[error("the target needs {got} points, and at most {limit} are allowed; ask for fewer series or a shorter range")]
    TooManyPoints {
        /// How many there are.
        got: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Nobody waits for the answer any more.
    #[error("the evaluation was cancelled")]
    Cancelled,
    /// All calls together touch too many points.
    #[error("the target works on more than {limit} points over all its calls; make it simpler or its range shorter")]
    TooMuchWork {
        /// How many it may touch.
        limit: usize,
    },
}

fn did_you_mean(nearest: Option<&'static str>) -> String {
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}
