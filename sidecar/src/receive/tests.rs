//! Receivers on real sockets of the loopback interface.

use std::net::UdpSocket;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use statline_series::{Step, Timestamp};
use statline_statsd::{FlushConfig, Reason, SelfFigures, State, Table};

use super::*;

fn config(address: &str) -> ReceiveConfig {
    ReceiveConfig { listen: vec![address.parse().unwrap()], receive_buffer: 1 << 20, ..ReceiveConfig::default() }
}

fn client(receivers: &Receivers) -> UdpSocket {
    let to = receivers.local_addrs()[0];
    let socket = UdpSocket::bind(if to.is_ipv6() { "[::1]:0" } else { "127.0.0.1:0" }).unwrap();
    socket.connect(to).unwrap();
    socket
}

/// Waits until the totals are as they should be, for five seconds at most.
fn wait_for(stats: &ReceiveStats, what: &str, holds: impl Fn(&ReceiveTotals) -> bool) -> ReceiveTotals {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let totals = stats.totals();
        if holds(&totals) {
            return totals;
        }
        assert!(Instant::now() < deadline, "{what}: {totals:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The value of a series in a flush of these tables.
fn flushed(state: &mut State, name: &str) -> Option<f64> {
    let batch = state.flush(Step::SECOND, Timestamp::from_seconds(1), &SelfFigures::default());
    batch.rows.iter().find(|row| row.key.as_str() == name).map(|row| row.point.value)
}

fn state() -> State {
    State::new(FlushConfig::default(), &Limits::default()).unwrap()
}

/// Keeps the first thread from taking anything in, so that the kernel has to hold it.
fn hold(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap()
}

#[test]
fn every_sample_is_counted_once_over_several_threads_and_flushes() {
    let mut receivers = Receivers::start(&ReceiveConfig { threads: 2, ..config("127.0.0.1:0") }).unwrap();
    let stats = receivers.stats();
    let mut state = state();
    let mut counted = 0.0;
    let clients: Vec<UdpSocket> = (0..4).map(|_| client(&receivers)).collect();
    for round in 1..=5_u64 {
        for client in &clients {
            for _ in 0..20 {
                client.send(b"a:1|c\nb:2|c|@0.5\nb:1|c\n").unwrap();
            }
        }
        wait_for(&stats, "all packets arrive", |totals| totals.packets == round * 80);
        receivers.collect(|lane| assert_eq!(state.absorb(lane), 0));
        counted += flushed(&mut state, "stats_counts.b").unwrap();
    }
    assert_eq!(counted, 5.0 * 80.0 * 5.0);
    let totals = stats.totals();
    assert_eq!((totals.lines, totals.samples, totals.bad_lines, totals.kernel_drops), (1200, 1200, 0, 0));
    assert_eq!(totals.bytes, 400 * 23);
    assert!(receivers.is_healthy());
    assert!(!receivers.stop().unread);
}

#[test]
fn a_lone_packet_is_seen_at_once() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let receivers = Receivers::start(&config(address)).unwrap();
        let stats = receivers.stats();
        let client = client(&receivers);
        for number in 1..=5 {
            let sent = Instant::now();
            client.send(b"a:1|c").unwrap();
            wait_for(&stats, "the packet arrives", |totals| totals.packets == number);
            assert!(sent.elapsed() < Duration::from_millis(500), "{address} took {:?}", sent.elapsed());
        }
    }
}

#[test]
fn an_unspecified_ipv6_address_takes_ipv4_too() {
    let receivers = Receivers::start(&config("[::]:0")).unwrap();
    let stats = receivers.stats();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"bad", ("127.0.0.1", receivers.local_addrs()[0].port())).unwrap();
    wait_for(&stats, "the packet arrives", |totals| totals.packets == 1);
    assert_eq!(stats.refusals()[0].sender, Some(client.local_addr().unwrap()), "shown as the IPv4 address it is");
}

#[test]
fn what_the_kernel_dropped_and_what_was_received_is_what_was_sent() {
    let receivers = Receivers::start(&ReceiveConfig { receive_buffer: 4096, ..config("127.0.0.1:0") }).unwrap();
    let stats = receivers.stats();
    let client = client(&receivers);
    let table = receivers.running[0].lane.table();
    let held = hold(&table);
    for _ in 0..1000 {
        client.send(b"a:1|c").unwrap();
    }
    drop(held);
    let totals = wait_for(&stats, "all are accounted for", |totals| totals.packets + totals.kernel_drops == 1000);
    assert!(totals.kernel_drops > 0, "{totals:?}");
    assert_eq!(totals.samples, totals.packets);
    // One more packet tells of the drops a second time, and they are not counted twice.
    client.send(b"a:1|c").unwrap();
    let after = wait_for(&stats, "the last one arrives", |after| after.packets == totals.packets + 1);
    assert_eq!(after.kernel_drops, totals.kernel_drops);
}

