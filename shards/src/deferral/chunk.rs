//! A piece of a sorted run: in memory, in a store file, or both.

use alloc::vec::Vec;

use super::Entry;
use crate::disk::Place;
use crate::journal::state::{put, put_difference, take, take_difference};
use crate::log::Pool;
use crate::log::pool::Block;

/// The most that a chunk takes.
const CHUNK_BYTES: usize = 16 << 10;
/// No entry takes more.
const ENTRY_BYTES_MAX: usize = 10 + 10 + 3;

/// See the module's text. The first entry is kept apart: it is known when the rest is not in
/// memory.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) first: Entry,
    pub(super) last_due_ms: u64,
    /// Entries, the first one included.
    pub(super) count: u32,
    pub(super) bytes: u32,
    crc: u32,
    pub(super) block: Option<Block>,
    /// Where it is on the disk.
    pub(super) home: Option<Place>,
    /// It is on its way there.
    pub(super) storing: bool,
    /// It is being read.
    pub(super) loading: bool,
    /// It is not read before.
    pub(super) retry_at_ms: u64,
    pub(super) failures: u8,
}

impl Chunk {
    /// Of sorted entries, as many as fit, and those that do not; `None` when there are none.
    pub(super) fn make<'a>(entries: &'a [Entry], pool: &mut Pool) -> Option<(Chunk, &'a [Entry])> {
        let first = *entries.first()?;
        let (mut bytes, mut previous, mut count) = (Vec::new(), first, 1);
        for &entry in &entries[1..] {
            if bytes.len() + ENTRY_BYTES_MAX > CHUNK_BYTES {
                break;
            }
            encode(&mut bytes, entry, previous);
            previous = entry;
            count += 1;
        }
        let room = bytes.len().max(1);
        let mut block = pool.take(0, room).unwrap_or_else(|| pool.take_anyway(room));
        block[..bytes.len()].copy_from_slice(&bytes);
        let chunk = Chunk {
            first,
            last_due_ms: previous.due_ms,
            count: count as u32,
            bytes: bytes.len() as u32,
            crc: crc32fast::hash(&bytes),
            block: Some(block),
            home: None,
            storing: false,
            loading: false,
            retry_at_ms: 0,
            failures: 0,
        };
        Some((chunk, &entries[count..]))
    }

    /// The entry behind another one, which ends there.
    pub(super) fn next(&self, previous: Entry, at: u32) -> (Entry, u32) {
        let block = self.block.as_ref().expect("a chunk is read when it is in memory");
        let mut rest = &block[at as usize..self.bytes as usize];
        let entry = decode(&mut rest, previous).expect("there are as many entries as were put");
        (entry, self.bytes - rest.len() as u32)
    }

    /// Whether these are its bytes.
    pub(super) fn is_own(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.bytes as usize && crc32fast::hash(bytes) == self.crc
    }

    /// Whether it is in memory only, and not on its way to the disk.
    pub(super) fn is_homeless(&self) -> bool {
        self.block.is_some() && self.home.is_none() && !self.storing && self.bytes > 0
    }
}

/// Deliveries are rare: whether there were any takes one bit.
fn encode(out: &mut Vec<u8>, entry: Entry, previous: Entry) {
    let later_ms = entry.due_ms - previous.due_ms;
    put(out, later_ms << 1 | u64::from(entry.attempts > 0));
    put_difference(out, entry.sequence, previous.sequence);
    if entry.attempts > 0 {
        put(out, u64::from(entry.attempts));
    }
}

fn decode(rest: &mut &[u8], previous: Entry) -> Option<Entry> {
    let later_ms = take(rest)?;
    let sequence = take_difference(rest, previous.sequence)?;
    let attempts = if later_ms & 1 == 0 { 0 } else { u16::try_from(take(rest)?).ok()? };
    Some(Entry { due_ms: previous.due_ms + (later_ms >> 1), sequence, attempts })
}
