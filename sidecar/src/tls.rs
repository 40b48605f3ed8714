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

/// Connections whose handshake is done.
pub struct TlsListener<L: Listener> {
    connections: L,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<Option<(TlsStream<L::Io>, L::Addr)>>,
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
