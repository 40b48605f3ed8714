//! Combine, continued: one series for each group of many.

use std::collections::HashMap;

use super::SERIES_LIST;
use crate::arguments::{Literal, Param, ParamType, Scalar};
use crate::evaluate::{Call, Outcome};
use crate::names;
use crate::registry::{Function, Group};
use crate::series::Series;

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "groupByNode",
        Group::Combine,
        "One series for each value that a node of the name (or a tag) has, made of those that have it.",
        &[
            SERIES_LIST,
            Param::required("nodeNum", ParamType::NodeOrTag),
            Param::optional("callback", ParamType::AggOrSeriesFunc).or(Literal::Text("average")),
        ],
        group_by_node,
    ),
    Function::new(
        "groupByNodes",
        Group::Combine,
        "One series for each combination of values that several nodes of the name (or tags) have.",
        &[
            SERIES_LIST,
            Param::required("callback", ParamType::AggOrSeriesFunc),
            Param::optional("nodes", ParamType::NodeOrTag).multiple(),
        ],
        group_by_nodes,
    ),
    Function::new(
        "groupByTags",
        Group::Combine,
        "One series for each combination of values that tags have, itself a series with these tags.",
        &[
            SERIES_LIST,
            Param::required("callback", ParamType::AggOrSeriesFunc),
            Param::required("tags", ParamType::Tag).multiple(),
        ],
        group_by_tags,
    ),
];

/// Series by what a function says of them, in the order in which its answers are first seen.
pub(super) fn group_by(series: Vec<Series>, key: impl Fn(&Series) -> String) -> Vec<(String, Vec<Series>)> {
    let mut groups: Vec<(String, Vec<Series>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for one in series {
        let key = key(&one);
        let place = *places.entry(key.clone()).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, group)) => group.push(one),
            None => groups.push((key, vec![one])),
        }
    }
    groups
}

fn group_by_node(call: &mut Call<'_>) -> Outcome {
    named_groups(call, 1, 2)
}

fn group_by_nodes(call: &mut Call<'_>) -> Outcome {
    named_groups(call, 2, 1)
}

/// One series for each key of the nodes in one parameter, made by the callback in another and named after the key.
fn named_groups(call: &mut Call<'_>, nodes: usize, callback: usize) -> Outcome {
    let series = call.series(0);
    let groups = group_by(series, |one| names::key(one, call.arguments.scalars(nodes), call.context.compat));
    let mut combined = Vec::with_capacity(groups.len());
    for (key, group) in groups {
        if let Some(mut one) = call.combine(callback, group)? {
            one.name = key;
            combined.push(one);
        }
    }
    Ok(combined)
}

fn group_by_tags(call: &mut Call<'_>) -> Outcome {
    let series = call.series(0);
    let mut tags: Vec<String> = call.arguments.scalars(2).iter().map(Scalar::to_string).collect();
    let by_name = tags.iter().any(|tag| tag == "name");
    tags.retain(|tag| tag != "name");
    tags.sort_unstable();
    tags.dedup();
    let name_of = |one: &Series| one.tags.get("name").cloned().unwrap_or_default();
    // A name that all have stays; else the callback's stands for it, unless names are told apart.
    let first_name = series.first().map(name_of).unwrap_or_default();
    let common = series.iter().all(|one| name_of(one) == first_name);
    let callback = call.arguments.text(1).unwrap_or_default();
    let shared_name = if common { first_name } else { callback.to_owned() };
    let name = |one: &Series| if by_name { name_of(one) } else { shared_name.clone() };
    let key = |one: &Series| {
        let mut key = name(one);
        for tag in &tags {
            let value = one.tags.get(tag).map_or("", String::as_str);
            key.push_str(&format!(";{tag}={value}"));
        }
        key
    };
    let mut combined = Vec::new();
    for (key, group) in group_by(series, key) {
        let Some(example) = group.first() else { continue };
        let mut own_tags: std::collections::BTreeMap<String, String> =
            tags.iter().map(|tag| (tag.clone(), example.tags.get(tag).cloned().unwrap_or_default())).collect();
        own_tags.insert("name".to_owned(), name(example));
        if let Some(mut one) = call.combine(1, group)? {
            one.rename(key);
            one.tags = own_tags;
            combined.push(one);
        }
    }
    Ok(combined)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, failure, minutes, run};

    #[test]
    fn groups_keep_the_order_in_which_they_are_seen() {
        let store = [
            minutes("s.b.cpu", &[1.0; 5]),
            minutes("s.a.cpu", &[2.0; 5]),
            minutes("s.a.mem", &[4.0; 5]),
            minutes("s.b.mem", &[8.0; 5]),
        ];
        check("groupByNode(s.*.*,1,'sum')", &store, &[("a", &[6.0; 5]), ("b", &[9.0; 5])]);
        check("groupByNode(s.*.*,-1)", &store, &[("cpu", &[1.5; 5]), ("mem", &[6.0; 5])]);
        check("groupByNode(scale(s.*.*,2),2,'sumSeries')", &store, &[("cpu", &[6.0; 5]), ("mem", &[24.0; 5])]);
        check("groupByNode(s.*.*,2,'countSeries')", &store, &[("cpu", &[2.0; 5]), ("mem", &[2.0; 5])]);
        check("groupByNode(s.*.*,nodeNum=0,callback='max')", &store, &[("s", &[8.0; 5])]);
        check("groupByNodes(s.b.*,'max',2,0)", &store, &[("cpu.s", &[1.0; 5]), ("mem.s", &[8.0; 5])]);
        check("groupByNodes(s.*.*,'range')", &store, &[("", &[7.0; 5])]);
        assert_eq!(
            failure("groupByNode(s.*.*,1,sum)", &store),
            "groupByNode: parameter 3 (callback) takes how to aggregate, in quotes, such as \"sum\" or \"sumSeries\", \
             got the path sum at character 21"
        );
    }

    #[test]
    fn groups_by_tags_are_tagged_series() {
        let store = [
            minutes("cpu;dc=x;host=a", &[1.0; 5]),
            minutes("cpu;dc=x;host=b", &[2.0; 5]),
            minutes("cpu;dc=y;host=c", &[4.0; 5]),
            minutes("mem;dc=y;host=c", &[8.0; 5]),
        ];
        let target = "groupByTags(seriesByTag('name=cpu'),'sum','dc')";
        check(target, &store, &[("cpu;dc=x", &[3.0; 5]), ("cpu;dc=y", &[4.0; 5])]);
        let tags: Vec<_> = run(target, &store)[0].tags.clone().into_iter().collect();
        assert_eq!(tags, [("dc".to_owned(), "x".to_owned()), ("name".to_owned(), "cpu".to_owned())]);
        check("groupByTags(seriesByTag('dc=y'),'sum','dc')", &store, &[("sum;dc=y", &[12.0; 5])]);
        check(
            "groupByTags(seriesByTag('dc=y'),'sum','name','host')",
            &store,
            &[("cpu;host=c", &[4.0; 5]), ("mem;host=c", &[8.0; 5])],
        );
    }
}
