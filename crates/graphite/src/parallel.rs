//! The same work on each of many series, on as many cores as there are and as it is worth.

use rayon::prelude::*;

use crate::series::Series;

/// Fewer values than these are not worth to wake another core.
const VALUES_OF_ONE_CORE: usize = 1 << 15;
/// How much a core takes at a time, in values.
const VALUES_A_TURN: usize = 1 << 13;

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

/// Works on things, a few at a time on each core, so that one that is kept from work does not hold up the others.
fn in_turns<T: Send>(things: &mut [T], values: usize, work: impl Fn(&mut [T]) + Sync + Send) {
    if values < VALUES_OF_ONE_CORE || things.len() < 2 || statline_cores::count() < 2 {
        return work(things);
    }
    let each = values / things.len();
    let of_a_turn = (VALUES_A_TURN / each.max(1)).max(1);
    statline_cores::share(|| things.par_chunks_mut(of_a_turn).with_max_len(1).for_each(work));
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
