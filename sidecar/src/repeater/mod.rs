//! Every packet that was received, sent on to other statsd servers.
//!
//! A receiver thread puts a batch into a queue for each target and goes on; what finds a queue full is dropped and counted.
//! Each target has a thread of its own, so that one that is slow or away holds up nobody else. Without targets there is no
//! feed, and a receiver does nothing.

mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use memchr::memrchr;
use metrics::Counter;
use serde::{Deserialize, Serialize};

use crate::receive::Packet;

/// The longest packet that lines of a stream are put together to: what passes every network in one piece.
const LINES_BYTES: usize = 1432;

/// What a parcel costs of a queue beside its packets' bytes.
const PARCEL_BYTES: usize = 256;

/// How often a target's thread looks whether it is to end, and tells of what was dropped.
const TICK: Duration = Duration::from_millis(100);

/// How often what was dropped is told of.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How long the end waits for what is queued.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How packets are sent on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// A packet as a packet, over IPv4 or IPv6 as the target's address is.
    #[default]
    Udp,
    /// Over a connection, each packet ended by a newline.
    Tcp,
}

/// Where packets are sent on to.
#[derive(Clone, Debug, Default)]
pub struct RepeaterConfig {
    /// Hosts or addresses, with ports. None turns it off.
    pub targets: Vec<String>,
    /// How.
    pub protocol: Protocol,
    /// How much may wait for one target, in bytes.
    pub queue_bytes: usize,
}

/// The running threads.
#[derive(Debug, Default)]
pub struct Repeater {
    queues: Vec<Queue>,
    threads: Vec<JoinHandle<()>>,
    end: End,
}

/// A receiver thread's way to all targets.
#[derive(Debug)]
pub struct Feed {
    queues: Vec<Queue>,
}

/// The way to one target.
#[derive(Clone, Debug)]
struct Queue {
    parcels: SyncSender<Arc<Parcel>>,
    waiting_bytes: Arc<AtomicUsize>,
    most_bytes: usize,
    figures: Figures,
}

/// What became of the packets for a target.
#[derive(Clone, Debug)]
struct Figures {
    sent: Counter,
    dropped: Counter,
    /// Dropped and not told of yet.
    untold: Arc<AtomicUsize>,
}

/// Packets that travel together.
#[derive(Debug, Default)]
struct Parcel {
    bytes: Vec<u8>,
    /// Where each packet ends.
    ends: Vec<usize>,
}

/// When the end was ordered.
#[derive(Clone, Debug, Default)]
struct End(Arc<OnceLock<Instant>>);

/// Sends what is in parcels, as well as it can.
trait Target {
    /// Sends each packet, or drops it, and counts which.
    fn send(&mut self, parcel: &Parcel, figures: &Figures, end: &End);
}

impl Repeater {
    /// Starts a thread for each target.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(config: &RepeaterConfig) -> io::Result<Self> {
        let mut repeater = Self::default();
        for name in &config.targets {
            // As many parcels as the bytes allow when each is as small as can be.
            let (parcels, waiting) = sync_channel((config.queue_bytes / PARCEL_BYTES).clamp(64, 1 << 16));
            let waiting_bytes = Arc::new(AtomicUsize::new(0));
            let figures = Figures::of(name);
            repeater.queues.push(Queue {
                parcels,
                waiting_bytes: Arc::clone(&waiting_bytes),
                most_bytes: config.queue_bytes,
                figures: figures.clone(),
            });
            let (name, protocol, end) = (name.clone(), config.protocol, repeater.end.clone());
            repeater.threads.push(thread::Builder::new().name("statsd-repeater".to_owned()).spawn(move || {
                let mut target: Box<dyn Target> = match protocol {
                    Protocol::Udp => Box::new(udp::UdpTarget::new(name.clone())),
                    Protocol::Tcp => Box::new(tcp::TcpTarget::new(name.clone())),
                };
                run(&name, target.as_mut(), &waiting, &waiting_bytes, &figures, &end);
            })?);
            tracing::info!(to = config.targets.last(), ?protocol, "repeating statsd packets");
        }
        Ok(repeater)
    }

    /// A way for a receiver thread; `None` when there is no target.
    pub fn feed(&self) -> Option<Feed> {
        (!self.queues.is_empty()).then(|| Feed { queues: self.queues.clone() })
    }

    /// Sends what is queued and ends the threads. The feeds must be gone. Blocks for a second or two at most.
    pub fn stop(mut self) {
        self.queues.clear();
        self.end.order();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Repeater {
    fn drop(&mut self) {
        self.end.order();
    }
}

impl Feed {
    /// Puts packets into the queues.
    pub fn packets<'a>(&self, packets: impl Iterator<Item = Packet<'a>>) {
        let mut parcel = Parcel::default();
        for packet in packets {
            if packet.truncated {
                // It would go on as something that nobody sent.
                self.queues.iter().for_each(|queue| queue.figures.drop_packets(1));
            } else {
                parcel.push(packet.bytes);
            }
        }
        self.put(parcel);
    }

    /// Puts lines of a stream into the queues, as packets of a length that every network takes.
    pub fn lines(&self, lines: &[u8]) {
        let mut parcel = Parcel::default();
        for packet in Packets(lines) {
            parcel.push(packet);
        }
        self.put(parcel);
    }

    fn put(&self, parcel: Parcel) {
        if parcel.ends.is_empty() {
            return;
        }
        let parcel = Arc::new(parcel);
        for queue in &self.queues {
            let cost = parcel.cost();
            let waiting = queue.waiting_bytes.fetch_add(cost, Ordering::Relaxed);
            if waiting + cost > queue.most_bytes || queue.parcels.try_send(Arc::clone(&parcel)).is_err() {
                queue.waiting_bytes.fetch_sub(cost, Ordering::Relaxed);
                queue.figures.drop_packets(parcel.ends.len());
            }
        }
    }
}

