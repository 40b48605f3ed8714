//! A PostgreSQL server in a directory of its own, with the demo's schema and, if wanted, its data.
//!
//! PostgreSQL refuses to run as root, so when we are root it runs as the user `postgres` that its package made.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tempfile::TempDir;

use crate::program::{self, HarnessError, repository};

/// The database of the demo.
pub const DATABASE: &str = "community";
/// The role that may only read.
pub const READER: &str = "grafana";
/// Its password. The server listens on loopback and lives as long as its handle.
pub const READER_PASSWORD: &str = "demo-grafana-password";

/// The role that may do everything.
pub const SUPERUSER: &str = "statline_owner";
/// Its password.
pub const SUPERUSER_PASSWORD: &str = "demo-owner-password";

const PATIENCE: Duration = Duration::from_secs(60);

/// A running server; it is stopped, and its directory removed, when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    server: Child,
    port: u16,
    binaries: PathBuf,
    _directory: TempDir,
}

impl Postgres {
    /// Makes a cluster, starts it and lays the demo's schema.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not start.
    pub fn start() -> Result<Self, HarnessError> {
        let binaries = find_binaries()?;
        // The path of a unix socket is limited to 107 bytes, so no deep directory will do.
        let directory = tempfile::Builder::new()
            .prefix("statline-pg-")
            .tempdir()
            .map_err(|error| HarnessError::failed("a temporary directory", error))?;
        let password_file = directory.path().join("password");
        write_file(&password_file, SUPERUSER_PASSWORD)?;
        open_to_server(directory.path(), &password_file)?;

        let data = directory.path().join("data");
        program::run(
            as_server(&binaries.join("initdb"))
                .args(["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--username", SUPERUSER])
                .arg("--pwfile")
                .arg(&password_file)
                .arg(&data),
        )?;
        let port = free_port()?;
        let log_path = directory.path().join("log");
        let log = std::fs::File::create(&log_path).map_err(|error| HarnessError::failed("PostgreSQL's log", error))?;
        let mut server = as_server(&binaries.join("postgres"));
        server.arg("-D").arg(&data).arg("-k").arg(directory.path());
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            // The data is made up and thrown away: it need not survive a loss of power.
            "fsync=off".to_owned(),
            "synchronous_commit=off".to_owned(),
            "full_page_writes=off".to_owned(),
            "max_connections=50".to_owned(),
        ] {
            server.arg("-c").arg(setting);
        }
        let server = server
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| HarnessError::failed("postgres", error))?;
        let mut postgres = Self { server, port, binaries, _directory: directory };
        program::wait_until("PostgreSQL answering", PATIENCE, || {
            if let Ok(Some(status)) = postgres.server.try_wait() {
                let log = std::fs::read_to_string(&log_path).unwrap_or_default();
                return Some(Err(HarnessError::failed(
                    format!("postgres ({status})"),
                    log.lines().last().unwrap_or(""),
                )));
            }
            postgres.psql("postgres").args(["-c", "SELECT 1"]).output().ok()?.status.success().then_some(Ok(()))
        })
        .and_then(std::convert::identity)?;
        postgres.run_sql("postgres", &format!("CREATE DATABASE {DATABASE}"))?;
        program::run(
            postgres
                .psql(DATABASE)
                .args(["-v", &format!("grafana_password={READER_PASSWORD}"), "-f"])
                .arg(repository().join("demo/sql/schema.sql")),
        )?;
        Ok(postgres)
    }

    /// The server that the tests of one program share, empty tables and all; it ends with the last who holds it.
    ///
    /// # Errors
    /// See [`Postgres::start`].
    pub fn shared() -> Result<Arc<Self>, HarnessError> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        // Others wait here while the first one starts it.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Ok(running);
        }
        let started = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&started);
        Ok(started)
    }

    /// Fills the tables with 90 days of made-up data. It takes some seconds.
    ///
    /// # Errors
    /// When the script fails.
    pub fn seed(&self) -> Result<(), HarnessError> {
        program::run(self.psql(DATABASE).args(["-f", "demo/sql/seed.sql"]).current_dir(repository())).map(|_| ())
    }

    /// Runs statements as the superuser and returns what they print.
    ///
    /// # Errors
    /// When they fail.
    pub fn run_sql(&self, database: &str, sql: &str) -> Result<String, HarnessError> {
        program::run(self.psql(database).args(["-A", "-t", "-c", sql]))
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(self.binaries.join("psql"));
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", SUPERUSER, "-d", database])
            .args(["-p", &self.port.to_string()])
            .env("PGPASSWORD", SUPERUSER_PASSWORD);
        psql
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT is PostgreSQL's fast shutdown.
        let _ = program::send_signal(self.server.id(), "INT");
        if program::wait_for_exit(&mut self.server, "PostgreSQL stopping", PATIENCE).is_err() {
            let _ = self.server.kill();
            let _ = self.server.wait();
        }
    }
}

/// The newest of Debian's, or those on the PATH.
fn find_binaries() -> Result<PathBuf, HarnessError> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut versions: Vec<(u32, PathBuf)> =
        debian.filter_map(|path| Some((path.file_name()?.to_str()?.parse().ok()?, path.join("bin")))).collect();
    versions.sort();
    let on_path =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    versions
        .into_iter()
        .rev()
        .map(|(_, path)| path)
        .chain(on_path)
        .find(|directory| ["initdb", "postgres", "psql"].iter().all(|name| directory.join(name).is_file()))
        .ok_or_else(|| HarnessError::Missing {
            program: "PostgreSQL (initdb, postgres, psql)".to_owned(),
            remedy: "install Debian's package postgresql",
        })
}

/// A command that runs as a user that PostgreSQL accepts. It keeps the process id, so that signals reach the server.
fn as_server(program: &Path) -> Command {
    if !program::is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
    command
}

fn open_to_server(directory: &Path, password_file: &Path) -> Result<(), HarnessError> {
    if !program::is_root() {
        return Ok(());
    }
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755))
        .map_err(|error| HarnessError::failed("the server's directory", error))?;
    program::run(Command::new("chown").arg("postgres").arg(directory).arg(password_file)).map(|_| ())
}

fn write_file(path: &Path, text: &str) -> Result<(), HarnessError> {
    std::fs::File::create(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| HarnessError::failed(path.display().to_string(), error))
}

fn free_port() -> Result<u16, HarnessError> {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|error| HarnessError::failed("finding a free port", error))
}
