//! A set of sequence numbers in little memory: two bytes for each where they are sparse, a bit
//! where they are dense.
//!
//! The numbers are cut into stretches of 65,536. A stretch with few of them is a sorted list of
//! their low halves, one with many a bitmap. (Known as a roaring bitmap.)

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use crate::journal::state::Range;

const LOW_BITS: u32 = 16;
const WORDS: usize = 1 << (LOW_BITS - 6);
/// A list with more numbers would be larger than a bitmap.
const FEW_MAX: usize = 4096;
/// A bitmap with fewer becomes a list: far enough below, so that it does not go to and fro.
const MANY_MIN: u32 = 2048;
/// What a stretch takes besides its numbers.
const STRETCH_BYTES: usize = 64;

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct SequenceSet {
    stretches: BTreeMap<u64, Stretch>,
    len: u64,
    bytes: usize,
}

#[derive(Clone, Debug)]
enum Stretch {
    Few(Vec<u16>),
    Many(Box<[u64; WORDS]>, u32),
}

impl SequenceSet {
    /// Adds a number. False when it was there.
    pub fn insert(&mut self, sequence: u64) -> bool {
        let (high, low) = split(sequence);
        let stretch = self.stretches.entry(high).or_insert_with(|| {
            self.bytes += STRETCH_BYTES;
            Stretch::Few(Vec::new())
        });
        let before = stretch.bytes();
        let added = stretch.insert(low);
        self.bytes = self.bytes + stretch.bytes() - before;
        self.len += u64::from(added);
        added
    }

    /// Takes a number out. False when it was not there.
    pub fn remove(&mut self, sequence: u64) -> bool {
        let (high, low) = split(sequence);
        let Some(stretch) = self.stretches.get_mut(&high) else { return false };
        let before = stretch.bytes();
        let removed = stretch.remove(low);
        self.bytes = self.bytes + stretch.bytes() - before;
        self.len -= u64::from(removed);
        if stretch.count() == 0 {
            self.bytes -= STRETCH_BYTES + stretch.bytes();
            self.stretches.remove(&high);
        }
        removed
    }

    /// Whether a number is there.
    #[must_use]
    pub fn contains(&self, sequence: u64) -> bool {
        let (high, low) = split(sequence);
        self.stretches.get(&high).is_some_and(|stretch| stretch.contains(low))
    }

    /// How many numbers there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The highest number.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        let (&high, stretch) = self.stretches.last_key_value()?;
        let low = match stretch {
            Stretch::Few(list) => *list.last()?,
            Stretch::Many(words, _) => {
                let word = words.iter().rposition(|&word| word != 0)?;
                (word as u32 * 64 + 63 - words[word].leading_zeros()) as u16
            }
        };
        Some(high << LOW_BITS | u64::from(low))
    }

    /// The lowest number from `from` on.
    #[must_use]
    pub fn next(&self, from: u64) -> Option<u64> {
        let (start, low) = split(from);
        self.stretches.range(start..).find_map(|(&high, stretch)| {
            let low = if high == start { low } else { 0 };
            stretch.next(low).map(|low| high << LOW_BITS | u64::from(low))
        })
    }

    /// The numbers from `from` on, rising.
    pub fn from(&self, from: u64) -> impl Iterator<Item = u64> {
        let mut next = Some(from);
        core::iter::from_fn(move || {
            let found = self.next(next?)?;
            next = found.checked_add(1);
            Some(found)
        })
    }

    /// Tells all numbers, as ranges that do not touch, in order.
    pub fn each_range(&self, mut tell: impl FnMut(Range)) {
        let mut open: Option<Range> = None;
        let mut join = |found: Range| match &mut open {
            Some(range) if range.last.checked_add(1) == Some(found.first) => {
                range.last = found.last;
            }
            _ => open.replace(found).into_iter().for_each(&mut tell),
        };
        for (&high, stretch) in &self.stretches {
            let base = high << LOW_BITS;
            stretch.each_range(|first, last| {
                join(Range { first: base | u64::from(first), last: base | u64::from(last) });
            });
        }
        open.into_iter().for_each(tell);
    }

    /// How many numbers of a range there are.
    #[must_use]
    pub fn count(&self, range: Range) -> u64 {
        let ((from, first), (to, last)) = (split(range.first), split(range.last));
        let found = self.stretches.range(from..=to).map(|(&high, stretch)| {
            let first = if high == from { first } else { 0 };
            let last = if high == to { last } else { u16::MAX };
            u64::from(stretch.count_within(first, last))
        });
        found.sum()
    }

    /// Takes all numbers of a range out. How many it were.
    pub fn remove_range(&mut self, range: Range) -> u64 {
        let before = self.len;
        let mut at = range.first;
        while let Some(found) = self.next(at).filter(|&found| found <= range.last) {
            self.remove(found);
            at = found;
        }
        before - self.len
    }

    /// Adds all numbers of a range.
    pub fn insert_range(&mut self, range: Range) {
        let ((from, first), (to, last)) = (split(range.first), split(range.last));
        for high in from..=to {
            let first = if high == from { first } else { 0 };
            let last = if high == to { last } else { u16::MAX };
            let stretch = self.stretches.entry(high).or_insert_with(|| {
                self.bytes += STRETCH_BYTES;
                Stretch::Few(Vec::new())
            });
            let before = (stretch.bytes(), stretch.count());
            stretch.insert_range(first, last);
            self.bytes = self.bytes + stretch.bytes() - before.0;
            self.len += u64::from(stretch.count() - before.1);
        }
    }

    /// Adds all numbers of another set.
    pub fn add(&mut self, other: &SequenceSet) {
        if self.is_empty() {
            return self.clone_from(other);
        }
        other.each_range(|range| self.insert_range(range));
    }
}

