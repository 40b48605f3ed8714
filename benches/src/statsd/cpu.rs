//! What a packet and a line cost each server, in CPU time of its process.
//!
//! All servers of a cell run side by side and are sent to in turn, round after round, so that whatever else the machine
//! does falls on all of them. statlined's window lies across a flush, so that the swap of tables is in it.

use std::time::Duration;

use crate::report::{Bar, Table, median, progress};
use crate::statsd::peer::{Peer, RECEIVE_BUFFER};
use crate::statsd::schedule::{self, RECEIVER_CORE, has_two_cores};
use crate::statsd::sender::{Pace, Sender};
use crate::statsd::traffic::{Mix, Shape, Traffic};
use crate::{Error, Measured};

/// How it is measured.
#[derive(clap::Args, Clone, Debug)]
pub struct CpuArgs {
    /// Rounds; the medians are told
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Lines in a packet
    #[arg(long, value_delimiter = ',', default_values_t = [1, 30])]
    pub lines: Vec<usize>,
    /// Different series
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000])]
    pub series: Vec<usize>,
    /// Packets a second at one line a packet
    #[arg(long, default_value_t = 100_000.0)]
    pub rate_1: f64,
    /// Packets a second at more lines a packet
    #[arg(long, default_value_t = 20_000.0)]
    pub rate_many: f64,
    /// Packets in one system call of the sender
    #[arg(long, default_value_t = 32)]
    pub burst: usize,
    /// The flush interval in seconds, which is also the length of a round
    #[arg(long, default_value_t = 10)]
    pub interval: u64,
    /// Leave out etsy's server
    #[arg(long)]
    pub no_etsy: bool,
    /// Leave out the mix of types
    #[arg(long)]
    pub no_mix: bool,
    /// Leave it to the system where threads run
    #[arg(long)]
    pub no_pin: bool,
}

/// What the numbers are.
pub const ABOUT: &str = "\
### CPU

