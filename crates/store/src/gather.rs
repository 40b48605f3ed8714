//! The chunks of a read: of a few series at a time, out of all blocks that may have some, in few reads of each file.
//!
//! Series that were born together lie together in a block. To look for each of them by itself would read a page of the index
//! and a chunk for each series and block; to read all of them at once would need memory without a bound.

use std::ops::Range;
use std::sync::Arc;

use crate::StoreError;
use crate::block::StoredBlock;
use crate::block_file::{Chunks, Extent};
use crate::embedded::Inner;
use crate::head::HeadColumn;
use crate::read::Chosen;
use crate::state::Sources;

/// As many series are gathered at once.
const SERIES: usize = 64;
/// Unless their chunks take more than this; then fewer are, but one at least.
const MOST_BYTES: u64 = 8 << 20;

/// The chunks of a few series, in memory.
pub(crate) struct Gathered<'s> {
    raw: Vec<OfBlock<'s, Chunks>>,
    rolled: Vec<OfBlock<'s, Chunks>>,
}

/// What there is of one block.
struct OfBlock<'s, T> {
    block: &'s StoredBlock,
    /// The places of the series that may be in it, in the order of their numbers.
    series: Vec<usize>,
    found: T,
}

impl Gathered<'_> {
    /// The chunks of points of a series, in the order of their blocks.
    pub(crate) fn raw(&self, place: usize) -> impl Iterator<Item = (&StoredBlock, &[u8])> {
        chunks_of(&self.raw, place)
    }

    /// Its chunks of rollups.
    pub(crate) fn rolled(&self, place: usize) -> impl Iterator<Item = (&StoredBlock, &[u8])> {
        chunks_of(&self.rolled, place)
    }
}

fn chunks_of<'a>(blocks: &'a [OfBlock<'_, Chunks>], place: usize) -> impl Iterator<Item = (&'a StoredBlock, &'a [u8])> {
    blocks.iter().filter_map(move |of_block| {
        let asked = of_block.series.iter().position(|known| *known == place)?;
        Some((of_block.block, of_block.found.get(asked)?))
    })
}

impl Inner {
    /// Reads the chunks of series, and visits each series in its turn while they are at hand.
    pub(crate) fn gather(
        &self,
        sources: &Sources<HeadColumn>,
        chosen: &[Chosen<'_>],
        places: Range<usize>,
        visit: &mut impl FnMut(&Gathered<'_>, usize) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for start in places.clone().step_by(SERIES) {
            self.gather_some(sources, chosen, start..(start + SERIES).min(places.end), visit)?;
        }
        Ok(())
    }

    fn gather_some(
        &self,
        sources: &Sources<HeadColumn>,
        chosen: &[Chosen<'_>],
        places: Range<usize>,
        visit: &mut impl FnMut(&Gathered<'_>, usize) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let raw = self.locate(&sources.raw, chosen, &places)?;
        let rolled = self.locate(&sources.rolled, chosen, &places)?;
        let extents = raw.iter().chain(&rolled).flat_map(|of_block| of_block.found.iter().flatten());
        let bytes: u64 = extents.map(|extent| u64::from(extent.length)).sum();
        if bytes > MOST_BYTES && places.len() > 1 {
            let middle = places.start + places.len() / 2;
            self.gather_some(sources, chosen, places.start..middle, visit)?;
            return self.gather_some(sources, chosen, middle..places.end, visit);
        }
        let gathered = Gathered { raw: self.load(raw, chosen)?, rolled: self.load(rolled, chosen)? };
        places.into_iter().try_for_each(|place| visit(&gathered, place))
    }

    /// Where the chunks are in each block that may have some.
    fn locate<'s>(
        &self,
        blocks: &'s [Arc<StoredBlock>],
        chosen: &[Chosen<'_>],
        places: &Range<usize>,
    ) -> Result<Vec<OfBlock<'s, Vec<Option<Extent>>>>, StoreError> {
        let mut by_number: Vec<usize> = places.clone().collect();
        by_number.sort_unstable_by_key(|place| chosen[*place].id);
        let mut located = Vec::new();
        for block in blocks {
            let may_be_in = |place: &usize| chosen[*place].may_be_in(block, self.schemas_number);
            let series: Vec<usize> = by_number.iter().copied().filter(may_be_in).collect();
            let Some(first) = series.first() else { continue };
            let found = block.extents(series.iter().map(|place| chosen[*place].id));
            let found = found.map_err(|error| self.chunk_error(error, &chosen[*first].key, block.range()))?;
            located.push(OfBlock { block: block.as_ref(), series, found });
        }
        Ok(located)
    }

    fn load<'s>(
        &self,
        located: Vec<OfBlock<'s, Vec<Option<Extent>>>>,
        chosen: &[Chosen<'_>],
    ) -> Result<Vec<OfBlock<'s, Chunks>>, StoreError> {
        let load = |OfBlock { block, series, found }: OfBlock<'s, Vec<Option<Extent>>>| {
            let found = block.chunks(&found);
            let found = found.map_err(|error| self.chunk_error(error, &chosen[series[0]].key, block.range()))?;
            Ok(OfBlock { block, series, found })
        };
        located.into_iter().map(load).collect()
    }
}
