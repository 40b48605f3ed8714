//! The axis of times: which moments stand on it, as the clocks of a zone show them.

use std::fmt::Write;

use chrono::{DateTime, NaiveDateTime, TimeZone};
use chrono_tz::Tz;
use statline_series::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// The most moments that lie on an axis.
const MAX_MOMENTS: usize = 2000;
/// The first Monday, so that weeks begin with one.
const MONDAY: i64 = 4 * DAY;

/// The distance of labels and that of the lines between them, in seconds.
const STEPS: [(i64, i64); 26] = [
    (1, 1),
    (5, 1),
    (10, 5),
    (15, 5),
    (30, 10),
    (MINUTE, 30),
    (2 * MINUTE, MINUTE),
    (5 * MINUTE, MINUTE),
    (10 * MINUTE, 5 * MINUTE),
    (20 * MINUTE, 5 * MINUTE),
    (30 * MINUTE, 10 * MINUTE),
    (HOUR, 30 * MINUTE),
    (2 * HOUR, HOUR),
    (4 * HOUR, 2 * HOUR),
    (6 * HOUR, 3 * HOUR),
    (12 * HOUR, 6 * HOUR),
    (DAY, 12 * HOUR),
    (2 * DAY, DAY),
    (4 * DAY, 2 * DAY),
    (7 * DAY, DAY),
    (14 * DAY, 7 * DAY),
    (28 * DAY, 14 * DAY),
    (56 * DAY, 28 * DAY),
    (112 * DAY, 56 * DAY),
    (224 * DAY, 112 * DAY),
    (448 * DAY, 224 * DAY),
];

/// The moments of an axis.
#[derive(Debug)]
pub struct TimeAxis {
    /// Moments and what stands at them.
    pub labels: Vec<(Timestamp, String)>,
    /// Moments in between.
    pub minor: Vec<Timestamp>,
}

impl TimeAxis {
    /// The moments from `start` to `end`, as close as `room` allows: the seconds that a label takes.
    pub fn new(start: Timestamp, end: Timestamp, zone: Tz, format: Option<&str>, room: impl Fn(&str) -> f64) -> Self {
        let span = end.seconds() - start.seconds();
        let format_of = |step| format.unwrap_or_else(|| usual(step, span));
        let fits = |(step, _): &(i64, i64)| *step as f64 >= room(&text(start, zone, format_of(*step)));
        let last = STEPS[STEPS.len() - 1];
        let (step, minor) = STEPS.into_iter().find(fits).unwrap_or_else(|| {
            #[expect(clippy::cast_possible_truncation, reason = "a cast of a double saturates")]
            let times = (room(&text(start, zone, format_of(last.0))) / last.0 as f64).ceil() as i64;
            (last.0.saturating_mul(times.max(1)), last.1.saturating_mul(times.max(1)))
        });
        let format = format_of(step);
        let labels = moments(start, end, step, zone).into_iter().map(|moment| (moment, text(moment, zone, format)));
        Self { labels: labels.collect(), minor: moments(start, end, minor, zone) }
    }
}

/// How times are written so that one label can be told from the next.
const fn usual(step: i64, span: i64) -> &'static str {
    match (step, span) {
        (..MINUTE, _) => "%H:%M:%S",
        (..DAY, ..=DAY) => "%H:%M",
        (..DAY, ..604_801) => "%a %H:%M",
        (..DAY, _) => "%m/%d %H:%M",
        (_, ..31_536_001) => "%m/%d",
        _ => "%m/%d %Y",
    }
}

/// The moments at which clocks show a multiple of a step, midnight being one.
fn moments(start: Timestamp, end: Timestamp, step: i64, zone: Tz) -> Vec<Timestamp> {
    let anchor = if step >= 7 * DAY { MONDAY } else { 0 };
    let mut found: Vec<Timestamp> = Vec::new();
    let mut clock = local(start, zone);
    clock = clock - (clock - anchor).rem_euclid(step);
    for _ in 0..MAX_MOMENTS {
        // An hour that the clocks skip is no moment, of one that comes twice the first is.
        let shown = DateTime::from_timestamp(clock, 0).map(|time| time.naive_utc());
        let Some(shown) = shown else { break };
        if let Some(moment) = instant(&shown, zone) {
            if moment > end {
                break;
            }
            if moment >= start && found.last().is_none_or(|last| *last < moment) {
                found.push(moment);
            }
        }
        clock = clock.saturating_add(step);
    }
    found
}

