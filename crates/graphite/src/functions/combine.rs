//! Combine: many series into one.

use std::borrow::Cow;

use statline_series::Consolidation;

use super::{SERIES_LIST, finite};
use crate::aggregate;
use crate::align::Grid;
use crate::arguments::{Literal, Param, ParamType};
use crate::evaluate::{Call, Outcome};
use crate::numbers::general;
use crate::registry::{Function, Group};

const SERIES_LISTS: &[Param] = &[Param::required("seriesLists", ParamType::SeriesList).multiple()];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "aggregate",
        Group::Combine,
        "One series of many, each of its values made of the values of one moment in the way that func names.",
        &[SERIES_LIST, Param::required("func", ParamType::AggFunc), Param::optional("xFilesFactor", ParamType::Float)],
        aggregate_by_name,
    ),
    aggregating("averageSeries", "The mean of all series at each moment, missing values left out.", average)
        .also(&["avg"]),
    Function::new(
        "countSeries",
        Group::Combine,
        "How many series there are, as a flat line.",
        &[Param::optional("seriesLists", ParamType::SeriesList).multiple()],
        count,
    )
    .aggregating(),
    aggregating("diffSeries", "The first series less all the others.", diff),
    Function::new(
        "group",
        Group::Combine,
        "All series of several lists as one list, for functions that take only one.",
        &[Param::optional("seriesLists", ParamType::SeriesList).multiple()],
        group,
    ),
    aggregating("maxSeries", "The largest value of all series at each moment.", max),
    aggregating("minSeries", "The smallest value of all series at each moment.", min),
    aggregating(
        "multiplySeries",
        "The product of all series at each moment, missing where one of them is. A single series is left as it is.",
        multiply,
    ),
    Function::new(
        "percentileOfSeries",
        Group::Combine,
        "The n-th percentile of the values of all series at each moment; with interpolate, between the two nearest.",
        &[
            SERIES_LIST,
            Param::required("n", ParamType::Float),
            Param::optional("interpolate", ParamType::Boolean).or(Literal::Bool(false)),
        ],
        percentile_of_series,
    ),
    Function::new(
        "powSeries",
        Group::Combine,
        "The first series to the power of the next, that to the power of the one after it, and so on.",
        &[Param::required("seriesList", ParamType::SeriesList).multiple()],
        pow,
    )
    .aggregating(),
    aggregating("rangeOfSeries", "How far the largest and the smallest value of each moment are apart.", range),
    aggregating("stddevSeries", "The standard deviation of all series at each moment.", stddev),
    aggregating("sumSeries", "The sum of all series at each moment, missing values left out.", sum).also(&["sum"]),
];

const fn aggregating(name: &'static str, description: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Function {
    Function::new(name, Group::Combine, description, SERIES_LISTS, run).aggregating()
}

fn combine(call: &mut Call<'_>, how: Consolidation, name: &str) -> Outcome {
    let series = call.series(0);
    Ok(aggregate::combine(&series, how, name, None, call.context)?.into_iter().collect())
}

fn aggregate_by_name(call: &mut Call<'_>) -> Outcome {
    let series = call.series(0);
    let (how, factor) = (call.arguments.aggregation(1), call.arguments.number(2));
    let name = call.arguments.text(1).unwrap_or(how.as_str());
    Ok(aggregate::combine(&series, how, name, factor, call.context)?.into_iter().collect())
}

fn average(call: &mut Call<'_>) -> Outcome {
    combine(call, Consolidation::Average, "average")
}

fn diff(call: &mut Call<'_>) -> Outcome {
    combine(call, Consolidation::Diff, "diff")
}

fn max(call: &mut Call<'_>) -> Outcome {
    combine(call, Consolidation::Max, "max")
}

fn min(call: &mut Call<'_>) -> Outcome {
    combine(call, Consolidation::Min, "min")
}

fn range(call: &mut Call<'_>) -> Outcome {
    combine(call, Consolidation::Range, "rangeOf")
}

fn stddev(call: &mut Call<'_>) -> Outcome {
    combine(call, Consolidation::Stddev, "stddev")
}

fn sum(call: &mut Call<'_>) -> Outcome {
    combine(call, Consolidation::Sum, "sum")
}

fn multiply(call: &mut Call<'_>) -> Outcome {
    let series = call.series(0);
    if series.len() == 1 {
        return Ok(series);
    }
    Ok(aggregate::combine(&series, Consolidation::Multiply, "multiply", None, call.context)?.into_iter().collect())
}

