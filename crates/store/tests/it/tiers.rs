//! What becomes of blocks as they grow old: rollups, merges, schemas that change, and what readers see meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use statline_series::{Consolidation, TimeRange, Values};
use statline_store::{EmbeddedConfig, EmbeddedStore, Fetch, Limits, Resolution, Schemas, Store};

use crate::support::*;

const MINUTE: i64 = 60_000;

fn open_with(directory: &Path, now: i64, schemas: Schemas) -> (EmbeddedStore, Arc<AtomicI64>) {
    let (config, hand) = config(directory, now);
    let config = EmbeddedConfig { schemas, grace: Duration::ZERO, background: false, ..config };
    (EmbeddedStore::open(config).unwrap(), hand)
}

/// A point each ten seconds, the value its number, of `a` and `b`.
async fn fill(store: &EmbeddedStore, from: i64, points: i64) {
    let rows = (0..points).flat_map(|number| ["a", "b"].map(|name| (name, from + number * 10_000, number as f64)));
    store.append(batch(rows)).await.unwrap();
}

/// Step and values of `a`, missing ones left out.
async fn regular(
    store: &EmbeddedStore,
    range: TimeRange,
    resolution: Resolution,
    method: Consolidation,
) -> (i64, Vec<f64>) {
    let asked =
        Fetch { selection: path("a"), range, resolution, consolidation: Some(method), limits: Limits::default() };
    let Some(answer) = store.fetch(&asked).await.unwrap().into_iter().next() else { return (0, Vec::new()) };
    let Values::Regular { step, values, .. } = answer.values else { panic!("not regular") };
    (step.millis(), values.into_iter().filter(|value| !value.is_nan()).collect())
}

async fn sum(store: &EmbeddedStore, range: TimeRange) -> f64 {
    let (_, values) = regular(store, range, Resolution::Step(step(HOUR)), Consolidation::Sum).await;
    values.iter().sum()
}

#[tokio::test]
async fn an_answer_is_as_coarse_as_its_oldest_instant_and_exact_in_any_consolidation() {
    let directory = tempfile::tempdir().unwrap();
    let (store, hand) = open_with(directory.path(), START + 2 * HOUR, schemas("10s:6h,1m:6d,10m:5y"));
    fill(&store, START, 720).await;
    let whole = range(START, START + 2 * HOUR);
    let before = sum(&store, whole).await;
    assert_eq!(before, f64::from(720 * 719 / 2));
    for (hours, width, first) in [(2, 10_000, [0.0, 0.0]), (9, MINUTE, [0.0, 5.0]), (24 * 7, 10 * MINUTE, [0.0, 59.0])]
    {
        hand.store(START + hours * HOUR, Ordering::SeqCst);
        store.cut_all().unwrap();
        store.maintain().unwrap();
        for (method, value) in
            [(Consolidation::Min, first[0]), (Consolidation::Max, first[1]), (Consolidation::Last, first[1])]
        {
            let (step, values) = regular(&store, whole, Resolution::Native, method).await;
            assert_eq!((step, values[0]), (width, value), "{method} after {hours} h");
            assert_eq!(values.len() as i64, 2 * HOUR / width);
        }
        assert_eq!(sum(&store, whole).await, before, "after {hours} h");
    }
    // Of a slot that is rolled up the last point is known, with its instant.
    let known = raw(&store, "a").await;
    assert_eq!((known.len(), known[0]), (12, (START + 590_000, 59.0)));
    let stats = store.stats();
    assert_eq!((stats.blocks, stats.block_points), (1, 24));
}

#[tokio::test]
async fn points_that_come_after_their_slot_was_rolled_up_join_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, hand) = open_with(directory.path(), START + 2 * HOUR, schemas("10s:2h,1m:6d"));
    store.append(batch([("a", START, 1.0), ("a", START + 20_000, 3.0)])).await.unwrap();
    hand.store(START + 5 * HOUR, Ordering::SeqCst);
    store.cut_all().unwrap();
    store.maintain().unwrap();
    let minute = range(START, START + MINUTE);
    let one = |method| regular(&store, minute, Resolution::Native, method);
    assert_eq!(one(Consolidation::Sum).await, (MINUTE, vec![4.0]));
    store.append(batch([("a", START + 10_000, 5.0)])).await.unwrap();
    for round in ["in the head", "in a block", "rolled up"] {
        assert_eq!(one(Consolidation::Sum).await, (MINUTE, vec![9.0]), "{round}");
        assert_eq!(one(Consolidation::Average).await, (MINUTE, vec![3.0]), "{round}");
        assert_eq!(one(Consolidation::Max).await, (MINUTE, vec![5.0]), "{round}");
        assert_eq!(one(Consolidation::Last).await, (MINUTE, vec![3.0]), "{round}: the last one is still the last");
        store.cut_all().unwrap();
        if round == "in a block" {
            store.maintain().unwrap();
        }
    }
    hand.store(START + 48 * HOUR, Ordering::SeqCst);
    store.maintain().unwrap();
    assert_eq!(store.stats().blocks, 1, "both became one");
    assert_eq!(one(Consolidation::Sum).await, (MINUTE, vec![9.0]));
    // What was written twice cannot be told from two points any more.
    store.append(batch([("a", START + 10_000, 5.0)])).await.unwrap();
    assert_eq!(one(Consolidation::Count).await, (MINUTE, vec![4.0]));
}

