//! The real parts of a Statline installation, started on one machine: for the whole-system tests and for the demo.
//!
//! Everything binds to loopback on ports that the kernel chooses, lives in a directory of its own, and ends with its
//! handle. Nothing here stands in for anything.
//!
//! * [`postgres`]: a PostgreSQL server with the demo's schema and data
//! * [`statlined`]: the sidecar
//! * [`plugin`]: what Grafana would send to the plugin
//! * [`http`]: asking the HTTP API
//! * [`authority`]: certificates, and who signs them
//! * [`program`]: finding binaries, and processes that end with their handle

pub mod authority;
pub mod http;
pub mod plugin;
pub mod postgres;
pub mod program;
pub mod statlined;

pub use authority::Authority;
pub use postgres::Postgres;
pub use program::HarnessError;
pub use statlined::Statlined;
