//! `statlined query`: a target's series in the terminal, as a table with a sparkline each.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

use clap::Args;
use statline_flight::ticket::GraphiteQuery;
use statline_flight::{Client, ClientSettings, Query, SeriesRow};
use statline_series::terminal::{short_number, sparkline};

use crate::clock;
use crate::engine::parse_zone;

/// The widest sparkline.
const SPARK_WIDTH: usize = 40;
/// The widest name; longer ones are cut in the middle.
const NAME_WIDTH: usize = 60;

/// What `statlined query` takes.
#[derive(Args)]
pub struct QueryArgs {
    /// A Graphite target, for example `sumSeries(stats.gauges.*)`
    target: String,
    /// The start, as Graphite writes it: -1h, midnight, an epoch…
    #[arg(long, default_value = "-1h", allow_hyphen_values = true)]
    from: String,
    /// The end
    #[arg(long, default_value = "now", allow_hyphen_values = true)]
    until: String,
    /// The time zone of --from, --until and of functions that align to days
    #[arg(long, default_value = "UTC")]
    timezone: String,
    /// The Flight address of the daemon
    #[arg(long, env = "STATLINE_ADDRESS", default_value = "http://127.0.0.1:8815")]
    address: String,
    /// The bearer token, when the daemon wants one
    #[arg(long, env = "STATLINE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A file with the authority that signed the daemon's certificate, in PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<std::path::PathBuf>,
}

/// Asks and prints.
///
/// # Errors
/// When the question is wrong or the daemon does not answer it.
pub fn run(args: &QueryArgs) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let series = runtime.block_on(ask(args))?;
    let mut stdout = io::stdout().lock();
    match print(&mut stdout, &series) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed?),
    }
}

async fn ask(args: &QueryArgs) -> Result<Vec<SeriesRow>, Box<dyn std::error::Error>> {
    let zone = parse_zone(&args.timezone)?;
    let now = clock::now();
    let from = statline_graphite::time::parse_at(&args.from, now, zone)
        .map_err(|error| format!("--from is {:?}: {error}", args.from))?;
    let until = statline_graphite::time::parse_at(&args.until, now, zone)
        .map_err(|error| format!("--until is {:?}: {error}", args.until))?;
    let ca_certificate = match &args.ca {
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| format!("--ca {}: {error}", path.display()))?),
        None => None,
    };
    let client = Client::new(&ClientSettings {
        address: args.address.clone(),
        token: args.token.clone(),
        ca_certificate,
        ..ClientSettings::default()
    })?;
    let query = GraphiteQuery {
        target: args.target.clone(),
        from,
        until,
        max_data_points: None,
        timezone: Some(args.timezone.clone()),
        template: BTreeMap::new(),
    };
    Ok(client.query(Query::Graphite(query)).await?)
}

fn print(out: &mut impl Write, series: &[SeriesRow]) -> io::Result<()> {
    if series.is_empty() {
        return writeln!(out, "no series");
    }
    let name_width = series.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).clamp(4, NAME_WIDTH);
    let (bold, plain) = if io::stdout().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    writeln!(
        out,
        "{bold}{:name_width$}  {:>10}  {:>10}  {:>10}  {:>10}  graph{plain}",
        "name", "last", "min", "mean", "max"
    )?;
    for row in series {
        let summary = Summary::of(row.values.values());
        writeln!(
            out,
            "{:name_width$}  {:>10}  {:>10}  {:>10}  {:>10}  {}",
            shorten(&row.name, name_width),
            short_number(summary.last),
            short_number(summary.least),
            short_number(summary.mean),
            short_number(summary.most),
            sparkline(row.values.values(), SPARK_WIDTH),
        )?;
    }
    Ok(())
}

/// The figures of a series; NaN when it has no value.
struct Summary {
    last: f64,
    least: f64,
    mean: f64,
    most: f64,
}

impl Summary {
    fn of(values: &[f64]) -> Self {
        let present = || values.iter().copied().filter(|value| !value.is_nan());
        let count = present().count();
        Self {
            last: present().next_back().unwrap_or(f64::NAN),
            least: present().fold(f64::NAN, f64::min),
            mean: present().sum::<f64>() / count as f64,
            most: present().fold(f64::NAN, f64::max),
        }
    }
}

fn shorten(name: &str, width: usize) -> String {
    let length = name.chars().count();
    if length <= width {
        return name.to_owned();
    }
    let head = width / 2;
    let tail = width - head - 1;
    name.chars().take(head).chain(['…']).chain(name.chars().skip(length - tail)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_both_ends() {
        assert_eq!(shorten("abcdefghij", 5), "ab…ij");
        assert_eq!(shorten("abc", 5), "abc");
    }
}
