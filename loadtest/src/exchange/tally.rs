//! What was sent, confirmed and received, when, and whether it was right.

use std::ops::Range;
use std::sync::Arc;

use super::shape::{Exchange, Pace};
use crate::body::{Bodies, Checked};
use crate::codec::Frame;
use crate::consumer::{Answer, Place};
use crate::latency::Recorder;
use crate::ledger::Ledger;
use crate::{Report, Result, Target};

/// The account of an exchange.
pub struct Tally {
    bodies: Arc<Bodies>,
    ledger: Option<Ledger>,
    received_ns: Recorder,
    confirmed_ns: Recorder,
    late_ns: Recorder,
    /// What was meant to be sent within it counts, in nanoseconds since the beginning.
    counted_ns: Range<u64>,
    /// Messages sent, the backlog of before included: the number of the next one.
    pub sent: u64,
    backlog: u64,
    topics: u64,
    per_request: u64,
    requeue_every: Option<u64>,
    /// Requests that were due up to then had to wait for room.
    held_until_ns: u64,
    /// There was no room at the last look.
    is_held: bool,
    held_back: u64,
}

impl Tally {
    /// Nothing has happened yet.
    pub fn new(target: &Target, shape: &Exchange) -> Result<Self> {
        let warmup_ns = shape.timing.warmup.as_nanos().min(u128::from(u64::MAX)) as u64;
        let window_ns = shape.timing.window.as_nanos().min(u128::from(u64::MAX)) as u64;
        let verify = shape.bodies.verify();
        Ok(Self {
            bodies: shape.bodies.clone(),
            ledger: shape.consume.map(|_| Ledger::new(target.channels, verify)),
            received_ns: Recorder::new()?,
            confirmed_ns: Recorder::new()?,
            late_ns: Recorder::new()?,
            counted_ns: warmup_ns..warmup_ns.saturating_add(window_ns),
            sent: shape.backlog,
            backlog: shape.backlog,
            topics: target.topics as u64,
            per_request: shape.publish.map_or(1, |publish| publish.request.messages()),
            requeue_every: shape.consume.and_then(|consume| consume.requeue_every),
            held_until_ns: 0,
            is_held: false,
            held_back: 0,
        })
    }

    /// Messages sent in this run.
    pub fn sent_here(&self) -> u64 {
        self.sent - self.backlog
    }

    /// Different deliveries so far.
    pub fn distinct(&self) -> u64 {
        self.ledger.as_ref().map_or(0, Ledger::distinct)
    }

    /// When the next request is due; in a closed loop always now.
    pub fn due_ns(&self, pace: Pace, now_ns: u64) -> u64 {
        match pace {
            Pace::Rate { per_second, .. } => (self.sent_here() as f64 * 1e9 / per_second) as u64,
            Pace::Closed { .. } => now_ns,
        }
    }

    /// In a closed loop, whether so many more may be outstanding.
    pub fn may_send(&self, pace: Pace, messages: u64) -> bool {
        let Pace::Closed { outstanding_max, .. } = pace else { return true };
        let Some(ledger) = &self.ledger else { return true };
        let came = ledger.distinct() / ledger.channels() as u64;
        self.sent + messages <= came.saturating_add(outstanding_max)
    }

    /// A request is due, and no connection has room for it.
    pub fn hold_back(&mut self, now_ns: u64) {
        self.held_until_ns = now_ns;
        self.is_held = true;
    }

    /// Something happened on a connection that publishes.
    pub fn room_may_be(&mut self) {
        self.is_held = false;
    }

    /// The last look found no room.
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// A request went on its way.
    pub fn on_sent(&mut self, messages: u64, due_ns: u64, now_ns: u64) {
        self.sent += messages;
        if due_ns < self.held_until_ns {
            self.held_back += messages;
        } else if self.counted_ns.contains(&due_ns) {
            self.late_ns.record(now_ns - due_ns);
        }
    }

    /// A request was confirmed.
    #[inline]
    pub fn on_confirmed(&mut self, due_ns: u64, now_ns: u64) {
        if self.counted_ns.contains(&due_ns) {
            self.confirmed_ns.record_many(now_ns.saturating_sub(due_ns), self.per_request);
        }
    }

    /// A message came; says what to do with it.
    #[inline]
    pub fn on_message(
        &mut self,
        place: Place,
        message: &Frame<'_>,
        now_ns: &mut impl FnMut() -> u64,
    ) -> Answer {
        let Some(ledger) = &mut self.ledger else { return Answer::Finish };
        let (number, due_ns) = match self.bodies.check(message.body()) {
            Checked::Whole { number, due_ns } if number < self.sent => (number, due_ns),
            Checked::Whole { .. } | Checked::Foreign => {
                ledger.counts.foreign += 1;
                return Answer::Finish;
            }
            Checked::Corrupt => {
                ledger.counts.corrupt += 1;
                return Answer::Finish;
            }
        };
        let is_first = message.attempts() <= 1;
        if !is_first {
            ledger.counts.redelivered += 1;
        }
        // A backlog has one topic only.
        if self.topics > 1 && number / self.per_request % self.topics != place.topic as u64 {
            ledger.counts.misrouted += 1;
        }
        if is_first && self.requeue_every.is_some_and(|every| number.is_multiple_of(every)) {
            return Answer::Requeue;
        }
        let is_new = ledger.receive(place.channel, number);
        if is_new && number >= self.backlog && self.counted_ns.contains(&due_ns) {
            self.received_ns.record(now_ns().saturating_sub(due_ns));
        }
        Answer::Finish
    }

    /// Puts everything into the report; `complete` unless the run was cut short.
    pub fn fill(self, report: &mut Report, complete: bool) {
        report.verification = self.ledger.map(|ledger| ledger.close(self.sent, complete));
        report.latency = self.received_ns.summary();
        report.confirmed = self.confirmed_ns.summary();
        report.late = self.late_ns.summary();
        report.held_back = self.held_back;
        report.recorders = vec![("receipt", self.received_ns), ("confirm", self.confirmed_ns)];
    }
}
