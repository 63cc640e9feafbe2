//! What an exchange is asked to do.

use std::sync::Arc;
use std::time::Duration;

use crate::body::Bodies;
use crate::producer::Request;
use crate::{Error, Result, Target, Timing};

/// Half of what a drain may take at the least.
const DRAIN_MIN: Duration = Duration::from_secs(10);

/// How fast messages are sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// When they are due: an open loop.
    Rate {
        /// Messages a second over all connections.
        per_second: f64,
        /// Look at the sockets without sleeping: the driver's own wake-ups are then not measured
        /// with the broker's, at the price of a whole core.
        spin: bool,
    },
    /// As soon as there is room: a closed loop.
    Closed {
        /// Requests under way on each connection.
        in_flight: usize,
        /// Messages sent and not received, at most, where somebody consumes.
        outstanding_max: u64,
    },
}

/// The publishing side.
#[derive(Clone, Copy, Debug)]
pub struct Publishing {
    /// What each request is.
    pub request: Request,
    /// How many connections.
    pub connections: usize,
    /// How fast.
    pub pace: Pace,
}

/// The consuming side.
#[derive(Clone, Copy, Debug)]
pub struct Consuming {
    /// How many connections, over all topics and channels in turn.
    pub connections: usize,
    /// `RDY` on each.
    pub rdy: u32,
    /// Put every so many-th message back once, to have it delivered again.
    pub requeue_every: Option<u64>,
    /// Take a connection up anew every so often.
    pub renew_every: Option<Duration>,
}

/// An exchange.
#[derive(Clone)]
pub struct Exchange {
    /// Nothing is published without it.
    pub publish: Option<Publishing>,
    /// Nothing is consumed without it.
    pub consume: Option<Consuming>,
    /// What the messages are.
    pub bodies: Arc<Bodies>,
    /// So many of them were published before and are to be consumed, too.
    pub backlog: u64,
    /// How long.
    pub timing: Timing,
    /// Messages to publish, at most.
    pub count: u64,
}

impl Pace {
    /// The rate of an open loop.
    pub fn per_second(self) -> Option<f64> {
        match self {
            Self::Rate { per_second, .. } => Some(per_second),
            Self::Closed { .. } => None,
        }
    }

    /// Requests under way on a connection, at most. HTTP has one at a time; the others wait for a
    /// connection, and the time they wait is theirs.
    pub(super) fn in_flight(self, request: Request) -> usize {
        match self {
            _ if request == Request::Http => 1,
            Self::Rate { .. } => usize::MAX,
            Self::Closed { in_flight, .. } => in_flight,
        }
    }
}

impl Exchange {
    /// Publishes `count` messages by large batches; nobody consumes.
    pub(super) fn filling(bodies: Arc<Bodies>, count: u64) -> Self {
        /// Bytes of a batch, about: quick, and small enough for any limit on a body.
        const BATCH_BYTES: usize = 40_000;
        let batch = (BATCH_BYTES / bodies.size_max()).clamp(1, 200);
        let pace = Pace::Closed { in_flight: 2, outstanding_max: u64::MAX };
        let request = Request::Mpub(batch);
        let publish = Some(Publishing { request, connections: 2, pace });
        Self { publish, consume: None, bodies, backlog: 0, timing: Timing::WHOLE, count }
    }

    /// What is under way when sending ends may take so long: a broker that cannot keep up has at
    /// least as long again as it had.
    pub(super) fn drain_max(&self) -> Duration {
        match self.publish {
            Some(_) => self.timing.window.max(DRAIN_MIN).saturating_mul(2),
            None => self.timing.warmup.saturating_add(self.timing.window),
        }
    }

    /// Refuses what cannot come to a good end.
    pub(super) fn check(&self, target: &Target) -> Result<()> {
        let unfit = |text: &str| Err(Error::Unfit(text.to_owned()));
        if let Some(publish) = self.publish {
            let is_positive = publish.pace.per_second().is_none_or(|rate| rate > 0.0);
            if !is_positive || publish.connections == 0 || publish.request.messages() == 0 {
                return unfit("a rate, a batch and a number of connections are more than 0");
            }
            if let Pace::Closed { in_flight, outstanding_max } = publish.pace
                && (in_flight == 0 || outstanding_max < publish.request.messages())
            {
                return unfit("not even one request may be under way");
            }
        }
        if let Some(consume) = self.consume {
            if consume.connections < target.topics * target.channels {
                return unfit("a channel without a consumer");
            }
            if consume.rdy == 0 || consume.requeue_every == Some(0) {
                return unfit("RDY and the distance of requeues are more than 0");
            }
        }
        if self.backlog > 0 && target.topics > 1 {
            return unfit("a backlog is of one topic");
        }
        if self.bodies.size_max() as u64 * self.publish.map_or(1, |one| one.request.messages())
            > u64::from(u32::MAX / 2)
        {
            return unfit("a batch is larger than the protocol can say");
        }
        Ok(())
    }
}
