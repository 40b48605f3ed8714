//! What the store does when nothing goes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use statline_series::{Anchor, Batch, Consolidation, Kind, MatchOp, Matcher, PathPattern, TimeRange};
use statline_store::{EmbeddedConfig, EmbeddedStore, Fetch, Refused, Resolution, Selection, Store, StoreError};

use crate::support::*;

#[tokio::test]
async fn a_point_is_found_the_moment_append_returns_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START);
    let appended = store.append(batch([("a.b", START, 1.5), ("a.c;x=1", START, 2.5)])).await.unwrap();
    assert_eq!((appended.points, appended.new_series, appended.refused.total()), (2, 2, 0));
    assert_eq!(raw(&store, "a.b").await, [(START, 1.5)]);
    assert_eq!(raw(&store, "a.c;x=1").await, [(START, 2.5)]);
    store.close().await.unwrap();
    assert!(matches!(store.append(Batch::default()).await, Err(StoreError::Closed)));

    let store = open(directory.path(), START);
    assert_eq!(raw(&store, "a.b").await, [(START, 1.5)]);
    store.cut_all().unwrap();
    assert_eq!(store.stats().log_files, 0);
    assert_eq!(raw(&store, "a.b").await, [(START, 1.5)]);
    drop(store);

    let store = open(directory.path(), START);
    assert_eq!(raw(&store, "a.c;x=1").await, [(START, 2.5)]);
    let appended = store.append(batch([("a.b", START + 10_000, 3.0)])).await.unwrap();
    assert_eq!(appended.new_series, 0);
    assert_eq!(raw(&store, "a.b").await, [(START, 1.5), (START + 10_000, 3.0)]);
}

#[tokio::test]
async fn late_points_and_rewrites_win_over_what_was_cut() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START + 5 * HOUR);
    store.append(batch([("a", START, 1.0), ("a", START + 20_000, 3.0), ("b", START, 9.0)])).await.unwrap();
    store.cut_all().unwrap();
    store.append(batch([("a", START + 10_000, 2.0), ("a", START + 20_000, 3.5)])).await.unwrap();
    let expected = [(START, 1.0), (START + 10_000, 2.0), (START + 20_000, 3.5)];
    assert_eq!(raw(&store, "a").await, expected);
    store.cut_all().unwrap();
    assert_eq!(store.stats().blocks, 2, "late points wait beside the block of their time");
    assert_eq!(raw(&store, "a").await, expected);
    assert_eq!(raw(&store, "b").await, [(START, 9.0)]);
    drop(store);
    assert_eq!(raw(&open(directory.path(), START + 5 * HOUR), "a").await, expected);
}

#[tokio::test]
async fn what_is_read_again_is_known_and_what_came_later_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let (base, hand) = config(directory.path(), START + HOUR);
    let base = EmbeddedConfig { schemas: schemas("10s:1d,1m:10d"), grace: Duration::ZERO, background: false, ..base };
    let store = EmbeddedStore::open(base).unwrap();
    let tick = |tick: i64| (START + tick * 10_000, tick as f64);
    let mut expected: Vec<(i64, f64)> = (0..100).map(tick).collect();
    store.append(batch(expected.iter().map(|(time, value)| ("a", *time, *value)))).await.unwrap();
    store.cut_all().unwrap();
    let found = |store: &EmbeddedStore| (store.stats().cache_hits, store.stats().cache_misses);
    for hits in 0..3 {
        assert_eq!(raw(&store, "a").await, expected);
        assert_eq!(found(&store), (hits, 1));
    }
    assert!(store.stats().cache_bytes > 100 * 8);
    // A part of it is in what is known.
    let part = fetch_raw(&store, "a", range(START + 25_000, START + 60_000)).await.unwrap();
    assert_eq!(part[0].values.values(), [3.0, 4.0, 5.0]);
    assert_eq!(found(&store), (3, 1));
    // A late point lies in a block of its own.
    expected[50].1 = -1.0;
    store.append(batch([("a", expected[50].0, -1.0)])).await.unwrap();
    store.cut_all().unwrap();
    assert_eq!(raw(&store, "a").await, expected);
    assert_eq!(found(&store), (4, 2));
    // Rolled up, it is another block, of which other columns are asked for by and by.
    hand.store(START + 2 * 24 * HOUR, Ordering::SeqCst);
    store.maintain().unwrap();
    let misses = store.stats().cache_misses;
    for (consolidation, first, more) in [
        (Consolidation::Average, 2.5, 1),
        (Consolidation::Sum, 15.0, 0),
        (Consolidation::Max, 5.0, 1),
        (Consolidation::Min, 0.0, 0),
        (Consolidation::Last, 5.0, 1),
    ] {
        let before = store.stats().cache_misses;
        let asked = request(path("a"), range(START, START + 60_000), Resolution::Native);
        let asked = Fetch { consolidation: Some(consolidation), ..asked };
        assert_eq!(store.fetch(&asked).await.unwrap()[0].values.values(), [first], "{consolidation}");
        assert_eq!(store.stats().cache_misses - before, more, "{consolidation}");
    }
    assert_eq!(store.stats().cache_misses, misses + 3);
}

