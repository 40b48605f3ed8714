//! Which tiers a series has, and how its points become fewer.
//!
//! Carbon's `storage-schemas.conf` and `storage-aggregation.conf` are read as they are: sections in order, of which the
//! first whose `pattern` is found anywhere in a series' key says what holds for it.

use std::fmt;
use std::str::FromStr;

use regex::Regex;
use statline_series::{Consolidation, SeriesKey, Step};
use thiserror::Error;

/// The most tiers that a policy may have.
const MOST_TIERS: usize = 16;
/// The most different rules, so that a series' fits into its entry of the index.
const MOST_RULES: usize = 1 << 10;
/// The longest retention, in milliseconds: far more than any clock tells, and far from overflowing.
const LONGEST: i64 = 1000 * 365 * 86_400_000;

/// Why schemas or aggregations cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SchemaError {
    /// A retention is not one.
    #[error("a retention is written as step:length, such as 10s:6h or 60:1440, got {0:?}")]
    Retention(String),
    /// The tiers of a policy do not go together.
    #[error("in the retentions {retentions:?} {reason}")]
    Tiers {
        /// As they were written.
        retentions: String,
        /// What is wrong with them.
        reason: String,
    },
    /// A line of a file is wrong.
    #[error("line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// There are too many different rules.
    #[error("there are more than {MOST_RULES} different combinations of retentions and aggregations")]
    TooMany,
}

/// One resolution of stored data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tier {
    /// The spacing of its points.
    pub step: Step,
    /// To which age its points are kept, in milliseconds.
    pub retention: i64,
}

/// The tiers of a series, finest first: each step a multiple of the one before it, each retention longer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Policy(Vec<Tier>);

impl Policy {
    /// A policy of these tiers.
    ///
    /// # Errors
    /// When they are none or too many, or not in order, or a step is no multiple of the one before it.
    pub fn new(tiers: Vec<Tier>) -> Result<Self, SchemaError> {
        let policy = Self(tiers);
        let wrong = |reason: String| Err(SchemaError::Tiers { retentions: policy.to_string(), reason });
        if policy.0.is_empty() || policy.0.len() > MOST_TIERS {
            return wrong(format!("there are {} tiers; there may be 1 to {MOST_TIERS}", policy.0.len()));
        }
        for tier in &policy.0 {
            if tier.retention < tier.step.millis() || tier.retention > LONGEST {
                return wrong(format!("{} is not kept between one step and 1000 years", show(tier.step.millis())));
            }
        }
        for pair in policy.0.windows(2) {
            let [finer, coarser] = pair else { continue };
            if coarser.step <= finer.step || coarser.step.millis() % finer.step.millis() != 0 {
                let (coarser, finer) = (show(coarser.step.millis()), show(finer.step.millis()));
                return wrong(format!("the step {coarser} is no multiple of the one before it, {finer}"));
            }
            if coarser.retention <= finer.retention {
                return wrong(format!("{} is kept no longer than what is finer", show(coarser.step.millis())));
            }
        }
        Ok(policy)
    }

    /// The tiers, finest first.
    #[must_use]
    pub fn tiers(&self) -> &[Tier] {
        &self.0
    }

    /// The step of the finest tier.
    #[must_use]
    pub fn finest(&self) -> Step {
        self.0[0].step
    }

    /// The step of the coarsest tier.
    #[must_use]
    pub fn coarsest(&self) -> Step {
        self.0[self.0.len() - 1].step
    }

    /// To which age anything is kept, in milliseconds.
    #[must_use]
    pub fn retention(&self) -> i64 {
        self.0[self.0.len() - 1].retention
    }

    /// The step of points of an age in milliseconds; `None` when they are kept no longer.
    #[must_use]
    pub fn step_at(&self, age: i64) -> Option<Step> {
        self.0.iter().find(|tier| age <= tier.retention).map(|tier| tier.step)
    }
}

/// Retentions as carbon writes them: `step:length` each, separated by commas. A step is a number of seconds, or has a
/// unit; a length is a number of points, or a time with a unit. Units are `s`, `m`, `h`, `d`, `w` and `y`; `ms` as well.
impl FromStr for Policy {
    type Err = SchemaError;

