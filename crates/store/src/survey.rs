//! What there is in a store's directory, told by the files that say so, without opening it: a process may have it open.

use std::fs;
use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;
use statline_series::{Step, TimeRange};

use crate::catalogue::{self, Event};
use crate::check::is_store;
use crate::gone::Gone;
use crate::log::{self, LogReader};
use crate::manifest::{self, Manifest};
use crate::record::Found;
use crate::{Form, SeriesId, StoreError, block, copy, events, journal, seen};

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Series of points.
    pub series: u64,
    /// Series of sketches.
    pub sketch_series: u64,
    /// Series that are gone and whose numbers are still known.
    pub gone_series: u64,
    /// The length of the catalogue of series.
    pub catalogue_bytes: u64,
    /// The length of the file of lives.
    pub seen_bytes: u64,
    /// The length of the manifest.
    pub manifest_bytes: u64,
    /// Events in their file; some of them may be gone.
    pub events: u64,
    /// The length of that file.
    pub event_bytes: u64,
    /// What is not in a block yet.
    pub logs: Logs,
    /// The blocks, by their starts.
    pub blocks: Vec<BlockFigures>,
    /// What the files of blocks take on disk.
    pub block_disk_bytes: u64,
}

/// The log files together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// How many files.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
    /// Points in them; those that took another's place are counted again.
    pub points: u64,
    /// Sketches in them, likewise.
    pub sketches: u64,
    /// The windows that they cover.
    pub range: Option<TimeRange>,
}

/// One block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockFigures {
    /// Its number.
    pub number: u64,
    /// The step of its rollups; `None` for the points as they came.
    pub step: Option<Step>,
    /// Its span.
    pub range: TimeRange,
    /// Series in it.
    pub series: u64,
    /// Points in it.
    pub points: u64,
    /// Its chunks.
    pub bytes: u64,
    /// Sketches in it.
    pub sketches: u64,
    /// The chunks of sketches.
    pub sketch_bytes: u64,
}

/// Reads what a store's files say of it. What is damaged is left out, which [`check`](crate::check()) tells.
///
/// # Errors
/// When the directory is no store, or a file cannot be read.
pub fn survey(directory: &Path) -> Result<Survey, StoreError> {
    if !is_store(directory) {
        return Err(StoreError::NoStore { path: directory.to_owned() });
    }
    let manifest = Manifest::read(directory)?.unwrap_or_default();
    let length = |name: &str| fs::metadata(directory.join(name)).map_or(0, |metadata| metadata.len());
    let mut survey = Survey {
        catalogue_bytes: length(catalogue::FILE_NAME),
        seen_bytes: length(seen::FILE_NAME),
        manifest_bytes: length(manifest::FILE_NAME),
        event_bytes: length(events::FILE_NAME),
        block_disk_bytes: bytes_below(&directory.join(block::DIRECTORY)),
        logs: logs(directory, &manifest)?,
        ..Survey::default()
    };
    count_series(directory, &mut survey)?;
    journal::inspect(&directory.join(events::FILE_NAME), events::FORMAT, |found| {
        if let Found::Record(record) = found {
            survey.events += events::decode(&record.payload).map_or(0, |events| events.len() as u64);
        }
        Ok(())
    })?;
    survey.blocks = manifest.blocks.iter().map(figures).collect();
    survey.blocks.sort_by_key(|block| (block.range.from, block.number));
    Ok(survey)
}

fn figures(meta: &manifest::BlockMeta) -> BlockFigures {
    BlockFigures {
        number: meta.id,
        step: meta.step,
        range: meta.range,
        series: meta.series,
        points: meta.points,
        bytes: meta.bytes,
        sketches: meta.sketches,
        sketch_bytes: meta.sketch_bytes,
    }
}

fn count_series(directory: &Path, survey: &mut Survey) -> Result<(), StoreError> {
    let mut forms: FxHashMap<SeriesId, Form> = FxHashMap::default();
    let mut gone = Gone::default();
    journal::inspect(&directory.join(catalogue::FILE_NAME), catalogue::FORMAT, |found| {
        if let Found::Record(record) = found {
            // What comes after damage in a record is left out with it.
            let _ = catalogue::for_each_event(&record.payload, |event| match event {
                Event::Born { id, form, .. } => _ = forms.insert(id, form),
                Event::Kind { .. } => {}
                Event::Gone { id } => {
                    forms.remove(&id);
                    gone.insert(id);
                }
            });
        }
        Ok(())
    })?;
    survey.sketch_series = forms.values().filter(|form| **form == Form::Sketches).count() as u64;
    survey.series = forms.len() as u64 - survey.sketch_series;
    survey.gone_series = gone.len();
    Ok(())
}

fn logs(directory: &Path, manifest: &Manifest) -> Result<Logs, StoreError> {
    let directory = directory.join(log::DIRECTORY);
    let mut logs = Logs::default();
    if !directory.exists() {
        return Ok(logs);
    }
    for number in log::list(&directory)? {
        let path = log::path_of(&directory, number);
        // Those that go meanwhile are in a block.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let Ok(reader) = LogReader::open(&path, number) else { continue };
        logs.files += 1;
        logs.bytes += metadata.len();
        if manifest.dead_logs.contains(&number) {
            continue;
        }
        reader.records.tell(|found| {
            let Found::Record(record) = found else { return Ok(()) };
            let Ok(part) = log::decode_part(&record) else { return Ok(()) };
            logs.points += part.points.len() as u64;
            logs.sketches += part.sketches.len() as u64;
            let window = logs.range.unwrap_or(part.window);
            logs.range = Some(TimeRange::new(window.from.min(part.window.from), window.until.max(part.window.until)));
            Ok(())
        })?;
    }
    Ok(logs)
}

/// What the files below a directory take on disk. What cannot be read counts as nothing.
fn bytes_below(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;

    /// In what the system counts.
    const SECTOR_BYTES: u64 = 512;
    let Ok(entries) = copy::entries(directory) else { return 0 };
    let bytes = |(path, is_directory): (PathBuf, bool)| -> u64 {
        if is_directory {
            bytes_below(&path)
        } else {
            fs::metadata(&path).map_or(0, |file| file.blocks() * SECTOR_BYTES)
        }
    };
    entries.into_iter().map(bytes).sum()
}
