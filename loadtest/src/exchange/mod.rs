//! Messages that can be told apart go in and come out: at a given rate, or as fast as it goes.
//!
//! With a rate it is an open loop: a message is due when it is due, whether or not the broker
//! keeps up, and its latency runs from that instant. So a broker that pauses is charged for every
//! message that was due meanwhile; a closed loop would wait with it and see one slow message. What
//! the driver itself was late is reported beside it.

mod shape;
mod tally;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::body::Bodies;
use crate::consumer::Consumers;
use crate::poll::{Event, Poller};
use crate::report::{Ending, Report};
use crate::sender::Senders;
use crate::watch::{Seen, Watcher};
use crate::window::{Counts, StallWatch, WAIT_MAX, Window};
use crate::{Error, Result, Target, cpu};

pub use shape::{Consuming, Exchange, Pace, Publishing};

use tally::Tally;

/// After the last message was sent, so long without a receipt means that no more will come.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// What is under way when somebody ends the run may take so long to come.
const INTERRUPTED_MAX: Duration = Duration::from_secs(2);

/// Sending goes on for so long after the last message that counts, so that this one, too, is
/// delivered out of the middle of the stream: a broker that holds messages until a buffer is
/// full would otherwise be charged for the end of the run.
const RUN_ON: Duration = Duration::from_millis(500);

/// How often a watcher is asked.
const LOOK_EVERY: Duration = Duration::from_millis(100);

struct Run<'r> {
    target: &'r Target,
    shape: &'r Exchange,
    watcher: &'r mut dyn Watcher,
    looked_at: Duration,
    poller: Poller,
    senders: Senders,
    consumers: Consumers,
    tally: Tally,
    window: Window,
    begun: Instant,
    /// When the next connection is taken up anew.
    renew_at: Duration,
    renewals: usize,
}

/// Runs it to its end; the report says how far it came, also when something went wrong on the way.
pub fn run(
    mode: &str,
    target: &Target,
    shape: &Exchange,
    watcher: &mut dyn Watcher,
) -> Result<Report> {
    cpu::sharpen_timers()?;
    let mut run = Run::connect(target, shape, watcher)?;
    let ending = run.go().unwrap_or_else(|error| Ending::Failed(error.to_string()));
    run.window.close_early(run.counts())?;
    let mut report = Report::new(mode, &run.window.measured()?, run.counts());
    run.tally.fill(&mut report, ending == Ending::Complete);
    report.ending = ending;
    report.rate_asked = shape.publish.and_then(|publish| publish.pace.per_second());
    report.open_loop = report.rate_asked.is_some();
    report.reconnects = run.consumers.renewed;
    Ok(report)
}

impl<'r> Run<'r> {
    fn connect(
        target: &'r Target,
        shape: &'r Exchange,
        watcher: &'r mut dyn Watcher,
    ) -> Result<Self> {
        shape.check(target)?;
        let poller = Poller::new()?;
        let senders = match shape.publish {
            Some(Publishing { request, connections, pace }) => {
                Senders::connect(target, request, connections, pace.in_flight(request), &poller)?
            }
            None => Senders::connect(target, crate::producer::Request::Pub, 0, 0, &poller)?,
        };
        let (connections, rdy) = shape.consume.map_or((0, 0), |one| (one.connections, one.rdy));
        let mut consumers = Consumers::subscribe(target, connections, senders.count(), &poller)?;
        let window = Window::new(target, shape.timing)?;
        let tally = Tally::new(target, shape)?;
        let begun = Instant::now();
        if connections > 0 {
            consumers.ready(rdy, &poller)?;
        }
        let looked_at = Duration::ZERO;
        let renew_at = shape.consume.and_then(|one| one.renew_every).unwrap_or(Duration::MAX);
        let renewals = 0;
        Ok(Self {
            target,
            shape,
            watcher,
            looked_at,
            poller,
            senders,
            consumers,
            tally,
            window,
            begun,
            renew_at,
            renewals,
        })
    }

