//! The check: it names what is damaged, and nothing else.

use std::fs;
use std::path::Path;

use statline_series::Kind;
use statline_store::{EmbeddedStore, Severity, Store, StoreError, check};

use crate::support::*;

const NOW: i64 = START + 5 * HOUR;
/// A value that no other bytes of the store are like.
const MARK: f64 = 1_234.567_890_123;

/// A closed store: a block with points and sketches, a log of two records, events, and a series that is gone.
async fn make_store(directory: &Path) {
    let store = open(directory, NOW);
    let mut first = batch([("c.gone", START, 1.0), ("c.kept", START, MARK)]);
    first.push(key("c.tagged;host=a"), Kind::Gauge, ms(START), 4.0);
    first.push_sketch(key("c.timer"), ms(START), sketch(&[1.0, 2.0]));
    first.events.push(event(START, "begun", "x"));
    store.append(first).await.unwrap();
    store.cut_all().unwrap();
    store.delete(&path("c.gone")).await.unwrap();
    for tick in 1..3 {
        store.append(batch([("c.kept", START + tick * 10_000, 2.0), ("c.late", START + 2 * HOUR, 2.0)])).await.unwrap();
    }
    store.append(events([event(START + 1, "ended", "")])).await.unwrap();
    store.close().await.unwrap();
}

