//! Random programs against a plain map: what the store answers is bit for bit what the map holds.

use std::collections::BTreeMap;

use proptest::prelude::*;
use statline_series::{TimeRange, Values};
use statline_store::{EmbeddedConfig, EmbeddedStore, Resolution, Store};

use crate::support::*;

const NOW: i64 = START + 10 * HOUR;

#[derive(Clone, Debug)]
enum Action {
    Append(Vec<(u8, i64, f64)>),
    Cut,
    Reopen,
    Delete(u8),
    Fetch(i64, i64, i64),
}

type Model = BTreeMap<u8, BTreeMap<i64, f64>>;

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
        6 => prop::collection::vec((0_u8..6, instant(), value()), 0..40).prop_map(Action::Append),
        2 => Just(Action::Cut),
        1 => Just(Action::Reopen),
        1 => (0_u8..6).prop_map(Action::Delete),
        3 => (instant(), 0_i64..3 * HOUR, prop_oneof![Just(0_i64), Just(10_000), Just(20_000), Just(70_000)])
            .prop_map(|(from, length, step)| Action::Fetch(from, length, step)),
    ]
}

fn open_store(directory: &std::path::Path) -> EmbeddedStore {
    EmbeddedStore::open(EmbeddedConfig { head_memory: 1 << 30, ..config(directory, NOW).0 }).unwrap()
}

/// What the map answers to a raw fetch: the series that lived in the range.
fn expect_raw(model: &Model, range: TimeRange) -> BTreeMap<String, Vec<(i64, u64)>> {
    let lived = |points: &&BTreeMap<i64, f64>| {
        let (Some((first, _)), Some((last, _))) = (points.first_key_value(), points.last_key_value()) else {
            return false;
        };
        *first < range.until.millis() && range.from.millis() <= *last && !range.is_empty()
    };
    let inside = |points: &BTreeMap<i64, f64>| {
        points.range(range.from.millis()..range.until.millis()).map(|(time, value)| (*time, value.to_bits())).collect()
    };
    model.iter().filter(|(_, points)| lived(points)).map(|(series, points)| (name(*series), inside(points))).collect()
}

async fn check_raw(store: &EmbeddedStore, model: &Model, range: TimeRange) {
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

async fn check_regular(store: &EmbeddedStore, model: &Model, from: i64, until: i64, width: i64) {
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
    let mut model = Model::new();
    for action in actions {
        match action {
            Action::Append(points) => {
                let names: Vec<String> = points.iter().map(|(series, _, _)| name(*series)).collect();
                let rows = points.iter().zip(&names).map(|((_, time, value), name)| (name.as_str(), *time, *value));
                let appended = store.append(batch(rows)).await.unwrap();
                assert_eq!(appended.points, points.len() as u64);
                for (series, time, value) in points {
                    model.entry(series).or_default().insert(time, value);
                }
            }
            Action::Cut => store.cut_all().unwrap(),
            Action::Reopen => {
                drop(store);
                store = open_store(directory.path());
            }
            Action::Delete(series) => {
                let deleted = store.delete(&statline_store::Selection::Keys(vec![key(&name(series))])).await.unwrap();
                assert_eq!(deleted, u64::from(model.remove(&series).is_some()));
            }
            Action::Fetch(from, length, 0) => check_raw(&store, &model, range(from, from + length)).await,
            Action::Fetch(from, length, step) => check_regular(&store, &model, from, from + length, step).await,
        }
    }
    check_raw(&store, &model, TimeRange::ALL).await;
    store.cut_all().unwrap();
    check_raw(&store, &model, TimeRange::ALL).await;
    drop(store);
    check_raw(&open_store(directory.path()), &model, TimeRange::ALL).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_program_answers_as_a_map_would(actions in prop::collection::vec(action(), 1..24)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(actions));
    }
}
