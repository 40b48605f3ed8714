//! A real Grafana, when one is found: at `GRAFANA_HOME`, on the PATH, or in Docker. `demo/grafana.sh` knows how to start it.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use statline_harness::program::{self, repository};
use tokio::net::TcpStream;

use crate::stack::Stack;
use crate::{Cli, Error, say};

/// The longest that Grafana may take to listen; its first start migrates its database.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running Grafana; it is stopped when this is dropped.
pub struct Grafana {
    child: Child,
    port: u16,
}

/// Starts a Grafana beside the stack; `None` when there is none.
pub async fn start(cli: &Cli, stack: &Stack) -> Result<Option<Grafana>, Error> {
    let script = repository().join("demo/grafana.sh");
    let found = Command::new(&script).arg("--find").output()?;
    if !found.status.success() {
        return Ok(None);
    }
    say(&format!("starting Grafana: {}", String::from_utf8_lossy(&found.stdout).trim()));
    let plugins = std::path::absolute(&cli.plugins)?;
    if !plugins.join("statline-stats-datasource/module.js").is_file() {
        return Err(format!("{} holds no built plugin; make dist makes it", plugins.display()).into());
    }
    let log = std::fs::File::create(stack.directory().join("grafana.log"))?;
    let mut grafana = Command::new(script)
        .arg("--plugins")
        .arg(&plugins)
        .arg("--data")
        .arg(stack.directory().join("grafana"))
        .args(["--port", &cli.grafana_port.to_string()])
        .envs(stack.environment())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .map(|child| Grafana { child, port: cli.grafana_port })?;
    let log_path = stack.directory().join("grafana.log");
    let began = std::time::Instant::now();
    while TcpStream::connect(("127.0.0.1", cli.grafana_port)).await.is_err() {
        if let Some(status) = grafana.child.try_wait()? {
            let log = std::fs::read_to_string(&log_path).unwrap_or_default();
            return Err(format!("Grafana ended ({status}): {}", log.lines().last().unwrap_or("it said nothing")).into());
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("Grafana does not listen after {} s", PATIENCE.as_secs()).into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(Some(grafana))
}

impl Grafana {
    /// Where a browser finds it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/dashboards", self.port)
    }

    /// Waits until it ends.
    pub async fn wait(mut self) -> Result<(), Error> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("Grafana ended: {status}").into());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

impl Drop for Grafana {
    fn drop(&mut self) {
        // Asked to, Grafana stops its plugins and Docker its container; killed, neither would.
        let _ = program::send_signal(self.child.id(), "TERM");
        if program::wait_for_exit(&mut self.child, "Grafana stopping", Duration::from_secs(15)).is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
