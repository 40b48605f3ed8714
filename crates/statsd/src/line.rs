//! A packet's lines become samples.
//!
//! `name:value|type|@rate|#tag:value,…`, several lines in a packet, several values in a line: etsy's `a:1|c:2|ms` and
//! DogStatsD's packed `a:1:2:3|ms`. A name and its tags are read once a line. Each value that cannot be taken is one
//! refusal, so that refusals add up to what etsy counts in `bad_lines_seen`.
//!
//! Nothing is allocated here for a line whose name needs no sanitising, and nothing but reused buffers for one that does.

use memchr::memchr;

use crate::key::KeyReader;
use crate::{Limits, Reason, Refusal, number};

/// One value that a client sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The series: sanitised name and sorted tags, `name;tag=value`.
    pub key: &'a str,
    /// What to do to it.
    pub value: Value<'a>,
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

/// Reads packets. One per thread, since it keeps buffers.
#[derive(Debug)]
pub struct Parser {
    keys: KeyReader,
}

impl Parser {
    /// A parser with the limits on keys and tags.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self { keys: KeyReader::new(limits) }
    }

    /// Reads a packet, handing over each sample and each refusal in their order. Answers how many lines there were;
    /// empty ones are not counted.
    pub fn packet(&mut self, packet: &[u8], mut each: impl FnMut(Result<Sample<'_>, Refusal>)) -> u64 {
        let mut lines = 0;
        let mut start = 0;
        while start < packet.len() {
            let end = memchr(b'\n', &packet[start..]).map_or(packet.len(), |length| start + length);
            if end > start {
                lines += 1;
                self.line(&packet[start..end], start, &mut each);
            }
            start = end + 1;
        }
        lines
    }

    fn line(&mut self, line: &[u8], line_offset: usize, each: &mut impl FnMut(Result<Sample<'_>, Refusal>)) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (head, extensions) = split_extensions(line);
        let Some(colon) = memchr(b':', head) else {
            each(Err(Refusal { reason: Reason::NoValue, offset: line_offset }));
            return;
        };
        let key = match self.keys.read(&head[..colon], extensions.tags) {
            Ok(key) => key,
            Err(reason) => {
                each(Err(Refusal { reason, offset: line_offset }));
                return;
            }
        };
        let values = &head[colon + 1..];
        let values_offset = line_offset + colon + 1;
        let mut start = 0;
        let mut untyped_from = None;
        loop {
            let end = memchr(b':', &values[start..]).map_or(values.len(), |length| start + length);
            let segment = &values[start..end];
            match memchr(b'|', segment) {
                None => {
                    untyped_from.get_or_insert(start);
                }
                Some(bar) => {
                    let fields = read_fields(&segment[bar + 1..], extensions.rate);
                    if let Some(from) = untyped_from.take() {
                        // What came before is packed with this value, and shares its type; sets are never packed,
                        // since a member may be any text.
                        let packed = match fields {
                            Ok((Type::Set, _)) => Err(Reason::NoType),
                            fields => fields,
                        };
                        emit_each(key, &values[from..start - 1], values_offset + from, packed, each);
                    }
                    emit(key, &segment[..bar], values_offset + start, fields, each);
                }
            }
            if end == values.len() {
                break;
            }
            start = end + 1;
        }
        if let Some(from) = untyped_from {
            emit_each(key, &values[from..], values_offset + from, Err(Reason::NoType), each);
        }
    }
}

/// What follows the first `|#`.
#[derive(Clone, Copy)]
struct Extensions<'a> {
    /// The tags, as they are written.
    tags: Option<&'a [u8]>,
    /// A sample rate that stands after the tags.
    rate: Option<&'a [u8]>,
}

/// Divides a line at the first `|#`. The tags end at the next `|`; of what follows them only a sample rate means anything.
fn split_extensions(line: &[u8]) -> (&[u8], Extensions<'_>) {
    let mut searched = 0;
    while let Some(found) = memchr(b'#', &line[searched..]) {
        let hash = searched + found;
        if hash > 0 && line[hash - 1] == b'|' {
            let mut parts = line[hash + 1..].split(|byte| *byte == b'|');
            let tags = parts.next();
            let rate = parts.find(|part| part.starts_with(b"@"));
            return (&line[..hash - 1], Extensions { tags, rate });
        }
        searched = hash + 1;
    }
    (line, Extensions { tags: None, rate: None })
}

