//! Points, batches of them on their way into a store, and values on their way out.

use serde::{Deserialize, Serialize};

use crate::{Consolidation, Event, SeriesKey, Sketch, Step, Timestamp};

/// A value at an instant. A missing value is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When.
    pub timestamp: Timestamp,
    /// How much, in the unit of the series.
    pub value: f64,
}

/// What the values of a series mean, which decides how they are consolidated unless a query says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing is known.
    #[default]
    Untyped,
    /// A level: the last known value holds.
    Gauge,
    /// How many in one step.
    Count,
    /// How many a second.
    Rate,
    /// The smallest of the samples of one step.
    Minimum,
    /// The largest, or a high percentile, of the samples of one step.
    Maximum,
    /// A total that only grows, until it starts again from 0.
    Cumulative,
}

impl Kind {
    /// How points of this kind become fewer when nobody says how.
    #[must_use]
    pub const fn default_consolidation(self) -> Consolidation {
        match self {
            Self::Untyped | Self::Gauge | Self::Rate => Consolidation::Average,
            Self::Count => Consolidation::Sum,
            Self::Minimum => Consolidation::Min,
            Self::Maximum => Consolidation::Max,
            Self::Cumulative => Consolidation::Last,
        }
    }

    /// What the path of a series says about it, by the names that statsd servers flush to Graphite.
    ///
    /// Follows the storage-aggregation rules that the graphite-statsd image ships, without their gaps: percentiles such as
    /// `upper_99_9` and `sum_90` are known here too.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        if path.starts_with("stats_counts.") {
            return Self::Count;
        }
        if path.starts_with("stats.gauges.") || (path.starts_with("stats.sets.") && path.ends_with(".count")) {
            return Self::Gauge;
        }
        let last = path.rsplit('.').next().unwrap_or(path);
        let stem = last.split('_').next().unwrap_or(last);
        match stem {
            "upper" => Self::Maximum,
            "lower" => Self::Minimum,
            "count" if last == "count_ps" => Self::Rate,
            "count" | "sum" => Self::Count,
            _ => Self::Untyped,
        }
    }
}

/// One row of a [`Batch`].
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Whose point it is.
    pub key: SeriesKey,
    /// What the series is; [`Kind::Untyped`] leaves what a store knows already.
    pub kind: Kind,
    /// The point.
    pub point: Point,
}

/// Points of many series, with sketches and events, that become durable together: a flush, a scrape, a read of a carbon
/// connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The points, in any order.
    pub rows: Vec<Row>,
    /// The distributions of timers, in any order.
    pub sketches: Vec<SketchRow>,
    /// What happened, in any order.
    pub events: Vec<Event>,
}

/// The distribution of one series' samples at an instant.
#[derive(Clone, Debug, PartialEq)]
pub struct SketchRow {
    /// Whose it is.
    pub key: SeriesKey,
    /// When.
    pub timestamp: Timestamp,
    /// How the samples of the interval that ends then are distributed.
    pub sketch: Sketch,
}

impl Batch {
    /// Adds a point.
    pub fn push(&mut self, key: SeriesKey, kind: Kind, timestamp: Timestamp, value: f64) {
        self.rows.push(Row { key, kind, point: Point { timestamp, value } });
    }

    /// Adds a distribution.
    pub fn push_sketch(&mut self, key: SeriesKey, timestamp: Timestamp, sketch: Sketch) {
        self.sketches.push(SketchRow { key, timestamp, sketch });
    }

    /// How many points it holds. Sketches and events do not count.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it holds nothing at all: no point, no sketch, no event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.sketches.is_empty() && self.events.is_empty()
    }
}

/// The values of one series over a range. A missing value is NaN.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// One value a step: the first is that of `start`.
    Regular {
        /// The instant of the first value, a multiple of `step`.
        start: Timestamp,
        /// The spacing.
        step: Step,
        /// The values.
        values: Vec<f64>,
    },
    /// Values at instants of their own, ascending, no instant twice; as many instants as values.
    Irregular {
        /// The instants.
        timestamps: Vec<Timestamp>,
        /// The values.
        values: Vec<f64>,
    },
}

impl Values {
    /// The values alone.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        match self {
            Self::Regular { values, .. } | Self::Irregular { values, .. } => values,
        }
    }

    /// How many there are, missing ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values().is_empty()
    }

    /// The values with their instants, missing ones included.
    pub fn points(&self) -> impl Iterator<Item = Point> + '_ {
        self.values().iter().enumerate().map(move |(index, value)| {
            let timestamp = match self {
                Self::Regular { start, step, .. } => {
                    start.offset(step.millis().saturating_mul(i64::try_from(index).unwrap_or(i64::MAX)))
                }
                Self::Irregular { timestamps, .. } => timestamps[index],
            };
            Point { timestamp, value: *value }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_its_kind() {
        for (path, kind) in [
            ("stats_counts.bot.messages", Kind::Count),
            ("stats.bot.messages", Kind::Untyped),
            ("stats.gauges.bot.guild.total_members", Kind::Gauge),
            ("stats.sets.users.count", Kind::Gauge),
            ("stats.timers.bot.help.in_use_time.upper_99_9", Kind::Maximum),
            ("stats.timers.bot.help.in_use_time.lower", Kind::Minimum),
            ("stats.timers.bot.help.in_use_time.sum_90", Kind::Count),
            ("stats.timers.bot.help.in_use_time.count", Kind::Count),
            ("stats.timers.bot.help.in_use_time.count_ps", Kind::Rate),
            ("stats.timers.bot.help.in_use_time.mean", Kind::Untyped),
        ] {
            assert_eq!(Kind::of_path(path), kind, "{path}");
        }
    }

    #[test]
    fn a_batch_is_empty_when_there_is_nothing_at_all_in_it() {
        assert!(Batch::default().is_empty());
        let mut sketches = Batch::default();
        sketches.push_sketch("a".parse().unwrap(), Timestamp::from_seconds(1), Sketch::new());
        let event = Event::new(Timestamp::from_seconds(1), String::new(), String::new());
        let events = Batch { events: vec![event], ..Batch::default() };
        for batch in [sketches, events] {
            assert_eq!((batch.len(), batch.is_empty()), (0, false));
        }
    }

    #[test]
    fn points_of_both_shapes_carry_their_instants() {
        let regular =
            Values::Regular { start: Timestamp::from_seconds(10), step: Step::SECOND, values: vec![1.0, 2.0] };
        let irregular = Values::Irregular {
            timestamps: vec![Timestamp::from_seconds(10), Timestamp::from_seconds(11)],
            values: vec![1.0, 2.0],
        };
        assert_eq!(regular.points().collect::<Vec<_>>(), irregular.points().collect::<Vec<_>>());
        assert_eq!(regular.len(), 2);
    }
}
