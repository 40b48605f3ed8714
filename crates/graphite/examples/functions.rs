//! Prints the functions by group, as docs/graphite.md lists them.

use std::collections::BTreeMap;
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let functions = serde_json::to_value(statline_graphite::functions())?;
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, function) in functions.as_object().into_iter().flatten() {
        let group = function.get("group").and_then(serde_json::Value::as_str).unwrap_or("?");
        groups.entry(group.to_owned()).or_default().push(format!("`{name}`"));
    }
    let mut stdout = std::io::stdout();
    for (group, names) in groups {
        writeln!(stdout, "| {group} | {} |", names.join(", "))?;
    }
    Ok(())
}
