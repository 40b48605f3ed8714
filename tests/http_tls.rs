//! TLS before the HTTP API, as an operator sets it up: what a client gets in by, and `statlined store backup` over it.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use statline_harness::program::own_binary;
use statline_harness::statlined::Options;
use statline_harness::{Authority, Statlined, http};

const PATIENCE: Duration = Duration::from_secs(10);

/// What is in a directory: a store, backups, and the PEM files of a server for `localhost`.
struct Place {
    directory: tempfile::TempDir,
    authority: Authority,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap(), authority: Authority::new("ours").unwrap() };
        let (certificate, key) = place.authority.sign(&["localhost"]).unwrap();
        place.write("certificate.pem", &certificate);
        place.write("key.pem", &key);
        place.write("ca.pem", place.authority.certificate());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn options(&self) -> Options {
        Options::new(&self.path("store"), "1s")
            .set("store", "backup_path", self.path("backups").display())
            .set("http", "token", "t0k")
            .set("http", "tls_certificate", self.path("certificate.pem").display())
            .set("http", "tls_key", self.path("key.pem").display())
    }

    /// Runs `statlined store backup` with a configuration.
    fn backup(&self, name: &str, options: &Options, daemon: SocketAddr) -> Output {
        let mut command = Command::new(own_binary("statlined").unwrap());
        command.args(["store", "backup", name, "--address", &daemon.to_string()]);
        command.env("STATLINE_STORE__PATH", &options.store);
        command.envs(options.environment.iter().map(|(name, value)| (name, value))).output().unwrap()
    }
}

/// What a client gets that trusts an authority.
fn get(server: SocketAddr, host: &str, path: &str, token: &str, trusted: &str) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream);
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn only_who_trusts_the_certificate_and_has_the_token_gets_an_answer() {
    let place = Place::new();
    let statlined = Statlined::start(&place.options()).unwrap();
    let (server, ours) = (statlined.http(), place.authority.certificate());
    let answer = get(server, "localhost", "/version", "t0k", ours).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 OK") && answer.ends_with("\"1.1.10\""), "{answer}");
    let refused = get(server, "localhost", "/version", "guess", ours).unwrap();
    assert!(refused.starts_with("HTTP/1.0 401 "), "{refused}");
    let another = Authority::new("another").unwrap();
    for (host, trusted) in [("localhost", another.certificate()), ("elsewhere", ours)] {
        let error = get(server, host, "/version", "t0k", trusted).unwrap_err().to_string();
        assert!(error.contains("invalid peer certificate"), "{error}");
    }
    let plain = http::ask(server, "GET", "/version", &[("Authorization", "Bearer t0k")], "");
    assert!(plain.is_err(), "{plain:?}");
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_backup_is_asked_for_over_tls() {
    let place = Place::new();
    let options = place.options();
    let statlined = Statlined::start(&options).unwrap();
    let made = place.backup("first", &options, statlined.http());
    assert!(made.status.success(), "{}", said(&made));
    assert!(Path::new(&place.path("backups")).join("first").is_dir());

    let refused = |options: &Options| {
        let output = place.backup("second", options, statlined.http());
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
        said(&output)
    };
    // Whoever answers with another certificate does not see the token.
    let (another, _) = place.authority.sign(&["localhost"]).unwrap();
    place.write("another.pem", &another);
    let error = refused(&options.clone().set("http", "tls_certificate", place.path("another.pem").display()));
    assert!(error.contains("its certificate is not http.tls_certificate"), "{error}");
    let error = refused(&options.clone().set("http", "tls_certificate", place.path("absent.pem").display()));
    assert!(error.contains("http.tls_certificate") && error.contains("absent.pem"), "{error}");
    let error = refused(&options.clone().set("http", "tls_client_ca", place.path("ca.pem").display()));
    assert!(error.contains("http.tls_client_ca"), "{error}");
    assert!(!place.path("backups").join("second").exists());
}
