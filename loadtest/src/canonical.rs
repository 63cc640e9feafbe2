//! The load without arguments: how much goes through, and how long it takes when less does.

use std::error::Error;
use std::fmt::Write;

use loadtest::exchange::{self, Consuming, Exchange, Pace, Publishing};
use loadtest::producer::Request;
use loadtest::report::Ending;
use loadtest::{Report, Target};

use crate::options::Common;
use crate::progress::Progress;

/// Messages a second of the second half.
const RATE: f64 = 10_000.0;

/// Runs both halves; the second one is left out when somebody ended the first.
pub fn run(
    common: &Common,
    target: &Target,
    progress: &mut Progress,
) -> Result<Vec<Report>, Box<dyn Error>> {
    let consume = Consuming { connections: 2, rdy: 2500, requeue_every: None, renew_every: None };
    let closed = Pace::Closed { in_flight: 2, outstanding_max: 10_000 };
    let flood = Publishing { request: Request::Mpub(200), connections: 4, pace: closed };
    let open = Pace::Rate { per_second: RATE, spin: false };
    let stream = Publishing { request: Request::Pub, connections: 4, pace: open };
    let mut reports = Vec::new();
    for (mode, publish) in [("throughput", flood), ("latency", stream)] {
        let shape = Exchange {
            publish: Some(publish),
            consume: Some(consume),
            bodies: common.bodies()?,
            backlog: 0,
            timing: common.timing()?,
            count: common.count(),
        };
        progress.start(mode);
        let topic = format!("{}_{mode}", target.topic);
        let report = exchange::run(mode, &Target { topic, ..target.clone() }, &shape, progress)?;
        let goes_on = report.ending == Ending::Complete;
        reports.push(report);
        if !goes_on {
            break;
        }
    }
    Ok(reports)
}

/// The two numbers, and what else must be known.
pub fn text(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        let _ = match report.latency.filter(|_| report.open_loop) {
            None => writeln!(
                text,
                "throughput  {:>9.0} messages/s   in and out, by MPUB of 200",
                report.rate
            ),
            Some(latency) => writeln!(
                text,
                "latency     {:>9.3} ms           p99 from the intended send, at {RATE:.0} \
                 messages/s",
                latency.p99_us / 1e3
            ),
        };
        if !report.is_sound() || report.ending != Ending::Complete {
            let _ = writeln!(text, "\n{report}\n");
        }
    }
    text
}
