//! Datagrams of the plaintext protocol: each holds whole lines.
//!
//! While points are being stored, further datagrams gather, and beyond a bound they wait in the kernel's buffer; what the kernel
//! drops of them is counted.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    let deadline = Instant::now() + LONGEST_DRAIN;
    while Instant::now() < deadline && receiver.take_in().is_ok_and(|taken| taken > 0) {
        tell(receiver.funnel.finish().await);
    }
    tell(receiver.funnel.finish().await);
}

/// Nobody else can be told that points are lost.
fn tell(stored: io::Result<()>) {
    if let Err(error) = stored {
        tracing::error!(%error, "carbon points that came in datagrams could not be stored");
    }
}

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
                    // Carbon ends lines of datagrams at returns, too.
                    for byte in self.buffer[..length].iter_mut().filter(|byte| **byte == b'\r') {
                        *byte = b'\n';
                    }
                    self.funnel.lines(&self.buffer[..length], sender_at(from));
                    taken += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if let Some(dropped) = recvmmsg::dropped(self.socket.as_fd()) {
            count(&self.intake.stats().kernel_drops, self.drops.advance(dropped));
            self.drops.remember();
        }
        Ok(taken)
    }
}

fn sender_at(mut address: SocketAddr) -> Sender {
    address.set_ip(address.ip().to_canonical());
    Sender::Address(address)
}