/// Equal sets may lie in memory in different ways.
impl PartialEq for SequenceSet {
    fn eq(&self, other: &SequenceSet) -> bool {
        self.len == other.len && self.from(0).eq(other.from(0))
    }
}

impl Eq for SequenceSet {}

impl FromIterator<u64> for SequenceSet {
    fn from_iter<I: IntoIterator<Item = u64>>(sequences: I) -> SequenceSet {
        let mut set = SequenceSet::default();
        for sequence in sequences {
            set.insert(sequence);
        }
        set
    }
}

impl Stretch {
    fn insert(&mut self, low: u16) -> bool {
        match self {
            Stretch::Few(list) if list.len() < FEW_MAX => {
                let at = match list.last() {
                    Some(&last) if last < low => list.len(),
                    _ => match list.binary_search(&low) {
                        Ok(_) => return false,
                        Err(at) => at,
                    },
                };
                list.insert(at, low);
                true
            }
            Stretch::Few(_) => {
                self.become_many();
                self.insert(low)
            }
            Stretch::Many(words, count) => {
                let added = words[word(low)] & bit(low) == 0;
                words[word(low)] |= bit(low);
                *count += u32::from(added);
                added
            }
        }
    }

    fn become_many(&mut self) {
        let Stretch::Few(list) = self else { return };
        let mut words: Box<[u64; WORDS]> =
            vec![0; WORDS].into_boxed_slice().try_into().expect("it has that length");
        list.iter().for_each(|&low| words[word(low)] |= bit(low));
        let count = list.len() as u32;
        *self = Stretch::Many(words, count);
    }

    fn insert_range(&mut self, first: u16, last: u16) {
        if let Stretch::Few(list) = self {
            if list.len() + usize::from(last - first) < FEW_MAX {
                for low in first..=last {
                    self.insert(low);
                }
                return;
            }
            self.become_many();
        }
        let Stretch::Many(words, count) = self else { return };
        for at in word(first)..=word(last) {
            let filled = words[at] | mask(at, first, last);
            *count += (filled ^ words[at]).count_ones();
            words[at] = filled;
        }
    }

    /// Tells all numbers, as ranges; some may touch.
    fn each_range(&self, mut tell: impl FnMut(u16, u16)) {
        match self {
            Stretch::Few(list) => {
                let rows = list.chunk_by(|one, next| one + 1 == *next);
                rows.for_each(|row| tell(row[0], row[row.len() - 1]));
            }
            Stretch::Many(words, _) => {
                for (at, &word) in words.iter().enumerate() {
                    let (mut left, base) = (word, at as u16 * 64);
                    while left != 0 {
                        let first = left.trailing_zeros();
                        let long = (left >> first).trailing_ones();
                        tell(base + first as u16, base + (first + long - 1) as u16);
                        left &= !(!0 >> (64 - long) << first);
                    }
                }
            }
        }
    }

    fn remove(&mut self, low: u16) -> bool {
        match self {
            Stretch::Few(list) => {
                let found = list.binary_search(&low);
                found.map(|at| list.remove(at)).is_ok()
            }
            Stretch::Many(words, count) => {
                let removed = words[word(low)] & bit(low) != 0;
                words[word(low)] &= !bit(low);
                *count -= u32::from(removed);
                if *count < MANY_MIN {
                    let mut list = Vec::with_capacity(MANY_MIN as usize);
                    let mut at = self.next(0);
                    while let Some(low) = at {
                        list.push(low);
                        at = low.checked_add(1).and_then(|low| self.next(low));
                    }
                    *self = Stretch::Few(list);
                }
                removed
            }
        }
    }

    fn contains(&self, low: u16) -> bool {
        match self {
            Stretch::Few(list) => list.binary_search(&low).is_ok(),
            Stretch::Many(words, _) => words[word(low)] & bit(low) != 0,
        }
    }

