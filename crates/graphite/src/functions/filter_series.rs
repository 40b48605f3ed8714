//! Filter series: which of many are shown.

use statline_series::Consolidation;

use super::{SERIES_LIST, first};
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

fn ranked(call: &mut Call<'_>, how: Consolidation, highest: bool) -> Outcome {
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
        ] {
            let yielded: Vec<String> = run(target, &store).into_iter().map(|one| one.name).collect();
            assert_eq!(yielded.join(" "), names, "{target}");
        }
        assert_eq!(failure("grep(s.*,'(')", &store), "grep: the regex \"(\" is not valid: unclosed group");
        assert_eq!(
            failure("filterSeries(s.*,'sum','~',1)", &store),
            "filterSeries: parameter 3 (operator) takes one of !=, <, <=, =, >, >=, got the text \"~\" at character 24"
        );
    }
}
