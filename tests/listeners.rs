//! What comes over TCP, unix sockets and through the repeater, as an operator sees it.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use statline_harness::program::wait_until;
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http};

const PATIENCE: Duration = Duration::from_secs(10);

/// A figure of `/metrics`, by its name and labels; 0 when it is not there yet.
fn figure(statlined: &Statlined, name: &str) -> f64 {
    let text = http::get(statlined.http(), "/metrics").unwrap().body;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

fn await_figure(statlined: &Statlined, name: &str, value: f64) {
    wait_until(name, PATIENCE, || (figure(statlined, name) == value).then_some(())).unwrap();
}

#[test]
fn connections_and_repeated_packets_are_counted() {
    let (target, store) = (UdpSocket::bind("127.0.0.1:0").unwrap(), tempfile::tempdir().unwrap());
    target.set_read_timeout(Some(PATIENCE)).unwrap();
    let target_address = target.local_addr().unwrap();
    let options =
        Options::new(store.path(), "1s").set("statsd", "max_connections", 1).set("repeater", "targets", target_address);
    let statlined = Statlined::start(&options).unwrap();
    let mut first = TcpStream::connect(statlined.statsd_tcp()).unwrap();
    first.write_all(b"a:1|c\n").unwrap();
    await_figure(&statlined, "statline_statsd_connections", 1.0);
    let _second = TcpStream::connect(statlined.statsd_tcp()).unwrap();
    await_figure(&statlined, "statline_statsd_refused_connections_total", 1.0);
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"b:1|c", statlined.statsd()).unwrap();
    let label = format!("{{target=\"{target_address}\"}}");
    await_figure(&statlined, &format!("statline_repeater_packets_total{label}"), 2.0);
    assert_eq!(figure(&statlined, &format!("statline_repeater_dropped_packets_total{label}")), 0.0);
    let mut buffer = [0; 100];
    let mut repeated: Vec<Vec<u8>> = (0..2)
        .map(|_| {
            let length = target.recv(&mut buffer).unwrap();
            buffer[..length].to_vec()
        })
        .collect();
    repeated.sort_unstable();
    assert_eq!(repeated, [b"a:1|c\n".to_vec(), b"b:1|c".to_vec()]);
    drop(first);
    await_figure(&statlined, "statline_statsd_connections", 0.0);
    assert_eq!(figure(&statlined, "statline_statsd_connections_total"), 1.0);
}

/// A sender on a unix socket may pass descriptors along, which must not fill up our table of them.
#[test]
fn descriptors_that_a_sender_passes_are_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("statsd.sock");
    let options = Options::new(&directory.path().join("store"), "1s").set("statsd", "unix_datagram", path.display());
    let statlined = Statlined::start(&options).unwrap();
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", statlined.pid())).unwrap().count();
    let sender = UnixDatagram::unbound().unwrap();
    sender.send_to(b"a:1|c", &path).unwrap();
    await_figure(&statlined, "statline_statsd_packets_total", 1.0);
    let before = descriptors();
    let script = "import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(sys.argv[1])
for _ in range(50):
    socket.send_fds(s, [b'a:1|c'], [0, 1, 2])
";
    let sent = Command::new("python3").args(["-c", script]).arg(&path).output().unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    await_figure(&statlined, "statline_statsd_packets_total", 51.0);
    assert_eq!(figure(&statlined, "statline_statsd_samples_total"), 51.0);
    assert!(descriptors() < before + 50, "{before} before, {} after", descriptors());
}
