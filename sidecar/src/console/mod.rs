//! The management console: lines over TCP, answered as etsy's statsd answers them, so that its scripts and checks work on.
//!
//! Nothing that is sent is ever evaluated. What is asked of the open interval goes to the flusher, which owns it, through a
//! bounded channel; an answer lists so many names at most. Whoever reads slowly, is silent or comes one too many is let go.

mod ask;
mod command;
mod inspect;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use statline_statsd::Family;
use statline_statsd::inspect::Listing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use ask::{Ask, Flushes, WAITING_ASKS};

use crate::receive::ReceiveStats;
use crate::status::Status;
use crate::{clock, config};
use command::{Command, HELP};
use inspect::Value;

/// The longest line.
const MAX_LINE_BYTES: usize = 4096;

/// How long a line may stay without its end before it is taken as it is: etsy's console takes what a read brings.
const OPEN_LINE_PAUSE: Duration = Duration::from_millis(200);

/// How long a client may take to read an answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often refused connections are told of.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How many prefixes `offenders` names.
const OFFENDERS: usize = 20;

/// What answers are made from.
pub struct Console {
    /// To the flusher.
    pub asks: mpsc::Sender<Ask>,
    /// What the receivers counted.
    pub received: Arc<ReceiveStats>,
    /// Whether the daemon is fit to work, which `health` can deny.
    pub status: Arc<Status>,
    /// What `config` answers with.
    pub config_text: String,
    /// The bounds.
    pub config: config::Console,
    /// When the daemon started.
    pub started: Instant,
}

/// Takes connections until it is told to stop.
pub async fn serve(listener: TcpListener, console: Arc<Console>, connections: Arc<Semaphore>, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    let mut told_at: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a console connection could not be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            metrics::counter!("statline_console_refused_connections_total").increment(1);
            if told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                told_at = Some(Instant::now());
                let limit = console.config.max_connections;
                tracing::warn!(%peer, limit, "a console connection was refused; raise console.max_connections");
            }
            continue;
        };
        let (console, stop) = (Arc::clone(&console), stop.clone());
        tasks.spawn(async move {
            let _permit = permit;
            let outcome = stop.run_until_cancelled(console.converse(stream)).await;
            if let Some(Err(error)) = outcome {
                tracing::debug!(%peer, %error, "a console connection ended");
            }
        });
    }
    tasks.close();
    tasks.wait().await;
}

