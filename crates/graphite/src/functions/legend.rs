//! Alias and Special: legends that say what the values come to.

use statline_series::Consolidation;

use super::SERIES_LIST;
use crate::arguments::{Literal, Param, ParamType, Scalar};
use crate::evaluate::{Call, Outcome};
use crate::numbers::{general, repr};
use crate::registry::{self, Function, Group};
use crate::series::Series;

/// The figures that graphite-web knows for a legend.
const FIGURES: &[&str] = &[
    "average", "avg", "avg_zero", "count", "current", "diff", "last", "max", "median", "min", "multiply", "range",
    "rangeOf", "stddev", "sum", "total",
];
const LEGENDS: &[Literal] = &[
    Literal::Text("avg"),
    Literal::Text("last"),
    Literal::Text("max"),
    Literal::Text("min"),
    Literal::Text("total"),
    Literal::Text("si"),
    Literal::Text("binary"),
];
const SYSTEMS: &[&str] = &["binary", "si"];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "cactiStyle",
        Group::Special,
        "Names followed by the last, largest and smallest values in columns, in units of a system.",
        &[
            SERIES_LIST,
            Param::optional("system", ParamType::String).one_of(SYSTEMS),
            Param::optional("units", ParamType::String),
        ],
        cacti_style,
    ),
    Function::new(
        "legendValue",
        Group::Alias,
        "Names followed by figures of the series such as \"last\"; with \"si\" or \"binary\" at the end, in units of it.",
        &[SERIES_LIST, Param::optional("valuesTypes", ParamType::String).suggesting(LEGENDS).multiple()],
        legend_value,
    ),
];

/// A system of units.
#[derive(Clone, Copy)]
enum System {
    Si,
    Binary,
}

impl System {
    fn named(name: &str) -> Option<Self> {
        match name {
            "si" => Some(Self::Si),
            "binary" => Some(Self::Binary),
            _ => None,
        }
    }

    /// A value in the largest unit that it has one of, with two decimals, and the unit's prefix.
    fn scaled(self, value: f64) -> (String, &'static str) {
        let (base, prefixes) = match self {
            Self::Si => (1000.0_f64, ["P", "T", "G", "M", "k"]),
            Self::Binary => (1024.0_f64, ["Pi", "Ti", "Gi", "Mi", "Ki"]),
        };
        for (prefix, power) in prefixes.into_iter().zip([5, 4, 3, 2, 1]) {
            let size = base.powi(power);
            if value.abs() >= size {
                return (two_decimals(value / size), prefix);
            }
        }
        (two_decimals(value), "")
    }
}

/// Python's `%.2f`.
fn two_decimals(value: f64) -> String {
    if value.is_finite() { format!("{value:.2}") } else { general(value) }
}

fn legend_value(call: &mut Call<'_>) -> Outcome {
    let mut figures: Vec<String> = call.arguments.scalars(1).iter().map(Scalar::to_string).collect();
    let system = figures.last().and_then(|last| System::named(last));
    if system.is_some() {
        figures.pop();
    }
    let is_compat = call.context.as_graphite_web();
    let mut series = call.series(0);
    for figure in &figures {
        let how = registry::aggregation(figure).filter(|_| !is_compat || FIGURES.contains(&figure.as_str()));
        for one in &mut series {
            let value = how.map(|how| one.summary(how));
            one.name = match system {
                None => format!("{} ({figure}: {})", one.name, exact(how, value, is_compat.then_some(&*one))),
                Some(system) => format!("{:<20}{figure:<5}{:<10}", one.name, in_units(system, value)),
            };
        }
    }
    Ok(series)
}

/// A figure as Python writes it; of a series of whole numbers, as one when it is one of them.
fn exact(how: Option<Consolidation>, value: Option<f64>, one: Option<&Series>) -> String {
    const OF_THEM: [Consolidation; 3] = [Consolidation::Last, Consolidation::Max, Consolidation::Min];
    match value {
        None => "(?)".to_owned(),
        Some(value) if value.is_nan() => "None".to_owned(),
        Some(count) if how == Some(Consolidation::Count) => general(count),
        Some(value) => match one.filter(|_| how.is_some_and(|how| OF_THEM.contains(&how))) {
            Some(one) => one.written(value),
            None => repr(value),
        },
    }
}

fn in_units(system: System, value: Option<f64>) -> String {
    match value {
        None => "(?)".to_owned(),
        Some(value) if value.is_nan() => "None".to_owned(),
        Some(value) => {
            let (scaled, prefix) = system.scaled(value);
            format!("{scaled}{prefix}")
        }
    }
}

