//! The other side of the protocol: a host that starts a plugin and asks it, as Grafana does.
//!
//! It exists so that tests, benchmarks and demonstrations drive the real program over the real protocol. It keeps what
//! the plugin prints, and a plugin ends with its host.

mod process;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::{Stream, TryStreamExt};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

pub use tonic::Code;

use self::process::Process;
use crate::context::RequestContext;
use crate::frame::{Frame, FrameError};
use crate::handshake::HandshakeError;
use crate::headers::Headers;
use crate::health::Health;
use crate::proto::goplugin::{self, grpc_controller_client::GrpcControllerClient};
use crate::proto::health::{HealthCheckRequest, health_client::HealthClient};
use crate::proto::pluginv2 as wire;
use crate::proto::pluginv2::data_client::DataClient;
use crate::proto::pluginv2::diagnostics_client::DiagnosticsClient;
use crate::proto::pluginv2::resource_client::ResourceClient;
use crate::proto::pluginv2::stream_client::StreamClient;
use crate::query::{DataQuery, DataResponse, ErrorSource};
use crate::resource::ResourceRequest;
use crate::stream::{StreamReply, StreamRequest, StreamStatus};

/// No variables beside those of this process, for [`Host::spawn`].
pub const NO_ENVIRONMENT: [(&str, &str); 0] = [];

