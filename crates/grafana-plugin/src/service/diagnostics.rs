//! Health and metrics.

use bytes::{BufMut, BytesMut};
use tonic::{Request, Response, Status};

use super::Service;
use crate::context::RequestContext;
use crate::health::Health;
use crate::isolate::Panicked;
use crate::proto::pluginv2 as wire;

#[tonic::async_trait]
impl wire::diagnostics_server::Diagnostics for Service {
    async fn check_health(
        &self,
        request: Request<wire::CheckHealthRequest>,
    ) -> Result<Response<wire::CheckHealthResponse>, Status> {
        let (metadata, _, message) = request.into_parts();
        let context =
            RequestContext::from_wire(message.plugin_context, message.headers.into_iter().collect(), &metadata);
        let outcome = self.start(async move |plugin| plugin.check_health(&context).await).await;
        let health = self.core.noted(outcome).unwrap_or_else(|Panicked| {
            Health::error("the health check hit a defect of the plugin; its log says where")
        });
        Ok(Response::new(health.into_wire()))
    }

    async fn collect_metrics(
        &self,
        _: Request<wire::CollectMetricsRequest>,
    ) -> Result<Response<wire::CollectMetricsResponse>, Status> {
        let outcome = self.start(async move |plugin| plugin.collect_metrics().await).await;
        let of_the_plugin = self.core.noted(outcome).unwrap_or_default();
        let mut prometheus = BytesMut::from(self.core.metrics.text().as_bytes());
        prometheus.put(of_the_plugin);
        let metrics = wire::collect_metrics_response::Payload { prometheus: prometheus.freeze() };
        Ok(Response::new(wire::CollectMetricsResponse { metrics: Some(metrics) }))
    }
}
