//! Grafana's PostgreSQL macros. The expansions are those of Grafana's own datasource, so that its queries can be brought
//! along; parentheses, quotes and comments are understood, which they are not there.
//!
//! Two things differ on purpose. A group of whole days begins at midnight in the panel's time zone. And `$__timezone()` is
//! new: the panel's zone as a string constant, for `date_trunc('week', at, $__timezone())`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use grafana_plugin::{QueryError, TimeRange};

use super::fill::{Fill, FillValue};
use super::lexer::{self, Piece};

const DAY: f64 = 86_400.0;
/// The longest statement that is read, in bytes.
const MAX_STATEMENT: usize = 256 << 10;
/// The longest that macros may make of it. Some write their argument twice, so that a nest of them doubles each time.
const MAX_EXPANDED: usize = 1 << 20;
/// How deep macros may stand within each other.
const MAX_DEPTH: usize = 8;

/// What macros expand by.
pub struct MacroContext {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    interval: Duration,
    zone: Tz,
}

/// A statement without macros.
#[derive(Debug)]
pub struct Expanded {
    /// The statement.
    pub text: String,
    /// What a `$__timeGroup` asked to be filled in.
    pub fill: Option<Fill>,
}

/// A macro: its name, what it takes, and what becomes of it.
struct Macro {
    name: &'static str,
    takes: &'static str,
    arguments: std::ops::RangeInclusive<usize>,
    expand: Expand,
}

/// What becomes of a macro with its arguments, or why nothing does.
type Expand = fn(&MacroContext, &[&str], &mut Option<Fill>) -> Result<String, String>;

const MACROS: [Macro; 16] = [
    Macro { name: "time", takes: "a column", arguments: 1..=1, expand: |_, a, _| Ok(format!("{} AS \"time\"", a[0])) },
    Macro {
        name: "timeEpoch",
        takes: "a column",
        arguments: 1..=1,
        expand: |_, a, _| Ok(format!("extract(epoch from {}) as \"time\"", a[0])),
    },
    Macro {
        name: "timeFilter",
        takes: "a column",
        arguments: 1..=1,
        expand: |context, a, _| {
            Ok(format!("{} BETWEEN {} AND {}", a[0], instant(context.from), instant(context.until)))
        },
    },
    Macro { name: "timeFrom", takes: "nothing", arguments: 0..=0, expand: |context, _, _| Ok(instant(context.from)) },
    Macro { name: "timeTo", takes: "nothing", arguments: 0..=0, expand: |context, _, _| Ok(instant(context.until)) },
    Macro {
        name: "timeGroup",
        takes: "a column, an interval and, if wanted, what fills gaps",
        arguments: 2..=3,
        expand: |context, a, fill| context.group(a, fill, &format!("extract(epoch from {})", a[0])),
    },
    Macro {
        name: "timeGroupAlias",
        takes: "a column, an interval and, if wanted, what fills gaps",
        arguments: 2..=3,
        expand: |context, a, fill| {
            Ok(format!("{} AS \"time\"", context.group(a, fill, &format!("extract(epoch from {})", a[0]))?))
        },
    },
    Macro {
        name: "unixEpochFilter",
        takes: "a column",
        arguments: 1..=1,
        expand: |context, a, _| {
            Ok(format!("{0} >= {1} AND {0} <= {2}", a[0], context.from.timestamp(), context.until.timestamp()))
        },
    },
    Macro {
        name: "unixEpochFrom",
        takes: "nothing",
        arguments: 0..=0,
        expand: |context, _, _| Ok(context.from.timestamp().to_string()),
    },
    Macro {
        name: "unixEpochTo",
        takes: "nothing",
        arguments: 0..=0,
        expand: |context, _, _| Ok(context.until.timestamp().to_string()),
    },
    Macro {
        name: "unixEpochNanoFilter",
        takes: "a column",
        arguments: 1..=1,
        expand: |context, a, _| {
            Ok(format!("{0} >= {1} AND {0} <= {2}", a[0], nanos(context.from), nanos(context.until)))
        },
    },
    Macro {
        name: "unixEpochNanoFrom",
        takes: "nothing",
        arguments: 0..=0,
        expand: |context, _, _| Ok(nanos(context.from).to_string()),
    },
    Macro {
        name: "unixEpochNanoTo",
        takes: "nothing",
        arguments: 0..=0,
        expand: |context, _, _| Ok(nanos(context.until).to_string()),
    },
    Macro {
        name: "unixEpochGroup",
        takes: "a column, an interval and, if wanted, what fills gaps",
        arguments: 2..=3,
        expand: |context, a, fill| context.group(a, fill, &format!("({})", a[0])),
    },
    Macro {
        name: "unixEpochGroupAlias",
        takes: "a column, an interval and, if wanted, what fills gaps",
        arguments: 2..=3,
        expand: |context, a, fill| Ok(format!("{} AS \"time\"", context.group(a, fill, &format!("({})", a[0]))?)),
    },
    Macro {
        name: "timezone",
        takes: "nothing",
        arguments: 0..=0,
        expand: |context, _, _| Ok(format!("'{}'", context.zone.name())),
    },
];

