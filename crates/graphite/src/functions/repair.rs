//! Transform, continued: what to make of missing values.

use statline_series::{Consolidation, Kind, Step};

use super::{SERIES_LIST, each, int};
use crate::align::{Grid, enough};
use crate::arguments::{Literal, Param, ParamType};
use crate::evaluate::{Call, Outcome};
use crate::expr::Number;
use crate::numbers::general;
use crate::registry::{Function, Group};
use crate::series::Series;

const LIMIT: Param = Param::optional("limit", ParamType::IntOrInf).or(Literal::Number(Number::Float(f64::INFINITY)));

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "compressPeriodicGaps",
        Group::Transform,
        "Series that have a value only every so many steps with the coarser step that they turn out to have.",
        &[SERIES_LIST],
        compress_periodic_gaps,
    ),
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

fn compress_periodic_gaps(call: &mut Call<'_>) -> Outcome {
    let is_compat = call.context.as_graphite_web();
    let default_factor = call.context.x_files_factor;
    each(call, |one| {
        one.rename(format!("compressPeriodicGaps({})", one.name));
        let Some((first, period)) = periodic_values(one.values(), is_compat) else { return };
        let Some(step) = Step::from_millis(one.step.millis().saturating_mul(i64::try_from(period).unwrap_or(i64::MAX)))
        else {
            return;
        };
        let factor = one.x_files_factor.unwrap_or(default_factor);
        let last_of = |chunk: &[f64]| {
            let present = chunk.iter().filter(|value| !value.is_nan()).count();
            if enough(present, period as f64, factor) { Consolidation::Last.apply(chunk) } else { f64::NAN }
        };
        one.keep_before_end();
        let compressed: Vec<f64> = one.values().get(first..).unwrap_or(&[]).chunks(period).map(last_of).collect();
        one.start = one.time_of(first);
        one.step = step;
        one.set_values(compressed);
        // graphite-web takes the last value for the end.
        one.said_end = is_compat.then(|| one.time_of(one.len().saturating_sub(1)));
    })
}

/// Where values begin that come every so many steps, as the first three of them tell, and how many steps: more than one,
/// with nothing beside the third value. graphite-web takes zeros for nothing and the very first place for unknown.
fn periodic_values(values: &[f64], is_compat: bool) -> Option<(usize, usize)> {
    let is_seen = |value: f64| !(value.is_nan() || is_compat && value == 0.0);
    let mut seen =
        values.iter().enumerate().skip(usize::from(is_compat)).filter(|(_, value)| is_seen(**value)).map(|(at, _)| at);
    let first = seen.next()?;
    let second = seen.next()?;
    let period = second - first;
    let third = second + period;
    let has_neighbours = period > 1 && third + 1 < values.len();
    let stands_alone =
        has_neighbours && is_seen(values[third]) && values[third - 1].is_nan() && values[third + 1].is_nan();
    stands_alone.then_some((first, period))
}

fn is_non_null(call: &mut Call<'_>) -> Outcome {
    each(call, |one| {
        one.note("isNonNull", "1");
        one.rename(format!("isNonNull({})", one.name));
        one.kind = Kind::Untyped;
        for value in one.values_mut() {
            *value = if value.is_nan() { 0.0 } else { 1.0 };
        }
        one.set_whole(true);
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
            fill_by_place(one, default, &references);
            continue;
        }
        let grid = Grid::like(one, call.context);
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

/// Fills what is missing wherever one of the references has a value at the same place, whatever its time, as graphite-web
/// does: of rows that go on beyond the end of the series, it shows the last ones.
fn fill_by_place(one: &mut Series, default: f64, references: &[Series]) {
    let rows = references.iter().map(Series::len).max().unwrap_or(0).max(one.len());
    let at = |series: &Series, row: usize| series.values().get(row).copied().unwrap_or(f64::NAN);
    let is_known = |row: usize| references.iter().any(|reference| !at(reference, row).is_nan());
    let values = (rows - one.len()..rows).map(|row| match at(one, row) {
        value if value.is_nan() && is_known(row) => default,
        value => value,
    });
    one.set_values(values.collect());
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, assert_values, at, check, column, context, minutes, run_in};
    use crate::{Compat, Context};

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

    #[test]
    fn periodic_gaps_become_a_step() {
        let compress = |values: &[f64], compat| {
            let store = [column("a", 60, 60, values)];
            let context = Context { until: at(60 * 12), compat, ..context() };
            let one = run_in(&context, "compressPeriodicGaps(a)", &store).unwrap().remove(0);
            assert_eq!(one.name, "compressPeriodicGaps(a)");
            (one.start, one.step.millis() / 1000, format!("{:?}", one.values()))
        };
        let gappy = [NO, NO, 1.0, NO, NO, 0.0, NO, NO, 3.0, NO, NO, 4.0];
        let ours = (at(180), 180, "[1.0, 0.0, 3.0, 4.0]".to_owned());
        assert_eq!(compress(&gappy, Compat::Statline), ours);
        // Zeros are nothing to graphite-web, so that the period seems to be six steps, without a third value.
        assert_eq!(compress(&gappy, Compat::GraphiteWeb).1, 60);
        let from_the_first = [1.0, NO, NO, 2.0, NO, NO, 3.0, NO, NO, 4.0, NO, NO];
        let ours = (at(60), 180, "[1.0, 2.0, 3.0, 4.0]".to_owned());
        assert_eq!(compress(&from_the_first, Compat::Statline), ours);
        let theirs = (at(240), 180, "[2.0, 3.0, 4.0]".to_owned());
        assert_eq!(compress(&from_the_first, Compat::GraphiteWeb), theirs);
        for whole in [&[1.0; 12][..], &[1.0, NO, NO, 2.0, NO, NO, 3.0, 3.5, NO, 4.0, NO, NO], &[NO; 12]] {
            assert_eq!(compress(whole, Compat::Statline).1, 60, "{whole:?}");
        }
    }

    #[test]
    fn graphite_web_takes_references_by_place() {
        let store = [minutes("a", &[1.0, NO, NO, NO, 5.0]), column("late", 120, 60, &[1.0, 2.0, NO, 4.0])];
        check("transformNull(a,0,late)", &store, &[("transformNull(a,0,referenceSeries)", &[1.0, 0.0, 0.0, NO, 5.0])]);
        let compat = Context { compat: Compat::GraphiteWeb, ..context() };
        let values = |target: &str| run_in(&compat, target, &store).unwrap().remove(0).into_values();
        assert_values(&values("transformNull(a,0,late)"), &[1.0, 0.0, 0.0, NO, 5.0], "one range");
        assert_values(&values("transformNull(a,0,delay(late,1))"), &[1.0, NO, 0.0, 0.0, 5.0], "one range");
        let fine = [minutes("a", &[1.0, NO, NO, NO, 5.0]), column("fine", 60, 30, &[1.0; 8])];
        let one = run_in(&compat, "transformNull(a,0,fine)", &fine).unwrap().remove(0);
        assert_values(one.values(), &[0.0, 0.0, 0.0, 0.0, NO], "the last five of nine");
    }
}
