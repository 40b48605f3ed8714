//! What points take on disk, what they cost on their way there, and how fast they come back; VictoriaMetrics beside it.
//!
//! The store is in this process, as it is in the daemon; VictoriaMetrics is asked over HTTP, in its fastest format.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use statline_series::{Batch, Consolidation, SeriesKey, TimeRange, Timestamp};
use statline_store::{Clock, EmbeddedConfig, EmbeddedStore, Fetch, Limits, Resolution, Schemas, Selection, Store};

use super::community::Community;
use super::reference::{Reference, STEP, name};
use super::victoria::{Victoria, size_of};
use crate::clock;
use crate::report::{Bar, Table, median, progress};
use crate::{Error, Measured};

/// How much is measured.
#[derive(clap::Args, Clone, Debug)]
pub struct PointsArgs {
    /// Series of the reference mix, for a day
    #[arg(long, default_value_t = 3000)]
    series: usize,
    /// How often each read is measured
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Leave out VictoriaMetrics
    #[arg(long)]
    no_victoria: bool,
}

impl Default for PointsArgs {
    fn default() -> Self {
        Self { series: 3000, rounds: 15, no_victoria: false }
    }
}

/// What the numbers are.
pub const ABOUT: &str = "\
### Points on disk and back

The reference mix is 60 % slowly moving gauges, 30 % counter rates with zeros and 10 % noise of full precision, a point each
10 s. *B a point* is of the chunks; *files* counts all files. *CPU in* is all CPU of the process from the first point to the
last block, merged and on disk; VictoriaMetrics reads text. Times are wall time, medians; *cold* is the first read after the
store was opened. All files are on a file system in memory. VictoriaMetrics answers over HTTP in its native format; its precision is limited to 12 digits or so, ours to
none.";

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// A midnight.
const START: i64 = 1_763_769_600_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A store whose clock this holds.
struct Held {
    store: EmbeddedStore,
    hand: Arc<AtomicI64>,
    runtime: tokio::runtime::Runtime,
}

impl Held {
    fn open(directory: &Path, retentions: &str, now: i64) -> Result<Self, Error> {
        let (clock, hand) = Clock::manual(at(now));
        let config = EmbeddedConfig {
            clock,
            schemas: Schemas::of(retentions.parse()?),
            grace: Duration::ZERO,
            background: false,
            ..EmbeddedConfig::at(directory)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { store: EmbeddedStore::open(config)?, hand, runtime })
    }

    fn append(&self, batch: Batch) -> Result<(), Error> {
        let points = batch.rows.len() as u64;
        let appended = self.runtime.block_on(self.store.append(batch))?;
        if appended.points == points { Ok(()) } else { Err(format!("{appended:?} of {points} points").into()) }
    }

    /// Appends a batch each step, and makes blocks of them each two hours.
    fn fill(
        &self,
        from: i64,
        until: i64,
        mut batch: impl FnMut(Timestamp) -> Result<Batch, Error>,
    ) -> Result<(), Error> {
        for now in (from..until).step_by(STEP as usize) {
            self.hand.store(now + STEP, Ordering::SeqCst);
            self.append(batch(at(now))?)?;
            if (now + STEP) % (2 * HOUR) == 0 {
                self.tidy()?;
            }
        }
        self.tidy()
    }

    fn tidy(&self) -> Result<(), Error> {
        self.store.cut_all()?;
        Ok(self.store.maintain()?)
    }

    fn bytes_a_point(&self) -> f64 {
        let stats = self.store.stats();
        (stats.block_bytes - stats.block_sketch_bytes) as f64 / stats.block_points as f64
    }

    /// How long a read takes, and how many points or slots it answers with.
    fn read(&self, keys: &[SeriesKey], range: TimeRange, resolution: Resolution) -> Result<(Duration, usize), Error> {
        let request = Fetch {
            selection: Selection::Keys(keys.to_vec()),
            range,
            resolution,
            consolidation: Some(Consolidation::Average),
            limits: Limits { max_points: usize::MAX, ..Limits::default() },
        };
        let started = Instant::now();
        let answer = self.runtime.block_on(self.store.fetch(&request))?;
        let took = started.elapsed();
        Ok((took, answer.iter().map(|fetched| fetched.values.len()).sum()))
    }
}

