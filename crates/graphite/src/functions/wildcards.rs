//! Combine, continued: groups of series by the nodes of their names, and what becomes of each group.

use std::collections::{BTreeSet, HashMap};

use statline_series::Consolidation;

use super::SERIES_LIST;
use super::grouping::group_by;
use crate::aggregate;
use crate::arguments::{Param, ParamType};
use crate::evaluate::{Call, Outcome};
use crate::names;
use crate::registry::{self, Function, Group};
use crate::series::Series;

const POSITION: Param = Param::optional("position", ParamType::Node).multiple();

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "aggregateWithWildcards",
        Group::Combine,
        "One series for each name that is left when the nodes at some positions are taken out, made in the way that func \
         names.",
        &[SERIES_LIST, Param::required("func", ParamType::AggFunc), POSITION],
        |call| {
            let how = call.arguments.aggregation(1);
            let name = call.arguments.text(1).unwrap_or(how.as_str()).to_owned();
            without_positions(call, how, &name, 2)
        },
    ),
    Function::new(
        "applyByNode",
        Group::Combine,
        "What a target yields for each beginning of a name, up to a node, put in the place of % in it.",
        &[
            SERIES_LIST,
            Param::required("nodeNum", ParamType::Node),
            Param::required("templateFunction", ParamType::String),
            Param::optional("newName", ParamType::String),
        ],
        apply_by_node,
    ),
    with_wildcards(
        "averageSeriesWithWildcards",
        "The mean of the series whose names are the same without the nodes at some positions.",
        |call| without_positions(call, Consolidation::Average, "average", 1),
    ),
    Function::new(
        "mapSeries",
        Group::Combine,
        "Series ordered into lists by some nodes of their names, for reduceSeries.",
        &[SERIES_LIST, Param::required("mapNodes", ParamType::NodeOrTag).multiple()],
        map_series,
    )
    .also(&["map"]),
    with_wildcards(
        "multiplySeriesWithWildcards",
        "The product of the series whose names are the same without the nodes at some positions.",
        |call| without_positions(call, Consolidation::Multiply, "multiply", 1),
    ),
    Function::new(
        "reduceSeries",
        Group::Combine,
        "For each beginning of a name, what a function makes of the series that go on with one of these nodes, each an \
         argument of its own.",
        &[
            Param::required("seriesLists", ParamType::SeriesLists),
            Param::required("reduceFunction", ParamType::String),
            Param::required("reduceNode", ParamType::Node),
            Param::required("reduceMatchers", ParamType::String).multiple(),
        ],
        reduce_series,
    )
    .also(&["reduce"]),
    with_wildcards(
        "sumSeriesWithWildcards",
        "The sum of the series whose names are the same without the nodes at some positions.",
        |call| without_positions(call, Consolidation::Sum, "sum", 1),
    ),
];

const fn with_wildcards(name: &'static str, description: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Function {
    Function::new(name, Group::Combine, description, &[SERIES_LIST, POSITION], run).aggregating()
}

/// One series for each name without the nodes at the positions in a parameter.
fn without_positions(call: &mut Call<'_>, how: Consolidation, function: &str, positions: usize) -> Outcome {
    let series = call.series(0);
    let scalars = call.arguments.scalars(positions);
    let left_out: Vec<i64> = scalars.iter().filter_map(crate::arguments::Scalar::integer).collect();
    let rest = |one: &Series| {
        let stays = |place: usize| i64::try_from(place).is_ok_and(|place| !left_out.contains(&place));
        let nodes = one.name.split('.').enumerate();
        nodes.filter(|(place, _)| stays(*place)).map(|(_, node)| node).collect::<Vec<_>>().join(".")
    };
    let mut combined = Vec::new();
    for (name, group) in group_by(series, rest) {
        if let Some(mut one) = aggregate::combine(&group, how, function, None, call.context)? {
            one.name = name;
            combined.push(one);
        }
    }
    Ok(combined)
}

/// The end of a slice that stops at an index; an index that is negative counts from the end.
fn stop_of(index: i64, len: usize) -> usize {
    let size = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
    if index < 0 { len.saturating_sub(size) } else { size.min(len) }
}

