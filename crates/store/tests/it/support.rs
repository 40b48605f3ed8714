//! What the tests of the store share.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use statline_series::{Batch, Event, Kind, PathPattern, SeriesKey, Sketch, Step, TimeRange, Timestamp, Values};
use statline_store::{
    Checked, Clock, EmbeddedConfig, EmbeddedStore, Fetch, Fetched, Limits, Resolution, Schemas, Selection, Store,
    StoreError,
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

/// One policy for all series.
pub fn schemas(retentions: &str) -> Schemas {
    Schemas::of(retentions.parse().unwrap())
}

/// Settings with a clock that stands at `now`, under which nothing is cut unless a test says so.
pub fn config(directory: &Path, now: i64) -> (EmbeddedConfig, Arc<AtomicI64>) {
    let (clock, hand) = Clock::manual(ms(now));
    let schemas = schemas("10s:365d");
    let config = EmbeddedConfig { clock, schemas, grace: Duration::from_hours(1000), ..EmbeddedConfig::at(directory) };
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

/// What the check of a directory says: figures, and its findings as they are printed.
pub fn check_all(directory: &Path) -> (Checked, Vec<String>) {
    let mut findings = Vec::new();
    let checked = statline_store::check(directory, &mut |finding| findings.push(finding.to_string())).unwrap();
    assert_eq!(checked.damaged + checked.leftovers, findings.len() as u64);
    (checked, findings)
}

/// How often to do something: what a variable says, or so many times.
pub fn times(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |times| times.parse().unwrap())
}

/// All files below a directory.
pub fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_below(&path, found) } else { found.push(path) }
    }
    found.sort();
}

/// Where nothing but zeros follows, roughly.
pub fn end_of_contents(bytes: &[u8]) -> usize {
    const PIECE: usize = 256;
    let pieces = bytes.chunks(PIECE).rposition(|piece| piece != &[0; PIECE][..piece.len()]);
    pieces.map_or(0, |last| ((last + 1) * PIECE).min(bytes.len()))
}

pub fn copy(from: &Path, to: &Path) {
    let mut files = Vec::new();
    files_below(from, &mut files);
    for file in files {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        // Without the megabytes of nothing that some files end with.
        let bytes = fs::read(file).unwrap();
        fs::write(&target, &bytes[..end_of_contents(&bytes)]).unwrap();
        fs::OpenOptions::new().write(true).open(target).unwrap().set_len(bytes.len() as u64).unwrap();
    }
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

/// A sketch of these values.
pub fn sketch(values: &[f64]) -> Sketch {
    let mut sketch = Sketch::new();
    values.iter().for_each(|value| sketch.add(*value, 1.0));
    sketch
}

/// Sketches of one sample each.
pub fn sketches<'a>(of: impl IntoIterator<Item = (&'a str, i64, f64)>) -> Batch {
    let mut batch = Batch::default();
    for (name, millis, value) in of {
        batch.push_sketch(key(name), ms(millis), sketch(&[value]));
    }
    batch
}

/// An event with a tag or none.
pub fn event(millis: i64, title: &str, tag: &str) -> Event {
    let mut event = Event::new(ms(millis), title.to_owned(), format!("text of {title}"));
    event.tags.extend((!tag.is_empty()).then(|| tag.to_owned()));
    event
}

pub fn events(events: impl IntoIterator<Item = Event>) -> Batch {
    Batch { events: events.into_iter().collect(), ..Batch::default() }
}

/// The titles of all events, the newest last.
pub async fn titles(store: &EmbeddedStore) -> Vec<String> {
    let found = store.events(TimeRange::ALL, &[], usize::MAX).await.unwrap();
    found.into_iter().map(|event| event.title).collect()
}

pub async fn fetch_sketches(
    store: &EmbeddedStore,
    pattern: &str,
    range: TimeRange,
    step: Option<Step>,
) -> Result<Vec<(String, Vec<(i64, Sketch)>)>, StoreError> {
    let fetched = store.fetch_sketches(&path(pattern), range, step, Limits::default()).await?;
    let points = |points: Vec<(Timestamp, Sketch)>| points.into_iter().map(|(time, sketch)| (time.millis(), sketch));
    Ok(fetched.into_iter().map(|series| (series.key.to_string(), points(series.points).collect())).collect())
}

/// Instants and largest values of the sketches of one series, as they came.
pub async fn maxima(store: &EmbeddedStore, name: &str) -> Vec<(i64, f64)> {
    let fetched = fetch_sketches(store, name, TimeRange::ALL, None).await.unwrap();
    let points = |(_, points): &(String, Vec<(i64, Sketch)>)| {
        points.iter().map(|(time, sketch)| (*time, sketch.max())).collect()
    };
    fetched.first().map_or_else(Vec::new, points)
}

/// Text such as no codec makes much smaller, the same for the same seed.
pub fn noise(seed: u64, length: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + (state % 90) as u8)
    };
    (0..length).map(|_| next()).collect()
}
