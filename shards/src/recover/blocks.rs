//! The pieces of a topic's messages, made into segments: none twice, and not too many small ones.
//!
//! A block of a store is believed unread. A run of a journal is read, since the last append may
//! be torn, and so is all that overlaps, has holes or holds deferred messages.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::channels::Messages;
use super::overlap::{Content, Stretch, resolve};
use super::ranges::Ranges;
use super::records::{self, Loaded};
use super::writer::Writer;
use super::{BlockSink, LogFile, Progress, Report, StoredSegment};
use crate::disk::Place;
use crate::journal::entry::{self, ALIGN, At, run_end_bytes_max};
use crate::journal::scan::ReadAt;
use crate::journal::state::Range;
use crate::log::record::Salt;
use crate::wire::names::Name;

/// Runs of journals that are smaller are gathered in blocks.
const SMALL_BYTES: u32 = 64 << 10;

/// A run, as its head describes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) count: u32,
    pub(super) place: Place,
    /// Of its topic.
    pub(super) salt: Salt,
    pub(super) deferred: bool,
    pub(super) in_journal: bool,
    /// The file ends within it.
    pub(super) is_cut: bool,
    /// It is the last entry of its file, and may be torn.
    pub(super) is_last: bool,
}

impl Piece {
    pub(super) fn range(&self) -> Range {
        Range { first: self.first, last: self.last }
    }

    /// Whether it has every message between its first and its last.
    pub(super) fn is_complete(&self) -> bool {
        u64::from(self.count) == (self.last - self.first).saturating_add(1)
    }

    fn must_be_read(&self) -> bool {
        self.in_journal || self.is_cut || self.is_last || self.deferred || !self.is_complete()
    }

    fn is_small(&self) -> bool {
        self.in_journal && self.place.bytes < SMALL_BYTES
    }

    /// The segment that it is, as it stands.
    fn segment(&self) -> StoredSegment {
        let Piece { first, last, count, place, deferred, .. } = *self;
        StoredSegment { first, last, count, place, deferred }
    }
}

/// Turns pieces into segments, topic by topic.
pub(super) struct Blocks<'a, 'b, R, S> {
    pub(super) files: BTreeMap<u32, &'a LogFile<R>>,
    pub(super) sink: &'a mut S,
    pub(super) report: &'a mut Report,
    pub(super) progress: &'a mut Progress<'b>,
}

impl<R: ReadAt, S: BlockSink> Blocks<'_, '_, R, S> {
    /// The segments of one topic, sorted, and what is in them.
    pub(super) fn settle(
        &mut self,
        topic: Name,
        mut pieces: Vec<Piece>,
    ) -> (Vec<StoredSegment>, Messages) {
        pieces.sort_by_key(|piece| (piece.first, Reverse(piece.last), piece.place.file));
        let mut writer = Writer::new(topic);
        let mut messages = Messages::default();
        let mut rest = &pieces[..];
        while let Some(first) = rest.first() {
            let mut last = first.last;
            let overlapping = rest.iter().take_while(|piece| {
                let overlaps = piece.first <= last;
                last = last.max(piece.last);
                overlaps
            });
            let (cluster, behind) = rest.split_at(overlapping.count());
            rest = behind;
            match cluster {
                [piece] => self.single(piece, &mut writer, &mut messages),
                _ => self.cluster(cluster, &mut writer, &mut messages),
            }
        }
        writer.flush(self.sink, self.report);
        (writer.segments, messages)
    }

    /// A piece that overlaps with no other.
    fn single(&mut self, piece: &Piece, writer: &mut Writer, messages: &mut Messages) {
        if !piece.must_be_read() {
            messages.exist.insert(piece.range());
            return writer.keep(piece.segment(), self.sink, self.report);
        }
        let loaded = self.load(piece, messages);
        self.report.records_lost += u64::from(piece.count).saturating_sub(loaded.count());
        if !piece.is_small() && loaded.count() == u64::from(piece.count) {
            return writer.keep(piece.segment(), self.sink, self.report);
        }
        writer.add(&loaded, piece, piece.range(), (self.sink, self.report));
    }

