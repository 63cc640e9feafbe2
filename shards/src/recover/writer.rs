//! Gathers records of one topic into blocks, and lists the topic's segments in order.

use alloc::vec::Vec;

use super::blocks::Piece;
use super::records::Loaded;
use super::{BlockSink, Report, StoredSegment};
use crate::disk::Place;
use crate::journal::entry::Run;
use crate::journal::state::Range;
use crate::wire::names::Name;

/// A block is written when it would get longer; only a single record makes it so.
const BLOCK_BYTES_MAX: usize = 1 << 20;

/// The segments of one topic so far, and the block that comes next.
pub(super) struct Writer {
    topic: Name,
    pub(super) segments: Vec<StoredSegment>,
    records: Vec<u8>,
    /// Where the records of the block are now. When it cannot be written they stay there.
    sources: Vec<StoredSegment>,
}

impl Writer {
    pub(super) fn new(topic: Name) -> Writer {
        let (segments, records, sources) = (Vec::new(), Vec::new(), Vec::new());
        Writer { topic, segments, records, sources }
    }

    /// A segment stays where it is.
    pub(super) fn keep<S: BlockSink>(
        &mut self,
        segment: StoredSegment,
        sink: &mut S,
        report: &mut Report,
    ) {
        self.flush(sink, report);
        self.segments.push(segment);
    }

    /// Adds the records of a stretch of a piece. They come into one block if they fit, so that
    /// the same runs are cut in the same way by a recovery that starts again.
    pub(super) fn add<S: BlockSink>(
        &mut self,
        loaded: &Loaded,
        piece: &Piece,
        range: Range,
        (sink, report): (&mut S, &mut Report),
    ) {
        let records = loaded.within(range);
        let bytes: usize = records.iter().map(|(_, record)| record.bytes).sum();
        if self.records.len() + bytes > BLOCK_BYTES_MAX {
            self.flush(sink, report);
        }
        // Where in the piece the last source ends: what follows there is of the same source.
        let mut source_end = None;
        for &(at, record) in records {
            if self.records.len() + record.bytes > BLOCK_BYTES_MAX && !self.records.is_empty() {
                self.flush(sink, report);
                source_end = None;
            }
            let end = at as usize + record.bytes;
            self.records.extend_from_slice(&loaded.bytes[at as usize..end]);
            if source_end != Some(at as usize) {
                let (first, last) = (record.sequence, record.sequence);
                let place = Place { offset: piece.place.offset + at, bytes: 0, ..piece.place };
                self.sources.push(StoredSegment { first, last, count: 0, place, deferred: false });
            }
            source_end = Some(end);
            if let Some(source) = self.sources.last_mut() {
                source.last = record.sequence;
                source.count += 1;
                source.place.bytes += record.bytes as u32;
                source.deferred |= record.delay_ms > 0;
            }
        }
    }

    /// Writes the block, or lets its records be where they are.
    pub(super) fn flush<S: BlockSink>(&mut self, sink: &mut S, report: &mut Report) {
        let (Some(first), Some(last)) = (self.sources.first(), self.sources.last()) else { return };
        let run = Run {
            topic: self.topic,
            count: self.sources.iter().map(|source| source.count).sum(),
            first: first.first,
            last: last.last,
            bytes: u32::try_from(self.records.len()).unwrap_or(u32::MAX),
            deferred: self.sources.iter().any(|source| source.deferred),
        };
        // A disk that is full is not asked for every block of a long backlog.
        let written = if report.refused.is_none() {
            sink.write(&run, &self.records).map_err(|error| report.refused = Some(error)).ok()
        } else {
            None
        };
        if let Some(place) = written {
            let Run { first, last, count, deferred, .. } = run;
            report.blocks_written += 1;
            self.segments.push(StoredSegment { first, last, count, place, deferred });
        } else {
            self.segments.append(&mut self.sources);
        }
        self.sources.clear();
        self.records.clear();
    }
}
