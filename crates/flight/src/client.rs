//! The asking side: one connection, shared by every query, made when it is first needed and again when it breaks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow_flight::FlightClient;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use futures::{Stream, StreamExt, TryStreamExt};
use thiserror::Error;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Status};

use crate::action::{Action, EventList, FindNode, Health};
use crate::rows::{self, SeriesRow};
use crate::ticket::{Query, Ticket};

/// The longest that making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a silent connection is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// The largest message taken from the sidecar: one series of four million values.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// Where the sidecar is, and how to be let in. Its `Debug` shows no secret.
#[derive(Clone, Default)]
pub struct ClientSettings {
    /// `http://host:port`, or `https://` for TLS.
    pub address: String,
    /// A bearer token.
    pub token: Option<String>,
    /// PEM of the authority that signed the sidecar's certificate; absent: those that the system trusts.
    pub ca_certificate: Option<String>,
    /// PEM of a certificate and its key, for a sidecar that asks for one.
    pub identity: Option<(String, String)>,
    /// The name that the sidecar's certificate is checked against; absent: the host of the address.
    pub server_name: Option<String>,
    /// Take any certificate. Only for tests of a set-up.
    pub skip_verify: bool,
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings")
            .field("address", &self.address)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("identity", &self.identity.as_ref().map(|_| "…"))
            .field("server_name", &self.server_name)
            .field("skip_verify", &self.skip_verify)
            .finish_non_exhaustive()
    }
}

/// Whose fault an error is, so that a caller can choose a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The settings cannot work.
    Settings,
    /// The question is wrong.
    BadQuery,
    /// The question is over a limit.
    Limit,
    /// The token is missing or wrong.
    Unauthenticated,
    /// The sidecar does not answer.
    Unavailable,
    /// The sidecar took too long.
    Timeout,
    /// Something else went wrong there.
    Internal,
}

/// Why there is no answer, in one line.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct ClientError {
    /// Whose fault it is.
    pub kind: ErrorKind,
    /// What is wrong, where, and what would be right.
    pub message: String,
}

impl ClientError {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// A connection to a sidecar. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    address: String,
    authorization: Option<Authorization>,
}

#[derive(Clone)]
struct Authorization(String);

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Client {
    /// A client that connects when it is first asked. Must be made inside a tokio runtime.
    ///
    /// # Errors
    /// When the settings cannot work, which says which of them.
    pub fn new(settings: &ClientSettings) -> Result<Self, ClientError> {
        let wrong = |message: String| ClientError::new(ErrorKind::Settings, message);
        let address = settings.address.trim_end_matches('/');
        let secure = address.starts_with("https://");
        if !secure && !address.starts_with("http://") {
            return Err(wrong(format!(
                "the sidecar's address is {address:?}; expected http://host:8815, or https:// for tls"
            )));
        }
        if address.contains('@') {
            return Err(wrong(
                "the sidecar's address may not hold a user or a password; enter its token instead".to_owned(),
            ));
        }
        let mut endpoint = Endpoint::from_shared(address.to_owned())
            .map_err(|error| wrong(format!("the sidecar's address {address:?} is not a url: {error}")))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(Duration::from_secs(30)))
            .http2_adaptive_window(true)
            // A sidecar that has gone without a word is noticed, by panels that are live, too.
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(CONNECT_TIMEOUT)
            .keep_alive_while_idle(true);
        if secure {
            endpoint = with_tls(endpoint, settings).map_err(|error| {
                wrong(format!("the tls settings of the sidecar are not usable: {}", root_cause(&error)))
            })?;
        }
        let authorization = match settings.token.as_deref() {
            None | Some("") => None,
            Some(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Some(Authorization(format!("Bearer {token}")))
            }
            Some(_) => return Err(wrong("the sidecar's token has characters that no header can carry".to_owned())),
        };
        Ok(Self { channel: endpoint.connect_lazy(), address: address.to_owned(), authorization })
    }

    /// Asks for series, and collects them. Dropping the future cancels the question in the sidecar.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn query(&self, query: Query) -> Result<Vec<SeriesRow>, ClientError> {
        let mut series = Vec::new();
        let mut batches = self.stream(query).await?;
        while let Some(rows) = batches.next().await {
            series.extend(rows?);
        }
        Ok(series)
    }

    /// Asks for series, and hands on each batch as it comes. Dropping the stream cancels the question.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn stream(
        &self,
        query: Query,
    ) -> Result<impl Stream<Item = Result<Vec<SeriesRow>, ClientError>> + Send + Unpin + 'static, ClientError> {
        let address = self.address.clone();
        let ticket = arrow_flight::Ticket { ticket: Ticket::new(query).encode() };
        let batches = self.flight()?.do_get(ticket).await.map_err(|error| self.explain(&error))?;
        Ok(batches.map(move |batch| {
            let batch = batch.map_err(|error| explain(&address, &error))?;
            rows::decode(&batch).map_err(|error| ClientError::new(ErrorKind::Internal, error.to_string()))
        }))
    }

    /// One level of the tree of paths.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn find(&self, find: crate::action::Find) -> Result<Vec<FindNode>, ClientError> {
        self.ask(Action::Find(find)).await
    }

    /// The names of tags.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn tags(&self, tags: crate::action::Tags) -> Result<Vec<String>, ClientError> {
        self.ask(Action::Tags(tags)).await
    }

    /// The values of a tag.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn tag_values(&self, values: crate::action::TagValues) -> Result<Vec<String>, ClientError> {
        self.ask(Action::TagValues(values)).await
    }

    /// What happened in a span of time.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn events(&self, events: crate::action::Events) -> Result<EventList, ClientError> {
        self.ask(Action::Events(events)).await
    }

    /// The functions of the Graphite language, as JSON in the shape of Graphite's `/functions`.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn functions(&self) -> Result<serde_json::Value, ClientError> {
        self.ask(Action::Functions).await
    }

    /// How the sidecar is.
    ///
    /// # Errors
    /// See [`ErrorKind`].
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.ask(Action::Health).await
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, action: Action) -> Result<T, ClientError> {
        let wire = arrow_flight::Action { r#type: action.name().to_owned(), body: action.body() };
        let mut results = self.flight()?.do_action(wire).await.map_err(|error| self.explain(&error))?;
        let body = results.try_next().await.map_err(|error| self.explain(&error))?.unwrap_or_default();
        serde_json::from_slice(&body).map_err(|error| {
            ClientError::new(
                ErrorKind::Internal,
                format!("statlined at {} answered {:?} with something else: {error}", self.address, action.name()),
            )
        })
    }

    fn flight(&self) -> Result<FlightClient, ClientError> {
        let inner = FlightServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let mut client = FlightClient::new_from_inner(inner);
        if let Some(Authorization(value)) = &self.authorization {
            client
                .add_header("authorization", value)
                .map_err(|_| ClientError::new(ErrorKind::Settings, "the sidecar's token cannot be sent"))?;
        }
        Ok(client)
    }

    fn explain(&self, error: &FlightError) -> ClientError {
        explain(&self.address, error)
    }
}

