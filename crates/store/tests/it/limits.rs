//! Memory, disks, and directories that are not as they should be.

use std::fs;
use std::process::Command;
use std::time::Duration;

use statline_series::TimeRange;
use statline_store::{EmbeddedConfig, EmbeddedStore, Store, StoreError};

use crate::support::*;

#[tokio::test]
async fn a_backfill_larger_than_memory_is_cut_as_it_comes() {
    const LIMIT: u64 = 1 << 20;
    let directory = tempfile::tempdir().unwrap();
    let now = START + 24 * HOUR;
    let (base, _) = config(directory.path(), now);
    let store = EmbeddedStore::open(EmbeddedConfig { head_memory: LIMIT, ..base }).unwrap();
    let names: Vec<String> = (0..100).map(|series| format!("fill.s{series:02}")).collect();
    let mut largest = 0;
    for ticks in (0..24 * 360_i64).collect::<Vec<_>>().chunks(60) {
        let rows = ticks
            .iter()
            .flat_map(|tick| names.iter().map(move |name| (name.as_str(), START + tick * 10_000, (tick % 97) as f64)));
        store.append(batch(rows)).await.unwrap();
        largest = largest.max(store.stats().head_bytes);
    }
    assert!(store.stats().cuts > 5);
    // One batch may be on top of the limit at which appends wait.
    assert!(largest < 2 * LIMIT + (1 << 19), "{largest} bytes in memory at most");
    for fetched in fetch_raw(&store, "fill.*", TimeRange::ALL).await.unwrap() {
        let points = points_of(&fetched);
        assert_eq!(points.len(), 24 * 360);
        assert!(
            (0..).zip(&points).all(|(tick, point)| *point == (START + tick * 10_000, ((tick % 97) as f64).to_bits()))
        );
    }
}

#[tokio::test]
async fn a_directory_has_one_owner() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START);
    let refusal = EmbeddedStore::open(EmbeddedConfig::at(directory.path())).unwrap_err();
    assert!(matches!(refusal, StoreError::Locked { pid: Some(pid), .. } if pid == std::process::id()), "{refusal}");
    store.close().await.unwrap();
    open(directory.path(), START);
}

#[tokio::test]
async fn a_directory_of_a_newer_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path(), START));
    let path = directory.path().join("MANIFEST");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 200;
    fs::write(&path, bytes).unwrap();
    let refusal = EmbeddedStore::open(EmbeddedConfig::at(directory.path())).unwrap_err();
    assert!(matches!(refusal, StoreError::TooNew { found: 200, known: 3, .. }), "{refusal}");
}

/// A file system of its own, small enough to fill.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where this process may not mount.
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(directory.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_appends_keeps_reads_and_is_over_when_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: a full disk needs the right to mount one");
        return;
    };
    let directory = disk.0.path().join("store");
    let store = open(&directory, START + 4 * HOUR);
    store.append(batch([("full.a", START, 1.0), ("full.a", START + 2 * HOUR, 1.0)])).await.unwrap();
    let ballast = disk.0.path().join("ballast");
    let _ = fs::write(&ballast, vec![0; 8 << 20]);

    let mut acknowledged = vec![(START, 1.0), (START + 2 * HOUR, 1.0)];
    let (mut kept_events, mut kept_sketches) = (Vec::new(), Vec::new());
    let mut refusals = 0;
    for tick in 1..400_i64 {
        // Large enough that the room left in the last page of a file is soon used up.
        let rows: Vec<(String, i64, f64)> = (0..60)
            .map(|row| {
                (
                    "full.a".to_owned(),
                    START + (row % 2) * 2 * HOUR + tick * 1000 + row,
                    ((tick * 61 + row) as f64).sin(),
                )
            })
            .collect();
        let mut both = batch(rows.iter().map(|(name, time, value)| (name.as_str(), *time, *value)));
        both.push_sketch(key("full.t"), ms(START + tick), sketch(&[tick as f64]));
        both.events.push(event(START + tick, &noise(tick.unsigned_abs(), 500), ""));
        match store.append(both).await {
            Ok(_) => {
                acknowledged.extend(rows.into_iter().map(|(_, time, value)| (time, value)));
                kept_events.push(noise(tick.unsigned_abs(), 500));
                kept_sketches.push((START + tick, tick as f64));
            }
            Err(StoreError::DiskFull { .. }) => refusals += 1,
            Err(other) => panic!("{other}"),
        }
        if refusals > 5 {
            break;
        }
    }
    assert!(refusals > 5, "the disk was never full");
    assert!(matches!(store.append(batch([("full.new", START, 1.0)])).await, Err(StoreError::DiskFull { .. }) | Ok(_)));
    acknowledged.sort_by_key(|(time, _)| *time);
    assert_eq!(raw(&store, "full.a").await, acknowledged, "reads go on, and see what was acknowledged");
    assert!(store.cut_all().is_err());
    assert_eq!(raw(&store, "full.a").await, acknowledged, "a cut that failed loses nothing");

    fs::remove_file(&ballast).unwrap();
    store.append(batch([("full.a", START + HOUR, 2.0)])).await.unwrap();
    acknowledged.push((START + HOUR, 2.0));
    acknowledged.sort_by_key(|(time, _)| *time);
    assert_eq!(raw(&store, "full.a").await, acknowledged);
    drop(store);
    let store = open(&directory, START + 4 * HOUR);
    assert_eq!(raw(&store, "full.a").await, acknowledged, "what was refused is not in the log");
    assert_eq!(titles(&store).await, kept_events);
    assert_eq!(maxima(&store, "full.t").await, kept_sketches);
    store.cut_all().unwrap();
    assert_eq!(raw(&store, "full.a").await, acknowledged);
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_cut() {
    let directory = tempfile::tempdir().unwrap();
    let (base, _) = config(directory.path(), START + 24 * HOUR);
    let store = EmbeddedStore::open(EmbeddedConfig { grace: Duration::ZERO, ..base }).unwrap();
    let names: Vec<String> = (0..3000).map(|series| format!("stop.s{series:04}")).collect();
    for tick in 0..20 {
        let rows = names.iter().map(|name| (name.as_str(), START + tick * 10_000, (tick as f64).ln()));
        store.append(batch(rows)).await.unwrap();
    }
    let started = std::time::Instant::now();
    store.close().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let store = open(directory.path(), START + 24 * HOUR);
    assert_eq!(fetch_raw(&store, "stop.*", TimeRange::ALL).await.unwrap().len(), 3000);
}
