//! From a file and the environment to a [`Config`], with errors that say where and what would be right.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::Config;

/// What every variable that overrides a key begins with.
const PREFIX: &str = "STATLINE_";

/// Why there is no configuration, in one line.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{origin}: {reason}")]
    Syntax {
        /// The file and the line.
        origin: String,
        /// What the parser says.
        reason: String,
    },
    /// A key that is not known.
    #[error("{origin}: unknown key {key:?}; {hint}")]
    UnknownKey {
        /// The file and the line, or the variable.
        origin: String,
        /// The key, dotted.
        key: String,
        /// The nearest known key, or all of them.
        hint: String,
    },
    /// A value of another type or form than its key takes.
    #[error("{origin}: {key}: {reason}")]
    BadValue {
        /// The file and the line, or the variable.
        origin: String,
        /// The key, dotted.
        key: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// Values that are each fine and together are not.
    #[error("{0}")]
    Invalid(String),
}

/// Reads a file, when there is one, and lets the environment override it.
///
/// # Errors
/// See [`ConfigError`].
pub fn load(path: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    let text = match path {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), reason: error.to_string() })?,
        None => String::new(),
    };
    let file = path.map_or_else(String::new, |path| path.display().to_string());
    let config = parse(&file, &text, environment)?;
    config.validate().map_err(ConfigError::Invalid)?;
    Ok(config)
}

fn parse(file: &str, text: &str, environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
    let known = known_keys();
    // Where each key was set, so that an error in its value can say so.
    let mut origins = BTreeMap::new();
    let spanned = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        origin: at_line(file, text, error.span().map_or(0, |span| span.start)),
        reason: error.message().to_owned(),
    })?;
    check_keys(file, text, "", spanned.get_ref(), &known, &mut origins)?;

    let mut merged: Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
        origin: file.to_owned(),
        reason: error.message().to_owned(),
    })?;
    for (variable, value) in environment {
        override_by(&mut merged, &known, &mut origins, &variable, &value)?;
    }
    serde_path_to_error::deserialize(Value::Table(merged)).map_err(|error| {
        let key = error.path().to_string();
        let origin = nearest_origin(&origins, &key).unwrap_or(file).to_owned();
        // What the parser says of a token may hold the token.
        let reason = if key.ends_with(".token") {
            "expected a text in quotes".to_owned()
        } else {
            error.into_inner().message().to_owned()
        };
        ConfigError::BadValue { origin, key, reason }
    })
}

/// Every section with its keys and their defaults.
fn known_keys() -> Table {
    // The defaults hold nothing that TOML cannot say, which a test proves.
    Table::try_from(Config::default()).unwrap_or_default()
}

fn check_keys(
    file: &str,
    text: &str,
    parent: &str,
    table: &DeTable<'_>,
    known: &Table,
    origins: &mut BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    for (key, value) in table {
        let dotted = if parent.is_empty() { key.get_ref().to_string() } else { format!("{parent}.{}", key.get_ref()) };
        let origin = at_line(file, text, key.span().start);
        let Some(default) = known.get(key.get_ref().as_ref()) else {
            let hint = hint(key.get_ref(), known);
            return Err(ConfigError::UnknownKey { origin, key: dotted, hint });
        };
        if let (DeValue::Table(inner), Value::Table(known)) = (value.get_ref(), default) {
            check_keys(file, text, &dotted, inner, known, origins)?;
        }
        origins.insert(dotted, origin);
    }
    Ok(())
}

fn override_by(
    merged: &mut Table,
    known: &Table,
    origins: &mut BTreeMap<String, String>,
    variable: &str,
    value: &str,
) -> Result<(), ConfigError> {
    let Some(path) = variable.strip_prefix(PREFIX).filter(|rest| rest.contains("__")) else {
        return Ok(());
    };
    let path: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
    let dotted = path.join(".");
    let (mut table, mut keys) = (merged, known);
    for (depth, key) in path.iter().enumerate() {
        let Some(default) = keys.get(key) else {
            let hint = hint(key, keys);
            return Err(ConfigError::UnknownKey { origin: variable.to_owned(), key: dotted, hint });
        };
        match default {
            Value::Table(inner) if depth + 1 < path.len() => {
                keys = inner;
                // A value that is no table is an error of its own, told when the whole is read.
                let entry = table.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()));
                let Value::Table(inner) = entry else { return Ok(()) };
                table = inner;
            }
            default if depth + 1 == path.len() => {
                table.insert(key.clone(), overriding(default, value));
            }
            _ => {
                let hint = format!("{key:?} has no keys of its own");
                return Err(ConfigError::UnknownKey { origin: variable.to_owned(), key: dotted, hint });
            }
        }
    }
    origins.insert(dotted, variable.to_owned());
    Ok(())
}

/// What a variable says, in the form of the default that it overrides.
fn overriding(default: &Value, value: &str) -> Value {
    match default {
        Value::String(_) => Value::String(value.to_owned()),
        Value::Array(_) => match scalar(value) {
            array @ Value::Array(_) => array,
            _ if value.trim().is_empty() => Value::Array(Vec::new()),
            _ => Value::Array(value.split(',').map(|item| scalar(item.trim())).collect()),
        },
        _ => scalar(value),
    }
}

/// A value as TOML reads it, or else a text.
fn scalar(text: &str) -> Value {
    #[derive(Deserialize)]
    struct One {
        value: Value,
    }
    toml::from_str::<One>(&format!("value = {text}")).map_or_else(|_| Value::String(text.to_owned()), |one| one.value)
}

/// Where `key`, or what it is part of, was set.
fn nearest_origin<'a>(origins: &'a BTreeMap<String, String>, key: &str) -> Option<&'a str> {
    let mut part = key.split('[').next().unwrap_or(key);
    loop {
        if let Some(origin) = origins.get(part) {
            return Some(origin);
        }
        part = part.rsplit_once('.')?.0;
    }
}

