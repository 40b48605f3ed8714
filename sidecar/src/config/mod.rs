//! What an operator may set: one TOML file, every key with a default, every key overridable by environment.
//!
//! `STATLINE_STATSD__FLUSH_INTERVAL=10s` sets `flush_interval` of `[statsd]`. An unknown key is an error that names the
//! nearest known one; the defaults below are the list of what is known, so there is one place for each fact. An empty text
//! means "not set".

mod carbon;
mod choice;
#[cfg(test)]
mod documented;
mod duration;
mod load;
mod network;
mod secret;
mod tiers;
mod validate;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use statline_graphite::Compat;
use statline_series::Step;
use statline_statsd::{FlushConfig, Grammar, Histogram, Limits, TagStyles};
use statline_store::EmbeddedConfig;

use crate::receive::ReceiveConfig;

pub use carbon::Carbon;
pub use choice::Choice;
pub use duration::Span;
pub use load::{ConfigError, load};
pub use network::{Console, Mode, Repeater};
pub use secret::Secret;

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The statsd listeners and what a flush emits.
    pub statsd: Statsd,
    /// The management console.
    pub console: Console,
    /// Where packets are sent on to.
    pub repeater: Repeater,
    /// Names that become Prometheus metrics.
    pub mapping: Mapping,
    /// Carbon's protocols, lists and rules.
    pub carbon: Carbon,
    /// Where points are kept.
    pub store: Store,
    /// The HTTP API.
    pub http: Http,
    /// Arrow Flight, which the plugin speaks.
    pub flight: Flight,
    /// What a query may cost.
    pub query: Query,
    /// What is logged, and how.
    pub log: Log,
}

/// `[statsd]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Statsd {
    /// UDP addresses.
    pub listen: Vec<SocketAddr>,
    /// TCP addresses.
    pub tcp_listen: Vec<SocketAddr>,
    /// Paths of unix datagram sockets.
    pub unix_datagram: Vec<PathBuf>,
    /// Paths of unix stream sockets.
    pub unix_stream: Vec<PathBuf>,
    /// The mode of the unix sockets' files.
    pub unix_mode: Mode,
    /// Receiver threads, each with a socket of its own, for each UDP address.
    pub receivers: usize,
    /// The kernel's buffer for each datagram socket, in bytes.
    pub receive_buffer: usize,
    /// The largest packet, and the longest line of a stream, in bytes.
    pub max_packet_bytes: usize,
    /// The most TCP and unix stream connections at once.
    pub max_connections: usize,
    /// How long a connection may be silent before it is closed.
    pub idle_timeout: Span,
    /// How long samples are gathered before they become points; flushes happen at its multiples.
    pub flush_interval: Span,
    /// Whether counters are also flushed as counts, not only as rates.
    pub flush_counts: bool,
    /// etsy's old names (`stats.x`, `stats_counts.x`) or its new ones (`stats.counters.x.rate`, `.count`).
    pub legacy_namespace: bool,
    /// The percentiles of timers, in (0, 100]; a negative one counts from the top.
    pub percent_thresholds: Vec<f64>,
    /// Whether counters, timers, gauges and sets that received nothing in an interval are left out of its flush.
    pub delete_idle: bool,
    /// The same for counters alone; without it, `delete_idle` holds for them.
    pub delete_counters: Choice,
    /// The same for timers alone.
    pub delete_timers: Choice,
    /// The same for gauges alone.
    pub delete_gauges: Choice,
    /// The same for sets alone.
    pub delete_sets: Choice,
    /// For how many flushes a gauge is repeated that is left out when it is idle.
    pub gauges_max_ttl: u32,
    /// How long a series may be idle before it is forgotten; 0 for ever.
    pub idle_expiry: Span,
    /// What every name begins with; without the legacy namespace, as the next four.
    pub global_prefix: String,
    /// What follows for counters.
    pub prefix_counter: String,
    /// What follows for timers.
    pub prefix_timer: String,
    /// What follows for gauges.
    pub prefix_gauge: String,
    /// What follows for sets.
    pub prefix_set: String,
    /// What every name ends with.
    pub global_suffix: String,
    /// What the server's own figures are called.
    pub prefix_stats: String,
    /// The figures of timers that are emitted; all when there are none.
    pub calculated_timer_metrics: Vec<String>,
    /// Histograms of timers.
    pub histogram: Vec<Histogram>,
    /// Telling which names are sent most.
    pub key_flush: KeyFlush,
    /// Whether sums, means and percentiles of timers are weighted by sample rates.
    pub weighted_timers: bool,
    /// Whether the distribution of each timer is stored.
    pub sketches: bool,
    /// Whether a gauge's value with a sign moves it.
    pub gauge_deltas: bool,
    /// The styles in which a line may carry tags.
    pub tag_styles: Vec<TagStyle>,
    /// The most names, of all types together.
    pub max_series: usize,
    /// The most names of one prefix; 0 for as many as max_series.
    pub max_series_per_prefix: usize,
    /// How many dotted parts of a name are its prefix.
    pub prefix_parts: usize,
    /// The longest name, in bytes.
    pub max_key_bytes: usize,
    /// The most tags of a name.
    pub max_tags: usize,
    /// The most samples of one timer in one interval that are kept as they are; more are kept as a sketch.
    pub max_timer_samples: usize,
    /// The most members of one set in one interval that are kept as they are; more are estimated.
    pub max_set_members: usize,
    /// The most values with timestamps of their own at once.
    pub max_timed: usize,
    /// The most events and service checks in one interval.
    pub max_events: usize,
    /// The most points of flushes that wait while the store cannot take them; beyond it the oldest flush is given up.
    pub max_waiting_points: usize,
}

