//! A file that only grows: a header with magic and version, then records, each durable when `append` returns.
//!
//! The catalogue and the events are kept this way. A write that fails is cut off again before anything else is written.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::StoreError;
use crate::bytes::{Malformed, Reader};
use crate::record::{self, Found, Record, Records};
use crate::sealed::sync_directory;

const HEADER_BYTES: u64 = 8 + 2 + 2;
const VERSION_OFFSET: u64 = 8;

/// What kind of file it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u16,
}

impl Format {
    fn header(self) -> Vec<u8> {
        let mut header = self.magic.to_vec();
        header.extend_from_slice(&self.version.to_le_bytes());
        header.extend_from_slice(&[0; 2]);
        header
    }
}

/// The file, open for writing at its end.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    format: Format,
    file: File,
    length: u64,
    /// The version that the file names.
    version: u16,
    /// Whether the file may hold, after `length`, some of a write that failed.
    unclean: bool,
}

/// What reading the file showed, beside its records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The file does not begin with its magic bytes. Records say for themselves that they are good.
    pub(crate) bad_header: bool,
    pub(crate) corrupt_records: u64,
    pub(crate) torn_tail: bool,
}

impl Journal {
    /// Opens a file, makes it when there is none, and tells its records in order.
    pub(crate) fn open(
        path: PathBuf,
        format: Format,
        mut take: impl FnMut(Record) -> Result<(), Malformed>,
    ) -> Result<(Self, Damage), StoreError> {
        let io = |doing, source| StoreError::io(doing, &path, source);
        let mut file =
            OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(|source| io("open", source))?;
        let found = file.metadata().map_err(|source| io("read", source))?.len();
        let mut damage = Damage::default();
        if found < HEADER_BYTES {
            // A crash while it was made: nothing can have been acknowledged.
            let made = file.set_len(0).and_then(|()| file.write_all(&format.header())).and_then(|()| file.sync_all());
            made.map_err(|source| io("write", source))?;
            sync_directory(path.parent().unwrap_or(Path::new(".")))?;
            let version = format.version;
            return Ok((Self { path, format, file, length: HEADER_BYTES, version, unclean: false }, damage));
        }
        let mut header = [0; HEADER_BYTES as usize];
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.read_exact(&mut header))
            .map_err(|source| io("read", source))?;
        damage.bad_header = !header.starts_with(&format.magic);
        let version = Reader::new(&header[VERSION_OFFSET as usize..]).u16().unwrap_or(format.version);
        if version > format.version && !damage.bad_header {
            return Err(StoreError::TooNew { path, found: version, known: format.version });
        }
        let reading = file.try_clone().map_err(|source| io("read", source))?;
        let mut records = Records::of(&path, reading, HEADER_BYTES)?;
        while let Some(record) = records.next()? {
            if take(record).is_err() {
                damage.corrupt_records += 1;
            }
        }
        damage.corrupt_records += records.corrupt;
        let mut length = found;
        if let Some(torn_at) = records.torn_at {
            damage.torn_tail = true;
            length = torn_at;
            file.set_len(length).and_then(|()| file.sync_all()).map_err(|source| io("truncate", source))?;
        }
        Ok((Self { path, format, file, length, version, unclean: false }, damage))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Writes a record durably, or nothing of it.
    pub(crate) fn append(&mut self, sequence: u64, parts: u32, payload: &[u8]) -> Result<(), StoreError> {
        self.clean()?;
        let mut bytes = Vec::new();
        let written = record::encode(&mut bytes, sequence, parts, 0, payload)
            .and_then(|()| self.file.write_all(&bytes))
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.length += bytes.len() as u64;
                Ok(())
            }
            Err(source) => {
                // The next append tries again, and is refused until it works.
                let _ = self.roll_back(self.length);
                Err(StoreError::io("write", &self.path, source))
            }
        }
    }

    /// Cuts the file back to a length it had, durably. What fails is tried again by [`Journal::clean`].
    pub(crate) fn roll_back(&mut self, length: u64) -> Result<(), StoreError> {
        self.length = length;
        self.unclean = true;
        self.clean()
    }

    /// Cuts off what a failed write left.
    pub(crate) fn clean(&mut self) -> Result<(), StoreError> {
        if self.unclean {
            self.file
                .set_len(self.length)
                .and_then(|()| self.file.sync_data())
                .map_err(|source| StoreError::io("truncate", &self.path, source))?;
            self.unclean = false;
        }
        Ok(())
    }

    /// Names the newest version in the header of a file that was begun by an older program, durably.
    pub(crate) fn raise_version(&mut self) -> Result<(), StoreError> {
        if self.version == self.format.version {
            return Ok(());
        }
        let raise = || {
            let mut file = OpenOptions::new().write(true).open(&self.path)?;
            file.seek(SeekFrom::Start(VERSION_OFFSET))?;
            file.write_all(&self.format.version.to_le_bytes())?;
            file.sync_data()
        };
        raise().map_err(|source| StoreError::io("write", &self.path, source))?;
        self.version = self.format.version;
        Ok(())
    }

    /// Puts a file with just these records in the place of this one, durably and at once.
    pub(crate) fn replace(&mut self, sequence: u64, payloads: impl Iterator<Item = Vec<u8>>) -> Result<(), StoreError> {
        let temporary = self.path.with_extension("new");
        let mut length = HEADER_BYTES;
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&self.format.header())?;
            let mut bytes = Vec::new();
            for payload in payloads {
                bytes.clear();
                record::encode(&mut bytes, sequence, 1, 0, &payload)?;
                file.write_all(&bytes)?;
                length += bytes.len() as u64;
            }
            file.sync_all()?;
            drop(file);
            OpenOptions::new().read(true).append(true).open(&temporary)
        };
        let file = write().map_err(|source| StoreError::io("write", &temporary, source))?;
        fs::rename(&temporary, &self.path).map_err(|source| StoreError::io("replace", &self.path, source))?;
        (self.file, self.length, self.version, self.unclean) = (file, length, self.format.version, false);
        sync_directory(self.path.parent().unwrap_or(Path::new(".")))
    }
}

