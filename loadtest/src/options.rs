//! The options of the program, and what of the library they stand for.

use std::error::Error;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser};
use loadtest::body::{Bodies, Sizes};
use loadtest::cpu::{self, ProcessClock};
use loadtest::wrap::{self, Compression, Tls, Trust, Wrap};
use loadtest::{Target, Timing};

use crate::modes::Mode;
use crate::threshold::Threshold;

/// Load for a broker that speaks NSQ's protocol. Without a mode: how many messages go through in a
/// second, and the latency of 10,000 a second.
#[derive(Parser)]
#[command(name = "loadtest", version)]
pub struct Options {
    /// What to do to the broker.
    #[command(subcommand)]
    pub mode: Option<Mode>,
    /// What all modes have.
    #[command(flatten)]
    pub common: Common,
}

/// The options that all modes have.
#[derive(Args)]
#[command(next_help_heading = "Options of all modes")]
pub struct Common {
    /// The broker's TCP address.
    #[arg(long, global = true, default_value = "127.0.0.1:4150")]
    tcp_address: String,
    /// The broker's HTTP address.
    #[arg(long, global = true, default_value = "127.0.0.1:4151")]
    http_address: String,
    /// The broker's HTTPS address, for `http` with `--tls`.
    #[arg(long, global = true)]
    https_address: Option<String>,
    /// Topic; the default is a new one for each run.
    #[arg(long, global = true)]
    topic: Option<String>,
    /// Publish to so many topics in turn; their names begin with the given one.
    #[arg(long, global = true)]
    topics: Option<NonZeroUsize>,
    /// Channel.
    #[arg(long, global = true, default_value = "loadtest")]
    channel: String,
    /// So many channels on each topic; their names begin with the given one.
    #[arg(long, global = true)]
    channels: Option<NonZeroUsize>,
    /// The broker's process here, to measure its CPU time and memory.
    #[arg(long, global = true)]
    broker_pid: Option<u32>,
    /// Run the driver on this core.
    #[arg(long, global = true)]
    core: Option<usize>,
    /// Bytes of a body: a number, a range as in 100-2000, or @FILE with a size in each line.
    #[arg(long, global = true, default_value = "200")]
    size: String,
    /// Seconds that are counted; a week at most.
    #[arg(long, global = true, visible_alias = "seconds")]
    duration: Option<f64>,
    /// Seconds before them.
    #[arg(long, global = true, default_value_t = 0.5)]
    warmup: f64,
    /// Publish so many messages at most; what `sub` fills in; what `connections` opens.
    #[arg(long, global = true)]
    count: Option<u64>,
    /// Count messages and tell them apart, but leave out the checksums: lighter on the driver.
    #[arg(long, global = true)]
    no_verify: bool,
    /// Speak TLS.
    #[arg(long, global = true)]
    tls: bool,
    /// The broker's certificate has to come from one of these; otherwise any will do.
    #[arg(long, global = true, requires = "tls")]
    tls_ca: Option<PathBuf>,
    /// Our own certificate.
    #[arg(long, global = true, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, global = true, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Compress with Snappy.
    #[arg(long, global = true, conflicts_with = "deflate")]
    snappy: bool,
    /// Compress with deflate, at this level.
    #[arg(long, global = true, value_name = "LEVEL", num_args = 0..=1, require_equals = true,
          default_missing_value = "6", value_parser = clap::value_parser!(u32).range(1..=9))]
    deflate: Option<u32>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Write the latencies there, in HdrHistogram's text format; those to the confirmation go to
    /// FILE.confirm where there are receipts, too.
    #[arg(long, global = true, value_name = "FILE")]
    pub hdr: Option<PathBuf>,
    /// End with 99 if this holds, as "p99>5ms" or "rate<100k"; may be repeated.
    #[arg(long, global = true, value_name = "METRIC>VALUE")]
    pub fail_if: Vec<Threshold>,
    /// No progress on the terminal.
    #[arg(long, global = true)]
    pub quiet: bool,
}

