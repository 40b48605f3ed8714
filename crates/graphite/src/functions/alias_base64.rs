//! Alias, continued: carbonapi's names that hold what they mean in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{SERIES_LIST, each};
use crate::arguments::{Param, ParamType};
use crate::evaluate::{Call, Outcome};
use crate::registry::{Function, Group};

pub(crate) const FUNCTIONS: &[Function] = &[Function::new(
    "aliasByBase64",
    Group::Alias,
    "Series under their names read as base64, or with nodeNum, counted from 1, with that node of their paths read so. What \
     is no base64 of a text stays as it is.",
    &[SERIES_LIST, Param::optional("nodeNum", ParamType::Node)],
    alias_by_base64,
)];

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

fn alias_by_base64(call: &mut Call<'_>) -> Outcome {
    let number = call.arguments.integer(1);
    let place = match number {
        None => None,
        Some(number) => match usize::try_from(number).ok().and_then(|number| number.checked_sub(1)) {
            Some(place) => Some(place),
            None => return Err(call.unusable(format!("nodeNum counts from 1, got {number}"))),
        },
    };
    each(call, |one| {
        let Some(place) = place else {
            one.name = decoded(&one.name).unwrap_or_else(|| std::mem::take(&mut one.name));
            return;
        };
        let mut nodes: Vec<&str> = one.tags.get("name").map(|name| name.split('.').collect()).unwrap_or_default();
        let Some(node) = nodes.get_mut(place) else { return };
        if let Some(text) = decoded(node) {
            *node = &text;
            one.name = nodes.join(".");
        }
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{failure, minutes, run};

    #[test]
    fn names_are_read_as_base64() {
        let store = [
            minutes("bWV0cmljLm5hbWU=", &[1.0; 5]),
            minutes("metric.bmFtZQ==.count", &[1.0; 5]),
            minutes("plain.//8=", &[1.0; 5]),
        ];
        for (target, name) in [
            ("aliasByBase64(bWV*)", "metric.name"),
            ("aliasByBase64(metric.*.count)", "metric.bmFtZQ==.count"),
            ("aliasByBase64(metric.*.count,2)", "metric.name.count"),
            ("aliasByBase64(alias(metric.*.count,'x'),2)", "metric.name.count"),
            ("aliasByBase64(metric.*.count,3)", "metric.bmFtZQ==.count"),
            ("aliasByBase64(metric.*.count,9)", "metric.bmFtZQ==.count"),
            // Two bytes that are no text.
            ("aliasByBase64(plain.*,2)", "plain.//8="),
        ] {
            assert_eq!(run(target, &store)[0].name, name, "{target}");
        }
        assert_eq!(failure("aliasByBase64(plain.*,0)", &store), "aliasByBase64: nodeNum counts from 1, got 0");
    }
}
