//! Counters, as `/stats` and `/metrics` show them: told in parts, so that no turn is long, whatever
//! there is.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Shard;
use crate::channel::Channel;
use crate::client::Client;
use crate::latency::Stopwatch;
use crate::limits::{REPORT_COST_MAX, REPORT_LOOKS_MAX};
use crate::locality::Locality;
use crate::slots::Key;
use crate::stats::{
    Bookmark, ChannelStats, ClientLoad, ClientStats, ShardGauges, ShardStats, StatsQuery, Timing,
    TopicStats,
};
use crate::topic::Topic;
use crate::upgrade::Compression;
use crate::wire::names::Name;

/// What a row costs, in rows of channels that nobody measures.
const CLIENT_COST: usize = 2;
const MEASURED_COST: usize = 12;

/// A part while it is made.
struct Draft {
    part: ShardStats,
    /// How far it has come.
    at: Bookmark,
    /// What it cost so far, in rows.
    cost: usize,
}

impl Shard {
    /// Has every message that is finished measured from now on: before there are channels.
    pub fn measure(&mut self, stopwatch: Box<dyn Stopwatch>) {
        assert_eq!(self.channels.len(), 0, "channels are measured from their beginning");
        self.stopwatch = Some(stopwatch);
    }

    /// A channel is gone.
    pub(super) fn stop_measuring(&mut self, channel: &Channel) {
        if let Some(stopwatch) = &mut self.stopwatch {
            stopwatch.close(channel.meter);
        }
    }

    /// The next part of this shard's statistics. The rest follows with where it ends.
    pub fn report(&mut self, query: &StatsQuery, from: Bookmark) -> ShardStats {
        for index in 0..self.touched.len() {
            self.hand_over(self.touched[index]);
        }
        let part = ShardStats { gauges: self.gauges(), ..ShardStats::default() };
        let mut draft = Draft { part, at: from, cost: 0 };
        while draft.cost < REPORT_COST_MAX {
            let Some(key) = self.next_topic(query, draft.at.topic) else {
                draft.at.topic = usize::MAX;
                break;
            };
            if key.index() != draft.at.topic {
                draft.at = Bookmark { topic: key.index(), channel: 0, ..draft.at };
            }
            self.report_topic(key, query, &mut draft);
        }
        if draft.at.topic == usize::MAX {
            self.report_clients(query, &mut draft);
        }
        let Draft { part, at, .. } = draft;
        let more = at.client < self.clients.slots() || at.topic != usize::MAX;
        ShardStats { next: more.then_some(at), ..part }
    }

    /// The next topic that is wanted, in the order of slots.
    fn next_topic(&self, query: &StatsQuery, from: usize) -> Option<Key> {
        match &query.topic {
            Some(name) => self.find_topic(name).filter(|key| key.index() >= from),
            None => (from..self.topics.slots()).find_map(|slot| self.topics.key_at(slot)),
        }
    }

    /// A topic with as many of its channels as may be told.
    fn report_topic(&mut self, key: Key, query: &StatsQuery, draft: &mut Draft) {
        let first = core::mem::take(&mut draft.at.channel);
        let timing = if first == 0 { self.topic_timing(key) } else { None };
        let Some(topic) = self.topics.get(key) else { return };
        let each = if self.stopwatch.is_some() { MEASURED_COST } else { 1 };
        let most = (REPORT_COST_MAX - draft.cost).div_ceil(each);
        let keys: Vec<Key> = topic.channels.iter().skip(first).take(most).copied().collect();
        let (told, all) = (first + keys.len(), topic.channels.len());
        let stats = TopicStats { timing, ..topic_stats(topic) };
        let channels = keys.iter().filter_map(|&channel| self.report_channel(channel, key, query));
        draft.part.topics.push(TopicStats { channels: channels.collect(), ..stats });
        draft.cost += 1 + keys.len() * each;
        match told < all {
            true => draft.at.channel = told,
            false => draft.at.topic += 1,
        }
    }

    fn topic_timing(&mut self, key: Key) -> Option<Timing> {
        let (topic, stopwatch) = (self.topics.get(key)?, self.stopwatch.as_mut()?);
        let channels = &self.channels;
        let mut meters =
            topic.channels.iter().filter_map(|&key| Some(channels.get(key)?.meter)).peekable();
        meters.peek()?;
        Some(stopwatch.read(&mut meters, self.now.mono_ms))
    }

    fn report_channel(&mut self, key: Key, topic: Key, query: &StatsQuery) -> Option<ChannelStats> {
        let channel = self.channels.get(key)?;
        if query.channel.as_deref().is_some_and(|name| name != channel.name.as_str()) {
            return None;
        }
        let (meter, now_ms) = (channel.meter, self.now.mono_ms);
        let read =
            |watch: &mut Box<dyn Stopwatch>| watch.read(&mut core::iter::once(meter), now_ms);
        let timing = self.stopwatch.as_mut().map(read);
        let stats = channel_stats(channel, self.topics.get(topic)?);
        Some(ChannelStats { timing, ..stats })
    }

