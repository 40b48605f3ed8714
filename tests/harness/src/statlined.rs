//! The sidecar, as an operator would run it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::program::{self, HarnessError};

/// The longest that the daemon may take to be ready, or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running daemon; it is killed when this is dropped.
#[derive(Debug)]
pub struct Statlined {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    addresses: Addresses,
}

#[derive(Debug)]
struct Addresses {
    statsd: SocketAddr,
    carbon: SocketAddr,
    http: SocketAddr,
    flight: SocketAddr,
}

/// How a daemon is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The store's directory.
    pub store: PathBuf,
    /// The flush interval, as the configuration writes it.
    pub flush_interval: String,
    /// More of the environment: `STATLINE_SECTION__KEY` and its value.
    pub environment: Vec<(String, String)>,
}

impl Options {
    /// A store in a directory, and a flush interval such as `1s`.
    #[must_use]
    pub fn new(store: &Path, flush_interval: &str) -> Self {
        Self { store: store.to_owned(), flush_interval: flush_interval.to_owned(), environment: Vec::new() }
    }

    /// Sets a key of the configuration.
    #[must_use]
    pub fn set(mut self, section: &str, key: &str, value: impl ToString) -> Self {
        let name = format!("STATLINE_{}__{}", section.to_uppercase(), key.to_uppercase());
        self.environment.push((name, value.to_string()));
        self
    }
}

impl Statlined {
    /// Starts a daemon on loopback ports of the kernel's choice, and waits until it is ready.
    ///
    /// # Errors
    /// With the end of its log when it does not become ready.
    pub fn start(options: &Options) -> Result<Self, HarnessError> {
        let mut command = Command::new(program::own_binary("statlined")?);
        command.arg("serve").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        for (name, value) in [
            ("STATLINE_STATSD__LISTEN", "127.0.0.1:0"),
            ("STATLINE_CARBON__LISTEN", "127.0.0.1:0"),
            ("STATLINE_HTTP__LISTEN", "127.0.0.1:0"),
            ("STATLINE_FLIGHT__LISTEN", "127.0.0.1:0"),
            ("STATLINE_STATSD__FLUSH_INTERVAL", &options.flush_interval),
            ("STATLINE_LOG__FORMAT", "json"),
        ] {
            command.env(name, value);
        }
        command.env("STATLINE_STORE__PATH", &options.store);
        command.envs(options.environment.iter().map(|(name, value)| (name, value)));
        let mut child = command.spawn().map_err(|error| HarnessError::failed("statlined", error))?;
        let log = Arc::new(Mutex::new(Vec::new()));
        if let Some(stderr) = child.stderr.take() {
            let lines = Arc::clone(&log);
            // Ends with the daemon, whose end of the pipe closes.
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                }
            });
        }
        let addresses = program::wait_until("statlined being ready", PATIENCE, || {
            let lines = log.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let ready = lines.iter().find_map(|line| Addresses::read(line)).map(Ok);
            ready.or_else(|| {
                let status = child.try_wait().ok().flatten()?;
                Some(Err(HarnessError::failed(
                    format!("statlined ({status})"),
                    lines.last().cloned().unwrap_or_default(),
                )))
            })
        });
        match addresses.and_then(std::convert::identity) {
            Ok(addresses) => Ok(Self { child, log, addresses }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Where statsd packets go.
    #[must_use]
    pub const fn statsd(&self) -> SocketAddr {
        self.addresses.statsd
    }

    /// Where carbon lines go.
    #[must_use]
    pub const fn carbon(&self) -> SocketAddr {
        self.addresses.carbon
    }

    /// The HTTP API.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.addresses.http
    }

    /// Where Arrow Flight is served.
    #[must_use]
    pub const fn flight(&self) -> SocketAddr {
        self.addresses.flight
    }

    /// The URL of Arrow Flight.
    #[must_use]
    pub fn flight_url(&self) -> String {
        format!("http://{}", self.addresses.flight)
    }

    /// The lines that it has logged so far, as JSON.
    #[must_use]
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The process' id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it without any warning, as a power cut would.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn kill(mut self) -> Result<(), HarnessError> {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map(|_| ())
            .map_err(|error| HarnessError::failed("kill -9", error))
    }

    /// Asks it to stop, and waits for that.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn terminate(mut self) -> Result<ExitStatus, HarnessError> {
        program::send_signal(self.child.id(), "TERM")?;
        program::wait_for_exit(&mut self.child, "statlined stopping", PATIENCE)
    }
}

impl Drop for Statlined {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Addresses {
    /// Reads the line that says that the daemon is ready.
    fn read(line: &str) -> Option<Self> {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        if line.get("message")? != "ready" {
            return None;
        }
        let address = |name: &str| line.get(name)?.as_str()?.split(',').next()?.parse().ok();
        Some(Self {
            statsd: address("statsd")?,
            carbon: address("carbon")?,
            http: address("http")?,
            flight: address("flight")?,
        })
    }
}