/// What the default of `--count` stands for: as many as time allows.
const COUNT_MAX: u64 = u64::MAX / 4;

/// No run is counted for longer.
const DURATION_MAX_S: f64 = 7.0 * 86_400.0;

impl Common {
    /// Goes to the core that was asked for.
    pub fn pin(&self) -> Result<(), Box<dyn Error>> {
        if let Some(core) = self.core {
            cpu::pin_to_cores(&[core])?;
        }
        Ok(())
    }

    /// The broker, with one topic and one channel unless more were asked for.
    pub fn target(&self) -> Result<Target, Box<dyn Error>> {
        if let Some(pid) = self.broker_pid {
            // A mistyped process must be noticed before anything is published.
            ProcessClock::of(pid).map_err(|error| format!("broker process {pid}: {error}"))?;
        }
        let of = |count: Option<NonZeroUsize>| count.map_or(1, NonZeroUsize::get);
        let https = self.https_address.as_deref().map(resolve).transpose()?;
        Ok(Target {
            tcp: resolve(&self.tcp_address)?,
            http: resolve(&self.http_address)?,
            https: https.filter(|_| self.tls),
            wrap: self.wrap()?,
            topic: self.topic.clone().unwrap_or_else(new_topic),
            topics: of(self.topics),
            channel: self.channel.clone(),
            channels: of(self.channels),
            broker_pid: self.broker_pid,
        })
    }

    fn wrap(&self) -> Result<Wrap, Box<dyn Error>> {
        let compression = match (self.snappy, self.deflate) {
            (true, _) => Compression::Snappy,
            (false, Some(level)) => Compression::Deflate(level),
            (false, None) => Compression::None,
        };
        if !self.tls {
            return Ok(Wrap { tls: None, compression });
        }
        let identity = self.tls_cert.clone().zip(self.tls_key.clone());
        let config = wrap::client_config(&Trust { ca: self.tls_ca.clone(), identity })?;
        let host = self.tcp_address.rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.trim_matches(['[', ']']).to_owned();
        let tls = Tls::new(config, host)?;
        Ok(Wrap { tls: Some(tls), compression })
    }

    /// Topics, if somebody said how many.
    pub fn topics(&self) -> Option<usize> {
        self.topics.map(NonZeroUsize::get)
    }

    /// Channels, if somebody said how many.
    pub fn channels(&self) -> Option<usize> {
        self.channels.map(NonZeroUsize::get)
    }

    /// What the messages are.
    pub fn bodies(&self) -> loadtest::Result<Arc<Bodies>> {
        Ok(Arc::new(Bodies::new(Sizes::parse(&self.size)?, !self.no_verify)?))
    }

    /// How long, where nobody said so: five seconds.
    pub fn timing(&self) -> loadtest::Result<Timing> {
        self.timing_or(5.0)
    }

    /// How long, with a default.
    pub fn timing_or(&self, default_s: f64) -> loadtest::Result<Timing> {
        let seconds = |seconds: f64| {
            Duration::try_from_secs_f64(seconds.min(DURATION_MAX_S))
                .map_err(|error| loadtest::Error::Unfit(format!("{seconds} seconds: {error}")))
        };
        let window = seconds(self.duration.unwrap_or(default_s))?;
        Ok(Timing { warmup: seconds(self.warmup)?, window })
    }

    /// Messages to publish, at most.
    pub fn count(&self) -> u64 {
        self.count_or(COUNT_MAX)
    }

    /// How many, with a default.
    pub fn count_or(&self, default: u64) -> u64 {
        self.count.unwrap_or(default).clamp(1, COUNT_MAX)
    }
}

fn resolve(address: &str) -> Result<SocketAddr, Box<dyn Error>> {
    let mut found = address.to_socket_addrs().map_err(|error| format!("{address}: {error}"))?;
    Ok(found.next().ok_or_else(|| format!("{address}: no such host"))?)
}

fn new_topic() -> String {
    format!("loadtest_{}", std::process::id())
}
