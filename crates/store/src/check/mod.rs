//! The check: every file of a store that nobody has open is read, and what is wrong is told.
//!
//! Nothing in the directory changes but `LOCK`. What a process that was killed may leave behind, and opening the store
//! tidies up, is told apart from damage. A finding names the file, the place in it, and the series where there is one.

mod blocks;
mod logs;

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rustc_hash::{FxHashMap, FxHashSet};
use statline_series::{Event, SeriesKey, Timestamp};

use crate::catalogue;
use crate::events;
use crate::gone::Gone;
use crate::journal::{self, Format};
use crate::manifest::{self, Manifest};
use crate::record::{Found, Record};
use crate::{Form, SeriesId, StoreError, block, copy, lock, log, seen};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something that was stored cannot be trusted, or is lost.
    Damage,
    /// What a process that was killed leaves; nothing that was acknowledged is lost, and opening the store tidies up.
    Leftover,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, from the store's directory on; of a block: `blocks/0000000000000001.block`.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: Option<u64>,
    /// Of which series.
    pub series: Option<String>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, file, offset, series, what } = self;
        f.write_str(match severity {
            Severity::Damage => "damaged: ",
            Severity::Leftover => "left over: ",
        })?;
        f.write_str(file)?;
        if let Some(offset) = offset {
            write!(f, " at byte {offset}")?;
        }
        if let Some(series) = series {
            write!(f, ", {series}")?;
        }
        write!(f, ": {what}")
    }
}

/// What was read, and how much of it was found wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Findings of [`Severity::Damage`].
    pub damaged: u64,
    /// Findings of [`Severity::Leftover`].
    pub leftovers: u64,
    /// Series in the catalogue.
    pub series: u64,
    /// Blocks.
    pub blocks: u64,
    /// Chunks in them.
    pub chunks: u64,
    /// Points in them and in logs.
    pub points: u64,
    /// Sketches in them and in logs.
    pub sketches: u64,
    /// Log files.
    pub logs: u64,
    /// Records in log files, in the catalogue and of events.
    pub records: u64,
    /// Events.
    pub events: u64,
}

/// Reads all of a store, and tells what is wrong with it as it is found.
///
/// # Errors
/// When the directory is no store, a process has it open, or a file cannot be read at all. Damage is no error.
pub fn check(directory: &Path, found: &mut dyn FnMut(&Finding)) -> Result<Checked, StoreError> {
    if !is_store(directory) {
        return Err(StoreError::NoStore { path: directory.to_owned() });
    }
    let mut check = Check::of(directory, found);
    check.lock_file();
    let _lock = lock::acquire_to_read(directory)?;
    check.names()?;
    check.manifest()?;
    check.catalogue()?;
    check.lives()?;
    check.events()?;
    check.logs()?;
    check.blocks()?;
    Ok(check.checked)
}

/// Whether a directory holds a file that every store has, or may have lost.
pub(crate) fn is_store(directory: &Path) -> bool {
    [manifest::FILE_NAME, catalogue::FILE_NAME, block::DIRECTORY].iter().any(|name| directory.join(name).exists())
}

/// What the catalogue says of the series.
#[derive(Default)]
struct Known {
    series: FxHashMap<SeriesId, (Form, SeriesKey)>,
    /// In the order of their numbers.
    ids: Vec<SeriesId>,
    gone: Gone,
    /// Whether the catalogue could be read to its end without damage. Otherwise series that are not in it prove nothing.
    is_whole: bool,
}

impl Known {
    fn name(&self, id: SeriesId) -> String {
        match self.series.get(&id) {
            Some((_, key)) => format!("series {key}"),
            None => format!("series number {id}"),
        }
    }

    /// What is wrong with a number, if anything is.
    fn objection(&self, id: SeriesId) -> Option<&'static str> {
        let is_known = self.series.contains_key(&id) || self.gone.contains(id);
        (!is_known && self.is_whole).then_some("the catalogue does not know the series")
    }
}

struct Check<'a> {
    directory: &'a Path,
    found: &'a mut dyn FnMut(&Finding),
    checked: Checked,
    /// `None` when it is damaged.
    manifest: Option<Manifest>,
    known: Known,
    lives: FxHashMap<SeriesId, (Timestamp, Timestamp)>,
    /// Whether there is a file of lives to compare with.
    has_lives: bool,
    batches: logs::Batches,
}

impl<'a> Check<'a> {
    fn of(directory: &'a Path, found: &'a mut dyn FnMut(&Finding)) -> Self {
        Self {
            directory,
            found,
            checked: Checked::default(),
            manifest: None,
            known: Known::default(),
            lives: FxHashMap::default(),
            has_lives: false,
            batches: logs::Batches::default(),
        }
    }

