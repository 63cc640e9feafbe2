//! A stretch of a topic's log: in memory, in a store file, or both.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use super::pool::Block;
use super::record::{self, Checked, Record, Salt};
use super::{Message, Position};
use crate::disk::{Content, Place};
use crate::journal::entry::{self, At, Run};
use crate::page_buffer::PAGE_BYTES;
use crate::wire::names::Name;

/// No journal file covers it.
pub const UNCOVERED: u32 = u32::MAX;
/// Nobody has looked when a segment's first message was published.
pub const UNTOLD: i64 = i64::MIN;

/// Where the records of a segment are in memory.
#[derive(Debug)]
enum Memory {
    /// They are not.
    None,
    Own(Block),
    /// Being written to a store, or about to be taken back from there.
    Lent(Arc<Block>),
}

impl Memory {
    fn block(&self) -> Option<&Block> {
        match self {
            Memory::None => None,
            Memory::Own(block) => Some(block),
            Memory::Lent(block) => Some(block),
        }
    }

    /// To be changed; `None` when it is not there, or lent.
    fn block_mut(&mut self) -> Option<&mut Block> {
        match self {
            Memory::Own(block) => Some(block),
            Memory::None | Memory::Lent(_) => None,
        }
    }

    /// Gives up the block. `None` when there is none, or when it is lent: then who has it gives it
    /// back to the pool.
    fn take(&mut self) -> Option<Block> {
        match core::mem::replace(self, Memory::None) {
            Memory::None => None,
            Memory::Own(block) => Some(block),
            Memory::Lent(block) => Arc::into_inner(block),
        }
    }
}

/// A segment. The sequence numbers in it rise, but some may be missing.
#[derive(Debug)]
pub struct Segment {
    memory: Memory,
    /// Where in its block the records start: behind room for what stands in front of them in a
    /// file, unless they came from there.
    base: u32,
    /// Bytes of its records.
    used: u32,
    /// Bytes of those that have their checksums.
    checked: u32,
    /// Sequence number of the first message.
    pub first: u64,
    /// Sequence number of the last message.
    pub last: u64,
    /// When the first message was published, nanoseconds since the Unix epoch; [`UNTOLD`] where
    /// that is not known.
    pub since_ns: i64,
    /// Messages.
    pub count: u32,
    /// Bytes of the segments before it.
    pub start: u64,
    /// Whether some are deferred.
    pub deferred: bool,
    /// Messages that a channel has outstanding, counted for each channel.
    pub pins: u32,
    /// Nothing is added any more.
    pub sealed: bool,
    /// Where it is on the disk.
    pub home: Option<Place>,
    /// It is being written there, or waits for that.
    pub storing: bool,
    /// It is being read.
    pub loading: bool,
    /// The oldest journal file with messages of it.
    pub journal: u32,
    /// Places that it takes the place of, wanted until it is on the disk itself.
    pub replaces: Vec<Place>,
    /// Records were damaged: positions in it from before are not where they say.
    pub shifted: bool,
    /// Where the records are, as far as somebody looked for one.
    index: Vec<u32>,
}

impl Segment {
    /// An empty segment in memory, its records `base` bytes from the block's start.
    pub fn new(block: Block, base: u32, first: u64) -> Segment {
        Segment { base, ..Segment::empty(Memory::Own(block), first) }
    }

    /// A segment that is only on the disk.
    pub fn stored(first: u64, last: u64, count: u32, deferred: bool, place: Place) -> Segment {
        let (used, sealed, home) = (place.bytes, true, Some(place));
        let checked = used;
        Segment {
            used,
            checked,
            last,
            count,
            deferred,
            sealed,
            home,
            ..Segment::empty(Memory::None, first)
        }
    }

