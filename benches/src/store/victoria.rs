//! Debian's VictoriaMetrics beside the store.

use std::fmt::Write as _;
use std::io::{BufWriter, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use statline_harness::program::wait_until;
use statline_series::Batch;
use tempfile::TempDir;

use crate::http::{Answer, form_of};
use crate::procfs;
use crate::{Error, report};

const PROGRAM: &str = "victoria-metrics";
const PATIENCE: Duration = Duration::from_secs(60);

/// A running VictoriaMetrics. It ends when this is dropped.
pub struct Victoria {
    child: Child,
    http: SocketAddr,
    graphite: BufWriter<TcpStream>,
    data: TempDir,
    line: String,
}

impl Victoria {
    /// Starts it; `None`, and said, where it is not installed.
    pub fn start() -> Result<Option<Self>, Error> {
        let data = super::in_memory()?;
        let (http, graphite) = (free_address()?, free_address()?);
        let started = Command::new(PROGRAM)
            .arg(format!("-storageDataPath={}", data.path().display()))
            .arg(format!("-httpListenAddr={http}"))
            .arg(format!("-graphiteListenAddr={graphite}"))
            .args(["-retentionPeriod=100y", "-loggerLevel=ERROR", "-search.maxUniqueTimeseries=1000000"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                report::progress("victoria-metrics is not installed: `apt-get install victoria-metrics`");
                return Ok(None);
            }
            Err(error) => return Err(format!("{PROGRAM}: {error}").into()),
        };
        let connected = wait_until("victoria-metrics to listen", PATIENCE, || TcpStream::connect(graphite).ok())?;
        wait_until("victoria-metrics to answer", PATIENCE, || get(http, "/health").ok())?;
        Ok(Some(Self {
            child,
            http,
            graphite: BufWriter::with_capacity(1 << 20, connected),
            data,
            line: String::new(),
        }))
    }

    /// Sends points over Graphite's protocol.
    pub fn send(&mut self, batch: &Batch) -> Result<(), Error> {
        self.line.clear();
        for row in &batch.rows {
            writeln!(self.line, "{} {} {}", row.key, row.point.value, row.point.timestamp.seconds())?;
        }
        Ok(self.graphite.write_all(self.line.as_bytes())?)
    }

    /// Waits until it has stored so many points since it was started, and works no more.
    pub fn settle(&mut self, points: u64) -> Result<(), Error> {
        self.graphite.flush()?;
        let rows = r#"vm_rows_inserted_total{type="graphite"}"#;
        wait_until("victoria-metrics to take all points", Duration::from_secs(600), || {
            (self.figure(rows).ok()? >= points as f64).then_some(())
        })?;
        // They can be searched, and are on the disk in their final form.
        get(self.http, "/internal/force_flush")?;
        get(self.http, "/internal/force_merge")?;
        std::thread::sleep(Duration::from_secs(2));
        let mut before = self.cpu()?;
        let rest = Instant::now() + PATIENCE;
        while Instant::now() < rest {
            std::thread::sleep(Duration::from_secs(2));
            let now = self.cpu()?;
            if now.saturating_sub(before) < Duration::from_millis(100) {
                break;
            }
            before = now;
        }
        Ok(())
    }

    fn figure(&self, name: &str) -> Result<f64, Error> {
        let text = String::from_utf8(get(self.http, "/metrics")?)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such figure")?;
        Ok(line.trim().parse()?)
    }

    /// User and system time up to now.
    pub fn cpu(&self) -> Result<Duration, Error> {
        Ok(procfs::threads(self.child.id())?.iter().map(|thread| thread.cpu).sum())
    }

    /// What its points take on disk.
    pub fn data_bytes(&self) -> Result<u64, Error> {
        size_of(&self.data.path().join("data"))
    }

    /// How long it takes to hand out the points of some series in its own format, from and until when in seconds.
    pub fn export(&self, names: &[String], from: i64, until: i64) -> Result<Duration, Error> {
        let names = names.iter().map(|name| name.replace('.', "\\.")).collect::<Vec<_>>().join("|");
        let pattern = format!(r#"{{__name__=~"{}"}}"#, names.replace('\\', "\\\\"));
        let form = form_of(&[("match[]", &pattern), ("start", &from.to_string()), ("end", &(until - 1).to_string())]);
        let mut answer = Answer::default();
        answer.ask(self.http, "POST", "/api/v1/export/native", &form)?;
        // A native answer begins with 16 bytes of its range.
        if answer.body()?.len() <= 16 { Err("victoria-metrics answered nothing".into()) } else { Ok(answer.took) }
    }
}

impl Drop for Victoria {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> Result<SocketAddr, Error> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn get(server: SocketAddr, path: &str) -> Result<Vec<u8>, Error> {
    let mut answer = Answer::default();
    answer.get(server, path)?;
    answer.body()
}

/// The bytes of all files below a directory.
pub fn size_of(directory: &Path) -> Result<u64, Error> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        bytes += if kind.is_dir() { size_of(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
