//! Combine, continued: each series of one list with the one that belongs to it in another.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use statline_series::Consolidation;

use crate::aggregate;
use crate::align::Grid;
use crate::arguments::{Param, ParamType, Scalar};
use crate::context::Compat;
use crate::evaluate::{Call, Outcome, Stop};
use crate::names;
use crate::registry::{Function, Group};
use crate::series::Series;

const FIRST: Param = Param::required("seriesListFirstPos", ParamType::SeriesList);
const SECOND: Param = Param::required("seriesListSecondPos", ParamType::SeriesList);
const LISTS: &[Param] = &[FIRST, SECOND];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "aggregateSeriesLists",
        Group::Combine,
        "Each series of the first list and the one at its place in the second, made one in the way that func names.",
        &[
            FIRST,
            SECOND,
            Param::required("func", ParamType::AggFunc),
            Param::optional("xFilesFactor", ParamType::Float),
        ],
        |call| {
            let (how, factor) = (call.arguments.aggregation(2), call.arguments.number(3));
            let name = call.arguments.text(2).unwrap_or(how.as_str()).to_owned();
            by_place(call, how, &name, factor)
        },
    ),
    lists("diffSeriesLists", "Each series of the first list less the one at its place in the second.", |call| {
        by_place(call, Consolidation::Diff, "diff", None)
    }),
    lists("multiplySeriesLists", "Each series of the first list times the one at its place in the second.", |call| {
        by_place(call, Consolidation::Multiply, "multiply", None)
    }),
    lists("sumSeriesLists", "Each series of the first list plus the one at its place in the second.", |call| {
        by_place(call, Consolidation::Sum, "sum", None)
    }),
    Function::new(
        "weightedAverage",
        Group::Combine,
        "The mean of the first list's series, each weighed by the series of the second that has the same nodes, or the \
         same place when no nodes are given.",
        &[
            Param::required("seriesListAvg", ParamType::SeriesList),
            Param::required("seriesListWeight", ParamType::SeriesList),
            Param::optional("nodes", ParamType::NodeOrTag).multiple(),
        ],
        weighted_average,
    ),
];

const fn lists(name: &'static str, description: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Function {
    Function::new(name, Group::Combine, description, LISTS, run)
}

/// Two lists that are equally long.
fn equal_lists(call: &mut Call<'_>) -> Result<(Vec<Series>, Vec<Series>), Stop> {
    let (firsts, seconds) = (call.series(0), call.series(1));
    if firsts.len() != seconds.len() {
        let (left, right) = (firsts.len(), seconds.len());
        return Err(call.unusable(format!("both lists have to be equally long, got {left} and {right} series")));
    }
    Ok((firsts, seconds))
}

fn by_place(call: &mut Call<'_>, how: Consolidation, function: &str, factor: Option<f64>) -> Outcome {
    let (firsts, seconds) = equal_lists(call)?;
    let stem = function.strip_suffix("Series").unwrap_or(function);
    let mut combined = Vec::with_capacity(firsts.len());
    for pair in firsts.into_iter().zip(seconds) {
        let pair: [Series; 2] = pair.into();
        if let Some(mut one) = aggregate::combine(&pair, how, function, factor, call.context)? {
            one.name = format!("{stem}Series({},{})", pair[0].name, pair[1].name);
            combined.push(one);
        }
    }
    Ok(combined)
}

fn weighted_average(call: &mut Call<'_>) -> Outcome {
    let (averages, weights) = equal_lists(call)?;
    let nodes = call.arguments.scalars(2);
    let shown: Vec<String> = nodes.iter().map(Scalar::to_string).collect();
    let name = format!("weightedAverage({}, {}, {})", sorted_paths(&averages), sorted_paths(&weights), shown.join(","));
    let pairs = if nodes.is_empty() && !call.context.as_graphite_web() {
        averages.iter().zip(&weights).collect()
    } else {
        pairs_by_nodes(&averages, &weights, nodes, call.context.compat)
    };
    let average =
        if call.context.as_graphite_web() { divided_sums(call, &pairs, &weights)? } else { weigh(call, &pairs)? };
    Ok(average.map(|(grid, values)| grid.series(name, values)).into_iter().collect())
}

