//! Random programs against a plain map: what the store answers is bit for bit what the map holds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use statline_series::{TimeRange, Values};
use statline_store::{EmbeddedConfig, EmbeddedStore, Resolution, Store};

use crate::support::*;

const NOW: i64 = START + 10 * HOUR;

#[derive(Clone, Debug)]
enum Action {
    /// Points, sketches of one sample, and events by their instants and titles.
    Append(Vec<(u8, i64, f64)>, Vec<(u8, i64, f64)>, Vec<(i64, u8)>),
    Cut,
    Reopen,
    Delete(u8),
    Fetch(i64, i64, i64),
    FetchSketches(i64, i64, i64),
    Events(i64, i64, usize),
}

type Series = BTreeMap<u8, BTreeMap<i64, f64>>;

/// What the store should hold. Points and sketches have the same names.
#[derive(Default)]
struct Model {
    points: Series,
    sketches: Series,
    events: BTreeSet<(i64, String)>,
}

fn name(series: u8) -> String {
    if series.is_multiple_of(3) { format!("m.x;series={series}") } else { format!("m.s{series}") }
}

fn instant() -> impl Strategy<Value = i64> {
    // On the grid, near it, and in all blocks.
    prop_oneof![
        4 => (0_i64..60).prop_map(|slot| START + slot * 10_000),
        2 => (0_i64..40).prop_map(|slot| START + 2 * HOUR - 200_000 + slot * 10_000),
        1 => (0_i64..10 * HOUR).prop_map(|offset| START + offset),
    ]
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        3 => (0_i32..5).prop_map(f64::from),
        1 => prop::num::f64::ANY.prop_filter("a point has a value", |value| !value.is_nan()),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (
            prop::collection::vec((0_u8..6, instant(), value()), 0..40),
            prop::collection::vec((0_u8..6, instant(), -1e3..1e3_f64), 0..12),
            prop::collection::vec((instant(), 0_u8..6), 0..4),
        )
            .prop_map(|(points, sketches, events)| Action::Append(points, sketches, events)),
        2 => Just(Action::Cut),
        1 => Just(Action::Reopen),
        1 => (0_u8..6).prop_map(Action::Delete),
        3 => (instant(), 0_i64..3 * HOUR, prop_oneof![Just(0_i64), Just(10_000), Just(20_000), Just(70_000)])
            .prop_map(|(from, length, step)| Action::Fetch(from, length, step)),
        2 => (instant(), 0_i64..3 * HOUR, prop_oneof![Just(0_i64), Just(10_000), Just(70_000), Just(HOUR)])
            .prop_map(|(from, length, step)| Action::FetchSketches(from, length, step)),
        1 => (instant(), 0_i64..3 * HOUR, 0_usize..9).prop_map(|(from, length, limit)| Action::Events(from, length, limit)),
    ]
}

fn open_store(directory: &std::path::Path) -> EmbeddedStore {
    EmbeddedStore::open(EmbeddedConfig { head_memory: 1 << 30, ..config(directory, NOW).0 }).unwrap()
}

/// The series of the map that lived in the range.
fn lived(series: &Series, range: TimeRange) -> impl Iterator<Item = (&u8, &BTreeMap<i64, f64>)> {
    series.iter().filter(move |(_, points)| {
        let (Some((first, _)), Some((last, _))) = (points.first_key_value(), points.last_key_value()) else {
            return false;
        };
        *first < range.until.millis() && range.from.millis() <= *last && !range.is_empty()
    })
}

/// What the map answers to a raw fetch: the series that lived in the range.
fn expect_raw(model: &Series, range: TimeRange) -> BTreeMap<String, Vec<(i64, u64)>> {
    let inside = |points: &BTreeMap<i64, f64>| {
        points.range(range.from.millis()..range.until.millis()).map(|(time, value)| (*time, value.to_bits())).collect()
    };
    lived(model, range).map(|(series, points)| (name(*series), inside(points))).collect()
}

/// The sketches of the map: of each slot that begins in the range, all of its values together.
async fn check_sketches(store: &EmbeddedStore, model: &Series, range: TimeRange, width: i64) {
    let slot_of = |time: i64| if width == 0 { time } else { time.div_euclid(width) * width };
    let up = |time: i64| if width == 0 { time } else { slot_of(time.saturating_add(width - 1)) };
    let span = TimeRange::new(ms(up(range.from.millis())), ms(up(range.until.millis())));
    let mut expected = BTreeMap::new();
    for (series, points) in lived(model, span) {
        let mut slots: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for (time, value) in points.range(span.from.millis()..span.until.millis()) {
            slots.entry(slot_of(*time)).or_default().push(*value);
        }
        let merged = slots.into_iter().map(|(slot, values)| (slot, sketch(&values))).collect::<Vec<_>>();
        expected.insert(name(*series), merged);
    }
    let mut answer = BTreeMap::new();
    for pattern in ["m.*", "m.x;series=0", "m.x;series=3"] {
        let step = statline_series::Step::from_millis(width);
        answer.extend(fetch_sketches(store, pattern, range, step).await.unwrap());
    }
    assert_eq!(answer, expected, "{range:?} by {width} ms");
}

