//! A packet's lines become samples and events.
//!
//! `name:value|type|@rate|#tag:value,…`, several lines in a packet, several values in a line: etsy's `a:1|c:2|ms` and
//! DogStatsD's packed `a:1:2:3|ms`. Behind the type come parts in any order: a sample rate, tags, and DogStatsD's container,
//! timestamp, external data and cardinality; a part that is not known is passed over. A name and its tags are read once a
//! line. Each value that cannot be taken is one refusal, so that refusals add up to what etsy counts in `bad_lines_seen`.
//!
//! Nothing is allocated here for a line whose name needs no sanitising, and nothing but reused buffers for one that does.

use memchr::memchr;
use statline_series::{Event, Timestamp};

use crate::key::{KeyReader, TagStyles};
use crate::{Limits, Reason, Refusal, event, number};

/// How lines are read where servers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grammar {
    /// In which styles a line may carry tags.
    pub tags: TagStyles,
    /// Whether a gauge's value with a sign moves it. Without, `-5` sets it to -5.
    pub gauge_deltas: bool,
}

impl Default for Grammar {
    fn default() -> Self {
        Self { tags: TagStyles::default(), gauge_deltas: true }
    }
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<'a> {
    /// A value of a series.
    Sample(Sample<'a>),
    /// Something that happened: `_e{…}`, or a service check's message.
    Event(Box<Event>),
    /// Something that was not taken.
    Refused(Refusal),
}

/// One value that a client sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The series: sanitised name and sorted tags, `name;tag=value`. ASCII.
    pub key: &'a str,
    /// What to do to it.
    pub value: Value<'a>,
    /// When it happened, where the client says so; only of [`Value::Count`] and [`Value::Gauge`].
    pub timestamp: Option<Timestamp>,
    /// Where the value stood in the packet, in bytes from its beginning.
    pub offset: usize,
}

/// A value by its type. The numbers are finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Adds to a counter; the sample rate has been applied.
    Count(f64),
    /// Sets a gauge.
    Gauge(f64),
    /// Moves a gauge.
    GaugeDelta(f64),
    /// A duration in milliseconds, or a value of a histogram or distribution.
    Timing {
        /// The value.
        value: f64,
        /// How many events it stands for: 1 / sample rate.
        weight: f64,
        /// Whether it is a duration, sent as `ms`.
        is_duration: bool,
    },
    /// A member of a set.
    Member(&'a [u8]),
}

#[derive(Clone, Copy, PartialEq)]
enum Type {
    Counter,
    Gauge,
    Timer,
    Distribution,
    Set,
}

/// What stands behind a value: how it is meant.
#[derive(Clone, Copy)]
struct Meaning {
    kind: Type,
    weight: f64,
    timestamp: Option<Timestamp>,
}

/// Reads packets. One per thread, since it keeps buffers.
#[derive(Debug)]
pub struct Parser {
    keys: KeyReader,
    grammar: Grammar,
}

impl Parser {
    /// A parser with the limits on keys and tags.
    #[must_use]
    pub fn new(limits: &Limits, grammar: Grammar) -> Self {
        Self { keys: KeyReader::new(limits, grammar.tags), grammar }
    }

    /// How it reads.
    #[must_use]
    pub const fn grammar(&self) -> Grammar {
        self.grammar
    }

