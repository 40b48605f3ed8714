//! A mapping file as it was written: its keys with their values, before they are made into rules.
//!
//! Values are put in place in the order of the file, as go-yaml does it, so that a merge key (`<<`) means what it means to
//! statsd_exporter. A key that nobody knows is an error that names the nearest known one.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use super::error::MappingError;
use super::yaml::{self, Node, Value, shown};

/// The most mappings of a file.
pub const MAX_MAPPINGS: usize = 10_000;
/// The most labels of one mapping.
pub const MAX_LABELS: usize = 64;
/// The most buckets of a histogram, and the most quantiles of a summary.
pub const MAX_BUCKETS: usize = 256;

/// A text and the line that it stands on.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    pub text: String,
    pub line: usize,
}

/// One of the words that statsd_exporter knows for a key.
trait Word: Sized {
    const KEY: &'static str;
    const WORDS: &'static str;
    fn of(text: &str) -> Option<Self>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObserverType {
    Summary,
    Histogram,
}

impl Word for ObserverType {
    const KEY: &'static str = "observer_type";
    const WORDS: &'static str = "summary or histogram";

    fn of(text: &str) -> Option<Self> {
        match text {
            "histogram" => Some(Self::Histogram),
            "summary" | "" => Some(Self::Summary),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MatchType {
    Glob,
    Regex,
}

impl Word for MatchType {
    const KEY: &'static str = "match_type";
    const WORDS: &'static str = "glob or regex";

    fn of(text: &str) -> Option<Self> {
        match text {
            "regex" => Some(Self::Regex),
            "glob" | "" => Some(Self::Glob),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Action {
    #[default]
    Map,
    Drop,
}

impl Word for Action {
    const KEY: &'static str = "action";
    const WORDS: &'static str = "map or drop";

    fn of(text: &str) -> Option<Self> {
        match text {
            "map" | "" => Some(Self::Map),
            "drop" => Some(Self::Drop),
            _ => None,
        }
    }
}

/// What kind of sample a metric is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricType {
    /// `c` and `m`.
    Counter,
    /// `g`.
    Gauge,
    /// `ms`, `h` and `d`.
    Observer,
}

impl MetricType {
    /// All three, each at the place of its number.
    pub const ALL: [Self; 3] = [Self::Counter, Self::Gauge, Self::Observer];
}

impl Word for MetricType {
    const KEY: &'static str = "match_metric_type";
    const WORDS: &'static str = "counter, gauge or observer";

    fn of(text: &str) -> Option<Self> {
        match text {
            "counter" => Some(Self::Counter),
            "gauge" => Some(Self::Gauge),
            // `timer` is what releases before 0.31 called it.
            "observer" | "timer" => Some(Self::Observer),
            _ => None,
        }
    }
}

/// A quantile of a summary, and the error that statsd_exporter would allow itself for it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantile {
    /// From 0 to 1.
    pub quantile: f64,
    /// Accepted as statsd_exporter accepts it, and not used: a sketch has one relative error for all quantiles.
    pub error: f64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct RawSummary {
    pub quantiles: Vec<Quantile>,
    pub max_age: Duration,
    pub age_buckets: u32,
    pub buf_cap: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct RawHistogram {
    pub buckets: Vec<f64>,
    /// The line of the last key about native histograms.
    pub native_line: Option<usize>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct RawDefaults {
    pub observer_type: Option<ObserverType>,
    pub match_type: Option<MatchType>,
    pub glob_disable_ordering: bool,
    pub ttl: Duration,
    pub summary_options: RawSummary,
    pub histogram_options: RawHistogram,
    pub legacy: Legacy,
}

/// Keys that statsd_exporter read until its release 0.30.
#[derive(Clone, Debug, Default)]
pub(super) struct Legacy {
    pub timer_type: Option<ObserverType>,
    pub buckets: Vec<f64>,
    pub quantiles: Vec<Quantile>,
    /// Which of them were used, and where.
    pub used: Vec<(&'static str, usize)>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct RawMapping {
    pub line: usize,
    pub pattern: Text,
    pub name: Text,
    pub labels: BTreeMap<String, Text>,
    pub honor_labels: bool,
    pub observer_type: Option<ObserverType>,
    pub match_type: Option<MatchType>,
    pub help: String,
    pub action: Action,
    pub match_metric_type: Option<MetricType>,
    pub ttl: Duration,
    pub summary_options: Option<RawSummary>,
    pub histogram_options: Option<RawHistogram>,
    pub scale: Option<f64>,
    pub legacy: Legacy,
}

#[derive(Debug, Default)]
pub(super) struct RawConfig {
    pub defaults: RawDefaults,
    pub mappings: Vec<RawMapping>,
    /// Whether more documents follow the one that was read.
    pub more_documents: bool,
}

impl RawConfig {
    pub fn parse(bytes: &[u8]) -> Result<Self, MappingError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            MappingError::at(line, "a byte that is no UTF-8; save the file as UTF-8")
        })?;
        let (root, more_documents) = yaml::parse(text)?;
        let mut config = Self { more_documents, ..Self::default() };
        if let Some(root) = root {
            fill(&mut config, &root)?;
        }
        Ok(config)
    }
}

/// A set of keys, which are put in place one by one.
trait Keys: Default {
    /// What the keys belong to.
    const OF: &'static str;
    const KNOWN: &'static [&'static str];
    /// `key` is one of [`Self::KNOWN`].
    fn put(&mut self, key: &'static str, value: &Node) -> Result<(), MappingError>;
}

fn fill<K: Keys>(keys: &mut K, node: &Node) -> Result<(), MappingError> {
    if node.is_null() {
        *keys = K::default();
        return Ok(());
    }
    let mut seen: Vec<&str> = Vec::new();
    for (key, value) in node.pairs()? {
        if key.is_merge() {
            merged(value, |source| fill(keys, source))?;
            continue;
        }
        let name = key.text()?;
        let Some(known) = K::KNOWN.iter().find(|known| **known == name) else {
            return Err(MappingError::at(key.line, unknown::<K>(name)));
        };
        if seen.contains(known) {
            return Err(MappingError::at(key.line, format!("{known} is given twice in {}; give it once", K::OF)));
        }
        seen.push(known);
        keys.put(known, value)?;
    }
    Ok(())
}

fn unknown<K: Keys>(name: &str) -> String {
    let distance = |known: &&&str| strsim::damerau_levenshtein(name, known);
    // A key of a hostile length is near to nothing, and the distance would take long.
    let nearest = if name.len() <= 64 { K::KNOWN.iter().min_by_key(distance) } else { None };
    match nearest.filter(|known| distance(known) <= 4) {
        Some(known) => format!("unknown key {} in {}; did you mean {known}?", shown(name), K::OF),
        None => format!("unknown key {} in {}; there are {}", shown(name), K::OF, K::KNOWN.join(", ")),
    }
}

/// What a merge key refers to: one set of keys, or a list of them of which the first counts most.
fn merged(node: &Node, mut put: impl FnMut(&Node) -> Result<(), MappingError>) -> Result<(), MappingError> {
    const WANTED: &str = "<< takes an alias to a set of keys, or a list of such aliases";
    match &node.value {
        Value::Mapping(_) => put(node),
        Value::Sequence(sources) => sources.iter().rev().try_for_each(|source| match source.value {
            Value::Mapping(_) => put(source),
            _ => Err(MappingError::at(source.line, WANTED)),
        }),
        Value::Scalar { .. } => Err(MappingError::at(node.line, WANTED)),
    }
}

fn word<W: Word>(node: &Node) -> Result<Option<W>, MappingError> {
    if node.is_null() {
        return Ok(None);
    }
    let text = node.text()?;
    W::of(text)
        .map(Some)
        .ok_or_else(|| MappingError::at(node.line, format!("{} is {}, got {}", W::KEY, W::WORDS, shown(text))))
}

fn list<T>(
    node: &Node,
    what: &str,
    item: impl Fn(&Rc<Node>) -> Result<T, MappingError>,
) -> Result<Vec<T>, MappingError> {
    let items = node.list()?;
    if items.len() > MAX_BUCKETS {
        return Err(MappingError::at(node.line, format!("{} {what}; there may be {MAX_BUCKETS}", items.len())));
    }
    items.iter().map(item).collect()
}

fn buckets(node: &Node) -> Result<Vec<f64>, MappingError> {
    let buckets = list(node, "buckets", |item| item.number())?;
    if buckets.iter().any(|bound| bound.is_nan()) || !buckets.is_sorted_by(|a, b| a < b) {
        return Err(MappingError::at(node.line, "buckets are numbers, each greater than the one before"));
    }
    Ok(buckets)
}

fn quantiles(node: &Node) -> Result<Vec<Quantile>, MappingError> {
    list(node, "quantiles", |item| {
        let mut quantile = Quantile::default();
        fill(&mut quantile, item)?;
        if !(0.0..=1.0).contains(&quantile.quantile) {
            let wrong = format!("a quantile is from 0 to 1, such as 0.99, got {}", quantile.quantile);
            return Err(MappingError::at(item.line, wrong));
        }
        Ok(quantile)
    })
}

impl Keys for RawConfig {
    const OF: &'static str = "a mapping file";
    const KNOWN: &'static [&'static str] = &["defaults", "mappings"];

    fn put(&mut self, key: &'static str, value: &Node) -> Result<(), MappingError> {
        if key == "defaults" {
            return fill(&mut self.defaults, value);
        }
        let items = value.list()?;
        if items.len() > MAX_MAPPINGS {
            let wrong = format!("{} mappings; a file has at most {MAX_MAPPINGS}", items.len());
            return Err(MappingError::at(value.line, wrong));
        }
        self.mappings.clear();
        for (index, item) in items.iter().enumerate() {
            let mut mapping = RawMapping::default();
            fill(&mut mapping, item).map_err(|error| error.in_mapping(index + 1))?;
            mapping.line = item.line;
            self.mappings.push(mapping);
        }
        Ok(())
    }
}

impl Keys for RawDefaults {
    const OF: &'static str = "defaults";
    const KNOWN: &'static [&'static str] = &[
        "observer_type",
        "match_type",
        "glob_disable_ordering",
        "ttl",
        "summary_options",
        "histogram_options",
        "timer_type",
        "buckets",
        "quantiles",
    ];

    fn put(&mut self, key: &'static str, value: &Node) -> Result<(), MappingError> {
        match key {
            "observer_type" => self.observer_type = word(value)?,
            "match_type" => self.match_type = word(value)?,
            "glob_disable_ordering" => self.glob_disable_ordering = value.boolean()?,
            "ttl" => self.ttl = value.duration()?,
            "summary_options" => fill(&mut self.summary_options, value)?,
            "histogram_options" => fill(&mut self.histogram_options, value)?,
            _ => self.legacy.put(key, value)?,
        }
        Ok(())
    }
}

impl Keys for RawMapping {
    const OF: &'static str = "a mapping";
    const KNOWN: &'static [&'static str] = &[
        "match",
        "name",
        "labels",
        "honor_labels",
        "observer_type",
        "match_type",
        "help",
        "action",
        "match_metric_type",
        "ttl",
        "summary_options",
        "histogram_options",
        "scale",
        "timer_type",
        "buckets",
        "quantiles",
    ];

    fn put(&mut self, key: &'static str, value: &Node) -> Result<(), MappingError> {
        match key {
            "match" => self.pattern = Text { text: value.text()?.to_owned(), line: value.line },
            "name" => self.name = Text { text: value.text()?.to_owned(), line: value.line },
            "labels" => put_labels(&mut self.labels, value)?,
            "honor_labels" => self.honor_labels = value.boolean()?,
            "observer_type" => self.observer_type = word(value)?,
            "match_type" => self.match_type = word(value)?,
            "help" => value.text()?.clone_into(&mut self.help),
            "action" => self.action = word(value)?.unwrap_or_default(),
            "match_metric_type" => {
                self.match_metric_type = word(value)?;
                if value.text()? == "timer" {
                    self.legacy.used.push(("match_metric_type: timer", value.line));
                }
            }
            "ttl" => self.ttl = value.duration()?,
            "summary_options" => fill_optional(&mut self.summary_options, value)?,
            "histogram_options" => fill_optional(&mut self.histogram_options, value)?,
            "scale" => self.scale = scale(value)?,
            _ => self.legacy.put(key, value)?,
        }
        Ok(())
    }
}

fn fill_optional<K: Keys>(keys: &mut Option<K>, value: &Node) -> Result<(), MappingError> {
    if value.is_null() {
        *keys = None;
        return Ok(());
    }
    fill(keys.get_or_insert_default(), value)
}

fn scale(value: &Node) -> Result<Option<f64>, MappingError> {
    if value.is_null() {
        return Ok(None);
    }
    let scale = value.number()?;
    if !scale.is_finite() {
        return Err(MappingError::at(value.line, "scale is a finite number, such as 0.001"));
    }
    Ok(Some(scale))
}

fn put_labels(labels: &mut BTreeMap<String, Text>, node: &Node) -> Result<(), MappingError> {
    if node.is_null() {
        labels.clear();
        return Ok(());
    }
    for (key, value) in node.pairs()? {
        if key.is_merge() {
            merged(value, |source| put_labels(labels, source))?;
            continue;
        }
        let name = key.text()?;
        let text = Text { text: value.text()?.to_owned(), line: key.line };
        if labels.insert(name.to_owned(), text).is_some() {
            return Err(MappingError::at(key.line, format!("label {} is given twice; give it once", shown(name))));
        }
        if labels.len() > MAX_LABELS {
            return Err(MappingError::at(key.line, format!("more than {MAX_LABELS} labels; give fewer")));
        }
    }
    Ok(())
}

impl Keys for RawSummary {
    const OF: &'static str = "summary_options";
    const KNOWN: &'static [&'static str] = &["quantiles", "max_age", "age_buckets", "buf_cap"];

    fn put(&mut self, key: &'static str, value: &Node) -> Result<(), MappingError> {
        match key {
            "quantiles" => self.quantiles = quantiles(value)?,
            "max_age" => self.max_age = value.duration()?,
            "age_buckets" => self.age_buckets = value.natural()?,
            _ => self.buf_cap = value.natural()?,
        }
        Ok(())
    }
}

impl Keys for RawHistogram {
    const OF: &'static str = "histogram_options";
    const KNOWN: &'static [&'static str] =
        &["buckets", "native_histogram_bucket_factor", "native_histogram_max_buckets"];

    fn put(&mut self, key: &'static str, value: &Node) -> Result<(), MappingError> {
        match key {
            "buckets" => self.buckets = buckets(value)?,
            "native_histogram_bucket_factor" => {
                value.number()?;
                self.native_line = Some(value.line);
            }
            _ => {
                value.natural()?;
                self.native_line = Some(value.line);
            }
        }
        Ok(())
    }
}

impl Keys for Quantile {
    const OF: &'static str = "a quantile";
    const KNOWN: &'static [&'static str] = &["quantile", "error"];

    fn put(&mut self, key: &'static str, value: &Node) -> Result<(), MappingError> {
        *(if key == "quantile" { &mut self.quantile } else { &mut self.error }) = value.number()?;
        Ok(())
    }
}

impl Legacy {
    fn put(&mut self, key: &'static str, value: &Node) -> Result<(), MappingError> {
        self.used.push((key, value.line));
        match key {
            "timer_type" => self.timer_type = word(value)?,
            "buckets" => self.buckets = buckets(value)?,
            _ => self.quantiles = quantiles(value)?,
        }
        Ok(())
    }
}
