//! A channel's messages beyond its cursor that are not finished: in flight, deferred, requeued.
//!
//! Messages in flight lie in a ring indexed by sequence number, so that FIN is an array access.
//! When a few old ones would make the ring sparse they move to a map beside it. What is kept back
//! or comes again has no place in the ring.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use hashbrown::HashMap;

use crate::deferral::Deferrals;
use crate::journal::state::Range;
use crate::log::Position;
use crate::requeued::Requeued;
use crate::sequences::SequenceSet;
use crate::slots::Key;
use crate::store::Space;
use crate::transfers::Transfers;
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
    /// Its place in the log, or [`Position::UNKNOWN`].
    pub at: Position,
    /// Deliveries so far.
    pub attempts: u16,
    /// The channel's end when it was requeued: its place in the queue.
    pub behind: u64,
}

/// The outstanding messages of one channel. Each is in exactly one of the four states.
#[derive(Debug, Default)]
pub struct Outstanding {
    ring: VecDeque<Option<InFlight>>,
    /// Sequence number of the ring's first entry.
    base: u64,
    stragglers: HashMap<u64, InFlight>,
    in_flight: usize,
    /// When messages in flight were published, where that is measured.
    stamps: HashMap<u64, i64>,
    /// Messages that were published with a delay, and never delivered.
    pub published: Deferrals,
    /// Messages that a consumer has put off.
    pub put_off: Deferrals,
    requeued: Requeued,
    /// Messages on their way to another topic.
    pub transfers: Transfers,
}

/// A message that is not outstanding any more.
#[derive(Clone, Copy, Debug)]
pub struct Forgotten {
    /// Which.
    pub sequence: u64,
    /// Its place in the log, or [`Position::UNKNOWN`].
    pub at: Position,
    /// The timer and the consumer of one that was in flight.
    pub held: Option<(TimerId, Key)>,
}

