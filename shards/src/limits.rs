//! Every bound of a shard, by name. Those that users can set are in [`Options`].

use crate::upgrade::Room;
use crate::wire::names::Name;

/// The longest command line in bytes, its line feed included (NSQ's read buffer).
pub const LINE_BYTES_MAX: usize = 16 * 1024;
/// Output waiting for one connection at which deliveries to it and reading from it pause.
pub const OUTPUT_BYTES_PAUSE: usize = 1024 * 1024;
/// Messages delivered to one consumer before the next one has its turn.
pub const DELIVERY_BATCH_MAX: u64 = 64;
/// Messages delivered by one channel in one turn.
pub const DELIVERIES_PER_TURN_MAX: u64 = 4096;
/// Publishes forwarded to one other shard and not answered yet.
pub const FORWARDS_UNANSWERED_MAX: u32 = 16 * 1024;
/// Bytes of those publishes. One command may go over it, so that any size gets through.
pub const FORWARD_BYTES_UNANSWERED_MAX: usize = 8 * 1024 * 1024;
/// Publishes of one connection, answered or not, that wait for an earlier one's answer.
pub const PENDING_MAX: usize = 64 * 1024;
/// Of a channel's deliveries one in this many is a requeued message, however much waits before it.
pub const REQUEUED_SHARE: u64 = 16;
/// Publishes in a row for one other shard after which a producer moves there.
pub const MOVE_AFTER_FORWARDS: u32 = 64;
/// Timers that fire in one turn; the rest fires in the next.
pub const TIMERS_PER_TURN_MAX: u32 = 16 * 1024;
/// Time in milliseconds for which what a refused client still sends is read and thrown away, so
/// that a reset does not overtake the error frame.
pub const LINGER_MS: u64 = 500;
/// Output buffers kept for reuse by one shard.
pub const SPARE_BUFFERS_MAX: usize = 64;
/// A larger output buffer is not kept for reuse.
pub const SPARE_BUFFER_BYTES_MAX: usize = 256 * 1024;
/// Sent bytes at which those behind them are moved to the front of their buffer, when they are
/// fewer.
pub const OUTPUT_BYTES_COMPACT: usize = 64 * 1024;
/// Milliseconds between heartbeats when the client does not ask for another interval (NSQ).
pub const HEARTBEAT_MS_DEFAULT: u64 = 30_000;
/// Bytes of `output_buffer_size` when the client does not ask (NSQ).
pub const OUTPUT_BUFFER_BYTES_DEFAULT: i64 = 16 * 1024;

/// Time in milliseconds that a TLS handshake may take, the wait for its turn included (NSQ).
pub const UPGRADE_MS: u64 = 5_000;
/// Bytes that deflate keeps for one connection, both directions together (measured).
pub const DEFLATE_STATE_BYTES: usize = 420 * 1024;
/// Bytes that snappy keeps for one connection at most: a chunk that has not come whole.
pub const SNAPPY_STATE_BYTES: usize = 80 * 1024;

/// Journal files at which the oldest one is freed when that costs nothing.
pub const JOURNAL_FILES_STEADY: usize = 3;
/// Time in milliseconds between two syncs that nobody waits for, at least: how many messages a
/// sync is for depends on how fast they come.
pub const SYNC_PAUSE_MS: u64 = 50;
/// Time in milliseconds after which what the disk refused is tried again.
pub const JOURNAL_RETRY_MS: u64 = 1000;
/// Topics looked at in one turn of a checkpoint.
pub const CHECKPOINT_TOPICS_PER_TURN: usize = 64;
/// Time in milliseconds before a deferred message is due in which it is read what is due when.
pub const INDEX_LEAD_MS: u64 = 2_000;
/// Messages that consumers may put off (`REQ` with a delay), of all channels of a shard. They are
/// kept in memory, and listed in snapshots: a million take about 8 MB, and half a journal file.
pub const PUT_OFF_MAX: u64 = 1 << 20;
/// Rows of one part of a report, at most: it is made within a turn.
pub const REPORT_COST_MAX: usize = 512;
/// Clients looked at for one part of a report.
pub const REPORT_LOOKS_MAX: usize = 8 * 1024;
/// Segments read ahead of a channel.
pub const READ_AHEAD_SEGMENTS: usize = 2;
/// Messages that one look shows.
pub const PEEK_MESSAGES_MAX: usize = 100;
/// Bytes of one body that a look shows.
pub const PEEK_BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of all bodies that a look shows.
pub const PEEK_BYTES_MAX: usize = 1024 * 1024;
/// Looks under way on a shard.
pub const PEEKS_MAX: usize = 4;
/// Messages that a look takes in in one turn: each may be the first of its segment, in which it has
/// to be found.
pub const PEEK_MESSAGES_PER_TURN: usize = 4;
/// Messages that a look passes in one turn.
pub const PEEK_RECORDS_PER_TURN: usize = 256;
/// Messages that a look passes before it gives up.
pub const PEEK_RECORDS_MAX: usize = 1 << 20;
/// Deferred messages up to which it is looked up when they are due.
pub const PEEK_INDEX_MAX: u64 = 16 * 1024;

