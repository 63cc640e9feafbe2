//! Where messages are: held by their topic, or on its channels.

use super::super::disk::Fact;

use super::beyond::Seen;
use super::{Channel, Entry, Ledger, Outcome, Published, State, Topic};

impl Published {
    /// The tick since which it may be on its topic.
    pub(super) fn since(&self) -> u64 {
        self.handed.map_or(0, |(turn, _)| turn)
    }

    /// On a channel that it came to by this time, if that is known, but not before it was handed
    /// in.
    fn entry(&self, now_ms: Option<u64>, unsure: bool) -> Entry {
        let handed_ms = self.handed.map_or(0, |(_, ms)| ms);
        let state = match (self.delay_ms, now_ms) {
            (0, _) => State::Waiting,
            (ms, Some(now_ms)) => State::Deferred(handed_ms + ms + 1, now_ms + ms + 1),
            (ms, None) => State::Deferred(handed_ms + ms + 1, u64::MAX),
        };
        Entry { state, attempts: 0, unsure, loose: false }
    }
}

impl Ledger {
    /// A publish was answered, or will not be.
    pub(super) fn conclude(&mut self, first: u32, count: u32, outcome: Outcome) {
        for number in first..first + count {
            let message = &mut self.messages[number as usize];
            message.outcome = outcome;
            match outcome {
                Outcome::Acknowledged => self.queue(number, true),
                // It may have made its topic all the same.
                Outcome::Refused => {
                    let doubtful = Topic { doubtful: true, ..Topic::default() };
                    self.topics[message.topic].get_or_insert(doubtful);
                }
                Outcome::Open | Outcome::Unknown => self.queue(number, false),
            }
        }
    }

    /// Publishes for this topic reach its owner in a letter: from now on they are there, and the
    /// topic too. Who is to be told hears of it later.
    pub fn reached(&mut self, topic: &str, mut messages: &[u8], now_ms: u64) {
        self.now_ms = now_ms;
        let Some(topic) = self.find_topic(topic) else { return };
        // It is made when there is room for the publish.
        let patient = self.patient;
        let made = || Topic { doubtful: patient, ..Topic::default() };
        let topic = self.topics[topic].get_or_insert_with(made);
        topic.doubtful &= patient;
        while let Some((length, rest)) = messages.split_first_chunk() {
            let (body, behind) = rest.split_at(u32::from_be_bytes(*length) as usize);
            messages = behind;
            let number = body.first_chunk().map_or(u32::MAX, |raw| u32::from_be_bytes(*raw));
            let Some(message) = self.messages.get_mut(number as usize) else { continue };
            message.handed = Some((self.tick, now_ms));
            if message.outcome == Outcome::Unknown {
                self.queue(number, false);
            }
        }
    }

    /// A message is on its topic: its channels have it if it flows, else the topic holds it.
    /// Where the topic changed since the message was handed in, either is possible.
    pub(super) fn queue(&mut self, number: u32, sure: bool) {
        let message = &self.messages[number as usize];
        let since = message.since();
        let deleted = self.deleted[message.topic] >= since;
        let made = || Topic { doubtful: deleted || !sure, ..Topic::default() };
        let topic = self.topics[message.topic].get_or_insert_with(made);
        let damaged = self.damaged.contains(&number);
        let drops = self.bounds.topic_drops();
        let unsure = !sure || deleted || damaged || drops || topic.disturbed >= since;
        let flows = topic.flows();
        if !flows {
            topic.held.insert(number, unsure);
        }
        if flows || unsure {
            let late = |channel: &Channel| channel.created.max(channel.disturbed) >= since;
            self.give(number, |channel| unsure || late(channel));
        }
    }

    /// Gives what a topic holds to its channels, when it flows.
    pub(super) fn hand_over(&mut self, topic: usize) {
        let Some(entry) = self.topics[topic].as_mut() else { return };
        if !entry.flows() {
            return;
        }
        for (number, unsure) in std::mem::take(&mut entry.held) {
            self.give(number, |_| unsure);
        }
    }

