//! Sorting: the order in which series are drawn and listed.

use statline_series::Consolidation;

use super::SERIES_LIST;
use crate::arguments::{Literal, Param, ParamType};
use crate::evaluate::{Call, Outcome};
use crate::registry::{Function, Group};
use crate::sorted;

const REVERSE: Param = Param::optional("reverse", ParamType::Boolean).or(Literal::Bool(false));

pub(crate) const FUNCTIONS: &[Function] = &[
    sorting(
        "sortBy",
        "Series in the order of what func makes of each, the lowest first.",
        &[SERIES_LIST, Param::optional("func", ParamType::AggFunc).or(Literal::Text("average")), REVERSE],
        sort_by,
    ),
    sorting("sortByMaxima", "Series in the order of their peaks, the highest first.", &[SERIES_LIST], |call| {
        Ok(sorted::by_value(call.series(0), |one| one.summary(Consolidation::Max), true))
    }),
    sorting(
        "sortByMinima",
        "Series that are above zero at some time, in the order of their lowest values, the lowest first.",
        &[SERIES_LIST],
        sort_by_minima,
    ),
    sorting(
        "sortByName",
        "Series in the order of their names; with natural, numbers in them by their size.",
        &[SERIES_LIST, Param::optional("natural", ParamType::Boolean).or(Literal::Bool(false)), REVERSE],
        sort_by_name,
    ),
    sorting("sortByTotal", "Series in the order of their sums, the highest first.", &[SERIES_LIST], |call| {
        Ok(sorted::by_value(call.series(0), |one| one.summary(Consolidation::Sum), true))
    }),
];

const fn sorting(
    name: &'static str,
    description: &'static str,
    params: &'static [Param],
    run: fn(&mut Call<'_>) -> Outcome,
) -> Function {
    Function::new(name, Group::Sorting, description, params, run)
}

fn sort_by(call: &mut Call<'_>) -> Outcome {
    let (how, reverse) = (call.arguments.aggregation(1), call.arguments.flag(2));
    Ok(sorted::by_value(call.series(0), |one| one.summary(how), reverse))
}

fn sort_by_minima(call: &mut Call<'_>) -> Outcome {
    let mut series = call.series(0);
    series.retain(|one| one.summary(Consolidation::Max) > 0.0);
    Ok(sorted::by_value(series, |one| one.summary(Consolidation::Min), false))
}

fn sort_by_name(call: &mut Call<'_>) -> Outcome {
    let (natural, reverse) = (call.arguments.flag(1), call.arguments.flag(2));
    let text = |name: &str| if natural { padded(name) } else { name.to_owned() };
    Ok(sorted::by_text(call.series(0), |one| text(&one.name), reverse))
}

/// A name with its numbers filled up with zeros to ten digits.
fn padded(name: &str) -> String {
    let mut result = String::with_capacity(name.len() + 10);
    let mut rest = name;
    while let Some(start) = rest.find(|character: char| character.is_ascii_digit()) {
        let digits = rest[start..].bytes().take_while(u8::is_ascii_digit).count();
        let number = rest[start..start + digits].trim_start_matches('0');
        result.push_str(&rest[..start]);
        result.push_str(&format!("{number:0>10}"));
        rest = &rest[start + digits..];
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use crate::testing::{NO, minutes, run};

    #[test]
    fn series_are_put_in_order() {
        let store = [
            minutes("s.a10", &[1.0, 1.0, 1.0, 1.0, 1.0]),
            minutes("s.a2", &[9.0, NO, -9.0, NO, 3.0]),
            minutes("s.b", &[NO; 5]),
            minutes("s.c", &[-1.0; 5]),
        ];
        for (target, names) in [
            ("sortByName(s.*)", "s.a10 s.a2 s.b s.c"),
            ("sortByName(s.*,true)", "s.a2 s.a10 s.b s.c"),
            ("sortByName(s.*,natural=true,reverse=true)", "s.c s.b s.a10 s.a2"),
            ("sortByMaxima(s.*)", "s.a2 s.a10 s.c s.b"),
            ("sortByMinima(s.*)", "s.a2 s.a10"),
            ("sortByTotal(s.*)", "s.a10 s.a2 s.c s.b"),
            ("sortBy(s.*)", "s.b s.c s.a10 s.a2"),
            ("sortBy(s.*,'count',true)", "s.a10 s.c s.a2 s.b"),
        ] {
            let yielded: Vec<String> = run(target, &store).into_iter().map(|one| one.name).collect();
            assert_eq!(yielded.join(" "), names, "{target}");
        }
    }
}
