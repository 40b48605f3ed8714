//! Panels that are live: after each flush, the newest value of a Graphite target.
//!
//! The path is `graphite/<anything>`, chosen by the frontend so that equal targets share a stream; the target itself is in
//! the request's data.

use futures::StreamExt;
use grafana_plugin::frame::JsonPart;
use grafana_plugin::{StreamError, StreamReply, StreamRequest, StreamSender};
use serde::Deserialize;
use statline_flight::ticket::SubscribeQuery;

use crate::frame;
use crate::instance::Instance;

/// What every path begins with.
const PREFIX: &str = "graphite/";

#[derive(Deserialize)]
struct Data {
    target: String,
    #[serde(default)]
    timezone: Option<String>,
}

/// Whether a request names a stream that there is.
pub fn subscribe(request: &StreamRequest) -> StreamReply {
    match read(request) {
        Ok(_) => StreamReply::ok("{}"),
        Err(error) => {
            tracing::warn!(path = request.path, error, "a stream was refused");
            StreamReply::not_found()
        }
    }
}

/// Sends a frame a flush until Grafana loses interest or the sidecar goes away; Grafana then asks again.
///
/// # Errors
/// When the request is wrong or the sidecar fails.
pub async fn run(instance: &Instance, request: &StreamRequest, sender: StreamSender) -> Result<(), StreamError> {
    let Data { target, timezone } = read(request).map_err(StreamError::Failed)?;
    let client = instance.sidecar().map_err(|error| StreamError::Failed(error.message))?;
    let query = statline_flight::Query::Subscribe(SubscribeQuery { target: target.clone(), timezone });
    let mut batches = client.stream(query).await.map_err(|error| StreamError::Failed(error.to_string()))?;
    loop {
        let batch = tokio::select! {
            () = sender.closed() => return Ok(()),
            batch = batches.next() => batch,
        };
        let Some(batch) = batch else {
            return Err(StreamError::Failed("the sidecar ended the stream".to_owned()));
        };
        let rows = batch.map_err(|error| StreamError::Failed(error.to_string()))?;
        for frame in frame::series(&rows, Some(&target)) {
            sender.send_frame(&frame, JsonPart::All).await?;
        }
    }
}

fn read(request: &StreamRequest) -> Result<Data, String> {
    if !request.path.starts_with(PREFIX) {
        return Err(format!("the path is {:?}; expected {PREFIX} and a name", request.path));
    }
    serde_json::from_slice(&request.data).map_err(|error| format!("the data is not {{\"target\": …}}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_a_path_and_a_target() {
        let request = |path: &str, data: &'static str| StreamRequest { path: path.to_owned(), data: data.into() };
        assert_eq!(read(&request("graphite/x", r#"{"target":"a.*"}"#)).unwrap().target, "a.*");
        assert!(read(&request("other/x", r#"{"target":"a.*"}"#)).is_err());
        assert!(read(&request("graphite/x", "")).is_err());
    }
}