impl Console {
    /// Answers line by line until the client leaves.
    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer: Vec<u8> = Vec::new();
        loop {
            let pause = if buffer.is_empty() { self.config.idle_timeout.get() } else { OPEN_LINE_PAUSE };
            let read = tokio::time::timeout(pause, stream.read_buf(&mut buffer)).await;
            let is_over = match read {
                Ok(read) => read? == 0,
                Err(_) if buffer.is_empty() => return Ok(()),
                Err(_) => {
                    buffer.push(b'\n');
                    false
                }
            };
            if is_over && !buffer.is_empty() {
                buffer.push(b'\n');
            }
            while let Some(newline) = buffer.iter().position(|byte| *byte == b'\n') {
                let line = String::from_utf8_lossy(&buffer[..newline]).into_owned();
                buffer.drain(..=newline);
                let answer = match Command::parse(&line) {
                    Some(Command::Quit) => return stream.shutdown().await,
                    Some(command) => self.answer(command).await,
                    None => "ERROR\n".to_owned(),
                };
                tokio::time::timeout(WRITE_TIMEOUT, stream.write_all(answer.as_bytes())).await??;
            }
            if is_over {
                return Ok(());
            }
            if buffer.len() > MAX_LINE_BYTES {
                return stream.write_all(b"ERROR\n").await;
            }
        }
    }

    async fn answer(&self, command: Command) -> String {
        // Only when the daemon is stopping does the flusher not answer.
        self.try_answer(command).await.unwrap_or_else(|| "ERROR\n".to_owned())
    }

    async fn try_answer(&self, command: Command) -> Option<String> {
        const END: &str = "END\n\n";
        let most = self.config.max_names;
        Some(match command {
            Command::Help => HELP.to_owned(),
            Command::Config => self.config_text.clone(),
            Command::Health(wanted) => {
                if let Some(is_up) = wanted {
                    self.status.set_up(is_up);
                }
                format!("health: {}\n", if self.status.is_up() { "up" } else { "down" })
            }
            Command::Dump(family) => {
                let text = match family {
                    Family::Counter => numbers(self.ask(|reply| Ask::Counters(most, reply)).await?),
                    Family::Gauge => numbers(self.ask(|reply| Ask::Gauges(most, reply)).await?),
                    Family::Timer => arrays(self.ask(|reply| Ask::Timers(most, reply)).await?, Value::Number),
                    Family::Set => arrays(self.ask(|reply| Ask::Sets(most, reply)).await?, Value::Text),
                };
                format!("{text}\n{END}")
            }
            Command::Remove(family, patterns) => {
                let mut text = String::new();
                for removed in self.ask(|reply| Ask::Remove(family, patterns, reply)).await? {
                    if removed.names.is_empty() {
                        let _ = writeln!(text, "metric {} not found", removed.pattern);
                    }
                    for name in removed.names {
                        let _ = writeln!(text, "deleted: {name}");
                    }
                }
                text + END
            }
            Command::Refusals => {
                let refusals = self.received.refusals();
                refusals.iter().map(|refusal| format!("{refusal}\n")).collect::<String>() + END
            }
            Command::Offenders => {
                let offenders = self.ask(|reply| Ask::Offenders(OFFENDERS, reply)).await?;
                let line = |offender: &statline_statsd::Offender| {
                    format!("{}: {} series, {} refused\n", offender.prefix, offender.series, offender.refused)
                };
                offenders.iter().map(line).collect::<String>() + END
            }
            Command::Stats => self.stats(self.ask(Ask::Flushes).await?) + END,
            Command::Quit => String::new(),
        })
    }

    /// The server's figures under the names that etsy's has for them, times as seconds that have passed.
    fn stats(&self, flushes: Flushes) -> String {
        let uptime = self.started.elapsed();
        let since = |at: Option<statline_series::Timestamp>| {
            at.map_or(uptime.as_secs(), |at| {
                clock::now().millis().saturating_sub(at.millis()).max(0).unsigned_abs() / 1000
            })
        };
        let last_seen = uptime.saturating_sub(self.received.last_arrival().unwrap_or_default());
        format!(
            "uptime: {}\nmessages.last_msg_seen: {}\nmessages.bad_lines_seen: {}\ngraphite.last_flush: {}\n\
             graphite.last_exception: {}\ngraphite.flush_time: {}\ngraphite.flush_length: {}\n",
            uptime.as_secs(),
            last_seen.as_secs(),
            self.received.totals().bad_lines,
            since(flushes.stored_at),
            since(flushes.failed_at),
            inspect::number(flushes.millis.round()),
            flushes.points,
        )
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.asks.send(ask(reply)).await.ok()?;
        answer.await.ok()
    }
}

fn numbers(listing: Listing<(String, f64)>) -> String {
    let entries: Vec<_> = listing.shown.into_iter().map(|(name, value)| (name, Value::Number(value))).collect();
    inspect::object(&entries, listing.more)
}

fn arrays<T>(listing: Listing<(String, Listing<T>)>, value: fn(T) -> Value) -> String {
    let array = |values: Listing<T>| Value::Array(values.shown.into_iter().map(value).collect(), values.more);
    let entries: Vec<_> = listing.shown.into_iter().map(|(name, values)| (name, array(values))).collect();
    inspect::object(&entries, listing.more)
}

/// The configuration as etsy's console writes one: `section > key: value`. Secrets say only that they are set.
pub fn config_text(config: &impl Serialize) -> String {
    let mut text = "\n".to_owned();
    for (section, keys) in toml::Table::try_from(config).unwrap_or_default() {
        match keys {
            toml::Value::Table(keys) => {
                for (key, value) in keys {
                    let _ = writeln!(text, "{section} > {key}: {}", plain(&value));
                }
            }
            value => {
                let _ = writeln!(text, "{section}: {}", plain(&value));
            }
        }
    }
    text
}

/// A value without quotes, an array with commas.
fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        value => value.to_string(),
    }
}
