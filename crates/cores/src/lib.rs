//! Threads for the arithmetic of queries: one for each core, and kept to it.
//!
//! A thread that is made, or woken, for a moment's work often has to begin on the core of whoever woke it, and by the time that
//! the kernel moves it the work is done. Where each is kept to a core of its own, all cores are at work at once.
//!
//! Whoever works at the same time as others has threads of its own, so that a short query does not wait for a long one: the
//! kernel shares each core among them. They are made when they are needed first, with the priority of who needs them, and stay.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuilder};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// More who work at the same time share threads.
const MOST_POOLS: usize = 32;
/// The most cores that one work is shared among.
const MOST_THREADS: usize = 16;

/// How many cores a work is shared among.
#[must_use]
pub fn count() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| available().min(MOST_THREADS))
}

fn available() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Does work whose parts, rayon's parallel iterators, are done on all cores, and waits for it. It should not wait for
/// anything itself.
pub fn share<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    // Inside of other shared work the threads are there already.
    if rayon::current_thread_index().is_some() {
        return work();
    }
    match (Lent::new(), others()) {
        (Some(lent), _) => lent.pool.install(work),
        (None, Some(others)) => others.install(work),
        (None, None) => work(),
    }
}

/// Does a short piece of work on some core, after those that were given before it. One that panics ends there.
pub fn spawn(work: impl FnOnce() + Send + 'static) {
    match others() {
        Some(others) => others.spawn_fifo(work),
        None => work(),
    }
}

/// The threads for all who have none of their own; none where the system starts no more.
fn others() -> Option<&'static ThreadPool> {
    static OTHERS: OnceLock<Option<ThreadPool>> = OnceLock::new();
    OTHERS.get_or_init(|| pool(0)).as_ref()
}

/// Threads that somebody has for the time of a work.
struct Lent {
    pool: &'static ThreadPool,
}

struct Pools {
    idle: Vec<&'static ThreadPool>,
    made: usize,
}

fn pools() -> MutexGuard<'static, Pools> {
    static POOLS: Mutex<Pools> = Mutex::new(Pools { idle: Vec::new(), made: 0 });
    POOLS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lent {
    /// Those that were given back last, or new ones; none when there are too many.
    fn new() -> Option<Self> {
        let mut pools = pools();
        if let Some(pool) = pools.idle.pop() {
            return Some(Self { pool });
        }
        if pools.made == MOST_POOLS {
            return None;
        }
        let pool = Box::leak(Box::new(pool(pools.made)?));
        pools.made += 1;
        Some(Self { pool })
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        pools().idle.push(self.pool);
    }
}

/// The threads of the pool with this number, which says on which cores they begin where there are more of these.
fn pool(number: usize) -> Option<ThreadPool> {
    // Who may have some of many cores only for a part of the time is better left to the kernel.
    let cores = allowed().filter(|cores| cores.len() == available());
    let keep = move |thread: usize| {
        if let Some(cores) = &cores {
            keep_to(cores[(number * count() + thread) % cores.len()]);
        }
    };
    ThreadPoolBuilder::new()
        .num_threads(count())
        .thread_name(move |thread| format!("query-{number}-{thread}"))
        .start_handler(keep)
        // What it was is said where it panics; who waits for the work's outcome gets none.
        .panic_handler(|_| ())
        .build()
        .ok()
}

/// The cores that this thread may run on, if there are any.
fn allowed() -> Option<Vec<usize>> {
    let set = sched_getaffinity(None).ok()?;
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect();
    (!cores.is_empty()).then_some(cores)
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
    use rayon::prelude::*;
    use std::collections::BTreeSet;
    use std::sync::Barrier;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn each_thread_has_a_core_to_itself() {
        if allowed().is_none_or(|cores| cores.len() != available()) {
            return;
        }
        let all = share(|| rayon::broadcast(|_| allowed()));
        let cores: BTreeSet<Vec<usize>> = all.into_iter().flatten().collect();
        assert_eq!(cores.len(), count());
        assert!(cores.iter().all(|cores| cores.len() == 1), "{cores:?}");
    }

    #[test]
    fn shared_work_may_share_work() {
        let sum: u64 = share(|| (0..100_u64).into_par_iter().map(|number| share(|| number)).sum());
        assert_eq!(sum, 4950);
    }

    #[test]
    fn a_short_work_does_not_wait_for_long_ones() {
        const LONG: usize = 3;
        let begun = Barrier::new(LONG + 1);
        let done = Barrier::new(LONG + 1);
        thread::scope(|scope| {
            for _ in 0..LONG {
                scope.spawn(|| {
                    share(|| {
                        begun.wait();
                        done.wait();
                    });
                });
            }
            begun.wait();
            assert_eq!(share(|| (0..1000_u64).into_par_iter().sum::<u64>()), 499_500);
            done.wait();
        });
    }

    #[test]
    fn a_panic_is_of_whoever_asked_and_leaves_the_threads() {
        let outcome = std::panic::catch_unwind(|| share(|| -> u64 { panic!("of this test") }));
        assert!(outcome.is_err());
        let (sender, receiver) = mpsc::channel();
        spawn(|| panic!("of this test"));
        spawn(move || sender.send(share(|| 7)).unwrap());
        assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok(7));
    }
}
