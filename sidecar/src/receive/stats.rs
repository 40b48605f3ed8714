//! What the receivers have seen: totals since the start, and the last values that were refused.
//!
//! Threads add to it once a batch, never once a packet.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use statline_statsd::Reason;

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
    by_reason: [AtomicU64; Reason::ALL.len()],
    refusals: Mutex<VecDeque<RefusedLine>>,
}

/// Totals since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiveTotals {
    /// Datagrams received.
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
    /// Datagrams that were longer than the buffer.
    pub truncated: u64,
    /// Errors of the system while receiving.
    pub errors: u64,
    /// How often a value was refused, for every reason there is.
    pub by_reason: Vec<(Reason, u64)>,
}

/// How often a value was refused, as in [`Reason::ALL`].
pub(super) type ByReason = [u64; Reason::ALL.len()];

/// A value that was refused, told so that its sender can be found and put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedLine {
    /// When.
    pub at: SystemTime,
    /// Who sent it.
    pub sender: Option<SocketAddr>,
    /// What was wrong.
    pub reason: Reason,
    /// Where in the packet, in bytes from its beginning.
    pub offset: usize,
    /// The line, or the beginning of it, unprintable bytes escaped.
    pub excerpt: String,
}

impl fmt::Display for RefusedLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sender {
            Some(sender) => write!(f, "from {sender}")?,
            None => f.write_str("from an unknown sender")?,
        }
        write!(f, ", byte {}: {}: \"{}\"", self.offset, self.reason, self.excerpt)
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
            by_reason: Reason::ALL.map(|reason| (reason, read(&self.by_reason[reason as usize]))).into(),
        }
    }

    /// The last refusals, the newest last. Of a batch that held many, the first few.
    pub fn refusals(&self) -> Vec<RefusedLine> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// The line of a packet that holds an offset, fit to be shown.
pub(super) fn excerpt(packet: &[u8], offset: usize) -> String {
    let offset = offset.min(packet.len());
    let start = packet[..offset].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let line = &packet[start..];
    let end = line.iter().position(|byte| *byte == b'\n').unwrap_or(line.len());
    let shown = &line[..end.min(EXCERPT_BYTES)];
    let more = if end > EXCERPT_BYTES { "…" } else { "" };
    format!("{}{more}", shown.escape_ascii())
}

/// A socket's drop counter, which is 32 bits wide and told by two sources that may not be equally new.
#[derive(Debug, Default)]
pub(super) struct DropCounter {
    last: u32,
}

impl DropCounter {
    /// How many more were dropped since the newest figure seen; 0 for an older one.
    pub(super) const fn advance(&mut self, figure: u32) -> u64 {
        let ahead = figure.wrapping_sub(self.last);
        if ahead > u32::MAX / 2 {
            return 0;
        }
        self.last = figure;
        ahead as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_counter_wraps_and_is_not_turned_back() {
        let mut counter = DropCounter::default();
        let seen: Vec<u64> = [0, 5, 3, 5, 9, u32::MAX / 2, u32::MAX - 1, 2, u32::MAX]
            .iter()
            .map(|figure| counter.advance(*figure))
            .collect();
        let half = u64::from(u32::MAX / 2);
        assert_eq!(seen, [0, 5, 0, 0, 4, half - 9, half, 4, 0]);
    }

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
            sender: None,
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
