//! What the tests of the store share.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use statline_series::{Batch, Kind, PathPattern, SeriesKey, Step, TimeRange, Timestamp, Values};
use statline_store::{
    Clock, EmbeddedConfig, EmbeddedStore, Fetch, Fetched, Limits, Resolution, Selection, Store, StoreError,
};

/// Some instant on a block's edge.
pub const START: i64 = 1_763_784_000_000;
pub const HOUR: i64 = 3_600_000;

pub fn ms(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub fn range(from: i64, until: i64) -> TimeRange {
    TimeRange::new(ms(from), ms(until))
}

pub fn key(text: &str) -> SeriesKey {
    text.parse().unwrap()
}

pub fn path(pattern: &str) -> Selection {
    Selection::Path(PathPattern::parse(pattern).unwrap())
}

pub fn step(millis: i64) -> Step {
    Step::from_millis(millis).unwrap()
}

/// Settings with a clock that stands at `now`, under which nothing is cut unless a test says so.
pub fn config(directory: &Path, now: i64) -> (EmbeddedConfig, Arc<AtomicI64>) {
    let (clock, hand) = Clock::manual(ms(now));
    let config = EmbeddedConfig { clock, grace: Duration::from_hours(1000), ..EmbeddedConfig::at(directory) };
    (config, hand)
}

/// A directory on a file system in memory where there is one, for tests that open stores by the hundred.
pub fn fast_directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

pub fn open(directory: &Path, now: i64) -> EmbeddedStore {
    EmbeddedStore::open(config(directory, now).0).unwrap()
}

/// Points of untyped series.
pub fn batch<'a>(points: impl IntoIterator<Item = (&'a str, i64, f64)>) -> Batch {
    let mut batch = Batch::default();
    for (name, millis, value) in points {
        batch.push(key(name), Kind::Untyped, ms(millis), value);
    }
    batch
}

pub fn request(selection: Selection, range: TimeRange, resolution: Resolution) -> Fetch {
    Fetch { selection, range, resolution, consolidation: None, limits: Limits::default() }
}

pub async fn fetch_raw(store: &EmbeddedStore, pattern: &str, range: TimeRange) -> Result<Vec<Fetched>, StoreError> {
    store.fetch(&request(path(pattern), range, Resolution::Raw)).await
}

/// Key, instants and bits of the values.
pub fn points_of(fetched: &Fetched) -> Vec<(i64, u64)> {
    fetched.values.points().map(|point| (point.timestamp.millis(), point.value.to_bits())).collect()
}

/// The points of one series as they came.
pub async fn raw(store: &EmbeddedStore, name: &str) -> Vec<(i64, f64)> {
    let fetched = fetch_raw(store, name, TimeRange::ALL).await.unwrap();
    let points =
        |fetched: &Fetched| fetched.values.points().map(|point| (point.timestamp.millis(), point.value)).collect();
    fetched.first().map_or_else(Vec::new, points)
}

/// The values of a regular answer, -1 for none.
pub fn slots(values: &Values) -> Vec<f64> {
    assert!(matches!(values, Values::Regular { .. }));
    values.values().iter().map(|value| if value.is_nan() { -1.0 } else { *value }).collect()
}
