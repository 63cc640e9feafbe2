//! One worker: a shard (or the acceptor, which is a shard that owns no topics) with its ring, its
//! mailbox and its HTTP connections, turning.
//!
//! A worker is one task of a glommio executor. It sleeps in its own ring; everything it waits for
//! (sockets, the doorbell, deadlines) ends that sleep. HTTP connections are tasks beside it,
//! which run when it yields to them, and only then.
//!
//! In the order of a turn: `clock`, `sockets` (whose is what), `intake` (what arrived), `layered`
//! (what of it is encrypted or compressed), `web`
//! (HTTP), `files` (what is written down), `outflow` (what leaves), `report` (what is told of it).

mod clock;
mod files;
mod intake;
mod layered;
mod memory;
mod outflow;
mod report;
mod secure;
mod sockets;
mod turn;
mod web;

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use shards::limits::Options;
use shards::mail::Letter;
use shards::metadata::TopicMetadata;
use shards::placement::Placement;
use shards::recover::RecoveredTopic;
use shards::shard::{Departure, OldFiles, Parts, Shard};

use super::control::line::Line;
use super::disk::Disk;
use super::doorbell::Doorbell;
use super::http::facts::Facts;
use super::mailbox::{Lane, Mailbox};
use super::metadata::keeper::Reporter;
use super::ring::{Reading, Ring, RingOptions};
use super::statistics::Outpost;
use super::statistics::durations::Durations;
use super::statistics::latency::{self, Meters};
use super::statistics::publishing::PublishTimes;
use crate::tls::ServerTls;
use clock::Clock;
use intake::Intake;
use layered::{Layered, Link};
use sockets::Sockets;
use web::Web;

/// What workers send each other.
pub enum Mail {
    /// From shard to shard.
    Letter(Letter),
    /// A connection that belongs to the receiver now, with its layers, if it has any.
    Arrival(OwnedFd, Departure, Option<Box<Link>>),
    /// An HTTP connection that was just accepted, and whether it is encrypted.
    Http(OwnedFd, bool),
}

impl Mail {
    /// Connections and answers do not queue behind publishes.
    fn lane(&self) -> Lane {
        match self {
            Mail::Letter(letter) if !letter.is_answer() => Lane::Data,
            _ => Lane::Answer,
        }
    }
}

/// A socket that a worker accepts connections from.
#[derive(Debug)]
pub struct Listening {
    /// Bound and listening.
    pub socket: OwnedFd,
    /// What is spoken on it.
    pub spoken: Spoken,
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// NSQ's protocol.
    Nsq,
    /// HTTP.
    Http,
    /// HTTP in TLS.
    Https,
}

/// What a worker is made of. It travels to the worker's thread and is put together there.
pub struct WorkerParts {
    /// The flags of its shard.
    pub options: Options,
    /// Which worker it is, and where topics live.
    pub placement: Placement,
    /// Its lanes to the others.
    pub mailbox: Mailbox<Mail>,
    /// Wakes it.
    pub doorbell: Doorbell,
    /// Says that it is to stop; the doorbell rings as well.
    pub stop: Arc<AtomicBool>,
    /// What it accepts connections from.
    pub listening: Vec<Listening>,
    /// The topics that it had before a restart.
    pub topics: Vec<TopicMetadata>,
    /// Its disk; the acceptor has none.
    pub disk: Option<Disk>,
    /// The messages that it had before a restart.
    pub recovered: Vec<RecoveredTopic>,
    /// Lower sequence numbers may have been used.
    pub sequence_floor: u64,
    /// Files of earlier starts.
    pub old_files: OldFiles,
    /// Where it reports what becomes of them.
    pub reporter: Reporter,
    /// Where it says which of them there are.
    pub line: Line,
    /// Where it tells what it counts.
    pub outpost: Outpost,
    /// How messages are measured, if they are.
    pub latency: Option<latency::Settings>,
    /// What HTTP tells about the process.
    pub facts: Arc<Facts>,
    /// What TLS is made of, if there is any.
    pub tls: Option<Arc<ServerTls>>,
    /// TLS handshakes that may be under way.
    pub handshakes_max: usize,
    /// When the process started: the zero of its monotonic clock.
    pub started: Instant,
    /// Where its sampling starts.
    pub seed: u64,
}

/// A worker on its thread.
pub struct Worker {
    shard: Shard,
    disk: Option<Disk>,
    ring: Ring,
    reading: Reading,
    sockets: Sockets,
    layered: Layered,
    mailbox: Mailbox<Mail>,
    /// Mail to be posted, by receiver and lane (data, answers). It stays here while its lane is
    /// full; credits bound how much that can be.
    unposted: Vec<[VecDeque<Mail>; 2]>,
    web: Web,
    intake: Intake,
    clock: Clock,
    stop: Arc<AtomicBool>,
    reporter: Reporter,
    line: Line,
    outpost: Outpost,
    /// How long its turns were.
    turns: Durations,
    /// How long publishes took.
    publishes: PublishTimes,
    shards: u16,
    /// The shard that gets the next HTTP connection.
    next_shard: u16,
    /// Its own number.
    me: u16,
    /// What was last said to be wrong with the disk.
    told_trouble: Option<String>,
    /// Whether the shard knows that the disk has too little free space.
    is_low: bool,
}

impl Worker {
    /// Puts a worker together, on the thread where it will run.
    ///
    /// # Errors
    /// When its ring cannot be made or a listener is not usable.
    pub fn new(parts: WorkerParts) -> io::Result<Worker> {
        let WorkerParts { options, placement, mailbox, doorbell, stop, listening, .. } = parts;
        let mut clock = Clock::new(parts.started);
        let workers = mailbox.workers();
        let (me, shards, is_shard) = (placement.me, placement.shards, placement.is_shard());
        let counter = parts.outpost.counter();
        let web = Web::new(parts.facts, placement.clone(), counter, clock.instant());
        let shard_parts = Parts {
            options,
            placement,
            workers: u16::try_from(workers).map_err(io::Error::other)?,
            now: clock.tick(),
            seed: parts.seed,
            disk: parts.disk.is_some(),
        };
        let mut ring = Ring::new(&RingOptions::default(), doorbell)?;
        let mut intake = Intake::default();
        for listening in listening {
            ring.listen(listening.socket);
            intake.listeners.push(listening.spoken);
        }
        let mut shard = Shard::new(shard_parts, Box::new(memory::chunks()));
        if let Some(latency) = parts.latency.filter(|_| is_shard) {
            shard.measure(Box::new(Meters::new(latency)));
        }
        parts.line.prepare(&mut shard);
        shard.restore(&parts.topics);
        shard.restore_messages(parts.recovered, parts.sequence_floor, parts.old_files);
        Ok(Worker {
            shard,
            disk: parts.disk,
            ring,
            // The acceptor gives most connections away after their first command: it receives
            // once at a time, so that nothing has to be cancelled for that.
            reading: if is_shard { Reading::Continuous } else { Reading::Single },
            sockets: Sockets::default(),
            layered: Layered::new(parts.tls, parts.handshakes_max),
            mailbox,
            unposted: (0..workers).map(|_| <[VecDeque<Mail>; 2]>::default()).collect(),
            web,
            intake,
            clock,
            stop,
            reporter: parts.reporter,
            line: parts.line,
            outpost: parts.outpost,
            turns: Durations::default(),
            publishes: PublishTimes::default(),
            shards,
            next_shard: 0,
            me,
            told_trouble: None,
            is_low: false,
        })
    }
}