#[tokio::test]
async fn changed_schemas_hold_for_what_is_stored() {
    let directory = tempfile::tempdir().unwrap();
    let now = START + 30 * HOUR;
    let (store, _) = open_with(directory.path(), now, schemas("10s:10d"));
    fill(&store, START, 30 * 360).await;
    store.cut_all().unwrap();
    store.maintain().unwrap();
    let whole = range(START, now);
    let all = sum(&store, whole).await;
    drop(store);

    // Coarser: what there is is rolled up, and the sums stay.
    let (store, _) = open_with(directory.path(), now, schemas("10s:6h,1m:10d"));
    assert_eq!(sum(&store, whole).await, all);
    store.maintain().unwrap();
    assert_eq!(sum(&store, whole).await, all);
    assert_eq!(regular(&store, whole, Resolution::Native, Consolidation::Count).await.1[0], 6.0);
    let rolled = store.stats().rolled_blocks;
    assert!(rolled > 0);
    drop(store);

    // Finer again: what is rolled up stays so.
    let (store, _) = open_with(directory.path(), now, schemas("10s:10d,1m:20d"));
    store.maintain().unwrap();
    assert_eq!(store.stats().rolled_blocks, 0);
    assert_eq!(sum(&store, whole).await, all);
    let (width, values) = regular(&store, range(START, START + HOUR), Resolution::Native, Consolidation::Sum).await;
    assert_eq!((width, values.len()), (10_000, 60), "a value a minute on a grid of ten seconds");
    drop(store);

    // Of two policies each series has its own.
    let file = "[a]\npattern = ^a$\nretentions = 10s:6h,10m:10d\n";
    let two = schemas("10s:10d").with_schemas(file).unwrap();
    let (store, _) = open_with(directory.path(), now, two.clone());
    store.maintain().unwrap();
    assert_eq!(sum(&store, whole).await, all);
    let blocks = store.stats().blocks;
    drop(store);
    let (store, _) = open_with(directory.path(), now, two);
    store.maintain().unwrap();
    assert_eq!((store.stats().blocks, store.stats().rolled_blocks), (blocks, 0), "nothing is left to do");
    drop(store);

    // Kept for a shorter time: the rest goes, from the disk as well.
    let (store, hand) = open_with(directory.path(), now, schemas("10s:2h"));
    assert_eq!(sum(&store, range(START, now - 3 * HOUR)).await, 0.0);
    store.maintain().unwrap();
    assert!(store.stats().expired_blocks > 0);
    assert!(sum(&store, whole).await > 0.0);
    hand.store(now + 24 * HOUR, Ordering::SeqCst);
    store.maintain().unwrap();
    assert_eq!(store.stats().blocks, 0);
}

/// The bytes of all files below a directory.
fn size_of(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { size_of(&path) } else { path.metadata().unwrap().len() }).sum()
}

#[tokio::test]
async fn what_is_kept_no_longer_frees_the_disk_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (store, hand) = open_with(directory.path(), START + 2 * HOUR, schemas("10s:6h"));
    for series in 0..200 {
        let name = format!("s{series}");
        let values =
            (0..720).map(|number| (name.as_str(), START + number * 10_000, (number as f64 + f64::from(series)).sin()));
        store.append(batch(values)).await.unwrap();
    }
    store.cut_all().unwrap();
    let full = size_of(&directory.path().join("blocks"));
    hand.store(START + 9 * HOUR, Ordering::SeqCst);
    store.maintain().unwrap();
    assert_eq!((store.stats().blocks, store.stats().series), (0, 0));
    let left = size_of(&directory.path().join("blocks"));
    assert!(left + 1_000_000 < full, "{left} of {full} bytes are left");
}

