//! What must be true, kept beside the shards: every message on every channel, from what clients
//! sent and were sent.
//!
//! It hears of commands when a shard receives them and of frames when they stand in a shard's
//! output, both with the time of the turn, so that it knows what a shard must answer. Where order
//! is open (a publish that is not answered yet while a channel is made or emptied) a message is
//! `unsure` on that channel: it may be there or not, and counts have that much room.

mod compare;
mod deliver;
mod operate;
mod replies;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use super::Settings;
use super::wire::{Command, Frame};
use replies::Answer;

/// A published message.
#[derive(Debug)]
pub struct Published {
    topic: usize,
    /// Nobody has received it yet when `None`; else in which tick and when.
    handed: Option<(u64, u64)>,
    outcome: Outcome,
    delay_ms: u64,
    bytes: usize,
    id: Option<[u8; 16]>,
    timestamp_ns: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Open,
    Acknowledged,
    Refused,
    /// Nobody was told.
    Unknown,
}

/// A message on a channel that has not been finished.
#[derive(Clone, Copy, Debug)]
struct Entry {
    state: State,
    attempts: u16,
    unsure: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waiting,
    InFlight {
        connection: usize,
        until_ms: u64,
        since_ms: u64,
    },
    /// Due at the second time at the latest, and not before the first.
    Deferred(u64, u64),
}

#[derive(Debug, Default)]
pub struct Topic {
    paused: bool,
    /// Acknowledged, not given to channels; whether that is unsure.
    held: BTreeMap<u32, bool>,
    channels: BTreeMap<usize, Channel>,
    /// Tick of the last change that makes publishes under way unsure.
    disturbed: u64,
    /// Messages of this topic for which counts are not exact.
    vague: bool,
}

#[derive(Debug, Default)]
pub struct Channel {
    created: u64,
    disturbed: u64,
    paused: bool,
    live: HashMap<u32, Entry>,
    finished: HashSet<u32>,
    consumers: Vec<usize>,
    /// Ephemeral or sampled: messages may vanish.
    lossy: bool,
    /// It may not exist.
    doubtful: bool,
    /// It did not exist for certain when it was wanted again: its counts say nothing.
    vague: bool,
    /// Emptied so far; `None` until it is measured anew.
    emptied: Option<u64>,
}

#[derive(Debug)]
enum Expected {
    Ok,
    Publish {
        first: u32,
        count: u32,
    },
    Subscribe(usize, usize),
    CloseWait,
    /// Answered only when it fails.
    Answer {
        verb: &'static str,
        id: [u8; 16],
        fails: bool,
    },
    Fatal,
}

#[derive(Debug, Default)]
struct Client {
    expected: VecDeque<Expected>,
    subscription: Option<(usize, usize)>,
    ready: u64,
    msg_timeout_ms: u64,
    sample: bool,
    has: BTreeSet<u32>,
    last_first_id: [u8; 16],
    ended: bool,
    closing: bool,
    /// It makes noise, and so do the answers.
    ignored: bool,
    /// Its commands wait for a time that is not known: nothing exact is said of it.
    blurred: bool,
}

/// See the module's text.
pub struct Ledger {
    pub complaints: Vec<String>,
    /// Messages delivered, finished.
    pub delivered: u64,
    pub finished: u64,
    tick: u64,
    now_ms: u64,
    messages: Vec<Published>,
    topics: Vec<Option<Topic>>,
    /// The tick in which each topic was deleted last.
    deleted: Vec<u64>,
    clients: Vec<Client>,
    ids: HashMap<(usize, [u8; 16]), u32>,
    tickets: HashMap<u64, (u32, u32)>,
    /// Messages that nobody was told of and that may still be between two shards.
    adrift: Vec<u32>,
    topic_names: Vec<&'static str>,
    channel_names: Vec<&'static str>,
    msg_timeout_ms: u64,
    max_msg_timeout_ms: u64,
    /// Clients may seem silent.
    jumps: bool,
}

