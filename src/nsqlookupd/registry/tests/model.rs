//! The registry as the original has it: one map from keys to producers, searched for everything.

use std::collections::{BTreeMap, BTreeSet};

use super::{Now, SETTINGS};

type Key = (String, String);

#[derive(Clone, Default)]
struct Entry {
    tombstone_ns: Option<u64>,
}

/// Producers are their numbers. A topic is a key without a channel.
#[derive(Default)]
pub struct Model {
    seen_ns: BTreeMap<u16, u64>,
    topics: BTreeMap<String, BTreeMap<u16, Entry>>,
    channels: BTreeMap<Key, BTreeSet<u16>>,
}

impl Model {
    pub fn identify(&mut self, peer: u16, now: Now) {
        self.seen_ns.insert(peer, now.steady_ns);
    }

    pub fn ping(&mut self, peer: u16, now: Now) {
        self.seen_ns.insert(peer, now.steady_ns);
    }

    pub fn register(&mut self, peer: u16, topic: &str, channel: Option<&str>) {
        self.create(topic, channel);
        self.topics.get_mut(topic).unwrap().entry(peer).or_default();
        if let Some(channel) = channel {
            self.channels.get_mut(&key(topic, channel)).unwrap().insert(peer);
        }
    }

    pub fn create(&mut self, topic: &str, channel: Option<&str>) {
        self.topics.entry(topic.to_owned()).or_default();
        if let Some(channel) = channel {
            self.channels.entry(key(topic, channel)).or_default();
        }
    }

    pub fn unregister(&mut self, peer: u16, topic: &str, channel: Option<&str>) {
        if let Some(channel) = channel {
            let key = key(topic, channel);
            let Some(producers) = self.channels.get_mut(&key) else { return };
            producers.remove(&peer);
            if producers.is_empty() && channel.ends_with("#ephemeral") {
                self.channels.remove(&key);
            }
            return;
        }
        for ((of, _), producers) in &mut self.channels {
            if of == topic {
                producers.remove(&peer);
            }
        }
        let Some(producers) = self.topics.get_mut(topic) else { return };
        producers.remove(&peer);
        if producers.is_empty() && topic.ends_with("#ephemeral") {
            self.topics.remove(topic);
        }
    }

    pub fn disconnect(&mut self, peer: u16) {
        self.seen_ns.remove(&peer);
        self.topics.values_mut().for_each(|producers| _ = producers.remove(&peer));
        self.channels.values_mut().for_each(|producers| _ = producers.remove(&peer));
    }

    pub fn delete_topic(&mut self, topic: &str) {
        self.topics.remove(topic);
        self.channels.retain(|(of, _), _| of != topic);
    }

    pub fn delete_channel(&mut self, topic: &str, channel: &str) -> bool {
        self.channels.remove(&key(topic, channel)).is_some()
    }

    pub fn tombstone(&mut self, topic: &str, peer: u16, now: Now) {
        let entry = self.topics.get_mut(topic).and_then(|producers| producers.get_mut(&peer));
        if let Some(entry) = entry {
            entry.tombstone_ns = Some(now.steady_ns);
        }
    }

    /// Channels and producers of a topic, sorted; `None` when there is no such topic.
    pub fn lookup(&self, topic: &str, now: Now) -> Option<(Vec<String>, Vec<u16>)> {
        let producers = self.topics.get(topic)?.iter();
        let shown =
            producers.filter(|(peer, entry)| self.is_active(**peer, now) && !is_hidden(entry, now));
        Some((self.channels_of(topic), shown.map(|(&peer, _)| peer).collect()))
    }

    pub fn channels_of(&self, topic: &str) -> Vec<String> {
        let of = self.channels.keys().filter(|(of, _)| of == topic);
        of.map(|(_, channel)| channel.clone()).collect()
    }

    pub fn topics(&self) -> Vec<String> {
        self.topics.keys().cloned().collect()
    }

    /// Active producers, each with its topics and whether it is hidden there.
    pub fn nodes(&self, now: Now) -> Vec<(u16, Vec<(String, bool)>)> {
        let active = self.seen_ns.keys().filter(|peer| self.is_active(**peer, now));
        let topics = |peer: &u16| {
            let of = self.topics.iter().filter_map(|(topic, producers)| {
                Some((topic.clone(), is_hidden(producers.get(peer)?, now)))
            });
            of.collect()
        };
        active.map(|peer| (*peer, topics(peer))).collect()
    }

    /// Producers, topics, channels, keys and entries, tombstones.
    pub fn counts(&self, now: Now) -> [usize; 5] {
        let entries = || self.topics.values().flatten();
        let of_channels: usize = self.channels.values().map(BTreeSet::len).sum();
        let keys = self.topics.len() + self.channels.len();
        let tombstones = entries().filter(|(_, entry)| is_hidden(entry, now)).count();
        let registrations = keys + of_channels + entries().count();
        [self.seen_ns.len(), self.topics.len(), self.channels.len(), registrations, tombstones]
    }

    fn is_active(&self, peer: u16, now: Now) -> bool {
        now.steady_ns - self.seen_ns[&peer] <= SETTINGS.inactive_after_ns
    }
}

fn is_hidden(entry: &Entry, now: Now) -> bool {
    entry.tombstone_ns.is_some_and(|set_ns| now.steady_ns - set_ns < SETTINGS.tombstone_ns)
}

fn key(topic: &str, channel: &str) -> Key {
    (topic.to_owned(), channel.to_owned())
}
