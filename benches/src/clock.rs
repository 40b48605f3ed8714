//! CPU time of the calling thread.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Started; tells the CPU time that the thread took since.
pub struct CpuClock(Duration);

impl CpuClock {
    /// Starts.
    pub fn start() -> Self {
        Self(now())
    }

    /// User and system time of this thread since the start.
    pub fn elapsed(&self) -> Duration {
        now().saturating_sub(self.0)
    }
}

fn now() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(tv_sec).unwrap_or(0), u32::try_from(tv_nsec).unwrap_or(0))
}
