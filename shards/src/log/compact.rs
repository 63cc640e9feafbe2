//! Merging old segments that hold little more than a few messages deferred for long, or forgotten
//! by a consumer: those messages are copied together, and the rest is given back.

use alloc::vec::Vec;

use super::{Cold, Log, Segment, record};
use crate::journal::entry;
use crate::store::Space;

/// Bytes of old segments below which they are left alone.
const WORTH_BYTES: u64 = 256 << 10;
/// Bytes that are looked through in one step.
const STEP_BYTES: u64 = 1 << 20;
/// A segment is merged when less than one in so many of its messages is outstanding.
const SPARSE: u32 = 4;

/// How far merging is.
#[derive(Debug, Default)]
pub struct Merging {
    /// The next segment to be looked at; `None` between two passes.
    next: Option<u64>,
    /// Bytes of old segments at which the next pass begins.
    at_bytes: u64,
}

/// What a step did.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// There is nothing to do.
    Idle,
    /// There may be more to do.
    More,
    /// It goes on when this segment is in memory.
    Wait(Cold),
    /// Merged into the segment that starts with this message, which is to be stored.
    Store(u64),
}

impl Log {
    /// Merges a few old segments, if that is worth while. `wanted` says whether a message is
    /// outstanding.
    pub fn merge_step(&mut self, space: &mut Space, wanted: impl Fn(u64) -> bool) -> Step {
        let Some(start) = self.merge_start() else { return Step::Idle };
        let (mut sources, mut bytes) = (Vec::new(), 0);
        let mut next = None;
        for (&first, segment) in self.old.range(start..) {
            let sparse = segment.pins < segment.count / SPARSE;
            let useful = sparse && !segment.storing && !segment.loading;
            if useful && !segment.is_resident() {
                if sources.is_empty() {
                    self.merging.next = Some(first);
                    return Step::Wait(Cold { first });
                }
                next = Some(first);
                break;
            }
            if !useful || bytes >= STEP_BYTES {
                next = Some(if useful { first } else { first + 1 });
                if useful || !sources.is_empty() {
                    break;
                }
                continue;
            }
            bytes += u64::from(segment.used());
            sources.push(first);
            next = None;
        }
        self.merging.next = next;
        if next.is_none() {
            self.merging.at_bytes = WORTH_BYTES.max(2 * self.old_bytes.saturating_sub(bytes));
        }
        match sources.is_empty() {
            true => Step::More,
            false => self.merge(&sources, space, wanted),
        }
    }

    /// Whether merging may be worth while.
    #[must_use]
    pub fn wants_merge(&self) -> bool {
        self.merge_start().is_some()
    }

    fn merge_start(&self) -> Option<u64> {
        let due = self.old_bytes >= self.merging.at_bytes.max(WORTH_BYTES);
        self.merging.next.or_else(|| due.then_some(0))
    }

    /// Copies what is wanted of these segments into one that takes their place.
    fn merge(&mut self, sources: &[u64], space: &mut Space, wanted: impl Fn(u64) -> bool) -> Step {
        let mut kept = Vec::new();
        let mut bytes = 0;
        for first in sources {
            let run = self.old[first].bytes().expect("only segments in memory are merged");
            for (offset, found) in record::walk_trusted(run) {
                if wanted(found.sequence) {
                    kept.push((*first, offset, found));
                    bytes += found.bytes;
                }
            }
        }
        let Some(&(_, _, first)) = kept.first() else { return Step::More };
        let Some(block) = space.pool.take(0, bytes + entry::run_overhead_max()) else {
            return Step::More;
        };
        let mut merged = Segment::new(block, self.base, first.sequence);
        for (source, offset, found) in kept {
            let run = self.old[&source].bytes().expect("only segments in memory are merged");
            merged.adopt(&found, &run[offset as usize..][..found.bytes]);
        }
        merged.sealed = true;
        for first in sources {
            let source = self.old.remove(first).expect("it was just read");
            self.old_bytes -= u64::from(source.used());
            merged.pins += source.pins;
            merged.journal = merged.journal.min(source.journal);
            let (block, places) = source.take_apart();
            merged.replaces.extend(places);
            if let Some(block) = block {
                space.pool.give_back(block);
            }
        }
        let (first, stored) = (merged.first, !merged.replaces.is_empty());
        self.old_bytes += u64::from(merged.used());
        self.old.insert(first, merged);
        if stored { Step::Store(first) } else { Step::More }
    }
}
