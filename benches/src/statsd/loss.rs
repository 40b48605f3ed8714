//! What is lost, and whether it is told.
//!
//! The rate that the null receiver holds without loss is found by bisection. statlined is then sent 90 % of it, beside the
//! null receiver at the whole of it: a trial in which even that one lost packets tells of the machine, and does not count.
//! At last statlined is sent far more than it can hold, and what it counted and reported must add up to what was sent.

use std::time::{Duration, Instant};

use crate::report::{Bar, Table, progress};
use crate::statsd::peer::{Peer, RECEIVE_BUFFER};
use crate::statsd::schedule::{self, RECEIVER_CORE, has_two_cores};
use crate::statsd::sender::{Pace, Sender};
use crate::statsd::traffic::{Mix, Shape, Traffic};
use crate::{Error, Measured};

/// How it is measured.
#[derive(clap::Args, Clone, Debug)]
pub struct LossArgs {
    /// Lines in a packet
    #[arg(long, value_delimiter = ',', default_values_t = [1, 30])]
    lines: Vec<usize>,
    /// Different series
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000])]
    series: Vec<usize>,
    /// Trials that must count, of each
    #[arg(long, default_value_t = 3)]
    trials: u64,
}

impl Default for LossArgs {
    fn default() -> Self {
        Self { lines: vec![1, 30], series: vec![1_000, 100_000], trials: 3 }
    }
}

/// What the numbers are.
pub const ABOUT: &str = "\
### Loss

*null holds* is the rate, in packets a second, that the null receiver was found to hold without loss; where one sender could
not make it lose any, what the sender could send. *lost* is out of *sent*, over all trials that count: those of 3 s, across a
flush, in which the sender kept its pace, and just before and after which the null receiver lost nothing at the whole rate, as far as it could be sent.
*waited ms* is how long the threads that receive waited for a core, in the worst trial.

In the overload, 64 KiB of kernel buffer meet as many packets as can be sent; *reported* are
`statline_statsd_kernel_drops_total`, *unreported* what neither that nor `statline_statsd_packets_total` accounts for.";

const INTERVAL: Duration = Duration::from_secs(10);

/// The part of the null receiver's rate that statlined must hold without loss.
const PART: f64 = 0.9;

/// How long a trial sends; it lies across a flush.
const TRIAL: Duration = Duration::from_secs(3);

/// How long one step of the search sends.
const STEP: Duration = Duration::from_secs(1);

const STEPS: usize = 6;

/// How many trials are made for one that counts, at most: on a machine that is never quiet none may count.
const ATTEMPTS: u64 = 3;

/// The part of its pace that a sender must reach.
const PACE_KEPT: f64 = 0.95;

/// The kernel's buffer in the overload, in bytes.
const SMALL_BUFFER: usize = 64 << 10;

/// How long the daemon may take to notice the last drops: it looks when nothing has come for 100 ms.
const NOTICING: Duration = Duration::from_secs(2);

