//! A channel's messages beyond its cursor that are not finished: in flight, deferred, requeued.
//!
//! Messages in flight lie in a ring indexed by sequence number, so that FIN is an array access.
//! When a few old ones would make the ring sparse they move to a map beside it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use hashbrown::HashMap;

use crate::log::Position;
use crate::slots::Key;
use crate::wheel::TimerId;

/// Entries that the ring may grow to; above that, old messages move to the map.
const RING_ENTRIES_MAX: usize = 64 * 1024;
const RING_ENTRIES_MIN: usize = 16;

/// A message that a consumer has.
#[derive(Clone, Copy, Debug)]
pub struct InFlight {
    /// The connection it was sent to, which may be gone.
    pub client: Key,
    /// Its place in the log.
    pub at: Position,
    /// Deliveries so far, this one included; wraps like the field on the wire.
    pub attempts: u16,
    /// Fires when the consumer's time is up.
    pub timer: TimerId,
    /// When it was sent.
    pub delivered_ms: u64,
}

/// A message that waits to be delivered again, or for the first time after a delay.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Its sequence number in the topic.
    pub sequence: u64,
    /// Its place in the log.
    pub at: Position,
    /// Deliveries so far.
    pub attempts: u16,
    /// The channel's end when it was requeued: its place in the queue.
    pub behind: u64,
}

/// A message that is kept back.
#[derive(Clone, Copy, Debug)]
struct Deferred {
    message: Waiting,
    due_ms: u64,
    timer: TimerId,
}

/// The outstanding messages of one channel. Each is in exactly one of the three states.
#[derive(Debug, Default)]
pub struct Outstanding {
    ring: VecDeque<Option<InFlight>>,
    /// Sequence number of the ring's first entry.
    base: u64,
    stragglers: HashMap<u64, InFlight>,
    in_flight: usize,
    deferred: HashMap<u64, Deferred>,
    requeued: VecDeque<Waiting>,
}

impl Outstanding {
    /// Notes that a message was sent.
    pub fn deliver(&mut self, sequence: u64, message: InFlight) {
        self.in_flight += 1;
        if self.ring.is_empty() {
            self.base = sequence;
        }
        let Some(index) = sequence.checked_sub(self.base) else {
            self.stragglers.insert(sequence, message);
            return;
        };
        let mut index = usize::try_from(index).unwrap_or(usize::MAX);
        if index >= RING_ENTRIES_MAX {
            self.move_front_aside(index - RING_ENTRIES_MAX + RING_ENTRIES_MAX / 2);
            if self.ring.is_empty() {
                self.base = sequence;
            }
            index = (sequence - self.base) as usize;
        }
        while self.ring.len() <= index {
            self.ring.push_back(None);
        }
        assert!(self.ring[index].is_none(), "a message is in flight once");
        self.ring[index] = Some(message);
    }

    /// Takes a message that is in flight out.
    pub fn take(&mut self, sequence: u64) -> Option<InFlight> {
        let entry = self.index(sequence).and_then(|index| self.ring.get_mut(index)?.take());
        // The ring may have started anew below a message that was put aside.
        let taken = entry.or_else(|| self.stragglers.remove(&sequence))?;
        self.in_flight -= 1;
        while let Some(None) = self.ring.front() {
            self.ring.pop_front();
            self.base += 1;
        }
        Some(taken)
    }

    /// A message that is in flight.
    pub fn get_mut(&mut self, sequence: u64) -> Option<&mut InFlight> {
        match self.index(sequence).and_then(|index| self.ring.get_mut(index)?.as_mut()) {
            None => self.stragglers.get_mut(&sequence),
            found => found,
        }
    }

    /// Whether a message is in flight or kept back.
    #[must_use]
    pub fn holds(&self, sequence: u64) -> bool {
        let in_ring = self.index(sequence).and_then(|index| self.ring.get(index));
        in_ring.is_some_and(Option::is_some)
            || self.stragglers.contains_key(&sequence)
            || self.deferred.contains_key(&sequence)
    }

