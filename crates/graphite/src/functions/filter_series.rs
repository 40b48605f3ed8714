//! Filter series: which of many are shown.

use std::borrow::Cow;

use statline_series::Consolidation;

use super::alias::Substitution;
use super::{SERIES_LIST, first};
use crate::aggregate;
use crate::align::Grid;
use crate::arguments::{Literal, Param, ParamType};
use crate::evaluate::{Call, Outcome};
use crate::pattern;
use crate::registry::{Function, Group};
use crate::series::Series;
use crate::sorted;

const N: Param = Param::required("n", ParamType::Integer);
const WITH_NUMBER: &[Param] = &[SERIES_LIST, Param::required("n", ParamType::Float)];
const WITH_COUNT: &[Param] = &[SERIES_LIST, N];
const WITH_COUNT_AND_FUNC: &[Param] =
    &[SERIES_LIST, N, Param::optional("func", ParamType::AggFunc).or(Literal::Text("average"))];
const WITH_PATTERN: &[Param] = &[SERIES_LIST, Param::required("pattern", ParamType::String)];
const OPERATORS: &[&str] = &["!=", "<", "<=", "=", ">", ">="];

pub(crate) const FUNCTIONS: &[Function] = &[
    filter("averageAbove", "Series whose mean is above n.", WITH_NUMBER, |call| {
        by(call, Consolidation::Average, ">", 1)
    }),
    filter("averageBelow", "Series whose mean is n or less.", WITH_NUMBER, |call| {
        by(call, Consolidation::Average, "<=", 1)
    }),
    filter(
        "averageOutsidePercentile",
        "Series whose mean is among the lowest or highest of all, beyond the n-th percentile of them.",
        WITH_NUMBER,
        average_outside,
    ),
    filter("currentAbove", "Series whose last value is above n.", WITH_NUMBER, |call| {
        by(call, Consolidation::Last, ">", 1)
    }),
    filter("currentBelow", "Series whose last value is n or less.", WITH_NUMBER, |call| {
        by(call, Consolidation::Last, "<=", 1)
    }),
    filter("exclude", "Series whose name the regex does not match.", WITH_PATTERN, |call| by_name(call, false)),
    filter(
        "filterSeries",
        "Series of which func makes a value that compares to threshold as operator says.",
        &[
            SERIES_LIST,
            Param::required("func", ParamType::AggFunc),
            Param::required("operator", ParamType::String).one_of(OPERATORS),
            Param::required("threshold", ParamType::Float),
        ],
        filter_series,
    ),
    filter("grep", "Series whose name the regex matches.", WITH_PATTERN, |call| by_name(call, true)),
    filter("highest", "The n series of which func makes the most.", WITH_COUNT_AND_FUNC, |call| {
        let how = call.arguments.aggregation(2);
        ranked(call, how, true)
    }),
    filter("highestAverage", "The n series with the highest means.", WITH_COUNT, |call| {
        ranked(call, Consolidation::Average, true)
    }),
    filter("highestCurrent", "The n series with the highest last values.", WITH_COUNT, |call| {
        ranked(call, Consolidation::Last, true)
    }),
    filter("highestMax", "The n series with the highest peaks.", WITH_COUNT, |call| {
        ranked(call, Consolidation::Max, true)
    }),
    filter("limit", "The first n series.", WITH_COUNT, limit),
    filter("lowest", "The n series of which func makes the least.", WITH_COUNT_AND_FUNC, |call| {
        let how = call.arguments.aggregation(2);
        ranked(call, how, false)
    }),
    filter("lowestAverage", "The n series with the lowest means.", WITH_COUNT, |call| {
        ranked(call, Consolidation::Average, false)
    }),
    filter("lowestCurrent", "The n series with the lowest last values.", WITH_COUNT, |call| {
        ranked(call, Consolidation::Last, false)
    }),
    filter("maximumAbove", "Series whose peak is above n.", WITH_NUMBER, |call| by(call, Consolidation::Max, ">", 1)),
    filter("maximumBelow", "Series whose peak is n or less.", WITH_NUMBER, |call| {
        by(call, Consolidation::Max, "<=", 1)
    }),
    filter("minimumAbove", "Series that are always above n.", WITH_NUMBER, |call| by(call, Consolidation::Min, ">", 1)),
    filter("minimumBelow", "Series that are n or less at least once.", WITH_NUMBER, |call| {
        by(call, Consolidation::Min, "<=", 1)
    }),
    filter("mostDeviant", "The n series that stray furthest from their means.", WITH_COUNT, |call| {
        ranked_without_missing(call, Consolidation::Stddev)
    }),
    filter(
        "removeBetweenPercentile",
        "Series that are at least once among the lowest or highest of a moment, beyond the n-th percentile of it.",
        WITH_NUMBER,
        remove_between,
    ),
    filter(
        "removeEmptySeries",
        "Series that have values, and with xFilesFactor at least that part of them.",
        &[SERIES_LIST, Param::optional("xFilesFactor", ParamType::Float)],
        remove_empty,
    ),
    filter(
        "unique",
        "Of series with the same name, the first.",
        &[Param::required("seriesLists", ParamType::SeriesList).multiple()],
        unique,
    ),
    filter(
        "useSeriesAbove",
        "For series with a value above value, those that their names become with each match of a regex replaced.",
        &[
            SERIES_LIST,
            Param::required("value", ParamType::Float),
            Param::required("search", ParamType::String),
            Param::required("replace", ParamType::String),
        ],
        use_series_above,
    ),
];

