//! Which segments of a log are in memory, and which are on the disk.

use alloc::vec::Vec;

use super::{Log, Position, SOMEWHERE, Segment};
use crate::disk::Place;
use crate::journal::state::Range;
use crate::sequences::SequenceSet;
use crate::store::Space;

/// A segment that would have to be read from the disk first, by its first sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cold {
    /// Sequence number of its first message.
    pub first: u64,
}

impl Log {
    /// Takes in segments as they were before a restart, in order; the log is empty.
    pub fn restore(&mut self, segments: impl Iterator<Item = Segment>) {
        for mut segment in segments {
            segment.start = self.segments.back().map_or(0, Segment::end);
            self.segments.push_back(segment);
        }
    }

    /// The segment with a message, or the first one behind it.
    #[must_use]
    pub fn locate(&self, sequence: u64) -> Position {
        let index = self.segments.partition_point(|segment| segment.last < sequence);
        Position { segment: self.first + index as u32, offset: SOMEWHERE }
    }

    /// The place of a message that is there, if it is not known.
    #[must_use]
    pub fn place(&self, sequence: u64, at: Position) -> Position {
        if at != Position::UNKNOWN {
            return at;
        }
        let numbered = self.locate(sequence);
        let index = (numbered.segment - self.first) as usize;
        match self.segments.get(index).filter(|segment| segment.first <= sequence) {
            Some(_) => numbered,
            // Old segments are found by sequence number.
            None => Position { segment: 0, offset: SOMEWHERE },
        }
    }

    /// Counts outstanding messages: each of these, so many times.
    pub fn pin_all(&mut self, messages: &SequenceSet, times: u32) {
        let Some(first) = messages.next(0) else { return };
        let from = self.segments.partition_point(|segment| segment.last < first);
        let mut left = messages.len();
        for segment in self.segments.range_mut(from..) {
            if left == 0 {
                break;
            }
            let count = messages.count(Range { first: segment.first, last: segment.last });
            segment.pins += count as u32 * times;
            left -= count;
        }
        assert!(left == 0, "messages are pinned where they are");
        self.pins += messages.len() * u64::from(times);
    }

    /// All of these are outstanding no more, which are outstanding once. Segments in which nothing
    /// is, and that every cursor is past, are freed.
    pub fn unpin_all(&mut self, messages: &SequenceSet, space: &mut Space) {
        let mut left = messages.len();
        let mut unpin = |segment: &mut Segment| {
            if left == 0 {
                return;
            }
            let count = messages.count(Range { first: segment.first, last: segment.last });
            segment.pins = segment.pins.checked_sub(count as u32).expect("each is unpinned once");
            left -= count;
        };
        self.segments.iter_mut().for_each(&mut unpin);
        self.old.values_mut().for_each(&mut unpin);
        assert!(left == 0, "a segment with outstanding messages is kept");
        self.pins -= messages.len();
        for (_, segment) in self.old.extract_if(.., |_, segment| segment.pins == 0) {
            self.old_bytes -= u64::from(segment.used());
            space.free(segment);
        }
    }

    /// The segment that starts with this message.
    pub fn by_first(&mut self, first: u64) -> Option<&mut Segment> {
        let index = self.segments.partition_point(|segment| segment.first < first);
        let found = self.segments.get_mut(index).filter(|segment| segment.first == first);
        found.or_else(|| self.old.get_mut(&first))
    }

    /// The segment that holds an outstanding message, when it has to be read from the disk.
    #[must_use]
    pub fn cold(&mut self, sequence: u64, at: Position) -> Option<Cold> {
        let segment = self.of(sequence, at)?;
        (!segment.is_resident()).then_some(Cold { first: segment.first })
    }

    /// Bytes of records from a message on, which is expected at this place.
    #[must_use]
    pub fn bytes_ahead(&self, sequence: u64, at: Position) -> u64 {
        let (Some((_, segment)), Some(last)) =
            (self.segments_from(at.segment).next(), self.segments.back())
        else {
            return 0;
        };
        let known = at.segment >= self.first && at.offset <= segment.used();
        let offset = match known {
            true => u64::from(at.offset),
            // It is in there somewhere: as far as its number is among those that may be.
            false => {
                let span = segment.last.saturating_sub(segment.first) + 1;
                let behind = sequence.saturating_sub(segment.first).min(span);
                let part = u128::from(behind) * u128::from(segment.used()) / u128::from(span);
                part as u64
            }
        };
        last.end().saturating_sub(segment.start + offset)
    }

    /// Bytes that a message takes, about.
    #[must_use]
    pub fn mean_record_bytes(&self) -> u64 {
        let last = self.segments.back().or_else(|| self.old.values().next_back());
        last.map_or(0, |last| u64::from(last.used()) / u64::from(last.count.max(1)))
    }

    /// All segments, old ones first.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.old.values().chain(&self.segments)
    }

    /// All segments, old ones first.
    pub fn segments_mut(&mut self) -> impl Iterator<Item = &mut Segment> {
        self.old.values_mut().chain(&mut self.segments)
    }

    /// The numbered segments from this one on.
    pub fn segments_from(&self, number: u32) -> impl Iterator<Item = (u32, &Segment)> {
        let skipped = number.saturating_sub(self.first);
        let from = self.first + skipped;
        (from..).zip(self.segments.iter().skip(skipped as usize))
    }

    /// The segment with this number and those behind it get their records' checksums.
    pub fn add_checksums_from(&mut self, number: u32) {
        let skipped = number.saturating_sub(self.first);
        for segment in self.segments.iter_mut().skip(skipped as usize) {
            segment.add_checksums(self.salt);
        }
    }

    /// All segments, the newest first and old ones last.
    pub fn segments_mut_newest_first(&mut self) -> impl Iterator<Item = &mut Segment> {
        self.segments.iter_mut().rev().chain(self.old.values_mut().rev())
    }

    /// Nothing more is added to the last segment: it can be stored.
    pub fn seal_last(&mut self) {
        if let Some(last) = self.segments.back_mut()
            && last.count > 0
        {
            last.sealed = true;
        }
    }

    /// Messages from this one on that are not in memory.
    #[must_use]
    pub fn cold_count(&self, at: Position) -> u64 {
        let cold = self.segments_from(at.segment).filter(|(_, segment)| !segment.is_resident());
        cold.map(|(_, segment)| u64::from(segment.count)).sum()
    }

    /// A segment is on the disk. The places that are not wanted any more for that; `None` when it
    /// is not there any more.
    pub fn stored(&mut self, first: u64, place: Place) -> Option<Vec<Place>> {
        let segment = self.by_first(first)?;
        if segment.used() != place.bytes || segment.home.is_some() {
            return None;
        }
        segment.storing = false;
        segment.home = Some(place);
        segment.journal = super::UNCOVERED;
        Some(core::mem::take(&mut segment.replaces))
    }
}