/// How long a plugin that has been asked to stop is waited for before it is killed, as go-plugin has it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a plugin could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The program could not be started.
    #[error("{program} could not be started: {source}")]
    Start {
        /// The program.
        program: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The program ended, or said nothing, before the handshake.
    #[error("no handshake from {program}: {reason}; it printed {printed:?}")]
    NoHandshake {
        /// The program.
        program: String,
        /// What happened in its place.
        reason: String,
        /// The program's standard error until then.
        printed: Vec<String>,
    },
    /// The program's first line is not a plugin's.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The plugin does not listen where it said.
    #[error("the plugin cannot be reached: {0}")]
    Connect(#[from] tonic::transport::Error),
    /// The plugin answered a call with an error.
    #[error("{code:?}: {message}")]
    Call {
        /// The gRPC code.
        code: Code,
        /// The plugin's text.
        message: String,
    },
    /// The plugin sent a frame that is none.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The process could not be signalled or waited for.
    #[error("the plugin's process: {0}")]
    Process(#[source] std::io::Error),
}

impl From<Status> for HostError {
    fn from(status: Status) -> Self {
        Self::Call { code: status.code(), message: status.message().to_owned() }
    }
}

/// A plugin that runs. Killed when dropped.
#[derive(Debug)]
pub struct Host {
    process: Process,
    address: SocketAddr,
    channel: Channel,
}

/// One message of a chunked answer.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The query it answers.
    pub ref_id: String,
    /// Chunks with the same one are parts of one frame.
    pub frame_id: String,
    /// The rows.
    pub frame: Frame,
    /// The error's text, when there is one.
    pub error: Option<String>,
    /// An HTTP status code.
    pub status: u16,
    /// Whose fault the error is.
    pub error_source: Option<ErrorSource>,
}

/// The answer to a resource call, its body put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceAnswer {
    /// The HTTP status code.
    pub status: u16,
    /// The HTTP headers.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl ResourceAnswer {
    /// Reads the body as JSON.
    ///
    /// # Errors
    /// When it is not JSON of the shape `T`.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// How a plugin ended.
#[derive(Clone, Copy, Debug)]
pub struct Stopped {
    /// Its exit status.
    pub status: ExitStatus,
    /// From the order to stop to its end.
    pub took: Duration,
    /// Whether it had to be killed.
    pub killed: bool,
}

impl Host {
    /// Starts a program with variables added to this process's environment, shakes hands, and connects.
    ///
    /// # Errors
    /// When the program cannot be started, is no plugin, or says nothing for ten seconds.
    pub async fn spawn<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        program: impl AsRef<Path>,
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, HostError> {
        let (process, address) = Process::start(program.as_ref(), environment).await?;
        let channel = Endpoint::from_shared(format!("http://{address}"))?
            .tcp_nodelay(true)
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .connect()
            .await?;
        Ok(Self { process, address, channel })
    }

    fn data(&self) -> DataClient<Channel> {
        DataClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    fn streams(&self) -> StreamClient<Channel> {
        StreamClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    fn diagnostics(&self) -> DiagnosticsClient<Channel> {
        DiagnosticsClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    /// Asks whether the process answers at all.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), HostError> {
        let request = HealthCheckRequest { service: "plugin".to_owned() };
        HealthClient::new(self.channel.clone()).check(request).await?;
        Ok(())
    }

    /// Asks whether a data source works.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn check_health(&self, context: &RequestContext) -> Result<Health, HostError> {
        let request = wire::CheckHealthRequest {
            plugin_context: Some(context.plugin.to_wire()),
            headers: context.headers.to_wire_map(),
        };
        let response = self.diagnostics().check_health(traced(context, request)).await?;
        Ok(Health::from_wire(response.into_inner()))
    }

    /// The plugin's metrics in Prometheus text format.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn collect_metrics(&self, plugin_id: &str) -> Result<String, HostError> {
        let plugin_context = wire::PluginContext { plugin_id: plugin_id.to_owned(), ..wire::PluginContext::default() };
        let request = wire::CollectMetricsRequest { plugin_context: Some(plugin_context) };
        let response = self.diagnostics().collect_metrics(request).await?.into_inner();
        let text = response.metrics.unwrap_or_default().prometheus;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Asks queries; the answers come by refId.
    ///
    /// # Errors
    /// When the call as a whole fails, or a frame is none. The errors of single queries are in their answers.
    pub async fn query_data(
        &self,
        context: &RequestContext,
        queries: Vec<DataQuery>,
    ) -> Result<BTreeMap<String, DataResponse>, HostError> {
        let request = wire::QueryDataRequest {
            plugin_context: Some(context.plugin.to_wire()),
            headers: context.headers.to_wire_map(),
            queries: queries.into_iter().map(DataQuery::into_wire).collect(),
            format: wire::DataFrameFormat::Arrow.into(),
        };
        let response = self.data().query_data(traced(context, request)).await?.into_inner();
        response.responses.into_iter().map(|(ref_id, response)| Ok((ref_id, read_response(response)?))).collect()
    }

    /// Asks queries; the answers come in parts.
    ///
    /// # Errors
    /// When the call as a whole fails, or a frame is none. The errors of single queries are in their chunks.
    pub async fn query_chunked_data(
        &self,
        context: &RequestContext,
        queries: Vec<DataQuery>,
    ) -> Result<Vec<Chunk>, HostError> {
        let request = wire::QueryChunkedDataRequest {
            plugin_context: Some(context.plugin.to_wire()),
            headers: context.headers.to_wire_map(),
            queries: queries.into_iter().map(DataQuery::into_wire).collect(),
            format: wire::DataFrameFormat::Arrow.into(),
        };
        let chunks = self.data().query_chunked_data(traced(context, request)).await?.into_inner();
        chunks.map_err(HostError::from).and_then(async |chunk| read_chunk(chunk)).try_collect().await
    }

    /// Calls a resource and puts its body together.
    ///
    /// # Errors
    /// When the call fails. A status that means failure is an answer, not an error.
    pub async fn call_resource(
        &self,
        context: &RequestContext,
        request: ResourceRequest,
    ) -> Result<ResourceAnswer, HostError> {
        let request = traced(context, request.into_wire(context.plugin.to_wire()));
        let mut client = ResourceClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX);
        let mut messages = client.call_resource(request).await?.into_inner();
        let Some(head) = messages.message().await? else {
            return Err(HostError::Call { code: Code::Internal, message: "no answer to a resource call".to_owned() });
        };
        let mut body = BytesMut::from(&head.body[..]);
        while let Some(message) = messages.message().await? {
            body.extend_from_slice(&message.body);
        }
        Ok(ResourceAnswer {
            status: status_code(head.code),
            headers: Headers::from_wire_lists(head.headers),
            body: body.freeze(),
        })
    }

    /// Asks whether a channel may be subscribed to.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn subscribe_stream(
        &self,
        context: &RequestContext,
        request: StreamRequest,
    ) -> Result<StreamReply, HostError> {
        use wire::subscribe_stream_response::Status as Word;
        let request = wire::SubscribeStreamRequest {
            plugin_context: Some(context.plugin.to_wire()),
            path: request.path,
            data: request.data,
            headers: context.headers.to_wire_map(),
        };
        let response = self.streams().subscribe_stream(traced(context, request)).await?.into_inner();
        let status = match response.status() {
            Word::Ok => StreamStatus::Ok,
            Word::NotFound => StreamStatus::NotFound,
            Word::PermissionDenied => StreamStatus::PermissionDenied,
        };
        Ok(StreamReply { status, data: response.data })
    }

    /// Asks whether something may be published on a channel.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn publish_stream(
        &self,
        context: &RequestContext,
        request: StreamRequest,
    ) -> Result<StreamReply, HostError> {
        use wire::publish_stream_response::Status as Word;
        let request = wire::PublishStreamRequest {
            plugin_context: Some(context.plugin.to_wire()),
            path: request.path,
            data: request.data,
            headers: context.headers.to_wire_map(),
        };
        let response = self.streams().publish_stream(traced(context, request)).await?.into_inner();
        let status = match response.status() {
            Word::Ok => StreamStatus::Ok,
            Word::NotFound => StreamStatus::NotFound,
            Word::PermissionDenied => StreamStatus::PermissionDenied,
        };
        Ok(StreamReply { status, data: response.data })
    }

    /// Runs a channel; its packets come as they are sent. Dropping the stream leaves the channel.
    ///
    /// # Errors
    /// When the call fails at once; later failures come in the stream.
    pub async fn run_stream(
        &self,
        context: &RequestContext,
        request: StreamRequest,
    ) -> Result<impl Stream<Item = Result<Bytes, HostError>> + Send + Unpin + use<>, HostError> {
        let request = wire::RunStreamRequest {
            plugin_context: Some(context.plugin.to_wire()),
            path: request.path,
            data: request.data,
            headers: context.headers.to_wire_map(),
        };
        let packets = self.streams().run_stream(traced(context, request)).await?.into_inner();
        Ok(packets.map_ok(|packet| packet.data).map_err(HostError::from))
    }

    /// The lines that the plugin has logged, the newest ten thousand.
    #[must_use]
    pub fn log_lines(&self) -> Vec<String> {
        self.process.stderr_lines()
    }

    /// The lines that the plugin has printed on standard output after the handshake. There should be none.
    #[must_use]
    pub fn output_after_handshake(&self) -> Vec<String> {
        self.process.stdout_lines()
    }

    /// Where the plugin listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The id of the plugin's process.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// When there is no such process any more.
    pub fn terminate(&self) -> Result<(), HostError> {
        self.process.terminate().map_err(HostError::Process)
    }

    /// Waits for the process to end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn wait(&self) -> Result<ExitStatus, HostError> {
        self.process.wait().await.map_err(HostError::Process)
    }

    /// Asks the plugin to stop and waits for its end; kills it when it does not end within two seconds.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub async fn shutdown(&self) -> Result<Stopped, HostError> {
        let begun = Instant::now();
        // A plugin that ends before it answers has done what it was asked.
        let _ = GrpcControllerClient::new(self.channel.clone()).shutdown(goplugin::Empty {}).await;
        let (status, killed) = match tokio::time::timeout(PATIENCE, self.process.wait()).await {
            Ok(status) => (status.map_err(HostError::Process)?, false),
            Err(_) => (self.process.kill().await.map_err(HostError::Process)?, true),
        };
        Ok(Stopped { status, took: begun.elapsed(), killed })
    }
}

/// A request with the trace context that Grafana sends beside it.
fn traced<T>(context: &RequestContext, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(Ok(trace_parent)) = context.trace_parent.as_ref().map(|text| text.parse()) {
        request.metadata_mut().insert("traceparent", trace_parent);
    }
    request
}

fn status_code(code: i32) -> u16 {
    u16::try_from(code).unwrap_or(0)
}

fn some_text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn read_response(response: wire::DataResponse) -> Result<DataResponse, HostError> {
    Ok(DataResponse {
        frames: response.frames.iter().map(|file| Frame::decode(file)).collect::<Result<_, _>>()?,
        error: some_text(response.error),
        status: status_code(response.status),
        error_source: ErrorSource::from_wire(&response.error_source),
        json_meta: response.json_meta,
    })
}

fn read_chunk(chunk: wire::QueryChunkedDataResponse) -> Result<Chunk, HostError> {
    Ok(Chunk {
        ref_id: chunk.ref_id,
        frame_id: chunk.frame_id,
        frame: Frame::decode(&chunk.frame)?,
        error: some_text(chunk.error),
        status: status_code(chunk.status),
        error_source: ErrorSource::from_wire(&chunk.error_source),
    })
}
