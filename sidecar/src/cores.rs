//! The threads that share the arithmetic of queries: one for each core, and kept to it.
//!
//! A thread that is made, or woken, for a moment's work often has to begin on the core of whoever woke it, and by the time that the
//! kernel moves it the work is done. Where each is kept to a core of its own all of them are at work at once.

use std::num::NonZeroUsize;
use std::thread;

use rayon::{ThreadPoolBuildError, ThreadPoolBuilder};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Starts them. Each calls `on_start` first.
///
/// # Errors
/// When a thread cannot be started, or this was called before.
pub fn start(on_start: impl Fn() + Send + Sync + 'static) -> Result<(), ThreadPoolBuildError> {
    let count = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    // Who may have some of many cores only for a part of the time is better left to the kernel.
    let cores = allowed().filter(|cores| cores.len() == count);
    ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(|number| format!("query-{number}"))
        .start_handler(move |number| {
            on_start();
            if let Some(core) = cores.as_ref().and_then(|cores| cores.get(number)) {
                keep_to(*core);
            }
        })
        .panic_handler(|_| tracing::error!("a part of an answer panicked; it is cut off"))
        .build_global()
}

/// The cores that this process may run on.
fn allowed() -> Option<Vec<usize>> {
    let set = sched_getaffinity(None).ok()?;
    Some((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

fn keep_to(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    // Where it fails the kernel chooses.
    let _ = sched_setaffinity(None, &set);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_on_the_core_that_it_is_kept_to() {
        let cores = allowed().unwrap();
        for core in cores {
            let seen = thread::spawn(move || {
                keep_to(core);
                allowed()
            });
            assert_eq!(seen.join().unwrap(), Some(vec![core]));
        }
    }
}
