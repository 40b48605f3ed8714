//! Random programs over tiers against a plain map: whatever was cut, rolled up, merged, filed anew or dropped, an answer is
//! bit for bit what the points give.
//!
//! What the map cannot know is which points were rolled up already. So points younger than any finest tier keeps are
//! written over at will; older ones only where none was. And once the schemas have changed, answers are asked for in
//! steps that every tier divides.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use statline_series::{Consolidation, Kind, Sketch, TimeRange, Values};
use statline_store::{EmbeddedConfig, EmbeddedStore, Fetch, Limits, Policy, Resolution, Schemas, Store};

use crate::support::*;

const MINUTE: i64 = 60_000;
/// What the shortest finest tier keeps.
const YOUNG: i64 = HOUR;
/// A multiple of every step.
const COMMON: i64 = 20 * MINUTE;
const KEPT: i64 = 40 * HOUR;

/// Schemas that a program changes between, each for the series `m.a*` and for the others. All keep points as long.
const SCHEMAS: [[&str; 2]; 4] = [
    ["10s:2h,1m:8h,10m:40h", "30s:4h,5m:40h"],
    ["10s:1h,2m:40h", "30s:40h"],
    ["10s:40h", "30s:1h,1m:3h,20m:40h"],
    ["10s:3h,10m:40h", "30s:4h,5m:40h"],
];

/// Which part of a bucket of series `m.a*` must have a value.
const X_FILES_FACTOR: f64 = 0.1;

const METHODS: [Consolidation; 8] = [
    Consolidation::Average,
    Consolidation::AvgZero,
    Consolidation::Count,
    Consolidation::Last,
    Consolidation::Max,
    Consolidation::Min,
    Consolidation::Range,
    Consolidation::Sum,
];

#[derive(Clone, Debug)]
enum Action {
    /// Points and sketches by series, how many tenths of a second ago, and value.
    Append(Vec<(u8, i64, u32)>, Vec<(u8, i64, u32)>),
    Pass(i64),
    Cut,
    Maintain,
    Reopen,
    Change(usize),
    Delete(u8),
    /// From how many seconds ago, for how many seconds, by which step in minutes, consolidated how.
    Fetch(i64, i64, i64, usize),
    FetchRaw(i64, i64),
    FetchSketches(i64, i64, i64),
}

fn ago() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => 0..600_i64,
        3 => 0..YOUNG / 100,
        2 => 0..10 * HOUR / 100,
        1 => 0..(KEPT + 2 * HOUR) / 100,
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let some = || prop::collection::vec((0_u8..6, ago(), 0_u32..50), 0..40);
    let from = || prop_oneof![0..2 * HOUR / 1000, 0..12 * HOUR / 1000, 0..(KEPT + 2 * HOUR) / 1000];
    prop_oneof![
        8 => (some(), some()).prop_map(|(points, sketches)| Action::Append(points, sketches)),
        4 => prop_oneof![0..10 * MINUTE, 0..3 * HOUR, 0..9 * HOUR].prop_map(Action::Pass),
        2 => Just(Action::Cut),
        5 => Just(Action::Maintain),
        1 => Just(Action::Reopen),
        1 => (0..SCHEMAS.len()).prop_map(Action::Change),
        1 => (0_u8..6).prop_map(Action::Delete),
        6 => (from(), 0..12 * HOUR / 1000, prop_oneof![Just(0_i64), Just(1), Just(20), Just(60)], 0..METHODS.len())
            .prop_map(|(from, length, step, method)| Action::Fetch(from, length, step, method)),
        1 => (0..YOUNG / 1000, 0..YOUNG / 1000).prop_map(|(from, length)| Action::FetchRaw(from, length)),
        2 => (from(), 0..12 * HOUR / 1000, prop_oneof![Just(20_i64), Just(60), Just(240)])
            .prop_map(|(from, length, step)| Action::FetchSketches(from, length, step)),
    ]
}

fn name(series: u8) -> String {
    ["m.a0", "m.a1", "m.x;a=1", "m.b0", "m.b1", "m.y;b=1"][usize::from(series)].to_owned()
}

