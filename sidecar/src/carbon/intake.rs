//! The way of points into the store, whatever socket they came from.
//!
//! A [`Funnel`] belongs to one sender. While one batch is being stored, the next one gathers, up to a bound; then nothing more is
//! read, so that a fast sender is slowed down by its own socket and never fills memory.

use std::io;
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use statline_series::key::MAX_KEY_BYTES;
use statline_series::{Batch, Timestamp};
use statline_store::{Appended, Store, StoreError};

use super::aggregator::{Aggregator, NotAggregated};
use super::line;
use super::pickle;
use super::refusal::Refusal;
use super::router::{Cursor, KnownNames, Route, Router};
use super::stats::{CarbonStats, ReadCounts, count};
use crate::clock;
use crate::receive::excerpt;
use crate::receive::sender::Sender;

/// How many points gather while others are being stored.
const MOST_POINTS: usize = 16_384;

/// How many names are learned before they are made known, which waits for all others who are reading.
const LEARNED_AT_ONCE: usize = 256;

/// What all listeners share.
pub struct Intake {
    store: Arc<dyn Store>,
    stats: Arc<CarbonStats>,
    in_force: RwLock<InForce>,
    aggregator: Mutex<Aggregator>,
    max_line: usize,
    most_names: usize,
}

/// The rules, with what is known by them.
struct InForce {
    router: Router,
    known: KnownNames,
    /// How often rules were replaced.
    generation: u64,
}

impl Intake {
    /// A way into the store. At most so many names are remembered.
    pub fn new(
        store: Arc<dyn Store>,
        stats: Arc<CarbonStats>,
        router: Router,
        aggregator: Aggregator,
        max_line: usize,
        most_names: usize,
    ) -> Self {
        let in_force = RwLock::new(InForce { router, known: KnownNames::new(most_names), generation: 0 });
        Self { store, stats, in_force, aggregator: Mutex::new(aggregator), max_line, most_names }
    }

    /// What is counted.
    pub const fn stats(&self) -> &Arc<CarbonStats> {
        &self.stats
    }

    /// Where the points go.
    pub const fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// What is being aggregated.
    pub const fn aggregator(&self) -> &Mutex<Aggregator> {
        &self.aggregator
    }

    /// The longest line, in bytes.
    pub const fn max_line(&self) -> usize {
        self.max_line
    }

    /// Lets other rules hold for the points that come from here on.
    pub fn replace(&self, router: Router) {
        let mut in_force = self.in_force.write();
        let generation = in_force.generation + 1;
        *in_force = InForce { router, known: KnownNames::new(self.most_names), generation };
    }

    /// Remembers routes, unless the rules that they were found by are no longer in force.
    fn remember(&self, learned: impl Iterator<Item = (Box<[u8]>, Route)>, generation: u64) {
        let mut in_force = self.in_force.write();
        if in_force.generation == generation {
            learned.for_each(|(name, route)| in_force.known.insert(name, route));
        }
    }

    /// How many names are remembered.
    pub fn known_names(&self) -> usize {
        self.in_force.read().known.len()
    }
}

/// One sender's way in.
pub struct Funnel {
    intake: Arc<Intake>,
    cursor: Cursor,
    counts: ReadCounts,
    batch: Batch,
    under_way: Option<BoxFuture<'static, Result<Appended, StoreError>>>,
    /// Whether something that is not right was already logged.
    told: bool,
}

impl Funnel {
    /// With nothing in it.
    pub fn new(intake: Arc<Intake>) -> Self {
        let counts = ReadCounts::default();
        Self { intake, cursor: Cursor::default(), counts, batch: Batch::default(), under_way: None, told: false }
    }

    /// How many points have gathered while others are being stored.
    pub fn gathered(&self) -> usize {
        self.batch.len()
    }

    /// Whether more may be read.
    pub fn has_room(&self) -> bool {
        self.gathered() < MOST_POINTS
    }

