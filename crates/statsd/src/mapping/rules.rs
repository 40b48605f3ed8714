//! The rules of a mapping file, and what they make of a metric.
//!
//! A metric's name is put to the globs first, and to the regular expressions, in the order of the file, when no glob matches.
//! This is asked once for each series, when it is first seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::RegexSet;
use statline_series::SeriesKey;

use super::config::{Action, MatchType, MetricType, ObserverType, Quantile, RawConfig, RawDefaults, RawMapping};
use super::error::MappingError;
use super::escape::escape_metric_name;
use super::glob::{Added, Globs};
use super::regex::GoRegex;
use super::registry::Refusal;
use super::template::Template;
use super::yaml::shown;

/// The most mappings with `match_type: regex`. Each may take a megabyte.
pub const MAX_REGEXES: usize = 1_000;
/// The most parts of a summary's window.
pub const MAX_AGE_BUCKETS: u32 = 60;

/// What prometheus' client takes for buckets when none are given.
const DEFAULT_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const DEFAULT_QUANTILES: [(f64, f64); 3] = [(0.5, 0.05), (0.9, 0.01), (0.99, 0.001)];
const DEFAULT_MAX_AGE: Duration = Duration::from_mins(10);
const DEFAULT_AGE_BUCKETS: u32 = 5;
const DEFAULT_BUF_CAP: u32 = 500;

/// How the observations of a metric are kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Observer {
    /// Quantiles over a sliding window.
    Summary(SummaryOptions),
    /// Counts below bounds.
    Histogram(HistogramOptions),
}

/// How a summary is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct SummaryOptions {
    /// The quantiles, ascending and without repeats.
    pub quantiles: Vec<Quantile>,
    /// How far back the quantiles look.
    pub max_age: Duration,
    /// Of how many parts the window is made; it slides by one part at a time.
    pub age_buckets: u32,
    /// Accepted as statsd_exporter accepts it, and not used: a sketch buffers nothing.
    pub buf_cap: u32,
}

/// How a histogram is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramOptions {
    /// The upper bounds, ascending, each included in its bucket. `+Inf` is not among them.
    pub buckets: Arc<[f64]>,
}

/// What a rule makes of a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum Mapping {
    /// No rule matches: the metric keeps its statsd name.
    Unmapped,
    /// A rule says to forget it.
    Dropped,
    /// A rule matches, and what it makes cannot be a series.
    Refused(Refusal),
    /// A rule matches.
    Mapped(Mapped),
}

/// A series that a rule made out of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped {
    pub(super) key: SeriesKey,
    /// How timers and histograms are kept.
    pub observer: Arc<Observer>,
    /// How long the series stays without samples; for ever when `None`.
    pub ttl: Option<Duration>,
    /// What values are multiplied by.
    pub scale: Option<f64>,
    /// The rule's help text.
    pub help: Option<Arc<str>>,
}

impl Mapped {
    /// The Prometheus name with the labels. Labels without a value are left out, which means the same.
    #[must_use]
    pub const fn key(&self) -> &SeriesKey {
        &self.key
    }
}

#[derive(Debug)]
struct Rule {
    name: Template,
    labels: Vec<(Box<str>, Template)>,
    metric: Option<MetricType>,
    action: Action,
    honor_labels: bool,
    observer: Arc<Observer>,
    ttl: Option<Duration>,
    scale: Option<f64>,
    help: Option<Arc<str>>,
}

/// The rule for a name, the name that it makes, not escaped yet, and its labels.
type Found<'r> = (&'r Rule, String, Vec<(&'r str, String)>);

/// The rules of one mapping file.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    globs: Globs,
    regexes: Vec<(usize, GoRegex)>,
    /// All expressions at once, so that those which do not match cost little. `None` when that needs too much memory.
    regex_set: Option<RegexSet>,
    notes: Vec<String>,
}

