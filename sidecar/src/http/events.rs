//! `/events`: what happened, as graphite-web 1.1.10 takes and tells it.
//!
//! `GET /events/get_data` and `GET /events` list events, the oldest first; `POST /events/` keeps one.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use statline_flight::EventRow;
use statline_flight::action::{Events, Span};
use statline_graphite::Compat;
use statline_series::{Event, Timestamp};

use super::Shared;
use super::params::Params;
use super::reply::Style;
use crate::clock;
use crate::engine::QueryError;

/// The latest `when`, the end of the year 9999: a number beyond it is a slip of the unit.
const LATEST_SECONDS: f64 = 253_402_300_799.0;

/// Lists events.
pub async fn list(State(shared): State<Shared>, params: Params) -> Response {
    let answer = async { Ok::<_, QueryError>(Style::of(&params)?.json(&answer(&shared, &params).await?)) };
    answer.await.unwrap_or_else(IntoResponse::into_response)
}

/// Keeps an event; when it answers 200, the event survives a loss of power. The body is JSON, whatever it is said to be.
pub async fn add(State(shared): State<Shared>, body: Bytes) -> Response {
    let event = match read(&body, clock::now()) {
        Ok(event) => event,
        Err(reason) => return QueryError::Bad(reason).into_response(),
    };
    match shared.engine.add_event(event).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => error.into_response(),
    }
}

async fn answer(shared: &Shared, params: &Params) -> Result<Vec<Value>, QueryError> {
    let asked = question(params, clock::now(), shared.engine.limits().compat)?;
    let list = shared.engine.events(&asked).await?;
    Ok(list.events.into_iter().map(to_json).collect())
}

fn question(params: &Params, now: Timestamp, compat: Compat) -> Result<Events, QueryError> {
    let instant = |name: &str| params.instant(name, now, compat);
    // Both ends are included, and what is still to come is not shown unless it is asked for.
    let until = instant("until")?.unwrap_or(now);
    let any = match params.get("set") {
        None | Some("intersection") => false,
        Some("union") => true,
        Some(other) => return Err(QueryError::Bad(format!("set is {other:?}; expected union or intersection"))),
    };
    let limit = match params.get("limit") {
        None => None,
        Some(text) => Some(
            text.parse()
                .ok()
                .filter(|limit| *limit > 0)
                .ok_or_else(|| QueryError::Bad(format!("limit is {text:?}; expected a whole number of at least 1")))?,
        ),
    };
    let tags = words(params.get("tags").unwrap_or_default());
    Ok(Events { span: Span { from: instant("from")?, until: Some(until.offset(1)) }, tags, any, limit })
}

fn to_json(event: EventRow) -> Value {
    json!({
        "id": event.id, "what": event.title, "when": event.time.seconds(), "data": event.text, "tags": event.tags,
    })
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(ToOwned::to_owned).collect()
}

/// An event as it is posted; without a `when` it happens now.
fn read(body: &[u8], now: Timestamp) -> Result<Event, String> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| format!("the body is not JSON: {error}; send {{\"what\": …, \"tags\": …, \"data\": …}}"))?;
    let Value::Object(body) = body else {
        return Err("the body is not an object; send {\"what\": …, \"tags\": …, \"data\": …}".to_owned());
    };
    let title = text(&body, "what")?;
    if title.trim().is_empty() {
        return Err("what is missing; say in a few words what happened".to_owned());
    }
    let mut event = Event::new(instant(&body, now)?, title, text(&body, "data")?);
    event.tags = tags(&body)?;
    Ok(event)
}

fn text(body: &Map<String, Value>, name: &str) -> Result<String, String> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(format!("{name} is not a text")),
    }
}

fn instant(body: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, String> {
    let seconds = match body.get("when") {
        None | Some(Value::Null) => return Ok(now),
        Some(when) => when.as_f64().filter(|seconds| (0.0..=LATEST_SECONDS).contains(seconds)),
    };
    let seconds = seconds.ok_or("when is not a number of seconds since the epoch")?;
    #[expect(clippy::cast_possible_truncation, reason = "it lies between the epoch and the year 9999")]
    Ok(Timestamp::from_millis((seconds * 1000.0).round() as i64))
}

/// Graphite joins a list with spaces and splits it again, since a space parts the tags of a question.
fn tags(body: &Map<String, Value>) -> Result<Vec<String>, String> {
    const WRONG: &str = "tags is neither a list of texts nor a text with spaces in between";
    match body.get("tags") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(words(text)),
        Some(Value::Array(list)) => {
            let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            Ok(texts.ok_or(WRONG)?.into_iter().flat_map(words).collect())
        }
        Some(_) => Err(WRONG.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    #[test]
    fn an_event_is_read_with_tags_in_either_form() {
        let event = |millis, title: &str, text: &str, tags: &[&str]| {
            let mut event = Event::new(Timestamp::from_millis(millis), title.to_owned(), text.to_owned());
            event.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            event
        };
        let now = NOW.millis();
        for (body, expected) in [
            (r#"{"what":"w"}"#, event(now, "w", "", &[])),
            (r#"{"what":"w","tags":null,"data":null,"when":null}"#, event(now, "w", "", &[])),
            (r#"{"what":"w","tags":" a  b","data":"d","when":7}"#, event(7000, "w", "d", &["a", "b"])),
            (r#"{"what":"w","tags":["a","b c"],"when":7.25,"more":1}"#, event(7250, "w", "", &["a", "b", "c"])),
        ] {
            assert_eq!(read(body.as_bytes(), NOW), Ok(expected), "{body}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_event_is_said() {
        for (body, said) in [
            ("", "the body is not JSON: "),
            ("[]", "the body is not an object; send {\"what\": …"),
            ("{}", "what is missing"),
            (r#"{"what":" "}"#, "what is missing"),
            (r#"{"what":5}"#, "what is not a text"),
            (r#"{"what":"w","data":{}}"#, "data is not a text"),
            (r#"{"what":"w","when":"now"}"#, "when is not a number of seconds since the epoch"),
            (r#"{"what":"w","when":1700000000000000}"#, "when is not a number of seconds since the epoch"),
            (r#"{"what":"w","when":-1}"#, "when is not a number of seconds since the epoch"),
            (r#"{"what":"w","tags":5}"#, "tags is neither a list of texts nor a text with spaces in between"),
            (r#"{"what":"w","tags":["a",5]}"#, "tags is neither a list of texts nor a text with spaces in between"),
        ] {
            let error = read(body.as_bytes(), NOW).unwrap_err();
            assert!(error.starts_with(said) && error.lines().count() == 1, "{body}: {error}");
        }
    }
}
