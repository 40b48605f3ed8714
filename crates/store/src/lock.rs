//! One process at a time: an advisory lock on a file in the store's directory, which the system lets go of when the
//! process ends, however it ends. The file holds the process's id, for whoever finds it locked.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::StoreError;

pub(crate) const FILE_NAME: &str = "LOCK";

/// A store's directory, held until dropped.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Takes the directory, which must exist.
    pub(crate) fn acquire(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(FILE_NAME);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|source| not_writable(directory, &path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { path: directory.to_owned(), pid: read_pid(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(StoreError::io("lock", &path, source)),
        }
        write_pid(&mut file).map_err(|source| not_writable(directory, &path, source))?;
        Ok(Self { file })
    }
}

/// Takes the directory for one who only reads. `None` where nothing can be written, and so nobody writes.
pub(crate) fn acquire_to_read(directory: &Path) -> Result<Option<DirectoryLock>, StoreError> {
    match DirectoryLock::acquire(directory) {
        Ok(lock) => Ok(Some(lock)),
        Err(StoreError::NotWritable { .. }) => {
            let path = directory.join(FILE_NAME);
            let Ok(mut file) = File::open(&path) else { return Ok(None) };
            match file.try_lock() {
                Ok(()) => Ok(Some(DirectoryLock { file })),
                Err(TryLockError::WouldBlock) => {
                    Err(StoreError::Locked { path: directory.to_owned(), pid: read_pid(&mut file) })
                }
                Err(TryLockError::Error(source)) => Err(StoreError::io("lock", &path, source)),
            }
        }
        Err(error) => Err(error),
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing the file would not do while a process that was just forked from this one holds a copy of it. When this
        // fails, closing is all that is left.
        let _ = self.file.unlock();
    }
}

/// Who holds the lock; what is no number was being written just then.
fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

fn not_writable(directory: &Path, path: &Path, source: std::io::Error) -> StoreError {
    match source.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::NotWritable { path: directory.to_owned(), source }
        }
        _ => StoreError::io("open", path, source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_learns_who_is_first() {
        let directory = tempfile::tempdir().unwrap();
        let held = DirectoryLock::acquire(directory.path()).unwrap();
        let refused = DirectoryLock::acquire(directory.path()).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("store directory {} is in use by process {}", directory.path().display(), std::process::id())
        );
        let copy = held.file.try_clone().unwrap();
        drop(held);
        DirectoryLock::acquire(directory.path()).expect("a copy, as a forked process has, holds nothing");
        drop(copy);
    }
}
