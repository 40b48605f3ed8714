//! The axis of values: from where to where it goes, and what stands on it.
//!
//! Its ends are multiples of a step of 1, 2 or 5 times a power of ten (of two, for bytes), chosen so that the axis has one of
//! a few numbers of parts and as little as possible lies beyond the data.

/// How far a value may be off a multiple of a step, in steps, and still be one.
const EPSILON: f64 = 1e-4;
/// The largest value that is drawn; larger ones are cut to it, so that differences are finite.
const LARGEST: f64 = 1e300;
/// The most labels of an axis.
const MAX_LABELS: f64 = 100.0;

/// The ends of an axis as they were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    pub least: Option<f64>,
    pub most: Option<f64>,
    /// What its upper end must not be above.
    pub limit: Option<f64>,
    /// The distance of labels.
    pub step: Option<f64>,
}

/// What large numbers are shortened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    Si,
    Binary,
    Seconds,
    Milliseconds,
    None,
}

impl Units {
    /// The units of a name; as in graphite-web, those of the SI for an unknown one.
    pub fn named(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "binary" => Self::Binary,
            "sec" => Self::Seconds,
            "msec" => Self::Milliseconds,
            "none" => Self::None,
            _ => Self::Si,
        }
    }

    /// Sizes with their signs, the largest first.
    const fn sizes(self) -> &'static [(f64, &'static str)] {
        match self {
            Self::Si => &[(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")],
            Self::Binary => &[
                (1_125_899_906_842_624.0, "Pi"),
                (1_099_511_627_776.0, "Ti"),
                (1_073_741_824.0, "Gi"),
                (1_048_576.0, "Mi"),
                (1024.0, "Ki"),
            ],
            Self::Seconds => &[(31_536_000.0, "Y"), (2_592_000.0, "M"), (86_400.0, "D"), (3600.0, "H"), (60.0, "m")],
            Self::Milliseconds => &[
                (31_536_000_000.0, "Y"),
                (2_592_000_000.0, "M"),
                (86_400_000.0, "D"),
                (3_600_000.0, "H"),
                (60_000.0, "m"),
                (1000.0, "s"),
            ],
            Self::None => &[],
        }
    }
}

/// How an axis is made, but for the data.
#[derive(Clone, Debug)]
pub struct Rule<'a> {
    pub units: Units,
    pub divisors: &'a [u32],
    pub log_base: Option<f64>,
}

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueAxis {
    bottom: f64,
    top: f64,
    log: bool,
    /// Values and what stands at them, from the bottom.
    pub labels: Vec<(f64, String)>,
}

impl ValueAxis {
    /// The axis for data that goes from `least` to `most`, both finite.
    ///
    /// # Errors
    /// When the bounds leave nothing between them; when logarithms are asked for and nothing is above 0.
    pub fn new(least: f64, most: f64, bounds: Bounds, rule: &Rule<'_>) -> Result<Self, String> {
        let (least, most) = (least.clamp(-LARGEST, LARGEST), most.clamp(-LARGEST, LARGEST));
        match rule.log_base {
            Some(base) => Self::logarithmic(least, most, bounds, base, rule.units),
            None => Self::linear(least, most, bounds, rule),
        }
    }

    /// Where a value lies, 0 at the bottom and 1 at the top; `None` for what has no logarithm.
    pub fn place(&self, value: f64) -> Option<f64> {
        let value = value.clamp(-LARGEST, LARGEST);
        if !self.log {
            return Some((value - self.bottom) / (self.top - self.bottom));
        }
        (value > 0.0).then(|| (value.ln() - self.bottom.ln()) / (self.top.ln() - self.bottom.ln()))
    }

    fn linear(least: f64, most: f64, bounds: Bounds, rule: &Rule<'_>) -> Result<Self, String> {
        let limit = bounds.limit.filter(|limit| *limit < most);
        let upper = limit.or(bounds.most);
        let (least, most) =
            apart(bounds.least.unwrap_or(least), upper.unwrap_or(most), bounds.least.is_some(), upper.is_some())?;
        let binary = rule.units == Units::Binary;
        let mut step = bounds.step.unwrap_or_else(|| step(least, most, rule.divisors, binary));
        let ends = |step: f64| {
            let bottom = bounds.least.unwrap_or_else(|| step * (least / step + EPSILON).floor());
            let top = upper.unwrap_or_else(|| step * (most / step - EPSILON).ceil());
            let top = bounds.limit.map_or(top, |limit| top.min(limit));
            (bottom, if top > bottom { top } else { bottom + step })
        };
        let (mut bottom, mut top) = ends(step);
        // A step that a double cannot tell from none, or that is none.
        let is_step = bottom + step > bottom;
        if (top - bottom) / step > MAX_LABELS || !is_step {
            step = self::step(least, most, rule.divisors, binary);
            (bottom, top) = ends(step);
        }
        let first = (bottom / step - EPSILON).ceil();
        let last = (top / step + EPSILON).floor();
        let count = (last - first).clamp(0.0, MAX_LABELS);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was just bounded")]
        let values = (0..=count as u32).map(|index| (first + f64::from(index)) * step);
        let (size, sign) = rule.units.sizes().iter().find(|(size, _)| step >= *size).copied().unwrap_or((1.0, ""));
        let labels = values.map(|value| (value, label(value / size, step / size, sign))).collect();
        Ok(Self { bottom, top, log: false, labels })
    }