fn sorted_paths(series: &[Series]) -> String {
    let paths: BTreeSet<&str> = series.iter().map(|one| one.path_expression.as_str()).collect();
    paths.into_iter().collect::<Vec<_>>().join(",")
}

/// The last average and the last weight of each key that has both, in the order in which keys are first seen.
fn pairs_by_nodes<'s>(
    averages: &'s [Series],
    weights: &'s [Series],
    nodes: &[Scalar],
    compat: Compat,
) -> Vec<(&'s Series, &'s Series)> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut pairs: Vec<(Option<&Series>, Option<&Series>)> = Vec::new();
    let mut place_of = |pairs: &mut Vec<_>, one: &Series| {
        *places.entry(names::key(one, nodes, compat)).or_insert_with(|| {
            pairs.push((None, None));
            pairs.len() - 1
        })
    };
    for (average, weight) in averages.iter().zip(weights) {
        let place = place_of(&mut pairs, average);
        pairs[place].0 = Some(average);
        let place = place_of(&mut pairs, weight);
        pairs[place].1 = Some(weight);
    }
    pairs.into_iter().filter_map(|(average, weight)| average.zip(weight)).collect()
}

/// The mean at each moment of the values whose weight is known too.
fn weigh(call: &Call<'_>, pairs: &[(&Series, &Series)]) -> Result<Option<(Grid, Vec<f64>)>, Stop> {
    let all: Vec<&Series> = pairs.iter().flat_map(|(average, weight)| [*average, *weight]).collect();
    let Some(grid) = Grid::of(all.iter().copied(), call.context)? else { return Ok(None) };
    let (mut sums, mut totals) = (vec![f64::NAN; grid.len], vec![0.0; grid.len]);
    for (average, weight) in pairs {
        let (averages, weights) = (grid.column(average, call.context), grid.column(weight, call.context));
        for (index, (average, weight)) in averages.iter().zip(weights.iter()).enumerate() {
            let product = average * weight;
            if !product.is_nan() {
                sums[index] = if sums[index].is_nan() { product } else { sums[index] + product };
                totals[index] += weight;
            }
        }
    }
    for (sum, total) in sums.iter_mut().zip(totals) {
        *sum = if total == 0.0 { f64::NAN } else { *sum / total };
    }
    Ok(Some((grid, sums)))
}

/// As graphite-web does it: the products, paired by place whatever their steps, are divided by the sum of all weights,
/// also of those whose average is missing.
fn divided_sums(
    call: &Call<'_>,
    pairs: &[(&Series, &Series)],
    weights: &[Series],
) -> Result<Option<(Grid, Vec<f64>)>, Stop> {
    let products: Vec<Series> = pairs
        .iter()
        .map(|(average, weight)| {
            let len = average.len().max(weight.len());
            let at = |one: &Series, index: usize| one.values().get(index).copied().unwrap_or(f64::NAN);
            let values = (0..len).map(|index| at(average, index) * at(weight, index)).collect();
            let mut product = Series::new(String::new(), average.start, average.step, values);
            product.said_end = Some(average.end());
            product
        })
        .collect();
    let (Some((grid, mut sums)), Some((_, totals))) = (summed(call, &products)?, summed(call, weights)?) else {
        return Ok(None);
    };
    sums.resize(sums.len().max(totals.len()), f64::NAN);
    for (index, sum) in sums.iter_mut().enumerate() {
        let total = totals.get(index).copied().unwrap_or(f64::NAN);
        *sum = if total == 0.0 { f64::NAN } else { *sum / total };
    }
    Ok(Some((grid, sums)))
}

