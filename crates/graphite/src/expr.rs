//! A parsed target: paths, calls and literals, each knowing where it stood in the text.

use std::fmt;
use std::sync::Arc;

use crate::numbers;

/// A node of the tree. Cheap to clone as far as its text goes, which all nodes share.
#[derive(Clone, Debug)]
pub struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) source: Arc<str>,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) depth: usize,
    /// Whether it is a call whose first argument was piped into it.
    pub(crate) is_piped: bool,
}

/// What stands at a node.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A dotted path, possibly with globs, its backslashes resolved.
    Path(String),
    /// A function and what it is given.
    Call(CallExpr),
    /// A number, `inf` among them.
    Number(Number),
    /// A quoted text, without its quotes.
    Text(String),
    /// `true` or `false`.
    Bool(bool),
    /// `None`.
    None,
}

/// A call of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct CallExpr {
    /// The function's name as written.
    pub name: String,
    /// Arguments by position; what was piped in comes first.
    pub arguments: Vec<Expr>,
    /// Arguments by keyword.
    pub keywords: Vec<(String, Expr)>,
}

/// A number, which remembers whether it was written as a whole one: names of series tell `10` from `10.0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Without a fraction or an exponent.
    Int(i64),
    /// With one of them, or infinite.
    Float(f64),
}

impl Number {
    /// Its value.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "Graphite's numbers are doubles")]
    pub const fn value(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(int) => write!(f, "{int}"),
            Self::Float(float) => f.write_str(&numbers::repr(*float)),
        }
    }
}

impl Expr {
    /// What stands here.
    #[must_use]
    pub const fn kind(&self) -> &ExprKind {
        &self.kind
    }

    /// The text it was parsed from, as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source[self.start..self.end]
    }

    /// Where it begins in the whole target, in characters from 1.
    #[must_use]
    pub fn column(&self) -> usize {
        self.source[..self.start].chars().count() + 1
    }

    /// The path that it is.
    pub(crate) fn path(&self) -> Option<&str> {
        match &self.kind {
            ExprKind::Path(path) => Some(path),
            _ => None,
        }
    }

    /// The text that it is.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            ExprKind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What it is, for an error message.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            ExprKind::Path(path) => format!("the path {path}"),
            ExprKind::Call(call) => format!("the call {}(…)", call.name),
            ExprKind::Number(number) => format!("the number {number}"),
            ExprKind::Text(text) => format!("the text {text:?}"),
            ExprKind::Bool(flag) => flag.to_string(),
            ExprKind::None => "None".to_owned(),
        }
    }
}

impl PartialEq for Expr {
    /// Two expressions are equal when they mean the same, wherever they stood.
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source())
    }
}
