//! `[console]`, `[repeater]`, and the mode of a unix socket's file.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Span;
use crate::repeater::{Protocol, RepeaterConfig};

/// `[console]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Console {
    /// TCP addresses of the management console; none turns it off.
    pub listen: Vec<SocketAddr>,
    /// The most connections at once.
    pub max_connections: usize,
    /// How long a connection may be silent before it is closed.
    pub idle_timeout: Span,
    /// The most names that one answer lists.
    pub max_names: usize,
}

impl Default for Console {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8126))],
            max_connections: 16,
            idle_timeout: Span::from_secs(600),
            max_names: 10_000,
        }
    }
}

/// `[repeater]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Repeater {
    /// Hosts or addresses, with ports, that every packet is sent on to.
    pub targets: Vec<String>,
    /// How they are sent on.
    pub protocol: Protocol,
    /// How much may wait for one target, in bytes.
    pub queue_bytes: usize,
}

impl Default for Repeater {
    fn default() -> Self {
        Self { targets: Vec::new(), protocol: Protocol::Udp, queue_bytes: 8 << 20 }
    }
}

impl Repeater {
    /// The repeater's own form.
    pub fn repeater(&self) -> RepeaterConfig {
        RepeaterConfig { targets: self.targets.clone(), protocol: self.protocol, queue_bytes: self.queue_bytes }
    }
}

/// A file's mode, written as an octal text: `0666`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Serialize for Mode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{text:?} is not a file's mode; write it in octal digits, such as \"0666\""
            ))
        })
    }
}
