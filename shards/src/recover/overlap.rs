//! Which of several pieces a message is taken from, when more than one has it.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::blocks::Piece;
use super::records::Loaded;
use crate::journal::state::Range;

/// The sequence numbers of a piece's good records, as stretches without gaps.
pub(super) struct Content {
    stretches: Vec<Range>,
}

/// Messages that are taken from one piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Index of the piece.
    pub(super) piece: usize,
    pub(super) range: Range,
    /// How many good records it has there.
    pub(super) count: u64,
}

impl Content {
    pub(super) fn new(loaded: &Loaded) -> Content {
        Content::of(loaded.records.iter().map(|(_, record)| record.sequence))
    }

    /// Of sequence numbers that rise.
    fn of(sequences: impl Iterator<Item = u64>) -> Content {
        let mut stretches: Vec<Range> = Vec::new();
        for sequence in sequences {
            match stretches.last_mut() {
                Some(range) if range.last + 1 == sequence => range.last = sequence,
                _ => stretches.push(Range { first: sequence, last: sequence }),
            }
        }
        Content { stretches }
    }
}

/// Every message once, in order. A piece is left only where it has a hole that another fills, or
/// where it ends: so a block that has everything is taken whole.
pub(super) fn resolve(pieces: &[Piece], contents: &[Content]) -> Vec<Stretch> {
    let mut taken: Vec<Stretch> = Vec::new();
    let mut waiting = BinaryHeap::new();
    for (piece, content) in contents.iter().enumerate() {
        // Of those that start at the same message, the one that reaches furthest comes first.
        let reach = Reverse(pieces[piece].last);
        let stretches = content.stretches.iter();
        waiting.extend(stretches.map(|range| Reverse((range.first, reach, piece, range.last))));
    }
    let mut next = 0;
    while let Some(Reverse((first, reach, piece, last))) = waiting.pop() {
        if last < next {
            continue;
        }
        if first < next {
            waiting.push(Reverse((next, reach, piece, last)));
            continue;
        }
        take(&mut taken, piece, Range { first, last });
        next = last.saturating_add(1);
    }
    taken
}

fn take(taken: &mut Vec<Stretch>, piece: usize, range: Range) {
    let count = range.last - range.first + 1;
    match taken.last_mut() {
        Some(stretch) if stretch.piece == piece => {
            stretch.range.last = range.last;
            stretch.count += count;
        }
        _ => taken.push(Stretch { piece, range, count }),
    }
}
