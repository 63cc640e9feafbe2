//! What of topics and channels outlives a restart, as plain values.
//!
//! Ephemeral topics and channels are never among it.

use alloc::vec::Vec;

use crate::wire::names::Name;

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    /// Its name.
    pub name: Name,
    /// Whether it keeps its messages from the channels.
    pub paused: bool,
    /// Its channels.
    pub channels: Vec<ChannelMetadata>,
}

/// A channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelMetadata {
    /// Its name.
    pub name: Name,
    /// Whether it delivers nothing.
    pub paused: bool,
}

/// The topics of one shard that something happened to, as they are now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataChanges {
    /// The shard's count of changes, these included.
    pub version: u64,
    /// Each topic once; `None` when it is gone.
    pub topics: Vec<(Name, Option<TopicMetadata>)>,
}
