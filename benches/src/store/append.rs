//! The way of a batch into the store: what a point costs, how long an append takes, what new series cost in time and
//! memory, and how long a store takes to start from its log.
//!
//! A batch has one point of every series, ten seconds after the one before, as a statsd server's flush has. Its keys are
//! shared with those of the batch before. CPU is that of the whole process less what making the batches took.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use statline_series::{Batch, Kind, SeriesKey, TimeRange, Timestamp};
use statline_store::{Clock, EmbeddedConfig, EmbeddedStore, Fetch, Limits, Resolution, Selection, Store};
use tokio::runtime::Runtime;

use crate::allocator;
use crate::clock::CpuClock;
use crate::procfs;
use crate::report::{Bar, Table, median, number, progress};
use crate::{Error, Measured};

/// What is measured.
#[derive(clap::Args, Clone, Debug)]
pub struct AppendArgs {
    /// Series of a batch, each number in a store of its own
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000])]
    series: Vec<usize>,
    /// Batches that are measured
    #[arg(long, default_value_t = 120)]
    flushes: usize,
    /// New series of one batch; 0 leaves them and the start from the log out
    #[arg(long, default_value_t = 1_000_000)]
    births: usize,
    /// Batches in the log from which the store starts
    #[arg(long, default_value_t = 20)]
    replayed: usize,
    /// Push everything out of the processor's caches between two batches, as ten seconds of other work do
    #[arg(long)]
    cold: bool,
    /// Send the series in another order than that in which they were born
    #[arg(long)]
    shuffled: bool,
    /// Where the stores are made
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    directory: PathBuf,
}

impl Default for AppendArgs {
    fn default() -> Self {
        Self {
            series: vec![10_000, 100_000],
            flushes: 120,
            births: 1_000_000,
            replayed: 20,
            cold: false,
            shuffled: false,
            directory: std::env::temp_dir(),
        }
    }
}

/// What the numbers are.
pub const ABOUT: &str = "\
### The way in

One batch is a point of every series, as a statsd server flushes them, ten seconds after the last one. CPU is that of all threads of
the process, from the call until the batch is durable and can be read, less what it took to make the batch. Files are on the disk of
the machine. A store is opened with a million series and a log of 20 points of each.";

const START: Timestamp = Timestamp::from_millis(1_763_784_000_000);
const INTERVAL_MILLIS: i64 = 10_000;
const MEGABYTE: f64 = 1e6;
/// More than the caches hold.
const COLD_BYTES: usize = 256 << 20;
/// How long the reader beside the appends rests between two reads.
const READ_EVERY: Duration = Duration::from_micros(200);

/// Measures; the tables and the bars.
///
/// # Errors
/// When the store fails or refuses points.
pub fn run(args: &AppendArgs) -> Measured {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut table = Table::new(&[
        "series",
        "µs of CPU a point",
        "ms p50",
        "ms p99",
        "ms most",
        "log bytes a point",
        "head bytes a point",
        "ms longest read",
    ]);
    let mut bars = Vec::new();
    for &series in &args.series {
        progress(&format!("store-append: {} batches of {series} series", args.flushes));
        bars.extend(steady(&runtime, args, series, &mut table)?);
    }
    let mut text = table.markdown();
    if args.births > 0 {
        progress(&format!("store-append: {} new series", args.births));
        let mut table = Table::new(&["what", "value"]);
        bars.extend(births(&runtime, args, &mut table)?);
        text = format!("{text}\n{}", table.markdown());
    }
    Ok((text, bars))
}