/// The type and the weight out of what follows a value's first `|`.
fn read_fields(fields: &[u8], rate_after_tags: Option<&[u8]>) -> Result<(Type, f64), Reason> {
    let (type_name, rate) = match memchr(b'|', fields) {
        None => (fields, rate_after_tags),
        Some(bar) => {
            let third = fields[bar + 1..].split(|byte| *byte == b'|').next();
            (&fields[..bar], third)
        }
    };
    let kind = match type_name.trim_ascii() {
        b"c" | b"m" => Type::Counter,
        b"g" => Type::Gauge,
        b"ms" => Type::Timer,
        b"h" | b"d" => Type::Distribution,
        b"s" => Type::Set,
        _ => return Err(Reason::UnknownType),
    };
    let weight = match rate {
        None => 1.0,
        Some(rate) => weight_of(rate)?,
    };
    Ok((kind, weight))
}

/// How many events one at this sample rate stands for. Only an unsigned number is a rate.
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

/// Values that share a type, divided by `:`.
fn emit_each(
    key: &str,
    values: &[u8],
    offset: usize,
    fields: Result<(Type, f64), Reason>,
    each: &mut impl FnMut(Result<Sample<'_>, Refusal>),
) {
    let mut at = offset;
    for value in values.split(|byte| *byte == b':') {
        emit(key, value, at, fields, each);
        at += value.len() + 1;
    }
}

fn emit(
    key: &str,
    text: &[u8],
    offset: usize,
    fields: Result<(Type, f64), Reason>,
    each: &mut impl FnMut(Result<Sample<'_>, Refusal>),
) {
    match fields.and_then(|(kind, weight)| read_value(kind, weight, text)) {
        Ok(value) => each(Ok(Sample { key, value, offset })),
        Err(reason) => each(Err(Refusal { reason, offset })),
    }
}

fn read_value(kind: Type, weight: f64, text: &[u8]) -> Result<Value<'_>, Reason> {
    match kind {
        Type::Counter => {
            let count = number::parse(text)? * weight;
            Ok(Value::Count(count.clamp(f64::MIN, f64::MAX)))
        }
        Type::Gauge => {
            let value = number::parse(text)?;
            let is_delta = matches!(text.first(), Some(b'+' | b'-'));
            Ok(if is_delta { Value::GaugeDelta(value) } else { Value::Gauge(value) })
        }
        Type::Timer => match number::parse(text)? {
            value if value < 0.0 => Err(Reason::NegativeTimer),
            value => Ok(Value::Timing { value, weight }),
        },
        Type::Distribution => Ok(Value::Timing { value: number::parse(text)?, weight }),
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
        Parser::new(&Limits::default()).packet(packet, |outcome| {
            seen.push(match outcome {
                Ok(Sample { key, value, .. }) => match value {
                    Value::Count(count) => format!("{key} c {count}"),
                    Value::Gauge(value) => format!("{key} g {value}"),
                    Value::GaugeDelta(value) => format!("{key} g {value:+}"),
                    Value::Timing { value, weight } => format!("{key} ms {value} x{weight}"),
                    Value::Member(member) => format!("{key} s {}", member.escape_ascii()),
                },
                Err(Refusal { reason, offset }) => format!("{}@{offset}", reason.as_str()),
            });
        });
        seen
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
            ("a:-2.5|h", "a ms -2.5 x1"),
            ("a:2.5|d", "a ms 2.5 x1"),
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
            ("a:1|c|#t:v|c:ci-1|T1700000000", "a;t=v c 1"),
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
        assert_eq!(Parser::new(&Limits::default()).packet(b"\na:1|c\n\nbad\n", |_| {}), 2);
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
            ("a:1|c|T123", &["not_a_rate@2"]),
            ("a:1|c|c:ci-1", &["not_a_rate@2", "no_type@8"]),
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
            ("_e{5,4}:title|text", &["unknown_type@8"]),
        ] {
            assert_eq!(read(line.as_bytes()), expected, "{line:?}");
        }
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
                    4 => prop::sample::select(b"a:|c1.@#;=,\n\r ms+-g\xff".to_vec()),
                    1 => any::<u8>(),
                ],
                0..200,
            ),
        ) {
            let mut parser = Parser::new(&Limits::default());
            let mut outcomes = 0_usize;
            let mut last_offset = 0;
            let lines = parser.packet(&packet, |outcome| {
                outcomes += 1;
                let offset = match outcome {
                    Ok(Sample { offset, value, .. }) => {
                        if let Value::Count(number) | Value::Gauge(number) | Value::GaugeDelta(number) = value {
                            assert!(number.is_finite());
                        }
                        offset
                    }
                    Err(refusal) => refusal.offset,
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
                _ => format!("{name};{tag}={value} ms {count} x1"),
            };
            prop_assert_eq!(read(line.as_bytes()), vec![shown]);
        }
    }
}
