//! The rows themselves.

use loadtest::connections::Connections;
use loadtest::exchange::{Consuming, Pace, Publishing};
use loadtest::flow::Flow;
use loadtest::producer::{Publish, Request};
use loadtest::wrap::Compression;

use super::{Goal, Row, Setup};
use crate::broker::Durability;
use crate::load::{Amount, DPUB, HTTP, Load, MPUB, MPUB_4K, PUB, PUB_AT_HOME, PUB_IN_TURN};
use crate::load::{PUB_MANY, PUB_ONE, PUB_ROAMING, SPREAD_TOPICS};

/// `RDY` of a consumer that is kept busy.
const RDY: u32 = 2500;

const PLAIN: Setup = Setup {
    topics: 1,
    channels: 1,
    durability: None,
    shoal: &[],
    original: &[],
    on_disk: false,
    has_floor: true,
    rests: false,
    bounded: false,
    tls: false,
    compression: Compression::None,
    shards: 1,
};

/// Only with a real broker.
const REAL: Setup = Setup { has_floor: false, ..PLAIN };

/// An acknowledged message is queued.
const IN_MEMORY: Setup = Setup { durability: Some(Durability::Memory), ..REAL };

/// An acknowledged message was written.
const WRITTEN: Setup = Setup {
    durability: Some(Durability::Written),
    original: &["--mem-queue-size=0"],
    on_disk: true,
    ..REAL
};

/// An acknowledged message is on the disk, or about to be synced.
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

/// The same for topics in which something moves.
const BUSY: Setup = Setup { topics: 1000, original: &["--mem-queue-size=10000"], ..REAL };

/// A backlog that must not go to the disk.
const DEFERRED: Setup = Setup { rests: true, ..REAL };

/// Every limit is set: beside the row of the same load without any it says what that costs.
const BOUNDED: Setup = Setup { bounded: true, ..REAL };

const TLS: Setup = Setup { tls: true, ..REAL };

const SNAPPY: Setup = Setup { compression: Compression::Snappy, ..REAL };

/// At the level that the original chooses when it is not told one.
const DEFLATE: Setup = Setup { compression: Compression::Deflate(6), ..REAL };

/// Topics for one shard or several. Their messages stay in memory.
const SPREAD: Setup =
    Setup { topics: SPREAD_TOPICS, original: &["--mem-queue-size=1000000"], ..REAL };

const SPREAD_OVER_2: Setup = Setup { shards: 2, ..SPREAD };

/// Enough outstanding that both sides always have work, little enough to stay in cache.
const OUTSTANDING_MAX: u64 = 10_000;

const fn flow(publish: Publish, consumers: usize) -> Load {
    Load::Flow(Flow { publish, consumers, rdy: RDY, outstanding_max: OUTSTANDING_MAX })
}

const fn drain(amount: Amount) -> Load {
    Load::Drain { connections: 1, rdy: RDY, amount }
}

const fn exchange(pace: Pace, consumers: usize, rdy: u32) -> Load {
    let publishing = Publishing { request: Request::Pub, connections: 4, pace };
    let consuming =
        Consuming { connections: consumers, rdy, requeue_every: None, renew_every: None };
    Load::Exchange(publishing, consuming)
}

const fn rate(per_second: f64) -> Load {
    exchange(Pace::Rate { per_second, spin: false }, 1, RDY)
}

const CLOSED: Pace = Pace::Closed { in_flight: 64, outstanding_max: OUTSTANDING_MAX };

const IDLE: Load = Load::Idle(Connections { count: 10_000, subscribe: true });

const fn row(name: &'static str, title: &'static str, goal: Goal, load: Load, setup: Setup) -> Row {
    Row { name, title, goal, load, setup }
}

const fn us(limit: f64) -> Goal {
    Goal::CpuUs(limit)
}

