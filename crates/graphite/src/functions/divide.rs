//! Combine, continued: series as parts of one another.

use std::borrow::Cow;
use std::collections::HashMap;

use statline_series::Consolidation;

use super::SERIES_LIST;
use super::grouping::group_by;
use crate::align::Grid;
use crate::arguments::{Param, ParamType};
use crate::context::Context;
use crate::error::EvalError;
use crate::evaluate::{Call, Outcome, Stop};
use crate::registry::{Function, Group};
use crate::series::Series;
use crate::{aggregate, names, parallel};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "asPercent",
        Group::Combine,
        "Each series as a percentage of a total: of all of them, of a number, of one other series, or of one other series \
         each. With nodes, of those that have the same nodes.",
        &[
            SERIES_LIST,
            Param::optional("total", ParamType::Any),
            Param::optional("nodes", ParamType::NodeOrTag).multiple(),
        ],
        as_percent,
    )
    .also(&["pct"])
    .aggregating(),
    Function::new(
        "divideSeries",
        Group::Combine,
        "Each series of the first list divided by one other series.",
        &[SERIES_LIST_DIVIDEND, Param::required("divisorSeries", ParamType::SeriesList)],
        divide,
    ),
    Function::new(
        "divideSeriesLists",
        Group::Combine,
        "Each series of the first list divided by the series at the same place of the second.",
        &[SERIES_LIST_DIVIDEND, Param::required("divisorSeriesList", ParamType::SeriesList)],
        divide_lists,
    ),
];

const SERIES_LIST_DIVIDEND: Param = Param::required("dividendSeriesList", ParamType::SeriesList);

/// One value a moment of two series.
fn zip(
    context: &Context,
    name: String,
    left: &Series,
    right: &Series,
    apply: impl Fn(f64, f64) -> f64,
) -> Result<Series, EvalError> {
    // Of two series there always is one.
    let Some(grid) = Grid::of([left, right].into_iter(), context)? else { return Ok(missing(name, left)) };
    let (lefts, rights) = (grid.column(left, context), grid.column(right, context));
    let values = lefts.iter().zip(rights.iter()).map(|(left, right)| apply(*left, *right)).collect();
    Ok(grid.series(name, values))
}

fn quotient(left: f64, right: f64) -> f64 {
    if right == 0.0 { f64::NAN } else { left / right }
}

fn percent(left: f64, right: f64) -> f64 {
    quotient(left, right) * 100.0
}

/// What becomes of each series.
fn of_each(series: &[Series], work: impl Fn(&Series) -> Result<Series, EvalError> + Sync) -> Outcome {
    let values = series.iter().map(Series::len).sum();
    Ok(parallel::map(series, values, work).into_iter().collect::<Result<_, _>>()?)
}

/// A series of which nothing is known.
fn missing(name: String, like: &Series) -> Series {
    Series::new(name, like.start, like.step, vec![f64::NAN; like.len()])
}

fn divide(call: &mut Call<'_>) -> Outcome {
    let (dividends, divisors, context) = (call.series(0), call.series(1), call.context);
    match divisors.as_slice() {
        [] => Ok(dividends.iter().map(without_divisor).collect()),
        [divisor] => of_each(&dividends, |dividend| divide_pair(context, dividend, divisor)),
        _ => Err(call.unusable(format!("divisorSeries has to be one series, got {}", divisors.len()))),
    }
}

fn without_divisor(dividend: &Series) -> Series {
    let mut unknown = missing(format!("divideSeries({},MISSING)", dividend.name), dividend);
    unknown.tags.clone_from(&dividend.tags);
    unknown
}

fn divide_pair(context: &Context, dividend: &Series, divisor: &Series) -> Result<Series, EvalError> {
    let name = format!("divideSeries({},{})", dividend.name, divisor.name);
    zip(context, name, dividend, divisor, quotient)
}

fn divide_lists(call: &mut Call<'_>) -> Outcome {
    let (dividends, divisors) = (call.series(0), call.series(1));
    if dividends.len() != divisors.len() {
        let (left, right) = (dividends.len(), divisors.len());
        return Err(call.unusable(format!("both lists have to be equally long, got {left} and {right} series")));
    }
    let pairs = dividends.iter().zip(&divisors);
    Ok(pairs.map(|(dividend, divisor)| divide_pair(call.context, dividend, divisor)).collect::<Result<_, _>>()?)
}

