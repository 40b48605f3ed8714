//! Points in carbon's protocols, from the socket to the answer.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use statline_harness::program::{own_binary, send_signal, wait_until};
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http};

const PATIENCE: Duration = Duration::from_secs(20);

struct House {
    statlined: Statlined,
    store: tempfile::TempDir,
}

impl House {
    fn open(configure: impl FnOnce(Options, &Path) -> Options) -> Self {
        let store = tempfile::tempdir().unwrap();
        let options = configure(Options::new(&store.path().join("store"), "1s"), store.path());
        Self { statlined: Statlined::start(&options).unwrap(), store }
    }

    fn figure(&self, name: &str) -> f64 {
        http::figure(self.statlined.http(), name).unwrap_or(0.0)
    }

    fn await_figure(&self, name: &str, value: f64) {
        let what = format!("{name} being {value}");
        if wait_until(&what, PATIENCE, || (self.figure(name) == value).then_some(())).is_err() {
            panic!("{name} is {}, not {value}; refused: {}", self.figure(name), self.refusals());
        }
    }

    fn refusals(&self) -> String {
        http::get(self.statlined.http(), "/carbon/refusals").unwrap().body
    }

    /// The values of a target in the last ten minutes and the ten seconds to come, oldest first.
    fn values(&self, target: &str) -> Vec<f64> {
        let answer =
            http::get(self.statlined.http(), &format!("/render?format=json&target={target}&from=-10min&until=%2B10s"));
        let json = answer.unwrap().json();
        let points = json.as_array().unwrap().iter().flat_map(|series| series["datapoints"].as_array().unwrap());
        points.filter_map(|point| point[0].as_f64()).collect()
    }

