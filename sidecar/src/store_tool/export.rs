//! `statlined export`: what a store holds as JSON lines, day by day, so that an import fills one block after the other.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use chrono_tz::Tz;
use clap::Args;
use statline_graphite::{Context, ExprKind, Wanted};
use statline_series::{PathPattern, SeriesKey, Step, TimeRange, Timestamp};
use statline_store::{EmbeddedStore, Fetch, Limits, Resolution, Selection, SeriesInfo, Store, StoreError};

use super::{Outcome, StoreArgs, instead, line, unless_closed};
use crate::clock;

/// How much of time is gone through at once.
const SPAN: Step = match Step::from_seconds(24 * 3600) {
    Some(step) => step,
    None => Step::SECOND,
};
/// How many series are fetched at once.
const SERIES_AT_ONCE: usize = 32;
/// The most points, or bins of sketches, in memory at once. A span that holds more is halved.
const POINTS_AT_ONCE: usize = 4_000_000;
/// The most points of a line.
const POINTS_A_LINE: usize = 10_000;
/// The most sketches of a line.
const SKETCHES_A_LINE: usize = 500;

/// What `statlined export` takes.
#[derive(Args)]
pub struct ExportArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Only these series: a Graphite path such as `stats.gauges.*`, or `seriesByTag('name=~http.*','host=web1')`.
    /// Events are left out then
    #[arg(long = "match", value_name = "EXPRESSION")]
    expression: Option<String>,
    /// From then on, as Graphite writes it: -1d, 20261122, an epoch…
    #[arg(long, allow_hyphen_values = true)]
    from: Option<String>,
    /// Up to but not including then
    #[arg(long, allow_hyphen_values = true)]
    until: Option<String>,
    /// The file to write; standard output without it
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// How much was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    points: u64,
    sketches: u64,
    events: u64,
}

/// Exports.
///
/// # Errors
/// When an argument is wrong, the store cannot be opened or read, or nothing can be written.
pub fn run(args: &ExportArgs) -> Outcome {
    let config = args.store.load()?;
    let selection = args.expression.as_deref().map(selection_of).transpose()?;
    let range = TimeRange::new(
        instant("--from", args.from.as_deref(), Timestamp::MIN)?,
        instant("--until", args.until.as_deref(), Timestamp::MAX)?,
    );
    let store = EmbeddedStore::open_at_rest(&config.store.path).map_err(|error| {
        instead(error, "stop it, or make a backup (statlined store backup DIR) and export that (--store DIR)")
    })?;
    let out: Box<dyn Write> = match &args.output {
        Some(path) => {
            Box::new(File::create(path).map_err(|error| format!("could not write {}: {error}", path.display()))?)
        }
        None => Box::new(io::stdout().lock()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut export = Export { store: &store, range, out: BufWriter::new(out), exported: Exported::default() };
    let written = runtime.block_on(export.all(selection.as_ref()));
    let Exported { points, sketches, events } = export.exported;
    match written {
        Err(ExportError::Write(error)) => return unless_closed(Err(error)),
        Err(ExportError::Store(error)) => return Err(error.into()),
        Ok(()) => {}
    }
    writeln!(io::stderr(), "statlined: exported {points} points, {sketches} sketches and {events} events")?;
    Ok(())
}

fn instant(argument: &str, given: Option<&str>, otherwise: Timestamp) -> Outcome<Timestamp> {
    let Some(text) = given else { return Ok(otherwise) };
    let parsed = statline_graphite::time::parse_at(text, clock::now(), Tz::UTC);
    Ok(parsed.map_err(|error| format!("{argument} is {text:?}: {error}"))?)
}

fn selection_of(expression: &str) -> Outcome<Selection> {
    let wrong = |reason: &dyn std::fmt::Display| format!("--match is {expression:?}: {reason}");
    let parsed = statline_graphite::parse(expression).map_err(|error| wrong(&error))?;
    match parsed.kind() {
        ExprKind::Path(path) => Ok(Selection::Path(PathPattern::parse(path).map_err(|error| wrong(&error))?)),
        ExprKind::Call(call) if call.name == "seriesByTag" => {
            let context = Context::new(Timestamp::from_millis(0), Timestamp::from_seconds(1), clock::now());
            let planned = statline_graphite::plan(&parsed, &context).map_err(|error| wrong(&error))?;
            match planned.into_iter().next().map(|request| request.wanted) {
                Some(Wanted::Points(statline_graphite::Selection::Matchers(matchers))) => {
                    Ok(Selection::Matchers(matchers))
                }
                _ => Err(wrong(&"it selects nothing").into()),
            }
        }
        _ => Err(wrong(&"it must be a path, or seriesByTag with expressions").into()),
    }
}

/// Why an export ended early.
enum ExportError {
    Store(StoreError),
    Write(io::Error),
}

impl From<StoreError> for ExportError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

struct Export<'a, W: Write> {
    store: &'a EmbeddedStore,
    range: TimeRange,
    out: BufWriter<W>,
    exported: Exported,
}

impl<W: Write> Export<'_, W> {
    /// Everything, or the series of a selection.
    async fn all(&mut self, selection: Option<&Selection>) -> Result<(), ExportError> {
        let everything = Selection::Matchers(Vec::new());
        let chosen = selection.unwrap_or(&everything);
        let series = self.store.select(chosen, self.range).await?;
        for span in spans(&series, self.range) {
            for some in living(&series, span).chunks(SERIES_AT_ONCE) {
                self.points(some, span).await?;
            }
        }
        let series = self.store.select_sketches(chosen, self.range).await?;
        for span in spans(&series, self.range) {
            for some in living(&series, span).chunks(SERIES_AT_ONCE) {
                self.sketches(some, span).await?;
            }
        }
        if selection.is_none() {
            for event in self.store.events(self.range, &[], usize::MAX).await? {
                let mut text = String::new();
                line::push_event(&mut text, &event);
                self.out.write_all(text.as_bytes())?;
                self.exported.events += 1;
            }
        }
        Ok(self.out.flush()?)
    }

    async fn points(&mut self, keys: &[SeriesKey], span: TimeRange) -> Result<(), ExportError> {
        let mut todo = vec![span];
        while let Some(range) = todo.pop() {
            let request = Fetch {
                selection: Selection::Keys(keys.to_vec()),
                range,
                resolution: Resolution::Raw,
                consolidation: None,
                limits: limits(range),
            };
            let fetched = match self.store.fetch(&request).await {
                Err(StoreError::TooManyPoints { .. }) => {
                    todo.extend(halves(range));
                    continue;
                }
                fetched => fetched?,
            };
            for series in fetched {
                let points: Vec<_> = series.values.points().map(|point| (point.timestamp, point.value)).collect();
                for some in points.chunks(POINTS_A_LINE) {
                    let mut text = String::new();
                    line::push_points(&mut text, &series.key, series.kind, some.iter().copied());
                    self.out.write_all(text.as_bytes())?;
                }
                self.exported.points += points.len() as u64;
            }
        }
        Ok(())
    }

    async fn sketches(&mut self, keys: &[SeriesKey], span: TimeRange) -> Result<(), ExportError> {
        let mut todo = vec![span];
        while let Some(range) = todo.pop() {
            let selection = Selection::Keys(keys.to_vec());
            let fetched = match self.store.fetch_sketches(&selection, range, None, limits(range)).await {
                Err(StoreError::TooManyPoints { .. }) => {
                    todo.extend(halves(range));
                    continue;
                }
                fetched => fetched?,
            };
            for series in fetched {
                for some in series.points.chunks(SKETCHES_A_LINE) {
                    let mut text = String::new();
                    line::push_sketches(&mut text, &series.key, some);
                    self.out.write_all(text.as_bytes())?;
                }
                self.exported.sketches += series.points.len() as u64;
            }
        }
        Ok(())
    }
}

