//! The manifest: which blocks there are, and which log files are in them already.
//!
//! It is replaced as a whole, so that a block appears in the same moment in which the log it was made of stops to count.
//! Layout in `docs/format/manifest.md`.

use std::path::Path;

use statline_series::{Step, TimeRange, Timestamp};

use crate::StoreError;
use crate::bytes::{Malformed, Reader, put_signed, put_varint};
use crate::schema::{Policy, Tier};
use crate::sealed::Seal;

pub(crate) const FILE_NAME: &str = "MANIFEST";
/// Version 2 knows of sketches, version 3 of tiers.
const SEAL: Seal = Seal { magic: *b"STATMANI", version: 3 };

/// What is known of a block without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockMeta {
    /// Its number, given once.
    pub(crate) id: u64,
    /// Of two blocks that hold a point of the same instant, that of the higher one counts. A block that was made of others
    /// has the highest of theirs.
    pub(crate) order: u64,
    /// The step of its rollups; `None` when it holds the points as they came.
    pub(crate) step: Option<Step>,
    /// Which of the manifest's policies the series in it have.
    pub(crate) policy: u32,
    /// The schemas by which that was found.
    pub(crate) filed_by: u32,
    /// The span of its points, or of the slots of its rollups.
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
    /// The tiers of the series of blocks.
    pub(crate) policies: Vec<Policy>,
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
            // Once the number of a tier.
            out.push(0);
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
        put_varint(&mut out, self.policies.len() as u64);
        for policy in &self.policies {
            put_varint(&mut out, policy.tiers().len() as u64);
            for tier in policy.tiers() {
                put_signed(&mut out, tier.step.millis());
                put_signed(&mut out, tier.retention);
            }
        }
        for block in &self.blocks {
            put_varint(&mut out, block.order);
            put_signed(&mut out, block.step.map_or(0, Step::millis));
            put_varint(&mut out, u64::from(block.policy));
            out.extend_from_slice(&block.filed_by.to_le_bytes());
        }
        out
    }

    /// The number of a policy, which is put into the list when it is not there.
    pub(crate) fn number_of(&mut self, policy: &Policy) -> u32 {
        let known = self.policies.iter().position(|known| known == policy);
        let number = known.unwrap_or_else(|| {
            self.policies.push(policy.clone());
            self.policies.len() - 1
        });
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    fn decode(contents: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(contents);
        let mut manifest = Self {
            next_series: reader.varint_u32()?,
            next_block: reader.varint()?,
            next_log: reader.varint()?,
            acknowledged: reader.varint()?,
            blocks: Vec::new(),
            policies: Vec::new(),
            dead_logs: Vec::new(),
        };
        for _ in 0..reader.varint()? {
            let id = reader.varint()?;
            let _ = reader.u8()?;
            manifest.blocks.push(BlockMeta {
                id,
                // Before version 3 all blocks were of points, and none was filed.
                order: id,
                step: None,
                policy: 0,
                filed_by: 0,
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
        // Version 2 ends here.
        if !reader.is_empty() {
            manifest.decode_tiers(&mut reader)?;
        }
        if reader.is_empty() { Ok(manifest) } else { Err(Malformed("it goes on after its end")) }
    }

    fn decode_tiers(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        const NO_POLICY: Malformed = Malformed("the tiers of a policy do not go together");
        for _ in 0..reader.varint()? {
            let mut tiers = Vec::new();
            for _ in 0..reader.varint()? {
                let step = Step::from_millis(reader.signed()?).ok_or(NO_POLICY)?;
                tiers.push(Tier { step, retention: reader.signed()? });
            }
            self.policies.push(Policy::new(tiers).map_err(|_| NO_POLICY)?);
        }
        for block in &mut self.blocks {
            block.order = reader.varint()?;
            block.step = Step::from_millis(reader.signed()?);
            block.policy = reader.varint_u32()?;
            block.filed_by = reader.u32()?;
            if block.filed_by != 0 && block.policy as usize >= self.policies.len() {
                return Err(Malformed("a block is of a policy that is not there"));
            }
        }
        Ok(())
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
                order: 2,
                step: Step::from_millis(60_000),
                policy: 0,
                filed_by: 77,
                range,
                series: 1,
                points: 2,
                bytes: 30,
                sketches: 4,
                sketch_bytes: 5,
            }],
            policies: Vec::new(),
            dead_logs: vec![1, 2],
        };
        assert_eq!(manifest.number_of(&"10s:6h,1m:5y".parse().unwrap()), 0);
        assert_eq!(manifest.number_of(&"10s:6h".parse().unwrap()), 1);
        assert_eq!(manifest.number_of(&"10s:6h,1m:5y".parse().unwrap()), 0);
        manifest.write(directory.path()).unwrap();
        assert_eq!(Manifest::read(directory.path()).unwrap(), Some(manifest.clone()));

        let block = &mut manifest.blocks[0];
        (block.order, block.step, block.filed_by) = (3, None, 0);
        manifest.policies.clear();
        let mut older = manifest.encode();
        // One byte for the number of policies, then order, step, policy and schemas of the block.
        older.truncate(older.len() - 1 - (1 + 1 + 1 + 4));
        assert_eq!(Manifest::decode(&older), Ok(manifest.clone()));
        older.truncate(older.len() - 2);
        (manifest.blocks[0].sketches, manifest.blocks[0].sketch_bytes) = (0, 0);
        assert_eq!(Manifest::decode(&older), Ok(manifest));
    }
}
