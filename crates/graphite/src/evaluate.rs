//! Running a target over what has been fetched.
//!
//! One walk does both planning and evaluating. Every call binds its arguments, says over which context they are to be
//! evaluated, and runs when all its series are there. Where a fetch is missing the walk notes the request, looks at the
//! call's other arguments and turns back; so the first walk, over nothing, finds all that can be known from the expression,
//! and a later walk finds what depends on the data. Points and series are counted on the way.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use statline_series::{PathPattern, TimeRange};

use crate::arguments::Arguments;
pub(crate) use crate::call::Call;
use crate::context::Context;
use crate::error::EvalError;
use crate::expr::{CallExpr, Expr, ExprKind};
use crate::fetch::{FetchRequest, Fetched, Selection, Wanted};
use crate::parse::{Reading, parse_with};
use crate::registry;
use crate::request::Request;
use crate::series::Series;

/// What a call is held to cost in itself, in points. Nested calls may be evaluated as often as there are powers of two.
const POINTS_A_CALL: usize = 100;
/// The longest name of a series, in bytes; longer ones are cut.
const MAX_NAME_BYTES: usize = 16 * 1024;

/// The most targets that one call may make out of names.
const MAX_TEXTS: usize = 1000;
/// The deepest that such targets may make others.
const MAX_TEXT_DEPTH: usize = 2;

/// Where an evaluation has got to.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// These have to be fetched first.
    Fetch(Vec<FetchRequest>),
    /// This is the answer.
    Done(Vec<Series>),
}

/// Runs a target as far as what has been fetched allows.
///
/// # Errors
/// When the expression is wrong or the answer would break a limit; see [`EvalError`].
pub fn evaluate(target: &Expr, context: &Context, fetched: &Fetched) -> Result<Progress, EvalError> {
    evaluate_unless(&|| false, std::slice::from_ref(target), context, fetched)
}

/// As [`evaluate`], until `is_cancelled` says, before one of the calls, that nobody waits for the answer any more.
///
/// The answer has the series of all targets, one after the other. As graphite-web has it, a target may leave something
/// behind for those after it; else it is the same to ask for each alone.
///
/// # Errors
/// [`EvalError::Cancelled`] then; else as [`evaluate`].
pub fn evaluate_unless(
    is_cancelled: &dyn Fn() -> bool,
    targets: &[Expr],
    context: &Context,
    fetched: &Fetched,
) -> Result<Progress, EvalError> {
    let evaluator = Evaluator {
        is_cancelled,
        fetched,
        missing: RefCell::default(),
        work: Cell::new(0),
        text_depth: Cell::new(0),
        stacks: RefCell::default(),
        request: Request::default(),
    };
    if context.as_graphite_web() {
        targets.iter().for_each(|target| evaluator.request.fetch_all(target, context.range()));
    }
    let mut answered = Vec::new();
    let mut is_missing = false;
    for target in targets {
        match evaluator.target(target, context) {
            Ok(series) => answered.extend(series),
            Err(Stop::Missing) => is_missing = true,
            Err(Stop::Failed(error)) => return Err(error),
        }
    }
    Ok(if is_missing { Progress::Fetch(evaluator.missing.into_inner()) } else { Progress::Done(answered) })
}

/// What a target is known to need before anything has been fetched, each request once.
///
/// # Errors
/// When the expression is wrong; see [`EvalError`].
pub fn plan(target: &Expr, context: &Context) -> Result<Vec<FetchRequest>, EvalError> {
    match evaluate(target, context, &Fetched::default())? {
        Progress::Fetch(requests) => Ok(requests),
        Progress::Done(_) => Ok(Vec::new()),
    }
}

/// Why a walk turned back.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Something has to be fetched first; the evaluator knows what.
    Missing,
    /// The target cannot be answered.
    Failed(EvalError),
}

impl From<EvalError> for Stop {
    fn from(error: EvalError) -> Self {
        Self::Failed(error)
    }
}

/// What a function yields.
pub(crate) type Outcome = Result<Vec<Series>, Stop>;

pub(crate) struct Evaluator<'a> {
    is_cancelled: &'a dyn Fn() -> bool,
    pub fetched: &'a Fetched,
    missing: RefCell<Vec<FetchRequest>>,
    work: Cell<usize>,
    /// How many texts are being evaluated, each made by a function within the one before.
    text_depth: Cell<usize>,
    /// How high `stacked` has made each stack so far, over each range.
    pub stacks: RefCell<HashMap<(String, TimeRange), Series>>,
    /// What graphite-web keeps of the request.
    pub request: Request,
}

