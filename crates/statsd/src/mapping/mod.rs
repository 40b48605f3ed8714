//! Mapping files: statsd names become Prometheus metrics with labels, as statsd_exporter 0.31 makes them.
//!
//! * [`yaml`] and [`config`]: a file as it was written, bounded, with errors that name the line
//! * [`glob`], [`regex`] and [`template`]: finding the rule for a name, and what its references stand for
//! * [`rules`]: a file's rules, asked once for each series: unmapped, dropped, refused or mapped
//! * [`registry`], with [`summary`] and [`histogram`]: what mapped metrics add up to
//! * [`saved`]: what of it outlives the process
//! * [`exposition`]: the registry as text, for a scrape
//!
//! Pure: time comes in as an argument. Where this differs from statsd_exporter is in a table of docs/mapping.md.

mod config;
mod error;
mod escape;
mod exposition;
mod glob;
mod go_float;
mod histogram;
mod regex;
mod registry;
mod rules;
mod saved;
mod summary;
mod template;
mod yaml;

pub use config::{MAX_BUCKETS, MAX_LABELS, MAX_MAPPINGS, MetricType, Quantile};
pub use error::MappingError;
pub use escape::escape_metric_name;
pub use exposition::Format;
pub use go_float::go_float;
pub use registry::{DEFAULT_HELP, FamilyKind, GaugeChange, Refusal, Registry, Unit};
pub use rules::{HistogramOptions, MAX_AGE_BUCKETS, MAX_REGEXES, Mapped, Mapping, Observer, Rules, SummaryOptions};
pub use saved::{Saved, SavedSeries, SavedValue};
pub use yaml::{MAX_DEPTH, MAX_FILE_BYTES, MAX_NODES};
