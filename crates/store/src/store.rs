//! The store as everything above sees it: a trait in terms of series, points and ranges.
//!
//! Nothing of files, blocks or key-value engines shows through, so that another home for the points can take the place
//! of the embedded one. All ranges are half-open, in milliseconds; every answer is sorted by key.

use async_trait::async_trait;
use statline_series::{
    Batch, Consolidation, Event, Kind, Matcher, PathPattern, SeriesKey, Sketch, Step, TimeRange, Timestamp, Values,
};

use crate::StoreError;

/// Where points are kept and found again.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Takes a batch. When this returns `Ok`, the points, sketches and events counted in [`Appended`] survive a loss of
    /// power and are seen by every read that starts afterwards. When it returns an error, none of the batch is in the
    /// store.
    ///
    /// # Errors
    /// When the batch could not be made durable, [`StoreError::DiskFull`] among the reasons.
    async fn append(&self, batch: Batch) -> Result<Appended, StoreError>;

    /// One level of the tree of untagged names: the nodes that a pattern matches, as Graphite's `/metrics/find` has
    /// them. A pattern with a `;` in it is the key of a tagged series and finds that series.
    ///
    /// # Errors
    /// When the store is closed.
    async fn find(&self, pattern: &PathPattern, range: TimeRange) -> Result<Vec<Node>, StoreError>;

    /// The series that are selected and have lived in the range.
    ///
    /// # Errors
    /// When the store is closed.
    async fn select(&self, selection: &Selection, range: TimeRange) -> Result<Vec<SeriesInfo>, StoreError>;

    /// The step at which a series that no schema speaks of answers under [`Resolution::Native`] when a range begins at this
    /// instant, which is what most series do.
    fn usual_step(&self, from: Timestamp) -> Step;

    /// The points of the selected series that have lived in the range.
    ///
    /// # Errors
    /// Before anything is read, when the fetch would touch more than its limits allow; when stored points are damaged.
    async fn fetch(&self, request: &Fetch) -> Result<Vec<Fetched>, StoreError>;

    /// The series of sketches that are selected and have lived in the range. Those of points are not among them, nor are
    /// these found by any other method but [`Store::fetch_sketches`] and [`Store::delete`].
    ///
    /// # Errors
    /// When the store is closed.
    async fn select_sketches(&self, selection: &Selection, range: TimeRange) -> Result<Vec<SeriesInfo>, StoreError>;

    /// The sketches of the selected series of sketches that have lived in the range: as they were appended, or with a
    /// step, those of each slot merged into one. The step is rounded up to a multiple of the series' own, and a slot is
    /// named by its start and whole, as under [`Resolution::Step`]. Each bin counts as a point of
    /// [`Limits::max_points`].
    ///
    /// # Errors
    /// When the fetch would touch more than its limits allow; when stored sketches are damaged.
    async fn fetch_sketches(
        &self,
        selection: &Selection,
        range: TimeRange,
        step: Option<Step>,
        limits: Limits,
    ) -> Result<Vec<FetchedSketches>, StoreError>;

    /// The newest events in the range that have all of these tags, at most `limit`, the newest last.
    ///
    /// # Errors
    /// When the store is closed.
    async fn events(&self, range: TimeRange, tags: &[String], limit: usize) -> Result<Vec<Event>, StoreError>;

    /// The names of tags that begin with `prefix`, among the series that pass `filter`; `name` is one of them. At most
    /// `limit`, in alphabetical order.
    ///
    /// # Errors
    /// When the store is closed.
    async fn tags(
        &self,
        prefix: &str,
        filter: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, StoreError>;

    /// The values of a tag that begin with `prefix`, among the series that pass `filter`; of `name`, the names of series
    /// with and without tags. At most `limit`, in alphabetical order.
    ///
    /// # Errors
    /// When the store is closed.
    async fn tag_values(
        &self,
        tag: &str,
        prefix: &str,
        filter: &[Matcher],
        range: TimeRange,
        limit: usize,
    ) -> Result<Vec<String>, StoreError>;

    /// Removes series, of points and of sketches, with all that they hold, and says how many series went.
    ///
    /// # Errors
    /// When the removal could not be made durable.
    async fn delete(&self, selection: &Selection) -> Result<u64, StoreError>;

    /// What the store holds and what has happened to it since it was opened.
    fn stats(&self) -> StoreStats;

    /// Ends background work and lets go of the directory. Appends and reads fail from then on.
    ///
    /// # Errors
    /// When it could not be done.
    async fn close(&self) -> Result<(), StoreError>;
}

/// Which series are meant.
#[derive(Clone, Debug)]
pub enum Selection {
    /// Untagged series whose name matches, or the one tagged series whose key this is.
    Path(PathPattern),
    /// Series, tagged or not, that pass every one of these.
    Matchers(Vec<Matcher>),
    /// Just these.
    Keys(Vec<SeriesKey>),
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Points that are durable.
    pub points: u64,
    /// Series of points and of sketches that were born with the batch.
    pub new_series: u64,
    /// Points that were not taken.
    pub refused: Refused,
    /// Sketches that are durable.
    pub sketches: u64,
    /// Sketches that were not taken.
    pub refused_sketches: Refused,
    /// Events that are durable.
    pub events: u64,
    /// Events that were there already, alike in everything; they are stored once.
    pub known_events: u64,
    /// Events that were not taken.
    pub refused_events: Refused,
}

/// Points, sketches or events that were not taken, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Older than the retention.
    pub too_old: u64,
    /// Further in the future than the store allows.
    pub too_new: u64,
    /// Of a new series, when there were as many as the store may hold.
    pub series_limit: u64,
    /// Of a new series whose name has more than 64 parts between dots.
    pub too_deep: u64,
    /// Without a value: NaN, or a sketch of nothing.
    pub not_a_number: u64,
    /// Events larger than [`Event::MOST_BYTES`].
    pub too_large: u64,
}

