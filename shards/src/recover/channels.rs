//! Where a channel stands, from what was read about it and what there is of its topic's messages.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::dues::Dues;
use super::ranges::Ranges;
use super::replay::ChannelLog;
use crate::journal::state::{ChannelState, Outstanding, Range};
use crate::sequences::SequenceSet;

/// More messages in a row than a channel gives out before the first is finished. Where so many
/// are neither finished nor noted, its snapshot is lost: they then wait ahead of the cursor,
/// which costs no memory, and what is finished behind them is skipped.
const GIVEN_OUT_MAX: u64 = 64 * 1024;

/// A topic's messages.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Those that are there.
    pub(super) exist: Ranges,
    /// When the deferred ones among them may be delivered.
    pub(super) dues: Dues,
}

/// The channel's state. `limit` is the end of what the topic handed over, and not below what the
/// channel knows of; the number beside it counts messages that it had out and that are gone.
pub(super) fn settle(mut log: ChannelLog, messages: &Messages, limit: u64) -> (ChannelState, u64) {
    for (sequence, _) in messages.dues.range(log.base..log.given) {
        if !log.noted.contains_key(&sequence) && !log.kept.contains(sequence) {
            log.done.insert(Range { first: sequence, last: sequence });
        }
    }
    let noted = log.noted.len();
    let mut out = Out { listed: log.noted, kept: log.kept, delivered: log.delivered };
    out.listed.retain(|&sequence, _| messages.exist.contains(sequence));
    let lost = (noted - out.listed.len()) as u64 + out.drop_missing(messages);

    let mut cursor = log.top.max(log.base);
    if let Some(unseen) = give_out(&log.done, log.base..log.top, messages, &mut out) {
        cursor = unseen;
    }
    for (sequence, _) in messages.dues.range(cursor..limit) {
        // The channel was given it and never delivered it.
        if !log.done.contains(sequence) {
            out.add(sequence, messages);
        }
    }
    let cursor = pass_empty(cursor, &log.done, messages, limit);
    // Ahead of the cursor a message is deferred or waits there: it is never requeued.
    for (_, message) in out.listed.range_mut(cursor..) {
        message.due_ms = message.due_ms.max(1);
    }
    let skips = not_wanted(cursor..limit, log.done, &messages.exist);
    let outstanding: Vec<Outstanding> = out.listed.into_values().collect();
    (ChannelState { cursor, skips, outstanding, kept: out.kept }, lost)
}

/// What a channel has out.
struct Out {
    listed: BTreeMap<u64, Outstanding>,
    /// Kept back for as long as their records say.
    kept: SequenceSet,
    /// Of those below it is known that they were delivered.
    delivered: u64,
}

impl Out {
    /// A message is out of which nothing else is known.
    fn add(&mut self, sequence: u64, messages: &Messages) {
        if self.listed.contains_key(&sequence) {
            return;
        }
        if messages.dues.members().contains(sequence) {
            self.kept.insert(sequence);
        } else {
            let attempts = u16::from(sequence < self.delivered);
            let message = Outstanding { sequence, attempts, due_ms: 0 };
            self.listed.insert(sequence, message);
        }
    }

    /// What is kept back is there, and has a due time. How many are not there.
    fn drop_missing(&mut self, messages: &Messages) -> u64 {
        let mut missing = Vec::new();
        self.kept.each_range(|range| missing.extend(messages.exist.gaps(range)));
        let lost = missing.into_iter().map(|gap| self.kept.remove_range(gap)).sum();
        let dues = messages.dues.members();
        let timeless: Vec<u64> = self.kept.from(0).filter(|&at| !dues.contains(at)).collect();
        for sequence in timeless {
            self.kept.remove(sequence);
            self.add(sequence, messages);
        }
        lost
    }
}

/// What the cursor will pass over: what is finished or was dropped, and what does not exist. The
/// former is not forgotten where its segment is left out, since the next recovery may see it
/// again in a file that others need.
fn not_wanted(ahead: core::ops::Range<u64>, done: Ranges, exist: &Ranges) -> Vec<Range> {
    let Some(last) = ahead.end.checked_sub(1).filter(|&last| ahead.start <= last) else {
        return Vec::new();
    };
    let ahead = Range { first: ahead.start, last };
    let mut passed = done;
    exist.gaps(ahead).for_each(|hole| passed.insert(hole));
    passed.within(ahead).collect()
}

/// What was delivered and not finished is outstanding. Answers where it gives up.
fn give_out(
    done: &Ranges,
    delivered: core::ops::Range<u64>,
    messages: &Messages,
    out: &mut Out,
) -> Option<u64> {
    let last = delivered.end.checked_sub(1).filter(|&last| delivered.start <= last)?;
    for gap in done.gaps(Range { first: delivered.start, last }) {
        for found in messages.exist.within(gap) {
            if found.last - found.first >= GIVEN_OUT_MAX {
                return Some(found.first);
            }
            (found.first..=found.last).for_each(|sequence| out.add(sequence, messages));
        }
    }
    None
}

/// The cursor behind what is finished, skipped or does not exist.
fn pass_empty(mut cursor: u64, done: &Ranges, messages: &Messages, limit: u64) -> u64 {
    while cursor < limit {
        let next = messages.exist.next(cursor).map_or(limit, |next| next.min(limit));
        cursor = match done.around(next) {
            Some(passed) if next < limit => passed.last.saturating_add(1).min(limit),
            _ => return next,
        };
    }
    cursor
}
