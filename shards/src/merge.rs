//! Putting the parts of reports together: those of one shard, and those of all shards.

use alloc::vec::Vec;

use crate::stats::{ChannelStats, ClientLoad, ShardStats, StatsQuery, TopicStats};

impl ShardStats {
    /// Takes in another part. Gauges are those of the part that came last.
    pub fn add(&mut self, part: ShardStats) {
        let ShardStats { topics, clients, producers, load, gauges, next } = part;
        self.topics.extend(topics);
        self.clients.extend(clients);
        self.producers.extend(producers);
        self.load.add(load);
        self.gauges = gauges;
        self.next = next;
    }

    /// Puts everything in its place when all parts are there: topics and channels sorted by name,
    /// clients where they are shown.
    pub fn arrange(&mut self, query: &StatsQuery) {
        self.topics.sort_by_key(|topic| topic.name);
        self.topics.dedup_by(|next, topic| {
            let same = next.name == topic.name;
            if same {
                topic.continue_with(next);
            }
            same
        });
        for topic in &mut self.topics {
            topic.channels.sort_by_key(|channel| channel.name);
            // Only a channel that was deleted and made again between two parts is there twice.
            topic.channels.dedup_by(|next, channel| next.name == channel.name);
        }
        if !query.without_clients {
            self.place_clients();
        }
    }

    fn place_clients(&mut self) {
        for channel in self.topics.iter_mut().flat_map(|topic| &mut topic.channels) {
            channel.clients = Some(Vec::with_capacity(channel.client_count as usize));
        }
        for client in core::mem::take(&mut self.clients) {
            let channel = client.consumes.and_then(|(topic, channel)| {
                let at = self.topics.binary_search_by_key(&topic, |topic| topic.name).ok()?;
                self.topics[at].channel(&channel)
            });
            let consumers = channel.and_then(|channel| channel.clients.as_mut());
            match consumers {
                Some(consumers) if client.is_producer => {
                    consumers.push(client.clone());
                    self.producers.push(client);
                }
                Some(consumers) => consumers.push(client),
                None if client.is_producer => self.producers.push(client),
                // Its channel came or went between two parts.
                None => {}
            }
        }
    }
}

impl TopicStats {
    /// Takes in a later part of the same topic, whose numbers are newer.
    fn continue_with(&mut self, later: &mut TopicStats) {
        let mut channels = core::mem::take(&mut self.channels);
        channels.append(&mut later.channels);
        let timing = self.timing.take().or(later.timing.take());
        *self = TopicStats { channels, timing, ..later.clone() };
    }

    fn channel(&mut self, name: &crate::wire::names::Name) -> Option<&mut ChannelStats> {
        let at = self.channels.binary_search_by_key(name, |channel| channel.name).ok()?;
        Some(&mut self.channels[at])
    }
}

impl ClientLoad {
    /// Adds up.
    pub fn add(&mut self, other: ClientLoad) {
        let ClientLoad { consumers, producers, others, tls, snappy, deflate, .. } = other;
        let ClientLoad { paused, output_bytes, input_bytes, pending, .. } = other;
        self.consumers += consumers;
        self.producers += producers;
        self.others += others;
        self.tls += tls;
        self.snappy += snappy;
        self.deflate += deflate;
        self.paused += paused;
        self.output_bytes += output_bytes;
        self.input_bytes += input_bytes;
        self.pending += pending;
    }
}
