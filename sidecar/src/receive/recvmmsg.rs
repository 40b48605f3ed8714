//! Many datagrams in one system call, and what the kernel says beside them; and descriptors that this process was given.
//!
//! The only module with `unsafe` in it. What a call needs is laid out once, in boxes that do not move; only what a call
//! filled is ever read, since the entries beyond its count hold older packets, and is put back before the next one.

#![expect(unsafe_code, reason = "recvmmsg, socket options that no safe wrapper offers, inherited descriptors")]

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::sender::Sender;

/// How many datagrams a call takes at most.
const BATCH: u32 = 64;

const BUFFERS: usize = BATCH as usize;

/// The bytes after which lines fall into the same sets of a cache again: of L2, as it is built today.
const CACHE_SETS_BYTES: usize = 64 << 10;

/// The packets that most clients send are a little shorter than Ethernet's frames.
const USUAL_PACKET_BYTES: usize = 23 * 64;

/// Room for one control message that holds a `u32` or a `ucred`, aligned as control messages are.
type Control = [u64; 4];

/// The size of something the kernel is handed, all of which are far smaller than 4 GiB.
#[expect(clippy::cast_possible_truncation, reason = "sizes of addresses, integers and small arrays")]
const fn length_of<T>() -> libc::socklen_t {
    size_of::<T>() as libc::socklen_t
}

/// Whether a call waits for a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Waits for the first one, as long as the socket's receive timeout; takes what else is there without waiting.
    ForOne,
    /// Takes what is there.
    No,
}

/// Buffers for a batch of datagrams.
pub struct PacketBatch {
    // In the order of dropping: pointers before what they point to.
    headers: Box<[libc::mmsghdr]>,
    _vectors: Box<[libc::iovec]>,
    bytes: Box<[u8]>,
    max_packet_bytes: usize,
    stride: usize,
    senders: Box<[libc::sockaddr_storage]>,
    _controls: Box<[Control]>,
    received: Vec<Received>,
}

// SAFETY: the pointers in it are to boxes that it owns, that nobody else refers to, and that do not move with it.
unsafe impl Send for PacketBatch {}

/// What a call said of one datagram.
#[derive(Clone, Copy, Debug)]
struct Received {
    length: usize,
    truncated: bool,
    beside: Beside,
}

/// What control messages said of a datagram.
#[derive(Clone, Copy, Debug, Default)]
struct Beside {
    dropped: Option<u32>,
    sender: Option<(i32, u32)>,
}

/// One datagram of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Its bytes, as many as fitted.
    pub bytes: &'a [u8],
    /// Whether it was longer than its buffer.
    pub truncated: bool,
    /// How many datagrams the kernel had dropped at this socket when this one was queued, modulo 2^32; `None` for none.
    pub dropped: Option<u32>,
    address: &'a libc::sockaddr_storage,
    process: Option<(i32, u32)>,
}

impl Packet<'_> {
    /// Who sent it. A process is known where the socket asked for that.
    pub fn sender(&self) -> Sender {
        match self.process {
            Some((pid, uid)) => Sender::Process { pid, uid },
            None => socket_addr(self.address).map_or(Sender::Unknown, Sender::Address),
        }
    }
}

impl PacketBatch {
    /// How many datagrams a call takes at most.
    pub const MOST: usize = BUFFERS;

    /// Buffers for datagrams of up to `max_packet_bytes`.
    pub fn new(max_packet_bytes: usize) -> Self {
        // Packets of the usual length behind each other would fill the caches evenly; with a stride that is near a multiple
        // of a large power of 2, buffers that are far apart in memory share a few of the caches' sets.
        let stride = max_packet_bytes.next_multiple_of(CACHE_SETS_BYTES) + USUAL_PACKET_BYTES;
        let mut bytes = vec![0; stride * BUFFERS].into_boxed_slice();
        // SAFETY: a socket address of zeros is the valid "unspecified family".
        let mut senders: Box<[libc::sockaddr_storage]> = vec![unsafe { mem::zeroed() }; BUFFERS].into();
        let mut controls: Box<[Control]> = vec![Control::default(); BUFFERS].into();
        let mut vectors: Box<[libc::iovec]> = bytes
            .chunks_exact_mut(stride)
            .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: max_packet_bytes })
            .collect();
        let places = vectors.iter_mut().zip(&mut senders).zip(&mut controls);
        let headers = places.map(|((vector, sender), control)| header_of(vector, sender, control)).collect();
        Self {
            headers,
            _vectors: vectors,
            bytes,
            max_packet_bytes,
            stride,
            senders,
            _controls: controls,
            received: Vec::with_capacity(BUFFERS),
        }
    }

    /// Receives a batch, which takes the place of the last one. At least one datagram when there is no error.
    ///
    /// # Errors
    /// The system's; `WouldBlock` when nothing came in time.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, wait: Wait) -> io::Result<()> {
        // The kernel has written into the headers that it used how long names and control messages are.
        for header in self.headers.iter_mut().take(self.received.len()) {
            header.msg_hdr.msg_namelen = length_of::<libc::sockaddr_storage>();
            header.msg_hdr.msg_controllen = size_of::<Control>() as _;
        }
        self.received.clear();
        let flags = match wait {
            // Without it the call would wait for a full batch, and a lone packet would stick.
            Wait::ForOne => libc::MSG_WAITFORONE,
            Wait::No => libc::MSG_DONTWAIT,
        };
        // SAFETY: each header points to a vector, a name and a control buffer of the lengths it states, and each vector to a
        // buffer of the length it states. All of them are in boxes that `self` owns and that no reference is held to during
        // the call; no two overlap.
        let count = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), BATCH, flags as _, ptr::null_mut())
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for header in self.headers.iter().take(count) {
            self.received.push(Received {
                length: (header.msg_len as usize).min(self.max_packet_bytes),
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
                beside: beside(&header.msg_hdr),
            });
        }
        Ok(())
    }

    /// How many datagrams the last call took.
    pub const fn len(&self) -> usize {
        self.received.len()
    }

    /// One of the datagrams of the last call.
    #[inline]
    pub fn packet(&self, number: usize) -> Packet<'_> {
        let received = &self.received[number];
        Packet {
            bytes: &self.bytes[number * self.stride..][..received.length],
            truncated: received.truncated,
            dropped: received.beside.dropped,
            address: &self.senders[number],
            process: received.beside.sender,
        }
    }

    /// The datagrams of the last call.
    pub fn packets(&self) -> impl Iterator<Item = Packet<'_>> {
        (0..self.len()).map(|number| self.packet(number))
    }
}

