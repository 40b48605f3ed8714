//! The servers that are measured, each a process of its own, and what each of them has used and counted.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};
use statline_harness::statlined::{Options, Statlined};
use statline_harness::{http, program};
use tempfile::TempDir;

use crate::Error;
use crate::procfs::{self, Thread};
use crate::statsd::null;

/// The kernel's buffer that statlined asks for by default, in bytes.
pub const RECEIVE_BUFFER: usize = 32 << 20;

/// How long a server may take to start, or to work off what it was sent: the first flush of a million series and its store
/// take longest, the more so on a machine that does other things.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a server must rest before it counts as done.
const REST: Duration = Duration::from_millis(50);

/// The CPU time that a resting server may take meanwhile.
const RESTING: Duration = Duration::from_micros(500);

/// A running server. It ends when this is dropped.
pub struct Peer {
    /// As tables show it.
    pub name: &'static str,
    /// Where packets go.
    pub address: SocketAddr,
    pid: u32,
    /// How the names of the threads that receive begin.
    receivers: &'static str,
    process: Process,
}

enum Process {
    Null { child: Child, ask: ChildStdin, answers: BufReader<ChildStdout> },
    Statlined { daemon: Box<Statlined>, _store: TempDir },
    Etsy { child: Child, _config: TempDir, _sink: Sink },
}

/// What a server has received, by its own account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets received.
    pub packets: u64,
    /// Packets that it says the kernel dropped.
    pub dropped: u64,
}

/// CPU time, user and system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Of the threads that receive.
    pub receivers: Duration,
    /// Of all others: the flush, the store, timers.
    pub others: Duration,
    /// How long the threads that receive could have run and had no core.
    pub waited: Duration,
}

