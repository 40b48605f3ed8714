//! Calls of the plugin's frontend.

use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status};

use super::Service;
use crate::context::RequestContext;
use crate::isolate::Panicked;
use crate::proto::pluginv2 as wire;
use crate::resource::{ResourceRequest, ResourceResponse};

#[tonic::async_trait]
impl wire::resource_server::Resource for Service {
    type CallResourceStream = BoxStream<'static, Result<wire::CallResourceResponse, Status>>;

    async fn call_resource(
        &self,
        request: Request<wire::CallResourceRequest>,
    ) -> Result<Response<Self::CallResourceStream>, Status> {
        let (metadata, _, message) = request.into_parts();
        let (plugin_context, request) = ResourceRequest::from_wire(message);
        let context = RequestContext::from_wire(plugin_context, request.headers.clone(), &metadata);
        let outcome = self.start(async move |plugin| plugin.call_resource(&context, request).await).await;
        let response = self.core.noted(outcome).unwrap_or_else(|Panicked| {
            ResourceResponse::error(500, "the call hit a defect of the plugin; its log says where")
        });
        let messages = self.core.shutdown.end(response.into_wire());
        Ok(Response::new(messages.map(Ok).boxed()))
    }
}
