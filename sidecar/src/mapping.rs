//! The mapping file, read at the start and again when it changes or on SIGHUP.
//!
//! A file that is wrong when the daemon starts is an error. One that becomes wrong later is told of, and the rules before
//! it stay in force.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use statline_statsd::mapping::{MAX_FILE_BYTES, Rules};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The rules in force; none without a file.
pub type InForce = Option<Arc<Rules>>;

/// Reads a mapping file; the empty path names none.
///
/// # Errors
/// What is wrong with it, in one line that begins with its path.
pub async fn load(path: &Path) -> Result<InForce, String> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let read_from = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || read(&read_from));
    let rules = reading.await.unwrap_or_else(|error| Err(error.to_string()))?;
    for note in rules.notes() {
        tracing::warn!(path = %path.display(), "{note}");
    }
    metrics::gauge!("statline_mapping_rules").set(rules.len() as f64);
    Ok(Some(Arc::new(rules)))
}

/// Reads a mapping file here and now.
///
/// # Errors
/// What is wrong with it, in one line that begins with its path.
pub fn read(path: &Path) -> Result<Rules, String> {
    let mut bytes = Vec::new();
    // One byte more than may be: the parser says that it is too much.
    let opened = File::open(path).map(|file| file.take(MAX_FILE_BYTES as u64 + 1));
    let rules = match opened.and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => Rules::parse(&bytes).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    rules.map_err(|error| format!("{}: {error}", path.display()))
}

/// Reads the file again whenever it changes, or when SIGHUP comes, and tells of the new rules.
pub async fn keep_up(path: PathBuf, in_force: watch::Sender<InForce>, stop: CancellationToken) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be listened for; a changed mapping file needs a restart");
        return;
    };
    let mut seen = stamp(&path).await;
    loop {
        let is_asked = tokio::select! {
            () = stop.cancelled() => return,
            _ = hangup.recv() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let stamped = stamp(&path).await;
        if path.as_os_str().is_empty() || (!is_asked && stamped == seen) {
            continue;
        }
        seen = stamped;
        match load(&path).await {
            Ok(rules) => {
                let count = rules.as_ref().map_or(0, |rules| rules.len());
                tracing::info!(path = %path.display(), rules = count, "the mapping file is read again");
                metrics::counter!("statline_mapping_reloads_total").increment(1);
                in_force.send_replace(rules);
            }
            Err(error) => {
                tracing::error!("{error}; the rules before it stay in force");
                metrics::counter!("statline_mapping_failed_reloads_total").increment(1);
            }
        }
    }
}

/// What changes when a file does; following links, so that a directory that is swapped as a whole is noticed.
pub async fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let path = path.to_owned();
    let metadata = tokio::task::spawn_blocking(move || std::fs::metadata(path)).await.ok()?.ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until_changed(receiver: &mut watch::Receiver<InForce>) -> usize {
        tokio::time::timeout(Duration::from_secs(20), receiver.changed()).await.unwrap().unwrap();
        receiver.borrow_and_update().as_ref().map_or(0, |rules| rules.len())
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again_and_a_wrong_one_leaves_the_rules() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mapping.yml");
        let rule = |number: usize| format!("- match: \"a{number}.*\"\n  name: \"b{number}\"\n");
        std::fs::write(&path, format!("mappings:\n{}", rule(1))).unwrap();
        let rules = load(&path).await.unwrap();
        assert_eq!(rules.as_ref().unwrap().len(), 1);
        let (sender, mut receiver) = watch::channel(rules);
        let stop = CancellationToken::new();
        let keeping = tokio::spawn(keep_up(path.clone(), sender, stop.clone()));
        // Whether the file is stamped before or after this, one of the two is told.
        std::fs::write(&path, format!("mappings:\n{}{}", rule(1), rule(2))).unwrap();
        tokio::time::sleep(LOOK_EVERY).await;
        std::fs::write(&path, format!("mappings:\n{}{}{}", rule(1), rule(2), rule(3))).unwrap();
        while until_changed(&mut receiver).await != 3 {}
        std::fs::write(&path, "mappings: nonsense").unwrap();
        let error = load(&path).await.unwrap_err();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        assert_eq!(error.lines().count(), 1);
        tokio::time::sleep(LOOK_EVERY * 2).await;
        assert_eq!(receiver.borrow().as_ref().unwrap().len(), 3, "the old rules stay");
        std::fs::write(&path, format!("mappings:\n{}", rule(1))).unwrap();
        assert_eq!(until_changed(&mut receiver).await, 1);
        stop.cancel();
        keeping.await.unwrap();
    }

    #[tokio::test]
    async fn without_a_path_there_are_no_rules_and_a_path_to_nothing_is_an_error() {
        assert!(load(Path::new("")).await.unwrap().is_none());
        assert!(load(Path::new("/no/such/file.yml")).await.unwrap_err().starts_with("/no/such/file.yml: "));
    }
}
