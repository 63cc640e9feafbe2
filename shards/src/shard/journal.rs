//! What of a turn is written down: publishes, finishes, requeues, and changes of topics and
//! channels, all in one append, before anybody is told or given anything.
//!
//! The journal is a sequence of files. A batch lies in one file whole. When an append fails, its
//! file takes no more, and the batch is tried once more in the next one; when that fails too, the
//! turn's publishes are refused.

mod note;

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use super::Shard;
use super::share::Shares;
use crate::disk::{DiskError, DiskRequest, Opened, Role};
use crate::journal::entry::{self, At, Run};
use crate::journal::file::FILE_HEADER_BYTES;
use crate::limits::JOURNAL_RETRY_MS;
use crate::log::UNCOVERED;
use crate::slots::Key;
use crate::stats::ShardGauges;

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Whether there is a disk. Without one everything is kept in memory only.
    pub(super) enabled: bool,
    /// Files with something in them that may be needed, oldest first. The last one is written to.
    pub(super) files: VecDeque<JournalFile>,
    /// The next file.
    next: Option<Opened>,
    opening: bool,
    /// Not before then is another file asked for, because the last time failed.
    retry_at_ms: u64,
    /// State entries of this turn, without checksums before it is known where they come to stand.
    notes: Vec<u8>,
    /// Topics with messages, channels with finishes and requeues, of this turn.
    topics: Vec<Key>,
    channels: Vec<Key>,
    /// Headers and trailers of the batch's runs, and what the batch is made of.
    heads: Vec<u8>,
    pieces: Vec<Piece>,
    batch_bytes: u64,
    /// Why publishes are refused.
    pub(super) trouble: Option<String>,
    /// Messages appended since the last sync began.
    pub(super) unsynced: u64,
    /// The last time that a file was asked for, there was none.
    pub(super) short: bool,
    /// Something was not written down that should have been.
    missed: bool,
    /// Who published how much of late.
    pub(super) shares: Shares,
}

/// State entries kept while nothing can be written.
const NOTES_BYTES_MAX: usize = 1 << 20;

/// A journal file in use.
#[derive(Debug)]
pub(super) struct JournalFile {
    pub(super) number: u32,
    nonce: u64,
    pub(super) offset: u32,
    /// Something was appended since it was last synced.
    pub(super) unsynced: bool,
    /// It takes no more, and what it covers is to be covered elsewhere.
    pub(super) broken: bool,
    /// A sync of it has failed: what the kernel still has of it may never get to the disk, and
    /// later syncs would not say so.
    pub(super) spoiled: bool,
}

#[derive(Debug)]
enum Piece {
    Notes,
    Heads(Range<usize>),
    Records { topic: Key, segment: u32, bytes: Range<u32>, first: u64 },
}

/// An append to be made: all of the slices, one behind the other, in one file.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Number of the file.
    pub file: u32,
    /// Where in it.
    pub offset: u32,
    /// What.
    pub slices: Vec<&'a [u8]>,
}

impl Journal {
    /// A journal without files; without a disk there will be none.
    pub(super) fn new(enabled: bool) -> Journal {
        Journal { enabled, ..Journal::default() }
    }

    /// The file that is written to.
    pub(super) fn current(&mut self) -> Option<&mut JournalFile> {
        self.files.back_mut().filter(|file| !file.broken)
    }

    /// A sync was answered: whether what it covered is on the disk. `None` when the file is not
    /// of the journal.
    pub(super) fn synced(&mut self, number: u32, succeeded: bool) -> Option<bool> {
        let file = self.files.iter_mut().find(|file| file.number == number)?;
        if !succeeded {
            (file.broken, file.spoiled, file.unsynced) = (true, true, false);
        }
        Some(!file.spoiled)
    }

    /// Whether something was left out that has to be written down first.
    pub(super) fn has_missed(&self) -> bool {
        self.missed
    }

    /// Whether everything that was noted is written down, and there is a file.
    pub(super) fn is_empty_handed(&self) -> bool {
        self.notes.is_empty() && !self.files.is_empty()
    }

    fn has_news(&self) -> bool {
        !(self.notes.is_empty() && self.topics.is_empty() && self.channels.is_empty())
    }

    /// Whether something is to be written down in the next turn, which nothing else announces.
    pub(super) fn is_due(&self) -> bool {
        let noted = !self.notes.is_empty() && !self.missed;
        let news = noted || !self.topics.is_empty() || !self.channels.is_empty();
        news && self.files.back().is_some_and(|file| !file.broken)
    }