/// What was meant, or all that there is.
fn hint(given: &str, known: &Table) -> String {
    let nearest = known.keys().map(|key| (strsim::damerau_levenshtein(given, key), key)).min();
    match nearest {
        Some((distance, key)) if distance <= 1 + given.len() / 3 => format!("did you mean {key:?}?"),
        _ => format!("expected one of {}", known.keys().map(String::as_str).collect::<Vec<_>>().join(", ")),
    }
}

fn at_line(file: &str, text: &str, offset: usize) -> String {
    let line = text.get(..offset).unwrap_or(text).matches('\n').count() + 1;
    format!("{file}:{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        parse("s.toml", text, environment).map_err(|error| error.to_string())
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let config = parse_with(
            "[statsd]\nflush_interval = \"5s\"\nlisten = [\"127.0.0.1:1\"]\n",
            &[
                ("STATLINE_STATSD__FLUSH_INTERVAL", "2s"),
                ("STATLINE_STATSD__LISTEN", "127.0.0.1:0,[::1]:0"),
                ("STATLINE_STATSD__LEGACY_NAMESPACE", "false"),
                ("STATLINE_STATSD__PERCENT_THRESHOLDS", "[90.0, 99.9]"),
                ("STATLINE_STATSD__TCP_LISTEN", "[::1]:0"),
                ("STATLINE_STATSD__UNIX_MODE", "0600"),
                ("STATLINE_STATSD__UNIX_STREAM", "/run/a,/run/b"),
                ("STATLINE_CONSOLE__LISTEN", ""),
                ("STATLINE_REPEATER__TARGETS", "a:1,[::1]:2"),
                ("STATLINE_REPEATER__PROTOCOL", "tcp"),
                ("STATLINE_STATSD__KEY_FLUSH__INTERVAL", "1m"),
                ("STATLINE_STATSD__DELETE_IDLE", "true"),
                ("STATLINE_STATSD__DELETE_GAUGES", "false"),
                ("STATLINE_HTTP__TOKEN", "12345"),
                ("STATLINE_ADDRESS", "is not a key of ours"),
            ],
        )
        .unwrap();
        assert_eq!(config.statsd.flush_interval, super::super::Span::from_secs(2));
        assert_eq!(config.statsd.listen.len(), 2);
        assert!(!config.statsd.legacy_namespace);
        assert_eq!(config.statsd.percent_thresholds, [90.0, 99.9]);
        assert_eq!(config.statsd.key_flush.interval, super::super::Span::from_secs(60));
        let flush = config.statsd.flush_config();
        assert_eq!((flush.delete_counters, flush.delete_gauges), (true, false), "one of them may be excepted");
        assert_eq!(config.statsd.tcp_listen, ["[::1]:0".parse().unwrap()]);
        assert_eq!(config.statsd.unix_mode, super::super::Mode(0o600));
        assert_eq!(config.statsd.unix_stream.len(), 2);
        assert!(config.console.listen.is_empty());
        assert_eq!(config.repeater.targets, ["a:1", "[::1]:2"]);
        assert_eq!(config.repeater.protocol, crate::repeater::Protocol::Tcp);
        assert_eq!(config.http.token.reveal(), "12345");
        assert!(!format!("{config:?}").contains("12345"));
        assert!(!toml::to_string(&config).unwrap().contains("12345"));
    }

    #[test]
    fn an_error_says_where_and_what_would_be_right() {
        for (text, environment, said) in [
            (
                "[statsd]\nflush_intervall = \"5s\"",
                None,
                "s.toml:2: unknown key \"statsd.flush_intervall\"; did you mean \"flush_interval\"?",
            ),
            ("[statds]\n", None, "s.toml:1: unknown key \"statds\"; did you mean \"statsd\"?"),
            (
                "[http]\nzzzzzzzz = 1",
                None,
                "s.toml:2: unknown key \"http.zzzzzzzz\"; expected one of allow_insecure, listen, tls_certificate, tls_client_ca, tls_key, token",
            ),
            (
                "\n[statsd]\nreceivers = \"two\"",
                None,
                "s.toml:3: statsd.receivers: invalid type: string \"two\", expected usize",
            ),
            (
                "[statsd]\nflush_interval = \"5\"",
                None,
                "s.toml:2: statsd.flush_interval: \"5\" is not a duration; write a number and a unit, such as 10s, 5m, 2h or 30d",
            ),
            (
                "",
                Some(("STATLINE_STATSD__FLUSH", "1s")),
                "STATLINE_STATSD__FLUSH: unknown key \"statsd.flush\"; expected one of ",
            ),
            (
                "",
                Some(("STATLINE_STATSD__RECEIVERS", "two")),
                "STATLINE_STATSD__RECEIVERS: statsd.receivers: invalid type: string \"two\", expected usize",
            ),
            (
                "[statsd]\nunix_mode = \"0999\"",
                None,
                "s.toml:2: statsd.unix_mode: \"0999\" is not a file's mode; write it in octal digits, such as \"0666\"",
            ),
            (
                "",
                Some(("STATLINE_STATSD__LISTEN__PORT", "1")),
                "STATLINE_STATSD__LISTEN__PORT: unknown key \"statsd.listen.port\"; \"listen\" has no keys of its own",
            ),
            ("[statsd\n", None, "s.toml:1: "),
            ("[http]\ntoken = 98765", None, "s.toml:2: http.token: expected a text in quotes"),
        ] {
            let environment: Vec<(&str, &str)> = environment.into_iter().collect();
            let error = parse_with(text, &environment).unwrap_err();
            assert!(error.starts_with(said), "{text:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
