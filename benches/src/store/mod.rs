//! The store: what points take, and how fast they come and go.

pub mod append;
mod community;
pub mod index;
mod names;
pub mod points;
mod reference;
mod victoria;

use std::path::Path;

use tempfile::TempDir;

use crate::{Error, Measured};

/// A directory on a file system in memory where there is one, so that no other machine's disk is measured.
fn in_memory() -> Result<TempDir, Error> {
    let memory = Path::new("/dev/shm");
    Ok(if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? })
}

/// How the whole part is measured.
#[derive(clap::Args, Clone, Debug)]
pub struct StoreArgs {}

/// Measures everything; the text of its section, and the bars.
///
/// # Errors
/// When a store fails, or a peer does not answer.
pub fn run(_args: &StoreArgs) -> Measured {
    let (table, bars) = points::run(&points::PointsArgs::default())?;
    Ok((format!("{}\n\n{table}\n", points::ABOUT), bars))
}