fn as_percent(call: &mut Call<'_>) -> Outcome {
    let has_totals = call.has_series(1);
    let (series, totals, context) = (call.series(0), call.series(1), call.context);
    if series.is_empty() {
        return Ok(series);
    }
    if !call.arguments.scalars(2).is_empty() {
        if call.arguments.scalar(1).is_some() {
            return Err(call.unusable("with nodes, total is None or series, not a number"));
        }
        return as_percent_by_nodes(call, series, has_totals.then_some(totals));
    }
    if let (Some(total), Some(value)) = (call.arguments.scalar(1), call.arguments.number(1)) {
        let total = total.to_string();
        if call.context.as_graphite_web() {
            let values = vec![value; series.first().map_or(0, Series::len)];
            return percents_by_place(call, &series, None, &values, &total);
        }
        return Ok(series.into_iter().map(|one| of_number(one, &total, value)).collect());
    }
    if !has_totals {
        let Some(total) = total_of(call, &series)? else { return Ok(Vec::new()) };
        return percents_of_one(call, &series, &total);
    }
    match totals.as_slice() {
        [] => Ok(series.iter().map(|one| missing(format!("asPercent({},MISSING)", one.name), one)).collect()),
        [total] => percents_of_one(call, &series, total),
        _ if totals.len() == series.len() => {
            let (mut parts, mut totals) = (series, totals);
            parts.sort_by(|left, right| left.name.cmp(&right.name));
            totals.sort_by(|left, right| left.name.cmp(&right.name));
            let pairs = parts.iter().zip(&totals);
            Ok(pairs.map(|(part, total)| percent_of(context, part, total)).collect::<Result<_, _>>()?)
        }
        _ => Err(call.unusable(format!(
            "total is a number, one series, or as many series as the first argument has ({}), got {}",
            series.len(),
            totals.len()
        ))),
    }
}

fn of_number(mut series: Series, total: &str, value: f64) -> Series {
    series.map(|part| percent(part, value));
    series.rename(format!("asPercent({},{total})", series.name));
    series.tags = [("name".to_owned(), series.name.clone())].into();
    series.kind = statline_series::Kind::Untyped;
    series
}

fn percent_of(context: &Context, part: &Series, total: &Series) -> Result<Series, EvalError> {
    zip(context, format!("asPercent({},{})", part.name, total.name), part, total, percent)
}

/// graphite-web has what is missing begin where the percentages before it begin.
fn on_last_grid(call: &Call<'_>, mut unknown: Series, before: &[Series]) -> Series {
    if let (true, Some(last)) = (call.context.as_graphite_web(), before.last()) {
        (unknown.start, unknown.step) = last.grid();
        unknown.said_end = Some(last.end());
    }
    unknown
}

fn percents_of_one(call: &Call<'_>, series: &[Series], total: &Series) -> Outcome {
    if !call.context.as_graphite_web() || series.len() == 1 {
        let context = call.context;
        return of_each(series, |one| percent_of(context, one, total));
    }
    let Some(grid) = Grid::of(series.iter().chain([total]), call.context)? else { return Ok(Vec::new()) };
    let totals = grid.column(total, call.context);
    let own_len = total.len().div_ceil(grid.values_per_point(total));
    percents_by_place(call, series, Some(total), &totals[..own_len], &total.name)
}

/// As graphite-web does it when steps differ: values of the common step stand at the times of each series' own.
fn percents_by_place(
    call: &Call<'_>,
    series: &[Series],
    beside: Option<&Series>,
    totals: &[f64],
    total_name: &str,
) -> Outcome {
    let Some(grid) = Grid::of(series.iter().chain(beside), call.context)? else { return Ok(Vec::new()) };
    let percents = series.iter().map(|part| {
        let mut parts = grid.column(part, call.context).into_owned();
        parts.truncate(part.len().div_ceil(grid.values_per_point(part)));
        parts.resize(parts.len().max(totals.len()), f64::NAN);
        for (index, part) in parts.iter_mut().enumerate() {
            *part = percent(*part, totals.get(index).copied().unwrap_or(f64::NAN));
        }
        let name = format!("asPercent({},{total_name})", part.name);
        let mut one = Series::new(name, part.start, part.step, parts);
        one.said_end = Some(part.end());
        one.x_files_factor = Some(call.context.x_files_factor);
        one
    });
    Ok(percents.collect())
}

/// The sum of series, under the name that a sum of them has.
fn total_of(call: &Call<'_>, series: &[Series]) -> Result<Option<Series>, Stop> {
    let Some(grid) = Grid::of(series.iter(), call.context)? else { return Ok(None) };
    let columns: Vec<Cow<'_, [f64]>> = series.iter().map(|one| grid.column(one, call.context)).collect();
    let values = aggregate::fold(Consolidation::Sum, &columns, grid.len, 0.0);
    let mut total = grid.series(format!("sumSeries({})", aggregate::path_list(series)), values);
    total.kind = aggregate::common_kind(series);
    Ok(Some(total))
}

