//! The contract between the plugin and the sidecar: what is asked, and what comes back, over Arrow Flight.
//!
//! Tickets and actions are versioned JSON, so that `pyarrow.flight` can ask too; answers are record batches of one row a
//! series. This crate opens no socket but the client's; the sidecar serves what stands here.
//!
//! * [`ticket`]: what `DoGet` takes
//! * [`action`]: what `DoAction` takes and gives
//! * [`rows`]: series as record batches, both ways
//! * [`client`]: the asking side

pub mod action;
pub mod client;
pub mod rows;
pub mod ticket;

pub use action::{Action, EventList, EventRow, FindNode, Health};
pub use client::{Client, ClientError, ClientSettings, ErrorKind};
pub use rows::{RowError, SeriesRow};
pub use ticket::{Query, Ticket, TicketError};
