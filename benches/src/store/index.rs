//! The index of a million series: what it takes in memory, how long a store takes to open with it, and how soon it answers.
//!
//! All of it through the store's own door. What selecting alone costs shows in a fetch that is refused for its number of
//! series: it has found them and made no key. The rest of a select is the making of its answer.

use std::path::Path;
use std::time::{Duration, Instant};

use statline_series::point::Row;
use statline_series::{Anchor, Batch, Kind, MatchOp, Matcher, PathPattern, Point, SeriesKey, TimeRange, Timestamp};
use statline_store::{EmbeddedConfig, EmbeddedStore, Fetch, Limits, Resolution, Selection, Store, StoreError};

use crate::report::{Bar, Table, median, progress};
use crate::store::names::Shape;
use crate::{Error, Measured, allocator};

/// How much is measured.
#[derive(clap::Args, Clone, Debug)]
pub struct IndexArgs {
    /// Series
    #[arg(long, default_value_t = 1_000_000)]
    series: usize,
    /// How often each question is asked
    #[arg(long, default_value_t = 9)]
    rounds: usize,
}

impl Default for IndexArgs {
    fn default() -> Self {
        Self { series: 1_000_000, rounds: 9 }
    }
}

/// What the numbers are.
pub const ABOUT: &str = "\
### Index of series

An embedded store with one point a series, born in no order. *bytes a series* is all that a store has in memory after it was
opened, its points being in blocks: the index, and a little for the store itself. *ids ms* is a fetch that is refused for its
number of series, *answer ms* a select with all keys.";

const ROWS_OF_A_BATCH: usize = 100_000;

