//! A set of sequence numbers, kept as the stretches that it consists of.

use alloc::collections::BTreeMap;

use crate::journal::state::Range;

/// Stretches that neither overlap nor touch, so that ten million numbers in a row are one entry.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges {
    /// First to last, both included.
    stretches: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Adds all numbers of a stretch.
    pub(super) fn insert(&mut self, added: Range) {
        let Range { mut first, mut last } = added;
        if first > last {
            return;
        }
        while let Some((&from, &to)) = self.stretches.range(..=last.saturating_add(1)).next_back() {
            if to.saturating_add(1) < first {
                break;
            }
            self.stretches.remove(&from);
            (first, last) = (first.min(from), last.max(to));
        }
        self.stretches.insert(first, last);
    }

    /// The stretch that a number is in.
    pub(super) fn around(&self, number: u64) -> Option<Range> {
        let (&first, &last) = self.stretches.range(..=number).next_back()?;
        (number <= last).then_some(Range { first, last })
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.around(number).is_some()
    }

    /// Whether every number of the stretch is in the set.
    pub(super) fn covers(&self, range: Range) -> bool {
        self.around(range.first).is_some_and(|found| found.last >= range.last)
    }

    /// The lowest number of the set from `from` on.
    pub(super) fn next(&self, from: u64) -> Option<u64> {
        if self.contains(from) {
            return Some(from);
        }
        self.stretches.range(from..).next().map(|(&first, _)| first)
    }

    /// One more than the highest number; 0 when there is none.
    pub(super) fn end(&self) -> u64 {
        self.stretches.last_key_value().map_or(0, |(_, &last)| last.saturating_add(1))
    }

    /// What of a stretch is in the set, in order.
    pub(super) fn within(&self, range: Range) -> impl Iterator<Item = Range> {
        let from = self.around(range.first).map_or(range.first, |found| found.first);
        let stretches = (from <= range.last).then(|| self.stretches.range(from..=range.last));
        stretches.into_iter().flatten().map(move |(&first, &last)| Range {
            first: first.max(range.first),
            last: last.min(range.last),
        })
    }

    /// What of a stretch is not in the set, in order.
    pub(super) fn gaps(&self, range: Range) -> impl Iterator<Item = Range> {
        let behind = Range { first: range.last.saturating_add(1), last: u64::MAX };
        let mut at = range.first;
        self.within(range).chain([behind]).filter_map(move |found| {
            let gap = (at < found.first).then(|| Range { first: at, last: found.first - 1 });
            at = found.last.saturating_add(1);
            gap
        })
    }

    /// How many numbers there are.
    pub(super) fn count(&self) -> u64 {
        self.stretches.iter().map(|(first, last)| last - first + 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Ranges;
    use crate::journal::state::Range;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn is_the_set_that_it_stands_for(
            inserted in prop::collection::vec((0_u64..60, 0_u64..9), 0..20),
            (asked, width) in (0_u64..60, 0_u64..30),
        ) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (first, width) in inserted {
                let last = first + width;
                ranges.insert(Range { first, last });
                model.extend(first..=last);
            }
            let range = Range { first: asked, last: asked + width };
            let flat = |found: &mut dyn Iterator<Item = Range>| {
                found.flat_map(|range| range.first..=range.last).collect::<Vec<_>>()
            };
            let (inside, outside): (Vec<u64>, Vec<u64>) =
                (range.first..=range.last).partition(|number| model.contains(number));
            prop_assert_eq!(flat(&mut ranges.within(range)), inside);
            prop_assert_eq!(ranges.covers(range), outside.is_empty());
            prop_assert_eq!(flat(&mut ranges.gaps(range)), outside);
            prop_assert_eq!(ranges.contains(asked), model.contains(&asked));
            prop_assert_eq!(ranges.next(asked), model.range(asked..).next().copied());
            prop_assert_eq!(ranges.end(), model.last().map_or(0, |last| last + 1));
            prop_assert_eq!(ranges.count(), model.len() as u64);
            let stretches: Vec<Range> =
                ranges.within(Range { first: 0, last: u64::MAX }).collect();
            prop_assert!(stretches.windows(2).all(|pair| pair[0].last + 1 < pair[1].first));
        }
    }
}
