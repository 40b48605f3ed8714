//! `make demo`: a whole community's statistics on one machine, with nothing prepared.
//!
//! PostgreSQL with 90 days of made-up moderation data, statlined with a week of history, live traffic by the asyncio
//! client, and the plugin: in a real Grafana when one is found, and otherwise asked as Grafana would ask, each panel of each
//! dashboard drawn in the terminal. With `--oneshot` that is done once, and an empty panel is a failure.
//!
//! * [`stack`]: the parts, started and stopped in order
//! * [`history`]: the week before now
//! * [`dashboards`]: what the panels ask
//! * [`screen`]: what they answer, in a terminal
//! * [`grafana`]: a real Grafana

mod dashboards;
mod grafana;
mod history;
mod screen;
mod stack;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// An error that is told to whoever runs the demo.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// How often panels are asked anew when there is no Grafana.
const REFRESH: Duration = Duration::from_secs(15);

#[derive(Parser)]
#[command(name = "statline-demo", about = "Plays a whole community's statistics on one machine")]
struct Cli {
    /// Ask every panel once, and fail when one is empty or in error
    #[arg(long)]
    oneshot: bool,
    /// Run a command beside everything, with the variables that provisioning/ reads, and end with it
    #[arg(long, value_name = "COMMAND", conflicts_with = "oneshot")]
    run: Option<String>,
    /// How many days of statsd history are filled in
    #[arg(long, default_value_t = 7)]
    history_days: u32,
    /// How much faster than a real community the live traffic is
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// The flush interval of statlined
    #[arg(long, default_value = "10s")]
    flush_interval: String,
    /// The Python that has the client installed
    #[arg(long, env = "STATLINE_PYTHON", default_value = ".venv/bin/python")]
    python: PathBuf,
    /// Where `make dist` left the plugin; needed for a Grafana only
    #[arg(long, default_value = "dist")]
    plugins: PathBuf,
    /// The port of Grafana
    #[arg(long, default_value_t = 3000)]
    grafana_port: u16,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let played = until_stopped(cli).await;
    match played {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "demo: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Plays until it is done or asked to stop; what has been started ends with its handles, in either case.
async fn until_stopped(cli: Cli) -> Result<bool, Error> {
    // Registered before anything is started, so that nothing is left behind by a signal that comes early.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut playing = tokio::spawn(async move { play(&cli).await });
    tokio::select! {
        played = &mut playing => return played?,
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    say("\nstopping");
    playing.abort();
    match playing.await {
        Err(error) if error.is_panic() => Err(error.into()),
        _ => Ok(true),
    }
}

async fn play(cli: &Cli) -> Result<bool, Error> {
    let stack = stack::Stack::start(cli).await?;
    let dashboards = dashboards::load()?;
    if cli.oneshot {
        return Ok(screen::show(&stack, &dashboards).await?.is_full());
    }
    if let Some(command) = &cli.run {
        let status =
            tokio::process::Command::new("sh").args(["-c", command]).envs(stack.environment()).status().await?;
        return Ok(status.success());
    }
    if let Some(grafana) = grafana::start(cli, &stack).await? {
        say(&format!("Grafana is ready: {}\nCtrl-C stops everything.", grafana.url()));
        grafana.wait().await?;
        return Ok(true);
    }
    say("No Grafana was found (GRAFANA_HOME, grafana on the PATH, Docker), so the panels are drawn here.");
    loop {
        screen::show(&stack, &dashboards).await?;
        say(&format!("\n{}\nAsked anew every {} s; Ctrl-C stops everything.", stack.addresses(), REFRESH.as_secs()));
        tokio::time::sleep(REFRESH).await;
    }
}

/// A line for whoever runs the demo.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