fn milliseconds(times: &[Duration]) -> f64 {
    median(&times.iter().map(|time| time.as_secs_f64() * 1000.0).collect::<Vec<_>>())
}

/// Measures; the tables and the bars.
///
/// # Errors
/// When a store fails, or VictoriaMetrics does not answer.
pub fn run(args: &PointsArgs) -> Measured {
    let mut sizes = Table::new(&["points", "what", "server", "B a point", "files, B a point", "CPU in, µs a point"]);
    let mut reads = Table::new(&["read", "points", "store ms", "cold ms", "VictoriaMetrics ms"]);
    let mut bars = Vec::new();
    let mut victoria = if args.no_victoria { None } else { Victoria::start()? };

    progress(&format!("store: {} series of the reference mix for a day", args.series));
    let directory = super::in_memory()?;
    let path = directory.path().join("reference");
    let held = Held::open(&path, "10s:30d", START)?;
    let mut reference = Reference::new("ref", args.series)?;
    let points = args.series as u64 * (DAY / STEP) as u64;
    let before = clock::process();
    held.fill(START, START + DAY, |now| Ok(reference.tick(now)))?;
    let spent = (clock::process() - before).as_secs_f64() * 1e6 / points as f64;
    // The day is over, and becomes one block.
    held.hand.store(START + DAY + HOUR, Ordering::SeqCst);
    held.tidy()?;
    let bytes = held.bytes_a_point();
    let row = |what: &str, server: &str, points: u64, bytes: f64, files: u64, cpu: f64| {
        let files = files as f64 / points as f64;
        [
            points.to_string(),
            what.to_owned(),
            server.to_owned(),
            format!("{bytes:.3}"),
            format!("{files:.3}"),
            format!("{cpu:.3}"),
        ]
    };
    sizes.row(row("reference mix", "statline", points, bytes, size_of(&path)?, spent));
    bars.push(Bar::at_most("store.bytes_per_point_reference", bytes, 1.20));

    progress("store: 100 series for a week");
    let mut week = Reference::new("week", 100)?;
    let long = Held::open(&directory.path().join("week"), "10s:60d", START)?;
    long.fill(START, START + 7 * DAY, |now| Ok(week.tick(now)))?;
    long.hand.store(START + 8 * DAY, Ordering::SeqCst);
    long.tidy()?;

    if let Some(victoria) = &mut victoria {
        progress("store: the same to VictoriaMetrics");
        let before = victoria.cpu()?;
        let mut reference = Reference::new("ref", args.series)?;
        for now in (START..START + DAY).step_by(STEP as usize) {
            victoria.send(&reference.tick(at(now)))?;
        }
        victoria.settle(points)?;
        let spent = (victoria.cpu()? - before).as_secs_f64() * 1e6 / points as f64;
        let files = victoria.data_bytes()?;
        let bytes = files as f64 / points as f64;
        sizes.row(row("reference mix", "VictoriaMetrics 1.79", points, bytes, files, spent));
        let mut week = Reference::new("week", 100)?;
        for now in (START..START + 7 * DAY).step_by(STEP as usize) {
            victoria.send(&week.tick(at(now)))?;
        }
        victoria.settle(points + 100 * 7 * (DAY / STEP) as u64)?;
    }

    progress("store: the demo's community for a day");
    let demo = Held::open(&directory.path().join("demo"), "10s:30d", START)?;
    let mut community = Community::new()?;
    let mut flushed = 0;
    let before = clock::process();
    demo.fill(START, START + DAY, |now| {
        let batch = community.flush(now);
        flushed += batch.rows.len() as u64;
        Ok(batch)
    })?;
    let spent = (clock::process() - before).as_secs_f64() * 1e6 / flushed as f64;
    demo.hand.store(START + DAY + HOUR, Ordering::SeqCst);
    demo.tidy()?;
    let bytes = demo.bytes_a_point();
    sizes.row(row("statsd of the demo", "statline", flushed, bytes, size_of(&directory.path().join("demo"))?, spent));
    bars.push(Bar::at_most("store.bytes_per_point_demo", bytes, 0.5));

    progress("store: 4 series for a year of rollups");
    let year = Held::open(&directory.path().join("year"), "10s:6h,1m:6d,10m:5y", START)?;
    let keys = keys_of("year", &[0, 6, 9, 1])?;
    for day in 0..365 {
        let mut batch = Batch::default();
        for key in &keys {
            for minute in 0..1440 {
                let now = START - (365 - day) * DAY + minute * 60_000;
                batch.push(key.clone(), statline_series::Kind::Gauge, at(now), ((minute * 7 + day) % 113) as f64 * 0.5);
            }
        }
        year.append(batch)?;
        year.tidy()?;
    }

    let mut random = fastrand::Rng::with_seed(7);
    let mut read = |what: &str,
                    held: &Held,
                    choose: &mut dyn FnMut() -> Result<(Vec<SeriesKey>, TimeRange), Error>,
                    resolution: Resolution,
                    reopened: Option<&Held>,
                    goals: (&str, f64, Option<f64>)|
     -> Result<(), Error> {
        let (mut times, mut others, mut cold, mut answered) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for round in 0..args.rounds {
            let (keys, range) = choose()?;
            if let Some(reopened) = reopened.filter(|_| round == 0) {
                cold.push(reopened.read(&keys, range, resolution)?.0);
            }
            held.read(&keys, range, resolution)?;
            let (took, count) = held.read(&keys, range, resolution)?;
            times.push(took);
            answered = count;
            if let Some(victoria) = victoria.as_ref().filter(|_| !what.contains("year")) {
                let names: Vec<String> = keys.iter().map(ToString::to_string).collect();
                victoria.export(&names, range.from.seconds(), range.until.seconds())?;
                others.push(victoria.export(&names, range.from.seconds(), range.until.seconds())?);
            }
        }
        let shown =
            |times: &[Duration]| if times.is_empty() { "-".to_owned() } else { format!("{:.3}", milliseconds(times)) };
        reads.row([what.to_owned(), answered.to_string(), shown(&times), shown(&cold), shown(&others)]);
        let (name, warm_goal, cold_goal) = goals;
        bars.push(Bar::at_most(format!("store.read_{name}_ms"), milliseconds(&times), warm_goal));
        if let Some(goal) = cold_goal {
            bars.push(Bar::at_most(format!("store.read_{name}_cold_ms"), milliseconds(&cold), goal));
        }
        Ok(())
    };
    progress("store: reads");
    drop(held);
    let held = Held::open(&path, "10s:30d", START + DAY + HOUR)?;
    let day = TimeRange::new(at(START), at(START + DAY));
    let count = args.series;
    let one = |random: &mut fastrand::Rng| keys_of("ref", &[random.usize(0..count)]);
    read(
        "1 series, 24 h",
        &held,
        &mut || Ok((one(&mut random)?, day)),
        Resolution::Native,
        Some(&held),
        ("1x24h", 0.3, Some(3.0)),
    )?;
    read(
        "1,000 random series, 1 h",
        &held,
        &mut || {
            let mut chosen: Vec<usize> = (0..count).collect();
            random.shuffle(&mut chosen);
            chosen.truncate(1000);
            let from = START + random.i64(0..22) * HOUR + random.i64(0..360) * STEP;
            Ok((keys_of("ref", &chosen)?, TimeRange::new(at(from), at(from + HOUR))))
        },
        Resolution::Native,
        None,
        ("1000x1h", 12.0, None),
    )?;
    let all = keys_of("week", &(0..100).collect::<Vec<_>>())?;
    read(
        "100 series, 7 d",
        &long,
        &mut || Ok((all.clone(), TimeRange::new(at(START), at(START + 7 * DAY)))),
        Resolution::Native,
        None,
        ("100x7d", 80.0, None),
    )?;
    read(
        "1 series, a year of rollups",
        &year,
        &mut || Ok((vec![keys[0].clone()], TimeRange::new(at(START - 365 * DAY), at(START)))),
        Resolution::Native,
        None,
        ("1x1y", 5.0, None),
    )?;
    Ok((format!("{}\n{}", sizes.markdown(), reads.markdown()), bars))
}

fn keys_of(prefix: &str, numbers: &[usize]) -> Result<Vec<SeriesKey>, Error> {
    numbers.iter().map(|number| Ok(SeriesKey::from_name(&name(prefix, *number))?)).collect()
}
