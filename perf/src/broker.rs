//! One broker process: started fresh on its core for each measurement, ended without mercy after
//! it (an orderly end would write the whole backlog to disk first).

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use loadtest::{Target, broker_stats, cpu};
use serde::{Deserialize, Serialize};

use crate::certificate;

/// Of the topic and the channel that rows use.
pub const NAME: &str = "perf";

/// The data path, within a broker's folder.
const DATA: &str = "data";

/// What the broker writes to its standard output and error, beside that.
const OUTPUT: &str = "output";

const START_MAX: Duration = Duration::from_secs(20);

/// Which kind of broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Ours.
    Shoal,
    /// NSQ's own daemon.
    Original,
    /// The least that any broker must do.
    Floor,
}

/// What Shoal promises with an `OK`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The message is queued.
    Memory,
    /// It survives a crash of the broker.
    Written,
    /// It survives a power cut.
    Synced,
}

impl Durability {
    /// As it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Written => "written",
            Self::Synced => "synced",
        }
    }
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
    /// What `nsqd.dat` says when it starts, as if an earlier run had left it.
    pub metadata: Option<String>,
    /// It has a certificate, and is spoken to over TLS.
    pub tls: bool,
    /// Shards that it has; only Shoal does.
    pub shards: usize,
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
    /// Its data path is in here, and what it says about itself.
    folder: PathBuf,
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
        let folder = data_root.join(format!("perf-{}-{number}", std::process::id()));
        let data = folder.join(DATA);
        fs::create_dir_all(&data)?;
        if let Some(metadata) = &self.metadata {
            fs::write(data.join("nsqd.dat"), metadata)?;
        }
        let (tcp, http) = free_addresses()?;
        let mut command = self.command(tcp, http, &data);
        if self.tls {
            certificate::give(&mut command, &folder)?;
        }
        let output = File::create(folder.join(OUTPUT))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // A child inherits the affinity of the thread that starts it.
        match self.shards {
            1 => cpu::pin_to_cores(&[cores.broker])?,
            // One more than the broker has a core of its own for: they share the driver's.
            _ => cpu::pin_to_cores(&[cores.broker, cores.driver])?,
        }
        let child = command.spawn();
        cpu::pin_to_cores(&[cores.driver])?;
        let child = child.map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.program.display()))
        })?;
        let mut target = Target { broker_pid: Some(child.id()), ..Target::plain(tcp, http, NAME) };
        if self.tls {
            target.wrap.tls = Some(certificate::trust(&folder).map_err(io::Error::other)?);
        }
        let mut broker = Broker { child, folder, target };
        broker.wait_until_ready()?;
        Ok(broker)
    }

    fn command(&self, tcp: SocketAddr, http: SocketAddr, data: &Path) -> Command {
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Shoal => command.arg("nsqd").arg(format!("--shards={}", self.shards)),
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

    /// What it promises, as it says itself; `None` when it has no such option.
    pub fn durability(&self) -> Option<Durability> {
        let name = broker_stats::option(&self.target, "durability").ok()?;
        Durability::from_str(&name, false).ok()
    }

    /// Where its files are.
    pub fn data_path(&self) -> PathBuf {
        self.folder.join(DATA)
    }

    /// An error with the end of what the broker said.
    fn failure(&self, what: &str) -> io::Error {
        let output = fs::read_to_string(self.folder.join(OUTPUT)).unwrap_or_default();
        let lines: Vec<&str> = output.lines().rev().take(5).collect();
        let tail: Vec<&str> = lines.into_iter().rev().collect();
        io::Error::other(format!("the broker {what}\n{}", tail.join("\n")))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Errors mean that it has ended by itself, or that the directory is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Two addresses that nobody listens on now.
fn free_addresses() -> io::Result<(SocketAddr, SocketAddr)> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (one, other) = (TcpListener::bind(any)?, TcpListener::bind(any)?);
    Ok((one.local_addr()?, other.local_addr()?))
}
