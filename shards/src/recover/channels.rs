//! Where a channel stands, from what was read about it and what there is of its topic's messages.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::ranges::Ranges;
use super::replay::ChannelLog;
use crate::journal::state::{ChannelState, Outstanding, Range};

/// More messages in a row than a channel gives out before the first is finished. Where so many
/// are neither finished nor noted, its snapshot is lost: they then wait ahead of the cursor,
/// which costs no memory, and what is finished behind them is skipped.
const GIVEN_OUT_MAX: u64 = 64 * 1024;

/// A topic's messages.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Those that are there.
    pub(super) exist: Ranges,
    /// When the deferred ones among them may be delivered, in milliseconds since the Unix epoch.
    pub(super) due_ms: BTreeMap<u64, u64>,
}

/// The channel's state. `limit` is the end of what the topic handed over, and not below what the
/// channel knows of; the number beside it counts messages that it had out and that are gone.
pub(super) fn settle(mut log: ChannelLog, messages: &Messages, limit: u64) -> (ChannelState, u64) {
    for (&sequence, _) in messages.due_ms.range(log.base..log.given.max(log.base)) {
        if !log.noted.contains_key(&sequence) {
            log.done.insert(Range { first: sequence, last: sequence });
        }
    }
    let noted = log.noted.len();
    let mut outstanding = log.noted;
    outstanding.retain(|&sequence, _| messages.exist.contains(sequence));
    let lost = (noted - outstanding.len()) as u64;

    let mut cursor = log.top.max(log.base);
    if let Some(unseen) = give_out(&log.done, log.base..log.top, messages, &mut outstanding) {
        cursor = unseen;
    }
    keep_back(&log.done, cursor..limit, messages, &mut outstanding);
    let cursor = pass_empty(cursor, &log.done, messages, limit);
    // Ahead of the cursor a message is deferred or waits there: it is never requeued.
    for (_, message) in outstanding.range_mut(cursor..) {
        message.due_ms = message.due_ms.max(1);
    }
    let skips = not_wanted(cursor..limit, log.done, &messages.exist);
    let outstanding: Vec<Outstanding> = outstanding.into_values().collect();
    (ChannelState { cursor, skips, outstanding }, lost)
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
    outstanding: &mut BTreeMap<u64, Outstanding>,
) -> Option<u64> {
    let last = delivered.end.checked_sub(1).filter(|&last| delivered.start <= last)?;
    for gap in done.gaps(Range { first: delivered.start, last }) {
        for found in messages.exist.within(gap) {
            if found.last - found.first >= GIVEN_OUT_MAX {
                return Some(found.first);
            }
            for sequence in found.first..=found.last {
                let due_ms = messages.due_ms.get(&sequence).copied().unwrap_or(0);
                let message = Outstanding { sequence, attempts: 0, due_ms };
                outstanding.entry(sequence).or_insert(message);
            }
        }
    }
    None
}

/// Deferred messages that the channel was given and never delivered.
fn keep_back(
    done: &Ranges,
    ahead: core::ops::Range<u64>,
    messages: &Messages,
    outstanding: &mut BTreeMap<u64, Outstanding>,
) {
    if ahead.is_empty() {
        return;
    }
    for (&sequence, &due_ms) in messages.due_ms.range(ahead) {
        if !done.contains(sequence) && messages.exist.contains(sequence) {
            let message = Outstanding { sequence, attempts: 0, due_ms };
            outstanding.entry(sequence).or_insert(message);
        }
    }
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