    fn empty(memory: Memory, first: u64) -> Segment {
        Segment {
            memory,
            base: 0,
            used: 0,
            checked: 0,
            first,
            last: first,
            since_ns: UNTOLD,
            count: 0,
            start: 0,
            deferred: false,
            pins: 0,
            sealed: false,
            home: None,
            storing: false,
            loading: false,
            journal: UNCOVERED,
            replaces: Vec::new(),
            shifted: false,
            index: Vec::new(),
        }
    }

    /// Bytes of the segments up to its end.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + u64::from(self.used)
    }

    /// Bytes of its records.
    #[must_use]
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Whether a record of so many bytes can be added.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        let Memory::Own(block) = &self.memory else { return false };
        let used = self.base as usize + self.used as usize + entry::run_end_bytes_max();
        !self.sealed && used + bytes <= block.len()
    }

    /// Adds a message; there is room. Where it is.
    pub fn push(&mut self, sequence: u64, message: &Message<'_>) -> u32 {
        let (offset, bytes) = (self.used, record::bytes(message));
        let block = self.memory.block_mut().expect("a segment that is filled is in memory");
        record::write(&mut block[(self.base + offset) as usize..][..bytes], message);
        self.used += bytes as u32;
        self.last = sequence;
        self.count += 1;
        self.deferred |= message.delay_ms > 0;
        offset
    }

    /// Gives records their checksums, as far as they have none: before they are written down.
    /// Done for many at once, since reading what was written just now has to wait for the cache.
    pub fn add_checksums(&mut self, salt: Salt) {
        let range = (self.base + self.checked) as usize..(self.base + self.used) as usize;
        if let Some(block) = self.memory.block_mut() {
            record::seal_all(&mut block[range], salt);
        }
        self.checked = self.used;
    }

    /// Whether there are messages in it that are not on the disk.
    #[must_use]
    pub fn is_homeless(&self) -> bool {
        self.home.is_none() && self.count > 0
    }

    /// Whether it can be read now.
    #[must_use]
    pub fn is_resident(&self) -> bool {
        !matches!(self.memory, Memory::None)
    }

    /// Bytes of memory that it holds.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory.block().map_or(0, |block| block.len())
    }

    /// Its records, when it is in memory.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        let base = self.base as usize;
        self.memory.block().map(|block| &block[base..base + self.used as usize])
    }

    /// The record at this place; `None` when it is not in memory.
    #[must_use]
    pub fn record(&self, at: Position) -> Option<Record<'_>> {
        self.bytes().map(|bytes| record::read(bytes, at))
    }

    /// Where the first message with this or a higher sequence number is; `None` when it is not in
    /// memory. The end when there is none.
    pub fn find(&mut self, sequence: u64) -> Option<u32> {
        let base = self.base as usize;
        let bytes = &self.memory.block()?[base..base + self.used as usize];
        if sequence <= self.first {
            return Some(0);
        }
        let index = &mut self.index;
        extend(index, bytes, self.count);
        let below = |&offset: &u32| {
            let at = Position { segment: 0, offset };
            record::read(bytes, at).sequence() < sequence
        };
        let place = index.partition_point(below);
        Some(index.get(place).copied().unwrap_or(self.used))
    }

    /// How many of its messages are before this one; `None` when that takes a look at a segment
    /// that is not in memory.
    #[must_use]
    pub fn rank(&mut self, sequence: u64) -> Option<u32> {
        if sequence <= self.first {
            return Some(0);
        }
        if sequence > self.last {
            return Some(self.count);
        }
        if u64::from(self.count) == self.last + 1 - self.first {
            return Some((sequence - self.first) as u32);
        }
        let offset = self.find(sequence)?;
        Some(self.index.partition_point(|&other| other < offset) as u32)
    }

    /// As the header of a run says it.
    #[must_use]
    pub fn run(&self, topic: Name) -> Run {
        let Segment { first, last, count, used, deferred, .. } = *self;
        Run { topic, count, first, last, bytes: used, deferred }
    }

    /// Lends its memory to a write to a store, with what stands around its records there; `None`
    /// where there is no room for that. The write starts at `at`, the records behind so many bytes.
    pub fn lend(&mut self, topic: Name, at: At) -> Option<(Content, u32)> {
        let run = self.run(topic);
        let (start, end) = (self.base as usize, self.base as usize + self.used as usize);
        if let Memory::Lent(block) = &mut self.memory
            && Arc::get_mut(block).is_none()
        {
            return None;
        }
        let mut block = self.memory.take()?;
        let mut around = Vec::with_capacity(entry::run_overhead_max());
        entry::run_start(&mut around, at, &run);
        entry::run_end(&mut around, at, &run);
        let whole = (end + around.len() - start).next_multiple_of(PAGE_BYTES);
        if start == 0 || whole > block.len() || !block.is_pooled() {
            self.memory = Memory::Own(block);
            return None;
        }
        let (before, behind) = around.split_at(start);
        block[..start].copy_from_slice(before);
        block[end..end + behind.len()].copy_from_slice(behind);
        block[end + behind.len()..whole].fill(0);
        let block = Arc::new(block);
        self.memory = Memory::Lent(block.clone());
        Some((Content::Lent(block, whole), self.base))
    }

    /// Gives up its memory; its records stay on the disk. `None` when it is in none, or when that
    /// is lent.
    pub fn evict(&mut self) -> Option<Block> {
        assert!(self.home.is_some(), "a segment is in memory or on the disk");
        self.index = Vec::new();
        self.memory.take()
    }

    /// Gives up its memory, unless that is lent, and its places on the disk.
    pub fn take_apart(mut self) -> (Option<Block>, impl Iterator<Item = Place>) {
        (self.memory.take(), self.home.into_iter().chain(self.replaces))
    }

    /// Adds a record of another segment; there is room.
    pub fn adopt(&mut self, found: &Checked, record: &[u8]) {
        let block = self.memory.block_mut().expect("a segment that is filled is in memory");
        block[(self.base + self.used) as usize..][..record.len()].copy_from_slice(record);
        self.used += record.len() as u32;
        self.last = found.sequence;
        self.count += 1;
        self.deferred |= found.delay_ms > 0;
    }

    /// Its records came from the disk. When some are damaged: the stretches of sequence numbers
    /// that are not in it.
    pub fn load(&mut self, mut block: Block, bytes: &[u8], salt: Salt) -> Vec<Range<u64>> {
        let (mut used, mut next, mut count) = (0, self.first, 0);
        let mut holes = Vec::new();
        for (offset, found) in record::walk(bytes, salt).flatten() {
            // What was in the segment when it was written is in order; else it is not ours.
            if found.sequence < next || found.sequence > self.last {
                continue;
            }
            if found.sequence > next {
                holes.push(next..found.sequence);
            }
            block[used..used + found.bytes]
                .copy_from_slice(&bytes[offset as usize..][..found.bytes]);
            used += found.bytes;
            next = found.sequence + 1;
            count += 1;
        }
        if next <= self.last {
            holes.push(next..self.last + 1);
        }
        if count == self.count && used == self.used as usize {
            holes.clear();
        }
        self.shifted |= used != self.used as usize || !holes.is_empty();
        (self.used, self.checked) = (used as u32, used as u32);
        self.count = count;
        (self.memory, self.base) = (Memory::Own(block), 0);
        self.loading = false;
        holes
    }
}

/// Adds the offsets of the records behind those that are known.
fn extend(index: &mut Vec<u32>, bytes: &[u8], count: u32) {
    if index.len() == count as usize {
        return;
    }
    index.reserve_exact(count as usize - index.len());
    let mut at = Position::default();
    if let Some(&last) = index.last() {
        at = record::read(bytes, Position { segment: 0, offset: last }).next;
    }
    while (at.offset as usize) < bytes.len() {
        index.push(at.offset);
        at = record::read(bytes, at).next;
    }
}
