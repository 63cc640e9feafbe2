//! The programs beside the broker, and what they have in common.

pub mod nsq_tail;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::client::{Stopper, log};

/// `timeout` and some supervisors signal both the program and its group: that is one signal.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// Why a tool ends without success.
#[derive(Debug)]
pub enum Failure {
    /// A flag's value cannot be used: 2, as for all mistakes on the command line.
    Usage(String),
    /// Anything else: 1.
    Fatal(String),
}

impl Failure {
    /// Says it on standard error, as NSQ's tools do.
    pub fn report(self, program: &str) -> ExitCode {
        match self {
            Failure::Usage(text) => {
                use std::io::Write;
                let text = format!("{text}\nRun '{program} --help' for all flags.\n");
                // Nobody is left to be told that standard error is closed.
                let _ = std::io::stderr().write_all(text.as_bytes());
                ExitCode::from(2)
            }
            Failure::Fatal(text) => {
                log::line(format_args!("{text}"));
                ExitCode::FAILURE
            }
        }
    }
}

/// SIGINT and SIGTERM stop the consumer cleanly. Another one later ends the program at once, for the
/// case that standard output is stuck.
fn stop_on_signals(stopper: Stopper) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Fatal(format!("cannot handle signals: {error}"));
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let wait = move || {
        let mut first_at = None;
        for _ in signals.forever() {
            let first_at = *first_at.get_or_insert_with(Instant::now);
            if first_at.elapsed() > SAME_SIGNAL {
                std::process::exit(1);
            }
            stopper.stop();
        }
    };
    let spawned = std::thread::Builder::new().name("signals".to_owned()).spawn(wait);
    spawned.map(drop).map_err(failed)
}
