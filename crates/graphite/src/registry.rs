//! All functions by name: the one place that the evaluator, `/functions`, completion and the documentation ask.

use std::collections::BTreeMap;

use serde::Serialize;
use statline_series::Consolidation;

use crate::arguments::{Arguments, Literal, Param, ParamType};
use crate::context::Context;
use crate::error::EvalError;
use crate::evaluate::{Call, Outcome};
use crate::functions::GROUPS;

/// The groups of Graphite's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Alias,
    Calculate,
    Combine,
    FilterData,
    FilterSeries,
    Graph,
    Sorting,
    Special,
    Transform,
}

impl Group {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Alias => "Alias",
            Self::Calculate => "Calculate",
            Self::Combine => "Combine",
            Self::FilterData => "Filter Data",
            Self::FilterSeries => "Filter Series",
            Self::Graph => "Graph",
            Self::Sorting => "Sorting",
            Self::Special => "Special",
            Self::Transform => "Transform",
        }
    }
}

impl Serialize for Group {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A function: what it is called, what it takes, what it does.
#[derive(Debug)]
pub(crate) struct Function {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub group: Group,
    pub description: &'static str,
    pub params: &'static [Param],
    /// Whether it makes one series of many and so may be named as a callback.
    pub aggregates: bool,
    /// Whether the series given to it are evaluated before it runs; if not, it looks at the expressions itself.
    pub evaluates: bool,
    /// The context that its arguments are evaluated in.
    pub window: fn(&Arguments<'_>, &Context) -> Result<Context, EvalError>,
    pub run: fn(&mut Call<'_>) -> Outcome,
}

impl Function {
    pub(crate) const fn new(
        name: &'static str,
        group: Group,
        description: &'static str,
        params: &'static [Param],
        run: fn(&mut Call<'_>) -> Outcome,
    ) -> Self {
        let (aliases, window) = (&[] as &[&str], same_window);
        Self { name, aliases, group, description, params, aggregates: false, evaluates: true, window, run }
    }

    /// Other names that it goes by.
    pub(crate) const fn also(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// It makes one series of many.
    pub(crate) const fn aggregating(self) -> Self {
        Self { aggregates: true, ..self }
    }

    /// It takes expressions of series rather than their points.
    pub(crate) const fn unevaluated(self) -> Self {
        Self { evaluates: false, ..self }
    }

    /// Its arguments are evaluated over another range than its result.
    pub(crate) const fn over(self, window: fn(&Arguments<'_>, &Context) -> Result<Context, EvalError>) -> Self {
        Self { window, ..self }
    }
}

fn same_window(_: &Arguments<'_>, context: &Context) -> Result<Context, EvalError> {
    Ok(*context)
}

fn all() -> impl Iterator<Item = &'static Function> {
    GROUPS.iter().flat_map(|group| group.iter())
}

/// The function of a name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    all().find(|function| function.name == name || function.aliases.contains(&name))
}

/// The name most like one that is unknown, if any is like it.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    let wanted = name.to_ascii_lowercase();
    all()
        .flat_map(|function| std::iter::once(function.name).chain(function.aliases.iter().copied()))
        .map(|known| (strsim::damerau_levenshtein(&wanted, &known.to_ascii_lowercase()), known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .map(|(_, known)| known)
}

/// A way to aggregate by its name, also with `Series` after it as some targets have it.
pub(crate) fn aggregation(name: &str) -> Option<Consolidation> {
    name.parse().or_else(|_| name.strip_suffix("Series").unwrap_or(name).parse()).ok()
}

/// What a callback's name stands for.
pub(crate) enum Callback {
    Function(&'static Function),
    Aggregation(Consolidation),
}

/// Resolves a callback: a function that makes one series of many, else a way to aggregate.
pub(crate) fn callback(name: &str) -> Option<Callback> {
    let function = find(name).filter(|function| function.aggregates).map(Callback::Function);
    function.or_else(|| aggregation(name).map(Callback::Aggregation))
}

/// A parameter as Graphite's `/functions` lists it.
#[derive(Clone, Debug, Serialize)]
pub struct ParamInfo {
    /// Its name.
    pub name: &'static str,
    #[serde(rename = "type")]
    kind: ParamType,
    /// Whether it has to be given.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// Whether it takes all arguments that are left.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub multiple: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<Literal>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    options: Vec<&'static str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    suggestions: &'static [Literal],
}

/// A function as Graphite's `/functions` lists it.
#[derive(Clone, Debug, Serialize)]
pub struct FunctionInfo {
    /// Its name.
    pub name: &'static str,
    /// How it is called: its name and parameters.
    pub function: String,
    /// What it does.
    pub description: &'static str,
    /// Where Graphite keeps its functions; clients expect to find it.
    pub module: &'static str,
    group: Group,
    /// What it takes.
    pub params: Vec<ParamInfo>,
}

impl FunctionInfo {
    /// The group of Graphite's documentation that it stands in.
    #[must_use]
    pub const fn group(&self) -> &'static str {
        self.group.as_str()
    }
}

/// All functions by all their names, in the shape of Graphite's `/functions`.
#[must_use]
pub fn functions() -> BTreeMap<&'static str, FunctionInfo> {
    let mut listed = BTreeMap::new();
    for function in all() {
        for name in std::iter::once(function.name).chain(function.aliases.iter().copied()) {
            listed.insert(name, describe(function, name));
        }
    }
    listed
}

fn describe(function: &'static Function, name: &'static str) -> FunctionInfo {
    let params: Vec<ParamInfo> = function.params.iter().map(describe_param).collect();
    let signature: Vec<String> = function.params.iter().map(signature).collect();
    FunctionInfo {
        name,
        function: format!("{name}({})", signature.join(", ")),
        description: function.description,
        module: "graphite.render.functions",
        group: function.group,
        params,
    }
}

fn signature(param: &Param) -> String {
    match (param.multiple, &param.default) {
        (true, _) => format!("*{}", param.name),
        (false, Some(Literal::Bool(flag))) => format!("{}={}", param.name, if *flag { "True" } else { "False" }),
        (false, Some(Literal::Number(number))) => format!("{}={number}", param.name),
        (false, Some(Literal::Text(text))) => format!("{}='{text}'", param.name),
        (false, None) if param.required => param.name.to_owned(),
        (false, None) => format!("{}=None", param.name),
    }
}

fn describe_param(param: &Param) -> ParamInfo {
    let options = match param.kind {
        ParamType::AggFunc => aggregation_names(),
        ParamType::AggOrSeriesFunc => {
            let mut names = aggregation_names();
            names.extend(all().filter(|function| function.aggregates).map(|function| function.name));
            names.sort_unstable();
            names
        }
        _ => param.options.to_vec(),
    };
    ParamInfo {
        name: param.name,
        kind: param.kind,
        required: param.required,
        multiple: param.multiple,
        default: param.default,
        options,
        suggestions: param.suggestions,
    }
}

fn aggregation_names() -> Vec<&'static str> {
    let mut names: Vec<_> = Consolidation::ALL.into_iter().map(Consolidation::as_str).collect();
    names.extend(["avg", "current", "rangeOf", "total"]);
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_functions_share_a_name() {
        let names: usize = all().map(|function| 1 + function.aliases.len()).sum();
        assert_eq!(functions().len(), names);
    }

    #[test]
    fn only_the_last_parameter_takes_many_and_only_after_required_ones_come_others() {
        for function in all() {
            let params = function.params;
            assert!(params.iter().rev().skip(1).all(|param| !param.multiple), "{}", function.name);
            let first_optional = params.iter().position(|param| !param.required).unwrap_or(params.len());
            assert!(params[first_optional..].iter().all(|param| !param.required), "{}", function.name);
            assert!(!function.description.is_empty() && function.description.ends_with('.'), "{}", function.name);
        }
    }

    #[test]
    fn a_listing_has_the_shape_of_graphites() {
        let listed = serde_json::to_value(functions()).unwrap();
        assert_eq!(listed["sum"]["name"], "sum");
        assert_eq!(listed["sumSeries"]["group"], "Combine");
        assert_eq!(listed["sumSeries"]["function"], "sumSeries(*seriesLists)");
        assert_eq!(
            listed["sumSeries"]["params"],
            serde_json::json!([{ "name": "seriesLists", "type": "seriesList", "required": true, "multiple": true }])
        );
        let keep = &listed["keepLastValue"]["params"][1];
        assert_eq!(*keep, serde_json::json!({ "name": "limit", "type": "intOrInf", "default": "inf" }));
        assert_eq!(listed["movingAverage"]["params"][1]["type"], "intOrInterval");
        assert_eq!(listed["removeAboveValue"]["group"], "Filter Data");
    }

    #[test]
    fn the_documentation_lists_every_function_and_no_other() {
        let table = include_str!("../../../docs/graphite.md").split("## How points").next().unwrap();
        let listed: Vec<&str> = table
            .lines()
            .filter(|line| line.starts_with("| ") && line.contains('`'))
            .flat_map(|line| line.split('`').skip(1).step_by(2))
            .collect();
        for name in functions().keys() {
            assert!(listed.contains(name), "{name} is not in docs/graphite.md");
        }
        assert_eq!(listed.len(), functions().len());
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised() {
        for (name, expected) in [
            ("sumserie", Some("sumSeries")),
            ("SumSeries", Some("sumSeries")),
            ("movingAvrage", Some("movingAverage")),
            ("xyzzyplugh", None),
        ] {
            assert_eq!(nearest(name), expected, "{name}");
        }
    }
}
