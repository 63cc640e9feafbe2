//! A topic's log: messages in segments, each message once however many channels there are.
//!
//! Segments from the lowest cursor on lie in a queue and have numbers; a [`Position`] leads there
//! without a search. A segment that every cursor has left is freed when no message of it is
//! outstanding; until then it is *old*, and its messages are found by their sequence numbers, so
//! that old segments can be merged without anybody being told. How many messages are outstanding
//! in it a segment knows (`pins`); where the cursors are, its topic says.
//!
//! Any segment but the one being filled may be on the disk only. Whoever wants to read it is told
//! so, and asks for it to be loaded.

mod compact;
mod past;
pub mod pool;
pub mod record;
mod segment;
mod tier;

use alloc::collections::{BTreeMap, VecDeque};

pub use compact::Step;
pub use past::Since;
pub use pool::Pool;
pub use record::Record;
pub use segment::{Segment, UNCOVERED, UNTOLD};
pub use tier::Cold;

use crate::journal::entry;
use crate::store::Space;
use crate::wire::names::Name;
use record::Salt;

/// Where a message is, or where the next one will be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Number of the segment since the topic was created.
    pub segment: u32,
    /// Bytes from its start, or [`SOMEWHERE`].
    pub offset: u32,
}

impl Position {
    /// A message may be anywhere: see [`Log::place`].
    pub const UNKNOWN: Position = Position { segment: u32::MAX, offset: SOMEWHERE };
}

/// The offset of a message of which only the segment is known.
pub const SOMEWHERE: u32 = u32::MAX;

/// The memory budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// A message to be appended, its header already made.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The frame's header as every consumer gets it, attempts still 0.
    pub header: &'a [u8; crate::wire::frame::MESSAGE_HEADER_BYTES],
    /// The body.
    pub body: &'a [u8],
    /// How long each channel keeps it back.
    pub delay_ms: u64,
    /// What is noted of it for us, not for consumers; seldom anything.
    pub note: &'a [u8],
}

impl Message<'_> {
    /// When it was published, nanoseconds since the Unix epoch.
    fn timestamp_ns(&self) -> i64 {
        self.header[8..].first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
    }
}

/// The log of one topic.
#[derive(Debug, Default)]
pub struct Log {
    segments: VecDeque<Segment>,
    /// Number of the first of them; of the next to come when there is none.
    first: u32,
    /// By their first sequence numbers.
    old: BTreeMap<u64, Segment>,
    /// Size class of the next segment: grows while segments fill up.
    class: usize,
    /// Outstanding messages in all segments.
    pins: u64,
    /// What their checksums start with.
    pub(crate) salt: Salt,
    /// Bytes in front of the records of a segment that is filled.
    base: u32,
    /// Bytes of old segments.
    old_bytes: u64,
    /// Where merging old segments goes on, and at how many bytes it is next worth a look.
    merging: compact::Merging,
}

impl Log {
    /// An empty log.
    #[must_use]
    pub fn new(topic: &Name) -> Log {
        let base = entry::run_start_bytes(topic) as u32;
        Log { salt: Salt::of(topic), base, ..Log::default() }
    }

    /// Copies a message to the end. Returns its place.
    ///
    /// # Errors
    /// [`Full`] when there is no memory for it; nothing was changed then.
    pub fn append(
        &mut self,
        space: &mut Space,
        sequence: u64,
        message: Message<'_>,
    ) -> Result<Position, Full> {
        let bytes = record::bytes(&message);
        if !self.segments.back().is_some_and(|segment| segment.has_room(bytes)) {
            self.start_segment(space, sequence, bytes)?;
            if let Some(started) = self.segments.back_mut() {
                started.since_ns = message.timestamp_ns();
            }
        }
        let segment = self.segments.back_mut().expect("a segment was just found or started");
        let offset = segment.push(sequence, &message);
        Ok(Position { segment: self.first + self.segments.len() as u32 - 1, offset })
    }

    fn start_segment(&mut self, space: &mut Space, first: u64, bytes: usize) -> Result<(), Full> {
        let bytes = bytes + entry::run_overhead_max();
        let block = space.pool.take(self.class, bytes).ok_or(Full)?;
        // One that was closed before it was full says nothing about how large the next is to be.
        if let Some(last) = self.segments.back_mut().filter(|last| !last.sealed) {
            last.sealed = true;
            self.class = pool::larger(self.class);
        }
        let start = self.segments.back().map_or(0, Segment::end);
        let mut segment = Segment::new(block, self.base, first);
        segment.start = start;
        self.segments.push_back(segment);
        Ok(())
    }