    fn logarithmic(least: f64, most: f64, bounds: Bounds, base: f64, units: Units) -> Result<Self, String> {
        let most = bounds.most.unwrap_or(most).min(bounds.limit.unwrap_or(f64::INFINITY));
        if most <= 0.0 {
            return Err("logBase was sent, and no value is above 0".to_owned());
        }
        // What is not above 0 is not on the axis.
        let least = bounds.least.unwrap_or(least);
        let least = if least > 0.0 { least } else { most / base.powi(4) };
        let bottom = base.powf((least.ln() / base.ln() + EPSILON).floor()).max(f64::MIN_POSITIVE);
        let mut top = base.powf((most.ln() / base.ln() - EPSILON).ceil()).min(f64::MAX / base);
        if top <= bottom {
            top = bottom * base;
        }
        let powers = ((top.ln() - bottom.ln()) / base.ln()).round();
        // A base close to 1 has more powers than there is room for.
        let apart = (powers / 20.0).ceil().max(1.0);
        let mut labels = Vec::new();
        let mut value = bottom;
        while value < top * (1.0 + EPSILON) && labels.len() < 30 {
            let (size, sign) = units.sizes().iter().find(|(size, _)| value >= *size).copied().unwrap_or((1.0, ""));
            let digits = 10_f64.powf((value / size).log10().floor() - 2.0);
            let rounded = (value / size / digits).round() * digits;
            labels.push((value, label(rounded, least_digit(rounded), sign)));
            value *= base.powf(apart);
        }
        Ok(Self { bottom, top, log: true, labels })
    }
}

/// The power of ten of the last of a number's first three digits that is not 0.
fn least_digit(value: f64) -> f64 {
    let first = 10_f64.powf(value.log10().floor());
    let is_multiple = |digit: f64| (value / digit - (value / digit).round()).abs() < EPSILON;
    [first, first / 10.0].into_iter().find(|digit| is_multiple(*digit)).unwrap_or(first / 100.0)
}

/// Two ends with something between them; an end that was not asked for gives way.
fn apart(least: f64, most: f64, least_is_fixed: bool, most_is_fixed: bool) -> Result<(f64, f64), String> {
    if least < most {
        return Ok((least, most));
    }
    let room = |value: f64| if value.abs() < 1e-9 { 1.0 } else { value.abs() * 0.1 };
    match (least_is_fixed, most_is_fixed) {
        (true, true) => Err(format!("yMin is {least} and yMax {most}; yMin must be below yMax")),
        (true, false) => Ok((least, least + room(least))),
        (false, true) => Ok((most - room(most), most)),
        (false, false) => {
            let (middle, room) = (f64::midpoint(least, most), room(least.abs().max(most.abs())));
            Ok((middle - room, middle + room))
        }
    }
}

