//! What a metadata file would hold, beside what the shards say of themselves.

use std::collections::BTreeMap;

use shards::metadata::{ChannelMetadata, TopicMetadata};
use shards::policy::Policy;
use shards::stats::{ShardStats, TopicStats};
use shards::wire::names::Name;

use super::World;

/// The topics that were written down.
pub type Written = BTreeMap<Name, TopicMetadata>;

impl World {
    /// Writes down, sooner or later, what changed on a worker.
    pub fn write_metadata(&mut self, worker: usize) {
        if self.calm || self.steps.is_multiple_of(3) {
            self.write_down_metadata(worker);
        }
    }

    /// Writes down what changed on a worker.
    pub fn write_down_metadata(&mut self, worker: usize) {
        let shard = &mut self.workers[worker].shard;
        let Some(changes) = shard.take_metadata_changes() else { return };
        for (name, topic) in changes.topics {
            match topic {
                Some(topic) => self.written.insert(name, topic),
                None => self.written.remove(&name),
            };
        }
    }

    /// At rest everything that lasts is written down, and nothing else.
    pub fn compare_metadata(&mut self, stats: &[ShardStats]) {
        let topics = stats.iter().flat_map(|stats| &stats.topics);
        let lasting = topics.filter(|topic| !topic.name.is_ephemeral());
        let expected: Written = lasting.map(|topic| (topic.name, expected(topic))).collect();
        for topic in self.written.values_mut() {
            topic.channels.sort_unstable_by_key(|channel| channel.name);
        }
        let mut written = self.written.clone();
        for topic in written.values_mut() {
            // The statistics say nothing of policies.
            topic.policy = Policy::default();
            topic.channels.iter_mut().for_each(|channel| channel.policy = Policy::default());
        }
        if written != expected {
            let text = format!("written down: {:?}, not {expected:?}", self.written);
            self.ledger.complain(text);
        }
    }
}

fn expected(topic: &TopicStats) -> TopicMetadata {
    let lasting = topic.channels.iter().filter(|channel| !channel.name.is_ephemeral());
    let mut channels: Vec<_> =
        lasting.map(|channel| ChannelMetadata::new(channel.name, channel.paused)).collect();
    channels.sort_unstable_by_key(|channel| channel.name);
    TopicMetadata { paused: topic.paused, channels, ..TopicMetadata::new(topic.name) }
}
