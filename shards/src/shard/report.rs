//! Counters, as `/stats` shows them.

use alloc::vec::Vec;

use super::Shard;
use crate::channel::Channel;
use crate::locality::Locality;
use crate::stats::{ChannelStats, ClientStats, ShardGauges, ShardStats, StatsQuery, TopicStats};
use crate::topic::Topic;

impl Shard {
    /// This shard's part of the statistics.
    pub(super) fn report(&mut self, query: &StatsQuery) -> ShardStats {
        for index in 0..self.touched.len() {
            self.hand_over(self.touched[index]);
        }
        let wanted = |name: &str| query.topic.as_deref().is_none_or(|topic| topic == name);
        let mut topics: Vec<TopicStats> = self
            .topics
            .iter()
            .filter(|(_, topic)| wanted(topic.name.as_str()))
            .map(|(_, topic)| self.report_topic(topic, query))
            .filter(|stats| query.channel.is_none() || !stats.channels.is_empty())
            .collect();
        topics.sort_unstable_by_key(|topic| topic.name);
        let producers =
            if query.without_clients { Vec::new() } else { self.report_producers(query) };
        ShardStats { topics, producers, gauges: self.gauges() }
    }

    /// Whoever has published, be it to other topics: whether the topic exists, and the producers
    /// are to be shown at all, only its owner knows.
    fn report_producers(&self, query: &StatsQuery) -> Vec<ClientStats> {
        let clients = self.clients.iter().map(|(_, client)| client);
        let producers = clients.filter(|client| client.session.published.count(None).is_some());
        producers.map(|client| client.stats(query.topic.as_deref())).collect()
    }

    fn gauges(&self) -> ShardGauges {
        ShardGauges {
            clients: self.clients.len() as u64,
            memory_bytes: self.space.pool.used_bytes() as u64,
            index_bytes: self.space.pool.charged_bytes() as u64,
            index_reads: self.indexes.reads_done(),
            memory_limit_bytes: self.space.pool.limit_bytes() as u64,
            publishes_refused: self.publishes_refused,
            clients_panicked: self.clients_panicked,
        }
    }

    fn report_topic(&self, topic: &Topic, query: &StatsQuery) -> TopicStats {
        let named = |channel: &&Channel| {
            query.channel.as_deref().is_none_or(|name| name == channel.name.as_str())
        };
        let channels = topic.channels.iter().filter_map(|&key| self.channels.get(key));
        let mut channels: Vec<ChannelStats> = channels
            .filter(named)
            .map(|channel| self.report_channel(channel, topic, query))
            .collect();
        channels.sort_unstable_by_key(|channel| channel.name);
        TopicStats {
            name: topic.name,
            depth: topic.depth(),
            backend_depth: topic.log.cold_count(topic.handed_at).min(topic.depth()),
            message_count: topic.message_count,
            message_bytes: topic.message_bytes,
            paused: topic.paused,
            channels,
        }
    }

    fn report_channel(&self, channel: &Channel, topic: &Topic, query: &StatsQuery) -> ChannelStats {
        let clients = channel.clients.iter().filter_map(|&key| self.clients.get(key));
        let clients = clients.map(|client| client.stats(query.topic.as_deref())).collect();
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
            dropped_count: channel.dropped_count,
            client_count: channel.clients.len() as u64,
            paused: channel.paused,
            clients: (!query.without_clients).then_some(clients),
        }
    }
}
