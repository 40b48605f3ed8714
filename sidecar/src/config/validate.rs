//! What no single value can say: bounds, and values that do not go together.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use statline_series::Event;
use statline_statsd::Limits;

use super::{Config, Secret, Span};

/// The least memory with which the store can gather anything before it writes.
const MIN_HEAD_MEMORY: u64 = 1 << 20;

/// The longest path of a unix socket.
const MAX_UNIX_PATH: usize = 107;

impl Config {
    /// Proves that the values make sense, each and together.
    ///
    /// # Errors
    /// One line that names the key, its value and what would be right.
    pub fn validate(&self) -> Result<(), String> {
        let statsd = &self.statsd;
        at_least_one("statsd.receivers", statsd.receivers)?;
        at_least_one("statsd.max_series", statsd.max_series)?;
        if !(statsd.key_flush.percent > 0.0 && statsd.key_flush.percent <= 100.0) {
            return Err(format!(
                "statsd.key_flush.percent is {}; it must be above 0 and at most 100",
                statsd.key_flush.percent
            ));
        }
        at_least_one("statsd.prefix_parts", statsd.prefix_parts)?;
        at_least_one("statsd.max_timer_samples", statsd.max_timer_samples)?;
        at_least_one("statsd.max_set_members", statsd.max_set_members)?;
        at_least_one("statsd.max_waiting_points", statsd.max_waiting_points)?;
        between("statsd.max_key_bytes", statsd.max_key_bytes, 1, Limits::MAX_KEY_BYTES)?;
        between("statsd.max_packet_bytes", statsd.max_packet_bytes, 512, 65_535)?;
        between("statsd.receive_buffer", statsd.receive_buffer, 4096, 1 << 30)?;
        at_least_one("statsd.max_connections", statsd.max_connections)?;
        lasts("statsd.idle_timeout", statsd.idle_timeout, Duration::from_secs(1), Duration::from_hours(24 * 7))?;
        self.validate_network()?;
        lasts("statsd.flush_interval", statsd.flush_interval, Duration::from_secs(1), Duration::from_hours(1))?;
        if !statsd.flush_interval.get().subsec_nanos().is_multiple_of(1_000_000) {
            return Err(format!("statsd.flush_interval is {}; it must be whole milliseconds", statsd.flush_interval));
        }
        statsd.flush_config().validate().map_err(|error| format!("statsd: {error}"))?;

        self.validate_carbon()?;

        if self.store.path.as_os_str().is_empty() {
            return Err("store.path is empty; it must name a directory".to_owned());
        }
        at_least_one("store.max_series", self.store.max_series)?;
        at_least_one("store.max_sketch_series", self.store.max_sketch_series)?;
        at_least_one("store.max_events", self.store.max_events)?;
        if self.store.event_memory < Event::MOST_BYTES as u64 {
            return Err(format!(
                "store.event_memory is {}; it must be at least {}, the largest event",
                self.store.event_memory,
                Event::MOST_BYTES
            ));
        }
        lasts("store.block_length", self.store.block_length, Duration::from_mins(10), Duration::from_hours(24 * 7))?;
        lasts("store.max_late", self.store.max_late, Duration::from_secs(1), Duration::from_hours(24 * 36_500))?;
        if self.store.head_memory < MIN_HEAD_MEMORY {
            return Err(format!(
                "store.head_memory is {}; it must be at least {MIN_HEAD_MEMORY}",
                self.store.head_memory
            ));
        }
        self.store.embedded(statsd.step())?.check().map_err(|error| {
            format!(
                "store.block_length is {}, statsd.flush_interval {}: {error}",
                self.store.block_length, statsd.flush_interval
            )
        })?;

        at_least_one("query.max_series", self.query.max_series)?;
        at_least_one("query.max_points", self.query.max_points)?;
        at_least_one("query.max_concurrent", self.query.max_concurrent)?;
        at_least_one("query.max_targets", self.query.max_targets)?;
        at_least_one("query.max_names", self.query.max_names)?;
        at_least_one("query.max_events", self.query.max_events)?;
        lasts("query.timeout", self.query.timeout, Duration::from_millis(100), Duration::from_hours(1))?;

        self.validate_access()
    }

