//! Copies of files and directories, durable where they have to be.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::StoreError;
use crate::sealed::sync_directory;

const PIECE_BYTES: usize = 1 << 16;

/// Copies the first bytes of an open file, durably; all of it when it is shorter. How much was copied.
pub(crate) fn copy_open(from: &mut File, most: u64, to: &Path) -> Result<u64, StoreError> {
    let (copy, length) = copy_bytes(from, most, to)?;
    copy.sync_all().map_err(|source| StoreError::io("write", to, source))?;
    Ok(length)
}

/// Copies bytes. Pieces of nothing but zeros take no room.
fn copy_bytes(from: &mut File, most: u64, to: &Path) -> Result<(File, u64), StoreError> {
    let mut copied = || {
        let mut target = File::create(to)?;
        from.seek(SeekFrom::Start(0))?;
        let mut from = from.take(most);
        let mut piece = vec![0; PIECE_BYTES];
        let nothing = vec![0; PIECE_BYTES];
        let mut length = 0_u64;
        loop {
            let read = from.read(&mut piece)?;
            if read == 0 {
                break;
            }
            length += read as u64;
            if piece[..read] == nothing[..read] {
                target.seek(SeekFrom::Start(length))?;
            } else {
                target.write_all(&piece[..read])?;
            }
        }
        target.set_len(length)?;
        Ok((target, length))
    };
    copied().map_err(|source| StoreError::io("write", to, source))
}

/// Copies a file, durably. Its length.
pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<u64, StoreError> {
    copy_open(&mut open(from)?, u64::MAX, to)
}

pub(crate) fn open(path: &Path) -> Result<File, StoreError> {
    File::open(path).map_err(|source| StoreError::io("open", path, source))
}

/// Copies a directory with all that is below it, durably. How many bytes there are.
pub(crate) fn copy_directory(from: &Path, to: &Path) -> Result<u64, StoreError> {
    let mut bytes = 0;
    make(to)?;
    for (path, is_directory) in entries(from)? {
        let target = to.join(path.file_name().unwrap_or_default());
        bytes += if is_directory { copy_directory(&path, &target)? } else { copy_file(&path, &target)? };
    }
    sync_directory(to)?;
    Ok(bytes)
}

/// What a directory holds, and whether it is a directory again, by name.
pub(crate) fn entries(directory: &Path) -> Result<Vec<(PathBuf, bool)>, StoreError> {
    let list = || {
        let entries = fs::read_dir(directory)?.map(|entry| entry.map(|entry| (entry.path(), entry.path().is_dir())));
        entries.collect::<io::Result<Vec<_>>>()
    };
    let mut entries = list().map_err(|source| StoreError::io("list", directory, source))?;
    entries.sort();
    Ok(entries)
}

pub(crate) fn make(directory: &Path) -> Result<(), StoreError> {
    fs::create_dir(directory).map_err(|source| StoreError::io("make directory", directory, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_the_same_byte_for_byte_and_a_prefix_ends_where_it_should() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let mut bytes = vec![7; 100];
        bytes.resize(3 * PIECE_BYTES + 5, 0);
        bytes[PIECE_BYTES * 2 + 1] = 9;
        fs::write(&from, &bytes).unwrap();
        assert_eq!(copy_file(&from, &to).unwrap(), bytes.len() as u64);
        assert_eq!(fs::read(&to).unwrap(), bytes);
        assert_eq!(copy_open(&mut File::open(&from).unwrap(), 70_000, &to).unwrap(), 70_000);
        assert_eq!(fs::read(&to).unwrap(), bytes[..70_000]);
    }
}
