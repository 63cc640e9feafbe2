//! One topic: its log, and how much of it the channels have been given.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::id;
use crate::log::{Full, Log, Message, Pool, Position};
use crate::slots::Key;
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
    /// Deferred messages that no channel has been given yet.
    pub deferred: VecDeque<(u64, Position)>,
    /// Its channels.
    pub channels: Vec<Key>,
    /// Whether it keeps its messages from the channels.
    pub paused: bool,
    /// The lowest segment with a cursor in it: older ones live by their pins only.
    pub low: u32,
    /// In the list of topics that something happened to in this turn.
    pub touched: bool,
    /// Messages accepted.
    pub message_count: u64,
    /// Bytes of their bodies.
    pub message_bytes: u64,
    /// Messages dropped because it is ephemeral and was full.
    pub dropped_count: u64,
}

/// What every message of a turn has in common.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// When it was published, nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    /// Part of the ids.
    pub node_id: u64,
    /// How long each channel keeps it back.
    pub delay_ms: u64,
}

impl Topic {
    /// A topic without messages and channels. Its ids start with the clock, but not below `floor`.
    #[must_use]
    pub fn new(name: Name, wall_ns: i64, floor: u64) -> Topic {
        let head = id::first_sequence(wall_ns).max(floor);
        Topic {
            name,
            log: Log::default(),
            head,
            handed: head,
            handed_at: Position::default(),
            deferred: VecDeque::new(),
            channels: Vec::new(),
            paused: false,
            low: 0,
            touched: false,
            message_count: 0,
            message_bytes: 0,
            dropped_count: 0,
        }
    }

    /// Whether messages go to the channels as they come.
    #[must_use]
    pub fn is_flowing(&self) -> bool {
        !self.paused && !self.channels.is_empty()
    }

    /// Appends a message.
    ///
    /// # Errors
    /// [`Full`] when there is no memory for it; nothing was changed then.
    pub fn publish(&mut self, body: &[u8], stamp: Stamp, pool: &mut Pool) -> Result<(), Full> {
        let length = u32::try_from(body.len()).expect("bodies are at most 2 GiB");
        let id = id::encode(self.head, stamp.node_id);
        let header = &frame::message_header(length, stamp.timestamp_ns, &id);
        let at = self.log.append(pool, Message { header, body, delay_ms: stamp.delay_ms })?;
        if stamp.delay_ms > 0 {
            self.deferred.push_back((self.head, at));
        }
        self.head += 1;
        self.message_count += 1;
        self.message_bytes += u64::from(length);
        Ok(())
    }
}
