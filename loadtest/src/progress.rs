//! A bar on the terminal while a load runs, and Ctrl-C, which ends it with what it has.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use loadtest::watch::{Seen, Watcher};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The steps of a bar.
const STEPS: u64 = 1000;

/// What a shell expects of a program that Ctrl-C has ended.
const INTERRUPTED: i32 = 130;

/// Looks on for the user.
pub struct Progress {
    is_ended: Arc<AtomicBool>,
    /// Only on a terminal.
    shows: bool,
    bar: Option<ProgressBar>,
    before: (Duration, u64),
}

impl Progress {
    /// Listens for Ctrl-C; a second one ends the program at once.
    pub fn new(quiet: bool) -> io::Result<Self> {
        let is_ended = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, INTERRUPTED, is_ended.clone())?;
            flag::register(signal, is_ended.clone())?;
        }
        let shows = !quiet && io::stderr().is_terminal();
        Ok(Self { is_ended, shows, bar: None, before: (Duration::ZERO, 0) })
    }

    /// A new bar for what comes now.
    pub fn start(&mut self, what: &str) {
        self.finish();
        self.before = (Duration::ZERO, 0);
        if !self.shows {
            return;
        }
        let bar = ProgressBar::new(STEPS);
        let template = "{prefix} [{bar:30}] {elapsed} {msg}";
        // A template that does not parse would leave the plain bar, which does as well.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what.to_owned());
        self.bar = Some(bar);
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Watcher for Progress {
    fn look(&mut self, seen: &Seen) -> bool {
        if let Some(bar) = &self.bar {
            let messages = seen.published.max(seen.received);
            let (since, came) = (self.before.0, self.before.1);
            let seconds = seen.elapsed.saturating_sub(since).as_secs_f64();
            let rate = messages.saturating_sub(came) as f64 / seconds.max(1e-3);
            bar.set_position((seen.share * STEPS as f64) as u64);
            bar.set_message(format!(
                "{} published, {} received, {rate:.0}/s",
                seen.published, seen.received
            ));
            self.before = (seen.elapsed, messages);
        }
        !self.is_ended.load(Ordering::Relaxed)
    }
}