/// The step for which the least lies beyond the data.
fn step(least: f64, most: f64, divisors: &[u32], binary: bool) -> f64 {
    let fewest = f64::from(divisors.iter().copied().min().unwrap_or(4));
    let span = most - least;
    let finest = span / f64::from(divisors.iter().copied().max().unwrap_or(6));
    let base: f64 = if binary { 2.0 } else { 10.0 };
    let mantissas: &[f64] = if binary { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let exponent = finest.log(base).floor();
    let mut best: Option<(f64, f64)> = None;
    let steps = (0_u8..12).flat_map(|up| {
        let power = base.powf(exponent + f64::from(up));
        mantissas.iter().map(move |mantissa| mantissa * power)
    });
    for step in steps.filter(|step| *step >= finest * (1.0 - EPSILON)) {
        if best.is_some_and(|(beyond, _)| step * fewest >= 2.0 * beyond + span) {
            break;
        }
        let bottom = step * (least / step + EPSILON).floor();
        for divisor in divisors {
            let top = bottom + step * f64::from(*divisor);
            let beyond = (top - most).max(least - bottom);
            if top >= most - EPSILON * step && best.is_none_or(|(least_beyond, _)| beyond < least_beyond) {
                best = Some((beyond, step));
            }
        }
    }
    best.map_or(finest, |(_, step)| step)
}

/// A number with as many decimals as the step needs, and its sign.
fn label(value: f64, step: f64, sign: &str) -> String {
    let value = if value.abs() < step * EPSILON { 0.0 } else { value };
    let needs = |decimals: i32| {
        let steps = step * 10_f64.powi(decimals);
        (steps - steps.round()).abs() < EPSILON * steps && steps > 0.5
    };
    let text = match (0_u8..=6).find(|decimals| needs((*decimals).into())) {
        Some(decimals) if value.abs() < 1e9 => format!("{value:.*}", decimals.into()),
        _ => format!("{value:.2e}"),
    };
    if sign.is_empty() || value == 0.0 { text } else { format!("{text} {sign}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULE: Rule<'_> = Rule { units: Units::Si, divisors: &[4, 5, 6], log_base: None };

    fn texts(least: f64, most: f64, bounds: Bounds, rule: &Rule<'_>) -> String {
        match ValueAxis::new(least, most, bounds, rule) {
            Ok(axis) => axis.labels.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" | "),
            Err(error) => error,
        }
    }

    #[test]
    fn labels_are_round_and_cover_the_data() {
        let none = Bounds::default();
        for (least, most, bounds, expected) in [
            (0.0, 100.0, none, "0 | 20 | 40 | 60 | 80 | 100"),
            (3.0, 97.0, none, "0 | 20 | 40 | 60 | 80 | 100"),
            (0.2, 0.9, none, "0.2 | 0.4 | 0.6 | 0.8 | 1.0"),
            (0.0, 4_800_000.0, none, "0 | 1 M | 2 M | 3 M | 4 M | 5 M"),
            (7.0, 7.0, none, "6.0 | 6.5 | 7.0 | 7.5 | 8.0"),
            (0.0, 0.0, none, "-1.0 | -0.5 | 0.0 | 0.5 | 1.0"),
            (-5.0, 5.0, none, "-6 | -4 | -2 | 0 | 2 | 4 | 6"),
            (0.0, 5.0, Bounds { most: Some(10.0), ..none }, "0 | 2 | 4 | 6 | 8 | 10"),
            (5.0, 9.0, Bounds { least: Some(0.0), ..none }, "0 | 2 | 4 | 6 | 8 | 10"),
            (0.0, 50.0, Bounds { limit: Some(20.0), ..none }, "0 | 5 | 10 | 15 | 20"),
            (0.0, 50.0, Bounds { step: Some(25.0), ..none }, "0 | 25 | 50"),
            (0.0, 50.0, Bounds { step: Some(1e-9), ..none }, "0 | 10 | 20 | 30 | 40 | 50"),
            (
                0.0,
                1.0,
                Bounds { least: Some(5.0), most: Some(5.0), ..none },
                "yMin is 5 and yMax 5; yMin must be below yMax",
            ),
        ] {
            assert_eq!(texts(least, most, bounds, &RULE), expected, "{least} to {most}, {bounds:?}");
        }
        let binary = Rule { units: Units::Binary, ..RULE };
        assert_eq!(texts(0.0, 4_000_000.0, none, &binary), "0 | 1 Mi | 2 Mi | 3 Mi | 4 Mi");
        let log = Rule { log_base: Some(10.0), ..RULE };
        assert_eq!(texts(3.0, 4000.0, none, &log), "1 | 10 | 100 | 1 k | 10 k");
        assert_eq!(texts(-3.0, -1.0, none, &log), "logBase was sent, and no value is above 0");
    }

    #[test]
    fn places_are_between_the_ends() {
        let axis = ValueAxis::new(0.0, 100.0, Bounds::default(), &RULE).unwrap();
        assert_eq!([0.0, 50.0, 100.0].map(|value| axis.place(value).unwrap()), [0.0, 0.5, 1.0]);
        let axis = ValueAxis::new(1.0, 100.0, Bounds::default(), &Rule { log_base: Some(10.0), ..RULE }).unwrap();
        assert_eq!((axis.place(10.0), axis.place(0.0)), (Some(0.5), None));
    }

    proptest! {
        #[test]
        fn any_data_has_an_axis(
            one in prop_oneof![any::<f64>(), -1e3..1e3_f64],
            other in prop_oneof![any::<f64>(), -1e3..1e3_f64],
            most in proptest::option::of(-1e6..1e6_f64),
            step in proptest::option::of(1e-9..1e9_f64),
            base in proptest::option::of(1.001..20.0_f64),
        ) {
            let rule = Rule { log_base: base, ..RULE };
            let bounds = Bounds { most, step, ..Bounds::default() };
            let Ok(axis) = ValueAxis::new(one.min(other), one.max(other), bounds, &rule) else { return Ok(()) };
            prop_assert!(axis.bottom < axis.top && axis.labels.len() <= 101, "{axis:?}");
            let place = axis.place(one);
            prop_assert!(place.is_none_or(f64::is_finite), "{place:?} {axis:?}");
        }
    }
}
