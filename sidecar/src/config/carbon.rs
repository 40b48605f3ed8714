//! `[carbon]`: where points in carbon's protocols come in, which of them are taken, under which names, and what is made of
//! them together.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Span;

/// `[carbon]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Carbon {
    /// TCP addresses of the plaintext protocol.
    pub listen: Vec<SocketAddr>,
    /// UDP addresses of the plaintext protocol.
    pub udp_listen: Vec<SocketAddr>,
    /// TCP addresses of the pickle protocol.
    pub pickle_listen: Vec<SocketAddr>,
    /// The kernel's buffer for each UDP socket, in bytes.
    pub receive_buffer: usize,
    /// The longest line, in bytes.
    pub max_line_bytes: usize,
    /// The longest pickle, in bytes.
    pub max_pickle_bytes: usize,
    /// The most connections at once, of both protocols.
    pub max_connections: usize,
    /// How long a connection may be silent before it is closed.
    pub idle_timeout: Span,
    /// A `whitelist.conf` of carbon: only names that one of its regexes finds are taken.
    pub whitelist: PathBuf,
    /// A `blacklist.conf` of carbon: names that one of its regexes finds are not taken.
    pub blacklist: PathBuf,
    /// A `rewrite-rules.conf` of carbon.
    pub rewrite_rules: PathBuf,
    /// An `aggregation-rules.conf` of carbon.
    pub aggregation_rules: PathBuf,
    /// Whether points that are aggregated are stored themselves, too: carbon's `FORWARD_ALL`.
    pub forward_all: bool,
    /// For how many intervals of an aggregate late points are waited for: carbon's `MAX_AGGREGATION_INTERVALS`.
    pub max_aggregation_intervals: u32,
    /// How often aggregates are written before their interval is over: carbon's `WRITE_BACK_FREQUENCY`; 0 for never.
    pub write_back_frequency: Span,
    /// The most intervals of aggregates that are gathered at once.
    pub max_aggregates: usize,
    /// The most values that the percentiles of aggregates hold at once.
    pub max_aggregate_values: usize,
}

impl Default for Carbon {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 2003))],
            udp_listen: vec![SocketAddr::from(([127, 0, 0, 1], 2003))],
            pickle_listen: vec![SocketAddr::from(([127, 0, 0, 1], 2004))],
            receive_buffer: 8 << 20,
            max_line_bytes: 4096,
            max_pickle_bytes: 1 << 20,
            max_connections: 256,
            idle_timeout: Span::from_secs(600),
            whitelist: PathBuf::new(),
            blacklist: PathBuf::new(),
            rewrite_rules: PathBuf::new(),
            aggregation_rules: PathBuf::new(),
            forward_all: true,
            max_aggregation_intervals: 5,
            write_back_frequency: Span::from_secs(0),
            max_aggregates: 100_000,
            max_aggregate_values: 1_000_000,
        }
    }
}
