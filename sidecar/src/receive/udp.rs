//! One UDP socket and the thread that owns it.
//!
//! The thread receives a batch, adds it to its table, and adds the batch's figures to the totals. The table's lock is
//! taken once a batch; the only other one who takes it is a flush, for the length of a swap.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use socket2::{Domain, Protocol, Socket, Type};
use statline_statsd::{Arrival, Parser, Reason, Refusal, Table};

use crate::clock;

use super::recvmmsg::{self, Packet, PacketBatch, Wait};
use super::stats::{ByReason, DropCounter, REFUSALS_A_BATCH, ReceiveStats, ReceiveTotals, RefusedLine, excerpt};

/// How long a thread waits for a packet before it looks whether it is to stop, and what was dropped.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(100);

/// How long a stop reads on when packets keep coming.
const LONGEST_DRAIN: Duration = Duration::from_secs(1);

/// How long to wait after an error of the system, so that one that lasts does not take a whole core.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// Options of a socket that is to be opened.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    /// Whether other sockets of ours share the address.
    pub shared: bool,
    /// Whether an IPv6 socket leaves IPv4 to another one.
    pub only_v6: bool,
    /// The receive buffer to ask for, in bytes.
    pub receive_buffer: usize,
}

/// Opens a socket and binds it.
///
/// # Errors
/// The system's.
pub fn open(address: SocketAddr, options: SocketOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(options.only_v6)?;
    }
    if options.shared {
        socket.set_reuse_port(true)?;
    }
    if recvmmsg::force_receive_buffer(socket.as_fd(), options.receive_buffer).is_err() {
        socket.set_recv_buffer_size(options.receive_buffer)?;
    }
    recvmmsg::report_drops(socket.as_fd())?;
    socket.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// What a receiver thread works with.
pub struct Receiver {
    socket: Socket,
    table: Arc<Mutex<Table>>,
    parser: Parser,
    batch: PacketBatch,
    stats: Arc<ReceiveStats>,
    drops: DropCounter,
    refused: Vec<RefusedLine>,
    /// Whether the last call failed, which is logged once for a run of failures.
    is_failing: bool,
    stop: Arc<AtomicBool>,
    /// What arrivals are counted from; the same for all threads.
    started: Instant,
}

impl Receiver {
    /// A receiver that fills `table` from `socket` until `stop` is set.
    pub fn new(
        socket: Socket,
        table: Arc<Mutex<Table>>,
        parser: Parser,
        max_packet_bytes: usize,
        stats: Arc<ReceiveStats>,
        stop: Arc<AtomicBool>,
        started: Instant,
    ) -> Self {
        Self {
            socket,
            table,
            parser,
            batch: PacketBatch::new(max_packet_bytes),
            stats,
            drops: DropCounter::default(),
            refused: Vec::with_capacity(REFUSALS_A_BATCH),
            is_failing: false,
            stop,
            started,
        }
    }

    /// Receives until it is told to stop, then takes what the kernel still holds. Answers whether packets were still
    /// coming when it gave that up.
    pub fn run(mut self) -> bool {
        while !self.stop.load(Ordering::Acquire) {
            self.receive(Wait::ForOne);
        }
        self.refuse_more();
        let deadline = Instant::now() + LONGEST_DRAIN;
        while self.receive(Wait::No) {
            if Instant::now() >= deadline {
                return true;
            }
        }
        false
    }

    /// Lets the kernel hand over no further packet, so that none can come between the last one read and the socket's end,
    /// which would be lost without a trace. A socket that is connected to itself takes packets from nobody else; their
    /// senders are told that the port is closed.
    fn refuse_more(&self) {
        let own = self.socket.local_addr().ok().and_then(|address| address.as_socket());
        let Some(mut own) = own else { return };
        if own.ip().is_unspecified() {
            own.set_ip(if own.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        if let Err(error) = self.socket.connect(&own.into()) {
            tracing::warn!(%error, "statsd packets that come while the last ones are read may be lost");
        }
    }

    /// Takes in one batch; answers whether there may be more. When there is none, the drops are brought up to date, since
    /// the counter beside a packet tells only of what was dropped before it.
    fn receive(&mut self, wait: Wait) -> bool {
        match self.batch.receive(self.socket.as_fd(), wait) {
            Ok(()) => {
                self.is_failing = false;
                self.take_in();
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if let Some(dropped) = recvmmsg::dropped(self.socket.as_fd()) {
                    let kernel_drops = self.drops.advance(dropped);
                    self.stats.add(&ReceiveTotals { kernel_drops, ..ReceiveTotals::default() });
                }
                false
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => {
                if !self.is_failing {
                    tracing::warn!(%error, "receiving statsd packets failed");
                }
                self.is_failing = true;
                self.stats.add(&ReceiveTotals { errors: 1, ..ReceiveTotals::default() });
                thread::sleep(PAUSE_AFTER_ERROR);
                false
            }
        }
    }

    fn take_in(&mut self) {
        let order = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let arrival = Arrival { order, timestamp: clock::now() };
        let mut totals = ReceiveTotals::default();
        let mut by_reason = ByReason::default();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        for packet in self.batch.packets() {
            totals.packets += 1;
            totals.bytes += packet.bytes.len() as u64;
            if let Some(dropped) = packet.dropped {
                totals.kernel_drops += self.drops.advance(dropped);
            }
            let refused = &mut self.refused;
            let whole_lines = whole_lines(&packet);
            let counts = table.receive(&mut self.parser, whole_lines, arrival, |refusal| {
                by_reason[refusal.reason as usize] += 1;
                note(refused, &packet, refusal);
            });
            totals.lines += counts.lines;
            totals.samples += counts.samples;
            totals.bad_lines += counts.bad;
            totals.limited += counts.limited;
            if packet.truncated {
                totals.truncated += 1;
                totals.limited += 1;
                by_reason[Reason::Truncated as usize] += 1;
                note(&mut self.refused, &packet, Refusal { reason: Reason::Truncated, offset: whole_lines.len() });
            }
        }
        drop(table);
        if !self.refused.is_empty() {
            self.stats.add_refusals(&by_reason, &mut self.refused);
        }
        self.stats.add(&totals);
    }
}

/// What of a packet can be read: of one that was cut, the lines before the cut.
fn whole_lines<'a>(packet: &Packet<'a>) -> &'a [u8] {
    if !packet.truncated {
        return packet.bytes;
    }
    let end = packet.bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    &packet.bytes[..end]
}

fn note(refused: &mut Vec<RefusedLine>, packet: &Packet<'_>, refusal: Refusal) {
    if refused.len() < REFUSALS_A_BATCH {
        refused.push(RefusedLine {
            at: SystemTime::now(),
            sender: packet.sender(),
            reason: refusal.reason,
            offset: refusal.offset,
            excerpt: excerpt(packet.bytes, refusal.offset),
        });
    }
}
