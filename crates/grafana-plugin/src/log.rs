//! Log lines as the host reads them: one JSON object a line on standard error.
//!
//! A line has `@level`, `@message` and `@timestamp` (`2006-01-02T15:04:05.000000Z07:00` in Go's notation), and the
//! event's fields beside them, with those of the spans around it. What is written in another form, a panic's text above
//! all, the host takes for debug output; so panics are logged in this form too.

use std::io::{self, Write};
use std::sync::Once;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

/// The variable that sets the level; in Grafana's configuration, `log_level` under `[plugin.<id>]`.
pub const LEVEL_VARIABLE: &str = "GF_PLUGIN_LOG_LEVEL";

/// The host cuts lines at 64 KiB; a line that is cut is no JSON any more.
const MAX_LINE_BYTES: usize = 60 * 1024;
/// What is kept of the message of a line that would be longer.
const KEPT_MESSAGE_CHARS: usize = 8 * 1024;

/// Libraries that speak at length on levels meant for the plugin.
const QUIET_LIBRARIES: [&str; 6] = ["h2", "hyper", "hyper_util", "rustls", "tonic", "tower"];

/// Sends the process's events and panics to standard error. Only the first call has an effect.
///
/// `level` is one of `trace`, `debug`, `info`, `warn`, `error`, or a list of directives as `tracing` has them; what is
/// not readable counts as `info`.
pub fn install(level: Option<&str>) {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(HostLayer::new(io::stderr).with_filter(filter(level)));
        // An application that has set a subscriber of its own keeps it.
        let _ = tracing::subscriber::set_global_default(subscriber);
        std::panic::set_hook(Box::new(|panic| write_line(&io::stderr, &panic_line(panic))));
    });
}

fn filter(asked: Option<&str>) -> EnvFilter {
    let asked = asked.unwrap_or("").trim();
    if asked.contains('=') {
        return EnvFilter::builder().parse_lossy(asked);
    }
    // An empty text is a level too, but not the one that is meant.
    let level = if asked.is_empty() { LevelFilter::INFO } else { asked.parse().unwrap_or(LevelFilter::INFO) };
    QUIET_LIBRARIES
        .iter()
        .filter_map(|library| format!("{library}=warn").parse().ok())
        .fold(EnvFilter::default().add_directive(level.into()), EnvFilter::add_directive)
}

/// A `tracing` layer that writes host lines.
#[derive(Debug)]
pub struct HostLayer<M> {
    make_writer: M,
}

impl<M, W> HostLayer<M>
where
    M: Fn() -> W + 'static,
    W: Write,
{
    /// A layer that writes to what `make_writer` gives, once a line.
    pub const fn new(make_writer: M) -> Self {
        Self { make_writer }
    }
}

/// The fields of a span, kept until it ends.
struct SpanFields(Map<String, Value>);

