//! A broker as its files see it, beside what it should remember.

use std::collections::{BTreeMap, BTreeSet};

use shards::disk::Role;
use shards::journal::entry;
use shards::journal::state::{ChannelState, Outstanding, Range, TopicState};
use shards::metadata::{ChannelMetadata, TopicMetadata};
use shards::recover::Recovered;
use shards::sequences::SequenceSet;
use shards::wire::names::Name;

use super::disk::{Disk, Message, name};
use super::view::{TopicTruth, Truth, records};

/// How far apart the topics' sequence numbers are.
const FIRST: u64 = 1000;

#[derive(Clone, Debug, Default)]
pub struct Topic {
    pub messages: BTreeMap<u64, Message>,
    pub head: u64,
    pub handed: u64,
    pub paused: bool,
    pub channels: BTreeMap<Name, Channel>,
    /// In which files each message is.
    pub files: BTreeMap<u64, BTreeSet<u32>>,
}

#[derive(Clone, Debug, Default)]
pub struct Channel {
    pub cursor: u64,
    pub skips: Vec<Range>,
    pub live: BTreeMap<u64, Live>,
}

/// A message that a channel has not finished.
#[derive(Clone, Copy, Debug, Default)]
pub struct Live {
    pub outstanding: bool,
    pub attempts: u16,
    pub due_ms: u64,
    /// Attempts and due time as the files have them.
    pub noted: (u16, u64),
}

#[derive(Clone, Debug)]
pub struct World {
    pub disk: Disk,
    pub topics: BTreeMap<Name, Topic>,
    pub floors: BTreeMap<Name, u64>,
    pub journals: Vec<u32>,
    pub store: u32,
    pub now_ms: u64,
}

impl Topic {
    pub fn flows(&self) -> bool {
        !self.paused && !self.channels.is_empty()
    }

    pub fn state(&self) -> TopicState {
        TopicState { handed: (!self.flows()).then_some(self.handed), head: self.head }
    }

    /// Whether anybody wants the message.
    pub fn wants(&self, sequence: u64) -> bool {
        sequence >= self.handed && self.messages.contains_key(&sequence)
            || self.channels.values().any(|channel| channel.live.contains_key(&sequence))
    }

    fn hand_over(&mut self) {
        if !self.flows() {
            return;
        }
        for (&sequence, message) in self.messages.range(self.handed..) {
            let due_ms = message.due_ms();
            let (outstanding, noted) = (due_ms > 0, (0, due_ms));
            for channel in self.channels.values_mut() {
                channel.live.insert(sequence, Live { outstanding, attempts: 0, due_ms, noted });
            }
        }
        self.handed = self.head;
    }
}

impl World {
    pub fn new(shards: usize) -> World {
        let disk = Disk { generation: 1, ..Disk::default() };
        let (topics, floors) = (BTreeMap::new(), BTreeMap::new());
        let mut world = World {
            disk,
            topics,
            floors,
            journals: Vec::new(),
            store: 0,
            now_ms: 1_800_000_000_000,
        };
        world.open_files(shards);
        world
    }

    pub fn open_files(&mut self, shards: usize) {
        let floor = self.floors.values().copied().max().unwrap_or(0);
        let open = |shard| self.disk.open(Role::Journal, shard as u16, floor);
        self.journals = (0..shards).map(open).collect();
        self.store = self.disk.open(Role::Store, 0, floor);
    }

    pub fn shard_of(&self, topic: &Name) -> usize {
        topic.as_bytes().iter().map(|&byte| usize::from(byte)).sum::<usize>() % self.journals.len()
    }

    pub fn journal_of(&self, topic: &Name) -> u32 {
        self.journals[self.shard_of(topic)]
    }

    pub fn roll(&mut self, shard: usize) {
        let floor = self.floors.values().copied().max().unwrap_or(0);
        self.journals[shard] = self.disk.open(Role::Journal, shard as u16, floor);
    }

    fn log(&mut self, topic: &Name, write: impl FnOnce(&mut Vec<u8>)) {
        let file = self.journal_of(topic);
        self.disk.append(file, write);
    }

    pub fn create_topic(&mut self, topic: Name) {
        if self.topics.contains_key(&topic) {
            return;
        }
        let head = self.floors.get(&topic).copied().unwrap_or(FIRST);
        let created = Topic { head, handed: head, ..Topic::default() };
        let state = created.state();
        self.topics.insert(topic, created);
        self.log(&topic, |out| entry::topic(out, &topic, &state));
    }

    pub fn delete_topic(&mut self, topic: Name) {
        let Some(gone) = self.topics.remove(&topic) else { return };
        self.floors.insert(topic, gone.head);
        self.log(&topic, |out| entry::topic_deleted(out, &topic, gone.head));
    }

