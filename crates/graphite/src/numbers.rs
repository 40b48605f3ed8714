//! Numbers as they stand in the names of series, and rounding, both as Python does them.

/// C's `%g`: six significant digits, no trailing zeros, an exponent where it is shorter.
pub(crate) fn general(value: f64) -> String {
    general_to(value, 6, false)
}

/// The same with so many significant digits, and with `keep_zeros` with trailing zeros.
pub(crate) fn general_to(value: f64, digits: usize, keep_zeros: bool) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let digits = digits.max(1);
    let written = format!("{value:.*e}", digits - 1);
    let Some((mantissa, exponent)) = written.split_once('e') else { return written };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let last = i32::try_from(digits).unwrap_or(i32::MAX) - 1;
    let trim = |text: String| if keep_zeros { text } else { trim_zeros(&text).to_owned() };
    if !(-4..=last).contains(&exponent) {
        return format!("{}e{}", trim(mantissa.to_owned()), two_digits(exponent));
    }
    let decimals = usize::try_from(last - exponent).unwrap_or(0);
    trim(format!("{value:.decimals$}"))
}

/// C's `%e`: a digit, so many decimals, and an exponent of at least two digits.
pub(crate) fn scientific(value: f64, decimals: usize) -> String {
    let written = format!("{value:.decimals$e}");
    match written.split_once('e') {
        Some((mantissa, exponent)) => format!("{mantissa}e{}", two_digits(exponent.parse().unwrap_or(0))),
        None => written,
    }
}

fn trim_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

fn two_digits(exponent: i32) -> String {
    format!("{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// The shortest text that reads back as the same number, always with a fraction or an exponent: `90.0`, `1e+16`, `inf`.
pub(crate) fn repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    let shortest = format!("{value:?}");
    match shortest.split_once('e') {
        Some((mantissa, exponent)) => format!("{mantissa}e{}", two_digits(exponent.parse().unwrap_or(0))),
        None => shortest,
    }
}

/// Rounds to so many decimals (negative: to tens, hundreds, …), halves to the even neighbour of the exact binary value.
pub(crate) fn round(value: f64, decimals: i32) -> f64 {
    if !value.is_finite() || decimals > 300 {
        return value;
    }
    if decimals < 0 {
        let unit = 10_f64.powi(decimals.saturating_neg());
        return if unit.is_finite() { (value / unit).round_ties_even() * unit } else { 0.0 };
    }
    if decimals <= 15 {
        let unit = 10_f64.powi(decimals);
        let scaled = value * unit;
        let fraction = scaled.abs().fract();
        // Away from a half, and small enough to be exact, the product decides; else the exact digits must.
        if scaled.abs() < 1e15 && (fraction - 0.5).abs() > 1e-3 {
            return scaled.round() / unit;
        }
    }
    let places = usize::try_from(decimals).unwrap_or(0);
    format!("{value:.places$}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        for (value, g, r) in [
            (0.0, "0", "0.0"),
            (10.0, "10", "10.0"),
            (0.1, "0.1", "0.1"),
            (1.0 / 60.0, "0.0166667", "0.016666666666666666"),
            (1e6, "1e+06", "1000000.0"),
            (123_456.0, "123456", "123456.0"),
            (1_234_567.0, "1.23457e+06", "1234567.0"),
            (999_999.9, "1e+06", "999999.9"),
            (0.0001, "0.0001", "0.0001"),
            (0.00001, "1e-05", "1e-05"),
            (1e16, "1e+16", "1e+16"),
            (-2.5, "-2.5", "-2.5"),
            (f64::INFINITY, "inf", "inf"),
        ] {
            assert_eq!(general(value), g, "%g of {value}");
            assert_eq!(repr(value), r, "repr of {value}");
        }
    }

    #[test]
    fn halves_round_to_the_even_neighbour() {
        for (value, decimals, expected) in [
            (0.5, 0, 0.0),
            (1.5, 0, 2.0),
            (2.5, 0, 2.0),
            (-2.5, 0, -2.0),
            (2.675, 2, 2.67),
            (0.125, 2, 0.12),
            (1234.5678, 2, 1234.57),
            (1250.0, -2, 1200.0),
            (1.0 / 3.0, 6, 0.333_333),
            (5.0, 20, 5.0),
            (1e300, 5, 1e300),
            (7.0, -400, 0.0),
        ] {
            assert_eq!(round(value, decimals), expected, "round({value}, {decimals})");
        }
    }
}
