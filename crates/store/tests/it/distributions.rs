//! Sketches and events: kept as durably as points, and out of their way.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use statline_series::{Anchor, Sketch};
use statline_series::{Event, MatchOp, Matcher, PathPattern, TimeRange};
use statline_store::{EmbeddedConfig, EmbeddedStore, Limits, Refused, Selection, Store, StoreError};

use crate::behaviour::wait_until;
use crate::support::*;

const TIMER: &str = "stats.timers.bot.help";

#[tokio::test]
async fn a_sketch_is_no_leaf_and_no_point_of_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START);
    let mut both = sketches([(TIMER, START, 1.0), ("stats.timers.alone.deep", START, 2.0), ("t;a=1", START, 3.0)]);
    let name = format!("{TIMER}.mean");
    both.rows = batch([(name.as_str(), START, 5.0)]).rows;
    store.append(both).await.unwrap();
    let all = TimeRange::ALL;
    for cut in [false, true] {
        if cut {
            store.cut_all().unwrap();
        }
        let nodes = store.find(&PathPattern::parse("stats.timers.*").unwrap(), all).await.unwrap();
        assert_eq!(
            nodes.iter().map(|node| (node.path.as_str(), node.is_leaf)).collect::<Vec<_>>(),
            [("stats.timers.bot", false)]
        );
        let nodes = store.find(&PathPattern::parse("stats.timers.bot.*").unwrap(), all).await.unwrap();
        assert_eq!(nodes.iter().map(|node| (node.is_leaf, node.has_children)).collect::<Vec<_>>(), [(false, true)]);
        let everything = Selection::Matchers(Vec::new());
        let keys = |found: Vec<statline_store::SeriesInfo>| {
            found.into_iter().map(|info| info.key.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(keys(store.select(&everything, all).await.unwrap()), [name.as_str()]);
        assert_eq!(raw(&store, TIMER).await, []);
        assert_eq!(raw(&store, "t;a=1").await, []);
        assert_eq!(store.tags("", &[], all, 9).await.unwrap(), ["name"]);
        assert_eq!(store.tag_values("name", "", &[], all, 9).await.unwrap(), [name.as_str()]);

        let named = Matcher::new("name", MatchOp::Regex, "stats.*", Anchor::Both).unwrap();
        assert_eq!(
            keys(store.select_sketches(&Selection::Matchers(vec![named]), all).await.unwrap()),
            ["stats.timers.alone.deep", TIMER]
        );
        assert_eq!(keys(store.select_sketches(&path("t;a=1"), all).await.unwrap()), ["t;a=1"]);
        assert_eq!(keys(store.select_sketches(&path(&name), all).await.unwrap()), Vec::<String>::new());
        assert_eq!(maxima(&store, TIMER).await, [(START, 1.0)]);
        assert_eq!((store.stats().series, store.stats().sketch_series), (1, 3));
    }
}

#[tokio::test]
async fn sketches_of_a_step_are_merged_and_the_last_write_of_an_instant_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START + 5 * HOUR);
    store
        .append(sketches([(TIMER, START, 1.0), (TIMER, START + 10_000, 2.0), (TIMER, START + 20_000, 9.0)]))
        .await
        .unwrap();
    store.cut_all().unwrap();
    store.append(sketches([(TIMER, START + 30_000, 4.0), (TIMER, START + 20_000, 3.0)])).await.unwrap();
    let asked = range(START, START + 40_000);
    let expected = vec![(START, sketch(&[1.0, 2.0])), (START + 20_000, sketch(&[3.0, 4.0]))];
    for round in ["over block and head", "in one block"] {
        let merged = fetch_sketches(&store, "stats.timers.bot.*", asked, Some(step(15_000))).await.unwrap();
        assert_eq!(merged, [(TIMER.to_owned(), expected.clone())], "{round}");
        let one = fetch_sketches(&store, TIMER, asked, Some(step(HOUR))).await.unwrap();
        assert_eq!(one[0].1, [(START, sketch(&[1.0, 2.0, 3.0, 4.0]))], "{round}");
        assert_eq!(
            fetch_sketches(&store, TIMER, range(START + 10_000, START + 20_000), None).await.unwrap()[0].1,
            [(START + 10_000, sketch(&[2.0]))]
        );
        store.cut_all().unwrap();
    }
    drop(store);
    let (with_grace, _) = config(directory.path(), START + 30 * HOUR);
    let store = EmbeddedStore::open(EmbeddedConfig { grace: Duration::ZERO, ..with_grace }).unwrap();
    store.maintain().unwrap();
    assert_eq!(store.stats().blocks, 1);
    assert_eq!(
        maxima(&store, TIMER).await,
        [(START, 1.0), (START + 10_000, 2.0), (START + 20_000, 3.0), (START + 30_000, 4.0)]
    );
    let stats = store.stats();
    assert_eq!((stats.block_sketches, stats.block_points, stats.head_sketches), (4, 0, 0));
    assert!(stats.block_sketch_bytes > 0 && stats.block_sketch_bytes == stats.block_bytes);
}

