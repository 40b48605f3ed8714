//! Backups that a running daemon makes of its store, each under a name in one directory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use statline_store::{Backup, EmbeddedStore, StoreError};
use thiserror::Error;
use tokio::sync::Mutex;

use crate::clock;

/// The longest name of a backup, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// Why there is no backup, in one line.
#[derive(Debug, Error)]
pub enum BackupError {
    /// There is no directory for them.
    #[error("store.backup_path is not set; set it to a directory that backups may be written into")]
    NotConfigured,
    /// The name would not be a file's.
    #[error(
        "a backup's name has up to {MAX_NAME_BYTES} letters, digits and any of . _ - and begins with none of these, got {0:?}"
    )]
    BadName(String),
    /// One at a time.
    #[error("a backup is under way; ask again when it is done")]
    UnderWay,
    /// The directory for them.
    #[error("store.backup_path: could not make {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Where it is.
    pub directory: PathBuf,
    /// Series of points and of sketches.
    pub series: u64,
    /// Blocks.
    pub blocks: u64,
    /// Points in them.
    pub points: u64,
    /// Sketches in them.
    pub sketches: u64,
    /// Log files.
    pub logs: u64,
    /// All of it in bytes, but for the indexes of blocks.
    pub bytes: u64,
    /// Chunks that are damaged and were left out.
    pub damaged_chunks: u64,
}

impl Made {
    /// What was written into a directory.
    pub fn new(directory: &Path, backup: &Backup) -> Self {
        let Backup { series, blocks, points, sketches, logs, bytes, damaged_chunks } = *backup;
        Self { directory: directory.to_owned(), series, blocks, points, sketches, logs, bytes, damaged_chunks }
    }
}

/// Makes backups of one store. Cheap to clone.
#[derive(Clone)]
pub struct Backups {
    store: Arc<EmbeddedStore>,
    directory: PathBuf,
    under_way: Arc<Mutex<()>>,
}

impl Backups {
    /// Backups into a directory; an empty path is none.
    pub fn new(store: Arc<EmbeddedStore>, directory: PathBuf) -> Self {
        Self { store, directory, under_way: Arc::default() }
    }

    /// Makes one under a name, or under the time. It goes on when nobody waits for it any more.
    ///
    /// # Errors
    /// When there is no directory for it, the name is taken or is none, another one is under way, or it failed.
    pub async fn make(&self, name: Option<&str>) -> Result<Made, BackupError> {
        if self.directory.as_os_str().is_empty() {
            return Err(BackupError::NotConfigured);
        }
        let name = match name {
            Some(name) => check_name(name)?.to_owned(),
            None => name_of_now(),
        };
        let Ok(under_way) = Arc::clone(&self.under_way).try_lock_owned() else { return Err(BackupError::UnderWay) };
        let (store, directory) = (Arc::clone(&self.store), self.directory.clone());
        let making = tokio::spawn(async move {
            let _under_way = under_way;
            make_directory(&directory)?;
            let target = directory.join(name);
            let backup = store.backup(&target).await?;
            tracing::info!(directory = %target.display(), bytes = backup.bytes, "made a backup");
            Ok(Made::new(&target, &backup))
        });
        making.await.unwrap_or(Err(BackupError::Store(StoreError::Panicked("make a backup"))))
    }
}

/// Makes the directory that backups are put into.
pub fn make_directory(directory: &Path) -> Result<(), BackupError> {
    std::fs::create_dir_all(directory).map_err(|source| BackupError::Directory { path: directory.to_owned(), source })
}

/// A name that is one file's, in the directory that it is put into.
pub fn check_name(name: &str) -> Result<&str, BackupError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let begins_well = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if begins_well && name.len() <= MAX_NAME_BYTES && name.bytes().all(is_plain) {
        Ok(name)
    } else {
        Err(BackupError::BadName(name.chars().take(MAX_NAME_BYTES).collect()))
    }
}

fn name_of_now() -> String {
    let now = DateTime::<Utc>::from_timestamp_millis(clock::now().millis()).unwrap_or_default();
    now.format("statline-%Y%m%d-%H%M%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_out_of_the_directory() {
        for (name, is_good) in [
            ("nightly", true),
            ("2026-11-25_03.00", true),
            ("", false),
            (".", false),
            ("..", false),
            (".hidden", false),
            ("a/b", false),
            ("/etc", false),
            ("a\\b", false),
            ("a\0", false),
            ("\u{e4}", false),
            (&"x".repeat(101), false),
        ] {
            assert_eq!(check_name(name).is_ok(), is_good, "{name:?}");
        }
        assert!(check_name(&name_of_now()).is_ok());
    }

    #[tokio::test]
    async fn backups_are_made_one_at_a_time_under_names_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let config = statline_store::EmbeddedConfig::at(directory.path().join("store"));
        let store = Arc::new(EmbeddedStore::open(config).unwrap());
        let none = Backups::new(Arc::clone(&store), PathBuf::new());
        assert!(matches!(none.make(None).await, Err(BackupError::NotConfigured)));
        let backups = Backups::new(store, directory.path().join("backups"));
        let made = backups.make(Some("first")).await.unwrap();
        assert_eq!(made.directory, directory.path().join("backups/first"));
        assert!(made.directory.join("MANIFEST").exists());
        assert!(matches!(backups.make(Some("first")).await, Err(BackupError::Store(StoreError::Occupied { .. }))));
        assert!(matches!(backups.make(Some("../out")).await, Err(BackupError::BadName(_))));
        let _under_way = backups.under_way.lock().await;
        assert!(matches!(backups.make(None).await, Err(BackupError::UnderWay)));
    }
}
