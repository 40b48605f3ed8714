//! The backup: a store directory of its own, as the store was at one moment, made while the store goes on.
//!
//! For a moment nobody appends: the lengths of the files that grow are noted, and references to all blocks taken. Then the
//! files are copied up to those lengths, which is what a crash at that moment would have left. Last, each block is written
//! anew, chunk by chunk as they are, so that damage is found; blocks that are dropped meanwhile stay readable until they are
//! copied.
//!
//! A backup appears under its name when all of it is on disk; until then the name ends in `.partial`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::block::{Blocks, NewChunk, StoredBlock};
use crate::check::{self, Checked, Finding, is_store};
use crate::copy::{copy_directory, copy_file, copy_open, entries, make, open};
use crate::embedded::Inner;
use crate::manifest::{self, BlockMeta, Manifest};
use crate::scan::Scan;
use crate::sealed::sync_directory;
use crate::{Form, SeriesId, StoreError, block, catalogue, chunk, events, lock, log, seen};

/// What a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// Series of points and of sketches.
    pub series: u64,
    /// Blocks.
    pub blocks: u64,
    /// Points in them.
    pub points: u64,
    /// Sketches in them.
    pub sketches: u64,
    /// Log files, with what was not in a block yet.
    pub logs: u64,
    /// All of it in bytes, but for the indexes of blocks.
    pub bytes: u64,
    /// Chunks that are damaged and were left out.
    pub damaged_chunks: u64,
}

/// What is in memory of the store at the moment of the backup.
struct Moment {
    manifest: Manifest,
    blocks: Vec<Arc<StoredBlock>>,
    /// In the order of their numbers.
    series: Vec<(SeriesId, Form)>,
}

/// A directory that has not got its name yet. Gone when dropped before that.
struct Partial {
    path: PathBuf,
    is_whole: bool,
}

impl Partial {
    fn of(target: &Path) -> Result<Self, StoreError> {
        let Some(name) = target.file_name() else {
            return Err(StoreError::BadConfig(format!("{} names no directory that could be made", target.display())));
        };
        let mut name = name.to_owned();
        name.push(".partial");
        let path = target.with_file_name(name);
        if path.exists() {
            // Of a backup that was killed, or is under way.
            return Err(StoreError::Occupied { path });
        }
        make(&path)?;
        Ok(Self { path, is_whole: false })
    }

