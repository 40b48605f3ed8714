//! HTTP-like calls that the plugin's own frontend makes: completion, lists for variables, functions.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use serde::Serialize;

use crate::headers::Headers;
use crate::proto::pluginv2 as wire;

/// One call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceRequest {
    /// The path below the plugin's own, without a leading slash, without the query.
    pub path: String,
    /// The HTTP method.
    pub method: String,
    /// The path with its query, as the client wrote it.
    pub url: String,
    /// The HTTP headers.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl ResourceRequest {
    /// A GET of a path, which may carry a query: `find?query=a.*`.
    pub fn get(url: impl Into<String>) -> Self {
        let url = url.into();
        let path = url.split_once('?').map_or(url.as_str(), |(path, _)| path).trim_matches('/').to_owned();
        Self { path, method: "GET".to_owned(), url, ..Self::default() }
    }

    /// The query of the URL, without the question mark; empty when there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        let without_fragment = self.url.split_once('#').map_or(self.url.as_str(), |(url, _)| url);
        without_fragment.split_once('?').map_or("", |(_, query)| query)
    }

    pub(crate) fn from_wire(wire: wire::CallResourceRequest) -> (Option<wire::PluginContext>, Self) {
        let request = Self {
            path: wire.path.trim_matches('/').to_owned(),
            method: wire.method,
            url: wire.url,
            headers: Headers::from_wire_lists(wire.headers),
            body: wire.body,
        };
        (wire.plugin_context, request)
    }

    pub(crate) fn into_wire(self, plugin_context: wire::PluginContext) -> wire::CallResourceRequest {
        wire::CallResourceRequest {
            plugin_context: Some(plugin_context),
            path: self.path,
            method: self.method,
            url: self.url,
            headers: self.headers.to_wire_lists(),
            body: self.body,
        }
    }
}

/// The answer to a call.
#[derive(Debug)]
pub struct ResourceResponse {
    /// The HTTP status code.
    pub status: u16,
    /// The HTTP headers.
    pub headers: Headers,
    /// The body.
    pub body: Body,
}

impl ResourceResponse {
    /// An answer without headers.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Headers::default(), body: Body::Whole(body.into()) }
    }

    /// An answer in JSON.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(status, body).with_header("Content-Type", "application/json"),
            Err(error) => Self::error(500, format!("the answer cannot be written as JSON: {error}")),
        }
    }

    /// An error, in the form `{"error": "…"}`.
    pub fn error(status: u16, message: impl Into<String>) -> Self {
        let body = serde_json::json!({ "error": message.into() }).to_string();
        Self::new(status, body).with_header("Content-Type", "application/json")
    }

    /// An answer whose body comes piece by piece.
    pub fn streamed(status: u16, body: impl futures::Stream<Item = Bytes> + Send + 'static) -> Self {
        Self { status, headers: Headers::default(), body: Body::Streamed(body.boxed()) }
    }

    /// The same answer with one more header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.append(name, value);
        self
    }

    /// The messages of the wire: the first with status and headers, then the rest of the body.
    pub(crate) fn into_wire(self) -> BoxStream<'static, wire::CallResourceResponse> {
        let head = wire::CallResourceResponse {
            code: i32::from(self.status),
            headers: self.headers.to_wire_lists(),
            body: Bytes::new(),
        };
        let more = |body| wire::CallResourceResponse { body, ..wire::CallResourceResponse::default() };
        match self.body {
            Body::Whole(mut body) => {
                let first = body.split_to(body.len().min(MAX_PIECE_BYTES));
                let rest = std::iter::from_fn(move || {
                    (!body.is_empty()).then(|| more(body.split_to(body.len().min(MAX_PIECE_BYTES))))
                });
                let first = wire::CallResourceResponse { body: first, ..head };
                futures::stream::iter(std::iter::once(first).chain(rest)).boxed()
            }
            Body::Streamed(body) => futures::stream::once(async { head }).chain(body.map(more)).boxed(),
        }
    }
}

/// The largest part of a body in one message.
const MAX_PIECE_BYTES: usize = 1 << 20;

/// The body of an answer.
pub enum Body {
    /// All of it at once.
    Whole(Bytes),
    /// Piece by piece, sent as they come.
    Streamed(BoxStream<'static, Bytes>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(body) => write!(f, "Whole({} bytes)", body.len()),
            Self::Streamed(_) => f.write_str("Streamed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_what_follows_the_question_mark() {
        for (url, path, query) in [
            ("find", "find", ""),
            ("find?query=a.*&from=1", "find", "query=a.*&from=1"),
            ("/tags/values?tag=a?b#c", "tags/values", "tag=a?b"),
        ] {
            let request = ResourceRequest::get(url);
            assert_eq!((request.path.as_str(), request.query()), (path, query), "{url}");
        }
    }

    #[tokio::test]
    async fn a_large_body_is_sent_in_pieces_under_one_head() {
        let body = Bytes::from(vec![b'x'; 2 * MAX_PIECE_BYTES + 1]);
        let response = ResourceResponse::new(201, body.clone()).with_header("X-A", "1");
        let messages: Vec<_> = response.into_wire().collect().await;
        assert_eq!(messages.len(), 3);
        assert_eq!(messages[0].code, 201);
        assert_eq!(messages[0].headers["X-A"].values, ["1"]);
        assert!(messages[1..].iter().all(|message| message.code == 0 && message.headers.is_empty()));
        assert_eq!(messages.iter().flat_map(|message| message.body.to_vec()).collect::<Vec<_>>(), body);
    }

    #[tokio::test]
    async fn an_empty_body_is_still_one_message() {
        let messages: Vec<_> = ResourceResponse::new(204, "").into_wire().collect().await;
        assert_eq!(messages.iter().map(|message| message.code).collect::<Vec<_>>(), [204]);
    }
}
