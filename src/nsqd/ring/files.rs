//! Files through the ring: reads, writes, syncs and opens that take their time in the kernel while
//! the shard goes on.
//!
//! An operation owns its buffer and its file until the kernel is done with both, so neither can
//! vanish under it. What the kernel does in part is continued until it is whole or fails. A sync
//! starts when every write to its file that was asked for earlier is done, since it is to cover
//! them. Only so many operations are in the kernel at a time; the others wait here, in order, but
//! syncs do not wait behind reads and writes that they have nothing to do with.
//!
//! What can go wrong comes back in [`FileDone`]: nothing here fails by itself.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::{opcode, squeue, types};
use shards::disk::Content;
use shards::page_buffer::{PAGE_BYTES, PageBuffer, start_at_page};

use super::Ring;
use super::key::Token;
use super::limits::{
    FILE_SYNCS_MAX, FILE_TRANSFERS_MAX, INLINE_WRITE_BYTES_MAX, TRANSFER_BYTES_MAX,
};

/// An operation on a file that is over.
#[derive(Debug)]
pub struct FileDone {
    /// What the caller gave when asking.
    pub ticket: u64,
    /// From asking to the end.
    pub took: Duration,
    /// What became of it.
    pub outcome: FileOutcome,
}

/// What became of an operation on a file.
#[derive(Debug)]
pub enum FileOutcome {
    /// All bytes that were asked for; fewer are an error.
    Read(io::Result<PageBuffer>),
    /// What was to be written comes back in any case.
    Written(Content, io::Result<()>),
    /// The file is synced, or not.
    Synced(io::Result<()>),
    /// The file that was asked for by its path.
    Opened(io::Result<File>),
}

/// What is done to which file.
#[derive(Debug)]
enum Work {
    /// Whole pages into the capacity of a buffer, from a page of it on.
    Read(Arc<File>, Pages),
    Write(Arc<File>, Content),
    Sync(Arc<File>),
    Open(CString, libc::c_int),
}

/// Where a read goes to: the pages that the wanted bytes are in.
#[derive(Debug)]
struct Pages {
    bytes: Vec<u8>,
    /// Where the first page starts in `bytes`.
    start: usize,
    /// Bytes in it in front of what is wanted.
    lead: usize,
    /// Bytes of all pages. The file may end before.
    whole: usize,
}

impl Pages {
    fn around(offset: u64, bytes: usize) -> Pages {
        let lead = (offset % PAGE_BYTES as u64) as usize;
        let whole = (lead + bytes).next_multiple_of(PAGE_BYTES);
        let mut buffer = Vec::new();
        let start = start_at_page(&mut buffer, whole);
        Pages { bytes: buffer, start, lead, whole }
    }
}

/// One operation, from asking to its end.
#[derive(Debug)]
pub(super) struct Operation {
    ticket: u64,
    /// Rises from operation to operation.
    order: u64,
    asked: Instant,
    work: Work,
    /// Where the transfer starts in the file.
    offset: u64,
    /// Bytes that the transfer is to move at least, and has moved so far.
    wanted: usize,
    moved: usize,
}