    fn finish(mut self, target: &Path) -> Result<(), StoreError> {
        sync_directory(&self.path)?;
        fs::rename(&self.path, target).map_err(|source| StoreError::io("make", target, source))?;
        self.is_whole = true;
        sync_directory(parent_of(target))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_whole {
            // What stays keeps its telling name.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether nothing is there that would have to be overwritten.
fn check_vacant(target: &Path) -> Result<(), StoreError> {
    if target.exists() && (!target.is_dir() || !entries(target)?.is_empty()) {
        return Err(StoreError::Occupied { path: target.to_owned() });
    }
    Ok(())
}

impl Inner {
    pub(crate) fn backup(&self, target: &Path) -> Result<Backup, StoreError> {
        self.check_open()?;
        check_vacant(target)?;
        self.check_outside(target)?;
        let partial = Partial::of(target)?;
        let mut backup = Backup::default();
        let Moment { mut manifest, blocks, series } = self.copy_files(&partial.path, &mut backup)?;
        manifest.blocks = self.copy_blocks(&partial.path, &blocks, &series, &mut backup)?;
        manifest.write(&partial.path)?;
        partial.finish(target)?;
        Ok(backup)
    }

    /// Whether a directory to be made is not in the one of the store.
    fn check_outside(&self, target: &Path) -> Result<(), StoreError> {
        let own = |path: &Path| fs::canonicalize(path).map_err(|source| StoreError::io("find", path, source));
        if own(parent_of(target))?.starts_with(own(&self.config.path)?) {
            return Err(StoreError::BadConfig(format!(
                "{} is inside of the store's own directory; name one outside of it",
                target.display()
            )));
        }
        Ok(())
    }

    /// Copies all but the blocks, as of one moment.
    fn copy_files(&self, target: &Path, backup: &mut Backup) -> Result<Moment, StoreError> {
        // No log goes while this is held.
        let _cutting = self.cutting.lock();
        let log_directory = self.log_directory();
        let (moment, lives, growing, logs) = {
            let mut appender = self.appender.lock();
            self.check_open()?;
            appender.clean()?;
            let mut manifest = self.manifest.lock().clone();
            manifest.next_series = manifest.next_series.max(appender.next_series);
            let dead = std::mem::take(&mut manifest.dead_logs);
            let mut logs = Vec::new();
            for number in log::list(&log_directory)? {
                if !dead.contains(&number) {
                    let path = log::path_of(&log_directory, number);
                    let length = length_of(&path)?;
                    logs.push((path, length));
                }
            }
            // Both may be written anew soon, and are read from the files that they are now.
            let growing = [
                (open(appender.catalogue.path())?, appender.catalogue.length(), catalogue::FILE_NAME),
                (open(appender.event_log.path())?, appender.event_log.length(), events::FILE_NAME),
            ];
            let index = self.index.read();
            let series = index.iter().map(|(id, entry)| (id, entry.form)).collect();
            let blocks = self.state.read().blocks.clone();
            (Moment { manifest, blocks, series }, seen::snapshot(&index), growing, logs)
        };
        backup.series = moment.series.len() as u64;
        backup.logs = logs.len() as u64;
        let log_target = target.join(log::DIRECTORY);
        make(&log_target)?;
        for (path, length) in logs {
            backup.bytes +=
                copy_open(&mut open(&path)?, length, &log_target.join(path.file_name().unwrap_or_default()))?;
        }
        sync_directory(&log_target)?;
        for (mut file, length, name) in growing {
            backup.bytes += copy_open(&mut file, length, &target.join(name))?;
        }
        seen::write(target, &lives)?;
        Ok(moment)
    }

    /// Writes blocks anew, and tells what they hold there.
    fn copy_blocks(
        &self,
        target: &Path,
        blocks: &[Arc<StoredBlock>],
        series: &[(SeriesId, Form)],
        backup: &mut Backup,
    ) -> Result<Vec<BlockMeta>, StoreError> {
        let mut by_number = blocks.to_vec();
        by_number.sort_by_key(|block| block.meta.id);
        let (copies, _) = Blocks::open(target, &[])?;
        let mut metas = Vec::new();
        for block in &by_number {
            let mut scan = Scan::of(block, series.iter().map(|(id, _)| *id))?;
            let (file, written) = copies.write(block.meta.id, || {
                while let Some((id, chunk)) = scan.next()? {
                    self.check_open()?;
                    // What is left of series that are gone stays behind.
                    let Ok(place) = series.binary_search_by_key(&id, |(known, _)| *known) else { continue };
                    let sound = chunk.and_then(|bytes| match chunk::span(id, &bytes) {
                        Ok(_) => Ok(bytes),
                        Err(error) => Err(error.to_string()),
                    });
                    match sound {
                        Ok(bytes) => {
                            let (form, count) = (series[place].1, chunk::count(&bytes));
                            return Ok(Some(NewChunk { id, form, bytes, count }));
                        }
                        Err(reason) => {
                            tracing::error!(
                                series = id,
                                block = block.meta.id,
                                reason,
                                "left a damaged chunk out of a backup"
                            );
                            backup.damaged_chunks += 1;
                        }
                    }
                }
                Ok(None)
            })?;
            if written.series == 0 {
                copies.drop_block(&StoredBlock::new(block.meta, file))?;
                continue;
            }
            let block::Written { series, points, bytes, sketches, sketch_bytes } = written;
            metas.push(BlockMeta { series, points, bytes, sketches, sketch_bytes, ..block.meta });
            backup.blocks += 1;
            backup.points += points;
            backup.sketches += sketches;
            backup.bytes += bytes;
        }
        Ok(metas)
    }
}

fn length_of(path: &Path) -> Result<u64, StoreError> {
    fs::metadata(path).map(|metadata| metadata.len()).map_err(|source| StoreError::io("read", path, source))
}

/// Makes a store of a backup, or of the directory of a store that nobody has open, and checks every byte of it. What the
/// check finds is told as it is found; a store with [`Checked::damaged`] above 0 should not be used.
///
/// # Errors
/// When the target is there and not empty, the backup is no store or is in use, or a file could not be copied.
pub fn restore(backup: &Path, target: &Path, found: &mut dyn FnMut(&Finding)) -> Result<Checked, StoreError> {
    if !is_store(backup) {
        return Err(StoreError::NoStore { path: backup.to_owned() });
    }
    check_vacant(target)?;
    let lock = lock::acquire_to_read(backup)?;
    if !target.exists() {
        fs::create_dir_all(target).map_err(|source| StoreError::io("make directory", target, source))?;
    }
    for directory in [log::DIRECTORY, block::DIRECTORY] {
        if backup.join(directory).exists() {
            copy_directory(&backup.join(directory), &target.join(directory))?;
        }
    }
    // Without the manifest, which comes last, the target is no store.
    for file in [catalogue::FILE_NAME, events::FILE_NAME, seen::FILE_NAME, manifest::FILE_NAME] {
        if backup.join(file).exists() {
            copy_file(&backup.join(file), &target.join(file))?;
        }
    }
    sync_directory(target)?;
    sync_directory(parent_of(target))?;
    drop(lock);
    check::check(target, found)
}
