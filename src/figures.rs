//! The plugin's own metrics, which Grafana serves at `/metrics/plugins/statline-stats-datasource`.

use std::time::Instant;

use bytes::Bytes;
use grafana_plugin::{Frame, QueryError};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

/// Counts and times what the plugin does.
pub struct Figures(PrometheusHandle);

impl Figures {
    /// Starts counting.
    ///
    /// # Errors
    /// When metrics are already counted in this process.
    pub fn new() -> Result<Self, BuildError> {
        PrometheusBuilder::new().install_recorder().map(Self)
    }

    /// Answers a query, and counts it with its outcome, its frames and the time it took.
    pub async fn observe(
        &self,
        query_type: &str,
        answer: impl Future<Output = Result<Vec<Frame>, QueryError>>,
    ) -> Result<Vec<Frame>, QueryError> {
        // Whatever a client may call its query, there are few names here.
        let language = if query_type == "sql" { "sql" } else { "graphite" };
        let began = Instant::now();
        let answer = answer.await;
        let status = answer.as_ref().map_or_else(|error| error.status, |_| 200);
        metrics::counter!("statline_plugin_queries_total", "language" => language, "status" => status.to_string())
            .increment(1);
        metrics::histogram!("statline_plugin_query_duration_seconds", "language" => language).record(began.elapsed());
        answer
    }

    /// The figures as Prometheus text.
    pub fn render(&self) -> Bytes {
        self.0.run_upkeep();
        self.0.render().into()
    }
}
