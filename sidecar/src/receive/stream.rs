//! TCP and unix stream connections: one thread for all of them, with one table.
//!
//! A connection is read when it has something to read, into a buffer that all share; it keeps no more than the line that
//! has no end yet. What a table has not taken in is not read, so a fast sender is slowed down by its own socket. When the
//! daemon stops, what the kernel has taken is read, and a line that has no end then is refused, as it may have been cut.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::{SockRef, Socket};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::datagram::AtStop;
use super::framing::{Framing, Piece};
use super::intake::Intake;
use super::sender::Sender;
use super::sockets::StreamSocket;
use super::stats::Connected;
use crate::repeater::Feed;

/// What one read may bring.
const READ_BYTES: usize = 64 << 10;

/// How often refused connections, and those that cannot be taken, are told of.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How long to wait when a connection cannot be taken, most likely for want of descriptors.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// How long a stop reads on when senders keep sending.
const LONGEST_DRAIN: Duration = Duration::from_secs(1);

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// Of all connections at once.
    pub max_connections: usize,
    /// How long one may be silent.
    pub idle_timeout: Duration,
    /// The longest line.
    pub max_line_bytes: usize,
}

/// What the connections share.
struct Shared {
    intake: RefCell<Intake>,
    buffer: RefCell<Vec<u8>>,
    feed: Option<Feed>,
    limits: StreamLimits,
    stop: CancellationToken,
    connections: TaskTracker,
    told_at: RefCell<Option<Instant>>,
    /// Since when the stop reads on; and whether it gave that up while there was more.
    drain_until: RefCell<Option<Instant>>,
    unread: RefCell<bool>,
}

/// Takes connections and what they bring until `stop` is cancelled. Answers whether something was left unread.
///
/// # Errors
/// When the sockets cannot be waited for.
pub fn run(
    sockets: Vec<StreamSocket>,
    intake: Intake,
    limits: StreamLimits,
    feed: Option<Feed>,
    stop: CancellationToken,
) -> io::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shared = Rc::new(Shared {
        intake: RefCell::new(intake),
        buffer: RefCell::new(vec![0; READ_BYTES]),
        feed,
        limits,
        stop,
        connections: TaskTracker::new(),
        told_at: RefCell::default(),
        drain_until: RefCell::default(),
        unread: RefCell::default(),
    });
    LocalSet::new().block_on(&runtime, async {
        let listeners = TaskTracker::new();
        for StreamSocket { socket, at_stop } in sockets {
            let listener = Listener::new(socket)?;
            listeners.spawn_local(accept(Rc::clone(&shared), listener, at_stop));
        }
        listeners.close();
        listeners.wait().await;
        shared.connections.close();
        shared.connections.wait().await;
        Ok(*shared.unread.borrow())
    })
}

async fn accept(shared: Rc<Shared>, listener: Listener, at_stop: AtStop) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, sender)) => admit(&shared, stream, sender),
            Err(error) => {
                if shared.may_tell() {
                    tracing::warn!(%error, "a statsd connection could not be taken");
                }
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
    if at_stop == AtStop::Leave {
        return;
    }
    // Those that the kernel has taken, and what they have sent: their clients cannot know that nobody would read it.
    while let Ok((socket, address)) = listener.socket().accept() {
        let sender = address.as_socket().map_or(Sender::Unknown, sender_at);
        let (connected, connection) = (shared.connected(), Rc::clone(&shared));
        shared.connections.spawn_local(async move {
            let _connected = connected;
            if socket.set_nonblocking(true).is_ok() {
                connection.drain(&socket, &mut Framing::new(connection.limits.max_line_bytes), sender).await;
            }
        });
    }
}

fn admit(shared: &Rc<Shared>, stream: Stream, sender: Sender) {
    if shared.connections.len() >= shared.limits.max_connections {
        shared.intake.borrow().stats().refused_connection();
        // Whoever tries again and again must not fill the log.
        if shared.may_tell() {
            let limit = shared.limits.max_connections;
            tracing::warn!(%sender, limit, "a statsd connection was refused; raise statsd.max_connections");
        }
        return;
    }
    let connected = shared.connected();
    let connection = Rc::clone(shared);
    shared.connections.spawn_local(async move {
        let _connected = connected;
        connection.serve(stream, sender).await;
    });
}

impl Shared {
    fn connected(&self) -> Connected {
        self.intake.borrow().stats().connected()
    }

