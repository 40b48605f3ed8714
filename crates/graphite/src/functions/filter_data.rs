//! Filter data: which values of a series are believed.

use super::{SERIES_LIST, each};
use crate::aggregate;
use crate::arguments::{Param, ParamType};
use crate::evaluate::{Call, Outcome};
use crate::numbers::{general, repr};
use crate::registry::{Function, Group};

const WITH_NUMBER: &[Param] = &[SERIES_LIST, Param::required("n", ParamType::Float)];

pub(crate) const FUNCTIONS: &[Function] = &[
    filter("removeAbovePercentile", "Values without those above the series' n-th percentile.", |call| {
        remove_beyond_percentile(call, "removeAbovePercentile", |value, bound| value > bound)
    }),
    filter("removeAboveValue", "Values without those above n.", |call| {
        remove(call, "removeAboveValue", |value, bound| value > bound)
    }),
    filter("removeBelowPercentile", "Values without those below the series' n-th percentile.", |call| {
        remove_beyond_percentile(call, "removeBelowPercentile", |value, bound| value < bound)
    }),
    filter("removeBelowValue", "Values without those below n.", |call| {
        remove(call, "removeBelowValue", |value, bound| value < bound)
    }),
];

const fn filter(name: &'static str, description: &'static str, run: fn(&mut Call<'_>) -> Outcome) -> Function {
    Function::new(name, Group::FilterData, description, WITH_NUMBER, run)
}

fn remove(call: &mut Call<'_>, name: &str, beyond: impl Fn(f64, f64) -> bool + Sync) -> Outcome {
    let bound = call.arguments.number(1).unwrap_or(f64::NAN);
    each(call, |one| {
        one.rename(format!("{name}({}, {})", one.name, general(bound)));
        one.map(|value| if beyond(value, bound) { f64::NAN } else { value });
    })
}

fn remove_beyond_percentile(call: &mut Call<'_>, name: &str, beyond: impl Fn(f64, f64) -> bool + Sync) -> Outcome {
    let percent = call.arguments.number(1).unwrap_or(0.0);
    if percent <= 0.0 {
        return Err(call.unusable(format!("n is a percent above 0, got {}", general(percent))));
    }
    each(call, |one| {
        let bound = aggregate::percentile(&mut one.values().to_vec(), percent, false);
        one.rename(format!("{name}({}, {})", one.name, general(percent)));
        if !bound.is_nan() {
            one.note("nPercentile", repr(percent));
        }
        one.map(|value| if beyond(value, bound) { f64::NAN } else { value });
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, check, minutes};

    #[test]
    fn values_beyond_a_bound_are_missing() {
        let store = [minutes("a", &[1.0, NO, 3.0, 4.0, 5.0])];
        for (target, name, values) in [
            ("removeAboveValue(a,3.5)", "removeAboveValue(a, 3.5)", [1.0, NO, 3.0, NO, NO]),
            ("removeBelowValue(a,3)", "removeBelowValue(a, 3)", [NO, NO, 3.0, 4.0, 5.0]),
            ("removeAbovePercentile(a,50)", "removeAbovePercentile(a, 50)", [1.0, NO, 3.0, 4.0, NO]),
            ("removeBelowPercentile(a,50)", "removeBelowPercentile(a, 50)", [NO, NO, NO, 4.0, 5.0]),
        ] {
            check(target, &store, &[(name, &values)]);
        }
    }
}
