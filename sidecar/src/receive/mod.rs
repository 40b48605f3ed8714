//! Receiving statsd packets: threads that own their sockets, each with a table of its own.
//!
//! * [`sockets`] opens what is listened on; [`inherit`] knows what a service manager has opened
//! * [`datagram`]: a thread for each UDP and unix datagram socket, by [`recvmmsg`], with its [`drops`]
//! * [`stream`]: one thread for all TCP and unix stream connections, by [`framing`]
//! * [`intake`]: from either into a table, and [`stats`]
//!
//! A flush takes every thread's table and leaves an empty one in its place; that swap is all that a thread ever waits for.
//! What the kernel dropped before a thread could read it is counted with the rest, so a lost packet is a counted packet.

mod datagram;
pub mod drops;
mod framing;
pub mod inherit;
mod intake;
pub mod recvmmsg;
pub mod sender;
pub mod sockets;
mod stats;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use statline_statsd::{Grammar, Lane, Limits, Parser};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

pub use recvmmsg::Packet;
pub use stats::{ReceiveStats, ReceiveTotals, excerpt};

use crate::repeater::{Repeater, RepeaterConfig};
use datagram::Receiver;
use inherit::Inherited;
use intake::Intake;
use sockets::{SocketFile, Sockets};
use stream::StreamLimits;

/// Where to listen and how.
#[derive(Clone, Debug)]
pub struct ReceiveConfig {
    /// UDP addresses. A port of 0 is any free one.
    pub listen: Vec<SocketAddr>,
    /// TCP addresses.
    pub tcp_listen: Vec<SocketAddr>,
    /// Paths of unix datagram sockets.
    pub unix_datagram: Vec<PathBuf>,
    /// Paths of unix stream sockets.
    pub unix_stream: Vec<PathBuf>,
    /// The mode of the unix sockets' files.
    pub unix_mode: u32,
    /// Threads, each with a socket, for each UDP address. One sender's packets all go to one of them.
    pub threads: usize,
    /// The kernel's receive buffer of each datagram socket, in bytes. Without `CAP_NET_ADMIN`, `net.core.rmem_max` is the
    /// most.
    pub receive_buffer: usize,
    /// The longest packet that is taken whole, and the longest line of a stream. No UDP packet is longer than the default.
    pub max_packet_bytes: usize,
    /// The most stream connections at once.
    pub max_connections: usize,
    /// How long a stream connection may be silent.
    pub idle_timeout: Duration,
    /// Of each thread's table.
    pub limits: Limits,
    /// How lines are read.
    pub grammar: Grammar,
    /// Where packets are sent on to.
    pub repeater: RepeaterConfig,
    /// Where the drops of inherited sockets are remembered.
    pub drops_directory: PathBuf,
}

impl Default for ReceiveConfig {
    fn default() -> Self {
        let listen =
            vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8125)), SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8125))];
        Self {
            tcp_listen: listen.clone(),
            listen,
            unix_datagram: Vec::new(),
            unix_stream: Vec::new(),
            unix_mode: 0o666,
            threads: 1,
            receive_buffer: 32 << 20,
            max_packet_bytes: 65_535,
            max_connections: 1024,
            idle_timeout: Duration::from_mins(10),
            limits: Limits::default(),
            grammar: Grammar::default(),
            repeater: RepeaterConfig::default(),
            drops_directory: PathBuf::new(),
        }
    }
}

/// Why receiving could not begin.
#[derive(Debug, Error)]
pub enum ReceiveError {
    /// No address is given.
    #[error("statsd.listen, tcp_listen, unix_datagram and unix_stream are all empty; statsd needs one to listen on")]
    NoAddress,
    /// No thread, or no room for a packet.
    #[error("statsd threads and max_packet_bytes are at least 1, got {threads} and {max_packet_bytes}")]
    Nothing {
        /// Threads an address.
        threads: usize,
        /// The longest packet.
        max_packet_bytes: usize,
    },
    /// A socket could not be opened or bound.
    #[error("{key}: cannot listen for statsd packets on {kind} {place}: {source}")]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// What kind of socket.
        kind: &'static str,
        /// Its address or path.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// A socket that was passed cannot be prepared.
    #[error("the inherited socket {descriptor} cannot be used: {source}")]
    Inherited {
        /// Its descriptor.
        descriptor: RawFd,
        /// What the system said.
        source: io::Error,
    },
    /// A socket that was passed is for nobody.
    #[error(
        "the inherited socket {descriptor} (tcp {address}) is no listener of the configuration; add its address to \
         statsd.tcp_listen, or give it the name of a section: FileDescriptorName=statsd"
    )]
    Unclaimed {
        /// Its descriptor.
        descriptor: RawFd,
        /// Where it is bound.
        address: SocketAddr,
    },
    /// A thread could not be started.
    #[error("cannot start a thread for statsd packets: {0}")]
    Thread(#[source] io::Error),
}

/// The running threads.
#[derive(Debug)]
pub struct Receivers {
    running: Vec<Running>,
    /// Where it listens.
    places: Places,
    /// The files of the unix sockets.
    files: Vec<SocketFile>,
    stats: Arc<ReceiveStats>,
    repeater: Repeater,
    started: Instant,
    /// Read by threads that look at it now and then.
    stop: Arc<AtomicBool>,
    /// Waited for by the thread of the streams.
    stop_streams: CancellationToken,
}

