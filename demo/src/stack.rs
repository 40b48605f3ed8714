//! The parts of the demo, started in the order in which they need each other; they stop with this handle.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use grafana_plugin::host::Host;
use grafana_plugin::{RequestContext, TimeRange};
use serde_json::json;
use statline_harness::postgres::{DATABASE, READER, READER_PASSWORD};
use statline_harness::statlined::Options;
use statline_harness::{Postgres, Statlined, plugin, program};
use tempfile::TempDir;

use crate::{Cli, Error, history, say};

/// A gauge that the live traffic sends from the start.
const LIVE_TARGET: &str = "stats.gauges.bot.help.total.in_use";
/// The longest that live traffic may take to be seen in a panel.
const LIVE_PATIENCE: Duration = Duration::from_secs(60);

/// Everything that runs. Fields are dropped, and so stopped, in this order.
pub struct Stack {
    /// The plugin.
    pub host: Host,
    /// Who asks it.
    pub context: RequestContext,
    _traffic: Traffic,
    statlined: Statlined,
    postgres: Postgres,
    directory: TempDir,
}

impl Stack {
    /// Starts everything, and waits until live traffic is seen through the plugin.
    pub async fn start(cli: &Cli) -> Result<Self, Error> {
        let postgres = timed("PostgreSQL with 90 days of a community's data", || {
            let postgres = Postgres::start()?;
            postgres.seed()?;
            Ok(postgres)
        })?;
        let directory = tempfile::Builder::new().prefix("statline-demo-").tempdir()?;
        let statlined = timed("statlined", || Ok(Statlined::start(&options(cli, directory.path()))?))?;
        timed(&format!("{} days of statsd history", cli.history_days), || {
            history::fill(statlined.carbon(), cli.history_days)
        })?;
        let traffic = timed("live traffic by the asyncio client", || Traffic::start(cli, &statlined))?;
        let began = Instant::now();
        let host = Host::spawn(program::own_binary(plugin::BINARY)?, grafana_plugin::host::NO_ENVIRONMENT).await?;
        let context = plugin::request_context(Some(&statlined), Some(&postgres));
        let stack = Self { host, context, _traffic: traffic, statlined, postgres, directory };
        let health = stack.host.check_health(&stack.context).await?;
        say(&format!("  {:>6.1} s  the plugin: {}", began.elapsed().as_secs_f64(), health.message));
        stack.wait_for_live_traffic().await?;
        Ok(stack)
    }

    /// Where a user can send and ask.
    pub fn addresses(&self) -> String {
        format!(
            "statsd {}  ·  http://{}/render  ·  flight {}",
            self.statlined.statsd(),
            self.statlined.http(),
            self.statlined.flight_url()
        )
    }

    /// What `provisioning/` reads, for a Grafana that is started beside.
    pub fn environment(&self) -> [(&'static str, String); 6] {
        [
            ("STATLINE_ADDRESS", self.statlined.flight_url()),
            ("STATLINE_POSTGRES_HOST", format!("127.0.0.1:{}", self.postgres.port())),
            ("STATLINE_POSTGRES_DATABASE", DATABASE.to_owned()),
            ("STATLINE_POSTGRES_USER", READER.to_owned()),
            ("STATLINE_POSTGRES_PASSWORD", READER_PASSWORD.to_owned()),
            ("STATLINE_POSTGRES_SSLMODE", "disable".to_owned()),
        ]
    }

    /// A directory that goes with the demo.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Asks for a gauge of the live traffic until a value of it is newer than now.
    async fn wait_for_live_traffic(&self) -> Result<(), Error> {
        let began = Instant::now();
        let since = history::now_ms();
        while began.elapsed() < LIVE_PATIENCE {
            let range = TimeRange { from_ms: since - 60_000, to_ms: history::now_ms() };
            let query = plugin::data_query("live", &json!({ "queryType": "graphite", "target": LIVE_TARGET }), range);
            let answers = self.host.query_data(&self.context, vec![query]).await?;
            let frames = answers.into_values().flat_map(|answer| answer.frames);
            let newest = frames.filter_map(|frame| newest_instant(&frame)).max();
            if newest.is_some_and(|newest| newest > since) {
                say(&format!("  {:>6.1} s  the first live packets in a panel", began.elapsed().as_secs_f64()));
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Err(format!("no live value of {LIVE_TARGET} came through within {} s", LIVE_PATIENCE.as_secs()).into())
    }
}

/// The instant of the newest value of a frame, in milliseconds.
fn newest_instant(frame: &grafana_plugin::Frame) -> Option<i64> {
    let time = frame.fields.iter().find(|field| field.is_time())?;
    let value = frame.fields.iter().find(|field| field.is_number())?;
    (0..value.len()).rev().find(|row| value.number(*row).is_some()).and_then(|row| time.time_ms_at(row))
}

fn options(cli: &Cli, directory: &Path) -> Options {
    let options = Options::new(&directory.join("store"), &cli.flush_interval);
    if cli.oneshot {
        return options;
    }
    // Whoever plays with the demo expects the ports that the field uses.
    options
        .set("statsd", "listen", preferred_udp(8125))
        .set("carbon", "listen", preferred_tcp(2003))
        .set("carbon", "udp_listen", preferred_udp(2003))
        .set("carbon", "pickle_listen", preferred_tcp(2004))
        .set("http", "listen", preferred_tcp(8080))
        .set("flight", "listen", preferred_tcp(8815))
}

fn preferred_tcp(port: u16) -> String {
    let free = std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
    format!("127.0.0.1:{}", if free { port } else { 0 })
}

fn preferred_udp(port: u16) -> String {
    let free = std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok();
    format!("127.0.0.1:{}", if free { port } else { 0 })
}

/// The program that plays the community's bot.
struct Traffic(Child);

impl Traffic {
    fn start(cli: &Cli, statlined: &Statlined) -> Result<Self, Error> {
        let python = std::path::absolute(&cli.python)?;
        if !python.is_file() {
            return Err(format!("{} is not there; make demo makes it", python.display()).into());
        }
        let child = Command::new(python)
            .arg("demo/traffic.py")
            .args(["--host", "127.0.0.1", "--port", &statlined.statsd().port().to_string()])
            .args(["--speed", &cli.speed.to_string()])
            .current_dir(program::repository())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Does something and tells how long it took.
fn timed<T>(what: &str, act: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let began = Instant::now();
    let done = act()?;
    say(&format!("  {:>6.1} s  {what}", began.elapsed().as_secs_f64()));
    Ok(done)
}