impl Peer {
    /// A null receiver: this program, as a process of its own.
    ///
    /// # Errors
    /// When it does not start.
    pub fn null() -> Result<Self, Error> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["null-receiver", "--receive-buffer", &RECEIVE_BUFFER.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(ask), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a null receiver without pipes".into());
        };
        let mut answers = BufReader::new(answers);
        let mut address = String::new();
        answers.read_line(&mut address)?;
        let address = address.trim().parse().map_err(|error| format!("the null receiver said {address:?}: {error}"))?;
        let pid = child.id();
        let process = Process::Null { child, ask, answers };
        let peer = Self { name: "null", address, pid, receivers: null::THREAD, process };
        // A thread takes its name after it has begun.
        peer.wait_until_received()?;
        Ok(peer)
    }

    /// statlined with a store of its own, room for so many series, and so many bytes of the kernel's buffer.
    ///
    /// # Errors
    /// When it does not start.
    pub fn statlined(flush_interval: Duration, series: usize, receive_buffer: usize) -> Result<Self, Error> {
        let store = TempDir::new()?;
        let options = Options::new(store.path(), &format!("{}ms", flush_interval.as_millis()))
            .set("statsd", "receive_buffer", receive_buffer)
            .set("statsd", "max_series", series + 1000)
            // A counter is flushed as two series, and the store also keeps the server's own.
            .set("store", "max_series", 2 * series + 10_000);
        let daemon = Statlined::start(&options)?;
        let (address, pid) = (daemon.statsd(), daemon.pid());
        let process = Process::Statlined { daemon: Box::new(daemon), _store: store };
        let peer = Self { name: "statlined", address, pid, receivers: "statsd-packets", process };
        peer.wait_until_received()?;
        Ok(peer)
    }

    /// etsy's server on node, from `benches/statsd/node_modules`, that flushes to a sink which reads and forgets.
    ///
    /// # Errors
    /// When it is not installed or does not start.
    pub fn etsy(flush_interval: Duration) -> Result<Self, Error> {
        let home = etsy_home();
        if !home.join("stats.js").is_file() {
            return Err(format!("no {}; make bench installs it", home.display()).into());
        }
        let sink = Sink::start()?;
        // Its ports cannot be asked for, so free ones are looked for.
        let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        let management = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = TempDir::new()?;
        let file = config.path().join("config.js");
        std::fs::write(
            &file,
            format!(
                "{{ servers: [{{ server: './servers/udp', address: '127.0.0.1', port: {port} }}],\n\
                 mgmt_address: '127.0.0.1', mgmt_port: {management},\n\
                 backends: ['./backends/graphite'], graphiteHost: '127.0.0.1', graphitePort: {},\n\
                 flushInterval: {} }}\n",
                sink.port,
                flush_interval.as_millis()
            ),
        )?;
        let mut command = Command::new("node");
        command.arg("stats.js").arg(&file).current_dir(&home);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
        let child = child.map_err(|error| format!("node: {error}"))?;
        let pid = child.id();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let process = Process::Etsy { child, _config: config, _sink: sink };
        // Made before it is waited for, so that it ends when it does not come up.
        let peer = Self { name: "statsd 0.9.0", address, pid, receivers: "", process };
        program::wait_until("statsd 0.9.0 listening", PATIENCE, || procfs::udp_socket(address).ok())?;
        Ok(peer)
    }

    /// Binds the threads that receive to one core.
    ///
    /// # Errors
    /// When the system does not allow it, or no thread is known to receive.
    pub fn pin(&self, core: usize) -> Result<(), Error> {
        let mut cores = CpuSet::new();
        cores.set(core);
        let threads = self.threads()?;
        self.must_receive(&threads)?;
        for thread in threads.iter().filter(|thread| self.receives(thread)) {
            sched_setaffinity(Pid::from_raw(i32::try_from(thread.id)?), &cores)?;
        }
        Ok(())
    }

    /// A thread has its name only once it runs, and the address may be known sooner.
    fn wait_until_received(&self) -> Result<(), Error> {
        let what = format!("{} receiving", self.name);
        program::wait_until(&what, PATIENCE, || self.must_receive(&self.threads().ok()?).ok())?;
        Ok(())
    }

    /// A server whose threads were renamed would seem to receive for nothing.
    fn must_receive(&self, threads: &[Thread]) -> Result<(), Error> {
        if threads.iter().any(|thread| self.receives(thread)) {
            return Ok(());
        }
        Err(format!("{} has no thread whose name begins with {:?}", self.name, self.receivers).into())
    }

    /// Stops it as a debugger would; packets pile up in the kernel.
    ///
    /// # Errors
    /// When it is gone.
    pub fn stop(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it is gone.
    pub fn go_on(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        let pid = Pid::from_raw(i32::try_from(self.pid)?).ok_or("a process without an id")?;
        kill_process(pid, signal).map_err(|error| format!("{}: {error}", self.name).into())
    }

    /// Every thread and what it has used up to now.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn threads(&self) -> Result<Vec<Thread>, Error> {
        procfs::threads(self.pid).map_err(|error| format!("{}: {error}", self.name).into())
    }

    fn receives(&self, thread: &Thread) -> bool {
        thread.name.starts_with(self.receivers)
    }

    /// What has been used since `before`.
    ///
    /// # Errors
    /// When the server is gone, or no thread is known to receive.
    pub fn cpu_since(&self, before: &[Thread]) -> Result<Cpu, Error> {
        let mut cpu = Cpu::default();
        let threads = self.threads()?;
        self.must_receive(&threads)?;
        for thread in threads {
            let earlier = before.iter().find(|earlier| earlier.id == thread.id);
            let used = thread.cpu.saturating_sub(earlier.map_or(Duration::ZERO, |earlier| earlier.cpu));
            if self.receives(&thread) {
                cpu.receivers += used;
                cpu.waited += thread.waited.saturating_sub(earlier.map_or(Duration::ZERO, |earlier| earlier.waited));
            } else {
                cpu.others += used;
            }
        }
        Ok(cpu)
    }

    /// Waits until it has read all that the kernel holds for it, and has nothing left to do.
    ///
    /// # Errors
    /// When it does not come to rest.
    pub fn settle(&self) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let before = self.threads()?;
            std::thread::sleep(REST);
            let cpu = self.cpu_since(&before)?;
            if procfs::udp_socket(self.address)?.queued == 0 && cpu.receivers + cpu.others < RESTING {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("{} did not come to rest in {} s", self.name, PATIENCE.as_secs()).into());
            }
        }
    }

    /// Datagrams that the kernel has dropped at its socket, by the kernel's account.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn kernel_drops(&self) -> Result<u64, Error> {
        Ok(procfs::udp_socket(self.address)?.dropped)
    }

    /// What it counted itself; etsy's server is not asked.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn counts(&mut self) -> Result<Counts, Error> {
        match &mut self.process {
            Process::Null { ask, answers, .. } => {
                ask.write_all(b"?\n")?;
                let mut answer = String::new();
                answers.read_line(&mut answer)?;
                let packets = answer.split(' ').next().and_then(|field| field.parse().ok());
                let packets = packets.ok_or_else(|| format!("the null receiver said {answer:?}"))?;
                Ok(Counts { packets, dropped: procfs::udp_socket(self.address)?.dropped })
            }
            Process::Statlined { daemon, .. } => {
                let metrics = http::get(daemon.http(), "/metrics")?.body;
                Ok(Counts {
                    packets: metric(&metrics, "statline_statsd_packets_total")?,
                    dropped: metric(&metrics, "statline_statsd_kernel_drops_total")?,
                })
            }
            Process::Etsy { .. } => Err("statsd 0.9.0 does not tell what was dropped".into()),
        }
    }

    /// Waits until statlined has flushed and stored once more, and rests.
    ///
    /// # Errors
    /// When it does not flush in time, or is another server.
    pub fn await_flush(&self) -> Result<(), Error> {
        let Process::Statlined { daemon, .. } = &self.process else {
            return Err(format!("{} does not tell of its flushes", self.name).into());
        };
        let flushes = || metric(&http::get(daemon.http(), "/metrics")?.body, "statline_flushes_total");
        // The counter is there after the first flush.
        let before = flushes().unwrap_or(0);
        program::wait_until("a flush of statlined", PATIENCE, || flushes().ok().filter(|now| *now > before))?;
        self.settle()
    }

    /// What is in RAM now, and the most that was, in bytes.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn memory(&self) -> Result<(u64, u64), Error> {
        procfs::memory(self.pid)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Process::Null { child, .. } | Process::Etsy { child, .. } = &mut self.process {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Where `make bench` installs etsy's server.
pub fn etsy_home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("statsd/node_modules/statsd")
}

fn metric(text: &str, name: &str) -> Result<u64, Error> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.ok_or_else(|| format!("/metrics tells no {name}").into())
}

/// Takes the place of carbon: reads and forgets, until the process ends.
struct Sink {
    port: u16,
}

impl Sink {
    fn start() -> Result<Self, Error> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || std::io::copy(&mut &stream, &mut std::io::sink()));
            }
        });
        Ok(Self { port })
    }
}
