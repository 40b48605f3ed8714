//! JSON with a line for each value, indented by two spaces, made of JSON on one line.

/// Indents a text that comes in parts.
#[derive(Debug, Default)]
pub struct Indent {
    depth: usize,
    in_text: bool,
    after_backslash: bool,
    /// Whether a list or an object was opened last; the next byte says whether there is anything in it.
    has_opened: bool,
}

impl Indent {
    /// Indents the next part.
    pub fn write(&mut self, part: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(part.len() * 2);
        for byte in part {
            self.push(*byte, &mut out);
        }
        out
    }

    fn push(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.in_text {
            out.push(byte);
            match byte {
                _ if self.after_backslash => self.after_backslash = false,
                b'\\' => self.after_backslash = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return;
        }
        if byte.is_ascii_whitespace() {
            return;
        }
        let closes = matches!(byte, b']' | b'}');
        if closes {
            self.depth = self.depth.saturating_sub(1);
        }
        // Nothing between the brackets: they stay together.
        if self.has_opened != closes {
            self.line(out);
        }
        self.has_opened = matches!(byte, b'[' | b'{');
        out.push(byte);
        match byte {
            b'[' | b'{' => self.depth += 1,
            b',' => self.line(out),
            b':' => out.push(b' '),
            b'"' => self.in_text = true,
            _ => {}
        }
    }

    fn line(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        out.resize(out.len() + 2 * self.depth, b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_indented_as_others_do_it() {
        let value = serde_json::json!({
            "a": [[1.5, 60], [null, 120]], "b": {}, "c": [], "d": "x, [y]: {\"z\\\"}\n", "e": [{ "f": true }], "g": -1,
        });
        for text in [value.to_string(), "[[1.0, 2], []]".to_owned(), "{}".to_owned(), "5".to_owned()] {
            let mut indent = Indent::default();
            let out = text.as_bytes().chunks(3).flat_map(|part| indent.write(part)).collect();
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string_pretty(&value).unwrap());
        }
    }
}
