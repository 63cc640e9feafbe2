//! Reads the entries of a file one after the other, whatever state the file is in.

use alloc::vec::Vec;

use super::entry::{ALIGN, At, HEAD_BYTES_MAX, Head, KIND_OFFSET, Kind, Run};
use super::file::{FILE_HEADER_BYTES, FileHeader};
use super::state::{self, ChannelPart, ChannelState, Outstanding, Range, TopicState};
use crate::disk::{DiskError, Place, Role};
use crate::page_buffer::PAGE_BYTES;
use crate::wire::names::Name;

/// How much is read at once.
const BUFFER_BYTES: usize = 256 << 10;
/// Where the disk refuses that much, it is asked for so much at a time.
const PIECE_BYTES: usize = 4 << 10;

/// Bytes at an offset: a file, or a slice in a test.
pub trait ReadAt {
    /// Fills `into`, or less of it where the file ends: how many bytes it got.
    ///
    /// # Errors
    /// What the disk said.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError>;

    /// Bytes of the file.
    fn length(&self) -> u64;
}

impl ReadAt for &[u8] {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        let rest = rest.unwrap_or(&[]);
        let bytes = rest.len().min(into.len());
        into[..bytes].copy_from_slice(&rest[..bytes]);
        Ok(bytes)
    }

    fn length(&self) -> u64 {
        self.len() as u64
    }
}

/// An entry, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Records of a topic, and where they are. The place is shorter than the run where the file
    /// ends within it; the records themselves were not looked at.
    Run(Run, Place),
    /// All of a channel's state.
    Channel {
        /// Its topic.
        topic: Name,
        /// Its name.
        channel: Name,
        /// Its state, without what is in the parts.
        state: ChannelState,
        /// So many parts of it are in front.
        parts: u64,
    },
    /// A part of the channel state that is behind it.
    ChannelPart {
        /// The channel's topic.
        topic: Name,
        /// The channel.
        channel: Name,
        /// How many parts are in front of this one.
        number: u64,
        /// What is in it.
        part: ChannelPart,
    },
    /// Where deferred messages were noted while the broker ran.
    Index {
        /// Their topic.
        topic: Name,
    },
    /// All of a topic's state.
    Topic {
        /// Its name.
        topic: Name,
        /// Its state.
        state: TopicState,
    },
    /// A channel that counts attempts has delivered what is below the cursor.
    Delivered {
        /// The topic.
        topic: Name,
        /// The channel.
        channel: Name,
        /// The message behind.
        cursor: u64,
    },
    /// Messages that a channel has finished.
    Finished {
        /// The channel's topic.
        topic: Name,
        /// The channel.
        channel: Name,
        /// Which messages.
        ranges: Vec<Range>,
    },
    /// Messages that a channel has taken back, to deliver them again.
    Requeued {
        /// The channel's topic.
        topic: Name,
        /// The channel.
        channel: Name,
        /// Which messages, and when they are due.
        list: Vec<Outstanding>,
    },
    /// A channel is gone.
    ChannelDeleted {
        /// Its topic.
        topic: Name,
        /// Its name.
        channel: Name,
    },
    /// A topic is gone.
    TopicDeleted {
        /// Its name.
        topic: Name,
        /// Its messages below went with it.
        floor: u64,
    },
}

/// What comes next in a file.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and most are entries")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A good entry.
    Entry(Entry),
    /// Bytes that make no sense, with good entries behind them or unreadable.
    Damage {
        /// Offset of the first.
        from: u64,
        /// Offset behind the last.
        to: u64,
    },
}

/// The entries of a file, in their order.
///
/// Behind damage it goes on at the next good head or trailer. Where no more come, the file ends:
/// what is left is an append that was cut off, the unused rest, or what an earlier use left.
#[derive(Debug)]
pub struct Scan<'a, R> {
    file: &'a R,
    role: Role,
    number: u32,
    nonce: u64,
    /// Bytes of the file, as far as a [`Place`] can tell.
    length: u64,
    /// Where the next entry should be.
    at: u64,
    /// Where sense ended, while it has not come back.
    damaged_from: Option<u64>,
    /// Where the last entry ends whose head or trailer is good.
    good_to: u64,
    /// Comes after the damage in front of it.
    pending: Option<Entry>,
    buffer: Vec<u8>,
    /// Where in the file the buffer starts.
    buffer_at: u64,
    error: Option<DiskError>,
    /// End of the last bytes that the disk did not give.
    unreadable_to: u64,
}

