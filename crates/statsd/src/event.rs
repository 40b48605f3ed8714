//! DogStatsD's events and service checks.
//!
//! `_e{title bytes,text bytes}:title|text|d:seconds|h:host|k:key|p:priority|s:source|t:alert|#tag,…` and
//! `_sc|name|status|d:seconds|h:host|#tag,…|m:message`. Lengths count bytes; `\n` written out is a line's end. Parts that
//! are not known are passed over.

use statline_series::{Event, Timestamp};

use crate::Reason;
use crate::line::timestamp_of;

/// How an event's line begins.
pub(crate) const EVENT: &[u8] = b"_e{";
/// How a service check's line begins.
pub(crate) const SERVICE_CHECK: &[u8] = b"_sc|";

/// The names of the statuses of a service check, by number.
const STATUSES: [&str; 4] = ["ok", "warning", "critical", "unknown"];

/// A service check: a gauge and an event.
pub(crate) struct ServiceCheck<'a> {
    pub(crate) name: &'a [u8],
    /// As they are written, for the gauge.
    pub(crate) tags: Option<&'a [u8]>,
    /// 0 to 3.
    pub(crate) status: u8,
    pub(crate) event: Event,
}

/// Reads a line that begins with [`EVENT`]; without a timestamp it happened at `now`.
pub(crate) fn read(line: &[u8], now: Timestamp) -> Result<Event, Reason> {
    let bad = Reason::BadEvent;
    let rest = line.strip_prefix(EVENT).ok_or(bad)?;
    let (lengths, rest) = split_at(rest, b'}').ok_or(bad)?;
    let (title_length, text_length) = split_at(lengths, b',').ok_or(bad)?;
    let (title_length, text_length) = (length(title_length).ok_or(bad)?, length(text_length).ok_or(bad)?);
    let rest = rest.strip_prefix(b":").ok_or(bad)?;
    let (title, rest) = rest.split_at_checked(title_length).ok_or(bad)?;
    let (text, rest) = rest.strip_prefix(b"|").and_then(|rest| rest.split_at_checked(text_length)).ok_or(bad)?;
    if title.is_empty() {
        return Err(bad);
    }
    let mut event = Event::new(now, unescape(title), unescape(text));
    let rest = match rest {
        [] => return Ok(event),
        [b'|', rest @ ..] => rest,
        _ => return Err(bad),
    };
    for part in rest.split(|byte| *byte == b'|') {
        match part {
            [b'd', b':', seconds @ ..] => event.timestamp = timestamp_of(seconds)?,
            [b'h', b':', host @ ..] => event.set_attribute("host", &unescape(host)),
            [b'k', b':', key @ ..] => event.set_attribute("aggregation_key", &unescape(key)),
            [b'p', b':', priority @ ..] => event.set_attribute("priority", &unescape(priority)),
            [b's', b':', source @ ..] => event.set_attribute("source_type", &unescape(source)),
            [b't', b':', alert @ ..] => event.set_attribute("alert_type", &unescape(alert)),
            [b'#', tags @ ..] => event.tags = list(tags),
            _ => {}
        }
    }
    Ok(event)
}

/// Reads a line that begins with [`SERVICE_CHECK`]; without a timestamp it was made at `now`.
pub(crate) fn read_service_check(line: &[u8], now: Timestamp) -> Result<ServiceCheck<'_>, Reason> {
    let bad = Reason::BadServiceCheck;
    let rest = line.strip_prefix(SERVICE_CHECK).ok_or(bad)?;
    let mut parts = rest.split(|byte| *byte == b'|');
    let name = parts.next().filter(|name| !name.is_empty()).ok_or(bad)?;
    let status = match parts.next() {
        Some([digit @ b'0'..=b'3']) => digit - b'0',
        _ => return Err(bad),
    };
    let mut event = Event::new(now, unescape(name), String::new());
    let mut tags = None;
    for part in parts {
        match part {
            [b'd', b':', seconds @ ..] => event.timestamp = timestamp_of(seconds)?,
            [b'h', b':', host @ ..] => event.set_attribute("host", &unescape(host)),
            [b'#', listed @ ..] => {
                event.tags = list(listed);
                tags = Some(listed);
            }
            [b'm', b':', message @ ..] => event.text = unescape(message),
            _ => {}
        }
    }
    event.set_attribute("alert_type", STATUSES[usize::from(status)]);
    event.tags.push("service_check".to_owned());
    event.tags.push(format!("status:{}", STATUSES[usize::from(status)]));
    Ok(ServiceCheck { name, tags, status, event })
}

