//! What is done to a broker in a row, and how much of it.

use loadtest::Timing;
use loadtest::connections::Connections;
use loadtest::consume::Consume;
use loadtest::exchange::{Consuming, Publishing};
use loadtest::flow::Flow;
use loadtest::producer::{Publish, Request};

/// Bytes of a body, except where a row says otherwise.
pub const SIZE: usize = 200;

/// Topics of the rows that are spread over shards: enough that none of a few shards has much less.
pub const SPREAD_TOPICS: usize = 16;

/// Messages filled in for each second that a drain is to last at most; a broker that is faster
/// than this is measured over less than the window.
const DRAIN_PER_SECOND: f64 = 700_000.0;

/// The same for consumers that take one message at a time.
const ONE_BY_ONE_PER_SECOND: f64 = 400_000.0;

/// How much is done: what the options of a run say.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// For rows that last as long as it says.
    pub timing: Timing,
    /// Messages of the rows that store so many as are asked for.
    pub messages: u64,
}

/// How many messages.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    /// As many as are likely to last for the warm-up and the window.
    Lasting,
    /// As many as the run asks for.
    Asked,
    /// So many.
    Fixed(u64),
}

/// What is done to the broker.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// Publish; nobody consumes.
    Publish(Publish),
    /// Publish so many, until the channels hold them all; nobody consumes.
    Store(Publish, Amount),
    /// Fill, then drain.
    Drain {
        /// Connections.
        connections: usize,
        /// `RDY` on each.
        rdy: u32,
        /// What is filled in.
        amount: Amount,
    },
    /// Fill, then take one message at a time.
    OneByOne {
        /// Connections.
        connections: usize,
    },
    /// Publish and consume in balance.
    Flow(Flow),
    /// Publish and consume messages that can be told apart, so that their latency is known.
    Exchange(Publishing, Consuming),
    /// Connections that do nothing.
    Idle(Connections),
}

impl Amount {
    /// In messages, where a second lasts for `per_second` of them.
    pub fn messages(self, extent: Extent, per_second: f64) -> u64 {
        let Timing { warmup, window } = extent.timing;
        match self {
            Self::Lasting => ((warmup + window).as_secs_f64() * per_second) as u64,
            Self::Asked => extent.messages,
            Self::Fixed(messages) => messages,
        }
    }
}

impl Load {
    /// What a consuming row finds.
    pub fn consume(&self, extent: Extent) -> Option<Consume> {
        match *self {
            Self::Drain { connections, rdy, amount } => {
                let count = amount.messages(extent, DRAIN_PER_SECOND);
                Some(Consume { connections, rdy, count })
            }
            Self::OneByOne { connections } => {
                let count = Amount::Lasting.messages(extent, ONE_BY_ONE_PER_SECOND);
                Some(Consume { connections, rdy: 1, count })
            }
            _ => None,
        }
    }

    /// Bytes of a body.
    pub fn size(&self) -> usize {
        match self {
            Self::Publish(shape) | Self::Store(shape, _) => shape.size,
            _ => SIZE,
        }
    }

    /// Messages pile up, many of them under way at a time: only disks and memory set a limit.
    pub fn is_growing(&self) -> bool {
        match self {
            Self::Publish(shape) => shape.in_flight > 1,
            Self::Store(..) => true,
            _ => false,
        }
    }
}

/// Many at once on few connections.
pub const PUB: Publish = Publish {
    request: Request::Pub,
    connections: 4,
    size: SIZE,
    in_flight: 64,
    together: 64,
    stays: false,
};

/// 200 in an MPUB.
pub const MPUB: Publish = Publish { request: Request::Mpub(200), in_flight: 2, together: 1, ..PUB };

/// One at a time.
pub const PUB_ONE: Publish = Publish { connections: 8, in_flight: 1, together: 1, ..PUB };

/// Large bodies.
pub const MPUB_4K: Publish = Publish { request: Request::Mpub(16), size: 4096, ..MPUB };

/// One at a time, over HTTP.
pub const HTTP: Publish = Publish { request: Request::Http, connections: 32, ..PUB_ONE };

/// Many publishers that each go on as soon as an answer comes: what shares a sync is the broker's
/// choice.
pub const PUB_MANY: Publish = Publish { connections: 20, together: 1, ..PUB };

/// As many connections as topics, each with a topic of its own.
pub const PUB_AT_HOME: Publish = Publish { connections: SPREAD_TOPICS, stays: true, ..PUB };

/// As many connections, each of which publishes to all those topics in turn.
pub const PUB_ROAMING: Publish = Publish { stays: false, ..PUB_AT_HOME };

/// On one connection, so that of several topics none has its second message before all have one.
pub const PUB_IN_TURN: Publish = Publish { connections: 1, ..PUB };

/// Put off by an hour, which is the longest that both brokers allow.
pub const DPUB: Publish = Publish { request: Request::Dpub(3_600_000), ..PUB };
