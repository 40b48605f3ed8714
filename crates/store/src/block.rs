//! Blocks on disk: for each a keyspace of its own, series number to chunk, written once in order and dropped as a whole.
//!
//! This is the one place that knows the key-value engine. Nothing is ever written through the engine's own journal: a
//! keyspace is ingested in bulk, and is durable when that ends.
//!
//! Two habits of the engine (fjall 3.1.13) are worked around here. A crash in the middle of making its directory leaves
//! one that it cannot open; so as long as the manifest names no block, the directory is made anew. And after a restart it
//! gives the internal number of the newest keyspace again if that one was dropped, while the note of the dropping may
//! outrank the note of the new one, which is then lost at the next restart; so the keyspace with the highest number is
//! never dropped before there is a higher one, an empty *anchor*.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;

use fjall::config::{CompressionPolicy, FilterPolicy};
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use parking_lot::Mutex;
use statline_series::TimeRange;

use crate::bytes::Malformed;
use crate::manifest::BlockMeta;
use crate::points::Points;
use crate::sketch_column::Sketches;
use crate::{Form, SeriesId, StoreError, chunk, sketch_chunk};

pub(crate) const DIRECTORY: &str = "blocks";

/// The engine that holds all blocks of a store.
pub(crate) struct Blocks {
    database: Database,
    anchor: Mutex<Anchor>,
}

/// What keeps the engine from giving a number again.
#[derive(Default)]
struct Anchor {
    /// The highest internal number of any keyspace there is.
    highest: u64,
    /// The keyspace that only holds that number.
    keyspace: Option<Keyspace>,
}

/// One block, readable until the last reference to it goes.
pub(crate) struct StoredBlock {
    pub(crate) meta: BlockMeta,
    keyspace: Keyspace,
}

/// What was written into a new block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) series: u64,
    pub(crate) points: u64,
    /// Of all chunks.
    pub(crate) bytes: u64,
    pub(crate) sketches: u64,
    /// Of the chunks of sketches.
    pub(crate) sketch_bytes: u64,
}

/// The chunk of one series on its way into a block.
#[derive(Debug)]
pub(crate) struct NewChunk {
    pub(crate) id: SeriesId,
    pub(crate) form: Form,
    pub(crate) bytes: Vec<u8>,
    /// Points or sketches in it.
    pub(crate) count: usize,
}

/// Why the points of a series could not be read from a block.
#[derive(Debug)]
pub(crate) enum ChunkError {
    /// They fail their checks.
    Damaged(String),
    /// The engine failed.
    Engine(fjall::Error),
}

impl From<Malformed> for ChunkError {
    fn from(error: Malformed) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<fjall::Error> for ChunkError {
    fn from(error: fjall::Error) -> Self {
        match error {
            fjall::Error::Io(_) | fjall::Error::Storage(fjall::LsmError::Io(_)) => Self::Engine(error),
            fjall::Error::Storage(inner) => Self::Damaged(inner.to_string()),
            other => Self::Engine(other),
        }
    }
}

const ANCHOR_PREFIX: &str = "anchor-";

pub(crate) fn name_of(id: u64) -> String {
    format!("block-{id:016}")
}

impl Blocks {
    /// Opens the engine with the blocks that the manifest names, and drops those that it does not: they were being written
    /// when the process ended, or were about to be dropped.
    pub(crate) fn open(
        directory: &Path,
        cache_bytes: u64,
        metas: &[BlockMeta],
    ) -> Result<(Self, Vec<Arc<StoredBlock>>), StoreError> {
        let path = directory.join(DIRECTORY);
        if metas.is_empty() && path.exists() {
            fs::remove_dir_all(&path).map_err(|source| StoreError::io("remove", &path, source))?;
        }
        let blocks = Self::open_as_they_are(&path, cache_bytes)?;
        blocks.tidy(metas)?;
        let opened = metas.iter().map(|meta| blocks.open_block(&path, *meta)).collect::<Result<_, _>>()?;
        Ok((blocks, opened))
    }

    /// Opens the engine in a directory of its own, and drops nothing.
    pub(crate) fn open_as_they_are(path: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let open = || Database::builder(path).cache_size(cache_bytes).worker_threads(1).open();
        // The engine panics over some damage of its own files.
        let opened = panic::catch_unwind(AssertUnwindSafe(open))
            .map_err(|_| StoreError::damaged_file(path, "the engine that holds the blocks cannot make sense of it"))?;
        let database = opened.map_err(|error| StoreError::blocks("open the blocks", error))?;
        Ok(Self { database, anchor: Mutex::default() })
    }