impl Refused {
    /// All of them together.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.too_old + self.too_new + self.series_limit + self.too_deep + self.not_a_number + self.too_large
    }
}

/// One node of the tree of names. It may be a series, a branch, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The whole path from the root.
    pub path: String,
    /// Its last part.
    pub name: String,
    /// Whether a series has this name.
    pub is_leaf: bool,
    /// Whether series have names that go on below.
    pub has_children: bool,
}

/// What is known of a series without reading its points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesInfo {
    /// Its identity.
    pub key: SeriesKey,
    /// What its values mean.
    pub kind: Kind,
    /// The instant of its oldest point.
    pub first_seen: Timestamp,
    /// The instant of its newest point.
    pub last_seen: Timestamp,
    /// The finest step at which [`Resolution::Native`] answers, for ranges of late.
    pub step: Step,
}

/// A question for points.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// Of which series.
    pub selection: Selection,
    /// From when to when.
    pub range: TimeRange,
    /// How fine.
    pub resolution: Resolution,
    /// How points become fewer under [`Resolution::Step`]; `None` leaves it to the kind of each series.
    pub consolidation: Option<Consolidation>,
    /// What the answer may cost.
    pub limits: Limits,
}

/// How fine an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The points as they were appended: [`Values::Irregular`]. Of a slot that was rolled up, the last one.
    Raw,
    /// A grid of the series' own step, which is that of its tier at the age of the range's first instant:
    /// [`Values::Regular`], with a value for each multiple of the step in the range. In the finest tier a slot holds the last
    /// point in it; in a coarser one what those of the finest slots make. It is NaN when there is none, or too few.
    Native,
    /// A grid of this step, rounded up to a multiple of the series' own; each value is made of all the finest slots
    /// that it covers.
    Step(Step),
}

/// What a fetch may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most series it may select.
    pub max_series: usize,
    /// The most points it may touch, or slots it may answer with, over all series.
    pub max_points: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_series: 100_000, max_points: 50_000_000 }
    }
}

/// The points of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetched {
    /// Its identity.
    pub key: SeriesKey,
    /// What its values mean.
    pub kind: Kind,
    /// The points.
    pub values: Values,
    /// How points became fewer, or would be made fewer by default.
    pub consolidation: Consolidation,
}

/// The sketches of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct FetchedSketches {
    /// Its identity.
    pub key: SeriesKey,
    /// The step that was asked for, rounded up to a multiple of the series' own; `None` when none was.
    pub step: Option<Step>,
    /// The sketches with their instants, or with the starts of their slots, ascending.
    pub points: Vec<(Timestamp, Sketch)>,
}

/// Numbers about a store, for metrics and for `statlined store stats`. Counts of events are since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Series of points that can be found.
    pub series: u64,
    /// Series of sketches that can be found.
    pub sketch_series: u64,
    /// Points in memory.
    pub head_points: u64,
    /// Sketches in memory.
    pub head_sketches: u64,
    /// Memory that those points and sketches take, in bytes.
    pub head_bytes: u64,
    /// Spans of time that have points or sketches in memory.
    pub head_windows: u64,
    /// Log files.
    pub log_files: u64,
    /// Their length together, in bytes.
    pub log_bytes: u64,
    /// Blocks on disk.
    pub blocks: u64,
    /// Points in them.
    pub block_points: u64,
    /// The chunks in them, in bytes; those of sketches too.
    pub block_bytes: u64,
    /// Sketches in them.
    pub block_sketches: u64,
    /// The chunks of sketches in them, in bytes.
    pub block_sketch_bytes: u64,
    /// Events that can be found.
    pub events: u64,
    /// Memory that they take, in bytes.
    pub event_bytes: u64,
    /// The length of their file, in bytes.
    pub event_log_bytes: u64,
    /// Points taken.
    pub appended_points: u64,
    /// Points not taken.
    pub refused: Refused,
    /// Sketches taken.
    pub appended_sketches: u64,
    /// Sketches not taken.
    pub refused_sketches: Refused,
    /// Events taken.
    pub appended_events: u64,
    /// Events that were there already.
    pub known_events: u64,
    /// Events not taken.
    pub refused_events: Refused,
    /// Events that went before their time, since there were too many.
    pub evicted_events: u64,
    /// Events that went since they were older than the retention.
    pub expired_events: u64,
    /// Appends that failed, nothing of them being kept.
    pub failed_appends: u64,
    /// Blocks written.
    pub cuts: u64,
    /// Blocks that could not be written and will be tried again.
    pub failed_cuts: u64,
    /// When the last block was written.
    pub last_cut: Option<Timestamp>,
    /// How long that took, in microseconds.
    pub last_cut_micros: u64,
    /// Blocks that went since nothing is kept so long.
    pub expired_blocks: u64,
    /// Blocks that became blocks of rollups.
    pub rolled_blocks: u64,
    /// Blocks that became part of longer ones.
    pub merged_blocks: u64,
    /// Log files whose unfinished last record was cut off when the store was opened.
    pub torn_tails: u64,
    /// Damaged records, and headers of files, that were skipped when the store was opened.
    pub corrupt_records: u64,
    /// Logged points and sketches whose series is not in the catalogue any more, found when the store was opened.
    pub orphan_points: u64,
    /// Reads of a chunk that failed its checks.
    pub corrupt_chunks: u64,
    /// Bytes of chunks that are kept decoded.
    pub cache_bytes: u64,
    /// Reads of a chunk that found it decoded.
    pub cache_hits: u64,
    /// Reads of a chunk that did not.
    pub cache_misses: u64,
}