const fn filter(
    name: &'static str,
    description: &'static str,
    params: &'static [Param],
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function::new(name, Group::FilterSeries, description, params, run)
}

/// Whether a value passes. One that is missing is less than all others, and unlike any.
fn passes(value: f64, operator: &str, threshold: f64) -> bool {
    match operator {
        "=" => value == threshold,
        "!=" => value != threshold,
        ">" => value > threshold,
        ">=" => value >= threshold,
        "<" => value.is_nan() || value < threshold,
        "<=" => value.is_nan() || value <= threshold,
        _ => false,
    }
}

fn by(call: &mut Call<'_>, how: Consolidation, operator: &str, threshold_index: usize) -> Outcome {
    let threshold = call.arguments.number(threshold_index).unwrap_or(f64::NAN);
    let mut series = call.series(0);
    series.retain(|one| passes(one.summary(how), operator, threshold));
    Ok(series)
}

fn filter_series(call: &mut Call<'_>) -> Outcome {
    let (how, operator) = (call.arguments.aggregation(1), call.arguments.text(2).unwrap_or_default().to_owned());
    by(call, how, &operator, 3)
}

fn by_name(call: &mut Call<'_>, keep: bool) -> Outcome {
    let regex = pattern::compile(call.function.name, call.arguments.text(1).unwrap_or_default())?;
    let mut series = call.series(0);
    series.retain(|one| regex.is_match(&one.name) == keep);
    Ok(series)
}

pub(super) fn ranked(call: &mut Call<'_>, how: Consolidation, highest: bool) -> Outcome {
    let count = call.arguments.integer(1).unwrap_or(1);
    let series = sorted::by_value(call.series(0), |one| one.summary(how), highest);
    Ok(first(series, count))
}

fn ranked_without_missing(call: &mut Call<'_>, how: Consolidation) -> Outcome {
    let count = call.arguments.integer(1).unwrap_or(1);
    let mut series = call.series(0);
    series.retain(|one| one.present() > 0);
    Ok(first(sorted::by_value(series, |one| one.summary(how), true), count))
}

fn limit(call: &mut Call<'_>) -> Outcome {
    let count = call.arguments.integer(1).unwrap_or(0);
    Ok(first(call.series(0), count))
}

/// The bounds beyond which a value is an extreme of those given, which are reordered.
fn extremes(values: &mut [f64], percent: f64) -> (f64, f64) {
    let percent = if percent < 50.0 { 100.0 - percent } else { percent };
    (aggregate::percentile(values, 100.0 - percent, false), aggregate::percentile(values, percent, false))
}

fn average_outside(call: &mut Call<'_>) -> Outcome {
    let percent = call.arguments.number(1).unwrap_or(0.0);
    let mut series = call.series(0);
    let mut means: Vec<f64> = series.iter().map(|one| one.summary(Consolidation::Average)).collect();
    let (low, high) = extremes(&mut means, percent);
    series.retain(|one| {
        let mean = one.summary(Consolidation::Average);
        !(low < mean && mean < high)
    });
    Ok(series)
}

fn remove_between(call: &mut Call<'_>) -> Outcome {
    let percent = call.arguments.number(1).unwrap_or(0.0);
    let series = call.series(0);
    let Some(grid) = Grid::of(series.iter(), call.context)? else { return Ok(series) };
    let columns: Vec<Cow<'_, [f64]>> = series.iter().map(|one| grid.column(one, call.context)).collect();
    let mut stands_out = vec![false; columns.len()];
    let mut row = Vec::with_capacity(columns.len());
    for index in 0..grid.len {
        row.clear();
        row.extend(columns.iter().map(|column| column[index]));
        let (low, high) = extremes(&mut row, percent);
        for (flag, column) in stands_out.iter_mut().zip(&columns) {
            let value = column[index];
            *flag |= value <= low || value >= high;
        }
    }
    drop(columns);
    Ok(series.into_iter().zip(stands_out).filter_map(|(one, flag)| flag.then_some(one)).collect())
}

fn use_series_above(call: &mut Call<'_>) -> Outcome {
    let value = call.arguments.number(1).unwrap_or(f64::NAN);
    let substitution = Substitution::of(call, 2)?;
    let series = call.series(0);
    let above = series.iter().filter(|one| one.summary(Consolidation::Max) > value);
    let queries = above.map(|one| substitution.of_name(&one.name, call)).collect::<Result<Vec<_>, _>>()?;
    let answers = if call.context.as_graphite_web() && !queries.is_empty() {
        // One query, over what it fetches itself.
        call.request().apart(|| call.evaluate_texts(&[format!("group({})", queries.join(","))]))
    } else {
        call.evaluate_texts(&queries)
    };
    let mut answers: Vec<Series> = answers?.into_iter().flatten().collect();
    answers.retain(|one| !one.is_empty());
    Ok(answers)
}

