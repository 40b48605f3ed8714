//! Copies of files and directories, durable where they have to be.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::StoreError;
use crate::sealed::sync_directory;

const PIECE_BYTES: usize = 1 << 16;
/// The directories of the key-value engine whose files are never changed once they are written.
const IMMUTABLE: [&str; 2] = ["tables", "blobs"];

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

/// A directory of the engine to look into while the original stays as it is. Opening one may remove files that the engine
/// takes for left over, which, when it is damaged, may be those that matter. Large files are links; gone when dropped.
pub(crate) struct Look {
    path: PathBuf,
}

impl Look {
    /// Of all files, or without the directories that `skips` names.
    pub(crate) fn at(directory: &Path, skips: &dyn Fn(&Path) -> bool) -> Result<Self, StoreError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("statline-look-{}-{number}", std::process::id()));
        let original = fs::canonicalize(directory).map_err(|source| StoreError::io("read", directory, source))?;
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|source| StoreError::io("make directory", &path, source))?;
        let look = Self { path };
        link_below(&original, &look.path, skips)?;
        Ok(look)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn link_below(from: &Path, to: &Path, skips: &dyn Fn(&Path) -> bool) -> Result<(), StoreError> {
    let is_immutable = from.file_name().is_some_and(|name| IMMUTABLE.iter().any(|immutable| name == *immutable));
    for (path, is_directory) in entries(from)? {
        let target = to.join(path.file_name().unwrap_or_default());
        if is_directory {
            if !skips(&path) {
                make(&target)?;
                link_below(&path, &target, skips)?;
            }
        } else if is_immutable {
            symlink(&path, &target).map_err(|source| StoreError::io("link", &target, source))?;
        } else {
            copy_bytes(&mut open(&path)?, u64::MAX, &target)?;
        }
    }
    Ok(())
}

impl Drop for Look {
    fn drop(&mut self) {
        // What stays is in the system's directory for what may go.
        let _ = fs::remove_dir_all(&self.path);
    }
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

    #[test]
    fn what_is_removed_from_a_look_stays_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let tables = directory.path().join("keyspaces/1/tables");
        fs::create_dir_all(&tables).unwrap();
        fs::write(tables.join("0"), b"table").unwrap();
        fs::write(directory.path().join("version"), b"3").unwrap();
        let look = Look::at(directory.path(), &|_| false).unwrap();
        let path = look.path().to_owned();
        assert_eq!(fs::read(path.join("keyspaces/1/tables/0")).unwrap(), b"table");
        fs::remove_file(path.join("keyspaces/1/tables/0")).unwrap();
        fs::write(path.join("version"), b"4").unwrap();
        drop(look);
        assert!(!path.exists());
        assert_eq!(fs::read(tables.join("0")).unwrap(), b"table");
        assert_eq!(fs::read(directory.path().join("version")).unwrap(), b"3");
    }
}
