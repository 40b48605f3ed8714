//! Macros, as PostgreSQL itself understands their expansions.

use std::time::Duration;

use grafana_plugin::host::Host;
use grafana_plugin::{DataQuery, Frame, RequestContext, TimeRange};
use serde_json::json;
use statline_harness::postgres::{DATABASE, READER};
use statline_harness::{Postgres, plugin};

use crate::{frames, numbers};

/// 2026-10-25T00:00:00Z, the day on which clocks in Berlin are set back at 01:00Z.
const DAY: i64 = 1_792_886_400_000;
const HOUR: i64 = 3_600_000;

struct Ask<'a> {
    host: &'a Host,
    context: &'a RequestContext,
    range: TimeRange,
    timezone: &'a str,
}

impl Ask<'_> {
    async fn frame(&self, sql: &str, format: &str) -> Frame {
        let json = json!({
            "refId": "A", "queryType": "sql", "rawSql": sql, "format": format, "timezone": self.timezone,
        });
        let query = DataQuery { interval: Duration::from_hours(1), ..plugin::data_query("A", &json, self.range) };
        frames(self.host, self.context, query).await.remove(0)
    }

    /// Times and values of the only series.
    async fn series(&self, sql: &str) -> Vec<(i64, Option<f64>)> {
        let frame = self.frame(sql, "time_series").await;
        assert_eq!(frame.fields.len(), 2, "{sql}");
        let values = numbers(&frame.fields[1]);
        values.into_iter().enumerate().map(|(row, value)| (frame.fields[0].time_ms_at(row).unwrap(), value)).collect()
    }
}

