//! How a plugin's process begins and ends.

mod common;

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use grafana_plugin::StreamRequest;
use grafana_plugin::host::{Host, HostError, NO_ENVIRONMENT};
use serde_json::json;

use common::{ask, context, echo, program, query};

/// A stop takes less than this.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn run_by_hand_it_says_what_it_is() {
    let output = Command::new(program()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("Echo 0.1.0 is a backend plugin that Grafana starts by itself.\n"), "{text}");
}

#[test]
fn a_host_it_cannot_talk_to_is_told_why() {
    for (name, value, reason) in [
        ("PLUGIN_PROTOCOL_VERSIONS", "3", "version 2 of the protocol, the host \\\"3\\\""),
        ("PLUGIN_MIN_PORT", "many", "PLUGIN_MIN_PORT is not a port"),
        ("PLUGIN_CLIENT_CERT", "-----BEGIN", "mutual TLS"),
    ] {
        let output =
            Command::new(program()).env("grafana_plugin_type", "datasource").env(name, value).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{text}");
        assert!(text.contains(reason), "{text}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
}

#[test]
fn only_ports_of_the_range_are_listened_on() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(program())
        .envs([("grafana_plugin_type", "datasource"), ("PLUGIN_MIN_PORT", &port), ("PLUGIN_MAX_PORT", &port)])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("no port could be listened on ({port}..={port})")), "{text}");
}

#[tokio::test]
async fn a_program_that_is_no_plugin_is_reported() {
    assert!(matches!(Host::spawn("/no/such/program", NO_ENVIRONMENT).await, Err(HostError::Start { .. })));
    assert!(matches!(Host::spawn("/bin/true", NO_ENVIRONMENT).await, Err(HostError::NoHandshake { .. })));
    assert!(matches!(Host::spawn("/usr/bin/env", NO_ENVIRONMENT).await, Err(HostError::Handshake(_))));
}

#[tokio::test]
async fn the_host_stops_it_at_once() {
    let host = echo().await;
    ask(&host, &context(), query("A", json!({"kind": "rows", "rows": 1}))).await;
    let stopped = host.shutdown().await.unwrap();
    assert_eq!((stopped.status.code(), stopped.killed), (Some(0), false));
    assert!(stopped.took < SOON, "{stopped:?}");
}

#[tokio::test]
async fn it_stops_while_a_stream_runs_and_the_stream_ends_well() {
    let host = echo().await;
    let request = StreamRequest { path: "ticks".into(), ..StreamRequest::default() };
    let mut ticks = host.run_stream(&context(), request).await.unwrap();
    assert!(ticks.next().await.unwrap().is_ok());
    let rest = tokio::spawn(ticks.collect::<Vec<_>>());
    let stopped = host.shutdown().await.unwrap();
    assert_eq!((stopped.status.code(), stopped.killed), (Some(0), false));
    assert!(stopped.took < SOON, "{stopped:?}");
    let rest = rest.await.unwrap();
    assert!(rest.iter().all(Result::is_ok), "{:?}", rest.last());
}

#[tokio::test]
async fn it_stops_while_a_query_hangs() {
    let host = echo().await;
    let context = context();
    let (answer, stopped) = tokio::join!(host.query_data(&context, vec![query("A", json!({"kind": "hang"}))]), async {
        common::metrics_say(&host, "plugin_queries_running 1\n").await;
        host.shutdown().await.unwrap()
    });
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!((stopped.status.code(), stopped.killed), (Some(0), false));
    assert!(stopped.took < SOON, "{stopped:?}");
    assert!(host.log_lines().iter().any(|line| line.contains("calls were still under way")), "{:?}", host.log_lines());
}

#[tokio::test]
async fn connections_that_say_nothing_or_nonsense_harm_nobody() {
    let host = echo().await;
    let address = host.address();
    let silent: Vec<_> = (0..50).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let nonsense = std::net::TcpStream::connect(address).unwrap();
    // How much of it is taken before the connection is closed does not matter.
    let _ = std::io::Write::write_all(&mut &nonsense, &[0xff; 1 << 20]);
    let mut preface = std::net::TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    ask(&host, &context(), query("A", json!({"kind": "rows", "rows": 1}))).await;
    let stopped = host.shutdown().await.unwrap();
    assert_eq!((stopped.status.code(), stopped.killed), (Some(0), false));
    assert!(stopped.took < SOON, "{stopped:?}");
    drop((silent, nonsense, preface));
}

#[tokio::test]
async fn sigterm_is_an_order_to_stop_and_an_interrupt_is_not() {
    let host = echo().await;
    let interrupted = Command::new("kill").args(["-INT", &host.pid().to_string()]).status().unwrap();
    assert!(interrupted.success());
    ask(&host, &context(), query("A", json!({"kind": "rows", "rows": 1}))).await;
    let begun = Instant::now();
    host.terminate().unwrap();
    assert_eq!(host.wait().await.unwrap().code(), Some(0));
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn it_does_not_outlive_its_host() {
    // A shell is the host, starts the plugin beside itself, and dies.
    let script = format!("{} & echo $!; wait", program().display());
    let mut shell = Command::new("sh")
        .args(["-c", &script])
        .env("grafana_plugin_type", "datasource")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(shell.stdout.take().unwrap()));
    let first = [lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap()];
    assert!(first.iter().any(|line| line.starts_with("1|2|tcp|127.0.0.1:")), "{first:?}");
    let pid = first.iter().find(|line| !line.contains('|')).unwrap();
    shell.kill().unwrap();
    assert_eq!(shell.wait().unwrap().signal(), Some(9));
    let alive = || std::path::Path::new("/proc").join(pid).exists() && !is_zombie(pid);
    let deadline = Instant::now() + Duration::from_secs(5);
    while alive() {
        assert!(Instant::now() < deadline, "the plugin lives on without its host");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_zombie(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}
