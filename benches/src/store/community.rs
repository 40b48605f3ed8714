//! What statsd flushes of the demo's community: counters of rare events, timers, and gauges sent each five seconds.

use serde::Deserialize;
use statline_series::{Batch, Step, Timestamp};

use crate::Error;
use crate::statsd::aggregate::Aggregator;

const CATALOGUE: &str = include_str!("../../../demo/community.json");

/// The catalogue, as far as it matters here.
#[derive(Deserialize)]
struct Catalogue {
    prefix: String,
    peak_hour_utc: f64,
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
struct Metric {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    mean: f64,
    spread: f64,
    #[serde(default)]
    daily: f64,
    #[serde(default)]
    per_hour: f64,
}

/// The community, one flush interval after the other.
pub struct Community {
    catalogue: Catalogue,
    aggregator: Aggregator,
    random: fastrand::Rng,
}

impl Community {
    /// All of its metrics.
    pub fn new() -> Result<Self, Error> {
        let catalogue = serde_json::from_str(CATALOGUE)?;
        Ok(Self { catalogue, aggregator: Aggregator::new(10_000)?, random: fastrand::Rng::with_seed(1) })
    }

    /// What a flush at an instant stores of the ten seconds before it.
    pub fn flush(&mut self, at: Timestamp) -> Batch {
        let Self { catalogue, aggregator, random } = self;
        let hour = (at.seconds() % 86_400) as f64 / 3600.0;
        let swing = (std::f64::consts::TAU * (hour - catalogue.peak_hour_utc) / 24.0).cos();
        for Metric { name, kind, mean, spread, daily, per_hour } in &catalogue.metrics {
            let level = mean * (1.0 + daily * swing);
            let per_flush = |per_hour: f64| per_hour / 360.0;
            let mut send = |value: f64, kind: &str| {
                let line = format!("{}.{name}:{value}|{kind}", catalogue.prefix);
                aggregator.receive(line.as_bytes());
            };
            match kind.as_str() {
                "counter" => (0..poisson(random, per_flush(level))).for_each(|_| send(1.0, "c")),
                "gauge" => send((level * (1.0 + spread * 0.1 * (random.f64() - 0.5))).round(), "g"),
                _ => {
                    for _ in 0..poisson(random, per_flush(per_hour * (1.0 + daily * swing))) {
                        send((mean * (spread * (random.f64() * 2.0 - 1.0)).exp()).round(), "ms");
                    }
                }
            }
        }
        aggregator.flush(Step::from_millis(super::reference::STEP).unwrap_or(Step::SECOND), at)
    }
}

/// How many chance events there are when `mean` are to be expected.
fn poisson(random: &mut fastrand::Rng, mean: f64) -> u32 {
    let limit = (-mean).exp();
    let mut product = random.f64();
    let mut count = 0;
    while product > limit {
        product *= random.f64();
        count += 1;
    }
    count
}
