//! Live channels.

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Service;
use crate::context::RequestContext;
use crate::isolate::Panicked;
use crate::metrics::Running;
use crate::proto::pluginv2 as wire;
use crate::stream::{StreamError, StreamReply, StreamRequest, StreamSender, StreamStatus};

const DEFECT: &str = "the channel hit a defect of the plugin; its log says where";

#[tonic::async_trait]
impl wire::stream_server::Stream for Service {
    async fn subscribe_stream(
        &self,
        request: Request<wire::SubscribeStreamRequest>,
    ) -> Result<Response<wire::SubscribeStreamResponse>, Status> {
        use wire::subscribe_stream_response::Status as Word;
        let (metadata, _, message) = request.into_parts();
        let context =
            RequestContext::from_wire(message.plugin_context, message.headers.into_iter().collect(), &metadata);
        let request = StreamRequest { path: message.path, data: message.data };
        let outcome = self.start(async move |plugin| plugin.subscribe_stream(&context, request).await).await;
        let StreamReply { status, data } = self.core.noted(outcome).map_err(|Panicked| Status::internal(DEFECT))?;
        let status = match status {
            StreamStatus::Ok => Word::Ok,
            StreamStatus::NotFound => Word::NotFound,
            StreamStatus::PermissionDenied => Word::PermissionDenied,
        };
        Ok(Response::new(wire::SubscribeStreamResponse { status: status.into(), data }))
    }

    type RunStreamStream = BoxStream<'static, Result<wire::StreamPacket, Status>>;

    async fn run_stream(
        &self,
        request: Request<wire::RunStreamRequest>,
    ) -> Result<Response<Self::RunStreamStream>, Status> {
        let (metadata, _, message) = request.into_parts();
        let context =
            RequestContext::from_wire(message.plugin_context, message.headers.into_iter().collect(), &metadata);
        let request = StreamRequest { path: message.path, data: message.data };
        let (sender, packets) = StreamSender::channel();
        let core = std::sync::Arc::clone(&self.core);
        let running = self.start(async move |plugin| {
            let _running = Running::begin(&core.metrics.streams_running);
            plugin.run_stream(&context, request, sender).await
        });
        // The task lives inside the stream's end, so a client that leaves takes the task with it.
        let core = std::sync::Arc::clone(&self.core);
        let end = stream::once(async move { ending(core.noted(running.await)) });
        let packets = ReceiverStream::new(packets).map(Ok).chain(end.filter_map(async |ending| ending.map(Err)));
        Ok(Response::new(self.core.shutdown.end(packets).boxed()))
    }

    async fn publish_stream(
        &self,
        request: Request<wire::PublishStreamRequest>,
    ) -> Result<Response<wire::PublishStreamResponse>, Status> {
        use wire::publish_stream_response::Status as Word;
        let (metadata, _, message) = request.into_parts();
        let context =
            RequestContext::from_wire(message.plugin_context, message.headers.into_iter().collect(), &metadata);
        let request = StreamRequest { path: message.path, data: message.data };
        let outcome = self.start(async move |plugin| plugin.publish_stream(&context, request).await).await;
        let StreamReply { status, data } = self.core.noted(outcome).map_err(|Panicked| Status::internal(DEFECT))?;
        let status = match status {
            StreamStatus::Ok => Word::Ok,
            StreamStatus::NotFound => Word::NotFound,
            StreamStatus::PermissionDenied => Word::PermissionDenied,
        };
        Ok(Response::new(wire::PublishStreamResponse { status: status.into(), data }))
    }
}

/// What the host is told at the end of a channel; nothing when it ended well.
fn ending(outcome: Result<Result<(), StreamError>, Panicked>) -> Option<Status> {
    match outcome {
        Ok(Ok(()) | Err(StreamError::Closed(_))) => None,
        Ok(Err(error @ StreamError::NotFound(_))) => Some(Status::not_found(error.to_string())),
        Ok(Err(error)) => Some(Status::unknown(error.to_string())),
        Err(Panicked) => Some(Status::internal(DEFECT)),
    }
}
