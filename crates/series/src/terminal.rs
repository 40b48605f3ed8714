//! Values for terminals: a line of blocks, `▁▂▅█▇▃`, and numbers that fit a column.

/// The blocks, lowest first.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A line of at most `width` characters. Each stands for an equal share of the values, by their mean; a share without any
/// value is a space. All values equal make a line of low blocks.
#[must_use]
pub fn sparkline(values: &[f64], width: usize) -> String {
    let width = width.min(values.len());
    let shares: Vec<f64> = (0..width)
        .map(|column| mean(&values[column * values.len() / width..(column + 1) * values.len() / width]))
        .collect();
    let present = || shares.iter().copied().filter(|value| value.is_finite());
    let (least, most) = (present().fold(f64::INFINITY, f64::min), present().fold(f64::NEG_INFINITY, f64::max));
    shares.iter().map(|value| block(*value, least, most)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52 values")]
fn mean(values: &[f64]) -> f64 {
    let present = || values.iter().copied().filter(|value| value.is_finite());
    present().sum::<f64>() / present().count() as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the level is from 0 to 7")]
fn block(value: f64, least: f64, most: f64) -> char {
    if !value.is_finite() {
        return ' ';
    }
    let share = if most > least { (value - least) / (most - least) } else { 0.0 };
    BLOCKS[((share * 7.0).round() as usize).min(7)]
}

/// A number in at most ten characters; `-` when it is missing.
#[must_use]
pub fn short_number(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "-".to_owned()
    } else if value == value.trunc() && size < 1e9 {
        format!("{value:.0}")
    } else if (0.001..1e6).contains(&size) {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.2e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_their_column() {
        for (value, text) in [
            (f64::NAN, "-"),
            (0.0, "0"),
            (402_000.0, "402000"),
            (0.5, "0.5"),
            (1234.5678, "1234.568"),
            (1e-9, "1.00e-9"),
            (1e300, "1.00e300"),
            (-1.5e7, "-15000000"),
        ] {
            assert_eq!(short_number(value), text);
            assert!(short_number(value).len() <= 10);
        }
    }

    #[test]
    fn values_become_blocks_between_their_extremes() {
        for (values, width, line) in [
            (&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0][..], 8, "▁▂▃▄▅▆▇█"),
            (&[0.0, 0.0, 7.0, 7.0], 2, "▁█"),
            (&[5.0, 5.0], 8, "▁▁"),
            (&[0.0, f64::NAN, 1.0], 3, "▁ █"),
            (&[f64::NAN], 3, " "),
            (&[], 3, ""),
        ] {
            assert_eq!(sparkline(values, width), line, "{values:?}");
        }
    }
}
