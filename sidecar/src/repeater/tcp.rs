//! A target that packets are sent to over a connection, which is made anew when it breaks.

use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::{End, Figures, Parcel, TICK, Target, resolve};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the target may take nothing before the connection counts as broken.
const WRITE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long to wait after the first failed attempt; each further one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Where packets go, and the connection to it.
pub struct TcpTarget {
    name: String,
    stream: Option<TcpStream>,
    wait: Duration,
    /// What is to be written, kept to be used again.
    text: Vec<u8>,
    /// Where each packet ends in it.
    ends: Vec<usize>,
}

impl TcpTarget {
    /// A target that is connected to when there is something to send.
    pub const fn new(name: String) -> Self {
        Self { name, stream: None, wait: FIRST_WAIT, text: Vec::new(), ends: Vec::new() }
    }

    /// Connects, trying until it succeeds or the end is ordered.
    fn connected(&mut self, end: &End) -> Option<&mut TcpStream> {
        if self.stream.as_ref().is_some_and(is_closed) {
            self.stream = None;
        }
        while self.stream.is_none() {
            match connect(&self.name) {
                Ok(stream) => {
                    tracing::info!(to = self.name, "connected to a target of the repeater");
                    self.wait = FIRST_WAIT;
                    self.stream = Some(stream);
                }
                Err(error) => {
                    tracing::warn!(to = self.name, %error, again_in = ?self.wait, "a target of the repeater cannot be reached");
                    let until = Instant::now() + self.wait;
                    while Instant::now() < until {
                        if end.is_ordered() {
                            return None;
                        }
                        thread::sleep(TICK.min(self.wait));
                    }
                    self.wait = (self.wait * 2).min(LONGEST_WAIT);
                }
            }
        }
        self.stream.as_mut()
    }
}

impl Target for TcpTarget {
    fn send(&mut self, parcel: &Parcel, figures: &Figures, end: &End) {
        let (mut text, mut ends) = (std::mem::take(&mut self.text), std::mem::take(&mut self.ends));
        text.clear();
        ends.clear();
        for packet in parcel.packets() {
            text.extend_from_slice(packet);
            if packet.last() != Some(&b'\n') {
                text.push(b'\n');
            }
            ends.push(text.len());
        }
        let written = self.connected(end).map_or(0, |stream| write(stream, &text));
        if written < text.len() {
            self.stream = None;
        }
        let sent = ends.partition_point(|packet_end| *packet_end <= written);
        figures.sent.increment(sent as u64);
        figures.drop_packets(ends.len() - sent);
        (self.text, self.ends) = (text, ends);
    }
}

fn connect(name: &str) -> io::Result<TcpStream> {
    let mut failed = None;
    for address in resolve(name)? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
                return Ok(stream);
            }
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| ErrorKind::NotFound.into()))
}

/// Whether the target has closed the connection: what is written then would be lost without an error.
fn is_closed(stream: &TcpStream) -> bool {
    let mut answer = [std::mem::MaybeUninit::uninit(); 256];
    match SockRef::from(stream).recv_with_flags(&mut answer, libc::MSG_DONTWAIT) {
        Ok(length) => length == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// Writes as much as the connection takes, and says how much that was.
fn write(stream: &mut TcpStream, text: &[u8]) -> usize {
    let mut written = 0;
    while written < text.len() {
        match stream.write(&text[written..]) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    written
}