impl Evaluator<'_> {
    fn target(&self, target: &Expr, context: &Context) -> Outcome {
        match &target.kind {
            ExprKind::Path(_) | ExprKind::Call(_) => self.series(target, context),
            _ => Err(EvalError::NotSeries(target.describe()).into()),
        }
    }

    /// What a path or a call yields.
    pub(crate) fn series(&self, expr: &Expr, context: &Context) -> Outcome {
        match &expr.kind {
            ExprKind::Path(path) => self.fetch(path, || Ok(Selection::Path(PathPattern::parse(path)?)), context),
            ExprKind::Call(call) if context.as_graphite_web() && !self.request.use_up(expr) => {
                call.arguments.first().map_or(Ok(Vec::new()), |piped| self.series(piped, context))
            }
            ExprKind::Call(call) => self.call(expr, call, context),
            _ => Ok(Vec::new()),
        }
    }

    /// What an argument yields over another context than its call's. graphite-web has evaluated it over that one before.
    pub(crate) fn again(&self, argument: &Expr, context: &Context) -> Outcome {
        if !context.as_graphite_web() {
            return self.series(argument, context);
        }
        self.request.within(|| {
            self.request.fetch_all(argument, context.range());
            self.series(argument, context)
        })
    }

    fn call(&self, expr: &Expr, call: &CallExpr, context: &Context) -> Outcome {
        let Some(function) = registry::find(&call.name) else {
            let nearest = registry::nearest(&call.name);
            return Err(EvalError::UnknownFunction { name: call.name.clone(), column: expr.column(), nearest }.into());
        };
        let mut arguments = Arguments::bind(function, call)?;
        let inner = (function.window)(&arguments, context)?;
        let mut missing = false;
        for slot in arguments.slots.iter_mut().filter(|_| function.evaluates) {
            for argument in &slot.expressions {
                match self.series(argument, &inner) {
                    Ok(list) => slot.lists.push(list),
                    Err(Stop::Missing) => missing = true,
                    Err(failed) => return Err(failed),
                }
            }
        }
        if missing {
            return Err(Stop::Missing);
        }
        let mut context = *context;
        if let (true, Some(factor)) = (context.as_graphite_web(), self.request.factor()) {
            context.x_files_factor = factor;
        }
        let factor = (function.name == "setXFilesFactor").then(|| arguments.number(1)).flatten();
        let yielded =
            self.run(Call { function, expression: expr.source(), arguments, context: &context, evaluator: self })?;
        if let Some(factor) = factor {
            self.request.set_factor(factor);
        }
        Ok(yielded)
    }

    pub(crate) fn run(&self, mut call: Call<'_>) -> Outcome {
        if (self.is_cancelled)() {
            return Err(EvalError::Cancelled.into());
        }
        let mut yielded = (call.function.run)(&mut call)?;
        for series in &mut yielded {
            cut_name(&mut series.name);
            cut_name(&mut series.path_expression);
        }
        self.count(&yielded, call.context)?;
        Ok(yielded)
    }

    /// Series of the store, or a note that they are missing.
    pub(crate) fn fetch(
        &self,
        expression: &str,
        selection: impl FnOnce() -> Result<Selection, EvalError>,
        context: &Context,
    ) -> Outcome {
        let range = context.range();
        if context.as_graphite_web() && !self.request.has(expression, range) {
            return Ok(Vec::new());
        }
        let Some(answer) = self.fetched.series(expression, range, &context.limits) else {
            return Err(self.note_missing(expression, Wanted::Points(selection()?), range));
        };
        let mut series = answer?;
        self.count(&series, context)?;
        if context.as_graphite_web() {
            let factor = self.request.factor().unwrap_or(context.x_files_factor);
            series.iter_mut().for_each(|one| one.x_files_factor = Some(factor));
        }
        Ok(series)
    }

    pub(crate) fn note_missing(&self, expression: &str, wanted: Wanted, range: TimeRange) -> Stop {
        let request = FetchRequest { expression: expression.to_owned(), wanted, range };
        let mut missing = self.missing.borrow_mut();
        if !missing.contains(&request) {
            missing.push(request);
        }
        Stop::Missing
    }

    /// What targets yield that functions have made out of names, a list each.
    pub(crate) fn texts(
        &self,
        function: &'static str,
        texts: &[String],
        context: &Context,
    ) -> Result<Vec<Vec<Series>>, Stop> {
        let unusable = |reason| EvalError::Unusable { function, reason };
        if texts.len() > MAX_TEXTS {
            let got = texts.len();
            return Err(unusable(format!("it asks once for each series, for at most {MAX_TEXTS}, got {got}")).into());
        }
        if self.text_depth.get() >= MAX_TEXT_DEPTH {
            return Err(unusable("a query that it makes asks for such queries again".to_owned()).into());
        }
        let reading = Reading { compat: context.compat, ..Reading::default() };
        let mut lists = Vec::with_capacity(texts.len());
        let mut missing = false;
        self.text_depth.set(self.text_depth.get() + 1);
        for text in texts {
            let target =
                parse_with(text, &reading).map_err(|error| unusable(format!("{text:?} is not a target: {error}")))?;
            match self.request.within(|| self.request.aside(|| self.text(&target, context))) {
                Ok(series) => lists.push(series),
                Err(Stop::Missing) => missing = true,
                Err(failed) => return Err(failed),
            }
        }
        self.text_depth.set(self.text_depth.get() - 1);
        if missing { Err(Stop::Missing) } else { Ok(lists) }
    }

    fn text(&self, target: &Expr, context: &Context) -> Outcome {
        if context.as_graphite_web() {
            self.request.fetch_all(target, context.range());
        }
        self.target(target, context)
    }

    /// Holds what a call yielded against the limits.
    fn count(&self, series: &[Series], context: &Context) -> Result<(), EvalError> {
        let limits = &context.limits;
        if series.len() > limits.max_series {
            return Err(EvalError::TooManySeries { got: series.len(), limit: limits.max_series });
        }
        let points = series.iter().fold(0_usize, |sum, one| sum.saturating_add(one.weight()));
        if points > limits.max_points {
            return Err(EvalError::TooManyPoints { got: points, limit: limits.max_points });
        }
        self.work.set(self.work.get().saturating_add(points).saturating_add(POINTS_A_CALL));
        if self.work.get() > limits.max_work {
            return Err(EvalError::TooMuchWork { limit: limits.max_work });
        }
        Ok(())
    }
}