    /// The messages that wait to be delivered again.
    pub fn requeued_sequences(&self) -> impl Iterator<Item = u64> {
        self.requeued.iter().map(|message| message.sequence)
    }

    /// Keeps a message back until its timer fires, which is due then.
    pub fn defer(&mut self, message: Waiting, due_ms: u64, timer: TimerId) {
        let before = self.deferred.insert(message.sequence, Deferred { message, due_ms, timer });
        assert!(before.is_none(), "a message is deferred once");
    }

    /// Tells of every message its sequence number, its deliveries, and, when it is kept back,
    /// until when.
    pub fn each(&self, mut tell: impl FnMut(u64, u16, Option<u64>)) {
        for (sequence, message) in (self.base..).zip(&self.ring) {
            if let Some(message) = message {
                tell(sequence, message.attempts, None);
            }
        }
        for (&sequence, message) in &self.stragglers {
            tell(sequence, message.attempts, None);
        }
        for (&sequence, Deferred { message, due_ms, .. }) in &self.deferred {
            tell(sequence, message.attempts, Some(*due_ms));
        }
        self.requeued.iter().for_each(|message| tell(message.sequence, message.attempts, None));
    }

    /// Forgets the messages that are gone, and tells sequence number, place, timer and consumer of
    /// each.
    pub fn forget(
        &mut self,
        gone: impl Fn(u64) -> bool,
        mut forgotten: impl FnMut(u64, Position, Option<TimerId>, Option<Key>),
    ) {
        let mut sequences = Vec::new();
        self.each(|sequence, _, _| {
            if gone(sequence) {
                sequences.push(sequence);
            }
        });
        for sequence in sequences {
            if let Some(message) = self.take(sequence) {
                forgotten(sequence, message.at, Some(message.timer), Some(message.client));
            } else if let Some(Deferred { message, timer, .. }) = self.deferred.remove(&sequence) {
                forgotten(sequence, message.at, Some(timer), None);
            } else if let Some(index) = self.requeued.iter().position(|m| m.sequence == sequence) {
                let message = self.requeued.remove(index).expect("it was just found");
                forgotten(sequence, message.at, None, None);
            }
        }
    }

    /// Takes a message whose time has come.
    pub fn undefer(&mut self, sequence: u64) -> Option<Waiting> {
        self.deferred.remove(&sequence).map(|deferred| deferred.message)
    }

    /// Puts back what `next_requeued` gave.
    pub fn requeue_first(&mut self, message: Waiting) {
        self.requeued.push_front(message);
    }

    /// Puts a message behind those that wait to be delivered again.
    pub fn requeue(&mut self, message: Waiting) {
        self.requeued.push_back(message);
    }

    /// The message that `next_requeued` would give.
    #[must_use]
    pub fn peek_requeued(&self) -> Option<&Waiting> {
        self.requeued.front()
    }

    /// The next message to be delivered again.
    pub fn next_requeued(&mut self) -> Option<Waiting> {
        self.requeued.pop_front()
    }