/// What a fetch may cost; anything when its range cannot be halved any more.
fn limits(range: TimeRange) -> Limits {
    let max_points = if range.millis() > 1 { POINTS_AT_ONCE } else { usize::MAX };
    Limits { max_series: usize::MAX, max_points }
}

/// The halves of a range, the later one first, so that the earlier one is taken off the list before it.
fn halves(range: TimeRange) -> [TimeRange; 2] {
    let middle = range.from.offset(range.millis() / 2);
    [TimeRange::new(middle, range.until), TimeRange::new(range.from, middle)]
}

/// The days of a range in which some series lived.
fn spans(series: &[SeriesInfo], range: TimeRange) -> Vec<TimeRange> {
    let mut days = BTreeSet::new();
    let mut lives: Vec<(Timestamp, Timestamp)> = series
        .iter()
        .map(|info| (info.first_seen.max(range.from), info.last_seen.min(range.until.offset(-1))))
        .collect();
    lives.sort_unstable();
    // Lives that overlap are gone through once.
    let mut reached = Timestamp::MIN;
    for (first, last) in lives {
        let mut day = first.align_down(SPAN).max(reached);
        while day <= last {
            days.insert(day);
            day = day.offset(SPAN.millis());
        }
        reached = reached.max(day);
    }
    let span = |day: Timestamp| TimeRange::new(day.max(range.from), day.offset(SPAN.millis()).min(range.until));
    days.into_iter().map(span).filter(|span| !span.is_empty()).collect()
}

fn living(series: &[SeriesInfo], span: TimeRange) -> Vec<SeriesKey> {
    let living = series.iter().filter(|info| info.first_seen < span.until && span.from <= info.last_seen);
    living.map(|info| info.key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3_600_000;

    fn info(first: i64, last: i64) -> SeriesInfo {
        SeriesInfo {
            key: "a".parse().unwrap(),
            kind: statline_series::Kind::Gauge,
            first_seen: Timestamp::from_millis(first),
            last_seen: Timestamp::from_millis(last),
            step: Step::SECOND,
        }
    }

    #[test]
    fn only_days_with_points_are_gone_through_and_each_once() {
        let range = |from, until| TimeRange::new(Timestamp::from_millis(from), Timestamp::from_millis(until));
        let series = [info(5, DAY), info(0, 7), info(DAY * 10, DAY * 10 + 3), info(DAY - 1, DAY + 5)];
        let days = [range(0, DAY), range(DAY, 2 * DAY), range(10 * DAY, 11 * DAY)];
        assert_eq!(spans(&series, TimeRange::ALL), days);
        assert_eq!(spans(&series, range(3, DAY + 2)), [range(3, DAY), range(DAY, DAY + 2)]);
        assert_eq!(spans(&[], TimeRange::ALL), []);
        assert_eq!(living(&series, range(10 * DAY, 11 * DAY)).len(), 1);
        assert_eq!(halves(range(0, 3)), [range(1, 3), range(0, 1)]);
    }

    #[test]
    fn a_match_is_a_path_or_a_search_by_tags() {
        assert!(matches!(selection_of("a.*.b").unwrap(), Selection::Path(_)));
        let by_tag = selection_of("seriesByTag('name=~a', 'host!=b')").unwrap();
        assert!(matches!(by_tag, Selection::Matchers(matchers) if matchers.len() == 2));
        for (expression, reason) in [
            ("sumSeries(a.*)", "it must be a path, or seriesByTag with expressions"),
            ("seriesByTag('host=')", "at least one tag expression"),
            ("a(", "--match is \"a(\""),
        ] {
            let error = selection_of(expression).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
