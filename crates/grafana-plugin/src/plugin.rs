//! The trait that a plugin is: one method for each thing Grafana can ask of it.

use async_trait::async_trait;
use bytes::Bytes;

use crate::context::RequestContext;
use crate::frame::Frame;
use crate::health::Health;
use crate::query::{DataQuery, QueryError};
use crate::resource::{ResourceRequest, ResourceResponse};
use crate::stream::{StreamError, StreamReply, StreamRequest, StreamSender};

/// A backend plugin. Only queries are asked of every one; the rest answers "not implemented" until it is.
///
/// Every call runs as a task of its own. A panic in it becomes that call's error and no other's; when the caller goes
/// away the task is dropped at its next await.
#[async_trait]
pub trait Plugin: Send + Sync + 'static {
    /// Answers one query. The queries of a request are answered at the same time.
    ///
    /// Frames without a refId are given the query's.
    async fn query(&self, context: &RequestContext, query: DataQuery) -> Result<Vec<Frame>, QueryError>;

    /// Tells whether the data source works.
    async fn check_health(&self, context: &RequestContext) -> Health {
        let _ = context;
        Health::default()
    }

    /// Answers a call of the plugin's frontend.
    async fn call_resource(&self, context: &RequestContext, request: ResourceRequest) -> ResourceResponse {
        let _ = context;
        ResourceResponse::error(501, format!("this plugin has no resources, got {:?}", request.path))
    }

    /// The plugin's own metrics in Prometheus text format, with a newline at the end. No settings come with this call,
    /// only the plugin's id.
    async fn collect_metrics(&self) -> Bytes {
        Bytes::new()
    }

    /// Decides whether a user may subscribe to a channel.
    async fn subscribe_stream(&self, context: &RequestContext, request: StreamRequest) -> StreamReply {
        let _ = (context, request);
        StreamReply::not_found()
    }

    /// Runs a channel, until its subscribers are gone or it has no more to send.
    async fn run_stream(
        &self,
        context: &RequestContext,
        request: StreamRequest,
        sender: StreamSender,
    ) -> Result<(), StreamError> {
        let _ = (context, sender);
        Err(StreamError::NotFound(request.path))
    }

    /// Decides whether a user may publish to a channel, and what.
    async fn publish_stream(&self, context: &RequestContext, request: StreamRequest) -> StreamReply {
        let _ = (context, request);
        StreamReply::permission_denied()
    }
}
