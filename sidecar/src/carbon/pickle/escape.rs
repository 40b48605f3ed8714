//! Texts of protocol 0, which stand on a line with escapes.

/// A literal of Python 2. A backslash before what it does not escape stands for itself.
pub fn unescape_literal(written: &[u8], plain: &mut Vec<u8>) {
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
pub fn unescape_unicode(written: &[u8], plain: &mut Vec<u8>) -> Option<()> {
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