    /// Messages with a consumer.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight as u64
    }

    /// Messages that wait for their time.
    #[must_use]
    pub fn deferred(&self) -> u64 {
        self.deferred.len() as u64
    }

    /// Messages that wait to be delivered again.
    #[must_use]
    pub fn requeued(&self) -> u64 {
        self.requeued.len() as u64
    }

    /// Forgets everything, and tells sequence number, place and timer of each message.
    pub fn clear(&mut self, mut forgotten: impl FnMut(u64, Position, Option<TimerId>)) {
        for (sequence, message) in (self.base..).zip(self.ring.drain(..)) {
            if let Some(message) = message {
                forgotten(sequence, message.at, Some(message.timer));
            }
        }
        for (sequence, message) in self.stragglers.drain() {
            forgotten(sequence, message.at, Some(message.timer));
        }
        for (sequence, Deferred { message, timer, .. }) in self.deferred.drain() {
            forgotten(sequence, message.at, Some(timer));
        }
        for message in self.requeued.drain(..) {
            forgotten(message.sequence, message.at, None);
        }
        self.in_flight = 0;
        self.shrink();
    }

    /// Gives memory back that a burst left behind. Called when nothing is outstanding.
    pub fn shrink(&mut self) {
        if self.in_flight == 0 && self.ring.capacity() > RING_ENTRIES_MAX / 8 {
            self.ring = VecDeque::with_capacity(RING_ENTRIES_MIN);
        }
        if self.deferred.is_empty() && self.deferred.capacity() > RING_ENTRIES_MAX / 8 {
            self.deferred = HashMap::default();
        }
        if self.requeued.is_empty() && self.requeued.capacity() > RING_ENTRIES_MAX / 8 {
            self.requeued = VecDeque::new();
        }
    }

    fn index(&self, sequence: u64) -> Option<usize> {
        let index = sequence.checked_sub(self.base)?;
        // Beyond the ring there is nothing, and `get` says so.
        Some(usize::try_from(index).unwrap_or(usize::MAX))
    }

    fn move_front_aside(&mut self, entries: usize) {
        for _ in 0..entries {
            match self.ring.pop_front() {
                Some(Some(message)) => {
                    self.stragglers.insert(self.base, message);
                }
                Some(None) => {}
                None => return,
            }
            self.base += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{InFlight, Outstanding, Waiting};
    use crate::log::Position;
    use crate::slots::Key;
    use crate::wheel::TimerId;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn message(sequence: u64) -> InFlight {
        let at = Position { segment: sequence as u32, offset: 0 };
        let timer = TimerId::NONE;
        InFlight { client: Key::NONE, at, attempts: 1, timer, delivered_ms: sequence }
    }

    proptest! {
        #[test]
        fn finds_what_a_set_would(
            steps in prop::collection::vec((0_u64..200_000, any::<bool>()), 1..300),
        ) {
            let mut outstanding = Outstanding::default();
            let mut model = BTreeSet::new();
            for (sequence, deliver) in steps {
                let sequence = sequence + 1_000_000;
                if deliver && model.insert(sequence) {
                    outstanding.deliver(sequence, message(sequence));
                } else if !deliver {
                    // One that is there when there is any, so that both outcomes are tried.
                    let picked = model.range(sequence..).next().copied().unwrap_or(sequence);
                    let found = outstanding.take(picked).map(|message| message.delivered_ms);
                    prop_assert_eq!(found, model.take(&picked));
                }
                prop_assert_eq!(outstanding.in_flight(), model.len() as u64);
            }
            for &sequence in &model {
                prop_assert!(outstanding.get_mut(sequence).is_some());
            }
            let mut forgotten = Vec::new();
            outstanding.clear(|sequence, at, _| {
                assert_eq!(sequence as u32, at.segment);
                forgotten.push(sequence);
            });
            forgotten.sort_unstable();
            prop_assert_eq!(forgotten, model.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn one_old_message_does_not_make_the_ring_grow() {
        let mut outstanding = Outstanding::default();
        for sequence in 0..1_000_000 {
            outstanding.deliver(sequence, message(sequence));
            if sequence > 0 {
                assert!(outstanding.take(sequence).is_some());
            }
        }
        assert!(outstanding.ring.capacity() <= 2 * super::RING_ENTRIES_MAX);
        assert_eq!(outstanding.in_flight(), 1);
        assert!(outstanding.take(0).is_some());
    }

    #[test]
    fn states_are_counted_apart() {
        let mut outstanding = Outstanding::default();
        let waiting =
            |sequence| Waiting { sequence, at: Position::default(), attempts: 0, behind: 0 };
        outstanding.defer(waiting(5), 0, TimerId::NONE);
        outstanding.requeue(waiting(6));
        assert_eq!((outstanding.deferred(), outstanding.requeued()), (1, 1));
        assert!(outstanding.take(5).is_none());
        assert_eq!(outstanding.undefer(5).map(|message| message.sequence), Some(5));
        assert_eq!(outstanding.next_requeued().map(|message| message.sequence), Some(6));
    }
}
