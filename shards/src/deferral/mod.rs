//! The messages of one channel that are kept back, by when they are due: millions of them in
//! little memory.
//!
//! **What is kept.** A message is an [`Entry`]: when it is due, its sequence number, how often it
//! was delivered. Its body stays in the topic's log, where one pin for each channel holds it.
//!
//! **Where.** New entries gather in a heap. When that is full it is sorted and becomes a *run*:
//! immutable, in chunks of up to 16 KiB, each entry the difference to the one before it, which is
//! two bytes for publishes of one delay and about five for delays at random. Chunks are blocks of
//! the shard's pool, so they count against the memory limit, and when memory is short they go to
//! the store files like segments. What becomes due is the least of the heap and of the runs' first
//! entries; so only the first chunks of a run are read back, ahead of their time, and nothing has
//! a timer of its own: the channel has one, for whatever is next.
//!
//! **Which.** A set of sequence numbers says what is still kept back; an entry that is not in it is
//! passed over. So a lost message is taken out without a search, merging old segments can ask for
//! any message, and a snapshot of a channel is that set: a bit for each message. Heap and sets are
//! charged to the pool as well.
//!
//! **After a restart** none of the chunks is needed: a record of the log has its own due time, and
//! the snapshot says which are kept back. A chunk that cannot be read back is therefore no loss:
//! its messages come behind all others that the channel keeps back (late, never early), or in time
//! after a restart. What consumers gave back with a delay is not in the records: it has an index of
//! its own, which stays in memory, and is written down entry by entry. So there is a limit to that,
//! [`crate::limits::PUT_OFF_MAX`], beyond which `REQ` fails.
//!
//! **When nothing has room**, disk included, publishes are refused: `E_DPUB_FAILED`.

mod chunk;

use alloc::collections::{BTreeMap, BinaryHeap};
use alloc::vec::Vec;
use core::cmp::Reverse;
use hashbrown::HashMap;

use chunk::Chunk;

use crate::disk::Place;
use crate::log::Pool;
use crate::log::pool::Block;
use crate::sequences::SequenceSet;
use crate::store::Space;

/// Entries in the heap at which they become a run.
pub const FRESH_MAX: usize = 32 * 1024;

/// A message that is kept back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// When it is due.
    pub due_ms: u64,
    /// Which message.
    pub sequence: u64,
    /// Deliveries so far.
    pub attempts: u16,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This message is due, and not kept back any more.
    Due(Entry),
    /// It is in a chunk that has to be read first.
    Cold,
    /// None is due.
    Later,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Deferrals {
    members: SequenceSet,
    fresh: BinaryHeap<Reverse<Entry>>,
    /// By their first entries.
    runs: BTreeMap<(Entry, u32), Run>,
    chunks: HashMap<u32, Chunk>,
    last_id: u32,
    /// Chunks that are in memory only.
    homeless: usize,
    /// Bytes that the pool knows of.
    charged: usize,
    /// Chunks were lost: what has no entry any more is due then.
    lost_due_ms: u64,
    /// Messages that were taken out by their numbers: entries of them may still be there.
    removed: SequenceSet,
    /// Those of them that were kept back again, with the entry that counts: when it is due, and
    /// the deliveries.
    renewed: BTreeMap<u64, (u64, u16)>,
}

/// Sorted entries, in chunks.
#[derive(Debug)]
struct Run {
    /// Last chunk first.
    chunks: Vec<u32>,
    /// Where in the first chunk the entry behind the first one is, and how many there are.
    at: u32,
    left: u32,
}

impl Deferrals {
    /// Keeps a message back. `fresh_max` entries make a run.
    pub fn insert(&mut self, entry: Entry, fresh_max: usize, pool: &mut Pool) {
        let added = self.members.insert(entry.sequence);
        assert!(added, "a message is deferred once");
        if self.removed.contains(entry.sequence) {
            self.renewed.insert(entry.sequence, (entry.due_ms, entry.attempts));
        }
        self.push(entry, fresh_max, pool);
    }

