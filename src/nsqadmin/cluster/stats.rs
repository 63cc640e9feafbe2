//! Topics, channels and clients, as nodes tell them and as `/api/topics` shows them.

use serde::{Deserialize, Serialize};

use super::latency::Latency;
use super::nodes::Node;
use super::wire::nullable;

/// A topic, on one node or on all.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct TopicStats {
    /// The node's address, or `*`.
    pub node: String,
    /// The node's host name; empty for all.
    pub hostname: String,
    /// Its name.
    pub topic_name: String,
    /// Messages that wait at the topic.
    pub depth: i64,
    /// As many of them in memory.
    pub memory_depth: i64,
    /// As many on the disk.
    pub backend_depth: i64,
    /// Messages published since the node's start.
    pub message_count: i64,
    /// Bytes of these, where the node tells.
    pub message_bytes: i64,
    /// Deliveries, from the three below.
    pub delivery_msg_count: i64,
    /// To consumers in the node's zone.
    #[serde(skip_serializing_if = "is_zero")]
    pub zone_local_msg_count: i64,
    /// To consumers in its region.
    #[serde(skip_serializing_if = "is_zero")]
    pub region_local_msg_count: i64,
    /// To others.
    #[serde(skip_serializing_if = "is_zero")]
    pub global_msg_count: i64,
    /// One per node; `null` on one node.
    pub nodes: Option<Vec<TopicStats>>,
    /// Its channels.
    pub channels: Option<Vec<ChannelStats>>,
    /// Whether any node has it paused.
    pub paused: bool,
    /// Percentiles.
    pub e2e_processing_latency: Option<Latency>,
}

/// A channel, on one node or on all.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct ChannelStats {
    /// The node's address, or `*`.
    pub node: String,
    /// The node's host name; empty for all.
    pub hostname: String,
    /// Its topic's name.
    pub topic_name: String,
    /// Its name.
    pub channel_name: String,
    /// Messages that wait.
    pub depth: i64,
    /// As many of them in memory.
    pub memory_depth: i64,
    /// As many on the disk.
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
    /// Deliveries, from the three below.
    #[serde(skip_serializing_if = "is_zero")]
    pub delivery_msg_count: i64,
    /// To consumers in the node's zone.
    #[serde(skip_serializing_if = "is_zero")]
    pub zone_local_msg_count: i64,
    /// To consumers in its region.
    #[serde(skip_serializing_if = "is_zero")]
    pub region_local_msg_count: i64,
    /// To others.
    #[serde(skip_serializing_if = "is_zero")]
    pub global_msg_count: i64,
    /// Consumers.
    pub client_count: i64,
    /// One per node; `null` on one node.
    pub nodes: Option<Vec<ChannelStats>>,
    /// Consumers; `null` where they were not asked for.
    pub clients: Option<Vec<ClientStats>>,
    /// Whether any node has it paused.
    pub paused: bool,
    /// Percentiles.
    pub e2e_processing_latency: Option<Latency>,
}

/// A connection.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools, reason = "they are the original's fields")]
pub struct ClientStats {
    /// The node's address.
    pub node: String,
    /// The client's `ip:port`.
    pub remote_address: String,
    /// Of the protocol.
    pub version: String,
    /// As it called itself.
    pub client_id: String,
    /// As it called its host.
    pub hostname: String,
    /// As it called its library.
    pub user_agent: String,
    /// When it connected, by the calendar.
    pub connect_ts: i64,
    /// How long ago, in nanoseconds.
    #[serde(skip_deserializing)]
    pub connected: i64,
    /// Messages that it has.
    pub in_flight_count: i64,
    /// Messages that it takes.
    pub ready_count: i64,
    /// Messages that it was done with.
    pub finish_count: i64,
    /// Messages that it gave back.
    pub requeue_count: i64,
    /// Messages that it got.
    pub message_count: i64,
    /// Percent of messages that it wants; 0 for all.
    pub sample_rate: i64,
    /// Whether its connection is compressed so.
    pub deflate: bool,
    /// As above.
    pub snappy: bool,
    /// Whether it has shown who it is.
    pub authed: bool,
    /// Who it is.
    pub auth_identity: String,
    /// As above.
    pub auth_identity_url: String,
    /// Where the node is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_topology_region: String,
    /// As above.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node_topology_zone: String,
    /// Where it is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub topology_region: String,
    /// As above.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub topology_zone: String,
    /// Whether its connection is encrypted, and how.
    pub tls: bool,
    /// As above.
    pub tls_cipher_suite: String,
    /// As above.
    pub tls_version: String,
    /// As above.
    pub tls_negotiated_protocol: String,
    /// As above.
    pub tls_negotiated_protocol_is_mutual: bool,
    /// What it published; only of connections that publish.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub pub_counts: Vec<PubCount>,
}

/// Messages published to a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct PubCount {
    /// The topic.
    pub topic: String,
    /// Messages.
    pub count: i64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl TopicStats {
    /// What a node says, with the node's own marks, at this time by the calendar.
    pub fn of_node(mut self, node: &Node, now_s: i64) -> TopicStats {
        self.node = node.http_address();
        self.hostname.clone_from(&node.hostname);
        self.memory_depth = self.depth - self.backend_depth;
        self.delivery_msg_count =
            self.zone_local_msg_count + self.region_local_msg_count + self.global_msg_count;
        self.e2e_processing_latency = self.e2e_processing_latency.map(Latency::completed);
        self.nodes = None;
        for channel in self.channels.iter_mut().flatten() {
            channel.topic_name.clone_from(&self.topic_name);
            channel.be_of_node(node, now_s);
        }
        self
    }

    /// By which topics of several nodes are sorted.
    pub fn place(&self) -> (&str, &str, &str) {
        (&self.hostname, &self.node, &self.topic_name)
    }
}

impl ChannelStats {
    fn be_of_node(&mut self, node: &Node, now_s: i64) {
        self.node = node.http_address();
        self.hostname.clone_from(&node.hostname);
        self.memory_depth = self.depth - self.backend_depth;
        self.delivery_msg_count =
            self.zone_local_msg_count + self.region_local_msg_count + self.global_msg_count;
        self.e2e_processing_latency = self.e2e_processing_latency.take().map(Latency::completed);
        self.nodes = None;
        for client in self.clients.iter_mut().flatten() {
            client.be_of_node(node, now_s);
        }
    }

    /// By which rows of one channel are sorted.
    pub fn place(&self) -> (&str, &str) {
        (&self.hostname, &self.node)
    }
}

impl ClientStats {
    /// Marks it as a node's, at this time by the calendar.
    pub fn be_of_node(&mut self, node: &Node, now_s: i64) {
        self.node = node.http_address();
        self.node_topology_region.clone_from(&node.topology_region);
        self.node_topology_zone.clone_from(&node.topology_zone);
        self.connected = (now_s - self.connect_ts).saturating_mul(1_000_000_000);
    }

    /// 0 in the node's zone, 1 in its region, 2 elsewhere.
    fn distance(&self) -> u8 {
        let same_region = self.topology_region == self.node_topology_region;
        match same_region && self.topology_zone == self.node_topology_zone {
            true => 0,
            false if same_region => 1,
            false => 2,
        }
    }
}

/// By node, and those who are near it first.
pub fn sort_by_topology(clients: &mut [ClientStats]) {
    let key = |of: &ClientStats| {
        let place = (of.topology_region.clone(), of.topology_zone.clone());
        (of.node.clone(), of.distance(), place, of.hostname.clone(), of.remote_address.clone())
    };
    clients.sort_by_cached_key(key);
}
