//! What a plugin and its host say to each other before the first request.
//!
//! The host sets environment variables and starts the program; the program listens on a port of 127.0.0.1 and prints one
//! line, `1|2|tcp|127.0.0.1:PORT|grpc`: go-plugin's protocol, Grafana's protocol, the network, the address, the transport.
//! After that line nothing is ever printed on standard output. Both sides are here, so that each knows what it is told.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The variable by which a program knows that a host has started it.
pub const COOKIE_KEY: &str = "grafana_plugin_type";
/// The value of that variable.
pub const COOKIE_VALUE: &str = "datasource";
/// Where the range of ports begins that the host allows.
pub const MIN_PORT: &str = "PLUGIN_MIN_PORT";
/// Where that range ends.
pub const MAX_PORT: &str = "PLUGIN_MAX_PORT";
/// The protocol versions that the host speaks, separated by commas.
pub const PROTOCOL_VERSIONS: &str = "PLUGIN_PROTOCOL_VERSIONS";

const CLIENT_CERTIFICATE: &str = "PLUGIN_CLIENT_CERT";
const CORE_PROTOCOL: &str = "1";
const PROTOCOL: &str = "2";

/// Why no handshake can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// No host has started the program.
    #[error("{COOKIE_KEY} is not {COOKIE_VALUE}: no Grafana has started this program")]
    StartedByHand,
    /// The host speaks other versions of the protocol.
    #[error("this plugin speaks version {PROTOCOL} of the protocol, the host {0:?}")]
    Version(String),
    /// The host wants mutual TLS, which Grafana never does.
    #[error("the host asks for mutual TLS, which this plugin does not speak")]
    MutualTls,
    /// A port is not one.
    #[error("{name} is not a port: {value:?}")]
    Port {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// The range of ports is backwards.
    #[error("{MIN_PORT} {min} is above {MAX_PORT} {max}")]
    BackwardsRange {
        /// The smallest port.
        min: u16,
        /// The largest port.
        max: u16,
    },
    /// A line is not a plugin's.
    #[error("not a plugin's first line: {0:?}")]
    Line(String),
}

/// What a host has asked of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// The ports that may be listened on; `None` leaves the choice to the system.
    pub ports: Option<RangeInclusive<u16>>,
}

impl Invitation {
    /// Reads the environment, through a function from names to values.
    ///
    /// # Errors
    /// When no host has started the program, or a host that this crate cannot talk to.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, HandshakeError> {
        if variable(COOKIE_KEY).as_deref() != Some(COOKIE_VALUE) {
            return Err(HandshakeError::StartedByHand);
        }
        if let Some(versions) = variable(PROTOCOL_VERSIONS)
            && !versions.split(',').any(|version| version.trim() == PROTOCOL)
        {
            return Err(HandshakeError::Version(versions));
        }
        if variable(CLIENT_CERTIFICATE).is_some_and(|certificate| !certificate.is_empty()) {
            return Err(HandshakeError::MutualTls);
        }
        let port = |name: &'static str| match variable(name).filter(|value| !value.is_empty()) {
            None => Ok(0),
            Some(value) => value.parse::<u16>().map_err(|_| HandshakeError::Port { name, value }),
        };
        let (min, max) = (port(MIN_PORT)?, port(MAX_PORT)?);
        if min > max {
            return Err(HandshakeError::BackwardsRange { min, max });
        }
        Ok(Self { ports: (max > 0).then(|| min.max(1)..=max) })
    }

    /// The addresses to try, in order: all ports of the range once, from one that depends on `seed`, so that plugins that
    /// start together do not all try the same.
    pub fn addresses(&self, seed: u32) -> impl Iterator<Item = SocketAddr> + use<> {
        let ports = self.ports.clone().unwrap_or(0..=0);
        let (first, count) = (u32::from(*ports.start()), ports.len());
        (0..count).map(move |step| {
            let offset = (seed as usize).wrapping_add(step) % count;
            // Inside the range, hence inside 16 bits.
            let port = u16::try_from(first as usize + offset).unwrap_or(*ports.end());
            SocketAddr::from((Ipv4Addr::LOCALHOST, port))
        })
    }
}

