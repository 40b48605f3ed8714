//! The check of the blocks: each chunk, and that the manifest says of a block what it holds.

use super::{Check, is_there};
use crate::block::{self, Blocks, ChunkError, StoredBlock, Written};
use crate::manifest::BlockMeta;
use crate::scan::Scan;
use crate::{Form, SeriesId, StoreError, chunk};

impl Check<'_> {
    pub(super) fn blocks(&mut self) -> Result<(), StoreError> {
        let path = self.directory.join(block::DIRECTORY);
        let metas = self.manifest.as_ref().map_or_else(Vec::new, |manifest| manifest.blocks.clone());
        if !is_there(&path) {
            if !metas.is_empty() {
                self.damaged(block::DIRECTORY, format!("it is missing, and the manifest names {} blocks", metas.len()));
            }
            return Ok(());
        }
        let blocks = Blocks::at_rest(self.directory);
        let mut names = blocks.names()?;
        for meta in metas {
            let name = block::name_of(meta.id);
            let file = file_of(&name);
            if !names.contains(&name) {
                self.damaged(&file, "the manifest names the block, and it is not there");
                continue;
            }
            names.retain(|other| *other != name);
            self.checked.blocks += 1;
            let block = blocks.open_block(meta)?;
            self.block(&file, &block)?;
        }
        if self.manifest.is_some() {
            names.sort();
            for name in names {
                self.left_over(&file_of(&name), None, "the manifest does not name it");
            }
        }
        Ok(())
    }

    fn block(&mut self, file: &str, block: &StoredBlock) -> Result<(), StoreError> {
        let known = self.known.ids.clone();
        let mut scan = Scan::of(block, known.into_iter())?;
        let mut written = Written::default();
        let mut unreadable = 0_u64;
        if let (Err(ChunkError::Damaged(reason)), Some(_)) = (block.file(), &scan.damage) {
            self.damaged(file, reason);
            return Ok(());
        }
        while let Some((id, chunk)) = scan.next()? {
            match chunk {
                Ok(chunk) => self.chunk(file, &block.meta, id, &chunk, &mut written),
                Err(reason) => {
                    unreadable += 1;
                    self.damaged_series(file, None, id, format!("its chunk cannot be read: {reason}"));
                }
            }
        }
        if unreadable > 0 {
            return Ok(());
        }
        if let Some(reason) = scan.damage {
            self.damaged(file, format!("a part of it cannot be read: {reason}"));
            return Ok(());
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
        Ok(())
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
        if meta.step.is_none() && self.has_lives && self.known.series.contains_key(&id) {
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

fn count(form: Form, count: usize, bytes: &[u8], written: &mut Written) {
    match form {
        Form::Points => written.points += count as u64,
        Form::Sketches => {
            written.sketches += count as u64;
            written.sketch_bytes += bytes.len() as u64;
        }
    }
}
