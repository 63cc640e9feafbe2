//! Counters of one shard, in the shape in which `/stats` and `/metrics` show them.
//!
//! A shard fills these on request, a bounded part at a time; [`merge`](crate::merge) puts the parts
//! of all shards together. Counts are since the process started unless the field says otherwise.

use alloc::string::String;
use alloc::vec::Vec;

use crate::policy::{Fates, Limit};
use crate::upgrade::{Compression, Encryption};
use crate::wire::errors::ErrorCounts;
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

/// How far a report has come: it goes on there. The default is its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bookmark {
    /// The slot of the next topic.
    pub(crate) topic: usize,
    /// Which of that topic's channels comes next.
    pub(crate) channel: usize,
    /// The slot of the next client, when all topics are told.
    pub(crate) client: usize,
}

impl Bookmark {
    /// Somewhere behind the beginning, for tests of who puts parts together.
    #[doc(hidden)]
    #[must_use]
    pub fn later() -> Bookmark {
        Bookmark { topic: 1, ..Bookmark::default() }
    }
}

/// A part of one shard's statistics, or what several parts come to. Parts have topics and clients
/// in no order, and a topic's channels may be spread over several.
#[derive(Clone, Debug, Default)]
pub struct ShardStats {
    /// Topics that this shard owns.
    pub topics: Vec<TopicStats>,
    /// Connections that subscribed or published, to be sorted into the fields above and below.
    pub clients: Vec<ClientStats>,
    /// Connections on this shard that published at least once over TCP.
    pub producers: Vec<ClientStats>,
    /// What the connections of the part have in common.
    pub load: ClientLoad,
    /// The shard as a machine: memory, mailboxes, files.
    pub gauges: ShardGauges,
    /// Where the next part begins, unless this is the last.
    pub next: Option<Bookmark>,
}

/// Sums over connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientLoad {
    /// Connections that subscribed.
    pub consumers: u64,
    /// Connections that published.
    pub producers: u64,
    /// Connections that did neither, yet.
    pub others: u64,
    /// Connections in TLS.
    pub tls: u64,
    /// Connections compressed with snappy.
    pub snappy: u64,
    /// Connections compressed with deflate.
    pub deflate: u64,
    /// Connections that are not read from, because something that they wait for is full.
    pub paused: u64,
    /// Bytes for them that their sockets have not taken.
    pub output_bytes: u64,
    /// Bytes of theirs that are no whole command yet, or wait to be looked at.
    pub input_bytes: u64,
    /// Publishes that other shards have not answered, and answers that wait behind those.
    pub pending: u64,
}

