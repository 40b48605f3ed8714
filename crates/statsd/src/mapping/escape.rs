//! The name that Prometheus is given for any text, as statsd_exporter makes it.

use std::borrow::Cow;

/// Puts `_` in place of what no Prometheus name has in it, one for a run of dashes, and before a leading digit.
#[must_use]
pub fn escape_metric_name(name: &str) -> Cow<'_, str> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins_with_digit = name.starts_with(|c: char| c.is_ascii_digit());
    if !begins_with_digit && name.chars().all(is_valid) {
        return Cow::Borrowed(name);
    }
    let mut escaped = String::with_capacity(name.len() + 1);
    if begins_with_digit {
        escaped.push('_');
    }
    let mut previous = None;
    for c in name.chars() {
        if is_valid(c) {
            escaped.push(c);
        } else if c != '-' || previous != Some('-') {
            escaped.push('_');
        }
        previous = Some(c);
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_statsd_exporter_escapes_them() {
        for (name, escaped) in [
            ("", ""),
            ("bot_messages", "bot_messages"),
            ("bot.guild.total-members", "bot_guild_total_members"),
            ("1a", "_1a"),
            ("a--b---c", "a_b_c"),
            ("a-.-b", "a___b"),
            ("é€x", "__x"),
            (":", "_"),
        ] {
            assert_eq!(escape_metric_name(name), escaped, "{name:?}");
        }
    }
}
