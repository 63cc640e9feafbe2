//! Memory for segments, recycled, within a budget.
//!
//! Blocks come in size classes, each four times the one below, carved out of chunks that the rim
//! supplies (huge pages where it can: the first touch of fresh 4 KiB pages costs more than
//! everything else a publish does). The block freed last is used first, while it is warm. Blocks
//! that were carved small become chunks again when a larger one is wanted and the budget has no
//! other room for it.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// Sizes of the classes in bytes. A quiet topic takes the first; the last is for messages of more
/// than a mebibyte.
const CLASS_BYTES: [usize; 6] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, CHUNK_BYTES];
/// The class up to which segments grow while their topic is busy.
const CLASS_MAX: usize = 4;
/// What the pool asks the rim for at a time.
pub const CHUNK_BYTES: usize = 2 << 20;
const OVERSIZE: usize = CLASS_BYTES.len();

/// The class above, as far as segments grow.
#[must_use]
pub fn larger(class: usize) -> usize {
    (class + 1).min(CLASS_MAX)
}

/// The class below, or the smallest.
#[must_use]
pub fn smaller(class: usize) -> usize {
    class.saturating_sub(1)
}

/// Supplies a chunk of [`CHUNK_BYTES`] that starts at a page, where disks take it from, and lives
/// as long as the process; `None` when there is no memory.
pub type Grow = Box<dyn FnMut() -> Option<&'static mut [u8]>>;

/// A piece of the pool's memory. It goes back with [`Pool::give_back`].
pub struct Block {
    class: usize,
    memory: Memory,
}

enum Memory {
    Pooled(&'static mut [u8]),
    Own(Box<[u8]>),
}

/// The recycled segments of one shard.
pub struct Pool {
    grow: Grow,
    free: [Vec<&'static mut [u8]>; OVERSIZE],
    /// Where the chunks start, sorted.
    chunks: Vec<NonNull<u8>>,
    limit_bytes: usize,
    reserved_bytes: usize,
    used_bytes: usize,
    /// Bytes of others that count against the limit: lists of what is in the blocks.
    charged_bytes: usize,
    /// Bytes given back since chunks were last made whole: below one chunk it is not tried again.
    freed_bytes: usize,
}

impl Pool {
    /// A pool whose messages never take more than `limit_bytes`, rounded to chunks.
    #[must_use]
    pub fn new(limit_bytes: usize, grow: Grow) -> Pool {
        let free = [const { Vec::new() }; OVERSIZE];
        Pool {
            grow,
            free,
            chunks: Vec::new(),
            limit_bytes,
            reserved_bytes: 0,
            used_bytes: 0,
            charged_bytes: 0,
            freed_bytes: 0,
        }
    }

    /// A block of at least `bytes`, of the class where there is room for it; `None` when the
    /// budget is used up.
    pub fn take(&mut self, class: usize, bytes: usize) -> Option<Block> {
        let Some(least) = CLASS_BYTES.iter().position(|&size| size >= bytes) else {
            return self.take_oversize(bytes);
        };
        if self.charged_bytes > 0 && !self.has_room(CLASS_BYTES[least]) {
            return None;
        }
        let class = class.max(least);
        // When the budget has no room for the class, a smaller block that is free will do.
        let found = (least..=class).rev().find_map(|class| Some((class, self.find(class)?)));
        let found = found.or_else(|| {
            self.make_whole();
            Some((least, self.find(least)?))
        });
        let (class, memory) = found?;
        self.used_bytes += memory.len();
        Some(Block { class, memory: Memory::Pooled(memory) })
    }

    /// A block of exactly so many bytes, whatever the budget says.
    pub fn take_anyway(&mut self, bytes: usize) -> Block {
        self.used_bytes += bytes;
        Block { class: OVERSIZE, memory: Memory::Own(vec![0; bytes].into_boxed_slice()) }
    }

    /// Takes a block back.
    pub fn give_back(&mut self, block: Block) {
        self.used_bytes -= block.len();
        self.freed_bytes += block.len();
        match block.memory {
            Memory::Pooled(memory) => self.free[block.class].push(memory),
            Memory::Own(_) => {}
        }
    }

