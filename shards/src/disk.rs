//! What a shard asks of its disk, and what it is told.
//!
//! The one thing that is not asked for here is the append to the journal: the rim does it within
//! the turn (see `Shard::journal_batch`). Everything else takes its time, and is answered in a
//! later turn.

use alloc::string::String;
use alloc::sync::Arc;
use core::ops::Deref;

use crate::log::pool::Block;
use crate::page_buffer::PageBuffer;

/// What a file of the data path is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What happened, turn by turn.
    Journal,
    /// Segments of topics.
    Store,
}

/// Where bytes are on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Number of the file.
    pub file: u32,
    /// Bytes from its start.
    pub offset: u32,
    /// How many.
    pub bytes: u32,
}

/// What a disk answered instead of doing what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError {
    /// There is no room, so it may go well when there is.
    pub full: bool,
    /// In words.
    pub text: String,
}

/// What is written. Dereferences to the bytes.
#[derive(Debug)]
pub enum Content {
    /// A copy.
    Copy(PageBuffer),
    /// The first so many bytes of a segment's memory, which nobody changes meanwhile.
    Lent(Arc<Block>, usize),
}

impl From<PageBuffer> for Content {
    fn from(buffer: PageBuffer) -> Content {
        Content::Copy(buffer)
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Content::Copy(buffer) => buffer,
            Content::Lent(block, bytes) => &block[..*bytes],
        }
    }
}

/// What a shard asks. Requests with a ticket are answered with the same ticket.
#[derive(Debug)]
pub enum DiskRequest {
    /// A new file, its header written.
    Open {
        /// What for.
        role: Role,
        /// Sequence numbers below this one were used by topics that may be forgotten; it belongs
        /// into the header.
        floor: u64,
    },
    /// Writes all of the bytes.
    Write {
        /// Comes back with the answer.
        ticket: u32,
        /// Number of the file.
        file: u32,
        /// Where in it.
        offset: u32,
        /// What; it comes back with the answer. It starts at a page of memory and of the file, and
        /// is whole pages.
        content: Content,
    },
    /// Reads a place, all of it.
    Read {
        /// Comes back with the answer.
        ticket: u32,
        /// What to read.
        place: Place,
    },
    /// Makes what was appended and written to a file so far last over a power cut.
    Sync {
        /// Comes back with the answer.
        ticket: u32,
        /// Number of the file.
        file: u32,
    },
    /// This shard wants nothing from the file any more. Not answered.
    Release(u32),
}

/// What a shard is told.
#[derive(Debug)]
pub enum DiskEvent {
    /// A file is there to be written to.
    Opened(Role, Result<Opened, DiskError>),
    /// A write is done, or was tried.
    Written {
        /// The request's.
        ticket: u32,
        /// What was to be written.
        content: Content,
        /// What became of it.
        result: Result<(), DiskError>,
    },
    /// A place was read.
    Read {
        /// The request's.
        ticket: u32,
        /// Its bytes.
        result: Result<PageBuffer, DiskError>,
    },
    /// A file is synced.
    Synced {
        /// The request's.
        ticket: u32,
        /// What became of it.
        result: Result<(), DiskError>,
    },
}

/// A file ready to be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub number: u32,
    /// What the checksums of its entries start with.
    pub nonce: u64,
}