    fn tell(&mut self, finding: &Finding) {
        match finding.severity {
            Severity::Damage => self.checked.damaged += 1,
            Severity::Leftover => self.checked.leftovers += 1,
        }
        (self.found)(finding);
    }

    fn damaged(&mut self, file: &str, what: impl Into<String>) {
        let (file, what) = (file.to_owned(), what.into());
        self.tell(&Finding { severity: Severity::Damage, file, offset: None, series: None, what });
    }

    fn damaged_at(&mut self, file: &str, offset: u64, what: impl Into<String>) {
        let (file, what) = (file.to_owned(), what.into());
        self.tell(&Finding { severity: Severity::Damage, file, offset: Some(offset), series: None, what });
    }

    fn damaged_series(&mut self, file: &str, offset: Option<u64>, id: SeriesId, what: impl Into<String>) {
        let (file, what, series) = (file.to_owned(), what.into(), Some(self.known.name(id)));
        self.tell(&Finding { severity: Severity::Damage, file, offset, series, what });
    }

    fn left_over(&mut self, file: &str, offset: Option<u64>, what: impl Into<String>) {
        let (file, what) = (file.to_owned(), what.into());
        self.tell(&Finding { severity: Severity::Leftover, file, offset, series: None, what });
    }

    /// What was read; damage is told and is `None`.
    fn outcome<T>(&mut self, file: &str, outcome: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match outcome {
            Ok(read) => Ok(Some(read)),
            Err(StoreError::DamagedFile { reason, .. }) => {
                self.damaged(file, reason);
                Ok(None)
            }
            Err(StoreError::TooNew { found, known, .. }) => {
                self.damaged(file, format!("it is of version {found}, and this program knows versions up to {known}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The lock before it is taken, which writes it.
    fn lock_file(&mut self) {
        let is_number = |text: &[u8]| text.trim_ascii_end().iter().all(u8::is_ascii_digit);
        match fs::read(self.directory.join(lock::FILE_NAME)) {
            Ok(text) if !is_number(&text) => self.left_over(lock::FILE_NAME, None, "it holds no process id"),
            _ => {}
        }
    }

    /// Files that are not of a store, or not finished.
    fn names(&mut self) -> Result<(), StoreError> {
        const KNOWN: [&str; 9] = [
            lock::FILE_NAME,
            manifest::FILE_NAME,
            seen::FILE_NAME,
            catalogue::FILE_NAME,
            events::FILE_NAME,
            log::DIRECTORY,
            block::DIRECTORY,
            "statsd.state",
            "sockets",
        ];
        for (path, _) in copy::entries(self.directory)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(whole) = name.strip_suffix(".new").filter(|whole| KNOWN.contains(whole)) {
                self.left_over(&name, None, format!("it was to take the place of {whole} when the process ended"));
            } else if !KNOWN.contains(&name.as_str()) {
                self.left_over(&name, None, "it is no file of a store");
            }
        }
        Ok(())
    }

    fn manifest(&mut self) -> Result<(), StoreError> {
        let name = manifest::FILE_NAME;
        let read = Manifest::read(self.directory);
        let Some(manifest) = self.outcome(name, read)? else { return Ok(()) };
        let Some(manifest) = manifest else {
            self.damaged(name, "it is missing");
            return Ok(());
        };
        let mut blocks = FxHashSet::default();
        for block in &manifest.blocks {
            let number = block.id;
            if number >= manifest.next_block {
                let next = manifest.next_block;
                self.damaged(name, format!("it names block {number}, and numbers from {next} on as never given"));
            }
            if !blocks.insert(number) {
                self.damaged(name, format!("it names block {number} twice"));
            }
            if block.range.is_empty() {
                self.damaged(name, format!("the range of block {number} is empty"));
            }
            if block.series == 0 || block.sketch_bytes > block.bytes {
                self.damaged(name, format!("what it says of block {number} does not fit together"));
            }
        }
        let mut logs = FxHashSet::default();
        for number in &manifest.dead_logs {
            if *number >= manifest.next_log {
                let next = manifest.next_log;
                self.damaged(name, format!("it names log {number} as dead, and numbers from {next} on as never given"));
            }
            if !logs.insert(*number) {
                self.damaged(name, format!("it names log {number} as dead twice"));
            }
        }
        self.manifest = Some(manifest);
        Ok(())
    }

    /// Reads a file of records. Whether all of it is good, up to an end that may be unfinished; `None` when there is none.
    fn journal(
        &mut self,
        name: &'static str,
        format: Format,
        mut take: impl FnMut(&mut Self, Record),
    ) -> Result<Option<bool>, StoreError> {
        let mut is_whole = true;
        let path = self.directory.join(name);
        let outcome = journal::inspect(&path, format, |found| {
            match found {
                Found::Record(record) => {
                    self.checked.records += 1;
                    take(self, record);
                    return Ok(());
                }
                Found::Torn { .. } => {}
                Found::BadHeader | Found::Damaged { .. } => is_whole = false,
            }
            self.tell_found(name, found);
            Ok(())
        });
        let was_there = self.outcome(name, outcome)?;
        Ok(match was_there {
            Some(true) => Some(is_whole),
            Some(false) => None,
            None => Some(false),
        })
    }

    /// What is found in a file of records beside good ones.
    fn tell_found(&mut self, file: &str, found: Found) {
        match found {
            Found::Record(_) => {}
            Found::BadHeader => self.damaged_at(file, 0, "its header fails its checks"),
            Found::Damaged { count: 1, offset } => self.damaged_at(file, offset, "a record fails its checks"),
            Found::Damaged { count, offset } => {
                self.damaged_at(file, offset, format!("{count} records fail their checks, the last of them here"));
            }
            Found::Torn { offset, is_short: true } => {
                self.left_over(file, Some(offset), "it ends in the middle of a record");
            }
            Found::Torn { offset, is_short: false } => {
                self.damaged_at(file, offset, "its last record fails its checks");
            }
        }
    }

    fn catalogue(&mut self) -> Result<(), StoreError> {
        let name = catalogue::FILE_NAME;
        let mut is_decoded = true;
        let mut by_key: FxHashSet<(bool, SeriesKey)> = FxHashSet::default();
        let read = self.journal(name, catalogue::FORMAT, |check, record| {
            let mut twice = Vec::new();
            let Check { known, .. } = check;
            let decoded = catalogue::for_each_event(&record.payload, |event| match event {
                catalogue::Event::Born { id, form, key, .. } => {
                    let is_new_key = by_key.insert((form == Form::Sketches, key.clone()));
                    let is_new_id = !known.gone.contains(id) && known.series.insert(id, (form, key)).is_none();
                    if !is_new_key || !is_new_id {
                        twice.push(id);
                    }
                }
                catalogue::Event::Kind { .. } => {}
                catalogue::Event::Gone { id } => {
                    if let Some((form, key)) = known.series.remove(&id) {
                        by_key.remove(&(form == Form::Sketches, key));
                    }
                    known.gone.insert(id);
                }
            });
            for id in twice {
                check.damaged_series(name, Some(record.offset), id, "its number, or its name, is given a second time");
            }
            if let Err(error) = decoded {
                is_decoded = false;
                check.damaged_at(name, record.offset, format!("a record cannot be read: {error}"));
            }
        })?;
        let needs_one = self.manifest.as_ref().is_none_or(|manifest| !manifest.blocks.is_empty());
        if read.is_none() && needs_one {
            self.damaged(name, "it is missing");
        }
        self.known.is_whole = read == Some(true) && is_decoded;
        self.known.ids = self.known.series.keys().copied().collect();
        self.known.ids.sort_unstable();
        self.checked.series = self.known.series.len() as u64;
        Ok(())
    }

    fn lives(&mut self) -> Result<(), StoreError> {
        let name = seen::FILE_NAME;
        let mut lives = FxHashMap::default();
        let read = seen::read(self.directory, |id, first, last| _ = lives.insert(id, (first, last)));
        let Some(was_there) = self.outcome(name, read)? else { return Ok(()) };
        let has_blocks = self.manifest.as_ref().is_some_and(|manifest| !manifest.blocks.is_empty());
        if !was_there && has_blocks {
            self.left_over(name, None, "it is missing, and will be made again from the blocks");
        }
        let mut ids: Vec<SeriesId> = lives.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            if let Some(objection) = self.known.objection(id) {
                self.damaged_series(name, None, id, objection);
            }
        }
        self.has_lives = was_there;
        self.lives = lives;
        Ok(())
    }

    fn events(&mut self) -> Result<(), StoreError> {
        let name = events::FILE_NAME;
        let read = self.journal(name, events::FORMAT, |check, record| {
            check.batches.saw(record.sequence, record.parts);
            match events::decode(&record.payload) {
                Ok(events) => {
                    check.checked.events += events.len() as u64;
                    if events.iter().any(|event| event.size() > Event::MOST_BYTES) {
                        check.damaged_at(name, record.offset, "an event in it is larger than any that is taken");
                    }
                }
                Err(error) => check.damaged_at(name, record.offset, format!("a record cannot be read: {error}")),
            }
        })?;
        self.batches.is_whole &= read != Some(false);
        Ok(())
    }
}

/// Whether a path is there; what cannot be told counts as there.
fn is_there(path: &Path) -> bool {
    !matches!(fs::metadata(path), Err(error) if error.kind() == ErrorKind::NotFound)
}
