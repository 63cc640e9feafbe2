//! Random operations on the registry and on the model; both have to tell the same afterwards.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::Model;
use super::{PeerKey, Registry, RegistrySettings, SECOND, SETTINGS, at, info};

const TOPICS: [&str; 5] = ["a", "b", "c", "d#ephemeral", "e#ephemeral"];
const CHANNELS: [&str; 3] = ["x", "y", "z#ephemeral"];
const OPERATIONS: usize = 600;

/// A small generator: the same seed, the same run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn channel(&mut self) -> Option<&'static str> {
        (self.below(3) > 0).then(|| self.of(&CHANNELS))
    }
}

struct World {
    random: Random,
    registry: Registry,
    model: Model,
    connected: BTreeMap<u16, PeerKey>,
    seconds: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let settings = RegistrySettings { registrations_max: usize::MAX, ..SETTINGS };
        World {
            random: Random(seed),
            registry: Registry::new(settings, 1),
            model: Model::default(),
            connected: BTreeMap::new(),
            seconds: 0,
        }
    }

    fn operate(&mut self) {
        let topic = self.random.of(&TOPICS);
        let channel = self.random.channel();
        let peer = 1 + self.random.below(6) as u16;
        let now = at(self.seconds);
        let connected = self.connected.get(&peer).copied();
        match (self.random.below(14), connected) {
            (0, _) => self.seconds += self.random.below(40) as u64,
            (1, _) => {
                self.registry.create(topic, channel).unwrap();
                self.model.create(topic, channel);
            }
            (2, _) => {
                self.registry.tombstone(topic, &format!("host:{peer}"), now);
                self.model.tombstone(topic, peer, now);
            }
            (3, _) if self.random.below(3) == 0 => {
                let known = self.model.topics().contains(&topic.to_owned());
                let deleted = self.registry.delete_topic(topic);
                assert_eq!(deleted.is_some_and(|deleted| deleted.topic), known);
                self.model.delete_topic(topic);
            }
            (4, _) => {
                let channel = channel.unwrap_or("x");
                let deleted = self.registry.delete_channel(topic, channel);
                assert_eq!(deleted, self.model.delete_channel(topic, channel));
            }
            (_, None) => {
                self.connected.insert(peer, self.registry.identify(info(peer), now));
                self.model.identify(peer, now);
            }
            (5, Some(key)) if self.random.below(4) == 0 => {
                self.registry.disconnect(key);
                self.model.disconnect(peer);
                self.connected.remove(&peer);
            }
            (6, Some(key)) => {
                self.registry.ping(key, now);
                self.model.ping(peer, now);
            }
            (7 | 8, Some(key)) => {
                self.registry.unregister(key, topic, channel);
                self.model.unregister(peer, topic, channel);
            }
            (_, Some(key)) => {
                self.registry.register(key, topic, channel).unwrap();
                self.model.register(peer, topic, channel);
            }
        }
    }

    /// What consumers of each topic are told.
    fn told(&self) -> Vec<Option<Vec<u16>>> {
        let now = at(self.seconds);
        let lookup = |topic: &&str| self.model.lookup(topic, now).map(|(_, producers)| producers);
        TOPICS.iter().map(lookup).collect()
    }

    fn compare(&mut self) {
        let now = at(self.seconds);
        self.registry.advance(now);
        for topic in TOPICS {
            let said = self.registry.lookup(topic, now).map(|json| {
                let json: Value = serde_json::from_str(&json).unwrap();
                let ports = numbers(&json["producers"]);
                (texts(&json["channels"]), ports)
            });
            assert_eq!(said, self.model.lookup(topic, now), "{topic}");
            let json: Value = serde_json::from_str(&self.registry.channels(topic)).unwrap();
            assert_eq!(texts(&json["channels"]), self.model.channels_of(topic), "{topic}");
        }
        let json: Value = serde_json::from_str(&self.registry.topics()).unwrap();
        assert_eq!(texts(&json["topics"]), self.model.topics());
        let json: Value = serde_json::from_str(&self.registry.nodes(now)).unwrap();
        assert_eq!(nodes(&json), self.model.nodes(now));
        let counts = self.registry.counts();
        assert_eq!(
            [
                counts.producers,
                counts.topics,
                counts.channels,
                counts.registrations,
                counts.tombstones
            ],
            self.model.counts(now)
        );
        let shown = self.model.nodes(now).len();
        assert_eq!(counts.producers - counts.inactive, shown);
    }
}

fn texts(array: &Value) -> Vec<String> {
    let texts = array.as_array().unwrap().iter();
    let mut texts: Vec<_> = texts.map(|text| text.as_str().unwrap().to_owned()).collect();
    texts.sort();
    texts
}

/// The producers' numbers, which are their HTTP ports.
fn numbers(producers: &Value) -> Vec<u16> {
    let producers = producers.as_array().unwrap().iter();
    let mut ports: Vec<_> = producers.map(number).collect();
    ports.sort_unstable();
    ports
}

fn number(producer: &Value) -> u16 {
    producer["http_port"].as_u64().unwrap() as u16
}

fn nodes(json: &Value) -> Vec<(u16, Vec<(String, bool)>)> {
    let nodes = json["producers"].as_array().unwrap().iter();
    let mut nodes: Vec<_> = nodes
        .map(|node| {
            let names = node["topics"].as_array().unwrap().iter();
            let names = names.map(|name| name.as_str().unwrap().to_owned());
            let flags = node["tombstones"].as_array().unwrap().iter();
            let mut topics: Vec<_> = names.zip(flags.map(|flag| flag.as_bool().unwrap())).collect();
            topics.sort();
            (number(node), topics)
        })
        .collect();
    nodes.sort();
    nodes
}

#[test]
fn the_registry_tells_what_the_model_tells() {
    for seed in 1_u64..=5 {
        let mut world = World::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut told = world.told();
        let mut indexes = TOPICS.map(|topic| world.registry.index_of(topic));
        for _ in 0..OPERATIONS {
            TOPICS.iter().for_each(|topic| world.registry.watch(topic));
            world.operate();
            world.compare();
            let (now_told, before) = (world.told(), indexes);
            indexes = TOPICS.map(|topic| world.registry.index_of(topic));
            let changed = world.registry.take_changed();
            for (number, topic) in TOPICS.iter().enumerate() {
                let same = indexes[number] == before[number];
                // Whoever waits must not sleep through a change.
                assert!(!same || now_told[number] == told[number], "{topic} changed unnoticed");
                assert!(same || changed.iter().any(|name| **name == **topic), "{topic} untold");
                assert_eq!(indexes[number] == 0, now_told[number].is_none());
            }
            told = now_told;
        }
        let ended = world.seconds * SECOND;
        assert!(ended > 2 * SETTINGS.inactive_after_ns, "time has passed in the world of {seed}");
    }
}
