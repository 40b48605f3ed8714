//! Blocks on disk: for each a file of its own, written once and dropped as a whole.
//!
//! A file counts from the moment in which the manifest names it. Those that it does not name were being written when the
//! process ended, or were about to be dropped, and go when the store is opened.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use statline_series::TimeRange;

use crate::block_file::{BlockError, BlockFile, BlockWriter, Chunks, Extent};
use crate::bytes::Malformed;
use crate::manifest::BlockMeta;
use crate::points::Points;
use crate::rollup::Rollups;
use crate::rollup_chunk::Columns;
use crate::sketch_column::Sketches;
use crate::{Form, SeriesId, StoreError, chunk, rollup_chunk, sketch_chunk};

pub(crate) const DIRECTORY: &str = "blocks";

/// Where the blocks of a store are.
pub(crate) struct Blocks {
    directory: PathBuf,
}

/// One block, readable until the last reference to it goes.
pub(crate) struct StoredBlock {
    pub(crate) meta: BlockMeta,
    /// The file, or why it cannot be read.
    file: Result<Arc<BlockFile>, String>,
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
    /// The system failed.
    Io(io::Error),
}

impl From<Malformed> for ChunkError {
    fn from(error: Malformed) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl From<BlockError> for ChunkError {
    fn from(error: BlockError) -> Self {
        match error {
            BlockError::Damaged(reason) => Self::Damaged(reason),
            BlockError::Io(error) => Self::Io(error),
        }
    }
}

/// The name of the file of a block.
pub(crate) fn name_of(id: u64) -> String {
    format!("{id:016}.block")
}

impl Blocks {
    /// Opens the blocks that the manifest names. One that is damaged is told, and is an error to whoever reads it.
    pub(crate) fn open(directory: &Path, metas: &[BlockMeta]) -> Result<(Self, Vec<Arc<StoredBlock>>), StoreError> {
        let directory = directory.join(DIRECTORY);
        fs::create_dir_all(&directory).map_err(|source| StoreError::io("make directory", &directory, source))?;
        let of_database = directory.join("keyspaces");
        if of_database.exists() && !metas.is_empty() {
            return Err(StoreError::TooOld { path: directory });
        }
        let blocks = Self { directory };
        blocks.tidy(metas)?;
        let opened = metas.iter().map(|meta| blocks.open_block(*meta)).collect::<Result<_, _>>()?;
        Ok((blocks, opened))
    }

    /// Removes files of blocks that are not named.
    fn tidy(&self, metas: &[BlockMeta]) -> Result<(), StoreError> {
        let named: BTreeSet<String> = metas.iter().map(|meta| name_of(meta.id)).collect();
        let failed = |source| StoreError::io("list", &self.directory, source);
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".block") && !named.contains(&*name) {
                fs::remove_file(&path).map_err(|source| StoreError::io("remove", &path, source))?;
            }
        }
        Ok(())
    }

    /// The directory of a store's blocks, of which nothing is removed.
    pub(crate) fn at_rest(directory: &Path) -> Self {
        Self { directory: directory.join(DIRECTORY) }
    }

    /// The names of all files of blocks that are there.
    pub(crate) fn names(&self) -> Result<Vec<String>, StoreError> {
        let failed = |source| StoreError::io("list", &self.directory, source);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    pub(crate) fn open_block(&self, meta: BlockMeta) -> Result<Arc<StoredBlock>, StoreError> {
        let path = self.directory.join(name_of(meta.id));
        let file = match BlockFile::open(&path) {
            Ok(file) => Ok(Arc::new(file)),
            Err(BlockError::Damaged(reason)) => {
                tracing::error!(path = %path.display(), reason, "a block is damaged; what is in it cannot be read");
                Err(format!("the file {} is damaged: {reason}", path.display()))
            }
            Err(BlockError::Io(source)) if source.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::damaged_file(&path, "it is missing, and the manifest names it"));
            }
            Err(BlockError::Io(source)) => return Err(StoreError::io("open", &path, source)),
        };
        Ok(Arc::new(StoredBlock { meta, file }))
    }

    /// Writes a block that nobody has read from so far. `next` gives the chunks in the order of their series' numbers, and
    /// ends with `None`. A failed try leaves no block.
    pub(crate) fn write(
        &self,
        id: u64,
        next: impl FnMut() -> Result<Option<NewChunk>, StoreError>,
    ) -> Result<(Arc<BlockFile>, Written), StoreError> {
        let path = self.directory.join(name_of(id));
        write_file(&path, next).inspect_err(|_| {
            // What cannot be removed is removed when the store is opened again.
            let _ = fs::remove_file(&path);
        })
    }

    /// Frees the disk. Reads that are under way end undisturbed.
    pub(crate) fn drop_block(&self, block: &StoredBlock) -> Result<(), StoreError> {
        let path = self.directory.join(name_of(block.meta.id));
        let removed = match &block.file {
            Ok(file) => file.remove(),
            Err(_) => fs::remove_file(&path),
        };
        removed.map_err(|source| StoreError::io("remove", &path, source))
    }
}

