//! Queries: many in a request, run side by side, each answered under its own refId.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use tonic::{Request, Response, Status};

use super::{Core, Service};
use crate::context::RequestContext;
use crate::frame::{Frame, FrameError, FrameType, JsonPart};
use crate::isolate::{Panicked, isolated};
use crate::metrics::{Running, count};
use crate::proto::pluginv2 as wire;
use crate::query::{Admission, DataQuery, ErrorSource, QueryError};

/// Rows of one frame in one message of a chunked answer.
const ROWS_PER_CHUNK: usize = 8192;

/// What one query has come to: its frames, found to be writable.
type Outcome = Result<Vec<Frame>, QueryError>;

#[tonic::async_trait]
impl wire::data_server::Data for Service {
    async fn query_data(
        &self,
        request: Request<wire::QueryDataRequest>,
    ) -> Result<Response<wire::QueryDataResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let format = Format::from_wire(message.format());
        let context =
            RequestContext::from_wire(message.plugin_context, message.headers.into_iter().collect(), &metadata);
        let answers = self.answers(context, message.queries, move |ref_id, outcome| {
            let response = format.response(outcome);
            (ref_id, response)
        })?;
        Ok(Response::new(wire::QueryDataResponse { responses: answers.collect().await }))
    }

    type QueryChunkedDataStream = BoxStream<'static, Result<wire::QueryChunkedDataResponse, Status>>;

    async fn query_chunked_data(
        &self,
        request: Request<wire::QueryChunkedDataRequest>,
    ) -> Result<Response<Self::QueryChunkedDataStream>, Status> {
        let (metadata, _, message) = request.into_parts();
        let format = Format::from_wire(message.format());
        let context =
            RequestContext::from_wire(message.plugin_context, message.headers.into_iter().collect(), &metadata);
        let answers = self.answers(context, message.queries, |ref_id, outcome| (ref_id, outcome))?;
        let chunks = answers.flat_map(move |(ref_id, outcome)| stream::iter(format.chunks(ref_id, outcome)));
        Ok(Response::new(chunks.map(Ok).boxed()))
    }
}

impl Service {
    /// Runs the queries of a request and finishes each outcome on the query's own task. Answers come as they are ready.
    fn answers<T: Send + 'static>(
        &self,
        context: RequestContext,
        queries: Vec<wire::DataQuery>,
        finish: impl Fn(String, Outcome) -> T + Clone + Send + Sync + 'static,
    ) -> Result<BoxStream<'static, T>, Status> {
        let (count_of_queries, limit) = (queries.len(), self.core.max_queries_per_request);
        if count_of_queries > limit {
            let text = format!("a request may hold {limit} queries, got {count_of_queries}");
            return Err(Status::resource_exhausted(text));
        }
        let Admission { admitted, refused } = Admission::of(queries);
        let refuse = finish.clone();
        let core = Arc::clone(&self.core);
        let refused = refused.into_iter().map(move |(ref_id, error)| {
            count(&core.metrics.queries_refused);
            refuse(ref_id, Err(error))
        });
        let context = Arc::new(context);
        let core = Arc::clone(&self.core);
        let running = stream::iter(admitted)
            .map(move |query| answer(Arc::clone(&core), Arc::clone(&context), query, finish.clone()))
            .buffer_unordered(self.core.max_concurrent_queries);
        Ok(stream::iter(refused).chain(running).boxed())
    }
}

/// Runs one query on a task of its own. Whatever happens there, this comes back with an answer.
async fn answer<T: Send + 'static>(
    core: Arc<Core>,
    context: Arc<RequestContext>,
    query: DataQuery,
    finish: impl Fn(String, Outcome) -> T + Clone + Send + Sync + 'static,
) -> T {
    let ref_id = query.ref_id.clone();
    let fate = Fate::of_query(Arc::clone(&core));
    let work = {
        let (core, ref_id, finish) = (Arc::clone(&core), ref_id.clone(), finish.clone());
        async move {
            // The semaphore is never closed, so this only waits.
            let _permit = core.query_permits.acquire().await;
            let _running = Running::begin(&core.metrics.queries_running);
            let outcome = core.plugin.query(&context, query).await.and_then(|frames| checked(frames, &ref_id));
            let counter = match &outcome {
                Ok(_) => &core.metrics.queries_ok,
                Err(error) if error.error_source == ErrorSource::Downstream => &core.metrics.queries_downstream_error,
                Err(_) => &core.metrics.queries_plugin_error,
            };
            count(counter);
            finish(ref_id, outcome)
        }
    };
    let outcome = core.noted(isolated(work).await);
    fate.sealed();
    outcome.unwrap_or_else(|Panicked| {
        tracing::error!(ref_id, "a query panicked");
        count(&core.metrics.queries_plugin_error);
        finish(ref_id, Err(QueryError::internal("the query hit a defect of the plugin; its log says where")))
    })
}

/// Counts a query whose caller went away before the answer.
struct Fate {
    core: Arc<Core>,
    sealed: AtomicBool,
}

impl Fate {
    const fn of_query(core: Arc<Core>) -> Self {
        Self { core, sealed: AtomicBool::new(false) }
    }

    fn sealed(&self) {
        self.sealed.store(true, Relaxed);
    }
}

