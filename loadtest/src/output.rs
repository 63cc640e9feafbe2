//! What the program says in the end, and with which code it ends.

use std::error::Error;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use loadtest::host::Machine;
use loadtest::report::Ending;
use loadtest::{Report, Target, broker_stats};
use serde_json::json;

use crate::canonical;
use crate::threshold::{Threshold, Verdict};

/// Messages were lost, repeated or damaged, or the load broke off.
const FAILED: u8 = 1;

/// A threshold was crossed.
const CROSSED: u8 = 99;

/// Somebody ended it early.
pub const INTERRUPTED: u8 = 130;

/// What a call of the program came to.
pub struct Outcome {
    reports: Vec<Report>,
    verdicts: Vec<Verdict>,
}

impl Outcome {
    /// Judges the reports.
    pub fn new(reports: Vec<Report>, thresholds: &[Threshold]) -> Self {
        let verdicts = thresholds.iter().map(|threshold| threshold.judge(&reports)).collect();
        Self { reports, verdicts }
    }

    /// The code to end with; what is worse comes first.
    pub fn exit_code(&self) -> u8 {
        let any = |ending| self.reports.iter().any(|report| report.ending == ending);
        if self.reports.iter().any(|report| !report.is_sound()) {
            FAILED
        } else if self.verdicts.iter().any(|verdict| verdict.failed) {
            CROSSED
        } else if any(Ending::Interrupted) {
            INTERRUPTED
        } else {
            0
        }
    }

    /// Writes the latencies of the last report that has any: those to the receipt first.
    pub fn write_hdr(&self, path: &Path) -> io::Result<()> {
        let recorders = self.reports.iter().rev().map(|report| {
            let with_some = report.recorders.iter().filter(|(_, one)| one.summary().is_some());
            with_some.collect::<Vec<_>>()
        });
        let recorders = recorders.into_iter().find(|all| !all.is_empty());
        let recorders = recorders.ok_or_else(|| io::Error::other("no latency was measured"))?;
        for (at, (name, recorder)) in recorders.into_iter().enumerate() {
            let mut path = path.as_os_str().to_owned();
            if at > 0 {
                path.push(format!(".{name}"));
            }
            let mut out = BufWriter::new(File::create(path)?);
            recorder.write_hdr(&mut out)?;
            io::Write::flush(&mut out)?;
        }
        Ok(())
    }
}

/// All of it as one JSON document.
pub fn json(
    outcome: &Outcome,
    target: &Target,
    begun: jiff::Timestamp,
) -> Result<String, Box<dyn Error>> {
    let command: Vec<String> = std::env::args().skip(1).collect();
    let tls = target.wrap.tls.is_some();
    let document = json!({
        "program": "loadtest",
        "version": env!("CARGO_PKG_VERSION"),
        "command": command,
        "started_at": begun.to_string(),
        "host": Machine::here(),
        "broker": {
            "tcp_address": target.tcp,
            "http_address": target.http,
            "version": broker_stats::version(target),
            "pid": target.broker_pid,
            "tls": tls,
            "compression": target.wrap.compression,
        },
        "reports": outcome.reports,
        "thresholds": outcome.verdicts,
        "exit_code": outcome.exit_code(),
    });
    Ok(serde_json::to_string(&document)?)
}

/// All of it for people.
pub fn text(outcome: &Outcome, is_canonical: bool) -> String {
    let mut text = match is_canonical {
        true => canonical::text(&outcome.reports),
        false => outcome.reports.iter().map(|report| format!("{report}\n")).collect(),
    };
    for verdict in &outcome.verdicts {
        let word = if verdict.failed { "CROSSED" } else { "kept" };
        let value = verdict.value.map_or("nothing".to_owned(), |value| format!("{value:.3}"));
        let _ = writeln!(text, "{:<21}{} ({value} was measured)", word, verdict.fail_if);
    }
    text
}
