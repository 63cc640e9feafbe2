//! `loadtest <mode>`: one run against a running broker, as a table or as JSON.

use std::error::Error;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser};
use loadtest::cpu::ProcessClock;
use loadtest::{Target, Timing, cpu};

mod modes;

use modes::Mode;

/// Load for a broker that speaks NSQ's protocol.
#[derive(Parser)]
#[command(name = "loadtest", version)]
struct Options {
    #[command(subcommand)]
    mode: Mode,
    #[command(flatten)]
    common: Common,
}

#[derive(Args)]
struct Common {
    /// The broker's TCP address.
    #[arg(long, global = true, default_value = "127.0.0.1:4150")]
    tcp_address: String,
    /// The broker's HTTP address.
    #[arg(long, global = true, default_value = "127.0.0.1:4151")]
    http_address: String,
    /// Topic; the default is a new one for each run.
    #[arg(long, global = true)]
    topic: Option<String>,
    /// Publish to so many topics in turn; their names begin with the given one.
    #[arg(long, global = true, default_value = "1")]
    topics: NonZeroUsize,
    /// Channel.
    #[arg(long, global = true, default_value = "loadtest")]
    channel: String,
    /// So many channels on each topic; their names begin with the given one.
    #[arg(long, global = true, default_value = "1")]
    channels: NonZeroUsize,
    /// The broker's process here, to measure its CPU time and memory.
    #[arg(long, global = true)]
    broker_pid: Option<u32>,
    /// Run the driver on this core.
    #[arg(long, global = true)]
    core: Option<usize>,
    /// Bytes of a body.
    #[arg(long, global = true, default_value_t = 200)]
    size: usize,
    /// Seconds that are counted.
    #[arg(long, global = true, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds before them.
    #[arg(long, global = true, default_value_t = 0.5)]
    warmup: f64,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let common = &options.common;
    if let Some(core) = common.core {
        cpu::pin_to_core(core)?;
    }
    if let Some(pid) = common.broker_pid {
        // A mistyped process must be noticed before anything is published.
        ProcessClock::of(pid).map_err(|error| format!("broker process {pid}: {error}"))?;
    }
    let target = Target {
        tcp: resolve(&common.tcp_address)?,
        http: resolve(&common.http_address)?,
        topic: common.topic.clone().unwrap_or_else(new_topic),
        topics: common.topics.get(),
        channel: common.channel.clone(),
        channels: common.channels.get(),
        broker_pid: common.broker_pid,
    };
    let timing = Timing {
        warmup: Duration::try_from_secs_f64(common.warmup)?,
        window: Duration::try_from_secs_f64(common.seconds)?,
    };
    let report = options.mode.run(&target, common.size, timing)?;
    if common.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    Ok(())
}

fn resolve(address: &str) -> Result<SocketAddr, Box<dyn Error>> {
    let mut found = address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))?;
    Ok(found.next().ok_or_else(|| format!("{address}: no such host"))?)
}

fn new_topic() -> String {
    format!("loadtest_{}", std::process::id())
}
