//! Names and label values with references in them: `$1`, `${1}`, `$0`.
//!
//! The two ways of matching read references differently, and both are followed. Under globs a reference takes every letter,
//! digit, `_` and `$` after it, so that `$1_total` is the unknown reference `1_total` and stands for nothing, and
//! `${1}_total` is meant. Under regular expressions the same holds for letters, digits and `_`, groups may be named, and
//! `$$` is a dollar sign.

/// A text with references, read once and filled in for each name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    /// 0 is the whole name or match, n the nth part that varied.
    Reference(usize),
}

impl Template {
    /// As under a glob with `captures` stars.
    pub fn of_glob(text: &str, captures: usize) -> Self {
        let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$');
        let mut template = Self { pieces: Vec::new() };
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let after = &rest[dollar + 1..];
            let inside = after.strip_prefix('{').unwrap_or(after);
            let length = inside.find(|c| !belongs(c)).unwrap_or(inside.len());
            if length == 0 {
                template.text(&rest[..=dollar]);
                rest = after;
                continue;
            }
            template.text(&rest[..dollar]);
            let (reference, after) = inside.split_at(length);
            // `parse` would take a sign, but none can stand here.
            if let Some(index) = reference.parse().ok().filter(|index| *index <= captures) {
                template.pieces.push(Piece::Reference(index));
            }
            rest = after.strip_prefix('}').unwrap_or(after);
        }
        template.text(rest);
        template
    }

    /// As under a regular expression whose groups have these names; the first is the whole match.
    pub fn of_regex(text: &str, groups: &[Option<String>]) -> Self {
        let mut template = Self { pieces: Vec::new() };
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            template.text(before);
            if let Some(after) = after.strip_prefix('$') {
                template.text("$");
                rest = after;
                continue;
            }
            match reference(after) {
                Some((name, after)) => {
                    let index = group_number(name)
                        .or_else(|| groups.iter().position(|group| group.as_deref() == Some(name)))
                        .filter(|index| *index < groups.len());
                    template.pieces.extend(index.map(Piece::Reference));
                    rest = after;
                }
                None => {
                    template.text("$");
                    rest = after;
                }
            }
        }
        template.text(rest);
        template
    }

    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if let Some(Piece::Text(last)) = self.pieces.last_mut() {
            *last = format!("{last}{text}").into();
        } else {
            self.pieces.push(Piece::Text(text.into()));
        }
    }

    /// The text with what `resolve` knows in place of each reference.
    pub fn fill<'a>(&self, resolve: impl Fn(usize) -> &'a str) -> String {
        let mut filled = String::new();
        for piece in &self.pieces {
            filled.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Reference(index) => resolve(*index),
            });
        }
        filled
    }
}

/// The name of a reference and what follows it, as Go's `Regexp.Expand` cuts them.
fn reference(after_dollar: &str) -> Option<(&str, &str)> {
    let braced = after_dollar.strip_prefix('{');
    let inside = braced.unwrap_or(after_dollar);
    let length = inside.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(inside.len());
    if length == 0 {
        return None;
    }
    let (name, after) = inside.split_at(length);
    let after = if braced.is_some() { after.strip_prefix('}')? } else { after };
    Some((name, after))
}

/// A group's number: digits without a leading zero, of a size that a group can have.
fn group_number(name: &str) -> Option<usize> {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit()) && (name == "0" || !name.starts_with('0'));
    if is_number { name.parse().ok().filter(|number| *number < 1_000_000_000) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_under_globs_take_every_word_character_after_them() {
        let captures = ["a.b.c", "b", "c"];
        for (template, filled) in [
            ("plain", "plain"),
            ("$1", "b"),
            ("${1}_$2", "b_c"),
            ("$1_total", ""),
            ("x$1.$1", "xb.b"),
            ("$1$2", ""),
            ("${1}$2", "bc"),
            ("$0", "a.b.c"),
            ("$3", ""),
            ("$name", ""),
            ("${1", "b"),
            ("$1}", "b"),
            ("$", "$"),
            ("${}", "${}"),
            ("100% $1 %d", "100% b %d"),
            ("$01", "b"),
            ("$-1", "$-1"),
        ] {
            assert_eq!(Template::of_glob(template, 2).fill(|index| captures[index]), filled, "{template}");
        }
    }

    #[test]
    fn references_under_regular_expressions_are_those_of_gos_expand() {
        let groups = [None, None, Some("kind".to_owned())];
        let values = ["whole", "one", "two"];
        for (template, filled) in [
            ("$1", "one"),
            ("$0$1", "wholeone"),
            ("${1}_x", "one_x"),
            ("$1_x", ""),
            ("$kind/${kind}", "two/two"),
            ("$$1", "$1"),
            ("$", "$"),
            ("a$-b", "a$-b"),
            ("${1", "${1"),
            ("${}", "${}"),
            ("${1-2}", "${1-2}"),
            ("$3$01", ""),
            ("$é", ""),
        ] {
            assert_eq!(Template::of_regex(template, &groups).fill(|index| values[index]), filled, "{template}");
        }
    }
}