#[tokio::test]
async fn a_percentile_of_two_timers_is_that_of_all_their_samples() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START);
    let mut batch = sketches([]);
    for (server, base) in [("a", 0), ("b", 900)] {
        let values: Vec<f64> = (base + 1..base + 101).map(f64::from).collect();
        batch.push_sketch(key(&format!("timers.{server}")), ms(START), sketch(&values));
    }
    store.append(batch).await.unwrap();
    let mut together = Sketch::new();
    for (_, points) in fetch_sketches(&store, "timers.*", TimeRange::ALL, Some(step(10_000))).await.unwrap() {
        points.iter().for_each(|(_, sketch)| together.merge(sketch));
    }
    for (q, exact) in [(0.25, 50.0), (0.75, 950.0)] {
        let told = together.quantile(q).unwrap();
        assert!((told / exact - 1.0).abs() < 0.011, "{told} for {exact}");
    }
}

#[tokio::test]
async fn a_deleted_or_expired_sketch_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let (base, hand) = config(directory.path(), START);
    let keep_a_day = EmbeddedConfig { schemas: schemas("10s:1d"), ..base };
    let store = EmbeddedStore::open(keep_a_day.clone()).unwrap();
    let mut all = sketches([("t.x", START, 1.0), ("t.y", START, 2.0), ("t.z", START, 3.0)]);
    all.rows = batch([("t.x", START, 9.0), ("p", START, 9.0)]).rows;
    store.append(all).await.unwrap();
    store.cut_all().unwrap();
    assert_eq!(store.delete(&path("t.x")).await.unwrap(), 2, "the points and the sketches of the name");
    assert_eq!(maxima(&store, "t.x").await, []);
    drop(store);
    let store = EmbeddedStore::open(keep_a_day).unwrap();
    assert_eq!(maxima(&store, "t.x").await, []);
    store.append(sketches([("t.x", START + 10_000, 7.0)])).await.unwrap();
    assert_eq!(maxima(&store, "t.x").await, [(START + 10_000, 7.0)]);
    hand.store(START + 20 * HOUR, Ordering::SeqCst);
    store.append(sketches([("t.y", START + 20 * HOUR, 4.0)])).await.unwrap();
    store.cut_all().unwrap();
    hand.store(START + 27 * HOUR, Ordering::SeqCst);
    store.maintain().unwrap();
    assert_eq!(maxima(&store, "t.y").await, [(START + 20 * HOUR, 4.0)]);
    let stats = store.stats();
    assert_eq!((stats.sketch_series, stats.series, stats.blocks, stats.block_sketches), (1, 0, 1, 1));
}

#[tokio::test]
async fn sketches_that_cannot_be_taken_are_counted_by_reason() {
    let directory = tempfile::tempdir().unwrap();
    let (base, _) = config(directory.path(), START);
    let store = EmbeddedStore::open(EmbeddedConfig { max_sketch_series: 2, max_series: 1, ..base }).unwrap();
    let deep = vec!["x"; 65].join(".");
    let mut all = sketches([
        ("a", START, 1.0),
        ("a", START - 366 * 24 * HOUR, 1.0),
        ("a", START + 25 * HOUR, 1.0),
        (&deep, START, 1.0),
        ("b", START, 1.0),
        ("c", START, 1.0),
    ]);
    all.push_sketch(key("a"), ms(START), Sketch::new());
    let appended = store.append(all).await.unwrap();
    let refused = Refused { too_old: 1, too_new: 1, series_limit: 1, too_deep: 1, not_a_number: 1, too_large: 0 };
    assert_eq!((appended.sketches, appended.new_series, appended.refused_sketches), (2, 2, refused));
    assert_eq!(appended.refused, Refused::default());
    assert_eq!(store.append(batch([("a", START, 1.0)])).await.unwrap().points, 1, "limits are apart");
    assert_eq!((store.stats().appended_sketches, store.stats().refused_sketches), (2, refused));
}