#[expect(clippy::cast_precision_loss, reason = "series are far shorter than 2^52")]
fn remove_empty(call: &mut Call<'_>) -> Outcome {
    let factor = call.arguments.number(1).unwrap_or(0.0);
    let mut series = call.series(0);
    series.retain(|one| crate::align::enough(one.present(), one.len() as f64, factor));
    Ok(series)
}

fn unique(call: &mut Call<'_>) -> Outcome {
    let mut seen = std::collections::HashSet::new();
    let series: Vec<Series> = call.series(0);
    Ok(series.into_iter().filter(|one| seen.insert(one.name.clone())).collect())
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, failure, minutes, run};

    #[test]
    fn the_right_ones_are_shown_in_the_right_order() {
        let store = [
            minutes("s.a", &[1.0, 2.0, 3.0, 4.0, 5.0]),
            minutes("s.b", &[9.0, NO, 9.0, NO, 0.0]),
            minutes("s.c", &[NO; 5]),
            minutes("s.d", &[-1.0, -1.0, 20.0, -1.0, NO]),
        ];
        for (target, names) in [
            ("averageAbove(s.*,3)", "s.b s.d"),
            ("averageBelow(s.*,3)", "s.a s.c"),
            ("currentAbove(s.*,0)", "s.a"),
            ("currentBelow(s.*,0)", "s.b s.c s.d"),
            ("maximumAbove(s.*,5)", "s.b s.d"),
            ("maximumBelow(s.*,5)", "s.a s.c"),
            ("minimumAbove(s.*,-1)", "s.a s.b"),
            ("minimumBelow(s.*,0)", "s.b s.c s.d"),
            ("filterSeries(s.*,'sum','=',15)", "s.a"),
            ("filterSeries(s.*,'sum','!=',15)", "s.b s.c s.d"),
            ("filterSeries(s.*,'count','>=',4)", "s.a s.d"),
            ("filterSeries(s.*,'last','<',0)", "s.c s.d"),
            ("highest(s.*,2)", "s.b s.d"),
            ("highest(s.*,1,'max')", "s.d"),
            ("highestAverage(s.*,3)", "s.b s.d s.a"),
            ("highestCurrent(s.*,1)", "s.a"),
            ("highestMax(s.*,2)", "s.d s.b"),
            ("lowest(s.*,2)", "s.c s.a"),
            ("lowestAverage(s.*,2)", "s.c s.a"),
            ("lowestCurrent(s.*,3)", "s.c s.d s.b"),
            ("highest(s.*,-1)", "s.b s.d s.a"),
            ("limit(s.*,2)", "s.a s.b"),
            ("limit(s.*,0)", ""),
            ("limit(s.*,99)", "s.a s.b s.c s.d"),
            ("mostDeviant(s.*,2)", "s.d s.b"),
            ("removeEmptySeries(s.*)", "s.a s.b s.d"),
            ("removeEmptySeries(s.*,0.8)", "s.a s.d"),
            ("unique(s.a,s.*,s.b)", "s.a s.b s.c s.d"),
            ("grep(s.*,'[ad]$')", "s.a s.d"),
            ("exclude(s.*,'a|b')", "s.c s.d"),
            // Means: 3, 6, none, 4.25.
            ("averageOutsidePercentile(s.*,90)", "s.a s.b s.c"),
            ("averageOutsidePercentile(s.*,40)", "s.a s.b s.c s.d"),
            ("removeBetweenPercentile(s.*,90)", "s.a s.b s.d"),
            ("removeBetweenPercentile(group(s.a,scale(s.a,2),scale(s.a,3)),90)", "s.a scale(s.a,3)"),
            ("useSeriesAbove(s.*,5,'[ab]$','a')", "s.a s.d"),
            ("useSeriesAbove(s.*,4,'s\\.(.)','scale(s.\\1,2)')", "scale(s.a,2) scale(s.b,2) scale(s.d,2)"),
            ("useSeriesAbove(s.*,50,'a','b')", ""),
        ] {
            let yielded: Vec<String> = run(target, &store).into_iter().map(|one| one.name).collect();
            assert_eq!(yielded.join(" "), names, "{target}");
        }
        assert_eq!(
            failure(
                r#"useSeriesAbove(alias(s.a,'T'),0,'T',"useSeriesAbove(alias(s.a,'U'),0,'U','useSeriesAbove(s.a,0,\"x\",\"y\")')")"#,
                &store
            ),
            "useSeriesAbove: a query that it makes asks for such queries again"
        );
        assert_eq!(failure("grep(s.*,'(')", &store), "grep: the regex \"(\" is not valid: unclosed group");
        assert_eq!(
            failure("filterSeries(s.*,'sum','~',1)", &store),
            "filterSeries: parameter 3 (operator) takes one of !=, <, <=, =, >, >=, got the text \"~\" at character 24"
        );
    }
}
