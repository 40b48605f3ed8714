//! Transform, continued: what to make of missing values.

use statline_series::Kind;

use super::{SERIES_LIST, each, int};
use crate::align::Grid;
use crate::arguments::{Literal, Param, ParamType};
use crate::evaluate::{Call, Outcome};
use crate::expr::Number;
use crate::numbers::general;
use crate::registry::{Function, Group};
use crate::series::Series;

const LIMIT: Param = Param::optional("limit", ParamType::IntOrInf).or(Literal::Number(Number::Float(f64::INFINITY)));

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "interpolate",
        Group::Transform,
        "Gaps of up to limit values filled along the straight line between their two ends.",
        &[SERIES_LIST, LIMIT],
        interpolate,
    ),
    Function::new(
        "isNonNull",
        Group::Transform,
        "1 where there is a value and 0 where there is none.",
        &[SERIES_LIST],
        is_non_null,
    ),
    Function::new(
        "keepLastValue",
        Group::Transform,
        "Gaps of up to limit values filled with the value before them.",
        &[SERIES_LIST, LIMIT],
        keep_last_value,
    ),
    Function::new(
        "transformNull",
        Group::Transform,
        "Another value, 0 unless given, in place of missing ones; with referenceSeries only where one of these has a value.",
        &[
            SERIES_LIST,
            Param::optional("default", ParamType::Float).or(int(0)),
            Param::optional("referenceSeries", ParamType::SeriesList),
        ],
        transform_null,
    ),
];

/// Fills each gap that is no longer than the limit. `fill` is given the gap, the value before it and the one after it,
/// if there is one.
fn fill_gaps(values: &mut [f64], limit: f64, fill: impl Fn(&mut [f64], f64, Option<f64>)) {
    let mut index = 0;
    let mut before = None;
    while index < values.len() {
        if !values[index].is_nan() {
            before = Some(values[index]);
            index += 1;
            continue;
        }
        let length = values[index..].iter().take_while(|value| value.is_nan()).count();
        let after = values.get(index + length).copied();
        #[expect(clippy::cast_precision_loss, reason = "gaps are far shorter than 2^52")]
        let short = length as f64 <= limit;
        if let (Some(before), true) = (before, short) {
            fill(&mut values[index..index + length], before, after);
        }
        index += length;
    }
}

fn keep_last_value(call: &mut Call<'_>) -> Outcome {
    let limit = call.arguments.number(1).unwrap_or(f64::INFINITY);
    each(call, |one| {
        one.rename(format!("keepLastValue({})", one.name));
        fill_gaps(one.values_mut(), limit, |gap, before, _| gap.fill(before));
    })
}

#[expect(clippy::cast_precision_loss, reason = "gaps are far shorter than 2^52")]
fn interpolate(call: &mut Call<'_>) -> Outcome {
    let limit = call.arguments.number(1).unwrap_or(f64::INFINITY);
    each(call, |one| {
        one.rename(format!("interpolate({})", one.name));
        fill_gaps(one.values_mut(), limit, |gap, before, after| {
            let Some(after) = after else { return };
            let rise = (after - before) / (gap.len() + 1) as f64;
            for (place, value) in gap.iter_mut().enumerate() {
                *value = before + rise * (place + 1) as f64;
            }
        });
    })
}

fn is_non_null(call: &mut Call<'_>) -> Outcome {
    each(call, |one| {
        one.note("isNonNull", "1");
        one.rename(format!("isNonNull({})", one.name));
        one.kind = Kind::Untyped;
        for value in one.values_mut() {
            *value = if value.is_nan() { 0.0 } else { 1.0 };
        }
    })
}

fn transform_null(call: &mut Call<'_>) -> Outcome {
    let default = call.arguments.number(1).unwrap_or(0.0);
    let shown = call.arguments.scalar(1).map(ToString::to_string).unwrap_or_default();
    let references = call.series(2);
    let mut series = call.series(0);
    for one in &mut series {
        one.note("transformNull", shown.as_str());
        let suffix = if references.is_empty() { "" } else { ",referenceSeries" };
        one.rename(format!("transformNull({},{}{suffix})", one.name, general(default)));
        if references.is_empty() {
            for value in one.values_mut().iter_mut().filter(|value| value.is_nan()) {
                *value = default;
            }
            continue;
        }
        one.note("referenceSeries", "1");
        if call.context.as_graphite_web() {
            fill_by_place(one, &references, default);
            continue;
        }
        let grid = Grid::like(one);
        for reference in &references {
            let known = grid.column(reference, call.context);
            for (value, known) in one.values_mut().iter_mut().zip(known.iter()) {
                if value.is_nan() && !known.is_nan() {
                    *value = default;
                }
            }
        }
    }
    Ok(series)
}

/// graphite-web's way: values and references are paired by their place in the list; of references that are longer than the
/// series, the values at their end take the places of those at its beginning.
fn fill_by_place(one: &mut Series, references: &[Series], default: f64) {
    let longest = references.iter().map(Series::len).max().unwrap_or(0).max(one.len());
    let too_long = longest - one.len();
    let is_known =
        |place: usize| references.iter().any(|one| one.values().get(place).is_some_and(|value| !value.is_nan()));
    let filled = (too_long..longest).map(|place| match one.values().get(place) {
        Some(value) if !value.is_nan() => *value,
        _ if is_known(place) => default,
        _ => f64::NAN,
    });
    one.set_values(filled.collect());
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, check, minutes};

    #[test]
    fn gaps_are_filled_up_to_a_limit() {
        let store = [minutes("a", &[NO, 2.0, NO, NO, 8.0]), minutes("b", &[1.0, NO, 3.0, NO, NO])];
        for (target, name, values) in [
            ("keepLastValue(a)", "keepLastValue(a)", [NO, 2.0, 2.0, 2.0, 8.0]),
            ("keepLastValue(a,1)", "keepLastValue(a)", [NO, 2.0, NO, NO, 8.0]),
            ("keepLastValue(b,2)", "keepLastValue(b)", [1.0, 1.0, 3.0, 3.0, 3.0]),
            ("keepLastValue(b,1)", "keepLastValue(b)", [1.0, 1.0, 3.0, NO, NO]),
            ("interpolate(a)", "interpolate(a)", [NO, 2.0, 4.0, 6.0, 8.0]),
            ("interpolate(b)", "interpolate(b)", [1.0, 2.0, 3.0, NO, NO]),
            ("interpolate(a,limit=1)", "interpolate(a)", [NO, 2.0, NO, NO, 8.0]),
            ("isNonNull(a)", "isNonNull(a)", [0.0, 1.0, 0.0, 0.0, 1.0]),
            ("transformNull(a)", "transformNull(a,0)", [0.0, 2.0, 0.0, 0.0, 8.0]),
            ("transformNull(a,-1.5)", "transformNull(a,-1.5)", [-1.5, 2.0, -1.5, -1.5, 8.0]),
            ("transformNull(a,0,b)", "transformNull(a,0,referenceSeries)", [0.0, 2.0, 0.0, NO, 8.0]),
        ] {
            check(target, &store, &[(name, &values)]);
        }
    }
}
