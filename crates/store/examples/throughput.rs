//! How fast the store takes points, how small it keeps them, how fast it gives them back.
//!
//! `cargo run --release -p statline-store --example throughput -- [series] [flushes] [directory]`
//!
//! Six in ten series are gauges that drift, three are rates with zeros, one is noise. Times are of the processor, of all
//! threads, and so include the cut.
#![allow(clippy::print_stdout, reason = "it is what the example is for")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use statline_series::{Batch, Kind, PathPattern, SeriesKey, TimeRange, Timestamp};
use statline_store::{Clock, EmbeddedConfig, EmbeddedStore, Fetch, Limits, Resolution, Selection, Store};

const START: i64 = 1_763_784_000_000;
const STEP: i64 = 10_000;

/// A small generator of its own, so that each run sees the same points (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
    fn next_value(&mut self, series: usize, last: f64) -> f64 {
        match series % 10 {
            0..=5 => last + if self.roll(4) == 0 { self.roll(5) as f64 - 2.0 } else { 0.0 },
            6..=8 => [0.0, 0.0, 0.1, 0.2, 0.5][self.roll(5) as usize],
            _ => self.roll(1 << 40) as f64 / 1e9,
        }
    }
}

/// Processor time of the process so far. The system counts in hundredths of a second.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

#[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
fn micros_a_point(time: Duration, points: u64) -> f64 {
    time.as_secs_f64() * 1e6 / points as f64
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let series: usize = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let flushes: i64 = arguments.next().map_or(Ok(720), |text| text.parse())?;
    let directory = arguments.next().map_or_else(|| std::env::temp_dir().join("statline-throughput"), PathBuf::from);
    if directory.exists() {
        return Err(format!("{} is there already", directory.display()).into());
    }

    let (clock, hand) = Clock::manual(Timestamp::from_millis(START));
    let store = EmbeddedStore::open(EmbeddedConfig { clock, head_memory: 4 << 30, ..EmbeddedConfig::at(&directory) })?;
    let keys: Vec<SeriesKey> = (0..series)
        .map(|number| {
            SeriesKey::from_name(&format!("stats.timers.bot.host{:03}.metric{number:06}.mean_90", number % 100))
        })
        .collect::<Result<_, _>>()?;
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut values = vec![100.0; series];
    let mut in_flush = Vec::new();
    let mut processor = Duration::ZERO;
    for flush in 0..flushes {
        let now = Timestamp::from_millis(START + flush * STEP);
        let mut batch = Batch::default();
        for (number, key) in keys.iter().enumerate() {
            values[number] = dice.next_value(number, values[number]);
            batch.push(key.clone(), Kind::Gauge, now, values[number]);
        }
        hand.store(now.millis(), std::sync::atomic::Ordering::SeqCst);
        let (before, started) = (processor_time(), Instant::now());
        store.append(batch).await?;
        in_flush.push(started.elapsed());
        processor += processor_time().saturating_sub(before);
    }
    let points = series as u64 * flushes.unsigned_abs();
    in_flush.sort_unstable();
    let at = |hundredth: usize| in_flush[(in_flush.len() - 1) * hundredth / 100];
    println!(
        "append: {:.3} µs of processor a point; flush p50 {:?}, p99 {:?}",
        micros_a_point(processor, points),
        at(50),
        at(99)
    );
    let stats = store.stats();
    println!("head: {} points in {} bytes; log: {} bytes", stats.head_points, stats.head_bytes, stats.log_bytes);

    let before = processor_time();
    let started = Instant::now();
    store.cut_all()?;
    let cut = processor_time().saturating_sub(before);
    let stats = store.stats();
    #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
    let bytes_a_point = stats.block_bytes as f64 / stats.block_points as f64;
    println!(
        "cut: {:.3} µs of processor a point, {:?}; {bytes_a_point:.3} bytes a point",
        micros_a_point(cut, points),
        started.elapsed()
    );

    let range = TimeRange::new(Timestamp::from_millis(START), Timestamp::from_millis(START + flushes * STEP));
    for (pattern, what) in
        [(keys[0].as_str(), "one series"), ("stats.timers.bot.host007.*.mean_90", "one in a hundred")]
    {
        let selection = Selection::Path(PathPattern::parse(pattern)?);
        let limits = Limits { max_series: series, max_points: usize::MAX };
        let request = Fetch { selection, range, resolution: Resolution::Native, consolidation: None, limits };
        for temperature in ["first", "again"] {
            let started = Instant::now();
            let fetched = store.fetch(&request).await?;
            println!("read {what} ({} series), {temperature}: {:?}", fetched.len(), started.elapsed());
        }
    }
    store.close().await?;
    let started = Instant::now();
    drop(EmbeddedStore::open(EmbeddedConfig::at(&directory))?);
    println!("open and close: {:?}", started.elapsed());
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}