    /// Whether a block of so many bytes would fit into the budget.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.used_bytes + bytes <= self.room_bytes()
    }

    /// Bytes that blocks may take: what others are charged is out of reach, and so is what is left
    /// of the budget then, when it is less than a chunk.
    fn room_bytes(&self) -> usize {
        let room = self.limit_bytes.saturating_sub(self.charged_bytes);
        match self.reserved_bytes {
            0 => room,
            reserved => room.min(reserved.max(room / CHUNK_BYTES * CHUNK_BYTES)),
        }
    }

    /// Bytes in blocks that are in use, and what others are charged.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.used_bytes + self.charged_bytes
    }

    /// Bytes that somebody was charged before are other ones now. Nothing is refused for it, but
    /// there is less room for blocks.
    pub fn charge(&mut self, before: usize, now: usize) {
        self.charged_bytes = self.charged_bytes + now - before;
    }

    /// Bytes that others are charged.
    #[must_use]
    pub fn charged_bytes(&self) -> usize {
        self.charged_bytes
    }

    /// The most that it may hold.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Bytes that were ever in blocks: they are kept.
    #[must_use]
    pub fn reserved_bytes(&self) -> usize {
        self.reserved_bytes
    }

    fn find(&mut self, class: usize) -> Option<&'static mut [u8]> {
        if let Some(memory) = self.free[class].pop() {
            return Some(memory);
        }
        if class + 1 == OVERSIZE {
            return self.chunk();
        }
        let larger = self.find(class + 1)?;
        // Last first, so that blocks are then used in the order of their addresses.
        self.free[class].extend(larger.chunks_exact_mut(CLASS_BYTES[class]).rev());
        self.free[class].pop()
    }

    fn chunk(&mut self) -> Option<&'static mut [u8]> {
        let reserved_bytes = self.reserved_bytes + self.charged_bytes + CHUNK_BYTES;
        if reserved_bytes > self.limit_bytes && self.reserved_bytes > 0 {
            return None;
        }
        let chunk = (self.grow)()?;
        assert!(chunk.len() == CHUNK_BYTES, "the rim supplies whole chunks");
        self.reserved_bytes += CHUNK_BYTES;
        let start = NonNull::from(&mut *chunk).cast();
        let place = self.chunks.partition_point(|&other| other < start);
        self.chunks.insert(place, start);
        Some(chunk)
    }

    /// Makes chunks of which no block is in use whole again. Walks over all free blocks, so it is
    /// done only when enough was given back to make a difference.
    fn make_whole(&mut self) {
        if core::mem::take(&mut self.freed_bytes) < CHUNK_BYTES {
            return;
        }
        let chunks = &self.chunks;
        let chunk_of = |block: &[u8]| {
            chunks.partition_point(|&start| start.as_ptr().cast_const() <= block.as_ptr()) - 1
        };
        let mut free_bytes = vec![0; chunks.len()];
        for block in self.free.iter().flatten() {
            free_bytes[chunk_of(block)] += block.len();
        }
        for list in &mut self.free {
            list.retain(|block| free_bytes[chunk_of(block)] < CHUNK_BYTES);
        }
        let whole = free_bytes.iter().enumerate().filter(|&(_, &bytes)| bytes == CHUNK_BYTES);
        for (index, _) in whole {
            // SAFETY: this is the start of a chunk that `grow` gave for ever. All of its blocks
            // were in the free lists and have just been dropped from them: nobody else refers to
            // any byte of it.
            let chunk = unsafe {
                core::slice::from_raw_parts_mut(self.chunks[index].as_ptr(), CHUNK_BYTES)
            };
            self.free[OVERSIZE - 1].push(chunk);
        }
    }

    /// A message larger than the largest class has a block of its own. Only what is in use counts
    /// against the budget here, or free chunks would keep such messages out for ever.
    fn take_oversize(&mut self, bytes: usize) -> Option<Block> {
        if !self.has_room(bytes) {
            return None;
        }
        Some(self.take_anyway(bytes))
    }
}

