//! Nodes of names: what `aliasByNode` and `groupByNode` see of a series.

use std::borrow::Cow;

use crate::arguments::Scalar;
use crate::expr::ExprKind;
use crate::parse::parse_name;
use crate::series::Series;

/// Nodes and tags of a series, joined by dots.
///
/// A name that looks like a call stands for the first path in it, however deep. A node counts from the end when negative;
/// one that is not there is looked for among the tags, and is empty when it is not there either.
pub(crate) fn key(series: &Series, nodes: &[Scalar]) -> String {
    let path = if series.name.ends_with(')') { first_path(&series.name) } else { Cow::Borrowed(series.name.as_str()) };
    let untagged = path.split(';').next().unwrap_or("");
    let parts: Vec<&str> = untagged.split('.').collect();
    let texts: Vec<Cow<'_, str>> = nodes.iter().map(|node| node_or_tag(series, &parts, node)).collect();
    texts.join(".")
}

fn node_or_tag<'s>(series: &'s Series, parts: &[&'s str], wanted: &Scalar) -> Cow<'s, str> {
    if let Scalar::Number(number) = wanted
        && let Some(part) = place(number.value(), parts.len()).and_then(|place| parts.get(place))
    {
        return Cow::Borrowed(part);
    }
    let tag = wanted.to_string();
    Cow::Borrowed(series.tags.get(&tag).map_or("", String::as_str))
}

/// An index that counts from the end when negative.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and what saturates is out of range")]
fn place(index: f64, len: usize) -> Option<usize> {
    let index = index as i64;
    if index >= 0 { usize::try_from(index).ok() } else { len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?) }
}

/// The first argument of the first argument, and so on, down to a path; the whole name when there is none.
fn first_path(name: &str) -> Cow<'_, str> {
    let Ok(mut expr) = parse_name(name) else { return Cow::Borrowed(name) };
    loop {
        match expr.kind {
            ExprKind::Path(path) => return Cow::Owned(path),
            ExprKind::Call(call) => match call.arguments.into_iter().next() {
                Some(first) => expr = first,
                None => return Cow::Borrowed(name),
            },
            _ => return Cow::Borrowed(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::Number;
    use crate::testing::series;

    #[test]
    fn nodes_are_those_of_the_first_path() {
        for (name, node, expected) in [
            ("a.b.c", 1, "b"),
            ("a.b.c", -1, "c"),
            ("a.b.c", 3, ""),
            ("a.b.c", -4, ""),
            ("a.b.c;host=x.y", -1, "c"),
            ("scale(a.b.c,10)", 2, "c"),
            ("sumSeries(scale(a.{b,d}.c,10),x.y)", 1, "{b,d}"),
            ("movingAverage( a.b.c ,\"5min\")", 2, "c"),
            ("sumSeries(seriesByTag('a.b=c'))", 0, "sumSeries(seriesByTag('a"),
            ("how (very) odd)", 0, "very"),
            (")", 0, ")"),
            ("movingAverage(scale(,0.01),\"1min\")", 1, ""),
            ("sumSeries(constantLine(7.5))", -1, "5))"),
            ("scale(7,10)", 0, "scale(7,10)"),
            ("scale(7.x,10)", 1, "x"),
            ("plain words", 0, "plain words"),
        ] {
            let one = series(name, 0, 60, &[]);
            assert_eq!(key(&one, &[Scalar::Number(Number::Int(node))]), expected, "{node} of {name}");
        }
    }

    #[test]
    fn tags_stand_in_for_nodes() {
        let mut one = series("a.b", 0, 60, &[]);
        one.note("host", "web1");
        let nodes =
            [Scalar::Text("host".to_owned()), Scalar::Number(Number::Int(0)), Scalar::Text("absent".to_owned())];
        assert_eq!(key(&one, &nodes), "web1.a.");
    }
}
