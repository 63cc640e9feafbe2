//! What others keep of topics and channels, as plain values: the file that outlives a restart, and
//! lookup servers.
//!
//! Ephemeral topics and channels are never among what outlives a restart.

use alloc::vec::Vec;

use crate::policy::Policy;
use crate::slots::Key;
use crate::wire::names::Name;

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name.
    pub name: Name,
    /// Whether it keeps its messages from the channels.
    pub paused: bool,
    /// What operators ask of it.
    pub policy: Policy,
    /// Its channels.
    pub channels: Vec<ChannelMetadata>,
}

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelMetadata {
    /// Its name.
    pub name: Name,
    /// Whether it delivers nothing.
    pub paused: bool,
    /// What operators ask of it.
    pub policy: Policy,
}

impl TopicMetadata {
    /// A topic of which nothing is known but its name.
    #[must_use]
    pub fn new(name: Name) -> TopicMetadata {
        TopicMetadata { name, paused: false, policy: Policy::default(), channels: Vec::new() }
    }
}

impl ChannelMetadata {
    /// A channel that was paused or not, and of which nothing else was said.
    #[must_use]
    pub fn new(name: Name, paused: bool) -> ChannelMetadata {
        ChannelMetadata { name, paused, policy: Policy::default() }
    }
}

/// The topics of one shard that something happened to, as they are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataChanges {
    /// The shard's count of changes, these included.
    pub version: u64,
    /// Each topic once; `None` when it is gone.
    pub topics: Vec<(Name, Option<TopicMetadata>)>,
}

/// What there is of a topic for lookup servers. The keys tell a topic or channel from an earlier
/// one of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The topic's.
    pub topic: Key,
    /// Its channels, ephemeral ones too.
    pub channels: Vec<(Name, Key)>,
}

/// What a shard has to tell whoever talks to lookup servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiscoveryNews {
    /// Topics that came or went, or whose channels did, as they are now: each once, `None` when it
    /// is gone.
    pub topics: Vec<(Name, Option<Registration>)>,
    /// New topics that wait for the channels that others know. Each waits for one answer.
    pub questions: Vec<(Key, Name)>,
}
