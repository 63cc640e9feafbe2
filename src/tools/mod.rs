//! The programs beside the broker, and what they have in common.

pub mod nsq_tail;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::client::{Stopper, log};

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

/// SIGINT and SIGTERM stop the consumer cleanly; a second one ends the program at once, for the
/// case that standard output is stuck.
fn stop_on_signals(stopper: Stopper) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Fatal(format!("cannot handle signals: {error}"));
    let signalled = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag unset.
        let flag = Arc::clone(&signalled);
        signal_hook::flag::register_conditional_shutdown(signal, 1, flag).map_err(failed)?;
        signal_hook::flag::register(signal, Arc::clone(&signalled)).map_err(failed)?;
    }
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let wait = move || {
        if signals.forever().next().is_some() {
            stopper.stop();
        }
    };
    let spawned = std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait);
    spawned.map(drop).map_err(failed)
}
