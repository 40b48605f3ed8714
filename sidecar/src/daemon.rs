//! Starts everything in the order in which it is needed, and stops it in the order in which nothing is lost.
//!
//! Start: store, sockets (those that a service manager passed are used as they are), receivers, flusher, servers. Stop: no new connections, what the kernel handed over is received
//! and flushed, carbon connections append what they read, servers finish their answers, the store closes.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::serve::ListenerExt;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use statline_series::Step;
use statline_statsd::State;
use statline_store::{EmbeddedStore, Store, StoreError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use crate::access::Access;
use crate::backups::Backups;
use crate::carbon::{self, CarbonStats};
use crate::config::{self, Config};
use crate::console::{self, Console};
use crate::engine::Engine;
use crate::flight::Flight;
use crate::flusher::{FlushError, Flusher, Links};
use crate::frequent::Frequent;
use crate::http::{self, Shared};
use crate::keeper::Keeper;
use crate::mapping;
use crate::receive::inherit::{self, Inherited};
use crate::receive::{ReceiveError, Receivers};
use crate::status::Status;
use crate::tls::{self, TlsListener};

/// How long servers may finish their answers after the last flush.
const DRAIN: Duration = Duration::from_secs(1);
/// How long the last flush, and then the store's end, may take each before the daemon gives up and says so.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// The upper ends of the buckets that durations are counted in, in seconds.
const DURATION_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
/// How often durations are put into their buckets, whether anybody scrapes or not.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why the daemon did not start, or did not stop well, in one line.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The statsd sockets.
    #[error("{0}")]
    Receive(#[from] ReceiveError),
    /// Another socket.
    #[error("{key}: cannot listen on {address}: {source}")]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// The address it holds.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The flusher.
    #[error("{0}")]
    Flush(#[from] FlushError),
    /// A certificate or key.
    #[error("{key}: cannot use {path}: {reason}")]
    Tls {
        /// The key of the configuration.
        key: &'static str,
        /// The file it names.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Anything that a valid configuration cannot cause.
    #[error("{0}")]
    Other(String),
}

/// Runs until SIGTERM or SIGINT. `inherited` are sockets that a service manager has opened.
///
/// # Errors
/// When something could not start, or points could not be stored at the end.
pub async fn run(config: Config, inherited: Vec<Inherited>) -> Result<(), DaemonError> {
    // Without a handle on the signals there would be no orderly stop, so they come first.
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| DaemonError::Other(error.to_string()))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| DaemonError::Other(error.to_string()))?;
    let daemon = Daemon::start(config, inherited).await?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        () = daemon.failed.cancelled() => tracing::error!("something failed for good: stopping"),
    }
    daemon.stop().await
}

struct Daemon {
    store: Arc<dyn Store>,
    stop: CancellationToken,
    /// Cancelled when the flusher ends, which it does by itself only when it cannot go on.
    failed: CancellationToken,
    flusher: JoinHandle<Result<(), FlushError>>,
    carbon: JoinHandle<()>,
    servers: Vec<JoinHandle<()>>,
}

impl Daemon {
    async fn start(config: Config, mut inherited: Vec<Inherited>) -> Result<Self, DaemonError> {
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let metrics = PrometheusBuilder::new()
            .set_buckets(&DURATION_BUCKETS)
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|error| DaemonError::Other(format!("the metrics recorder could not start: {error}")))?;
        let step = config.statsd.step();
        let embedded = open_store(&config.store, step).await?;
        let store: Arc<dyn Store> = Arc::clone(&embedded) as Arc<dyn Store>;
        let http_listener = listen("http.listen", config.http.listen, &mut inherited).await?;
        let flight_listener = listen("flight.listen", config.flight.listen, &mut inherited).await?;
        let sockets_directory = config.store.path.join("sockets");
        let carbon_listeners =
            carbon::Listeners::open(&config.carbon, &sockets_directory.join("carbon"), &mut inherited)
                .map_err(|carbon::ListenError { key, address, source }| DaemonError::Listen { key, address, source })?;
        let carbon_rules = carbon::rules::Rules::load(&config.carbon).map_err(DaemonError::Other)?;
        let mut console_listeners = Vec::new();
        for address in &config.console.listen {
            console_listeners.push(listen("console.listen", *address, &mut inherited).await?);
        }
        let flight_tls = flight_tls(&config.flight)?;
        let http_tls = http_tls(&config.http)?;
        let receive = config.statsd.receive(&config.repeater, sockets_directory);
        let receivers = Receivers::start(&receive, inherited)?;
        let addresses =
            |listeners: &[TcpListener]| join(listeners.iter().filter_map(|listener| listener.local_addr().ok()));
        let places = receivers.places();
        tracing::info!(
            statsd = join(places.udp.iter()),
            statsd_tcp = join(places.tcp.iter()),
            statsd_unix = join(places.unix.iter().map(|path| path.display())),
            console = addresses(&console_listeners),
            carbon = join(carbon_listeners.plaintext().iter()),
            carbon_udp = join(carbon_listeners.udp().iter()),
            carbon_pickle = join(carbon_listeners.pickle().iter()),
            http = addresses(std::slice::from_ref(&http_listener)),
            flight = addresses(std::slice::from_ref(&flight_listener)),
            store = %config.store.path.display(),
            series = store.stats().series,
            "ready"
        );