fn summed(call: &Call<'_>, series: &[Series]) -> Result<Option<(Grid, Vec<f64>)>, Stop> {
    let Some(grid) = Grid::of(series.iter(), call.context)? else { return Ok(None) };
    let columns: Vec<Cow<'_, [f64]>> = series.iter().map(|one| grid.column(one, call.context)).collect();
    let values = aggregate::fold(Consolidation::Sum, &columns, grid.len, call.context.x_files_factor);
    Ok(Some((grid, values)))
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, assert_values, check, context, failure, minutes, run, run_in};
    use crate::{Compat, Context};

    #[test]
    fn lists_are_paired_by_place() {
        let store = [
            minutes("in.a", &[1.0, 2.0, NO, 4.0, NO]),
            minutes("in.b", &[10.0; 5]),
            minutes("out.a", &[1.0, 1.0, 1.0, 1.0, NO]),
            minutes("out.b", &[4.0; 5]),
        ];
        for (function, first, second) in [
            ("sum", [2.0, 3.0, 1.0, 5.0, NO], [14.0; 5]),
            ("diff", [0.0, 1.0, 1.0, 3.0, NO], [6.0; 5]),
            ("multiply", [1.0, 2.0, NO, 4.0, NO], [40.0; 5]),
        ] {
            let names = ["a", "b"].map(|node| format!("{function}Series(in.{node},out.{node})"));
            let expected = [(names[0].as_str(), &first[..]), (names[1].as_str(), &second[..])];
            check(&format!("{function}SeriesLists(in.*,out.*)"), &store, &expected);
            check(&format!("aggregateSeriesLists(in.*,out.*,'{function}')"), &store, &expected);
        }
        check(
            "aggregateSeriesLists(in.a,out.a,'averageSeries',1)",
            &store,
            &[("averageSeries(in.a,out.a)", &[1.0, 1.5, NO, 2.5, NO])],
        );
        let one = run("sumSeriesLists(scale(in.*,2),out.*)", &store).remove(0);
        assert_eq!(one.name, "sumSeries(scale(in.a,2),out.a)");
        assert_eq!(one.path_expression, "sumSeries(scale(in.a,2),out.*)");
        assert_eq!(one.tags["aggregatedBy"], "sum");
        check("sumSeriesLists(x,y)", &store, &[]);
        assert_eq!(
            failure("diffSeriesLists(in.*,out.a)", &store),
            "diffSeriesLists: both lists have to be equally long, got 2 and 1 series"
        );
    }

    #[test]
    fn averages_are_weighed() {
        let store = [
            minutes("s.a.mean", &[1.0, 2.0, NO, 4.0, NO]),
            minutes("s.b.mean", &[3.0, 3.0, 3.0, 3.0, NO]),
            minutes("s.a.count", &[1.0, 1.0, 1.0, NO, 1.0]),
            minutes("s.b.count", &[3.0, 1.0, 1.0, 0.0, 1.0]),
        ];
        let name = "weightedAverage(s.*.mean, s.*.count, 1)";
        check("weightedAverage(s.*.mean,s.*.count,1)", &store, &[(name, &[2.5, 2.5, 3.0, NO, NO])]);
        check(
            "weightedAverage(s.*.mean,group(s.b.count,s.a.count),0,1)",
            &store,
            &[("weightedAverage(s.*.mean, s.a.count,s.b.count, 0,1)", &[2.5, 2.5, 3.0, NO, NO])],
        );
        let by_place = "weightedAverage(s.*.mean, s.*.count, )";
        check("weightedAverage(s.*.mean,s.*.count)", &store, &[(by_place, &[2.5, 2.5, 3.0, NO, NO])]);
        check("weightedAverage(s.a.mean,s.b.count,1)", &store, &[]);
        // graphite-web divides by the weights of values that are missing too.
        let compat = Context { compat: Compat::GraphiteWeb, ..context() };
        let average = run_in(&compat, "weightedAverage(s.*.mean,s.*.count,1)", &store).unwrap().remove(0);
        assert_eq!(average.name, name);
        assert_values(average.values(), &[2.5, 2.5, 1.5, NO, NO], "graphite-web");
        assert_eq!(
            failure("weightedAverage(s.*.mean,s.a.count)", &store),
            "weightedAverage: both lists have to be equally long, got 2 and 1 series"
        );
    }
}
