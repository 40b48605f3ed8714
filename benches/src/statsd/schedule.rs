//! When and where things run: beside the boundaries of flushes on the wall clock, on cores of their own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::thread::{CpuSet, sched_setaffinity};

use crate::Error;
use crate::statsd::sender::{Pace, Sender, Sent};
use crate::statsd::traffic::Traffic;

/// Where the sender runs.
const SENDER_CORE: usize = 0;

/// Where the threads that receive run.
pub const RECEIVER_CORE: usize = 1;

/// Whether there is a core for the sender and another one for who receives.
pub fn has_two_cores() -> bool {
    std::thread::available_parallelism().is_ok_and(|cores| cores.get() > RECEIVER_CORE)
}

/// Sends from a thread of its own, bound to the sender's core when there is one for it.
///
/// # Errors
/// When nobody listens.
pub fn send(sender: &mut Sender, traffic: &Traffic, pace: Pace, is_pinned: bool) -> Result<Sent, Error> {
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            if is_pinned {
                let mut cores = CpuSet::new();
                cores.set(SENDER_CORE);
                sched_setaffinity(None, &cores)?;
            }
            sender.send(traffic, pace)
        });
        sending.join().map_err(|_| Error::from("the sender panicked"))?
    })
}

/// The first multiple of the interval that is at least `ahead` from here, since the epoch.
pub fn next_boundary(interval: Duration, ahead: Duration) -> Duration {
    let earliest = now() + ahead;
    let intervals = earliest.as_nanos().div_ceil(interval.as_nanos().max(1));
    interval * u32::try_from(intervals).unwrap_or(u32::MAX)
}

/// Sleeps until a time since the epoch.
pub fn sleep_until(instant: Duration) {
    std::thread::sleep(instant.saturating_sub(now()));
}

/// The time since the epoch.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
