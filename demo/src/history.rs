//! The week before now: the community's metrics, as statlined itself would have flushed them, sent as carbon lines.
//!
//! Names, rates and rhythm are those of `community.json`, which the live traffic reads too. The packets go through the
//! statsd aggregator, so the series have the names and the formulas of real flushes. Idle names are left out of a flush,
//! which keeps a week small.

use std::f64::consts::TAU;
use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use statline_harness::program::repository;
use statline_series::{Step, Timestamp};
use statline_statsd::{Arrival, FlushConfig, Grammar, Lane, Limits, Parser, SelfFigures, State};

use crate::Error;

/// The flush interval of the past, in seconds.
const STEP_SECONDS: i64 = 10;
const DAY_SECONDS: i64 = 86_400;
/// So that every run plays the same past.
const SEED: u64 = 20_261_122;

#[derive(Deserialize)]
struct Community {
    prefix: String,
    peak_hour_utc: f64,
    weekend_factor: f64,
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
struct Metric {
    name: String,
    r#type: Type,
    mean: f64,
    spread: f64,
    daily: f64,
    #[serde(default)]
    per_hour: f64,
    #[serde(default)]
    growth_per_day: f64,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Type {
    Counter,
    Gauge,
    Timing,
}

/// The wall clock, in milliseconds since the epoch.
pub fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// Sends so many days of history, up to now, and waits until all of it is taken.
pub fn fill(carbon: SocketAddr, days: u32) -> Result<(), Error> {
    let community: Community = serde_json::from_slice(&std::fs::read(repository().join("demo/community.json"))?)?;
    let stream = TcpStream::connect(carbon)?;
    let mut lines = BufWriter::with_capacity(1 << 20, &stream);
    let step = Step::from_seconds(STEP_SECONDS).unwrap_or(Step::SECOND);
    let end = Timestamp::from_millis(now_ms()).align_down(step).seconds();
    let mut player = Player::new(&community)?;
    let mut at = end - i64::from(days) * DAY_SECONDS;
    while at < end {
        at += STEP_SECONDS;
        player.flush(at, end, step, &mut lines)?;
    }
    lines.flush()?;
    drop(lines);
    // statlined closes its side when it has appended everything.
    stream.shutdown(std::net::Shutdown::Write)?;
    std::io::copy(&mut &stream, &mut std::io::sink())?;
    Ok(())
}

struct Player<'a> {
    community: &'a Community,
    random: fastrand::Rng,
    state: State,
    lane: Lane,
    parser: Parser,
    packet: String,
}

impl<'a> Player<'a> {
    fn new(community: &'a Community) -> Result<Self, Error> {
        let limits = Limits::default();
        Ok(Self {
            community,
            random: fastrand::Rng::with_seed(SEED),
            state: State::new(FlushConfig::default().with_delete_idle(), &limits)?,
            parser: Parser::new(&limits, Grammar::default()),
            lane: Lane::new(limits),
            packet: String::new(),
        })
    }

    /// Plays one interval and sends its points.
    fn flush(&mut self, at: i64, end: i64, step: Step, lines: &mut impl Write) -> Result<(), Error> {
        self.play(at, end)?;
        let arrival = Arrival { order: at.unsigned_abs(), timestamp: Timestamp::from_seconds(at) };
        let table = self.lane.table();
        table.lock().unwrap_or_else(PoisonError::into_inner).receive(
            &mut self.parser,
            self.packet.as_bytes(),
            arrival,
            |_| {},
        );
        self.state.absorb(&mut self.lane);
        self.state.note(&SelfFigures::default());
        let batch = self.state.flush(step, Timestamp::from_seconds(at), &SelfFigures::default());
        for row in batch.rows {
            writeln!(lines, "{} {} {}", row.key, row.point.value, row.point.timestamp.seconds())?;
        }
        Ok(())
    }