    fn go(&mut self) -> Result<Ending> {
        let mut stalled = StallWatch::new();
        while self.is_sending()? {
            self.send_due()?;
            self.step()?;
            if !self.look() {
                return self.end_early();
            }
            if self.tally.sent_here() == self.senders.confirmed {
                // Between two messages of a low rate nothing moves, and nothing is wrong.
                stalled = StallWatch::new();
            }
            let waiting = self.tally.sent_here() - self.senders.confirmed;
            stalled.check(self.progress(), || format!("{waiting} publishes were not answered"))?;
        }
        let ending = self.drain()?;
        if ending != Ending::Complete {
            return Ok(ending);
        }
        self.window.close_early(self.counts())?;
        self.consumers.close(&self.poller)?;
        let begun = Instant::now();
        while !self.consumers.are_closed() {
            self.step()?;
            if begun.elapsed() > crate::STALL_MAX {
                return Err(Error::Stalled("CLS was not answered".to_owned()));
            }
        }
        Ok(Ending::Complete)
    }

    /// Whether more is to be sent; opens and closes the window.
    fn is_sending(&mut self) -> Result<bool> {
        self.window.tick(self.counts())?;
        let Some(publish) = self.shape.publish else { return Ok(false) };
        let runs_on = publish.pace.per_second().is_some() && self.shape.consume.is_some();
        let run_on = if runs_on { RUN_ON } else { Duration::ZERO };
        let end = self.shape.timing.warmup.saturating_add(self.shape.timing.window);
        let is_time_left = self.begun.elapsed() < end.saturating_add(run_on);
        Ok(is_time_left && self.tally.sent_here() < self.shape.count)
    }

    /// Sends every request whose time has come, as far as there is room.
    fn send_due(&mut self) -> Result<()> {
        let Some(publish) = self.shape.publish else { return Ok(()) };
        let (unit, bodies) = (self.senders.messages_per_request(), &self.shape.bodies);
        let now_ns = self.now_ns();
        while self.tally.sent_here() < self.shape.count {
            let (number, due_ns) = (self.tally.sent, self.tally.due_ns(publish.pace, now_ns));
            if due_ns > now_ns || !self.tally.may_send(publish.pace, unit) {
                break;
            }
            let Some(at) = self.senders.next_with_room() else {
                self.tally.hold_back(now_ns);
                break;
            };
            self.senders.push(at, bodies, number, due_ns);
            self.tally.on_sent(unit, due_ns, now_ns);
        }
        self.senders.flush(&self.poller)
    }

    /// Waits until something came or the next message is due, and takes it.
    fn step(&mut self) -> Result<()> {
        let timeout = match self.shape.publish {
            Some(Publishing { pace: Pace::Rate { spin: true, .. }, .. }) => Duration::ZERO,
            Some(Publishing { pace, .. }) if self.tally.sent_here() < self.shape.count => {
                let now_ns = self.now_ns();
                let due_ns = self.tally.due_ns(pace, now_ns + WAIT_MAX.as_nanos() as u64);
                Duration::from_nanos(due_ns.saturating_sub(now_ns)).min(WAIT_MAX)
            }
            _ => WAIT_MAX,
        };
        // What is overdue waits for room, and room makes an event.
        let timeout = if timeout.is_zero() && self.tally.is_held() { WAIT_MAX } else { timeout };
        for index in 0..self.poller.wait(timeout)? {
            self.on_event(self.poller.event(index))?;
        }
        self.renew()
    }

    fn on_event(&mut self, event: Event) -> Result<()> {
        let (tally, begun) = (&mut self.tally, self.begun);
        // One reading of the clock for everything that one read brought.
        let mut now_ns = None;
        let mut now_ns = move || *now_ns.get_or_insert_with(|| begun.elapsed().as_nanos() as u64);
        if event.token < self.senders.count() {
            tally.room_may_be();
            return self.senders.on_event(event, &self.poller, |due_ns| {
                tally.on_confirmed(due_ns, now_ns());
            });
        }
        self.consumers.on_event(self.target, event, &self.poller, |place, message| {
            tally.on_message(place, message, &mut now_ns)
        })
    }