async fn check_events(store: &EmbeddedStore, model: &BTreeSet<(i64, String)>, range: TimeRange, limit: usize) {
    let found = store.events(range, &[], limit).await.unwrap();
    let found: Vec<_> = found.into_iter().map(|event| (event.timestamp.millis(), event.title)).collect();
    let inside = model.iter().filter(|(time, _)| range.contains(ms(*time)));
    let inside: Vec<_> = inside.cloned().collect();
    assert_eq!(found, inside[inside.len().saturating_sub(limit)..]);
}

async fn check_all(store: &EmbeddedStore, model: &Model) {
    check_raw(store, &model.points, TimeRange::ALL).await;
    check_sketches(store, &model.sketches, TimeRange::ALL, 0).await;
    check_events(store, &model.events, TimeRange::ALL, usize::MAX).await;
}

async fn check_raw(store: &EmbeddedStore, model: &Series, range: TimeRange) {
    let mut answer = BTreeMap::new();
    for pattern in ["m.*", "m.x;series=0", "m.x;series=3"] {
        for fetched in fetch_raw(store, pattern, range).await.unwrap() {
            answer.insert(fetched.key.to_string(), points_of(&fetched));
        }
    }
    assert_eq!(answer, expect_raw(model, range));
}

/// Slots of the resolution, each with its last point, and buckets of them averaged, computed slowly.
fn expect_regular(points: &BTreeMap<i64, f64>, from: i64, until: i64, step: i64) -> Vec<u64> {
    let mut answer = Vec::new();
    let mut bucket = (from + step - 1).div_euclid(step) * step;
    while bucket < until {
        let slots: Vec<f64> = (0..step / 10_000)
            .map(|slot| bucket + slot * 10_000)
            .map(|slot| points.range(slot..slot + 10_000).next_back().map_or(f64::NAN, |(_, value)| *value))
            .collect();
        let value = if step == 10_000 { slots[0] } else { statline_series::Consolidation::Average.apply(&slots) };
        answer.push(if value.is_nan() { u64::MAX } else { value.to_bits() });
        bucket += step;
    }
    answer
}

async fn check_regular(store: &EmbeddedStore, model: &Series, from: i64, until: i64, width: i64) {
    let asked = request(path("m.*"), range(from, until), Resolution::Step(step(width)));
    for fetched in store.fetch(&asked).await.unwrap() {
        let (_, points) = model.iter().find(|(series, _)| name(**series) == fetched.key.as_str()).unwrap();
        let Values::Regular { values, .. } = &fetched.values else { panic!("not regular") };
        let bits: Vec<u64> =
            values.iter().map(|value| if value.is_nan() { u64::MAX } else { value.to_bits() }).collect();
        assert_eq!(bits, expect_regular(points, from, until, width), "{} from {from}", fetched.key);
    }
}

async fn run(actions: Vec<Action>) {
    let directory = fast_directory();
    let mut store = open_store(directory.path());
    let mut model = Model::default();
    for action in actions {
        match action {
            Action::Append(points, with_sketches, with_events) => {
                let names: Vec<String> = points.iter().map(|(series, _, _)| name(*series)).collect();
                let rows = points.iter().zip(&names).map(|((_, time, value), name)| (name.as_str(), *time, *value));
                let mut together = batch(rows);
                for (series, time, value) in &with_sketches {
                    together.push_sketch(key(&name(*series)), ms(*time), sketch(&[*value]));
                }
                let before = model.events.len();
                for (time, title) in with_events {
                    together.events.push(event(time, &title.to_string(), ""));
                    model.events.insert((time, title.to_string()));
                }
                let appended = store.append(together).await.unwrap();
                assert_eq!(appended.points, points.len() as u64);
                assert_eq!(appended.sketches, with_sketches.len() as u64);
                assert_eq!(appended.events, (model.events.len() - before) as u64);
                for (series, time, value) in points {
                    model.points.entry(series).or_default().insert(time, value);
                }
                for (series, time, value) in with_sketches {
                    model.sketches.entry(series).or_default().insert(time, value);
                }
            }
            Action::Cut => store.cut_all().unwrap(),
            Action::Reopen => {
                drop(store);
                store = open_store(directory.path());
            }
            Action::Delete(series) => {
                let deleted = store.delete(&statline_store::Selection::Keys(vec![key(&name(series))])).await.unwrap();
                let expected = [&mut model.points, &mut model.sketches].map(|of| of.remove(&series).is_some());
                assert_eq!(deleted, expected.into_iter().map(u64::from).sum::<u64>());
            }
            Action::Fetch(from, length, 0) => check_raw(&store, &model.points, range(from, from + length)).await,
            Action::Fetch(from, length, step) => {
                check_regular(&store, &model.points, from, from + length, step).await;
            }
            Action::FetchSketches(from, length, step) => {
                check_sketches(&store, &model.sketches, range(from, from + length), step).await;
            }
            Action::Events(from, length, limit) => {
                check_events(&store, &model.events, range(from, from + length), limit).await;
            }
        }
    }
    check_all(&store, &model).await;
    store.cut_all().unwrap();
    check_all(&store, &model).await;
    drop(store);
    check_all(&open_store(directory.path()), &model).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_program_answers_as_a_map_would(actions in prop::collection::vec(action(), 1..24)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(actions));
    }
}