    /// Takes whole lines of the plaintext protocol.
    pub fn lines(&mut self, lines: &[u8], sender: Sender) {
        let intake = Arc::clone(&self.intake);
        let mut points = Points::new(&intake, self);
        let mut rest = lines;
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            points.funnel.counts.received += 1;
            if line.len() > intake.max_line {
                points.funnel.refuse(Refusal::LineTooLong(line.len()), sender, line);
                continue;
            }
            match line::parse(line, points.now) {
                Ok(Some(point)) => points.take(point.name, point.timestamp, point.value, sender, line),
                Ok(None) => {}
                Err(refusal) => points.funnel.refuse(refusal, sender, line),
            }
        }
        drop(points);
        self.end_read();
    }

    /// Takes one pickle.
    pub fn pickle(&mut self, bytes: &[u8], sender: Sender) {
        let intake = Arc::clone(&self.intake);
        let mut points = Points::new(&intake, self);
        let mut number = 0;
        let read = pickle::read(bytes, |item| {
            number += 1;
            points.funnel.counts.received += 1;
            let Some(item) = item else { return points.funnel.refuse(Refusal::NotAPoint(number), sender, b"") };
            let Ok(name) = std::str::from_utf8(item.name) else {
                return points.funnel.refuse(Refusal::NotText, sender, item.name);
            };
            let timestamp = item.timestamp.and_then(|seconds| line::instant(seconds, points.now));
            match (timestamp, item.value) {
                (Some(timestamp), Some(value)) => points.take(name, timestamp, value, sender, item.name),
                (None, _) => {
                    let written =
                        item.timestamp.map_or_else(|| "something else".to_owned(), |seconds| seconds.to_string());
                    points.funnel.refuse(Refusal::timestamp(&written), sender, item.name);
                }
                (_, None) => points.funnel.refuse(Refusal::value("something else"), sender, item.name),
            }
        });
        if let Err(refusal) = read {
            points.funnel.refuse(refusal, sender, bytes);
        }
        drop(points);
        self.end_read();
    }

    /// Refuses something that is no point.
    pub fn refuse(&mut self, refusal: Refusal, sender: Sender, bytes: &[u8]) {
        self.counts.refuse(refusal, sender, || excerpt(bytes, 0));
    }

    /// Adds up what was counted, and stores what has gathered unless something is being stored.
    pub fn end_read(&mut self) {
        if let Some(mistake) = self.counts.first_mistake().filter(|_| !self.told) {
            self.told = true;
            tracing::warn!(
                peer = %mistake.sender, error = %mistake.refusal, line = mistake.excerpt,
                "a carbon line is refused; others of this sender are only counted"
            );
        }
        self.intake.stats.add(&mut self.counts);
        self.begin();
    }

    /// Begins to store what has gathered, unless something is being stored.
    fn begin(&mut self) {
        if self.under_way.is_none() && !self.batch.is_empty() {
            let batch = std::mem::take(&mut self.batch);
            let store = Arc::clone(self.intake.store());
            self.under_way = Some(Box::pin(async move { store.append(batch).await }));
        }
    }

    /// Waits until what is being stored is stored, and begins with the next; for ever when there is nothing.
    ///
    /// # Errors
    /// When the store could not take it.
    pub async fn stored(&mut self) -> io::Result<()> {
        let Some(under_way) = &mut self.under_way else { return std::future::pending().await };
        let outcome = under_way.await;
        self.under_way = None;
        let appended = outcome.map_err(io::Error::other)?;
        count(&self.intake.stats.points, appended.points);
        self.intake.stats.refused_by_store(appended.refused);
        if appended.refused.total() > 0 && !self.told {
            self.told = true;
            tracing::warn!(refused = ?appended.refused, "the store did not take every carbon point");
        }
        self.begin();
        Ok(())
    }

    /// Waits until everything is stored.
    ///
    /// # Errors
    /// When the store could not take it.
    pub async fn finish(&mut self) -> io::Result<()> {
        while self.under_way.is_some() {
            self.stored().await?;
        }
        Ok(())
    }
}

/// Points of one read, on their way into a funnel.
struct Points<'a> {
    intake: &'a Intake,
    in_force: Option<RwLockReadGuard<'a, InForce>>,
    funnel: &'a mut Funnel,
    now: Timestamp,
    /// Names that were not known, with the routes that were found.
    learned: Vec<(Box<[u8]>, Route)>,
    /// The rules by which they were found.
    generation: u64,
}

impl<'a> Points<'a> {
    fn new(intake: &'a Intake, funnel: &'a mut Funnel) -> Self {
        Self { intake, in_force: None, funnel, now: clock::now(), learned: Vec::new(), generation: 0 }
    }

    fn take(&mut self, name: &str, timestamp: Timestamp, value: f64, sender: Sender, shown: &[u8]) {
        if name.len() > MAX_KEY_BYTES {
            return self.funnel.refuse(Refusal::NameTooLong(name.len()), sender, shown);
        }
        let in_force = self.in_force.get_or_insert_with(|| self.intake.in_force.read());
        let Funnel { cursor, counts, batch, .. } = &mut *self.funnel;
        let mut put = |route: &Route| put(route, (timestamp, value), self.now, &self.intake.aggregator, counts, batch);
        let outcome = if let Some(route) = in_force.known.get(name.as_bytes(), cursor) {
            put(route)
        } else {
            let route = in_force.router.route(name);
            let outcome = put(&route);
            self.generation = in_force.generation;
            self.learned.push((name.as_bytes().into(), route));
            outcome
        };
        if let Err(refusal) = outcome {
            self.funnel.refuse(refusal, sender, shown);
        }
        if self.learned.len() >= LEARNED_AT_ONCE {
            self.remember();
        }
    }

    /// Makes known what was learned, which waits for all others who are reading.
    fn remember(&mut self) {
        self.in_force = None;
        if !self.learned.is_empty() {
            self.intake.remember(self.learned.drain(..), self.generation);
        }
    }
}

impl Drop for Points<'_> {
    fn drop(&mut self) {
        self.remember();
    }
}

/// Puts a point where its route says.
fn put(
    route: &Route,
    (timestamp, value): (Timestamp, f64),
    now: Timestamp,
    aggregator: &Mutex<Aggregator>,
    counts: &mut ReadCounts,
    batch: &mut Batch,
) -> Result<(), Refusal> {
    let (stored, aggregates, nameless) = match route {
        Route::Refused(refusal) => return Err(refusal.clone()),
        Route::Taken { stored, aggregates, nameless } => (stored, aggregates, *nameless),
    };
    if value.is_nan() {
        return Err(Refusal::NotANumber);
    }
    if !aggregates.is_empty() {
        let mut aggregator = aggregator.lock();
        for target in aggregates {
            match aggregator.add(target, timestamp, value, now) {
                Ok(()) => counts.aggregated += 1,
                Err(reason) => counts.not_aggregated(reason, 1),
            }
        }
    }
    counts.not_aggregated(NotAggregated::Nameless, nameless.into());
    if let Some((key, kind)) = stored {
        batch.push(key.clone(), *kind, timestamp, value);
    }
    Ok(())
}
