//! `aggregation-rules.conf`: `output (seconds) = method input`.
//!
//! An input is a dotted pattern: `*` is any one part, `<field>` what one part has at that place, `<<field>>` what several have,
//! and everything else is a regex. The output names the fields again.

use std::time::Duration;

use regex::Regex;
use statline_series::Step;

use super::regex::compile;
use super::{RuleError, check_count, lines};

/// The longest that an interval may be.
const MAX_FREQUENCY: Duration = Duration::from_hours(24 * 366);

/// How the values of an interval become one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Their sum.
    Sum,
    /// Their mean.
    Average,
    /// The smallest.
    Minimum,
    /// The largest.
    Maximum,
    /// How many they are.
    Count,
    /// The value at this fraction of the way from the smallest to the largest, between two in proportion.
    Percentile(f64),
}

impl Method {
    const ALL: [(&'static str, Self); 12] = [
        ("sum", Self::Sum),
        ("avg", Self::Average),
        ("min", Self::Minimum),
        ("max", Self::Maximum),
        ("p50", Self::Percentile(0.5)),
        ("p75", Self::Percentile(0.75)),
        ("p80", Self::Percentile(0.8)),
        ("p90", Self::Percentile(0.9)),
        ("p95", Self::Percentile(0.95)),
        ("p99", Self::Percentile(0.99)),
        ("p999", Self::Percentile(0.999)),
        ("count", Self::Count),
    ];

    fn of(name: &str) -> Result<Self, String> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, method)| *method).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|(known, _)| *known).collect();
            format!("there is no method {name:?}; there are {}", known.join(", "))
        })
    }
}

/// One rule.
#[derive(Clone, Debug)]
pub struct AggregationRule {
    input: Regex,
    output: Vec<Piece>,
    /// How values become one.
    pub method: Method,
    /// How long an interval is.
    pub frequency: Step,
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Group(usize),
}

impl AggregationRule {
    /// The name of the aggregate that a series goes into; `None` when the rule is not for it.
    pub fn output_of(&self, name: &str) -> Option<String> {
        let captures = self.input.captures(name)?;
        let mut output = String::new();
        for piece in &self.output {
            output.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Group(group) => captures.get(*group).map_or("", |matched| matched.as_str()),
            });
        }
        Some(output)
    }

    fn parse(content: &str) -> Result<Self, String> {
        let written = || format!("a rule is written output (seconds) = method input, got {content:?}");
        let (left, right) = content.split_once('=').ok_or_else(written)?;
        let [output, frequency] = two(left).ok_or_else(written)?;
        let [method, input] = two(right).ok_or_else(written)?;
        let seconds = frequency.trim_start_matches('(').trim_end_matches(')');
        let frequency = seconds.parse().ok().and_then(Step::from_seconds);
        let frequency = frequency.filter(|step| Duration::from_millis(step.millis().unsigned_abs()) <= MAX_FREQUENCY);
        let frequency = frequency.ok_or_else(|| {
            format!("the frequency {seconds:?} is not a number of seconds from 1 to {}", MAX_FREQUENCY.as_secs())
        })?;
        let method = Method::of(method)?;
        let input = compile(&regex_of(input))?;
        let output = output_of(output, &input)?;
        Ok(Self { input, output, method, frequency })
    }
}

/// Reads a file's text.
///
/// # Errors
/// The first line that is no rule.
pub fn parse(text: &str) -> Result<Vec<AggregationRule>, RuleError> {
    let mut rules = Vec::new();
    for (line, content) in lines(text).filter(|(_, content)| !content.starts_with('#')) {
        check_count(rules.len(), line)?;
        rules.push(AggregationRule::parse(content).map_err(|reason| RuleError::at(line, reason))?);
    }
    Ok(rules)
}

fn two(text: &str) -> Option<[&str; 2]> {
    let mut words = text.split_whitespace();
    let both = [words.next()?, words.next()?];
    words.next().is_none().then_some(both)
}

/// The regex of an input pattern. Of several fields in one part, only the first is one.
fn regex_of(input: &str) -> String {
    let parts: Vec<String> = input.split('.').map(regex_of_part).collect();
    // As carbon has it: an alternative that is not in parentheses is held to the beginning or to the end alone.
    format!("^(?:{}$)", parts.join("\\."))
}