/// Measures; the tables and the bars.
///
/// # Errors
/// When a server does not start or ends early.
pub fn run(args: &LossArgs) -> Measured {
    let mut held_table = Table::new(&[
        "lines/packet",
        "series",
        "server",
        "null holds",
        "packets/s",
        "sent",
        "lost",
        "waited ms",
        "trials that count",
    ]);
    let mut overload_table = Table::new(&["lines/packet", "series", "sent", "received", "reported", "unreported"]);
    let (mut bars, mut unreported) = (Vec::new(), 0.0);
    for &lines in &args.lines {
        let mut null = Pair::new(Peer::null()?)?;
        let mut capacity = None;
        let mut lost: f64 = 0.0;
        for &series in &args.series {
            let traffic = Traffic::new(Shape { series, lines, mix: Mix::Counters });
            progress(&format!("loss: {lines} lines a packet, {series} series"));
            let capacity = match capacity {
                Some(capacity) => capacity,
                None => *capacity.insert(find_capacity(&mut null, &traffic)?),
            };
            let rows = trials(&mut null, capacity, &traffic, args.trials)?;
            for row in &rows {
                held_table.row([
                    lines.to_string(),
                    series.to_string(),
                    row.name.to_owned(),
                    format!("{capacity:.0}"),
                    format!("{:.0}", row.rate),
                    row.sent.to_string(),
                    row.lost.to_string(),
                    format!("{:.1}", row.waited.as_secs_f64() * 1000.0),
                    row.trials.to_string(),
                ]);
            }
            // When no trial counts nothing is known.
            lost += if rows[1].trials == 0 { f64::NAN } else { rows[1].lost as f64 };
            let overload = overload(&traffic)?;
            unreported += overload.unreported();
            let Overload { sent, received, reported } = overload;
            overload_table.row([
                lines.to_string(),
                series.to_string(),
                sent.to_string(),
                received.to_string(),
                reported.to_string(),
                (i128::from(sent) - i128::from(received) - i128::from(reported)).to_string(),
            ]);
        }
        bars.push(Bar::at_most(format!("statsd.loss_at_90pct_{lines}line"), lost, 0.0));
    }
    bars.push(Bar::at_most("statsd.unreported_loss", unreported, 0.0));
    Ok((format!("{}\n{}", held_table.markdown(), overload_table.markdown()), bars))
}

/// What came of the trials of one server.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    rate: f64,
    sent: u64,
    lost: u64,
    waited: Duration,
    trials: u64,
}

impl Row {
    const fn new(name: &'static str) -> Self {
        Self { name, rate: 0.0, sent: 0, lost: 0, waited: Duration::ZERO, trials: 0 }
    }

    fn add(&mut self, trial: Trial) {
        self.rate = trial.rate;
        self.sent += trial.sent;
        self.lost += trial.lost;
        self.waited = self.waited.max(trial.waited);
        self.trials += 1;
    }
}

/// What came of one trial.
#[derive(Clone, Copy)]
struct Trial {
    rate: f64,
    sent: u64,
    lost: u64,
    /// How long the threads that receive waited for a core.
    waited: Duration,
}

struct Overload {
    sent: u64,
    received: u64,
    reported: u64,
}

impl Overload {
    /// How far the sums are apart; NaN when nothing was lost, for then nothing is proved.
    fn unreported(&self) -> f64 {
        if self.reported == 0 { f64::NAN } else { self.sent.abs_diff(self.received + self.reported) as f64 }
    }
}

/// A server and its sender.
struct Pair {
    peer: Peer,
    sender: Sender,
}

impl Pair {
    fn new(peer: Peer) -> Result<Self, Error> {
        if has_two_cores() {
            peer.pin(RECEIVER_CORE)?;
        }
        let sender = Sender::to(peer.address)?;
        Ok(Self { peer, sender })
    }

    /// Sends, and waits until what was sent is read or lost.
    fn send(&mut self, traffic: &Traffic, pace: Pace) -> Result<Trial, Error> {
        let (drops, before) = (self.peer.kernel_drops()?, self.peer.threads()?);
        let sent = schedule::send(&mut self.sender, traffic, pace, has_two_cores())?;
        self.peer.settle()?;
        let (lost, waited) = (self.peer.kernel_drops()? - drops, self.peer.cpu_since(&before)?.waited);
        Ok(Trial { rate: sent.rate(), sent: sent.packets, lost, waited })
    }
}

/// So many packets a second for so long.
fn pace(rate: f64, length: Duration) -> Pace {
    Pace { rate: Some(rate), burst: 32, packets: (rate * length.as_secs_f64()) as usize }
}

/// As many packets as can be sent, about so long.
fn full_speed(packets: usize) -> Pace {
    Pace { rate: None, burst: 64, packets }
}

