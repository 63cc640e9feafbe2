//! Where segments live: the pool's memory, and the shard's store files.
//!
//! A store file takes segments of any topic, one behind the other, until it is full. It is
//! released when nothing in it is wanted any more. Each write is whole pages, so that the kernel
//! need not keep a copy of what is rarely read again.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::disk::{Content, DiskRequest, Opened, Place, Role};
use crate::journal::entry::{self, At, Run};
use crate::journal::file::FILE_HEADER_BYTES;
use crate::log::{Pool, Segment};
use crate::page_buffer::PageBuffer;
use crate::stats::ShardGauges;
use crate::wire::names::Name;

/// Bytes on their way to store files at a time.
const WRITING_BYTES_MAX: usize = 4 << 20;
/// Buffers kept for the next writes: as many as are under way when segments are large, since making
/// one costs more than filling it.
const SPARE_BUFFERS_MAX: usize = 5;

/// Memory and disk of one shard.
#[derive(Debug)]
pub struct Space {
    /// Memory for segments.
    pub pool: Pool,
    /// Files for segments.
    pub store: Store,
    /// What the rim is asked to do, in order.
    pub requests: VecDeque<DiskRequest>,
    /// Messages that consumers have put off, of all channels.
    pub put_off: u64,
}

/// The store files of one shard.
#[derive(Debug, Default)]
pub struct Store {
    /// Size at which a file is full.
    file_bytes_max: u32,
    current: Option<Current>,
    opening: bool,
    files: BTreeMap<u32, File>,
    /// There is or was a file.
    used: bool,
    writing_bytes: usize,
    spare: Vec<PageBuffer>,
}

#[derive(Debug)]
struct Current {
    number: u32,
    nonce: u64,
    offset: u32,
}

impl Current {
    /// Where the next write starts.
    fn at(&self) -> At {
        At { nonce: self.nonce, offset: u64::from(self.offset) }
    }
}

/// What this shard has in one file.
#[derive(Debug, Default)]
struct File {
    /// Bytes that are wanted.
    live_bytes: u64,
    /// Bytes ever written to it.
    bytes: u64,
    /// Writes under way.
    writing: u32,
    /// It takes no more.
    full: bool,
    /// A sync of it has failed: it may lose what was written to it.
    given_up: bool,
    /// It is not released, even if nothing in it is wanted.
    held: bool,
    /// Something was written since it was last synced.
    unsynced: bool,
}

/// A write that can be asked for.
#[derive(Debug)]
pub struct Write {
    /// Where the records will be.
    pub place: Place,
    /// Where the write starts.
    pub offset: u32,
    /// Header, records, trailer, and zeros up to the end of a page.
    pub content: Content,
}

impl Space {
    /// Memory, and no files yet.
    #[must_use]
    pub fn new(pool: Pool, file_bytes_max: u32) -> Space {
        let store = Store { file_bytes_max, ..Store::default() };
        Space { pool, store, requests: VecDeque::new(), put_off: 0 }
    }

    /// A segment is not wanted any more.
    pub fn free(&mut self, segment: Segment) {
        let (block, places) = segment.take_apart();
        if let Some(block) = block {
            self.pool.give_back(block);
        }
        for place in places {
            self.release(place);
        }
    }

    /// A place on the disk is not wanted any more.
    pub fn release(&mut self, place: Place) {
        if self.store.release(place) {
            self.requests.push_back(DiskRequest::Release(place.file));
        }
    }

    /// Room in a store file for a segment; `None` when it has to wait, for a file or for other
    /// writes to be done.
    pub fn place(&mut self, segment: &mut Segment, topic: Name) -> Option<Write> {
        if !self.is_open() {
            return None;
        }
        let write = self.store.write(segment, topic);
        self.roll();
        write
    }

    /// Whether something can be written now. If not, it is asked for a file, or too much is under
    /// way.
    fn is_open(&mut self) -> bool {
        let store = &mut self.store;
        if store.writing_bytes >= WRITING_BYTES_MAX {
            return false;
        }
        if store.current.is_none() && !core::mem::replace(&mut store.opening, true) {
            self.requests.push_back(DiskRequest::Open { role: Role::Store, floor: 0 });
        }
        self.store.current.is_some()
    }

