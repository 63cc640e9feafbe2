//! The messages of one channel that wait to be delivered again, or for the first time after a
//! delay, in the order in which they came back.
//!
//! A channel without consumers may have millions of them, all due. So only the first few thousand
//! lie at hand; those behind are packed, about four bytes each, and sets say which they are.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::journal::state::{Range, put, put_difference, take, take_difference};
use crate::log::Position;
use crate::outstanding::Waiting;
use crate::sequences::SequenceSet;

/// Messages at hand, at most. What consumers may hold at a time seldom comes near.
const FRONT_MAX: usize = 8 * 1024;
/// Messages that are packed together.
const PACK_MAX: usize = 1024;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Requeued {
    front: VecDeque<Waiting>,
    packs: VecDeque<Pack>,
    /// Behind all packs.
    back: Vec<Waiting>,
    /// What is packed: never delivered, and delivered before.
    new: SequenceSet,
    old: SequenceSet,
    pack_bytes: usize,
    /// All of these.
    len: u64,
}

#[derive(Debug)]
struct Pack {
    bytes: Vec<u8>,
    count: usize,
}

impl Requeued {
    /// Puts a message behind all others.
    pub fn push_back(&mut self, message: Waiting) {
        self.len += 1;
        if self.packs.is_empty() && self.back.is_empty() && self.front.len() < FRONT_MAX {
            return self.front.push_back(message);
        }
        self.back.push(message);
        if self.back.len() >= PACK_MAX {
            self.pack();
        }
    }

    /// Puts a message in front of all others.
    pub fn push_front(&mut self, message: Waiting) {
        self.len += 1;
        self.front.push_front(message);
    }

    /// The first message.
    #[must_use]
    pub fn front(&self) -> Option<&Waiting> {
        // Whoever takes the last one at hand gets the next ones there.
        self.front.front()
    }

    /// Takes the first message.
    pub fn pop_front(&mut self) -> Option<Waiting> {
        let message = self.front.pop_front()?;
        self.len -= 1;
        if self.front.is_empty() {
            self.refill();
        }
        Some(message)
    }

    fn refill(&mut self) {
        while self.front.is_empty()
            && let Some(pack) = self.packs.pop_front()
        {
            self.pack_bytes -= pack.bytes.capacity();
            let Requeued { front, new, old, .. } = self;
            let mut there = |sequence| new.remove(sequence) || old.remove(sequence);
            front.extend(pack.unpack().filter(|message| there(message.sequence)));
        }
        if self.front.is_empty() {
            self.front.extend(self.back.drain(..));
        }
    }

    fn pack(&mut self) {
        let (mut sequence, mut behind) = (0, 0);
        let mut bytes = Vec::with_capacity(PACK_MAX * 4);
        for message in &self.back {
            put(&mut bytes, u64::from(message.attempts));
            put_difference(&mut bytes, message.sequence, sequence);
            put_difference(&mut bytes, message.behind, behind);
            (sequence, behind) = (message.sequence, message.behind);
            let set = if message.attempts == 0 { &mut self.new } else { &mut self.old };
            set.insert(sequence);
        }
        bytes.shrink_to_fit();
        self.pack_bytes += bytes.capacity();
        self.packs.push_back(Pack { bytes, count: self.back.len() });
        self.back.clear();
    }

    /// The first messages, so many at most, in order.
    #[must_use]
    pub fn first(&self, limit: usize) -> Vec<Waiting> {
        let packed = self.packs.iter().flat_map(Pack::unpack);
        let packed = packed.filter(|message| self.is_packed(message.sequence));
        let all = self.front.iter().copied().chain(packed).chain(self.back.iter().copied());
        all.take(limit).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a message is among those that are packed.
    #[must_use]
    pub fn is_packed(&self, sequence: u64) -> bool {
        self.new.contains(sequence) || self.old.contains(sequence)
    }

    /// The packed ones that were never delivered.
    #[must_use]
    pub fn packed_new(&self) -> &SequenceSet {
        &self.new
    }

    /// Those at hand.
    pub fn at_hand(&self) -> impl Iterator<Item = &Waiting> {
        self.front.iter().chain(&self.back)
    }

    /// The packed ones that were delivered before, in order.
    pub fn packed_old(&self) -> impl Iterator<Item = Waiting> {
        let packs = if self.old.is_empty() { 0 } else { self.packs.len() };
        let all = self.packs.iter().take(packs).flat_map(Pack::unpack);
        all.filter(|message| self.old.contains(message.sequence))
    }

    /// Bytes of memory besides those at hand, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pack_bytes + self.new.bytes() + self.old.bytes()
    }

