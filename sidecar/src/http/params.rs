//! The parameters of a request, from its URL and, for a POST, from its form; where one value is wanted, the last counts, as in
//! graphite-web.

use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::Response;
use chrono_tz::Tz;
use statline_graphite::Compat;
use statline_series::Timestamp;

use super::plain;
use crate::engine::QueryError;

/// Names and values, those of the URL before those of the form; a name may stand more than once.
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Those of a URL.
    #[cfg(test)]
    pub fn of(query: &str) -> Self {
        let mut params = Self(Vec::new());
        params.read(query.as_bytes());
        params
    }

    /// The last value of a name; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(given, value)| given == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Whether a name was sent, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(given, _)| given == name)
    }

    /// Every value of a name, also written with `[]` behind it.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(given, _)| given.strip_suffix("[]").unwrap_or(given) == name)
            .map(|(_, value)| value.as_str())
    }

    /// Names and values of those written `name[inner]`, by what stands in the brackets.
    pub fn within<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().filter_map(move |(given, value)| {
            let inner = given.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
            Some((inner, value.as_str()))
        })
    }

    /// A whole number; `default` when it was not sent.
    ///
    /// # Errors
    /// When it is none.
    pub fn whole(&self, name: &str, default: i64) -> Result<i64, QueryError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        text.trim().parse().map_err(|_| QueryError::Bad(format!("{name} is {text:?}; expected a whole number")))
    }

    /// A switch: a whole number, of which 0 is off.
    ///
    /// # Errors
    /// When it is no number.
    pub fn switch(&self, name: &str) -> Result<bool, QueryError> {
        Ok(self.whole(name, 0)? != 0)
    }

    /// The zone of times. As in graphite-web, one that does not exist is none.
    pub fn zone(&self) -> Tz {
        self.get("tz").and_then(|name| name.parse().ok()).unwrap_or(Tz::UTC)
    }

    /// An instant in Graphite's time grammar, if it was sent.
    ///
    /// # Errors
    /// When it is none.
    pub fn instant(&self, name: &str, now: Timestamp, compat: Compat) -> Result<Option<Timestamp>, QueryError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        statline_graphite::time::parse_at_as(compat, text, now, self.zone())
            .map(Some)
            .map_err(|error| QueryError::Bad(format!("{name} is {text:?}: {error}")))
    }

    fn read(&mut self, encoded: &[u8]) {
        self.0.extend(form_urlencoded::parse(encoded).into_owned());
    }
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let mut params = Self(Vec::new());
        params.read(request.uri().query().unwrap_or("").as_bytes());
        let is_form = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_none_or(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if request.method() == axum::http::Method::POST {
            if !is_form {
                return Err(plain(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "send the form as application/x-www-form-urlencoded",
                ));
            }
            let body = axum::body::Bytes::from_request(request, state)
                .await
                .map_err(|error| plain(error.status(), &format!("the form could not be read: {error}")))?;
            params.read(&body);
        }
        Ok(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_form_comes_after_the_url_and_names_repeat() {
        let request = Request::builder()
            .method("POST")
            .uri("/render?from=-1h&target=c&template[x]=1&template%5By%5D=2")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body("target=a&target%5B%5D=b+b&from=-2h&until=&template[x]=3".into())
            .unwrap();
        let params = Params::from_request(request, &()).await.unwrap_or_else(|_| panic!("refused"));
        assert_eq!(params.all("target").collect::<Vec<_>>(), ["c", "a", "b b"]);
        assert_eq!(params.get("from"), Some("-2h"));
        assert_eq!(params.get("until"), None);
        let template: std::collections::BTreeMap<_, _> = params.within("template").collect();
        assert_eq!(template.into_iter().collect::<Vec<_>>(), [("x", "3"), ("y", "2")]);
        assert!(params.has("until") && !params.has("tz"));
    }
}