/// The trials at a part of the rate that the null receiver holds: of the null receiver itself, of statlined, of etsy's.
fn trials(null: &mut Pair, capacity: f64, traffic: &Traffic, wanted: u64) -> Result<[Row; 3], Error> {
    let series = traffic.shape().series;
    let mut statlined = Pair::new(Peer::statlined(INTERVAL, series, RECEIVE_BUFFER)?)?;
    let mut etsy = Pair::new(Peer::etsy(INTERVAL)?)?;
    let rate = PART * capacity;
    // Every series twice in two intervals, so that the trials meet known ones.
    let mut boundary = schedule::next_boundary(INTERVAL, TRIAL);
    let warm_up = Pace { packets: 2 * traffic.packets_for_every_series(), ..pace(rate.min(50_000.0), TRIAL) };
    for _ in 0..2 {
        schedule::sleep_until(boundary + Duration::from_secs(1));
        statlined.send(traffic, warm_up)?;
        boundary += INTERVAL;
    }
    let mut rows = ["null", "statlined", "statsd 0.9.0"].map(Row::new);
    for _ in 0..wanted * ATTEMPTS {
        // The round is as long as an interval: null, statlined across its flush, null.
        schedule::sleep_until(boundary - TRIAL / 2 - TRIAL - Duration::from_millis(300));
        let before = null.send(traffic, pace(capacity, TRIAL))?;
        schedule::sleep_until(boundary - TRIAL / 2);
        let trial = statlined.send(traffic, pace(rate, TRIAL))?;
        let after = null.send(traffic, pace(capacity, TRIAL))?;
        boundary = schedule::next_boundary(INTERVAL, TRIAL / 2 + TRIAL + Duration::from_millis(300));
        rows[0].add(before);
        rows[0].add(after);
        if before.lost + after.lost == 0 && trial.rate >= PACE_KEPT * rate {
            rows[1].add(trial);
        }
        if rows[1].trials == wanted {
            break;
        }
    }
    rows[2].add(etsy.send(traffic, pace(rate, STEP))?);
    Ok(rows)
}

/// The highest rate at which the null receiver loses nothing, by bisection below what can be sent.
fn find_capacity(null: &mut Pair, traffic: &Traffic) -> Result<f64, Error> {
    let quick = null.send(traffic, full_speed(200_000))?.rate;
    let most = null.send(traffic, full_speed((quick * TRIAL.as_secs_f64()) as usize))?;
    if most.lost == 0 {
        return Ok(most.rate);
    }
    let (mut held, mut lossy) = (0.0, most.rate);
    for _ in 0..STEPS {
        let middle = f64::midpoint(held, lossy);
        // A disturbance may cost packets at any rate, so one loss has a second chance.
        let mut loses = true;
        for _ in 0..2 {
            loses = loses && null.send(traffic, pace(middle, STEP))?.lost > 0;
        }
        if loses {
            lossy = middle;
        } else {
            held = middle;
        }
    }
    if held == 0.0 { Err("the null receiver loses packets at any rate".into()) } else { Ok(held) }
}

/// Sends more than can be held, and waits until everything is accounted for, or for as long as that may take.
fn overload(traffic: &Traffic) -> Result<Overload, Error> {
    let mut pair = Pair::new(Peer::statlined(INTERVAL, traffic.shape().series, SMALL_BUFFER)?)?;
    let boundary = schedule::next_boundary(INTERVAL, TRIAL);
    schedule::sleep_until(boundary - TRIAL / 2);
    let (mut sent, mut dropped) = (0, 0);
    while sent == 0 || schedule::now() < boundary + TRIAL / 2 {
        let burst = pair.send(traffic, full_speed(100_000))?;
        sent += burst.sent;
        dropped += burst.lost;
    }
    let deadline = Instant::now() + NOTICING;
    loop {
        let counts = pair.peer.counts()?;
        let overload = Overload { sent, received: counts.packets, reported: counts.dropped };
        if overload.sent == counts.packets + counts.dropped || Instant::now() > deadline {
            if dropped != counts.dropped {
                progress(&format!("the kernel says that it dropped {dropped}, statlined {}", counts.dropped));
            }
            return Ok(overload);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
