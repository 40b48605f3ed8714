//! What a target is evaluated in: its window, the clock, the zone, and how much it may ask for.

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use statline_series::{Step, TimeRange, Timestamp};

/// Bounds on one target. Whatever breaks one is refused with an error that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most series that a fetch or a call may yield.
    pub max_series: usize,
    /// The most points that a fetch or a call may yield.
    pub max_points: usize,
    /// The most points that all calls of a target together may yield.
    pub max_work: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_series: 50_000, max_points: 20_000_000, max_work: 400_000_000 }
    }
}

/// Whose answer is wanted where graphite-web's is plainly wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// The right one.
    #[default]
    Statline,
    /// graphite-web's, mistakes included.
    GraphiteWeb,
}

impl std::str::FromStr for Compat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "statline" => Ok(Self::Statline),
            "graphite-web" => Ok(Self::GraphiteWeb),
            other => Err(format!("{other:?} is neither statline nor graphite-web")),
        }
    }
}

/// The surroundings of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Context {
    /// The window is what comes after this instant …
    pub from: Timestamp,
    /// … up to this one, itself included: Graphite's `(from, until]`.
    pub until: Timestamp,
    /// The clock.
    pub now: Timestamp,
    /// Where days begin.
    pub zone: Tz,
    /// The most points a series should be drawn with; `None` for all there are.
    pub max_data_points: Option<usize>,
    /// How much of a bucket must be present for it to have a value, from 0 to 1.
    pub x_files_factor: f64,
    /// The step that series are expected to have: a window of 10 points is fetched as 10 of these first. A series of a
    /// coarser step costs a second fetch.
    pub step_hint: Step,
    /// Whose answer is wanted where graphite-web's is plainly wrong.
    pub compat: Compat,
    /// Bounds on the work.
    pub limits: Limits,
}

impl Context {
    /// A window in UTC, with a step of 10 seconds expected and the default limits.
    #[must_use]
    pub fn new(from: Timestamp, until: Timestamp, now: Timestamp) -> Self {
        Self {
            from,
            until,
            now,
            zone: Tz::UTC,
            max_data_points: None,
            x_files_factor: 0.0,
            step_hint: Step::from_seconds(10).unwrap_or(Step::SECOND),
            compat: Compat::default(),
            limits: Limits::default(),
        }
    }

    /// Whether graphite-web's mistakes are wanted.
    #[must_use]
    pub(crate) fn as_graphite_web(&self) -> bool {
        self.compat == Compat::GraphiteWeb
    }

    /// The window as a half-open range.
    #[must_use]
    pub const fn range(&self) -> TimeRange {
        TimeRange::new(self.from.offset(1), self.until.offset(1))
    }

    /// The same, looking back further.
    #[must_use]
    pub(crate) const fn looking_back(mut self, millis: i64) -> Self {
        self.from = self.from.offset(millis.saturating_neg());
        self
    }

    /// The same at another time.
    #[must_use]
    pub(crate) const fn shifted(mut self, millis: i64) -> Self {
        self.from = self.from.offset(millis);
        self.until = self.until.offset(millis);
        self
    }
}