    fn from_str(text: &str) -> Result<Self, SchemaError> {
        let mut tiers: Vec<Tier> = Vec::new();
        for part in text.split(',').map(str::trim) {
            let bad = || SchemaError::Retention(part.to_owned());
            let (step, length) = part.split_once(':').ok_or_else(bad)?;
            let (step, unit) = number_and_unit(step).ok_or_else(bad)?;
            let millis = step.checked_mul(unit.unwrap_or(1000)).filter(|millis| *millis <= LONGEST);
            let step = millis.and_then(Step::from_millis).ok_or_else(bad)?;
            let (length, unit) = number_and_unit(length).ok_or_else(bad)?;
            let retention = length.checked_mul(unit.unwrap_or(step.millis())).ok_or_else(bad)?;
            tiers.push(Tier { step, retention });
        }
        // Carbon sorts them too.
        tiers.sort_by_key(|tier| tier.step);
        Self::new(tiers)
    }
}

/// Whole milliseconds of the unit, if there is one.
fn number_and_unit(text: &str) -> Option<(i64, Option<i64>)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "" => None,
        "ms" => Some(1),
        unit if "seconds".starts_with(unit) => Some(1000),
        unit if "minutes".starts_with(unit) => Some(60_000),
        unit if "hours".starts_with(unit) => Some(3_600_000),
        unit if "days".starts_with(unit) => Some(86_400_000),
        unit if "weeks".starts_with(unit) => Some(7 * 86_400_000),
        unit if "years".starts_with(unit) => Some(365 * 86_400_000),
        _ => return None,
    };
    Some((number, unit))
}

/// In the largest unit that says it exactly.
fn show(millis: i64) -> String {
    let units = [(365 * 86_400_000, "y"), (86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let unit = units.into_iter().find(|(unit, _)| millis != 0 && millis % unit == 0);
    let (unit, name) = unit.unwrap_or((1, "ms"));
    format!("{}{name}", millis / unit)
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, tier) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{}:{}", show(tier.step.millis()), show(tier.retention))?;
        }
        Ok(())
    }
}

/// All that holds for a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its tiers.
    pub policy: Policy,
    /// How its points become fewer when a query does not say; `None` leaves it to its kind.
    pub method: Option<Consolidation>,
    /// Which part of the points of a bucket must be there for it to have a value, from 0 to 1. With 0 one is enough.
    pub x_files_factor: f64,
}

/// The number of a rule among those of [`Schemas`].
pub(crate) type RuleId = u16;

/// One section of `storage-schemas.conf`.
#[derive(Clone, Debug)]
struct Schema {
    pattern: Regex,
    policy: Policy,
}

/// One section of `storage-aggregation.conf`.
#[derive(Clone, Debug)]
struct Aggregation {
    pattern: Regex,
    method: Option<Consolidation>,
    x_files_factor: Option<f64>,
}

/// Which rule holds for which series.
#[derive(Clone, Debug)]
pub struct Schemas {
    schemas: Vec<Schema>,
    /// What holds for series that no schema matches.
    fallback: Policy,
    aggregations: Vec<Aggregation>,
    /// Each combination once. The last one of a schema or an aggregation stands for none.
    rules: Vec<Rule>,
    /// The number of the rule of schema × aggregation.
    table: Vec<RuleId>,
}

impl Default for Schemas {
    fn default() -> Self {
        let tier = |seconds: i64, hours: i64| Tier {
            step: Step::from_seconds(seconds).unwrap_or(Step::SECOND),
            retention: hours * 3_600_000,
        };
        Self::of(Policy(vec![tier(10, 6), tier(60, 6 * 24), tier(600, 5 * 365 * 24)]))
    }
}

impl Schemas {
    /// One policy for all series.
    #[must_use]
    pub fn of(fallback: Policy) -> Self {
        let rules = vec![Rule { policy: fallback.clone(), method: None, x_files_factor: 0.0 }];
        Self { schemas: Vec::new(), fallback, aggregations: Vec::new(), rules, table: vec![0] }
    }

    /// Schemas under which nothing is ever too old.
    pub(crate) fn without_end() -> Self {
        Self::of(Policy(vec![Tier { step: Step::SECOND, retention: LONGEST }]))
    }

