//! What happens by the clock: aggregates whose turn it is are written, and files that have changed are read again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use statline_series::Batch;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::intake::Intake;
use super::router::Router;
use super::rules::{RuleFile, Rules};
use super::stats::count;
use crate::{clock, config, mapping};

/// How often aggregates are looked at; their turns are whole seconds.
const WRITE_EVERY: i64 = 1000;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The most points of aggregates that wait while the store cannot take them; then the oldest are given up.
const MOST_WAITING: usize = 1_000_000;

/// Writes aggregates until it is told that no more points can come, then those that are not over yet.
pub async fn write_aggregates(intake: Arc<Intake>, all_in: CancellationToken) {
    let mut waiting = Batch::default();
    loop {
        let next = clock::now().offset(WRITE_EVERY).millis() / WRITE_EVERY * WRITE_EVERY;
        let sleep = tokio::time::sleep(clock::until(statline_series::Timestamp::from_millis(next)));
        let is_end = all_in.run_until_cancelled(sleep).await.is_none();
        let written = {
            let mut aggregator = intake.aggregator().lock();
            let written = if is_end { aggregator.finish() } else { aggregator.turn(clock::now()) };
            intake.stats().intervals.store(aggregator.intervals() as u64, Ordering::Relaxed);
            intake.stats().values.store(aggregator.values() as u64, Ordering::Relaxed);
            written
        };
        intake.stats().known_names.store(intake.known_names() as u64, Ordering::Relaxed);
        waiting.rows.extend(written.rows);
        waiting = write(&intake, waiting).await;
        if is_end {
            count(&intake.stats().lost_aggregates, waiting.len() as u64);
            return;
        }
    }
}

/// Stores points of aggregates, and answers with those that still wait.
async fn write(intake: &Intake, mut waiting: Batch) -> Batch {
    if waiting.is_empty() {
        return waiting;
    }
    let beyond = waiting.len().saturating_sub(MOST_WAITING);
    waiting.rows.drain(..beyond);
    count(&intake.stats().lost_aggregates, beyond as u64);
    match intake.store().append(waiting.clone()).await {
        Ok(appended) => {
            count(&intake.stats().aggregates, appended.points);
            intake.stats().refused_by_store(appended.refused);
            Batch::default()
        }
        Err(error) => {
            tracing::error!(%error, waiting = waiting.len(), "aggregates could not be stored; they are tried again");
            waiting
        }
    }
}

/// Reads each file again whenever it changes, or when SIGHUP comes, until it is told to stop. A file that is wrong then leaves
/// what was known of it in force.
pub async fn watch_files(intake: Arc<Intake>, config: config::Carbon, mut rules: Rules, stop: CancellationToken) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        tracing::error!("SIGHUP cannot be listened for; a change of carbon's files needs a restart");
        return;
    };
    let mut seen = stamps(&config).await;
    loop {
        let is_asked = tokio::select! {
            () = stop.cancelled() => return,
            _ = hangup.recv() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
        };
        let stamped = stamps(&config).await;
        let changed = stamped.iter().zip(&seen).map(|(now, before)| is_asked || now != before);
        let changed: Vec<RuleFile> = RuleFile::ALL
            .into_iter()
            .zip(changed)
            .filter(|(_, is_changed)| *is_changed)
            .map(|(file, _)| file)
            .collect();
        seen = stamped;
        let mut is_new = false;
        for file in changed {
            let Some(path) = file.path(&config).map(std::path::Path::to_owned) else { continue };
            let mut read = rules.clone();
            let reading = tokio::task::spawn_blocking(move || read.read(file, &path).map(|()| read));
            match reading.await.unwrap_or_else(|error| Err(error.to_string())) {
                Ok(read) => {
                    tracing::info!(file = file.key(), "a file of carbon's rules is read again");
                    count(&intake.stats().reloads, 1);
                    if file == RuleFile::Aggregation {
                        write_all(&intake).await;
                    }
                    rules = read;
                    is_new = true;
                }
                Err(error) => {
                    tracing::error!("{}: {error}; what was known of it stays in force", file.key());
                    count(&intake.stats().failed_reloads, 1);
                }
            }
        }
        if is_new {
            intake.replace(Router::new(rules.clone(), config.forward_all));
        }
    }
}

/// Writes what the aggregation rules up to now have gathered, since the new ones begin anew.
async fn write_all(intake: &Intake) {
    let gathered = intake.aggregator().lock().finish();
    let lost = write(intake, gathered).await;
    count(&intake.stats().lost_aggregates, lost.len() as u64);
}

async fn stamps(config: &config::Carbon) -> Vec<Option<(SystemTime, u64)>> {
    let mut stamps = Vec::new();
    for file in RuleFile::ALL {
        stamps.push(match file.path(config) {
            Some(path) => mapping::stamp(path).await,
            None => None,
        });
    }
    stamps
}
