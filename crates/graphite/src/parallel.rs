//! The same work on each of many series, on as many cores as there are and as it is worth.

use std::num::NonZeroUsize;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use crate::series::Series;

/// Fewer values than these are not worth a thread.
const VALUES_A_THREAD: usize = 1 << 14;
/// How much a thread takes at a time, in values.
const VALUES_A_TURN: usize = 1 << 13;

/// How many cores there are.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, NonZeroUsize::get))
}

/// Changes each of some series.
pub(crate) fn change(series: &mut [Series], change: impl Fn(&mut Series) + Sync) {
    let values = series.iter().map(Series::len).sum();
    in_turns(series, values, |turn| turn.iter_mut().for_each(&change));
}

/// What becomes of each of some things, in their order; `values` is how many values all of them have together.
pub(crate) fn map<T: Sync, R: Send>(things: &[T], values: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let mut pairs: Vec<(&T, Option<R>)> = things.iter().map(|thing| (thing, None)).collect();
    in_turns(&mut pairs, values, |turn| turn.iter_mut().for_each(|(thing, result)| *result = Some(work(thing))));
    pairs.into_iter().filter_map(|(_, result)| result).collect()
}

/// Works on things, a few at a time in each thread, so that one that has to wait for its core does not hold up the others.
fn in_turns<T: Send>(things: &mut [T], values: usize, work: impl Fn(&mut [T]) + Sync) {
    let threads = cores().min(values / VALUES_A_THREAD).min(things.len());
    if threads < 2 {
        return work(things);
    }
    let each = values / things.len();
    let turns = Mutex::new(things.chunks_mut((VALUES_A_TURN / each.max(1)).max(1)));
    // The lock is held while a turn is taken, and not while it is worked on.
    let next = || turns.lock().unwrap_or_else(PoisonError::into_inner).next();
    let take_turns = || {
        while let Some(turn) = next() {
            work(turn);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(take_turns);
        }
        take_turns();
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::series;

    #[test]
    fn every_series_is_changed_once_and_results_stay_in_order() {
        for count in [0, 1, 5, 100, 1000] {
            let mut many: Vec<Series> =
                (0..count).map(|number| series("a", 0, 60, &[f64::from(number); 700])).collect();
            change(&mut many, |one| one.map(|value| value + 0.5));
            let firsts = map(&many, 700 * many.len(), |one| one.values()[0]);
            assert_eq!(firsts, (0..count).map(|number| f64::from(number) + 0.5).collect::<Vec<_>>());
        }
    }
}
