//! The statsd server beside a null receiver and etsy's server.

mod aggregate;
pub mod cpu;
mod datagrams;
pub mod micro;
pub mod null;
mod peer;
mod sender;
mod traffic;
