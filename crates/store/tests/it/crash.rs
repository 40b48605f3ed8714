//! kill -9 at random moments: what was acknowledged is there, the batch that was open is there whole or not at all, and the
//! check finds no damage.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use statline_series::{Batch, Event, TimeRange};
use statline_store::{EmbeddedConfig, EmbeddedStore, Store};

use crate::support::*;

const DIRECTORY: &str = "STATLINE_TEST_CRASH_DIRECTORY";
/// How often the process is killed; 20 times without it.
const ROUNDS: &str = "STATLINE_TEST_KILLS";
/// Whether the writer compacts the store before it begins.
const COMPACT: &str = "STATLINE_TEST_CRASH_COMPACT";
const SERIES: i64 = 20;

/// Batch `number` has a point for each of the series, in two blocks, and sometimes a new series.
fn rows(number: i64) -> Vec<(String, i64, f64)> {
    let mut rows: Vec<_> = (0..SERIES)
        .map(|series| {
            let time = START + (series % 2) * 2 * HOUR + number % 700 * 10_000;
            (format!("crash.s{series}"), time, (number * SERIES + series) as f64)
        })
        .collect();
    if number % 5 == 0 {
        rows.push((format!("crash.new{number}"), START, number as f64));
    }
    rows
}

/// Room for few events, so that the oldest go and their file is written anew all the time.
const EVENT_MEMORY: u64 = 1 << 18;

/// The whole of a batch: its points, a sketch in each of two blocks, and two times in three an event of 40 KB.
pub fn whole(number: i64) -> Batch {
    let rows = rows(number);
    let mut whole = batch(rows.iter().map(|(name, time, value)| (name.as_str(), *time, *value)));
    for series in 0..2 {
        let time = START + series * 2 * HOUR + number % 700 * 10_000;
        whole.push_sketch(key(&format!("crash.t{series}")), ms(time), sketch(&[number as f64 + 1.0]));
    }
    if number % 3 != 0 {
        let mut event = event(START + number, &number.to_string(), "");
        event.text = noise(number.unsigned_abs(), 40_000);
        whole.events.push(event);
    }
    whole
}

/// What is found of all kinds: series by form and key, and the events.
pub type Found = (BTreeMap<(&'static str, String), BTreeMap<i64, f64>>, Vec<String>);

pub fn expect(count: i64) -> Found {
    let mut expected = Found::default();
    let mut events: Vec<Event> = Vec::new();
    for batch in (0..count).map(whole) {
        for row in batch.rows {
            let series = expected.0.entry(("points", row.key.to_string())).or_default();
            series.insert(row.point.timestamp.millis(), row.point.value);
        }
        for row in batch.sketches {
            let series = expected.0.entry(("sketches", row.key.to_string())).or_default();
            series.insert(row.timestamp.millis(), row.sketch.max());
        }
        events.extend(batch.events);
    }
    let mut room = EVENT_MEMORY;
    let newest = events.into_iter().rev().take_while(|event| {
        let left = room.checked_sub(event.size() as u64);
        room = left.unwrap_or(0);
        left.is_some()
    });
    expected.1.extend(newest.map(|event| event.title));
    expected.1.reverse();
    expected
}

pub async fn find_all(store: &EmbeddedStore) -> Found {
    let mut found = BTreeMap::new();
    for fetched in fetch_raw(store, "crash.*", TimeRange::ALL).await.unwrap() {
        let points = fetched.values.points().map(|point| (point.timestamp.millis(), point.value));
        found.insert(("points", fetched.key.to_string()), points.collect());
    }
    for (name, points) in fetch_sketches(store, "crash.*", TimeRange::ALL, None).await.unwrap() {
        found.insert(("sketches", name), points.into_iter().map(|(time, sketch)| (time, sketch.max())).collect());
    }
    (found, titles(store).await)
}

pub fn open_store(directory: &Path) -> EmbeddedStore {
    let (base, _) = config(directory, START + 4 * HOUR);
    // So little memory that blocks are cut all the time.
    EmbeddedStore::open(EmbeddedConfig { head_memory: 40_000, event_memory: EVENT_MEMORY, ..base }).unwrap()
}

/// The process that is killed. It says which batch it begins with and each that was acknowledged.
#[test]
#[ignore = "run as a process of its own by the test below"]
fn writer() {
    let directory = std::env::var_os(DIRECTORY).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = open_store(Path::new(&directory));
    if std::env::var_os(COMPACT).is_some() {
        store.compact().unwrap();
    }
    let mut out = std::io::stdout().lock();
    runtime.block_on(async {
        let newest = raw(&store, "crash.s0").await.into_iter().map(|(_, value)| value as i64 / SERIES).max();
        for number in newest.map_or(0, |newest| newest + 1).. {
            store.append(whole(number)).await.unwrap();
            writeln!(out, "acknowledged {number}").unwrap();
        }
    });
}

/// Runs the writer, kills it, and tells the newest batch that it saw acknowledged.
fn run_and_kill(directory: &Path, after: Duration, compacts: bool) -> Option<i64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::writer", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory)
        .envs(compacts.then_some((COMPACT, "1")))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let lines = stdout.lines().map_while(Result::ok);
        lines.filter_map(|line| line.rsplit_once("acknowledged ")?.1.parse::<i64>().ok()).last()
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_is_half_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut newest_acknowledged = -1;
    for round in 0..times(ROUNDS, 20) {
        let after = Duration::from_millis(20 + RandomState::new().hash_one(round) % 400);
        newest_acknowledged = run_and_kill(directory.path(), after, round % 4 == 3).unwrap_or(newest_acknowledged);

        // A process that died while it made the directory leaves no store.
        if directory.path().join("MANIFEST").exists() {
            let (checked, findings) = check_all(directory.path());
            assert_eq!(checked.damaged, 0, "round {round}: {findings:#?}");
        }
        let store = open_store(directory.path());
        let stats = store.stats();
        assert_eq!((stats.corrupt_records, stats.orphan_points), (0, 0), "round {round}");
        let found = find_all(&store).await;
        // The batch that was open when the process died may be there as a whole.
        let counts = [newest_acknowledged + 1, newest_acknowledged + 2];
        let count = counts.into_iter().find(|count| found == expect(*count));
        assert!(count.is_some(), "round {round}: what is there is neither of {counts:?} batches");
        newest_acknowledged = count.unwrap() - 1;
        drop(store);
        let (_, mut findings) = check_all(directory.path());
        findings.retain(|finding| !finding.contains("was to take the place of"));
        assert_eq!(findings, [""; 0], "round {round}: opening the store leaves nothing over");
    }
    assert!(newest_acknowledged > 5, "the writer got somewhere: {newest_acknowledged}");
}