fn as_percent_by_nodes(call: &Call<'_>, series: Vec<Series>, totals: Option<Vec<Series>>) -> Outcome {
    let nodes = call.arguments.scalars(2);
    let key = |one: &Series| names::key(one, nodes, call.context.compat);
    let parts = group_by(series, key);
    let mut total_groups = totals.map(|totals| group_by(totals, key));
    let mut total_of_key: HashMap<String, Series> = HashMap::new();
    for (key, group) in total_groups.as_deref().unwrap_or(&parts) {
        let total = match group.as_slice() {
            [single] => Some(single.clone()),
            several => total_of(call, several)?,
        };
        total_of_key.extend(total.map(|total| (key.clone(), total)));
    }
    let mut percentages: Vec<Series> = Vec::new();
    for (key, group) in &parts {
        for part in group {
            percentages.push(match total_of_key.get(key) {
                Some(total) => percent_of(call.context, part, total)?,
                None => on_last_grid(call, missing(format!("asPercent({},MISSING)", part.name), part), &percentages),
            });
        }
    }
    let known: std::collections::HashSet<&str> = parts.iter().map(|(key, _)| key.as_str()).collect();
    for (key, _) in total_groups.take().unwrap_or_default() {
        if let (false, Some(total)) = (known.contains(key.as_str()), total_of_key.get(&key)) {
            let unknown = missing(format!("asPercent(MISSING,{})", total.name), total);
            percentages.push(on_last_grid(call, unknown, &percentages));
        }
    }
    Ok(percentages)
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, check, failure, minutes};

    #[test]
    fn quotients_are_missing_where_they_make_no_sense() {
        let store = [
            minutes("s.a", &[1.0, 2.0, NO, 4.0, 5.0]),
            minutes("s.b", &[2.0, NO, 1.0, 0.0, -4.0]),
            minutes("t", &[10.0; 5]),
        ];
        check(
            "divideSeries(s.*,s.b)",
            &store,
            &[
                ("divideSeries(s.a,s.b)", &[0.5, NO, NO, NO, -1.25]),
                ("divideSeries(s.b,s.b)", &[1.0, NO, 1.0, NO, 1.0]),
            ],
        );
        check("divideSeries(t,x)", &store, &[("divideSeries(t,MISSING)", &[NO; 5])]);
        check(
            "divideSeriesLists(group(t,t),group(t,s.b))",
            &store,
            &[("divideSeries(t,t)", &[1.0; 5]), ("divideSeries(t,s.b)", &[5.0, NO, 10.0, NO, -2.5])],
        );
        assert_eq!(failure("divideSeries(t,s.*)", &store), "divideSeries: divisorSeries has to be one series, got 2");
        assert_eq!(
            failure("divideSeriesLists(t,s.*)", &store),
            "divideSeriesLists: both lists have to be equally long, got 1 and 2 series"
        );
    }

    #[test]
    fn percentages_of_totals() {
        let store = [
            minutes("s.a", &[1.0, 2.0, NO, 4.0, 5.0]),
            minutes("s.b", &[3.0, NO, 1.0, 0.0, -5.0]),
            minutes("t.a", &[10.0; 5]),
            minutes("t.c", &[20.0; 5]),
        ];
        check(
            "asPercent(s.*)",
            &store,
            &[
                ("asPercent(s.a,sumSeries(s.*))", &[25.0, 100.0, NO, 100.0, NO]),
                ("asPercent(s.b,sumSeries(s.*))", &[75.0, NO, 100.0, 0.0, NO]),
            ],
        );
        check("pct(s.a,200)", &store, &[("asPercent(s.a,200)", &[0.5, 1.0, NO, 2.0, 2.5])]);
        check("asPercent(s.a,None)", &store, &[("asPercent(s.a,sumSeries(s.a))", &[100.0, 100.0, NO, 100.0, 100.0])]);
        check("asPercent(s.a,t.a)", &store, &[("asPercent(s.a,t.a)", &[10.0, 20.0, NO, 40.0, 50.0])]);
        check("asPercent(s.a,x)", &store, &[("asPercent(s.a,MISSING)", &[NO; 5])]);
        check(
            "asPercent(s.*,t.*)",
            &store,
            &[
                ("asPercent(s.a,t.a)", &[10.0, 20.0, NO, 40.0, 50.0]),
                ("asPercent(s.b,t.c)", &[15.0, NO, 5.0, 0.0, -25.0]),
            ],
        );
        check(
            "asPercent(s.*,t.*,1)",
            &store,
            &[
                ("asPercent(s.a,t.a)", &[10.0, 20.0, NO, 40.0, 50.0]),
                ("asPercent(s.b,MISSING)", &[NO; 5]),
                ("asPercent(MISSING,t.c)", &[NO; 5]),
            ],
        );
        check(
            "asPercent(group(s.a,t.*),None,0)",
            &store,
            &[
                ("asPercent(s.a,s.a)", &[100.0, 100.0, NO, 100.0, 100.0]),
                ("asPercent(t.a,sumSeries(t.*))", &[100.0 / 3.0; 5]),
                ("asPercent(t.c,sumSeries(t.*))", &[200.0 / 3.0; 5]),
            ],
        );
        for nothing in ["asPercent(x,t.*)", "asPercent(x,t.*,1)", "asPercent(x)", "asPercent(x,5)"] {
            check(nothing, &store, &[]);
        }
        assert_eq!(
            failure("asPercent(s.a,t.*)", &store),
            "asPercent: total is a number, one series, or as many series as the first argument has (1), got 2"
        );
        assert_eq!(
            failure("asPercent(s.a,5,1)", &store),
            "asPercent: with nodes, total is None or series, not a number"
        );
    }
}
