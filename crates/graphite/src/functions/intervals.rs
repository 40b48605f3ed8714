//! Intervals of time that values are gathered into: how long they are and where they begin.
//!
//! Intervals of whole days begin at midnight in the query's zone, shorter ones at its multiples of the interval, so that a
//! day is a day also where clocks differ from UTC or change.

use chrono::{Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime};
use chrono_tz::Tz;
use statline_series::{Step, TimeRange, Timestamp};

use crate::arguments::{Arguments, Literal, Param, ParamType};
use crate::context::Context;
use crate::error::EvalError;
use crate::evaluate::{Call, Stop};
use crate::time;

const MILLIS_A_DAY: i64 = 86_400_000;

/// The second parameter of functions that gather values.
pub(super) const PARAM: Param = Param::required("intervalString", ParamType::Interval).suggesting(&[
    Literal::Text("10min"),
    Literal::Text("1h"),
    Literal::Text("1d"),
]);

/// How long an interval is, as the second argument says.
pub(super) fn length(arguments: &Arguments<'_>, function: &'static str) -> Result<Step, EvalError> {
    let text = arguments.text(1).unwrap_or_default();
    let millis = time::parse_interval(text).unwrap_or(0);
    Step::from_millis(millis).ok_or_else(|| EvalError::Unusable {
        function,
        reason: format!("intervalString is longer than nothing, such as \"1h\", got {text:?}"),
    })
}

/// Where days begin; to graphite-web in UTC.
pub(super) const fn zone(context: &Context) -> Tz {
    match context.compat {
        crate::Compat::GraphiteWeb => Tz::UTC,
        crate::Compat::Statline => context.zone,
    }
}

/// The context of an argument that is looked at from an earlier start on, the value at the start included. graphite-web
/// leaves that value out, as every window does.
pub(super) fn window_from(start: Timestamp, context: &Context) -> Context {
    Context { from: if context.as_graphite_web() { start } else { start.offset(-1) }, ..*context }
}

/// Where the first of several intervals begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Begin {
    /// At an instant.
    At(Timestamp),
    /// When the clocks of a zone show what UTC's show at an instant; all intervals begin by these clocks.
    Wall(Timestamp, Tz),
}

impl Begin {
    /// The interval of the clock or the calendar that holds an instant.
    pub(super) fn of_calendar(instant: Timestamp, interval: Step, zone: Tz) -> Self {
        let ahead = time::offset_millis(instant, zone);
        let wall = instant.offset(ahead).align_down(interval);
        if interval.millis() % MILLIS_A_DAY == 0 { Self::Wall(wall, zone) } else { Self::At(wall.offset(-ahead)) }
    }

    /// The interval that begins with a midnight.
    pub(super) fn at_day(midnight: Timestamp, interval: Step, zone: Tz) -> Self {
        let wall = midnight.offset(time::offset_millis(midnight, zone));
        if interval.millis() % MILLIS_A_DAY == 0 { Self::Wall(wall, zone) } else { Self::At(midnight) }
    }

    fn boundary(self, millis: i64) -> Timestamp {
        match self {
            Self::At(first) => first.offset(millis),
            Self::Wall(first, zone) => {
                let wall = first.offset(millis);
                time::local(wall, Tz::UTC).map_or(wall, |wall| time::at_local(wall, zone))
            }
        }
    }

    /// Where intervals begin and the last one ends, up to the first boundary that is not before an instant.
    pub(super) fn boundaries(self, end: Timestamp, interval: Step, call: &Call<'_>) -> Result<Vec<Timestamp>, Stop> {
        // One more than there are, so that the last one has an end; and one for a day that is longer than others.
        let count = TimeRange::new(self.boundary(0), end).millis() / interval.millis() + 2;
        call.check_points(usize::try_from(count).unwrap_or(usize::MAX))?;
        let mut boundaries = Vec::new();
        let mut index = 0;
        loop {
            let boundary = self.boundary(interval.millis().saturating_mul(index));
            boundaries.push(boundary);
            if boundary >= end || index > count {
                return Ok(boundaries);
            }
            index += 1;
        }
    }
}

/// A unit of the clock or the calendar that intervals may begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Years,
    Months,
    /// Weeks that begin with a day: 1 is Monday.
    Weeks(u32),
    Days,
    Hours,
    Minutes,
    Seconds,
}

impl Unit {
    /// Reads a unit: `years`, `months`, `weeks` with perhaps the day they begin with, `days`, `hours`, `minutes`, `seconds`,
    /// or the beginning of one of these that is a unit of intervals too.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let units = [
            ("s", Self::Seconds),
            ("min", Self::Minutes),
            ("h", Self::Hours),
            ("d", Self::Days),
            ("w", Self::Weeks(1)),
            ("mon", Self::Months),
            ("y", Self::Years),
        ];
        let Some((_, unit)) = units.into_iter().find(|(prefix, _)| text.starts_with(prefix)) else {
            return Err(format!("expected years, months, weeks, days, hours, minutes or seconds, got {text:?}"));
        };
        let last = text.chars().next_back().filter(|last| !last.is_alphabetic());
        match (unit, last) {
            (Self::Weeks(_), Some(last)) => match last.to_digit(10) {
                Some(day @ 1..=7) => Ok(Self::Weeks(day)),
                _ => {
                    Err(format!("the day of the week that weeks begin with is 1 (Monday) to 7 (Sunday), got {text:?}"))
                }
            },
            _ => Ok(unit),
        }
    }

    pub(super) const fn is_of_days(self) -> bool {
        matches!(self, Self::Years | Self::Months | Self::Weeks(_) | Self::Days)
    }

    /// The start of the unit that holds an instant, in the context's zone.
    pub(super) fn start(self, instant: Timestamp, context: &Context) -> Timestamp {
        let ahead = time::offset_millis(instant, context.zone);
        let wall = instant.offset(ahead);
        let unit_millis = match self {
            Self::Hours => 3_600_000,
            Self::Minutes => 60_000,
            Self::Seconds => 1000,
            Self::Years | Self::Months | Self::Weeks(_) | Self::Days => {
                let Some(midnight) = time::local(wall, Tz::UTC).ok().and_then(|wall| self.midnight(wall.date())) else {
                    return instant;
                };
                // graphite-web takes clocks to have been then as they are at the instant.
                let fixed = Timestamp::from_millis(midnight.and_utc().timestamp_millis()).offset(-ahead);
                let start = if context.as_graphite_web() { fixed } else { time::at_local(midnight, context.zone) };
                return start.min(instant);
            }
        };
        Step::from_millis(unit_millis).map_or(instant, |unit| wall.align_down(unit).offset(-ahead))
    }

    fn midnight(self, date: NaiveDate) -> Option<NaiveDateTime> {
        let first = match self {
            Self::Years => date.with_day(1)?.with_month(1)?,
            Self::Months => date.with_day(1)?,
            Self::Weeks(first_day) => {
                let days = (date.weekday().number_from_monday() + 7 - first_day) % 7;
                date.checked_sub_signed(Duration::days(i64::from(days)))?
            }
            _ => date,
        };
        Some(first.and_time(NaiveTime::MIN))
    }
}