#[tokio::test]
async fn a_narrow_read_of_a_long_chunk_keeps_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START + HOUR);
    store.append(batch((0..300).map(|tick| ("a", START + tick * 10_000, tick as f64)))).await.unwrap();
    store.cut_all().unwrap();
    for _ in 0..2 {
        let part = fetch_raw(&store, "a", range(START, START + 60_000)).await.unwrap();
        assert_eq!(part[0].values.values(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    }
    let stats = store.stats();
    assert_eq!((stats.cache_bytes, stats.cache_hits, stats.cache_misses), (0, 0, 2));
}

#[tokio::test]
async fn regular_answers_follow_the_grid_and_the_kind() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START + 60_000);
    let mut points = Batch::default();
    for (offset, value) in [(0, 1.0), (10_000, 2.0), (14_000, 3.0), (30_000, 5.0)] {
        points.push(key("gauge"), Kind::Gauge, ms(START + offset), value);
        points.push(key("count"), Kind::Count, ms(START + offset), value);
    }
    store.append(points).await.unwrap();
    let asked = range(START, START + 40_000);
    let native = store.fetch(&request(path("*"), asked, Resolution::Native)).await.unwrap();
    assert_eq!(native.iter().map(|series| series.key.as_str()).collect::<Vec<_>>(), ["count", "gauge"]);
    assert_eq!(slots(&native[0].values), [1.0, 3.0, -1.0, 5.0]);
    let coarse = store.fetch(&request(path("*"), asked, Resolution::Step(step(15_000)))).await.unwrap();
    assert_eq!(slots(&coarse[0].values), [4.0, 5.0], "15 s become 20 s, and counts are summed");
    assert_eq!(slots(&coarse[1].values), [2.0, 5.0], "gauges are averaged");
    let mut asked_max = request(path("gauge"), asked, Resolution::Step(step(40_000)));
    asked_max.consolidation = Some(Consolidation::Max);
    assert_eq!(slots(&store.fetch(&asked_max).await.unwrap()[0].values), [5.0]);
}

#[tokio::test]
async fn what_cannot_be_taken_is_counted_by_reason() {
    let directory = tempfile::tempdir().unwrap();
    let (base, _) = config(directory.path(), START);
    let store = EmbeddedStore::open(EmbeddedConfig { max_series: 2, ..base }).unwrap();
    let deep = vec!["x"; 65].join(".");
    let appended = store
        .append(batch([
            ("a", START, 1.0),
            ("a", START - 366 * 24 * HOUR, 1.0),
            ("a", START + 25 * HOUR, 1.0),
            ("a", i64::MAX, 1.0),
            ("a", i64::MIN, 1.0),
            ("a", START, f64::NAN),
            (&deep, START, 1.0),
            ("b", START, f64::INFINITY),
            ("c", START, 1.0),
        ]))
        .await
        .unwrap();
    assert_eq!((appended.points, appended.new_series), (2, 2));
    let refused = Refused { too_old: 2, too_new: 2, series_limit: 1, too_deep: 1, not_a_number: 1, too_large: 0 };
    assert_eq!(appended.refused, refused);
    assert_eq!(store.stats().refused, refused);
    assert_eq!(raw(&store, "b").await, [(START, f64::INFINITY)]);
}