impl Rules {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// What is wrong with it, where, and what would be right.
    pub fn parse(file: &[u8]) -> Result<Self, MappingError> {
        let RawConfig { mut defaults, mappings, more_documents } = RawConfig::parse(file)?;
        let mut builder = Builder::default();
        if more_documents {
            builder.notes.push("only the first YAML document of the file is read".to_owned());
        }
        builder.take_legacy_defaults(&mut defaults);
        let mut globs = Globs::new(!defaults.glob_disable_ordering);
        let mut glob_patterns = Vec::new();
        let default_match_type = defaults.match_type.unwrap_or(MatchType::Glob);
        for (index, mapping) in mappings.iter().enumerate() {
            let numbered = |error: MappingError| error.in_mapping(index + 1);
            check_labels(mapping).map_err(numbered)?;
            check_name(mapping).map_err(numbered)?;
            let of_text: Box<dyn Fn(&str) -> Template> = match mapping.match_type.unwrap_or(default_match_type) {
                MatchType::Glob => {
                    check_glob(mapping).map_err(numbered)?;
                    let pattern = mapping.pattern.text.as_str();
                    builder.note_added(
                        index,
                        mapping.pattern.line,
                        globs.add(pattern, mapping.match_metric_type, index),
                    );
                    glob_patterns.push(pattern);
                    let captures = pattern.matches('*').count();
                    Box::new(move |text| Template::of_glob(text, captures))
                }
                MatchType::Regex => {
                    let regex = builder.compile(mapping).map_err(numbered)?;
                    let groups = regex.groups.clone();
                    builder.regexes.push((index, regex));
                    Box::new(move |text| Template::of_regex(text, &groups))
                }
            };
            let observer = builder.observer(mapping, &defaults).map_err(numbered)?;
            let ttl = if mapping.ttl.is_zero() { defaults.ttl } else { mapping.ttl };
            builder.rules.push(Rule {
                name: of_text(&mapping.name.text),
                labels: mapping
                    .labels
                    .iter()
                    .map(|(label, text)| (label.as_str().into(), of_text(&text.text)))
                    .collect(),
                metric: mapping.match_metric_type,
                action: mapping.action,
                honor_labels: mapping.honor_labels,
                observer,
                ttl: (!ttl.is_zero()).then_some(ttl),
                scale: mapping.scale,
                help: (!mapping.help.is_empty()).then(|| mapping.help.as_str().into()),
            });
        }
        globs.finish(&glob_patterns);
        let Builder { rules, regexes, notes } = builder;
        let regex_set = GoRegex::set(regexes.iter().map(|(_, regex)| regex));
        Ok(Self { rules, globs, regexes, regex_set, notes })
    }

    /// How many mappings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What is not wrong with the file, and still worth saying, a line each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What becomes of a metric with a statsd name and tags.
    pub fn map<'t, V: AsRef<str>>(
        &self,
        metric: MetricType,
        name: &str,
        tags: impl IntoIterator<Item = (&'t str, V)>,
    ) -> Mapping {
        let Some((rule, prometheus_name, own_labels)) = self.find(metric, name) else {
            return Mapping::Unmapped;
        };
        if rule.action == Action::Drop {
            return Mapping::Dropped;
        }
        if prometheus_name.is_empty() {
            return Mapping::Refused(Refusal::EmptyName);
        }
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        for (tag, value) in tags {
            labels.insert(escape_metric_name(tag).into_owned(), value.as_ref().to_owned());
        }
        for (label, value) in own_labels {
            if !(rule.honor_labels && labels.contains_key(label)) {
                labels.insert(label.to_owned(), value);
            }
        }
        match series_key(&prometheus_name, &labels) {
            Ok(key) => Mapping::Mapped(Mapped {
                key,
                observer: Arc::clone(&rule.observer),
                ttl: rule.ttl,
                scale: rule.scale,
                help: rule.help.clone(),
            }),
            Err(refusal) => Mapping::Refused(refusal),
        }
    }

