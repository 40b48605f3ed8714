//! From a target's text to an [`Expr`].
//!
//! The grammar is Graphite's, read more strictly than graphite-web does (see `grammar`): paths with globs, calls with
//! positional and then keyword arguments, quoted texts, numbers, `true`, `false`, `None`, `inf`, and pipes, `a|f(x)` being
//! `f(a,x)`. A word is read up to a delimiter and only then told apart, so that `10min.cpu` and `none.x` are paths. Length
//! and depth are bounded, so that nothing later has to fear its own recursion.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::context::Compat;
use crate::error::ParseError;
use crate::expr::{CallExpr, Expr, ExprKind, Number};
use crate::grammar;
use crate::template;

/// The longest target, in bytes.
pub const MAX_TARGET_BYTES: usize = 64 * 1024;
/// The deepest nesting of calls.
pub const MAX_DEPTH: usize = 64;

pub(crate) const AN_EXPRESSION: &str = "a path or a function";
const AN_ARGUMENT: &str = "an argument: a path, a function, a number, a quoted text, true, false or None";

/// How a target is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What parameters of `template(…)` stand for, as the request says: `template[name]=value`.
    pub parameters: BTreeMap<String, String>,
    /// Whose reading is wanted: graphite-web ignores what it cannot read, and has quoted texts keep the backslashes before
    /// their quotes.
    pub compat: Compat,
}

/// Reads a target whose request says nothing of templates.
///
/// # Errors
/// When the text is not one; see [`ParseError`].
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    parse_with(text, &Reading::default())
}

/// Reads a target, with values in the place of the parameters of its templates.
///
/// # Errors
/// When the text is not one; see [`ParseError`].
pub fn parse_with(text: &str, reading: &Reading) -> Result<Expr, ParseError> {
    if text.len() > MAX_TARGET_BYTES {
        return Err(ParseError::TooLong(text.len()));
    }
    let expr = match reading.compat {
        Compat::Statline => read(text)?,
        Compat::GraphiteWeb => grammar::read(text)?,
    };
    template::expand(expr, reading)
}

fn read(text: &str) -> Result<Expr, ParseError> {
    let mut parser = Parser { source: text.into(), position: 0, depth: 0 };
    let expr = parser.expression()?;
    parser.skip_space();
    if parser.position < parser.source.len() {
        return Err(parser.unexpected("the end of the target, or '|' and a function"));
    }
    Ok(expr)
}

struct Parser {
    source: Arc<str>,
    position: usize,
    depth: usize,
}

impl Parser {
    /// A path or a call, and the calls it is piped into.
    fn expression(&mut self) -> Result<Expr, ParseError> {
        self.skip_space();
        let start = self.position;
        if matches!(self.peek(), Some('"' | '\'')) {
            return Err(self.unexpected(AN_EXPRESSION));
        }
        let word = self.word(AN_EXPRESSION)?;
        let first = if self.at_call() {
            self.call(word, start, Vec::new())?
        } else {
            self.node(ExprKind::Path(word), start, 1)?
        };
        self.pipes(first)
    }

    fn pipes(&mut self, mut piped: Expr) -> Result<Expr, ParseError> {
        loop {
            let before_space = self.position;
            self.skip_space();
            if self.peek() != Some('|') {
                self.position = before_space;
                return Ok(piped);
            }
            self.position += 1;
            self.skip_space();
            let start = self.position;
            let word = self.word("a function to pipe into")?;
            if !self.at_call() {
                return Err(self.unexpected("'(' after the function piped into"));
            }
            piped = self.call(word, start, vec![piped])?;
            piped.is_piped = true;
        }
    }

