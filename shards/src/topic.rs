//! One topic: its log, and how much of it the channels have been given.

use alloc::string::String;
use alloc::vec::Vec;

use crate::deferral::{Deferrals, Entry, FRESH_MAX};
use crate::id;
use crate::journal::state::Range;
use crate::limits::Durability;
use crate::log::{Full, Log, Message, Position, UNCOVERED};
use crate::policy::{Fates, Keep, Limit, Policy};
use crate::slots::Key;
use crate::store::Space;
use crate::wheel::TimerId;
use crate::wire::frame;
use crate::wire::names::Name;

/// A topic.
#[derive(Debug)]
pub struct Topic {
    /// Its name.
    pub name: Name,
    /// Its messages.
    pub log: Log,
    /// Sequence number of the next message.
    pub head: u64,
    /// Messages before this one belong to the channels, later ones to the topic.
    pub handed: u64,
    /// The place of that message.
    pub handed_at: Position,
    /// Deferred messages that no channel has been given yet; due are they after their delays.
    pub deferred: Deferrals,
    /// What operators ask of it.
    pub policy: Policy,
    /// How much each of its channels, and what they were not given, may hold.
    pub limit: Limit,
    /// Whether it or a channel of it has a bound.
    pub bounded: bool,
    /// A bound is reached, and publishes are refused: why.
    pub full: Option<String>,
    /// Fires when its oldest message is too old, and when that is.
    pub age_alarm: TimerId,
    /// When `age_alarm` fires.
    pub age_due_ms: u64,
    /// What it keeps of what is finished.
    pub retained: Retained,
    /// What an answer to a publish promises.
    pub durability: Durability,
    /// Whether it is written down what becomes of its messages.
    pub journaled: bool,
    /// In the list of topics with messages to be written down.
    pub noted: bool,
    /// Messages before this one are written down, or will not be.
    pub journaled_to: u64,
    /// The place of that message.
    pub journaled_at: Position,
    /// Sequence numbers of messages that a damaged disk has lost.
    pub holes: Vec<Range>,
    /// The oldest journal file that it depends on.
    pub journal_from: u32,
    /// Its channels.
    pub channels: Vec<Key>,
    /// Whether it keeps its messages from the channels.
    pub paused: bool,
    /// It keeps them as well until it is known which channels it is to have, or until this timer
    /// ends the waiting.
    pub waiting: Option<TimerId>,
    /// The lowest segment with a cursor in it: older ones live by their pins only.
    pub low: u32,
    /// In the list of topics that something happened to in this turn.
    pub touched: bool,
    /// Messages accepted.
    pub message_count: u64,
    /// Bytes of their bodies.
    pub message_bytes: u64,
    /// Messages dropped because it was full, or they were too old.
    pub dropped: Fates,
    /// Publishes refused because a bound was reached.
    pub rejected_count: u64,
}

/// What a topic keeps of what all of its channels have finished: the segments below the lowest
/// cursor.
#[derive(Clone, Copy, Debug)]
pub struct Retained {
    /// How much.
    pub keep: Keep,
    /// Fires when the oldest of it is too old, and when that is.
    pub alarm: TimerId,
    /// When `alarm` fires.
    pub due_ms: u64,
    /// The head when it was last looked at, and not before when all below was published.
    pub head: u64,
    /// See `head`.
    pub last_ns: i64,
    /// Everything was finished then: the last segment is kept like the others.
    pub all: bool,
    /// Messages that were let go early, because memory or disk was short.
    pub pressed_count: u64,
}

/// What every message of a publish has in common.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// When it was published, nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    /// Part of the ids.
    pub node_id: u64,
    /// How long each channel keeps it back.
    pub delay_ms: u64,
    /// What is noted of it; seldom anything.
    pub note: &'a [u8],
}

impl Topic {
    /// A topic without messages and channels. Its ids start with the clock, but not below `floor`.
    #[must_use]
    pub fn new(name: Name, wall_ns: i64, floor: u64, durability: Durability) -> Topic {
        let head = id::first_sequence(wall_ns).max(floor);
        Topic {
            name,
            log: Log::new(&name),
            head,
            handed: head,
            handed_at: Position::default(),
            deferred: Deferrals::default(),
            policy: Policy::default(),
            limit: Limit::default(),
            bounded: false,
            full: None,
            age_alarm: TimerId::NONE,
            age_due_ms: 0,
            retained: Retained {
                keep: Keep::default(),
                alarm: TimerId::NONE,
                due_ms: 0,
                head,
                last_ns: wall_ns,
                all: false,
                pressed_count: 0,
            },
            durability,
            journaled: durability != Durability::Memory,
            noted: false,
            journaled_to: head,
            journaled_at: Position::default(),
            holes: Vec::new(),
            journal_from: UNCOVERED,
            channels: Vec::new(),
            paused: false,
            waiting: None,
            low: 0,
            touched: false,
            message_count: 0,
            message_bytes: 0,
            dropped: Fates::default(),
            rejected_count: 0,
        }
    }

    /// Whether it outlasts the process.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        !self.name.is_ephemeral()
    }

    /// Whether there is nothing in it that anybody would miss.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.log.is_empty()
    }

    /// Messages are lost; of some that may be known.
    pub fn add_holes(&mut self, holes: impl Iterator<Item = Range>) {
        self.holes.extend(holes);
        self.holes.sort_unstable();
        self.holes.dedup_by(|next, hole| {
            let touches = next.first <= hole.last + 1;
            if touches {
                hole.last = hole.last.max(next.last);
            }
            touches
        });
    }

    /// Messages that no channel has been given.
    #[must_use]
    pub fn depth(&self) -> u64 {
        let from = self.handed;
        let missing = self.holes.iter().filter(|hole| hole.last >= from);
        let missing: u64 = missing.map(|hole| hole.last + 1 - hole.first.max(from)).sum();
        self.head - from - missing
    }

    /// All that it has is written down, or will not be.
    pub fn mark_journaled(&mut self) {
        self.noted = false;
        self.journaled_to = self.head;
        self.journaled_at = self.log.end();
    }

    /// What it has got since is not in the journal: the next checkpoint stores it.
    pub fn store_unwritten(&mut self) {
        let from = self.journaled_to;
        for segment in self.log.segments_mut().filter(|segment| segment.last >= from) {
            segment.journal = 0;
            self.journal_from = 0;
        }
    }

    /// Whether messages go to the channels as they come.
    #[must_use]
    pub fn is_flowing(&self) -> bool {
        !self.paused && self.waiting.is_none() && !self.channels.is_empty()
    }

    /// Appends a message.
    ///
    /// # Errors
    /// [`Full`] when there is no memory for it; nothing was changed then.
    pub fn publish(
        &mut self,
        body: &[u8],
        stamp: Stamp<'_>,
        space: &mut Space,
    ) -> Result<(), Full> {
        let length = u32::try_from(body.len()).expect("bodies are at most 2 GiB");
        let id = id::encode(self.head, stamp.node_id);
        let header = &frame::message_header(length, stamp.timestamp_ns, &id);
        let message = Message { header, body, delay_ms: stamp.delay_ms, note: stamp.note };
        self.log.append(space, self.head, message)?;
        if stamp.delay_ms > 0 {
            let entry = Entry { due_ms: stamp.delay_ms, sequence: self.head, attempts: 0 };
            self.deferred.insert(entry, FRESH_MAX, &mut space.pool);
        }
        self.head += 1;
        self.message_count += 1;
        self.message_bytes += u64::from(length);
        Ok(())
    }
}
