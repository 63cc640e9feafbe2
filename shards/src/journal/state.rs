//! State of topics and channels as bytes: variable-length numbers, each the difference to one
//! before it, so that what happens in sequence takes two bytes.
//!
//! A difference may be negative (zigzag), so the order of a list is kept whatever it is. Reading
//! trusts nothing: a list has at most as many items as bytes can hold, and no byte is left over.

use alloc::vec::Vec;

use crate::sequences::SequenceSet;

/// Sequence numbers from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// The lowest.
    pub first: u64,
    /// The highest; not below `first`.
    pub last: u64,
}

/// A message that a channel has given out, or keeps back, and that is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outstanding {
    /// Which message.
    pub sequence: u64,
    /// How often it was delivered.
    pub attempts: u16,
    /// When it may be delivered, in milliseconds since the Unix epoch; 0 for at once.
    pub due_ms: u64,
}

/// A channel's place in its topic. What is below the cursor and not outstanding is finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelState {
    /// The next message that was never delivered.
    pub cursor: u64,
    /// Messages ahead of the cursor that the channel does not get.
    pub skips: Vec<Range>,
    /// Sorted by sequence. Deferred ones may be ahead of the cursor.
    pub outstanding: Vec<Outstanding>,
    /// Messages that were never delivered, and are kept back for as long as their records say.
    pub kept: SequenceSet,
}

/// A piece of a channel's state that is too large for one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelPart {
    /// Some of what is outstanding.
    Outstanding(Vec<Outstanding>),
    /// Some of what is kept back.
    Kept(SequenceSet),
}

/// A topic's place in its own messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicState {
    /// Messages below belong to the channels; `None`: all do, the topic flows.
    pub handed: Option<u64>,
    /// The next message's sequence number.
    pub head: u64,
}

/// No item of a list is shorter: both kinds have two numbers or more.
const ITEM_BYTES_MIN: usize = 2;

impl ChannelState {
    /// Encodes what is not in parts, and how many there are of those.
    pub(super) fn encode(&self, parts: u64, out: &mut Vec<u8>) {
        let in_parts = self.outstanding.len() / PART_ITEMS * PART_ITEMS;
        put(out, self.cursor);
        put(out, parts);
        encode_ranges(out, &self.skips);
        encode_outstanding(out, &self.outstanding[in_parts..]);
    }

    pub(super) fn decode(payload: &[u8]) -> Option<(ChannelState, u64)> {
        let mut rest = payload;
        let (cursor, parts) = (take(&mut rest)?, take(&mut rest)?);
        let skips = take_ranges(&mut rest)?;
        let outstanding = take_outstanding(&mut rest)?;
        let state = ChannelState { cursor, skips, outstanding, kept: SequenceSet::default() };
        rest.is_empty().then_some((state, parts))
    }

