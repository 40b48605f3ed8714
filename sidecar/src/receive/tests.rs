//! Receivers on real sockets of the loopback interface.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use statline_series::{Step, Timestamp};
use statline_statsd::{FlushConfig, Reason, SelfFigures, State, Table};

use super::sender::Sender;
use super::*;

fn config(address: &str) -> ReceiveConfig {
    ReceiveConfig { listen: vec![address.parse().unwrap()], receive_buffer: 1 << 20, ..nowhere() }
}

fn nowhere() -> ReceiveConfig {
    ReceiveConfig { listen: vec![], tcp_listen: vec![], ..ReceiveConfig::default() }
}

fn start(config: &ReceiveConfig) -> Result<Receivers, ReceiveError> {
    Receivers::start(config, Vec::new())
}

fn client(receivers: &Receivers) -> UdpSocket {
    let to = receivers.places().udp[0];
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
    let mut receivers = start(&ReceiveConfig { threads: 2, ..config("127.0.0.1:0") }).unwrap();
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
        let receivers = start(&config(address)).unwrap();
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
    let receivers = start(&config("[::]:0")).unwrap();
    let stats = receivers.stats();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"bad", ("127.0.0.1", receivers.places().udp[0].port())).unwrap();
    wait_for(&stats, "the packet arrives", |totals| totals.packets == 1);
    assert_eq!(
        stats.refusals()[0].sender,
        Sender::Address(client.local_addr().unwrap()),
        "shown as the IPv4 address it is"
    );
}

#[test]
fn what_the_kernel_dropped_and_what_was_received_is_what_was_sent() {
    let receivers = start(&ReceiveConfig { receive_buffer: 4096, ..config("127.0.0.1:0") }).unwrap();
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
    let receivers = start(&config("127.0.0.1:0")).unwrap();
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
    let mut receivers = start(&config("127.0.0.1:0")).unwrap();
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
    let receivers = start(&config("127.0.0.1:0")).unwrap();
    let stats = receivers.stats();
    let client = client(&receivers);
    client.send(b"good:1|c\nbad\nworse:x|c\n").unwrap();
    let totals = wait_for(&stats, "the packet arrives", |totals| totals.packets == 1);
    assert_eq!((totals.samples, totals.bad_lines), (1, 2));
    let by_reason: Vec<_> = totals.by_reason.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(by_reason, [(Reason::NoValue, 1), (Reason::NotANumber, 1)]);
    let refusals = stats.refusals();
    assert_eq!(refusals[1].sender, Sender::Address(client.local_addr().unwrap()));
    assert_eq!((refusals[1].offset, refusals[1].excerpt.as_str()), (19, "worse:x|c"));
    let told = refusals[0].to_string();
    assert!(told.starts_with("from 127.0.0.1:") && told.ends_with("\"bad\""), "{told}");
}

#[test]
fn a_packet_too_long_is_taken_up_to_its_last_whole_line() {
    let receivers = start(&ReceiveConfig { max_packet_bytes: 20, ..config("127.0.0.1:0") }).unwrap();
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
    let receivers = start(&config("127.0.0.1:0")).unwrap();
    let stats = receivers.stats();
    let client = client(&receivers);
    let packet = "a:1|c\n".repeat(65_507 / 6);
    client.send(packet.as_bytes()).unwrap();
    let totals = wait_for(&stats, "the packet arrives", |totals| totals.packets == 1);
    assert_eq!((totals.samples, totals.truncated), (65_507 / 6, 0));
}

#[test]
fn an_address_in_use_is_an_error_even_for_several_threads() {
    let first = start(&ReceiveConfig { threads: 2, ..config("127.0.0.1:0") }).unwrap();
    let address = first.places().udp[0];
    for threads in [1, 2] {
        let second = start(&ReceiveConfig { listen: vec![address], threads, ..nowhere() });
        let error = second.err().map(|error| error.to_string());
        assert_eq!(
            error,
            Some(format!(
                "statsd.listen: cannot listen for statsd packets on udp {address}: Address already in use (os error 98)"
            ))
        );
    }
    assert!(matches!(start(&nowhere()), Err(ReceiveError::NoAddress)));
    assert!(matches!(start(&ReceiveConfig { threads: 0, ..config("127.0.0.1:0") }), Err(ReceiveError::Nothing { .. })));
}

/// Stops it, and flushes what it had received.
fn stopped(receivers: Receivers, name: &str) -> Option<f64> {
    let mut state = state();
    for mut lane in receivers.stop().lanes {
        state.absorb(&mut lane);
    }
    flushed(&mut state, name)
}