    /// Takes a consumer's connection up anew, where that is wanted and due.
    fn renew(&mut self) -> Result<()> {
        let elapsed = self.begun.elapsed();
        if elapsed < self.renew_at {
            return Ok(());
        }
        let every = self.shape.consume.and_then(|one| one.renew_every).unwrap_or(Duration::MAX);
        self.renew_at = elapsed.saturating_add(every);
        self.renewals += 1;
        self.consumers.renew(self.renewals - 1, &self.poller)
    }

    /// Waits for everything, or until nothing comes any more, or until time is up.
    fn drain(&mut self) -> Result<Ending> {
        let (mut last, mut since) = (self.progress(), Instant::now());
        let begun = Instant::now();
        while !self.is_settled() {
            self.step()?;
            self.window.tick(self.counts())?;
            if !self.look() {
                return self.end_early();
            }
            if self.progress() != last {
                (last, since) = (self.progress(), Instant::now());
            } else if since.elapsed() > SILENCE_MAX {
                break;
            }
            if begun.elapsed() > self.shape.drain_max() {
                return Ok(Ending::TimeUp);
            }
        }
        Ok(Ending::Complete)
    }

    /// Somebody wants to see how far it came: what is under way may still arrive.
    fn end_early(&mut self) -> Result<Ending> {
        let begun = Instant::now();
        while begun.elapsed() < INTERRUPTED_MAX && !self.is_settled() {
            self.step()?;
        }
        Ok(Ending::Interrupted)
    }

    /// Asks the watcher from time to time; false to end the run.
    fn look(&mut self) -> bool {
        let elapsed = self.begun.elapsed();
        if elapsed < self.looked_at + LOOK_EVERY {
            return true;
        }
        self.looked_at = elapsed;
        let Counts { published, received } = self.counts();
        let whole = self.shape.timing.warmup.saturating_add(self.shape.timing.window);
        let of_time = elapsed.as_secs_f64() / whole.as_secs_f64();
        let of_count = match self.shape.publish {
            Some(_) => published as f64 / self.shape.count as f64,
            None => received as f64 / (self.shape.backlog * self.target.channels as u64) as f64,
        };
        let share = of_time.max(of_count).min(1.0);
        self.watcher.look(&Seen { elapsed, share, published, received })
    }

    /// Every message that was sent has come on every channel that is consumed from.
    fn has_everything(&self) -> bool {
        self.shape.consume.is_none()
            || self.tally.distinct() >= self.tally.sent * self.target.channels as u64
    }

    /// Nothing is under way in either direction.
    fn is_settled(&self) -> bool {
        self.has_everything() && self.senders.confirmed >= self.tally.sent_here()
    }

    fn progress(&self) -> u64 {
        self.senders.confirmed + self.tally.distinct()
    }

    fn counts(&self) -> Counts {
        Counts { published: self.senders.confirmed, received: self.consumers.received }
    }

    fn now_ns(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }
}

/// Publishes `count` messages as fast as it goes, to be consumed later; returns what is to be
/// found: whole batches, so a few more.
pub fn fill(
    target: &Target,
    bodies: &Arc<Bodies>,
    count: u64,
    watcher: &mut dyn Watcher,
) -> Result<u64> {
    let shape = Exchange::filling(bodies.clone(), count);
    let report = run("fill", target, &shape, watcher)?;
    match report.ending {
        Ending::Complete if report.total_published >= count => Ok(report.total_published),
        Ending::Complete => Err(Error::Stalled("what was published was not confirmed".to_owned())),
        Ending::Interrupted => Err(Error::Interrupted),
        Ending::TimeUp => Err(Error::Stalled("filling took too long".to_owned())),
        Ending::Failed(text) => Err(Error::Stalled(text)),
    }
}
