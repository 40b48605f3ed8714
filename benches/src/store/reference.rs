//! The points that stores are compared on: 60 % slowly moving gauges, 30 % counter rates with zeros, 10 % noise of full
//! precision, one each ten seconds. Chunks of 720 points as doubles take about 0.63, 0.68 and 6.8 bytes a point with pco.

use statline_series::{Batch, Kind, SeriesKey, Timestamp};

use crate::Error;

/// Milliseconds from one point to the next.
pub const STEP: i64 = 10_000;

/// One series and where it is.
struct Series {
    key: SeriesKey,
    random: fastrand::Rng,
    level: f64,
}

/// Series that go on from tick to tick.
pub struct Reference {
    series: Vec<Series>,
}

impl Reference {
    /// So many series whose names begin with `prefix`.
    pub fn new(prefix: &str, count: usize) -> Result<Self, Error> {
        let series = (0..count).map(|number| {
            let key = SeriesKey::from_name(&name(prefix, number))?;
            Ok(Series { key, random: fastrand::Rng::with_seed(number as u64), level: 50.0 + (number % 100) as f64 })
        });
        Ok(Self { series: series.collect::<Result<_, Error>>()? })
    }

    /// The points of one instant.
    pub fn tick(&mut self, at: Timestamp) -> Batch {
        let mut batch = Batch::default();
        for (number, series) in self.series.iter_mut().enumerate() {
            let (kind, value) = series.next(number % 10);
            batch.push(series.key.clone(), kind, at, value);
        }
        batch
    }
}

impl Series {
    fn next(&mut self, class: usize) -> (Kind, f64) {
        let random = &mut self.random;
        match class {
            0..6 => {
                self.level += f64::from(random.i32(-7..=7)) / 10.0;
                // As it was sent: with one digit.
                (Kind::Gauge, (self.level * 10.0).round() / 10.0)
            }
            6..9 => (Kind::Rate, if random.f64() < 0.4 { 0.0 } else { f64::from(random.u32(1..=50)) / 10.0 }),
            _ => {
                let noise: f64 = (0..4).map(|_| random.f64()).sum();
                (Kind::Gauge, self.level + 80.0 * noise)
            }
        }
    }
}

/// The name of a series, of about 30 bytes.
pub fn name(prefix: &str, number: usize) -> String {
    format!("{prefix}.host{:03}.service{:02}.m{number}", number % 400, number % 37)
}
