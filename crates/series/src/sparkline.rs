//! Values as a line of blocks, for terminals: `▁▂▅█▇▃`.

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

#[cfg(test)]
mod tests {
    use super::*;

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
