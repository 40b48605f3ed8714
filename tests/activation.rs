//! Sockets that a service manager keeps: this process opens them and passes them on, as systemd does.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use statline_harness::program::wait_until;
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http};

const PATIENCE: Duration = Duration::from_secs(10);

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
    let points = json.as_array().unwrap().iter().flat_map(|series| series["datapoints"].as_array().unwrap());
    points.filter_map(|point| point[0].as_f64()).sum()
}

fn await_samples(statlined: &Statlined, count: f64) {
    let received = || (figure(statlined, "statline_statsd_samples_total") == count).then_some(());
    wait_until("the samples being received", PATIENCE, received).unwrap();
}

/// Sends packets of one count until it is told to stop, and says how many.
fn traffic(to: &UdpSocket, pause: Duration) -> impl FnOnce() -> u64 + use<> {
    let (address, stop) = (to.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(address).unwrap();
        let mut sent = 0;
        while !stopped.load(Ordering::Acquire) {
            socket.send(b"traffic:1|c").unwrap();
            sent += 1;
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
        }
        sent
    });
    move || {
        stop.store(true, Ordering::Release);
        thread.join().unwrap()
    }
}

/// Restarts a daemon under traffic; answers how many packets were sent, counted, and reported as dropped.
fn restarts_under_traffic(pause: Duration) -> (f64, f64, f64) {
    let store = tempfile::tempdir().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let options = Options::new(store.path(), "1s").set("statsd", "listen", socket.local_addr().unwrap());
    let options = options.pass("statlined.socket", &socket).unwrap();
    let stop = traffic(&socket, pause);
    for _ in 0..3 {
        let statlined = Statlined::start(&options).unwrap();
        assert_eq!(statlined.statsd(), socket.local_addr().unwrap());
        wait_until("a flush", PATIENCE, || (figure(&statlined, "statline_flushes_total") > 0.0).then_some(())).unwrap();
        assert!(statlined.terminate().unwrap().success());
    }
    let sent = stop() as f64;
    // What came since the last one stopped is waiting for this one: this packet at least, unless the buffer is full.
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"marker:1|c", socket.local_addr().unwrap()).unwrap();
    let statlined = Statlined::start(&options).unwrap();
    let is_read = || {
        let before = figure(&statlined, "statline_statsd_packets_total");
        std::thread::sleep(Duration::from_millis(300));
        (before > 0.0 && figure(&statlined, "statline_statsd_packets_total") == before).then_some(())
    };
    wait_until("all that waited being read", PATIENCE, is_read).unwrap();
    assert!(statlined.terminate().unwrap().success());
    let statlined = Statlined::start(&options).unwrap();
    let marker_lost = 1.0 - total(&statlined, "stats_counts.marker");
    let dropped = total(&statlined, "stats_counts.statsd.kernel_drops") - marker_lost;
    (sent, total(&statlined, "stats_counts.traffic"), dropped)
}

#[test]
fn restarts_lose_no_packet() {
    let (sent, counted, dropped) = restarts_under_traffic(Duration::from_millis(5));
    println!("{sent} packets sent over three restarts, {counted} counted, {dropped} dropped");
    assert_eq!((counted, dropped), (sent, 0.0));
}

#[test]
fn what_overflows_the_kernels_buffer_at_restarts_is_reported_to_the_packet() {
    let (sent, counted, dropped) = restarts_under_traffic(Duration::ZERO);
    println!("{sent} packets sent over three restarts, {counted} counted, {dropped} dropped");
    assert_eq!(counted + dropped, sent);
}

#[test]
fn connections_wait_for_the_next_process() {
    let store = tempfile::tempdir().unwrap();
    let (statsd, carbon) = (TcpListener::bind("[::1]:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let options = Options::new(store.path(), "1s").pass("statsd", &statsd).unwrap().pass("carbon", &carbon).unwrap();
    let statlined = Statlined::start(&options).unwrap();
    assert_eq!(statlined.carbon(), carbon.local_addr().unwrap());
    TcpStream::connect(statsd.local_addr().unwrap()).unwrap().write_all(b"a:1|c\n").unwrap();
    await_samples(&statlined, 1.0);
    assert!(statlined.terminate().unwrap().success());

    TcpStream::connect(statsd.local_addr().unwrap()).unwrap().write_all(b"a:1|c\na:1|c").unwrap();
    TcpStream::connect(carbon.local_addr().unwrap()).unwrap().write_all(b"carbon.a 7 -1\n").unwrap();
    let statlined = Statlined::start(&options).unwrap();
    await_samples(&statlined, 2.0);
    let stored = || (total(&statlined, "carbon.a") == 7.0).then_some(());
    wait_until("the carbon point", PATIENCE, stored).unwrap();
}

#[test]
fn unix_sockets_are_taken_over_and_left_where_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let (datagram, stream) = (directory.path().join("d.sock"), directory.path().join("s.sock"));
    let (datagrams, streams) = (UnixDatagram::bind(&datagram).unwrap(), UnixListener::bind(&stream).unwrap());
    let options = Options::new(&directory.path().join("store"), "1s")
        .set("statsd", "unix_stream", stream.display())
        .pass("a", &datagrams)
        .unwrap()
        .pass("b", &streams)
        .unwrap();
    let client = UnixDatagram::unbound().unwrap();
    client.connect(&datagram).unwrap();
    for _ in 0..2 {
        client.send(b"a:1|c").unwrap();
        UnixStream::connect(&stream).unwrap().write_all(b"a:1|c\n").unwrap();
        let statlined = Statlined::start(&options).unwrap();
        await_samples(&statlined, 2.0);
        assert!(statlined.terminate().unwrap().success());
        assert!(datagram.exists() && stream.exists());
    }
}

#[test]
fn a_socket_that_is_for_nobody_is_an_error_that_says_what_to_do() {
    let store = tempfile::tempdir().unwrap();
    let stray = TcpListener::bind("127.0.0.1:0").unwrap();
    let options = Options::new(store.path(), "1s").pass("statlined.socket", &stray).unwrap();
    let error = Statlined::start(&options).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("the inherited socket 3 (tcp 127.0.0.1:"), "{error}");
    assert!(error.contains("FileDescriptorName=statsd"), "{error}");

    let file = std::fs::File::open("/dev/null").unwrap();
    let options = Options::new(store.path(), "1s").pass("statlined.socket", &file).unwrap();
    let error = Statlined::start(&options).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("the inherited descriptor 3 (statlined.socket) cannot be used: "), "{error}");
}