fn pow(call: &mut Call<'_>) -> Outcome {
    let series = call.series(0);
    let Some(grid) = Grid::of(series.iter(), call.context)? else { return Ok(Vec::new()) };
    let mut columns = series.iter().map(|one| grid.column(one, call.context));
    let mut powers = columns.next().map(Cow::into_owned).unwrap_or_default();
    for exponents in columns {
        for (power, exponent) in powers.iter_mut().zip(exponents.iter()) {
            *power = raised(*power, *exponent);
        }
    }
    let names: Vec<&str> = series.iter().map(|one| one.name.as_str()).collect();
    Ok(vec![grid.series(format!("powSeries({})", names.join(",")), powers)])
}

/// A power; missing where one of both is, and where it is not finite.
fn raised(base: f64, exponent: f64) -> f64 {
    if base.is_nan() || exponent.is_nan() { f64::NAN } else { finite(base.powf(exponent)) }
}

fn group(call: &mut Call<'_>) -> Outcome {
    Ok(call.series(0))
}

#[expect(clippy::cast_precision_loss, reason = "there are far fewer than 2^52 series")]
fn count(call: &mut Call<'_>) -> Outcome {
    let none_asked_for = !call.has_series(0);
    let series = call.series(0);
    if none_asked_for {
        let mut line = super::special::flat_line("0".to_owned(), 0.0, call.context);
        "countSeries()".clone_into(&mut line.path_expression);
        line.set_whole(true);
        return Ok(vec![line]);
    }
    let Some(grid) = Grid::of(series.iter(), call.context)? else { return Ok(Vec::new()) };
    let name = format!("countSeries({})", aggregate::path_list(&series));
    let mut counts = grid.series(name, vec![series.len() as f64; grid.len]);
    counts.set_whole(true);
    Ok(vec![counts])
}