    /// Publishes in one turn: body lengths and delays.
    pub fn publish(&mut self, topic: Name, messages: &[(usize, u64)]) {
        self.create_topic(topic);
        self.now_ms += 1000;
        let (file, published_ms) = (self.journal_of(&topic), self.now_ms);
        let to = self.topics.get_mut(&topic).unwrap();
        let mut run = Vec::new();
        for &(length, delay_ms) in messages {
            let sequence = to.head;
            let mut body = format!("{topic} {sequence} ").into_bytes();
            body.resize(body.len() + length, b'.');
            run.push(Message { sequence, published_ms, delay_ms, body });
            to.files.entry(sequence).or_default().insert(file);
            to.head += 1;
        }
        self.disk.append_run(file, topic, &run.iter().collect::<Vec<_>>());
        to.messages.extend(run.into_iter().map(|message| (message.sequence, message)));
        to.hand_over();
    }

    pub fn create_channel(&mut self, topic: Name, channel: Name) {
        self.create_topic(topic);
        let to = self.topics.get_mut(&topic).unwrap();
        if to.channels.contains_key(&channel) {
            return;
        }
        let state = ChannelState { cursor: to.handed, ..ChannelState::default() };
        to.channels.insert(channel, Channel { cursor: to.handed, ..Channel::default() });
        to.hand_over();
        let topic_state = to.state();
        self.log(&topic, |out| {
            entry::channel(out, &topic, &channel, &state);
            entry::topic(out, &topic, &topic_state);
        });
    }

    pub fn delete_channel(&mut self, topic: Name, channel: Name) {
        let Some(from) = self.topics.get_mut(&topic) else { return };
        if from.channels.remove(&channel).is_none() {
            return;
        }
        let state = from.state();
        self.log(&topic, |out| {
            entry::channel_deleted(out, &topic, &channel);
            entry::topic(out, &topic, &state);
        });
    }

    pub fn pause(&mut self, topic: Name) {
        let Some(paused) = self.topics.get_mut(&topic) else { return };
        paused.paused = !paused.paused;
        paused.hand_over();
        let state = paused.state();
        self.log(&topic, |out| entry::topic(out, &topic, &state));
    }

    /// Drops what no channel has been given.
    pub fn empty_topic(&mut self, topic: Name) {
        let Some(emptied) = self.topics.get_mut(&topic) else { return };
        if emptied.handed == emptied.head {
            return;
        }
        let skip = Range { first: emptied.handed, last: emptied.head - 1 };
        emptied.handed = emptied.head;
        for channel in emptied.channels.values_mut() {
            match channel.skips.last_mut() {
                _ if channel.cursor == skip.first => channel.cursor = skip.last + 1,
                Some(last) if last.last + 1 == skip.first => last.last = skip.last,
                _ => channel.skips.push(skip),
            }
        }
        self.snapshot(topic);
    }

    pub fn empty_channel(&mut self, topic: Name, channel: Name) {
        let Some(of) = self.topics.get_mut(&topic) else { return };
        let handed = of.handed;
        let Some(emptied) = of.channels.get_mut(&channel) else { return };
        *emptied = Channel { cursor: handed, ..Channel::default() };
        let state = emptied.snapshot(&BTreeMap::new());
        self.log(&topic, |out| entry::channel(out, &topic, &channel, &state));
    }

    fn channel(&mut self, topic: &Name, channel: &Name) -> Option<&mut Channel> {
        self.topics.get_mut(topic)?.channels.get_mut(channel)
    }

    /// Gives messages to consumers: nothing is written about that.
    pub fn deliver(&mut self, topic: Name, channel: Name, count: usize) {
        let Some(channel) = self.channel(&topic, &channel) else { return };
        let cursor = channel.cursor;
        let ahead = channel.live.range_mut(cursor..).filter(|(_, live)| !live.outstanding);
        for (&sequence, live) in ahead.take(count) {
            *live = Live { outstanding: true, attempts: 1, due_ms: 0, noted: live.noted };
            channel.cursor = sequence + 1;
        }
        let cursor = channel.cursor;
        channel.skips.retain(|skip| skip.last >= cursor);
    }

    /// Some of what waits to be delivered again is: every `nth`.
    pub fn deliver_again(&mut self, topic: Name, channel: Name, nth: usize) {
        let Some(channel) = self.channel(&topic, &channel) else { return };
        let outstanding = channel.live.values_mut().filter(|live| live.outstanding);
        for live in outstanding.step_by(nth) {
            live.attempts += 1;
            live.due_ms = 0;
        }
    }