    fn validate_carbon(&self) -> Result<(), String> {
        let carbon = &self.carbon;
        at_least_one("carbon.max_connections", carbon.max_connections)?;
        lasts("carbon.idle_timeout", carbon.idle_timeout, Duration::from_secs(1), Duration::from_hours(24))?;
        between("carbon.receive_buffer", carbon.receive_buffer, 4096, 1 << 30)?;
        between("carbon.max_line_bytes", carbon.max_line_bytes, 64, 1 << 20)?;
        between("carbon.max_pickle_bytes", carbon.max_pickle_bytes, 4096, 64 << 20)?;
        if carbon.max_aggregation_intervals == 0 {
            return Err("carbon.max_aggregation_intervals is 0; it must be at least 1".to_owned());
        }
        if !carbon.write_back_frequency.get().is_zero() {
            let (least, most) = (Duration::from_secs(1), Duration::from_hours(24));
            lasts("carbon.write_back_frequency", carbon.write_back_frequency, least, most)?;
        }
        at_least_one("carbon.max_aggregates", carbon.max_aggregates)?;
        at_least_one("carbon.max_aggregate_values", carbon.max_aggregate_values)
    }

    fn validate_network(&self) -> Result<(), String> {
        let statsd = &self.statsd;
        for (key, paths) in
            [("statsd.unix_datagram", &statsd.unix_datagram), ("statsd.unix_stream", &statsd.unix_stream)]
        {
            if let Some(path) = paths.iter().find(|path| !(1..=MAX_UNIX_PATH).contains(&path.as_os_str().len())) {
                return Err(format!("{key}: the path {:?} must have from 1 to {MAX_UNIX_PATH} bytes", path.display()));
            }
        }
        at_least_one("console.max_connections", self.console.max_connections)?;
        at_least_one("console.max_names", self.console.max_names)?;
        lasts("console.idle_timeout", self.console.idle_timeout, Duration::from_secs(1), Duration::from_hours(24))?;
        between("repeater.queue_bytes", self.repeater.queue_bytes, 128 << 10, 1 << 30)?;
        for target in &self.repeater.targets {
            let is_target = target
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
            if !is_target {
                return Err(format!(
                    "repeater.targets: {target:?} is no target; write host:port, 1.2.3.4:8125 or [::1]:8125"
                ));
            }
        }
        Ok(())
    }

    fn validate_access(&self) -> Result<(), String> {
        for door in self.doors() {
            door.validate()?;
        }
        tracing_subscriber::EnvFilter::try_new(&self.log.level).map(|_| ()).map_err(|error| {
            format!("log.level is {:?}: {error}; write error, warn, info, debug or trace", self.log.level)
        })
    }

    /// What is allowed and yet worth a second look, a line each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.doors().iter().filter_map(Door::weakness).collect();
        for listen in self.console.listen.iter().filter(|listen| is_open(**listen)) {
            warnings.push(format!(
                "console.listen is {listen}, reachable from other machines, and the console has no password"
            ));
        }
        warnings
    }

    fn doors(&self) -> [Door<'_>; 2] {
        let (http, flight) = (&self.http, &self.flight);
        [
            Door {
                section: "http",
                listen: http.listen,
                token: &http.token,
                certificate: &http.tls_certificate,
                key: &http.tls_key,
                client_ca: &http.tls_client_ca,
                allow_insecure: http.allow_insecure,
            },
            Door {
                section: "flight",
                listen: flight.listen,
                token: &flight.token,
                certificate: &flight.tls_certificate,
                key: &flight.tls_key,
                client_ca: &flight.tls_client_ca,
                allow_insecure: flight.allow_insecure,
            },
        ]
    }
}

/// A way in for questions, and what guards it.
struct Door<'a> {
    section: &'static str,
    listen: SocketAddr,
    token: &'a Secret,
    certificate: &'a Path,
    key: &'a Path,
    client_ca: &'a Path,
    allow_insecure: bool,
}

impl Door<'_> {
    fn validate(&self) -> Result<(), String> {
        let section = self.section;
        let (has_certificate, has_key) = (!self.certificate.as_os_str().is_empty(), self.has_tls());
        if has_certificate != has_key {
            return Err(format!("{section}.tls_certificate and {section}.tls_key go together; one of them is not set"));
        }
        if !self.client_ca.as_os_str().is_empty() && !has_key {
            return Err(format!("{section}.tls_client_ca needs {section}.tls_certificate and {section}.tls_key"));
        }
        if !self.token.reveal().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("{section}.token may have printable ascii characters only, and no spaces"));
        }
        match self.weakness() {
            Some(weakness) if !self.allow_insecure => Err(format!(
                "{weakness}; set it, or {section}.allow_insecure where everybody on the network is trusted"
            )),
            _ => Ok(()),
        }
    }

    fn has_tls(&self) -> bool {
        !self.key.as_os_str().is_empty()
    }

    /// What an address that other machines reach has no guard against.
    fn weakness(&self) -> Option<String> {
        let (section, listen) = (self.section, self.listen);
        let missing = match (self.token.is_empty(), self.has_tls()) {
            _ if !is_open(listen) => return None,
            (false, true) => return None,
            (true, true) => format!("{section}.token is not set"),
            (false, false) => format!("{section}.tls_key is not set, so that the token goes over the network as it is"),
            (true, false) => format!("neither {section}.token nor {section}.tls_key is set"),
        };
        Some(format!("{section}.listen is {listen}, reachable from other machines, and {missing}"))
    }
}