fn regex_of_part(part: &str) -> String {
    let field = |open: &str, close: &str, any: &str| {
        let (from, to) = (part.find(open)?, part.find(close)?);
        let name = part.get(from + open.len()..to)?;
        Some(format!("{}(?P<{name}>{any}){}", &part[..from], &part[to + close.len()..]))
    };
    if part.contains("<<") && part.contains(">>") {
        return field("<<", ">>", ".+?").unwrap_or_else(|| part.to_owned());
    }
    if let Some(regex) = field("<", ">", "[^.]+?") {
        return regex;
    }
    if part == "*" { "[^.]+".to_owned() } else { part.replace('*', "[^.]*") }
}

/// The pieces of an output, in which a percent sign is written twice, since carbon's is a template of Python's.
fn output_of(output: &str, input: &Regex) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let text = |text: &str| {
        if text.contains('>') || text.replace("%%", "").contains('%') {
            return Err(format!("the output {output:?} has a > without a <, or a lone %"));
        }
        Ok(Piece::Text(text.replace("%%", "%")))
    };
    let mut rest = output;
    while let Some((before, field)) = rest.split_once('<') {
        pieces.push(text(before)?);
        let (name, after) =
            field.split_once('>').ok_or_else(|| format!("the output {output:?} has a < without a >"))?;
        let group = input.capture_names().position(|known| known == Some(name));
        pieces.push(Piece::Group(
            group.ok_or_else(|| format!("the output uses the field <{name}>, which the input does not have"))?,
        ));
        rest = after;
    }
    pieces.push(text(rest)?);
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_says_which_aggregate_a_name_goes_into() {
        for (rule, name, expected) in [
            (
                "<env>.applications.<app>.all.requests (60) = sum <env>.applications.<app>.*.requests",
                "prod.applications.apache.www01.requests",
                Some("prod.applications.apache.all.requests"),
            ),
            ("<env>.all.<m> (60) = avg <env>.*.<<m>>", "prod.www01.a.b.c", Some("prod.all.a.b.c")),
            ("<d>.all (60) = sum a.<d>\\d{2}.r", "a.www01.r", Some("www.all")),
            ("x.all (60) = sum a.*.r", "a.b.c.r", None),
            ("x.all (60) = sum a.b*.r", "a.bcd.r", Some("x.all")),
            ("x.all (60) = sum a.b*.r", "a.b.r", Some("x.all")),
            ("x.all (60) = sum a.*.r", "xa.b.r", None),
            ("x.all (60) = sum a.*.r", "a.b.rx", None),
            ("x.50%% 60 = p50 a", "a", Some("x.50%")),
            ("x (60) = sum a|b", "ax", Some("x")),
            ("x (60) = sum a.(b|c)", "a.cx", None),
        ] {
            let rules = parse(rule).unwrap();
            assert_eq!(rules[0].output_of(name).as_deref(), expected, "{rule}: {name}");
            assert_eq!(rules[0].frequency, Step::from_seconds(60).unwrap());
        }
        let rules = parse("# c\n\na (10) = p999 b\nc (10) = count d").unwrap();
        assert_eq!((rules[0].method, rules[1].method), (Method::Percentile(0.999), Method::Count));
    }

    #[test]
    fn what_is_no_rule_is_told() {
        for (text, line, reason) in [
            ("a (60) sum b", 1, "a rule is written output (seconds) = method input, got \"a (60) sum b\""),
            ("\na = sum b", 2, "a rule is written output (seconds) = method input, got \"a = sum b\""),
            ("a (0) = sum b", 1, "the frequency \"0\" is not a number of seconds from 1 to 31622400"),
            ("a (x) = sum b", 1, "the frequency \"x\" is not a number of seconds from 1 to 31622400"),
            (
                "a (60) = last b",
                1,
                "there is no method \"last\"; there are sum, avg, min, max, p50, p75, p80, p90, p95, p99, p999, count",
            ),
            ("a.<y> (60) = sum b.<x>", 1, "the output uses the field <y>, which the input does not have"),
            ("a.<<x>> (60) = sum b.<<x>>", 1, "the output uses the field <<x>, which the input does not have"),
            ("a.% (60) = sum b", 1, "the output \"a.%\" has a > without a <, or a lone %"),
            ("a.<x (60) = sum b.<x>", 1, "the output \"a.<x\" has a < without a >"),
        ] {
            assert_eq!(parse(text).unwrap_err(), RuleError::at(line, reason), "{text}");
        }
        assert!(parse("a (60) = sum b.<x>.<x>").unwrap_err().reason.contains("duplicate"));
    }
}
