//! What the statsd server knows, kept over a restart.
//!
//! At a stop the state is written to a file beside the store. A start reads it and removes it, so that it is never read
//! twice. After a death without a stop there is none; the levels of gauges are then asked of the store, where every flush
//! has written them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use statline_series::{Anchor, MatchOp, Matcher, TimeRange, Timestamp};
use statline_statsd::State;
use statline_store::{Fetch, Limits, Resolution, Selection, Store, StoreError};

/// The file's name, in the store's directory.
const FILE: &str = "statsd.state";

/// Where the state is kept.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
}

impl Keeper {
    /// A keeper that writes into a directory.
    pub fn new(directory: &Path) -> Self {
        Self { path: directory.join(FILE) }
    }

    /// Writes down a state whose open interval ends at an instant. That it cannot is told, and not more: the points of the
    /// interval are stored in any case.
    pub fn keep(&self, state: &State, interval_end: Timestamp) {
        let kept = state.snapshot(interval_end).map_err(io::Error::other).and_then(|bytes| self.write(&bytes));
        match kept {
            Ok(bytes) => tracing::info!(path = %self.path.display(), bytes, "the statsd state is kept"),
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "the statsd state cannot be kept over the restart");
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let unfinished = self.path.with_extension("state.new");
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &self.path)?;
        Ok(bytes.len())
    }

    /// Brings back what is known of the time before, for a server whose next flush is at `next`. Answers whether its open
    /// interval goes on. `mark` is the last flush that the store has.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn restore(
        &self,
        state: &mut State,
        store: &dyn Store,
        next: Timestamp,
        mark: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        match self.take() {
            Ok(None) => {}
            Ok(Some(bytes)) => match state.restore(&bytes, next) {
                Ok(goes_on) => {
                    tracing::info!(series = state.series(), goes_on, "the statsd state is back");
                    return Ok(goes_on);
                }
                Err(error) => {
                    tracing::error!(path = %self.path.display(), %error, "gauges are taken from the store instead");
                }
            },
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "the statsd state cannot be read, gauges are taken from the store");
            }
        }
        if let Some(mark) = mark {
            let gauges = restore_gauges(state, store, mark).await?;
            tracing::info!(gauges, %mark, "gauges are back from the last flush");
        }
        Ok(false)
    }

    fn take(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(&self.path) {
            Ok(bytes) => {
                fs::remove_file(&self.path)?;
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Takes the gauges that were part of a flush from the store.
async fn restore_gauges(state: &mut State, store: &dyn Store, mark: Timestamp) -> Result<usize, StoreError> {
    let pattern = format!("^{}", state.gauge_prefix().replace('.', "\\."));
    let Ok(named) = Matcher::new("name", MatchOp::Regex, &pattern, Anchor::Start) else { return Ok(0) };
    let request = Fetch {
        selection: Selection::Matchers(vec![named]),
        range: TimeRange::new(mark, mark.offset(1)),
        resolution: Resolution::Raw,
        consolidation: None,
        limits: Limits { max_series: usize::MAX, max_points: usize::MAX },
    };
    let mut gauges = 0;
    for fetched in store.fetch(&request).await? {
        if let (Some(series), Some(level)) = (state.gauge_of(&fetched.key), fetched.values.values().last()) {
            state.restore_gauge(&series, *level);
            gauges += 1;
        }
    }
    Ok(gauges)
}
