//! Graphite's way of saying when: `now-1h`, `noon_yesterday`, `14:30_20261122`, `monday`, `1700000000`.
//!
//! A moment is a reference and an offset. The reference is now, a time of day, a day, or both; the offset is a sign and
//! amounts with units. Days and times of day are those of a time zone; the clock is an argument.

use chrono::{DateTime, Datelike, Duration, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, TimeZone};
use chrono_tz::{OffsetComponents, Tz};
use statline_series::Timestamp;
use thiserror::Error;

use crate::context::Compat;

/// The last second of the year 9999: the latest epoch that is a time and not a slip of the unit.
const LATEST_EPOCH: i64 = 253_402_300_799;
/// The longest text, in bytes.
const MAX_BYTES: usize = 256;
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MILLIS_A_DAY: i64 = 86_400_000;

/// Why a text is not a time or not an interval.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{text:?} is not {what}: {reason}")]
pub struct TimeError {
    /// The text as given, cut when long.
    pub text: String,
    /// What it should have been.
    pub what: &'static str,
    /// What is wrong.
    pub reason: &'static str,
}

/// Reads a moment.
///
/// # Errors
/// When the text is not one, or is beyond what a calendar holds.
pub fn parse_at(text: &str, now: Timestamp, zone: Tz) -> Result<Timestamp, TimeError> {
    parse_at_as(Compat::Statline, text, now, zone)
}

/// Reads a moment as somebody does: to graphite-web `12am` is noon, `12pm` is midnight, and `13pm` is one o'clock at night.
///
/// # Errors
/// As [`parse_at`].
pub fn parse_at_as(compat: Compat, text: &str, now: Timestamp, zone: Tz) -> Result<Timestamp, TimeError> {
    let moment = parse_moment(compat, text, now, zone);
    moment.map_err(|reason| TimeError { text: cut(text), what: "a time", reason })
}

/// Reads an interval such as `5min`, `-1d` or `1h30min`, in milliseconds. Without a sign it is positive.
///
/// # Errors
/// When a unit or an amount is missing or unknown, or the whole is longer than a thousand years.
pub fn parse_interval(text: &str) -> Result<i64, TimeError> {
    let error = |reason| TimeError { text: cut(text), what: "an interval", reason };
    if text.len() > MAX_BYTES {
        return Err(error("it is too long"));
    }
    let squeezed = text.trim().to_ascii_lowercase();
    if squeezed.is_empty() {
        return Err(error("it is empty; expected an amount and a unit, such as 5min"));
    }
    offset(&squeezed).map_err(error)
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

fn parse_moment(compat: Compat, text: &str, now: Timestamp, zone: Tz) -> Result<Timestamp, &'static str> {
    if text.len() > MAX_BYTES {
        return Err("it is too long");
    }
    let squeezed: String =
        text.trim().to_ascii_lowercase().chars().filter(|character| !matches!(character, '_' | ',' | ' ')).collect();
    if !squeezed.is_empty() && squeezed.bytes().all(|byte| byte.is_ascii_digit()) && !is_date_shaped(&squeezed) {
        let seconds: i64 = squeezed.parse().map_err(|_| "the epoch is beyond the year 9999")?;
        return if seconds <= LATEST_EPOCH {
            Ok(Timestamp::from_seconds(seconds))
        } else {
            Err("the epoch is beyond the year 9999; it is counted in seconds")
        };
    }
    let sign = squeezed.find(['+', '-']).unwrap_or(squeezed.len());
    let (reference_text, offset_text) = squeezed.split_at(sign);
    let base = reference(compat, reference_text, now, zone)?;
    let moved = if offset_text.is_empty() { 0 } else { offset(offset_text)? };
    Ok(base.offset(moved))
}