    pub fn finish(&mut self, topic: Name, channel: Name, nth: usize) {
        let Some(from) = self.channel(&topic, &channel) else { return };
        let delivered = from.live.iter().filter(|(_, live)| live.attempts > 0);
        let finished: Vec<u64> = delivered.map(|(&sequence, _)| sequence).step_by(nth).collect();
        let mut ranges: Vec<Range> = Vec::new();
        for sequence in finished {
            from.live.remove(&sequence);
            match ranges.last_mut() {
                Some(range) if range.last + 1 == sequence => range.last = sequence,
                _ => ranges.push(Range { first: sequence, last: sequence }),
            }
        }
        if !ranges.is_empty() {
            self.log(&topic, |out| entry::finished(out, &topic, &channel, &ranges));
        }
    }

    pub fn requeue(&mut self, topic: Name, channel: Name, nth: usize, delay_ms: u64) {
        let due_ms = if delay_ms == 0 { 0 } else { self.now_ms + delay_ms };
        let Some(from) = self.channel(&topic, &channel) else { return };
        let delivered = from.live.iter_mut().filter(|(_, live)| live.attempts > 0);
        let mut list = Vec::new();
        for (&sequence, live) in delivered.step_by(nth) {
            live.due_ms = due_ms;
            live.noted = (live.attempts, due_ms);
            list.push(Outstanding { sequence, attempts: live.attempts, due_ms });
        }
        if !list.is_empty() {
            self.log(&topic, |out| entry::requeued(out, &topic, &channel, &list));
        }
    }

    /// Writes all of a topic's state.
    pub fn snapshot(&mut self, topic: Name) {
        let Some(of) = self.topics.get_mut(&topic) else { return };
        let dues = of.dues();
        let channels = of.channels.iter_mut();
        let states: Vec<(Name, ChannelState)> =
            channels.map(|(name, channel)| (*name, channel.snapshot(&dues))).collect();
        let state = of.state();
        self.log(&topic, |out| {
            entry::topic(out, &topic, &state);
            for (channel, state) in &states {
                entry::channel(out, &topic, channel, state);
            }
        });
    }

    /// Stores messages of a topic as one block.
    pub fn store(&mut self, topic: Name, wanted: impl Fn(&Topic, u64) -> bool) {
        let Some(of) = self.topics.get_mut(&topic) else { return };
        let there = of.files.keys().filter(|&&sequence| wanted(of, sequence));
        let block: Vec<&Message> = there.map(|sequence| &of.messages[sequence]).collect();
        if block.is_empty() {
            return;
        }
        self.disk.append_run(self.store, topic, &block);
        let stored: Vec<u64> = block.iter().map(|message| message.sequence).collect();
        for sequence in stored {
            of.files.entry(sequence).or_default().insert(self.store);
        }
    }

    /// Stores what is only in the oldest journal of this start on a shard, and drops that file.
    pub fn drop_oldest(&mut self, shard: usize) {
        let (generation, current) = (self.disk.generation, self.journals[shard]);
        let mut files = self.disk.files.values().map(|file| &file.header);
        let oldest = files.find(|header| {
            header.role == Role::Journal
                && header.generation == generation
                && usize::from(header.shard) == shard
        });
        let Some(file) = oldest.map(|header| header.number).filter(|&file| file != current) else {
            return;
        };
        let mut topics: Vec<Name> = self.topics.keys().copied().collect();
        topics.retain(|topic| self.shard_of(topic) == shard);
        for topic in topics {
            let only = BTreeSet::from([file]);
            self.store(topic, |of, sequence| {
                of.wants(sequence) && of.files.get(&sequence) == Some(&only)
            });
            self.snapshot(topic);
        }
        self.forget_file(file);
    }

    /// Drops the files of earlier starts, and full stores, that nobody needs any more.
    pub fn drop_useless(&mut self) {
        let generation = self.disk.generation;
        let numbers: Vec<u32> = self.disk.files.keys().copied().collect();
        for number in numbers {
            let header = &self.disk.files[&number].header;
            let old_journal = header.role == Role::Journal && header.generation < generation;
            let old_store = header.role == Role::Store && number != self.store;
            let only = BTreeSet::from([number]);
            let needed = self.topics.values().any(|topic| {
                topic.files.iter().any(|(&sequence, files)| *files == only && topic.wants(sequence))
            });
            if (old_journal || old_store) && !needed {
                self.forget_file(number);
            }
        }
    }

    fn forget_file(&mut self, number: u32) {
        self.disk.files.remove(&number);
        for topic in self.topics.values_mut() {
            topic.files.retain(|_, files| {
                files.remove(&number);
                !files.is_empty()
            });
        }
    }