impl Ledger {
    pub fn new(settings: &Settings) -> Ledger {
        Ledger {
            complaints: Vec::new(),
            delivered: 0,
            finished: 0,
            tick: 1,
            now_ms: 0,
            messages: Vec::new(),
            topics: settings.topics.iter().map(|_| None).collect(),
            deleted: settings.topics.iter().map(|_| 0).collect(),
            clients: Vec::new(),
            ids: HashMap::new(),
            tickets: HashMap::new(),
            adrift: Vec::new(),
            topic_names: settings.topics.clone(),
            channel_names: settings.channels.clone(),
            msg_timeout_ms: settings.options.msg_timeout_ms.unsigned_abs(),
            jumps: settings.jumps,
            max_msg_timeout_ms: settings.options.max_msg_timeout_ms.unsigned_abs(),
        }
    }

    pub fn complain(&mut self, complaint: String) {
        if self.complaints.len() < 8 {
            self.complaints.push(complaint);
        }
    }

    /// Something goes into a shard: what came before is known, what follows came later.
    pub fn tick(&mut self) {
        self.tick += 1;
    }

    pub fn connected(&mut self, index: usize) {
        assert_eq!(self.clients.len(), index, "connections are numbered in order");
        let msg_timeout_ms = self.msg_timeout_ms;
        self.clients.push(Client { msg_timeout_ms, ..Client::default() });
    }

    /// What this client is sent says nothing.
    pub fn ignore(&mut self, index: usize) {
        self.clients[index].ignored = true;
    }

    /// Numbers for messages about to be published; the first of them.
    pub fn number(&mut self, topic: usize, delay_ms: u64, sizes: &[usize]) -> u32 {
        let first = self.messages.len() as u32;
        self.messages.extend(sizes.iter().map(|&bytes| Published {
            topic,
            handed: None,
            outcome: Outcome::Open,
            delay_ms,
            bytes,
            id: None,
            timestamp_ns: 0,
        }));
        first
    }

    /// Has the ledger believe in a longer delay than the shard was told.
    pub fn lengthen(&mut self, number: u32, by_ms: u64) {
        self.messages[number as usize].delay_ms += by_ms;
    }

    /// The same for HTTP; `ticket` comes back with the reply.
    pub fn number_http(
        &mut self,
        topic: usize,
        delay_ms: u64,
        sizes: &[usize],
        ticket: u64,
    ) -> u32 {
        let first = self.number(topic, delay_ms, sizes);
        self.tickets.insert(ticket, (first, sizes.len() as u32));
        first
    }

    /// A shard received a whole command.
    pub fn handed(&mut self, index: usize, command: &Command, now_ms: u64) {
        self.now_ms = now_ms;
        let client = &mut self.clients[index];
        if client.ended {
            return;
        }
        match *command {
            Command::Publish { first, count, .. } => {
                client.expected.push_back(Expected::Publish { first, count });
                self.hand_messages(first, count);
            }
            Command::Subscribe { topic, channel } => {
                client.expected.push_back(Expected::Subscribe(topic, channel));
            }
            Command::Identify { msg_timeout_ms, sample_rate } => {
                client.expected.push_back(Expected::Ok);
                client.msg_timeout_ms = msg_timeout_ms;
                client.sample = sample_rate > 0;
            }
            Command::Ready(count) if !client.closing => client.ready = count,
            Command::Ready(_) => {}
            Command::Close => {
                client.ready = 0;
                client.closing = true;
                client.expected.push_back(Expected::CloseWait);
            }
            Command::Fatal => {
                client.expected.push_back(Expected::Fatal);
                client.ended = true;
            }
            Command::Nothing => {}
            Command::Finish(id) => self.answered(index, "FIN", id, Answer::Finish),
            Command::Requeue(id, ms) => self.answered(index, "REQ", id, Answer::Requeue(ms)),
            Command::Touch(id) => self.answered(index, "TOUCH", id, Answer::Touch),
        }
    }

    fn hand_messages(&mut self, first: u32, count: u32) {
        for number in first..first + count {
            self.messages[number as usize].handed = Some((self.tick, self.now_ms));
        }
    }

