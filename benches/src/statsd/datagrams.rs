//! Many datagrams in one system call, sent and received.
//!
//! The headers are laid out once, for the life of the buffers they point to, so that a call costs nothing but the call:
//! what a receiver is compared with must be as cheap as can be.

#![expect(unsafe_code, reason = "recvmmsg and sendmmsg")]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// How many datagrams one call takes at most; as many as statlined's.
pub const BATCH: usize = 64;

/// As long as a datagram can be, and as statlined's buffers are.
const BUFFER: usize = 65_535;

/// A cache line more than a multiple of 64, so that not all buffers begin in the same cache set.
const STRIDE: usize = BUFFER.next_multiple_of(128) + 64;

/// Buffers that datagrams are received into and never looked at.
pub struct ReceiveBatch {
    // The order is the order of dropping: pointers before what they point to.
    headers: Box<[libc::mmsghdr]>,
    _vectors: Box<[libc::iovec]>,
    _bytes: Box<[u8]>,
}

impl ReceiveBatch {
    /// Buffers for a batch.
    pub fn new() -> Self {
        let mut bytes = vec![0_u8; STRIDE * BATCH].into_boxed_slice();
        let mut vectors: Box<[libc::iovec]> = bytes
            .chunks_exact_mut(STRIDE)
            .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: BUFFER })
            .collect();
        let headers = vectors.iter_mut().map(header_of).collect();
        Self { headers, _vectors: vectors, _bytes: bytes }
    }

    /// Waits for a datagram as long as the socket's receive timeout, and takes what else is there. Answers how many there
    /// were and how many bytes they held.
    ///
    /// # Errors
    /// The system's; `WouldBlock` when nothing came in time.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
        // SAFETY: every header points to a vector, and every vector to a part of a buffer, that live in boxes which `self`
        // owns and nobody else refers to; a move of `self` does not move what is in a box.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_WAITFORONE as _,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let bytes = self.headers[..count].iter().map(|header| u64::from(header.msg_len)).sum();
        Ok((count as u64, bytes))
    }
}

/// Sends packets on a connected socket; answers how many were taken.
///
/// # Errors
/// The system's, when it took none.
pub fn send<'a>(socket: BorrowedFd<'_>, packets: impl Iterator<Item = &'a [u8]>) -> io::Result<usize> {
    let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
    let mut count = 0;
    for (vector, packet) in vectors.iter_mut().zip(packets) {
        *vector = libc::iovec { iov_base: packet.as_ptr().cast_mut().cast(), iov_len: packet.len() };
        count += 1;
    }
    let mut vector = vectors.iter_mut();
    // Those beyond the count point to nothing and are not handed over.
    let mut headers: [libc::mmsghdr; BATCH] =
        std::array::from_fn(|_| vector.next().map_or_else(empty_header, header_of));
    // SAFETY: the first `count` headers point to vectors on this frame, and these to packets that are borrowed through the
    // call; sending only reads them.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, 0) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

fn header_of(vector: &mut libc::iovec) -> libc::mmsghdr {
    let mut header = empty_header();
    header.msg_hdr.msg_iov = ptr::from_mut(vector);
    header.msg_hdr.msg_iovlen = 1;
    header
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: zeros and null pointers are a valid header, which asks for nothing.
    unsafe { mem::zeroed() }
}
