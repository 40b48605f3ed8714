//! The Graphite expression language: what a target says, what it needs, and what comes of it.
//!
//! Pure: no I/O, no clock, no global state. A target's way is parse → plan → fetch → evaluate → consolidate, and only the
//! fetch is somebody else's. [`evaluate()`] either answers or says what it still has to be given, so that functions which look
//! back, shift or re-evaluate their arguments need nothing from the caller but a loop:
//!
//! ```
//! # use statline_graphite::{parse, evaluate, consolidate, Context, Fetched, Progress};
//! # use statline_series::Timestamp;
//! # fn fetch(_: &statline_graphite::FetchRequest) -> Vec<statline_graphite::FetchedSeries> { Vec::new() }
//! let target = parse("movingAverage(bot.messages, '5min')")?;
//! let now = Timestamp::from_seconds(1_700_000_000);
//! let context = Context::new(now.offset(-3_600_000), now, now);
//! let mut fetched = Fetched::default();
//! let series = loop {
//!     match evaluate(&target, &context, &fetched)? {
//!         Progress::Fetch(requests) => requests.iter().for_each(|request| fetched.insert(request, fetch(request))),
//!         Progress::Done(series) => break series,
//!     }
//! };
//! let drawn = consolidate(series, &context);
//! # assert!(drawn.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The files, in the order of a target's way:
//!
//! * `parse`, `grammar`, `template`, `expr`: the grammar, graphite-web's own, and their tree; [`time`]: Graphite's way of
//!   saying when
//! * `context`, `fetch`, `tags`: the window and limits of a query, what it asks of a store and what it is given
//! * `evaluate`, `call`, `arguments`, `registry`: how a call finds its function and its arguments; `request`: what
//!   graphite-web keeps meanwhile
//! * `series`, `align`, `aggregate`, `sliding`, `medians`, `sorted`, `consolidate`: columns of values and what is done to them;
//!   `parallel`: on all cores
//! * `buckets`: bounds for distributions
//! * `names`, `pattern`, `python_regex`, `numbers`, `format`: what legends and `aliasSub` are made of
//! * `functions`: the functions, a file a group

#![forbid(unsafe_code)]

mod aggregate;
mod align;
mod arguments;
mod buckets;
mod call;
mod consolidate;
mod context;
mod error;
mod evaluate;
mod expr;
mod fetch;
mod format;
mod functions;
mod grammar;
mod medians;
mod names;
mod numbers;
mod parallel;
mod parse;
mod pattern;
mod python_regex;
mod registry;
mod request;
mod series;
mod sliding;
mod sorted;
mod tags;
mod template;
pub mod time;

#[cfg(test)]
mod testing;

pub use consolidate::consolidate;
pub use context::{Compat, Context, Limits};
pub use error::{EvalError, ParseError};
pub use evaluate::{Progress, evaluate, evaluate_unless, plan};
pub use expr::{CallExpr, Expr, ExprKind, Number};
pub use fetch::{Answer, FetchRequest, Fetched, FetchedSeries, FetchedSketches, Selection, Wanted};
pub use parse::{MAX_DEPTH, MAX_TARGET_BYTES, Reading, parse, parse_with};
pub use registry::{FunctionInfo, ParamInfo, functions};
pub use series::Series;
pub use tags::{TagExpressionError, tag_matchers};