#[tokio::test]
async fn a_fetch_of_sketches_over_its_limits_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START);
    let values: Vec<f64> = (0..100).map(|exponent| 1.1_f64.powi(exponent)).collect();
    let mut wide = sketches([("b", START, 1.0)]);
    wide.push_sketch(key("a"), ms(START), sketch(&values));
    store.append(wide).await.unwrap();
    let fetch = async |max_series, max_points| {
        let limits = Limits { max_series, max_points };
        store.fetch_sketches(&path("*"), TimeRange::ALL, None, limits).await
    };
    assert!(matches!(fetch(1, 1000).await, Err(StoreError::TooManySeries { selected: 2, limit: 1 })));
    assert!(matches!(fetch(2, 100).await, Err(StoreError::TooManyPoints { wanted: 101, limit: 100 })));
    assert_eq!(fetch(2, 101).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_event_is_found_by_time_and_tags_and_stored_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START + HOUR);
    let all = || {
        events([
            event(START + 2000, "second", "deploy"),
            event(START, "first", "deploy"),
            event(START + 3000, "third", ""),
        ])
    };
    let appended = store.append(all()).await.unwrap();
    assert_eq!((appended.events, appended.known_events, appended.points), (3, 0, 0));
    let length = store.stats().event_log_bytes;
    let again = store.append(all()).await.unwrap();
    assert_eq!((again.events, again.known_events), (0, 3));
    assert_eq!(store.stats().event_log_bytes, length, "nothing is written twice");
    drop(store);
    let store = open(directory.path(), START + HOUR);
    assert_eq!(titles(&store).await, ["first", "second", "third"]);
    assert_eq!(store.append(all()).await.unwrap().known_events, 3);
    let deploys = store.events(range(START, START + 3000), &["deploy".to_owned()], 1).await.unwrap();
    assert_eq!(deploys, [event(START + 2000, "second", "deploy")]);
    store.close().await.unwrap();
    assert!(matches!(store.events(TimeRange::ALL, &[], 1).await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn events_go_with_the_retention_and_when_they_are_too_many() {
    let directory = tempfile::tempdir().unwrap();
    let (base, hand) = config(directory.path(), START);
    let few = EmbeddedConfig { schemas: schemas("10s:1d"), max_events: 3, ..base };
    let store = EmbeddedStore::open(few.clone()).unwrap();
    let mut large = event(START, "large", "");
    large.text = "x".repeat(Event::MOST_BYTES);
    let too_old = event(START - 25 * HOUR, "old", "");
    let too_new = event(START + 25 * HOUR, "new", "");
    let refused = store.append(events([large, too_old, too_new])).await.unwrap().refused_events;
    assert_eq!(refused, Refused { too_old: 1, too_new: 1, too_large: 1, ..Refused::default() });
    store.append(events((0..5).map(|hour| event(START + hour * HOUR, &hour.to_string(), "")))).await.unwrap();
    assert_eq!(titles(&store).await, ["2", "3", "4"]);
    assert_eq!((store.stats().events, store.stats().evicted_events, store.stats().refused_events), (3, 2, refused));
    hand.store(START + 27 * HOUR, Ordering::SeqCst);
    store.maintain().unwrap();
    assert_eq!(titles(&store).await, ["3", "4"]);
    assert_eq!(store.stats().expired_events, 1);
    drop(store);
    assert_eq!(titles(&EmbeddedStore::open(few).unwrap()).await, ["3", "4"]);
}

#[tokio::test]
async fn a_flood_of_events_keeps_memory_and_file_within_their_bounds() {
    const ROOM: u64 = 1 << 18;
    let directory = tempfile::tempdir().unwrap();
    let (base, _) = config(directory.path(), START);
    let small = EmbeddedConfig { event_memory: ROOM, ..base };
    let store = EmbeddedStore::open(small.clone()).unwrap();
    for number in 0..80 {
        let mut batch = events([]);
        for row in 0..20 {
            let mut event = event(START + number * 100 + row, &format!("flood {number}"), "");
            event.text = noise((number * 20 + row) as u64, 2000);
            batch.events.push(event);
        }
        batch.rows = crate::support::batch([("p", START + number, number as f64)]).rows;
        store.append(batch).await.unwrap();
    }
    assert!(store.stats().event_bytes <= ROOM);
    wait_until("the file is written anew", || store.stats().event_log_bytes <= 2 * ROOM + (1 << 20)).await;
    assert_eq!(fs::metadata(directory.path().join("events")).unwrap().len(), store.stats().event_log_bytes);
    let kept = store.events(TimeRange::ALL, &[], usize::MAX).await.unwrap();
    assert_eq!(kept.last().unwrap().title, "flood 79");
    drop(store);
    let store = EmbeddedStore::open(small).unwrap();
    assert_eq!(store.events(TimeRange::ALL, &[], usize::MAX).await.unwrap(), kept);
    assert_eq!(raw(&store, "p").await.len(), 80, "no batch is missing the part that was written anew");
}

#[tokio::test]
async fn a_batch_of_which_the_events_are_missing_is_not_there_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START + HOUR);
    let both = |name: &str, offset: i64| {
        let mut both = events([event(START + offset, name, "")]);
        both.rows = batch([("p", START + offset, 1.0)]).rows;
        both.sketches = sketches([("t", START + offset, 1.0)]).sketches;
        both
    };
    store.append(both("first", 0)).await.unwrap();
    let length = store.stats().event_log_bytes;
    store.append(both("second", 10_000)).await.unwrap();
    drop(store);
    let file = fs::OpenOptions::new().write(true).open(directory.path().join("events")).unwrap();
    file.set_len(length).unwrap();
    drop(file);
    let store = open(directory.path(), START + HOUR);
    assert_eq!(titles(&store).await, ["first"]);
    assert_eq!(raw(&store, "p").await, [(START, 1.0)]);
    assert_eq!(maxima(&store, "t").await, [(START, 1.0)]);
    store.append(both("third", 20_000)).await.unwrap();
    drop(store);

    // The other way round: the log lacks what the events have.
    let log = fs::read_dir(directory.path().join("log")).unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let length = fs::metadata(&log).unwrap().len();
    fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(length - 1).unwrap();
    let store = open(directory.path(), START + HOUR);
    assert_eq!(titles(&store).await, ["first"]);
    assert_eq!(raw(&store, "p").await, [(START, 1.0)]);
    drop(store);
    assert_eq!(titles(&open(directory.path(), START + HOUR)).await, ["first"]);
}