    /// Tells the parts that are not in `encode`, each of bounded size.
    pub(super) fn split(&self, mut tell: impl FnMut(PartOf<'_>)) {
        for list in self.outstanding.chunks_exact(PART_ITEMS) {
            tell(PartOf::Outstanding(list));
        }
        let (mut part, mut count) = (Vec::new(), 0);
        self.kept.each_range(|range| {
            let mut rest = range;
            while rest.first <= rest.last {
                let room = PART_KEPT_MAX - count - 1;
                let cut = Range { last: rest.last.min(rest.first.saturating_add(room)), ..rest };
                part.push(cut);
                count += cut.last - cut.first + 1;
                if part.len() == PART_ITEMS || count == PART_KEPT_MAX {
                    tell(PartOf::Kept(&part));
                    part.clear();
                    count = 0;
                }
                let Some(next) = cut.last.checked_add(1) else { break };
                rest.first = next;
            }
        });
        if !part.is_empty() {
            tell(PartOf::Kept(&part));
        }
    }

    /// Takes its parts in, in order.
    pub(crate) fn complete(&mut self, parts: impl Iterator<Item = ChannelPart>) {
        let mut last = core::mem::take(&mut self.outstanding);
        for part in parts {
            match part {
                ChannelPart::Outstanding(mut list) => self.outstanding.append(&mut list),
                ChannelPart::Kept(kept) => self.kept.add(&kept),
            }
        }
        self.outstanding.append(&mut last);
    }
}

/// A part about to be encoded.
#[derive(Clone, Copy, Debug)]
pub(super) enum PartOf<'a> {
    Outstanding(&'a [Outstanding]),
    /// Ranges in order, which do not touch.
    Kept(&'a [Range]),
}

impl PartOf<'_> {
    pub(super) fn encode(self, number: u64, out: &mut Vec<u8>) {
        put(out, number);
        match self {
            PartOf::Outstanding(list) => {
                out.push(OUTSTANDING);
                encode_outstanding(out, list);
            }
            PartOf::Kept(ranges) => encode_kept(out, ranges),
        }
    }
}

impl ChannelPart {
    pub(super) fn decode(payload: &[u8]) -> Option<(u64, ChannelPart)> {
        let mut rest = payload;
        let number = take(&mut rest)?;
        let (&kind, behind) = rest.split_first()?;
        rest = behind;
        let part = match kind {
            OUTSTANDING => ChannelPart::Outstanding(take_outstanding(&mut rest)?),
            RANGES => ChannelPart::Kept(take_set(&mut rest)?),
            BITS => ChannelPart::Kept(take_bits(&mut rest)?),
            _ => return None,
        };
        rest.is_empty().then_some((number, part))
    }
}

impl TopicState {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put(out, self.head);
        if let Some(handed) = self.handed {
            put(out, handed);
        }
    }

    pub(super) fn decode(payload: &[u8]) -> Option<TopicState> {
        let mut rest = payload;
        let head = take(&mut rest)?;
        let handed = if rest.is_empty() { None } else { Some(take(&mut rest)?) };
        rest.is_empty().then_some(TopicState { handed, head })
    }
}

/// What a part's payload is.
const OUTSTANDING: u8 = 1;
const RANGES: u8 = 2;
const BITS: u8 = 3;
/// The most items that a part has.
const PART_ITEMS: usize = 32 * 1024;
/// The most messages that a part's set has: reading it allocates no more than a bit for each.
const PART_KEPT_MAX: u64 = 1 << 26;

/// As ranges where that is shorter than a bit for each number between first and last.
fn encode_kept(out: &mut Vec<u8>, ranges: &[Range]) {
    let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { return };
    let bytes = (last.last - first.first) / 8 + 1;
    if bytes > 2 * ranges.len() as u64 {
        out.push(RANGES);
        return encode_ranges(out, ranges);
    }
    out.push(BITS);
    put(out, first.first);
    let start = out.len();
    out.resize(start + bytes as usize, 0);
    for bit in ranges.iter().flat_map(|range| range.first..=range.last) {
        let bit = (bit - first.first) as usize;
        out[start + bit / 8] |= 1 << (bit % 8);
    }
}

fn take_set(rest: &mut &[u8]) -> Option<SequenceSet> {
    let ranges = take_ranges(rest)?;
    let lengths = ranges.iter().map(|range| (range.last - range.first).saturating_add(1));
    if lengths.fold(0, u64::saturating_add) > PART_KEPT_MAX {
        return None;
    }
    let mut set = SequenceSet::default();
    ranges.into_iter().for_each(|range| set.insert_range(range));
    Some(set)
}

/// The rest of a payload.
fn take_bits(rest: &mut &[u8]) -> Option<SequenceSet> {
    let first = take(rest)?;
    first.checked_add(rest.len() as u64 * 8)?;
    let bits = (first..).zip(rest.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1)));
    let set = bits.filter(|(_, bit)| *bit == 1).map(|(sequence, _)| sequence).collect();
    *rest = &[];
    Some(set)
}