    /// A frame stands in a shard's output.
    pub fn produced(&mut self, index: usize, frame: &Frame, now_ms: u64) {
        self.now_ms = now_ms;
        if self.clients[index].ignored {
            return;
        }
        match frame {
            Frame::Response(body) if body == b"_heartbeat_" => {}
            Frame::Response(body) => self.responded(index, body),
            Frame::Error(text) => self.failed(index, text),
            Frame::Message(message) => {
                if let Err(complaint) = self.deliver(index, message) {
                    let text = format!(
                        "{complaint}: connection {index}, attempt {}, id {}, at {now_ms} ms",
                        message.attempts,
                        String::from_utf8_lossy(&message.id)
                    );
                    self.complain(text);
                }
            }
        }
    }

    fn conclude(&mut self, first: u32, count: u32, outcome: Outcome) {
        for number in first..first + count {
            self.messages[number as usize].outcome = outcome;
            let topic = self.messages[number as usize].topic;
            self.topics[topic].get_or_insert_with(|| Topic { vague: true, ..Topic::default() });
            // What nobody was told of may be on its topic, or even have made it.
            if outcome == Outcome::Unknown {
                self.adrift.push(number);
                let topic = self.messages[number as usize].topic;
                let topic = self.topics[topic].get_or_insert_with(Topic::default);
                topic.vague = true;
                topic.held.entry(number).or_insert(true);
            }
        }
        if outcome == Outcome::Unknown {
            self.hand_over(self.messages[first as usize].topic, true);
        }
    }

    fn acknowledge(&mut self, first: u32, count: u32) {
        for number in first..first + count {
            self.acknowledge_one(number);
        }
        if count > 0 {
            self.hand_over(self.messages[first as usize].topic, false);
        }
    }

    /// An acknowledged message is held by its topic until channels may have it.
    fn acknowledge_one(&mut self, number: u32) {
        let message = &mut self.messages[number as usize];
        message.outcome = Outcome::Acknowledged;
        let handed = message.handed.map_or(0, |(turn, _)| turn);
        let topic = self.topics[message.topic].get_or_insert_with(Topic::default);
        let deleted = self.deleted[message.topic] >= handed;
        topic.vague |= deleted;
        topic.held.insert(number, deleted || topic.disturbed >= handed);
    }

    /// Gives what a topic holds to its channels, when it flows.
    fn hand_over(&mut self, topic: usize, unsure: bool) {
        let ephemeral = self.topic_names[topic].ends_with("#ephemeral");
        let now_ms = self.now_ms;
        let Some(topic) = self.topics[topic].as_mut() else { return };
        if topic.channels.is_empty() {
            return;
        }
        for (number, vague) in std::mem::take(&mut topic.held) {
            if topic.paused {
                topic.held.insert(number, vague || unsure);
                if !vague && !unsure {
                    continue;
                }
            }
            let message = &self.messages[number as usize];
            let (turn, handed_ms) = message.handed.unwrap_or((0, 0));
            for channel in topic.channels.values_mut() {
                let late = channel.created >= turn;
                let unsure = unsure || vague || late || channel.disturbed >= turn || ephemeral;
                if channel.finished.contains(&number) {
                    continue;
                }
                let state = match message.delay_ms {
                    0 => State::Waiting,
                    ms => State::Deferred(handed_ms + ms + 1, now_ms + ms + 1),
                };
                let unsure = unsure || channel.lossy;
                let entry = Entry { state, attempts: 0, unsure };
                channel.live.entry(number).or_insert(entry);
            }
        }
    }

    fn subscribed(&mut self, index: usize, topic: usize, channel: usize) {
        self.create_channel(topic, channel);
        let sample = self.clients[index].sample;
        self.clients[index].subscription = Some((topic, channel));
        if let Some(channel) = self.channel_mut(topic, channel) {
            channel.consumers.push(index);
            channel.vague |= std::mem::take(&mut channel.doubtful);
            if sample {
                channel.lossy = true;
                channel.live.values_mut().for_each(|entry| entry.unsure = true);
            }
        }
    }