    /// Forgets those at hand that are gone, and tells of each.
    pub fn forget_at_hand(&mut self, gone: impl Fn(u64) -> bool, mut tell: impl FnMut(&Waiting)) {
        let mut stays = |message: &Waiting| {
            let gone = gone(message.sequence);
            if gone {
                tell(message);
            }
            !gone
        };
        let before = self.front.len() + self.back.len();
        self.front.retain(&mut stays);
        self.back.retain(&mut stays);
        self.len -= (before - self.front.len() - self.back.len()) as u64;
        if self.front.is_empty() {
            self.refill();
        }
    }

    /// Forgets those that are packed and within a range. Which these are.
    pub fn forget_packed(&mut self, range: Range) -> Vec<u64> {
        let mut gone = Vec::new();
        for set in [&mut self.new, &mut self.old] {
            gone.extend(set.from(range.first).take_while(|&sequence| sequence <= range.last));
            set.remove_range(range);
        }
        self.len -= gone.len() as u64;
        gone
    }

    /// Gives back memory of a burst.
    pub fn shrink(&mut self) {
        if self.is_empty() && self.front.capacity() > FRONT_MAX {
            *self = Requeued::default();
        }
    }
}

impl Pack {
    fn unpack(&self) -> impl Iterator<Item = Waiting> {
        let (mut rest, mut sequence, mut behind) = (&self.bytes[..], 0, 0);
        (0..self.count).map_while(move |_| {
            let attempts = take(&mut rest)? as u16;
            sequence = take_difference(&mut rest, sequence)?;
            behind = take_difference(&mut rest, behind)?;
            Some(Waiting { sequence, at: Position::UNKNOWN, attempts, behind })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{FRONT_MAX, Requeued};
    use crate::journal::state::Range;
    use crate::log::Position;
    use crate::outstanding::Waiting;
    use alloc::collections::VecDeque;
    use alloc::vec::Vec;

    fn message(sequence: u64) -> Waiting {
        let attempts = (sequence % 3) as u16;
        Waiting { sequence, at: Position::default(), attempts, behind: sequence * 2 }
    }

    fn same(one: &Waiting, other: &Waiting) -> bool {
        let of = |message: &Waiting| (message.sequence, message.attempts, message.behind);
        of(one) == of(other)
    }

    /// Grows and shrinks by turns, as when consumers come and go.
    #[test]
    fn is_a_queue() {
        let (mut queue, mut model) = (Requeued::default(), VecDeque::new());
        let mut next = 1000;
        for round in 1..12 {
            for _ in 0..round * 3000 {
                next += 1 + next % 5;
                queue.push_back(message(next));
                model.push_back(message(next));
            }
            for taken in 0..round * 3000 - 500 {
                assert!(same(queue.front().unwrap(), &model[0]));
                let (one, other) = (queue.pop_front().unwrap(), model.pop_front().unwrap());
                assert!(same(&one, &other));
                if taken % 100 == 0 {
                    queue.push_front(one);
                    model.push_front(other);
                }
            }
            assert_eq!(queue.len(), model.len() as u64);
        }
        while let Some(expected) = model.pop_front() {
            assert!(same(&queue.pop_front().unwrap(), &expected));
        }
        assert!(queue.is_empty() && queue.front().is_none() && queue.bytes() == 0);
    }

    #[test]
    fn tells_what_it_has_and_forgets_what_is_gone() {
        let mut queue = Requeued::default();
        let count = 3 * FRONT_MAX as u64;
        (0..count).for_each(|sequence| queue.push_back(message(sequence)));
        let known = |queue: &Requeued| {
            let packed = queue.packed_new().from(0);
            let rest = queue.at_hand().map(|message| message.sequence);
            let old = queue.packed_old().map(|message| message.sequence);
            let mut all: Vec<u64> = packed.chain(rest).chain(old).collect();
            all.sort_unstable();
            all
        };
        assert!(known(&queue).into_iter().eq(0..count));
        assert!(queue.is_packed(count / 2) && !queue.is_packed(1));
        assert!(
            queue
                .packed_old()
                .all(|message| same(&message, &super::tests::message(message.sequence)))
        );
        let range = Range { first: 100, last: count - 100 };
        let mut gone = queue.forget_packed(range);
        let within = |sequence: u64| (range.first..=range.last).contains(&sequence);
        queue.forget_at_hand(within, |message| gone.push(message.sequence));
        gone.sort_unstable();
        assert!(gone.into_iter().eq(range.first..=range.last));
        let left: Vec<u64> =
            core::iter::from_fn(|| queue.pop_front()).map(|message| message.sequence).collect();
        assert!(left.into_iter().eq((0..100).chain(count - 99..count)));
    }

    #[test]
    fn a_million_take_few_bytes_each() {
        let mut queue = Requeued::default();
        for sequence in 0..1_000_000 {
            queue.push_back(Waiting { attempts: 0, behind: 2_000_000, ..message(sequence) });
        }
        assert!(queue.bytes() < 4_000_000, "{}", queue.bytes());
    }
}
