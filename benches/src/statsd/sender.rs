//! Sends packets at a steady rate, to loopback only, and knows exactly how many.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::Error;
use crate::statsd::datagrams::{self, BATCH};
use crate::statsd::traffic::Traffic;

/// How far behind its schedule a sender may fall before it gives up catching up, so that a pause of the machine does not
/// become a burst that no receiver could take.
const LONGEST_CATCH_UP: Duration = Duration::from_millis(5);

/// Shorter waits are spun: a sleep would oversleep them.
const SHORTEST_SLEEP: Duration = Duration::from_micros(80);

/// How packets are sent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Packets a second; `None` for as many as can be sent.
    pub rate: Option<f64>,
    /// Packets in one system call.
    pub burst: usize,
    /// Packets in all.
    pub packets: usize,
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Packets that the kernel took.
    pub packets: u64,
    /// From the first to the last.
    pub took: Duration,
}

impl Sent {
    /// Packets a second, as it came out.
    pub fn rate(&self) -> f64 {
        self.packets as f64 / self.took.as_secs_f64()
    }
}

/// A socket that sends to one receiver, and where in the traffic it is.
pub struct Sender {
    socket: Socket,
    next: usize,
}

impl Sender {
    /// A sender to an address of this machine.
    ///
    /// # Errors
    /// When the address is another machine's, or no socket can be had.
    pub fn to(receiver: SocketAddr) -> Result<Self, Error> {
        if !receiver.ip().is_loopback() {
            return Err(format!("{receiver} is not on loopback, and load is sent nowhere else").into());
        }
        let socket = Socket::new(Domain::for_address(receiver), Type::DGRAM, Some(Protocol::UDP))?;
        socket.connect(&receiver.into())?;
        Ok(Self { socket, next: 0 })
    }

    /// Sends, on from where the last call ended.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn send(&mut self, traffic: &Traffic, pace: Pace) -> Result<Sent, Error> {
        let began = Instant::now();
        let mut schedule = began;
        let mut sent = 0;
        let burst = pace.burst.clamp(1, BATCH);
        while sent < pace.packets {
            if let Some(rate) = pace.rate {
                wait_until(schedule);
                schedule += Duration::from_secs_f64(burst as f64 / rate);
                schedule = schedule.max(Instant::now().checked_sub(LONGEST_CATCH_UP).unwrap_or(schedule));
            }
            let many = burst.min(pace.packets - sent);
            let packets = (self.next..self.next + many).map(|index| traffic.packet(index));
            match datagrams::send(self.socket.as_fd(), packets) {
                Ok(taken) => {
                    sent += taken;
                    self.next = (self.next + taken) % traffic.len();
                }
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Err(error) => return Err(format!("sending: {error}").into()),
            }
        }
        Ok(Sent { packets: sent as u64, took: began.elapsed() })
    }
}

fn wait_until(instant: Instant) {
    loop {
        let left = instant.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        if left > SHORTEST_SLEEP {
            std::thread::sleep(left.saturating_sub(SHORTEST_SLEEP / 2));
        } else {
            std::hint::spin_loop();
        }
    }
}
