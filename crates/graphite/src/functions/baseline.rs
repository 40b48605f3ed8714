//! Calculate, continued: carbonapi's usual course of a series, made of its course at the same time of days before.

use std::borrow::Cow;
use std::collections::HashMap;

use statline_series::Kind;

use super::SERIES_LIST;
use super::shift::{self, STACK};
use crate::aggregate;
use crate::align::Grid;
use crate::arguments::{Param, ParamType};
use crate::evaluate::{Call, Outcome, Stop};
use crate::registry::{Function, Group};
use crate::series::Series;
use crate::time;

const PARAMS: &[Param] = &[
    SERIES_LIST,
    STACK[0],
    STACK[1],
    STACK[2],
    Param::optional("maxAbsentPercent", ParamType::Float),
    Param::optional("minAvg", ParamType::Float),
];

pub(crate) const FUNCTIONS: &[Function] = &[
    Function::new(
        "baseline",
        Group::Calculate,
        "The median at each moment of a series as it was several times ago; none when more than maxAbsentPercent of it is \
         missing or its mean is below minAvg.",
        PARAMS,
        |call| baseline(call, false),
    )
    .unevaluated(),
    Function::new(
        "baselineAberration",
        Group::Calculate,
        "Each value as a multiple of its baseline: 1.1 where it is over by 10 %.",
        PARAMS,
        |call| baseline(call, true),
    )
    .unevaluated(),
];

fn baseline(call: &mut Call<'_>, is_aberration: bool) -> Outcome {
    let unit = time::parse_interval(&shift::shift_text(&call.arguments));
    let unit = unit.map_err(|error| call.unusable(error.to_string()))?;
    let multiples = shift::multiples(call, 2)?.filter(|multiple| *multiple != 0);
    let shifts: Vec<i64> = multiples.map(|multiple| unit.saturating_mul(multiple)).collect();
    let now = is_aberration.then_some(0);
    let mut lists = shift::over_shifts(call, now.into_iter().chain(shifts.iter().copied()))?.into_iter();
    let current: Option<HashMap<String, Series>> =
        is_aberration.then(|| lists.next().into_iter().flatten().map(|one| (one.name.clone(), one)).collect());
    let mut courses = Vec::new();
    for (shift, list) in shifts.iter().zip(lists) {
        for mut one in list {
            if current.as_ref().is_none_or(|current| current.contains_key(&one.name)) {
                shift::draw_shifted(&mut one, *shift);
                courses.push(one);
            }
        }
    }
    let mut lines = Vec::new();
    for (name, group) in super::grouping::group_by(courses, |one| one.name.clone()) {
        let current = current.as_ref().and_then(|current| current.get(&name));
        if let Some(mut line) = usual_course(call, &group, current)? {
            line.rename(format!("{}({name})", call.function.name));
            line.kind = Kind::Untyped;
            lines.push(line);
        }
    }
    Ok(lines)
}

/// The median of courses, or a series by it; `None` where too little is known or it is too low.
fn usual_course(call: &Call<'_>, courses: &[Series], current: Option<&Series>) -> Result<Option<Series>, Stop> {
    let Some(grid) = Grid::of(courses.iter().chain(current), call.context)? else { return Ok(None) };
    let columns: Vec<Cow<'_, [f64]>> = courses.iter().map(|one| grid.column(one, call.context)).collect();
    let mut values = aggregate::rows(&columns, grid.len, |row| aggregate::percentile(row, 50.0, true));
    let (mut sum, mut present) = (0.0, 0_usize);
    for value in values.iter().filter(|value| !value.is_nan()) {
        sum += value;
        present += 1;
    }
    let absent_percent = 100.0 * (grid.len - present) as f64 / grid.len as f64;
    let is_known = call.arguments.number(4).is_none_or(|most| absent_percent <= most);
    let is_high = call.arguments.number(5).is_none_or(|least| present == 0 || sum / present as f64 >= least);
    if !(is_known && is_high) {
        return Ok(None);
    }
    if let Some(current) = current {
        for (usual, current) in values.iter_mut().zip(grid.column(current, call.context).iter()) {
            *usual = if *usual == 0.0 { f64::NAN } else { current / *usual };
        }
    }
    let Some(mut line) = courses.first().cloned() else { return Ok(None) };
    (line.start, line.step) = (grid.start, grid.step);
    line.set_values(values);
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, assert_values, at, column, context, failure, run_in};
    use crate::{Context, FetchedSeries};

    /// Five minutes at ten to an hour, of an hour and the three before it.
    fn store() -> Vec<FetchedSeries> {
        let mut values = vec![NO; 240];
        for (hour, course) in
            [[1.0, 1.0, 9.0, NO, 0.0], [3.0, 2.0, NO, NO, 0.0], [2.0, 6.0, 5.0, NO, 0.0], [4.0, 2.0, 7.0, 8.0, 5.0]]
                .into_iter()
                .enumerate()
        {
            values[hour * 60 + 50..hour * 60 + 55].copy_from_slice(&course);
        }
        vec![column("a", 0, 60, &values), column("b", 3 * 3600, 60, &[1.0; 60])]
    }

    #[test]
    fn a_baseline_is_the_median_of_the_past() {
        let start = 3 * 3600 + 50 * 60;
        let window = Context { from: at(start - 60), until: at(start + 240), ..context() };
        for (target, name, expected) in [
            ("baseline(a,'1h',1,4)", "baseline(a)", Some([2.0, 2.0, 7.0, NO, 0.0])),
            ("baseline(a,'1h',0,4)", "baseline(a)", Some([2.0, 2.0, 7.0, NO, 0.0])),
            ("baseline(scale(a,10),'-1h',1,2)", "baseline(scale(a,10))", Some([20.0, 60.0, 50.0, NO, 0.0])),
            ("baseline(a,'1h',1,4,20)", "baseline(a)", Some([2.0, 2.0, 7.0, NO, 0.0])),
            ("baseline(a,'1h',1,4,19)", "", None),
            ("baseline(a,'1h',1,4,minAvg=2.75)", "baseline(a)", Some([2.0, 2.0, 7.0, NO, 0.0])),
            ("baseline(a,'1h',1,4,None,2.76)", "", None),
            ("baselineAberration(a,'1h',1,4)", "baselineAberration(a)", Some([2.0, 1.0, 1.0, NO, NO])),
            ("baseline(x,'1h')", "", None),
            ("baselineAberration(x,'1h')", "", None),
        ] {
            let lines = run_in(&window, target, &store()).unwrap();
            assert_eq!(lines.len(), usize::from(expected.is_some()), "{target}");
            if let (Some(line), Some(expected)) = (lines.first(), expected) {
                assert_eq!((line.name.as_str(), line.start), (name, at(start)), "{target}");
                assert_values(line.values(), &expected, target);
            }
        }
        assert_eq!(failure("baseline(a,'1h',1,9999)", &[]), "baseline: at most 1000 shifts are allowed, got 9998");
    }
}
