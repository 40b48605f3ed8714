//! The time grammar against what graphite-web answered, in `attime.tsv`: four instants, one of them in the night when
//! Europe's clocks go forward and one when they go back, and seven zones.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use chrono_tz::Tz;
use statline_graphite::{Compat, time};
use statline_series::Timestamp;

#[test]
fn times_are_read_as_graphite_web_reads_them() {
    let mut rows = 0;
    for row in include_str!("attime.tsv").lines().filter(|line| !line.starts_with('#')) {
        let [now, zone, text, epoch] = row.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let (now, zone): (i64, Tz) = (now.parse().unwrap(), zone.parse().unwrap());
        let (now, text) = (Timestamp::from_seconds(now), text.replace('·', " "));
        let expected: Option<i64> = epoch.parse().ok();
        let read = |compat| time::parse_at_as(compat, &text, now, zone).ok().map(Timestamp::seconds);
        assert_eq!(read(Compat::GraphiteWeb), expected, "{row}");
        // Noon and midnight by the twelve are the one thing that we read otherwise.
        let is_disputed =
            ["12am", "12pm", "13pm", "12:30am", "12:30pm", "12:00pm"].iter().any(|twelve| text.contains(twelve));
        if !is_disputed {
            assert_eq!(read(Compat::Statline), expected, "{row}");
        }
        rows += 1;
    }
    assert!(rows > 450, "{rows} rows");
}