    /// A write is done, and its memory free for others.
    pub fn written(&mut self, file: u32, content: Content, succeeded: bool) {
        if let Some(idle) = self.store.written(file, content.len(), succeeded) {
            self.requests.push_back(DiskRequest::Release(idle));
        }
        match content {
            Content::Copy(buffer) if self.store.spare.len() < SPARE_BUFFERS_MAX => {
                self.store.spare.push(buffer);
            }
            Content::Copy(_) => {}
            Content::Lent(block, _) => {
                // Its segment has it back, or is gone meanwhile.
                if let Some(block) = Arc::into_inner(block) {
                    self.pool.give_back(block);
                }
            }
        }
    }

    fn roll(&mut self) {
        if let Some(full) = self.store.roll() {
            self.requests.push_back(DiskRequest::Release(full));
        }
    }

    /// Room in a store file for a part of an index of deferred messages, as `place` has it for a
    /// segment.
    pub fn place_index(&mut self, topic: &Name, part: &[u8]) -> Option<Write> {
        if !self.is_open() {
            return None;
        }
        let at = self.store.current.as_ref()?.at();
        let mut bytes = self.store.spare.pop().unwrap_or_default();
        let mut head = 0;
        bytes.refill(entry::run_overhead_max() + part.len(), |out| {
            let start = out.len();
            entry::index(out, topic, part);
            entry::seal(&mut out[start..], at);
            head = (out.len() - start - part.len().next_multiple_of(entry::ALIGN)) as u32;
        });
        let write = self.store.take_in(bytes.into(), head, part.len() as u32);
        self.roll();
        write
    }
}

impl Store {
    /// What there is.
    pub(crate) fn count(&self, gauges: &mut ShardGauges) {
        gauges.store_files = self.files.len() as u64;
        gauges.store_bytes = self.files.values().map(|file| file.bytes).sum();
        gauges.store_live_bytes = self.files.values().map(|file| file.live_bytes).sum();
    }

    fn write(&mut self, segment: &mut Segment, topic: Name) -> Option<Write> {
        let at = self.current.as_ref()?.at();
        match segment.lend(topic, at) {
            Some((content, head)) => self.take_in(content, head, segment.used()),
            None => self.copy(&segment.run(topic), segment.bytes()?, at),
        }
    }

    fn copy(&mut self, run: &Run, records: &[u8], at: At) -> Option<Write> {
        let mut bytes = self.spare.pop().unwrap_or_default();
        let mut head = 0;
        bytes.refill(entry::run_overhead_max() + records.len(), |out| {
            let start = out.len();
            entry::run_start(out, at, run);
            head = (out.len() - start) as u32;
            out.extend_from_slice(records);
            entry::run_end(out, at, run);
        });
        self.take_in(bytes.into(), head, run.bytes)
    }

    /// Bytes of which so many are wanted come to the end of the current file.
    fn take_in(&mut self, content: Content, head: u32, wanted: u32) -> Option<Write> {
        let current = self.current.as_mut()?;
        let offset = current.offset;
        current.offset += content.len() as u32;
        let place = Place { file: current.number, offset: offset + head, bytes: wanted };
        let file = self.files.entry(place.file).or_default();
        file.live_bytes += u64::from(place.bytes);
        file.bytes += content.len() as u64;
        file.writing += 1;
        self.writing_bytes += content.len();
        Some(Write { place, offset, content })
    }

    /// Takes no more into the current file when it is full. Its number when nothing in it is
    /// wanted.
    fn roll(&mut self) -> Option<u32> {
        let full = self.current.as_ref().is_some_and(|at| at.offset >= self.file_bytes_max);
        full.then(|| self.abandon()).flatten()
    }

    /// Takes no more into the current file. Its number when nothing in it is wanted.
    pub fn abandon(&mut self) -> Option<u32> {
        let current = self.current.take()?;
        self.files.entry(current.number).or_default().full = true;
        self.drop_if_idle(current.number)
    }

    fn drop_if_idle(&mut self, number: u32) -> Option<u32> {
        let file = self.files.get(&number)?;
        let idle = file.full && !file.held && file.live_bytes == 0 && file.writing == 0;
        idle.then(|| self.files.remove(&number)).map(|_| number)
    }