impl<S, M, W> Layer<S> for HostLayer<M>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    M: Fn() -> W + 'static,
    W: Write,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Map::new();
        attributes.record(&mut FieldCollector(&mut fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(fields)) = span.extensions_mut().get_mut()
        {
            values.record(&mut FieldCollector(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Map::new();
        for span in context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            if let Some(SpanFields(of_span)) = span.extensions().get() {
                fields.extend(of_span.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        event.record(&mut FieldCollector(&mut fields));
        let message = match fields.remove("message") {
            Some(Value::String(message)) => message,
            Some(other) => other.to_string(),
            None => String::new(),
        };
        fields.insert("module".to_owned(), event.metadata().target().into());
        write_line(&self.make_writer, &line(Utc::now(), level_word(*event.metadata().level()), &message, fields));
    }
}

fn write_line<W: Write>(make_writer: &impl Fn() -> W, line: &str) {
    // A host that no longer reads is no reason to fail.
    let _ = make_writer().write_all(line.as_bytes());
}

const fn level_word(level: Level) -> &'static str {
    match level {
        Level::TRACE => "trace",
        Level::DEBUG => "debug",
        Level::INFO => "info",
        Level::WARN => "warn",
        Level::ERROR => "error",
    }
}

/// One line, its line break included. The host would fail on a second `@message`, so fields lose a leading `@`.
fn line(now: DateTime<Utc>, level: &str, message: &str, fields: Map<String, Value>) -> String {
    let render = |message: &str, fields: Map<String, Value>| {
        let mut object: Map<String, Value> =
            fields.into_iter().map(|(name, value)| (name.trim_start_matches('@').to_owned(), value)).collect();
        object.insert("@level".to_owned(), level.into());
        object.insert("@message".to_owned(), message.into());
        object.insert("@timestamp".to_owned(), now.to_rfc3339_opts(SecondsFormat::Micros, true).into());
        let mut text = Value::Object(object).to_string();
        text.push('\n');
        text
    };
    let whole = render(message, fields);
    if whole.len() <= MAX_LINE_BYTES {
        return whole;
    }
    let kept: String = message.chars().take(KEPT_MESSAGE_CHARS).collect();
    render(&kept, Map::from_iter([("truncated_from_bytes".to_owned(), whole.len().into())]))
}

fn panic_line(panic: &std::panic::PanicHookInfo<'_>) -> String {
    let text = panic.payload_as_str().unwrap_or("a value that is no text");
    let mut fields = Map::new();
    if let Some(location) = panic.location() {
        fields.insert("location".to_owned(), location.to_string().into());
    }
    if let Some(name) = std::thread::current().name() {
        fields.insert("thread".to_owned(), name.into());
    }
    let backtrace = std::backtrace::Backtrace::capture();
    if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
        fields.insert("backtrace".to_owned(), backtrace.to_string().into());
    }
    line(Utc::now(), "error", &format!("panic: {text}"), fields)
}

/// Collects fields as JSON values.
struct FieldCollector<'a>(&'a mut Map<String, Value>);

impl FieldCollector<'_> {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for FieldCollector<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.insert(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: Option<&str>, work: impl FnOnce()) -> Vec<Value> {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = HostLayer::new(move || writer.clone()).with_filter(filter(level));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let bytes = lines.0.lock().unwrap();
        bytes.split_inclusive(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_what_the_host_expects() {
        let now = DateTime::from_timestamp(1_136_214_245, 120_034_000).unwrap();
        let text = line(now, "warn", "two\nlines", Map::from_iter([("@level".to_owned(), "x".into())]));
        assert_eq!(
            text,
            "{\"@level\":\"warn\",\"@message\":\"two\\nlines\",\"@timestamp\":\"2006-01-02T15:04:05.120034Z\",\
             \"level\":\"x\"}\n"
        );
    }

    #[test]
    fn fields_of_the_event_and_of_the_spans_around_it_stand_beside_the_message() {
        let lines = logged(None, || {
            let _outer = tracing::info_span!("request", org = 7, ref_id = "outer").entered();
            let inner = tracing::info_span!("query", ref_id = "A", rows = tracing::field::Empty).entered();
            inner.record("rows", 3_u64);
            tracing::warn!(took_ms = 1.5, ok = false, error = %"no\"quote", "slow {}", "query");
            tracing::debug!("not at this level");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        for (name, value) in [
            ("@level", Value::from("warn")),
            ("@message", "slow query".into()),
            ("org", 7.into()),
            ("ref_id", "A".into()),
            ("rows", 3.into()),
            ("took_ms", 1.5.into()),
            ("ok", false.into()),
            ("error", "no\"quote".into()),
            ("module", "grafana_plugin::log::tests".into()),
        ] {
            assert_eq!(line[name], value, "{name} in {line}");
        }
    }

    #[test]
    fn a_line_never_outgrows_the_hosts_buffer() {
        let lines = logged(None, || {
            tracing::info!(large = "x".repeat(100_000), "{}", "é".repeat(50_000));
        });
        assert!(lines[0].to_string().len() < MAX_LINE_BYTES);
        assert!(lines[0]["@message"].as_str().unwrap().starts_with("éé"));
        assert!(lines[0]["truncated_from_bytes"].as_u64().unwrap() > 200_000);
    }

    #[test]
    fn the_level_is_the_one_that_was_asked_for() {
        for (level, count) in [
            (None, 3),
            (Some(""), 3),
            (Some("debug"), 4),
            (Some("TRACE"), 5),
            (Some("error"), 1),
            (Some("no such level!"), 3),
            (Some("grafana_plugin=debug"), 4),
        ] {
            let lines = logged(level, || {
                tracing::trace!("t");
                tracing::debug!("d");
                tracing::info!("i");
                tracing::warn!("w");
                tracing::error!("e");
                tracing::debug!(target: "h2::frame", "a library's detail");
            });
            assert_eq!(lines.len(), count, "{level:?}: {lines:?}");
        }
    }
}