    /// The names of every series.
    fn names(&self) -> Vec<String> {
        let path = "/render?format=json&target=seriesByTag('name=~.')&from=-10min&until=%2B10s";
        let json = http::get(self.statlined.http(), path).unwrap().json();
        let names = json.as_array().unwrap().iter().map(|series| series["target"].as_str().unwrap().to_owned());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with("stats")).collect();
        names.sort();
        names
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn send(address: SocketAddr, bytes: &[u8]) {
    TcpStream::connect(address).unwrap().write_all(bytes).unwrap();
}

/// A pickle of protocol 2, with its length before it.
fn pickle(points: &[(&str, u64, f64)]) -> Vec<u8> {
    let mut pickle = b"\x80\x02](".to_vec();
    for (name, timestamp, value) in points {
        pickle.push(b'X');
        pickle.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
        pickle.extend(name.as_bytes());
        pickle.extend(b"\x8a\x08");
        pickle.extend(timestamp.to_le_bytes());
        pickle.push(b'G');
        pickle.extend(value.to_be_bytes());
        pickle.extend(b"\x86\x86");
    }
    pickle.extend(b"e.");
    framed(&pickle)
}

fn framed(pickle: &[u8]) -> Vec<u8> {
    [&u32::try_from(pickle.len()).unwrap().to_be_bytes(), pickle].concat()
}

#[test]
fn points_come_in_every_protocol() {
    let house = House::open(|options, _| options);
    let at = now() - 60;
    send(house.statlined.carbon(), format!("tcp.a 1 {at}\ntcp.b{{z=\"1\",b=\"x\"}} 2 -1").as_bytes());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(format!("udp.a 3 {at}\rudp..b 4 {at}\r\n").as_bytes(), house.statlined.carbon_udp()).unwrap();
    socket.send_to(b"udp.c 5 -1", house.statlined.carbon_udp()).unwrap();
    let mut stream = TcpStream::connect(house.statlined.carbon_pickle()).unwrap();
    let two = [pickle(&[("p.a", at, 6.0), ("p.b;y=2;x=1", at, 7.0)]), pickle(&[("p.a", at + 10, 8.0)])].concat();
    // Cut where it hurts: within a length, and within a pickle.
    for part in [&two[..2], &two[2..20], &two[20..]] {
        stream.write_all(part).unwrap();
        std::thread::sleep(Duration::from_millis(50));
    }
    house.await_figure("statline_carbon_points_total", 8.0);
    assert_eq!(house.names(), ["p.a", "p.b;x=1;y=2", "tcp.a", "tcp.b;b=x;z=1", "udp.a", "udp.b", "udp.c"]);
    assert_eq!(house.values("p.a"), [6.0, 8.0]);
    assert_eq!(house.values("udp.b"), [4.0]);
    assert_eq!(house.figure("statline_carbon_bad_lines_total"), 0.0);
}

#[test]
fn late_and_disordered_points_land_where_they_belong_and_refused_ones_are_counted() {
    let house = House::open(|options, _| options.set("store", "max_late", "1h"));
    let at = now() / 10 * 10 - 300;
    let lines = format!("a 3 {}\na 1 {at}\na 2 {}\na 9 {}\na 9 {}\n", at + 20, at + 10, at - 7200, at + 200_000);
    send(house.statlined.carbon(), lines.as_bytes());
    house.await_figure("statline_carbon_refused_points_total", 2.0);
    assert_eq!(house.figure("statline_carbon_points_total"), 3.0);
    assert_eq!(house.values("a"), [1.0, 2.0, 3.0]);
    let metrics = http::get(house.statlined.http(), "/metrics").unwrap().body;
    for reason in ["too_old", "too_new"] {
        assert!(
            metrics.contains(&format!("statline_store_refused_points_total{{reason=\"{reason}\"}} 1\n")),
            "{metrics}"
        );
    }
    send(house.statlined.carbon(), format!("a 4 {at}\n").as_bytes());
    house.await_figure("statline_carbon_points_total", 4.0);
    assert_eq!(house.values("a"), [4.0, 2.0, 3.0]);
}

#[test]
fn what_is_refused_is_told_with_its_reason_and_sender() {
    let house = House::open(|options, _| options.set("carbon", "max_pickle_bytes", 4096));
    send(house.statlined.carbon(), b"no value\na;t!=x 1 -1\nfine nan -1\nfine 1 -1\n\xff 1 -1\n");
    house.await_figure("statline_carbon_bad_lines_total", 3.0);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(b"from.udp x -1", house.statlined.carbon_udp()).unwrap();
    house.await_figure("statline_carbon_bad_lines_total", 4.0);
    let evil = framed(b"cos\nsystem\n(S'true'\ntR.");
    send(house.statlined.carbon_pickle(), &[evil, pickle(&[("after.evil", now(), 1.0)])].concat());
    house.await_figure("statline_carbon_points_total", 2.0);
    let mut endless = TcpStream::connect(house.statlined.carbon_pickle()).unwrap();
    endless.write_all(&[0xff; 16]).unwrap();
    assert_eq!(endless.read(&mut [0; 1]).unwrap(), 0, "the connection is closed");
    house.await_figure("statline_carbon_bad_lines_total", 6.0);
    let refusals = house.refusals();
    let from_udp =
        format!("from {}: the value \"x\" is not a number: \"from.udp x -1\"\n", socket.local_addr().unwrap());
    for told in [
        "a line is written path value timestamp, got 2 fields: \"no value\"\n",
        "a tag's name is not empty and has none of ;!^= in it, got \"t!\": \"a;t!=x 1 -1\"\n",
        "the value is NaN, which is not stored: \"fine nan -1\"\n",
        "the name is not utf-8: \"\\xff 1 -1\"\n",
        from_udp.as_str(),
        "byte 1 of the pickle: instruction 0x63 makes something else than numbers, texts, tuples and lists",
        "the pickle has 4294967295 bytes, more than carbon.max_pickle_bytes",
    ] {
        assert!(refusals.contains(told), "{told:?} is not in {refusals}");
    }
    let metrics = http::get(house.statlined.http(), "/metrics").unwrap().body;
    for (reason, count) in
        [("fields", 1), ("name", 1), ("not_a_number", 1), ("not_text", 1), ("value", 1), ("pickle", 1)]
    {
        assert!(
            metrics.contains(&format!("statline_carbon_refused_total{{reason=\"{reason}\"}} {count}\n")),
            "{reason}"
        );
    }
}

#[test]
fn lists_and_rules_hold_and_are_read_again() {
    let house = House::open(|options, directory| {
        let file = |name: &str, text: &str| {
            std::fs::write(directory.join(name), text).unwrap();
            directory.join(name).display().to_string()
        };
        options
            .set("carbon", "whitelist", file("whitelist.conf", "^app\\.\n^old\\.\n"))
            .set("carbon", "blacklist", file("blacklist.conf", "# noise\nnoise\n"))
            .set("carbon", "rewrite_rules", file("rewrite-rules.conf", "[pre]\n^old\\. = app.\n[post]\n_s$ =\n"))
            .set("carbon", "aggregation_rules", file("aggregation-rules.conf", "all.<m> (1) = sum app.*.<m>\n"))
    });
    let at = now() - 100;
    let lines = format!("app.1.hits_s 1 {at}\nold.2.hits_s 2 {at}\napp.noise.hits_s 4 {at}\nother 8 {at}\n");
    send(house.statlined.carbon(), lines.as_bytes());
    house.await_figure("statline_carbon_aggregates_total", 1.0);
    house.await_figure("statline_carbon_points_total", 2.0);
    assert_eq!(house.names(), ["all.hits_s", "app.1.hits", "app.2.hits"]);
    assert_eq!(house.values("all.hits_s"), [3.0]);
    assert_eq!(house.figure("statline_carbon_bad_lines_total"), 0.0, "a list is no mistake");
    assert_eq!(house.figure("statline_carbon_aggregated_points_total"), 2.0);

    // A wrong file changes nothing, and is told of in one line.
    let rewrite = house.store.path().join("rewrite-rules.conf");
    std::fs::write(&rewrite, "[pre]\nfine = x\n( = y\n").unwrap();
    house.await_figure("statline_carbon_failed_reloads_total", 1.0);
    let log = house.statlined.log_lines().join("\n");
    assert!(log.contains(&format!("{}:3: the regex \\\"(\\\" is not valid", rewrite.display())), "{log}");
    send(house.statlined.carbon(), format!("app.3.hits_s 1 {at}\n").as_bytes());
    house.await_figure("statline_carbon_points_total", 3.0);
    assert!(house.names().contains(&"app.3.hits".to_owned()));

    std::fs::write(&rewrite, "[post]\n_s$ = _new\n").unwrap();
    house.await_figure("statline_carbon_reloads_total", 1.0);
    send(house.statlined.carbon(), format!("app.3.hits_s 1 {at}\n").as_bytes());
    house.await_figure("statline_carbon_points_total", 4.0);
    assert!(house.names().contains(&"app.3.hits_new".to_owned()));
    // SIGHUP reads all four, changed or not.
    send_signal(house.statlined.pid(), "HUP").unwrap();
    house.await_figure("statline_carbon_reloads_total", 5.0);
}

#[test]
fn a_stop_stores_what_was_sent_and_what_was_aggregated() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("aggregation-rules.conf");
    std::fs::write(&rules, "all (3600) = sum one.*\n").unwrap();
    let options = Options::new(&directory.path().join("store"), "1s");
    let options = options.set("carbon", "aggregation_rules", rules.display());
    let statlined = Statlined::start(&options).unwrap();
    let mut waiting = TcpStream::connect(statlined.carbon()).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..100 {
        waiting.write_all(format!("one.{number} 1 -1\n").as_bytes()).unwrap();
        socket.send_to(format!("one.u{number} 1 -1\n").as_bytes(), statlined.carbon_udp()).unwrap();
    }
    assert!(statlined.terminate().unwrap().success());
    let statlined = Statlined::start(&options).unwrap();
    let count = |target: &str, from: &str| {
        let path = format!("/render?format=json&target={target}&from={from}&until=%2B10s");
        let json = http::get(statlined.http(), &path).unwrap().json();
        let points = json.as_array().unwrap().iter().flat_map(|series| series["datapoints"].as_array().unwrap());
        points.filter_map(|point| point[0].as_f64()).sum::<f64>()
    };
    assert_eq!(count("sumSeries(one.*)", "-10min"), 200.0);
    assert_eq!(count("all", "-2h"), 200.0);
}

