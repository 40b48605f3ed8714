//! What graphite-web keeps of a request while it evaluates the targets.
//!
//! It fetches all paths of a target first and evaluates it over what it then has. A function that looks at another range has
//! its first argument, which was evaluated over the request's own, fetched and evaluated once more. Everything goes into one
//! store: a path behind a keyword is not fetched itself, but found when it was fetched for something else over the same
//! range. What functions leave behind lasts as long as the evaluation that they are part of, and pipes are used up by the
//! first one.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use statline_series::TimeRange;

use crate::expr::{Expr, ExprKind};

/// Stacks by name: how high they are at each place.
type Stacks = Rc<RefCell<HashMap<String, Vec<f64>>>>;

/// What functions leave behind for those after them.
#[derive(Clone, Default)]
struct LeftBehind {
    /// What `setXFilesFactor` has set.
    factor: Option<f64>,
    /// What `stacked` has piled up; shared with evaluations within this one once it is there.
    stacks: Option<Stacks>,
}

/// A request on its way.
#[derive(Default)]
pub(crate) struct Request {
    fetched: RefCell<HashSet<(TimeRange, String)>>,
    left_behind: RefCell<LeftBehind>,
    /// The calls that something was piped into, once.
    used_up: RefCell<HashSet<*const Expr>>,
}

impl Request {
    /// Fetches every path and every `seriesByTag(…)` of an expression that does not stand behind a keyword.
    pub(crate) fn fetch_all(&self, expr: &Expr, range: TimeRange) {
        match &expr.kind {
            ExprKind::Path(path) => self.note_fetched(path, range),
            ExprKind::Call(call) if self.is_used_up(expr) => {
                call.arguments.iter().take(1).for_each(|piped| self.fetch_all(piped, range));
            }
            ExprKind::Call(call) if call.name == "seriesByTag" => self.note_fetched(expr.source(), range),
            ExprKind::Call(call) => call.arguments.iter().for_each(|argument| self.fetch_all(argument, range)),
            _ => {}
        }
    }

    fn note_fetched(&self, expression: &str, range: TimeRange) {
        self.fetched.borrow_mut().insert((range, expression.to_owned()));
    }

    /// Whether a path has been fetched over a range.
    pub(crate) fn has(&self, expression: &str, range: TimeRange) -> bool {
        self.fetched.borrow().contains(&(range, expression.to_owned()))
    }

    /// Uses up the pipe into a call; whether it was there to be used.
    pub(crate) fn use_up(&self, call: &Expr) -> bool {
        !call.is_piped || self.used_up.borrow_mut().insert(call)
    }

    fn is_used_up(&self, call: &Expr) -> bool {
        call.is_piped && self.used_up.borrow().contains(&std::ptr::from_ref(call))
    }

    /// An evaluation within another: it finds what has been left behind, and leaves nothing behind itself.
    pub(crate) fn within<T>(&self, evaluation: impl FnOnce() -> T) -> T {
        let outer = self.left_behind.borrow().clone();
        let outcome = evaluation();
        *self.left_behind.borrow_mut() = outer;
        outcome
    }

    /// An evaluation of an expression that is not part of the targets, and is gone afterwards.
    pub(crate) fn aside<T>(&self, evaluation: impl FnOnce() -> T) -> T {
        let outer = self.used_up.take();
        let outcome = evaluation();
        self.used_up.replace(outer);
        outcome
    }

    /// An evaluation that has a store to itself.
    pub(crate) fn apart<T>(&self, evaluation: impl FnOnce() -> T) -> T {
        let outer = self.fetched.take();
        let outcome = evaluation();
        self.fetched.replace(outer);
        outcome
    }

    /// The factor that has been left behind.
    pub(crate) fn factor(&self) -> Option<f64> {
        self.left_behind.borrow().factor
    }

    /// Leaves a factor behind.
    pub(crate) fn set_factor(&self, factor: f64) {
        self.left_behind.borrow_mut().factor = Some(factor);
    }

    /// How high a stack is at each place.
    pub(crate) fn stack(&self, name: &str) -> Vec<f64> {
        let mut left_behind = self.left_behind.borrow_mut();
        let stacks = left_behind.stacks.get_or_insert_default().borrow();
        stacks.get(name).cloned().unwrap_or_default()
    }

    /// Leaves a stack behind.
    pub(crate) fn set_stack(&self, name: &str, heights: Vec<f64>) {
        let mut left_behind = self.left_behind.borrow_mut();
        left_behind.stacks.get_or_insert_default().borrow_mut().insert(name.to_owned(), heights);
    }
}
