//! Sockets that a service manager opened and keeps: systemd's socket activation, as sd_listen_fds(3) has it.
//!
//! A socket is recognised by what it is and where it is bound, and takes the place of the one that would have been opened
//! for that address. It outlives this process, so packets and connections that come while there is none are waiting in it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

use socket2::{Domain, Socket, Type};
use thiserror::Error;

use super::recvmmsg;

/// The first descriptor that is passed, `SD_LISTEN_FDS_START`.
const FIRST: RawFd = 3;

/// Why inherited sockets cannot be used, in one line.
#[derive(Debug, Error)]
pub enum InheritError {
    /// `LISTEN_FDS` is no number of descriptors.
    #[error("LISTEN_FDS is {0:?}; it must be the number of sockets passed")]
    Count(String),
    /// A descriptor is not open.
    #[error("LISTEN_FDS is {0}, but not so many descriptors from 3 on are open")]
    NotOpen(RawFd),
    /// A descriptor is no socket, or none that can be used.
    #[error("the inherited descriptor {descriptor} ({name}) cannot be used: {reason}")]
    Unusable {
        /// Its number.
        descriptor: RawFd,
        /// Its name in `LISTEN_FDNAMES`.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a socket is, and where it is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A UDP socket.
    Udp(SocketAddr),
    /// A TCP socket that listens.
    Tcp(SocketAddr),
    /// A unix datagram socket.
    UnixDatagram(PathBuf),
    /// A unix stream socket that listens.
    UnixStream(PathBuf),
}

/// A socket that was passed.
#[derive(Debug)]
pub struct Inherited {
    /// Its name in `LISTEN_FDNAMES`: `FileDescriptorName=` of the socket unit, or the unit's own name.
    pub name: String,
    /// What it is.
    pub bound: Bound,
    /// The socket.
    pub socket: Socket,
    /// Its number, to speak of it.
    pub descriptor: RawFd,
    /// Whether an IPv6 socket takes IPv4, too.
    is_dual: bool,
}

impl Inherited {
    /// Whether it takes the place of a socket of its kind for `address`: the port is the same, and the family is served.
    pub fn serves(&self, address: SocketAddr) -> bool {
        let (Bound::Udp(own) | Bound::Tcp(own)) = self.bound else { return false };
        own.port() == address.port() && (own.is_ipv4() == address.is_ipv4() || self.is_dual)
    }
}

/// Takes over the sockets that were passed to this process. It must come before anything opens a descriptor.
///
/// # Errors
/// When what was passed is not what the environment says, or cannot be used.
pub fn take(environment: impl Fn(&str) -> Option<String>) -> Result<Vec<Inherited>, InheritError> {
    let is_ours = environment("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string());
    let Some(count) = environment("LISTEN_FDS").filter(|_| is_ours) else { return Ok(Vec::new()) };
    let count: RawFd = count.parse().ok().filter(|count| *count >= 0).ok_or(InheritError::Count(count))?;
    let descriptors = recvmmsg::take_over(FIRST, count).ok_or(InheritError::NotOpen(count))?;
    let names = environment("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let named = (FIRST..).zip(descriptors);
    named.map(|(number, descriptor)| recognise(number, names.next().unwrap_or_default(), descriptor)).collect()
}

fn recognise(descriptor: RawFd, name: &str, owned: OwnedFd) -> Result<Inherited, InheritError> {
    let unusable = |reason: String| InheritError::Unusable { descriptor, name: name.to_owned(), reason };
    let socket = Socket::from(owned);
    let (bound, is_dual) = bound(&socket).map_err(|error| unusable(error.to_string()))?.ok_or_else(|| {
        unusable("it is not a UDP, TCP, unix datagram or unix stream socket that is bound and listens".to_owned())
    })?;
    Ok(Inherited { name: name.to_owned(), bound, socket, descriptor, is_dual })
}

fn bound(socket: &Socket) -> io::Result<Option<(Bound, bool)>> {
    let (kind, domain, address) = (socket.r#type()?, socket.domain()?, socket.local_addr()?);
    let is_stream = kind == Type::STREAM && socket.is_listener()?;
    if let Some(ip) = address.as_socket() {
        let is_dual = domain == Domain::IPV6 && !socket.only_v6()?;
        let bound = match kind {
            Type::DGRAM => Some(Bound::Udp(ip)),
            _ if is_stream => Some(Bound::Tcp(ip)),
            _ => None,
        };
        return Ok(bound.map(|bound| (bound, is_dual)));
    }
    let path = address.as_pathname().map(PathBuf::from);
    Ok(path.and_then(|path| match kind {
        Type::DGRAM => Some((Bound::UnixDatagram(path), false)),
        _ if is_stream => Some((Bound::UnixStream(path), false)),
        _ => None,
    }))
}

/// Takes the TCP socket for another part of the daemon out of those that were passed: by the name of its section, or by its
/// port.
pub fn take_tcp(inherited: &mut Vec<Inherited>, section: &str, address: SocketAddr) -> Option<Socket> {
    take_one(inherited, |bound| matches!(bound, Bound::Tcp(_)), section, address)
}

/// The same for a UDP socket.
pub fn take_udp(inherited: &mut Vec<Inherited>, section: &str, address: SocketAddr) -> Option<Socket> {
    take_one(inherited, |bound| matches!(bound, Bound::Udp(_)), section, address)
}

fn take_one(
    inherited: &mut Vec<Inherited>,
    is_kind: fn(&Bound) -> bool,
    section: &str,
    address: SocketAddr,
) -> Option<Socket> {
    let is_one = |socket: &Inherited| is_kind(&socket.bound);
    let named = inherited.iter().position(|socket| is_one(socket) && socket.name == section);
    let at = named.or_else(|| inherited.iter().position(|socket| is_one(socket) && socket.serves(address)))?;
    Some(inherited.swap_remove(at).socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixDatagram, UnixListener};

    fn recognised(socket: impl Into<OwnedFd>) -> Result<Inherited, String> {
        recognise(7, "statlined.socket", socket.into()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_socket_is_recognised_by_what_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let (datagram, stream) = (directory.path().join("d"), directory.path().join("s"));
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = TcpListener::bind("[::1]:0").unwrap();
        let (udp_address, tcp_address) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
        assert_eq!(recognised(udp).unwrap().bound, Bound::Udp(udp_address));
        let connection = TcpStream::connect(tcp_address).unwrap();
        assert_eq!(recognised(tcp).unwrap().bound, Bound::Tcp(tcp_address));
        let unix = UnixDatagram::bind(&datagram).unwrap();
        assert_eq!(recognised(unix).unwrap().bound, Bound::UnixDatagram(datagram));
        let unix = UnixListener::bind(&stream).unwrap();
        assert_eq!(recognised(unix).unwrap().bound, Bound::UnixStream(stream));
        let (file, unnamed) = (tempfile::tempfile().unwrap(), UnixDatagram::unbound().unwrap());
        for descriptor in [OwnedFd::from(connection), OwnedFd::from(file), OwnedFd::from(unnamed)] {
            let error = recognised(descriptor).unwrap_err();
            assert!(error.starts_with("the inherited descriptor 7 (statlined.socket) cannot be used: "), "{error}");
        }
    }

    #[test]
    fn a_socket_serves_its_port_in_its_families() {
        let serves = |socket: UdpSocket, address: &str| {
            let mut address: SocketAddr = address.parse().unwrap();
            address.set_port(socket.local_addr().unwrap().port());
            recognised(socket).unwrap().serves(address)
        };
        assert!(serves(UdpSocket::bind("127.0.0.1:0").unwrap(), "0.0.0.0:0"));
        assert!(!serves(UdpSocket::bind("127.0.0.1:0").unwrap(), "[::]:0"));
        assert!(serves(UdpSocket::bind("[::]:0").unwrap(), "0.0.0.0:0"), "dual");
        assert!(serves(UdpSocket::bind("[::]:0").unwrap(), "[::]:0"));
    }

    #[test]
    fn what_was_passed_to_another_process_is_left_alone() {
        let environment = |pid: &'static str, count: &'static str| {
            take(move |name| match name {
                "LISTEN_PID" => Some(pid.to_owned()),
                "LISTEN_FDS" => Some(count.to_owned()),
                _ => None,
            })
        };
        assert_eq!(environment("1", "2").unwrap().len(), 0);
        assert_eq!(take(|_| None).unwrap().len(), 0);
    }
}
