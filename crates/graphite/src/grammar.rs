//! graphite-web's grammar, to the letter: from a target's text to an [`Expr`] as graphite-web reads it.
//!
//! It takes the first alternative that fits and asks no more: what follows a complete target is ignored, and a call that
//! cannot be read up to its `)` is the path that its name is. So a number such as `.5` or an argument left empty makes a
//! path of every call around it. The rules are named as in Graphite's documentation.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use crate::error::ParseError;
use crate::expr::{CallExpr, Expr, ExprKind, Number};
use crate::parse::{AN_EXPRESSION, MAX_DEPTH};

/// What stands for itself in a path only behind a backslash.
const SYMBOLS: &str = "(){},.'\"\\|";

/// Reads a target.
pub(crate) fn read(text: &str) -> Result<Expr, ParseError> {
    let grammar =
        Grammar { source: text.into(), depth: Cell::new(0), too_deep: Cell::new(None), known: RefCell::default() };
    let read = grammar.expression(0);
    let column = |position: usize| text[..position].chars().count() + 1;
    if let Some(position) = grammar.too_deep.get() {
        return Err(ParseError::TooDeep { position, column: column(position) });
    }
    read.ok_or_else(|| {
        let position = grammar.skip_space(0);
        let found = text[position..].chars().next().map_or_else(|| "the end".to_owned(), |found| format!("{found:?}"));
        ParseError::Unexpected { position, column: column(position), found, expected: AN_EXPRESSION }
    })
}

/// The rules: each takes where it begins, and yields nothing when it does not fit there.
struct Grammar {
    source: Arc<str>,
    /// How many calls are open.
    depth: Cell<usize>,
    /// Where calls nest too deep.
    too_deep: Cell<Option<usize>>,
    /// Arguments that have been read, by where they begin: several rules try them.
    known: RefCell<HashMap<usize, Option<Expr>>>,
}

impl Grammar {
    /// A call or a path, and the calls that it is piped into.
    fn expression(&self, at: usize) -> Option<Expr> {
        let mut read = self.call(at, None).or_else(|| self.path(at))?;
        while let Some(into) = self.symbol('|', read.end) {
            let Some(piped) = self.call(into, Some(&read)) else { break };
            read = piped;
        }
        Some(read)
    }

    fn call(&self, at: usize, piped: Option<&Expr>) -> Option<Expr> {
        let start = self.skip_space(at);
        let name = self.identifier(start)?;
        let opened = self.symbol('(', start + name.len())?;
        if self.depth.get() >= MAX_DEPTH {
            self.too_deep.set(Some(start));
            return None;
        }
        let mut call = CallExpr { name: name.to_owned(), arguments: Vec::new(), keywords: Vec::new() };
        call.arguments.extend(piped.cloned());
        self.depth.set(self.depth.get() + 1);
        let end = self.arguments(opened, &mut call);
        self.depth.set(self.depth.get() - 1);
        let end = self.symbol(')', end)?;
        let below = call.arguments.iter().chain(call.keywords.iter().map(|(_, value)| value));
        let depth = 1 + below.map(|argument| argument.depth).max().unwrap_or(0);
        if depth > MAX_DEPTH + 1 {
            self.too_deep.set(Some(start));
            return None;
        }
        Some(Expr { is_piped: piped.is_some(), ..self.node(ExprKind::Call(call), start, end, depth) })
    }

    /// Reads as many arguments as there are, those by keyword last; where they end.
    fn arguments(&self, at: usize, call: &mut CallExpr) -> usize {
        let (mut next, mut end) = (Some(at), at);
        while let Some(argument) = next.and_then(|at| self.positional(at)) {
            end = argument.end;
            call.arguments.push(argument);
            next = self.symbol(',', end);
        }
        // Keywords alone are no arguments.
        while let Some((keyword, value)) = next.filter(|next| *next > at).and_then(|at| self.keyword(at)) {
            end = value.end;
            call.keywords.push((keyword, value));
            next = self.symbol(',', end);
        }
        end
    }

    fn positional(&self, at: usize) -> Option<Expr> {
        if self.keyword(at).is_some() { None } else { self.argument(at) }
    }

    fn keyword(&self, at: usize) -> Option<(String, Expr)> {
        let start = self.skip_space(at);
        let name = self.identifier(start)?;
        let value = self.argument(self.symbol('=', start + name.len())?)?;
        Some((name.to_owned(), value))
    }

    fn argument(&self, at: usize) -> Option<Expr> {
        let start = self.skip_space(at);
        if let Some(known) = self.known.borrow().get(&start) {
            return known.clone();
        }
        let read = self.literal(start).or_else(|| self.expression(start));
        self.known.borrow_mut().insert(start, read.clone());
        read
    }

    fn literal(&self, start: usize) -> Option<Expr> {
        let (kind, end) = (self.word(start, "true").map(|end| (ExprKind::Bool(true), end)))
            .or_else(|| self.word(start, "false").map(|end| (ExprKind::Bool(false), end)))
            .or_else(|| self.number(start).map(|(number, end)| (ExprKind::Number(number), end)))
            .or_else(|| self.word(start, "none").map(|end| (ExprKind::None, end)))
            .or_else(|| self.text(start).map(|(text, end)| (ExprKind::Text(text), end)))
            .or_else(|| self.word(start, "inf").map(|end| (ExprKind::Number(Number::Float(f64::INFINITY)), end)))?;
        Some(self.node(kind, start, end, 1))
    }

