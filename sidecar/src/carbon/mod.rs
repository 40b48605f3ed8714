//! Points in carbon's protocols: lines over TCP and UDP, pickles over TCP, and carbon's rules for them.
//!
//! * [`tcp`], [`udp`]: bytes in; [`line`], [`pickle`]: points of them
//! * [`rules`], [`router`]: which names are taken, and where their points go; [`name`] makes a series' key
//! * [`intake`]: into the store; [`aggregator`]: many points into one
//! * [`refusal`], [`stats`]: what is not taken, and why
//! * [`upkeep`]: what happens by the clock: aggregates are written, files read again
//!
//! What a client sends may be refused and is then counted; it never blocks, grows memory without a bound or ends the process.

mod aggregator;
mod intake;
mod line;
pub mod name;
mod pickle;
mod refusal;
mod router;
pub mod rules;
mod stats;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;
mod upkeep;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use socket2::Socket;
use statline_series::Step;
use statline_store::Store;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config;
use crate::receive::drops::{self, Drops};
use crate::receive::inherit::{self, Inherited};
use crate::receive::sockets;

use aggregator::{Aggregator, AggregatorLimits};
use intake::Intake;
use router::Router;
use rules::Rules;
pub use stats::CarbonStats;
use tcp::{Door, Limits, Protocol};
use udp::Mailbox;

/// A socket that could not be opened.
#[derive(Debug)]
pub struct ListenError {
    /// The key of the configuration.
    pub key: &'static str,
    /// The address it holds.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// Everything that is listened on.
#[derive(Debug, Default)]
pub struct Listeners {
    doors: Vec<Door>,
    mailboxes: Vec<Mailbox>,
}

impl Listeners {
    /// Opens every socket that the configuration names and that was not passed. What is to be remembered of those that were is
    /// kept in a directory.
    ///
    /// # Errors
    /// When one cannot be listened on.
    pub fn open(
        config: &config::Carbon,
        drops_directory: &Path,
        inherited: &mut Vec<Inherited>,
    ) -> Result<Self, ListenError> {
        let mut listeners = Self::default();
        let pickle = Protocol::Pickle { most: config.max_pickle_bytes };
        for (key, section, addresses, protocol) in [
            ("carbon.listen", "carbon", &config.listen, Protocol::Plaintext),
            ("carbon.pickle_listen", "carbon_pickle", &config.pickle_listen, pickle),
        ] {
            for address in addresses {
                let passed = inherit::take_tcp(inherited, section, *address);
                let is_kept = passed.is_some();
                let opened = match passed {
                    Some(socket) => Ok(socket),
                    None => sockets::open_tcp(*address, addresses).map(|(_, socket)| socket),
                };
                let listener =
                    opened.and_then(listener).map_err(|source| ListenError { key, address: *address, source })?;
                listeners.doors.push(Door { listener, protocol, is_kept });
            }
        }
        for address in &config.udp_listen {
            let failed = |source| ListenError { key: "carbon.udp_listen", address: *address, source };
            let mailbox = match inherit::take_udp(inherited, "carbon", *address) {
                Some(socket) => Drops::inherited(&socket, drops_directory).and_then(|drops| mailbox(socket, drops)),
                None => sockets::open_udp_alone(*address, &config.udp_listen, config.receive_buffer)
                    .and_then(|socket| mailbox(socket, Drops::default())),
            };
            listeners.mailboxes.push(mailbox.map_err(failed)?);
        }
        drops::forget_others(drops_directory, listeners.mailboxes.iter().filter_map(|mailbox| mailbox.drops.path()));
        Ok(listeners)
    }

    /// The TCP addresses of lines, ports as they were bound.
    pub fn plaintext(&self) -> Vec<SocketAddr> {
        self.doors_of(|protocol| protocol == Protocol::Plaintext)
    }

    /// The TCP addresses of pickles, ports as they were bound.
    pub fn pickle(&self) -> Vec<SocketAddr> {
        self.doors_of(|protocol| protocol != Protocol::Plaintext)
    }

    /// The UDP addresses, ports as they were bound.
    pub fn udp(&self) -> Vec<SocketAddr> {
        self.mailboxes.iter().filter_map(|mailbox| mailbox.socket.local_addr().ok()).collect()
    }

    fn doors_of(&self, is_one: impl Fn(Protocol) -> bool) -> Vec<SocketAddr> {
        let doors = self.doors.iter().filter(|door| is_one(door.protocol));
        doors.filter_map(|door| door.listener.local_addr().ok()).collect()
    }
}

fn listener(socket: Socket) -> io::Result<TcpListener> {
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

fn mailbox(socket: Socket, drops: Drops) -> io::Result<Mailbox> {
    socket.set_nonblocking(true)?;
    Ok(Mailbox { socket: UdpSocket::from_std(socket.into())?, drops })
}

/// Takes points until it is told to stop; then it stores what it has been sent, and what it has aggregated. At most so many
/// names are remembered.
pub async fn serve(
    listeners: Listeners,
    config: config::Carbon,
    rules: Rules,
    store: Arc<dyn Store>,
    most_names: usize,
    stats: Arc<CarbonStats>,
    stop: CancellationToken,
) {
    let limits = AggregatorLimits {
        intervals: config.max_aggregates,
        values: config.max_aggregate_values,
        late_intervals: config.max_aggregation_intervals,
        write_back: Step::from_duration(config.write_back_frequency.get()),
    };
    let router = Router::new(rules.clone(), config.forward_all);
    let aggregator = Aggregator::new(limits);
    let intake = Arc::new(Intake::new(store, stats, router, aggregator, config.max_line_bytes, most_names));
    let limits = Limits {
        connections: Arc::new(Semaphore::new(config.max_connections)),
        max_connections: config.max_connections,
        idle_timeout: config.idle_timeout.get(),
    };
    let receiving = TaskTracker::new();
    for door in listeners.doors {
        receiving.spawn(tcp::serve(door, Arc::clone(&intake), limits.clone(), stop.clone()));
    }
    for mailbox in listeners.mailboxes {
        receiving.spawn(udp::serve(mailbox, Arc::clone(&intake), stop.clone()));
    }
    receiving.close();
    // Aggregates are written for as long as points may come.
    let all_in = CancellationToken::new();
    let writing = tokio::spawn(upkeep::write_aggregates(Arc::clone(&intake), all_in.clone()));
    let watching = tokio::spawn(upkeep::watch_files(Arc::clone(&intake), config, rules, stop));
    receiving.wait().await;
    all_in.cancel();
    for task in [writing, watching] {
        if let Err(error) = task.await {
            tracing::error!(%error, "carbon's upkeep failed");
        }
    }
}
