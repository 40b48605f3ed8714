//! What `$__timeGroup(column, interval, fill)` puts where a group has no rows.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, TimeZone, Utc};
use chrono_tz::Tz;
use grafana_plugin::QueryError;

/// The most instants that filling may make.
const MAX_INSTANTS: usize = 1_000_000;

/// What a missing group gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FillValue {
    /// No value.
    Null,
    /// The value before it.
    Previous,
    /// This.
    Number(f64),
}

/// How groups lie and what missing ones get.
#[derive(Clone, Debug, PartialEq)]
pub struct Fill {
    /// What a missing group gets.
    pub value: FillValue,
    /// How long a group is.
    pub step: Duration,
    /// The zone in which groups of whole days begin; `None` when they are aligned to the epoch.
    pub zone: Option<Tz>,
    /// The start of the panel's range.
    pub from: DateTime<Utc>,
    /// Its end.
    pub until: DateTime<Utc>,
}

impl Fill {
    /// The start of every group in the range, in nanoseconds since the epoch, from the one that `from` falls into.
    ///
    /// # Errors
    /// When there would be too many.
    pub fn instants(&self) -> Result<Vec<i64>, QueryError> {
        let too_many = || {
            QueryError::bad_request(format!(
                "filling would make more than {MAX_INSTANTS} groups; choose a longer interval"
            ))
        };
        let range = (self.until - self.from).to_std().unwrap_or_default();
        if range.as_nanos() / self.step.as_nanos().max(1) >= MAX_INSTANTS as u128 {
            return Err(too_many());
        }
        if let Some(zone) = self.zone {
            return Ok(self.days(zone));
        }
        let step = i64::try_from(self.step.as_nanos()).map_err(|_| too_many())?;
        let (from, until) = (nanos(self.from), nanos(self.until));
        let first = from.saturating_sub(from.rem_euclid(step));
        Ok((0_i64..)
            .map(|index| first.saturating_add(step.saturating_mul(index)))
            .take_while(|at| *at <= until)
            .collect())
    }

    fn days(&self, zone: Tz) -> Vec<i64> {
        let length = self.step.as_secs() / 86_400;
        let first = self.from.with_timezone(&zone).date_naive();
        let since_epoch = first.signed_duration_since(NaiveDate::default()).num_days();
        let into_group = since_epoch.rem_euclid(i64::try_from(length).unwrap_or(1).max(1)).unsigned_abs();
        let mut day = first.checked_sub_days(Days::new(into_group)).unwrap_or(first);
        let mut instants = Vec::new();
        while let Some(midnight) = midnight(day, zone).filter(|midnight| *midnight <= self.until) {
            instants.push(nanos(midnight));
            let Some(next) = day.checked_add_days(Days::new(length.max(1))) else { break };
            day = next;
        }
        instants
    }
}

/// Midnight of a day, or the first instant after it where clocks are set forth at midnight.
fn midnight(day: NaiveDate, zone: Tz) -> Option<DateTime<Utc>> {
    (0..=3)
        .find_map(|hour| zone.from_local_datetime(&day.and_hms_opt(hour, 0, 0)?).earliest())
        .map(|date| date.to_utc())
}

fn nanos(date: DateTime<Utc>) -> i64 {
    date.timestamp_nanos_opt().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(step: u64, zone: Option<Tz>, from: &str, until: &str) -> Fill {
        Fill {
            value: FillValue::Null,
            step: Duration::from_secs(step),
            zone,
            from: from.parse().unwrap(),
            until: until.parse().unwrap(),
        }
    }

    fn texts(fill: &Fill) -> Vec<String> {
        let instants = fill.instants().unwrap();
        instants.iter().map(|at| DateTime::from_timestamp_nanos(*at).format("%dT%H:%M").to_string()).collect()
    }

    #[test]
    fn groups_begin_where_the_range_falls_into_one() {
        let fill = fill(300, None, "2026-11-22T10:03:00Z", "2026-11-22T10:15:00Z");
        assert_eq!(texts(&fill), ["22T10:00", "22T10:05", "22T10:10", "22T10:15"]);
    }

    #[test]
    fn days_follow_the_clock_of_their_zone() {
        // Clocks in Berlin were set back on 2026-10-25.
        let fill = fill(86_400, Some(Tz::Europe__Berlin), "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
        assert_eq!(texts(&fill), ["23T22:00", "24T22:00", "25T23:00"]);
    }

    #[test]
    fn too_many_groups_are_refused() {
        assert!(fill(1, None, "2000-01-01T00:00:00Z", "2026-01-01T00:00:00Z").instants().is_err());
    }
}