impl Block {
    /// Whether it is of the pool's chunks, and so starts at a page.
    pub fn is_pooled(&self) -> bool {
        matches!(self.memory, Memory::Pooled(_))
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Pooled(memory) => memory,
            Memory::Own(memory) => memory,
        }
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Pooled(memory) => memory,
            Memory::Own(memory) => memory,
        }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} bytes)", self.len())
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} of {} bytes)", self.used_bytes, self.limit_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{Block, CHUNK_BYTES, Pool};
    use alloc::boxed::Box;
    use alloc::vec;
    use alloc::vec::Vec;

    fn pool(limit_bytes: usize) -> Pool {
        let grow = || Some(Box::leak(vec![0; CHUNK_BYTES].into_boxed_slice()));
        Pool::new(limit_bytes, Box::new(grow))
    }

    #[test]
    fn holds_no_more_than_its_budget() {
        let mut pool = pool(4 << 20);
        let blocks: Vec<Block> = core::iter::from_fn(|| pool.take(0, 100)).collect();
        assert_eq!(blocks.len(), 1024);
        assert_eq!(pool.used_bytes(), 4 << 20);
        assert!(pool.take(4, 1).is_none());
        assert!(pool.take(5, 2 << 20).is_none());
        blocks.into_iter().for_each(|block| pool.give_back(block));
        assert_eq!(pool.used_bytes(), 0);
        // All memory is in small pieces now: a topic that prefers large ones gets those.
        assert_eq!(pool.take(4, 100).map(|block| block.len()), Some(4 << 10));
    }

    /// Or who waits for room would be told that there is some, and be refused.
    #[test]
    fn there_is_no_room_in_what_is_less_than_a_chunk() {
        for (limit_bytes, charged) in [(8 << 20, 1), ((8 << 20) - 1, 0)] {
            let mut pool = pool(limit_bytes);
            pool.charge(0, charged);
            let mut taken = Vec::new();
            while pool.has_room(4 << 10) {
                taken.push(pool.take(0, 100).expect("there is room"));
            }
            assert_eq!(pool.used_bytes(), (6 << 20) + charged);
            assert!(pool.take(0, 100).is_none());
            pool.give_back(taken.pop().expect("some were taken"));
            assert!(pool.has_room(4 << 10) && !pool.has_room(8 << 10));
        }
    }

    #[test]
    fn memory_carved_small_serves_large_messages_again() {
        let mut pool = pool(4 << 20);
        let mut blocks: Vec<Block> = core::iter::from_fn(|| pool.take(0, 100)).collect();
        let kept = blocks.pop().unwrap();
        assert!(pool.take(0, 1 << 20).is_none());
        blocks.drain(..).for_each(|block| pool.give_back(block));
        // The chunk of the block that is kept stays small; the other one is whole again.
        let large: Vec<Block> = core::iter::from_fn(|| pool.take(0, 1 << 20)).collect();
        assert_eq!(large.len(), 2);
        assert!(large.iter().all(|block| block.iter().all(|&byte| byte == 0)));
        assert!(!large[0].as_ptr_range().contains(&kept.as_ptr()));
        assert!(pool.take(0, 100).is_some());
        pool.give_back(kept);
        large.into_iter().for_each(|block| pool.give_back(block));
        assert_eq!(pool.used_bytes(), 4 << 10);
    }

    #[test]
    fn messages_larger_than_a_segment_count_too() {
        let mut pool = pool(8 << 20);
        let first = pool.take(0, 5 << 20).unwrap();
        assert_eq!(first.len(), 5 << 20);
        assert!(pool.take(0, 5 << 20).is_none());
        pool.give_back(first);
        assert!(pool.take(0, 5 << 20).is_some());
    }

    #[test]
    fn the_warm_block_is_used_first() {
        let mut pool = pool(4 << 20);
        let (first, second) = (pool.take(4, 1).unwrap(), pool.take(4, 1).unwrap());
        let address = second.as_ptr();
        pool.give_back(first);
        pool.give_back(second);
        assert_eq!(pool.take(4, 1).unwrap().as_ptr(), address);
    }
}
