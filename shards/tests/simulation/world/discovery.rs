//! Lookup servers: what they are told, and which channels they know, late or never.

use std::collections::{BTreeMap, BTreeSet};

use shards::slots::Key;
use shards::stats::ShardStats;
use shards::wire::names::Name;

use super::{Canary, End, World, name};

/// See the module's text.
#[derive(Default)]
pub struct Lookup {
    /// Topics with their channels.
    registered: BTreeMap<Name, BTreeSet<Name>>,
    /// Questions that wait for an answer: worker, key, topic.
    questions: Vec<(usize, Key, Name)>,
}

impl World {
    /// Takes in what a worker tells lookup servers.
    pub(super) fn hear_discovery(&mut self, worker: usize) {
        let Some(news) = self.workers[worker].shard.take_discovery_news() else { return };
        for (topic, found) in news.topics {
            match found {
                Some(found) => {
                    let channels = found.channels.iter().map(|&(name, _)| name);
                    self.lookup.registered.insert(topic, channels.collect());
                }
                None if self.forgets(Canary::ForgetToUnregister) => {}
                None => {
                    self.lookup.registered.remove(&topic);
                }
            }
        }
        for (key, topic) in news.questions {
            self.ledger.waits(topic.as_str(), self.now.mono_ms);
            self.lookup.questions.push((worker, key, topic));
        }
    }

    /// Whether this canary sings now. It does once.
    fn forgets(&mut self, canary: Canary) -> bool {
        let forgets = self.settings.canary == Some(canary) && !self.canary_done;
        self.canary_done |= forgets;
        forgets
    }

    /// Answers some of a worker's questions, others later or never.
    pub(super) fn answer_questions(&mut self, worker: usize) {
        for index in (0..self.lookup.questions.len()).rev() {
            let (asker, key, topic) = self.lookup.questions[index];
            if asker != worker || self.calm {
                continue;
            }
            match self.random.below(100) {
                0..10 => {
                    self.lookup.questions.remove(index);
                    self.answer_question(worker, key, &topic);
                }
                10 => {
                    self.lookup.questions.remove(index);
                }
                _ => {}
            }
        }
    }

    fn answer_question(&mut self, worker: usize, key: Key, topic: &Name) {
        let lasting = |channel: &&str| !channel.ends_with("#ephemeral");
        let known: Vec<&str> = self.settings.channels.iter().copied().filter(lasting).collect();
        let mut found: Vec<&str> = Vec::new();
        for channel in known {
            if self.random.chance(50) {
                found.push(channel);
            }
        }
        let names: Vec<Name> = found.iter().map(|channel| name(channel)).collect();
        let made = match names.split_last() {
            Some((_, rest)) if self.forgets(Canary::ForgetChannel) => rest,
            _ => &names[..],
        };
        let shard = &mut self.workers[worker].shard;
        let waited = shard.channels_found(key, made);
        if waited && !self.forgets(Canary::StartTooSoon) {
            self.ledger.found(topic.as_str(), &found, self.now.mono_ms);
        }
        self.look(worker);
    }

    /// Topics of a worker whose time is over do not wait any more.
    pub(super) fn end_waits(&mut self, worker: usize) {
        let timeout_ms = self.settings.options.discovery_timeout_ms;
        let mine = |topic: &str| usize::from(self.placement.owner(&name(topic))) == worker;
        self.ledger.end_waits(mine, self.now.mono_ms, timeout_ms);
    }

    /// All shards are new ones: what the others asked is nobody's question any more.
    pub(super) fn rediscover(&mut self, end: End) {
        self.lookup = Lookup::default();
        self.ledger.forget_waits(end);
        for worker in 0..self.workers.len() {
            self.hear_discovery(worker);
        }
        self.ledger.end_old_waits();
    }

    /// At rest lookup servers know everything, and nothing else.
    pub(super) fn compare_registrations(&mut self, stats: &[ShardStats]) {
        for worker in 0..self.workers.len() {
            self.hear_discovery(worker);
        }
        let topics = stats.iter().flat_map(|stats| &stats.topics);
        let expected: BTreeMap<Name, BTreeSet<Name>> = topics
            .map(|topic| (topic.name, topic.channels.iter().map(|channel| channel.name).collect()))
            .collect();
        if self.lookup.registered != expected {
            let text = format!("registered: {:?}, not {expected:?}", self.lookup.registered);
            self.ledger.complain(text);
        }
        if self.settings.discovery && self.settings.ends.is_empty() {
            self.ledger.all_have_asked();
        }
    }
}
