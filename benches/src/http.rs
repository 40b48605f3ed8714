//! Asking servers over HTTP, a request a connection, and how long that takes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Error;

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer, into which the next one is read too, so that no memory has to be made for it.
#[derive(Debug, Default)]
pub struct Answer {
    bytes: Vec<u8>,
    /// How long it took from the connection to the last byte.
    pub took: Duration,
}

impl Answer {
    /// Asks for a path with its query.
    ///
    /// # Errors
    /// When there is no answer, or it says that something is wrong.
    pub fn get(&mut self, server: SocketAddr, path: &str) -> Result<(), Error> {
        self.ask(server, "GET", path, "")
    }

    /// Asks in any way, with a form.
    ///
    /// # Errors
    /// When there is no answer, or it says that something is wrong.
    pub fn ask(&mut self, server: SocketAddr, method: &str, path: &str, form: &str) -> Result<(), Error> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        self.bytes.clear();
        let began = Instant::now();
        let mut stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(head.as_bytes())?;
        stream.read_to_end(&mut self.bytes)?;
        self.took = began.elapsed();
        if self.bytes.starts_with(b"HTTP/1.1 2") {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&self.bytes[..self.bytes.len().min(600)]);
        Err(format!("{method} {path}: {}", said.split("\r\n\r\n").nth(1).unwrap_or(&said).trim()).into())
    }

    /// Its body, put together when it came in chunks.
    ///
    /// # Errors
    /// When it is not HTTP.
    pub fn body(&self) -> Result<Vec<u8>, Error> {
        let end = self.bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or("the answer has no head")?;
        let head = String::from_utf8_lossy(&self.bytes[..end]).to_ascii_lowercase();
        let mut rest = &self.bytes[end + 4..];
        if !head.contains("transfer-encoding: chunked") {
            return Ok(rest.to_vec());
        }
        let mut body = Vec::with_capacity(rest.len());
        loop {
            let line = rest.windows(2).position(|bytes| bytes == b"\r\n").ok_or("a chunk has no length")?;
            let length = usize::from_str_radix(std::str::from_utf8(&rest[..line])?, 16)?;
            if length == 0 {
                return Ok(body);
            }
            body.extend_from_slice(rest.get(line + 2..line + 2 + length).ok_or("a chunk is cut off")?);
            rest = rest.get(line + 4 + length..).ok_or("a chunk has no end")?;
        }
    }
}

/// Names and values as a URL or a form has them.
#[must_use]
pub fn form_of(fields: &[(&str, &str)]) -> String {
    let mut form = String::new();
    for (name, value) in fields {
        form.push_str(if form.is_empty() { "" } else { "&" });
        for (text, end) in [(name, "="), (value, "")] {
            for byte in text.bytes() {
                if byte.is_ascii_alphanumeric() {
                    form.push(char::from(byte));
                } else {
                    form.push_str(&format!("%{byte:02X}"));
                }
            }
            form.push_str(end);
        }
    }
    form
}
