//! Benchmarks of Statline beside its peers.

mod allocator;
mod clock;
mod procfs;
mod report;
mod statsd;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// An error that is told to whoever runs it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

#[derive(Parser)]
#[command(name = "statline-bench", about = "Measures Statline beside its peers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Parser and table alone, in process, in seconds
    StatsdMicro(statsd::micro::MicroArgs),
    /// CPU time of statlined beside a null receiver and etsy's server
    StatsdCpu(statsd::cpu::CpuArgs),
    /// A process that receives and counts, for the other commands
    #[command(hide = true)]
    NullReceiver(statsd::null::NullArgs),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::StatsdMicro(args) => statsd::micro::run(&args),
        Command::StatsdCpu(args) => statsd::cpu::run(&args).and_then(|(table, bars)| {
            report::print(&table)?;
            bars.iter().try_for_each(|bar| Ok(report::print(&format!("{}\n", bar.line()))?))
        }),
        Command::NullReceiver(args) => statsd::null::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::progress(&format!("statline-bench: {error}"));
            ExitCode::FAILURE
        }
    }
}
