//! Benchmarks of Statline beside its peers.

mod allocator;
mod clock;
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
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::StatsdMicro(args) => statsd::micro::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::progress(&format!("statline-bench: {error}"));
            ExitCode::FAILURE
        }
    }
}
