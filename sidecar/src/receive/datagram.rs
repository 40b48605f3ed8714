//! One datagram socket, UDP or unix, and the thread that owns it.
//!
//! The thread receives a batch, adds it to its table, and adds the batch's figures to the totals. The table's lock is
//! taken once a batch; the only other one who takes it is a flush, for the length of a swap.

use std::io::ErrorKind;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::Socket;

use super::drops::Drops;
use super::intake::Intake;
use super::recvmmsg::{self, Packet, PacketBatch, Wait};
use super::stats::ReceiveTotals;
use crate::repeater::Feed;

/// How long a thread waits for a packet before it looks whether it is to stop, and what was dropped.
pub const RECEIVE_TIMEOUT: Duration = Duration::from_millis(100);

/// How long a stop reads on when packets keep coming.
const LONGEST_DRAIN: Duration = Duration::from_secs(1);

/// How long to wait after an error of the system, so that one that lasts does not take a whole core.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// How long a thread lets packets gather before it asks for more, at most.
const LONGEST_GATHERING: Duration = Duration::from_millis(20);

/// The most that is expected to come, in bytes of the kernel's memory a second: 350,000 packets of 1,400 bytes, which is
/// more than one sender on this machine could send.
const FASTEST_BYTES: f64 = 0.8e9;

/// How many packets must be expected to gather for it to be worth a wait.
const WORTH_GATHERING: f64 = 4.0;

/// How many full batches are let gather.
const BATCHES_GATHERED: f64 = 8.0;

/// More time than this between two batches says no more of how fast packets come.
const LONGEST_GAP: Duration = Duration::from_millis(40);

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

/// How long to let packets gather.
///
/// To wake a thread costs more than to receive a packet and to count what is in it. So while packets come fast, a thread
/// that has taken what there was sleeps until a few full batches will be there. In that time no more may come than the
/// kernel's buffer has room for.
#[derive(Debug)]
struct Gathering {
    /// In seconds.
    longest: f64,
    /// Packets a batch, and seconds from one batch to the next: means that forget an eighth with each batch.
    packets: f64,
    seconds: f64,
    /// When the last batch had been taken in.
    at: Instant,
}

impl Gathering {
    /// What is right for a buffer of so many bytes, of which half may fill up.
    fn new(buffer: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let longest = (buffer as f64 / 2.0 / FASTEST_BYTES).min(LONGEST_GATHERING.as_secs_f64());
        Self { longest, packets: 0.0, seconds: 0.0, at: Instant::now() }
    }

    /// Counts a batch that was taken in; answers how long to let the next one gather, if that is worth it.
    fn after(&mut self, packets: usize, now: Instant) -> Option<Duration> {
        let gap = now.saturating_duration_since(mem::replace(&mut self.at, now)).min(LONGEST_GAP);
        #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
        let (count, full) = (packets as f64, PacketBatch::MOST as f64);
        self.packets += (count - self.packets) / 8.0;
        self.seconds += (gap.as_secs_f64() - self.seconds) / 8.0;
        if packets == PacketBatch::MOST {
            return None;
        }
        let time = (BATCHES_GATHERED * full * self.seconds / self.packets).min(self.longest);
        let is_worth_it = time * self.packets >= WORTH_GATHERING * self.seconds;
        is_worth_it.then(|| Duration::from_secs_f64(time))
    }
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
    gathering: Gathering,
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
        let gathering = Gathering::new(socket.recv_buffer_size().unwrap_or(0));
        Self {
            socket,
            at_stop,
            intake,
            batch: PacketBatch::new(max_packet_bytes),
            drops,
            feed,
            is_failing: false,
            gathering,
            stop,
        }
    }

    /// Receives until it is told to stop, then takes what the kernel still holds. Answers whether packets were still
    /// coming when it gave that up, which would be lost.
    pub fn run(mut self) -> bool {
        while !self.stop.load(Ordering::Acquire) {
            if self.receive(Wait::ForOne)
                && let Some(time) = self.gathering.after(self.batch.len(), Instant::now())
            {
                thread::sleep(time);
            }
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
        let packets = &self.batch;
        let mut batch = self.intake.batch();
        for packet in packets.packets() {
            batch.totals.packets += 1;
            batch.totals.bytes += packet.bytes.len() as u64;
            if let Some(dropped) = packet.dropped {
                batch.totals.kernel_drops += self.drops.advance(dropped);
            }
        }
        batch.packets(
            packets.len(),
            |number| whole_lines(packets.packet(number)),
            |number| packets.packet(number).sender(),
        );
        for packet in packets.packets().filter(|packet| packet.truncated) {
            let end = whole_lines(packet).len();
            batch.cut_line(&packet.bytes[end..], end, || packet.sender());
        }
        drop(batch);
        if let Some(feed) = &self.feed {
            feed.packets(self.batch.packets());
        }
    }
}

/// What of a packet can be read: all of it, or when it was cut, the lines before the cut.
#[inline]
fn whole_lines(packet: Packet<'_>) -> &[u8] {
    if !packet.truncated {
        return packet.bytes;
    }
    let end = packet.bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    &packet.bytes[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last answer after so many batches of `packets`, one each `micros`.
    fn gathering(buffer: usize, packets: usize, micros: u64) -> Option<Duration> {
        let mut gathering = Gathering::new(buffer);
        let mut now = gathering.at;
        let mut answer = None;
        for _ in 0..100 {
            now += Duration::from_micros(micros);
            answer = gathering.after(packets, now);
        }
        answer
    }

    #[test]
    fn packets_gather_while_they_come_fast_and_there_is_room_for_them() {
        const LARGE: usize = 64 << 20;
        for (buffer, packets, micros, expected) in [
            // 100,000 a second: 512 of them.
            (LARGE, 1, 10, Some(5120)),
            (LARGE, 10, 100, Some(5120)),
            // 1,000 a second: as long as may be.
            (LARGE, 1, 1000, Some(20_000)),
            // 100 a second are not worth it, and an idle socket even less.
            (LARGE, 1, 10_000, None),
            (LARGE, 1, 1_000_000, None),
            // More wait already.
            (LARGE, PacketBatch::MOST, 100, None),
            // What a system gives without being asked: half of it is full after 133 µs.
            (212_992, 1, 10, Some(133)),
            (212_992, 1, 100, None),
            (0, 1, 1, None),
        ] {
            let time = gathering(buffer, packets, micros).map(|time| time.as_micros());
            assert_eq!(time, expected, "{buffer} bytes, {packets} packets each {micros} µs");
        }
    }
}
