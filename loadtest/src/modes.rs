//! The modes of the program: their options, and the shapes of load that these stand for.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use loadtest::connections::{self, Connections};
use loadtest::exchange::{self, Consuming, Exchange, Pace, Publishing};
use loadtest::producer::Request;
use loadtest::{Error, Report, Result, Target, Timing, consumer, setup};

use crate::options::Common;
use crate::progress::Progress;

/// What to do to the broker.
#[derive(Subcommand)]
pub enum Mode {
    /// PUB; nobody consumes.
    Pub(PubArgs),
    /// MPUB; nobody consumes.
    Mpub(MpubArgs),
    /// POST /pub over connections that stay open, one at a time on each; nobody consumes.
    Http(HttpArgs),
    /// Fills a topic, then drains it.
    Sub(SubArgs),
    /// Publishes and consumes: latency from the intended send to the receipt.
    #[command(visible_alias = "end-to-end")]
    E2e(E2eArgs),
    /// The same over many topics, each with a consumer.
    Topics(E2eArgs),
    /// Opens connections that do nothing.
    Connections(ConnectionsArgs),
    /// Publishes and consumes for long, with requeues and with consumers that come and go.
    Soak(SoakArgs),
}

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// So many messages a second, in an open loop.
    PerSecond(f64),
    /// As fast as it goes, in a closed loop.
    Max,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (number, factor) = match (text.strip_suffix('k'), text.strip_suffix('M')) {
            _ if text == "max" => return Ok(Self::Max),
            (Some(number), _) => (number, 1e3),
            (_, Some(number)) => (number, 1e6),
            _ => (text, 1.0),
        };
        match number.parse::<f64>() {
            Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(Self::PerSecond(rate * factor)),
            _ => Err("neither a number of messages a second nor max".to_owned()),
        }
    }
}

impl Rate {
    fn pace(self, in_flight: usize, outstanding_max: u64) -> Pace {
        match self {
            Self::PerSecond(per_second) => Pace::Rate { per_second, spin: false },
            Self::Max => Pace::Closed { in_flight, outstanding_max },
        }
    }
}

/// Options of `pub`.
#[derive(Args)]
pub struct PubArgs {
    /// Messages a second, or max for a closed loop.
    #[arg(long, default_value = "10k")]
    rate: Rate,
    /// Connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// PUBs under way on each connection of a closed loop; 1: one at a time.
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
}

/// Options of `mpub`.
#[derive(Args)]
pub struct MpubArgs {
    /// Messages a second, or max for a closed loop.
    #[arg(long, default_value = "100k")]
    rate: Rate,
    /// Connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Messages in a batch.
    #[arg(long, default_value_t = 200)]
    batch: usize,
    /// Batches under way on each connection of a closed loop.
    #[arg(long, default_value_t = 2)]
    in_flight: usize,
}

/// Options of `http`.
#[derive(Args)]
pub struct HttpArgs {
    /// Messages a second, or max for a closed loop.
    #[arg(long, default_value = "5k")]
    rate: Rate,
    /// Connections.
    #[arg(long, default_value_t = 32)]
    connections: usize,
}

/// Options of `sub`.
#[derive(Args)]
pub struct SubArgs {
    /// Connections.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// RDY on each; 1: a message, its FIN, the next.
    #[arg(long, default_value_t = 2500)]
    rdy: u32,
}

/// Options of `e2e` and `topics`.
#[derive(Args)]
pub struct E2eArgs {
    /// Messages a second, or max for a closed loop.
    #[arg(long, default_value = "1k")]
    rate: Rate,
    /// Connections that publish.
    #[arg(long, default_value_t = 4)]
    producers: usize,
    /// Connections that consume, over the topics and channels in turn; the default is one for each.
    #[arg(long)]
    consumers: Option<usize>,
    /// Messages in an MPUB; 0: PUBs.
    #[arg(long, default_value_t = 0)]
    batch: usize,
    /// Requests under way on each producing connection of a closed loop; the default is 64 PUBs or
    /// 2 MPUBs.
    #[arg(long)]
    in_flight: Option<usize>,
    /// RDY on each consuming connection.
    #[arg(long, default_value_t = 2500)]
    rdy: u32,
    /// Messages sent and not yet received in a closed loop, at most.
    #[arg(long, default_value_t = 10_000)]
    outstanding: u64,
    /// Never sleep: needs a core of its own.
    #[arg(long)]
    spin: bool,
}

