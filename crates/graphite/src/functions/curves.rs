//! Transform, continued: each value on another scale or along a curve.

use std::collections::BTreeMap;

use statline_series::{Consolidation, Kind};

use super::{SERIES_LIST, each, finite};
use crate::arguments::{Param, ParamType};
use crate::evaluate::{Call, Outcome};
use crate::numbers::repr;
use crate::registry::{Function, Group};
use crate::series::Series;

/// The tag that tells what `offsetToZero` took away.
const OFFSET: &str = "offsetToZero";

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "add",
        Group::Transform,
        "Each value with a constant added; the name shows the constant without its fraction.",
        &[SERIES_LIST, Param::required("constant", ParamType::Float)],
        add,
    ),
    curve("exp", "e to the power of each value.", |call| along(call, "exp", "e", f64::exp)),
    curve(
        "logit",
        "The logarithm of the odds p/(1-p) of each value p, missing for what is not between 0 and 1.",
        |call| along(call, "logit", "logit", |value| (value / (1.0 - value)).ln()),
    ),
    curve("minMax", "Values moved and stretched so that the smallest becomes 0 and the largest 1.", min_max),
    curve("offsetToZero", "Values moved so that the smallest becomes 0.", offset_to_zero),
    curve("sigmoid", "1/(1+e^-x) of each value x.", |call| {
        along(call, "sigmoid", "sigmoid", |value| 1.0 / (1.0 + (-value).exp()))
    }),
    curve("squareRoot", "The square root of each value, missing for negative ones.", |call| {
        along(call, "squareRoot", "1", |value| value.powf(0.5))
    }),
];

const fn curve(name: &'static str, description: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Function {
    Function::new(name, Group::Transform, description, &[SERIES_LIST], run)
}

fn along(call: &mut Call<'_>, name: &str, tag: &str, apply: impl Fn(f64) -> f64 + Sync) -> Outcome {
    each(call, |one| {
        one.note(name, tag);
        one.rename(format!("{name}({})", one.name));
        one.kind = Kind::Untyped;
        one.map(|value| finite(apply(value)));
    })
}

fn add(call: &mut Call<'_>) -> Outcome {
    let constant = call.arguments.number(1).unwrap_or(0.0);
    each(call, |one| {
        one.note("add", repr(constant));
        one.rename(format!("add({},{:.0})", one.name, constant.trunc()));
        one.map(|value| value + constant);
    })
}

fn offset_to_zero(call: &mut Call<'_>) -> Outcome {
    let is_compat = call.context.as_graphite_web();
    let mut series = each(call, |one| {
        let least = one.summary(Consolidation::Min);
        let shown = if is_compat { one.written(least) } else { repr(least) };
        one.note(OFFSET, if least.is_nan() { "None".to_owned() } else { shown });
        one.rename(format!("offsetToZero({})", one.name));
        one.map(|value| value - least);
    })?;
    if is_compat {
        share_tags_of_bands(&mut series);
    }
    Ok(series)
}

/// In graphite-web both bounds of a band have the same tags: what the upper one notes, the lower one has noted.
fn share_tags_of_bands(series: &mut [Series]) {
    let key = |one: &Series| {
        let mut tags = one.tags.clone();
        tags.remove(OFFSET).filter(|_| tags.contains_key("holtWintersConfidenceUpper")).map(|noted| (tags, noted))
    };
    let last: BTreeMap<_, _> = series.iter().filter_map(key).collect();
    for one in series {
        if let Some(noted) = key(one).and_then(|(tags, _)| last.get(&tags)) {
            one.note(OFFSET, noted.as_str());
        }
    }
}