User and system time of the threads that receive (`null-udp-0`, `statsd-packets-*`; all of node's), from
`/proc/PID/task/*/schedstat`, from before the first packet until the server rests after the last, for each packet that was
received. The sender runs on one core, the threads that receive on the other.

Medians of the rounds; *to null* is the median of each round's ratio. Traffic is paced, so most of a packet's cost is waking
the receiver, and how often it is woken is the scheduler's affair: the null receiver alone has been seen from 1,400 to 3,100 ns
a packet. *backlog* is what a packet costs when thousands wait in the kernel, so that every call takes a full batch and nobody
is woken: it varies least, and shows a server's own work. Paced, statlined lets packets gather for some milliseconds before it
asks for more, so that it is woken far less often than the null receiver, which is how it can cost less than that. *others ms* is what all other threads took in a window, which for
statlined holds one flush with its store, since its window lies across a flush. *waited ms* is how long the threads that receive
waited for a core in the worst window: much of it tells of a busy machine, and drops are then the machine's.";

/// etsy's server takes no more than this without loss, in packets a second of one line and of more.
const ETSY_RATES: [f64; 2] = [20_000.0, 4_000.0];

/// How many packets of one line and of more pile up: what the kernel's buffer has room for in any case, with its bookkeeping.
const BACKLOGS: [usize; 2] = [8_000, 2_500];

const BACKLOG_ROUNDS: usize = 15;

/// One window of one server.
#[derive(Clone, Copy, Debug)]
struct Window {
    dropped: u64,
    rate: f64,
    /// Of the threads that receive, for each packet.
    receivers_ns: f64,
    /// Of all other threads, in all.
    others: Duration,
    /// How long the threads that receive waited for a core.
    waited: Duration,
}

/// All that was measured of one server.
struct Windows {
    name: &'static str,
    windows: Vec<Window>,
    /// Of the threads that receive, for each packet of a backlog.
    backlogs_ns: Vec<f64>,
}

impl Windows {
    fn median(&self, of: impl Fn(&Window) -> f64) -> f64 {
        median(&self.windows.iter().map(of).collect::<Vec<_>>())
    }

    fn range(&self, of: impl Fn(&Window) -> f64) -> (f64, f64) {
        let values = self.windows.iter().map(of);
        values.fold((f64::INFINITY, 0.0), |(least, most), value| (least.min(value), most.max(value)))
    }
}

/// Measures every cell; the table and the bars.
///
/// # Errors
/// When a server does not start or ends early.
pub fn run(args: &CpuArgs) -> Measured {
    let mut table = Table::new(&[
        "lines/packet",
        "series",
        "types",
        "server",
        "packets/s",
        "ns/packet",
        "ns/line",
        "min-max ns/packet",
        "to null",
        "backlog ns/packet",
        "backlog ns/line",
        "backlog to null",
        "others ms",
        "waited ms",
        "dropped",
    ]);
    let mut bars = Vec::new();
    for mix in [Mix::Counters, Mix::Mixed] {
        if mix == Mix::Mixed && args.no_mix {
            continue;
        }
        for &lines in &args.lines {
            for &series in &args.series {
                let shape = Shape { series, lines, mix };
                progress(&format!("cpu: {lines} lines a packet, {series} series, {}", mix.as_str()));
                let peers = cell(shape, args)?;
                let null = &peers[0];
                for peer in &peers {
                    let ratio = paired_ratio(peer, null);
                    let per_packet = peer.median(|window| window.receivers_ns);
                    let (least, most) = peer.range(|window| window.receivers_ns);
                    let backlog = median(&peer.backlogs_ns);
                    let (_, waited) = peer.range(|window| window.waited.as_secs_f64());
                    let others = peer.median(|window| window.others.as_secs_f64() * 1000.0);
                    table.row([
                        lines.to_string(),
                        series.to_string(),
                        mix.as_str().to_owned(),
                        peer.name.to_owned(),
                        format!("{:.0}", peer.median(|window| window.rate)),
                        format!("{per_packet:.0}"),
                        format!("{:.1}", per_packet / lines as f64),
                        format!("{least:.0}-{most:.0}"),
                        format!("{ratio:.3}"),
                        format!("{backlog:.0}"),
                        format!("{:.1}", backlog / lines as f64),
                        format!("{:.3}", backlog / median(&null.backlogs_ns)),
                        format!("{others:.1}"),
                        format!("{:.1}", waited * 1000.0),
                        peer.windows.iter().map(|window| window.dropped).sum::<u64>().to_string(),
                    ]);
                    if mix == Mix::Counters && peer.name == "statlined" {
                        if lines == 1 {
                            bars.push(Bar::at_most(format!("statsd.cpu_ratio_to_null_1line_{series}"), ratio, 1.15));
                        } else {
                            for (how, per_packet) in [("", per_packet), ("backlog_", backlog)] {
                                let per_line = per_packet / lines as f64;
                                bars.push(Bar::at_most(
                                    format!("statsd.cpu_ns_per_line_{how}{series}"),
                                    per_line,
                                    120.0,
                                ));
                            }
                        }
                    }
                }
            }
        }
    }
    Ok((table.markdown(), bars))
}

/// The median of what each round's window costs beside the null receiver's of the same round.
fn paired_ratio(peer: &Windows, null: &Windows) -> f64 {
    let pairs = peer.windows.iter().zip(&null.windows);
    median(&pairs.map(|(own, null)| own.receivers_ns / null.receivers_ns).collect::<Vec<_>>())
}

/// Runs all servers through all rounds of one shape; the null receiver comes first.
fn cell(shape: Shape, args: &CpuArgs) -> Result<Vec<Windows>, Error> {
    let traffic = Traffic::new(shape);
    let is_pinned = !args.no_pin && has_two_cores();
    let interval = Duration::from_secs(args.interval.max(1));
    let mut peers = vec![Peer::null()?, Peer::statlined(interval, shape.series, RECEIVE_BUFFER)?];
    if !args.no_etsy {
        peers.push(Peer::etsy(interval)?);
    }
    let mut senders = Vec::new();
    for peer in &peers {
        if is_pinned {
            peer.pin(RECEIVER_CORE)?;
        }
        senders.push(Sender::to(peer.address)?);
    }
    let rate = if shape.lines == 1 { args.rate_1 } else { args.rate_many };
    let etsy_rate = ETSY_RATES[usize::from(shape.lines > 1)];
    let window = interval.mul_f64(0.3);
    let pace = |rate: f64, length: Duration| Pace {
        rate: Some(rate),
        burst: args.burst,
        packets: (rate * length.as_secs_f64()) as usize,
    };
    // Every series twice on either side of a flush, so that nothing measured is new to either table.
    let warm_up = interval.mul_f64(0.6);
    let needed = 2.0 * traffic.packets_for_every_series() as f64;
    let warm_up_rate = rate.max(needed / warm_up.as_secs_f64());
    let boundary = schedule::next_boundary(interval, warm_up / 2 + Duration::from_millis(100));
    schedule::sleep_until(boundary - warm_up / 2);
    schedule::send(&mut senders[1], &traffic, pace(warm_up_rate, warm_up), is_pinned)?;
    schedule::send(&mut senders[0], &traffic, pace(rate, window / 4), is_pinned)?;
    let mut results: Vec<Windows> =
        peers.iter().map(|peer| Windows { name: peer.name, windows: Vec::new(), backlogs_ns: Vec::new() }).collect();
    for round in 1..=args.rounds {
        let boundary = boundary + interval * u32::try_from(round)?;
        schedule::sleep_until(boundary - window / 2);
        for (index, rate, length) in [(1, rate, window), (0, rate, window), (2, etsy_rate, window / 2)] {
            let Some(peer) = peers.get(index) else { continue };
            let pace = pace(rate, length);
            results[index].windows.push(measure(peer, &mut senders[index], &traffic, pace, is_pinned)?);
        }
    }
    let packets = BACKLOGS[usize::from(shape.lines > 1)];
    for _ in 0..BACKLOG_ROUNDS {
        for (index, peer) in peers.iter().enumerate() {
            results[index].backlogs_ns.push(measure_backlog(peer, &mut senders[index], &traffic, packets)?);
        }
    }
    Ok(results)
}

/// Lets packets pile up in the kernel while the server is stopped, and lets it read them all at once.
fn measure_backlog(peer: &Peer, sender: &mut Sender, traffic: &Traffic, packets: usize) -> Result<f64, Error> {
    let (dropped, before) = (peer.kernel_drops()?, peer.threads()?);
    peer.stop()?;
    let sent = sender.send(traffic, Pace { rate: None, burst: 64, packets });
    // Whatever happened, it goes on.
    peer.go_on()?;
    let sent = sent?;
    peer.settle()?;
    let received = sent.packets - (peer.kernel_drops()? - dropped);
    Ok(peer.cpu_since(&before)?.receivers.as_nanos() as f64 / received as f64)
}

fn measure(peer: &Peer, sender: &mut Sender, traffic: &Traffic, pace: Pace, is_pinned: bool) -> Result<Window, Error> {
    let (dropped, before) = (peer.kernel_drops()?, peer.threads()?);
    let sent = schedule::send(sender, traffic, pace, is_pinned)?;
    peer.settle()?;
    let cpu = peer.cpu_since(&before)?;
    let dropped = peer.kernel_drops()? - dropped;
    let packets = sent.packets - dropped;
    let receivers_ns = cpu.receivers.as_nanos() as f64 / packets as f64;
    Ok(Window { dropped, rate: sent.rate(), receivers_ns, others: cpu.others, waited: cpu.waited })
}
