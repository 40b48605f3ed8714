//! All chunks of a block as they are stored, past those that cannot be read.
//!
//! A block is gone through in order as long as that works. Where the engine finds damage, the other series are asked for
//! one by one, so that each that cannot be read is named.

use fjall::UserValue;

use crate::block::{ChunkError, StoredBlock};
use crate::{SeriesId, StoreError};

/// The chunk of a series, or why it cannot be read.
pub(crate) type Scanned = (SeriesId, Result<UserValue, String>);

type Chunks = Box<dyn Iterator<Item = Result<(SeriesId, UserValue), ChunkError>>>;

pub(crate) struct Scan<'a> {
    block: &'a StoredBlock,
    /// `None` after the first damage.
    chunks: Option<Chunks>,
    /// The series to ask for after that, in the order of their numbers.
    known: Box<dyn Iterator<Item = SeriesId> + 'a>,
    last: Option<SeriesId>,
    /// What ended the first pass.
    pub(crate) damage: Option<String>,
}

impl<'a> Scan<'a> {
    /// `known` are the series that the block may hold, in the order of their numbers.
    pub(crate) fn of(block: &'a StoredBlock, known: impl Iterator<Item = SeriesId> + 'a) -> Self {
        Self { block, chunks: Some(Box::new(block.chunks())), known: Box::new(known), last: None, damage: None }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Scanned>, StoreError> {
        if let Some(chunks) = &mut self.chunks {
            match chunks.next() {
                Some(Ok((id, chunk))) => {
                    self.last = Some(id);
                    return Ok(Some((id, Ok(chunk))));
                }
                None => return Ok(None),
                Some(Err(ChunkError::Engine(error))) => return Err(StoreError::blocks("read a block", error)),
                Some(Err(ChunkError::Damaged(reason))) => {
                    self.damage = Some(reason);
                    self.chunks = None;
                }
            }
        }
        for id in self.known.by_ref() {
            if self.last.is_some_and(|last| id <= last) {
                continue;
            }
            match self.block.chunk(id) {
                Ok(Some(chunk)) => return Ok(Some((id, Ok(chunk)))),
                Ok(None) => {}
                Err(ChunkError::Damaged(reason)) => return Ok(Some((id, Err(reason)))),
                Err(ChunkError::Engine(error)) => return Err(StoreError::blocks("read a block", error)),
            }
        }
        Ok(None)
    }
}
