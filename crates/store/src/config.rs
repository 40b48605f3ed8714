//! What an embedded store is told when it is opened.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use statline_series::{Event, Step, Timestamp};

use crate::StoreError;
use crate::schema::{Rule, Schemas};

/// The longest block. Heads count milliseconds from the start of their window in 32 bits.
const LONGEST_BLOCK: Duration = Duration::from_hours(24 * 32);

/// Settings of an [`EmbeddedStore`](crate::EmbeddedStore).
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// The directory, made when it is absent.
    pub path: PathBuf,
    /// Which tiers series have. Default `10s:6h,1m:6d,10m:5y` for all.
    pub schemas: Schemas,
    /// The span of one block. Default 2 h.
    pub block_length: Duration,
    /// How late a point or a sketch may come, if it would still be kept. Default: as late as that.
    pub max_late: Duration,
    /// Whether a thread cuts, rolls up, merges and drops blocks by itself. Default true.
    pub background: bool,
    /// The most series of points at a time; points of further ones are refused. Default 1,000,000.
    pub max_series: usize,
    /// The most series of sketches at a time; sketches of further ones are refused. Default 100,000.
    pub max_sketch_series: usize,
    /// The most events at a time, at least 1; the oldest go when there are more. Default 100,000.
    pub max_events: usize,
    /// Bytes of events in memory, at least 64 KiB, above which the oldest go. Their file takes at most some twice as much,
    /// and 1 MiB. Default 32 MiB.
    pub event_memory: u64,
    /// How far ahead of the clock a point, a sketch or an event may be. Default 1 d.
    pub max_ahead: Duration,
    /// How long after its end, and after its last late point, a span is written as a block. Default 5 min.
    pub grace: Duration,
    /// Bytes of points and sketches in memory above which spans are written as blocks before their time. Appends wait at twice as
    /// many. Default 256 MiB.
    pub head_memory: u64,
    /// Bytes of chunks that are kept decoded for the next read of them; 0 for none. Default 64 MiB.
    pub cache_memory: u64,
    /// What time it is.
    pub clock: Clock,
}

impl EmbeddedConfig {
    /// The defaults, in a directory.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            schemas: Schemas::default(),
            block_length: Duration::from_hours(2),
            max_late: Duration::MAX,
            background: true,
            max_series: 1_000_000,
            max_sketch_series: 100_000,
            max_events: 100_000,
            event_memory: 32 << 20,
            max_ahead: Duration::from_hours(24),
            grace: Duration::from_mins(5),
            head_memory: 256 << 20,
            cache_memory: 64 << 20,
            clock: Clock::system(),
        }
    }

    /// Proves that the settings make sense together.
    ///
    /// # Errors
    /// When they do not, with the setting that is at fault.
    pub fn check(&self) -> Result<(), StoreError> {
        let bad = |text: String| Err(StoreError::BadConfig(text));
        let block = millis(self.block_length);
        let common = self.schemas.common_step(Step::MAX);
        if block < common.millis() || self.block_length > LONGEST_BLOCK || block % common.millis() != 0 {
            return bad(format!(
                "the block length is a multiple of every finest step ({} s together) and at most 32 days, got {} s",
                common.seconds(),
                self.block_length.as_secs_f64()
            ));
        }
        if self.max_events == 0 || self.event_memory < Event::MOST_BYTES as u64 {
            return bad(format!(
                "there is room for at least 1 event and {} bytes of events, got {} and {}",
                Event::MOST_BYTES,
                self.max_events,
                self.event_memory
            ));
        }
        Ok(())
    }

    /// The block length as a grid.
    pub(crate) fn block_step(&self) -> Step {
        Step::from_duration(self.block_length).unwrap_or(Step::SECOND)
    }

    /// The oldest instant that is taken of a series of a rule.
    pub(crate) fn horizon_of(&self, rule: &Rule, now: Timestamp) -> Timestamp {
        now.offset(-rule.policy.retention().min(millis(self.max_late)))
    }
}

/// Whole milliseconds; saturates.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Where a store reads the time of day.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The clock of the system.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(|| {
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp::from_millis(millis(since_epoch))
        }))
    }

    /// A clock that shows what the returned hand says, in milliseconds since the epoch, and moves only when it is set.
    #[must_use]
    pub fn manual(now: Timestamp) -> (Self, Arc<AtomicI64>) {
        let hand = Arc::new(AtomicI64::new(now.millis()));
        let shown = Arc::clone(&hand);
        (Self(Arc::new(move || Timestamp::from_millis(shown.load(Ordering::SeqCst)))), hand)
    }

    /// The time it shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_refused_in_one_line() {
        let good = EmbeddedConfig::at("x");
        assert!(good.check().is_ok());
        let with_block = |seconds| EmbeddedConfig { block_length: Duration::from_secs(seconds), ..good.clone() };
        let no_events = EmbeddedConfig { max_events: 0, ..good.clone() };
        let no_room = EmbeddedConfig { event_memory: 1000, ..good.clone() };
        let message = |seconds: u32| {
            format!(
                "the block length is a multiple of every finest step (10 s together) and at most 32 days, got {seconds} s"
            )
        };
        for (config, expected) in [
            (no_events, "there is room for at least 1 event and 65536 bytes of events, got 0 and 33554432".to_owned()),
            (no_room, "there is room for at least 1 event and 65536 bytes of events, got 100000 and 1000".to_owned()),
            (with_block(1), message(1)),
            (with_block(33 * 86_400), message(33 * 86_400)),
            (with_block(25), message(25)),
        ] {
            assert_eq!(config.check().unwrap_err().to_string(), expected);
        }
    }
}
