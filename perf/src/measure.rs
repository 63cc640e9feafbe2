//! One measurement: a fresh broker, one row, and whether the broker's own counts agree.

use std::sync::Arc;
use std::time::{Duration, Instant};

use loadtest::body::{Bodies, Sizes};
use loadtest::broker_stats::{self, TopicStats};
use loadtest::exchange::{self, Consuming, Exchange, Publishing};
use loadtest::report::Ending;
use loadtest::watch::Nobody;
use loadtest::{Error, Report, Result, Target, Timing};
use loadtest::{connections, consume, flow, publish, setup};

use crate::load::{Extent, Load, SIZE};
use crate::rows::Row;
use crate::storage::{self, Rest};

/// Counts in `/stats` may lag behind answers for so long.
const SETTLE_MAX: Duration = Duration::from_secs(3);

/// A report, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// What was measured.
    pub report: Report,
    /// Why the figures cannot be trusted.
    pub problem: Option<String>,
    /// Messages that the broker said were on disk at the end.
    pub on_disk: u64,
    /// The broker at rest, if the row waits for that.
    pub rest: Option<Rest>,
}

/// Runs one row against a broker; `check` compares its own counts with the driver's.
pub fn run(row: &Row, broker: &Target, extent: Extent, check: bool) -> Result<Measured> {
    let target = &row.target(broker);
    let (report, filled) = load(row, target, extent, check)?;
    // Before the broker is asked for its counts, which takes memory for thousands of topics.
    let rest = match target.broker_pid {
        Some(pid) if row.setup.rests => Some(storage::rest(pid)?),
        _ => None,
    };
    let (problem, on_disk) = if check { verify(row, target, &report, filled)? } else { (None, 0) };
    let problem = problem.or_else(|| fault(&report));
    Ok(Measured { report, problem, on_disk, rest })
}

/// The report, and how many messages were filled in before the clock started.
fn load(row: &Row, target: &Target, extent: Extent, check: bool) -> Result<(Report, u64)> {
    let timing = extent.timing;
    if let Some(mut shape) = row.load.consume(extent) {
        consume::create_channel(target)?;
        shape.count = publish::fill(target, shape.count, row.load.size())?;
        if check {
            broker_stats::wait_for_depth(target, shape.count)?;
        }
        let timing = match row.load {
            // The whole drain, to the last FIN.
            Load::Drain { .. } => Timing::WHOLE,
            _ => timing,
        };
        return Ok((consume::run(row.name, target, shape, timing)?, shape.count));
    }
    let report = match row.load {
        Load::Publish(shape) => publish::run(target, shape, timing)?,
        Load::Store(shape, amount) => {
            // Many topics are there from the start.
            if target.topics == 1 {
                setup::create_channels(target)?;
            }
            publish::store(row.name, target, shape, amount.messages(extent, 0.0))?
        }
        Load::Flow(shape) => flow::run(target, shape, timing)?,
        Load::Exchange(publishing, consuming) => {
            exchange(row, target, (publishing, consuming), timing)?
        }
        Load::Idle(shape) => {
            setup::create_channels(target)?;
            connections::run(target, shape, timing, &mut Nobody)?
        }
        Load::Drain { .. } | Load::OneByOne { .. } => {
            return Err(Error::Protocol(format!("{} is a consuming row", row.name)));
        }
    };
    Ok((report, 0))
}

/// Messages with numbers; a run that broke off is an error.
fn exchange(
    row: &Row,
    target: &Target,
    (publishing, consuming): (Publishing, Consuming),
    timing: Timing,
) -> Result<Report> {
    let shape = Exchange {
        publish: Some(publishing),
        consume: Some(consuming),
        // Checksums would be the driver's work; numbers are enough to see what is lost.
        bodies: Arc::new(Bodies::new(Sizes::Fixed(SIZE), false)?),
        backlog: 0,
        timing,
        count: u64::MAX,
    };
    let report = exchange::run(row.name, target, &shape, &mut Nobody)?;
    match &report.ending {
        Ending::Complete => Ok(report),
        Ending::Failed(text) => Err(Error::Stalled(text.clone())),
        ending => Err(Error::Stalled(format!("ended as {ending:?}"))),
    }
}

/// What the broker's own counts say against the driver's, and what it has on disk.
fn verify(
    row: &Row,
    target: &Target,
    report: &Report,
    filled: u64,
) -> Result<(Option<String>, u64)> {
    let begun = Instant::now();
    loop {
        let stats = broker_stats::totals(target)?;
        let problem = disagreement(row, &stats, report, filled);
        if problem.is_none() || begun.elapsed() > SETTLE_MAX {
            return Ok((problem, stats.backend_depth));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn disagreement(row: &Row, stats: &TopicStats, report: &Report, filled: u64) -> Option<String> {
    let published = report.total_published + filled;
    let copies = row.setup.channels as u64;
    let left = (published * copies).saturating_sub(report.total_received);
    let found = stats.depth * copies + stats.channel_depth + stats.in_flight + stats.deferred;
    // Consumers that leave in the middle take the FINs with them that they had not yet sent.
    let slack = match row.load {
        Load::OneByOne { connections } => connections as u64,
        _ => 0,
    };
    let left_is_right = match row.load {
        Load::Publish(_) | Load::Store(..) => found == left,
        _ => found >= left && found <= left + slack,
    };
    if stats.message_count != published || !left_is_right {
        return Some(format!("{published} published, {left} left, but /stats says {stats:?}"));
    }
    (stats.timeouts > 0 || stats.requeues > slack).then(|| format!("messages came back: {stats:?}"))
}

/// What the driver itself noticed.
fn fault(report: &Report) -> Option<String> {
    let closed = report.idle.map_or(0, |idle| idle.closed);
    let closed = (closed > 0).then(|| format!("{closed} connections were closed"));
    report.faults().or(closed)
}
