//! A target that packets are sent to as packets.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::{End, Figures, Parcel, TELL_EVERY, Target, resolve};

/// How long a name's address holds.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// How long to wait before a name is asked for again that had no address.
const RESOLVE_AGAIN: Duration = Duration::from_secs(5);

/// How long a packet may wait for room in the socket's buffer.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Where packets go, and the socket that they leave by.
pub struct UdpTarget {
    name: String,
    /// Whether the name is an address, which does not change.
    is_address: bool,
    connected: Option<(SocketAddr, UdpSocket)>,
    resolve_at: Instant,
    told_at: Option<Instant>,
}

impl UdpTarget {
    /// A target that is looked for when there is something to send.
    pub fn new(name: String) -> Self {
        let is_address = name.parse::<SocketAddr>().is_ok();
        Self { name, is_address, connected: None, resolve_at: Instant::now(), told_at: None }
    }

    /// The socket, connected to what the name means.
    fn socket(&mut self) -> Option<&UdpSocket> {
        let is_due = Instant::now() >= self.resolve_at && !(self.is_address && self.connected.is_some());
        if is_due {
            match resolve(&self.name).and_then(|addresses| self.connect(addresses[0])) {
                Ok(()) => self.resolve_at = Instant::now() + RESOLVE_EVERY,
                Err(error) => {
                    self.resolve_at = Instant::now() + RESOLVE_AGAIN;
                    if self.told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                        self.told_at = Some(Instant::now());
                        tracing::warn!(to = self.name, %error, "a target of the repeater cannot be reached");
                    }
                }
            }
        }
        self.connected.as_ref().map(|(_, socket)| socket)
    }

    fn connect(&mut self, address: SocketAddr) -> io::Result<()> {
        if self.connected.as_ref().is_some_and(|(connected, _)| *connected == address) {
            return Ok(());
        }
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        self.connected = Some((address, socket));
        Ok(())
    }
}

impl Target for UdpTarget {
    fn send(&mut self, parcel: &Parcel, figures: &Figures, _end: &End) {
        let Some(socket) = self.socket() else { return figures.drop_packets(parcel.ends.len()) };
        let mut sent = 0;
        for packet in parcel.packets() {
            let first = socket.send(packet);
            // It tells of an earlier packet, which nobody took; this one has not been sent yet.
            let tells_of_earlier = first.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
            let outcome = if tells_of_earlier { socket.send(packet) } else { first };
            sent += u64::from(outcome.is_ok());
            figures.drop_packets(usize::from(outcome.is_err()));
        }
        figures.sent.increment(sent);
    }
}
