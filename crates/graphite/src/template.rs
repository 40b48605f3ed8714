//! `template(expression, values…)`: an expression with `$1`, `$name` and the like in its paths, and what they stand for.
//!
//! Values stand in the call, by position from 1 or by name, and in the request (`template[name]=value`), which has the last
//! word. A path that is nothing but a parameter becomes its value: a number or a text, and a path where series are
//! expected; elsewhere the value becomes part of the path. Texts in quotes stay as they are, as in graphite-web. This is
//! done as soon as a target is read, so that nothing later knows of templates.

use crate::arguments::ParamType;
use crate::context::Compat;
use crate::error::ParseError;
use crate::expr::{CallExpr, Expr, ExprKind, Number};
use crate::parse::{MAX_TARGET_BYTES, Reading};
use crate::registry;

const NAME: &str = "template";
/// The most values that a template may have, those of the request included.
const MOST_VALUES: usize = 100;

/// Puts values in the place of all parameters of all templates.
pub(crate) fn expand(expr: Expr, reading: &Reading) -> Result<Expr, ParseError> {
    let mut expansion = Expansion { reading, written: 0 };
    expansion.outside(expr)
}

/// What a parameter stands for.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Number(Number),
    Text(String),
}

impl Value {
    fn of(literal: &Expr) -> Option<Self> {
        match &literal.kind {
            ExprKind::Number(number) => Some(Self::Number(*number)),
            ExprKind::Text(text) => Some(Self::Text(text.clone())),
            _ => None,
        }
    }

    /// It as part of a path.
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }

    /// It as a whole argument.
    fn alone(&self, wants_series: bool, compat: Compat) -> ExprKind {
        match self {
            Self::Number(number) => ExprKind::Number(*number),
            Self::Text(text) => match number(text, compat) {
                Some(number) => ExprKind::Number(number),
                None if wants_series => ExprKind::Path(text.clone()),
                None => ExprKind::Text(text.clone()),
            },
        }
    }
}

/// The number that a text of digits, dots and perhaps a minus is; graphite-web has no whole ones here.
fn number(text: &str, compat: Compat) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let whole = text.parse().ok().filter(|_| compat == Compat::Statline).map(Number::Int);
    whole.or_else(|| text.parse().ok().map(Number::Float))
}

/// The parameters of a template as they stand in paths, `$name`, in the order in which they are looked for.
type Values = Vec<(String, Value)>;

struct Expansion<'r> {
    reading: &'r Reading,
    /// How many bytes paths have become longer.
    written: usize,
}

impl Expansion<'_> {
    /// An expression that is in no template.
    fn outside(&mut self, expr: Expr) -> Result<Expr, ParseError> {
        self.walk(expr, &[], true)
    }

    /// An expression in a template with these values.
    fn walk(&mut self, mut expr: Expr, values: &[(String, Value)], wants_series: bool) -> Result<Expr, ParseError> {
        expr.kind = match expr.kind {
            ExprKind::Call(call) if call.name == NAME => return self.template(expr.start, &expr.source, call),
            ExprKind::Call(call) => ExprKind::Call(self.call(call, values)?),
            ExprKind::Path(path) => self.path(path, values, wants_series)?,
            literal => literal,
        };
        Ok(expr)
    }

    fn call(&mut self, mut call: CallExpr, values: &[(String, Value)]) -> Result<CallExpr, ParseError> {
        let params = registry::find(&call.name).map_or(&[][..], |function| function.params);
        let takes_series = |param: Option<&crate::arguments::Param>| {
            param.is_none_or(|param| matches!(param.kind, ParamType::SeriesList | ParamType::Any))
        };
        let mut arguments = Vec::with_capacity(call.arguments.len());
        for (index, argument) in call.arguments.into_iter().enumerate() {
            let wants_series = takes_series(params.get(index).or(params.last()));
            arguments.push(self.walk(argument, values, wants_series)?);
        }
        call.arguments = arguments;
        let mut keywords = Vec::with_capacity(call.keywords.len());
        for (keyword, argument) in call.keywords {
            let wants_series = takes_series(params.iter().find(|param| param.name == keyword));
            keywords.push((keyword, self.walk(argument, values, wants_series)?));
        }
        call.keywords = keywords;
        Ok(call)
    }

    /// What a template stands for. It knows the values of its own and of the request, and not those of one around it.
    fn template(&mut self, start: usize, source: &str, call: CallExpr) -> Result<Expr, ParseError> {
        let wrong = |position: usize, reason: String| {
            let column = source[..position].chars().count() + 1;
            ParseError::Template { position, column, reason }
        };
        let mut arguments = call.arguments.into_iter();
        let inner = arguments.next().filter(|inner| matches!(inner.kind, ExprKind::Path(_) | ExprKind::Call(_)));
        let Some(inner) = inner else {
            return Err(wrong(
                start,
                "it takes a path or a function, and then the values of its parameters".to_owned(),
            ));
        };
        let positional = arguments.enumerate().map(|(index, literal)| ((index + 1).to_string(), literal));
        let mut values = Values::new();
        for (name, literal) in call.keywords.into_iter().chain(positional) {
            let Some(value) = Value::of(&literal) else {
                let reason = format!("values are numbers and quoted texts, got {}", literal.describe());
                return Err(wrong(literal.start, reason));
            };
            set(&mut values, &name, value);
        }
        for (name, text) in &self.reading.parameters {
            set(&mut values, name, Value::Text(text.clone()));
        }
        if values.len() > MOST_VALUES {
            let got = values.len();
            return Err(wrong(start, format!("it has at most {MOST_VALUES} values, got {got}")));
        }
        if self.reading.compat == Compat::Statline {
            // So that `$host` takes nothing away from `$hostname`.
            values.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        }
        self.walk(inner, &values, true)
    }

    fn path(&mut self, path: String, values: &[(String, Value)], wants_series: bool) -> Result<ExprKind, ParseError> {
        if !path.contains('$') {
            return Ok(ExprKind::Path(path));
        }
        let mut path = path;
        for (parameter, value) in values {
            if path == *parameter {
                return Ok(value.alone(wants_series, self.reading.compat));
            }
            if path.contains(parameter) {
                path = path.replace(parameter, &value.text());
                self.written += path.len();
                if self.written > MAX_TARGET_BYTES {
                    return Err(ParseError::TooLong(self.written));
                }
            }
        }
        Ok(ExprKind::Path(path))
    }
}

