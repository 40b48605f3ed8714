//! What statlined promises of its start, its stop and its death.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::io::Write;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use statline_harness::program::{own_binary, send_signal, wait_until};
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http};

/// The longest that anything may take which happens with the next flush.
const PATIENCE: Duration = Duration::from_secs(10);

/// A figure of `/metrics`; 0 when it is not there yet.
fn figure(statlined: &Statlined, name: &str) -> f64 {
    let text = http::get(statlined.http(), "/metrics").unwrap().body;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

/// The sum of a target's values over the last ten minutes, and the ten seconds to come.
fn total(statlined: &Statlined, target: &str) -> f64 {
    let answer =
        http::get(statlined.http(), &format!("/render?format=json&target={target}&from=-10min&until=%2B10s")).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let json = answer.json();
    let series = json.as_array().unwrap();
    let points = series.iter().flat_map(|series| series["datapoints"].as_array().unwrap());
    points.filter_map(|point| point[0].as_f64()).sum()
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

#[test]
fn what_a_flush_reported_survives_kill_9() {
    const ROUNDS: u32 = 5;
    let store = tempfile::tempdir().unwrap();
    let options = Options::new(store.path(), "1s");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for round in 1..=ROUNDS {
        let statlined = Statlined::start(&options).unwrap();
        for earlier in 1..round {
            assert_eq!(total(&statlined, &format!("stats_counts.round{earlier}")), f64::from(earlier), "round {round}");
            assert_eq!(total(&statlined, &format!("stats.timers.round{earlier}.count")), 1.0, "round {round}");
            assert_eq!(total(&statlined, &format!("carbon.round{earlier}")), 7.0, "round {round}");
        }
        socket.send_to(format!("round{round}:{round}|c\nround{round}:5|ms").as_bytes(), statlined.statsd()).unwrap();
        let line = format!("carbon.round{round} 7 -1\n");
        TcpStream::connect(statlined.carbon()).unwrap().write_all(line.as_bytes()).unwrap();
        let received = || {
            let samples = figure(&statlined, "statline_statsd_samples_total");
            (samples == 2.0 && figure(&statlined, "statline_carbon_points_total") == 1.0).then_some(())
        };
        wait_until("the samples being received", PATIENCE, received).unwrap();
        let sent = now();
        let flushed = || (figure(&statlined, "statline_flush_last_timestamp_seconds") > sent).then_some(());
        wait_until("the flush being reported", PATIENCE, flushed).unwrap();
        statlined.kill().unwrap();
    }
    let statlined = Statlined::start(&options).unwrap();
    let rounds: f64 = (1..=ROUNDS).map(f64::from).sum();
    assert_eq!(total(&statlined, "stats_counts.round*"), rounds);
    assert_eq!(total(&statlined, "carbon.round*"), 7.0 * f64::from(ROUNDS));
}

/// Sends packets of one count as fast as it goes, until nobody listens any more.
struct Traffic {
    sent: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Traffic {
    fn to(statsd: SocketAddr) -> Self {
        let sent = Arc::new(AtomicU64::new(0));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(statsd).unwrap();
        let counter = Arc::clone(&sent);
        let thread = std::thread::spawn(move || {
            while socket.send(b"traffic:1|c").is_ok() {
                counter.fetch_add(1, Ordering::Release);
            }
        });
        Self { sent, thread }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }
}

#[test]
fn a_stop_under_traffic_is_quick_and_loses_nothing_that_was_received() {
    let store = tempfile::tempdir().unwrap();
    let options = Options::new(store.path(), "1s");
    for round in 1..=3 {
        let statlined = Statlined::start(&options).unwrap();
        let counted = total(&statlined, "stats_counts.traffic");
        let dropped = total(&statlined, "stats_counts.statsd.kernel_drops");
        let traffic = Traffic::to(statlined.statsd());
        wait_until("a flush", PATIENCE, || (figure(&statlined, "statline_flushes_total") > 0.0).then_some(())).unwrap();

        let sent_before = traffic.sent();
        let began = Instant::now();
        let status = statlined.terminate().unwrap();
        let took = began.elapsed();
        let Traffic { sent, thread } = traffic;
        thread.join().unwrap();
        let sent = sent.load(Ordering::Acquire);
        assert!(status.success(), "{status}");
        assert!(took < Duration::from_secs(5), "the stop took {took:?}");

        let statlined = Statlined::start(&options).unwrap();
        let counted = total(&statlined, "stats_counts.traffic") - counted;
        let dropped = total(&statlined, "stats_counts.statsd.kernel_drops") - dropped;
        let missing = sent as f64 - counted - dropped;
        println!(
            "stop in {took:?}: {sent} packets sent ({sent_before} before SIGTERM), {counted} counted, {dropped} reported \
             dropped, {missing} sent to a closed socket"
        );
        assert!(
            counted + dropped >= sent_before as f64,
            "round {round}: {} are lost",
            sent_before as f64 - counted - dropped
        );
        assert!(missing >= 0.0, "round {round}: more was counted than sent");
        // What was sent after the socket had closed, of which the sender learns with its next packet.
        assert!(missing <= 2.0, "round {round}: {missing} are lost");
        drop(statlined);
    }
}

#[test]
fn the_first_packet_is_taken_soon_after_the_start() {
    let store = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let statlined = Statlined::start(&Options::new(store.path(), "1s")).unwrap();
    let ready = began.elapsed();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"first:1|c", statlined.statsd()).unwrap();
    let received = || (figure(&statlined, "statline_statsd_packets_total") == 1.0).then_some(());
    wait_until("the packet being received", PATIENCE, received).unwrap();
    println!("ready after {ready:?}, the first packet counted after {:?}", began.elapsed());
    assert!(ready < Duration::from_secs(10), "{ready:?}");
    assert_eq!(http::get(statlined.http(), "/ready").unwrap().status, 200);
}

/// A daemon that must not start: what it says, which is one line.
fn refused(options: &Options) -> String {
    let error = Statlined::start(options).map(|_| ()).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn what_is_taken_already_is_named() {
    let (first_store, second_store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = Statlined::start(&Options::new(first_store.path(), "1s")).unwrap();

    let error = refused(&Options::new(first_store.path(), "1s"));
    assert!(error.contains(&first_store.path().display().to_string()), "{error}");
    assert!(error.contains(&format!("{}", first.pid())), "the process that holds the store is named: {error}");

    for (section, address) in
        [("statsd", first.statsd()), ("carbon", first.carbon()), ("http", first.http()), ("flight", first.flight())]
    {
        let error = refused(&Options::new(second_store.path(), "1s").set(section, "listen", address));
        assert!(error.contains(&format!("{section}.listen")), "{error}");
        assert!(error.contains(&address.to_string()) && error.contains("Address already in use"), "{error}");
    }
    assert_eq!(http::get(first.http(), "/health").unwrap().status, 200, "the first is none the worse for it");
}

fn check_config(file: &str, environment: &[(&str, &str)]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("statlined.toml");
    std::fs::write(&path, file).unwrap();
    let mut command = Command::new(own_binary("statlined").unwrap());
    command.arg("check-config").arg("--config").arg(&path).envs(environment.iter().copied());
    command.output().unwrap()
}

#[test]
fn a_wrong_configuration_is_refused_in_one_line_that_names_the_key() {
    for (file, environment, said) in [
        (
            "[statsd]\nflush_intervall = \"5s\"\n",
            None,
            "unknown key \"statsd.flush_intervall\"; did you mean \"flush_interval\"?",
        ),
        ("[statds]\n", None, "unknown key \"statds\"; did you mean \"statsd\"?"),
        ("[statsd]\nflush_interval = \"soon\"\n", None, "statsd.flush_interval: \"soon\" is not a duration"),
        ("[statsd]\nflush_interval = \"10ms\"\n", None, "statsd.flush_interval is 10ms; it must be from 1s to 1h"),
        ("[http]\nlisten = \"8080\"\n", None, "http.listen"),
        ("[flight]\ntls_key = \"key.pem\"\n", None, "flight.tls_certificate and flight.tls_key go together"),
        (
            "[http]\nlisten = \"0.0.0.0:8080\"\n",
            None,
            "http.listen is 0.0.0.0:8080, reachable from other machines, and neither http.token nor http.tls_key is set",
        ),
        (
            "[flight]\nlisten = \"[::]:8082\"\ntoken = \"t\"\n",
            None,
            "flight.tls_key is not set, so that the token goes over the network as it is; set it, or flight.allow_insecure",
        ),
        ("[log]\nlevel = \"statlined=loud\"\n", None, "log.level"),
        ("[http\n", None, "statlined.toml:1"),
        ("", Some(("STATLINE_STATSD__RECEIVERS", "two")), "STATLINE_STATSD__RECEIVERS: statsd.receivers"),
        ("", Some(("STATLINE_STORE__PAHT", "/tmp")), "unknown key \"store.paht\"; did you mean \"path\"?"),
    ] {
        let environment: Vec<_> = environment.into_iter().collect();
        let output = check_config(file, &environment);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{file}: {error}");
        assert!(error.contains(said), "{file}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_valid_configuration_is_shown_without_its_secrets() {
    let output = check_config("[http]\ntoken = \"Tr0ub4dor\"\n", &[("STATLINE_FLIGHT__TOKEN", "Tr0ub4dor")]);
    let (shown, said) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && said.contains("the configuration is valid"), "{said}");
    assert!(shown.contains("flush_interval = \"10s\"") && shown.contains("token = \"(set)\""), "{shown}");
    assert!(!shown.contains("Tr0ub4dor") && !said.contains("Tr0ub4dor"));
}

#[test]
fn a_network_where_everybody_is_trusted_is_taken_at_its_word() {
    let output = check_config("[http]\nlisten = \"0.0.0.0:8080\"\nallow_insecure = true\n", &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && said.contains("http.listen is 0.0.0.0:8080, reachable from other machines"),
        "{said}"
    );
}

#[test]
fn an_interrupt_stops_it_as_well() {
    let store = tempfile::tempdir().unwrap();
    let statlined = Statlined::start(&Options::new(store.path(), "10s")).unwrap();
    send_signal(statlined.pid(), "INT").unwrap();
    let stopped = || statlined.log_lines().iter().any(|line| line.contains("\"stopped\"")).then_some(());
    wait_until("the log saying that it stopped", Duration::from_secs(5), stopped).unwrap();
}