#[test]
fn sockets_that_were_passed_are_used() {
    let store = tempfile::tempdir().unwrap();
    let pickles = TcpListener::bind("127.0.0.1:0").unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let options = Options::new(store.path(), "1s")
        .set("carbon", "pickle_listen", pickles.local_addr().unwrap())
        .pass("carbon_pickle", &pickles)
        .unwrap()
        .pass("carbon", &datagrams)
        .unwrap();
    // They wait for the daemon.
    datagrams.connect(datagrams.local_addr().unwrap()).unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let statlined = Statlined::start(&options).unwrap();
    assert_eq!(statlined.carbon_pickle(), pickles.local_addr().unwrap());
    assert_eq!(statlined.carbon_udp(), datagrams.local_addr().unwrap());
    drop(sender);
    datagrams.send(b"udp 1 -1").unwrap();
    send(statlined.carbon_pickle(), &pickle(&[("pickle", now(), 1.0)]));
    let stored = || (http::figure(statlined.http(), "statline_carbon_points_total").ok()? == 2.0).then_some(());
    wait_until("both points", PATIENCE, stored).unwrap();
}

#[test]
fn a_file_that_is_wrong_at_the_start_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.conf");
    std::fs::write(&rules, "\nall (0) = sum one.*\n").unwrap();
    for word in ["check-config", "serve"] {
        let mut command = Command::new(own_binary("statlined").unwrap());
        for section in ["STATSD__LISTEN", "STATSD__TCP_LISTEN", "CONSOLE__LISTEN", "HTTP__LISTEN", "FLIGHT__LISTEN"] {
            command.env(format!("STATLINE_{section}"), "127.0.0.1:0");
        }
        for section in ["LISTEN", "UDP_LISTEN", "PICKLE_LISTEN"] {
            command.env(format!("STATLINE_CARBON__{section}"), "127.0.0.1:0");
        }
        command.env("STATLINE_STORE__PATH", directory.path().join("store"));
        let output = command.arg(word).env("STATLINE_CARBON__AGGREGATION_RULES", &rules).output().unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        let told = format!(
            "statlined: carbon.aggregation_rules: {}:2: the frequency \"0\" is not a number of seconds from 1 to 31622400",
            rules.display()
        );
        assert!(said.lines().any(|line| line == told), "{word}: {said}");
    }
}
