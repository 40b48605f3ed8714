//! One datagram socket, UDP or unix, and the thread that owns it.
//!
//! The thread receives a batch, adds it to its table, and adds the batch's figures to the totals. The table's lock is
//! taken once a batch; the only other one who takes it is a flush, for the length of a swap.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::drops::Drops;
use super::intake::Intake;
use super::recvmmsg::{self, PacketBatch, Wait};
use super::stats::ReceiveTotals;
use crate::repeater::Feed;

/// How long a thread waits for a packet before it looks whether it is to stop, and what was dropped.
pub const RECEIVE_TIMEOUT: Duration = Duration::from_millis(100);

/// How long a stop reads on when packets keep coming.
const LONGEST_DRAIN: Duration = Duration::from_secs(1);

/// How long to wait after an error of the system, so that one that lasts does not take a whole core.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// What becomes of packets that come while the last ones are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtStop {
    /// The kernel is told to refuse them, as the socket is about to end.
    Refuse,
    /// They wait in the kernel's buffer for whoever gets the socket next, since a service manager keeps it.
    Leave,
}

/// A socket that is ready to be read.
#[derive(Debug)]
pub struct DatagramSocket {
    /// It blocks, for [`RECEIVE_TIMEOUT`] at most.
    pub socket: Socket,
    /// Whether the socket outlives this process.
    pub at_stop: AtStop,
    /// What it has dropped up to now.
    pub drops: Drops,
}

/// What a receiver thread works with.
pub struct Receiver {
    socket: Socket,
    at_stop: AtStop,
    intake: Intake,
    batch: PacketBatch,
    drops: Drops,
    /// Where packets are repeated to.
    feed: Option<Feed>,
    /// Whether the last call failed, which is logged once for a run of failures.
    is_failing: bool,
    stop: Arc<AtomicBool>,
}

impl Receiver {
    /// A receiver that takes packets of up to `max_packet_bytes` in until `stop` is set.
    pub fn new(
        socket: DatagramSocket,
        intake: Intake,
        max_packet_bytes: usize,
        feed: Option<Feed>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let DatagramSocket { socket, at_stop, drops } = socket;
        Self {
            socket,
            at_stop,
            intake,
            batch: PacketBatch::new(max_packet_bytes),
            drops,
            feed,
            is_failing: false,
            stop,
        }
    }

    /// Receives until it is told to stop, then takes what the kernel still holds. Answers whether packets were still
    /// coming when it gave that up, which would be lost.
    pub fn run(mut self) -> bool {
        while !self.stop.load(Ordering::Acquire) {
            self.receive(Wait::ForOne);
            self.drops.remember();
        }
        if self.at_stop == AtStop::Refuse {
            self.refuse_more();
        }
        let deadline = Instant::now() + LONGEST_DRAIN;
        while self.receive(Wait::No) {
            if Instant::now() >= deadline {
                return self.at_stop == AtStop::Refuse;
            }
        }
        false
    }

    /// Lets the kernel hand over no further packet, so that none can come between the last one read and the socket's end,
    /// which would be lost without a trace. A UDP socket that is connected to itself takes packets from nobody else; their
    /// senders are told that the port is closed. Those of a unix socket are told of a broken pipe.
    fn refuse_more(&self) {
        let own = self.socket.local_addr().ok().and_then(|address| address.as_socket());
        let Some(mut own) = own else {
            let _ = self.socket.shutdown(Shutdown::Read);
            return;
        };
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
                    self.intake.stats().add(&ReceiveTotals { kernel_drops, ..ReceiveTotals::default() });
                }
                false
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => {
                if !self.is_failing {
                    tracing::warn!(%error, "receiving statsd packets failed");
                }
                self.is_failing = true;
                self.intake.stats().add(&ReceiveTotals { errors: 1, ..ReceiveTotals::default() });
                thread::sleep(PAUSE_AFTER_ERROR);
                false
            }
        }
    }

    fn take_in(&mut self) {
        let mut batch = self.intake.batch();
        for packet in self.batch.packets() {
            batch.totals.packets += 1;
            batch.totals.bytes += packet.bytes.len() as u64;
            if let Some(dropped) = packet.dropped {
                batch.totals.kernel_drops += self.drops.advance(dropped);
            }
            let end = if packet.truncated { end_of_whole_lines(packet.bytes) } else { packet.bytes.len() };
            batch.lines(&packet.bytes[..end], 0, || packet.sender());
            if packet.truncated {
                batch.cut_line(&packet.bytes[end..], end, || packet.sender());
            }
        }
        drop(batch);
        if let Some(feed) = &self.feed {
            feed.packets(self.batch.packets());
        }
    }
}

/// Of a packet that was cut, the lines before the cut can be read.
fn end_of_whole_lines(packet: &[u8]) -> usize {
    packet.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
}
