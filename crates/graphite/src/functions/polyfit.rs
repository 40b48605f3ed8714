//! Calculate, continued: carbonapi's polynomial nearest to the values, which may go on beyond their end.

use statline_series::Kind;

use super::{SERIES_LIST, finite, int};
use crate::arguments::{Literal, Param, ParamType};
use crate::evaluate::{Call, Outcome};
use crate::registry::{Function, Group};
use crate::time;

/// The highest degree. What goes beyond it follows the noise.
const MAX_DEGREE: i64 = 100;

pub(crate) const FUNCTIONS: &[Function] = &[Function::new(
    "polyfit",
    Group::Calculate,
    "The polynomial of a degree, 1 unless given, that is nearest to the values; with offset it goes on for so long beyond \
     them.",
    &[
        SERIES_LIST,
        Param::optional("degree", ParamType::Integer).suggesting(&[int(1), int(2), int(3)]),
        Param::optional("offset", ParamType::Interval).suggesting(&[
            Literal::Text("0d"),
            Literal::Text("1h"),
            Literal::Text("1d"),
        ]),
    ],
    polyfit,
)];

fn polyfit(call: &mut Call<'_>) -> Outcome {
    let degree = call.arguments.integer(1);
    if !(1..=MAX_DEGREE).contains(&degree.unwrap_or(1)) {
        let got = degree.unwrap_or(1);
        return Err(call.unusable(format!("degree is 1 to {MAX_DEGREE}, got {got}")));
    }
    let offset_text = call.arguments.text(2).map(str::to_owned);
    let shown = match (degree, &offset_text) {
        (degree, Some(offset)) => format!(",{},'{offset}'", degree.unwrap_or(1)),
        (Some(degree), None) => format!(",{degree}"),
        (None, None) => String::new(),
    };
    let offset = offset_text.map_or(0, |text| time::parse_interval(&text).unwrap_or(0));
    let mut series = call.series(0);
    let mut points = 0_usize;
    for one in &mut series {
        let more = offset / one.step.millis();
        let size = usize::try_from(more.unsigned_abs()).unwrap_or(usize::MAX);
        let len = if more < 0 { one.len().saturating_sub(size) } else { one.len().saturating_add(size) };
        points = points.saturating_add(len);
        call.check_points(points)?;
        let degree = usize::try_from(degree.unwrap_or(1)).unwrap_or(1);
        one.set_values(fit(one.values(), degree, len));
        one.rename(format!("polyfit({}{shown})", one.name));
        one.kind = Kind::Untyped;
    }
    Ok(series)
}

/// The nearest polynomial at so many places, the first of them those of the values. Missing of fewer than two values.
///
/// It is put together of polynomials that are orthogonal over the places of the values, made one out of the two before
/// (Forsythe, 1957), so that high degrees lose no precision.
fn fit(values: &[f64], degree: usize, len: usize) -> Vec<f64> {
    let present = values.iter().filter(|value| !value.is_nan()).count();
    if present < 2 {
        return vec![f64::NAN; len];
    }
    let half = (values.len() - 1) as f64 / 2.0;
    let place = |index: usize| index as f64 / half - 1.0;
    // Over all places that are asked for or have a value.
    let size = len.max(values.len());
    let known = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let mut fitted = vec![0.0; size];
    let (mut before, mut current) = (vec![0.0; size], vec![1.0; size]);
    let mut norm_before = f64::INFINITY;
    for _ in 0..=degree.min(present - 1) {
        let (mut norm, mut moment, mut share) = (0.0, 0.0, 0.0);
        for (index, basis) in current.iter().enumerate().take(values.len()) {
            let value = known(index);
            if !value.is_nan() {
                norm += basis * basis;
                moment += place(index) * basis * basis;
                share += value * basis;
            }
        }
        let (center, weight, ratio) = (moment / norm, share / norm, norm / norm_before);
        for (index, (before, current)) in before.iter_mut().zip(&mut current).enumerate() {
            fitted[index] += weight * *current;
            let next = (place(index) - center) * *current - ratio * *before;
            *before = std::mem::replace(current, next);
        }
        norm_before = norm;
    }
    fitted.truncate(len);
    fitted.iter_mut().for_each(|value| *value = finite(*value));
    fitted
}

#[cfg(test)]
mod tests {
    use super::fit;
    use crate::testing::{NO, assert_values, check, failure, minutes, run};

    #[test]
    fn polynomials_are_fitted_and_go_on() {
        let store = [
            minutes("line", &[1.0, 3.0, NO, 7.0, 9.0]),
            minutes("square", &[0.0, 1.0, 4.0, NO, 16.0]),
            minutes("step", &[0.0, 0.0, 0.0, 0.0, 1.0]),
            minutes("one", &[NO, 1.0, NO, NO, NO]),
            minutes("same", &[4.0; 5]),
        ];
        for (target, name, values) in [
            ("polyfit(line)", "polyfit(line)", &[1.0, 3.0, 5.0, 7.0, 9.0][..]),
            ("polyfit(line,1,'2min')", "polyfit(line,1,'2min')", &[1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0]),
            ("polyfit(line,offset='90s')", "polyfit(line,1,'90s')", &[1.0, 3.0, 5.0, 7.0, 9.0, 11.0]),
            ("polyfit(line,1,'-2min')", "polyfit(line,1,'-2min')", &[1.0, 3.0, 5.0]),
            ("polyfit(square,2,'1min')", "polyfit(square,2,'1min')", &[0.0, 1.0, 4.0, 9.0, 16.0, 25.0]),
            ("polyfit(square,50)", "polyfit(square,50)", &[0.0, 1.0, 4.0, 9.0, 16.0]),
            ("polyfit(step)", "polyfit(step)", &[-0.2, 0.0, 0.2, 0.4, 0.6]),
            ("polyfit(same,3)", "polyfit(same,3)", &[4.0; 5]),
            ("polyfit(one)", "polyfit(one)", &[NO; 5]),
        ] {
            check(target, &store, &[(name, values)]);
        }
        check("polyfit(x)", &store, &[]);
        assert_eq!(failure("polyfit(line,0)", &store), "polyfit: degree is 1 to 100, got 0");
        assert!(failure("polyfit(line,1,'900y')", &store).starts_with("the target needs 473"));
        assert_eq!(run("polyfit(line)", &store)[0].step.millis(), 60_000);
    }

    #[test]
    fn high_degrees_keep_their_precision() {
        let values: Vec<f64> = (0..1000).map(|index| (f64::from(index) / 50.0).sin()).collect();
        assert_values(&fit(&values, 60, 1000), &values, "a sine of three periods");
    }
}