    /// The message with this sequence number, which is settled or pinned; `None` when it is not
    /// in memory.
    #[must_use]
    pub fn record(&mut self, sequence: u64, at: Position) -> Option<Record<'_>> {
        let first = self.first;
        let segment =
            if at.segment >= first { self.segment(at.segment)? } else { self.old_of(sequence)? };
        // Positions survive merges and damage only as hints.
        let known = at.offset < segment.used()
            && !segment.shifted
            && at.segment >= first
            && segment.record(at).is_some_and(|record| record.sequence() == sequence);
        let offset = if known { at.offset } else { segment.find(sequence)? };
        if offset >= segment.used() {
            return None;
        }
        let record = segment.record(Position { segment: at.segment, offset })?;
        (record.sequence() == sequence).then_some(record)
    }

    /// The message that [`Log::settle`] has just found.
    #[must_use]
    pub fn settled(&self, at: Position) -> Record<'_> {
        let segment = at.segment.checked_sub(self.first);
        let segment = segment.and_then(|index| self.segments.get(index as usize));
        let record = segment.and_then(|segment| segment.record(at));
        record.expect("what is settled is in memory")
    }

    /// The record at a place that may be nowhere.
    #[must_use]
    pub fn record_at(&self, at: Position) -> Option<Record<'_>> {
        let index = at.segment.checked_sub(self.first)?;
        let segment = self.segments.get(index as usize)?;
        if at.offset >= segment.used() {
            return None;
        }
        segment.record(at)
    }

    /// Where the next message will be, unless it needs a new segment.
    #[must_use]
    pub fn end(&self) -> Position {
        let next = self.first + self.segments.len() as u32;
        match self.segments.back() {
            Some(last) => Position { segment: next - 1, offset: last.used() },
            None => Position { segment: next, offset: 0 },
        }
    }

    /// The place of the message `sequence`, or of the first one behind it that is there; `at` is
    /// where it was expected. Where the segment is not in memory, only that is told.
    ///
    /// # Errors
    /// [`Cold`] names the segment that has to be loaded first.
    pub fn settle(&mut self, sequence: u64, mut at: Position) -> Result<Position, Cold> {
        let last = self.first + (self.segments.len() as u32).saturating_sub(1);
        at = at.max(Position { segment: self.first, offset: 0 });
        while let Some(segment) = self.segment(at.segment) {
            let trusted = !segment.shifted;
            if trusted && at.offset < segment.used() && segment.is_resident() {
                break;
            }
            let behind = (trusted && at.offset == segment.used()) || segment.last < sequence;
            if !behind {
                let cold = Cold { first: segment.first };
                let offset = segment.find(sequence).ok_or(cold)?;
                at.offset = offset;
                if offset < segment.used() {
                    break;
                }
            }
            if at.segment == last {
                break;
            }
            at = Position { segment: at.segment + 1, offset: 0 };
        }
        Ok(at)
    }

    /// The number of the segment that `settle` would lead to, without looking into it.
    #[must_use]
    pub fn settled_segment(&self, sequence: u64, at: Position) -> u32 {
        let last = self.first + (self.segments.len() as u32).saturating_sub(1);
        let mut number = at.segment.max(self.first);
        let mut offset = if number == at.segment { at.offset } else { 0 };
        while number < last {
            let segment = &self.segments[(number - self.first) as usize];
            let at_end = !segment.shifted && offset == segment.used();
            if !at_end && segment.last >= sequence {
                break;
            }
            (number, offset) = (number + 1, 0);
        }
        number
    }

    /// Counts one more outstanding message at this position.
    pub fn pin(&mut self, sequence: u64, at: Position) {
        if let Some(segment) = self.of(sequence, at) {
            segment.pins += 1;
            self.pins += 1;
        }
    }

    /// One outstanding message less. Its segment is freed when it was the last and every cursor
    /// is past the segment.
    pub fn unpin(&mut self, sequence: u64, at: Position, space: &mut Space) {
        let segment = self.of(sequence, at).expect("a segment with outstanding messages is kept");
        assert!(segment.pins > 0, "every message is unpinned once");
        segment.pins -= 1;
        let (last, first) = (segment.pins == 0, segment.first);
        self.pins -= 1;
        if last && let Some(segment) = self.old.remove(&first) {
            self.old_bytes -= u64::from(segment.used());
            space.free(segment);
        }
    }

    /// Every cursor has left the segments below `low`: those in which nothing is outstanding are
    /// freed, the others are old now.
    pub fn free_below(&mut self, low: u32, space: &mut Space) {
        while self.first < low
            && let Some(mut segment) = self.segments.pop_front()
        {
            self.first += 1;
            if segment.pins == 0 {
                space.free(segment);
            } else {
                segment.sealed = true;
                self.old_bytes += u64::from(segment.used());
                self.old.insert(segment.first, segment);
            }
        }
    }

    /// Gives back all memory of a log in which nothing is wanted any more; positions start anew
    /// at the one returned.
    pub fn rewind(&mut self, space: &mut Space) -> Position {
        assert!(self.pins == 0, "nothing is outstanding in a log that starts anew");
        let filled = self.segments.len() > 1
            || self.segments.back().is_some_and(|last| {
                last.used() as usize * 4 >= last.memory_bytes() && last.used() > 0
            });
        if !filled {
            self.class = pool::smaller(self.class);
        }
        self.clear(space);
        Position::default()
    }

    /// Gives back all memory and places, whatever is in them.
    pub fn clear(&mut self, space: &mut Space) {
        self.first = 0;
        for segment in self.segments.drain(..) {
            space.free(segment);
        }
        while let Some((_, segment)) = self.old.pop_first() {
            space.free(segment);
        }
        self.pins = 0;
        self.old_bytes = 0;
        self.merging = compact::Merging::default();
    }

    /// Outstanding messages in all segments.
    #[must_use]
    pub fn pins(&self) -> u64 {
        self.pins
    }

    /// Whether it has no segments.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.old.is_empty()
    }

    fn segment(&mut self, number: u32) -> Option<&mut Segment> {
        let index = number.checked_sub(self.first)?;
        self.segments.get_mut(index as usize)
    }

    /// The old segment that a message is in.
    fn old_of(&mut self, sequence: u64) -> Option<&mut Segment> {
        let (_, segment) = self.old.range_mut(..=sequence).next_back()?;
        (sequence <= segment.last).then_some(segment)
    }

    /// The segment of a message whose position may have been long ago.
    fn of(&mut self, sequence: u64, at: Position) -> Option<&mut Segment> {
        if at.segment >= self.first { self.segment(at.segment) } else { self.old_of(sequence) }
    }
}