    fn find(&self, metric: MetricType, name: &str) -> Option<Found<'_>> {
        if let Some((index, captures)) = self.globs.find(name, metric) {
            let reference = |index: usize| match index.checked_sub(1) {
                None => name,
                Some(capture) => captures.get(capture).copied().unwrap_or(""),
            };
            let rule = &self.rules[index];
            let labels = rule.labels.iter().map(|(label, value)| (&**label, value.fill(reference))).collect();
            return Some((rule, rule.name.fill(reference), labels));
        }
        let matching = self.regex_set.as_ref().map(|set| set.matches(name.as_bytes()));
        for (number, (index, regex)) in self.regexes.iter().enumerate() {
            let rule = &self.rules[*index];
            let is_other_type = rule.metric.is_some_and(|wanted| wanted != metric);
            if is_other_type || matching.as_ref().is_some_and(|matching| !matching.matched(number)) {
                continue;
            }
            let Some(captures) = regex.captures(name) else { continue };
            // A group lies between characters, as what it matched does.
            let reference = |index: usize| {
                captures.get(index).and_then(|group| std::str::from_utf8(group.as_bytes()).ok()).unwrap_or("")
            };
            let labels = rule.labels.iter().map(|(label, value)| (&**label, value.fill(reference))).collect();
            return Some((rule, rule.name.fill(reference), labels));
        }
        None
    }
}

fn series_key(name: &str, labels: &BTreeMap<String, String>) -> Result<SeriesKey, Refusal> {
    if let Some(reserved) = labels.keys().find(|label| label.starts_with("__")) {
        return Err(Refusal::ReservedLabel(reserved.clone()));
    }
    let mut tags: Vec<(&str, &str)> = labels
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(label, value)| (label.as_str(), value.as_str()))
        .collect();
    SeriesKey::from_parts(&escape_metric_name(name), &mut tags).map_err(|error| Refusal::Key(error.to_string()))
}

fn check_labels(mapping: &RawMapping) -> Result<(), MappingError> {
    for (label, text) in &mapping.labels {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_label =
            label.len() >= 2 && label.chars().all(is_word) && !label.starts_with(|c: char| c.is_ascii_digit());
        if !is_label {
            let wrong = format!(
                "{} is no label; a label is two or more of a-z, A-Z, 0-9 and _, the first no digit",
                shown(label)
            );
            return Err(MappingError::at(text.line, wrong));
        }
        if label.starts_with("__") {
            let wrong = format!("label {} begins with __, which Prometheus keeps for itself", shown(label));
            return Err(MappingError::at(text.line, wrong));
        }
    }
    Ok(())
}

fn check_name(mapping: &RawMapping) -> Result<(), MappingError> {
    let name = mapping.name.text.as_str();
    if name.is_empty() {
        return Err(MappingError::at(mapping.line, "name is missing; every mapping has one, also with action: drop"));
    }
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        rest = if c.is_ascii_alphabetic() || c == '_' || (c.is_ascii_digit() && rest.len() != name.len()) {
            &rest[1..]
        } else if let Some(after) = after_reference(rest) {
            after
        } else {
            let wrong = format!(
                "{} is no metric name; it is made of a-z, A-Z, 0-9, _ and references such as $1, and does not begin with a digit",
                shown(name)
            );
            return Err(MappingError::at(mapping.name.line, wrong));
        };
    }
    Ok(())
}

/// What follows `$1` or `${1}`. Either brace may be missing, as in statsd_exporter.
fn after_reference(text: &str) -> Option<&str> {
    let after = text.strip_prefix('$')?;
    let inside = after.strip_prefix('{').unwrap_or(after);
    let after = inside.trim_start_matches(|c: char| c.is_ascii_digit());
    (after.len() < inside.len()).then(|| after.strip_prefix('}').unwrap_or(after))
}

