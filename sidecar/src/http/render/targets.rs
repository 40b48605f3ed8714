//! The targets of a request side by side, and what came of each.
//!
//! A target that fails fails alone: the others are answered, and the header [`ERRORS`] tells of it. Where graphite-web's
//! answers are wanted, the request fails with its first target that does.

use axum::http::{HeaderName, HeaderValue};
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use statline_graphite::{Compat, Series};

use super::super::Shared;
use crate::engine::{QueryError, Window};

/// The header that tells which targets have no answer: a list in JSON of `{"target": …, "error": …}`.
pub const ERRORS: HeaderName = HeaderName::from_static("x-statline-errors");

/// The most bytes of a header; what does not fit is counted at its end.
const MAX_HEADER_BYTES: usize = 4096;
/// The most characters of a target or an error in it.
const MAX_CHARACTERS: usize = 300;

/// What came of the targets of a request.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The series of all targets, in the order of the targets.
    pub series: Vec<Series>,
    /// The targets that have no answer, and why.
    pub failures: Vec<(String, QueryError)>,
}

impl Outcome {
    /// Whether nothing was answered.
    fn is_failure(&self, targets: usize) -> bool {
        targets > 0 && self.failures.len() == targets
    }

    /// What the header says; `None` when every target has an answer.
    pub fn header(&self) -> Option<HeaderValue> {
        if self.failures.is_empty() {
            return None;
        }
        let mut text = "[".to_owned();
        for (index, (target, error)) in self.failures.iter().enumerate() {
            let row = json!({ "target": shortened(target), "error": shortened(&error.to_string()) });
            let row = ascii(&row);
            if text.len() + row.len() > MAX_HEADER_BYTES {
                let left = self.failures.len() - index;
                text.push_str(&ascii(&json!({ "error": format!("{left} more targets failed") })));
                break;
            }
            text.push_str(&row);
            if index + 1 < self.failures.len() {
                text.push(',');
            }
        }
        text.push(']');
        HeaderValue::from_str(&text).ok()
    }
}

/// Evaluates targets.
///
/// # Errors
/// When all of them fail, or one where all have to be answered; when the answer has too many points.
pub async fn evaluate(
    shared: &Shared,
    targets: Vec<String>,
    window: &Window,
    all_or_none: bool,
) -> Result<Outcome, QueryError> {
    let limits = shared.engine.limits();
    let count = targets.len();
    let is_as_graphite_web = window.compat.unwrap_or(limits.compat) == Compat::GraphiteWeb;
    let all_or_none = all_or_none || is_as_graphite_web;
    // There, a target leaves something behind for those after it, and buckets are counted from the first value of all.
    let runs: Vec<Vec<String>> =
        if is_as_graphite_web { vec![targets] } else { targets.into_iter().map(|target| vec![target]).collect() };
    let answers = stream::iter(runs)
        .map(|targets| {
            let engine = shared.engine.clone();
            async move {
                let answer = engine.graphite_in_order(&targets, window).await;
                (targets.into_iter().next().unwrap_or_default(), answer)
            }
        })
        .buffered(limits.max_concurrent);
    futures::pin_mut!(answers);
    let (mut outcome, mut points) = (Outcome::default(), 0_usize);
    while let Some((target, answer)) = answers.next().await {
        let series = match answer {
            Ok(series) => series,
            Err(error) if all_or_none => return Err(error),
            Err(error) => {
                outcome.failures.push((target, error));
                continue;
            }
        };
        points += series.iter().map(Series::len).sum::<usize>();
        if points > limits.max_points {
            return Err(QueryError::Limit(format!(
                "the answer has more points than query.max_points, {}; shorten the range or send maxDataPoints",
                limits.max_points
            )));
        }
        outcome.series.extend(series);
    }
    if outcome.is_failure(count) {
        return Err(outcome.failures.swap_remove(0).1);
    }
    for (target, error) in &outcome.failures {
        tracing::debug!(target, %error, "a target of several failed");
    }
    Ok(outcome)
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// JSON of characters that a header may have.
fn ascii(value: &Value) -> String {
    let mut text = String::new();
    for character in value.to_string().chars() {
        if character.is_ascii() && !character.is_ascii_control() {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            text.push_str(&format!("\\u{unit:04x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_json_of_ascii_and_not_too_long() {
        let failures = |count: usize, target: &str| Outcome {
            series: Vec::new(),
            failures: (0..count).map(|_| (target.to_owned(), QueryError::Bad("no\n\"good\" 🦀".to_owned()))).collect(),
        };
        assert_eq!(failures(0, "a").header(), None);
        let header = failures(2, "é").header().unwrap();
        let expected = json!({ "target": "é", "error": "no\n\"good\" 🦀" });
        assert_eq!(serde_json::from_slice::<Value>(header.as_bytes()).unwrap(), json!([expected, expected]));
        let header = failures(100, &"x".repeat(60_000)).header().unwrap();
        assert!(header.len() < MAX_HEADER_BYTES + 100, "{}", header.len());
        let told = serde_json::from_slice::<Vec<Value>>(header.as_bytes()).unwrap();
        assert_eq!(told.last().unwrap(), &json!({ "error": format!("{} more targets failed", 101 - told.len()) }));
    }
}
