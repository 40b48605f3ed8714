//! The repeater between real sockets.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use super::*;
use crate::receive::{ReceiveConfig, Receivers};

fn config(targets: &[SocketAddr], protocol: Protocol) -> ReceiveConfig {
    ReceiveConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        tcp_listen: vec!["127.0.0.1:0".parse().unwrap()],
        repeater: RepeaterConfig {
            targets: targets.iter().map(ToString::to_string).collect(),
            protocol,
            queue_bytes: 1 << 20,
        },
        ..ReceiveConfig::default()
    }
}

fn target(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

fn received(socket: &UdpSocket) -> String {
    let mut buffer = [0; 65_536];
    let length = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn every_packet_goes_on_to_every_target_as_it_came() {
    let targets = [target("127.0.0.1:0"), target("[::1]:0")];
    let addresses = targets.each_ref().map(|target| target.local_addr().unwrap());
    let receivers = Receivers::start(&config(&addresses, Protocol::Udp), Vec::new()).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let packets = ["a:1|c\nb:2|c\n", "not statsd at all", "c:3|ms|#t:v"];
    for packet in packets {
        client.send_to(packet.as_bytes(), receivers.places().udp[0]).unwrap();
    }
    for target in &targets {
        assert_eq!(packets.map(|_| received(target)), packets);
    }
    let lines = "stream.of.lines:1|c\n".repeat(200);
    TcpStream::connect(receivers.places().tcp[0]).unwrap().write_all(lines.as_bytes()).unwrap();
    let mut together = String::new();
    while together.len() < lines.len() {
        let packet = received(&targets[0]);
        assert!(packet.len() <= LINES_BYTES && packet.ends_with('\n'), "{packet}");
        together.push_str(&packet);
    }
    assert_eq!(together, lines);
    receivers.stop();
}

#[test]
fn a_connection_to_a_target_is_made_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let receivers = Receivers::start(&config(&[address], Protocol::Tcp), Vec::new()).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let statsd = receivers.places().udp[0];
    for round in 1..=2 {
        client.send_to(format!("round{round}:1|c\n").as_bytes(), statsd).unwrap();
        let (connection, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(&connection).lines();
        assert_eq!(lines.next().unwrap().unwrap(), format!("round{round}:1|c"));
        client.send_to(b"without.newline:1|c", statsd).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "without.newline:1|c");
    }
    receivers.stop();
}

#[test]
fn what_is_queued_at_a_stop_is_sent() {
    let target = target("127.0.0.1:0");
    let repeater = Repeater::start(&config(&[target.local_addr().unwrap()], Protocol::Udp).repeater).unwrap();
    let feed = repeater.feed().unwrap();
    for number in 0..20 {
        feed.lines(format!("n:{number}|c").as_bytes());
    }
    drop(feed);
    repeater.stop();
    for number in 0..20 {
        assert_eq!(received(&target), format!("n:{number}|c"));
    }
}

#[test]
fn a_target_that_takes_nothing_holds_up_nobody_and_memory_is_bounded() {
    // It takes connections, and nobody reads them.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let repeater = Repeater::start(&config(&[deaf.local_addr().unwrap()], Protocol::Tcp).repeater).unwrap();
    let feed = repeater.feed().unwrap();
    let packet = [b'x'; 60_000];
    let begun = Instant::now();
    let mut dropped = 0;
    for _ in 0..1000 {
        feed.lines(&packet);
        // The thread sets it back when it tells of it.
        dropped = feed.queues[0].figures.untold.load(Ordering::Relaxed).max(dropped);
        let waiting = feed.queues[0].waiting_bytes.load(Ordering::Relaxed);
        assert!(waiting <= 1 << 20, "{waiting}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "took {:?}", begun.elapsed());
    assert!(dropped > 0, "what was dropped is counted");
    drop(feed);
    let begun = Instant::now();
    repeater.stop();
    assert!(begun.elapsed() < Duration::from_secs(4), "took {:?}", begun.elapsed());
}

#[test]
fn lines_are_put_into_packets_that_every_network_takes() {
    let long = "y".repeat(2000);
    let lines = format!("{}{long}\n{}", "a:1|c\n".repeat(300), "b:1|c\n");
    let packets: Vec<&[u8]> = Packets(lines.as_bytes()).collect();
    let lengths: Vec<usize> = packets.iter().map(|packet| packet.len()).collect();
    assert_eq!(lengths, [1428, 372, 2001, 6]);
    assert_eq!(packets.concat(), lines.as_bytes());
}

#[test]
fn without_targets_there_is_no_feed() {
    assert!(Repeater::start(&RepeaterConfig::default()).unwrap().feed().is_none());
}
