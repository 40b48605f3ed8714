//! Calculate: Holt and Winters' triple exponential smoothing, and what strays from it.
//!
//! Each value is foretold from a level, a trend and what the season before had here; how far off the foretelling has been
//! at this place of the season makes a band around it. The smoothing needs history, so the argument is evaluated from a
//! bootstrap interval before the window. The constants, and what a missing value does (the level begins anew with the next
//! one, trend and season at 0), are Graphite's.

use std::collections::HashMap;

use statline_series::Kind;

use super::preview::drop_preview;
use super::{SERIES_LIST, graph};
use crate::arguments::{Arguments, Literal, Param, ParamType};
use crate::context::Context;
use crate::error::EvalError;
use crate::evaluate::{Call, Outcome, Stop};
use crate::expr::Number;
use crate::registry::{Function, Group};
use crate::series::Series;
use crate::time;

/// How much a new value changes the level, and what the season has at a place.
const LEVEL_WEIGHT: f64 = 0.1;
/// How much a new level changes the trend.
const TREND_WEIGHT: f64 = 0.0035;

const BOOTSTRAP: Param = Param::optional("bootstrapInterval", ParamType::Interval)
    .or(Literal::Text("7d"))
    .suggesting(&[Literal::Text("7d"), Literal::Text("30d")]);
const SEASONALITY: Param = Param::optional("seasonality", ParamType::Interval)
    .or(Literal::Text("1d"))
    .suggesting(&[Literal::Text("1d"), Literal::Text("7d")]);
const DELTA: Param = Param::optional("delta", ParamType::Float).or(Literal::Number(Number::Int(3)));
const WITH_DELTA: &[Param] = &[SERIES_LIST, DELTA, BOOTSTRAP, SEASONALITY];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "holtWintersAberration",
        Group::Calculate,
        "By how much values are above or below the band of delta deviations around their forecast; 0 within it.",
        WITH_DELTA,
        aberration,
    ),
    Function::new(
        "holtWintersConfidenceArea",
        Group::Calculate,
        "The area of delta deviations around the forecast.",
        WITH_DELTA,
        confidence_area,
    )
    .over(bootstrap_with_delta),
    Function::new(
        "holtWintersConfidenceBands",
        Group::Calculate,
        "The lower and the upper bound of delta deviations around the forecast.",
        WITH_DELTA,
        confidence_bands,
    )
    .over(bootstrap_with_delta),
    Function::new(
        "holtWintersForecast",
        Group::Calculate,
        "What each value was to be expected as, from the trend and the seasons before it.",
        &[SERIES_LIST, BOOTSTRAP, SEASONALITY],
        forecast,
    )
    .over(bootstrap),
];

fn interval(arguments: &Arguments<'_>, index: usize) -> i64 {
    arguments.text(index).and_then(|text| time::parse_interval(text).ok()).unwrap_or(0).saturating_abs()
}

fn bootstrap(arguments: &Arguments<'_>, context: &Context) -> Result<Context, EvalError> {
    Ok(looking_back_at_once(interval(arguments, 1), context))
}

fn bootstrap_with_delta(arguments: &Arguments<'_>, context: &Context) -> Result<Context, EvalError> {
    Ok(looking_back_at_once(interval(arguments, 2), context))
}

/// The context of the argument; graphite-web evaluates it over the call's own range before it looks back.
fn looking_back_at_once(bootstrap: i64, context: &Context) -> Context {
    if context.as_graphite_web() { *context } else { context.looking_back(bootstrap) }
}

/// The argument from the bootstrap interval on.
fn bootstrapped(call: &mut Call<'_>, bootstrap: i64) -> Outcome {
    if call.context.as_graphite_web() {
        return call.series_over(0, &call.context.looking_back(bootstrap));
    }
    Ok(call.series(0))
}

fn forecast(call: &mut Call<'_>) -> Outcome {
    let (bootstrap, season) = (interval(&call.arguments, 1), interval(&call.arguments, 2));
    let mut series = bootstrapped(call, bootstrap)?;
    for one in &mut series {
        let smoothed = Smoothed::of(one.values(), season_points(call, one, season)?);
        one.set_values(smoothed.forecasts);
        note_forecast(one);
        one.rename(format!("holtWintersForecast({})", one.name));
        leave_bootstrap(one, bootstrap, call.context);
    }
    Ok(series)
}

fn confidence_bands(call: &mut Call<'_>) -> Outcome {
    let series = bootstrapped(call, interval(&call.arguments, 2))?;
    let bands = bands(call, series)?;
    Ok(bands.into_iter().flat_map(|(lower, upper)| [lower, upper]).collect())
}