/// Segments that a topic may have before it lets go of finished ones, whatever it is to keep.
pub const RETAINED_SEGMENTS_MAX: usize = 1 << 20;
/// Time in milliseconds between two files of retained messages that make room on the disk.
pub const FLOOR_PRESS_MS: u64 = 300;
/// Seeks under way on a shard.
pub const SEEKS_MAX: usize = 8;
/// Bytes of a segment that are read to see when it begins.
pub const SEEK_GLANCE_BYTES: u32 = 4096;
/// Segments that one seek looks through in one turn.
pub const SEEK_SEGMENTS_PER_TURN: usize = 2;

/// Messages of one topic that make room for others in one turn; further ones in the next.
pub const ENFORCED_PER_TURN: u64 = 16 * 1024;
/// Bytes of messages for other topics that are sent in one turn, about.
pub const TRANSFER_BYTES_PER_TURN: usize = 1 << 20;
/// Time in milliseconds after which messages are sent again that another topic did not take.
pub const TRANSFER_RETRY_MS: u64 = 1000;

/// What an answer to a publish promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// It is queued.
    #[default]
    Memory,
    /// It survives the end of the process, however it comes.
    Written,
    /// It survives a power cut.
    Synced,
}

/// What the flags of nsqd set. Times in milliseconds, sizes in bytes.
#[derive(Clone, Debug)]
pub struct Options {
    /// The version that clients are told.
    pub version: &'static str,
    /// 0 to 1023, part of every message id.
    pub node_id: u64,
    /// Largest message.
    pub max_msg_bytes: i64,
    /// Largest body of MPUB, IDENTIFY and AUTH.
    pub max_body_bytes: i64,
    /// Largest RDY.
    pub max_rdy_count: i64,
    /// Time for a consumer to answer.
    pub msg_timeout_ms: i64,
    /// The most that a client may ask for, and the end of TOUCHing.
    pub max_msg_timeout_ms: i64,
    /// Longest delay of REQ.
    pub max_req_timeout_ms: i64,
    /// Longest delay of DPUB.
    pub max_defer_ms: i64,
    /// Longest heartbeat interval.
    pub max_heartbeat_interval_ms: i64,
    /// Largest `output_buffer_size`.
    pub max_output_buffer_bytes: i64,
    /// Shortest `output_buffer_timeout`.
    pub min_output_buffer_timeout_ms: i64,
    /// Longest `output_buffer_timeout`.
    pub max_output_buffer_timeout_ms: i64,
    /// `output_buffer_timeout` when the client does not ask.
    pub output_buffer_timeout_ms: i64,
    /// Whether there is a certificate: connections may be encrypted.
    pub tls: bool,
    /// Whether they have to be.
    pub tls_required: bool,
    /// Whether clients have to prove who they are before they publish or subscribe.
    pub auth_required: bool,
    /// Whether they may be compressed with snappy.
    pub snappy: bool,
    /// Whether they may be compressed with deflate.
    pub deflate: bool,
    /// The highest deflate level, as told to clients.
    pub max_deflate_level: i64,
    /// Memory for compressed connections, of all shards together.
    pub compression_room: Room,
    /// Consumers on one channel; 0 for no limit.
    pub max_channel_consumers: u64,
    /// Messages that an ephemeral topic or channel keeps.
    pub mem_queue_size: u64,
    /// Messages of any other topic that stay in memory; `None` when only bytes are counted.
    pub resident_messages_max: Option<u64>,
    /// Deferred messages of a channel whose order is not sorted yet.
    pub deferred_fresh_max: usize,
    /// Messages that consumers may put off, of all channels.
    pub put_off_max: u64,
    /// Bytes of messages that this shard keeps.
    pub memory_limit_bytes: usize,
    /// What answers to publishes promise, unless something else is said for the topic.
    pub durability: Durability,
    /// Topics with a durability of their own.
    pub topic_durability: alloc::vec::Vec<(Name, Durability)>,
    /// What holds of topics and channels of which nobody said anything.
    pub defaults: crate::policy::Defaults,
    /// Journal files of this shard, at most.
    pub journal_files_max: usize,
    /// Size of a journal file.
    pub journal_file_bytes: u32,
    /// Size at which a store file is full.
    pub store_file_bytes: u32,
    /// Messages written to the journal at which it is synced.
    pub sync_every: u64,
    /// Time after which the journal is synced.
    pub sync_timeout_ms: u64,
    /// Time for a new connection to send its magic bytes.
    pub greeting_timeout_ms: u64,
    /// The longest that a new topic waits for the channels that it is to have.
    pub discovery_timeout_ms: u64,
    /// Whether channels prefer consumers of the server's own zone and region.
    pub topology_aware: bool,
    /// The server's own, as told to clients.
    pub topology_region: alloc::string::String,
    /// The server's own, as told to clients.
    pub topology_zone: alloc::string::String,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            version: "1.3.0",
            node_id: 0,
            max_msg_bytes: 1024 * 1024,
            max_body_bytes: 5 * 1024 * 1024,
            max_rdy_count: 2500,
            msg_timeout_ms: 60_000,
            max_msg_timeout_ms: 15 * 60_000,
            max_req_timeout_ms: 3_600_000,
            max_defer_ms: 3_600_000,
            max_heartbeat_interval_ms: 60_000,
            max_output_buffer_bytes: 64 * 1024,
            min_output_buffer_timeout_ms: 25,
            max_output_buffer_timeout_ms: 30_000,
            output_buffer_timeout_ms: 250,
            tls: false,
            tls_required: false,
            auth_required: false,
            snappy: true,
            deflate: true,
            max_deflate_level: 6,
            compression_room: Room::new(usize::MAX),
            max_channel_consumers: 0,
            mem_queue_size: 10_000,
            resident_messages_max: None,
            deferred_fresh_max: crate::deferral::FRESH_MAX,
            put_off_max: PUT_OFF_MAX,
            memory_limit_bytes: 1024 * 1024 * 1024,
            durability: Durability::Memory,
            topic_durability: alloc::vec::Vec::new(),
            defaults: crate::policy::Defaults::default(),
            journal_files_max: 32,
            journal_file_bytes: 16 << 20,
            store_file_bytes: 100 << 20,
            sync_every: 2500,
            sync_timeout_ms: 2000,
            greeting_timeout_ms: 5_000,
            discovery_timeout_ms: 8_000,
            topology_aware: false,
            topology_region: alloc::string::String::new(),
            topology_zone: alloc::string::String::new(),
        }
    }
}

impl Options {
    /// What answers to publishes to a topic promise.
    #[must_use]
    pub fn durability_of(&self, topic: &Name) -> Durability {
        if topic.is_ephemeral() {
            return Durability::Memory;
        }
        let own = self.topic_durability.iter().find(|(name, _)| name == topic);
        own.map_or(self.durability, |&(_, durability)| durability)
    }

    /// Messages that one MPUB may hold (NSQ: what fits when each has one byte).
    #[must_use]
    pub fn mpub_count_max(&self) -> i64 {
        (self.max_body_bytes - 4) / 5
    }
}
