//! Nodes of names: what `aliasByNode` and `groupByNode` see of a series.

use std::borrow::Cow;

use crate::arguments::Scalar;
use crate::context::Compat;
use crate::expr::ExprKind;
use crate::grammar;
use crate::series::Series;

/// Nodes and tags of a series, joined by dots.
///
/// A name that looks like a call stands for the first path in it, however deep. A node counts from the end when negative;
/// one that is not there is looked for among the tags, and is empty when it is not there either.
pub(crate) fn key(series: &Series, nodes: &[Scalar], compat: Compat) -> String {
    let path = match compat {
        _ if !series.name.ends_with(')') => Cow::Borrowed(series.name.as_str()),
        Compat::Statline => first_path(&series.name),
        Compat::GraphiteWeb => first_path_read(&series.name),
    };
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
    let mut rest = name.trim_start();
    while let Some(inner) = call_argument(rest) {
        rest = inner.trim_start();
    }
    let path = &rest[..path_length(rest)];
    if path.is_empty() || is_literal(path) { Cow::Borrowed(name) } else { Cow::Borrowed(path) }
}

/// The same as graphite-web reads it: a call that it cannot read is a path.
fn first_path_read(name: &str) -> Cow<'_, str> {
    let Ok(mut expr) = grammar::read(name) else { return Cow::Borrowed(name) };
    loop {
        let inner = match expr.kind {
            ExprKind::Path(path) => return Cow::Owned(path),
            ExprKind::Call(call) => call.arguments.into_iter().next(),
            _ => None,
        };
        match inner {
            Some(inner) => expr = inner,
            None => return Cow::Borrowed(name),
        }
    }
}

/// Whether a word is a number or a keyword, and so no path.
fn is_literal(word: &str) -> bool {
    let is_number =
        word.starts_with(|first: char| first == '-' || first.is_ascii_digit()) && word.parse::<f64>().is_ok();
    is_number || ["true", "false", "none", "inf"].iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}

/// What follows `name(`, if the text begins so.
fn call_argument(text: &str) -> Option<&str> {
    let end = text.find(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))?;
    if end == 0 { None } else { text[end..].trim_start().strip_prefix('(') }
}

/// How far a path goes: to a comma outside braces, a bracket, a pipe, a quote or a space.
fn path_length(text: &str) -> usize {
    let mut braces = 0_usize;
    for (index, character) in text.char_indices() {
        match character {
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            ',' if braces == 0 => return index,
            '(' | ')' | '|' | '"' | '\'' => return index,
            _ if character.is_whitespace() => return index,
            _ => {}
        }
    }
    text.len()
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
            ("sumSeries(constantLine(7.5))", -1, "5))"),
            ("scale(7,10)", 0, "scale(7,10)"),
            ("scale(7.x,10)", 1, "x"),
            ("plain words", 0, "plain words"),
        ] {
            let one = series(name, 0, 60, &[]);
            assert_eq!(key(&one, &[Scalar::Number(Number::Int(node))], Compat::Statline), expected, "{node} of {name}");
        }
    }

    #[test]
    fn graphite_web_reads_a_name_as_it_reads_a_target() {
        for (name, node, expected) in [
            ("scale(a.b.c,10)", 2, "c"),
            ("sum(scale(a.{b,d}.c,10),x.y)", 1, "{b,d}"),
            ("movingAverage(,\"5min\")", 0, "movingAverage"),
            ("scale(a.b some,1)", 0, "scale"),
            ("scale(7,10)", 0, "scale(7,10)"),
        ] {
            let one = series(name, 0, 60, &[]);
            let nodes = [Scalar::Number(Number::Int(node))];
            assert_eq!(key(&one, &nodes, Compat::GraphiteWeb), expected, "{node} of {name}");
        }
    }

    #[test]
    fn tags_stand_in_for_nodes() {
        let mut one = series("a.b", 0, 60, &[]);
        one.note("host", "web1");
        let nodes =
            [Scalar::Text("host".to_owned()), Scalar::Number(Number::Int(0)), Scalar::Text("absent".to_owned())];
        assert_eq!(key(&one, &nodes, Compat::Statline), "web1.a.");
    }
}