fn apply_by_node(call: &mut Call<'_>) -> Outcome {
    let series = call.series(0);
    let stop = call.arguments.integer(1).unwrap_or(0).saturating_add(1);
    let beginning = |one: &Series| {
        let nodes: Vec<&str> = one.name.split('.').collect();
        nodes[..stop_of(stop, nodes.len())].join(".")
    };
    let beginnings: BTreeSet<String> = series.iter().map(beginning).collect();
    let template = call.arguments.text(2).unwrap_or_default();
    let targets: Vec<String> = beginnings.iter().map(|beginning| template.replace('%', beginning)).collect();
    let answers = call.evaluate_texts(&targets)?;
    let new_name = call.arguments.text(3).filter(|name| !name.is_empty());
    let mut yielded = Vec::new();
    for (beginning, answer) in beginnings.iter().zip(answers) {
        for mut one in answer {
            if let Some(name) = new_name {
                one.name = name.replace('%', beginning);
            }
            one.path_expression.clone_from(beginning);
            // graphite-web has everything begin and end with the last of the series given.
            if let (true, Some(last)) = (call.context.as_graphite_web(), series.last()) {
                (one.start, one.said_end) = (last.start, Some(last.end()));
            }
            yielded.push(one);
        }
    }
    Ok(yielded)
}

fn map_series(call: &mut Call<'_>) -> Outcome {
    let series = call.series(0);
    let groups = group_by(series, |one| names::key(one, call.arguments.scalars(1), call.context.compat));
    Ok(groups.into_iter().flat_map(|(_, group)| group).collect())
}

fn reduce_series(call: &mut Call<'_>) -> Outcome {
    let name = call.arguments.text(1).unwrap_or_default().to_owned();
    let Some(function) = registry::find(&name) else {
        return Err(call.unusable(format!("reduceFunction is the name of a function, got {name:?}")));
    };
    let node = call.arguments.integer(2).unwrap_or(0);
    let texts: Vec<String> = call.arguments.scalars(3).iter().map(ToString::to_string).collect();
    let mut matchers: HashMap<&str, usize> = HashMap::new();
    for (matcher, text) in texts.iter().enumerate() {
        matchers.entry(text).or_insert(matcher);
    }
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<(String, HashMap<usize, Series>)> = Vec::new();
    for one in call.series(0) {
        let nodes: Vec<&str> = one.name.split('.').collect();
        let place = stop_of(node, nodes.len());
        let is_there = usize::try_from(node.unsigned_abs()).is_ok_and(|size| node >= 0 || size <= nodes.len());
        let matched = nodes.get(place).filter(|_| is_there);
        let Some(matcher) = matched.and_then(|node| matchers.get(node)).copied() else { continue };
        let key = format!("{}.reduce.{name}", nodes[..place].join("."));
        let group = *places.entry(key.clone()).or_insert_with(|| {
            groups.push((key, HashMap::new()));
            groups.len() - 1
        });
        groups[group].1.insert(matcher, one);
    }
    let mut reduced = Vec::with_capacity(groups.len());
    for (key, mut group) in groups {
        let lists = (0..texts.len()).map(|matcher| group.remove(&matcher).into_iter().collect()).collect();
        if let Some(mut one) = call.apply(function, lists)?.into_iter().next() {
            one.name = key;
            reduced.push(one);
        }
    }
    Ok(reduced)
}

#[cfg(test)]
mod tests {
    use crate::FetchedSeries;
    use crate::testing::{NO, check, failure, minutes, run};

    fn store() -> [FetchedSeries; 5] {
        [
            minutes("s.a.cpu.user", &[1.0; 5]),
            minutes("s.a.cpu.system", &[2.0; 5]),
            minutes("s.b.cpu.user", &[4.0; 5]),
            minutes("s.b.cpu.system", &[8.0, NO, 8.0, 8.0, 8.0]),
            minutes("s.c.cpu.user", &[16.0; 5]),
        ]
    }

