//! One channel: a cursor over its topic's log, and what it has outstanding.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::journal::state::Range;
use crate::limits::REQUEUED_SHARE;
use crate::locality::{LocalityCounts, Ready};
use crate::log::{Position, SOMEWHERE};
use crate::outstanding::{Outstanding, Waiting};
use crate::policy::{Fates, Limit, Policy};
use crate::redrive::Redrive;
use crate::slots::Key;
use crate::wheel::TimerId;
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
    /// Stretches ahead of the cursor that were dropped or finished, by their first message.
    pub skips: BTreeMap<u64, Skip>,
    /// Messages that it has and has not finished.
    pub outstanding: Outstanding,
    /// Fires when something is to be done for what it keeps back, and when that is.
    pub alarm: TimerId,
    /// When `alarm` fires.
    pub alarm_ms: u64,
    /// Messages that consumers have put off, as far as the shard was told.
    pub put_off: u64,
    /// Bytes for what is requeued that count against the memory limit.
    pub charged_bytes: usize,
    /// Its consumers.
    pub clients: Vec<Key>,
    /// Those that can take more, in turn.
    pub ready: Ready,
    /// Whether it delivers nothing.
    pub paused: bool,
    /// Whether it is written down what becomes of its messages.
    pub journaled: bool,
    /// What operators ask of it.
    pub policy: Policy,
    /// How much it may hold, and for how long.
    pub limit: Limit,
    /// In the list of channels with messages for other topics.
    pub transferring: bool,
    /// Fires when messages for other topics are tried again.
    pub transfer_alarm: TimerId,
    /// Its dead letters are brought back, or were.
    pub redrive: Option<Box<Redrive>>,
    /// The cursor moved, and that is to be written down.
    pub moved: bool,
    /// Messages finished in this turn.
    pub finished: Vec<Range>,
    /// Messages put back in this turn.
    pub requeued: Vec<crate::journal::state::Outstanding>,
    /// In the list of channels with such messages.
    pub noted: bool,
    /// In the list of channels that may have something to deliver.
    pub marked: bool,
    /// Messages put on it.
    pub message_count: u64,
    /// Messages sent to consumers, for the share of requeued ones.
    pub delivered: u64,
    /// Messages taken by consumers, also those that a sample left out.
    pub taken: LocalityCounts,
    /// Messages given back.
    pub requeue_count: u64,
    /// Messages not answered in time.
    pub timeout_count: u64,
    /// Messages that consumers finished.
    pub finish_count: u64,
    /// How long consumers had them, all together.
    pub processing_ms: u64,
    /// What measures it, where that is done.
    pub meter: u32,
    /// Messages dropped because it was full, or they were too old.
    pub dropped: Fates,
    /// Messages that went to another topic as dead letters.
    pub dead_letters: Fates,
    /// Dead letters that were brought back to it.
    pub redriven_count: u64,
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
            skips: BTreeMap::new(),
            outstanding: Outstanding::default(),
            alarm: TimerId::NONE,
            alarm_ms: u64::MAX,
            put_off: 0,
            charged_bytes: 0,
            clients: Vec::new(),
            ready: Ready::default(),
            paused: false,
            journaled: false,
            policy: Policy::default(),
            limit: Limit::default(),
            transferring: false,
            transfer_alarm: TimerId::NONE,
            redrive: None,
            moved: false,
            finished: Vec::new(),
            requeued: Vec::new(),
            noted: false,
            marked: false,
            message_count: 0,
            delivered: 0,
            taken: LocalityCounts::default(),
            requeue_count: 0,
            timeout_count: 0,
            finish_count: 0,
            processing_ms: 0,
            meter: 0,
            dropped: Fates::default(),
            dead_letters: Fates::default(),
            redriven_count: 0,
        }
    }

    /// Messages that the channel was not given are gone, be it that the topic dropped them or that
    /// they are damaged: the cursor will not stop at them. Those that it skips already, or has
    /// outstanding, are not among them.
    pub fn skip(&mut self, dropped: Skip) {
        if self.cursor == dropped.from {
            self.cursor = dropped.to;
            self.at = dropped.at;
            return;
        }
        self.not_waiting += dropped.to - dropped.from;
        self.add_skip(dropped);
    }

    /// The same for messages from `from` to before `to` of which some may be skipped already.
    pub fn skip_rest(&mut self, from: u64, to: u64, place: impl Fn(u64) -> Position) {
        let mut from = from.max(self.cursor);
        let known: Vec<Skip> = self.skips.values().copied().collect();
        for skip in known {
            if skip.to <= from || skip.from >= to {
                continue;
            }
            if from < skip.from {
                self.skip(Skip { from, to: skip.from, at: place(skip.from) });
            }
            from = from.max(skip.to);
        }
        if from < to {
            self.skip(Skip { from, to, at: place(to) });
        }
    }

    /// A message that the channel has had is finished. Ahead of the cursor, where deferred ones
    /// are, that is remembered.
    pub fn finished_one(&mut self, sequence: u64, at: Position) {
        if sequence >= self.cursor {
            let at = Position { offset: SOMEWHERE, ..at };
            self.add_skip(Skip { from: sequence, to: sequence + 1, at });
        }
    }

    fn add_skip(&mut self, skip: Skip) {
        match self.skips.range_mut(..skip.from).next_back() {
            Some((_, last)) if last.to == skip.from => *last = Skip { from: last.from, ..skip },
            _ => {
                self.skips.insert(skip.from, skip);
            }
        }
    }

    /// The first message from this one on that is not within a stretch that it skips.
    #[must_use]
    pub fn behind_skips(&self, mut sequence: u64) -> u64 {
        while let Some((_, skip)) = self.skips.range(..=sequence).next_back()
            && skip.to > sequence
        {
            sequence = skip.to;
        }
        sequence
    }

    /// Takes the skip that starts at the cursor.
    pub fn take_skip(&mut self) -> Option<Skip> {
        let first = self.skips.first_entry()?;
        (*first.key() == self.cursor).then(|| first.remove())
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
