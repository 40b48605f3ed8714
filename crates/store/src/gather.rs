//! The chunks of a read: of a few series at a time, out of all blocks that may have some, in few reads of each file.
//!
//! Series that were born together lie together in a block. To look for each of them by itself would read a page of the index
//! and a chunk for each series and block; to read all of them at once would need memory without a bound. What is known
//! decoded is not read.

use std::ops::Range;
use std::sync::Arc;

use crate::StoreError;
use crate::block::StoredBlock;
use crate::block_file::{Chunks, Extent};
use crate::cache::Decoded;
use crate::embedded::Inner;
use crate::head::HeadColumn;
use crate::read::Chosen;
use crate::rollup_chunk::Columns;
use crate::state::Sources;

/// As many series are gathered at once.
const SERIES: usize = 256;
/// Unless their chunks take more than this; then fewer are, but one at least.
const MOST_BYTES: u64 = 8 << 20;

/// The chunks of a few series, in memory.
pub(crate) struct Gathered<'s> {
    raw: Vec<OfBlock<'s, Chunks>>,
    rolled: Vec<OfBlock<'s, Chunks>>,
}

/// The chunk of a series in a block.
pub(crate) enum Chunk<'a> {
    /// As it is stored.
    Stored(&'a [u8]),
    /// As it was decoded for a read before, with at least the columns that this one needs.
    Known(&'a Decoded),
}

/// What there is of one block.
struct OfBlock<'s, T> {
    block: &'s StoredBlock,
    /// The places of the series of which chunks are known, in their order.
    known: Vec<(usize, Arc<Decoded>)>,
    /// The places of the other series that may be in it, in the order of the series' numbers.
    series: Vec<usize>,
    found: T,
}

impl Gathered<'_> {
    /// The chunks of points of a series, in the order of their blocks.
    pub(crate) fn raw(&self, place: usize) -> impl Iterator<Item = (&StoredBlock, Chunk<'_>)> {
        chunks_of(&self.raw, place)
    }

    /// Its chunks of rollups.
    pub(crate) fn rolled(&self, place: usize) -> impl Iterator<Item = (&StoredBlock, Chunk<'_>)> {
        chunks_of(&self.rolled, place)
    }
}

fn chunks_of<'a>(
    blocks: &'a [OfBlock<'_, Chunks>],
    place: usize,
) -> impl Iterator<Item = (&'a StoredBlock, Chunk<'a>)> {
    blocks.iter().filter_map(move |of_block| {
        if let Ok(at) = of_block.known.binary_search_by_key(&place, |(known, _)| *known) {
            return Some((of_block.block, Chunk::Known(&of_block.known[at].1)));
        }
        let asked = of_block.series.iter().position(|known| *known == place)?;
        Some((of_block.block, Chunk::Stored(of_block.found.get(asked)?)))
    })
}

impl Inner {
    /// Reads the chunks of series, and visits some of these at a time, in their order, while their chunks are at hand.
    /// `wanted` says which columns of rollups a series needs.
    pub(crate) fn gather(
        &self,
        sources: &Sources<HeadColumn>,
        chosen: &[Chosen<'_>],
        wanted: &impl Fn(&Chosen<'_>) -> Columns,
        visit: &mut impl FnMut(&Gathered<'_>, Range<usize>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for start in (0..chosen.len()).step_by(SERIES) {
            self.gather_some(sources, chosen, start..(start + SERIES).min(chosen.len()), wanted, visit)?;
        }
        Ok(())
    }

    fn gather_some(
        &self,
        sources: &Sources<HeadColumn>,
        chosen: &[Chosen<'_>],
        places: Range<usize>,
        wanted: &impl Fn(&Chosen<'_>) -> Columns,
        visit: &mut impl FnMut(&Gathered<'_>, Range<usize>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let raw = self.locate(&sources.raw, chosen, &places, wanted)?;
        let rolled = self.locate(&sources.rolled, chosen, &places, wanted)?;
        let extents = raw.iter().chain(&rolled).flat_map(|of_block| of_block.found.iter().flatten());
        let bytes: u64 = extents.map(|extent| u64::from(extent.length)).sum();
        if bytes > MOST_BYTES && places.len() > 1 {
            let middle = places.start + places.len() / 2;
            self.gather_some(sources, chosen, places.start..middle, wanted, visit)?;
            return self.gather_some(sources, chosen, middle..places.end, wanted, visit);
        }
        let gathered = Gathered { raw: self.load(raw, chosen)?, rolled: self.load(rolled, chosen)? };
        visit(&gathered, places)
    }

    /// Where the chunks are in each block that may have some, unless they are known.
    fn locate<'s>(
        &self,
        blocks: &'s [Arc<StoredBlock>],
        chosen: &[Chosen<'_>],
        places: &Range<usize>,
        wanted: &impl Fn(&Chosen<'_>) -> Columns,
    ) -> Result<Vec<OfBlock<'s, Vec<Option<Extent>>>>, StoreError> {
        let mut by_number: Vec<usize> = places.clone().collect();
        by_number.sort_unstable_by_key(|place| chosen[*place].id);
        let mut located = Vec::new();
        for block in blocks {
            let may_be_in = |place: &usize| chosen[*place].may_be_in(block, self.schemas_number);
            let all: Vec<usize> = by_number.iter().copied().filter(may_be_in).collect();
            let Some(first) = all.first() else { continue };
            let asked = all.iter().map(|place| (chosen[*place].id, wanted(&chosen[*place])));
            let (mut known, mut series) = (Vec::new(), Vec::new());
            for (place, decoded) in all.iter().zip(self.cache.get_all(block.meta.id, asked)) {
                match decoded {
                    Some(decoded) => known.push((*place, decoded)),
                    None => series.push(*place),
                }
            }
            known.sort_unstable_by_key(|(place, _)| *place);
            let found = block.extents(series.iter().map(|place| chosen[*place].id));
            let found = found.map_err(|error| self.chunk_error(error, &chosen[*first].key, block.range()))?;
            located.push(OfBlock { block: block.as_ref(), known, series, found });
        }
        Ok(located)
    }

    fn load<'s>(
        &self,
        located: Vec<OfBlock<'s, Vec<Option<Extent>>>>,
        chosen: &[Chosen<'_>],
    ) -> Result<Vec<OfBlock<'s, Chunks>>, StoreError> {
        let load = |OfBlock { block, known, series, found }: OfBlock<'s, Vec<Option<Extent>>>| {
            let Some(first) = series.first() else {
                return Ok(OfBlock { block, known, series, found: Chunks::default() });
            };
            let found = block.chunks(&found);
            let found = found.map_err(|error| self.chunk_error(error, &chosen[*first].key, block.range()))?;
            Ok(OfBlock { block, known, series, found })
        };
        located.into_iter().map(load).collect()
    }
}
