//! TLS before the HTTP API: who this server is, who its clients are, and handshakes that hold up nobody else.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::Listener;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a client may take to say who it is.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);
/// The most handshakes at once; further clients wait.
const MAX_HANDSHAKES: usize = 256;

/// What is wrong with a file: the key of the configuration that names it, within its section, and why.
pub type FileError = (&'static str, String);

/// Reads what a server proves itself with: its certificate and key, in PEM. With an authority, clients have to prove
/// themselves by a certificate that it has signed.
///
/// # Errors
/// When a file cannot be read or is no PEM, or key and certificate are not a pair.
pub fn acceptor(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Result<TlsAcceptor, FileError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates("tls_certificate", certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| ("tls_key", error.to_string()))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ("tls_key", error.to_string()))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates("tls_client_ca", path)? {
                roots.add(authority).map_err(|error| ("tls_client_ca", error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| ("tls_client_ca", error.to_string()))?)
        }
    };
    let mut config = builder.with_single_cert(chain, private).map_err(|error| ("tls_key", error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let failed = |error: rustls::pki_types::pem::Error| (key, error.to_string());
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if chain.is_empty() { Err((key, "there is no certificate in it".to_owned())) } else { Ok(chain) }
}

/// A handshake that may fail: what comes of it, and who it is with.
type Handshake<L> = Option<(TlsStream<<L as Listener>::Io>, <L as Listener>::Addr)>;

/// Connections whose handshake is done.
pub struct TlsListener<L: Listener> {
    connections: L,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<Handshake<L>>,
}

impl<L: Listener> TlsListener<L> {
    /// Of connections that have none yet.
    pub fn new(connections: L, acceptor: TlsAcceptor) -> Self {
        Self { connections, acceptor, handshakes: JoinSet::new() }
    }
}

impl<L: Listener<Addr: 'static>> Listener for TlsListener<L> {
    type Addr = L::Addr;
    type Io = TlsStream<L::Io>;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                Some(done) = self.handshakes.join_next() => {
                    // One that failed is its client's affair.
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
                (stream, address) = self.connections.accept(), if self.handshakes.len() < MAX_HANDSHAKES => {
                    let handshake = self.acceptor.accept(stream);
                    self.handshakes.spawn(async move {
                        match tokio::time::timeout(HANDSHAKE_TIME, handshake).await {
                            Ok(Ok(stream)) => Some((stream, address)),
                            Ok(Err(error)) => {
                                tracing::debug!(%error, "a tls handshake failed");
                                None
                            }
                            Err(_) => None,
                        }
                    });
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.connections.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::PathBuf;

    use axum::Router;
    use axum::routing::get;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::ClientConfig;
    use rustls::pki_types::ServerName;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsConnector;

    use super::*;

    /// An authority, and files of what it has signed.
    struct Authority {
        issuer: Issuer<'static, KeyPair>,
        directory: tempfile::TempDir,
    }

    impl Authority {
        fn new() -> Self {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("ca"), params.self_signed(&key).unwrap().pem()).unwrap();
            Self { issuer: Issuer::new(params, key), directory }
        }

        fn file(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        /// The files of a certificate for a host and of its key.
        fn sign(&self, host: &str) -> (PathBuf, PathBuf) {
            let key = KeyPair::generate().unwrap();
            let certificate = CertificateParams::new([host.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
            let (certificate_file, key_file) = (self.file(host), self.file(&format!("{host}.key")));
            std::fs::write(&certificate_file, certificate.pem()).unwrap();
            std::fs::write(&key_file, key.serialize_pem()).unwrap();
            (certificate_file, key_file)
        }
    }

    async fn serve(acceptor: TlsAcceptor) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "hello" }));
        tokio::spawn(async move { axum::serve(TlsListener::new(listener, acceptor), router).await });
        address
    }

    /// What a client gets that trusts an authority, and proves itself if it can.
    async fn ask(server: SocketAddr, trusted: &Authority, identity: Option<(PathBuf, PathBuf)>) -> io::Result<String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(trusted.file("ca")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_file(certificate).unwrap()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap()
            }
        };
        let stream = TcpStream::connect(server).await?;
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }

    #[tokio::test]
    async fn a_client_gets_in_by_tls_alone_and_holds_up_nobody() {
        let (ours, another) = (Authority::new(), Authority::new());
        let (certificate, key) = ours.sign("localhost");
        let server = serve(acceptor(&certificate, &key, None).unwrap()).await;
        // One that never says a word, and one that does not speak TLS.
        let _silent = TcpStream::connect(server).await.unwrap();
        let mut plain = TcpStream::connect(server).await.unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let answer = ask(server, &ours, None).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"), "{answer}");
        let error = ask(server, &another, None).await.unwrap_err().to_string();
        assert!(error.contains("invalid peer certificate"), "{error}");
        let mut said = Vec::new();
        plain.read_to_end(&mut said).await.unwrap();
        assert!(!String::from_utf8_lossy(&said).contains("hello"));
    }

    #[tokio::test]
    async fn clients_may_have_to_prove_themselves() {
        let (ours, another) = (Authority::new(), Authority::new());
        let (certificate, key) = ours.sign("localhost");
        let server = serve(acceptor(&certificate, &key, Some(&ours.file("ca"))).unwrap()).await;
        let allowed = ask(server, &ours, Some(ours.sign("grafana"))).await.unwrap();
        assert!(allowed.ends_with("hello"), "{allowed}");
        for identity in [None, Some(another.sign("grafana"))] {
            let refused = ask(server, &ours, identity).await;
            assert!(refused.as_ref().map_or(true, |text| !text.contains("hello")), "{refused:?}");
        }
    }

    #[test]
    fn a_file_that_is_of_no_use_is_named() {
        let (ours, another) = (Authority::new(), Authority::new());
        let (certificate, key) = ours.sign("localhost");
        let (_, other_key) = another.sign("localhost");
        let (absent, text) = (ours.file("absent"), ours.file("text"));
        std::fs::write(&text, "no pem").unwrap();
        for (certificate, key, ca, wrong) in [
            (&absent, &key, None, "tls_certificate"),
            (&text, &key, None, "tls_certificate"),
            (&certificate, &absent, None, "tls_key"),
            (&certificate, &text, None, "tls_key"),
            (&certificate, &other_key, None, "tls_key"),
            (&certificate, &key, Some(text.as_path()), "tls_client_ca"),
        ] {
            let (named, reason) = acceptor(certificate, key, ca).err().unwrap();
            assert_eq!(named, wrong, "{reason}");
            assert!(!reason.is_empty() && reason.lines().count() == 1, "{reason}");
        }
    }
}
