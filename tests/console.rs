//! The management console, as a script talks to it: the answers are, byte for byte, those of etsy's statsd 0.9.0.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use statline_harness::program::wait_until;
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http};

const PATIENCE: Duration = Duration::from_secs(10);

/// Says something in a conversation of its own, and hears all of the answer.
fn ask(console: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(console).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A daemon whose interval is long, so that what is sent stays in the open one.
fn start(store: &tempfile::TempDir) -> Statlined {
    Statlined::start(&Options::new(store.path(), "10m").set("http", "token", "Tr0ub4dor")).unwrap()
}

fn send(statlined: &Statlined, packet: &str) {
    let seen = || {
        let counters = ask(statlined.console(), "counters\n");
        let (_, count) = counters.split_once("'statsd.packets_received': ").unwrap();
        count.split([',', ' ', '\n']).next().unwrap().parse::<u32>().unwrap()
    };
    let before = seen();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(packet.as_bytes(), statlined.statsd()).unwrap();
    wait_until("the packet being received", PATIENCE, || (seen() > before).then_some(())).unwrap();
}

#[test]
fn the_open_interval_is_dumped_as_node_prints_it() {
    let store = tempfile::tempdir().unwrap();
    let statlined = start(&store);
    let console = statlined.console();
    assert_eq!(ask(console, "timers\n"), "{}\nEND\n\n");
    assert_eq!(ask(console, "gauges"), "{}\nEND\n\n", "a line needs no end when the client is done");
    send(
        &statlined,
        "bot.messages:2|c|@0.5\nplain:1|c\nnot a line\nbot.level:-3.5|g\nbot.time:3:1:2.5|ms\nusers:bob|s:al|s",
    );
    assert_eq!(
        ask(console, "counters\n"),
        "{\n  'bot.messages': 4,\n  plain: 1,\n  'statsd.bad_lines_seen': 1,\n  'statsd.metrics_received': 6,\n  \
         'statsd.packets_received': 1\n}\nEND\n\n"
    );
    assert_eq!(ask(console, "gauges\n"), "{ 'bot.level': -3.5 }\nEND\n\n");
    assert_eq!(ask(console, "timers\n"), "{ 'bot.time': [ 3, 1, 2.5 ] }\nEND\n\n");
    assert_eq!(ask(console, "sets\n"), "{ users: [ 'al', 'bob' ] }\nEND\n\n");
    let refusals = ask(console, "refusals\n");
    assert!(refusals.starts_with("from 127.0.0.1:") && refusals.ends_with(": \"not a line\"\nEND\n\n"), "{refusals}");
    let offenders = ask(console, "offenders\n");
    assert!(offenders.contains("bot.messages: 1 series, 0 refused\n") && offenders.ends_with("END\n\n"), "{offenders}");
}

#[test]
fn names_and_folders_are_deleted() {
    let store = tempfile::tempdir().unwrap();
    let statlined = start(&store);
    let console = statlined.console();
    send(&statlined, "a.b:1|c\na.c:1|c\nab:1|c\na.b:1|g\na.b:1|ms\na.b:1|s");
    assert_eq!(
        ask(console, "delcounters a.* nothing ab\n"),
        "deleted: a.b\ndeleted: a.c\nmetric nothing not found\ndeleted: ab\nEND\n\n"
    );
    assert_eq!(ask(console, "delgauges a.b\ndelgauges a.b\n"), "deleted: a.b\nEND\n\nmetric a.b not found\nEND\n\n");
    assert_eq!(ask(console, "deltimers a.*\n"), "deleted: a.b\nEND\n\n");
    assert_eq!(ask(console, "delsets a.b\n"), "deleted: a.b\nEND\n\n");
    assert_eq!(ask(console, "delsets\n"), "END\n\n");
    assert_eq!(ask(console, "timers\nsets\n"), "{}\nEND\n\n{}\nEND\n\n");
    send(&statlined, "a.b:5|g");
    assert_eq!(ask(console, "gauges\n"), "{ 'a.b': 5 }\nEND\n\n", "a name that was deleted may come again");
}

#[test]
fn a_server_tells_of_itself() {
    let store = tempfile::tempdir().unwrap();
    let statlined = start(&store);
    let console = statlined.console();
    assert!(ask(console, "help\n").starts_with("Commands: stats, counters, timers, gauges, "));
    for nonsense in ["HELP\n", "\n", "counters; process.exit()\n", "\u{1}\u{2}\n"] {
        assert_eq!(ask(console, nonsense), "ERROR\n", "{nonsense:?}");
    }
    send(&statlined, "bad\nworse");
    let stats = ask(console, "stats\n");
    let names: Vec<&str> = stats.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "uptime",
            "messages.last_msg_seen",
            "messages.bad_lines_seen",
            "graphite.last_flush",
            "graphite.last_exception",
            "graphite.flush_time",
            "graphite.flush_length",
            "END",
            ""
        ]
    );
    assert!(stats.contains("messages.bad_lines_seen: 2\n") && stats.ends_with("END\n\n"), "{stats}");
    let config = ask(console, "config\n");
    assert!(config.starts_with('\n') && config.contains("\nstatsd > flush_interval: 10m\n"), "{config}");
    assert!(config.contains("\nhttp > token: (set)\n") && !config.contains("Tr0ub4dor"), "{config}");
}