    fn push(&mut self, entry: Entry, fresh_max: usize, pool: &mut Pool) {
        self.fresh.push(Reverse(entry));
        if self.fresh.len() >= fresh_max {
            self.seal(pool);
        }
    }

    /// Makes a run of the heap. That gives memory back, whatever the pool says.
    fn seal(&mut self, pool: &mut Pool) {
        let fresh = core::mem::take(&mut self.fresh).into_vec();
        let mut entries: Vec<Entry> = fresh.into_iter().map(|Reverse(entry)| entry).collect();
        entries.retain(|entry| self.counts(entry));
        entries.sort_unstable();
        let (mut rest, mut made) = (&entries[..], Vec::new());
        while let Some((chunk, behind)) = Chunk::make(rest, pool) {
            rest = behind;
            self.last_id = self.last_id.wrapping_add(1);
            self.homeless += usize::from(chunk.is_homeless());
            self.chunks.insert(self.last_id, chunk);
            made.push(self.last_id);
        }
        made.reverse();
        self.begin_run(made);
    }

    fn begin_run(&mut self, chunks: Vec<u32>) {
        let Some(id) = chunks.last() else { return };
        let Chunk { first, count, .. } = self.chunks[id];
        self.runs.insert((first, *id), Run { chunks, at: 0, left: count - 1 });
    }

    /// Takes in all that another index has, which is in memory, each due later by so much. What
    /// was taken out of this one before is due when it was then, if that is sooner: records say so.
    pub fn adopt(&mut self, other: &Deferrals, later_ms: u64, fresh_max: usize, pool: &mut Pool) {
        other.each(|entry| {
            let added = self.members.insert(entry.sequence);
            assert!(added, "a message is deferred once");
            self.push(Entry { due_ms: entry.due_ms + later_ms, ..entry }, fresh_max, pool);
        });
    }

    /// Whether an entry is that of a message which is kept back, and not of one that was once.
    fn counts(&self, entry: &Entry) -> bool {
        let renewed = self.renewed.get(&entry.sequence);
        self.members.contains(entry.sequence)
            && renewed.is_none_or(|&renewed| renewed == (entry.due_ms, entry.attempts))
    }

    /// Takes the next message whose time has come. What is to be read first holds nothing else up.
    pub fn pop(&mut self, now_ms: u64, space: &mut Space) -> Next {
        loop {
            let fresh = self.fresh.peek().map(|Reverse(entry)| *entry);
            let fresh = fresh.filter(|entry| entry.due_ms <= now_ms);
            let run = self.first_run(now_ms);
            let entry = match (fresh, run) {
                (None, None) => return self.nothing_due(now_ms),
                (Some(fresh), Some((run, _))) if run < fresh => run,
                (Some(fresh), _) => fresh,
                (None, Some((run, _))) => run,
            };
            match run.filter(|(first, _)| *first == entry) {
                Some(key) => self.advance(key, space),
                None => drop(self.fresh.pop()),
            }
            if self.counts(&entry) {
                self.members.remove(entry.sequence);
                self.renewed.remove(&entry.sequence);
                if self.members.is_empty() {
                    self.clear(space);
                }
                return Next::Due(entry);
            }
        }
    }

    /// The first run that has something due and can be read.
    fn first_run(&self, now_ms: u64) -> Option<(Entry, u32)> {
        let due = self.runs.keys().take_while(|(entry, _)| entry.due_ms <= now_ms);
        let mut there = due.filter(|(_, id)| self.chunks[id].block.is_some());
        there.next().copied()
    }

    fn nothing_due(&mut self, now_ms: u64) -> Next {
        let first = self.runs.first_key_value();
        if first.is_some_and(|((entry, _), _)| entry.due_ms <= now_ms) {
            return Next::Cold;
        }
        match self.fresh.is_empty() && self.runs.is_empty() {
            true => self.pop_lost(now_ms),
            false => Next::Later,
        }
    }