    fn may_tell(&self) -> bool {
        let mut told_at = self.told_at.borrow_mut();
        let may = told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY);
        if may {
            *told_at = Some(Instant::now());
        }
        may
    }

    async fn serve(&self, stream: Stream, sender: Sender) {
        let mut framing = Framing::new(self.limits.max_line_bytes);
        loop {
            let readable = tokio::select! {
                biased;
                () = self.stop.cancelled() => return self.drain(&stream.socket(), &mut framing, sender).await,
                readable = tokio::time::timeout(self.limits.idle_timeout, stream.readable()) => readable,
            };
            let read = match readable {
                Ok(ready) => ready.and_then(|()| stream.try_read(&mut self.buffer.borrow_mut())),
                Err(_) => {
                    tracing::info!(%sender, "a silent statsd connection is closed");
                    Ok(0)
                }
            };
            match read {
                Ok(0) => return self.end(&framing, sender),
                Ok(length) => self.take_in(&mut framing, length, sender),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => {
                    tracing::debug!(%sender, %error, "a statsd connection broke");
                    return self.cut(&framing, sender);
                }
            }
        }
    }

    /// Reads what there is, without waiting, when nothing more is to come.
    async fn drain(&self, socket: &Socket, framing: &mut Framing, sender: Sender) {
        let deadline = *self.drain_until.borrow_mut().get_or_insert_with(|| Instant::now() + LONGEST_DRAIN);
        loop {
            let mut reader = socket;
            // In one statement with take_in the buffer would still be borrowed.
            let read = reader.read(&mut self.buffer.borrow_mut());
            match read {
                Ok(0) => return self.end(framing, sender),
                Ok(length) => self.take_in(framing, length, sender),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.cut(framing, sender),
            }
            if Instant::now() >= deadline {
                self.unread.replace(true);
                return self.cut(framing, sender);
            }
            // Who sends without a pause must not use up the time of all.
            tokio::task::yield_now().await;
        }
    }

    fn take_in(&self, framing: &mut Framing, length: usize, sender: Sender) {
        let buffer = self.buffer.borrow();
        let mut intake = self.intake.borrow_mut();
        let mut batch = intake.batch();
        batch.totals.bytes = length as u64;
        framing.push(&buffer[..length], |position, piece| match piece {
            Piece::Lines(lines) => {
                // Etsy's server counts a read up to its last newline as a packet.
                batch.totals.packets = 1;
                batch.lines(lines, offset(position), || sender);
                if let Some(feed) = &self.feed {
                    feed.lines(lines);
                }
            }
            Piece::TooLong(begin) => batch.cut_line(begin, offset(position), || sender),
        });
    }

    /// Takes the last line of a connection that its client has closed, which needs no newline.
    fn end(&self, framing: &Framing, sender: Sender) {
        let (position, line) = framing.open_line();
        if line.is_empty() {
            return;
        }
        let mut intake = self.intake.borrow_mut();
        let mut batch = intake.batch();
        batch.totals.packets = 1;
        batch.lines(line, offset(position), || sender);
        if let Some(feed) = &self.feed {
            feed.lines(line);
        }
    }

    /// Refuses the last line of a connection that ended otherwise: what is there of it may mean something else.
    fn cut(&self, framing: &Framing, sender: Sender) {
        let (position, line) = framing.open_line();
        if !line.is_empty() {
            self.intake.borrow_mut().batch().cut_line(line, offset(position), || sender);
        }
    }
}

fn offset(position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}

/// A listening socket of either family.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection of either family.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    fn new(socket: Socket) -> io::Result<Self> {
        if socket.local_addr()?.is_unix() {
            Ok(Self::Unix(UnixListener::from_std(StdUnixListener::from(OwnedFd::from(socket)))?))
        } else {
            Ok(Self::Tcp(TcpListener::from_std(StdTcpListener::from(socket))?))
        }
    }

    async fn accept(&self) -> io::Result<(Stream, Sender)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::Tcp(stream), sender_at(peer)))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let sender = stream.peer_cred().map_or(Sender::Unknown, |peer| Sender::Process {
                    pid: peer.pid().unwrap_or_default(),
                    uid: peer.uid(),
                });
                Ok((Stream::Unix(stream), sender))
            }
        }
    }

    fn socket(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(listener) => SockRef::from(listener),
            Self::Unix(listener) => SockRef::from(listener),
        }
    }
}

impl Stream {
    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
        }
    }

    fn socket(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        }
    }
}

fn sender_at(mut address: SocketAddr) -> Sender {
    address.set_ip(address.ip().to_canonical());
    Sender::Address(address)
}
