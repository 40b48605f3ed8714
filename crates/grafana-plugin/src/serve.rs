//! The life of a plugin's process: it is invited, listens, says where, serves, drains, and ends.
//!
//! It ends in under a second, with the exit code 0, when the host asks for it, on SIGTERM, and when the host is gone;
//! the last because an orphan would hold its port and its memory for good.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::parent_id;
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::handshake::{Answer, HandshakeError, Invitation};
use crate::log;
use crate::plugin::Plugin;
use crate::service::Service;
use crate::shutdown::Shutdown;

/// How a plugin is served.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// What the plugin is called, for people.
    pub name: String,
    /// Its version, for people.
    pub version: String,
    /// How many queries run at the same time in the whole process; further ones wait.
    pub max_concurrent_queries: usize,
    /// How many queries one request may hold; a request with more is refused.
    pub max_queries_per_request: usize,
    /// How long calls that are under way may take once the order to stop has come.
    pub drain: Duration,
}

impl ServeOptions {
    /// Defaults that suit a data source: 256 queries at a time, 1000 in a request, 600 ms to drain.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            max_concurrent_queries: 256,
            max_queries_per_request: 1000,
            drain: Duration::from_millis(600),
        }
    }
}

/// Why a plugin is not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No handshake could be made.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// No port of those that the host allows is free.
    #[error("no port could be listened on ({ports}): {source}")]
    NoPort {
        /// The ports that were tried.
        ports: String,
        /// Why the last one could not be had.
        source: io::Error,
    },
    /// The process's own input and output failed.
    #[error("the handshake could not be given: {0}")]
    Output(#[source] io::Error),
    /// Signals could not be listened to.
    #[error("signals could not be listened to: {0}")]
    Signals(#[source] io::Error),
    /// The server failed.
    #[error("the server failed: {0}")]
    Server(#[from] tonic::transport::Error),
}

/// Runs a plugin's whole process: logging, a runtime, building the plugin, serving it. What comes back is for `main`.
///
/// Started by hand, that is without a host, it says on standard error what it is, and the exit code is 1; the plugin is
/// not built then.
pub fn run<P: Plugin, E: Display>(options: ServeOptions, build: impl AsyncFnOnce() -> Result<P, E>) -> ExitCode {
    if invitation() == Err(HandshakeError::StartedByHand) {
        let ServeOptions { name, version, .. } = &options;
        eprintln!("{name} {version} is a backend plugin that Grafana starts by itself.");
        eprintln!("Put it into Grafana's plugin directory; run by hand it has nothing to do.");
        return ExitCode::FAILURE;
    }
    log::install(std::env::var(log::LEVEL_VARIABLE).ok().as_deref());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime could be started");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        match build().await {
            Ok(plugin) => serve(plugin, options).await.map_err(|error| error.to_string()),
            Err(error) => Err(format!("the plugin could not be built: {error}")),
        }
    });
    // Blocking work that does not end must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(50));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "the plugin ends");
            ExitCode::FAILURE
        }
    }
}

/// Serves a plugin until the host asks it to stop, then waits for calls that are under way, for a moment.
///
/// Standard output belongs to the handshake: whatever is printed there afterwards goes to standard error.
///
/// # Errors
/// When there is no host, or no port, or the server fails.
pub async fn serve(plugin: impl Plugin, options: ServeOptions) -> Result<(), ServeError> {
    let invitation = invitation()?;
    let listener = listen(&invitation).await?;
    let shutdown = Shutdown::new();
    // Before the handshake, for a host may stop a plugin as soon as it knows of it.
    let signals = Signals::new().map_err(ServeError::Signals)?;
    let service = Service::new(plugin, &options, shutdown.clone());
    let address = listener.local_addr().map_err(ServeError::Output)?;
    let _stdout = give_handshake(address).map_err(ServeError::Output)?;
    tracing::debug!(%address, name = options.name, version = options.version, "the plugin listens");

    let end_order = async {
        let why = signals.order_to_stop().await;
        tracing::debug!(why, "the plugin stops");
        shutdown.begin();
        std::future::pending::<()>().await;
    };
    let too_late = async {
        shutdown.begun().await;
        tokio::time::sleep(options.drain).await;
    };
    tokio::select! {
        outcome = service.serve(listener) => outcome?,
        () = end_order => {}
        () = too_late => tracing::warn!(drain_ms = options.drain.as_millis(), "calls were still under way and are dropped"),
    }
    Ok(())
}

fn invitation() -> Result<Invitation, HandshakeError> {
    Invitation::read(|name| std::env::var(name).ok())
}

async fn listen(invitation: &Invitation) -> Result<TcpListener, ServeError> {
    let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in invitation.addresses(std::process::id()) {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last_error = error,
        }
    }
    let ports = invitation.ports.as_ref().map_or("any".to_owned(), |ports| format!("{ports:?}"));
    Err(ServeError::NoPort { ports, source: last_error })
}

/// Prints the one line and takes standard output away from everyone else. The pipe is kept open for as long as the
/// returned descriptor lives, since a host may take its end for the process's.
fn give_handshake(address: SocketAddr) -> io::Result<OwnedFd> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", Answer { address })?;
    stdout.flush()?;
    let kept = rustix::io::fcntl_dupfd_cloexec(&stdout, 0)?;
    rustix::stdio::dup2_stdout(io::stderr())?;
    Ok(kept)
}

/// What tells the process to stop, other than a call.
struct Signals {
    terminate: Signal,
    /// Ctrl-C reaches every process of a terminal; a plugin waits for its host to decide.
    interrupt: Signal,
    parent: u32,
}

/// How soon the end of the host is noticed.
const PARENT_CHECK_INTERVAL: Duration = Duration::from_millis(500);

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            parent: parent_id(),
        })
    }

    /// Waits for an order to stop and says which.
    async fn order_to_stop(mut self) -> &'static str {
        let mut parent_check = tokio::time::interval(PARENT_CHECK_INTERVAL);
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "terminated",
                _ = self.interrupt.recv() => tracing::debug!("an interrupt is left to the host"),
                _ = parent_check.tick() => if parent_id() != self.parent {
                    return "the host is gone";
                },
            }
        }
    }
}