    /// A place is not wanted any more. True when nothing in its file is.
    fn release(&mut self, place: Place) -> bool {
        let Some(file) = self.files.get_mut(&place.file) else { return false };
        file.live_bytes -= u64::from(place.bytes);
        self.drop_if_idle(place.file).is_some()
    }

    /// A file is there.
    pub fn opened(&mut self, opened: Option<Opened>) {
        self.opening = false;
        self.used |= opened.is_some();
        self.current = opened.map(|Opened { number, nonce, .. }| Current {
            number,
            nonce,
            offset: FILE_HEADER_BYTES as u32,
        });
    }

    /// A write of so many bytes is done. The file's number when nothing in it is wanted.
    fn written(&mut self, file: u32, bytes: usize, succeeded: bool) -> Option<u32> {
        self.writing_bytes -= bytes;
        let used = self.files.get_mut(&file)?;
        used.writing -= 1;
        used.unsynced = true;
        if !succeeded && self.current.as_ref().is_some_and(|current| current.number == file) {
            // What is behind a hole in a file could not be found after a crash.
            return self.abandon();
        }
        self.drop_if_idle(file)
    }

    /// A place that was in use before a restart. Whether it was synced nobody knows.
    pub fn restore(&mut self, place: Place) {
        let file = self.files.entry(place.file).or_default();
        file.unsynced = true;
        file.live_bytes += u64::from(place.bytes);
        file.bytes += u64::from(place.bytes);
        file.full = true;
    }

    /// Whether there is a file that cannot be trusted.
    #[must_use]
    pub fn has_given_up(&self) -> bool {
        self.files.values().any(|file| file.given_up)
    }

    /// The files with writes that a power cut would undo; they count as synced from now on.
    pub fn take_unsynced(&mut self) -> Vec<u32> {
        let unsynced = self.files.iter_mut().filter(|(_, file)| file.unsynced && !file.given_up);
        unsynced
            .map(|(&number, file)| {
                file.unsynced = false;
                number
            })
            .collect()
    }

    /// A file of an earlier start, of which more is needed than the segments in it.
    pub fn hold(&mut self, number: u32) {
        self.used = true;
        let file = self.files.entry(number).or_default();
        (file.full, file.held) = (true, true);
    }

    /// No more than the segments in a file is needed. True when there are none.
    pub fn let_go(&mut self, number: u32) -> bool {
        if let Some(file) = self.files.get_mut(&number) {
            file.held = false;
        }
        self.drop_if_idle(number).is_some()
    }

    /// Nothing more is written to a file that cannot be trusted. True when nothing in it is
    /// wanted.
    pub fn give_up(&mut self, number: u32) -> bool {
        if self.current.as_ref().is_some_and(|current| current.number == number) {
            self.current = None;
        }
        if let Some(file) = self.files.get_mut(&number) {
            (file.full, file.given_up) = (true, true);
        }
        self.drop_if_idle(number).is_some()
    }

    /// Whether files may hold messages of topics that were deleted.
    #[must_use]
    pub fn was_used(&self) -> bool {
        self.used
    }

    /// Whether a file cannot be trusted.
    #[must_use]
    pub fn is_given_up(&self, number: u32) -> bool {
        self.files.get(&number).is_some_and(|file| file.given_up)
    }

    /// A sync of a file will not be answered.
    pub fn not_synced(&mut self, number: u32) {
        if let Some(file) = self.files.get_mut(&number) {
            file.unsynced = true;
        }
    }

