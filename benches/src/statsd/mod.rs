//! The statsd server beside a null receiver and etsy's server.

mod aggregate;
pub mod micro;
mod traffic;
