//! Backups: what a store held at one moment, whatever happens to it meanwhile.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use statline_series::TimeRange;
use statline_store::{EmbeddedStore, Store, StoreError, restore};

use crate::crash::{expect, find_all, open_store, whole};
use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_load_holds_all_batches_up_to_one_moment_and_none_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let backups = tempfile::tempdir().unwrap();
    let store = Arc::new(open_store(directory.path()));
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicI64::new(0)));
    let appending = tokio::spawn({
        let (store, stop, acknowledged) = (Arc::clone(&store), Arc::clone(&stop), Arc::clone(&acknowledged));
        async move {
            for number in 0.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                store.append(whole(number)).await.unwrap();
                acknowledged.store(number + 1, Ordering::SeqCst);
            }
        }
    });
    for round in 0..6 {
        while acknowledged.load(Ordering::SeqCst) < (round + 1) * 30 {
            tokio::task::yield_now().await;
        }
        let backup = backups.path().join(format!("backup{round}"));
        let least = acknowledged.load(Ordering::SeqCst);
        let made = store.backup(&backup).await.unwrap();
        let most = acknowledged.load(Ordering::SeqCst) + 1;
        assert_eq!(made.damaged_chunks, 0);

        let restored = backups.path().join(format!("restored{round}"));
        let mut findings = Vec::new();
        restore(&backup, &restored, &mut |finding| findings.push(finding.to_string())).unwrap();
        assert_eq!(findings, [""; 0], "round {round}");
        let copy = open_store(&restored);
        let found = find_all(&copy).await;
        let count = (least..=most).find(|count| found == expect(*count));
        assert!(count.is_some(), "round {round}: not what the store held after any of batches {least} to {most}");
        // It goes on like any other.
        copy.append(whole(count.unwrap())).await.unwrap();
        assert_eq!(find_all(&copy).await, expect(count.unwrap() + 1), "round {round}");
    }
    stop.store(true, Ordering::SeqCst);
    appending.await.unwrap();
    assert!(store.stats().cuts > 3, "blocks came and went meanwhile: {}", store.stats().cuts);
    assert_eq!(find_all(&store).await, expect(acknowledged.load(Ordering::SeqCst)));
}

#[tokio::test]
async fn a_backup_answers_as_the_store_does() {
    let directory = fast_directory();
    let store = open(directory.path(), START + 5 * HOUR);
    for hour in 0..4 {
        let points = (0..100).map(|tick| ("b.a", START + hour * HOUR + tick * 10_000, (tick as f64).sin()));
        store.append(batch(points)).await.unwrap();
        store.append(sketches([("b.t", START + hour * HOUR, 3.0)])).await.unwrap();
        store.append(events([event(START + hour, "hour", "b")])).await.unwrap();
        store.append(batch([("b.gone", START + hour * HOUR, 1.0)])).await.unwrap();
        if hour < 3 {
            store.cut_all().unwrap();
        }
    }
    store.delete(&path("b.gone")).await.unwrap();
    let target = directory.path().with_extension("backup");
    let made = store.backup(&target).await.unwrap();
    assert_eq!((made.series, made.blocks, made.points, made.sketches), (2, 3, 300, 3));
    assert_eq!(made.logs, store.stats().log_files);
    let (checked, findings) = check_all(&target);
    assert_eq!((findings, checked.points), (Vec::<String>::new(), 300 + 101));
    let copy = open(&target, START + 5 * HOUR);
    for pattern in ["b.*", "*"] {
        let both = (
            fetch_raw(&copy, pattern, TimeRange::ALL).await.unwrap(),
            fetch_raw(&store, pattern, TimeRange::ALL).await.unwrap(),
        );
        assert_eq!(both.0, both.1);
    }
    assert_eq!(maxima(&copy, "b.t").await, maxima(&store, "b.t").await);
    assert_eq!(titles(&copy).await, titles(&store).await);
    assert_eq!(copy.stats().orphan_points, 0);
    drop(copy);
    fs::remove_dir_all(target).unwrap();
}