    /// A full file of which little is wanted.
    #[must_use]
    pub fn sparse_file(&self) -> Option<u32> {
        let sparse =
            |file: &File| file.full && file.writing == 0 && file.live_bytes < file.bytes / 4;
        self.files.iter().find(|(_, file)| sparse(file)).map(|(&number, _)| number)
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec;
    use alloc::vec::Vec;

    use super::{Content, Space, Write};
    use crate::disk::Opened;
    use crate::journal::entry::{self, At};
    use crate::log::pool::CHUNK_BYTES;
    use crate::log::record::Salt;
    use crate::log::{Message, Pool, Segment};
    use crate::page_buffer::PAGE_BYTES;
    use crate::wire::frame::MESSAGE_HEADER_BYTES;
    use crate::wire::names::Name;

    const NONCE: u64 = 7;

    fn space() -> Space {
        let grow = || Some(Box::leak(vec![0xee; CHUNK_BYTES].into_boxed_slice()));
        let mut space = Space::new(Pool::new(8 << 20, Box::new(grow)), 64 << 20);
        space.store.opened(Some(Opened { number: 1, nonce: NONCE }));
        space
    }

    fn name() -> Name {
        Name::parse(b"topic").unwrap()
    }

    /// A segment of messages of these sizes, as a log makes it.
    fn segment(space: &mut Space, sizes: &[usize]) -> Segment {
        let bytes = sizes.iter().map(|size| size + 64).sum::<usize>() + entry::run_overhead_max();
        let block = space.pool.take(0, bytes).unwrap();
        let mut segment = Segment::new(block, entry::run_start_bytes(&name()) as u32, 1);
        for (sequence, &size) in (1..).zip(sizes) {
            let body = vec![sequence as u8; size];
            let message =
                Message { header: &[3; MESSAGE_HEADER_BYTES], body: &body, delay_ms: 0, note: b"" };
            assert!(segment.has_room(size + 64));
            segment.push(sequence, &message);
        }
        segment.add_checksums(Salt::of(&name()));
        segment
    }

    /// What a store file gets of a segment at this place, made by hand.
    fn wanted(segment: &Segment, offset: u32) -> Vec<u8> {
        let at = At { nonce: NONCE, offset: u64::from(offset) };
        let mut bytes = Vec::new();
        entry::run_start(&mut bytes, at, &segment.run(name()));
        bytes.extend_from_slice(segment.bytes().unwrap());
        entry::run_end(&mut bytes, at, &segment.run(name()));
        bytes.resize(bytes.len().next_multiple_of(PAGE_BYTES), 0);
        bytes
    }

    #[test]
    fn a_segment_lends_its_memory_and_has_it_back() {
        let mut space = space();
        for sizes in [&[1][..], &[1, 2, 3], &[500; 1000], &[3800], &[4 << 20]] {
            let mut segment = segment(&mut space, sizes);
            let used_bytes = space.pool.used_bytes();
            let lent = sizes[0] < 4 << 20;
            // The second time the first write has failed.
            for succeeds in [false, true] {
                let write = space.place(&mut segment, name()).unwrap();
                let Write { place: at, content, offset } = write;
                assert_eq!(matches!(content, Content::Lent(..)), lent, "{}", sizes.len());
                let bytes = wanted(&segment, offset);
                assert!(content[..] == bytes[..] && offset % PAGE_BYTES as u32 == 0);
                let records = &bytes[(at.offset - offset) as usize..][..at.bytes as usize];
                assert!(segment.bytes().unwrap() == records);
                space.written(1, content, succeeds);
                space.store.opened(Some(Opened { number: 1, nonce: NONCE }));
            }
            assert_eq!(space.pool.used_bytes(), used_bytes);
            space.free(segment);
            assert_eq!(space.pool.used_bytes(), 0);
        }
    }

    #[test]
    fn memory_that_is_lent_is_not_used_for_anything_else() {
        let mut space = space();
        let mut segment = segment(&mut space, &[500; 1000]);
        let write = space.place(&mut segment, name()).unwrap();
        let bytes = wanted(&segment, write.offset);
        // Asked for once more meanwhile, it is copied.
        let copy = space.place(&mut segment, name()).unwrap();
        let copied = wanted(&segment, copy.offset);
        assert!(matches!(copy.content, Content::Copy(_)) && copy.content[..] == copied[..]);
        space.written(1, copy.content, true);
        space.free(segment);
        assert!(space.pool.used_bytes() > 0);
        let others: Vec<_> = core::iter::from_fn(|| space.pool.take(0, 1000)).collect();
        assert!(write.content[..] == bytes[..]);
        others.into_iter().for_each(|mut block| {
            block.fill(9);
            space.pool.give_back(block);
        });
        assert!(write.content[..] == bytes[..]);
        space.written(1, write.content, true);
        assert_eq!(space.pool.used_bytes(), 0);
    }
}
