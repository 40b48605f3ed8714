//! Opening what is listened on: each address and path of the configuration, unless a service manager passed its socket.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::datagram::{AtStop, DatagramSocket, RECEIVE_TIMEOUT};
use super::drops::{self, Drops};
use super::inherit::{Bound, Inherited};
use super::recvmmsg;
use super::{ReceiveConfig, ReceiveError};

/// How many connections the kernel holds before they are taken.
const BACKLOG: libc::c_int = 1024;

/// Everything that is listened on.
#[derive(Debug, Default)]
pub struct Sockets {
    /// UDP and unix datagram sockets; each gets a thread.
    pub datagrams: Vec<DatagramSocket>,
    /// TCP and unix stream sockets, which share a thread.
    pub streams: Vec<StreamSocket>,
    /// The UDP addresses, ports as they were bound.
    pub udp: Vec<SocketAddr>,
    /// The TCP addresses, ports as they were bound.
    pub tcp: Vec<SocketAddr>,
    /// The unix sockets' paths.
    pub unix: Vec<PathBuf>,
    /// The files of the unix sockets that were opened here.
    pub files: Vec<SocketFile>,
}

/// A socket that connections come to. It does not block.
#[derive(Debug)]
pub struct StreamSocket {
    /// The socket.
    pub socket: Socket,
    /// Whether connections that were not taken wait for the next process.
    pub at_stop: AtStop,
}

/// The file of a unix socket, which is removed with this.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// What a socket is opened for.
#[derive(Clone, Copy)]
struct Purpose {
    key: &'static str,
    kind: &'static str,
}

const UDP: Purpose = Purpose { key: "statsd.listen", kind: "udp" };
const TCP: Purpose = Purpose { key: "statsd.tcp_listen", kind: "tcp" };
const UNIX_DATAGRAM: Purpose = Purpose { key: "statsd.unix_datagram", kind: "unix datagram socket" };
const UNIX_STREAM: Purpose = Purpose { key: "statsd.unix_stream", kind: "unix stream socket" };

impl Purpose {
    fn failed(self, place: impl ToString, source: io::Error) -> ReceiveError {
        ReceiveError::Listen { key: self.key, kind: self.kind, place: place.to_string(), source }
    }
}

impl Sockets {
    /// Opens all of them.
    ///
    /// # Errors
    /// When one cannot be opened.
    pub fn open(config: &ReceiveConfig, inherited: Vec<Inherited>) -> Result<Self, ReceiveError> {
        let mut sockets = Self::default();
        let is_inherited = |is_kind: fn(&Bound) -> bool, address: SocketAddr| {
            inherited.iter().any(|socket| is_kind(&socket.bound) && socket.serves(address))
        };
        for address in &config.listen {
            if is_inherited(|bound| matches!(bound, Bound::Udp(_)), *address) {
                continue;
            }
            match open_udp(*address, config) {
                Ok((bound, opened)) => {
                    tracing::info!(address = %bound, threads = opened.len(), "listening for statsd packets");
                    sockets.udp.push(bound);
                    sockets.datagrams.extend(opened.into_iter().map(|socket| DatagramSocket {
                        socket,
                        at_stop: AtStop::Refuse,
                        drops: Drops::default(),
                    }));
                }
                Err(error) if is_missing_v6(*address, &config.listen, &error) => {
                    tracing::warn!(%address, %error, "no IPv6 here, listening for statsd packets on IPv4 only");
                }
                Err(source) => return Err(UDP.failed(address, source)),
            }
        }
        for address in &config.tcp_listen {
            if is_inherited(|bound| matches!(bound, Bound::Tcp(_)), *address) {
                continue;
            }
            match open_tcp(*address, &config.tcp_listen) {
                Ok((bound, socket)) => {
                    tracing::info!(address = %bound, "listening for statsd connections");
                    sockets.tcp.push(bound);
                    sockets.streams.push(StreamSocket { socket, at_stop: AtStop::Refuse });
                }
                Err(error) if is_missing_v6(*address, &config.tcp_listen, &error) => {
                    tracing::warn!(%address, %error, "no IPv6 here, listening for statsd connections on IPv4 only");
                }
                Err(source) => return Err(TCP.failed(address, source)),
            }
        }
        for (paths, kind, purpose) in
            [(&config.unix_datagram, Type::DGRAM, UNIX_DATAGRAM), (&config.unix_stream, Type::STREAM, UNIX_STREAM)]
        {
            for path in paths {
                let is_this = |bound: &Bound| match bound {
                    Bound::UnixDatagram(bound) => kind == Type::DGRAM && bound == path,
                    Bound::UnixStream(bound) => kind == Type::STREAM && bound == path,
                    Bound::Udp(_) | Bound::Tcp(_) => false,
                };
                if inherited.iter().any(|socket| is_this(&socket.bound)) {
                    continue;
                }
                let (socket, file) = open_unix(path, kind, config).map_err(|e| purpose.failed(path.display(), e))?;
                tracing::info!(path = %path.display(), kind = purpose.kind, "listening for statsd packets");
                sockets.unix.push(path.clone());
                sockets.files.push(file);
                if kind == Type::STREAM {
                    sockets.streams.push(StreamSocket { socket, at_stop: AtStop::Refuse });
                } else {
                    let drops = Drops::default();
                    sockets.datagrams.push(DatagramSocket { socket, at_stop: AtStop::Refuse, drops });
                }
            }
        }
        for socket in inherited {
            sockets.adopt(socket, config)?;
        }
        let kept = sockets.datagrams.iter().filter_map(|socket| socket.drops.path());
        drops::forget_others(&config.drops_directory, kept);
        Ok(sockets)
    }

