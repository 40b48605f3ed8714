//! `rewrite-rules.conf`: `regex = replacement`, under `[pre]` for names as they come and under `[post]` for those of points
//! that have passed aggregation.

use std::borrow::Cow;

use regex::Regex;
use statline_series::key::MAX_KEY_BYTES;

use super::regex::{Replacement, compile};
use super::{RuleError, check_count, lines};
use crate::carbon::refusal::Refusal;

/// The rules of both sections, in their order.
#[derive(Clone, Debug, Default)]
pub struct RewriteRules {
    pre: Vec<RewriteRule>,
    post: Vec<RewriteRule>,
}

#[derive(Clone, Debug)]
struct RewriteRule {
    regex: Regex,
    replacement: Replacement,
}

impl RewriteRules {
    /// Reads a file's text. A section that is opened again starts anew, as carbon has it.
    ///
    /// # Errors
    /// The first line that is no section and no rule.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let mut rules = Self::default();
        let mut section: Option<&mut Vec<RewriteRule>> = None;
        for (line, content) in lines(text).filter(|(_, content)| !content.starts_with('#')) {
            let wrong = |reason: String| RuleError::at(line, reason);
            if let Some(name) = content.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                let opened = match name.to_lowercase().as_str() {
                    "pre" => &mut rules.pre,
                    "post" => &mut rules.post,
                    _ => return Err(wrong(format!("a section is [pre] or [post], got {content:?}"))),
                };
                opened.clear();
                section = Some(opened);
                continue;
            }
            let Some((pattern, replacement)) = content.split_once('=') else {
                return Err(wrong(format!("a rule is written regex = replacement, got {content:?}")));
            };
            let Some(rules) = &mut section else {
                return Err(wrong("a rule stands under [pre] or [post], this one under neither".to_owned()));
            };
            check_count(rules.len(), line)?;
            let regex = compile(pattern.trim()).map_err(wrong)?;
            let replacement = Replacement::parse(replacement.trim(), &regex).map_err(wrong)?;
            rules.push(RewriteRule { regex, replacement });
        }
        Ok(rules)
    }

    /// What a name becomes when it comes in.
    ///
    /// # Errors
    /// When it becomes too long.
    pub fn pre<'a>(&self, name: &'a str) -> Result<Cow<'a, str>, Refusal> {
        apply(&self.pre, name)
    }

    /// What a name becomes after aggregation.
    ///
    /// # Errors
    /// When it becomes too long.
    pub fn post<'a>(&self, name: &'a str) -> Result<Cow<'a, str>, Refusal> {
        apply(&self.post, name)
    }
}

fn apply<'a>(rules: &[RewriteRule], name: &'a str) -> Result<Cow<'a, str>, Refusal> {
    let mut name = Cow::Borrowed(name);
    for rule in rules {
        if rule.regex.is_match(&name) {
            let replaced = rule.replacement.apply(&rule.regex, &name, MAX_KEY_BYTES);
            name = Cow::Owned(replaced.ok_or(Refusal::NameTooLong(MAX_KEY_BYTES + 1))?);
        }
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_apply_one_after_the_other_in_their_sections() {
        let text = "# comment\n[PRE]\n^old\\.(\\w+) = new.\\1\n  # indented\n^new\\. = newest.\n\n[post]\n_sum$ =\n";
        let rules = RewriteRules::parse(text).unwrap();
        for (name, pre, post) in [("old.a_sum", "newest.a_sum", "old.a"), ("x", "x", "x")] {
            assert_eq!((rules.pre(name).unwrap(), rules.post(name).unwrap()), (pre.into(), post.into()), "{name}");
        }
        let again = RewriteRules::parse("[pre]\na = b\n[post]\n[pre]\nc = d\n").unwrap();
        assert_eq!(again.pre("ac").unwrap(), "ad");
        let doubling = RewriteRules::parse("[pre]\n(.*x) = \\1\\1\n").unwrap();
        assert_eq!(doubling.pre(&"x".repeat(4000)), Err(Refusal::NameTooLong(MAX_KEY_BYTES + 1)));
    }

    #[test]
    fn what_is_no_rule_is_told() {
        for (text, line, reason) in [
            ("a = b", 1, "a rule stands under [pre] or [post], this one under neither"),
            ("[pre]\n\n[x]", 3, "a section is [pre] or [post], got \"[x]\""),
            ("[pre]\nnothing", 2, "a rule is written regex = replacement, got \"nothing\""),
            ("[pre]\na( = b", 2, "the regex \"a(\" is not valid: unclosed group"),
            ("[pre]\na = \\1", 2, "there is no group \"1\" for the replacement"),
        ] {
            assert_eq!(RewriteRules::parse(text).unwrap_err(), RuleError::at(line, reason), "{text}");
        }
    }
}
