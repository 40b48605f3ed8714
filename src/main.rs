//! The backend of the Statline datasource: Grafana asks, the sidecar and PostgreSQL answer, Arrow frames go back.
//!
//! One file for each thing that Grafana can ask:
//!
//! * [`settings`]: what an operator entered, read and checked
//! * [`instance`]: the connections of one configured datasource, kept until its settings change
//! * [`query`]: what a panel's query may say
//! * [`data`]: a query's way to its answer; [`sql`] is the half that PostgreSQL answers
//! * [`frame`]: series as frames
//! * [`health`]: "Save & test"
//! * [`resource`]: what the editors ask while a query is written
//! * [`stream`]: panels that are live
//! * [`figures`]: the plugin's own metrics

mod data;
mod figures;
mod frame;
mod health;
mod instance;
mod query;
mod resource;
mod settings;
mod sql;
mod stream;

use std::process::ExitCode;

use async_trait::async_trait;
use bytes::Bytes;
use grafana_plugin::{
    DataQuery, Frame, Health, Plugin, QueryError, RequestContext, ResourceRequest, ResourceResponse, ServeOptions,
    StreamError, StreamReply, StreamRequest, StreamSender,
};

use figures::Figures;
use instance::Instances;

/// The plugin: every configured datasource of this kind, in one process.
struct Statline {
    instances: Instances,
    figures: Figures,
}

#[async_trait]
impl Plugin for Statline {
    async fn query(&self, context: &RequestContext, query: DataQuery) -> Result<Vec<Frame>, QueryError> {
        let instance = self.instances.of(context)?;
        let query_type = query.query_type.clone();
        self.figures.observe(&query_type, data::answer(&instance, context, query)).await
    }

    async fn check_health(&self, context: &RequestContext) -> Health {
        match self.instances.of(context) {
            Ok(instance) => health::check(&instance).await,
            Err(error) => Health::error(error.to_string()),
        }
    }

    async fn call_resource(&self, context: &RequestContext, request: ResourceRequest) -> ResourceResponse {
        match self.instances.of(context) {
            Ok(instance) => resource::call(&instance, &request).await,
            Err(error) => ResourceResponse::error(400, error.to_string()),
        }
    }

    async fn collect_metrics(&self) -> Bytes {
        self.figures.render()
    }

    async fn subscribe_stream(&self, context: &RequestContext, request: StreamRequest) -> StreamReply {
        match self.instances.of(context) {
            Ok(_) => stream::subscribe(&request),
            Err(_) => StreamReply::not_found(),
        }
    }

    async fn run_stream(
        &self,
        context: &RequestContext,
        request: StreamRequest,
        sender: StreamSender,
    ) -> Result<(), StreamError> {
        let instance = self.instances.of(context).map_err(|error| StreamError::Failed(error.to_string()))?;
        stream::run(&instance, &request, sender).await
    }
}

fn main() -> ExitCode {
    grafana_plugin::run(ServeOptions::new("Statline", env!("CARGO_PKG_VERSION")), async || {
        Figures::new().map(|figures| Statline { instances: Instances::default(), figures })
    })
}