fn with_tls(endpoint: Endpoint, settings: &ClientSettings) -> Result<Endpoint, tonic::transport::Error> {
    let mut tls = ClientTlsConfig::new();
    if let Some(name) = settings.server_name.as_deref().filter(|name| !name.is_empty()) {
        tls = tls.domain_name(name);
    }
    if let Some((certificate, key)) = &settings.identity {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    if settings.skip_verify {
        return endpoint.tls_config_with_verifier(tls, Arc::new(AnyCertificate::default()));
    }
    match settings.ca_certificate.as_deref().filter(|pem| !pem.trim().is_empty()) {
        Some(pem) => tls = tls.ca_certificate(Certificate::from_pem(pem)),
        None => tls = tls.with_native_roots(),
    }
    endpoint.tls_config(tls)
}

/// The verifier of someone who has switched verification off: signatures are checked, the signer is not.
#[derive(Debug)]
struct AnyCertificate(rustls::crypto::WebPkiSupportedAlgorithms);

impl Default for AnyCertificate {
    fn default() -> Self {
        Self(rustls::crypto::ring::default_provider().signature_verification_algorithms)
    }
}

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.supported_schemes()
    }
}

fn explain(address: &str, error: &FlightError) -> ClientError {
    let FlightError::Tonic(status) = error else {
        return ClientError::new(
            ErrorKind::Internal,
            format!("statlined at {address} answered out of protocol: {error}"),
        );
    };
    let kind = match status.code() {
        Code::InvalidArgument | Code::NotFound | Code::OutOfRange => ErrorKind::BadQuery,
        Code::ResourceExhausted => ErrorKind::Limit,
        Code::Unauthenticated | Code::PermissionDenied => ErrorKind::Unauthenticated,
        // A server that speaks TLS hangs up on a client that does not, which comes out as a cancellation.
        Code::Unavailable | Code::Cancelled => ErrorKind::Unavailable,
        Code::DeadlineExceeded => ErrorKind::Timeout,
        _ => ErrorKind::Internal,
    };
    let message = match kind {
        ErrorKind::Unavailable => {
            let cause = root_cause(status.as_ref());
            let hint = if cause.contains("certificate") || status.code() == Code::Cancelled {
                "check http:// or https:// and the tls settings on both sides"
            } else {
                "is it running, and is this its flight address?"
            };
            format!("statlined does not answer at {address}: {cause}; {hint}")
        }
        ErrorKind::Unauthenticated => {
            format!("statlined at {address} refuses the token: {}; check the sidecar's token", status.message())
        }
        _ => clean_message(status),
    };
    ClientError::new(kind, message)
}

/// The status' own message, or its code in words.
fn clean_message(status: &Status) -> String {
    if status.message().is_empty() { status.code().description().to_owned() } else { status.message().to_owned() }
}

/// The innermost reason, for example "connection refused", which is what a person can act on.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(address: &str) -> ClientSettings {
        ClientSettings { address: address.to_owned(), ..ClientSettings::default() }
    }

    #[tokio::test]
    async fn settings_that_cannot_work_are_refused_at_once() {
        for (settings, said) in [
            (settings("localhost:8815"), "expected http://host:8815"),
            (settings("http://a b"), "is not a url"),
            (settings("http://user:hunter2@localhost:8815"), "may not hold a user"),
            (ClientSettings { token: Some("a\nb".into()), ..settings("http://localhost:8815") }, "no header can carry"),
        ] {
            let error = Client::new(&settings).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Settings);
            assert!(error.message.contains(said) && !error.message.contains("hunter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_sidecar_that_is_away_is_named() {
        // Port 1 on loopback: nothing listens there.
        let client = Client::new(&settings("http://127.0.0.1:1")).unwrap();
        let error = client.health().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.message.contains("http://127.0.0.1:1: Connection refused"), "{error}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let settings = ClientSettings {
            token: Some("hunter2".into()),
            identity: Some(("cert".into(), "hunter2".into())),
            ..settings("http://localhost:8815")
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