impl Default for Statsd {
    fn default() -> Self {
        let limits = Limits::default();
        let flush = FlushConfig::default();
        Self {
            listen: vec![SocketAddr::from(([0, 0, 0, 0], 8125)), SocketAddr::from(([0_u16; 8], 8125))],
            tcp_listen: vec![SocketAddr::from(([0, 0, 0, 0], 8125)), SocketAddr::from(([0_u16; 8], 8125))],
            unix_datagram: Vec::new(),
            unix_stream: Vec::new(),
            unix_mode: Mode(0o666),
            receivers: 1,
            receive_buffer: 32 << 20,
            max_packet_bytes: 65_535,
            max_connections: 1024,
            idle_timeout: Span::from_secs(600),
            flush_interval: Span::from_secs(10),
            flush_counts: flush.flush_counts,
            legacy_namespace: flush.legacy_namespace,
            percent_thresholds: flush.percent_thresholds,
            delete_idle: false,
            delete_counters: Choice::default(),
            delete_timers: Choice::default(),
            delete_gauges: Choice::default(),
            delete_sets: Choice::default(),
            gauges_max_ttl: flush.gauges_max_ttl,
            idle_expiry: Span::from_secs(24 * 3600),
            global_prefix: flush.global_prefix,
            prefix_counter: flush.prefix_counter,
            prefix_timer: flush.prefix_timer,
            prefix_gauge: flush.prefix_gauge,
            prefix_set: flush.prefix_set,
            global_suffix: flush.global_suffix,
            prefix_stats: flush.prefix_stats,
            calculated_timer_metrics: flush.calculated_timer_metrics,
            histogram: flush.histogram,
            key_flush: KeyFlush::default(),
            weighted_timers: flush.weighted_timers,
            sketches: flush.sketches,
            gauge_deltas: true,
            tag_styles: vec![TagStyle::Dogstatsd, TagStyle::Graphite],
            max_series: limits.series,
            max_series_per_prefix: limits.series_per_prefix,
            prefix_parts: limits.prefix_parts,
            max_key_bytes: limits.key_bytes,
            max_tags: limits.tags,
            max_timer_samples: limits.timer_samples,
            max_set_members: limits.set_members,
            max_timed: limits.timed,
            max_events: limits.events,
            max_waiting_points: 5_000_000,
        }
    }
}

impl Statsd {
    /// What bounds the aggregator.
    pub fn limits(&self) -> Limits {
        Limits {
            series: self.max_series,
            series_per_prefix: self.max_series_per_prefix,
            prefix_parts: self.prefix_parts,
            key_bytes: self.max_key_bytes,
            tags: self.max_tags,
            timer_samples: self.max_timer_samples,
            set_members: self.max_set_members,
            timed: self.max_timed,
            events: self.max_events,
            ..Limits::default()
        }
    }

