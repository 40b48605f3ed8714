//! Damage to any file: it is told, and no value that was not written ever comes out.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;

use statline_series::{Sketch, TimeRange};
use statline_store::{EmbeddedStore, Store, StoreError};

use crate::support::*;

const NOW: i64 = START + 5 * HOUR;

type Answer = BTreeMap<String, Vec<(i64, u64)>>;

/// A closed store with a block, a log with several records, and a catalogue and events of as many.
async fn make_store(directory: &Path) -> Answer {
    let store = open(directory, NOW);
    for tick in 0..30 {
        let names: Vec<String> = (0..=tick / 5).map(|series| format!("d.s{series}")).collect();
        let time = START + tick * 10_000;
        let mut both = batch(names.iter().map(|name| (name.as_str(), time, (tick as f64).sqrt())));
        both.push_sketch(key("d.t"), ms(time), sketch(&[(tick as f64).sqrt(), 7.0]));
        both.events.extend((tick % 5 == 0).then(|| event(time, &format!("tick {tick}"), "x")));
        store.append(both).await.unwrap();
        if tick == 14 {
            store.cut_all().unwrap();
        }
    }
    let answer = read_all(&store).await.unwrap();
    store.close().await.unwrap();
    answer
}

fn fingerprint(of: impl std::fmt::Debug) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    format!("{of:?}").hash(&mut hasher);
    hasher.finish()
}

async fn read_all(store: &EmbeddedStore) -> Result<Answer, StoreError> {
    let fetched = fetch_raw(store, "d.*", TimeRange::ALL).await?;
    let mut answer: Answer = fetched.iter().map(|series| (series.key.to_string(), points_of(series))).collect();
    for (name, points) in fetch_sketches(store, "d.*", TimeRange::ALL, None).await? {
        let whole = |sketch: &Sketch| {
            let mut bytes = Vec::new();
            sketch.encode(&mut bytes);
            fingerprint(&bytes)
        };
        answer.insert(name, points.iter().map(|(time, sketch)| (*time, whole(sketch))).collect());
    }
    let events = store.events(TimeRange::ALL, &[], usize::MAX).await?;
    let events = events.iter().map(|event| (event.timestamp.millis(), fingerprint(event)));
    answer.insert("events".to_owned(), events.collect());
    Ok(answer)
}

/// Whether each point of `answer` is one of `truth`.
fn is_part_of(answer: &Answer, truth: &Answer) -> bool {
    answer.iter().all(|(name, points)| {
        truth.get(name).is_some_and(|true_points| points.iter().all(|point| true_points.contains(point)))
    })
}

/// How many bits are flipped, over all files; 8 a file without it.
const FLIPS: &str = "STATLINE_TEST_FLIPS";

