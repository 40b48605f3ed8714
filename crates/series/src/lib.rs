//! The ground floor: what a series is called, what a point is, and how both are asked for.
//!
//! Everything above speaks in these types, so that units (milliseconds, steps, half-open ranges) are carried by types
//! and not by comments. No I/O, no async, no clock.
//!
//! * [`time`]: timestamps, steps and ranges
//! * [`key`]: a series' identity, a name and sorted tags
//! * [`point`]: points, batches of them, and what kind of series they belong to
//! * [`pattern`]: dotted paths with globs, as Graphite's users write them
//! * [`matcher`]: comparisons of tags
//! * [`consolidation`]: making fewer points out of many
//! * [`sketch`]: how values are distributed
//! * [`event`]: things that happened
//! * [`terminal`]: values for terminals

pub mod consolidation;
pub mod event;
pub mod key;
pub mod matcher;
pub mod pattern;
pub mod point;
pub mod sketch;
pub mod terminal;
pub mod time;

pub use consolidation::Consolidation;
pub use event::Event;
pub use key::{KeyError, KeyRef, SeriesKey};
pub use matcher::{Anchor, MatchOp, Matcher, MatcherError};
pub use pattern::{PathPattern, PatternError};
pub use point::{Batch, Kind, Point, SketchRow, Values};
pub use sketch::{Sketch, SketchError};
pub use time::{Step, TimeRange, Timestamp};
