//! Windows that slide over a column, in time linear in its points whatever the window.
//!
//! The column is cut into blocks as long as the window. A window is then the end of one block and the beginning of the next,
//! and both are kept as running folds (van Herk, 1992). Nothing is ever subtracted, so nothing drifts. The median
//! has a file of its own.

use statline_series::Consolidation;

use crate::align::enough;
use crate::medians::medians;

/// For each value, what comes of the window that ends with it. Windows at the beginning are shorter; a window with fewer
/// values than the xFilesFactor asks of a whole one is missing. As everywhere in Graphite's windows, only values
/// that are present take part.
#[expect(clippy::cast_precision_loss, reason = "windows are far below 2^52")]
pub(crate) fn windows(values: &[f64], window: usize, how: Consolidation, x_files_factor: f64) -> Vec<f64> {
    let window = window.max(1);
    let mut result = match how {
        Consolidation::Sum => folded(values, window, 0.0, |value| value, |left, right| left + right, |sum| sum),
        Consolidation::Average | Consolidation::AvgZero => folded(
            values,
            window,
            (0.0, 0.0),
            |value| (value, 1.0),
            |left: (f64, f64), right: (f64, f64)| (left.0 + right.0, left.1 + right.1),
            |(sum, count)| sum / count,
        ),
        Consolidation::Count => folded(values, window, 0.0, |_| 1.0, |left, right| left + right, |count| count),
        Consolidation::Multiply => folded(values, window, 1.0, |value| value, |left, right| left * right, |all| all),
        Consolidation::Max => folded(values, window, f64::NAN, |value| value, f64::max, |max| max),
        Consolidation::Min => folded(values, window, f64::NAN, |value| value, f64::min, |min| min),
        Consolidation::Range => folded(
            values,
            window,
            (f64::NAN, f64::NAN),
            |value| (value, value),
            |left: (f64, f64), right: (f64, f64)| (left.0.min(right.0), left.1.max(right.1)),
            |(low, high)| high - low,
        ),
        Consolidation::First => folded(values, window, f64::NAN, |value| value, first_present, |first| first),
        Consolidation::Last => {
            folded(values, window, f64::NAN, |value| value, |left, right| first_present(right, left), |last| last)
        }
        Consolidation::Diff => {
            folded(values, window, (f64::NAN, 0.0), |value| (value, 0.0), merge_diff, |(first, rest)| first - rest)
        }
        Consolidation::Stddev => folded(values, window, Moments::NONE, Moments::of, Moments::merge, Moments::deviation),
        Consolidation::Median => medians(values, window),
    };
    let mut present = 0_usize;
    for index in 0..values.len() {
        present += usize::from(!values[index].is_nan());
        if let Some(left) = index.checked_sub(window) {
            present -= usize::from(!values[left].is_nan());
        }
        if !enough(present, window as f64, x_files_factor) {
            result[index] = f64::NAN;
        }
    }
    result
}

/// The same as graphite-web does it: every window by itself, from left to right, so that sums have the same last digits.
pub(crate) fn windows_one_by_one(values: &[f64], window: usize, how: Consolidation, x_files_factor: f64) -> Vec<f64> {
    let how = match how {
        Consolidation::AvgZero => Consolidation::Average,
        Consolidation::Average | Consolidation::Diff | Consolidation::Multiply | Consolidation::Stddev => how,
        Consolidation::Sum => how,
        exact => return windows(values, window, exact, x_files_factor),
    };
    let ends = 1..=values.len();
    let of_window = |end: usize| {
        let values = &values[end.saturating_sub(window)..end];
        let present = values.iter().filter(|value| !value.is_nan()).count();
        if enough(present, window as f64, x_files_factor) { how.apply(values) } else { f64::NAN }
    };
    ends.map(of_window).collect()
}

fn first_present(left: f64, right: f64) -> f64 {
    if left.is_nan() { right } else { left }
}

/// The first value present, and the sum of those after it.
fn merge_diff(left: (f64, f64), right: (f64, f64)) -> (f64, f64) {
    if left.0.is_nan() {
        right
    } else if right.0.is_nan() {
        left
    } else {
        (left.0, left.1 + right.0 + right.1)
    }
}

/// Count, mean, and sum of squared distances from the mean.
#[derive(Clone, Copy)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    const NONE: Self = Self { count: 0.0, mean: 0.0, squares: 0.0 };

    const fn of(value: f64) -> Self {
        Self { count: 1.0, mean: value, squares: 0.0 }
    }

    /// Chan, Golub and LeVeque's pairwise update.
    fn merge(self, other: Self) -> Self {
        if self.count == 0.0 {
            return other;
        }
        if other.count == 0.0 {
            return self;
        }
        let count = self.count + other.count;
        let distance = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + distance * other.count / count,
            squares: self.squares + other.squares + distance * distance * self.count * other.count / count,
        }
    }

    fn deviation(self) -> f64 {
        (self.squares / self.count).sqrt()
    }
}

/// Folds each window with an associative merge. A missing value is `none`.
fn folded<T: Copy>(
    values: &[f64],
    window: usize,
    none: T,
    lift: impl Fn(f64) -> T,
    merge: impl Fn(T, T) -> T,
    finish: impl Fn(T) -> f64,
) -> Vec<f64> {
    let lift = |value: f64| if value.is_nan() { none } else { lift(value) };
    let mut result = Vec::with_capacity(values.len());
    // Folds of the block before, from each of its places to its end.
    let mut tails: Vec<T> = Vec::new();
    for block in values.chunks(window) {
        let mut head = none;
        for (place, value) in block.iter().enumerate() {
            head = merge(head, lift(*value));
            let whole = match tails.get(place + 1) {
                Some(tail) => merge(*tail, head),
                None => head,
            };
            result.push(finish(whole));
        }
        tails.clear();
        tails.resize(block.len(), none);
        let mut tail = none;
        for (place, value) in block.iter().enumerate().rev() {
            tail = merge(lift(*value), tail);
            tails[place] = tail;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_window_agrees_with_its_definition(
            values in prop::collection::vec(prop_oneof![3 => -100.0..100.0_f64, 1 => Just(f64::NAN)], 0..40),
            window in 1_usize..12,
            x_files_factor in prop_oneof![Just(0.0), 0.0..1.0_f64],
        ) {
            for how in Consolidation::ALL {
                let result = windows(&values, window, how, x_files_factor);
                prop_assert_eq!(result.len(), values.len());
                for index in 0..values.len() {
                    let present: Vec<f64> =
                        values[(index + 1).saturating_sub(window)..=index].iter().copied().filter(|v| !v.is_nan()).collect();
                    let expected = if enough(present.len(), window as f64, x_files_factor) {
                        how.apply(&present)
                    } else {
                        f64::NAN
                    };
                    let close = (result[index] - expected).abs() <= 1e-9 * expected.abs().max(1.0);
                    prop_assert!(close || result[index].is_nan() && expected.is_nan(), "{} at {}: {} {}", how, index, result[index], expected);
                }
            }
        }
    }

    #[test]
    fn nothing_drifts_after_a_large_value() {
        let mut values = vec![1e18; 3];
        values.extend([0.1; 10]);
        assert_eq!(windows(&values, 3, Consolidation::Sum, 0.0)[12], 0.1 + 0.1 + 0.1);
    }
}
