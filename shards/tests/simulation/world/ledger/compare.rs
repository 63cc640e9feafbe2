//! What shards say of themselves, beside what the ledger knows. Only when nothing is under way.

use std::collections::HashSet;

use shards::stats::{ChannelStats, ShardStats, TopicStats};

use super::{Channel, Expected, Ledger, State};

/// How many messages of a channel are where.
#[derive(Debug, Default, PartialEq)]
struct Counts {
    waiting: u64,
    in_flight: u64,
    deferred: u64,
    /// Waiting or deferred, or not there at all.
    unsure: u64,
    /// In flight, unless they were lost.
    perhaps_in_flight: u64,
}

/// What may be back from among the dead, and nobody has seen it yet.
#[derive(Clone, Copy)]
struct Back {
    /// How often each of those that belong there. An end leaves two of one at times.
    times: u64,
    /// What may have come to the wrong channel.
    strays: u64,
    /// The power goes now and then.
    torn: bool,
}

impl Ledger {
    /// Compares everything. The statistics are those of all workers.
    pub fn compare(&mut self, stats: &[ShardStats], now_ms: u64) {
        self.now_ms = now_ms;
        self.everything_is_answered();
        for index in 0..self.topics.len() {
            let name = self.topic_names[index];
            let mut found = stats.iter().flat_map(|shard| &shard.topics);
            let found = found.find(|topic| topic.name.as_str() == name);
            self.compare_topic(index, found);
        }
        self.rested = self.tick;
    }

    fn everything_is_answered(&mut self) {
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if client.ended {
                self.nobody_was_told(index);
                continue;
            }
            let lost = client.expected.iter().find(|expected| !is_silent(expected));
            if let Some(lost) = lost {
                let text = format!("connection {index} was never answered: {lost:?}");
                self.complain(text);
            }
            self.clients[index].expected.clear();
        }
    }

    fn compare_topic(&mut self, index: usize, found: Option<&TopicStats>) {
        let (now_ms, name) = (self.now_ms, self.topic_names[index]);
        let Some(found) = found else { return self.is_missing(index) };
        // They may have made the topic, too.
        self.queue_stragglers(index);
        let Some(topic) = self.topics[index].as_mut() else {
            return self.complain(format!("topic {name} exists"));
        };
        topic.doubtful = false;
        let mut complaints = Vec::new();
        let most = topic.held.len() as u64;
        let sure = topic.held.values().filter(|unsure| !**unsure).count() as u64;
        let least =
            if self.bounds.topic_drops() || name.ends_with("#ephemeral") { 0 } else { sure };
        if !(least..=most).contains(&found.depth) {
            complaints.push(format!("topic {name} holds {}, not {least} to {most}", found.depth));
        }
        // Of an ephemeral topic sure ones may be gone, and unsure ones be there instead.
        if found.depth == least && least == sure {
            // What is damaged counts again after a restart, until it is read.
            let damaged = &self.damaged;
            topic.held.retain(|number, unsure| !*unsure || damaged.contains(number));
        }
        if topic.paused != found.paused {
            complaints.push(format!("topic {name}: paused is {}", found.paused));
        }
        let channel_names = &self.channel_names;
        let torn = self.torn;
        let times = u64::from(self.redrives) * if self.ends { 3 } else { 1 };
        let first = topic.channels.get(&0).filter(|_| self.redrives && self.torn);
        let strays = first.map_or(0, Channel::may_have_died);
        for &channel in topic.channels.keys() {
            let name = channel_names[channel];
            if !found.channels.iter().any(|stats| stats.name.as_str() == name) {
                complaints.push(format!("channel {}/{name} is gone", found.name));
            }
        }
        for stats in &found.channels {
            let position = channel_names.iter().position(|&name| name == stats.name.as_str());
            let entry = position.and_then(|position| topic.channels.get_mut(&position));
            match entry {
                Some(entry) => {
                    let before = complaints.len();
                    let back = Back { times, strays, torn };
                    entry.compare(stats, now_ms, (&self.damaged, back), &mut complaints);
                    complaints.extend(entry.compare_bounds(stats, &self.bounds, found.depth));
                    for complaint in &mut complaints[before..] {
                        *complaint = format!("{}/{}: {complaint}", found.name, stats.name);
                    }
                }
                None => complaints.push(format!("channel {}/{} exists", found.name, stats.name)),
            }
        }
        complaints.into_iter().for_each(|complaint| self.complain(complaint));
    }

    /// Messages that must still come, or may, to some channel; and held by topics.
    pub fn outstanding(&self) -> usize {
        let topics = self.topics.iter().flatten();
        topics
            .map(|topic| {
                let live = topic.channels.values().flat_map(|channel| channel.live.values());
                live.filter(|entry| !entry.unsure).count()
            })
            .sum()
    }

    /// Messages that are dead letters.
    pub fn dead_letters(&self) -> usize {
        let channels = self.topics.iter().flatten().flat_map(|topic| topic.channels.values());
        channels.map(|channel| channel.dead.len()).sum()
    }

    /// Whether somebody is certainly still to get a message.
    pub fn is_wanted(&self, number: u32) -> bool {
        let topics = self.topics.iter().flatten();
        let mut channels = topics.clone().flat_map(|topic| topic.channels.values());
        channels.any(|channel| channel.live.get(&number).is_some_and(|entry| !entry.unsure))
            || topics.clone().any(|topic| topic.held.get(&number) == Some(&false))
    }

    /// Whether a message was finished on the channel of a client just now.
    pub fn is_finished(&self, index: usize, id: &[u8; 16]) -> bool {
        let last = self.clients[index].expected.back();
        matches!(last, Some(Expected::Answer { verb: "FIN", id: last, fails: false }) if last == id)
    }

    /// Whether a client was told that it has subscribed.
    pub fn is_subscribed(&self, index: usize) -> bool {
        self.clients[index].subscription.is_some()
    }
}