/// Whether other machines may reach an address.
fn is_open(listen: SocketAddr) -> bool {
    !listen.ip().to_canonical().is_loopback()
}

fn at_least_one(key: &str, value: usize) -> Result<(), String> {
    if value == 0 { Err(format!("{key} is 0; it must be at least 1")) } else { Ok(()) }
}

fn between(key: &str, value: usize, least: usize, most: usize) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{key} is {value}; it must be from {least} to {most}"))
}

fn lasts(key: &str, value: Span, least: Duration, most: Duration) -> Result<(), String> {
    if (least..=most).contains(&value.get()) {
        return Ok(());
    }
    Err(format!("{key} is {value}; it must be from {} to {}", Span::from(least), Span::from(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_go_together_is_said() {
        let mut config = Config::default();
        config.store.max_late = Span::from_secs(0);
        assert_eq!(config.validate().unwrap_err(), "store.max_late is 0s; it must be from 1s to 36500d");

        let mut config = Config::default();
        config.statsd.flush_interval = Span::from_secs(0);
        assert_eq!(config.validate().unwrap_err(), "statsd.flush_interval is 0s; it must be from 1s to 1h");

        let mut config = Config::default();
        config.statsd.flush_interval = Span::from_secs(7);
        assert!(config.validate().unwrap_err().starts_with("store.block_length is 2h, statsd.flush_interval 7s: "));

        let mut config = Config::default();
        config.store.event_memory = 65_535;
        let said = "store.event_memory is 65535; it must be at least 65536, the largest event";
        assert_eq!(config.validate().unwrap_err(), said);

        let mut config = Config::default();
        config.store.max_events = 0;
        assert_eq!(config.validate().unwrap_err(), "store.max_events is 0; it must be at least 1");

        let mut config = Config::default();
        config.flight.tls_key = "key.pem".into();
        assert!(config.validate().unwrap_err().contains("go together"));

        let mut config = Config::default();
        config.repeater.targets = vec!["[::1]:8125".to_owned(), "collector".to_owned()];
        assert!(
            config.validate().unwrap_err().starts_with("repeater.targets: \"collector\" is no target; write host:port")
        );

        let mut config = Config::default();
        config.statsd.unix_stream = vec!["x".repeat(108).into()];
        assert!(config.validate().unwrap_err().starts_with("statsd.unix_stream: the path "));

        let mut config = Config::default();
        config.statsd.percent_thresholds = vec![0.0];
        assert!(config.validate().unwrap_err().starts_with("statsd: "));
    }

    #[test]
    fn an_open_door_is_refused_unless_it_is_guarded_or_allowed() {
        let open = SocketAddr::from(([0, 0, 0, 0], 8080));
        let (token, tls) = (Secret::from("t"), Path::new("key.pem"));
        for (listen, token, key, said) in [
            ("127.0.0.1:8080", "", "", None),
            ("[::1]:8080", "", "", None),
            ("[::ffff:127.0.0.1]:8080", "", "", None),
            ("0.0.0.0:8080", "t", "key.pem", None),
            ("0.0.0.0:8080", "", "", Some("neither http.token nor http.tls_key is set")),
            ("[::]:8080", "", "key.pem", Some("http.token is not set")),
            (
                "192.168.1.2:8080",
                "t",
                "",
                Some("http.tls_key is not set, so that the token goes over the network as it is"),
            ),
        ] {
            let mut config = Config::default();
            config.http.listen = listen.parse().unwrap();
            config.http.token = token.into();
            config.http.tls_key = key.into();
            config.http.tls_certificate = key.into();
            let Some(said) = said else {
                assert_eq!((config.validate(), config.warnings()), (Ok(()), Vec::new()), "{listen}");
                continue;
            };
            let warning = format!("http.listen is {listen}, reachable from other machines, and {said}");
            let refusal =
                format!("{warning}; set it, or http.allow_insecure where everybody on the network is trusted");
            assert_eq!(config.validate(), Err(refusal));
            config.http.allow_insecure = true;
            assert_eq!((config.validate(), config.warnings()), (Ok(()), vec![warning]));
        }
        let mut config = Config::default();
        config.flight.listen = open;
        assert!(config.validate().unwrap_err().starts_with("flight.listen is 0.0.0.0:8080, reachable"));
        config.flight.token = token;
        config.flight.tls_key = tls.into();
        config.flight.tls_certificate = tls.into();
        assert_eq!(config.validate(), Ok(()));
        config.console.listen = vec![open];
        assert_eq!((config.validate(), config.warnings().len()), (Ok(()), 1));
    }
}
