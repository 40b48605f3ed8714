//! From the name that a client wrote to a series' key, as carbon's cache makes it.
//!
//! Tags come as `name;tag=value` or in the style of OpenMetrics, `name{tag="value",…}`; of a tag that is given twice the last
//! one holds. The name of a series without tags is a path: dots at its ends, and more than one between two parts, are what
//! they would be in a path of directories, nothing.

use std::borrow::Cow;

use statline_series::SeriesKey;
use statline_series::key::MAX_KEY_BYTES;

use super::refusal::{Refusal, shown};

/// The key of a name.
///
/// # Errors
/// When the name or a tag is none.
pub fn key(name: &str) -> Result<SeriesKey, Refusal> {
    if name.len() > MAX_KEY_BYTES {
        return Err(Refusal::NameTooLong(name.len()));
    }
    if name.contains(|character: char| character.is_ascii_control()) {
        return Err(Refusal::Control(shown(name)));
    }
    let labelled = name.strip_suffix('}').filter(|rest| rest.ends_with('"')).and_then(|rest| rest.split_once('{'));
    let (name, mut tags) = match labelled {
        Some((name, labels)) => (name, labels_of(labels)?),
        None => match name.split_once(';') {
            Some((name, tags)) => (name, tags_of(tags)?),
            None => (name, Vec::new()),
        },
    };
    // As the value of the tag that the name is, it may not begin with one.
    let name = name.trim_start_matches('~');
    if tags.is_empty() {
        return Ok(SeriesKey::from_name(&path(name))?);
    }
    tags.retain(|(tag, _)| *tag != "name");
    // Stable, so that of equal tags the last one given is the last one here.
    tags.sort_by_key(|(tag, _)| *tag);
    tags.reverse();
    tags.dedup_by_key(|(tag, _)| *tag);
    let mut tags: Vec<(&str, &str)> = tags.iter().map(|(tag, value)| (*tag, value.as_ref())).collect();
    Ok(SeriesKey::from_parts(name, &mut tags)?)
}

/// The tags of `tag=value;tag=value`.
fn tags_of(text: &str) -> Result<Vec<(&str, Cow<'_, str>)>, Refusal> {
    let is_wrong = |part: &&str| part.split_once('=').is_none_or(|(tag, _)| tag.is_empty());
    if let Some(wrong) = text.split(';').find(is_wrong) {
        return Err(Refusal::Tag(shown(wrong)));
    }
    let parts = text.split(';').filter_map(|part| part.split_once('='));
    Ok(parts.map(|(tag, value)| (tag, Cow::Borrowed(value))).collect())
}

/// The tags of `tag="value",tag="value"`, the last value's quote being there.
fn labels_of(text: &str) -> Result<Vec<(&str, Cow<'_, str>)>, Refusal> {
    let mut tags = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let wrong = || Refusal::Tag(shown(rest));
        let (tag, quoted) = rest.split_once("=\"").filter(|(tag, _)| is_label(tag)).ok_or_else(wrong)?;
        let (value, length) = unquote(quoted).ok_or_else(wrong)?;
        if value.contains(';') {
            return Err(wrong());
        }
        tags.push((tag, value));
        // Carbon allows a colon before the comma.
        let after = &quoted[length..];
        let comma = after.strip_prefix(",").or_else(|| after.strip_prefix(":,"));
        rest = comma.or_else(|| after.is_empty().then_some("")).ok_or_else(wrong)?;
    }
    Ok(tags)
}

fn is_label(tag: &str) -> bool {
    !tag.is_empty() && !tag.contains('=')
}

/// The text up to the closing quote, and the length of it with the quote. Only a quote and a backslash stand behind a
/// backslash.
fn unquote(quoted: &str) -> Option<(Cow<'_, str>, usize)> {
    let bytes = quoted.as_bytes();
    let mut plain: Option<String> = None;
    let (mut at, mut copied) = (0, 0);
    loop {
        at += memchr::memchr2(b'"', b'\\', &bytes[at..])?;
        if bytes[at] == b'"' {
            break;
        }
        if !matches!(bytes.get(at + 1), Some(b'"' | b'\\')) {
            return None;
        }
        plain.get_or_insert_default().push_str(&quoted[copied..at]);
        copied = at + 1;
        at += 2;
    }
    let value = match plain {
        Some(plain) => Cow::Owned(plain + &quoted[copied..at]),
        None => Cow::Borrowed(&quoted[..at]),
    };
    Some((value, at + 1))
}

/// A path without empty parts.
fn path(name: &str) -> Cow<'_, str> {
    let is_clean = !name.starts_with('.') && !name.ends_with('.') && !name.contains("..");
    if is_clean {
        return Cow::Borrowed(name);
    }
    let parts: Vec<&str> = name.split('.').filter(|part| !part.is_empty()).collect();
    Cow::Owned(parts.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use statline_series::KeyError;

    #[test]
    fn names_become_what_carbon_makes_of_them() {
        for (name, expected) in [
            ("a.b", "a.b"),
            ("..a...b.", "a.b"),
            ("~~a.b", "a.b"),
            ("a.b;z=1;b=2", "a.b;b=2;z=1"),
            ("a..b;z=1", "a..b;z=1"),
            ("a;t=1;t=2;t=3", "a;t=3"),
            ("a;name=x;t=1", "a;t=1"),
            ("a;t=x=y", "a;t=x=y"),
            ("a;t=c:\\dir", "a;t=c:\\\\dir"),
            ("a{}", "a{}"),
            ("a{t=\"1\"}", "a;t=1"),
            ("a{z=\"1\",b=\"x,y\":,}x=\"2\"}", "a;b=x,y;z=1;}x=2"),
            ("a{t=\"say \\\"hi\\\\\\\"\"}", "a;t=say \"hi\\\\\""),
            ("a{t=\"1\",}", "a{t=\"1\",}"),
            ("gr\u{fc}\u{df}e.\u{1f680};\u{e4}=\u{f6}", "gr\u{fc}\u{df}e.\u{1f680};\u{e4}=\u{f6}"),
        ] {
            assert_eq!(key(name).map(|key| key.as_str().to_owned()), Ok(expected.to_owned()), "{name}");
        }
    }

    #[test]
    fn what_is_no_name_is_told() {
        for (name, refusal) in [
            ("", Refusal::Key(KeyError::EmptyName)),
            ("...", Refusal::Key(KeyError::EmptyName)),
            ("~", Refusal::Key(KeyError::EmptyName)),
            (";t=v", Refusal::Key(KeyError::EmptyName)),
            ("a;", Refusal::Tag(String::new())),
            ("a;t", Refusal::Tag("t".into())),
            ("a;=v", Refusal::Tag("=v".into())),
            ("a;t!=v", Refusal::Key(KeyError::BadTagName("t!".into()))),
            ("a;t=~v", Refusal::Key(KeyError::BadTagValue("t".into()))),
            ("a;t=", Refusal::Key(KeyError::BadTagValue("t".into()))),
            ("a{t=\"\"}", Refusal::Key(KeyError::BadTagValue("t".into()))),
            ("a{t=\"x;y\"}", Refusal::Tag("t=\"x;y\"".into())),
            ("a{t=\"x\\y\"}", Refusal::Tag("t=\"x\\y\"".into())),
            ("a{t=\"x\"y=\"z\"}", Refusal::Tag("t=\"x\"y=\"z\"".into())),
            ("a\nb", Refusal::Control("a\nb".into())),
        ] {
            assert_eq!(key(name), Err(refusal), "{name}");
        }
        assert_eq!(key(&"x".repeat(5000)), Err(Refusal::NameTooLong(5000)));
    }
}