impl Operation {
    /// The request for what is still to be done.
    fn entry(&mut self) -> squeue::Entry {
        let (offset, moved) = (self.offset + self.moved as u64, self.moved);
        let whole = match &self.work {
            Work::Read(_, pages) => pages.whole,
            _ => self.wanted,
        };
        let bytes = (whole - moved).min(TRANSFER_BYTES_MAX) as u32;
        let fd = |file: &Arc<File>| types::Fd(file.as_raw_fd());
        match &mut self.work {
            Work::Read(file, pages) => {
                let end = pages.start + pages.whole;
                assert!(pages.bytes.capacity() >= end, "a read outgrew its buffer");
                // SAFETY: `moved` is at most `whole`, which the buffer has room for behind `start`.
                let to = unsafe { pages.bytes.as_mut_ptr().add(pages.start + moved) };
                opcode::Read::new(fd(file), to, bytes).offset(offset).build()
            }
            Work::Write(file, content) => {
                let from = content[moved..].as_ptr();
                let entry = opcode::Write::new(fd(file), from, bytes).offset(offset).build();
                if bytes as usize > INLINE_WRITE_BYTES_MAX {
                    return entry.flags(squeue::Flags::ASYNC);
                }
                entry
            }
            Work::Sync(file) => {
                opcode::Fsync::new(fd(file)).flags(types::FsyncFlags::DATASYNC).build()
            }
            Work::Open(path, flags) => {
                opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr())
                    .flags(*flags | libc::O_CLOEXEC)
                    .build()
            }
        }
    }

    /// Takes in what the kernel did. `None` when there is more to do.
    fn advance(&mut self, result: i32) -> Option<io::Result<i32>> {
        match (-result, &self.work) {
            (libc::EINTR | libc::EAGAIN, _) => None,
            (errno @ 1.., _) => Some(Err(io::Error::from_raw_os_error(errno))),
            (_, Work::Sync(_) | Work::Open(..)) => Some(Ok(result)),
            (0, Work::Read(..)) => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            (0, Work::Write(..)) => Some(Err(io::ErrorKind::WriteZero.into())),
            _ => {
                self.moved += result as usize;
                (self.moved >= self.wanted).then_some(Ok(0))
            }
        }
    }

    /// The end of it.
    fn done(self, result: io::Result<i32>) -> FileDone {
        let outcome = match self.work {
            Work::Read(_, Pages { mut bytes, start, lead, whole }) => {
                FileOutcome::Read(result.map(|_| {
                    assert!((self.wanted..=whole).contains(&self.moved), "a read of other bytes");
                    bytes.resize(start, 0);
                    // SAFETY: the kernel filled `moved` bytes behind `start`, and `wanted` is at
                    // most that.
                    unsafe { bytes.set_len(start + self.wanted) };
                    PageBuffer::new(bytes, start + lead)
                }))
            }
            Work::Write(_, content) => FileOutcome::Written(content, result.map(|_| ())),
            Work::Sync(_) => FileOutcome::Synced(result.map(|_| ())),
            Work::Open(..) => FileOutcome::Opened(result.map(|fd| {
                // SAFETY: the kernel just made this descriptor for us; nobody else owns it.
                unsafe { File::from_raw_fd(fd) }
            })),
        };
        FileDone { ticket: self.ticket, took: self.asked.elapsed(), outcome }
    }

    fn is_write_to(&self, to: &Arc<File>) -> bool {
        matches!(&self.work, Work::Write(file, _) if Arc::ptr_eq(file, to))
    }

    fn is_sync(&self) -> bool {
        matches!(self.work, Work::Sync(_))
    }
}

/// All operations of a ring on files.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// What the kernel works on, by the slot that its token names.
    pub slots: Vec<Option<Operation>>,
    free: Vec<u32>,
    /// How many of them are syncs.
    syncs: usize,
    waiting: VecDeque<Operation>,
    waiting_syncs: VecDeque<Operation>,
    /// The next operation's order.
    order: u64,
    /// What the caller has not taken yet.
    done: VecDeque<FileDone>,
}

impl Files {
    /// Whether the kernel works on any.
    pub fn in_flight(&self) -> bool {
        self.started() > 0
    }

    /// Whether something is there for the caller.
    pub fn has_done(&self) -> bool {
        !self.done.is_empty()
    }

    /// The ring ends: nothing more is started, and nobody takes what is done.
    pub fn abandon(&mut self) {
        self.waiting.clear();
        self.waiting_syncs.clear();
        self.done.clear();
    }

