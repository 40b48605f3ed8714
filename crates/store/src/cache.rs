//! Chunks as they were decoded, for whoever asks for them again, as dashboards do every few seconds.
//!
//! A block never changes and its number is never given again, so what was decoded of one holds for as long as anybody asks.
//! Entries live in two generations of half the memory each. What is found in the older one moves to the younger; when that is
//! full the older one goes as a whole, and with it what nobody has asked for since.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::SeriesId;
use crate::chunk::PointColumns;
use crate::rollup_chunk::{Columns, RollupColumns};

/// What an entry takes besides its columns.
const OVERHEAD: u64 = 128;

/// All of a chunk.
#[derive(Debug)]
pub(crate) enum Decoded {
    Points(PointColumns),
    Rollups(RollupColumns),
}

impl Decoded {
    fn bytes(&self) -> u64 {
        OVERHEAD
            + match self {
                Self::Points(points) => points.bytes(),
                Self::Rollups(rollups) => rollups.bytes(),
            }
    }

    /// Whether a read that needs these columns finds them.
    fn has(&self, wanted: Columns) -> bool {
        match self {
            Self::Points(_) => true,
            Self::Rollups(rollups) => rollups.has(wanted),
        }
    }
}

/// The number of a block, and of a series in it.
type Place = (u64, SeriesId);

/// Decoded chunks, as many as there is memory for.
#[derive(Debug)]
pub(crate) struct Cache {
    /// In bytes; with none nothing is kept.
    memory: u64,
    generations: Mutex<Generations>,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Debug, Default)]
struct Generations {
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    entries: FxHashMap<Place, Arc<Decoded>>,
    bytes: u64,
}

/// What a cache holds, and how often it was of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheStats {
    pub(crate) bytes: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
}

impl Cache {
    /// One that holds so many bytes.
    pub(crate) fn new(memory: u64) -> Self {
        Self { memory, generations: Mutex::default(), hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.memory > 0
    }

    /// The chunks of series in a block that are known with the columns that each needs.
    pub(crate) fn get_all(
        &self,
        block: u64,
        wanted: impl ExactSizeIterator<Item = (SeriesId, Columns)>,
    ) -> Vec<Option<Arc<Decoded>>> {
        if !self.is_on() {
            return vec![None; wanted.len()];
        }
        let mut retired = Vec::new();
        let mut generations = self.generations.lock();
        let found: Vec<_> = wanted
            .map(|(id, columns)| generations.get((block, id), self.memory, &mut retired).filter(|one| one.has(columns)))
            .collect();
        drop(generations);
        let hits = found.iter().flatten().count();
        self.hits.fetch_add(hits as u64, Ordering::Relaxed);
        self.misses.fetch_add((found.len() - hits) as u64, Ordering::Relaxed);
        found
    }

    /// Keeps a chunk, in the place of any that was known with fewer columns.
    pub(crate) fn insert(&self, block: u64, id: SeriesId, decoded: Arc<Decoded>) {
        // Half is what a generation has.
        if decoded.bytes() > self.memory / 2 {
            return;
        }
        let mut retired = Vec::new();
        self.generations.lock().insert((block, id), decoded, self.memory, &mut retired);
    }

    pub(crate) fn stats(&self) -> CacheStats {
        let generations = self.generations.lock();
        CacheStats {
            bytes: generations.young.bytes + generations.old.bytes,
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }
}

impl Generations {
    fn get(&mut self, place: Place, memory: u64, retired: &mut Vec<Generation>) -> Option<Arc<Decoded>> {
        if let Some(known) = self.young.entries.get(&place) {
            return Some(Arc::clone(known));
        }
        let known = self.old.remove(place)?;
        self.insert(place, Arc::clone(&known), memory, retired);
        Some(known)
    }

    /// A generation that goes is left to be let go where nobody waits for it.
    fn insert(&mut self, place: Place, decoded: Arc<Decoded>, memory: u64, retired: &mut Vec<Generation>) {
        let bytes = decoded.bytes();
        self.young.remove(place);
        if self.young.bytes + bytes > memory / 2 {
            retired.push(mem::replace(&mut self.old, mem::take(&mut self.young)));
        }
        self.old.remove(place);
        self.young.bytes += bytes;
        self.young.entries.insert(place, decoded);
    }
}

impl Generation {
    fn remove(&mut self, place: Place) -> Option<Arc<Decoded>> {
        let removed = self.entries.remove(&place)?;
        self.bytes -= removed.bytes();
        Some(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk;
    use crate::points::Points;

    const SUMS: Columns = Columns { sums: true, extremes: false, lasts: false };

    /// Of a series with so many points.
    fn chunk_of(count: i64) -> Arc<Decoded> {
        let mut points = Points::default();
        (0..count).for_each(|time| points.push(time, (time % 7) as f64));
        let bytes = chunk::encode(1, &points).unwrap();
        Arc::new(Decoded::Points(chunk::Opened::new(1, &bytes).unwrap().columns().unwrap()))
    }

    fn known(cache: &Cache, block: u64, ids: impl IntoIterator<Item = SeriesId>) -> Vec<SeriesId> {
        let ids: Vec<SeriesId> = ids.into_iter().collect();
        let found = cache.get_all(block, ids.iter().map(|id| (*id, SUMS)));
        ids.into_iter().zip(found).filter_map(|(id, found)| found.map(|_| id)).collect()
    }

    #[test]
    fn what_is_asked_for_stays_and_what_is_not_goes() {
        let one = chunk_of(100);
        let cache = Cache::new(20 * one.bytes());
        for id in 0..100 {
            cache.insert(7, id, Arc::clone(&one));
            assert_eq!(known(&cache, 7, [0]), [0], "after {id} others");
            assert!(cache.stats().bytes <= cache.memory);
        }
        let left = known(&cache, 7, 0..100);
        assert!((11..=20).contains(&left.len()) && left.ends_with(&[98, 99]), "{left:?}");
        assert_eq!(known(&cache, 8, [0]), []);
        let CacheStats { hits, misses, .. } = cache.stats();
        assert_eq!((hits, misses), (100 + left.len() as u64, 100 - left.len() as u64 + 1));
    }

    #[test]
    fn what_comes_again_is_counted_once() {
        let (small, large) = (chunk_of(10), chunk_of(1000));
        let cache = Cache::new(10 * large.bytes());
        for decoded in [&small, &large, &small] {
            cache.insert(1, 1, Arc::clone(decoded));
            assert_eq!(cache.stats().bytes, decoded.bytes());
        }
        // Also when it is in the older generation.
        (2..7).for_each(|id| cache.insert(1, id, Arc::clone(&large)));
        cache.insert(1, 1, Arc::clone(&large));
        assert_eq!(cache.stats().bytes, 6 * large.bytes());
    }

    #[test]
    fn without_memory_nothing_is_kept_and_what_is_too_large_neither() {
        let one = chunk_of(1000);
        for memory in [0, one.bytes()] {
            let cache = Cache::new(memory);
            cache.insert(1, 1, Arc::clone(&one));
            assert_eq!((known(&cache, 1, [1]), cache.stats().bytes), (vec![], 0));
        }
    }
}
