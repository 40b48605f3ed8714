//! Parser and table alone, in process: what a line costs without any kernel. For a loop of change and measure.

use std::time::Duration;

use crate::Error;
use crate::clock::CpuClock;
use crate::report::{Table, median};
use crate::statsd::aggregate::Aggregator;
use crate::statsd::traffic::{Mix, Shape, Traffic};

/// What is measured.
#[derive(clap::Args, Clone, Debug)]
pub struct MicroArgs {
    /// How often each shape is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many lines a measurement reads, at least
    #[arg(long, default_value_t = 1_000_000)]
    lines: usize,
    /// Different series
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000])]
    series: Vec<usize>,
    /// Types of series; both when not given
    #[arg(long)]
    mix: Option<Mix>,
}

/// How many packets a receiver takes at a time when they come fast.
const BATCH: usize = 64;

/// Measures and prints a table.
pub fn run(args: &MicroArgs) -> Result<(), Error> {
    let mut table =
        Table::new(&["lines/packet", "series", "types", "ns/line min", "ns/line median", "ns/line max", "M lines/s"]);
    for mix in [Mix::Counters, Mix::Mixed].into_iter().filter(|mix| args.mix.is_none_or(|only| only == *mix)) {
        for lines in [1, 30] {
            for &series in &args.series {
                let traffic = Traffic::new(Shape { series, lines, mix });
                let mut costs = measure(&traffic, args)?;
                costs.sort_by(f64::total_cmp);
                let middle = median(&costs);
                table.row([
                    lines.to_string(),
                    series.to_string(),
                    mix.as_str().to_owned(),
                    format!("{:.1}", costs[0]),
                    format!("{middle:.1}"),
                    format!("{:.1}", costs[costs.len() - 1]),
                    format!("{:.1}", 1000.0 / middle),
                ]);
            }
        }
    }
    table.print()?;
    Ok(())
}

/// The cost of a line in each round, in nanoseconds of this thread's CPU. The rounds are intervals: between them the table
/// is flushed, untimed.
fn measure(traffic: &Traffic, args: &MicroArgs) -> Result<Vec<f64>, Error> {
    let shape = traffic.shape();
    let mut aggregator = Aggregator::new(shape.series)?;
    let mut costs = Vec::new();
    let packets = (args.lines / shape.lines).max(traffic.packets_for_every_series());
    let mut next = 0;
    // Both tables know all names only after two intervals.
    for round in 0..args.rounds.max(1) + 2 {
        let clock = CpuClock::start();
        let mut samples = 0;
        for first in (next..next + packets).step_by(BATCH) {
            let batch = BATCH.min(next + packets - first);
            samples += aggregator.receive_all(batch, |index| traffic.packet(first + index));
        }
        let took: Duration = clock.elapsed();
        if samples as usize != packets * shape.lines {
            return Err(format!("{} lines were sent and {samples} samples taken", packets * shape.lines).into());
        }
        if round >= 2 {
            costs.push(took.as_nanos() as f64 / samples as f64);
        }
        next += packets;
        aggregator.close();
    }
    Ok(costs)
}
