//! Carbon's pickles: a list of `(name, (timestamp, value))`, in any of Python's protocols from 0 to 5.
//!
//! A pickle is a program for a stack machine, and most of what the machine can do is of no use here and harmful. This one has
//! the instructions that make numbers, texts, tuples and lists, and no other. No instruction makes more than a few words of
//! memory, since texts stay where they are in the pickle and a value that is used twice is referred to, not copied; nothing is
//! ever walked deeper than a point is. So memory and time are linear in the length of the pickle, whatever it says.

use super::line;
use super::refusal::Refusal;

/// The widest number that is read exactly, in bytes; a wider one is no timestamp and no value.
const MOST_INTEGER_BYTES: usize = 16;

/// A value on the stack. What has parts is a place in one of the machine's arenas.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Number(f64),
    /// As it stands in the pickle.
    Text(&'a [u8]),
    /// Without its escapes, as a range of the machine's texts.
    Unescaped(usize, usize),
    /// A range of the machine's items.
    Tuple(usize, usize),
    /// One of the machine's lists.
    List(usize),
    /// `None`, or a number beyond any use.
    Nothing,
}

/// What one item of the list says; where it says no number, it has none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Item<'a> {
    /// The name, which need not be UTF-8.
    pub name: &'a [u8],
    /// Seconds since the epoch.
    pub timestamp: Option<f64>,
    /// The value; NaN is possible.
    pub value: Option<f64>,
}

