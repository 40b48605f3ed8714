//! Small files that are written whole: magic, version, checksum, contents.
//!
//! A new one takes the place of the old by renaming, so that a reader finds one or the other, never half of either.
//! Layout in `docs/format/manifest.md`.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::StoreError;
use crate::bytes::Reader;

const HEADER_BYTES: usize = 8 + 2 + 2 + 4 + 8;

/// What kind of file it is.
pub(crate) struct Seal {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u16,
}

impl Seal {
    /// Puts `contents` in the place of what `path` held, durably.
    pub(crate) fn write(&self, path: &Path, contents: &[u8]) -> Result<(), StoreError> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + contents.len());
        bytes.extend_from_slice(&self.magic);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&crc32fast::hash(contents).to_le_bytes());
        bytes.extend_from_slice(&(contents.len() as u64).to_le_bytes());
        bytes.extend_from_slice(contents);

        let temporary = path.with_extension("new");
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
        written.map_err(|source| StoreError::io("write", &temporary, source))?;
        fs::rename(&temporary, path).map_err(|source| StoreError::io("replace", path, source))?;
        sync_directory(path.parent().unwrap_or(Path::new(".")))
    }

    /// What `path` holds; `None` when there is no such file.
    pub(crate) fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(source) if source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StoreError::io("read", path, source)),
        };
        let damaged = |reason: &str| StoreError::damaged_file(path, reason);
        let mut reader = Reader::new(&bytes);
        let header = (|| Ok((reader.take(8)?, reader.u16()?, reader.u16()?, reader.u32()?, reader.u64()?)))();
        let (magic, version, _, checksum, length) =
            header.map_err(|_: crate::bytes::Malformed| damaged("it is shorter than its header"))?;
        if magic != self.magic {
            return Err(damaged("it does not begin with its magic bytes"));
        }
        if version > self.version {
            return Err(StoreError::TooNew { path: path.to_owned(), found: version, known: self.version });
        }
        let contents = &bytes[HEADER_BYTES..];
        if contents.len() as u64 != length {
            return Err(damaged("its length is not the one it names"));
        }
        if crc32fast::hash(contents) != checksum {
            return Err(damaged("its checksum does not match"));
        }
        Ok(Some(contents.to_vec()))
    }
}

/// Makes creations, renames and removals in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|source| StoreError::io("sync", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEAL: Seal = Seal { magic: *b"TESTSEAL", version: 2 };

    #[test]
    fn every_flipped_bit_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("FILE");
        assert_eq!(SEAL.read(&path).unwrap(), None);
        SEAL.write(&path, b"contents").unwrap();
        assert_eq!(SEAL.read(&path).unwrap().as_deref(), Some(&b"contents"[..]));
        let good = fs::read(&path).unwrap();
        for bit in 0..good.len() * 8 {
            // The two bytes of padding carry nothing, and an older version is this one's to read.
            if (10..12).contains(&(bit / 8)) || bit == 8 * 8 + 1 {
                continue;
            }
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, bad).unwrap();
            assert!(SEAL.read(&path).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("FILE");
        Seal { magic: SEAL.magic, version: 3 }.write(&path, b"").unwrap();
        let error = SEAL.read(&path).unwrap_err().to_string();
        assert!(error.contains("has format version 3, and this program knows versions up to 2"), "{error}");
    }
}
