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

#[cfg(test)]
mod tests {
    use crate::testing::{assert_values, column, context};
    use crate::{
        Answer, Compat, Context, Fetched, FetchedSeries, Progress, Reading, Series, Wanted, evaluate, parse_with,
    };

    /// 1, 2, 3, … a minute apart; 10 is at 60 s, the first in the window.
    fn counting(name: &str) -> FetchedSeries {
        column(name, -480, 60, &(1..=14).map(f64::from).collect::<Vec<_>>())
    }

    fn run(target: &str) -> Vec<Series> {
        let context = Context { compat: Compat::GraphiteWeb, ..context() };
        let store = [counting("a"), counting("b")];
        let target = parse_with(target, &Reading { compat: context.compat, ..Reading::default() }).unwrap();
        let mut fetched = Fetched::default();
        loop {
            match evaluate(&target, &context, &fetched).unwrap() {
                Progress::Done(series) => return series,
                Progress::Fetch(requests) => {
                    for request in &requests {
                        let Wanted::Points(selection) = &request.wanted else { panic!("no points are asked for") };
                        let selected =
                            store.iter().filter(|one| crate::testing::is_selected(selection, &one.key)).cloned();
                        fetched.insert(request, Answer::Points(selected.collect()));
                    }
                }
            }
        }
    }

    fn names(target: &str) -> Vec<String> {
        run(target).into_iter().map(|one| one.name).collect()
    }

    #[test]
    fn a_pipe_is_used_up_by_the_first_evaluation() {
        assert_eq!(names("a|scale(2)"), ["scale(a,2)"]);
        assert_eq!(names("a|scale(2)|movingAverage(3)"), ["movingAverage(a,3)"]);
        assert_eq!(names("movingAverage(scale(a,2),3)"), ["movingAverage(scale(a,2),3)"]);
        assert_eq!(names("a|movingAverage(2)|movingMax(3)|scale(2)"), ["scale(movingMax(a,3),2)"]);
    }

    #[test]
    fn a_path_behind_a_keyword_is_found_when_it_was_fetched_for_something_else() {
        assert_eq!(names("transformNull(a,0,referenceSeries=b)"), ["transformNull(a,0)"]);
        assert_eq!(names("transformNull(a,0,referenceSeries=a)"), ["transformNull(a,0,referenceSeries)"]);
        let both = names("group(transformNull(a,0,referenceSeries=b),b)");
        assert_eq!(both, ["transformNull(a,0,referenceSeries)", "b"]);
        // Over the range that the moving window looks at again, nothing else fetches it.
        let moved = names("group(movingAverage(transformNull(a,0,referenceSeries=b),2),b)");
        assert_eq!(moved, ["movingAverage(transformNull(a,0),2)", "b"]);
    }

    #[test]
    fn a_stack_grows_with_each_evaluation() {
        let once = run("stacked(a)").remove(0);
        assert_values(once.values(), &[10.0, 11.0, 12.0, 13.0, 14.0], "once");
        let twice = run("linearRegression(stacked(a))").remove(0);
        assert_values(twice.values(), &[20.0, 22.0, 24.0, 26.0, 28.0], "on top of itself");
    }

    #[test]
    fn a_factor_set_where_a_range_is_looked_at_again_is_forgotten() {
        let factor = |target: &str| run(target).pop().and_then(|one| one.x_files_factor);
        assert_eq!(factor("group(a,xFilesFactor(a,0.6),b)"), Some(0.6));
        // The first evaluation, over the request's own range, leaves it behind.
        assert_eq!(factor("group(movingAverage(xFilesFactor(a,0.6),2),b)"), Some(0.6));
        assert_eq!(factor("group(useSeriesAbove(a,0,'a','xFilesFactor(a,0.6)'),b)"), Some(0.0));
    }

    #[test]
    fn a_text_has_pipes_of_its_own() {
        assert_eq!(names("useSeriesAbove(a,0,'a','b|scale(2)')"), ["scale(b,2)"]);
        assert_eq!(names("applyByNode(group(a,b),0,'%|scale(2)')"), ["scale(a,2)", "scale(b,2)"]);
    }
}
