//! The sidecar, as an operator would run it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
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

/// Passes on its standard input and output as systemd passes sockets, and becomes what it is told to run.
const ACTIVATE: &str = "
import os, sys
names = sys.argv[1].split(':')
for at in range(len(names)):
    os.dup2(at, 3 + at)
nothing = os.open('/dev/null', os.O_RDWR)
os.dup2(nothing, 0)
os.dup2(nothing, 1)
os.closerange(3 + len(names), 64)
environment = dict(os.environ, LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(names)), LISTEN_FDNAMES=sys.argv[1])
os.execve(sys.argv[2], sys.argv[2:], environment)
";

#[derive(Debug)]
struct Addresses {
    statsd: Option<SocketAddr>,
    statsd_tcp: Option<SocketAddr>,
    console: Option<SocketAddr>,
    carbon: SocketAddr,
    carbon_udp: SocketAddr,
    carbon_pickle: SocketAddr,
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
    /// Sockets that are passed to it, with their names, as by socket activation; two at most.
    pub sockets: Vec<(String, Arc<OwnedFd>)>,
}

impl Options {
    /// A store in a directory, and a flush interval such as `1s`.
    #[must_use]
    pub fn new(store: &Path, flush_interval: &str) -> Self {
        Self {
            store: store.to_owned(),
            flush_interval: flush_interval.to_owned(),
            environment: Vec::new(),
            sockets: Vec::new(),
        }
    }

    /// Sets a key of the configuration.
    #[must_use]
    pub fn set(mut self, section: &str, key: &str, value: impl ToString) -> Self {
        let name = format!("STATLINE_{}__{}", section.to_uppercase(), key.to_uppercase());
        self.environment.push((name, value.to_string()));
        self
    }

    /// Passes a socket to the daemon, as systemd does. This process keeps it open, too, as systemd does.
    ///
    /// # Errors
    /// When there are two already, or this process can have no more descriptors.
    pub fn pass(mut self, name: &str, socket: &impl AsFd) -> Result<Self, HarnessError> {
        let failed = |error: std::io::Error| HarnessError::failed("passing a socket", error);
        if self.sockets.len() == 2 {
            return Err(failed(std::io::ErrorKind::Unsupported.into()));
        }
        let socket = socket.as_fd().try_clone_to_owned().map_err(failed)?;
        self.sockets.push((name.to_owned(), Arc::new(socket)));
        Ok(self)
    }

    /// The command that starts the daemon.
    fn command(&self) -> Result<Command, HarnessError> {
        let statlined = program::own_binary("statlined")?;
        if self.sockets.is_empty() {
            let mut command = Command::new(statlined);
            command.arg("serve").stdin(Stdio::null()).stdout(Stdio::null());
            return Ok(command);
        }
        let names: Vec<&str> = self.sockets.iter().map(|(name, _)| name.as_str()).collect();
        let mut command = Command::new("python3");
        command.args(["-c", ACTIVATE, &names.join(":")]).arg(statlined).arg("serve");
        let mut passed = self.sockets.iter().map(|(_, socket)| socket.try_clone().map(Stdio::from));
        let mut next = || passed.next().unwrap_or_else(|| Ok(Stdio::null()));
        let failed = |error| HarnessError::failed("passing a socket", error);
        command.stdin(next().map_err(failed)?).stdout(next().map_err(failed)?);
        Ok(command)
    }
}

impl Statlined {
    /// Starts a daemon on loopback ports of the kernel's choice, and waits until it is ready.
    ///
    /// # Errors
    /// With the end of its log when it does not become ready.
    pub fn start(options: &Options) -> Result<Self, HarnessError> {
        let mut command = options.command()?;
        command.stderr(Stdio::piped());
        for (name, value) in [
            ("STATLINE_STATSD__LISTEN", "127.0.0.1:0"),
            ("STATLINE_STATSD__TCP_LISTEN", "127.0.0.1:0"),
            ("STATLINE_CONSOLE__LISTEN", "127.0.0.1:0"),
            ("STATLINE_CARBON__LISTEN", "127.0.0.1:0"),
            ("STATLINE_CARBON__UDP_LISTEN", "127.0.0.1:0"),
            ("STATLINE_CARBON__PICKLE_LISTEN", "127.0.0.1:0"),
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
    ///
    /// # Panics
    /// When it was told to listen for none.
    #[must_use]
    pub fn statsd(&self) -> SocketAddr {
        listened_on(self.addresses.statsd, "statsd.listen")
    }

    /// Where statsd connections go.
    ///
    /// # Panics
    /// When it was told to listen for none.
    #[must_use]
    pub fn statsd_tcp(&self) -> SocketAddr {
        listened_on(self.addresses.statsd_tcp, "statsd.tcp_listen")
    }

    /// The management console.
    ///
    /// # Panics
    /// When it was told to have none.
    #[must_use]
    pub fn console(&self) -> SocketAddr {
        listened_on(self.addresses.console, "console.listen")
    }

    /// Where carbon lines go.
    #[must_use]
    pub const fn carbon(&self) -> SocketAddr {
        self.addresses.carbon
    }

    /// Where datagrams of carbon lines go.
    #[must_use]
    pub const fn carbon_udp(&self) -> SocketAddr {
        self.addresses.carbon_udp
    }

    /// Where carbon's pickles go.
    #[must_use]
    pub const fn carbon_pickle(&self) -> SocketAddr {
        self.addresses.carbon_pickle
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

/// An address that a test asks for must be one that it has told the daemon to listen on.
#[expect(clippy::panic, reason = "a test says what is wrong by panicking")]
fn listened_on(address: Option<SocketAddr>, key: &str) -> SocketAddr {
    address.unwrap_or_else(|| panic!("the daemon was started with no {key}"))
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
            statsd: address("statsd"),
            statsd_tcp: address("statsd_tcp"),
            console: address("console"),
            carbon: address("carbon")?,
            carbon_udp: address("carbon_udp")?,
            carbon_pickle: address("carbon_pickle")?,
            http: address("http")?,
            flight: address("flight")?,
        })
    }
}
