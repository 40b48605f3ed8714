//! The plugin's process as its host holds it: started, listened to, signalled, ended.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use super::HostError;
use crate::handshake::{self, Answer};

/// How long a program may take until the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How many lines of each output are kept.
const KEPT_LINES: usize = 10_000;
/// The ports a plugin may listen on, as go-plugin has them by default.
const PORTS: (u16, u16) = (10_000, 25_000);

/// Lines that a process has printed, the newest of them.
#[derive(Clone, Debug, Default)]
struct Printed(Arc<Mutex<VecDeque<String>>>);

impl Printed {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[derive(Debug)]
pub(super) struct Process {
    child: tokio::sync::Mutex<Child>,
    pid: u32,
    stdout: Printed,
    stderr: Printed,
}

impl Process {
    /// Starts a program and waits for its handshake.
    pub(super) async fn start<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        program: &Path,
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> Result<(Self, std::net::SocketAddr), HostError> {
        let name = program.display().to_string();
        let mut child = Command::new(program)
            .envs(environment)
            .env(handshake::COOKIE_KEY, handshake::COOKIE_VALUE)
            .env(handshake::MIN_PORT, PORTS.0.to_string())
            .env(handshake::MAX_PORT, PORTS.1.to_string())
            .env(handshake::PROTOCOL_VERSIONS, "2")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| HostError::Start { program: name.clone(), source })?;
        let (stdout, stderr) = (Printed::default(), Printed::default());
        let (first_line, handshake) = oneshot::channel();
        if let Some(pipe) = child.stdout.take() {
            tokio::spawn(read_lines(pipe, stdout.clone(), Some(first_line)));
        }
        if let Some(pipe) = child.stderr.take() {
            tokio::spawn(read_lines(pipe, stderr.clone(), None));
        }
        let reason = match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(line)) => {
                let Answer { address } = line.parse()?;
                // A child that has not been waited for has an id.
                let pid = child.id().unwrap_or(0);
                return Ok((Self { child: tokio::sync::Mutex::new(child), pid, stdout, stderr }, address));
            }
            Ok(Err(_)) => match child.wait().await {
                Ok(status) => format!("it ended with {status}"),
                Err(error) => format!("it closed its output: {error}"),
            },
            Err(_) => format!("nothing was said for {} s", HANDSHAKE_TIMEOUT.as_secs()),
        };
        Err(HostError::NoHandshake { program: name, reason, printed: stderr.lines() })
    }

    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn stdout_lines(&self) -> Vec<String> {
        self.stdout.lines()
    }

    pub(super) fn stderr_lines(&self) -> Vec<String> {
        self.stderr.lines()
    }

    pub(super) fn terminate(&self) -> io::Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    pub(super) async fn wait(&self) -> io::Result<ExitStatus> {
        self.child.lock().await.wait().await
    }

    pub(super) async fn kill(&self) -> io::Result<ExitStatus> {
        let mut child = self.child.lock().await;
        child.start_kill()?;
        child.wait().await
    }
}

/// Reads a pipe to its end. The first line goes to who waits for it, all others are kept.
async fn read_lines(pipe: impl AsyncRead + Unpin, printed: Printed, mut first: Option<oneshot::Sender<String>>) {
    let mut reader = BufReader::new(pipe);
    let mut bytes = Vec::new();
    while let Ok(1..) = reader.read_until(b'\n', &mut bytes).await {
        let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned();
        bytes.clear();
        match first.take() {
            // Nobody waits any more when the handshake came too late.
            Some(first) => drop(first.send(line)),
            None => printed.push(line),
        }
    }
}