fn streams(config: ReceiveConfig) -> (Receivers, Arc<ReceiveStats>, SocketAddr) {
    let receivers = start(&ReceiveConfig { tcp_listen: vec!["127.0.0.1:0".parse().unwrap()], ..config }).unwrap();
    let (stats, address) = (receivers.stats(), receivers.places().tcp[0]);
    (receivers, stats, address)
}

#[test]
fn a_line_split_over_writes_and_a_tail_at_the_close_are_taken() {
    let (receivers, stats, address) = streams(nowhere());
    let mut client = TcpStream::connect(address).unwrap();
    client.set_nodelay(true).unwrap();
    client.write_all(b"a:1|c\na:2").unwrap();
    wait_for(&stats, "the first line", |totals| totals.samples == 1);
    client.write_all(b"|c\na:4|c").unwrap();
    let totals = wait_for(&stats, "the second line", |totals| totals.samples == 2);
    assert_eq!((totals.packets, totals.connections, totals.accepted), (2, 1, 1));
    drop(client);
    let totals = wait_for(&stats, "the tail, and the end", |totals| totals.connections == 0);
    assert_eq!((totals.samples, totals.packets, totals.bad_lines, totals.bytes), (3, 3, 0, 17));
    assert_eq!(stopped(receivers, "stats_counts.a"), Some(7.0));
}

#[test]
fn a_line_too_long_for_a_stream_is_refused_and_the_next_one_is_taken() {
    let (_receivers, stats, address) = streams(ReceiveConfig { max_packet_bytes: 600, ..nowhere() });
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"a:1|c\n").unwrap();
    for _ in 0..1000 {
        client.write_all(&[b'x'; 1000]).unwrap();
    }
    client.write_all(b"\nbad\na:1|c\n").unwrap();
    let totals = wait_for(&stats, "the last line", |totals| totals.samples == 2);
    assert_eq!((totals.truncated, totals.limited, totals.bad_lines), (1, 1, 1));
    let (refusals, sender) = (stats.refusals(), Sender::Address(client.local_addr().unwrap()));
    let told: Vec<_> = refusals.iter().map(|line| (line.reason, line.offset, line.sender)).collect();
    assert_eq!(told, [(Reason::Truncated, 6, sender), (Reason::NoValue, 1_000_007, sender)]);
}

#[test]
fn connections_beyond_the_limit_are_refused_and_silent_ones_are_closed() {
    let (receivers, stats, address) =
        streams(ReceiveConfig { max_connections: 2, idle_timeout: Duration::from_millis(300), ..nowhere() });
    let clients: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
    wait_for(&stats, "two connections", |totals| totals.connections == 2);
    let mut third = TcpStream::connect(address).unwrap();
    wait_for(&stats, "the refusal", |totals| totals.refused_connections == 1);
    assert_eq!(third.read(&mut [0; 1]).unwrap_or(0), 0, "it is closed");
    wait_for(&stats, "both to be closed", |totals| totals.connections == 0);
    drop(clients);
    TcpStream::connect(address).unwrap().write_all(b"a:1|c\n").unwrap();
    wait_for(&stats, "a later one", |totals| totals.samples == 1);
    assert!(receivers.is_healthy());
}

#[test]
fn a_stop_reads_what_the_kernel_has_taken_from_clients() {
    let (receivers, stats, address) = streams(nowhere());
    let mut open = TcpStream::connect(address).unwrap();
    open.write_all(b"a:1|c\n").unwrap();
    wait_for(&stats, "the first line", |totals| totals.samples == 1);
    // The thread cannot read on while its table is held, nor take the second connection.
    let table = receivers.running[0].lane.table();
    let held = table.lock().unwrap();
    open.write_all(&b"a:1|c\n".repeat(20_000)).unwrap();
    let mut waiting = TcpStream::connect(address).unwrap();
    waiting.write_all(b"a:1|c\na:1|c\na:1").unwrap();
    let stopping = thread::spawn(move || stopped(receivers, "stats_counts.a"));
    drop(held);
    assert_eq!(stopping.join().unwrap(), Some(20_003.0));
    let totals = stats.totals();
    assert_eq!((totals.samples, totals.truncated), (20_003, 1), "a line without its end may have been cut");
}

#[test]
fn a_stop_is_not_held_up_by_a_client_that_sends_without_a_pause() {
    let (receivers, stats, address) = streams(nowhere());
    let sending = thread::spawn(move || {
        let mut client = TcpStream::connect(address).unwrap();
        let lines = b"a:1|c\n".repeat(1000);
        while client.write_all(&lines).is_ok() {}
    });
    wait_for(&stats, "lines", |totals| totals.samples > 0);
    let begun = Instant::now();
    receivers.stop();
    assert!(begun.elapsed() < Duration::from_secs(3), "took {:?}", begun.elapsed());
    sending.join().unwrap();
}

