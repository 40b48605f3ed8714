//! The wall clock, read in one place.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use statline_series::Timestamp;

/// The wall clock's instant.
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// How long it is until an instant; zero when it is past.
pub fn until(instant: Timestamp) -> Duration {
    let millis = instant.millis().saturating_sub(now().millis());
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
