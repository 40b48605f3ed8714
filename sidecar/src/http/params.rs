//! The parameters of a request, from its URL and, for a POST, from its form; the form comes first.

use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::Response;

use super::plain;

/// Names and values in the order that they were sent; a name may stand more than once.
pub struct Params(Vec<(String, String)>);

impl Params {
    /// The first value of a name; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, value)| given == name && !value.is_empty()).map(|(_, value)| value.as_str())
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
        // The form comes first, and the first counts.
        self.0.iter().rev().filter_map(move |(given, value)| {
            let inner = given.strip_prefix(name)?.strip_prefix('[')?.strip_suffix(']')?;
            Some((inner, value.as_str()))
        })
    }

    fn read(&mut self, encoded: &[u8]) {
        self.0.extend(form_urlencoded::parse(encoded).into_owned());
    }
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let mut params = Self(Vec::new());
        let query = request.uri().query().unwrap_or("").to_owned();
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
        params.read(query.as_bytes());
        Ok(params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_form_comes_before_the_url_and_names_repeat() {
        let request = Request::builder()
            .method("POST")
            .uri("/render?from=-1h&target=c&template[x]=1&template%5By%5D=2")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body("target=a&target%5B%5D=b+b&from=-2h&until=&template[x]=3".into())
            .unwrap();
        let params = Params::from_request(request, &()).await.unwrap_or_else(|_| panic!("refused"));
        assert_eq!(params.all("target").collect::<Vec<_>>(), ["a", "b b", "c"]);
        assert_eq!(params.get("from"), Some("-2h"));
        assert_eq!(params.get("until"), None);
        let template: std::collections::BTreeMap<_, _> = params.within("template").collect();
        assert_eq!(template.into_iter().collect::<Vec<_>>(), [("x", "3"), ("y", "2")]);
        assert!(params.has("until") && !params.has("tz"));
    }
}
