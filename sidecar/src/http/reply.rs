//! Answers in JSON, and how a client may want them: indented (`pretty`), or as a call in JavaScript (`jsonp`).

use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::indent::Indent;
use super::params::Params;
use super::stream::{self, Finish, Job};
use crate::engine::QueryError;

/// The longest name of a function that an answer may be given to.
const MAX_CALLBACK_BYTES: usize = 128;

/// How an answer is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Style {
    pretty: bool,
    /// The function of JavaScript that is called with the answer.
    callback: Option<String>,
}

impl Style {
    /// Reads `pretty` and `jsonp`.
    ///
    /// # Errors
    /// When the text of `jsonp` is no name of a function, which keeps it from being a script of its own.
    pub fn of(params: &Params) -> Result<Self, QueryError> {
        let callback = params.get("jsonp").map(ToOwned::to_owned);
        match callback {
            Some(name) if !is_function(&name) => Err(QueryError::Bad(format!(
                "jsonp is {name:?}; expected the name of a function, of at most {MAX_CALLBACK_BYTES} letters, digits and . _ $"
            ))),
            callback => Ok(Self { pretty: params.get("pretty").is_some(), callback }),
        }
    }

    /// The type of content that an answer has.
    pub const fn kind(&self) -> &'static str {
        if self.callback.is_some() { "text/javascript" } else { "application/json" }
    }

    /// JSON that is written in pieces, in this style.
    ///
    /// # Errors
    /// As [`stream::body`].
    pub async fn body(
        &self,
        json: impl Iterator<Item = Job> + Send + 'static,
        patience: Duration,
    ) -> Result<Body, QueryError> {
        let finish = self.pretty.then(|| {
            let mut indent = Indent::default();
            Box::new(move |piece: Vec<u8>| indent.write(&piece)) as Finish
        });
        let Some(name) = self.callback.clone() else { return stream::body(json, finish, patience).await };
        let text = |text: String| Box::new(move || text.into_bytes()) as Job;
        let call = [text(format!("{name}("))].into_iter().chain(json).chain([text(")".to_owned())]);
        stream::body(call, finish, patience).await
    }

    /// A value as an answer.
    pub fn json(&self, value: &impl Serialize) -> Response {
        let text = if self.pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        let text = match text {
            Ok(text) => text,
            Err(error) => return QueryError::Internal(error.to_string()).into_response(),
        };
        let text = match &self.callback {
            None => text,
            Some(name) => format!("{name}({text})"),
        };
        ([(header::CONTENT_TYPE, self.kind())], text).into_response()
    }
}

fn is_function(name: &str) -> bool {
    name.len() <= MAX_CALLBACK_BYTES
        && name.split('.').all(|part| {
            part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'))
                && part.bytes().next().is_some_and(|first| !first.is_ascii_digit())
        })
}

/// An error as an object of JSON, which is how `/tags` and `/functions` tell it.
pub fn error(status: StatusCode, message: &str) -> Response {
    (status, axum::Json(json!({ "error": message }))).into_response()
}

/// As [`error()`].
pub fn query_error(error: &QueryError) -> Response {
    error.note();
    self::error(error.status(), &error.to_string())
}

/// Tells caches to keep nothing of an answer.
pub fn uncached(mut response: Response) -> Response {
    for name in [header::PRAGMA, header::CACHE_CONTROL] {
        response.headers_mut().insert(name, header::HeaderValue::from_static("no-cache"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_function_is_called_with_an_answer() {
        for (name, allowed) in [
            ("cb", true),
            ("jQuery_1.$on.x2", true),
            ("a.", false),
            ("1a", false),
            ("alert(1);//", false),
            ("é", false),
            (&"x".repeat(MAX_CALLBACK_BYTES + 1), false),
        ] {
            assert_eq!(is_function(name), allowed, "{name}");
        }
    }
}
