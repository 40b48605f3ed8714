//! From a target to series: parse, fetch what it needs in parallel, evaluate, consolidate.
//!
//! The language is pure and knows no store, the store knows no language; here they meet. Every way in (HTTP, Flight, the
//! command line) asks through this, so that limits and time-outs are the same everywhere. Questions about names rather than
//! values are in `names`.

mod names;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono_tz::Tz;
use futures::future::try_join_all;
use statline_flight::action::{EventList, Events, Health};
use statline_graphite::{
    Answer, Compat, Context, EvalError, Expr, FetchRequest, FetchedSeries, Progress, Reading, Series, Wanted,
};
use statline_series::{Batch, Event, SeriesKey, Step, TimeRange, Timestamp, Values};
use statline_store::{Fetch, Fetched, FetchedSketches, Resolution, Selection, Store, StoreError};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::config;

pub use names::Lifetime;

/// The most bytes of events in one answer, by [`Event::size`], so that it stays within a message of Flight.
const MAX_EVENT_BYTES: usize = 8 << 20;
/// The most tags that events are asked for by at once.
const MAX_EVENT_TAGS: usize = 64;

/// Why a query has no answer, in one line.
#[derive(Debug, Error)]
pub enum QueryError {
    /// The question is wrong.
    #[error("{0}")]
    Bad(String),
    /// The question is over a limit.
    #[error("{0}")]
    Limit(String),
    /// It took too long.
    #[error("the query took longer than query.timeout, {}", config::Span::from(*.0))]
    Timeout(Duration),
    /// The store failed.
    #[error("{0}")]
    Store(#[source] StoreError),
    /// A bug of ours.
    #[error("the query failed inside statlined: {0}")]
    Internal(String),
}

impl From<StoreError> for QueryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooManySeries { .. } | StoreError::TooManyPoints { .. } => Self::Limit(error.to_string()),
            _ => Self::Store(error),
        }
    }
}

impl From<EvalError> for QueryError {
    fn from(error: EvalError) -> Self {
        match error {
            EvalError::TooManySeries { .. } | EvalError::TooManyPoints { .. } | EvalError::TooMuchWork { .. } => {
                Self::Limit(error.to_string())
            }
            _ => Self::Bad(error.to_string()),
        }
    }
}

impl QueryError {
    /// Its kind in one word, for metrics.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Bad(_) => "bad",
            Self::Limit(_) => "limit",
            Self::Timeout(_) => "timeout",
            Self::Store(_) => "store",
            Self::Internal(_) => "internal",
        }
    }
}

/// The right to use a share of the machine, held by whatever works on a question.
#[derive(Clone)]
struct Permit {
    _share: Arc<OwnedSemaphorePermit>,
    /// Cancelled when nobody waits for the answer any more.
    unwanted: CancellationToken,
}

impl Permit {
    /// Whether the work is for nothing. Work that asks holds the whole permit, not the token alone.
    fn is_unwanted(&self) -> bool {
        self.unwanted.is_cancelled()
    }
}

/// The span of time that a target is evaluated over, and how.
#[derive(Clone, Debug)]
pub struct Window {
    /// Excluded start.
    pub from: Timestamp,
    /// Included end.
    pub until: Timestamp,
    /// The instant that counts as now.
    pub now: Timestamp,
    /// The zone of functions that align to days.
    pub zone: Tz,
    /// The most points of a series.
    pub max_data_points: Option<usize>,
    /// How much of a bucket must be present for it to have a value, from 0 to 1.
    pub x_files_factor: f64,
    /// Whose answer is wanted; `None` for the one that is configured.
    pub compat: Option<Compat>,
    /// What parameters of templates stand for, by name.
    pub template: BTreeMap<String, String>,
}

/// Answers questions from a store. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    store: Arc<dyn Store>,
    limits: config::Query,
    step: Step,
    running: Arc<Semaphore>,
    flushed: watch::Receiver<Option<Timestamp>>,
}

impl Engine {
    /// An engine on a store whose series have this step. `flushed` tells the end of the last flush.
    pub fn new(
        store: Arc<dyn Store>,
        limits: config::Query,
        step: Step,
        flushed: watch::Receiver<Option<Timestamp>>,
    ) -> Self {
        let running = Arc::new(Semaphore::new(limits.max_concurrent));
        Self { store, limits, step, running, flushed }
    }

    /// What a question may cost.
    pub const fn limits(&self) -> &config::Query {
        &self.limits
    }

    /// Tells the end of each flush, once its points can be read.
    pub fn flushed(&self) -> watch::Receiver<Option<Timestamp>> {
        self.flushed.clone()
    }

