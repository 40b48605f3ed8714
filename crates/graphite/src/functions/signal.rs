//! carbonapi's filters of signals: an exponential mean, the Fourier transform and what is left of it.

use rustfft::FftPlanner;
use rustfft::num_complex::Complex;
use statline_series::Kind;

use super::{SERIES_LIST, each};
use crate::arguments::{Literal, Param, ParamType};
use crate::evaluate::{Call, Outcome};
use crate::expr::Number;
use crate::registry::{Function, Group};
use crate::series::Series;

const ALPHAS: &[Literal] =
    &[Literal::Number(Number::Float(0.1)), Literal::Number(Number::Float(0.5)), Literal::Number(Number::Float(0.7))];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "exponentialWeightedMovingAverage",
        Group::Calculate,
        "A mean in which each value counts with the part alpha and all before it with the rest.",
        &[SERIES_LIST, Param::required("alpha", ParamType::Float).suggesting(ALPHAS)],
        exponential_mean,
    )
    .also(&["ewma"]),
    Function::new(
        "fft",
        Group::Transform,
        "The discrete Fourier transform of each series, missing values being 0: the amplitude of each frequency, its phase, \
         or a series for both.",
        &[
            SERIES_LIST,
            Param::optional("mode", ParamType::String).one_of(&["abs", "both", "phase"]).or(Literal::Text("both")),
        ],
        fft,
    ),
    Function::new(
        "ifft",
        Group::Transform,
        "The signals whose Fourier transforms have these amplitudes and phases.",
        &[
            Param::required("absSeriesList", ParamType::SeriesList),
            Param::optional("phaseSeriesList", ParamType::SeriesList),
        ],
        ifft,
    ),
    Function::new(
        "lowPass",
        Group::Transform,
        "Of a Fourier transform the part cutPercent of lowest frequencies, at both ends of the series; the rest is missing.",
        &[SERIES_LIST, Param::required("cutPercent", ParamType::Float)],
        low_pass,
    )
    .also(&["lpf"]),
];

fn exponential_mean(call: &mut Call<'_>) -> Outcome {
    let alpha = call.arguments.number(1).unwrap_or(f64::NAN);
    if !(0.0..=1.0).contains(&alpha) {
        return Err(call.unusable(format!("alpha is 0 to 1, got {alpha}")));
    }
    each(call, |one| {
        one.rename(format!("ewma({},{alpha})", one.name));
        let mut mean = f64::NAN;
        for value in one.values_mut().iter_mut().filter(|value| !value.is_nan()) {
            mean = if mean.is_nan() { *value } else { alpha * *value + (1.0 - alpha) * mean };
            *value = mean;
        }
    })
}