    /// The policies of a `storage-schemas.conf`, and `fallback` for series that none of them matches.
    ///
    /// # Errors
    /// When the text is not such a file, with the line.
    pub fn with_schemas(mut self, text: &str) -> Result<Self, SchemaError> {
        for section in sections(text, &["pattern", "retentions", "priority"])? {
            let (line, retentions) = section.get("retentions").ok_or_else(|| section.lacks("retentions"))?;
            let policy = retentions
                .parse()
                .map_err(|error: SchemaError| SchemaError::Line { line, reason: error.to_string() })?;
            self.schemas.push(Schema { pattern: section.pattern()?, policy });
        }
        self.combine()
    }

    /// The methods of a `storage-aggregation.conf`.
    ///
    /// # Errors
    /// When the text is not such a file, with the line.
    pub fn with_aggregations(mut self, text: &str) -> Result<Self, SchemaError> {
        for section in sections(text, &["pattern", "xfilesfactor", "aggregationmethod"])? {
            let pattern = section.pattern()?;
            let x_files_factor = section.get("xfilesfactor").map(|(line, text)| {
                let factor = text.parse().ok().filter(|factor| (0.0..=1.0).contains(factor));
                factor.ok_or_else(|| SchemaError::Line {
                    line,
                    reason: format!("xFilesFactor is a number from 0 to 1, got {text:?}"),
                })
            });
            let method = section.get("aggregationmethod").map(|(line, text)| {
                let known = ["average", "avg_zero", "last", "max", "min", "sum"];
                let method = if text == "avg" { Ok(Consolidation::Average) } else { text.parse() };
                method.ok().filter(|method| known.contains(&method.as_str())).ok_or_else(|| SchemaError::Line {
                    line,
                    reason: format!("aggregationMethod is one of {}, got {text:?}", known.join(", ")),
                })
            });
            let (method, x_files_factor) = (method.transpose()?, x_files_factor.transpose()?);
            self.aggregations.push(Aggregation { pattern, method, x_files_factor });
        }
        self.combine()
    }

    fn combine(mut self) -> Result<Self, SchemaError> {
        self.rules.clear();
        self.table.clear();
        let policies = self.schemas.iter().map(|schema| &schema.policy).chain([&self.fallback]);
        for policy in policies {
            let aggregations = self.aggregations.iter().map(|of| (of.method, of.x_files_factor));
            for (method, x_files_factor) in aggregations.chain([(None, None)]) {
                let x_files_factor = x_files_factor.unwrap_or(0.0);
                let rule = Rule { policy: policy.clone(), method, x_files_factor };
                let known = self.rules.iter().position(|known| *known == rule);
                let id = known.unwrap_or_else(|| {
                    self.rules.push(rule);
                    self.rules.len() - 1
                });
                if id >= MOST_RULES {
                    return Err(SchemaError::TooMany);
                }
                self.table.push(id as RuleId);
            }
        }
        Ok(self)
    }

    /// What holds for series that no pattern matches.
    pub(crate) const fn fallback(&self) -> &Policy {
        &self.fallback
    }

    /// The rules there are.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// A number that changes when a series may have other tiers than before.
    pub(crate) fn fingerprint(&self) -> u32 {
        let mut text = self.fallback.to_string();
        for Schema { pattern, policy } in &self.schemas {
            text.push_str(&format!("\n{pattern}\n{policy}"));
        }
        // 0 stands for none.
        crc32fast::hash(text.as_bytes()).max(1)
    }

    pub(crate) fn rule(&self, id: RuleId) -> &Rule {
        // Every number that was given out is of a rule.
        &self.rules[usize::from(id)]
    }

    /// The rule of a series.
    pub(crate) fn rule_of(&self, key: &SeriesKey) -> RuleId {
        let key = key.as_str();
        let schema = self.schemas.iter().position(|schema| schema.pattern.is_match(key));
        let aggregation = self.aggregations.iter().position(|aggregation| aggregation.pattern.is_match(key));
        let schema = schema.unwrap_or(self.schemas.len());
        let aggregation = aggregation.unwrap_or(self.aggregations.len());
        self.table[schema * (self.aggregations.len() + 1) + aggregation]
    }

    /// The longest time that anything is kept, in milliseconds.
    #[must_use]
    pub fn longest_retention(&self) -> i64 {
        self.rules.iter().map(|rule| rule.policy.retention()).max().unwrap_or(0)
    }