    /// The names of all keyspaces but anchors, which are those of blocks.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        let names = self.database.list_keyspace_names().into_iter().map(|name| name.to_string());
        names.filter(|name| !name.starts_with(ANCHOR_PREFIX))
    }

    /// A block, when it is there.
    pub(crate) fn find(&self, meta: BlockMeta) -> Result<Option<StoredBlock>, StoreError> {
        let name = name_of(meta.id);
        if !self.database.keyspace_exists(&name) {
            return Ok(None);
        }
        Ok(Some(StoredBlock { meta, keyspace: self.keyspace(&name)? }))
    }

    /// Drops all keyspaces but blocks that are named and the newest anchor.
    fn tidy(&self, metas: &[BlockMeta]) -> Result<(), StoreError> {
        let named: BTreeSet<String> = metas.iter().map(|meta| name_of(meta.id)).collect();
        let mut unnamed = Vec::new();
        for name in self.database.list_keyspace_names() {
            let keyspace = self.keyspace(&name)?;
            let mut anchor = self.anchor.lock();
            anchor.highest = anchor.highest.max(keyspace.id());
            if named.contains(&*name) {
                continue;
            }
            let is_newest_anchor = name.starts_with(ANCHOR_PREFIX)
                && anchor.keyspace.as_ref().is_none_or(|other| other.id() < keyspace.id());
            unnamed.extend(if is_newest_anchor { anchor.keyspace.replace(keyspace) } else { Some(keyspace) });
        }
        unnamed.into_iter().try_for_each(|keyspace| self.drop_keyspace(keyspace))
    }

    fn open_block(&self, path: &Path, meta: BlockMeta) -> Result<Arc<StoredBlock>, StoreError> {
        let missing = || format!("the manifest names {}, which is not there", name_of(meta.id));
        self.find(meta)?.map(Arc::new).ok_or_else(|| StoreError::damaged_file(path, missing()))
    }

    fn keyspace(&self, name: &str) -> Result<Keyspace, StoreError> {
        self.database.keyspace(name, options).map_err(|error| StoreError::blocks("open a block", error))
    }

    fn new_keyspace(&self, name: &str, anchor: &mut Anchor) -> Result<Keyspace, StoreError> {
        let keyspace = self.keyspace(name)?;
        anchor.highest = anchor.highest.max(keyspace.id());
        Ok(keyspace)
    }

    /// Drops a keyspace, behind a new anchor when its number is the highest.
    fn drop_keyspace(&self, keyspace: Keyspace) -> Result<(), StoreError> {
        let drop = |keyspace| {
            self.database.delete_keyspace(keyspace).map_err(|error| StoreError::blocks("drop a block", error))
        };
        let mut anchor = self.anchor.lock();
        if keyspace.id() >= anchor.highest {
            let name = format!("{ANCHOR_PREFIX}{}", keyspace.id());
            let new = self.new_keyspace(&name, &mut anchor)?;
            if let Some(old) = anchor.keyspace.replace(new) {
                drop(old)?;
            }
        }
        drop(keyspace)
    }

    /// Writes a block that nobody has read from so far. `next` gives the chunks in the order of their series' numbers, and
    /// ends with `None`. A failed try leaves no block.
    pub(crate) fn write(
        &self,
        id: u64,
        next: impl FnMut() -> Result<Option<NewChunk>, StoreError>,
    ) -> Result<(Keyspace, Written), StoreError> {
        let keyspace = self.new_keyspace(&name_of(id), &mut self.anchor.lock())?;
        match ingest(&keyspace, next) {
            Ok(written) => Ok((keyspace, written)),
            Err(error) => {
                // What cannot be dropped is dropped when the store is opened again.
                let _ = self.drop_keyspace(keyspace);
                Err(error)
            }
        }
    }

    /// Frees the disk. Reads that are under way end undisturbed.
    pub(crate) fn drop_block(&self, block: &StoredBlock) -> Result<(), StoreError> {
        self.drop_keyspace(block.keyspace.clone())
    }
}

fn options() -> KeyspaceCreateOptions {
    // Chunks are compressed already, and a series that a read asks for is nearly always there.
    KeyspaceCreateOptions::default()
        .data_block_compression_policy(CompressionPolicy::disabled())
        .filter_policy(FilterPolicy::disabled())
        .expect_point_read_hits(true)
}

fn ingest(
    keyspace: &Keyspace,
    mut next: impl FnMut() -> Result<Option<NewChunk>, StoreError>,
) -> Result<Written, StoreError> {
    let failed = |error| StoreError::blocks("write a block", error);
    let mut written = Written::default();
    let mut ingestion = keyspace.start_ingestion().map_err(failed)?;
    while let Some(NewChunk { id, form, bytes, count }) = next()? {
        written.series += 1;
        written.bytes += bytes.len() as u64;
        match form {
            Form::Points => written.points += count as u64,
            Form::Sketches => {
                written.sketches += count as u64;
                written.sketch_bytes += bytes.len() as u64;
            }
        }
        ingestion.write(id.to_be_bytes(), bytes).map_err(failed)?;
    }
    ingestion.finish().map_err(failed)?;
    Ok(written)
}

