//! The check of the blocks: each chunk, and that the manifest says of a block what it holds.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use super::{Check, is_there};
use crate::block::{self, Blocks, StoredBlock, Written};
use crate::copy::Look;
use crate::manifest::BlockMeta;
use crate::scan::Scan;
use crate::{Form, SeriesId, StoreError, chunk, copy};

/// Bytes of blocks kept in memory; each chunk is read once.
const CACHE_BYTES: u64 = 8 << 20;
/// Where the engine keeps its keyspaces, each in a directory with a number for a name.
const KEYSPACES: &str = "keyspaces";
/// The one with the names of the others.
const OWN_KEYSPACE: &str = "0";

impl Check<'_> {
    pub(super) fn blocks(&mut self) -> Result<(), StoreError> {
        let path = self.directory.join(block::DIRECTORY);
        let metas = self.manifest.as_ref().map_or_else(Vec::new, |manifest| manifest.blocks.clone());
        if metas.is_empty() && self.manifest.is_some() {
            // What there may be is made anew when the store is opened.
            return Ok(());
        }
        if !is_there(&path) {
            self.damaged(block::DIRECTORY, format!("it is missing, and the manifest names {} blocks", metas.len()));
            return Ok(());
        }
        let look = Look::at(&path, &|_| false)?;
        let (unread, mut unnamed) = match open(&look)? {
            Ok(blocks) => self.named(&blocks, metas)?,
            Err(reason) => self.one_by_one(&path, metas, &reason)?,
        };
        for meta in unread {
            let file = file_of(&block::name_of(meta.id));
            self.damaged(&file, "the manifest names the block, and it is not there, or cannot be opened");
        }
        if self.manifest.is_some() {
            unnamed.sort();
            for name in unnamed {
                self.left_over(&file_of(&name), None, "the manifest does not name the block");
            }
        }
        Ok(())
    }

    /// Reads the blocks that are there. Those of `metas` that are not, and the names of others.
    fn named(&mut self, blocks: &Blocks, metas: Vec<BlockMeta>) -> Result<(Vec<BlockMeta>, Vec<String>), StoreError> {
        let mut names: Vec<String> = blocks.names().collect();
        let mut unread = Vec::new();
        for meta in metas {
            let name = block::name_of(meta.id);
            let is_there = names.contains(&name);
            names.retain(|other| *other != name);
            let Some(block) = blocks.find(meta)?.filter(|_| is_there) else {
                unread.push(meta);
                continue;
            };
            self.checked.blocks += 1;
            let file = file_of(&name);
            // The engine panics over some damage of its own files.
            if panic::catch_unwind(AssertUnwindSafe(|| self.block(&file, &block))).is_err() {
                self.damaged(&file, "the engine cannot make sense of it");
            }
        }
        Ok((unread, names))
    }

    /// Where the engine does not open, each block is opened alone, so that the damage is named and the others are read.
    fn one_by_one(
        &mut self,
        path: &Path,
        metas: Vec<BlockMeta>,
        reason: &str,
    ) -> Result<(Vec<BlockMeta>, Vec<String>), StoreError> {
        let is_number = |name: &OsStr| name.to_str().is_some_and(|name| name.parse::<u64>().is_ok());
        let directory = path.join(KEYSPACES);
        let numbers: Vec<OsString> = if is_there(&directory) {
            let entries =
                copy::entries(&directory)?.into_iter().filter_map(|(path, _)| Some(path.file_name()?.to_owned()));
            entries.filter(|name| is_number(name) && name != OWN_KEYSPACE).collect()
        } else {
            Vec::new()
        };
        let look = |only: Option<&OsStr>| {
            let skips = |path: &Path| {
                let name = path.file_name().unwrap_or_default();
                let is_keyspace = path.parent().is_some_and(|parent| parent.ends_with(KEYSPACES)) && is_number(name);
                is_keyspace && name != OWN_KEYSPACE && Some(name) != only
            };
            Look::at(path, &skips)
        };
        if open(&look(None)?)?.is_err() {
            // None of the blocks is to blame.
            self.damaged(block::DIRECTORY, format!("the engine cannot open it: {reason}"));
            return Ok((Vec::new(), Vec::new()));
        }
        let (mut unread, mut unnamed) = (metas, Vec::new());
        let mut failed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for number in numbers {
            let look = look(Some(&number))?;
            match open(&look)? {
                Ok(blocks) => {
                    let (rest, names) = self.named(&blocks, unread)?;
                    unread = rest;
                    unnamed.extend(names);
                }
                Err(reason) => failed.entry(reason).or_default().push(number.to_string_lossy().into_owned()),
            }
        }
        for (reason, numbers) in failed {
            let file = |number: &str| format!("{}/{KEYSPACES}/{number}", block::DIRECTORY);
            match &numbers[..] {
                [number] => self.damaged(&file(number), format!("the engine cannot open it: {reason}")),
                // What is wrong with several is what they share.
                numbers => {
                    let what = format!("the engine cannot open keyspaces {} by it: {reason}", numbers.join(", "));
                    self.damaged(&file(OWN_KEYSPACE), what);
                }
            }
        }
        Ok((unread, unnamed))
    }

    fn block(&mut self, file: &str, block: &StoredBlock) {
        let known = self.known.ids.clone();
        let mut scan = Scan::of(block, known.into_iter());
        let mut written = Written::default();
        let mut unreadable = 0_u64;
        loop {
            match scan.next() {
                Ok(Some((id, Ok(chunk)))) => self.chunk(file, &block.meta, id, &chunk, &mut written),
                Ok(Some((id, Err(reason)))) => {
                    unreadable += 1;
                    self.damaged_series(file, None, id, format!("its chunk cannot be read: {reason}"));
                }
                Ok(None) => break,
                Err(error) => {
                    self.damaged(file, error.to_string());
                    return;
                }
            }
        }
        if unreadable > 0 {
            return;
        }
        if let Some(reason) = scan.damage {
            self.damaged(file, format!("a part of it cannot be read: {reason}"));
            return;
        }
        let meta = &block.meta;
        let named = [meta.series, meta.points, meta.bytes, meta.sketches, meta.sketch_bytes];
        let Written { series, points, bytes, sketches, sketch_bytes } = written;
        let held = [series, points, bytes, sketches, sketch_bytes];
        let things = ["series", "points", "bytes of chunks", "sketches", "bytes of sketches"];
        for ((named, held), things) in named.into_iter().zip(held).zip(things) {
            if named != held {
                self.damaged(file, format!("the manifest names {named} {things}, and it holds {held}"));
            }
        }
    }

    fn chunk(&mut self, file: &str, meta: &BlockMeta, id: SeriesId, bytes: &[u8], written: &mut Written) {
        self.checked.chunks += 1;
        written.series += 1;
        written.bytes += bytes.len() as u64;
        let summary = match chunk::verify(id, bytes) {
            Ok(summary) => summary,
            Err(error) => {
                self.damaged_series(file, None, id, error.to_string());
                // As the manifest would have counted it, so that the block is not blamed too.
                let is_of_sketches = self.known.series.get(&id).is_some_and(|(form, _)| *form == Form::Sketches);
                let form = if is_of_sketches { Form::Sketches } else { Form::Points };
                count(form, chunk::count(bytes), bytes, written);
                return;
            }
        };
        count(summary.form, summary.count, bytes, written);
        match summary.form {
            Form::Points => self.checked.points += summary.count as u64,
            Form::Sketches => self.checked.sketches += summary.count as u64,
        }
        if let Some(objection) = self.known.objection(id) {
            self.damaged_series(file, None, id, objection);
        } else if self.known.series.get(&id).is_some_and(|(form, _)| *form != summary.form) {
            self.damaged_series(file, None, id, "it is of points in one place, and of sketches in another");
        }
        let range = meta.range;
        let (first, last) = (summary.first, summary.last);
        if first < range.from.millis() || last >= range.until.millis() {
            let what = format!(
                "its chunk reaches from {first} to {last}, beyond its block's {} to {}",
                range.from.millis(),
                range.until.millis()
            );
            self.damaged_series(file, None, id, what);
        }
        // What reads ask by. A tier's slots begin before the points that they are made of.
        if meta.tier == 0 && self.has_lives && self.known.series.contains_key(&id) {
            let is_inside =
                self.lives.get(&id).is_some_and(|(oldest, newest)| oldest.millis() <= first && last <= newest.millis());
            if !is_inside {
                let what = format!("its chunk reaches from {first} to {last}, and SEEN does not know of it then");
                self.damaged_series(file, None, id, what);
            }
        }
    }
}

fn file_of(name: &str) -> String {
    format!("{}/{name}", block::DIRECTORY)
}

/// The engine in a look, or why it does not open.
fn open(look: &Look) -> Result<Result<Blocks, String>, StoreError> {
    match Blocks::open_as_they_are(look.path(), CACHE_BYTES) {
        Ok(blocks) => Ok(Ok(blocks)),
        Err(StoreError::DamagedFile { reason, .. }) => Ok(Err(reason)),
        Err(StoreError::Blocks { source, .. }) => Ok(Err(source.to_string())),
        Err(error) => Err(error),
    }
}

fn count(form: Form, count: usize, bytes: &[u8], written: &mut Written) {
    match form {
        Form::Points => written.points += count as u64,
        Form::Sketches => {
            written.sketches += count as u64;
            written.sketch_bytes += bytes.len() as u64;
        }
    }
}
