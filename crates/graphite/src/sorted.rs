//! Orders of series that stay put where nothing tells them apart.

use crate::series::Series;

/// Series by a value each, a missing one being the lowest. Equals keep their order either way round.
pub(crate) fn by_value(series: Vec<Series>, value: impl Fn(&Series) -> f64, highest_first: bool) -> Vec<Series> {
    let mut ranked: Vec<(f64, Series)> = series
        .into_iter()
        .map(|one| {
            let value = value(&one);
            (if value.is_nan() { f64::NEG_INFINITY } else { value }, one)
        })
        .collect();
    // No value is NaN, and 0 equals -0.
    let order = |left: f64, right: f64| left.partial_cmp(&right).unwrap_or(std::cmp::Ordering::Equal);
    if highest_first {
        ranked.sort_by(|(left, _), (right, _)| order(*right, *left));
    } else {
        ranked.sort_by(|(left, _), (right, _)| order(*left, *right));
    }
    ranked.into_iter().map(|(_, one)| one).collect()
}

/// Series by a text each.
pub(crate) fn by_text(series: Vec<Series>, text: impl Fn(&Series) -> String, last_first: bool) -> Vec<Series> {
    let mut ranked: Vec<(String, Series)> = series.into_iter().map(|one| (text(&one), one)).collect();
    if last_first {
        ranked.sort_by(|(left, _), (right, _)| right.cmp(left));
    } else {
        ranked.sort_by(|(left, _), (right, _)| left.cmp(right));
    }
    ranked.into_iter().map(|(_, one)| one).collect()
}
