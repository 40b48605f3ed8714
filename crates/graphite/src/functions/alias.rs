//! Alias: what a legend shows.

use regex::Regex;
use statline_series::Consolidation;

use super::{SERIES_LIST, each};
use crate::arguments::{Param, ParamType, Scalar};
use crate::evaluate::{Call, Outcome, Stop};
use crate::format::Format;
use crate::registry::{Function, Group};
use crate::series::Series;
use crate::{names, pattern};

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "alias",
        Group::Alias,
        "Series under a name of your own.",
        &[SERIES_LIST, Param::required("newName", ParamType::String)],
        alias,
    ),
    Function::new(
        "aliasByMetric",
        Group::Alias,
        "Series under the last node of their paths.",
        &[SERIES_LIST],
        |call| each(call, |one| one.name = part_of_name(&one.name, -1, 0)),
    ),
    Function::new(
        "aliasByNode",
        Group::Alias,
        "Series under some nodes of their paths, or under their tags.",
        &[SERIES_LIST, Param::required("nodes", ParamType::NodeOrTag).multiple()],
        alias_by_node,
    ),
    Function::new(
        "aliasByTags",
        Group::Alias,
        "Series under their tags, or under some nodes of their paths.",
        &[SERIES_LIST, Param::required("tags", ParamType::NodeOrTag).multiple()],
        alias_by_node,
    ),
    Function::new(
        "aliasQuery",
        Group::Alias,
        "Series under newName, in which such as %d stands for the last value of what their names make with each match of a regex replaced.",
        &[
            SERIES_LIST,
            Param::required("search", ParamType::String),
            Param::required("replace", ParamType::String),
            Param::required("newName", ParamType::String),
        ],
        alias_query,
    ),
    Function::new(
        "aliasSub",
        Group::Alias,
        "Names with each match of a regex replaced; \\1 and so on stand for its groups.",
        &[SERIES_LIST, Param::required("search", ParamType::String), Param::required("replace", ParamType::String)],
        alias_sub,
    ),
    Function::new(
        "lower",
        Group::Alias,
        "Names in small letters, or with small letters at some places, counted from 0 or from the end.",
        CASE,
        |call| change_case(call, |letter| letter.to_lowercase().collect()),
    ),
    Function::new(
        "upper",
        Group::Alias,
        "Names in capitals, or with capitals at some places, counted from 0 or from the end.",
        CASE,
        |call| change_case(call, |letter| letter.to_uppercase().collect()),
    ),
];

const CASE: &[Param] = &[SERIES_LIST, Param::optional("pos", ParamType::Integer).multiple()];

fn alias(call: &mut Call<'_>) -> Outcome {
    let name = call.arguments.text(1).unwrap_or_default().to_owned();
    each(call, |one| one.name.clone_from(&name))
}

fn alias_by_node(call: &mut Call<'_>) -> Outcome {
    let nodes = call.arguments.scalars(1).to_vec();
    let compat = call.context.compat;
    each(call, |one| one.name = names::key(one, &nodes, compat))
}

fn alias_sub(call: &mut Call<'_>) -> Outcome {
    let substitution = Substitution::of(call, 1)?;
    let mut series: Vec<Series> = call.series(0);
    for one in &mut series {
        one.name = substitution.of_name(&one.name, call)?;
    }
    Ok(series)
}

/// A regex and what its matches in names become.
pub(super) struct Substitution {
    regex: Regex,
    replacement: pattern::Replacement,
}

impl Substitution {
    /// The substitution that two arguments tell, from this one on.
    pub(super) fn of(call: &Call<'_>, index: usize) -> Result<Self, Stop> {
        let function = call.function.name;
        let regex = pattern::compile(function, call.arguments.text(index).unwrap_or_default())?;
        let replace = call.arguments.text(index + 1).unwrap_or_default();
        let replacement = pattern::Replacement::parse(function, replace, &regex, call.context.compat)?;
        Ok(Self { regex, replacement })
    }

    pub(super) fn of_name(&self, name: &str, call: &Call<'_>) -> Result<String, Stop> {
        let replaced = self.replacement.apply(&self.regex, name);
        replaced.ok_or_else(|| call.unusable("the name would become too long"))
    }
}

fn alias_query(call: &mut Call<'_>) -> Outcome {
    let substitution = Substitution::of(call, 1)?;
    let new_name = Format::parse(call.arguments.text(3).unwrap_or_default()).map_err(|reason| call.unusable(reason))?;
    let mut series = call.series(0);
    let queries = series.iter().map(|one| substitution.of_name(&one.name, call)).collect::<Result<Vec<_>, _>>()?;
    let answers = call.evaluate_texts(&queries)?;
    for ((one, query), answer) in series.iter_mut().zip(&queries).zip(answers) {
        let Some(found) = answer.first() else {
            return Err(call.unusable(format!("no series is found with the query {query}")));
        };
        let last = found.summary(Consolidation::Last);
        if last.is_nan() {
            return Err(call.unusable(format!("the series {} has no value", found.name)));
        }
        one.name = new_name.fill(last);
    }
    Ok(series)
}