/// What is missing counts as 0.
fn known(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

fn fft(call: &mut Call<'_>) -> Outcome {
    let mode = call.arguments.text(1).unwrap_or("both").to_owned();
    let (wants_abs, wants_phase) = (mode != "phase", mode != "abs");
    let series = call.series(0);
    let points = series.iter().fold(0_usize, |sum, one| sum.saturating_add(one.len()));
    call.check_points(points.saturating_mul(usize::from(wants_abs) + usize::from(wants_phase)))?;
    let mut planner = FftPlanner::new();
    let mut transformed = Vec::new();
    for one in series {
        let mut spectrum: Vec<Complex<f64>> = one.values().iter().map(|value| known(*value).into()).collect();
        if !spectrum.is_empty() {
            planner.plan_fft_forward(spectrum.len()).process(&mut spectrum);
        }
        let mut push = |part: &str, value: fn(&Complex<f64>) -> f64| {
            let mut one = one.clone();
            one.set_values(spectrum.iter().map(value).collect());
            one.rename(format!("fft({},{part})", one.name));
            one.kind = Kind::Untyped;
            transformed.push(one);
        };
        if wants_abs {
            push("abs", |value| value.norm());
        }
        if wants_phase {
            push("phase", |value| value.arg());
        }
    }
    Ok(transformed)
}

fn ifft(call: &mut Call<'_>) -> Outcome {
    let (amplitudes, phases) = (call.series(0), call.series(1));
    let mut planner = FftPlanner::new();
    let mut signals = Vec::with_capacity(amplitudes.len());
    let mut phases = phases.iter();
    for mut one in amplitudes {
        let phase = phases.next();
        let angle = |index: usize| phase.and_then(|phase| phase.values().get(index)).map_or(0.0, |angle| known(*angle));
        let polar = |(index, value): (usize, &f64)| Complex::from_polar(known(*value), angle(index));
        let mut spectrum: Vec<Complex<f64>> = one.values().iter().enumerate().map(polar).collect();
        if !spectrum.is_empty() {
            planner.plan_fft_inverse(spectrum.len()).process(&mut spectrum);
        }
        let len = spectrum.len() as f64;
        one.set_values(spectrum.iter().map(|value| value.re / len).collect());
        let beside = phase.map(|phase| format!(",{}", phase.name)).unwrap_or_default();
        one.rename(format!("ifft({}{beside})", one.name));
        one.kind = Kind::Untyped;
        signals.push(one);
    }
    Ok(signals)
}

fn low_pass(call: &mut Call<'_>) -> Outcome {
    let percent = call.arguments.number(1).unwrap_or(0.0);
    if !(0.0..=100.0).contains(&percent) {
        return Err(call.unusable(format!("cutPercent is 0 to 100, got {percent}")));
    }
    each(call, |one: &mut Series| {
        one.rename(format!("lowPass({},{percent})", one.name));
        let len = one.len();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to half the length")]
        let kept = (percent / 200.0 * len as f64) as usize;
        one.values_mut()[kept..len - kept].fill(f64::NAN);
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, assert_values, check, failure, minutes, run};

    #[test]
    fn means_forget_exponentially() {
        let store = [minutes("a", &[NO, 0.0, 1.0, NO, 1.0])];
        check("ewma(a,0.9)", &store, &[("ewma(a,0.9)", &[NO, 0.0, 0.9, NO, 0.99])]);
        check("exponentialWeightedMovingAverage(a,1)", &store, &[("ewma(a,1)", &[NO, 0.0, 1.0, NO, 1.0])]);
        assert_eq!(failure("ewma(a,1.5)", &store), "exponentialWeightedMovingAverage: alpha is 0 to 1, got 1.5");
    }

    #[test]
    fn a_signal_is_its_frequencies() {
        let store = [minutes("a", &[1.0, -2.0, 3.0, NO, 5.0]), minutes("f", &[2.0; 5])];
        check("fft(f,'abs')", &store, &[("fft(f,abs)", &[10.0, 0.0, 0.0, 0.0, 0.0])]);
        let both = run("fft(a)", &store);
        let names: Vec<&str> = both.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["fft(a,abs)", "fft(a,phase)"]);
        // The sum, and the first frequency by its definition.
        let step = std::f64::consts::TAU / 5.0;
        let (re, im) = [1.0, -2.0, 3.0, 0.0, 5.0].into_iter().enumerate().fold((0.0, 0.0), |(re, im), (at, value)| {
            let angle = step * f64::from(u8::try_from(at).unwrap());
            (re + value * angle.cos(), im - value * angle.sin())
        });
        assert_values(&both[0].values()[..2], &[7.0, f64::hypot(re, im)], "amplitudes");
        assert_values(&both[1].values()[..2], &[0.0, im.atan2(re)], "phases");
        check(
            "ifft(fft(a,'abs'),fft(a,'phase'))",
            &store,
            &[("ifft(fft(a,abs),fft(a,phase))", &[1.0, -2.0, 3.0, 0.0, 5.0])],
        );
        check("ifft(fft(f,'abs'))", &store, &[("ifft(fft(f,abs))", &[2.0; 5])]);
        check("fft(x)", &store, &[]);
        check("ifft(x,x)", &store, &[]);
    }

    #[test]
    fn low_frequencies_pass() {
        let store = [minutes("a", &[1.0, 2.0, 3.0, 4.0, 5.0])];
        check("lowPass(a,40)", &store, &[("lowPass(a,40)", &[1.0, NO, NO, NO, 5.0])]);
        check("lpf(a,99.5)", &store, &[("lowPass(a,99.5)", &[1.0, 2.0, NO, 4.0, 5.0])]);
        check("lowPass(a,0)", &store, &[("lowPass(a,0)", &[NO; 5])]);
        assert_eq!(failure("lowPass(a,101)", &store), "lowPass: cutPercent is 0 to 100, got 101");
    }
}
