//! The catalogue written anew without the series that are gone, through kills at any step of it.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use statline_series::TimeRange;
use statline_store::{EmbeddedStore, Store};

use crate::support::*;

const NOW: i64 = START + 5 * HOUR;
const DIRECTORY: &str = "STATLINE_TEST_COMPACTION_DIRECTORY";
/// How often the process is killed; 10 times without it.
const ROUNDS: &str = "STATLINE_TEST_COMPACTION_KILLS";

/// A name such as no codec makes small.
fn name(series: u64) -> String {
    format!("k.{}", noise(series + 1, 60).replace(['.', ';', '*', '?', '[', '{', '~'], "x"))
}

/// A closed store of many series, of which all but each tenth are gone. Their points are in a block and in a log.
async fn make_store(directory: &Path, series: u64) {
    let store = open(directory, NOW);
    let names: Vec<String> = (0..series).map(name).collect();
    store.append(batch(names.iter().map(|name| (name.as_str(), START, 1.0)))).await.unwrap();
    store.cut_all().unwrap();
    store.append(batch(names.iter().map(|name| (name.as_str(), START + 3 * HOUR, 2.0)))).await.unwrap();
    let gone = (0..series).filter(|series| series % 10 != 0).map(|series| key(&name(series)));
    store.delete(&statline_store::Selection::Keys(gone.collect())).await.unwrap();
    store.close().await.unwrap();
}

async fn assert_whole(directory: &Path, series: u64, when: &str) {
    let (checked, findings) = check_all(directory);
    assert_eq!(checked.damaged, 0, "{when}: {findings:#?}");
    let store = open(directory, NOW);
    let found = fetch_raw(&store, "k.*", TimeRange::ALL).await.unwrap();
    assert_eq!(found.len() as u64, series / 10, "{when}");
    assert!(found.iter().all(|fetched| fetched.values.values() == [1.0, 2.0]), "{when}");
    assert_eq!((store.stats().corrupt_records, store.stats().orphan_points), (0, 0), "{when}");
}

fn length(directory: &Path) -> u64 {
    fs::metadata(directory.join("catalogue")).unwrap().len()
}

#[tokio::test]
async fn a_process_killed_at_any_step_leaves_the_old_file_or_the_new_one() {
    const SERIES: u64 = 200;
    let original = fast_directory();
    make_store(original.path(), SERIES).await;
    let compacted = fast_directory();
    copy(original.path(), compacted.path());
    let store = open(compacted.path(), NOW);
    let sizes = store.compact().unwrap();
    drop(store);
    assert!(sizes.catalogue_after < sizes.catalogue_before / 3, "{sizes:?}");
    assert_eq!(length(compacted.path()), sizes.catalogue_after);
    assert_whole(compacted.path(), SERIES, "compacted").await;

    let new = fs::read(compacted.path().join("catalogue")).unwrap();
    for written in (0..=new.len()).step_by(new.len() / 7) {
        let killed = fast_directory();
        copy(original.path(), killed.path());
        fs::write(killed.path().join("catalogue.new"), &new[..written]).unwrap();
        assert_whole(killed.path(), SERIES, &format!("{written} bytes written")).await;
        // The next try is not disturbed.
        let store = open(killed.path(), NOW);
        store.compact().unwrap();
        drop(store);
        assert_eq!(length(killed.path()), sizes.catalogue_after);
        assert_whole(killed.path(), SERIES, &format!("{written} bytes written, tried again")).await;
    }
    // The new one in place, and nothing else of what compacting does.
    let killed = fast_directory();
    copy(original.path(), killed.path());
    fs::write(killed.path().join("catalogue"), new).unwrap();
    assert_whole(killed.path(), SERIES, "the new one in place").await;
}

#[tokio::test]
async fn a_number_that_is_gone_is_not_given_again() {
    let directory = fast_directory();
    make_store(directory.path(), 50).await;
    let store = open(directory.path(), NOW);
    store.compact().unwrap();
    store.delete(&path("k.*")).await.unwrap();
    store.compact().unwrap();
    drop(store);
    let store = open(directory.path(), NOW);
    // Were its number an old one, it would have points in the old blocks.
    store.append(batch([("new", START + HOUR, 5.0)])).await.unwrap();
    store.cut_all().unwrap();
    assert_eq!(raw(&store, "new").await, [(START + HOUR, 5.0)]);
    drop(store);
    assert_eq!(check_all(directory.path()).1, [""; 0]);
}

#[tokio::test]
async fn a_long_catalogue_of_which_most_is_gone_is_written_anew_at_open() {
    const SERIES: u64 = 20_000;
    let directory = fast_directory();
    make_store(directory.path(), SERIES).await;
    let before = length(directory.path());
    assert!(before > 1 << 20, "{before}");
    drop(open(directory.path(), NOW));
    let after = length(directory.path());
    assert!(after < before / 4, "{after} of {before} bytes");
    assert_whole(directory.path(), SERIES, "opened").await;
}

/// The process that is killed.
#[test]
#[ignore = "run as a process of its own by the test below"]
fn compactor() {
    let directory = std::env::var_os(DIRECTORY).unwrap();
    let store = open(Path::new(&directory), NOW);
    loop {
        store.compact().unwrap();
    }
}

#[tokio::test]
async fn kills_at_random_moments_lose_no_series() {
    const SERIES: u64 = 2000;
    let original = fast_directory();
    make_store(original.path(), SERIES).await;
    for round in 0..times(ROUNDS, 10) {
        let directory = tempfile::tempdir().unwrap();
        copy(original.path(), directory.path());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "compaction::compactor", "--ignored", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(10 + RandomState::new().hash_one(round) % 150));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_whole(directory.path(), SERIES, &format!("round {round}")).await;
    }
    drop(EmbeddedStore::open_at_rest(original.path()).unwrap());
}