fn set(values: &mut Values, name: &str, value: Value) {
    let parameter = format!("${name}");
    match values.iter_mut().find(|(known, _)| *known == parameter) {
        Some((_, known)) => *known = value,
        None => values.push((parameter, value)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::parse::{parse_with, picture};

    fn read(text: &str, request: &[(&str, &str)], compat: Compat) -> String {
        let parameters: BTreeMap<String, String> =
            request.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        match parse_with(text, &Reading { parameters, compat }) {
            Ok(expr) => picture(&expr),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn values_take_the_place_of_parameters() {
        for (text, expected) in [
            ("template(hosts.$host.cpu,host='web1')", "hosts.web1.cpu"),
            ("template(hosts.$1.$2,'web1','cpu')", "hosts.web1.cpu"),
            ("template(a.$1.$2, 5, 1.5)", "a.5.1.5"),
            ("template(scale(a.$x,$by),x='b',by=2)", "scale(a.b #2)"),
            ("template(scale(a.$x,$by),x='b',by='2.5')", "scale(a.b #2.5)"),
            ("template(scale($x,2),x='a.{b,c}')", "scale(a.{b,c} #2)"),
            ("template($x,x='a.*')", "a.*"),
            ("template(alias(a,$n),n='the name')", "alias(a <the name>)"),
            ("template(alias(a,newName=$n),n='$1')", "alias(a newName=<$1>)"),
            ("template(a.$x|scale($n),x='b',n=3)", "scale(a.b #3)"),
            ("template(a.$x,x='b')|scale(2)|alias('$x')", "alias(scale(a.b #2) <$x>)"),
            ("sum(template(a.$x,x='b'),c.$x)", "sum(a.b c.$x)"),
            ("template(sum(a.$x,template(b.$x.$y,x='2')),x='1',y='3')", "sum(a.1 b.2.$y)"),
            ("template(a.$host.$hostname,host='x',hostname='y')", "a.x.y"),
            ("template(grep(a.$x,'$x'),x='b')", "grep(a.b <$x>)"),
            ("template(a.$missing)", "a.$missing"),
            ("a.$x", "a.$x"),
        ] {
            assert_eq!(read(text, &[], Compat::Statline), expected, "{text}");
        }
    }

    #[test]
    fn the_request_has_the_last_word() {
        for (text, expected) in [
            ("template(a.$x.$y,x='b')", "a.c.d"),
            ("template(movingAverage(a,$n),n=5)", "movingAverage(a #10)"),
            ("a.$x", "a.$x"),
        ] {
            assert_eq!(read(text, &[("x", "c"), ("y", "d"), ("n", "10")], Compat::Statline), expected, "{text}");
        }
        let as_graphite_web = |text| read(text, &[("n", "10")], Compat::GraphiteWeb);
        assert_eq!(as_graphite_web("template(scale(a,$n))"), "scale(a #10.0)");
        assert_eq!(as_graphite_web("template(a.$host.$hostname,host='x',hostname='y')"), "a.x.xname");
    }

    #[test]
    fn what_is_no_template_is_told() {
        for (text, message) in [
            (
                "template()",
                "at character 1: template: it takes a path or a function, and then the values of its parameters",
            ),
            (
                "f(template('x'))",
                "at character 3: template: it takes a path or a function, and then the values of its parameters",
            ),
            ("template(a.$x,b.c)", "at character 15: template: values are numbers and quoted texts, got the path b.c"),
            ("template(a.$x,x=true)", "at character 17: template: values are numbers and quoted texts, got true"),
        ] {
            assert_eq!(read(text, &[], Compat::Statline), message);
        }
        let many = format!("template(a{})", ",1".repeat(101));
        assert_eq!(read(&many, &[], Compat::Statline), "at character 1: template: it has at most 100 values, got 101");
        let long = "x".repeat(10_000);
        let text = format!("template({}{{$x}},x='{long}')", "$x".repeat(10));
        assert_eq!(read(&text, &[], Compat::Statline), "a target is at most 65536 bytes, got 110002");
    }
}
