//! Carbon's pickles: a list of `(name, (timestamp, value))`, in any of Python's protocols from 0 to 5.
//!
//! A pickle is a program for a stack machine, and most of what the machine can do is of no use here and harmful. This one has
//! the instructions that make numbers, texts, tuples and lists, and no other. No instruction makes more than a few words of
//! memory, since texts stay where they are in the pickle and a value that is used twice is referred to, not copied; nothing is
//! ever walked deeper than a point is. So memory and time are linear in the length of the pickle, whatever it says.

mod escape;
#[cfg(test)]
mod tests;

use super::line;
use super::refusal::Refusal;
use escape::{unescape_literal, unescape_unicode};

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