    /// As many clients as may be told.
    fn report_clients(&self, query: &StatsQuery, draft: &mut Draft) {
        let from = draft.at.client;
        draft.at.client = self.clients.slots().min(from.saturating_add(REPORT_LOOKS_MAX));
        for slot in from..draft.at.client {
            if draft.cost >= REPORT_COST_MAX {
                draft.at.client = slot;
                return;
            }
            let Some(key) = self.clients.key_at(slot) else { continue };
            let Some(client) = self.clients.get(key) else { continue };
            draft.part.load.add(client.load());
            if query.without_clients {
                continue;
            }
            let consumes = self.consumes(client, query);
            let is_producer = client.session.published.count(None).is_some();
            // Who has published, be it to other topics: whether the topic exists, and the
            // producers are to be shown at all, only its owner knows.
            if consumes.is_some() || is_producer {
                let stats = client.stats(query.topic.as_deref(), consumes);
                let connection = u64::from(self.placement.me) << 48 | key.to_bits();
                draft.part.clients.push(ClientStats { connection, ..stats });
                draft.cost += CLIENT_COST;
            }
        }
    }

    /// What a client consumes, if it was asked for.
    fn consumes(&self, client: &Client, query: &StatsQuery) -> Option<(Name, Name)> {
        let channel = self.channels.get(client.subscription?.channel)?;
        let topic = self.topics.get(channel.topic)?;
        let wanted = |query: &Option<alloc::string::String>, name: &Name| {
            query.as_deref().is_none_or(|wanted| wanted == name.as_str())
        };
        let both = wanted(&query.topic, &topic.name) && wanted(&query.channel, &channel.name);
        both.then_some((topic.name, channel.name))
    }

    fn gauges(&self) -> ShardGauges {
        let mut gauges = ShardGauges {
            topics: self.topics.len() as u64,
            channels: self.channels.len() as u64,
            clients: self.clients.len() as u64,
            clients_accepted: self.clients_accepted,
            clients_adopted: self.clients_adopted,
            clients_panicked: self.clients_panicked,
            errors: self.errors,
            memory_bytes: self.space.pool.used_bytes() as u64,
            index_bytes: self.space.pool.charged_bytes() as u64,
            memory_limit_bytes: self.space.pool.limit_bytes() as u64,
            memory_reserved_bytes: self.space.pool.reserved_bytes() as u64,
            index_reads: self.indexes.reads_done(),
            publishes_refused: self.publishes_refused,
            replies_held: self.structure.held_count(),
            timers: self.wheel.len() as u64,
            put_off: self.space.put_off,
            put_off_max: self.options.put_off_max,
            peeks: self.peeks.count() as u64,
            spare_buffers: self.spare_buffers.len() as u64,
            ..ShardGauges::default()
        };
        for lane in &self.lanes {
            lane.count(&mut gauges);
        }
        let waiting = self.tiers.counts().map(|count| count as u64);
        [gauges.publishes_waiting, gauges.stores_waiting, gauges.loads_waiting] = waiting;
        self.space.store.count(&mut gauges);
        self.count_journal(&mut gauges);
        gauges
    }
}

fn topic_stats(topic: &Topic) -> TopicStats {
    let (retained_count, retained_bytes) = topic.retained();
    TopicStats {
        retained_count,
        retained_bytes,
        retained_pressed_count: topic.retained.pressed_count,
        name: topic.name,
        depth: topic.depth(),
        backend_depth: topic.log.cold_count(topic.handed_at).min(topic.depth()),
        message_count: topic.message_count,
        message_bytes: topic.message_bytes,
        dropped: topic.dropped,
        limit: topic.limit,
        rejected_count: topic.rejected_count,
        full: topic.full.clone(),
        timing: None,
        paused: topic.paused,
        channels: Vec::new(),
    }
}

fn channel_stats(channel: &Channel, topic: &Topic) -> ChannelStats {
    let is_bounded = channel.limit.max_bytes | topic.limit.max_bytes != 0;
    ChannelStats {
        name: channel.name,
        depth: channel.depth(topic.handed),
        backend_depth: topic.log.cold_count(channel.at).min(channel.depth(topic.handed)),
        in_flight_count: channel.outstanding.in_flight(),
        deferred_count: channel.outstanding.deferred(),
        message_count: channel.message_count,
        zone_local_msg_count: channel.taken.get(Locality::Zone),
        region_local_msg_count: channel.taken.get(Locality::Region),
        global_msg_count: channel.taken.get(Locality::Global),
        requeue_count: channel.requeue_count,
        timeout_count: channel.timeout_count,
        finish_count: channel.finish_count,
        processing_ms: channel.processing_ms,
        timing: None,
        dropped: channel.dropped,
        dead_letters: channel.dead_letters,
        redriven_count: channel.redriven_count,
        limit: channel.limit,
        is_ruled: channel.is_ruled(&topic.limit),
        held_bytes: is_bounded.then(|| channel.bytes(topic)),
        dead_lettering_count: channel.outstanding.transfers.len() as u64,
        dead_lettering_waiting: channel.outstanding.transfers.waiting() as u64,
        client_count: channel.clients.len() as u64,
        paused: channel.paused,
        clients: None,
    }
}

