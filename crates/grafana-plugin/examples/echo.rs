//! A small but complete plugin: it makes the rows that a query asks for, and misbehaves on request.
//!
//! A query is `{"kind": "rows", "rows": 500}`; the other kinds are those of [`Query`]. The crate's tests drive this
//! program over the real protocol.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use grafana_plugin::frame::JsonPart;
use grafana_plugin::{
    DataQuery, Field, FieldConfig, Frame, FrameType, Health, Notice, Plugin, QueryError, RequestContext,
    ResourceRequest, ResourceResponse, ServeOptions, StreamError, StreamReply, StreamRequest, StreamSender,
};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Query {
    /// A series of some rows, one a minute.
    Rows { rows: usize },
    /// What the request says of itself.
    Context,
    /// A frame with every kind of column.
    Types,
    /// A frame whose columns differ in length.
    Uneven,
    /// Nothing at all.
    Nothing,
    /// An error with a notice.
    Error,
    /// A panic, as a defect would cause it.
    Panic,
    /// No answer, ever.
    Hang,
    /// Text on standard output, where none belongs.
    Print,
    /// The settings, as a careless log line would show them.
    LogSettings,
}

#[derive(Default)]
struct Echo {
    hanging_dropped: Arc<AtomicU64>,
}

/// Counts when it is dropped.
struct CountOnDrop(Arc<AtomicU64>);

impl Drop for CountOnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[async_trait]
impl Plugin for Echo {
    async fn query(&self, context: &RequestContext, query: DataQuery) -> Result<Vec<Frame>, QueryError> {
        match query.parse::<Query>()? {
            Query::Rows { rows } => Ok(vec![series(query.time_range.from_ms, rows)]),
            Query::Context => Ok(vec![context_frame(context, &query)]),
            Query::Types => Ok(vec![types_frame()]),
            Query::Uneven => Ok(vec![
                Frame::new("uneven", FrameType::Table)
                    .with_field(Field::int64("long", [1, 2]))
                    .with_field(Field::int64("short", [1])),
            ]),
            Query::Nothing => Ok(Vec::new()),
            Query::Error => {
                let notice = Notice::info("ask again tomorrow");
                Err(QueryError::downstream(503, "the echo is tired").with_notice(notice))
            }
            Query::Panic => panic!("asked to panic by {}", query.ref_id),
            Query::Hang => {
                let _dropped = CountOnDrop(Arc::clone(&self.hanging_dropped));
                std::future::pending().await
            }
            Query::Print => {
                print_to_stdout();
                Ok(Vec::new())
            }
            Query::LogSettings => {
                tracing::info!(?context, "settings");
                Ok(vec![context_frame(context, &query)])
            }
        }
    }

    async fn check_health(&self, context: &RequestContext) -> Health {
        let Ok(settings) = context.data_source() else {
            return Health::error("no data source is configured");
        };
        match settings.secrets.get("password") {
            Some(_) => Health::ok("the echo answers").with_details(json!({ "uid": settings.uid })),
            None => Health::error("the password is not set; type it on the data source's page"),
        }
    }

    async fn call_resource(&self, _: &RequestContext, request: ResourceRequest) -> ResourceResponse {
        match request.path.as_str() {
            "echo" => ResourceResponse::json(
                200,
                &json!({ "method": request.method, "query": request.query(), "body_bytes": request.body.len() }),
            ),
            "pieces" => ResourceResponse::streamed(200, futures::stream::iter(["a", "b", "c"].map(Bytes::from))),
            "panic" => panic!("asked to panic by a resource call"),
            path => ResourceResponse::error(404, format!("no resource {path:?}")),
        }
    }

    async fn collect_metrics(&self) -> Bytes {
        let dropped = self.hanging_dropped.load(Relaxed);
        format!("# TYPE echo_hanging_dropped_total counter\necho_hanging_dropped_total {dropped}\n").into()
    }

