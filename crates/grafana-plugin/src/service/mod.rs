//! The gRPC services: one file for each face that the host sees, all of them thin over the [`Plugin`].

mod data;
mod diagnostics;
mod process;
mod resource;
mod stream;
mod too_large;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::isolate::{Isolated, Panicked, isolated};
use crate::metrics::{Metrics, count};
use crate::plugin::Plugin;
use crate::proto::goplugin::grpc_broker_server::GrpcBrokerServer;
use crate::proto::goplugin::grpc_controller_server::GrpcControllerServer;
use crate::proto::goplugin::grpc_stdio_server::GrpcStdioServer;
use crate::proto::health::health_server::HealthServer;
use crate::proto::pluginv2::data_server::DataServer;
use crate::proto::pluginv2::diagnostics_server::DiagnosticsServer;
use crate::proto::pluginv2::resource_server::ResourceServer;
use crate::proto::pluginv2::stream_server::StreamServer;
use crate::serve::ServeOptions;
use crate::shutdown::Shutdown;

/// The largest request that is read, as Grafana's own plugins have it.
pub(crate) const MAX_REQUEST_BYTES: usize = 16 << 20;

/// Calls that one host may have under way: streams stay open for as long as a panel does.
const MAX_CONCURRENT_CALLS: u32 = 4096;
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// What all services share.
pub(crate) struct Core {
    plugin: Arc<dyn Plugin>,
    metrics: Metrics,
    shutdown: Shutdown,
    query_permits: Semaphore,
    max_concurrent_queries: usize,
    max_queries_per_request: usize,
}

impl Core {
    /// Counts an outcome that is a panic, and passes it on.
    fn noted<T>(&self, outcome: Result<T, Panicked>) -> Result<T, Panicked> {
        if outcome.is_err() {
            count(&self.metrics.panics);
        }
        outcome
    }
}

/// All services in one; a clone shares the core.
#[derive(Clone)]
pub(crate) struct Service {
    core: Arc<Core>,
}

impl Service {
    pub(crate) fn new(plugin: impl Plugin, options: &ServeOptions, shutdown: Shutdown) -> Self {
        let max_concurrent_queries = options.max_concurrent_queries.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            core: Arc::new(Core {
                plugin: Arc::new(plugin),
                metrics: Metrics::default(),
                shutdown,
                query_permits: Semaphore::new(max_concurrent_queries),
                max_concurrent_queries,
                max_queries_per_request: options.max_queries_per_request,
            }),
        }
    }

    /// Starts a call to the plugin on a task of its own.
    fn start<T, F>(&self, call: impl FnOnce(Arc<dyn Plugin>) -> F) -> Isolated<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        isolated(call(Arc::clone(&self.core.plugin)))
    }

    /// Serves until the order to stop has been given and every call has ended.
    pub(crate) async fn serve(self, listener: TcpListener) -> Result<(), tonic::transport::Error> {
        let until = self.core.shutdown.begun();
        let core = Arc::clone(&self.core);
        let refuse_too_large = tower::util::MapResponseLayer::new(move |response| {
            too_large::explained(response, || count(&core.metrics.requests_too_large))
        });
        Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(MAX_CONCURRENT_CALLS)
            .layer(refuse_too_large)
            .add_service(DataServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(DiagnosticsServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(ResourceServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(StreamServer::new(self.clone()).max_decoding_message_size(MAX_REQUEST_BYTES))
            .add_service(GrpcControllerServer::new(self.clone()))
            .add_service(GrpcStdioServer::new(self.clone()))
            .add_service(GrpcBrokerServer::new(self.clone()))
            .add_service(HealthServer::new(self))
            .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), until)
            .await
    }
}
