//! What systemd is told of a program, where it asks (`Type=notify`, `WatchdogSec`). Elsewhere all
//! of this does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// How many looks there are in the time that the watchdog gives.
pub const LOOKS: u32 = 4;

/// The program serves.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
}

/// The program is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// What it is at, for `systemctl status`.
pub fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// A start goes on, and may be silent for this long from now on.
pub fn extend(silence: Duration, text: &str) {
    let us = u32::try_from(silence.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::ExtendTimeoutUsec(us), NotifyState::Status(text)]);
}

/// All is well: the watchdog starts to count anew.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How long the program may be silent before systemd ends it; `None` when it may as long as it
/// likes.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero())
}

/// Feeds the watchdog from a thread of its own, as long as the program says in time that it is
/// well.
///
/// # Errors
/// When the thread cannot be had.
pub fn feed(is_well: impl Fn(Duration) -> bool + Send + 'static) -> Result<(), String> {
    let Some(timeout) = watchdog() else { return Ok(()) };
    let pause = timeout / LOOKS;
    let started = std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
        loop {
            if is_well(pause) {
                alive();
            }
            std::thread::sleep(pause);
        }
    });
    started.map(drop).map_err(|error| format!("cannot start a thread - {error}"))
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd cannot be told {states:?} - {error}");
    }
}
