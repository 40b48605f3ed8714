//! What the receivers have seen: totals since the start, and the last values that were refused.
//!
//! Threads add to it once a batch, never once a packet.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use statline_statsd::{Arrival, Reason};

use super::sender::Sender;

/// How many refusals are remembered.
pub const REMEMBERED_REFUSALS: usize = 64;

/// How many refusals of one batch are remembered, so that a flood of bad lines costs little more than one of good ones.
pub const REFUSALS_A_BATCH: usize = 8;

/// How much of a refused line is shown, in bytes.
const EXCERPT_BYTES: usize = 96;

/// Totals that the threads share.
#[derive(Debug, Default)]
pub struct ReceiveStats {
    packets: AtomicU64,
    bytes: AtomicU64,
    lines: AtomicU64,
    samples: AtomicU64,
    bad_lines: AtomicU64,
    limited: AtomicU64,
    kernel_drops: AtomicU64,
    truncated: AtomicU64,
    errors: AtomicU64,
    connections: AtomicU64,
    accepted: AtomicU64,
    refused_connections: AtomicU64,
    /// When the last packet came, as [`Arrival`] counts; 0 before the first.
    last_arrival: AtomicU64,
    by_reason: [AtomicU64; Reason::ALL.len()],
    refusals: Mutex<VecDeque<RefusedLine>>,
}

/// Totals since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiveTotals {
    /// Datagrams received, and reads of streams that brought the end of a line.
    pub packets: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Lines in them that were not empty.
    pub lines: u64,
    /// Samples taken.
    pub samples: u64,
    /// Values that could not be read.
    pub bad_lines: u64,
    /// Values that a limit kept out.
    pub limited: u64,
    /// Datagrams that the kernel dropped before they were read.
    pub kernel_drops: u64,
    /// Datagrams, and lines of streams, that were longer than the limit, and lines that a connection's end cut.
    pub truncated: u64,
    /// Errors of the system while receiving.
    pub errors: u64,
    /// Stream connections that are open.
    pub connections: u64,
    /// Stream connections that were taken, and were open once.
    pub accepted: u64,
    /// Stream connections that were refused since there were as many as there may be.
    pub refused_connections: u64,
    /// How often a value was refused, for every reason there is.
    pub by_reason: Vec<(Reason, u64)>,
}

impl ReceiveTotals {
    /// What of packets, lines and values has come since.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(earlier.packets),
            bytes: self.bytes.saturating_sub(earlier.bytes),
            lines: self.lines.saturating_sub(earlier.lines),
            samples: self.samples.saturating_sub(earlier.samples),
            bad_lines: self.bad_lines.saturating_sub(earlier.bad_lines),
            limited: self.limited.saturating_sub(earlier.limited),
            ..Self::default()
        }
    }
}

/// How often a value was refused, as in [`Reason::ALL`].
pub(super) type ByReason = [u64; Reason::ALL.len()];

/// A value that was refused, told so that its sender can be found and put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedLine {
    /// When.
    pub at: SystemTime,
    /// Who sent it.
    pub sender: Sender,
    /// What was wrong.
    pub reason: Reason,
    /// Where in the packet, or in all that came over the connection, in bytes from its beginning.
    pub offset: usize,
    /// The line, or the beginning of it, unprintable bytes escaped.
    pub excerpt: String,
}

impl fmt::Display for RefusedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sender, offset, reason, excerpt, .. } = self;
        write!(f, "from {sender}, byte {offset}: {reason}: \"{excerpt}\"")
    }
}

impl ReceiveStats {
    /// Adds a batch's totals, but for its refusals; its packets last, so that whoever sees them sees all that was in them.
    pub(super) fn add(&self, batch: &ReceiveTotals) {
        for (total, more) in [
            (&self.bytes, batch.bytes),
            (&self.lines, batch.lines),
            (&self.samples, batch.samples),
            (&self.bad_lines, batch.bad_lines),
            (&self.limited, batch.limited),
            (&self.kernel_drops, batch.kernel_drops),
            (&self.truncated, batch.truncated),
            (&self.errors, batch.errors),
        ] {
            if more > 0 {
                total.fetch_add(more, Ordering::Relaxed);
            }
        }
        if batch.packets > 0 {
            self.packets.fetch_add(batch.packets, Ordering::Release);
        }
    }