fn confidence_area(call: &mut Call<'_>) -> Outcome {
    let series = bootstrapped(call, interval(&call.arguments, 2))?;
    let mut areas = Vec::new();
    for (mut lower, mut upper) in bands(call, series)? {
        graph::stack_between(&mut lower, &mut upper);
        for one in [&mut lower, &mut upper] {
            one.note("holtWintersConfidenceArea", "1");
            one.rename(format!("holtWintersConfidenceArea({})", one.path_expression));
        }
        areas.extend([lower, upper]);
    }
    Ok(areas)
}

fn aberration(call: &mut Call<'_>) -> Outcome {
    let series = call.series(0);
    let bootstrapped = call.series_over(0, &call.context.looking_back(interval(&call.arguments, 2)))?;
    let names: Vec<String> = bootstrapped.iter().map(|one| one.name.clone()).collect();
    let bands: HashMap<String, (Series, Series)> = names.into_iter().zip(bands(call, bootstrapped)?).collect();
    let mut strays = Vec::new();
    for mut one in series {
        let Some((lower, upper)) = bands.get(&one.name) else { continue };
        // The band begins where the bootstrap ended, which is not the first value when the step became coarser.
        let ahead = one.start.millis().saturating_sub(lower.start.millis()).div_euclid(one.step.millis());
        let bound = |band: &Series, index: usize| {
            let place = i64::try_from(index).unwrap_or(i64::MAX).saturating_add(ahead);
            let value = usize::try_from(place).ok().and_then(|place| band.values().get(place));
            value.copied().unwrap_or(f64::NAN)
        };
        let stray = |(index, value): (usize, &f64)| {
            let (low, high) = (bound(lower, index), bound(upper, index));
            if *value > high {
                value - high
            } else if *value < low {
                value - low
            } else {
                0.0
            }
        };
        one.set_values(one.values().iter().enumerate().map(stray).collect());
        one.set_zeros_whole();
        one.note("holtWintersAberration", "1");
        one.rename(format!("holtWintersAberration({})", one.name));
        one.kind = Kind::Untyped;
        one.consolidation = None;
        strays.push(one);
    }
    Ok(strays)
}

/// The lower and upper bound of each series.
fn bands(call: &Call<'_>, series: Vec<Series>) -> Result<Vec<(Series, Series)>, Stop> {
    let delta = call.arguments.number(1).unwrap_or(3.0);
    let (bootstrap, season) = (interval(&call.arguments, 2), interval(&call.arguments, 3));
    let mut bands = Vec::with_capacity(series.len());
    for one in series {
        let smoothed = Smoothed::of(one.values(), season_points(call, &one, season)?);
        let pairs = || smoothed.forecasts.iter().zip(&smoothed.deviations);
        let band = |name: &str, values: Vec<f64>| {
            let mut band = one.clone();
            band.set_values(values);
            note_forecast(&mut band);
            band.note("holtWintersConfidenceLower", "1");
            band.note("holtWintersConfidenceUpper", "1");
            band.name = format!("{name}({})", one.name);
            leave_bootstrap(&mut band, bootstrap, call.context);
            band
        };
        let lower = pairs().map(|(forecast, deviation)| forecast - delta * deviation).collect();
        let upper = pairs().map(|(forecast, deviation)| forecast + delta * deviation).collect();
        bands.push((band("holtWintersConfidenceLower", lower), band("holtWintersConfidenceUpper", upper)));
    }
    Ok(bands)
}

fn note_forecast(one: &mut Series) {
    one.note("holtWintersForecast", "1");
    one.note("holtWintersDeviation", "1");
    one.kind = Kind::Untyped;
    one.consolidation = None;
}

fn leave_bootstrap(one: &mut Series, bootstrap: i64, context: &Context) {
    let points = usize::try_from(bootstrap / one.step.millis()).unwrap_or(usize::MAX);
    drop_preview(one, points, bootstrap, context);
}

/// How many values a season has. graphite-web does not care as long as there are none.
fn season_points(call: &Call<'_>, one: &Series, season: i64) -> Result<usize, Stop> {
    let points = usize::try_from(season / one.step.millis()).unwrap_or(usize::MAX);
    if points < 2 && !(call.context.as_graphite_web() && one.present() == 0) {
        let seconds = one.step.seconds();
        let reason = format!("seasonality has to be at least two steps of the series, which are {seconds} s");
        return Err(call.unusable(reason));
    }
    Ok(points)
}

/// A series as it was to be expected.
struct Smoothed {
    /// NaN where nothing could be told.
    forecasts: Vec<f64>,
    /// How far from its forecast a value has been at this place of the seasons.
    deviations: Vec<f64>,
}

