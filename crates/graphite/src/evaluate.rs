//! Running a target over what has been fetched.
//!
//! One walk does both planning and evaluating. Every call binds its arguments, says over which context they are to be
//! evaluated, and runs when all its series are there. Where a fetch is missing the walk notes the request, looks at the
//! call's other arguments and turns back; so the first walk, over nothing, finds all that can be known from the expression,
//! and a later walk finds what depends on the data. Points and series are counted on the way.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use chrono_tz::Tz;
use statline_series::{PathPattern, Step, TimeRange, Timestamp};

use crate::aggregate;
use crate::arguments::{Arguments, Scalar};
use crate::context::Context;
use crate::error::EvalError;
use crate::expr::{CallExpr, Expr, ExprKind};
use crate::fetch::{FetchRequest, Fetched, FetchedSketches, Selection, Wanted};
use crate::parse::{Reading, parse_with};
use crate::registry::{self, Callback, Function};
use crate::series::Series;
use crate::tags;
use crate::time;

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
        factor: Cell::new(None),
        in_keyword: Cell::new(false),
        text_depth: Cell::new(0),
        stacks: RefCell::default(),
    };
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
    fetched: &'a Fetched,
    missing: RefCell<Vec<FetchRequest>>,
    work: Cell<usize>,
    /// The factor that `setXFilesFactor` has left behind, which in graphite-web holds for all that comes after it.
    factor: Cell<Option<f64>>,
    /// Whether what is evaluated stands behind a keyword, where graphite-web fetches nothing.
    in_keyword: Cell<bool>,
    /// How many texts are being evaluated, each made by a function within the one before.
    text_depth: Cell<usize>,
    /// How high `stacked` has made each stack so far, over each range.
    stacks: RefCell<HashMap<(String, TimeRange), Series>>,
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
            ExprKind::Call(call) => self.call(expr, call, context),
            _ => Ok(Vec::new()),
        }
    }

    fn call(&self, expr: &Expr, call: &CallExpr, context: &Context) -> Outcome {
        let Some(function) = registry::find(&call.name) else {
            let nearest = registry::nearest(&call.name);
            return Err(EvalError::UnknownFunction { name: call.name.clone(), column: expr.column(), nearest }.into());
        };
        // graphite-web takes a call with nothing but keywords for the name of a series.
        if context.as_graphite_web() && call.arguments.is_empty() && !call.keywords.is_empty() {
            return Ok(Vec::new());
        }
        let mut arguments = Arguments::bind(function, call)?;
        let inner = (function.window)(&arguments, context)?;
        let mut missing = false;
        for slot in arguments.slots.iter_mut().filter(|_| function.evaluates) {
            for argument in &slot.expressions {
                let was_in_keyword = self.in_keyword.get();
                let is_in_keyword = call.keywords.iter().any(|(_, given)| std::ptr::eq(given, *argument));
                self.in_keyword.set(was_in_keyword || is_in_keyword);
                let evaluated = self.series(argument, &inner);
                self.in_keyword.set(was_in_keyword);
                match evaluated {
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
        if let (true, Some(factor)) = (context.as_graphite_web(), self.factor.get()) {
            context.x_files_factor = factor;
        }
        let factor = (function.name == "setXFilesFactor").then(|| arguments.number(1)).flatten();
        let yielded =
            self.run(Call { function, expression: expr.source(), arguments, context: &context, evaluator: self })?;
        self.factor.set(factor.or(self.factor.get()));
        Ok(yielded)
    }

    fn run(&self, mut call: Call<'_>) -> Outcome {
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
        if context.as_graphite_web() && self.in_keyword.get() {
            return Ok(Vec::new());
        }
        let range = context.range();
        let Some(answer) = self.fetched.series(expression, range, &context.limits) else {
            return Err(self.note_missing(expression, Wanted::Points(selection()?), range));
        };
        let mut series = answer?;
        self.count(&series, context)?;
        if context.as_graphite_web() {
            let factor = self.factor.get().unwrap_or(context.x_files_factor);
            series.iter_mut().for_each(|one| one.x_files_factor = Some(factor));
        }
        Ok(series)
    }

    fn note_missing(&self, expression: &str, wanted: Wanted, range: TimeRange) -> Stop {
        let request = FetchRequest { expression: expression.to_owned(), wanted, range };
        let mut missing = self.missing.borrow_mut();
        if !missing.contains(&request) {
            missing.push(request);
        }
        Stop::Missing
    }

    /// What targets yield that functions have made out of names, a list each.
    fn texts(&self, function: &'static str, texts: &[String], context: &Context) -> Result<Vec<Vec<Series>>, Stop> {
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
            let target = match parse_with(text, &reading) {
                Ok(target) => target,
                // graphite-web takes it for the name of a series.
                Err(_) if context.as_graphite_web() => {
                    lists.push(Vec::new());
                    continue;
                }
                Err(error) => return Err(unusable(format!("{text:?} is not a target: {error}")).into()),
            };
            match self.target(&target, context) {
                Ok(series) => lists.push(series),
                Err(Stop::Missing) => missing = true,
                Err(failed) => return Err(failed),
            }
        }
        self.text_depth.set(self.text_depth.get() - 1);
        if missing { Err(Stop::Missing) } else { Ok(lists) }
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
        self.work.set(self.work.get().saturating_add(points));
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

/// A call with its arguments at hand.
pub(crate) struct Call<'a> {
    pub function: &'static Function,
    /// The call as written.
    pub expression: &'a str,
    pub arguments: Arguments<'a>,
    /// The context of the result; the arguments' may be another.
    pub context: &'a Context,
    evaluator: &'a Evaluator<'a>,
}

impl Call<'_> {
    /// All series given to a parameter, taken out.
    pub(crate) fn series(&mut self, index: usize) -> Vec<Series> {
        self.lists(index).into_iter().flatten().collect()
    }

    /// The series given to a parameter, a list for each argument, taken out.
    pub(crate) fn lists(&mut self, index: usize) -> Vec<Vec<Series>> {
        self.arguments.slots.get_mut(index).map(|slot| std::mem::take(&mut slot.lists)).unwrap_or_default()
    }

    /// Whether a parameter was given series, be they none.
    pub(crate) fn has_series(&self, index: usize) -> bool {
        self.arguments.slots.get(index).is_some_and(|slot| !slot.lists.is_empty())
    }

    /// Evaluates what a parameter was given over another context.
    pub(crate) fn series_over(&self, index: usize, context: &Context) -> Outcome {
        let mut series = Vec::new();
        for argument in self.arguments.expressions(index) {
            series.extend(self.evaluator.series(argument, context)?);
        }
        Ok(series)
    }

    /// Evaluates targets that were made out of names, a list each.
    pub(crate) fn evaluate_texts(&self, texts: &[String]) -> Result<Vec<Vec<Series>>, Stop> {
        self.evaluator.texts(self.function.name, texts, self.context)
    }

    /// How high the target has made a stack over this range.
    pub(crate) fn stack(&self, name: &str) -> Option<Series> {
        self.evaluator.stacks.borrow().get(&(name.to_owned(), self.context.range())).cloned()
    }

    /// Keeps how high a stack is.
    pub(crate) fn set_stack(&self, name: &str, top: Series) {
        self.evaluator.stacks.borrow_mut().insert((name.to_owned(), self.context.range()), top);
    }

    /// The series that tag expressions select.
    pub(crate) fn select(&self, index: usize) -> Outcome {
        let matchers = || {
            let texts: Vec<&str> = self.arguments.scalars(index).iter().filter_map(as_text).collect();
            Ok(Selection::Matchers(tags::tag_matchers(&texts).map_err(EvalError::from)?))
        };
        self.evaluator.fetch(self.expression, matchers, self.context)
    }

    /// The instants of the events in a range that have all of these tags.
    pub(crate) fn events(
        &self,
        expression: &str,
        tags: Vec<String>,
        range: TimeRange,
    ) -> Result<Arc<Vec<Timestamp>>, Stop> {
        let Some(instants) = self.evaluator.fetched.events(expression, range) else {
            return Err(self.evaluator.note_missing(expression, Wanted::Events(tags), range));
        };
        Ok(instants)
    }

    /// The sketches of the series that a parameter was given (paths, `seriesByTag(…)` and groups of them), a list for
    /// each path.
    pub(crate) fn sketches(&self, index: usize, step: Step) -> Result<Vec<Arc<Vec<FetchedSketches>>>, Stop> {
        let mut lists = Vec::new();
        let mut missing = false;
        let mut waiting: Vec<&Expr> = self.arguments.expressions(index).iter().rev().copied().collect();
        while let Some(argument) = waiting.pop() {
            let selection = match &argument.kind {
                ExprKind::Call(call) if call.name == "group" => {
                    waiting.extend(call.arguments.iter().rev());
                    continue;
                }
                ExprKind::Call(call) if call.name == "seriesByTag" => {
                    let texts: Vec<&str> = call.arguments.iter().filter_map(Expr::text).collect();
                    Selection::Matchers(tags::tag_matchers(&texts).map_err(EvalError::from)?)
                }
                ExprKind::Path(path) => Selection::Path(PathPattern::parse(path).map_err(EvalError::from)?),
                _ => return Err(self.no_timers(index, argument)),
            };
            let expression = argument.path().unwrap_or_else(|| argument.source());
            match self.evaluator.fetched.sketches(expression, self.context.range()) {
                Some(sketches) => lists.push(sketches),
                None => {
                    missing = true;
                    let wanted = Wanted::Sketches(selection, step);
                    self.evaluator.note_missing(expression, wanted, self.context.range());
                }
            }
        }
        if missing { Err(Stop::Missing) } else { Ok(lists) }
    }

    fn no_timers(&self, index: usize, argument: &Expr) -> Stop {
        let error = EvalError::WrongArgument {
            function: self.function.name,
            parameter: self.function.params.get(index).map_or("", |param| param.name),
            position: index + 1,
            takes: "timers: a path, seriesByTag(…) or a group of them".to_owned(),
            got: argument.describe(),
            column: argument.column(),
        };
        error.into()
    }

    /// One series of many, by the callback that a parameter names. Nothing comes of nothing.
    pub(crate) fn combine(&self, index: usize, series: Vec<Series>) -> Result<Option<Series>, Stop> {
        let name = self.arguments.text(index).unwrap_or("average");
        match registry::callback(name) {
            Some(Callback::Function(function)) => Ok(self.apply(function, vec![series])?.into_iter().next()),
            Some(Callback::Aggregation(how)) => Ok(aggregate::combine(&series, how, name, None, self.context)?),
            None => Ok(None),
        }
    }

    /// What another function makes of lists of series, one for each of its parameters.
    pub(crate) fn apply(&self, function: &'static Function, lists: Vec<Vec<Series>>) -> Outcome {
        let arguments = Arguments::of_lists(function, lists)?;
        let (expression, context, evaluator) = (self.expression, self.context, self.evaluator);
        evaluator.run(Call { function, expression, arguments, context, evaluator })
    }

    /// The moment that an argument names, when one was given.
    pub(crate) fn date(&self, index: usize, zone: Tz) -> Result<Option<Timestamp>, Stop> {
        let Some(text) = self.arguments.scalar(index).map(ToString::to_string) else { return Ok(None) };
        let parameter = self.function.params.get(index).map_or("", |param| param.name);
        let moment = time::parse_at_as(self.context.compat, &text, self.context.now, zone);
        moment.map(Some).map_err(|error| self.unusable(format!("{parameter}: {error}")))
    }

    /// An error of this function.
    pub(crate) fn unusable(&self, reason: impl Into<String>) -> Stop {
        EvalError::Unusable { function: self.function.name, reason: reason.into() }.into()
    }

    /// Refuses what would have more points than allowed, before it is made.
    pub(crate) fn check_points(&self, points: usize) -> Result<(), Stop> {
        let limit = self.context.limits.max_points;
        if points > limit { Err(EvalError::TooManyPoints { got: points, limit }.into()) } else { Ok(()) }
    }
}

fn as_text(scalar: &Scalar) -> Option<&str> {
    match scalar {
        Scalar::Text(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;
    use crate::testing::context;

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
}