impl Drop for Fate {
    fn drop(&mut self) {
        if !self.sealed.load(Relaxed) {
            count(&self.core.metrics.queries_cancelled);
        }
    }
}

/// The frames under the query's refId, once they are known to be tables.
fn checked(frames: Vec<Frame>, ref_id: &str) -> Outcome {
    frames
        .into_iter()
        .map(|mut frame| {
            frame.rows()?;
            if frame.ref_id.is_empty() {
                ref_id.clone_into(&mut frame.ref_id);
            }
            Ok(frame)
        })
        .collect::<Result<_, FrameError>>()
        .map_err(QueryError::from)
}

/// How the host wants frames to be written.
#[derive(Clone, Copy)]
enum Format {
    Arrow,
    Json,
}

impl Format {
    const fn from_wire(format: wire::DataFrameFormat) -> Self {
        match format {
            wire::DataFrameFormat::Arrow => Self::Arrow,
            wire::DataFrameFormat::Json => Self::Json,
        }
    }

    fn to_wire(self) -> i32 {
        let format = match self {
            Self::Arrow => wire::DataFrameFormat::Arrow,
            Self::Json => wire::DataFrameFormat::Json,
        };
        format.into()
    }

    fn write(self, frame: &Frame, part: JsonPart) -> Result<Bytes, FrameError> {
        match self {
            Self::Arrow => frame.encode(),
            Self::Json => frame.to_json(part),
        }
    }

    /// The whole answer to one query.
    fn response(self, outcome: Outcome) -> wire::DataResponse {
        let written = outcome.and_then(|frames| {
            let frames = frames.iter().map(|frame| self.write(frame, JsonPart::All));
            frames.collect::<Result<Vec<_>, _>>().map_err(QueryError::from)
        });
        match written {
            Ok(frames) => wire::DataResponse { frames, status: 200, format: self.to_wire(), ..Default::default() },
            Err(error) => wire::DataResponse {
                frames: notices_of(&error)
                    .and_then(|frame| self.write(&frame, JsonPart::All).ok())
                    .into_iter()
                    .collect(),
                error: text_of(&error),
                status: status_of(&error),
                error_source: error.error_source.as_str().to_owned(),
                format: self.to_wire(),
                ..Default::default()
            },
        }
    }

    /// The answer to one query in parts, written one by one as they are sent. A query without frames is answered with an
    /// empty one, since a refId that never comes up would look like one that was lost.
    fn chunks(
        self,
        ref_id: String,
        outcome: Outcome,
    ) -> Box<dyn Iterator<Item = wire::QueryChunkedDataResponse> + Send> {
        let mut frames = match outcome {
            Ok(frames) => frames,
            Err(error) => return Box::new(std::iter::once(self.error_chunk(ref_id, &error))),
        };
        if frames.is_empty() {
            frames.push(Frame { ref_id: ref_id.clone(), ..Frame::new("", FrameType::Table) });
        }
        let parts = frames.into_iter().enumerate().flat_map(|(number, frame)| {
            let rows = frame.rows().unwrap_or(0);
            let offsets = (0..rows.max(1)).step_by(ROWS_PER_CHUNK);
            offsets.map(move |offset| (number, offset, frame.slice(offset, ROWS_PER_CHUNK)))
        });
        Box::new(parts.map(move |(number, offset, rows)| {
            let part = if offset == 0 { JsonPart::All } else { JsonPart::Data };
            match self.write(&rows, part) {
                Ok(frame) => wire::QueryChunkedDataResponse {
                    ref_id: ref_id.clone(),
                    frame_id: number.to_string(),
                    frame,
                    status: 200,
                    format: self.to_wire(),
                    ..Default::default()
                },
                Err(error) => self.error_chunk(ref_id.clone(), &QueryError::from(error)),
            }
        }))
    }

    /// An error. Hosts read the frame of every chunk, so there is a readable one here too.
    fn error_chunk(self, ref_id: String, error: &QueryError) -> wire::QueryChunkedDataResponse {
        let mut frame = notices_of(error).unwrap_or_else(|| Frame::new("", FrameType::Table));
        frame.ref_id.clone_from(&ref_id);
        wire::QueryChunkedDataResponse {
            ref_id,
            frame_id: "error".to_owned(),
            frame: self.write(&frame, JsonPart::All).unwrap_or_default(),
            error: text_of(error),
            status: status_of(error),
            error_source: error.error_source.as_str().to_owned(),
            format: self.to_wire(),
        }
    }
}

/// An empty frame that carries an error's notices, when it has some.
fn notices_of(error: &QueryError) -> Option<Frame> {
    if error.notices.is_empty() {
        return None;
    }
    let mut frame = Frame::new("", FrameType::Table);
    frame.meta.notices.clone_from(&error.notices);
    Some(frame)
}

/// The error's text; an empty one would be taken for success.
fn text_of(error: &QueryError) -> String {
    if error.message.is_empty() { "the query failed without saying why".to_owned() } else { error.message.clone() }
}

/// The error's status; one that means success would contradict it.
fn status_of(error: &QueryError) -> i32 {
    if (400..600).contains(&error.status) { i32::from(error.status) } else { 500 }
}