    /// Makes an inherited socket one of those that are listened on.
    fn adopt(&mut self, inherited: Inherited, config: &ReceiveConfig) -> Result<(), ReceiveError> {
        let Inherited { descriptor, ref name, ref bound, .. } = inherited;
        if let Bound::Tcp(address) = bound
            && name != "statsd"
            && !config.tcp_listen.iter().any(|listen| inherited.serves(*listen))
        {
            return Err(ReceiveError::Unclaimed { descriptor, address: *address });
        }
        tracing::info!(descriptor, name, ?bound, "listening for statsd packets on an inherited socket");
        let unusable = |source| ReceiveError::Inherited { descriptor, source };
        let socket = inherited.socket;
        match inherited.bound {
            Bound::Udp(address) => {
                if config.threads > 1 {
                    tracing::warn!(descriptor, "an inherited socket has one thread, whatever statsd.receivers is");
                }
                let drops = Drops::inherited(&socket, &config.drops_directory).map_err(unusable)?;
                enlarge_receive_buffer(&socket, config.receive_buffer).map_err(unusable)?;
                report_and_time_out(&socket).map_err(unusable)?;
                tell_granted(&socket, address, config.receive_buffer).map_err(unusable)?;
                socket.set_nonblocking(false).map_err(unusable)?;
                self.udp.push(address);
                self.datagrams.push(DatagramSocket { socket, at_stop: AtStop::Leave, drops });
            }
            Bound::UnixDatagram(path) => {
                enlarge_receive_buffer(&socket, config.receive_buffer).map_err(unusable)?;
                prepare_unix_datagram(&socket).map_err(unusable)?;
                socket.set_nonblocking(false).map_err(unusable)?;
                self.unix.push(path);
                self.datagrams.push(DatagramSocket { socket, at_stop: AtStop::Leave, drops: Drops::default() });
            }
            Bound::Tcp(address) => {
                socket.set_nonblocking(true).map_err(unusable)?;
                self.tcp.push(address);
                self.streams.push(StreamSocket { socket, at_stop: AtStop::Leave });
            }
            Bound::UnixStream(path) => {
                socket.set_nonblocking(true).map_err(unusable)?;
                self.unix.push(path);
                self.streams.push(StreamSocket { socket, at_stop: AtStop::Leave });
            }
        }
        Ok(())
    }
}

/// Options of a UDP socket that is to be opened.
#[derive(Clone, Copy)]
struct UdpOptions {
    /// Whether other sockets of ours share the address.
    shared: bool,
    /// Whether an IPv6 socket leaves IPv4 to another one.
    only_v6: bool,
    /// The receive buffer to ask for, in bytes.
    receive_buffer: usize,
}

/// Opens the sockets of a UDP address and says what it was bound to.
fn open_udp(address: SocketAddr, config: &ReceiveConfig) -> io::Result<(SocketAddr, Vec<Socket>)> {
    let options = UdpOptions {
        shared: config.threads > 1,
        only_v6: is_only_v6(address, &config.listen),
        receive_buffer: config.receive_buffer,
    };
    if options.shared {
        // Sockets that share an address would also share it with a second statlined, and each would get a part of the
        // packets. One that does not share finds out.
        drop(open_one_udp(address, UdpOptions { shared: false, ..options })?);
    }
    let first = open_one_udp(address, options)?;
    tell_granted(&first, address, options.receive_buffer)?;
    let bound = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![first];
    for _ in 1..config.threads {
        sockets.push(open_one_udp(bound, options)?);
    }
    Ok((bound, sockets))
}

/// Opens a UDP socket that nobody shares, beside others of the list.
///
/// # Errors
/// The system's.
pub fn open_udp_alone(address: SocketAddr, listen: &[SocketAddr], receive_buffer: usize) -> io::Result<Socket> {
    let options = UdpOptions { shared: false, only_v6: is_only_v6(address, listen), receive_buffer };
    open_one_udp(address, options)
}

