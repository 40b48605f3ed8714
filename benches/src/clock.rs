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

/// User and system time of all threads of this process.
pub fn process() -> Duration {
    time_of(ClockId::ProcessCPUTime)
}

fn now() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(clock);
    Duration::new(u64::try_from(tv_sec).unwrap_or(0), u32::try_from(tv_nsec).unwrap_or(0))
}