#[test]
fn a_stop_takes_what_the_kernel_holds() {
    let receivers = Receivers::start(&config("127.0.0.1:0")).unwrap();
    let stats = receivers.stats();
    let client = client(&receivers);
    let lane_table = receivers.running[0].lane.table();
    let held = lane_table.lock().unwrap();
    for _ in 0..500 {
        client.send(b"a:1|c").unwrap();
    }
    let stopping = thread::spawn(move || receivers.stop());
    drop(held);
    let mut stopped = stopping.join().unwrap();
    assert!(!stopped.unread);
    assert_eq!((stats.totals().packets, stats.totals().kernel_drops), (500, 0));
    let mut state = state();
    for lane in &mut stopped.lanes {
        state.absorb(lane);
    }
    assert_eq!(flushed(&mut state, "stats_counts.a"), Some(500.0));
}

#[test]
fn a_table_can_be_taken_while_no_packet_comes() {
    let mut receivers = Receivers::start(&config("127.0.0.1:0")).unwrap();
    let begun = Instant::now();
    let mut tables = 0;
    for _ in 0..100 {
        receivers.collect(|_| tables += 1);
    }
    assert_eq!(tables, 100);
    assert!(begun.elapsed() < Duration::from_millis(500), "took {:?}", begun.elapsed());
}

#[test]
fn a_refused_value_can_be_traced_to_its_sender() {
    let receivers = Receivers::start(&config("127.0.0.1:0")).unwrap();
    let stats = receivers.stats();
    let client = client(&receivers);
    client.send(b"good:1|c\nbad\nworse:x|c\n").unwrap();
    let totals = wait_for(&stats, "the packet arrives", |totals| totals.packets == 1);
    assert_eq!((totals.samples, totals.bad_lines), (1, 2));
    let by_reason: Vec<_> = totals.by_reason.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(by_reason, [(Reason::NoValue, 1), (Reason::NotANumber, 1)]);
    let refusals = stats.refusals();
    assert_eq!(refusals[1].sender, Some(client.local_addr().unwrap()));
    assert_eq!((refusals[1].offset, refusals[1].excerpt.as_str()), (19, "worse:x|c"));
    let told = refusals[0].to_string();
    assert!(told.starts_with("from 127.0.0.1:") && told.ends_with("\"bad\""), "{told}");
}

#[test]
fn a_packet_too_long_is_taken_up_to_its_last_whole_line() {
    let receivers = Receivers::start(&ReceiveConfig { max_packet_bytes: 20, ..config("127.0.0.1:0") }).unwrap();
    let stats = receivers.stats();
    let client = client(&receivers);
    client.send(b"a:1|c\nb:1|c\ncut:123456|c").unwrap();
    client.send(b"whole:12345678|c|@0.1").unwrap();
    client.send(b"exactly:1234567890|c").unwrap();
    let totals = wait_for(&stats, "the packets arrive", |totals| totals.packets == 3);
    assert_eq!((totals.samples, totals.truncated, totals.limited, totals.bad_lines), (3, 2, 2, 0));
    assert_eq!(stats.refusals()[0].excerpt, "cut:1234");
}

#[test]
fn the_largest_packet_there_is_arrives_whole() {
    let receivers = Receivers::start(&config("127.0.0.1:0")).unwrap();
    let stats = receivers.stats();
    let client = client(&receivers);
    let packet = "a:1|c\n".repeat(65_507 / 6);
    client.send(packet.as_bytes()).unwrap();
    let totals = wait_for(&stats, "the packet arrives", |totals| totals.packets == 1);
    assert_eq!((totals.samples, totals.truncated), (65_507 / 6, 0));
}

#[test]
fn an_address_in_use_is_an_error_even_for_several_threads() {
    let first = Receivers::start(&ReceiveConfig { threads: 2, ..config("127.0.0.1:0") }).unwrap();
    let address = first.local_addrs()[0];
    for threads in [1, 2] {
        let second = Receivers::start(&ReceiveConfig { listen: vec![address], threads, ..ReceiveConfig::default() });
        let error = second.err().map(|error| error.to_string());
        assert_eq!(error, Some(format!("cannot listen for statsd packets on udp {address}")));
    }
    assert!(matches!(
        Receivers::start(&ReceiveConfig { listen: vec![], ..ReceiveConfig::default() }),
        Err(ReceiveError::NoAddress)
    ));
    assert!(matches!(
        Receivers::start(&ReceiveConfig { threads: 0, ..config("127.0.0.1:0") }),
        Err(ReceiveError::Nothing { .. })
    ));
}
