//! Random targets over random series: whatever is asked, nothing panics, and every answer keeps its promises.

use proptest::prelude::*;
use statline_series::{Kind, Step};

use crate::arguments::ParamType;
use crate::functions::GROUPS;
use crate::registry::Function;
use crate::testing::{at, context, run_in};
use crate::{Compat, Context, EvalError, FetchedSeries, Limits, consolidate, parse};

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => -1000.0..1000.0_f64,
        2 => Just(f64::NAN),
        1 => prop_oneof![Just(0.0), Just(-0.0), Just(1e308), Just(-1e308), Just(f64::INFINITY), Just(5e-324)],
    ]
}

fn column() -> impl Strategy<Value = FetchedSeries> {
    let key = prop_oneof![Just("a.b"), Just("a.c"), Just("x"), Just("t;host=1"), Just("t;host=2")];
    let kind = prop_oneof![Just(Kind::Untyped), Just(Kind::Count), Just(Kind::Maximum), Just(Kind::Cumulative)];
    let step = prop_oneof![Just(10_i64), Just(15), Just(60), Just(7), Just(3600)];
    (key, kind, -50_i64..50, step, prop::collection::vec(value(), 0..40)).prop_map(
        |(key, kind, start, step, values)| {
            let mut one = crate::testing::column(key, start * step, step, &values);
            one.kind = kind;
            one
        },
    )
}

fn literal(kind: ParamType) -> BoxedStrategy<String> {
    let texts = |texts: &'static [&'static str]| prop::sample::select(texts).prop_map(str::to_owned).boxed();
    match kind {
        ParamType::AggFunc | ParamType::AggOrSeriesFunc => {
            texts(&["'sum'", "'avg'", "'median'", "'last'", "'multiply'", "'stddev'"])
        }
        ParamType::Alignment => texts(&["'years'", "'weeks3'", "'days'", "'min'", "'ages'", "true"]),
        ParamType::Boolean => texts(&["true", "false"]),
        ParamType::Integer
        | ParamType::Node
        | ParamType::NodeOrTag
        | ParamType::IntOrInf
        | ParamType::PointsOrInterval => {
            texts(&["0", "1", "2", "-1", "-9", "99", "9223372036854775807", "-9223372036854775808"])
        }
        ParamType::Float | ParamType::Any => {
            texts(&["0", "1", "-2.5", "50", "1e300", "-1e300", "99.9", "0.001", "inf"])
        }
        ParamType::IntOrInterval => texts(&["1", "3", "40", "'1min'", "'90s'", "'1h'", "'0s'", "9223372036854775807"]),
        ParamType::Date => texts(&["'-1min'", "'now'", "'noon'", "'19700101'", "120", "'soon'"]),
        ParamType::Interval => texts(&["'1min'", "'90s'", "'7d'", "'1h'", "'-1d'", "'0s'", "'7s'"]),
        ParamType::String | ParamType::Tag | ParamType::SeriesList | ParamType::SeriesLists => {
            texts(&["'a'", "'(.)b'", "'>='", "'\\\\1'", "'max'", "'name=t'", "''", "'('", "'host'"])
        }
    }
}

fn call(series: &BoxedStrategy<String>) -> BoxedStrategy<String> {
    let all: Vec<&'static Function> = GROUPS.iter().flat_map(|group| group.iter()).collect();
    let series = series.clone();
    prop::sample::select(all)
        .prop_flat_map(move |function| {
            let arguments: Vec<BoxedStrategy<String>> = function
                .params
                .iter()
                .filter(|param| param.required || param.name != "interpolate")
                .map(|param| match param.kind {
                    ParamType::SeriesList | ParamType::SeriesLists => series.clone(),
                    kind => literal(kind),
                })
                .collect();
            let least = function.params.iter().filter(|param| param.required).count();
            let most = arguments.len();
            (Just(function.name), arguments, least..=most)
        })
        .prop_map(|(name, mut arguments, count)| {
            arguments.truncate(count);
            format!("{name}({})", arguments.join(","))
        })
        .boxed()
}

fn target() -> impl Strategy<Value = String> {
    let paths: &'static [&'static str] =
        &["a.*", "a.b", "x", "nothing", "seriesByTag('name=t')", "{a.b,x}", "constantLine(3)"];
    let leaf = prop::sample::select(paths).prop_map(str::to_owned).boxed();
    leaf.prop_recursive(4, 24, 4, |inner| call(&inner.boxed()))
}

/// How often it is tried: `PROPTEST_CASES`, or more often than proptest's own number, as there are so many functions.
fn cases() -> ProptestConfig {
    ProptestConfig { cases: ProptestConfig::default().cases.max(1500), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn nothing_panics_and_every_answer_holds_together(
        target in target(),
        store in prop::collection::vec(column(), 0..5),
        most in 1_usize..20,
        span in prop_oneof![8 => 1_i64..7200, 1 => Just(i64::MAX / 1000)],
        compat in prop_oneof![3 => Just(Compat::Statline), 1 => Just(Compat::GraphiteWeb)],
    ) {
        let context = Context {
            from: at(300).offset(span.saturating_mul(-1000)),
            until: at(300),
            max_data_points: Some(most),
            compat,
            step_hint: Step::from_seconds(10).unwrap(),
            limits: Limits { max_series: 100, max_points: 100_000, max_work: 1_000_000 },
            ..context()
        };
        prop_assert!(parse(&target).is_ok(), "{}", target);
        match run_in(&context, &target, &store) {
            Ok(series) => {
                prop_assert!(series.len() <= context.limits.max_series);
                for one in consolidate(series, &context) {
                    // graphite-web counts the points of the span, whatever the series says of itself.
                    prop_assert!(one.len() <= most || compat == Compat::GraphiteWeb, "{} has {} points", one.name, one.len());
                }
            }
            Err(error) => {
                let is_unknown = matches!(error, EvalError::UnknownFunction { .. });
                // A name that was made into a target may look like a call of anything.
                let makes_targets = ["aliasQuery(", "applyByNode(", "useSeriesAbove("].iter().any(|name| target.contains(name));
                prop_assert!(!is_unknown || makes_targets, "{}", error);
            }
        }
    }
}