/// Whether the series is of the first policy of a pair.
fn is_first(series: u8) -> bool {
    series < 2
}

fn schemas(number: usize) -> Schemas {
    let [first, others] = SCHEMAS[number];
    let file = format!("[first]\npattern = ^m\\.a\nretentions = {first}\n");
    let aggregations = format!("[first]\npattern = ^m\\.a\nxFilesFactor = {X_FILES_FACTOR}\n");
    Schemas::of(others.parse().unwrap()).with_schemas(&file).unwrap().with_aggregations(&aggregations).unwrap()
}

type Points = BTreeMap<i64, f64>;

struct World {
    store: EmbeddedStore,
    hand: Arc<AtomicI64>,
    schemas: usize,
    has_changed: bool,
    points: BTreeMap<u8, Points>,
    sketches: BTreeMap<u8, Points>,
}

fn open(directory: &Path, now: i64, number: usize) -> (EmbeddedStore, Arc<AtomicI64>) {
    let (config, hand) = config(directory, now);
    let config = EmbeddedConfig {
        schemas: schemas(number),
        grace: std::time::Duration::ZERO,
        background: false,
        head_memory: 1 << 30,
        // None, too little for all, enough.
        cache_memory: [0, 6000, 64 << 20][number % 3],
        ..config
    };
    (EmbeddedStore::open(config).unwrap(), hand)
}

impl World {
    fn now(&self) -> i64 {
        self.hand.load(Ordering::SeqCst)
    }

    fn policy(&self, series: u8) -> Policy {
        SCHEMAS[self.schemas][usize::from(!is_first(series))].parse().unwrap()
    }

    fn finest(&self, series: u8) -> i64 {
        self.policy(series).finest().millis()
    }

    /// The range of an answer in a step, without what is kept no longer.
    fn span(&self, series: u8, range: TimeRange, width: i64) -> TimeRange {
        let up = |millis: i64, step: i64| (millis + step - 1).div_euclid(step) * step;
        let horizon = up(self.now() - KEPT, self.policy(series).coarsest().millis());
        let (from, until) = (up(range.from.millis(), width), up(range.until.millis(), width));
        TimeRange::new(ms(from.max(horizon)), ms(until))
    }

    async fn append(&mut self, points: Vec<(u8, i64, u32)>, sketches: Vec<(u8, i64, u32)>) {
        let now = self.now();
        let mut together = statline_series::Batch::default();
        let (mut taken, mut refused) = ([0_u64; 2], [0_u64; 2]);
        for (series, ago, value) in points {
            let at = now - ago * 100;
            let slot = at.div_euclid(self.finest(series));
            let finest = self.finest(series);
            let of_series = self.points.entry(series).or_default();
            let is_free = of_series.range(slot * finest..(slot + 1) * finest).next().is_none();
            if ago * 100 > YOUNG && !is_free {
                continue;
            }
            let value = f64::from(value) / 4.0;
            together.push(key(&name(series)), Kind::Untyped, ms(at), value);
            if ago * 100 <= KEPT {
                of_series.insert(at, value);
                taken[0] += 1;
            } else {
                refused[0] += 1;
            }
        }
        for (series, ago, value) in sketches {
            let at = now - ago * 100;
            let of_series = self.sketches.entry(series).or_default();
            if ago * 100 > YOUNG && of_series.contains_key(&at) {
                continue;
            }
            let value = f64::from(value);
            together.push_sketch(key(&name(series)), ms(at), sketch(&[value]));
            if ago * 100 <= KEPT {
                of_series.insert(at, value);
                taken[1] += 1;
            } else {
                refused[1] += 1;
            }
        }
        self.points.retain(|_, points| !points.is_empty());
        self.sketches.retain(|_, points| !points.is_empty());
        let appended = self.store.append(together).await.unwrap();
        assert_eq!([appended.points, appended.sketches], taken);
        assert_eq!([appended.refused.too_old, appended.refused_sketches.too_old], refused);
    }