#[test]
fn tcp_is_listened_for_on_ipv6_too() {
    let any = ["0.0.0.0:0".parse().unwrap(), "[::]:0".parse().unwrap()];
    let receivers = start(&ReceiveConfig { tcp_listen: any.to_vec(), ..nowhere() }).unwrap();
    let stats = receivers.stats();
    for (at, host) in ["127.0.0.1", "::1"].into_iter().enumerate() {
        let port = receivers.places().tcp[at].port();
        TcpStream::connect((host, port)).unwrap().write_all(b"a:1|c\n").unwrap();
    }
    wait_for(&stats, "both lines", |totals| totals.samples == 2);
}

#[test]
fn unix_sockets_of_both_kinds_are_listened_on() {
    let directory = tempfile::tempdir().unwrap();
    let (datagram, stream) = (directory.path().join("d.sock"), directory.path().join("s.sock"));
    let config = ReceiveConfig {
        unix_datagram: vec![datagram.clone()],
        unix_stream: vec![stream.clone()],
        unix_mode: 0o620,
        ..nowhere()
    };
    let receivers = start(&config).unwrap();
    let stats = receivers.stats();
    for path in [&datagram, &stream] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o620);
    }
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(&datagram).unwrap();
    sender.send(b"a:1|c\nbad").unwrap();
    wait_for(&stats, "the datagram", |totals| totals.packets == 1);
    let mut client = UnixStream::connect(&stream).unwrap();
    client.write_all(b"a:2|c\nworse\na:4|c").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let totals = wait_for(&stats, "the stream", |totals| totals.connections == 0 && totals.accepted == 1);
    assert_eq!((totals.samples, totals.bad_lines, totals.kernel_drops), (3, 2, 0));
    for refusal in stats.refusals() {
        assert!(
            matches!(refusal.sender, Sender::Process { pid, .. } if pid.unsigned_abs() == std::process::id()),
            "{refusal}"
        );
    }
    assert_eq!(stopped(receivers, "stats_counts.a"), Some(7.0));
    assert!(!datagram.exists() && !stream.exists(), "their files are gone");
    let error = sender.send(b"a:1|c").unwrap_err();
    assert!(matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNREFUSED | libc::ECONNRESET)), "{error}");
}

#[test]
fn a_stop_takes_the_datagrams_that_a_unix_socket_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("d.sock");
    let receivers = start(&ReceiveConfig { unix_datagram: vec![path.clone()], ..nowhere() }).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(&path).unwrap();
    sender.set_nonblocking(true).unwrap();
    let table = receivers.running[0].lane.table();
    let held = table.lock().unwrap();
    let mut sent = 0.0;
    while sender.send(b"a:1|c").is_ok() {
        sent += 1.0;
    }
    assert!(sent > 1.0);
    let stopping = thread::spawn(move || stopped(receivers, "stats_counts.a"));
    drop(held);
    assert_eq!(stopping.join().unwrap(), Some(sent));
}

#[test]
fn the_file_of_a_dead_process_is_replaced_and_one_in_use_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (datagram, stream) = (directory.path().join("d.sock"), directory.path().join("s.sock"));
    let config =
        ReceiveConfig { unix_datagram: vec![datagram.clone()], unix_stream: vec![stream.clone()], ..nowhere() };
    drop(UnixDatagram::bind(&datagram).unwrap());
    drop(UnixListener::bind(&stream).unwrap());
    assert!(datagram.exists() && stream.exists(), "what a process that died leaves behind");
    let first = start(&config).unwrap();

    for (unix_datagram, unix_stream, said) in [
        (
            vec![datagram.clone()],
            vec![],
            "statsd.unix_datagram: cannot listen for statsd packets on unix datagram socket ",
        ),
        (vec![], vec![stream.clone()], "statsd.unix_stream: cannot listen for statsd packets on unix stream socket "),
        (vec![stream.clone()], vec![], "statsd.unix_datagram: "),
    ] {
        let error = start(&ReceiveConfig { unix_datagram, unix_stream, ..nowhere() }).unwrap_err().to_string();
        assert!(error.starts_with(said) && error.ends_with(": another process listens on it"), "{error}");
    }
    drop(first);

    let file = directory.path().join("file");
    fs::write(&file, "precious").unwrap();
    let error = start(&ReceiveConfig { unix_stream: vec![file.clone()], ..nowhere() }).unwrap_err().to_string();
    assert!(error.ends_with(": a file is there that is no socket"), "{error}");
    assert_eq!(fs::read_to_string(file).unwrap(), "precious");
}