    /// The shortest time that any series is kept, in milliseconds.
    #[must_use]
    pub fn shortest_retention(&self) -> i64 {
        self.rules.iter().map(|rule| rule.policy.retention()).min().unwrap_or(0)
    }

    /// The finest step of most series.
    pub(crate) fn usual_step(&self) -> Step {
        self.fallback.finest()
    }

    /// A step of which every finest step is a divisor, if it is no longer than `most`; else `most`.
    pub(crate) fn common_step(&self, most: Step) -> Step {
        let finest = self.rules.iter().map(|rule| rule.policy.finest().millis());
        let common = finest.fold(1_i64, |common, step| {
            let multiple = (common / gcd(common, step)).saturating_mul(step);
            multiple.min(most.millis())
        });
        Step::from_millis(common).unwrap_or(most)
    }
}

const fn gcd(mut left: i64, mut right: i64) -> i64 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

/// A section of a file as Python's `configparser` reads it.
struct Section<'a> {
    line: usize,
    name: &'a str,
    /// Keys in lower case, with where they stand.
    values: Vec<(String, usize, &'a str)>,
}

impl<'a> Section<'a> {
    fn get(&self, key: &str) -> Option<(usize, &'a str)> {
        self.values.iter().find(|(known, ..)| known == key).map(|(_, line, value)| (*line, *value))
    }

    fn lacks(&self, key: &str) -> SchemaError {
        SchemaError::Line { line: self.line, reason: format!("section [{}] has no {key}", self.name) }
    }

    fn pattern(&self) -> Result<Regex, SchemaError> {
        let (line, pattern) = self.get("pattern").ok_or_else(|| self.lacks("pattern"))?;
        Regex::new(pattern).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.trim().lines().last().unwrap_or_default().trim().to_owned();
            SchemaError::Line { line, reason: format!("the pattern {pattern:?} is no regular expression: {reason}") }
        })
    }
}

