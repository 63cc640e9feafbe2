//! What the rim asks of a shard on behalf of HTTP, and what the shard answers.
//!
//! A request for a topic goes to the shard that owns it; the mailboxes carry it there and back.

use alloc::string::String;
use alloc::vec::Vec;

use crate::wire::names::Name;

/// Something that HTTP wants of one shard.
#[derive(Debug)]
pub enum Request {
    /// Queue messages on a topic, which is created when it does not exist.
    Publish(Publish),
    /// Create a topic; it may exist.
    CreateTopic(Name),
    /// An operation on a topic that must exist. The name is as HTTP gave it, not validated.
    Topic(String, TopicAction),
    /// Create a channel of a topic that must exist.
    CreateChannel(Name, Name),
    /// An operation on a channel of a topic; both must exist.
    Channel(Name, Name, ChannelAction),
}

impl Request {
    /// Whether it pauses or unpauses something: the answer to that means that it is written down.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        match self {
            Request::Topic(_, action) => {
                matches!(action, TopicAction::Pause | TopicAction::Unpause)
            }
            Request::Channel(_, _, action) => {
                matches!(action, ChannelAction::Pause | ChannelAction::Unpause)
            }
            _ => false,
        }
    }
}

/// Messages for one topic: everything is queued or, on `Err`, at most a leading part.
#[derive(Debug)]
pub struct Publish {
    /// Where to.
    pub topic: Name,
    /// The bodies one after the other.
    pub bytes: Vec<u8>,
    /// The length of each body in `bytes`. Their sum is the length of `bytes`.
    pub lengths: Vec<u32>,
    /// How long each channel keeps them back, in milliseconds; 0 for not at all.
    pub defer_ms: u64,
}

/// What can be done to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicAction {
    /// Remove it with its channels; their consumers are disconnected.
    Delete,
    /// Drop what no channel has been given yet.
    Empty,
    /// Keep messages back from the channels.
    Pause,
    /// Undo `Pause`.
    Unpause,
}

/// What can be done to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelAction {
    /// Remove it; its consumers are disconnected.
    Delete,
    /// Drop everything that it has, in flight and deferred included.
    Empty,
    /// Deliver nothing.
    Pause,
    /// Undo `Pause`.
    Unpause,
}

/// A shard's answer.
#[derive(Debug)]
pub enum Reply {
    /// It was done.
    Done,
    /// There is no such topic.
    TopicNotFound,
    /// The topic exists and has no such channel.
    ChannelNotFound,
    /// Messages were refused. The text is the reason as TCP clients see it after `E_PUB_FAILED`.
    Refused(String),
}