impl MacroContext {
    /// What a query's macros expand by. An empty zone, `browser` or `utc` is UTC.
    ///
    /// # Errors
    /// When the range cannot be written as dates, or there is no such zone.
    pub fn new(range: TimeRange, interval: Duration, zone: &str) -> Result<Self, QueryError> {
        let date = |name: &str, millis: i64| {
            DateTime::from_timestamp_millis(millis).filter(|date| date.timestamp_nanos_opt().is_some()).ok_or_else(|| {
                QueryError::bad_request(format!(
                    "the time range's {name}, {millis} ms since the epoch, is out of range; choose one between 1678 and 2262"
                ))
            })
        };
        let zone = match zone {
            "" | "browser" | "utc" => Tz::UTC,
            name => name.parse().map_err(|_| {
                QueryError::bad_request(format!(
                    "unknown time zone {name:?}; expected an IANA name such as Europe/Berlin"
                ))
            })?,
        };
        Ok(Self { from: date("from", range.from_ms)?, until: date("to", range.to_ms)?, interval, zone })
    }

    /// The start of the group that an epoch falls into, in seconds.
    fn group(&self, arguments: &[&str], fill: &mut Option<Fill>, epoch: &str) -> Result<String, String> {
        let seconds = parse_interval(&self.replace_variables(arguments[1]))?;
        let in_days = seconds >= DAY && seconds % DAY == 0.0 && self.zone != Tz::UTC;
        if let Some(value) = arguments.get(2) {
            *fill = Some(Fill {
                value: parse_fill(value)?,
                step: Duration::from_secs_f64(seconds),
                zone: in_days.then_some(self.zone),
                from: self.from,
                until: self.until,
            });
        }
        let length = if seconds.fract() == 0.0 { format!("{seconds:.0}") } else { seconds.to_string() };
        if !in_days {
            return Ok(format!("floor({epoch}/{length})*{length}"));
        }
        let days = seconds / DAY;
        let zone = self.zone.name();
        Ok(format!(
            "extract(epoch from (date '1970-01-01' + (floor(((to_timestamp({epoch}) AT TIME ZONE '{zone}')::date - \
             date '1970-01-01')/{days:.1})*{days:.0})::int)::timestamp AT TIME ZONE '{zone}')"
        ))
    }

    /// `$__interval` and `$__interval_ms`, which are replaced within quotes, too.
    fn replace_variables(&self, text: &str) -> String {
        if !text.contains("$__interval") {
            return text.to_owned();
        }
        text.replace("$__interval_ms", &self.interval.as_millis().to_string())
            .replace("$__interval", &format_interval(self.interval))
    }
}

/// Expands every macro of a statement.
///
/// # Errors
/// When a macro is unknown, or takes something else, or the statement is longer or nested deeper than anyone writes.
pub fn expand(sql: &str, context: &MacroContext) -> Result<Expanded, QueryError> {
    if sql.len() > MAX_STATEMENT {
        return Err(QueryError::bad_request(format!(
            "the statement is {} bytes long; the limit is {} KiB",
            sql.len(),
            MAX_STATEMENT >> 10
        )));
    }
    let mut fill = None;
    let text = expand_at(0, sql, context, &mut fill)?;
    Ok(Expanded { text, fill })
}