/// Whether digits are a date, `YYYYMMDD`, rather than an epoch.
fn is_date_shaped(digits: &str) -> bool {
    let within = |range: std::ops::Range<usize>, from: u32, to: u32| {
        digits.get(range).and_then(|part| part.parse().ok()).is_some_and(|part: u32| (from..to).contains(&part))
    };
    digits.len() == 8 && within(0..4, 1901, 10_000) && within(4..6, 0, 13) && within(6..8, 0, 32)
}

/// `YYYYMMDD`.
fn date_of_digits(digits: &str) -> Option<NaiveDate> {
    let number: u32 = digits.parse().ok()?;
    NaiveDate::from_ymd_opt(i32::try_from(number / 10_000).ok()?, number / 100 % 100, number % 100)
}

fn reference(compat: Compat, text: &str, now: Timestamp, zone: Tz) -> Result<Timestamp, &'static str> {
    if text.is_empty() || text == "now" {
        return Ok(now);
    }
    let today = local(now, zone)?.date();
    let (time, rest) = time_of_day(compat, text)?;
    let date = day(rest, today)?;
    Ok(at_local(date.and_time(time), zone))
}

const NO_SUCH_TIME: &str = "there is no such time of day";

/// A time of day at the start of the text, midnight when there is none, and what follows it. Of several the last counts,
/// and nothing more is told after a word.
fn time_of_day(compat: Compat, text: &str) -> Result<(NaiveTime, &str), &'static str> {
    let (mut time, mut rest) = (NaiveTime::MIN, text);
    while let Some((told, behind)) = clock_time(compat, rest)? {
        (time, rest) = (told, behind);
    }
    for (word, hour) in [("noon", 12), ("midnight", 0), ("teatime", 16)] {
        if let Some(behind) = rest.strip_prefix(word) {
            return Ok((hour_and_minute(hour, 0)?, behind));
        }
    }
    Ok((time, rest))
}

fn hour_and_minute(hour: u32, minute: u32) -> Result<NaiveTime, &'static str> {
    NaiveTime::from_hms_opt(hour, minute, 0).ok_or(NO_SUCH_TIME)
}

/// `8:50`, `8:50pm` or `8pm`, and what follows it.
fn clock_time(compat: Compat, text: &str) -> Result<Option<(NaiveTime, &str)>, &'static str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if !(1..=2).contains(&digits) {
        return Ok(None);
    }
    let (number, rest) = text.split_at(digits);
    let hour: u32 = number.parse().map_err(|_| NO_SUCH_TIME)?;
    if let Some(after_colon) = rest.strip_prefix(':') {
        let length = after_colon.len().min(2);
        let minute = after_colon.get(..length).and_then(|minute| minute.parse().ok()).ok_or("expected HH:MM")?;
        let (hour, rest) = half_of_day(compat, hour, &after_colon[length..])?;
        return Ok(Some((hour_and_minute(hour, minute)?, rest)));
    }
    if rest.starts_with("am") || rest.starts_with("pm") {
        let (hour, rest) = half_of_day(compat, hour, rest)?;
        return Ok(Some((hour_and_minute(hour, 0)?, rest)));
    }
    Ok(None)
}

/// The hour of 24 that an hour followed by `am`, `pm` or neither is.
fn half_of_day(compat: Compat, hour: u32, text: &str) -> Result<(u32, &str), &'static str> {
    let (rest, afternoon) = match (text.strip_prefix("am"), text.strip_prefix("pm")) {
        (Some(rest), _) => (rest, 0),
        (_, Some(rest)) => (rest, 12),
        _ => return Ok((hour, text)),
    };
    match compat {
        Compat::GraphiteWeb if afternoon == 0 => Ok((hour, rest)),
        Compat::GraphiteWeb => Ok(((hour + afternoon) % 24, rest)),
        Compat::Statline if hour > 12 => Err("am and pm go with hours up to 12"),
        Compat::Statline => Ok((hour % 12 + afternoon, rest)),
    }
}