/// Reads a pickle, and gives every item of its list in order: a point, or `None` for what is none.
///
/// # Errors
/// When it is not a pickle, uses anything but plain data, or is not of a list; then no item is given.
pub fn read(bytes: &[u8], mut each: impl FnMut(Option<Item<'_>>)) -> Result<(), Refusal> {
    let mut machine = Machine::new(bytes);
    let result = machine.run().map_err(|reason| Refusal::Pickle { at: machine.at, reason })?;
    let Some(items) = machine.items_of(result) else {
        return Err(Refusal::Pickle { at: machine.at, reason: "it is not of a list of points".to_owned() });
    };
    for item in items {
        each(machine.item(*item));
    }
    Ok(())
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// Where on the stack each mark is.
    marks: Vec<usize>,
    /// `None` at numbers that nothing was kept under.
    memo: Vec<Option<Value<'a>>>,
    /// The parts of tuples.
    items: Vec<Value<'a>>,
    lists: Vec<Vec<Value<'a>>>,
    /// Texts that stood in the pickle with escapes.
    texts: Vec<u8>,
}

type Step<T> = Result<T, String>;

impl<'a> Machine<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
            items: Vec::new(),
            lists: Vec::new(),
            texts: Vec::new(),
        }
    }

    /// Runs the pickle to its end, and answers with what it left on the stack.
    fn run(&mut self) -> Step<Value<'a>> {
        loop {
            let instruction = self.take(1)?[0];
            if instruction == b'.' {
                return self.pop();
            }
            self.step(instruction)?;
        }
    }

    fn step(&mut self, instruction: u8) -> Step<()> {
        match instruction {
            // The protocol and the length of a frame tell nothing that is not seen.
            0x80 => _ = self.take(1)?,
            0x95 => _ = self.take(8)?,
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                // Python takes a mark that is on top for a value.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => {
                let mark = self.mark()?;
                self.stack.truncate(mark);
            }
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.stack.push(Value::Nothing),
            0x88 => self.stack.push(Value::Number(1.0)),
            0x89 => self.stack.push(Value::Number(0.0)),
            b'I' | b'L' | b'F' => {
                let written = self.line()?;
                let number = std::str::from_utf8(written).ok().and_then(|text| {
                    line::number(if instruction == b'L' { text.strip_suffix('L').unwrap_or(text) } else { text })
                });
                self.stack.push(Value::Number(number.ok_or("a number is not written as one")?));
            }
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.stack.push(Value::Number(value));
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Number(value.into()));
            }
            b'K' => {
                let [value] = self.array()?;
                self.stack.push(Value::Number(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Number(value.into()));
            }
            0x8a => {
                let length = self.length_in::<1>()?;
                self.integer(length)?;
            }
            0x8b => {
                let length = self.length_in::<4>()?;
                self.integer(length)?;
            }
            b'S' | b'V' => self.escaped(instruction)?,
            b'U' | b'C' | 0x8c => {
                let length = self.length_in::<1>()?;
                self.text(length)?;
            }
            b'T' | b'B' | b'X' => {
                let length = self.length_in::<4>()?;
                self.text(length)?;
            }
            0x8d | 0x8e | 0x96 => {
                let length = self.length_in::<8>()?;
                self.text(length)?;
            }
            b')' => self.tuple(self.stack.len())?,
            0x85..=0x87 => {
                let parts = usize::from(instruction - 0x84);
                let from = self.stack.len().checked_sub(parts).ok_or("a tuple has too few parts")?;
                self.tuple(from)?;
            }
            b't' => {
                let mark = self.mark()?;
                self.tuple(mark)?;
            }
            b']' => self.list(self.stack.len()),
            b'l' => {
                let mark = self.mark()?;
                self.list(mark);
            }
            b'a' => {
                self.top()?;
                self.append(self.stack.len() - 1)?;
            }
            b'e' => {
                let mark = self.mark()?;
                self.append(mark)?;
            }
            b'p' | b'g' => {
                let written = self.line()?;
                let number = std::str::from_utf8(written).ok().and_then(|text| text.trim().parse().ok());
                self.memoize_or_recall(instruction == b'p', number.ok_or("a memo's number is not written as one")?)?;
            }
            b'q' | b'h' => {
                let number = self.length_in::<1>()?;
                self.memoize_or_recall(instruction == b'q', number)?;
            }
            b'r' | b'j' => {
                let number = self.length_in::<4>()?;
                self.memoize_or_recall(instruction == b'r', number)?;
            }
            0x94 => self.memoize_or_recall(true, self.memo.len())?,
            other => {
                return Err(format!(
                    "instruction {other:#04x} makes something else than numbers, texts, tuples and lists"
                ));
            }
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> Step<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = rest.get(..length).ok_or("it ends in the middle")?;
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A length or number of so many bytes, the lowest first.
    fn length_in<const N: usize>(&mut self) -> Step<usize> {
        let length = self.take(N)?.iter().rev().fold(0, |length: u64, byte| length << 8 | u64::from(*byte));
        usize::try_from(length).map_err(|_| "a length is out of range".to_owned())
    }

    /// What stands up to a newline, which is taken, too.
    fn line(&mut self) -> Step<&'a [u8]> {
        let length = memchr::memchr(b'\n', &self.bytes[self.at..]).ok_or("it ends in the middle")?;
        let line = self.take(length + 1)?;
        Ok(&line[..length])
    }

    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Step<Value<'a>> {
        let top = self.stack.last().filter(|_| self.stack.len() > self.floor());
        top.copied().ok_or_else(|| "the stack is empty".to_owned())
    }

    fn pop(&mut self) -> Step<Value<'a>> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn mark(&mut self) -> Step<usize> {
        self.marks.pop().ok_or_else(|| "there is no mark".to_owned())
    }

    fn text(&mut self, length: usize) -> Step<()> {
        let text = self.take(length)?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    /// An integer in two's complement, the lowest byte first.
    fn integer(&mut self, length: usize) -> Step<()> {
        let bytes = self.take(length)?;
        let value = if length > MOST_INTEGER_BYTES {
            Value::Nothing
        } else {
            let is_negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
            let mut wide = if is_negative { [0xff; MOST_INTEGER_BYTES] } else { [0; MOST_INTEGER_BYTES] };
            wide[..length].copy_from_slice(bytes);
            #[expect(clippy::cast_precision_loss, reason = "a value is a double")]
            Value::Number(i128::from_le_bytes(wide) as f64)
        };
        self.stack.push(value);
        Ok(())
    }

    /// A text of protocol 0, up to the end of its line: a literal of Python 2 in quotes, or Unicode with `\u` escapes.
    fn escaped(&mut self, instruction: u8) -> Step<()> {
        let mut written = self.line()?;
        if instruction == b'S' {
            written = written.trim_ascii_end();
            let quote = written.first().copied().filter(|quote| matches!(quote, b'\'' | b'"'));
            let inner = quote.and_then(|quote| written[1..].strip_suffix(&[quote]));
            written = inner.ok_or("a text is not in quotes")?;
        }
        if instruction == b'S' && memchr::memchr(b'\\', written).is_none() {
            self.stack.push(Value::Text(written));
            return Ok(());
        }
        let from = self.texts.len();
        if instruction == b'S' {
            unescape_literal(written, &mut self.texts);
        } else {
            unescape_unicode(written, &mut self.texts).ok_or("a unicode escape is not one")?;
        }
        self.stack.push(Value::Unescaped(from, self.texts.len()));
        Ok(())
    }

    /// Makes a tuple of the stack from here on.
    fn tuple(&mut self, from: usize) -> Step<()> {
        if from < self.floor() {
            return Err("a tuple has too few parts".to_owned());
        }
        let begin = self.items.len();
        self.items.extend(self.stack.drain(from..));
        self.stack.push(Value::Tuple(begin, self.items.len()));
        Ok(())
    }

    /// Makes a list of the stack from here on.
    fn list(&mut self, from: usize) {
        self.lists.push(self.stack.drain(from..).collect());
        self.stack.push(Value::List(self.lists.len() - 1));
    }

    /// Moves the stack from here on to the end of the list below it.
    fn append(&mut self, from: usize) -> Step<()> {
        let below = from.checked_sub(1).filter(|below| *below >= self.floor()).map(|below| self.stack[below]);
        let Some(Value::List(list)) = below else { return Err("only a list can be appended to".to_owned()) };
        self.lists[list].extend(self.stack.drain(from..));
        Ok(())
    }

    fn memoize_or_recall(&mut self, is_kept: bool, number: usize) -> Step<()> {
        if !is_kept {
            let recalled = self.memo.get(number).copied().flatten();
            self.stack.push(recalled.ok_or_else(|| format!("nothing was kept under memo {number}"))?);
            return Ok(());
        }
        let top = self.top()?;
        // Every writer numbers in turn, so a number is below the count of instructions.
        if number > self.bytes.len() {
            return Err(format!("memo {number} is out of turn"));
        }
        if self.memo.len() <= number {
            self.memo.resize(number + 1, None);
        }
        self.memo[number] = Some(top);
        Ok(())
    }

    fn items_of(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::Tuple(from, to) => Some(&self.items[from..to]),
            Value::List(list) => Some(&self.lists[list]),
            _ => None,
        }
    }

    fn text_of(&self, value: Value<'a>) -> Option<&[u8]> {
        match value {
            Value::Text(text) => Some(text),
            Value::Unescaped(from, to) => Some(&self.texts[from..to]),
            _ => None,
        }
    }

    fn number_of(&self, value: Value<'a>) -> Option<f64> {
        match value {
            Value::Number(number) => Some(number),
            value => line::number(std::str::from_utf8(self.text_of(value)?).ok()?),
        }
    }

    fn item(&self, item: Value<'a>) -> Option<Item<'_>> {
        let [name, point] = self.items_of(item)? else { return None };
        let [timestamp, value] = self.items_of(*point)? else { return None };
        Some(Item { name: self.text_of(*name)?, timestamp: self.number_of(*timestamp), value: self.number_of(*value) })
    }
}