/// Options of `connections`.
#[derive(Args)]
pub struct ConnectionsArgs {
    /// They subscribe, too.
    #[arg(long)]
    subscribe: bool,
}

/// Options of `soak`.
#[derive(Args)]
pub struct SoakArgs {
    /// Messages a second.
    #[arg(long, default_value = "1k")]
    rate: Rate,
    /// Connections that publish.
    #[arg(long, default_value_t = 4)]
    producers: usize,
    /// Connections that consume.
    #[arg(long, default_value_t = 4)]
    consumers: usize,
    /// RDY on each of them.
    #[arg(long, default_value_t = 100)]
    rdy: u32,
    /// Put every so many-th message back once; 0: none.
    #[arg(long, default_value_t = 100)]
    requeue_every: u64,
    /// Seconds between two consumers that leave and come back; 0: none does.
    #[arg(long, default_value_t = 1.0)]
    reconnect_every: f64,
}

/// Topics of `topics`, unless somebody says otherwise.
const TOPICS: usize = 1000;

/// Seconds of `soak`, unless somebody says otherwise.
const SOAK_S: f64 = 600.0;

/// Connections of `connections`, unless somebody says otherwise.
const CONNECTIONS: u64 = 1000;

/// Messages of `sub`, unless somebody says otherwise.
const DRAINED: u64 = 1_000_000;

impl Mode {
    /// Runs it.
    pub fn run(&self, common: &Common, target: &Target, progress: &mut Progress) -> Result<Report> {
        progress.start(self.name());
        self.check(common)?;
        match self {
            Self::Pub(args) => {
                let pace = args.rate.pace(args.in_flight, u64::MAX);
                let publish =
                    Publishing { request: Request::Pub, connections: args.connections, pace };
                self.exchange(common, target, (Some(publish), None), progress)
            }
            Self::Mpub(args) => {
                let pace = args.rate.pace(args.in_flight, u64::MAX);
                let request = Request::Mpub(args.batch);
                let publish = Publishing { request, connections: args.connections, pace };
                self.exchange(common, target, (Some(publish), None), progress)
            }
            Self::Http(args) => {
                let pace = args.rate.pace(1, u64::MAX);
                let publish =
                    Publishing { request: Request::Http, connections: args.connections, pace };
                self.exchange(common, target, (Some(publish), None), progress)
            }
            Self::Sub(args) => drain(args, common, target, progress),
            Self::E2e(args) => self.exchange(common, target, args.sides(target), progress),
            Self::Topics(args) => {
                let topics = common.topics().unwrap_or(TOPICS);
                let target = Target { topics, ..target.clone() };
                // Otherwise those that come late would wait for their topics' making.
                setup::create_channels(&target)?;
                self.exchange(common, &target, args.sides(&target), progress)
            }
            Self::Connections(args) => {
                let count = common.count_or(CONNECTIONS) as usize;
                let shape = Connections { count, subscribe: args.subscribe };
                connections::run(target, shape, common.timing()?, progress)
            }
            Self::Soak(args) => self.exchange(common, target, args.sides(target)?, progress),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Pub(_) => "pub",
            Self::Mpub(_) => "mpub",
            Self::Http(_) => "http",
            Self::Sub(_) => "sub",
            Self::E2e(_) => "e2e",
            Self::Topics(_) => "topics",
            Self::Connections(_) => "connections",
            Self::Soak(_) => "soak",
        }
    }

