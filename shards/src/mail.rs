//! Messages between shards. Batched: at most one of each kind per pair and turn.

use alloc::string::String;
use alloc::vec::Vec;

use crate::request::{Reply, Request};
use crate::slots::Key;
use crate::wire::names::Name;

/// Most room that is made beforehand for the bytes of the next batch.
const BATCH_BYTES_READY: usize = 256 << 10;

/// The same for its publishes.
const BATCH_FORWARDS_READY: usize = 1024;

/// What one worker sends another.
#[derive(Debug)]
pub enum Letter {
    /// Publishes for topics of the receiver.
    Publishes(Batch),
    /// What became of publishes.
    Answers(Vec<Answer>),
    /// Asked on behalf of HTTP; the ticket comes back with the reply.
    Ask(u64, Request),
    /// The reply to a ticket.
    Reply(u64, Reply),
}

impl Letter {
    /// Whether it answers something. Answers have a lane of their own, so that shards that are
    /// full of each other's publishes can still acknowledge them.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        matches!(self, Letter::Answers(_) | Letter::Reply(..))
    }
}

/// Publishes of one turn for one shard.
#[derive(Debug, Default)]
pub struct Batch {
    /// Length and body of each message, one forward after the other.
    pub bytes: Vec<u8>,
    /// The publishes, in the order in which they came.
    pub forwards: Vec<Forward>,
}

impl Batch {
    /// Takes what is there, and makes room for about as much again: who forwards goes on to.
    pub(crate) fn take(&mut self) -> Batch {
        let next = Batch {
            bytes: Vec::with_capacity(self.bytes.len().min(BATCH_BYTES_READY)),
            forwards: Vec::with_capacity(self.forwards.len().min(BATCH_FORWARDS_READY)),
        };
        core::mem::replace(self, next)
    }
}

/// One publish on its way to the topic's owner.
#[derive(Clone, Copy, Debug)]
pub struct Forward {
    /// Who waits for the answer.
    pub origin: Origin,
    /// Where to.
    pub topic: Name,
    /// How long each channel keeps the messages back.
    pub delay_ms: u64,
    /// Messages.
    pub count: u32,
    /// Their part of the batch's bytes.
    pub length: u32,
}

/// Who published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A TCP connection, and the number of the publish among those that it waits for.
    Client(Key, u32),
    /// An HTTP request.
    Ticket(u64),
    /// A channel that sends one of its messages to another topic, and the message.
    Transfer(Key, u64),
}

/// What became of one publish, or of several in a row of one connection.
#[derive(Debug)]
pub struct Answer {
    /// The first of them.
    pub origin: Origin,
    /// How many.
    pub count: u32,
    /// Bytes that they took in their batch.
    pub bytes: usize,
    /// The reason when it was refused.
    pub refused: Option<String>,
}

impl Answer {
    /// Adds the answer to the next publish, when it continues this one.
    pub fn extend(&mut self, origin: Origin, bytes: usize) -> bool {
        let (Origin::Client(mine, first), Origin::Client(other, ticket)) = (self.origin, origin)
        else {
            return false;
        };
        if self.refused.is_some() || mine != other || first.wrapping_add(self.count) != ticket {
            return false;
        }
        self.count += 1;
        self.bytes += bytes;
        true
    }
}
