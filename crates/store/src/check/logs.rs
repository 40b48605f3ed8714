//! The check of the logs: each record, and that batches are whole.

use rustc_hash::FxHashMap;
use statline_series::Sketch;

use super::{Check, is_there};
use crate::log::{self, LogReader};
use crate::record::{Found, Record};
use crate::{SeriesId, StoreError};

/// The batches of which something is found.
pub(super) struct Batches {
    /// By number: how many records a batch has, and how many of them are found.
    all: FxHashMap<u64, (u32, u32)>,
    /// Whether no file of records is damaged. Otherwise a batch that is not whole is no news.
    pub(super) is_whole: bool,
}

impl Default for Batches {
    fn default() -> Self {
        Self { all: FxHashMap::default(), is_whole: true }
    }
}

impl Batches {
    pub(super) fn saw(&mut self, sequence: u64, parts: u32) {
        let (named, found) = self.all.entry(sequence).or_insert((parts, 0));
        *named = parts.max(*named);
        *found += 1;
    }

    /// Those that are not whole, in the order of their numbers, and the newest of all.
    fn unfinished(&self) -> (Vec<(u64, u32, u32)>, Option<u64>) {
        let unfinished = self.all.iter().filter(|(_, (parts, found))| found < parts);
        let mut unfinished: Vec<_> = unfinished.map(|(sequence, (parts, found))| (*sequence, *parts, *found)).collect();
        unfinished.sort_unstable();
        (unfinished, self.all.keys().max().copied())
    }
}

impl Check<'_> {
    pub(super) fn logs(&mut self) -> Result<(), StoreError> {
        let directory = self.directory.join(log::DIRECTORY);
        if !is_there(&directory) {
            return Ok(());
        }
        let dead = self.manifest.as_ref().map_or_else(Vec::new, |manifest| manifest.dead_logs.clone());
        for number in log::list(&directory)? {
            self.checked.logs += 1;
            self.log(number, dead.contains(&number))?;
        }
        let acknowledged = self.manifest.as_ref().map_or(u64::MAX, |manifest| manifest.acknowledged);
        let (unfinished, newest) = self.batches.unfinished();
        for (sequence, parts, found) in unfinished {
            let what = format!("{found} of the {parts} records of batch {sequence} are there");
            if sequence <= acknowledged || !self.batches.is_whole {
                // Others of its records went with the blocks that they are in.
            } else if Some(sequence) == newest {
                self.left_over(log::DIRECTORY, None, format!("{what}; it was never acknowledged and is dropped"));
            } else {
                self.damaged(log::DIRECTORY, what);
            }
        }
        Ok(())
    }

    fn log(&mut self, number: u64, is_dead: bool) -> Result<(), StoreError> {
        let path = log::path_of(&self.directory.join(log::DIRECTORY), number);
        let file = format!("{}/{}", log::DIRECTORY, path.file_name().unwrap_or_default().to_string_lossy());
        let opened = LogReader::open(&path, number);
        let Some(reader) = self.outcome(&file, opened)? else {
            self.batches.is_whole = false;
            return Ok(());
        };
        if is_dead {
            self.left_over(&file, None, "its points are in a block");
        }
        if reader.bad_header {
            self.damaged_at(&file, 0, "its header fails its checks");
        }
        let acknowledged = self.manifest.as_ref().map_or(u64::MAX, |manifest| manifest.acknowledged);
        let mut previous = None;
        reader.records.tell(|found| {
            let Found::Record(record) = found else {
                self.batches.is_whole &= matches!(found, Found::Torn { .. });
                self.tell_found(&file, found);
                return Ok(());
            };
            let (offset, sequence) = (record.offset, record.sequence);
            self.checked.records += 1;
            self.batches.saw(sequence, record.parts);
            if previous.replace(sequence).is_some_and(|previous| sequence <= previous) {
                self.damaged_at(&file, offset, format!("batch {sequence} comes after a newer one"));
            }
            if is_dead && sequence > acknowledged {
                let what = format!("the manifest calls the log dead, and no block can hold batch {sequence}");
                self.damaged_at(&file, offset, what);
            }
            self.log_record(&file, &record);
            Ok(())
        })
    }

    fn log_record(&mut self, file: &str, record: &Record) {
        let offset = record.offset;
        let part = match log::decode_part(record) {
            Ok(part) => part,
            Err(error) => {
                self.damaged_at(file, offset, format!("a record cannot be read: {error}"));
                return;
            }
        };
        self.checked.points += part.points.len() as u64;
        self.checked.sketches += part.sketches.len() as u64;
        let mut told = None;
        let points = part.points.iter().map(|(id, _, value)| (id, value.is_nan().then_some("a value is not a number")));
        let sketches = part
            .sketches
            .iter()
            .map(|sketch| (sketch.id, Sketch::decode(&sketch.bytes).is_err().then_some("a sketch in it is none")));
        let wrong: Vec<(SeriesId, &str)> = points
            .chain(sketches)
            .filter_map(|(id, wrong)| Some((id, wrong.or_else(|| self.known.objection(id))?)))
            .collect();
        for (id, what) in wrong {
            // Once for all points of a series.
            if told.replace((id, what)) != Some((id, what)) {
                self.damaged_series(file, Some(offset), id, what);
            }
        }
    }
}
