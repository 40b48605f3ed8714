//! Numbers as Go prints them with the shortest digits that mean the number (`strconv.FormatFloat(f, 'g', -1, 64)`), which is
//! how both text formats have them.

/// `1`, `0.25`, `1e-05`, `1.5e+06`, `+Inf`, `-Inf`, `NaN`.
#[must_use]
pub fn go_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value == 0.0 {
        // Without the sign, as in the text formats.
        return "0".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_printed_as_go_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (-1.0, "-1"),
            (0.1, "0.1"),
            (1e5, "100000"),
            (999_999.0, "999999"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (123_456_789_012_345_678.0, "1.2345678901234568e+17"),
            (1e22, "1e+22"),
            (0.0001, "0.0001"),
            (1e-5, "1e-05"),
            (0.000_123_45, "0.00012345"),
            (100_000.5, "100000.5"),
            (1_000_000.5, "1.0000005e+06"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(go_float(value), text);
        }
    }
}
