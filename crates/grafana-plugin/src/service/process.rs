//! What go-plugin, the host's process manager, asks of any plugin: to stop, to be pinged, and two streams that it opens
//! at once and that stay open until the end.

use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use tonic::{Request, Response, Status, Streaming};

use super::Service;
use crate::proto::goplugin as wire;
use crate::proto::health::health_check_response::ServingStatus;
use crate::proto::health::{HealthCheckRequest, HealthCheckResponse, health_server};

/// The name under which go-plugin pings.
const PING_SERVICE: &str = "plugin";

#[tonic::async_trait]
impl wire::grpc_controller_server::GrpcController for Service {
    async fn shutdown(&self, _: Request<wire::Empty>) -> Result<Response<wire::Empty>, Status> {
        tracing::debug!("the host asks the plugin to stop");
        self.core.shutdown.begin();
        Ok(Response::new(wire::Empty {}))
    }
}

/// Output goes to the pipes that the host reads anyway, so this stream says nothing, but open it stays.
#[tonic::async_trait]
impl wire::grpc_stdio_server::GrpcStdio for Service {
    type StreamStdioStream = BoxStream<'static, Result<wire::StdioData, Status>>;

    async fn stream_stdio(&self, _: Request<()>) -> Result<Response<Self::StreamStdioStream>, Status> {
        Ok(Response::new(self.core.shutdown.end(stream::pending()).boxed()))
    }
}

/// No plugin of Grafana's makes further connections; what the host says here is read and forgotten.
#[tonic::async_trait]
impl wire::grpc_broker_server::GrpcBroker for Service {
    type StartStreamStream = BoxStream<'static, Result<wire::ConnInfo, Status>>;

    async fn start_stream(
        &self,
        request: Request<Streaming<wire::ConnInfo>>,
    ) -> Result<Response<Self::StartStreamStream>, Status> {
        let nothing = request.into_inner().filter_map(async |_| None);
        Ok(Response::new(self.core.shutdown.end(nothing).boxed()))
    }
}

#[tonic::async_trait]
impl health_server::Health for Service {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match serving(&service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found(format!("no service {service:?}"))),
            status => Ok(Response::new(HealthCheckResponse { status: status.into() })),
        }
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let response = |status: ServingStatus| Ok(HealthCheckResponse { status: status.into() });
        let first = stream::iter([response(serving(&request.into_inner().service))]).chain(stream::pending());
        let last = stream::iter([response(ServingStatus::NotServing)]);
        Ok(Response::new(self.core.shutdown.end(first).chain(last).boxed()))
    }
}

/// Whether a service is served; the empty name stands for the process.
fn serving(service: &str) -> ServingStatus {
    if matches!(service, "" | PING_SERVICE) { ServingStatus::Serving } else { ServingStatus::ServiceUnknown }
}