#[tokio::test]
async fn names_tags_and_their_values_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START + HOUR);
    store
        .append(batch([("bot.help.claimed", START, 1.0), ("bot.errors", START + HOUR, 1.0), ("up;job=a", START, 1.0)]))
        .await
        .unwrap();
    let find = async |pattern, range| {
        let nodes = store.find(&PathPattern::parse(pattern).unwrap(), range).await.unwrap();
        nodes.into_iter().map(|node| (node.path, node.is_leaf, node.has_children)).collect::<Vec<_>>()
    };
    assert_eq!(
        find("bot.*", TimeRange::ALL).await,
        [("bot.errors".into(), true, false), ("bot.help".into(), false, true)]
    );
    assert_eq!(find("bot.*", range(START, START + 1)).await, [("bot.help".into(), false, true)]);
    assert_eq!(find("up;job=a", TimeRange::ALL).await, [("up;job=a".into(), true, false)]);

    let all = TimeRange::ALL;
    assert_eq!(store.tags("", &[], all, 10).await.unwrap(), ["job", "name"]);
    assert_eq!(store.tag_values("name", "bot", &[], all, 10).await.unwrap(), ["bot.errors", "bot.help.claimed"]);
    let job = Matcher::new("job", MatchOp::Regex, "a|b", Anchor::Both).unwrap();
    let selected = store.select(&Selection::Matchers(vec![job]), all).await.unwrap();
    assert_eq!(selected[0].key, key("up;job=a"));
    assert_eq!((selected[0].first_seen, selected[0].last_seen), (ms(START), ms(START)));
}

#[tokio::test]
async fn a_kind_is_learnt_kept_and_not_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START);
    for (kind, expected) in [
        (Kind::Untyped, Kind::Untyped),
        (Kind::Count, Kind::Count),
        (Kind::Untyped, Kind::Count),
        (Kind::Gauge, Kind::Gauge),
    ] {
        let mut points = Batch::default();
        points.push(key("a"), kind, ms(START), 1.0);
        store.append(points).await.unwrap();
        assert_eq!(store.select(&path("a"), TimeRange::ALL).await.unwrap()[0].kind, expected);
    }
    drop(store);
    let store = open(directory.path(), START);
    assert_eq!(store.select(&path("a"), TimeRange::ALL).await.unwrap()[0].kind, Kind::Gauge);
}

#[tokio::test]
async fn a_deleted_series_is_gone_for_good_and_comes_back_empty() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START + HOUR);
    store.append(batch([("a.x", START, 1.0), ("a.y", START, 2.0)])).await.unwrap();
    store.cut_all().unwrap();
    store.append(batch([("a.x", START + 10_000, 1.0)])).await.unwrap();
    assert_eq!(store.delete(&path("a.x")).await.unwrap(), 1);
    assert_eq!(raw(&store, "a.x").await, []);
    drop(store);
    let store = open(directory.path(), START + HOUR);
    assert_eq!(store.stats().orphan_points, 0, "points of a deleted series are not lost ones");
    assert_eq!(raw(&store, "a.x").await, []);
    store.append(batch([("a.x", START + 20_000, 3.0)])).await.unwrap();
    assert_eq!(raw(&store, "a.x").await, [(START + 20_000, 3.0)]);
    store.cut_all().unwrap();
    assert_eq!(raw(&store, "a.x").await, [(START + 20_000, 3.0)]);
    assert_eq!(raw(&store, "a.y").await, [(START, 2.0)]);
}