fn sections<'a>(text: &'a str, known: &[&str]) -> Result<Vec<Section<'a>>, SchemaError> {
    let mut sections: Vec<Section<'a>> = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        let wrong = |reason: String| SchemaError::Line { line, reason };
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = content.strip_prefix('[') {
            let name = name.strip_suffix(']').ok_or_else(|| wrong(format!("a section is [name], got {content:?}")))?;
            sections.push(Section { line, name, values: Vec::new() });
            continue;
        }
        let (key, value) =
            content.split_once(['=', ':']).ok_or_else(|| wrong(format!("expected key = value, got {content:?}")))?;
        let (key, value) = (key.trim().to_lowercase(), value.trim());
        if !known.contains(&key.as_str()) {
            return Err(wrong(format!("unknown key {key:?}; expected one of {}", known.join(", "))));
        }
        let section = sections.last_mut().ok_or_else(|| wrong("a [section] comes before its keys".to_owned()))?;
        if section.get(&key).is_some() {
            return Err(wrong(format!("{key} stands twice in section [{}]", section.name)));
        }
        section.values.push((key, line, value));
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        text.parse().unwrap()
    }

    #[test]
    fn retentions_are_read_as_carbon_reads_them() {
        for (text, expected) in [
            ("10s:6h,1m:6d,10m:5y", "10s:6h,1m:6d,10m:5y"),
            ("60:1440", "1m:1d"),
            ("1m:1440, 10:2160", "10s:6h,1m:1d"),
            ("15sec:7days, 1min:21d , 15minutes:5years", "15s:7d,1m:21d,15m:5y"),
            ("500ms:120", "500ms:1m"),
            ("1s:1w", "1s:7d"),
        ] {
            assert_eq!(policy(text).to_string(), expected, "{text}");
        }
        for (text, error) in [
            ("", "a retention is written as step:length, such as 10s:6h or 60:1440, got \"\""),
            ("10s", "a retention is written as step:length, such as 10s:6h or 60:1440, got \"10s\""),
            ("0s:1h", "a retention is written as step:length, such as 10s:6h or 60:1440, got \"0s:1h\""),
            ("10x:1h", "a retention is written as step:length, such as 10s:6h or 60:1440, got \"10x:1h\""),
            (
                "10s:99999999999999y",
                "a retention is written as step:length, such as 10s:6h or 60:1440, got \"10s:99999999999999y\"",
            ),
            (
                "10s:1h,25s:2h",
                "in the retentions \"10s:1h,25s:2h\" the step 25s is no multiple of the one before it, 10s",
            ),
            (
                "10s:1h,10s:2h",
                "in the retentions \"10s:1h,10s:2h\" the step 10s is no multiple of the one before it, 10s",
            ),
            ("10s:1h,1m:60", "in the retentions \"10s:1h,1m:1h\" 1m is kept no longer than what is finer"),
            ("1h:1m", "in the retentions \"1h:1m\" 1h is not kept between one step and 1000 years"),
        ] {
            assert_eq!(text.parse::<Policy>().unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn an_age_has_the_finest_step_that_is_kept_so_long() {
        let policy = policy("10s:6h,1m:6d");
        let hour = 3_600_000;
        let steps = [-5, 0, 6 * hour, 6 * hour + 1, 144 * hour, 144 * hour + 1];
        let steps = steps.map(|age| policy.step_at(age).map(Step::millis));
        assert_eq!(steps, [Some(10_000), Some(10_000), Some(10_000), Some(60_000), Some(60_000), None]);
    }

    #[test]
    fn the_default_is_that_of_the_docs() {
        assert_eq!(Schemas::default().rules()[0].policy, policy("10s:6h,1m:6d,10m:5y"));
    }

    #[test]
    fn the_first_section_that_matches_counts() {
        let schemas = Schemas::of(policy("1m:1d"))
            .with_schemas(
                "# carbon's own\n[carbon]\npattern = ^carbon\\.\nretentions = 60:90d\n\n[stats]\nPATTERN: ^stats.*\\.c[0-9]\nretentions: 10s:1d\n",
            )
            .unwrap()
            .with_aggregations(
                "[min]\npattern = \\.min$\nxFilesFactor = 0.1\naggregationMethod = min\n[all]\npattern = .*\nxFilesFactor = 0.5\n",
            )
            .unwrap();
        for (key, expected_policy, method, factor) in [
            ("carbon.x.min", "1m:90d", Some(Consolidation::Min), 0.1),
            ("stats.b.c1", "10s:1d", None, 0.5),
            ("xstats.b.c1", "1m:1d", None, 0.5),
            ("up;job=stats.c1.min", "1m:1d", Some(Consolidation::Min), 0.1),
        ] {
            let rule = schemas.rule(schemas.rule_of(&key.parse().unwrap()));
            assert_eq!(
                (rule.policy.clone(), rule.method, rule.x_files_factor),
                (policy(expected_policy), method, factor)
            );
        }
        assert_eq!(schemas.longest_retention(), 90 * 86_400_000);
    }

    #[test]
    fn a_wrong_file_says_where_and_why() {
        let schemas = |text: &str| Schemas::of(policy("1m:1d")).with_schemas(text).unwrap_err().to_string();
        for (text, error) in [
            ("pattern = x", "line 1: a [section] comes before its keys"),
            ("[a]\npattern = x", "line 1: section [a] has no retentions"),
            ("[a]\nretentions = 10s:1d", "line 1: section [a] has no pattern"),
            (
                "[a]\npattern = x\n\nretentions = 10s",
                "line 4: a retention is written as step:length, such as 10s:6h or 60:1440, got \"10s\"",
            ),
            (
                "[a]\nretention = 10s:1d",
                "line 2: unknown key \"retention\"; expected one of pattern, retentions, priority",
            ),
            ("[a\n", "line 1: a section is [name], got \"[a\""),
            ("[a]\nfoo", "line 2: expected key = value, got \"foo\""),
            ("[a]\npattern = a\npattern = b", "line 3: pattern stands twice in section [a]"),
        ] {
            assert_eq!(schemas(text), error);
        }
        assert!(
            schemas("[a]\npattern = (\nretentions = 10s:1d").starts_with("line 2: the pattern \"(\" is no regular")
        );
        let aggregations = |text: &str| Schemas::of(policy("1m:1d")).with_aggregations(text).unwrap_err().to_string();
        assert_eq!(
            aggregations("[a]\npattern = x\nxFilesFactor = 2"),
            "line 3: xFilesFactor is a number from 0 to 1, got \"2\""
        );
        assert_eq!(
            aggregations("[a]\npattern = x\naggregationMethod = median"),
            "line 3: aggregationMethod is one of average, avg_zero, last, max, min, sum, got \"median\""
        );
    }
}