/// Expands what stands within `depth` macros.
fn expand_at(depth: usize, sql: &str, context: &MacroContext, fill: &mut Option<Fill>) -> Result<String, QueryError> {
    let mut text = String::with_capacity(sql.len());
    let pieces = lexer::pieces(sql).map_err(|unclosed| {
        QueryError::bad_request(format!("{} at {} is never closed", unclosed.what, place(sql, unclosed.offset)))
    })?;
    for piece in pieces {
        match piece {
            Piece::Text(plain) => text.push_str(plain),
            Piece::Quoted(quoted) => text.push_str(&context.replace_variables(quoted)),
            Piece::Macro { name: "interval", arguments: None } => text.push_str(&format_interval(context.interval)),
            Piece::Macro { name: "interval_ms", arguments: None } => {
                text.push_str(&context.interval.as_millis().to_string());
            }
            Piece::Macro { name, arguments } => text.push_str(&call(depth, name, arguments, context, fill)?),
        }
        if text.len() > MAX_EXPANDED {
            return Err(QueryError::bad_request(format!(
                "the statement is too long once its macros are expanded; the limit is {} KiB",
                MAX_EXPANDED >> 10
            )));
        }
    }
    Ok(text)
}

fn call(
    depth: usize,
    name: &str,
    arguments: Option<&str>,
    context: &MacroContext,
    fill: &mut Option<Fill>,
) -> Result<String, QueryError> {
    let Some(known) = MACROS.iter().find(|known| known.name == name) else {
        let nearest =
            MACROS.iter().min_by_key(|known| strsim::levenshtein(known.name, name)).map_or("", |known| known.name);
        return Err(QueryError::bad_request(format!("unknown macro $__{name}; did you mean $__{nearest}?")));
    };
    if depth == MAX_DEPTH {
        return Err(QueryError::bad_request(format!(
            "$__{name} stands within {depth} other macros; the limit is {MAX_DEPTH} within each other"
        )));
    }
    // A macro within the argument of another is expanded first.
    let inner = expand_at(depth + 1, arguments.unwrap_or(""), context, fill)?;
    let arguments = lexer::arguments(&inner);
    if !known.arguments.contains(&arguments.len()) || arguments.iter().any(|argument| argument.is_empty()) {
        return Err(QueryError::bad_request(format!(
            "$__{name} takes {}, got {} arguments",
            known.takes,
            arguments.len()
        )));
    }
    (known.expand)(context, &arguments, fill).map_err(|reason| QueryError::bad_request(format!("$__{name}: {reason}")))
}

/// RFC 3339 with as many decimals as are needed, quoted.
fn instant(date: DateTime<Utc>) -> String {
    let seconds = date.format("%Y-%m-%dT%H:%M:%S");
    let millis = date.timestamp_subsec_millis();
    if millis == 0 {
        return format!("'{seconds}Z'");
    }
    let decimals = format!("{millis:03}");
    format!("'{seconds}.{}Z'", decimals.trim_end_matches('0'))
}

fn nanos(date: DateTime<Utc>) -> i64 {
    // The context was made of dates that have nanoseconds.
    date.timestamp_nanos_opt().unwrap_or_default()
}

/// `'5m'` in seconds. Units as Grafana has them: ms, s, m, h, d, w, M (30 days) and y (365 days).
fn parse_interval(text: &str) -> Result<f64, String> {
    let bare = text.trim().trim_matches(['\'', '"']).trim();
    let wrong = || format!("the interval is {text}; expected a number and a unit, such as '30s', '5m', '1h' or '1d'");
    let digits = bare.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(bare.len());
    let number: f64 = bare[..digits].parse().map_err(|_| wrong())?;
    let unit = match &bare[digits..] {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => DAY,
        "w" => 7.0 * DAY,
        "M" => 30.0 * DAY,
        "y" => 365.0 * DAY,
        _ => return Err(wrong()),
    };
    let seconds = number * unit;
    if (0.001..=1e10).contains(&seconds) { Ok(seconds) } else { Err(wrong()) }
}