/// Points of series that are known.
fn steady(runtime: &Runtime, args: &AppendArgs, series: usize, table: &mut Table) -> Result<Vec<Bar>, Error> {
    let directory = tempfile::tempdir_in(&args.directory)?;
    let mut traffic = Traffic::new(series)?;
    let store = open(directory.path())?;
    append(runtime, &store, traffic.batch())?;
    if args.shuffled {
        traffic.random.shuffle(&mut traffic.keys);
        append(runtime, &store, traffic.batch())?;
    }
    let before = store.stats();
    let other_work: Vec<u64> = vec![1; if args.cold { COLD_BYTES / 8 } else { 0 }];
    let mut walls = Vec::new();
    let mut making = Duration::ZERO;
    let cpu_before = process_cpu();
    for _ in 0..args.flushes {
        let clock = CpuClock::start();
        let batch = traffic.batch();
        if args.cold {
            std::hint::black_box(other_work.iter().fold(0, |sum: u64, number| sum.wrapping_add(*number)));
        }
        making += clock.elapsed();
        walls.push(append(runtime, &store, batch)?.as_secs_f64() * 1000.0);
    }
    let cpu = process_cpu().saturating_sub(cpu_before).saturating_sub(making);
    let after = store.stats();
    let points = (args.flushes * series) as f64;
    let micros = cpu.as_secs_f64() * 1e6 / points;
    walls.sort_by(f64::total_cmp);
    let p99 = walls[(walls.len() * 99 / 100).min(walls.len() - 1)];
    let longest_read = read_beside(runtime, &store, &mut traffic)?;
    let head_bytes = after.head_bytes as f64 / after.head_points.max(1) as f64;
    table.row([
        series.to_string(),
        format!("{micros:.3}"),
        format!("{:.2}", median(&walls)),
        format!("{p99:.2}"),
        format!("{:.2}", walls[walls.len() - 1]),
        format!("{:.2}", after.log_bytes.saturating_sub(before.log_bytes) as f64 / points),
        format!("{head_bytes:.1}"),
        format!("{:.2}", longest_read.as_secs_f64() * 1000.0),
    ]);
    let name = |what: &str| format!("store.append_{what}_{series}");
    Ok(vec![Bar::at_most(name("cpu_us"), micros, 0.25), Bar::at_most(name("p99_ms"), p99, 20.0)])
}

/// The longest read of one series while thirty batches are appended.
fn read_beside(runtime: &Runtime, store: &EmbeddedStore, traffic: &mut Traffic) -> Result<Duration, Error> {
    let request = Fetch {
        selection: Selection::Keys(vec![traffic.keys[traffic.keys.len() / 2].clone()]),
        range: TimeRange::ALL,
        resolution: Resolution::Raw,
        consolidation: None,
        limits: Limits { max_points: usize::MAX, ..Limits::default() },
    };
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            let mut longest = Duration::ZERO;
            while !is_over.load(Ordering::Relaxed) {
                let started = Instant::now();
                runtime.block_on(store.fetch(&request))?;
                longest = longest.max(started.elapsed());
                std::thread::sleep(READ_EVERY);
            }
            Ok::<_, Error>(longest)
        });
        let appended = (0..30).try_for_each(|_| append(runtime, store, traffic.batch()).map(drop));
        is_over.store(true, Ordering::Relaxed);
        let longest = reader.join().map_err(|_| "the reader panicked")??;
        appended.map(|()| longest)
    })
}

/// A batch of new series, what they take in memory, and the start from the log.
fn births(runtime: &Runtime, args: &AppendArgs, table: &mut Table) -> Result<Vec<Bar>, Error> {
    let directory = tempfile::tempdir_in(&args.directory)?;
    let series = args.births as f64;
    let allocated = allocator::live();
    let mut traffic = Traffic::new(args.births)?;
    let mut store = open(directory.path())?;
    let batch = traffic.batch();
    let cpu_before = process_cpu();
    allocator::reset_peak();
    let wall = append(runtime, &store, batch)?;
    let cpu = process_cpu().saturating_sub(cpu_before).as_secs_f64();
    // Keys are counted with the traffic that shares them, and belong to the store as much.
    let live = || (allocator::live() - allocated) as f64;
    table.row(["s of CPU, first batch".to_owned(), number(cpu)]);
    table.row(["s of wall time, first batch".to_owned(), number(wall.as_secs_f64())]);
    table.row(["bytes a series with one point".to_owned(), number((live() - traffic.own_bytes()) / series)]);
    table.row(["MB at most in the first batch".to_owned(), number(allocator::peak() as f64 / MEGABYTE)]);

    for _ in 1..args.replayed {
        append(runtime, &store, traffic.batch())?;
    }
    let stats = store.stats();
    let points = stats.head_points;
    table.row(["points in the head".to_owned(), points.to_string()]);
    table.row(["head bytes a point".to_owned(), number(stats.head_bytes as f64 / points.max(1) as f64)]);
    table.row(["MB of memory".to_owned(), number((live() - traffic.own_bytes()) / MEGABYTE)]);
    table.row([
        "MB of RAM by the kernel's account".to_owned(),
        number(procfs::memory(std::process::id())?.0 as f64 / MEGABYTE),
    ]);
    table.row(["MB of log".to_owned(), number(stats.log_bytes as f64 / MEGABYTE)]);

    drop(store);
    let (started, cpu_before) = (Instant::now(), process_cpu());
    store = open(directory.path())?;
    let open_cpu = process_cpu().saturating_sub(cpu_before).as_secs_f64();
    let open_wall = started.elapsed().as_secs_f64();
    table.row(["s of wall time, start".to_owned(), number(open_wall)]);
    table.row(["s of CPU, start".to_owned(), number(open_cpu)]);
    let found = store.stats().head_points;
    if found != points {
        return Err(format!("{points} points were appended and {found} found again").into());
    }

    progress("store-append: cutting, to see what an idle series takes");
    store.cut_all()?;
    drop(traffic);
    let idle = live() / series;
    table.row(["bytes of an idle series".to_owned(), number(idle)]);
    Ok(vec![Bar::at_most("store.open_s", open_wall, 5.0), Bar::at_most("store.idle_series_bytes", idle, 500.0)])
}

