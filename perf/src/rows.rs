//! The rows of the comparison: what is done to which brokers, and what is expected of Shoal.

use loadtest::e2e::Rate;
use loadtest::flow::Flow;
use loadtest::producer::Publish;
use loadtest::{Target, numbered};
use serde_json::json;

use crate::broker::{Durability, NAME};
use crate::load::{
    Amount, DPUB, HTTP, Load, MPUB, MPUB_4K, PUB, PUB_IN_TURN, PUB_MANY, PUB_ONE, SIZE,
};

/// `RDY` of a consumer that is kept busy.
const RDY: u32 = 2500;

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// How it is called on the command line.
    pub name: &'static str,
    /// How it is called in the table.
    pub title: &'static str,
    /// What is expected of Shoal.
    pub goal: Goal,
    /// What is done.
    pub load: Load,
    /// To what.
    pub setup: Setup,
}

/// What is expected of Shoal.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// CPU time of the broker for one message, at most.
    CpuUs(f64),
    /// CPU time is told, and nothing was promised.
    Told,
    /// Latency, at most.
    LatencyMs {
        /// Of half of the messages.
        p50: f64,
        /// Of 99 in a hundred.
        p99: f64,
    },
}

/// What a row needs besides its load.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Topics that are published to.
    pub topics: usize,
    /// Channels on each of them.
    pub channels: usize,
    /// The only promise that the row is about; otherwise it is what the run asks for.
    pub durability: Option<Durability>,
    /// More arguments for Shoal.
    pub shoal: &'static [&'static str],
    /// More arguments for the original.
    pub original: &'static [&'static str],
    /// The original is meant to use its disk.
    pub on_disk: bool,
    /// The floor can stand in for a broker: it has one topic and one channel, stores nothing, and
    /// delivers one fixed message, so it has no latency.
    pub has_floor: bool,
    /// What the broker does when nothing more happens is measured, too.
    pub rests: bool,
}

impl Row {
    /// The topics and channels of this row on a broker.
    pub fn target(&self, broker: &Target) -> Target {
        let Setup { topics, channels, .. } = self.setup;
        Target { topics, channels, ..broker.clone() }
    }

    /// What `nsqd.dat` says when a broker starts that is to have many topics: made one by one,
    /// that file would be written as often, and the original's memory be full of its garbage.
    pub fn metadata(&self) -> Option<String> {
        if self.setup.topics == 1 {
            return None;
        }
        let channel = |name: &String| json!({"name": name, "paused": false});
        let channels: Vec<_> = match self.load {
            Load::Store(..) => numbered(NAME, self.setup.channels).iter().map(channel).collect(),
            _ => Vec::new(),
        };
        let topic = |name| json!({"name": name, "paused": false, "channels": channels.clone()});
        let topics: Vec<_> = numbered(NAME, self.setup.topics).iter().map(topic).collect();
        Some(json!({"version": "1.3.0", "topics": topics}).to_string())
    }

    /// It is about what a broker keeps, in memory and on disk.
    pub fn is_about_storage(&self) -> bool {
        self.setup.on_disk || self.setup.rests
    }
}

const PLAIN: Setup = Setup {
    topics: 1,
    channels: 1,
    durability: None,
    shoal: &[],
    original: &[],
    on_disk: false,
    has_floor: true,
    rests: false,
};

/// Only with a real broker.
const REAL: Setup = Setup { has_floor: false, ..PLAIN };

/// Every acknowledged message is on the disk, or about to be synced.
const SYNCED: Setup = Setup {
    durability: Some(Durability::Synced),
    original: &["--sync-every=1", "--mem-queue-size=0"],
    on_disk: true,
    ..REAL
};

/// More than memory may hold.
const OVERFLOW: Setup = Setup {
    shoal: &["--memory-limit=256MB"],
    original: &["--mem-queue-size=0"],
    on_disk: true,
    ..REAL
};

/// Room for messages takes memory in each of the original's queues, so each has its default.
const QUIET: Setup =
    Setup { topics: 10_000, original: &["--mem-queue-size=10000"], rests: true, ..REAL };

/// Enough outstanding that both sides always have work, little enough to stay in cache.
const OUTSTANDING_MAX: u64 = 10_000;

const fn flow(publish: Publish, consumers: usize) -> Load {
    Load::Flow(Flow { publish, consumers, rdy: RDY, outstanding_max: OUTSTANDING_MAX })
}

const fn drain(amount: Amount) -> Load {
    Load::Drain { connections: 1, rdy: RDY, amount }
}

const fn rate(per_second: f64) -> Load {
    Load::EndToEnd(Rate {
        per_second,
        producers: 4,
        consumers: 1,
        rdy: RDY,
        size: SIZE,
        spin: false,
    })
}

