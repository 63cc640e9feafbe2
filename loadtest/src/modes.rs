//! The modes of the program: their options, and the shapes of load that these stand for.

use clap::{Args, Subcommand};
use loadtest::consume::Consume;
use loadtest::e2e::Rate;
use loadtest::flow::Flow;
use loadtest::producer::{Publish, Request};
use loadtest::{
    Error, Report, Result, Target, Timing, broker_stats, consume, e2e, flow, publish, setup,
};

/// What to do to the broker.
#[derive(Subcommand)]
pub enum Mode {
    /// MPUB in a closed loop; nobody consumes.
    Mpub(MpubArgs),
    /// PUB in a closed loop; nobody consumes.
    Pub(PubArgs),
    /// POST /pub, keep-alive, one at a time on each connection.
    Http(HttpArgs),
    /// Publishes a given count until all channels hold it; nobody consumes.
    Store(StoreArgs),
    /// Fills a topic, then drains it.
    Sub(SubArgs),
    /// Fills a topic, then takes one message at a time on each connection.
    Rdy1(Rdy1Args),
    /// Publishes and consumes at once, in balance.
    Flow(FlowArgs),
    /// Latency at a given rate, from the intended send time to the receipt.
    E2e(E2eArgs),
}

impl Mode {
    /// Runs the mode with bodies of `size` bytes.
    pub fn run(&self, target: &Target, size: usize, timing: Timing) -> Result<Report> {
        self.check(target)?;
        match self {
            Self::Mpub(args) => publish::run(target, args.shape(size), timing),
            Self::Pub(args) => publish::run(target, args.shape(size), timing),
            Self::Http(args) => publish::run(target, args.shape(size), timing),
            Self::Store(args) => args.run(target, size),
            Self::Sub(args) => args.run(target, size),
            Self::Rdy1(args) => args.run(target, size, timing),
            Self::Flow(args) => flow::run(target, args.shape(size), timing),
            Self::E2e(args) => e2e::run(target, args.shape(size), timing),
        }
    }
}

impl Mode {
    /// Refuses what a mode cannot do with several topics or channels.
    fn check(&self, target: &Target) -> Result<()> {
        let (topics, channels) = match self {
            Self::Mpub(_) | Self::Pub(_) | Self::Http(_) => (true, false),
            Self::Store(_) => (true, true),
            Self::Flow(_) => (false, true),
            Self::Sub(_) | Self::Rdy1(_) | Self::E2e(_) => (false, false),
        };
        if (target.topics > 1 && !topics) || (target.channels > 1 && !channels) {
            let text = "this mode has only one topic or channel".to_owned();
            return Err(Error::Unfit(text));
        }
        Ok(())
    }
}

/// Options of `mpub`.
#[derive(Args)]
pub struct MpubArgs {
    /// Connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Messages in a batch.
    #[arg(long, default_value_t = 200)]
    batch: usize,
    /// Batches under way on each connection.
    #[arg(long, default_value_t = 2)]
    in_flight: usize,
}

impl MpubArgs {
    fn shape(&self, size: usize) -> Publish {
        let Self { connections, batch, in_flight } = *self;
        let request = Request::Mpub(batch);
        Publish { request, connections, size, in_flight, together: 1 }
    }
}

/// Options of `pub`.
#[derive(Args)]
pub struct PubArgs {
    /// Connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// PUBs under way on each connection; 1: one at a time.
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Of these, send so many together as soon as so many are answered; the default is all.
    #[arg(long)]
    together: Option<usize>,
}

impl PubArgs {
    fn shape(&self, size: usize) -> Publish {
        let in_flight = self.in_flight;
        let together = self.together.unwrap_or(in_flight).clamp(1, in_flight);
        let request = Request::Pub;
        Publish { request, connections: self.connections, size, in_flight, together }
    }
}

/// Options of `http`.
#[derive(Args)]
pub struct HttpArgs {
    /// Connections.
    #[arg(long, default_value_t = 32)]
    connections: usize,
}

impl HttpArgs {
    fn shape(&self, size: usize) -> Publish {
        let connections = self.connections;
        Publish { request: Request::Http, connections, size, in_flight: 1, together: 1 }
    }
}