/// A bit of a file: most often of what is not zero, since some files are megabytes of nothing.
fn some_bit(of: &[u8], round: u64) -> usize {
    let length = if round % 8 == 7 { of.len() } else { end_of_contents(of).max(1) };
    (round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) as usize % (length * 8)
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_told_or_harmless() {
    let original = fast_directory();
    let truth = make_store(original.path()).await;
    let mut files = Vec::new();
    files_below(original.path(), &mut files);
    files.retain(|file| fs::metadata(file).unwrap().len() > 0);
    let rounds = times(FLIPS, files.len() as u64 * 8).div_ceil(files.len() as u64);
    let (mut told, mut found_by_check, mut flips) = (0, 0, 0);
    for file in &files {
        let relative = file.strip_prefix(original.path()).unwrap();
        let good = fs::read(file).unwrap();
        for round in 0..rounds {
            let bit = some_bit(&good, round);
            let damaged = fast_directory();
            copy(original.path(), damaged.path());
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(damaged.path().join(relative), bad).unwrap();
            flips += 1;
            let where_it_is = format!("bit {bit} of {}", relative.display());
            let (checked, findings) = check_all(damaged.path());
            let is_found = checked.damaged + checked.leftovers > 0;
            found_by_check += u64::from(is_found);
            let Ok(store) = EmbeddedStore::open(config(damaged.path(), NOW).0) else {
                told += 1;
                assert!(is_found, "{where_it_is}: the store does not open, and the check finds nothing");
                continue;
            };
            match read_all(&store).await {
                Err(error) => {
                    told += 1;
                    assert!(checked.damaged > 0, "{where_it_is}: {error}, and the check finds {findings:?}");
                }
                Ok(answer) => {
                    assert!(is_part_of(&answer, &truth), "{where_it_is}: a value that nobody wrote");
                    let stats = store.stats();
                    if answer != truth {
                        let counted = stats.torn_tails + stats.corrupt_records + stats.orphan_points;
                        assert!(counted > 0 || is_found, "{where_it_is}: lost without a word");
                        assert!(is_found, "{where_it_is}: lost, and the check finds nothing");
                        told += 1;
                    }
                }
            }
        }
    }
    eprintln!("{flips} flips: {told} mattered to reads, {found_by_check} were found by the check");
    assert!(told > flips / 8 && found_by_check >= told, "{told} and {found_by_check} of {flips}");
}

#[tokio::test]
async fn a_log_cut_anywhere_keeps_the_batches_before() {
    let original = fast_directory();
    let truth = make_store(original.path()).await;
    let log = fs::read_dir(original.path().join("log")).unwrap().next().unwrap().unwrap().path();
    let length = fs::metadata(&log).unwrap().len();
    for cut in (0..length).step_by(29) {
        let damaged = fast_directory();
        copy(original.path(), damaged.path());
        let damaged_log = damaged.path().join(log.strip_prefix(original.path()).unwrap());
        fs::OpenOptions::new().write(true).open(&damaged_log).unwrap().set_len(cut).unwrap();
        let store = open(damaged.path(), NOW);
        let answer = read_all(&store).await.unwrap();
        let series = &answer["d.s0"];
        assert_eq!(series[..], truth["d.s0"][..series.len()], "cut at {cut}");
        assert!(series.len() >= 15, "what is in the block does not depend on the log");
        // What was cut off is gone, and the store goes on.
        store.append(batch([("d.s0", NOW, 7.0)])).await.unwrap();
        drop(store);
        let store = open(damaged.path(), NOW);
        assert_eq!(store.stats().torn_tails, 0, "told once");
        assert_eq!(raw(&store, "d.s0").await.last(), Some(&(NOW, 7.0)));
    }
}

#[tokio::test]
async fn a_damaged_chunk_names_its_series_and_block_and_spoils_no_other() {
    let directory = fast_directory();
    {
        let store = open(directory.path(), NOW);
        for series in 0..40 {
            let name = format!("c.s{series:02}");
            let points = (0..200).map(|tick| (name.as_str(), START + tick * 10_000, (tick as f64 * 1.37).sin()));
            store.append(batch(points)).await.unwrap();
        }
        store.cut_all().unwrap();
        store.close().await.unwrap();
    }
    let mut files = Vec::new();
    files_below(&directory.path().join("blocks"), &mut files);
    let [table] = &files[..] else { panic!("one block has one file: {files:?}") };
    let mut bytes = fs::read(table).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 0x10;
    fs::write(table, bytes).unwrap();

    let store = open(directory.path(), NOW);
    let mut damaged = 0;
    for series in 0..40 {
        match fetch_raw(&store, &format!("c.s{series:02}"), TimeRange::ALL).await {
            Ok(fetched) => assert_eq!(fetched[0].values.len(), 200),
            Err(StoreError::DamagedChunk { series: named, range: block, .. }) => {
                assert_eq!(named, key(&format!("c.s{series:02}")));
                assert_eq!(block, range(START, START + 2 * HOUR));
                damaged += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(damaged, 1);
    assert_eq!(store.stats().corrupt_chunks, damaged);

    // Late points of that time go beside the damaged block, and hide nothing.
    let late: Vec<String> = (0..40).map(|series| format!("c.s{series:02}")).collect();
    store.append(batch(late.iter().map(|name| (name.as_str(), START + HOUR, 5.0)))).await.unwrap();
    store.cut_all().unwrap();
    let mut still_damaged = 0;
    for name in &late {
        match fetch_raw(&store, name, TimeRange::ALL).await {
            Ok(fetched) => assert_eq!(fetched[0].values.len(), 201),
            Err(_) => still_damaged += 1,
        }
    }
    assert_eq!(still_damaged, damaged);
}

#[tokio::test]
async fn a_missing_file_is_named() {
    for name in ["MANIFEST", "catalogue"] {
        let directory = fast_directory();
        make_store(directory.path()).await;
        fs::remove_file(directory.path().join(name)).unwrap();
        let refusal = EmbeddedStore::open(config(directory.path(), NOW).0).unwrap_err().to_string();
        assert_eq!(refusal, format!("{} is damaged: it is missing", directory.path().join(name).display()));
    }
}

#[tokio::test]
async fn lost_lives_are_read_again_from_the_blocks() {
    let directory = fast_directory();
    let truth = make_store(directory.path()).await;
    fs::remove_file(directory.path().join("SEEN")).unwrap();
    assert_eq!(read_all(&open(directory.path(), NOW)).await.unwrap(), truth);
}
