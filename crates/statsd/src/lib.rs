//! The statsd protocol: bytes in, points out. No I/O, no clock, no global state.
//!
//! A packet's way through the crate, stage by stage:
//!
//! * [`line`]: a packet's lines become [`Sample`]s and events; what cannot be read becomes a [`Refusal`] (with [`number`]
//!   for values and [`key`] for names and tags). The forms that nearly every client sends have a shorter way
//! * [`table`]: a receiver thread adds samples up in a [`Table`] of its own
//! * [`lane`]: a flush takes what happened from each thread's table
//! * [`state`]: into the [`State`], which remembers gauges and idle series
//! * [`flush`]: which becomes a batch of points, under the names that etsy's server gives them
//! * [`mapping`]: series that a mapping file names become Prometheus metrics instead
//!
//! [`snapshot`] carries a state over a restart; [`inspect`] shows it; [`prefixes`] says who uses it up.
//!
//! The reference for what a line means and what a flush emits is etsy's statsd. Where its behaviour would crash, lie or
//! grow without a bound, a line is refused with a [`Reason`] instead.

pub mod config;
pub mod counter;
mod event;
pub mod flush;
pub mod gauge;
pub mod inspect;
mod interval;
pub mod key;
mod known;
pub mod lane;
pub mod limits;
pub mod line;
mod mapped;
pub mod mapping;
mod names;
pub mod number;
mod prefetch;
pub mod prefixes;
mod quick;
pub mod refusal;
pub mod set;
mod slots;
pub mod snapshot;
pub mod state;
pub mod table;
pub mod timer;

pub use config::{BinEnd, ConfigError, FlushConfig, Histogram};
pub use flush::SelfFigures;
pub use gauge::Arrival;
pub use key::TagStyles;
pub use lane::Lane;
pub use limits::Limits;
pub use line::{Grammar, Outcome, Parser, Sample, Value};
pub use prefixes::Offender;
pub use refusal::{Reason, Refusal};
pub use snapshot::SnapshotError;
pub use state::State;
pub use table::{Family, PacketCounts, Table};