fn write_file(
    path: &Path,
    mut next: impl FnMut() -> Result<Option<NewChunk>, StoreError>,
) -> Result<(Arc<BlockFile>, Written), StoreError> {
    let failed = |source| StoreError::io("write", path, source);
    let mut written = Written::default();
    let mut file = BlockWriter::create(path).map_err(failed)?;
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
        file.write(id, &bytes).map_err(failed)?;
    }
    Ok((Arc::new(file.finish().map_err(failed)?), written))
}

impl StoredBlock {
    pub(crate) const fn new(meta: BlockMeta, file: Arc<BlockFile>) -> Self {
        Self { meta, file: Ok(file) }
    }

    pub(crate) const fn range(&self) -> TimeRange {
        self.meta.range
    }

    /// The same block under another entry of the manifest.
    pub(crate) fn with_meta(&self, meta: BlockMeta) -> Self {
        Self { meta, file: self.file.clone() }
    }

    /// Whether series of a policy may be in it. A block that was filed by other schemas may hold any.
    pub(crate) const fn may_hold(&self, policy: u32, schemas: u32) -> bool {
        self.meta.policy == policy || self.meta.filed_by != schemas
    }

    /// Pushes the rollups of a series whose slots begin in a range. Nothing is pushed unless all of them pass their checks.
    pub(crate) fn read_rollups(
        &self,
        id: SeriesId,
        range: TimeRange,
        wanted: Columns,
        out: &mut Rollups,
    ) -> Result<(), ChunkError> {
        if let Some(bytes) = self.chunk(id)? {
            rollup_chunk::decode(id, &bytes, (range.from.millis(), range.until.millis()), wanted, out)?;
        }
        Ok(())
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
    pub(crate) fn chunk(&self, id: SeriesId) -> Result<Option<Vec<u8>>, ChunkError> {
        Ok(self.file()?.chunk(id)?)
    }

    /// Where the chunks of series are, the quickest in the order of their numbers.
    pub(crate) fn extents(&self, ids: impl IntoIterator<Item = SeriesId>) -> Result<Vec<Option<Extent>>, ChunkError> {
        Ok(self.file()?.extents(ids)?)
    }

    /// Chunks as they are stored, the quickest in the order of their series.
    pub(crate) fn chunks(&self, extents: &[Option<Extent>]) -> Result<Chunks, ChunkError> {
        Ok(self.file()?.chunks(extents)?)
    }

    /// The numbers of all series that have points or sketches here, ascending.
    pub(crate) fn series(&self) -> Result<Vec<SeriesId>, ChunkError> {
        Ok(self.file()?.series()?)
    }

    /// Its file.
    pub(crate) fn file(&self) -> Result<&BlockFile, ChunkError> {
        self.file.as_deref().map_err(|reason| ChunkError::Damaged(reason.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use statline_series::Timestamp;

    fn meta(id: u64) -> BlockMeta {
        let range = TimeRange::new(Timestamp::from_millis(0), Timestamp::from_millis(1000));
        BlockMeta {
            id,
            order: id,
            step: None,
            policy: 0,
            filed_by: 0,
            range,
            series: 1,
            points: 1,
            bytes: 1,
            sketches: 0,
            sketch_bytes: 0,
        }
    }

    fn write(blocks: &Blocks, id: u64) -> StoredBlock {
        let mut points = Points::default();
        points.push(5, 1.5);
        let bytes = chunk::encode(7, &points).unwrap();
        let mut chunk = Some(NewChunk { id: 7, form: Form::Points, bytes, count: 1 });
        let (file, written) = blocks.write(id, || Ok(chunk.take())).unwrap();
        assert_eq!((written.series, written.points), (1, 1));
        StoredBlock::new(meta(id), file)
    }

    #[test]
    fn a_block_that_is_not_named_goes_and_one_that_is_dropped_is_read_to_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let (blocks, _) = Blocks::open(directory.path(), &[]).unwrap();
        let (kept, dropped) = (write(&blocks, 1), write(&blocks, 2));
        write(&blocks, 3);
        blocks.drop_block(&dropped).unwrap();
        for block in [&kept, &dropped] {
            let mut points = Points::default();
            block.read(7, TimeRange::ALL, &mut points).unwrap();
            assert_eq!(points.values, [1.5]);
        }
        let (_, opened) = Blocks::open(directory.path(), &[meta(1)]).unwrap();
        assert_eq!(opened[0].series().unwrap(), [7]);
        assert_eq!(fs::read_dir(directory.path().join(DIRECTORY)).unwrap().count(), 1);
        assert!(
            Blocks::open(directory.path(), &[meta(1), meta(2)])
                .is_err_and(|error| error.to_string().contains("missing"))
        );
    }

    #[test]
    fn a_damaged_file_is_an_error_to_whoever_reads_it() {
        let directory = tempfile::tempdir().unwrap();
        let (blocks, _) = Blocks::open(directory.path(), &[]).unwrap();
        write(&blocks, 1);
        let path = directory.path().join(DIRECTORY).join(name_of(1));
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        let (blocks, opened) = Blocks::open(directory.path(), &[meta(1)]).unwrap();
        assert!(matches!(opened[0].chunk(7), Err(ChunkError::Damaged(_))));
        assert!(matches!(opened[0].series(), Err(ChunkError::Damaged(_))));
        blocks.drop_block(&opened[0]).unwrap();
        assert!(!path.exists());
    }
}