    /// Where to receive, and how.
    pub fn receive(&self, repeater: &Repeater, drops_directory: PathBuf) -> ReceiveConfig {
        ReceiveConfig {
            listen: self.listen.clone(),
            tcp_listen: self.tcp_listen.clone(),
            unix_datagram: self.unix_datagram.clone(),
            unix_stream: self.unix_stream.clone(),
            unix_mode: self.unix_mode.0,
            threads: self.receivers,
            receive_buffer: self.receive_buffer,
            max_packet_bytes: self.max_packet_bytes,
            max_connections: self.max_connections,
            idle_timeout: self.idle_timeout.get(),
            limits: self.limits(),
            grammar: self.grammar(),
            repeater: repeater.repeater(),
            drops_directory,
        }
    }

    /// The spacing of flushes. Validation has bounded the interval to whole milliseconds above 0.
    pub fn step(&self) -> Step {
        Step::from_duration(self.flush_interval.get()).unwrap_or(Step::SECOND)
    }

    /// How lines are read.
    pub fn grammar(&self) -> Grammar {
        let has = |style| self.tag_styles.contains(&style);
        let tags = TagStyles {
            dogstatsd: has(TagStyle::Dogstatsd),
            graphite: has(TagStyle::Graphite),
            influxdb: has(TagStyle::Influxdb),
            librato: has(TagStyle::Librato),
            signalfx: has(TagStyle::Signalfx),
        };
        Grammar { tags, gauge_deltas: self.gauge_deltas }
    }

    /// What a flush emits.
    pub fn flush_config(&self) -> FlushConfig {
        let flushes = self.idle_expiry.get().as_secs_f64() / self.step().seconds();
        FlushConfig {
            percent_thresholds: self.percent_thresholds.clone(),
            legacy_namespace: self.legacy_namespace,
            flush_counts: self.flush_counts,
            global_prefix: self.global_prefix.clone(),
            prefix_counter: self.prefix_counter.clone(),
            prefix_timer: self.prefix_timer.clone(),
            prefix_gauge: self.prefix_gauge.clone(),
            prefix_set: self.prefix_set.clone(),
            global_suffix: self.global_suffix.clone(),
            prefix_stats: self.prefix_stats.clone(),
            delete_counters: self.delete_counters.or(self.delete_idle),
            delete_timers: self.delete_timers.or(self.delete_idle),
            delete_sets: self.delete_sets.or(self.delete_idle),
            delete_gauges: self.delete_gauges.or(self.delete_idle),
            gauges_max_ttl: self.gauges_max_ttl,
            calculated_timer_metrics: self.calculated_timer_metrics.clone(),
            histogram: self.histogram.clone(),
            weighted_timers: self.weighted_timers,
            sketches: self.sketches,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a cast of a double saturates"
            )]
            idle_flushes: flushes.ceil() as u32,
            step: self.step(),
        }
    }
}

/// `statsd.key_flush`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyFlush {
    /// How often the names that lines began with are told, to the next flush; 0 for never.
    pub interval: Span,
    /// Which share of them, the most frequent first.
    pub percent: f64,
    /// The file that they are appended to; standard output without one.
    pub log: PathBuf,
}

impl Default for KeyFlush {
    fn default() -> Self {
        Self { interval: Span::from_secs(0), percent: 100.0, log: PathBuf::new() }
    }
}

/// A style in which a line may carry tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TagStyle {
    /// `name:1|c|#tag:value`
    Dogstatsd,
    /// `name;tag=value:1|c`
    Graphite,
    /// `name,tag=value:1|c`
    Influxdb,
    /// `name#tag=value:1|c`
    Librato,
    /// `name[tag=value]:1|c`
    Signalfx,
}

/// `[mapping]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mapping {
    /// A mapping file, as statsd_exporter reads it.
    pub file: PathBuf,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// The directory of the embedded store; made when absent.
    pub path: PathBuf,
    /// How fine points are kept for how long, as carbon writes it; empty for `10s:6h,1m:6d,10m:5y`, of which the first step
    /// is the flush interval and the others are multiples of it.
    pub retentions: String,
    /// A `storage-schemas.conf` of carbon; series that it does not match have `retentions`.
    pub schemas: PathBuf,
    /// A `storage-aggregation.conf` of carbon.
    pub aggregation: PathBuf,
    /// How late a point may come.
    pub max_late: Span,
    /// How long one block on disk is.
    pub block_length: Span,
    /// The most series.
    pub max_series: usize,
    /// The most series of sketches.
    pub max_sketch_series: usize,
    /// The most events; the oldest go when there are more.
    pub max_events: usize,
    /// The most memory for events, in bytes; the oldest go when they take more.
    pub event_memory: u64,
    /// The most memory for points that are not in a block yet, in bytes.
    pub head_memory: u64,
    /// The memory for chunks that are kept decoded for the next read of them, in bytes; 0 for none.
    pub cache_memory: u64,
    /// The directory that a running daemon writes backups into; without one it makes none.
    pub backup_path: PathBuf,
}

