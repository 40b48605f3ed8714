//! The plugin's own metrics, which Grafana serves at `/metrics/plugins/statline-stats-datasource`.

use std::time::{Duration, Instant};

use bytes::Bytes;
use grafana_plugin::{Frame, QueryError};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tokio::task::AbortHandle;

const QUERIES: &str = "statline_plugin_queries_total";
const QUERY_DURATION: &str = "statline_plugin_query_duration_seconds";

/// The upper bounds that durations are sorted by, in seconds: from a find in memory to a statement at its timeout.
const DURATION_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// How often samples are put into their buckets; until then, every one of them is kept.
const UPKEEP_PERIOD: Duration = Duration::from_secs(5);

/// Counts and times what the plugin does.
pub struct Figures {
    handle: PrometheusHandle,
    _upkeep: Periodic,
}

impl Figures {
    /// Starts counting. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When metrics are already counted in this process.
    pub fn new() -> Result<Self, BuildError> {
        let handle = PrometheusBuilder::new().set_buckets(&DURATION_BUCKETS)?.install_recorder()?;
        metrics::describe_counter!(QUERIES, "Queries by their language and the status of their answer.");
        metrics::describe_histogram!(QUERY_DURATION, "How long queries took to be answered, in seconds.");
        let kept_up = handle.clone();
        let upkeep = Periodic::every(UPKEEP_PERIOD, move || kept_up.run_upkeep());
        Ok(Self { handle, _upkeep: upkeep })
    }

    /// Answers a query, and counts it with its outcome, its frames and the time it took.
    pub async fn observe(
        &self,
        query_type: &str,
        answer: impl Future<Output = Result<Vec<Frame>, QueryError>>,
    ) -> Result<Vec<Frame>, QueryError> {
        // Whatever a client may call its query, there are few names here.
        let language = match query_type {
            "sql" => "sql",
            "events" => "events",
            _ => "graphite",
        };
        let began = Instant::now();
        let answer = answer.await;
        let status = answer.as_ref().map_or_else(|error| error.status, |_| 200);
        metrics::counter!(QUERIES, "language" => language, "status" => status.to_string()).increment(1);
        metrics::histogram!(QUERY_DURATION, "language" => language).record(began.elapsed());
        answer
    }

    /// The figures as Prometheus text.
    pub fn render(&self) -> Bytes {
        self.handle.render().into()
    }
}

/// Something that is done again and again, until this is dropped.
struct Periodic(AbortHandle);

impl Periodic {
    fn every(period: Duration, mut act: impl FnMut() + Send + 'static) -> Self {
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(period).await;
                act();
            }
        });
        Self(task.abort_handle())
    }
}

impl Drop for Periodic {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn durations_are_a_histogram() {
        let figures = Figures::new().unwrap();
        figures.observe("sql", async { Ok(Vec::new()) }).await.unwrap();
        figures.observe("anything", async { Err(QueryError::bad_request("no")) }).await.unwrap_err();
        let text = String::from_utf8(figures.render().to_vec()).unwrap();
        for line in [
            "# TYPE statline_plugin_query_duration_seconds histogram",
            "statline_plugin_query_duration_seconds_bucket{language=\"sql\",le=\"30\"} 1",
            "statline_plugin_query_duration_seconds_bucket{language=\"graphite\",le=\"+Inf\"} 1",
            "statline_plugin_query_duration_seconds_count{language=\"sql\"} 1",
            "statline_plugin_queries_total{language=\"sql\",status=\"200\"} 1",
            "statline_plugin_queries_total{language=\"graphite\",status=\"400\"} 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is missing in\n{text}");
        }
    }

    #[tokio::test]
    async fn what_is_periodic_ends_with_its_owner() {
        let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
        let periodic = Periodic::every(Duration::from_millis(1), move || sender.send(()).unwrap());
        assert_eq!(done.recv().await, Some(()));
        assert_eq!(done.recv().await, Some(()));
        drop(periodic);
        // The sender goes with the task; what it sent before is read first.
        let end = async { while done.recv().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(60), end).await.unwrap();
    }
}
