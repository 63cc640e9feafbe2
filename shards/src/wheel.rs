//! One timing wheel per shard: message timeouts, deferrals and heartbeats in constant time each.
//!
//! Eight levels of 64 slots; a slot of level 0 is a millisecond wide, each level's slots are 64
//! times those below. A timer sits on the level of the highest group of six bits in which its
//! deadline differs from the present, and moves down when the present reaches its slot. Timers
//! are nodes of one arena, linked into their slots by index, so that setting and cancelling
//! allocate nothing once the arena has grown.

use alloc::vec::Vec;

const LEVEL_BITS: u32 = 6;
const SLOTS: usize = 1 << LEVEL_BITS;
/// Eight levels reach 8,900 years.
const LEVELS: usize = 8;
const NIL: u32 = u32::MAX;

/// Names a timer that has been set and has neither fired nor been cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId(u32);

impl TimerId {
    /// No timer.
    pub const NONE: TimerId = TimerId(NIL);
}

/// The wheel; `T` is what a timer gives back when it fires.
#[derive(Debug)]
pub struct Wheel<T> {
    now_ms: u64,
    nodes: Vec<Node<T>>,
    free: u32,
    heads: [[u32; SLOTS]; LEVELS],
    /// One bit per slot that is not empty.
    occupied: [u64; LEVELS],
    len: usize,
}

#[derive(Debug)]
struct Node<T> {
    deadline_ms: u64,
    prev: u32,
    next: u32,
    /// Level and slot, or that the node is free.
    place: u16,
    payload: T,
}

const FREE: u16 = u16::MAX;