pub(super) fn encode_ranges(out: &mut Vec<u8>, ranges: &[Range]) {
    put(out, ranges.len() as u64);
    let mut previous = 0;
    for range in ranges {
        assert!(range.first <= range.last, "a range has a first and a last");
        put_difference(out, range.first, previous);
        put(out, range.last - range.first);
        previous = range.last;
    }
}

pub(super) fn decode_ranges(payload: &[u8]) -> Option<Vec<Range>> {
    let mut rest = payload;
    let ranges = take_ranges(&mut rest)?;
    rest.is_empty().then_some(ranges)
}

fn take_ranges(rest: &mut &[u8]) -> Option<Vec<Range>> {
    let count = take_count(rest)?;
    let mut ranges = Vec::with_capacity(count);
    let mut previous = 0;
    for _ in 0..count {
        let first = take_difference(rest, previous)?;
        let last = first.checked_add(take(rest)?)?;
        ranges.push(Range { first, last });
        previous = last;
    }
    Some(ranges)
}

/// Behind the sequence, one number has the attempts and whether a due time follows.
pub(super) fn encode_outstanding(out: &mut Vec<u8>, list: &[Outstanding]) {
    put(out, list.len() as u64);
    let (mut sequence, mut due_ms) = (0, 0);
    for item in list {
        put_difference(out, item.sequence, sequence);
        put(out, u64::from(item.attempts) << 1 | u64::from(item.due_ms != 0));
        if item.due_ms != 0 {
            put_difference(out, item.due_ms, due_ms);
            due_ms = item.due_ms;
        }
        sequence = item.sequence;
    }
}

pub(super) fn decode_outstanding(payload: &[u8]) -> Option<Vec<Outstanding>> {
    let mut rest = payload;
    let list = take_outstanding(&mut rest)?;
    rest.is_empty().then_some(list)
}

fn take_outstanding(rest: &mut &[u8]) -> Option<Vec<Outstanding>> {
    let count = take_count(rest)?;
    let mut list = Vec::with_capacity(count);
    let (mut sequence, mut due_ms) = (0, 0);
    for _ in 0..count {
        sequence = take_difference(rest, sequence)?;
        let attempts_and_due = take(rest)?;
        let attempts = u16::try_from(attempts_and_due >> 1).ok()?;
        let deferred = attempts_and_due & 1 != 0;
        if deferred {
            due_ms = take_difference(rest, due_ms)?;
        }
        list.push(Outstanding { sequence, attempts, due_ms: if deferred { due_ms } else { 0 } });
    }
    Some(list)
}

/// Appends a number, seven bits to a byte, the lowest first.
pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a number as the difference to another.
pub(crate) fn put_difference(out: &mut Vec<u8>, number: u64, previous: u64) {
    let difference = number.wrapping_sub(previous) as i64;
    put(out, (difference << 1 ^ difference >> 63) as u64);
}

/// The only number of a payload.
pub(super) fn decode_number(payload: &[u8]) -> Option<u64> {
    let mut rest = payload;
    let number = take(&mut rest)?;
    rest.is_empty().then_some(number)
}

/// Takes a number off the front; `None` when there is none.
pub(crate) fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Takes a number off the front that was put as the difference to another.
pub(crate) fn take_difference(rest: &mut &[u8], previous: u64) -> Option<u64> {
    let zigzag = take(rest)?;
    Some(previous.wrapping_add(zigzag >> 1 ^ (zigzag & 1).wrapping_neg()))
}