fn flip(path: &Path, byte: usize) {
    let mut bytes = fs::read(path).unwrap();
    let last = bytes.len() - 1;
    bytes[byte.min(last)] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_store_that_was_closed_is_whole() {
    let directory = fast_directory();
    make_store(directory.path()).await;
    let (checked, findings) = check_all(directory.path());
    assert_eq!(findings, [""; 0]);
    let figures = [checked.series, checked.blocks, checked.chunks, checked.points, checked.sketches, checked.events];
    assert_eq!(figures, [4, 1, 4, 3 + 4, 1, 2]);
    assert_eq!(checked.logs, 2);
}

#[tokio::test]
async fn damage_is_named_by_file_place_and_series() {
    let made = fast_directory();
    make_store(made.path()).await;
    let log = "log/0000000000000001.log";
    for (file, byte, expected) in [
        ("MANIFEST", 30, "damaged: MANIFEST: its checksum does not match"),
        ("SEEN", 30, "damaged: SEEN: its checksum does not match"),
        ("catalogue", 0, "damaged: catalogue at byte 0: its header fails its checks"),
        ("catalogue", 50, "damaged: catalogue at byte 12: a record fails its checks"),
        ("events", 50, "damaged: events at byte 12: a record fails its checks"),
        (log, 0, "damaged: log/0000000000000001.log at byte 0: its header fails its checks"),
        (log, 70, "damaged: log/0000000000000001.log at byte 24: a record fails its checks"),
        (log, usize::MAX, "damaged: log/0000000000000001.log at byte 76: its last record fails its checks"),
        ("events", usize::MAX, "damaged: events at byte 74: its last record fails its checks"),
    ] {
        let directory = fast_directory();
        copy(made.path(), directory.path());
        flip(&directory.path().join(file), byte);
        let (_, findings) = check_all(directory.path());
        assert!(findings.contains(&expected.to_owned()), "{file} {byte}: {findings:#?}");
    }
}

#[tokio::test]
async fn a_damaged_chunk_is_named_by_block_and_series() {
    let directory = fast_directory();
    make_store(directory.path()).await;
    let mut files = Vec::new();
    files_below(&directory.path().join("blocks"), &mut files);
    let value = MARK.to_le_bytes();
    let mut flipped = 0;
    for table in &files {
        let bytes = fs::read(table).unwrap();
        if let Some(place) = bytes.windows(8).position(|window| window == value) {
            flip(table, place);
            flipped += 1;
        }
    }
    let (checked, findings) = check_all(directory.path());
    assert!(flipped == 1 && checked.damaged > 0, "{flipped} {findings:#?}");
    let named = |finding: &String| finding.starts_with("damaged: blocks/0000000000000000.block, series c.kept: ");
    assert!(findings.iter().any(named), "{findings:#?}");
}

#[tokio::test]
async fn a_block_that_cannot_be_opened_is_named_and_the_others_are_read() {
    let directory = fast_directory();
    let store = open(directory.path(), NOW);
    for block in 0..3 {
        store.append(batch([("c.a", START + block * 2 * HOUR, MARK + block as f64)])).await.unwrap();
        store.cut_all().unwrap();
    }
    store.close().await.unwrap();
    let block = directory.path().join("blocks/0000000000000001.block");
    let length = fs::metadata(&block).unwrap().len();
    fs::OpenOptions::new().write(true).open(&block).unwrap().set_len(length - 10).unwrap();

    let (checked, findings) = check_all(directory.path());
    assert_eq!((checked.blocks, checked.points, checked.damaged), (3, 2, 1), "{findings:#?}");
    assert!(findings[0].starts_with("damaged: blocks/0000000000000001.block: "), "{findings:#?}");

    fs::remove_file(&block).unwrap();
    let missing = "damaged: blocks/0000000000000001.block: the manifest names the block, and it is not there";
    assert_eq!(check_all(directory.path()).1, [missing]);
    assert!(EmbeddedStore::open(config(directory.path(), NOW).0).is_err());
}

#[tokio::test]
async fn a_lost_file_is_missed() {
    let made = fast_directory();
    make_store(made.path()).await;
    for (lost, expected) in [
        ("MANIFEST", "damaged: MANIFEST: it is missing"),
        ("catalogue", "damaged: catalogue: it is missing"),
        ("blocks", "damaged: blocks: it is missing, and the manifest names 1 blocks"),
        ("SEEN", "left over: SEEN: it is missing, and will be made again from the blocks"),
    ] {
        let directory = fast_directory();
        copy(made.path(), directory.path());
        let path = directory.path().join(lost);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
        let (_, findings) = check_all(directory.path());
        assert!(findings.contains(&expected.to_owned()), "{lost}: {findings:#?}");
    }
}

#[tokio::test]
async fn what_a_killed_process_leaves_is_no_damage() {
    let directory = fast_directory();
    make_store(directory.path()).await;
    let log = directory.path().join("log/0000000000000002.log");
    let length = fs::metadata(&log).unwrap().len();
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length - 3).unwrap();
    fs::write(directory.path().join("MANIFEST.new"), b"STATMANI").unwrap();
    fs::write(directory.path().join("notes"), b"").unwrap();
    let (checked, findings) = check_all(directory.path());
    assert_eq!(checked.damaged, 1, "{findings:#?}");
    for expected in [
        "left over: MANIFEST.new: it was to take the place of MANIFEST when the process ended",
        "left over: notes: it is no file of a store",
        "left over: log/0000000000000002.log at byte 74: it ends in the middle of a record",
        // Events came after it, so that it was acknowledged.
        "damaged: log: 1 of the 2 records of batch 3 are there",
    ] {
        assert!(findings.contains(&expected.to_owned()), "{expected}: {findings:#?}");
    }
}

#[tokio::test]
async fn a_store_that_is_open_or_none_is_refused_in_one_line() {
    let directory = fast_directory();
    let mut unexpected = |finding: &statline_store::Finding| {
        assert_eq!(finding.severity, Severity::Leftover, "{finding}");
    };
    let refusal = check(directory.path(), &mut unexpected).unwrap_err();
    assert_eq!(refusal.to_string(), format!("{} is no store: it has no MANIFEST", directory.path().display()));
    assert!(!directory.path().join("LOCK").exists());
    let store = open(directory.path(), NOW);
    let refusal = check(directory.path(), &mut unexpected).unwrap_err();
    assert!(matches!(refusal, StoreError::Locked { pid: Some(_), .. }), "{refusal}");
    store.close().await.unwrap();
    check(directory.path(), &mut unexpected).unwrap();
}