#[tokio::test]
async fn a_spoilt_header_of_the_events_is_told_once_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START);
    let mut both = events([event(START, "kept", "")]);
    both.rows = batch([("p", START, 1.0)]).rows;
    store.append(both).await.unwrap();
    drop(store);
    let path = directory.path().join("events");
    let mut bytes = fs::read(&path).unwrap();
    bytes[0] ^= 1;
    fs::write(&path, bytes).unwrap();
    for corrupt_records in [1, 0] {
        let store = open(directory.path(), START);
        assert_eq!(store.stats().corrupt_records, corrupt_records);
        assert_eq!((titles(&store).await, raw(&store, "p").await), (vec!["kept".to_owned()], vec![(START, 1.0)]));
    }
}

#[tokio::test]
async fn a_store_of_the_first_version_opens_and_learns_sketches() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START + HOUR);
    store.append(batch([("p", START, 1.0)])).await.unwrap();
    store.cut_all().unwrap();
    store.append(batch([("p", START + 10_000, 2.0)])).await.unwrap();
    drop(store);
    // What the first version wrote differs in nothing but the versions, the lack of events, and what the manifest says of tiers and sketches.
    make_first_version(directory.path());
    let store = open(directory.path(), START + HOUR);
    assert_eq!(store.stats().corrupt_records, 0);
    assert_eq!(raw(&store, "p").await, [(START, 1.0), (START + 10_000, 2.0)]);
    store.append(sketches([("t", START, 5.0)])).await.unwrap();
    drop(store);
    assert_eq!(maxima(&open(directory.path(), START + HOUR), "t").await, [(START, 5.0)]);
}

fn make_first_version(directory: &std::path::Path) {
    fs::remove_file(directory.join("events")).unwrap();
    let mut manifest = fs::read(directory.join("MANIFEST")).unwrap();
    // 11 bytes of one policy, 7 of its block's place in the tiers, 2 of its sketches.
    manifest.truncate(manifest.len() - 20);
    manifest[8] = 1;
    let contents = manifest[24..].to_vec();
    manifest[12..16].copy_from_slice(&crc32(&contents).to_le_bytes());
    manifest[16..24].copy_from_slice(&(contents.len() as u64).to_le_bytes());
    fs::write(directory.join("MANIFEST"), manifest).unwrap();
    let mut catalogue = fs::read(directory.join("catalogue")).unwrap();
    catalogue[8] = 1;
    fs::write(directory.join("catalogue"), catalogue).unwrap();
    for log in fs::read_dir(directory.join("log")).unwrap() {
        let path = log.unwrap().path();
        let mut log = fs::read(&path).unwrap();
        log[8] = 1;
        let checksum = crc32(&log[..20]);
        log[20..24].copy_from_slice(&checksum.to_le_bytes());
        fs::write(&path, log).unwrap();
    }
}

/// CRC-32 as in zlib, a bit at a time.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |checksum, byte| {
        (0..8).fold(checksum ^ u32::from(*byte), |rest, _| (rest >> 1) ^ (0xedb8_8320 & (rest & 1).wrapping_neg()))
    })
}
