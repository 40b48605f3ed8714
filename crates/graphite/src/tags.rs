//! Tag expressions, of `seriesByTag` and of questions about tags: `tag=value`, `tag!=value`, `tag=~regex`, `tag!=~regex`.

use statline_series::{Anchor, MatchOp, Matcher, MatcherError};
use thiserror::Error;

/// Why texts are not tag expressions.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TagExpressionError {
    /// One of them has another form.
    #[error("a tag expression is tag=value, tag!=value, tag=~regex or tag!=~regex, got {0:?}")]
    Malformed(String),
    /// The regex of one of them.
    #[error("{0}")]
    Matcher(#[from] MatcherError),
    /// Every series there is would be meant.
    #[error("at least one tag expression has to ask for something, such as tag=value")]
    AsksForNothing,
}

/// Reads tag expressions. At least one has to refuse series without its tag, or every series there is would be meant.
///
/// # Errors
/// See [`TagExpressionError`].
pub fn tag_matchers(expressions: &[&str]) -> Result<Vec<Matcher>, TagExpressionError> {
    let matchers = expressions.iter().map(|expression| matcher(expression)).collect::<Result<Vec<_>, _>>()?;
    if matchers.iter().all(Matcher::matches_absent) {
        return Err(TagExpressionError::AsksForNothing);
    }
    Ok(matchers)
}

fn matcher(expression: &str) -> Result<Matcher, TagExpressionError> {
    let malformed = || TagExpressionError::Malformed(expression.to_owned());
    let end = expression.find(['=', '!']).ok_or_else(malformed)?;
    let (tag, rest) = expression.split_at(end);
    let operators =
        [("!=~", MatchOp::NotRegex), ("=~", MatchOp::Regex), ("!=", MatchOp::NotEqual), ("=", MatchOp::Equal)];
    let (op, value) = operators
        .into_iter()
        .find_map(|(operator, op)| rest.strip_prefix(operator).map(|value| (op, value)))
        .ok_or_else(malformed)?;
    if tag.is_empty() || tag.contains([';', '^']) {
        return Err(malformed());
    }
    Ok(Matcher::new(tag, op, value, Anchor::Start)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_told_apart() {
        for (expression, tag, op, value) in [
            ("name=a.b", "name", MatchOp::Equal, "a.b"),
            ("host!=x", "host", MatchOp::NotEqual, "x"),
            ("host=~web.*", "host", MatchOp::Regex, "web.*"),
            ("host!=~web|db", "host", MatchOp::NotRegex, "web|db"),
            ("host=a=b", "host", MatchOp::Equal, "a=b"),
            ("host=", "host", MatchOp::Equal, ""),
        ] {
            let matcher = matcher(expression).unwrap();
            assert_eq!((matcher.tag(), matcher.op(), matcher.value()), (tag, op, value), "{expression}");
        }
    }

    #[test]
    fn an_expression_that_asks_for_nothing_is_refused() {
        for expressions in [vec!["host="], vec!["host=~.*"], vec!["host!=x", "dc=~"], vec!["host"], vec!["=x"], vec![]]
        {
            assert!(tag_matchers(&expressions).is_err(), "{expressions:?}");
        }
        assert!(tag_matchers(&["host=", "name=x"]).is_ok());
        assert_eq!(
            tag_matchers(&["host=~("]).unwrap_err().to_string(),
            "the regex \"(\" for tag \"host\" is not valid: unclosed group"
        );
    }
}