    /// The series that a target evaluates to.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn graphite(&self, target: &str, window: &Window) -> Result<Vec<Series>, QueryError> {
        self.graphite_in_order(&[target], window).await
    }

    /// The series of several targets, one evaluated after the other and all brought to fewer points together: so
    /// graphite-web does it, where a target leaves something behind for those after it.
    ///
    /// # Errors
    /// The first one that any of them has; see [`QueryError`].
    pub async fn graphite_in_order(
        &self,
        targets: &[impl AsRef<str>],
        window: &Window,
    ) -> Result<Vec<Series>, QueryError> {
        self.bounded(|permit| async move {
            let context = self.context(window);
            let reading = Reading { parameters: window.template.clone(), compat: context.compat };
            let parsed = targets.iter().map(|target| statline_graphite::parse_with(target.as_ref(), &reading));
            let targets: Result<Vec<Expr>, _> = parsed.collect();
            let targets = targets.map_err(|error| QueryError::Bad(error.to_string()))?;
            self.evaluate(targets, context, permit).await
        })
        .await
    }

    /// Does other work for an answer when it is its turn, such as to draw it. The work is told how to find out that nobody
    /// waits for it any more.
    ///
    /// # Errors
    /// Those of the work; when it takes too long.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Fn() -> bool) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        self.bounded(|permit| async {
            let work = tokio::task::spawn_blocking(move || work(&|| permit.is_unwanted()));
            work.await.map_err(|error| QueryError::Internal(error.to_string()))?
        })
        .await
    }

    /// Answers a question when it is its turn, within the time that a question may take, and counts how it went.
    ///
    /// The permit goes along with the work, and says when to leave it: a question that nobody waits for any more, since its
    /// client hung up or its time is over, counts until the work has noticed.
    async fn bounded<T, F: Future<Output = Result<T, QueryError>>>(
        &self,
        work: impl FnOnce(Permit) -> F,
    ) -> Result<T, QueryError> {
        let began = Instant::now();
        let timeout = self.limits.timeout.get();
        let answer = async {
            let share = Arc::clone(&self.running).acquire_owned().await;
            // The semaphore is never closed.
            let share = share.map_err(|error| QueryError::Internal(error.to_string()))?;
            let unwanted = CancellationToken::new();
            // Cancels when this is done, and when it is dropped before.
            let _waiting = unwanted.clone().drop_guard();
            work(Permit { _share: Arc::new(share), unwanted }).await
        };
        let answer = tokio::time::timeout(timeout, answer).await.unwrap_or(Err(QueryError::Timeout(timeout)));
        metrics::histogram!("statline_query_duration_seconds").record(began.elapsed());
        if let Err(error) = &answer {
            metrics::counter!("statline_query_failures_total", "reason" => error.reason()).increment(1);
        }
        answer
    }

    fn context(&self, window: &Window) -> Context {
        let mut context = Context::new(window.from, window.until, window.now);
        context.zone = window.zone;
        context.max_data_points = window.max_data_points;
        context.x_files_factor = window.x_files_factor;
        context.step_hint = self.store.usual_step(window.from);
        context.compat = window.compat.unwrap_or(self.limits.compat);
        context.limits.max_series = self.limits.max_series;
        context.limits.max_points = self.limits.max_points;
        context
    }

    async fn evaluate(&self, targets: Vec<Expr>, context: Context, permit: Permit) -> Result<Vec<Series>, QueryError> {
        let (targets, context) = (Arc::new(targets), Arc::new(context));
        // The first walk, over nothing, finds what has to be fetched.
        let mut requests = Vec::new();
        let mut fetched = statline_graphite::Fetched::default();
        loop {
            let answers = try_join_all(requests.iter().map(|request| self.fetch(request, context.compat))).await?;
            for (request, answer) in requests.iter().zip(answers) {
                fetched.insert(request, answer);
            }
            // Evaluation is arithmetic over millions of values: not for the threads that serve sockets.
            let (for_targets, for_context) = (Arc::clone(&targets), Arc::clone(&context));
            let permit = permit.clone();
            let evaluation = tokio::task::spawn_blocking(move || {
                let is_unwanted = || permit.is_unwanted();
                let progress = statline_graphite::evaluate_unless(&is_unwanted, &for_targets, &for_context, &fetched)?;
                Ok::<_, EvalError>(match progress {
                    Progress::Fetch(missing) => (Progress::Fetch(missing), fetched),
                    Progress::Done(series) => {
                        (Progress::Done(statline_graphite::consolidate(series, &for_context)), fetched)
                    }
                })
            });
            let (progress, so_far) = evaluation.await.map_err(|error| QueryError::Internal(error.to_string()))??;
            match progress {
                Progress::Done(series) => return Ok(series),
                Progress::Fetch(missing) => {
                    requests = missing;
                    fetched = so_far;
                }
            }
        }
    }

    /// Adds the series that have no point in the range: graphite-web draws a series for as long as there is a file of it.
    async fn add_silent(&self, series: &mut Vec<FetchedSeries>, fetch: &Fetch) -> Result<(), QueryError> {
        let known = self.store.select(&fetch.selection, TimeRange::ALL).await?;
        if known.len() > fetch.limits.max_series {
            return Err(StoreError::TooManySeries { selected: known.len(), limit: fetch.limits.max_series }.into());
        }
        let spoken: HashSet<SeriesKey> = series.iter().map(|one| one.key.clone()).collect();
        series.extend(known.into_iter().filter(|info| !spoken.contains(&info.key)).map(|info| {
            let start = fetch.range.from.align_up(info.step);
            let values = Values::Regular { start, step: info.step, values: Vec::new() };
            FetchedSeries { key: info.key, kind: info.kind, values }
        }));
        Ok(())
    }

    async fn fetch(&self, request: &FetchRequest, compat: Compat) -> Result<Answer, QueryError> {
        let limits = statline_store::Limits { max_series: self.limits.max_series, max_points: self.limits.max_points };
        Ok(match &request.wanted {
            Wanted::Points(selection) => {
                let fetch = Fetch {
                    selection: selected(selection),
                    range: request.range,
                    resolution: Resolution::Native,
                    consolidation: None,
                    limits,
                };
                let series = self.store.fetch(&fetch).await?.into_iter();
                let fetched = |one: Fetched| FetchedSeries { key: one.key, kind: one.kind, values: one.values };
                let mut series: Vec<FetchedSeries> = series.map(fetched).collect();
                if compat == Compat::GraphiteWeb {
                    self.add_silent(&mut series, &fetch).await?;
                }
                Answer::Points(series)
            }
            Wanted::Sketches(selection, step) => {
                let (selection, range) = (selected(selection), request.range);
                let series = self.store.fetch_sketches(&selection, range, Some(*step), limits).await?.into_iter();
                let fetched = |one: FetchedSketches| statline_graphite::FetchedSketches {
                    key: one.key,
                    step: one.step.unwrap_or(*step),
                    slots: one.points,
                };
                Answer::Sketches(series.map(fetched).collect())
            }
            Wanted::Events(tags) => Answer::Events(self.event_instants(tags, request.range).await?),
        })
    }

    /// When each event in a range happened that has all of these tags.
    async fn event_instants(&self, tags: &[String], range: TimeRange) -> Result<Vec<Timestamp>, QueryError> {
        if tags.len() > MAX_EVENT_TAGS {
            return Err(QueryError::Bad(format!("events has {} tags, more than {MAX_EVENT_TAGS}", tags.len())));
        }
        let limit = self.limits.max_events;
        // One more than may be counted tells whether there are more.
        let events = self.store.events(range, tags, limit.saturating_add(1)).await?;
        if events.len() > limit {
            return Err(QueryError::Limit(format!(
                "more events happened than query.max_events, {limit}; ask for a shorter range or for more tags"
            )));
        }
        Ok(events.into_iter().map(|event| event.timestamp).collect())
    }

    /// What happened in a span of time, the newest when there is more than may be answered.
    ///
    /// # Errors
    /// When too many tags are asked for at once, or the store fails.
    pub async fn events(&self, asked: &Events) -> Result<EventList, QueryError> {
        if asked.tags.len() > MAX_EVENT_TAGS {
            return Err(QueryError::Bad(format!(
                "the question has {} tags, more than {MAX_EVENT_TAGS}",
                asked.tags.len()
            )));
        }
        let limit = self.limits.max_events.min(asked.limit.map_or(usize::MAX, |limit| limit as usize));
        let range = asked.span.range();
        // One more than wanted tells whether there are more.
        let wanted = limit.saturating_add(1);
        let events = self
            .bounded(|_permit| async {
                if !asked.any || asked.tags.len() < 2 {
                    return Ok(self.store.events(range, &asked.tags, wanted).await?);
                }
                // The newest of all are among the newest of each tag.
                let mut found = BTreeSet::new();
                for tag in &asked.tags {
                    found.extend(self.store.events(range, std::slice::from_ref(tag), wanted).await?);
                }
                Ok(found.into_iter().collect())
            })
            .await?;
        let mut bytes = 0;
        let fits = |event: &&Event| {
            bytes += event.size();
            bytes <= MAX_EVENT_BYTES
        };
        let taken = events.iter().rev().take(limit).take_while(fits).count();
        let more = taken < events.len();
        Ok(EventList { events: events.into_iter().rev().take(taken).rev().map(Into::into).collect(), more })
    }

    /// Keeps an event. When this returns, it survives a loss of power.
    ///
    /// # Errors
    /// [`QueryError::Bad`] with the reason when it cannot be taken; when the store fails.
    pub async fn add_event(&self, event: Event) -> Result<(), QueryError> {
        let size = event.size();
        let refused = self.store.append(Batch { events: vec![event], ..Batch::default() }).await?.refused_events;
        if refused.total() == 0 {
            return Ok(());
        }
        Err(QueryError::Bad(if refused.too_large > 0 {
            format!("the event takes {size} bytes, more than {}", Event::MOST_BYTES)
        } else if refused.too_old > 0 {
            "when is longer ago than anything is kept (store.retentions)".to_owned()
        } else {
            "when is too far in the future; send seconds since the epoch".to_owned()
        }))
    }

    /// How the daemon is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn health(&self) -> Result<Health, QueryError> {
        let last_flush = *self.flushed.borrow();
        let store = Arc::clone(&self.store);
        // The store looks at its files.
        let stats = tokio::task::spawn_blocking(move || store.stats()).await;
        let stats = stats.map_err(|error| QueryError::Internal(error.to_string()))?;
        Ok(Health { version: env!("CARGO_PKG_VERSION").to_owned(), series: stats.series, last_flush })
    }

    /// The series of a subscription that are new since the flush before: what a target is at one instant.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn newest(&self, target: &str, zone: Tz, flush: Timestamp) -> Result<Vec<Series>, QueryError> {
        let range = TimeRange::new(flush.offset(-self.step.millis()), flush);
        let window = Window {
            from: range.from,
            until: range.until,
            now: flush,
            zone,
            max_data_points: None,
            x_files_factor: 0.0,
            compat: None,
            template: BTreeMap::new(),
        };
        self.graphite(target, &window).await
    }
}