fn check_glob(mapping: &RawMapping) -> Result<(), MappingError> {
    let pattern = mapping.pattern.text.as_str();
    let is_part = |(index, part): (usize, &str)| {
        let is_tail = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let begins =
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || (index > 0 && c.is_ascii_digit()));
        part == "*" || (begins && part.chars().all(is_tail))
    };
    if pattern.split('.').enumerate().all(is_part) {
        return Ok(());
    }
    let wrong = if pattern.is_empty() {
        "match is missing; write parts with dots between them, such as bot.commands.*".to_owned()
    } else {
        format!(
            "{} is no glob; its parts between dots are * alone, or made of a-z, A-Z, 0-9, _ and - beginning with none of -, the first part with no digit; or set match_type: regex",
            shown(pattern)
        )
    };
    Err(MappingError::at(if pattern.is_empty() { mapping.line } else { mapping.pattern.line }, wrong))
}

#[derive(Default)]
struct Builder {
    rules: Vec<Rule>,
    regexes: Vec<(usize, GoRegex)>,
    notes: Vec<String>,
}

impl Builder {
    fn note_added(&mut self, index: usize, line: usize, added: Added) {
        let number = index + 1;
        match added {
            Added::Found => {}
            Added::Repeats => self.notes.push(format!(
                "line {line}, mapping {number}: an earlier mapping has the same match and is used instead; leave one out"
            )),
            Added::Hidden => self.notes.push(format!(
                "line {line}, mapping {number}: never found, since an earlier match begins with this one; put it before that"
            )),
        }
    }

