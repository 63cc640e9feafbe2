//! A topic's log: messages in segments, each message once however many channels there are.
//!
//! A segment is freed when every cursor is past it and no outstanding message is in it. The log
//! keeps the count of the latter (`pins`) per segment; where the cursors are, its topic says.

pub mod pool;
pub mod record;

use alloc::collections::VecDeque;

pub use pool::Pool;
pub use record::Record;

use pool::Block;

/// Where a message is, or where the next one will be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Number of the segment since the topic was created.
    pub segment: u32,
    /// Bytes from its start.
    pub offset: u32,
}

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
}

/// The log of one topic.
#[derive(Debug, Default)]
pub struct Log {
    /// `None` where a segment was freed before an older one.
    segments: VecDeque<Option<Segment>>,
    /// Number of the first of them; of the next to come when there is none.
    first: u32,
    /// Size class of the next segment: grows while segments fill up.
    class: usize,
    /// Outstanding messages in all segments.
    pins: u64,
}

#[derive(Debug)]
struct Segment {
    block: Block,
    used: u32,
    pins: u32,
}

impl Log {
    /// Copies a message to the end.
    ///
    /// # Errors
    /// [`Full`] when the pool has no memory for it; nothing was changed then.
    pub fn append(&mut self, pool: &mut Pool, message: Message<'_>) -> Result<Position, Full> {
        let bytes = record::bytes(&message);
        let fits = |segment: &Segment| segment.block.len() - segment.used as usize >= bytes;
        if !matches!(self.segments.back(), Some(Some(segment)) if fits(segment)) {
            self.start_segment(pool, bytes)?;
        }
        let segment = self.segments.back_mut().and_then(Option::as_mut);
        let segment = segment.expect("a segment with room was just found or started");
        let offset = segment.used;
        record::write(&mut segment.block[offset as usize..][..bytes], &message);
        segment.used += bytes as u32;
        Ok(Position { segment: self.first + self.segments.len() as u32 - 1, offset })
    }

    fn start_segment(&mut self, pool: &mut Pool, bytes: usize) -> Result<(), Full> {
        let block = pool.take(self.class, bytes).ok_or(Full)?;
        if !self.segments.is_empty() {
            self.class = pool::larger(self.class);
        }
        self.segments.push_back(Some(Segment { block, used: 0, pins: 0 }));
        Ok(())
    }

    /// The message at a position that [`Log::settle`] gave or that is pinned.
    #[must_use]
    pub fn record(&self, at: Position) -> Record<'_> {
        let segment = self.segment(at.segment).expect("a message that is wanted is kept");
        record::read(&segment.block[..segment.used as usize], at)
    }

    /// Where the next message will be, unless it needs a new segment.
    #[must_use]
    pub fn end(&self) -> Position {
        match self.segments.back() {
            Some(Some(last)) => {
                Position { segment: self.first + self.segments.len() as u32 - 1, offset: last.used }
            }
            _ => Position { segment: self.first + self.segments.len() as u32, offset: 0 },
        }
    }

    /// The same place, as the start of the next segment when this one has no more messages.
    #[must_use]
    pub fn settle(&self, mut at: Position) -> Position {
        let last = self.first + (self.segments.len() as u32).saturating_sub(1);
        while at.segment < last {
            match self.segment(at.segment) {
                Some(segment) if at.offset < segment.used => break,
                _ => at = Position { segment: at.segment + 1, offset: 0 },
            }
        }
        at
    }

    /// Counts `by` more outstanding messages at this position.
    pub fn pin(&mut self, at: Position, by: u32) {
        self.segment_mut(at.segment).pins += by;
        self.pins += u64::from(by);
    }

    /// One outstanding message less. Its segment is freed when it was the last and every cursor
    /// is past the segment: `low` is the lowest segment with a cursor.
    pub fn unpin(&mut self, at: Position, low: u32, pool: &mut Pool) {
        let segment = self.segment_mut(at.segment);
        assert!(segment.pins > 0, "every message is unpinned once");
        segment.pins -= 1;
        let last = segment.pins == 0;
        self.pins -= 1;
        if last && at.segment < low {
            self.free(at.segment, pool);
            self.trim();
        }
    }

    /// Frees the segments from `from` to before `low` that hold nothing outstanding.
    pub fn free_below(&mut self, from: u32, low: u32, pool: &mut Pool) {
        for number in from.max(self.first)..low {
            if self.segment(number).is_some_and(|segment| segment.pins == 0) {
                self.free(number, pool);
            }
        }
        self.trim();
    }

    /// Gives back all memory of a log in which nothing is wanted any more; positions start anew
    /// at the one returned.
    pub fn rewind(&mut self, pool: &mut Pool) -> Position {
        assert!(self.pins == 0, "nothing is outstanding in a log that starts anew");
        let filled = self.segments.len() > 1
            || matches!(self.segments.back(), Some(Some(last))
                if last.used as usize * 4 >= last.block.len());
        if !filled {
            self.class = pool::smaller(self.class);
        }
        for segment in self.segments.drain(..).flatten() {
            pool.give_back(segment.block);
        }
        Position { segment: self.first, offset: 0 }
    }

    /// Gives back all memory, whatever is in it.
    pub fn clear(&mut self, pool: &mut Pool) {
        for segment in self.segments.drain(..).flatten() {
            pool.give_back(segment.block);
        }
        self.pins = 0;
    }

    /// Outstanding messages in all segments.
    #[must_use]
    pub fn pins(&self) -> u64 {
        self.pins
    }

    /// Whether it holds no memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    fn segment(&self, number: u32) -> Option<&Segment> {
        let index = number.checked_sub(self.first)?;
        self.segments.get(index as usize)?.as_ref()
    }

    fn segment_mut(&mut self, number: u32) -> &mut Segment {
        let slot = self.segments.get_mut((number - self.first) as usize);
        slot.and_then(Option::as_mut).expect("a segment with outstanding messages is kept")
    }

    fn free(&mut self, number: u32, pool: &mut Pool) {
        let slot = self.segments.get_mut((number - self.first) as usize);
        if let Some(segment) = slot.and_then(Option::take) {
            pool.give_back(segment.block);
        }
    }

    /// Forgets freed segments at the front. The last one stays: it has the number of the end.
    fn trim(&mut self) {
        while self.segments.len() > 1 && matches!(self.segments.front(), Some(None)) {
            self.segments.pop_front();
            self.first += 1;
        }
    }
}