#[tokio::test]
async fn a_batch_stays_whole_when_one_of_its_logs_goes_with_a_deleted_series() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START + 5 * HOUR);
    store.append(batch([("stays", START, 1.0), ("goes", START + 2 * HOUR, 2.0)])).await.unwrap();
    store.delete(&path("goes")).await.unwrap();
    drop(store);
    assert_eq!(open(directory.path(), START + 5 * HOUR).stats().log_files, 1);
    assert_eq!(raw(&open(directory.path(), START + 5 * HOUR), "stays").await, [(START, 1.0)]);
}

#[tokio::test]
async fn windows_that_are_over_are_cut_by_themselves() {
    let directory = tempfile::tempdir().unwrap();
    let (base, hand) = config(directory.path(), START);
    let store = EmbeddedStore::open(EmbeddedConfig { grace: Duration::ZERO, ..base }).unwrap();
    store.append(batch([("a", START, 1.0)])).await.unwrap();
    hand.store(START + 2 * HOUR, Ordering::SeqCst);
    wait_until("the window is cut", || store.stats().blocks == 1).await;
    wait_until("its log is gone", || store.stats().log_files == 0).await;
    let stats = store.stats();
    assert_eq!((stats.head_points, stats.head_bytes, stats.block_points), (0, 0, 1));
    assert_eq!(raw(&store, "a").await, [(START, 1.0)]);
}

#[tokio::test]
async fn blocks_older_than_the_retention_go_and_series_with_them() {
    let directory = tempfile::tempdir().unwrap();
    let (base, hand) = config(directory.path(), START);
    let store = EmbeddedStore::open(EmbeddedConfig { schemas: schemas("10s:1d"), ..base }).unwrap();
    store.append(batch([("old", START, 1.0), ("both", START, 1.0)])).await.unwrap();
    hand.store(START + 20 * HOUR, Ordering::SeqCst);
    store.append(batch([("both", START + 20 * HOUR, 2.0)])).await.unwrap();
    store.cut_all().unwrap();
    assert_eq!(store.stats().blocks, 2);
    hand.store(START + 27 * HOUR, Ordering::SeqCst);
    store.maintain().unwrap();
    assert_eq!((store.stats().blocks, store.stats().series, store.stats().expired_blocks), (1, 1, 1));
    assert_eq!(raw(&store, "both").await, [(START + 20 * HOUR, 2.0)]);
    assert_eq!(raw(&store, "old").await, []);
    drop(store);
    let (base, _) = config(directory.path(), START + 27 * HOUR);
    let store = EmbeddedStore::open(EmbeddedConfig { schemas: schemas("10s:1d"), ..base }).unwrap();
    assert_eq!((store.stats().blocks, store.stats().series), (1, 1));
}