/// Lines as packets, each as long as may be; a line that is longer is a packet of its own.
struct Packets<'a>(&'a [u8]);

impl<'a> Iterator for Packets<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let head = &self.0[..self.0.len().min(LINES_BYTES)];
        let end = if head.len() == self.0.len() {
            head.len()
        } else if let Some(newline) = memrchr(b'\n', head) {
            newline + 1
        } else {
            memchr::memchr(b'\n', self.0).map_or(self.0.len(), |newline| newline + 1)
        };
        let (packet, rest) = self.0.split_at(end);
        self.0 = rest;
        (!packet.is_empty()).then_some(packet)
    }
}

impl Parcel {
    fn push(&mut self, packet: &[u8]) {
        self.bytes.extend_from_slice(packet);
        self.ends.push(self.bytes.len());
    }

    fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    fn cost(&self) -> usize {
        PARCEL_BYTES + self.bytes.len() + self.ends.len() * size_of::<usize>()
    }
}

impl Figures {
    fn of(target: &str) -> Self {
        let figures = Self {
            sent: metrics::counter!("statline_repeater_packets_total", "target" => target.to_owned()),
            dropped: metrics::counter!("statline_repeater_dropped_packets_total", "target" => target.to_owned()),
            untold: Arc::default(),
        };
        figures.sent.increment(0);
        figures.dropped.increment(0);
        figures
    }

    fn drop_packets(&self, packets: usize) {
        self.dropped.increment(packets as u64);
        self.untold.fetch_add(packets, Ordering::Relaxed);
    }

    fn tell(&self, target: &str) {
        let packets = self.untold.swap(0, Ordering::Relaxed);
        if packets > 0 {
            tracing::warn!(to = target, packets, "statsd packets were not repeated");
        }
    }
}

impl End {
    fn order(&self) {
        let _ = self.0.set(Instant::now());
    }

    fn is_ordered(&self) -> bool {
        self.0.get().is_some()
    }

    /// Whether there is no time left for what is still queued.
    fn is_over(&self) -> bool {
        self.0.get().is_some_and(|at| at.elapsed() >= LAST_WORDS)
    }
}

fn run(
    name: &str,
    target: &mut dyn Target,
    parcels: &Receiver<Arc<Parcel>>,
    waiting_bytes: &AtomicUsize,
    figures: &Figures,
    end: &End,
) {
    let mut told_at: Option<Instant> = None;
    loop {
        match parcels.recv_timeout(TICK) {
            Ok(parcel) => {
                waiting_bytes.fetch_sub(parcel.cost(), Ordering::Relaxed);
                if end.is_over() {
                    figures.drop_packets(parcel.ends.len());
                } else {
                    target.send(&parcel, figures, end);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            told_at = Some(Instant::now());
            figures.tell(name);
        }
    }
    figures.tell(name);
}

/// The addresses of a target. This asks the system's resolver and may block for as long as that takes.
fn resolve(name: &str) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<SocketAddr> = std::net::ToSocketAddrs::to_socket_addrs(name)?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}
