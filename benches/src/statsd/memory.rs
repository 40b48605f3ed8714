//! What a million series take: bytes, and the CPU time of a flush.
//!
//! In process and on one thread, so that every allocation and every nanosecond is the aggregator's. Beside it, for
//! information, the whole daemon with its store.

use std::time::Duration;

use crate::allocator;
use crate::clock::CpuClock;
use crate::procfs;
use crate::report::{Bar, Table, median, progress};
use crate::statsd::aggregate::Aggregator;
use crate::statsd::peer::{Peer, RECEIVE_BUFFER};
use crate::statsd::sender::{Pace, Sender};
use crate::statsd::traffic::{Mix, Shape, Traffic};
use crate::{Error, Measured};

/// How much is measured.
#[derive(clap::Args, Clone, Debug)]
pub struct MemoryArgs {
    /// Counter series
    #[arg(long, default_value_t = 1_000_000)]
    series: usize,
    /// Flushes, of which the median is told
    #[arg(long, default_value_t = 5)]
    flushes: usize,
    /// Leave out the whole daemon
    #[arg(long)]
    no_daemon: bool,
}

impl Default for MemoryArgs {
    fn default() -> Self {
        Self { series: 1_000_000, flushes: 5, no_daemon: false }
    }
}

/// What the numbers are.
pub const ABOUT: &str = "\
### Memory and flush

One lane's table, its spare and the state, in process, without sockets and store. Bytes are those of malloc's blocks with
their headers. Every series came in every interval; the first two intervals are not counted. CPU is this thread's.";

const MEGABYTE: f64 = 1e6;

/// Measures; the table and the bars.
///
/// # Errors
/// When samples were refused, or the daemon does not start.
pub fn run(args: &MemoryArgs) -> Measured {
    let shape = Shape { series: args.series, lines: 20, mix: Mix::Counters };
    progress(&format!("memory: {} counter series", args.series));
    let traffic = Traffic::new(shape);
    let mut table = Table::new(&["what", "value"]);
    let mut bars = in_process(&traffic, args, &mut table)?;
    if !args.no_daemon {
        daemon(&traffic, &mut table)?;
    }
    for bar in &mut bars {
        // Stated for a million; a smaller run is a trial.
        if args.series != 1_000_000 {
            bar.name.push_str("_trial");
        }
    }
    Ok((table.markdown(), bars))
}

fn in_process(traffic: &Traffic, args: &MemoryArgs, table: &mut Table) -> Result<Vec<Bar>, Error> {
    let (allocated, (resident, _)) = (allocator::live(), procfs::memory(std::process::id())?);
    let mut aggregator = Aggregator::new(args.series)?;
    let (mut open, mut peak, mut flushes, mut lines) = (0, 0, Vec::new(), Vec::new());
    let mut points = 0;
    // Both tables know all names only after two intervals.
    for interval in 0..args.flushes.max(1) + 2 {
        allocator::reset_peak();
        let clock = CpuClock::start();
        let samples: u64 = (0..traffic.len()).map(|index| aggregator.receive(traffic.packet(index))).sum();
        let filled = clock.elapsed();
        if samples as usize != traffic.lines() {
            return Err(format!("{} lines were sent and {samples} samples taken", traffic.lines()).into());
        }
        open = allocator::live() - allocated;
        let clock = CpuClock::start();
        points = aggregator.close();
        let flushed = clock.elapsed();
        peak = peak.max(allocator::peak() - allocated);
        if interval >= 2 {
            flushes.push(flushed.as_secs_f64());
            lines.push(filled.as_nanos() as f64 / samples as f64);
        }
    }
    let resident = procfs::memory(std::process::id())?.0.saturating_sub(resident);
    let per_series = open as f64 / args.series as f64;
    let (flush, line) = (median(&flushes), median(&lines));
    table.row(["bytes a counter series, open interval".to_owned(), format!("{per_series:.0}")]);
    table.row(["MB open".to_owned(), format!("{:.0}", open as f64 / MEGABYTE)]);
    table.row(["MB at most, in a flush with its points".to_owned(), format!("{:.0}", peak as f64 / MEGABYTE)]);
    table.row(["MB of RAM by the kernel's account".to_owned(), format!("{:.0}", resident as f64 / MEGABYTE)]);
    table.row(["s of CPU, absorb and flush".to_owned(), format!("{flush:.3}")]);
    table.row(["points of a flush".to_owned(), points.to_string()]);
    table.row(["ns a line, parser and table".to_owned(), format!("{line:.0}")]);
    Ok(vec![
        Bar::at_most("statsd.bytes_per_counter", per_series, 400.0),
        Bar::at_most("statsd.bytes_1m", peak as f64, 600e6),
        Bar::at_most("statsd.flush_cpu_1m_s", flush, 1.5),
    ])
}

/// The whole daemon, three flushes in which every series came.
fn daemon(traffic: &Traffic, table: &mut Table) -> Result<(), Error> {
    const INTERVAL: Duration = Duration::from_secs(10);
    const RATE: f64 = 20_000.0;
    let mut peer = Peer::statlined(INTERVAL, traffic.shape().series, RECEIVE_BUFFER)?;
    let (empty, _) = peer.memory()?;
    let mut sender = Sender::to(peer.address)?;
    let pace = Pace { rate: Some(RATE), burst: 32, packets: traffic.len() };
    let (mut sent, mut flushes) = (0, Vec::new());
    for _ in 0..3 {
        // Sent just after a flush, so that the next one has them all.
        peer.await_flush()?;
        sent += sender.send(traffic, pace)?.packets;
        peer.settle()?;
        let before = peer.threads()?;
        peer.await_flush()?;
        flushes.push(peer.cpu_since(&before)?.others.as_secs_f64());
    }
    let counts = peer.counts()?;
    let (resident, most) = peer.memory()?;
    table.row(["daemon: MB of RAM when empty".to_owned(), format!("{:.0}", empty as f64 / MEGABYTE)]);
    table.row(["daemon: MB of RAM after 3 flushes".to_owned(), format!("{:.0}", resident as f64 / MEGABYTE)]);
    table.row(["daemon: MB of RAM at most".to_owned(), format!("{:.0}", most as f64 / MEGABYTE)]);
    table.row(["daemon: s of CPU, first flush with store".to_owned(), format!("{:.3}", flushes[0])]);
    table.row(["daemon: s of CPU, third flush with store".to_owned(), format!("{:.3}", flushes[2])]);
    table.row(["daemon: packets lost".to_owned(), (sent - counts.packets).to_string()]);
    Ok(())
}