    /// A channel is there from now on. The first one gets what its topic holds.
    fn create_channel(&mut self, topic: usize, channel: usize) {
        let lossy = self.channel_names[channel].ends_with("#ephemeral")
            || self.topic_names[topic].ends_with("#ephemeral");
        let (turn, now_ms) = (self.tick, self.now_ms);
        let messages = &self.messages;
        let entry = self.topics[topic].get_or_insert_with(Topic::default);
        if entry.channels.contains_key(&channel) {
            return;
        }
        let made = Channel { created: turn, lossy, emptied: Some(0), ..Channel::default() };
        let first = entry.channels.is_empty();
        entry.channels.insert(channel, made);
        if first && !entry.paused {
            let held = std::mem::take(&mut entry.held);
            let made = entry.channels.get_mut(&channel);
            let made = made.expect("it was just put there");
            for (number, unsure) in held {
                let message = &messages[number as usize];
                let handed_ms = message.handed.map_or(0, |(_, ms)| ms);
                let state = match message.delay_ms {
                    0 => State::Waiting,
                    ms => State::Deferred(handed_ms + ms + 1, now_ms + ms + 1),
                };
                made.live.insert(number, Entry { state, attempts: 0, unsure: unsure || lossy });
            }
        }
        self.expect_adrift(topic, channel);
    }

    /// Messages that are adrift may come to a channel that was just made or emptied.
    fn expect_adrift(&mut self, topic: usize, channel: usize) {
        let Some(entry) = self.topics[topic].as_mut() else { return };
        let Some(channel) = entry.channels.get_mut(&channel) else { return };
        for &number in &self.adrift {
            let message = &self.messages[number as usize];
            if message.topic == topic && !channel.finished.contains(&number) {
                let due_ms = message.handed.map_or(0, |(_, ms)| ms + message.delay_ms);
                let state = match message.delay_ms {
                    0 => State::Waiting,
                    // It may come at any time from now on.
                    _ => State::Deferred(due_ms + 1, u64::MAX),
                };
                channel.live.entry(number).or_insert(Entry { state, attempts: 0, unsure: true });
            }
        }
    }

    fn channel_mut(&mut self, topic: usize, channel: usize) -> Option<&mut Channel> {
        self.topics[topic].as_mut()?.channels.get_mut(&channel)
    }

    /// The shard lets a client's commands wait: when they are carried out is not known then.
    pub fn paused(&mut self, index: usize) {
        self.clients[index].blurred = true;
    }

    /// A connection has ended.
    pub fn closed(&mut self, index: usize) {
        self.clients[index].ended = true;
        self.nobody_was_told(index);
        self.unsubscribed(index);
    }

    /// What a client that has ended waited for may have happened or not.
    fn nobody_was_told(&mut self, index: usize) {
        let client = &mut self.clients[index];
        for expected in std::mem::take(&mut client.expected) {
            match expected {
                Expected::Publish { first, count } => {
                    self.conclude(first, count, Outcome::Unknown);
                }
                Expected::Subscribe(topic, channel)
                    if self.channel_mut(topic, channel).is_none() =>
                {
                    self.create_channel(topic, channel);
                    let Some(topic) = self.topics[topic].as_mut() else { continue };
                    topic.vague = true;
                    if let Some(channel) = topic.channels.get_mut(&channel) {
                        channel.doubtful = true;
                        channel.live.values_mut().for_each(|entry| entry.unsure = true);
                    }
                }
                _ => {}
            }
        }
    }

    fn unsubscribed(&mut self, index: usize) {
        let Some((topic, channel_index)) = self.clients[index].subscription else { return };
        let Some(channel) = self.channel_mut(topic, channel_index) else { return };
        channel.consumers.retain(|&other| other != index);
        let abandoned = channel.consumers.is_empty();
        if abandoned && self.channel_names[channel_index].ends_with("#ephemeral") {
            self.delete_channel(topic, channel_index);
        }
    }

    fn delete_channel(&mut self, topic: usize, channel: usize) {
        let turn = self.tick;
        let Some(entry) = self.topics[topic].as_mut() else { return };
        entry.channels.remove(&channel);
        entry.disturbed = turn;
        if entry.channels.is_empty() && self.topic_names[topic].ends_with("#ephemeral") {
            self.topics[topic] = None;
            self.deleted[topic] = turn;
        }
    }
}