/// Where it listens, ports as they were bound.
#[derive(Debug, Default)]
pub struct Places {
    /// UDP addresses.
    pub udp: Vec<SocketAddr>,
    /// TCP addresses.
    pub tcp: Vec<SocketAddr>,
    /// Paths of unix sockets.
    pub unix: Vec<PathBuf>,
}

/// A thread, and the table that it fills.
#[derive(Debug)]
struct Running {
    lane: Lane,
    thread: JoinHandle<bool>,
}

/// What is left after a stop.
#[derive(Debug)]
pub struct Stopped {
    /// What was counted since the last flush.
    pub lanes: Vec<Lane>,
    /// Whether packets kept coming, so that some were left unread.
    pub unread: bool,
}

impl Receivers {
    /// Opens all sockets that were not inherited, then starts all threads.
    ///
    /// # Errors
    /// When something cannot be listened on; nothing has been received then.
    pub fn start(config: &ReceiveConfig, inherited: Vec<Inherited>) -> Result<Self, ReceiveError> {
        if config.threads == 0 || config.max_packet_bytes == 0 {
            let ReceiveConfig { threads, max_packet_bytes, .. } = *config;
            return Err(ReceiveError::Nothing { threads, max_packet_bytes });
        }
        let Sockets { datagrams, streams, udp, tcp, unix, files } = Sockets::open(config, inherited)?;
        if datagrams.is_empty() && streams.is_empty() {
            return Err(ReceiveError::NoAddress);
        }
        // From here on, dropping it stops the threads that have been started.
        let mut receivers = Self {
            running: Vec::new(),
            places: Places { udp, tcp, unix },
            files,
            stats: Arc::default(),
            repeater: Repeater::start(&config.repeater).map_err(ReceiveError::Thread)?,
            started: Instant::now(),
            stop: Arc::default(),
            stop_streams: CancellationToken::new(),
        };
        for (index, socket) in datagrams.into_iter().enumerate() {
            let (feed, stop) = (receivers.repeater.feed(), receivers.stop.clone());
            let max_packet_bytes = config.max_packet_bytes;
            receivers.start_lane(config, format!("statsd-packets-{index}"), move |intake| {
                Receiver::new(socket, intake, max_packet_bytes, feed, stop).run()
            })?;
        }
        if !streams.is_empty() {
            let (feed, stop) = (receivers.repeater.feed(), receivers.stop_streams.clone());
            let limits = StreamLimits {
                max_connections: config.max_connections,
                idle_timeout: config.idle_timeout,
                max_line_bytes: config.max_packet_bytes,
            };
            receivers.start_lane(config, "statsd-streams".to_owned(), move |intake| {
                stream::run(streams, intake, limits, feed, stop).unwrap_or_else(|error| {
                    tracing::error!(%error, "statsd connections cannot be taken");
                    true
                })
            })?;
        }
        Ok(receivers)
    }

    /// Starts a thread that fills a table of its own.
    fn start_lane(
        &mut self,
        config: &ReceiveConfig,
        name: String,
        run: impl FnOnce(Intake) -> bool + Send + 'static,
    ) -> Result<(), ReceiveError> {
        let lane = Lane::new(config.limits.clone());
        let parser = Parser::new(&config.limits, config.grammar);
        let intake = Intake::new(lane.table(), parser, self.stats.clone(), self.started);
        let thread = thread::Builder::new().name(name).spawn(move || run(intake)).map_err(ReceiveError::Thread)?;
        self.running.push(Running { lane, thread });
        Ok(())
    }

    /// Where it listens.
    pub const fn places(&self) -> &Places {
        &self.places
    }

    /// Hands over each thread's lane, for [`State::absorb`](statline_statsd::State::absorb) or its like.
    ///
    /// A thread is kept waiting for a swap, and this for a batch of packets at most.
    pub fn collect(&mut self, mut each: impl FnMut(&mut Lane)) {
        self.running.iter_mut().for_each(|running| each(&mut running.lane));
    }

    /// What has been received up to now; goes on telling after the threads have stopped.
    pub fn stats(&self) -> Arc<ReceiveStats> {
        self.stats.clone()
    }

    /// Whether every thread is alive.
    pub fn is_healthy(&self) -> bool {
        self.running.iter().all(|running| !running.thread.is_finished())
    }

    /// Takes what the kernel has already received and ends the threads. Blocks for a little over a second at most.
    pub fn stop(mut self) -> Stopped {
        self.order_stop();
        let mut stopped = Stopped { lanes: Vec::new(), unread: false };
        for Running { lane, thread } in std::mem::take(&mut self.running) {
            // A thread that panicked has said so through the panic hook; what it counted before is kept.
            stopped.unread |= thread.join().unwrap_or(true);
            stopped.lanes.push(lane);
        }
        std::mem::take(&mut self.repeater).stop();
        stopped
    }

    fn order_stop(&mut self) {
        // Nobody is to find a unix socket whose packets are no longer read.
        self.files.clear();
        self.stop.store(true, Ordering::Release);
        self.stop_streams.cancel();
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.order_stop();
    }
}