fn open(directory: &Path) -> Result<EmbeddedStore, Error> {
    let (clock, _) = Clock::manual(START);
    let limits = EmbeddedConfig { max_series: 8_000_000, clock, ..EmbeddedConfig::at(directory) };
    Ok(EmbeddedStore::open(limits)?)
}

/// How long an append took.
fn append(runtime: &Runtime, store: &EmbeddedStore, batch: Batch) -> Result<Duration, Error> {
    let points = batch.len() as u64;
    let started = Instant::now();
    let appended = runtime.block_on(store.append(batch))?;
    let took = started.elapsed();
    if appended.points != points {
        return Err(format!("{points} points were sent and {} taken", appended.points).into());
    }
    Ok(took)
}

fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Series and the values that they have now: of ten, six move slowly, three are rates with many zeros, one is noise.
struct Traffic {
    keys: Vec<SeriesKey>,
    values: Vec<f64>,
    random: fastrand::Rng,
    at: Timestamp,
}

impl Traffic {
    fn new(series: usize) -> Result<Self, Error> {
        const FIGURES: [&str; 5] = ["gauges.queue.depth", "timers.request.mean", "counts.errors", "load", "sets.users"];
        let key = |number: usize| {
            let (host, service, figure) = (number % 1000, number / 5000, FIGURES[number / 1000 % FIGURES.len()]);
            SeriesKey::from_name(&format!("stats.fleet.host-{host:04}.service-{service:05}.{figure}"))
        };
        let keys = (0..series).map(key).collect::<Result<_, _>>()?;
        let mut random = fastrand::Rng::with_seed(7);
        let values = (0..series).map(|_| (random.f64() * 1000.0).floor()).collect();
        Ok(Self { keys, values, random, at: START })
    }

    /// Bytes that the traffic takes beside the keys.
    fn own_bytes(&self) -> f64 {
        (self.keys.capacity() * size_of::<SeriesKey>() + self.values.capacity() * size_of::<f64>()) as f64
    }

    /// The next batch.
    fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        batch.rows.reserve_exact(self.keys.len());
        let random = &mut self.random;
        for (number, (key, value)) in self.keys.iter().zip(&mut self.values).enumerate() {
            let kind = match number % 10 {
                0..6 => {
                    if random.u8(..) < 64 {
                        *value += f64::from(random.i8(-3..=3));
                    }
                    Kind::Gauge
                }
                6..9 => {
                    *value = if random.bool() { 0.0 } else { f64::from(random.u8(..)) / 10.0 };
                    Kind::Rate
                }
                _ => {
                    *value = random.f64() * 100.0;
                    Kind::Untyped
                }
            };
            batch.push(key.clone(), kind, self.at, *value);
        }
        self.at = self.at.offset(INTERVAL_MILLIS);
        batch
    }
}