    fn note_legacy(&mut self, used: &[(&'static str, usize)]) {
        for (key, line) in used {
            let instead = match *key {
                "timer_type" => "observer_type",
                "buckets" => "histogram_options: {buckets: …}",
                "quantiles" => "summary_options: {quantiles: …}",
                _ => "match_metric_type: observer",
            };
            self.notes.push(format!("line {line}: {key} is read no more by statsd_exporter 0.31; write {instead}"));
        }
    }

    fn take_legacy_defaults(&mut self, defaults: &mut RawDefaults) {
        self.note_legacy(&defaults.legacy.used);
        defaults.observer_type = defaults.observer_type.or(defaults.legacy.timer_type);
        if defaults.summary_options.quantiles.is_empty() && !defaults.legacy.quantiles.is_empty() {
            defaults.summary_options = super::config::RawSummary {
                quantiles: std::mem::take(&mut defaults.legacy.quantiles),
                ..Default::default()
            };
        }
        if defaults.histogram_options.buckets.is_empty() && !defaults.legacy.buckets.is_empty() {
            defaults.histogram_options.buckets = std::mem::take(&mut defaults.legacy.buckets);
        }
        if defaults.histogram_options.buckets.is_empty() {
            defaults.histogram_options.buckets = DEFAULT_BUCKETS.to_vec();
        }
        if defaults.summary_options.quantiles.is_empty() {
            let quantiles = DEFAULT_QUANTILES.iter().map(|&(quantile, error)| Quantile { quantile, error });
            defaults.summary_options.quantiles = quantiles.collect();
        }
        if let Some(line) = defaults.histogram_options.native_line {
            self.notes.push(format!("line {line}: native histograms are not made; the classic buckets are"));
        }
    }

    fn compile(&self, mapping: &RawMapping) -> Result<GoRegex, MappingError> {
        if self.regexes.len() >= MAX_REGEXES {
            let wrong = format!("more than {MAX_REGEXES} mappings have match_type: regex; use globs where they do");
            return Err(MappingError::at(mapping.line, wrong));
        }
        let pattern = mapping.pattern.text.as_str();
        GoRegex::new(pattern).map_err(|error| {
            MappingError::at(mapping.pattern.line, format!("{} is no regular expression: {error}", shown(pattern)))
        })
    }

    fn observer(&mut self, mapping: &RawMapping, defaults: &RawDefaults) -> Result<Arc<Observer>, MappingError> {
        let legacy = &mapping.legacy;
        self.note_legacy(&legacy.used);
        let (summary, histogram) = (mapping.summary_options.as_ref(), mapping.histogram_options.as_ref());
        if let Some(line) = histogram.and_then(|histogram| histogram.native_line) {
            self.notes.push(format!("line {line}: native histograms are not made; the classic buckets are"));
        }
        let wrong = |text: &str| Err(MappingError::at(mapping.line, text));
        if !legacy.quantiles.is_empty() && summary.is_some_and(|summary| !summary.quantiles.is_empty()) {
            return wrong("quantiles stand in the mapping and in summary_options; keep those in summary_options");
        }
        if !legacy.buckets.is_empty() && histogram.is_some_and(|histogram| !histogram.buckets.is_empty()) {
            return wrong("buckets stand in the mapping and in histogram_options; keep those in histogram_options");
        }
        let chosen = mapping.observer_type.or(legacy.timer_type).or(defaults.observer_type);
        let observer = if chosen == Some(ObserverType::Histogram) {
            if summary.is_some() {
                return wrong("summary_options do not go with observer_type histogram; leave one of them out");
            }
            let own = histogram.map(|histogram| histogram.buckets.as_slice()).filter(|buckets| !buckets.is_empty());
            let old = Some(legacy.buckets.as_slice()).filter(|buckets| !buckets.is_empty());
            let buckets = own.or(old).unwrap_or(&defaults.histogram_options.buckets);
            // The last bucket is always there, and is not one of the bounds.
            let bounds = buckets.strip_suffix(&[f64::INFINITY]).unwrap_or(buckets);
            Observer::Histogram(HistogramOptions { buckets: bounds.into() })
        } else {
            if chosen.is_some() && histogram.is_some() {
                return wrong("histogram_options do not go with observer_type summary; leave one of them out");
            }
            Observer::Summary(summary_options(mapping, defaults, chosen.is_some())?)
        };
        let same = self.rules.last().filter(|rule| *rule.observer == observer);
        Ok(same.map_or_else(|| Arc::new(observer), |rule| Arc::clone(&rule.observer)))
    }
}

/// A mapping's summary. Where nobody chose an observer type, a mapping with summary_options of its own takes none of the
/// defaults but their quantiles, as in statsd_exporter.
fn summary_options(
    mapping: &RawMapping,
    defaults: &RawDefaults,
    is_chosen: bool,
) -> Result<SummaryOptions, MappingError> {
    let (own, defaults) = (mapping.summary_options.clone(), &defaults.summary_options);
    let takes_defaults = is_chosen || own.is_none();
    let own = own.unwrap_or_default();
    let legacy = if is_chosen { mapping.legacy.quantiles.as_slice() } else { &[] };
    let lists = [own.quantiles.as_slice(), legacy, defaults.quantiles.as_slice()];
    let mut quantiles = lists.into_iter().find(|list| !list.is_empty()).unwrap_or_default().to_vec();
    quantiles.sort_by(|a, b| a.quantile.total_cmp(&b.quantile));
    // Of a quantile that is given twice, the last error counts in statsd_exporter; here errors count for nothing.
    quantiles.dedup_by(|a, b| a.quantile == b.quantile);
    let or_default = |own: u32, default: u32, last: u32| {
        [own, if takes_defaults { default } else { 0 }, last].into_iter().find(|value| *value != 0).unwrap_or(last)
    };
    let age_buckets = or_default(own.age_buckets, defaults.age_buckets, DEFAULT_AGE_BUCKETS);
    if age_buckets > MAX_AGE_BUCKETS {
        let wrong = format!("age_buckets is {age_buckets}; a window is made of at most {MAX_AGE_BUCKETS} parts");
        return Err(MappingError::at(mapping.line, wrong));
    }
    let ages = [own.max_age, if takes_defaults { defaults.max_age } else { Duration::ZERO }, DEFAULT_MAX_AGE];
    Ok(SummaryOptions {
        quantiles,
        max_age: ages.into_iter().find(|age| !age.is_zero()).unwrap_or(DEFAULT_MAX_AGE),
        age_buckets,
        buf_cap: or_default(own.buf_cap, defaults.buf_cap, DEFAULT_BUF_CAP),
    })
}
