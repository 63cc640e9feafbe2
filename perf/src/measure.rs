//! One measurement: a fresh broker, one row, and whether the broker's own counts agree.

use std::time::{Duration, Instant};

use loadtest::broker_stats::{self, TopicStats};
use loadtest::{Error, Report, Result, Target, Timing, consume, e2e, flow, publish};

use crate::rows::{Load, Row};

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
}

/// Runs one row against a broker; `check` compares its own counts with the driver's.
pub fn run(row: &Row, target: &Target, timing: Timing, check: bool) -> Result<Measured> {
    let (report, filled) = load(row, target, timing, check)?;
    let (problem, on_disk) = if check { verify(row, target, &report, filled)? } else { (None, 0) };
    let problem = problem.or_else(|| latency_problem(&report));
    Ok(Measured { report, problem, on_disk })
}

/// The report, and how many messages were filled in before the clock started.
fn load(row: &Row, target: &Target, timing: Timing, check: bool) -> Result<(Report, u64)> {
    if let Some(mut shape) = row.load.consume(timing) {
        consume::create_channel(target)?;
        shape.count = publish::fill(target, shape.count, row.load.size())?;
        if check {
            broker_stats::wait_for_depth(target, shape.count)?;
        }
        let timing = match row.load {
            // The whole drain, to the last FIN.
            Load::Drain { .. } => Timing { warmup: Duration::ZERO, window: Duration::MAX },
            _ => timing,
        };
        return Ok((consume::run(row.name, target, shape, timing)?, shape.count));
    }
    let report = match row.load {
        Load::Publish(shape) => publish::run(target, shape, timing)?,
        Load::Flow(shape) => flow::run(target, shape, timing)?,
        Load::EndToEnd(shape) => e2e::run(target, shape, timing)?,
        Load::Drain { .. } | Load::OneByOne { .. } => {
            return Err(Error::Protocol(format!("{} is a consuming row", row.name)));
        }
    };
    Ok((report, 0))
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
        let stats = broker_stats::topic(target)?;
        let problem = disagreement(row, &stats, report, filled);
        if problem.is_none() || begun.elapsed() > SETTLE_MAX {
            return Ok((problem, stats.backend_depth));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn disagreement(row: &Row, stats: &TopicStats, report: &Report, filled: u64) -> Option<String> {
    let published = report.total_published + filled;
    let left = published.saturating_sub(report.total_received);
    let found = stats.depth + stats.channel_depth + stats.in_flight;
    // Consumers that leave in the middle take the FINs with them that they had not yet sent.
    let slack = match row.load {
        Load::OneByOne { connections } => connections as u64,
        _ => 0,
    };
    let left_is_right = match row.load {
        Load::Publish(_) => found == published,
        _ => found >= left && found <= left + slack,
    };
    if stats.message_count != published || !left_is_right {
        return Some(format!("{published} published, {left} left, but /stats says {stats:?}"));
    }
    (stats.timeouts > 0 || stats.requeues > slack).then(|| format!("messages came back: {stats:?}"))
}

fn latency_problem(report: &Report) -> Option<String> {
    let latency = report.latency?;
    (latency.lost > 0 || latency.duplicated > 0)
        .then(|| format!("{} lost, {} came twice", latency.lost, latency.duplicated))
}
