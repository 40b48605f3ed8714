//! The functions, a file a group as Graphite's own documentation groups them.
//!
//! Each is registered beside its code with its parameters. Names of results are Graphite's to the character, since people
//! and tools match on them.

mod alias;
mod alias_base64;
mod baseline;
mod calculate;
mod clock;
mod combine;
mod curves;
mod divide;
mod extremes;
mod filter_data;
mod filter_series;
mod graph;
mod grouping;
mod heat_map;
mod hitcount;
mod holt_winters;
mod intervals;
mod legend;
mod moving;
mod pairs;
mod polyfit;
mod preview;
mod repair;
mod shift;
mod signal;
mod slo;
mod sorting;
mod special;
mod summarize;
mod timers;
mod transform;
mod wildcards;

#[cfg(test)]
mod proptests;

use crate::arguments::{Literal, Param, ParamType};
use crate::evaluate::{Call, Outcome};
use crate::expr::Number;
use crate::parallel;
use crate::registry::Function;
use crate::series::Series;

/// Every function there is.
pub(crate) static GROUPS: &[&[Function]] = &[
    combine::FUNCTIONS,
    divide::FUNCTIONS,
    grouping::FUNCTIONS,
    pairs::FUNCTIONS,
    wildcards::FUNCTIONS,
    transform::FUNCTIONS,
    repair::FUNCTIONS,
    curves::FUNCTIONS,
    summarize::FUNCTIONS,
    hitcount::FUNCTIONS,
    shift::FUNCTIONS,
    clock::FUNCTIONS,
    moving::FUNCTIONS,
    holt_winters::FUNCTIONS,
    calculate::FUNCTIONS,
    filter_series::FUNCTIONS,
    filter_data::FUNCTIONS,
    sorting::FUNCTIONS,
    alias::FUNCTIONS,
    legend::FUNCTIONS,
    graph::FUNCTIONS,
    special::FUNCTIONS,
    timers::FUNCTIONS,
    alias_base64::FUNCTIONS,
    baseline::FUNCTIONS,
    extremes::FUNCTIONS,
    heat_map::FUNCTIONS,
    polyfit::FUNCTIONS,
    signal::FUNCTIONS,
    slo::FUNCTIONS,
];

/// The series that most functions take first.
const SERIES_LIST: Param = Param::required("seriesList", ParamType::SeriesList);

const fn int(value: i64) -> Literal {
    Literal::Number(Number::Int(value))
}

/// What has no finite result has none.
const fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

/// Changes each of the series given first.
fn each(call: &mut Call<'_>, change: impl Fn(&mut Series) + Sync) -> Outcome {
    let mut series = call.series(0);
    parallel::change(&mut series, change);
    Ok(series)
}

/// The first so many of a list; all but the last so many when negative, as Python slices.
fn first(mut series: Vec<Series>, count: i64) -> Vec<Series> {
    let size = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    series.truncate(if count < 0 { series.len().saturating_sub(size) } else { size });
    series
}
