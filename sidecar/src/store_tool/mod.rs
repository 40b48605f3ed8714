//! `statlined store …`, `statlined export` and `statlined import`: tools for a store's directory.
//!
//! They work on the directory itself, which nobody may have open then. The exceptions are `stats`, which only looks at
//! files, and `backup`, which asks the daemon when it is running.

mod ask;
pub mod export;
pub mod import;
mod line;
mod own_tls;
mod table;

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use statline_store::{Checked, EmbeddedStore, Finding, StoreError};

use crate::ConfigArgs;
use crate::backups::{self, Made};
use crate::config::Config;

/// What `statlined store` can do.
#[derive(Subcommand)]
pub enum StoreCommand {
    /// Read every byte of a store, and tell what is damaged; the exit code is 1 when anything is
    Check(StoreArgs),
    /// Show what a store holds, whether a daemon has it open or not
    Stats(StoreArgs),
    /// Write all points as blocks, drop what is too old, and forget series that are gone
    Compact(StoreArgs),
    /// Write a store directory that holds what the store holds; a running daemon is asked to
    Backup(BackupArgs),
    /// Make a store of a backup, and check it
    Restore(RestoreArgs),
}

/// Which store is meant.
#[derive(Args)]
pub struct StoreArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The store's directory; store.path of the configuration without it
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

/// What `statlined store backup` takes.
#[derive(Args)]
pub struct BackupArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The directory to make; a name without a slash is put into store.backup_path when that is set
    directory: PathBuf,
    /// The HTTP address of the daemon, when one is running; http.listen of the configuration without it
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// The bearer token that it wants; http.token of the configuration without it
    #[arg(long, env = "STATLINE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// What `statlined store restore` takes.
#[derive(Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The backup
    backup: PathBuf,
}

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

impl StoreArgs {
    /// The configuration, with the store that is meant.
    fn load(&self) -> Outcome<Config> {
        let mut config = self.config.load()?;
        if let Some(path) = &self.store {
            config.store.path.clone_from(path);
        }
        Ok(config)
    }
}

/// Does what was asked.
///
/// # Errors
/// When it cannot be done, and when a check finds damage.
pub fn run(command: &StoreCommand) -> Outcome {
    match command {
        StoreCommand::Check(args) => check(&args.load()?.store.path),
        StoreCommand::Stats(args) => {
            let survey = statline_store::survey(&args.load()?.store.path)?;
            unless_closed(table::print(&mut io::stdout().lock(), &survey))
        }
        StoreCommand::Compact(args) => compact(&args.load()?),
        StoreCommand::Backup(args) => backup(args),
        StoreCommand::Restore(args) => restore(args),
    }
}

/// Whoever reads may have seen enough.
fn unless_closed(written: io::Result<()>) -> Outcome {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// What to do when a daemon has the store.
fn instead(error: StoreError, advice: &str) -> Box<dyn Error> {
    match error {
        StoreError::Locked { .. } => format!("{error}; {advice}").into(),
        error => error.into(),
    }
}

fn print_finding(finding: &Finding) {
    let _ = writeln!(io::stdout(), "{finding}");
}

fn check(directory: &Path) -> Outcome {
    let checked = statline_store::check(directory, &mut print_finding).map_err(|error| {
        instead(error, "stop it, or make a backup (statlined store backup DIR) and check that (--store DIR)")
    })?;
    report(directory, &checked)
}

/// What a check has read; an error when it found damage.
fn report(directory: &Path, checked: &Checked) -> Outcome {
    let Checked { damaged, leftovers, series, blocks, chunks, points, sketches, logs, records, events } = *checked;
    unless_closed(writeln!(
        io::stdout(),
        "read {blocks} blocks with {chunks} chunks, {logs} logs, {records} records: {series} series, {points} points, \
         {sketches} sketches, {events} events"
    ))?;
    if leftovers > 0 {
        unless_closed(writeln!(
            io::stdout(),
            "left over: {leftovers}, which opening the store or the next write tidies up"
        ))?;
    }
    if damaged > 0 {
        return Err(format!("{} is damaged: {damaged} findings above", directory.display()).into());
    }
    unless_closed(writeln!(io::stdout(), "{} is whole", directory.display()))
}

fn compact(config: &Config) -> Outcome {
    let embedded = config.store.embedded(config.statsd.step())?;
    if !embedded.path.join("MANIFEST").exists() {
        return Err(StoreError::NoStore { path: embedded.path }.into());
    }
    let path = embedded.path.clone();
    let store = EmbeddedStore::open(embedded).map_err(|error| {
        instead(error, "stop it first; a running daemon writes blocks and drops old ones by itself")
    })?;
    let before = statline_store::survey(&path)?;
    let compacted = store.compact()?;
    drop(store);
    let after = statline_store::survey(&path)?;
    let mut out = io::stdout().lock();
    writeln!(out, "blocks: {} before, {} now", before.blocks.len(), after.blocks.len())?;
    writeln!(out, "logs: {} before, {} now", table::bytes(before.logs.bytes), table::bytes(after.logs.bytes))?;
    writeln!(
        out,
        "catalogue: {} before, {} now, {} series",
        table::bytes(compacted.catalogue_before),
        table::bytes(compacted.catalogue_after),
        after.series + after.sketch_series
    )?;
    Ok(())
}

fn backup(args: &BackupArgs) -> Outcome {
    let config = args.store.load()?;
    let backup_path = &config.store.backup_path;
    let is_name = args.directory.components().count() == 1;
    let is_ours = is_name && !backup_path.as_os_str().is_empty();
    let target = if is_ours { backup_path.join(&args.directory) } else { args.directory.clone() };
    let made = match EmbeddedStore::open_at_rest(&config.store.path) {
        Ok(store) => {
            if let Some(parent) = target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                backups::make_directory(parent)?;
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            Made::new(&target, &runtime.block_on(store.backup(&target))?)
        }
        Err(StoreError::Locked { .. }) => ask::for_backup(&config, args, &target)?,
        Err(error) => return Err(error.into()),
    };
    let Made { directory, series, blocks, points, sketches, logs, bytes, damaged_chunks } = made;
    unless_closed(writeln!(
        io::stdout(),
        "{}: {blocks} blocks with {points} points and {sketches} sketches, {logs} logs, {series} series, {}",
        directory.display(),
        table::bytes(bytes)
    ))?;
    if damaged_chunks > 0 {
        return Err(format!(
            "{damaged_chunks} chunks are damaged and not in the backup; statlined store check names them"
        )
        .into());
    }
    Ok(())
}

fn restore(args: &RestoreArgs) -> Outcome {
    let target = args.store.load()?.store.path;
    let checked = statline_store::restore(&args.backup, &target, &mut print_finding)
        .map_err(|error| instead(error, "make a backup of it first (statlined store backup DIR)"))?;
    report(&target, &checked)
}