/// A literal of Python 2. A backslash before what it does not escape stands for itself.
fn unescape_literal(written: &[u8], plain: &mut Vec<u8>) {
    let mut rest = written;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let Some((escape, after)) = after.split_first().filter(|_| *byte == b'\\') else {
            plain.push(*byte);
            continue;
        };
        let known = match escape {
            b'\\' | b'\'' | b'"' => Some(*escape),
            b'n' => Some(b'\n'),
            b't' => Some(b'\t'),
            b'r' => Some(b'\r'),
            b'x' => {
                let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                digits.and_then(|digits| u8::from_str_radix(digits, 16).ok())
            }
            _ => None,
        };
        let Some(known) = known else {
            plain.push(b'\\');
            continue;
        };
        plain.push(known);
        rest = if *escape == b'x' { &after[2..] } else { after };
    }
}

/// Latin-1 with `\uXXXX` and `\UXXXXXXXX`, into UTF-8; `None` when an escape is not one.
fn unescape_unicode(written: &[u8], plain: &mut Vec<u8>) -> Option<()> {
    let mut rest = written;
    let mut high = None;
    while let Some((byte, after)) = rest.split_first() {
        let digits = match after.first().filter(|_| *byte == b'\\') {
            Some(b'u') => 4,
            Some(b'U') => 8,
            _ => 0,
        };
        let code = if digits == 0 {
            rest = after;
            u32::from(*byte)
        } else {
            let written = std::str::from_utf8(after.get(1..=digits)?).ok()?;
            rest = &after[1 + digits..];
            u32::from_str_radix(written, 16).ok()?
        };
        // Python 2 on some systems writes what is beyond 16 bits as a pair.
        let code = match (high.take(), code) {
            (None, 0xd800..=0xdbff) => {
                high = Some(code);
                continue;
            }
            (Some(high), 0xdc00..=0xdfff) => 0x1_0000 + ((high - 0xd800) << 10) + (code - 0xdc00),
            (Some(_), _) => return None,
            (None, code) => code,
        };
        let mut room = [0; 4];
        plain.extend(char::from_u32(code)?.encode_utf8(&mut room).bytes());
    }
    high.is_none().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a pickle says: name, timestamp, value.
    fn items(bytes: &[u8]) -> Result<Vec<Option<(String, Option<f64>, Option<f64>)>>, Refusal> {
        let mut items = Vec::new();
        read(bytes, |item| {
            items.push(item.map(|item| (String::from_utf8_lossy(item.name).into_owned(), item.timestamp, item.value)));
        })?;
        Ok(items)
    }

    fn point(name: &str, timestamp: f64, value: f64) -> Option<(String, Option<f64>, Option<f64>)> {
        Some((name.to_owned(), Some(timestamp), Some(value)))
    }

    #[test]
    fn every_protocol_of_pythons_is_read() {
        // pickle.dumps([("a.b", (1700000000, 1.5)), ("grüß🚀.x;t=v", (1700000000.5, -3)), ("c", (-1, 2**40)),
        // ("d", ("1700000000", "2.5"))], protocol) of Python 3.11; 3 and 5 differ from 2 and 4 in their number alone.
        let protocols: [&[u8]; 4] = [
            b"(lp0\n(Va.b\np1\n(I1700000000\nF1.5\ntp2\ntp3\na(Vgr\xfc\xdf\\U0001f680.x;t=v\np4\n(F1700000000.5\nI-3\ntp5\n\
              tp6\na(Vc\np7\n(I-1\nL1099511627776L\ntp8\ntp9\na(Vd\np10\n(V1700000000\np11\nV2.5\np12\ntp13\ntp14\na.",
            b"]q\x00((X\x03\x00\x00\x00a.bq\x01(J\x00\xf1SeG?\xf8\x00\x00\x00\x00\x00\x00tq\x02tq\x03(X\x10\x00\x00\x00gr\
              \xc3\xbc\xc3\x9f\xf0\x9f\x9a\x80.x;t=vq\x04(GA\xd9T\xfc@ \x00\x00J\xfd\xff\xff\xfftq\x05tq\x06(X\x01\x00\x00\
              \x00cq\x07(J\xff\xff\xff\xffL1099511627776L\ntq\x08tq\t(X\x01\x00\x00\x00dq\n(X\n\x00\x00\x001700000000q\x0b\
              X\x03\x00\x00\x002.5q\x0ctq\rtq\x0ee.",
            b"\x80\x02]q\x00(X\x03\x00\x00\x00a.bq\x01J\x00\xf1SeG?\xf8\x00\x00\x00\x00\x00\x00\x86q\x02\x86q\x03X\x10\x00\
              \x00\x00gr\xc3\xbc\xc3\x9f\xf0\x9f\x9a\x80.x;t=vq\x04GA\xd9T\xfc@ \x00\x00J\xfd\xff\xff\xff\x86q\x05\x86q\
              \x06X\x01\x00\x00\x00cq\x07J\xff\xff\xff\xff\x8a\x06\x00\x00\x00\x00\x00\x01\x86q\x08\x86q\tX\x01\x00\x00\
              \x00dq\nX\n\x00\x00\x001700000000q\x0bX\x03\x00\x00\x002.5q\x0c\x86q\r\x86q\x0ee.",
            b"\x80\x04\x95r\x00\x00\x00\x00\x00\x00\x00]\x94(\x8c\x03a.b\x94J\x00\xf1SeG?\xf8\x00\x00\x00\x00\x00\x00\x86\
              \x94\x86\x94\x8c\x10gr\xc3\xbc\xc3\x9f\xf0\x9f\x9a\x80.x;t=v\x94GA\xd9T\xfc@ \x00\x00J\xfd\xff\xff\xff\x86\
              \x94\x86\x94\x8c\x01c\x94J\xff\xff\xff\xff\x8a\x06\x00\x00\x00\x00\x00\x01\x86\x94\x86\x94\x8c\x01d\x94\x8c\n\
              1700000000\x94\x8c\x032.5\x94\x86\x94\x86\x94e.",
        ];
        let expected = [
            point("a.b", 1_700_000_000.0, 1.5),
            point("grüß🚀.x;t=v", 1_700_000_000.5, -3.0),
            point("c", -1.0, 1_099_511_627_776.0),
            point("d", 1_700_000_000.0, 2.5),
        ];
        for (number, bytes) in protocols.into_iter().enumerate() {
            assert_eq!(items(bytes).unwrap(), expected, "{number}");
        }
    }

    #[test]
    fn what_other_writers_make_of_a_point_is_read() {
        for (bytes, expected) in [
            // etsy's statsd: texts in quotes, numbers as long ones and as texts.
            (&b"(l(S'a.b'\n(L1700000000L\nS'2'\ntta."[..], vec![point("a.b", 1.7e9, 2.0)]),
            // Python 2, with escapes of both kinds.
            (b"(lp1\n(S'it\\'s\\x20\\q'\np2\n(I1\nI01\ntta.", vec![point("it's \\q", 1.0, 1.0)]),
            (b"(l(V\\u00e4\\ud83d\\ude80\n(I1\nI2\ntta.", vec![point("ä🚀", 1.0, 2.0)]),
            // One point of two series, of a list of lists, with bytes as names.
            (b"\x80\x03]((C\x01aK\x01K\x02\x86q\x00t(C\x01bh\x00te.", vec![point("a", 1.0, 2.0), point("b", 1.0, 2.0)]),
            (b"](](\x8c\x01a](K\x01\x88eee.", vec![point("a", 1.0, 1.0)]),
            (b")U\x01aM\x00\x01\x89\x86\x86\x850.", vec![]),
            // What is no point does not harm its neighbours.
            (
                b"](NK\x05)U\x01aK\x01N\x86\x86U\x01aU\x01xK\x02\x86\x86e.",
                vec![
                    None,
                    None,
                    None,
                    Some(("a".to_owned(), Some(1.0), None)),
                    Some(("a".to_owned(), None, Some(2.0))),
                ],
            ),
        ] {
            assert_eq!(items(bytes).unwrap(), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_more_than_data_is_refused() {
        for (bytes, at, reason) in [
            (&b""[..], 0, "it ends in the middle"),
            (b"](", 2, "it ends in the middle"),
            (b".", 1, "the stack is empty"),
            (b"K\x01.", 3, "it is not of a list of points"),
            (
                b"cos\nsystem\n(S'true'\ntR.",
                1,
                "instruction 0x63 makes something else than numbers, texts, tuples and lists",
            ),
            (b"}.", 1, "instruction 0x7d makes something else than numbers, texts, tuples and lists"),
            (b"K\x01a", 3, "only a list can be appended to"),
            (b"](\x85", 3, "a tuple has too few parts"),
            (b"t", 1, "there is no mark"),
            (b"h\x05", 2, "nothing was kept under memo 5"),
            (b"]r\xff\xff\xff\xff.", 6, "memo 4294967295 is out of turn"),
            (b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffx.", 9, "it ends in the middle"),
            (b"Sx\n.", 3, "a text is not in quotes"),
            (b"V\\ud800x\n.", 9, "a unicode escape is not one"),
            (b"Ione\n.", 5, "a number is not written as one"),
        ] {
            let expected = Refusal::Pickle { at, reason: reason.to_owned() };
            assert_eq!(items(bytes), Err(expected), "{}", bytes.escape_ascii());
        }
        let wide = [&b"](U\x01a\x8a\x11"[..], &[1; 17], b"K\x01\x86\x86e."].concat();
        assert_eq!(items(&wide).unwrap(), [Some(("a".to_owned(), None, Some(1.0)))]);
    }

    /// The memory that a machine has, in values of the stack.
    fn held(bytes: &[u8]) -> usize {
        let mut machine = Machine::new(bytes);
        let _ = machine.run();
        let lists: usize = machine.lists.iter().map(|list| list.capacity() + 1).sum();
        machine.stack.capacity() + machine.memo.capacity() + machine.items.capacity() + machine.lists.capacity() + lists
    }

    #[test]
    fn bombs_do_not_go_off() {
        let nested = [vec![b')'], vec![0x85; 1 << 20], vec![b'.']].concat();
        let doubled = [vec![b']'], b"2a".repeat(1 << 19), vec![b'.']].concat();
        let marked = [vec![b'('; 1 << 20], vec![b'.']].concat();
        let laughs: Vec<u8> =
            (1..1 << 16).flat_map(|level| format!("(lp{level}\ng{0}\nag{0}\na", level - 1).into_bytes()).collect();
        let laughs = [b"(lp0\n".to_vec(), laughs, vec![b'.']].concat();
        let memo = [&b"]r\xff\xff\x0f\x00"[..], &[b'N'; 1 << 20]].concat();
        for bytes in [nested, doubled, marked, laughs, memo] {
            let most = 8 * bytes.len();
            assert!(held(&bytes) <= most, "{} values for {} bytes", held(&bytes), bytes.len());
            let _ = items(&bytes);
        }
    }

    /// One instruction with an argument of its kind.
    fn instruction() -> impl Strategy<Value = Vec<u8>> {
        let plain = prop::sample::select(&b"(012N\x88\x89)]tlae.\x85\x86\x87\x94"[..]).prop_map(|byte| vec![byte]);
        let short = (prop::sample::select(&b"UC\x8c\x8aKqh"[..]), prop::collection::vec(any::<u8>(), 0..4))
            .prop_map(|(byte, text)| [vec![byte, text.len() as u8], text].concat());
        let line = (prop::sample::select(&b"ILFSVpg"[..]), "[-0-9a-z.'\\\\uUx]{0,12}")
            .prop_map(|(byte, text)| [vec![byte], text.into_bytes(), vec![b'\n']].concat());
        let long =
            (prop::sample::select(&b"TBXrjJG\x8b\x8d\x8e\x96\x95"[..]), prop::collection::vec(any::<u8>(), 4..12))
                .prop_map(|(byte, argument)| [vec![byte], argument].concat());
        prop_oneof![4 => plain, 3 => short, 2 => line, 1 => long]
    }

    proptest! {
        #[test]
        fn any_pickle_is_read_in_bounded_memory(program in prop::collection::vec(instruction(), 0..200)) {
            let bytes = program.concat();
            prop_assert!(held(&bytes) <= 8 * bytes.len() + 64);
            let mut count = 0;
            let _ = read(&bytes, |_| count += 1);
            prop_assert!(count <= bytes.len());
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let mut count = 0;
            let _ = read(&bytes, |_| count += 1);
            prop_assert!(count <= bytes.len());
        }
    }
}
