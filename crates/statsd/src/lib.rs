//! The statsd protocol: bytes in, points out. No I/O, no clock, no global state.
//!
//! A packet's way through the crate, stage by stage:
//!
//! * [`line`]: a packet's lines become [`Sample`]s; what cannot be read becomes a [`Refusal`]
//!   (with [`number`] for values and [`key`] for names and tags)
//! * [`table`]: a receiver thread adds samples up in a [`Table`] of its own
//! * [`state`]: a flush drains the tables into the [`State`], which remembers gauges and idle series
//! * [`inspect`]: the management console looks into the state
//! * [`flush`]: the state becomes a batch of points, under the names that etsy's server gives them
//!
//! The reference for what a line means and what a flush emits is etsy's statsd. Where its behaviour would crash, lie or
//! grow without a bound, a line is refused with a [`Reason`] instead.

#![forbid(unsafe_code)]

pub mod config;
pub mod counter;
pub mod flush;
pub mod gauge;
pub mod inspect;
pub mod key;
pub mod limits;
pub mod line;
mod names;
pub mod number;
pub mod refusal;
pub mod set;
pub mod state;
pub mod table;
pub mod timer;

pub use config::{ConfigError, FlushConfig};
pub use flush::SelfFigures;
pub use gauge::Arrival;
pub use limits::Limits;
pub use line::{Parser, Sample, Value};
pub use refusal::{Reason, Refusal};
pub use state::State;
pub use table::{PacketCounts, Table};