    /// Series that have nothing left are forgotten.
    fn maintain(&mut self) {
        self.store.maintain().unwrap();
        let horizon = self.now() - KEPT;
        for series in [&mut self.points, &mut self.sketches] {
            series.retain(|_, points| points.last_key_value().is_some_and(|(last, _)| *last >= horizon));
        }
    }

    fn lived(points: &Points, span: TimeRange) -> bool {
        let (Some((first, _)), Some((last, _))) = (points.first_key_value(), points.last_key_value()) else {
            return false;
        };
        span.from < span.until && *first < span.until.millis() && span.from.millis() <= *last
    }

    async fn check_points(&self, range: TimeRange, width: i64, method: Consolidation) {
        let resolution = if width == 0 { Resolution::Native } else { Resolution::Step(step(width)) };
        for series in 0..6 {
            let own = self.step_at(series, range);
            let width = match width {
                0 => own,
                width => (width + own - 1).div_euclid(own) * own,
            };
            let asked = Fetch {
                selection: path(&name(series)),
                range,
                resolution,
                consolidation: Some(method),
                limits: Limits::default(),
            };
            let answer = self.store.fetch(&asked).await.unwrap();
            let span = self.span(series, range, width);
            let Some(points) = self.points.get(&series).filter(|points| Self::lived(points, span)) else {
                assert!(answer.is_empty(), "{} in {range:?}", name(series));
                continue;
            };
            let Values::Regular { start, step, values } = &answer[0].values else { panic!("not regular") };
            assert_eq!(step.millis(), width);
            let expected = self.expected(series, points, range, width, method);
            let bits = |value: &f64| if value.is_nan() { None } else { Some(value.to_bits()) };
            let told = (start.millis(), values.iter().map(bits).collect::<Vec<_>>());
            let expected = (span_start(range, width), expected.iter().map(bits).collect::<Vec<_>>());
            assert_eq!(told, expected, "{} {method} by {width} ms in {range:?}, now {}", name(series), self.now());
        }
    }

    fn step_at(&self, series: u8, range: TimeRange) -> i64 {
        let policy = self.policy(series);
        let age = self.now() - range.from.millis() - MINUTE;
        policy.step_at(age).unwrap_or(policy.coarsest()).millis()
    }

    fn expected(&self, series: u8, points: &Points, range: TimeRange, width: i64, method: Consolidation) -> Vec<f64> {
        let finest = self.finest(series);
        let span = self.span(series, range, width);
        let mut answer = Vec::new();
        let mut bucket = span_start(range, width);
        while bucket < range.until.millis() {
            let slots: Vec<f64> = (0..width / finest)
                .map(|slot| bucket + slot * finest)
                .map(|slot| {
                    let mut inside = points.range(slot..slot + finest);
                    let last = inside.next_back().filter(|_| slot >= span.from.millis());
                    last.map_or(f64::NAN, |(_, value)| *value)
                })
                .collect();
            let count = slots.iter().filter(|value| !value.is_nan()).count() as f64;
            let factor = if is_first(series) && width > finest { X_FILES_FACTOR } else { 0.0 };
            let value = match width == finest {
                true => slots[0],
                false if count < factor * slots.len() as f64 => f64::NAN,
                false => method.apply(&slots),
            };
            answer.push(value);
            bucket += width;
        }
        answer
    }

    async fn check_raw(&self, range: TimeRange) {
        for series in 0..6 {
            let expected: Vec<_> = self.points.get(&series).map_or(Vec::new(), |points| {
                points
                    .range(range.from.millis()..range.until.millis())
                    .map(|(at, value)| (*at, value.to_bits()))
                    .collect()
            });
            let answer = fetch_raw(&self.store, &name(series), range).await.unwrap();
            let told = answer.first().map_or(Vec::new(), points_of);
            assert_eq!(told, expected, "{}", name(series));
        }
    }