    /// Everything from a function's `(` on; its name was just read.
    fn call(&mut self, name: String, start: usize, piped: Vec<Expr>) -> Result<Expr, ParseError> {
        if !is_identifier(&name) {
            self.position = start;
            return Err(self.unexpected("a function's name before '(': letters, digits and '_'"));
        }
        self.skip_space();
        let opened = self.position;
        self.position += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.too_deep(start));
        }
        let mut call = CallExpr { name, arguments: piped, keywords: Vec::new() };
        self.skip_space();
        if self.peek() != Some(')') {
            self.arguments(&mut call, opened)?;
        }
        self.position += 1;
        self.depth -= 1;
        let below = call.arguments.iter().chain(call.keywords.iter().map(|(_, value)| value));
        let depth = 1 + below.map(|argument| argument.depth).max().unwrap_or(0);
        self.node(ExprKind::Call(call), start, depth)
    }

    /// One argument or more, up to the `)`, which is left to be read.
    fn arguments(&mut self, call: &mut CallExpr, opened: usize) -> Result<(), ParseError> {
        loop {
            self.skip_space();
            if let Some(keyword) = self.keyword() {
                let value = self.argument()?;
                call.keywords.push((keyword, value));
            } else if call.keywords.is_empty() {
                call.arguments.push(self.argument()?);
            } else {
                return Err(self.unexpected("another keyword argument, since keywords come last"));
            }
            self.skip_space();
            match self.peek() {
                Some(',') => self.position += 1,
                Some(')') => return Ok(()),
                None => return Err(self.unclosed(opened, "parenthesis")),
                Some(_) => return Err(self.unexpected("',' or ')'")),
            }
        }
    }

    /// A `name=` before an argument, if one stands here.
    fn keyword(&mut self) -> Option<String> {
        let rest = &self.source[self.position..];
        let length = rest.find(|character: char| !is_identifier_character(character))?;
        let name = rest[..length].to_owned();
        let after = rest[length..].trim_start();
        if !after.starts_with('=') || !is_identifier(&name) {
            return None;
        }
        self.position += rest.len() - after.len() + 1;
        Some(name)
    }

    fn argument(&mut self) -> Result<Expr, ParseError> {
        self.skip_space();
        let start = self.position;
        if let Some(quote @ ('"' | '\'')) = self.peek() {
            let text = self.quoted(quote)?;
            return self.node(ExprKind::Text(text), start, 1);
        }
        let word = self.word(AN_ARGUMENT)?;
        if self.at_call() {
            let call = self.call(word, start, Vec::new())?;
            return self.pipes(call);
        }
        match literal(&self.source[start..self.position]) {
            Some(kind) => self.node(kind, start, 1),
            None => {
                let path = self.node(ExprKind::Path(word), start, 1)?;
                self.pipes(path)
            }
        }
    }

    /// A quoted text. A backslash before the quote, or a second quote, stands for the quote; a backslash before anything else
    /// is kept, for regexes.
    fn quoted(&mut self, quote: char) -> Result<String, ParseError> {
        let opened = self.position;
        self.position += 1;
        let mut text = String::new();
        while let Some(character) = self.peek() {
            self.position += character.len_utf8();
            let follows = self.peek();
            let is_escape = match character {
                '\\' if follows.is_none() => break,
                '\\' => true,
                _ if character != quote => false,
                _ if follows == Some(quote) => true,
                _ => return Ok(text),
            };
            let stands_for_quote = is_escape && follows == Some(quote);
            if !stands_for_quote {
                text.push(character);
            }
            if let Some(escaped) = follows.filter(|_| is_escape) {
                self.position += escaped.len_utf8();
                text.push(escaped);
            }
        }
        Err(self.unclosed(opened, "quote"))
    }

    /// A run of a path's characters, with its backslashes resolved. Commas belong to it inside braces only.
    fn word(&mut self, expected: &'static str) -> Result<String, ParseError> {
        let mut word = String::new();
        let mut braces: Vec<usize> = Vec::new();
        while let Some(character) = self.peek() {
            match character {
                '(' | ')' | '|' | '"' | '\'' => break,
                ',' if braces.is_empty() => break,
                _ if character.is_whitespace() => break,
                '{' => braces.push(self.position),
                '}' if braces.pop().is_none() => return Err(self.unexpected(expected)),
                '\\' => {
                    self.position += 1;
                    let Some(escaped) = self.peek() else {
                        return Err(self.unexpected("a character after '\\'"));
                    };
                    self.position += escaped.len_utf8();
                    word.push(escaped);
                    continue;
                }
                _ => {}
            }
            self.position += character.len_utf8();
            word.push(character);
        }
        if let Some(opened) = braces.first() {
            return Err(self.unclosed(*opened, "brace"));
        }
        if word.is_empty() {
            return Err(self.unexpected(expected));
        }
        Ok(word)
    }

    /// Whether a `(` comes next, perhaps after spaces.
    fn at_call(&self) -> bool {
        self.source[self.position..].trim_start().starts_with('(')
    }

    fn node(&self, kind: ExprKind, start: usize, depth: usize) -> Result<Expr, ParseError> {
        if depth > MAX_DEPTH + 1 {
            return Err(self.too_deep(start));
        }
        Ok(Expr { kind, source: Arc::clone(&self.source), start, end: self.position, depth, is_piped: false })
    }

    fn peek(&self) -> Option<char> {
        self.source[self.position..].chars().next()
    }

    fn skip_space(&mut self) {
        let rest = &self.source[self.position..];
        self.position += rest.len() - rest.trim_start().len();
    }

    fn column(&self, position: usize) -> usize {
        self.source[..position].chars().count() + 1
    }

    fn unexpected(&self, expected: &'static str) -> ParseError {
        let found = self.peek().map_or_else(|| "the end".to_owned(), |character| format!("{character:?}"));
        ParseError::Unexpected { position: self.position, column: self.column(self.position), found, expected }
    }

    fn unclosed(&self, position: usize, what: &'static str) -> ParseError {
        ParseError::Unclosed { position, column: self.column(position), what }
    }

    fn too_deep(&self, position: usize) -> ParseError {
        ParseError::TooDeep { position, column: self.column(position) }
    }
}

