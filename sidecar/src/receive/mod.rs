//! Receiving statsd packets: threads that own their sockets, each with a table of its own.
//!
//! A flush takes every thread's table and leaves an empty one in its place; that swap is all that a thread ever waits for.
//! What the kernel dropped before a thread could read it is counted with the rest, so a lost packet is a counted packet.

mod recvmmsg;
mod stats;
#[cfg(test)]
mod tests;
mod udp;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use socket2::Socket;
use statline_statsd::{Grammar, Lane, Limits, Parser};
use thiserror::Error;

pub use stats::{ReceiveStats, ReceiveTotals};

use udp::{Receiver, SocketOptions};

/// Where to listen and how.
#[derive(Clone, Debug)]
pub struct ReceiveConfig {
    /// UDP addresses. A port of 0 is any free one.
    pub listen: Vec<SocketAddr>,
    /// Threads, each with a socket, for each address. One sender's packets all go to one of them.
    pub threads: usize,
    /// The kernel's receive buffer of each socket, in bytes. Without `CAP_NET_ADMIN`, `net.core.rmem_max` is the most.
    pub receive_buffer: usize,
    /// The longest packet that is taken whole. No UDP packet is longer than the default.
    pub max_packet_bytes: usize,
    /// Of each thread's table.
    pub limits: Limits,
    /// How lines are read.
    pub grammar: Grammar,
}

impl Default for ReceiveConfig {
    fn default() -> Self {
        Self {
            listen: vec![
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8125)),
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8125)),
            ],
            threads: 1,
            receive_buffer: 4 << 20,
            max_packet_bytes: 65_535,
            limits: Limits::default(),
            grammar: Grammar::default(),
        }
    }
}

/// Why receiving could not begin.
#[derive(Debug, Error)]
pub enum ReceiveError {
    /// No address is given.
    #[error("no statsd address to listen on")]
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
    #[error("cannot listen for statsd packets on udp {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start a thread for statsd packets")]
    Thread(#[source] io::Error),
}

/// The running threads.
#[derive(Debug)]
pub struct Receivers {
    running: Vec<Running>,
    addresses: Vec<SocketAddr>,
    stats: Arc<ReceiveStats>,
    stop: Arc<AtomicBool>,
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
    /// Opens all sockets, then starts all threads.
    ///
    /// # Errors
    /// When an address cannot be listened on; nothing has been received then.
    pub fn start(config: &ReceiveConfig) -> Result<Self, ReceiveError> {
        if config.listen.is_empty() {
            return Err(ReceiveError::NoAddress);
        }
        if config.threads == 0 || config.max_packet_bytes == 0 {
            let ReceiveConfig { threads, max_packet_bytes, .. } = *config;
            return Err(ReceiveError::Nothing { threads, max_packet_bytes });
        }
        let mut addresses = Vec::new();
        let mut sockets = Vec::new();
        for address in &config.listen {
            match open_all(*address, config) {
                Ok((bound, opened)) => {
                    tracing::info!(address = %bound, threads = opened.len(), "listening for statsd packets");
                    addresses.push(bound);
                    sockets.extend(opened);
                }
                Err(error) if address.is_ipv6() && shares_port_with_v4(*address, config) && lacks_family(&error) => {
                    tracing::warn!(%address, %error, "no IPv6 here, listening for statsd packets on IPv4 only");
                }
                Err(source) => return Err(ReceiveError::Listen { address: *address, source }),
            }
        }
        // From here on, dropping it stops the threads that have been started.
        let mut receivers = Self { running: Vec::new(), addresses, stats: Arc::default(), stop: Arc::default() };
        let started = Instant::now();
        for (index, socket) in sockets.into_iter().enumerate() {
            let lane = Lane::new(config.limits.clone());
            let receiver = Receiver::new(
                socket,
                lane.table(),
                Parser::new(&config.limits, config.grammar),
                config.max_packet_bytes,
                receivers.stats.clone(),
                receivers.stop.clone(),
                started,
            );
            let thread = thread::Builder::new()
                .name(format!("statsd-udp-{index}"))
                .spawn(move || receiver.run())
                .map_err(ReceiveError::Thread)?;
            receivers.running.push(Running { lane, thread });
        }
        Ok(receivers)
    }

    /// Where it listens, ports as they were bound.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
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
        self.stop.store(true, Ordering::Release);
        let mut stopped = Stopped { lanes: Vec::new(), unread: false };
        for Running { lane, thread } in std::mem::take(&mut self.running) {
            // A thread that panicked has said so through the panic hook; what it counted before is kept.
            stopped.unread |= thread.join().unwrap_or(true);
            stopped.lanes.push(lane);
        }
        stopped
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Opens the sockets of an address and says what it was bound to.
fn open_all(address: SocketAddr, config: &ReceiveConfig) -> io::Result<(SocketAddr, Vec<Socket>)> {
    let options = SocketOptions {
        shared: config.threads > 1,
        only_v6: !address.ip().is_unspecified() || shares_port_with_v4(address, config),
        receive_buffer: config.receive_buffer,
    };
    if options.shared {
        // Sockets that share an address would also share it with a second statlined, and each would get a part of the
        // packets. One that does not share finds out.
        drop(udp::open(address, SocketOptions { shared: false, ..options })?);
    }
    let first = udp::open(address, options)?;
    let granted = first.recv_buffer_size()?;
    // Linux grants twice what is asked for, to have room for its own bookkeeping.
    if granted / 2 < options.receive_buffer {
        tracing::warn!(
            %address,
            asked = options.receive_buffer,
            granted = granted / 2,
            "the receive buffer is smaller than asked for, raise net.core.rmem_max"
        );
    }
    let bound = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![first];
    for _ in 1..config.threads {
        sockets.push(udp::open(bound, options)?);
    }
    Ok((bound, sockets))
}

fn shares_port_with_v4(address: SocketAddr, config: &ReceiveConfig) -> bool {
    config.listen.iter().any(|other| other.is_ipv4() && other.port() == address.port())
}

fn lacks_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}