fn make_table(postgres: &Postgres, table: &str) {
    let sql = format!(
        "CREATE TABLE {table} AS SELECT to_timestamp({DAY} / 1000 + i * 1800) AS at, \
         to_timestamp({DAY} / 1000 + i * 1800) AT TIME ZONE 'UTC' AS utc, \
         {DAY} / 1000 + i * 1800 AS epoch, ({DAY} / 1000 + i * 1800) * 1000000000 AS nanos, i AS n \
         FROM generate_series(0, 9) i WHERE i NOT IN (4, 5); GRANT SELECT ON {table} TO {READER}"
    );
    postgres.run_sql(DATABASE, &sql).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_macro_means_the_same_to_postgresql() {
    let postgres = Postgres::shared().unwrap();
    make_table(&postgres, "macro_points");
    let host = plugin::start(&[]).await.unwrap();
    let context = plugin::request_context(None, Some(&postgres));
    let range = TimeRange { from_ms: DAY, to_ms: DAY + HOUR };
    let ask = Ask { host: &host, context: &context, range, timezone: "" };
    for filter in [
        "$__timeFilter(at)",
        "$__timeFilter(utc)",
        "$__unixEpochFilter(epoch)",
        "$__unixEpochNanoFilter(nanos)",
        "at >= $__timeFrom() AND at <= $__timeTo()",
        "epoch BETWEEN $__unixEpochFrom() AND $__unixEpochTo()",
        "nanos BETWEEN $__unixEpochNanoFrom() AND $__unixEpochNanoTo()",
        "at BETWEEN $__timeFrom()::timestamptz AND $__timeFrom()::timestamptz + '$__interval'::interval",
        "epoch - $__unixEpochFrom() <= $__interval_ms / 1000",
        "date_trunc('hour', at, $__timezone()) <= $__timeTo() AND $__timeFilter((CASE WHEN n > 0 THEN at ELSE at END))",
    ] {
        let frame = ask.frame(&format!("SELECT n FROM macro_points WHERE {filter} ORDER BY n"), "table").await;
        assert_eq!(numbers(&frame.fields[0]), [Some(0.0), Some(1.0), Some(2.0)], "{filter}");
    }
    for time in [
        "$__time(at)",
        "$__time(utc)",
        "$__timeEpoch(at)",
        "$__timeGroupAlias(at, '30m')",
        "$__timeGroup(utc, '30m') AS time",
        "$__unixEpochGroupAlias(epoch, '30m')",
        "$__unixEpochGroup(epoch, '30m') AS time",
        "epoch * 1000 AS time",
        "nanos AS time",
    ] {
        let series = ask.series(&format!("SELECT {time}, n FROM macro_points WHERE $__timeFilter(at)")).await;
        let expected = [(DAY, Some(0.0)), (DAY + HOUR / 2, Some(1.0)), (DAY + HOUR, Some(2.0))];
        assert_eq!(series, expected, "{time}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_without_rows_are_filled_as_asked() {
    let postgres = Postgres::shared().unwrap();
    make_table(&postgres, "macro_gaps");
    let host = plugin::start(&[]).await.unwrap();
    let context = plugin::request_context(None, Some(&postgres));
    let range = TimeRange { from_ms: DAY + HOUR, to_ms: DAY + 4 * HOUR };
    let ask = Ask { host: &host, context: &context, range, timezone: "" };
    for (fill, missing) in [(", NULL", None), (", previous", Some(5.0)), (", 0", Some(0.0))] {
        for group in
            [format!("$__timeGroupAlias(at, $__interval{fill})"), format!("$__timeGroup(at, '1h'{fill}) AS time")]
        {
            let sql =
                format!("SELECT {group}, sum(n) AS n FROM macro_gaps WHERE $__timeFilter(at) GROUP BY 1 ORDER BY 1");
            let expected = [
                (DAY + HOUR, Some(5.0)),
                (DAY + 2 * HOUR, missing),
                (DAY + 3 * HOUR, Some(13.0)),
                (DAY + 4 * HOUR, Some(8.0)),
            ];
            assert_eq!(ask.series(&sql).await, expected, "{group}");
        }
    }
    let sql = "SELECT $__timeGroup(at, '1h') AS time, sum(n) AS n FROM macro_gaps WHERE $__timeFilter(at) GROUP BY 1";
    assert_eq!(ask.series(sql).await.len(), 3, "without a fill a gap is a gap");
}

#[tokio::test(flavor = "multi_thread")]
async fn days_begin_at_midnight_in_the_panels_zone() {
    let postgres = Postgres::shared().unwrap();
    let sql = format!(
        "CREATE TABLE macro_days AS SELECT to_timestamp({DAY} / 1000 + i * 3600) AS at, \
         to_timestamp({DAY} / 1000 + i * 3600) AT TIME ZONE 'UTC' AS utc FROM generate_series(-24, 47) i; \
         GRANT SELECT ON macro_days TO {READER}"
    );
    postgres.run_sql(DATABASE, &sql).unwrap();
    let host = plugin::start(&[]).await.unwrap();
    let context = plugin::request_context(None, Some(&postgres));
    let range = TimeRange { from_ms: DAY - 24 * HOUR, to_ms: DAY + 48 * HOUR - 1 };
    for column in ["at", "utc"] {
        let sql = format!(
            "SELECT $__timeGroupAlias({column}, '1d', 0), count(*) AS n FROM macro_days WHERE $__timeFilter({column}) GROUP BY 1"
        );
        let berlin = Ask { host: &host, context: &context, range, timezone: "Europe/Berlin" };
        // Midnight is at 22:00Z until the clocks are set back, which makes the 25th 25 hours long.
        let expected = [
            (DAY - 26 * HOUR, Some(22.0)),
            (DAY - 2 * HOUR, Some(25.0)),
            (DAY + 23 * HOUR, Some(24.0)),
            (DAY + 47 * HOUR, Some(1.0)),
        ];
        assert_eq!(berlin.series(&sql).await, expected, "{column}");
        for timezone in ["", "utc"] {
            let utc = Ask { timezone, ..berlin };
            let expected = [-24, 0, 24].map(|hour| (DAY + hour * HOUR, Some(24.0)));
            assert_eq!(utc.series(&sql).await, expected, "{column} {timezone}");
        }
    }
}
