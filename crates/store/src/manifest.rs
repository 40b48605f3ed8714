//! The manifest: which blocks there are, and which log files are in them already.
//!
//! It is replaced as a whole, so that a block appears in the same moment in which the log it was made of stops to count.
//! Layout in `docs/format/manifest.md`.

use std::path::Path;

use statline_series::{TimeRange, Timestamp};

use crate::StoreError;
use crate::bytes::{Malformed, Reader, put_signed, put_varint};
use crate::sealed::Seal;

pub(crate) const FILE_NAME: &str = "MANIFEST";
/// Version 2 knows of sketches.
const SEAL: Seal = Seal { magic: *b"STATMANI", version: 2 };

/// What is known of a block without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockMeta {
    /// Its number, given once. Of two blocks that hold the same instant, the higher one is newer.
    pub(crate) id: u64,
    /// Which resolution it holds: 0 for the points as they came.
    pub(crate) tier: u8,
    /// The span of its points.
    pub(crate) range: TimeRange,
    pub(crate) series: u64,
    pub(crate) points: u64,
    /// Its chunks together.
    pub(crate) bytes: u64,
    pub(crate) sketches: u64,
    /// The chunks of sketches together.
    pub(crate) sketch_bytes: u64,
}

/// The contents of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Numbers from here on belong to no series.
    pub(crate) next_series: u32,
    /// Numbers from here on belong to no block.
    pub(crate) next_block: u64,
    /// Numbers from here on belong to no log file.
    pub(crate) next_log: u64,
    /// Every batch up to this one was acknowledged or is nowhere.
    pub(crate) acknowledged: u64,
    pub(crate) blocks: Vec<BlockMeta>,
    /// Log files whose points are in blocks, which may still be there.
    pub(crate) dead_logs: Vec<u64>,
}

impl Manifest {
    /// The manifest of a directory; `None` when there is none.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>, StoreError> {
        let path = directory.join(FILE_NAME);
        let Some(contents) = SEAL.read(&path)? else { return Ok(None) };
        Self::decode(&contents).map(Some).map_err(|error| StoreError::damaged_file(&path, error.to_string()))
    }

    /// Takes the place of the one that was, durably.
    pub(crate) fn write(&self, directory: &Path) -> Result<(), StoreError> {
        SEAL.write(&directory.join(FILE_NAME), &self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, u64::from(self.next_series));
        put_varint(&mut out, self.next_block);
        put_varint(&mut out, self.next_log);
        put_varint(&mut out, self.acknowledged);
        put_varint(&mut out, self.blocks.len() as u64);
        for block in &self.blocks {
            put_varint(&mut out, block.id);
            out.push(block.tier);
            put_signed(&mut out, block.range.from.millis());
            put_signed(&mut out, block.range.until.millis());
            put_varint(&mut out, block.series);
            put_varint(&mut out, block.points);
            put_varint(&mut out, block.bytes);
        }
        put_varint(&mut out, self.dead_logs.len() as u64);
        self.dead_logs.iter().for_each(|number| put_varint(&mut out, *number));
        for block in &self.blocks {
            put_varint(&mut out, block.sketches);
            put_varint(&mut out, block.sketch_bytes);
        }
        out
    }

    fn decode(contents: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(contents);
        let mut manifest = Self {
            next_series: reader.varint_u32()?,
            next_block: reader.varint()?,
            next_log: reader.varint()?,
            acknowledged: reader.varint()?,
            blocks: Vec::new(),
            dead_logs: Vec::new(),
        };
        for _ in 0..reader.varint()? {
            manifest.blocks.push(BlockMeta {
                id: reader.varint()?,
                tier: reader.u8()?,
                range: TimeRange::new(
                    Timestamp::from_millis(reader.signed()?),
                    Timestamp::from_millis(reader.signed()?),
                ),
                series: reader.varint()?,
                points: reader.varint()?,
                bytes: reader.varint()?,
                sketches: 0,
                sketch_bytes: 0,
            });
        }
        for _ in 0..reader.varint()? {
            manifest.dead_logs.push(reader.varint()?);
        }
        // Version 1 ends here.
        if !reader.is_empty() {
            for block in &mut manifest.blocks {
                block.sketches = reader.varint()?;
                block.sketch_bytes = reader.varint()?;
            }
        }
        if reader.is_empty() { Ok(manifest) } else { Err(Malformed("it goes on after its end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(directory.path()).unwrap(), None);
        let range = TimeRange::new(Timestamp::from_millis(-5), Timestamp::from_millis(1 << 40));
        let mut manifest = Manifest {
            next_series: 7,
            next_block: 8,
            next_log: 9,
            acknowledged: 1 << 50,
            blocks: vec![BlockMeta {
                id: 3,
                tier: 0,
                range,
                series: 1,
                points: 2,
                bytes: 30,
                sketches: 4,
                sketch_bytes: 5,
            }],
            dead_logs: vec![1, 2],
        };
        manifest.write(directory.path()).unwrap();
        assert_eq!(Manifest::read(directory.path()).unwrap(), Some(manifest.clone()));

        let mut of_version_1 = manifest.encode();
        of_version_1.truncate(of_version_1.len() - 2);
        (manifest.blocks[0].sketches, manifest.blocks[0].sketch_bytes) = (0, 0);
        assert_eq!(Manifest::decode(&of_version_1), Ok(manifest));
    }
}
