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

/// Measures everything; the text of its section, and the bars.
///
/// # Errors
/// When a store fails, or a peer does not answer.
pub fn run() -> Measured {
    // The index first, while this process has allocated nothing else.
    let index = index::run(&index::IndexArgs::default())?;
    let append = append::run(&append::AppendArgs::default())?;
    let points = points::run(&points::PointsArgs::default())?;
    let (mut text, mut bars) = (String::new(), Vec::new());
    for (about, (table, measured)) in [(points::ABOUT, points), (append::ABOUT, append), (index::ABOUT, index)] {
        text.push_str(&format!("{about}\n\n{table}\n"));
        bars.extend(measured);
    }
    Ok((text, bars))
}
