//! What one client may make the process remember.
//!
//! Every one of these is reached loudly: the sample is refused with a [`Reason`](crate::Reason) of its own and counted.

/// The bounds of a [`Table`](crate::Table) and of the [`State`](crate::State).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Names that are remembered at once, counters, gauges, timers and sets together.
    pub series: usize,
    /// Bytes of a sanitised name with its tags; more than [`Limits::MAX_KEY_BYTES`] is not possible.
    pub key_bytes: usize,
    /// Tags of one series.
    pub tags: usize,
    /// Samples of one timer in one interval and table.
    pub timer_samples: usize,
    /// Samples of all timers in one interval and table.
    pub timer_samples_total: usize,
    /// Distinct members of one set in one interval and table.
    pub set_members: usize,
    /// Bytes of one member of a set.
    pub set_member_bytes: usize,
    /// Bytes of the members of all sets in one interval and table.
    pub set_bytes_total: usize,
}

impl Limits {
    /// The most that `key_bytes` can be, so that a flushed name with prefixes and suffixes is still a series' key.
    pub const MAX_KEY_BYTES: usize = 2048;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            series: 1_000_000,
            key_bytes: 1024,
            tags: 32,
            timer_samples: 100_000,
            timer_samples_total: 10_000_000,
            set_members: 100_000,
            set_member_bytes: 256,
            set_bytes_total: 64 << 20,
        }
    }
}
