//! Grafana's backend plugin protocol, both sides of it.
//!
//! A plugin is a process that Grafana starts and asks over gRPC. A program implements [`Plugin`] and hands itself to
//! [`serve()`] (or to [`run`], which brings a runtime, logging and an exit code); everything else is here. The protocol's
//! generated types never leave this crate: what a plugin sees are plain types that have been read and checked.
//!
//! In the order in which a plugin meets them:
//!
//! * [`mod@handshake`]: what a plugin and its host say to each other before the first request
//! * [`mod@serve`]: the life of the process, from the socket to the last drained request
//! * [`plugin`]: the trait, one method for each thing Grafana can ask
//! * [`context`], [`headers`]: on whose behalf a request comes, and with which settings and secrets
//! * [`query`], [`health`], [`resource`], [`stream`]: what is asked, and what is answered
//! * [`frame`]: tables of typed columns, the answer to a query, as Arrow and as JSON
//! * [`log`]: log lines as the host reads them
//! * [`host`]: the other side, for tests, benchmarks and demonstrations

#![forbid(unsafe_code)]

pub mod context;
pub mod frame;
pub mod handshake;
pub mod headers;
pub mod health;
pub mod host;
pub mod log;
pub mod plugin;
pub mod query;
pub mod resource;
pub mod serve;
pub mod stream;

mod isolate;
mod metrics;
mod proto;
mod service;
mod shutdown;

pub use context::{AppSettings, DataSourceSettings, PluginContext, RequestContext, Role, Secrets, User};
pub use frame::{Field, FieldConfig, Frame, FrameError, FrameMeta, FrameType, Labels, Notice};
pub use headers::Headers;
pub use health::{Health, HealthStatus};
pub use plugin::Plugin;
pub use query::{DataQuery, DataResponse, ErrorSource, QueryError, TimeRange};
pub use resource::{ResourceRequest, ResourceResponse};
pub use serve::{ServeError, ServeOptions, run, serve};
pub use stream::{StreamClosed, StreamError, StreamReply, StreamRequest, StreamSender, StreamStatus};