const fn is_identifier_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn is_identifier(text: &str) -> bool {
    text.chars().all(is_identifier_character)
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
}

/// What a word means when it is not a path.
fn literal(word: &str) -> Option<ExprKind> {
    match word.to_ascii_lowercase().as_str() {
        "true" => return Some(ExprKind::Bool(true)),
        "false" => return Some(ExprKind::Bool(false)),
        "none" => return Some(ExprKind::None),
        "inf" => return Some(ExprKind::Number(Number::Float(f64::INFINITY))),
        _ => {}
    }
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    if !digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        || !word.chars().all(|character| matches!(character, '0'..='9' | '.' | 'e' | 'E' | '-' | '+'))
    {
        return None;
    }
    if let Ok(int) = word.parse() {
        return Some(ExprKind::Number(Number::Int(int)));
    }
    // An exponent that leaves the doubles makes no number anyone meant.
    word.parse().ok().filter(|float: &f64| float.is_finite()).map(|float| ExprKind::Number(Number::Float(float)))
}

/// A compact picture of a tree, for tests.
#[cfg(test)]
pub(crate) fn picture(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Path(path) => path.clone(),
        ExprKind::Number(number) => format!("#{number}"),
        ExprKind::Text(text) => format!("<{text}>"),
        ExprKind::Bool(flag) => format!("#{flag}"),
        ExprKind::None => "#None".to_owned(),
        ExprKind::Call(call) => {
            let keywords = call.keywords.iter().map(|(name, value)| format!("{name}={}", picture(value)));
            let all: Vec<_> = call.arguments.iter().map(picture).chain(keywords).collect();
            format!("{}({})", call.name, all.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_target_reads_as_graphite_reads_it() {
        for (text, expected) in [
            ("a.b.c", "a.b.c"),
            (" a.*.{b,c}[0-9]? ", "a.*.{b,c}[0-9]?"),
            ("f()", "f()"),
            ("f( a.b , 10 )", "f(a.b #10)"),
            ("f (a)", "f(a)"),
            ("f(a,-1,1.5,1e3,-2.5E-2,+4)", "f(a #-1 #1.5 #1000.0 #-0.025 #4)"),
            ("f(a,True,false,None,none,inf)", "f(a #true #false #None #None #inf)"),
            ("f(a,\"x, (y)\",'it\\'s \\1 \\d')", "f(a <x, (y)> <it's \\1 \\d>)"),
            ("f(a,func=\"sum\", n = 3)", "f(a func=<sum> n=#3)"),
            ("f(a;b=c,a=1)", "f(a;b=c a=#1)"),
            ("a.*|f(1)|g()", "g(f(a.* #1))"),
            ("h(a | f('x'), b|g())", "h(f(a <x>) g(b))"),
            ("f(x)|g(2)", "g(f(x) #2)"),
            ("f(10min.cpu,none.x,1.2.3,2e)", "f(10min.cpu none.x 1.2.3 2e)"),
            ("f(a\\,b,c\\(d\\))", "f(a,b c(d))"),
            ("f({a,b}.c,{d,{e,f}})", "f({a,b}.c {d,{e,f}})"),
            ("123", "123"),
            ("f(a.b:c-d%e@f#g$h&i~j^k+l=m!n)", "f(a.b:c-d%e@f#g$h&i~j^k+l=m!n)"),
            ("f('a''b',\"\",'','\\\\','\"')", "f(<a'b> <> <> <\\\\> <\">)"),
            ("f(a,.5,-.5,1e-3,0.0,-0,007)", "f(a #0.5 #-0.5 #0.001 #0.0 #0 #7)"),
            ("f(a,NONE,TRUE,False,Inf,-inf)", "f(a #None #true #false #inf -inf)"),
            ("f(日本.x,\"é\")", "f(日本.x <é>)"),
        ] {
            assert_eq!(picture(&parse(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn an_error_says_where_what_and_what_instead() {
        for (text, message) in [
            ("", "at character 1: found the end, expected a path or a function"),
            ("\"a\"", "at character 1: found '\"', expected a path or a function"),
            ("f(a", "the parenthesis opened at character 2 is never closed"),
            ("f(a,'b''", "the quote opened at character 5 is never closed"),
            ("f(a,'b\\", "the quote opened at character 5 is never closed"),
            ("f(a,\"b)", "the quote opened at character 5 is never closed"),
            ("f({a,b)", "the brace opened at character 3 is never closed"),
            (
                "f(a,,b)",
                "at character 5: found ',', expected an argument: a path, a function, a number, a quoted text, true, false or None",
            ),
            ("f(a b)", "at character 5: found 'b', expected ',' or ')'"),
            ("f(a))", "at character 5: found ')', expected the end of the target, or '|' and a function"),
            ("a b", "at character 3: found 'b', expected the end of the target, or '|' and a function"),
            ("a|b", "at character 4: found the end, expected '(' after the function piped into"),
            ("é.x|", "at character 5: found the end, expected a function to pipe into"),
            ("a.b(c)", "at character 1: found 'a', expected a function's name before '(': letters, digits and '_'"),
            ("f(x=1,b)", "at character 7: found 'b', expected another keyword argument, since keywords come last"),
            ("a}", "at character 2: found '}', expected a path or a function"),
            ("a\\", "at character 3: found the end, expected a character after '\\'"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn length_and_depth_are_bounded() {
        let deepest = format!("{}a{}", "f(".repeat(MAX_DEPTH), ")".repeat(MAX_DEPTH));
        assert!(parse(&deepest).is_ok());
        for text in [
            format!("{}a{}", "f(".repeat(MAX_DEPTH + 1), ")".repeat(MAX_DEPTH + 1)),
            format!("a{}", "|f()".repeat(MAX_DEPTH + 1)),
            "f(".repeat(MAX_TARGET_BYTES / 2),
        ] {
            assert!(matches!(parse(&text), Err(ParseError::TooDeep { .. })));
        }
        assert_eq!(parse(&"a".repeat(MAX_TARGET_BYTES + 1)), Err(ParseError::TooLong(MAX_TARGET_BYTES + 1)));
    }

    #[test]
    fn a_node_knows_its_text() {
        let target = parse("sum( seriesByTag('a=b') , x )").unwrap();
        let ExprKind::Call(call) = target.kind() else { panic!("a call") };
        assert_eq!(call.arguments[0].source(), "seriesByTag('a=b')");
        assert_eq!(call.arguments[1].column(), 27);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn nothing_like_a_target_panics(text in "[a-c.*{},()|'\"\\\\ =0-9eE+-]{0,60}") {
            let _ = parse(&text);
        }
    }
}
