//! One look at all nodes: counters as each of them tells them.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Deserialize;

use crate::nsqadmin::cluster::{Failed, Node, nullable};

/// One look at all nodes.
#[derive(Debug, Default)]
pub struct Poll {
    /// When, by the calendar, in milliseconds.
    pub at_ms: u64,
    /// What each node said that answered, by its address.
    pub nodes: BTreeMap<String, NodePoll>,
    /// All nodes that should have, sorted.
    pub listed: Vec<Node>,
    /// Topics that lookup servers know, sorted.
    pub known_topics: Vec<String>,
    /// Who did not answer.
    pub failed: Vec<Failed>,
    /// Why nothing is known at all, when nobody answered.
    pub unanswered: Option<String>,
}

/// What one node said.
#[derive(Debug)]
pub struct NodePoll {
    /// When its answer came.
    pub at: Instant,
    /// The numbers.
    pub said: SaidByNode,
}

/// A node's `/stats`, as much of it as is remembered.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SaidByNode {
    /// `OK`, or what is wrong.
    pub health: String,
    /// When it was started, by the calendar.
    pub start_time: Option<i64>,
    /// Its topics.
    #[serde(deserialize_with = "nullable")]
    pub topics: Vec<TopicPoll>,
}

/// A topic on one node.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct TopicPoll {
    /// Its name.
    #[serde(rename = "topic_name")]
    pub name: Box<str>,
    /// Messages that wait at the topic.
    pub depth: i64,
    /// As many of them on the disk.
    pub backend_depth: i64,
    /// Messages published since the node's start.
    pub message_count: i64,
    /// Whether it is paused.
    pub paused: bool,
    /// Its channels.
    #[serde(deserialize_with = "nullable")]
    pub channels: Vec<ChannelPoll>,
}

/// A channel on one node.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ChannelPoll {
    /// Its name.
    #[serde(rename = "channel_name")]
    pub name: Box<str>,
    /// Messages that wait.
    pub depth: i64,
    /// As many of them on the disk.
    pub backend_depth: i64,
    /// Messages that consumers have.
    pub in_flight_count: i64,
    /// Messages that are put off.
    pub deferred_count: i64,
    /// Messages given back.
    pub requeue_count: i64,
    /// Messages taken back.
    pub timeout_count: i64,
    /// Messages that came to it since the node's start.
    pub message_count: i64,
    /// Consumers.
    pub client_count: i64,
    /// Whether it is paused.
    pub paused: bool,
}

impl ChannelPoll {
    /// Messages that consumers were done with, or that were dropped.
    pub fn done_count(&self) -> i64 {
        self.message_count - self.depth - self.in_flight_count - self.deferred_count
    }
}
