//! All chunks of a block as they are stored, past those that cannot be read.

use crate::block::{ChunkError, StoredBlock};
use crate::{SeriesId, StoreError};

/// The chunk of a series, or why it cannot be read.
pub(crate) type Scanned = (SeriesId, Result<Vec<u8>, String>);

pub(crate) struct Scan<'a> {
    block: &'a StoredBlock,
    /// The series to ask for, in the order of their numbers.
    series: std::vec::IntoIter<SeriesId>,
    /// Why the block does not say which series it holds.
    pub(crate) damage: Option<String>,
}

impl<'a> Scan<'a> {
    /// `known` are the series that the block may hold, in the order of their numbers; they are asked for when it cannot tell
    /// which ones it holds.
    pub(crate) fn of(block: &'a StoredBlock, known: impl Iterator<Item = SeriesId>) -> Result<Self, StoreError> {
        let (series, damage) = match block.series() {
            Ok(series) => (series, None),
            Err(ChunkError::Damaged(reason)) => (known.collect(), Some(reason)),
            Err(ChunkError::Io(error)) => return Err(failed(block, error)),
        };
        Ok(Self { block, series: series.into_iter(), damage })
    }

    pub(crate) fn next(&mut self) -> Result<Option<Scanned>, StoreError> {
        for id in self.series.by_ref() {
            match self.block.chunk(id) {
                Ok(Some(chunk)) => return Ok(Some((id, Ok(chunk)))),
                Ok(None) => {}
                Err(ChunkError::Damaged(reason)) => return Ok(Some((id, Err(reason)))),
                Err(ChunkError::Io(error)) => return Err(failed(self.block, error)),
            }
        }
        Ok(None)
    }
}

fn failed(block: &StoredBlock, error: std::io::Error) -> StoreError {
    StoreError::io("read a block at", std::path::Path::new(&crate::block::name_of(block.meta.id)), error)
}