#[tokio::test]
async fn nothing_is_overwritten_and_what_fails_leaves_nothing() {
    let directory = fast_directory();
    let (own, occupied, free) =
        (directory.path().join("store"), directory.path().join("occupied"), directory.path().join("free"));
    let store = open(&own, START);
    store.append(batch([("b.a", START, 1.0)])).await.unwrap();
    fs::create_dir(&occupied).unwrap();
    fs::write(occupied.join("file"), b"").unwrap();
    let refusal = store.backup(&occupied).await.unwrap_err();
    assert!(matches!(&refusal, StoreError::Occupied { path } if *path == occupied), "{refusal}");
    let refusal = store.backup(&own.join("inside")).await.unwrap_err();
    assert!(refusal.to_string().contains("is inside of the store's own directory"), "{refusal}");
    assert!(store.backup(&directory.path().join("absent/backup")).await.is_err());

    fs::create_dir(directory.path().join("free.partial")).unwrap();
    let refusal = store.backup(&free).await.unwrap_err();
    assert!(refusal.to_string().contains("free.partial is there already"), "{refusal}");
    fs::remove_dir(directory.path().join("free.partial")).unwrap();
    fs::create_dir(&free).unwrap();
    store.backup(&free).await.unwrap();

    let mut found = |finding: &statline_store::Finding| panic!("{finding}");
    assert!(matches!(restore(&free, &occupied, &mut found), Err(StoreError::Occupied { .. })));
    assert!(matches!(restore(&occupied, &directory.path().join("r"), &mut found), Err(StoreError::NoStore { .. })));
    assert!(matches!(restore(&own, &directory.path().join("r"), &mut found), Err(StoreError::Locked { .. })));
    let names = ["free", "occupied", "store"].map(|name| directory.path().join(name));
    let mut left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    left.sort();
    assert_eq!(left, names);
}

#[tokio::test]
async fn a_restore_of_a_damaged_backup_tells_so() {
    let directory = fast_directory();
    let (own, backup) = (directory.path().join("store"), directory.path().join("backup"));
    let store = open(&own, START);
    store.append(batch([("b.a", START, 1.0)])).await.unwrap();
    store.cut_all().unwrap();
    store.backup(&backup).await.unwrap();
    let mut bytes = fs::read(backup.join("SEEN")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(backup.join("SEEN"), bytes).unwrap();
    let mut findings = Vec::new();
    let restored = restore(&backup, &directory.path().join("r"), &mut |finding| findings.push(finding.to_string()));
    assert_eq!(restored.unwrap().damaged, 1);
    assert_eq!(findings, ["damaged: SEEN: its checksum does not match"]);
}

#[tokio::test]
async fn a_damaged_chunk_is_left_out_of_a_backup_and_counted() {
    let directory = fast_directory();
    let (own, backup) = (directory.path().join("store"), directory.path().join("backup"));
    let store = open(&own, START + HOUR);
    for series in 0..40 {
        let name = format!("c.s{series:02}");
        let points = (0..200).map(|tick| (name.as_str(), START + tick * 10_000, (tick as f64 * 1.37).sin()));
        store.append(batch(points)).await.unwrap();
    }
    store.cut_all().unwrap();
    store.close().await.unwrap();
    let mut files = Vec::new();
    files_below(&own.join("blocks"), &mut files);
    let table = files.iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    let mut bytes = fs::read(table).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 0x10;
    fs::write(table, bytes).unwrap();

    let store = EmbeddedStore::open_at_rest(&own).unwrap();
    let made = store.backup(&backup).await.unwrap();
    assert!((1..20).contains(&made.damaged_chunks), "{made:?}");
    assert_eq!(made.points, 200 * (40 - made.damaged_chunks));
    assert_eq!(check_all(&backup).1, [""; 0]);
}
