//! A wall clock that jumps while counts come in. libfaketime, Debian's package faketime, tells the daemon another time.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use statline_harness::program::wait_until;
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http};

/// The longest that anything may take which happens with the next flush.
const PATIENCE: Duration = Duration::from_secs(30);
const HOUR: f64 = 3600.0;

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn figure(statlined: &Statlined, name: &str) -> f64 {
    http::figure(statlined.http(), name).unwrap()
}

fn library() -> Option<PathBuf> {
    let architectures = fs::read_dir("/usr/lib").ok()?.flatten();
    architectures.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.is_file())
}

/// The time that a daemon is told.
struct Clock {
    file: PathBuf,
}

impl Clock {
    fn new(directory: &Path) -> Self {
        let clock = Self { file: directory.join("clock") };
        clock.set(0.0);
        clock
    }

    /// Makes it differ by so many seconds from the true one.
    fn set(&self, offset: f64) {
        let unfinished = self.file.with_extension("new");
        fs::write(&unfinished, format!("{offset:+}\n")).unwrap();
        fs::rename(&unfinished, &self.file).unwrap();
    }

    fn environment(&self, library: &Path) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

/// Counts that come in about once a millisecond, and never faster.
struct Traffic {
    sent: Arc<AtomicU64>,
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Traffic {
    fn to(statsd: SocketAddr) -> Self {
        let (sent, stopped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, stopper) = (Arc::clone(&sent), Arc::clone(&stopped));
        let thread = std::thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            while !stopper.load(Ordering::Acquire) {
                socket.send_to(b"traffic:1|c", statsd).unwrap();
                counter.fetch_add(1, Ordering::Release);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Self { sent, stopped, thread }
    }

    fn stop(self) -> f64 {
        self.stopped.store(true, Ordering::Release);
        self.thread.join().unwrap();
        self.sent.load(Ordering::Acquire) as f64
    }
}

/// A daemon whose clock can be set.
fn under_a_clock(library: &Path, directory: &Path) -> (Statlined, Clock) {
    let clock = Clock::new(directory);
    let mut options = Options::new(&directory.join("store"), "1s");
    options.environment.extend(clock.environment(library));
    (Statlined::start(&options).unwrap(), clock)
}

/// Waits for so many flushes more, the last of them at about the time that the daemon is told.
fn await_flushes(statlined: &Statlined, count: f64, offset: f64) {
    let before = figure(statlined, "statline_flushes_total");
    let flushed = || {
        let last = figure(statlined, "statline_flush_last_timestamp_seconds");
        let is_near = (last - now() - offset).abs() < 20.0;
        (is_near && figure(statlined, "statline_flushes_total") >= before + count).then_some(())
    };
    wait_until(&format!("{count} flushes under a clock of {offset:+} s"), PATIENCE, flushed).unwrap();
}

fn traffic(statlined: &Statlined, target: &str) -> Vec<(String, i64, f64)> {
    let now = now();
    let range = format!("from={}&until={}", (now - 2.0 * HOUR) as i64, (now + 2.0 * HOUR) as i64);
    http::points(statlined.http(), target, &range).unwrap()
}

#[test]
fn no_count_is_lost_or_doubled_when_the_clock_jumps_forth_and_back() {
    let Some(library) = library() else {
        println!("skipped: libfaketime is not there; install Debian's package faketime");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let (statlined, clock) = under_a_clock(&library, directory.path());
    let traffic_sent = Traffic::to(statlined.statsd());
    for offset in [0.0, HOUR, 0.0] {
        clock.set(offset);
        await_flushes(&statlined, 3.0, offset);
    }
    let sent = traffic_sent.stop();
    let received = || (figure(&statlined, "statline_statsd_packets_total") == sent).then_some(());
    wait_until("the packets being received", PATIENCE, received).unwrap();
    await_flushes(&statlined, 2.0, 0.0);

    let counts = traffic(&statlined, "stats_counts.traffic");
    let rates = traffic(&statlined, "stats.traffic");
    let counted: f64 = counts.iter().map(|(_, _, count)| count).sum();
    println!("{counted} counted of {sent} in {} points", counts.len());
    assert_eq!(counted, sent, "{counts:?}");
    assert!(counts.iter().any(|(_, second, count)| *second as f64 > now() + HOUR / 2.0 && *count > 0.0));
    for ((_, second, count), (_, at, rate)) in counts.iter().zip(&rates) {
        assert_eq!(second, at);
        if *count > 0.0 {
            let seconds = count / rate;
            assert!((0.9..60.0).contains(&seconds) && *rate < 2500.0, "{count} at {rate} a second is {seconds} s");
        }
    }
    assert_eq!(figure(&statlined, "statline_clock_set_back_total"), 1.0);
}

#[test]
fn no_count_is_lost_when_the_clock_is_set_back_over_flushes_that_there_were() {
    let Some(library) = library() else {
        println!("skipped: libfaketime is not there; install Debian's package faketime");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let (statlined, clock) = under_a_clock(&library, directory.path());
    let traffic_sent = Traffic::to(statlined.statsd());
    await_flushes(&statlined, 6.0, 0.0);
    clock.set(-5.0);
    // So little is waited for.
    await_flushes(&statlined, 3.0, -5.0);
    let sent = traffic_sent.stop();
    let received = || (figure(&statlined, "statline_statsd_packets_total") == sent).then_some(());
    wait_until("the packets being received", PATIENCE, received).unwrap();
    await_flushes(&statlined, 2.0, -5.0);
    let counts = traffic(&statlined, "stats_counts.traffic");
    let counted: f64 = counts.iter().map(|(_, _, count)| count).sum();
    println!("{counted} counted of {sent} in {} points", counts.len());
    assert_eq!(counted, sent, "{counts:?}");
    assert_eq!(figure(&statlined, "statline_clock_set_back_total"), 0.0);
}