fn day(text: &str, today: NaiveDate) -> Result<NaiveDate, &'static str> {
    const NO_SUCH_DAY: &str = "there is no such day";
    let shifted = |days| today.checked_add_signed(Duration::days(days)).ok_or(NO_SUCH_DAY);
    match text {
        "" | "today" => return Ok(today),
        "yesterday" => return shifted(-1),
        "tomorrow" => return shifted(1),
        _ => {}
    }
    if text.matches('/').count() == 2 {
        return us_date(text).ok_or("expected MM/DD/YY or MM/DD/YYYY");
    }
    if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return date_of_digits(text).ok_or(NO_SUCH_DAY);
    }
    let name = text.get(..3).unwrap_or("");
    if let Some(month) = MONTHS.iter().position(|known| *known == name) {
        let digits = text.trim_start_matches(|character: char| !character.is_ascii_digit());
        let day = digits.parse().map_err(|_| "expected the day after the month, such as nov 22")?;
        return NaiveDate::from_ymd_opt(today.year(), u32::try_from(month).unwrap_or(0) + 1, day).ok_or(NO_SUCH_DAY);
    }
    if let Some(weekday) = WEEKDAYS.iter().position(|known| *known == name) {
        let since_monday = i64::from(today.weekday().num_days_from_monday());
        return shifted(-(since_monday - i64::try_from(weekday).unwrap_or(0)).rem_euclid(7));
    }
    Err(
        "expected now, a time of day, today, yesterday, tomorrow, a weekday, a date (YYYYMMDD, MM/DD/YY, nov 22) or an epoch, then perhaps an offset such as -6h",
    )
}

fn us_date(text: &str) -> Option<NaiveDate> {
    let mut parts = text.split('/').map(str::parse::<u32>);
    let mut next = || parts.next().and_then(Result::ok);
    let (month, day, year) = (next()?, next()?, i32::try_from(next()?).ok()?);
    // What is before 1970 is meant to be a century later.
    let year = if year < 1900 { year + 1900 } else { year };
    let year = if year < 1970 { year + 100 } else { year };
    NaiveDate::from_ymd_opt(year, month, day)
}

/// Signed amounts with units, in milliseconds. A sign holds until the next one.
fn offset(text: &str) -> Result<i64, &'static str> {
    const TOO_LONG: &str = "it is longer than a thousand years";
    let mut rest = if matches!(text, "+" | "-") { "" } else { text };
    let mut sign = 1;
    let mut total = 0_i64;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(['+', '-']) {
            sign = if rest.starts_with('-') { -1 } else { 1 };
            rest = after;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        if number.is_empty() {
            return Err("expected an amount and a unit, such as 5min");
        }
        let amount: i64 = number.parse().map_err(|_| TOO_LONG)?;
        let length = amount.checked_mul(unit_millis(unit)?).ok_or(TOO_LONG)?;
        total = total.checked_add(sign * length).ok_or(TOO_LONG)?;
        rest = after;
    }
    if total.abs() > 1000 * 366 * MILLIS_A_DAY { Err(TOO_LONG) } else { Ok(total) }
}

fn unit_millis(unit: &str) -> Result<i64, &'static str> {
    for (prefix, millis) in [
        ("s", 1000),
        ("min", 60_000),
        ("h", 3_600_000),
        ("d", MILLIS_A_DAY),
        ("w", 7 * MILLIS_A_DAY),
        ("mon", 30 * MILLIS_A_DAY),
        ("y", 365 * MILLIS_A_DAY),
    ] {
        if unit.starts_with(prefix) {
            return Ok(millis);
        }
    }
    Err("expected a unit after each amount: s, min, h, d, w, mon or y")
}

/// The clock on the wall at an instant.
pub(crate) fn local(instant: Timestamp, zone: Tz) -> Result<NaiveDateTime, &'static str> {
    let utc = DateTime::from_timestamp_millis(instant.millis()).ok_or("the time is beyond the calendar")?;
    Ok(utc.with_timezone(&zone).naive_local())
}