        let stop = CancellationToken::new();
        let (flush_sender, flushed) = watch::channel(None);
        let received = receivers.stats();
        let state = State::new(config.statsd.flush_config(), &config.statsd.limits())
            .map_err(|error| DaemonError::Other(error.to_string()))?;
        let registry = state.registry();
        let rules = mapping::load(&config.mapping.file)
            .await
            .map_err(|error| DaemonError::Other(format!("mapping.file: {error}")))?;
        let (rules, in_force) = watch::channel(rules);
        tokio::spawn(mapping::keep_up(config.mapping.file.clone(), rules, stop.clone()));
        let (asks, asked) = mpsc::channel(console::WAITING_ASKS);
        let flusher = Flusher::new(
            receivers,
            state,
            Arc::clone(&store),
            Keeper::new(&config.store.path),
            step,
            config.statsd.max_waiting_points,
            Links {
                flushed: flush_sender,
                asks: asked,
                rules: in_force,
                frequent: Frequent::new(config.statsd.key_flush.clone()),
            },
        )
        .await?;
        let status = Arc::new(Status::new(Arc::clone(&store), step, flushed.clone()));
        let engine = Engine::new(Arc::clone(&store), config.query.clone(), step, flushed);

        let carbon_stats: Arc<CarbonStats> = Arc::default();
        let carbon = tokio::spawn(carbon::serve(
            carbon_listeners,
            config.carbon.clone(),
            carbon_rules,
            Arc::clone(&store),
            config.store.max_series,
            Arc::clone(&carbon_stats),
            stop.clone(),
        ));
        let console = Arc::new(Console {
            asks,
            received: Arc::clone(&received),
            status: Arc::clone(&status),
            config_text: console::config_text(&config),
            config: config.console.clone(),
            started: Instant::now(),
        });
        let connections = Arc::new(Semaphore::new(config.console.max_connections));
        let consoles = console_listeners.into_iter().map(|listener| {
            let (console, connections, stop) = (Arc::clone(&console), Arc::clone(&connections), stop.clone());
            tokio::spawn(console::serve(listener, console, connections, stop))
        });
        let mut servers: Vec<JoinHandle<()>> = consoles.collect();
        tokio::spawn(upkeep(metrics.clone(), stop.clone()));
        let shared = Shared {
            engine: engine.clone(),
            status,
            received,
            carbon: carbon_stats,
            metrics,
            registry,
            backups: Backups::new(embedded, config.store.backup_path.clone()),
            access: Access::new(config.http.token.reveal()),
        };
        let flight = Flight::new(engine, Access::new(config.flight.token.reveal()));
        servers.push(tokio::spawn(serve_http(http_listener, http_tls, shared, stop.clone())));
        servers.push(tokio::spawn(serve_flight(flight_listener, flight_tls, flight, stop.clone())?));
        let failed = CancellationToken::new();
        let ended = failed.clone().drop_guard();
        let flushing = flusher.run(stop.clone());
        let flusher = tokio::spawn(async move {
            let _ended = ended;
            flushing.await
        });
        Ok(Self { store, stop, failed, flusher, carbon, servers })
    }

    async fn stop(self) -> Result<(), DaemonError> {
        self.stop.cancel();
        let flushed = in_time("the last flush", self.flusher)
            .await?
            .map_err(|error| DaemonError::Other(format!("the flusher failed: {error}")))?;
        let deadline = tokio::time::Instant::now() + DRAIN;
        for mut task in std::iter::once(self.carbon).chain(self.servers) {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                tracing::warn!("an answer took too long to finish and is cut off");
                task.abort();
            }
        }
        in_time("closing the store", self.store.close()).await??;
        flushed?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Keeps the durations that wait to be counted few.
