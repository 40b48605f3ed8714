//! Bounds of buckets that people can read and that stay put: preferred numbers, the same in every decade.
//!
//! A scale has 1, 3, 6, 12 or 24 of them a decade (1 2 5, then the E-series of IEC 60063). Whoever asks for at most so many
//! buckets over a span of values gets the finest scale that fits.

/// The numbers of each scale from 1 up to 10, the finest scale first.
const SCALES: [&[f64]; 5] = [
    &[
        1.0, 1.1, 1.2, 1.3, 1.5, 1.6, 1.8, 2.0, 2.2, 2.4, 2.7, 3.0, 3.3, 3.6, 3.9, 4.3, 4.7, 5.1, 5.6, 6.2, 6.8, 7.5,
        8.2, 9.1,
    ],
    &[1.0, 1.2, 1.5, 1.8, 2.2, 2.7, 3.3, 3.9, 4.7, 5.6, 6.8, 8.2],
    &[1.0, 1.5, 2.2, 3.3, 4.7, 6.8],
    &[1.0, 2.0, 5.0],
    &[1.0],
];

/// The upper bounds of at most so many buckets, ascending, that hold all values from `least` to `largest`. Values of 0 and
/// below have a bucket of their own. When even decades are too many, the lowest bucket holds all that is below.
pub(crate) fn bounds(least: f64, largest: f64, most: usize) -> Vec<f64> {
    let mut bounds = Vec::new();
    if least <= 0.0 {
        bounds.push(0.0);
    }
    if largest <= 0.0 {
        return bounds;
    }
    let room = most.saturating_sub(bounds.len()).max(1);
    let lowest = if least > 0.0 { least } else { largest * 1e-6 };
    for scale in SCALES {
        let (first, last) = (place_of(lowest, scale), place_of(largest, scale));
        let count = usize::try_from(last - first).unwrap_or(0) + 1;
        if count <= room || scale.len() == 1 {
            let first = last - i64::try_from(count.min(room)).unwrap_or(1) + 1;
            bounds.extend((first..=last).map(|place| bound(place, scale)));
            break;
        }
    }
    bounds
}

/// The number at a place of a scale; place 0 is 1.
fn bound(place: i64, scale: &[f64]) -> f64 {
    let len = i64::try_from(scale.len()).unwrap_or(1);
    let digit = usize::try_from(place.rem_euclid(len)).ok().and_then(|index| scale.get(index)).copied().unwrap_or(1.0);
    // Written and read, so that it is the double nearest to the decimal number.
    format!("{digit}e{}", place.div_euclid(len)).parse().unwrap_or(f64::MAX)
}

/// The place of the smallest number that a value above 0 is not above.
#[expect(clippy::cast_possible_truncation, reason = "the exponent of a double is within ±324")]
fn place_of(value: f64, scale: &[f64]) -> i64 {
    let len = i64::try_from(scale.len()).unwrap_or(1);
    let mut place = (value.log10().floor() as i64).saturating_sub(1) * len;
    while bound(place, scale) < value {
        place += 1;
    }
    place
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_finest_scale_that_fits_is_taken() {
        for (least, largest, most, expected) in [
            (1.0, 1.0, 10, vec![1.0]),
            (1.3, 1.7, 10, vec![1.3, 1.5, 1.6, 1.8]),
            (0.9, 9.0, 6, vec![1.0, 2.0, 5.0, 10.0]),
            (0.9, 9.0, 8, vec![1.0, 1.5, 2.2, 3.3, 4.7, 6.8, 10.0]),
            (0.03, 700.0, 5, vec![0.1, 1.0, 10.0, 100.0, 1000.0]),
            (0.03, 700.0, 2, vec![100.0, 1000.0]),
            (-5.0, -1.0, 9, vec![0.0]),
            (0.0, 30.0, 4, vec![0.0, 1.0, 10.0, 100.0]),
        ] {
            assert_eq!(bounds(least, largest, most), expected, "{least} to {largest} in {most}");
        }
    }

    fn finite() -> impl Strategy<Value = f64> {
        use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
        POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO
    }

    proptest! {
        #[test]
        fn all_values_have_a_bucket(least in -10.0..1e6_f64, more in 0.0..1e9_f64, most in 1_usize..60) {
            let bounds = bounds(least, least + more, most);
            prop_assert!(bounds.len() <= most.max(2));
            prop_assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", bounds);
            prop_assert!(bounds.last().is_some_and(|last| *last >= least + more));
        }

        #[test]
        fn no_double_is_beyond_them(one in finite(), other in finite()) {
            prop_assert!(bounds(one.min(other), one.max(other), 40).len() <= 41);
        }
    }
}