#[tokio::test]
async fn a_block_that_cannot_tell_what_it_holds_stays_as_it_is_while_others_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = open_with(directory.path(), START + 4 * HOUR, schemas("10s:10d"));
    for hours in [0, 2] {
        fill(&store, START + hours * HOUR, 720).await;
        store.cut_all().unwrap();
    }
    drop(store);
    let damaged = directory.path().join("blocks/0000000000000000.block");
    let mut bytes = std::fs::read(&damaged).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&damaged, &bytes).unwrap();

    // It is filed anew, it comes of age, and it could be merged with the other one.
    let (store, hand) = open_with(directory.path(), START + 4 * HOUR, schemas("10s:6h,1m:10d"));
    for hours in [4, 12, 100] {
        hand.store(START + hours * HOUR, Ordering::SeqCst);
        store.maintain().unwrap();
        assert_eq!(std::fs::read(&damaged).unwrap(), bytes, "after {hours} h");
        let asked = request(path("a"), range(START, START + 4 * HOUR), Resolution::Native);
        assert!(store.fetch(&asked).await.unwrap_err().to_string().contains("damaged"), "after {hours} h");
        let (width, values) =
            regular(&store, range(START + 2 * HOUR, START + 4 * HOUR), Resolution::Native, Consolidation::Count).await;
        assert_eq!(values.len() as i64, 2 * HOUR / width, "after {hours} h");
    }
    assert_eq!(store.stats().rolled_blocks, 1);
    assert!(store.stats().corrupt_chunks > 0);
    hand.store(START + 11 * 24 * HOUR, Ordering::SeqCst);
    store.maintain().unwrap();
    assert!(!damaged.exists(), "it is kept no longer than others");
}

#[tokio::test]
async fn blocks_become_long_ones() {
    let directory = tempfile::tempdir().unwrap();
    let (store, hand) = open_with(directory.path(), START, schemas("10s:30d"));
    for hour in 0..100 {
        hand.store(START + (hour + 1) * HOUR, Ordering::SeqCst);
        fill(&store, START + hour * HOUR, 360).await;
        store.cut_all().unwrap();
        store.maintain().unwrap();
        // Days that are over, and at most a dozen of the one that is not.
        assert!(store.stats().blocks <= 5 + 12, "{} after {hour} h", store.stats().blocks);
    }
    let stats = store.stats();
    assert_eq!(stats.block_points, 2 * 360 * 100);
    assert!(stats.merged_blocks > 0);
    assert_eq!(sum(&store, range(START, START + 100 * HOUR)).await, 100.0 * f64::from(360 * 359 / 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_each_point_once_whatever_happens_to_its_block() {
    let directory = fast_directory();
    let retentions = ["10s:2h,1m:10h,10m:5d", "10s:4h,2m:5d", "10s:1h,10m:5d"];
    let (first_store, mut hand) = open_with(directory.path(), START + HOUR, schemas(retentions[0]));
    let mut store = Arc::new(first_store);
    for series in 0..40 {
        let name = format!("a.s{series}");
        let values = (0..360).map(|number| (name.as_str(), START + number * 10_000, 1.0));
        store.append(batch(values)).await.unwrap();
    }
    for retentions in retentions {
        let done = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = [HOUR, 20 * MINUTE]
            .map(|width| {
                let (store, done) = (Arc::clone(&store), Arc::clone(&done));
                tokio::spawn(async move {
                    let mut reads = 0;
                    while !done.load(Ordering::SeqCst) {
                        let asked = Fetch {
                            selection: path("a.*"),
                            range: range(START, START + HOUR),
                            resolution: Resolution::Step(step(width)),
                            consolidation: Some(Consolidation::Sum),
                            limits: Limits::default(),
                        };
                        let answer = store.fetch(&asked).await.unwrap();
                        assert_eq!(answer.len(), 40);
                        for fetched in answer {
                            let total: f64 = fetched.values.points().map(|point| point.value).sum();
                            assert_eq!(total, 360.0, "{} by {width} ms", fetched.key);
                        }
                        reads += 1;
                    }
                    reads
                })
            })
            .into();
        for quarter in 0..60 {
            let now = hand.fetch_add(15 * MINUTE, Ordering::SeqCst) + 15 * MINUTE;
            // Others keep coming, some of them late.
            let late = now - (quarter % 7) * HOUR;
            store.append(batch([("b.x", now, 1.0), ("b.y", late, 1.0)])).await.unwrap();
            let working = Arc::clone(&store);
            tokio::task::spawn_blocking(move || {
                if quarter % 3 == 0 {
                    working.cut_all().unwrap();
                }
                working.maintain().unwrap();
            })
            .await
            .unwrap();
        }
        done.store(true, Ordering::SeqCst);
        for reader in readers {
            assert!(reader.await.unwrap() > 5);
        }
        assert!(store.stats().rolled_blocks > 0);
        let now = hand.load(Ordering::SeqCst);
        drop(store);
        let (reopened, its_hand) = open_with(directory.path(), now, schemas(retentions));
        (store, hand) = (Arc::new(reopened), its_hand);
    }
}