    /// Reads a packet that came at `now`, handing over what each line says in their order. Answers how many lines there
    /// were; empty ones are not counted.
    pub fn packet(&mut self, packet: &[u8], now: Timestamp, mut each: impl FnMut(Outcome<'_>)) -> u64 {
        let mut lines = 0;
        let mut start = 0;
        while start < packet.len() {
            let end = memchr(b'\n', &packet[start..]).map_or(packet.len(), |length| start + length);
            if end > start {
                lines += 1;
                self.line(&packet[start..end], start, now, &mut each);
            }
            start = end + 1;
        }
        lines
    }

    /// Reads a line that is not empty and begins at `line_offset` in its packet.
    pub(crate) fn line(&mut self, line: &[u8], line_offset: usize, now: Timestamp, each: &mut impl FnMut(Outcome<'_>)) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut refuse = |reason| each(Outcome::Refused(Refusal { reason, offset: line_offset }));
        if line.starts_with(event::EVENT) {
            return match event::read(line, now) {
                Ok(event) => each(Outcome::Event(Box::new(event))),
                Err(reason) => refuse(reason),
            };
        }
        if line.starts_with(event::SERVICE_CHECK) {
            return self.service_check(line, line_offset, now, each);
        }
        let (head, extensions) = split_extensions(line);
        let Some(colon) = memchr(b':', head) else { return refuse(Reason::NoValue) };
        let key = match self.keys.read(&head[..colon], extensions.tags) {
            Ok(key) => key,
            Err(reason) => return refuse(reason),
        };
        let mut values = Values {
            key,
            text: &head[colon + 1..],
            offset: line_offset + colon + 1,
            extensions: read_parts(extensions.parts),
            gauge_deltas: self.grammar.gauge_deltas,
        };
        values.read(each);
    }

    fn service_check(&mut self, line: &[u8], line_offset: usize, now: Timestamp, each: &mut impl FnMut(Outcome<'_>)) {
        let read = event::read_service_check(line, now);
        let read = read.and_then(|check| Ok((self.keys.read(check.name, check.tags)?, check)));
        match read {
            Ok((key, check)) => {
                let value = Value::Gauge(f64::from(check.status));
                each(Outcome::Sample(Sample { key, value, timestamp: None, offset: line_offset }));
                each(Outcome::Event(Box::new(check.event)));
            }
            Err(reason) => each(Outcome::Refused(Refusal { reason, offset: line_offset })),
        }
    }
}

/// What follows the first `|#`.
#[derive(Clone, Copy)]
struct Extensions<'a> {
    /// The tags, as they are written.
    tags: Option<&'a [u8]>,
    /// The parts that stand behind the tags, divided by `|`.
    parts: &'a [u8],
}

/// Divides a line at the first `|#`. The tags end at the next `|`.
fn split_extensions(line: &[u8]) -> (&[u8], Extensions<'_>) {
    let mut searched = 0;
    while let Some(found) = memchr(b'#', &line[searched..]) {
        let hash = searched + found;
        if hash > 0 && line[hash - 1] == b'|' {
            let rest = &line[hash + 1..];
            let (tags, parts) = memchr(b'|', rest).map_or((rest, &[][..]), |bar| (&rest[..bar], &rest[bar + 1..]));
            return (&line[..hash - 1], Extensions { tags: Some(tags), parts });
        }
        searched = hash + 1;
    }
    (line, Extensions { tags: None, parts: &[] })
}

/// A sample rate and a timestamp, as the parts behind a type give them.
#[derive(Clone, Copy, Default)]
struct Given {
    weight: Option<f64>,
    timestamp: Option<Timestamp>,
}

impl Given {
    /// Takes a part. `is_first` is whether it is etsy's third field, which is a rate or wrong; etsy passes over what stands
    /// behind that.
    fn take(&mut self, part: &[u8], is_first: bool) -> Result<(), Reason> {
        match part {
            [b'@', ..] if self.weight.is_none() => self.weight = Some(weight_of(part)?),
            [b'@', ..] => {}
            [b'T', b'0'..=b'9', ..] => self.timestamp = Some(timestamp_of(&part[1..])?),
            // A rate that lacks its sign must not count as 1.
            [b'0'..=b'9' | b'.' | b'+' | b'-', ..] if self.weight.is_none() => return Err(Reason::NotARate),
            _ if is_first && memchr(b':', part).is_none() => return Err(Reason::NotARate),
            _ => {}
        }
        Ok(())
    }
}

/// The parts behind a line's tags, which hold for each of its values.
fn read_parts(parts: &[u8]) -> Result<Given, Reason> {
    let mut given = Given::default();
    parts.split(|byte| *byte == b'|').try_for_each(|part| given.take(part, false))?;
    Ok(given)
}

/// Where a part that begins here ends: at the next `|`, since what DogStatsD has there may hold colons, `|c:ci-1`. But
/// etsy's next value may follow behind a colon, `|c|@0.1:2|c`: behind a number, or where a type comes next.
fn part_end(text: &[u8]) -> usize {
    let end = memchr(b'|', text).unwrap_or(text.len());
    let Some(colon) = memchr(b':', &text[..end]) else { return end };
    let is_number = matches!(text[0], b'@' | b'T' | b'0'..=b'9' | b'.' | b'+' | b'-' | b':');
    let is_known = [&b"c"[..], b"e", b"card"].contains(&&text[..colon]);
    let next = text.get(end + 1..).unwrap_or_default();
    let next_end = next.iter().position(|byte| matches!(byte, b'|' | b':')).unwrap_or(next.len());
    if is_number || (!is_known && read_type(&next[..next_end]).is_ok()) { colon } else { end }
}

/// The values of a line, as they are written.
struct Values<'a> {
    key: &'a str,
    text: &'a [u8],
    /// Where the text begins in the packet.
    offset: usize,
    extensions: Result<Given, Reason>,
    gauge_deltas: bool,
}

impl Values<'_> {
    fn read(&mut self, each: &mut impl FnMut(Outcome<'_>)) {
        let text = self.text;
        let mut start = 0;
        loop {
            let Some(bar) = memchr(b'|', &text[start..]).map(|length| start + length) else {
                return self.emit_each(start, text.len(), Err(Reason::NoType), each);
            };
            let type_end = text[bar + 1..].iter().position(|byte| matches!(byte, b'|' | b':'));
            let mut end = type_end.map_or(text.len(), |length| bar + 1 + length);
            let kind = read_type(&text[bar + 1..end]);
            let mut given = self.extensions;
            let mut is_first = true;
            while text.get(end) == Some(&b'|') {
                let part = &text[end + 1..];
                let length = part_end(part);
                given = given.and_then(|mut given| given.take(&part[..length], is_first).map(|()| given));
                is_first = false;
                end += 1 + length;
            }
            let meaning = kind.and_then(|kind| {
                let Given { weight, timestamp } = given?;
                Ok(Meaning { kind, weight: weight.unwrap_or(1.0), timestamp })
            });
            // What comes before the last `:` is packed with this value, and shares its type; sets are never packed, since
            // a member may be any text.
            match memchr::memrchr(b':', &text[start..bar]).map(|length| start + length) {
                Some(colon) if kind == Ok(Type::Set) => {
                    self.emit_each(start, colon, Err(Reason::NoType), each);
                    self.emit(colon + 1, bar, meaning, each);
                }
                _ => self.emit_each(start, bar, meaning, each),
            }
            if end == text.len() {
                return;
            }
            start = end + 1;
        }
    }

    /// Values that share a type, divided by `:`.
    fn emit_each(
        &self,
        start: usize,
        end: usize,
        meaning: Result<Meaning, Reason>,
        each: &mut impl FnMut(Outcome<'_>),
    ) {
        let mut at = start;
        for value in self.text[start..end].split(|byte| *byte == b':') {
            self.emit(at, at + value.len(), meaning, each);
            at += value.len() + 1;
        }
    }

    fn emit(&self, start: usize, end: usize, meaning: Result<Meaning, Reason>, each: &mut impl FnMut(Outcome<'_>)) {
        let offset = self.offset + start;
        let read = meaning.and_then(|meaning| {
            let value = read_value(meaning, &self.text[start..end], self.gauge_deltas)?;
            if meaning.timestamp.is_some() && !matches!(value, Value::Count(_) | Value::Gauge(_)) {
                return Err(Reason::TimestampOfType);
            }
            Ok(Sample { key: self.key, value, timestamp: meaning.timestamp, offset })
        });
        each(match read {
            Ok(sample) => Outcome::Sample(sample),
            Err(reason) => Outcome::Refused(Refusal { reason, offset }),
        });
    }
}

fn read_type(name: &[u8]) -> Result<Type, Reason> {
    match name.trim_ascii() {
        b"c" | b"m" => Ok(Type::Counter),
        b"g" => Ok(Type::Gauge),
        b"ms" => Ok(Type::Timer),
        b"h" | b"d" => Ok(Type::Distribution),
        b"s" => Ok(Type::Set),
        _ => Err(Reason::UnknownType),
    }
}

/// How many events one at this sample rate, `@0.1`, stands for. Only an unsigned number is a rate.
fn weight_of(rate: &[u8]) -> Result<f64, Reason> {
    let text = rate.strip_prefix(b"@").ok_or(Reason::NotARate)?;
    match text.first() {
        Some(b'0'..=b'9' | b'.') => {}
        // Numbers all the same, and taken for rates by others: what is wrong with them is their range.
        Some(b'+' | b'-' | b'I') if matches!(number::parse(text), Ok(_) | Err(Reason::Infinite)) => {
            return Err(Reason::RateOutOfRange);
        }
        _ => return Err(Reason::NotARate),
    }
    let rate = number::parse(text).map_err(|_| Reason::NotARate)?;
    let weight = 1.0 / rate;
    if rate > 0.0 && rate <= 1.0 && weight.is_finite() { Ok(weight) } else { Err(Reason::RateOutOfRange) }
}

/// Whole seconds since the epoch, of at most 12 digits.
pub(crate) fn timestamp_of(digits: &[u8]) -> Result<Timestamp, Reason> {
    if digits.is_empty() || digits.len() > 12 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Reason::BadTimestamp);
    }
    let seconds = digits.iter().fold(0, |seconds: i64, digit| seconds * 10 + i64::from(digit - b'0'));
    Ok(Timestamp::from_seconds(seconds))
}

fn read_value(meaning: Meaning, text: &[u8], gauge_deltas: bool) -> Result<Value<'_>, Reason> {
    let Meaning { kind, weight, .. } = meaning;
    match kind {
        Type::Counter => {
            let count = number::parse(text)? * weight;
            Ok(Value::Count(count.clamp(f64::MIN, f64::MAX)))
        }
        Type::Gauge => {
            let value = number::parse(text)?;
            let is_delta = gauge_deltas && matches!(text.first(), Some(b'+' | b'-'));
            Ok(if is_delta { Value::GaugeDelta(value) } else { Value::Gauge(value) })
        }
        Type::Timer => match number::parse(text)? {
            value if value < 0.0 => Err(Reason::NegativeTimer),
            value => Ok(Value::Timing { value, weight, is_duration: true }),
        },
        Type::Distribution => Ok(Value::Timing { value: number::parse(text)?, weight, is_duration: false }),
        Type::Set => Ok(Value::Member(if text.is_empty() { b"0" } else { text })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a packet says, one text a sample or refusal.
    fn read(packet: &[u8]) -> Vec<String> {
        let mut seen = Vec::new();
        parser(Grammar::default()).packet(packet, Timestamp::from_seconds(7), |outcome| seen.push(shown(&outcome)));
        seen
    }

    fn parser(grammar: Grammar) -> Parser {
        Parser::new(&Limits::default(), grammar)
    }

    fn shown(outcome: &Outcome<'_>) -> String {
        match outcome {
            Outcome::Sample(Sample { key, value, timestamp, .. }) => {
                let at = timestamp.map_or_else(String::new, |at| format!(" T{}", at.seconds()));
                match value {
                    Value::Count(count) => format!("{key} c {count}{at}"),
                    Value::Gauge(value) => format!("{key} g {value}{at}"),
                    Value::GaugeDelta(value) => format!("{key} g {value:+}"),
                    Value::Timing { value, weight, is_duration: true } => format!("{key} ms {value} x{weight}"),
                    Value::Timing { value, weight, is_duration: false } => format!("{key} d {value} x{weight}"),
                    Value::Member(member) => format!("{key} s {}", member.escape_ascii()),
                }
            }
            Outcome::Event(event) => format!("event {} {}", event.timestamp.seconds(), event.title),
            Outcome::Refused(Refusal { reason, offset }) => format!("{}@{offset}", reason.as_str()),
        }
    }

    #[test]
    fn each_type_is_read() {
        for (line, expected) in [
            ("bot.help.claimed:1|c", "bot.help.claimed c 1"),
            ("a:2|m", "a c 2"),
            ("a:3|c|@0.1", "a c 30"),
            ("a:-3|c", "a c -3"),
            ("a:0x10|c", "a c 16"),
            ("a: |c", "a c 0"),
            ("a:5|g", "a g 5"),
            ("a:+5|g", "a g +5"),
            ("a:-5|g|@0.5", "a g -5"),
            ("a:320|ms", "a ms 320 x1"),
            ("a:320|ms|@0.1", "a ms 320 x10"),
            ("a:-2.5|h", "a d -2.5 x1"),
            ("a:2.5|d", "a d 2.5 x1"),
            ("a:user one|s", "a s user one"),
            ("a:|s", "a s 0"),
            ("a:1| c ", "a c 1"),
            ("a:1|c\r", "a c 1"),
            ("a:x|s\r", "a s x"),
            ("a:1|c|@1|whatever", "a c 1"),
            ("a b/c$é:1|c", "a_b-c c 1"),
            (":1|c", " c 1"),
            ("a|b:1|c", "ab c 1"),
            ("a:1|c|#z:1,b", "a;b=true;z=1 c 1"),
            ("a;z=1;b=2:1|c", "a;b=2;z=1 c 1"),
            ("a:1|c|@0.5|#t:v", "a;t=v c 2"),
            ("a:1|c|#t:v|@0.5", "a;t=v c 2"),
            ("a:1|c|#t:v|c:ci-1|T1700000000", "a;t=v c 1 T1700000000"),
            ("a:1|c|T1700000000|@0.5|c:in-5|#t:v|e:it-false,cn-x|card:low", "a;t=v c 2 T1700000000"),
            ("a:1|c|c:83c0a99c|e:x:y|card:high|unknown:part", "a c 1"),
            ("a:1|c|unknown:part|@0.5|#t:v", "a;t=v c 2"),
            ("a:1|c|@0.5|@0.1", "a c 2"),
            ("a:1|c|@0.5|x|0.1|", "a c 2"),
            ("a:5|g|T1700000000", "a g 5 T1700000000"),
            ("a:1|c|#t:v|#u:w", "a;t=v c 1"),
            ("a#b:1|c", "ab c 1"),
        ] {
            assert_eq!(read(line.as_bytes()), [expected], "{line:?}");
        }
    }

    #[test]
    fn a_line_holds_several_values_both_ways() {
        assert_eq!(read(b"a:1|c:2|c"), ["a c 1", "a c 2"]);
        assert_eq!(read(b"a:1|c:2|ms|@0.5:+1|g|#t:v"), ["a;t=v c 1", "a;t=v ms 2 x2", "a;t=v g +1"]);
        assert_eq!(read(b"a:1|c|@0.5:2|c|T17:3|c"), ["a c 2", "a c 2 T17", "a c 3"]);
        assert_eq!(read(b"a:1|ms|@0.5|x:2|ms:3|c"), ["a ms 1 x2", "a ms 2 x1", "a c 3"]);
        assert_eq!(read(b"a:1|c|0.5:2|c"), ["not_a_rate@2", "a c 2"]);
        assert_eq!(read(b"a:1|c|:2|c"), ["not_a_rate@2", "a c 2"]);
        assert_eq!(read(b"a:1:2:3|ms"), ["a ms 1 x1", "a ms 2 x1", "a ms 3 x1"]);
        assert_eq!(read(b"a:1:2|c|@0.5:7|g"), ["a c 2", "a c 4", "a g 7"]);
        assert_eq!(read(b"a:1::3|c"), ["a c 1", "not_a_number@4", "a c 3"]);
        assert_eq!(read(b"a:x:y|s"), ["no_type@2", "a s y"]);
    }

    #[test]
    fn a_packet_holds_several_lines() {
        assert_eq!(read(b"a:1|c\n\nb:2|g\n"), ["a c 1", "b g 2"]);
        assert_eq!(read(b"a:1|c\r\nb:2|g\r\n"), ["a c 1", "b g 2"]);
        assert_eq!(read(b"a:1|c\nbad\nb:2|g"), ["a c 1", "no_value@6", "b g 2"]);
        assert_eq!(parser(Grammar::default()).packet(b"\na:1|c\n\nbad\n", Timestamp::from_seconds(0), |_| {}), 2);
        assert_eq!(read(b""), Vec::<String>::new());
    }

    #[test]
    fn each_bad_value_is_one_refusal() {
        for (line, expected) in [
            ("bad", &["no_value@0"][..]),
            ("\r", &["no_value@0"]),
            ("a:", &["no_type@2"]),
            ("a:1", &["no_type@2"]),
            ("a:1:2", &["no_type@2", "no_type@4"]),
            ("a:1|", &["unknown_type@2"]),
            ("a:1|x", &["unknown_type@2"]),
            ("a:1|c|", &["not_a_rate@2"]),
            ("a:1|c|0.1", &["not_a_rate@2"]),
            ("a:1|c|@", &["not_a_rate@2"]),
            ("a:1|c|@0,1", &["not_a_rate@2"]),
            ("a:1|c|.5", &["not_a_rate@2"]),
            ("a:1|c|x", &["not_a_rate@2"]),
            ("a:1|c|T1x", &["bad_timestamp@2"]),
            ("a:1|c|T1234567890123", &["bad_timestamp@2"]),
            ("a:1|ms|T1700000000", &["timestamp_of_type@2"]),
            ("a:+1|g|T1700000000", &["timestamp_of_type@2"]),
            ("a:1|c|#t:v|@2", &["rate_out_of_range@2"]),
            ("a:1|c|@0", &["rate_out_of_range@2"]),
            ("a:1|c|@2", &["rate_out_of_range@2"]),
            ("a:1|c|@-0.5", &["rate_out_of_range@2"]),
            ("a:1|c|@+0.5", &["rate_out_of_range@2"]),
            ("a:1|c|@Infinity", &["rate_out_of_range@2"]),
            ("a:1|c|@1e-320", &["rate_out_of_range@2"]),
            ("a:|c", &["not_a_number@2"]),
            ("a:NaN|c", &["not_a_number@2"]),
            ("a:inf|g", &["not_a_number@2"]),
            ("a:Infinity|c", &["infinite@2"]),
            ("a:1e400|g", &["infinite@2"]),
            ("a:-1|ms", &["negative_timer@2"]),
            ("a:1:2|c|@x", &["not_a_rate@2", "not_a_rate@4"]),
            ("a:1|c|#:v", &["nameless_tag@0"]),
            ("a:1|c|#t:1,t:2", &["duplicate_tag@0"]),
            ("a;t=1:1|c|#u:2", &["mixed_tag_styles@0"]),
            ("_e{5,5}:title|text", &["bad_event@0"]),
            ("_sc|name|4", &["bad_service_check@0"]),
        ] {
            assert_eq!(read(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn a_gauge_below_0_is_set_directly_when_asked() {
        let mut seen = Vec::new();
        let grammar = Grammar { gauge_deltas: false, ..Grammar::default() };
        parser(grammar).packet(b"a:-5|g\na:+5|g", Timestamp::from_seconds(0), |outcome| seen.push(shown(&outcome)));
        assert_eq!(seen, ["a g -5", "a g 5"]);
    }

    #[test]
    fn events_and_service_checks_are_read_beside_samples() {
        assert_eq!(
            read(b"a:1|c\n_e{5,4}:title|text|d:5\n_sc|redis.can_connect|2|#role:db|m:gone\nb:1|c"),
            ["a c 1", "event 5 title", "redis.can_connect;role=db g 2", "event 7 redis.can_connect", "b c 1"]
        );
    }

    #[test]
    fn a_weighted_count_stays_finite() {
        assert_eq!(read(b"a:1e308|c|@0.001"), [format!("a c {}", f64::MAX)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic_and_every_offset_is_inside(
            packet in proptest::collection::vec(
                prop_oneof![
                    4 => prop::sample::select(b"a:|c1.@#;=,\n\r ms+-g_e{}scT\xff".to_vec()),
                    1 => any::<u8>(),
                ],
                0..200,
            ),
        ) {
            let mut outcomes = 0_usize;
            let mut last_offset = 0;
            let lines = parser(Grammar::default()).packet(&packet, Timestamp::from_seconds(0), |outcome| {
                outcomes += 1;
                let offset = match outcome {
                    Outcome::Sample(Sample { offset, value, .. }) => {
                        if let Value::Count(number) | Value::Gauge(number) | Value::GaugeDelta(number) = value {
                            assert!(number.is_finite());
                        }
                        offset
                    }
                    Outcome::Event(_) => last_offset,
                    Outcome::Refused(refusal) => refusal.offset,
                };
                assert!(last_offset <= offset && offset <= packet.len());
                last_offset = offset;
            });
            prop_assert!(outcomes as u64 >= lines, "each line is a sample or a refusal at least");
        }

        #[test]
        fn what_a_client_writes_is_what_is_read(
            name in "[a-z][a-z_.-]{0,20}", count in -1_000_000_i32..1_000_000, kind in "c|g|h", tag in "[a-z]{1,5}", value in "[a-z0-9]{1,5}",
        ) {
            let line = format!("{name}:{count}|{kind}|#{tag}:{value}");
            let shown = match kind.as_str() {
                "c" => format!("{name};{tag}={value} c {count}"),
                "g" if count < 0 => format!("{name};{tag}={value} g {count}"),
                "g" => format!("{name};{tag}={value} g {count}"),
                _ => format!("{name};{tag}={value} d {count} x1"),
            };
            prop_assert_eq!(read(line.as_bytes()), vec![shown]);
        }
    }
}