    /// A word in any case that does not go on as a name would.
    fn word(&self, start: usize, word: &str) -> Option<usize> {
        let (found, rest) = self.source[start..].split_at_checked(word.len())?;
        let goes_on = rest.starts_with(|next: char| next.is_ascii_alphanumeric() || matches!(next, '_' | '$'));
        (found.eq_ignore_ascii_case(word) && !goes_on).then_some(start + word.len())
    }

    /// A number that stands alone between commas.
    fn number(&self, start: usize) -> Option<(Number, usize)> {
        let whole = self.digits(start)?;
        let fraction = self.byte(whole, b'.').and_then(|at| self.unsigned_digits(at));
        let exponent = (self.byte(fraction.unwrap_or(whole), b'e'))
            .or_else(|| self.byte(fraction.unwrap_or(whole), b'E'))
            .and_then(|at| self.digits(at));
        let end = [exponent, fraction, Some(whole)].into_iter().flatten().find(|end| self.is_end_of_argument(*end))?;
        let digits = &self.source[start..end];
        let whole = digits.parse().ok().map(Number::Int);
        Some((whole.or_else(|| digits.parse().ok().map(Number::Float))?, end))
    }

    fn digits(&self, at: usize) -> Option<usize> {
        self.unsigned_digits(self.byte(at, b'-').unwrap_or(at))
    }

    fn unsigned_digits(&self, at: usize) -> Option<usize> {
        let count = self.source[at..].bytes().take_while(u8::is_ascii_digit).count();
        (count > 0).then_some(at + count)
    }

    fn is_end_of_argument(&self, at: usize) -> bool {
        let rest = &self.source[self.skip_space(at)..];
        rest.is_empty() || rest.starts_with([',', ')'])
    }

    /// A quoted text, as it stands between the quotes: two quotes, and what a backslash stands before, belong to it.
    fn text(&self, start: usize) -> Option<(String, usize)> {
        let quote = self.source[start..].chars().next().filter(|first| matches!(first, '"' | '\''))?;
        let mut end = start + 1;
        while let Some(character) = self.source[end..].chars().next() {
            let follows = self.source[end + character.len_utf8()..].chars().next();
            let is_pair = character == quote && follows == Some(quote);
            end += match (character, follows) {
                ('\\', Some('x')) => 2 + self.hex_digits(end + 2)?,
                ('\\', Some(escaped)) => 1 + escaped.len_utf8(),
                ('\\', None) | ('\n' | '\r', _) => return None,
                _ if is_pair => 2,
                _ if character == quote => return Some((self.source[start + 1..end].to_owned(), end + 1)),
                _ => character.len_utf8(),
            };
        }
        None
    }

    fn hex_digits(&self, at: usize) -> Option<usize> {
        let count = self.source[at..].bytes().take_while(u8::is_ascii_hexdigit).count();
        (count > 0).then_some(count)
    }

    fn path(&self, at: usize) -> Option<Expr> {
        let start = self.skip_space(at);
        let mut path = String::new();
        let mut end = self.element(start, &mut path)?;
        while let Some(next) = self.byte(end, b'.') {
            let mut element = String::from(".");
            let Some(after) = self.element(next, &mut element) else { break };
            path.push_str(&element);
            end = after;
        }
        Some(self.node(ExprKind::Path(path), start, end, 1))
    }

    /// What stands between the dots of a path.
    fn element(&self, at: usize, path: &mut String) -> Option<usize> {
        let mut end = at;
        while let Some(after) = self.characters(end, path).or_else(|| self.choice(end, path)) {
            end = after;
        }
        (end > at).then_some(end)
    }

    /// `{one,or,the,other}`.
    fn choice(&self, at: usize, path: &mut String) -> Option<usize> {
        let mut choice = String::from("{");
        let mut end = self.characters(self.byte(at, b'{')?, &mut choice)?;
        while let Some(next) = self.byte(end, b',') {
            choice.push(',');
            end = self.characters(next, &mut choice)?;
        }
        choice.push('}');
        let end = self.byte(end, b'}')?;
        path.push_str(&choice);
        Some(end)
    }

    /// A run of a path's characters.
    fn characters(&self, at: usize, path: &mut String) -> Option<usize> {
        let mut end = at;
        let mut characters = self.source[at..].chars().peekable();
        while let Some(character) = characters.next() {
            let escaped = characters.peek().copied().filter(|next| SYMBOLS.contains(*next) || *next == '=');
            if let (b'!'..=b'~', false) = (u8::try_from(character).unwrap_or(0), SYMBOLS.contains(character)) {
                path.push(character);
                end += 1;
            } else if let ('\\', Some(escaped)) = (character, escaped) {
                characters.next();
                path.push(escaped);
                end += 2;
            } else {
                break;
            }
        }
        (end > at).then_some(end)
    }

