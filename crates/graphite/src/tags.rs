//! The expressions of `seriesByTag`: `tag=value`, `tag!=value`, `tag=~regex`, `tag!=~regex`.

use statline_series::{Anchor, MatchOp, Matcher};

use crate::error::EvalError;

/// Reads tag expressions. At least one has to refuse series without its tag, or every series there is would be meant.
pub(crate) fn matchers(expressions: &[&str]) -> Result<Vec<Matcher>, EvalError> {
    let matchers = expressions.iter().map(|expression| matcher(expression)).collect::<Result<Vec<_>, _>>()?;
    if matchers.iter().all(Matcher::matches_absent) {
        return Err(EvalError::Unusable {
            function: "seriesByTag",
            reason: "at least one tag expression has to ask for something, such as tag=value".to_owned(),
        });
    }
    Ok(matchers)
}

fn matcher(expression: &str) -> Result<Matcher, EvalError> {
    let unusable = || EvalError::Unusable {
        function: "seriesByTag",
        reason: format!("a tag expression is tag=value, tag!=value, tag=~regex or tag!=~regex, got {expression:?}"),
    };
    let end = expression.find(['=', '!']).ok_or_else(unusable)?;
    let (tag, rest) = expression.split_at(end);
    let operators =
        [("!=~", MatchOp::NotRegex), ("=~", MatchOp::Regex), ("!=", MatchOp::NotEqual), ("=", MatchOp::Equal)];
    let (op, value) = operators
        .into_iter()
        .find_map(|(operator, op)| rest.strip_prefix(operator).map(|value| (op, value)))
        .ok_or_else(unusable)?;
    if tag.is_empty() || tag.contains([';', '^']) {
        return Err(unusable());
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
            assert!(matchers(&expressions).is_err(), "{expressions:?}");
        }
        assert!(matchers(&["host=", "name=x"]).is_ok());
        assert_eq!(
            matchers(&["host=~("]).unwrap_err().to_string(),
            "seriesByTag: the regex \"(\" for tag \"host\" is not valid: unclosed group"
        );
    }
}