/// How many items follow: never more than the bytes behind can hold.
fn take_count(rest: &mut &[u8]) -> Option<usize> {
    let count = usize::try_from(take(rest)?).ok()?;
    (count <= rest.len() / ITEM_BYTES_MIN).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::{
        ChannelPart, ChannelState, Outstanding, PART_KEPT_MAX, PartOf, Range, TopicState,
        decode_number, decode_outstanding, decode_ranges, put,
    };
    use crate::sequences::SequenceSet;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out);
        out
    }

    #[test]
    fn the_format_never_changes() {
        let state = ChannelState {
            cursor: 300,
            skips: vec![Range { first: 310, last: 310 }, Range { first: 312, last: 511 }],
            outstanding: vec![
                Outstanding { sequence: 298, attempts: 1, due_ms: 0 },
                Outstanding { sequence: 299, attempts: 0, due_ms: 70 },
                Outstanding { sequence: 400, attempts: 300, due_ms: 69 },
            ],
            kept: SequenceSet::default(),
        };
        let bytes = [
            &[0xac, 0x02, 5][..],               // the cursor, and five parts in front
            &[2, 0xec, 0x04, 0, 4, 0xc7, 0x01], // two ranges: +310, 1 long; +2, 200 long
            &[3, 0xd4, 0x04, 2],                // +298, one attempt
            &[2, 1, 0x8c, 0x01],                // +1, deferred, due +70
            &[0xca, 0x01, 0xd9, 0x04, 1],       // +101, 300 attempts, deferred, due -1
        ];
        assert_eq!(encoded(|out| state.encode(5, out)), bytes.concat());
        let row = [Range { first: 300, last: 4300 }, Range { first: 4302, last: 4302 }];
        let bytes = [7, 2, 2, 0xd8, 0x04, 0xa0, 0x1f, 4, 0];
        assert_eq!(encoded(|out| PartOf::Kept(&row).encode(7, out)), bytes);
        let some = [Range { first: 300, last: 301 }, Range { first: 303, last: 311 }];
        let bytes = [8, 3, 0xac, 0x02, 0b1111_1011, 0b1111];
        assert_eq!(encoded(|out| PartOf::Kept(&some).encode(8, out)), bytes);
        let list = PartOf::Outstanding(&state.outstanding[..1]);
        assert_eq!(encoded(|out| list.encode(0, out)), [0, 1, 1, 0xd4, 0x04, 2]);
        let flows = TopicState { handed: None, head: 128 };
        assert_eq!(encoded(|out| flows.encode(out)), [0x80, 0x01]);
        let held = TopicState { handed: Some(3), head: 127 };
        assert_eq!(encoded(|out| held.encode(out)), [0x7f, 3]);
    }

    fn range() -> impl Strategy<Value = Range> {
        let number = prop_oneof![any::<u64>(), 0_u64..1000];
        let pair = (number.clone(), number);
        pair.prop_map(|(one, other)| Range { first: one.min(other), last: one.max(other) })
    }

    fn outstanding() -> impl Strategy<Value = Outstanding> {
        let number = || prop_oneof![any::<u64>(), 0_u64..1000, Just(0)];
        (number(), any::<u16>(), number()).prop_map(|(sequence, attempts, due_ms)| Outstanding {
            sequence,
            attempts,
            due_ms,
        })
    }

    proptest! {
        #[test]
        fn states_come_back(
            cursor in any::<u64>(),
            skips in prop::collection::vec(range(), 0..20),
            outstanding in prop::collection::vec(outstanding(), 0..20),
            handed in any::<Option<u64>>(),
        ) {
            let topic = TopicState { handed, head: cursor };
            prop_assert_eq!(TopicState::decode(&encoded(|out| topic.encode(out))), Some(topic));
            let kept = SequenceSet::default();
            let state = ChannelState { cursor, skips, outstanding, kept };
            let mut bytes = encoded(|out| state.encode(0, out));
            for length in 0..bytes.len() {
                prop_assert_eq!(ChannelState::decode(&bytes[..length]), None);
            }
            prop_assert_eq!(ChannelState::decode(&bytes), Some((state, 0)));
            bytes.push(0);
            prop_assert_eq!(ChannelState::decode(&bytes), None);
        }

        #[test]
        fn nonsense_is_refused_or_read_within_its_size(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..4, Just(0xff)], 0..60),
        ) {
            let items = bytes.len() / 2;
            ChannelPart::decode(&bytes);
            if let Some((state, _)) = ChannelState::decode(&bytes) {
                prop_assert!(state.skips.capacity() + state.outstanding.capacity() <= items);
                prop_assert!(state.skips.iter().all(|range| range.first <= range.last));
            }
            prop_assert!(decode_ranges(&bytes).is_none_or(|list| list.capacity() <= items));
            prop_assert!(decode_outstanding(&bytes).is_none_or(|list| list.capacity() <= items));
            TopicState::decode(&bytes);
            decode_number(&bytes);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn a_state_of_any_size_comes_in_parts_of_bounded_size(
            outstanding in 0_u64..100_000,
            kept in prop::collection::vec((0_u64..1 << 22, 1_u64..90_000, 1_u64..60), 0..5),
        ) {
            let row = |(first, count, step)| (0..count).map(move |at| first + at * step);
            let list = (0..outstanding).map(|at| (at * 3, at as u16, at % 5 * (at + 70)));
            let list = list.map(|(sequence, attempts, due_ms)| Outstanding {
                sequence,
                attempts,
                due_ms,
            });
            let state = ChannelState {
                cursor: 9,
                skips: vec![Range { first: 10, last: 10 }],
                outstanding: list.collect(),
                kept: kept.into_iter().flat_map(row).collect(),
            };
            let mut parts = Vec::new();
            state.split(|part| {
                let number = parts.len() as u64;
                let bytes = encoded(|out| part.encode(number, out));
                assert!(bytes.len() < 512 << 10);
                let (found, part) = ChannelPart::decode(&bytes).unwrap();
                assert_eq!(found, number);
                for length in [0, 1, bytes.len() / 2] {
                    assert!(ChannelPart::decode(&bytes[..length]).is_none_or(|cut| cut.1 != part));
                }
                parts.push(part);
            });
            let bytes = encoded(|out| state.encode(parts.len() as u64, out));
            prop_assert!(bytes.len() < 512 << 10);
            let (mut found, count) = ChannelState::decode(&bytes).unwrap();
            prop_assert_eq!(count, parts.len() as u64);
            found.complete(parts.into_iter());
            prop_assert!(found == state);
        }
    }

    #[test]
    fn a_set_of_many_in_a_row_is_cut() {
        let mut kept = SequenceSet::default();
        kept.insert_range(Range { first: 7, last: 7 + PART_KEPT_MAX });
        let state = ChannelState { kept, ..ChannelState::default() };
        let mut lengths = Vec::new();
        state.split(|part| {
            let bytes = encoded(|out| part.encode(0, out));
            let Some((_, ChannelPart::Kept(set))) = ChannelPart::decode(&bytes) else { panic!() };
            lengths.push(set.len());
        });
        assert_eq!(lengths, [PART_KEPT_MAX, 1]);
        let claim = Range { first: 0, last: u64::MAX };
        let claim = encoded(|out| PartOf::Kept(&[claim]).encode(0, out));
        assert_eq!(ChannelPart::decode(&claim), None);
    }

    #[test]
    fn a_claimed_number_of_items_allocates_nothing() {
        let claim = encoded(|out| put(out, u64::MAX));
        assert_eq!((decode_ranges(&claim), decode_outstanding(&claim)), (None, None));
        let claim = encoded(|out| put(out, u64::from(u32::MAX)));
        assert_eq!((decode_ranges(&claim), decode_outstanding(&claim)), (None, None));
    }

    #[test]
    fn numbers_end() {
        let largest = encoded(|out| put(out, u64::MAX));
        assert_eq!((largest.len(), decode_number(&largest)), (10, Some(u64::MAX)));
        let above = [&[0xff; 9][..], &[2]].concat();
        assert_eq!(decode_number(&above), None);
        assert_eq!(decode_number(&[0x80; 20]), None);
        // A range that would end above the largest number.
        assert_eq!(decode_ranges(&[1, 1, 1]), None);
        assert_eq!(
            decode_ranges(&[1, 1, 0]),
            Some(vec![Range { first: u64::MAX, last: u64::MAX }])
        );
    }
}