    async fn check_sketches(&self, range: TimeRange, width: i64) {
        for series in 0..6 {
            let own = self.step_at(series, range);
            let width = (width + own - 1).div_euclid(own) * own;
            let span = self.span(series, range, width);
            let answer = fetch_sketches(&self.store, &name(series), range, Some(step(width))).await.unwrap();
            let Some(points) = self.sketches.get(&series).filter(|points| Self::lived(points, span)) else {
                assert!(answer.is_empty(), "{} in {range:?}", name(series));
                continue;
            };
            let mut expected: BTreeMap<i64, Sketch> = BTreeMap::new();
            for (at, value) in points.range(span.from.millis()..span.until.millis().max(span.from.millis())) {
                expected.entry(at.div_euclid(width) * width).or_default().merge(&sketch(&[*value]));
            }
            assert_eq!(answer[0].1, Vec::from_iter(expected), "{} by {width} ms in {range:?}", name(series));
        }
    }

    async fn check_all(&self) {
        let now = self.now();
        for ago in [YOUNG, 5 * HOUR, KEPT] {
            let all = range(now - ago, now + 1);
            self.check_points(all, COMMON, Consolidation::Sum).await;
            self.check_points(all, COMMON, Consolidation::Last).await;
            self.check_sketches(all, COMMON).await;
            if !self.has_changed {
                self.check_points(all, 0, Consolidation::Average).await;
            }
        }
        self.check_raw(range(now - YOUNG, now + 1)).await;
    }
}

fn span_start(range: TimeRange, width: i64) -> i64 {
    (range.from.millis() + width - 1).div_euclid(width) * width
}

async fn run(actions: Vec<Action>) {
    let directory = fast_directory();
    let (store, hand) = open(directory.path(), START, 0);
    let (points, sketches) = (BTreeMap::new(), BTreeMap::new());
    let mut world = World { store, hand, schemas: 0, has_changed: false, points, sketches };
    let reopen = |world: World| {
        let World { store, hand, schemas, has_changed, points, sketches } = world;
        drop(store);
        let (store, hand) = open(directory.path(), hand.load(Ordering::SeqCst), schemas);
        World { store, hand, schemas, has_changed, points, sketches }
    };
    for action in actions {
        let now = world.now();
        let range_of = |from: i64, length: i64| range(now - from * 1000, now - from * 1000 + length * 1000);
        match action {
            Action::Append(points, sketches) => world.append(points, sketches).await,
            Action::Pass(millis) => _ = world.hand.fetch_add(millis, Ordering::SeqCst),
            Action::Cut => world.store.cut_all().unwrap(),
            Action::Maintain => world.maintain(),
            Action::Reopen => world = reopen(world),
            Action::Change(number) => {
                world.has_changed |= number != world.schemas;
                world.schemas = number;
                world = reopen(world);
            }
            Action::Delete(series) => {
                let keys = statline_store::Selection::Keys(vec![key(&name(series))]);
                let deleted = world.store.delete(&keys).await.unwrap();
                let expected = [&mut world.points, &mut world.sketches].map(|of| of.remove(&series).is_some());
                assert_eq!(deleted, expected.into_iter().map(u64::from).sum::<u64>());
            }
            Action::Fetch(from, length, minutes, method) => {
                let width = if world.has_changed { minutes.max(20) } else { minutes } * MINUTE;
                world.check_points(range_of(from, length), width, METHODS[method]).await;
            }
            Action::FetchRaw(from, length) => world.check_raw(range_of(from, length)).await,
            Action::FetchSketches(from, length, minutes) => {
                world.check_sketches(range_of(from, length), minutes * MINUTE).await;
            }
        }
    }
    world.check_all().await;
    world.store.cut_all().unwrap();
    world.maintain();
    world.check_all().await;
    world = reopen(world);
    world.check_all().await;
}

/// How many programs run: more than a few only when asked for.
fn cases() -> u32 {
    std::env::var("STATLINE_PROGRAMS").ok().and_then(|text| text.parse().ok()).unwrap_or(96)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_program_over_tiers_answers_as_its_points_would(actions in prop::collection::vec(action(), 1..40)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(actions));
    }
}
