//! Parameters as functions declare them, and arguments as calls give them.
//!
//! A call's expressions are bound to a function's parameters before anything is evaluated, so that a wrong argument is an
//! error of the expression whatever the data. Binding is as lenient as meaning allows: a number in quotes is a number, `1`
//! is true.

use serde::{Serialize, Serializer};
use statline_series::Consolidation;

use crate::error::EvalError;
use crate::expr::{CallExpr, Expr, ExprKind, Number};
use crate::registry::{self, Function};
use crate::series::Series;
use crate::time;

/// What a parameter takes, by the names of Graphite's `/functions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ParamType {
    AggFunc,
    AggOrSeriesFunc,
    /// A text, or a flag that means nothing any more.
    #[serde(rename = "string")]
    Alignment,
    Any,
    Boolean,
    Date,
    Float,
    IntOrInf,
    IntOrInterval,
    Integer,
    Interval,
    Node,
    NodeOrTag,
    /// `IntOrInterval` of either sign.
    #[serde(rename = "intOrInterval")]
    PointsOrInterval,
    SeriesList,
    SeriesLists,
    String,
    Tag,
}

impl ParamType {
    const fn takes_series(self) -> bool {
        matches!(self, Self::Any | Self::SeriesList | Self::SeriesLists)
    }

    /// What it takes, in words.
    const fn takes(self) -> &'static str {
        match self {
            Self::AggFunc => "how to aggregate, in quotes, such as \"sum\"",
            Self::AggOrSeriesFunc => "how to aggregate, in quotes, such as \"sum\" or \"sumSeries\"",
            Self::Alignment => "a quoted unit of time such as \"days\", or \"weeks7\" for weeks that begin on Sundays",
            Self::Any => "series or a number",
            Self::Boolean => "true or false",
            Self::Date => "a quoted time such as \"-1d\" or \"noon yesterday\", or an epoch in seconds",
            Self::Float => "a number",
            Self::IntOrInf => "a whole number or inf",
            Self::IntOrInterval => "a positive number of points or a quoted interval such as \"5min\"",
            Self::Integer | Self::Node => "a whole number",
            Self::Interval => "a quoted interval such as \"1h\"",
            Self::NodeOrTag => "the number of a node or the quoted name of a tag",
            Self::PointsOrInterval => "a number of points or a quoted interval such as \"1h\"",
            Self::SeriesList | Self::SeriesLists => "series: a path or a function",
            Self::String => "a quoted text",
            Self::Tag => "the quoted name of a tag",
        }
    }
}

/// A value written in a declaration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Literal {
    Bool(bool),
    Number(Number),
    Text(&'static str),
}

impl Serialize for Literal {
    /// Infinity is no JSON number, so it is written as the text that the grammar reads.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(Number::Int(int)) => serializer.serialize_i64(*int),
            Self::Number(Number::Float(float)) if float.is_finite() => serializer.serialize_f64(*float),
            Self::Number(Number::Float(_)) => serializer.serialize_str("inf"),
        }
    }
}

/// A parameter of a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Param {
    pub name: &'static str,
    pub kind: ParamType,
    pub required: bool,
    pub multiple: bool,
    pub default: Option<Literal>,
    pub options: &'static [&'static str],
    pub suggestions: &'static [Literal],
}

impl Param {
    /// A parameter that has to be given.
    pub(crate) const fn required(name: &'static str, kind: ParamType) -> Self {
        Self { name, kind, required: true, multiple: false, default: None, options: &[], suggestions: &[] }
    }

    /// A parameter that may be left out.
    pub(crate) const fn optional(name: &'static str, kind: ParamType) -> Self {
        Self { required: false, ..Self::required(name, kind) }
    }

    /// It takes all arguments that are left.
    pub(crate) const fn multiple(self) -> Self {
        Self { multiple: true, ..self }
    }

    /// What it is when left out.
    pub(crate) const fn or(self, default: Literal) -> Self {
        Self { default: Some(default), ..self }
    }

    /// The texts that it takes, and no others.
    pub(crate) const fn one_of(self, options: &'static [&'static str]) -> Self {
        Self { options, ..self }
    }

    /// What an editor may offer.
    pub(crate) const fn suggesting(self, suggestions: &'static [Literal]) -> Self {
        Self { suggestions, ..self }
    }

    fn takes(&self) -> String {
        if self.options.is_empty() {
            return self.kind.takes().to_owned();
        }
        format!("one of {}", self.options.join(", "))
    }
}

/// An argument that is no series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Bool(bool),
    Number(Number),
    Text(String),
}

impl Scalar {
    /// It as a whole number; beyond what fits, the nearest that does.
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, which is what is wanted")]
    pub(crate) fn integer(&self) -> Option<i64> {
        match self {
            Self::Number(Number::Int(int)) => Some(*int),
            Self::Number(Number::Float(float)) => Some(*float as i64),
            _ => None,
        }
    }
}

