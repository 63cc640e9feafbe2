//! A worker's end: what the office asks of it, and the pages that its HTTP connections ordered.
//!
//! The office asks a worker for one part at a time, and a worker answers with one part in a turn.
//! It never waits: orders that find no room are refused.

use std::sync::Arc;
use std::time::Instant;

use flume::Sender;
use shards::stats::{Bookmark, ShardStats, StatsQuery};

use super::durations::Durations;
use super::page::{Page, Wanted};
use super::publishing::PublishNumbers;
use crate::nsqd::disk::DiskMetrics;
use crate::nsqd::doorbell::Doorbell;
use crate::nsqd::http::counts::RequestCounts;
use crate::nsqd::words::{self, Ear, Mouth};

/// What a worker is told.
#[derive(Debug)]
pub enum Word {
    /// The office wants this part of its statistics.
    Report(Question),
    /// A page that was ordered.
    Page(u64, Page),
}

/// Which part of a worker's statistics is wanted.
#[derive(Clone, Debug)]
pub struct Question {
    /// Comes back with the answer.
    pub serial: u64,
    /// What of everything.
    pub query: Arc<StatsQuery>,
    /// Where the part begins.
    pub from: Bookmark,
}

/// A worker's answer.
#[derive(Debug)]
pub struct Told {
    /// Whose.
    pub worker: usize,
    /// The question's.
    pub serial: u64,
    /// What its shard says.
    pub stats: ShardStats,
    /// What it counts itself.
    pub worker_numbers: WorkerNumbers,
}

/// What a worker counts beside its shard.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkerNumbers {
    /// How long its turns were.
    pub turns: Durations,
    /// Letters of data and answers that others left and it has not taken.
    pub mail_waiting: [u64; 2],
    /// Letters of data and answers that it could not leave with others yet.
    pub mail_unposted: [u64; 2],
    /// HTTP connections.
    pub http_connections: u64,
    /// HTTP connections that were opened.
    pub http_connections_total: u64,
    /// Requests of HTTP that were answered.
    pub http_requests: RequestCounts,
    /// How long publishes took.
    pub publishes: PublishNumbers,
    /// Requests of HTTP that wait for shards, and pages that were ordered.
    pub http_waiting: u64,
    /// Handshakes of TLS under way.
    pub handshakes: u64,
    /// Handshakes that stand in line.
    pub handshakes_waiting: u64,
    /// Handshakes that were begun, and those that succeeded.
    pub handshakes_total: [u64; 2],
    /// Connections whose compression was refused for want of memory.
    pub compression_refused: u64,
    /// Sockets that wait for a buffer to receive into.
    pub sockets_starved: u64,
    /// Times that there was none.
    pub starvations: u64,
    /// Bytes received and sent.
    pub traffic_bytes: [u64; 2],
    /// Answers of auth servers kept for HTTP.
    pub http_grants: u64,
    /// Reads, writes and syncs of files under way.
    pub file_operations: u64,
    /// Files that are open, or known.
    pub disk: Option<DiskMetrics>,
}

/// A page that was ordered.
#[derive(Debug)]
pub struct Order {
    /// By whom.
    pub worker: usize,
    /// What it is to come back with.
    pub ticket: u64,
    /// Which.
    pub wanted: Wanted,
    /// When.
    pub at: Instant,
}

/// What the office is asked for.
#[derive(Debug)]
pub enum Errand {
    /// A page.
    Page(Order),
    /// The topics of all shards, without clients.
    Totals(Sender<Option<super::office::Totals>>),
}

/// The worker's end.
#[derive(Debug)]
pub struct Outpost {
    worker: usize,
    words: Ear<Word>,
    told: Sender<Told>,
    errands: Sender<Errand>,
}

/// The office's end.
pub type End = Mouth<Word>;

/// The two ends, for the worker with this number.
pub fn pair(
    worker: usize,
    doorbell: &Doorbell,
    told: &Sender<Told>,
    errands: &Sender<Errand>,
) -> (Outpost, End) {
    let (end, words) = words::pair(doorbell);
    (Outpost { worker, words, told: told.clone(), errands: errands.clone() }, end)
}

impl Outpost {
    /// Whether something was said. To be asked between falling asleep and sleeping, as with a
    /// mailbox.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.words.has_news()
    }

    /// The next word.
    pub fn hear(&mut self) -> Option<Word> {
        self.words.hear()
    }

    /// Answers a question.
    pub fn tell(&self, serial: u64, stats: ShardStats, worker_numbers: WorkerNumbers) {
        let told = Told { worker: self.worker, serial, stats, worker_numbers };
        // At the end of the process the office goes first: nobody asks any more.
        let _ = self.told.send(told);
    }

    /// Where pages are ordered.
    #[must_use]
    pub fn counter(&self) -> Counter {
        Counter { worker: self.worker, errands: self.errands.clone() }
    }
}

/// Where one worker's HTTP connections order pages.
#[derive(Clone, Debug)]
pub struct Counter {
    worker: usize,
    errands: Sender<Errand>,
}

impl Counter {
    /// Orders a page, which comes with `ticket`. False when too many are ordered.
    #[must_use]
    pub fn order(&self, ticket: u64, wanted: Wanted) -> bool {
        let order = Order { worker: self.worker, ticket, wanted, at: Instant::now() };
        self.errands.try_send(Errand::Page(order)).is_ok()
    }
}
