//! A receiver that receives and counts, and does nothing else: the least that any statsd server must do.
//!
//! It runs as a process of its own, says where it listens, and answers each line on standard input with its counts. It
//! ends when its standard input does.

use std::io::{self, BufRead, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::Error;
use crate::report::print;
use crate::statsd::datagrams::ReceiveBatch;

/// The name of the thread that receives.
pub const THREAD: &str = "null-udp-0";

/// As statlined's.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(100);

/// Where it listens.
#[derive(clap::Args, Clone, Debug)]
pub struct NullArgs {
    /// Where to listen; a port of 0 is any free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The kernel's receive buffer, in bytes
    #[arg(long, default_value_t = 32 << 20)]
    receive_buffer: usize,
}

#[derive(Default)]
struct Counts {
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// Receives until standard input ends.
///
/// # Errors
/// When it cannot listen.
pub fn run(args: &NullArgs) -> Result<(), Error> {
    let socket = Socket::new(Domain::for_address(args.listen), Type::DGRAM, Some(Protocol::UDP))?;
    // What statlined gets with CAP_NET_ADMIN, and without.
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, args.receive_buffer).is_err() {
        socket.set_recv_buffer_size(args.receive_buffer)?;
    }
    socket.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
    socket.bind(&args.listen.into())?;
    let address = socket.local_addr()?.as_socket().ok_or("no address")?;
    print(&format!("{address}\n"))?;
    let counts: Arc<Counts> = Arc::default();
    let counting = Arc::clone(&counts);
    // It ends with the process.
    thread::Builder::new().name(THREAD.to_owned()).spawn(move || receive(&socket, &counting))?;
    for line in io::stdin().lock().lines() {
        line?;
        let packets = counts.packets.load(Ordering::Acquire);
        print(&format!("{packets} {}\n", counts.bytes.load(Ordering::Relaxed)))?;
    }
    Ok(())
}

fn receive(socket: &Socket, counts: &Counts) {
    let mut batch = ReceiveBatch::new();
    loop {
        match batch.receive(socket.as_fd()) {
            Ok((packets, bytes)) => {
                counts.bytes.fetch_add(bytes, Ordering::Relaxed);
                counts.packets.fetch_add(packets, Ordering::Release);
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(error) => {
                crate::report::progress(&format!("null receiver: {error}"));
                return;
            }
        }
    }
}
