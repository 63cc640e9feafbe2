//! The main thread once everything runs: signals, draining, systemd's watchdog.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flume::{Receiver, RecvTimeoutError, Sender};
use signal_hook::consts::{SIGHUP, SIGUSR1};
use signal_hook::iterator::Signals;

use super::{Life, Question};
use crate::nsqd::control::Drainer;
use crate::nsqd::startup;
use crate::systemd;
use crate::tls::ServerTls;

/// How often it is looked how much is left to drain.
const DRAIN_TICK: Duration = Duration::from_millis(100);
/// How often the log says so.
const DRAIN_LINE_EVERY: Duration = Duration::from_secs(10);

/// What the main thread hears of.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A signal came.
    Signal(i32),
    /// Draining begins, or its time was set anew.
    Drain,
}

/// Why it is time to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// This signal.
    Signal(i32),
    /// Nothing is left.
    Drained,
    /// Draining took too long; so many messages are left.
    DrainLate(u64),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Signal(signal) => {
                let name = signal_hook::low_level::signal_name(*signal).unwrap_or("a signal");
                write!(f, " on {name}")
            }
            Reason::Drained => f.write_str(", drained: no message is left"),
            Reason::DrainLate(left) => {
                write!(f, ", draining took too long: {left} messages are left")
            }
        }
    }
}

/// What the main thread looks after.
pub struct Watch {
    life: Arc<Life>,
    events: Receiver<Event>,
    tls: Option<Arc<ServerTls>>,
    drainer: Drainer,
    /// How often systemd is told that all is well; `None` when it does not ask.
    watchdog: Option<Duration>,
    /// What was asked at the last look.
    asked: Option<Question>,
    /// When the log last said how draining goes.
    told: Option<Instant>,
}

impl Watch {
    /// Begins to watch; signals count from now on.
    ///
    /// # Errors
    /// When a thread cannot be had.
    pub fn start(
        life: Arc<Life>,
        events: Receiver<Event>,
        signals: Signals,
        tls: Option<Arc<ServerTls>>,
        drainer: Drainer,
    ) -> Result<Watch, String> {
        let heard = life.events.clone();
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || forward(signals, &heard))
            .map_err(|error| format!("cannot start a thread - {error}"))?;
        let watchdog = systemd::watchdog().map(|timeout| timeout / systemd::LOOKS);
        Ok(Watch { life, events, tls, drainer, watchdog, asked: None, told: None })
    }

    /// Waits until it is time to stop.
    pub fn run(mut self) -> Reason {
        let mut next_look = Instant::now();
        loop {
            let event = match self.tick() {
                Some(_) => self.events.recv_deadline(next_look),
                None => self.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match event {
                Ok(event) => {
                    if let Some(reason) = self.heard(event) {
                        return reason;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    unreachable!("the life that is watched holds a sender")
                }
            }
            let now = Instant::now();
            if now >= next_look {
                if let Some(reason) = self.look(now) {
                    return reason;
                }
                next_look = now + self.tick().unwrap_or(DRAIN_TICK);
            }
        }
    }

    /// The time between two looks; `None` when there is nothing to look for.
    fn tick(&self) -> Option<Duration> {
        let drain = self.life.is_draining().then_some(DRAIN_TICK);
        drain.into_iter().chain(self.watchdog).min()
    }

    fn heard(&mut self, event: Event) -> Option<Reason> {
        match event {
            Event::Signal(SIGHUP) => startup::tls::reload(self.tls.as_ref()),
            Event::Signal(SIGUSR1) => self.life.drain(None),
            Event::Signal(signal) => return Some(Reason::Signal(signal)),
            Event::Drain => {
                if self.told.is_none() {
                    self.told = Some(Instant::now());
                    tracing::info!("NSQ: draining - publishes are refused, consumers are served");
                    systemd::status("draining");
                    self.drainer.drain();
                }
            }
        }
        None
    }

    /// Feeds the watchdog if all workers have turned since the last look, and looks how much is
    /// left.
    fn look(&mut self, now: Instant) -> Option<Reason> {
        if self.asked.is_none_or(|asked| self.life.late(asked.round).next().is_none()) {
            if self.watchdog.is_some() {
                systemd::alive();
            }
            let question = Question { round: self.life.ask_workers(), probe: 0 };
            self.life.ring();
            self.asked = Some(question);
        }
        let progress = self.life.progress()?;
        if progress.is_done() {
            return Some(Reason::Drained);
        }
        let left = progress.remaining;
        if progress.is_late {
            return Some(Reason::DrainLate(left.waiting + left.in_flight + left.deferred));
        }
        if self.told.is_some_and(|told| now >= told + DRAIN_LINE_EVERY) {
            self.told = Some(now);
            tracing::info!(
                "NSQ: draining - {} messages wait, {} are in flight, {} are deferred",
                left.waiting,
                left.in_flight,
                left.deferred
            );
        }
        None
    }
}

fn forward(mut signals: Signals, heard: &Sender<Event>) {
    for signal in signals.forever() {
        if heard.send(Event::Signal(signal)).is_err() {
            return;
        }
    }
}
