//! One channel: a cursor over its topic's log, and what it has outstanding.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::limits::REQUEUED_SHARE;
use crate::log::Position;
use crate::outstanding::{Outstanding, Waiting};
use crate::slots::Key;
use crate::wire::names::Name;

/// A channel. For it each message handed over by the topic is in exactly one place: ahead of the
/// cursor, in flight, deferred, requeued, finished, or dropped.
#[derive(Debug)]
pub struct Channel {
    /// Its name.
    pub name: Name,
    /// The topic.
    pub topic: Key,
    /// The next message that was never delivered.
    pub cursor: u64,
    /// Its place in the log.
    pub at: Position,
    /// Sequence numbers ahead of the cursor that it will not deliver in passing: deferred ones,
    /// and those of `skips`.
    pub not_waiting: u64,
    /// Stretches ahead of the cursor that were dropped.
    pub skips: VecDeque<Skip>,
    /// Messages that it has and has not finished.
    pub outstanding: Outstanding,
    /// Its consumers.
    pub clients: Vec<Key>,
    /// Those that can take more, in turn.
    pub ready: VecDeque<Key>,
    /// Whether it delivers nothing.
    pub paused: bool,
    /// In the list of channels that may have something to deliver.
    pub marked: bool,
    /// Messages put on it.
    pub message_count: u64,
    /// Messages sent to consumers, for the share of requeued ones.
    pub delivered: u64,
    /// First deliveries: messages taken from memory.
    pub global_msg_count: u64,
    /// Messages given back.
    pub requeue_count: u64,
    /// Messages not answered in time.
    pub timeout_count: u64,
    /// Messages dropped because it is ephemeral and was full.
    pub dropped_count: u64,
}

/// Messages ahead of the cursor that were dropped with their topic's backlog.
#[derive(Clone, Copy, Debug)]
pub struct Skip {
    /// The first of them.
    pub from: u64,
    /// The first one behind them.
    pub to: u64,
    /// The place of that.
    pub at: Position,
}

/// What a channel delivers next.
#[derive(Clone, Copy, Debug)]
pub enum Next {
    /// A message that was delivered, or deferred, before.
    Again(Waiting),
    /// The message at the cursor.
    New,
}

impl Channel {
    /// A channel whose first message is the one at `cursor`.
    #[must_use]
    pub fn new(name: Name, topic: Key, cursor: u64, at: Position) -> Channel {
        Channel {
            name,
            topic,
            cursor,
            at,
            not_waiting: 0,
            skips: VecDeque::new(),
            outstanding: Outstanding::default(),
            clients: Vec::new(),
            ready: VecDeque::new(),
            paused: false,
            marked: false,
            message_count: 0,
            delivered: 0,
            global_msg_count: 0,
            requeue_count: 0,
            timeout_count: 0,
            dropped_count: 0,
        }
    }

    /// The topic dropped messages that the channel was not given: the cursor will not stop at them.
    pub fn skip(&mut self, dropped: Skip) {
        if self.cursor == dropped.from {
            self.cursor = dropped.to;
            self.at = dropped.at;
            return;
        }
        self.not_waiting += dropped.to - dropped.from;
        match self.skips.back_mut() {
            Some(last) if last.to == dropped.from => *last = Skip { from: last.from, ..dropped },
            _ => self.skips.push_back(dropped),
        }
    }

    /// Moves the cursor to the end when nothing on the way waits: what is deferred is outstanding
    /// already. Otherwise a topic of deferred messages only would keep them for ever.
    pub fn pass_idle(&mut self, handed: u64, handed_at: Position) {
        if handed - self.cursor == self.not_waiting {
            self.cursor = handed;
            self.at = handed_at;
            self.not_waiting = 0;
            self.skips.clear();
        }
    }

    /// Messages that wait for a consumer; `handed` is the end of what the topic handed over.
    #[must_use]
    pub fn depth(&self, handed: u64) -> u64 {
        let ahead = (handed - self.cursor).checked_sub(self.not_waiting);
        ahead.expect("what is not waiting is ahead of the cursor") + self.outstanding.requeued()
    }

    /// What to deliver next. A requeued message goes behind what waited when it came back, as in
    /// a queue, but is not kept from its turn by a backlog that never ends.
    #[must_use]
    pub fn next(&mut self, handed: u64) -> Option<Next> {
        let waiting = handed - self.cursor > self.not_waiting;
        let again = self.outstanding.peek_requeued().is_some_and(|message| {
            !waiting
                || self.cursor >= message.behind
                || self.delivered.is_multiple_of(REQUEUED_SHARE)
        });
        if again {
            return self.outstanding.next_requeued().map(Next::Again);
        }
        waiting.then_some(Next::New)
    }
}