    async fn subscribe_stream(&self, context: &RequestContext, request: StreamRequest) -> StreamReply {
        match request.path.as_str() {
            "ticks" if context.plugin.user.is_none() => StreamReply::permission_denied(),
            "ticks" => match series(0, 0).to_json(JsonPart::Schema) {
                Ok(schema) => StreamReply::ok(schema),
                Err(_) => StreamReply::not_found(),
            },
            _ => StreamReply::not_found(),
        }
    }

    async fn run_stream(
        &self,
        _: &RequestContext,
        request: StreamRequest,
        sender: StreamSender,
    ) -> Result<(), StreamError> {
        match request.path.as_str() {
            "ticks" => {
                let _dropped = CountOnDrop(Arc::clone(&self.hanging_dropped));
                for minute in 0.. {
                    sender.send_frame(&series(minute * MINUTE_MS, 1), JsonPart::All).await?;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Ok(())
            }
            "three" => {
                for minute in 0..3 {
                    sender.send_frame(&series(minute * MINUTE_MS, 1), JsonPart::All).await?;
                }
                Ok(())
            }
            "panic" => panic!("asked to panic by a stream"),
            path => Err(StreamError::NotFound(path.to_owned())),
        }
    }

    async fn publish_stream(&self, _: &RequestContext, request: StreamRequest) -> StreamReply {
        if request.path == "ticks" { StreamReply::ok(request.data) } else { StreamReply::permission_denied() }
    }
}

const MINUTE_MS: i64 = 60_000;

#[expect(clippy::cast_precision_loss, reason = "rows are few")]
fn series(from_ms: i64, rows: usize) -> Frame {
    let mut times = Field::time_ms("time", (0_i64..).take(rows).map(|row| from_ms.saturating_add(row * MINUTE_MS)));
    times.config = Some(FieldConfig { interval_ms: Some(60_000.0), ..FieldConfig::default() });
    Frame::new("rows", FrameType::TimeSeriesMulti)
        .with_executed_query(format!("rows({rows})"))
        .with_field(times)
        .with_field(
            Field::float64_nan_is_null("value", (0..rows).map(|row| if row % 7 == 3 { f64::NAN } else { row as f64 }))
                .with_labels([("host", "a"), ("name", "echo")])
                .with_config(FieldConfig { unit: "ms".to_owned(), ..FieldConfig::default() })
                .with_display_name("echo of a"),
        )
}

fn context_frame(context: &RequestContext, query: &DataQuery) -> Frame {
    let mut frame = Frame::new("context", FrameType::Table);
    frame.meta.custom = Some(json!({
        "login": context.plugin.user.as_ref().map(|user| user.login.clone()),
        "role": context.plugin.user.as_ref().map(|user| user.role.as_str().to_owned()),
        "from_alert": context.headers.is_from_alert(),
        "secret_names": context.data_source().map(|settings| settings.secrets.names().collect::<Vec<_>>()).ok(),
        "trace_parent": context.trace_parent,
        "duration_ms": u64::try_from(query.time_range.duration().as_millis()).unwrap_or(u64::MAX),
        "to_nanos": query.time_range.to_nanos().1,
        "max_data_points": query.max_data_points,
        "settings": format!("{context:?}"),
    }));
    frame
}

fn types_frame() -> Frame {
    Frame::new("types", FrameType::Table)
        .with_field(Field::time_ns_nullable("time", [Some(1_700_000_000_123_456_789), None]))
        .with_field(Field::string("text", ["naïve", ""]))
        .with_field(Field::int64_nullable("int", [Some(i64::MAX), None]))
        .with_field(Field::uint64("uint", [u64::MAX, 0]))
        .with_field(Field::boolean_nullable("bool", [Some(true), None]))
        .with_field(Field::float64("float", [f64::NAN, f64::INFINITY]))
        .with_field(Field::json("json", [Some(&json!({"a": [1, null]})), None]))
        .with_notice(Notice::warning("two rows"))
}

#[expect(clippy::print_stdout, reason = "it is what the test is about")]
fn print_to_stdout() {
    println!("this text belongs to nobody");
}

fn main() -> ExitCode {
    let options = ServeOptions::new("Echo", env!("CARGO_PKG_VERSION"));
    grafana_plugin::run(options, async || Ok::<_, std::convert::Infallible>(Echo::default()))
}