fn open_one_udp(address: SocketAddr, options: UdpOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(options.only_v6)?;
    }
    if options.shared {
        socket.set_reuse_port(true)?;
    }
    set_receive_buffer(&socket, options.receive_buffer)?;
    report_and_time_out(&socket)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn report_and_time_out(socket: &Socket) -> io::Result<()> {
    recvmmsg::report_drops(socket.as_fd())?;
    socket.set_read_timeout(Some(RECEIVE_TIMEOUT))
}

fn set_receive_buffer(socket: &Socket, bytes: usize) -> io::Result<()> {
    recvmmsg::force_receive_buffer(socket.as_fd(), bytes).or_else(|_| socket.set_recv_buffer_size(bytes))
}

/// Sizes the buffer of a socket that was passed, but never below what the service manager has given it, which may be more than
/// this process could ask for.
fn enlarge_receive_buffer(socket: &Socket, bytes: usize) -> io::Result<()> {
    let granted = socket.recv_buffer_size()? / 2;
    if granted >= bytes || recvmmsg::force_receive_buffer(socket.as_fd(), bytes).is_ok() {
        return Ok(());
    }
    let most = fs::read_to_string("/proc/sys/net/core/rmem_max").ok().and_then(|most| most.trim().parse().ok());
    match most.map(|most: usize| most.min(bytes)) {
        Some(most) if most > granted => socket.set_recv_buffer_size(most),
        _ => Ok(()),
    }
}

/// Says so when the kernel grants a smaller buffer than was asked for.
fn tell_granted(socket: &Socket, address: SocketAddr, asked: usize) -> io::Result<()> {
    // Linux grants twice what is asked for, to have room for its own bookkeeping.
    let granted = socket.recv_buffer_size()? / 2;
    if granted < asked {
        tracing::warn!(
            %address,
            asked,
            granted,
            "the receive buffer is smaller than asked for, raise net.core.rmem_max"
        );
    }
    Ok(())
}

/// Opens a TCP socket that listens, beside others of the list, and says what it was bound to.
///
/// # Errors
/// The system's.
pub fn open_tcp(address: SocketAddr, listen: &[SocketAddr]) -> io::Result<(SocketAddr, Socket)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(is_only_v6(address, listen))?;
    }
    // So that connections of an earlier process, which the kernel has not forgotten, do not hold up a restart.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok((socket.local_addr()?.as_socket().unwrap_or(address), socket))
}

fn open_unix(path: &Path, kind: Type, config: &ReceiveConfig) -> io::Result<(Socket, SocketFile)> {
    remove_stale(path, kind)?;
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let metadata = fs::symlink_metadata(path)?;
    // From here on, dropping it removes the file.
    let file = SocketFile { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() };
    fs::set_permissions(path, fs::Permissions::from_mode(config.unix_mode))?;
    if kind == Type::STREAM {
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
    } else {
        set_receive_buffer(&socket, config.receive_buffer)?;
        prepare_unix_datagram(&socket)?;
    }
    Ok((socket, file))
}

/// With senders' credentials, the kernel's control messages leave no room for descriptors that a sender might pass, so that
/// it cannot fill our table of them.
fn prepare_unix_datagram(socket: &Socket) -> io::Result<()> {
    socket.set_passcred(true)?;
    socket.set_read_timeout(Some(RECEIVE_TIMEOUT))
}

/// Removes the file of a socket that nobody has open any more.
fn remove_stale(path: &Path, kind: Type) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "a file is there that is no socket"));
        }
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, kind, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "the socket of a process that is no more is removed");
            fs::remove_file(path)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::Error::new(ErrorKind::AddrInUse, "another process listens on it")),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have put its own in its place.
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| metadata.dev() == self.device && metadata.ino() == self.inode);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "the file of a unix socket could not be removed");
        }
    }
}

/// Whether an IPv6 socket must leave IPv4 to another one.
fn is_only_v6(address: SocketAddr, listen: &[SocketAddr]) -> bool {
    !address.ip().is_unspecified() || shares_port_with_v4(address, listen)
}

fn shares_port_with_v4(address: SocketAddr, listen: &[SocketAddr]) -> bool {
    listen.iter().any(|other| other.is_ipv4() && other.port() == address.port())
}

/// Whether an address cannot be listened on only because this machine has no IPv6, and its port is served on IPv4.
fn is_missing_v6(address: SocketAddr, listen: &[SocketAddr], error: &io::Error) -> bool {
    address.is_ipv6()
        && shares_port_with_v4(address, listen)
        && matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}
