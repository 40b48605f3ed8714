//! Carbon's plaintext protocol over TCP: `path value timestamp`, a line a point.
//!
//! Points of all that a read brings are appended together, and the next read waits for that, so that a fast sender is slowed
//! down by TCP and never fills memory.

use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use statline_series::{Batch, Kind, SeriesKey, Timestamp};
use statline_store::Store;
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{clock, config};

/// How often refused connections are told of.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// What one read may bring.
const READ_BYTES: usize = 256 << 10;

/// Why a line is no point.
#[derive(Debug, Error, PartialEq)]
pub enum BadLine {
    /// Not three fields.
    #[error("a line is written path value timestamp, got {0} fields")]
    Fields(usize),
    /// The path is not a key.
    #[error("{0}")]
    Key(#[from] statline_series::KeyError),
    /// The value is not a number.
    #[error("the value {0:?} is not a number")]
    Value(String),
    /// The timestamp is not one.
    #[error("the timestamp {0:?} is not seconds since the epoch, or -1 for now")]
    Timestamp(String),
    /// Longer than carbon.max_line_bytes.
    #[error("the line has {0} bytes, more than carbon.max_line_bytes")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("the line is not utf-8")]
    NotText,
}

/// Takes connections until it is told to stop, then lets each append what it has read.
pub async fn serve(
    listener: TcpListener,
    store: Arc<dyn Store>,
    config: config::Carbon,
    connections: Arc<Semaphore>,
    stop: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let mut refused_at: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: let others close theirs.
                tracing::warn!(%error, "a carbon connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&connections).try_acquire_owned() else {
            metrics::counter!("statline_carbon_refused_connections_total").increment(1);
            // Whoever tries again and again must not fill the log.
            if refused_at.is_some_and(|at| at.elapsed() < TELL_EVERY) {
                continue;
            }
            refused_at = Some(Instant::now());
            tracing::warn!(%peer, limit = config.max_connections, "a carbon connection was refused; raise carbon.max_connections");
            continue;
        };
        let mut connection = Connection {
            store: Arc::clone(&store),
            peer,
            max_line: config.max_line_bytes,
            idle_timeout: config.idle_timeout.get(),
            told: false,
        };
        let stop = stop.clone();
        tasks.spawn(async move {
            let _permit = permit;
            if let Err(error) = connection.run(stream, stop).await {
                tracing::debug!(%peer, %error, "a carbon connection ended");
            }
        });
    }
    tasks.close();
    tasks.wait().await;
}

struct Connection {
    store: Arc<dyn Store>,
    peer: SocketAddr,
    max_line: usize,
    idle_timeout: Duration,
    /// Whether a bad line of this connection was already logged.
    told: bool,
}

impl Connection {
    async fn run(&mut self, mut stream: TcpStream, stop: CancellationToken) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(READ_BYTES);
        loop {
            let read = if stop.is_cancelled() {
                // What the kernel has acknowledged already is still taken; more is not waited for.
                match stream.try_read_buf(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                    read => read?,
                }
            } else {
                tokio::select! {
                    () = stop.cancelled() => continue,
                    read = stream.read_buf(&mut buffer) => read?,
                    () = tokio::time::sleep(self.idle_timeout) => {
                        tracing::info!(peer = %self.peer, "a silent carbon connection is closed");
                        0
                    }
                }
            };
            let end = if read == 0 {
                buffer.len()
            } else {
                buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
            };
            self.take(&buffer[..end]).await?;
            buffer.drain(..end);
            if buffer.len() > self.max_line {
                // Without an end in sight the line cannot be skipped: what follows would be misread.
                self.refuse(&buffer, &BadLine::TooLong(buffer.len()));
                break;
            }
            if read == 0 {
                break;
            }
        }
        Ok(())
    }

    async fn take(&mut self, lines: &[u8]) -> io::Result<()> {
        let now = clock::now();
        let mut batch = Batch::default();
        for line in lines.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if line.len() > self.max_line {
                self.refuse(line, &BadLine::TooLong(line.len()));
                continue;
            }
            match parse_line(line, now) {
                Ok((key, timestamp, value)) => {
                    let kind = Kind::of_path(key.name());
                    batch.push(key, kind, timestamp, value);
                }
                Err(error) => self.refuse(line, &error),
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        let points = batch.len();
        // A store that refuses ends the connection, so that the client knows and can send again.
        let appended = self.store.append(batch).await.map_err(io::Error::other)?;
        metrics::counter!("statline_carbon_points_total").increment(appended.points);
        metrics::counter!("statline_carbon_refused_points_total").increment(appended.refused.total());
        if appended.refused.total() > 0 && !self.told {
            self.told = true;
            tracing::warn!(peer = %self.peer, points, refused = ?appended.refused, "the store did not take every point");
        }
        Ok(())
    }

    fn refuse(&mut self, line: &[u8], error: &BadLine) {
        metrics::counter!("statline_carbon_bad_lines_total").increment(1);
        if !self.told {
            self.told = true;
            let excerpt: String = String::from_utf8_lossy(line).chars().take(80).collect();
            tracing::warn!(peer = %self.peer, %error, line = excerpt, "a carbon line is refused; others of this connection are only counted");
        }
    }
}

fn parse_line(line: &[u8], now: Timestamp) -> Result<(SeriesKey, Timestamp, f64), BadLine> {
    let line = std::str::from_utf8(line).map_err(|_| BadLine::NotText)?;
    let mut fields = line.split_ascii_whitespace();
    let (Some(path), Some(value), Some(timestamp), None) = (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(BadLine::Fields(line.split_ascii_whitespace().count()));
    };
    let key = SeriesKey::parse(path)?;
    let value = f64::from_str(value).map_err(|_| BadLine::Value(value.to_owned()))?;
    let timestamp = match f64::from_str(timestamp) {
        Ok(-1.0) => now,
        #[expect(clippy::cast_possible_truncation, reason = "bounded by the guard")]
        Ok(seconds) if (0.0..1e12).contains(&seconds) => Timestamp::from_millis((seconds * 1000.0) as i64),
        _ => return Err(BadLine::Timestamp(timestamp.to_owned())),
    };
    Ok((key, timestamp, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_path_value_timestamp() {
        let now = Timestamp::from_seconds(100);
        let key = |text: &str| SeriesKey::parse(text).unwrap();
        for (line, parsed) in [
            ("a.b 1.5 42", Ok((key("a.b"), Timestamp::from_seconds(42), 1.5))),
            ("a.b;t=v\t-2e3  42.25", Ok((key("a.b;t=v"), Timestamp::from_millis(42_250), -2000.0))),
            ("a.b 1 -1", Ok((key("a.b"), now, 1.0))),
            ("a.b 1", Err(BadLine::Fields(2))),
            ("a.b 1 2 3", Err(BadLine::Fields(4))),
            ("a.b one 2", Err(BadLine::Value("one".into()))),
            ("a.b 1 yesterday", Err(BadLine::Timestamp("yesterday".into()))),
            ("a.b 1 -7", Err(BadLine::Timestamp("-7".into()))),
            (";t=v 1 2", Err(BadLine::Key(statline_series::KeyError::EmptyName))),
        ] {
            assert_eq!(parse_line(line.as_bytes(), now), parsed, "{line}");
        }
        assert_eq!(parse_line(b"a\xff 1 2", now), Err(BadLine::NotText));
    }
}