/// What is not outstanding any more when everything is forgotten.
#[derive(Debug)]
pub enum Cleared<'a> {
    /// Messages whose places are not known.
    Set(&'a SequenceSet),
    /// One message.
    One(Forgotten),
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

    /// Notes when a message that is about to be sent was published.
    pub fn stamp(&mut self, sequence: u64, published_ns: i64) {
        self.stamps.insert(sequence, published_ns);
    }

    /// When a message in flight was published, if that was noted.
    #[must_use]
    pub fn published_ns(&self, sequence: u64) -> Option<i64> {
        self.stamps.get(&sequence).copied()
    }

    /// Takes a message that is in flight out.
    pub fn take(&mut self, sequence: u64) -> Option<InFlight> {
        let entry = self.index(sequence).and_then(|index| self.ring.get_mut(index)?.take());
        // The ring may have started anew below a message that was put aside.
        let taken = entry.or_else(|| self.stragglers.remove(&sequence))?;
        self.in_flight -= 1;
        if !self.stamps.is_empty() {
            self.stamps.remove(&sequence);
        }
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
            || self.published.members().contains(sequence)
            || self.put_off.members().contains(sequence)
            || self.requeued.is_packed(sequence)
            || self.transfers.contains(sequence)
    }

    /// The messages that wait to be delivered again, without those that `holds` knows.
    pub fn requeued_sequences(&self) -> impl Iterator<Item = u64> {
        self.requeued.at_hand().map(|message| message.sequence)
    }

    /// The messages that were never delivered and are, or were, kept back for as long as their
    /// records say. `each` does not tell of them.
    #[must_use]
    pub fn kept(&self) -> SequenceSet {
        let mut kept = self.published.members().clone();
        kept.add(self.requeued.packed_new());
        kept
    }

    /// Tells of every message but those of `kept` its sequence number, its deliveries, and, when
    /// it is put off, until when.
    pub fn each(&self, mut tell: impl FnMut(u64, u16, Option<u64>)) {
        self.each_in_flight(|sequence, message| tell(sequence, message.attempts, None));
        self.put_off.each(|entry| tell(entry.sequence, entry.attempts, Some(entry.due_ms)));
        let requeued = self.requeued.at_hand();
        requeued.for_each(|message| tell(message.sequence, message.attempts, None));
        let packed = self.requeued.packed_old();
        packed.for_each(|message| tell(message.sequence, message.attempts, None));
        let transfers = self.transfers.iter();
        transfers.for_each(|(sequence, transfer)| tell(sequence, transfer.attempts, None));
    }

    /// The oldest messages with a consumer, so many at most, in order.
    #[must_use]
    pub fn first_in_flight(&self, limit: usize) -> Vec<(u64, InFlight)> {
        let stragglers = self.stragglers.iter().map(|(&sequence, message)| (sequence, *message));
        let mut first: Vec<(u64, InFlight)> = stragglers.collect();
        let ring = (self.base..).zip(&self.ring);
        let ring = ring.filter_map(|(sequence, message)| Some((sequence, (*message)?)));
        first.extend(ring.take(limit));
        if first.len() > limit && limit > 0 {
            first.select_nth_unstable_by_key(limit - 1, |&(sequence, _)| sequence);
            first.truncate(limit);
        }
        first.sort_unstable_by_key(|&(sequence, _)| sequence);
        first
    }

    /// The next messages to be delivered again, so many at most, in order.
    #[must_use]
    pub fn first_requeued(&self, limit: usize) -> Vec<Waiting> {
        self.requeued.first(limit)
    }

    fn each_in_flight(&self, mut tell: impl FnMut(u64, &InFlight)) {
        for (sequence, message) in (self.base..).zip(&self.ring) {
            if let Some(message) = message {
                tell(sequence, message);
            }
        }
        for (&sequence, message) in &self.stragglers {
            tell(sequence, message);
        }
    }

    /// Forgets the messages of a range that is gone, and tells of each.
    pub fn forget(&mut self, range: Range, mut forgotten: impl FnMut(Forgotten)) {
        let gone = |sequence: u64| (range.first..=range.last).contains(&sequence);
        let mut in_flight = Vec::new();
        self.each_in_flight(|sequence, _| in_flight.extend(gone(sequence).then_some(sequence)));
        for sequence in in_flight {
            let InFlight { at, timer, client, .. } = self.take(sequence).expect("it is in flight");
            forgotten(Forgotten { sequence, at, held: Some((timer, client)) });
        }
        self.requeued.forget_at_hand(gone, |message| {
            forgotten(Forgotten { sequence: message.sequence, at: message.at, held: None });
        });
        for (sequence, transfer) in self.transfers.forget(range) {
            forgotten(Forgotten { sequence, at: transfer.at, held: None });
        }
        let mut packed = self.requeued.forget_packed(range);
        for deferrals in [&mut self.published, &mut self.put_off] {
            let members = deferrals.members().from(range.first);
            packed.extend(members.take_while(|&sequence| sequence <= range.last));
            deferrals.remove_range(range);
        }
        let at = Position::UNKNOWN;
        packed.into_iter().for_each(|sequence| forgotten(Forgotten { sequence, at, held: None }));
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
        self.published.members().len() + self.put_off.members().len()
    }

    /// Those of them that were never delivered, from a sequence number on.
    #[must_use]
    pub fn deferred_from(&self, first: u64) -> u64 {
        self.published.members().count(Range { first, last: u64::MAX })
    }

    /// Messages that wait to be delivered again.
    #[must_use]
    pub fn requeued(&self) -> u64 {
        self.requeued.len()
    }

    /// Forgets everything, and tells what that was.
    pub fn clear(&mut self, space: &mut Space, mut cleared: impl FnMut(Cleared<'_>, &mut Space)) {
        for deferrals in [&mut self.published, &mut self.put_off] {
            cleared(Cleared::Set(deferrals.members()), space);
            deferrals.clear(space);
        }
        cleared(Cleared::Set(self.requeued.packed_new()), space);
        let old: SequenceSet = self.requeued.packed_old().map(|message| message.sequence).collect();
        cleared(Cleared::Set(&old), space);
        for message in self.requeued.at_hand() {
            let Waiting { sequence, at, .. } = *message;
            cleared(Cleared::One(Forgotten { sequence, at, held: None }), space);
        }
        self.requeued = Requeued::default();
        for (sequence, transfer) in self.transfers.iter() {
            let at = transfer.at;
            cleared(Cleared::One(Forgotten { sequence, at, held: None }), space);
        }
        self.transfers.clear();
        self.each_in_flight(|sequence, message| {
            let InFlight { at, timer, client, .. } = *message;
            let held = Some((timer, client));
            cleared(Cleared::One(Forgotten { sequence, at, held }), space);
        });
        self.ring.clear();
        self.stragglers.clear();
        self.stamps.clear();
        self.in_flight = 0;
        self.shrink();
    }

    /// Bytes of memory for what waits to be delivered again, beyond the usual.
    #[must_use]
    pub fn requeued_bytes(&self) -> usize {
        self.requeued.bytes()
    }

    /// Gives memory back that a burst left behind. Called when nothing is outstanding.
    pub fn shrink(&mut self) {
        if self.in_flight == 0 && self.ring.capacity() > RING_ENTRIES_MAX / 8 {
            self.ring = VecDeque::with_capacity(RING_ENTRIES_MIN);
        }
        if self.in_flight == 0 && self.stamps.capacity() > RING_ENTRIES_MAX / 8 {
            self.stamps = HashMap::new();
        }
        self.requeued.shrink();
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
    use super::{Cleared, Forgotten, InFlight, Outstanding, Waiting};
    use crate::deferral::{Entry, Next};
    use crate::journal::state::Range;
    use crate::log::Pool;
    use crate::log::Position;
    use crate::slots::Key;
    use crate::store::Space;
    use crate::wheel::TimerId;
    use alloc::boxed::Box;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn space() -> Space {
        Space::new(Pool::new(1 << 20, Box::new(|| None)), 1 << 20)
    }

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
            outstanding.clear(&mut space(), |cleared, _| {
                let Cleared::One(Forgotten { sequence, at, held }) = cleared else { return };
                assert_eq!(sequence as u32, at.segment);
                assert!(held.is_some());
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

    fn mixed(space: &mut Space) -> Outstanding {
        let mut outstanding = Outstanding::default();
        let entry = |sequence| Entry { due_ms: 9, sequence, attempts: 1 };
        outstanding.published.insert(Entry { attempts: 0, ..entry(5) }, 9, &mut space.pool);
        outstanding.put_off.insert(entry(6), 9, &mut space.pool);
        let at = Position::default();
        outstanding.requeue(Waiting { sequence: 7, at, attempts: 2, behind: 0 });
        outstanding.deliver(8, message(8));
        outstanding
    }

    #[test]
    fn states_are_counted_apart() {
        let mut space = space();
        let mut outstanding = mixed(&mut space);
        let counts = |of: &Outstanding| (of.in_flight(), of.deferred(), of.requeued());
        assert_eq!(counts(&outstanding), (1, 2, 1));
        assert!(outstanding.take(5).is_none());
        assert!([5, 6, 8].into_iter().all(|sequence| outstanding.holds(sequence)));
        let mut told = Vec::new();
        outstanding.each(|sequence, attempts, due_ms| told.push((sequence, attempts, due_ms)));
        told.sort_unstable();
        assert_eq!(told, [(6, 1, Some(9)), (7, 2, None), (8, 1, None)]);
        assert!(outstanding.kept().from(0).eq([5]));
        let due = outstanding.published.pop(9, &mut space);
        assert_eq!(due, Next::Due(Entry { due_ms: 9, sequence: 5, attempts: 0 }));
        assert_eq!(outstanding.next_requeued().map(|message| message.sequence), Some(7));
        assert_eq!(counts(&outstanding), (1, 1, 0));
    }

    #[test]
    fn what_is_gone_is_forgotten_wherever_it_was() {
        let mut space = space();
        for (first, last) in [(5, 8), (6, 7), (8, 8), (1, 4)] {
            let mut outstanding = mixed(&mut space);
            let mut gone = Vec::new();
            outstanding.forget(Range { first, last }, |message| gone.push(message.sequence));
            gone.sort_unstable();
            assert!(gone.into_iter().eq(first.max(5)..=last.max(4)));
            let left = outstanding.in_flight() + outstanding.deferred() + outstanding.requeued();
            assert_eq!(left, 4 - (last + 1 - first.max(5).min(last + 1)));
            outstanding.clear(&mut space, |_, _| ());
            let left = outstanding.in_flight() + outstanding.deferred() + outstanding.requeued();
            assert_eq!(left, 0);
        }
        assert_eq!(space.pool.used_bytes(), 0);
    }
}