#[tokio::test]
async fn a_changed_block_length_finds_what_the_old_one_stored() {
    let directory = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for (round, hours) in [2_u64, 1, 6, 3].into_iter().enumerate() {
        let (base, _) = config(directory.path(), START + 12 * HOUR);
        let store = EmbeddedStore::open(EmbeddedConfig { block_length: Duration::from_hours(hours), ..base }).unwrap();
        for hour in 0..12 {
            let point = (START + hour * HOUR + round as i64 * 60_000, (round * 100) as f64 + hour as f64);
            store.append(batch([("a", point.0, point.1)])).await.unwrap();
            expected.push(point);
        }
        expected.sort_by_key(|(time, _)| *time);
        assert_eq!(raw(&store, "a").await, expected, "round {round}");
        if round % 2 == 0 {
            store.cut_all().unwrap();
            assert_eq!(raw(&store, "a").await, expected, "round {round} after the cut");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_each_point_once_while_blocks_are_cut() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(open(directory.path(), START + 100 * HOUR));
    let names: Vec<String> = (0..50).map(|series| format!("s.{series:02}")).collect();
    let acknowledged = Arc::new(std::sync::atomic::AtomicI64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let reader = {
        let (store, acknowledged, done) = (Arc::clone(&store), Arc::clone(&acknowledged), Arc::clone(&done));
        tokio::spawn(async move {
            let mut reads = 0;
            while !done.load(Ordering::SeqCst) {
                let before = acknowledged.load(Ordering::SeqCst);
                let fetched = fetch_raw(&store, "s.*", TimeRange::ALL).await.unwrap();
                let after = acknowledged.load(Ordering::SeqCst);
                for series in fetched {
                    let ticks: Vec<i64> = points_of(&series).iter().map(|(time, _)| (time - START) / 600_000).collect();
                    let seen = ticks.len() as i64;
                    assert_eq!(ticks, (0..seen).collect::<Vec<_>>(), "every tick once");
                    assert!(before <= seen && seen <= after + 1, "{before} <= {seen} <= {after} + 1");
                }
                reads += 1;
            }
            reads
        })
    };
    for tick in 0..240_i64 {
        let points = names.iter().map(|name| (name.as_str(), START + tick * 600_000, tick as f64));
        store.append(batch(points)).await.unwrap();
        acknowledged.store(tick + 1, Ordering::SeqCst);
        if tick % 17 == 16 {
            let store = Arc::clone(&store);
            tokio::task::spawn_blocking(move || store.cut_all()).await.unwrap().unwrap();
        }
    }
    done.store(true, Ordering::SeqCst);
    assert!(reader.await.unwrap() > 5, "reads went on beside the cuts");
    assert_eq!(store.stats().block_points, 238 * 50);
}

#[tokio::test]
async fn a_fetch_over_its_limits_is_refused_before_it_reads() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), START + HOUR);
    store.append(batch([("a", START, 1.0), ("b", START, 1.0), ("a", START + HOUR, 1.0)])).await.unwrap();
    let mut asked = request(path("*"), range(START, START + HOUR), Resolution::Native);
    asked.limits.max_series = 1;
    let refusal = store.fetch(&asked).await.unwrap_err().to_string();
    assert_eq!(refusal, "the query selects 2 series, more than its limit of 1; narrow the selection");
    asked.limits.max_series = 2;
    asked.limits.max_points = 719;
    assert!(matches!(store.fetch(&asked).await, Err(StoreError::TooManyPoints { wanted: 720, limit: 719 })));
    asked.limits.max_points = 720;
    assert!(store.fetch(&asked).await.is_ok());
    for endless in [Resolution::Native, Resolution::Step(step(20_000))] {
        let refusal = store.fetch(&request(path("*"), TimeRange::ALL, endless)).await;
        assert!(matches!(refusal, Err(StoreError::TooManyPoints { .. })));
    }
    let widest = store.fetch(&request(path("*"), TimeRange::ALL, Resolution::Step(step(i64::MAX)))).await;
    assert_eq!(widest.unwrap().len(), 2);
}

pub async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_reader_beside_the_appends_sees_each_batch_whole_or_not_at_all() {
    let directory = fast_directory();
    let store = open(directory.path(), START + HOUR);
    let names: Vec<String> = (0..2000).map(|series| format!("whole.s{series}")).collect();
    let is_over = std::cell::Cell::new(false);
    let write = async {
        for tick in 0..60 {
            store
                .append(batch(names.iter().map(|name| (name.as_str(), START + tick * 10_000, tick as f64))))
                .await
                .unwrap();
        }
        is_over.set(true);
    };
    let read = async {
        while !is_over.get() {
            let found = fetch_raw(&store, "whole.*", TimeRange::ALL).await.unwrap();
            let Some(first) = found.first() else { continue };
            assert_eq!(found.len(), names.len());
            assert!(found.iter().all(|series| series.values == first.values));
        }
    };
    tokio::join!(write, read);
    assert_eq!(raw(&store, "whole.s7").await.len(), 60);
}
