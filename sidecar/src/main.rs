//! `statlined`, the Statline sidecar: one daemon in place of a statsd server, Graphite and their glue.
//!
//! * [`config`]: what can be set
//! * [`daemon`]: starts everything, and stops it in order
//! * [`receive`] → [`flusher`], [`carbon`]: points on their way in; [`keeper`] carries statsd over a restart, [`repeater`]
//!   sends packets on to other servers
//! * [`mapping`]: the rules that make Prometheus metrics of statsd names
//! * [`engine`]: questions on their way to the store
//! * [`http`], [`flight`]: the ways out; [`access`] and [`tls`] guard them
//! * [`console`]: etsy's management console, to look into the open interval
//! * [`status`]: readiness and our own figures
//! * [`backups`]: a running daemon's backups of its store
//! * [`query`]: the command that asks from a terminal; [`store_tool`]: those for a store's directory

mod access;
mod backups;
mod carbon;
mod clock;
mod config;
mod console;
mod daemon;
mod engine;
mod flight;
mod flusher;
mod frequent;
mod http;
mod keeper;
mod logs;
mod mapping;
mod memory;
mod query;
mod receive;
mod repeater;
mod status;
mod store_tool;
mod tls;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use config::{Config, ConfigError};

#[global_allocator]
static MEMORY: memory::LargePages = memory::LargePages;

/// How nice the threads are that do not receive packets.
const NICE: i32 = 10;

#[derive(Parser)]
#[command(name = "statlined", version, about = "statsd in, Graphite and Arrow Flight out")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon
    Serve(ConfigArgs),
    /// Prove that a configuration is valid, and show it with every default
    CheckConfig(ConfigArgs),
    /// Ask a running daemon for a Graphite target, and show a table with sparklines
    Query(query::QueryArgs),
    /// Check, measure, compact, back up or restore a store
    #[command(subcommand)]
    Store(store_tool::StoreCommand),
    /// Write what a store holds as JSON lines
    Export(store_tool::export::ExportArgs),
    /// Read JSON lines into a store
    Import(store_tool::import::ImportArgs),
}

#[derive(Args)]
struct ConfigArgs {
    /// The configuration file; without one, the defaults and the environment hold
    #[arg(short, long, env = "STATLINE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    fn load(&self) -> Result<Config, ConfigError> {
        // A name that is not UTF-8 cannot be one of ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
        config::load(self.config.as_deref(), environment)
    }
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => args.load().map_err(Into::into).and_then(serve),
        Command::CheckConfig(args) => args.load().map_err(Into::into).and_then(|config| check_config(&config)),
        Command::Query(args) => query::run(&args),
        Command::Store(command) => store_tool::run(&command),
        Command::Export(args) => store_tool::export::run(&args),
        Command::Import(args) => store_tool::import::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "statlined: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config) -> Result<(), Box<dyn std::error::Error>> {
    // Before anything opens a descriptor, since sockets are passed by their numbers.
    let inherited = receive::inherit::take(|name| std::env::var(name).ok())?;
    logs::init(&config.log);
    // The threads that receive are started by this one, which is not among those.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().on_thread_start(yield_to_receivers).build()?;
    let outcome = runtime.block_on(daemon::run(config, inherited));
    // An evaluation that nobody waits for any more must not hold up the exit.
    runtime.shutdown_timeout(Duration::from_millis(100));
    Ok(outcome?)
}

/// Lets the threads that receive packets go first when cores are few: what comes late for them is lost, while a flush or a
/// query takes a little longer.
fn yield_to_receivers() {
    // It is a thread's own on Linux, and lowering it is allowed to everyone. Where it fails, all are equal.
    let _ = rustix::process::setpriority_process(None, NICE);
}

fn check_config(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let mut stdout = std::io::stdout().lock();
    write!(stdout, "{}", toml::to_string(config)?)?;
    if !config.mapping.file.as_os_str().is_empty() {
        let rules = mapping::read(&config.mapping.file).map_err(|error| format!("mapping.file: {error}"))?;
        for note in rules.notes() {
            writeln!(std::io::stderr(), "statlined: note: {}: {note}", config.mapping.file.display())?;
        }
    }
    carbon::rules::Rules::load(&config.carbon)?;
    for warning in config.warnings() {
        writeln!(std::io::stderr(), "statlined: warning: {warning}")?;
    }
    writeln!(std::io::stderr(), "statlined: the configuration is valid")?;
    Ok(())
}