    pub fn metadata(&self) -> Vec<TopicMetadata> {
        let channels = |topic: &Topic| {
            let names = topic.channels.keys();
            names.map(|&name| ChannelMetadata::new(name, false)).collect()
        };
        let topics = self.topics.iter();
        topics
            .map(|(&name, topic)| TopicMetadata {
                paused: topic.paused,
                channels: channels(topic),
                ..TopicMetadata::new(name)
            })
            .collect()
    }

    /// What has to be there after a crash now.
    pub fn truth(&self) -> Truth {
        let topics = self.topics.iter();
        topics.map(|(&name, topic)| (name, topic.truth())).collect()
    }

    /// A message is delivered as it was published.
    pub fn check_genuine(&self, disk: &Disk, found: &Recovered) {
        for topic in &found.topics {
            let Some(known) = self.topics.get(&topic.name) else { continue };
            for (sequence, record) in records(disk, topic) {
                let message = known.messages.get(&sequence);
                assert!(message.is_none_or(|message| message.record(topic.name) == record));
            }
        }
    }

    /// Goes on from what was recovered: new journals, and only the files that are referred to.
    pub fn restart(&mut self, found: &Recovered, shards: usize) {
        self.open_files(shards);
        let mut needed: BTreeSet<u32> = self.journals.iter().copied().collect();
        needed.insert(self.store);
        for recovered in &found.topics {
            let Some(topic) = self.topics.get_mut(&recovered.name) else { continue };
            topic.files.clear();
            for segment in &recovered.segments {
                needed.insert(segment.place.file);
                for &sequence in topic.messages.range(segment.first..=segment.last).map(|at| at.0) {
                    if recovered
                        .holes
                        .iter()
                        .all(|hole| !(hole.first..=hole.last).contains(&sequence))
                    {
                        topic.files.insert(sequence, BTreeSet::from([segment.place.file]));
                    }
                }
            }
            topic.handed = recovered.state.handed.unwrap_or(topic.handed);
            for (name, state) in &recovered.channels {
                topic.channels.get_mut(name).unwrap().restart(state);
            }
        }
        self.disk.files.retain(|number, _| needed.contains(number));
        let topics: Vec<Name> = self.topics.keys().copied().collect();
        topics.into_iter().for_each(|topic| self.snapshot(topic));
    }
}

impl Topic {
    /// When its deferred messages are due.
    fn dues(&self) -> BTreeMap<u64, u64> {
        let deferred = self.messages.iter().filter(|(_, message)| message.delay_ms > 0);
        deferred.map(|(&sequence, message)| (sequence, message.due_ms())).collect()
    }

    fn truth(&self) -> TopicTruth {
        let channel = |channel: &Channel| {
            channel.live.iter().map(|(&sequence, live)| (sequence, live.noted)).collect()
        };
        TopicTruth {
            own: self.messages.range(self.handed..).map(|(&sequence, _)| sequence).collect(),
            channels: self.channels.iter().map(|(&name, of)| (name, channel(of))).collect(),
        }
    }
}

impl Channel {
    /// What a snapshot says; what is written is noted.
    fn snapshot(&mut self, dues: &BTreeMap<u64, u64>) -> ChannelState {
        let (mut outstanding, mut kept) = (Vec::new(), SequenceSet::default());
        for (&sequence, live) in self.live.iter_mut().filter(|(_, live)| live.outstanding) {
            live.noted = (live.attempts, live.due_ms);
            let Live { attempts, due_ms, .. } = *live;
            // What was never delivered is said to be kept back as long as its record says.
            if attempts == 0 && dues.get(&sequence) == Some(&due_ms) {
                kept.insert(sequence);
            } else {
                outstanding.push(Outstanding { sequence, attempts, due_ms });
            }
        }
        let skips =
            self.skips.iter().map(|skip| Range { first: skip.first.max(self.cursor), ..*skip });
        ChannelState { cursor: self.cursor, skips: skips.collect(), outstanding, kept }
    }

    fn restart(&mut self, state: &ChannelState) {
        self.cursor = state.cursor;
        self.skips.clone_from(&state.skips);
        let listed = state.outstanding.iter().map(|message| message.sequence);
        let outstanding: BTreeSet<u64> = listed.chain(state.kept.from(0)).collect();
        for (sequence, live) in &mut self.live {
            let (outstanding, noted) = (outstanding.contains(sequence), live.noted);
            *live = Live { outstanding, attempts: noted.0, due_ms: noted.1, noted };
        }
    }
}

/// The names that histories are about.
pub fn topic_name(number: u8) -> Name {
    name(&format!("topic{}", number % 3))
}

/// The names that histories are about.
pub fn channel_name(number: u8) -> Name {
    name(&format!("channel{}", number % 3))
}
