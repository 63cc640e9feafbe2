//! What the rim asks of a shard on behalf of HTTP, and what the shard answers.
//!
//! A request for a topic goes to the shard that owns it; the mailboxes carry it there and back.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::policy::{Change, Keep, Limit, Note, Policy, Problem};
use crate::wire::names::Name;

/// What the reason of a refusal begins with when a bound that an operator set is reached.
pub const LIMIT_REACHED: &str = "limit reached";

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
    /// Messages of a channel, to be looked at.
    Peek(Peek),
    /// Change what is asked of a topic, or of a channel of it.
    Configure(Name, Option<Name>, Box<Change>),
    /// What is asked of a topic, or of a channel of it.
    Settings(Name, Option<Name>),
    /// Where the dead letters of all topics go.
    DeadLetterEdges,
    /// Bring back what waits on a channel of a dead-letter topic: at so many messages a second (0
    /// ends it), and so many at most.
    Redrive(Name, Name, u64, u64),
    /// How far that is.
    RedriveStatus(Name, Name),
    /// Move a channel, or see what that would mean, or make one that starts somewhere.
    Seek(Seek),
}

impl Request {
    /// Whether it pauses or unpauses something, or sets something: the answer to that means that it
    /// is written down.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        match self {
            Request::Topic(_, action) => {
                matches!(action, TopicAction::Pause | TopicAction::Unpause)
            }
            Request::Channel(_, _, action) => {
                matches!(action, ChannelAction::Pause | ChannelAction::Unpause)
            }
            Request::Configure(..) => true,
            _ => false,
        }
    }
}

/// A channel is to stand elsewhere in its topic's messages.
#[derive(Clone, Copy, Debug)]
pub struct Seek {
    /// The topic.
    pub topic: Name,
    /// The channel.
    pub channel: Name,
    /// Where.
    pub to: Target,
    /// What is to be done.
    pub action: SeekAction,
}

/// A place in a topic's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The oldest message that there is.
    Earliest,
    /// Behind the newest that channels were given.
    Latest,
    /// The first message published then or later, nanoseconds since the Unix epoch.
    Time(i64),
    /// The message with this sequence number, or the first one behind it.
    Message(u64),
}

/// What a seek does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekAction {
    /// Makes a channel that starts there.
    Create,
    /// Moves a channel there.
    Move,
    /// Says what moving it would mean.
    DryRun,
}

impl SeekAction {
    /// What HTTP calls where to.
    #[must_use]
    pub fn parameter(self) -> &'static str {
        match self {
            SeekAction::Create => "from",
            SeekAction::Move | SeekAction::DryRun => "to",
        }
    }
}

/// What a seek did, or would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sought {
    /// Messages are finished. Else they come again.
    pub forward: bool,
    /// What was asked for is older than the oldest message that there is.
    pub clamped: bool,
    /// How many messages, at least and at most.
    pub messages: (u64, u64),
    /// Nothing is behind the place.
    pub end: bool,
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

/// A look at messages, which stay where they are.
#[derive(Clone, Copy, Debug)]
pub struct Peek {
    /// The topic.
    pub topic: Name,
    /// The channel.
    pub channel: Name,
    /// Which of its messages.
    pub state: PeekState,
    /// How many at most.
    pub limit: usize,
}

/// Which messages of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeekState {
    /// Those that wait for a consumer, the next one first.
    Ready,
    /// Those that consumers have, the oldest first.
    InFlight,
    /// Those that wait for their time, the oldest first.
    Deferred,
    /// Those that were given up.
    Dead,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The messages.
    pub messages: Vec<SeenMessage>,
    /// Messages that would have been among them but could not be read from the disk.
    pub unreadable: u64,
}

/// One message.
#[derive(Clone, Debug)]
pub struct SeenMessage {
    /// Its id, as consumers get it.
    pub id: [u8; 16],
    /// When it was published, nanoseconds since the Unix epoch.
    pub timestamp_ns: i64,
    /// Deliveries so far, where that is at hand.
    pub attempts: Option<u16>,
    /// Milliseconds until its time comes, where it waits for that and it is at hand.
    pub due_in_ms: Option<u64>,
    /// The front of its body.
    pub body: Vec<u8>,
    /// Bytes of the whole body.
    pub size: usize,
    /// Why it is a dead letter, if it is one.
    pub note: Option<Note>,
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
    /// The answer to [`Request::Peek`].
    Seen(Seen),
    /// What is asked of a topic or channel.
    Settings(Box<Settings>),
    /// That cannot be set, and why.
    Unacceptable(Problem),
    /// The answer to [`Request::DeadLetterEdges`]: topics, and where dead letters of theirs go.
    Edges(Vec<(Name, Name)>),
    /// How far bringing dead letters back is.
    Redriving(Redriving),
    /// The answer to [`Request::Seek`].
    Sought(Sought),
}

/// What is asked of a topic or channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What was said of it.
    pub policy: Policy,
    /// The bounds that hold, the flags included.
    pub limit: Limit,
    /// What a topic keeps of what is finished, the flags included.
    pub keep: Keep,
}

/// How far bringing dead letters back is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redriving {
    /// Messages a second; 0 when it has ended, or never began.
    pub rate: u64,
    /// Messages that are still to be brought back.
    pub left: u64,
    /// Messages that are where they came from.
    pub moved: u64,
    /// Messages that could not be, and wait here.
    pub kept: u64,
    /// Messages that wait here.
    pub depth: u64,
}