/// The instant at which a wall clock shows this. Of two, the later; in a gap, as far after it as the clock asks.
pub(crate) fn at_local(wall: NaiveDateTime, zone: Tz) -> Timestamp {
    let millis = match zone.from_local_datetime(&wall) {
        LocalResult::Single(instant) => instant.timestamp_millis(),
        LocalResult::Ambiguous(_, later) => later.timestamp_millis(),
        LocalResult::None => {
            let before_gap = wall - Duration::hours(3);
            let instant = zone.from_local_datetime(&before_gap).latest();
            instant.map_or_else(|| wall.and_utc().timestamp_millis(), |at| at.timestamp_millis() + 3 * 3_600_000)
        }
    };
    Timestamp::from_millis(millis)
}

/// How far the zone's clocks are ahead of UTC at an instant, in milliseconds. 0 beyond the calendar.
pub(crate) fn offset_millis(instant: Timestamp, zone: Tz) -> i64 {
    local(instant, zone).map_or(0, |wall| wall.and_utc().timestamp_millis().saturating_sub(instant.millis()))
}

/// How far graphite-web is off at an instant when it takes what a zone's clocks show for UTC, in milliseconds: the zone's
/// offset without summer time, which its `mktime` knows to leave out.
pub(crate) fn clock_error_millis(instant: Timestamp, zone: Tz) -> i64 {
    DateTime::from_timestamp_millis(instant.millis())
        .map_or(0, |utc| utc.with_timezone(&zone).offset().base_utc_offset().num_milliseconds())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sunday, 22 November 2026, 14:30:15 UTC.
    const NOW: i64 = 1_795_357_815;

    fn shown(text: &str, zone: Tz) -> String {
        match parse_at(text, Timestamp::from_seconds(NOW), zone) {
            Ok(at) => local(at, zone).unwrap().format("%Y-%m-%d %H:%M:%S").to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_moment_is_a_reference_and_an_offset() {
        for (text, expected) in [
            ("", "2026-11-22 14:30:15"),
            ("now", "2026-11-22 14:30:15"),
            (" NOW ", "2026-11-22 14:30:15"),
            ("-6h", "2026-11-22 08:30:15"),
            ("now-1h", "2026-11-22 13:30:15"),
            ("now - 1 h", "2026-11-22 13:30:15"),
            ("now+90s", "2026-11-22 14:31:45"),
            ("-1d6h", "2026-11-21 08:30:15"),
            ("-1d+6h", "2026-11-21 20:30:15"),
            ("-1mon", "2026-10-23 14:30:15"),
            ("-2weeks", "2026-11-08 14:30:15"),
            ("-1y", "2025-11-22 14:30:15"),
            ("today", "2026-11-22 00:00:00"),
            ("yesterday", "2026-11-21 00:00:00"),
            ("tomorrow-1s", "2026-11-22 23:59:59"),
            ("midnight", "2026-11-22 00:00:00"),
            ("midnight+1d", "2026-11-23 00:00:00"),
            ("noon", "2026-11-22 12:00:00"),
            ("noon_yesterday", "2026-11-21 12:00:00"),
            ("teatime tomorrow", "2026-11-23 16:00:00"),
            ("6pm_today", "2026-11-22 18:00:00"),
            ("6am", "2026-11-22 06:00:00"),
            ("12am", "2026-11-22 00:00:00"),
            ("12:30pm_today", "2026-11-22 12:30:00"),
            ("8:50", "2026-11-22 08:50:00"),
            ("04:00_20261101", "2026-11-01 04:00:00"),
            ("20261101", "2026-11-01 00:00:00"),
            ("11/01/26", "2026-11-01 00:00:00"),
            ("2/3/1999", "1999-02-03 00:00:00"),
            ("2/3/99", "1999-02-03 00:00:00"),
            ("nov 2", "2026-11-02 00:00:00"),
            ("noon_march15", "2026-03-15 12:00:00"),
            ("sunday", "2026-11-22 00:00:00"),
            ("monday", "2026-11-16 00:00:00"),
            ("6pm_fri-1h", "2026-11-20 17:00:00"),
            ("1700000000", "2023-11-14 22:13:20"),
            ("0", "1970-01-01 00:00:00"),
            ("99999999", "1973-03-03 09:46:39"),
        ] {
            assert_eq!(shown(text, Tz::UTC), expected, "{text:?}");
        }
    }

    #[test]
    fn days_are_those_of_the_zone() {
        for (text, zone, expected) in [
            ("midnight", Tz::Pacific__Auckland, "2026-11-23 00:00:00"),
            ("monday", Tz::Pacific__Auckland, "2026-11-23 00:00:00"),
            ("today", Tz::America__New_York, "2026-11-22 00:00:00"),
            ("12:00_20260701", Tz::Europe__Berlin, "2026-07-01 12:00:00"),
            // The clocks go forward at 2:00 on 29 March and back at 3:00 on 25 October.
            ("02:30_20260329", Tz::Europe__Berlin, "2026-03-29 03:30:00"),
            ("midnight_20260329+3h", Tz::Europe__Berlin, "2026-03-29 04:00:00"),
        ] {
            assert_eq!(shown(text, zone), expected, "{text} in {zone}");
        }
        let summer = Timestamp::from_seconds(1_782_000_000);
        assert_eq!(offset_millis(summer, Tz::Europe__Berlin), 7_200_000);
        assert_eq!(clock_error_millis(summer, Tz::Europe__Berlin), 3_600_000);
        let later = parse_at("02:30_20261025", Timestamp::from_seconds(NOW), Tz::Europe__Berlin).unwrap();
        assert_eq!(offset_millis(later, Tz::Europe__Berlin), 3_600_000);
    }

    #[test]
    fn what_is_not_a_time_is_told() {
        for (text, reason) in [
            ("-5m", "expected a unit after each amount: s, min, h, d, w, mon or y"),
            ("-5", "expected a unit after each amount: s, min, h, d, w, mon or y"),
            ("now--1h", "expected an amount and a unit, such as 5min"),
            ("20260230", "there is no such day"),
            ("25:00", "there is no such time of day"),
            ("13pm", "am and pm go with hours up to 12"),
            ("8:5am", "expected HH:MM"),
            ("jan", "expected the day after the month, such as nov 22"),
            ("feb 30", "there is no such day"),
            ("13/13/26", "expected MM/DD/YY or MM/DD/YYYY"),
            ("1700000000000", "the epoch is beyond the year 9999; it is counted in seconds"),
            ("99999999999999999999", "the epoch is beyond the year 9999"),
            ("-9999999y", "it is longer than a thousand years"),
        ] {
            let error = parse_at(text, Timestamp::from_seconds(NOW), Tz::UTC).unwrap_err();
            assert_eq!(error.reason, reason, "{text}");
        }
        assert!(shown("someday", Tz::UTC).starts_with("\"someday\" is not a time: expected now, a time of day"));
    }

    #[test]
    fn intervals_have_units() {
        for (text, millis) in [("5min", 300_000), ("-1d", -86_400_000), ("1h30min", 5_400_000), ("10s", 10_000)] {
            assert_eq!(parse_interval(text), Ok(millis), "{text}");
        }
        for text in ["", "5", "min", "5m", "now", "1.5h", "9999999999999999y"] {
            assert!(parse_interval(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,30}", now: i64) {
            let _ = parse_at(&text, Timestamp::from_millis(now), Tz::Europe__Berlin);
            let _ = parse_interval(&text);
        }

        #[test]
        fn nothing_like_a_time_panics(
            text in "(now|noon|midnight|[0-9]{1,2}(:[0-9]{1,2})?(am|pm)?)?_?(mon|jan ?[0-9]{0,3}|today|tomorrow|[0-9]{8}|[0-9/]{5,10})?([+-]?[0-9]{0,12}[a-z]{0,4}){0,3}",
            now: i64,
        ) {
            let _ = parse_at(&text, Timestamp::from_millis(now), Tz::America__New_York);
        }
    }
}