    /// Gives a message to the channels of its topic that have not had it.
    fn give(&mut self, number: u32, unsure: impl Fn(&Channel) -> bool) {
        let message = &self.messages[number as usize];
        // Who waits for the disk is told before its messages are given to channels.
        let now_ms = (!self.patient).then_some(self.now_ms);
        let ephemeral = self.topic_names[message.topic].ends_with("#ephemeral");
        let Some(topic) = self.topics[message.topic].as_mut() else { return };
        for channel in topic.channels.values_mut() {
            if channel.finished.contains(&number) {
                continue;
            }
            let unsure = unsure(channel) || channel.lossy || channel.drops || ephemeral;
            let entry = message.entry(now_ms, unsure);
            channel.live.entry(number).or_insert(entry);
        }
    }

    /// A channel is there from now on. The first one gets what its topic holds.
    pub fn create_channel(&mut self, topic: usize, channel: usize) {
        let drops = self.bounds.drops(channel);
        let lossy = self.channel_names[channel].ends_with("#ephemeral")
            || self.topic_names[topic].ends_with("#ephemeral");
        let entry = self.topics[topic].get_or_insert_default();
        entry.doubtful = false;
        if entry.channels.contains_key(&channel) {
            return;
        }
        let created = self.tick;
        let shaky = !self.damaged.is_empty();
        let attempts_max = if channel == 0 { self.attempts_max } else { 0 };
        let made = Channel {
            created,
            lossy,
            emptied: Some(0),
            shaky,
            attempts_max,
            limit: self.bounds.of(channel),
            buries: self.bounds.buries(channel),
            drops,
            seen: Some(Seen::default()),
            ..Channel::default()
        };
        entry.channels.insert(channel, made);
        self.unwritten.push(Fact::Channel(topic, channel));
        self.give_stragglers(topic);
        // When it is not the first one, nothing is held, or it is held on.
        self.hand_over(topic);
    }

    /// Messages of a topic of which nobody was told, and that may still wait for the disk.
    pub(super) fn stragglers(&self, topic: usize) -> impl Iterator<Item = u32> {
        let straggles = move |message: &Published| {
            self.patient
                && message.topic == topic
                && message.outcome == Outcome::Unknown
                && message.since() >= self.rested
        };
        let numbered = (0..).zip(&self.messages);
        numbered.filter(move |(_, message)| straggles(message)).map(|(number, _)| number)
    }

    /// They come to new channels too.
    fn give_stragglers(&mut self, topic: usize) {
        for number in self.stragglers(topic).collect::<Vec<u32>>() {
            self.give(number, |_| true);
        }
    }

    /// They may come behind everything else.
    pub(super) fn queue_stragglers(&mut self, topic: usize) {
        for number in self.stragglers(topic).collect::<Vec<u32>>() {
            self.queue(number, false);
        }
    }

    /// A client was told that it has subscribed.
    pub(super) fn subscribed(&mut self, index: usize, topic: usize, channel: usize) {
        self.create_channel(topic, channel);
        let sample = self.clients[index].sample;
        self.clients[index].subscription = Some((topic, channel));
        if let Some(channel) = self.channel_mut(topic, channel) {
            channel.consumers.push(index);
            if sample {
                channel.lossy = true;
                channel.live.values_mut().for_each(|entry| entry.unsure = true);
            }
        }
    }

    /// Whether a topic certainly keeps something from its channels.
    pub fn holds(&self, topic: usize) -> bool {
        self.topics[topic].as_ref().is_some_and(|topic| topic.held.values().any(|unsure| !unsure))
    }

    pub(super) fn channel_mut(&mut self, topic: usize, channel: usize) -> Option<&mut Channel> {
        self.topics[topic].as_mut()?.channels.get_mut(&channel)
    }

    /// A channel is gone. An ephemeral topic goes with its last one.
    pub(super) fn delete_channel(&mut self, topic: usize, channel: usize) {
        let turn = self.tick;
        let Some(entry) = self.topics[topic].as_mut() else { return };
        entry.channels.remove(&channel);
        if !entry.channels.is_empty() {
            return;
        }
        // What is under way went with it, or is held.
        entry.disturbed = turn;
        if self.topic_names[topic].ends_with("#ephemeral") {
            return self.delete_topic(topic);
        }
        self.queue_stragglers(topic);
    }

    pub(super) fn delete_topic(&mut self, topic: usize) {
        self.topics[topic] = None;
        self.deleted[topic] = self.tick;
    }
}