fn min_max(call: &mut Call<'_>) -> Outcome {
    each(call, |one: &mut Series| {
        let (least, largest) = (one.summary(Consolidation::Min), one.summary(Consolidation::Max));
        one.rename(format!("minMax({})", one.name));
        one.kind = Kind::Untyped;
        let span = largest - least;
        one.map(|value| if span == 0.0 { 0.0 } else { (value - least) / span });
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, check, context, minutes, run, run_in};
    use crate::{Compat, Context};

    #[test]
    fn values_follow_curves() {
        let store = [minutes("a", &[0.0, 0.5, NO, 4.0, -2.0]), minutes("n", &[NO; 5]), minutes("f", &[3.0; 5])];
        for (target, name, values) in [
            ("add(a,10)", "add(a,10)", [10.0, 10.5, NO, 14.0, 8.0]),
            ("add(a,-1.7)", "add(a,-1)", [-1.7, -1.2, NO, 2.3, -3.7]),
            ("add(a,0.5)", "add(a,0)", [0.5, 1.0, NO, 4.5, -1.5]),
            ("add(a,1e20)", "add(a,100000000000000000000)", [1e20, 1e20, NO, 1e20, 1e20]),
            ("exp(a)", "exp(a)", [1.0, 0.5_f64.exp(), NO, 4_f64.exp(), (-2_f64).exp()]),
            ("exp(scale(a,1000))", "exp(scale(a,1000))", [1.0, 500_f64.exp(), NO, NO, 0.0]),
            ("logit(a)", "logit(a)", [NO, 0.0, NO, NO, NO]),
            ("logit(scale(a,0.5))", "logit(scale(a,0.5))", [NO, -(3_f64.ln()), NO, NO, NO]),
            (
                "sigmoid(a)",
                "sigmoid(a)",
                [0.5, 1.0 / (1.0 + (-0.5_f64).exp()), NO, 0.982_013_790_037_908_4, 0.119_202_922_022_117_56],
            ),
            ("sigmoid(scale(a,1e9))", "sigmoid(scale(a,1e+09))", [0.5, 1.0, NO, 1.0, 0.0]),
            ("squareRoot(a)", "squareRoot(a)", [0.0, 0.5_f64.sqrt(), NO, 2.0, NO]),
            ("minMax(a)", "minMax(a)", [1.0 / 3.0, 2.5 / 6.0, NO, 1.0, 0.0]),
            ("minMax(f)", "minMax(f)", [0.0; 5]),
            ("minMax(n)", "minMax(n)", [NO; 5]),
            ("offsetToZero(a)", "offsetToZero(a)", [2.0, 2.5, NO, 6.0, 0.0]),
            ("offsetToZero(n)", "offsetToZero(n)", [NO; 5]),
        ] {
            check(target, &store, &[(name, &values)]);
        }
        for (target, tag, value) in [
            ("add(a,3)", "add", "3.0"),
            ("exp(a)", "exp", "e"),
            ("offsetToZero(a)", "offsetToZero", "-2.0"),
            ("offsetToZero(n)", "offsetToZero", "None"),
            ("squareRoot(a)", "squareRoot", "1"),
        ] {
            assert_eq!(run(target, &store)[0].tags[tag], value, "{target}");
        }
    }

    #[test]
    fn graphite_web_writes_whole_numbers_and_notes_bands_alike() {
        let compat = Context { compat: Compat::GraphiteWeb, ..context() };
        let store = [minutes("a", &[1.0, 2.0, NO, 4.0, 5.0]), minutes("b", &[1.0, NO, NO, 4.0, 7.0])];
        let noted = |target: &str| -> Vec<String> {
            let series = run_in(&compat, target, &store).unwrap();
            series.into_iter().map(|one| one.tags["offsetToZero"].clone()).collect()
        };
        assert_eq!(noted("offsetToZero(group(a,b))"), ["1.0", "1.0"]);
        assert_eq!(noted("offsetToZero(countSeries(a,b))"), ["2"]);
        let bands = noted("offsetToZero(holtWintersConfidenceBands(a,1,'1min','2min'))");
        assert_eq!(bands[0], bands[1]);
    }
}