impl std::fmt::Display for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(flag) => f.write_str(if *flag { "True" } else { "False" }),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// What one parameter was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot<'e> {
    pub scalars: Vec<Scalar>,
    /// Expressions that yield series, to be evaluated over whatever range the function asks for.
    pub expressions: Vec<&'e Expr>,
    /// What they yielded, a list each.
    pub lists: Vec<Vec<Series>>,
}

/// What all parameters of a function were given, in their order.
#[derive(Clone, Debug)]
pub(crate) struct Arguments<'e> {
    pub slots: Vec<Slot<'e>>,
}

impl<'e> Arguments<'e> {
    /// Binds a call's expressions to a function's parameters.
    pub(crate) fn bind(function: &'static Function, call: &'e CallExpr) -> Result<Self, EvalError> {
        let params = function.params;
        let mut slots: Vec<Slot<'e>> = params.iter().map(|_| Slot::default()).collect();
        let mut given = vec![false; params.len()];
        for (place, argument) in call.arguments.iter().enumerate() {
            let last = params.len().saturating_sub(1);
            let index = if place <= last { place } else { last };
            if place > last && !params.last().is_some_and(|param| param.multiple) || params.is_empty() {
                let got = call.arguments.len() + call.keywords.len();
                return Err(EvalError::TooManyArguments { function: function.name, most: params.len(), got });
            }
            given[index] = true;
            bind_one(function, index, argument, &mut slots[index])?;
        }
        for (keyword, argument) in &call.keywords {
            let Some(index) = params.iter().position(|param| param.name == keyword) else {
                let known = params.iter().map(|param| param.name).collect::<Vec<_>>().join(", ");
                return Err(EvalError::UnknownKeyword { function: function.name, keyword: keyword.clone(), known });
            };
            if given[index] {
                return Err(EvalError::RepeatedArgument { function: function.name, parameter: params[index].name });
            }
            given[index] = true;
            bind_one(function, index, argument, &mut slots[index])?;
        }
        let mut arguments = Self { slots };
        arguments.fill_defaults(function)?;
        Ok(arguments)
    }

    /// Arguments of a function that is given lists of series and nothing else, as a callback is.
    pub(crate) fn of_lists(function: &'static Function, lists: Vec<Vec<Series>>) -> Result<Self, EvalError> {
        let params = function.params;
        let mut slots: Vec<Slot<'e>> = params.iter().map(|_| Slot::default()).collect();
        let last = params.len().saturating_sub(1);
        let got = lists.len();
        for (place, list) in lists.into_iter().enumerate() {
            let takes_more = place <= last || params.last().is_some_and(|param| param.multiple);
            let Some(slot) = slots.get_mut(place.min(last)).filter(|_| takes_more) else {
                return Err(EvalError::TooManyArguments { function: function.name, most: params.len(), got });
            };
            let param = &params[place.min(last)];
            if !param.kind.takes_series() {
                let (takes, parameter) = (param.takes(), param.name);
                let reason = format!("parameter {} ({parameter}) takes {takes}, got series", place + 1);
                return Err(EvalError::Unusable { function: function.name, reason });
            }
            slot.lists.push(list);
        }
        let mut arguments = Self { slots };
        arguments.fill_defaults(function)?;
        Ok(arguments)
    }

    fn fill_defaults(&mut self, function: &'static Function) -> Result<(), EvalError> {
        for (index, (param, slot)) in function.params.iter().zip(&mut self.slots).enumerate() {
            if !slot.scalars.is_empty() || !slot.expressions.is_empty() || !slot.lists.is_empty() {
                continue;
            }
            match param.default {
                Some(Literal::Bool(flag)) => slot.scalars.push(Scalar::Bool(flag)),
                Some(Literal::Number(number)) => slot.scalars.push(Scalar::Number(number)),
                Some(Literal::Text(text)) => slot.scalars.push(Scalar::Text(text.to_owned())),
                None if param.required => {
                    return Err(EvalError::MissingArgument {
                        function: function.name,
                        parameter: param.name,
                        position: index + 1,
                        takes: param.takes(),
                    });
                }
                None => {}
            }
        }
        Ok(())
    }

    /// The first scalar of a parameter.
    pub(crate) fn scalar(&self, index: usize) -> Option<&Scalar> {
        self.slots.get(index)?.scalars.first()
    }

    /// A number, when one was given.
    pub(crate) fn number(&self, index: usize) -> Option<f64> {
        match self.scalar(index)? {
            Scalar::Number(number) => Some(number.value()),
            _ => None,
        }
    }

    /// A whole number, when one was given; beyond what fits, the nearest that does.
    pub(crate) fn integer(&self, index: usize) -> Option<i64> {
        self.scalar(index)?.integer()
    }