impl<'a, R: ReadAt> Scan<'a, R> {
    /// Starts behind the file's header.
    pub fn new(file: &'a R, header: &FileHeader) -> Scan<'a, R> {
        Scan {
            file,
            role: header.role,
            number: header.number,
            nonce: header.nonce,
            length: file.length().min(u64::from(u32::MAX)),
            at: FILE_HEADER_BYTES as u64,
            damaged_from: None,
            good_to: FILE_HEADER_BYTES as u64,
            pending: None,
            buffer: Vec::new(),
            buffer_at: 0,
            error: None,
            unreadable_to: 0,
        }
    }

    /// The first error of the disk so far. What it did not give is taken for zeros, and reported
    /// as damage.
    #[must_use]
    pub fn error(&self) -> Option<&DiskError> {
        self.error.as_ref()
    }

    /// Takes the entry at the current place and goes behind it, or behind what is none.
    fn step(&mut self) -> Option<Found> {
        self.skip_rest_of_page();
        let here = At { nonce: self.nonce, offset: self.at };
        let at = here.offset;
        let Some(head) = Head::read(self.window(at, HEAD_BYTES_MAX), here) else {
            self.damaged_from.get_or_insert(at);
            self.at = self.next_candidate(at + ALIGN as u64);
            return None;
        };
        if head.is_trailer() {
            self.at = at + head.length() as u64;
            return self.run_before(at, &head);
        }
        self.at = at + head.entry_bytes();
        self.good_to = self.at;
        let payload_at = at + head.length() as u64;
        let entry = match head.kind {
            Kind::Run => self.run(payload_at, &head),
            _ => self.state(payload_at, &head),
        };
        self.report(at, entry)
    }

    /// What is written to a store ends with a page, and not only where an entry does.
    fn skip_rest_of_page(&mut self) {
        let (at, end) = (self.at, self.at.next_multiple_of(PAGE_BYTES as u64));
        if self.role == Role::Store && self.damaged_from.is_none() && at < end {
            let rest = (end - at) as usize;
            let window = self.window(at, rest);
            if window.get(..rest).is_some_and(|rest| rest.iter().all(|&byte| byte == 0)) {
                self.at = end;
            }
        }
    }

    /// The run that ends at this trailer, when its head is among what is damaged.
    fn run_before(&mut self, at: u64, trailer: &Head) -> Option<Found> {
        let records_at = at.checked_sub(trailer.padded());
        let start = records_at.and_then(|start| start.checked_sub(trailer.length() as u64));
        let damaged_from = *self.damaged_from.get_or_insert(at);
        let (records_at, start) = (records_at?, start.filter(|&start| start >= self.good_to)?);
        // Zeros in the place of its head were passed over as the rest of a page.
        self.damaged_from = Some(damaged_from.min(start));
        self.good_to = self.at;
        let entry = self.run(records_at, trailer);
        self.report(records_at, entry)
    }

    fn run(&self, records_at: u64, head: &Head) -> Option<Entry> {
        let bytes = u64::from(head.bytes).min(self.length.saturating_sub(records_at));
        // Both are below the length, which a place can tell.
        let place = Place { file: self.number, offset: records_at as u32, bytes: bytes as u32 };
        (bytes > 0).then(|| Entry::Run(head.run(), place))
    }

    fn state(&mut self, payload_at: u64, head: &Head) -> Option<Entry> {
        let bytes = head.bytes as usize;
        if payload_at + u64::from(head.bytes) > self.length {
            return None;
        }
        let payload = self.window(payload_at, bytes).get(..bytes)?;
        if crc32fast::hash(payload) != head.count_or_crc {
            return None;
        }
        decode(head, payload)
    }

    /// An entry whose good part starts at `from`, or the damage in front of it.
    fn report(&mut self, from: u64, entry: Option<Entry>) -> Option<Found> {
        let Some(entry) = entry else {
            self.damaged_from.get_or_insert(from);
            return None;
        };
        match self.damaged_from.take() {
            Some(damaged_from) if damaged_from < from => {
                self.pending = Some(entry);
                Some(Found::Damage { from: damaged_from, to: from })
            }
            _ => Some(Found::Entry(entry)),
        }
    }

    /// The next place from `at` on in the buffer whose kind could be one, or the buffer's end.
    fn next_candidate(&mut self, at: u64) -> u64 {
        let window = self.window(at, ALIGN);
        let mut places = window.chunks_exact(ALIGN);
        let found = places.position(|place| Kind::parse(place[KIND_OFFSET]).is_some());
        at + (found.unwrap_or(window.len().div_ceil(ALIGN)) * ALIGN) as u64
    }

    /// What is buffered from `at` on: `bytes` or more, unless the file ends before.
    fn window(&mut self, at: u64, bytes: usize) -> &[u8] {
        let end = self.buffer_at + self.buffer.len() as u64;
        let wanted_to = (at + bytes as u64).min(self.length);
        if at < self.buffer_at || wanted_to > end {
            // All windows but the last then end where an entry could start.
            self.fill(at, bytes.max(BUFFER_BYTES).next_multiple_of(ALIGN));
        }
        let offset = usize::try_from(at - self.buffer_at).unwrap_or(usize::MAX);
        self.buffer.get(offset..).unwrap_or(&[])
    }

    fn fill(&mut self, at: u64, bytes: usize) {
        let left = self.length.saturating_sub(at);
        let bytes = usize::try_from(left).map_or(bytes, |left| left.min(bytes));
        let mut buffer = core::mem::take(&mut self.buffer);
        buffer.resize(bytes, 0);
        self.buffer_at = at;
        match read_all(self.file, at, &mut buffer) {
            Ok(got) => self.end_at(at, got, &mut buffer),
            Err(_) => self.fill_in_pieces(at, &mut buffer),
        }
        self.buffer = buffer;
    }

    /// Zeros where the disk gives nothing.
    fn fill_in_pieces(&mut self, at: u64, buffer: &mut Vec<u8>) {
        let mut done = 0;
        while done < buffer.len() {
            let end = (done + PIECE_BYTES).min(buffer.len());
            let piece = &mut buffer[done..end];
            match read_all(self.file, at + done as u64, piece) {
                Ok(got) if got < end - done => return self.end_at(at, done + got, buffer),
                Ok(_) => {}
                Err(error) => {
                    piece.fill(0);
                    self.unreadable_to = self.unreadable_to.max(at + end as u64);
                    self.error.get_or_insert(error);
                }
            }
            done = end;
        }
    }

    /// A file that ends before it said it would is as long as what it gave.
    fn end_at(&mut self, at: u64, got: usize, buffer: &mut Vec<u8>) {
        if got < buffer.len() {
            buffer.truncate(got);
            self.length = at + got as u64;
        }
    }
}

impl<R: ReadAt> Iterator for Scan<'_, R> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        if let Some(entry) = self.pending.take() {
            return Some(Found::Entry(entry));
        }
        while self.at < self.length {
            if let Some(found) = self.step() {
                return Some(found);
            }
        }
        let from = self.damaged_from.take()?;
        let to = self.unreadable_to;
        (from < to).then_some(Found::Damage { from, to })
    }
}

