//! What can go wrong in a store, in variants that a caller could act on.

use std::io;
use std::path::{Path, PathBuf};

use statline_series::{SeriesKey, TimeRange};
use thiserror::Error;

/// Why the store did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the directory open.
    #[error("store directory {} is in use by {}", path.display(), match pid { Some(pid) => format!("process {pid}"), None => "another process".to_owned() })]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who has it, when that is known.
        pid: Option<u32>,
    },
    /// A file was written by a newer version of this program.
    #[error("{} has format version {found}, and this program knows versions up to {known}; use a newer one", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The version it names.
        found: u16,
        /// The newest version known here.
        known: u16,
    },
    /// The blocks were written by a version of this program that kept them in a database.
    #[error("{} holds blocks of a version before 0.1, which kept them in a database; begin with an empty directory", path.display())]
    TooOld {
        /// The directory of the blocks.
        path: PathBuf,
    },
    /// The directory is not what a store is kept in.
    #[error("{} is no store: it has no MANIFEST", path.display())]
    NoStore {
        /// The directory.
        path: PathBuf,
    },
    /// Something would have to be overwritten.
    #[error("{} is there already and is not empty; name a directory that is absent or empty", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
    },
    /// The directory cannot be written to.
    #[error("store directory {} is not writable: {source}", path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no room left. Nothing of the batch was kept; the store goes on when there is room.
    #[error("no space left to write {}", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// The system refused something.
    #[error("could not {doing} {}: {source}", path.display())]
    Io {
        /// What was being done, as in "could not … the file".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file without which the store cannot be opened fails its checks.
    #[error("{} is damaged: {reason}", path.display())]
    DamagedFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Stored points of a series fail their checks. No value of them was given out.
    #[error("the stored points of {series} from {} to {} are damaged: {reason}", range.from, range.until)]
    DamagedChunk {
        /// The series.
        series: SeriesKey,
        /// The block that holds them.
        range: TimeRange,
        /// What is wrong with them.
        reason: String,
    },
    /// The blocks on disk could not be read or written.
    #[error("could not {doing}: {source}")]
    Blocks {
        /// What was being done.
        doing: &'static str,
        /// What was said of it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A fetch selects too many series.
    #[error("the query selects {selected} series, more than its limit of {limit}; narrow the selection")]
    TooManySeries {
        /// How many.
        selected: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// A fetch would touch too many points.
    #[error(
        "the query would read {wanted} points, more than its limit of {limit}; shorten the range or select fewer series"
    )]
    TooManyPoints {
        /// How many, at least.
        wanted: u64,
        /// How many are allowed.
        limit: usize,
    },
    /// So many points wait to be written to blocks that no more are taken into memory.
    #[error("the head holds {held} bytes, more than {limit}, and blocks are not being written fast enough")]
    HeadFull {
        /// What is held.
        held: u64,
        /// What may be held.
        limit: u64,
    },
    /// A setting makes no sense.
    #[error("{0}")]
    BadConfig(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The caller went away before the answer was ready.
    #[error("the read was cancelled")]
    Cancelled,
    /// A thread of the store panicked; what it was doing did not happen.
    #[error("the store failed while it tried to {0}")]
    Panicked(&'static str),
}

impl StoreError {
    /// An I/O error with its circumstances. A full disk becomes [`StoreError::DiskFull`].
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path: path.to_owned() },
            _ => Self::Io { doing, path: path.to_owned(), source },
        }
    }

    pub(crate) fn blocks(doing: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Blocks { doing, source: Box::new(source) }
    }

    pub(crate) fn damaged_file(path: &Path, reason: impl Into<String>) -> Self {
        Self::DamagedFile { path: path.to_owned(), reason: reason.into() }
    }
}