    /// Refuses what a mode has no use for.
    fn check(&self, common: &Common) -> Result<()> {
        let publishes_only = matches!(self, Self::Pub(_) | Self::Mpub(_) | Self::Http(_));
        if common.channels().is_some() && publishes_only {
            return Err(Error::Unfit("nobody consumes: there are no channels".to_owned()));
        }
        let more_than_one = common.topics().max(common.channels()) > Some(1);
        if matches!(self, Self::Sub(_)) && more_than_one {
            return Err(Error::Unfit("sub has one topic and one channel".to_owned()));
        }
        Ok(())
    }

    fn exchange(
        &self,
        common: &Common,
        target: &Target,
        (publish, consume): (Option<Publishing>, Option<Consuming>),
        progress: &mut Progress,
    ) -> Result<Report> {
        let timing = match self {
            Self::Soak(_) => common.timing_or(SOAK_S)?,
            _ => common.timing()?,
        };
        let (bodies, count) = (common.bodies()?, common.count());
        let shape = Exchange { publish, consume, bodies, backlog: 0, timing, count };
        exchange::run(self.name(), target, &shape, progress)
    }
}

impl E2eArgs {
    fn sides(&self, target: &Target) -> (Option<Publishing>, Option<Consuming>) {
        let (request, in_flight) = match self.batch {
            0 => (Request::Pub, 64),
            batch => (Request::Mpub(batch), 2),
        };
        let mut pace = self.rate.pace(self.in_flight.unwrap_or(in_flight), self.outstanding);
        if let Pace::Rate { spin, .. } = &mut pace {
            *spin = self.spin;
        }
        let publish = Publishing { request, connections: self.producers, pace };
        let consume = Consuming {
            connections: self.consumers.unwrap_or(target.topics * target.channels),
            rdy: self.rdy,
            requeue_every: None,
            renew_every: None,
        };
        (Some(publish), Some(consume))
    }
}

impl SoakArgs {
    fn sides(&self, target: &Target) -> Result<(Option<Publishing>, Option<Consuming>)> {
        let every = Duration::try_from_secs_f64(self.reconnect_every)
            .map_err(|error| Error::Unfit(format!("--reconnect-every: {error}")))?;
        let pace = self.rate.pace(64, 10_000);
        let publish = Publishing { request: Request::Pub, connections: self.producers, pace };
        let consume = Consuming {
            connections: self.consumers.max(target.topics * target.channels),
            rdy: self.rdy,
            requeue_every: (self.requeue_every > 0).then_some(self.requeue_every),
            renew_every: (!every.is_zero()).then_some(every),
        };
        Ok((Some(publish), Some(consume)))
    }
}

/// Fills, then drains: the whole drain is counted, from the first RDY on.
fn drain(
    args: &SubArgs,
    common: &Common,
    target: &Target,
    progress: &mut Progress,
) -> Result<Report> {
    consumer::create_channel(target)?;
    let bodies = common.bodies()?;
    let backlog = exchange::fill(target, &bodies, common.count_or(DRAINED), progress)?;
    progress.start("sub");
    let SubArgs { connections, rdy } = *args;
    let consume = Consuming { connections, rdy, requeue_every: None, renew_every: None };
    let timing = Timing { warmup: Duration::ZERO, window: DRAIN_MAX };
    let shape =
        Exchange { publish: None, consume: Some(consume), bodies, backlog, timing, count: 0 };
    exchange::run("sub", target, &shape, progress)
}

/// A drain is given up after so long.
const DRAIN_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_numbers_or_max() {
        for (text, rate) in [
            ("1", Rate::PerSecond(1.0)),
            ("10k", Rate::PerSecond(10_000.0)),
            ("1.5M", Rate::PerSecond(1_500_000.0)),
            ("max", Rate::Max),
        ] {
            assert_eq!(text.parse(), Ok(rate), "{text}");
        }
        for text in ["", "0", "-1", "k", "inf", "NaN", "fast"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }
}
