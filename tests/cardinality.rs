//! An attack with names without end: memory stays bounded, who was there keeps their points, and the attacker is named.
//!
//! `STATLINE_ATTACK_NAMES=10000000` makes it the whole attack, under the default limit of a million series; with
//! `STATLINE_BIN_DIR=target/release` on a release build.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use statline_harness::program::wait_until;
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http};

/// The longest that anything may take which happens with the next flush.
const PATIENCE: Duration = Duration::from_secs(90);
/// How many series there were before the attack.
const ESTABLISHED: u64 = 200;
const NAMES_A_PACKET: u64 = 30;
/// How many packets are sent before the daemon is asked whether it has read them: what its buffer holds.
const PACKETS_AT_ONCE: u64 = 64;

/// How large an attack is, and what it may cost.
struct Scale {
    names: u64,
    max_series: u64,
    /// The most memory that the daemon may ever have had, in bytes.
    most_memory: u64,
}

impl Scale {
    fn wanted() -> Self {
        let names = std::env::var("STATLINE_ATTACK_NAMES").ok().map(|names| names.parse().unwrap());
        match names {
            None => Self { names: 300_000, max_series: 50_000, most_memory: 300 << 20 },
            Some(names) => Self { names, max_series: 1_000_000, most_memory: 2 << 30 },
        }
    }
}

/// While a million series are flushed, an answer may take a while.
fn figure(statlined: &Statlined, name: &str) -> u64 {
    wait_until(name, PATIENCE, || http::figure(statlined.http(), name).ok()).unwrap() as u64
}