fn instant(shown: &NaiveDateTime, zone: Tz) -> Option<Timestamp> {
    zone.from_local_datetime(shown).earliest().map(|time| Timestamp::from_seconds(time.timestamp()))
}

/// What clocks show, as seconds.
fn local(instant: Timestamp, zone: Tz) -> i64 {
    let time = DateTime::from_timestamp(instant.seconds(), 0).unwrap_or_default();
    time.with_timezone(&zone).naive_local().and_utc().timestamp()
}

fn text(moment: Timestamp, zone: Tz, format: &str) -> String {
    let time = DateTime::from_timestamp(moment.seconds(), 0).unwrap_or_default().with_timezone(&zone);
    let mut text = String::new();
    // A format was looked at before; what it has that a time has not is left out.
    let _ = write!(text, "{}", time.format(format));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(start: i64, span: i64, room: f64, zone: Tz) -> String {
        let (start, end) = (Timestamp::from_seconds(start), Timestamp::from_seconds(start + span));
        let axis = TimeAxis::new(start, end, zone, None, |_| room);
        axis.labels.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn labels_are_moments_that_clocks_show() {
        // 2026-11-28 07:15:00 UTC, a Saturday.
        let start = 1_795_850_100;
        for (span, room, zone, expected) in [
            (60, 12.0, Tz::UTC, "07:15:00 | 07:15:15 | 07:15:30 | 07:15:45 | 07:16:00"),
            (3600, 600.0, Tz::UTC, "07:20 | 07:30 | 07:40 | 07:50 | 08:00 | 08:10"),
            (DAY, 5.0 * 3600.0, Tz::UTC, "12:00 | 18:00 | 00:00 | 06:00"),
            (DAY, 5.0 * 3600.0, Tz::Asia__Kolkata, "18:00 | 00:00 | 06:00 | 12:00"),
            (3 * DAY, 12.0 * 3600.0, Tz::UTC, "Sat 12:00 | Sun 00:00 | Sun 12:00 | Mon 00:00 | Mon 12:00 | Tue 00:00"),
            (30 * DAY, 5.0 * 86_400.0, Tz::UTC, "11/30 | 12/07 | 12/14 | 12/21 | 12/28"),
            (800 * DAY, 200.0 * 86_400.0, Tz::UTC, "01/18 2027 | 08/30 2027 | 04/10 2028 | 11/20 2028"),
        ] {
            assert_eq!(texts(start, span, room, zone), expected, "{span} s, {zone}");
        }
    }

    #[test]
    fn midnight_stays_midnight_when_clocks_change() {
        // 2026-03-28 00:00 in Berlin, the day before clocks go forward.
        let start = 1_774_652_400;
        let axis = TimeAxis::new(
            Timestamp::from_seconds(start),
            Timestamp::from_seconds(start + 3 * DAY),
            Tz::Europe__Berlin,
            Some("%d %H:%M"),
            |_| 20.0 * 3600.0,
        );
        let texts: Vec<&str> = axis.labels.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["28 00:00", "29 00:00", "30 00:00", "31 00:00"]);
        assert_eq!(axis.labels[2].0.seconds() - axis.labels[1].0.seconds(), 23 * 3600);
    }

    #[test]
    fn no_span_has_too_many_moments() {
        for (start, end, room) in
            [(i64::MIN, i64::MAX, 1.0), (0, i64::MAX, f64::MAX), (0, 1_000_000, 0.0), (5, 5, f64::NAN)]
        {
            let (start, end) = (Timestamp::from_seconds(start), Timestamp::from_seconds(end));
            let axis = TimeAxis::new(start, end, Tz::Europe__Berlin, None, |_| room);
            assert!(axis.labels.len() <= MAX_MOMENTS && axis.minor.len() <= MAX_MOMENTS);
        }
    }
}