    /// Where the next batch starts.
    fn end(&mut self) -> At {
        let end = |file: &mut JournalFile| (file.nonce, u64::from(file.offset));
        let (nonce, offset) = self.current().map_or((0, 0), end);
        At { nonce, offset }
    }

    /// Whether the file behind the current one is not there yet.
    pub(super) fn has_no_next(&self) -> bool {
        self.next.is_none()
    }

    /// Forgets the entries of state that are not written yet.
    pub(super) fn forget_notes(&mut self) {
        self.notes.clear();
    }

    /// Goes on in the next file, if it is there.
    fn switch(&mut self) -> bool {
        let Some(Opened { number, nonce }) = self.next.take() else { return false };
        self.shares.begin(number);
        let offset = FILE_HEADER_BYTES as u32;
        let (unsynced, broken, spoiled) = (false, false, false);
        self.files.push_back(JournalFile { number, nonce, offset, unsynced, broken, spoiled });
        true
    }
}

impl Shard {
    /// Gathers what is to be written down of this turn. To be called when all that arrived has
    /// been carried out, before [`Shard::finish_turn`].
    pub fn prepare_journal(&mut self) {
        if !self.journal.enabled {
            return;
        }
        self.open_next_journal();
        self.checkpoint();
        if !self.journal.has_news() || self.is_starting() {
            return;
        }
        self.gather_deltas();
        if self.journal.current().is_some() || self.journal.switch() {
            self.gather_runs();
            if self.is_beyond_the_end() && self.journal.switch() {
                self.gather_runs();
            }
        } else if self.journal.trouble.is_some() {
            self.turn_failed();
        }
        // Otherwise the first file is about to come.
    }