fn selected(selection: &statline_graphite::Selection) -> Selection {
    match selection {
        statline_graphite::Selection::Path(pattern) => Selection::Path(pattern.clone()),
        statline_graphite::Selection::Matchers(matchers) => Selection::Matchers(matchers.clone()),
    }
}

/// An IANA time zone; an empty text is UTC.
///
/// # Errors
/// When there is no such zone.
pub fn parse_zone(name: &str) -> Result<Tz, QueryError> {
    if name.is_empty() || name.eq_ignore_ascii_case("utc") {
        return Ok(Tz::UTC);
    }
    name.parse().map_err(|_| {
        QueryError::Bad(format!("unknown time zone {name:?}; expected an iana name such as Europe/Berlin"))
    })
}

#[cfg(test)]
mod tests {
    use statline_store::{EmbeddedConfig, EmbeddedStore};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_query_that_is_dropped_gives_its_share_back_before_it_would_be_done() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(EmbeddedStore::open(EmbeddedConfig::at(directory.path())).unwrap());
        let limits = config::Query { max_concurrent: 1, ..config::Query::default() };
        let engine = Engine::new(store, limits, Step::SECOND, watch::channel(None).1);
        let now = Timestamp::from_seconds(1_700_000_000);
        // A million points, forty times over.
        let window = Window {
            from: now.offset(-1_000_000_000),
            until: now,
            now,
            zone: Tz::UTC,
            max_data_points: None,
            x_files_factor: 0.0,
            compat: None,
            template: BTreeMap::new(),
        };
        let target = format!("{}time('t', 1){}", "scale(".repeat(40), ", 2)".repeat(40));
        let began = Instant::now();
        assert!(engine.graphite(&target, &window).await.unwrap()[0].values().len() >= 1_000_000);
        let whole = began.elapsed();

        let dropped = tokio::time::timeout(whole / 10, engine.graphite(&target, &window)).await;
        assert!(dropped.is_err(), "a tenth of the time is not enough");
        let began = Instant::now();
        let share = Arc::clone(&engine.running).acquire_owned().await.unwrap();
        let waited = began.elapsed();
        assert!(waited < whole / 2, "{waited:?} of {whole:?}");
        drop(share);
        assert!(engine.graphite("constantLine(1)", &window).await.is_ok());
    }
}
