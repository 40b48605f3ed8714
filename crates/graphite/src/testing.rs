//! Small stores and tables for the tests of functions.

use statline_series::{Kind, SeriesKey, Step, Timestamp, Values};

use crate::{Answer, Context, EvalError, Fetched, FetchedSeries, Progress, Selection, Series, Wanted, evaluate, parse};

/// A missing value.
pub(crate) const NO: f64 = f64::NAN;

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

/// The window (0, 300] at 300 s, a step of a minute expected: five points a minute apart, the first at 60.
pub(crate) fn context() -> Context {
    Context { step_hint: Step::from_seconds(60).unwrap(), ..Context::new(at(0), at(300), at(300)) }
}

pub(crate) fn series(name: &str, start: i64, step: i64, values: &[f64]) -> Series {
    Series::new(name.to_owned(), at(start), Step::from_seconds(step).unwrap(), values.to_vec())
}

pub(crate) fn column(key: &str, start: i64, step: i64, values: &[f64]) -> FetchedSeries {
    FetchedSeries {
        key: SeriesKey::parse(key).unwrap(),
        kind: Kind::Untyped,
        values: Values::Regular { start: at(start), step: Step::from_seconds(step).unwrap(), values: values.to_vec() },
    }
}

/// Five points a minute apart, the first at 60.
pub(crate) fn minutes(key: &str, values: &[f64]) -> FetchedSeries {
    column(key, 60, 60, values)
}

/// Evaluates a target over a store of points, fetching as often as it asks.
pub(crate) fn run_in(context: &Context, target: &str, store: &[FetchedSeries]) -> Result<Vec<Series>, EvalError> {
    run_with(context, target, |wanted| match wanted {
        Wanted::Points(selection) => {
            let selected = |series: &&FetchedSeries| is_selected(selection, &series.key);
            Answer::Points(store.iter().filter(selected).cloned().collect())
        }
        Wanted::Sketches(..) => Answer::Sketches(Vec::new()),
        Wanted::Events(_) => Answer::Events(Vec::new()),
    })
}

pub(crate) fn is_selected(selection: &Selection, key: &SeriesKey) -> bool {
    match selection {
        Selection::Path(pattern) => pattern.matches(key.as_str()),
        Selection::Matchers(matchers) => matchers.iter().all(|one| one.matches_key(key)),
    }
}

/// Evaluates a target over whatever answers, fetching as often as it asks.
pub(crate) fn run_with(
    context: &Context,
    target: &str,
    answer: impl Fn(&Wanted) -> Answer,
) -> Result<Vec<Series>, EvalError> {
    let expr = parse(target).unwrap_or_else(|error| panic!("{target}: {error}"));
    let mut fetched = Fetched::default();
    for _ in 0..100 {
        match evaluate(&expr, context, &fetched)? {
            Progress::Done(series) => return Ok(series),
            Progress::Fetch(requests) => {
                assert!(!requests.is_empty(), "{target}: turned back without asking for anything");
                for request in requests {
                    assert!(!fetched.contains(&request), "{target}: asked twice for {}", request.expression);
                    fetched.insert(&request, answer(&request.wanted));
                }
            }
        }
    }
    panic!("{target}: never done");
}

pub(crate) fn run(target: &str, store: &[FetchedSeries]) -> Vec<Series> {
    run_in(&context(), target, store).unwrap_or_else(|error| panic!("{target}: {error}"))
}

/// Checks the names and values that a target yields.
pub(crate) fn check(target: &str, store: &[FetchedSeries], expected: &[(&str, &[f64])]) {
    let yielded = run(target, store);
    let names: Vec<&str> = yielded.iter().map(|one| one.name.as_str()).collect();
    let expected_names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, expected_names, "names of {target}");
    for (one, (name, values)) in yielded.iter().zip(expected) {
        assert_values(one.values(), values, &format!("{name} of {target}"));
    }
}

/// Checks values, missing ones being equal.
pub(crate) fn assert_values(values: &[f64], expected: &[f64], what: &str) {
    let close = |(left, right): (&f64, &f64)| {
        left.is_nan() && right.is_nan() || left == right || (left - right).abs() <= 1e-9 * right.abs().max(1.0)
    };
    let equal = values.len() == expected.len() && values.iter().zip(expected).all(close);
    assert!(equal, "{what}: got {values:?}, expected {expected:?}");
}

/// The error that a target ends in.
pub(crate) fn failure(target: &str, store: &[FetchedSeries]) -> String {
    match run_in(&context(), target, store) {
        Err(error) => error.to_string(),
        Ok(series) => panic!("{target} yields {} series", series.len()),
    }
}
