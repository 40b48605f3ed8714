//! The tools for a store's directory, beside a daemon that has it open and on a directory that nobody has.

#![allow(clippy::unwrap_used, reason = "a test says what is wrong by panicking")]

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use statline_harness::program::{own_binary, wait_until};
use statline_harness::statlined::Options;
use statline_harness::{Statlined, http};

const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `statlined` with arguments on a store.
fn run(arguments: &[&str], store: &Path, backups: &Path) -> Output {
    run_with(arguments, store, backups, "")
}

fn run_with(arguments: &[&str], store: &Path, backups: &Path, input: &str) -> Output {
    let mut child = Command::new(own_binary("statlined").unwrap())
        .args(arguments)
        .env("STATLINE_STORE__PATH", store)
        .env("STATLINE_STORE__BACKUP_PATH", backups)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that is refused does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn succeeds(output: Output) -> (String, String) {
    let texts = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{texts:?}");
    texts.into()
}

#[track_caller]
fn fails(output: &Output, expected: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(expected) && text.lines().count() == 1, "{text}");
}

#[test]
fn a_running_daemon_is_asked_for_a_backup_and_what_it_holds_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let (store, backups) = (directory.path().join("store"), directory.path().join("backups"));
    let options = Options::new(&store, "1s").set("store", "backup_path", backups.display()).set("http", "token", "t0k");
    let statlined = Statlined::start(&options).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let lines: String = (0..100).map(|tick| format!("tools.carbon {tick} {}\n", now - tick)).collect();
    TcpStream::connect(statlined.carbon()).unwrap().write_all(lines.as_bytes()).unwrap();
    let address = statlined.http().to_string();
    let headers = [("Authorization", "Bearer t0k")];
    let taken = || {
        let text = http::ask(statlined.http(), "GET", "/metrics", &headers, "").unwrap().body;
        text.contains("statline_carbon_points_total 100").then_some(())
    };
    wait_until("the points being stored", PATIENCE, taken).unwrap();

    let daemon = ["--address", &address, "--token", "t0k"];
    let backup = |name| run(&[&["store", "backup", name][..], &daemon].concat(), &store, &backups);
    let (told, _) = succeeds(backup("first"));
    assert!(told.starts_with(&format!("{}: ", backups.join("first").display())), "{told}");
    fails(&backup("first"), "answered 409: ");
    fails(&backup(".."), "it only writes backups into");
    fails(&backup(&directory.path().join("elsewhere").display().to_string()), "it only writes backups into");
    fails(&run(&["store", "backup", "x", "--address", &address], &store, &backups), "answered 401: ");
    let ask = |name: &str, headers| {
        http::ask(statlined.http(), "POST", &format!("/api/v1/backup?name={name}"), headers, "").unwrap().status
    };
    assert_eq!([ask("../out", &headers[..]), ask("%2Fout", &headers), ask("third", &[])], [400, 400, 401]);
    assert_eq!(ask("second", &headers), 200);

    for (arguments, advice) in [
        (&["store", "check"][..], "make a backup"),
        (&["store", "compact"], "stop it first"),
        (&["export"], "make a backup"),
        (&["import"], "carbon.listen"),
    ] {
        let refused = run(arguments, &store, &backups);
        fails(&refused, &format!("is in use by process {}; ", statlined.pid()));
        fails(&refused, advice);
    }
    let (figures, _) = succeeds(run(&["store", "stats"], &store, &backups));
    assert!(figures.starts_with("series "), "{figures}");
    statlined.kill().unwrap();

    let restored = directory.path().join("restored");
    let first = backups.join("first");
    let (told, _) = succeeds(run(&["store", "restore", &first.display().to_string()], &restored, &backups));
    assert!(told.ends_with("is whole\n"), "{told}");
    let (exported, counts) = succeeds(run(&["export", "--match", "tools.*"], &restored, &backups));
    assert!(counts.contains("exported 100 points"), "{counts}");
    assert!(exported.starts_with(r#"{"name":"tools.carbon","tags":{},"kind":"untyped","points":[["#), "{exported}");
}

#[test]
fn what_is_exported_and_imported_is_exported_alike() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let lines: Vec<String> = (0..5)
        .map(|hour: i64| {
            let at = now - hour * 3_600_000;
            format!(
                r#"{{"name":"a","tags":{{"host":"h{hour}"}},"kind":"gauge","points":[[{at},0.1],[{},"inf"]]}}"#,
                at + 1
            )
        })
        .chain([format!(r#"{{"event":{{"time":{now},"title":"t","text":"","tags":["x"],"attributes":[["k","v"]]}}}}"#)])
        .collect();
    let import = |store: &Path, input: &str| run_with(&["import"], store, directory.path(), input);
    let (_, counts) = succeeds(import(&one, &lines.join("\n")));
    assert!(counts.contains("6 lines, 0 bad: stored 10 points, 0 sketches and 1 events"), "{counts}");
    let (exported, _) = succeeds(run(&["export"], &one, directory.path()));
    assert_eq!(exported.lines().count(), 6);
    // Twice, with the same outcome.
    for known_events in [0, 1] {
        let (_, counts) = succeeds(import(&two, &exported));
        assert!(counts.contains(&format!("{known_events} events were there")), "{counts}");
        let (again, _) = succeeds(run(&["export"], &two, directory.path()));
        assert_eq!(again, exported);
    }
    let (told, _) = succeeds(run(&["store", "compact"], &two, directory.path()));
    assert!(told.starts_with("blocks: 0 before, "), "{told}");
    let (again, _) = succeeds(run(&["export"], &two, directory.path()));
    assert_eq!(again, exported, "from blocks as from logs");
    let (told, _) = succeeds(run(&["store", "check"], &two, directory.path()));
    assert!(told.ends_with("is whole\n"), "{told}");

    let manifest = two.join("MANIFEST");
    let mut bytes = fs::read(&manifest).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(manifest, bytes).unwrap();
    let damaged = run(&["store", "check"], &two, directory.path());
    assert!(String::from_utf8_lossy(&damaged.stdout).contains("damaged: MANIFEST: its checksum does not match"));
    fails(&damaged, "is damaged: 1 findings above");
    let past = r#"{"name":"a","points":[[5,1]]}"#;
    let refused = import(&one, past);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("refused: 1 points are older than anything is kept"));
}
