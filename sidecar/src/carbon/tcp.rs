//! Connections of both protocols: lines, or pickles each with its length before it.
//!
//! A connection keeps what has no end yet, a line or a pickle of bounded length. When the daemon stops, what the kernel has taken
//! is read and stored; more is not waited for.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::intake::{Funnel, Intake};
use super::refusal::Refusal;
use super::stats::count;
use crate::receive::sender::Sender;

/// How often refused connections are told of.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What one read may bring.
const READ_BYTES: usize = 256 << 10;

/// How many bytes the length before a pickle has.
const LENGTH_BYTES: usize = 4;

/// How long to wait when a connection cannot be taken, most likely for want of descriptors.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Lines.
    Plaintext,
    /// Pickles of at most so many bytes.
    Pickle {
        /// The longest, in bytes.
        most: usize,
    },
}

/// What connections may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Of all connections at once.
    pub connections: Arc<Semaphore>,
    /// How many that are, to speak of it.
    pub max_connections: usize,
    /// How long one may be silent.
    pub idle_timeout: Duration,
}

/// A socket that connections come to.
#[derive(Debug)]
pub struct Door {
    /// The socket.
    pub listener: TcpListener,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Whether the socket outlives this process, so that connections that were not taken wait for the next one.
    pub is_kept: bool,
}

/// Takes connections until it is told to stop, then lets each store what it has been sent.
pub async fn serve(door: Door, intake: Arc<Intake>, limits: Limits, stop: CancellationToken) {
    let Door { listener, protocol, is_kept } = door;
    let tasks = TaskTracker::new();
    let mut refused_at: Option<Instant> = None;
    loop {
        let accepted = if !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => continue,
                accepted = listener.accept() => accepted,
            }
        } else if !is_kept && let Some(accepted) = accept_waiting(&listener) {
            Ok(accepted)
        } else {
            break;
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a carbon connection could not be accepted");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&limits.connections).try_acquire_owned() else {
            count(&intake.stats().refused_connections, 1);
            // Whoever tries again and again must not fill the log.
            if refused_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                refused_at = Some(Instant::now());
                let limit = limits.max_connections;
                tracing::warn!(%peer, limit, "a carbon connection was refused; raise carbon.max_connections");
            }
            continue;
        };
        let (intake, stop, idle_timeout) = (Arc::clone(&intake), stop.clone(), limits.idle_timeout);
        tasks.spawn(async move {
            let _permit = permit;
            let stats = Arc::clone(intake.stats());
            stats.connections.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = Connection::new(intake, peer, protocol, idle_timeout).run(stream, stop).await {
                tracing::debug!(%peer, %error, "a carbon connection ended");
            }
            stats.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
    tasks.close();
    tasks.wait().await;
}

/// A connection that the kernel has taken already: its client cannot know of the stop.
fn accept_waiting(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    let (socket, address) = SockRef::from(listener).accept().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((TcpStream::from_std(socket.into()).ok()?, address.as_socket()?))
}

/// Reads what the kernel has, whether the runtime knows of it or not.
fn read_waiting(stream: &TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let length = buffer.len();
    buffer.resize(length + READ_BYTES, 0);
    let socket = SockRef::from(stream);
    let read = (&*socket).read(&mut buffer[length..]);
    buffer.truncate(length + *read.as_ref().unwrap_or(&0));
    read
}

struct Connection {
    funnel: Funnel,
    protocol: Protocol,
    sender: Sender,
    max_line: usize,
    idle_timeout: Duration,
    /// What was read and has no end yet.
    buffer: Vec<u8>,
}

impl Connection {
    fn new(intake: Arc<Intake>, mut peer: SocketAddr, protocol: Protocol, idle_timeout: Duration) -> Self {
        peer.set_ip(peer.ip().to_canonical());
        Self {
            max_line: intake.max_line(),
            funnel: Funnel::new(intake),
            protocol,
            sender: Sender::Address(peer),
            idle_timeout,
            buffer: Vec::with_capacity(READ_BYTES),
        }
    }

    async fn run(&mut self, mut stream: TcpStream, stop: CancellationToken) -> io::Result<()> {
        while self.funnel.has_room() || {
            self.funnel.stored().await?;
            true
        } {
            let read = if stop.is_cancelled() {
                match read_waiting(&stream, &mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                    read => read?,
                }
            } else {
                tokio::select! {
                    () = stop.cancelled() => continue,
                    stored = self.funnel.stored() => {
                        // A store that refuses ends the connection, so that the client knows and can send again.
                        stored?;
                        continue;
                    }
                    read = stream.read_buf(&mut self.buffer) => read?,
                    () = tokio::time::sleep(self.idle_timeout) => {
                        tracing::info!(peer = %self.sender, "a silent carbon connection is closed");
                        0
                    }
                }
            };
            let can_go_on = match self.protocol {
                Protocol::Plaintext => self.take_lines(read == 0),
                Protocol::Pickle { most } => self.take_pickles(most, read == 0),
            };
            if read == 0 || !can_go_on {
                break;
            }
        }
        self.funnel.finish().await
    }

    /// Takes the lines that have come whole, and at the end the last one, which needs no newline. Answers whether more can be
    /// read.
    fn take_lines(&mut self, is_end: bool) -> bool {
        let whole =
            if is_end { Some(self.buffer.len()) } else { memchr::memrchr(b'\n', &self.buffer).map(|at| at + 1) };
        if let Some(whole) = whole {
            self.funnel.lines(&self.buffer[..whole], self.sender);
            self.buffer.drain(..whole);
        }
        // Without an end in sight the line cannot be skipped: what follows would be misread.
        let is_endless = self.buffer.len() > self.max_line;
        if is_endless {
            self.refuse(Refusal::LineTooLong(self.buffer.len()));
        }
        !is_endless
    }

    /// Takes the pickles that have come whole. Answers whether more can be read.
    fn take_pickles(&mut self, most: usize, is_end: bool) -> bool {
        let mut at = 0;
        let mut too_long = None;
        while let Some(length) = self.buffer[at..].first_chunk::<LENGTH_BYTES>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            if length > most {
                too_long = Some(length);
                break;
            }
            let Some(pickle) = self.buffer[at + LENGTH_BYTES..].get(..length) else { break };
            self.funnel.pickle(pickle, self.sender);
            at += LENGTH_BYTES + length;
        }
        self.buffer.drain(..at);
        if let Some(length) = too_long {
            self.refuse(Refusal::PickleTooLong(length));
            return false;
        }
        if is_end && !self.buffer.is_empty() {
            self.refuse(Refusal::PickleCut(self.buffer.len()));
        }
        true
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.funnel.refuse(refusal, self.sender, &self.buffer);
        self.funnel.end_read();
    }
}