    /// What was in chunks that were lost comes when nothing else is left.
    fn pop_lost(&mut self, now_ms: u64) -> Next {
        let Some(sequence) = self.members.next(0) else { return Next::Later };
        if self.lost_due_ms > now_ms {
            return Next::Later;
        }
        self.members.remove(sequence);
        self.renewed.remove(&sequence);
        Next::Due(Entry { due_ms: self.lost_due_ms, sequence, attempts: 0 })
    }

    /// Goes behind the first entry of a run that can be read.
    fn advance(&mut self, key: (Entry, u32), space: &mut Space) {
        let Some(mut run) = self.runs.remove(&key) else { return };
        let (entry, id) = key;
        if run.left > 0 {
            let (next, at) = self.chunks[&id].next(entry, run.at);
            (run.at, run.left) = (at, run.left - 1);
            self.runs.insert((next, id), run);
        } else {
            run.chunks.pop();
            self.drop_chunk(id, space);
            self.begin_run(run.chunks);
        }
    }

    fn drop_chunk(&mut self, id: u32, space: &mut Space) {
        let Some(chunk) = self.chunks.remove(&id) else { return };
        self.homeless -= usize::from(chunk.is_homeless());
        if let Some(block) = chunk.block {
            space.pool.give_back(block);
        }
        if let Some(place) = chunk.home {
            space.release(place);
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self, space: &mut Space) {
        let ids: Vec<u32> = self.chunks.keys().copied().collect();
        ids.into_iter().for_each(|id| self.drop_chunk(id, space));
        let (last_id, charged) = (self.last_id, self.charged);
        *self = Deferrals { last_id, charged, ..Deferrals::default() };
        self.charge(&mut space.pool);
    }

    /// Forgets the messages of a range. How many it were.
    pub fn remove_range(&mut self, range: crate::journal::state::Range) -> u64 {
        let members = self.members.from(range.first);
        for sequence in members.take_while(|&sequence| sequence <= range.last) {
            self.removed.insert(sequence);
        }
        self.renewed.retain(|sequence, _| !(range.first..=range.last).contains(sequence));
        self.members.remove_range(range)
    }

    /// Tells the pool how much memory there is besides chunks. When no message is left, all goes.
    pub fn settle(&mut self, space: &mut Space) {
        let is_clear = self.charged == 0 && self.fresh.is_empty() && self.runs.is_empty();
        if self.members.is_empty() && !is_clear {
            return self.clear(space);
        }
        self.charge(&mut space.pool);
    }

    fn charge(&mut self, pool: &mut Pool) {
        let bytes = self.members.bytes()
            + self.removed.bytes()
            + self.renewed.len() * size_of::<(u64, (u64, u16))>() * 2
            + self.fresh.capacity() * size_of::<Entry>()
            + self.chunks.capacity() * size_of::<(u32, Chunk)>()
            + self.runs.len() * size_of::<((Entry, u32), Run)>() * 2;
        if bytes != self.charged {
            pool.charge(self.charged, bytes);
            self.charged = bytes;
        }
    }

    /// The messages.
    #[must_use]
    pub fn members(&self) -> &SequenceSet {
        &self.members
    }

    /// Tells of every message, in no order, as far as chunks are in memory.
    pub fn each(&self, mut tell: impl FnMut(Entry)) {
        let mut tell = |entry: Entry| {
            if self.counts(&entry) {
                tell(entry);
            }
        };
        self.fresh.iter().for_each(|Reverse(entry)| tell(*entry));
        for (&(first, _), run) in &self.runs {
            let (mut entry, mut at, mut left) = (first, run.at, run.left);
            for (index, id) in run.chunks.iter().rev().enumerate() {
                let chunk = &self.chunks[id];
                if index > 0 {
                    (entry, at, left) = (chunk.first, 0, chunk.count - 1);
                }
                tell(entry);
                while left > 0 && chunk.block.is_some() {
                    (entry, at) = chunk.next(entry, at);
                    left -= 1;
                    tell(entry);
                }
            }
        }
    }

    /// When something is to be done: a message is due, or a chunk is to be read so that it is
    /// there in time, which takes `lead_ms`.
    #[must_use]
    pub fn wake_ms(&self, lead_ms: u64) -> Option<u64> {
        let fresh = self.fresh.peek().map(|Reverse(entry)| entry.due_ms);
        let mut wake = fresh.unwrap_or(u64::MAX);
        for &(entry, id) in self.runs.keys() {
            if entry.due_ms.saturating_sub(lead_ms) >= wake {
                break;
            }
            if self.chunks[&id].block.is_some() {
                wake = wake.min(entry.due_ms);
            }
        }
        // Who reads a chunk tells when it is there.
        for (due_ms, _, chunk) in self.next_chunks(wake.saturating_add(lead_ms)) {
            if chunk.block.is_none() && !chunk.loading {
                wake = wake.min(due_ms.saturating_sub(lead_ms).max(chunk.retry_at_ms));
            }
        }
        if wake == u64::MAX && self.fresh.is_empty() && self.runs.is_empty() {
            wake = if self.members.is_empty() { u64::MAX } else { self.lost_due_ms };
        }
        (wake < u64::MAX).then_some(wake)
    }

    /// A chunk that is to be read by now, which is under way from now on, and where it is.
    pub fn load(&mut self, now_ms: u64, lead_ms: u64) -> Option<(u32, Place)> {
        let wanted =
            |chunk: &Chunk| chunk.block.is_none() && !chunk.loading && chunk.retry_at_ms <= now_ms;
        let mut near = self.next_chunks(now_ms.saturating_add(lead_ms));
        let (_, id, _) = near.find(|(_, _, chunk)| wanted(chunk))?;
        drop(near);
        let chunk = self.chunks.get_mut(&id)?;
        chunk.loading = true;
        Some((id, chunk.home?))
    }

    /// The next few chunks of each run that have something due by then, and when: where one ends,
    /// what comes then is to be there, too.
    fn next_chunks(&self, by_ms: u64) -> impl Iterator<Item = (u64, u32, &Chunk)> {
        let runs = self.runs.iter().take_while(move |((first, _), _)| first.due_ms <= by_ms);
        runs.flat_map(move |((first, current), run)| {
            run.chunks.iter().rev().take(CHUNKS_AHEAD).map(move |id| {
                let chunk = &self.chunks[id];
                let due_ms = if id == current { first.due_ms } else { chunk.first.due_ms };
                (due_ms, *id, chunk)
            })
        })
        .filter(move |(due_ms, ..)| *due_ms <= by_ms)
    }

    /// A chunk was read into this block, or could not be: then it is tried again, or given up.
    /// False when it is tried again.
    pub fn loaded(
        &mut self,
        id: u32,
        (mut block, bytes): (Block, Option<&[u8]>),
        now_ms: u64,
        space: &mut Space,
    ) -> bool {
        let Some(chunk) = self.chunks.get_mut(&id).filter(|chunk| chunk.loading) else {
            space.pool.give_back(block);
            return true;
        };
        chunk.loading = false;
        if let Some(bytes) = bytes.filter(|bytes| chunk.is_own(bytes)) {
            block[..bytes.len()].copy_from_slice(bytes);
            (chunk.block, chunk.failures) = (Some(block), 0);
            return true;
        }
        space.pool.give_back(block);
        chunk.failures += 1;
        if chunk.failures < READS_MAX {
            chunk.retry_at_ms = now_ms + crate::limits::JOURNAL_RETRY_MS;
            return false;
        }
        self.lost_due_ms = self.lost_due_ms.max(chunk.last_due_ms);
        let of = self.runs.iter().find(|(_, run)| run.chunks.contains(&id));
        if let Some((&key, _)) = of
            && let Some(mut run) = self.runs.remove(&key)
        {
            run.chunks.retain(|&other| other != id);
            match key.1 == id {
                true => self.begin_run(run.chunks),
                false => drop(self.runs.insert(key, run)),
            }
        }
        self.drop_chunk(id, space);
        true
    }

    /// Chunks that are to be stored, from now on under way; those due last come first.
    pub fn store(&mut self, max: usize) -> Vec<u32> {
        let mut wanted = Vec::new();
        if self.homeless == 0 {
            return wanted;
        }
        for run in self.runs.values().rev() {
            for id in &run.chunks {
                if wanted.len() >= max {
                    break;
                }
                if let Some(chunk) = self.chunks.get_mut(id)
                    && chunk.is_homeless()
                {
                    chunk.storing = true;
                    self.homeless -= 1;
                    wanted.push(*id);
                }
            }
        }
        wanted
    }

    /// The bytes of a chunk that is to be stored.
    #[must_use]
    pub fn chunk_bytes(&self, id: u32) -> Option<&[u8]> {
        let chunk = self.chunks.get(&id)?;
        Some(&chunk.block.as_ref()?[..chunk.bytes as usize])
    }

    /// A chunk was stored there. The place, when it is not wanted.
    pub fn stored(&mut self, id: u32, place: Place) -> Option<Place> {
        let Some(chunk) = self.chunks.get_mut(&id).filter(|chunk| chunk.storing) else {
            return Some(place);
        };
        chunk.storing = false;
        chunk.home = Some(place);
        None
    }

    /// A chunk was not stored after all.
    pub fn not_stored(&mut self, id: u32) {
        if let Some(chunk) = self.chunks.get_mut(&id).filter(|chunk| chunk.storing) {
            chunk.storing = false;
            self.homeless += 1;
        }
    }

    /// Gives up the memory of chunks that are on the disk, until there is room for so many bytes:
    /// of those that are not needed before `near_ms`.
    pub fn evict(&mut self, bytes: usize, near_ms: u64, pool: &mut Pool) {
        for (&(first, current), run) in self.runs.iter().rev() {
            for (index, id) in run.chunks.iter().enumerate() {
                if pool.has_room(bytes) {
                    return;
                }
                let Some(chunk) = self.chunks.get_mut(id) else { continue };
                let due_ms = if *id == current { first.due_ms } else { chunk.first.due_ms };
                let near = index + CHUNKS_AHEAD >= run.chunks.len() && due_ms <= near_ms;
                if chunk.home.is_some()
                    && !near
                    && let Some(block) = chunk.block.take()
                {
                    pool.give_back(block);
                }
            }
        }
    }

    /// Leaves a store file: what is in memory is not there any more, the rest is to be read now.
    pub fn leave_file(&mut self, file: u32, space: &mut Space) {
        for chunk in self.chunks.values_mut() {
            if chunk.block.is_some()
                && let Some(place) = chunk.home.take_if(|place| place.file == file)
            {
                self.homeless += 1;
                space.release(place);
            }
        }
    }

    /// Chunks of a store file, which are to be read for that: from now on under way.
    pub fn load_from(&mut self, file: u32) -> Vec<(u32, Place)> {
        let cold = self.chunks.iter_mut().filter(|(_, chunk)| {
            chunk.block.is_none() && !chunk.loading && chunk.home.is_some_and(|at| at.file == file)
        });
        let load = |(id, chunk): (&u32, &mut Chunk)| {
            chunk.loading = true;
            Some((*id, chunk.home?))
        };
        cold.filter_map(load).collect()
    }
}

/// Chunks of a run that are there when something in them is due soon.
const CHUNKS_AHEAD: usize = 3;
/// How often a chunk is read, a second apart, before it is given up.
const READS_MAX: u8 = 10;

#[cfg(test)]
mod tests;
