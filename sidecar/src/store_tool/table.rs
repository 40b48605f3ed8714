//! `statlined store stats`: what a store holds, as a table.

use std::io::{self, Write};
use std::time::Duration;

use chrono::{DateTime, Utc};
use statline_series::{Step, TimeRange, Timestamp};
use statline_store::{BlockFigures, Survey};

/// Prints a survey.
pub fn print(out: &mut impl Write, survey: &Survey) -> io::Result<()> {
    let Survey { series, sketch_series, gone_series, logs, blocks, .. } = survey;
    let sum = |figure: fn(&BlockFigures) -> u64| blocks.iter().map(figure).sum::<u64>();
    let point_bytes = sum(|block| block.bytes - block.sketch_bytes.min(block.bytes));
    writeln!(out, "series       {series} of points, {sketch_series} of sketches, {gone_series} gone")?;
    writeln!(
        out,
        "blocks       {}, {} on disk: {} points at {} bytes, {} sketches at {} bytes",
        blocks.len(),
        bytes(survey.block_disk_bytes),
        sum(|block| block.points),
        each(point_bytes, sum(|block| block.points)),
        sum(|block| block.sketches),
        each(sum(|block| block.sketch_bytes), sum(|block| block.sketches)),
    )?;
    let window = logs.range.map_or_else(String::new, |range| format!(", {}", span(range)));
    writeln!(
        out,
        "logs         {}, {}: {} points, {} sketches{window}",
        logs.files,
        bytes(logs.bytes),
        logs.points,
        logs.sketches
    )?;
    writeln!(out, "events       {}, {}", survey.events, bytes(survey.event_bytes))?;
    writeln!(
        out,
        "other files  catalogue {}, SEEN {}, MANIFEST {}",
        bytes(survey.catalogue_bytes),
        bytes(survey.seen_bytes),
        bytes(survey.manifest_bytes)
    )?;
    if blocks.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    writeln!(
        out,
        "{:>8}  {:>4}  {:<41}  {:>9}  {:>12}  {:>10}  {:>7}  {:>10}  {:>7}",
        "block", "step", "span", "series", "points", "chunks", "b/point", "sketches", "b/each"
    )?;
    for block in blocks {
        writeln!(
            out,
            "{:>8}  {:>4}  {:<41}  {:>9}  {:>12}  {:>10}  {:>7}  {:>10}  {:>7}",
            block.number,
            block
                .step
                .map_or_else(|| "raw".to_owned(), |step| humantime::format_duration(step_length(step)).to_string()),
            span(block.range),
            block.series,
            block.points,
            bytes(block.bytes),
            each(block.bytes - block.sketch_bytes.min(block.bytes), block.points),
            block.sketches,
            each(block.sketch_bytes, block.sketches),
        )?;
    }
    Ok(())
}

fn step_length(step: Step) -> Duration {
    Duration::from_millis(step.millis().unsigned_abs())
}

fn span(range: TimeRange) -> String {
    format!("{} to {}", instant(range.from), instant(range.until))
}

/// To the second, in UTC.
fn instant(timestamp: Timestamp) -> String {
    DateTime::<Utc>::from_timestamp_millis(timestamp.millis())
        .map_or_else(|| timestamp.to_string(), |time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// How many bytes one of them takes.
#[expect(clippy::cast_precision_loss, reason = "two places are shown")]
fn each(bytes: u64, count: u64) -> String {
    if count == 0 { "-".to_owned() } else { format!("{:.2}", bytes as f64 / count as f64) }
}

/// A number of bytes, to three digits.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut size = count as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let places = if size < 9.995 { 2 } else { usize::from(size < 99.95) };
    format!("{size:.places$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (count, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (10 << 10, "10.0 KiB"),
            (100 << 10, "100 KiB"),
            (1000 << 10, "0.98 MiB"),
            (5 << 30, "5.00 GiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(bytes(count), expected);
        }
    }

    #[test]
    fn a_block_is_a_line() {
        let range = TimeRange::new(Timestamp::from_seconds(1_763_784_000), Timestamp::from_seconds(1_763_791_200));
        let block = BlockFigures {
            number: 3,
            step: None,
            range,
            series: 2,
            points: 1000,
            bytes: 1700,
            sketches: 10,
            sketch_bytes: 500,
        };
        let survey = Survey { series: 1, sketch_series: 1, blocks: vec![block], ..Survey::default() };
        let mut out = Vec::new();
        print(&mut out, &survey).unwrap();
        let text = String::from_utf8(out).unwrap();
        let fields: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        let span = ["2025-11-22T04:00:00Z", "to", "2025-11-22T06:00:00Z"];
        let expected = [&["3", "raw"][..], &span, &["2", "1000", "1.66", "KiB", "1.20", "10", "50.00"]].concat();
        assert_eq!(fields, expected);
        assert!(text.contains("1000 points at 1.20 bytes, 10 sketches at 50.00 bytes"), "{text}");
    }
}
