//! Asking the HTTP API: a request a connection, which is all that a test needs.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::program::HarnessError;

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header's lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// Asks for a path with its query.
///
/// # Errors
/// When there is no answer, or it is not HTTP.
pub fn get(server: SocketAddr, path: &str) -> Result<Answer, HarnessError> {
    ask(server, "GET", path, &[], "")
}

/// A figure of `/metrics`, with its labels if it has any; 0 when it is not there yet.
///
/// # Errors
/// When there is no answer.
pub fn figure(server: SocketAddr, name: &str) -> Result<f64, HarnessError> {
    let text = get(server, "/metrics")?.body;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.and_then(|value| value.parse().ok()).unwrap_or(0.0))
}

/// The points of a target over a range such as `from=-10min&until=%2B10s`, as far as there are any: the series' name,
/// the second, and the value.
///
/// # Errors
/// When the target is not rendered.
pub fn points(server: SocketAddr, target: &str, range: &str) -> Result<Vec<(String, i64, f64)>, HarnessError> {
    let answer = get(server, &format!("/render?format=json&target={target}&{range}"))?;
    if answer.status != 200 {
        return Err(HarnessError::failed(format!("rendering {target}"), answer.body));
    }
    let json = answer.json();
    let mut points = Vec::new();
    for series in json.as_array().into_iter().flatten() {
        let name = series["target"].as_str().unwrap_or_default();
        for point in series["datapoints"].as_array().into_iter().flatten() {
            if let (Some(value), Some(second)) = (point[0].as_f64(), point[1].as_i64()) {
                points.push((name.to_owned(), second, value));
            }
        }
    }
    Ok(points)
}

/// Sends a form.
///
/// # Errors
/// When there is no answer, or it is not HTTP.
pub fn post_form(server: SocketAddr, path: &str, form: &str) -> Result<Answer, HarnessError> {
    ask(server, "POST", path, &[("Content-Type", "application/x-www-form-urlencoded")], form)
}

/// Sends any request.
///
/// # Errors
/// When there is no answer, or it is not HTTP.
pub fn ask(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answer, HarnessError> {
    let failed = |error: std::io::Error| HarnessError::failed(format!("{method} http://{server}{path}"), error);
    // To version 1.0 a long answer comes as it is, and ends with the connection; to 1.1 it would come in chunks.
    let mut request = format!("{method} {path} HTTP/1.0\r\nHost: {server}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        // Writing to a string never fails.
        let _ = write!(request, "{name}: {value}\r\n");
    }
    request.push_str("\r\n");
    request.push_str(body);
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes);
    parse(&text).ok_or_else(|| HarnessError::failed(format!("{method} http://{server}{path}"), format!("got {text:?}")))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Answer { status, headers, body: body.to_owned() })
}