impl Smoothed {
    fn of(values: &[f64], season: usize) -> Self {
        let mut forecasts = Vec::with_capacity(values.len());
        let mut deviations: Vec<f64> = Vec::with_capacity(values.len());
        let mut seasonals: Vec<f64> = Vec::with_capacity(values.len());
        let a_season_before =
            |column: &[f64], index: usize| index.checked_sub(season).map_or(0.0, |place| column[place]);
        let (mut level, mut trend, mut next) = (f64::NAN, 0.0, f64::NAN);
        for (index, value) in values.iter().copied().enumerate() {
            forecasts.push(if index == 0 { value } else { next });
            if value.is_nan() {
                (level, trend, next) = (f64::NAN, 0.0, f64::NAN);
                seasonals.push(0.0);
                deviations.push(0.0);
                continue;
            }
            let last_level = if level.is_nan() { value } else { level };
            let last_seasonal = a_season_before(&seasonals, index);
            level = LEVEL_WEIGHT * (value - last_seasonal) + (1.0 - LEVEL_WEIGHT) * (last_level + trend);
            trend = TREND_WEIGHT * (level - last_level) + (1.0 - TREND_WEIGHT) * trend;
            seasonals.push(LEVEL_WEIGHT * (value - level) + (1.0 - LEVEL_WEIGHT) * last_seasonal);
            next = level + trend + a_season_before(&seasonals, index + 1);
            let forecast = forecasts.last().copied().filter(|forecast| !forecast.is_nan()).unwrap_or(0.0);
            let deviation = LEVEL_WEIGHT * (value - forecast).abs();
            deviations.push(deviation + (1.0 - LEVEL_WEIGHT) * a_season_before(&deviations, index));
        }
        Self { forecasts, deviations }
    }
}

#[cfg(test)]
mod tests {
    use crate::FetchedSeries;
    use crate::testing::{NO, at, check, column, failure, run};

    fn store() -> Vec<FetchedSeries> {
        let values = [10.0, 12.0, 11.0, 13.0, 12.0, 14.0, 13.0, 15.0, NO, 16.0, 14.0, 17.0, 15.0, 30.0, 16.0];
        vec![column("a", -540, 60, &values)]
    }

    /// The values are graphite-web's.
    #[test]
    fn forecasts_and_bands_are_graphites() {
        let lower = [
            15.523_266_811_260_447,
            12.111_611_821_324_962,
            15.123_028_852_647_163,
            9.898_227_772_315_632,
            16.237_934_775_086_345,
        ];
        let upper = [
            16.284_900_216_890_67,
            21.053_328_045_574_474,
            16.041_380_860_304_745,
            23.305_105_683_064_223,
            17.390_048_171_244_295,
        ];
        check(
            "holtWintersForecast(a,'10min','2min')",
            &store(),
            &[(
                "holtWintersForecast(a)",
                &[
                    15.904_083_514_075_559,
                    16.582_469_933_449_72,
                    15.582_204_856_475_954,
                    16.601_666_727_689_928,
                    16.813_991_473_165_32,
                ],
            )],
        );
        check(
            "holtWintersConfidenceBands(a,2,'10min','2min')",
            &store(),
            &[("holtWintersConfidenceLower(a)", &lower), ("holtWintersConfidenceUpper(a)", &upper)],
        );
        check(
            "holtWintersConfidenceArea(a,2,'10min',seasonality='2min')",
            &store(),
            &[("holtWintersConfidenceArea(a)", &lower), ("holtWintersConfidenceArea(a)", &upper)],
        );
        check(
            "holtWintersAberration(a,2,'10min','2min')",
            &store(),
            &[(
                "holtWintersAberration(a)",
                &[
                    -1.523_266_811_260_446_8,
                    0.0,
                    -0.123_028_852_647_163_23,
                    6.694_894_316_935_777,
                    -0.237_934_775_086_344_53,
                ],
            )],
        );
    }

    #[test]
    fn an_area_stands_on_a_line_that_is_not_seen() {
        let area = run("holtWintersConfidenceArea(a,2,'10min','2min')", &store());
        assert_eq!((area[0].start, area[0].options["invisible"].as_str()), (at(60), "true"));
        assert_eq!(area[1].options.keys().copied().collect::<Vec<_>>(), ["stacked"]);
        assert_eq!(area[1].tags["holtWintersConfidenceArea"], "1");
        assert_eq!(area[1].path_expression, "holtWintersConfidenceArea(a)");
    }

    #[test]
    fn a_season_has_at_least_two_values() {
        assert_eq!(
            failure("holtWintersForecast(a,'10min','1min')", &store()),
            "holtWintersForecast: seasonality has to be at least two steps of the series, which are 60 s"
        );
    }
}