/// Tells all that is in a file, which stays as it is; `false` when there is none.
pub(crate) fn inspect(
    path: &Path,
    format: Format,
    mut found: impl FnMut(Found) -> Result<(), StoreError>,
) -> Result<bool, StoreError> {
    let io = |doing, source| StoreError::io(doing, path, source);
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(io("open", source)),
    };
    let mut header = [0; HEADER_BYTES as usize];
    match file.read_exact(&mut header) {
        Ok(()) if !header.starts_with(&format.magic) => found(Found::BadHeader)?,
        Ok(()) => {
            let version = Reader::new(&header[VERSION_OFFSET as usize..]).u16().unwrap_or(format.version);
            if version > format.version {
                return Err(StoreError::TooNew { path: path.to_owned(), found: version, known: format.version });
            }
        }
        // Cut short while it was made, which its records will tell.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
        Err(source) => return Err(io("read", source)),
    }
    Records::of(path, file, HEADER_BYTES)?.tell(found)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Format = Format { magic: *b"TESTJOUR", version: 2 };

    /// Sequences and payloads, and what was wrong.
    fn read(path: &Path) -> (Vec<(u64, Vec<u8>)>, Damage) {
        let mut read = Vec::new();
        let (_, damage) = Journal::open(path.to_owned(), FORMAT, |record| {
            read.push((record.sequence, record.payload));
            Ok(())
        })
        .unwrap();
        (read, damage)
    }

    fn journal(path: &Path) -> Journal {
        let mut journal = Journal::open(path.to_owned(), FORMAT, |_| Ok(())).unwrap().0;
        journal.append(1, 1, b"one").unwrap();
        journal.append(2, 3, b"two").unwrap();
        journal
    }

    #[test]
    fn records_read_back_and_a_torn_tail_is_dropped_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let length = journal(&path).length();
        let both = vec![(1, b"one".to_vec()), (2, b"two".to_vec())];
        assert_eq!(read(&path), (both, Damage::default()));
        OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
        let one = vec![(1, b"one".to_vec())];
        assert_eq!(read(&path), (one.clone(), Damage { torn_tail: true, ..Damage::default() }));
        assert_eq!(read(&path), (one, Damage::default()));
    }

    #[test]
    fn what_is_rolled_back_was_never_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut journal = journal(&path);
        let before = journal.length();
        journal.append(3, 1, b"three").unwrap();
        journal.roll_back(before).unwrap();
        journal.append(4, 1, b"four").unwrap();
        assert_eq!(read(&path).0.last(), Some(&(4, b"four".to_vec())));
    }

    #[test]
    fn a_replaced_file_holds_what_it_was_replaced_by_and_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        let mut journal = journal(&path);
        journal.replace(2, [b"both".to_vec()].into_iter()).unwrap();
        assert_eq!(journal.length(), fs::metadata(&path).unwrap().len());
        journal.append(3, 1, b"three").unwrap();
        assert_eq!(read(&path), (vec![(2, b"both".to_vec()), (3, b"three".to_vec())], Damage::default()));
    }

    #[test]
    fn a_newer_version_is_named_an_older_one_raised_and_a_spoilt_header_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal");
        drop(journal(&path));
        let with_version = |version| {
            let mut bytes = fs::read(&path).unwrap();
            bytes[VERSION_OFFSET as usize] = version;
            fs::write(&path, bytes).unwrap();
        };
        with_version(1);
        let mut older = Journal::open(path.clone(), FORMAT, |_| Ok(())).unwrap().0;
        older.raise_version().unwrap();
        assert_eq!(fs::read(&path).unwrap()[VERSION_OFFSET as usize], 2);
        with_version(3);
        let refusal = Journal::open(path.clone(), FORMAT, |_| Ok(())).unwrap_err();
        assert!(matches!(refusal, StoreError::TooNew { found: 3, known: 2, .. }));
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1;
        fs::write(&path, bytes).unwrap();
        let (records, damage) = read(&path);
        assert_eq!((records.len(), damage), (2, Damage { bad_header: true, ..Damage::default() }));
    }
}