    /// A text, when one was given.
    pub(crate) fn text(&self, index: usize) -> Option<&str> {
        match self.scalar(index)? {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether a flag is set.
    pub(crate) fn flag(&self, index: usize) -> bool {
        matches!(self.scalar(index), Some(Scalar::Bool(true)))
    }

    /// All scalars of a parameter.
    pub(crate) fn scalars(&self, index: usize) -> &[Scalar] {
        self.slots.get(index).map_or(&[], |slot| slot.scalars.as_slice())
    }

    /// What a parameter was given that yields series.
    pub(crate) fn expressions(&self, index: usize) -> &[&'e Expr] {
        self.slots.get(index).map_or(&[], |slot| slot.expressions.as_slice())
    }

    /// A way to aggregate, which binding has found to be known.
    pub(crate) fn aggregation(&self, index: usize) -> Consolidation {
        self.text(index).and_then(registry::aggregation).unwrap_or(Consolidation::Average)
    }
}

fn bind_one<'e>(
    function: &'static Function,
    index: usize,
    argument: &'e Expr,
    slot: &mut Slot<'e>,
) -> Result<(), EvalError> {
    let param = &function.params[index];
    let wrong = || EvalError::WrongArgument {
        function: function.name,
        parameter: param.name,
        position: index + 1,
        takes: param.takes(),
        got: argument.describe(),
        column: argument.column(),
    };
    if matches!(argument.kind, ExprKind::None) {
        return if param.required && !param.multiple { Err(wrong()) } else { Ok(()) };
    }
    if param.kind.takes_series() && matches!(argument.kind, ExprKind::Path(_) | ExprKind::Call(_)) {
        slot.expressions.push(argument);
        return Ok(());
    }
    let scalar = scalar(param.kind, &argument.kind).ok_or_else(wrong)?;
    if let Scalar::Text(text) = &scalar
        && !param.options.is_empty()
        && !param.options.contains(&text.as_str())
    {
        return Err(wrong());
    }
    slot.scalars.push(scalar);
    Ok(())
}

/// A literal as a parameter of some type takes it; `None` when it does not.
fn scalar(kind: ParamType, literal: &ExprKind) -> Option<Scalar> {
    match (kind, literal) {
        (ParamType::Alignment, ExprKind::Bool(flag)) => Some(Scalar::Bool(*flag)),
        (ParamType::Boolean, _) => boolean(literal).map(Scalar::Bool),
        // A name or a tag shows what was given as a number of this kind.
        (ParamType::Float, _) => number(literal).map(|given| Scalar::Number(Number::Float(given.value()))),
        (ParamType::Any, _) => number(literal).map(Scalar::Number),
        (ParamType::Integer | ParamType::Node, _) => number(literal).and_then(whole).map(Scalar::Number),
        (ParamType::IntOrInf, _) => number(literal)
            .and_then(|given| if given.value() == f64::INFINITY { Some(given) } else { whole(given) })
            .map(Scalar::Number),
        (ParamType::IntOrInterval, ExprKind::Number(given)) => {
            whole(*given).filter(|points| points.value() >= 1.0).map(Scalar::Number)
        }
        (ParamType::NodeOrTag | ParamType::Date | ParamType::PointsOrInterval, ExprKind::Number(given)) => {
            whole(*given).map(Scalar::Number)
        }
        (ParamType::Interval | ParamType::IntOrInterval | ParamType::PointsOrInterval, ExprKind::Text(text)) => {
            time::parse_interval(text).ok().map(|_| Scalar::Text(text.clone()))
        }
        (ParamType::AggFunc, ExprKind::Text(text)) => registry::aggregation(text).map(|_| Scalar::Text(text.clone())),
        (ParamType::AggOrSeriesFunc, ExprKind::Text(text)) => {
            registry::callback(text).map(|_| Scalar::Text(text.clone()))
        }
        (
            ParamType::Alignment | ParamType::String | ParamType::Tag | ParamType::NodeOrTag | ParamType::Date,
            ExprKind::Text(text),
        ) => Some(Scalar::Text(text.clone())),
        _ => None,
    }
}

fn boolean(literal: &ExprKind) -> Option<bool> {
    match literal {
        ExprKind::Bool(flag) => Some(*flag),
        ExprKind::Number(number) if number.value() == 0.0 => Some(false),
        ExprKind::Number(number) if number.value() == 1.0 => Some(true),
        ExprKind::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
        ExprKind::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn number(literal: &ExprKind) -> Option<Number> {
    match literal {
        ExprKind::Number(number) => Some(*number),
        ExprKind::Text(text) => {
            let trimmed = text.trim();
            let int = trimmed.parse().map(Number::Int);
            int.ok().or_else(|| trimmed.parse().ok().filter(|float: &f64| !float.is_nan()).map(Number::Float))
        }
        _ => None,
    }
}

/// A number without a fraction, in one spelling.
#[expect(clippy::cast_possible_truncation, reason = "the range was just checked")]
fn whole(number: Number) -> Option<Number> {
    match number {
        Number::Int(_) => Some(number),
        Number::Float(float) if float.fract() == 0.0 && float.abs() < 9e15 => Some(Number::Int(float as i64)),
        Number::Float(_) => None,
    }
}
