//! Who sent something, as well as it can be told.

use std::fmt;
use std::net::SocketAddr;

/// The sender of a packet, or the client of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// By its address.
    Address(SocketAddr),
    /// A process of this machine, which came through a unix socket.
    Process {
        /// Its id, as this process sees it; 0 when it is in another namespace.
        pid: i32,
        /// The user that it ran as.
        uid: u32,
    },
    /// Nothing is known.
    Unknown,
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Process { pid, uid } => write!(f, "process {pid} of user {uid}"),
            Self::Unknown => f.write_str("an unknown sender"),
        }
    }
}