fn split_at(text: &[u8], delimiter: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(delimiter, text)?;
    Some((&text[..at], &text[at + 1..]))
}

/// A number of bytes, far below what a packet holds.
fn length(digits: &[u8]) -> Option<usize> {
    let is_number = !digits.is_empty() && digits.len() <= 6 && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |length, digit| length * 10 + usize::from(digit - b'0')))
}

/// A text as it was meant; what is not UTF-8 is replaced.
fn unescape(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace("\\n", "\n")
}

fn list(tags: &[u8]) -> Vec<String> {
    tags.split(|byte| *byte == b',').filter(|tag| !tag.is_empty()).map(unescape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    #[test]
    fn an_event_is_read_with_all_its_parts() {
        let event = read(
            "_e{5,8}:title|one\\ntwo|d:1600000000|h:web1|k:deploys|p:low|s:ci|t:warning|#env:prod,v2|c:x|?".as_bytes(),
            NOW,
        )
        .unwrap();
        assert_eq!((event.title.as_str(), event.text.as_str()), ("title", "one\ntwo"));
        assert_eq!(event.timestamp, Timestamp::from_seconds(1_600_000_000));
        assert_eq!(event.tags, ["env:prod", "v2"]);
        for (name, value) in [
            ("host", "web1"),
            ("aggregation_key", "deploys"),
            ("priority", "low"),
            ("source_type", "ci"),
            ("alert_type", "warning"),
        ] {
            assert_eq!(event.attribute(name), Some(value), "{name}");
        }
        let short = read("_e{6,0}:tîtle|".as_bytes(), NOW).unwrap();
        assert_eq!((short.title.as_str(), short.text.as_str(), short.timestamp), ("tîtle", "", NOW));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for line in [
            "_e{",
            "_e{}:a|b",
            "_e{1}:a|b",
            "_e{1,1:a|b",
            "_e{1,1}a|b",
            "_e{2,1}:a|b",
            "_e{1,2}:a|b",
            "_e{0,1}:|b",
            "_e{1,1}:a|bc",
            "_e{-1,1}:a|b",
            "_e{9999999,1}:a|b",
            "_e{1,1}:ab",
        ] {
            assert_eq!(read(line.as_bytes(), NOW), Err(Reason::BadEvent), "{line:?}");
        }
        assert_eq!(read(b"_e{1,1}:a|b|d:x", NOW), Err(Reason::BadTimestamp));
    }

    #[test]
    fn a_service_check_is_a_status_and_an_event() {
        let check = read_service_check(b"_sc|redis.up|2|d:1600000000|h:web1|#role:db|m:gone\\naway", NOW).unwrap();
        assert_eq!((check.name, check.tags, check.status), (&b"redis.up"[..], Some(&b"role:db"[..]), 2));
        assert_eq!((check.event.title.as_str(), check.event.text.as_str()), ("redis.up", "gone\naway"));
        assert_eq!(check.event.tags, ["role:db", "service_check", "status:critical"]);
        for line in ["_sc|", "_sc||1", "_sc|a", "_sc|a|", "_sc|a|4", "_sc|a|01"] {
            let refused = read_service_check(line.as_bytes(), NOW).map(|check| check.status);
            assert_eq!(refused, Err(Reason::BadServiceCheck), "{line:?}");
        }
    }
}
