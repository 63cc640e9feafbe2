//! One worker's pulse: it is asked whether it turns, and answers in its next turn.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use shards::shard::Remaining;

use crate::nsqd::doorbell::Doorbell;

/// The pulse of one worker. Whoever asks writes `asked`, the worker everything else.
#[derive(Debug)]
pub struct Pulse {
    doorbell: Doorbell,
    asked: AtomicU64,
    answered: AtomicU64,
    /// The counts below are there.
    counted: AtomicBool,
    waiting: AtomicU64,
    in_flight: AtomicU64,
    deferred: AtomicU64,
}

impl Pulse {
    /// That of the worker whom this bell wakes.
    pub fn new(doorbell: Doorbell) -> Pulse {
        Pulse {
            doorbell,
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            counted: AtomicBool::new(false),
            waiting: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            deferred: AtomicU64::new(0),
        }
    }

    /// Asks in a round of questions.
    pub fn ask(&self, round: u64) {
        self.asked.fetch_max(round, Ordering::AcqRel);
    }

    /// Wakes the worker, so that it hears.
    pub fn ring(&self) {
        self.doorbell.ring();
    }

    /// The round that the worker is to answer, if it has not.
    pub fn asked(&self) -> Option<u64> {
        let asked = self.asked.load(Ordering::Acquire);
        (asked != self.answered.load(Ordering::Relaxed)).then_some(asked)
    }

    /// The worker answers, after it has counted.
    pub fn answer(&self, round: u64) {
        self.answered.store(round, Ordering::Release);
    }

    /// Whether this round is answered, or a later one.
    pub fn has_answered(&self, round: u64) -> bool {
        self.answered.load(Ordering::Acquire) >= round
    }

    /// The worker drains, and so much is left.
    pub fn count(&self, remaining: Remaining) {
        self.waiting.store(remaining.waiting, Ordering::Relaxed);
        self.in_flight.store(remaining.in_flight, Ordering::Relaxed);
        self.deferred.store(remaining.deferred, Ordering::Relaxed);
        self.counted.store(true, Ordering::Release);
    }

    /// How much is left; `None` as long as the worker has not heard that it is to drain.
    pub fn remaining(&self) -> Option<Remaining> {
        self.counted.load(Ordering::Acquire).then(|| Remaining {
            waiting: self.waiting.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            deferred: self.deferred.load(Ordering::Relaxed),
        })
    }
}