fn refused(statlined: &Statlined, reason: &str) -> u64 {
    figure(statlined, &format!(r#"statline_statsd_refused_total{{reason="{reason}"}}"#))
}

/// The sum of a target's values in the last hour.
fn total(statlined: &Statlined, target: &str) -> f64 {
    let points = || http::points(statlined.http(), target, "from=-60min&until=%2B10s").ok();
    let points = wait_until(target, PATIENCE, points).unwrap();
    points.into_iter().map(|(_, _, value)| value).sum()
}

/// The most memory that a daemon has had, in bytes.
fn most_memory(statlined: &Statlined) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", statlined.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// The prefixes that the console blames, most first: their names, series, and refused samples.
fn offenders(statlined: &Statlined) -> Vec<(String, u64, u64)> {
    let mut console = TcpStream::connect(statlined.console()).unwrap();
    console.set_read_timeout(Some(PATIENCE)).unwrap();
    console.write_all(b"offenders\n").unwrap();
    console.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    console.read_to_string(&mut answer).unwrap();
    let parse = |line: &str| {
        let (prefix, counts) = line.split_once(": ")?;
        let (series, refused) = counts.strip_suffix(" refused")?.split_once(" series, ")?;
        Some((prefix.to_owned(), series.parse().ok()?, refused.parse().ok()?))
    };
    answer.lines().filter_map(parse).collect()
}

/// Sends packets no faster than they are read, and knows what it sent.
struct Sender<'a> {
    statlined: &'a Statlined,
    socket: UdpSocket,
    packets: u64,
    established: u64,
    unread: u64,
}

impl<'a> Sender<'a> {
    fn to(statlined: &'a Statlined) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(statlined.statsd()).unwrap();
        Self { statlined, socket, packets: 0, established: 0, unread: 0 }
    }

    fn send(&mut self, packet: &str) {
        self.socket.send(packet.as_bytes()).unwrap();
        self.packets += 1;
        self.unread += 1;
        if self.unread == PACKETS_AT_ONCE {
            self.await_read();
        }
    }

    fn await_read(&mut self) {
        self.unread = 0;
        let read = || {
            let read = figure(self.statlined, "statline_statsd_packets_total")
                + figure(self.statlined, "statline_statsd_kernel_drops_total");
            (read >= self.packets).then_some(())
        };
        wait_until("the packets being read", PATIENCE, read).unwrap();
    }

    /// One count for each series that was there before.
    fn send_established(&mut self) {
        let mut packet = String::new();
        for number in 0..ESTABLISHED {
            let _ = writeln!(packet, "house.room{number}.visits:1|c");
        }
        self.send(&packet);
        self.established += 1;
    }

    /// Distinct names, and now and then those that were there before.
    fn attack(&mut self, names: std::ops::Range<u64>, name: impl Fn(u64) -> String) {
        let mut packet = String::new();
        for (packets, first) in names.clone().step_by(NAMES_A_PACKET as usize).enumerate() {
            packet.clear();
            for number in first..names.end.min(first + NAMES_A_PACKET) {
                let _ = writeln!(packet, "{}:1|c", name(number));
            }
            self.send(&packet);
            if packets % 100 == 0 {
                self.send_established();
            }
        }
    }

    /// Waits until all of it is stored, and accounts for every count of those that were there before.
    fn account(&mut self) {
        self.await_read();
        let flushes = figure(self.statlined, "statline_flushes_total");
        // The flush that has begun already, and the next.
        let flushed = || (figure(self.statlined, "statline_flushes_total") >= flushes + 2).then_some(());
        wait_until("two flushes", PATIENCE, flushed).unwrap();
        let dropped = figure(self.statlined, "statline_statsd_kernel_drops_total");
        let received = figure(self.statlined, "statline_statsd_packets_total");
        assert_eq!(received + dropped, self.packets, "sent is received and reported as dropped");
        for number in [0, 1, ESTABLISHED / 2, ESTABLISHED - 1] {
            let counted = total(self.statlined, &format!("stats_counts.house.room{number}.visits"));
            let missing = self.established as f64 - counted;
            assert!(missing >= 0.0 && missing <= dropped as f64, "room{number}: {counted} of {}", self.established);
        }
    }
}

#[test]
fn an_attack_with_distinct_names_costs_bounded_memory_and_nobody_elses_points() {
    let Scale { names, max_series, most_memory: limit } = Scale::wanted();
    let store = tempfile::tempdir().unwrap();
    let interval = if names > 1_000_000 { "10s" } else { "1s" };
    let statlined =
        Statlined::start(&Options::new(store.path(), interval).set("statsd", "max_series", max_series)).unwrap();
    let began = Instant::now();
    let mut sender = Sender::to(&statlined);
    sender.send_established();
    sender.account();
    let before = most_memory(&statlined);
    sender.attack(0..names, |number| format!("attack.pod.of-{number:x}.requests"));
    sender.account();

    let dropped = figure(&statlined, "statline_statsd_kernel_drops_total");
    let refusals = refused(&statlined, "series_limit");
    let least = names - max_series - dropped * NAMES_A_PACKET;
    // New names that a table has room for and the state has not are counted by lines; each was sent once.
    let late = figure(&statlined, "statline_statsd_refused_lines_total");
    assert!(refusals + late >= least && refusals + late <= names, "{refusals} and {late} were refused of {names}");
    assert_eq!(figure(&statlined, "statline_statsd_limited_samples_total"), refusals, "no other limit was reached");
    let blamed = offenders(&statlined);
    assert_eq!(blamed[0].0, "attack.pod", "{blamed:?}");
    assert!(blamed[0].1 <= max_series && blamed[0].2 > 0, "{blamed:?}");
    assert!(figure(&statlined, "statline_statsd_series") <= max_series + 10);
    let memory = most_memory(&statlined);
    println!(
        "{names} names in {:?}, {dropped} packets dropped by the kernel, {refusals} samples and {late} lines refused; {} MB at most, {} MB before; blamed: {:?}",
        began.elapsed(),
        memory >> 20,
        before >> 20,
        blamed[0]
    );
    assert!(memory < limit, "{memory} bytes");
}

#[test]
fn a_limit_of_a_prefix_keeps_room_for_everybody_else() {
    let store = tempfile::tempdir().unwrap();
    let options = Options::new(store.path(), "1s").set("statsd", "max_series", 5_000).set(
        "statsd",
        "max_series_per_prefix",
        1_000,
    );
    let statlined = Statlined::start(&options).unwrap();
    let mut sender = Sender::to(&statlined);
    sender.send_established();
    sender.attack(0..20_000, |number| format!("attack.pod.of-{number:x}.requests"));
    // Who comes only now is not kept out.
    sender.send("guest.first.visit:7|c");
    sender.account();
    assert_eq!(total(&statlined, "stats_counts.guest.first.visit"), 7.0);
    assert_eq!(refused(&statlined, "prefix_limit"), 19_000);
    assert_eq!(refused(&statlined, "series_limit"), 0);
    assert_eq!(offenders(&statlined)[0], ("attack.pod".to_owned(), 1_000, 19_000));

    // An attacker of many prefixes reaches the limit of all, which established series do not feel.
    sender.attack(0..20_000, |number| format!("attack{number:x}.pod.requests"));
    sender.account();
    assert!(refused(&statlined, "series_limit") > 0);
    assert!(figure(&statlined, "statline_statsd_series") <= 5_000 + 10);
}