fn change_case(call: &mut Call<'_>, change: impl Fn(char) -> String + Sync) -> Outcome {
    let places: Vec<i64> = call.arguments.scalars(1).iter().filter_map(Scalar::integer).collect();
    each(call, |one| {
        let length = i64::try_from(one.name.chars().count()).unwrap_or(i64::MAX);
        let is_meant = |index: usize| {
            let index = i64::try_from(index).unwrap_or(i64::MAX);
            places.is_empty() || places.iter().any(|place| *place == index || place.saturating_add(length) == index)
        };
        let letters = one.name.chars().enumerate();
        one.name =
            letters.map(|(index, letter)| if is_meant(index) { change(letter) } else { letter.into() }).collect();
    })
}

/// Some nodes of what stands in the innermost parentheses of a name, up to its first comma.
pub(super) fn part_of_name(name: &str, start: i64, stop: i64) -> String {
    let left = name.rfind('(').map_or(0, |place| place + 1);
    let right = name.find(')').unwrap_or(name.len());
    let inner = name.get(left..right).unwrap_or("");
    let nodes: Vec<&str> = inner.split('.').collect();
    let place = |index: i64| {
        let from_end = nodes.len().saturating_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX));
        if index < 0 { from_end } else { usize::try_from(index).unwrap_or(usize::MAX).min(nodes.len()) }
    };
    let end = if stop == 0 { nodes.len() } else { place(stop) };
    let kept = nodes.get(place(start)..end).unwrap_or(&[]).join(".");
    kept.split(',').next().unwrap_or("").to_owned()
}

#[cfg(test)]
mod tests {
    use crate::testing::{failure, minutes, run};

    #[test]
    fn legends_say_what_they_are_told_to() {
        let store =
            [minutes("srv.web1.cpu", &[1.0; 5]), minutes("cpu;dc=x;host=web2", &[2.0; 5]), minutes("a.b", &[3.0; 5])];
        for (target, name) in [
            ("alias(srv.web1.cpu,'the cpu, (all)')", "the cpu, (all)"),
            ("aliasByNode(srv.*.cpu,1)", "web1"),
            ("aliasByNode(srv.*.cpu,-1,0)", "cpu.srv"),
            ("aliasByNode(scale(sumSeries(srv.*.cpu,a.b),10),1,2)", "*.cpu"),
            ("aliasByNode(movingAverage(srv.*.cpu,2),1)", "web1"),
            ("aliasByNode(seriesByTag('name=cpu'),'host',0)", "web2.cpu"),
            ("aliasByTags(seriesByTag('name=cpu'),'host','dc','name')", "web2.x.cpu"),
            ("aliasByTags(sumSeries(seriesByTag('name=cpu')),'aggregatedBy')", "sum"),
            ("aliasByMetric(srv.*.cpu)", "cpu"),
            ("aliasByMetric(scale(srv.*.cpu,2))", "cpu"),
            ("aliasSub(srv.*.cpu,'^srv\\.(\\w+)\\..*$','host \\1')", "host web1"),
            ("aliasSub(a.b, \"(^.*$)\", \"\\1 A\")", "a.b A"),
            ("substr(srv.*.cpu,1)", "web1.cpu"),
            ("substr(srv.*.cpu,0,2)", "srv.web1"),
            ("substr(srv.*.cpu,-2,-1)", "web1"),
            ("substr(movingAverage(srv.*.cpu,2),2)", "cpu"),
            ("substr(srv.*.cpu,5)", ""),
            ("srv.*.cpu|scale(2)|alias('x')", "x"),
            ("upper(a.b)", "A.B"),
            ("upper(a.b,0,7,-9)", "A.b"),
            ("lower(alias(a.b,'ÀBÇ'))", "àbç"),
            ("lower(alias(a.b,'ABC'),-1,0)", "aBc"),
            ("aliasQuery(srv.web1.cpu,'.*','a.b','Channel %d MHz')", "Channel 3 MHz"),
            ("aliasQuery(srv.web1.cpu,'srv.(web1).cpu','scale(a.b,0.5)','%.2f%%')", "1.50%"),
        ] {
            assert_eq!(run(target, &store)[0].name, name, "{target}");
        }
        assert_eq!(
            failure("alias(a.b,x)", &store),
            "alias: parameter 2 (newName) takes a quoted text, got the path x at character 11"
        );
        assert_eq!(
            failure("aliasByNode(a.b)", &store),
            "aliasByNode: parameter 2 (nodes) is missing; it takes the number of a node or the quoted name of a tag"
        );
        for (target, reason) in [
            ("aliasQuery(a.b,'.*','x.y','%d')", "no series is found with the query x.y"),
            (
                "aliasQuery(a.b,'.b','(x','%d')",
                "\"a(x\" is not a target: the parenthesis opened at character 2 is never closed",
            ),
            ("aliasQuery(a.b,'$','','n')", "\"n\" has no place for a value, such as %d"),
        ] {
            assert_eq!(failure(target, &store), format!("aliasQuery: {reason}"));
        }
    }
}
