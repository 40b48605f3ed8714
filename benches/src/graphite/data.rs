//! The series that are asked for, and a statlined that holds them as one does that has run for a day.

use std::fmt::Write as _;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use statline_harness::http::figure;
use statline_harness::program::wait_until;
use statline_harness::statlined::{Options, Statlined};
use statline_series::{Batch, Kind, SeriesKey, Timestamp};
use statline_store::{EmbeddedConfig, EmbeddedStore, Store};
use tempfile::TempDir;

use crate::Error;

/// Seconds between two points of a series.
pub const STEP: i64 = 60;
/// Points of a day, which is what targets are asked over.
pub const POINTS_OF_A_DAY: usize = 1440;
/// Points of a series: a day, and what windows look back to.
const POINTS: usize = POINTS_OF_A_DAY + 90;
/// The newest of them come over carbon, and are in memory and in the log when they are asked for.
const POINTS_OVER_CARBON: usize = 30;
/// One value in so many is missing.
const GAPS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);

/// Series that walk about by chance, a point a minute, up to the last minute.
pub struct Walks {
    pub names: Vec<String>,
    /// Of each series; NaN where one is missing.
    pub values: Vec<Vec<f64>>,
    /// The instant of the first value, in seconds.
    pub start: i64,
}

impl Walks {
    /// 200 of them: `srv.sNN.dN.cpu`.
    pub fn new() -> Result<Self, Error> {
        let mut rng = fastrand::Rng::with_seed(1);
        let names: Vec<String> = (0..200).map(|place| format!("srv.s{:02}.d{}.cpu", place / 10, place % 10)).collect();
        let walk = |_: &String| {
            let mut value = 50.0 * rng.f64();
            let mut next = || {
                value = (value + rng.f64() - 0.5).abs();
                if rng.usize(..GAPS) == 0 { f64::NAN } else { value }
            };
            (0..POINTS).map(|_| next()).collect()
        };
        let values = names.iter().map(walk).collect();
        let now = i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())?;
        let start = now - now % STEP - STEP * (i64::try_from(POINTS)? - 1);
        Ok(Self { names, values, start })
    }

    /// The instant of the newest point, in seconds.
    pub fn until(&self) -> i64 {
        self.time_of(POINTS - 1)
    }

    fn time_of(&self, place: usize) -> i64 {
        self.start + STEP * place as i64
    }

    /// Writes them for graphite-web.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let head = serde_json::json!({ "start": self.start, "step": STEP, "points": POINTS, "names": self.names });
        let mut bytes = format!("{head}\n").into_bytes();
        bytes.extend(self.values.iter().flatten().flat_map(|value| value.to_le_bytes()));
        Ok(std::fs::write(path, bytes)?)
    }

    /// A daemon in its default configuration that holds them: what is older in blocks and rollups, the newest in memory.
    pub fn serve(&self, directory: &Path) -> Result<Statlined, Error> {
        let keys = self.names.iter().map(|name| SeriesKey::from_name(name)).collect::<Result<Vec<_>, _>>()?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let store = EmbeddedStore::open(EmbeddedConfig::at(directory))?;
        let in_blocks = POINTS - POINTS_OVER_CARBON;
        for place in 0..in_blocks {
            let mut batch = Batch::default();
            for (key, values) in keys.iter().zip(&self.values).filter(|(_, values)| !values[place].is_nan()) {
                let kind = Kind::of_path(key.name());
                batch.push(key.clone(), kind, Timestamp::from_seconds(self.time_of(place)), values[place]);
            }
            runtime.block_on(store.append(batch))?;
        }
        store.cut_all()?;
        store.maintain()?;
        runtime.block_on(store.close())?;
        let daemon = start(directory, None)?;
        let mut lines = String::new();
        let mut sent = 0.0;
        for place in in_blocks..POINTS {
            for (name, values) in self.names.iter().zip(&self.values).filter(|(_, values)| !values[place].is_nan()) {
                writeln!(lines, "{name} {} {}", values[place], self.time_of(place))?;
                sent += 1.0;
            }
        }
        TcpStream::connect(daemon.carbon())?.write_all(lines.as_bytes())?;
        wait_until("statlined to take all points", PATIENCE, || {
            let taken = figure(daemon.http(), "statline_carbon_points_total").ok()?;
            (taken >= sent).then_some(())
        })?;
        Ok(daemon)
    }
}

/// A daemon on a store; in its default configuration, but for the bytes of chunks that it keeps decoded when they are given.
pub fn start(directory: &Path, cache_memory: Option<u64>) -> Result<Statlined, Error> {
    let options = Options::new(directory, "10s");
    Ok(Statlined::start(
        &cache_memory.iter().fold(options, |options, memory| options.set("store", "cache_memory", memory)),
    )?)
}

/// A daemon in its default configuration on a store that this fills first.
pub fn serve_keys(keys: &[SeriesKey]) -> Result<(Statlined, TempDir), Error> {
    const ROWS_OF_A_BATCH: usize = 100_000;
    let directory = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let store = EmbeddedStore::open(EmbeddedConfig::at(directory.path()))?;
    let now = i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())?;
    for keys in keys.chunks(ROWS_OF_A_BATCH) {
        let mut batch = Batch::default();
        keys.iter().for_each(|key| batch.push(key.clone(), Kind::Gauge, Timestamp::from_seconds(now), 1.0));
        runtime.block_on(store.append(batch))?;
    }
    store.cut_all()?;
    runtime.block_on(store.close())?;
    // The daemon's own figures are series too.
    let options = Options::new(directory.path(), "10s").set("store", "max_series", keys.len() + 1000);
    Ok((Statlined::start(&options)?, directory))
}