fn cut_name(name: &mut String) {
    if name.len() > MAX_NAME_BYTES {
        name.truncate(name.floor_char_boundary(MAX_NAME_BYTES));
        name.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;
    use crate::testing::{column, context, run_in};
    use crate::{Compat, Limits};

    #[test]
    fn a_cancelled_evaluation_ends_before_its_next_call() {
        let target = parse("scale(scale(scale(constantLine(1), 2), 2), 2)").unwrap();
        for (allowed, expected) in [(0, 1), (2, 3), (4, 4)] {
            let asked = Cell::new(0);
            let is_cancelled = || {
                asked.set(asked.get() + 1);
                asked.get() > allowed
            };
            let outcome =
                evaluate_unless(&is_cancelled, std::slice::from_ref(&target), &context(), &Fetched::default());
            assert_eq!(outcome.is_err(), allowed < 4, "{outcome:?}");
            assert!(outcome.is_ok() || outcome == Err(EvalError::Cancelled));
            assert_eq!(asked.get(), expected, "{allowed} calls");
        }
    }

    #[test]
    fn what_is_evaluated_twice_at_each_depth_comes_to_an_end() {
        let context = Context {
            compat: Compat::GraphiteWeb,
            limits: Limits { max_work: 1_000_000, ..context().limits },
            ..context()
        };
        let nested =
            |call: &str, more: &str| format!("{}a{}", format!("{call}(").repeat(50), format!("{more})").repeat(50));
        let something = [column("a", 0, 60, &[1.0; 10])];
        for (call, more, store) in [
            ("timeShift", ",'1min'", &something[..]),
            ("movingAverage", ",2", &something),
            // Also when nothing is there that would count.
            ("linearRegression", "", &[]),
            ("holtWintersForecast", "", &[]),
        ] {
            let outcome = run_in(&context, &nested(call, more), store);
            assert!(matches!(outcome, Err(EvalError::TooMuchWork { .. })), "{call}: {outcome:?}");
        }
    }
}