fn cacti_style(call: &mut Call<'_>) -> Outcome {
    let system = call.arguments.text(1).and_then(System::named);
    let units = call.arguments.text(2).unwrap_or_default().to_owned();
    let shown = |value: f64| {
        let (scaled, prefix) = system.map_or_else(|| (two_decimals(value), ""), |system| system.scaled(value));
        if units.is_empty() { format!("{scaled}{prefix}") } else { format!("{scaled} {prefix}{units}") }
    };
    let figures =
        |one: &Series| [Consolidation::Last, Consolidation::Max, Consolidation::Min].map(|how| one.summary(how));
    let mut series = call.series(0);
    // Graphite makes room for the whole part of each figure, and for 3 in the place of none.
    let room = |value: f64| {
        let whole = if value.is_nan() { 0.0 } else { value };
        let stands_for_none = value.is_nan() || value == 0.0;
        shown(if stands_for_none { 3.0 } else { whole.trunc() + 0.0 }).chars().count() + 3
    };
    let mut name_width = 0;
    let mut widths = [0_usize; 3];
    for one in &series {
        name_width = name_width.max(one.name.chars().count());
        for (width, value) in widths.iter_mut().zip(figures(one)) {
            *width = (*width).max(room(value));
        }
    }
    let [last_width, max_width, min_width] = widths;
    for one in &mut series {
        let [last, max, min] = figures(one).map(|value| if value.is_nan() { "nan".to_owned() } else { shown(value) });
        one.name = format!(
            "{:<name_width$} Current:{last:<last_width$} Max:{max:<max_width$} Min:{min:<min_width$} ",
            one.name
        );
    }
    Ok(series)
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, minutes, run, run_in};
    use crate::{Compat, Context};

    #[test]
    fn a_legend_says_what_it_is_asked_for() {
        let store = [minutes("a", &[1.0, 2.5, NO, 4_000.0, 2.5]), minutes("b", &[NO; 5])];
        for (target, names) in [
            ("legendValue(a,'last')", vec!["a (last: 2.5)"]),
            ("legendValue(a,'avg','count','max')", vec!["a (avg: 1001.5) (count: 4) (max: 4000.0)"]),
            ("legendValue({a,b},'min')", vec!["a (min: 1.0)", "b (min: None)"]),
            ("legendValue(a,'odd')", vec!["a (odd: (?))"]),
            ("legendValue(a,'max','si')", vec!["a                   max  4.00k     "]),
            ("legendValue(a,'max','binary')", vec!["a                   max  3.91Ki    "]),
            ("legendValue(b,'max','odd','si')", vec!["b                   max  None      odd  (?)       "]),
            ("legendValue(a,'si')", vec!["a"]),
            ("legendValue(a)", vec!["a"]),
        ] {
            let yielded: Vec<String> = run(target, &store).into_iter().map(|one| one.name).collect();
            assert_eq!(yielded, names, "{target}");
        }
        assert_eq!(run("legendValue(a,'first')", &store)[0].name, "a (first: 1.0)");
        let compat = Context { compat: Compat::GraphiteWeb, ..crate::testing::context() };
        assert_eq!(run_in(&compat, "legendValue(a,'first')", &store).unwrap()[0].name, "a (first: (?))");
    }

    #[test]
    fn figures_stand_in_columns() {
        let store = [minutes("a", &[1.0, 2.5, NO, 4_000.0, 2.5]), minutes("longer", &[NO; 5])];
        for (target, names) in [
            (
                "cactiStyle({a,longer})",
                [
                    "a      Current:2.50    Max:4000.00    Min:1.00    ",
                    "longer Current:nan     Max:nan        Min:nan     ",
                ],
            ),
            (
                "cactiStyle({a,longer},'si')",
                [
                    "a      Current:2.50    Max:4.00k    Min:1.00    ",
                    "longer Current:nan     Max:nan      Min:nan     ",
                ],
            ),
            (
                "cactiStyle({a,longer},'binary','B')",
                [
                    "a      Current:2.50 B    Max:3.91 KiB    Min:1.00 B    ",
                    "longer Current:nan       Max:nan         Min:nan       ",
                ],
            ),
            (
                "cactiStyle({a,longer},units='b')",
                [
                    "a      Current:2.50 b    Max:4000.00 b    Min:1.00 b    ",
                    "longer Current:nan       Max:nan          Min:nan       ",
                ],
            ),
        ] {
            let yielded: Vec<String> = run(target, &store).into_iter().map(|one| one.name).collect();
            assert_eq!(yielded, names, "{target}");
        }
        assert!(run("cactiStyle(x)", &store).is_empty());
    }
}
