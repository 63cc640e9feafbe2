//! The rows of the comparison: what is done to a broker, and what is expected of it.

use loadtest::Timing;
use loadtest::consume::Consume;
use loadtest::e2e::Rate;
use loadtest::flow::Flow;
use loadtest::producer::{Publish, Request};

/// Bytes of a body, except where a row says otherwise.
const SIZE: usize = 200;

/// `RDY` of a consumer that is kept busy.
const RDY: u32 = 2500;

/// Messages filled in for each second that a drain is to last at most; a broker that is faster
/// than this is measured over less than the window.
const DRAIN_PER_SECOND: f64 = 700_000.0;

/// The same for consumers that take one message at a time.
const ONE_BY_ONE_PER_SECOND: f64 = 400_000.0;

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
}

/// What is expected of Shoal.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// CPU time of the broker for one message, at most.
    CpuUs(f64),
    /// Latency, at most.
    LatencyMs {
        /// Of half of the messages.
        p50: f64,
        /// Of 99 in a hundred.
        p99: f64,
    },
}

/// What is done to the broker.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// Publish; nobody consumes.
    Publish(Publish),
    /// Fill, then drain.
    Drain {
        /// Connections.
        connections: usize,
        /// `RDY` on each.
        rdy: u32,
    },
    /// Fill, then take one message at a time.
    OneByOne {
        /// Connections.
        connections: usize,
    },
    /// Publish and consume in balance.
    Flow(Flow),
    /// An open loop.
    EndToEnd(Rate),
}

impl Load {
    /// What a consuming row finds, so that it lasts for the warm-up and the window.
    pub fn consume(&self, timing: Timing) -> Option<Consume> {
        let (connections, rdy, per_second) = match *self {
            Self::Drain { connections, rdy } => (connections, rdy, DRAIN_PER_SECOND),
            Self::OneByOne { connections } => (connections, 1, ONE_BY_ONE_PER_SECOND),
            _ => return None,
        };
        let seconds = (timing.warmup + timing.window).as_secs_f64();
        let count = (seconds * per_second) as u64;
        Some(Consume { connections, rdy, count })
    }

    /// Bytes of a body.
    pub fn size(&self) -> usize {
        match self {
            Self::Publish(shape) => shape.size,
            _ => SIZE,
        }
    }

    /// The floor can stand in for a broker: it delivers one fixed message, so it has no latency.
    pub fn has_floor(&self) -> bool {
        !matches!(self, Self::EndToEnd(_))
    }
}

const MPUB: Publish =
    Publish { request: Request::Mpub(200), connections: 4, size: SIZE, in_flight: 2, together: 1 };

const PUB: Publish =
    Publish { request: Request::Pub, connections: 4, size: SIZE, in_flight: 64, together: 64 };

const PUB_ONE: Publish =
    Publish { request: Request::Pub, connections: 8, size: SIZE, in_flight: 1, together: 1 };

const MPUB_4K: Publish =
    Publish { request: Request::Mpub(16), connections: 4, size: 4096, in_flight: 2, together: 1 };

const HTTP: Publish =
    Publish { request: Request::Http, connections: 32, size: SIZE, in_flight: 1, together: 1 };

/// Enough outstanding that both sides always have work, little enough to stay in cache.
const OUTSTANDING_MAX: u64 = 10_000;

const fn flow(publish: Publish) -> Load {
    Load::Flow(Flow { publish, consumers: 2, rdy: RDY, outstanding_max: OUTSTANDING_MAX })
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
    },
    Row {
        name: "pub",
        title: "PUB, 64 pipelined, 4 connections",
        goal: Goal::CpuUs(0.30),
        load: Load::Publish(PUB),
    },
    Row {
        name: "sub",
        title: "SUB, RDY 2500, with FIN",
        goal: Goal::CpuUs(0.15),
        load: Load::Drain { connections: 1, rdy: RDY },
    },
    Row {
        name: "flow-mpub",
        title: "steady flow MPUB → SUB",
        goal: Goal::CpuUs(0.25),
        load: flow(MPUB),
    },
    Row {
        name: "flow-pub",
        title: "steady flow PUB → SUB",
        goal: Goal::CpuUs(0.40),
        load: flow(PUB),
    },
    Row {
        name: "pub1",
        title: "PUB, one at a time, 8 connections",
        goal: Goal::CpuUs(8.0),
        load: Load::Publish(PUB_ONE),
    },
    Row {
        name: "rdy1",
        title: "RDY 1, FIN, next, 8 connections",
        goal: Goal::CpuUs(10.0),
        load: Load::OneByOne { connections: 8 },
    },
    Row {
        name: "mpub-4k",
        title: "MPUB of 16 × 4 KiB, backlog growing",
        goal: Goal::CpuUs(3.0),
        load: Load::Publish(MPUB_4K),
    },
    Row {
        name: "http",
        title: "HTTP /pub, keep-alive, 32 connections",
        goal: Goal::CpuUs(9.0),
        load: Load::Publish(HTTP),
    },
    Row {
        name: "e2e-1k",
        title: "end to end at 1,000 msg/s",
        goal: Goal::LatencyMs { p50: 0.2, p99: 1.0 },
        load: rate(1_000.0),
    },
    Row {
        name: "e2e-100k",
        title: "end to end at 100,000 msg/s",
        goal: Goal::LatencyMs { p50: 0.2, p99: 2.0 },
        load: rate(100_000.0),
    },
];
