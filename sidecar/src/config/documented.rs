//! The page about the configuration against the configuration: a row for each key, with the default that it has.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Config;

const PAGE: &str = include_str!("../../../docs/configuration.md");

/// Every key, dotted, with its default as the page writes it: without quotes, and lists as their items.
fn keys(parent: &str, table: &Table, found: &mut BTreeMap<String, Vec<String>>) {
    for (key, value) in table {
        let dotted = if parent.is_empty() { key.clone() } else { format!("{parent}.{key}") };
        match value {
            Value::Table(inner) => keys(&dotted, inner, found),
            Value::Array(items) => _ = found.insert(dotted, items.iter().filter_map(written).collect()),
            value => _ = found.insert(dotted, written(value).into_iter().collect()),
        }
    }
}

/// A value as the page writes it; an empty text is not set, and not written.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Float(number) => Some(number.to_string()),
        value => Some(value.to_string()),
    }
}

/// The rows of the page's tables whose first cell is a dotted key, with the defaults in their second cell.
fn rows() -> BTreeMap<String, Vec<String>> {
    let mut rows = BTreeMap::new();
    for line in PAGE.lines() {
        let mut cells = line.strip_prefix("| ").unwrap_or_default().split('|').map(str::trim);
        let Some(key) = cells.next().and_then(|cell| cell.strip_prefix('`')?.strip_suffix('`')) else { continue };
        let defaults = cells.next().unwrap_or_default().split(", ").filter(|default| !default.is_empty());
        let defaults = defaults.map(|default| default.trim_matches('`').to_owned()).collect();
        assert!(rows.insert(key.to_owned(), defaults).is_none(), "{key} stands twice in docs/configuration.md");
    }
    rows
}

#[test]
fn every_key_is_on_the_page_with_its_default_and_no_other_is() {
    let mut expected = BTreeMap::new();
    keys("", &Table::try_from(Config::default()).unwrap(), &mut expected);
    let rows = rows();
    for (key, defaults) in &expected {
        assert_eq!(rows.get(key), Some(defaults), "the row of {key} in docs/configuration.md and its default");
    }
    for key in rows.keys() {
        assert!(expected.contains_key(key), "docs/configuration.md has a row for {key}, which is no key");
    }
}
