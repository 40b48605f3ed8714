//! A call of a function with its arguments at hand, and what the function may ask for besides.

use std::sync::Arc;

use chrono_tz::Tz;
use statline_series::{PathPattern, Step, TimeRange, Timestamp};

use crate::aggregate;
use crate::arguments::{Arguments, Scalar};
use crate::context::Context;
use crate::error::EvalError;
use crate::evaluate::{Evaluator, Outcome, Stop};
use crate::expr::{Expr, ExprKind};
use crate::fetch::{FetchedSketches, Selection, Wanted};
use crate::registry::{self, Callback, Function};
use crate::request::Request;
use crate::series::Series;
use crate::tags;
use crate::time;

/// A call with its arguments at hand.
pub(crate) struct Call<'a> {
    pub function: &'static Function,
    /// The call as written.
    pub expression: &'a str,
    pub arguments: Arguments<'a>,
    /// The context of the result; the arguments' may be another.
    pub context: &'a Context,
    pub evaluator: &'a Evaluator<'a>,
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

    /// Evaluates what a parameter was given, of a function that is not given it evaluated.
    pub(crate) fn evaluate(&self, index: usize) -> Outcome {
        let mut series = Vec::new();
        for argument in self.arguments.expressions(index) {
            series.extend(self.evaluator.series(argument, self.context)?);
        }
        Ok(series)
    }

    /// Evaluates what a parameter was given over another context.
    pub(crate) fn series_over(&self, index: usize, context: &Context) -> Outcome {
        let mut series = Vec::new();
        for argument in self.arguments.expressions(index) {
            series.extend(self.evaluator.again(argument, context)?);
        }
        Ok(series)
    }

    /// Puts what a parameter yields over another context in the place of what it yielded.
    pub(crate) fn look_again(&mut self, index: usize, context: &Context) -> Result<(), Stop> {
        let series = self.series_over(index, context)?;
        if let Some(slot) = self.arguments.slots.get_mut(index) {
            slot.lists = vec![series];
        }
        Ok(())
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

    /// What graphite-web keeps of the request.
    pub(crate) const fn request(&self) -> &Request {
        &self.evaluator.request
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