/// Fills `into`, or less of it where the file ends.
fn read_all<R: ReadAt>(file: &R, at: u64, into: &mut [u8]) -> Result<usize, DiskError> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(at + done as u64, &mut into[done..])? {
            0 => break,
            got => done += got,
        }
    }
    Ok(done)
}

fn decode(head: &Head, payload: &[u8]) -> Option<Entry> {
    let topic = head.topic;
    Some(match head.kind {
        Kind::Run => return None,
        Kind::Channel => {
            let (state, parts) = ChannelState::decode(payload)?;
            Entry::Channel { topic, channel: head.channel?, state, parts }
        }
        Kind::ChannelPart => {
            let (number, part) = ChannelPart::decode(payload)?;
            Entry::ChannelPart { topic, channel: head.channel?, number, part }
        }
        Kind::Index => Entry::Index { topic },
        Kind::Topic => Entry::Topic { topic, state: TopicState::decode(payload)? },
        Kind::Delivered => {
            let cursor = state::decode_number(payload)?;
            Entry::Delivered { topic, channel: head.channel?, cursor }
        }
        Kind::Finished => {
            let ranges = state::decode_ranges(payload)?;
            Entry::Finished { topic, channel: head.channel?, ranges }
        }
        Kind::Requeued => {
            let list = state::decode_outstanding(payload)?;
            Entry::Requeued { topic, channel: head.channel?, list }
        }
        Kind::ChannelDeleted => Entry::ChannelDeleted { topic, channel: head.channel? },
        Kind::TopicDeleted => Entry::TopicDeleted { topic, floor: state::decode_number(payload)? },
    })
}
