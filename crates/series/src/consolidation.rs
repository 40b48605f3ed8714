//! Making fewer points out of many.
//!
//! The names are Graphite's (`consolidateBy`, `summarize`, `aggregate`). Missing values are NaN and are left out; a bucket
//! in which every value is missing is itself missing.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How several values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consolidation {
    /// The sum divided by the number of values present.
    Average,
    /// The sum divided by the number of slots, a missing value counting as 0.
    AvgZero,
    /// The number of values present.
    Count,
    /// The first value less each of the others.
    Diff,
    /// The first value present.
    First,
    /// The last value present.
    Last,
    /// The largest value.
    Max,
    /// The middle value, or the mean of the two in the middle.
    Median,
    /// The smallest value.
    Min,
    /// The product of the values.
    Multiply,
    /// The largest less the smallest.
    Range,
    /// The standard deviation of the population.
    Stddev,
    /// The sum of the values.
    Sum,
}

/// A text that names no [`Consolidation`].
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "unknown consolidation {0:?}; expected average, avg_zero, count, diff, first, last, max, median, min, multiply, range, stddev or sum"
)]
pub struct UnknownConsolidation(pub String);

impl Consolidation {
    /// Every one of them, in the order of their names.
    pub const ALL: [Self; 13] = [
        Self::Average,
        Self::AvgZero,
        Self::Count,
        Self::Diff,
        Self::First,
        Self::Last,
        Self::Max,
        Self::Median,
        Self::Min,
        Self::Multiply,
        Self::Range,
        Self::Stddev,
        Self::Sum,
    ];

    /// Its name, as Graphite writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Average => "average",
            Self::AvgZero => "avg_zero",
            Self::Count => "count",
            Self::Diff => "diff",
            Self::First => "first",
            Self::Last => "last",
            Self::Max => "max",
            Self::Median => "median",
            Self::Min => "min",
            Self::Multiply => "multiply",
            Self::Range => "range",
            Self::Stddev => "stddev",
            Self::Sum => "sum",
        }
    }

    /// One value out of a bucket of them; NaN when none is present.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a bucket holds fewer than 2^52 values")]
    pub fn apply(self, bucket: &[f64]) -> f64 {
        let present = || bucket.iter().copied().filter(|value| !value.is_nan());
        let count = present().count();
        if count == 0 {
            return f64::NAN;
        }
        let sum = || present().sum::<f64>();
        match self {
            Self::Average => sum() / count as f64,
            Self::AvgZero => sum() / bucket.len() as f64,
            Self::Count => count as f64,
            Self::Diff => present().reduce(|left, right| left - right).unwrap_or(f64::NAN),
            Self::First => present().next().unwrap_or(f64::NAN),
            Self::Last => bucket.iter().copied().rev().find(|value| !value.is_nan()).unwrap_or(f64::NAN),
            Self::Max => present().fold(f64::NEG_INFINITY, f64::max),
            Self::Median => median(&mut present().collect::<Vec<_>>()),
            Self::Min => present().fold(f64::INFINITY, f64::min),
            Self::Multiply => present().product(),
            Self::Range => present().fold(f64::NEG_INFINITY, f64::max) - present().fold(f64::INFINITY, f64::min),
            Self::Stddev => {
                let mean = sum() / count as f64;
                (present().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64).sqrt()
            }
            Self::Sum => sum(),
        }
    }
}

/// The middle of the values, which are reordered. NaN when there are none.
fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let middle = values.len() / 2;
    let even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if even {
        let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        f64::midpoint(lower, *upper)
    } else {
        *upper
    }
}

impl fmt::Display for Consolidation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Consolidation {
    type Err = UnknownConsolidation;

    /// Reads a name, with the synonyms that Graphite takes: `avg`, `current`, `total`, `rangeOf`.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "avg" => return Ok(Self::Average),
            "current" => return Ok(Self::Last),
            "total" => return Ok(Self::Sum),
            "rangeOf" => return Ok(Self::Range),
            _ => {}
        }
        Self::ALL
            .into_iter()
            .find(|candidate| candidate.as_str() == name)
            .ok_or_else(|| UnknownConsolidation(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_one_leaves_missing_values_out() {
        let bucket = [4.0, f64::NAN, 1.0, 7.0, 2.0];
        for (consolidation, expected) in [
            (Consolidation::Average, 3.5),
            (Consolidation::AvgZero, 2.8),
            (Consolidation::Count, 4.0),
            (Consolidation::Diff, -6.0),
            (Consolidation::First, 4.0),
            (Consolidation::Last, 2.0),
            (Consolidation::Max, 7.0),
            (Consolidation::Median, 3.0),
            (Consolidation::Min, 1.0),
            (Consolidation::Multiply, 56.0),
            (Consolidation::Range, 6.0),
            (Consolidation::Stddev, 5.25_f64.sqrt()),
            (Consolidation::Sum, 14.0),
        ] {
            assert_eq!(consolidation.apply(&bucket), expected, "{consolidation}");
            assert!(consolidation.apply(&[f64::NAN]).is_nan(), "{consolidation} of nothing");
        }
    }

    #[test]
    fn every_name_reads_back() {
        for consolidation in Consolidation::ALL {
            assert_eq!(consolidation.as_str().parse(), Ok(consolidation));
        }
        assert!("mean-ish".parse::<Consolidation>().is_err());
    }
}
