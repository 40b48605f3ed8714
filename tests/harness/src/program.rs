//! Finding programs, and running them so that they end with their handle.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use thiserror::Error;

/// Why something did not start, in one line.
#[derive(Debug, Error)]
pub enum HarnessError {
    /// A program is not there.
    #[error("{program} was not found; {remedy}")]
    Missing {
        /// Which.
        program: String,
        /// Where it comes from.
        remedy: &'static str,
    },
    /// A program failed.
    #[error("{what} failed: {reason}")]
    Failed {
        /// What was being done.
        what: String,
        /// What it said.
        reason: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {} s; {hint}", limit.as_secs())]
    TimedOut {
        /// What was waited for.
        what: String,
        /// For how long.
        limit: Duration,
        /// Where to look.
        hint: String,
    },
}

impl HarnessError {
    pub(crate) fn failed(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Failed { what: what.into(), reason: reason.to_string() }
    }
}

/// The repository, from where this crate was built.
#[must_use]
pub fn repository() -> PathBuf {
    // Built as tests/harness, two levels below.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// One of our own binaries: in `STATLINE_BIN_DIR`, or beside the running one.
///
/// # Errors
/// When it is not built.
pub fn own_binary(name: &str) -> Result<PathBuf, HarnessError> {
    let given = std::env::var_os("STATLINE_BIN_DIR").map(PathBuf::from);
    let running = std::env::current_exe().unwrap_or_default();
    // Tests run in target/<profile>/deps, programs in target/<profile>.
    let beside = running.ancestors().skip(1).take(2).map(Path::to_owned);
    given.into_iter().chain(beside).map(|directory| directory.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        HarnessError::Missing { program: name.to_owned(), remedy: "build it with cargo build --workspace --bins" }
    })
}

/// A Python that has what the asyncio client needs: `STATLINE_PYTHON`, the repository's own environment, or the system's.
///
/// # Errors
/// When there is none.
pub fn python() -> Result<PathBuf, HarnessError> {
    let given = std::env::var_os("STATLINE_PYTHON").map(PathBuf::from);
    let candidates = given.into_iter().chain([repository().join(".venv/bin/python"), PathBuf::from("python3")]);
    let has_statsd = |python: &PathBuf| {
        let asked = Command::new(python).args(["-c", "import statsd"]).output();
        asked.is_ok_and(|output| output.status.success())
    };
    candidates.into_iter().find(has_statsd).ok_or_else(|| HarnessError::Missing {
        program: "a Python with the package statsd".to_owned(),
        remedy: "run make, which sets up .venv, or name one in STATLINE_PYTHON",
    })
}

/// Whether this process may do everything, in which case PostgreSQL refuses to run.
#[must_use]
pub fn is_root() -> bool {
    // The owner of our own process' directory is our effective user.
    std::os::unix::fs::MetadataExt::uid(&match std::fs::metadata("/proc/self") {
        Ok(metadata) => metadata,
        Err(_) => return false,
    }) == 0
}

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// When it cannot be run or does not succeed; with the end of what it said.
pub fn run(command: &mut Command) -> Result<String, HarnessError> {
    let what = format!("{:?}", command.get_program()).trim_matches('"').to_owned();
    let output = command.output().map_err(|error| HarnessError::failed(&what, error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let tail: Vec<&str> = said.lines().rev().take(5).collect();
    Err(HarnessError::failed(what, tail.into_iter().rev().collect::<Vec<_>>().join(" / ")))
}

/// Sends a signal to a process by its id.
///
/// # Errors
/// When there is no such process.
pub fn send_signal(pid: u32, signal: &str) -> Result<(), HarnessError> {
    run(Command::new("kill").args([OsStr::new(&format!("-{signal}")), OsStr::new(&pid.to_string())])).map(|_| ())
}

/// Waits for a process to end.
///
/// # Errors
/// When it does not in time.
pub fn wait_for_exit(child: &mut std::process::Child, what: &str, limit: Duration) -> Result<ExitStatus, HarnessError> {
    wait_until(what, limit, || child.try_wait().ok().flatten())
}

/// Asks until there is an answer.
///
/// # Errors
/// When there is none in time.
pub fn wait_until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Result<T, HarnessError> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if began.elapsed() > limit {
            return Err(HarnessError::TimedOut { what: what.to_owned(), limit, hint: "see its log".to_owned() });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks until there is an answer, without holding up other work of the same thread.
///
/// # Errors
/// When there is none in time.
pub async fn eventually<T>(
    what: &str,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> Result<T, HarnessError> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        if began.elapsed() > limit {
            return Err(HarnessError::TimedOut { what: what.to_owned(), limit, hint: "see its log".to_owned() });
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