/// A header that asks for one datagram, its sender, and what there is beside it.
fn header_of(vector: &mut libc::iovec, sender: &mut libc::sockaddr_storage, control: &mut Control) -> libc::mmsghdr {
    // SAFETY: a header of zeros and null pointers is valid: it asks for nothing.
    let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
    header.msg_hdr.msg_iov = ptr::from_mut(vector);
    header.msg_hdr.msg_iovlen = 1;
    header.msg_hdr.msg_name = ptr::from_mut(sender).cast();
    header.msg_hdr.msg_namelen = length_of::<libc::sockaddr_storage>();
    header.msg_hdr.msg_control = ptr::from_mut(control).cast();
    header.msg_hdr.msg_controllen = size_of::<Control>() as _;
    header
}

/// The control messages of a received datagram: the drop counter, which the kernel leaves out while it is 0, and who sent it.
fn beside(header: &libc::msghdr) -> Beside {
    let mut beside = Beside::default();
    // SAFETY: the header was filled by the call that received it, and its control buffer, of which the kernel set the
    // length used, is still alive and aligned. The macros stay within that length, and the types are those that the kernel
    // writes for these messages.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while !message.is_null() {
            match ((*message).cmsg_level, (*message).cmsg_type) {
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    beside.dropped = Some(libc::CMSG_DATA(message).cast::<u32>().read_unaligned());
                }
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {
                    let sender = libc::CMSG_DATA(message).cast::<libc::ucred>().read_unaligned();
                    beside.sender = Some((sender.pid, sender.uid));
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    beside
}

/// The address that a call wrote.
fn socket_addr(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: storage is large enough and aligned for any address, and the family says which one it holds.
            let address = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(address.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let address = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            Some(SocketAddr::new(ip.to_canonical(), u16::from_be(address.sin6_port)))
        }
        _ => None,
    }
}

/// Asks for the drop counter beside each datagram.
///
/// # Errors
/// The system's.
pub fn report_drops(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket, libc::SO_RXQ_OVFL, 1)
}

/// Sizes the receive buffer beyond the system's limit, which takes `CAP_NET_ADMIN`.
///
/// # Errors
/// The system's.
pub fn force_receive_buffer(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    set_option(socket, libc::SO_RCVBUFFORCE, libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX))
}

fn set_option(socket: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the value is an int that lives through the call, and its size is stated.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            ptr::from_ref(&value).cast(),
            length_of::<libc::c_int>(),
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How many datagrams the kernel has dropped at this socket up to now, modulo 2^32; `None` on kernels before 4.12.
///
/// Unlike the counter beside a datagram, this one is known when nothing more arrives.
pub fn dropped(socket: BorrowedFd<'_>) -> Option<u32> {
    /// `SK_MEMINFO_DROPS` of `linux/sock_diag.h`.
    const DROPS: usize = 8;
    let mut figures = [0_u32; DROPS + 1];
    let mut length = length_of::<[u32; DROPS + 1]>();
    // SAFETY: the kernel writes at most `length` bytes into the array of that size.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            figures.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    (outcome == 0 && length == length_of::<[u32; DROPS + 1]>()).then_some(figures[DROPS])
}

/// Takes over `count` descriptors that were open when this process started, `first` and those after it. `None` when they
/// were taken over already, or when one of them is not open.
///
/// It must be called before anything else in this process opens or owns a descriptor above the standard ones, which would
/// else have two owners.
pub fn take_over(first: RawFd, count: RawFd) -> Option<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let descriptors = first..first.checked_add(count)?;
    for descriptor in descriptors.clone() {
        // No child of ours, should there ever be one, is to have them.
        // SAFETY: the call works on a number, and fails when it is no open descriptor.
        if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
            return None;
        }
    }
    if TAKEN.swap(true, Ordering::AcqRel) {
        return None;
    }
    // SAFETY: each one is open, as has just been seen. Nothing else owns it, since the process was started with it, the
    // caller has opened nothing yet, and it is taken over once.
    Some(descriptors.map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) }).collect())
}