    /// Pieces that hold some messages twice. All are read, so that a copy makes good for what is
    /// damaged in another.
    fn cluster(&mut self, pieces: &[Piece], writer: &mut Writer, messages: &mut Messages) {
        let mut contents = Vec::new();
        let mut claimed = Ranges::default();
        for piece in pieces {
            let loaded = self.load(piece, messages);
            contents.push(Content::new(&loaded));
            if piece.is_complete() {
                claimed.insert(piece.range());
            }
        }
        for range in claimed.within(Range { first: 0, last: u64::MAX }) {
            let missing = messages.exist.gaps(range).map(|gap| gap.last - gap.first + 1);
            self.report.records_lost += missing.sum::<u64>();
        }
        let mut last_loaded: Option<(usize, Loaded)> = None;
        for stretch in resolve(pieces, &contents) {
            let Stretch { piece: index, range, count } = stretch;
            let piece = &pieces[index];
            if count == u64::from(piece.count) && !piece.is_small() {
                writer.keep(piece.segment(), self.sink, self.report);
                continue;
            }
            let loaded = match last_loaded.take() {
                Some((of, loaded)) if of == index => loaded,
                _ => self.read(piece),
            };
            writer.add(&loaded, piece, range, (self.sink, self.report));
            last_loaded = Some((index, loaded));
        }
    }

    /// Reads a piece and notes what is in it.
    fn load(&mut self, piece: &Piece, messages: &mut Messages) -> Loaded {
        let loaded = self.read(piece);
        self.report.damaged += loaded.damaged;
        self.progress.rewritten(u64::from(piece.place.bytes));
        for (_, record) in &loaded.records {
            let sequence = record.sequence;
            messages.exist.insert(Range { first: sequence, last: sequence });
            if record.delay_ms > 0 {
                let published_ns = u64::try_from(record.timestamp_ns).unwrap_or(0);
                // Rather late by less than a millisecond than early.
                let published_ms = published_ns.div_ceil(1_000_000);
                let due_ms = published_ms.saturating_add(record.delay_ms);
                messages.dues.insert(sequence, due_ms);
            }
        }
        loaded
    }

    fn read(&mut self, piece: &Piece) -> Loaded {
        let Some(&file) = self.files.get(&piece.place.file) else {
            return Loaded::new(piece, Vec::new(), true);
        };
        let bytes = self.read_at(file, piece.place);
        // Only what is written last is torn, and only a journal has something old behind a tear.
        let is_whole = !piece.in_journal || !piece.is_last || self.has_trailer(file, piece);
        Loaded::new(piece, bytes, is_whole)
    }

    /// Whether what stands behind a run is there: who wrote that has written the run.
    fn has_trailer(&mut self, file: &LogFile<R>, piece: &Piece) -> bool {
        let Place { offset, bytes, .. } = piece.place;
        let padded = bytes.checked_next_multiple_of(ALIGN as u32);
        let Some(offset) = padded.and_then(|padded| offset.checked_add(padded)) else {
            return false;
        };
        let place = Place { offset, bytes: run_end_bytes_max() as u32, ..piece.place };
        let trailer = self.read_at(file, place);
        let at = At { nonce: file.header.nonce, offset: u64::from(offset) };
        entry::ended_run(&trailer, at).is_some_and(|run| {
            (run.first, run.last, run.count) == (piece.first, piece.last, piece.count)
        })
    }

    /// The bytes at a place, as far as the disk gives them.
    fn read_at(&mut self, file: &LogFile<R>, place: Place) -> Vec<u8> {
        let (bytes, refused) = records::read(&file.bytes, place);
        if self.report.read_error.is_none() {
            self.report.read_error = refused;
        }
        bytes
    }
}