fn percentile_of_series(call: &mut Call<'_>) -> Outcome {
    let percent = call.arguments.number(1).unwrap_or(f64::NAN);
    if percent <= 0.0 {
        return Err(call.unusable(format!("n is a percent above 0, got {}", general(percent))));
    }
    let interpolate = call.arguments.flag(2);
    let series = call.series(0);
    let Some(grid) = Grid::of(series.iter(), call.context)? else { return Ok(Vec::new()) };
    let columns: Vec<_> = series.iter().map(|one| grid.column(one, call.context)).collect();
    let values = aggregate::rows(&columns, grid.len, |row| aggregate::percentile(row, percent, interpolate));
    let path = series.first().map_or("", |one| one.path_expression.as_str());
    let name = format!("percentileOfSeries({path},{})", general(percent));
    let mut combined = grid.series(name, values);
    combined.kind = aggregate::common_kind(&series);
    Ok(vec![combined])
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, check, column, failure, minutes, run};
    use statline_series::Kind;

    #[test]
    fn series_combine_row_by_row() {
        let store = [
            minutes("s.a", &[1.0, 2.0, NO, NO, 5.0]),
            minutes("s.b", &[3.0, NO, 4.0, NO, -1.0]),
            minutes("t", &[10.0; 5]),
        ];
        for (target, name, values) in [
            ("sumSeries(s.*)", "sumSeries(s.*)", [4.0, 2.0, 4.0, NO, 4.0]),
            ("sum(s.a,s.b)", "sumSeries(s.a,s.b)", [4.0, 2.0, 4.0, NO, 4.0]),
            ("sumSeries(s.*,s.*)", "sumSeries(s.*)", [8.0, 4.0, 8.0, NO, 8.0]),
            ("averageSeries(s.*)", "averageSeries(s.*)", [2.0, 2.0, 4.0, NO, 2.0]),
            ("avg(s.*,t)", "averageSeries(s.*,t)", [14.0 / 3.0, 6.0, 7.0, 10.0, 14.0 / 3.0]),
            ("maxSeries(s.*)", "maxSeries(s.*)", [3.0, 2.0, 4.0, NO, 5.0]),
            ("minSeries(s.*)", "minSeries(s.*)", [1.0, 2.0, 4.0, NO, -1.0]),
            ("diffSeries(t,s.*)", "diffSeries(t,s.*)", [6.0, 8.0, 6.0, 10.0, 6.0]),
            ("multiplySeries(s.*)", "multiplySeries(s.*)", [3.0, NO, NO, NO, -5.0]),
            ("rangeOfSeries(s.*)", "rangeOfSeries(s.*)", [2.0, 0.0, 0.0, NO, 6.0]),
            ("stddevSeries(s.*)", "stddevSeries(s.*)", [1.0, 0.0, 0.0, NO, 3.0]),
            ("powSeries(s.*)", "powSeries(s.a,s.b)", [1.0, NO, NO, NO, 0.2]),
            ("powSeries(s.a,constantLine(0))", "powSeries(s.a,0.0)", [1.0, 1.0, NO, NO, 1.0]),
            ("powSeries(diffSeries(t,t),s.*)", "powSeries(diffSeries(t),s.a,s.b)", [0.0, NO, NO, NO, NO]),
            ("groupByNode(s.*,0,'powSeries')", "s", [1.0, NO, NO, NO, 0.2]),
            ("countSeries(s.*,t)", "countSeries(s.*,t)", [3.0; 5]),
            ("aggregate(s.*,'median')", "medianSeries(s.*)", [2.0, 2.0, 4.0, NO, 2.0]),
            ("aggregate(s.*,'sumSeries',0.6)", "sumSeries(s.*)", [4.0, NO, NO, NO, 4.0]),
            ("percentileOfSeries(group(s.*,t),50)", "percentileOfSeries(s.*,50)", [3.0, 10.0, 10.0, 10.0, 5.0]),
            ("percentileOfSeries(s.*,50,true)", "percentileOfSeries(s.*,50)", [2.0, 2.0, 4.0, NO, 2.0]),
            ("sumSeries(scale(s.*,2),t)", "sumSeries(scale(s.a,2),scale(s.b,2),t)", [18.0, 14.0, 18.0, 10.0, 18.0]),
            ("sumSeries(setXFilesFactor(s.*,1))", "sumSeries(s.*)", [4.0, NO, NO, NO, 4.0]),
            ("s.*|sumSeries(t)", "sumSeries(s.*,t)", [14.0, 12.0, 14.0, 10.0, 14.0]),
        ] {
            check(target, &store, &[(name, &values)]);
        }
        check("multiplySeries(t)", &store, &[("t", &[10.0; 5])]);
        check("group(t,s.a)", &store, &[("t", &[10.0; 5]), ("s.a", &[1.0, 2.0, NO, NO, 5.0])]);
        for nothing in ["sumSeries(x)", "countSeries(x)", "percentileOfSeries(x,5)", "multiplySeries(x)", "group()"] {
            check(nothing, &store, &[]);
        }
        assert_eq!(run("countSeries()", &store)[0].values(), [0.0; 3]);
    }

    #[test]
    fn steps_are_normalised_by_time_and_kind() {
        let mut counts = column("c", 20, 20, &[1.0; 15]);
        counts.kind = Kind::Count;
        let store = [minutes("g", &[1.0; 5]), counts, column("h", 30, 30, &[2.0; 10])];
        // A bucket is named after its start; that of 0 was cut off by the window, and that of 300 is not over yet.
        check("sumSeries(g,c)", &store, &[("sumSeries(g,c)", &[4.0, 4.0, 4.0, 4.0, 2.0])]);
        check("sumSeries(g,h)", &store, &[("sumSeries(g,h)", &[3.0; 5])]);
    }

    #[test]
    fn tags_in_common_stay() {
        let store = [minutes("m;dc=x;host=a", &[1.0; 5]), minutes("m;dc=x;host=b", &[2.0; 5])];
        let sum = run("sumSeries(seriesByTag('name=m'))", &store).remove(0);
        assert_eq!(sum.name, "sumSeries(seriesByTag('name=m'))");
        let tags: Vec<_> = sum.tags.iter().map(|(tag, value)| format!("{tag}={value}")).collect();
        assert_eq!(tags, ["aggregatedBy=sum", "dc=x", "name=m"]);
    }

    #[test]
    fn a_kind_in_common_stays() {
        let mut store = [minutes("s.a", &[1.0; 5]), minutes("s.b", &[2.0; 5])];
        store[0].kind = Kind::Count;
        assert_eq!(run("sumSeries(s.*)", &store)[0].kind, Kind::Untyped);
        store[1].kind = Kind::Count;
        assert_eq!(run("sumSeries(s.*)", &store)[0].kind, Kind::Count);
    }

    #[test]
    fn percents_are_above_zero() {
        assert_eq!(failure("percentileOfSeries(x,0)", &[]), "percentileOfSeries: n is a percent above 0, got 0");
    }
}