/// State of one shard that belongs to no topic.
#[derive(Clone, Copy, Debug, Default)]
pub struct ShardGauges {
    /// Topics that it owns.
    pub topics: u64,
    /// Their channels.
    pub channels: u64,
    /// Connections that this shard drives now.
    pub clients: u64,
    /// Connections that were accepted here.
    pub clients_accepted: u64,
    /// Connections that came here from another worker.
    pub clients_adopted: u64,
    /// Connections ended because handling them panicked.
    pub clients_panicked: u64,
    /// Error frames sent, by their codes.
    pub errors: ErrorCounts,
    /// Bytes of log segments in use, and of what is noted of deferred messages.
    pub memory_bytes: u64,
    /// The part of `memory_bytes` that is not in blocks: sets and lists of messages.
    pub index_bytes: u64,
    /// The most that `memory_bytes` may become.
    pub memory_limit_bytes: u64,
    /// What of it was ever touched, and is kept.
    pub memory_reserved_bytes: u64,
    /// Parts of indexes of deferred messages read back from the disk since the start.
    pub index_reads: u64,
    /// Publishes refused, for want of memory or because of the disk.
    pub publishes_refused: u64,
    /// Publishes that wait for memory: those of clients, and letters of others.
    pub publishes_waiting: u64,
    /// Publishes for other shards that these have not answered.
    pub forwards_unanswered: u64,
    /// Their bytes.
    pub forward_bytes_unanswered: u64,
    /// Clients that wait until there are fewer of them.
    pub forwards_blocked: u64,
    /// Answers to HTTP that wait until what they say is written down.
    pub replies_held: u64,
    /// Timers that are set.
    pub timers: u64,
    /// Messages that consumers have put off.
    pub put_off: u64,
    /// How many these may be.
    pub put_off_max: u64,
    /// Looks at channels that are under way.
    pub peeks: u64,
    /// Output buffers kept for reuse.
    pub spare_buffers: u64,
    /// Journal files in use.
    pub journal_files: u64,
    /// How many there may be.
    pub journal_files_max: u64,
    /// Bytes in them.
    pub journal_bytes: u64,
    /// Messages in the journal that are not synced.
    pub journal_unsynced: u64,
    /// Store files in use.
    pub store_files: u64,
    /// Bytes in them.
    pub store_bytes: u64,
    /// The part of that which is wanted.
    pub store_live_bytes: u64,
    /// Segments that wait to be stored, or are being stored.
    pub stores_waiting: u64,
    /// Segments that wait to be read back, or are being read.
    pub loads_waiting: u64,
    /// Journal files that were made free.
    pub checkpoints: u64,
    /// Whether the disk refuses something.
    pub disk_trouble: bool,
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
    /// How long its messages took, on all channels; `None` when nobody measures, or it has none.
    pub timing: Option<Timing>,
    /// Messages dropped before any channel was given them.
    pub dropped: Fates,
    /// What each of its channels may hold, together with what none was given.
    pub limit: Limit,
    /// Publishes refused because a bound was reached.
    pub rejected_count: u64,
    /// Messages that are kept though all channels have finished them, in whole segments.
    pub retained_count: u64,
    /// Bytes that these take in the log.
    pub retained_bytes: u64,
    /// Messages that were kept and let go early, because memory or disk was short.
    pub retained_pressed_count: u64,
    /// Whether they are refused now, and why.
    pub full: Option<String>,
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
    /// Messages that consumers finished.
    pub finish_count: u64,
    /// How long consumers had them, all together.
    pub processing_ms: u64,
    /// How long messages took; `None` when nobody measures.
    pub timing: Option<Timing>,
    /// Messages dropped because the channel was full, or they were too old.
    pub dropped: Fates,
    /// Messages that went to another topic as dead letters.
    pub dead_letters: Fates,
    /// Dead letters that were brought back to it.
    pub redriven_count: u64,
    /// What it may hold, by itself.
    pub limit: Limit,
    /// Bytes that its messages take, about; only where they are bounded.
    pub held_bytes: Option<u64>,
    /// Whether operators ask anything of it beyond NSQ, or something came of that.
    pub is_ruled: bool,
    /// Messages on their way to another topic.
    pub dead_lettering_count: u64,
    /// Those of them that are not sent yet, or were not taken.
    pub dead_lettering_waiting: u64,
    /// Consumers; also when `clients` is left out.
    pub client_count: u64,
    /// Whether nothing is delivered.
    pub paused: bool,
    /// Its consumers; `None` when they were not asked for, and in parts.
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
    /// Tells connections of one broker apart that have the same address.
    pub connection: u64,
    /// Whether it published at all.
    pub is_producer: bool,
    /// The topic and the channel that it consumes, when they were asked for.
    pub consumes: Option<(Name, Name)>,
}

/// How long messages took, by what was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From publish to FIN.
    pub e2e: Latency,
    /// From delivery to FIN.
    pub processing: Latency,
}

/// One distribution of times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// Samples of the window.
    pub count: u64,
    /// The configured percentiles of the window, in their order.
    pub values_ns: Vec<u64>,
    /// Samples since the start.
    pub total_count: u64,
    /// Their sum.
    pub total_ns: u64,
}
