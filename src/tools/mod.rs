//! The programs beside the broker, and what they have in common.

pub mod nsq_tail;

use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::client::Stopper;
use crate::config::stop::Stop;

/// `timeout` and some supervisors signal both the program and its group: that is one signal.
const SAME_SIGNAL: Duration = Duration::from_secs(1);

/// SIGINT and SIGTERM stop the consumer cleanly. Another one later ends the program at once, for
/// the case that standard output is stuck.
fn stop_on_signals(stopper: Stopper) -> Result<(), Stop> {
    let failed = |error: std::io::Error| Stop::Plain(format!("cannot handle signals: {error}"));
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