struct Question {
    text: &'static str,
    selection: Selection,
    /// The bar of the time to find, and its goal in milliseconds.
    bar: Option<(&'static str, f64)>,
}

/// Measures; the table and the bars.
///
/// # Errors
/// When the store fails.
pub fn run(args: &IndexArgs) -> Measured {
    let mut sizes = Table::new(&["names", "bytes a series", "open s", "birth µs", "append again µs"]);
    let mut times = Table::new(&["names", "question", "found", "ids ms", "answer ms"]);
    let mut bars = Vec::new();
    for shape in Shape::ALL {
        bars.extend(measure(shape, args, &mut sizes, &mut times)?);
    }
    for bar in &mut bars {
        // Stated for a million; a smaller run is a trial.
        if args.series != 1_000_000 {
            bar.name.push_str("_trial");
        }
    }
    Ok((format!("{ABOUT}\n\n{}\n{}\n", sizes.markdown(), times.markdown()), bars))
}

fn measure(shape: Shape, args: &IndexArgs, sizes: &mut Table, times: &mut Table) -> Result<Vec<Bar>, Error> {
    progress(&format!("index: {} series, {}", args.series, shape.as_str()));
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (birth, again) = fill(directory.path(), &shape.keys(args.series)?, &runtime)?;

    let before = allocator::live();
    let clock = Instant::now();
    let store = open(directory.path())?;
    let opened = clock.elapsed();
    let bytes = allocator::live().saturating_sub(before) as f64 / args.series as f64;
    if store.stats().series as usize != args.series {
        return Err(format!("{} series were stored and {} found", args.series, store.stats().series).into());
    }
    let micros = |took: Duration| format!("{:.2}", took.as_secs_f64() * 1e6 / args.series as f64);
    sizes.row([
        shape.as_str().to_owned(),
        format!("{bytes:.0}"),
        format!("{:.2}", opened.as_secs_f64()),
        micros(birth),
        micros(again),
    ]);
    let name = |what: &str| format!("store.index_{}_{what}", shape.as_str());
    let mut bars =
        vec![Bar::at_most(name("bytes"), bytes, 300.0), Bar::at_most(name("open_s"), opened.as_secs_f64(), 2.0)];

    for Question { text, selection, bar } in questions(shape)? {
        let (mut ids, mut answers, mut found) = (Vec::new(), Vec::new(), 0);
        for _ in 0..args.rounds.max(1) {
            ids.push(millis(|| runtime.block_on(refused(&store, &selection)))?);
            answers.push(millis(|| {
                found = runtime.block_on(store.select(&selection, TimeRange::ALL))?.len();
                Ok(())
            })?);
        }
        let ids = median(&ids);
        times.row([
            shape.as_str().to_owned(),
            text.to_owned(),
            found.to_string(),
            format!("{ids:.2}"),
            format!("{:.2}", median(&answers)),
        ]);
        bars.extend(bar.map(|(what, goal)| Bar::at_most(name(what), ids, goal)));
    }
    for text in patterns_to_find(shape) {
        let pattern = PathPattern::parse(text)?;
        let (mut took, mut found) = (Vec::new(), 0);
        for _ in 0..args.rounds.max(1) {
            took.push(millis(|| {
                found = runtime.block_on(store.find(&pattern, TimeRange::ALL))?.len();
                Ok(())
            })?);
        }
        let row = [shape.as_str(), &format!("find {text}"), &found.to_string(), "", &format!("{:.2}", median(&took))];
        times.row(row.map(str::to_owned));
    }
    Ok(bars)
}

fn open(directory: &Path) -> Result<EmbeddedStore, StoreError> {
    EmbeddedStore::open(EmbeddedConfig::at(directory))
}

/// Makes a store with a point of each key, and tells how long it took to take the first points of all and then further
/// ones.
fn fill(
    directory: &Path,
    keys: &[SeriesKey],
    runtime: &tokio::runtime::Runtime,
) -> Result<(Duration, Duration), Error> {
    let store = open(directory)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs() as i64;
    let mut took = Vec::new();
    for seconds in [now - 10, now] {
        let mut elapsed = Duration::ZERO;
        for keys in keys.chunks(ROWS_OF_A_BATCH) {
            let point = Point { timestamp: Timestamp::from_seconds(seconds), value: 1.0 };
            let rows = keys.iter().map(|key| Row { key: key.clone(), kind: Kind::Gauge, point }).collect();
            let batch = Batch { rows, ..Batch::default() };
            let clock = Instant::now();
            runtime.block_on(store.append(batch))?;
            elapsed += clock.elapsed();
        }
        took.push(elapsed);
    }
    store.cut_all()?;
    runtime.block_on(store.close())?;
    Ok((took[0], took[1]))
}

/// Selects, and goes no further.
async fn refused(store: &EmbeddedStore, selection: &Selection) -> Result<(), Error> {
    let request = Fetch {
        selection: selection.clone(),
        range: TimeRange::ALL,
        resolution: Resolution::Raw,
        consolidation: None,
        limits: Limits { max_series: 0, max_points: 0 },
    };
    match store.fetch(&request).await {
        Err(StoreError::TooManySeries { .. }) => Ok(()),
        Ok(found) => Err(format!("{} series were to be too many", found.len()).into()),
        Err(error) => Err(error.into()),
    }
}

fn millis(work: impl FnOnce() -> Result<(), Error>) -> Result<f64, Error> {
    let clock = Instant::now();
    work()?;
    Ok(clock.elapsed().as_secs_f64() * 1e3)
}

/// What is asked of a million series of a shape.
fn questions(shape: Shape) -> Result<Vec<Question>, Error> {
    let path = |text: &'static str, bar| -> Result<Question, Error> {
        Ok(Question { text, selection: Selection::Path(PathPattern::parse(text)?), bar })
    };
    let matchers = |text: &'static str, of: &[(&str, MatchOp, &str)], bar| -> Result<Question, Error> {
        let matchers = of.iter().map(|(tag, op, value)| Matcher::new(tag, *op, value, Anchor::Both));
        Ok(Question { text, selection: Selection::Matchers(matchers.collect::<Result<_, _>>()?), bar })
    };
    const EQUAL: MatchOp = MatchOp::Equal;
    const REGEX: MatchOp = MatchOp::Regex;
    Ok(match shape {
        Shape::Tree => vec![
            path("stats.timers.*.*.requests.upper_90", Some(("a_leaf_of_100k_ms", 10.0)))?,
            path("stats.timers.shop-001*.*.requests.*", Some(("a_tenth_ms", 10.0)))?,
            path("stats.timers.shop-00[0-9]5.host-*.*.{upper,lower}_90", None)?,
            path("stats.timers.shop-0042.host-0042.requests.*", None)?,
        ],
        Shape::Flat => vec![
            path("stats.gauges.group-3.*.level", Some(("a_branch_ms", 10.0)))?,
            path("stats.gauges.*.session-0000000000012*.level", None)?,
            path("stats.gauges.*.session-*77.level", None)?,
        ],
        Shape::Tagged => vec![
            matchers(
                "name = requests_3_total, host =~ web-01.*",
                &[("__name__", EQUAL, "requests_3_total"), ("host", REGEX, "web-01.*")],
                Some(("10k_of_two_ms", 5.0)),
            )?,
            matchers(
                "host = web-0123, status =~ 20[0-2]",
                &[("host", EQUAL, "web-0123"), ("status", REGEX, "20[0-2]")],
                Some(("few_of_two_ms", 5.0)),
            )?,
            matchers(
                "name = requests_3_total, host =~ .+",
                &[("__name__", EQUAL, "requests_3_total"), ("host", REGEX, ".+")],
                None,
            )?,
            matchers(
                "host =~ web-0[0-4].., method = GET, status != 201",
                &[("host", REGEX, "web-0[0-4].."), ("method", EQUAL, "GET"), ("status", MatchOp::NotEqual, "201")],
                None,
            )?,
            matchers("name =~ requests_[12].*", &[("__name__", REGEX, "requests_[12].*")], None)?,
        ],
        Shape::Unique => vec![
            matchers(
                "host = web-0123, session =~ .*7",
                &[("host", EQUAL, "web-0123"), ("session", REGEX, ".*7")],
                Some(("few_of_two_ms", 5.0)),
            )?,
            matchers(
                "name = requests_3_total, session =~ 0012.*",
                &[("__name__", EQUAL, "requests_3_total"), ("session", REGEX, "0012.*")],
                None,
            )?,
        ],
    })
}

const fn patterns_to_find(shape: Shape) -> &'static [&'static str] {
    match shape {
        Shape::Tree => &["*", "stats.timers.*", "stats.timers.shop-0042.*"],
        Shape::Flat => &["stats.gauges.*", "stats.gauges.group-3.*"],
        Shape::Tagged | Shape::Unique => &[],
    }
}
