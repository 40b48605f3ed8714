//! Datagrams of the plaintext protocol: each holds whole lines.
//!
//! While points are being stored, further datagrams gather, and beyond a bound they wait in the kernel's buffer; what the kernel
//! drops of them is counted.

use std::io;
use std::net::{SocketAddr, UdpSocket as StdUdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::intake::{Funnel, Intake};
use super::stats::count;
use crate::receive::drops::Drops;
use crate::receive::recvmmsg;
use crate::receive::sender::Sender;

/// The longest datagram.
const MOST_BYTES: usize = 65_536;

/// How many datagrams are taken before others have a turn.
const MOST_AT_ONCE: usize = 64;

/// How long a stop reads on when datagrams keep coming.
const LONGEST_DRAIN: Duration = Duration::from_secs(1);

/// How long to wait after an error of the system, so that one that lasts does not take a whole core.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// A socket that datagrams come to.
#[derive(Debug)]
pub struct Mailbox {
    /// The socket.
    pub socket: UdpSocket,
    /// What it has dropped up to now.
    pub drops: Drops,
}

/// Takes datagrams until it is told to stop, then those that the kernel still holds.
pub async fn serve(mailbox: Mailbox, intake: Arc<Intake>, stop: CancellationToken) {
    let Mailbox { socket, drops } = mailbox;
    let funnel = Funnel::new(Arc::clone(&intake));
    let mut receiver = Receiver { socket, drops, intake, funnel, buffer: vec![0; MOST_BYTES] };
    while !stop.is_cancelled() {
        let ready = tokio::select! {
            () = stop.cancelled() => break,
            stored = receiver.funnel.stored() => {
                tell(stored);
                continue;
            }
            ready = receiver.socket.readable(), if receiver.funnel.has_room() => ready,
        };
        if let Err(error) = ready.and_then(|()| receiver.take_in().map(|_| ())) {
            tracing::warn!(%error, "receiving carbon datagrams failed");
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    }
    tell(receiver.drain().await);
}

/// Nobody else can be told that points are lost.
fn tell(stored: io::Result<()>) {
    if let Err(error) = stored {
        tracing::error!(%error, "carbon points that came in datagrams could not be stored");
    }
}

/// What a task works with.
struct Receiver {
    socket: UdpSocket,
    drops: Drops,
    intake: Arc<Intake>,
    funnel: Funnel,
    buffer: Vec<u8>,
}

impl Receiver {
    /// Takes the datagrams that are there, up to a number, and says how many they were.
    fn take_in(&mut self) -> io::Result<usize> {
        let mut taken = 0;
        while taken < MOST_AT_ONCE && self.funnel.has_room() {
            match self.socket.try_recv_from(&mut self.buffer) {
                Ok((length, from)) => {
                    self.take(length, from);
                    taken += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.count_drops(recvmmsg::dropped(self.socket.as_fd()));
        Ok(taken)
    }

    fn take(&mut self, length: usize, from: SocketAddr) {
        // Carbon ends lines of datagrams at returns, too.
        for byte in self.buffer[..length].iter_mut().filter(|byte| **byte == b'\r') {
            *byte = b'\n';
        }
        self.funnel.lines(&self.buffer[..length], sender_at(from));
    }

    fn count_drops(&mut self, dropped: Option<u32>) {
        if let Some(dropped) = dropped {
            count(&self.intake.stats().kernel_drops, self.drops.advance(dropped));
            self.drops.remember();
        }
    }

    /// Takes what the kernel has, whether the runtime knows of it or not, and stores it.
    async fn drain(mut self) -> io::Result<()> {
        // The same socket, by another descriptor.
        let socket: StdUdpSocket = SockRef::from(&self.socket).try_clone()?.into();
        let deadline = Instant::now() + LONGEST_DRAIN;
        while Instant::now() < deadline
            && let Ok((length, from)) = socket.recv_from(&mut self.buffer)
        {
            self.take(length, from);
            if !self.funnel.has_room() {
                self.funnel.finish().await?;
            }
        }
        self.count_drops(recvmmsg::dropped(socket.as_fd()));
        self.funnel.finish().await
    }
}

fn sender_at(mut address: SocketAddr) -> Sender {
    address.set_ip(address.ip().to_canonical());
    Sender::Address(address)
}