impl Default for Store {
    fn default() -> Self {
        let path = PathBuf::from("statline-data");
        let embedded = EmbeddedConfig::at(&path);
        Self {
            path,
            retentions: String::new(),
            schemas: PathBuf::new(),
            aggregation: PathBuf::new(),
            max_late: Span::from(std::time::Duration::from_hours(24 * 3650)),
            block_length: Span::from(embedded.block_length),
            max_series: embedded.max_series,
            max_sketch_series: embedded.max_sketch_series,
            max_events: embedded.max_events,
            event_memory: embedded.event_memory,
            head_memory: embedded.head_memory,
            cache_memory: embedded.cache_memory,
            backup_path: PathBuf::new(),
        }
    }
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// The address of the HTTP API.
    pub listen: SocketAddr,
    /// The bearer token that every request but `/health` and `/ready` must carry.
    pub token: Secret,
    /// A file with the server's certificate, in PEM; with `tls_key`, it turns TLS on.
    pub tls_certificate: PathBuf,
    /// A file with the certificate's key, in PEM.
    pub tls_key: PathBuf,
    /// A file with the authority that clients' certificates must be signed by, in PEM.
    pub tls_client_ca: PathBuf,
    /// Whether other machines may reach it though it has no token or no TLS.
    pub allow_insecure: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            token: Secret::default(),
            tls_certificate: PathBuf::new(),
            tls_key: PathBuf::new(),
            tls_client_ca: PathBuf::new(),
            allow_insecure: false,
        }
    }
}

/// `[flight]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Flight {
    /// The address of Arrow Flight.
    pub listen: SocketAddr,
    /// The bearer token that every call must carry.
    pub token: Secret,
    /// A file with the server's certificate, in PEM; with `tls_key`, it turns TLS on.
    pub tls_certificate: PathBuf,
    /// A file with the certificate's key, in PEM.
    pub tls_key: PathBuf,
    /// A file with the authority that clients' certificates must be signed by, in PEM.
    pub tls_client_ca: PathBuf,
    /// Whether other machines may reach it though it has no token or no TLS.
    pub allow_insecure: bool,
}

impl Default for Flight {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8815)),
            token: Secret::default(),
            tls_certificate: PathBuf::new(),
            tls_key: PathBuf::new(),
            tls_client_ca: PathBuf::new(),
            allow_insecure: false,
        }
    }
}

/// `[query]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// The most series that one fetch may select.
    pub max_series: usize,
    /// The most points that one fetch may touch, and that the answers of one request may have together.
    pub max_points: usize,
    /// The most time that one query may take.
    pub timeout: Span,
    /// The most queries evaluated at once; others wait.
    pub max_concurrent: usize,
    /// The most targets in one request.
    pub max_targets: usize,
    /// The most names that one question about paths or tags may answer with.
    pub max_names: usize,
    /// The most events that one question may answer with.
    pub max_events: usize,
    /// Whose answer Graphite targets have where graphite-web's is plainly wrong.
    pub compat: Compat,
}

impl Default for Query {
    fn default() -> Self {
        let limits = statline_store::Limits::default();
        Self {
            max_series: limits.max_series,
            max_points: limits.max_points,
            timeout: Span::from_secs(60),
            max_concurrent: 16,
            max_targets: 256,
            max_names: 50_000,
            max_events: 10_000,
            compat: Compat::default(),
        }
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter as tracing takes it.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_are_the_list_of_keys() {
        let config = Config::default();
        assert_eq!(config.validate(), Ok(()));
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
        assert!(text.contains("flush_interval = \"10s\""), "{text}");
        assert!(text.contains("tls_certificate = \"\""), "every key has a default that is written: {text}");
    }
}