async fn upkeep(metrics: PrometheusHandle, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
        metrics.run_upkeep();
    }
}

/// What a stop waits for, unless it takes too long: a disk that does not answer must not hold the daemon for ever.
async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> Result<T, DaemonError> {
    tokio::time::timeout(LAST_WORDS, work)
        .await
        .map_err(|_| DaemonError::Other(format!("{what} took longer than {} s and is given up", LAST_WORDS.as_secs())))
}

/// Addresses as one text, for the log.
fn join(addresses: impl Iterator<Item = impl ToString>) -> String {
    addresses.map(|address| address.to_string()).collect::<Vec<_>>().join(",")
}

async fn open_store(config: &config::Store, step: Step) -> Result<Arc<EmbeddedStore>, DaemonError> {
    let embedded = config.embedded(step).map_err(DaemonError::Other)?;
    let opened = tokio::task::spawn_blocking(move || EmbeddedStore::open(embedded)).await;
    let store = opened.map_err(|error| DaemonError::Other(format!("the store failed to open: {error}")))??;
    Ok(Arc::new(store))
}

/// Listens on the address of a key, or takes the socket that was passed for its section.
async fn listen(
    key: &'static str,
    address: SocketAddr,
    inherited: &mut Vec<Inherited>,
) -> Result<TcpListener, DaemonError> {
    let listener = match inherit::take_tcp(inherited, key.trim_end_matches(".listen"), address) {
        Some(socket) => socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket.into())),
        None => TcpListener::bind(address).await,
    };
    listener.map_err(|source| DaemonError::Listen { key, address, source })
}

async fn serve_http(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Shared, stop: CancellationToken) {
    let listener = listener.tap_io(|stream| {
        // Without it an answer waits for the client's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
    });
    let (router, stopped) = (http::router(shared), stop.cancelled_owned());
    let served = match tls {
        None => axum::serve(listener, router).with_graceful_shutdown(stopped).await,
        Some(tls) => axum::serve(TlsListener::new(listener, tls), router).with_graceful_shutdown(stopped).await,
    };
    if let Err(error) = served {
        tracing::error!(%error, "the http server ended");
    }
}

fn serve_flight(
    listener: TcpListener,
    tls: Option<ServerTlsConfig>,
    flight: Flight,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + Send + use<>, DaemonError> {
    let mut server = Server::builder();
    if let Some(tls) = tls {
        server = server
            .tls_config(tls)
            .map_err(|error| DaemonError::Other(format!("flight.tls_certificate and flight.tls_key: {error}")))?;
    }
    let router = server.add_service(FlightServiceServer::new(flight));
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(async move {
        if let Err(error) = router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await {
            tracing::error!(%error, "the flight server ended");
        }
    })
}

fn http_tls(config: &config::Http) -> Result<Option<TlsAcceptor>, DaemonError> {
    if config.tls_key.as_os_str().is_empty() {
        return Ok(None);
    }
    let client_ca = Some(config.tls_client_ca.as_path()).filter(|path| !path.as_os_str().is_empty());
    let acceptor = tls::acceptor(&config.tls_certificate, &config.tls_key, client_ca);
    acceptor.map(Some).map_err(|(key, reason)| {
        let (key, path) = match key {
            "tls_certificate" => ("http.tls_certificate", &config.tls_certificate),
            "tls_client_ca" => ("http.tls_client_ca", &config.tls_client_ca),
            _ => ("http.tls_key", &config.tls_key),
        };
        DaemonError::Tls { key, path: path.display().to_string(), reason }
    })
}

fn flight_tls(config: &config::Flight) -> Result<Option<ServerTlsConfig>, DaemonError> {
    if config.tls_key.as_os_str().is_empty() {
        return Ok(None);
    }
    let certificate = read_pem("flight.tls_certificate", &config.tls_certificate)?;
    let key = read_pem("flight.tls_key", &config.tls_key)?;
    let mut tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
    if !config.tls_client_ca.as_os_str().is_empty() {
        tls = tls.client_ca_root(Certificate::from_pem(read_pem("flight.tls_client_ca", &config.tls_client_ca)?));
    }
    Ok(Some(tls))
}

fn read_pem(key: &'static str, path: &Path) -> Result<String, DaemonError> {
    std::fs::read_to_string(path).map_err(|error| DaemonError::Tls {
        key,
        path: path.display().to_string(),
        reason: error.to_string(),
    })
}