/// The program's answer: where it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The address of its gRPC server.
    pub address: SocketAddr,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CORE_PROTOCOL}|{PROTOCOL}|tcp|{}|grpc", self.address)
    }
}

impl FromStr for Answer {
    type Err = HandshakeError;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let not_ours = || HandshakeError::Line(line.chars().take(200).collect());
        let parts: Vec<&str> = line.trim_end().split('|').collect();
        match parts.as_slice() {
            [CORE_PROTOCOL, PROTOCOL, "tcp", address, "grpc", ..] => {
                Ok(Self { address: address.parse().map_err(|_| not_ours())? })
            }
            [CORE_PROTOCOL, version, _, _, ..] if *version != PROTOCOL => {
                Err(HandshakeError::Version((*version).to_owned()))
            }
            _ => Err(not_ours()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Invitation, HandshakeError> {
        Invitation::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_environment_of_a_host_is_understood() {
        let cookie = (COOKIE_KEY, COOKIE_VALUE);
        let ports = |ports| Ok(Invitation { ports });
        let port_error = |name, value: &str| Err(HandshakeError::Port { name, value: value.into() });
        for (environment, outcome) in [
            (vec![], Err(HandshakeError::StartedByHand)),
            (vec![(COOKIE_KEY, "panel")], Err(HandshakeError::StartedByHand)),
            (vec![cookie], ports(None)),
            (vec![cookie, (PROTOCOL_VERSIONS, "2")], ports(None)),
            (vec![cookie, (PROTOCOL_VERSIONS, "1, 2,3")], ports(None)),
            (vec![cookie, (PROTOCOL_VERSIONS, "3")], Err(HandshakeError::Version("3".into()))),
            (vec![cookie, (MIN_PORT, "10000"), (MAX_PORT, "25000")], ports(Some(10000..=25000))),
            (vec![cookie, (MIN_PORT, "0"), (MAX_PORT, "0")], ports(None)),
            (vec![cookie, (MIN_PORT, ""), (MAX_PORT, "9")], ports(Some(1..=9))),
            (vec![cookie, (MIN_PORT, "9"), (MAX_PORT, "8")], Err(HandshakeError::BackwardsRange { min: 9, max: 8 })),
            (vec![cookie, (MIN_PORT, "x")], port_error(MIN_PORT, "x")),
            (vec![cookie, (MAX_PORT, "65536")], port_error(MAX_PORT, "65536")),
            (vec![cookie, ("PLUGIN_CLIENT_CERT", "-----BEGIN")], Err(HandshakeError::MutualTls)),
        ] {
            assert_eq!(read(&environment), outcome, "{environment:?}");
        }
    }

    #[test]
    fn every_port_of_the_range_is_tried_once() {
        let invitation = Invitation { ports: Some(10..=13) };
        let ports: Vec<u16> = invitation.addresses(6).map(|address| address.port()).collect();
        assert_eq!(ports, [12, 13, 10, 11]);
        let free: Vec<u16> = Invitation { ports: None }.addresses(6).map(|address| address.port()).collect();
        assert_eq!(free, [0]);
        assert_eq!(Invitation { ports: Some(1..=u16::MAX) }.addresses(u32::MAX).count(), 65_535);
    }

    #[test]
    fn the_first_line_is_written_and_read() {
        let answer = Answer { address: "127.0.0.1:10001".parse().unwrap() };
        assert_eq!(answer.to_string(), "1|2|tcp|127.0.0.1:10001|grpc");
        for line in ["1|2|tcp|127.0.0.1:10001|grpc", "1|2|tcp|127.0.0.1:10001|grpc|\n"] {
            assert_eq!(line.parse(), Ok(answer), "{line:?}");
        }
        for line in ["", "hello", "1|2|unix|/tmp/s|grpc", "1|2|tcp|127.0.0.1:x|grpc", "2|2|tcp|127.0.0.1:1|grpc"] {
            assert_eq!(line.parse::<Answer>(), Err(HandshakeError::Line(line.into())), "{line:?}");
        }
        assert_eq!("1|3|tcp|127.0.0.1:1|grpc".parse::<Answer>(), Err(HandshakeError::Version("3".into())));
    }
}