/// Options of `store`.
#[derive(Args)]
pub struct StoreArgs {
    /// Messages to publish.
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// Messages in an MPUB; 0: pipelined PUBs, or DPUBs.
    #[arg(long, default_value_t = 200)]
    batch: usize,
    /// Put each message off by so many milliseconds; needs --batch=0.
    #[arg(long)]
    defer_ms: Option<u64>,
    /// Connections.
    #[arg(long, default_value_t = 4)]
    connections: usize,
}

impl StoreArgs {
    fn run(&self, target: &Target, size: usize) -> Result<Report> {
        let (request, in_flight) = match (self.batch, self.defer_ms) {
            (0, None) => (Request::Pub, 64),
            (0, Some(defer_ms)) => (Request::Dpub(defer_ms), 64),
            (batch, None) => (Request::Mpub(batch), 2),
            _ => return Err(Error::Unfit("a batch cannot be put off".to_owned())),
        };
        let connections = self.connections;
        let shape = Publish { request, connections, size, in_flight, together: 1 };
        setup::create_channels(target)?;
        publish::store("store", target, shape, self.count)
    }
}

/// Options of `sub`.
#[derive(Args)]
pub struct SubArgs {
    /// Connections.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// RDY on each.
    #[arg(long, default_value_t = 2500)]
    rdy: u32,
    /// Messages to publish before the clock starts.
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
}

impl SubArgs {
    fn run(&self, target: &Target, size: usize) -> Result<Report> {
        let Self { connections, rdy, count } = *self;
        let count = fill(target, count, size)?;
        consume::run("sub", target, Consume { connections, rdy, count }, Timing::WHOLE)
    }
}

/// Options of `rdy1`.
#[derive(Args)]
pub struct Rdy1Args {
    /// Connections.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Messages to publish before the clock starts.
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
}

impl Rdy1Args {
    fn run(&self, target: &Target, size: usize, timing: Timing) -> Result<Report> {
        let Self { connections, count } = *self;
        let count = fill(target, count, size)?;
        consume::run("rdy1", target, Consume { connections, rdy: 1, count }, timing)
    }
}

/// Options of `flow`.
#[derive(Args)]
pub struct FlowArgs {
    /// Connections that publish.
    #[arg(long, default_value_t = 4)]
    producers: usize,
    /// Connections that consume.
    #[arg(long, default_value_t = 1)]
    consumers: usize,
    /// Messages in an MPUB; 0: pipelined PUBs.
    #[arg(long, default_value_t = 200)]
    batch: usize,
    /// Requests under way on each producing connection.
    #[arg(long, default_value_t = 2)]
    in_flight: usize,
    /// RDY on each consuming connection.
    #[arg(long, default_value_t = 2500)]
    rdy: u32,
    /// Messages sent and not yet received, at most.
    #[arg(long, default_value_t = 10_000)]
    outstanding: u64,
}

impl FlowArgs {
    fn shape(&self, size: usize) -> Flow {
        let in_flight = self.in_flight;
        let (request, together) = match self.batch {
            0 => (Request::Pub, in_flight),
            batch => (Request::Mpub(batch), 1),
        };
        let publish = Publish { request, connections: self.producers, size, in_flight, together };
        let outstanding_max = self.outstanding;
        Flow { publish, consumers: self.consumers, rdy: self.rdy, outstanding_max }
    }
}

/// Options of `e2e`.
#[derive(Args)]
pub struct E2eArgs {
    /// Messages a second.
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// Connections that publish.
    #[arg(long, default_value_t = 4)]
    producers: usize,
    /// Connections that consume.
    #[arg(long, default_value_t = 1)]
    consumers: usize,
    /// RDY on each consuming connection.
    #[arg(long, default_value_t = 2500)]
    rdy: u32,
    /// Never sleep: needs a core of its own.
    #[arg(long)]
    spin: bool,
}

impl E2eArgs {
    fn shape(&self, size: usize) -> Rate {
        let Self { rate, producers, consumers, rdy, spin } = *self;
        Rate { per_second: rate, producers, consumers, rdy, size, spin }
    }
}

/// Publishes what a consuming mode will take, and waits until the channel holds it.
fn fill(target: &Target, count: u64, size: usize) -> Result<u64> {
    consume::create_channel(target)?;
    let count = publish::fill(target, count, size)?;
    broker_stats::wait_for_depth(target, count)?;
    Ok(count)
}