    /// What the bot would have sent in the interval that ends at `at`.
    fn play(&mut self, at: i64, end: i64) -> Result<(), std::fmt::Error> {
        self.packet.clear();
        let prefix = &self.community.prefix;
        let hour = (at.rem_euclid(DAY_SECONDS)) as f64 / 3600.0;
        let rhythm = (TAU * (hour - self.community.peak_hour_utc) / 24.0).cos();
        // 1970-01-01 was a Thursday.
        let weekday = at.div_euclid(DAY_SECONDS).rem_euclid(7);
        let week = if matches!(weekday, 2 | 3) { self.community.weekend_factor } else { 1.0 };
        let mut messages = 0;
        for metric in &self.community.metrics {
            let swing = (1.0 + metric.daily * rhythm).max(0.0);
            let name = &metric.name;
            match metric.r#type {
                Type::Gauge => {
                    let growth = metric.growth_per_day * (at - end) as f64 / DAY_SECONDS as f64;
                    let noise = 1.0 + metric.spread * (self.random.f64() - 0.5);
                    let level = ((metric.mean + growth) * swing * noise).round().max(0.0);
                    writeln!(self.packet, "{prefix}.{name}:{level}|g")?;
                }
                // Each message is counted for its channel and in all.
                Type::Counter if name == "messages" => {}
                Type::Counter => {
                    let events = poisson(&mut self.random, metric.mean * swing * week * STEP_SECONDS as f64 / 3600.0);
                    if events > 0 {
                        writeln!(self.packet, "{prefix}.{name}:{events}|c")?;
                    }
                    if name.starts_with("channels.") {
                        messages += events;
                    }
                }
                Type::Timing => {
                    let rate = metric.per_hour * swing * week * STEP_SECONDS as f64 / 3600.0;
                    for _ in 0..poisson(&mut self.random, rate) {
                        let value = log_normal(&mut self.random, metric.mean, metric.spread);
                        writeln!(self.packet, "{prefix}.{name}:{value:.6}|ms")?;
                    }
                }
            }
        }
        if messages > 0 {
            writeln!(self.packet, "{prefix}.messages:{messages}|c")?;
        }
        Ok(())
    }
}

/// How many events there are in an interval that has `mean` of them on average (Knuth's method; means are small here).
fn poisson(random: &mut fastrand::Rng, mean: f64) -> u32 {
    let limit = (-mean).exp();
    let mut product = random.f64();
    let mut events = 0;
    while product > limit && events < 1000 {
        product *= random.f64();
        events += 1;
    }
    events
}

/// A log-normal value of this mean and relative spread.
fn log_normal(random: &mut fastrand::Rng, mean: f64, spread: f64) -> f64 {
    let variance = (1.0 + spread * spread).ln();
    // Box and Muller's method; 1 - x is never 0.
    let normal = (-2.0 * (1.0 - random.f64()).ln()).sqrt() * (TAU * random.f64()).cos();
    (mean.ln() - variance / 2.0 + variance.sqrt() * normal).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_and_values_have_the_mean_that_was_asked_for() {
        let mut random = fastrand::Rng::with_seed(1);
        let events: u32 = (0..100_000).map(|_| poisson(&mut random, 0.3)).sum();
        assert!((28_500..31_500).contains(&events), "{events}");
        let total: f64 = (0..100_000).map(|_| log_normal(&mut random, 1000.0, 0.8)).sum();
        assert!((970.0..1030.0).contains(&(total / 100_000.0)), "{total}");
    }

    #[test]
    fn a_flush_of_the_past_has_the_names_of_a_real_one() {
        let community: Community =
            serde_json::from_slice(&std::fs::read(repository().join("demo/community.json")).unwrap()).unwrap();
        let mut player = Player::new(&community).unwrap();
        let mut lines = Vec::new();
        for at in 1..=360 {
            player.flush(at * STEP_SECONDS, 3600, Step::from_seconds(STEP_SECONDS).unwrap(), &mut lines).unwrap();
        }
        let text = String::from_utf8(lines).unwrap();
        for name in [
            "stats.gauges.bot.help.total.in_use ",
            "stats_counts.bot.messages ",
            "stats_counts.bot.help.claimed ",
            "stats.timers.bot.help.in_use_time.upper_90 ",
        ] {
            assert!(text.contains(name), "{name}");
        }
    }
}
