//! One broker process: started fresh on its core for each measurement, ended without mercy after
//! it (an orderly end would write the whole backlog to disk first).

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use loadtest::{Target, broker_stats, cpu};
use serde::Serialize;

const START_MAX: Duration = Duration::from_secs(20);

/// Which kind of broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Ours.
    Shoal,
    /// NSQ's own daemon.
    Original,
    /// The least that any broker must do.
    Floor,
}

/// How a broker is started.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// Which kind.
    pub kind: Kind,
    /// The program.
    pub program: PathBuf,
    /// Arguments besides addresses and the data path.
    pub arguments: Vec<OsString>,
}

/// The cores that the two sides run on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cores {
    /// The broker's.
    pub broker: usize,
    /// The driver's.
    pub driver: usize,
}

/// A running broker; ended and cleaned away when dropped.
pub struct Broker {
    child: Child,
    data: PathBuf,
    /// Where to reach it.
    pub target: Target,
}

impl Recipe {
    /// The broker's name and version, as it says itself.
    pub fn version(&self) -> io::Result<String> {
        if self.kind == Kind::Floor {
            return Ok("floor".to_owned());
        }
        let mut command = Command::new(&self.program);
        if self.kind == Kind::Shoal {
            command.arg("nsqd");
        }
        let output = command.arg("--version").output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().next().unwrap_or("unknown").trim().to_owned())
    }

    /// Starts it on its core, with a data path of its own, and waits until it answers.
    pub fn start(&self, cores: Cores, data_root: &Path, number: u64) -> io::Result<Broker> {
        let data = data_root.join(format!("perf-{}-{number}", std::process::id()));
        fs::create_dir_all(&data)?;
        let (tcp, http) = free_addresses()?;
        let mut command = self.command(tcp, http, &data);
        let log = File::create(data.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A child inherits the affinity of the thread that starts it.
        cpu::pin_to_core(cores.broker)?;
        let child = command.spawn();
        cpu::pin_to_core(cores.driver)?;
        let child = child.map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.program.display()))
        })?;
        let target = Target {
            tcp,
            http,
            topic: "perf".to_owned(),
            channel: "perf".to_owned(),
            broker_pid: Some(child.id()),
        };
        let mut broker = Broker { child, data, target };
        broker.wait_until_ready()?;
        Ok(broker)
    }

    fn command(&self, tcp: SocketAddr, http: SocketAddr, data: &Path) -> Command {
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Shoal => command.args(["nsqd", "--shards=1"]),
            Kind::Original => command.env("GOMAXPROCS", "1"),
            Kind::Floor => command.arg("floor"),
        };
        command.arg(format!("--tcp-address={tcp}")).arg(format!("--http-address={http}"));
        if self.kind != Kind::Floor {
            command.arg(format!("--data-path={}", data.display()));
        }
        command.args(&self.arguments);
        command
    }
}

impl Broker {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_ready(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            let answer = broker_stats::ping(&self.target);
            // Looked at after the answer: whoever else took the port would answer, too.
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failure(&format!("ended at its start: {status}")));
            }
            match answer {
                Ok(()) => return Ok(()),
                Err(error) if begun.elapsed() > START_MAX => {
                    return Err(self.failure(&format!("does not answer: {error}")));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// An error with the end of the broker's log.
    fn failure(&self, what: &str) -> io::Error {
        let log = fs::read_to_string(self.data.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        let tail: Vec<&str> = lines.into_iter().rev().collect();
        io::Error::other(format!("the broker {what}\n{}", tail.join("\n")))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Errors mean that it has ended by itself, or that the directory is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// Two addresses that nobody listens on now.
fn free_addresses() -> io::Result<(SocketAddr, SocketAddr)> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (one, other) = (TcpListener::bind(any)?, TcpListener::bind(any)?);
    Ok((one.local_addr()?, other.local_addr()?))
}