/// Whether a command is not answered when all is well.
fn is_silent(expected: &Expected) -> bool {
    matches!(expected, Expected::Answer { fails: false, .. } | Expected::Perhaps { .. })
}

impl Channel {
    fn compare(
        &mut self,
        stats: &ChannelStats,
        now_ms: u64,
        (damaged, back): (&HashSet<u32>, Back),
        complaints: &mut Vec<String>,
    ) {
        self.bury(now_ms);
        let mut counts = self.counts(now_ms, damaged);
        counts.unsure += back.strays;
        counts.unsure += back.times * (self.dead.len() + self.died.len()) as u64;
        let Counts { waiting, in_flight, deferred, unsure, perhaps_in_flight } = counts;
        let mut check = |what: &str, is: u64, least: u64, most: u64| {
            if !(least..=most).contains(&is) {
                complaints.push(format!("{what} is {is}, not {least} to {most}"));
            }
        };
        check("in_flight", stats.in_flight_count, in_flight, in_flight + perhaps_in_flight);
        check("depth", stats.depth, waiting, waiting + unsure);
        check("deferred", stats.deferred_count, deferred, deferred + unsure);
        check("paused", stats.paused.into(), self.paused.into(), self.paused.into());
        let there = stats.depth + stats.deferred_count + stats.in_flight_count;
        check("on their way to another topic", stats.dead_lettering_count, 0, 0);
        let known = waiting + deferred + in_flight;
        check("all of it", there, known, known + unsure + perhaps_in_flight);
        let clients = self.consumers.len() as u64;
        check("clients", stats.client_count, clients, clients);
        let gone = stats.message_count as i64
            - (there + self.finished.len() as u64 + stats.dropped.total()) as i64
            - stats.dead_letters.total() as i64;
        if !self.lossy {
            match self.emptied {
                _ if self.shaky => {}
                Some(emptied) if emptied != gone => {
                    complaints.push(format!("emptied is {gone}, not {emptied}"));
                }
                Some(_) => {}
                None => self.emptied = Some(gone),
            }
        }
        // When the power goes, what was dropped may be back.
        let comes_back = self.buries || self.drops && back.torn;
        if there == known && !comes_back {
            self.live.retain(|_, entry| {
                let in_flight = |until_ms| until_ms > now_ms;
                let state = &entry.state;
                !entry.unsure
                    || matches!(state, State::InFlight { until_ms, .. } if in_flight(*until_ms))
            });
        }
        for client in stats.clients.iter().flatten() {
            let free = client.in_flight_count < client.ready_count;
            if stats.depth > 0 && !stats.paused && free {
                complaints.push(format!("{} wait though a consumer is ready", stats.depth));
            }
        }
    }

    fn counts(&self, now_ms: u64, damaged: &HashSet<u32>) -> Counts {
        let mut counts = Counts::default();
        for (number, entry) in &self.live {
            match entry.state {
                State::InFlight { until_ms, .. }
                    if until_ms > now_ms && damaged.contains(number) =>
                {
                    counts.perhaps_in_flight += 1;
                }
                State::InFlight { until_ms, .. } if until_ms > now_ms => counts.in_flight += 1,
                _ if entry.unsure => counts.unsure += 1,
                State::Deferred(first_ms, _) if first_ms > now_ms => counts.deferred += 1,
                _ if self.may_bury(entry, now_ms) => counts.unsure += 1,
                // It may have been handed over later than the ledger can tell.
                State::Deferred(_, last_ms) if last_ms > now_ms => counts.unsure += 1,
                _ => counts.waiting += 1,
            }
        }
        counts
    }
}