    #[test]
    fn positions_are_left_out_of_names() {
        check(
            "sumSeriesWithWildcards(s.*.cpu.*,1)",
            &store(),
            &[("s.cpu.system", &[10.0, 2.0, 10.0, 10.0, 10.0]), ("s.cpu.user", &[21.0; 5])],
        );
        check("averageSeriesWithWildcards(s.*.cpu.user,1,3)", &store(), &[("s.cpu", &[7.0; 5])]);
        check(
            "multiplySeriesWithWildcards(s.{a,b}.cpu.*,3)",
            &store(),
            &[("s.a.cpu", &[2.0; 5]), ("s.b.cpu", &[32.0, NO, 32.0, 32.0, 32.0])],
        );
        check("aggregateWithWildcards(s.*.cpu.user,'max',0,1,2,-1)", &store(), &[("user", &[16.0; 5])]);
        check("sumSeriesWithWildcards(s.c.cpu.*)", &store(), &[("s.c.cpu.user", &[16.0; 5])]);
        let one = run("sumSeriesWithWildcards(s.*.cpu.user,1)", &store()).remove(0);
        assert_eq!(one.path_expression, "sumSeries(s.*.cpu.user)");
        assert_eq!(one.tags["aggregatedBy"], "sum");
        check("groupByNode(s.*.cpu.user,2,'sumSeriesWithWildcards')", &store(), &[("cpu", &[1.0; 5])]);
    }

    #[test]
    fn a_target_is_applied_to_each_beginning() {
        check(
            "applyByNode(s.*.cpu.user,1,'sumSeries(%.cpu.*)')",
            &store(),
            &[
                ("sumSeries(s.a.cpu.*)", &[3.0; 5]),
                ("sumSeries(s.b.cpu.*)", &[12.0, 4.0, 12.0, 12.0, 12.0]),
                ("sumSeries(s.c.cpu.*)", &[16.0; 5]),
            ],
        );
        check(
            "applyByNode(s.*.*.*,1,'divideSeries(%.cpu.system,%.cpu.user)','%.ratio')",
            &store(),
            &[("s.a.ratio", &[2.0; 5]), ("s.b.ratio", &[2.0, NO, 2.0, 2.0, 2.0])],
        );
        assert_eq!(run("applyByNode(s.a.cpu.user,0,'%.b.cpu.user')", &store())[0].path_expression, "s");
        check("applyByNode(s.a.cpu.user,-2,'%.user')", &store(), &[("s.a.cpu.user", &[1.0; 5])]);
        check("applyByNode(x,1,'%')", &store(), &[]);
        assert_eq!(
            failure("applyByNode(s.a.cpu.user,0,'sum(%')", &store()),
            "applyByNode: \"sum(s\" is not a target: the parenthesis opened at character 4 is never closed"
        );
    }

    #[test]
    fn mapped_series_are_reduced() {
        check(
            "reduceSeries(mapSeries(s.*.cpu.*,1),'asPercent',3,'system','user')",
            &store(),
            &[
                ("s.a.cpu.reduce.asPercent", &[200.0; 5]),
                ("s.b.cpu.reduce.asPercent", &[200.0, NO, 200.0, 200.0, 200.0]),
            ],
        );
        check(
            "reduce(map(s.{b,a}.cpu.*,1),'diffSeries',-1,'user','system')",
            &store(),
            &[("s.a.cpu.reduce.diffSeries", &[-1.0; 5]), ("s.b.cpu.reduce.diffSeries", &[-4.0, 4.0, -4.0, -4.0, -4.0])],
        );
        // What has no series for a node is reduced without it.
        check(
            "reduce(s.c.cpu.*,'divideSeries',3,'user','system')",
            &store(),
            &[("s.c.cpu.reduce.divideSeries", &[NO; 5])],
        );
        check("reduce(s.*.cpu.*,'sum',9,'user')", &store(), &[]);
        check("reduce(s.*.cpu.*,'sum',-9,'s')", &store(), &[]);
        assert_eq!(
            failure("reduce(s.*.cpu.*,'mystery',3,'user')", &store()),
            "reduceSeries: reduceFunction is the name of a function, got \"mystery\""
        );
        assert_eq!(
            failure("reduce(s.*.cpu.*,'scale',3,'user','system')", &store()),
            "scale: parameter 2 (factor) takes a number, got series"
        );
        assert_eq!(
            failure("reduce(s.*.cpu.*,'divideSeries',3,'user','system','idle')", &store()),
            "divideSeries takes at most 2 arguments, got 3"
        );
    }
}
