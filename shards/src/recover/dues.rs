//! When deferred messages may be delivered, as their records say: millions of them in few bytes
//! each.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use crate::journal::state::{put, put_difference, take, take_difference};
use crate::sequences::SequenceSet;

/// Messages that are packed together.
const PACK_MAX: u32 = 4096;

/// Times by sequence number, in milliseconds since the Unix epoch.
#[derive(Clone, Debug, Default)]
pub struct Dues {
    members: SequenceSet,
    /// In order.
    packs: Vec<Pack>,
    /// What came behind its turn.
    loose: BTreeMap<u64, u64>,
}

#[derive(Clone, Debug)]
struct Pack {
    first: u64,
    last: u64,
    last_due_ms: u64,
    count: u32,
    bytes: Vec<u8>,
}

impl Dues {
    /// A message is due then. What is known is not changed.
    pub(super) fn insert(&mut self, sequence: u64, due_ms: u64) {
        if !self.members.insert(sequence) {
            return;
        }
        let last = self.packs.last_mut();
        if last.as_ref().is_some_and(|pack| sequence < pack.last) {
            self.loose.insert(sequence, due_ms);
            return;
        }
        match last.filter(|pack| pack.count < PACK_MAX) {
            Some(pack) => pack.push(sequence, due_ms),
            None => {
                let (first, last, last_due_ms) = (sequence, sequence, 0);
                let mut pack = Pack { first, last, last_due_ms, count: 0, bytes: Vec::new() };
                pack.push(sequence, due_ms);
                self.packs.push(pack);
            }
        }
    }

    /// The messages.
    #[must_use]
    pub fn members(&self) -> &SequenceSet {
        &self.members
    }

    /// Those of a range, in order.
    pub fn range(&self, range: Range<u64>) -> impl Iterator<Item = (u64, u64)> {
        let from = self.packs.partition_point(|pack| pack.last < range.start);
        let packed = self.packs[from..].iter().take_while({
            let end = range.end;
            move |pack| pack.first < end
        });
        let mut packed = packed.flat_map(Pack::unpack).peekable();
        let end = range.end.max(range.start);
        let mut loose = self.loose.range(range.start..end).map(|(&at, &due)| (at, due)).peekable();
        let merged = core::iter::from_fn(move || match (packed.peek(), loose.peek()) {
            (Some(one), Some(other)) if other < one => loose.next(),
            (Some(_), _) => packed.next(),
            (None, _) => loose.next(),
        });
        merged.filter(move |(sequence, _)| range.contains(sequence))
    }
}

/// They may be packed in different ways.
impl PartialEq for Dues {
    fn eq(&self, other: &Dues) -> bool {
        self.range(0..u64::MAX).eq(other.range(0..u64::MAX))
    }
}

impl Eq for Dues {}

impl Pack {
    fn push(&mut self, sequence: u64, due_ms: u64) {
        put(&mut self.bytes, sequence - self.last);
        put_difference(&mut self.bytes, due_ms, self.last_due_ms);
        (self.last, self.last_due_ms) = (sequence, due_ms);
        self.count += 1;
    }

    fn unpack(&self) -> impl Iterator<Item = (u64, u64)> {
        let (mut rest, mut sequence, mut due_ms) = (&self.bytes[..], self.first, 0);
        (0..self.count).map_while(move |_| {
            sequence += take(&mut rest)?;
            due_ms = take_difference(&mut rest, due_ms)?;
            Some((sequence, due_ms))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Dues;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_the_map_that_it_stands_for(
            rows in prop::collection::vec((0_u64..20_000, 1_u64..6000, 1_u64..4), 1..6),
            (from, long) in (0_u64..30_000, 0_u64..30_000),
            times in any::<u64>(),
        ) {
            let (mut dues, mut model) = (Dues::default(), BTreeMap::new());
            for (first, count, step) in rows {
                for sequence in (0..count).map(|index| first + index * step) {
                    let due_ms = sequence.wrapping_mul(times) >> 20;
                    dues.insert(sequence, due_ms);
                    model.insert(sequence, due_ms);
                }
            }
            let found: Vec<(u64, u64)> = dues.range(from..from + long).collect();
            let expected = model.range(from..from + long).map(|(&at, &due_ms)| (at, due_ms));
            prop_assert!(expected.eq(found));
            prop_assert!(dues.members().from(0).eq(model.into_keys()));
        }
    }
}