/// All rows, in the order of the table.
pub const ROWS: &[Row] = &[
    row("mpub", "MPUB of 200, backlog growing", us(0.30), Load::Publish(MPUB), PLAIN),
    row("pub", "PUB, 64 pipelined, 4 connections", us(0.30), Load::Publish(PUB), PLAIN),
    row("sub", "SUB, RDY 2500, with FIN", us(0.15), drain(Amount::Lasting), PLAIN),
    row("flow-mpub", "steady flow MPUB → SUB", us(0.25), flow(MPUB, 2), PLAIN),
    row("flow-pub", "steady flow PUB → SUB", us(0.40), flow(PUB, 2), PLAIN),
    row("pub1", "PUB, one at a time, 8 connections", us(8.0), Load::Publish(PUB_ONE), PLAIN),
    row(
        "rdy1",
        "RDY 1, FIN, next, 8 connections",
        us(10.0),
        Load::OneByOne { connections: 8 },
        PLAIN,
    ),
    row("mpub-4k", "MPUB of 16 × 4 KiB, backlog growing", us(3.0), Load::Publish(MPUB_4K), PLAIN),
    row("http", "HTTP /pub, keep-alive, 32 connections", us(9.0), Load::Publish(HTTP), PLAIN),
    row("hot-1", "MPUB → 1 consumer of one channel", Goal::Told, flow(MPUB, 1), PLAIN),
    row("hot-4", "MPUB → 4 consumers of one channel", Goal::Told, flow(MPUB, 4), PLAIN),
    row("hot-16", "MPUB → 16 consumers of one channel", Goal::Told, flow(MPUB, 16), PLAIN),
    row("hot-64", "MPUB → 64 consumers of one channel", Goal::Told, flow(MPUB, 64), PLAIN),
    row(
        "fanout-8",
        "steady flow MPUB → 8 channels, for each delivery",
        Goal::Told,
        flow(MPUB, 8),
        Setup { channels: 8, ..REAL },
    ),
    row(
        "topics-1000",
        "steady flow PUB → SUB, 1,000 topics with a consumer each",
        Goal::Told,
        exchange(CLOSED, 1000, 100),
        BUSY,
    ),
    row(
        "bounded-flow-mpub",
        "steady flow MPUB → SUB, every limit set",
        Goal::Told,
        flow(MPUB, 2),
        BOUNDED,
    ),
    row(
        "bounded-flow-pub",
        "steady flow PUB → SUB, every limit set",
        Goal::Told,
        flow(PUB, 2),
        BOUNDED,
    ),
    row("tls-pub", "PUB over TLS, 64 pipelined", Goal::Told, Load::Publish(PUB), TLS),
    row("tls-flow", "steady flow MPUB → SUB over TLS", Goal::Told, flow(MPUB, 2), TLS),
    row("snappy-flow", "steady flow MPUB → SUB, snappy", Goal::Told, flow(MPUB, 2), SNAPPY),
    row("deflate-flow", "steady flow MPUB → SUB, deflate", Goal::Told, flow(MPUB, 2), DEFLATE),
    row(
        "spread-1",
        "steady flow PUB → SUB over 16 topics, 1 shard",
        Goal::Told,
        flow(PUB_AT_HOME, SPREAD_TOPICS),
        SPREAD,
    ),
    row(
        "spread-2",
        "steady flow PUB → SUB over 16 topics, 2 shards",
        Goal::TimesRow { factor: 1.1, of: "spread-1" },
        flow(PUB_AT_HOME, SPREAD_TOPICS),
        SPREAD_OVER_2,
    ),
    row(
        "home-2",
        "PUB, 64 pipelined, 16 connections to a topic of their own, 2 shards",
        Goal::Told,
        Load::Publish(PUB_AT_HOME),
        SPREAD_OVER_2,
    ),
    row(
        "roam-2",
        "PUB, 64 pipelined, 16 connections to 16 topics in turn, 2 shards",
        Goal::TimesRow { factor: 1.5, of: "home-2" },
        Load::Publish(PUB_ROAMING),
        SPREAD_OVER_2,
    ),
    row(
        "memory-pub",
        "PUB, memory, 20 × 64 under way",
        Goal::Told,
        Load::Publish(PUB_MANY),
        IN_MEMORY,
    ),
    row(
        "written-pub",
        "PUB, written, 20 × 64 under way",
        Goal::Told,
        Load::Publish(PUB_MANY),
        WRITTEN,
    ),
    row(
        "synced-pub-1",
        "PUB, synced, 20 × 64 under way, 1 topic",
        Goal::Told,
        Load::Publish(PUB_MANY),
        SYNCED,
    ),
    row(
        "synced-pub-1000",
        "PUB, synced, 20 × 64 under way, 1,000 topics",
        Goal::Told,
        Load::Publish(PUB_MANY),
        Setup { topics: 1000, ..SYNCED },
    ),
    row(
        "overflow-fill",
        "MPUB of 200 beyond memory",
        Goal::Told,
        Load::Store(MPUB, Amount::Asked),
        OVERFLOW,
    ),
    row(
        "overflow-drain",
        "SUB, RDY 2500, of a backlog beyond memory",
        Goal::Told,
        drain(Amount::Asked),
        OVERFLOW,
    ),
    row(
        "lagging-8",
        "MPUB of 200 beyond memory, 8 channels that lag",
        Goal::Told,
        Load::Store(MPUB, Amount::Asked),
        Setup { channels: 8, ..OVERFLOW },
    ),
    row(
        "quiet-topics",
        "10,000 topics with a channel and a message each",
        Goal::Told,
        Load::Store(PUB_IN_TURN, Amount::Fixed(10_000)),
        QUIET,
    ),
    row(
        "deferred-million",
        "1 million DPUB, put off by an hour",
        Goal::Told,
        Load::Store(DPUB, Amount::Fixed(1_000_000)),
        DEFERRED,
    ),
    row(
        "bounded-deferred-million",
        "1 million DPUB, put off by an hour, every limit set",
        Goal::Told,
        Load::Store(DPUB, Amount::Fixed(1_000_000)),
        Setup { bounded: true, ..DEFERRED },
    ),
    row("idle-10k", "10,000 idle consumers", Goal::IdleKib(2.0), IDLE, REAL),
    row(
        "e2e-1k",
        "end to end at 1,000 msg/s",
        Goal::LatencyMs { p50: 0.2, p99: 1.0 },
        rate(1_000.0),
        REAL,
    ),
    row(
        "e2e-100k",
        "end to end at 100,000 msg/s",
        Goal::LatencyMs { p50: 0.2, p99: 2.0 },
        rate(100_000.0),
        REAL,
    ),
];