    fn started(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn ask(&mut self, ticket: u64, work: Work, offset: u64, wanted: usize) {
        self.order += 1;
        let order = self.order;
        let asked = Instant::now();
        let operation = Operation { ticket, order, asked, work, offset, wanted, moved: 0 };
        let transfer = matches!(operation.work, Work::Read(..) | Work::Write(..));
        if transfer && wanted == 0 {
            self.done.push_back(operation.done(Ok(0)));
        } else if operation.is_sync() {
            self.waiting_syncs.push_back(operation);
        } else {
            self.waiting.push_back(operation);
        }
    }

    /// The next operation that may start now.
    fn next_ready(&mut self) -> Option<Operation> {
        if self.syncs < FILE_SYNCS_MAX {
            let ready = self.waiting_syncs.iter().position(|sync| self.is_ready(sync));
            if let Some(sync) = ready.and_then(|ready| self.waiting_syncs.remove(ready)) {
                return Some(sync);
            }
        }
        (self.started() - self.syncs < FILE_TRANSFERS_MAX).then(|| self.waiting.pop_front())?
    }

    /// Whether all that a sync is to cover has been written.
    fn is_ready(&self, sync: &Operation) -> bool {
        let Work::Sync(file) = &sync.work else { return true };
        let mut earlier = self.slots.iter().flatten().chain(&self.waiting);
        !earlier.any(|other| other.order < sync.order && other.is_write_to(file))
    }

    /// Gives an operation a slot, and the request for it.
    fn start(&mut self, mut operation: Operation) -> (u32, squeue::Entry) {
        self.syncs += usize::from(operation.is_sync());
        let entry = operation.entry();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        let place = &mut self.slots[slot as usize];
        assert!(place.is_none(), "a slot of a file operation was given twice");
        *place = Some(operation);
        (slot, entry)
    }

    /// The kernel is done with a slot's request; another one follows when it did only a part.
    fn completed(&mut self, slot: u32, result: i32) -> Option<squeue::Entry> {
        let place = &mut self.slots[slot as usize];
        let mut operation = place.take().expect("a slot stays taken until its request completes");
        let Some(result) = operation.advance(result) else {
            let entry = operation.entry();
            *place = Some(operation);
            return Some(entry);
        };
        self.syncs -= usize::from(operation.is_sync());
        self.free.push(slot);
        self.done.push_back(operation.done(result));
        None
    }
}

impl Ring {
    /// Reads `bytes` bytes of a file from `offset` on.
    pub fn read_file(&mut self, ticket: u64, file: Arc<File>, offset: u64, bytes: usize) {
        let pages = Pages::around(offset, bytes);
        let (from, wanted) = (offset - pages.lead as u64, pages.lead + bytes);
        self.files.ask(ticket, Work::Read(file, pages), from, wanted);
        self.start_files();
    }

    /// Writes all bytes to a file from `offset` on.
    pub fn write_file(&mut self, ticket: u64, file: Arc<File>, offset: u64, content: Content) {
        let wanted = content.len();
        self.files.ask(ticket, Work::Write(file, content), offset, wanted);
        self.start_files();
    }

    /// Syncs a file's bytes, and what is needed to read them again, once everything that was asked
    /// to be written to it before is written.
    pub fn sync_file(&mut self, ticket: u64, file: Arc<File>) {
        self.files.ask(ticket, Work::Sync(file), 0, 0);
        self.start_files();
    }

    /// Opens a file that exists, with `open`'s flags; it is closed on exec.
    pub fn open_file(&mut self, ticket: u64, path: CString, flags: libc::c_int) {
        self.files.ask(ticket, Work::Open(path, flags), 0, 0);
        self.start_files();
    }

    /// The next operation on a file that is over. To be asked after [`Ring::events`], until there
    /// is none.
    pub fn next_file_done(&mut self) -> Option<FileDone> {
        self.files.done.pop_front()
    }

    /// Whether [`Ring::next_file_done`] has something to tell.
    #[cfg(test)]
    pub fn has_file_done(&self) -> bool {
        self.files.has_done()
    }

    /// How many operations on files are not over yet.
    pub fn file_operations(&self) -> usize {
        self.files.started() + self.files.waiting.len() + self.files.waiting_syncs.len()
    }

    pub(super) fn file_completed(&mut self, slot: u32, result: i32) {
        match self.files.completed(slot, result) {
            Some(entry) => self.queue.push(entry, Token::of_file(slot)),
            None => self.start_files(),
        }
    }

    fn start_files(&mut self) {
        while let Some(operation) = self.files.next_ready() {
            let (slot, entry) = self.files.start(operation);
            self.queue.push(entry, Token::of_file(slot));
        }
    }
}
