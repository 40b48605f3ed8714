//! What is asked of an index of a million names, over HTTP.

use std::net::SocketAddr;

use statline_series::{KeyError, SeriesKey};

use super::data::serve_keys;
use crate::http::{Answer, form_of};
use crate::report::{Bar, Table, median, progress};
use crate::{Error, Measured};

/// What the numbers are.
pub const ABOUT: &str = "\
### Names

statlined with a million series, asked over HTTP: *found* is what an answer lists, *ms* the whole answer, from the connection to
the last byte, as a median. Of the names half are `srv.sNNN.dNN.…`, each with 50 leaves of which `cpu` is one; of the series with
tags each has a name, a host, a method and a status.";

/// How often each question is asked in a round.
const ASKED_A_ROUND: usize = 3;

struct Question {
    /// The bar, and its goal in milliseconds.
    bar: Option<(&'static str, f64)>,
    path: &'static str,
    fields: &'static [(&'static str, &'static str)],
}

const OF_NAMES: &[Question] = &[
    Question { bar: Some(("find_ms", 20.0)), path: "/metrics/find", fields: &[("query", "*.*.*.cpu")] },
    Question { bar: None, path: "/metrics/find", fields: &[("query", "*")] },
    Question { bar: None, path: "/metrics/find", fields: &[("query", "srv.*")] },
    Question { bar: None, path: "/metrics/find", fields: &[("query", "srv.s*7.d0?.{cpu,mem}*")] },
];

const OF_TAGS: &[Question] = &[
    Question { bar: Some(("tags_ms", 10.0)), path: "/tags/autoComplete/tags", fields: &[("tagPrefix", "ho")] },
    Question {
        bar: Some(("tags_of_expr_ms", 10.0)),
        path: "/tags/autoComplete/tags",
        fields: &[("expr", "host=web-0123"), ("tagPrefix", "")],
    },
    Question {
        bar: Some(("values_ms", 10.0)),
        path: "/tags/autoComplete/values",
        fields: &[("tag", "host"), ("valuePrefix", "web-01")],
    },
    Question {
        bar: Some(("values_of_expr_ms", 10.0)),
        path: "/tags/autoComplete/values",
        fields: &[("expr", "name=requests_3_total"), ("tag", "host"), ("valuePrefix", "")],
    },
];

/// Measures; the table and the bars.
pub fn run(count: usize, rounds: usize) -> Measured {
    let mut table = Table::new(&["question", "found", "ms", "goal"]);
    let mut bars = Vec::new();
    for (what, keys, questions) in [("names", paths(count)?, OF_NAMES), ("tagged series", tagged(count)?, OF_TAGS)] {
        progress(&format!("graphite: {count} {what}"));
        let (daemon, _store) = serve_keys(&keys)?;
        drop(keys);
        for question in questions {
            let (took, found) = ask(daemon.http(), question, rounds)?;
            let asked: Vec<String> = question.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
            table.row([
                format!("{}?{}", question.path, asked.join("&")),
                found.to_string(),
                format!("{took:.2}"),
                question.bar.map_or_else(String::new, |(_, goal)| format!("{goal:.0}")),
            ]);
            // Stated for a million; a smaller run is a trial.
            let trial = if count == 1_000_000 { "" } else { "_trial" };
            bars.extend(question.bar.map(|(name, goal)| Bar::at_most(format!("graphite.{name}{trial}"), took, goal)));
        }
        daemon.terminate()?;
    }
    Ok((table.markdown(), bars))
}

/// The median of the answers' milliseconds, and how much an answer lists.
fn ask(server: SocketAddr, question: &Question, rounds: usize) -> Result<(f64, usize), Error> {
    let path = format!("{}?{}", question.path, form_of(question.fields));
    let mut answer = Answer::default();
    answer.get(server, &path)?;
    let list: Vec<serde_json::Value> = serde_json::from_slice(&answer.body()?)?;
    let mut took = Vec::new();
    for _ in 0..rounds.max(1) * ASKED_A_ROUND {
        answer.get(server, &path)?;
        took.push(answer.took.as_secs_f64() * 1e3);
    }
    Ok((median(&took), list.len()))
}

/// Half of them four levels deep, the other half in trees of other depths and shapes.
fn paths(count: usize) -> Result<Vec<SeriesKey>, KeyError> {
    const LEAVES: usize = 50;
    let leaf = |number: usize| if number == 0 { "cpu".to_owned() } else { format!("figure{number:02}") };
    let path = |number: usize| match number % 2 {
        0 => {
            let (own, place) = (number / 2 % LEAVES, number / 2 / LEAVES);
            format!("srv.s{:03}.d{:02}.{}", place / 20, place % 20, leaf(own))
        }
        _ => {
            let number = number / 2;
            format!(
                "stats.timers.shop-{:04}.host-{:03}.requests.{}",
                number / 5000,
                number / 10 % 500,
                leaf(number % 10)
            )
        }
    };
    shuffled(count).map(|number| SeriesKey::from_name(&path(number))).collect()
}

fn tagged(count: usize) -> Result<Vec<SeriesKey>, KeyError> {
    let key = |number: usize| {
        let (last, host, rest) = (number % 10, number / 10 % 1000, number / 10_000);
        SeriesKey::from_parts(
            &format!("requests_{last}_total"),
            &mut [
                ("host", &format!("web-{host:04}")),
                ("method", ["GET", "PUT", "POST", "HEAD", "PATCH"][rest % 5]),
                ("status", &format!("{}", 200 + rest / 5)),
            ],
        )
    };
    shuffled(count).map(key).collect()
}

/// Born in no order.
fn shuffled(count: usize) -> impl Iterator<Item = usize> {
    let mut numbers: Vec<usize> = (0..count).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut numbers);
    numbers.into_iter()
}
