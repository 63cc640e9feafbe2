//! Reads the records of a piece, and tells its own from what damage or an earlier use left there.
//!
//! A journal file is used again, so behind a torn append lie records of that earlier use, their
//! checksums right, perhaps of other topics. The sequence numbers tell: a piece has its first
//! message at its start, its last at its end, and no other number in between twice.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range as Bytes;

use super::blocks::Piece;
use crate::disk::{DiskError, Place};
use crate::journal::scan::ReadAt;
use crate::journal::state::Range;
use crate::log::record::{self, Checked};

/// Where the disk refuses to read a run, it is asked for so much at a time.
const PIECE_BYTES: usize = 4 << 10;

/// Records that were read: the bytes that they are in, and each good one.
pub(super) struct Loaded {
    pub(super) bytes: Vec<u8>,
    pub(super) records: Vec<(u32, Checked)>,
    /// Stretches that are no record of the piece.
    pub(super) damaged: u64,
}

type Found = Result<(u32, Checked), Bytes<u32>>;

impl Loaded {
    /// `is_whole`: all of the piece was written once, whatever became of it since.
    pub(super) fn new(piece: &Piece, bytes: Vec<u8>, is_whole: bool) -> Loaded {
        let found: Vec<Found> = record::walk(&bytes, piece.salt).collect();
        let records = genuine(piece, &found, is_whole);
        let damaged = (found.len() - records.len()) as u64;
        Loaded { bytes, records, damaged }
    }

    /// How many good records there are.
    pub(super) fn count(&self) -> u64 {
        self.records.len() as u64
    }

    /// The good records of a stretch.
    pub(super) fn within(&self, range: Range) -> &[(u32, Checked)] {
        let from = self.records.partition_point(|(_, record)| record.sequence < range.first);
        let to = self.records.partition_point(|(_, record)| record.sequence <= range.last);
        &self.records[from..to]
    }
}

/// The records among what was found that are the piece's own.
fn genuine(piece: &Piece, found: &[Found], is_whole: bool) -> Vec<(u32, Checked)> {
    let (front, back) = (front(piece, found), back(piece, found));
    if front == found.len() {
        return found.iter().flatten().cloned().collect();
    }
    let mut records: Vec<(u32, Checked)> = found[..front].iter().flatten().cloned().collect();
    if !is_whole && back == 0 {
        // Nothing says that the append came to its end.
        return records;
    }
    let sequence = |found: &Found| found.as_ref().ok().map(|(_, record)| record.sequence);
    let behind = found.len() - back.min(found.len() - front);
    let mut next = found[..front].last().and_then(sequence).map_or(piece.first, |last| last + 1);
    let end = found[behind..].first().and_then(sequence).unwrap_or(piece.last.saturating_add(1));
    for (at, record) in found[front..behind].iter().flatten() {
        if (next..end).contains(&record.sequence) {
            next = record.sequence + 1;
            records.push((*at, *record));
        }
    }
    records.extend(found[behind..].iter().flatten().cloned());
    records
}

/// How many come from the start without a doubt.
fn front(piece: &Piece, found: &[Found]) -> usize {
    let mut next = piece.first;
    let own = found.iter().take_while(|found| match found {
        Ok((_, Checked { sequence, .. })) => {
            let follows = *sequence == next || !piece.is_complete() && *sequence > next;
            next = sequence.saturating_add(1);
            follows && *sequence <= piece.last
        }
        Err(_) => false,
    });
    own.count()
}

/// How many lead to the end without a doubt.
fn back(piece: &Piece, found: &[Found]) -> usize {
    let mut next = Some(piece.last);
    let mut count = 0;
    for found in found.iter().rev() {
        match (found, next) {
            (Ok((_, record)), Some(expected)) if record.sequence == expected => {
                next = expected.checked_sub(1);
                count += 1;
            }
            _ => break,
        }
    }
    count
}

/// The bytes at a place; zeros where the disk does not give them, and why.
pub(super) fn read<R: ReadAt>(file: &R, place: Place) -> (Vec<u8>, Option<DiskError>) {
    let left = file.length().saturating_sub(u64::from(place.offset));
    let mut bytes = vec![0; left.min(u64::from(place.bytes)) as usize];
    if file.read_at(u64::from(place.offset), &mut bytes) == Ok(bytes.len()) {
        return (bytes, None);
    }
    let mut refused = None;
    let mut at = u64::from(place.offset);
    for piece in bytes.chunks_mut(PIECE_BYTES) {
        let mut done = 0;
        while done < piece.len() {
            match file.read_at(at + done as u64, &mut piece[done..]) {
                Ok(0) => break,
                Ok(got) => done += got,
                Err(error) => {
                    refused.get_or_insert(error);
                    break;
                }
            }
        }
        piece[done..].fill(0);
        at += piece.len() as u64;
    }
    (bytes, refused)
}