impl StoredBlock {
    pub(crate) const fn new(meta: BlockMeta, keyspace: Keyspace) -> Self {
        Self { meta, keyspace }
    }

    pub(crate) const fn range(&self) -> TimeRange {
        self.meta.range
    }

    /// Pushes the points of a series that are in a range. Nothing is pushed unless all of them pass their checks.
    pub(crate) fn read(&self, id: SeriesId, range: TimeRange, out: &mut Points) -> Result<(), ChunkError> {
        if let Some(bytes) = self.chunk(id)? {
            chunk::decode(id, &bytes, range.from.millis(), range.until.millis(), out)?;
        }
        Ok(())
    }

    /// Puts in the sketches of a series that are in a range. None is put in unless all of them pass their checks.
    pub(crate) fn read_sketches(&self, id: SeriesId, range: TimeRange, out: &mut Sketches) -> Result<(), ChunkError> {
        if let Some(bytes) = self.chunk(id)? {
            sketch_chunk::decode(id, &bytes, range.from.millis(), range.until.millis(), out)?;
        }
        Ok(())
    }

    /// The chunk of a series as it is stored.
    pub(crate) fn chunk(&self, id: SeriesId) -> Result<Option<fjall::UserValue>, ChunkError> {
        Ok(self.keyspace.get(id.to_be_bytes())?)
    }

    /// All chunks, in the order of their series' numbers. What follows after an error is of no use.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = Result<(SeriesId, fjall::UserValue), ChunkError>> + use<> {
        self.keyspace.iter().map(|item| {
            let (key, chunk) = item.into_inner()?;
            Ok((series_of(&key)?, chunk))
        })
    }

    /// The numbers of all series that have points or sketches here, ascending.
    pub(crate) fn series(&self) -> Result<Vec<SeriesId>, ChunkError> {
        let mut series = Vec::new();
        for item in self.keyspace.iter() {
            series.push(series_of(&item.key()?)?);
        }
        Ok(series)
    }
}

fn series_of(key: &[u8]) -> Result<SeriesId, ChunkError> {
    let bytes = <[u8; 4]>::try_from(key).map_err(|_| ChunkError::Damaged("a key is not a number".into()))?;
    Ok(SeriesId::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use statline_series::Timestamp;

    fn meta(id: u64) -> BlockMeta {
        let range = TimeRange::new(Timestamp::from_millis(0), Timestamp::from_millis(1000));
        BlockMeta { id, tier: 0, range, series: 1, points: 1, bytes: 1, sketches: 0, sketch_bytes: 0 }
    }

    fn write(blocks: &Blocks, id: u64) -> StoredBlock {
        let mut points = Points::default();
        points.push(5, 1.5);
        let bytes = chunk::encode(7, &points).unwrap();
        let mut chunk = Some(NewChunk { id: 7, form: Form::Points, bytes, count: 1 });
        let (keyspace, written) = blocks.write(id, || Ok(chunk.take())).unwrap();
        assert_eq!((written.series, written.points), (1, 1));
        StoredBlock::new(meta(id), keyspace)
    }

    #[test]
    fn a_block_dropped_before_a_restart_does_not_take_the_next_one_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut metas = Vec::new();
        for round in 0..6 {
            let (blocks, opened) = Blocks::open(directory.path(), 1 << 20, &metas).unwrap();
            assert_eq!(opened.len(), metas.len());
            for block in &opened {
                let mut points = Points::default();
                block.read(7, TimeRange::ALL, &mut points).unwrap();
                assert_eq!(points.values, [1.5], "block {} in round {round}", block.meta.id);
            }
            write(&blocks, round * 10);
            metas.push(meta(round * 10));
            // Written last, and dropped in some rounds before and in others after the restart.
            let last = write(&blocks, round * 10 + 1);
            if round % 2 == 0 {
                blocks.drop_block(&last).unwrap();
            }
        }
    }

    #[test]
    fn a_directory_that_was_being_made_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join(DIRECTORY).join("keyspaces")).unwrap();
        fs::write(directory.path().join(DIRECTORY).join("0.jnl"), b"").unwrap();
        let (blocks, opened) = Blocks::open(directory.path(), 1 << 20, &[]).unwrap();
        assert!(opened.is_empty());
        write(&blocks, 0);
    }
}