    fn next(&self, low: u16) -> Option<u16> {
        match self {
            Stretch::Few(list) => list.get(list.partition_point(|&other| other < low)).copied(),
            Stretch::Many(words, _) => {
                let first = words[word(low)] & (!0 << (low % 64));
                if first != 0 {
                    return Some(low / 64 * 64 + first.trailing_zeros() as u16);
                }
                let behind = word(low) + 1;
                let at = behind + words[behind..].iter().position(|&word| word != 0)?;
                Some((at as u32 * 64 + words[at].trailing_zeros()) as u16)
            }
        }
    }

    fn count(&self) -> u32 {
        match self {
            Stretch::Few(list) => list.len() as u32,
            Stretch::Many(_, count) => *count,
        }
    }

    fn count_within(&self, first: u16, last: u16) -> u32 {
        match self {
            _ if (first, last) == (0, u16::MAX) => self.count(),
            Stretch::Few(list) => {
                let from = list.partition_point(|&low| low < first);
                (list.partition_point(|&low| low <= last) - from) as u32
            }
            Stretch::Many(words, _) => {
                let within = |at: usize| (words[at] & mask(at, first, last)).count_ones();
                (word(first)..=word(last)).map(within).sum()
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Stretch::Few(list) => list.capacity() * 2,
            Stretch::Many(..) => WORDS * 8,
        }
    }
}

fn split(sequence: u64) -> (u64, u16) {
    (sequence >> LOW_BITS, sequence as u16)
}

fn word(low: u16) -> usize {
    usize::from(low / 64)
}

/// The bits of a word that belong to a range.
fn mask(at: usize, first: u16, last: u16) -> u64 {
    let above = if at == word(first) { !0 << (first % 64) } else { !0 };
    let below = if at == word(last) { !0 >> (63 - last % 64) } else { !0 };
    above & below
}

fn bit(low: u16) -> u64 {
    1 << (low % 64)
}

#[cfg(test)]
mod tests {
    use super::SequenceSet;
    use crate::journal::state::Range;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Remove(u64),
        InsertRange(u64, u64),
        RemoveRange(u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        // Three stretches, with lists and bitmaps and what lies between.
        let number = || 1_000_000_u64..1_200_000;
        prop_oneof![
            4 => number().prop_map(Step::Insert),
            2 => number().prop_map(Step::Remove),
            1 => (number(), 0_u64..9000).prop_map(|(at, long)| Step::InsertRange(at, long)),
            1 => (number(), 0_u64..9000).prop_map(|(at, long)| Step::RemoveRange(at, long)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn is_the_set_that_it_stands_for(
            steps in prop::collection::vec(step(), 1..60),
            (asked, width) in (990_000_u64..1_210_000, 0_u64..150_000),
        ) {
            let (mut set, mut model) = (SequenceSet::default(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Insert(at) => prop_assert_eq!(set.insert(at), model.insert(at)),
                    Step::Remove(at) => {
                        let at = model.range(at..).next().copied().unwrap_or(at);
                        prop_assert_eq!(set.remove(at), model.remove(&at));
                    }
                    Step::InsertRange(first, long) => {
                        set.insert_range(Range { first, last: first + long });
                        model.extend(first..=first + long);
                    }
                    Step::RemoveRange(first, long) => {
                        let before = model.len();
                        model.retain(|at| !(first..=first + long).contains(at));
                        let removed = set.remove_range(Range { first, last: first + long });
                        prop_assert_eq!(removed, (before - model.len()) as u64);
                    }
                }
            }
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert_eq!(set.last(), model.last().copied());
            prop_assert_eq!(set.contains(asked), model.contains(&asked));
            prop_assert_eq!(set.next(asked), model.range(asked..).next().copied());
            let range = Range { first: asked, last: asked + width };
            prop_assert_eq!(set.count(range), model.range(asked..=asked + width).count() as u64);
            let all: Vec<u64> = set.from(0).collect();
            prop_assert!(all.iter().eq(&model));
            let mut ranges: Vec<Range> = Vec::new();
            set.each_range(|range| ranges.push(range));
            prop_assert!(ranges.iter().flat_map(|r| r.first..=r.last).eq(set.from(0)));
            prop_assert!(ranges.windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
            let (mut twice, mut again) = (set.clone(), SequenceSet::default());
            twice.add(&set);
            ranges.iter().for_each(|&range| again.insert_range(range));
            prop_assert!(twice == set && again == set);
            model.iter().for_each(|&at| assert!(set.remove(at)));
            prop_assert_eq!((set.len(), set.bytes()), (0, 0));
        }
    }

    #[test]
    fn a_million_in_a_row_take_a_bit_each() {
        let set: SequenceSet = (0..1_000_000).map(|number| number + (1 << 40)).collect();
        assert!(set.bytes() < 150_000, "{}", set.bytes());
        let sparse: SequenceSet = (0..10_000).map(|number| number * 1000).collect();
        assert!(sparse.bytes() < 60_000, "{}", sparse.bytes());
    }
}