impl Client {
    fn load(&self) -> ClientLoad {
        let is_consumer = self.subscription.is_some();
        let is_producer = self.session.published.count(None).is_some();
        let compression = self.session.upgrade.compression;
        ClientLoad {
            consumers: u64::from(is_consumer),
            producers: u64::from(is_producer),
            others: u64::from(!is_consumer && !is_producer),
            tls: u64::from(self.session.encryption.is_some()),
            snappy: u64::from(compression == Compression::Snappy),
            deflate: u64::from(matches!(compression, Compression::Deflate(_))),
            paused: u64::from(self.paused),
            output_bytes: (self.output.len() - self.sent) as u64,
            input_bytes: self.input.len() as u64,
            pending: self.pending.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec::Vec;
    use std::format;

    use super::Shard;
    use crate::client::Peer;
    use crate::limits::{Options, REPORT_COST_MAX};
    use crate::log::pool::CHUNK_BYTES;
    use crate::placement::Placement;
    use crate::shard::{Now, Parts, Socket};
    use crate::stats::{Bookmark, ShardStats, StatsQuery};

    /// One shard with a crowded topic, many small ones, consumers and producers.
    fn shard() -> Shard {
        let placement = Placement::new(0, 1, &[]);
        let options = Options::default();
        let parts =
            Parts { options, placement, workers: 1, now: Now::default(), seed: 1, disk: false };
        let grow = || Some(Vec::leak(alloc::vec![0; CHUNK_BYTES]));
        let mut shard = Shard::new(parts, Box::new(grow));
        for number in 0..CHANNELS {
            let client = shard.connect(Socket(number), Peer::default());
            shard.received(client, format!("  V2SUB crowd c{number}\nRDY 1\n").as_bytes());
        }
        for number in 0..TOPICS {
            let client = shard.connect(Socket(CHANNELS + number), Peer::default());
            shard.received(client, format!("  V2PUB t{number}\n").as_bytes());
            shard.received(client, b"\0\0\0\x01x");
        }
        shard.finish_turn();
        shard
    }

    const CHANNELS: u64 = 2 * REPORT_COST_MAX as u64;
    const TOPICS: u64 = REPORT_COST_MAX as u64 + 10;

    /// All parts together, and how many there were.
    fn whole(shard: &mut Shard, query: &StatsQuery) -> (ShardStats, usize) {
        let mut whole = shard.report(query, Bookmark::default());
        let mut parts = 1;
        while let Some(next) = whole.next {
            let part = shard.report(query, next);
            let rows = part.topics.iter().map(|topic| 1 + topic.channels.len()).sum::<usize>();
            assert!(rows + part.clients.len() <= REPORT_COST_MAX + 1, "{rows} rows");
            whole.add(part);
            parts += 1;
        }
        whole.arrange(query);
        (whole, parts)
    }

    #[test]
    fn everything_is_told_once_in_parts_of_bounded_size() {
        let mut shard = shard();
        let (stats, parts) = whole(&mut shard, &StatsQuery::default());
        assert!(parts >= 5, "{parts} parts");
        assert_eq!(stats.topics.len() as u64, TOPICS + 1);
        assert!(stats.topics.is_sorted_by_key(|topic| topic.name));
        let crowd = &stats.topics[0];
        assert_eq!((crowd.name.as_str(), crowd.channels.len() as u64), ("crowd", CHANNELS));
        for channel in &crowd.channels {
            assert_eq!(channel.clients.as_ref().map(Vec::len), Some(1), "{}", channel.name);
        }
        assert_eq!(stats.producers.len() as u64, TOPICS);
        assert_eq!((stats.load.consumers, stats.load.producers), (CHANNELS, TOPICS));
        assert_eq!(stats.gauges.channels, CHANNELS);
        assert_eq!(stats.topics[1..].iter().map(|topic| topic.depth).sum::<u64>(), TOPICS);
    }

    #[test]
    fn what_was_not_asked_for_is_left_out() {
        let mut shard = shard();
        let without = StatsQuery { without_clients: true, ..StatsQuery::default() };
        let (stats, _) = whole(&mut shard, &without);
        assert!(stats.producers.is_empty() && stats.topics[0].channels[0].clients.is_none());
        assert_eq!((stats.load.consumers, stats.load.producers), (CHANNELS, TOPICS));
        let one = StatsQuery { topic: Some("crowd".into()), ..StatsQuery::default() };
        let (stats, _) = whole(&mut shard, &one);
        assert_eq!((stats.topics.len(), stats.topics[0].channels.len() as u64), (1, CHANNELS));
        let channel =
            StatsQuery { topic: Some("crowd".into()), channel: Some("c7".into()), ..one.clone() };
        let (stats, _) = whole(&mut shard, &channel);
        let channels = &stats.topics[0].channels;
        assert_eq!((channels.len(), channels[0].clients.as_ref().map(Vec::len)), (1, Some(1)));
        let none = StatsQuery { topic: Some("none".into()), ..StatsQuery::default() };
        assert!(whole(&mut shard, &none).0.topics.is_empty());
    }
}
