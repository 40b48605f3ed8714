//! The embedded time series store: points become durable in a log, wait in memory, and end in compressed blocks.
//!
//! A point's way through it:
//!
//! 1. [`append`](Store::append) finds the series in the *index* (a new one is first written to the *catalogue*), writes
//!    one record to the *log* of the span of time that the point belongs to, waits for the disk, and puts the point into
//!    that span's *head* in memory. From then on it is found.
//! 2. When a span is over, or memory is short, the *cut* writes its head as a *block*: one compressed *chunk* a series.
//!    The *manifest* names the new block and lets the log go in one step.
//! 3. Blocks are merged into longer ones. A block older than its *tier* keeps becomes *rollups* of the next one, and what is
//!    older than the last tier keeps is dropped as a whole. The *schemas* say which tiers a series has.
//!
//! A read puts rollups, blocks and heads together, the newest write of an instant winning.
//!
//! Sketches go the same way beside the points: in the same log and block, under names of their own. *Events* are few; they
//! have a file of their own and are all in memory.
//!
//! The files are described byte by byte in `docs/format/`.

mod append;
mod arena;
mod backup;
mod block;
mod block_file;
mod bytes;
mod cache;
mod catalogue;
mod check;
mod children;
mod chunk;
mod column;
mod config;
mod copy;
mod counters;
mod cut;
mod embedded;
mod error;
mod events;
mod flush;
mod gather;
mod gone;
mod grid;
mod group;
mod head;
mod ids;
mod index;
mod journal;
mod lock;
mod log;
mod maintain;
mod manifest;
mod names;
mod order;
mod pages;
mod parts;
mod points;
mod postings;
mod read;
mod record;
mod recover;
mod resolve;
mod rollup;
mod rollup_chunk;
mod scan;
mod schema;
mod sealed;
mod seen;
mod sketch_chunk;
mod sketch_column;
mod sketch_read;
mod slots;
mod state;
mod store;
mod survey;
mod texts;
mod trie;
mod value_column;

pub use backup::{Backup, restore};
pub use check::{Checked, Finding, Severity, check};
pub use config::{Clock, EmbeddedConfig};
pub use embedded::{Compacted, EmbeddedStore};
pub use error::StoreError;
pub use schema::{Policy, Rule, SchemaError, Schemas, Tier};
pub use store::{
    Appended, Fetch, Fetched, FetchedSketches, Limits, Node, Refused, Resolution, Selection, SeriesInfo, Store,
    StoreStats,
};
pub use survey::{BlockFigures, Logs, Survey, survey};

/// The number of a series in one store. Given once, never again.
pub(crate) type SeriesId = u32;

/// What a series is made of. Two series of different form may have the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Points,
    Sketches,
}