/// All rows, in the order of the table.
pub const ROWS: &[Row] = &[
    Row {
        name: "mpub",
        title: "MPUB of 200, backlog growing",
        goal: Goal::CpuUs(0.30),
        load: Load::Publish(MPUB),
        setup: PLAIN,
    },
    Row {
        name: "pub",
        title: "PUB, 64 pipelined, 4 connections",
        goal: Goal::CpuUs(0.30),
        load: Load::Publish(PUB),
        setup: PLAIN,
    },
    Row {
        name: "sub",
        title: "SUB, RDY 2500, with FIN",
        goal: Goal::CpuUs(0.15),
        load: drain(Amount::Lasting),
        setup: PLAIN,
    },
    Row {
        name: "flow-mpub",
        title: "steady flow MPUB → SUB",
        goal: Goal::CpuUs(0.25),
        load: flow(MPUB, 2),
        setup: PLAIN,
    },
    Row {
        name: "flow-pub",
        title: "steady flow PUB → SUB",
        goal: Goal::CpuUs(0.40),
        load: flow(PUB, 2),
        setup: PLAIN,
    },
    Row {
        name: "pub1",
        title: "PUB, one at a time, 8 connections",
        goal: Goal::CpuUs(8.0),
        load: Load::Publish(PUB_ONE),
        setup: PLAIN,
    },
    Row {
        name: "rdy1",
        title: "RDY 1, FIN, next, 8 connections",
        goal: Goal::CpuUs(10.0),
        load: Load::OneByOne { connections: 8 },
        setup: PLAIN,
    },
    Row {
        name: "mpub-4k",
        title: "MPUB of 16 × 4 KiB, backlog growing",
        goal: Goal::CpuUs(3.0),
        load: Load::Publish(MPUB_4K),
        setup: PLAIN,
    },
    Row {
        name: "http",
        title: "HTTP /pub, keep-alive, 32 connections",
        goal: Goal::CpuUs(9.0),
        load: Load::Publish(HTTP),
        setup: PLAIN,
    },
    Row {
        name: "hot-16",
        title: "steady flow MPUB → 16 consumers of one channel",
        goal: Goal::Told,
        load: flow(MPUB, 16),
        setup: PLAIN,
    },
    Row {
        name: "fanout-8",
        title: "steady flow MPUB → 8 channels, for each delivery",
        goal: Goal::Told,
        load: flow(MPUB, 8),
        setup: Setup { channels: 8, ..REAL },
    },
    Row {
        name: "synced-pub-1",
        title: "PUB, synced, 20 × 64 under way, 1 topic",
        goal: Goal::Told,
        load: Load::Publish(PUB_MANY),
        setup: SYNCED,
    },
    Row {
        name: "synced-pub-1000",
        title: "PUB, synced, 20 × 64 under way, 1,000 topics",
        goal: Goal::Told,
        load: Load::Publish(PUB_MANY),
        setup: Setup { topics: 1000, ..SYNCED },
    },
    Row {
        name: "overflow-fill",
        title: "MPUB of 200 beyond memory",
        goal: Goal::Told,
        load: Load::Store(MPUB, Amount::Asked),
        setup: OVERFLOW,
    },
    Row {
        name: "overflow-drain",
        title: "SUB, RDY 2500, of a backlog beyond memory",
        goal: Goal::Told,
        load: drain(Amount::Asked),
        setup: OVERFLOW,
    },
    Row {
        name: "lagging-8",
        title: "MPUB of 200 beyond memory, 8 channels that lag",
        goal: Goal::Told,
        load: Load::Store(MPUB, Amount::Asked),
        setup: Setup { channels: 8, ..OVERFLOW },
    },
    Row {
        name: "quiet-topics",
        title: "10,000 topics with a channel and a message each",
        goal: Goal::Told,
        load: Load::Store(PUB_IN_TURN, Amount::Fixed(10_000)),
        setup: QUIET,
    },
    Row {
        name: "deferred-million",
        title: "1 million DPUB, put off by an hour",
        goal: Goal::Told,
        load: Load::Store(DPUB, Amount::Fixed(1_000_000)),
        setup: Setup { rests: true, ..REAL },
    },
    Row {
        name: "e2e-1k",
        title: "end to end at 1,000 msg/s",
        goal: Goal::LatencyMs { p50: 0.2, p99: 1.0 },
        load: rate(1_000.0),
        setup: REAL,
    },
    Row {
        name: "e2e-100k",
        title: "end to end at 100,000 msg/s",
        goal: Goal::LatencyMs { p50: 0.2, p99: 2.0 },
        load: rate(100_000.0),
        setup: REAL,
    },
];
