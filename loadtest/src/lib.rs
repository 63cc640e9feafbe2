//! Load for a broker that speaks NSQ's protocol, over the wire only.
//!
//! One thread, raw non-blocking sockets and one epoll: light enough that one core of it saturates
//! one core of a broker. Request bytes are built before the clock starts, a batch costs one write
//! and one read, and frames are stepped over rather than decoded. It shares no code with the
//! broker, so that a misreading of the protocol cannot cancel itself out.
//!
//! Reading order: a [`Target`] names the broker; [`publish`], [`consume`], [`flow`] and [`e2e`]
//! are the kinds of load; each fills a [`Report`] from a [`window::Window`], which says what was
//! counted between which two instants and what it cost in CPU time on both sides.

pub mod consume;
pub mod e2e;
pub mod flow;
pub mod publish;

pub mod report;
pub mod window;

pub mod broker_stats;
pub mod cpu;

pub mod codec;
pub mod conn;
pub mod consumer;
pub mod poll;
pub mod producer;
pub mod requests;

use std::net::SocketAddr;
use std::time::Duration;

pub use report::Report;

/// A broker and the topic and channel on it that the load goes to.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where the broker speaks NSQ's TCP protocol.
    pub tcp: SocketAddr,
    /// Where it speaks HTTP.
    pub http: SocketAddr,
    /// The topic published to.
    pub topic: String,
    /// The channel consumed from.
    pub channel: String,
    /// The broker's process on this machine, if its CPU time is to be measured.
    pub broker_pid: Option<u32>,
}

/// How long a load runs: the warm-up is not counted.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Runs before anything is counted.
    pub warmup: Duration,
    /// What is counted.
    pub window: Duration,
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
    /// What went in and what came out differ.
    #[error("counts differ: {0}")]
    Miscount(String),
}

/// Results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Without progress for this long, a run is given up as stalled.
pub const STALL_MAX: Duration = Duration::from_secs(10);

/// Bytes taken by one read, shared by all connections of a run.
pub const READ_BYTES_MAX: usize = 256 * 1024;
