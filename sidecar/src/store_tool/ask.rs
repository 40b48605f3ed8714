//! Asking the running daemon for a backup, over its HTTP API.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use super::{BackupArgs, Outcome, own_tls};
use crate::backups::{Made, check_name};
use crate::config::Config;

/// The longest that connecting may take. The answer comes when the backup is made, however long that takes.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest answer.
const MAX_ANSWER_BYTES: u64 = 1 << 20;

/// Has the daemon make a backup at `target`, which has to be right inside of `store.backup_path`.
pub fn for_backup(config: &Config, args: &BackupArgs, target: &Path) -> Outcome<Made> {
    let backup_path = &config.store.backup_path;
    let store = config.store.path.display();
    if backup_path.as_os_str().is_empty() {
        return Err(format!(
            "a daemon has {store} open, and it only writes backups into store.backup_path, which is not set; \
             set it, or stop the daemon"
        )
        .into());
    }
    let is_inside = target.parent().is_some_and(|parent| same_directory(parent, backup_path));
    let name = target.file_name().and_then(|name| name.to_str()).filter(|_| is_inside).ok_or_else(|| {
        format!(
            "a daemon has {store} open, and it only writes backups into {}; give a name without a slash, or stop the daemon",
            backup_path.display()
        )
    })?;
    let path = format!("/api/v1/backup?name={}", check_name(name)?);
    let token = args.token.as_deref().unwrap_or_else(|| config.http.token.reveal());
    if !config.http.tls_client_ca.as_os_str().is_empty() {
        return Err(format!(
            "a daemon has {store} open, and it wants a certificate of whoever asks (http.tls_client_ca), which this command has not; \
             have it POST {path}, by curl for one"
        )
        .into());
    }
    let address = match &args.address {
        Some(address) => address.to_socket_addrs()?.next().ok_or("--address names no host")?,
        None => reachable(config.http.listen),
    };
    let certificate = Some(config.http.tls_certificate.as_path()).filter(|path| !path.as_os_str().is_empty());
    let (status, body) = post(address, certificate, &path, token)
        .map_err(|error| format!("the daemon at {address} did not answer: {error}"))?;
    if status != 200 {
        return Err(format!("the daemon at {address} answered {status}: {}", body.trim_end()).into());
    }
    serde_json::from_str(&body).map_err(|_| format!("what answers at {address} is no statlined").into())
}

fn same_directory(left: &Path, right: &Path) -> bool {
    left == right || matches!((left.canonicalize(), right.canonicalize()), (Ok(left), Ok(right)) if left == right)
}

/// Where a daemon that listens on an address is found from here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

/// One request, over TLS when there is a certificate that the daemon has to have. The status and the body.
fn post(address: SocketAddr, certificate: Option<&Path>, path: &str, token: &str) -> io::Result<(u16, String)> {
    let stream = TcpStream::connect_timeout(&address, CONNECT)?;
    let authorization = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let request =
        format!("POST {path} HTTP/1.0\r\nHost: {address}\r\n{authorization}{kind}\r\nContent-Length: 0\r\n\r\n");
    match certificate {
        Some(certificate) => exchange(own_tls::over(stream, certificate)?, &request),
        None => exchange(stream, &request),
    }
}

/// Sends a request of HTTP/1.0, whose answer ends with the connection.
fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<(u16, String)> {
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER_BYTES).read_to_string(&mut answer)?;
    let parsed = answer.split_once("\r\n\r\n").and_then(|(head, body)| {
        let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    });
    parsed.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}