impl<T: Copy> Wheel<T> {
    /// A wheel whose present is `now_ms`.
    #[must_use]
    pub fn new(now_ms: u64) -> Wheel<T> {
        Wheel {
            now_ms,
            nodes: Vec::new(),
            free: NIL,
            heads: [[NIL; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            len: 0,
        }
    }

    /// Sets a timer. One that is due already fires with the next `pop`.
    pub fn set(&mut self, deadline_ms: u64, payload: T) -> TimerId {
        let node = Node { deadline_ms, prev: NIL, next: NIL, place: FREE, payload };
        let index = if self.free == NIL {
            self.nodes.push(node);
            u32::try_from(self.nodes.len() - 1).expect("memory ends long before 2^32 timers")
        } else {
            let index = self.free;
            self.free = self.nodes[index as usize].next;
            self.nodes[index as usize] = node;
            index
        };
        self.link(index);
        self.len += 1;
        TimerId(index)
    }

    /// Cancels a timer that has not fired, if it is one.
    pub fn cancel(&mut self, id: TimerId) {
        if id == TimerId::NONE {
            return;
        }
        assert!(self.nodes[id.0 as usize].place != FREE, "a timer is cancelled once");
        self.unlink(id.0);
        self.release(id.0);
    }

    /// A timer that is due at `now_ms`, until there is none. Time never goes back.
    ///
    /// Each timer that fires or moves down a level takes one off `steps`; at 0 it gives none.
    pub fn pop(&mut self, now_ms: u64, steps: &mut u32) -> Option<T> {
        loop {
            let (level, slot, start_ms) = self.first_slot()?;
            if start_ms > now_ms {
                self.now_ms = self.now_ms.max(now_ms);
                return None;
            }
            *steps = steps.checked_sub(1)?;
            self.now_ms = self.now_ms.max(start_ms);
            let index = self.heads[level][slot];
            self.unlink(index);
            if level == 0 {
                let payload = self.nodes[index as usize].payload;
                self.release(index);
                return Some(payload);
            }
            self.link(index);
        }
    }

    /// A time before which no timer is due; it may be early by the width of a slot.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.first_slot().map(|(_, _, start_ms)| start_ms)
    }

    /// Timers set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first slot in time that holds timers. A slot of a higher level that the present has
    /// reached is emptied first; apart from that a lower level always comes before a higher one.
    fn first_slot(&self) -> Option<(usize, usize, u64)> {
        let reached = |&level: &usize| {
            self.occupied[level] >> ((self.now_ms >> (LEVEL_BITS * level as u32)) % 64) & 1 == 1
        };
        let level = (1..LEVELS)
            .find(reached)
            .or_else(|| (0..LEVELS).find(|&level| self.occupied[level] != 0))?;
        let shift = LEVEL_BITS * level as u32;
        let present = (self.now_ms >> shift) as u32 % SLOTS as u32;
        let ahead = self.occupied[level].rotate_right(present).trailing_zeros();
        let slot = (present + ahead) as usize % SLOTS;
        let start_ms = ((self.now_ms >> shift) + u64::from(ahead)) << shift;
        Some((level, slot, start_ms))
    }

    fn link(&mut self, index: u32) {
        let deadline_ms = self.nodes[index as usize].deadline_ms.max(self.now_ms);
        let different = (deadline_ms ^ self.now_ms) | 1;
        let level = ((different.ilog2() / LEVEL_BITS) as usize).min(LEVELS - 1);
        let slot = (deadline_ms >> (LEVEL_BITS * level as u32)) as usize % SLOTS;
        let head = self.heads[level][slot];
        if head != NIL {
            self.nodes[head as usize].prev = index;
        }
        let node = &mut self.nodes[index as usize];
        node.prev = NIL;
        node.next = head;
        node.place = (level * SLOTS + slot) as u16;
        self.heads[level][slot] = index;
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let Node { prev, next, place, .. } = self.nodes[index as usize];
        if next != NIL {
            self.nodes[next as usize].prev = prev;
        }
        if prev != NIL {
            self.nodes[prev as usize].next = next;
            return;
        }
        let (level, slot) = (usize::from(place) / SLOTS, usize::from(place) % SLOTS);
        self.heads[level][slot] = next;
        if next == NIL {
            self.occupied[level] &= !(1 << slot);
        }
    }

    fn release(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        node.place = FREE;
        node.next = self.free;
        self.free = index;
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::Wheel;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Set(u64),
        Cancel(usize),
        Advance(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        // Delays of every magnitude, so that every level is used.
        let delay = (0_u32..40, any::<u64>()).prop_map(|(bits, random)| random % (1 << bits));
        let advance = (0_u32..36, any::<u64>()).prop_map(|(bits, random)| random % (1 << bits));
        prop_oneof![
            4 => delay.prop_map(Step::Set),
            1 => any::<usize>().prop_map(Step::Cancel),
            2 => advance.prop_map(Step::Advance),
        ]
    }

    proptest! {
        #[test]
        fn fires_what_a_sorted_map_would(
            start in 0_u64..1 << 45,
            steps in prop::collection::vec(step(), 1..200),
        ) {
            let mut now = start;
            let mut wheel = Wheel::new(now);
            let mut model = BTreeMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Set(delay) => {
                        let id = wheel.set(now + delay, number);
                        model.insert((now + delay, number), id);
                    }
                    Step::Cancel(pick) => {
                        let key = model.keys().nth(pick % model.len().max(1)).copied();
                        if let Some(id) = key.and_then(|key| model.remove(&key)) {
                            wheel.cancel(id);
                        }
                    }
                    Step::Advance(by) => {
                        now += by;
                        let pop = || wheel.pop(now, &mut 1_000_000);
                        let mut fired: Vec<_> = core::iter::from_fn(pop).collect();
                        fired.sort_unstable();
                        let later = model.split_off(&(now + 1, 0));
                        let mut due: Vec<_> = model.into_keys().map(|(_, number)| number).collect();
                        due.sort_unstable();
                        model = later;
                        prop_assert_eq!(fired, due);
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                let earliest = model.keys().next().map(|&(deadline, _)| deadline);
                match (wheel.next_deadline_ms(), earliest) {
                    (None, None) => {}
                    (Some(guess), Some(deadline)) => prop_assert!(guess <= deadline.max(now)),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
    }
}
