//! Python's regex syntax in that of the crate `regex`, where they differ.
//!
//! Most of both is the same. What Python takes literally and the crate does not (a `[` or `&&` within a class, a `{` that
//! begins no count, `\<`) is escaped, and what is only written differently is rewritten. Look-around, back-references and
//! conditions are left as they are, for the crate to refuse.

/// Rewrites a pattern.
pub(crate) fn translate(pattern: &str) -> String {
    let mut rest = Rest { text: pattern, translated: String::with_capacity(pattern.len() + 8) };
    while let Some(character) = rest.take() {
        match character {
            '\\' => rest.escape(false),
            '[' => rest.class(),
            '{' => rest.count(),
            '(' if rest.text.starts_with("?#") => rest.skip_comment(),
            _ => rest.translated.push(character),
        }
    }
    rest.translated
}

struct Rest<'p> {
    text: &'p str,
    translated: String,
}

impl Rest<'_> {
    fn take(&mut self) -> Option<char> {
        let character = self.text.chars().next()?;
        self.text = &self.text[character.len_utf8()..];
        Some(character)
    }

    /// What follows a backslash.
    fn escape(&mut self, in_class: bool) {
        let octal = self.text.bytes().take(3).take_while(|digit| matches!(digit, b'0'..=b'7')).count();
        if octal == 3 || octal > 0 && (in_class || self.text.starts_with('0')) {
            let (digits, rest) = self.text.split_at(octal);
            let code = u32::from_str_radix(digits, 8).unwrap_or(0);
            self.translated.push_str(&format!("\\x{{{code:x}}}"));
            self.text = rest;
            return;
        }
        let Some(escaped) = self.take() else {
            self.translated.push('\\');
            return;
        };
        match escaped {
            'Z' if !in_class => self.translated.push_str("\\z"),
            'b' if in_class => self.translated.push_str("\\x08"),
            '<' | '>' => self.translated.push(escaped),
            _ if escaped.is_ascii() => self.translated.extend(['\\', escaped]),
            _ => self.translated.push(escaped),
        }
    }

    /// What follows a `[`, up to the `]`.
    fn class(&mut self) {
        self.translated.push('[');
        if let Some(rest) = self.text.strip_prefix('^') {
            self.text = rest;
            self.translated.push('^');
        }
        let mut is_first = true;
        while let Some(character) = self.take() {
            match character {
                ']' if !is_first => {
                    self.translated.push(']');
                    return;
                }
                '\\' => self.escape(true),
                '[' | ']' | '&' | '~' => self.translated.extend(['\\', character]),
                '-' if self.translated.ends_with('-') => self.translated.push_str("\\-"),
                _ => self.translated.push(character),
            }
            is_first = false;
        }
    }

    /// What follows a `{`: a count such as `2,3}`, or nothing of the kind.
    fn count(&mut self) {
        let counted = self.text.find('}').map(|end| self.text.split_at(end)).filter(|(inner, _)| {
            !inner.is_empty()
                && inner.bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
                && inner.matches(',').count() <= 1
        });
        let Some((inner, rest)) = counted else {
            self.translated.push_str("\\{");
            return;
        };
        self.translated.push('{');
        if inner.starts_with(',') {
            self.translated.push('0');
        }
        self.translated.push_str(inner);
        self.text = rest;
    }

    fn skip_comment(&mut self) {
        self.text = self.text.split_once(')').map_or("", |(_, rest)| rest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    #[test]
    fn what_means_the_same_is_left_as_it_is() {
        for pattern in ["^a.*(b|c)+?$", "(?P<n>\\w+)\\.[^.]*", "[a-z\\d_]{2,3}", "\\bx\\b", "(?i)é", "(?=a)", "(a)\\1"]
        {
            assert_eq!(translate(pattern), pattern);
        }
    }

    #[test]
    fn what_python_reads_otherwise_matches_as_python_has_it() {
        for (pattern, text, expected) in [
            ("[[a]", "x[", true),
            ("[]a]", "]", true),
            ("[^]a]", "]", false),
            ("[a&&b]", "&", true),
            ("[a~~b]", "~", true),
            ("[+--]", ",", true),
            ("a{", "a{", true),
            ("{b}", "{b}", true),
            ("a{x,2}", "a{x,2}", true),
            ("^a{,2}$", "aaa", false),
            ("^a{,2}$", "", true),
            ("a\\Z", "ba", true),
            ("\\<a\\>", "<a>", true),
            ("\\é", "é", true),
            ("a(?#comment)b", "ab", true),
            ("\\101", "A", true),
            ("[\\101]", "A", true),
            ("[\\b]", "\u{8}", true),
            ("\\/\\-\\ ", "/- ", true),
        ] {
            let regex = Regex::new(&translate(pattern)).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.is_match(text), expected, "{pattern} in {text}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics(pattern in "[\\\\\\[\\](){}^?#,0-9a-cZ<>&~-]{0,20}") {
            let _ = Regex::new(&translate(&pattern));
        }

        #[test]
        fn a_literal_stays_one(text in "\\PC{0,20}") {
            let regex = Regex::new(&translate(&regex::escape(&text))).unwrap();
            prop_assert!(regex.is_match(&text));
        }
    }
}