    /// Notes when the newest packet came.
    pub(super) fn came(&self, arrival: Arrival) {
        self.last_arrival.store(arrival.order.max(1), Ordering::Relaxed);
    }

    /// Counts a connection, which is open until what this answers is dropped.
    pub(super) fn connected(self: &Arc<Self>) -> Connected {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(self))
    }

    /// Counts a connection that was refused.
    pub(super) fn refused_connection(&self) {
        self.refused_connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds a batch's refusals and remembers some of them, forgetting the oldest.
    pub(super) fn add_refusals(&self, by_reason: &ByReason, refused: &mut Vec<RefusedLine>) {
        for (total, more) in self.by_reason.iter().zip(by_reason) {
            total.fetch_add(*more, Ordering::Relaxed);
        }
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        for line in refused.drain(..) {
            if refusals.len() == REMEMBERED_REFUSALS {
                refusals.pop_front();
            }
            refusals.push_back(line);
        }
    }

    /// The totals now: at least all that was in the packets counted.
    pub fn totals(&self) -> ReceiveTotals {
        let packets = self.packets.load(Ordering::Acquire);
        let read = |total: &AtomicU64| total.load(Ordering::Relaxed);
        ReceiveTotals {
            packets,
            bytes: read(&self.bytes),
            lines: read(&self.lines),
            samples: read(&self.samples),
            bad_lines: read(&self.bad_lines),
            limited: read(&self.limited),
            kernel_drops: read(&self.kernel_drops),
            truncated: read(&self.truncated),
            errors: read(&self.errors),
            connections: read(&self.connections),
            accepted: read(&self.accepted),
            refused_connections: read(&self.refused_connections),
            by_reason: Reason::ALL.map(|reason| (reason, read(&self.by_reason[reason as usize]))).into(),
        }
    }

    /// How long after the start the last packet came; `None` before the first.
    pub fn last_arrival(&self) -> Option<Duration> {
        let nanos = self.last_arrival.load(Ordering::Relaxed);
        (nanos > 0).then(|| Duration::from_nanos(nanos))
    }

    /// The last refusals, the newest last. Of a batch that held many, the first few.
    pub fn refusals(&self) -> Vec<RefusedLine> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// A connection that is counted as open.
#[derive(Debug)]
pub(super) struct Connected(Arc<ReceiveStats>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The line of a packet that holds an offset, fit to be shown.
pub fn excerpt(packet: &[u8], offset: usize) -> String {
    let offset = offset.min(packet.len());
    let start = packet[..offset].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let line = &packet[start..];
    let end = line.iter().position(|byte| *byte == b'\n').unwrap_or(line.len());
    let shown = &line[..end.min(EXCERPT_BYTES)];
    let more = if end > EXCERPT_BYTES { "…" } else { "" };
    format!("{}{more}", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_the_line_of_the_offset() {
        let packet = b"a:1|c\nb:\x00\xff|c\nlast";
        assert_eq!(excerpt(packet, 0), "a:1|c");
        assert_eq!(excerpt(packet, 8), "b:\\x00\\xff|c");
        assert_eq!(excerpt(packet, packet.len()), "last");
        assert_eq!(excerpt(packet, 1000), "last");
        assert_eq!(excerpt(b"", 0), "");
        assert_eq!(excerpt(&[b'x'; 200], 0), format!("{}…", "x".repeat(EXCERPT_BYTES)));
    }

    #[test]
    fn the_oldest_refusals_are_forgotten() {
        let stats = ReceiveStats::default();
        let line = |offset| RefusedLine {
            at: SystemTime::UNIX_EPOCH,
            sender: Sender::Unknown,
            reason: Reason::NoValue,
            offset,
            excerpt: String::new(),
        };
        stats.add_refusals(&ByReason::default(), &mut (0..REMEMBERED_REFUSALS + 3).map(line).collect());
        let refusals = stats.refusals();
        assert_eq!(refusals.len(), REMEMBERED_REFUSALS);
        assert_eq!((refusals[0].offset, refusals[REMEMBERED_REFUSALS - 1].offset), (3, REMEMBERED_REFUSALS + 2));
    }
}