#[test]
fn health_down_takes_the_daemon_out_of_service() {
    let store = tempfile::tempdir().unwrap();
    let statlined = start(&store);
    let console = statlined.console();
    let ready = || http::get(statlined.http(), "/ready").unwrap();
    assert_eq!(ask(console, "health\n"), "health: up\n");
    assert_eq!(ready().status, 200);
    assert_eq!(ask(console, "health down\nhealth\n"), "health: down\nhealth: down\n");
    let answer = ready();
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("health up"), "{}", answer.body);
    assert_eq!(ask(console, "health UP\n"), "health: up\n");
    assert_eq!(ready().status, 200);
}

#[test]
fn a_conversation_goes_on_until_somebody_ends_it() {
    let store = tempfile::tempdir().unwrap();
    let options =
        Options::new(store.path(), "10m").set("console", "idle_timeout", "1s").set("console", "max_connections", 2);
    let statlined = Statlined::start(&options).unwrap();
    let console = statlined.console();
    let connect = || {
        let stream = TcpStream::connect(console).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let mut stream = connect();
    let mut answer = [0; 11];
    for _ in 0..3 {
        // Without a newline, as some checks send it.
        stream.write_all(b"health").unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"health: up\n");
    }
    stream.write_all(b"quit\n").unwrap();
    assert_eq!(stream.read(&mut answer).unwrap(), 0, "quit ends it");
    drop(stream);

    let mut silent = connect();
    let begun = Instant::now();
    assert_eq!(silent.read(&mut answer).unwrap(), 0, "silence ends it");
    assert!(begun.elapsed() >= Duration::from_millis(900));

    let mut endless = connect();
    let _ = endless.write_all(&[b'x'; 100_000]);
    let mut said = String::new();
    let _ = endless.read_to_string(&mut said);
    assert!(said.is_empty() || said == "ERROR\n", "{said:?}");

    let kept = [connect(), connect()];
    for mut stream in &kept {
        stream.write_all(b"health\n").unwrap();
        (&mut stream).read_exact(&mut answer).unwrap();
    }
    assert_eq!(connect().read(&mut answer).unwrap_or(0), 0, "one too many");
}

#[test]
fn an_empty_list_turns_it_off() {
    let store = tempfile::tempdir().unwrap();
    let statlined = Statlined::start(&Options::new(store.path(), "10m").set("console", "listen", "")).unwrap();
    let ready = statlined.log_lines().into_iter().find(|line| line.contains("\"ready\"")).unwrap();
    assert!(ready.contains("\"console\":\"\""), "{ready}");
}
