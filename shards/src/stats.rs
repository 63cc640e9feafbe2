//! Counters of one shard, in the shape in which `/stats` and `/metrics` show them.
//!
//! A shard fills these on request; the rim merges the answers of all shards. Counts are since the
//! process started unless the field says otherwise.

use alloc::string::String;
use alloc::vec::Vec;

use crate::upgrade::{Compression, Encryption};
use crate::wire::names::Name;

/// What part of a shard's statistics is wanted. The default asks for everything.
#[derive(Clone, Debug, Default)]
pub struct StatsQuery {
    /// Only this topic. Clients then show what they published to it, and nothing else.
    pub topic: Option<String>,
    /// Only channels of this name, and only topics that have one.
    pub channel: Option<String>,
    /// Leave out clients and producers (their counts stay).
    pub without_clients: bool,
}

/// One shard's answer: topics sorted by name, channels inside them too; clients in no order.
#[derive(Clone, Debug, Default)]
pub struct ShardStats {
    /// Topics that this shard owns.
    pub topics: Vec<TopicStats>,
    /// Connections on this shard that published at least once over TCP.
    pub producers: Vec<ClientStats>,
    /// The shard as a machine: memory, mailboxes, clients.
    pub gauges: ShardGauges,
}

/// State of one shard that belongs to no topic.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardGauges {
    /// Connections that this shard drives now.
    pub clients: u64,
    /// Bytes of log segments in use, and of what is noted of deferred messages.
    pub memory_bytes: u64,
    /// The part of `memory_bytes` that is not in blocks: sets and lists of messages.
    pub index_bytes: u64,
    /// Parts of indexes of deferred messages read back from the disk since the start.
    pub index_reads: u64,
    /// The most that `memory_bytes` may become.
    pub memory_limit_bytes: u64,
    /// Publishes refused since the start because `memory_limit_bytes` was reached.
    pub publishes_refused: u64,
    /// Connections ended because handling them panicked.
    pub clients_panicked: u64,
}

/// One topic.
#[derive(Clone, Debug)]
pub struct TopicStats {
    /// Its name.
    pub name: Name,
    /// Messages that no channel has been given yet.
    pub depth: u64,
    /// The part of `depth` that is on disk only.
    pub backend_depth: u64,
    /// Messages accepted.
    pub message_count: u64,
    /// Bytes of their bodies.
    pub message_bytes: u64,
    /// Whether messages are kept back from its channels.
    pub paused: bool,
    /// Its channels.
    pub channels: Vec<ChannelStats>,
}

/// One channel.
#[derive(Clone, Debug)]
pub struct ChannelStats {
    /// Its name.
    pub name: Name,
    /// Messages waiting, without those in flight and deferred.
    pub depth: u64,
    /// The part of `depth` that is on disk only.
    pub backend_depth: u64,
    /// Messages with a consumer, not finished yet.
    pub in_flight_count: u64,
    /// Messages that wait for their time.
    pub deferred_count: u64,
    /// Messages put on the channel; not those requeued.
    pub message_count: u64,
    /// Messages taken by consumers of this node's zone.
    pub zone_local_msg_count: u64,
    /// Those taken by others of its region.
    pub region_local_msg_count: u64,
    /// Those taken by anybody else; without the experiment with topology, all.
    pub global_msg_count: u64,
    /// Messages given back with REQ.
    pub requeue_count: u64,
    /// Messages whose consumer did not answer in time.
    pub timeout_count: u64,
    /// Messages dropped because an ephemeral channel was full.
    pub dropped_count: u64,
    /// Consumers; also when `clients` is left out.
    pub client_count: u64,
    /// Whether nothing is delivered.
    pub paused: bool,
    /// Its consumers; `None` when they were not asked for.
    pub clients: Option<Vec<ClientStats>>,
}

/// One connection, as consumer of a channel or as producer.
#[derive(Clone, Debug, Default)]
pub struct ClientStats {
    /// From IDENTIFY; the peer's IP before that.
    pub client_id: String,
    /// From IDENTIFY; the peer's IP before that.
    pub hostname: String,
    /// From IDENTIFY.
    pub user_agent: String,
    /// `ip:port`, or `@` for a unix socket.
    pub remote_address: String,
    /// 0 init, 3 subscribed, 4 closing.
    pub state: u8,
    /// RDY as last set.
    pub ready_count: u64,
    /// Messages that it has and has not answered.
    pub in_flight_count: u64,
    /// Messages sent to it.
    pub message_count: u64,
    /// Messages that it finished.
    pub finish_count: u64,
    /// Messages that it requeued.
    pub requeue_count: u64,
    /// When it connected, seconds since the Unix epoch.
    pub connect_ts_s: i64,
    /// Percent of messages that it wants, 0 for all.
    pub sample_rate: i32,
    /// How it is compressed.
    pub compression: Compression,
    /// How it is encrypted, if it is.
    pub encryption: Option<Encryption>,
    /// Whether it was granted anything.
    pub authorized: bool,
    /// Who it is, by that grant.
    pub auth_identity: String,
    /// Where more is to be found about that.
    pub auth_identity_url: String,
    /// From IDENTIFY.
    pub topology_region: String,
    /// From IDENTIFY.
    pub topology_zone: String,
    /// Topic and number of messages of its publishes: of the topic that was asked for, or of the
    /// one published to last. The original shows one topic at most.
    pub pub_counts: Option<(Name, u64)>,
}
