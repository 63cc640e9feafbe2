//! Load for a broker that speaks NSQ's protocol, over the wire only.
//!
//! One thread, raw non-blocking sockets and one epoll: light enough that one core of it saturates
//! one core of a broker. Request bytes are built before the clock starts, a batch costs one write
//! and one read, and frames are stepped over rather than decoded. It shares no code with the
//! broker, so that a misreading of the protocol cannot cancel itself out.
//!
//! Reading order: a [`Target`] names the broker; [`exchange`] is the load whose messages can be
//! told apart, so that their latency is known and none can be lost unnoticed; [`publish`],
//! [`consume`] and [`flow`] are the same with prebuilt bytes, which cost the driver least;
//! [`connections`] are the ones that do nothing. Each fills a [`Report`] from a
//! [`window::Window`], which says what was counted between which two instants and what it cost in
//! CPU time on both sides.

pub mod exchange;

pub mod consume;
pub mod flow;
pub mod publish;

pub mod connections;
pub mod setup;

pub mod report;
pub mod watch;
pub mod window;

pub mod body;
pub mod latency;
pub mod ledger;

pub mod broker_stats;
pub mod cpu;
pub mod host;

pub mod codec;
pub mod conn;
pub mod consumer;
pub mod greet;
pub mod poll;
pub mod producer;
pub mod requests;
pub mod sender;
pub mod wrap;

use std::net::SocketAddr;
use std::time::Duration;

pub use report::Report;
use wrap::Wrap;

/// A broker and the topics and channels on it that the load goes to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where the broker speaks NSQ's TCP protocol.
    pub tcp: SocketAddr,
    /// Where it speaks HTTP.
    pub http: SocketAddr,
    /// Where it speaks HTTPS: a load over HTTP goes there if the connections have TLS.
    pub https: Option<SocketAddr>,
    /// What the connections of the load are wrapped in.
    pub wrap: Wrap,
    /// The topic published to; of several, what their names begin with.
    pub topic: String,
    /// How many topics there are.
    pub topics: usize,
    /// The channel consumed from; of several, what their names begin with.
    pub channel: String,
    /// How many channels each topic has.
    pub channels: usize,
    /// The broker's process on this machine, if its CPU time is to be measured.
    pub broker_pid: Option<u32>,
}

impl Target {
    /// A broker with one topic and one channel of that name, over plain TCP.
    pub fn plain(tcp: SocketAddr, http: SocketAddr, name: &str) -> Self {
        let (topic, channel) = (name.to_owned(), name.to_owned());
        let (https, wrap, broker_pid) = (None, Wrap::default(), None);
        Self { tcp, http, https, wrap, topic, topics: 1, channel, channels: 1, broker_pid }
    }

    /// The names of all topics, all of the same length.
    pub fn topic_names(&self) -> Vec<String> {
        numbered(&self.topic, self.topics)
    }

    /// The names of each topic's channels.
    pub fn channel_names(&self) -> Vec<String> {
        numbered(&self.channel, self.channels)
    }

    /// The name of one topic.
    pub fn topic_name(&self, number: usize) -> String {
        name_of(&self.topic, self.topics, number)
    }

    /// The name of one channel.
    pub fn channel_name(&self, number: usize) -> String {
        name_of(&self.channel, self.channels, number)
    }

    /// Where a load over HTTP goes.
    pub fn http_of_load(&self) -> SocketAddr {
        self.https.unwrap_or(self.http)
    }
}

/// The names of `count` topics or channels: one is called as given, several are numbered.
pub fn numbered(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| name_of(name, count, number)).collect()
}

fn name_of(name: &str, count: usize, number: usize) -> String {
    if count == 1 { name.to_owned() } else { format!("{name}_{number:06}") }
}

/// How long a load runs: the warm-up is not counted.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Runs before anything is counted.
    pub warmup: Duration,
    /// What is counted.
    pub window: Duration,
}

impl Timing {
    /// Everything from the first moment on counts, until the load says that it is over.
    pub const WHOLE: Self = Self { warmup: Duration::ZERO, window: Duration::MAX };
}

/// Why a load could not be brought to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call failed, or the broker closed a connection.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The broker answered with an error frame or an HTTP status other than 200.
    #[error("the broker answered: {0}")]
    Refused(String),
    /// The broker sent something that is not in the protocol.
    #[error("the broker broke the protocol: {0}")]
    Protocol(String),
    /// Nothing moved for [`STALL_MAX`].
    #[error("stalled: {0}")]
    Stalled(String),
    /// The load does not go with its target.
    #[error("{0}")]
    Unfit(String),
    /// What went in and what came out differ.
    #[error("counts differ: {0}")]
    Miscount(String),
    /// Somebody ended the load before it had anything to report.
    #[error("interrupted")]
    Interrupted,
}

/// Results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Without progress for this long, a run is given up as stalled.
pub const STALL_MAX: Duration = Duration::from_secs(10);

/// Bytes taken by one read, shared by all connections of a run.
pub const READ_BYTES_MAX: usize = 256 * 1024;
