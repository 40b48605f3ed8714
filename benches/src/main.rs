//! Benchmarks of Statline beside its peers.

mod allocator;
mod clock;
mod graphite;
mod http;
mod machine;
mod procfs;
mod report;
mod statsd;
mod store;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use report::Bar;

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
    /// Measure everything, or one part; ends with a line a bar
    Run(RunArgs),
    /// Parser and table alone, in process, in seconds
    StatsdMicro(statsd::micro::MicroArgs),
    /// CPU time of statlined beside a null receiver and etsy's server
    StatsdCpu(statsd::cpu::CpuArgs),
    /// What is lost at which rate, and whether it is reported
    StatsdLoss(statsd::loss::LossArgs),
    /// Bytes a series, and the CPU time of a flush
    StatsdMemory(statsd::memory::MemoryArgs),
    /// What points take on disk, and how fast they come back
    StorePoints(store::points::PointsArgs),
    /// The way of a batch into the store: CPU, durations, memory, and the start from the log
    StoreAppend(store::append::AppendArgs),
    /// Memory, opening and answers of the index of a million series
    StoreIndex(store::index::IndexArgs),
    /// Targets and names over HTTP, beside graphite-web
    Graphite(graphite::GraphiteArgs),
    /// A process that receives and counts, for the other commands
    #[command(hide = true)]
    NullReceiver(statsd::null::NullArgs),
}

#[derive(clap::Args)]
struct RunArgs {
    /// One part only
    #[arg(long)]
    only: Option<Part>,
    /// Keep the results in this file, each part in its section
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = default_results())]
    write: Option<PathBuf>,
    #[command(flatten)]
    statsd: statsd::StatsdArgs,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The statsd server
    Statsd,
    /// The store
    Store,
    /// The Graphite language and API
    Graphite,
}

impl Part {
    const ALL: [Self; 3] = [Self::Statsd, Self::Store, Self::Graphite];

    const fn name(self) -> &'static str {
        match self {
            Self::Statsd => "statsd",
            Self::Store => "store",
            Self::Graphite => "graphite",
        }
    }
}

/// Text for people, and the bars.
pub type Measured = Result<(String, Vec<Bar>), Error>;

/// The priority of everything that is measured, where the system allows it: above what else the machine does. Where Linux
/// groups tasks by session (`kernel.sched_autogroup_enabled`), that is only what else the session does.
const NICE: i32 = -15;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    // Every process and thread that is started inherits it, peers and senders alike.
    if !matches!(command, Command::NullReceiver(_)) && rustix::process::nice(NICE).is_err() {
        report::progress("may not raise its priority: what else the machine does will show in the numbers");
    }
    let outcome = match command {
        Command::Run(args) => run(&args),
        Command::StatsdMicro(args) => statsd::micro::run(&args),
        Command::StatsdCpu(args) => show(statsd::cpu::run(&args)),
        Command::StatsdLoss(args) => show(statsd::loss::run(&args)),
        Command::StatsdMemory(args) => show(statsd::memory::run(&args)),
        Command::StorePoints(args) => show(store::points::run(&args)),
        Command::StoreAppend(args) => show(store::append::run(&args)),
        Command::StoreIndex(args) => show(store::index::run(&args)),
        Command::Graphite(args) => show(graphite::run(&args)),
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

fn run(args: &RunArgs) -> Result<(), Error> {
    let mut all = Vec::new();
    for part in Part::ALL.into_iter().filter(|part| args.only.is_none_or(|only| only == *part)) {
        let (text, bars) = match part {
            Part::Statsd => statsd::run(&args.statsd)?,
            Part::Store => store::run()?,
            Part::Graphite => graphite::run(&graphite::GraphiteArgs::default())?,
        };
        let date = chrono::Utc::now().format("%Y-%m-%d %H:%M UTC");
        let machine = format!("{}. {date}. `make bench ONLY={}`.", machine::describe(), part.name());
        let text = format!("{machine}\n\n{text}");
        report::print(&text)?;
        if let Some(file) = &args.write {
            report::write_section(file, part.name(), &format!("{text}### Bars\n\n```\n{}```", lines(&bars)))?;
        }
        all.extend(bars);
    }
    Ok(report::print(&lines(&all))?)
}

fn show(measured: Measured) -> Result<(), Error> {
    let (text, bars) = measured?;
    Ok(report::print(&format!("{text}{}", lines(&bars)))?)
}

fn lines(bars: &[Bar]) -> String {
    bars.iter().map(|bar| format!("{}\n", bar.line())).collect()
}

fn default_results() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/RESULTS.md")
}