    /// Whether it is not written down yet where everything stood at the start. Nothing else is to
    /// happen before, or a crash would undo what somebody was told.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        let Journal { enabled, files, trouble, .. } = &self.journal;
        *enabled && files.is_empty() && trouble.is_none()
    }

    /// Whether the batch would make the current file longer than it was made. A batch that is
    /// longer than a whole file, or finds no next one, does that.
    fn is_beyond_the_end(&mut self) -> bool {
        let (bytes, max) = (self.journal.batch_bytes, u64::from(self.options.journal_file_bytes));
        let current = self.journal.current();
        current.is_some_and(|file| {
            file.offset > FILE_HEADER_BYTES as u32 && u64::from(file.offset) + bytes > max
        })
    }

    /// Turns what channels noted into entries.
    fn gather_deltas(&mut self) {
        let mut channels = core::mem::take(&mut self.journal.channels);
        for key in channels.drain(..) {
            let Some(channel) = self.channels.get_mut(key) else { continue };
            channel.noted = false;
            let topic_key = channel.topic;
            let Some(topic) = self.topics.get(topic_key) else { continue };
            let (notes, name) = (&mut self.journal.notes, &channel.name);
            if core::mem::take(&mut channel.moved) && channel.policy.max_attempts != 0 {
                entry::delivered(notes, &topic.name, name, channel.cursor);
            }
            if !channel.requeued.is_empty() {
                entry::requeued(notes, &topic.name, name, &channel.requeued);
                channel.requeued.clear();
            }
            if !channel.finished.is_empty() {
                entry::finished(notes, &topic.name, name, &channel.finished);
                channel.finished.clear();
            }
            self.cover(topic_key);
        }
        self.journal.channels = channels;
    }

    /// Puts headers around the records that topics got.
    fn gather_runs(&mut self) {
        let Shard { journal, topics, .. } = self;
        let mut at = journal.end();
        let Journal { heads, pieces, .. } = journal;
        heads.clear();
        pieces.clear();
        for &key in &journal.topics {
            let Some(topic) = topics.get_mut(key) else { continue };
            topic.log.add_checksums_from(topic.journaled_at.segment);
            let mut first = topic.journaled_to;
            for (segment, found) in topic.log.segments_from(topic.journaled_at.segment) {
                let from = match segment == topic.journaled_at.segment {
                    true => topic.journaled_at.offset,
                    false => 0,
                };
                if from >= found.used() {
                    continue;
                }
                let bytes = found.used() - from;
                let (last, deferred) = (found.last, found.deferred);
                let count = (last + 1 - first) as u32;
                let run = Run { topic: topic.name, count, first, last, bytes, deferred };
                let start = heads.len();
                entry::run_start(heads, at, &run);
                let middle = heads.len();
                entry::run_end(heads, at, &run);
                pieces.push(Piece::Heads(start..middle));
                let records = from..found.used();
                let first_there = found.first;
                pieces.push(Piece::Records {
                    topic: key,
                    segment,
                    bytes: records,
                    first: first_there,
                });
                pieces.push(Piece::Heads(middle..heads.len()));
                at.offset += (heads.len() - start) as u64 + u64::from(bytes);
                first = last + 1;
            }
        }
        // Behind the messages: a batch that is torn must not say of some that they were given.
        pieces.push(Piece::Notes);
        entry::seal(&mut journal.notes, at);
        let records = pieces.iter().map(|piece| match piece {
            Piece::Records { bytes, .. } => u64::from(bytes.end - bytes.start),
            Piece::Notes | Piece::Heads(_) => 0,
        });
        journal.batch_bytes = records.sum::<u64>() + (heads.len() + journal.notes.len()) as u64;
    }

    /// The append to be made now, when there is one. [`Shard::journal_appended`] is to be told
    /// what became of it; there may be another one then.
    #[must_use]
    pub fn journal_batch(&self) -> Option<Batch<'_>> {
        let Journal { files, pieces, notes, heads, .. } = &self.journal;
        let file = files.back().filter(|_| !pieces.is_empty())?;
        let slices = pieces.iter().filter_map(|piece| match piece {
            Piece::Notes => Some(&notes[..]),
            Piece::Heads(range) => Some(&heads[range.clone()]),
            Piece::Records { topic, segment, bytes, .. } => {
                let topic = self.topics.get(*topic)?;
                let (_, segment) = topic.log.segments_from(*segment).next()?;
                Some(&segment.bytes()?[bytes.start as usize..bytes.end as usize])
            }
        });
        let slices = slices.filter(|slice| !slice.is_empty()).collect();
        Some(Batch { file: file.number, offset: file.offset, slices })
    }

    /// The append was made, or failed.
    pub fn journal_appended(&mut self, result: Result<(), DiskError>) {
        let bytes = self.journal.batch_bytes;
        let Some(file) = self.journal.files.back_mut() else { return };
        match result {
            Ok(()) => {
                file.offset += bytes as u32;
                file.unsynced = true;
                self.turn_written();
            }
            Err(error) => {
                self.journal.pieces.clear();
                self.give_up_current();
                self.journal_failed(&error);
                if self.journal.switch() {
                    return self.gather_runs();
                }
                self.journal.retry_at_ms = self.now.mono_ms + JOURNAL_RETRY_MS;
                self.turn_failed();
            }
        }
    }

    /// Nothing more is written to the current file.
    fn give_up_current(&mut self) {
        let Some(file) = self.journal.files.back_mut() else { return };
        file.broken = true;
        if file.offset == FILE_HEADER_BYTES as u32 {
            self.space.requests.push_back(DiskRequest::Release(file.number));
            self.journal.files.pop_back();
            // Of the batch some may stand in it, and it may be found: what comes next belongs
            // behind that, in a file with a higher number.
            if let Some(before) = self.journal.files.back_mut() {
                before.broken = true;
            }
        }
    }

    /// What this turn did is written down: it is covered by the current file, and the answers may
    /// go, or wait for the sync.
    fn turn_written(&mut self) {
        let file = self.journal.current().map_or(UNCOVERED, |file| file.number);
        let mut pieces = core::mem::take(&mut self.journal.pieces);
        for piece in pieces.drain(..) {
            let Piece::Records { topic, first, .. } = piece else { continue };
            let Some(topic) = self.topics.get_mut(topic) else { continue };
            topic.journal_from = topic.journal_from.min(file);
            if let Some(segment) = topic.log.by_first(first) {
                segment.journal = segment.journal.min(file);
            }
        }
        self.journal.pieces = pieces;
        for index in 0..self.journal.topics.len() {
            let Some(topic) = self.topics.get_mut(self.journal.topics[index]) else { continue };
            self.journal.unsynced += topic.head - topic.journaled_to;
            topic.mark_journaled();
        }
        self.journal.topics.clear();
        self.journal.notes.clear();
        self.journal.shares.coming_bytes = 0;
        self.keep_promises();
    }

    /// What this turn did cannot be written down. Who published is told; what else happened is
    /// written down as a whole when the disk works again.
    fn turn_failed(&mut self) {
        if self.journal.trouble.is_none() {
            self.journal.trouble = Some(String::from("the journal has no file to write to"));
        }
        for index in 0..self.journal.topics.len() {
            if let Some(topic) = self.topics.get_mut(self.journal.topics[index]) {
                topic.store_unwritten();
                topic.mark_journaled();
            }
        }
        self.journal.topics.clear();
        self.journal.pieces.clear();
        if self.journal.notes.len() > NOTES_BYTES_MAX {
            self.journal.notes.clear();
        }
        self.journal.missed = true;
        self.journal.shares.coming_bytes = 0;
        self.break_promises();
    }

    /// Asks for the next file in time, and goes on in it when the current one is given up.
    fn open_next_journal(&mut self) {
        let max = self.options.journal_files_max;
        let Journal { enabled, next, opening, files, retry_at_ms, .. } = &mut self.journal;
        // Files that take no more would never be free again if no other came.
        let room = files.len() < max || files.back().is_none_or(|file| file.broken);
        let wanted = *enabled && next.is_none() && !*opening && room;
        if wanted && self.now.mono_ms >= *retry_at_ms {
            *opening = true;
            let heads = self.topics.iter().map(|(_, topic)| topic.head);
            let floor = heads.max().unwrap_or(0).max(self.sequence_floor);
            self.space.requests.push_back(DiskRequest::Open { role: Role::Journal, floor });
        }
        if self.journal.current().is_none() && !self.journal.switch() {
            return;
        }
        if !(self.journal.short && self.journal_room() < self.options.journal_file_bytes / 4) {
            self.journal.trouble = None;
        }
        if core::mem::take(&mut self.journal.missed) {
            self.note_all_topics();
        }
    }

    /// Bytes that the current file takes before it is full.
    fn journal_room(&mut self) -> u32 {
        let bytes = self.options.journal_file_bytes;
        self.journal.current().map_or(0, |file| bytes.saturating_sub(file.offset))
    }

    /// The next file is there, or is not to be had.
    pub(super) fn journal_opened(&mut self, result: Result<Opened, DiskError>) {
        self.journal.opening = false;
        match result {
            Ok(opened) => {
                self.journal.short = false;
                self.journal.next = Some(opened);
            }
            Err(error) => {
                self.journal.retry_at_ms = self.now.mono_ms + JOURNAL_RETRY_MS;
                self.journal.short = true;
                if error.full {
                    self.press_for_disk();
                }
                // There is time as long as the current file has room.
                if self.journal_room() < self.options.journal_file_bytes / 4 {
                    self.journal_failed(&error);
                }
            }
        }
    }

    /// When a file is asked for again.
    pub(super) fn journal_deadline_ms(&self) -> Option<u64> {
        let Journal { enabled, next, opening, retry_at_ms, trouble, .. } = &self.journal;
        let waits = *enabled && next.is_none() && !*opening && trouble.is_some();
        waits.then_some(*retry_at_ms)
    }

    /// The disk refused something. Publishes are refused until it works again.
    pub(super) fn journal_failed(&mut self, error: &DiskError) {
        self.journal.trouble = Some(error.text.clone());
    }

    /// What there is of it.
    pub(super) fn count_journal(&self, gauges: &mut ShardGauges) {
        let journal = &self.journal;
        gauges.journal_files = journal.files.len() as u64;
        gauges.journal_files_max = match journal.enabled {
            true => self.options.journal_files_max as u64,
            false => 0,
        };
        gauges.journal_bytes = journal.files.iter().map(|file| u64::from(file.offset)).sum();
        gauges.journal_unsynced = journal.unsynced;
        gauges.checkpoints = self.checkpoints;
        gauges.disk_trouble = self.disk_trouble().is_some();
    }

    /// Why the disk is not to be relied on, while that is so.
    #[must_use]
    pub fn disk_trouble(&self) -> Option<&str> {
        self.journal.trouble.as_deref().or(self.store_trouble())
    }

    /// Why publishes are refused, as clients see it after `E_PUB_FAILED`.
    pub(super) fn disk_reason(&self) -> String {
        let trouble = self.journal.trouble.as_deref();
        String::from(trouble.unwrap_or("the journal has no file to write to"))
    }
}