/// A duration with its largest whole unit.
fn format_interval(interval: Duration) -> String {
    const UNITS: [(u128, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
    let millis = interval.as_millis().max(1);
    UNITS
        .iter()
        .find(|(length, _)| millis.is_multiple_of(*length))
        .map_or_else(|| format!("{millis}ms"), |(length, unit)| format!("{}{unit}", millis / length))
}

fn parse_fill(text: &str) -> Result<FillValue, String> {
    if text.eq_ignore_ascii_case("null") {
        return Ok(FillValue::Null);
    }
    if text.eq_ignore_ascii_case("previous") {
        return Ok(FillValue::Previous);
    }
    text.parse().map(FillValue::Number).map_err(|_| format!("the fill is {text}; expected NULL, previous or a number"))
}

/// A place in a statement, as people count.
fn place(sql: &str, offset: usize) -> String {
    let before = &sql[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    format!("line {line}, column {column}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(zone: &str) -> MacroContext {
        let range = TimeRange { from_ms: 1_500_000_000_000, to_ms: 1_500_003_600_250 };
        MacroContext::new(range, Duration::from_secs(30), zone).unwrap()
    }

    fn expanded(sql: &str) -> String {
        expand(sql, &context("")).unwrap().text
    }

    #[test]
    fn macros_expand_as_in_grafanas_own_datasource() {
        for (sql, text) in [
            ("select $__time(at)", "select at AS \"time\""),
            ("$__timeEpoch(at)", "extract(epoch from at) as \"time\""),
            ("$__timeFilter(at)", "at BETWEEN '2017-07-14T02:40:00Z' AND '2017-07-14T03:40:00.25Z'"),
            ("$__timeFrom()", "'2017-07-14T02:40:00Z'"),
            ("$__timeTo()", "'2017-07-14T03:40:00.25Z'"),
            ("$__timeGroup(at,'5m')", "floor(extract(epoch from at)/300)*300"),
            ("$__timeGroup(at, $__interval)", "floor(extract(epoch from at)/30)*30"),
            ("$__timeGroup(at, '$__interval')", "floor(extract(epoch from at)/30)*30"),
            ("$__timeGroupAlias(at, '1h', 0)", "floor(extract(epoch from at)/3600)*3600 AS \"time\""),
            ("$__timeGroup(at,'1d')", "floor(extract(epoch from at)/86400)*86400"),
            ("$__unixEpochFilter(at)", "at >= 1500000000 AND at <= 1500003600"),
            ("$__unixEpochFrom() $__unixEpochTo()", "1500000000 1500003600"),
            ("$__unixEpochNanoFrom()", "1500000000000000000"),
            ("$__unixEpochGroup(at,'500ms')", "floor((at)/0.5)*0.5"),
            ("'$__interval' || $__interval_ms", "'30s' || 30000"),
            (
                "$__timeFilter(to_timestamp(f(a, b)))",
                "to_timestamp(f(a, b)) BETWEEN '2017-07-14T02:40:00Z' AND '2017-07-14T03:40:00.25Z'",
            ),
            ("-- $__nothing(here)\n'$__timeFrom()'", "-- $__nothing(here)\n'$__timeFrom()'"),
            ("$__timezone()", "'UTC'"),
        ] {
            assert_eq!(expanded(sql), text, "{sql}");
        }
    }

    #[test]
    fn a_group_of_days_begins_at_midnight_in_the_panels_zone() {
        let text = expand("$__timeGroup(at,'1d')", &context("Europe/Berlin")).unwrap().text;
        assert!(text.contains("to_timestamp(extract(epoch from at)) AT TIME ZONE 'Europe/Berlin'"), "{text}");
        let text = expand("$__timeGroup(at,'12h')", &context("Europe/Berlin")).unwrap().text;
        assert_eq!(text, "floor(extract(epoch from at)/43200)*43200");
    }

    #[test]
    fn a_fill_is_remembered() {
        let fill = |sql: &str| expand(sql, &context("")).unwrap().fill.map(|fill| fill.value);
        assert_eq!(fill("$__timeGroup(at,'5m')"), None);
        assert_eq!(fill("$__timeGroup(at,'5m',NULL)"), Some(FillValue::Null));
        assert_eq!(fill("$__timeGroup(at,'5m', previous)"), Some(FillValue::Previous));
        assert_eq!(fill("$__timeGroupAlias(at,'5m', 1.5)"), Some(FillValue::Number(1.5)));
        assert_eq!(fill("$__time($__timeGroup(at,'5m', 0))"), Some(FillValue::Number(0.0)));
    }

    #[test]
    fn what_is_wrong_with_a_macro_is_said() {
        for (sql, said) in [
            ("$__timeFiltre(a)", "unknown macro $__timeFiltre; did you mean $__timeFilter?"),
            ("$__timeFilter()", "$__timeFilter takes a column, got 0 arguments"),
            ("$__timeFilter", "$__timeFilter takes a column, got 0 arguments"),
            ("$__timeGroup(a)", "takes a column, an interval and, if wanted, what fills gaps, got 1 arguments"),
            ("$__timeGroup(a,'5 minutes')", "expected a number and a unit, such as '30s'"),
            ("$__timeGroup(a,'0s')", "expected a number and a unit"),
            ("$__timeGroup(a,'5m',zero)", "the fill is zero; expected NULL, previous or a number"),
            ("select\n $__timeFilter(a", "at line 2, column 15 is never closed"),
        ] {
            let error = expand(sql, &context("")).unwrap_err().message;
            assert!(error.contains(said), "{sql}: {error}");
        }
        let far = TimeRange { from_ms: 0, to_ms: i64::MAX };
        assert!(MacroContext::new(far, Duration::ZERO, "").is_err());
        assert!(MacroContext::new(TimeRange { from_ms: 0, to_ms: 1 }, Duration::ZERO, "Moon/Base").is_err());
    }

    /// Macros within each other, `depth` of them.
    fn nested(name: &str, depth: usize, innermost: &str) -> String {
        format!("{}{innermost}{}", format!("$__{name}(").repeat(depth), ")".repeat(depth))
    }

    #[test]
    fn no_statement_costs_more_than_its_limits() {
        let long_column = "c".repeat(8 << 10);
        for (sql, said) in [
            (nested("time", MAX_DEPTH, "at"), None),
            (nested("time", MAX_DEPTH + 1, "at"), Some("$__time stands within 8 other macros; the limit is 8")),
            // Deep enough to overflow the stack, were it followed.
            (nested("time", 20_000, "at"), Some("the limit is 8 within each other")),
            (nested("unixEpochFilter", MAX_DEPTH, "at"), None),
            (nested("unixEpochFilter", MAX_DEPTH, &long_column), Some("expanded; the limit is 1024 KiB")),
            (nested("unixEpochNanoFilter", MAX_DEPTH, &long_column), Some("expanded; the limit is 1024 KiB")),
            ("'$__interval'".repeat(20_000), None),
            (" ".repeat(MAX_STATEMENT), None),
            (" ".repeat(MAX_STATEMENT + 1), Some("the statement is 262145 bytes long; the limit is 256 KiB")),
        ] {
            match (expand(&sql, &context("")), said) {
                (Ok(expanded), None) => assert!(expanded.text.len() <= MAX_EXPANDED),
                (Err(error), Some(said)) => {
                    assert!(error.message.contains(said) && !error.message.contains('\n'), "{}", error.message);
                }
                (outcome, said) => {
                    let begin: String = sql.chars().take(40).collect();
                    panic!("{begin}…: {:?}, expected {said:?}", outcome.map(|expanded| expanded.text.len()));
                }
            }
        }
    }

    #[test]
    fn an_interval_is_written_with_its_largest_whole_unit() {
        for (millis, text) in [(1, "1ms"), (1500, "1500ms"), (90_000, "90s"), (3_600_000, "1h"), (172_800_000, "2d")] {
            assert_eq!(format_interval(Duration::from_millis(millis)), text);
        }
    }
}