    fn identifier(&self, start: usize) -> Option<&str> {
        let rest = &self.source[start..];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let name = &rest[..rest.bytes().take_while(is_part).count()];
        name.starts_with(|first: char| !first.is_ascii_digit()).then_some(name)
    }

    /// Where what comes after a symbol begins, when the symbol comes next, perhaps after spaces.
    fn symbol(&self, symbol: char, at: usize) -> Option<usize> {
        let at = self.skip_space(at);
        self.source[at..].starts_with(symbol).then_some(at + symbol.len_utf8())
    }

    fn byte(&self, at: usize, byte: u8) -> Option<usize> {
        (self.source.as_bytes().get(at) == Some(&byte)).then_some(at + 1)
    }

    fn skip_space(&self, at: usize) -> usize {
        at + self.source[at..].bytes().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
    }

    fn node(&self, kind: ExprKind, start: usize, end: usize, depth: usize) -> Expr {
        Expr { kind, source: Arc::clone(&self.source), start, end, depth, is_piped: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::picture;
    use proptest::prelude::*;

    /// What graphite-web 1.1.10 reads.
    #[test]
    fn a_target_reads_as_graphite_web_reads_it() {
        for (text, expected) in [
            (" a.*.{b,c}[0-9]? ", "a.*.{b,c}[0-9]?"),
            ("f( a.b , 10 )", "f(a.b #10)"),
            ("f (a,-1,1.5,1e3,-2.5E-2,007)", "f(a #-1 #1.5 #1000.0 #-0.025 #7)"),
            ("f(a,True,false,NONE,inf)", "f(a #true #false #None #inf)"),
            ("f(a,+4,-.5,1e+3,-inf,-,1e3x)", "f(a +4 -.5 1e+3 -inf - 1e3x)"),
            ("f(a,func=\"sum\", n = 3)", "f(a func=<sum> n=#3)"),
            ("f(a;b=c,a=1)", "f(a;b=c a=#1)"),
            ("f(a,x=g(b,c=1),y=2)", "f(a x=g(b c=#1) y=#2)"),
            ("a.*|f(1) | g()", "g(f(a.* #1))"),
            ("h(a | f('x'), b|g())", "h(f(a <x>) g(b))"),
            ("f(10min.cpu,1.2.3,2e,information)", "f(10min.cpu 1.2.3 2e information)"),
            ("f(a\\,b,c\\(d\\),e\\=f)", "f(a,b c(d) e=f)"),
            ("f('a''b',\"\",'','\\\\','\"','it\\'s','\\x41')", "f(<a''b> <> <> <\\\\> <\"> <it\\'s> <\\x41>)"),
            ("{a,b}{c,d}x.{e}", "{a,b}{c,d}x.{e}"),
            ("123", "123"),
            ("true", "true"),
        ] {
            assert_eq!(picture(&read(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn what_follows_a_target_is_ignored() {
        for (text, expected) in [
            ("f(a))", "f(a)"),
            ("f(a)b(c)", "f(a)"),
            ("a b|f()", "a"),
            ("a|b|f()", "a"),
            ("f(a)|g(|h())", "f(a)"),
            ("a..b", "a"),
            ("x{}y", "x"),
        ] {
            assert_eq!(picture(&read(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn a_call_that_cannot_be_read_is_a_path() {
        for text in [
            "f(a",
            "f(a b)",
            "f(g(a,b)",
            "f(a,)",
            "f(,a)",
            "f(a,,b)",
            "f(a.)",
            "f(none.x)",
            "f(a,.5)",
            "f(g(a,.5),1)",
            "f({d,{e,f}})",
            "f({a.b,c})",
            "f(a,'b'')",
            "f(a,'\\xz')",
            "f(x=1)",
            "f(x=1,b)",
            "f(a,x=1,b)",
            "f('a'|g())",
            "f(a|b)",
            "f(\u{65e5})",
        ] {
            assert_eq!(picture(&read(text).unwrap()), "f", "{text}");
        }
        for (text, message) in [
            ("", "at character 1: found the end, expected a path or a function"),
            (" 'a'", "at character 2: found '\\'', expected a path or a function"),
            ("{a.b,c}", "at character 1: found '{', expected a path or a function"),
        ] {
            assert_eq!(read(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}a{}", "f(".repeat(depth), ")".repeat(depth));
        let keywords = |depth: usize| format!("{}a{}", "f(a,x=".repeat(depth), ")".repeat(depth));
        assert!(read(&nested(MAX_DEPTH)).is_ok() && read(&keywords(MAX_DEPTH)).is_ok());
        for text in [nested(MAX_DEPTH + 1), keywords(MAX_DEPTH + 1), format!("a{}", "|f()".repeat(MAX_DEPTH + 1))] {
            assert!(matches!(read(&text), Err(ParseError::TooDeep { .. })), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = read(&text);
        }

        #[test]
        fn nothing_like_a_target_panics(text in "[a-c.*{},()|'\"\\\\ =0-9eE+-]{0,60}") {
            let _ = read(&text);
        }
    }
}
