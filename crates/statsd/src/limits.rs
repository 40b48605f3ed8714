//! What one client may make the process remember.
//!
//! Every one of these is reached loudly: the sample is refused with a [`Reason`](crate::Reason) of its own and counted.

/// The bounds of a [`Table`](crate::Table) and of the [`State`](crate::State).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Names that are remembered at once, counters, gauges, timers and sets together.
    pub series: usize,
    /// Names of one prefix that are remembered at once; 0 for as many as `series`.
    pub series_per_prefix: usize,
    /// How many dotted parts of a name are its prefix; at least 1.
    pub prefix_parts: usize,
    /// Bytes of a sanitised name with its tags; more than [`Limits::MAX_KEY_BYTES`] is not possible.
    pub key_bytes: usize,
    /// Tags of one series.
    pub tags: usize,
    /// Samples of one timer in one interval and table that are kept as they are; further ones are kept as a sketch.
    pub timer_samples: usize,
    /// Samples of all timers in one interval and table that are kept as they are; further ones are kept as sketches.
    pub timer_samples_total: usize,
    /// Distinct members of one set in one interval and table that are kept; larger sets are estimated.
    pub set_members: usize,
    /// Bytes of one member of a set.
    pub set_member_bytes: usize,
    /// Bytes of the members of all sets in one interval and table that are kept; sets that grow beyond are estimated.
    pub set_bytes_total: usize,
    /// Values with a timestamp of their own that are gathered at once: series times instants.
    pub timed: usize,
    /// Events and service checks in one interval and table.
    pub events: usize,
}

impl Limits {
    /// The most that `key_bytes` can be, so that a flushed name with prefixes and suffixes is still a series' key.
    pub const MAX_KEY_BYTES: usize = 2048;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            series: 1_000_000,
            series_per_prefix: 0,
            prefix_parts: 2,
            key_bytes: 1024,
            tags: 32,
            timer_samples: 10_000,
            timer_samples_total: 10_000_000,
            set_members: 100_000,
            set_member_bytes: 256,
            set_bytes_total: 64 << 20,
            timed: 100_000,
            events: 1_000,
        }
    }
}
